"""Every mistake gets one error of the right type, in the user's names and with the user's line; nothing has changed
then.
"""

import math
import re

import numpy as np
import pytest
from numpy.exceptions import AxisError

import symgraph as sg
import symgraph.tensor as T
from symgraph import DtypeError, GradientError, MissingInputError, ShapeError

x, y, z = T.dmatrix("x"), T.dvector("y"), T.dscalar("z")
i, n = T.lvector("i"), T.lscalar("n")
a3, a4 = (T.TensorType("float64", (k,))(f"a{k}") for k in (3, 4))
m23, m45 = T.TensorType("float64", (2, 3))("m23"), T.TensorType("float64", (4, 5))("m45")


@pytest.fixture(params=["c", "numpy"])
def mode(request):
    return request.param


# -- at the line typed


@pytest.mark.parametrize(
    "typed, error, text",
    [
        (lambda: a3 + a4, ShapeError, "cannot add a3 (3,) and a4 (4,): lengths 3 and 4 do not broadcast"),
        (lambda: T.maximum(a3, m45), ShapeError, "cannot maximum a3 (3,) and m45 (4, 5)"),
        (
            lambda: m23 @ m45,
            ShapeError,
            "cannot multiply m23 (2, 3) by m45 (4, 5): the last axis of m23 is 3, the first of m45 is 4",
        ),
        (lambda: m23 @ a4, ShapeError, "m23 (2, 3) by a4 (4,)"),
        (lambda: a3 @ a4, ShapeError, "a3 (3,) by a4 (4,)"),
        (lambda: z @ x, ShapeError, "a matrix product takes no scalar, but z () is one"),
        (lambda: m23.reshape((4, 2)), ShapeError, "cannot reshape m23 (2, 3) into (4, 2)"),
        (lambda: T.concatenate([x, y]), ShapeError, "cannot join x (?, ?) and y (?,): their ranks are 2 and 1"),
        (lambda: T.concatenate([m23, m45]), ShapeError, "cannot join m23 (2, 3) and m45 (4, 5) along axis 0"),
        (lambda: T.stack([a3, a4]), ShapeError, "cannot stack a3 (3,) and a4 (4,): their shapes differ"),
        (
            lambda: T.set_subtensor(m23[0], a4),
            ShapeError,
            "a4 (4,) does not fit in a part of m23 (2, 3) that has shape (3,)",
        ),
        (lambda: m23[2], IndexError, "index 2 is out of range for axis 0 of m23 (2, 3)"),
        (lambda: m23[0, -4], IndexError, "m23 (2, 3)"),
        (lambda: x[0, 0, 0], IndexError, "x has rank 2, but is indexed with 3 indices"),
        (lambda: x[1.5], TypeError, "x is indexed with integers, not with float64 1.5"),
        (lambda: x[z], TypeError, "x is indexed with integers, not with float64 z"),
        (lambda: T.nnet.categorical_crossentropy(x, y), TypeError, "the classes y (?,) are no integers"),
    ],
)
def test_refused_where_it_is_typed(typed, error, text):
    with pytest.raises(error) as caught:
        typed()
    message = str(caught.value)
    line = typed.__code__.co_firstlineno
    assert text in message
    assert re.search(rf"^  test_errors.py:{line}   .*lambda", message, re.M), message
    assert "made at" in message


@pytest.mark.parametrize(
    "typed, error, text",
    [
        (lambda: x.sum(axis=2), AxisError, "axis 2 is out of bounds for x (?, ?)\n  test_errors.py:"),
        (lambda: x.mean(axis=(0, -2)), ShapeError, "an axis of x (?, ?) is given twice: (0, -2)"),
        (lambda: x.reshape((-1, -1)), ShapeError, "cannot reshape x (?, ?): only one length can be -1"),
        (lambda: x.reshape((2.0, 3)), TypeError, "cannot reshape x (?, ?): a length is an integer or a symbol"),
        (lambda: np.array(y), TypeError, "y is a symbol and no array"),
        (lambda: np.ones(3).dot(y), TypeError, "y is a symbol and no array"),
        (lambda: x.dimshuffle(0, 2), AxisError, "axis 2 is out of bounds for x (?, ?)\n  test_errors.py:"),
        (lambda: T.concatenate([x, x], axis=2), AxisError, "axis 2 is out of bounds for x (?, ?)\n  test_errors.py:"),
        (lambda: T.stack([x, x], axis=3), AxisError, "axis 3 is out of bounds for x (?, ?) with 1 more"),
        (lambda: x.expand_dims((0, 5)), AxisError, "axis 5 is out of bounds for x (?, ?) with 2 more"),
        (lambda: x.swapaxes(0, -3), AxisError, "axis -3 is out of bounds for x (?, ?)"),
        (lambda: x.transpose(0, 0), ShapeError, "an axis of x (?, ?) is given twice: (0, 0)"),
        (lambda: T.split(y, 2, axis=1), AxisError, "axis 1 is out of bounds for y (?,)"),
        (lambda: T.nnet.softmax(z), AxisError, "axis -1 is out of bounds for z ()"),
        (lambda: T.logsumexp(y, axis=1), AxisError, "axis 1 is out of bounds for y (?,)"),
        (lambda: x & 1, TypeError, "bitwise_and is not defined for float64"),
        (lambda: y > 0 & y < 1, TypeError, "cannot bitwise_and 0 and y (?,): bitwise_and is not defined for int,"),
        (lambda: y > 0 & y < 1, TypeError, "put parentheses around comparisons, as in (x > 0) & (x < 1)"),
        (lambda: -T.eq(y, 1), TypeError, "cannot neg y == 1 (?,): negative is not defined for bool; cast truth values"),
        (lambda: T.eq(y, 1) - T.eq(y, 2), TypeError, "cast truth values first, as in .astype('int64')"),
        (lambda: y + "{a}", TypeError, "cannot add y (?,) and '{a}': a graph holds numbers"),
        (lambda: None - y, TypeError, "cannot sub None and y (?,): a graph holds numbers"),
        (lambda: T.tril(y), ValueError, "tril takes a matrix, or a stack of them, and y (?,) is none"),
        (lambda: T.triu(z), ValueError, "triu takes a matrix, or a stack of them, and z () is none"),
        (lambda: T.identity_like(y), ValueError, "identity_like takes a matrix, and y (?,) is none"),
        (lambda: T.vector("v", shape=(2.5,)), TypeError, "is an integer, or None where it is open, not 2.5"),
        (lambda: T.tensor("float64", ("a",)), TypeError, "is an integer, or None where it is open, not 'a'"),
        (lambda: x.astype("nothing"), TypeError, "'nothing' is no dtype"),
        (lambda: T.zeros(z), TypeError, "a length is an integer, but z is float64"),
        (lambda: T.exp(x, y), TypeError, "exp takes 1 argument, but was given 2"),
        (lambda: x + None, TypeError, "not None"),
        (lambda: x + "a", TypeError, "not str"),
        (lambda: x + np.array([None]), TypeError, "dtype object"),
        (lambda: T.constant([1, "a"]), TypeError, "not list"),
        (lambda: sg.shared(np.array([None])), TypeError, "dtype object"),
        (lambda: sg.shared(None), TypeError, "not None"),
        (lambda: T.TensorType("float16", (None,)), TypeError, "symgraph has no dtype 'float16'"),
        (lambda: T.TensorType("float64", (-1,)), ValueError, "a length cannot be negative: (-1,)"),
        (lambda: bool(x > 1), TypeError, "x > 1 is a symbol and has no truth value: write T.switch"),
        (lambda: 0 < z < 1, TypeError, "has no truth value"),
        (lambda: not x, TypeError, "or `is None`, if you ask whether it was given"),
        (lambda: not sg.shared(1.0, "s"), TypeError, "or `is None`, if you ask whether it was given"),
        (lambda: 1 in y, TypeError, "whether 1 is in y depends on its value: write T.any(T.eq(x, y))"),
        (lambda: math.exp(z), TypeError, "z is a symbol and no number: write T.exp(x), not math.exp(x)"),
        (lambda: int(z), TypeError, "z is a symbol and no number: write x.astype('int64'), not int(x)"),
        (lambda: range(n), TypeError, "n is a symbol and no integer: write T.arange(n), not range(n)"),
        (lambda: len(x), TypeError, "write x.shape[0]"),
        (lambda: list(x), TypeError, "x"),
        (lambda: x.__setitem__(0, 1), TypeError, "x is a symbol and cannot be changed: T.set_subtensor"),
        (lambda: T.set_subtensor(x, 1), TypeError, "set_subtensor takes a part of an array"),
        (lambda: sg.shared(1).set_value(z), TypeError, "was given the symbol z"),
        (lambda: sg.shared(np.ones(2), "W").set_value(1.0), ValueError, "W takes a vector, but was given a scalar"),
        (lambda: sg.shared(np.ones(2, "float32"), "W").set_value(np.ones(2)), TypeError, "W has dtype float32"),
        (lambda: sg.shared(1, "W").set_value(1.5), TypeError, "W has dtype int64"),
        (lambda: setattr(sg.config, "floatX", "float16"), TypeError, "floatX is 'float32' or 'float64'"),
    ],
)
def test_other_mistakes_while_typing(typed, error, text):
    with pytest.raises(error) as caught:
        typed()
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "typed, error, text",
    [
        (
            lambda: T.grad(y, y),
            GradientError,
            "the cost must be a scalar, but y has shape (?,): take its .sum() or .mean()",
        ),
        (lambda: T.grad(n, z), GradientError, "the cost must be a float, but n is int64"),
        (lambda: T.grad(z, n), GradientError, "n is int64: integers cannot change by a small amount"),
        (lambda: T.grad(z, z > 0), GradientError, "z > 0 is bool: truth values"),
        (lambda: T.grad(z, sg.shared(3, "W")), GradientError, "no gradient; it was made at test_errors.py:"),
        (lambda: T.grad(z * 2, [z], consider_constant=[z]), GradientError, f"z (made at {z.origin}) is in wrt and in"),
        (lambda: T.grad(z * 2, y), GradientError, f"z * 2 does not depend on y (made at {y.origin})"),
        (lambda: T.grad((y > 0).sum() * 1.0, y), GradientError, "only through integers or comparisons"),
        (lambda: T.grad(z, [z, y]), GradientError, "z does not depend on y"),
        (lambda: T.grad(3.0, z), TypeError, "the cost must be a symbolic variable, not float"),
        (lambda: T.grad(z, [z, None]), TypeError, "wrt takes symbolic variables, but was given NoneType"),
        (
            lambda: T.grad(z, z, disconnected_inputs="no"),
            ValueError,
            "disconnected_inputs is 'raise', 'warn' or 'ignore'",
        ),
        (
            lambda: T.grad(None, y, known_grads={y: z}),
            ShapeError,
            "the known gradient of y has rank 0, but y has rank 1",
        ),
    ],
)
def test_gradients_that_do_not_exist(typed, error, text):
    with pytest.raises(error) as caught:
        typed()
    assert text in str(caught.value)


# -- by `function`


W = sg.shared(np.ones((3, 2)), "W")
count = sg.shared(3, "count")


@pytest.mark.parametrize(
    "make, error, texts",
    [
        (
            lambda: sg.function([x], x + y),
            MissingInputError,
            [
                "function() needs y, which is neither an input nor given",
                f"y: made at {y.origin}, used in x + y (test_errors.py:",
                "for the output",
            ],
        ),
        (
            lambda: sg.function([T.dvector("y")], y),
            MissingInputError,
            [f"y: made at {y.origin}", "the input called y is another variable, made at test_errors.py:"],
        ),
        (
            lambda: sg.function([], None, updates=[(count, count + n)], name="f"),
            MissingInputError,
            ["f() needs n", "for the update of count"],
        ),
        (
            lambda: sg.function([], {"loss": (x * y).sum()}),
            MissingInputError,
            ["needs x and y, which are neither inputs nor given", "output loss"],
        ),
        (lambda: sg.function([x, z], x), ValueError, ["takes z, but no output or update depends on it"]),
        (lambda: sg.function([x, z, n], x), ValueError, ["takes z and n, but no output or update depends on them"]),
        (lambda: sg.function(x, x), TypeError, ["inputs is a list of variables, but was given x"]),
        (lambda: sg.function([x, 3], x), TypeError, ["input 2 is an int"]),
        (lambda: sg.function([T.constant(3)], x), TypeError, ["input 1 is the constant 3"]),
        (
            lambda: sg.function([x, y, x], x),
            ValueError,
            [f"x (made at {x.origin}) is an input twice, as number 1 and number 3"],
        ),
        (lambda: sg.function([W], W), TypeError, ["W (made at", "is shared", "W.set_value("]),
        (lambda: sg.function([x], "x"), TypeError, ["the output is a str"]),
        (lambda: sg.function([x], [x, None]), TypeError, ["output 2 is a NoneType"]),
        (lambda: sg.function([x], {"a": x, "b": "c"}), TypeError, ["output b is a str"]),
        (
            lambda: sg.function([x], x, updates=[(x, x)]),
            TypeError,
            ["only a shared variable can be updated, and x (made at", "is not shared"],
        ),
        (lambda: sg.function([x], x, updates={W + 1: x}), TypeError, ["W + 1", "is not shared"]),
        (
            lambda: sg.function([x], x, updates=[W]),
            TypeError,
            ["(shared variable, new value) pairs, or a dict, but holds W"],
        ),
        (
            lambda: sg.function([y], y, updates=[(W, y)]),
            ShapeError,
            ["the update of W has rank 1, but W has rank 2", "W: "],
        ),
        (
            lambda: sg.function([z], z, updates=[(count, count + z)]),
            DtypeError,
            ["the update of count (int64) has dtype float64", "astype('int64')", "updates=[(count, count + z)]"],
        ),
        (
            lambda: sg.function([z], z, updates=[(count, z > 0)], name=3),
            TypeError,
            ["the name of a function is a string"],
        ),
        (
            lambda: sg.function([x], x, updates=[(W, W), (W, W * 2)]),
            ValueError,
            ["W (made at", "is updated twice", "to W * 2 at test_errors.py:"],
        ),
        (
            lambda: sg.function([x], x, updates=[(W, np.ones(3))]),
            ShapeError,
            ["the update of W takes a matrix, but was given a vector of shape (3,)"],
        ),
        (lambda: sg.function([x], x, updates=[(count, np.nan)]), DtypeError, ["the update of count", "NaN"]),
        (lambda: sg.function([y], y, givens=[(y, x)]), ValueError, ["y (made at", "is an input and also given"]),
        (
            lambda: sg.function([x], y, givens=[(y, x)]),
            ShapeError,
            ["the replacement given for y has rank 2, but y has rank 1"],
        ),
        (
            lambda: sg.function([n], z, givens={z: n}),
            DtypeError,
            ["the replacement given for z is int64, but z is float64"],
        ),
        (lambda: sg.function([], z, givens=[(z, 1), (z, 2)]), ValueError, ["z (made at", "is given twice: 1"]),
        (lambda: sg.function([], z, givens={3: z}), TypeError, ["givens replaces variables, but was to replace 3"]),
        (
            lambda: sg.function([], a3, givens={a3: np.ones(4)}),
            ShapeError,
            ["the replacement given for a3 has shape (3,), but was given (4,)"],
        ),
        (lambda: sg.function([sg.In(z, update=z + 1)], z), ValueError, ["In(z, update=…) needs value=…"]),
        (
            lambda: sg.function([sg.In(z, value="a")], z),
            DtypeError,
            ["z takes numbers of dtype float64, but was given str"],
        ),
        (lambda: sg.function([sg.In(z, name=3)], z), TypeError, ["the name of an input is a string"]),
        (
            lambda: sg.function([x], x, on_unused_input="no"),
            ValueError,
            ["on_unused_input is 'raise', 'warn' or 'ignore'"],
        ),
    ],
)
def test_refused_by_function(make, error, texts):
    with pytest.raises(error) as caught:
        make()
    for text in texts:
        assert text in str(caught.value), str(caught.value)
    np.testing.assert_array_equal(W.get_value(), np.ones((3, 2)))
    assert count.get_value() == 3


# -- arguments


@pytest.mark.parametrize(
    "args, kwargs, text",
    [
        ((), {}, "f() takes x, y, z=…; x and y are missing"),
        ((1,), {}, "f() takes x, y, z=…; y is missing"),
        ((1, 2, 3, 4), {}, "f() takes x, y, z=…; 4 arguments were given"),
        ((1, 2), {"w": 3}, "f() takes x, y, z=…; there is no w"),
        ((1, 2), {"x": 3}, "x was given twice, by position and by name"),
        ((), {"y": 3}, "x is missing"),
    ],
)
def test_missing_extra_and_doubled_arguments(args, kwargs, text, mode):
    a, b, c = T.dscalars("x", "y", "z")
    s = sg.shared(0, "s")
    f = sg.function([a, b, sg.In(c, value=0)], a + b + c, updates=[(s, s + 1)], name="f", mode=mode)
    with pytest.raises(TypeError) as caught:
        f(*args, **kwargs)
    assert text in str(caught.value)
    assert s.get_value() == 0
    assert f(1, 2) == 3 and s.get_value() == 1


def test_no_arguments_at_all(mode):
    with pytest.raises(TypeError, match=r"f\(\) takes no arguments; 1 argument was given"):
        sg.function([], T.constant(1), name="f", mode=mode)(1)


# -- at the call: nothing is computed or updated


def state():
    return sg.shared(np.array([[1.0, 2], [3, 4], [5, 6]]), "W"), sg.shared(np.array([1.0, 2]), "b")


def lines(*variables):
    return [str(v.origin) for v in variables]


@pytest.mark.parametrize(
    "build, values, error, texts",
    [
        (
            lambda W, b: x @ W + b,
            [np.ones((2, 4))],
            ShapeError,
            ["cannot multiply x (2, 4) by W (3, 2): the last axis of x is 4, the first of W is 3"],
        ),
        (lambda W, b: x + b, [np.ones((2, 3))], ShapeError, ["cannot add x (2, 3) and b (2,): lengths 3 and 2"]),
        (
            lambda W, b: x * y + b.sum(),
            [np.ones((2, 3)), np.ones(4)],
            ShapeError,
            ["cannot mul x (2, 3) and y (4,): lengths 3 and 4"],
        ),
        (lambda W, b: T.switch(x > 0, y, 0.0), [np.ones((2, 3)), np.ones(4)], ShapeError, ["(2, 3)", "y (4,)"]),
        (lambda W, b: T.concatenate([x, W]), [np.ones((1, 3))], ShapeError, ["x (1, 3)", "W (3, 2)"]),
        (lambda W, b: x.reshape((4, 2)), [np.ones((3, 3))], ShapeError, ["x (3, 3)", "(4, 2)"]),
        (lambda W, b: y.reshape((n, 2)), [np.ones(6), 4], ShapeError, ["y (6,)"]),
        (lambda W, b: x[2], [np.ones((2, 3))], IndexError, ["index 2", "x (2, 3)"]),
        (lambda W, b: x[n], [np.ones((2, 3)), -3], IndexError, ["index -3", "x (2, 3)"]),
        (lambda W, b: x[:, n], [np.ones((2, 3)), 3], IndexError, ["index 3", "axis 1", "x (2, 3)"]),
        (lambda W, b: y[i], [np.ones(3), [0, 3, 1]], IndexError, ["index 3 in i is out of range for axis 0 of y (3,)"]),
        (lambda W, b: y[i], [np.ones(3), [0, -4]], IndexError, ["index -4 in i"]),
        (lambda W, b: W[i], [[0, 5]], IndexError, ["index 5 in i", "W (3, 2)"]),
        (lambda W, b: x[T.arange(x.shape[0]), i], [np.ones((2, 3)), [0, 3]], IndexError, ["3", "x (2, 3)"]),
        (lambda W, b: W[T.cast(y, "int64")], [[0.0, 2.9, 3.0]], IndexError, ["index 3 in int64(y)", "W (3, 2)"]),
        (lambda W, b: T.cast(W, "int64")[i].sum(), [[7]], IndexError, ["index 7 in i"]),
        (lambda W, b: T.set_subtensor(W[i], 0.0), [[0, 3]], IndexError, ["index 3 in i", "W (3, 2)"]),
        (lambda W, b: T.inc_subtensor(W[n], y), [[1.0, 2], 5], IndexError, ["index 5", "W (3, 2)"]),
        (lambda W, b: T.set_subtensor(W[:2], x), [np.ones((3, 2))], ShapeError, ["x (3, 2)", "W (3, 2)"]),
        (lambda W, b: x.max(axis=0), [np.ones((0, 3))], ValueError, ["x (0, 3)"]),
        (lambda W, b: x.argmax(), [np.ones((0, 3))], ValueError, ["x (0, 3)"]),
        (lambda W, b: T.batched_dot(x, x.T), [np.ones((2, 3))], ShapeError, ["x (2, 3)"]),
        (lambda W, b: T.zeros((n, 2)), [-1], ValueError, ["-1"]),
        (lambda W, b: T.alloc(b, n, 3), [4], ShapeError, ["cannot broadcast b (2,) to shape"]),
        (
            lambda W, b: T.nnet.categorical_crossentropy(T.nnet.softmax(x), i),
            [np.ones((2, 3)), [0, 3]],
            IndexError,
            ["3"],
        ),
        (
            lambda W, b: T.nnet.categorical_crossentropy(T.nnet.softmax(x), i),
            [np.ones((2, 3)), [0, 1, 2]],
            ShapeError,
            ["(2, 3)", "(3,)"],
        ),
    ],
)
def test_refused_at_the_call_with_the_state_as_it_was(build, values, error, texts, mode):
    W, b = state()
    out = build(W, b)
    used = [v for v in (x, y, n, i) if v in sg.graph.traverse.leaves([out])]
    f = sg.function(used, [out, W * 2], updates=[(W, W * 3), (b, b + W.sum(axis=0))], name="step", mode=mode)
    for _ in range(2):
        with pytest.raises(error) as caught:
            f(*values)
        message = str(caught.value)
        for text in texts:
            assert text in message, message
        assert re.search(r"^  test_errors.py:\d+   .*lambda W, b", message, re.M), message
        np.testing.assert_array_equal(W.get_value(), [[1, 2], [3, 4], [5, 6]])
        np.testing.assert_array_equal(b.get_value(), [1, 2])


def test_after_an_error_the_function_works(mode):
    W, b = state()
    f = sg.function([x, i], [(x @ W)[i]], updates=[(W, W + 1), (b, b * 2)], mode=mode)
    good = np.ones((2, 3))
    for bad in [(np.ones((2, 4)), [0]), (good, [2]), (np.ones(3), [0]), (good, [0.5]), (good, [0], 1)]:
        with pytest.raises((ValueError, IndexError, TypeError)):
            f(*bad)
    np.testing.assert_array_equal(f(good, [1, 0])[0], np.array([[9, 12], [9, 12]]))
    np.testing.assert_array_equal(W.get_value(), [[2, 3], [4, 5], [6, 7]])
    np.testing.assert_array_equal(b.get_value(), [2, 4])


def test_a_failing_training_step_changes_nothing(mode):
    """Embeddings whose indices are computed: the check that fails depends on data, in the middle of the step."""
    rng = np.random.default_rng(0)
    E, V = sg.shared(rng.normal(size=(5, 3)), "E"), sg.shared(rng.normal(size=(3, 4)), "V")
    rate = sg.shared(0.1, "rate")
    words, labels = T.lvector("words"), T.lvector("labels")
    h = T.tanh(E[words // 2])
    cost = T.nnet.categorical_crossentropy(T.nnet.softmax(h @ V), labels).mean()
    gE, gV = T.grad(cost, [E, V])
    step = sg.function(
        [words, labels], cost, updates=[(E, E - rate * gE), (V, V - rate * gV), (rate, rate * 0.9)], mode=mode
    )  # fmt: skip
    for _ in range(2):
        assert np.isfinite(step([0, 9, 4], [0, 3, 1]))
    before = [v.get_value() for v in (E, V, rate)]
    for bad, error, text in [
        (([0, 10, 4], [0, 3, 1]), IndexError, "index 5 in words // 2 is out of range for axis 0 of E (5, 3)"),
        (([0, 9, 4], [0, 4, 1]), IndexError, "4"),
        (([0, 9, 4], [0, 1]), ShapeError, "(2,)"),
        (([0, 9, -11], [0, 1, 1]), IndexError, "index -6"),
    ]:
        with pytest.raises(error) as caught:
            step(*bad)
        assert text in str(caught.value), str(caught.value)
        for variable, value in zip((E, V, rate), before, strict=True):
            np.testing.assert_array_equal(variable.get_value(), value)
    assert np.isfinite(step([0, 9, 4], [0, 3, 1]))


def test_errors_in_what_was_rewritten_away(mode):
    f = sg.function([x, y], [(x + y) - (x + y), ((x * y) * 0).sum()], mode=mode)
    np.testing.assert_array_equal(f(np.ones((2, 3)), np.ones(3))[0], np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"x \(2, 3\) and y \(4,\)"):
        f(np.ones((2, 3)), np.ones(4))


def test_an_update_that_no_longer_fits_the_type_of_the_state(mode):
    fixed = sg.shared(np.ones(3), "fixed", shape=(3,))
    f = sg.function([y], None, updates=[(fixed, y)], mode=mode)
    f([1.0, 2, 3])
    with pytest.raises(ShapeError, match=r"y \(2,\) does not have the specified shape \(3,\)"):
        f([1.0, 2])
    np.testing.assert_array_equal(fixed.get_value(), [1, 2, 3])


def test_division_of_integers_by_zero_is_as_in_numpy(mode):
    a, b = T.lvectors("a", "b")
    f = sg.function([a, b], [a // b, a % b], mode=mode)
    for out in f([1, -1, 0], [0, 0, 0]):
        np.testing.assert_array_equal(out, [0, 0, 0])


def test_the_line_is_that_of_the_expression_not_of_the_call():
    out = x @ W
    f = sg.function([x], out * 2)
    with pytest.raises(ShapeError) as caught:
        f(np.ones((2, 2)))
    assert f"{out.origin}   out = x @ W" in str(caught.value)
    assert f"x: {x.origin}" in str(caught.value) and f"W: {W.origin}" in str(caught.value)


def test_mistakes_in_a_gradient_name_the_line_of_the_expression():
    out = ((x @ W) ** 2).sum()
    f = sg.function([x], T.grad(out, x))
    with pytest.raises(ShapeError) as caught:
        f(np.ones((2, 2)))
    assert str(out.origin) in str(caught.value) and "x (2, 2)" in str(caught.value)
