"""One spelling for each expression, with what is constant computed: what the other books build on.

The engine puts constants second in `+` and `*`; `x - 1` is `x + (-1)` and signs are pulled out of products, so that
constants meet and combine. `x * x` and `x ** 2` are `sqr(x)`.

Floats keep their NaN and infinity: `0 * x` and `x - x` stay, but for integers. Rules may change the sign of a zero and
the last bits of a result (constants are combined unless that would overflow, underflow or cancel).
"""

from __future__ import annotations

import math

import numpy as np

from symgraph.errors import GraphError
from symgraph.graph.node import Apply, Constant, Op, Variable
from symgraph.ops.debugging import Assert, Print
from symgraph.ops.elementary import abs as absolute
from symgraph.ops.elementary import (
    add,
    exp,
    log,
    maximum,
    minimum,
    mul,
    neg,
    power,
    sqr,
    sqrt,
    sub,
    switch,
    true_divide,
)
from symgraph.ops.elementwise import Cast, Elementwise, cast
from symgraph.rewrite.layouts import LAYOUTS, of_shape
from symgraph.rewrite.pattern import Graph, Rule, a, b, keeps_type, rule, uniform, wildcard
from symgraph.rewrite.sums import SUMS

FOLDED_SIZE = 1000  # elements; larger results are computed by the compiled function, not stored in it

n = wildcard("n", floats=False)


# Identities ---------------------------------------------------------------------------------------

IDENTITIES = (
    Rule(before=add(n, 0), after=n, why="adding 0 changes nothing but the sign of a zero"),
    Rule(before=sub(n, 0), after=n, why="subtracting 0 changes nothing"),
    Rule(before=sub(0, a), after=-a, why="one operation, no constant"),
    Rule(before=mul(n, 1), after=n, why="multiplying by 1 changes nothing"),
    Rule(before=mul(a, -1), after=-a, why="a sign is cheaper than a product"),
    Rule(before=true_divide(a, 1), after=a, why="dividing by 1 changes nothing"),
    Rule(before=true_divide(a, -1), after=-a, why="a sign is cheaper than a quotient"),
    Rule(before=power(n, 1), after=n, why="the first power is the number itself"),
    Rule(before=power(a, 2), after=sqr(a), why="one spelling for squares"),
    Rule(before=mul(n, n), after=sqr(n), why="one spelling for squares"),
    Rule(before=neg(neg(n)), after=n, why="two signs cancel"),
    Rule(before=sqr(neg(a)), after=sqr(a), why="a square has no sign"),
    Rule(before=sqr(absolute(a)), after=sqr(a), why="a square has no sign"),
    Rule(before=absolute(neg(a)), after=absolute(a), why="the absolute value has no sign"),
    Rule(before=absolute(absolute(a)), after=absolute(a), why="the absolute value has no sign"),
    Rule(before=sqrt(sqr(a)), after=absolute(a), why="the square could overflow or underflow"),
    Rule(before=log(exp(a)), after=a, why="the exponential could overflow or underflow"),
    Rule(before=a + (-b), after=a - b, why="signs are absorbed by sums"),
    Rule(before=a - (-b), after=a + b, why="signs are absorbed by sums"),
    Rule(before=(-a) - b, after=-(a + b), why="signs are pulled out, where they may cancel"),
    Rule(before=-(a - b), after=b - a, why="signs are absorbed by differences"),
    Rule(before=(-a) * b, after=-(a * b), why="signs are pulled out of products"),
    Rule(before=(-a) / b, after=-(a / b), why="signs are pulled out of quotients"),
    Rule(before=a / (-b), after=-(a / b), why="signs are pulled out of quotients"),
    Rule(before=a * (1 / b), after=a / b, why="one division instead of a division and a product"),
    Rule(before=minimum(n, n), after=n, why="the smaller of a value and itself"),
    Rule(before=maximum(n, n), after=n, why="the larger of a value and itself"),
)


@rule(on=sub, why="a number less itself is 0; of floats it could be NaN")
def integer_less_itself(node: Apply, graph: Graph) -> Variable | None:
    x, y = node.inputs
    return of_shape(_number(0, node), x, graph) if x is y and not node.output.type.is_float else None


@rule(on=mul, why="0 times a number is 0; of floats it could be NaN")
def integer_times_zero(node: Apply, graph: Graph) -> Variable | None:
    x, y = node.inputs
    if uniform(y) != 0 or node.output.type.is_float or not keeps_type(node.output, x):
        return None
    return of_shape(_number(0, node), x, graph)


@rule(on=power, why="the 0th power is 1, also of 0 and of NaN")
def zeroth_power(node: Apply, graph: Graph) -> Variable | None:
    x, y = node.inputs
    return of_shape(_number(1, node), x, graph) if uniform(y) == 0 and keeps_type(node.output, x) else None


@rule(on=(Print, Assert), why="what is printed, and what must hold, is a result of its own")
def only_watched(node: Apply, graph: Graph) -> Variable | None:
    return node.inputs[0]


@rule(on=switch, why="the condition is known")
def choose(node: Apply, graph: Graph) -> Variable | None:
    condition, then, otherwise = node.inputs
    known = uniform(condition)
    if known is None and then is not otherwise:
        return None
    chosen = then if known else otherwise
    return chosen if keeps_type(node.output, chosen) else None


# Constants ----------------------------------------------------------------------------------------


@rule(on=Op, why="nothing in it can change: it is computed once, now")
def fold_constants(node: Apply, graph: Graph) -> Variable | None:
    """Only values that are small and no larger than what they come from; errors are left for the call to raise."""
    if not node.inputs or not all(isinstance(x, Constant) for x in node.inputs):
        return None
    arrays = [x.data for x in node.inputs if isinstance(x, Constant)]
    largest = max(array.size for array in arrays)
    lengths = [n for n in node.output.type.shape if n is not None]
    if largest > FOLDED_SIZE or len(lengths) < node.output.ndim or math.prod(lengths) > max(largest, 1):
        return None
    try:
        with np.errstate(all="ignore"):
            return Constant(_frozen(node.op.reference(*arrays), node.output.dtype))
    except (GraphError, ArithmeticError, LookupError, ValueError):
        return None


@rule(on=sub, why="subtracting a constant is adding one, which may combine with others")
def subtract_constant(node: Apply, graph: Graph) -> Variable | None:
    x, y = node.inputs
    if not isinstance(y, Constant) or not x.type.is_float or y.data.size > FOLDED_SIZE:
        return None
    return x + Constant(_frozen(-y.data, y.dtype))


@rule(on=add, why="constants are added up at compile time")
def combine_terms(node: Apply, graph: Graph) -> Variable | None:
    """(x + c) + d, and (c - x) + d; float constants only of the same sign, so that nothing cancels."""
    inner, d = node.inputs
    if not isinstance(d, Constant) or inner.owner is None:
        return None
    if _is(inner, add):
        x, c = inner.owner.inputs
        total = _combined(c, d)
        return x + total if total is not None else None
    if _is(inner, sub):
        c, x = inner.owner.inputs
        total = _combined(c, d)
        return total - x if total is not None else None
    return None


@rule(on=sub, why="constants are added up at compile time")
def combine_difference(node: Apply, graph: Graph) -> Variable | None:
    """c - (x + d); float constants only where nothing cancels."""
    c, inner = node.inputs
    if not isinstance(c, Constant) or inner.owner is None or not _is(inner, add):
        return None
    x, d = inner.owner.inputs
    if not isinstance(d, Constant):
        return None
    total = _combined(c, Constant(_frozen(-d.data, d.dtype))) if d.dtype != "bool" else None
    return total - x if total is not None else None


@rule(on=(mul, true_divide, neg), why="constant factors are multiplied at compile time")
def combine_factors(node: Apply, graph: Graph) -> Variable | None:
    """Of (x * c) * d, (x / c) * d, (c / x) * d, c / (x * d), -(x * c); not where that over- or underflows."""
    outer = _scaled(node)
    if outer is None or outer[2].owner is None or not node.output.type.is_float:
        return None
    inner = _scaled(outer[2].owner)
    if inner is None:
        return None
    (p, q, _, turned), (r, s, x, turned_inside) = outer, inner
    if turned:  # p/q of 1/(r/s x), and 1/(r/s / x)
        r, s = s, r
    with np.errstate(all="ignore"):
        over, under = p * r, q * s
    if not (_normal(over, node) and _normal(under, node)):
        return None
    if turned == turned_inside and np.all(np.abs(over) == 1):
        return x / Constant(_frozen(under * over, x.dtype))
    factor = _quotient(over, under, node)
    if not _normal(factor, node):
        return None
    constant = Constant(_frozen(factor, x.dtype))
    return constant / x if turned != turned_inside else x * constant


Scaled = tuple[np.ndarray, np.ndarray, Variable, bool]  # (p, q, x, turned): p / q * x, or where turned p / q / x


def _scaled(node: Apply) -> Scaled | None:
    """A node as a constant times, or over, a variable."""
    one = np.ones((), node.output.dtype)
    if not isinstance(node.op, Elementwise):
        return None
    if node.op.function is neg:
        return -one, one, node.inputs[0], False
    if node.op.function is mul:
        x, y = node.inputs
        return (y.data, one, x, False) if isinstance(y, Constant) else None
    if node.op.function is true_divide:
        x, y = node.inputs
        if isinstance(y, Constant):
            return one, y.data, x, False
        return (x.data, one, y, True) if isinstance(x, Constant) else None
    return None


def _quotient(over: np.ndarray, under: np.ndarray, node: Apply) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(over / under, dtype=node.output.dtype)


def _normal(values: np.ndarray, node: Apply) -> bool:
    """Whether no value has over- or underflowed in the dtype of a node."""
    smallest = np.finfo(node.output.dtype).tiny
    return bool(np.all(np.isfinite(values) & (np.abs(values) >= smallest)))


def _combined(c: Variable, d: Variable) -> Constant | None:
    if not (isinstance(c, Constant) and isinstance(d, Constant)) or c.data.size * d.data.size > FOLDED_SIZE:
        return None
    if c.type.is_float and not np.all(np.signbit(c.data) == np.signbit(d.data)):
        return None
    with np.errstate(all="ignore"):
        total = c.data + d.data
    return Constant(_frozen(total, c.dtype)) if c.type.is_float <= bool(np.all(np.isfinite(total))) else None


def _number(value: int, node: Apply) -> Constant:
    """A number in the dtype of a node."""
    return Constant(_frozen(np.array(value), node.output.dtype))


def _frozen(value: np.ndarray, dtype: str) -> np.ndarray:
    data = np.array(value, dtype=dtype, order="C")
    data.flags.writeable = False
    return data


def _is(x: Variable, function: object) -> bool:
    return x.owner is not None and isinstance(x.owner.op, Elementwise) and x.owner.op.function is function


# Dtypes -------------------------------------------------------------------------------------------


@rule(on=Cast, why="the value passes through a dtype that loses nothing of it")
def cast_of_cast(node: Apply, graph: Graph) -> Variable | None:
    (x,) = node.inputs
    if x.owner is None or not isinstance(x.owner.op, Cast):
        return cast(x, node.output.dtype) if x.dtype == node.output.dtype else None
    (y,) = x.owner.inputs
    return cast(y, node.output.dtype) if _holds(x.dtype, y.dtype) else None


def _holds(wide: str, narrow: str) -> bool:
    """Whether every value of dtype `narrow` is one of `wide`; numpy calls int64 to float64 safe, though it rounds."""
    exact = not (wide == "float64" and narrow in ("int64", "uint64"))
    return exact and np.can_cast(narrow, wide, "safe")


CANONICALIZE = (
    fold_constants, *IDENTITIES, integer_less_itself, integer_times_zero, zeroth_power, choose, only_watched,
    subtract_constant, combine_terms, combine_difference, combine_factors, cast_of_cast, *LAYOUTS, *SUMS,
)  # fmt: skip
