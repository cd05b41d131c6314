"""Indexing as users write it: `x[1:, ::-1, i]`, `x[indices]`, and the same to store to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from symgraph.errors import DtypeError, GraphError, IndexingError
from symgraph.graph.node import Constant, Example, Op, Same, Sized, Variable, Written, as_variable, located
from symgraph.graph.provenance import current_origin
from symgraph.graph.types import TensorType
from symgraph.ops.elementary import clip
from symgraph.ops.elementwise import cast, unbroadcast
from symgraph.ops.gather import Places, Scatter, Take
from symgraph.ops.layout import ShapeOf, length, vector_of
from symgraph.ops.slices import (
    At,
    Brackets,
    Slot,
    Span,
    Window,
    WindowStore,
    check_fits,
    declare_fits,
    number,
    region,
    stored,
)

INT64 = np.iinfo(np.int64)


@dataclass(frozen=True)
class Subtensor(Op):
    """Positions and slices of the axes of an array: `x[1:, ::-1, i]`.

    Shapes:  x, and an int64 scalar for each symbol in the brackets; a position drops its axis, a slice keeps part of it
    Dtypes:  any, kept
    Raises:  IndexError for a position out of range; slices are clipped
    Source:  numpy, basic indexing
    """

    brackets: Brackets

    def format(self, *operands: Written) -> str:
        x, *scalars = operands
        return f"{x:atom}{self.brackets.text([f'{s}' for s in scalars])}"

    def latex(self, *operands: Written) -> str:
        x, *scalars = operands
        return f"{{{x:atom}}}_{{{self.brackets.text([f'{s}' for s in scalars])[1:-1]}}}"

    def infer_type(self, x: TensorType, *scalars: TensorType) -> TensorType:
        return TensorType(x.dtype, self.brackets.infer_shape(x, scalars, 1))

    def reference(self, x: np.ndarray, *scalars: np.ndarray) -> np.ndarray:
        values = [int(s) for s in scalars]
        self.brackets.check_positions(x.shape, values, 1)
        return np.array(x[self.brackets.index(values)])

    def gradient(self, x: Variable, *rest: Variable) -> Sequence[Variable | None]:
        *scalars, _, g = rest
        return [IncSubtensor(self.brackets, True)(x.zeros_like(), g, *scalars), *[None] * len(scalars)]

    def shape(self, same: Same, x: Sized, *scalars: Sized) -> Sequence[Variable]:
        return _lengths(self.brackets, x, scalars)

    def expand(self, x: Variable, *scalars: Variable) -> Variable:
        part, bounds = region(self.brackets, x, scalars)
        return Window(part)(x, *bounds)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for brackets, shape, scalars in _EXAMPLES:
            yield Subtensor(brackets), [np.arange(float(np.prod(shape))).reshape(shape), *scalars]


@dataclass(frozen=True)
class IncSubtensor(Op):
    """An array with `y` added to a part of it, or with the part replaced by `y`; `x` itself does not change.

    Shapes:  x, y, and an int64 scalar for each symbol in the brackets -> x.shape; y broadcasts to the part
    Dtypes:  x and y alike, kept
    Raises:  ShapeError where y does not broadcast to the part, IndexError for a position out of range
    Source:  numpy, assignment to basic indices

    accumulate: add; otherwise replace
    """

    brackets: Brackets
    accumulate: bool

    @property
    def label(self) -> str:
        """Theano's name of the function."""
        return "inc_subtensor" if self.accumulate else "set_subtensor"

    def format(self, *operands: Written) -> str:
        x, y, *scalars = operands
        return f"{self.label}({x:atom}{self.brackets.text([f'{s}' for s in scalars])}, {y})"

    def infer_type(self, x: TensorType, y: TensorType, *scalars: TensorType) -> TensorType:
        check_fits(x, y, self.brackets.infer_shape(x, scalars, 2))
        return x

    def reference(self, x: np.ndarray, y: np.ndarray, *scalars: np.ndarray) -> np.ndarray:
        values = [int(s) for s in scalars]
        self.brackets.check_positions(x.shape, values, 2)
        return stored(x, y, self.brackets.index(values), self.accumulate)

    def gradient(self, x: Variable, y: Variable, *rest: Variable) -> Sequence[Variable | None]:
        *scalars, _, g = rest
        through = g if self.accumulate else IncSubtensor(self.brackets, False)(g, as_variable(0, g.dtype), *scalars)
        return [through, unbroadcast(Subtensor(self.brackets)(g, *scalars), y), *[None] * len(scalars)]

    def shape(self, same: Same, x: Sized, y: Sized, *scalars: Sized) -> Sequence[Variable]:
        declare_fits(same, y, _lengths(self.brackets, x, scalars))
        return x.shape

    def expand(self, x: Variable, y: Variable, *scalars: Variable) -> Variable:
        part, bounds = region(self.brackets, x, scalars)
        return WindowStore(part, self.accumulate)(x, y, *bounds)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for brackets, shape, scalars in _EXAMPLES:
            x = np.arange(float(np.prod(shape))).reshape(shape)
            part = x[brackets.index(scalars)].shape
            for accumulate in (True, False):
                yield IncSubtensor(brackets, accumulate), [x, np.full(part, 0.5), *scalars]
                yield IncSubtensor(brackets, accumulate), [x, np.array(0.5), *scalars]


_EXAMPLES: list[tuple[Brackets, tuple[int, ...], list[np.int64]]] = [
    (Brackets((Span(1, None), Span(step=-1), At(Slot(0)))), (3, 2, 4), [np.int64(-1)]),
    (Brackets((Span(Slot(0), Slot(1), -2),)), (7,), [np.int64(-1), np.int64(0)]),
    (Brackets((Span(Slot(0), Slot(1)), Span())), (5, 2), [np.int64(2), np.int64(4)]),
    (Brackets((Span(Slot(0), 2),)), (3,), [np.int64(2)]),
    (Brackets((At(-1), At(0))), (2, 3), []),
    (Brackets((Span(stop=1), Span(-2))), (2, 1), []),
    (Brackets((Span(), Span(1, None, 3))), (0, 5), []),
    (Brackets((Span(),)), (3,), []),
    (Brackets(()), (), []),
]


def _lengths(brackets: Brackets, x: Sized, scalars: Sequence[Sized]) -> list[Variable]:
    lengths = brackets.shape([number(n) for n in x.shape], [number(s.value) for s in scalars])
    return [as_variable(n) for n in lengths]


def getitem(x: Any, index: Any) -> Variable:
    """`x[index]`, as numpy has it.

    index: one entry for each axis, as far as they go, or a tuple of them:
        an integer, or a symbolic integer scalar: that position, negative ones from the end; the axis is dropped
        a slice of such, with a number for a step
        None: a new axis of length 1;   ...: as many full slices as fit
        an integer array, symbolic or not, or a list: these positions, in this order
    Several arrays broadcast together. Their axes stand where the indexed ones were, or first if others are between.

    Dtypes: any, kept. Raises IndexError for too many entries or a known position out of range, DtypeError for a mask
    and for what is no integer, ShapeError where index arrays do not broadcast.
    """
    x = as_variable(x)
    items = _expand_ellipsis(x, index if isinstance(index, tuple) else (index,))
    if any(isinstance(item, Variable) and item.ndim for item in items):
        return _take_items(x, items)
    if x.owner is not None and isinstance(x.owner.op, ShapeOf) and len(items) == 1:
        return _length_at(x, *items)
    return _basic(x, items)


def _length_at(shape: Variable, item: Any) -> Variable:
    """`x.shape[item]`: the lengths themselves, without the vector, where it is known which."""
    assert shape.owner is not None
    x = shape.owner.inputs[0]
    if isinstance(item, int) and -x.ndim <= item < x.ndim:
        return length(x, item)
    if isinstance(item, slice) and not isinstance(item.start, Variable) and not isinstance(item.stop, Variable):
        return vector_of([length(x, axis) for axis in range(x.ndim)[item]])
    return _basic(shape, [item])


def _basic(x: Variable, items: Sequence[Any]) -> Variable:
    """Indexing by positions, slices and None."""
    scalars: list[Variable] = []

    def bound(value: Any) -> int | Slot | None:
        if not isinstance(value, Variable):
            return value
        scalars.append(cast(value, "int64"))
        return Slot(len(scalars) - 1)

    entries: list[At | Span] = []
    for item in items:
        if isinstance(item, slice):
            entries.append(Span(bound(item.start), bound(item.stop), item.step))
        elif item is not None:
            entries.append(At(bound(item)))  # type: ignore[arg-type]
    part = Subtensor(Brackets(tuple(entries)))(x, *scalars)
    if None not in items:
        return part
    axes = iter(range(part.ndim))
    kept = [item for item in items if item is None or isinstance(item, slice)]
    return part.dimshuffle(*["x" if item is None else next(axes) for item in kept])


def _take_items(x: Variable, items: Sequence[Any]) -> Variable:
    """Indexing by arrays: first by the slices and None in the same brackets, then by all positions at once."""
    outer = [item if item is None or isinstance(item, slice) else slice(None, None, 1) for item in items]
    sliced = any(item is None or not Span(item.start, item.stop, item.step).whole for item in outer)
    axes = tuple(axis for axis, item in enumerate(items) if item is not None and not isinstance(item, slice))
    indices = tuple(items[axis] for axis in axes)
    return _take(_basic(x, outer) if sliced else x, axes, indices, within=sliced)


def _take(x: Variable, axes: tuple[int, ...], indices: Sequence[Any], within: bool = False) -> Variable:
    places = Places(axes)
    operands = [as_variable(i) for i in indices]
    try:
        places.infer_shape(x.type, [i.type for i in operands])
        places.check(x.type.shape, [i.data if isinstance(i, Constant) else None for i in operands], 1)
    except GraphError as error:
        raise located(error, (x, *operands), current_origin()) from None
    return Take(places, within)(x, *operands)


def _expand_ellipsis(x: Variable, index: tuple[Any, ...]) -> list[Any]:
    """One entry for each axis of x and each None: a number, a slice, None, or an integer variable."""
    dots = [k for k, item in enumerate(index) if item is Ellipsis]
    axes = sum(item is not None and item is not Ellipsis for item in index)
    if len(dots) > 1:
        raise _refused(IndexingError("{0.name} is indexed with more than one '...'"), x)
    if axes > x.ndim:
        indices = "1 index" if axes == 1 else f"{axes} indices"
        raise _refused(IndexingError(f"{{0.name}} has rank {x.ndim}, but is indexed with {indices}"), x)
    at = dots[0] if dots else len(index)
    filled = [*index[:at], *[slice(None)] * (x.ndim - axes), *index[at + 1 :]]
    return [_entry(x, item) for item in filled]


def _entry(x: Variable, item: Any) -> Any:
    if item is None:
        return None
    if not isinstance(item, slice):
        position = _integer(x, item)
        if isinstance(position, int) and position != _clamp(position):
            raise _refused(IndexingError(f"index {position} is out of range for every axis of {{0.name}}"), x)
        return position
    step = 1 if item.step is None else _integer(x, item.step)
    if not isinstance(step, int):
        raise _refused(IndexingError("the step of a slice of {0.name} must be a number, not a symbol"), x)
    if step == 0:
        raise _refused(IndexingError("the step of a slice of {0.name} is 0"), x)
    start, stop = (None if end is None else _integer(x, end) for end in (item.start, item.stop))
    for end in (start, stop):
        if isinstance(end, Variable) and end.ndim:
            raise _refused(IndexingError("a slice of {0.name} must begin and end at scalars, not at {1}"), x, end)
    return slice(_clamp(start), _clamp(stop), step)


def _clamp(end: Any) -> Any:
    """A number beyond all lengths brought within int64."""
    return min(max(end, INT64.min), INT64.max) if isinstance(end, int) else end


def _is_empty(item: list[Any] | np.ndarray) -> bool:
    return item.size == 0 if isinstance(item, np.ndarray) else all(isinstance(i, list) and _is_empty(i) for i in item)


def _integer(x: Variable, item: Any) -> int | Variable:
    """A number, or a variable of integer dtype; raises DtypeError for anything else."""
    if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
        return int(item)
    if isinstance(item, (list, np.ndarray)) and _is_empty(item):
        item = np.zeros(np.shape(item), "int64") if isinstance(item, list) else item
    try:
        value = as_variable(item)
    except (DtypeError, TypeError):
        kind = type(item).__name__
        allowed = "integers, slices, None, '...' or integer arrays"
        raise _refused(DtypeError(f"{{0.name}} is indexed with {allowed}, not with {kind}"), x) from None
    if value.dtype == "bool":
        raise _refused(
            DtypeError(
                "{0.name} cannot be indexed with a mask, for the length of the result would depend on its values: "
                "write T.switch(mask, x, 0), multiply by the mask, or index with integers"
            ), x
        )  # fmt: skip
    if value.type.is_float:
        raise _refused(DtypeError(f"{{0.name}} is indexed with integers, not with {value.dtype} {{1.name}}"), x, value)
    return int(value.value) if isinstance(value, Constant) and value.ndim == 0 else value


def _refused(error: GraphError, *operands: Variable) -> GraphError:
    return located(error, operands, current_origin())


def take(x: Any, indices: Any, axis: int | None = None, mode: str = "raise") -> Variable:
    """The elements at integer indices along an axis, as numpy.take; without an axis, of the flattened array.

    Shapes: (..., d, ...) -> (..., *indices.shape, ...). Dtypes: any, kept; indices are integers.
    mode: for an index out of range, 'raise', 'wrap' around, or 'clip' to the nearest position
    Raises AxisError for an axis that is not there, DtypeError for indices that are not integers, IndexError by `mode`.
    """
    x = as_variable(x)
    if axis is None:
        x, axis = x.flatten(), 0
    axis = normalize_axis_index(axis, x.ndim)
    index = as_variable(_integer(x, indices))
    if mode == "wrap":
        index = cast(index, "int64") % x.shape[axis]
    elif mode == "clip":
        index = clip(cast(index, "int64"), 0, x.shape[axis] - 1)
    elif mode != "raise":
        raise ValueError(f"mode is 'raise', 'wrap' or 'clip', not {mode!r}")
    return _take(x, (axis,), [index])


def set_subtensor(x: Variable, y: Any, inplace: bool = False, tolerate_inplace_aliasing: bool = False) -> Variable:
    """The array of which `x` is a part, with that part replaced: `set_subtensor(a[1:3], y)`.

    x: an indexing expression, by positions and slices or by integer arrays; of several values for one place the last
        stays
    y: broadcasts to the part, and is cast to its dtype
    inplace, tolerate_inplace_aliasing: Theano's, without effect: memory is reused where that is safe

    Returns a new value with the shape and dtype of the array; `a` itself does not change.
    Raises TypeError where `x` is no indexing expression, ShapeError where y does not broadcast, DtypeError for floats
    stored to integers.
    """
    return inc_subtensor(x, y, set_instead_of_inc=True)


def inc_subtensor(
    x: Variable,
    y: Any,
    inplace: bool = False,
    set_instead_of_inc: bool = False,
    tolerate_inplace_aliasing: bool = False,
) -> Variable:
    """The array of which `x` is a part, with `y` added to that part: `inc_subtensor(a[1:3], y)`.

    x: an indexing expression, by positions and slices or by integer arrays; all values for one place are added up
    set_instead_of_inc: replace the part, as `set_subtensor` does
    Otherwise as `set_subtensor`.
    """
    node = x.owner if isinstance(x, Variable) else None
    if node is None or not isinstance(node.op, (Subtensor, Take)):
        name = "set_subtensor" if set_instead_of_inc else "inc_subtensor"
        raise TypeError(f"{name} takes a part of an array, such as a[1:3] or a[indices], not {x}")
    whole, *operands = node.inputs
    y = _stored(y, whole, not set_instead_of_inc)
    if isinstance(node.op, Subtensor):
        return IncSubtensor(node.op.brackets, not set_instead_of_inc)(whole, y, *operands)
    changed = Scatter(node.op.places, not set_instead_of_inc)(whole, y, *operands)
    return set_subtensor(whole, changed) if node.op.within else changed


def _stored(y: Any, x: Variable, accumulate: bool) -> Variable:
    """What is stored to a part of `x`, in its dtype."""
    if accumulate and x.dtype == "bool":
        raise DtypeError(f"{x} is bool, and there is no adding to that: use set_subtensor")
    given = as_variable(y)
    if (given.type.is_float and not x.type.is_float) or given.dtype != x.dtype == "bool":
        raise DtypeError(f"{given} is {given.dtype}, and {x} is {x.dtype}: convert it with .astype({x.dtype!r})")
    return cast(y if type(y) in (bool, int, float) else given, x.dtype)
