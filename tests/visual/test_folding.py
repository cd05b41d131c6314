import random
from time import process_time

import pytest

from symgraph.visual.folding import MOST, fold


def leaves(tree):
    return [tree] if not isinstance(tree, list) else [x for item in tree for x in leaves(item)]


def lists(tree):
    return [tree, *(inner for item in tree if isinstance(item, list) for inner in lists(item))]


def quotient_has_cycle(parts, operands):
    """Whether the parts of a graph depend on each other in a circle."""
    part = {x: k for k, members in enumerate(parts) for x in members}
    below = [set() for _ in parts]
    for x, sources in operands.items():
        for o in sources:
            if o in part and part[o] != part[x]:
                below[part[o]].add(part[x])
    waiting = [0] * len(parts)
    for targets in below:
        for t in targets:
            waiting[t] += 1
    free = [k for k, n in enumerate(waiting) if not n]
    for k in free:
        for t in below[k]:
            waiting[t] -= 1
            if not waiting[t]:
                free.append(t)
    return len(free) < len(parts)


def random_graph(rng, count, groups):
    operands = {x: rng.sample(range(x), min(x, rng.randint(0, 3))) for x in range(count)}
    return operands, {x: rng.randrange(groups) for x in range(count) if rng.random() < 0.8}


@pytest.mark.parametrize("seed", range(40))
def test_any_way_of_unfolding_is_free_of_cycles(seed):
    rng = random.Random(seed)
    count = rng.choice([1, 5, 30, 200, 900])
    operands, groups = random_graph(rng, count, rng.choice([1, 3, 20]))
    tree = fold(range(count), operands, groups)
    assert sorted(leaves(tree)) == list(range(count))
    assert all(len(level) <= MOST for level in lists(tree))
    for _ in range(5):
        parts, waiting = [], list(tree)
        while waiting:
            item = waiting.pop()
            if isinstance(item, list) and rng.random() < 0.5:
                waiting += item
            else:
                parts.append(leaves(item))
        assert not quotient_has_cycle(parts, operands)


def test_operations_of_one_line_are_one_fold_whatever_else_uses_them():
    #   0 -> 1 -> 2 -> 3, lines a a b b; 4 is of line a too, but needs 3: in one fold with 1 it would close a circle
    tree = fold(range(5), {1: [0], 2: [1], 3: [2], 4: [3]}, {0: "a", 1: "a", 2: "b", 3: "b", 4: "a"})
    assert tree == [[0, 1], [2, 3], 4]


def test_what_is_early_but_needed_late_goes_to_the_rest_of_its_line():
    # cost = mean(...): the length of the mean needs only the input 0, and still belongs to the line of 3
    assert fold(range(4), {1: [0], 2: [0], 3: [1, 2]}, {1: "h", 2: "cost", 3: "cost"}) == [0, 1, [2, 3]]


def test_operands_outside_are_passed_over():
    assert fold([7, 9], {7: [1, 2], 9: [7, 4]}, {}) == [7, 9]
    assert fold([], {}, {}) == []


@pytest.mark.parametrize("group", [{}, dict.fromkeys(range(100_000), "one line"), {x: x // 2 for x in range(100_000)}])
def test_a_long_chain_takes_little_time_and_no_recursion(group):
    started = process_time()
    tree = fold(range(100_000), {x: [x - 1] for x in range(1, 100_000)}, group)
    assert process_time() - started < 5
    assert len(tree) <= MOST and leaves(tree) == list(range(100_000))
