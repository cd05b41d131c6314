"""Innermost loops as vector loops: which may run in lanes, and how their sums are added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from codegen import ir
from codegen.visit import walk
from symgraph.lower.elements import LOOP_INDICES
from symgraph.lower.names import Names
from symgraph.lower.parts import Accumulation, Sink, Write, carried

# How OpenMP combines what the lanes have of a reduction, and of a note whether something was seen.
LANES = {"add": "+", "mul": "*", "maximum": "max", "minimum": "min", "and": "&", "or": "|", "seen": "|"}
RUN = 512  # float32 terms that are added up in float32: a lane of 16 adds 32 of them, one of 4 adds 128


def loop(depth: int, extent: ir.Expr, body: tuple[ir.Stmt, ...], sinks: Sequence[Sink], names: Names) -> ir.Stmt:
    """The loop at `depth` over `body`, in which the sinks are done; if it is innermost and its iterations may run side
    by side, a vector loop.
    """
    index = LOOP_INDICES[depth]
    own = [s for s in sinks if isinstance(s, Accumulation) and s.complete <= depth]
    plain = all(isinstance(s, (ir.Declare, ir.Assign, ir.Store, ir.SourceLine)) for s in body)
    moves = all(index in set(walk(s.offset)) for s in sinks if isinstance(s, Write))
    if not (plain and moves and all(s.reduction.kind in LANES for s in own)):
        return ir.For(index, extent, body)
    sums = tuple((LANES[kind], var) for s in own for kind, var in carried(s))
    return _added_in_float32(ir.For(index, extent, body, True, sums), names)


def _added_in_float32(vector: ir.For, names: Names) -> ir.Stmt:
    """A vector loop that adds float32 terms to float64 sums, with sums of runs of terms in float32.

    So all lanes of a register have work, and no term is converted. The error does not grow with the number of runs, nor
    is it larger than that of pairwise summation which starts from 128 terms (Higham, Accuracy and Stability of
    Numerical Algorithms, section 4.2).
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
