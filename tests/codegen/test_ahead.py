"""What is asked for ahead: where, how much, and that nothing else changes."""

from dataclasses import replace

from codegen import ir
from codegen.ahead import asked_ahead
from codegen.jam import ROWS, jammed
from codegen.streams import RUN
from codegen.visit import statements

i, j, n, m = (ir.Var(ir.INDEX, name) for name in "ijnm")
A, B, T = ir.Buffer("a", "float64"), ir.Buffer("b", "float64", True), ir.Buffer("t", "float64", True)
x = ir.Load("float64", A, i * m + j)
total = ir.Var("float64", "total")


def kernel(*body):
    return ir.Kernel("k", (A, B, T, n, m), body)


def row(*body, sums=()):
    return ir.For(j, m, body, simd=True, sums=sums)


def asked(kernel):
    return [s for s in statements(asked_ahead(kernel).body) if isinstance(s, ir.Ahead)]


def without(body):
    """Statements as they were before anything was asked for: runs that do nothing but ask are loops."""
    for s in body:
        if isinstance(s, ir.For):
            yield replace(s, body=tuple(without(s.body)))
        elif isinstance(s, ir.Runs):
            before = tuple(without(s.before))
            yield s.loop if not before and not s.after and s.streamed is None else replace(s, before=before)
        elif not isinstance(s, ir.Ahead):
            yield s


def add(term):
    return ir.Assign(total, total + term)


START = ir.Declare(total, ir.Literal("float64", 0.0), mutable=True)
SUM = row(add(x), sums=(("+", total),))
SCALED = row(ir.Store(B, i * m + j, x * total))


def test_the_second_pass_asks_for_as_much_as_its_run_reads():
    two = kernel(ir.For(i, n, (START, SUM, SCALED)))
    (early,) = asked(two)
    assert early == ir.Ahead(ir.Pointer(A, i * m + ir.RUN), ir.END - ir.RUN, early.distance)
    (rows,) = asked_ahead(two).body
    assert isinstance(rows, ir.For) and rows.body[1] == SUM and isinstance(rows.body[2], ir.Runs)
    assert tuple(without(asked_ahead(two).body)) == two.body
    assert asked(kernel(ir.For(i, n, (START, SUM)))) == []
    assert len(asked(kernel(ir.For(i, n, (START, SUM, SCALED, SCALED))))) == 1


def test_groups_of_rows_are_asked_for():
    column = ir.Store(T, j, ir.Load("float64", T, j) + x)
    one = kernel(ir.For(i, n, (row(column),)))
    assert asked(one) == []
    several = jammed(one)
    early = asked(several)
    assert len(early) == ROWS and {s.place.buffer for s in early} == {A} and {s.count for s in early} == {m}
    assert early[0].place.offset == i * m + ir.index(0)
    assert tuple(without(asked_ahead(several).body)) == several.body


def test_where_nothing_is_asked_for():
    def costly(extent, *more):
        loop = ir.For(j, extent, (ir.Store(B, j, ir.Operation("float64", "exp", (ir.Load("float64", A, j),))), *more))
        return kernel(replace(loop, simd=True))

    assert len(asked(costly(n))) == 1
    assert asked(costly(ir.index(RUN))) == []
    assert asked(costly(n, ir.Store(T, j, ir.Literal("float64", 0.0)))) == []  # it waits for what it writes

    def second_pass(index):
        y = ir.Load("float64", A, index * m + j)
        return kernel(ir.For(index, n, (START, row(add(y), sums=(("+", total),)), row(add(y), sums=(("+", total),)))))

    assert len(asked(second_pass(i))) == 1
    assert asked(second_pass(ir.RUN)) == []  # whose name is taken
