"""Lengths: which are known, which are equal, and what a call checks before anything is computed."""

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.errors import ShapeError
from symgraph.graph.node import Constant, as_variable
from symgraph.graph.types import TensorType
from symgraph.lower.shapes import infer_shapes

x, y = T.dmatrices("x", "y")
v, w = T.dvectors("v", "w")
n = T.lscalar("n")


def shapes_of(*outputs, inputs=(x, y, v, w, n)):
    return infer_shapes(list(outputs), list(inputs))


def test_lengths_of_inputs_are_symbols_or_known():
    z = TensorType("float64", (3, None))("z")
    shapes = shapes_of(z, inputs=[z])
    first, second = shapes.of(z)
    assert isinstance(first, Constant) and first.value == 3
    assert shapes.symbols[second] == (z, 1)


def test_elementwise_partners_are_equal():
    shapes = shapes_of(x + y)
    assert shapes.of(x) == shapes.of(y)
    assert len(shapes.equalities) == 2


def test_equalities_reach_everything_of_that_length():
    """From x + y, y + z and z @ v: all the same, though x and v never meet."""
    z = T.dmatrix("z")
    shapes = shapes_of(x + y, y + z, T.dot(z, v), inputs=[x, y, z, v])
    assert shapes.of(x)[1] is shapes.of(v)[0]
    assert len(shapes.equalities) == 5


def test_products_need_equal_inner_lengths():
    shapes = shapes_of(product := T.dot(x, y))
    assert shapes.of(x)[1] is shapes.of(y)[0]
    assert shapes.of(product) == (shapes.of(x)[0], shapes.of(y)[1])


def test_what_is_known_stands_for_what_is_not():
    z = TensorType("float64", (4,))("z")
    shapes = shapes_of(v + w, w + z, inputs=[v, w, z])
    assert all(shapes.of(a)[0].value == 4 for a in (v, w, z))


def test_lengths_of_1_broadcast_and_are_no_equality():
    z = TensorType("float64", (1, None))("z")
    shapes = shapes_of(total := x + z, inputs=[x, z])
    assert shapes.of(total) == shapes.of(x) and shapes.of(z)[0].value == 1
    assert len(shapes.equalities) == 1


def test_equal_computations_of_lengths_are_one():
    k, m = x.shape[0], x.shape[1]
    shapes = shapes_of(x, v)
    assert shapes.canonical(k * m + 1) is shapes.canonical(x.shape[0] * x.shape[1] + 1)
    assert shapes.canonical(k * m) is shapes.canonical(m * k)
    assert shapes.canonical(k - m) is not shapes.canonical(m - k)
    assert shapes.canonical(as_variable(2) * 3).value == 6
    assert shapes.canonical(k) is shapes.of(x)[0]


def test_what_is_known_before_arrays_are_touched():
    shapes = shapes_of(x, n)
    for known in (n, n + x.shape[0], x.shape[0] * 2 > n, as_variable(3)):
        assert shapes.is_host(shapes.canonical(known))
    shapes = infer_shapes([total := T.argmax(v)], [v])
    assert not shapes.is_host(shapes.canonical(total))


@pytest.mark.parametrize(("output", "expected"), [
    (x.T, "1 0"), (x.sum(axis=0), "1"), (x.sum(axis=0, keepdims=True), "one 1"), (x.dimshuffle(1, "x", 0), "1 one 0"),
    (T.dot(x, x.T), "0 0"), (x[0], "1"), (x[:, None], "0 one 1"), (T.nnet.softmax(x), "0 1"), (x.sum(), ""),
    (x * v, "0 1"), (x.reshape((x.shape[1], x.shape[0])), "1 0"), (T.zeros_like(x), "0 1"),
])  # fmt: skip
def test_lengths_of_results(output, expected):
    shapes = shapes_of(output)
    names = {shapes.of(x)[0]: "0", shapes.of(x)[1]: "1"}
    described = ["one" if isinstance(k, Constant) and k.value == 1 else names[k] for k in shapes.of(output)]
    assert " ".join(described) == expected


def test_a_long_chain_is_no_problem():
    """Nothing recurses over the graph."""
    total = v
    for _ in range(3000):
        total = total + w
    shapes = shapes_of(total)
    assert shapes.of(total) == shapes.of(v) and len(shapes.equalities) == 1


# -- checks at the call

COUNTER = "counter"


def checked(expression, *inputs):
    """A function of an expression that also counts its calls."""
    counter = sg.shared(0, COUNTER)
    return sg.function(list(inputs), expression, updates=[(counter, counter + 1)]), counter


@pytest.mark.parametrize(("expression", "inputs", "arrays"), [
    (x + y, (x, y), [(2, 3), (2, 4)]),
    (x + y, (x, y), [(2, 3), (4, 3)]),
    (T.dot(x, y), (x, y), [(2, 3), (2, 3)]),
    (T.dot(x, v), (x, v), [(2, 3), (2,)]),
    (x * v, (x, v), [(3, 2), (3,)]),
    (x + y.T, (x, y), [(2, 3), (2, 3)]),
    (T.concatenate([x, y]), (x, y), [(2, 3), (2, 4)]),
    (x.reshape((2, 3)), (x,), [(2, 4)]),
    (x.reshape((4, -1)), (x,), [(2, 3)]),
    ((x + y).sum() * 0, (x, y), [(2, 3), (5, 7)]),        # simplified away, but still a mistake
    (T.set_subtensor(x[0], v), (x, v), [(2, 3), (2,)]),
    (T.switch(x > 0, x, y), (x, y), [(2, 3), (3, 2)]),
], ids=str)  # fmt: skip
def test_lengths_that_do_not_fit(expression, inputs, arrays):
    f, counter = checked(expression, *inputs)
    for _ in range(2):
        with pytest.raises(ShapeError):
            f(*[np.ones(shape) for shape in arrays])
    assert counter.get_value() == 0


@pytest.mark.parametrize("shapes", [
    [(2, 3), (1, 3)], [(2, 1), (2, 3)], [(1, 1), (2, 3)], [(1, 3), (2, 1)], [(1, 1), (1, 1)], [(0, 3), (1, 3)],
    [(0, 3), (0, 1)],
])  # fmt: skip
def test_lengths_that_turn_out_to_be_1_broadcast(shapes):
    f, counter = checked([x + y, (x * y).sum(axis=0)], x, y)
    X, Y = (np.random.default_rng(0).normal(size=shape) for shape in shapes)
    for _ in range(2):
        total, columns = f(X, Y)
        np.testing.assert_array_equal(total, X + Y)
        np.testing.assert_allclose(columns, (X * Y).sum(0))
    total, _ = f(Y, Y)
    np.testing.assert_array_equal(total, Y + Y)
    assert counter.get_value() == 3


def test_the_same_function_for_many_lengths():
    f = sg.function([x, v], [T.dot(x, v), x.sum(axis=0) - v, x.shape[0] * x.shape[1]])
    for rows in (0, 1, 2, 5, 64):
        for columns in (1, 2, 3, 33):
            X, V = np.ones((rows, columns)), np.arange(columns, dtype=float)
            product, difference, size = f(X, V)
            np.testing.assert_array_equal(product, X @ V)
            np.testing.assert_array_equal(difference, rows - V)
            assert size == rows * columns


def test_the_message_has_the_user_s_names():
    f = sg.function([x, v], T.dot(x, v))
    with pytest.raises(ShapeError, match=r"(?s)x \(2, 3\).*v \(4,\)"):
        f(np.ones((2, 3)), np.ones(4))
