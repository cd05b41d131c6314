"""Axes, shapes and joins against numpy; which lengths are known; what is refused as it is written, or at the call."""

import numpy as np
import pytest

import symgraph.tensor as T
from symgraph import function, grad, shared
from symgraph.errors import DtypeError, ShapeError
from symgraph.interpreter import evaluate
from symgraph.testing import check_grad, compare, variables_for

RNG = np.random.default_rng(0)
CUBE = RNG.normal(size=(2, 3, 4))


def value(f, *arrays, known=False):
    inputs = variables_for(arrays, known)
    return evaluate([f(*inputs)], dict(zip(inputs, map(np.asarray, arrays))))[0]


def same(f, numpy, *arrays):
    """With lengths open and known, `f` is numpy's function, and so is its type where the lengths are known."""
    expected = numpy(*arrays)
    for known in False, True:
        np.testing.assert_array_equal(value(f, *arrays, known=known), expected, strict=True)
    assert f(*variables_for(arrays, known=True)).type.shape == np.shape(expected)


# Axes.

PAIRS = {
    "T": (lambda x: x.T, np.transpose),
    "transpose": (lambda x: x.transpose(2, 0, 1), lambda x: x.transpose(2, 0, 1)),
    "transpose sequence": (lambda x: T.transpose(x, (0, -1, 1)), lambda x: x.transpose(0, 2, 1)),
    "transpose None": (lambda x: T.transpose(x, None), np.transpose),
    "swapaxes": (lambda x: x.swapaxes(0, -1), lambda x: x.swapaxes(0, -1)),
    "moveaxis": (lambda x: T.moveaxis(x, 0, -1), lambda x: np.moveaxis(x, 0, -1)),
    "moveaxis several": (lambda x: T.moveaxis(x, (0, 1), (2, 0)), lambda x: np.moveaxis(x, (0, 1), (2, 0))),
    "expand_dims": (lambda x: T.expand_dims(x, (0, -1)), lambda x: np.expand_dims(x, (0, -1))),
    "dimshuffle": (lambda x: x.dimshuffle("x", 2, 0, "x", 1), lambda x: x.transpose(2, 0, 1)[None, :, :, None]),
    "dimshuffle list": (lambda x: x.dimshuffle([2, 0, 1]), lambda x: x.transpose(2, 0, 1)),
    "padleft": (lambda x: T.shape_padleft(x, 2), lambda x: x[None, None]),
    "padright": (lambda x: T.shape_padright(x), lambda x: x[..., None]),
    "padaxis": (lambda x: T.shape_padaxis(x, 1), lambda x: x[:, None]),
}


@pytest.mark.parametrize("name", PAIRS)
def test_axes_are_numpys(name):
    same(*PAIRS[name], CUBE)
    check_grad(PAIRS[name][0], [CUBE])


def test_squeeze_drops_what_is_known_to_be_1_and_checks_what_it_is_told():
    x = np.ones((1, 3, 1))
    assert T.tensor("float64", (1, None, 1)).squeeze().type.shape == (None,)
    same(lambda x: x.squeeze(axis=(0, 2)), lambda x: x.squeeze(axis=(0, 2)), x)
    compare(lambda x: x.squeeze(axis=-1), [x], lambda x: x.squeeze(axis=-1))
    with pytest.raises(ShapeError, match="length 3"):
        value(lambda x: x.squeeze(axis=1), x)
    with pytest.raises(ShapeError, match="length 3"):
        T.tensor("float64", (1, 3, 1)).squeeze(axis=1)


@pytest.mark.parametrize("order", [(0, 0, 1), (0, 3), (0, "y", 1), (-4, 0, 1)])
def test_an_order_of_axes_that_are_not_there_is_refused(order):
    with pytest.raises(ValueError):
        T.tensor3().dimshuffle(*order)


# Lengths.


def test_the_shape_is_a_vector_and_each_length_a_scalar():
    x = T.tensor("float64", (None, 3), "x")
    assert (x.shape.type.shape, x.shape.dtype, x.ndim, T.ndim(x)) == ((2,), "int64", 2, 2)
    assert T.constant(3).data == x.shape[1].data == x.shape[-1].data
    point = {x: np.zeros((5, 3))}
    rows, columns = x.shape
    results = evaluate([x.shape, x.shape[0], rows * columns, x.size, x.shape[::-1], x.shape[1:], x.shape.sum()], point)
    for actual, expected in zip(results, [[5, 3], 5, 15, 15, [3, 5], [3], 8]):
        np.testing.assert_array_equal(actual, expected)
    with pytest.raises(IndexError):
        x.shape[2]
    compare(lambda x: x.shape, [CUBE], np.shape)
    compare(lambda x: x * x.size, [CUBE], lambda x: x * 24)


def test_a_known_shape_is_a_constant():
    x = T.tensor("float64", (2, 3))
    assert [n.data for n in x.shape] == [2, 3]
    assert x.size.data == 6
    assert T.zeros(x.shape).type.shape == (2, 3)


def test_specify_shape():
    x = T.matrix("x")
    y = T.specify_shape(x, (None, 3))
    assert y.type.shape == (None, 3)
    assert T.specify_shape(y, (None, 3)) is y
    n = T.lscalar("n")
    z = x.specify_shape((n, 3))
    np.testing.assert_array_equal(evaluate([z], {x: np.ones((2, 3)), n: np.int64(2)})[0], np.ones((2, 3)))
    for wrong in {x: np.ones((2, 4)), n: np.int64(2)}, {x: np.ones((2, 3)), n: np.int64(1)}:
        with pytest.raises(ShapeError, match="specif"):
            evaluate([z], wrong)
    with pytest.raises(ShapeError):
        y.specify_shape((None, 4))
    with pytest.raises(ShapeError, match="rank"):
        x.specify_shape((3,))
    check_grad(lambda x: x.specify_shape((None, 3)), [np.ones((2, 3))])


def test_theanos_broadcastable_flags():
    x = T.matrix("x")
    assert T.addbroadcast(x, -1).broadcastable == (False, True)
    assert T.patternbroadcast(x, (True, False)).broadcastable == (True, False)
    assert T.unbroadcast(x, 0) is x
    with pytest.raises(ShapeError):
        evaluate([T.addbroadcast(x, 0)], {x: np.ones((2, 3))})


# Reshape.


@pytest.mark.parametrize("shape", [(6, 4), (24,), (2, 3, 4), (4, 1, 6), (-1,), (4, -1), (2, -1, 2), (1, 24, 1, 1)])
def test_reshape(shape):
    same(lambda x: x.reshape(shape), lambda x: x.reshape(shape), CUBE)
    same(lambda x: x.reshape(*shape), lambda x: x.reshape(shape), CUBE)
    same(lambda x: T.reshape(x, list(shape), ndim=len(shape)), lambda x: x.reshape(shape), CUBE)
    same(lambda x: T.reshape(x, shape, len(shape)), lambda x: x.reshape(shape), CUBE)
    same(lambda x: T.reshape(x, np.array(shape)), lambda x: x.reshape(shape), CUBE)
    check_grad(lambda x: x.reshape(shape), [CUBE])


def test_reshape_to_symbolic_lengths():
    x, y, n, v = T.tensor3("x"), T.matrix("y"), T.iscalar("n"), T.lvector("v")
    point = {x: CUBE, y: np.zeros((4, 6)), n: np.int32(3), v: np.array([3, 8])}
    for reshaped, shape in [
        (x.reshape(y.shape), (4, 6)),
        (x.reshape((n, -1)), (3, 8)),
        (x.reshape((x.shape[0], -1)), (2, 12)),
        (x.reshape((-1, x.shape[2], x.shape[0])), (3, 4, 2)),
        (x.reshape((x.shape[0] * x.shape[1], x.shape[2])), (6, 4)),
        (x.reshape(v, ndim=2), (3, 8)),
        (x.reshape(T.stack([n, n + 5])), (3, 8)),
        (x.reshape(T.concatenate([x.shape[:1], [12]])), (2, 12)),
    ]:
        np.testing.assert_array_equal(evaluate([reshaped], point)[0], CUBE.reshape(shape), strict=True)


def test_lengths_that_are_known_stay_known():
    x = T.tensor("float64", (None, 28, 28))
    assert x.reshape((x.shape[0], -1)).type.shape == (None, 784)
    assert x.reshape((-1, 28 * 28)).type.shape == (None, 784)
    assert x.flatten(2).type.shape == (None, 784)
    assert x.reshape((x.shape[0], x.shape[1] * x.shape[2])).type.shape == (None, 784)
    assert x.reshape(T.concatenate([x.shape[:1], [784]])).type.shape == (None, 784)
    assert T.tile(T.tensor("float64", (2, None)), (3, 2)).type.shape == (6, None)
    assert x.reshape((x.shape[0], 28, 28)) is x


@pytest.mark.parametrize("shape", [(5, 5), (-1, 5), (-1, -1), (-2, 12), (25,), (0, -1), ()])
def test_a_reshape_that_cannot_be_is_refused_where_it_is_written(shape):
    with pytest.raises(ShapeError):
        T.tensor("float64", (2, 3, 4)).reshape(shape)


def test_a_reshape_that_cannot_be_is_refused_at_the_call():
    x, n = T.matrix("x"), T.lscalar("n")
    for reshaped in x.reshape((5, 5)), x.reshape((5, -1)), x.reshape((n, -6)[:1]):
        with pytest.raises(ShapeError, match="x"):
            evaluate([reshaped], {x: np.zeros((4, 6)), n: np.int64(-24)})
    with pytest.raises(ShapeError, match="ndim"):
        x.reshape(T.lvector("v"))
    with pytest.raises(DtypeError, match="length"):
        x.reshape((2.0, 12))
    with pytest.raises(DtypeError, match="length"):
        x.reshape((T.dscalar("d"), 12))


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_flatten(ndim):
    same(lambda x: x.flatten(ndim), lambda x: x.reshape(*x.shape[: ndim - 1], -1), CUBE)
    same(T.ravel, np.ravel, CUBE)
    same(T.flatten, np.ravel, np.array(2.0))
    with pytest.raises(ShapeError):
        T.matrix().flatten(3)


# Broadcasting to a shape.


@pytest.mark.parametrize("shape", [(3,), (2, 1), (2, 3), (1, 1), ()])
def test_broadcast_to(shape):
    x = RNG.normal(size=shape)
    compare(lambda x: x.broadcast_to((4, 2, 3)), [x], lambda x: np.broadcast_to(x, (4, 2, 3)))
    check_grad(lambda x: x.broadcast_to((4, 2, 3)), [x])
    y, n = T.matrix("y"), T.lscalar("n")
    stretched = T.constant(x).broadcast_to((n, y.shape[0], 3))
    actual = evaluate([stretched], {y: np.zeros((2, 5)), n: np.int64(4)})[0]
    np.testing.assert_array_equal(actual, np.broadcast_to(x, (4, 2, 3)))


def test_a_broadcast_that_cannot_be_is_refused():
    with pytest.raises(ShapeError, match="broadcast"):
        T.tensor("float64", (2, 3)).broadcast_to((3, 3))
    with pytest.raises(ShapeError, match="broadcast"):
        T.matrix().broadcast_to((3,))
    with pytest.raises(ShapeError):
        value(lambda x: x.broadcast_to((3, 3)), np.ones((2, 3)))
    with pytest.raises(ShapeError, match="negative"):
        T.zeros((-1, 2))
    n = T.lscalar("n")
    with pytest.raises(ShapeError, match="negative"):
        evaluate([T.zeros((n, 2))], {n: np.int64(-1)})


# Joining, splitting, repeating.


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concatenate(axis):
    x, y = CUBE, np.concatenate([CUBE, CUBE[:1] + 1], 0) if axis == 0 else np.concatenate([CUBE, CUBE], axis)
    same(lambda x, y: T.concatenate([x, y], axis), lambda x, y: np.concatenate([x, y], axis), x, y)
    same(lambda x, y: T.join(axis, x, y, x), lambda x, y: np.concatenate([x, y, x], axis), x, y)
    check_grad(lambda x, y: T.concatenate([x, y * y], axis), [x, y])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_stack(axis):
    same(lambda x, y: T.stack([x, y], axis=axis), lambda x, y: np.stack([x, y], axis), CUBE[0], CUBE[1])
    same(lambda x, y: T.stack([x, y], axis), lambda x, y: np.stack([x, y], axis), CUBE[0], CUBE[1])
    check_grad(lambda x, y: T.stack([x, y * y], axis), [CUBE[0], CUBE[1]])


def test_stack_of_scalars_and_lists_of_variables():
    x = T.dscalar("x")
    np.testing.assert_array_equal(evaluate([T.stack([x, 2, x * x])], {x: np.array(3.0)})[0], [3.0, 2, 9])
    np.testing.assert_array_equal(evaluate([T.stack(x, x)], {x: np.array(3.0)})[0], [3.0, 3])
    np.testing.assert_array_equal(evaluate([T.as_tensor_variable([x, 1.0])], {x: np.array(3.0)})[0], [3.0, 1])


def test_joined_dtypes_are_numpys():
    assert T.concatenate([T.ivector(), T.fvector()]).dtype == "float64"
    assert T.concatenate([T.bvector(), T.wvector()]).dtype == "int16"
    assert T.stack([T.fscalar(), 0.5, 1]).dtype == "float32"


def test_joins_that_cannot_be_are_refused():
    for wrong in (
        lambda: T.concatenate([T.matrix(), T.vector()]),
        lambda: T.concatenate([T.tensor("float64", (2, 3)), T.tensor("float64", (2, 4))]),
        lambda: T.concatenate([T.scalar(), T.scalar()]),
        lambda: T.concatenate([]),
        lambda: T.concatenate([T.vector()], axis=1),
        lambda: T.stack([T.tensor("float64", (2,)), T.tensor("float64", (3,))]),
        lambda: value(lambda x, y: T.concatenate([x, y]), np.ones((2, 3)), np.ones((2, 4))),
    ):
        with pytest.raises(ValueError):
            wrong()


@pytest.mark.parametrize("known", [False, True])
def test_split(known):
    x = np.arange(24.0).reshape(6, 4)
    for parts, axis in (3, 0), (2, 1), ([2, 3], 0), ([1, 1], 1), ([-2], 0):
        (variable,) = variables_for([x], known)
        actual = evaluate(T.split(variable, parts, axis=axis), {variable: x})
        for one, other in zip(actual, np.split(x, parts, axis), strict=True):
            np.testing.assert_array_equal(one, other, strict=True)
    sizes = T.lvector("sizes")
    for given in [1, 2, 3], sizes:
        (variable,) = variables_for([x], known)
        actual = evaluate(T.split(variable, given, 3), {variable: x, sizes: np.array([1, 2, 3])})
        for one, other in zip(actual, np.split(x, [1, 3]), strict=True):
            np.testing.assert_array_equal(one, other, strict=True)
    check_grad(lambda x: sum((part.sum() * k for k, part in enumerate(T.split(x, 3))), 0.0), [x], known=known)


def test_a_length_that_does_not_split_is_refused():
    with pytest.raises(ShapeError):
        T.split(T.tensor("float64", (5,)), 2)
    with pytest.raises(ShapeError):
        value(lambda x: T.split(x, 2)[0], np.ones(5))
    with pytest.raises(ShapeError, match="2"):
        T.split(T.vector(), [1, 2, 3], 2)


@pytest.mark.parametrize("sizes, error, message", [
    ([2, 2], ShapeError, r"v \(5,\) does not split into parts of sizes \[2, 2\] along axis 0: they add up to 4, not 5"),
    (np.array([2, 4]), ShapeError, "they add up to 6, not 5"),
    (T.constant([2, 4]), ShapeError, "they add up to 6, not 5"),
    ([2, T.constant(1)], ShapeError, "they add up to 3, not 5"),
    ([6, -1], ShapeError, "a size cannot be negative"),
    ([2.0, 3.0], DtypeError, "the sizes of parts are integers, not 2.0"),
])  # fmt: skip
def test_sizes_of_parts_add_up_to_the_length(sizes, error, message):
    with pytest.raises(error, match=message):
        T.split(T.tensor("float64", (5,), "v"), sizes, 2)


@pytest.mark.parametrize("mode", ["c", "numpy"])
def test_sizes_of_parts_are_checked_at_the_call(mode):
    v, sizes = T.dvector("v"), T.lvector("sizes")
    by_symbols = function([v, sizes], T.split(v, sizes, 2), mode=mode)
    by_numbers = function([v], T.split(v, [2, 3], 2), mode=mode)
    thirds = function([v], T.split(v, 3), mode=mode)
    x = np.arange(5.0)
    for parts in by_symbols(x, [2, 3]), by_numbers(x):
        for one, other in zip(parts, np.split(x, [2]), strict=True):
            np.testing.assert_array_equal(one, other, strict=True)
    for wrong in [2, 2], [2, 4], [2, 3, 0]:
        with pytest.raises(ShapeError):
            by_symbols(x, wrong)
    with pytest.raises(ShapeError, match="v"):
        by_numbers(x[:4])
    with pytest.raises(ShapeError, match=r"v \(5,\) does not split along axis 0: 5 is not divisible into 3"):
        thirds(x)


@pytest.mark.parametrize("reps", [2, (2,), (2, 3), (2, 1, 3, 2), (0, 1), 1])
@pytest.mark.parametrize("shape", [(2, 3), (3,), ()])
def test_tile(reps, shape):
    x = RNG.normal(size=shape)
    same(lambda x: T.tile(x, reps), lambda x: np.tile(x, reps), x)
    check_grad(lambda x: T.tile(x, reps), [x])


def test_tile_by_a_symbol():
    x, n = T.dmatrix("x"), T.lscalar("n")
    tiled = T.tile(x, (n, 1))
    np.testing.assert_array_equal(evaluate([tiled], {x: CUBE[0], n: np.int64(3)})[0], np.tile(CUBE[0], (3, 1)))
    assert T.tile(x, (2,), ndim=3).ndim == 3


@pytest.mark.parametrize("repeats, axis", [(2, None), (3, 0), (2, -1), ([1, 0, 2], 1), (np.array([2, 1]), 0), (0, 1)])
def test_repeat(repeats, axis):
    same(lambda x: T.repeat(x, repeats, axis), lambda x: np.repeat(x, repeats, axis), CUBE)
    check_grad(lambda x: T.repeat(x, repeats, axis), [CUBE])


def test_repeat_by_a_symbol():
    x, n = T.vector("x"), T.lscalar("n")
    np.testing.assert_array_equal(evaluate([x.repeat(n)], {x: CUBE[0, 0], n: np.int64(2)})[0], np.repeat(CUBE[0, 0], 2))
    with pytest.raises(TypeError):
        x.repeat(T.lvector())
    np.testing.assert_array_equal(evaluate([x.repeat([])], {x: np.zeros(0)})[0], np.zeros(0), strict=True)
    with pytest.raises(DtypeError):
        x.repeat([0.5, 1])
    with pytest.raises(ShapeError):
        T.tensor("float64", (3,)).repeat([1, 2])


def test_a_shape_may_hang_on_a_shared_variable():
    w = shared(np.ones((3, 4)))
    assert evaluate([T.zeros(w.shape).sum() + w.shape[0]], {})[0] == 3
    assert evaluate([grad((T.ones((w.shape[1], w.shape[0])).T * w).sum(), w)], {})[0].shape == (3, 4)
