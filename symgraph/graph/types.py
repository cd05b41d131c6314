"""Tensor types: a dtype and a partly known shape; promotion and broadcasting as numpy 2 does them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from symgraph.errors import DtypeError, ShapeError

DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
FLOATS = ("float32", "float64")

Shape = tuple[int | None, ...]

_NAMES = {np.dtype(name): name for name in DTYPES}  # numpy takes 1 us to tell

NEW_VARIABLE: list[Callable[..., Any]] = []  # node.py, which knows variables, puts their class here


@dataclass(frozen=True, slots=True)
class TensorType:
    """An array of a dtype, of fixed rank; a length that is not known is None.

    Raises DtypeError for a dtype that symgraph does not have, ShapeError for a negative length.
    """

    dtype: str
    shape: Shape = ()

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise DtypeError(f"symgraph has no dtype {self.dtype!r}; it has {', '.join(DTYPES)}")
        if any(n is not None and n < 0 for n in self.shape):
            raise ShapeError(f"a length cannot be negative: {format_shape(self.shape)}")

    @property
    def ndim(self) -> int:
        """The rank."""
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether a gradient can flow through values of this type."""
        return self.dtype in FLOATS

    @property
    def broadcastable(self) -> tuple[bool, ...]:
        """Theano's word: which lengths are known to be 1."""
        return tuple(n == 1 for n in self.shape)

    def __call__(self, name: str | None = None) -> Any:
        """A new variable of this type."""
        return NEW_VARIABLE[0](self, name)

    def __str__(self) -> str:
        return f"{self.dtype} {format_shape(self.shape)}"


def dtype_name(dtype: np.dtype) -> str:
    """What numpy calls a dtype."""
    return _NAMES.get(dtype) or str(dtype)


def format_shape(shape: Sequence[int | None]) -> str:
    """A shape as a tuple, with `?` for a length that is not known."""
    inner = ", ".join("?" if n is None else str(n) for n in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def broadcast_shapes(shapes: Iterable[Shape]) -> Shape:
    """The shape of an elementwise result: aligned at the right, 1 stretches, an unknown length equals its partner.

    Raises ShapeError where two known lengths differ and neither is 1.
    """
    shapes = list(shapes)
    rank = max((len(shape) for shape in shapes), default=0)
    result: list[int | None] = [1] * rank
    for shape in shapes:
        for axis, n in enumerate(shape, rank - len(shape)):
            known = result[axis]
            if n == 1 or n == known:
                continue
            if (known is None and n is not None) or known == 1:
                result[axis] = n
            elif n is not None:
                raise ShapeError(f"lengths {known} and {n} do not broadcast on axis {axis - rank}")
    return tuple(result)


@cache
def promote(*dtypes: str) -> str:
    """The dtype that holds values of all of these, as numpy promotes arrays."""
    return str(np.result_type(*dtypes))


@cache
def float_for(dtype: str) -> str:
    """The float dtype in which a function such as exp is taken of `dtype`: numpy's choice, with float32 for float16."""
    if dtype in FLOATS:
        return dtype
    return "float32" if np.dtype(dtype).itemsize <= 2 else "float64"
