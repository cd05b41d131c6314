"""Products of two matrices, of a matrix and a vector, of stacks of matrices: each a library call or part of a loop."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from codegen import ir
from codegen.runtime import gemm
from symgraph.errors import DtypeError, ShapeError
from symgraph.graph.node import Example, Op, Operand, Placed, Same, Sized, Variable, Written
from symgraph.graph.printing import infix
from symgraph.graph.types import TensorType
from symgraph.ops.reduce import Reduction, accumulator
from symgraph.ops.slices import loop_indices, nest

RANKS = ((2, 2), (2, 1), (1, 2))


class _Product:
    """What products of two matrices, or of a matrix and a vector, have in common."""

    def format(self, *operands: Written) -> str | tuple[str, str]:
        return infix("@", *operands)

    def latex(self, *operands: Written) -> tuple[str, str]:
        a, b = operands
        return rf"{a:unary} \, {b:power}", "unary"

    def infer_type(self, *types: TensorType) -> TensorType:
        a, b = types
        return TensorType(a.dtype, _product_shape(a, b, 0, 1))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        a, b = arrays
        with np.errstate(all="ignore"):
            return np.asarray(a @ b)

    def gradient(self, *args: Variable) -> Sequence[Variable | None]:
        a, b, _, g = args
        return _shares(a, b, g)

    def shape(self, same: Same, *inputs: Sized) -> Sequence[Variable]:
        a, b = inputs
        same(a.shape[-1], b.shape[0])
        return (*a.shape[:-1], *b.shape[1:])


@dataclass(frozen=True)
class Dot(_Product, Op):
    """The product of two matrices, or of a matrix and a vector.

    Shapes:  (m, k), (k, n) -> (m, n);   (m, k), (k,) -> (m,);   (k,), (k, n) -> (n,);   over k = 0 the sums are 0
    Dtypes:  one for both, kept; bool is "and" summed by "or"
    Raises:  ShapeError where the lengths k differ
    Source:  numpy.dot
    """

    absorbs_transpose = True

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
class ShortDot(_Product, Op):
    """The product by a matrix of few rows: a formula for each element, so that it is part of the loops that use it.

    Shapes:  (m, rows), (rows, n) -> (m, n);   (rows,), (rows, n) -> (n,)
    Dtypes:  float32 or float64, one for both, kept
    Raises:  ShapeError where the lengths are not `rows`, which is 1 or more
    Source:  numpy.dot
    """

    rows: int

    def infer_type(self, *types: TensorType) -> TensorType:
        a, b = types
        if b.ndim != 2 or not a.is_float or self.rows < 1 or {a.shape[-1], b.shape[0]} - {None, self.rows}:
            raise ShapeError(f"{{0}} and {{1}} are not float matrices with {self.rows} columns and rows")
        return super().infer_type(a, b)

    def element(self, index: tuple[ir.Expr, ...], a: Operand, b: Operand) -> ir.Expr:
        *row, column = index
        terms = (a[*row, ir.index(k)] * b[ir.index(k), column] for k in range(self.rows))
        return reduce(operator.add, terms)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        for left, right in (((3, 2), (2, 4)), ((1, 3), (3, 1)), ((1,), (1, 3)), ((4,), (4, 2)), ((0, 2), (2, 0))):
            yield ShortDot(right[0]), [rng.normal(size=left), rng.normal(size=right)]


class RowDot(Reduction, Op):
    """The product of a matrix, or of one transposed, by a vector: sums over an axis, part of the loops that use them.

    Shapes:  (m, k), (k,) -> (m,) over axis 1;   (k, m), (k,) -> (m,) over axis 0
    Dtypes:  float32 or float64, one for both, kept
    Raises:  ShapeError where the lengths k differ
    Source:  numpy.dot of a or a.T and b
    """

    def format(self, *operands: Written) -> str | tuple[str, str]:
        a, b = operands
        return f"{a:unary}{'' if self.axes == (1,) else '.T'} @ {b:power}", "product"

    def latex(self, *operands: Written) -> tuple[str, str]:
        a, b = operands
        return (rf"{a:unary} \, {b:power}" if self.axes == (1,) else rf"{a:power}^{{\top}} \, {b:power}"), "unary"

    def infer_type(self, *types: TensorType) -> TensorType:
        a, b = types
        if self.axes not in ((0,), (1,)) or (a.ndim, b.ndim) != (2, 1) or not a.is_float:
            raise ShapeError("{0} and {1} are not a matrix of floats and a vector")
        turned = TensorType(a.dtype, a.shape if self.axes == (1,) else a.shape[::-1])
        return TensorType(a.dtype, _product_shape(turned, b, 0, 1))

    def reference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return (a if self.axes == (1,) else a.T) @ b

    def gradient(self, a: Variable, b: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        rows, sums = (g, b) if self.axes == (1,) else (b, g)
        return [rows.dimshuffle(0, "x") * sums.dimshuffle("x", 0), RowDot((1 - self.axes[0],))(a, g)]

    def shape(self, same: Same, *inputs: Sized) -> Sequence[Variable]:
        a, b = inputs
        same(a.shape[self.axes[0]], b.shape[0])
        return [a.shape[1 - self.axes[0]]]

    def element(self, index: tuple[ir.Expr, ...], a: Operand, b: Operand) -> ir.Expr:
        wide = accumulator(a.type.dtype)
        term = a[index] * b[(index[self.axes[0]],)]
        total = self.combine(wide, "add", ir.Cast(wide, term) if term.dtype != wide else term, index, a)
        return ir.Cast(a.type.dtype, total) if a.type.dtype != wide else total

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        for shape in ((3, 2), (1, 4), (4, 1), (0, 2), (2, 0)):
            for axis in (0, 1):
                yield cls((axis,)), [rng.normal(size=shape), rng.normal(size=shape[axis])]


@dataclass(frozen=True)
class InnerProduct(_Product, Op):
    """The sum of the products of the elements of two vectors.

    Shapes:  (k,), (k,) -> ()
    Dtypes:  one for both, kept; bool is "and" summed by "or"
    Raises:  ShapeError where the lengths differ
    Source:  numpy.dot
    """

    def latex(self, *operands: Written) -> tuple[str, str]:
        a, b = operands
        return rf"{a:unary} \cdot {b:power}", "unary"

    def infer_type(self, *types: TensorType) -> TensorType:
        a, b = types
        if a.ndim != 1 or b.ndim != 1:
            raise ShapeError("{0} and {1} are not two vectors")
        check_dtypes(a, b, "{0}", "{1}")
        n, m = a.shape[0], b.shape[0]
        if n is not None and m is not None and n != m:
            raise ShapeError(mismatch("{0}", "{1}", n, "first", m))
        return TensorType(a.dtype)

    def gradient(self, *args: Variable) -> Sequence[Variable | None]:
        a, b, _, g = args
        return [g * b, g * a]

    def shape(self, same: Same, *inputs: Sized) -> Sequence[Variable]:
        a, b = inputs
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
        return [beta * g, (g * Dot()(a, b)).sum(), alpha * ga, alpha * gb, (g * c).sum()]

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
    check_dtypes(a, b, x, y)
    inner_a, inner_b = a.shape[-1], b.shape[0]
    if inner_a is not None and inner_b is not None and inner_a != inner_b:
        raise ShapeError(mismatch(x, y, inner_a, "first", inner_b))
    return (*a.shape[:-1], *b.shape[1:])


def check_dtypes(a: TensorType, b: TensorType, x: str, y: str) -> None:
    """Raise DtypeError where the operands `x` and `y`, as messages name them, differ in dtype."""
    if a.dtype != b.dtype:
        raise DtypeError(f"a product has one dtype, but {x} is {a.dtype} and {y} is {b.dtype}")


def mismatch(x: str, y: str, of_x: int, which: str, of_y: int) -> str:
    """What a message says where the lengths differ over which the operands `x` and `y` are summed."""
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
