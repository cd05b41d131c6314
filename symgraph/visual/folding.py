"""Folds: a graph too large to look at as nested groups, such that no two ever depend on each other in a circle."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

MOST = 40  # items that one level of the tree may have
PARTS = 24  # at most, into which more are cut

Tree = list[Any]  # of node numbers and of trees


def fold(nodes: Sequence[int], operands: Mapping[int, Sequence[int]], groups: Mapping[int, Hashable]) -> Tree:
    """The nodes as a tree of groups, which can be drawn folded or unfolded at any place without making a cycle.

    nodes: in an order in which operands come before users
    operands: of each node; those that are no nodes here are passed over
    groups: what nodes have in common, such as a line; nodes without an entry stay single

    Every node gets a level: that of its operands where they are of its group, else one more; then as low as its users
    allow by the same rule. What shares group and level is one fold, and edges never lead to a lower level, so folds
    form no cycle. Neither do runs of an order in which operands come first, into which long lists are cut.
    """
    key = {x: groups.get(x, ("single", x)) for x in nodes}
    level: dict[int, int] = {}
    users: dict[int, list[int]] = {x: [] for x in nodes}
    for x in nodes:
        inside = [o for o in operands.get(x, ()) if o in key]
        level[x] = max((level[o] + (key[o] != key[x]) for o in inside), default=0)
        for o in inside:
            users[o].append(x)
    for x in reversed(nodes):
        if users[x]:
            level[x] = min(level[u] - (key[u] != key[x]) for u in users[x])
    blocks: dict[tuple[int, Hashable], list[int]] = {}
    for x in nodes:
        blocks.setdefault((level[x], key[x]), []).append(x)
    ordered = [members for (_, _), members in sorted(blocks.items(), key=lambda block: block[0][0])]
    return _parts([m[0] if len(m) == 1 else _parts(m) for m in ordered])


def _parts(items: Tree) -> Tree:
    """A list, cut into runs where it is too long for one level; no deeper than the logarithm of its length."""
    if len(items) <= MOST:
        return items
    size = -(-len(items) // min(PARTS, -(-len(items) // MOST)))
    runs = [items[k : k + size] for k in range(0, len(items), size)]
    return [_parts(run) if len(run) > 1 else run[0] for run in runs]
