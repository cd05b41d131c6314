"""Reductions over axes: sum, prod, max, min, all, any, argmax, argmin.

An op drops its axes; `keepdims` is an `expand_dims` on top.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from codegen import ir
from codegen.operations import identity
from symgraph.errors import DtypeError, ShapeError
from symgraph.graph.node import Constant, Example, Op, Operand, Same, Sized, Variable, Written, as_variable
from symgraph.graph.types import FLOATS, TensorType
from symgraph.latex import over
from symgraph.ops.axes import axes_of
from symgraph.ops.creation import dtype_name, eye, zeros_like
from symgraph.ops.elementary import eq, gt, neq, switch
from symgraph.ops.elementwise import cast
from symgraph.ops.joining import lengths
from symgraph.ops.layout import product


def sum_dtype(dtype: str) -> str:
    """The dtype of a sum or product: floats stay, integers and bool take 64 bits, as in numpy."""
    return dtype if dtype in FLOATS else "uint64" if dtype.startswith("uint") else "int64"


def accumulator(dtype: str) -> str:
    """The dtype a sum is added up in: float32 in float64, so that its error does not grow with the length.

    Compiled loops make it of short sums in float32 (lower/lanes.py).
    """
    return "float64" if dtype in FLOATS else sum_dtype(dtype)


@dataclass(frozen=True)
class Reduction:
    """What reductions share: `axes`, in order, are combined and dropped.

    Equality and hash come from here; a reduction adds no fields, and is decorated no more: each costs import time.
    """

    axes: tuple[int, ...]
    reduced = True

    def kept(self, ndim: int) -> list[int]:
        """The axes of the operand that are left."""
        return [axis for axis in range(ndim) if axis not in self.axes]

    def infer_type(self, *types: TensorType) -> TensorType:
        (x,) = types
        if builtins.any(not 0 <= axis < x.ndim for axis in self.axes):
            raise ShapeError(f"{{0}} has rank {x.ndim}, and no axes {self.axes}")
        return TensorType(self.result_dtype(x.dtype), tuple(x.shape[axis] for axis in self.kept(x.ndim)))

    def result_dtype(self, dtype: str) -> str:
        """The dtype of the result for an operand's."""
        return dtype

    def shape(self, same: Same, *inputs: Sized) -> Sequence[Variable]:
        (x,) = inputs
        return [x.shape[axis] for axis in self.kept(len(x.shape))]

    def combine(self, dtype: str, kind: str, body: ir.Expr, index: tuple[ir.Expr, ...], x: Operand) -> ir.Expr:
        """`body` combined over the axes."""
        over = tuple(index[axis] for axis in self.axes)
        return ir.Reduce(dtype, kind, body, over, tuple(x.extents[axis] for axis in self.axes))  # type: ignore[arg-type]


class NeedsElements(Reduction):
    """A reduction without a value for no elements."""

    def infer_type(self, *types: TensorType) -> TensorType:
        (x,) = types
        result = super().infer_type(x)
        if builtins.any(x.shape[axis] == 0 for axis in self.axes):
            raise ShapeError(f"the {type(self).__name__.lower()} of no elements: {{0}} over axis {self.axes}")
        return result

    def checks(self, *inputs: Sized) -> Iterable[Variable]:
        """No reduced length is 0."""
        (x,) = inputs
        known = x.variable.type.shape
        return [gt(x.shape[axis], as_variable(0)) for axis in self.axes if known[axis] is None]


def _samples(empty: bool = False) -> list[tuple[tuple[int, ...], np.ndarray]]:
    """Axes and arrays of distinct elements; with `empty` also of none."""
    rng = np.random.default_rng(0)
    x = rng.permutation(np.linspace(-3, 5, 24)).reshape(2, 3, 4)
    cases: list[tuple[tuple[int, ...], np.ndarray]] = [((axis,), x) for axis in range(3)]
    cases += [((0, 2), x), ((1, 2), x), ((0, 1, 2), x), ((0,), x[0, 0]), ((0,), x[0, 0, :1]), ((0, 1), x[:1, 0, :1])]
    return cases + [((0,), x[:, :0, 0])] + [((0,), x[:0, 0]), ((0, 1), x[0, :0])] * empty


class Sum(Reduction, Op):
    """Sum over some axes.

    Shapes:  x (..., d, ...) -> (...), the summed axes removed; a sum over no elements is 0
    Dtypes:  float32 and float64 stay (float32 in runs of 512, and these in float64); integers and bool give 64 bits
    Source:  numpy.sum; the order of addition is ours
    """

    def result_dtype(self, dtype: str) -> str:
        return sum_dtype(dtype)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.sum(axis=self.axes, dtype=accumulator(x.dtype.name))).astype(sum_dtype(x.dtype.name))

    def gradient(self, x: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        return [g.expand_dims(self.axes).broadcast_to(x.shape) if x.type.is_float else None]

    def element(self, index: tuple[ir.Expr, ...], x: Operand) -> ir.Expr:
        return _accumulate(self, "add", index, x)

    def latex(self, x: Written) -> tuple[str, str]:
        return f"{over('sum', self.axes, x)} {x:product}", "product"

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for axes, x in _samples(empty=True):
            yield cls(axes), [x]


def _accumulate(op: Reduction, kind: str, index: tuple[ir.Expr, ...], x: Operand) -> ir.Expr:
    """A sum or product in the accumulator's dtype, then the result's."""
    wide, body = accumulator(x.type.dtype), x[index]
    total = op.combine(wide, kind, body if body.dtype == wide else ir.Cast(wide, body), index, x)
    dtype = sum_dtype(x.type.dtype)
    return total if dtype == wide else ir.Cast(dtype, total)


class Prod(Reduction, Op):
    """Product over some axes.

    Shapes:  x (..., d, ...) -> (...), the multiplied axes removed; a product of no elements is 1
    Dtypes:  as for a sum
    Source:  numpy.prod; the order of multiplication is ours
    """

    def result_dtype(self, dtype: str) -> str:
        return sum_dtype(dtype)

    def reference(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(x.prod(axis=self.axes, dtype=accumulator(x.dtype.name))).astype(sum_dtype(x.dtype.name))

    def gradient(self, x: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        return [g.expand_dims(self.axes) * ProdOfOthers(self.axes)(x) if x.type.is_float else None]

    def element(self, index: tuple[ir.Expr, ...], x: Operand) -> ir.Expr:
        return _accumulate(self, "mul", index, x)

    def latex(self, x: Written) -> tuple[str, str]:
        return f"{over('prod', self.axes, x)} {x:product}", "product"

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for axes, x in _samples(empty=True):
            yield cls(axes), [x]
        for zeros in (1, 2, 3):
            yield cls((0,)), [np.where(np.arange(3) < zeros, 0.0, [1.5, -2.0, 0.5])]


@dataclass(frozen=True)
class ProdOfOthers(Op):
    """For each element the product of the others along some axes: the derivative of their product, right beside zeros.

    Compiled, it is the product of all, in float64, divided by the element: where that product is too large or too small
    for float64, or an element infinite, so is the result, or NaN.

    Shapes:  any, kept
    Dtypes:  float32, float64
    """

    axes: tuple[int, ...]

    def infer_type(self, x: TensorType) -> TensorType:
        if not x.is_float:
            raise DtypeError(f"the products of others are derivatives, and {{0}} is {x.dtype}")
        return x

    def reference(self, x: np.ndarray) -> np.ndarray:
        kept = [axis for axis in range(x.ndim) if axis not in self.axes]
        moved = x.transpose(*kept, *self.axes)
        rows = moved.reshape(math.prod(moved.shape[: len(kept)]), math.prod(moved.shape[len(kept) :])).astype("float64")
        ones = np.ones((len(rows), 1))
        with np.errstate(all="ignore"):
            before = np.cumprod(np.hstack([ones, rows[:, :-1]]), axis=1)[:, : rows.shape[1]]
            after = np.cumprod(np.hstack([ones, rows[:, :0:-1]]), axis=1)[:, : rows.shape[1]]
            result = (before * after[:, ::-1]).reshape(moved.shape)
            return result.transpose(np.argsort([*kept, *self.axes])).astype(x.dtype)

    def gradient(self, x: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        # Share k is the sum over i != k of g_i times the product of all but i and k. Row k of `without` has 1 for x_k.
        kept = [axis for axis in range(x.ndim) if axis not in self.axes]
        order = [*kept, *self.axes]
        moved = x.dimshuffle(*order)
        together = product(lengths(x)[axis] for axis in self.axes)
        shape = [*[lengths(x)[axis] for axis in kept], together]
        rows, weights = moved.reshape(shape), g.dimshuffle(*order).reshape(shape)
        last = len(kept)
        diagonal = eye(together, dtype="bool")
        without = switch(diagonal, as_variable(1, x.dtype), rows.expand_dims(last))
        pairs = switch(diagonal, as_variable(0, x.dtype), ProdOfOthers((last + 1,))(without))
        share = (pairs * weights.expand_dims(last)).sum(axis=last + 1)
        return [share.reshape(moved.shape).dimshuffle(*[order.index(axis) for axis in range(x.ndim)])]

    def expand(self, x: Variable) -> Variable:
        wide, zero = cast(x, "float64"), eq(x, 0)
        one, none = as_variable(1.0), as_variable(0.0)
        zeros = zero.sum(axis=self.axes, keepdims=True)
        product = switch(zero, one, wide).prod(axis=self.axes, keepdims=True)
        beside_zeros = switch(eq(zeros, 1), product, none)
        return cast(switch(zero, beside_zeros, switch(eq(zeros, 0), product / wide, none)), x.dtype)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        x = rng.uniform(0.5, 2, size=(2, 3, 2))
        for axes in ((0,), (1,), (0, 2), (0, 1, 2)):
            yield cls(axes), [x]
        yield cls((1,)), [np.array([[0.0, 2, 3], [0, 0, 3], [0, 0, 0], [4, 0, 5]])]
        yield cls((0,)), [x[:0, 0, 0]]
        yield cls((0, 1)), [x[:1, :1, 0]]


class _Extremum(NeedsElements):
    """The largest or smallest element."""

    kind: ClassVar[str]
    kind_of_bool: ClassVar[str]

    def gradient(self, *inputs_out_g: Variable) -> Sequence[Variable | None]:
        """The whole of `g` to each element that is as large (or small) as the result."""
        x, out, g = inputs_out_g
        if not x.type.is_float:
            return [None]
        best = eq(x, out.expand_dims(self.axes))
        return [switch(best, g.expand_dims(self.axes), as_variable(0, g.dtype))]

    def element(self, index: tuple[ir.Expr, ...], x: Operand) -> ir.Expr:
        kind = self.kind_of_bool if x.type.dtype == "bool" else self.kind
        return self.combine(x.type.dtype, kind, x[index], index, x)

    def latex(self, *operands: Written) -> str:
        (x,) = operands
        return rf"{over(type(self).__name__.lower(), self.axes, x)}\left({x}\right)"


class Max(_Extremum, Op):
    """The largest element over some axes; NaN if there is one.

    Shapes:  x (..., d, ...) -> (...), the axes removed
    Dtypes:  any, kept
    Raises:  ShapeError for no elements
    Source:  numpy.max; equal elements each get the whole gradient, as in Theano
    """

    kind = "maximum"
    kind_of_bool = "or"

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.max(axis=self.axes))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for axes, x in _samples():
            yield cls(axes), [x]


class MaxOrLowest(Max):
    """The largest element, as `Max`, and the lowest number, -inf of floats, where there are none: what is taken off
    before exp.

    Shapes:  x (..., d, ...) -> (...), the axes removed
    Dtypes:  any, kept
    """

    def infer_type(self, *types: TensorType) -> TensorType:
        return Reduction.infer_type(self, *types)

    def checks(self, *inputs: Sized) -> Iterable[Variable]:
        return ()

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.max(axis=self.axes, initial=identity(self.kind, x.dtype.name).value))

    def latex(self, *operands: Written) -> str:
        return Max(self.axes).latex(*operands)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for axes, x in _samples(empty=True):
            yield cls(axes), [x]


class Min(_Extremum, Op):
    """The smallest element over some axes; NaN if there is one.

    Shapes:  x (..., d, ...) -> (...), the axes removed
    Dtypes:  any, kept
    Raises:  ShapeError for no elements
    Source:  numpy.min; equal elements each get the whole gradient, as in Theano
    """

    kind = "minimum"
    kind_of_bool = "and"

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.min(axis=self.axes))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for axes, x in _samples():
            yield cls(axes), [x]


class _Truth(Reduction):
    """Whether all or any elements are true, that is, not 0: the least or the largest of 0 and 1.

    As numbers, since bools would leave the vector lanes; unsigned ones, whose bounds are what no elements give.
    """

    kind: ClassVar[str]

    def result_dtype(self, dtype: str) -> str:
        return "bool"

    def gradient(self, *inputs_out_g: Variable) -> Sequence[Variable | None]:
        """None: a truth value has no derivative."""
        return [None]

    def element(self, index: tuple[ir.Expr, ...], x: Operand) -> ir.Expr:
        value = x[index]
        is_true = value if value.dtype == "bool" else ir.Cast("bool", value)
        least_or_largest = self.combine("uint32", self.kind, ir.Cast("uint32", is_true), index, x)
        return ir.Operation("bool", "neq", (least_or_largest, ir.Literal("uint32", 0)))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for axes, x in _samples(empty=True):
            yield cls(axes), [np.round(x)]  # type: ignore[misc]
        yield cls((1,)), [np.array([[0.0, 0.0], [0.0, 1.5], [-2.0, 0.5]])]  # type: ignore[misc]


class All(_Truth, Op):
    """Whether all elements over some axes are true (not 0; NaN is true).

    Shapes:  x (..., d, ...) -> (...), the axes removed; true for no elements
    Dtypes:  any -> bool
    """

    kind = "minimum"

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.all(axis=self.axes))


class Any_(_Truth, Op):
    """Whether any element over some axes is true (not 0; NaN is true).

    Shapes:  x (..., d, ...) -> (...), the axes removed; false for no elements
    Dtypes:  any -> bool
    """

    kind = "maximum"

    @property
    def label(self) -> str:
        """The name without the underscore that tells it from typing's."""
        return "any"

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.any(axis=self.axes))


class _Place(NeedsElements):
    """Where the largest or smallest element is."""

    kind: ClassVar[str]

    def result_dtype(self, dtype: str) -> str:
        return "int64"

    def rows(self, x: np.ndarray) -> np.ndarray:
        """The elements over the axes as the last axis of a new array."""
        kept = self.kept(x.ndim)
        shape = [x.shape[axis] for axis in kept]
        return x.transpose(*kept, *self.axes).reshape([*shape, math.prod(x.shape[axis] for axis in self.axes)])

    def gradient(self, *inputs_out_g: Variable) -> Sequence[Variable | None]:
        """None: a position has no derivative."""
        return [None]

    def element(self, index: tuple[ir.Expr, ...], x: Operand) -> ir.Expr:
        return self.combine("int64", self.kind, x[index], index, x)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for axes, x in _samples():
            yield cls(axes), [x]  # type: ignore[misc]
        yield cls((1,)), [np.array([[1.0, 2.0, 2.0], [2.0, 1.0, 1.0], [3.0, 3.0, 3.0]])]  # type: ignore[misc]


class Argmax(_Place, Op):
    """The position of the first largest element over some axes, counted in row-major order; of the first NaN if any.

    Shapes:  x (..., d, ...) -> (...), the axes removed
    Dtypes:  any -> int64
    Raises:  ShapeError for no elements
    """

    kind = "argmax"

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.rows(x).argmax(axis=-1))


class Argmin(_Place, Op):
    """The position of the first smallest element over some axes, counted in row-major order; of the first NaN if any.

    Shapes:  x (..., d, ...) -> (...), the axes removed
    Dtypes:  any -> int64
    Raises:  ShapeError for no elements
    """

    kind = "argmin"

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.rows(x).argmin(axis=-1))


def reduced_axes(axis: Any, x: Variable) -> tuple[int, ...]:
    """The axes of `x` a user means, in order; None for all. Raises AxisError and ShapeError as `axes_of`."""
    if isinstance(axis, Constant):
        axis = axis.data
    return tuple(range(x.ndim)) if axis is None else tuple(sorted(axes_of(x, axis)))


def with_axes(result: Variable, axes: tuple[int, ...], keepdims: bool) -> Variable:
    """What is left of a reduction, with its axes as ones of length 1 where they are to be kept."""
    return result.expand_dims(axes) if keepdims and axes else result


def sum(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Variable:
    """The sum over all axes, one, or several, as numpy.sum.

    Shapes: the summed axes are removed, or with `keepdims` have length 1.
    Dtypes: floats stay (float32 in runs of 512, and these in float64), integers and bool give 64 bits; or what `dtype`
        says.
    Raises AxisError for an axis that is out of range or given twice.
    """
    return _total(Sum, x, axis, dtype, keepdims)


def prod(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Variable:
    """The product over all axes, one, or several, as numpy.prod; shapes, dtypes and errors as for `sum`."""
    return _total(Prod, x, axis, dtype, keepdims)


def _total(op: type[Sum] | type[Prod], x: Any, axis: Any, dtype: Any, keepdims: bool) -> Variable:
    x = as_variable(x)
    axes = reduced_axes(axis, x)
    wanted = sum_dtype(x.dtype) if dtype is None else dtype_name(dtype)
    if dtype is not None:
        x = cast(x, wanted)
    return cast(with_axes(op(axes)(x), axes, keepdims) if axes else x, wanted)


def max(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """The largest element over all axes, one, or several, as numpy.max; NaN if there is one.

    Shapes: the axes are removed, or with `keepdims` have length 1. Dtypes: any, kept.
    Raises AxisError for an axis that is out of range or given twice, ShapeError for no elements.
    """
    return _extreme(Max, x, axis, keepdims)


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """The smallest element over all axes, one, or several, as numpy.min; as `max` in everything else."""
    return _extreme(Min, x, axis, keepdims)


def _extreme(op: type[Max] | type[Min], x: Any, axis: Any, keepdims: bool) -> Variable:
    x = as_variable(x)
    axes = reduced_axes(axis, x)
    return with_axes(op(axes)(x), axes, keepdims) if axes else x


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """Whether all elements over all axes, one, or several are true (not 0), as numpy.all; true for no elements."""
    x = as_variable(x)
    axes = reduced_axes(axis, x)
    return with_axes(All(axes)(x), axes, keepdims) if axes else neq(x, 0)


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """Whether any element over all axes, one, or several is true (not 0), as numpy.any; false for no elements."""
    x = as_variable(x)
    axes = reduced_axes(axis, x)
    return with_axes(Any_(axes)(x), axes, keepdims) if axes else neq(x, 0)


def argmax(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """The position of the first largest element, as numpy.argmax; over several axes, or all, in row-major order.

    Shapes: the axes are removed, or with `keepdims` have length 1. Dtypes: any -> int64.
    Raises AxisError for an axis that is out of range or given twice, ShapeError for no elements.
    """
    return _place(Argmax, x, axis, keepdims)


def argmin(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """The position of the first smallest element, as numpy.argmin; as `argmax` in everything else."""
    return _place(Argmin, x, axis, keepdims)


def _place(op: type[Argmax] | type[Argmin], x: Any, axis: Any, keepdims: bool) -> Variable:
    x = as_variable(x)
    axes = reduced_axes(axis, x)
    return with_axes(op(axes)(x), axes, keepdims) if axes else zeros_like(x, "int64")


def max_and_argmax(x: Any, axis: Any = None, keepdims: bool = False) -> list[Variable]:
    """The largest elements and where they are: `[max(…), argmax(…)]` (Theano's name)."""
    return [max(x, axis, keepdims), argmax(x, axis, keepdims)]
