"""Lengths as symbols, shape(x) and x.shape[i]; and the same elements with other lengths: reshape, broadcast_to.

A length that a user gives is an int or an int64 scalar; a shape is a sequence of lengths, one length, or a vector of
known length. An op that takes lengths keeps the ints in a field, with None for those that are operands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from codegen import ir
from symgraph.errors import DtypeError, ShapeError
from symgraph.graph.node import Constant, Example, Op, Operand, Same, Sized, Variable, Written, as_variable, located
from symgraph.graph.provenance import current_origin
from symgraph.graph.types import Shape, TensorType, format_shape
from symgraph.interpreter import evaluate
from symgraph.ops.axes import DimShuffle
from symgraph.ops.elementary import bitwise_or, eq, ge
from symgraph.ops.elementwise import align, cast, unbroadcast
from symgraph.ops.joining import Join, lengths

LengthLike = int | Variable

MOST_ELEMENTS = 2**59  # of which the bytes can be counted in 64 bits with room to spare


@dataclass(frozen=True)
class Length(Op):
    """The length of one axis.

    Shapes:  any -> ()
    Dtypes:  any -> int64
    """

    axis: int
    inline = True

    def infer_type(self, x: TensorType) -> TensorType:
        if not 0 <= self.axis < x.ndim:
            raise ShapeError(f"{{0}} has no axis {self.axis}")
        return TensorType("int64")

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.array(x.shape[self.axis], dtype="int64")

    def gradient(self, x: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        return [None]

    def shape(self, same: Same, x: Sized) -> Sequence[Variable]:
        return ()

    def element(self, index: tuple[ir.Expr, ...], x: Operand) -> ir.Expr:
        return x.extents[self.axis]

    def format(self, x: Written) -> str:
        return f"{x:atom}.shape[{self.axis}]"

    def latex(self, x: Written) -> str:
        return rf"\operatorname{{len}}_{{{self.axis}}}\left({x}\right)"

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for axis in (0, 1):
            yield (lambda x, axis=axis: Length(axis)(x)), [np.zeros((2, 0))]


@dataclass(frozen=True)
class ShapeOf(Op):
    """All lengths, as a vector.

    Shapes:  (d1, ..., dn) -> (n,)
    Dtypes:  any -> int64
    """

    def infer_type(self, x: TensorType) -> TensorType:
        return TensorType("int64", (x.ndim,))

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.array(x.shape, dtype="int64")

    def gradient(self, x: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        return [None]

    def shape(self, same: Same, x: Sized) -> Sequence[Variable]:
        return (as_variable(len(x.shape)),)

    def expand(self, x: Variable) -> Variable:
        return vector_of([length(x, axis) for axis in range(x.ndim)])

    def format(self, x: Written) -> str:
        return f"{x:atom}.shape"

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for shape in ((2, 0, 3), (1,), ()):
            yield ShapeOf(), [np.zeros(shape)]


def length(x: Variable, axis: int) -> Variable:
    """The length of one axis as an int64 scalar; a constant where it is known.

    Raises AxisError for an axis that is not there.
    """
    axis = normalize_axis_index(axis, x.ndim)
    known = x.type.shape[axis]
    return Length(axis)(x) if known is None else as_variable(known)


def shape(x: Any) -> Variable:
    """The lengths of an array as an int64 vector; `shape(x)[i]` is one length."""
    return ShapeOf()(x)


def size(x: Any) -> Variable:
    """The number of elements, as an int64 scalar; a constant where it is known."""
    return as_variable(product(lengths(as_variable(x))))


def ndim(x: Any) -> int:
    """The rank, a Python int."""
    return as_variable(x).ndim


def vector_of(scalars: Sequence[LengthLike]) -> Variable:
    """An int64 vector of some lengths; a constant where all are known."""
    values = [n.value if isinstance(n, Constant) else n for n in scalars]
    if any(isinstance(n, Variable) for n in values):
        return as_variable([as_variable(n) for n in values])
    return as_variable(np.array(values, dtype="int64"))


def lengths_of(given: Any) -> tuple[LengthLike, ...]:
    """A shape as users write it, as a tuple of ints and int64 scalars.

    given: a length, a sequence of lengths, or an integer vector of known length
    Raises DtypeError for what is no integer, ShapeError for a vector of unknown length.
    """
    if isinstance(given, Variable) and given.ndim == 1:
        return tuple(as_length(n) for n in _elements(given))
    if isinstance(given, (list, tuple)) or (isinstance(given, np.ndarray) and given.ndim == 1):
        return tuple(as_length(n) for n in given)
    return (as_length(given),)


def as_length(n: Any) -> LengthLike:
    """An integer as an int where it is known, else as an int64 scalar; DtypeError or ShapeError for anything else."""
    if isinstance(n, np.ndarray) and n.ndim == 0:
        n = n[()]
    if isinstance(n, (int, np.integer)) and not isinstance(n, bool):
        return int(n)
    if not isinstance(n, Variable):
        raise DtypeError(f"a length is an integer or a symbol, not {n!r}")
    if n.ndim != 0:
        raise ShapeError(f"a length is a scalar, but {n} has rank {n.ndim}")
    if n.type.is_float or n.dtype == "bool":
        raise DtypeError(f"a length is an integer, but {n} is {n.dtype}")
    known = _value(n)
    return cast(n, "int64") if known is None else known


def _value(n: Variable) -> int | None:
    """What an integer expression of constants, such as `x.shape[0] // 2` for a known length, comes to."""
    todo, seen = [n], 0
    while todo:
        node = (x := todo.pop()).owner
        seen += 1
        if seen > 100 or (node is None and not isinstance(x, Constant)):
            return None
        todo += node.inputs if node is not None else ()
    return int(evaluate([n], {})[0])


def _elements(vector: Variable) -> list[LengthLike]:
    """The elements of an integer vector as scalars, taken from what it was made of where that shows them."""
    found: list[LengthLike] = []
    todo = [vector]
    while todo:
        part = todo.pop()
        op = part.owner.op if part.owner is not None else None
        source = part.owner.inputs[0] if part.owner is not None and part.owner.inputs else part
        known = part.type.shape[0]
        if isinstance(part, Constant):
            found += part.data.tolist()
        elif isinstance(op, ShapeOf):
            found += lengths(source)
        elif isinstance(op, Join) and part.owner is not None:
            todo += reversed(part.owner.inputs)
        elif isinstance(op, DimShuffle) and op.order == ("x",):
            found.append(source)
        elif known is not None:
            found += [part[k] for k in range(known)]
        else:
            raise ShapeError(f"{vector} is no shape: how many lengths it has is not known; give ndim=")
    return found


def split_lengths(given: Sequence[LengthLike]) -> tuple[Shape, tuple[Variable, ...]]:
    """The ints of a shape, with None for those that become operands; and the operands."""
    return tuple(n if isinstance(n, int) else None for n in given), tuple(n for n in given if isinstance(n, Variable))


def merge_lengths(known: Shape, operands: Iterable[Any]) -> list[Any]:
    """A shape with the operands where it has None."""
    rest = iter(operands)
    return [next(rest) if n is None else n for n in known]


def shape_text(entries: Sequence[Any]) -> str:
    """A shape of ints and operands as it is written."""
    return f"({', '.join(f'{n}' for n in entries)}{',' * (len(entries) == 1)})"


def check_lengths(known: Sequence[int | None], operands: Sequence[TensorType], first: int = 1) -> None:
    """Refuse operands that are not one int64 scalar for each length that is not known; `first` is the first's place."""
    if len(operands) != sum(n is None for n in known):
        raise ShapeError(f"{len(operands)} lengths were given for shape {format_shape(tuple(known))}")
    for k, operand in enumerate(operands, first):
        if operand != TensorType("int64"):
            raise DtypeError(f"{{{k}}} is no length: it is {operand}, not an int64 scalar")


def sized(known: Shape, operands: Iterable[Sized]) -> list[Variable]:
    """The lengths of a result whose shape was split, as `Op.shape` returns them."""
    return [as_variable(n) for n in merge_lengths(known, [n.value for n in operands])]


def counts_of(known: Shape, operands: Iterable[np.ndarray]) -> tuple[int, ...]:
    """The lengths of a result whose shape was split, as numbers; raises ShapeError for a negative one."""
    counts = tuple(int(n) for n in merge_lengths(known, operands))
    if any(n < 0 for n in counts):
        raise ShapeError(f"a length cannot be negative: {format_shape(counts)}")
    return counts


def countable(known: Shape, operands: Sequence[Sized]) -> list[Variable]:
    """Conditions that lengths are not negative and their product is no less for being taken modulo 2^64, where not
    all of them are those of arrays.
    """
    conditions = not_negative(operands)
    total: LengthLike = 1
    for n in merge_lengths(known, [n.value for n in operands]) if conditions else ():
        if total != 1 and not (isinstance(n, int) and isinstance(total, int)):
            larger = total * n
            conditions.append(bitwise_or(eq(n, 0), eq(larger // n, total)))
            total = larger
        else:
            total = total * n if isinstance(n, int) else n
    return conditions


def not_negative(operands: Iterable[Sized]) -> list[Variable]:
    """Conditions that the lengths which might be negative are not."""
    return [
        ge(n.value, as_variable(0))
        for n in operands
        if not any(node is not None and isinstance(node.op, Length) for node in (n.value.owner, n.variable.owner))
    ]


def product(factors: Iterable[LengthLike]) -> LengthLike:
    """The product of lengths; an int where all are known."""
    factors = list(factors)
    result: LengthLike = math.prod(n for n in factors if isinstance(n, int))
    for n in factors:
        if isinstance(n, Variable):
            result = n if isinstance(result, int) and result == 1 else result * n
    return result


@dataclass(frozen=True)
class SpecifyShape(Op):
    """The same array, with lengths that are then known.

    lengths: None where nothing is said; `measured`: the axes whose length is an operand
    Shapes:  x (...), one () for each measured axis -> (...)
    Raises:  ShapeError where a length is another
    """

    lengths: Shape
    measured: tuple[int, ...] = ()
    inline = True

    def infer_type(self, x: TensorType, *operands: TensorType) -> TensorType:
        check_lengths([None] * len(self.measured), operands)
        if x.ndim != len(self.lengths):
            raise ShapeError(f"{{0}} has rank {x.ndim}, not {len(self.lengths)}")
        if any(n is not None and m is not None and n != m for n, m in zip(x.shape, self.lengths, strict=True)):
            raise ShapeError(f"{{0}} does not have the specified shape {format_shape(self.lengths)}")
        return TensorType(x.dtype, tuple(m if n is None else n for n, m in zip(x.shape, self.lengths, strict=True)))

    def reference(self, x: np.ndarray, *operands: np.ndarray) -> np.ndarray:
        for axis, n in zip(self.measured, operands, strict=True):
            if x.shape[axis] != n:
                raise ShapeError(f"{{0}} was specified to have length {n} on axis {axis}")
        return x

    def gradient(self, x: Variable, *args: Variable) -> Sequence[Variable | None]:
        *operands, _, g = args
        return [g, *[None] * len(operands)]

    def shape(self, same: Same, x: Sized, *operands: Sized) -> Sequence[Variable]:
        said: list[Variable | None] = [None if n is None else as_variable(n) for n in self.lengths]
        for axis, n in zip(self.measured, operands, strict=True):
            said[axis] = n.value
        return [n if m is None else same(n, m) for n, m in zip(x.shape, said, strict=True)]

    def element(self, index: tuple[ir.Expr, ...], x: Operand, *operands: Operand) -> ir.Expr:
        return x[index]

    def format(self, x: Written, *operands: Written) -> str:
        said = [str(n) for n in self.lengths]
        for axis, n in zip(self.measured, operands, strict=True):
            said[axis] = f"{n}"
        return f"specify_shape({x}, {shape_text(said)})"

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield SpecifyShape((None, 3)), [np.ones((2, 3))]
        yield SpecifyShape((None, None), (0,)), [np.ones((2, 3)), np.int64(2)]


def specify_shape(x: Any, shape: Any) -> Variable:
    """`x` itself, whose lengths are from here on known to be those of `shape`, with None where nothing is said.

    Raises ShapeError here where the known lengths differ, and at a call where the lengths turn out to differ.
    """
    x = as_variable(x)
    given = shape if isinstance(shape, (list, tuple)) else lengths_of(shape)
    said = [None if n is None else as_length(n) for n in given]
    measured = tuple(axis for axis, n in enumerate(said) if isinstance(n, Variable))
    known = tuple(n if isinstance(n, int) else None for n in said)
    if not measured and len(known) == x.ndim and all(n in (None, m) for n, m in zip(known, x.type.shape, strict=True)):
        return x
    return SpecifyShape(known, measured)(x, *[said[axis] for axis in measured])


def addbroadcast(x: Any, *axes: int) -> Variable:
    """`x`, whose lengths on these axes are from here on known to be 1 (Theano's name). Raises as specify_shape does."""
    x = as_variable(x)
    chosen = normalize_axis_tuple(axes, x.ndim)
    return specify_shape(x, [1 if axis in chosen else None for axis in range(x.ndim)])


def patternbroadcast(x: Any, broadcastable: Sequence[bool]) -> Variable:
    """`x`, whose lengths are known to be 1 where `broadcastable` is True (Theano's name)."""
    return specify_shape(x, [1 if flag else None for flag in broadcastable])


def unbroadcastable(x: Any, *axes: int) -> Variable:
    """`x` itself: a length known to be 1 may stand wherever an unknown one may (Theano's `unbroadcast`)."""
    x = as_variable(x)
    normalize_axis_tuple(axes, x.ndim)
    return x


@dataclass(frozen=True)
class BroadcastTo(Op):
    """An array stretched to a shape, as numpy.broadcast_to; of a scalar, an array full of it.

    lengths: the ints of the shape, None for those that are operands
    Shapes:  x (...), one () for each None -> the shape; aligned at the right, a length of 1 stretches
    Raises:  ShapeError where a known length is neither 1 nor the new one, or a length is negative
    """

    lengths: Shape
    inline = True

    def infer_type(self, x: TensorType, *operands: TensorType) -> TensorType:
        check_lengths(self.lengths, operands)
        extra = len(self.lengths) - x.ndim
        result = list(self.lengths)
        for axis, n in enumerate(x.shape, extra):
            if extra < 0 or (n not in (None, 1) and result[axis] not in (None, n)):
                raise ShapeError(f"cannot broadcast {{0}} to shape {format_shape(self.lengths)}")
            if n not in (None, 1):
                result[axis] = n
        if None not in result and math.prod(result) >= MOST_ELEMENTS:  # type: ignore[arg-type]
            raise ShapeError(f"an array of shape {format_shape(tuple(result))} has more elements than can be counted")
        return TensorType(x.dtype, tuple(result))

    def reference(self, x: np.ndarray, *operands: np.ndarray) -> np.ndarray:
        return np.broadcast_to(x, counts_of(self.lengths, operands))

    def gradient(self, x: Variable, *args: Variable) -> Sequence[Variable | None]:
        *operands, _, g = args
        return [unbroadcast(g, x) if x.type.is_float else None, *[None] * len(operands)]

    def shape(self, same: Same, x: Sized, *operands: Sized) -> Sequence[Variable]:
        result = sized(self.lengths, operands)
        own = zip(x.shape, x.variable.type.shape, strict=True)
        for axis, (n, known) in enumerate(own, len(result) - len(x.shape)):
            if known != 1:
                result[axis] = same(result[axis], n)
        return result

    def checks(self, x: Sized, *operands: Sized) -> Iterable[Variable]:
        return countable(self.lengths, operands)

    def element(self, index: tuple[ir.Expr, ...], x: Operand, *operands: Operand) -> ir.Expr:
        return x[align(index, x)]

    def format(self, x: Written, *operands: Written) -> str:
        lengths = shape_text(merge_lengths(self.lengths, operands))
        return f"{x:atom}.broadcast_to({lengths})" if x.type.ndim else f"full({lengths}, {x})"

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        for shape in ((3,), (2, 1), (2, 3), (1, 1), ()):
            yield BroadcastTo((4, 2, 3)), [rng.normal(size=shape)]
        yield BroadcastTo((0, 3)), [rng.normal(size=(1, 3))]
        yield BroadcastTo((None, 3)), [rng.normal(size=(1, 3)), np.int64(2)]


def broadcast_to(x: Any, shape: Any) -> Variable:
    """An array stretched to a shape, as numpy.broadcast_to; the lengths may be symbols.

    Raises ShapeError where a known length is neither 1 nor the new one, and at a call where it turns out so.
    """
    x = as_variable(x)
    known, operands = split_lengths(lengths_of(shape))
    if not operands and known == x.type.shape:
        return x
    return BroadcastTo(known)(x, *operands)


@dataclass(frozen=True)
class Reshape(Op):
    """The same elements, in row-major order, with other lengths.

    lengths: the ints of the new shape, None for those that are operands
    Shapes:  x (...), one () for each None -> the new shape
    Raises:  ShapeError where the numbers of elements differ, or a length is negative
    """

    lengths: Shape
    alias = True

    def infer_type(self, x: TensorType, *operands: TensorType) -> TensorType:
        check_lengths(self.lengths, operands)
        if not operands and None not in x.shape and math.prod(self.lengths) != math.prod(x.shape):  # type: ignore[arg-type]
            raise ShapeError(f"cannot reshape {{0}} into {format_shape(self.lengths)}: the numbers of elements differ")
        return TensorType(x.dtype, self.lengths)

    def reference(self, x: np.ndarray, *operands: np.ndarray) -> np.ndarray:
        counts = counts_of(self.lengths, operands)
        if math.prod(counts) != x.size:
            raise ShapeError(f"cannot reshape {{0}} into {format_shape(counts)}: the numbers of elements differ")
        return x.reshape(counts)

    def gradient(self, x: Variable, *args: Variable) -> Sequence[Variable | None]:
        *operands, _, g = args
        return [g.reshape(x.shape), *[None] * len(operands)]

    def shape(self, same: Same, x: Sized, *operands: Sized) -> Sequence[Variable]:
        return sized(self.lengths, operands)

    def checks(self, x: Sized, *operands: Sized) -> Iterable[Variable]:
        if not operands and None not in x.variable.type.shape:
            return ()
        before, after = product(x.shape), product(sized(self.lengths, operands))
        return [eq(as_variable(before), as_variable(after)), *countable(self.lengths, operands)]

    def format(self, x: Written, *operands: Written) -> str:
        return f"{x:atom}.reshape({shape_text(merge_lengths(self.lengths, operands))})"

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.random.default_rng(0).normal(size=(2, 6))
        for shape in ((12,), (3, 4), (2, 1, 6), (2, 6)):
            yield Reshape(shape), [x]
        yield Reshape((3, 0)), [x[:0]]
        yield Reshape(()), [x[:1, :1]]
        yield Reshape((1, 1)), [x[0, 0]]
        yield Reshape((None, 4)), [x, np.int64(3)]


def reshape(x: Any, *shape: Any, ndim: int | None = None) -> Variable:
    """The same elements, in row-major order, with other lengths; as numpy.reshape.

    shape: lengths one by one, a sequence of them, or an integer vector; one may be -1 and is then what is left.
        A vector of unknown length needs `ndim`, which may also follow the shape, as in Theano's reshape(x, shape, 2)
    Raises ShapeError where the numbers of elements are known to differ, and at a call where they turn out to.
    """
    x = as_variable(x)
    given: Any = shape[0] if len(shape) == 1 else shape
    if len(shape) == 2 and (isinstance(shape[0], (list, tuple)) or getattr(shape[0], "ndim", 0) == 1):
        given, ndim = shape
    if ndim is not None and isinstance(given, Variable) and given.ndim == 1:
        given = specify_shape(given, (ndim,))
    try:
        new = lengths_of(given)
        if ndim not in (None, len(new)):
            raise ShapeError(f"ndim is {ndim}, but the new shape has {len(new)} lengths")
        if any(isinstance(n, int) and n < -1 for n in new):
            raise ShapeError(f"a length cannot be negative: {new}")
        if len(inferred := [axis for axis, n in enumerate(new) if isinstance(n, int) and n == -1]) > 1:
            raise ShapeError("only one length can be -1")
    except (ShapeError, DtypeError) as error:
        raise located(type(error)(f"cannot reshape {{0}}: {error}"), [x], current_origin()) from None
    if inferred:
        rest = new[: inferred[0]] + new[inferred[0] + 1 :]
        new = (*new[: inferred[0]], _rest_of(x, rest), *new[inferred[0] + 1 :])
    if len(new) == x.ndim and all(_is_length(n, x, axis) for axis, n in enumerate(new)):
        return x
    known, operands = split_lengths(new)
    return Reshape(known)(x, *operands)


def _is_length(n: LengthLike, x: Variable, axis: int) -> bool:
    """Whether `n` is certain to be the length of `x` on that axis."""
    if isinstance(n, int):
        return n == x.type.shape[axis]
    return n.owner is not None and n.owner.op == Length(axis) and n.owner.inputs[0] is x


def _rest_of(x: Variable, others: Sequence[LengthLike]) -> LengthLike:
    """The length that -1 stands for: the size over the other lengths; those that are lengths of `x` cancel."""
    mine: list[LengthLike] = []
    unmatched = list(others)
    for axis, n in enumerate(lengths(x)):
        match = next((m for m in unmatched if isinstance(n, Variable) and _is_length(m, x, axis)), None)
        if match is None:
            mine.append(n)
        else:
            unmatched = [m for m in unmatched if m is not match]
    over, under = (math.prod(n for n in part if isinstance(n, int)) for part in (mine, unmatched))
    text = f"cannot reshape {{0}} with -1 beside {', '.join(str(n) for n in others)}"
    if under == 0:
        raise located(ShapeError(f"{text}: any length would do"), [x], current_origin())
    common = math.gcd(over, under)
    above = product([over // common, *[n for n in mine if isinstance(n, Variable)]])
    below = product([under // common, *[n for n in unmatched if isinstance(n, Variable)]])
    if isinstance(below, int) and below == 1:
        return above
    if isinstance(above, int) and isinstance(below, int):
        raise located(ShapeError(f"{text}: it does not divide"), [x], current_origin())
    return as_variable(above) // below


def flatten(x: Any, ndim: int = 1) -> Variable:
    """The array with its last axes made one, so that its rank is `ndim` (Theano's name); a vector by default.

    Shapes: (a, b, c) -> (a * b * c,), or (a, b * c) for ndim=2.
    Raises ShapeError for a rank below 1 or above that of x (a scalar becomes a vector of one element).
    """
    x = as_variable(x)
    if not 1 <= ndim <= max(x.ndim, 1):
        raise ShapeError(f"cannot flatten {x}, of rank {x.ndim}, to rank {ndim}")
    mine = lengths(x)
    return reshape(x, [*mine[: ndim - 1], product(mine[ndim - 1 :])])


def ravel(x: Any) -> Variable:
    """All elements as a vector, in row-major order, as numpy.ravel."""
    return flatten(x)
