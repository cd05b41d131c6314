"""Innermost loops as vector loops: which may run in lanes, and how their sums are added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from codegen import ir
from codegen.ahead import FAR, is_costly, of_run
from codegen.alignment import ALIGNMENT as LINE
from codegen.dtypes import itemsize
from codegen.offsets import multiply
from codegen.streams import LARGE, ROW, RUN
from codegen.visit import expressions, is_in_order, walk
from symgraph.lower.elements import LOOP_INDICES
from symgraph.lower.names import Names
from symgraph.lower.parts import Accumulation, Sink, Write, carried

# How OpenMP combines what the lanes have of a reduction, and of a note whether something was seen.
LANES = {"add": "+", "mul": "*", "maximum": "max", "minimum": "min", "and": "&", "or": "|", "seen": "|"}


def loop(
    depth: int,
    extent: ir.Expr,
    body: tuple[ir.Stmt, ...],
    sinks: Sequence[Sink],
    names: Names,
    lasting: Mapping[str, ir.Expr],
    read_once: Mapping[str, ir.Expr],
) -> ir.Stmt:
    """The loop at `depth` over `body`, in which the sinks are done; if it is innermost and its iterations may run side
    by side, a vector loop.

    lasting: {array that is written for the caller alone: the number of its elements}
    read_once: {array that no other loop of the nest reads: the number of its elements}
    """
    index = LOOP_INDICES[depth]
    own = [s for s in sinks if isinstance(s, Accumulation) and s.complete <= depth]
    plain = all(isinstance(s, (ir.Declare, ir.Assign, ir.Store, ir.SourceLine)) for s in body)
    moves = all(index in set(walk(s.offset)) for s in sinks if isinstance(s, Write))
    if not (plain and moves and all(s.reduction.kind in LANES for s in own)):
        return ir.For(index, extent, body)
    sums = tuple((LANES[kind], var) for s in own for kind, var in carried(s))
    vector = _added_in_float32(ir.For(index, extent, body, True, sums), names)
    writes = [s for s in sinks if isinstance(s, Write)]
    return _streamed(vector, writes, lasting) if writes else _asked(vector, read_once)


def _streamed(
    vector: ir.For | ir.Runs, writes: Sequence[Write], lasting: Mapping[str, ir.Expr]
) -> ir.For | ir.Runs:
    """A vector loop whose one result may be too large for any cache: a machine takes few such streams at a time.

    Beside it the loop may only add to elements, which stay in the caches. Where it is costly, memory keeps pace with
    one thread, and only several are held up by lines that are read to be written.
    """
    results = [w for w in writes if not w.kind]
    if len(results) != 1 or results[0].buffer.name not in lasting:
        return vector
    buffer, count = results[0].buffer, lasting[results[0].buffer.name]
    runs = vector if isinstance(vector, ir.Runs) else ir.Runs(vector, RUN)
    if not is_in_order(results[0].offset, runs.loop.index):
        return vector
    if _is_less(count, buffer, LARGE) or _is_less(runs.loop.extent, buffer, LINE):
        return vector
    costly = is_costly([runs.loop])
    streamed = ir.Streamed(buffer, count, by_threads=costly)
    return replace(runs, length=RUN if costly else ROW, streamed=streamed)


def _asked(vector: ir.For | ir.Runs, read_once: Mapping[str, ir.Expr]) -> ir.For | ir.Runs:
    """A vector loop that only adds up one large array, for which it asks early: to read it is all that takes time.

    With an array that is in the caches, or with several, it would take longer if it asked. Costly loops are left to
    codegen's ahead.py, which lets them ask in any case.
    """
    runs = vector if isinstance(vector, ir.Runs) else ir.Runs(vector, RUN)
    loop = runs.loop
    is_one_run = isinstance(loop.extent, ir.Literal) and loop.extent.value <= runs.length
    loads = {e for e in expressions([loop]) if isinstance(e, ir.Load)}
    if len(loads) != 1 or is_one_run or is_costly([loop]):
        return vector
    (load,) = loads
    count = read_once.get(load.buffer.name)
    if count is None or _is_less(count, load.buffer, LARGE) or not is_in_order(load.offset, loop.index):
        return vector
    size = multiply(count, ir.index(itemsize(load.buffer.dtype)))
    early: ir.Stmt = of_run(load, loop, FAR)
    if not isinstance(size, ir.Literal):
        early = ir.If(ir.Operation("bool", "ge", (size, ir.index(LARGE))), (early,))
    return replace(runs, before=(early, *runs.before))


def _is_less(count: ir.Expr, buffer: ir.Buffer, size: int) -> bool:
    """Whether so many elements are known to take less than so many bytes."""
    return isinstance(count, ir.Literal) and count.value * itemsize(buffer.dtype) < size


def _added_in_float32(vector: ir.For, names: Names) -> ir.For | ir.Runs:
    """A vector loop that adds float32 terms to float64 sums, with sums of runs of terms in float32.

    So all lanes of a register have work, one of 16 adding 32 terms of a run, and no term is converted. The error does
    not grow with the number of runs, nor is it larger than that of pairwise summation which starts from 128 terms
    (Higham, Accuracy and Stability of Numerical Algorithms, section 4.2).
    """
    parts: dict[ir.Var, ir.Var] = {}

    def narrowed(stmt: ir.Stmt) -> ir.Stmt:
        match stmt:
            case ir.Assign(
                ir.Var("float64") as total, ir.Operation(_, "add", (old, ir.Cast(_, ir.Expr("float32") as term)))
            ) if old == total and ("+", total) in vector.sums:
                part = parts[total] = ir.Var("float32", names.fresh("part"))
                return ir.Assign(part, ir.Operation("float32", "add", (part, term)))
        return stmt

    body = tuple(map(narrowed, vector.body))
    if not parts:
        return vector
    sums = tuple((operator, parts.get(var, var)) for operator, var in vector.sums)
    before = tuple(ir.Declare(part, ir.Literal("float32", 0.0), mutable=True) for part in parts.values())
    after = tuple(
        ir.Assign(total, ir.Operation("float64", "add", (total, ir.Cast("float64", part))))
        for total, part in parts.items()
    )
    return ir.Runs(replace(vector, body=body, sums=sums), RUN, before, after)
