"""From sympy to scalar functions and back: derivatives not stated by hand, and functions given by an expression.

sympy takes 0.6 s to import, so it is imported only where a function here is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, reduce
from typing import Any

from symgraph.errors import GradientError
from symgraph.ops import elementary
from symgraph.ops.elementary import (
    add,
    eq,
    exp,
    gamma,
    gt,
    logical_and,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    mul,
    neg,
    polygamma,
    power,
    psi,
    reciprocal,
    sqr,
    sqrt,
    sub,
    switch,
    true_divide,
)
from symgraph.ops.scalar import Derivative, ScalarFunction, composite, floating, predicate

# Functions of sympy that mean the same, by the names of their classes; those that are named alike need no entry.
_RENAMED = {
    "Abs": "abs", "ceiling": "ceil", "loggamma": "gammaln", "Mod": "mod",
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2",
    "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
    "StrictLessThan": "lt", "LessThan": "le", "StrictGreaterThan": "gt", "GreaterThan": "ge",
    "Equality": "eq", "Unequality": "neq", "Not": "logical_not",
}  # fmt: skip
_ALIKE = frozenset("exp log sin cos tan sinh cosh tanh sign floor erf erfc gamma".split())
_CHAINS = {
    "Max": maximum, "Min": minimum, "And": logical_and, "Or": logical_or, "Xor": logical_xor,
}  # fmt: skip
_WRITTEN_OUT: dict[str, Callable[..., Any]] = {
    "cot": lambda x: reciprocal(elementary.tan(x)),
    "sec": lambda x: reciprocal(elementary.cos(x)),
    "csc": lambda x: reciprocal(elementary.sin(x)),
    "coth": lambda x: reciprocal(elementary.tanh(x)),
    "sech": lambda x: reciprocal(elementary.cosh(x)),
    "csch": lambda x: reciprocal(elementary.sinh(x)),
    "factorial": lambda x: gamma(add(x, 1)),
    "Heaviside": lambda x, middle: switch(gt(x, 0), 1.0, switch(eq(x, 0), middle, 0.0)),
    "ITE": switch,
    "ExprCondPair": lambda value, condition: (value, condition),
}

Step = tuple[Sequence[Any], Callable[..., Any]]  # sympy operands, and what is made of their values


def from_sympy(expression: Any, symbols: Sequence[Any]) -> Callable[..., Any]:
    """A sympy expression as a formula: a function of one argument for each symbol, of numbers, variables or C scalars.

    Common subexpressions are computed once. An expression without symbols gives a Python number.
    Raises TypeError for a function that symgraph lacks or a complex number, ValueError for a symbol not in `symbols`.
    """
    steps = _steps(expression, symbols)

    def formula(*args: Any) -> Any:
        values = dict(zip(symbols, args, strict=True))
        for node, (operands, build) in steps.items():
            values[node] = build(*[values[x] for x in operands])
        return values[expression]

    return formula


@cache
def derivatives_by_sympy(function: ScalarFunction) -> tuple[Derivative, ...]:
    """The derivatives of a scalar function by each argument, as sympy takes them of its form; 0 at steps and kinks.

    Raises GradientError for a function that has no sympy form; a derivative raises TypeError when it is called and
    symgraph cannot express it.
    """
    import sympy

    if function.sympy is None:
        raise GradientError(f"{function.name} has neither a derivative nor a sympy form to take it of")
    symbols = [sympy.Dummy(f"x{k}", real=True) for k in range(function.arity)]
    expression = sympy.sympify(function.sympy(*symbols))

    def by(symbol: Any) -> Derivative:
        taken = cache(lambda: from_sympy(_derivative(expression, symbol), symbols))  # not before it is needed
        return lambda *args: taken()(*args[:-1])

    return tuple(by(symbol) for symbol in symbols)


_DEFINED: dict[str, tuple[Any, tuple[Any, ...], ScalarFunction]] = {}


def scalar_function(name: str, expression: Any, arguments: Sequence[Any] | None = None) -> ScalarFunction:
    """A function given by a sympy expression, with its derivatives and its C.

    expression: real, of one or more sympy symbols; or a condition, which gives a bool and has no derivative
    arguments: the symbols in the order of the function's arguments; sorted by name where left out

    Shapes: operands broadcast together. Dtypes: the float dtype that holds them; a condition compares in the dtype that
    holds them. Defining a name again with the same expression returns the function there is.
    Raises TypeError for what is no expression, or one with a function that symgraph lacks; ValueError for a name
    that is taken, or arguments other than the symbols of the expression.

        >>> x = sympy.Symbol("x")
        >>> swish = scalar_function("swish", x / (1 + sympy.exp(-x)))
    """
    import sympy

    if not isinstance(expression, (sympy.Expr, sympy.logic.boolalg.Boolean)):
        raise TypeError(f"{name} needs a sympy expression, not {type(expression).__name__}")
    free = expression.free_symbols
    symbols = tuple(arguments if arguments is not None else sorted(free, key=lambda s: s.name))
    if set(symbols) != free or len(symbols) != len(free) or not symbols:
        raise ValueError(f"{name} needs each symbol of {expression} as an argument, once, and no other: not {symbols}")
    if name in _DEFINED and _DEFINED[name][:2] == (expression, symbols):
        return _DEFINED[name][2]
    is_condition = isinstance(expression, sympy.logic.boolalg.Boolean)
    function = composite(
        name, from_sympy(expression, symbols), None if is_condition else (), arity=len(symbols),
        types=predicate if is_condition else floating,
        sympy=lambda *args: expression.xreplace(dict(zip(symbols, args, strict=True))), doc=f"{expression}.",
    )  # fmt: skip
    _DEFINED[name] = expression, symbols, function
    return function


def _derivative(expression: Any, symbol: Any) -> Any:
    """The derivative by a symbol; steps are flat, where sympy has an impulse for sign and no derivative for floor."""
    import sympy

    frozen: dict[Any, Any] = {}

    def freeze(*args: Any, function: Any) -> Any:
        step = sympy.Dummy(real=True)
        frozen[step] = function(*args)
        return step

    expression = expression.rewrite(sympy.Mod, sympy.floor)
    for step in sympy.floor, sympy.ceiling:
        expression = expression.replace(step, lambda *args, step=step: freeze(*args, function=step))
    derivative = expression.diff(symbol).replace(sympy.DiracDelta, lambda *args: sympy.S.Zero)
    for step, value in reversed(frozen.items()):
        derivative = derivative.xreplace({step: value})
    return derivative


def _steps(expression: Any, symbols: Sequence[Any]) -> dict[Any, Step]:
    """What to compute, operands first; the result is the last."""
    steps: dict[Any, Step] = {}
    waiting: dict[Any, Step] = {}
    stack = [expression]
    while stack:
        node = stack[-1]
        if node in steps or node in symbols:
            stack.pop()
            continue
        if node not in waiting:
            waiting[node] = _step(node)
            stack.extend(waiting[node][0])
            continue
        steps[node] = waiting[node]
        stack.pop()
    return steps


def _step(node: Any) -> Step:
    import sympy

    if node.is_Symbol:
        raise ValueError(f"the symbol {node} is not an argument")
    if not node.free_symbols and node.func.__name__ != "ExprCondPair":
        number = _number(node)
        return (), lambda: number
    match node.func.__name__:
        case "Add":
            return _sum(node)
        case "Mul":
            return _product(node)
        case "Pow":
            return _power(*node.args)
        case "Piecewise":
            return node.args, _piecewise
        case "polygamma" if node.args[0] == sympy.S.Zero:
            return node.args[1:], psi
        case "polygamma":
            return node.args, polygamma
        case name if name in _CHAINS:
            return node.args, lambda *values: reduce(_CHAINS[name], values)
        case name if name in _WRITTEN_OUT:
            return node.args, _WRITTEN_OUT[name]
        case name if name in _ALIKE or name in _RENAMED:
            return node.args, getattr(elementary, _RENAMED.get(name, name))
        case name:
            raise TypeError(f"symgraph has no scalar function for sympy's {name}, in {node}")


def _number(node: Any) -> bool | int | float:
    import sympy

    if isinstance(node, sympy.logic.boolalg.BooleanAtom):
        return bool(node)
    if node.is_Integer and -(2**63) <= int(node) < 2**63:
        return int(node)
    value = sympy.N(node, 25)
    if value is sympy.zoo or not (value.is_extended_real or value is sympy.nan):
        raise TypeError(f"{node} is no real number")
    return float(value)


def _is_negative(term: Any) -> bool:
    first = term.args[0] if term.is_Mul else term
    return bool(first.is_Number and first.is_negative)


def _sum(node: Any) -> Step:
    """Terms with a minus sign are subtracted, after the others."""
    added = [term for term in node.args if not _is_negative(term)]
    subtracted = [-term for term in node.args if _is_negative(term)]

    def build(*values: Any) -> Any:
        if not added:
            return neg(reduce(add, values))
        return reduce(sub, values[len(added) :], reduce(add, values[: len(added)]))

    return added + subtracted, build


def _product(node: Any) -> Step:
    """Factors with negative exponents are divided by."""
    import sympy

    sign, factors = (-1, node.args[1:]) if node.args[0] == sympy.S.NegativeOne else (1, node.args)
    below = [x for x in factors if x.is_Pow and x.exp.is_Rational and x.exp.is_negative]
    above = [x for x in factors if x not in below]
    inverses = [sympy.Pow(x.base, -x.exp) for x in below]

    def build(*values: Any) -> Any:
        numerator = reduce(mul, values[: len(above)]) if above else 1
        value = true_divide(numerator, reduce(mul, values[len(above) :])) if below else numerator
        return neg(value) if sign < 0 else value

    return [*above, *inverses], build


def _power(base: Any, exponent: Any) -> Step:
    import sympy

    if exponent.is_Rational and exponent.is_negative:
        return [sympy.Pow(base, -exponent)], lambda x: true_divide(1, x)
    if exponent == 2:
        return [base], sqr
    if exponent == sympy.S.Half:
        return [base], sqrt
    if base is sympy.E:
        return [exponent], exp
    return [base, exponent], power


def _piecewise(*pieces: tuple[Any, Any]) -> Any:
    """The value of the first condition that holds; NaN where none does."""
    value: Any = float("nan")
    for otherwise, condition in reversed(pieces):
        value = otherwise if condition is True else switch(condition, otherwise, value)
    return value
