"""New variables of every family, constants, shared variables; arrays made of nothing, against numpy."""

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.errors import DtypeError, ShapeError
from symgraph.interpreter import evaluate
from symgraph.testing import check_grad, compare

FAMILIES = dict(b="int8", w="int16", i="int32", l="int64", f="float32", d="float64")
KINDS = dict(
    scalar=(), vector=(None,), row=(1, None), col=(None, 1), matrix=(None,) * 2,
    tensor3=(None,) * 3, tensor4=(None,) * 4, tensor5=(None,) * 5,
)  # fmt: skip
PLURALS = dict(matrix="matrices")


@pytest.fixture
def single():
    """floatX is float32 inside."""
    sg.config.floatX = "float32"
    yield
    sg.config.floatX = "float64"


def value(x, values=None):
    return evaluate([x], values or {})[0]


@pytest.mark.parametrize("kind", KINDS)
def test_families(kind):
    plural = PLURALS.get(kind, f"{kind}s")
    for letter, dtype in FAMILIES.items():
        x = getattr(T, letter + kind)("x")
        assert (x.name, x.dtype, x.type.shape) == ("x", dtype, KINDS[kind])
        assert getattr(T, letter + kind)().name is None
        assert x.type == getattr(T, letter + kind)
        a, b = getattr(T, letter + plural)("a", "b")
        assert (a.name, b.name, b.type) == ("a", "b", x.type)
    y = getattr(T, kind)("y", dtype="uint8")
    assert (y.name, y.dtype, y.type.shape) == ("y", "uint8", KINDS[kind])
    assert [z.dtype for z in getattr(T, plural)("a", "b", dtype="bool")] == ["bool", "bool"]
    assert len(getattr(T, plural)(3)) == 3
    assert getattr(T, kind)(name="z").dtype == "float64"


def test_the_default_float_is_floatX(single):
    assert T.matrix("x").dtype == T.zeros((2,)).dtype == T.constant(0.5).dtype == T.eye(2).dtype == "float32"
    assert sg.shared(0.5).dtype == T.arange(0, 1, 0.1).dtype == T.linspace(0, 1, 3).dtype == "float32"
    assert T.cast(T.lscalar(), "floatX").dtype == T.matrix("x", dtype="floatX").dtype == "float32"
    assert T.constant(np.ones(2)).dtype == sg.shared(np.ones(2)).dtype == "float64"


def test_tensor_types():
    x = T.TensorType("float32", (False, True, False))("x")
    assert (x.name, x.dtype, x.type.shape, x.broadcastable) == ("x", "float32", (None, 1, None), (False, True, False))
    assert T.TensorType(dtype="int8", broadcastable=(False,)) == T.bvector
    assert T.TensorType(np.float64, (None, 3)).shape == (None, 3)
    assert isinstance(x.type, T.TensorType) and not isinstance(x, T.TensorType)
    assert x.type("y").type == x.type
    assert T.tensor("int8", (2, None), "z").type.shape == (2, None)
    assert T.tensor("int8", broadcastable=(True,)).type.shape == (1,)
    assert T.matrix("m", shape=(2, None)).type.shape == (2, None)
    for wrong, error in [
        (lambda: T.TensorType("float16", ()), DtypeError),
        (lambda: T.TensorType("complex128", ()), DtypeError),
        (lambda: T.matrix(dtype="no dtype"), DtypeError),
        (lambda: T.TensorType("int8"), TypeError),
        (lambda: T.TensorType("int8", (-1,)), ShapeError),
        (lambda: T.vector(shape=(2, 2)), ShapeError),
    ]:
        with pytest.raises(error):
            wrong()


def test_constants():
    x = T.constant([[1, 2]], name="x")
    assert (x.name, x.dtype, x.type.shape) == ("x", "int64", (1, 2))
    assert T.constant(2.0, ndim=2).type.shape == (1, 1)
    assert T.constant(2, dtype="int8").dtype == "int8"
    assert T.as_tensor_variable(x) is x
    assert T.as_tensor_variable([1.5], ndim=2).type.shape == (1, 1)
    assert T.as_tensor_variable(np.float32(1), name="y").name == "y"
    source = np.ones(2)
    kept = T.constant(source)
    source[0] = 5
    np.testing.assert_array_equal(value(kept), [1, 1])
    for wrong in None, "x", [1, [2]], np.array([object()]), 1j:
        with pytest.raises(DtypeError):
            T.constant(wrong)
    with pytest.raises(TypeError):
        T.constant(T.scalar())
    with pytest.raises(ShapeError):
        T.constant([[1]], ndim=1)
    with pytest.raises(ShapeError):
        T.as_tensor_variable([[1]], ndim=1)


def test_shared_variables():
    w = sg.shared(np.ones((2, 3), "float32"), "w")
    assert (w.name, w.dtype, w.type.shape) == ("w", "float32", (None, None))
    assert sg.shared(value=[[1, 2]], name="v").type == T.lmatrix
    assert sg.shared(3).type == T.lscalar and sg.shared(True).dtype == "bool"
    assert sg.shared(np.ones((1, 3)), broadcastable=(True, False)).broadcastable == (True, False)
    assert sg.shared(np.ones((1, 3)), shape=(1, None)).type.shape == (1, None)
    w.get_value()[0, 0] = 7
    assert w.get_value()[0, 0] == 1
    w.set_value(np.zeros((5, 1), "float32"))
    assert w.get_value().shape == (5, 1)
    with pytest.raises(ShapeError):
        sg.shared(np.ones((2, 3)), broadcastable=(True, False))
    with pytest.raises(ShapeError):
        sg.shared(np.ones(2), shape=(None, None))
    for wrong, error in (T.scalar(), TypeError), ("x", DtypeError), (None, DtypeError), (np.array([None]), DtypeError):
        with pytest.raises(error):
            sg.shared(wrong)


def test_borrowing_shares_memory_and_not_borrowing_does_not():
    source = np.ones(3)
    borrowed, own = sg.shared(source, borrow=True), sg.shared(source)
    source[0] = 5
    assert (borrowed.get_value()[0], own.get_value()[0]) == (5, 1)
    for odd in source[::2], source[:0:-1], source.astype(">f8"), np.broadcast_to(1.0, 3):
        kept = sg.shared(odd, borrow=True)
        np.testing.assert_array_equal(kept.get_value(borrow=True), odd)
        assert kept.get_value(borrow=True).flags.carray and kept.dtype == "float64"


@pytest.mark.parametrize("name", ["zeros", "ones", "empty"])
def test_filled_arrays(name):
    n, f = T.lscalar("n"), getattr(T, name)
    x = T.imatrix("x")
    point = {n: np.int64(2), x: np.ones((4, 3), "int32")}
    for shape, expected in [(3, (3,)), ((2, 3), (2, 3)), ((n, 3), (2, 3)), (n, (2,)), (x.shape, (4, 3)), ((), ())]:
        filled = value(f(shape), point)
        np.testing.assert_array_equal(filled, np.full(expected, float(name == "ones")), strict=True)
    assert f((2, 3)).type.shape == (2, 3) and f((n, 3)).type.shape == (None, 3)
    assert f(2, dtype="int8").dtype == "int8"


def test_like_and_fill_and_alloc():
    x, n = T.imatrix("x"), T.lscalar("n")
    point = {x: np.ones((4, 3), "int32"), n: np.int64(2)}
    assert (value(T.zeros_like(x), point) == 0).all() and T.zeros_like(x).dtype == "int32"
    assert value(x.ones_like(dtype="float32"), point).dtype == "float32"
    assert (value(T.full_like(x, 7), point) == np.full((4, 3), 7)).all()
    assert T.fill(x, 2).dtype == "int32" and T.fill(x, 0.5).dtype == "float64" and T.fill(x, np.int8(1)).dtype == "int8"
    np.testing.assert_array_equal(value(T.fill(x, 0.5), point), np.full((4, 3), 0.5))
    np.testing.assert_array_equal(value(T.alloc(0.5, n, 3), point), np.full((2, 3), 0.5))
    np.testing.assert_array_equal(value(T.alloc(np.arange(3), n, 3), point), [[0, 1, 2]] * 2)
    np.testing.assert_array_equal(value(T.full((n, 1), 3), point), [[3], [3]])
    check_grad(lambda x: T.alloc(x, 2, 3) * np.arange(3.0), [np.array(2.0)])
    check_grad(lambda x: T.zeros_like(x) + x.ones_like() * x, [np.array([2.0])])


WHOLE = [(5,), (0,), (-3,), (2, 7), (7, 2), (1, 10, 3), (10, 1, -3), (1, 11, 3)]
RANGES = [*WHOLE, (0, 1, 0.1), (1, 0, -0.3), (0.5, 4), (2.0,)]


@pytest.mark.parametrize("bounds", RANGES, ids=str)
def test_arange_of_numbers(bounds):
    expected = np.arange(*bounds)
    assert T.arange(*bounds).type.shape == expected.shape
    np.testing.assert_allclose(value(T.arange(*bounds)), expected, rtol=1e-15, atol=4e-16, strict=True)


@pytest.mark.parametrize("bounds", WHOLE, ids=str)
def test_arange_of_symbols(bounds):
    for dtype in "int64", "int8":
        arrays = [np.array(b, dtype) for b in bounds]
        compare(lambda *xs: T.arange(*xs), arrays, lambda *xs: np.arange(*bounds))
    if len(bounds) > 1:
        first, last, *step = bounds
        compare(lambda stop: T.arange(first, stop, *step), [np.int64(last)], lambda _: np.arange(*bounds))


def test_arange_takes_dtypes_and_lengths_of_arrays():
    x = T.matrix("x")
    np.testing.assert_array_equal(value(T.arange(x.shape[0]), {x: np.ones((3, 2))}), [0, 1, 2])
    np.testing.assert_array_equal(value(T.arange(3, dtype="float32")), np.arange(3, dtype="float32"), strict=True)
    assert T.arange(T.tensor("float64", (4, 2)).shape[0]).type.shape == (4,)
    assert T.arange(np.float32(0.5), 3).dtype == "float32"
    for wrong, error in [
        (lambda: T.arange(0, 5, 0), ValueError),
        (lambda: T.arange(T.dscalar()), TypeError),
        (lambda: T.arange(0.5, T.lscalar()), TypeError),
        (lambda: T.arange(T.lvector()), ShapeError),
        (lambda: T.arange("5"), DtypeError),
    ]:
        with pytest.raises(error):
            wrong()


LINES = [(0, 1, 7, True), (2.0, -3, 4, False), (1, 2, 1, True), (1, 2, 0, True)]


@pytest.mark.parametrize("start, stop, num, endpoint", LINES)
def test_linspace(start, stop, num, endpoint):
    expected = np.linspace(start, stop, num, endpoint)
    actual = value(T.linspace(start, stop, num, endpoint))
    np.testing.assert_allclose(actual, expected, rtol=1e-15, strict=True)
    assert not endpoint or num < 2 or actual[-1] == stop
    if num > 1:
        check_grad(lambda a, b: T.linspace(a, b, num, endpoint), [np.array(1.0), np.array(3.0)])


@pytest.mark.parametrize("k", [0, 1, -1, 5, -5])
@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 1)])
def test_eye_and_triangles(shape, k):
    np.testing.assert_array_equal(value(T.eye(*shape, k)), np.eye(*shape, k), strict=True)
    np.testing.assert_array_equal(value(T.tri(*shape, k)), np.tri(*shape, k), strict=True)
    x = np.arange(1.0, 1 + shape[0] * shape[1]).reshape(shape)
    for f, numpy in (T.tril, np.tril), (T.triu, np.triu):
        np.testing.assert_array_equal(value(f(T.constant(x), k)), numpy(x, k), strict=True)
        check_grad(lambda x, f=f: f(x, k), [x])


def test_eye_of_symbols():
    n, k, x = T.lscalar("n"), T.iscalar("k"), T.fmatrix("x")
    point = {n: np.int64(3), k: np.int32(-1), x: np.ones((2, 4), "float32")}
    np.testing.assert_array_equal(value(T.eye(n, k=k, dtype="int8"), point), np.eye(3, k=-1, dtype="int8"), strict=True)
    np.testing.assert_array_equal(value(T.identity(n), point), np.eye(3), strict=True)
    np.testing.assert_array_equal(value(T.identity_like(x), point), np.eye(2, 4, dtype="float32"), strict=True)
