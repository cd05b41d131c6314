"""Means and variances of columns in one pass: exact at the extremes, NaN and infinity as in numpy."""

import re
from fractions import Fraction

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.ops.moments import ELEMENTS, ROWS
from symgraph.testing import check_grad

FLOATS = ("float32", "float64")
rng = np.random.default_rng(0)


def compiled(dtype):
    """The mean and the variance of columns, and of a vector."""
    x, v = T.matrix("x", dtype=dtype), T.vector("v", dtype=dtype)
    return sg.function([x], [x.mean(axis=0), x.var(axis=0)]), sg.function([v], [v.mean(), v.var()])


COMPILED = {}


@pytest.fixture(params=FLOATS)
def moments(request):
    """A dtype, and a function that gives the means and variances of columns twice: of the matrix, and of each alone."""
    if request.param not in COMPILED:
        COMPILED[request.param] = compiled(request.param)
    of_columns, of_vector = COMPILED[request.param]

    def each_alone(x):
        return np.array([of_vector(np.ascontiguousarray(column)) for column in x.T]).T

    return request.param, lambda x: (np.array(of_columns(x)), each_alone(x))


def exact(column):
    """The mean and the variance of the very numbers given."""
    terms = [Fraction(float(a)) for a in column]
    mean = sum(terms) / len(terms)
    return float(mean), float(sum((a - mean) ** 2 for a in terms) / len(terms))


def outlier(x, where, value):
    x = x.copy()
    x[where] = value
    return x


EXTREMES = {
    "far from zero": lambda z: z + 1e6,
    "an outlier in the first row": lambda z: outlier(z, 0, 1e6),
    "outliers in the first rows": lambda z: outlier(z, np.s_[:8], 1e6),
    "an outlier in the last row": lambda z: outlier(z, -1, -1e6),
    "a trend": lambda z: z + np.linspace(0, 1e5, len(z))[:, None],
    "two levels": lambda z: z + np.where(np.arange(len(z))[:, None] < len(z) // 2, 1e4, -1e4),
    "small": lambda z: z * 1e-12,
    "large": lambda z: z * 1e12,
}


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS + 5, ELEMENTS + 1])
@pytest.mark.parametrize("case", EXTREMES)
def test_variances_are_exact_to_the_bits_that_a_run_may_lose(case, n, moments):
    dtype, both = moments
    x = EXTREMES[case](rng.normal(size=(n, 2))).astype(dtype)
    means, variances = np.array([exact(column) for column in x.T]).T
    unit = np.finfo(dtype).eps
    for mean, variance in both(x):
        np.testing.assert_allclose(variance, variances, rtol=64 * unit, atol=0)
        np.testing.assert_allclose(mean, means, rtol=0, atol=64 * unit * np.abs(x.astype("float64")).mean())


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e30, 1e-30, -7.7e-5, 0.0])
@pytest.mark.parametrize("n", [1, 5, ROWS + 3, ELEMENTS + ROWS])
def test_a_constant_has_no_variance(value, n, moments):
    dtype, both = moments
    for mean, variance in both(np.full((n, 2), value, dtype)):
        assert (variance == 0).all()
        np.testing.assert_allclose(mean, np.full(2, value, dtype), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("row", [0, 3, 9, 200, 2999])
def test_nan_and_infinity_are_numpys(value, row, moments):
    dtype, both = moments
    x = rng.normal(size=(3000, 3)).astype(dtype)
    x[row, 0] = value
    x[row + 1 if row < 2999 else 0, 1] = np.inf
    x[row, 1] = -np.inf
    with np.errstate(all="ignore"):
        expected = [x.mean(axis=0), x.var(axis=0)]
    for found in both(x):
        np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_squares_that_overflow_are_infinite(moments):
    dtype, both = moments
    x = np.array([[1.0], [-1.0]], dtype) * np.finfo(dtype).max / 4
    for mean, variance in both(x):
        assert mean == 0 and variance == np.inf


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:Degrees of freedom", "ignore:invalid value")
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
@pytest.mark.parametrize("dtype", FLOATS)
def test_no_rows_and_no_columns(shape, dtype):
    x = T.matrix("x", dtype=dtype)
    value = np.zeros(shape, dtype)
    found = sg.function([x], [x.sum(axis=0), x.mean(axis=0), x.var(axis=0), x.var()])(value)
    expected = [value.sum(axis=0), value.mean(axis=0), value.var(axis=0), value.var()]
    for a, b in zip(found, expected):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(4, 300, 5), (300, 1, 7), (2, 3, 4, 5)])
@pytest.mark.parametrize("axes", [0, (0, 1), None, (0, 2), -1])
def test_axes_of_more_dimensions(shape, axes):
    x = T.TensorType("float64", (None,) * len(shape))("x")
    value = rng.normal(3, 2, shape)
    found = sg.function([x], [x.mean(axis=axes), x.var(axis=axes, keepdims=True), x.std(axis=axes, ddof=1)])(value)
    expected = [value.mean(axis=axes), value.var(axis=axes, keepdims=True), value.std(axis=axes, ddof=1)]
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["int32", "bool", "uint8"])
def test_integers_have_variances_in_float64(dtype):
    x = T.TensorType(dtype, (None, None))("x")
    value = rng.integers(0, 2, (300, 4)).astype(dtype)
    np.testing.assert_allclose(sg.function([x], x.var(axis=0))(value), value.var(axis=0), rtol=1e-12)



VARIANCES = {
    "var": lambda x: x.var(axis=0),
    "by hand": lambda x: ((x - x.mean(axis=0)) ** 2).mean(axis=0),
    "by hand, axes kept": lambda x: T.sqr(x - x.mean(axis=0, keepdims=True)).sum(axis=0) / x.shape[0],
}


@pytest.mark.parametrize("way", VARIANCES)
@pytest.mark.parametrize("shape", [(None, None), (200, 3)])
def test_mean_and_variance_are_one_pass_however_they_are_written(way, shape):
    x = T.TensorType("float64", shape)("x")
    value = rng.normal(5, 2, (200, 3))
    f = sg.function([x], [x.mean(axis=0), VARIANCES[way](x), x.sum(axis=0)])
    for a, b in zip(f(value), [value.mean(axis=0), value.var(axis=0), value.sum(axis=0)]):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    assert len(re.findall(r"const double \*restrict x[,)]", f.c_source)) == 2  # the kernel, and its blocks


def test_a_mean_of_something_else_is_not_taken_for_the_mean():
    x, y = T.dmatrices("x", "y")
    values = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    for center, expected in (
        (y.mean(axis=0), values[1].mean(axis=0)),
        (x.sum(axis=0) / 49, values[0].sum(axis=0) / 49),
        (x.sum(axis=0) / x.shape[1], values[0].sum(axis=0) / 3),
    ):
        f = sg.function([x, y], T.sqr(x - center).sum(axis=0), on_unused_input="ignore")
        np.testing.assert_allclose(f(*values), ((values[0] - expected) ** 2).sum(axis=0), rtol=1e-12)


def test_gradients():
    x = rng.normal(2, 3, (150, 2))
    check_grad(lambda x: x.var(axis=0), [x])
    check_grad(lambda x: (x - x.mean(axis=0)) / T.sqrt(x.var(axis=0) + 1e-5), [x])
    check_grad(lambda x: x.std(), [x])


@pytest.mark.parametrize("name", ["rows", "center", "row", "d", "start", "origin", "mean", "j", "run"])
def test_arrays_may_have_the_names_of_locals(name):
    x = T.dmatrix(name)
    value = rng.normal(size=(9, 2))
    np.testing.assert_allclose(sg.function([x], x.var(axis=0))(value), value.var(axis=0), rtol=1e-13)
    np.testing.assert_allclose(sg.function([x], x.var())(value), value.var(), rtol=1e-13)
