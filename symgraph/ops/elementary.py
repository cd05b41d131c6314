"""The table of scalar functions: arithmetic, powers, exponentials, comparisons, logic."""

from __future__ import annotations

import numpy as np

from symgraph.ops.scalar import composite, primitive, same

add = primitive("add", np.add, [lambda x, y, out: 1, lambda x, y, out: 1], infix="+", commutative=True, sympy=lambda x, y: x + y)
sub = primitive("sub", np.subtract, [lambda x, y, out: 1, lambda x, y, out: -1], infix="-", sympy=lambda x, y: x - y)
mul = primitive("mul", np.multiply, [lambda x, y, out: y, lambda x, y, out: x], infix="*", commutative=True, sympy=lambda x, y: x * y)
true_divide = primitive("true_divide", np.true_divide, [lambda x, y, out: 1 / y, lambda x, y, out: -out / y], infix="/", sympy=lambda x, y: x / y)
neg = primitive("neg", np.negative, [lambda x, out: -1], infix="-", sympy=lambda x: -x)
exp = primitive("exp", np.exp, [lambda x, out: out], sympy="exp")
log = primitive("log", np.log, [lambda x, out: 1 / x], sympy="log", domain=((0.1, 5.0),))
log1p = primitive("log1p", np.log1p, [lambda x, out: 1 / (1 + x)], sympy=lambda x: __import__("sympy").log(1 + x), domain=((-0.9, 5.0),))
tanh = primitive("tanh", np.tanh, [lambda x, out: 1 - out * out], sympy="tanh")
sqr = composite("sqr", lambda x: x * x, [lambda x, out: 2 * x], types=same)
sigmoid = composite("sigmoid", lambda x: 1 / (1 + exp(-x)), [lambda x, out: out * (1 - out)], source="Bishop, PRML (2006), eq. 4.59 and 4.88")
lt = primitive("lt", np.less, None, infix="<")
ge = primitive("ge", np.greater_equal, None, infix=">=")
eq = primitive("eq", np.equal, None, infix="==", commutative=True)
bitwise_and = primitive("bitwise_and", np.bitwise_and, None, infix="&", commutative=True)
