"""What neural networks are made of: softmax, cross entropies and activation functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph.errors import DtypeError, ShapeError
from symgraph.graph.node import Example, Op, Same, Sized, Variable, as_variable, located
from symgraph.graph.provenance import current_origin
from symgraph.graph.types import TensorType, float_for
from symgraph.ops.axes import axes_of, axis_of
from symgraph.ops.creation import arange
from symgraph.ops.elementary import clip, eq, exp, expm1, gt, isinf, log, minimum, softplus, switch
from symgraph.ops.elementary import relu as positive_part
from symgraph.ops.elementwise import cast
from symgraph.ops.reduce import Max, MaxOrLowest
from symgraph.options import config


@dataclass(frozen=True)
class Softmax(Op):
    """exp(x), divided by its sum along an axis.

    Shapes:  any, kept
    Dtypes:  float32 and float64, kept
    Raises:  ShapeError for an axis of no elements
    Source:  Bishop, PRML (2006), eq. 4.62; the largest element is subtracted first, which changes no quotient
    """

    axis: int

    def infer_type(self, x: TensorType) -> TensorType:
        return _along(x, self.axis)

    def reference(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            e = np.exp(x - x.max(self.axis, keepdims=True))
            return e / e.sum(self.axis, keepdims=True)

    def gradient(self, x: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        return [SoftmaxGradient(self.axis)(g, out)]

    def checks(self, x: Sized) -> Iterable[Variable]:
        return _have_elements(x, (self.axis,))

    def expand(self, x: Variable) -> Variable:
        e = exp(x - _largest(x, (self.axis,)))
        return e / e.sum(axis=self.axis, keepdims=True)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        return _examples(cls)


@dataclass(frozen=True)
class SoftmaxGradient(Op):
    """The gradient of softmax, from the gradient g of its result and the result itself.

    Shapes:  g, out of one shape -> that shape
    Dtypes:  one for both, kept
    Source:  (g - sum(g * out)) * out; Bishop, PRML (2006), eq. 4.106
    """

    axis: int

    def infer_type(self, g: TensorType, out: TensorType) -> TensorType:
        if g.dtype != out.dtype or not g.is_float:
            raise DtypeError("{0} and {1} are not of one float dtype")
        if self.axis >= g.ndim:
            raise ShapeError(f"{{0}} has no axis {self.axis}")
        if g.ndim != out.ndim or any(n is not None and m is not None and n != m for n, m in zip(g.shape, out.shape)):
            raise ShapeError("{0} is not of the shape of {1}")
        return TensorType(out.dtype, tuple(m if n is None else n for n, m in zip(g.shape, out.shape)))

    def reference(self, g: np.ndarray, out: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return (g - (g * out).sum(self.axis, keepdims=True)) * out

    def gradient(self, g: Variable, out: Variable, result: Variable, gg: Variable) -> Sequence[Variable | None]:
        inner = (g * out).sum(axis=self.axis, keepdims=True)
        weight = (gg * out).sum(axis=self.axis, keepdims=True)
        return [SoftmaxGradient(self.axis)(gg, out), gg * (g - inner) - g * weight]

    def shape(self, same: Same, g: Sized, out: Sized) -> Sequence[Variable]:
        return [same(n, m) for n, m in zip(g.shape, out.shape, strict=True)]

    def expand(self, g: Variable, out: Variable) -> Variable:
        return (g - (g * out).sum(axis=self.axis, keepdims=True)) * out

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        for shape, axis in (((2, 3), 1), ((2, 3), 0), ((4,), 0), ((0, 3), 1), ((2, 1), 1)):
            yield SoftmaxGradient(axis), [rng.normal(size=shape), rng.uniform(0.1, 0.9, shape)]


@dataclass(frozen=True)
class LogSoftmax(Op):
    """The logarithm of softmax, without the logarithm of a number that has become 0.

    Shapes:  any, kept
    Dtypes:  float32 and float64, kept
    Raises:  ShapeError for an axis of no elements
    Source:  x - logsumexp(x); Goodfellow, Bengio and Courville, Deep Learning (2016), eq. 6.30
    """

    axis: int

    def infer_type(self, x: TensorType) -> TensorType:
        return _along(x, self.axis)

    def reference(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            shifted = x - x.max(self.axis, keepdims=True)
            return shifted - np.log(np.exp(shifted).sum(self.axis, keepdims=True))

    def gradient(self, x: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        return [g - exp(out) * g.sum(axis=self.axis, keepdims=True)]

    def checks(self, x: Sized) -> Iterable[Variable]:
        return _have_elements(x, (self.axis,))

    def expand(self, x: Variable) -> Variable:
        shifted = x - _largest(x, (self.axis,))
        return shifted - log(exp(shifted).sum(axis=self.axis, keepdims=True))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        return _examples(cls)


@dataclass(frozen=True)
class LogSumExp(Op):
    """The logarithm of the sum of exp(x) over some axes, which stay with length 1.

    Shapes:  any -> the same with 1 for the length of each of `axes`
    Dtypes:  float32 and float64, kept
    Raises:  ShapeError for an axis of no elements
    Source:  m + log(sum(exp(x - m))) with m the largest element, or 0 where that is infinite
    """

    axes: tuple[int, ...]

    def infer_type(self, x: TensorType) -> TensorType:
        if not x.is_float:
            raise DtypeError("{0} is not a float")
        for axis in self.axes:
            _along(x, axis)
        return TensorType(x.dtype, tuple(1 if axis in self.axes else n for axis, n in enumerate(x.shape)))

    def reference(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            largest = x.max(self.axes, keepdims=True)
            shift = np.where(np.isinf(largest), 0, largest).astype(x.dtype)
            return shift + np.log(np.exp(x - shift).sum(self.axes, keepdims=True))

    def gradient(self, x: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        for axis in self.axes:  # axis by axis; exp(x - out) would lose what `out` rounds off where x is large
            g, x = g * Softmax(axis)(x), LogSumExp((axis,))(x)
        return [g]

    def shape(self, same: Same, x: Sized) -> Sequence[Variable]:
        return [as_variable(1) if axis in self.axes else n for axis, n in enumerate(x.shape)]

    def checks(self, x: Sized) -> Iterable[Variable]:
        return _have_elements(x, self.axes)

    def expand(self, x: Variable) -> Variable:
        largest = _largest(x, self.axes)
        shift = switch(isinf(largest), 0, largest)
        return shift + log(exp(x - shift).sum(axis=self.axes, keepdims=True))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        for shape, axes in (
            ((2, 3), (1,)), ((2, 3), (0, 1)), ((2, 3, 2), (0, 2)), ((0, 3), (1,)), ((2, 1), (1,)), ((), ()),
        ):  # fmt: skip
            yield LogSumExp(axes), [rng.normal(size=shape)]


def _along(x: TensorType, axis: int) -> TensorType:
    """The type of an operand whose axis has elements."""
    if not x.is_float:
        raise DtypeError("{0} is not a float")
    if axis >= x.ndim:
        raise ShapeError(f"{{0}} has no axis {axis}")
    if x.shape[axis] == 0:
        raise ShapeError(f"axis {axis} of {{0}} has no elements to take the largest of")
    return x


def _have_elements(x: Sized, axes: tuple[int, ...]) -> Iterable[Variable]:
    """That these axes have elements; of what rewriting recognizes as such an op nothing is asked."""
    return Max(axes).checks(x)


def _largest(x: Variable, axes: tuple[int, ...]) -> Variable:
    return MaxOrLowest(axes)(x).expand_dims(axes)


def _examples(op: Any) -> Iterable[Example]:
    rng = np.random.default_rng(0)
    for shape, axis in (((2, 3), 1), ((2, 3), 0), ((2, 3, 2), 1), ((4,), 0), ((0, 3), 1), ((2, 1), 1)):
        yield op(axis), [rng.normal(size=shape)]


def _float(x: Any) -> Variable:
    """The operand in a float dtype."""
    x = as_variable(x)
    return cast(x, float_for(x.dtype))


def _target(x: Any) -> Any:
    """A Python number as it is, so that it takes the dtype of what it is compared with; else a variable."""
    return x if type(x) in (int, float) else as_variable(x)


def softmax(x: Any, axis: int = -1) -> Variable:
    """exp(x) divided by its sum along an axis; also for numbers whose exp would overflow.

    Shapes: any of rank 1 and more, kept (a vector stays a vector, unlike in Theano).
    Dtypes: float32 and float64 kept; integers as for exp.
    Raises AxisError for an axis that is not there, ShapeError where the axis has no elements.
    """
    x = _float(x)
    return Softmax(axis_of(x, axis))(x)


def log_softmax(x: Any, axis: int = -1) -> Variable:
    """The logarithm of softmax, exact also where softmax itself is 0; as `softmax` in all else."""
    x = _float(x)
    return LogSoftmax(axis_of(x, axis))(x)


def logsumexp(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Variable:
    """The logarithm of the sum of exp(x) over some axes, all by default; also for numbers whose exp would overflow.

    Where all elements are -inf it is -inf, where one is inf it is inf.
    Shapes: the axes are removed, or with keepdims=True stay with length 1.
    Dtypes: float32 and float64 kept; integers as for exp.
    Raises AxisError for an axis that is not there, ShapeError where there are no elements.
    """
    x = _float(x)
    axes = tuple(range(x.ndim)) if axis is None else tuple(sorted(axes_of(x, axis)))
    result = LogSumExp(axes)(x)
    return result if keepdims else result.dimshuffle(*[k for k in range(x.ndim) if k not in axes])


def categorical_crossentropy(coding_dist: Any, true_dist: Any) -> Variable:
    """-log of the probability that a distribution gives to the true class, or its mean under a true distribution.

    coding_dist: probabilities, one distribution a row, such as softmax(...)
    true_dist: the number of the true class for each row, an integer vector; or distributions like coding_dist
    Shapes: (n, classes), (n,) -> (n,);  (..., classes), (..., classes) -> (...,).
    Raises ShapeError for other ranks, DtypeError for class numbers that are not integers, IndexError at a call for a
    class that is not there.
    Source: H(p, q) = -sum(p * log(q)); Goodfellow, Bengio and Courville, Deep Learning (2016), eq. 3.51
    """
    coding, true = _float(coding_dist), as_variable(true_dist)
    if coding.ndim == true.ndim:
        return -(true * log(coding)).sum(axis=-1)
    if (coding.ndim, true.ndim) != (2, 1):
        message = "the classes of the rows of {0} are a vector of integers, or distributions of its rank; not {1}"
        raise located(ShapeError(message), (coding, true), current_origin())
    _check_classes(true)
    return -log(coding)[arange(coding.shape[0]), true]


def _check_classes(y: Variable) -> None:
    if y.dtype[0] not in "iu":
        message = "the classes {0} are no integers: convert them with .astype('int64')"
        raise located(DtypeError(message), (y,), current_origin())


def binary_crossentropy(output: Any, target: Any) -> Variable:
    """-log of the probability given to the truth, element by element, where `output` is that of "yes".

    target: 0, 1 or a probability between them
    Shapes: broadcast together. Where `output` is written as sigmoid(x), this is compiled as
    `sigmoid_binary_crossentropy(x, target)`, which does not overflow.
    Source: -(target * log(output) + (1 - target) * log(1 - output)); Bishop, PRML (2006), eq. 4.90
    """
    output, target = _float(output), _target(target)
    return -(target * log(output) + (1 - target) * log(1 - output))


def sigmoid_binary_crossentropy(output: Any, target: Any) -> Variable:
    """The binary cross entropy of sigmoid(output), for any `output`; otherwise as `binary_crossentropy`.

    Source: softplus(x) - target * x, from log(sigmoid(x)) = x - softplus(x) and log(1 - sigmoid(x)) = -softplus(x)
    """
    output, target = _float(output), _target(target)
    return softplus(output) - target * output


def one_hot(y: Any, nb_class: Any, dtype: str | None = None) -> Variable:
    """For each class number a row of zeros with a 1 at its place.

    nb_class: how many classes, a number or an integer scalar; a class outside of them gives zeros only
    Shapes: (...) -> (..., nb_class). Dtypes: integers -> dtype, by default floatX.
    Raises DtypeError for class numbers that are not integers.
    """
    y = as_variable(y)
    _check_classes(y)
    return cast(eq(y.dimshuffle(*range(y.ndim), "x"), arange(nb_class)), dtype or config.floatX)


to_one_hot = one_hot


def relu(x: Any, alpha: Any = 0) -> Variable:
    """x where it is positive, elsewhere alpha * x.

    Shapes: broadcast together. The derivative at 0 is that from below.
    """
    x = as_variable(x)
    return positive_part(x) if isinstance(alpha, (int, float)) and alpha == 0 else switch(gt(x, 0), x, alpha * x)


def leaky_relu(x: Any, alpha: Any = 0.01) -> Variable:
    """x where it is positive, elsewhere alpha * x, with a small slope alpha."""
    return relu(x, alpha)


def elu(x: Any, alpha: Any = 1) -> Variable:
    """x where it is positive, elsewhere alpha * (exp(x) - 1).

    Source: Clevert, Unterthiner and Hochreiter, arXiv:1511.07289, eq. 15
    """
    x = _float(x)
    return switch(gt(x, 0), x, alpha * expm1(minimum(x, 0)))


def softsign(x: Any) -> Variable:
    """x / (1 + |x|)."""
    x = _float(x)
    return x / (1 + abs(x))


def hard_sigmoid(x: Any) -> Variable:
    """A straight line through (0, 1/2) of slope 1/5, cut off at 0 and 1: coarser than sigmoid, and cheap."""
    return clip(_float(x) * 0.2 + 0.5, 0, 1)
