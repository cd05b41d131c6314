"""Walks over loop programs: every part is met, in order, and rebuilt only where it changes."""

import pytest

from codegen import ir
from codegen.visit import (
    buffers,
    children,
    expressions,
    free_variables,
    operands,
    rebuild,
    statements,
    walk,
    with_expressions,
)

i, n, j = (ir.Var(ir.INDEX, name) for name in "inj")
x, y, condition = ir.Var("float64", "x"), ir.Var("float64", "y"), ir.Var("bool", "c")
a, out = ir.Buffer("a", "float64"), ir.Buffer("out", "float64", writable=True)
read = ir.Load("float64", a, i + 1)


def test_walk_meets_every_part_outermost_first():
    choice = ir.Select("float64", condition, ir.Cast("float64", n), -x)
    total = ir.Reduce("float64", "add", choice * read, (i,), (n,))
    element = ir.Element("float64", "an array", (i, j))
    assert list(walk(total + element)) == [
        total + element, total, choice * read, choice, condition, ir.Cast("float64", n), n, -x, x,
        read, i + 1, i, ir.index(1), element, i, j,
    ]  # fmt: skip


def test_parts_of_leaves():
    assert children(x) == children(ir.index(3)) == ()


def test_walk_and_rebuild_take_long_sums():
    total = x
    for k in range(100):
        total = total + ir.Literal("float64", k)
    assert sum(1 for _ in walk(total)) == 201
    assert rebuild(total, lambda e: y if e == x else None) != total


def test_rebuild_replaces_outermost_first_and_goes_everywhere():
    choice = ir.Select("float64", condition, ir.Cast("float64", n), -x)
    parts = choice * read + ir.Reduce("float64", "add", x, (i,), (n,)) / ir.Element("float64", "an array", (i,))

    def change(e):
        return {x: y, i: j}.get(e)
    choice = ir.Select("float64", condition, ir.Cast("float64", n), -y)
    other = ir.Load("float64", a, j + 1)
    assert rebuild(parts, change) == choice * other + ir.Reduce("float64", "add", y, (i,), (n,)) / ir.Element(
        "float64", "an array", (j,)
    )
    assert rebuild(x * x, lambda e: y if e == x * x else x + y if e == x else None) == y
    assert rebuild(parts, lambda e: None) == parts


def test_what_is_replaced_is_not_searched_again():
    assert rebuild(x, lambda e: x + 1 if e == x else None) == x + 1


STORE = ir.Store(out, i, read)
BRANCH = ir.If(condition, (ir.Assign(x, y),), (ir.Declare(y, x),))
LOOP = ir.For(i, n, (STORE, BRANCH))


def test_statements_come_in_order():
    assert list(statements([LOOP, ir.Comment("done")])) == [
        LOOP, STORE, BRANCH, ir.Assign(x, y), ir.Declare(y, x), ir.Comment("done")
    ]  # fmt: skip


def test_operands_are_what_a_statement_itself_evaluates():
    pointer = ir.Pointer(a, i)
    assert operands(LOOP) == (ir.index(0), n)
    assert operands(STORE) == (i, read)
    assert operands(BRANCH) == (condition,)
    assert operands(ir.Declare(x, y)) == operands(ir.Assign(x, y)) == (y,)
    assert operands(ir.Call("f", (pointer, n))) == (pointer, n)
    assert operands(ir.Place(a, "workspace", n)) == (n,)
    assert operands(ir.Copy(ir.Pointer(out, i), pointer, n)) == (ir.Pointer(out, i), pointer, n)
    assert operands(ir.Comment("x")) == operands(ir.Fail(1)) == ()


def test_all_expressions_of_a_statement_are_changed():
    def change(e):
        return rebuild(e, lambda part: j if part == i else None)
    at_i, at_j = ir.Pointer(a, i), ir.Pointer(a, j)
    assert with_expressions(ir.Copy(at_i, at_i, i + n), change) == ir.Copy(at_j, at_j, j + n)
    assert with_expressions(ir.Call("f", (at_i, i)), change) == ir.Call("f", (at_j, j))
    assert with_expressions(ir.LocalArray(a, 3), change) == ir.LocalArray(a, 3)
    with pytest.raises(TypeError, match="Place"):
        with_expressions(ir.Place(a, "workspace", i), change)


def test_expressions_are_found_in_all_statements():
    found = list(expressions([LOOP, ir.Call("f", (ir.Pointer(a, j),))]))
    assert [e for e in found if isinstance(e, ir.Var)] == [n, i, i, condition, y, x, j]


def test_buffers_in_the_order_met_writable_if_written_anywhere():
    b = ir.Buffer("out", "float64")
    body = [ir.Store(out, ir.Cast(ir.INDEX, ir.Load("float64", b, i)), read), ir.Call("f", (ir.Pointer(a, i),))]
    assert buffers(body) == [out, a]
    assert buffers([ir.Declare(x, ir.Load("float64", b, i)), ir.Store(out, i, x)]) == [out]


def test_free_variables_are_those_defined_nowhere_inside():
    assert free_variables([LOOP]) == [n, condition, x]
    assert free_variables([ir.Declare(x, y), ir.Store(out, n, x)]) == [y, n]
