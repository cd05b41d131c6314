"""The order of items along the layers of a drawing, with few crossings of edges.

Source: the barycenter method of Sugiyama, Tagawa and Toda (1981), followed in small drawings by exchanges of
neighbours (Gansner, Koutsofios, North and Vo, A technique for drawing directed graphs, 1993, section 3); crossings
are counted as by Barth, Mutzel and Jünger (2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Layers = list[list[int]]
Neighbours = Sequence[Sequence[int]]

SWEEPS = 24  # at most
PATIENCE = 4  # sweeps without improvement
LARGE = 4000  # items from which on a few sweeps must do
SMALL = 600  # items up to which neighbours are exchanged one by one


def order_layers(layers: Layers, above: Neighbours, below: Neighbours) -> Layers:
    """The layers with their items reordered.

    layers: the items of each layer; above, below: for each item its neighbours in the next layers, from left to right
        where that is free
    """
    current = _by_descent(layers, above, below)
    best, fewest, waited = current, _crossings(current, above), 0
    size = sum(map(len, layers))
    for number in range(SWEEPS if size <= LARGE else SWEEPS // 4):
        if fewest == 0 or waited == PATIENCE:
            break
        current = _swept(current, below if number % 2 else above, upwards=bool(number % 2))
        if size <= SMALL:
            _exchange(current, above, below)
        crossings = _crossings(current, above)
        waited += 1
        if crossings < fewest:
            best, fewest, waited = [list(layer) for layer in current], crossings, 0
    return best


def _by_descent(layers: Layers, above: Neighbours, below: Neighbours) -> Layers:
    """Each layer in the order in which a walk from the last items upwards comes by: trees get no crossings at all."""
    rank = {item: k for k, layer in enumerate(layers) for item in layer}
    found: Layers = [[] for _ in layers]
    met: set[int] = set()
    for start in (item for layer in reversed(layers) for item in layer if not below[item]):
        stack = [start]
        while stack:
            item = stack.pop()
            if item not in met:
                met.add(item)
                found[rank[item]].append(item)
                stack.extend(reversed(above[item]))
    return found


def _positions(layers: Layers) -> dict[int, int]:
    return {item: k for layer in layers for k, item in enumerate(layer)}


def _swept(layers: Layers, towards: Neighbours, *, upwards: bool) -> Layers:
    """Each layer sorted by the mean position of its items' neighbours in the layer just sorted."""
    place: dict[int, float] = dict(_positions(layers))
    result = [list(layer) for layer in layers]
    for layer in reversed(result) if upwards else result:
        mean = {x: sum(place[y] for y in towards[x]) / len(towards[x]) if towards[x] else place[x] for x in layer}
        layer.sort(key=mean.__getitem__)
        for k, item in enumerate(layer):
            place[item] = k
    return result


def _crossings(layers: Layers, above: Neighbours) -> int:
    """Pairs of edges between consecutive layers that cross."""
    place = _positions(layers)
    total = 0
    for upper, lower in pairwise(layers):
        tree = [0] * (len(upper) + 1)  # a binary indexed tree over the ends seen so far
        seen = 0
        for item in lower:
            ends = sorted(place[y] for y in above[item])
            for end in ends:
                total += seen
                k = end + 1
                while k:
                    total -= tree[k]
                    k &= k - 1
            for end in ends:
                seen += 1
                k = end + 1
                while k < len(tree):
                    tree[k] += 1
                    k += k & -k
    return total


def _exchange(layers: Layers, above: Neighbours, below: Neighbours) -> None:
    """Exchange neighbours while that removes crossings."""
    place = _positions(layers)
    better = True
    while better:
        better = False
        for layer in layers:
            for k in range(len(layer) - 1):
                x, y = layer[k], layer[k + 1]
                kept = _pair(x, y, above, place) + _pair(x, y, below, place)
                if kept and kept > _pair(y, x, above, place) + _pair(y, x, below, place):
                    layer[k], layer[k + 1] = y, x
                    place[x], place[y] = k + 1, k
                    better = True


def _pair(left: int, right: int, towards: Neighbours, place: dict[int, int]) -> int:
    """Crossings between the edges of two neighbours."""
    return sum(place[a] > place[b] for a in towards[left] for b in towards[right])
