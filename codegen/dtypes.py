"""numpy dtype <-> C type, literal spelling, limits: the one table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CType:
    """How one numpy dtype is written in C.

    `suffix` ends the name of a helper function for this type; `math` ends the name of a libm function.
    """

    name: str
    suffix: str
    bytes: int
    kind: str  # numpy's: b, i, u or f
    math: str = ""
    literal: str = ""
    lowest: str = ""
    highest: str = ""


def _integer(bits: int, unsigned: bool) -> CType:
    name = f"{'u' if unsigned else ''}int{bits}_t"
    literal = "" if bits < 32 else "U" if unsigned else ""
    literal += "LL" if bits == 64 else ""
    stem = f"{'U' if unsigned else ''}INT{bits}"
    lowest = "0" if unsigned else f"{stem}_MIN"
    kind = "u" if unsigned else "i"
    return CType(name, f"{kind}{bits}", bits // 8, kind, "", literal, lowest, f"{stem}_MAX")


C_TYPES: dict[str, CType] = {
    "bool": CType("bool", "b", 1, "b", "", "", "false", "true"),
    **{f"int{bits}": _integer(bits, unsigned=False) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": _integer(bits, unsigned=True) for bits in (8, 16, 32, 64)},
    "float32": CType("float", "f32", 4, "f", "f", "f", "-INFINITY", "INFINITY"),
    "float64": CType("double", "f64", 8, "f", "", "", "-INFINITY", "INFINITY"),
}


def c_type(dtype: str) -> CType:
    """The C side of a dtype; KeyError for one that symgraph does not have."""
    return C_TYPES[dtype]


def itemsize(dtype: str) -> int:
    """Bytes of one element."""
    return C_TYPES[dtype].bytes


def literal(dtype: str, value: object) -> str:
    """The shortest C constant that reads back as exactly `value`, rounded to `dtype`."""
    ctype = C_TYPES[dtype]
    if ctype.kind == "b":
        return "true" if value else "false"
    if ctype.kind != "f":
        number = int(value)  # type: ignore[call-overload]
        if ctype.kind == "i" and number == -(2 ** (8 * ctype.bytes - 1)):
            return ctype.lowest
        return f"{number}{ctype.literal if abs(number) >= 2**31 else ''}"
    real = float(value)  # type: ignore[arg-type]
    if dtype == "float32":
        with np.errstate(over="ignore", under="ignore"):
            real = np.float32(real)  # type: ignore[assignment]
    if math.isnan(real):
        return "NAN"
    if math.isinf(real):
        return "INFINITY" if real > 0 else "-INFINITY"
    return str(real) + ctype.literal
