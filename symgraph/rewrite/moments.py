"""Variances: sums of squared deviations from a mean, however they are written, and the sums taken beside them."""

from __future__ import annotations

from symgraph.graph.node import Apply, Variable
from symgraph.ops.axes import DimShuffle
from symgraph.ops.elementary import sqr, sub, true_divide
from symgraph.ops.elementwise import Cast
from symgraph.ops.moments import are_leading, moments
from symgraph.ops.reduce import Sum
from symgraph.ops.statistics import SquaredDeviations
from symgraph.rewrite.layouts import Extent, extent, extent_of_scalar
from symgraph.rewrite.pattern import Graph, keeps_type, rule, uniform
from symgraph.rewrite.products import elementwise


@rule(on=Sum, why="one pass over the array instead of two")
def squared_deviations(node: Apply, graph: Graph) -> Variable | None:
    """sum((x - sum(x, axis=0) / n)², axis=0) of n rows."""
    squares = elementwise(node.inputs[0])
    if node.op != Sum((0,)) or squares is None or squares.op.function is not sqr:  # type: ignore[attr-defined]
        return None
    deviations = elementwise(squares.inputs[0])
    if deviations is None or deviations.op.function is not sub:  # type: ignore[attr-defined]
        return None
    x, center = deviations.inputs
    if x.ndim == 0 or not _is_mean(center, x, graph):
        return None
    result = SquaredDeviations((0,))(x)
    return result if keeps_type(node.output, result) else None


@rule(on=Sum, why="the pass that finds the squared deviations finds it")
def sum_beside_squared_deviations(node: Apply, graph: Graph) -> Variable | None:
    (x,) = node.inputs
    axes = node.op.axes  # type: ignore[attr-defined]
    if not x.type.is_float or not are_leading(axes) or not graph.has(SquaredDeviations(axes), x):
        return None
    return moments(x, axes)[0]


def _is_mean(y: Variable, x: Variable, graph: Graph) -> bool:
    """Whether `y` is the mean of the rows of `x`, as a row."""
    quotient = elementwise(_without_axis(y))
    if quotient is None or quotient.op.function is not true_divide:  # type: ignore[attr-defined]
        return False
    total, count = quotient.inputs
    total = _without_axis(total)
    if total.owner is None or total.owner.op != Sum((0,)) or total.owner.inputs[0] is not x:
        return False
    n: Extent | bool | float | None = uniform(count)
    if count.owner is not None and isinstance(count.owner.op, Cast):
        n = extent_of_scalar(count.owner.inputs[0])
    return (extent(n[0], n[1], graph) if isinstance(n, tuple) else n) == extent(x, 0, graph)


def _without_axis(x: Variable) -> Variable:
    """What a row was before it got a first axis of length 1."""
    if x.owner is not None and x.owner.op == DimShuffle(("x", *range(x.ndim - 1))):
        return x.owner.inputs[0]
    return x
