"""A region becomes one kernel: a loop nest in which every value is computed once for each pass over a row.

Everything that a nest has to do is a *sink*, a store or an accumulation, at some depth of the nest; the values it
needs are hoisted as far out as their indices allow. A sink that needs a finished reduction over the inner loops waits
for the next pass over them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from codegen import ir
from codegen.offsets import ONE, ZERO, element_count, flat_offset, multiply
from codegen.operations import EXPENSIVE, identity
from codegen.visit import buffers, children, free_variables, rebuild, walk
from symgraph.graph.node import Apply, Variable
from symgraph.lower.blocks import (
    OUTERMOST,
    Share,
    can_be_split,
    effort,
    effort_of_memory,
    halves,
    is_little,
    is_shared,
)
from symgraph.lower.elements import (
    LOOP_DEPTH,
    LOOP_INDICES,
    Elements,
    is_loop_index,
    is_one,
    loop_index,
    squeeze,
)
from symgraph.lower.lanes import loop
from symgraph.lower.names import Names
from symgraph.lower.parts import (
    BEST_SO_FAR,
    EXTREMES,
    Accumulation,
    Sink,
    Value,
    Write,
    carried,
    combine,
    finish,
    start,
    take_in,
)
from symgraph.lower.regions import Region

DEEPEST_EXPRESSION = 12  # operations inside each other; beyond, a part gets a local of its own
LARGEST_ROW = 4096  # elements that are kept for the next pass; they should not leave the first cache


@dataclass(eq=False)
class Kept:
    """A row of a value that more than one pass needs: computed in the first and read by the others."""

    array: ir.Buffer
    offset: ir.Expr
    filled: bool = False


@dataclass
class Nest:
    """The kernel of a nest, and what is behind the names of its arrays.

    In blocks it runs from FIRST to LAST of the `extent` of its outermost loop, and `rest` is what comes after; `work`
    is about the number of operations.
    """

    kernel: ir.Kernel
    arrays: Mapping[str, Variable]
    shares: Sequence[Share] = ()
    extent: ir.Expr | None = None
    work: ir.Expr = ZERO
    rest: ir.Kernel | None = None


def build_nest(
    region: Region,
    bodies: Mapping[Apply, ir.Expr],
    stored: Iterable[Variable],
    elements: Elements,
    buffer_names: Callable[[Variable], str],
    in_place: Mapping[Variable, Variable],
    lasting: Container[Variable],
    *,
    name: str,
    names: Names,
    lines: bool = False,
) -> Nest:
    """The kernel that evaluates a region and stores those of its values that are in `stored`.

    in_place: {result: variable whose memory it takes over in this region}
    lasting: results that nothing reads before the caller does
    lines: say which line of the user's program each statement belongs to
    """
    return _NestBuilder(region, bodies, stored, elements, buffer_names, in_place, lasting, names, lines).build(name)


class _NestBuilder:
    def __init__(
        self,
        region: Region,
        bodies: Mapping[Apply, ir.Expr],
        stored: Iterable[Variable],
        elements: Elements,
        buffer_names: Callable[[Variable], str],
        in_place: Mapping[Variable, Variable],
        lasting: Container[Variable],
        names: Names,
        lines: bool,
    ):
        self.lines = lines
        self.region = region
        self.elements = elements
        self.shapes = elements.shapes
        self.buffer_names = buffer_names
        self.in_place = in_place
        self.lasting = lasting
        self.outer_names = names
        self.names = Names(names)
        self.bodies = {n: bodies[n] for n in region.nodes}
        self.made = {n.output for n in region.nodes}
        self.stored = self.made & set(stored)
        self.values: dict[Variable, Value | None] = {}
        self.loads: dict[ir.Element, Value] = {}
        self.sinks: list[Sink] = []
        self.buffers: dict[Variable, ir.Buffer] = {}
        self.scattered: dict[Write, tuple[Variable, ...]] = {}  # what is added to in memory, and its lengths
        self.count = 0
        self.kept: dict[Value, Kept] = {}
        self.passes: list[int] = []  # the pass that is being put together, and those around it
        self.seen_in: dict[Value, list[tuple[int, ...]]] = {}  # the passes that each value is computed in
        self.done_in: dict[Sink, tuple[int, ...]] = {}
        self.read_once: dict[str, ir.Expr] = {}  # arrays that one pass reads, and their numbers of elements
        self.flat = len(region.domain) > 1 and self._is_flat()
        self.extents = [elements.size(n) for n in region.domain]
        if self.flat:
            self.extents = [element_count(self.extents)]

    def build(self, name: str) -> Nest:
        targets = {self.in_place.get(x, x) for x in self.stored}
        self.written = targets
        for node in self.region.nodes:
            self._add(node)
        self._count_uses()
        self._break_up()
        trial = self._schedule(0, list(self.sinks), set())
        rows = self._keep_rows()
        self.read_once = self._find_read_once()
        work = self._work()
        if is_little(work) or not can_be_split(trial, self.sinks):
            body = [*rows, *self._cleared(), *self._schedule(0, list(self.sinks), set())]
            return Nest(self._kernel(name, body), self._arrays())
        return self._in_blocks(name, rows, work)

    def _in_blocks(self, name: str, rows: Sequence[ir.Stmt], work: ir.Expr) -> Nest:
        """The nest as a kernel that does a block, and one that does the rest."""
        sums = [s for s in self.sinks if isinstance(s, Accumulation) and s.complete == 0]
        shares: dict[ir.Var | ir.Buffer, Share] = {}
        for total in sums:
            for _, var in carried(total):
                shares[var] = self._share(f"{total.name}_of_block", var.dtype, ONE)
        gathered = []
        for sink, lengths in self.scattered.items():
            if is_shared(sink):
                array = sink.buffer
                share = shares[array] = self._share(f"{array.name}_of_block", array.dtype, self._count(lengths))
                gathered.append((sink.kind, array))
                sink.buffer = share.array
        cleared = self._cleared(ir.FIRST, ir.LAST)
        outside = self._schedule(0, list(self.sinks), set())
        split = halves(rows, cleared, outside, sums, shares, gathered)
        rest = self._kernel(f"{name}_rest", split.rest) if split.rest else None
        return Nest(
            self._kernel(name, split.block), self._arrays(), list(shares.values()), self.extents[0], work, rest
        )

    def _kernel(self, name: str, body: Sequence[ir.Stmt]) -> ir.Kernel:
        used = {b.name: b for b in buffers(body)}
        known = {b.name: b for b in self.buffers.values()}
        arrays = [known.get(name, b) for name, b in used.items()]
        order = {name: k for k, name in enumerate(known)}
        arrays.sort(key=lambda b: order.get(b.name, len(order)))
        sizes = [v for v in free_variables(body) if not is_loop_index(v)]
        return ir.Kernel(name, (*arrays, *sizes), tuple(body))

    def _arrays(self) -> dict[str, Variable]:
        return {buffer.name: x for x, buffer in self.buffers.items()}

    def _share(self, name: str, dtype: str, count: ir.Expr) -> Share:
        return Share(ir.Buffer(self.outer_names.fresh(name), dtype, True), count)

    def _work(self) -> ir.Expr:
        """About how many operations the nest does: those of its innermost iterations."""
        deepest = len(self.extents)
        expressions = [v.expr for v in (*self.values.values(), *self.loads.values()) if v and v.depth == deepest]
        expressions += [s.reduction.body for s in self.sinks if isinstance(s, Accumulation) and s.depth == deepest]
        writes = [s for s in self.sinks if isinstance(s, Write) and s.depth == deepest]
        each = sum(map(effort, [*expressions, *(s.expr for s in writes)]))
        each += sum(effort_of_memory(s.buffer.dtype) for s in writes)
        return multiply(element_count(self.extents), ir.index(each)) if self.extents else ZERO

    # -- what there is to do

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
        self.scattered[sink] = squeeze(lengths)
        self.values[x] = None

    def _cleared(self, first: ir.Expr = ZERO, last: ir.Expr | None = None) -> list[ir.Stmt]:
        """What sets the arrays that are added to, or the part of them that belongs to a block."""
        out: list[ir.Stmt] = []
        for sink, lengths in self.scattered.items():
            start: ir.Expr = ZERO
            end = self._count(lengths)
            if last is not None and not is_shared(sink):
                row = self._count(lengths[1:])
                start, end = multiply(first, row), multiply(last, row)
            store = ir.Store(sink.buffer, OUTERMOST, identity(sink.kind, sink.buffer.dtype))
            out.append(ir.For(OUTERMOST, end, (store,), simd=True, start=start))
        return out

    def _count(self, lengths: Sequence[Variable]) -> ir.Expr:
        """The number of elements of an array with these lengths."""
        return element_count(self.elements.size(n) for n in lengths)

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

    def _break_up(self) -> None:
        """Give a local to every value with which an expression would be too deep to read."""
        values = [*self.loads.values(), *(v for v in self.values.values() if v is not None)]
        height: dict[Value | Accumulation, int] = {}
        for value in sorted(values, key=lambda v: v.order):
            below = max((height.get(need, 0) for need in value.needs), default=0)
            height[value] = _levels(value.expr) + below if self._is_inlined(value) else 0
            if height[value] > DEEPEST_EXPRESSION:
                value.uses += 1
                height[value] = 0

    def _keep_rows(self) -> list[ir.Stmt]:
        """Set up a row for each expensive value that the schedule just made computes in more than one pass.

        Where a result of the same form is written at the end, its memory serves until then.
        """
        rows: list[ir.Stmt] = []
        for value, places in self.seen_in.items():
            calls = {e.name for e in walk(value.expr) if isinstance(e, ir.Operation)}
            if len(places) < 2 or calls.isdisjoint(EXPENSIVE):
                continue
            result = self._written_after(value, places[-1])
            if result is not None:
                self.kept[value] = Kept(result.buffer, result.offset)
                value.uses += 1
                continue
            shared = min(_common(places[0], other) for other in places[1:])
            extents = self.extents[shared : value.depth]
            count = element_count(extents)
            if extents and isinstance(count, ir.Literal) and 0 < count.value <= LARGEST_ROW:
                array = ir.Buffer(self.names.fresh(f"{value.name}_row"), value.expr.dtype, True)
                self.kept[value] = Kept(array, flat_offset(LOOP_INDICES[shared : value.depth], extents))
                value.uses += 1
                rows.append(ir.LocalArray(array, int(count.value)))
        return rows

    def _written_after(self, value: Value, last: tuple[int, ...]) -> Write | None:
        """A store of one number for each of the same dtype, not before the last pass, to memory that nothing reads."""
        busy = {v.expr.buffer for v in self.loads.values() if isinstance(v.expr, ir.Load)}
        busy |= {kept.array for kept in self.kept.values()}
        for sink in self.sinks:
            if not isinstance(sink, Write) or sink.kind or sink.buffer in busy or self.done_in[sink] < last:
                continue
            if (sink.depth, sink.buffer.dtype) == (value.depth, value.expr.dtype):
                return sink
        return None

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

    # -- the order in which it is done

    def _schedule(self, depth: int, sinks: list[Sink], visible: set[Value | Accumulation]) -> list[ir.Stmt]:
        """Statements for `sinks` inside the loops outside `depth`; `visible` are the values known there."""
        out: list[ir.Stmt] = []
        visible = set(visible)
        while sinks:
            for value in self._needed(sinks):
                if value.depth <= depth and value not in visible and all(n in visible for n in self._needs(value)):
                    visible.add(value)
                    self.seen_in.setdefault(value, []).append(tuple(self.passes))
                    if not self._is_inlined(value):
                        out += [*self._line(value), *self._declared(value)]
            here = [s for s in sinks if s.depth == depth and all(n in visible for n in s.needs)]
            for sink in here:
                self.done_in[sink] = tuple(self.passes)
                work = [*self._line(sink), *self._do(sink)]
                if isinstance(sink, Accumulation) and sink.complete == depth:  # over no loops at all
                    work = [*start(sink), *work, *finish(sink)]
                    visible.add(sink)
                out += work
            ready = self._ready(depth, [s for s in sinks if s.depth > depth], visible)
            if ready:
                finished = [s for s in ready if isinstance(s, Accumulation) and s.complete == depth]
                for sink in finished:
                    out += start(sink)
                self.passes.append(self._next())
                body = tuple(self._schedule(depth + 1, ready, visible))
                self.passes.pop()
                out.append(loop(depth, self.extents[depth], body, ready, self.names, self._unread(), self.read_once))
                out += [stmt for sink in finished for stmt in finish(sink)]
                visible.update(finished)
            handled = {*here, *ready}
            assert handled, "a nest whose parts wait for each other"
            sinks = [s for s in sinks if s not in handled]
        return out

    def _unread(self) -> dict[str, ir.Expr]:
        """The arrays that nothing reads before the caller does, and how many elements each has."""
        rows = {kept.array for kept in self.kept.values()}
        found = {x: b for x, b in self.buffers.items() if x in self.lasting and b not in rows}
        return {b.name: self._count(self.shapes.of(x)) for x, b in found.items()}

    def _find_read_once(self) -> dict[str, ir.Expr]:
        """The arrays of which the schedule just made reads each element once, and the number of their elements."""
        of: dict[Variable, list[Value]] = {}
        for e, value in self.loads.items():
            of.setdefault(e.array, []).append(value)  # type: ignore[arg-type]
        alone = [x for x, values in of.items() if sum(len(self.seen_in.get(v, ())) for v in values) == 1]
        return {self.buffers[x].name: self._count(self.shapes.of(x)) for x in alone}

    def _needs(self, value: Value) -> list[Value | Accumulation]:
        """What must be known to have a value: nothing, if an earlier pass kept it."""
        return [] if value in self.kept and self.kept[value].filled else value.needs

    def _declared(self, value: Value) -> list[ir.Stmt]:
        kept = self.kept.get(value)
        if kept is not None and kept.filled:
            return [ir.Declare(value.var, ir.Load(kept.array.dtype, kept.array, kept.offset))]
        computed = ir.Declare(value.var, self._written_out(value.expr, value))
        if kept is None:
            return [computed]
        kept.filled = True
        return [computed, ir.Store(kept.array, kept.offset, value.var)]

    def _line(self, item: Value | Sink) -> list[ir.Stmt]:
        return [ir.SourceLine(*item.origin)] if self.lines else []

    def _needed(self, sinks: Iterable[Sink]) -> list[Value]:
        """The values that sinks need, directly or not, in an order in which they can be computed."""
        found: dict[Value, None] = {}
        stack: list[Value | Accumulation] = [n for s in sinks for n in s.needs]
        while stack:
            need = stack.pop()
            if isinstance(need, Value) and need not in found:
                found[need] = None
                stack.extend(self._needs(need))
        return sorted(found, key=lambda v: v.order)

    def _ready(self, depth: int, sinks: Sequence[Sink], visible: set[Value | Accumulation]) -> list[Sink]:
        """Those sinks in inner loops that wait for nothing but what the same pass over these loops computes."""
        state: dict[Value | Accumulation, bool] = {}
        candidates = set(sinks)

        def available(need: Value | Accumulation) -> bool:
            if need in visible:
                return True
            if need not in state:
                if isinstance(need, Accumulation):
                    inside = need in candidates and need.complete > depth
                    state[need] = inside and all(available(n) for n in need.needs)
                else:
                    state[need] = need.depth > depth and all(available(n) for n in self._needs(need))
            return state[need]

        return [s for s in sinks if all(available(n) for n in s.needs)]

    def _do(self, sink: Sink) -> list[ir.Stmt]:
        if isinstance(sink, Write):
            expr = self._written_out(sink.expr, sink)
            if sink.kind:
                old = ir.Load(sink.buffer.dtype, sink.buffer, sink.offset)
                expr = combine(sink.kind, old, expr)
            return [ir.Store(sink.buffer, sink.offset, expr)]
        return take_in(sink, self._written_out(sink.reduction.body, sink), self.flat)

    def _is_inlined(self, value: Value) -> bool:
        trivial = isinstance(value.expr, (ir.Literal, ir.Var))
        return trivial or (value.uses <= 1 and value.deepest_use == value.depth)

    def _written_out(self, expr: ir.Expr, user: Value | Sink) -> ir.Expr:
        """The expression with the values that have no local of their own written in place."""
        inlined = {n.var: n for n in user.needs if isinstance(n, Value) and self._is_inlined(n)}
        if not inlined:
            return expr

        def change(e: ir.Expr) -> ir.Expr | None:
            value = inlined.get(e) if isinstance(e, ir.Var) else None
            return self._written_out(value.expr, value) if value is not None else None

        return rebuild(expr, change)

    # -- memory

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
        self.count += 1
        return self.count

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


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first elements two sequences share."""
    return next((k for k, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
