"""Values looked at on the way: `Print` shows one, `Assert` lets it pass only while conditions hold.

Neither is in the way of the compiler: what is printed or has to hold becomes a result of its own (see watch.py), and
the rewriter puts the operand in place of both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph.errors import AssertionFailure, DtypeError, ShapeError
from symgraph.graph.node import Apply, Example, Op, Sized, Variable, Written, as_variable
from symgraph.graph.printing import shown
from symgraph.graph.types import TensorType, format_shape
from symgraph.ops.elementary import neq

FEW = 16  # elements that are all shown


@dataclass(frozen=True)
class Print(Op):
    """The operand itself; whenever a function computes it, its value is printed to `sys.stdout`.

    A function prints after it has computed, in the order of the graph; one that fails prints what was computed before
    the failure. A value is printed if some output or update depends on it as written, whatever rewriting leaves of it.

    message: before the value; without one its expression stands there
    attrs: what is printed: "__str__" for dtype, shape and elements (of many elements the first ones, and their range),
        or attributes and methods of arrays, such as "shape" or "max", with a line for each
    global_fn: called as global_fn(op, value) with a copy of the value, in place of printing

    Shapes:  any, kept
    Dtypes:  any, kept
    Raises:  AttributeError for attributes that arrays do not have
    Source:  theano.printing.Print
    """

    message: str = ""
    attrs: Sequence[str] = ("__str__",)
    global_fn: Callable[[Print, np.ndarray], object] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "attrs", (self.attrs,) if isinstance(self.attrs, str) else tuple(self.attrs))
        for name in self.attrs:
            if not hasattr(np.ndarray, name):
                raise AttributeError(f"Print shows attributes of arrays, which have no {name!r}")

    def infer_type(self, x: TensorType) -> TensorType:
        return x

    def reference(self, x: np.ndarray) -> np.ndarray:
        return x

    def gradient(self, x: Variable, out: Variable, g: Variable) -> Sequence[Variable | None]:
        return [g]

    def expand(self, x: Variable) -> Variable:
        return x

    def format(self, x: Written) -> str:
        return f"print({', '.join([shown(self.message)] * bool(self.message) + [f'{x}'])})"

    def show(self, x: Variable, value: np.ndarray) -> None:
        """Print the value of an operand `x`, or hand a copy of it to `global_fn`."""
        if self.global_fn is not None:
            self.global_fn(self, value.copy())
            return
        label = self.message or str(x)
        _write("\n".join(f"{label}{_attribute(value, name)}" for name in self.attrs))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for shape in ((2, 3), (), (0,)):
            yield cls("x"), [np.random.default_rng(0).normal(size=shape)]


@dataclass(frozen=True)
class Assert(Op):
    """The operand itself, where all conditions hold; otherwise the call fails with an AssertionError.

    `Assert("x is positive")(x, x > 0, x.shape[0] > 1)`: the conditions may be arrays, of which all elements must hold.
    They are checked if some output or update depends on the result as written, and before any shared variable changes.

    Shapes:  any, kept; conditions any
    Dtypes:  any, kept; a condition that is no bool holds where it is not 0
    Raises:  AssertionFailure at the call, with the message, the condition and values
    Source:  theano.tensor.opt.Assert
    """

    message: str = ""

    def __call__(self, x: Any, *conditions: Any) -> Variable:
        """`x`, checked; see the class."""
        return Apply(self, (as_variable(x), *map(_truth, conditions))).output

    def infer_type(self, x: TensorType, *conditions: TensorType) -> TensorType:
        for k, condition in enumerate(conditions, 1):
            if condition.dtype != "bool":
                raise DtypeError(f"a condition is a bool, but {{{k}}} is {condition.dtype}")
            if condition.ndim:
                raise ShapeError(f"a condition is a scalar, but {{{k}}} is none: take .all() or .any() of it")
        return x

    def reference(self, x: np.ndarray, *conditions: np.ndarray) -> np.ndarray:
        failed = " and ".join(f"{{{k}.variable}} is false" for k, c in enumerate(conditions, 1) if not c)
        if failed:
            message = self.message.replace("{", "{{").replace("}", "}}")
            raise AssertionFailure(f"{message}: {failed}" if message else failed)
        return x

    def gradient(self, *args: Variable) -> Sequence[Variable | None]:
        return [args[-1], *[None] * (len(args) - 3)]

    def checks(self, x: Sized, *conditions: Sized) -> Iterable[Variable]:
        return [c.variable for c in conditions]

    def expand(self, x: Variable, *conditions: Variable) -> Variable:
        return x

    def format(self, x: Written, *conditions: Written) -> str:
        return f"assert({', '.join(f'{y}' for y in (x, *conditions))})"

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.array([[1.0, 2.5], [0.5, 3.0]])
        yield cls("positive"), [x, np.array(True)]
        yield cls(), [x, np.array([True, True]), np.array(2)]
        yield (lambda x: cls("not too many")(x, x.shape[0] < 1000)), [x]


def _truth(condition: Any) -> Variable:
    x = as_variable(condition)
    x = x if x.dtype == "bool" else neq(x, 0)
    return x.all() if x.ndim else x


def summary(value: np.ndarray) -> str:
    """An array in one line: dtype, shape, and all elements, or of many the range and the first."""
    head = f"{value.dtype} {format_shape(value.shape)}" if value.ndim else str(value.dtype)
    if value.size <= FEW:
        return f"{head} {_elements(value)}"
    return f"{head} {spread(value)}; {_elements(value.reshape(-1)[:FEW // 2])[:-1]} ...]"


def spread(value: np.ndarray) -> str:
    """Least, mean and greatest of the finite elements, and how many are not finite."""
    finite = value[np.isfinite(value)]
    texts = []
    if finite.size:
        with np.errstate(all="ignore"):
            mean = finite.mean(dtype="float64")
        texts = [f"min {_number(finite.min())}", f"mean {_number(mean)}", f"max {_number(finite.max())}"]
    if value.dtype.kind == "f":
        counts = {"nan": np.isnan(value).sum(), "inf": np.isposinf(value).sum(), "-inf": np.isneginf(value).sum()}
        texts += [f"{count} {what}" for what, count in counts.items() if count]
    return ", ".join(texts) or "empty"


def _attribute(value: np.ndarray, name: str) -> str:
    if name == "__str__":
        return f": {summary(value)}"
    try:
        found = getattr(value, name)
        found = found() if callable(found) else found
    except Exception as error:  # the call that is looked at must not fail for it
        return f" {name}: {type(error).__name__}: {error}"
    return f" {name} = {summary(found) if isinstance(found, np.ndarray) else found}"


def _elements(value: np.ndarray) -> str:
    if value.ndim == 0:
        return str(value[()])
    return " ".join(np.array2string(value, max_line_width=10**6, threshold=FEW + 1).split()).replace("[ ", "[")


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


def _write(text: str) -> None:
    """A line to the present `sys.stdout`; what its encoding lacks is escaped."""
    stream = sys.stdout
    if stream is not None:
        encoding = getattr(stream, "encoding", None) or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
