"""The passes from the user's graph to the one that is lowered, in order, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from time import perf_counter

from symgraph.graph.node import Apply, Op, Variable
from symgraph.rewrite.canonicalize import CANONICALIZE, fold_constants
from symgraph.rewrite.engine import Book, Step, apply_book
from symgraph.rewrite.layouts import compose_dimshuffles, with_lengths
from symgraph.rewrite.moments import squared_deviations, sum_beside_squared_deviations
from symgraph.rewrite.pattern import Graph, Rule, rule
from symgraph.rewrite.specialize import FINISH, ROWS, SPECIALIZE, reciprocal_root
from symgraph.rewrite.stabilize import STABILIZE


@dataclass(frozen=True)
class Rewritten:
    """What rewriting made of some outputs.

    outputs: in the order given; each has the dtype and rank of the one it stands for, and at least its known lengths
    trace: the rules that fired, in order
    times: seconds that each pass took
    became: what each variable was merged into or replaced by; where that has an entry of its own, it went on
    """

    outputs: tuple[Variable, ...]
    trace: tuple[Step, ...]
    times: dict[str, float]
    became: Mapping[Variable, Variable]


def rewrite(
    outputs: Sequence[Variable], *, optimize: bool = True, names: Mapping[Variable, str] | None = None
) -> Rewritten:
    """The same values by ops that become C: equal values merged, numerically stable, and with `optimize` cheaper.

    The caller's variables are not changed; `names` are for those that have none. Lengths that ops declare equal are
    taken to be equal, so the entry checks of the graph given must be made, not only those of the graph returned.

    Raises RewriteError, naming the rule, where a rule is wrong.
    """
    trace: list[Step] = []
    times: dict[str, float] = {}
    became: dict[Variable, Variable] = {}
    current = list(outputs)
    for number, (name, book) in enumerate(passes() if optimize else PLAIN):
        started = perf_counter()
        first = number == 0
        current = apply_book(book, current, trace, copy=first, names=names if first else None, became=became)
        times[name] = perf_counter() - started
    return Rewritten(tuple(current), tuple(trace), times, became)


@rule(on=Op, why="it is made of other ops")
def expand(node: Apply, graph: Graph) -> Variable | None:
    made_of = getattr(node.op, "expand", None)
    return with_lengths(made_of(*node.inputs), node.output) if made_of is not None else None


PLAIN = (("expand", Book(expand)),)


@cache
def passes() -> tuple[tuple[str, Book], ...]:
    """The passes; made at the first compilation, for importing symgraph should be quick."""
    stabilize = [_canonical(r) if isinstance(r, Rule) else r for r in STABILIZE]
    return (
        # First, so that the other books need to know only one spelling of each expression.
        ("canonicalize", Book(*CANONICALIZE)),
        # Before expansion, for softmax, its gradient and variances are recognized as such. What it makes is again
        # canonical.
        ("stabilize", Book(*CANONICALIZE, *stabilize, *ROWS, squared_deviations, reciprocal_root)),
        # Now nothing looks for whole ops any more. What they are made of is canonical too, and merges with the rest.
        ("expand", Book(expand, *CANONICALIZE, *ROWS, *SPECIALIZE, sum_beside_squared_deviations)),
        # Last, because it undoes parts of the canonical form, and counts uses that no other rule changes any more.
        ("finish", Book(*FINISH, fold_constants, compose_dimshuffles)),
    )


def _canonical(pattern: Rule) -> Rule:
    """A rule whose left side is spelled as the graph will be when it is tried."""
    (before,) = apply_book(Book(*CANONICALIZE), [pattern.before])
    return Rule(before, pattern.after, pattern.why, pattern.name, pattern.when)
