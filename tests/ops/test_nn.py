"""Softmax, cross entropies and activations against numpy and scipy, at the extremes too."""

import numpy as np
import pytest
import scipy.special

import symgraph.ops.operators  # noqa: F401  (what can be written on a variable)
from symgraph.errors import DtypeError, ShapeError
from symgraph.grad import grad
from symgraph.graph.node import Variable
from symgraph.graph.traverse import substitute, toposort
from symgraph.graph.types import TensorType
from symgraph.interpreter import evaluate
from symgraph.ops.elementary import sigmoid
from symgraph.ops.nn import (
    binary_crossentropy,
    categorical_crossentropy,
    elu,
    hard_sigmoid,
    leaky_relu,
    log_softmax,
    logsumexp,
    one_hot,
    relu,
    sigmoid_binary_crossentropy,
    softmax,
    softsign,
)

INF, NAN = np.inf, np.nan
EXTREMES = np.array(
    [
        [0, 1000, -1000],
        [1e30, 1e30, -1e30],
        [-1000, -1001, -1002],
        [1, 1, 1],
        [-INF, 0, 1],
        [-INF, -INF, 3],
        [-INF, -INF, -INF],
        [INF, 0, 1],
        [NAN, 0, 1],
    ]
)
FLOATS = ["float32", "float64"]


def symbol(name, shape=(), dtype="float64"):
    return Variable(TensorType(dtype, shape), name)


def expanded(x):
    """The expression in the ops it comes down to."""
    while node := next((node for node in toposort([x]) if hasattr(node.op, "expand")), None):
        (x,) = substitute([x], {node.output: node.op.expand(*node.inputs)})
    return x


def value(function, *arrays, form=lambda x: x):
    """A function of symbols of unknown lengths, at some arrays."""
    arrays = [np.asarray(a) for a in arrays]
    inputs = [symbol(f"x{k}", (None,) * a.ndim, str(a.dtype)) for k, a in enumerate(arrays)]
    return evaluate([form(function(*inputs))], dict(zip(inputs, arrays, strict=True)))[0]


def check(function, expected, *arrays, **tolerance):
    for form in (lambda x: x, expanded):
        actual = value(function, *arrays, form=form)
        np.testing.assert_allclose(actual, expected, **tolerance)
        assert actual.shape == np.shape(expected)


# ------------------------------------------------------------------------------------------------------------- softmax


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "function, reference", [(softmax, scipy.special.softmax), (log_softmax, scipy.special.log_softmax)]
)
def test_softmax_is_scipys(function, reference, dtype):
    rng = np.random.default_rng(0)
    for shape in ((3,), (2, 3), (1, 1), (0, 3), (2, 3, 4)):
        data = rng.normal(size=shape, scale=5).astype(dtype)
        for axis in range(-len(shape), len(shape)):
            if shape[axis] == 0:
                continue
            tolerance = dict(rtol=1e-5 if dtype == "float32" else 1e-13, atol=1e-6 if dtype == "float32" else 1e-15)
            check(lambda x, axis=axis: function(x, axis=axis), reference(data, axis=axis), data, **tolerance)
            assert value(lambda x, axis=axis: function(x, axis=axis), data).dtype == dtype


@pytest.mark.parametrize("dtype", FLOATS)
def test_softmax_at_the_extremes(dtype):
    third, e = 1 / 3, np.exp
    rows = [
        [0, 1, 0], [0.5, 0.5, 0], [1 / (1 + e(-1) + e(-2)), 1 / (e(1) + 1 + e(-1)), 1 / (e(2) + e(1) + 1)], [third] * 3,
        [0, 1 / (1 + e(1)), 1 / (1 + e(-1))], [0, 0, 1], [NAN] * 3, [NAN] * 3, [NAN] * 3,
    ]  # fmt: skip
    check(softmax, np.array(rows), EXTREMES.astype(dtype), rtol=1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
def test_log_softmax_at_the_extremes(dtype):
    total = np.log(1 + np.exp(-1) + np.exp(-2))
    rows = [
        [-1000, 0, -2000], [-np.log(2), -np.log(2), -2e30], [-total, -1 - total, -2 - total], [-np.log(3)] * 3,
        [-INF, -np.log1p(np.e), -np.log1p(1 / np.e)], [-INF, -INF, 0], [NAN] * 3, [NAN] * 3, [NAN] * 3,
    ]  # fmt: skip
    check(log_softmax, np.array(rows), EXTREMES.astype(dtype), rtol=1e-5)


def test_softmax_of_integers_and_of_a_vector():
    check(softmax, scipy.special.softmax([1.0, 2, 3]), np.array([1, 2, 3]), rtol=1e-14)
    assert softmax(symbol("i", (3,), "int64")).type == TensorType("float64", (3,))
    assert softmax(symbol("i", (3,), "int8")).type == TensorType("float32", (3,))
    assert softmax([[1.0, 2.0]]).type.shape == (1, 2)


@pytest.mark.parametrize("function", [softmax, log_softmax, logsumexp])
def test_an_axis_that_has_nothing(function):
    with pytest.raises(ShapeError, match=r"axis 1 of x \(2, 0\) has no elements"):
        function(symbol("x", (2, 0)), axis=1)
    x = symbol("x", (None, None))
    with pytest.raises(ShapeError, match=r"axis 1 of x \(2, 0\) has no elements"):
        evaluate([function(x, axis=1)], {x: np.zeros((2, 0))})
    with pytest.raises(np.exceptions.AxisError):
        function(x, axis=2)


def test_softmax_of_a_scalar_has_no_axis():
    with pytest.raises(np.exceptions.AxisError):
        softmax(symbol("x"))


@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients_of_softmax_stay_finite(dtype):
    x = symbol("x", (None, None), dtype)
    data = EXTREMES[:4].astype(dtype)
    p, weights = scipy.special.softmax(data.astype("float64"), axis=1), np.array([1.0, 2.0, 4.0])
    (share,) = evaluate([grad((softmax(x) * weights.astype(dtype)).sum(), x)], {x: data})
    np.testing.assert_allclose(share, p * (weights - (p * weights).sum(1, keepdims=True)), atol=1e-6)
    (share,) = evaluate([grad((log_softmax(x) * weights.astype(dtype)).sum(), x)], {x: data})
    np.testing.assert_allclose(share, weights - p * weights.sum(), atol=1e-6)


def test_second_derivatives_of_softmax():
    x = symbol("x", (3,))
    data, weights = np.array([0.3, -1.0, 2.0]), np.array([1.0, 2.0, 4.0])
    first = grad((softmax(x) * weights).sum(), x)
    hessian = np.array(evaluate([grad(first[k], x) for k in range(3)], {x: data}))
    p = scipy.special.softmax(data)
    jacobian = np.diag(p) - np.outer(p, p)  # of p; that of p * (w - p.w) follows by the product rule
    mean = p @ weights
    expected = jacobian * (weights - mean)[:, None] - np.outer(p, jacobian @ weights)
    np.testing.assert_allclose(hessian, expected, atol=1e-15)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-15)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp_is_scipys(axis, keepdims, dtype):
    rng = np.random.default_rng(0)
    for data in (rng.normal(size=(3, 2)), rng.normal(size=(3, 2)) * 1000, rng.normal(size=(1, 1))):
        data = data.astype(dtype)
        expected = scipy.special.logsumexp(data.astype("float64"), axis=axis, keepdims=keepdims)
        check(lambda x: logsumexp(x, axis, keepdims), expected, data, rtol=2e-6 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("dtype", FLOATS)
def test_logsumexp_at_the_extremes(dtype):
    with np.errstate(all="ignore"):
        expected = scipy.special.logsumexp(EXTREMES, axis=1)
    assert expected[6] == -INF
    assert expected[7] == INF
    check(lambda x: logsumexp(x, axis=1), expected, EXTREMES.astype(dtype), rtol=1e-6)
    check(logsumexp, 5.0, np.array(5.0))


def test_the_gradient_of_logsumexp_is_softmax():
    x = symbol("x", (None, None))
    data = EXTREMES[:6]
    (share,) = evaluate([grad(logsumexp(x, axis=1).sum(), x)], {x: data})
    np.testing.assert_allclose(share, scipy.special.softmax(data, axis=1), rtol=1e-12)
    (share,) = evaluate([grad(logsumexp(x), x)], {x: data[2:4]})
    np.testing.assert_allclose(share, scipy.special.softmax(data[2:4]), rtol=1e-12)
    (share,) = evaluate([grad(logsumexp(x), x)], {x: np.full((2, 3), 1e30)})
    np.testing.assert_allclose(share, 1 / 6)


# ------------------------------------------------------------------------------------------------------- cross entropy


def test_categorical_crossentropy_of_classes_and_of_distributions():
    p = np.array([[0.2, 0.3, 0.5], [0.9, 0.05, 0.05]])
    for dtype in ("int64", "int32", "uint8"):
        classes = np.array([2, 0], dtype)
        np.testing.assert_allclose(value(categorical_crossentropy, p, classes), -np.log([0.5, 0.9]))
    np.testing.assert_allclose(value(categorical_crossentropy, p, np.eye(3)[[2, 0]]), -np.log([0.5, 0.9]))
    truth = np.array([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    np.testing.assert_allclose(value(categorical_crossentropy, p, truth), -(truth * np.log(p)).sum(1))
    np.testing.assert_allclose(value(categorical_crossentropy, p[0], truth[0]), -(truth[0] * np.log(p[0])).sum())


def test_categorical_crossentropy_refuses():
    p = symbol("p", (None, None))
    with pytest.raises(ShapeError, match=r"the classes of the rows of p .* not v \(\)"):
        categorical_crossentropy(p, symbol("v", (), "int64"))
    with pytest.raises(DtypeError, match=r"the classes v \(\?,\) are no integers"):
        categorical_crossentropy(p, symbol("v", (None,)))
    v = symbol("v", (None,), "int64")
    with pytest.raises(IndexError, match="index 3 in v is out of range"):
        evaluate([categorical_crossentropy(p, v)], {p: np.ones((1, 3)), v: np.array([3])})


def test_binary_crossentropy():
    p, t = np.array([0.1, 0.5, 0.9]), np.array([0.0, 0.3, 1.0])
    expected = -(t * np.log(p) + (1 - t) * np.log(1 - p))
    np.testing.assert_allclose(value(binary_crossentropy, p, t), expected)
    np.testing.assert_allclose(value(binary_crossentropy, p, np.array([0, 1, 1])), -np.log([0.9, 0.5, 0.9]))
    logits = scipy.special.logit(p)
    np.testing.assert_allclose(value(sigmoid_binary_crossentropy, logits, t), expected)


@pytest.mark.parametrize("target", [0.25, 1, 0.0])
@pytest.mark.parametrize("dtype", FLOATS)
def test_binary_crossentropies_of_a_python_number_keep_the_dtype(dtype, target):
    x = symbol("x", (None,), dtype)
    logits = np.array([-1, 0.5, 2], dtype)
    p = scipy.special.expit(logits)
    expected = -(target * np.log(p) + (1 - target) * np.log(1 - p))
    for entropy in binary_crossentropy(sigmoid(x), target), sigmoid_binary_crossentropy(x, target):
        np.testing.assert_allclose(evaluate([entropy], {x: logits})[0], expected, rtol=1e-5, strict=True)


@pytest.mark.parametrize("dtype", FLOATS)
def test_sigmoid_binary_crossentropy_does_not_overflow(dtype):
    logits = np.array([-1000, 1000, -1000, 1000, 0], dtype)
    expected = [0, 0, 1000, 1000, np.log(2)]
    np.testing.assert_allclose(
        value(sigmoid_binary_crossentropy, logits, np.array([0, 1, 1, 0, 1], dtype)), expected, rtol=1e-6
    )
    x = symbol("x", (None,), dtype)
    (share,) = evaluate([grad(sigmoid_binary_crossentropy(x, np.array([0, 1, 1, 0, 1])).sum(), x)], {x: logits})
    np.testing.assert_allclose(share, [0, 0, -1, 1, -0.5])


def test_one_hot():
    y = np.array([[0, 2], [1, 5]])
    expected = np.zeros((2, 2, 3))
    expected[0, 0, 0] = expected[0, 1, 2] = expected[1, 0, 1] = 1
    np.testing.assert_array_equal(value(lambda v: one_hot(v, 3), y), expected)
    n = symbol("n", (), "int64")
    (rows,) = evaluate([one_hot(np.array([1, 0]), n, "float32")], {n: np.array(2)})
    np.testing.assert_array_equal(rows, [[0, 1], [1, 0]])
    assert rows.dtype == "float32"
    assert one_hot(symbol("y", (4,), "int8"), 3).type.shape == (4, 3)
    with pytest.raises(DtypeError, match=r"the classes x .* are no integers"):
        one_hot(symbol("x", (3,)), 3)


# --------------------------------------------------------------------------------------------------------- activations

POINTS = np.array([-INF, -1000, -1.5, -0.0, 0.0, 0.5, 1000, INF, NAN])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "function, reference",
    [
        (relu, lambda x: np.maximum(x, 0)),
        (lambda x: relu(x, 0.25), lambda x: np.where(x > 0, x, 0.25 * x)),
        (leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x)),
        (elu, lambda x: np.where(x > 0, x, np.expm1(x))),
        (lambda x: elu(x, 0.5), lambda x: np.where(x > 0, x, 0.5 * np.expm1(x))),
        (softsign, lambda x: x / (1 + np.abs(x))),
        (hard_sigmoid, lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    ],
    ids="relu relu_alpha leaky_relu elu elu_alpha softsign hard_sigmoid".split(),
)
def test_activations(function, reference, dtype):
    data = POINTS.astype(dtype)
    with np.errstate(all="ignore"):
        expected = reference(data)
    actual = value(function, data)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert actual.dtype == dtype


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "function, slopes",
    [
        (relu, [0, 0, 1, 1]),
        (leaky_relu, [0.01, 0.01, 1, 1]),
        (elu, [0, np.exp(-1.5), 1, 1]),
        (softsign, [1 / 1001**2, 1 / 2.5**2, 1 / 1.5**2, 1 / 1001**2]),
        (hard_sigmoid, [0, 0.2, 0.2, 0]),
    ],
)
def test_slopes_of_activations(function, slopes, dtype):
    x = symbol("x", (None,), dtype)
    (share,) = evaluate([grad(function(x).sum(), x)], {x: np.array([-1000, -1.5, 0.5, 1000], dtype)})
    np.testing.assert_allclose(share, slopes, rtol=1e-5, atol=1e-7)


def test_a_symbolic_slope_has_a_gradient():
    x, alpha = symbol("x", (None,)), symbol("alpha")
    values = {x: np.array([-2.0, 3.0, -1.0]), alpha: np.array(0.5)}
    (share,) = evaluate([grad(relu(x, alpha).sum(), alpha)], values)
    np.testing.assert_allclose(share, -3)


def test_relu_keeps_integers():
    assert relu(symbol("i", (), "int8")).dtype == "int8"
