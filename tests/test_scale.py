"""Large graphs: nothing recurses, work grows linearly with the graph, and equal kernels are compiled once.

How long it takes is measured by benchmarks/compile_time.py; here calls of functions are counted, which every machine
does alike.
"""

import cProfile
import gc
import re
import sys

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.compiler import Compiler


def test_a_chain_of_100_000_operations_is_built_differentiated_run_and_dropped():
    x, a, b = T.dvectors("x", "a", "b")
    h = x
    for k in range(66_667):
        h = T.tanh(h) if k % 2 else h * a + b
    (g,) = T.grad(h.sum(), [x])
    X, A, B = np.array([0.1, 0.2]), np.array([1.0, 1.1]), np.array([0.1, -0.1])
    value, slope = sg.function([x, a, b], [h, g], mode="numpy")(X, A, B)
    expected, factor = X, np.ones(2)
    for k in range(66_667):
        expected = np.tanh(expected) if k % 2 else expected * A + B
        factor = factor * (1 - expected**2 if k % 2 else A)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(slope, factor, rtol=1e-6, atol=1e-300)
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(200)
        del h, g
        gc.collect()
    finally:
        sys.setrecursionlimit(limit)


def test_a_long_chain_is_compiled_into_a_few_kernels():
    x, a, b = T.dvectors("x", "a", "b")

    def chain(n):
        h = x
        for k in range(n):
            h = T.tanh(h) if k % 2 else h * a + b
        return h, T.grad(h.sum(), x)

    X, A, B = np.array([0.1, 0.2]), np.array([1.0, 1.1]), np.array([0.1, -0.1])
    f = sg.function([x, a, b], chain(1500))
    value, slope = f(X, A, B)
    expected, factor = X, np.ones(2)
    for k in range(1500):
        expected = np.tanh(expected) if k % 2 else expected * A + B
        factor = factor * (1 - expected**2 if k % 2 else A)
    np.testing.assert_allclose(value, expected, rtol=1e-11)
    np.testing.assert_allclose(slope, factor, rtol=1e-9, atol=1e-300)
    kernels = re.findall(r"\nSG_KERNEL void (\w+)\(", f.c_source)
    assert len([name for name in kernels if not name.endswith(("_rest", "_in_blocks"))]) <= 10


def test_steps_of_an_unrolled_network_share_their_kernels():
    def unrolled(n):
        W, U = sg.shared(np.eye(4) * 0.9, "W"), sg.shared(np.full((3, 4), 0.1), "U")
        xs = T.dtensor3("xs")
        h = T.zeros((xs.shape[1], 4))
        for k in range(n):
            h = T.tanh(h @ W + xs[k] @ U)
        cost = (h**2).sum()
        return sg.function([xs], [cost, *T.grad(cost, [W, U])]), (W, U)

    f, _ = unrolled(30)
    g, (W, U) = unrolled(60)
    kernels = [h.c_source.count("\nSG_KERNEL void") for h in (f, g)]
    assert kernels[1] <= kernels[0] + 4 <= 40, kernels
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2, 3))
    cost, g_w, g_u = g(X)
    w, u = W.get_value(), U.get_value()
    states = [np.zeros((2, 4))]
    for step in X:
        states.append(np.tanh(states[-1] @ w + step @ u))
    delta, d_w, d_u = 2 * states[-1], np.zeros_like(w), np.zeros_like(u)
    for k in reversed(range(60)):
        delta = delta * (1 - states[k + 1] ** 2)
        d_w, d_u, delta = d_w + states[k].T @ delta, d_u + X[k].T @ delta, delta @ w.T
    np.testing.assert_allclose(cost, (states[-1] ** 2).sum(), rtol=1e-12)
    np.testing.assert_allclose(g_w, d_w, rtol=1e-10)
    np.testing.assert_allclose(g_u, d_u, rtol=1e-10)


def test_many_operands_in_one_operation():
    x = T.dvector("x")
    parts = [x[k % 3] * float(k % 5) for k in range(1200)]
    f = sg.function([x], [T.stack(parts), T.concatenate([x] * 900), T.stack([x] * 700).sum(axis=0)])
    X = np.array([1.0, 2.0, 3.0])
    stacked, joined, total = f(X)
    np.testing.assert_array_equal(stacked, [X[k % 3] * (k % 5) for k in range(1200)])
    np.testing.assert_array_equal(joined, np.concatenate([X] * 900))
    np.testing.assert_array_equal(total, X * 700)


def test_many_inputs_outputs_and_updates():
    xs = [T.dscalar(f"x{k}") for k in range(300)]
    states = [sg.shared(float(k), f"s{k}") for k in range(300)]
    f = sg.function(xs, [x + s for x, s in zip(xs, states)], updates=[(s, s + x) for x, s in zip(xs, states)])
    values = f(*range(300))
    assert [float(v) for v in values] == [2.0 * k for k in range(300)]
    assert [float(s.get_value()) for s in states] == [2.0 * k for k in range(300)]


def chain(n):
    x, a = T.dvectors("x", "a")
    h = x
    for k in range(n):
        h = T.tanh(h) if k % 2 else h * a
    return [x, a], [h, T.grad(h.sum(), x)], []


def recurrent(n):
    W, v = sg.shared(np.eye(5), "W"), T.dvector("v")
    bs, h = [T.dvector(f"b{k}") for k in range(n // 5)], v
    for b in bs:
        h = T.tanh(W @ h + b)
    cost = (h * h).sum()
    return [v, *bs], [cost], [(W, W - 0.1 * T.grad(cost, W))]


def recurrent_on_a_sequence(n):
    W, xs = sg.shared(np.eye(5), "W"), T.dtensor3("xs")
    h, cost = T.zeros((xs.shape[1], 5)), T.constant(0.0)
    for k in range(n // 8):
        h = T.tanh(h @ W + xs[k])
        cost = cost + (h**2).mean()
    return [xs], [cost], [(W, W - 0.1 * T.grad(cost, W))]


def wide_sum(n):
    xs = [T.dvector(f"x{k}") for k in range(n // 2)]
    total = xs[0]
    for k, x in enumerate(xs[1:]):
        total = total + x * float(k)
    return xs, [total, *T.grad(total.sum(), xs)], []


def parameters(n):
    x, Ws = T.dvector("x"), [sg.shared(np.ones(3), f"W{k}") for k in range(n // 5)]
    cost = sum((T.tanh(W * x)).sum() for W in Ws)
    return [x], [cost], [(W, W - 0.1 * g) for W, g in zip(Ws, T.grad(cost, Ws))]


def replaced_elements(n):
    x = T.dvector("x")
    y = x
    for k in range(n):
        y = T.set_subtensor(y[k % 7], float(k % 2)) if k % 2 else T.inc_subtensor(y[k % 7], x[0])
    return [x], [y], []


def embeddings(n):
    E, i = sg.shared(np.ones((20, 3)), "E"), T.lvector("i")
    cost = T.constant(0.0)
    for k in range(n // 5):
        cost = cost + T.tanh(E[i + k % 3]).sum()
    return [i], [cost], [(E, E - 0.1 * T.grad(cost, E))]


def layers(n):
    x, Ws = T.dmatrix("x"), [sg.shared(np.eye(4), f"W{k}") for k in range(n // 6)]
    h = x
    for W in Ws:
        h = T.nnet.relu(h @ W)
    cost = (h**2).mean()
    return [x], [cost], [(W, W - 0.1 * g) for W, g in zip(Ws, T.grad(cost, Ws))]


def layouts(n):
    x = T.dmatrix("x")
    h = x
    for _ in range(n // 3):
        h = h.T.reshape((h.shape[1], -1)) + h.T
    return [x], [h], []


def lengths(n):
    m = T.lscalar("m")
    h = m
    for _ in range(n):
        h = h + h // 3
    return [m], [T.zeros((h % 7,)), h], []


def normalizations(n):
    x = T.dmatrix("x")
    h = x
    for k in range(n // 4):
        h = h - h.mean(axis=k % 2, keepdims=True) if k % 3 else T.nnet.softmax(h)
    return [x], [h, T.grad((h**2).sum(), x)], []


def joined(n):
    x = T.dvector("x")
    return [x], [T.concatenate([x * float(k) for k in range(n)]), T.stack([x[k % 3] for k in range(n)])], []


FAMILIES = [
    chain, recurrent, recurrent_on_a_sequence, wide_sum, parameters, replaced_elements, embeddings, layers, layouts,
    lengths, normalizations, joined,
]  # fmt: skip


class Stop(Exception):
    """Raised in place of a call of the C compiler."""


def count_calls(family, n):
    """How many functions are called to make the C of a graph of some family."""
    inputs, outputs, updates = family(n)
    profile = cProfile.Profile()
    profile.enable()
    try:
        with pytest.raises(Stop):
            sg.function(inputs, outputs, updates=updates, on_unused_input="ignore")
    finally:
        profile.disable()
    return sum(entry.callcount for entry in profile.getstats())


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_work_grows_linearly_with_the_graph(family, monkeypatch):
    def stop(self, *args, **kwargs):
        raise Stop

    monkeypatch.setattr(Compiler, "load", stop)
    count_calls(family, 20)  # what is done once in a process
    small, middle, large = (count_calls(family, n) for n in (60, 120, 240))
    assert large - middle <= 2.2 * (middle - small), (small, middle, large)
