"""Values from outside: a user's number, list or array becomes an array of exactly a type, or an error in his words."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

import numpy as np

from codegen.alignment import copied
from symgraph.errors import DtypeError, ShapeError
from symgraph.graph.types import DTYPES, TensorType, dtype_name, format_shape


def as_array(
    value: Any, type: TensorType, name: str, *, downcast: bool = False, copy: bool = False, remedy: str = ""
) -> np.ndarray:
    """`value` as an aligned, C-contiguous array of `type`, in native byte order.

    Python numbers, also in lists, take the dtype where it can hold them; what has a dtype of its own (arrays, numpy's
    numbers, buffers) must cast safely, or with `downcast=True` lie in the range of the dtype. The result shares memory
    with `value` where it can, unless `copy`. `remedy` tells in a message what else would make a cast possible.

    Raises DtypeError for what is no array of numbers or would lose information, ShapeError where the rank or a known
    length differs.
    """
    array = _numbers(value, name)
    target = np.dtype(type.dtype)
    if array.dtype.kind not in "biuf":
        raise DtypeError(f"{name} takes numbers of dtype {type.dtype}, but was given {_kind(value, array)}")
    if array.dtype != target:
        _check_cast(array, target, name, _has_dtype(value), downcast, remedy)
    if array.ndim != type.ndim:
        raise ShapeError(
            f"{name} takes {_rank(type.ndim)}, but was given {_rank(array.ndim)} of shape {format_shape(array.shape)}"
        )
    if any(n is not None and n != m for n, m in zip(type.shape, array.shape, strict=True)):
        raise ShapeError(f"{name} has shape {format_shape(type.shape)}, but was given {format_shape(array.shape)}")
    if array.dtype == target and array.flags.c_contiguous and array.flags.aligned:
        return copied(array) if copy else array
    try:
        with np.errstate(over="raise", invalid="ignore"):
            return copied(array, target) if copy else np.require(array, target, ["C", "A"])
    except FloatingPointError:
        raise DtypeError(f"{name} has dtype {type.dtype}, but was given numbers too large for it") from None


def as_constant(value: Any, dtype: str | None = None, floatX: str = "float64") -> np.ndarray:
    """What `new_value` makes, read-only: it is to stand in a graph, and is shared by graphs alone."""
    make = _integer_constant if type(value) is int else _constant  # most are lengths, axes and positions
    return make(value, dtype, floatX)


def _constant(value: Any, dtype: str | None, floatX: str) -> np.ndarray:
    data = new_value(value, dtype, floatX)
    data.flags.writeable = False
    return data


_integer_constant = lru_cache(4096)(_constant)


def new_value(value: Any, dtype: str | None = None, floatX: str = "float64") -> np.ndarray:
    """A value as a C-contiguous array of its own, in native byte order.

    A Python float takes `floatX`, an int int64, unless `dtype` says otherwise.
    Raises DtypeError for what is no array of numbers, or Python integers that the dtype cannot hold.
    """
    array = _numbers(value, "a constant")
    own = dtype_name(array.dtype.newbyteorder("="))
    if dtype is None:
        dtype = floatX if own == "float64" and not _has_dtype(value) else own
    if array.dtype.kind not in "biuf" or dtype not in DTYPES:
        raise DtypeError(f"a graph holds numbers of dtype {', '.join(DTYPES)}, not {_kind(value, array)}")
    target = np.dtype(dtype)
    integers = array.dtype.kind in "iu" and target.kind in "iu"
    if own != dtype and integers and not _has_dtype(value) and not _fits(array, target):
        raise DtypeError(f"{value} does not fit in {dtype}")
    with np.errstate(invalid="ignore", over="ignore"):
        return copied(array, target)


def _numbers(value: Any, name: str) -> np.ndarray:
    """The plain array of a value; integers beyond 64 bits as floats."""
    if type(value) is np.ndarray:
        return value
    masked = sys.modules.get("numpy.ma")  # who has a masked array has loaded it, and who has not shall not pay for it
    if masked is not None and isinstance(value, masked.MaskedArray) and masked.is_masked(value):
        raise DtypeError(f"{name} was given a masked array: say what the masked elements are, by .filled(…)")
    try:
        array = np.asarray(value)
        if array.dtype.hasobject and all(isinstance(x, (int, float)) for x in array.flat):
            array = array.astype("float64")
    except (ValueError, TypeError, OverflowError) as error:
        raise DtypeError(f"{name} cannot be made an array: {error}") from None
    return array


def _has_dtype(value: Any) -> bool:
    """Whether a value brings a dtype of its own: arrays, numpy's numbers and buffers do, Python's numbers do not."""
    if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__array__"):
        return True
    try:
        memoryview(value)
    except TypeError:
        return False
    return True


def _check_cast(array: np.ndarray, target: np.dtype, name: str, typed: bool, downcast: bool, remedy: str) -> None:
    if np.can_cast(array.dtype, target, "safe") or (array.size == 0 and not typed):
        return
    fits = _fits(array, target)
    if fits and (downcast or (not typed and (target.kind == "f" or array.dtype.kind in "biu"))):
        return
    if array.dtype.kind == "f" and target.kind in "iu" and not np.isfinite(array).all():
        reason = "there is no such integer as NaN or infinity"
    elif not fits:
        reason = "the numbers do not fit"
    elif typed:
        reason = f"convert it with .astype('{target}'){remedy}"
    else:
        reason = f"write integers{remedy}"
    raise DtypeError(f"{name} has dtype {target}; {array.dtype} values would lose information: {reason}")


def _fits(array: np.ndarray, target: np.dtype) -> bool:
    """Whether the numbers lie in the range of a dtype; of floats only the overflow of the cast itself can tell."""
    if array.size == 0 or target.kind == "f":
        return True
    if target.kind == "b":
        return bool(((array == 0) | (array == 1)).all())
    limits = np.iinfo(target)
    low, high = array.min(), array.max()
    return bool(np.isfinite(low) and np.isfinite(high)) and limits.min <= int(low) and int(high) <= limits.max


def _rank(ndim: int) -> str:
    return {0: "a scalar", 1: "a vector", 2: "a matrix"}.get(ndim, f"an array of rank {ndim}")


def _kind(value: Any, array: np.ndarray) -> str:
    return "None" if value is None else f"{type(value).__name__} (dtype {array.dtype})"
