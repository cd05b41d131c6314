"""A loop program as one C translation unit: the only file that knows how statements look in C."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from textwrap import wrap

from codegen import ir, rows, streams, threads
from codegen.c_expressions import comment, expression, inside, is_nonzero, spelled_as, string, truncates
from codegen.dtypes import c_type, itemsize
from codegen.operations import (
    ADDITION,
    ASSIGNMENT,
    COMMA,
    MULTIPLICATION,
    UNARY,
    Function,
    Infix,
    conversion,
    helper,
)
from codegen.runtime import is_routine, routines, take_blas
from codegen.visit import expressions, free_variables, rebuild, statements, walk

INDENT = "    "
LONG = 200  # statements from which on the main function comes in parts
STEPS_IN_A_PART = 400
OWN_LINES = "#line @"  # stands where the C counts its own lines again

_HEADER = """\
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Iterations of the loop below may run side by side in vector lanes. */
#ifdef SG_SIMD
#define SG_LANES(clauses) _Pragma(#clauses)
#else
#define SG_LANES(clauses)
#endif

/* Kernels stay functions of their own, so that the time to compile grows with their number and not faster. Functions of
   numbers become part of the loops that use them, which could not run in vector lanes otherwise. */
#if defined(__GNUC__)
#define SG_KERNEL static __attribute__((noinline))
#define SG_INLINE static inline __attribute__((always_inline, unused))
#else
#define SG_KERNEL static
#define SG_INLINE static inline
#endif

/* Functions that only call others are not optimized: the compiler would be at them for a third of its time, and where
   they are long for more than linear time. */
#if defined(__clang__)
#define SG_PLAIN __attribute__((optnone))
#elif defined(__GNUC__)
#define SG_PLAIN __attribute__((optimize("O0")))
#else
#define SG_PLAIN
#endif"""


_BOTH_SIDES = """\
/* `a & b` of truth values is meant so: it computes both, without a branch. */
#if defined(__clang__) && defined(__has_warning)
#if __has_warning("-Wbitwise-instead-of-logical")
#pragma clang diagnostic ignored "-Wbitwise-instead-of-logical"
#endif
#endif"""


_CLOCK = """\
#include <time.h>

/* The time, in seconds. */
SG_INLINE double sg_now(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}"""


_SECONDS = """\
/* Seconds spent in each part of the function since it was loaded. */
static double sg_seconds[COUNT];

double *NAME_seconds(void)
{
    return sg_seconds;
}"""


def print_program(program: ir.Program) -> str:
    """The C of a program, as docs/internals.md describes its entry points.

    Raises TypeError for a node that should have been lowered before.
    """
    bodies = [program.plan, program.run, *(kernel.body for kernel in program.kernels)]
    called = _called_routines(bodies)
    streamed = any(map(_is_streamed, program.kernels))
    threaded = bool(called) or streamed or any(isinstance(s, ir.InBlocks) for body in bodies for s in statements(body))
    parts = [
        comment(program.comment or program.name),
        _HEADER,
        *([_BOTH_SIDES] if any(_joins_calls(e) for body in bodies for e in expressions(body)) else []),
        *([_CLOCK] if program.clocks else [f"#ifdef _OPENMP\n{_CLOCK}\n#endif"] if threaded else []),
        *([_SECONDS.replace("COUNT", str(program.clocks)).replace("NAME", program.name)] if program.clocks else []),
        *([threads.DECLARATIONS] if threaded else []),
        *([streams.DECLARATIONS] if streamed else []),
        *([streams.AHEAD] if any(isinstance(s, ir.Ahead) for b in bodies for s in statements(b)) else []),
        *rows.declarations(program.kernels),
        *_helpers(bodies),
        *routines(called, program.name),
        *(_kernel(kernel) for kernel in program.kernels),
        _plan(program),
        _run(program),
    ]
    if program.uses_blas:
        parts.append(take_blas(program.name))
    if threaded:
        parts.append(threads.take_threads(program.name))
    return _with_own_lines("\n\n".join(parts) + "\n", program.name)


def _with_own_lines(text: str, name: str) -> str:
    """After a kernel with lines of the user's program the C counts its own again."""
    if OWN_LINES not in text:
        return text
    lines = text.split("\n")
    return "\n".join(f'#line {k + 2} "{name}.c"' if line == OWN_LINES else line for k, line in enumerate(lines))


# -- statements


def _lines(body: Iterable[ir.Stmt], depth: int = 1) -> Iterator[str]:
    pad = INDENT * depth
    for stmt in body:
        match stmt:
            case ir.Declare(var, value, mutable):
                constant = "" if mutable else "const "
                yield f"{pad}{constant}{c_type(var.dtype).name} {var.name} = {expression(value)};"
            case ir.Assign(var, value):
                yield f"{pad}{_update(var.name, var, value)};"
            case ir.Store(buffer, offset, value):
                place = f"{buffer.name}[{expression(offset)}]"
                yield f"{pad}{_update(place, ir.Load(buffer.dtype, buffer, offset), value)};"
            case ir.For():
                yield from _loop(stmt, depth)
            case ir.Runs():
                yield from _runs(stmt, depth)
            case ir.InBlocks(extent, work, call, rest):
                n = inside(extent, ASSIGNMENT)
                yield f"{pad}const int64_t work = {inside(work, ASSIGNMENT)}, blocks = sg_blocks({n}, work);"
                head = f"{pad}SG_IN_BLOCKS({n}, work, {call.name}("
                yield from _wrapped(head, [_argument(a) for a in call.args], "))")
                yield from _lines(rest, depth)
            case ir.If(condition, (ir.Fail(code),), ()):
                yield f"{pad}if ({expression(condition)})"
                yield f"{pad}{INDENT}return {code};"
            case ir.If(condition, inner, orelse):
                yield f"{pad}if ({expression(condition)}) {{"
                yield from _lines(inner, depth + 1)
                if orelse:
                    yield f"{pad}}} else {{"
                    yield from _lines(orelse, depth + 1)
                yield f"{pad}}}"
            case ir.Call(name, args):
                yield from _wrapped(f"{pad}{name}(", [_argument(a) for a in args], ");")
            case ir.LocalArray(buffer, count):
                yield f"{pad}{_element(buffer)} {buffer.name}[{count}];"
            case ir.Place(buffer, base, offset):
                yield f"{pad}{_declared(buffer)} = {_address(buffer, base, offset)};"
            case ir.Copy(target, source, count):
                size = f"(size_t){inside(count, UNARY)} * sizeof *{target.buffer.name}"
                yield f"{pad}memcpy({_argument(target)}, {_argument(source)}, {size});"
            case ir.Ahead(place, count, distance):
                size = f"{inside(count, MULTIPLICATION)} * {itemsize(place.buffer.dtype)}"
                yield f"{pad}sg_ahead({_argument(place)}, {distance}, {size});"
            case ir.Timed(clock, inner):
                yield f"{pad}{{"
                yield f"{pad}{INDENT}const double sg_start = sg_now();"
                yield from _lines(inner, depth + 1)
                yield f"{pad}{INDENT}sg_seconds[{clock}] += sg_now() - sg_start;"
                yield f"{pad}}}"
            case ir.Fail(code):
                yield f"{pad}return {code};"
            case ir.SourceLine(filename, line):
                yield f"#line {line} {string(filename)}"
            case ir.Comment(text):
                yield from (pad + line for line in comment(text).splitlines())
            case _:
                raise TypeError(f"{type(stmt).__name__} should have been lowered before printing")


def _loop(loop: ir.For, depth: int) -> Iterator[str]:
    pad, i = INDENT * depth, loop.index.name
    clauses = ["omp simd", *([f"simdlen({loop.lanes})"] if loop.lanes else [])]
    clauses += [f"reduction({operator}:{v.name})" for operator, v in loop.sums]
    by = f"++{i}" if loop.step == 1 else f"{i} += {loop.step}"
    if loop.vectors is not None:
        head = f"SG_ROW_{len(loop.sums)}({'SG_IDLE' if loop.vectors.idle else 'SG_ONE_BY_ONE'}, "
        ends = [c_type(loop.vectors.of).name, i, inside(loop.start, COMMA + 1), inside(loop.extent, COMMA + 1)]
        ends += [f"{rows.WORDS[operator]}, {c_type(v.dtype).name}, {v.name}" for operator, v in loop.sums]
        yield from _broken(head, ", ".join(ends), ", {", pad)
    else:
        if loop.simd:
            yield from _broken("SG_LANES(", " ".join(clauses), ")", pad)
        yield f"{pad}for (int64_t {i} = {expression(loop.start)}; {i} < {inside(loop.extent, ADDITION)}; {by}) {{"
    yield from _lines(loop.body, depth + 1)
    yield f"{pad}}})" if loop.vectors is not None else f"{pad}}}"


def _broken(head: str, text: str, end: str, pad: str) -> Iterator[str]:
    """Text on as many lines as it needs, aligned behind its head."""
    yield from wrap(
        f"{head}{text}{end}", 120, initial_indent=pad, subsequent_indent=pad + " " * len(head), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _runs(runs: ir.Runs, depth: int) -> Iterator[str]:
    loop, length, streamed = runs.loop, runs.length, runs.streamed
    if isinstance(loop.extent, ir.Literal) and loop.extent.value <= length and streamed is None:
        yield from _lines((*runs.before, loop, *runs.after), depth)
        return
    pad, last, step = INDENT * depth, inside(loop.extent, ADDITION), str(length)
    start, large = f"int64_t run = {expression(loop.start)}", ""
    if streamed is not None:
        count, bytes = inside(streamed.count, MULTIPLICATION), itemsize(streamed.buffer.dtype)
        large = f"sg_is_large({count} * {bytes}){' && *sg_threads > 1' * streamed.by_threads}"
        if not runs.before:  # the question is asked once: the number of threads may change meanwhile
            start, step = f"{start}, sg_run = {large} ? {length} : {count}", "sg_run"
            large = f"sg_run != {count}"
    yield f"{pad}for ({start}; run < {last}; run += {step}) {{"
    yield f"{pad}{INDENT}const int64_t end = {last} - run < {step} ? {last} : run + {step};"
    one = replace(loop, start=ir.RUN, extent=ir.END)
    if streamed is None:
        yield from _lines((*runs.before, one, *runs.after), depth + 1)
    else:
        store = next(s for s in loop.body if isinstance(s, ir.Store) and s.buffer == streamed.buffer)
        from_run = rebuild(store.offset, lambda e: ir.RUN if e == loop.index else None)
        place = _argument(ir.Pointer(store.buffer, from_run))
        to = ir.Buffer("sg_to", store.buffer.dtype, True)
        near = replace(store, buffer=to, offset=loop.index - ir.RUN)
        one = replace(one, body=tuple(near if s is store else s for s in loop.body))
        yield f"{pad}{INDENT}{_element(to)} sg_row[{length}];"
        yield f"{pad}{INDENT}const bool sg_large = {large};"
        yield f"{pad}{INDENT}{_declared(to)} = sg_large ? sg_row : {place};"
        yield from _lines((*runs.before, one, *runs.after), depth + 1)
        yield f"{pad}{INDENT}if (sg_large)"
        yield f"{pad}{INDENT * 2}sg_stream({place}, sg_row, (end - run) * {bytes});"
    yield f"{pad}}}"


_UPDATES = {"add": "+=", "sub": "-=", "mul": "*="}


def _update(place: str, old: ir.Expr, value: ir.Expr) -> str:
    """An assignment, written `+=` where the new value is the old one plus something."""
    match value:
        case ir.Operation(dtype, name, (left, right)) if left == old and name in _UPDATES and c_type(dtype).kind != "b":
            return f"{place} {_UPDATES[name]} {inside(right, ASSIGNMENT)}"
    return f"{place} = {inside(value, ASSIGNMENT)}"


def _argument(a: ir.Expr | ir.Pointer) -> str:
    if not isinstance(a, ir.Pointer):
        return inside(a, COMMA + 1)
    return a.buffer.name if a.offset == ir.index(0) else f"{a.buffer.name} + {inside(a.offset, ADDITION)}"


def _address(buffer: ir.Buffer, base: str, offset: ir.Expr) -> str:
    """Where an array stands: in the workspace at a number of bytes, or in another array at a number of elements."""
    if base == "workspace":
        place = "workspace" if offset == ir.index(0) else f"(char *)workspace + {inside(offset, ADDITION)}"
        return place if offset == ir.index(0) else f"({_element(buffer)} *)({place})"
    return base if offset == ir.index(0) else f"{base} + {inside(offset, ADDITION)}"


def _declared(buffer: ir.Buffer, restrict: bool = False) -> str:
    constant = "" if buffer.writable else "const "
    return f"{constant}{_element(buffer)} *{'restrict ' * restrict}{buffer.name}"


def _element(buffer: ir.Buffer) -> str:
    """The type of an array's elements; of bools the bytes they are kept in, which gcc 12 vectorizes and bools not."""
    return "uint8_t" if buffer.dtype == "bool" else c_type(buffer.dtype).name


def _wrapped(start: str, items: Sequence[str], end: str, width: int = 118) -> Iterator[str]:
    """`start item, item, … end` on as many lines as it needs, aligned behind `start`."""
    line, pad = start, " " * min(len(start), 60)
    for k, item in enumerate(items):
        text = item + (", " if k < len(items) - 1 else end)
        if len(line) + len(text.rstrip()) > width and line.strip() and k > 0:
            yield line.rstrip()
            line = pad
        line += text
    yield line if items else start + end


# -- the parts of a unit


def _kernel(kernel: ir.Kernel) -> str:
    params = [
        _declared(p, restrict=True) if isinstance(p, ir.Buffer) else f"{c_type(p.dtype).name} {p.name}"
        for p in kernel.params
    ]
    head = "\n".join(_wrapped(f"SG_KERNEL void {kernel.name}(", params or ["void"], ")"))
    note = [comment(kernel.comment)] if kernel.comment else []
    hints = ["SG_PLAIN"] if any(isinstance(s, ir.InBlocks) for s in kernel.body) else []
    hints += ["SG_BY_VECTORS"] if any(isinstance(s, ir.For) and s.vectors for s in statements(kernel.body)) else []
    back = [OWN_LINES] if any(isinstance(s, ir.SourceLine) for s in statements(kernel.body)) else []
    last = [f"{INDENT}sg_streamed();"] if _is_streamed(kernel) else []
    return "\n".join([*note, *hints, head, "{", *_lines(kernel.body), *last, *back, "}"])


def _is_streamed(kernel: ir.Kernel) -> bool:
    return any(isinstance(s, ir.Runs) and s.streamed is not None for s in statements(kernel.body))


def _plan(program: ir.Program) -> str:
    loaded = _loaded(program.plan)
    values = [(k, f) for k, f in enumerate(program.arrays) if f.buffer.name in loaded]
    used = {v.name for v in free_variables(program.plan)}
    body = [
        *(_unpacked(k, f) for k, f in values),
        *(f"{INDENT}const int64_t {v.name} = sizes[{k}];" for k, v in enumerate(program.given) if v.name in used),
        *([] if values else [f"{INDENT}(void)arrays;"]),
        *_lines(program.plan),
        *(f"{INDENT}sizes[{k}] = {v.name};" for k, v in enumerate(program.derived, len(program.given))),
        f"{INDENT}return 0;",
    ]
    if not any("sizes" in line for line in body):
        body.insert(0, f"{INDENT}(void)sizes;")
    note = comment(
        "Checks the lengths of the arguments and derives the other sizes; 0, or the number of the check that failed."
    )
    head = f"int {program.name}_plan(void *const *arrays, int64_t *sizes)"
    return "\n".join([note, "SG_PLAIN", head, "{", *body, "}"])


def _run(program: ir.Program) -> str:
    note = comment("Computes everything; the sizes are those that the plan left.")
    entry = _Entry(program)
    steps = [s for s in program.run if not isinstance(s, ir.Place)]
    main = f"int {program.name}"
    if len(program.run) <= LONG:
        return "\n".join([note, entry.function(main, program.run)])
    if any(isinstance(s, (ir.Declare, ir.Assign, ir.LocalArray)) for s in steps):
        return "\n".join([note, "SG_PLAIN", entry.function(main, program.run)])
    places = {s.buffer.name: s for s in program.run if isinstance(s, ir.Place)}
    parts: list[str] = []
    calls: list[str] = []
    for k in range(0, len(steps), STEPS_IN_A_PART):
        some = steps[k : k + STEPS_IN_A_PART]
        name = f"sg_part_{len(parts) + 1}"
        parts += ["SG_PLAIN\n" + entry.function(f"static int {name}", [*_needed_places(some, places), *some])]
        calls.append(f"{INDENT}if ((code = {name}(arrays, sizes, workspace)) != 0)\n{INDENT}{INDENT}return code;")
    whole = [note, f"{main}({_ENTRY})", "{", f"{INDENT}int code;", *calls, f"{INDENT}return 0;", "}"]
    return "\n\n".join([comment(_IN_PARTS), *parts, "\n".join(whole)])


_ENTRY = "void *const *arrays, const int64_t *sizes, void *workspace"
_IN_PARTS = "The steps in parts, for compilers take more than linear time for a long function."


class _Entry:
    """Writes functions with the parameters of the main one, in which arrays and sizes have their names."""

    def __init__(self, program: ir.Program):
        self.arrays = {f.buffer.name: (k, f) for k, f in enumerate(program.arrays)}
        self.sizes = {v.name: k for k, v in enumerate([*program.given, *program.derived])}

    def function(self, head: str, run: Sequence[ir.Stmt]) -> str:
        """The function with a head and some statements."""
        arrays = sorted((self.arrays[name] for name in _named(run) & self.arrays.keys()), key=lambda at: at[0])
        sizes = sorted((self.sizes[v.name], v.name) for v in free_variables(run) if v.name in self.sizes)
        body = [
            *(_unpacked(k, f) for k, f in arrays),
            *(f"{INDENT}const int64_t {name} = sizes[{k}];" for k, name in sizes),
            *_lines(run),
            f"{INDENT}return 0;",
        ]
        words = set(re.findall(r"\w+", "\n".join(body)))
        unused = [f"{INDENT}(void){name};" for name in ("arrays", "sizes", "workspace") if name not in words]
        return "\n".join([f"{head}({_ENTRY})", "{", *unused, *body, "}"])


def _needed_places(steps: Sequence[ir.Stmt], places: Mapping[str, ir.Place]) -> list[ir.Place]:
    """The definitions of the arrays that some steps mention, each after that of the array it is a part of."""
    needed: dict[str, ir.Place] = {}
    for name in sorted(_named(steps) & places.keys()):
        chain = []
        while name in places and name not in needed:
            chain.append(places[name])
            name = places[name].base
        needed.update({place.buffer.name: place for place in reversed(chain)})
    return list(needed.values())


def _unpacked(position: int, f: ir.ArrayField) -> str:
    return f"{INDENT}{_declared(f.buffer)} = arrays[{position}]; {comment(f'{f.role}, {f.comment}')}"


def _loaded(body: Iterable[ir.Stmt]) -> set[str]:
    return {e.buffer.name for e in expressions(body) if isinstance(e, ir.Load)}


def _named(body: Iterable[ir.Stmt]) -> set[str]:
    """The arrays that statements of the main function mention."""
    names = _loaded(body)
    for stmt in statements(body):
        match stmt:
            case ir.Call(_, args):
                names |= {a.buffer.name for a in args if isinstance(a, ir.Pointer)}
            case ir.Store(buffer):
                names.add(buffer.name)
            case ir.Place(_, base):
                names.add(base)
            case ir.Copy(target, source):
                names |= {target.buffer.name, source.buffer.name}
    return names


def _joins_calls(e: ir.Expr) -> bool:
    """Whether it is "and" or "or" of truth values that functions give."""
    if not isinstance(e, ir.Operation) or e.dtype != "bool" or not isinstance(spelled := spelled_as(e), Infix):
        return False
    parts = (part for part in walk(e) if isinstance(part, ir.Operation))
    return spelled.symbol in "&|" and any(isinstance(spelled_as(part), Function) for part in parts)


def _helpers(bodies: Sequence[Iterable[ir.Stmt]]) -> list[str]:
    """The inline functions that expressions use, each after those that it calls itself."""
    needed: dict[str, Function] = {}

    def need(function: Function) -> None:
        if function.source and function.name not in needed:
            for name in function.requires:
                need(helper(name))
            needed[function.name] = function

    for body in bodies:
        for e in expressions(body):
            if isinstance(e, ir.Cast) and truncates(e.dtype, e.arg):
                need(conversion(e.arg.dtype, e.dtype))
            elif isinstance(e, ir.Cast) and e.dtype == "bool" != e.arg.dtype:
                e = is_nonzero(e.arg)
            if isinstance(e, ir.Operation) and isinstance(spelled := spelled_as(e), Function):
                need(spelled)
    return [f.source.strip() for f in needed.values()]


def _called_routines(bodies: Sequence[Iterable[ir.Stmt]]) -> list[str]:
    calls = {s.name for body in bodies for s in statements(body) if isinstance(s, ir.Call)}
    return [name for name in calls if is_routine(name)]
