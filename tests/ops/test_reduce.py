"""Reductions against numpy: dtypes, axes in every spelling, NaN, no elements; gradients at zeros and ties."""

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph import grad
from symgraph.errors import GradientError, ShapeError
from symgraph.graph.types import DTYPES
from symgraph.interpreter import evaluate
from symgraph.testing import check_grad, compare, variables_for

RNG = np.random.default_rng(0)
CUBE = RNG.normal(size=(2, 3, 4))
AXES = [None, 0, 1, -1, (0, 1), (2, 0), (-3, -1), [1], (0, 1, 2), ()]
NUMPY = {name: getattr(np, name) for name in "sum prod max min all any mean var std".split()}


def value(f, *arrays, known=False):
    inputs = variables_for(arrays, known)
    return evaluate([f(*inputs)], dict(zip(inputs, map(np.asarray, arrays))))[0]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("name", NUMPY)
def test_axes_and_keepdims_are_numpys(name, axis, keepdims, known):
    (x,) = variables_for([CUBE], known)
    result = getattr(x, name)(axis=axis, keepdims=keepdims)
    expected = NUMPY[name](CUBE, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)
    (actual,) = evaluate([result], {x: CUBE})
    np.testing.assert_allclose(actual, expected, rtol=1e-13, strict=True)
    assert result.ndim == np.ndim(expected)
    assert not known or result.type.shape == np.shape(expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*NUMPY, "argmax", "argmin"])
def test_dtypes_are_numpys(name, dtype):
    x = (np.abs(CUBE) * 3).astype(dtype)
    expected = getattr(np, name)(x, axis=1)
    actual = value(lambda x: getattr(T, name)(x, axis=1), x)
    np.testing.assert_allclose(actual, expected, rtol=1e-5 if dtype == "float32" else 1e-13, strict=True)


@pytest.mark.parametrize("f, numpy", [(T.sum, np.sum), (T.prod, np.prod)])
def test_small_integers_wrap_in_the_wide_dtype_or_the_one_asked_for(f, numpy):
    x = np.full(9, 100, "int8")
    np.testing.assert_array_equal(value(f, x), numpy(x), strict=True)
    np.testing.assert_array_equal(value(lambda x: f(x, dtype="int8"), x), numpy(x, dtype="int8"), strict=True)
    np.testing.assert_allclose(value(lambda x: f(x, dtype="float64"), x), numpy(x, dtype="float64"), strict=True)


def test_float32_sums_do_not_lose_what_float32_additions_would():
    """They are made in runs of 512, in four lanes or more: an error of half a unit for each of 128 additions at most,
    and in practice a tenth of that, however many terms there are.
    """
    x = np.full(1_000_000, 0.1, "float32")
    exact = np.float32(float(np.float32(0.1)) * 1_000_000)
    assert abs(np.cumsum(x)[-1] - exact) > 900
    compare(T.sum, [x], lambda x: exact, ulps=16)
    compare(T.mean, [x], lambda x: x[0], ulps=16)
    mixed = np.random.default_rng(0).normal(1, 1, 1_000_000).astype("float32")
    compare(T.sum, [mixed], lambda x: np.float32(mixed.sum(dtype="float64")), ulps=1)


def test_variance_of_numbers_far_from_zero_is_not_a_difference_of_squares():
    x = np.array([1e9, 1e9 + 1, 1e9 + 2])
    assert value(T.var, x) == pytest.approx(2 / 3, rel=1e-12)
    assert value(lambda x: T.std(x, ddof=1), x) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("ddof", [0, 1, 2])
@pytest.mark.parametrize("known", [False, True])
def test_ddof(ddof, known):
    np.testing.assert_allclose(value(lambda x: T.var(x, axis=1, ddof=ddof), CUBE, known=known), CUBE.var(1, ddof=ddof))


EMPTY = pytest.mark.parametrize("shape, axis", [((0,), None), ((2, 0), 1), ((0, 3), 0), ((0, 0), 0)])


@EMPTY
@pytest.mark.parametrize("name", ["sum", "prod", "all", "any", "mean"])
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_without_elements(name, shape, axis):
    x = np.zeros(shape)
    expected = getattr(np, name)(x, axis=axis)
    np.testing.assert_array_equal(value(lambda x: getattr(T, name)(x, axis=axis), x), expected, strict=True)


@EMPTY
@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_the_best_of_nothing_is_refused_as_in_numpy(name, shape, axis):
    with pytest.raises(ValueError):
        getattr(np, name)(np.zeros(shape), axis=axis)
    for known in False, True:
        with pytest.raises(ShapeError, match="no elements"):
            value(lambda x: getattr(T, name)(x, axis=axis), np.zeros(shape), known=known)
    assert value(lambda x: getattr(T, name)(x, axis=0), np.zeros((3, 0))).shape == (0,)


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_nan_wins_and_the_first_of_equals_is_taken(name):
    rows = np.array([[1, np.nan, 3, np.nan], [2, 2, 1, 1], [np.inf, -np.inf, np.inf, -np.inf], [0.0, -0.0, 0.0, -0.0]])
    for x in rows, rows.astype("float32"), np.nan_to_num(rows, posinf=9, neginf=-9).astype("int8"), rows > 1:
        compare(lambda x: getattr(T, name)(x, axis=1), [x], lambda x: getattr(np, name)(x, axis=1))


def test_argmax_over_several_axes_counts_in_row_major_order():
    flat = CUBE.transpose(1, 0, 2).reshape(3, 8)
    np.testing.assert_array_equal(value(lambda x: T.argmax(x, axis=(0, 2)), CUBE), flat.argmax(1), strict=True)
    np.testing.assert_array_equal(value(lambda x: T.argmin(x, axis=(2, 0)), CUBE), flat.argmin(1), strict=True)
    assert value(T.argmax, CUBE) == CUBE.argmax()
    best, where = T.max_and_argmax(T.constant(CUBE), axis=1)
    np.testing.assert_array_equal(evaluate([best], {})[0], CUBE.max(1))
    np.testing.assert_array_equal(evaluate([where], {})[0], CUBE.argmax(1))


def test_scalars():
    x = np.array(2.5)
    for name in [*NUMPY, "argmax", "argmin"]:
        np.testing.assert_array_equal(value(getattr(T, name), x), getattr(np, name)(x), name)


@pytest.mark.parametrize("axis", [2, -3, (0, 0), (1, -1)])
def test_axes_out_of_range_or_twice_are_refused(axis):
    with pytest.raises(ValueError, match="axis"):
        T.sum(T.matrix(), axis=axis)


@pytest.mark.parametrize("ord", [None, 2, 1, np.inf, -np.inf, 0, 3])
def test_norm(ord):
    expected = np.linalg.norm(CUBE, ord=ord, axis=1)
    np.testing.assert_allclose(value(lambda x: T.norm(x, ord, axis=1), CUBE), expected, rtol=1e-13)
    assert value(T.norm, CUBE) == pytest.approx(np.linalg.norm(CUBE.ravel()))


def derivative(f, x):
    (variable,) = variables_for([x])
    return evaluate([grad(f(variable), variable)], {variable: x})[0]


def test_product_gradient_beside_zeros():
    x = np.array([[2.0, 3, 4], [0, 3, 4], [0, 3, 0], [0, 0, 0]])
    expected = [[12, 8, 6], [12, 0, 0], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(derivative(lambda x: x.prod(axis=1).sum(), x), expected)


@pytest.mark.parametrize("values", [[1e-25, 1e-25], [1e25, 3e25], [1e30, 1e30, 1e-30, 0.0]])
def test_product_gradients_of_float32_beyond_its_range(values):
    x = T.fvector("x")
    f = sg.function([x], sg.grad(x.prod(), x))
    others = [np.prod(np.delete(np.float64(values), k)) for k in range(len(values))]
    np.testing.assert_allclose(f(np.float32(values)), others, rtol=1e-6)


@pytest.mark.parametrize("zeros", range(4))
def test_product_gradients_of_gradients_beside_zeros(zeros):
    x = np.where(np.arange(4) < zeros, 0.0, [1.5, -2, 0.5, 3])

    def slope(x):
        return (grad(x.prod(), x) * np.array([1.0, 2, 3, 4])).sum()

    check_grad(slope, [x])
    check_grad(lambda x: grad(slope(x), x), [x])
    check_grad(lambda x: grad(T.sqr(x.prod(axis=(0, 2))).sum(), x), [x.reshape(2, 1, 2)])


def test_every_equal_maximum_gets_the_whole_gradient():
    x = np.array([1.0, 3, 3, 2])
    np.testing.assert_array_equal(derivative(T.max, x), [0, 1, 1, 0])
    np.testing.assert_array_equal(derivative(lambda x: 2 * T.min(-x), x), [0, -2, -2, 0])


def test_no_gradient_flows_through_positions_and_truth():
    x = T.vector("x")
    for y in T.argmax(x), T.argmin(x), T.all(x), T.any(x):
        with pytest.raises(GradientError):
            grad(y.astype("float64"), x)


@pytest.mark.parametrize("axis", [None, 0, (0, 2)])
@pytest.mark.parametrize("f", [T.mean, T.var, T.std, T.norm], ids=lambda f: f.__name__)
def test_gradients_of_means_and_deviations(f, axis):
    check_grad(lambda x: f(x, axis=axis), [CUBE])
    check_grad(lambda x: f(x, axis=axis, keepdims=True) * x, [CUBE], known=True)
