"""Values from outside: a user's number, list or array becomes an array of exactly a type, or an error in his words."""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.errors import DtypeError, ShapeError
from symgraph.graph.types import DTYPES, TensorType, format_shape


def as_array(value: Any, type: TensorType, name: str, *, downcast: bool = False, copy: bool = False) -> np.ndarray:
    """`value` as an aligned, C-contiguous array of `type`, in native byte order.

    Python numbers, also in lists, take the dtype where it can hold them; arrays must cast safely, or with
    `downcast=True` at all. The result shares memory with `value` where it can, unless `copy`.

    Raises DtypeError where information would be lost, ShapeError where the rank or a known length differs.
    """
    array = value if isinstance(value, np.ndarray) else _from_python(value, name)
    if array.dtype.hasobject or array.dtype.kind not in "biuf":
        raise DtypeError(f"{name} takes numbers of dtype {type.dtype}, but was given {_kind(value, array)}")
    typed = isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__array__")
    if str(array.dtype.newbyteorder("=")) != type.dtype:
        _check_cast(array, type.dtype, name, typed, downcast)
    if array.ndim != type.ndim:
        raise ShapeError(
            f"{name} takes {_rank(type.ndim)}, but was given {_rank(array.ndim)} of shape {format_shape(array.shape)}"
        )
    if any(n is not None and n != m for n, m in zip(type.shape, array.shape, strict=True)):
        raise ShapeError(f"{name} has shape {format_shape(type.shape)}, but was given {format_shape(array.shape)}")
    with np.errstate(invalid="ignore", over="ignore"):
        result = np.require(array, np.dtype(type.dtype), ["C", "A"])
    return result.copy() if copy and np.may_share_memory(result, array) else result


def as_constant(value: Any, dtype: str | None = None, floatX: str = "float64") -> np.ndarray:
    """A private, read-only, C-contiguous copy of a value that is to stand in a graph.

    A Python float takes `floatX`, an int int64, unless `dtype` says otherwise.
    Raises DtypeError for what is no array of numbers.
    """
    array = value if isinstance(value, (np.ndarray, np.generic)) else _from_python(value, "a constant")
    array = np.asarray(array)
    if dtype is None:
        dtype = str(array.dtype.newbyteorder("="))
        if dtype == "float64" and not isinstance(value, (np.ndarray, np.generic)):
            dtype = floatX
    if array.dtype.kind not in "biuf" or dtype not in DTYPES:
        raise DtypeError(f"a graph holds numbers of dtype {', '.join(DTYPES)}, not {_kind(value, array)}")
    with np.errstate(invalid="ignore", over="ignore"):
        data = np.array(array, dtype=dtype, order="C", copy=True)
    data.flags.writeable = False
    return data


def _from_python(value: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise DtypeError(f"{name} cannot be made an array: {error}") from None


def _check_cast(array: np.ndarray, dtype: str, name: str, typed: bool, downcast: bool) -> None:
    target = np.dtype(dtype)
    if np.can_cast(array.dtype, target, "safe"):
        return
    if downcast:
        if target.kind in "iu" and array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DtypeError(f"{name} has dtype {dtype}, which has no NaN or infinity, but was given one")
        return
    if not typed:
        if target.kind == "f":
            return
        if array.dtype.kind in "iub" and target.kind in "iu" and _fits(array, target):
            return
        if array.size == 0:
            return
    hint = f"convert it with .astype({dtype!r}), or compile with allow_input_downcast=True" if typed else "the numbers do not fit"
    raise DtypeError(f"{name} has dtype {dtype}; {array.dtype} values would lose information: {hint}")


def _fits(array: np.ndarray, target: np.dtype) -> bool:
    limits = np.iinfo(target)
    return array.size == 0 or (int(array.min()) >= limits.min and int(array.max()) <= limits.max)


def _rank(ndim: int) -> str:
    return {0: "a scalar", 1: "a vector", 2: "a matrix"}.get(ndim, f"an array of rank {ndim}")


def _kind(value: Any, array: np.ndarray) -> str:
    return f"{type(value).__name__} (dtype {array.dtype})"
