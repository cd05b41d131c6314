"""Reverse-mode differentiation. It knows no op by name: what is special about an op stays with the op."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import overload

from symgraph.errors import DtypeError, GradientError, ShapeError
from symgraph.graph.node import SharedVariable, Variable, as_variable
from symgraph.graph.provenance import attributed_to, warn
from symgraph.graph.traverse import toposort
from symgraph.graph.types import format_shape


@overload
def grad(cost: Variable, wrt: Variable, **options: object) -> Variable: ...
@overload
def grad(cost: Variable, wrt: Sequence[Variable], **options: object) -> list[Variable]: ...
def grad(  # type: ignore[misc]
    cost: Variable | None,
    wrt: Variable | Sequence[Variable],
    consider_constant: Iterable[Variable] = (),
    known_grads: Mapping[Variable, Variable] | None = None,
    disconnected_inputs: str = "raise",
) -> Variable | list[Variable]:
    """The derivatives of a scalar cost with respect to some variables, as new symbols.

    cost: a float scalar; None if `known_grads` starts the chain rule instead
    wrt: one variable, or a sequence of them; each derivative has the shape and dtype of its variable
    consider_constant: variables that no gradient flows through
    known_grads: {variable: derivative of the cost with respect to it}, where that is known already
    disconnected_inputs: for a variable that the cost does not depend on, 'raise', or zeros after 'warn' or 'ignore'

    Raises GradientError for a cost that is no float scalar, an integer in `wrt`, or a variable without influence;
    ShapeError or DtypeError for a known gradient of another rank or dtype than its variable.
    Source: reverse accumulation; Griewank and Walther, Evaluating Derivatives (2008), section 3.2.
    """
    if disconnected_inputs not in ("raise", "warn", "ignore"):
        raise ValueError(f"disconnected_inputs is 'raise', 'warn' or 'ignore', not {disconnected_inputs!r}")
    targets = _variables(wrt, "wrt")
    total = _known(known_grads or {})
    _check(cost, targets, total)
    constant = set(_variables(consider_constant, "consider_constant"))
    if cost is not None:
        total.setdefault(cost, as_variable(1.0, cost.dtype))
    _accumulate(total, targets, constant)

    policy = disconnected_inputs
    gradients = [total[x] if x in total else _disconnected(cost, x, policy, x in constant) for x in targets]
    for x, g in zip(targets, gradients, strict=True):
        if x.name and g.name is None and g.owner is not None and g.origin.derived:
            g.name = f"grad_{x.name}"
    return gradients[0] if isinstance(wrt, Variable) else gradients


def _accumulate(total: dict[Variable, Variable], targets: Sequence[Variable], constant: set[Variable]) -> None:
    """The chain rule: carry the derivatives in `total` back to the targets, along the paths that lead there."""
    started = set(total)
    order = toposort(total, stop=constant)
    leading = set(targets) - constant  # variables through which a derivative may reach a target
    for node in order:
        if not leading.isdisjoint(node.inputs):
            leading.add(node.output)
    for node in reversed(order):  # users of a value come before its maker
        if node.output not in total or node.output not in leading:
            continue
        with attributed_to(node.output.origin):
            shares = node.op.gradient(*node.inputs, node.output, total[node.output])
            for x, share in zip(node.inputs, shares, strict=True):
                if share is not None and x in leading and x not in started:
                    total[x] = total[x] + share if x in total else share


def _variables(given: Variable | Iterable[Variable], argument: str) -> list[Variable]:
    variables = [given] if isinstance(given, Variable) or not isinstance(given, Iterable) else list(given)
    for x in variables:
        if not isinstance(x, Variable):
            raise TypeError(f"{argument} takes symbolic variables, but was given {type(x).__name__}")
    return variables


def _known(gradients: Mapping[Variable, Variable]) -> dict[Variable, Variable]:
    """The gradients to start from, as variables of the dtype and rank of what they are the gradients of."""
    known: dict[Variable, Variable] = {}
    for x in _variables(gradients, "known_grads"):
        _check_float(x)
        g = as_variable(gradients[x], x.dtype)
        if g.ndim != x.ndim:
            raise ShapeError(f"the known gradient of {x} has rank {g.ndim}, but {x} has rank {x.ndim}")
        if g.dtype != x.dtype:
            raise DtypeError(f"the known gradient of {x} is {g.dtype}, but {x} is {x.dtype}: cast one of them")
        known[x] = g
    return known


def _check(cost: Variable | None, targets: Sequence[Variable], known: Mapping[Variable, Variable]) -> None:
    if cost is None and not known:
        raise GradientError("grad needs a cost, or known_grads to start from")
    if cost is not None and not isinstance(cost, Variable):
        raise TypeError(f"the cost must be a symbolic variable, not {type(cost).__name__}")
    if cost is not None and cost.ndim != 0:
        raise GradientError(
            f"the cost must be a scalar, but {cost} has shape {format_shape(cost.type.shape)}: "
            "take its .sum() or .mean(), or the gradient of one element"
        )
    if cost is not None and not cost.type.is_float:
        raise GradientError(f"the cost must be a float, but {cost} is {cost.dtype}, and integers have no gradient")
    for x in targets:
        _check_float(x)


def _check_float(x: Variable) -> None:
    if not x.type.is_float:
        kind = "truth values" if x.dtype == "bool" else "integers"
        text = f"{x} is {x.dtype}: {kind} cannot change by a small amount, so there is no gradient"
        made = f"; it was made at {x.origin}: write its numbers as 3., or as array.astype('float64')"
        raise GradientError(text + made if isinstance(x, SharedVariable) else text)


def _disconnected(cost: Variable | None, x: Variable, policy: str, constant: bool) -> Variable:
    if constant and policy == "raise":
        raise GradientError(
            f"{x} (made at {x.origin}) is in wrt and in consider_constant, through which no gradient flows: "
            "leave it out of one of them, or pass disconnected_inputs='ignore' to get zeros"
        )
    source = str(cost) if cost is not None else "no variable in known_grads"
    text = f"{source} {'depends' if cost is None else 'does not depend'} on {x} (made at {x.origin})"
    if policy == "raise":
        raise GradientError(
            f"{text}, or only through integers or comparisons: check that it is the variable you used, "
            "or pass disconnected_inputs='ignore' to get zeros"
        )
    if policy == "warn":
        warn(f"{text}: its gradient is zeros")
    return x.zeros_like()
