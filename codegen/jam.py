"""Unroll and jam: a loop over rows that does nothing but add each to sums of columns takes several rows at once.

The sums are then loaded and stored once for four rows, whose terms are added up before they join them. Where rows are
written, too, the store is not what takes the time, and several rows would be more streams of memory than one.
Source: Allen and Kennedy, Optimizing Compilers for Modern Architectures (2001), section 8.4
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from codegen import ir
from codegen.offsets import ZERO
from codegen.operations import EXPENSIVE
from codegen.transform import fresh_name, names_in
from codegen.visit import rebuild, statements, walk, with_expressions

ROWS = 4


def jammed(kernel: ir.Kernel) -> ir.Kernel:
    """The kernel with several rows at once in those loops where that saves memory traffic."""
    if not any(isinstance(s, ir.For) and pays(s) for s in statements(kernel.body)):
        return kernel
    return replace(kernel, body=tuple(_jammed(kernel.body, names_in(kernel))))


def _jammed(body: Iterable[ir.Stmt], names: set[str]) -> Iterable[ir.Stmt]:
    for stmt in body:
        if not isinstance(stmt, ir.For) or stmt.simd:
            yield stmt
        elif pays(stmt):
            yield from _rows_at_once(stmt, names)
        else:
            yield replace(stmt, body=tuple(_jammed(stmt.body, names)))


def pays(rows: ir.For) -> bool:
    """Whether rows do little but add to common sums."""
    if len(rows.body) != 1 or not isinstance(row := rows.body[0], ir.For) or not row.simd or row.sums:
        return False
    if rows.index == ir.BLOCK or (isinstance(rows.extent, ir.Literal) and rows.extent.value < 2 * ROWS):
        return False  # there are few
    if any(rows.index in walk(e) for e in (row.start, row.extent)):
        return False
    evaluated: list[ir.Expr] = []
    added_to = set()
    for stmt in row.body:
        match stmt:
            case ir.Declare(_, value):
                evaluated += walk(value)
            case ir.Store(buffer, offset) if rows.index not in walk(offset) and (term := added(stmt)) is not None:
                evaluated += walk(term)
                added_to.add(buffer.name)
            case _:
                return False
    if any(isinstance(e, ir.Operation) and e.name in EXPENSIVE for e in evaluated):
        return False
    apart = len(added_to) == sum(isinstance(s, ir.Store) for s in row.body)
    apart &= not any(isinstance(e, ir.Load) and e.buffer.name in added_to for e in evaluated)
    return bool(added_to) and (apart or rows.jammable)


def added(store: ir.Store) -> ir.Expr | None:
    """What a statement adds to an element, if it does that."""
    match store.value:
        case ir.Operation(_, "add", (ir.Load(_, buffer, offset), term)):
            return term if (buffer.name, offset) == (store.buffer.name, store.offset) else None
    return None


def _rows_at_once(rows: ir.For, names: set[str]) -> Iterable[ir.Stmt]:
    """Loops over groups of rows, and over those left."""
    (row,) = rows.body
    assert isinstance(row, ir.For)
    own = [s.var for s in row.body if isinstance(s, ir.Declare)]
    copies = []
    for k in range(ROWS):
        locals = {v: replace(v, name=fresh_name(v.name, k, names)) for v in own}
        copies.append(_copy(row.body, rows.index, k, locals))
    body: list[ir.Stmt] = [s for copy in copies for s in copy if isinstance(s, ir.Declare)]
    for same in zip(*([s for s in copy if isinstance(s, ir.Store)] for copy in copies), strict=True):
        buffer, offset = same[0].buffer, same[0].offset
        terms = [term for store in same if (term := added(store)) is not None]
        body.append(ir.Store(buffer, offset, ir.Load(buffer.dtype, buffer, offset) + _balanced(terms)))
    left, whole = _left(rows)
    yield replace(rows, extent=whole, body=(replace(row, body=tuple(body)),), step=ROWS)
    if left != rows.extent:
        yield replace(rows, start=left)


def _copy(body: Iterable[ir.Stmt], index: ir.Var, k: int, locals: Mapping[ir.Var, ir.Var]) -> list[ir.Stmt]:
    """The statements of a row for the one that comes `k` later."""

    def change(e: ir.Expr) -> ir.Expr | None:
        match e:
            case ir.Operation(_, "add", (left, right)) if right == index:
                return rebuild(left, change) + index + k if k else None
            case _ if e == index:
                return index + k if k else None
        return locals.get(e) if isinstance(e, ir.Var) else None

    changed = (with_expressions(s, lambda e: rebuild(e, change)) for s in body)
    return [replace(s, var=locals[s.var]) if isinstance(s, ir.Declare) else s for s in changed]


def _left(rows: ir.For) -> tuple[ir.Expr, ir.Expr]:
    """The first row that is in no group, and before which row a group begins."""
    start, end = rows.start, rows.extent
    if isinstance(end, ir.Literal) and start == ZERO:
        whole = ir.index(int(end.value) // ROWS * ROWS)
        return whole, whole
    number = end if start == ZERO else end - start
    in_groups = ir.Operation(ir.INDEX, "bitwise_and", (number, ir.index(-ROWS)))
    return (in_groups if start == ZERO else start + in_groups), end - (ROWS - 1)


def _balanced(terms: Sequence[ir.Expr]) -> ir.Expr:
    """A sum whose additions wait for each other as little as possible."""
    half = len(terms) // 2
    return _balanced(terms[:half]) + _balanced(terms[half:]) if half else terms[0]
