"""Scalar functions: one formula, for numbers, graphs, sympy and C alike.

A *primitive* names its numpy function and its operation in `codegen/operations.py`. A *composite* is a formula of other
scalar functions, from which its numpy value, its sympy form and its C follow. A derivative is stated as a function of
the arguments and the result; where none is stated, sympy takes it of the formula.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from codegen import ir
from symgraph.errors import DtypeError
from symgraph.graph.node import Variable
from symgraph.graph.types import float_for

Weak = type[int] | type[float]  # a Python number's part in promotion: its kind counts, its size does not
TypeRule = Callable[[tuple["str | Weak", ...]], tuple[str, ...]]  # operand dtypes -> those computed with, and the result's
Derivative = Callable[..., Any]  # (*arguments, out) -> the factor of the incoming gradient; 0 where the function is flat

SCALAR_FUNCTIONS: dict[str, ScalarFunction] = {}


@dataclass(frozen=True, eq=False)
class ScalarFunction:
    """A function of scalars, taken elementwise of arrays.

    Called with graph variables it builds a node; with codegen scalars a C expression; with sympy symbols a sympy
    expression; with numbers or arrays it gives numbers or arrays.

    derivatives: one for each argument; None for a function that no gradient flows through; () for sympy's
    domain: for each argument the range in which tests sample it
    """

    name: str
    arity: int
    types: TypeRule
    numeric: Callable[..., Any]
    c: Callable[..., ir.Expr]
    sympy: Callable[..., Any] | None
    derivatives: tuple[Derivative, ...] | None
    doc: str
    source: str = ""
    commutative: bool = False
    infix: str = ""
    domain: tuple[tuple[float, float], ...] = ()
    formula: Callable[..., Any] | None = field(default=None)

    def __post_init__(self) -> None:
        if self.name in SCALAR_FUNCTIONS:
            raise ValueError(f"there is a scalar function {self.name} already")
        SCALAR_FUNCTIONS[self.name] = self
        object.__setattr__(self, "__doc__", self.doc)
        object.__setattr__(self, "__name__", self.name)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> str:
        return self.name

    def __call__(self, *args: Any) -> Any:
        if len(args) != self.arity:
            raise TypeError(f"{self.name} takes {self.arity} argument{'s' * (self.arity != 1)}, but was given {len(args)}")
        if any(isinstance(x, Variable) for x in args):
            return NODE_BUILDER[0](self, *args)
        if any(isinstance(x, ir.Expr) for x in args):
            dtype = next(x.dtype for x in args if isinstance(x, ir.Expr))
            return self.c(*[ir.lift(x, dtype) for x in args])
        sympy = sys.modules.get("sympy")
        if sympy is not None and any(isinstance(x, sympy.Basic) for x in args):
            if self.sympy is None:
                raise TypeError(f"{self.name} has no sympy form")
            return self.sympy(*args)
        if any(isinstance(x, (list, tuple)) and any(isinstance(item, Variable) for item in x) for x in args):
            return NODE_BUILDER[0](self, *args)
        with np.errstate(all="ignore"):
            return self.numeric(*[np.asarray(x) if isinstance(x, (list, tuple)) else x for x in args])


# Makes a graph node of a scalar function; elementwise.py, which knows broadcasting, puts it here.
NODE_BUILDER: list[Callable[..., Variable]] = []


def primitive(
    name: str,
    numpy: Callable[..., Any],
    derivatives: Sequence[Derivative] | None,
    *,
    arity: int | None = None,
    types: TypeRule | None = None,
    sympy: str | Callable[..., Any] | None = None,
    doc: str = "",
    source: str = "",
    commutative: bool = False,
    infix: str = "",
    domain: tuple[tuple[float, float], ...] = (),
) -> ScalarFunction:
    """A scalar function that codegen has as an operation of the same name.

    `numpy` is its reference; when that is a ufunc, it also rules the dtypes unless `types` is given.
    `sympy` is the name of sympy's function, or a function of sympy expressions.
    """
    arity = arity if arity is not None else getattr(numpy, "nin", 1)
    types = types or (by_ufunc(numpy) if isinstance(numpy, np.ufunc) else floating)

    def c(*args: ir.Expr) -> ir.Expr:
        result = types(tuple(x.dtype for x in args))[-1]
        return ir.Operation(result, name, args)

    def symbolic(*args: Any) -> Any:
        import sympy as module

        return getattr(module, sympy)(*args) if isinstance(sympy, str) else sympy(*args)  # type: ignore[misc]

    return ScalarFunction(
        name, arity, types, numpy, c, symbolic if sympy else None, None if derivatives is None else tuple(derivatives),
        doc, source, commutative, infix, domain,
    )  # fmt: skip


def composite(
    name: str,
    formula: Callable[..., Any],
    derivatives: Sequence[Derivative] | None = (),
    *,
    types: TypeRule | None = None,
    doc: str = "",
    source: str = "",
    domain: tuple[tuple[float, float], ...] = (),
) -> ScalarFunction:
    """A scalar function given by a formula of other scalar functions and Python's operators."""
    arity = formula.__code__.co_argcount
    return ScalarFunction(
        name, arity, types or floating, formula, formula, formula,
        None if derivatives is None else tuple(derivatives), doc, source, domain=domain, formula=formula,
    )  # fmt: skip


def floating(dtypes: tuple[str | Weak, ...]) -> tuple[str, ...]:
    """All operands and the result in the float dtype that holds them."""
    dtype = float_for(_result_type(dtypes))
    return (*[dtype] * len(dtypes), dtype)


def same(dtypes: tuple[str | Weak, ...]) -> tuple[str, ...]:
    """All operands and the result in the dtype that holds them."""
    dtype = _result_type(dtypes)
    return (*[dtype] * len(dtypes), dtype)


def predicate(dtypes: tuple[str | Weak, ...]) -> tuple[str, ...]:
    """All operands in the dtype that holds them; the result is bool."""
    return (*[_result_type(dtypes)] * len(dtypes), "bool")


def logical(dtypes: tuple[str | Weak, ...]) -> tuple[str, ...]:
    """Operands are taken as truth values; the result is bool."""
    return (*["bool"] * len(dtypes), "bool")


def by_ufunc(ufunc: np.ufunc) -> TypeRule:
    """The rule of a numpy ufunc, with float32 where numpy would take float16; raises DtypeError where numpy has no loop."""

    @lru_cache(maxsize=None)
    def rule(dtypes: tuple[str | Weak, ...]) -> tuple[str, ...]:
        operands = tuple(x if isinstance(x, type) else np.dtype(x) for x in dtypes)
        try:
            loop = ufunc.resolve_dtypes((*operands, *[None] * ufunc.nout))
        except TypeError:
            named = ", ".join(x.__name__ if isinstance(x, type) else x for x in dtypes)
            raise DtypeError(f"{ufunc.__name__} is not defined for {named}") from None
        return tuple("float32" if dtype.char == "e" else str(dtype) for dtype in loop)

    return rule


@lru_cache(maxsize=None)
def _result_type(dtypes: tuple[str | Weak, ...]) -> str:
    return str(np.result_type(*[x(0) if isinstance(x, type) else np.dtype(x) for x in dtypes]))
