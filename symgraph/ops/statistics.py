"""Mean, variance, standard deviation and norm, made of reductions."""

from __future__ import annotations

import builtins
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from symgraph.errors import DtypeError
from symgraph.graph.node import Example, Op, Variable, as_variable
from symgraph.graph.types import TensorType
from symgraph.ops.creation import dtype_name
from symgraph.ops.elementary import abs, maximum, neq, power, sqr, sqrt, true_divide
from symgraph.ops.elementwise import cast
from symgraph.ops.joining import lengths
from symgraph.ops.layout import product
from symgraph.ops.moments import are_leading, moments
from symgraph.ops.reduce import Reduction, accumulator, max, min, reduced_axes, sum, with_axes


class SquaredDeviations(Reduction, Op):
    """The sum of squared deviations from the mean, over some axes.

    Shapes:  x (..., d, ...) -> (...), the axes removed; 0 over no elements
    Dtypes:  float32, float64
    """

    def infer_type(self, *types: TensorType) -> TensorType:
        if not types[0].is_float:
            raise DtypeError(f"deviations from a mean are floats, and {{0}} is {types[0].dtype}")
        return super().infer_type(*types)

    def reference(self, x: np.ndarray) -> np.ndarray:
        wide = x.astype(accumulator(x.dtype.name))
        count = math.prod(x.shape[axis] for axis in self.axes)
        with np.errstate(all="ignore"):
            deviations = wide - wide.sum(axis=self.axes, keepdims=True) / builtins.max(count, 1)
            return np.asarray((deviations**2).sum(axis=self.axes)).astype(x.dtype)

    def gradient(self, x: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        return [2 * g.expand_dims(self.axes) * (x - mean(x, self.axes, keepdims=True))]

    def expand(self, x: Variable) -> Variable:
        if are_leading(self.axes):
            return moments(x, self.axes)[1]
        return sum(sqr(x - mean(x, self.axes, keepdims=True)), self.axes)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(2, 3, 4))
        for axes in ((0,), (1,), (2,), (0, 1), (0, 2), (0, 1, 2)):
            yield cls(axes), [x]
        for array in (x[0, 0], x[0, 0, :1], x[0, 0, :0], x[:0, 0], x[0, :, :0], rng.normal(size=(150, 2))):
            yield cls((0,)), [array]


def mean(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Variable:
    """The mean over all axes, one, or several, as numpy.mean; NaN for no elements.

    Shapes: the axes are removed, or with `keepdims` have length 1.
    Dtypes: floats stay, integers and bool give float64; or what `dtype` says.
    Raises AxisError for an axis that is out of range or given twice.
    """
    x = as_variable(x)
    kind = (x.dtype if x.type.is_float else "float64") if dtype is None else dtype_name(dtype)
    axes = reduced_axes(axis, x)
    return with_axes(true_divide(sum(x, axes, kind), _as_float(_count(x, axes), kind)), axes, keepdims)


def _count(x: Variable, axes: tuple[int, ...]) -> Any:
    """The number of elements over some axes: an int, or an int64 scalar."""
    return product(lengths(x)[axis] for axis in axes)


def _as_float(n: Any, dtype: str) -> Any:
    return cast(n, dtype) if isinstance(n, Variable) else float(n)


def var(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Variable:
    """The variance over all axes, one, or several, as numpy.var: squared deviations from the mean over n - ddof.

    Shapes: the axes are removed, or with `keepdims` have length 1. Dtypes: floats stay, integers and bool give float64.
    Raises AxisError for an axis that is out of range or given twice.
    """
    x = as_variable(x)
    x = x if x.type.is_float else cast(x, "float64")
    axes = reduced_axes(axis, x)
    squares = with_axes(SquaredDeviations(axes)(x), axes, keepdims)
    n = _count(x, axes)
    if ddof:
        n = maximum(n - ddof, 0) if isinstance(n, Variable) else builtins.max(n - ddof, 0)
    return true_divide(squares, _as_float(n, squares.dtype))


def std(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Variable:
    """The standard deviation, the root of the variance, as numpy.std; everything else as for `var`."""
    return sqrt(var(x, axis, ddof, keepdims))


def norm(x: Any, ord: float | None = None, axis: Any = None, keepdims: bool = False) -> Variable:
    """The vector norm over all axes, one, or several: (sum |x|^ord)^(1/ord), Euclidean by default.

    ord: None or 2; 1; inf or -inf for the largest or smallest |x|; 0 for how many are not 0; or any other number
    Shapes: the axes are removed, or with `keepdims` have length 1. Dtypes: floats stay, integers give float64.
    Source: numpy.linalg.norm of vectors; also of more axes, whose elements count as one vector (Theano's).
    """
    x = as_variable(x)
    x = x if x.type.is_float else cast(x, "float64")
    if ord is None or ord == 2:
        return sqrt(sum(sqr(x), axis, keepdims=keepdims))
    if ord == 1:
        return sum(abs(x), axis, keepdims=keepdims)
    if math.isinf(ord):
        return (max if ord > 0 else min)(abs(x), axis, keepdims)
    if ord == 0:
        return sum(neq(x, 0), axis, x.dtype, keepdims)
    return power(sum(power(abs(x), ord), axis, keepdims=keepdims), 1 / ord)
