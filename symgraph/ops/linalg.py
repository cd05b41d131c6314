"""Products of arrays, each by products of matrices: dot, matmul, batched_dot, tensordot, outer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from symgraph.errors import ShapeError
from symgraph.graph.node import Example, Op, Same, Sized, Variable, Written, as_variable, located
from symgraph.graph.printing import infix
from symgraph.graph.provenance import current_origin
from symgraph.graph.types import TensorType, broadcast_shapes, promote
from symgraph.ops.elementwise import cast, unbroadcast
from symgraph.ops.joining import lengths
from symgraph.ops.matrices import RANKS, BatchedDot, Dot, InnerProduct, check_dtypes, mismatch
from symgraph.ops.slices import broadcast_lengths


@dataclass(frozen=True)
class TensorDot(Op):
    """Sums of products over pairs of axes of two arrays.

    Shapes:  a, b -> the other axes of a, then those of b, in order
    Dtypes:  one for both, kept
    Raises:  ShapeError where the lengths of a pair of axes differ
    Source:  numpy.tensordot
    """

    of_a: tuple[int, ...]
    of_b: tuple[int, ...]

    def infer_type(self, a: TensorType, b: TensorType) -> TensorType:
        check_dtypes(a, b, "{0}", "{1}")
        if max(self.of_a, default=-1) >= a.ndim or max(self.of_b, default=-1) >= b.ndim:
            raise ShapeError(f"{{0}} and {{1}} do not have the axes {self.of_a} and {self.of_b}")
        for i, j in zip(self.of_a, self.of_b, strict=True):
            n, m = a.shape[i], b.shape[j]
            if n is not None and m is not None and n != m:
                raise ShapeError(
                    f"cannot multiply {{0}} by {{1}}: axis {i} of {{0.name}} is {n}, axis {j} of {{1.name}} is {m}"
                )
        return TensorType(a.dtype, (*_others(a.shape, self.of_a), *_others(b.shape, self.of_b)))

    def reference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(np.tensordot(a, b, (self.of_a, self.of_b)))

    def gradient(self, a: Variable, b: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        others_a, others_b = _others(range(a.ndim), self.of_a), _others(range(b.ndim), self.of_b)
        from_a = tuple(range(len(others_a)))
        from_b = tuple(range(len(others_a), g.ndim))
        # each product has axes of the result first or last, and beside them those paired, in the other operand's order
        pairs = sorted(zip(self.of_b, self.of_a, strict=True))
        order_a = [*others_a, *[i for _, i in pairs]]
        ga = TensorDot(from_b, tuple(others_b))(g, b).dimshuffle(*_inverse(order_a))
        pairs = sorted(zip(self.of_a, self.of_b, strict=True))
        order_b = [*[j for _, j in pairs], *others_b]
        gb = TensorDot(tuple(others_a), from_a)(a, g).dimshuffle(*_inverse(order_b))
        return [ga, gb]

    def shape(self, same: Same, a: Sized, b: Sized) -> Sequence[Variable]:
        for i, j in zip(self.of_a, self.of_b, strict=True):
            same(a.shape[i], b.shape[j])
        return (*_others(a.shape, self.of_a), *_others(b.shape, self.of_b))

    def expand(self, a: Variable, b: Variable) -> Variable:
        others_a, others_b = _others(range(a.ndim), self.of_a), _others(range(b.ndim), self.of_b)
        sizes_a, sizes_b = lengths(a), lengths(b)
        left, right = [sizes_a[i] for i in others_a], [sizes_b[j] for j in others_b]
        pairs = [(sizes_a[i], sizes_b[j]) for i, j in zip(self.of_a, self.of_b, strict=True)]
        inner = _count([n if isinstance(n, int) else m for n, m in pairs])
        matrix_a = a.dimshuffle(*others_a, *self.of_a).reshape([_count(left), inner])
        matrix_b = b.dimshuffle(*self.of_b, *others_b).reshape([inner, _count(right)])
        return Dot()(matrix_a, matrix_b).reshape([*left, *right])

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        for left, right, of_a, of_b in (
            ((2, 3, 4), (4, 3, 2), (1, 2), (1, 0)), ((2, 3, 4), (3, 2, 4), (2, 0, 1), (2, 1, 0)),
            ((2, 3), (4,), (), ()), ((2, 3, 1), (2, 3), (1,), (1,)), ((2, 0, 3), (0, 2), (1,), (0,)),
            ((3,), (2, 3, 2), (0,), (1,)),
        ):  # fmt: skip
            yield TensorDot(of_a, of_b), [rng.normal(size=left), rng.normal(size=right)]


@dataclass(frozen=True)
class MatMul(Op):
    """The products of the matrices in the last two axes; the axes before them broadcast.

    Shapes:  (..., m, k), (..., k, n) -> (..., m, n), of ranks of at least 2
    Dtypes:  one for both, kept
    Raises:  ShapeError where the lengths k differ or the leading axes do not broadcast
    Source:  numpy.matmul
    """

    def format(self, *operands: Written) -> str | tuple[str, str]:
        return infix("@", *operands)

    def latex(self, a: Written, b: Written) -> tuple[str, str]:
        return rf"{a:unary} \, {b:power}", "unary"

    def infer_type(self, a: TensorType, b: TensorType) -> TensorType:
        if a.ndim < 2 or b.ndim < 2:
            raise ShapeError("{0} and {1} are not stacks of matrices")
        check_dtypes(a, b, "{0}", "{1}")
        n, m = a.shape[-1], b.shape[-2]
        if n is not None and m is not None and n != m:
            raise ShapeError(mismatch("{0}", "{1}", n, "last but one", m))
        try:
            batch = broadcast_shapes([a.shape[:-2], b.shape[:-2]])
        except ShapeError as error:
            raise ShapeError(f"cannot multiply {{0}} by {{1}}: before the last two axes, {error}") from None
        return TensorType(a.dtype, (*batch, a.shape[-2], b.shape[-1]))

    def reference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return a @ b

    def gradient(self, a: Variable, b: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        return [unbroadcast(matmul(g, b.swapaxes(-1, -2)), a), unbroadcast(matmul(a.swapaxes(-1, -2), g), b)]

    def shape(self, same: Same, a: Sized, b: Sized) -> Sequence[Variable]:
        same(a.shape[-1], b.shape[-2])
        batch = broadcast_lengths(same, [(x.shape[:-2], x.variable.type.shape[:-2]) for x in (a, b)])
        return (*batch, a.shape[-2], b.shape[-1])

    def expand(self, a: Variable, b: Variable) -> Variable:
        if a.ndim > 2 and b.ndim == 2:  # one product of all rows
            *rows, k = lengths(a)
            return Dot()(a.reshape([_count(rows), k]), b).reshape([*rows, lengths(b)[1]])
        (*batch_a, m, k), (*batch_b, _, n) = lengths(a), lengths(b)
        rank = max(len(batch_a), len(batch_b))
        batch_a, batch_b = ([1] * (rank - len(part)) + part for part in (batch_a, batch_b))
        batch = [_joint(left, right) for left, right in zip(batch_a, batch_b, strict=True)]
        stack_a = a.broadcast_to([*batch, m, k]).reshape([_count(batch), m, k])
        stack_b = b.broadcast_to([*batch, lengths(b)[-2], n]).reshape([_count(batch), lengths(b)[-2], n])
        return BatchedDot()(stack_a, stack_b).reshape([*batch, m, n])

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        for left, right in (
            ((2, 3, 4), (2, 4, 2)), ((2, 3, 4), (4, 2)), ((3, 4), (2, 4, 2)), ((1, 3, 2), (4, 2, 1)),
            ((2, 1, 2, 3), (3, 3, 2)), ((0, 2, 3), (3, 2)), ((2, 3, 0), (2, 0, 1)),
        ):  # fmt: skip
            yield MatMul(), [rng.normal(size=left), rng.normal(size=right)]


def _others(entries: Iterable[Any], axes: Sequence[int]) -> list[Any]:
    return [entry for axis, entry in enumerate(entries) if axis not in axes]


def _inverse(order: Sequence[int]) -> list[int]:
    return [order.index(axis) for axis in range(len(order))]


def _joint(n: Any, m: Any) -> Any:
    """The length that two broadcast to: an int where one is known and not 1."""
    return m if n == 1 or (isinstance(m, int) and m != 1) else n


def _count(sizes: Sequence[Any]) -> Any:
    """The number of elements, an int where it is known."""
    known = math.prod(n for n in sizes if isinstance(n, int))
    symbols = [n for n in sizes if isinstance(n, Variable)]
    return math.prod(symbols[1:], start=symbols[0] if known == 1 else symbols[0] * known) if symbols else known


def _alike(a: Any, b: Any) -> tuple[Variable, Variable]:
    """Two operands in the dtype that holds both."""
    a, b = as_variable(a), as_variable(b)
    dtype = promote(a.dtype, b.dtype)
    return cast(a, dtype), cast(b, dtype)


def dot(a: Any, b: Any) -> Variable:
    """The product of two arrays, as numpy.dot: sums over the last axis of `a` and the last but one of `b`.

    Shapes: (m, k), (k, n) -> (m, n); a vector is a row on the left and a column on the right; (k,), (k,) -> ();
        with a scalar it is the product element by element; (..., k), (..., k, n) -> (..., ..., n) for other ranks
    Dtypes: the one that holds both.
    Raises ShapeError where the lengths k differ.
    """
    if _is_scalar(a) or _is_scalar(b):
        return a * b if isinstance(a, Variable) or isinstance(b, Variable) else as_variable(a) * b
    a, b = _alike(a, b)
    if a.ndim == b.ndim == 1:
        return InnerProduct()(a, b)
    if (a.ndim, b.ndim) in RANKS:
        return Dot()(a, b)
    return TensorDot((a.ndim - 1,), (max(b.ndim - 2, 0),))(a, b)


def _is_scalar(x: Any) -> bool:
    return not isinstance(x, (list, tuple)) and (x.ndim if isinstance(x, Variable) else np.ndim(x)) == 0


def matmul(a: Any, b: Any) -> Variable:
    """The product of two arrays, as numpy.matmul, which is `a @ b`: stacks of matrices in the last two axes.

    Shapes: (..., m, k), (..., k, n) -> (..., m, n), where the leading axes broadcast; a vector is a row on the left and
        a column on the right, and its axis is then dropped
    Dtypes: the one that holds both.
    Raises ShapeError for a scalar, where the lengths k differ, or where the leading axes do not broadcast.
    """
    a, b = _alike(a, b)
    if a.ndim == 0 or b.ndim == 0:
        scalar = a if a.ndim == 0 else b
        message = "a matrix product takes no scalar, but {0} is one: write *"
        raise located(ShapeError(message), (scalar,), current_origin())
    if a.ndim <= 2 and b.ndim <= 2:
        return dot(a, b)
    if a.ndim == 1:
        return MatMul()(a.expand_dims(0), b).squeeze(-2)
    if b.ndim == 1:
        return MatMul()(a, b.expand_dims(1)).squeeze(-1)
    return MatMul()(a, b)


def batched_dot(a: Any, b: Any) -> Variable:
    """The products of the entries of two stacks, pair by pair, as Theano's batched_dot.

    Shapes: (batch, m, k), (batch, k, n) -> (batch, m, n); a matrix is a stack of vectors, rows on the left and columns
        on the right, whose axis is dropped from the result: (batch, k), (batch, k) -> (batch,)
    Dtypes: the one that holds both.
    Raises ShapeError for other ranks, or where the lengths batch or k differ.
    """
    a, b = _alike(a, b)
    if a.ndim not in (2, 3) or b.ndim not in (2, 3):
        raise located(ShapeError("batched_dot takes stacks of rank 2 or 3, not {0} and {1}"), (a, b), current_origin())
    rows = a if a.ndim == 3 else a.dimshuffle(0, "x", 1)
    columns = b if b.ndim == 3 else b.dimshuffle(0, 1, "x")
    kept = [0, *[1] * (a.ndim == 3), *[2] * (b.ndim == 3)]
    return BatchedDot()(rows, columns).dimshuffle(*kept)


def tensordot(a: Any, b: Any, axes: Any = 2) -> Variable:
    """Sums of products over pairs of axes, as numpy.tensordot.

    axes: how many of the last axes of `a` to pair with the first of `b`; or two sequences of axes, or two axes
    Shapes: the other axes of a, then those of b. Dtypes: the one that holds both.
    Raises ShapeError where paired lengths differ or there are too few axes, AxisError for an axis that is not there.
    """
    a, b = _alike(a, b)
    if isinstance(axes, (int, np.integer)):
        of_a, of_b = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
        if axes < 0 or axes > min(a.ndim, b.ndim):
            raise located(ShapeError(f"cannot sum over {axes} axes of {{0}} and {{1}}"), (a, b), current_origin())
    else:
        of_a, of_b = normalize_axis_tuple(axes[0], a.ndim), normalize_axis_tuple(axes[1], b.ndim)
    if len(of_a) != len(of_b):
        message = f"{len(of_a)} axes of {{0}} cannot be paired with {len(of_b)} of {{1}}"
        raise located(ShapeError(message), (a, b), current_origin())
    return TensorDot(of_a, of_b)(a, b)


def outer(a: Any, b: Any) -> Variable:
    """The products of all elements of one array with all of another, as numpy.outer.

    Shapes: a of m elements, b of n elements -> (m, n). Dtypes: the one that holds both.
    """
    a, b = _alike(a, b)
    return a.flatten().dimshuffle(0, "x") * b.flatten().dimshuffle("x", 0)
