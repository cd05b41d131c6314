"""The part of the canonical form that is about shapes: lengths told by the lengths of inputs, no stretching and no
reordering of axes that a loop would do anyway.

An unknown length is taken to equal its partner, as everywhere; that it does is checked when a function is called, for
the expression as the user wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from symgraph.graph.node import Apply, Constant, Variable, as_variable
from symgraph.ops.axes import DimShuffle
from symgraph.ops.creation import Arange
from symgraph.ops.elementwise import Elementwise, Unbroadcast, cast
from symgraph.ops.gather import Scatter
from symgraph.ops.indexing import IncSubtensor
from symgraph.ops.layout import BroadcastTo, Length, Reshape, SpecifyShape
from symgraph.ops.slices import WindowStore
from symgraph.rewrite.pattern import Graph, keeps_type, rule, uniform

Extent = int | tuple[Variable, int] | Variable  # a number; the length of an axis of a variable; an integer scalar


# Lengths ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """An operand as an op's `shape` sees it, with lengths told as `Length` of it."""

    variable: Variable
    shape: tuple[Variable, ...]

    @property
    def value(self) -> Variable:
        """The operand itself."""
        return self.variable


def measured(x: Variable, graph: Graph) -> Measured:
    """The lengths of a variable, made once in a pass."""
    key = ("measured", x)
    if key not in graph.notes:
        lengths = [as_variable(n) if n is not None else Length(axis)(x) for axis, n in enumerate(x.type.shape)]
        graph.notes[key] = Measured(x, tuple(lengths))
    return graph.notes[key]


def extent(x: Variable, axis: int, graph: Graph) -> Extent:
    """The length of an axis, followed back through the ops to where it comes from."""
    passed = []
    found: Extent
    while True:
        key = ("extent", x, axis)
        known = x.type.shape[axis]
        if known is not None:
            found = known
            break
        if key in graph.notes:
            found = graph.notes[key]
            break
        passed.append(key)
        declared = extent_of_scalar(_declared(x.owner, graph)[axis]) if x.owner is not None else (x, axis)
        if not isinstance(declared, tuple) or declared == (x, axis):
            found = declared
            break
        x, axis = declared
    for key in passed:
        graph.notes[key] = found
    return found


def extent_of_scalar(n: Variable) -> Extent:
    """What an integer scalar says about a length, if it is a constant or itself a length."""
    if isinstance(n, Constant):
        return int(n.value)
    if n.owner is not None and isinstance(n.owner.op, Length):
        return n.owner.inputs[0], n.owner.op.axis
    return n


def _declared(node: Apply, graph: Graph) -> Sequence[Variable]:
    """The lengths of a result as its op tells them, asked for once in a pass."""
    key = ("declared", node)
    if key not in graph.notes:
        graph.notes[key] = node.op.shape(_same, *[measured(x, graph) for x in node.inputs])
    return graph.notes[key]


def _same(left: Variable, right: Variable) -> Variable:
    return right if isinstance(right, Constant) else left


def as_scalar(n: Extent) -> Variable:
    """A length as an int64 scalar of the graph."""
    return Length(n[1])(n[0]) if isinstance(n, tuple) else cast(as_variable(n), "int64")


@rule(on=Length, why="a length of a result is told by lengths of inputs, so the result need not be computed for it")
def length_of_input(node: Apply, graph: Graph) -> Variable | None:
    (x,) = node.inputs
    axis = node.op.axis  # type: ignore[attr-defined]
    found = extent(x, axis, graph)
    return as_scalar(found) if found != (x, axis) else None


def count_to(n: Variable, dtype: str = "int64") -> Variable:
    """The numbers from 0 to before n, an int64 scalar."""
    zero, one = as_variable(0, dtype), as_variable(1, dtype)
    return Arange(dtype, int(n.value))(zero, one) if isinstance(n, Constant) else Arange(dtype, None)(zero, one, n)


# Axes ---------------------------------------------------------------------------------------------


@rule(on=DimShuffle, why="one reordering of axes, or none")
def compose_dimshuffles(node: Apply, graph: Graph) -> Variable | None:
    (x,) = node.inputs
    order = node.op.order  # type: ignore[attr-defined]
    if order == tuple(range(x.ndim)):
        return x
    if x.owner is None or not isinstance(x.owner.op, DimShuffle):
        return None
    inner = x.owner.op.order
    return x.owner.inputs[0].dimshuffle(*["x" if a == "x" else inner[a] for a in order])


@rule(on=DimShuffle, why="a full array is generated in any order of its axes")
def reorder_fill(node: Apply, graph: Graph) -> Variable | None:
    (x,) = node.inputs
    if x.owner is None or not isinstance(x.owner.op, BroadcastTo) or x.owner.inputs[0].ndim:
        return None
    value, lengths = x.owner.inputs[0], measured(x, graph).shape
    return value.broadcast_to([1 if a == "x" else lengths[a] for a in node.op.order])  # type: ignore[attr-defined]


@rule(on=DimShuffle, why="factors of a value that is computed per row are seen by the rules for products")
def reshape_operands(node: Apply, graph: Graph) -> Variable | None:
    """Axes of length 1 of an elementwise result that is used only here come and go on the operands; transposes stay."""
    (x,) = node.inputs
    order = node.op.order  # type: ignore[attr-defined]
    kept = [a for a in order if a != "x"]
    if kept != sorted(kept) or any(n != 1 for a, n in enumerate(x.type.shape) if a not in kept):
        return None
    if x.owner is None or not isinstance(x.owner.op, Elementwise) or not graph.used_once(x):
        return None
    operands = []
    for operand in x.owner.inputs:
        missing = x.ndim - operand.ndim
        aligned = ["x" if a == "x" or a < missing else a - missing for a in order]
        first = next((k for k, a in enumerate(aligned) if a != "x"), len(aligned))
        operands.append(operand.dimshuffle(*aligned[first:]))
    result = x.owner.op(*operands)
    return result if keeps_type(node.output, result) else None


# Stretching ---------------------------------------------------------------------------------------


@rule(on=Unbroadcast, why="which axes were stretched is known now")
def expand_unbroadcast(node: Apply, graph: Graph) -> Variable | None:
    return with_lengths(node.op.expand(*node.inputs), node.output)  # type: ignore[attr-defined]


def with_lengths(value: Variable, x: Variable) -> Variable:
    """A value of the shape of `x`, with the lengths known that are known of `x`."""
    return value if keeps_type(x, value) else value.specify_shape(x.type.shape)


@rule(on=(BroadcastTo, Reshape), why="it has this shape already")
def keep_shape(node: Apply, graph: Graph) -> Variable | None:
    x = node.inputs[0]
    if x.ndim != node.output.ndim or not keeps_type(node.output, x):
        return None
    wanted = _lengths(node, graph)
    return x if all(extent(x, axis, graph) == n for axis, n in enumerate(wanted)) else None


@rule(on=BroadcastTo, why="stretched once")
def compose_broadcasts(node: Apply, graph: Graph) -> Variable | None:
    x = node.inputs[0]
    small = unstretched(x)
    if small is x:
        return None
    result = node.op(small, *node.inputs[1:])
    return result if keeps_type(node.output, result) else None


@rule(on=(Scatter, IncSubtensor, WindowStore), why="what is stored is stretched by the loop that stores it")
def store_unstretched(node: Apply, graph: Graph) -> Variable | None:
    x, y, *places = node.inputs
    small = unstretched(y)
    return node.op(x, small, *places) if small is not y else None


@rule(on=Elementwise, why="a loop over the result reads one number as easily as an array full of it")
def read_unstretched(node: Apply, graph: Graph) -> Variable | None:
    """Operands that are stretched, where another operand has the shape of the result."""
    operands = list(node.inputs)
    changed = False
    for k, x in enumerate(node.inputs):
        small = unstretched(x)
        if small is not x:
            tried = [*operands[:k], small, *operands[k + 1 :]]
            shape = node.op.infer_type(*[y.type for y in tried])
            if keeps_type(node.output, Variable(shape, origin=node.output.origin)):
                operands, changed = tried, True
    return node.op(*operands) if changed else None


@rule(on=Elementwise, why="what is the same everywhere is computed once, then stretched")
def stretch_result(node: Apply, graph: Graph) -> Variable | None:
    """All operands are scalars, or stretched to the same shape."""
    stretched = [x.owner for x in node.inputs if x.owner is not None and isinstance(x.owner.op, BroadcastTo)]
    if not stretched or sum(x.ndim > 0 for x in node.inputs) != len(stretched):
        return None
    first = stretched[0]
    if any(other.op != first.op or other.inputs[1:] != first.inputs[1:] for other in stretched):
        return None
    value = node.op(*[unstretched(x) if x.ndim else x for x in node.inputs])
    result = first.op(value, *first.inputs[1:])
    return result if keeps_type(node.output, result) else None


def unstretched(x: Variable) -> Variable:
    """The smaller array that broadcasts to `x`; `x` itself where there is none."""
    number = uniform(x) if x.ndim else None
    if number is not None and isinstance(x, Constant):
        return Constant(x.data.reshape(-1)[:1].reshape(()), x.name, x.origin)
    if x.owner is not None and isinstance(x.owner.op, BroadcastTo):
        return x.owner.inputs[0]
    if x.owner is not None and isinstance(x.owner.op, DimShuffle):
        order = x.owner.op.order
        leading = next((k for k, a in enumerate(order) if a != "x"), len(order))
        return x.owner.inputs[0].dimshuffle(*order[leading:]) if leading else x
    return x


def is_zero(x: Variable) -> bool:
    """Whether all elements of `x` are known to be 0."""
    stretched = x.owner is not None and isinstance(x.owner.op, BroadcastTo)
    return uniform(x.owner.inputs[0] if stretched and x.owner is not None else x) == 0


# Reshape ------------------------------------------------------------------------------------------


@rule(on=Reshape, why="only the last shape counts")
def compose_reshapes(node: Apply, graph: Graph) -> Variable | None:
    x = node.inputs[0]
    if x.owner is None:
        return None
    op = x.owner.op
    ones = isinstance(op, DimShuffle) and [a for a in op.order if a != "x"] == list(range(x.owner.inputs[0].ndim))
    return node.op(x.owner.inputs[0], *node.inputs[1:]) if ones or isinstance(op, Reshape) else None


@rule(on=Reshape, why="axes of length 1 come and go without moving an element, and loops read through that")
def reshape_by_ones(node: Apply, graph: Graph) -> Variable | None:
    x = node.inputs[0]
    mine = [(axis, n) for axis in range(x.ndim) if (n := extent(x, axis, graph)) != 1]
    wanted = _lengths(node, graph)
    if [n for _, n in mine] != [n for n in wanted if n != 1]:
        return None
    axes = iter([axis for axis, _ in mine])
    result = x.dimshuffle(*["x" if n == 1 else next(axes) for n in wanted])
    return result if keeps_type(node.output, result) else None


def _lengths(node: Apply, graph: Graph) -> list[Extent]:
    """The lengths that a BroadcastTo or a Reshape is given."""
    operands = iter(node.inputs[1:])
    result: list[Extent] = []
    for n in node.op.lengths:  # type: ignore[attr-defined]
        given = extent_of_scalar(next(operands)) if n is None else n
        result.append(extent(given[0], given[1], graph) if isinstance(given, tuple) else given)
    return result


@rule(on=(BroadcastTo, Reshape), why="lengths that are known are part of the type")
def fix_lengths(node: Apply, graph: Graph) -> Variable | None:
    """Operands that turned out to be constants, but for 1: who uses the result may count on its being stretched."""
    rest = iter(node.inputs[1:])
    lengths = [n if n is not None else next(rest) for n in node.op.lengths]  # type: ignore[attr-defined]
    lengths = [int(n.value) if isinstance(n, Constant) and n.value != 1 else n for n in lengths]
    unknown = [n for n in lengths if isinstance(n, Variable)]
    if len(unknown) == len(node.inputs) - 1 or any(isinstance(n, int) and n < 0 for n in lengths):
        return None
    known = tuple(n if isinstance(n, int) else None for n in lengths)
    return type(node.op)(known)(node.inputs[0], *unknown)  # type: ignore[call-arg]


@rule(on=SpecifyShape, why="the shape is known already")
def specified(node: Apply, graph: Graph) -> Variable | None:
    x = node.inputs[0]
    return x if len(node.inputs) == 1 and x.type.shape == node.output.type.shape else None


def of_shape(value: Variable, x: Variable, graph: Graph) -> Variable:
    """`value` stretched to the shape of `x`, which is not needed for that."""
    lengths = [as_scalar(extent(x, axis, graph)) for axis in range(x.ndim)]
    return value if None not in x.type.shape and value.type.shape == x.type.shape else value.broadcast_to(lengths)


LAYOUTS = (
    length_of_input, compose_dimshuffles, reorder_fill, reshape_operands, expand_unbroadcast,
    keep_shape, compose_broadcasts, store_unstretched, fix_lengths, read_unstretched, stretch_result, compose_reshapes,
    reshape_by_ones, specified,
)  # fmt: skip
