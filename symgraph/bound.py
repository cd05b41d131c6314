"""Calls with fixed arrays: `f.bind(x, y, out=z)` checks them once, and then `g()` reads and writes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from codegen.alignment import new_array
from symgraph.errors import DtypeError, ShapeError
from symgraph.graph.node import SharedVariable
from symgraph.graph.types import format_shape
from symgraph.launch import extent, overlap
from symgraph.signature import NOT_GIVEN, CallSignature, Input, Signature


class Bound:
    """A compiled function with arrays that are fixed. Call it without arguments.

    A call reads the inputs as they are then, writes the results to `outputs` and applies the updates, as a call of the
    function does; when it fails, no state has changed, but what `outputs` hold may have.

    inputs: the arrays, one for each input of the function
    outputs: the arrays written to, in the form of the function's result; every call returns it
    """

    __slots__ = ("__weakref__", "_call", "_quick", "inputs", "outputs")
    __signature__ = CallSignature(lambda bound: inspect.Signature())

    def __init__(self, call: Callable[[Bound], None], inputs: tuple[np.ndarray, ...], outputs: Any):
        """`call` does what a call does, in Python, and may put into `_quick` what does it in C."""
        self.inputs = inputs
        self.outputs = outputs
        self._call = call
        self._quick: Any = None

    def __call__(self) -> Any:
        """Compute the outputs and apply the updates.

        Raises what a call of the function raises, and ShapeError where the results have other lengths than the arrays.
        """
        self._call(self)
        return self.outputs


def bound_inputs(signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
    """The arrays to read, one for each input: those given, for a copy would not follow them.

    A number stands for itself. Raises TypeError where an input has no array, DtypeError, ShapeError and ValueError for
    an array that C cannot take as it is.
    """
    values = signature.place(args, kwargs)
    return tuple(_input(x, value, signature.caller) for x, value in zip(signature.inputs, values, strict=True))


def _input(x: Input, value: Any, caller: str) -> np.ndarray:
    what = f"{caller}: {x.label}"
    value = x.default if value is NOT_GIVEN else value
    if isinstance(value, SharedVariable):
        raise TypeError(f"{what} has a state for its default, which calls replace: bind it to an array")
    if isinstance(value, (bool, int, float, np.generic)):
        return x.array(value, caller)
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{what} is bound to an array, which later calls read again, but was given a {type(value).__name__}: "
            f"make one with numpy.array(..., {x.variable.dtype!r}) first"
        )
    fitted = x.array(value, caller)
    if value.dtype != fitted.dtype or not value.dtype.isnative:
        raise DtypeError(f"{what} is bound to an array as it is: one of dtype {fitted.dtype}, not {value.dtype}")
    if not (value.flags.c_contiguous and value.flags.aligned):
        raise ValueError(f"{what} is bound to an array as it is, but this one is not contiguous and aligned")
    return fitted


def bound_outputs(
    signature: Signature, shapes: Sequence[tuple[int, ...]], out: Any, taken: Sequence[np.ndarray]
) -> tuple[np.ndarray, ...]:
    """The arrays to write to: those of `out`, in the form of the result or as a list; new ones where it is None.

    Raises TypeError, DtypeError, ShapeError and ValueError where they do not fit, or share memory with each other or
    with `taken`.
    """
    dtypes = [x.dtype for x in signature.outputs]
    if out is None:
        return tuple(new_array(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=False))
    arrays = _listed(signature, out)
    wanted = signature.wanted[: len(dtypes)]
    if len(arrays) != len(wanted):
        raise TypeError(f"{signature.caller} gives {len(wanted)} results, but out has {len(arrays)} arrays")
    for array, shape, dtype, name in zip(arrays, shapes, dtypes, wanted, strict=False):
        what = f"{signature.caller}: the array for {name}"
        if type(array) is not np.ndarray:
            raise TypeError(f"{what} is a {type(array).__name__}, not an array")
        if array.dtype != dtype:
            raise DtypeError(f"{what} has dtype {array.dtype}, but the result has {dtype}")
        if array.shape != shape:
            raise ShapeError(f"{what} has shape {format_shape(array.shape)}, but the result has {format_shape(shape)}")
        if not array.flags.carray:
            raise ValueError(f"{what} is not contiguous, aligned and writable")
    _check_apart(signature, arrays, [*arrays, *taken])
    return tuple(arrays)


def _check_apart(signature: Signature, arrays: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> None:
    """Raise ValueError where arrays to write to share memory with others than themselves."""
    places = [(x, extent(x)) for x in others]
    for name, array in zip(signature.wanted, arrays, strict=False):
        place = extent(array)
        if sum(overlap(place, other) for _, other in places) > any(x is array for x, _ in places):
            raise ValueError(
                f"{signature.caller}: the array for {name} shares memory with another array that is read or written"
            )


def _listed(signature: Signature, out: Any) -> list[Any]:
    if isinstance(out, np.ndarray) and signature.form == "one":
        return [out]
    if isinstance(out, Mapping):
        if signature.form != "dict" or set(out) != set(signature.keys):
            raise TypeError(f"{signature.caller}: out has other keys than the result")
        return [out[key] for key in signature.keys]
    if not isinstance(out, (list, tuple)):
        raise TypeError(f"{signature.caller}: out is a {type(out).__name__}, not in the form of the result")
    return list(out)
