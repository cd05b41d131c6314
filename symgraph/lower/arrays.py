"""The C arrays of a program: which of them holds which value, and what values are called in comments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codegen import ir
from codegen.alignment import ALIGNMENT
from codegen.c_expressions import expression
from codegen.dtypes import itemsize
from codegen.offsets import ZERO, add, element_count, flat_offset, multiply
from codegen.threads import MOST_BLOCKS
from symgraph.graph.node import Variable
from symgraph.graph.printing import excerpt
from symgraph.graph.types import TensorType
from symgraph.lower.blocks import Share
from symgraph.lower.buffers import Layout
from symgraph.lower.elements import Elements
from symgraph.lower.names import Names
from symgraph.lower.regions import Placement, Schedule
from symgraph.lower.sizes import Sizes


class Arrays:
    """The arrays of one program, once it is decided where values live.

    arguments: the arrays of inputs, shared variables and constants; results: those that the caller allocates
    """

    def __init__(
        self,
        arguments: Mapping[Variable, ir.Buffer],
        results: Sequence[ir.Buffer],
        schedule: Schedule,
        layout: Layout,
        elements: Elements,
        names: Names,
    ):
        self.results = results
        self.schedule = schedule
        self.layout = layout
        self.elements = elements
        self.shapes = elements.shapes
        self.names = names
        self._buffers = dict(arguments)
        self._called = {first: x.name for x, first in layout.first_of.items() if x.name}  # by the last with a name
        self._shares: list[tuple[ir.Buffer, int]] = []  # arrays that have a row for every block, and their slots
        for x in schedule.stored:
            if x in layout.slot_of:
                self.of(x)

    def of(self, x: Variable) -> ir.Buffer:
        """The array that holds a value."""
        if x in self.layout.in_place:
            return self._buffers[self.layout.in_place[x]]
        if x in self.layout.arguments:
            return self.results[self.layout.arguments[x]]
        if x in self._buffers:
            return self._buffers[x]
        if x in self.layout.first_of:
            return self.of(self.layout.first_of[x])
        alias = self.schedule.aliases.get(x)
        writable = alias is None or self.of(alias.base).writable
        self._buffers[x] = ir.Buffer(self.names.fresh(self._called.get(x, x.name), "t"), x.dtype, writable)
        return self._buffers[x]

    def place_shares(self, shares: Sequence[Share]) -> None:
        """Find room for what the blocks of one nest leave; the next nest may have the same, for they run in turn."""
        slots = self.layout.slots
        free = sorted({number for _, number in self._shares})
        for share in shares:
            size = multiply(share.row, ir.index(MOST_BLOCKS * itemsize(share.array.dtype)))
            number = next((k for k in free if slots[k] == size), None)
            if number is None:
                number = len(slots)
                slots.append(size)
            else:
                free.remove(number)
            self._shares.append((share.array, number))

    def placed(self, x: Variable, placement: Placement | None = None) -> PlacedArray:
        """A value as an op's `loops` see it."""
        return PlacedArray(self, x, placement or Placement(x, ZERO))

    def definitions(self, sizes: Sizes) -> tuple[list[ir.Stmt], int]:
        """Statements that define the arrays which are no arguments; and the position of the size of the workspace."""
        out: list[ir.Stmt] = []
        starts, total = sizes.layout(self.layout.slots, ALIGNMENT)
        workspace = sizes.finish(total)
        for x, number in self.layout.slot_of.items():
            if x not in self.layout.taken_over:
                out.append(ir.Place(self.of(x), "workspace", starts[number]))
        out += [ir.Place(array, "workspace", starts[number]) for array, number in self._shares]
        for x, placement in self.schedule.aliases.items():
            if x in self._buffers:
                out.append(ir.Place(self._buffers[x], self.of(placement.base).name, placement.offset))
        return out, workspace

    def count(self, x: Variable) -> ir.Expr:
        """The number of elements of a value."""
        return element_count(self.elements.extents(x))

    def type_text(self, x: Variable) -> str:
        """The dtype and the lengths, as C names them."""
        lengths = [expression(n) for n in self.elements.extents(x)]
        return f"{x.dtype} ({', '.join(lengths)}{',' * (len(lengths) == 1)})"

    def line(self, x: Variable) -> str:
        """What a value is, its type and the user's line, for a comment."""
        target = self.layout.in_place.get(x)
        label = f"{target.name} <- " if target is not None and target.name else f"{x.name} = " if x.name else ""
        return f"{label}{excerpt(x, most=16)} : {self.type_text(x)}    {x.origin}"


@dataclass(frozen=True)
class PlacedArray:
    """What an op's `loops` see of an array in memory."""

    arrays: Arrays
    variable: Variable
    placement: Placement

    @property
    def type(self) -> TensorType:
        """The array's type."""
        return self.variable.type

    @property
    def extents(self) -> tuple[ir.Expr, ...]:
        """The lengths as expressions."""
        return self.arrays.elements.extents(self.variable)

    @property
    def transposed(self) -> bool:
        """Whether a matrix, or each of a stack, is stored by columns."""
        return self.placement.transposed

    @property
    def buffer(self) -> ir.Buffer:
        """The C array."""
        return self.arrays.of(self.placement.base)

    @property
    def pointer(self) -> ir.Pointer:
        """The address of the first element."""
        return ir.Pointer(self.buffer, self.placement.offset)

    def load(self, *index: ir.Expr) -> ir.Expr:
        """An element; a scalar known without memory is given as such."""
        element = self.arrays.elements.at(self.variable, index)
        if not isinstance(element, ir.Element):
            return element
        return ir.Load(self.variable.dtype, self.buffer, self._offset(index))

    def store(self, index: Sequence[ir.Expr], value: ir.Expr) -> ir.Stmt:
        """The statement that writes an element."""
        return ir.Store(self.buffer, self._offset(index), value)

    def _offset(self, index: Sequence[ir.Expr]) -> ir.Expr:
        index, extents = tuple(index), self.extents
        if self.transposed:
            index, extents = (*index[:-2], index[-1], index[-2]), (*extents[:-2], extents[-1], extents[-2])
        return add(self.placement.offset, flat_offset(index, extents))
