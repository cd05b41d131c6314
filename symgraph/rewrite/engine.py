"""Applies rules bottom-up, with memory, until none fires: linear in the graph, without recursion.

Values are numbered: equal ops of identical inputs are one variable, so common subexpressions merge. The nodes that a
rule makes are brought to normal form in the same way as those that were there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from symgraph.errors import GraphError
from symgraph.graph.node import Apply, Constant, Op, Variable
from symgraph.graph.provenance import attributed_to
from symgraph.graph.traverse import toposort
from symgraph.rewrite.pattern import AnyRule, Root, commutes, keeps_type, root

SMALL_CONSTANT = 1000  # bytes; constants up to here are merged by value, larger ones by identity
NESTING = 200  # firings inside one another that need not come from the size of the graph


class RewriteError(Exception):
    """A rule that is wrong: it changed a type, raised an error, or never comes to an end."""


@dataclass(frozen=True)
class Step:
    """One firing of a rule."""

    rule: str
    why: str
    before: Variable
    after: Variable


class Book:
    """Rules in the order in which they are tried, found by the op at the root."""

    def __init__(self, *rules: AnyRule):
        self.rules = rules
        self._by_root: dict[Root, list[AnyRule]] = {}

    def at(self, op: Op) -> Sequence[AnyRule]:
        """The rules to try at a node with this op."""
        key = root(op)
        found = self._by_root.get(key)
        if found is None:
            families = {key, type(op), Op}
            found = self._by_root[key] = [r for r in self.rules if not families.isdisjoint(r.on)]
        return found


def apply_book(
    book: Book,
    outputs: Sequence[Variable],
    trace: list[Step] | None = None,
    *,
    copy: bool = False,
    names: Mapping[Variable, str] | None = None,
    became: dict[Variable, Variable] | None = None,
) -> list[Variable]:
    """The normal forms of `outputs` under the rules of a book, in order; firings are added to `trace`.

    copy: make every node anew, so that names given to results do not appear on the caller's variables
    names: for variables that have none
    became: takes in, for each variable that did not stay as it was, the one it was merged into or replaced by

    Raises RewriteError, naming the rule, where one is wrong.
    """
    normal = _Normalizer(book, outputs, trace if trace is not None else [], copy, names or {})
    for x in outputs:
        normal.bring_to_normal_form(x)
    if became is not None:
        became.update((x, y) for x, y in normal.final.items() if x is not y and x.owner is None)
        became.update(normal.becoming)
    return [normal.final[x] for x in outputs]


class _Normalizer:
    """The memory of one pass."""

    def __init__(
        self, book: Book, outputs: Sequence[Variable], trace: list[Step], copy: bool, names: Mapping[Variable, str]
    ):
        order = toposort(outputs)
        self.book = book
        self.trace = trace
        self.copy = copy
        self.names = names
        self.final: dict[Variable, Variable] = {}  # variable -> its normal form
        self.becoming: dict[Variable, Variable] = {}  # variable -> what it was replaced by, on the way
        self.operands: dict[Op, list[tuple[Variable, ...]]] = {}  # of the nodes with each op, as they were given
        for node in order:
            self.operands.setdefault(node.op, []).append(node.inputs)
        self.numbers: dict[object, Variable] = {}  # (op, inputs) -> the one variable with that value
        self.notes: dict[object, Any] = {}
        self.nesting = 0
        self.deepest = NESTING + len(order)
        self.uses: dict[Variable, int] = {}
        for x in _uses(order, outputs):
            self.uses[x] = self.uses.get(x, 0) + 1

    def used_once(self, x: Variable) -> bool:
        """Whether one operand or output in all of the graph is `x`; true of what a rule just made."""
        return self.uses.get(x, 1) <= 1

    def has(self, op: Op, *inputs: Variable) -> bool:
        """Whether the graph, as given, has the value of an op for inputs with these normal forms."""
        return any(tuple(map(self.final.get, given)) == inputs for given in self.operands.get(op, ()))

    def bring_to_normal_form(self, wanted: Variable) -> None:
        """Put `wanted` and all that it needs into `final`."""
        final, stack = self.final, [wanted]
        while stack:
            x = stack[-1]
            if x in final:
                stack.pop()
            elif x in self.becoming:
                self._arrive(x)
            elif x.owner is None:
                final[x] = self._leaf(x)
            elif waiting := [y for y in x.owner.inputs if y not in final]:
                stack.extend(waiting)
            else:
                numbered = self._number(x, x.owner)
                replacement = numbered if numbered is not x else self._rewrite(x.owner)
                if replacement is None:
                    final[x] = x
                else:
                    self.becoming[x] = replacement
                    self.nesting += 1
                    stack.append(replacement)

    def _arrive(self, x: Variable) -> None:
        """The replacement of `x` has its normal form, which is that of `x` too."""
        y = self.final.get(self.becoming[x])
        if y is None:
            raise RewriteError(f"{self._last_rules()} turn a value into itself again, at {x.origin}")
        self.nesting -= 1
        self.final[x] = y
        if x in self.uses:
            self.uses[y] = self.uses.get(y, 0) + self.uses[x]
        if x.name is not None and y.name is None and y.owner is not None:
            y.name = x.name

    def _leaf(self, x: Variable) -> Variable:
        if isinstance(x, Constant) and x.data.nbytes <= SMALL_CONSTANT:
            return self.numbers.setdefault((x.dtype, x.data.shape, x.data.tobytes()), x)
        return x

    def _number(self, x: Variable, node: Apply) -> Variable:
        """The one variable with the op of a node and the normal forms of its inputs; constants stand second."""
        inputs = tuple([self.final[y] for y in node.inputs])
        key = (node.op, inputs)
        if commutes(node.op):
            inputs = inputs[::-1] if isinstance(inputs[0], Constant) else inputs
            key = (node.op, tuple(sorted(inputs, key=id)))
        known = self.numbers.get(key)
        if known is None:
            same = not self.copy and inputs == node.inputs
            known = x if same else Apply(node.op, inputs, x.origin, x.name or self.names.get(x)).output
            self.numbers[key] = known
        return known

    def _rewrite(self, node: Apply) -> Variable | None:
        """What the first rule that fires puts in place of a node whose inputs are in normal form."""
        rules = self.book.at(node.op)
        if not rules:
            return None
        before = node.output
        with attributed_to(before.origin):
            for rule in rules:
                try:
                    after = rule(node, self)
                except (GraphError, AssertionError, LookupError, TypeError, ValueError) as error:
                    message = f"the rule {rule.name!r} failed on {before}, at {before.origin}: {error}"
                    raise RewriteError(message) from error
                if after is None or after is before:
                    continue
                self._verify(rule, before, after)
                self.trace.append(Step(rule.name, rule.why, before, after))
                return after
        return None

    def _verify(self, rule: AnyRule, before: Variable, after: Variable) -> None:
        if not keeps_type(before, after):
            raise RewriteError(
                f"the rule {rule.name!r} turned {before}, {before.type}, into {after}, {after.type}, at {before.origin}"
            )
        if self.nesting > self.deepest:
            raise RewriteError(f"{self._last_rules()} do not come to an end, at {before.origin}")

    def _last_rules(self) -> str:
        names = dict.fromkeys(repr(step.rule) for step in reversed(self.trace[-8:]))
        return f"the rules {', '.join(names)}"


def _uses(order: Iterable[Apply], outputs: Iterable[Variable]) -> Iterable[Variable]:
    for node in order:
        yield from node.inputs
    yield from outputs
