"""Where a NaN or an infinity came from: the node that made it, what it was made of, and what to write instead.

A guarded function checks its results in C. Only where one is not finite the graph is run again by its references, as
the user wrote it, and searched from the result back to its source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from symgraph.errors import GraphError, NonFiniteError
from symgraph.graph.node import Apply, Constant, SharedVariable, Variable, as_variable
from symgraph.graph.printing import excerpt
from symgraph.graph.provenance import Origin, attributed_to
from symgraph.graph.traverse import toposort
from symgraph.graph.types import format_shape
from symgraph.interpreter import evaluate
from symgraph.ops.debugging import Assert, Print, spread
from symgraph.ops.elementary import abs as absolute
from symgraph.ops.elementary import eq, gt, isinf, isnan, logical_not, logical_or, switch
from symgraph.ops.elementwise import Cast, Elementwise
from symgraph.ops.layout import SpecifyShape
from symgraph.options import NanGuardMode
from symgraph.rewrite.engine import RewriteError, Step, apply_book
from symgraph.rewrite.pipeline import passes
from symgraph.rewrite.stabilize import STABILIZE

BIG = 1e10  # Theano's
MOST_HINTS = 2
ALIGNED = (Elementwise, Cast, SpecifyShape, Print, Assert)  # element by element

Trace = Mapping[Variable, np.ndarray]


def is_fine(x: Variable, guard: NanGuardMode) -> Variable | None:
    """A bool scalar: whether no element of `x` is what the guard minds; None where none can be."""
    if not x.type.is_float:
        return None
    with attributed_to(x.origin):
        minded = [test(x) for test, wanted in ((isnan, guard.nan_is_error), (isinf, guard.inf_is_error)) if wanted]
        if guard.big_is_error:
            minded.append(gt(absolute(x), BIG))
        if not minded:
            return None
        wrong = minded[0]
        for more in minded[1:]:
            wrong = logical_or(wrong, more)
        if x.ndim == 0:
            return logical_not(wrong)
        one, zero = as_variable(1, x.dtype), as_variable(0, x.dtype)
        return eq(switch(wrong, one, zero).sum(), 0)  # a sum, which vector lanes can take, rather than any()


def minds(value: np.ndarray, guard: NanGuardMode) -> np.ndarray:
    """Which elements of an array the guard minds."""
    wrong = np.zeros(value.shape, bool)
    if value.dtype.kind == "f":
        wrong |= guard.nan_is_error & np.isnan(value)
        wrong |= guard.inf_is_error & np.isinf(value)
        wrong |= guard.big_is_error & (np.abs(value) > BIG)
    return wrong


def _is_nan(value: np.ndarray) -> np.ndarray:
    return np.isnan(value) if value.dtype.kind == "f" else np.zeros(value.shape, bool)


def failure(
    caller: str,
    wanted: Sequence[tuple[str, Variable]],
    trace: Trace,
    compiled: tuple[Sequence[Variable], Trace] | None,
    guard: NanGuardMode,
    stable: Set[str] = frozenset(),
) -> NonFiniteError | None:
    """The error that tells where the values that the guard minds came from; None if there are none.

    caller: the function's name; wanted: its outputs and new values as written, each with a name for messages
    trace: all values of the graph as written
    compiled: the same outputs as they were compiled, if they were, and values of the inputs that they have
    stable: names of rules that were applied in compiling
    """
    search = Search(wanted, trace, guard)
    if compiled is None:
        return NonFiniteError(report(caller, search, stable)) if search.wrong else None
    values: dict[Variable, np.ndarray] = {}
    roots, leaves = compiled
    evaluate(roots, leaves, values)
    actual = Search([(label, x) for (label, _), x in zip(wanted, roots, strict=True)], values, guard)
    if search.wrong and actual.wrong:
        search = Search(wanted, trace, guard, {node.output.origin for node in actual.makers})
    elif actual.wrong:
        search = actual
    return NonFiniteError(report(caller, search, stable)) if search.wrong else None


@dataclass(frozen=True, eq=False)
class Search:
    """A walk from the results that the guard minds back to where such values appear first.

    Through ops that work element by element it follows only the elements that the wrong ones were made of.

    preferred: lines to look at first, where more than one made such values
    """

    wanted: Sequence[tuple[str, Variable]]
    trace: Trace
    guard: NanGuardMode
    preferred: Set[Origin] = frozenset()

    @cached_property
    def wrong(self) -> list[tuple[str, Variable]]:
        """The results that the guard minds."""
        return [(label, x) for label, x in self.wanted if minds(self.value(x), self.guard).any()]

    @cached_property
    def path(self) -> dict[Variable, np.ndarray]:
        """The values that the wrong results come from, and which of their elements the guard minds."""
        found = {x: minds(self.value(x), self.guard) for _, x in self.wrong}
        for node in reversed(toposort(found)):
            if node.output in found:
                for k, y in enumerate(node.inputs):
                    elements = self._passed_on(node, k, found[node.output])
                    if elements.any():
                        found[y] = found[y] | elements if y in found else elements
        return found

    @cached_property
    def makers(self) -> list[Apply]:
        """The nodes on the path that made a wrong element of operands that are fine there; those preferred first."""
        nodes = [node for node in self._order if self.made(node).any()]
        return sorted(nodes, key=lambda node: node.output.origin not in self.preferred)

    @cached_property
    def turning(self) -> Apply | None:
        """The first node on the path that made NaN of infinities or of large numbers."""
        return next((node for node in self._order if self.turned(node).any()), None)

    @cached_property
    def sources(self) -> list[Variable]:
        """The inputs, shared variables and constants that are wrong themselves."""
        return [x for x in reversed(self.path) if x.owner is None]

    def value(self, x: Variable) -> np.ndarray:
        """The value of a variable."""
        return x.data if isinstance(x, Constant) else self.trace[x]

    def made(self, node: Apply) -> np.ndarray:
        """Which elements on the path a node made of operands that are fine there."""
        return self._appear(node, lambda value: minds(value, self.guard))

    def turned(self, node: Apply) -> np.ndarray:
        """Which elements on the path a node made NaN of operands that are wrong there, but not NaN."""
        return self._appear(node, _is_nan) & ~self.made(node)

    def _appear(self, node: Apply, test: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """The elements on the path of which a test is true, and of no operand there."""
        found = self.path[node.output] & test(self.value(node.output))
        for y in node.inputs:
            before = test(self.value(y))
            found = found & ~(np.broadcast_to(before, found.shape) if isinstance(node.op, ALIGNED) else before.any())
        return found

    @cached_property
    def _order(self) -> list[Apply]:
        return [node for node in toposort([x for _, x in self.wrong]) if node.output in self.path]

    def _passed_on(self, node: Apply, k: int, elements: np.ndarray) -> np.ndarray:
        """Which wrong elements of operand k went into these elements of the result."""
        wrong = minds(self.value(node.inputs[k]), self.guard)
        if not isinstance(node.op, ALIGNED) or not wrong.any():
            return wrong
        if isinstance(node.op, Elementwise) and node.op.function is switch:
            chosen = self.value(node.inputs[0]) != 0
            elements = elements & (chosen if k == 1 else ~chosen)
        extra = elements.ndim - wrong.ndim
        stretched = tuple(a for a, n in enumerate(elements.shape) if a < extra or wrong.shape[a - extra] == 1 != n)
        return wrong & elements.any(axis=stretched, keepdims=True).reshape(wrong.shape)


def report(caller: str, search: Search, stable: Set[str] = frozenset()) -> str:
    """What a search has found, in lines."""
    head = "; ".join(f"{label} is {_described(x, search)}" for label, x in search.wrong)
    lines = [f"{caller}: {head}"]
    first = search.makers[0] if search.makers else None
    culprit = first or search.turning
    if culprit is not None:
        lines += _made(culprit, "first made by" if first else "NaN made by", search)
    if first is not None and search.turning not in (None, first):
        lines += _made(search.turning, "then NaN made by", search)
    for x in search.sources:
        lines.append(f"  {_kind(x)} {excerpt(x)} (made at {x.origin}) already was {_described(x, search)}")
    if culprit is not None:
        lines += _hints(search, culprit, stable)
    return "\n".join([*lines, "  nothing has changed"])


def _described(x: Variable, search: Search) -> str:
    """Dtype, shape and range of a value."""
    value = search.value(x)
    if value.ndim == 0:
        return f"{value.dtype} {value}"
    return f"{value.dtype} {format_shape(value.shape)}: {spread(value)}"


def _kind(x: Variable) -> str:
    return "the constant" if isinstance(x, Constant) else "the shared" if isinstance(x, SharedVariable) else "the input"


def _made(node: Apply, what: str, search: Search) -> list[str]:
    """A node, its line and its operands, with their ranges."""
    x = node.output
    derived = "in the gradient of  " if x.origin.derived else ""
    lines = [f"  {what}  {excerpt(x)}", f"    {x.origin}   {derived}{x.origin.text}".rstrip()]
    for y in dict.fromkeys(y for y in node.inputs if not isinstance(y, Constant) or y.ndim):
        lines.append(f"    {y} is {_described(y, search)}")
    if x.ndim and isinstance(node.op, Elementwise):
        lines.append(f"    {_element(node, search)}")
    return lines


def _element(node: Apply, search: Search) -> str:
    """The first element that a node made wrong, and what it was made of."""
    value = search.value(node.output)
    made = search.made(node)
    place = tuple(int(i) for i in np.argwhere(made if made.any() else search.turned(node))[0])
    operands = [np.broadcast_to(search.value(y), value.shape)[place] for y in node.inputs]
    listed = ", ".join(str(v) for v in operands)
    return f"at {list(place)}: {node.op.label}({listed}) is {value[place]}"


# -- what to write instead


def _hints(search: Search, culprit: Apply, stable: Set[str]) -> list[str]:
    """Stable forms of what is on the path, where the rewriter knows one that helps at these values; else advice."""
    hints: list[str] = []
    for step in stable_forms(search):
        if step.rule == CROSS_ENTROPY and step.rule not in stable:
            hints.insert(0, f"  stable    T.nnet.sigmoid_binary_crossentropy(z, t), {excerpt(step.after)}: {step.why}")
        elif step.rule not in stable:
            label = _label(step)
            form = f"{SPELLED.get(label, label)}, as in {excerpt(step.after)}, in place of {excerpt(step.before)}"
            hints.append(f"  stable    {form}: {step.why}")
    return hints[:MOST_HINTS] or [f"  advice    {text}" for text in [_advice(culprit, search)] if text]


def stable_forms(search: Search) -> list[Step]:
    """Firings of stabilizing rules on the path that turn a value which the guard minds into one that it does not."""
    names = {rule.name for rule in STABILIZE}
    (_, canonicalize), (_, stabilize) = passes()[:2]
    steps: list[Step] = []
    try:
        apply_book(stabilize, apply_book(canonicalize, [x for _, x in search.wrong], copy=True), steps)
        lines = {x.origin for x in search.path}
        steps = [s for s in steps if s.rule in names and s.before.origin in lines]
        leaves = {x: value for x, value in search.trace.items() if x.owner is None}
        values = evaluate([x for s in steps for x in (s.before, s.after)], leaves)
    except (GraphError, RewriteError):
        return []
    fine = [not minds(value, search.guard).any() for value in values]
    pairs = zip(steps, fine[::2], fine[1::2], strict=True)
    return [s for s, before, after in pairs if after and (not before or s.rule == CROSS_ENTROPY)]


CROSS_ENTROPY = "binary cross entropy of a sigmoid"  # a rule for what stable forms of its parts make
SPELLED = {
    "log_softmax": "T.nnet.log_softmax", "log_sum_exp": "T.logsumexp", "softmax": "T.nnet.softmax",
    "softplus": "T.nnet.softplus", "sigmoid": "T.nnet.sigmoid", "log1p": "T.log1p", "expm1": "T.expm1",
}  # fmt: skip


def _label(step: Step) -> str:
    """The name of the function that a stable form is made with."""
    labels = [node.op.label for node in toposort([step.after])]
    return next((label for label in reversed(labels) if label in SPELLED), labels[-1] if labels else "")


def _advice(node: Apply, search: Search) -> str:
    """What helps against what an op does at the ends of its domain."""
    label = node.op.label
    operands = [search.value(x) for x in node.inputs]
    find = ADVICE.get(label)
    if find is not None:
        return find(operands, node.output.dtype)
    overflows = np.isinf(search.value(node.output)).any() and node in search.makers
    return f"the result is larger than {node.output.dtype} holds, {_largest(node.output.dtype)}" if overflows else ""


def _largest(dtype: str) -> str:
    return f"{float(np.finfo(dtype).max):.3g}"


def _of_log(operands: Sequence[np.ndarray], dtype: str) -> str:
    (x,) = operands
    if (x < 0).any():
        return "there is no logarithm of a negative number"
    return (
        "log(0) is -inf. Take the logarithm of a probability from what it was computed of: T.nnet.log_softmax(z), "
        "-T.nnet.softplus(-z), T.nnet.sigmoid_binary_crossentropy(z, t); or bound it, log(T.maximum(x, 1e-12))"
    )


def _of_exp(operands: Sequence[np.ndarray], dtype: str) -> str:
    limit = np.log(np.finfo(dtype).max)
    return (
        f"exp overflows {dtype} above {limit:.2f}. Where it is divided by its sum T.nnet.softmax(z) stays finite, and "
        "where the logarithm of a sum is taken T.logsumexp(z); else subtract the largest exponent first"
    )


def _of_quotient(operands: Sequence[np.ndarray], dtype: str) -> str:
    if (operands[-1] != 0).all():
        return f"the quotient is larger than {dtype} holds, {_largest(dtype)}"
    return (
        "a division by 0. Divide by T.switch(T.eq(d, 0), 1, d) where the quotient does not count, "
        "or by T.maximum(d, 1e-12)"
    )


def _of_root(operands: Sequence[np.ndarray], dtype: str) -> str:
    return (
        "there is no square root of a negative number. Where rounding made a difference negative, "
        "T.sqrt(T.maximum(x, 0))"
    )


def _of_power(operands: Sequence[np.ndarray], dtype: str) -> str:
    base, exponent = operands
    if (base < 0).any() and not np.all(exponent == np.rint(exponent)):
        return "a negative number has no such power: T.abs(x) ** y, or T.maximum(x, 0) ** y"
    if ((base == 0) & (exponent < 0)).any():
        return "0 to a negative power is a division by 0"
    return f"the power is larger than {dtype} holds, {_largest(dtype)}: compute with its logarithm, y * T.log(x)"


ADVICE: dict[str, Callable[[Sequence[np.ndarray], str], str]] = {
    "log": _of_log, "log2": _of_log, "log10": _of_log, "exp": _of_exp, "exp2": _of_exp, "expm1": _of_exp,
    "true_divide": _of_quotient, "reciprocal": _of_quotient, "sqrt": _of_root, "power": _of_power,
}  # fmt: skip


def all_fine(roots: Iterable[Variable], guard: NanGuardMode) -> list[Variable]:
    """The conditions that the results of a guarded function must fulfil."""
    return [condition for x in roots if (condition := is_fine(x, guard)) is not None]
