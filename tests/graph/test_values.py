"""Values from outside: what is taken as it is, what is converted, what is refused and in which words."""

import array
import itertools

import numpy as np
import pytest

from symgraph.errors import DtypeError, ShapeError
from symgraph.graph.types import DTYPES, TensorType
from symgraph.graph.values import as_array, as_constant

UNALIGNED = np.frombuffer(bytearray(b"x" + np.arange(3.0).tobytes()), "f8", offset=1)
READ_ONLY = np.arange(3.0)
READ_ONLY.flags.writeable = False


def taken(value, dtype="float64", shape=(None,), **options):
    """`value` as the x of a function; checked to be what a C function can read."""
    result = as_array(value, TensorType(dtype, shape), "x", **options)
    assert type(result) is np.ndarray
    assert result.dtype == np.dtype(dtype) and result.dtype.isnative
    assert result.flags.c_contiguous and result.flags.aligned
    return result


def test_an_array_of_the_type_is_not_copied():
    value = np.arange(3.0)
    assert np.shares_memory(taken(value), value)
    assert not np.shares_memory(taken(value, copy=True), value)
    assert not np.shares_memory(taken(memoryview(value), copy=True), value)


@pytest.mark.parametrize("value", [
    [0, 1, 2], (0, 1, 2), [0.0, 1.0, 2.0], range(3), [np.float64(0), 1, 2], [False, True, 2],
    np.arange(3), np.arange(3, dtype="f4"), np.arange(3, dtype="f2"), np.arange(3, dtype="u1"),
    np.arange(3, dtype=">f8"), np.arange(3, dtype=">i2"), np.arange(6.0)[::2] / 2, np.arange(3.0)[::-1][::-1],
    UNALIGNED, READ_ONLY, memoryview(np.arange(3.0)), array.array("d", [0, 1, 2]), np.ma.array([0.0, 1.0, 2.0]),
])
def test_what_casts_safely_is_converted(value):
    np.testing.assert_array_equal(taken(value), [0.0, 1.0, 2.0])


def test_unusual_layouts_keep_their_values():
    base = np.arange(24.0).reshape(2, 3, 4)
    stretched = np.broadcast_to(base[0, 0], (2, 3, 4))
    for value in (base.T, base[:, ::-2], base[::-1, :, 1:3], stretched, base.astype(">f4")):
        np.testing.assert_array_equal(taken(value, shape=(None,) * 3), value)


@pytest.mark.parametrize("value", [2, 2.0, True + 1, np.float64(2), np.array(2.0), np.int8(2), np.array(2, ">i4")])
def test_scalars(value):
    result = taken(value, shape=())
    assert result.shape == () and result == 2.0


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0, 2)])
def test_empty_arrays(shape):
    assert taken(np.zeros(shape), shape=(None,) * len(shape)).shape == shape


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_empty_list_is_an_empty_vector_of_any_dtype(dtype):
    assert taken([], dtype).shape == (0,)


@pytest.mark.parametrize("source, target", list(itertools.product(DTYPES, repeat=2)))
def test_arrays_cast_where_numpy_calls_it_safe(source, target):
    value = np.array([0, 1], source)
    if np.can_cast(source, target, "safe"):
        np.testing.assert_array_equal(taken(value, target), value)
    else:
        with pytest.raises(DtypeError, match=rf"x has dtype {target}; {source} values .* \.astype\('{target}'\)"):
            taken(value, target)
        np.testing.assert_array_equal(taken(value, target, downcast=True), value)


@pytest.mark.parametrize("value, dtype", [
    ([1, 0], "bool"), ([127, -128], "int8"), ([255, 0], "uint8"), ([2**63], "uint64"), ([-(2**63)], "int64"),
    ([0.1], "float32"), ([1e-320], "float32"), ([3e38], "float32"), ([np.inf, np.nan], "float32"),
    ([2**24 + 1], "float32"),
    ([10**25], "float64"), ([True], "int8"),
])
def test_python_numbers_take_the_dtype_where_it_can_hold_them(value, dtype):
    np.testing.assert_array_equal(taken(value, dtype), np.array(value, dtype))


@pytest.mark.parametrize("value, dtype, message", [
    ([2], "bool", "do not fit"), ([128], "int8", "do not fit"), ([-129], "int8", "do not fit"),
    ([-1], "uint64", "do not fit"),
    ([2**63], "int64", "do not fit"), ([2**64], "uint64", "do not fit"), ([1e39], "float32", "too large"),
    ([-1e39], "float32", "too large"), ([10**400], "float64", "too large"), ([1.0], "int64", "write integers"),
    ([np.nan], "int64", "no such integer as NaN"), ([-np.inf], "uint8", "no such integer as NaN"),
])
def test_python_numbers_that_a_dtype_cannot_hold_are_refused(value, dtype, message):
    with pytest.raises(DtypeError, match=message):
        taken(value, dtype)


@pytest.mark.parametrize("value, dtype", [
    (np.array([np.nan]), "int64"), (np.array([1.0, np.inf]), "uint8"), (np.array([2.0**63]), "int64"),
    (np.array([-1.0]), "uint8"),
    (np.array([300]), "int8"), (np.array([2]), "bool"), (np.array([1e39]), "float32"), ([np.nan], "int32"),
])
def test_downcasting_may_lose_precision_but_not_range(value, dtype):
    with pytest.raises(DtypeError, match=r"^x "):
        taken(value, dtype, downcast=True)


def test_downcasting_rounds_as_numpy_does():
    value = np.array([1.7, -1.7, 0.1])
    np.testing.assert_array_equal(taken(value, "int32", downcast=True), [1, -1, 0])
    np.testing.assert_array_equal(taken(value, "float32", downcast=True), value.astype("f4"))
    np.testing.assert_array_equal(taken([np.inf, np.nan], "float32", downcast=True), np.array([np.inf, np.nan], "f4"))


@pytest.mark.parametrize("value, message", [
    (None, "given None"), ([None], "dtype object"), ("1.0", "given str"), (["1.0"], "given list"),
    (b"1", "given bytes"),
    (np.array([1.0], object), "dtype object"), (1j, "given complex"), ({1.0}, "given set"), ({}, "given dict"),
    (object(), "object"),
    (np.array(["2020"], "M8[Y]"), "dtype datetime64"), (np.zeros(2, "f4,f4"), "given ndarray"),
    ([[1], [1, 2]], "inhomogeneous"),
    (np.ma.array([1.0, 2.0], mask=[False, True]), "masked"), (lambda: 1, "given function"),
])
def test_what_is_no_array_of_numbers_is_refused(value, message):
    with pytest.raises(DtypeError, match=f"^x .*{message}"):
        taken(value)


@pytest.mark.parametrize("value, shape, message", [
    (1.0, (None,), r"x takes a vector, but was given a scalar of shape \(\)"),
    ([1.0], (), r"x takes a scalar, but was given a vector of shape \(1,\)"),
    ([1.0], (None, None), r"x takes a matrix, but was given a vector of shape \(1,\)"),
    ([[[1.0]]], (None, None), r"x takes a matrix, but was given an array of rank 3 of shape \(1, 1, 1\)"),
    ([1.0, 2.0], (3,), r"x has shape \(3,\), but was given \(2,\)"),
    ([[1.0, 2.0]], (None, 1), r"x has shape \(\?, 1\), but was given \(1, 2\)"),
    (np.zeros((0, 2)), (1, None), r"x has shape \(1, \?\), but was given \(0, 2\)"),
])
def test_another_rank_or_length_is_refused(value, shape, message):
    with pytest.raises(ShapeError, match=message):
        taken(value, shape=shape)


def test_a_constant_is_private_and_read_only():
    value = np.arange(3.0)
    data = as_constant(value)
    value[0] = 9
    np.testing.assert_array_equal(data, [0, 1, 2])
    with pytest.raises(ValueError, match="read-only"):
        data[0] = 1


@pytest.mark.parametrize("value, floatX, dtype", [
    (1, "float32", "int64"), (1.0, "float32", "float32"), (1.0, "float64", "float64"), ([1, 2.0], "float32", "float32"),
    (True, "float32", "bool"), (np.float64(1), "float32", "float64"), (np.zeros(2), "float32", "float64"),
    (np.zeros(2, ">f4"), "float64", "float32"), (2**63, "float64", "uint64"), (np.int8(1), "float64", "int8"),
])
def test_the_dtype_of_a_constant(value, floatX, dtype):
    data = as_constant(value, floatX=floatX)
    assert data.dtype == dtype and data.dtype.isnative
    np.testing.assert_array_equal(data, value)


@pytest.mark.parametrize("value, dtype", [(300, "int8"), (-1, "uint64"), ([1, 2**40], "int32")])
def test_python_integers_do_not_wrap(value, dtype):
    with pytest.raises(DtypeError, match=f"does not fit in {dtype}"):
        as_constant(value, dtype)


@pytest.mark.parametrize("value", [None, "a", 1j, [None], np.float16(1), np.zeros(1, object), [[1], [1, 2]]])
def test_what_cannot_stand_in_a_graph_is_refused(value):
    with pytest.raises(DtypeError):
        as_constant(value)
