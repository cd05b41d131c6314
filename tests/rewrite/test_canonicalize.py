"""The canonical form: each rule through the whole pipeline, its form and its numbers."""

import numpy as np
import pytest

from symgraph.grad import grad
from symgraph.graph.node import Constant, as_variable
from symgraph.graph.traverse import leaves, toposort
from symgraph.ops.creation import arange, ones, zeros
from symgraph.ops.elementary import (
    abs as absolute,
)
from symgraph.ops.elementary import (
    exp,
    log,
    maximum,
    minimum,
    neg,
    power,
    sigmoid,
    sqr,
    sqrt,
    switch,
    tanh,
    true_divide,
)
from symgraph.ops.elementwise import Unbroadcast, cast
from symgraph.ops.layout import Length, broadcast_to
from symgraph.ops.linalg import dot
from symgraph.ops.reduce import Sum
from symgraph.rewrite.canonicalize import IDENTITIES
from symgraph.rewrite.pattern import instantiate
from symgraph.rewrite.pipeline import rewrite

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", IDENTITIES, ids=lambda r: r.name)
def test_each_identity(rule, dtype, var, check, rewritten, is_same):
    wild = {x: var(dtype, name=x.name) for x in leaves([rule.before])}
    before, after = instantiate(rule.before, wild), instantiate(rule.after, wild)
    values = {x: RNG.uniform(-2, 2, 7) for x in wild.values()}
    result = check(before, values, rtol=1e-5 if dtype == "float32" else 1e-12)
    assert rule.name in {step.rule for step in result.trace}
    assert is_same(result.outputs[0], rewritten(after))


INTEGER_FORMS = [
    (lambda i: i + 0, lambda i: i), (lambda i: 0 + i, lambda i: i), (lambda i: i * 1, lambda i: i),
    (lambda i: i - 0, lambda i: i), (lambda i: -neg(i), lambda i: i), (lambda i: (i + 1) + 2, lambda i: i + 3),
    (lambda i: i - i, lambda i: i.zeros_like()), (lambda i: i * 0, lambda i: i.zeros_like()),
    (lambda i: maximum(i, i), lambda i: i), (lambda i: i * i, lambda i: sqr(i)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8"])
@pytest.mark.parametrize("before, after", INTEGER_FORMS)
def test_integers(var, check, rewritten, is_same, before, after, dtype):
    i = var(dtype)
    result = check(before(i), {i: np.array([0, 1, 100, 127], dtype)}, exact=True)
    assert is_same(result.outputs[0], rewritten(after(i)))


def outer(x):
    return x.dimshuffle(0, "x") * x


FLOAT_FORMS = {
    "(x + 1) + 2": (lambda x: (x + 1) + 2, lambda x: x + 3),
    "2 + (1 + x)": (lambda x: 2 + (1 + x), lambda x: x + 3),
    "(1 - x) + 2": (lambda x: (1 - x) + 2, lambda x: 3 - x),
    "5 - (x + -2)": (lambda x: 5 - (x - 2), lambda x: 7 - x),
    "(x * 2) * 3": (lambda x: (x * 2) * 3, lambda x: x * 6),
    "(x * 6) / 3": (lambda x: (x * 6) / 3, lambda x: x * 2),
    "(x / 3) / 2": (lambda x: (x / 3) / 2, lambda x: x / 6),
    "(x / 2) * 6": (lambda x: (x / 2) * 6, lambda x: x * 3),
    "(6 / x) / 2": (lambda x: (6 / x) / 2, lambda x: 3 / x),
    "(6 / x) * 2": (lambda x: (6 / x) * 2, lambda x: 12 / x),
    "6 / (x * 2)": (lambda x: 6 / (x * 2), lambda x: 3 / x),
    "6 / (x / 2)": (lambda x: 6 / (x / 2), lambda x: 12 / x),
    "6 / (2 / x)": (lambda x: 6 / (2 / x), lambda x: x * 3),
    "-(x * 2)": (lambda x: -(x * 2), lambda x: x * -2),
    "(-x) * 2": (lambda x: (-x) * 2, lambda x: x * -2),
    "-(6 / x)": (lambda x: -(6 / x), lambda x: -6 / x),
    "x ** 0": (lambda x: x**0, lambda x: x.ones_like()),
    "switch(True, x, 2 * x)": (lambda x: switch(as_variable(True), x, 2 * x), lambda x: x),
    "switch(c, x, x)": (lambda x: switch(x > 0, x, x), lambda x: x),
    "cast of cast": (lambda x: cast(cast(cast(x, "float64"), "float64"), x.dtype), lambda x: x),
    "sum of one": (lambda x: x.dimshuffle("x", 0).sum(axis=0), lambda x: x),
    "max of one": (lambda x: x.dimshuffle(0, "x").max(axis=1), lambda x: x),
    "sum of sum": (lambda x: outer(x).sum(axis=0).sum(), lambda x: Sum((0, 1))(outer(x))),
    "sum of 2 x": (lambda x: (2 * x).sum(), lambda x: x.sum() * 2),
    "sum of -x": (lambda x: (-x).sum(), lambda x: -x.sum()),
    "sum of x / 3": (lambda x: (x / 3).sum(), lambda x: x.sum() / 3),
    "sum of x.T": (lambda x: x.dimshuffle("x", 0, "x").sum(), lambda x: x.sum()),
    "x + zeros": (lambda x: x + x.zeros_like(), lambda x: x),
    "x * ones": (lambda x: x * ones(x.shape[0], x.dtype), lambda x: x),
    "of two fills": (lambda x: x.zeros_like() + exp(x.ones_like()), lambda x: exp(x.ones_like())),
    "dimshuffle twice": (lambda x: x.dimshuffle("x", 0).dimshuffle(1, 0).dimshuffle(0), lambda x: x),
    "reshape to itself": (lambda x: x.reshape((1, x.shape[0])).reshape((x.shape[0],)), lambda x: x),
    "reshape by ones": (lambda x: x.reshape((1, x.shape[0], 1)), lambda x: x.dimshuffle("x", 0, "x")),
    "broadcast to itself": (lambda x: tanh(x).broadcast_to(x.shape), lambda x: tanh(x)),
    "copy": (lambda x: x.copy(), lambda x: x),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FLOAT_FORMS)
def test_floats(name, dtype, var, check, rewritten, is_same):
    before, after = FLOAT_FORMS[name]
    x = var(dtype, name="x")
    result = check(before(x), {x: RNG.uniform(0.5, 2, 5)}, rtol=1e-6)
    assert is_same(result.outputs[0], rewritten(after(x)))
    known = var(dtype, shape=(5,), name="x")
    check(before(known), {known: RNG.uniform(0.5, 2, 5)}, rtol=1e-6)


KEPT = {
    "0 * x": (lambda x: 0 * x, [np.nan, np.inf, 1.0]),
    "x - x": (lambda x: x - x, [np.nan, np.inf, 1.0]),
    "exp(log(x))": (lambda x: exp(log(x)), [-1.0, 0.0, 1.0]),
    "(x + 1e20) - 1e20": (lambda x: (x + 1e20) - 1e20, [1.0, 1e10, 1e19]),
    "x / x": (lambda x: x / x, [0.0, np.inf, 2.0]),
    "(x * 1e300) * 1e300": (lambda x: (x * 1e300) * 1e300, [1e-300, 0.0, 1.0]),
    "(x * 1e-200) * 1e-200": (lambda x: (x * 1e-200) * 1e-200, [1e300, 0.0, 1.0]),
    "(x / 1e-200) * 1e200": (lambda x: (x / 1e-200) * 1e200, [1e-300, 0.0, 1.0]),
    "sqr of sqrt": (lambda x: sqr(sqrt(x)), [-1.0, 4.0]),
    "minimum": (lambda x: minimum(x, absolute(x)), [np.nan, -1.0]),
}


@pytest.mark.parametrize("name", KEPT)
def test_nan_infinity_and_rounding_are_not_rewritten_away(name, var, check):
    build, values = KEPT[name]
    x = var("float64")
    check(build(x), {x: values}, exact=True)


def test_constants_are_computed_at_compile_time(var, rewritten):
    result = rewritten(exp(as_variable([0.0, 1.0])) * 2 + 1)
    assert isinstance(result, Constant)
    np.testing.assert_allclose(result.data, 2 * np.exp([0, 1]) + 1)
    half = rewritten(true_divide(as_variable(np.float32(1)), as_variable(np.float32(3))))
    assert half.dtype == "float32" and half.value == np.float32(1) / np.float32(3)


def test_constants_do_not_grow(rewritten):
    for built in (zeros(5000), arange(5000), broadcast_to(as_variable(2.0), (10, 10)), as_variable(np.ones(2000)) + 1):
        assert not isinstance(rewritten(built), Constant)


def test_what_would_raise_is_left_for_the_call(rewritten):
    taken = as_variable([1.0, 2.0])[as_variable(1) + as_variable(4)]
    assert not isinstance(rewritten(taken), Constant)


@pytest.mark.parametrize("inner, outer, merges", [
    ("int8", "int64", True), ("float32", "float64", True), ("bool", "float32", True), ("int32", "float64", True),
    ("int64", "float64", False), ("float64", "float32", False), ("int64", "int8", False), ("float32", "int32", False),
])  # fmt: skip
def test_casts_merge_only_through_what_loses_nothing(var, check, inner, outer, merges):
    x = var(inner)
    values = {"bool": [0, 1], "int64": [2**53 + 1, 100, 3]}.get(inner, [1, 2, 100])
    result = check(cast(cast(x, outer), inner), {x: values}, exact=True)
    assert (result.outputs[0] is x) == merges


def test_lengths_are_told_by_inputs(var, rewritten, is_same):
    x, w = var("float64", 2), var("float64", 2)
    y = tanh(dot(x, w) + 1).T
    assert is_same(rewritten(y.shape[0]), rewritten(w.shape[1]))
    assert is_same(rewritten(y.shape[1]), Length(0)(x))
    assert is_same(rewritten(y.sum(axis=0).shape[0]), Length(0)(x))
    known = var("float64", 2, shape=(3, None))
    assert rewritten(exp(known).shape[0]).value == 3


def test_a_length_does_not_compute_the_value(var, rewritten):
    x = var("float64", 2)
    assert rewritten(x[1:].shape[0]).owner is not None
    names = {node.op.label for node in nodes(rewritten(exp(x)[1:].shape[0]))}
    assert "exp" not in names


def nodes(x):
    return toposort([x])


def test_a_gradient_of_broadcasting_is_summed_where_it_was_stretched(var, check, is_same):
    g, x = var("float64", 2), var("float64", 2, shape=(None, 1))
    values = {g: RNG.normal(size=(4, 3)), x: RNG.normal(size=(4, 1))}
    result = check(Unbroadcast()(g, x), values)
    assert is_same(result.outputs[0], g.sum(axis=1, keepdims=True))


def test_an_operand_that_stretches_the_others_stays(var, check):
    row, x = var("float64", 2, shape=(1, None)), var("float64", 2)
    ones_like_x = broadcast_to(as_variable(1.0), x.shape)
    check(row * ones_like_x, {row: RNG.normal(size=(1, 3)), x: RNG.normal(size=(4, 3))})
    check(as_variable(2.0) + np.zeros((2, 3)), {})
    scalar = var("float64", 0)
    result = check(scalar * ones_like_x, {scalar: 2.5, x: RNG.normal(size=(4, 3))})
    assert result.outputs[0].ndim == 2


def test_a_gradient_of_ones_is_a_scalar(var, is_same):
    """The derivative of sum(x²) is 2x: no array of ones is left in it."""
    x = var("float64", 2)
    (result,) = rewrite([grad((x**2).sum(), x)]).outputs
    assert is_same(result, x * 2)


SCALED = {
    "a * s": lambda a, b, s, t: a * s,
    "a / s": lambda a, b, s, t: a / s,
    "-(a * b)": lambda a, b, s, t: -(a * b),
    "(a / s) * (b / t)": lambda a, b, s, t: (a / s) * (b / t),
    "3 * a / (-s * t) * b": lambda a, b, s, t: 3 * a / (-s * t) * b,
    "2 / a": lambda a, b, s, t: 2 / a,
    "s / t": lambda a, b, s, t: s / t,
    "(a * s) * (a * s)": lambda a, b, s, t: (a * s) * (a * s),
}


@pytest.mark.parametrize("used_again", [False, True])
@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("name", SCALED)
def test_what_is_the_same_for_a_sum_is_taken_out_of_it(name, axis, used_again, var, check):
    a, b, s, t = var("float64", 2), var("float64", 2), var("float64", 2, shape=(None, 1)), var("float64", 0)
    rng = np.random.default_rng(0)
    values = {a: rng.normal(size=(3, 4)), b: rng.normal(size=(3, 4)), s: rng.normal(size=(3, 1)), t: -2.5}
    x = SCALED[name](a, b, s, t)
    result = check([x.sum(axis=axis), *([x] if used_again else [])], values, rtol=1e-12)
    nothing = {**values, a: values[a][:, :0], b: values[b][:, :0]}
    for zero_or_infinite in (0.0, np.inf, np.nan) if name != "s / t" else ():
        with np.errstate(all="ignore"):
            check([x.sum(axis=axis), *([x] if used_again else [])], {**nothing, t: zero_or_infinite})
            check([x.sum(axis=axis), *([x] if used_again else [])], {**nothing, s: np.full((3, 1), zero_or_infinite)})
    if axis == 1 and not used_again and name in ("a / s", "(a / s) * (b / t)", "3 * a / (-s * t) * b"):
        (total,) = (node for node in toposort(result.outputs) if isinstance(node.op, Sum))
        assert not any(node.op.label == "true_divide" for node in toposort(total.inputs))


def test_the_sum_of_a_stretched_value_is_a_product(var, check):
    x, s = var("float64", 2, shape=(4, 3)), var("float64", 0)
    result = check(broadcast_to(s, (4, 3)).sum(), {s: 1.5})
    assert all(node.op.label != "sum" for node in nodes(result.outputs[0]))
    check(broadcast_to(x[:1], (4, 3)).sum(axis=0), {x: RNG.normal(size=(4, 3))})
    check(broadcast_to(x[0], (2, 4, 3)).sum(axis=(0, 2)), {x: RNG.normal(size=(4, 3))})
    rows = var("float64", 1)
    check(broadcast_to(s, (rows.shape[0],)).sum(), {s: np.inf, rows: []})  # not inf * 0


def test_keepdims_and_axes_of_length_1(var, check):
    x = var("float64", 3, shape=(2, 1, 3))
    values = {x: RNG.normal(size=(2, 1, 3))}
    for axes in ((1,), (0, 1), (1, 2), (0, 1, 2)):
        for keep in (False, True):
            result = check([x.sum(axis=axes, keepdims=keep), x.max(axis=axes, keepdims=keep)], values)
            sums = [node for y in result.outputs for node in nodes(y) if node.op.label in ("sum", "max")]
            assert all(len(node.op.axes) == len(axes) - 1 for node in sums)


def test_axes_come_and_go_around_elementwise_results(var, check):
    x, y, row = var("float64", 2), var("float64", 1), var("float64", 2, shape=(None, 1))
    values = {x: RNG.normal(size=(4, 3)), y: RNG.normal(size=4), row: RNG.normal(size=(4, 1))}
    check(x / (y * 2).dimshuffle(0, "x"), values)
    check([exp(row).dimshuffle(0), (row + y.dimshuffle(0, "x")).dimshuffle("x", 0)], values)
    check((row * 3).dimshuffle(1, 0), values)


def test_sigmoid_of_a_named_sum_keeps_its_name(var):
    x = var("float64")
    z = (x * 1) + 2
    z.name = "z"
    (result,) = rewrite([sigmoid(z)]).outputs
    assert result.owner.inputs[0].name == "z"


def test_power_of_one_half_is_left_to_the_end(var, check, is_same):
    x = var("float64")
    result = check(power(x, 0.5), {x: [4.0, 2.0]})
    assert is_same(result.outputs[0], sqrt(x))
