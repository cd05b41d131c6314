"""Layered drawings of directed graphs: boxes in rows, edges running down. It knows ids, edges and sizes, nothing else.

Source: Sugiyama, Tagawa and Toda, Methods for visual understanding of hierarchical system structures (1981), in four
steps: edges on cycles are turned round; nodes get layers by longest paths; layers are ordered by barycenters; places
along a layer minimize the squared lengths of edges (isotonic regression, Barlow et al. 1972). Every step takes time
proportional to the graph, but for the sorting of layers. Long edges run through *waypoints*, one for each layer
passed, which all edges of one source share; where there would be too many of them, the longest edges are left loose.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from symgraph.visual.ordering import order_layers

Node = TypeVar("Node", bound=Hashable)
Point = tuple[float, float]
Route = list[Point]
Positions = dict[Node, Point]

BESIDE = 28.0  # between boxes of one layer
PASSING = 14.0  # between an edge that passes a layer and its neighbours
BELOW = 34.0  # between layers
SLANT = 0.12  # of a layer's longest sideways way is added to the gap above it
STEEPEST = 3.0  # times BELOW that a gap may become
PORTS = 16.0  # between the ends of two edges at the top of a box
INSET = 12.0  # at both corners together, where no edge ends
NEARLY = 18.0  # sideways, by which the end of an edge moves to make it straight
ROUNDS = (8, 120)  # of assigning places, at least and at most, and
MOVES = 60_000  # of items in between
STRAIGHTENINGS = 3  # rounds
WAYPOINTS = 3000  # that any graph may have, and PER_EDGE more for each edge
PER_EDGE = 4


def layered(
    nodes: Sequence[Node], edges: Sequence[tuple[Node, Node]], sizes: Mapping[Node, tuple[float, float]]
) -> tuple[Positions[Node], list[Route]]:
    """Places for boxes and ways for edges, so that edges run down and boxes do not overlap.

    nodes: ids, each once; where nothing else decides, those that come first are to the left
    edges: (source, target) pairs; they may be doubled, form cycles or leave parts unconnected
    sizes: (width, height) of each node's box

    Returns the top left corner of each box, and for each edge the points it runs through, from the bottom of its
    source to the top of its target (on a cycle, one edge runs up, from top to bottom). Two points one above the other
    are joined by a line, others by a curve that is vertical at both. An edge from a node to itself has no points.
    An edge for whose way there was no room in the middle of a large graph is loose: see `is_loose`.
    Raises KeyError for an edge or a size of an unknown node.
    """
    place = {x: k for k, x in enumerate(nodes)}
    links = [(place[a], place[b]) for a, b in edges]
    plan = _Plan([sizes[x] for x in nodes], _acyclic(len(nodes), links))
    plan.layers = order_layers(plan.layers, plan.above, plan.below)
    _assign_columns(plan)
    _assign_rows(plan)
    corners = {x: (max(plan.x[k] - plan.width[k] / 2, 0.0), plan.y[k]) for x, k in place.items()}
    return corners, _routes(plan, links)


def is_loose(route: Route) -> bool:
    """Whether a way leads straight from its start to its end, behind the boxes in between."""
    if len(route) != 2 or abs(route[0][0] - route[1][0]) < 0.5:
        return False
    return abs(route[0][1] - route[1][1]) > STEEPEST * BELOW + 1


@dataclass
class _Plan:
    """A drawing in the making. Items are the nodes, by number, and after them the waypoints."""

    sizes: list[tuple[float, float]]
    links: list[tuple[int, int]]  # of the edges as turned, each from an upper to a lower layer
    rank: list[int] = field(default_factory=list)
    layers: list[list[int]] = field(default_factory=list)
    above: list[list[int]] = field(default_factory=list)  # an item's neighbours in the layer above
    below: list[list[int]] = field(default_factory=list)
    chains: dict[int, list[int]] = field(default_factory=dict)  # a source's waypoints, downwards
    loose: set[int] = field(default_factory=set)  # edges without waypoints though they are long
    x: list[float] = field(default_factory=list)  # of centres
    y: list[float] = field(default_factory=list)  # of tops
    tops: list[float] = field(default_factory=list)  # of layers
    bottoms: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = len(self.sizes)
        self.width = [w for w, _ in self.sizes]
        self.height = [h for _, h in self.sizes]
        self.rank = _ranks(count, self.links)
        self.above = [[] for _ in range(count)]
        self.below = [[] for _ in range(count)]
        self._place_waypoints()
        self.layers = [[] for _ in range(max(self.rank, default=-1) + 1)]
        for item, rank in enumerate(self.rank):
            self.layers[rank].append(item)

    def is_waypoint(self, item: int) -> bool:
        return item >= len(self.sizes)

    def _place_waypoints(self) -> None:
        budget = WAYPOINTS + PER_EDGE * len(self.links)
        spans = [self.rank[b] - self.rank[a] for a, b in self.links]
        for k in sorted(range(len(self.links)), key=spans.__getitem__):
            a, b = self.links[k]
            chain = self.chains.setdefault(a, [])
            if spans[k] == 0:
                continue
            missing = spans[k] - 1 - len(chain)
            if missing > budget:
                self.loose.add(k)
                continue
            for _ in range(missing):
                budget -= 1
                self._join(chain[-1] if chain else a, len(self.rank))
                self.rank.append(self.rank[a] + len(chain) + 1)
                self.width.append(0.0)
                self.height.append(0.0)
                chain.append(len(self.rank) - 1)
        for k, (a, b) in enumerate(self.links):  # in the order given, by which operands stand from left to right
            if spans[k] and k not in self.loose:
                self._join(self.last_before(a, b), b)

    def _join(self, upper: int, lower: int) -> None:
        while len(self.above) <= lower:
            self.above.append([])
            self.below.append([])
        self.below[upper].append(lower)
        self.above[lower].append(upper)

    def last_before(self, a: int, b: int) -> int:
        """The item from which the edge from `a` comes to `b`."""
        span = self.rank[b] - self.rank[a]
        return self.chains[a][span - 2] if span > 1 else a


def _acyclic(count: int, links: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The edges, those turned round that would close a cycle; an edge from a node to itself stays."""
    out: list[list[int]] = [[] for _ in range(count)]
    for k, (a, b) in enumerate(links):
        if a != b:
            out[a].append(k)
    turned = list(links)
    state = [0] * count  # 1 on the way down from the start, 2 done
    incoming = {b for a, b in links if a != b}
    for start in [*(x for x in range(count) if x not in incoming), *range(count)]:
        if state[start]:
            continue
        state[start] = 1
        stack = [(start, iter(out[start]))]
        while stack:
            node, rest = stack[-1]
            for k in rest:
                target = links[k][1]
                if state[target] == 1:
                    turned[k] = (target, node)
                elif state[target] == 0:
                    state[target] = 1
                    stack.append((target, iter(out[target])))
                    break
            else:
                state[node] = 2
                stack.pop()
    return turned


def _ranks(count: int, links: Sequence[tuple[int, int]]) -> list[int]:
    """A layer for each node, below its sources: as high as can be, or close to its targets if it has more of them."""
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for a, b in links:
        if a != b:
            below[a].append(b)
            above[b].append(a)
    waiting = [len(sources) for sources in above]
    order = [x for x in range(count) if not waiting[x]]
    rank = [0] * count
    for x in order:  # grows while we walk
        for y in below[x]:
            rank[y] = max(rank[y], rank[x] + 1)
            waiting[y] -= 1
            if not waiting[y]:
                order.append(y)
    for x in reversed(order):
        if below[x] and len(below[x]) > len(above[x]):
            rank[x] = min(rank[y] for y in below[x]) - 1
    for x in order:
        if len(above[x]) >= len(below[x]) and above[x]:
            rank[x] = max(rank[y] for y in above[x]) + 1
    first = min(rank, default=0)
    return [r - first for r in rank]


# -- places


def _assign_columns(plan: _Plan) -> None:
    """Centres along each layer that keep edges short and straight, at the distances that boxes need."""
    plan.x = [0.0] * len(plan.rank)
    offsets = [_offsets(plan, layer) for layer in plan.layers]
    for layer, offset in zip(plan.layers, offsets, strict=True):
        for item, at in zip(layer, offset, strict=True):
            plan.x[item] = at - offset[-1] / 2
    pulls_up = [[(y, _pull(plan, y, x)) for y in plan.above[x]] for x in range(len(plan.rank))]
    pulls_down = [[(y, _pull(plan, x, y)) for y in plan.below[x]] for x in range(len(plan.rank))]
    pulls_both = [up + down for up, down in zip(pulls_up, pulls_down, strict=True)]
    rounds = max(ROUNDS[0], min(ROUNDS[1], MOVES // max(len(plan.rank), 1)))
    for number in range(rounds):
        pulls = pulls_both if number >= rounds // 3 else (pulls_down if number % 2 else pulls_up)
        downwards = range(len(plan.layers))
        for k in reversed(downwards) if number % 2 else downwards:
            _settle(plan.x, plan.layers[k], offsets[k], pulls)
    for _ in range(STRAIGHTENINGS):
        straight = _straighten(plan, offsets)
        for k in range(len(plan.layers)):
            _relax(plan, k, offsets[k], pulls_both, straight)
    left = min((plan.x[k] - plan.width[k] / 2 for k in range(len(plan.x))), default=0.0)
    plan.x = [x - left for x in plan.x]


def _offsets(plan: _Plan, layer: Sequence[int]) -> list[float]:
    """The centres of a layer's items, if they stand as close as they may, from that of the first."""
    offsets = [0.0] * len(layer)
    for k in range(1, len(layer)):
        a, b = layer[k - 1], layer[k]
        gap = PASSING if plan.is_waypoint(a) or plan.is_waypoint(b) else BESIDE
        offsets[k] = offsets[k - 1] + (plan.width[a] + plan.width[b]) / 2 + gap
    return offsets


def _pull(plan: _Plan, upper: int, lower: int) -> float:
    """How much an edge wants to be straight: long edges most, those of operands used once nowhere else least."""
    waypoints = plan.is_waypoint(upper) + plan.is_waypoint(lower)
    if waypoints:
        return 2.0 if waypoints == 1 else 8.0
    return 0.02 if not plan.above[upper] and len(plan.below[upper]) == 1 and len(plan.above[lower]) > 1 else 1.0


def _settle(
    x: list[float], layer: Sequence[int], offsets: Sequence[float], pulls: Sequence[Sequence[tuple[int, float]]]
) -> None:
    """Move a layer's items to the least squares of their distances to their neighbours, in order and apart."""
    blocks: list[list[float]] = []  # [place, weight, number of items], of items that touch
    for item, offset in zip(layer, offsets, strict=True):
        weight = place = 0.0
        for neighbour, pull in pulls[item]:
            weight += pull
            place += pull * x[neighbour]
        if weight:
            blocks.append([place / weight - offset, weight, 1])
        else:
            blocks.append([x[item] - offset, 1e-3, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            place, weight, count = blocks.pop()
            before = blocks[-1]
            total = before[1] + weight
            before[0] = (before[0] * before[1] + place * weight) / total
            before[1] = total
            before[2] += count
    k = 0
    for place, _, count in blocks:
        for _ in range(int(count)):
            x[layer[k]] = place + offsets[k]
            k += 1


def _room(plan: _Plan, layer: Sequence[int], k: int, offsets: Sequence[float]) -> tuple[float, float]:
    """Between which places the k-th item of a layer may stand, its neighbours staying where they are."""
    left = plan.x[layer[k - 1]] + offsets[k] - offsets[k - 1] if k else float("-inf")
    right = plan.x[layer[k + 1]] - offsets[k + 1] + offsets[k] if k + 1 < len(layer) else float("inf")
    return left, right


def _straighten(plan: _Plan, offsets: Sequence[Sequence[float]]) -> set[int]:
    """Put the waypoints of each edge, and chains of nodes, one below the other, as far as their neighbours let them.

    Returns the items that now stand just above or below their like.
    """
    place = {item: (rank, k) for rank, layer in enumerate(plan.layers) for k, item in enumerate(layer)}
    straight: set[int] = set()
    for chain in [*plan.chains.values(), *_chains(plan)]:
        run: list[int] = []
        low, high = float("-inf"), float("inf")
        for item in [*chain, -1]:
            rank, k = place.get(item, (0, 0))
            left, right = _room(plan, plan.layers[rank], k, offsets[rank]) if item >= 0 else (high + 1, low - 1)
            if item < 0 or max(low, left) > min(high, right):
                x = min(max(sum(plan.x[i] for i in run) / max(len(run), 1), low), high)
                for i in run:
                    plan.x[i] = x
                if len(run) > 1:
                    straight.update(run)
                run, low, high = [], float("-inf"), float("inf")
            run.append(item)
            low, high = max(low, left), min(high, right)
    return straight


def _relax(
    plan: _Plan, rank: int, offsets: Sequence[float], pulls: Sequence[Sequence[tuple[int, float]]], fixed: set[int]
) -> None:
    """Move each item of a layer that is not fixed towards its neighbours above and below, as far as there is room."""
    layer = plan.layers[rank]
    for k in (*range(len(layer)), *reversed(range(len(layer)))):
        item = layer[k]
        weight = sum(pull for _, pull in pulls[item])
        if item not in fixed and weight:
            left, right = _room(plan, layer, k, offsets)
            wanted = sum(pull * plan.x[neighbour] for neighbour, pull in pulls[item]) / weight
            plan.x[item] = max(min(wanted, right), left)


def _chains(plan: _Plan) -> list[list[int]]:
    """Maximal sequences of nodes of which each is the only one that its predecessor leads to, and that leads to it.

    Operands used nowhere else do not count: they stand beside the chain.
    """
    following: dict[int, int] = {}
    for b in range(len(plan.sizes)):
        leading = [a for a in plan.above[b] if _pull(plan, a, b) == 1.0]
        if len(leading) == 1 and len(plan.below[leading[0]]) == 1:
            following[leading[0]] = b
    chains = []
    for start in following.keys() - following.values():
        chain = [start]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        chains.append(chain)
    return sorted(chains)


def _assign_rows(plan: _Plan) -> None:
    """Layers one below the other, boxes in the middle of theirs, more room where edges go far sideways."""
    plan.y = [0.0] * len(plan.rank)
    y = 0.0
    for number, layer in enumerate(plan.layers):
        if number:
            sideways = max((abs(plan.x[a] - plan.x[b]) for b in layer for a in plan.above[b]), default=0.0)
            y += min(BELOW + SLANT * sideways, STEEPEST * BELOW)
        height = max(plan.height[item] for item in layer)
        for item in layer:
            plan.y[item] = y + (height - plan.height[item]) / 2
        plan.tops.append(y)
        plan.bottoms.append(y + height)
        y += height


# -- ways


def _routes(plan: _Plan, links: Sequence[tuple[int, int]]) -> list[Route]:
    arriving: list[list[int]] = [[] for _ in plan.sizes]
    for k, (a, b) in enumerate(plan.links):
        if a != b:
            arriving[b].append(k)
    ports: dict[int, float] = {}
    for b, edges in enumerate(arriving):
        origins = {k: plan.x[plan.links[k][0] if k in plan.loose else plan.last_before(*plan.links[k])] for k in edges}
        edges.sort(key=origins.__getitem__)
        ports.update(zip(edges, _ports(plan.x[b], plan.width[b], [origins[k] for k in edges]), strict=True))
    routes = []
    for k, (a, b) in enumerate(plan.links):
        route = _route(plan, k, a, b, ports[k]) if a != b else []
        routes.append(route if (a, b) == links[k] else route[::-1])
    return routes


def _ports(centre: float, width: float, origins: Sequence[float]) -> list[float]:
    """Where edges from these places end at the top of a box: side by side, one straight below its origin if close."""
    count = len(origins)
    half = max(width - INSET, 0.0) / 2
    step = min(PORTS, 2 * half / max(count, 1))
    ports = [centre + (k - (count - 1) / 2) * step for k in range(count)]
    distance, k = min((abs(x - ports[k]), k) for k, x in enumerate(origins)) if origins else (NEARLY, 0)
    first, last = centre - half + k * step, centre + half - (count - 1 - k) * step  # with room for the others
    if distance < NEARLY and first <= origins[k] <= last:
        ports = [origins[k] + (number - k) * step for number in range(count)]
    return ports


def _route(plan: _Plan, number: int, a: int, b: int, port: float) -> Route:
    start, end = (plan.x[a], plan.y[a] + plan.height[a]), (port, plan.y[b])
    if number in plan.loose:
        return [start, end]
    route = [start, (plan.x[a], plan.bottoms[plan.rank[a]])]
    for rank in range(plan.rank[a] + 1, plan.rank[b]):
        x = plan.x[plan.chains[a][rank - plan.rank[a] - 1]]
        route += [(x, plan.tops[rank]), (x, plan.bottoms[rank])]
    route += [(port, plan.tops[plan.rank[b]]), end]
    met = list(dict.fromkeys(route))
    inner = [p for q, p, r in zip(met, met[1:], met[2:], strict=False) if not q[0] == p[0] == r[0]]
    return [met[0], *inner, met[-1]]
