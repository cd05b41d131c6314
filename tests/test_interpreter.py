"""The interpreter: values by numpy, errors in the user's names and lines, and no more kept than is needed."""

import tracemalloc

import numpy as np
import pytest

import symgraph.tensor as T
from symgraph.errors import MissingInputError, ShapeError
from symgraph.graph.node import SharedVariable
from symgraph.graph.types import TensorType
from symgraph.interpreter import evaluate, run_node

x, y = T.dmatrix("x"), T.dvector("y")
i = T.lscalar("i")
X, Y = np.arange(6.0).reshape(2, 3), np.array([1.0, -1.0, 2.0])


def test_values_are_those_of_numpy():
    h = T.tanh(x * y + 1)
    values = evaluate([h, h.sum(axis=0), x.T, x, T.exp(y) > 2], {x: X, y: Y})
    for value, expected in zip(values, [np.tanh(X * Y + 1), np.tanh(X * Y + 1).sum(axis=0), X.T, X, np.exp(Y) > 2]):
        np.testing.assert_allclose(value, expected, rtol=1e-15)


def test_shared_variables_have_their_present_value():
    W = SharedVariable(TensorType("float64", (None,)), Y.copy(), "W")
    out = 2 * W
    np.testing.assert_array_equal(evaluate([out], {})[0], 2 * Y)
    W.set_value([5.0])
    np.testing.assert_array_equal(evaluate([out], {})[0], [10.0])
    np.testing.assert_array_equal(evaluate([out], {W: Y})[0], 2 * Y)


def test_a_value_in_between_may_be_given_instead_of_its_inputs():
    h = T.exp(x)
    np.testing.assert_array_equal(evaluate([h * 2], {h: Y})[0], 2 * Y)


def test_nothing_but_the_outputs_is_kept():
    h = y
    for _ in range(40):
        h = h * 1.5
    large = np.ones(100_000)
    tracemalloc.start()
    try:
        evaluate([h], {y: large})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * large.nbytes


def test_a_trace_has_the_value_of_every_node():
    h = T.exp(y)
    out = h * 2 + 1
    trace = {}
    evaluate([out], {y: Y}, trace)
    np.testing.assert_allclose(trace[h], np.exp(Y), rtol=1e-15)
    np.testing.assert_array_equal(trace[out.owner.inputs[0]] + 1, trace[out])
    assert trace[y] is Y


def test_the_same_output_twice_and_no_outputs():
    h = T.exp(y)
    first, second = evaluate([h, h], {y: Y})
    np.testing.assert_array_equal(first, second)
    assert evaluate([], {}) == []


def test_inputs_are_not_changed():
    before = X.copy(), Y.copy()
    evaluate([T.set_subtensor(x[0], y), (x - x) * y], {x: X, y: Y})
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(Y, before[1])


def test_an_input_without_a_value_is_named():
    with pytest.raises(MissingInputError, match=rf"y \(made at {y.origin}\) has no value"):
        evaluate([x * y], {x: X})


def test_shapes_that_do_not_fit_at_the_call_are_named_with_their_line():
    out = x + y
    with pytest.raises(ShapeError) as caught:
        evaluate([out], {x: np.zeros((2, 3)), y: np.zeros(4)})
    text = str(caught.value)
    assert text.startswith("cannot add x (2, 3) and y (4,): lengths 3 and 4 do not broadcast on axis -1\n")
    assert f"{out.origin}   out = x + y" in text and f"x: {x.origin}" in text and f"y: {y.origin}" in text


@pytest.mark.parametrize("out, values, error, words", [
    (lambda: x @ y, {x: X, y: Y[:2]}, ShapeError, ["x (2, 3)", "y (2,)"]),
    (lambda: x[i], {x: X, i: np.array(2)}, IndexError, ["x (2, 3)", "2"]),
    (lambda: x[:, i], {x: X, i: np.array(-4)}, IndexError, ["x (2, 3)", "-4"]),
    (lambda: y.reshape((i, 2)), {y: Y, i: np.array(2)}, ShapeError, ["y (3,)"]),
    (lambda: T.concatenate([x, x.T], axis=0), {x: X}, ShapeError, ["x (2, 3)", "x.T (3, 2)"]),
    (lambda: x.max(axis=0), {x: X[:0]}, ShapeError, ["x (0, 3)"]),
])
def test_what_an_op_refuses_at_the_call(out, values, error, words):
    made = out()
    with pytest.raises(error) as caught:
        evaluate([made], values)
    assert all(word in str(caught.value) for word in [*words, str(made.origin)]), str(caught.value)


def test_an_operand_without_a_short_name_is_counted():
    long = T.sqrt(y) * y + T.tanh(y) * T.sin(y) - T.exp(y) * T.cos(y)
    with pytest.raises(ShapeError, match=r"cannot add x \(2, 3\) and operand 2 \(2,\)"):
        evaluate([x + long], {x: X, y: Y[:2]})


def test_one_node_by_itself():
    out = x * y
    np.testing.assert_array_equal(run_node(out.owner, [X, Y]), X * Y)
    with pytest.raises(ShapeError, match=r"x \(2, 3\) and y \(2,\)"):
        run_node(out.owner, [X, Y[:2]])


def test_lengths_of_1_known_only_at_the_call_broadcast():
    for a, b in ((X, X[:1]), (X[:, :1], X), (X[:1], X[:, :1])):
        other = T.dmatrix("other")
        np.testing.assert_array_equal(evaluate([x - other], {x: a, other: b})[0], a - b)


def test_a_chain_of_100_000_nodes():
    h = y
    for k in range(100_000):
        h = -h if k % 2 else h + 1.0
    (value,) = evaluate([h], {y: Y})
    expected = Y
    for k in range(100_000):
        expected = -expected if k % 2 else expected + 1.0
    np.testing.assert_array_equal(value, expected)
