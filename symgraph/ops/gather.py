"""Indexing by integer arrays: take elements, and store or add to elements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codegen import ir
from symgraph.errors import DtypeError, IndexingError, ShapeError
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
from symgraph.graph.types import Shape, TensorType, broadcast_shapes, format_shape
from symgraph.ops.creation import Arange, arange, zeros
from symgraph.ops.elementary import eq, switch
from symgraph.ops.elementwise import align, cast, unbroadcast
from symgraph.ops.slices import broadcast_lengths, check_fits, declare_fits, loop_indices, nest, stored


@dataclass(frozen=True)
class Places:
    """Which axes of an array are indexed by arrays, and where in the result the axes of those arrays stand.

    The index arrays broadcast together. In the result their axes take the place of the indexed ones where these are
    neighbours, and come first where they are not.
    """

    axes: tuple[int, ...]

    @property
    def place(self) -> int:
        """The axis of the result at which those of the index arrays begin."""
        first = self.axes[0]
        return first if self.axes == tuple(range(first, first + len(self.axes))) else 0

    def arrange(self, batch: Sequence, kept: Sequence) -> list:
        """What belongs to each axis of the result, from what belongs to the index arrays' axes and to those kept."""
        return [*kept[: self.place], *batch, *kept[self.place :]]

    def kept(self, per_axis: Sequence) -> list:
        """What belongs to the axes of the array that no index array takes."""
        return [entry for axis, entry in enumerate(per_axis) if axis not in self.axes]

    def infer_shape(self, x: TensorType, indices: Sequence[TensorType]) -> Shape:
        """The lengths of the result; raises ShapeError and DtypeError for index arrays that do not fit."""
        if len(indices) != len(self.axes) or any(axis >= x.ndim for axis in self.axes):
            raise IndexingError(f"{{0}} cannot be indexed on axes {self.axes} by {len(indices)} arrays")
        for index in indices:
            if index.dtype[0] not in "iu":
                raise DtypeError(f"{{0.name}} is indexed by integers, not by {index}")
        try:
            batch = broadcast_shapes(index.shape for index in indices)
        except ShapeError as error:
            shapes = " and ".join(format_shape(index.shape) for index in indices)
            raise ShapeError(f"{{0}} is indexed by arrays of shapes {shapes}: {error}") from None
        return tuple(self.arrange(batch, self.kept(x.shape)))

    def shape(self, same: Same, x: Sized, indices: Sequence[Sized]) -> list[Variable]:
        """The lengths of the result; index arrays are declared to have equal lengths, and some those of their axes."""
        for k, axis in self.counted(x.variable.type.shape, [i.variable for i in indices]):
            same(indices[k].shape[0], x.shape[axis])
        batch = broadcast_lengths(same, [(i.shape, i.variable.type.shape) for i in indices])
        return self.arrange(batch, self.kept(x.shape))

    def check(self, shape: Shape, indices: Sequence[np.ndarray | None], first_index: int) -> None:
        """Raise IndexingError for an index out of range; first_index: the number of the first index array's operand."""
        for k, (axis, index) in enumerate(zip(self.axes, indices, strict=True)):
            n = shape[axis]
            if n is None or index is None:
                continue
            wrong = (index < -n) | (index >= n)
            if wrong.any():
                raise IndexingError(
                    f"index {index[wrong][0]} in {{{first_index + k}.name}} is out of range for axis {axis} of {{0}}"
                )

    def counted(self, shape: Shape, indices: Sequence[Variable]) -> list[tuple[int, int]]:
        """(number, axis) of each index beside others that counts 0, 1, 2, …: it is taken to reach the end of its axis.

        So x[arange(n), y] picks an element of every row. An index of known length is what it is, and so is one marked
        as partial.
        """
        found = []
        for k, (axis, i) in enumerate(zip(self.axes, indices, strict=True)):
            if len(indices) > 1 and _counts_up(i) and not i.owner.op.partial:  # type: ignore[union-attr]
                if i.type.shape == (None,) and shape[axis] != 1:
                    found.append((k, axis))
        return found

    def checks(self, x: Sized, indices: Sequence[Sized]) -> Iterable[Variable]:
        """That each index is within its axis."""
        for axis, i in zip(self.axes, indices, strict=True):
            known = x.variable.type.shape[axis]
            if isinstance(i.variable, Constant) and known is not None:
                continue  # checked where the expression was written
            n, index = x.shape[axis], i.variable if i.variable.ndim else i.value
            if _counts_up(index):
                if i.shape[0] is not n:
                    yield i.shape[0] <= n
                continue
            lowest = as_variable(0) if index.dtype.startswith("u") else -n
            index = cast(index, "int64")
            inside = (index >= lowest) & (index < n)
            yield inside.all() if inside.ndim else inside

    def text(self, rank: int, names: Sequence[str]) -> str:
        """As the user wrote it: `[:, i]`."""
        by_axis = dict(zip(self.axes, names, strict=True))
        return f"[{', '.join(by_axis.get(axis, ':') for axis in range(rank) if axis <= max(self.axes))}]"

    def numpy_index(self, rank: int, indices: Sequence[np.ndarray]) -> tuple[Any, ...]:
        """As numpy indexes."""
        by_axis = dict(zip(self.axes, indices, strict=True))
        return tuple(by_axis.get(axis, slice(None)) for axis in range(rank))


def _counts_up(index: Variable) -> bool:
    """Whether it is 0, 1, 2, …: then its length says what is to be checked, and no element need be looked at."""
    if index.owner is None or not isinstance(index.owner.op, Arange):
        return False
    start, step = index.owner.inputs[:2]
    return isinstance(start, Constant) and isinstance(step, Constant) and (start.value, step.value) == (0, 1)


def counted(node: Apply) -> list[tuple[Variable, Variable, int]]:
    """(index, array, axis) for each index of a `Take` or `Scatter` that is taken to reach the end of its axis."""
    if not isinstance(node.op, (Take, Scatter)):
        return []
    x, indices = node.inputs[0], node.inputs[1 if isinstance(node.op, Take) else 2 :]
    return [(indices[k], x, axis) for k, axis in node.op.places.counted(x.type.shape, indices)]


def from_front(i: ir.Expr, n: ir.Expr) -> ir.Expr:
    """An index as int64, counted from the front."""
    signed = i.dtype.startswith("i")
    i = i if i.dtype == ir.INDEX else ir.Cast(ir.INDEX, i)
    return ir.Select(ir.INDEX, ir.Operation("bool", "lt", (i, ir.index(0))), i + n, i) if signed else i


@dataclass(frozen=True)
class Take(Op):
    """The elements of an array at the places that integer arrays say: `x[i]`, `x[i, j]`, `x[:, i]`.

    Shapes:  x, and an index array for each of `places.axes` -> those axes replaced by those of the index arrays, which
             broadcast together; they come first where the indexed axes are not neighbours
    Dtypes:  any, kept; indices of any integer dtype, negative ones count from the end
    Raises:  ShapeError where the index arrays do not broadcast, IndexError for an index out of range
    Source:  numpy, advanced indexing

    within: x is a slice taken by the same brackets, as in `y[1:, i]`
    """

    places: Places
    within: bool = False

    def format(self, *operands: Written) -> str:
        x, *indices = operands
        return f"{x:atom}{self.places.text(x.type.ndim, [f'{i}' for i in indices])}"

    def latex(self, *operands: Written) -> str:
        x, *indices = operands
        return f"{{{x:atom}}}_{{{self.places.text(x.type.ndim, [f'{i}' for i in indices])[1:-1]}}}"

    def infer_type(self, x: TensorType, *indices: TensorType) -> TensorType:
        return TensorType(x.dtype, self.places.infer_shape(x, indices))

    def reference(self, x: np.ndarray, *indices: np.ndarray) -> np.ndarray:
        self.places.check(x.shape, indices, 1)
        return x[self.places.numpy_index(x.ndim, indices)]

    def gradient(self, x: Variable, *rest: Variable) -> Sequence[Variable | None]:
        *indices, _, g = rest
        return [Scatter(self.places, True)(x.zeros_like(), g, *indices), *[None] * len(indices)]

    def shape(self, same: Same, x: Sized, *indices: Sized) -> Sequence[Variable]:
        return self.places.shape(same, x, indices)

    def checks(self, x: Sized, *indices: Sized) -> Iterable[Variable]:
        return self.places.checks(x, indices)

    def element(self, index: tuple[ir.Expr, ...], x: Operand, *indices: Operand) -> ir.Expr:
        place = self.places.place
        after = place + len(index) - (x.type.ndim - len(indices))
        batch, kept = index[place:after], iter(index[:place] + index[after:])
        indexed = zip(self.places.axes, indices, strict=True)
        taken = {axis: from_front(i[align(batch, i)], x.extents[axis]) for axis, i in indexed}
        return x[tuple(taken[axis] if axis in taken else next(kept) for axis in range(x.type.ndim))]

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for axes, shape, indices in _INDICES:
            yield Take(Places(axes)), [np.arange(float(np.prod(shape))).reshape(shape), *indices]


@dataclass(frozen=True)
class Scatter(Op):
    """An array with the elements at the places that integer arrays say replaced by `y`, or with `y` added to them.

    Where a place is named more than once, the last replacement stays, or all that is given for it is added up.

    Shapes:  x, y, and an index array for each of `places.axes` -> x.shape; y broadcasts to the shape of `Take`
    Dtypes:  x and y alike, kept; indices of any integer dtype, negative ones count from the end
    Raises:  ShapeError where the index arrays or y do not broadcast, IndexError for an index out of range
    Source:  numpy.add.at; numpy, assignment to advanced indices
    """

    starts_from = 0
    places: Places
    accumulate: bool

    @property
    def label(self) -> str:
        """Theano's name of the function."""
        return "inc_subtensor" if self.accumulate else "set_subtensor"

    def format(self, *operands: Written) -> str:
        x, y, *indices = operands
        return f"{self.label}({x:atom}{self.places.text(x.type.ndim, [f'{i}' for i in indices])}, {y})"

    def infer_type(self, x: TensorType, y: TensorType, *indices: TensorType) -> TensorType:
        check_fits(x, y, self.places.infer_shape(x, indices))
        return x

    def reference(self, x: np.ndarray, y: np.ndarray, *indices: np.ndarray) -> np.ndarray:
        self.places.check(x.shape, indices, 2)
        return stored(x, y, self.places.numpy_index(x.ndim, indices), self.accumulate)

    def gradient(self, x: Variable, y: Variable, *rest: Variable) -> Sequence[Variable | None]:
        *indices, _, g = rest
        share = Take(self.places)(g, *indices)
        if self.accumulate:
            return [g, unbroadcast(share, y), *[None] * len(indices)]
        rest_of_x = Scatter(self.places, False)(g, as_variable(0, g.dtype), *indices)
        return [rest_of_x, unbroadcast(switch(self._stays(x, indices), share, 0), y), *[None] * len(indices)]

    def _stays(self, x: Variable, indices: Sequence[Variable]) -> Variable:
        """Which replacements no later one for the same place overwrites: a mask for the result of `Take`."""
        indexed = Places(tuple(range(len(indices))))
        together = sum(indices[1:], indices[0])
        order = arange(together.size).reshape(together.shape)
        last = Scatter(indexed, False)(zeros([x.shape[axis] for axis in self.places.axes], "int64"), order, *indices)
        mask = eq(Take(indexed)(last, *indices), order)
        after = x.ndim - len(indices) - self.places.place
        return mask.dimshuffle(*range(mask.ndim), *["x"] * after)

    def shape(self, same: Same, x: Sized, y: Sized, *indices: Sized) -> Sequence[Variable]:
        declare_fits(same, y, self.places.shape(same, x, indices))
        return x.shape

    def checks(self, x: Sized, y: Sized, *indices: Sized) -> Iterable[Variable]:
        return self.places.checks(x, indices)

    def loops(self, out: Placed, x: Placed, y: Placed, *indices: Placed) -> tuple[ir.Stmt, ...]:
        rank = max(i.type.ndim for i in indices)
        batch_extents: list[ir.Expr] = [ir.index(1)] * rank
        for i in indices:
            for axis, (n, known) in enumerate(zip(i.extents, i.type.shape, strict=True), rank - i.type.ndim):
                if known != 1:
                    batch_extents[axis] = n
        kept_extents = self.places.kept(out.extents)
        if ir.index(0) in kept_extents:
            return ()
        index = loop_indices(rank + len(kept_extents))
        place = self.places.place
        batch, kept = index[place : place + rank], index[:place] + index[place + rank :]

        at = {axis: ir.Var(ir.INDEX, f"at{axis}") for axis in self.places.axes}
        declared = [
            ir.Declare(at[axis], from_front(i.load(*align(batch, i)), out.extents[axis]))
            for axis, i in zip(self.places.axes, indices, strict=True)
        ]
        rest = iter(kept)
        target = [at[axis] if axis in at else next(rest) for axis in range(out.type.ndim)]
        value = y.load(*align(index, y))
        store = out.store(target, out.load(*target) + value if self.accumulate else value)
        inner = nest(index[place + rank :], kept_extents[place:], store)
        return nest(index[: place + rank], [*kept_extents[:place], *batch_extents], *declared, *inner)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        for axes, shape, indices in _INDICES:
            x = rng.normal(size=shape)
            region = x[Places(axes).numpy_index(x.ndim, indices)].shape
            for accumulate in (True, False):
                yield Scatter(Places(axes), accumulate), [x, rng.normal(size=region), *indices]
                yield Scatter(Places(axes), accumulate), [x, np.array(0.5), *indices]


_INDICES: list[tuple[tuple[int, ...], tuple[int, ...], list[np.ndarray]]] = [
    ((0,), (3,), [np.array([2, 0, 2, -1])]),
    ((0,), (3, 2), [np.array([[0, -3], [1, 1]], "int32")]),
    ((1,), (2, 3), [np.array([1, 1, 2], "uint8")]),
    ((0, 1), (3, 4), [np.arange(3), np.array([1, -1, 1])]),
    ((0, 1), (3, 4, 2), [np.array([[0], [2]]), np.array([1, -1, 1])]),
    ((0, 2), (2, 3, 4), [np.array([0, -1, 0]), np.array([3, 0, 3])]),
    ((0,), (3, 2), [np.array(-1)]),
    ((0,), (3, 2), [np.array([], "int64")]),
    ((1,), (0, 3), [np.array([1, 1])]),
]
