"""Small programs in which several stages meet as no stage's own tests foresee: their values beside numpy's."""

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T

n = T.lscalar("n")
v, w = T.dvectors("v", "w")
x, W = T.dmatrices("x", "W")
k = T.lvector("k")
known = {shape: T.TensorType("float64", shape)(name) for shape, name in (
    ((1,), "one"), ((1, 4), "row"), ((None, 4), "rows"), ((1, 3, None), "flat"),
)}  # fmt: skip
flags = T.TensorType("bool", (None,))("flags")
V, M, ONES = np.array([1.0, 2.0, -3.0]), np.arange(6.0).reshape(3, 2), np.ones((3, 4))

CASES = {
    # A part of an array that no library can be given where it lies.
    "reversed vector @ matrix": ([v, x], v[::-1] @ x, [V, M], V[::-1] @ M),
    "matrix @ reversed vector": ([x, v], x.T @ v[::-1], [M, V], M.T @ V[::-1]),
    "column @ matrix": ([x, W], x[:, 0] @ W, [M, M], M[:, 0] @ M),
    "column chosen @ matrix": ([x, W, n], x[:, n] @ W, [M, M, 1], M[:, 1] @ M),
    "constant vector @ matrix": ([x], T.full(3, 2.0) @ x, [M], np.full(3, 2.0) @ M),
    # A row of a new axis, and one that an axis is taken from, are no transposes.
    "new axis @ vector": ([v, w], T.dot(v.dimshuffle("x", 0), w), [V, V], [14.0]),
    "lost axis @ vector": (
        [known[1, 3, None], w], T.dot(known[1, 3, None].squeeze(0), w), [np.ones((1, 3, 5)), np.ones(5)],
        np.full(3, 5.0),
    ),
    # Bools that the lengths tell.
    "product of known and unknown lengths": ([known[1,], v], T.dot(known[1,], v), [[2.0], [3.0]], 6.0),
    "a choice that is made": ([n, v], T.switch(T.eq(n, n), v, 0), [3, V], V),
    "a bool that is one": ([n, flags], T.ge(n, n) * flags, [1, np.array([True, False])], [True, False]),
    "as long as a constant": ([v], T.mean((v + np.zeros(3)) ** 2), [V], np.mean(V**2)),
    # What is scattered is a row, what it is added to has several.
    "scattered onto rows": (
        [known[None, 4], k], T.inc_subtensor(T.zeros((4,))[k], 5.0) + known[None, 4], [ONES, [1]], ONES + [0, 5, 0, 0],
    ),
    "scattered row onto rows": (
        [known[None, 4], k], T.inc_subtensor(T.zeros((1, 4))[k], 5.0) + known[None, 4], [ONES, [0]], ONES + 5,
    ),
    "gradient of a row taken from and joined": (
        [known[1, 4], n], sg.grad(T.take(known[1, 4], n) + T.concatenate([known[1, 4], x]).sum(), known[1, 4]),
        [np.ones((1, 4)), 2], [[1.0, 1, 2, 1]],
    ),
    # Lengths that are 1 in this call only.
    "last element of one": ([v, w], v[v.shape[0] - 1 : v.shape[0]] * 2 + (v + w)[:1], [[1.0], V], [4.0]),
    "joined with itself": ([v], sg.grad(((v + T.concatenate([v, v])) ** 2).sum(), v), [[1.0]], [16.0]),
    # Tests whose answer needs no operand, of operands that a call makes.
    "finite integers": ([k], T.isfinite(T.dot(k.reshape((1, -1)), k)), [[1, 2]], [True]),
    "integers are numbers": ([k], T.isnan(T.set_subtensor(k[:1], 5)), [[1, 2]], [False, False]),
}  # fmt: skip


@pytest.mark.parametrize("mode", ["c", "numpy", "FAST_COMPILE"])
@pytest.mark.parametrize("case", CASES)
def test_values(case, mode):
    inputs, output, values, expected = CASES[case]
    givens = {} if x in inputs else {x: M.repeat(2, 1)}
    f = sg.function(inputs, output, mode=mode, on_unused_input="ignore", givens=givens)
    found = f(*values)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert found.shape == np.shape(expected) and found.dtype == output.dtype


def test_a_gradient_beside_the_values_it_belongs_to():
    """The gradient of a mean whose length a shared variable tells."""
    c, X = sg.shared(np.zeros(3), "c"), sg.shared(np.ones((4, 3)), "X")
    f = sg.function([x], [x - X, sg.grad(T.mean((x + c) ** 2), c)])
    difference, gradient = f(np.full((4, 3), 2.0))
    np.testing.assert_array_equal(difference, np.ones((4, 3)))
    np.testing.assert_allclose(gradient, np.full(3, 4 / 3), rtol=1e-15)


@pytest.mark.parametrize("mode", ["c", "numpy"])
def test_an_index_of_two_axes_adds_to_each_place(mode):
    index = np.array([[12, 10, -12], [33, -29, -5]], "int8")
    f = sg.function([v, w], T.inc_subtensor(v[index], w), mode=mode)
    expected = np.zeros(36)
    for row in index:
        for place, value in zip(row, V, strict=True):
            expected[place] += value
    np.testing.assert_array_equal(f(np.zeros(36), V), expected)


def test_known_lengths_of_too_many_elements_are_refused_where_they_are_typed():
    with pytest.raises(sg.ShapeError, match=r"shape \(2147483648, 2147483648\) has more elements than can be counted"):
        T.zeros((2**31, 2**31))
    assert T.zeros((2**29, 2**29, 0)).type.shape == (2**29, 2**29, 0)


LARGE = [2**31, 2**32, 2**62, 2**62 + 1, 2**63 - 1]


@pytest.mark.parametrize("count", LARGE)
@pytest.mark.parametrize("build", [
    lambda: T.repeat(v, n), lambda: T.tile(v, n), lambda: v.reshape((n, n)).sum(), lambda: v.reshape((n, 4))[0],
    lambda: v.reshape((2, n, 2)).max(), lambda: T.alloc(v[0], n, 4, n).sum(axis=1)[0, :2],
])  # fmt: skip
def test_lengths_whose_product_is_another_modulo_2_to_the_64(build, count):
    f = sg.function([v, n], build(), on_unused_input="ignore")
    with pytest.raises((ValueError, MemoryError)):
        f(np.ones(4), count)
