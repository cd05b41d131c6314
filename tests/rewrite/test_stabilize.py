"""The stabilizing rules: each through the whole pipeline, its form, and its numbers where the plain form breaks.

The judge is the plain form itself, computed by mpmath with a thousand digits, or scipy.
"""

import mpmath
import numpy as np
import pytest
import scipy.special

import symgraph as sg
import symgraph.tensor as T
from symgraph.grad import grad
from symgraph.graph.traverse import leaves, toposort
from symgraph.interpreter import evaluate
from symgraph.ops.creation import arange
from symgraph.ops.elementary import exp, log, log1p, sigmoid, softplus
from symgraph.ops.gather import Take
from symgraph.ops.nn import (
    LogSoftmax,
    LogSumExp,
    Softmax,
    binary_crossentropy,
    categorical_crossentropy,
    log_softmax,
    sigmoid_binary_crossentropy,
    softmax,
)
from symgraph.ops.reduce import Max
from symgraph.rewrite.engine import Book, apply_book
from symgraph.rewrite.pattern import instantiate
from symgraph.rewrite.pipeline import passes, rewrite
from symgraph.rewrite.stabilize import LOGISTIC
from symgraph.variants import refine

RNG = np.random.default_rng(0)
DTYPES = ("float32", "float64")
EXTREMES = [-1000, -800, -100, -40, -20, -1, -1e-3, -1e-12, 1e-12, 1e-3, 0.5, 2, 20, 40, 80, 100, 800, 1000]
MPMATH = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y, "true_divide": lambda x, y: x / y,
    "neg": lambda x: -x, "exp": mpmath.exp, "log": mpmath.log, "log1p": lambda x: mpmath.log(1 + x),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)), "softplus": lambda x: mpmath.log(1 + mpmath.exp(x)),
}  # fmt: skip


def exact(expression, values):
    """An expression by mpmath, with so many digits that nothing is lost."""
    known = {x: mpmath.mpf(float(v)) for x, v in values.items()}
    for node in toposort([expression]):
        operands = [known[x] if x in known else mpmath.mpf(float(x.value)) for x in node.inputs]
        known[node.output] = MPMATH[node.op.label](*operands)
    return known[expression]


def assert_close(values, expected, dtype, ulps=8):
    info = np.finfo(dtype)
    for value, want in zip(values, expected, strict=True):
        if abs(want) > float(info.max):
            assert np.isinf(value) and np.sign(value) == np.sign(float(mpmath.sign(want)))
        else:
            allowed = ulps * float(info.eps) * abs(want) + float(info.tiny)
            assert abs(mpmath.mpf(float(value)) - want) <= allowed, (value, want)


def stabilized(x):
    """The graph after the stabilizing pass, before softmax and the like are expanded."""
    outputs = [x]
    for name, book in passes():
        outputs = apply_book(book, outputs, copy=True)
        if name == "stabilize":
            return outputs[0]
    raise AssertionError("there is no stabilizing pass")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", LOGISTIC, ids=lambda r: r.name)
def test_each_rule_at_the_extremes(rule, dtype, var, rewritten, is_same):
    wild = {x: var(dtype, name=x.name) for x in leaves([rule.before])}
    before, after = instantiate(rule.before, wild), instantiate(rule.after, wild)
    assert is_same(rewritten(before), rewritten(after))
    assert not is_same(rewritten(before), rewritten(before, optimize=False))
    points = np.array(EXTREMES, dtype)
    if rule.name in ("log(1 + a) -> log1p(a)", "log(1 - a) -> log1p(-a)"):
        points = points[(points > -1) & (points < 1)]
    weights = (0.0, 1.0, 0.25) if len(wild) == 2 else (0.0,)
    for weight in weights:
        values = dict(zip(wild.values(), [points, np.full(points.shape, weight, dtype)], strict=False))
        (result,) = evaluate([rewritten(before)], values)
        with mpmath.workdps(1000):
            one = {x: values[wild[x]] for x in wild}
            expected = [exact(rule.before, {x: v[k] for x, v in one.items()}) for k in range(len(points))]
            assert_close(result, expected, dtype)


@pytest.mark.parametrize("rule", LOGISTIC, ids=lambda r: r.name)
def test_each_plain_form_breaks_at_some_extreme(rule, var):
    """Otherwise the rule, and the test above, would be for nothing; but for a form that is only one function's name."""
    wild = {x: var("float64") for x in leaves([rule.before])}
    has_domain = "1 + a" in rule.name or "1 - a" in rule.name
    points = np.array([x for x in EXTREMES if abs(x) < 1 or not has_domain])
    values = dict(zip(wild.values(), [points, np.ones(points.shape)], strict=False))
    (plain,) = evaluate([instantiate(rule.before, wild)], values)
    with mpmath.workdps(1000):
        expected = [exact(rule.before, {x: values[wild[x]][k] for x in wild}) for k in range(len(points))]
        if rule.name in ("1 / (1 + exp(a)) -> sigmoid(-a)", "binary cross entropy of a sigmoid"):
            assert_close(plain, expected, "float64", ulps=32)
        else:
            with pytest.raises(AssertionError):
                assert_close(plain, expected, "float64", ulps=32)


WRITTEN_OUT = {
    "log(1 / (1 + exp(-x)))": (lambda x: log(1 / (1 + exp(-x))), lambda x: -softplus(-x)),
    "log(1 - sigmoid(x))": (lambda x: log(1 - sigmoid(x)), lambda x: -softplus(x)),
    "log(1 - 1/(1 + exp(-x)))": (lambda x: log(1 - 1 / (1 + exp(-x))), lambda x: -softplus(x)),
    "log(exp(x) + 1)": (lambda x: log(exp(x) + 1), lambda x: softplus(x)),
    "log1p(exp(-x))": (lambda x: log1p(exp(-x)), lambda x: softplus(-x)),
    "exp(x) / (exp(x) + 1)": (lambda x: exp(x) / (exp(x) + 1), lambda x: sigmoid(x)),
    "3 * exp(x) / (exp(x) + 1)": (lambda x: 3 * exp(x) / (exp(x) + 1), None),
    "log(sigmoid(2 x + 1))": (lambda x: log(sigmoid(2 * x + 1)), lambda x: -softplus(-(2 * x + 1))),
}


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_forms_that_rules_compose_to(name, var, rewritten, is_same):
    build, stable = WRITTEN_OUT[name]
    x = var("float64")
    if stable is not None:
        assert is_same(rewritten(build(x)), rewritten(stable(x)))
    (values,) = evaluate([rewritten(build(x))], {x: np.array(EXTREMES)})
    assert np.isfinite(values).all()


GRADIENTS = {  # the sum of each has the derivative beside it
    "log(sigmoid(x))": (lambda x: log(sigmoid(x)), lambda x: 1 / (1 + mpmath.exp(x))),
    "log(1 - sigmoid(x))": (lambda x: log(1 - sigmoid(x)), lambda x: -1 / (1 + mpmath.exp(-x))),
    "log(1 + exp(x))": (lambda x: log(1 + exp(x)), lambda x: 1 / (1 + mpmath.exp(-x))),
    "log1p(exp(x))": (lambda x: log1p(exp(x)), lambda x: 1 / (1 + mpmath.exp(-x))),
    "1 / (1 + exp(-x))": (lambda x: 1 / (1 + exp(-x)), lambda x: mpmath.exp(-x) / (1 + mpmath.exp(-x)) ** 2),
    "exp(x) / (1 + exp(x))": (lambda x: exp(x) / (1 + exp(x)), lambda x: mpmath.exp(-x) / (1 + mpmath.exp(-x)) ** 2),
    "log(exp(x))": (lambda x: log(exp(x)), lambda x: mpmath.mpf(1)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_at_the_extremes(name, dtype, var):
    build, derivative = GRADIENTS[name]
    x = var(dtype)
    (g,) = rewrite([grad(build(x).sum(), x)]).outputs
    points = np.array(EXTREMES, dtype)
    (values,) = evaluate([g], {x: points})
    with mpmath.workdps(1000):
        expected = [derivative(mpmath.mpf(float(v))) for v in points]
    if "/" in name:  # s * (1 - s), whose second factor has absolute, not relative accuracy
        np.testing.assert_allclose(values, np.array(expected, "float64"), rtol=0, atol=float(np.finfo(dtype).eps))
    else:
        assert_close(values, expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_binary_crossentropy_and_its_gradient(dtype, var, is_same):
    x, t = var(dtype, name="x"), var(dtype, name="t")
    cost = binary_crossentropy(sigmoid(x), t)
    value, g = rewrite([cost, grad(cost.mean(), x)]).outputs
    points = np.repeat(np.array(EXTREMES, dtype), 3)
    targets = np.tile(np.array([0, 1, 0.25], dtype), len(EXTREMES))
    values, slopes = evaluate([value, g], {x: points, t: targets})
    with mpmath.workdps(1000):
        p = [1 / (1 + mpmath.exp(-mpmath.mpf(float(v)))) for v in points]
        pairs = list(zip(p, [mpmath.mpf(float(v)) for v in targets], strict=True))
        assert_close(values, [-(t * mpmath.log(p) + (1 - t) * mpmath.log(1 - p)) for p, t in pairs], dtype)
    expected = (scipy.special.expit(points.astype("float64")) - targets) / len(points)
    np.testing.assert_allclose(slopes, expected, rtol=1e-5, atol=1e-8)
    labels = [node.op.label for node in toposort([value])]
    assert labels.count("softplus") == 1 and "log" not in labels
    (other,) = evaluate([rewrite([sigmoid_binary_crossentropy(x, t)]).outputs[0]], {x: points, t: targets})
    np.testing.assert_allclose(values, other, rtol=1e-5, atol=1e-4)


SQUARES = {
    "a² + b² + 2ab": (lambda a, b, c: a**2 + b**2 + 2 * a * b, lambda a, b, c: (a + b) ** 2),
    "aa + (2ab + bb)": (lambda a, b, c: a * a + (2 * (a * b) + b * b), lambda a, b, c: (a + b) ** 2),
    "a² - 2ab + b²": (lambda a, b, c: a**2 - 2 * a * b + b**2, lambda a, b, c: (a - b) ** 2),
    "b² - c + a² - ab2": (lambda a, b, c: b**2 - c + a**2 - a * b * 2, lambda a, b, c: (a - b) ** 2 - c),
    "a² + a² + b² + 2ab": (lambda a, b, c: a**2 + a**2 + b**2 + 2 * a * b, lambda a, b, c: (a + b) ** 2 + a**2),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SQUARES)
def test_squares_of_sums(name, dtype, var, check, rewritten, is_same):
    build, stable = SQUARES[name]
    a, b, c = (var(dtype, name=name) for name in "abc")
    assert is_same(rewritten(build(a, b, c)), rewritten(stable(a, b, c)))
    check(build(a, b, c), {a: [1.5, -2, 0, 1e-3], b: [1, 3, 0, -4], c: [1, 2, 3, 4]}, rtol=1e-5)


@pytest.mark.parametrize("build", [
    lambda a, b: a**2 + b**2 + 3 * a * b,
    lambda a, b: a**2 - b**2 + 2 * a * b,
    lambda a, b: a**2 + b**2 + 2 * a * a,
    lambda a, b: a**2 + b**2 + 2 * a / b,
    lambda a, b: a**2 + b**3 + 2 * a * b,
])  # fmt: skip
def test_no_square_of_a_sum(build, var, check):
    a, b = var("float64"), var("float64")
    result = check(build(a, b), {a: [1.5, -2, 0.5], b: [1, 3, -4]}, rtol=1e-12)
    assert not any(step.rule == "square of sum" for step in result.trace)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_square_of_a_sum_does_not_cancel(dtype, var, rewritten):
    a, b = var(dtype), var(dtype)
    tiny, huge, inf = np.finfo(dtype).eps, np.finfo(dtype).max / 2, np.inf
    near = [-1 - 4 * tiny, -1, -huge, 3 + 16 * tiny, -inf]
    points = {a: np.array([1, 1, huge, -3, inf], dtype), b: np.array(near, dtype)}
    with np.errstate(all="ignore"):
        (values,) = evaluate([rewritten(a**2 + b**2 + 2 * a * b)], points)
        (plain,) = evaluate([a**2 + b**2 + 2 * a * b], points)
    np.testing.assert_array_equal(values, [(4 * tiny) ** 2, 0, 0, (16 * tiny) ** 2, np.nan])
    assert plain[0] != values[0] and np.isnan(plain[2]) and plain[3] != values[3]


# Softmax -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_complement_of_a_sigmoid(var, rewritten, is_same, dtype):
    x = var(dtype)
    points = np.array(EXTREMES, dtype)
    for built, stable in ((1 - sigmoid(x), sigmoid(-x)), (sigmoid(x) - 1, -sigmoid(-x))):
        assert is_same(rewritten(built), rewritten(stable))
        (values,) = evaluate([rewritten(built)], {x: points})
        with mpmath.workdps(1000):
            assert_close(values, [exact(built, {x: v}) for v in points], dtype)
    p, q = rewrite([sigmoid(x), 1 - sigmoid(x)]).outputs
    assert is_same(p, sigmoid(x)) and is_same(q, sigmoid(-x))


def far_apart(dtype):
    """Logits a thousand apart, and close ones."""
    return np.array([[0, 1000, -500], [-1000, 0, 3], [2, 2, 2], [1, 2, 3], [700, -800, 701]], dtype)


def one_hot(y, classes):
    return np.eye(classes)[y]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_log_softmax(var, dtype, axis, is_same):
    z = var(dtype, 2)
    assert is_same(stabilized(log(softmax(z, axis=axis))), LogSoftmax(axis)(z))
    (result,) = rewrite([log(softmax(z, axis=axis))]).outputs
    (values,) = evaluate([result], {z: far_apart(dtype)})
    expected = scipy.special.log_softmax(far_apart("float64"), axis=axis)
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_log_of_elements_of_softmax(var, is_same):
    z, y = var("float64", 2, name="z"), var("int64", name="y")
    p, logs = softmax(z), LogSoftmax(1)(z)
    rows = arange(z.shape[0])
    assert is_same(stabilized(log(p[rows, y])), stabilized(logs[rows, y]))
    assert is_same(stabilized(log(p[1:, 0])), stabilized(logs[1:, 0]))
    assert is_same(stabilized(log(p.T)), stabilized(logs.T))
    assert is_same(stabilized(log(p.reshape((-1,)))), stabilized(logs.reshape((-1,))))


HAND_MADE = {
    "exp / sum keepdims": lambda z: exp(z) / exp(z).sum(axis=1, keepdims=True),
    "exp / sum dimshuffle": lambda z: exp(z) / exp(z).sum(axis=1).dimshuffle(0, "x"),
    "shifted": lambda z: HAND_MADE["exp / sum keepdims"](z - z.max(axis=1, keepdims=True)),
    "exp * (1 / sum)": lambda z: exp(z) * (1 / exp(z).sum(axis=1, keepdims=True)),
    "transposed": lambda z: (exp(z.T) / exp(z.T).sum(axis=0)).T,
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", HAND_MADE)
def test_softmax_written_by_hand(name, dtype, var):
    z = var(dtype, 2)
    p = HAND_MADE[name](z)
    assert any(isinstance(node.op, Softmax) for node in toposort([stabilized(p)]))
    values, logs = evaluate(list(rewrite([p, log(p)]).outputs), {z: far_apart(dtype)})
    wide = far_apart("float64")
    np.testing.assert_allclose(values, scipy.special.softmax(wide, axis=1), rtol=1e-6, atol=1e-37)
    np.testing.assert_allclose(logs, scipy.special.log_softmax(wide, axis=1), rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp / sum keepdims", "exp / sum dimshuffle", "shifted"])
def test_the_gradient_of_softmax_written_by_hand(name, dtype, var):
    z = var(dtype, 2)
    (g,) = rewrite([grad((log(HAND_MADE[name](z)) * far_apart(dtype)).sum(), z)]).outputs
    (slopes,) = evaluate([g], {z: far_apart(dtype)})
    wide = far_apart("float64")
    expected = wide - scipy.special.softmax(wide, axis=1) * wide.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(slopes, expected, rtol=1e-4, atol=1e-4)


def test_a_quotient_by_the_sum_over_another_axis_is_no_softmax(var, check):
    z = var("float64", 2, shape=(3, 3))
    result = check(exp(z) / exp(z).sum(axis=1), {z: np.random.default_rng(0).normal(size=(3, 3))})
    assert "exp(x) / sum" not in {step.rule for step in result.trace}
    assert not any(isinstance(node.op, Softmax) for node in toposort([stabilized(exp(z) / exp(z).sum(axis=1))]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, None, (0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_log_of_a_sum_of_exponentials(var, dtype, axis, keepdims):
    x = var(dtype, 2)
    cost = log(exp(x).sum(axis=axis, keepdims=keepdims))
    assert any(isinstance(node.op, LogSumExp) for node in toposort([stabilized(cost)]))
    value, g = rewrite([cost, grad(cost.sum(), x)]).outputs
    values, slopes = evaluate([value, g], {x: far_apart(dtype)})
    wide = far_apart("float64")
    np.testing.assert_allclose(values, scipy.special.logsumexp(wide, axis=axis, keepdims=keepdims), rtol=1e-6)
    if axis in (0, 1):
        np.testing.assert_allclose(slopes, scipy.special.softmax(wide, axis=axis), rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form, axis", [
    *[(form, axis) for form in ("logsumexp", "softmax", "log_softmax", "quotient") for axis in (0, 1)],
    *[(form, axis) for form in ("logsumexp", "quotient") for axis in ((0, 1), None)],
])  # fmt: skip
def test_the_largest_is_taken_off_once(var, check, dtype, form, axis):
    """Where it was taken off by hand, no second one is; also where it is infinite, NaN or shared."""
    inf, nan = np.inf, np.nan
    wide = [[0, 1000, -500], [2, 2, 2], [-inf, -inf, -inf], [inf, 1, inf], [nan, 1, 2], [-inf, 3, 3.5], [1e-3, 0, -0.0]]
    x = var(dtype, 2)
    shifted = x - x.max(axis=axis, keepdims=True)
    built = {
        "logsumexp": lambda: log(exp(shifted).sum(axis=axis, keepdims=True)) + x.max(axis=axis, keepdims=True),
        "softmax": lambda: softmax(shifted, axis=axis),
        "log_softmax": lambda: log_softmax(shifted, axis=axis),
        "quotient": lambda: exp(shifted) / exp(shifted).sum(axis=axis, keepdims=True),
    }[form]()
    for rows in (slice(None), slice(0, 2), slice(5, 7), slice(2, 3), slice(1, 2)):
        with np.errstate(all="ignore"):
            result = check(built, {x: np.array(wide[rows])}, exact="log" in form, rtol=4 * np.finfo(dtype).eps)
        assert sum(isinstance(node.op, Max) for node in toposort(result.outputs)) == 1


def test_log_of_a_sum_of_exponentials_of_infinities(var):
    x = var("float64", 2)
    (value,) = rewrite([log(exp(x).sum(axis=1))]).outputs
    (values,) = evaluate([value], {x: np.array([[-np.inf, -np.inf], [np.inf, 0], [np.nan, 1], [-np.inf, 5]])})
    np.testing.assert_array_equal(values, [-np.inf, np.inf, np.nan, 5])


def test_log_of_a_sum_over_no_elements_stays(var, check):
    x = var("float64", 2, shape=(3, 0))
    check(log(exp(x).sum(axis=1)), {x: np.zeros((3, 0))}, exact=True)


COSTS = {
    "log(p)[arange(y.shape[0]), y]": lambda p, z, y: -log(p)[arange(y.shape[0]), y].mean(),
    "log(p[arange(y.shape[0]), y])": lambda p, z, y: -log(p[arange(y.shape[0]), y]).mean(),
    "log(p)[arange(z.shape[0]), y]": lambda p, z, y: -log(p)[arange(z.shape[0]), y].mean(),
    "log(p[arange(z.shape[0]), y])": lambda p, z, y: -log(p[arange(z.shape[0]), y]).mean(),
    "categorical_crossentropy": lambda p, z, y: categorical_crossentropy(p, y).mean(),
    "log_softmax": lambda p, z, y: -log_softmax(z)[arange(z.shape[0]), y].mean(),
    "sum of logarithms / n": lambda p, z, y: log(p)[arange(z.shape[0]), y].sum() / -z.shape[0].astype(z.dtype),
    "distributions": lambda p, z, y: -(one_hot([1, 2, 0, 2, 1], 3).astype(p.dtype) * log(p)).sum(axis=1).mean(),
    "weighted": lambda p, z, y: -(3 * log(p)[arange(z.shape[0]), y]).sum() / 15,
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("labels", [[1, 2, 0, 2, 1], [1, -1, 0, -1, -2]])
def test_cross_entropy_of_logits_a_thousand_apart(name, dtype, labels, var):
    z, y = var(dtype, 2, name="z"), var("int64", name="y")
    cost = COSTS[name](softmax(z), z, y)
    value, g = rewrite([cost, grad(cost, z)]).outputs
    wide, y_values = far_apart("float64"), np.array(labels)
    values, slopes = evaluate([value, g], {z: far_apart(dtype), y: y_values})
    logs = scipy.special.log_softmax(wide, axis=1)
    np.testing.assert_allclose(values, -logs[np.arange(5), y_values].mean(), rtol=1e-6)
    expected = (scipy.special.softmax(wide, axis=1) - one_hot(y_values % 3, 3)) / 5
    np.testing.assert_allclose(slopes, expected, rtol=1e-5, atol=1e-7)
    assert slopes.dtype == dtype


def test_cross_entropy_of_fewer_labels_than_rows(var):
    """`arange(y.shape[0])` picks the first rows only: the others have no gradient."""
    z, y = var("float64", 2), var("int64")
    rows = arange(y.shape[0])
    cost = -log(softmax(z))[rows, y].sum()
    refined, _ = refine([grad(cost, z)], {}, {rows})
    (g,) = rewrite(refined).outputs
    logits = np.random.default_rng(0).normal(size=(4, 3))
    for labels in ([2, 0], [1]):
        (slopes,) = evaluate([g], {z: logits, y: np.array(labels)})
        expected = np.zeros((4, 3))
        k = len(labels)
        expected[:k] = scipy.special.softmax(logits[:k], axis=1) - one_hot(labels, 3)
        np.testing.assert_allclose(slopes, expected, rtol=1e-12)


def test_cross_entropy_with_a_gradient_from_elsewhere(var):
    """Another use of the probabilities adds a gradient that is no quotient by them."""
    z, y = var("float64", 2), var("int64")
    p = softmax(z)
    cost = -log(p)[arange(z.shape[0]), y].sum() + (p**2).sum()
    (g,) = rewrite([grad(cost, z)]).outputs
    labels = np.array([1, 2, 0, 2, 1])
    (slopes,) = evaluate([g], {z: far_apart("float64"), y: labels})
    q = scipy.special.softmax(far_apart("float64"), axis=1)
    expected = q - one_hot(labels, 3) + 2 * q * (q - (q * q).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(slopes, expected, rtol=1e-9, atol=1e-12)


def test_only_factors_that_are_positive_cancel(var, check):
    x, g = var("float64"), var("float64")
    values = {x: [0.0, 1.0, -2.0], g: [1.0, 2.0, 3.0]}
    check((g / x) * (x * g), values, exact=True)  # NaN at x = 0 stays
    result = check((g / exp(x)) * (exp(x) * g), values)
    assert "cancel factors" in {step.rule for step in result.trace}


def test_cancelling_keeps_the_shape_that_the_factor_gave(var, check):
    x, s = var("float64", 2), var("float64", 0)
    values = {x: np.full((2, 3), -800.0), s: 2.0}
    result = rewrite([(s / sigmoid(x)) * sigmoid(x)])
    (value,) = evaluate(list(result.outputs), {x: values[x], s: np.float64(2)})
    np.testing.assert_array_equal(value, np.full((2, 3), 2.0))


def test_an_empty_book_changes_nothing(var, is_same):
    x = var("float64")
    assert is_same(apply_book(Book(), [log(sigmoid(x))])[0], log(sigmoid(x)))


def test_take_is_pushed_below_log_softmax(var):
    """Only the elements that are taken are looked at, not a matrix of logarithms."""
    z, y = var("float64", 2), var("int64")
    (value,) = rewrite([-log(softmax(z))[arange(z.shape[0]), y].mean()]).outputs
    taken = [node for node in toposort([value]) if isinstance(node.op, Take)]
    assert [node.inputs[0] for node in taken] == [z]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 3)])
def test_sums_of_exponentials_of_nothing(shape):
    """What was written has values there; that softmax as the user calls it has none is another matter."""
    x = T.dmatrix("x")
    e = T.exp(x)
    columns, rows = e.sum(axis=0), e.sum(axis=1, keepdims=True)
    f = sg.function([x], [T.log(columns), e / columns, T.log(rows), e / rows, T.log(e.sum()), T.log(e / rows)])
    data = RNG.normal(size=shape)
    with np.errstate(all="ignore"):
        p, down, along = np.exp(data), np.exp(data).sum(axis=0), np.exp(data).sum(axis=1, keepdims=True)
        expected = [np.log(down), p / down, np.log(along), p / along, np.log(p.sum()), np.log(p / along)]
    for found, value in zip(f(data), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-12)
    known = T.TensorType("float64", shape)("known")
    fixed = sg.function([known], [T.exp(known) / T.exp(known).sum(axis=0), T.log(T.exp(known).sum(axis=0))])
    for found, value in zip(fixed(data), (expected[1], expected[0]), strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-12)
    with pytest.raises(sg.ShapeError, match=r"axis 1 of x \(3, 0\) has no elements"):
        sg.function([x], T.nnet.softmax(x))(np.ones((3, 0)))
