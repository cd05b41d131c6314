"""What gets a box: the mathematics, and not the bookkeeping."""

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.graph.assigned import assigned_names
from symgraph.graph.traverse import ancestors
from symgraph.interpreter import evaluate
from symgraph.visual.outline import around, by_line, outline

X, v, s = T.dmatrix("X"), T.dvector("v"), T.dscalar("s")


def labels(x, values=None, **options):
    found = outline([x], {}, values or {}, **options)
    return [found.label(d) for d in found.drawn if d.owner is not None]


@pytest.mark.parametrize("x, label", [
    (v + v, "+"), (s * v, "×"), (v - s, "v − s"), (s - v, "s − v"), (v**2, "v²"), (2 * v, "2 × v"), (-v, "−v"),
    (v / 3, "v / 3"), (1 - v, "1 − v"), (T.exp(v), "exp"), (T.dot(X, v), "X @ v"), (X.sum(axis=0), "sum axis=0"),
    (X.sum(), "sum"), (T.maximum(v, 0), "maximum(v, 0)"), (X.T, "X.T"), (v * -2, "v × −2"), (v**s, "v**s"),
    (T.nnet.softmax(X), "softmax axis=1"), (v > 0, "v > 0"),
])
def test_ops_are_called_by_their_sign_or_name(x, label):
    assert labels(x)[-1] == label


def test_operands_without_a_name_are_dots():
    assert labels(T.exp(v) - T.log(v))[-1] == "• − •"
    assert labels((v + s) ** 3)[-1] == "•³"
    assert labels((T.exp(v) - s) / (v * 7))[-1] == "• / •"


def test_a_name_with_operators_in_it_stays_as_it_is():
    a = T.dscalar("a * b - c")
    assert labels(a - s)[-1] == "'a * b - c' − s"


def test_numbers_lengths_and_what_follows_from_them_are_written_into_labels():
    assert labels(X.mean()) == ["sum", "• / (X.shape[0] × X.shape[1])"]
    values = {}
    mean = X.mean()
    evaluate([mean], {X: np.ones((4, 3))}, values)
    assert labels(mean, values) == ["sum", "• / 12"]
    assert labels(v * (T.as_tensor_variable(1.0) / 3)) == ["v × (1 / 3)"]


def test_bookkeeping_of_broadcasting_is_passed_through():
    gradient = sg.grad((X * v * s).sum(), s)
    shown = labels(gradient)
    assert "unbroadcast" not in " ".join(shown) and "broadcast_to" not in " ".join(shown)
    assert "dim_shuffle" not in " ".join(shown)
    plain = labels(gradient, tidy=False)
    assert len(plain) > len(shown) + 3


def test_a_sum_that_undoes_broadcasting_is_shown_where_it_sums():
    assert "sum to the shape of v" in labels(sg.grad((X * v).sum(), v))
    same = T.dvector("w")
    assert labels(sg.grad((same * v).sum(), v))[-1] == "to the shape of v"


def test_without_tidying_every_variable_gets_a_box():
    x = X.mean() + 2
    assert set(outline([x], {}, {}, tidy=False).drawn) == set(ancestors([x]))


def test_what_was_asked_for_or_named_always_gets_a_box():
    n = v.shape[0]
    assert n in outline([n], {}, {}).drawn
    assert outline([T.as_tensor_variable(3.0)], {}, {}).drawn
    half = T.as_tensor_variable(0.5)
    half.name = "half"
    assert half in outline([v * half], {}, {}).drawn


def test_every_arrow_comes_from_a_box():
    cost = T.nnet.softmax(X * v + s).mean()
    for tidy in (True, False):
        found = outline([cost, *sg.grad(cost, [X, v, s])], {}, {}, tidy=tidy)
        drawn = set(found.drawn)
        assert all(set(found.operands[x]) <= drawn for x in drawn)


def test_lines_group_what_they_made_apart_from_its_gradient():
    h = T.tanh(T.dot(X, v) + s)
    y = (h**2).sum()
    gradient = sg.grad(y, v)
    found = outline([y, gradient], assigned_names([y, gradient]), {})
    groups = by_line(found)
    written = {g for x, g in groups.items() if not x.origin.derived}
    derived = {g for x, g in groups.items() if x.origin.derived}
    assert len(written) == 2 and derived and not written & derived
    assert not {X, v, s} & groups.keys()


def test_many_leaves_of_one_line_share_a_box():
    inputs = [T.dscalar(f"x{k}") for k in range(20)]
    total = sum(inputs[1:], inputs[0])
    groups = by_line(outline([total], {}, {}))
    assert len({groups[x] for x in inputs}) == 1


def test_a_variable_is_grouped_with_what_its_line_made():
    h = T.tanh(v + s)
    error = ((h - 1) ** 2).sum() / 2
    found = outline([error], {}, {})
    groups = around(found, [error])
    assert error in groups and h not in groups and len(groups) == 4
