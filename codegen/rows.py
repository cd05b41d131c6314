"""Vector loops along rows: how what the lanes have comes together, and what becomes of the elements left over.

Rows are short and many, so what comes at the end of each counts. Two things are done better here than by compilers:

- Sums. Compilers add the lanes up one after the other, sixteen additions of which each waits for the one before. Here
  lanes are added in pairs, and the pairs in pairs.
- Elements left over after whole vectors. Compilers do them one by one, ten exponentials one after the other. Here they
  are one more vector, in which some lanes are idle.

Not all loops gain by that. Those that are cheap and add nothing up stay as the compiler makes them, in shorter
vectors, unless they read what a vector with idle lanes has just written: the shorter loads would wait, since a
processor hands on whole stores only. Where all rows add to the same elements, the next row would wait likewise, so no
lanes are idle. A loop over a whole array ends only once. Lanes can be idle with AVX-512, and with AVX2 and gcc.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import replace

from codegen import ir
from codegen.ahead import Outer, is_costly, moves
from codegen.dtypes import itemsize
from codegen.visit import expressions, statements, walk

LONGEST = 64  # bytes of a vector, at most
MOST = 4  # values that the lanes of a loop combine: each number has a form of SG_ROW
# How the C calls what OpenMP spells so, but for an `and`, which is over bools: they have no vectors here.
WORDS = {"+": "add", "*": "multiply", "max": "largest", "min": "smallest", "|": "or"}


def by_vectors(kernel: ir.Kernel) -> ir.Kernel:
    """The kernel with the loops marked that run along rows, or in runs."""
    return replace(kernel, body=tuple(_inside(kernel.body, ())))


def _inside(body: Iterable[ir.Stmt], outer: Outer) -> Iterator[ir.Stmt]:
    written: set[ir.Buffer] = set()  # by loops before in this body, with vectors that had idle lanes
    for stmt in body:
        match stmt:
            case ir.For(index, simd=False):
                yield replace(stmt, body=tuple(_inside(stmt.body, (*outer, index))))
                continue
            case ir.For() if outer:
                loop = replace(stmt, vectors=_vectors(stmt, outer, written))
                yield loop
            case ir.Runs(loop) if outer or loop.sums:
                loop = replace(loop, vectors=_vectors(loop, outer, written))
                yield replace(stmt, loop=loop)
            case _:
                yield stmt
                continue
        if loop.vectors is not None and loop.vectors.idle:
            written.update(s.buffer for s in loop.body if isinstance(s, ir.Store))


def _vectors(loop: ir.For, outer: Outer, written: Container[ir.Buffer]) -> ir.Vectors | None:
    """How a loop had better run; None where that is left to the compiler."""
    stored = [s for s in loop.body if isinstance(s, ir.Store)]
    loaded = [e for e in expressions(loop.body) if isinstance(e, ir.Load)]
    dtypes = [*(s.buffer.dtype for s in stored), *(e.dtype for e in loaded), *(var.dtype for _, var in loop.sums)]
    if loop.lanes or loop.step != 1 or not dtypes or not {itemsize(dtype) for dtype in dtypes} <= {4, 8}:
        return None
    if any(isinstance(s, ir.SourceLine) for s in loop.body):
        return None
    of = min(dtypes, key=itemsize)
    added_to = [s for s in stored if ir.Load(s.buffer.dtype, s.buffer, s.offset) in walk(s.value)]
    idle = all(moves(s.offset, outer) for s in added_to)
    match loop.start, loop.extent:
        case ir.Literal(_, first), ir.Literal(_, last) if (last - first) * itemsize(of) % LONGEST == 0:
            idle = False
    waits = any(e.buffer in written for e in loaded)
    return ir.Vectors(of, idle) if 0 < len(loop.sums) <= MOST or (idle and (waits or is_costly([loop]))) else None


def declarations(kernels: Iterable[ir.Kernel]) -> list[str]:
    """The C that the marked loops of some kernels need."""
    marked = [s for k in kernels for s in statements(k.body) if isinstance(s, ir.For) and s.vectors is not None]
    words = sorted({WORDS[operator] for loop in marked for operator, _ in loop.sums})
    parts = [_VECTORS + "".join(_WORDS[word] for word in words)] if marked else []
    return [*parts, *([_JOIN] if words else []), *map(_row, sorted({len(loop.sums) for loop in marked}))]


_VECTORS = """\
/* Loops in vectors with a lane for each element of type OF, where the compiler can leave lanes idle. With SG_IDLE, what
   is left over at the end is one more vector, and not done one by one. gcc then has two copies of a body to find
   registers for, and finds them if it is told to look at every loop by itself. Vectors of AVX2 it would set to 0 by
   halves, for which those who read them whole would wait. */
#if defined(SG_SIMD) && defined(__GNUC__) && defined(__AVX512F__)
#define SG_VECTOR_BYTES 64
#elif defined(SG_SIMD) && defined(__GNUC__) && defined(__AVX2__) && !defined(__clang__)
#define SG_VECTOR_BYTES 32
#endif
#if !defined(SG_VECTOR_BYTES) || defined(__clang__)
#define SG_BY_VECTORS
#elif SG_VECTOR_BYTES == 64
#define SG_BY_VECTORS __attribute__((optimize("ira-region=all")))
#else
#define SG_BY_VECTORS __attribute__((optimize("ira-region=all", "no-tree-loop-distribute-patterns")))
#endif
enum { SG_ONE_BY_ONE, SG_IDLE };
#define SG_ALL_LANES(clauses) SG_LANES(clauses)"""

# What a lane starts from, how two of them combine, and what OpenMP calls it.
_LEAST = "_Generic(x, float: -INFINITY, double: -INFINITY, int32_t: INT32_MIN, int64_t: INT64_MIN, default: 0)"
_MOST = (
    "_Generic(x, float: INFINITY, double: INFINITY, int32_t: INT32_MAX, int64_t: INT64_MAX, \\\n"
    "                                      uint32_t: UINT32_MAX, default: UINT64_MAX)"
)
_WORDS = {
    word: f"\n#define SG_START_{word}(x) {start}\n#define SG_{word}(a, b) ({both})\n#define SG_SIGN_{word} {sign}"
    for word, start, both, sign in (
        ("add", "0", "(a) + (b)", "+"), ("multiply", "1", "(a) * (b)", "*"),
        ("or", "0", "(a) | (b)", "|"),
        ("largest", _LEAST, "(a) < (b) ? (b) : (a)", "max"), ("smallest", _MOST, "(b) < (a) ? (b) : (a)", "min"),
    )
}  # fmt: skip

_JOIN = """\
/* Combines the elements of an array with a value: in pairs, and pairs of pairs. */
#define SG_JOIN(how, value, array)                                                       \\
    for (int sg_lane = 0; sg_lanes == 16 && sg_lane < 8; ++sg_lane)                      \\
        array[sg_lane] = how(array[sg_lane], array[sg_lane + sg_lanes / 2]);             \\
    for (int sg_lane = 0; sg_lanes >= 8 && sg_lane < 4; ++sg_lane)                       \\
        array[sg_lane] = how(array[sg_lane], array[sg_lane + (sg_lanes >= 8 ? 4 : 0)]);  \\
    array[0] = how(how(array[0], array[2]), how(array[1], array[3]));                    \\
    value = how(value, array[0]);"""

# Loops whose lanes combine some values; what has an @ is there once for each of them.
_ROW = """\
#define SG_ROW_COUNT(end, of, index, from, to, how_@, type_@, x_@, ...)
    {
        enum { sg_lanes = SG_VECTOR_BYTES / (int)sizeof(of) };
        const int64_t sg_whole = (from) + (((to) - (from)) & -(int64_t)sg_lanes);
        const int32_t sg_left = (int32_t)((to) - sg_whole);
        type_@ sg_x_@[sg_lanes];
        for (int sg_lane = 0; sg_lane < sg_lanes; ++sg_lane) sg_x_@[sg_lane] = SG_START_##how_@(x_@);
        for (int64_t sg_at = from; sg_at < sg_whole; sg_at += sg_lanes) {
            SG_LANES(omp simd)
            for (int32_t sg_lane = 0; sg_lane < sg_lanes; ++sg_lane) {
                const int64_t index = sg_at + sg_lane;
                type_@ x_@ = sg_x_@[sg_lane];
                __VA_ARGS__
                sg_x_@[sg_lane] = x_@;
            }
        }
        if (end && sg_left > 0) {
            SG_LANES(omp simd)
            for (int32_t sg_lane = 0; sg_lane < sg_lanes; ++sg_lane) {
                type_@ x_@ = sg_x_@[sg_lane];
                if (sg_lane < sg_left) {
                    const int64_t index = sg_whole + sg_lane;
                    __VA_ARGS__
                }
                sg_x_@[sg_lane] = x_@;
            }
        }
        SG_JOIN(SG_##how_@, x_@, sg_x_@)
        for (int64_t index = sg_whole; !(end) && index < (to); ++index)
            __VA_ARGS__
    }"""

_PLAIN_ROW = """\
#define SG_ROW_COUNT(end, of, index, from, to, how_@, type_@, x_@, ...)
    SG_ALL_LANES(omp simd reduction(SG_SIGN_##how_@ : x_@))
    for (int64_t index = from; index < (to); ++index)
        __VA_ARGS__"""

_IN_LINES = re.compile(r"how_@, type_@, x_@, | reduction\(SG_SIGN_##how_@ : x_@\)")
_LINES = re.compile(r"^.*@.*\n", re.MULTILINE)


def _row(count: int) -> str:
    """The macro for loops whose lanes combine so many values."""
    of_each = {0: "", 1: " Each lane has an x of its own, until the end."}
    what = of_each.get(count, f" Each lane has {count} such x of its own.")
    head = f"/* BODY for INDEX = FROM ... TO-1.{what} */"
    return "\n".join([head, "#ifdef SG_VECTOR_BYTES", _form(_ROW, count), "#else", _form(_PLAIN_ROW, count), "#endif"])


def _form(macro: str, count: int) -> str:
    """A macro for so many values."""
    def each(found: re.Match[str]) -> str:
        return "".join(found[0].replace("@", str(k)) for k in range(1, count + 1))
    *lines, last = _LINES.sub(each, _IN_LINES.sub(each, macro.replace("COUNT", str(count)))).split("\n")
    width = max(map(len, lines))
    return "\n".join([*(f"{line:{width}} \\" for line in lines), last])
