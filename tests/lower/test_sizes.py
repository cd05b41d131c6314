"""Lengths, bounds and scalars in C: computed by the plan, from the lengths and integers of the arguments."""

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from codegen import ir
from codegen.visit import expressions, statements

x, y = T.dmatrices("x", "y")
v = T.dvector("v")
n, m = T.lscalars("n", "m")


def test_given_lengths_come_first_and_in_order(lowered):
    program = lowered([x, v], [T.dot(x, v)]).program
    assert [size.name for size in program.given] == ["x_0", "x_1", "v_0"]


def test_every_derived_size_is_computed_once(lowered):
    program = lowered([x, v], [T.concatenate([x.flatten(), v]), x[1:], x[::2]]).program
    declared = [s.var for s in statements(program.plan) if isinstance(s, ir.Declare)]
    assert set(program.derived) <= set(declared) and len(set(declared)) == len(declared)


def test_equal_sizes_are_computed_once(lowered):
    """A second result of the same computed length, written out again, adds none."""
    one, two = (lowered([x], [T.exp(x[1:]), T.tanh(x[1:])][:count]).program for count in (1, 2))
    assert len(one.derived) == len(two.derived) and len(one.plan) == len(two.plan)


@pytest.fixture(scope="module")
def sliced():
    """One function for all bounds: they are arguments."""
    return sg.function([v, n, m], [v[n:m], v[n:m:2], v[m:n:-1], v[n:], v[:m]])


@pytest.mark.parametrize("start", [-7, -3, -1, 0, 1, 2, 5, 9])
@pytest.mark.parametrize("stop", [-7, -1, 0, 3, 5, 9])
def test_bounds_of_slices_are_python_s(sliced, start, stop):
    V = np.arange(5.0)
    slices = [V[start:stop], V[start:stop:2], V[stop:start:-1], V[start:], V[:stop]]
    for got, expected in zip(sliced(V, start, stop), slices, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_values_of_integer_inputs_are_read_at_each_call():
    """Plans are kept by shape; one that depends on a value must not be."""
    f = sg.function([v, n], [v[:n].sum(), T.zeros((n, 2)), v.shape[0] + n])
    for count in (3, 5, 2, 0, 5):
        total, zeros, length = f(np.ones(6), count)
        assert total == count and zeros.shape == (count, 2) and length == 6 + count


def test_integers_of_all_dtypes_are_bounds():
    for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"):
        k = T.TensorType(dtype, ())("k")
        f = sg.function([v, k], [v[:k], v[k] * 1])
        first, element = f(np.arange(5.0), np.array(3, dtype))
        assert first.tolist() == [0, 1, 2] and element == 3


def test_a_length_that_only_a_computation_tells():
    count = T.sum(v > 0)
    f = sg.function([v], [T.zeros((count,)), v[:count] * 2, T.arange(count), count])
    for V in (np.array([1.0, -1, 2]), np.array([-1.0, -2]), np.ones(4)):
        k = int((V > 0).sum())
        zeros, head, numbers, length = f(V)
        assert zeros.shape == (k,) and length == k
        np.testing.assert_array_equal(head, V[:k] * 2)
        np.testing.assert_array_equal(numbers, np.arange(k))


def test_lengths_from_computed_lengths():
    first = T.sum(v > 0)
    second = T.sum(T.arange(first) > 1)
    f = sg.function([v], [T.ones((second,)), T.zeros((first, second))])
    ones, zeros = f(np.array([1.0, 2, 3, -1, 5]))
    assert ones.shape == (2,) and zeros.shape == (4, 2)


def test_deep_expressions_of_sizes():
    """Many operations on sizes: each is written once, in C that stays flat."""
    size = v.shape[0]
    for k in range(1, 40):
        size = size * 2 - size + k
        size = T.maximum(size - k, 0)
    f = sg.function([v], [T.zeros((size,)), size])
    zeros, length = f(np.ones(3))
    assert zeros.shape == (3,) and length == 3


def test_sizes_of_plan_expressions_stay_short(lowered):
    size = v.shape[0]
    for k in range(1, 200):
        size = (size + k) * 2 - size
    program = lowered([v], [T.zeros((T.minimum(size, 5),))]).program
    longest = max(sum(1 for _ in expressions([s])) for s in program.plan)
    assert longest < 100


def test_the_workspace_is_aligned_and_enough(lowered):
    """Slots start at multiples of 64 bytes, whatever the lengths."""
    h = T.tanh(x)
    outputs = [T.dot(T.dot(h, y), h) + 1, T.dot(h.T, h)]
    f = sg.function([x, y], outputs)
    reference = sg.function([x, y], outputs, mode="numpy")
    for rows, columns in [(1, 1), (3, 5), (17, 3), (2, 2), (40, 9), (0, 3)]:
        X, Y = np.random.default_rng(rows).normal(size=(rows, columns)), np.ones((columns, rows))
        for got, expected in zip(f(X, Y), reference(X, Y), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("length", [2**31, 2**32 - 1, 2**32, 2**61])
def test_a_workspace_of_more_bytes_than_there_are_numbers_is_refused(length):
    """Its size, modulo 2^64, is that of a small one."""
    square = T.alloc(v[0], n, n)
    f = sg.function([v, n], T.dot(T.exp(square), square)[0, 0])
    for _ in range(2):
        with pytest.raises((ValueError, MemoryError)):
            f([1.0], length)
    assert f([0.0], 2) == 0


def test_lengths_of_one_argument_need_no_check(lowered):
    """It exists, so the bytes of as many elements can be counted."""
    def is_checked(output):
        plan = lowered([x, y], [output]).program.plan
        return any(isinstance(s, ir.Comment) and "into memory" in s.text for s in statements(plan))
    assert not is_checked(T.dot(T.exp(x), x.T))
    assert is_checked(T.dot(T.exp(T.dot(x, y)), x)[0, 0])


def test_negative_lengths_are_refused():
    f = sg.function([n], T.zeros((n,)))
    assert f(0).shape == (0,)
    with pytest.raises((ValueError, IndexError)):
        f(-1)


def test_an_integer_output_that_is_a_size():
    f = sg.function([x, n], [x.shape[0], x.shape[0] * n + 1, n, n > 2, x.shape[1].astype("int8"), x.size])
    values = f(np.ones((3, 4)), 5)
    assert [v.item() for v in values] == [3, 16, 5, True, 4, 12]
    assert [str(v.dtype) for v in values] == ["int64", "int64", "int64", "bool", "int8", "int64"]


def test_integers_wrap_in_sizes_too():
    f = sg.function([n], [n + 1, n * 2, -n, abs(n)])
    lowest, highest = -(2**63), 2**63 - 1
    assert [int(value) for value in f(highest)] == [lowest, -2, -highest, highest]
    assert [int(value) for value in f(lowest)] == [lowest + 1, 0, lowest, lowest]


def test_division_by_zero_in_sizes():
    f = sg.function([n, m], [n // m, n % m])
    assert [int(value) for value in f(7, 2)] == [3, 1] and [int(value) for value in f(-7, 2)] == [-4, 1]
    assert [int(value) for value in f(7, 0)] == [0, 0]
