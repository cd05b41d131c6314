"""Walks: order, leaves, consumers and substitution, on random graphs and on long ones."""

import numpy as np
import pytest

import symgraph.tensor as T
from symgraph.errors import ShapeError
from symgraph.graph.node import Variable
from symgraph.graph.traverse import ancestors, consumers, leaves, substitute, toposort
from symgraph.interpreter import evaluate


def random_graph(seed, size=60):
    """Inputs and all the nodes over them, each with operands drawn from those before it."""
    rng = np.random.default_rng(seed)
    inputs = [T.dscalar(name) for name in "abcd"]
    made = list(inputs)
    for _ in range(size):
        left, right = rng.choice(len(made), 2)
        made.append([made[left] + made[right], made[left] * made[right], -made[left]][rng.integers(3)])
    return inputs, made


def reachable(outputs):
    """The reference: closure of "is an operand of", by repetition."""
    found = set(outputs)
    while True:
        more = {x for y in found if y.owner is not None for x in y.owner.inputs} | found
        if more == found:
            return found
        found = more


@pytest.mark.parametrize("seed", range(5))
def test_toposort_has_every_node_once_and_after_its_operands(seed):
    _, made = random_graph(seed)
    outputs = [made[-1], made[-7], made[-1]]
    order = toposort(outputs)
    assert len(order) == len(set(order))
    assert {node.output for node in order} == {x for x in reachable(outputs) if x.owner is not None}
    place = {node.output: k for k, node in enumerate(order)}
    assert all(place.get(x, -1) < place[node.output] for node in order for x in node.inputs)


@pytest.mark.parametrize("seed", range(5))
def test_ancestors_leaves_and_consumers(seed):
    inputs, made = random_graph(seed)
    outputs = [made[-1], made[-2]]
    found = ancestors(outputs)
    assert len(found) == len(set(found)) and set(found) == reachable(outputs)
    assert set(leaves(outputs)) == set(inputs) & set(found)
    users = consumers(outputs)
    for x in found:
        expected = [node for node in toposort(outputs) for operand in node.inputs if operand is x]
        assert users.get(x, []) == expected


def test_a_walk_ends_where_it_is_told():
    x, y = T.dscalar("x"), T.dscalar("y")
    h = x * y
    z = T.exp(h) + y
    assert x not in ancestors([z], stop=[h])
    assert set(leaves([z], stop=[h])) == {h, y}
    assert toposort([h], stop=[h]) == []


def test_constants_are_no_leaves():
    x = T.dscalar("x")
    assert leaves([2 * x + 1]) == [x]


def test_an_input_is_its_own_ancestor():
    x = T.dscalar("x")
    assert ancestors([x, x]) == leaves([x]) == [x] and toposort([x]) == []


@pytest.mark.parametrize("seed", range(5))
def test_substituting_equals_evaluating_with_the_replacement(seed):
    (a, b, c, d), made = random_graph(seed, 25)
    out = made[-1]
    (new,) = substitute([out], {a: b * 0.5, b: a + 1})
    rng = np.random.default_rng(seed)
    values = {x: rng.uniform(-0.5, 0.5) for x in (a, b, c, d)}
    replaced = {**values, a: values[b] * 0.5, b: values[a] + 1}  # at once: neither sees what the other became
    expected = evaluate([out], {x: np.asarray(v) for x, v in replaced.items()})
    np.testing.assert_array_equal(evaluate([new], {x: np.asarray(v) for x, v in values.items()}), expected)


def test_what_does_not_depend_on_a_replaced_variable_is_shared():
    x, y, z = T.dscalar("x"), T.dscalar("y"), T.dscalar("z")
    kept, changed = T.exp(y), T.log(x)
    changed.name = "changed"
    (new,) = substitute([kept + changed], {x: z})
    assert new.owner.inputs[0] is kept
    assert new.owner.inputs[1].name == "changed" and new.owner.inputs[1].origin == changed.origin
    assert substitute([kept], {x: z}) == [kept]
    assert substitute([x, kept], {x: z, kept: y}) == [z, y]


def test_a_replacement_may_know_more_lengths_and_must_fit():
    x, w = T.dvector("x"), T.vector("w", dtype="float64", shape=(3,))
    (new,) = substitute([x + 1], {x: w})
    assert new.type.shape == (3,)
    with pytest.raises(ShapeError, match=r"x2 \(4,\) and w \(3,\)"):
        substitute([x + w], {x: T.vector("x2", dtype="float64", shape=(4,))})


def chain(length):
    x = y = T.dscalar("x")
    for _ in range(length):
        y = y * x
    return x, y


def test_a_chain_of_100_000_nodes():
    x, y = chain(100_000)
    assert len(toposort([y])) == 100_000
    assert len(ancestors([y])) == 100_001
    assert leaves([y]) == [x]
    z = T.dscalar("z")
    (new,) = substitute([y], {x: z})
    assert isinstance(new, Variable) and leaves([new]) == [z]


def test_a_graph_with_exponentially_many_paths_is_walked_once():
    x = y = T.dscalar("x")
    for _ in range(500):
        y = y + y
    assert len(toposort([y])) == 500 and len(consumers([y])[x]) == 2


def test_one_op_with_very_many_operands():
    xs = [T.dscalar() for _ in range(2_000)]
    total = T.stack([T.exp(x) for x in xs])
    assert len(leaves([total])) == 2_000
