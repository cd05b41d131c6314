"""A nest in blocks of its outermost loop, which threads share out.

The nest becomes two kernels: one does a block, from FIRST to LAST, and leaves its share of every sum in a row of its
own; the other adds these up in the order of the blocks, and does what is left to do outside the loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from codegen import ir
from codegen.dtypes import itemsize
from codegen.offsets import ONE, ZERO, multiply
from codegen.operations import EXPENSIVE
from codegen.threads import BLOCK_WORK
from codegen.visit import children, expressions, free_variables, statements, walk
from symgraph.lower.elements import LOOP_INDICES
from symgraph.lower.parts import BEST_SO_FAR, Accumulation, Sink, Write, carried, combine

OUTERMOST = LOOP_INDICES[0]
EXPENSIVE_EFFORT = 16
LINE = 128  # bytes of the cache that a core may take to itself, by pairs of lines


@dataclass(frozen=True)
class Share:
    """What each block leaves for the others: `count` elements of an array that has a row for every block."""

    array: ir.Buffer
    count: ir.Expr

    @property
    def row(self) -> ir.Expr:
        """From row to row: single elements, written once, are neighbours; longer rows share no line of the cache."""
        line = LINE // itemsize(self.array.dtype)
        match self.count:
            case ir.Literal(_, 1):
                return self.count
            case ir.Literal(_, count):
                return ir.index(-(-int(count) // line) * line)
        return ir.Operation(ir.INDEX, "bitwise_and", (self.count + (line - 1), ir.index(-line)))


@dataclass(frozen=True)
class Halves:
    """The statements of the two kernels that a nest becomes."""

    block: tuple[ir.Stmt, ...]
    rest: tuple[ir.Stmt, ...]


def effort(e: ir.Expr) -> int:
    """About how many additions of float32 an expression costs; what is twice as wide costs twice as much."""
    match e:
        case ir.Load(dtype):
            return effort_of_memory(dtype)
        case ir.Operation(dtype, name):
            own = EXPENSIVE_EFFORT if name in EXPENSIVE else 1
            return own * width(dtype) + sum(map(effort, children(e)))
    return sum(map(effort, children(e)))


def effort_of_memory(dtype: str) -> int:
    """The same, to load or to store an element."""
    return 2 * width(dtype)


def width(dtype: str) -> int:
    """2 where a vector has half as many lanes as of float32."""
    return 2 if itemsize(dtype) > 4 else 1


def is_little(work: ir.Expr) -> bool:
    """Whether it is known that there is only one block's work."""
    return isinstance(work, ir.Literal) and int(work.value) < 2 * BLOCK_WORK


def can_be_split(statements_outside: Sequence[ir.Stmt], sinks: Iterable[Sink]) -> bool:
    """Whether the iterations of the outermost loop may run side by side, given the statements outside all loops.

    They may if there is one such loop, nothing is carried from one to the next but sums and extremes, no iteration
    reads what another writes, and each writes elements of its own, or adds to elements that all add to. What is written
    outside the loop is written when all have been done.
    """
    sinks = list(sinks)
    loops = [s for s in statements_outside if _is_loop(s)]
    outer = [s for s in sinks if isinstance(s, Accumulation) and s.complete == 0]
    if len(loops) != 1 or any(s.depth == 0 or s.reduction.kind in BEST_SO_FAR for s in outer):
        return False
    inside = [s for s in statements(loops) if isinstance(s, ir.Store)]
    places = {(s.buffer.name, s.offset) for s in inside}
    written = {s.buffer.name for s in inside}
    written -= {s.buffer.name for s in sinks if isinstance(s, Write) and is_shared(s)}
    for e in expressions(statements_outside):
        if isinstance(e, ir.Load) and e.buffer.name in written:
            if (e.buffer.name, e.offset) not in places or OUTERMOST not in walk(e.offset):
                return False
    return all(
        s.depth == 0 or s.kind or OUTERMOST in walk(s.offset) for s in sinks if isinstance(s, Write)
    )


def is_shared(sink: Write) -> bool:
    """Whether iterations of the outermost loop add to the same elements."""
    return bool(sink.kind) and OUTERMOST not in walk(sink.offset)


def halves(
    rows: Sequence[ir.Stmt],
    cleared: Sequence[ir.Stmt],
    outside: Sequence[ir.Stmt],
    sums: Sequence[Accumulation],
    shares: dict[ir.Var | ir.Buffer, Share],
    gathered: Sequence[tuple[str, ir.Buffer]],
) -> Halves:
    """Split a nest.

    rows: the local arrays of an iteration; cleared: what sets arrays that are added to; outside: the statements
    outside all loops and the one loop
    sums: the reductions over the outermost loop; `shares` of their variables, and of the arrays that all add to
    gathered: the latter: (kind of reduction, the array)
    """
    at = next(k for k, s in enumerate(outside) if _is_loop(s))
    started = {var for sink in sums for _, var in carried(sink)}
    starts = [s for s in outside[:at] if isinstance(s, ir.Declare) and s.var in started]
    before = [s for s in outside[:at] if s not in starts]
    known = [s for s in before if isinstance(s, (ir.Declare, ir.SourceLine))]
    block = _needed(known, [_of_block(outside[at])])
    block = [*rows, *cleared, *block[:-1], *starts, block[-1]]
    block += [ir.Store(shares[var].array, ZERO, var) for sink in sums for _, var in carried(sink)]
    rest: list[ir.Stmt] = [*starts]
    joined = [
        ir.Assign(var, combine(kind, var, ir.Load(var.dtype, shares[var].array, ir.BLOCK)))
        for sink in sums
        for kind, var in carried(sink)
    ]
    if joined:
        rest.append(ir.For(ir.BLOCK, ir.BLOCKS, tuple(joined)))
    for kind, array in gathered:
        rest += _gathered(kind, array, shares[array])
    tail = [s for s in (*before, *outside[at + 1 :]) if not isinstance(s, ir.SourceLine)]
    done = [s for s in tail if not (isinstance(s, ir.Declare) and s in before)]
    if done:
        rest += _needed([s for s in tail if s not in done], done)
    return Halves(tuple(block), tuple(rest))


def _gathered(kind: str, array: ir.Buffer, share: Share) -> list[ir.Stmt]:
    """The shares of all blocks in an array, in the order of the blocks."""
    i, dtype = OUTERMOST, share.array.dtype
    first = ir.For(i, share.count, (ir.Store(array, i, ir.Load(dtype, share.array, i)),), simd=True)
    term = ir.Load(dtype, share.array, multiply(ir.BLOCK, share.row) + i if share.count != ONE else ir.BLOCK)
    total = combine(kind, ir.Load(array.dtype, array, i), term)
    others = ir.For(i, share.count, (ir.Store(array, i, total),), simd=True)
    return [first, ir.For(ir.BLOCK, ir.BLOCKS, (others,), start=ONE)]


def _is_loop(stmt: ir.Stmt) -> bool:
    return isinstance(stmt, ir.Runs) or (isinstance(stmt, ir.For) and stmt.index == OUTERMOST)


def _of_block(stmt: ir.Stmt) -> ir.Stmt:
    """A loop from the first to the last index of a block."""
    match stmt:
        case ir.Runs(loop):
            return replace(stmt, loop=replace(loop, start=ir.FIRST, extent=ir.LAST))
        case ir.For():
            return replace(stmt, start=ir.FIRST, extent=ir.LAST)
    return stmt


def _needed(declared: Sequence[ir.Stmt], used_in: Sequence[ir.Stmt]) -> list[ir.Stmt]:
    """Statements and those of the declarations before them that they need."""
    out = list(used_in)
    for stmt in reversed(declared):
        if isinstance(stmt, ir.Declare) and stmt.var in free_variables(out):
            out.insert(0, stmt)
    return out
