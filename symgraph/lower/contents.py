"""What a nest has to do: the values it needs, the elements it loads, the sums it adds up and what it writes.

Everything that is done for an effect is a *sink*, a store or an accumulation, at some depth of the nest; the values
that sinks need are hoisted as far out as their indices allow. The order in which all this is done is in loops.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from codegen import ir
from codegen.offsets import ZERO, element_count, flat_offset, multiply
from codegen.visit import children, rebuild, walk
from symgraph.graph.node import Apply, Variable
from symgraph.lower.blocks import effort, effort_of_memory
from symgraph.lower.elements import (
    LOOP_DEPTH,
    LOOP_INDICES,
    Elements,
    is_loop_index,
    is_one,
    loop_index,
    squeeze,
)
from symgraph.lower.names import Names
from symgraph.lower.parts import BEST_SO_FAR, EXTREMES, Accumulation, Sink, Value, Write
from symgraph.lower.regions import Region

DEEPEST_EXPRESSION = 12  # operations inside each other; beyond, a part gets a local of its own


class Contents:
    """What a region has to do, as a nest, to make those of its values that are in `stored`.

    in_place: {result: variable whose memory it takes over in this region}
    values, loads: the local of each value that is made here, and of each element that is read from memory
    sinks: stores and accumulations, in the order of the nodes
    buffers: the arrays that are read or written
    scattered: of the sinks, those that add to elements of memory, and the extents of what they add to
    extents: of the loops, outermost first; if the nest is `flat`, of the one that stands for all
    """

    def __init__(
        self,
        region: Region,
        bodies: Mapping[Apply, ir.Expr],
        stored: Iterable[Variable],
        elements: Elements,
        buffer_names: Callable[[Variable], str],
        in_place: Mapping[Variable, Variable],
        names: Names,
    ):
        self.region = region
        self.elements = elements
        self.shapes = elements.shapes
        self.buffer_names = buffer_names
        self.in_place = in_place
        self.names = names
        self.bodies = {n: bodies[n] for n in region.nodes}
        self.made = set(region.made)
        self.stored = self.made & set(stored)
        self.written = {in_place.get(x, x) for x in self.stored}
        self.values: dict[Variable, Value | None] = {}
        self.loads: dict[ir.Element, Value] = {}
        self.sinks: list[Sink] = []
        self.buffers: dict[Variable, ir.Buffer] = {}
        self.scattered: dict[Write, tuple[ir.Expr, ...]] = {}
        self.flat = len(region.domain) > 1 and self._is_flat()
        self.extents = [elements.size(n) for n in region.domain]
        if self.flat:
            self.extents = [element_count(self.extents)]
        self._number = 0
        for node in region.nodes:
            self._add(node)
        self._count_uses()
        self._break_up()

    def count(self, x: Variable) -> ir.Expr:
        """The number of elements of a value."""
        return element_count(self.elements.extents(x))

    def work(self) -> ir.Expr:
        """About how many operations the nest does: those of its innermost iterations."""
        deepest = len(self.extents)
        expressions = [v.expr for v in (*self.values.values(), *self.loads.values()) if v and v.depth == deepest]
        expressions += [s.reduction.body for s in self.sinks if isinstance(s, Accumulation) and s.depth == deepest]
        writes = [s for s in self.sinks if isinstance(s, Write) and s.depth == deepest]
        each = sum(map(effort, [*expressions, *(s.expr for s in writes)]))
        each += sum(effort_of_memory(s.buffer.dtype) for s in writes)
        return multiply(element_count(self.extents), ir.index(each)) if self.extents else ZERO

    # -- the parts of it

    def _add(self, node: Apply) -> None:
        x = node.output
        body = self.bodies[node]
        domain = squeeze(self.elements.domain(node))
        depth = len(domain)
        needs: list[Value | Accumulation] = []
        reductions = [e for e in walk(body) if isinstance(e, ir.Reduce)]
        if reductions and not self._is_trailing(reductions[0], depth):
            self._add_scattered(node, reductions[0], depth)
            return
        done: dict[ir.Reduce, ir.Expr] = {}
        for reduction in reductions:
            inner: list[Value | Accumulation] = []
            term = self._resolve(reduction.body, inner)
            over = tuple(i for i in reduction.over if isinstance(i, ir.Var))
            is_position, is_extreme = reduction.kind in BEST_SO_FAR, reduction.kind in EXTREMES
            accumulation = Accumulation(
                self._next(),
                self._depth(depth),
                self._depth(depth - len(over)),
                ir.Reduce(reduction.dtype, reduction.kind, term, reduction.over, reduction.extents),
                self.names.fresh(x.name, {"add": "total", "mul": "product"}.get(reduction.kind, "best")),
                self.names.fresh("term") if is_position or is_extreme else "",
                self.names.fresh("best") if is_position else self.names.fresh("nan_seen") if is_extreme else "",
                inner,
                x.origin,
            )
            self.sinks.append(accumulation)
            done[reduction] = accumulation.var
            needs.append(accumulation)
        expr = rebuild(body, lambda e: done.get(e) if isinstance(e, ir.Reduce) else None)
        value = self._value(self._resolve(expr, needs), x, needs)
        self.values[x] = value
        if x in self.stored:
            lengths = self.shapes.of(x)
            kept = len(squeeze(lengths))
            buffer = self._buffer(self.in_place.get(x, x))
            offset = self._offset(x, loop_index(lengths))
            self.sinks.append(Write(self._next(), self._depth(kept), buffer, offset, value.var, [value], x.origin))

    def _add_scattered(self, node: Apply, reduction: ir.Reduce, depth: int) -> None:
        """A reduction over outer loops: each iteration adds to an element of the result, at first the identity."""
        x = node.output
        needs: list[Value | Accumulation] = []
        term = self._resolve(reduction.body, needs)
        if term.dtype != x.dtype:
            term = term.arg if isinstance(term, ir.Cast) and term.arg.dtype == x.dtype else ir.Cast(x.dtype, term)
        kept = tuple(i for i in LOOP_INDICES[:depth] if i not in reduction.over)
        lengths = self.shapes.of(x)
        index = iter(kept)
        offset = self._offset(x, tuple(ZERO if is_one(n) else next(index) for n in lengths))
        buffer = self._buffer(self.in_place.get(x, x))
        sink = Write(self._next(), self._depth(depth), buffer, offset, term, needs, x.origin, reduction.kind)
        self.sinks.append(sink)
        self.scattered[sink] = tuple(self.elements.size(n) for n in squeeze(lengths))
        self.values[x] = None

    def _resolve(self, expr: ir.Expr, needs: list[Value | Accumulation]) -> ir.Expr:
        """The expression with elements replaced by locals of the nest or loads; what it needs is added to `needs`."""

        def change(e: ir.Expr) -> ir.Expr | None:
            if not isinstance(e, ir.Element):
                return None
            x = e.array
            assert isinstance(x, Variable)
            if x in self.made and x in self.values:
                value = self.values[x]
                assert value is not None
            else:
                value = self._load(e, x)
            if value not in needs:
                needs.append(value)
            return value.var

        return rebuild(expr, change)

    def _load(self, e: ir.Element, x: Variable) -> Value:
        if e not in self.loads:
            needs: list[Value | Accumulation] = []
            index = tuple(self._resolve(i, needs) for i in e.index)
            load = ir.Load(x.dtype, self._buffer(x), self._offset(x, index))
            self.loads[e] = self._value(load, x, needs)
        return self.loads[e]

    def _value(self, expr: ir.Expr, x: Variable, needs: list[Value | Accumulation]) -> Value:
        depth = max(
            [0]
            + [self._depth(LOOP_DEPTH[e] + 1) for e in walk(expr) if isinstance(e, ir.Var) and e in LOOP_DEPTH]
            + [n.depth if isinstance(n, Value) else n.complete for n in needs]
        )
        return Value(self._next(), depth, expr, self.names.fresh(x.name, "t"), needs, x.origin)

    def _count_uses(self) -> None:
        users: list[Value | Sink] = [
            *self.sinks,
            *self.loads.values(),
            *(v for v in self.values.values() if v is not None),
        ]
        last_user: dict[Value, Value | Sink] = {}
        for user in users:
            expr = user.reduction.body if isinstance(user, Accumulation) else user.expr
            local = {need.var: need for need in user.needs if isinstance(need, Value)}
            for e in walk(expr):
                if isinstance(e, ir.Var) and e in local:
                    value = local[e]
                    value.uses += 1
                    value.deepest_use = max(value.deepest_use, user.depth)
                    last_user[value] = user
        for value in self.loads.values():
            assert isinstance(value.expr, ir.Load)
            if value.expr.buffer.writable and not self._ends_in_place(value, last_user):
                value.uses += 1  # read before the memory is written, so never in place of its use

    def _ends_in_place(self, load: Value, last_user: Mapping[Value, Value | Sink]) -> bool:
        """Whether a loaded element is used only in the expression that is stored in its place."""
        user: Value | Sink = load
        while isinstance(user, Value) and user.uses == 1 and user.depth == load.depth:
            user = last_user[user]
        expr = load.expr
        assert isinstance(expr, ir.Load)
        return isinstance(user, Write) and (user.buffer, user.offset, user.depth) == (
            expr.buffer,
            expr.offset,
            load.depth,
        )

    def _break_up(self) -> None:
        """Give a local to every value with which an expression would be too deep to read."""
        values = [*self.loads.values(), *(v for v in self.values.values() if v is not None)]
        height: dict[Value | Accumulation, int] = {}
        for value in sorted(values, key=lambda v: v.order):
            below = max((height.get(need, 0) for need in value.needs), default=0)
            height[value] = _levels(value.expr) + below if value.is_inlined else 0
            if height[value] > DEEPEST_EXPRESSION:
                value.uses += 1
                height[value] = 0

    # -- memory and loops

    def _buffer(self, x: Variable) -> ir.Buffer:
        if x not in self.buffers:
            self.buffers[x] = ir.Buffer(self.buffer_names(x), x.dtype, x in self.written)
        return self.buffers[x]

    def _offset(self, x: Variable, index: Sequence[ir.Expr]) -> ir.Expr:
        if self.flat and any(is_loop_index(i) for i in index):
            return LOOP_INDICES[0]
        return flat_offset(index, self.elements.extents(x))

    def _depth(self, depth: int) -> int:
        return min(depth, 1) if self.flat else depth

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _is_trailing(self, reduction: ir.Reduce, depth: int) -> bool:
        over = [i for i in LOOP_INDICES[:depth] if i in reduction.over]
        return tuple(over) == LOOP_INDICES[depth - len(over) : depth]

    def _is_flat(self) -> bool:
        """Whether every array is run through from end to end in order, so that one loop will do."""
        full = LOOP_INDICES[: len(self.region.domain)]
        for node, body in self.bodies.items():
            domain = squeeze(self.elements.domain(node))
            if domain not in ((), self.region.domain):
                return False
            inside = 0
            for e in walk(body):
                if isinstance(e, ir.Element):
                    own = tuple(i for i in e.index if i != ZERO)
                    if own not in ((), full) or (own and squeeze(self.shapes.of(e.array)) != self.region.domain):  # type: ignore[arg-type]
                        return False
                    inside += len(own)
                elif isinstance(e, ir.Reduce) and set(full) - set(e.over):
                    return False
            if sum(is_loop_index(e) for e in walk(body)) != inside:
                return False
        return True


def _levels(e: ir.Expr) -> int:
    """How deep operations stand inside each other."""
    return max(map(_levels, children(e)), default=-1) + 1
