"""Products and quotients as lists of factors, and rules that cancel in them what must not become 0/0.

A gradient divides by a value and multiplies by its derivative, which contains the value: that of log(sigmoid(z)) is
(g / s) * (s * (1 - s)). Where s underflows to 0 this is NaN, though what is meant is finite. Only factors that are
positive by their definition, as s is, are cancelled, so a 0 in their place can only be a rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from symgraph.graph.node import Apply, Constant, Variable, as_variable
from symgraph.ops.axes import DimShuffle
from symgraph.ops.elementary import abs as absolute
from symgraph.ops.elementary import add, exp, mul, neg, sigmoid, softplus, sqr, sqrt, sub, true_divide
from symgraph.ops.elementwise import Cast, Elementwise
from symgraph.ops.gather import Take
from symgraph.ops.layout import BroadcastTo, Length, Reshape
from symgraph.ops.nn import Softmax
from symgraph.ops.reduce import Sum
from symgraph.ops.statistics import SquaredDeviations
from symgraph.rewrite.layouts import of_shape
from symgraph.rewrite.pattern import Graph, keeps_type, rule, uniform

MOST_FACTORS = 12
MOST_TERMS = 8
DEPTH = 4  # ops between a value and what makes it positive


@dataclass(frozen=True)
class Product:
    """The product of the factors `over`, divided by those `under`, with a sign; one without factors is 1 or -1."""

    over: tuple[Variable, ...]
    under: tuple[Variable, ...] = ()
    negative: bool = False

    def cancelled(self) -> Product:
        """Without the positive factors on both sides, and with the stable forms of quotients that have one."""
        over, under = list(self.over), list(self.under)
        for x, y in [(x, y) for x in self.over for y in self.under]:
            stable = quotient(x, y) if x in over and y in under else None
            if stable is not None:
                over[over.index(x)] = next((z for z in under if _same_node(z, stable)), stable)
                under.remove(y)
        for x in tuple(over):
            if x in under and is_positive(x):
                over.remove(x)
                under.remove(x)
        return replace(self, over=tuple(over), under=tuple(under))

    def times(self, other: Product) -> Product:
        """The product of both."""
        return Product(self.over + other.over, self.under + other.under, self.negative != other.negative)

    def build(self) -> Variable | int:
        """The expression; 1 or -1 where no factor is left."""
        value: Variable | int = 1
        for x in self.over:
            value = x if isinstance(value, int) else value * x
        bottom: Variable | int = 1
        for x in self.under:
            bottom = x if isinstance(bottom, int) else bottom * x
        value = value if isinstance(bottom, int) else value / bottom
        return -value if self.negative else value


def product(x: Variable, opens: Callable[[Variable], bool] = lambda y: True) -> Product:
    """The factors of an expression; of one with very many, some may be products themselves.

    opens: which products are taken apart
    """
    over: list[Variable] = []
    under: list[Variable] = []
    negative = False
    todo = [(x, False)]
    while todo:
        y, below = todo.pop()
        node = elementwise(y)
        full = len(todo) + len(over) + len(under) >= MOST_FACTORS
        if node is None or full or not y.type.is_float or not opens(y):
            (under if below else over).append(y)
        elif node.op.function is mul:  # type: ignore[attr-defined]
            todo += [(z, below) for z in reversed(node.inputs)]
        elif node.op.function is true_divide:  # type: ignore[attr-defined]
            todo += [(node.inputs[1], not below), (node.inputs[0], below)]
        elif node.op.function is sqr:  # type: ignore[attr-defined]
            todo += [(node.inputs[0], below)] * 2
        elif node.op.function is neg:  # type: ignore[attr-defined]
            negative = not negative
            todo.append((node.inputs[0], below))
        else:
            (under if below else over).append(y)
    return Product(tuple(over), tuple(under), negative)


def without(
    x: Variable, leaves: Callable[[Variable], bool], opens: Callable[[Variable], bool], depth: int = MOST_FACTORS
) -> tuple[Variable | None, Product]:
    """What is left of a product, grouped as it was, without the factors that `leaves` names; and the product of these.

    opens: which products are taken apart
    """
    if leaves(x):
        return None, Product((x,))
    node = elementwise(x)
    if node is None or depth == 0 or not x.type.is_float or not opens(x):
        return x, Product(())
    function, (y, *others) = node.op.function, node.inputs  # type: ignore[attr-defined]
    if function not in (mul, true_divide, neg):
        return x, Product(())
    left, taken = without(y, leaves, opens, depth - 1)
    if function is neg:
        return left, replace(taken, negative=not taken.negative)
    right, more = without(others[0], leaves, opens, depth - 1)
    if function is true_divide:
        more = Product(more.under, more.over, more.negative)
        if left is None and right is not None:
            left, taken = y, Product(())
    taken = taken.times(more)
    if taken == Product(()):
        return x, taken
    if left is None or right is None:
        return right if left is None else left, taken
    return left * right if function is mul else left / right, taken


def terms(x: Variable) -> list[tuple[Variable, bool]]:
    """What an expression is the sum of, each with whether it is subtracted; of very many, some may be sums."""
    found: list[tuple[Variable, bool]] = []
    todo = [(x, False)]
    while todo:
        y, negative = todo.pop()
        node = elementwise(y)
        if node is None or len(todo) + len(found) >= MOST_TERMS:
            found.append((y, negative))
        elif node.op.function in (add, sub):  # type: ignore[attr-defined]
            turned = negative != (node.op.function is sub)  # type: ignore[attr-defined]
            todo += [(node.inputs[1], turned), (node.inputs[0], negative)]
        elif node.op.function is neg:  # type: ignore[attr-defined]
            todo.append((node.inputs[0], not negative))
        else:
            found.append((y, negative))
    return found


def elementwise(x: Variable) -> Apply | None:
    """The node of a scalar function that made `x`, if one did."""
    return x.owner if x.owner is not None and isinstance(x.owner.op, Elementwise) else None


def _same_node(x: Variable, y: Variable) -> bool:
    """Whether two results are of the same op of the same inputs."""
    return x.owner is not None and y.owner is not None and (x.owner.op, x.owner.inputs) == (y.owner.op, y.owner.inputs)


def quotient(x: Variable, y: Variable) -> Variable | None:
    """The stable form of x / y, where there is one: sigmoid or softmax written out by hand."""
    top, bottom = elementwise(x), elementwise(y)
    if top is None or top.op.function is not exp:  # type: ignore[attr-defined]
        return None
    if bottom is not None:
        is_sum = bottom.op.function is add  # type: ignore[attr-defined]
        return sigmoid(top.inputs[0]) if is_sum and bottom.inputs[0] is x and uniform(bottom.inputs[1]) == 1 else None
    axis = summed_axis(y, x)
    return Softmax(axis)(top.inputs[0]) if axis is not None and x.type.shape[axis] != 0 else None


def summed_axis(y: Variable, x: Variable) -> int | None:
    """The axis over which `y`, aligned to `x`, is the sum of `x`; None where it is something else."""
    inserted = None
    if y.owner is not None and isinstance(y.owner.op, DimShuffle):
        order = y.owner.op.order
        inserted = order.index("x") if order.count("x") == 1 else None
        if inserted is None or [a for a in order if a != "x"] != list(range(x.ndim - 1)):
            return None
        (y,) = y.owner.inputs
    if y.owner is None or not isinstance(y.owner.op, Sum) or y.owner.inputs[0] is not x or len(y.owner.op.axes) != 1:
        return None
    (axis,) = y.owner.op.axes
    return axis if axis == (0 if inserted is None else inserted) else None


def is_positive(x: Variable, depth: int = DEPTH) -> bool:
    """Whether `x` is positive by its definition, so that a 0 in it can only have come from rounding."""
    if isinstance(x, Constant):
        return x.data.size <= 1000 and bool(np.all(x.data > 0))
    if x.owner is None or depth == 0:
        return False
    op, inputs = x.owner.op, x.owner.inputs
    if isinstance(op, Softmax):
        return True
    if isinstance(op, (Sum, Take, DimShuffle, Reshape, BroadcastTo)):
        return is_positive(inputs[0], depth - 1)
    if not isinstance(op, Elementwise):
        return False
    if op.function in (exp, sigmoid, softplus):
        return True
    if op.function is add and any(is_positive(y, depth - 1) for y in inputs):
        return all(_is_not_negative(y, depth - 1) for y in inputs)
    return op.function in (mul, true_divide, sqr, sqrt) and all(is_positive(y, depth - 1) for y in inputs)


def _is_not_negative(x: Variable, depth: int) -> bool:
    """Whether `x` is 0 or more by its definition, or NaN."""
    if isinstance(x, Constant):
        return x.data.size <= 1000 and bool(np.all(x.data >= 0))
    if x.owner is None or depth == 0:
        return False
    op, inputs = x.owner.op, x.owner.inputs
    if isinstance(op, (Length, Softmax, SquaredDeviations)):
        return True
    if isinstance(op, (Sum, Take, DimShuffle, Reshape, BroadcastTo, Cast)):
        return _is_not_negative(inputs[0], depth - 1)
    if not isinstance(op, Elementwise):
        return False
    if op.function in (exp, sigmoid, softplus, sqr, sqrt, absolute):
        return True
    return op.function in (add, mul, true_divide) and all(_is_not_negative(y, depth - 1) for y in inputs)


@rule(on=(mul, true_divide), why="a factor that underflowed to 0 on both sides would give NaN")
def cancel_factors(node: Apply, graph: Graph) -> Variable | None:
    """(g / s) * (s * t) is g * t, for s that is positive by its definition."""
    whole = product(node.output)
    if not whole.under:
        return None
    rest = whole.cancelled()
    return _rebuilt(node, rest.build(), graph) if rest != whole else None


@rule(on=mul, why="a factor that underflowed to 0 on both sides would give NaN")
def cancel_in_terms(node: Apply, graph: Graph) -> Variable | None:
    """(g / s - h / t) * (s * t) is g * t - h * s, for s and t that are positive by their definition."""
    for x, others in (node.inputs, node.inputs[::-1]):
        inner = elementwise(x)
        if inner is None or inner.op.function not in (add, sub):  # type: ignore[attr-defined]
            continue
        factor = product(others)
        parts = [(product(y).times(factor), negative) for y, negative in terms(x)]
        rest = [(part.cancelled(), negative) for part, negative in parts]
        if rest == parts:
            continue
        total: Variable | int = 0
        for part, negative in rest:
            value = part.build()
            total = total - value if negative else value if isinstance(total, int) and total == 0 else total + value
        return _rebuilt(node, total, graph)
    return None


@rule(on=sub, why="for a large argument sigmoid is 1 and the difference 0; 1 - sigmoid(a) as sigmoid(-a) is not")
def take_out_factor(node: Apply, graph: Graph) -> Variable | None:
    """x - x * sigmoid(a) is x * sigmoid(-a)."""
    first, second = (product(x) for x in node.inputs)
    rest = list(second.over)
    for x in first.over:
        if x in rest:
            rest.remove(x)
    extra = elementwise(rest[0]) if len(rest) == 1 and len(second.over) == len(first.over) + 1 else None
    if extra is None or extra.op.function is not sigmoid:  # type: ignore[attr-defined]
        return None
    if sorted(map(id, first.under)) != sorted(map(id, second.under)) or first.negative != second.negative:
        return None
    return _rebuilt(node, node.inputs[0] * sigmoid(-extra.inputs[0]), graph)


def _rebuilt(node: Apply, value: Variable | int, graph: Graph) -> Variable:
    """The value in the dtype and shape of the output of a node."""
    value = value if isinstance(value, Variable) else as_variable(value, node.output.dtype)
    return value if keeps_type(node.output, value) else of_shape(value, node.output, graph)
