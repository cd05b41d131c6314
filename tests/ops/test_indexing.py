"""Indexing against numpy: every small slice, positions, None, arrays, and the same to store to."""

import itertools

import numpy as np
import pytest

import symgraph.ops.operators  # noqa: F401  (what can be written on a variable)
from symgraph.errors import DtypeError, IndexingError, ShapeError
from symgraph.grad import grad
from symgraph.graph.node import Constant, Variable, as_variable
from symgraph.graph.traverse import substitute, toposort
from symgraph.graph.types import TensorType
from symgraph.interpreter import evaluate
from symgraph.ops.creation import arange
from symgraph.ops.gather import Take
from symgraph.ops.indexing import inc_subtensor, set_subtensor, take
from symgraph.ops.slices import span

BOUNDS = [None, *range(-6, 7)]
STEPS = [-3, -2, -1, 1, 2, 3]


def symbol(name, dtype="float64", shape=()):
    return Variable(TensorType(dtype, shape), name)


def matrix(name="x", shape=(None, None)):
    return symbol(name, shape=shape)


def value(expression, **given):
    """The value of an expression whose inputs are given by name."""
    inputs = {v: v for node in toposort([expression]) for v in node.inputs if v.owner is None and v.name}
    return evaluate([expression], {v: np.asarray(given[v.name], v.dtype) for v in inputs})[0]


def expanded(x):
    """The expression in the ops it comes down to."""
    while node := next((node for node in toposort([x]) if hasattr(node.op, "expand")), None):
        (x,) = substitute([x], {node.output: node.op.expand(*node.inputs)})
    return x


def same(actual, expected):
    np.testing.assert_array_equal(actual, expected)
    assert actual.shape == np.shape(expected)


# ------------------------------------------------------------------------------------------------------------- slices


@pytest.mark.parametrize("n", range(5))
def test_a_slice_of_known_numbers_is_pythons(n):
    for start, stop, step in itertools.product(BOUNDS, BOUNDS, STEPS):
        first, count = span(start, stop, step, n)
        assert count == len(range(n)[start:stop:step])
        if count:
            assert first == range(n)[start:stop:step][0]


@pytest.mark.parametrize("n", range(5))
def test_a_slice_of_symbols_is_pythons(n):
    """All bounds at once: the formulas run on vectors, one entry for each combination."""
    pairs = np.array(list(itertools.product(range(-6, 7), repeat=2)))
    starts, stops = as_variable(pairs[:, 0]), as_variable(pairs[:, 1])
    size = symbol("n", "int64")
    for step in STEPS:
        for start, stop in ((starts, stops), (None, stops), (starts, None)):
            outputs = [as_variable(x) for x in span(start, stop, step, size)]
            firsts, counts = (np.broadcast_to(x, len(pairs)) for x in evaluate(outputs, {size: np.array(n)}))
            for (a, b), first, count in zip(pairs.tolist(), firsts, counts, strict=True):
                positions = range(n)[None if start is None else a : None if stop is None else b : step]
                assert count == len(positions)
                assert not positions or first == positions[0]


@pytest.mark.parametrize("n", range(4))
def test_a_slice_with_known_bounds_of_an_unknown_length(n):
    x, data = symbol("x", shape=(None,)), np.arange(float(n))
    bounds = [None, *range(-4, 5)]
    parts = {(a, b, c): x[a:b:c] for a, b, c in itertools.product(bounds, bounds, (-2, -1, 1, 2))}
    values = evaluate([*parts.values(), *map(expanded, parts.values())], {x: data})
    for (a, b, c), direct, lowered in zip(parts, values, values[len(parts) :], strict=False):
        same(direct, data[a:b:c])
        same(lowered, data[a:b:c])


@pytest.mark.parametrize("known", [True, False])
def test_a_slice_with_symbolic_bounds(known):
    data = np.arange(4.0)
    x, i, j = symbol("x", shape=(4 if known else None,)), symbol("i", "int64"), symbol("j", "int64")
    for step in (-2, -1, 1, 3):
        part = x[i:j:step]
        lowered = expanded(part)
        for a, b in itertools.product([-(2**63), *range(-6, 7), 2**63 - 1], repeat=2):
            same(value(part, x=data, i=a, j=b), data[a:b:step])
            same(value(lowered, x=data, i=a, j=b), data[a:b:step])


def test_the_lengths_that_are_known():
    x = matrix(shape=(4, None))
    assert x[1:, ::-1].type.shape == (3, None)
    assert x[-3:-1, :2].type.shape == (2, None)
    assert x[symbol("i", "int64") :].type.shape == (None, None)
    assert x[::-2, None, ..., 0].type.shape == (2, 1)


def test_nothing_is_computed_of_what_is_known():
    part = expanded(matrix(shape=(4, 5))[1:-1, ::-1])
    assert all(isinstance(operand, Constant) for operand in part.owner.inputs[1:])
    assert toposort(part.owner.inputs) == []


def test_bounds_that_no_int64_holds():
    data = np.arange(3.0)
    x = symbol("x", shape=(None,))
    same(value(x[-(10**30) : 10**30], x=data), data)
    with pytest.raises(IndexingError, match="out of range for every axis of x"):
        x[10**30]


# ------------------------------------------------------------------------------------------------- positions and None


STORED = [
    np.s_[0], np.s_[-1, -2], np.s_[1:, ::-1, 2], np.s_[...], np.s_[..., 0], np.s_[1, ..., -1], np.s_[:0], np.s_[2:1, 0],
    np.s_[np.int8(1), np.array(0)], np.s_[:, :, 1:4:2], np.s_[[1, 0, 1]], np.s_[[[0], [-1]], 1:],
    np.s_[[0, 1], [2, -1]], np.s_[:, [0, 2, 2]], np.s_[0, [1, 2]], np.s_[[1, 0], :, [3, 1]], np.s_[0, :, [3, 1, 1]],
    np.s_[1:, [0, 1], ::-1], np.s_[np.array([1, 0], "uint8"), np.array([[2], [0]], "int16")], np.s_[[]],
    np.s_[..., [1]], np.s_[np.zeros((0, 2), int)], np.s_[-1, [0], 3], np.s_[()],
]  # fmt: skip
CASES = [
    *STORED, np.s_[None], np.s_[None, ..., None], np.s_[:, None, 1], np.s_[:, None, [2, 0], None, 1],
    np.s_[[[0, 1], [1, 1]], :, None, [0, 3]], np.s_[[0, 1], None, :, [0, 1]],
]  # fmt: skip


@pytest.mark.parametrize("index", CASES, ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 4), (None, None, None)], ids=["known", "unknown"])
def test_indexing_is_numpys(index, shape):
    data = np.arange(24.0).reshape(2, 3, 4)
    part = symbol("x", shape=shape)[index]
    same(value(part, x=data), data[index])
    same(value(expanded(part), x=data), data[index])
    assert all(n in (None, m) for n, m in zip(part.type.shape, data[index].shape, strict=True))


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64"])
def test_symbolic_positions_of_any_integer_dtype(dtype):
    data = np.arange(12.0).reshape(3, 4)
    x, i = matrix(), symbol("i", dtype)
    for k in range(0 if dtype[0] == "u" else -3, 3):
        same(value(x[i], x=data, i=k), data[k])
        same(value(expanded(x[i, ::-1]), x=data, i=k), data[k, ::-1])
        same(value(x[i : i + 2, 0], x=data, i=k), data[k : k + 2, 0])


def test_symbolic_index_arrays():
    data = np.arange(12.0).reshape(3, 4)
    x, i, j = matrix(), symbol("i", "int64", (None,)), symbol("j", "int32", (None, None))
    rows, columns = [2, 0, -1], [[1], [-4]]
    same(value(x[i], x=data, i=rows), data[rows])
    same(value(x[j], x=data, j=columns[:1]), data[columns[:1]])
    same(value(x[arange(i.shape[0]), i], x=data, i=rows), data[range(3), rows])
    same(value(x[[symbol("a", "int64"), 0]], x=data, a=-1), data[[-1, 0]])


def test_lengths_are_taken_from_the_array_itself():
    x = matrix()
    assert str(x.shape[1]) == str(x.shape[-1]) == "x.shape[1]"
    same(value(x.shape[-1:], x=np.zeros((2, 5))), [5])
    assert matrix(shape=(2, None)).shape[0].data == 2
    same(value(x.shape[symbol("i", "int64")], x=np.zeros((2, 5)), i=1), 5)


def test_it_is_written_as_it_was_typed():
    x, i = symbol("x", shape=(None,) * 3), symbol("i", "int64")
    assert str(x[1:, ::-1, i]) == "x[1:, ::-1, i]"
    assert str(x[:, -1]) == "x[:, -1]"
    assert str(x[i:]) == "x[i:]"
    assert str(x[:]) == "x[:]"
    assert str(symbol("s")[...]) == "s[...]"
    assert str(x[:, [0, 2]]) == "x[:, [0, 2]]"
    assert str(set_subtensor(x[0], 1)) == "set_subtensor(x[0], 1)"
    assert str(inc_subtensor(x[[1, 1]], 1)) == "inc_subtensor(x[[1, 1]], 1)"


@pytest.mark.parametrize(
    "index, error, text",
    [
        (np.s_[1, 2, 3], IndexingError, "x has rank 2, but is indexed with 3 indices"),
        (np.s_[..., 0, ...], IndexingError, r"more than one '\.\.\.'"),
        (np.s_[2], IndexingError, r"index 2 is out of range for axis 0 of x \(2, 3\)"),
        (np.s_[:, -4], IndexingError, r"index -4 is out of range for axis 1 of x \(2, 3\)"),
        (np.s_[:, [0, 3]], IndexingError, r"index 3 in \[0, 3\] is out of range for axis 1 of x"),
        (np.s_[[0, 1], [0, 1, 2]], ShapeError, r"x \(2, 3\) is indexed by arrays of shapes \(2,\) and \(3,\)"),
        (np.s_[0.5], DtypeError, "x is indexed with integers, not with float64 0.5"),
        (np.s_[[0.0]], DtypeError, "x is indexed with integers, not with float64"),
        (np.s_["a"], DtypeError, "not with str"),
        (np.s_[{}], DtypeError, "not with dict"),
        (np.s_[True], DtypeError, r"write T\.switch\(mask, x, 0\)"),
        (np.s_[np.ones((2, 3), bool)], DtypeError, "multiply by the mask"),
        (np.s_[::0], IndexingError, "the step of a slice of x is 0"),
        (np.s_[1.5:], DtypeError, "x is indexed with integers"),
        (np.s_[[1, 2] :], IndexingError, "must begin and end at scalars"),
    ],
)  # fmt: skip
def test_an_index_that_x_does_not_have(index, error, text):
    with pytest.raises(error, match=text) as caught:
        matrix(shape=(2, 3))[index]
    assert "test_indexing.py" in str(caught.value)


def test_symbols_where_numbers_are_needed():
    x, i = matrix(), symbol("i", "int64")
    with pytest.raises(IndexingError, match="the step of a slice of x must be a number, not a symbol"):
        x[::i]
    with pytest.raises(DtypeError, match="x is indexed with integers, not with float64 v"):
        x[symbol("v")]
    with pytest.raises(DtypeError, match="cannot be indexed with a mask"):
        x[x > 0]
    with pytest.raises(IndexingError, match=r"scalars, not at k \(\?,\)"):
        x[symbol("k", "int64", (None,)) :]


def test_what_turns_out_at_the_call():
    x, i, j = matrix(), symbol("i", "int64"), symbol("j", "int64", (None,))
    with pytest.raises(IndexError, match=r"i is -3, which is out of range for axis 0 of x \(2, 3\)"):
        value(x[i], x=np.zeros((2, 3)), i=-3)
    with pytest.raises(IndexError, match=r"index 1 is out of range for axis 1 of x \(2, 1\)"):
        value(x[:, 1], x=np.zeros((2, 1)))
    with pytest.raises(IndexError, match=r"index 3 in j is out of range for axis 1 of x \(2, 3\)"):
        value(x[:, j], x=np.zeros((2, 3)), j=[0, 3])
    with pytest.raises(ShapeError, match=r"indexed by arrays of shapes \(2,\) and \(3,\)"):
        value(x[j, symbol("k", "int64", (None,))], x=np.zeros((4, 4)), j=[0, 1], k=[0, 1, 2])
    for stored in (set_subtensor(x[i], 0), inc_subtensor(x[j], 0)):
        with pytest.raises(IndexError, match="out of range for axis 0 of x"):
            value(stored, x=np.zeros((2, 3)), i=2, j=[2])


# --------------------------------------------------------------------------------------------------------------- take


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_take_is_numpys(axis):
    data, indices = np.arange(6.0).reshape(2, 3), np.array([[0, -1], [1, 1]])
    x, i = matrix(), symbol("i", "int64", (None, None))
    same(value(take(x, i, axis), x=data, i=indices), data.take(indices, axis))
    same(value(x.take(i, axis=axis), x=data, i=indices), data.take(indices, axis))
    for mode in ("wrap", "clip"):
        far = indices * 7
        same(value(take(x, i, axis, mode=mode), x=data, i=far), data.take(far, axis, mode=mode))


def test_take_refuses():
    with pytest.raises(ValueError, match="mode is 'raise', 'wrap' or 'clip'"):
        take(matrix(), [0], mode="wrong")
    with pytest.raises(np.exceptions.AxisError):
        take(matrix(), [0], axis=2)
    with pytest.raises(DtypeError, match="integers"):
        take(matrix(), [0.5])


# -------------------------------------------------------------------------------------------------------------- store


@pytest.mark.parametrize("index", STORED, ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 4), (None, None, None)], ids=["known", "unknown"])
def test_storing_is_numpys(index, shape):
    rng = np.random.default_rng(0)
    data = rng.normal(size=(2, 3, 4))
    x = symbol("x", shape=shape)
    for y in (rng.normal(size=data[index].shape), 2.5, 1):
        placed, added = data.copy(), data.copy()
        placed[index] = y
        np.add.at(added, index, y)
        for lowered in (lambda expression: expression, expanded):
            same(value(lowered(set_subtensor(x[index], y)), x=data), placed)
            np.testing.assert_allclose(value(lowered(inc_subtensor(x[index], y)), x=data), added, rtol=1e-15)
            same(value(lowered(inc_subtensor(x[index], y, set_instead_of_inc=True)), x=data), placed)


def test_storing_at_symbols():
    data = np.arange(12.0).reshape(3, 4)
    x, i, y = matrix(), symbol("i", "int64"), symbol("y", shape=(None,))
    expected = data.copy()
    expected[1:-1, ::2] += [10, 20]
    same(value(inc_subtensor(x[i:-1, ::2], y), x=data, i=1, y=[10, 20]), expected)
    same(value(expanded(x[i:-1, ::2].inc(y)), x=data, i=1, y=[10, 20]), expected)
    assert set_subtensor(matrix(shape=(2, None))[0], 0).type.shape == (2, None)


def test_what_is_stored_takes_the_dtype_of_the_array():
    n, x = symbol("n", "int8", (3,)), symbol("x", "float32", (3,))
    assert set_subtensor(n[0], 7).dtype == "int8"
    assert inc_subtensor(n[0], symbol("i", "int64")).dtype == "int8"
    assert inc_subtensor(x[[0]], 0.1).dtype == "float32"
    assert set_subtensor(symbol("b", "bool", (3,))[1:], True).dtype == "bool"
    with pytest.raises(DtypeError, match=r"0.5 is float64, and n is int8: convert it with .astype\('int8'\)"):
        set_subtensor(n[0], 0.5)
    with pytest.raises(DtypeError, match="2 is int64, and b is bool"):
        set_subtensor(symbol("b", "bool", (3,))[0], 2)
    with pytest.raises(DtypeError, match="b is bool, and there is no adding to that"):
        inc_subtensor(symbol("b", "bool", (3,))[0], True)


def test_storing_refuses():
    x, y = matrix(shape=(2, 3)), symbol("y", shape=(2,))
    for expression in (x, x + 1, x[None], np.zeros(3)):
        with pytest.raises(TypeError, match="set_subtensor takes a part of an array"):
            set_subtensor(expression, 0)
    with pytest.raises(ShapeError, match=r"y \(2,\) does not fit in a part of x \(2, 3\) that has shape \(3,\)"):
        set_subtensor(x[0], y)
    with pytest.raises(ShapeError, match=r"y \(2,\) does not fit in a part of x \(2, 3\) that has shape \(2, 3\)"):
        inc_subtensor(x[[0, 1]], y)
    with pytest.raises(ShapeError, match="does not fit"):
        set_subtensor(x[0, 0], y)
    unknown, row = matrix(), symbol("row", shape=(None,))
    for stored in (set_subtensor(unknown[0], row), inc_subtensor(unknown[[0, 1]], row)):
        with pytest.raises(ShapeError, match=r"row \(2,\) does not fit in a part of x \(2, 3\)"):
            value(stored, x=np.zeros((2, 3)), row=[1, 2])


# ----------------------------------------------------------------------------------------------------------- gradients


def test_gradients_of_duplicates():
    """What is taken twice counts twice; what is overwritten does not count."""
    x, y = symbol("x", shape=(None,)), symbol("y", shape=(None,))
    i = np.array([1, 0, 1, -1])
    weights = np.array([1.0, 10.0, 100.0, 1000.0])
    gx = grad((x[i] * weights).sum(), x)
    same(value(gx, x=np.zeros(4)), [10, 101, 0, 1000])

    scale = np.array([1.0, 2.0, 3.0, 4.0])
    gx, gy = grad((set_subtensor(x[i], y) * scale).sum(), [x, y])
    same(value(gx, x=np.zeros(4), y=np.zeros(4)), [0, 0, 3, 0])
    same(value(gy, x=np.zeros(4), y=np.zeros(4)), [0, 1, 2, 4])
    gx, gy = grad((inc_subtensor(x[i], y) * scale).sum(), [x, y])
    same(value(gx, x=np.zeros(4), y=np.zeros(4)), scale)
    same(value(gy, x=np.zeros(4), y=np.zeros(4)), [2, 1, 2, 4])


@pytest.mark.parametrize("index", STORED, ids=str)
def test_gradients_pick_and_place(index):
    """The gradient of a linear function, worked out by numpy from ones that mark where each element went."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(2, 3, 4))
    x = symbol("x", shape=(None,) * 3)
    weights = rng.normal(size=data[index].shape)
    expected = np.zeros_like(data)
    np.add.at(expected, index, weights)
    np.testing.assert_allclose(value(grad((x[index] * weights).sum(), x), x=data), expected, rtol=1e-14)

    scale = rng.normal(size=data.shape)
    y = symbol("y", shape=(None,) * data[index].ndim)
    gx, gy = grad((set_subtensor(x[index], y) * scale).sum(), [x, y])
    numbers = np.arange(data[index].size).reshape(data[index].shape)
    came_from = np.full(data.shape, -1)
    came_from[index] = numbers
    given = {"x": data, "y": data[index]}
    same(value(gx, **given), np.where(came_from < 0, scale, 0))
    same(value(gy, **given), np.isin(numbers, came_from) * scale[index])


def test_no_gradient_reaches_an_index():
    x, i = matrix(), symbol("i", "int64", (None,))
    node = x[i].owner
    assert isinstance(node.op, Take)
    assert node.op.gradient(*node.inputs, node.output, node.output)[1] is None
