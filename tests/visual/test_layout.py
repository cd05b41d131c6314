"""Layered layouts: boxes apart, edges downwards and clear of boxes, for graphs of every kind, in near linear time."""

import random
from itertools import pairwise

import pytest

from symgraph.visual.layout import is_loose, layered
from symgraph.visual.ordering import order_layers


def lay(nodes, edges, size=(60.0, 30.0)):
    sizes = dict.fromkeys(nodes, size)
    return layered(nodes, edges, sizes)


def random_graph(rng, count, reach=12, degree=2):
    edges = [(rng.randrange(max(0, b - reach), b), b) for b in range(1, count) for _ in range(rng.randint(0, degree))]
    return list(range(count)), edges, {x: (rng.uniform(10, 150), rng.uniform(10, 90)) for x in range(count)}


def assert_apart(corners, sizes):
    boxes = sorted((x, y, *sizes[n]) for n, (x, y) in corners.items())
    for k, (x, y, width, height) in enumerate(boxes):
        for x2, y2, _, height2 in boxes[k + 1:]:
            if x2 >= x + width - 0.02:
                break
            assert y2 >= y + height - 1e-6 or y >= y2 + height2 - 1e-6


@pytest.mark.parametrize("seed", range(6))
def test_boxes_do_not_overlap_and_lie_in_the_positive_quadrant(seed):
    nodes, edges, sizes = random_graph(random.Random(seed), 120)
    corners, _ = layered(nodes, edges, sizes)
    assert set(corners) == set(nodes)
    assert_apart(corners, sizes)
    assert min(min(point) for point in corners.values()) >= 0


@pytest.mark.parametrize("seed", range(6))
def test_edges_run_from_bottom_to_top_and_through_no_box(seed):
    nodes, edges, sizes = random_graph(random.Random(seed), 80)
    corners, routes = layered(nodes, edges, sizes)
    assert len(routes) == len(edges)
    for (a, b), route in zip(edges, routes):
        (x, y), (left, top) = route[0], corners[a]
        assert (x, y) == pytest.approx((left + sizes[a][0] / 2, top + sizes[a][1]))
        (x, y), (left, top) = route[-1], corners[b]
        assert y == pytest.approx(top)
        assert left <= x <= left + sizes[b][0]
        heights = [y for _, y in route]
        assert heights == sorted(heights)
        for (x1, y1), (x2, y2) in pairwise(route):
            for other in nodes:
                if other in (a, b):
                    continue
                left, top = corners[other]
                width, height = sizes[other]
                beside = max(x1, x2) <= left or min(x1, x2) >= left + width
                assert beside or y2 <= top + 1e-6 or y1 >= top + height - 1e-6


def test_sources_are_above_targets():
    nodes = list("abcdef")
    edges = [("a", "c"), ("b", "c"), ("c", "d"), ("a", "d"), ("e", "d"), ("d", "f")]
    corners, _ = lay(nodes, edges)
    for a, b in edges:
        assert corners[a][1] + 30 < corners[b][1]


def test_an_operand_stands_just_above_its_only_use():
    corners, _ = lay(list("xabcw"), [("x", "a"), ("a", "b"), ("b", "c"), ("w", "c")])
    assert corners["w"][1] == corners["b"][1]


def test_operands_keep_their_order_from_left_to_right():
    corners, _ = lay(list("abcs"), [("a", "s"), ("b", "s"), ("c", "s")])
    assert corners["a"][0] < corners["b"][0] < corners["c"][0]
    corners, _ = lay(list("abcs"), [("c", "s"), ("b", "s"), ("a", "s")])
    assert corners["c"][0] < corners["b"][0] < corners["a"][0]


def test_a_chain_is_straight():
    nodes = list(range(50))
    corners, routes = lay(nodes, list(pairwise(nodes)))
    assert len({round(x, 6) for x, _ in corners.values()}) == 1
    assert all(len(route) == 2 for route in routes)


def test_a_long_edge_passes_beside_the_chain():
    corners, routes = lay(list("abcd"), [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")])
    assert len(routes[3]) > 2
    middle = [x for x, y in routes[3] if corners["b"][1] <= y <= corners["c"][1] + 30]
    assert all(abs(x - (corners["b"][0] + 30)) > 30 for x in middle)


def test_trees_have_no_crossings():
    rng = random.Random(1)
    nodes = list(range(300))
    edges = [(b, rng.randrange(0, b)) for b in range(1, 300)]
    rng.shuffle(edges)
    corners, _ = lay(nodes, edges)
    by_layers = {}
    for a, b in edges:
        by_layers.setdefault((corners[a][1], corners[b][1]), []).append((corners[a][0], corners[b][0]))
    for (upper, lower), ways in by_layers.items():
        between = [y for _, y in corners.values() if upper < y < lower]
        if not between:
            ways.sort()
            assert [b for _, b in ways] == sorted(b for _, b in ways)


def test_ordering_removes_the_crossings_that_can_be_removed():
    above = [[], [], [], [2, 1], [0], [0, 1]]
    below = [[4, 5], [3, 5], [3], [], [], []]
    first, second = order_layers([[0, 1, 2], [3, 4, 5]], above, below)
    place = {x: k for layer in (first, second) for k, x in enumerate(layer)}
    edges = [(a, b) for b in (3, 4, 5) for a in above[b]]
    crossed = [(e, f) for e in edges for f in edges
               if place[e[0]] < place[f[0]] and place[e[1]] > place[f[1]]]
    assert crossed == []


def test_cycles_are_drawn_with_one_edge_upwards():
    corners, routes = lay(list("abc"), [("a", "b"), ("b", "c"), ("c", "a")])
    assert corners["a"][1] < corners["b"][1] < corners["c"][1]
    assert routes[2][0][1] == pytest.approx(corners["c"][1])
    assert routes[2][-1][1] == pytest.approx(corners["a"][1] + 30)


def test_doubled_edges_end_side_by_side_and_loops_have_no_points():
    _, routes = lay(["x", "s"], [("x", "s"), ("x", "s"), ("s", "s")])
    assert routes[0][-1][0] != routes[1][-1][0]
    assert routes[2] == []


@pytest.mark.parametrize("nodes, edges", [([], []), (["a"], []), (list("abc"), []), (["a"], [("a", "a")])])
def test_graphs_without_edges(nodes, edges):
    corners, _ = lay(nodes, edges)
    assert_apart(corners, dict.fromkeys(nodes, (60, 30)))


def test_an_unknown_node_is_an_error():
    with pytest.raises(KeyError):
        lay(["a"], [("a", "b")])
    with pytest.raises(KeyError):
        layered(["a", "b"], [], {"a": (1, 1)})


def test_the_layout_does_not_depend_on_the_run():
    graph = random_graph(random.Random(3), 150)
    assert layered(*graph) == layered(*graph)


def test_long_edges_everywhere_leave_some_loose_and_the_size_bounded():
    """A chain and its gradient: the k-th value is used at the k-th place from the end, half a million layers in all."""
    half = 1000
    nodes = list(range(2 * half + 1))
    edges = [*pairwise(nodes), *((k, 2 * half - k) for k in range(half - 1))]
    corners, routes = lay(nodes, edges)
    assert_apart(corners, dict.fromkeys(nodes, (60, 30)))
    assert sum(map(len, routes)) < 20 * len(edges)
    assert 100 < sum(map(is_loose, routes)) < half


def test_a_chain_deeper_than_the_recursion_limit():
    nodes = list(range(20_000))
    corners, _ = lay(nodes, list(pairwise(nodes)))
    assert corners[19_999][1] > corners[0][1]
