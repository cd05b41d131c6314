"""Where arrays begin in memory, so that no vector of their elements lies on two lines of the cache."""

from __future__ import annotations

import math

import numpy as np

ALIGNMENT = 64  # bytes: a line of the cache, and the widest vector
ALIGNED = 1 << 10  # bytes from which on numpy's own alignment would slow loops down
PAGE, PAGED = 1 << 12, 1 << 16  # bytes: of a page, and from which on an array begins with one


def new_array(shape: tuple[int, ...], dtype: np.dtype | str) -> np.ndarray:
    """A new C-contiguous array, its elements not set, that begins with a line of the cache; a large one with a page."""
    count = math.prod(shape) * np.dtype(dtype).itemsize
    alignment = PAGE if count >= PAGED else ALIGNMENT
    memory = np.empty(count + alignment, np.uint8)
    start = -memory.ctypes.data % alignment
    return memory[start : start + count].view(dtype).reshape(shape)


def copied(array: np.ndarray, dtype: np.dtype | None = None) -> np.ndarray:
    """A C-contiguous copy of native byte order, cast as `array.astype(dtype)` does it; a large one is a `new_array`."""
    target = (dtype or array.dtype).newbyteorder("=")
    make = np.empty if array.size * target.itemsize < ALIGNED else new_array
    copy = make(array.shape, target)
    copy[...] = array
    return copy
