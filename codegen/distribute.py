"""Loop distribution: what each row does last, with a few numbers of its own, is done for many rows at once.

The logarithm of a sum along the row is such an end: one number, for which a vector function is called with one lane.
The loop over rows becomes two, a strip of rows at a time. The first leaves the numbers in short arrays, and the second
runs in vector lanes.
Source: Allen and Kennedy, Optimizing Compilers for Modern Architectures (2001), section 5.3, "scalar expansion"
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace

from codegen import ir
from codegen.ahead import is_costly
from codegen.transform import fresh_name, names_in
from codegen.visit import expressions, is_in_order, statements

STRIP = 64  # rows: enough to fill vectors, and few enough that what they leave stays in the first cache

LOOPS = (ir.For, ir.Runs)
READ = (ir.Load, ir.Var)

Uses = Counter[ir.Var | str]  # how often scalars, and arrays by their names, are mentioned


def distributed(kernel: ir.Kernel) -> ir.Kernel:
    """The kernel with costly ends of rows in loops of their own."""
    inside = list(statements(kernel.body))
    if any(isinstance(s, ir.SourceLine) for s in inside) or not any(map(_may_gain, inside)):
        return kernel
    arrays: list[ir.LocalArray] = []
    body = tuple(_block(kernel.body, names_in(kernel), arrays))
    return replace(kernel, body=(*arrays, *body))


def _block(body: Iterable[ir.Stmt], names: set[str], arrays: list[ir.LocalArray]) -> Iterator[ir.Stmt]:
    for stmt in body:
        if isinstance(stmt, ir.For):
            stmt = replace(stmt, body=tuple(_block(stmt.body, names, arrays)))
            stmt = _in_strips(stmt, names, arrays) if _may_gain(stmt) else stmt
        yield stmt


def _in_strips(rows: ir.For, names: set[str], arrays: list[ir.LocalArray]) -> ir.For:
    """A loop over rows as one over strips, with the ends of the rows in a loop of their own; as it was, if these cannot
    wait. The arrays that the first loop fills for the second join `arrays`.
    """
    staying, waiting = _apart(rows)
    if not is_costly(waiting):
        return rows
    start, stop = (ir.Var(ir.INDEX, fresh_name("strip", which, names)) for which in ("start", "end"))
    used, written = _uses(waiting), _written(rows.body)
    left: list[ir.Stmt] = []
    known: list[ir.Stmt] = []
    for stmt in staying:
        if not isinstance(stmt, ir.Declare) or stmt.var not in used:
            continue
        if _is_element(stmt.value, rows.index) and written.isdisjoint(_uses([stmt])):
            known.append(stmt)  # read there, too
            continue
        array = ir.Buffer(fresh_name(stmt.var.name, "of_row", names), stmt.var.dtype, True)
        arrays.append(ir.LocalArray(array, STRIP))
        left.append(ir.Store(array, rows.index - start, stmt.var))
        known.append(ir.Declare(stmt.var, ir.Load(array.dtype, array, rows.index - start)))
    sums = tuple(dict.fromkeys(("+", s.var) for s in waiting if isinstance(s, ir.Assign)))
    first = replace(rows, start=start, extent=stop, body=(*staying, *left))
    second = ir.For(rows.index, stop, (*known, *waiting), simd=True, sums=sums, start=start)
    is_last = ir.Operation("bool", "lt", (rows.extent - start, ir.index(STRIP)))
    limit = ir.Declare(stop, ir.Select(ir.INDEX, is_last, rows.extent, start + STRIP))
    note = ir.Comment("the ends of these rows")
    return ir.For(start, rows.extent, (limit, first, note, second), start=rows.start, step=STRIP)


def _is_element(value: ir.Expr, row: ir.Var) -> bool:
    """Whether a number is that of the row in an array with one for each."""
    return isinstance(value, ir.Load) and value.offset == row


def _may_gain(rows: ir.Stmt) -> bool:
    """Whether a statement is a loop over many rows that do something costly outside a loop of their own."""
    if not isinstance(rows, ir.For):
        return False
    outside = [s for s in rows.body if not isinstance(s, LOOPS)]
    are_few = isinstance(rows.extent, ir.Literal) and rows.extent.value < STRIP
    return len(outside) < len(rows.body) and is_costly(outside) and rows.step == 1 and not are_few


def _apart(rows: ir.For) -> tuple[list[ir.Stmt], list[ir.Stmt]]:
    """The statements of a row: those that stay, and those that may wait for other rows."""
    uses = _uses(rows.body)
    costly = _costly(rows.body)
    own = {s.var for s in rows.body if isinstance(s, ir.Declare)}
    changed = _written(rows.body) | (_assigned(rows.body) - own)  # by one row for another
    staying: list[ir.Stmt] = []
    waiting: list[ir.Stmt] = []
    used: set[ir.Var | str] = set()  # by statements that stay, later in the row
    assigned: set[ir.Var | str] = set()  # by these
    for stmt, gains in zip(reversed(rows.body), reversed(costly), strict=True):
        mentioned = _uses([stmt])
        reads = mentioned.keys() - {_target(stmt)}
        unchanged = reads.isdisjoint(changed) and reads.isdisjoint(assigned)
        may_wait = _may_wait(stmt, rows.index, mentioned, uses - mentioned, used)
        if may_wait and unchanged and (gains or isinstance(stmt, ir.Declare)):
            waiting.insert(0, stmt)
        else:
            staying.insert(0, stmt)
            used |= mentioned.keys()
            assigned |= _assigned([stmt])
    return staying, waiting


def _target(stmt: ir.Stmt) -> ir.Var | str | None:
    """What a statement stores or adds to."""
    match stmt:
        case ir.Store(buffer):
            return buffer.name
        case ir.Assign(var):
            return var
    return None


def _costly(body: Iterable[ir.Stmt]) -> list[bool]:
    """Which statements of a row compute much, or use what did."""
    numbers: set[ir.Var] = set()
    costly = []
    for stmt in body:
        costly.append(is_costly([stmt]) or not numbers.isdisjoint(_uses([stmt])))
        if costly[-1] and isinstance(stmt, ir.Declare):
            numbers.add(stmt.var)
    return costly


def _may_wait(stmt: ir.Stmt, row: ir.Var, own: Uses, others: Uses, later: Container[ir.Var | str]) -> bool:
    """Whether a statement is of a kind that may be done after the rest of its row, and of other rows.

    own, others: what it and the other statements mention; `later`: what those after it mention that cannot wait
    """
    match stmt:
        case ir.Declare(var, mutable=False):
            return var not in later
        case ir.Assign(var, ir.Operation(_, "add", (left, _))):
            return left == var and own[var] == 2 and var not in others
        case ir.Store(buffer, offset):
            return is_in_order(offset, row) and own[buffer.name] == 1 and buffer.name not in others
    return False


def _uses(body: Sequence[ir.Stmt]) -> Uses:
    inside = list(statements(body))
    found = Counter(e.buffer.name if isinstance(e, ir.Load) else e for e in expressions(body) if isinstance(e, READ))
    found.update(s.var for s in inside if isinstance(s, (ir.Declare, ir.Assign)))
    found.update(s.buffer.name for s in inside if isinstance(s, ir.Store))
    return found


def _assigned(body: Iterable[ir.Stmt]) -> set[ir.Var | str]:
    """The locals that statements assign to."""
    return {s.var for s in statements(body) if isinstance(s, ir.Assign)}


def _written(body: Iterable[ir.Stmt]) -> set[ir.Var | str]:
    """The names of the arrays that statements store to."""
    return {s.buffer.name for s in statements(body) if isinstance(s, ir.Store)}
