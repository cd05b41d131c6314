"""What a function watches while it runs: values to print, and conditions that explain a call which fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from symgraph.errors import AssertionFailure
from symgraph.graph.node import Apply, Constant, Variable
from symgraph.graph.printing import excerpt
from symgraph.graph.traverse import toposort
from symgraph.ops.debugging import Assert, Print, summary

MOST_VALUES = 6  # told of one condition
DEEPEST = 4  # how far from a condition they may be

Trace = Mapping[Variable, np.ndarray]


@dataclass(frozen=True)
class Watch:
    """The prints and asserts of a graph, in the order in which it is computed."""

    prints: tuple[Apply, ...]
    asserts: tuple[Apply, ...]

    @classmethod
    def of(cls, roots: Sequence[Variable]) -> Watch:
        """Those that `roots` depend on."""
        order = toposort(roots)
        prints = tuple(node for node in order if isinstance(node.op, Print))
        return cls(prints, tuple(node for node in order if isinstance(node.op, Assert)))

    @property
    def printed(self) -> tuple[Variable, ...]:
        """The values to print."""
        return tuple(node.output for node in self.prints)

    def show(self, trace: Trace) -> None:
        """Print the values that have been computed."""
        for node in self.prints:
            if node.output in trace and isinstance(node.op, Print):
                node.op.show(node.inputs[0], trace[node.output])

    def explained(self, error: AssertionFailure, trace: Trace) -> AssertionFailure:
        """The error of a failed assert, with the values that the failed conditions were made of."""
        for node in self.asserts:
            x, *conditions = node.inputs
            failed = [c for c in conditions if c in trace and not trace[c]]
            if failed and node.output not in trace:
                values = {v: trace[v] for c in failed for v in _parts(c) if v in trace}
                values.update({x: trace[x]} if x in trace else {})
                lines = [f"  where {v} is {summary(value)}" for v, value in values.items()]
                return AssertionFailure("\n".join([str(error), *lines]))
        return error

    def refused(self, caller: str) -> AssertionFailure:
        """The error where compiled code finds an assert to fail that the reference lets pass."""
        lines = [f"  {', '.join(excerpt(c) for c in node.inputs[1:])}    {node.output.origin}" for node in self.asserts]
        text = f"{caller}: an assertion fails in compiled code and just holds in the reference, which rounds otherwise"
        return AssertionFailure("\n".join([f"{text}; it is one of", *lines]))


def _parts(condition: Variable) -> list[Variable]:
    """What a condition is made of: the nearest values that are no truth values themselves, and what is named."""
    found: dict[Variable, None] = {}
    level = [condition]
    for _ in range(DEEPEST):
        operands = [y for x in level if x.owner is not None for y in x.owner.inputs if not isinstance(y, Constant)]
        values = [y for y in operands if y.dtype != "bool"]
        found.update(dict.fromkeys(y for y in values if not found or y.name or y.owner is None))
        level = list(dict.fromkeys(operands))[:MOST_VALUES]
    return list(found)[:MOST_VALUES]
