"""Rules: an identity between two expressions over wildcards, or a function of a node where no pattern can say it.

A pattern is an ordinary expression. Its wildcards stand for values of any rank; a number in it matches a constant all
of whose elements are that number, in any dtype; operands of a commutative function match in both orders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

import symgraph.ops.operators  # noqa: F401 - patterns and their right sides are written with Python's operators
from symgraph.graph.node import Apply, Constant, Op, Variable, as_variable
from symgraph.graph.provenance import Origin
from symgraph.graph.traverse import toposort
from symgraph.graph.types import TensorType
from symgraph.ops.elementwise import Elementwise
from symgraph.ops.scalar import ScalarFunction

Root = ScalarFunction | type[Op]  # what a rule is looked up by
Bindings = dict[Variable, Variable]  # wildcard -> what it stands for
UNIFORM_SIZE = 1000  # a constant with more elements is not searched for being all alike


class Graph(Protocol):
    """What a rule may ask about the graph around a node.

    used_once(x): whether one operand or output in all of the graph is `x`
    has(op, *inputs): whether the graph, as the pass found it, has the value of an op
    notes: what rules found out about variables in this pass and may want again, by a key of their own
    """

    @property
    def notes(self) -> dict[object, Any]: ...
    def used_once(self, x: Variable) -> bool: ...
    def has(self, op: Op, *inputs: Variable) -> bool: ...


class AnyRule(Protocol):
    """What the engine asks of a rule."""

    @property
    def name(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def on(self) -> tuple[Root, ...]: ...
    def __call__(self, node: Apply, graph: Graph) -> Variable | None: ...


class Wildcard(Variable):
    """A place in a pattern that any value of the right kind can take."""

    __slots__ = ("accepts",)

    def __init__(self, name: str, accepts: Callable[[Variable], bool]):
        super().__init__(TensorType("float64"), name, origin=Origin("", 0))
        self.accepts = accepts


def wildcard(name: str, *, floats: bool = True) -> Wildcard:
    """A wildcard for any value; only for values of a float dtype unless `floats=False`."""
    return Wildcard(name, (lambda x: x.type.is_float) if floats else (lambda x: True))


a, b, c = wildcard("a"), wildcard("b"), wildcard("c")
constant = Wildcard("constant", lambda x: isinstance(x, Constant))


@dataclass(frozen=True, eq=False)
class Rule:
    """`before` may be replaced by `after`, because `why`; only if `when`, if given, accepts what the wildcards match.

    The rule does not fire where `after` would lose a rank or a known length that `before` has.
    """

    before: Variable
    after: Variable
    why: str
    name: str = ""
    when: Callable[[Bindings], bool] | None = None
    on: tuple[Root, ...] = field(init=False)
    _needs: tuple[Root | type[Constant], ...] = field(init=False)  # what some operand must be, for a quick answer

    def __post_init__(self) -> None:
        assert self.before.owner is not None, "a pattern has an operation at its root"
        object.__setattr__(self, "name", self.name or f"{self.before} -> {self.after}")
        object.__setattr__(self, "on", (root(self.before.owner.op),))
        parts = [x for x in self.before.owner.inputs if not isinstance(x, Wildcard)]
        object.__setattr__(self, "_needs", tuple({Constant if x.owner is None else root(x.owner.op) for x in parts}))

    def __call__(self, node: Apply, graph: Graph) -> Variable | None:
        """What replaces the output of a node; None where the rule does not apply."""
        if not all(any(_is_from(x, need) for x in node.inputs) for need in self._needs):
            return None
        for bound in match(self.before, node.output):
            if self.when is None or self.when(bound):
                result = instantiate(self.after, bound)
                return result if keeps_type(node.output, result) else None
        return None


def _is_from(x: Variable, need: Root | type[Constant]) -> bool:
    """Whether a variable is made by what a pattern needs, or is the constant that it needs."""
    return isinstance(x, Constant) if need is Constant else x.owner is not None and root(x.owner.op) is need


@dataclass(frozen=True, eq=False)
class FunctionRule:
    """A rule as a function of a node with an op of `on`."""

    name: str
    why: str
    on: tuple[Root, ...]
    function: Callable[[Apply, Graph], Variable | None]

    def __call__(self, node: Apply, graph: Graph) -> Variable | None:
        """What replaces the output of a node; None where the rule does not apply."""
        return self.function(node, graph)


Decorator = Callable[[Callable[[Apply, Graph], Variable | None]], FunctionRule]


def rule(on: Root | tuple[Root, ...], why: str, name: str = "") -> Decorator:
    """Make a rule of a function that takes a node and the graph around it and returns a variable, or None.

    on: the op classes (`Op` for all of them) or scalar functions at whose nodes it is tried
    """

    def decorate(function: Callable[[Apply, Graph], Variable | None]) -> FunctionRule:
        roots = on if isinstance(on, tuple) else (on,)
        return FunctionRule(name or function.__name__.strip("_").replace("_", " "), why, roots, function)

    return decorate


def instantiate(pattern: Variable, bound: Bindings) -> Variable:
    """An expression over wildcards with values in their place; its numbers take the dtype of their partners."""
    known: dict[Variable, Any] = dict(bound)
    for node in toposort([pattern]):
        operands = [_number(x) if isinstance(x, Constant) else known[x] for x in node.inputs]
        known[node.output] = node.op.function(*operands) if isinstance(node.op, Elementwise) else node.op(*operands)
    return as_variable(known[pattern])


def root(op: Op) -> Root:
    """What the rules for an op are looked up by."""
    return op.function if isinstance(op, Elementwise) else type(op)


def match(pattern: Variable, x: Variable, bound: Bindings | None = None) -> Iterator[Bindings]:
    """The ways in which `x` is an instance of `pattern`; as deep as the pattern is, not as the graph."""
    bound = bound if bound is not None else {}
    if isinstance(pattern, Wildcard):
        if pattern in bound:
            if bound[pattern] is x:
                yield bound
        elif pattern.accepts(x):
            yield {**bound, pattern: x}
    elif isinstance(pattern, Constant):
        if uniform(x) == pattern.value:
            yield bound
    elif x.owner is not None and pattern.owner is not None and x.owner.op == pattern.owner.op:
        yield from _match_operands(pattern.owner.inputs, x.owner.inputs, bound)
        if commutes(x.owner.op):
            yield from _match_operands(pattern.owner.inputs, x.owner.inputs[::-1], bound)


def _match_operands(
    patterns: tuple[Variable, ...], operands: tuple[Variable, ...], bound: Bindings
) -> Iterator[Bindings]:
    if not patterns:
        yield bound
        return
    for extended in match(patterns[0], operands[0], bound):
        yield from _match_operands(patterns[1:], operands[1:], extended)


def commutes(op: Op) -> bool:
    """Whether the two operands of an op may be exchanged."""
    return isinstance(op, Elementwise) and op.function.commutative


def uniform(x: Variable) -> bool | int | float | None:
    """The number that all elements of a constant are; None for anything else."""
    if not isinstance(x, Constant) or not 0 < x.data.size <= UNIFORM_SIZE:
        return None
    first = x.data.flat[0]
    return first.item() if x.data.size == 1 or np.all(x.data == first) else None


def keeps_type(before: Variable, after: Variable) -> bool:
    """Whether `after` has the dtype, the rank and at least the known lengths of `before`.

    A length that was not known must not become 1: it would be if an operand was dropped that stretches the others.
    """
    return (
        after.dtype == before.dtype
        and after.ndim == before.ndim
        and all(n == m or (n is None and m != 1) for n, m in zip(before.type.shape, after.type.shape))
    )


def _number(x: Constant) -> int | float:
    """A constant of a pattern as the Python number that takes its partner's dtype."""
    value = float(x.value)
    return int(value) if value.is_integer() else value
