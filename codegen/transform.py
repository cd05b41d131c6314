"""Kernel to kernel: what differs between calls becomes an argument, and equal kernels are emitted once."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from codegen import ir
from codegen.dtypes import literal
from codegen.offsets import ZERO, add, multiply
from codegen.visit import expressions, free_variables, rebuild, statements, walk, with_expressions


def lift_offsets(kernel: ir.Kernel, keep: Iterable[str] = ()) -> tuple[ir.Kernel, dict[str, ir.Expr]]:
    """The kernel with arrays that it reads from some element on starting there; the offsets are for the call to add.

    Those in `keep` are left. `v[20 + i]` becomes `v[i]`, so that kernels for the rows of one array are equal.
    """
    fixed = frozenset(p for p in kernel.params if isinstance(p, ir.Var))
    written = {s.buffer.name for s in statements(kernel.body) if isinstance(s, ir.Store)}
    kept = {*written, *keep}
    parts: dict[str, dict[ir.Expr, Offset]] = {}  # of each array: its offsets
    for e in expressions(kernel.body):
        if isinstance(e, ir.Load) and e.buffer.name not in kept:
            offsets = parts.setdefault(e.buffer.name, {})
            if e.offset not in offsets:
                offsets[e.offset] = taken_apart(e.offset, fixed)
    starts = {
        name: add(start, ir.index(min(part.constant for part in offsets.values())))
        for name, offsets in parts.items()
        for start in [next(iter(offsets.values())).start]
        if all(part.start == start for part in offsets.values())
    }
    starts = {name: start for name, start in starts.items() if start != ZERO}
    if not starts:
        return kernel, {}

    def change(e: ir.Expr) -> ir.Expr | None:
        if not isinstance(e, ir.Load) or e.buffer.name not in starts:
            return None
        offsets = parts[e.buffer.name]
        left = offsets[e.offset].constant - min(part.constant for part in offsets.values())
        return replace(e, offset=rebuild(add(offsets[e.offset].moving, ir.index(left)), change))

    return replace(kernel, body=tuple(with_expressions(s, lambda e: rebuild(e, change)) for s in kernel.body)), starts


@dataclass(frozen=True)
class Offset:
    """An offset as a sum: what is the same in all iterations, a number, and what is not."""

    start: ir.Expr
    constant: int
    moving: ir.Expr

    def __add__(self, other: Offset) -> Offset:
        return Offset(
            add(self.start, other.start), self.constant + other.constant, add(self.moving, other.moving)
        )

    def times(self, factor: ir.Expr) -> Offset:
        """The product by what is the same in all iterations."""
        if isinstance(factor, ir.Literal):
            number = int(factor.value)
            return Offset(multiply(self.start, factor), self.constant * number, multiply(self.moving, factor))
        start = multiply(add(self.start, ir.index(self.constant)), factor)
        return Offset(start, 0, multiply(self.moving, factor))


def taken_apart(e: ir.Expr, fixed: Container[ir.Expr]) -> Offset:
    """An offset as a sum, where `fixed` are the variables that are the same in all iterations."""

    def is_fixed(part: ir.Expr) -> bool:
        return all(isinstance(x, (ir.Literal, ir.Operation)) or x in fixed for x in walk(part))

    match e:
        case ir.Literal(_, value):
            return Offset(ZERO, int(value), ZERO)
        case ir.Operation(_, "add", (left, right)):
            return taken_apart(left, fixed) + taken_apart(right, fixed)
        case ir.Operation(_, "mul", (left, right)) if is_fixed(right):
            return taken_apart(left, fixed).times(right)
    return Offset(e, 0, ZERO) if is_fixed(e) else Offset(ZERO, 0, e)


def folded(e: ir.Expr) -> ir.Expr:
    """The expression with sums and products of indices and numbers computed where they can be."""

    def change(e: ir.Expr) -> ir.Expr | None:
        match e:
            case ir.Operation(ir.INDEX, "add" | "mul" as name, (left, right)):
                a, b = rebuild(left, change), rebuild(right, change)
                if name == "mul":
                    return multiply(a, b)
                if isinstance(a, ir.Literal) and isinstance(b, ir.Literal):
                    return ir.index(int(a.value + b.value))
                return add(a, b)
        return None

    return rebuild(e, change)


def names_in(kernel: ir.Kernel) -> set[str]:
    """The names that a kernel has taken."""
    inside = list(statements(kernel.body))
    names = {p.name for p in kernel.params} | {e.name for e in free_variables(kernel.body)}
    names |= {s.var.name for s in inside if isinstance(s, ir.Declare)}
    names |= {s.index.name for s in inside if isinstance(s, ir.For)}
    return names | {s.buffer.name for s in inside if isinstance(s, ir.LocalArray)}


def fresh_name(name: str, k: int | str, names: set[str]) -> str:
    """A name that is not taken yet, for copy number k of what has a name; now it is taken."""
    fresh = f"{name}_{k}"
    while fresh in names:
        fresh += "_"
    names.add(fresh)
    return fresh


def renamed(body: Iterable[ir.Stmt], new: Mapping[ir.Var, ir.Var]) -> tuple[ir.Stmt, ...]:
    """Statements of a kernel with other names for some of its locals and loop indices."""

    def define(stmt: ir.Stmt) -> ir.Stmt:
        match stmt:
            case ir.Declare(var) | ir.Assign(var):
                return replace(stmt, var=new.get(var, var))
            case ir.For(index, _, inner):
                sums = tuple((operator, new.get(v, v)) for operator, v in stmt.sums)
                return replace(stmt, index=new.get(index, index), body=tuple(map(define, inner)), sums=sums)
            case ir.Runs(loop, _, before, after):
                own = define(loop)
                assert isinstance(own, ir.For)
                return replace(stmt, loop=own, before=tuple(map(define, before)), after=tuple(map(define, after)))
            case ir.If(_, inner, orelse):
                return replace(stmt, body=tuple(map(define, inner)), orelse=tuple(map(define, orelse)))
        return stmt

    def use(e: ir.Expr) -> ir.Expr:
        return rebuild(e, lambda part: new.get(part) if isinstance(part, ir.Var) else None)

    return tuple(define(with_expressions(stmt, use)) for stmt in body) if new else tuple(body)


def share_kernels(kernels: Sequence[ir.Kernel], run: Sequence[ir.Stmt]) -> tuple[list[ir.Kernel], list[ir.Stmt]]:
    """Keep one of each set of kernels that differ in names only, and let all calls go to it.

    A kernel comes after those that it calls.
    """
    kept: dict[object, ir.Kernel] = {}
    stands_for: dict[str, str] = {}

    def redirected(stmt: ir.Stmt) -> ir.Stmt:
        match stmt:
            case ir.Call(name):
                return replace(stmt, name=stands_for.get(name, name))
            case ir.Timed(_, body):
                return replace(stmt, body=tuple(map(redirected, body)))
            case ir.InBlocks(_, _, call, rest):
                call = replace(call, name=stands_for.get(call.name, call.name))
                return replace(stmt, call=call, rest=tuple(map(redirected, rest)))
        return stmt

    for kernel in kernels:
        kernel = replace(kernel, body=tuple(map(redirected, kernel.body)))
        first = kept.setdefault(_anonymous(kernel), kernel)
        stands_for[kernel.name] = first.name
    return list(kept.values()), list(map(redirected, run))


def _anonymous(kernel: ir.Kernel) -> tuple[object, ...]:
    """The kernel with its names numbered in the order in which they appear, so that equal work compares equal."""
    numbers: dict[str, str] = {}

    def name(text: str) -> str:
        return numbers.setdefault(text, f"n{len(numbers)}")

    def buffer(b: ir.Buffer) -> ir.Buffer:
        return ir.Buffer(name(b.name), b.dtype)

    def change(e: ir.Expr) -> ir.Expr | None:
        match e:
            case ir.Var(dtype, text):
                return ir.Var(dtype, name(text))
            case ir.Load(dtype, b, offset):
                return ir.Load(dtype, buffer(b), expr(offset))
            case ir.Literal(dtype, value):
                return ir.Var(dtype, literal(dtype, value))  # by its text: 0.0 and -0.0 are equal in Python, NaN is not
        return None

    def expr(e: ir.Expr) -> ir.Expr:
        return rebuild(e, change)

    def var(v: ir.Var) -> ir.Var:
        return ir.Var(v.dtype, name(v.name))

    def pointer(p: ir.Pointer) -> ir.Pointer:
        return ir.Pointer(buffer(p.buffer), expr(p.offset))

    def argument(a: ir.Expr | ir.Pointer) -> ir.Expr | ir.Pointer:
        return pointer(a) if isinstance(a, ir.Pointer) else expr(a)

    def stmt(s: ir.Stmt) -> ir.Stmt:
        match s:
            case ir.Declare(v, value):
                return replace(s, var=var(v), value=expr(value))
            case ir.Assign(v, value):
                return replace(s, var=var(v), value=expr(value))
            case ir.Store(b, offset, value):
                return replace(s, buffer=buffer(b), offset=expr(offset), value=expr(value))
            case ir.For(index, extent, body, _, sums, start):
                inner = tuple(map(stmt, body))
                sums = tuple((operator, var(v)) for operator, v in sums)
                return replace(s, index=var(index), extent=expr(extent), body=inner, sums=sums, start=expr(start))
            case ir.Runs(loop, _, before, after, streamed):
                if streamed is not None:
                    streamed = replace(streamed, buffer=buffer(streamed.buffer), count=expr(streamed.count))
                first, own = tuple(map(stmt, before)), stmt(loop)
                assert isinstance(own, ir.For)
                last = tuple(map(stmt, after))
                return replace(s, loop=own, before=first, after=last, streamed=streamed)
            case ir.If(condition, body, orelse):
                inner, other = tuple(map(stmt, body)), tuple(map(stmt, orelse))
                return replace(s, condition=expr(condition), body=inner, orelse=other)
            case ir.Call(_, args):
                return replace(s, args=tuple(map(argument, args)))
            case ir.InBlocks(extent, work, call, rest):
                own = replace(call, args=tuple(map(argument, call.args)))
                return replace(s, extent=expr(extent), work=expr(work), call=own, rest=tuple(map(stmt, rest)))
            case ir.Copy(target, source, count):
                return ir.Copy(pointer(target), pointer(source), expr(count))
            case ir.Ahead(place, count):
                return replace(s, place=pointer(place), count=expr(count))
            case ir.LocalArray(b):
                return replace(s, buffer=buffer(b))
            case ir.Comment():
                return ir.Comment("")
        return s

    params = tuple(buffer(p) if isinstance(p, ir.Buffer) else var(p) for p in kernel.params)
    return params, tuple(map(stmt, kernel.body))
