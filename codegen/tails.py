"""What a row has left over after its whole vectors is one more vector with idle lanes, where the machine has such.

Compilers do these elements one by one: of ten exponentials in float32, sixteen of which are one vector, ten. So it is
with sums and with what is costly; of what is cheap they make shorter vectors, which do as well. A loop over a whole
array ends only once. And where rows add to the elements of another, the next row would wait for what a vector with idle
lanes has written: the machine hands on whole stores only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from codegen import ir
from codegen.ahead import is_costly
from codegen.dtypes import itemsize
from codegen.visit import expressions, walk

VECTOR = 64  # bytes: vectors that long can have idle lanes

DECLARATIONS = """\
/* BODY for INDEX = FROM ... TO-1, which may run side by side in vector lanes. What is left over after whole vectors of
   LANES is one more, with idle lanes, where the machine has such. gcc then has two copies of a body to find registers
   for, and finds them if it is told to look at every loop by itself. */
#if defined(SG_SIMD) && defined(__AVX512F__) && !defined(__clang__)
#define SG_WITH_TAILS __attribute__((optimize("ira-region=all")))
#define SG_ROW(lanes, index, from, to, clauses, ...)                    \\
    {                                                                   \\
        const int64_t sg_whole = (from) + (((to) - (from)) & -(lanes)); \\
        const int32_t sg_left = (int32_t)((to) - sg_whole);             \\
        SG_LANES(clauses)                                               \\
        for (int64_t index = from; index < sg_whole; ++index)           \\
            __VA_ARGS__                                                 \\
        if (sg_left > 0) {                                              \\
            SG_LANES(clauses)                                           \\
            for (int32_t sg_lane = 0; sg_lane < lanes; ++sg_lane)       \\
                if (sg_lane < sg_left) {                                \\
                    const int64_t index = sg_whole + sg_lane;           \\
                    __VA_ARGS__                                         \\
                }                                                       \\
        }                                                               \\
    }
#else
#define SG_WITH_TAILS
#define SG_ROW(lanes, index, from, to, clauses, ...)  \\
    SG_LANES(clauses)                                 \\
    for (int64_t index = from; index < (to); ++index) \\
        __VA_ARGS__
#endif"""


def tailed(kernel: ir.Kernel) -> ir.Kernel:
    """The kernel with the vector loops marked that run along rows."""
    return replace(kernel, body=_inside(kernel.body, False))


def _inside(body: Iterable[ir.Stmt], repeated: bool) -> tuple[ir.Stmt, ...]:
    return tuple(_marked(stmt, repeated) for stmt in body)


def _marked(stmt: ir.Stmt, repeated: bool) -> ir.Stmt:
    match stmt:
        case ir.For(simd=False):
            return replace(stmt, body=_inside(stmt.body, True))
        case ir.For() if repeated and _pays(stmt):
            return replace(stmt, tail=_lanes(stmt))
        case ir.Runs(loop) if repeated and _pays(loop):
            return replace(stmt, loop=replace(loop, tail=_lanes(loop)))
    return stmt


def _pays(loop: ir.For) -> bool:
    if loop.lanes or loop.step != 1 or not (loop.sums or is_costly(loop)):
        return False
    for stmt in loop.body:
        match stmt:
            case ir.SourceLine():
                return False
            case ir.Store(buffer, offset, value) if ir.Load(buffer.dtype, buffer, offset) in walk(value):
                return False
    return True


def _lanes(loop: ir.For) -> int:
    """The lanes of the vectors in which a loop runs; 0 where it ends with a whole one, or does not run in such."""
    stored = {s.buffer.dtype for s in loop.body if isinstance(s, ir.Store)}
    loaded = {e.dtype for e in expressions(loop.body) if isinstance(e, ir.Load)}
    sizes = {itemsize(dtype) for dtype in {*stored, *loaded, *(var.dtype for _, var in loop.sums)}}
    if not sizes or not sizes <= {4, 8}:
        return 0
    lanes = VECTOR // min(sizes)
    match loop.start, loop.extent:
        case ir.Literal(_, first), ir.Literal(_, last) if (last - first) % lanes == 0:
            return 0
    return lanes
