"""Forms that stay accurate where the ones written down overflow, underflow or cancel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from symgraph.graph.node import Apply, Variable, as_variable
from symgraph.ops.axes import DimShuffle
from symgraph.ops.elementary import abs as absolute
from symgraph.ops.elementary import add, exp, expm1, log, log1p, maximum, sigmoid, softplus, sqr, sub
from symgraph.ops.gather import Scatter, Take
from symgraph.ops.indexing import IncSubtensor, Subtensor
from symgraph.ops.layout import BroadcastTo, Reshape, SpecifyShape
from symgraph.ops.nn import LogSoftmax, LogSumExp, Softmax, SoftmaxGradient
from symgraph.ops.reduce import Max, MaxOrLowest, Sum
from symgraph.rewrite.layouts import is_zero, of_shape
from symgraph.rewrite.pattern import Graph, Rule, a, b, keeps_type, rule, uniform
from symgraph.rewrite.products import (
    DEPTH,
    cancel_factors,
    cancel_in_terms,
    elementwise,
    product,
    take_out_factor,
    terms,
)

LOGISTIC = (
    Rule(
        before=log(sigmoid(a)),
        after=-softplus(-a),
        why="below a = -709.8 (float64; -88.7 in float32) sigmoid is 0 and its log -inf; softplus stays finite",
    ),
    Rule(before=1 - sigmoid(a), after=sigmoid(-a), why="for large a the difference is 0; sigmoid(-a) is not"),
    Rule(before=sigmoid(a) - 1, after=-sigmoid(-a), why="for large a the difference is 0; sigmoid(-a) is not"),
    Rule(before=1 / (1 + exp(a)), after=sigmoid(-a), why="one function, whose rules and gradient are stable"),
    Rule(before=exp(a) / (1 + exp(a)), after=sigmoid(a), why="above a = 709.8 (88.7) this is inf / inf"),
    Rule(before=log(1 + exp(a)), after=softplus(a), why="above a = 709.8 (88.7) exp is infinite; softplus is a there"),
    Rule(before=log1p(exp(a)), after=softplus(a), why="above a = 709.8 (88.7) exp is infinite; softplus is a there"),
    Rule(before=log(1 + a), after=log1p(a), why="adding 1 drops the digits of a small a"),
    Rule(before=log(1 - a), after=log1p(-a), why="subtracting from 1 drops the digits of a small a"),
    Rule(before=exp(a) - 1, after=expm1(a), why="near a = 0 the difference has lost its digits"),
    Rule(before=1 - exp(a), after=-expm1(a), why="near a = 0 the difference has lost its digits"),
    Rule(
        name="binary cross entropy of a sigmoid",
        before=b * softplus(-a) + (1 - b) * softplus(a),
        after=maximum(a, 0) - b * a + softplus(-absolute(a)),
        why="one exponential instead of two, and for b = 0 or 1 nothing cancels",
    ),
)


@rule(on=(add, sub), why="where the sum is small the three terms cancel, and where they overflow it may not")
def square_of_sum(node: Apply, graph: Graph) -> Variable | None:
    """a^2 + 2ab + b^2, among other terms, is (a + b)^2; with -2ab it is (a - b)^2."""
    parts = terms(node.output)
    squares = {y.owner.inputs[0]: y for y, negative in parts if not negative and _is_square(y) and y.owner is not None}
    for twice, negative in parts if len(squares) > 1 else ():
        factors = product(twice)
        pair = [x for x in factors.over if uniform(x) != 2]
        if len(factors.over) != 3 or factors.under or len(set(pair)) != 2 or not squares.keys() >= set(pair):
            continue
        x, y = pair
        total = sqr(x - y if negative != factors.negative else x + y)
        others = list(parts)
        for used in (twice, negative), (squares[x], False), (squares[y], False):
            others.remove(used)
        for term, subtracted in others:
            total = total - term if subtracted else total + term
        return total if keeps_type(node.output, total) else None
    return None


def _is_square(x: Variable) -> bool:
    node = elementwise(x)
    return node is not None and node.op.function is sqr and x.type.is_float  # type: ignore[attr-defined]


# Softmax ------------------------------------------------------------------------------------------

MOVES = (Take, Subtensor, DimShuffle, Reshape, BroadcastTo, SpecifyShape)  # ops that pick or reorder elements


@rule(on=log, why="a probability that underflows to 0 has the logarithm -inf; log_softmax is exact there")
def log_of_softmax(node: Apply, graph: Graph) -> Variable | None:
    """log(softmax(z)), and of elements picked from it: log(softmax(z)[i, j])."""
    passed: list[Apply] = []
    (x,) = node.inputs
    while x.owner is not None and isinstance(x.owner.op, MOVES) and len(passed) < DEPTH:
        passed.append(x.owner)
        x = x.owner.inputs[0]
    if x.owner is None or not isinstance(x.owner.op, Softmax):
        return None
    result = LogSoftmax(x.owner.op.axis)(x.owner.inputs[0])
    for move in reversed(passed):
        result = move.op(result, *move.inputs[1:])
    return result


@rule(on=log, why="above 709.8 (88.7) exp is infinite, and far below all terms are 0; less the largest they are not")
def log_of_sum_of_exp(node: Apply, graph: Graph) -> Variable | None:
    """log(sum(exp(x))) over some axes; with new axes of length 1 around the sum too. Not where x is y - max(y) already.
    """
    (total,) = node.inputs
    order: tuple[int | str, ...] = tuple(range(total.ndim))
    if total.owner is not None and isinstance(total.owner.op, DimShuffle):
        order = total.owner.op.order
        (total,) = total.owner.inputs
    if total.owner is None or not isinstance(total.owner.op, Sum):
        return None
    inner = elementwise(total.owner.inputs[0])
    if inner is None or inner.op.function is not exp:  # type: ignore[attr-defined]
        return None
    axes = total.owner.op.axes
    (x,) = inner.inputs
    if any(x.type.shape[axis] == 0 for axis in axes) or less_its_largest(x, axes) is not None:
        return None
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    return LogSumExp(axes)(x).dimshuffle(*kept).dimshuffle(*order)


@rule(on=(Softmax, LogSoftmax), why="it takes the largest off itself")
def softmax_of_shifted(node: Apply, graph: Graph) -> Variable | None:
    """softmax(x - max(x)): the largest of the difference is 0, or NaN where that of x is infinite; so are the results.
    """
    x = less_its_largest(node.inputs[0], (node.op.axis,))  # type: ignore[attr-defined]
    return node.op(x) if x is not None and keeps_type(node.inputs[0], x) else None


def less_its_largest(x: Variable, axes: tuple[int, ...]) -> Variable | None:
    """y where x is y - max(y) over these axes, which stay with length 1."""
    node = elementwise(x)
    if node is None or node.op.function is not sub:  # type: ignore[attr-defined]
        return None
    y, largest = node.inputs
    order: tuple[int | str, ...] = tuple(range(largest.ndim))
    if largest.owner is not None and isinstance(largest.owner.op, DimShuffle):
        order = largest.owner.op.order
        (largest,) = largest.owner.inputs
    made = largest.owner
    if made is None or made.op not in (Max(axes), MaxOrLowest(axes)) or made.inputs[0] is not y:
        return None
    kept = [axis for axis in range(y.ndim) if axis not in axes]
    aligned = ["x"] * (y.ndim - len(order)) + list(order)
    return y if aligned == ["x" if axis in axes else kept.index(axis) for axis in range(y.ndim)] else None


# The gradient of softmax --------------------------------------------------------------------------


@rule(on=SoftmaxGradient, why="dividing by a probability that underflowed to 0, then multiplying by it, gives NaN")
def softmax_gradient_of_quotient(node: Apply, graph: Graph) -> Variable | None:
    """With h for the part of g that is divided by p = softmax(z): (h/p - sum(h/p * p)) * p = h - p * sum(h)."""
    g, p = node.inputs
    axis = node.op.axis  # type: ignore[attr-defined]
    parts = [(_times_probability(y, p, graph), y, negative) for y, negative in terms(g)]
    if all(h is None for h, _, _ in parts):
        return None
    total: Variable | None = None
    for h, y, negative in parts:
        share = SoftmaxGradient(axis)(y, p) if h is None else h - p * h.sum(axis=axis, keepdims=True)
        total = (-share if negative else share) if total is None else total - share if negative else total + share
    return total


def _times_probability(g: Variable, p: Variable, graph: Graph) -> Variable | None:
    """g * p without a division by p, where g has one: g = h / p, or zeros with h / p[i, j] added at [i, j]."""
    node = g.owner
    if node is None or not isinstance(node.op, (Scatter, IncSubtensor)):
        rest = _without(g, lambda x: x is p)
        return rest if rest is None or keeps_type(g, rest) else of_shape(rest, g, graph)
    zeros, y, *places = node.inputs
    if not is_zero(zeros):
        return None
    pick = Take(node.op.places) if isinstance(node.op, Scatter) else Subtensor(node.op.brackets)
    rest = _without(y, lambda x: x.owner is not None and x.owner.op == pick and x.owner.inputs == (p, *places))
    return node.op(zeros, rest, *places) if rest is not None else None


def _without(x: Variable, is_divisor: Callable[[Variable], bool]) -> Variable | None:
    """`x` times one of its divisors, if it has one of this kind; it may be a smaller array that broadcasts to that."""
    whole = product(x)
    under = list(whole.under)
    divisor = next((y for y in under if is_divisor(y)), None)
    if divisor is None:
        return None
    under.remove(divisor)
    rest = replace(whole, under=tuple(under)).build()
    return rest if isinstance(rest, Variable) else as_variable(rest, x.dtype)


STABILIZE = (
    *LOGISTIC, square_of_sum, log_of_softmax, log_of_sum_of_exp, softmax_of_shifted, cancel_factors, cancel_in_terms,
    take_out_factor, softmax_gradient_of_quotient,
)  # fmt: skip
