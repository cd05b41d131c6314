"""Arguments of every kind: taken where nothing is lost, refused with a reason where it would be, and never changed."""

import itertools

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T

DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"]
X = np.arange(12.0).reshape(3, 4)


@pytest.fixture(scope="module", params=["c", "numpy"])
def mode(request):
    return request.param


@pytest.fixture(scope="module")
def twice(mode):
    """x * 2, with the sum of its columns and its transpose."""
    x = T.dmatrix("x")
    return sg.function([x], [x * 2, x.sum(axis=0), x.T @ x], mode=mode)


def unaligned(a):
    """A copy of an array at an address that its dtype does not allow."""
    memory = np.zeros(a.nbytes + 16, np.uint8)
    start = -memory.ctypes.data % 16 + 1
    view = memory[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
    view[...] = a
    assert not view.flags.aligned
    return view


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def mapped(a, path):
    np.save(path, a)
    return np.load(path, mmap_mode="r")


class Named(np.ndarray):
    pass


class Wrapped:
    def __array__(self, dtype=None, copy=None):
        return X.copy()


KINDS = {
    "contiguous": lambda p: X.copy(),
    "Fortran order": lambda p: np.asfortranarray(X),
    "transposed": lambda p: X.T.copy().T,
    "every second": lambda p: np.repeat(np.repeat(X, 2, 0), 3, 1)[::2, ::3],
    "backwards": lambda p: X[::-1, ::-1].copy()[::-1, ::-1],
    "one axis backwards": lambda p: X[:, ::-1].copy()[:, ::-1],
    "part of a larger array": lambda p: np.pad(X, 2, constant_values=99)[2:-2, 2:-2],
    "read-only": lambda p: read_only(X),
    "read-only and strided": lambda p: read_only(np.repeat(X, 2, 1))[:, ::2],
    "unaligned": lambda p: unaligned(X),
    "other byte order": lambda p: X.astype(X.dtype.newbyteorder()),
    "other byte order, unaligned": lambda p: unaligned(X.astype(X.dtype.newbyteorder())),
    "memory map": lambda p: mapped(X, p / "x.npy"),
    "subclass": lambda p: X.copy().view(Named),
    "masked, nothing masked": lambda p: np.ma.MaskedArray(X.copy()),
    "list": lambda p: X.tolist(),
    "tuple of lists": lambda p: tuple(X.tolist()),
    "list of arrays": lambda p: list(X.copy()),
    "list of ints": lambda p: X.astype(int).tolist(),
    "integers": lambda p: X.astype("int32"),
    "float32": lambda p: X.astype("float32"),
    "memoryview": lambda p: memoryview(X.copy()),
    "with __array__": lambda p: Wrapped(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_layout_and_container(kind, twice, tmp_path):
    argument = KINDS[kind](tmp_path)
    before = np.array(argument, copy=True)
    doubled, total, square = twice(argument)
    np.testing.assert_array_equal(doubled, X * 2)
    np.testing.assert_array_equal(total, X.sum(axis=0))
    np.testing.assert_allclose(square, X.T @ X, rtol=1e-14)
    np.testing.assert_array_equal(np.asarray(argument), before)
    for value in (doubled, total, square):
        assert type(value) is np.ndarray and not np.may_share_memory(value, np.asarray(argument))


def test_one_array_stretched_by_strides_of_zero(twice):
    argument = np.broadcast_to(np.array([1.0, 2.0]), (3, 2))
    np.testing.assert_array_equal(twice(argument)[0], argument * 2)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0), (1, 1), (1, 5), (5, 1)])
def test_empty_and_single(shape, twice):
    argument = np.ones(shape)
    doubled, total, square = twice(argument)
    np.testing.assert_array_equal(doubled, argument * 2)
    np.testing.assert_array_equal(total, argument.sum(axis=0))
    np.testing.assert_array_equal(square, argument.T @ argument)
    assert doubled.shape == shape and total.shape == shape[1:] and square.shape == shape[1:] * 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", range(6))
def test_every_dtype_and_rank_passes_unchanged(dtype, rank):
    x = T.TensorType(dtype, (None,) * rank)("x")
    f = sg.function([x], [x, x.dimshuffle(*range(rank)[::-1])], mode="c" if rank in (0, 3) else "numpy")
    value = (np.arange(2**rank) % 2 + (dtype != "bool")).astype(dtype).reshape((2,) * rank)
    same, turned = f(value)
    assert same.dtype == turned.dtype == dtype
    np.testing.assert_array_equal(same, value)
    np.testing.assert_array_equal(turned, value.T)


@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_numbers_pass_unchanged(dtype, mode):
    x = T.TensorType(dtype, (None,))("x")
    kind = np.dtype(dtype).kind
    limits = np.finfo(dtype) if kind == "f" else np.iinfo(dtype) if kind in "iu" else None
    values = [False, True] if limits is None else [limits.min, limits.max]
    values += [np.nan, np.inf, -np.inf, -0.0, limits.smallest_subnormal] if kind == "f" else []
    value = np.array(values, dtype)
    (out,) = sg.function([x], [x], mode=mode)(value)
    assert out.tobytes() == value.tobytes()
    if kind in "iub":
        for number in values:
            np.testing.assert_array_equal(sg.function([x], x, mode="numpy")([number]), np.array([number], dtype))


@pytest.mark.parametrize("given, dtype", list(itertools.product(DTYPES, DTYPES)))
def test_an_array_is_cast_exactly_where_numpy_calls_it_safe(given, dtype):
    x = T.TensorType(dtype, (None,))("x")
    f = sg.function([x], x, mode="numpy", name="f")
    value = np.array([0, 1, 1]).astype(given)
    if np.can_cast(given, dtype, "safe"):
        result = f(value)
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, [0, 1, 1])
    else:
        with pytest.raises(sg.DtypeError, match=rf"f\(\): x has dtype {dtype}; {given} values would lose information"):
            f(value)
        g = sg.function([x], x, mode="numpy", allow_input_downcast=True)
        np.testing.assert_array_equal(g(value), [0, 1, 1])


@pytest.mark.parametrize(
    "make, values",
    [
        (
            T.dscalar,
            [3, 2.5, True, np.float32(2.5), np.int8(3), np.array(2.5), np.array(3), np.bool_(True), -0.0, float("nan")],
        ),
        (T.lscalar, [3, True, np.int8(3), np.uint32(3), np.array(3), -(2**63), 2**63 - 1]),
        (T.bscalar, [3, -128, 127, np.int8(3), False]),
        (T.fscalar, [3, 2.5, 1e30, np.float32(2.5), np.float16(2.5), np.int16(3), 0.1]),
        (T.TensorType("uint64", ()), [2**64 - 1, 0, np.uint8(3)]),
        (T.TensorType("bool", ()), [True, False, np.bool_(True), 1, 0]),
    ],
)
def test_python_and_numpy_scalars(make, values, mode):
    x = make("x")
    f = sg.function([x], x, mode=mode)
    for value in values:
        result = f(value)
        assert result.dtype == x.dtype and result.shape == ()
        np.testing.assert_array_equal(result, np.array(value).astype(x.dtype))


@pytest.mark.parametrize(
    "make, value, error, text",
    [
        (T.dmatrix, [1.0, 2.0], sg.ShapeError, r"f\(\): x takes a matrix, but was given a vector of shape \(2,\)"),
        (T.dvector, 3.0, sg.ShapeError, r"x takes a vector, but was given a scalar"),
        (T.dscalar, [3.0], sg.ShapeError, r"x takes a scalar, but was given a vector of shape \(1,\)"),
        (
            T.dmatrix,
            np.zeros((2, 2, 2)),
            sg.ShapeError,
            r"x takes a matrix, but was given an array of rank 3 of shape \(2, 2, 2\)",
        ),
        (T.dvector, None, sg.DtypeError, r"x takes numbers of dtype float64, but was given None"),
        (
            T.dvector,
            np.array([1.0, None]),
            sg.DtypeError,
            r"x takes numbers of dtype float64, but was given ndarray \(dtype object\)",
        ),
        (T.dvector, np.array([1.0, 2.0], object), sg.DtypeError, r"dtype object"),
        (T.dvector, [1.0, "a"], sg.DtypeError, r"x takes numbers of dtype float64, but was given list"),
        (T.dvector, "ab", sg.DtypeError, r"x takes numbers of dtype float64"),
        (T.dvector, [1.0, [2.0]], sg.DtypeError, r"x cannot be made an array"),
        (T.dvector, np.array([1j]), sg.DtypeError, r"complex128"),
        (T.dvector, {"a": 1}, sg.DtypeError, r"dict"),
        (T.dvector, np.array(["2020-01-01"], "datetime64[D]"), sg.DtypeError, r"datetime64"),
        (T.dvector, np.ma.MaskedArray([1.0, 2.0], [False, True]), sg.DtypeError, r"masked array.*filled"),
        (
            T.fvector,
            np.array([0.1]),
            sg.DtypeError,
            r"float64 values would lose information.*astype\('float32'\).*allow_input_downcast",
        ),
        (T.fscalar, 1e39, sg.DtypeError, r"x has dtype float32, but was given numbers too large"),
        (T.lvector, [1.5], sg.DtypeError, r"x has dtype int64; float64 values would lose information: write integers"),
        (T.lvector, [1.0], sg.DtypeError, r"would lose information"),
        (T.lvector, [float("nan")], sg.DtypeError, r"no such integer as NaN or infinity"),
        (T.lvector, np.array([np.inf]), sg.DtypeError, r"no such integer as NaN or infinity"),
        (T.bvector, [1, 128], sg.DtypeError, r"the numbers do not fit"),
        (T.bvector, [-129], sg.DtypeError, r"the numbers do not fit"),
        (T.lscalar, 2**63, sg.DtypeError, r"do not fit"),
        (T.lscalar, 10**30, sg.DtypeError, r"would lose information|do not fit|no such integer"),
        (T.TensorType("uint8", (None,)), [-1], sg.DtypeError, r"do not fit"),
        (T.TensorType("bool", (None,)), [2], sg.DtypeError, r"do not fit"),
        (
            T.TensorType("float64", (2, None)),
            np.zeros((3, 2)),
            sg.ShapeError,
            r"x has shape \(2, \?\), but was given \(3, 2\)",
        ),
        (T.drow, np.zeros((2, 2)), sg.ShapeError, r"x has shape \(1, \?\), but was given \(2, 2\)"),
        (T.dvector, T.dvector("y"), sg.DtypeError, r"x takes a value, but was given the symbol y"),
    ],
)
def test_what_is_refused(make, value, error, text, mode):
    x, W = make("x"), sg.shared(1.0, "W")
    f = sg.function([x], x * 1, updates=[(W, W + 1)], name="f", mode=mode)
    with pytest.raises(error, match=text) as caught:
        f(value)
    assert str(caught.value).startswith("f(): x ")
    assert W.get_value() == 1


def test_allow_input_downcast(mode):
    x, n = T.fvector("x"), T.bscalar("n")
    f = sg.function([x, n], [x, n], allow_input_downcast=True, mode=mode)
    values, number = f(np.array([0.1, 2.5]), 2.0)
    np.testing.assert_array_equal(values, np.float32([0.1, 2.5]))
    assert number == 2 and number.dtype == "int8"
    assert f(np.array([1.0]), 2.9)[1] == 2
    for value, text in (([np.nan], "no such integer"), ([300.0], "do not fit"), ([200], "do not fit")):
        with pytest.raises(sg.DtypeError, match=text):
            f(np.array([1.0]), value[0])
    with pytest.raises(sg.DtypeError, match="too large"):
        f(np.array([1e300]), 1)
    only = sg.function([sg.In(x, allow_downcast=True), n], [x, n], mode=mode)
    np.testing.assert_array_equal(only(np.array([0.5]), 1)[0], np.float32([0.5]))
    with pytest.raises(sg.DtypeError, match="n has dtype int8"):
        only(np.array([0.5]), 1.0)


def test_a_strict_input(mode):
    x = T.dvector("x")
    f = sg.function([sg.In(x, strict=True)], x + 1, mode=mode)
    np.testing.assert_array_equal(f(np.array([1.0])), [2])
    for value in ([1.0], np.array([1]), np.float32([1])):
        with pytest.raises(sg.DtypeError, match="strict"):
            f(value)


def test_lengths_fixed_by_the_type(mode):
    x = T.TensorType("float64", (None, 3))("x")
    f = sg.function([x], x.sum(axis=0), mode=mode)
    np.testing.assert_array_equal(f(np.ones((2, 3))), [2, 2, 2])
    np.testing.assert_array_equal(f(np.ones((0, 3))), [0, 0, 0])
    with pytest.raises(sg.ShapeError, match=r"x has shape \(\?, 3\), but was given \(2, 4\)"):
        f(np.ones((2, 4)))


def test_the_same_array_for_several_inputs_and_the_state(mode):
    a, b = T.dvectors("a", "b")
    value = np.array([1.0, 2.0])
    W = sg.shared(value, "W", borrow=True)
    f = sg.function([a, b], [a * b, a + W], updates=[(W, W + a)], mode=mode)
    product, total = f(value.copy(), value.copy())
    np.testing.assert_array_equal(product, [1, 4])
    np.testing.assert_array_equal(total, [2, 4])
    same = np.array([3.0, 4.0])
    np.testing.assert_array_equal(f(same, same)[0], [9, 16])
    np.testing.assert_array_equal(same, [3, 4])


def test_the_state_itself_as_an_argument(mode):
    a, W = T.dvector("a"), sg.shared(np.array([1.0, 2.0]), "W")
    f = sg.function([a], [a * 10], updates=[(W, W + a[::-1])], mode=mode)
    (out,) = f(W.get_value(borrow=True))
    np.testing.assert_array_equal(out, [10, 20])
    np.testing.assert_array_equal(W.get_value(), [3, 3])


def test_states_borrowed_from_one_array(mode):
    """Each is a value of its own, whatever memory they started from."""
    data = np.arange(6.0)
    a, b = sg.shared(data, "a", borrow=True), sg.shared(data, "b", borrow=True)
    c = sg.shared(data[2:5], "c", borrow=True)
    x = T.dvector("x")
    f = sg.function([x], [a[::-1] + b, c + x.sum()], updates=[(a, b[::-1] + a), (c, c[::-1] * 2)], mode=mode)
    first, second = f(data[::-1])
    np.testing.assert_array_equal(first, [5] * 6)
    np.testing.assert_array_equal(second, [17, 18, 19])
    np.testing.assert_array_equal(a.get_value(), [5] * 6)
    np.testing.assert_array_equal(b.get_value(), np.arange(6))
    np.testing.assert_array_equal(c.get_value(), [8, 6, 4])


def test_an_argument_that_is_part_of_the_state(mode):
    W, x = sg.shared(np.arange(12.0).reshape(4, 3), "W"), T.dvector("x")
    f = sg.function([x], [(W @ x).sum(), x * 1], updates=[(W, W * 2 - x[::-1])], mode=mode)
    row = W.get_value(borrow=True)[2]
    before = row.copy()
    total, same = f(row)
    np.testing.assert_array_equal(same, before)
    np.testing.assert_allclose(total, (np.arange(12.0).reshape(4, 3) @ before).sum())
    np.testing.assert_array_equal(W.get_value(), np.arange(12.0).reshape(4, 3) * 2 - before[::-1])


@pytest.mark.parametrize(
    "kind", ["Fortran order", "backwards", "unaligned", "other byte order", "read-only", "memory map", "list"]
)
def test_shared_values_of_every_layout(kind, tmp_path, mode):
    value = KINDS[kind](tmp_path)
    for borrow in (False, True):
        W = sg.shared(value, "W", borrow=borrow)
        f = sg.function([], W.sum(axis=1), updates=[(W, W * 2)], mode=mode)
        np.testing.assert_array_equal(f(), X.sum(axis=1))
        W.set_value(value, borrow=borrow)
        np.testing.assert_array_equal(f(), X.sum(axis=1))
        np.testing.assert_array_equal(W.get_value(), X * 2)
        np.testing.assert_array_equal(np.asarray(value), X)


def test_many_arguments(mode):
    xs = [T.dscalar(f"x{k}") for k in range(120)]
    total = xs[0]
    for x in xs[1:]:
        total = total + x
    assert sg.function(xs, total, mode=mode)(*range(120)) == sum(range(120))


def test_large_arrays(mode):
    x = T.fvector("x")
    f = sg.function([x], [x + 1, x.sum()], mode=mode)
    value = np.ones(3_000_000, "float32")
    out, total = f(value)
    assert out.min() == out.max() == 2 and abs(total - 3_000_000) < 300
