"""A region becomes one kernel: a loop nest in which every value is computed once for each pass over a row.

What there is to do is in contents.py; here it is put in order. A sink that needs a finished reduction over the inner
loops waits for the next pass over them. The order is found twice: the first one shows which values several passes need,
so that they may be kept in rows, and which arrays are read once.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from codegen import ir
from codegen.offsets import ONE, ZERO, element_count, flat_offset, multiply
from codegen.operations import EXPENSIVE, identity
from codegen.visit import buffers, free_variables, rebuild, walk
from symgraph.graph.node import Variable
from symgraph.lower.blocks import OUTERMOST, Share, can_be_split, halves, is_little, is_shared
from symgraph.lower.contents import Contents
from symgraph.lower.elements import LOOP_INDICES, is_loop_index
from symgraph.lower.lanes import loop
from symgraph.lower.names import Names
from symgraph.lower.parts import Accumulation, Sink, Value, Write, carried, combine, finish, start, take_in

LARGEST_ROW = 4096  # elements that are kept for the next pass; they should not leave the first cache

Pass = tuple[int, ...]  # its number, after those of the passes around it


@dataclass(frozen=True)
class Kept:
    """A row of a value that more than one pass needs: computed in the first and read by the others."""

    array: ir.Buffer
    offset: ir.Expr


@dataclass(frozen=True)
class Findings:
    """What a first order shows for the final one.

    kept: the rows that are kept; `rows` are those that are arrays of the kernel's own
    read_once: the arrays that one pass reads, each element once, and the number of their elements
    """

    kept: Mapping[Value, Kept] = field(default_factory=dict)
    rows: Sequence[ir.Stmt] = ()
    read_once: Mapping[str, ir.Expr] = field(default_factory=dict)


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


def build_nest(contents: Contents, lasting: Container[Variable], name: str, names: Names, lines: bool) -> Nest:
    """The kernel, called `name`, that does what a region has to do.

    lasting: results that nothing reads before the caller does
    names: those taken outside of the kernel
    lines: say which line of the user's program each statement belongs to
    """
    return _NestBuilder(contents, lasting, names, lines).build(name)


class _NestBuilder:
    def __init__(self, contents: Contents, lasting: Container[Variable], names: Names, lines: bool):
        self.contents = contents
        self.lasting = lasting
        self.names = names
        self.lines = lines

    def build(self, name: str) -> Nest:
        """The nest, in blocks if it may be large."""
        trial = self._order(Findings())
        kept, rows = self._rows_to_keep(trial)
        findings = Findings(kept, rows, self._read_once(trial))
        work = self.contents.work()
        if is_little(work) or not can_be_split(trial.body, self.contents.sinks):
            body = [*rows, *self._cleared(), *self._order(findings).body]
            return Nest(self._kernel(name, body), self._arrays())
        return self._in_blocks(name, findings, work)

    def _order(self, before: Findings) -> Order:
        return Order(self.contents, self.lasting, self.lines, before)

    def _in_blocks(self, name: str, findings: Findings, work: ir.Expr) -> Nest:
        """The nest as a kernel that does a block, and one that does the rest."""
        sums = [s for s in self.contents.sinks if isinstance(s, Accumulation) and s.complete == 0]
        shares: dict[ir.Var | ir.Buffer, Share] = {}
        for total in sums:
            for _, var in carried(total):
                shares[var] = self._share(f"{total.name}_of_block", var.dtype, ONE)
        gathered = []
        for sink, extents in self.contents.scattered.items():
            if is_shared(sink):
                array = sink.buffer
                share = shares[array] = self._share(f"{array.name}_of_block", array.dtype, element_count(extents))
                gathered.append((sink.kind, array))
                sink.buffer = share.array
        cleared = self._cleared(ir.FIRST, ir.LAST)
        outside = self._order(findings).body
        split = halves(findings.rows, cleared, outside, sums, shares, gathered)
        rest = self._kernel(f"{name}_rest", split.rest) if split.rest else None
        return Nest(
            self._kernel(name, split.block), self._arrays(), list(shares.values()), self.contents.extents[0], work, rest
        )

    def _kernel(self, name: str, body: Sequence[ir.Stmt]) -> ir.Kernel:
        used = {b.name: b for b in buffers(body)}
        known = {b.name: b for b in self.contents.buffers.values()}
        arrays = [known.get(name, b) for name, b in used.items()]
        order = {name: k for k, name in enumerate(known)}
        arrays.sort(key=lambda b: order.get(b.name, len(order)))
        sizes = [v for v in free_variables(body) if not is_loop_index(v)]
        return ir.Kernel(name, (*arrays, *sizes), tuple(body))

    def _arrays(self) -> dict[str, Variable]:
        return {buffer.name: x for x, buffer in self.contents.buffers.items()}

    def _share(self, name: str, dtype: str, count: ir.Expr) -> Share:
        return Share(ir.Buffer(self.names.fresh(name), dtype, True), count)

    def _cleared(self, first: ir.Expr = ZERO, last: ir.Expr | None = None) -> list[ir.Stmt]:
        """What sets the arrays that are added to, or the part of them that belongs to a block."""
        out: list[ir.Stmt] = []
        for sink, extents in self.contents.scattered.items():
            start: ir.Expr = ZERO
            end = element_count(extents)
            if last is not None and not is_shared(sink):
                row = element_count(extents[1:])
                start, end = multiply(first, row), multiply(last, row)
            store = ir.Store(sink.buffer, OUTERMOST, identity(sink.kind, sink.buffer.dtype))
            out.append(ir.For(OUTERMOST, end, (store,), simd=True, start=start))
        return out

    def _rows_to_keep(self, trial: Order) -> tuple[dict[Value, Kept], list[ir.Stmt]]:
        """A row for each expensive value that an order computes in more than one pass; and what sets up new arrays.

        Where a result of the same form is written at the end, its memory serves until then.
        """
        all_kept: dict[Value, Kept] = {}
        rows: list[ir.Stmt] = []
        for value, places in trial.seen_in.items():
            calls = {e.name for e in walk(value.expr) if isinstance(e, ir.Operation)}
            if len(places) < 2 or calls.isdisjoint(EXPENSIVE):
                continue
            result = self._written_after(trial, value, all_kept)
            if result is not None:
                all_kept[value] = Kept(result.buffer, result.offset)
                value.uses += 1
                continue
            shared = min(_common(places[0], other) for other in places[1:])
            extents = self.contents.extents[shared : value.depth]
            count = element_count(extents)
            if extents and isinstance(count, ir.Literal) and 0 < count.value <= LARGEST_ROW:
                array = ir.Buffer(self.contents.names.fresh(f"{value.name}_row"), value.expr.dtype, True)
                all_kept[value] = Kept(array, flat_offset(LOOP_INDICES[shared : value.depth], extents))
                value.uses += 1
                rows.append(ir.LocalArray(array, int(count.value)))
        return all_kept, rows

    def _written_after(self, trial: Order, value: Value, all_kept: Mapping[Value, Kept]) -> Write | None:
        """A store of one number for each of the same dtype, not before the last pass, to memory that nothing reads."""
        last = trial.seen_in[value][-1]
        busy = {v.expr.buffer for v in self.contents.loads.values() if isinstance(v.expr, ir.Load)}
        busy |= {kept.array for kept in all_kept.values()}
        for sink in self.contents.sinks:
            if not isinstance(sink, Write) or sink.kind or sink.buffer in busy or trial.done_in[sink] < last:
                continue
            if (sink.depth, sink.buffer.dtype) == (value.depth, value.expr.dtype):
                return sink
        return None

    def _read_once(self, trial: Order) -> dict[str, ir.Expr]:
        """The arrays of which an order reads each element once, and the number of their elements."""
        of: dict[Variable, list[Value]] = {}
        for e, value in self.contents.loads.items():
            of.setdefault(e.array, []).append(value)  # type: ignore[arg-type]
        alone = [x for x, values in of.items() if sum(len(trial.seen_in.get(v, ())) for v in values) == 1]
        return {self.contents.buffers[x].name: self.contents.count(x) for x in alone}


class Order:
    """An order in which to do what a nest contains.

    body: the statements
    seen_in: the passes that each value is computed in; `done_in`: the pass that each sink is done in
    """

    def __init__(self, contents: Contents, lasting: Container[Variable], lines: bool, before: Findings):
        self.contents = contents
        self.lines = lines
        self.kept = before.kept
        self.read_once = before.read_once
        rows = {kept.array for kept in self.kept.values()}
        unread = {x: b for x, b in contents.buffers.items() if x in lasting and b not in rows}
        self.unread = {b.name: contents.count(x) for x, b in unread.items()}  # by nobody before the caller
        self.seen_in: dict[Value, list[Pass]] = {}
        self.done_in: dict[Sink, Pass] = {}
        self._filled: set[Value] = set()  # whose rows an earlier pass has kept
        self._passes: list[int] = []  # the pass that is being put together, and those around it
        self._count = 0
        self.body = self._inside(0, list(contents.sinks), set())

    def _inside(self, depth: int, sinks: list[Sink], visible: set[Value | Accumulation]) -> list[ir.Stmt]:
        """Statements for `sinks` inside the loops outside `depth`; `visible` are the values known there."""
        out: list[ir.Stmt] = []
        visible = set(visible)
        while sinks:
            for value in self._needed(sinks):
                if value.depth <= depth and value not in visible and all(n in visible for n in self._needs(value)):
                    visible.add(value)
                    self.seen_in.setdefault(value, []).append(tuple(self._passes))
                    if not value.is_inlined:
                        out += [*self._line(value), *self._declared(value)]
            here = [s for s in sinks if s.depth == depth and all(n in visible for n in s.needs)]
            for sink in here:
                self.done_in[sink] = tuple(self._passes)
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
                self._count += 1
                self._passes.append(self._count)
                body = tuple(self._inside(depth + 1, ready, visible))
                self._passes.pop()
                extent, names = self.contents.extents[depth], self.contents.names
                out.append(loop(depth, extent, body, ready, names, self.unread, self.read_once))
                out += [stmt for sink in finished for stmt in finish(sink)]
                visible.update(finished)
            handled = {*here, *ready}
            assert handled, "a nest whose parts wait for each other"
            sinks = [s for s in sinks if s not in handled]
        return out

    def _needs(self, value: Value) -> list[Value | Accumulation]:
        """What must be known to have a value: nothing, if an earlier pass kept it."""
        return [] if value in self._filled else value.needs

    def _declared(self, value: Value) -> list[ir.Stmt]:
        kept = self.kept.get(value)
        if kept is not None and value in self._filled:
            return [ir.Declare(value.var, ir.Load(kept.array.dtype, kept.array, kept.offset))]
        computed = ir.Declare(value.var, self._written_out(value.expr, value))
        if kept is None:
            return [computed]
        self._filled.add(value)
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
        return take_in(sink, self._written_out(sink.reduction.body, sink), self.contents.flat)

    def _written_out(self, expr: ir.Expr, user: Value | Sink) -> ir.Expr:
        """The expression with the values that have no local of their own written in place."""
        inlined = {n.var: n for n in user.needs if isinstance(n, Value) and n.is_inlined}
        if not inlined:
            return expr

        def change(e: ir.Expr) -> ir.Expr | None:
            value = inlined.get(e) if isinstance(e, ir.Var) else None
            return self._written_out(value.expr, value) if value is not None else None

        return rebuild(expr, change)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first elements two sequences share."""
    return next((k for k, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
