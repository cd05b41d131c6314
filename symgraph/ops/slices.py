"""Slices and positions: what stands between brackets, numpy's rules for it, and the two ops it comes down to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codegen import ir
from symgraph.errors import DtypeError, IndexingError, ShapeError
from symgraph.graph.node import Constant, Example, Op, Operand, Placed, Same, Sized, Variable, Written, as_variable
from symgraph.graph.types import Shape, TensorType, format_shape
from symgraph.ops.elementary import maximum, minimum, switch
from symgraph.ops.elementwise import ONE, align, unbroadcast
from symgraph.ops.joining import lengths

Number = int | Variable  # an integer that is known, or an int64 scalar of the graph


@dataclass(frozen=True)
class Slot:
    """Stands for a symbolic integer: the scalar operand of this number."""

    number: int


Bound = int | Slot | None


@dataclass(frozen=True)
class At:
    """One position of an axis, which drops the axis; negative ones count from the end."""

    position: int | Slot


@dataclass(frozen=True)
class Span:
    """A slice of an axis; the step is known and not 0."""

    start: Bound = None
    stop: Bound = None
    step: int = 1

    @property
    def whole(self) -> bool:
        """Whether it takes the axis as it is."""
        return self.start in (None, 0) and self.stop is None and self.step == 1


@dataclass(frozen=True)
class Brackets:
    """What stands between the brackets of `x[1:, ::-1, i]`: one entry for each axis of x."""

    entries: tuple[At | Span, ...]

    def index(self, scalars: Sequence[Any]) -> tuple[Any, ...]:
        """As Python writes it, with a value for each slot: ints, slices, and whatever `scalars` are."""
        return tuple(
            _fill(entry.position, scalars)
            if isinstance(entry, At)
            else slice(_fill(entry.start, scalars), _fill(entry.stop, scalars), entry.step)
            for entry in self.entries
        )

    def text(self, names: Sequence[str]) -> str:
        """As the user wrote it, with a name for each slot: `[1:, ::-1, i]`."""
        whole = [isinstance(entry, Span) and entry.whole for entry in self.entries]
        typed = max((axis for axis, unneeded in enumerate(whole) if not unneeded), default=0) + 1
        return f"[{', '.join(_entry_text(entry, names) for entry in self.entries[:typed]) or '...'}]"

    def shape(self, sizes: Sequence[Number | None], scalars: Sequence[Number | None]) -> list[Number | None]:
        """The lengths of the region, given those of the array; None where they depend on what is not known."""
        result: list[Number | None] = []
        for entry, n in zip(self.entries, sizes, strict=True):
            if isinstance(entry, At):
                continue
            start, stop = _fill(entry.start, scalars), _fill(entry.stop, scalars)
            missing = (start is None) != (entry.start is None) or (stop is None) != (entry.stop is None)
            if entry.whole or n is None or missing:
                result.append(n if entry.whole else None)
            else:
                result.append(span(start, stop, entry.step, n)[1])
        return result

    def infer_shape(self, x: TensorType, scalars: Sequence[TensorType], first_scalar: int) -> Shape:
        """The lengths of the region that types know; raises for operands that do not fit, as `check_positions` does."""
        check_operands(x, len(self.entries), scalars, first_scalar)
        unknown = [None] * len(scalars)
        self.check_positions(x.shape, unknown, first_scalar)
        return tuple(self.shape(x.shape, unknown))  # type: ignore[arg-type]

    def check_positions(self, shape: Shape, scalars: Sequence[int | None], first_scalar: int) -> None:
        """Raise IndexingError for a known position that a known length does not have.

        first_scalar: which operand of the op the first scalar is, to give its name in the message.
        """
        for axis, (entry, n) in enumerate(zip(self.entries, shape, strict=True)):
            if not isinstance(entry, At) or n is None:
                continue
            position = _fill(entry.position, scalars)
            if position is not None and not -n <= position < n:
                what = f"index {position}"
                if isinstance(entry.position, Slot):
                    what = f"{{{first_scalar + entry.position.number}.name}} is {position}, which"
                raise IndexingError(f"{what} is out of range for axis {axis} of {{0}}")


def _fill(bound: Bound, scalars: Sequence[Any]) -> Any:
    return scalars[bound.number] if isinstance(bound, Slot) else bound


def _entry_text(entry: At | Span, names: Sequence[str]) -> str:
    def text(bound: Bound) -> str:
        return names[bound.number] if isinstance(bound, Slot) else "" if bound is None else str(bound)

    if isinstance(entry, At):
        return text(entry.position)
    return f"{text(entry.start)}:{text(entry.stop)}" + (f":{entry.step}" if entry.step != 1 else "")


def number(x: Variable) -> Number:
    """An integer scalar: a number where it is a constant."""
    return int(x.value) if isinstance(x, Constant) else x


def span(start: Number | None, stop: Number | None, step: int, n: Number) -> tuple[Number, Number]:
    """The first position and the length of a slice of an axis of length n, by the rules of Python's `slice.indices`.

    What is known is computed; what is not becomes an expression of int64 scalars.
    """
    low, high = (0, n) if step > 0 else (-1, _plus(n, -1))  # where numpy clips both ends to
    first, last = (low, high) if step > 0 else (high, low)
    if start is not None:
        first = _clip(start, low, high, n)
    if stop is not None:
        last = _clip(stop, low, high, n)
    distance = _minus(last, first) if step > 0 else _minus(first, last)
    if start is not None and stop is not None:  # otherwise one end is the utmost
        distance = _maximum(distance, 0)
    size = abs(step)
    return first, distance if size == 1 else _plus(distance, size - 1) // size


def position(p: Number, n: Number) -> Number:
    """A position counted from the front."""
    if isinstance(p, int):
        return p if p >= 0 else _plus(n, p)
    return switch(p < 0, p + n, p)


def _clip(p: Number, low: Number, high: Number, n: Number) -> Number:
    if isinstance(p, int):
        if p == low == 0:
            return 0
        return _minimum(p, high) if p >= 0 else _maximum(_plus(n, p), low)
    return _minimum(_maximum(position(p, n), low), high)


def _plus(a: Number, b: int) -> Number:
    return a if b == 0 else a + b if isinstance(a, int) or b > 0 else a - -b


def _minus(a: Number, b: Number) -> Number:
    return _plus(a, -b) if isinstance(b, int) else a - b


def _minimum(a: Number, b: Number) -> Number:
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else minimum(a, b)


def _maximum(a: Number, b: Number) -> Number:
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else maximum(a, b)


@dataclass(frozen=True)
class Whole:
    """An axis taken as it is."""


@dataclass(frozen=True)
class Point:
    """One position of an axis, which drops it; an operand says which."""


@dataclass(frozen=True)
class Run:
    """Positions `step` apart; an operand says the first, and another how many where `length` is None."""

    step: int
    length: int | None


@dataclass(frozen=True)
class Region:
    """A rectangular part of an array, one entry for each axis. The bounds are operands, each within the array."""

    parts: tuple[Whole | Point | Run, ...]

    def shape(self, sizes: Sequence[Any], bounds: Iterable[Any]) -> list[Any]:
        """The lengths of the region, given those of the array; a known one of a run is an int."""
        bounds = iter(bounds)
        result = []
        for part, n in zip(self.parts, sizes, strict=True):
            if isinstance(part, Whole):
                result.append(n)
                continue
            next(bounds)
            if isinstance(part, Run):
                result.append(next(bounds) if part.length is None else part.length)
        return result

    def infer_shape(self, x: TensorType, bounds: Sequence[TensorType], first_bound: int) -> Shape:
        """The lengths of the region that a type knows; raises for operands that do not fit."""
        check_operands(x, len(self.parts), bounds, first_bound)
        return tuple(self.shape(x.shape, [None] * len(bounds)))

    def index(self, index: Iterable[ir.Expr], bounds: Iterable[ir.Expr]) -> tuple[ir.Expr, ...]:
        """Where in the array an element of the region is."""
        return tuple(self._positions(iter(index), iter(bounds)))

    def _positions(self, index: Iterator[ir.Expr], bounds: Iterator[ir.Expr]) -> Iterator[ir.Expr]:
        for part in self.parts:
            if isinstance(part, Whole):
                yield next(index)
            elif isinstance(part, Point):
                yield next(bounds)
            else:
                start, i = next(bounds), next(index)
                if part.length is None:
                    next(bounds)
                yield start + i if part.step == 1 else start - i if part.step == -1 else start + i * part.step

    def numpy_index(self, shape: tuple[int, ...], bounds: Iterable[np.ndarray]) -> tuple[int | slice, ...]:
        """The region as numpy indexes it; raises IndexingError where it is not within the array."""
        values = iter([int(b) for b in bounds])
        result: list[int | slice] = []
        for axis, part in enumerate(self.parts):
            if isinstance(part, Whole):
                result.append(slice(None))
                continue
            start = next(values)
            count, step = 1, 1
            if isinstance(part, Run):
                count, step = next(values) if part.length is None else part.length, part.step
            last = start + (count - 1) * step
            if count and not (0 <= start < shape[axis] and 0 <= last < shape[axis]):
                raise IndexingError(f"positions {start} to {last} are out of range for axis {axis} of {{0}}")
            taken = slice(start, last + step if last + step >= 0 else None, step) if count else slice(0, 0)
            result.append(start if isinstance(part, Point) else taken)
        return tuple(result)

    def text(self, bounds: Iterable[str]) -> str:
        """The brackets, as `[i, 2:2 + n]`, with the bounds as texts."""
        bounds = iter(bounds)
        entries = []
        for part in self.parts:
            if isinstance(part, Whole):
                entries.append(":")
                continue
            start = next(bounds)
            if isinstance(part, Point):
                entries.append(start)
                continue
            count = next(bounds) if part.length is None else str(part.length)
            steps = "" if part.step == 1 else f" * {part.step}"
            entries.append(f"{start}:{start} + {count}{steps}" + ("" if part.step == 1 else f":{part.step}"))
        return f"[{', '.join(entries)}]"

    def checks(self, x: Sized, bounds: Sequence[Sized]) -> Iterator[Variable]:
        """That the points are positions of their axes; runs are within theirs by construction."""
        operands = iter(bounds)
        for axis, part in enumerate(self.parts):
            if isinstance(part, Whole):
                continue
            p = next(operands)
            if isinstance(part, Run):
                if part.length is None:
                    next(operands)
            elif not isinstance(p.variable, Constant):
                yield (p.value >= 0) & (p.value < x.shape[axis])
            elif x.variable.type.shape[axis] is None:
                yield p.value < x.shape[axis]


def region(brackets: Brackets, x: Variable, scalars: Sequence[Variable]) -> tuple[Region, list[Variable]]:
    """What brackets mean on `x`: the region, and its bounds as int64 scalars counted from the front."""
    values = [number(s) for s in scalars]
    sizes = lengths(x)
    parts: list[Whole | Point | Run] = []
    bounds: list[Number] = []
    for axis, entry in enumerate(brackets.entries):
        if isinstance(entry, At):
            parts.append(Point())
            bounds.append(position(_fill(entry.position, values), sizes[axis]))
        elif entry.whole:
            parts.append(Whole())
        else:
            start, n = span(_fill(entry.start, values), _fill(entry.stop, values), entry.step, sizes[axis])
            of_a_call = n == 1 and (isinstance(entry.start, Slot) or isinstance(entry.stop, Slot))
            known = n if isinstance(n, int) and not of_a_call else None  # what a call makes 1 does not broadcast
            parts.append(Run(entry.step, known))
            bounds += [start] if known is not None else [start, n]
    return Region(tuple(parts)), [as_variable(b) for b in bounds]


@dataclass(frozen=True)
class Window(Op):
    """A rectangular part of an array; what basic indexing expands to.

    Shapes:  x, and int64 scalars for the bounds of the region -> the lengths of the region
    Dtypes:  any, kept
    Raises:  IndexError where a position is not in x
    Source:  numpy, basic indexing
    """

    inline = True
    region: Region

    def format(self, x: Written, *bounds: Written) -> str:
        return f"{x:atom}{self.region.text(f'{b}' for b in bounds)}"

    def infer_type(self, x: TensorType, *bounds: TensorType) -> TensorType:
        return TensorType(x.dtype, self.region.infer_shape(x, bounds, 1))

    def reference(self, x: np.ndarray, *bounds: np.ndarray) -> np.ndarray:
        return np.array(x[self.region.numpy_index(x.shape, bounds)])

    def gradient(self, x: Variable, *rest: Variable) -> Sequence[Variable | None]:
        *bounds, _, g = rest
        return [WindowStore(self.region, True)(x.zeros_like(), g, *bounds), *[None] * len(bounds)]

    def shape(self, same: Same, x: Sized, *bounds: Sized) -> Sequence[Variable]:
        return [as_variable(n) for n in self.region.shape(x.shape, [b.value for b in bounds])]

    def checks(self, x: Sized, *bounds: Sized) -> Iterable[Variable]:
        return self.region.checks(x, bounds)

    def element(self, index: tuple[ir.Expr, ...], x: Operand, *bounds: Operand) -> ir.Expr:
        return x[self.region.index(index, [b[()] for b in bounds])]

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for part, shape, bounds in _REGIONS:
            yield Window(part), [np.arange(float(np.prod(shape))).reshape(shape), *bounds]


@dataclass(frozen=True)
class WindowStore(Op):
    """An array with a rectangular part of it replaced by `y`, or with `y` added to that part.

    Shapes:  x, y, and int64 scalars for the bounds -> x.shape; y broadcasts to the region
    Dtypes:  x and y alike, kept
    Raises:  ShapeError where y does not broadcast to the region, IndexError where a position is not in x
    """

    starts_from = 0
    region: Region
    accumulate: bool

    def format(self, x: Written, y: Written, *bounds: Written) -> str:
        name = "inc_subtensor" if self.accumulate else "set_subtensor"
        return f"{name}({x:atom}{self.region.text(f'{b}' for b in bounds)}, {y})"

    def infer_type(self, x: TensorType, y: TensorType, *bounds: TensorType) -> TensorType:
        check_fits(x, y, self.region.infer_shape(x, bounds, 2))
        return x

    def reference(self, x: np.ndarray, y: np.ndarray, *bounds: np.ndarray) -> np.ndarray:
        return stored(x, y, self.region.numpy_index(x.shape, bounds), self.accumulate)

    def gradient(self, x: Variable, y: Variable, *rest: Variable) -> Sequence[Variable | None]:
        *bounds, _, g = rest
        through = g if self.accumulate else WindowStore(self.region, False)(g, as_variable(0, g.dtype), *bounds)
        return [through, unbroadcast(Window(self.region)(g, *bounds), y), *[None] * len(bounds)]

    def shape(self, same: Same, x: Sized, y: Sized, *bounds: Sized) -> Sequence[Variable]:
        declare_fits(same, y, [as_variable(n) for n in self.region.shape(x.shape, [b.value for b in bounds])])
        return x.shape

    def checks(self, x: Sized, y: Sized, *bounds: Sized) -> Iterable[Variable]:
        return self.region.checks(x, bounds)

    def loops(self, out: Placed, x: Placed, y: Placed, *bounds: Placed) -> tuple[ir.Stmt, ...]:
        values = [b.load() for b in bounds]
        extents = [ir.index(n) if isinstance(n, int) else n for n in self.region.shape(out.extents, values)]
        index = loop_indices(len(extents))
        place = self.region.index(index, values)
        value = y.load(*align(index, y))
        return nest(index, extents, out.store(place, out.load(*place) + value if self.accumulate else value))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for part, shape, bounds in _REGIONS:
            x = np.arange(float(np.prod(shape))).reshape(shape)
            inner = x[part.numpy_index(shape, [np.asarray(b) for b in bounds])].shape
            for accumulate in (True, False):
                yield WindowStore(part, accumulate), [x, np.full(inner, 0.5), *bounds]
                yield WindowStore(part, accumulate), [x, np.array(0.5), *bounds]


_REGIONS: list[tuple[Region, tuple[int, ...], list[int]]] = [
    (Region((Run(1, 2), Whole())), (4, 3), [1]),
    (Region((Run(-2, None), Point())), (4, 3), [3, 2, 1]),
    (Region((Point(),)), (3,), [2]),
    (Region((Run(1, None),)), (3,), [3, 0]),
    (Region((Whole(), Run(2, 1))), (0, 3), [1]),
    (Region(()), (), []),
]


def stored(x: np.ndarray, y: np.ndarray, index: Any, accumulate: bool) -> np.ndarray:
    """A copy of x with y stored to a part of it; raises as `check_fits` does."""
    out = np.array(x)
    check_fits(type_of(x), type_of(y), out[index].shape)
    if accumulate:
        np.add.at(out, index, np.broadcast_to(y, out[index].shape))  # unlike +=, it counts what is named twice
    else:
        out[index] = y
    return out


def type_of(x: np.ndarray) -> TensorType:
    """The type that fits one array only."""
    return TensorType(str(x.dtype), x.shape)


def check_operands(x: TensorType, rank: int, scalars: Sequence[TensorType], first_scalar: int) -> None:
    """Raise ShapeError unless x has this rank, DtypeError unless the scalars are int64 scalars."""
    if x.ndim != rank:
        raise ShapeError(f"{{0}} has rank {x.ndim}, but {rank} axes are indexed")
    for k, scalar in enumerate(scalars, first_scalar):
        if scalar != TensorType(ir.INDEX):
            raise DtypeError(f"{{{k}}} is no int64 scalar")


def check_fits(x: TensorType, y: TensorType, shape: Shape) -> None:
    """Raise DtypeError unless x and y have one dtype, ShapeError unless y broadcasts to a region of this shape."""
    if x.dtype != y.dtype:
        raise DtypeError(f"{{0}} is {x.dtype}, and {{1}} is {y.dtype}")
    aligned = zip(shape[len(shape) - y.ndim :], y.shape, strict=False)
    if y.ndim <= len(shape) and all(m in (1, None, n) or n is None for n, m in aligned):
        return
    raise ShapeError(f"{{1}} does not fit in a part of {{0}} that has shape {format_shape(shape)}")


def broadcast_lengths(same: Same, operands: Iterable[tuple[Sequence[Variable], Shape]]) -> list[Variable]:
    """The lengths that operands broadcast to, given those of each and what its type knows."""
    operands = list(operands)
    rank = max(len(shape) for _, shape in operands)
    result: list[Variable | None] = [None] * rank
    for own, shape in operands:
        for axis, (n, known) in enumerate(zip(own, shape, strict=True), rank - len(shape)):
            current = result[axis]
            if known != 1:
                result[axis] = n if current is None else same(current, n)
    return [ONE if n is None else n for n in result]


def declare_fits(same: Same, y: Sized, shape: Sequence[Variable]) -> None:
    """Declare the lengths of y equal to those of the region it is stored to, but for those known to be 1."""
    for n, m, known in zip(shape[len(shape) - len(y.shape) :], y.shape, y.variable.type.shape, strict=True):
        if known != 1:
            same(n, m)


def loop_indices(count: int) -> tuple[ir.Var, ...]:
    """The indices of a loop nest, outermost first."""
    return tuple(ir.Var(ir.INDEX, f"i{axis}") for axis in range(count))


def nest(index: Sequence[ir.Var], extents: Sequence[ir.Expr], *body: ir.Stmt) -> tuple[ir.Stmt, ...]:
    """Loops around some statements, outermost first."""
    for i, extent in zip(reversed(index), reversed(extents), strict=True):
        body = (ir.For(i, extent, body),)
    return body
