"""The axes of an array in another order, with new ones of length 1, or without some: dimshuffle, transpose, squeeze."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.exceptions import AxisError
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from codegen import ir
from symgraph.errors import GraphError, ShapeError
from symgraph.graph.node import Example, Op, Operand, Same, Sized, Variable, Written, as_variable, located
from symgraph.graph.provenance import current_origin
from symgraph.graph.types import TensorType
from symgraph.ops.elementary import eq


@dataclass(frozen=True)
class DimShuffle(Op):
    """The axes in another order, with new ones of length 1 where the order says "x", and without those it leaves out.

    Shapes:  (2, 1, 3) -> (3, "x"-> 1, 2) for order (2, "x", 0)
    Raises:  ShapeError where an axis left out is not of length 1
    """

    order: tuple[int | str, ...]
    inline = True

    def infer_type(self, x: TensorType) -> TensorType:
        kept = [a for a in self.order if isinstance(a, int)]
        if any(not 0 <= a < x.ndim for a in kept) or len(set(kept)) != len(kept):
            raise ShapeError(f"{{0}} has rank {x.ndim}: its axes cannot be put in the order {self.order}")
        for axis, n in enumerate(x.shape):
            if axis not in kept and n not in (None, 1):
                raise ShapeError(f"axis {axis} of {{0}} has length {n}, and only a length of 1 can be left out")
        return TensorType(x.dtype, tuple(1 if isinstance(a, str) else x.shape[a] for a in self.order))

    def reference(self, x: np.ndarray) -> np.ndarray:
        kept = [a for a in self.order if isinstance(a, int)]
        dropped = [a for a in range(x.ndim) if a not in kept]
        new = tuple(position for position, a in enumerate(self.order) if isinstance(a, str))
        return np.expand_dims(x.transpose(kept + dropped).reshape([x.shape[a] for a in kept]), new)

    def gradient(self, x: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        return [g.dimshuffle(*[self.order.index(a) if a in self.order else "x" for a in range(x.ndim)])]

    def shape(self, same: Same, x: Sized) -> Sequence[Variable]:
        return [as_variable(1) if isinstance(a, str) else x.shape[a] for a in self.order]

    def checks(self, x: Sized) -> Iterable[Variable]:
        known = x.variable.type.shape
        return [eq(n, as_variable(1)) for a, n in enumerate(x.shape) if a not in self.order and known[a] is None]

    def element(self, index: tuple[ir.Expr, ...], x: Operand) -> ir.Expr:
        axes = range(x.type.ndim)
        return x[tuple(index[self.order.index(a)] if a in self.order else ir.index(0) for a in axes)]

    def format(self, x: Written) -> str:
        if len(self.order) > 1 and self.order == tuple(reversed(range(len(self.order)))):
            return f"{x:atom}.T"
        return f"{x:atom}.dimshuffle({', '.join(repr(a) for a in self.order)})"

    def latex(self, x: Written) -> str | tuple[str, str] | None:
        """A transpose, or nothing but the operand where broadcasting would do the same."""
        if self.order == (1, 0):
            return rf"{x:atom}^{{\top}}", "power"
        kept = tuple(range(x.type.ndim))
        return f"{x:atom}" if self.order[len(self.order) - len(kept) :] == kept else None

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.random.default_rng(0).normal(size=(2, 1, 3))
        for order in ((2, "x", 0), (0, 1, 2), ("x", 2, 1, 0, "x"), (0, 2)):
            yield DimShuffle(order), [x]
        yield DimShuffle((2, 1, 0)), [x[:, :, :0]]
        yield DimShuffle(("x", "x")), [x[0, 0, 0]]
        yield DimShuffle(()), [x[:1, :, :1]]


def axis_of(x: Variable, axis: Any, new: int = 0) -> int:
    """An axis of `x`, or of `x` with some new ones, counted from the front; AxisError where it is not there."""
    try:
        return normalize_axis_index(axis, x.ndim + new)
    except AxisError as error:
        raise _not_there(error, x, new) from None


def axes_of(x: Variable, axes: Any, new: int = 0) -> tuple[int, ...]:
    """Axes of `x`, or of `x` with some new ones, counted from the front.

    Raises AxisError for one that is not there, ShapeError for one given twice.
    """
    try:
        return normalize_axis_tuple(axes, x.ndim + new)
    except AxisError as error:
        raise _not_there(error, x, new) from None
    except ValueError:
        raise _located(f"an axis of {{0}} is given twice: {axes}", x) from None


def _not_there(error: AxisError, x: Variable, new: int) -> AxisError:
    """numpy's error, which says "axis 2 is out of bounds for array of dimension 2", with the array named."""
    whose = f"{{0}} with {new} more" if new else "{0}"
    return AxisError(str(_located(f"{str(error).partition(' for ')[0]} for {whose}", x)))


def _located(message: str, x: Variable) -> GraphError:
    return located(ShapeError(message), (x,), current_origin())


def dimshuffle(x: Any, *order: Any) -> Variable:
    """The axes in another order; "x" makes a new one of length 1, and an axis of length 1 may be left out.

    order: axes and "x", one by one or as one sequence
    Raises ShapeError where an axis left out is known not to be 1, or an axis is not there or used twice.
    """
    x = as_variable(x)
    entries = order[0] if len(order) == 1 and isinstance(order[0], (list, tuple)) else order
    if any(isinstance(a, str) and a != "x" for a in entries):
        raise ShapeError(f'an order has axes and "x", not {entries}')
    normal = tuple("x" if isinstance(a, str) else axis_of(x, a) for a in entries)
    return x if normal == tuple(range(x.ndim)) else DimShuffle(normal)(x)


def transpose(x: Any, *axes: Any) -> Variable:
    """The axes in the given order, one by one or as one sequence; without any in reverse order, as numpy.transpose.

    Raises AxisError for an axis that is not there, ValueError where they are not all named once.
    """
    x = as_variable(x)
    entries = axes[0] if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (list, tuple))) else axes
    order = axes_of(x, entries) if entries else tuple(reversed(range(x.ndim)))
    if len(order) != x.ndim:
        raise ShapeError(f"transpose of rank {x.ndim} needs {x.ndim} axes, but was given {order}")
    return dimshuffle(x, *order)


def swapaxes(x: Any, axis1: int, axis2: int) -> Variable:
    """Two axes exchanged, as numpy.swapaxes."""
    x = as_variable(x)
    order = list(range(x.ndim))
    a, b = axis_of(x, axis1), axis_of(x, axis2)
    order[a], order[b] = order[b], order[a]
    return dimshuffle(x, *order)


def moveaxis(x: Any, source: Any, destination: Any) -> Variable:
    """Some axes moved to other places, as numpy.moveaxis."""
    x = as_variable(x)
    sources, targets = axes_of(x, source), axes_of(x, destination)
    if len(sources) != len(targets):
        raise ShapeError(f"moveaxis of {len(sources)} axes to {len(targets)} places")
    order = [axis for axis in range(x.ndim) if axis not in sources]
    for place, axis in sorted(zip(targets, sources, strict=True)):
        order.insert(place, axis)
    return dimshuffle(x, *order)


def expand_dims(x: Any, axis: Any) -> Variable:
    """New axes of length 1 at these places of the result, as numpy.expand_dims."""
    x = as_variable(x)
    count = len(axis) if isinstance(axis, (list, tuple)) else 1
    new = axes_of(x, axis, count)
    rest = iter(range(x.ndim))
    return dimshuffle(x, *["x" if place in new else next(rest) for place in range(x.ndim + count)])


def squeeze(x: Any, axis: Any = None) -> Variable:
    """The array without some axes of length 1, as numpy.squeeze; without `axis`, without all that are known to be 1.

    Raises ShapeError where a length is known not to be 1, and at a call where it turns out not to be.
    """
    x = as_variable(x)
    dropped = [k for k, n in enumerate(x.type.shape) if n == 1] if axis is None else axes_of(x, axis)
    return dimshuffle(x, *[k for k in range(x.ndim) if k not in dropped])


def shape_padleft(x: Any, n_ones: int = 1) -> Variable:
    """New axes of length 1 on the left (Theano's name)."""
    return expand_dims(x, tuple(range(n_ones)))


def shape_padright(x: Any, n_ones: int = 1) -> Variable:
    """New axes of length 1 on the right (Theano's name)."""
    x = as_variable(x)
    return expand_dims(x, tuple(range(x.ndim, x.ndim + n_ones)))


def shape_padaxis(x: Any, axis: int) -> Variable:
    """A new axis of length 1 (Theano's name for expand_dims)."""
    return expand_dims(x, axis)
