"""Memory asked for early: before a kernel reads an array, it asks for the lines that come some kB later.

The machine foresees reads that go on and on, but not all. A loop that costs much for each element computes for so long
that it would ask for the next lines late. Where several loops pass over a row, the first finds in memory what the
others find in the cache, and memory rests meanwhile: the second asks for a row to come. And rows that are taken
several at once are short reads from several places. What is only added up asks, too, where it is large; lowering knows
that, and uses `of_run`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from codegen import ir
from codegen.operations import EXPENSIVE
from codegen.streams import RUN
from codegen.visit import expressions, is_in_order, rebuild, walk

DISTANCE = 8 << 10  # bytes from what is read to what is asked for
FAR = 16 << 10  # the same of rows that are taken several at once, and of a large array that is only added up

Outer = tuple[ir.Var, ...]  # the indices of the loops around


def asked_ahead(kernel: ir.Kernel) -> ir.Kernel:
    """The kernel with the statements that ask."""
    return replace(kernel, body=tuple(_asked(kernel.body, ())))


def is_costly(body: Iterable[ir.Stmt]) -> bool:
    """Whether statements compute so much for an element that memory keeps pace with them."""
    return any(isinstance(e, ir.Operation) and e.name in EXPENSIVE for e in expressions(body))


def _asked(body: Sequence[ir.Stmt], outer: Outer) -> Iterator[ir.Stmt]:
    read: set[ir.Load] = set()  # by loops before in this body
    done: set[ir.Load] = set()
    for stmt in body:
        match stmt:
            case ir.For(simd=False, step=step) if step > 1:
                yield replace(stmt, body=(*_of_rows(stmt), *stmt.body))
            case ir.For(index, simd=False):
                yield replace(stmt, body=tuple(_asked(stmt.body, (*outer, index))))
            case ir.For() | ir.Runs():
                loop = stmt.loop if isinstance(stmt, ir.Runs) else stmt
                loads = _from_memory(loop, outer)
                costly = is_costly([loop])
                early = [load for load in loads if load not in done and (costly or load in read)]
                read.update(loads)
                if early and _may_ask(loop, outer):
                    done.update(early)
                    runs = stmt if isinstance(stmt, ir.Runs) else ir.Runs(loop, RUN)
                    stmt = replace(runs, before=(*(of_run(load, loop, DISTANCE) for load in early), *runs.before))
                yield stmt
            case _:
                yield stmt


def _from_memory(loop: ir.For, outer: Outer) -> list[ir.Load]:
    """What a loop reads in order, but for rows that all rows read again: those stay in the cache."""
    loads = dict.fromkeys(e for e in expressions([loop]) if isinstance(e, ir.Load))
    return [e for e in loads if is_in_order(e.offset, loop.index) and moves(e.offset, outer)]


def moves(offset: ir.Expr, outer: Outer) -> bool:
    """Whether an offset within some loops is another in each of their iterations."""
    return not outer or not set(outer).isdisjoint(walk(offset))


def _may_ask(loop: ir.For, outer: Outer) -> bool:
    """Not for little, nor across rows; nor where several arrays are written, for whose lines the loop waits anyway."""
    if loop.lanes or ir.RUN in outer or (isinstance(loop.extent, ir.Literal) and loop.extent.value <= RUN):
        return False
    written = {s.buffer for s in loop.body if isinstance(s, ir.Store) and moves(s.offset, outer)}
    return len(written) < 2


def of_run(load: ir.Load, loop: ir.For, distance: int) -> ir.Ahead:
    """Ask for as much as a run of a loop reads."""
    return ir.Ahead(_place(load, loop.index, ir.RUN), ir.END - ir.RUN, distance)


def _of_rows(rows: ir.For) -> Iterator[ir.Ahead]:
    """Ask for as much as a group of rows reads."""
    for row in rows.body:
        if isinstance(row, ir.For) and row.simd:
            for load in _from_memory(row, (rows.index,)):
                yield ir.Ahead(_place(load, row.index, row.start), row.extent, FAR)


def _place(load: ir.Load, index: ir.Var, start: ir.Expr) -> ir.Pointer:
    """Where a load begins, if its index does so at `start`."""
    return ir.Pointer(load.buffer, rebuild(load.offset, lambda e: start if e == index else None))
