"""One element of a node as a scalar expression over loop indices; ops that only re-index are seen through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codegen import ir
from codegen.offsets import ZERO
from symgraph.graph.node import Apply, Constant, Variable
from symgraph.graph.types import TensorType
from symgraph.lower.shapes import Shapes
from symgraph.ops.elementwise import Cast, Elementwise

LOOP_INDICES = tuple(ir.Var(ir.INDEX, name) for name in ("i", "j", "k", "l", *(f"i{axis}" for axis in range(4, 32))))
LOOP_DEPTH = {index: depth for depth, index in enumerate(LOOP_INDICES)}
DEEPEST_SCALAR = 4  # operations in a scalar expression of sizes that is repeated where it is used


@dataclass(frozen=True)
class OperandView:
    """What an op's `element` sees of an operand."""

    elements: Elements
    variable: Variable

    @property
    def type(self) -> TensorType:
        """The operand's type."""
        return self.variable.type

    @property
    def extents(self) -> tuple[ir.Expr, ...]:
        """The operand's lengths as expressions."""
        return self.elements.extents(self.variable)

    def __getitem__(self, index: tuple[ir.Expr, ...]) -> ir.Expr:
        return self.elements.at(self.variable, index)


class Elements:
    """Makes the element expressions of one graph.

    size: how an integer scalar known before any array is touched is written in C
    """

    def __init__(self, shapes: Shapes, size: Callable[[Variable], ir.Expr]):
        self.shapes = shapes
        self.size = size
        self._written_out: dict[Variable, int] = {}  # scalars evaluated where they are used, and how deep they are

    def is_inline(self, node: Apply) -> bool:
        """Whether a node is evaluated where it is used: it re-indexes, or is a small scalar expression of sizes.

        To be asked of the nodes of a graph in order.
        """
        if node.op.inline:
            return True
        x = node.output
        if x.ndim == 0 and isinstance(node.op, (Elementwise, Cast)):
            depths = [self._depth(y) for y in node.inputs]
            if None not in depths and max(depths) < DEEPEST_SCALAR:  # type: ignore[type-var, operator]
                self._written_out[x] = 1 + max(depths)  # type: ignore[type-var, operator]
                return True
        return False

    def _depth(self, x: Variable) -> int | None:
        value = self.shapes.values.get(x)
        if isinstance(x, Constant) or (value is not None and self.shapes.is_host(value)):
            return 0
        return self._written_out.get(x)

    def extents(self, x: Variable) -> tuple[ir.Expr, ...]:
        """The lengths of a value as expressions."""
        return tuple(self.size(n) for n in self.shapes.of(x))

    def domain(self, node: Apply) -> tuple[Variable, ...]:
        """The lengths over which a node's element is taken: its result's, or its operand's if it reduces."""
        return self.shapes.of(node.inputs[0] if node.op.reduced else node.output)

    def apply(self, node: Apply, index: tuple[ir.Expr, ...]) -> ir.Expr:
        """The element of a node's result at an index of its domain."""
        operands = [OperandView(self, x) for x in node.inputs]
        return node.op.element(index, *operands)  # type: ignore[attr-defined]

    def at(self, x: Variable, index: tuple[ir.Expr, ...]) -> ir.Expr:
        """An element of any value: a constant, a size, an element of what `x` re-indexes, or of `x` itself."""
        index = tuple(ZERO if is_one(n) else i for i, n in zip(index, self.shapes.of(x), strict=True))
        if isinstance(x, Constant) and x.data.size == 1:
            return ir.Literal(x.dtype, x.value)
        value = self.shapes.values.get(x)
        if value is not None and self.shapes.is_host(value):
            size = self.size(value)
            if isinstance(size, ir.Literal):
                return ir.Literal(x.dtype, bool(size.value) if x.dtype == "bool" else size.value)
            return size if x.dtype == ir.INDEX else ir.Cast(x.dtype, size)
        if x.owner is not None and (x.owner.op.inline or x in self._written_out):
            return self.apply(x.owner, index)
        return ir.Element(x.dtype, x, index)


def is_one(n: Variable) -> bool:
    """Whether a length is known to be 1."""
    return isinstance(n, Constant) and n.value == 1


def squeeze(lengths: Sequence[Variable]) -> tuple[Variable, ...]:
    """The lengths that need a loop: those not known to be 1."""
    return tuple(n for n in lengths if not is_one(n))


def loop_index(lengths: Sequence[Variable]) -> tuple[ir.Expr, ...]:
    """The loop indices of a nest over `lengths`, with 0 where the length is 1."""
    loops = iter(LOOP_INDICES)
    return tuple(ZERO if is_one(n) else next(loops) for n in lengths)


def is_loop_index(expr: ir.Expr) -> bool:
    """Whether an expression is one of the loop indices."""
    return isinstance(expr, ir.Var) and expr in LOOP_DEPTH
