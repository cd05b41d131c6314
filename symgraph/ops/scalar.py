"""Scalar functions: one formula, for numbers, graphs, sympy and C alike.

A *primitive* names its numpy function and its operation in `codegen/operations.py`. A *composite* is a formula of other
scalar functions, from which its numpy value, its sympy form and its C follow. A derivative is stated as a function of
the arguments and the result; where none is stated, sympy takes it of the formula.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, wraps
from typing import Any

import numpy as np

from codegen import ir
from symgraph.errors import DtypeError, GraphError
from symgraph.graph.node import Variable, located
from symgraph.graph.provenance import current_origin
from symgraph.graph.types import FLOATS, float_for
from symgraph.options import config

Weak = type[int] | type[float]  # a Python number's part in promotion: its kind counts, its size does not
TypeRule = Callable[[tuple["str | Weak", ...]], tuple[str, ...]]  # of operands -> those computed in, and the result's
Derivative = Callable[..., Any]  # (*arguments, out) -> the factor of the incoming gradient; see ScalarFunction

SCALAR_FUNCTIONS: dict[str, ScalarFunction] = {}


@dataclass(frozen=True, eq=False)
class ScalarFunction:
    """A function of scalars, taken elementwise of arrays.

    Called with graph variables it builds a node; with codegen scalars a C expression; with sympy symbols a sympy
    expression; with numbers or arrays it gives numbers or arrays.

    derivatives: one for each argument; None for a function that no gradient flows through; () for sympy's. A derivative
        gives the factor of the incoming gradient: 0 where the function is flat, a bool where it passes or stops it;
        None in place of one says that no gradient flows into that argument
    types: the dtypes of a node, where Python's floats count as `config.floatX` beside what is no float; `plain_types`:
        of numbers and in C, where they are float64 then
    domain: for each argument the range in which tests sample it
    ufunc: numpy's function of the same meaning, where numpy has one
    """

    name: str
    arity: int
    types: TypeRule
    numeric: Callable[..., Any]
    c: Callable[..., ir.Expr]
    sympy: Callable[..., Any] | None
    derivatives: tuple[Derivative | None, ...] | None
    doc: str
    source: str = ""
    commutative: bool = False
    infix: str = ""
    domain: tuple[tuple[float, float], ...] = ()
    formula: Callable[..., Any] | None = field(default=None)
    ufunc: np.ufunc | None = None
    plain_types: TypeRule = field(init=False)

    def __post_init__(self) -> None:
        if self.name in SCALAR_FUNCTIONS:
            raise ValueError(f"there is a scalar function {self.name} already")
        SCALAR_FUNCTIONS[self.name] = self
        object.__setattr__(self, "plain_types", self.types)
        object.__setattr__(self, "types", with_floatX(self.types))
        object.__setattr__(self, "__doc__", _documentation(self))
        object.__setattr__(self, "__name__", self.name)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Callable[[str], ScalarFunction], tuple[str]]:
        return scalar_function_named, (self.name,)

    def __call__(self, *args: Any) -> Any:
        if len(args) != self.arity:
            plural = "s" if self.arity > 1 else ""
            raise TypeError(f"{self.name} takes {self.arity} argument{plural}, but was given {len(args)}")
        if any(isinstance(x, Variable) for x in args):
            try:
                return NODE_BUILDER[0](self, *args)
            except DtypeError as error:
                raise self._explained(error, args) from None
        if any(isinstance(x, ir.Expr) for x in args):
            return self._on_scalars(args)
        sympy = sys.modules.get("sympy")
        if sympy is not None and any(isinstance(x, sympy.Basic) for x in args):
            if self.sympy is None:
                raise TypeError(f"{self.name} has no sympy form")
            return self.sympy(*args)
        if any(isinstance(x, (list, tuple)) and any(isinstance(item, Variable) for item in x) for x in args):
            return NODE_BUILDER[0](self, *args)
        return self._on_arrays(args)

    def _explained(self, error: DtypeError, args: Sequence[Any]) -> GraphError:
        """The error with the operands and the user's line, where it has none, and what to write instead."""
        text = str(error)
        if "\n" in text:
            return error
        variables = [x for x in args if isinstance(x, Variable)]
        places = iter(range(len(variables)))
        operands = [f"{{{next(places)}}}" if isinstance(x, Variable) else _shown(x) for x in args]
        remedy = ""
        if self.infix in ("&", "|", "^") and "not defined" in text and any(x.type.is_float for x in variables):
            remedy = f"; put parentheses around comparisons, as in (x > 0) {self.infix} (x < 1)"
        elif text.endswith("bool") and any(x.dtype == "bool" for x in variables):
            remedy = "; cast truth values first, as in .astype('int64')"
        escaped = text.replace("{", "{{").replace("}", "}}")
        listed = " and ".join(operands)
        return located(DtypeError(f"cannot {self.name} {listed}: {escaped}{remedy}"), variables, current_origin())

    def _on_scalars(self, args: Sequence[Any]) -> ir.Expr:
        dtypes = self.plain_types(tuple(x.dtype if isinstance(x, ir.Expr) else type(x) for x in args))
        return self.c(*[_as_dtype(x, dtype) for x, dtype in zip(args, dtypes, strict=False)])

    def _on_arrays(self, args: Sequence[Any]) -> Any:
        kinds = tuple(type(x) if type(x) in (int, float) else str(np.asarray(x).dtype) for x in args)
        dtypes = self.plain_types(kinds)
        with np.errstate(all="ignore"):
            return self.numeric(*[np.asarray(x, dtype) for x, dtype in zip(args, dtypes, strict=False)])


# Makes a graph node of a scalar function; elementwise.py, which knows broadcasting, puts it here.
NODE_BUILDER: list[Callable[..., Variable]] = []


def scalar_function_named(name: str) -> ScalarFunction:
    """The scalar function of a name; KeyError where there is none."""
    return SCALAR_FUNCTIONS[name]


def primitive(
    name: str,
    numpy: Callable[..., Any],
    derivatives: Sequence[Derivative | None] | None,
    *,
    arity: int | None = None,
    types: TypeRule | None = None,
    numeric: Callable[..., Any] | None = None,
    c: Callable[..., ir.Expr] | None = None,
    sympy: str | Callable[..., Any] | None = None,
    doc: str = "",
    source: str = "",
    commutative: bool = False,
    infix: str = "",
    domain: tuple[tuple[float, float], ...] = (),
) -> ScalarFunction:
    """A scalar function that codegen has as an operation of the same name.

    `numpy` is its reference, or `numeric` where numpy's differs at some values; when `numpy` is a ufunc, it also rules
    the dtypes unless `types` is given. `c` writes it in other operations. `sympy` is the name of sympy's function, or a
    function of sympy expressions.
    """
    ufunc = numpy if isinstance(numpy, np.ufunc) else None
    arity = arity if arity is not None else getattr(numpy, "nin", 1)
    types = types or (by_ufunc(ufunc) if ufunc is not None else floating)

    def operation(*args: ir.Expr) -> ir.Expr:
        return ir.Operation(types(tuple(x.dtype for x in args))[-1], name, args)

    def symbolic(*args: Any) -> Any:
        import sympy as module

        return getattr(module, sympy)(*args) if isinstance(sympy, str) else sympy(*args)  # type: ignore[misc]

    return ScalarFunction(
        name, arity, types, numeric or numpy, c or operation, symbolic if sympy else None,
        None if derivatives is None else tuple(derivatives), doc, source, commutative, infix, domain, ufunc=ufunc,
    )  # fmt: skip


def composite(
    name: str,
    formula: Callable[..., Any],
    derivatives: Sequence[Derivative | None] | None = (),
    *,
    arity: int | None = None,
    types: TypeRule | None = None,
    numpy: np.ufunc | None = None,
    c: Callable[..., ir.Expr] | None = None,
    sympy: Callable[..., Any] | None = None,
    doc: str = "",
    source: str = "",
    domain: tuple[tuple[float, float], ...] = (),
) -> ScalarFunction:
    """A scalar function given by a formula of other scalar functions and Python's operators.

    `numpy` is the ufunc of the same meaning, which rules the dtypes unless `types` is given. `c` is given where codegen
    has the function as an operation; `sympy` where the formula, made to be stable, is hard to differentiate.
    """
    arity = arity if arity is not None else formula.__code__.co_argcount
    types = types or (by_ufunc(numpy) if numpy is not None else floating)

    def written_out(*args: ir.Expr) -> ir.Expr:
        return _as_dtype(formula(*args), types(tuple(x.dtype for x in args))[-1])

    return ScalarFunction(
        name, arity, types, formula, c or written_out, sympy or formula,
        None if derivatives is None else tuple(derivatives), doc, source, domain=domain, formula=formula, ufunc=numpy,
    )  # fmt: skip


def _as_dtype(x: Any, dtype: str) -> ir.Expr:
    expr = ir.lift(x, dtype)
    return expr if expr.dtype == dtype else ir.Cast(dtype, expr)


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


def choosing(dtypes: tuple[str | Weak, ...]) -> tuple[str, ...]:
    """The first operand is taken as a truth value; the others and the result in the dtype that holds them."""
    return ("bool", *same(dtypes[1:]))


def with_floatX(rule: TypeRule) -> TypeRule:
    """The rule, but that a Python float counts as `config.floatX` beside integers, truth values and other numbers."""

    @wraps(rule)
    def types(dtypes: tuple[str | Weak, ...]) -> tuple[str, ...]:
        computed = rule(dtypes)
        if float not in dtypes or computed[-1] != "float64" or config.floatX == "float64":
            return computed
        if any(given in FLOATS and dtype == "float64" for given, dtype in zip(dtypes, computed, strict=False)):
            return computed
        return tuple(config.floatX if dtype == "float64" else dtype for dtype in computed)

    return types


@cache
def by_ufunc(ufunc: np.ufunc) -> TypeRule:
    """The rule of a numpy ufunc, with float32 for numpy's float16; it raises DtypeError where numpy has no loop."""

    @cache
    def rule(dtypes: tuple[str | Weak, ...]) -> tuple[str, ...]:
        operands = tuple(x if isinstance(x, type) else np.dtype(x) for x in dtypes)
        try:
            loop = ufunc.resolve_dtypes((*operands, *[None] * ufunc.nout))
        except TypeError:
            named = ", ".join(x.__name__ if isinstance(x, type) else x for x in dtypes)
            raise DtypeError(f"{ufunc.__name__} is not defined for {named}") from None
        return tuple("float32" if dtype.char == "e" else str(dtype) for dtype in loop)

    rule.__doc__ = f"As numpy.{ufunc.__name__} has them."
    return rule


@cache
def _result_type(dtypes: tuple[str | Weak, ...]) -> str:
    return str(np.result_type(*[x(0) if isinstance(x, type) else np.dtype(x) for x in dtypes]))


def _shown(x: Any) -> str:
    """An operand that is no variable, as messages show it."""
    text = repr(x) if x is None or isinstance(x, (bool, int, float, str)) else ""
    text = text if 0 < len(text) <= 40 else f"{type(x).__name__}"
    return text.replace("{", "{{").replace("}", "}}")


def _documentation(function: ScalarFunction) -> str:
    lines = [function.doc, "", "Shapes:  operands broadcast together as in numpy"] if function.doc else []
    if function.doc and function.types.__doc__:
        lines.append(f"Dtypes:  {function.types.__doc__.splitlines()[0]}")
    if function.source:
        lines.append(f"Source:  {function.source}")
    return "\n".join(lines)
