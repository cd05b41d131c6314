"""Names from the user's assignments."""

import linecache

import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.graph.assigned import assigned_at, assigned_names
from symgraph.graph.provenance import Origin


def test_the_variable_a_line_makes_has_the_name_it_is_assigned_to():
    x = T.dmatrix("x")
    hidden = T.tanh(x * 2 + 1)
    out = hidden.sum()
    assert assigned_names([out]) == {hidden: "hidden", out: "out"}


def test_a_statement_of_several_lines():
    x = T.dmatrix("x")
    long_one = T.tanh(
        x * 2
        + 1
    )  # fmt: skip
    assert assigned_names([long_one])[long_one] == "long_one"


def test_no_name_where_it_is_not_clear():
    x = T.dmatrix("x")
    first, second = T.exp(x), T.log(x)
    several = [T.exp(x * k) for k in range(3)]
    pairs = [(x, T.cos(x))]
    named = T.sqrt(x)
    named.name = "root"
    assert assigned_names([first, second, *several, pairs[0][1], named]) == {}


def test_a_line_run_again_names_its_last_variable():
    x = T.dvector("x")
    v = x
    for _ in range(3):
        v = T.tanh(v)
    assert assigned_names([v]) == {v: "v"}


def test_gradients_are_not_called_what_they_are_gradients_of():
    x = T.dvector("x")
    h = T.tanh(x)
    cost = (h * h).sum()
    g = sg.grad(cost, x)
    names = assigned_names([cost, g])
    assert names[h] == "h" and names[cost] == "cost" and g not in names and g.name == "grad_x"


def test_a_function_is_no_variable():
    x = T.dvector("x")
    f = sg.function([x], x * 3)
    assert assigned_names(f.outputs) == {}


def test_names_reach_the_c():
    x = T.dmatrix("x")
    activation = T.tanh(x)
    f = sg.function([x], [activation, activation.sum()])
    assert "double *activation = arrays[1];" in f.c_source


@pytest.mark.parametrize("text, name", [
    ("h = T.tanh(z)", "h"),
    ("    h = T.tanh(z);  # of the notebook", "h"),
    ("h: object = T.tanh(z)", "h"),
    ("h = T.tanh(z); cost = T.sum(h)", None),
    ("s = ';'; cost = T.sum(h)", None),
    ("if c: h = T.tanh(z)", None),
    ("if c: h = T.tanh(z); cost = T.sum(h)", None),
    ("h = f(z, ';')", "h"),
    ("h = (T.tanh(z) +\n     T.exp(z))", "h"),
    ("h = (T.tanh(z) +\n     T.exp(z)); cost = T.sum(h)", None),
    ("h = (T.tanh(\n    # a comment; of words\n    z))", "h"),
    ("s = '('\nT.exp(z)", None),
])  # fmt: skip
def test_the_name_is_that_of_the_only_statement_of_the_line(monkeypatch, text, name):
    lines = text.splitlines(keepends=True)
    filename = f"<program {text}>"
    monkeypatch.setitem(linecache.cache, filename, (len(text), None, lines, filename))
    assert assigned_at(Origin(filename, len(lines))) == name


def test_the_second_value_of_a_line_does_not_have_the_name_of_the_first():
    z = T.dvector("z")
    h = T.tanh(z); cost = T.sum(h)  # noqa: E702
    assert assigned_names([cost]) == {}
