"""The integers of a compiled function, lengths, bounds, the layout of the workspace, and the C that computes them.

They stand in one array. The caller fills in the first, the lengths of its arguments; the plan derives the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from codegen import ir
from codegen.offsets import ZERO, add, multiply
from codegen.visit import walk
from symgraph.graph.node import Constant, Variable
from symgraph.graph.traverse import toposort
from symgraph.lower.names import Names
from symgraph.lower.shapes import Shapes
from symgraph.ops.elementwise import Cast, Elementwise

DEEPEST_EXPRESSION = 5  # beyond this a part gets a local variable of its own


class NeedsArray(Exception):
    """A length depends on `value`, an integer scalar that only a computation on arrays can tell."""

    def __init__(self, value: Variable):
        super().__init__(value)
        self.value = value


class Sizes:
    """The sizes of one function. They are added as they are asked for, and keep their positions.

    arguments: the arrays whose lengths the caller fills in, in order
    """

    def __init__(
        self, shapes: Shapes, names: Names, buffers: Mapping[Variable, ir.Buffer], arguments: Sequence[Variable]
    ):
        self._shapes = shapes
        self._names = names
        self._buffers = buffers
        self._given: dict[tuple[Variable, int], ir.Var] = {}
        for x in arguments:
            for axis in range(x.ndim):
                self._given[x, axis] = ir.Var(ir.INDEX, names.fresh(f"{buffers[x].name}_{axis}"))
        self._derived: dict[Variable, ir.Var] = {}
        self._vars: list[ir.Var] = []
        self._positions = {var: k for k, var in enumerate(self._given.values())}
        self._exprs: dict[Variable, tuple[ir.Expr, int]] = {}
        self.plan: list[ir.Stmt] = []
        self.reads_values = False

    @property
    def given(self) -> tuple[ir.Var, ...]:
        """The lengths of the arguments."""
        return tuple(self._given.values())

    @property
    def derived(self) -> tuple[ir.Var, ...]:
        """What the plan computes, in the order of positions."""
        return tuple(self._vars)

    def given_of(self, x: Variable, axis: int) -> ir.Var:
        """The length that the caller fills in for one axis of an argument."""
        return self._given[x, axis]

    def of(self, n: Variable) -> ir.Expr:
        """A size as a constant or a variable."""
        n = self._shapes.find(n)
        if isinstance(n, Constant):
            return ir.index(int(n.value))
        if n in self._shapes.symbols:
            return self._given[self._shapes.symbols[n]]
        if n not in self._derived:
            expr = self.raw(n)
            self._derived[n] = self._define(n.name, expr if expr.dtype == ir.INDEX else ir.Cast(ir.INDEX, expr))
        return self._derived[n]

    def position(self, n: Variable) -> int | None:
        """Where in the array a length stands; None if it is a constant."""
        size = self.of(n)
        return None if isinstance(size, ir.Literal) else self.position_of(size)

    def position_of(self, size: ir.Expr) -> int:
        """Where in the array a size stands."""
        return self._positions[size]  # type: ignore[index]

    def raw(self, n: Variable) -> ir.Expr:
        """An integer or bool scalar as an expression over the sizes given, whatever it is declared equal to.

        Raises NeedsArray where it depends on more than these.
        """
        unknown: set[Variable] = set()
        for node in toposort([n], stop=self._exprs):
            op, x = node.op, node.output
            if not isinstance(op, (Cast, Elementwise)) or x.ndim or not unknown.isdisjoint(node.inputs):
                if not x.ndim and not x.type.is_float:
                    raise NeedsArray(x)
                unknown.add(x)
                continue
            parts = [self._part(x) for x in node.inputs]
            if isinstance(op, Cast):
                expr: ir.Expr = ir.Cast(op.dtype, parts[0][0])
            else:
                expr = op.function.c(*[e for e, _ in parts])
            depth = 1 + max((d for _, d in parts), default=0)
            if depth > DEEPEST_EXPRESSION:
                local = ir.Var(expr.dtype, self._names.fresh(node.output.name, "n"))
                self.plan.append(ir.Declare(local, expr))
                expr, depth = local, 0
            self._exprs[node.output] = expr, depth
        return self._part(n)[0]

    def _part(self, x: Variable) -> tuple[ir.Expr, int]:
        if isinstance(x, Constant):
            return ir.Literal(x.dtype, x.value), 0
        if x in self._derived:
            var = self._derived[x]
            return (var if x.dtype == ir.INDEX else ir.Cast(x.dtype, var)), 0
        if x in self._shapes.symbols:
            return self._given[self._shapes.symbols[x]], 0
        if x in self._exprs:
            return self._exprs[x]
        self.reads_values = True
        return ir.Load(x.dtype, self._buffers[x], ZERO), 0

    def fits(self, slots: Sequence[ir.Expr]) -> ir.Expr | None:
        """The condition that the bytes of all slots can be counted in 64 bits; None where the arguments themselves,
        which exist, have as many elements.
        """
        unknown = Counter(size for size in slots if not self._is_backed(size))
        if not unknown:
            return None
        counted = [_in_float(size) if n == 1 else float(n) * _in_float(size) for size, n in unknown.items()]
        return ir.Operation("bool", "lt", (sum(counted[1:], counted[0]), ir.lift(2.0**62, "float64")))

    def _is_backed(self, size: ir.Expr) -> bool:
        """Whether it is a product of different lengths of one argument, but for constants."""
        parts = list(walk(size))
        lengths = [e for e in parts if not isinstance(e, ir.Literal | ir.Operation)]
        owners = {x for (x, _), var in self._given.items() if var in lengths}
        rounded = (e.name == "mul" or isinstance(e.args[-1], ir.Literal) for e in parts if isinstance(e, ir.Operation))
        return all(rounded) and len(owners) <= 1 and len({*lengths}) == len(lengths) and {*lengths} <= {*self.given}

    def layout(self, slots: Sequence[ir.Expr], alignment: int) -> tuple[list[ir.Expr], ir.Expr]:
        """Where slots of the workspace start, and its size, in bytes. Slots of one size stand side by side."""
        by_size: dict[ir.Expr, list[int]] = {}
        for number, size in enumerate(slots):
            by_size.setdefault(size, []).append(number)
        starts: dict[int, ir.Expr] = {}
        end: ir.Expr = ZERO
        for size, numbers in sorted(by_size.items(), key=lambda item: not isinstance(item[0], ir.Literal)):
            if isinstance(size, ir.Literal) and isinstance(end, ir.Literal):
                rounded = -(-int(size.value) // alignment) * alignment
                starts.update({n: ir.index(int(end.value) + k * rounded) for k, n in enumerate(numbers)})
                end = ir.index(int(end.value) + len(numbers) * rounded)
                continue
            length: ir.Expr = ir.Operation(ir.INDEX, "bitwise_and", (size + (alignment - 1), ir.index(-alignment)))
            if len(numbers) > 1:
                length = self._define("slot_bytes", length)
            if not isinstance(end, ir.Literal):
                end = self._define("slot", end)
            starts.update({n: add(end, multiply(length, ir.index(k))) for k, n in enumerate(numbers)})
            end = add(end, multiply(length, ir.index(len(numbers))))
        return [starts[n] for n in range(len(slots))], end

    def finish(self, total: ir.Expr) -> int:
        """Add the size of the workspace; its position."""
        return self.position_of(self._define("workspace_bytes", total))

    def _define(self, name: str | None, expr: ir.Expr) -> ir.Var:
        var = ir.Var(ir.INDEX, self._names.fresh(name, "n"))
        self.plan.append(ir.Declare(var, expr))
        self._vars.append(var)
        self._positions[var] = len(self._positions)
        return var


def _in_float(size: ir.Expr) -> ir.Expr:
    """A size in float64, in which products are not taken modulo 2^64."""
    match size:
        case ir.Literal(_, value):
            return ir.lift(float(value), "float64")
        case ir.Operation(_, "mul", (left, right)):
            return _in_float(left) * _in_float(right)
    return ir.Cast("float64", size)
