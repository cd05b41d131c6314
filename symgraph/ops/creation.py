"""New variables: inputs of every family, constants, shared variables; and arrays from nothing: zeros, arange, eye."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codegen import ir
from symgraph.errors import DtypeError, ShapeError
from symgraph.graph import types
from symgraph.graph.node import (
    Constant,
    Example,
    Op,
    Operand,
    Same,
    SharedVariable,
    Sized,
    Variable,
    Written,
    as_variable,
    located,
)
from symgraph.graph.provenance import current_origin
from symgraph.graph.types import Shape, format_shape
from symgraph.graph.values import as_constant, new_value
from symgraph.ops.elementary import add, eq, floor_divide, le, maximum, mul, neg, sub, switch, true_divide
from symgraph.ops.elementwise import cast
from symgraph.ops.joining import lengths
from symgraph.ops.layout import (
    Length,
    LengthLike,
    as_length,
    broadcast_to,
    check_lengths,
    counts_of,
    lengths_of,
    merge_lengths,
    not_negative,
    sized,
    split_lengths,
)
from symgraph.options import config


def dtype_name(dtype: Any = None) -> str:
    """A dtype as symgraph names it: of numpy's dtype, type or name; None and "floatX" give `config.floatX`.

    Raises DtypeError for what is no dtype.
    """
    if dtype is None or (isinstance(dtype, str) and dtype == "floatX"):
        return config.floatX
    try:
        return str(np.dtype(dtype))
    except TypeError:
        raise DtypeError(f"{dtype!r} is no dtype") from None


class _TensorTypes(type):
    def __call__(cls, dtype: Any = None, shape: Any = None, *, broadcastable: Any = None) -> types.TensorType:
        return _tensor_type(dtype, broadcastable if shape is None else shape)

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, types.TensorType)


class TensorType(metaclass=_TensorTypes):
    """A dtype and a partly known shape; `TensorType("float32", (None, 3))("x")` is a new variable.

    In place of lengths there may be Theano's flags: True for a length of 1, False for any; also as `broadcastable=`.
    Raises DtypeError for a dtype that symgraph does not have, ShapeError for a negative length.
    """


def _tensor_type(dtype: Any, entries: Any) -> types.TensorType:
    if entries is None:
        raise TypeError("a tensor type needs a shape, or Theano's broadcastable flags")
    return types.TensorType(dtype_name(dtype), _open_shape(entries))


def _open_shape(entries: Iterable[Any]) -> Shape:
    """Lengths from ints and None, or from broadcastable flags; DtypeError for anything else."""
    entries = tuple(entries)
    for n in entries:
        if n is not None and not isinstance(n, (bool, np.bool_, int, np.integer)):
            raise DtypeError(f"a length in the shape of a variable is an integer, or None where it is open, not {n!r}")
    return tuple(n if n is None else (1 if n else None) if isinstance(n, (bool, np.bool_)) else int(n) for n in entries)


SHAPES: tuple[Shape, ...] = ((), (None,), (1, None), (None, 1), *((None,) * rank for rank in (2, 3, 4, 5)))


def _family(dtype: str) -> tuple[types.TensorType, ...]:
    """The types of a dtype: scalar, vector, row, col, matrix and tensors. Calling one makes a variable."""
    return tuple(types.TensorType(dtype, shape) for shape in SHAPES)


bscalar, bvector, brow, bcol, bmatrix, btensor3, btensor4, btensor5 = _family("int8")
wscalar, wvector, wrow, wcol, wmatrix, wtensor3, wtensor4, wtensor5 = _family("int16")
iscalar, ivector, irow, icol, imatrix, itensor3, itensor4, itensor5 = _family("int32")
lscalar, lvector, lrow, lcol, lmatrix, ltensor3, ltensor4, ltensor5 = _family("int64")
fscalar, fvector, frow, fcol, fmatrix, ftensor3, ftensor4, ftensor5 = _family("float32")
dscalar, dvector, drow, dcol, dmatrix, dtensor3, dtensor4, dtensor5 = _family("float64")


def scalar(name: str | None = None, dtype: Any = None) -> Variable:
    """A new scalar variable, of dtype `config.floatX` unless another is given."""
    return Variable(types.TensorType(dtype_name(dtype), ()), name)


def vector(name: str | None = None, dtype: Any = None, shape: Sequence[int | None] = (None,)) -> Variable:
    """A new vector variable, of dtype `config.floatX` unless another is given; `shape` fixes its length."""
    return _new("vector", name, dtype, shape, 1)


def row(name: str | None = None, dtype: Any = None) -> Variable:
    """A new matrix variable of one row: its first length is known to be 1 and broadcasts."""
    return _new("row", name, dtype, (1, None), 2)


def col(name: str | None = None, dtype: Any = None) -> Variable:
    """A new matrix variable of one column: its second length is known to be 1 and broadcasts."""
    return _new("col", name, dtype, (None, 1), 2)


def matrix(name: str | None = None, dtype: Any = None, shape: Sequence[int | None] = (None,) * 2) -> Variable:
    """A new matrix variable, of dtype `config.floatX` unless another is given; `shape` fixes lengths."""
    return _new("matrix", name, dtype, shape, 2)


def tensor3(name: str | None = None, dtype: Any = None, shape: Sequence[int | None] = (None,) * 3) -> Variable:
    """A new variable of rank 3, of dtype `config.floatX` unless another is given; `shape` fixes lengths."""
    return _new("tensor3", name, dtype, shape, 3)


def tensor4(name: str | None = None, dtype: Any = None, shape: Sequence[int | None] = (None,) * 4) -> Variable:
    """A new variable of rank 4, of dtype `config.floatX` unless another is given; `shape` fixes lengths."""
    return _new("tensor4", name, dtype, shape, 4)


def tensor5(name: str | None = None, dtype: Any = None, shape: Sequence[int | None] = (None,) * 5) -> Variable:
    """A new variable of rank 5, of dtype `config.floatX` unless another is given; `shape` fixes lengths."""
    return _new("tensor5", name, dtype, shape, 5)


def tensor(dtype: Any = None, shape: Any = None, name: str | None = None, *, broadcastable: Any = None) -> Variable:
    """A new variable of any rank. shape: lengths, None where not known; or Theano's broadcastable flags."""
    return Variable(_tensor_type(dtype, broadcastable if shape is None else shape), name)


def _new(what: str, name: str | None, dtype: Any, shape: Sequence[int | None], rank: int) -> Variable:
    if len(shape) != rank:
        raise ShapeError(f"a {what} has rank {rank}, but its shape was given as {format_shape(tuple(shape))}")
    return Variable(types.TensorType(dtype_name(dtype), _open_shape(shape)), name)


def _several(make: Callable[..., Variable]) -> Callable[..., list[Variable]]:
    def several(*names: Any, **options: Any) -> list[Variable]:
        """Several new variables: one for each name, or as many as a number says, without names."""
        if len(names) == 1 and isinstance(names[0], int):
            names = (None,) * names[0]
        return [make(name, **options) for name in names]

    return several


scalars, vectors, rows, cols, matrices, tensor3s, tensor4s, tensor5s = (
    _several(make) for make in (scalar, vector, row, col, matrix, tensor3, tensor4, tensor5)
)
bscalars, bvectors, brows, bcols, bmatrices, btensor3s, btensor4s, btensor5s = map(_several, _family("int8"))
wscalars, wvectors, wrows, wcols, wmatrices, wtensor3s, wtensor4s, wtensor5s = map(_several, _family("int16"))
iscalars, ivectors, irows, icols, imatrices, itensor3s, itensor4s, itensor5s = map(_several, _family("int32"))
lscalars, lvectors, lrows, lcols, lmatrices, ltensor3s, ltensor4s, ltensor5s = map(_several, _family("int64"))
fscalars, fvectors, frows, fcols, fmatrices, ftensor3s, ftensor4s, ftensor5s = map(_several, _family("float32"))
dscalars, dvectors, drows, dcols, dmatrices, dtensor3s, dtensor4s, dtensor5s = map(_several, _family("float64"))


def constant(value: Any, name: str | None = None, ndim: int | None = None, dtype: Any = None) -> Constant:
    """A value fixed in the graph: a number, nested lists or an array.

    Dtypes: an array's own; a Python float takes `config.floatX`, an int int64; or what `dtype` says
    Raises DtypeError for what is no array of numbers, ShapeError where the rank is not `ndim`.
    """
    if isinstance(value, Variable):
        raise TypeError(f"a constant is made of a value, and {value} is a symbol")
    data = as_constant(value, None if dtype is None else dtype_name(dtype), config.floatX)
    if ndim is not None and data.ndim > ndim:
        raise ShapeError(f"a constant of rank {ndim} cannot have shape {format_shape(data.shape)}")
    return Constant(data.reshape((1,) * ((ndim or 0) - data.ndim) + data.shape), name)


def as_tensor_variable(x: Any, name: str | None = None, ndim: int | None = None) -> Variable:
    """A variable as it is; a number, list or array as a constant; a list with variables in it stacked.

    ndim: the least rank; new axes of length 1 come on the left
    Raises DtypeError for what is no array of numbers, ShapeError for a rank above `ndim`.
    """
    variable = x if isinstance(x, Variable) else as_variable(x)
    if name is not None and variable is not x:
        variable.name = name
    if ndim is not None and variable.ndim > ndim:
        raise ShapeError(f"{variable} has rank {variable.ndim}, more than {ndim}")
    return variable if ndim is None else variable.dimshuffle(*["x"] * (ndim - variable.ndim), *range(variable.ndim))


def shared(
    value: Any,
    name: str | None = None,
    strict: bool = False,
    allow_downcast: bool | None = None,
    borrow: bool = False,
    broadcastable: Sequence[bool] | None = None,
    shape: Sequence[int | None] | None = None,
) -> SharedVariable:
    """A variable with a value that lives between calls and that updates replace.

    value: an array, a number, or nested lists of numbers; a Python float takes `config.floatX`, an int int64
    borrow: use the array's own memory where its layout allows, so that updates change it
    broadcastable, shape: which lengths are fixed (to 1; to a number); without them every length may change
    strict, allow_downcast: taken for Theano's sake; a value that would lose information is always refused

    Raises DtypeError for what is no array of numbers, ShapeError where the value does not have the fixed lengths.
    """
    if isinstance(value, Variable):
        raise TypeError(f"shared takes a value, but was given the symbol {value}: get its value with .eval() first")
    data = new_value(value, floatX=config.floatX)
    fixed = _open_shape(shape if shape is not None else broadcastable or ())
    fixed = fixed or (None,) * data.ndim
    if len(fixed) != data.ndim or any(n is not None and n != m for n, m in zip(fixed, data.shape, strict=True)):
        actual = format_shape(data.shape)
        raise ShapeError(f"{name or 'a shared variable'} of shape {format_shape(fixed)} was given shape {actual}")
    usable = borrow and isinstance(value, np.ndarray) and value.flags.carray and value.dtype.isnative
    storage = value if usable else data
    return SharedVariable(types.TensorType(str(data.dtype), fixed), storage, name, borrowed=usable)


def alloc(value: Any, *shape: Any) -> Variable:
    """An array of a shape filled with a value, which may itself be an array that broadcasts (Theano's name).

    shape: lengths one by one, or as one sequence or vector; ints or integer scalars
    Raises ShapeError where the value does not broadcast to the shape.
    """
    return broadcast_to(value, shape[0] if len(shape) == 1 else shape)


def full(shape: Any, value: Any, dtype: Any = None) -> Variable:
    """An array filled with a value, as numpy.full; the lengths may be symbols.

    Dtypes: the value's, or what `dtype` says.
    """
    filling = as_variable(value)
    return broadcast_to(filling if dtype is None else cast(filling, dtype_name(dtype)), shape)


def zeros(shape: Any, dtype: Any = None) -> Variable:
    """An array of zeros, of dtype `config.floatX` unless another is given; the lengths may be symbols."""
    return full(shape, 0, dtype_name(dtype))


def ones(shape: Any, dtype: Any = None) -> Variable:
    """An array of ones, of dtype `config.floatX` unless another is given; the lengths may be symbols."""
    return full(shape, 1, dtype_name(dtype))


def empty(shape: Any, dtype: Any = None) -> Variable:
    """An array whose elements do not matter: zeros."""
    return zeros(shape, dtype)


def full_like(x: Any, value: Any, dtype: Any = None) -> Variable:
    """An array of the shape and dtype of `x` filled with a value, as numpy.full_like."""
    x = as_variable(x)
    return full(lengths(x), value, x.dtype if dtype is None else dtype)


def zeros_like(x: Any, dtype: Any = None) -> Variable:
    """Zeros of the shape of `x`, and of its dtype unless another is given."""
    return full_like(x, 0, dtype)


def ones_like(x: Any, dtype: Any = None) -> Variable:
    """Ones of the shape of `x`, and of its dtype unless another is given."""
    return full_like(x, 1, dtype)


def fill(x: Any, value: Any) -> Variable:
    """An array of the shape of `x` filled with a value (Theano's name).

    Dtypes: the value's; a Python number takes that of `x` if it is of the same kind.
    """
    x = as_variable(x)
    fits = type(value) in (bool, int) or (type(value) is float and x.type.is_float)
    return full(lengths(x), value, x.dtype if fits else None)


@dataclass(frozen=True)
class Arange(Op):
    """Evenly spaced numbers: start + i * step.

    length: the length, or None where it is the third operand
    partial: as an index it is known not to reach the end of its axis
    Shapes:  start (), step (), and for an unknown length n () -> (length,)
    Raises:  ShapeError for a negative length
    """

    dtype: str
    length: int | None
    partial: bool = False
    inline = True

    def infer_type(self, start: types.TensorType, step: types.TensorType, *n: types.TensorType) -> types.TensorType:
        check_lengths((self.length,), n, first=2)
        if (start, step) != (types.TensorType(self.dtype),) * 2:
            raise DtypeError(f"arange of {self.dtype} cannot start at {{0}} or step by {{1}}: no such scalars")
        return types.TensorType(self.dtype, (self.length,))

    def reference(self, start: np.ndarray, step: np.ndarray, *n: np.ndarray) -> np.ndarray:
        (count,) = counts_of((self.length,), n)
        with np.errstate(all="ignore"):
            return (start + np.arange(count).astype(self.dtype) * step).astype(self.dtype)

    def gradient(self, start: Variable, step: Variable, *args: Variable) -> Sequence[Variable | None]:
        *n, out, g = args
        if not out.type.is_float:
            return [None] * (2 + len(n))
        positions = self(as_variable(0, self.dtype), as_variable(1, self.dtype), *n)
        return [g.sum(), (g * positions).sum(), *[None] * len(n)]

    def shape(self, same: Same, start: Sized, step: Sized, *n: Sized) -> Sequence[Variable]:
        return sized((self.length,), n)

    def checks(self, start: Sized, step: Sized, *n: Sized) -> Iterable[Variable]:
        return not_negative(n)

    def element(self, index: tuple[ir.Expr, ...], start: Operand, step: Operand, *n: Operand) -> ir.Expr:
        position: ir.Expr = index[0] if self.dtype == ir.INDEX else ir.Cast(self.dtype, index[0])
        first, distance = start[()], step[()]
        value = position if isinstance(distance, ir.Literal) and distance.value == 1 else mul(position, distance)
        return value if isinstance(first, ir.Literal) and first.value == 0 else add(first, value)

    def format(self, start: Written, step: Written, *n: Written) -> str:
        (count,) = merge_lengths((self.length,), n)
        plain = (f"{start}", f"{step}") == ("0", "1")
        return f"arange({count})" if plain else f"arange({start}, step={step}, length={count})"

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for dtype, length in (("int64", 4), ("int8", 3), ("float32", 5), ("float64", 0), ("float64", 1)):
            yield cls(dtype, length), [np.array(2, dtype), np.array(3, dtype)]
        yield cls("float64", None), [np.array(0.5), np.array(-0.25), np.int64(3)]


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Variable:
    """Numbers from `start` (0 if left out) to before `stop`, as numpy.arange.

    start, stop, step: numbers, or integer scalars; a length that hangs on a symbolic float is refused, use linspace
    Shapes: (max(0, ceil((stop - start) / step)),)
    Dtypes: int64 for integers, the float dtype that holds the others; or what `dtype` says
    Raises ValueError for a known step of 0, TypeError for symbolic floats.
    """
    first, last, by = (0, start, step) if stop is None else (start, stop, step)
    bounds = [_bound(x) for x in (first, last, by)]
    if dtype is None:
        floats = [as_variable(x).dtype for x, b in zip((first, last, by), bounds, strict=True) if isinstance(b, float)]
        dtype = types.promote(*floats) if floats else "int64"
    dtype = dtype_name(dtype)
    if isinstance(bounds[2], (int, float)) and bounds[2] == 0:
        raise ValueError("the step of arange cannot be 0")
    known, operands = split_lengths([_count(*bounds)])
    operand_values = [cast(bounds[0], dtype), cast(bounds[2], dtype)]
    return Arange(dtype, known[0])(*operand_values, *operands)


def _bound(x: Any) -> LengthLike | float:
    """A number as such, an integer symbol as int64 scalar."""
    value = x.data[()] if isinstance(x, Constant) and x.ndim == 0 else x
    if isinstance(value, (float, np.floating)):
        return float(value)
    if isinstance(value, Variable) and value.type.is_float:
        raise TypeError(f"arange cannot take the symbolic float {value}, for its length would hang on it: use linspace")
    return as_length(value)


def _count(start: Any, stop: Any, step: Any) -> LengthLike:
    """The length of an arange."""
    if not any(isinstance(x, Variable) for x in (start, stop, step)):
        exact = all(isinstance(x, int) for x in (start, stop, step))
        return max(0, -((start - stop) // step) if exact else math.ceil((stop - start) / step))
    if any(isinstance(x, float) for x in (start, stop, step)):
        raise TypeError("arange takes symbolic integers with integers only, for its length would hang on a float")
    steps = stop if (start, step) == (0, 1) else neg(floor_divide(as_variable(start - stop), step))
    return steps if steps.owner is not None and isinstance(steps.owner.op, Length) else maximum(steps, 0)


def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None) -> Variable:
    """`num` numbers evenly spaced from start to stop, the latter included if `endpoint`, as numpy.linspace.

    start, stop: numbers or float scalars; num: an int
    Shapes: (num,). Dtypes: theirs, `config.floatX` for Python numbers; or what `dtype` says
    """
    a, b = (as_variable(float(x) if isinstance(x, int) else x) for x in (start, stop))
    kind = types.float_for(types.promote(a.dtype, b.dtype))
    a, b = cast(a, kind), cast(b, kind)
    gaps = num - 1 if endpoint else num
    positions = arange(num, dtype=kind)
    values = add(a, mul(positions, true_divide(sub(b, a), max(gaps, 1))))
    if endpoint and num > 1:
        values = switch(eq(positions, gaps), b, values)
    return values if dtype is None else cast(values, dtype_name(dtype))


@dataclass(frozen=True)
class Eye(Op):
    """Ones on a diagonal, zeros elsewhere.

    lengths: the numbers of rows and columns, None where they are operands
    Shapes:  k () (the diagonal: above the main one if positive), one () for each None -> (rows, columns)
    Raises:  ShapeError for a negative length
    """

    dtype: str
    lengths: Shape
    inline = True

    def infer_type(self, k: types.TensorType, *operands: types.TensorType) -> types.TensorType:
        check_lengths(self.lengths, operands)
        if k != types.TensorType("int64"):
            raise DtypeError("the diagonal {0} of eye is not an int64 scalar")
        return types.TensorType(self.dtype, self.lengths)

    def reference(self, k: np.ndarray, *operands: np.ndarray) -> np.ndarray:
        rows, columns = counts_of(self.lengths, operands)
        return np.eye(rows, columns, int(k), dtype=self.dtype)

    def gradient(self, k: Variable, *args: Variable) -> Sequence[Variable | None]:
        return [None] * (len(args) - 1)

    def shape(self, same: Same, k: Sized, *operands: Sized) -> Sequence[Variable]:
        return sized(self.lengths, operands)

    def checks(self, k: Sized, *operands: Sized) -> Iterable[Variable]:
        return not_negative(operands)

    def element(self, index: tuple[ir.Expr, ...], k: Operand, *operands: Operand) -> ir.Expr:
        return ir.Cast(self.dtype, eq(index[1], add(index[0], k[()])))

    def format(self, k: Written, *operands: Written) -> str:
        rows, columns = merge_lengths(self.lengths, operands)
        return f"eye({rows}, {columns}, {k})"

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for dtype, shape in (("float64", (3, 3)), ("int8", (2, 4)), ("bool", (1, 0)), ("float32", (4, 1))):
            for k in (0, 1, -2):
                yield cls(dtype, shape), [np.int64(k)]
        yield cls("float64", (None, 3)), [np.int64(-1), np.int64(4)]


def eye(n: Any, m: Any = None, k: Any = 0, dtype: Any = None) -> Variable:
    """A matrix with ones on its k-th diagonal, as numpy.eye; n, m and k may be integer scalars.

    Shapes: (n, m), m = n if left out. Dtypes: `config.floatX`, or what `dtype` says.
    """
    known, operands = split_lengths(lengths_of((n, n if m is None else m)))
    return Eye(dtype_name(dtype), known)(as_variable(as_length(k)), *operands)


def identity(n: Any, dtype: Any = None) -> Variable:
    """The identity matrix of n rows. Dtypes: `config.floatX`, or what `dtype` says."""
    return eye(n, dtype=dtype)


def identity_like(x: Any, dtype: Any = None) -> Variable:
    """Ones on the diagonal, in the shape and dtype of a matrix `x`. Raises ShapeError for another rank."""
    x = as_variable(x)
    if x.ndim != 2:
        raise located(ShapeError("identity_like takes a matrix, and {0} is none"), (x,), current_origin())
    rows, columns = lengths(x)
    return eye(rows, columns, dtype=x.dtype if dtype is None else dtype)


def tri(n: Any, m: Any = None, k: Any = 0, dtype: Any = None) -> Variable:
    """Ones on and below the k-th diagonal, as numpy.tri."""
    rows, columns = arange(n).dimshuffle(0, "x"), arange(n if m is None else m)
    return cast(le(columns, rows if type(k) is int and k == 0 else add(rows, k)), dtype_name(dtype))


def _rows_and_columns(x: Variable, what: str) -> list[Any]:
    if x.ndim < 2:
        message = f"{what} takes a matrix, or a stack of them, and {{0}} is none"
        raise located(ShapeError(message), (x,), current_origin())
    return lengths(x)[-2:]


def tril(x: Any, k: Any = 0) -> Variable:
    """The elements of matrices on and below the k-th diagonal, zeros elsewhere, as numpy.tril.

    Raises ShapeError for a vector or a scalar.
    """
    x = as_variable(x)
    rows, columns = _rows_and_columns(x, "tril")
    return switch(tri(rows, columns, k, dtype="bool"), x, as_variable(0, x.dtype))


def triu(x: Any, k: Any = 0) -> Variable:
    """The elements of matrices on and above the k-th diagonal, zeros elsewhere, as numpy.triu.

    Raises ShapeError for a vector or a scalar.
    """
    x = as_variable(x)
    rows, columns = _rows_and_columns(x, "triu")
    return switch(tri(rows, columns, k - 1, dtype="bool"), as_variable(0, x.dtype), x)
