"""The table of scalar functions: arithmetic, powers, exponentials, comparisons, logic, bits, choices.

Names are numpy's, or Theano's where numpy has none. A derivative is written as a function of the arguments and of the
result, whichever is the more stable; one that is a bool passes the gradient or stops it.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from codegen import ir
from codegen.operations import OPERATIONS
from symgraph.graph.node import Constant
from symgraph.ops import special
from symgraph.ops.scalar import ScalarFunction, choosing, composite, logical, primitive, same

# Choices and comparisons come first: derivatives below are written with them.


def _sympy(name: str) -> Callable[..., Any]:
    """A function of sympy by its name, which is imported when it is called."""

    def call(*args: Any) -> Any:
        import sympy

        return getattr(sympy, name)(*args)

    return call


def _piecewise(condition: Any, x: Any, y: Any) -> Any:
    import sympy

    return sympy.Piecewise((x, condition), (y, True))


def _comparison(name: str, ufunc: np.ufunc, infix: str, sympy: str, doc: str) -> ScalarFunction:
    """A comparison; of int64 with uint64, which no dtype holds both, it is exact as in numpy."""

    def c(x: ir.Expr, y: ir.Expr) -> ir.Expr:
        if x.dtype == y.dtype:
            return ir.Operation("bool", name, (x, y))
        if x.dtype == "uint64":
            mirrored = {"lt": gt, "le": ge, "gt": lt, "ge": le}
            return mirrored[name].c(y, x) if name in mirrored else builder(y, x)
        return builder(x, y)

    def builder(signed: ir.Expr, unsigned: ir.Expr) -> ir.Expr:
        negative = ir.Operation("bool", "lt", (signed, ir.Literal(signed.dtype, 0)))
        compared = ir.Operation("bool", name, (ir.Cast("uint64", signed), unsigned))
        if name in ("lt", "le", "neq"):
            return ir.Operation("bool", "logical_or", (negative, compared))
        return ir.Operation("bool", "logical_and", (ir.Operation("bool", "logical_not", (negative,)), compared))

    return primitive(name, ufunc, None, c=c, infix=infix, sympy=sympy, doc=doc, commutative=name in ("eq", "neq"))


lt = _comparison("lt", np.less, "<", "StrictLessThan", "x < y, as a bool.")
le = _comparison("le", np.less_equal, "<=", "LessThan", "x <= y, as a bool.")
gt = _comparison("gt", np.greater, ">", "StrictGreaterThan", "x > y, as a bool.")
ge = _comparison("ge", np.greater_equal, ">=", "GreaterThan", "x >= y, as a bool.")
eq = _comparison("eq", np.equal, "==", "Eq", "x == y, as a bool.")
neq = _comparison("neq", np.not_equal, "!=", "Ne", "x != y, as a bool.")

logical_and = primitive(
    "logical_and", np.logical_and, None, types=logical, sympy="And", commutative=True, doc="Whether both hold."
)
logical_or = primitive(
    "logical_or", np.logical_or, None, types=logical, sympy="Or", commutative=True, doc="Whether one or both hold."
)
logical_xor = primitive(
    "logical_xor", np.logical_xor, None, types=logical, sympy="Xor", commutative=True, doc="Whether just one holds."
)
logical_not = primitive("logical_not", np.logical_not, None, types=logical, sympy="Not", doc="Whether it fails.")

switch = primitive(
    "switch", np.where, [None, lambda c, x, y, out: c, lambda c, x, y, out: logical_not(c)], arity=3, types=choosing,
    c=lambda condition, x, y: ir.Select(x.dtype, condition, x, y), sympy=_piecewise, domain=((-1, 1), (-3, 3), (-3, 3)),
    doc="x where the condition holds, y elsewhere. The gradient flows into the one chosen.",
)  # fmt: skip
minimum = primitive(
    "minimum", np.minimum, [lambda x, y, out: le(x, y), lambda x, y, out: gt(x, y)], sympy="Min", commutative=True,
    doc="The smaller; NaN if either is. At a tie the gradient flows into the first argument alone.",
)  # fmt: skip
maximum = primitive(
    "maximum", np.maximum, [lambda x, y, out: ge(x, y), lambda x, y, out: lt(x, y)], sympy="Max", commutative=True,
    doc="The larger; NaN if either is. At a tie the gradient flows into the first argument alone.",
)  # fmt: skip
clip = composite(
    "clip", lambda x, low, high: minimum(maximum(x, low), high),
    [
        lambda x, low, high, out: logical_and(ge(x, low), le(x, high)),
        lambda x, low, high, out: logical_and(lt(x, low), le(low, high)),
        lambda x, low, high, out: gt(maximum(x, low), high),
    ],
    types=same, domain=((-3, 3), (-2, -1), (1, 2)),
    doc="x kept between low and high; high where low > high. The gradient flows into x within [low, high].",
)  # fmt: skip
relu = composite("relu", lambda x: maximum(x, 0), [lambda x, out: gt(out, 0)], types=same,
                 doc="x where positive, 0 elsewhere; NaN stays. The derivative at 0 is 0.")  # fmt: skip

# Arithmetic.


def _integers_kept(ufunc: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: ufunc(x) if x.dtype.kind == "f" else x


def _on_floats(name: str) -> Callable[[ir.Expr], ir.Expr]:
    """The operation where the operand is a float; integers are whole already."""
    return lambda x: ir.Operation(x.dtype, name, (x,)) if x.dtype.startswith("float") else x


def _rounding(name: str, numpy: Callable[..., Any], sympy: Callable[[Any], Any], doc: str) -> ScalarFunction:
    return primitive(
        name, numpy, [lambda x, out: 0], types=same,
        numeric=_integers_kept(numpy), c=_on_floats(name), sympy=sympy, doc=doc,
    )  # fmt: skip


def _floor(x: Any) -> Any:
    return _sympy("floor")(x)


add = primitive(
    "add", np.add, [lambda x, y, out: 1, lambda x, y, out: 1], infix="+", commutative=True, sympy=lambda x, y: x + y,
    doc="x + y; of bools, or.",
)  # fmt: skip
sub = primitive(
    "sub", np.subtract, [lambda x, y, out: 1, lambda x, y, out: -1], infix="-", sympy=lambda x, y: x - y, doc="x - y.",
)  # fmt: skip
mul = primitive(
    "mul", np.multiply, [lambda x, y, out: y, lambda x, y, out: x], infix="*", commutative=True,
    sympy=lambda x, y: x * y, doc="x y; of bools, and.",
)  # fmt: skip
true_divide = primitive(
    "true_divide", np.true_divide, [lambda x, y, out: 1 / y, lambda x, y, out: -out / y], infix="/",
    sympy=lambda x, y: x / y, doc="x / y, as a float.",
)  # fmt: skip
neg = primitive("neg", np.negative, [lambda x, out: -1], infix="-", sympy=lambda x: -x, doc="-x.")
floor_divide = primitive(
    "floor_divide", np.floor_divide, [lambda x, y, out: 0, lambda x, y, out: 0], infix="//",
    sympy=lambda x, y: _floor(x / y),
    doc="x / y rounded down, in Python's sense; of integers by 0, 0.", source="npy_divmod in numpy's npy_math",
)  # fmt: skip
mod = primitive(
    "mod", np.remainder, [lambda x, y, out: 1, lambda x, y, out: -floor_divide(x, y)], infix="%",
    sympy=lambda x, y: x - y * _floor(x / y),
    doc="What x // y leaves, with the sign of y, as in Python; of integers by 0, 0.", source="npy_divmod, as for //",
)  # fmt: skip
sign = primitive("sign", np.sign, [lambda x, out: 0], sympy="sign", doc="-1, 0 or 1; NaN of NaN.")
abs = primitive(
    "abs", np.absolute, [lambda x, out: sign(x)], sympy="Abs", doc="|x|; the derivative at 0 is 0.",
    c=lambda x: ir.Operation(x.dtype, "abs", (x,)) if x.dtype[0] in "fi" else x,
)  # fmt: skip
ceil = _rounding("ceil", np.ceil, _sympy("ceiling"), "The next integer upwards.")
floor = _rounding("floor", np.floor, _floor, "The next integer downwards.")
trunc = _rounding("trunc", np.trunc, lambda x: _sympy("sign")(x) * _floor(builtins.abs(x)), "x without its fraction.")
round = _rounding("round", lambda x: np.rint(x), lambda x: _floor(x + _sympy("Rational")(1, 2)),
                  "The nearest integer, of two the even one; sympy's form differs at these ties.")  # fmt: skip

# Powers and roots.


def _known(x: Any) -> float | None:
    """The value of an exponent that is a constant of the graph."""
    return x.data.item() if isinstance(x, Constant) and x.data.size == 1 else None


def _power_by_base(x: Any, n: Any, out: Any) -> Any:
    """n x^(n-1), and 0 for n = 0, also where 1/x is infinite."""
    known = _known(n)
    if known is None:
        return n * power(x, switch(eq(n, 0), 0, n - 1))
    return known if known in (0, 1) else known * x if known == 2 else known * power(x, known - 1)


def _power(x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """numpy's power; it refuses negative exponents of integers, which give 1/x without its fraction here."""
    if x.dtype.kind != "i" or not (n < 0).any():
        return np.power(x, n)
    inverse = np.where(x == 1, 1, np.where(x == -1, 1 - 2 * (n & 1), 0))
    return np.where(n < 0, inverse, np.power(x, np.maximum(n, 0))).astype(x.dtype)


def _power_in_c(x: ir.Expr, n: ir.Expr) -> ir.Expr:
    """A power; small whole exponents have an operation each, of products."""
    if isinstance(n, ir.Literal) and x.dtype.startswith("float") and float(n.value).is_integer():
        name = f"power_minus_{-int(n.value)}" if n.value < 0 else f"power_{int(n.value)}"
        if name in OPERATIONS:
            return ir.Operation(x.dtype, name, (x,))
    return ir.Operation(x.dtype, "power", (x, n))


power = primitive(
    "power", np.power,
    # the logarithm of 1 where x = 0: there 0^n stays 0 when n > 0 moves
    [_power_by_base, lambda x, n, out: out * log(switch(eq(x, 0), 1, x))],
    numeric=_power, c=_power_in_c, infix="**", sympy=lambda x, n: x**n, domain=((0.1, 3), (-2, 2)),
    doc="x to the power n. Integers wrap; a negative power of an integer is 0, or of 1 and -1 itself or its negative.",
)  # fmt: skip
sqrt = primitive("sqrt", np.sqrt, [lambda x, out: 0.5 / out], sympy="sqrt", domain=((0.1, 5),), doc="The square root.")
sqr = composite("sqr", lambda x: x * x, [lambda x, out: 2 * x], numpy=np.square, doc="x squared.")
square = sqr
reciprocal = composite(
    "reciprocal", lambda x: 1 / x, [lambda x, out: -out * out], domain=((0.5, 3),),
    doc="1 / x, a float also of an integer, whose numpy.reciprocal is 0 nearly everywhere.",
)  # fmt: skip

# Exponentials and logarithms.

exp = primitive("exp", np.exp, [lambda x, out: out], sympy="exp", doc="e to the power x.")
exp2 = primitive("exp2", np.exp2, [lambda x, out: out * math.log(2)], sympy=lambda x: 2**x, doc="2 to the power x.")
expm1 = primitive(
    "expm1", np.expm1, [lambda x, out: exp(x)], sympy=lambda x: _sympy("exp")(x) - 1, doc="exp(x) - 1, accurate near 0."
)
log: ScalarFunction = primitive(
    "log", np.log, [lambda x, out: 1 / x], sympy="log", domain=((0.1, 5),), doc="The natural logarithm."
)
log1p = primitive(
    "log1p", np.log1p, [lambda x, out: 1 / (1 + x)], sympy=lambda x: _sympy("log")(1 + x), domain=((-0.9, 5),),
    doc="log(1 + x), accurate near 0.",
)  # fmt: skip
log2 = primitive(
    "log2", np.log2, [lambda x, out: 1 / (x * math.log(2))], sympy=lambda x: _sympy("log")(x, 2), domain=((0.1, 5),),
    doc="The logarithm to base 2.",
)  # fmt: skip
log10 = primitive(
    "log10", np.log10, [lambda x, out: 1 / (x * math.log(10))], sympy=lambda x: _sympy("log")(x, 10),
    domain=((0.1, 5),), doc="The logarithm to base 10.",
)  # fmt: skip

# Trigonometric and hyperbolic functions. Derivatives factor 1 - x² and the like, which keeps them accurate near 1.

sin = primitive("sin", np.sin, [lambda x, out: cos(x)], sympy="sin", doc="The sine of an angle in radians.")
cos: ScalarFunction = primitive(
    "cos", np.cos, [lambda x, out: -sin(x)], sympy="cos", doc="The cosine of an angle in radians."
)
tan = primitive(
    "tan", np.tan, [lambda x, out: 1 + out * out], sympy="tan", domain=((-1.4, 1.4),), doc="The tangent of an angle."
)
arcsin = primitive(
    "arcsin", np.arcsin, [lambda x, out: 1 / sqrt((1 - x) * (1 + x))], sympy="asin", domain=((-0.95, 0.95),),
    doc="The angle in [-π/2, π/2] whose sine is x.",
)  # fmt: skip
arccos = primitive(
    "arccos", np.arccos, [lambda x, out: -1 / sqrt((1 - x) * (1 + x))], sympy="acos", domain=((-0.95, 0.95),),
    doc="The angle in [0, π] whose cosine is x.",
)  # fmt: skip
arctan = primitive(
    "arctan", np.arctan, [lambda x, out: 1 / (1 + x * x)], sympy="atan",
    doc="The angle in [-π/2, π/2] whose tangent is x.",
)  # fmt: skip
arctan2 = primitive(
    "arctan2", np.arctan2, [lambda y, x, out: x / (x * x + y * y), lambda y, x, out: -y / (x * x + y * y)],
    sympy="atan2", domain=((0.1, 3), (-3, 3)), doc="The angle in [-π, π] of the point (x, y); y comes first.",
)  # fmt: skip
sinh = primitive("sinh", np.sinh, [lambda x, out: cosh(x)], sympy="sinh", doc="The hyperbolic sine.")
cosh: ScalarFunction = primitive("cosh", np.cosh, [lambda x, out: sinh(x)], sympy="cosh", doc="The hyperbolic cosine.")
tanh = primitive("tanh", np.tanh, [lambda x, out: 1 - out * out], sympy="tanh", doc="The hyperbolic tangent.")
arcsinh = primitive(
    "arcsinh", np.arcsinh, [lambda x, out: 1 / sqrt(1 + x * x)], sympy="asinh", doc="The inverse of sinh."
)
arccosh = primitive(
    "arccosh", np.arccosh, [lambda x, out: 1 / sqrt((x - 1) * (x + 1))], sympy="acosh", domain=((1.1, 5),),
    doc="The inverse of cosh, not negative.",
)  # fmt: skip
arctanh = primitive(
    "arctanh", np.arctanh, [lambda x, out: 1 / ((1 - x) * (1 + x))], sympy="atanh", domain=((-0.9, 0.9),),
    doc="The inverse of tanh.",
)  # fmt: skip
deg2rad = composite(
    "deg2rad", lambda x: x * (math.pi / 180), [lambda x, out: math.pi / 180], numpy=np.deg2rad,
    doc="Degrees to radians.",
)  # fmt: skip
rad2deg = composite(
    "rad2deg", lambda x: x * (180 / math.pi), [lambda x, out: 180 / math.pi], numpy=np.rad2deg,
    doc="Radians to degrees.",
)  # fmt: skip

# Functions of learning and of statistics.

sigmoid = composite(
    "sigmoid", lambda x: 1 / (1 + exp(-x)), [lambda x, out: out * (1 - out)],
    c=lambda x: ir.Operation(x.dtype, "sigmoid", (x,)),
    doc="The logistic function 1 / (1 + exp(-x)).", source="Bishop, PRML (2006), eq. 4.59 and 4.88",
)  # fmt: skip
softplus = composite(
    "softplus", lambda x: maximum(x, 0) + log1p(exp(-abs(x))), [lambda x, out: sigmoid(x)],
    sympy=lambda x: _sympy("log")(1 + _sympy("exp")(x)),
    doc="log(1 + exp(x)), which neither overflows nor loses its small values.",
    source="Mächler, Accurately computing log(1 - exp(-|a|)) (2012)",
)  # fmt: skip
erf = primitive(
    "erf", special.erf, [lambda x, out: 2 / math.sqrt(math.pi) * exp(-x * x)], sympy="erf",
    doc="The error function.", source="DLMF 7.2.1",
)  # fmt: skip
erfc = primitive(
    "erfc", special.erfc, [lambda x, out: -2 / math.sqrt(math.pi) * exp(-x * x)], sympy="erfc",
    doc="1 - erf(x), accurate where it is small.", source="DLMF 7.2.2",
)  # fmt: skip
gamma = primitive(
    "gamma", special.gamma, [lambda x, out: out * psi(x)], sympy="gamma", domain=((0.2, 5),),
    doc="The gamma function; NaN at the negative integers.", source="DLMF 5.2.1",
)  # fmt: skip
gammaln = primitive(
    "gammaln", special.gammaln, [lambda x, out: psi(x)], sympy="loggamma", domain=((0.2, 5),),
    doc="The logarithm of |gamma(x)|; infinite at 0 and the negative integers.", source="DLMF 5.2.1",
)  # fmt: skip
psi: ScalarFunction = primitive(
    "psi", special.psi, [lambda x, out: polygamma(1, x)], sympy="digamma", domain=((0.2, 5),),
    doc="The digamma function, the derivative of gammaln; NaN at the negative integers.",
    source="DLMF 5.2.2, 5.5.2, 5.5.4, 5.11.2",
)  # fmt: skip
polygamma: ScalarFunction = primitive(
    "polygamma", special.polygamma, [None, lambda n, x, out: polygamma(n + 1, x)], arity=2, sympy="polygamma",
    domain=((1, 1), (0.2, 5)), doc="The n-th derivative of psi, for whole n >= 0; of n there is no derivative.",
    source="DLMF 5.15.1, 25.11.12",
)  # fmt: skip
tri_gamma = composite("tri_gamma", lambda x: polygamma(1, x), [lambda x, out: polygamma(2, x)], domain=((0.2, 5),),
                      doc="The derivative of psi.", source="DLMF 5.15.1")  # fmt: skip

# Bits. Of bools they are logic.

bitwise_and = primitive("bitwise_and", np.bitwise_and, None, infix="&", commutative=True, doc="The bits set in both.")
bitwise_or = primitive("bitwise_or", np.bitwise_or, None, infix="|", commutative=True, doc="The bits set in either.")
bitwise_xor = primitive("bitwise_xor", np.bitwise_xor, None, infix="^", commutative=True, doc="The bits that differ.")
invert = primitive("invert", np.invert, None, infix="~", doc="All bits turned; of a bool, not.")
left_shift = primitive(
    "left_shift", np.left_shift, None, infix="<<", domain=((-9, 9), (0, 9)),
    doc="The bits of x moved n places up; 0 where n is negative or no less than the width.",
)  # fmt: skip
right_shift = primitive(
    "right_shift", np.right_shift, None, infix=">>", domain=((-99, 99), (0, 9)),
    doc="The bits of x moved n places down, rounding down; 0 or -1 where n is negative or no less than the width.",
)  # fmt: skip

# Tests of floats; integers are finite.


def _test(name: str, ufunc: np.ufunc, of_integers: bool, doc: str) -> ScalarFunction:
    def c(x: ir.Expr) -> ir.Expr:
        if x.dtype.startswith("float"):
            return ir.Operation("bool", name, (x,))
        return ir.Operation("bool", "eq" if of_integers else "neq", (x, x))  # for whoever computes x expects a reader

    return primitive(name, ufunc, None, c=c, doc=doc)


isnan = _test("isnan", np.isnan, False, "Whether x is NaN.")
isinf = _test("isinf", np.isinf, False, "Whether x is infinite.")
isfinite = _test("isfinite", np.isfinite, True, "Whether x is neither NaN nor infinite.")
