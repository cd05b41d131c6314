"""Sums and squared deviations of the columns of an array, in one pass over memory.

The rows are taken in runs that stay in the cache. A run is summed about a center of its own, the mean of the first few
of its rows, and what the runs have is joined in float64. The center is within the numbers: by the inequality of Cauchy
and Schwarz rows * (center - mean)² is at most rows / head - 1 = 15 times the sum of squares about the mean, so a run
loses at most four bits, whatever the numbers, and constant columns have no variance.

Source: Chan, Golub and LeVeque, Algorithms for computing the sample variance, The American Statistician (1983),
sections 2 and 3, on joined sums and on shifted data
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from codegen import ir
from symgraph.errors import DtypeError, ShapeError
from symgraph.graph.node import Example, Op, Placed, Same, Sized, Variable, as_variable
from symgraph.graph.types import TensorType
from symgraph.ops.creation import arange
from symgraph.ops.elementary import eq, gt, minimum, switch
from symgraph.ops.elementwise import cast
from symgraph.ops.joining import lengths, stack
from symgraph.ops.layout import product
from symgraph.ops.slices import type_of

HEAD_OF_RUN = 16  # a run has as many times the rows of its head
ROWS, ELEMENTS = 128, 2048  # in a run of rows, and of single elements

# Of a run, and its first row, how many rows it has, and how many of them are its head.
RUN, START, COUNT, HEAD = (ir.Var(ir.INDEX, name) for name in ("run", "start", "rows", "head"))


def are_leading(axes: tuple[int, ...]) -> bool:
    """Whether axes come first, so that what is reduced over them are columns."""
    return bool(axes) and axes == tuple(range(len(axes)))


def moments(x: Variable, axes: tuple[int, ...]) -> tuple[Variable, Variable]:
    """The sum over leading axes of a float array, and the sum of squared deviations from the mean.

    Shapes: the axes are removed. Dtypes: that of `x`.
    """
    sizes = lengths(x)
    kept = sizes[len(axes) :]
    rows = x.reshape([product(sizes[: len(axes)]), *([product(kept)] if kept else [])])
    joined = JoinedMoments(_length_of_run(rows.ndim))(MomentsOfRuns()(rows), lengths(rows)[0])
    total, squares = (cast(joined[k], x.dtype).reshape(kept) for k in (0, 2))
    return total, squares


def _length_of_run(ndim: int) -> int:
    return ROWS if ndim == 2 else ELEMENTS


@dataclass(frozen=True)
class MomentsOfRuns(Op):
    """For each run of rows: a center c, the sum of x - c and the sum of (x - c)².

    The center is the mean of the first rows of the run, or 0 where that is not finite.

    Shapes:  (n, columns) -> (ceil(n / 128), 3, columns); (n,) -> (ceil(n / 2048), 3)
    Dtypes:  float32, float64
    """

    def infer_type(self, x: TensorType) -> TensorType:
        if x.ndim not in (1, 2):
            raise ShapeError("runs are made of the elements of a vector or the rows of a matrix, not of {0}")
        if not x.is_float:
            raise DtypeError(f"deviations are floats, and {{0}} is {x.dtype}")
        n = x.shape[0]
        return TensorType(x.dtype, (None if n is None else -(-n // _length_of_run(x.ndim)), 3, *x.shape[1:]))

    def shape(self, same: Same, *inputs: Sized) -> Sequence[Variable]:
        n, *columns = inputs[0].shape
        length = _length_of_run(1 + len(columns))
        return [(n + (length - 1)) // length, as_variable(3), *columns]

    def reference(self, x: np.ndarray) -> np.ndarray:
        length = _length_of_run(x.ndim)
        out = np.zeros((-(-len(x) // length), 3, *x.shape[1:]), x.dtype)
        with np.errstate(all="ignore"):
            for run, sums in enumerate(out):
                rows = x[run * length : (run + 1) * length]
                mean = rows[0] + (rows[: length // HEAD_OF_RUN] - rows[0]).mean(axis=0)
                sums[0] = np.where(np.isfinite(mean), mean, 0)
                sums[1] = (rows - sums[0]).sum(axis=0)
                sums[2] = ((rows - sums[0]) ** 2).sum(axis=0)
        return out

    def gradient(self, x: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        n, length = x.shape[0], _length_of_run(x.ndim)
        run = arange(n) // length
        count = minimum(n - arange(out.shape[0]) * length, length)
        count = count.expand_dims(1) if x.ndim == 2 else count
        by_center = g[:, 0] - cast(count, x.dtype) * g[:, 1] - 2 * out[:, 1] * g[:, 2]
        by_center = by_center / cast(minimum(count, length // HEAD_OF_RUN), x.dtype)
        in_head = arange(n) - run * length < length // HEAD_OF_RUN
        in_head = in_head.expand_dims(1) if x.ndim == 2 else in_head
        by_row = g[:, 1][run] + 2 * (x - out[:, 0][run]) * g[:, 2][run]
        return [by_row + switch(in_head, by_center[run], as_variable(0, x.dtype))]

    def loops(self, out: Placed, x: Placed) -> tuple[ir.Stmt, ...]:
        length = _length_of_run(x.type.ndim)
        bounds = (
            ir.Declare(START, RUN * length),
            ir.Declare(COUNT, _at_most(length, x.extents[0] - START)),
            ir.Declare(HEAD, _at_most(length // HEAD_OF_RUN, COUNT)),
        )
        sums = _sums_of_rows(out, x) if x.type.ndim == 2 else _sums_of_elements(out, x)
        return (ir.For(RUN, out.extents[0], (*bounds, *sums)),)

    def shared_work(self, out: Placed, *inputs: Placed) -> ir.Expr:
        n, *columns = inputs[0].extents
        return n * columns[0] * 4 if columns else n * 4

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        for shape in ((4, 3), (1, 2), (0, 2), (2, 0), (300, 2), (8,), (0,), (4500,)):
            yield cls(), [rng.integers(-8, 9, shape).astype("float64")]


def _sums_of_rows(out: Placed, x: Placed) -> Iterable[ir.Stmt]:
    """What is done for one run of rows; its sums are rows of `out`, and are added to there."""
    buffer, dtype, columns = out.pointer.buffer, x.type.dtype, x.extents[1]
    row, j = _indices("row", "j")
    center, deviations, squares = _indices("center", "deviations", "squares")  # where in `out` they begin

    def at(place: ir.Expr) -> ir.Expr:
        return ir.Load(dtype, buffer, place + j)

    def put(place: ir.Expr, value: ir.Expr) -> ir.Stmt:
        return ir.Store(buffer, place + j, value)

    def columnwise(*body: ir.Stmt) -> ir.Stmt:
        return ir.For(j, columns, body, simd=True)

    def add(place: ir.Expr, term: ir.Expr) -> ir.Stmt:
        return put(place, at(place) + term)

    d, mean, zero = ir.Var(dtype, "d"), ir.Var(dtype, "mean"), ir.Literal(dtype, 0)
    yield ir.Declare(center, RUN * 3 * columns)
    yield ir.Declare(deviations, center + columns)
    yield ir.Declare(squares, deviations + columns)
    yield columnwise(put(center, zero), put(deviations, zero), put(squares, zero))
    origin = x.load(START, j)
    yield ir.For(row, HEAD, (columnwise(add(center, x.load(START + row, j) - origin)),))
    yield columnwise(ir.Declare(mean, origin + at(center) / ir.Cast(dtype, HEAD)), put(center, _if_finite(mean)))
    deviation = ir.Declare(d, x.load(START + row, j) - at(center))
    yield ir.For(row, COUNT, (columnwise(deviation, add(deviations, d), add(squares, d * d)),), jammable=True)


def _sums_of_elements(out: Placed, x: Placed) -> Iterable[ir.Stmt]:
    """What is done for one run of elements."""
    dtype = x.type.dtype
    (i,) = _indices("i")
    center, deviations, squares, d = (ir.Var(dtype, name) for name in ("center", "deviations", "squares", "d"))
    origin, total, mean = (ir.Var(dtype, name) for name in ("origin", "total", "mean"))
    zero = ir.Literal(dtype, 0)

    def add(to: ir.Var, term: ir.Expr) -> ir.Stmt:
        return ir.Assign(to, to + term)

    yield ir.Declare(total, zero, mutable=True)
    yield ir.Declare(origin, x.load(START))
    yield ir.For(i, HEAD, (add(total, x.load(START + i) - origin),), simd=True, sums=(("+", total),))
    yield ir.Declare(mean, origin + total / ir.Cast(dtype, HEAD))
    yield ir.Declare(center, _if_finite(mean))
    yield ir.Declare(deviations, zero, mutable=True)
    yield ir.Declare(squares, zero, mutable=True)
    body = ir.Declare(d, x.load(START + i) - center), add(deviations, d), add(squares, d * d)
    yield ir.For(i, COUNT, body, simd=True, sums=(("+", deviations), ("+", squares)))
    for k, value in enumerate((center, deviations, squares)):
        yield out.store((RUN, ir.index(k)), value)


@dataclass(frozen=True)
class JoinedMoments(Op):
    """The sum of n rows, their mean and the sum of squared deviations from it, by what there is of each run of them.

    Shapes:  (runs, 3, ...), () -> (3, ...)
    Dtypes:  float32 or float64, int64 -> float64
    """

    length: int  # of all runs but the last

    def infer_type(self, *types: TensorType) -> TensorType:
        runs, n = types
        if runs.ndim < 2 or runs.shape[1] not in (3, None) or n.ndim != 0:
            raise ShapeError("joined are three sums for each run, and a number of rows; not {0} and {1}")
        if not runs.is_float or n.dtype != ir.INDEX:
            raise DtypeError("joined are sums of floats, and the number of rows is int64; not {0} and {1}")
        return TensorType("float64", (3, *runs.shape[2:]))

    def shape(self, same: Same, *inputs: Sized) -> Sequence[Variable]:
        return [as_variable(3), *inputs[0].shape[2:]]

    def checks(self, *inputs: Sized) -> Iterable[Variable]:
        """That there are three sums, and as many runs as the rows make."""
        runs, n = inputs
        yield eq(runs.shape[1], as_variable(3))
        yield eq(runs.shape[0], (n.value + (self.length - 1)) // self.length)

    def reference(self, runs: np.ndarray, n: np.ndarray) -> np.ndarray:
        self.infer_type(type_of(runs), type_of(n))
        if len(runs) != -(-n // self.length):
            raise ShapeError(f"{n} rows are not {len(runs)} runs of {self.length}")
        center, deviations, squares = np.moveaxis(runs.astype("float64"), 1, 0)
        count = np.minimum(n - np.arange(len(runs)) * self.length, self.length)
        count = count.reshape(-1, *[1] * (runs.ndim - 2)).astype("float64")
        with np.errstate(all="ignore"):
            origin = center[0] if len(center) else np.zeros(center.shape[1:])
            total = (count * center + deviations).sum(axis=0)
            mean = origin + (count * (center - origin) + deviations).sum(axis=0) / n
            shift = center - mean
            about_mean = (squares + shift * (2 * deviations + count * shift)).sum(axis=0)
            return np.stack([total, mean, np.maximum(about_mean, 0)])

    def gradient(self, runs: Variable, n: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        wide = cast(runs, "float64")
        center, deviations = wide[:, 0], wide[:, 1]
        count = cast(minimum(n - arange(runs.shape[0]) * self.length, self.length), "float64")
        count = count.dimshuffle(0, *["x"] * (runs.ndim - 2))
        shift = center - out[1]
        by_squares = switch(gt(out[2], 0), g[2], as_variable(0.0))
        by_shift = 2 * by_squares * (deviations + count * shift)
        by_total = g[0] + (g[1] - by_shift.sum(axis=0)) / n
        by_deviations = by_total + 2 * shift * by_squares
        shares = [count * by_total + by_shift, by_deviations, by_squares.broadcast_to(center.shape)]
        return [cast(stack(shares, axis=1), runs.dtype), None]

    def loops(self, out: Placed, runs: Placed, n: Placed) -> tuple[ir.Stmt, ...]:
        wide, zero = "float64", ir.Literal("float64", 0)
        j = ir.Var(ir.INDEX, "j")
        column = [j][: runs.type.ndim - 2]
        deviations, shift = ir.Var(wide, "deviations"), ir.Var(wide, "shift")
        count = ir.Cast(wide, COUNT)

        def part(k: int, run: ir.Expr = RUN) -> ir.Expr:
            value = runs.load(run, ir.index(k), *column)
            return value if value.dtype == wide else ir.Cast(wide, value)

        def put(k: int, value: ir.Expr) -> ir.Stmt:
            return out.store((ir.index(k), *column), value)

        def columnwise(*body: ir.Stmt) -> tuple[ir.Stmt, ...]:
            return (ir.For(j, runs.extents[2], body, simd=True),) if column else body

        def for_each_run(*body: ir.Stmt) -> ir.Stmt:
            rows = ir.Declare(COUNT, _at_most(self.length, n.load() - RUN * self.length))
            return ir.For(RUN, runs.extents[0], (rows, *columnwise(*body)))

        total, mean, squares = (out.load(ir.index(k), *column) for k in range(3))
        origin = part(0, ir.index(0))  # constant columns, of which it is the mean, have exactly that
        some = ir.Operation("bool", "gt", (runs.extents[0], ir.index(0)))
        first = ir.Select(wide, some, origin, zero)
        about_mean = part(2) + shift * (2 * deviations + count * shift)
        return (
            *columnwise(put(0, zero), put(1, zero), put(2, zero)),
            for_each_run(
                ir.Declare(deviations, part(1)),
                put(0, total + (count * part(0) + deviations)),
                put(1, mean + (count * (part(0) - origin) + deviations)),
            ),
            *columnwise(put(1, first + mean / ir.Cast(wide, n.load()))),
            for_each_run(
                ir.Declare(deviations, part(1)), ir.Declare(shift, part(0) - mean), put(2, squares + about_mean)
            ),
            *columnwise(put(2, ir.Operation(wide, "maximum", (squares, zero)))),
        )

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        for shape, n in (((2, 3, 4), 10), ((1, 3, 2), 3), ((3, 3), 20), ((2, 3, 0), 9)):
            sums = rng.normal(size=shape)
            sums[:, 2] += 5
            yield cls(8), [sums, np.array(n)]


def _indices(*names: str) -> list[ir.Var]:
    return [ir.Var(ir.INDEX, name) for name in names]


def _at_most(most: int, number: ir.Expr) -> ir.Expr:
    is_less = ir.Operation("bool", "lt", (number, ir.index(most)))
    return ir.Select(ir.INDEX, is_less, number, ir.index(most))


def _if_finite(x: ir.Expr) -> ir.Expr:
    """A number, or 0 in place of NaN and infinity."""
    return ir.Select(x.dtype, ir.Operation("bool", "isfinite", (x,)), x, ir.Literal(x.dtype, 0))
