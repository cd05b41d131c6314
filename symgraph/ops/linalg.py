"""Products of matrices: dot, matmul, batched_dot, tensordot, outer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from codegen import ir
from codegen.runtime import gemm
from symgraph.errors import DtypeError, ShapeError
from symgraph.graph.node import Example, Op, Placed, Same, Sized, Variable, Written, as_variable, located
from symgraph.graph.printing import infix
from symgraph.graph.provenance import current_origin
from symgraph.graph.types import TensorType, broadcast_shapes, promote
from symgraph.ops.elementwise import cast, unbroadcast
from symgraph.ops.joining import lengths
from symgraph.ops.slices import broadcast_lengths, loop_indices, nest

RANKS = ((2, 2), (2, 1), (1, 2))


@dataclass(frozen=True)
class Dot(Op):
    """The product of two matrices, or of a matrix and a vector.

    Shapes:  (m, k), (k, n) -> (m, n);   (m, k), (k,) -> (m,);   (k,), (k, n) -> (n,);   over k = 0 the sums are 0
    Dtypes:  one for both, kept; bool is "and" summed by "or"
    Raises:  ShapeError where the lengths k differ
    Source:  numpy.dot
    """

    absorbs_transpose = True

    def format(self, *operands: Written) -> str | tuple[str, str]:
        return infix("@", *operands)

    def latex(self, a: Written, b: Written) -> tuple[str, str]:
        return rf"{a:unary} \, {b:power}", "unary"

    def infer_type(self, a: TensorType, b: TensorType) -> TensorType:
        return TensorType(a.dtype, _product_shape(a, b, 0, 1))

    def reference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(a @ b)

    def gradient(self, a: Variable, b: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        return _shares(a, b, g)

    def shape(self, same: Same, a: Sized, b: Sized) -> Sequence[Variable]:
        same(a.shape[-1], b.shape[0])
        return (*a.shape[:-1], *b.shape[1:])

    def loops(self, out: Placed, a: Placed, b: Placed) -> tuple[ir.Stmt, ...]:
        if out.type.is_float:
            return (_call(out, ir.Literal(out.type.dtype, 1.0), a, b, ir.Literal(out.type.dtype, 0.0)),)
        return _integer_loops(out, a, b)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        for left, right in (((2, 3), (3, 4)), ((2, 3), (3,)), ((3,), (3, 2)), ((1, 1), (1, 1)), ((20, 17), (17, 18))):
            yield Dot(), [rng.normal(size=left), rng.normal(size=right)]
        for left, right in (((2, 0), (0, 3)), ((0, 2), (2, 3)), ((2, 3), (3, 0)), ((2, 0), (0,)), ((0,), (0, 2))):
            yield Dot(), [np.zeros(left), np.zeros(right)]
        a, b = rng.normal(size=(3, 2)), rng.normal(size=(4, 3))
        yield (lambda a, b: Dot()(a.T, b.T)), [a, b]
        yield (lambda a, v: Dot()(a.T, v)), [a, b[0]]
        yield (lambda v, b: Dot()(v, b.T)), [b[0], b]


@dataclass(frozen=True)
class InnerProduct(Op):
    """The sum of the products of the elements of two vectors.

    Shapes:  (k,), (k,) -> ()
    Dtypes:  one for both, kept; bool is "and" summed by "or"
    Raises:  ShapeError where the lengths differ
    Source:  numpy.dot
    """

    def format(self, *operands: Written) -> str | tuple[str, str]:
        return infix("@", *operands)

    def latex(self, a: Written, b: Written) -> tuple[str, str]:
        return rf"{a:unary} \cdot {b:power}", "unary"

    def infer_type(self, a: TensorType, b: TensorType) -> TensorType:
        if a.ndim != 1 or b.ndim != 1:
            raise ShapeError("{0} and {1} are not two vectors")
        _check_dtypes(a, b, "{0}", "{1}")
        n, m = a.shape[0], b.shape[0]
        if n is not None and m is not None and n != m:
            raise ShapeError(_mismatch("{0}", "{1}", n, "first", m))
        return TensorType(a.dtype)

    def reference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(a @ b)

    def gradient(self, a: Variable, b: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        return [g * b, g * a]

    def shape(self, same: Same, a: Sized, b: Sized) -> Sequence[Variable]:
        same(a.shape[0], b.shape[0])
        return ()

    def expand(self, a: Variable, b: Variable) -> Variable:
        return (a & b).any() if a.dtype == "bool" else (a * b).sum().astype(a.dtype)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        for n in (3, 1, 0):
            yield InnerProduct(), [rng.normal(size=n), rng.normal(size=n)]


@dataclass(frozen=True)
class Gemm(Op):
    """`beta * c + alpha * (a @ b)`, accumulated by the product itself.

    Shapes:  c, alpha (), a, b, beta () -> c.shape, which is that of a @ b; ranks as for `Dot`
    Dtypes:  float32 or float64, one for all; where beta is 0, c is not read, so that NaN in it does not matter
    Raises:  ShapeError where lengths differ
    Source:  BLAS, gemm and gemv
    """

    starts_from = 0
    absorbs_transpose = True

    def format(self, *operands: Written) -> str | tuple[str, str]:
        c, alpha, a, b, beta = operands
        return f"{beta:product} * {c:unary} + {alpha:product} * ({a:product} @ {b:unary})", "sum"

    def latex(self, *operands: Written) -> tuple[str, str]:
        c, alpha, a, b, beta = operands
        return rf"{beta:unary} \cdot {c:power} + {alpha:unary} \cdot {a:power} \, {b:power}", "sum"

    def infer_type(self, *types: TensorType) -> TensorType:
        c, alpha, a, b, beta = types
        product = _product_shape(a, b, 2, 3)
        if not c.is_float or {c.dtype, alpha.dtype, a.dtype, beta.dtype} != {c.dtype}:
            raise DtypeError("the operands {0}, {2} and {3} of gemm, and its factors, must have one float dtype")
        if alpha.ndim or beta.ndim:
            raise ShapeError("the factors {1} and {4} of gemm must be scalars")
        if c.ndim != len(product) or any(n is not None and m is not None and n != m for n, m in zip(c.shape, product)):
            raise ShapeError("cannot add the product of {2} and {3} to {0}: the shapes differ")
        return TensorType(c.dtype, tuple(m if n is None else n for n, m in zip(c.shape, product)))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        c, alpha, a, b, beta = arrays
        with np.errstate(all="ignore"):
            product = alpha * (a @ b)
            return product if beta == 0 else beta * c + product

    def gradient(self, *args: Variable) -> Sequence[Variable | None]:
        c, alpha, a, b, beta, _, g = args
        ga, gb = _shares(a, b, g)
        return [beta * g, (g * dot(a, b)).sum(), alpha * ga, alpha * gb, (g * c).sum()]

    def shape(self, same: Same, *inputs: Sized) -> Sequence[Variable]:
        c, _, a, b, _ = inputs
        same(a.shape[-1], b.shape[0])
        return [same(n, m) for n, m in zip(c.shape, (*a.shape[:-1], *b.shape[1:]), strict=True)]

    def loops(self, out: Placed, *inputs: Placed) -> tuple[ir.Stmt, ...]:
        _, alpha, a, b, beta = inputs
        return (_call(out, alpha.load(), a, b, beta.load()),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        for left, right in (((2, 3), (3, 4)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 0), (0, 3)), ((0, 2), (2, 3))):
            a, b = rng.normal(size=left), rng.normal(size=right)
            yield Gemm(), [rng.normal(size=(a @ b).shape), np.array(0.5), a, b, np.array(-2.0)]
        a, b = rng.normal(size=(3, 2)), rng.normal(size=(4, 3))
        yield (lambda c, alpha, a, b, beta: Gemm()(c, alpha, a.T, b.T, beta)), [
            rng.normal(size=(2, 4)), np.array(-1.0), a, b, np.array(1.0),
        ]  # fmt: skip


@dataclass(frozen=True)
class BatchedDot(Op):
    """The products of the matrices of two stacks, pair by pair.

    Shapes:  (batch, m, k), (batch, k, n) -> (batch, m, n); the lengths of the batches are equal and do not broadcast
    Dtypes:  one for both, kept; bool is "and" summed by "or"
    Raises:  ShapeError where the lengths batch or k differ
    Source:  numpy.matmul of stacks of equal length
    """

    absorbs_transpose = True

    def infer_type(self, a: TensorType, b: TensorType) -> TensorType:
        if a.ndim != 3 or b.ndim != 3:
            raise ShapeError("batched_dot takes stacks of matrices, of rank 3, not {0} and {1}")
        if None not in (a.shape[0], b.shape[0]) and a.shape[0] != b.shape[0]:
            raise ShapeError(
                f"cannot multiply {{0}} by {{1}}: {{0.name}} has {a.shape[0]} matrices, {{1.name}} {b.shape[0]}"
            )
        batch = b.shape[0] if a.shape[0] is None else a.shape[0]
        inner = TensorType(a.dtype, a.shape[1:]), TensorType(b.dtype, b.shape[1:])
        return TensorType(a.dtype, (batch, *_product_shape(*inner, 0, 1)))

    def reference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return a @ b

    def gradient(self, a: Variable, b: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        return [BatchedDot()(g, b.dimshuffle(0, 2, 1)), BatchedDot()(a.dimshuffle(0, 2, 1), g)]

    def shape(self, same: Same, a: Sized, b: Sized) -> Sequence[Variable]:
        same(a.shape[2], b.shape[1])
        return (same(a.shape[0], b.shape[0]), a.shape[1], b.shape[2])

    def loops(self, out: Placed, a: Placed, b: Placed) -> tuple[ir.Stmt, ...]:
        (matrix,) = loop_indices(1)
        slices = [_MatrixOf(x, matrix) for x in (out, a, b)]
        return (ir.For(matrix, out.extents[0], Dot().loops(*slices)),)

    def shared_work(self, out: Placed, *inputs: Placed) -> ir.Expr:
        batch, m, n = out.extents
        return batch * m * n * inputs[0].extents[2] * ir.index(2)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        for left, right in (
            ((2, 3, 4), (2, 4, 2)), ((1, 2, 1), (1, 1, 3)), ((0, 2, 3), (0, 3, 2)), ((2, 1, 0), (2, 0, 3)),
        ):  # fmt: skip
            yield BatchedDot(), [rng.normal(size=left), rng.normal(size=right)]
        a, b = rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 5, 4))
        yield (lambda a, b: BatchedDot()(a.dimshuffle(0, 2, 1), b.dimshuffle(0, 2, 1))), [a, b]


@dataclass(frozen=True)
class _MatrixOf:
    """One matrix of a stack in memory."""

    stack: Placed
    position: ir.Var

    @property
    def transposed(self) -> bool:
        return self.stack.transposed

    @property
    def type(self) -> TensorType:
        return TensorType(self.stack.type.dtype, self.stack.type.shape[1:])

    @property
    def extents(self) -> tuple[ir.Expr, ...]:
        return self.stack.extents[1:]

    @property
    def pointer(self) -> ir.Pointer:
        rows, columns = self.extents
        start, first = self.stack.pointer, self.position * rows * columns
        return ir.Pointer(start.buffer, first if start.offset == ir.index(0) else start.offset + first)

    def load(self, *index: ir.Expr) -> ir.Expr:
        return self.stack.load(self.position, *index)

    def store(self, index: Sequence[ir.Expr], value: ir.Expr) -> ir.Stmt:
        return self.stack.store((self.position, *index), value)


def _product_shape(a: TensorType, b: TensorType, left: int, right: int) -> tuple[int | None, ...]:
    """The shape of a product of matrices and vectors; `left`, `right` are the numbers of the operands, for messages."""
    x, y = f"{{{left}}}", f"{{{right}}}"
    if (a.ndim, b.ndim) not in RANKS:
        raise ShapeError(f"{x} and {y} are not two matrices, or a matrix and a vector")
    _check_dtypes(a, b, x, y)
    inner_a, inner_b = a.shape[-1], b.shape[0]
    if inner_a is not None and inner_b is not None and inner_a != inner_b:
        raise ShapeError(_mismatch(x, y, inner_a, "first", inner_b))
    return (*a.shape[:-1], *b.shape[1:])


def _check_dtypes(a: TensorType, b: TensorType, x: str, y: str) -> None:
    if a.dtype != b.dtype:
        raise DtypeError(f"a product has one dtype, but {x} is {a.dtype} and {y} is {b.dtype}")


def _mismatch(x: str, y: str, of_x: int, which: str, of_y: int) -> str:
    name_x, name_y = (f"{operand[:-1]}.name}}" for operand in (x, y))
    return f"cannot multiply {x} by {y}: the last axis of {name_x} is {of_x}, the {which} of {name_y} is {of_y}"


def _shares(a: Variable, b: Variable, g: Variable) -> list[Variable]:
    """The gradients of a product of matrices and vectors."""
    if b.ndim == 1:
        return [g.dimshuffle(0, "x") * b.dimshuffle("x", 0), a.T.dot(g)]
    if a.ndim == 1:
        return [b.dot(g), a.dimshuffle(0, "x") * g.dimshuffle("x", 0)]
    return [g.dot(b.T), a.T.dot(g)]


def _call(out: Placed, alpha: ir.Expr, a: Placed, b: Placed, beta: ir.Expr) -> ir.Call:
    """The routine for `out = alpha * a @ b + beta * out`, with matrices as they are stored, by rows or by columns."""
    suffix = "f32" if out.type.dtype == "float32" else "f64"
    if a.type.ndim == b.type.ndim == 2:
        m, k = a.extents
        sizes = ir.index(a.transposed), ir.index(b.transposed), m, b.extents[1], k
        name = gemm(suffix, m, b.extents[1], k)
        return ir.Call(name, (*sizes, alpha, a.pointer, b.pointer, beta, out.pointer))
    matrix, vector, by_rows = (a, b, a.transposed) if a.type.ndim == 2 else (b, a, not b.transposed)
    m, n = reversed(matrix.extents) if matrix.transposed else matrix.extents
    args = ir.index(by_rows), m, n, alpha, matrix.pointer, vector.pointer, beta, out.pointer
    return ir.Call(f"sg_gemv_{suffix}", args)


def _integer_loops(out: Placed, a: Placed, b: Placed) -> tuple[ir.Stmt, ...]:
    """Zeros, then for each row of `a` its multiples of the rows of `b` added up."""
    dtype = out.type.dtype
    times, plus = ("bitwise_and", "bitwise_or") if dtype == "bool" else ("mul", "add")
    zero = ir.Literal(dtype, False if dtype == "bool" else 0)
    i, k, j = (ir.Var(ir.INDEX, name) for name in "ikj")
    rows = [i][: a.type.ndim - 1]
    columns = [j][: b.type.ndim - 1]
    index = (*rows, *columns)
    column_extents = b.extents[1:]
    product = ir.Operation(dtype, times, (a.load(*rows, k), b.load(k, *columns)))
    add = out.store(index, ir.Operation(dtype, plus, (out.load(*index), product)))
    clear = nest(columns, column_extents, out.store(index, zero))
    add_up = nest([k, *columns], [a.extents[-1], *column_extents], add)
    return nest(rows, a.extents[:-1], *clear, *add_up)


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
        _check_dtypes(a, b, "{0}", "{1}")
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
        _check_dtypes(a, b, "{0}", "{1}")
        n, m = a.shape[-1], b.shape[-2]
        if n is not None and m is not None and n != m:
            raise ShapeError(_mismatch("{0}", "{1}", n, "last but one", m))
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
    return (x.ndim if isinstance(x, Variable) else np.ndim(x)) == 0


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
