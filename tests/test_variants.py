"""Broadcasting decided at the call: every pattern of lengths that turn out to be 1, values and gradients, each
compiled once.
"""

import itertools

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.compiler import Compiler
from symgraph.function import VARIANTS_KEPT


@pytest.fixture
def compiled(monkeypatch):
    """A list that grows with each compilation of a variant."""
    made = []
    original = Compiler.compile

    def compile(self, *args, **kwargs):
        variant = original(self, *args, **kwargs)
        made.append(variant)
        return variant

    monkeypatch.setattr(Compiler, "compile", compile)
    return made


def tensor(rank, name):
    return T.TensorType("float64", (None,) * rank)(name)


def patterns(rank_a, rank_b, lengths=(3, 2, 4)):
    """All pairs of shapes of these ranks that broadcast, each length 1 or that of the result."""
    shape = lengths[-max(rank_a, rank_b) :]
    for ones in itertools.product((False, True), repeat=rank_a + rank_b):
        a = tuple(1 if one else n for n, one in zip(shape[len(shape) - rank_a :], ones[:rank_a], strict=True))
        b = tuple(1 if one else n for n, one in zip(shape[len(shape) - rank_b :], ones[rank_a:], strict=True))
        yield a, b


def unbroadcast(g, shape):
    """The gradient of an operand of `shape` from that of the result."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(k for k, n in enumerate(shape) if n == 1), keepdims=True).reshape(shape)


@pytest.mark.parametrize("rank_a, rank_b", [(1, 1), (2, 1), (1, 2), (2, 2), (0, 2), (3, 1)])
def test_every_pattern_with_its_gradients(rank_a, rank_b, compiled):
    a, b = tensor(rank_a, "a"), tensor(rank_b, "b")
    out = T.sin(a) * b + a
    f = sg.function([a, b], [out, *T.grad((out**2).sum(), [a, b])])
    rng = np.random.default_rng(0)
    cases = [(rng.normal(size=s), rng.normal(size=t)) for s, t in patterns(rank_a, rank_b)]
    for _ in range(2):
        for A, B in cases:
            value, g_a, g_b = f(A, B)
            expected = np.sin(A) * B + A
            np.testing.assert_allclose(value, expected, rtol=1e-13)
            np.testing.assert_allclose(g_a, unbroadcast(2 * expected * (np.cos(A) * B + 1), A.shape), rtol=1e-12)
            np.testing.assert_allclose(g_b, unbroadcast(2 * expected * np.sin(A), B.shape), rtol=1e-12)
            assert g_a.shape == A.shape and g_b.shape == B.shape
        if len(cases) <= 9:
            seen = len(compiled)
    assert len(compiled) <= min(len(cases), 17)
    if len(cases) <= 9:
        assert len(compiled) == seen  # the second round compiled nothing


@pytest.mark.parametrize("shapes", [s for s in patterns(3, 3) if 1 in s[0] or 1 in s[1]][::5])
def test_patterns_of_rank_3(shapes):
    a, b = tensor(3, "a"), tensor(3, "b")
    out = T.maximum(a, b) - a * b
    f = sg.function([a, b], [out, *T.grad((out * out).sum(), [a, b])])
    rng = np.random.default_rng(1)
    A, B = (rng.normal(size=s) for s in shapes)
    value, g_a, g_b = f(A, B)
    expected = np.maximum(A, B) - A * B
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    np.testing.assert_allclose(g_a, unbroadcast(2 * expected * ((A > B) - B), A.shape), rtol=1e-12)
    np.testing.assert_allclose(g_b, unbroadcast(2 * expected * ((B > A) - A), B.shape), rtol=1e-12)


def test_a_length_of_1_that_does_not_stretch_needs_no_variant(compiled):
    x, y = T.dmatrices("x", "y")
    f = sg.function([x, y], (x + y).sum(axis=0))
    for shape in ((2, 3), (1, 3), (2, 1), (1, 1), (0, 1), (1, 0)):
        np.testing.assert_array_equal(f(np.ones(shape), np.ones(shape)), np.full(shape[1:], 2.0 * shape[0]))
    assert len(compiled) == 1


def test_the_variant_used_last_is_tried_first_and_old_ones_are_kept(compiled):
    x, b = T.dmatrix("x"), T.dvector("b")
    f = sg.function([x, b], x - b)
    X, full, one = np.arange(6.0).reshape(2, 3), np.arange(3.0), np.array([10.0])
    for _ in range(5):
        np.testing.assert_array_equal(f(X, full), X - full)
        np.testing.assert_array_equal(f(X, one), X - one)
        np.testing.assert_array_equal(f(X[:, :1], full), X[:, :1] - full)
    assert len(compiled) == 3


def test_stretching_to_nothing():
    x, y = T.dmatrices("x", "y")
    f = sg.function([x, y], [x * y, T.grad((x * y).sum(), x)])
    for s, t in (((1, 3), (0, 3)), ((0, 1), (0, 3)), ((1, 1), (0, 0)), ((0, 3), (1, 1))):
        product, g = f(np.ones(s), np.ones(t))
        assert product.shape == np.broadcast_shapes(s, t)
        np.testing.assert_array_equal(g, np.zeros(s))


def test_lengths_in_between_that_turn_out_to_be_1(compiled):
    x, y, n = T.dmatrix("x"), T.dmatrix("y"), T.lscalar("n")
    part = x[:n]  # of min(n, length) rows
    out = part * y
    f = sg.function([x, y, n], [out, *T.grad((out**2).sum(), [x, y])])
    rng = np.random.default_rng(2)
    X, Y = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    for count, rows in ((4, 4), (1, 4), (1, 1), (3, 1), (4, 4), (1, 4), (3, 3)):
        value, g_x, g_y = f(X, Y[:rows], count)
        P, Q = X[:count], Y[:rows]
        np.testing.assert_allclose(value, P * Q)
        expected = np.zeros_like(X)
        expected[:count] = unbroadcast(2 * P * Q * Q, P.shape)
        np.testing.assert_allclose(g_x, expected, rtol=1e-12)
        np.testing.assert_allclose(g_y, unbroadcast(2 * P * Q * P, Q.shape), rtol=1e-12)
    assert len(compiled) == 3


def test_sums_and_reshapes_of_what_is_stretched():
    x, y = T.dmatrix("x"), T.dvector("y")
    z = (x + y).reshape((-1,))
    f = sg.function([x, y], [z, z.shape[0], T.nnet.softmax(x + y).sum(), (x + y).mean(axis=1), (x * y).T @ x])
    X = np.arange(6.0).reshape(2, 3)
    for A, B in ((X, np.ones(3)), (X, np.ones(1)), (X[:, :1], np.ones(3)), (X[:, :1], np.ones(1))):
        flat, n, rows, mean, product = f(A, B)
        np.testing.assert_array_equal(flat, (A + B).reshape(-1))
        assert n == flat.size and abs(rows - 2) < 1e-12
        np.testing.assert_allclose(mean, (A + B).mean(axis=1))
        np.testing.assert_allclose(product, (A * B).T @ A)


def test_switch_and_comparisons_stretch_too():
    c, x, y = T.TensorType("bool", (None, None))("c"), T.dmatrix("x"), T.dvector("y")
    f = sg.function([c, x, y], [T.switch(c, x, y), T.eq(x, y), T.clip(x, y, 2.0)])
    for s, t, u in itertools.product([(2, 3), (1, 3), (2, 1)], [(2, 3), (1, 1)], [(3,), (1,)]):
        C, A, B = np.ones(s, bool), np.arange(float(np.prod(t))).reshape(t), np.zeros(u)
        chosen, equal, clipped = f(C, A, B)
        np.testing.assert_array_equal(chosen, np.where(C, A, B))
        np.testing.assert_array_equal(equal, A == B)
        np.testing.assert_array_equal(clipped, np.clip(A, B, 2.0))


def test_shared_variables_of_changing_shape(compiled):
    x, b = T.dmatrix("x"), sg.shared(np.zeros(3), "b")
    f = sg.function([x], x + b, updates=[(b, b + 1)])
    rng = np.random.default_rng(3)
    for n in (3, 1, 4, 3, 1, 2, 1, 5, 3, 1) * 2:
        value = rng.normal(size=n)
        b.set_value(value)
        X = rng.normal(size=(2, max(n, 3) if n > 1 else 4))[:, : n if n > 1 else None]
        np.testing.assert_array_equal(f(X), X + value)
        np.testing.assert_array_equal(b.get_value(), value + 1)
    assert len(compiled) <= 4


def test_a_shared_variable_that_grows_compiles_no_more_than_twice(compiled):
    x, log = T.dscalar("x"), sg.shared(np.zeros(0), "log")
    f = sg.function([x], log.sum(), updates=[(log, T.concatenate([log, x.dimshuffle("x")]))])
    for k in range(6):
        assert f(float(k)) == sum(range(k))
    assert len(compiled) <= 2


def test_an_update_that_stretches_its_state(compiled):
    x, W = T.dmatrix("x"), sg.shared(np.ones((1, 3)), "W")
    f = sg.function([x], W.sum(), updates=[(W, W + x)])
    assert f(np.ones((1, 3))) == 3 and W.get_value().shape == (1, 3)
    assert f(np.ones((4, 3))) == 6 and W.get_value().shape == (4, 3)
    assert f(np.ones((4, 1))) == 36 and f(np.ones((1, 1))) == 48
    np.testing.assert_array_equal(W.get_value(), np.full((4, 3), 5.0))


def test_known_lengths_of_1_broadcast_without_a_variant(compiled):
    x, r, c = T.dmatrix("x"), T.drow("r"), T.dcol("c")
    f = sg.function([x, r, c], [x + r, x * c, r + c, *T.grad(((x + r) * c).sum(), [r, c])])
    X, R, C = np.arange(6.0).reshape(2, 3), np.ones((1, 3)), np.array([[2.0], [3.0]])
    for value, expected in zip(
        f(X, R, C), [X + R, X * C, R + C, np.full((1, 3), 5.0), (X + R).sum(axis=1, keepdims=True)], strict=True
    ):
        np.testing.assert_array_equal(value, expected)
    assert len(compiled) == 1


def test_more_patterns_than_are_kept():
    """Sixteen variants are kept; a function called with more patterns than that still computes them all."""
    xs = [T.dvector(f"x{k}") for k in range(5)]
    total = xs[0]
    for x in xs[1:]:
        total = total * x
    f = sg.function(xs, total)
    rng = np.random.default_rng(4)
    for ones in list(itertools.product((1, 3), repeat=5))[::2] * 2:
        values = [rng.normal(size=n) for n in ones]
        np.testing.assert_allclose(f(*values), np.prod(np.broadcast_arrays(*values), axis=0), rtol=1e-13)


def test_random_graphs_of_random_shapes():
    """Chains of binary operations on operands whose lengths are 1 or not, as the calls decide; compiled =
    interpreted.
    """
    rng = np.random.default_rng(5)
    for _ in range(6):
        xs = [T.dmatrix("a"), T.dmatrix("b"), T.dvector("c"), T.dscalar("d")]
        pool = list(xs)
        for _ in range(8):
            p, q = (pool[int(k)] for k in rng.integers(0, len(pool), 2))
            made = [p + q, p * q, T.maximum(p, q), p - q][int(rng.integers(4))]
            pool.append(made.sum(axis=0, keepdims=True) if made.ndim and rng.random() < 0.2 else made)
        out = pool[-1]
        used = [x for x in xs if x in sg.graph.traverse.leaves([out])]
        outputs = [out, *T.grad((out * out).sum(), used)]
        f, g = sg.function(used, outputs), sg.function(used, outputs, mode="numpy")
        for _ in range(5):
            shape = (3, 4)
            values = [rng.normal(size=tuple(1 if rng.random() < 0.4 else n for n in shape[2 - x.ndim :])) for x in used]
            for value, expected in zip(f(*values), g(*values), strict=True):
                np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-10)


def test_an_index_that_counts_beside_others_is_taken_to_reach_the_last_row(compiled):
    """The cost of a classifier: one variant for labels of all rows, one for labels of fewer, whatever their numbers."""
    x, y = T.dmatrix("x"), T.lvector("y")
    cost = -T.log(T.nnet.softmax(x))[T.arange(y.shape[0]), y]
    outputs = [cost, *sg.grad(cost.sum(), [x])]
    f, reference = sg.function([x, y], outputs), sg.function([x, y], outputs, mode="numpy")
    rng = np.random.default_rng(2)
    for rows, labels in itertools.product((0, 1, 2, 5), repeat=2):
        X, Y = rng.normal(size=(rows, 4)), rng.integers(-4, 4, labels)
        if labels > rows:
            with pytest.raises(IndexError, match="out of range for axis 0"):
                f(X, Y)
            continue
        for value, expected in zip(f(X, Y), reference(X, Y), strict=True):
            assert value.shape == expected.shape
            np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-15)
    assert len(compiled) == 2
    X = rng.normal(size=(3, 4))
    for wrong in (4, -5):
        with pytest.raises(IndexError, match="out of range for axis 1"):
            f(X, np.array([0, wrong, 1]))


@pytest.mark.parametrize("dtype", ["int64", "int8"])
def test_counted_rows_of_updates(dtype, compiled):
    """Elements stored at [i, y[i]] of all rows, then of the first rows; a count of known length."""
    s = sg.shared(np.zeros((4, 3)), "s")
    y = T.lvector("y")
    rows = T.arange(y.shape[0], dtype=dtype)
    f = sg.function([y], [s[rows, y]], updates=[(s, T.inc_subtensor(s[rows, y], 1.0))])
    expected = np.zeros((4, 3))
    for labels in ([0, 2, 1, -1], [1, 1], [2, 2, 2, 2], [0]):
        (picked,) = f(np.array(labels))
        np.testing.assert_array_equal(picked, expected[np.arange(len(labels)), labels])
        expected[np.arange(len(labels)), labels] += 1
        np.testing.assert_array_equal(s.get_value(), expected)
    assert len(compiled) == 2
    x = T.dmatrix("x")
    g = sg.function([x, y], x[T.arange(3), y])
    for n in (3, 5):
        X = np.arange(3.0 * n).reshape(n, 3)
        np.testing.assert_array_equal(g(X, np.array([0, 2, 1])), X[np.arange(3), [0, 2, 1]])


def test_timings_are_those_of_the_c_that_ran():
    x, y = T.dvectors("x", "y")
    f = sg.function([x, y], x + y)
    f(np.ones(3), np.ones(3))
    first = dict(f.timings)
    f(np.ones(1), np.ones(3))
    assert dict(f.timings) != first
    f(np.ones(3), np.ones(3))
    assert dict(f.timings) == first


def test_bound_calls_keep_no_more_variants_than_calls():
    xs = [T.dvector(f"x{k}") for k in range(6)]
    f = sg.function(xs, sum(xs))
    for pattern in range(2 * VARIANTS_KEPT):
        lengths = [3 if pattern >> k & 1 else 1 for k in range(6)]
        assert f.bind(*map(np.ones, lengths))().shape == (max(lengths),)
    assert len(f._variants) <= VARIANTS_KEPT
