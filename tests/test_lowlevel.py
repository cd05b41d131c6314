"""Compiled functions as plain C functions: by ctypes, and by scipy and numba where they are installed."""

import ctypes
import math

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T

VECTOR = "double (int, double *, void *)"
BUFFER = "int (double *, npy_intp, double *, void *)"
x, y, v = T.dscalar("x"), T.dscalar("y"), T.dvector("v")
single, matrix = T.fscalar("single"), T.dmatrix("matrix")


def pointer(array):
    """As ctypes passes it."""
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_double))


def test_numbers():
    f = sg.function([x], T.exp(-(x**2)), name="bell")
    g = sg.function([x, y], x * y**2 + T.sqrt(x))
    plain = f.lowlevel()
    assert plain.restype is ctypes.c_double and plain.argtypes == (ctypes.c_double,)
    assert plain(0.5) == f(0.5) and math.isnan(plain(math.nan))
    assert g.lowlevel()(2.0, 3.0) == g(2.0, 3.0)
    by_vector = g.lowlevel(VECTOR)
    assert by_vector(2, pointer(np.array([2.0, 3.0])), None) == g(2.0, 3.0)
    assert math.isnan(by_vector(3, pointer(np.ones(3)), None))
    assert sg.function([], T.exp(T.zeros(()))).lowlevel()() == 1


def test_gradients():
    cost = T.log(1 + T.exp(x * y))
    f = sg.function([x, y], sg.grad(cost, x))
    assert f.lowlevel()(0.3, 2.0) == f(0.3, 2.0)


def test_vectors():
    f = sg.function([v], (T.tanh(v) * np.arange(3.0)).sum())
    plain, values = f.lowlevel(), np.array([0.1, 0.2, 0.3])
    assert plain(3, pointer(values), None) == f(values)
    assert math.isnan(plain(2, pointer(values), None))  # the lengths do not fit
    assert math.isnan(plain(-1, pointer(values), None))
    buffer, result = f.lowlevel(BUFFER), np.zeros(1)
    assert buffer(pointer(values), 3, pointer(result), None) == 1 and result[0] == f(values)
    assert buffer(pointer(values), 4, pointer(result), None) == 0


def test_maps():
    f = sg.function([v], T.tanh(v)[::-1] * v)
    plain, values, result = f.lowlevel(), np.linspace(-1, 1, 5000), np.zeros(5000)
    assert plain(5000, pointer(values), pointer(result), None) == 0  # more workspace than is on the stack
    np.testing.assert_array_equal(result, f(values))


def test_failing_checks_give_nan():
    f = sg.function([x], sg.Assert("positive")(T.sqrt(x), x > 0))
    g = sg.function([v], v[T.cast(v[0], "int64")])
    assert f.lowlevel()(4.0) == 2 and math.isnan(f.lowlevel()(-4.0))
    values = np.array([1.0, 5.0])
    assert g.lowlevel()(2, pointer(values), None) == 5
    values[0] = 7
    assert math.isnan(g.lowlevel()(2, pointer(values), None))


@pytest.mark.parametrize("make, words", [
    (lambda: sg.function([x], x * sg.shared(2.0)), "state"),
    (lambda: sg.function([x], [x, x]), "doubles"),
    (lambda: sg.function([single], single + 1), "doubles"),
    (lambda: sg.function([matrix], matrix.sum()), "numbers"),
    (lambda: sg.function([x, v], x * v.sum()), "numbers"),
    (lambda: sg.function([x], sg.Print("x")(x)), "Python"),
])
def test_functions_that_have_no_plain_form(make, words):
    with pytest.raises(ValueError, match=words):
        make().lowlevel()


def test_signatures_that_do_not_fit():
    for f, signature in ((sg.function([x], x + 1), "float (float)"), (sg.function([v], v + 1), VECTOR)):
        with pytest.raises(ValueError, match="can be called as"):
            f.lowlevel(signature)
    with pytest.raises(RuntimeError, match="interpreted"):
        sg.function([x], x + 1, mode="numpy").lowlevel()


def test_the_entry_itself():
    f = sg.function([v], v * 2)
    plan = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(f.plan_address)
    run = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(f.address)
    values, result = np.arange(4.0), np.zeros(4)
    arrays = (ctypes.c_void_p * 2)(values.ctypes.data, result.ctypes.data)
    sizes = (ctypes.c_int64 * 64)(4)
    assert plan(arrays, sizes) == 0 and run(arrays, sizes, None) == 0
    np.testing.assert_array_equal(result, values * 2)


def test_scipy():
    scipy = pytest.importorskip("scipy")
    from scipy import integrate, ndimage

    bell = sg.function([x], T.exp(-(x**2)))
    for signature in (None, VECTOR):
        call = scipy.LowLevelCallable(bell.lowlevel(signature))
        assert integrate.quad(call, -np.inf, np.inf)[0] == pytest.approx(np.sqrt(np.pi), rel=1e-12)
    g = sg.function([x, y], x * y**2 + T.sqrt(x))
    call = scipy.LowLevelCallable(g.lowlevel(VECTOR))
    assert integrate.nquad(call, [[0, 1], [0, 2]])[0] == pytest.approx(8 / 3, rel=1e-8)
    spread = sg.function([v], v.max() - v.min())
    image = np.random.default_rng(0).random((12, 9))
    found = ndimage.generic_filter(image, scipy.LowLevelCallable(spread.lowlevel(BUFFER)), 3)
    np.testing.assert_array_equal(found, ndimage.generic_filter(image, np.ptp, 3))


def test_numba():
    numba = pytest.importorskip("numba")
    plain = sg.function([x], T.exp(-(x**2))).lowlevel()

    @numba.njit
    def total(n):
        result = 0.0
        for k in range(n):
            result += plain(k / n)
        return result

    assert total(1000) == pytest.approx(sum(math.exp(-((k / 1000) ** 2)) for k in range(1000)), rel=1e-12)
