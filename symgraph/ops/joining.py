"""Several arrays in one: join, concatenate, stack; and back: split; and one array several times: tile, repeat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from math import prod
from operator import add, mul
from typing import Any

import numpy as np

from codegen import ir
from symgraph.errors import DtypeError, ShapeError
from symgraph.graph.node import Constant, Example, Op, Placed, Same, Sized, Variable, as_variable, located
from symgraph.graph.provenance import current_origin
from symgraph.graph.types import FLOATS, TensorType, promote
from symgraph.ops.axes import axis_of
from symgraph.ops.elementary import eq, mod
from symgraph.ops.elementwise import cast
from symgraph.options import config


@dataclass(frozen=True)
class Join(Op):
    """Arrays one after the other along an existing axis.

    Shapes:  (..., d1, ...), (..., d2, ...), ... -> (..., d1 + d2 + ..., ...); the other lengths are equal
    Dtypes:  one for all
    Raises:  ShapeError where ranks or known lengths of the other axes differ
    """

    axis: int

    def infer_type(self, *types: TensorType) -> TensorType:
        first = types[0]
        lengths = list(first.shape)
        for k, t in enumerate(types[1:], 1):
            if t.ndim != first.ndim:
                raise ShapeError(f"cannot join {{0}} and {{{k}}}: their ranks are {first.ndim} and {t.ndim}")
            for axis, n in enumerate(t.shape):
                if axis == self.axis or n is None:
                    continue
                if lengths[axis] not in (None, n):
                    raise ShapeError(
                        f"cannot join {{0}} and {{{k}}} along axis {self.axis}: their lengths on axis {axis} differ"
                    )
                lengths[axis] = n
        joined = [t.shape[self.axis] for t in types]
        lengths[self.axis] = None if None in joined else sum(n for n in joined if n is not None)
        return TensorType(first.dtype, tuple(lengths))

    def reference(self, *xs: np.ndarray) -> np.ndarray:
        return np.concatenate(xs, axis=self.axis)

    def gradient(self, *args: Variable) -> Sequence[Variable | None]:
        *xs, out, g = args
        if not out.type.is_float:
            return [None] * len(xs)
        return _pieces(g, [lengths(x)[self.axis] for x in xs], self.axis)

    def shape(self, same: Same, *xs: Sized) -> Sequence[Variable]:
        lengths = list(xs[0].shape)
        for x in xs[1:]:
            for axis, n in enumerate(x.shape):
                lengths[axis] = lengths[axis] + n if axis == self.axis else same(lengths[axis], n)
        return lengths

    def loops(self, out: Placed, *xs: Placed) -> tuple[ir.Stmt, ...]:
        statements: list[ir.Stmt] = []
        start: ir.Expr = ir.index(0)
        for k, x in enumerate(xs):
            statements.append(self._put(out, x, start))
            length = x.extents[self.axis]
            if isinstance(start, ir.Literal) and isinstance(length, ir.Literal):
                start = ir.index(int(start.value) + int(length.value))
            elif k == 0:
                start = length
            elif k < len(xs) - 1:  # in a variable of its own, or the sums would nest as deep as there are arrays
                end = ir.Var(ir.INDEX, f"start{k + 1}")
                statements.append(ir.Declare(end, start + length))
                start = end
        return tuple(statements)

    def _put(self, out: Placed, x: Placed, start: ir.Expr) -> ir.Stmt:
        """Write one array from `start` on; in one piece where it is one in the result too."""
        zero = ir.index(0)
        if all(n == 1 for n in x.type.shape):
            place = [start if axis == self.axis else zero for axis in range(x.type.ndim)]
            return out.store(place, x.load(*[zero] * x.type.ndim))
        if all(n == 1 for n in x.type.shape[: self.axis]):
            offset = zero if start == zero else _product([start, *x.extents[self.axis + 1 :]])
            offset = offset if out.pointer.offset == zero else out.pointer.offset + offset
            return ir.Copy(ir.Pointer(out.pointer.buffer, offset), x.pointer, _product(x.extents))
        index: list[ir.Expr] = [ir.Var(ir.INDEX, f"i{axis}") for axis in range(x.type.ndim)]
        target = [start + i if axis == self.axis and start != zero else i for axis, i in enumerate(index)]
        body = out.store(target, x.load(*index))
        for i, extent in reversed(list(zip(index, x.extents, strict=True))):
            assert isinstance(i, ir.Var)
            body = ir.For(i, extent, (body,))
        return body

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        a, b, empty = rng.normal(size=(2, 3)), rng.normal(size=(1, 3)), np.zeros((0, 3))
        yield Join(0), [a, b, a]
        yield Join(0), [empty, b]
        yield Join(1), [a, a[:, :1]]
        yield Join(0), [a[0]]
        yield Join(1), [rng.normal(size=(2, n, 2)) for n in (1, 0, 2)]


def _product(factors: Iterable[ir.Expr]) -> ir.Expr:
    """The product of some lengths, those that are known multiplied at once."""
    factors = list(factors)
    known = prod(int(n.value) for n in factors if isinstance(n, ir.Literal))
    rest = [n for n in factors if not isinstance(n, ir.Literal)]
    return reduce(mul, rest if known == 1 and rest else [*rest, ir.index(known)])


def join(axis: int, *tensors: Any) -> Variable:
    """Theano's spelling of `concatenate(tensors, axis)`."""
    return concatenate(tensors, axis)


def concatenate(tensors: Sequence[Any], axis: int = 0) -> Variable:
    """Arrays one after the other along an existing axis, as numpy.concatenate.

    Shapes: equal but along `axis`, where the lengths are added. Dtypes: the one that holds them all.
    Raises ShapeError for no arrays, scalars, or shapes that differ elsewhere; AxisError for an axis that is not there.
    """
    xs = _alike(tensors, "concatenate")
    if xs[0].ndim == 0:
        raise ShapeError("concatenate joins arrays along an axis, and scalars have none: use stack")
    return Join(axis_of(xs[0], axis))(*xs)


def stack(tensors: Any, *more: Any, axis: int = 0) -> Variable:
    """Arrays of equal shape one after the other along a new axis, as numpy.stack; also `stack(a, b)`, as in Theano.

    Shapes: all (...) -> (..., number of arrays, ...). Dtypes: the one that holds them all.
    Raises ShapeError for no arrays or shapes that differ, AxisError for an axis that is out of range.
    """
    if more and isinstance(tensors, (list, tuple)):
        *more_tensors, axis = more
        if more_tensors or isinstance(axis, Variable):
            raise TypeError("stack takes a list of arrays and an axis, or several arrays")
        more = ()
    items = tensors if isinstance(tensors, (list, tuple)) else (tensors, *more)
    xs = _alike(items, "stack")
    axis = axis_of(xs[0], axis, 1)
    for x in xs[1:]:
        known = zip(xs[0].type.shape, x.type.shape, strict=False)
        if x.ndim != xs[0].ndim or any(n != m and None not in (n, m) for n, m in known):
            raise located(ShapeError("cannot stack {0} and {1}: their shapes differ"), (xs[0], x), current_origin())
    return Join(axis)(*[x.expand_dims(axis) for x in xs])


def _alike(tensors: Any, what: str) -> list[Variable]:
    """The arrays as variables of one dtype."""
    if isinstance(tensors, Variable):
        tensors = list(tensors)
    xs = [as_variable(x) for x in tensors]
    if not xs:
        raise ShapeError(f"{what} needs at least one array")
    numbers = [type(x) in (bool, int, float) for x in tensors]
    dtypes = [x.dtype for x, number in zip(xs, numbers, strict=True) if not number]
    weak = [type(x)(0) for x, number in zip(tensors, numbers, strict=True) if number]
    dtype = str(np.result_type(*dtypes, *weak)) if dtypes else promote(*[x.dtype for x in xs])
    if not any(x in FLOATS for x in dtypes) and any(type(x) is float for x in tensors):
        dtype = config.floatX
    return [cast(x if not number else item, dtype) for x, item, number in zip(xs, tensors, numbers, strict=True)]


def split(
    x: Any, indices_or_sections: Any = None, n_splits: int | None = None, axis: int = 0, *, splits_size: Any = None
) -> list[Variable]:
    """The parts of an array along an axis, as numpy.split; with `n_splits` as Theano's.

    split(x, 3, axis=0): three parts of equal length; split(x, [2, 5], axis=0): x[:2], x[2:5], x[5:]
    split(x, splits_size, n_splits, axis=0): parts of the given sizes, a sequence or a vector

    Raises ShapeError where a length does not divide, sizes do not add up to it, or their number is not `n_splits`: here
    where that is known, else at a call.
    """
    x = as_variable(x)
    axis = axis_of(x, axis)
    if n_splits is not None or splits_size is not None:
        sizes = indices_or_sections if splits_size is None else splits_size
        return _split_by_sizes(x, sizes, n_splits if n_splits is not None else len(sizes), axis)
    if indices_or_sections is None:
        raise TypeError("split needs the number of parts, the positions where they begin, or splits_size")
    if isinstance(indices_or_sections, (int, np.integer)):
        sections = int(indices_or_sections)
        if sections <= 0:
            raise ShapeError(f"an array is split into 1 part or more, not {sections}")
        x = Divisible(axis, sections)(x)
        return _pieces(x, [lengths(x)[axis] // sections] * sections, axis)
    bounds = [0, *indices_or_sections, None]
    return [x[(slice(None),) * axis + (slice(a, b),)] for a, b in pairwise(bounds)]


def _split_by_sizes(x: Variable, sizes: Any, n_splits: int, axis: int) -> list[Variable]:
    if isinstance(sizes, Constant):
        sizes = sizes.data
    if isinstance(sizes, Variable):
        known = sizes.type.shape[0] if sizes.ndim == 1 else -1
        parts: list[Any] = []
        if known in (None, n_splits):
            sizes = cast(sizes.specify_shape((n_splits,)), "int64")
            parts = [sizes[k] for k in range(n_splits)]
    else:
        parts = list(sizes) if isinstance(sizes, (list, tuple, np.ndarray)) else []
    if len(parts) != n_splits:
        raise ShapeError(f"split into {n_splits} parts needs {n_splits} sizes, one for each")
    parts = [n.data[()] if isinstance(n, Constant) and n.ndim == 0 else n for n in parts]
    wrong = [n for n in parts if not isinstance(n, (Variable, int, np.integer))]
    if wrong:
        raise DtypeError(f"the sizes of parts are integers, not {wrong[0]}")
    numbers = [int(n) for n in parts if not isinstance(n, Variable)]
    length = x.type.shape[axis]
    if any(n < 0 for n in numbers) or (len(numbers) == n_splits and length not in (None, sum(numbers))):
        message = f"{{0}} does not split into parts of sizes {numbers} along axis {axis}"
        reason = "a size cannot be negative" if min(numbers) < 0 else f"they add up to {sum(numbers)}, not {length}"
        raise located(ShapeError(f"{message}: {reason}"), (x,), current_origin())
    total: list[Any] = [None] * x.ndim
    total[axis] = reduce(add, parts, 0)
    return _pieces(x.specify_shape(total), parts, axis)


@dataclass(frozen=True)
class Divisible(Op):
    """The operand itself, whose length on an axis is a multiple of a number.

    Shapes:  any, kept
    Dtypes:  any, kept
    Raises:  ShapeError where the length is no multiple
    """

    axis: int
    sections: int

    def infer_type(self, x: TensorType) -> TensorType:
        if (x.shape[self.axis] or 0) % self.sections:
            raise ShapeError(self._complaint(x.shape[self.axis]))
        return x

    def _complaint(self, length: int | None) -> str:
        parts = f"{self.sections} equal parts"
        return f"{{0}} does not split along axis {self.axis}: {length} is not divisible into {parts}"

    def reference(self, x: np.ndarray) -> np.ndarray:
        if x.shape[self.axis] % self.sections:
            raise ShapeError(self._complaint(x.shape[self.axis]))
        return x

    def gradient(self, x: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        return [g]

    def checks(self, x: Sized) -> Iterable[Variable]:
        known = x.variable.type.shape[self.axis]
        return [eq(mod(x.shape[self.axis], self.sections), 0)] if known is None else []

    def expand(self, x: Variable) -> Variable:
        return x

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.random.default_rng(0).normal(size=(2, 3))
        yield cls(0, 2), [x]
        yield cls(1, 3), [x]
        yield cls(0, 2), [x[:0]]


def lengths(x: Variable) -> list[Any]:
    """The lengths of an array: ints where they are known, else int64 scalars."""
    return [x.shape[axis] if n is None else n for axis, n in enumerate(x.type.shape)]


def _pieces(x: Variable, sizes: Sequence[Any], axis: int) -> list[Variable]:
    """Consecutive parts of the given lengths along an axis."""
    parts = []
    start: Any = 0
    for n in sizes:
        stop = start + n
        parts.append(x[(slice(None),) * axis + (slice(start, stop),)])
        start = stop
    return parts


def tile(x: Any, reps: Any, ndim: int | None = None) -> Variable:
    """The array repeated as a whole, as numpy.tile.

    reps: a number for each axis, the last one first to be matched; ints or integer scalars
    ndim: the rank of the result, where it is larger than that of x and the number of reps (Theano's argument)
    Shapes: (..., d, ...) -> (..., r * d, ...).
    """
    x = as_variable(x)
    counts = list(reps) if isinstance(reps, (list, tuple, np.ndarray)) or getattr(reps, "ndim", 0) == 1 else [reps]
    rank = max(x.ndim, len(counts), ndim or 0)
    if ndim is not None and ndim < rank:
        raise ShapeError(f"tile to rank {ndim}, but the array and its reps have rank {rank}")
    counts = [1] * (rank - len(counts)) + counts
    x = x.dimshuffle(*["x"] * (rank - x.ndim), *range(x.ndim))
    shape = lengths(x)
    spread = x.dimshuffle(*[entry for axis in range(rank) for entry in ("x", axis)])
    spread = spread.broadcast_to([entry for r, n in zip(counts, shape, strict=True) for entry in (r, n)])
    return spread.reshape([r * n for r, n in zip(counts, shape, strict=True)])


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Variable:
    """Each element repeated, as numpy.repeat; without an axis, those of the flattened array.

    repeats: an int or integer scalar; or ints, one for each position along the axis
    Shapes: (..., d, ...) -> (..., repeats * d, ...), or the sum of repeats in place of d.
    Raises ShapeError where the number of repeats is not the known length, DtypeError for repeats that are not integers.
    """
    x = as_variable(x)
    if axis is None:
        x, axis = x.flatten(), 0
    axis = axis_of(x, axis)
    shape = lengths(x)
    if isinstance(repeats, Constant):
        repeats = repeats.data
    if (repeats.ndim if isinstance(repeats, Variable) else np.ndim(repeats)) == 0:
        before, n, after = shape[:axis], shape[axis], shape[axis + 1 :]
        spread = x.expand_dims(axis + 1).broadcast_to([*before, n, repeats, *after])
        return spread.reshape([*before, n * repeats, *after])
    if isinstance(repeats, Variable):
        raise TypeError("repeats of different sizes must be numbers, for the length of the result depends on them")
    counts = np.asarray(repeats) if np.size(repeats) or isinstance(repeats, np.ndarray) else np.zeros(0, "int64")
    if counts.dtype.kind not in "iu":
        raise DtypeError(f"repeats are integers, not {counts.dtype}")
    if x.type.shape[axis] not in (None, len(counts)):
        raise ShapeError(f"{len(counts)} repeats for an axis of length {x.type.shape[axis]}")
    fixed = [len(counts) if k == axis else None for k in range(x.ndim)]
    return x.specify_shape(fixed).take(np.repeat(np.arange(len(counts)), counts), axis=axis)
