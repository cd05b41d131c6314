"""Walks over loop programs and rebuilding of expressions. Expressions are as deep as a kernel is long, so these
recurse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from codegen import ir

# Of each kind of expression: its direct parts, and the same with others. A table is twice as fast as matching, and most
# of what is done to a loop program is walks like these.
_PARTS: Mapping[type[ir.Expr], Callable[[Any], tuple[ir.Expr, ...]]] = {
    ir.Operation: lambda e: e.args,
    ir.Cast: lambda e: (e.arg,),
    ir.Select: lambda e: (e.condition, e.then, e.otherwise),
    ir.Load: lambda e: (e.offset,),
    ir.Element: lambda e: e.index,
    ir.Reduce: lambda e: (e.body,),
}
_REBUILT: Mapping[type[ir.Expr], Callable[[Any, Callable[[ir.Expr], ir.Expr]], ir.Expr]] = {
    ir.Operation: lambda e, of: ir.Operation(e.dtype, e.name, tuple(map(of, e.args))),
    ir.Cast: lambda e, of: ir.Cast(e.dtype, of(e.arg)),
    ir.Select: lambda e, of: ir.Select(e.dtype, of(e.condition), of(e.then), of(e.otherwise)),
    ir.Load: lambda e, of: ir.Load(e.dtype, e.buffer, of(e.offset)),
    ir.Element: lambda e, of: ir.Element(e.dtype, e.array, tuple(map(of, e.index))),
    ir.Reduce: lambda e, of: replace(e, body=of(e.body)),
}


def children(expr: ir.Expr) -> tuple[ir.Expr, ...]:
    """The direct parts of an expression."""
    parts = _PARTS.get(type(expr))
    return parts(expr) if parts is not None else ()


def walk(expr: ir.Expr) -> Iterator[ir.Expr]:
    """An expression and all its parts, each as often as it occurs."""
    stack = [expr]
    while stack:
        part = stack.pop()
        yield part
        parts = _PARTS.get(type(part))
        if parts is not None:
            stack.extend(reversed(parts(part)))


def is_in_order(offset: ir.Expr, index: ir.Var) -> bool:
    """Whether an offset is the index of a loop, or a sum that ends with it: one element after the other."""
    match offset:
        case ir.Operation(_, "add", (start, last)) if last == index:
            return index not in walk(start)
    return offset == index


def rebuild(expr: ir.Expr, change: Callable[[ir.Expr], ir.Expr | None]) -> ir.Expr:
    """The expression with every part that `change` gives a replacement for replaced, outermost first."""
    new = change(expr)
    if new is not None:
        return new
    rebuilt = _REBUILT.get(type(expr))
    return rebuilt(expr, lambda part: rebuild(part, change)) if rebuilt is not None else expr


def with_expressions(stmt: ir.Stmt, change: Callable[[ir.Expr], ir.Expr]) -> ir.Stmt:
    """A statement of a kernel with `change` applied to every expression in it, whole."""

    def inner(body: Iterable[ir.Stmt]) -> tuple[ir.Stmt, ...]:
        return tuple(with_expressions(s, change) for s in body)

    match stmt:
        case ir.Declare(_, value) | ir.Assign(_, value):
            return replace(stmt, value=change(value))
        case ir.Store(_, offset, value):
            return replace(stmt, offset=change(offset), value=change(value))
        case ir.For(_, extent, body):
            return replace(stmt, extent=change(extent), body=inner(body), start=change(stmt.start))
        case ir.Runs(loop, _, before, after, streamed):
            (own,) = inner([loop])
            assert isinstance(own, ir.For)
            streamed = streamed and replace(streamed, count=change(streamed.count))
            return replace(stmt, loop=own, before=inner(before), after=inner(after), streamed=streamed)
        case ir.Ahead(place, count):
            return replace(stmt, place=replace(place, offset=change(place.offset)), count=change(count))
        case ir.If(condition, body, orelse):
            return replace(stmt, condition=change(condition), body=inner(body), orelse=inner(orelse))
        case ir.Call(_, args):
            changed = (replace(a, offset=change(a.offset)) if isinstance(a, ir.Pointer) else change(a) for a in args)
            return replace(stmt, args=tuple(changed))
        case ir.Copy(target, source, count):
            target, source = (replace(p, offset=change(p.offset)) for p in (target, source))
            return ir.Copy(target, source, change(count))
        case ir.LocalArray() | ir.Comment() | ir.SourceLine() | ir.Fail():
            return stmt
    raise TypeError(f"{type(stmt).__name__} does not stand in kernels")


def statements(body: Iterable[ir.Stmt]) -> Iterator[ir.Stmt]:
    """Statements and those inside them, in order."""
    for stmt in body:
        yield stmt
        match stmt:
            case ir.For(_, _, inner):
                yield from statements(inner)
            case ir.Runs(loop, _, before, after):
                yield from statements((*before, loop, *after))
            case ir.InBlocks(_, _, call, rest):
                yield call
                yield from statements(rest)
            case ir.If(_, inner, orelse):
                yield from statements(inner)
                yield from statements(orelse)
            case ir.Timed(_, inner):
                yield from statements(inner)


def operands(stmt: ir.Stmt) -> tuple[ir.Expr | ir.Pointer, ...]:
    """The expressions and addresses that a statement itself evaluates."""
    match stmt:
        case ir.Declare(_, value) | ir.Assign(_, value):
            return (value,)
        case ir.Store(_, offset, value):
            return (offset, value)
        case ir.For(_, extent):
            return (stmt.start, extent)
        case ir.Runs(streamed=ir.Streamed(_, count)):
            return (count,)
        case ir.InBlocks(extent, work):
            return (extent, work)
        case ir.If(condition):
            return (condition,)
        case ir.Call(_, args):
            return args
        case ir.Place(_, _, offset):
            return (offset,)
        case ir.Copy(target, source, count):
            return (target, source, count)
        case ir.Ahead(place, count):
            return (place, count)
    return ()


def expressions(body: Iterable[ir.Stmt]) -> Iterator[ir.Expr]:
    """Every expression in some statements, with all its parts."""
    for stmt in statements(body):
        for operand in operands(stmt):
            yield from walk(operand.offset if isinstance(operand, ir.Pointer) else operand)


def buffers(body: Iterable[ir.Stmt]) -> list[ir.Buffer]:
    """The arrays that statements touch and do not declare, in the order met; one that is written anywhere is
    writable.
    """
    body = list(body)
    found: dict[str, ir.Buffer] = {}

    def meet(buffer: ir.Buffer) -> None:
        known = found.get(buffer.name)
        found[buffer.name] = known if known is not None and known.writable else buffer

    for stmt in statements(body):
        if isinstance(stmt, ir.Store):
            meet(stmt.buffer)
        for operand in operands(stmt):
            if isinstance(operand, ir.Pointer):
                meet(operand.buffer)
            for part in walk(operand.offset if isinstance(operand, ir.Pointer) else operand):
                if isinstance(part, ir.Load):
                    meet(part.buffer)
    own = {stmt.buffer.name for stmt in statements(body) if isinstance(stmt, ir.LocalArray)}
    return [buffer for buffer in found.values() if buffer.name not in own]


def free_variables(body: Iterable[ir.Stmt]) -> list[ir.Var]:
    """The scalars that statements use and do not define, in the order met."""
    body = list(body)
    defined = set()
    for stmt in statements(body):
        if isinstance(stmt, ir.Declare):
            defined.add(stmt.var.name)
        elif isinstance(stmt, ir.For):
            defined.add(stmt.index.name)
        elif isinstance(stmt, ir.Runs):
            defined |= {ir.RUN.name, ir.END.name}
        elif isinstance(stmt, ir.InBlocks):
            defined |= {v.name for v in (ir.FIRST, ir.LAST, ir.BLOCK, ir.BLOCKS)}
    found = (e for e in expressions(body) if isinstance(e, ir.Var) and e.name not in defined)
    return list(dict.fromkeys(found))
