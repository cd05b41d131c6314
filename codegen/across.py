"""Lanes across rows: where rows are too short to fill a vector, a vector takes the same element of several rows.

The loops along a row are written out. What a row leaves in memory for itself becomes a local; what all rows add to is
added up in locals. Then no row waits for another, and the loop over them runs in vector lanes.
Source: Nuzman and Zaks, Outer-loop vectorization: revisited for short SIMD architectures (PACT 2008)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from codegen import ir
from codegen.dtypes import itemsize
from codegen.jam import added, pays
from codegen.offsets import ZERO
from codegen.operations import EXPENSIVE
from codegen.transform import folded, fresh_name, names_in, renamed, taken_apart
from codegen.visit import expressions, free_variables, operands, rebuild, statements, walk, with_expressions

SHORT = 4  # elements of a row, at most
MUCH = 120  # statements of a row that is written out, at most, for what the C compiler makes of them
COSTLY = 4  # statements that a function such as exp counts for
VECTOR = 32  # bytes: wider vectors would leave small batches to what is done with the rows left over

PLAIN = (ir.Declare, ir.Assign, ir.Store, ir.SourceLine)


class Place(NamedTuple):
    """An element of an array, as a row sees it: at row * step + position, behind `start`, which all rows share."""

    array: str
    step: int
    position: int
    start: ir.Expr


class Refused(Exception):
    """The loop cannot run in lanes, or not with a gain."""


def across_rows(kernel: ir.Kernel) -> ir.Kernel:
    """The kernel with loops over short rows in lanes, instead of those along the rows."""
    if not any(map(_short, statements(kernel.body))):
        return kernel
    local = {s.buffer.name for s in kernel.body if isinstance(s, ir.LocalArray)}
    uses = Counter({name: count for name, count in _uses(kernel.body).items() if name in local})
    body = list(_block(kernel.body, names_in(kernel), uses))
    used = _uses(body)
    return replace(kernel, body=tuple(s for s in body if not isinstance(s, ir.LocalArray) or s.buffer.name in used))


def _block(body: Iterable[ir.Stmt], names: set[str], uses: Counter[str]) -> Iterator[ir.Stmt]:
    for stmt in body:
        if not isinstance(stmt, ir.For) or stmt.simd:
            yield stmt
            continue
        try:
            here = _uses([stmt])
            yield from _in_lanes(stmt, names, {name for name in uses if uses[name] == here[name]})
        except Refused:
            yield replace(stmt, body=tuple(_block(stmt.body, names, uses)))


def _short(stmt: ir.Stmt) -> ir.For | None:
    """The loop along a row that a statement is, where it has few iterations."""
    loop = stmt.loop if isinstance(stmt, ir.Runs) else stmt
    if not isinstance(loop, ir.For) or not isinstance(loop.extent, ir.Literal):
        return None
    return loop if loop.start == ZERO and loop.step == 1 and 0 < loop.extent.value <= SHORT else None


def _uses(body: Sequence[ir.Stmt]) -> Counter[str]:
    """How often statements read or write each array."""
    read = [e.buffer.name for e in expressions(body) if isinstance(e, ir.Load)]
    return Counter([*read, *(s.buffer.name for s in statements(body) if isinstance(s, ir.Store))])


def _in_lanes(rows: ir.For, names: set[str], scratch: set[str]) -> Iterator[ir.Stmt]:
    """The loop over rows as a vector loop, with what goes before and after it."""
    if rows.index == ir.BLOCK or rows.step != 1 or _short(rows) or not any(map(_short, rows.body)):
        raise Refused
    if _elements(rows.body) > SHORT or _work(rows.body) > MUCH or _is_better_jammed(rows):
        raise Refused
    if any(_is_gathered(s, rows) for s in rows.body if not isinstance(s, PLAIN)):
        raise Refused
    row, totals = _apart(list(_written_out(rows.body, names)), rows, names, scratch)
    sums = tuple(("+", var) for var in (*totals, *_added_to(row, totals)))
    for var, (buffer, offset) in totals.items():
        yield ir.Declare(var, ir.Load(var.dtype, buffer, offset), mutable=True)
    yield replace(rows, body=tuple(row), simd=True, sums=sums, lanes=_lanes(row), jammable=False)
    for var, (buffer, offset) in totals.items():
        yield ir.Store(buffer, offset, var)


def _elements(body: Iterable[ir.Stmt]) -> int:
    """Of a row: how often its innermost statements are done. Raises Refused for what is no short loop."""
    most = 1
    for stmt in body:
        if (loop := _short(stmt)) is not None:
            assert isinstance(loop.extent, ir.Literal)
            most = max(most, int(loop.extent.value) * _elements(loop.body))
        elif not isinstance(stmt, PLAIN):
            raise Refused
    return most


def _work(body: Iterable[ir.Stmt]) -> float:
    """How many statements a row is when it is written out, where costly ones count for several."""
    work = 0.0
    for stmt in body:
        match stmt:
            case ir.For(_, ir.Literal(_, extent), inner):
                work += extent * _work(inner)
            case ir.Runs(loop, _, before, after):
                work += _work((*before, loop, *after))
            case ir.Declare() | ir.Assign() | ir.Store():
                costly = [e for e in expressions([stmt]) if isinstance(e, ir.Operation) and e.name in EXPENSIVE]
                work += 1 + COSTLY * len(costly)
    return work


def _is_better_jammed(rows: ir.For) -> bool:
    """Whether the loop only adds, and the elements of a row fill a good part of a vector."""
    if not pays(rows) or (row := _short(rows.body[0])) is None or not isinstance(row.extent, ir.Literal):
        return False
    widest = max(itemsize(s.buffer.dtype) for s in row.body if isinstance(s, ir.Store))
    return row.extent.value * widest > VECTOR // 2


def _is_gathered(along: ir.Stmt, rows: ir.For) -> bool:
    """Whether a loop along a row reads neighbours that are anywhere for the next row, as those of rows that an index
    picks are: in lanes across rows they would be read one by one.
    """
    inner = {s.index for s in statements([along]) if isinstance(s, ir.For)}
    known = {rows.index, *free_variables([rows]), *inner}
    for load in (e for e in expressions([along]) if isinstance(e, ir.Load)):
        leaves = {e for e in walk(load.offset) if not isinstance(e, (ir.Literal, ir.Operation))}
        if inner & leaves and not leaves <= known:
            return True
    return False


def _written_out(body: Iterable[ir.Stmt], names: set[str]) -> Iterator[ir.Stmt]:
    """The statements of a row, without loops."""
    for stmt in body:
        match stmt:
            case ir.For(index, ir.Literal(_, extent), inner):
                own = [s.var for s in statements(inner) if isinstance(s, ir.Declare)]
                for k in range(int(extent)):
                    copy = renamed(inner, {v: replace(v, name=fresh_name(v.name, k, names)) for v in own})
                    yield from _written_out(_with(copy, {index: ir.index(k)}), names)
            case ir.Runs(loop, _, before, after):
                whole = {ir.RUN: loop.start, ir.END: loop.extent}
                yield from _written_out(_with((*before, loop, *after), whole), names)
            case _:
                yield stmt


def _with(body: Iterable[ir.Stmt], values: Mapping[ir.Var, ir.Expr]) -> Iterator[ir.Stmt]:
    """Statements with values for some variables."""

    def value(e: ir.Expr) -> ir.Expr | None:
        return values.get(e) if isinstance(e, ir.Var) else None

    return (with_expressions(s, lambda e: folded(rebuild(e, value))) for s in body)


def _apart(
    row: Sequence[ir.Stmt], rows: ir.For, names: set[str], scratch: set[str]
) -> tuple[list[ir.Stmt], dict[ir.Var, tuple[ir.Buffer, ir.Expr]]]:
    """The statements of a row such that memory passes nothing from one of them to another, nor from row to row.

    Also the locals in which rows add up what they added to elements, and these elements.
    """
    places = _places(row, rows, scratch)
    common = {place.array for place in places.values() if place.step == 0} - scratch
    assigned = {s.var for s in row if isinstance(s, ir.Assign)}
    totals: dict[Place, ir.Var] = {}
    elements: dict[ir.Var, tuple[ir.Buffer, ir.Expr]] = {}
    same: dict[Place | ir.Expr, ir.Var] = {}  # locals that have what a place holds, a load gives or another local has
    out: list[ir.Stmt] = []

    def simpler(e: ir.Expr) -> ir.Expr:
        return rebuild(e, lambda e: same.get(places.get((e.buffer.name, e.offset), e) if isinstance(e, ir.Load) else e))

    def store(stmt: ir.Store, later: Sequence[ir.Stmt]) -> Iterator[ir.Stmt]:
        place, value = places[stmt.buffer.name, stmt.offset], simpler(stmt.value)
        if any(places.get((e.buffer.name, e.offset)) == place for e in expressions(later) if isinstance(e, ir.Load)):
            if not isinstance(value, ir.Var) or value in assigned:
                var = ir.Var(stmt.buffer.dtype, fresh_name(stmt.buffer.name, place.position, names))
                yield ir.Declare(var, value)
                value = var
            same[place] = value
        last = all(places[s.buffer.name, s.offset] != place for s in later if isinstance(s, ir.Store))
        if last and stmt.buffer.name not in scratch:
            yield replace(stmt, value=value)

    for number, stmt in enumerate(row):
        match stmt:
            case ir.Store(buffer, offset) if buffer.name in common and (term := added(stmt)) is not None:
                place = places[buffer.name, offset]
                if place not in totals:
                    total = totals[place] = ir.Var(buffer.dtype, fresh_name(buffer.name, place.position, names))
                    elements[total] = (buffer, offset)
                out.append(ir.Assign(totals[place], totals[place] + simpler(term)))
            case ir.Store():
                out += store(stmt, row[number + 1 :])
            case ir.Declare(var, value, mutable=False):
                value = simpler(value)
                if isinstance(value, ir.Var) and value not in assigned:
                    same[var] = value
                    continue
                if isinstance(value, ir.Load) and assigned.isdisjoint(walk(value)):
                    same[value] = var
                out.append(ir.Declare(var, value))
            case _:
                out.append(with_expressions(stmt, simpler))
    return out, elements


def _places(row: Sequence[ir.Stmt], rows: ir.For, scratch: set[str]) -> dict[tuple[str, ir.Expr], Place]:
    """What a row reads and writes of the arrays that rows write to, by array and offset.

    Raises Refused where one row may write to what another reads or writes, unless all only add to it.
    """
    written = {s.buffer.name for s in row if isinstance(s, ir.Store)}
    fixed = set(free_variables([rows]))
    places: dict[tuple[str, ir.Expr], Place] = {}
    for stmt in row:
        for load in (e for part in operands(stmt) if isinstance(part, ir.Expr) for e in walk(part)):
            if isinstance(load, ir.Load) and load.buffer.name in written:
                place = _place(load.buffer, load.offset, rows, fixed)
                if load.buffer.name in scratch and place not in places.values():
                    raise Refused  # what another row has left there
                places[load.buffer.name, load.offset] = place
        if isinstance(stmt, ir.Store):
            places[stmt.buffer.name, stmt.offset] = _place(stmt.buffer, stmt.offset, rows, fixed)
    for array in written:
        found = [place for place in places.values() if place.array == array]
        positions = [place.position for place in found]
        step, start = found[0].step, found[0].start
        if any((place.step, place.start) != (step, start) for place in found):
            raise Refused
        if step == 0 and array not in scratch:
            terms = [added(s) for s in row if isinstance(s, ir.Store) and s.buffer.name == array]
            loads = [e for e in expressions(row) if isinstance(e, ir.Load) and e.buffer.name == array]
            if None in terms or len(terms) != len(loads):
                raise Refused
        elif step and step <= max(positions) - min(positions):
            raise Refused
    return places


def _added_to(row: Sequence[ir.Stmt], totals: Iterable[ir.Var]) -> list[ir.Var]:
    """The other locals that rows add to. Raises Refused where a row does something else with a local of all rows."""
    own = {s.var for s in row if isinstance(s, ir.Declare)} | set(totals)
    sums = []
    for stmt in row:
        if isinstance(stmt, ir.Assign) and stmt.var not in own:
            match stmt.value:
                case ir.Operation(_, "add", (left, _)) if left == stmt.var:
                    sums.append(stmt.var)
                case _:
                    raise Refused
    mentioned = [e for e in expressions(row) if isinstance(e, ir.Var)]
    if any(mentioned.count(var) != sums.count(var) for var in sums):
        raise Refused
    return list(dict.fromkeys(sums))


def _lanes(row: Sequence[ir.Stmt]) -> int:
    """How many rows fill a vector."""
    floats = [itemsize(e.dtype) for e in expressions(row) if e.dtype in ("float32", "float64")]
    return VECTOR // min(floats, default=8)


def _place(buffer: ir.Buffer, offset: ir.Expr, rows: ir.For, fixed: Container[ir.Expr]) -> Place:
    """Raises Refused for an offset that is not linear in the row."""
    parts = taken_apart(offset, fixed)
    match parts.moving:
        case ir.Literal():
            step = 0
        case ir.Operation(_, "mul", (index, ir.Literal(_, factor))) if index == rows.index:
            step = int(factor)
        case index if index == rows.index:
            step = 1
        case _:
            raise Refused
    return Place(buffer.name, step, parts.constant, parts.start)
