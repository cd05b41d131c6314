"""A scalar function over arrays: broadcasting and its gradient, once for all of them; and changes of dtype."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from codegen import ir
from symgraph.errors import DtypeError, ShapeError
from symgraph.graph.node import (
    Apply,
    Constant,
    Example,
    Op,
    Operand,
    Placed,
    Same,
    Sized,
    Variable,
    Written,
    as_variable,
)
from symgraph.graph.printing import infix
from symgraph.graph.types import DTYPES, TensorType, broadcast_shapes, format_shape
from symgraph.graph.values import as_constant
from symgraph.latex import scalar_latex
from symgraph.ops.elementary import switch
from symgraph.ops.scalar import NODE_BUILDER, SCALAR_FUNCTIONS, ScalarFunction, Weak


@dataclass(frozen=True)
class Elementwise(Op):
    """A scalar function of arrays, element by element, broadcasting as numpy does.

    Shapes:  operands broadcast together; an unknown length is taken to equal its partner
    Dtypes:  those of the scalar function's type rule; operands are cast when the node is built
    Raises:  ShapeError where known lengths differ and neither is 1
    """

    function: ScalarFunction

    @property
    def label(self) -> str:
        """The function's name."""
        return self.function.name

    def format(self, *operands: Written) -> str | tuple[str, str]:
        symbol = self.function.infix
        return infix(symbol, *operands) if symbol else super().format(*operands)

    def latex(self, *operands: Written) -> str | tuple[str, str]:
        return scalar_latex(self.function.name, *operands)

    def infer_type(self, *types: TensorType) -> TensorType:
        dtype = self.function.types(tuple(t.dtype for t in types))[-1]
        try:
            return TensorType(dtype, broadcast_shapes(t.shape for t in types))
        except ValueError as error:
            listed = " and ".join(f"{{{k}}}" for k in range(len(types)))
            raise type(error)(f"cannot {self.function.name} {listed}: {error}") from None

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        dtype = self.function.types(tuple(str(a.dtype) for a in arrays))[-1]
        with np.errstate(all="ignore"):
            return np.asarray(self.function.numeric(*arrays)).astype(dtype, copy=False)

    def gradient(self, *args: Variable) -> Sequence[Variable | None]:
        *inputs, out, g = args
        if self.function.derivatives is None:
            return [None] * len(inputs)
        return [
            _share(derivative(*inputs, out), x, g) if x.type.is_float and derivative is not None else None
            for x, derivative in zip(inputs, derivatives(self.function), strict=True)
        ]

    def shape(self, same: Same, *inputs: Sized) -> Sequence[Variable]:
        rank = max((len(x.shape) for x in inputs), default=0)
        lengths: list[Variable | None] = [None] * rank
        for x in inputs:
            for axis, (n, known) in enumerate(zip(x.shape, x.variable.type.shape, strict=True), rank - len(x.shape)):
                current = lengths[axis]
                if known != 1:
                    lengths[axis] = n if current is None else same(current, n)
        return [n if n is not None else ONE for n in lengths]

    def element(self, index: tuple[ir.Expr, ...], *inputs: Operand) -> ir.Expr:
        return self.function.c(*[x[align(index, x)] for x in inputs])

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        for function in SCALAR_FUNCTIONS.values():
            ranges = function.domain or ((-3.0, 3.0),) * function.arity
            for shape in ((2, 3), ()):
                fixed = [low for low, high in ranges if low == high]  # a parameter, as of polygamma
                numbers = [rng.uniform(low, high, shape) for low, high in ranges[len(fixed) :]]
                dtypes = sampled(function)[len(fixed) :]
                yield partial(function, *fixed), [_sample(x, dtype) for x, dtype in zip(numbers, dtypes, strict=True)]


def sampled(function: ScalarFunction) -> tuple[str, ...]:
    """The dtypes of a function's operands when its arguments are floats; or integers, where it takes no floats."""
    try:
        return function.types(("float64",) * function.arity)[:-1]
    except DtypeError:
        return function.types(("int64",) * function.arity)[:-1]


def _sample(x: np.ndarray, dtype: str) -> np.ndarray:
    return np.asarray(x > 0 if dtype == "bool" else np.rint(x) if dtype == "int64" else x).astype(dtype)


ONE = Constant(as_constant(1))


def align(index: tuple[ir.Expr, ...], x: Operand | Placed) -> tuple[ir.Expr, ...]:
    """The part of a result's index that picks an operand's element: right-aligned, 0 along lengths of 1."""
    own = index[len(index) - x.type.ndim :]
    return tuple(ir.index(0) if n == 1 else i for i, n in zip(own, x.type.shape, strict=True))


def _share(factor: Any, x: Variable, g: Variable) -> Variable:
    """The gradient that reaches `x`, given its factor; never 0 times an infinite `g`, which would be NaN."""
    if not isinstance(factor, Variable):
        if factor == 0:
            return x.zeros_like()
        return unbroadcast(g if factor == 1 else -g if factor == -1 else g * factor, x)
    return unbroadcast(switch(factor, g, 0) if factor.dtype == "bool" else g * cast(factor, g.dtype), x)


def derivatives(function: ScalarFunction) -> Sequence[Any]:
    """The stated derivatives of a function, or those that sympy takes of its formula."""
    if function.derivatives:
        return function.derivatives
    from symgraph.ops.sympy_bridge import derivatives_by_sympy

    return derivatives_by_sympy(function)


def build(function: ScalarFunction, *args: Any) -> Variable:
    """The node of a scalar function: operands cast to the dtypes it computes in, Python numbers to their partners'.

    Raises DtypeError where the function has no such dtypes or a Python number does not fit, ShapeError where the shapes
    do not broadcast.
    """
    if function.name in MIRRORED and isinstance(args[0], Constant) and not isinstance(args[1], Constant):
        function, args = SCALAR_FUNCTIONS[MIRRORED[function.name]], args[::-1]
    kinds = tuple(_kind(x) for x in args)
    operands = [x if isinstance(kind, type) else as_variable(x) for x, kind in zip(args, kinds, strict=True)]
    dtypes = function.types(tuple(kind or x.dtype for x, kind in zip(operands, kinds, strict=True)))
    cast_operands = tuple(cast(x, dtype) for x, dtype in zip(operands, dtypes, strict=False))
    return Apply(Elementwise(function), cast_operands).output


# A constant stands second in a comparison. Python itself writes `x < constant` as `constant > x`, for the class of the
# latter is a subclass of the former's.
MIRRORED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}

NODE_BUILDER.append(build)


def _kind(x: Any) -> Weak | None:
    if type(x) is int:
        return int
    return float if type(x) is float else None


@dataclass(frozen=True)
class Cast(Op):
    """A change of dtype, with the meaning of numpy's astype.

    Shapes:  any, kept
    Dtypes:  any -> dtype; a float becomes an integer by dropping its fraction
    """

    dtype: str

    @property
    def label(self) -> str:
        """The dtype, as in `float32(x)`."""
        return self.dtype

    def infer_type(self, x: TensorType) -> TensorType:
        return TensorType(self.dtype, x.shape)

    def reference(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return x.astype(self.dtype)

    def gradient(self, x: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        return [cast(g, x.dtype) if x.type.is_float and out.type.is_float else None]

    def element(self, index: tuple[ir.Expr, ...], x: Operand) -> ir.Expr:
        value = x[index]
        return ir.Cast(self.dtype, value)

    def latex(self, x: Written) -> str | None:
        """Nothing but the operand where only the way changes in which numbers are stored."""
        return f"{x:atom}" if self.dtype.startswith("float") else None

    @classmethod
    def examples(cls) -> Iterable[Example]:
        values = np.array([[0.0, 1.5, -2.5], [3.0, 100.75, 7.0]])
        for dtype in DTYPES:
            yield (lambda x, dtype=dtype: cast(x, dtype)), [np.abs(values) if dtype.startswith("u") else values]


def cast(x: Any, dtype: str) -> Variable:
    """`x` in another dtype, with the meaning of numpy's astype; `x` itself where it has that dtype.

    Shapes: any, kept. dtype: a numpy name, or "floatX" for `config.floatX`.
    Raises DtypeError for an unknown dtype, or for a Python number that does not fit.
    """
    if isinstance(x, Variable):
        if x.dtype == dtype:
            return x
        if isinstance(x, Constant):
            return Constant(as_constant(x.data, dtype), x.name, x.origin)
        return Cast(dtype)(x)
    try:
        return Constant(as_constant(x, dtype))
    except OverflowError as error:
        raise DtypeError(f"{x} does not fit in {dtype}: {error}") from None


@dataclass(frozen=True)
class Unbroadcast(Op):
    """The sum over the axes along which the second operand was stretched: the gradient of broadcasting.

    Shapes:  g, x -> x.shape; leading axes that x lacks and lengths of 1 in x are summed over
    Dtypes:  that of g, a float
    """

    def infer_type(self, g: TensorType, x: TensorType) -> TensorType:
        if not g.is_float:
            raise DtypeError(f"a gradient is a float, and {{0}} is {g.dtype}")
        if broadcast_shapes([g.shape, x.shape])[: g.ndim - x.ndim] != g.shape[: g.ndim - x.ndim] or g.ndim < x.ndim:
            raise ShapeError(f"{{0}} is not a broadcast of {format_shape(x.shape)}")
        own = g.shape[g.ndim - x.ndim :]
        return TensorType(g.dtype, tuple(1 if n is None and m == 1 else n for n, m in zip(x.shape, own, strict=True)))

    def reference(self, g: np.ndarray, x: np.ndarray) -> np.ndarray:
        extra = g.ndim - x.ndim
        stretched = tuple(k for k in range(g.ndim) if k < extra or x.shape[k - extra] == 1 != g.shape[k])
        return g.sum(axis=stretched, keepdims=True, dtype=g.dtype).reshape(x.shape)

    def gradient(self, g: Variable, x: Variable, out: Variable, gg: Variable) -> Sequence[Variable | None]:
        return [gg.broadcast_to(g.shape), None]

    def shape(self, same: Same, g: Sized, x: Sized) -> Sequence[Variable]:
        for n, m, known in zip(g.shape[len(g.shape) - len(x.shape) :], x.shape, x.variable.type.shape, strict=True):
            if known != 1:
                same(n, m)
        return x.shape

    def expand(self, g: Variable, x: Variable) -> Variable:
        extra = g.ndim - x.ndim
        lengths = zip(g.type.shape[extra:], x.type.shape, strict=True)
        stretched = tuple(k for k, (n, m) in enumerate(lengths, extra) if m == 1 != n)
        total = g.sum(axis=stretched, keepdims=True) if stretched else g
        result = total.sum(axis=tuple(range(extra))) if extra else total
        return result.specify_shape(x.type.shape)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        for shape in ((2, 3), (3,), (1, 3), (2, 1), (1, 1), ()):
            yield (lambda g, x: Unbroadcast()(g, x)), [rng.normal(size=(2, 3)), rng.normal(size=shape)]


def unbroadcast(g: Variable, x: Variable) -> Variable:
    """`g` summed back to the shape of `x`; `g` itself where the shapes are known to be equal."""
    if g.type.shape == x.type.shape and None not in g.type.shape:
        return g
    if g.owner is not None and g.type.ndim == x.type.ndim == 0:
        return g
    return Unbroadcast()(g, x)
