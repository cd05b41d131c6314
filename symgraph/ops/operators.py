"""Fills the tables of what can be written on a variable: `x + y`, `x[i]`, `x.sum()`, and numpy's functions of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from symgraph.graph.node import Variable, as_variable
from symgraph.graph.syntax import FUNCTIONS, SYNTAX, UFUNCS
from symgraph.ops import axes, creation, elementary, elementwise, indexing, joining, layout, linalg, reduce, statistics
from symgraph.ops.axes import transpose
from symgraph.ops.scalar import SCALAR_FUNCTIONS


def astype(x: Any, dtype: Any) -> Variable:
    """`x` in another dtype, with the meaning of numpy's astype; `x` itself where it has that dtype.

    Shapes: any, kept. dtype: numpy's dtype, type or name, or "floatX" for `config.floatX`.
    Raises DtypeError for a dtype that symgraph does not have, or for a Python number that does not fit.
    """
    return elementwise.cast(x, creation.dtype_name(dtype))


def copy(x: Any, name: str | None = None) -> Variable:
    """The same value as a variable of its own, which may have another name."""
    x = as_variable(x)
    result = layout.SpecifyShape((None,) * x.ndim)(x)
    result.name = name
    return result


def iterate(x: Variable) -> Iterator[Variable]:
    """The parts x[0], x[1], … of a variable whose first length is known.

    Raises TypeError for a scalar and for a length that is not known.
    """
    if x.ndim == 0:
        raise TypeError(f"{x} is a scalar, and there is nothing to iterate over")
    known = x.type.shape[0]
    if known is None:
        raise TypeError(
            f"how often to iterate over {x} is not known, for its length is a symbol: write array expressions, or "
            f"specify_shape(x, …) if the length is always the same"
        )
    return map(x.__getitem__, range(known))


def inc(x: Variable, y: Any) -> Variable:
    """`a[index].inc(y)`: the array `a` with `y` added to that part; see `inc_subtensor`."""
    return indexing.inc_subtensor(x, y)


def set_part(x: Variable, y: Any) -> Variable:
    """`a[index].set(y)`: the array `a` with that part replaced; see `set_subtensor`."""
    return indexing.set_subtensor(x, y)


SYNTAX.update(SCALAR_FUNCTIONS)
for _file, _names in (
    (axes, "dimshuffle expand_dims moveaxis squeeze swapaxes transpose"),
    (creation, "fill ones_like zeros_like"),
    (indexing, "getitem take"),
    (joining, "repeat split stack"),
    (layout, "broadcast_to flatten ravel reshape shape size specify_shape"),
    (linalg, "dot matmul"),
    (reduce, "all any argmax argmin max min prod sum"),
    (statistics, "mean norm std var"),
):
    SYNTAX.update((name, getattr(_file, name)) for name in _names.split())
SYNTAX.update(astype=astype, copy=copy, inc=inc, iterate=iterate, set=set_part)

UFUNCS.update((f.ufunc.__name__, f) for f in SCALAR_FUNCTIONS.values() if f.ufunc is not None)
UFUNCS["matmul"] = linalg.matmul


def _numpy_norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Variable:
    """Vector norms, and Frobenius'; numpy's other norms of matrices have no symbol."""
    if ord is not None and not (isinstance(axis, int) or (axis is None and x.ndim == 1)):
        raise TypeError(
            f"numpy.linalg.norm of {x} with ord={ord} is a norm of matrices, and symgraph has those of vectors: "
            "write T.norm(x, ord, axis), or T.norm(x, ord) for that of all elements"
        )
    return statistics.norm(x, ord, axis, keepdims)


def _numpy_concatenate(arrays: Any, axis: int | None = 0) -> Variable:
    if axis is None:
        return joining.concatenate([layout.ravel(x) for x in arrays])
    return joining.concatenate(arrays, axis)


# The arguments are numpy's, without those that symbols cannot take.
FUNCTIONS.update({
    np.all: lambda a, axis=None, *, keepdims=False: reduce.all(a, axis, keepdims),
    np.any: lambda a, axis=None, *, keepdims=False: reduce.any(a, axis, keepdims),
    np.argmax: lambda a, axis=None, *, keepdims=False: reduce.argmax(a, axis, keepdims),
    np.argmin: lambda a, axis=None, *, keepdims=False: reduce.argmin(a, axis, keepdims),
    np.max: lambda a, axis=None, *, keepdims=False: reduce.max(a, axis, keepdims),
    np.amax: lambda a, axis=None, *, keepdims=False: reduce.max(a, axis, keepdims),
    np.min: lambda a, axis=None, *, keepdims=False: reduce.min(a, axis, keepdims),
    np.amin: lambda a, axis=None, *, keepdims=False: reduce.min(a, axis, keepdims),
    np.sum: lambda a, axis=None, dtype=None, *, keepdims=False: reduce.sum(a, axis, dtype, keepdims),
    np.prod: lambda a, axis=None, dtype=None, *, keepdims=False: reduce.prod(a, axis, dtype, keepdims),
    np.mean: lambda a, axis=None, dtype=None, *, keepdims=False: statistics.mean(a, axis, dtype, keepdims),
    np.std: lambda a, axis=None, *, ddof=0, keepdims=False: statistics.std(a, axis, ddof, keepdims),
    np.var: lambda a, axis=None, *, ddof=0, keepdims=False: statistics.var(a, axis, ddof, keepdims),
    np.linalg.norm: _numpy_norm,
    np.clip: lambda a, a_min, a_max: elementary.clip(a, a_min, a_max),
    np.round: lambda a: elementary.round(a),
    np.where: lambda condition, x, y, /: elementary.switch(condition, x, y),
    np.dot: lambda a, b: linalg.dot(a, b),
    np.outer: lambda a, b: linalg.outer(a, b),
    np.tensordot: lambda a, b, axes=2: linalg.tensordot(a, b, axes),
    np.concatenate: _numpy_concatenate,
    np.stack: lambda arrays, axis=0: joining.stack(list(arrays), axis=axis),
    np.split: lambda ary, indices_or_sections, axis=0: joining.split(ary, indices_or_sections, axis=axis),
    np.repeat: lambda a, repeats, axis=None: joining.repeat(a, repeats, axis),
    np.tile: lambda A, reps: joining.tile(A, reps),
    np.take: lambda a, indices, axis=None, *, mode="raise": indexing.take(a, indices, axis, mode),
    np.broadcast_to: lambda array, shape: layout.broadcast_to(array, shape),
    np.ravel: lambda a: layout.ravel(a),
    np.reshape: lambda a, shape: layout.reshape(a, shape),
    np.shape: lambda a: layout.shape(a),
    np.size: lambda a: layout.size(a),
    np.ndim: lambda a: layout.ndim(a),
    np.copy: lambda a: copy(a),
    np.expand_dims: lambda a, axis: axes.expand_dims(a, axis),
    np.squeeze: lambda a, axis=None: axes.squeeze(a, axis),
    np.moveaxis: lambda a, source, destination: axes.moveaxis(a, source, destination),
    np.swapaxes: lambda a, axis1, axis2: axes.swapaxes(a, axis1, axis2),
    np.transpose: lambda a, axes=None: transpose(a, axes),
    np.full_like: lambda a, fill_value, dtype=None: creation.full_like(a, fill_value, dtype),
    np.ones_like: lambda a, dtype=None: creation.ones_like(a, dtype),
    np.zeros_like: lambda a, dtype=None: creation.zeros_like(a, dtype),
    np.linspace: lambda start, stop, num=50, endpoint=True: creation.linspace(start, stop, num, endpoint),
    np.tril: lambda m, k=0: creation.tril(m, k),
    np.triu: lambda m, k=0: creation.triu(m, k),
})  # fmt: skip
