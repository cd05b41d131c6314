"""What can be written on a variable: operators, methods and attributes, each looked up in a table that `ops` fills.

A variable's `x + y` needs the op `add`, and ops need variables; the empty table here is where the knot is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import signature
from types import MethodType
from typing import Any

import numpy as np

SYNTAX: dict[str, Callable[..., Any]] = {}
UFUNCS: dict[str, Callable[..., Any]] = {}  # numpy's name of a ufunc -> the symbolic function
FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {}  # numpy's function -> a symbolic one of its arguments


class Syntax:
    """The operators and methods of a variable; see the function of the same name in `symgraph.tensor` for each."""

    __slots__ = ()

    def __add__(self, other: Any) -> Any:
        return SYNTAX["add"](self, other)

    def __radd__(self, other: Any) -> Any:
        return SYNTAX["add"](other, self)

    def __sub__(self, other: Any) -> Any:
        return SYNTAX["sub"](self, other)

    def __rsub__(self, other: Any) -> Any:
        return SYNTAX["sub"](other, self)

    def __mul__(self, other: Any) -> Any:
        return SYNTAX["mul"](self, other)

    def __rmul__(self, other: Any) -> Any:
        return SYNTAX["mul"](other, self)

    def __truediv__(self, other: Any) -> Any:
        return SYNTAX["true_divide"](self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return SYNTAX["true_divide"](other, self)

    def __floordiv__(self, other: Any) -> Any:
        return SYNTAX["floor_divide"](self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return SYNTAX["floor_divide"](other, self)

    def __mod__(self, other: Any) -> Any:
        return SYNTAX["mod"](self, other)

    def __rmod__(self, other: Any) -> Any:
        return SYNTAX["mod"](other, self)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __pow__(self, other: Any) -> Any:
        return SYNTAX["power"](self, other)

    def __rpow__(self, other: Any) -> Any:
        return SYNTAX["power"](other, self)

    def __matmul__(self, other: Any) -> Any:
        return SYNTAX["matmul"](self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return SYNTAX["matmul"](other, self)

    def __neg__(self) -> Any:
        return SYNTAX["neg"](self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return SYNTAX["abs"](self)

    def __invert__(self) -> Any:
        return SYNTAX["invert"](self)

    def __and__(self, other: Any) -> Any:
        return SYNTAX["bitwise_and"](self, other)

    def __rand__(self, other: Any) -> Any:
        return SYNTAX["bitwise_and"](other, self)

    def __or__(self, other: Any) -> Any:
        return SYNTAX["bitwise_or"](self, other)

    def __ror__(self, other: Any) -> Any:
        return SYNTAX["bitwise_or"](other, self)

    def __xor__(self, other: Any) -> Any:
        return SYNTAX["bitwise_xor"](self, other)

    def __rxor__(self, other: Any) -> Any:
        return SYNTAX["bitwise_xor"](other, self)

    def __lshift__(self, other: Any) -> Any:
        return SYNTAX["left_shift"](self, other)

    def __rlshift__(self, other: Any) -> Any:
        return SYNTAX["left_shift"](other, self)

    def __rshift__(self, other: Any) -> Any:
        return SYNTAX["right_shift"](self, other)

    def __rrshift__(self, other: Any) -> Any:
        return SYNTAX["right_shift"](other, self)

    def __lt__(self, other: Any) -> Any:
        return SYNTAX["lt"](self, other)

    def __le__(self, other: Any) -> Any:
        return SYNTAX["le"](self, other)

    def __gt__(self, other: Any) -> Any:
        return SYNTAX["gt"](self, other)

    def __ge__(self, other: Any) -> Any:
        return SYNTAX["ge"](self, other)

    def __getitem__(self, index: Any) -> Any:
        return SYNTAX["getitem"](self, index)

    def __iter__(self) -> Iterator[Any]:
        return SYNTAX["iterate"](self)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            f"{self} is a symbol and cannot be changed: T.set_subtensor(x[i], value) is a new one, with a part replaced"
        )

    def __len__(self) -> int:
        raise TypeError(f"the length of {self} is a symbol: write x.shape[0], not len(x)")

    def __bool__(self) -> bool:
        raise TypeError(
            f"{self} is a symbol and has no truth value: write T.switch(condition, a, b), not if or and/or; "
            "or `is None`, if you ask whether it was given"
        )

    def __contains__(self, item: Any) -> bool:
        raise TypeError(f"whether {item} is in {self} depends on its value: write T.any(T.eq(x, y)), not y in x")

    def __float__(self) -> float:
        raise self._no_number("number: write T.exp(x), not math.exp(x), and x.astype('float64'), not float(x)")

    def __int__(self) -> int:
        raise self._no_number("number: write x.astype('int64'), not int(x)")

    def __index__(self) -> int:
        raise self._no_number("integer: write T.arange(n), not range(n), and T.as_tensor(values)[n], not values[n]")

    def _no_number(self, remedy: str) -> TypeError:
        return TypeError(f"{self} is a symbol and no {remedy}; its value is .eval({{input: value}})")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        function = UFUNCS.get(ufunc.__name__)
        if "out" in options:
            raise TypeError(f"an array cannot take up the symbol {self}: write a = a + x, not a += x or out=a")
        if function is None or method != "__call__" or options:
            how = "" if method == "__call__" else f".{method}"
            raise self._refused_by(f"numpy.{ufunc.__name__}{how}", function is not None and method == "__call__")
        return function(*inputs)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, options: Any) -> Any:
        symbolic = FUNCTIONS.get(function)
        try:
            if symbolic is not None:
                signature(symbolic).bind(*args, **options)
        except TypeError:
            symbolic = None
        if symbolic is None:
            raise self._refused_by(f"{function.__module__}.{function.__name__}", function in FUNCTIONS)
        return symbolic(*args, **options)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise TypeError(
            f"{self} is a symbol and no array: use a function of symgraph.tensor, or the value of the symbol, "
            ".eval({input: value})"
        )

    def _refused_by(self, name: str, known: bool) -> TypeError:
        """The error of a numpy function; `known` if it takes symbols with other arguments."""
        return TypeError(
            f"{name} does not take symbols{' with these arguments' if known else ''}, and {self} is one: "
            "use a function of symgraph.tensor, or the value of the symbol, .eval({input: value})"
        )

    @property
    def shape(self) -> Any:
        """The lengths, as an int64 vector of known length `ndim`; `x.shape[i]` is a scalar."""
        return SYNTAX["shape"](self)

    @property
    def size(self) -> Any:
        """The number of elements, as an int64 scalar."""
        return SYNTAX["size"](self)

    @property
    def T(self) -> Any:
        """The axes in reverse order."""
        return SYNTAX["transpose"](self)

    def __getattr__(self, name: str) -> Any:
        function = SYNTAX.get(name) if name in METHODS else None
        if function is None:
            raise AttributeError(f"a {type(self).__name__} has no attribute {name!r}")
        return MethodType(function, self)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *METHODS})


METHODS = frozenset(
    """
    sum prod mean var std max min all any argmax argmin norm dot
    dimshuffle transpose moveaxis swapaxes squeeze expand_dims reshape flatten ravel broadcast_to specify_shape
    repeat split take set inc astype fill zeros_like ones_like copy eval
    clip round ceil floor trunc abs sign exp exp2 expm1 log log1p log2 log10 sqrt sqr
    sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh deg2rad rad2deg
    """.split()
)
