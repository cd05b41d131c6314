"""What the tests of lowering share: from expressions to a loop program that has been verified."""

import pytest

from codegen.verify import verify
from symgraph.graph.node import SharedVariable
from symgraph.graph.traverse import leaves
from symgraph.lower.program import lower
from symgraph.rewrite.pipeline import rewrite


@pytest.fixture
def lowered():
    """`lowered(inputs, outputs, updates)`: what `lower` makes of expressions after they were rewritten."""
    def lowered(inputs, outputs, updates=(), **options):
        roots = [*outputs, *(new for _, new in updates)]
        rewritten = list(rewrite(roots).outputs)
        shared = dict.fromkeys([*leaves(rewritten), *(s for s, _ in updates)])
        new = [(s, x) for (s, _), x in zip(updates, rewritten[len(outputs):])]
        result = lower(
            inputs, rewritten[:len(outputs)], new, [s for s in shared if isinstance(s, SharedVariable)],
            written=roots, name="f", **options,
        )  # fmt: skip
        verify(result.program)
        return result
    return lowered
