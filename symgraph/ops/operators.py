"""Fills the table of what can be written on a variable: `x + y`, `x[i]`, `x.sum()`, and numpy's ufuncs of variables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from symgraph.graph.node import Variable, as_variable
from symgraph.graph.syntax import SYNTAX, UFUNCS
from symgraph.ops import axes, creation, elementwise, indexing, joining, layout, linalg, reduce, statistics
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
