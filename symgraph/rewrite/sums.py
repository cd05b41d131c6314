"""The part of the canonical form that is about reductions: as few of them, over as few elements, as possible."""

from __future__ import annotations

import math

import numpy as np

from symgraph.graph.node import Apply, Constant, Variable, as_variable
from symgraph.ops.axes import DimShuffle
from symgraph.ops.elementary import gt, mul, neg, switch, true_divide
from symgraph.ops.elementwise import Elementwise, cast
from symgraph.ops.layout import BroadcastTo
from symgraph.ops.reduce import Max, Min, Prod, Sum
from symgraph.rewrite.layouts import as_scalar, extent
from symgraph.rewrite.pattern import Graph, keeps_type, rule
from symgraph.rewrite.products import Product, elementwise, without

REDUCTIONS = (Sum, Prod, Max, Min)  # those that a single element passes unchanged, but for its dtype


@rule(on=REDUCTIONS, why="one element is its own sum and its own maximum")
def reduce_one_element(node: Apply, graph: Graph) -> Variable | None:
    (x,) = node.inputs
    axes = node.op.axes  # type: ignore[attr-defined]
    single = [axis for axis in axes if extent(x, axis, graph) == 1]
    if axes and not single:
        return None
    rest = x.dimshuffle(*[axis for axis in range(x.ndim) if axis not in single])
    if len(single) == len(axes):
        return cast(rest, node.output.dtype)
    return type(node.op)(_renumbered(axes, single))(rest)  # type: ignore[call-arg]


@rule(on=REDUCTIONS, why="both at once")
def compose_reductions(node: Apply, graph: Graph) -> Variable | None:
    (x,) = node.inputs
    if x.owner is None or type(x.owner.op) is not type(node.op) or x.dtype != x.owner.inputs[0].dtype:
        return None
    inner = x.owner.op.axes  # type: ignore[attr-defined]
    (y,) = x.owner.inputs
    kept = [axis for axis in range(y.ndim) if axis not in inner]
    axes = sorted([*inner, *[kept[axis] for axis in node.op.axes]])  # type: ignore[attr-defined]
    return type(node.op)(tuple(axes))(y) if graph.used_once(x) else None  # type: ignore[call-arg]


@rule(on=REDUCTIONS, why="the order of the axes that are combined does not matter")
def reduce_before_reordering(node: Apply, graph: Graph) -> Variable | None:
    """Not where axes of length 1 were dropped: those that are combined are neighbours without them."""
    (x,) = node.inputs
    if x.owner is None or not isinstance(x.owner.op, DimShuffle):
        return None
    order = x.owner.op.order
    (y,) = x.owner.inputs
    if len(order) - order.count("x") < y.ndim:
        return None
    axes = node.op.axes  # type: ignore[attr-defined]
    inner = tuple(sorted(order[axis] for axis in axes if order[axis] != "x"))
    result = type(node.op)(inner)(y) if inner else cast(y, node.output.dtype)  # type: ignore[call-arg]
    left = [axis for axis in range(y.ndim) if axis not in inner]
    kept = [order[axis] for axis in range(x.ndim) if axis not in axes]
    return result.dimshuffle(*["x" if a == "x" else left.index(a) for a in kept])  # type: ignore[arg-type]


@rule(on=Sum, why="one product instead of one for each element")
def sum_of_scaled(node: Apply, graph: Graph) -> Variable | None:
    """Factors, divisors and signs that are the same for all that is summed to one element.

    What is summed may be used elsewhere, if what is left of it was computed on the way there. A sum of nothing stays
    0 where a factor is infinite.
    """
    (x,) = node.inputs
    if x.owner is None or not isinstance(x.owner.op, Elementwise) or not x.type.is_float:
        return None
    axes = node.op.axes  # type: ignore[attr-defined]

    def is_same(factor: Variable) -> bool:
        own = [axis - x.ndim + factor.ndim for axis in axes]
        return all(axis < 0 or factor.type.shape[axis] == 1 for axis in own)

    def dropped(factor: Variable) -> Variable:
        own = [axis - x.ndim + factor.ndim for axis in axes]
        return factor.dimshuffle(*[axis for axis in range(factor.ndim) if axis not in own])

    inner, same = without(x, is_same, lambda y: y is x or graph.used_once(y))
    if inner is None or same == Product(()) or not keeps_type(x, inner):
        return None
    only_a_sign = not same.over and not same.under
    if not graph.used_once(x) and (only_a_sign or not _is_part(inner, x)):
        return None
    total = node.op(inner)
    for factor in same.over:
        total = total * dropped(factor)
    for factor in same.under:
        total = total / dropped(factor)
    lengths = [extent(x, axis, graph) for axis in axes]
    tame = all(map(is_finite, same.over)) and all(isinstance(y, Constant) and np.all(y.data != 0) for y in same.under)
    if not tame and not all(isinstance(n, int) and n > 0 for n in lengths):
        terms = math.prod([as_scalar(n) for n in lengths], start=1)
        total = switch(gt(terms, 0), total, as_variable(0, total.dtype))
    return -total if same.negative else total


def _is_part(part: Variable, x: Variable) -> bool:
    """Whether a product is computed on the way to another."""
    todo = [x]
    while todo:
        y = todo.pop()
        if y is part:
            return True
        node = elementwise(y)
        if node is not None and node.op.function in (mul, true_divide, neg):  # type: ignore[attr-defined]
            todo += node.inputs
    return False


@rule(on=Sum, why="as many equal terms are a product")
def sum_of_stretched(node: Apply, graph: Graph) -> Variable | None:
    """Not where there may be no terms and the one there would be might be infinite, for 0 times that is NaN."""
    (x,) = node.inputs
    if x.owner is None or not isinstance(x.owner.op, BroadcastTo):
        return None
    small = x.owner.inputs[0]
    extra = x.ndim - small.ndim
    axes = node.op.axes  # type: ignore[attr-defined]
    free = [axis for axis in axes if axis < extra or small.type.shape[axis - extra] == 1]
    if not free:
        return None
    sizes = [extent(x, axis, graph) for axis in free]
    if not all(isinstance(n, int) and n > 0 for n in sizes) and not is_finite(small):
        return None
    count = math.prod([as_scalar(n) for n in sizes], start=1)
    lengths = [as_scalar(extent(x, axis, graph)) for axis in range(x.ndim) if axis not in free]
    dropped = [axis - extra for axis in free if axis >= extra]
    rest = small.dimshuffle(*[axis for axis in range(small.ndim) if axis not in dropped]).broadcast_to(lengths)
    term = cast(rest, node.output.dtype) * cast(count, node.output.dtype)
    result = type(node.op)(_renumbered(axes, free))(term) if len(free) < len(axes) else term  # type: ignore[call-arg]
    return result if keeps_type(node.output, result) else None


def is_finite(x: Variable) -> bool:
    """Whether `x` is a constant without NaN and infinity, or of integers."""
    return not x.type.is_float or (isinstance(x, Constant) and bool(np.all(np.isfinite(x.data))))


def _renumbered(axes: tuple[int, ...], dropped: list[int]) -> tuple[int, ...]:
    """The numbers of the axes that are not dropped, once those are gone."""
    return tuple(axis - sum(d < axis for d in dropped) for axis in axes if axis not in dropped)


SUMS = (reduce_one_element, compose_reductions, reduce_before_reordering, sum_of_scaled, sum_of_stretched)
