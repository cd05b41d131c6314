"""Arrays as people read them in a figure: a few numbers to three digits, of a large array its norm and a heat map."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_NUMBERS = 6  # elements of an array whose numbers are written out
MOST_CELLS = 24  # of a heat map, along one side

NEGATIVE = (33, 102, 172)  # the ends of a heat map's scale, and its middle; from ColorBrewer's RdBu
POSITIVE = (178, 24, 43)
ZERO = (247, 247, 247)
NOT_A_NUMBER = (0, 0, 0)


@dataclass(frozen=True)
class Shown:
    """An array in a figure.

    text: on one line: (0.731, 0.119), or the shape and the norm
    rows: of a small matrix, the numbers; otherwise ()
    heat: of a large array, its numbers in at most MOST_CELLS rows and columns, each a mean; otherwise None
    """

    text: str
    rows: tuple[tuple[str, ...], ...] = ()
    heat: np.ndarray | None = None


def shown(array: np.ndarray) -> Shown:
    """How a figure shows an array of any shape and dtype."""
    if array.size > MOST_NUMBERS:
        return Shown(f"{shape_text(array.shape)}  norm {number(norm(array))}", heat=heat_map(array))
    if array.size == 0:
        return Shown(f"empty, {shape_text(array.shape)}")
    rows = tuple(tuple(number(v) for v in row) for row in array) if array.ndim == 2 else ()
    return Shown(array_text(array), rows)


def shape_text(shape: tuple[int | None, ...]) -> str:
    """A shape as in 60 × 784; `?` for a length that is not known."""
    return " × ".join("?" if n is None else str(n) for n in shape)


def array_text(array: np.ndarray) -> str:
    """The numbers of a small array in parentheses, as in ((3, 2), (4, 3)); of rank at most 32, as all of numpy's."""
    if array.ndim == 0:
        return number(array[()])
    return f"({', '.join(array_text(part) for part in array)})"


def number(value: Any) -> str:
    """A number as a textbook prints it: 3, 0.1, 0.0360, 0.00587, 1234, 1.23e-7.

    Integers are written in full, as are numbers that have at most three digits; others are rounded to three, and the
    zeros at their end are kept to tell so.
    """
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if not np.isfinite(value):
        return str(float(value))
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e6 or size < 1e-4:
        mantissa, exponent = f"{value:.2e}".split("e")
        short = np.format_float_scientific(value, trim="-").split("e")[0]
        return f"{short if len(short) < len(mantissa) else mantissa}e{int(exponent)}"
    exact = np.format_float_positional(value, trim="-")
    if value == int(value) or len(exact.lstrip("-0.").replace(".", "")) <= 3:
        return exact
    return f"{value:.0f}" if size >= 99.95 else f"{value:#.3g}"


def norm(array: np.ndarray) -> float:
    """The Euclidean norm of all elements: infinite or NaN only where an element is, or the norm is out of range."""
    values = np.abs(array.astype("float64"))
    largest = values.max(initial=0.0)
    if not 0 < largest < np.inf:
        return float(largest)
    with np.errstate(over="ignore"):
        return float(largest * np.sqrt(np.mean((values / largest) ** 2) * values.size))


def heat_map(array: np.ndarray) -> np.ndarray:
    """The elements as a matrix, all axes but the last joined, of at most MOST_CELLS rows and columns: block means."""
    matrix = array.astype("float64").reshape(-1, array.shape[-1]) if array.ndim > 1 else array.astype("float64")[None]
    with np.errstate(all="ignore"):
        for axis in (0, 1):
            length = matrix.shape[axis]
            if length > MOST_CELLS:
                starts = np.arange(MOST_CELLS) * length // MOST_CELLS
                counts = np.diff(np.append(starts, length))
                sums = np.add.reduceat(matrix, starts, axis)
                matrix = sums / (counts[:, None] if axis == 0 else counts)
    return matrix


def png(heat: np.ndarray) -> str:
    """A heat map as a data URL: blue for negative, red for positive, both full at the largest size there is.

    Source: PNG specification, second edition (2003): 8-bit truecolour, no filter, one IDAT chunk.
    """
    finite = np.abs(heat[np.isfinite(heat)])
    largest = finite.max(initial=0.0) or 1.0
    with np.errstate(invalid="ignore"):
        share = np.clip(heat / largest, -1, 1)[..., None]
    ends = np.where(share < 0, NEGATIVE, POSITIVE)
    mixed = np.asarray(ZERO) + np.nan_to_num(np.abs(share)) * (ends - np.asarray(ZERO))
    pixels = np.where(np.isnan(share), NOT_A_NUMBER, np.rint(mixed)).astype(np.uint8)
    rows, columns = heat.shape
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
