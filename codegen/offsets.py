"""Arithmetic of indices, extents and offsets: zeros and ones are left out, and what is known is computed at once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from codegen import ir

ZERO, ONE = ir.index(0), ir.index(1)


def add(left: ir.Expr, right: ir.Expr) -> ir.Expr:
    """The sum of two offsets, without zeros."""
    return right if left == ZERO else left if right == ZERO else left + right


def multiply(left: ir.Expr, right: ir.Expr) -> ir.Expr:
    """The product of two extents, without zeros and ones, and of constants at once."""
    if isinstance(left, ir.Literal) and isinstance(right, ir.Literal):
        return ir.index(int(left.value) * int(right.value))
    if ZERO in (left, right):
        return ZERO
    if left == ONE:
        return right
    if isinstance(right, ir.Literal):
        match left:
            case ir.Operation(_, "mul", (factor, ir.Literal(_, known))):
                return factor * (int(known) * int(right.value))
    return left if right == ONE else left * right


def element_count(extents: Iterable[ir.Expr]) -> ir.Expr:
    """How many elements an array of these extents has."""
    one: ir.Expr = ONE
    return reduce(multiply, extents, one)


def flat_offset(index: Iterable[ir.Expr], extents: Iterable[ir.Expr]) -> ir.Expr:
    """Where an element stands in an array of these extents, the last axis running fastest (Horner's rule)."""
    offset: ir.Expr = ZERO
    for i, extent in zip(index, extents, strict=True):
        offset = add(multiply(offset, extent), i)
    return offset
