"""Reverse mode: the chain rule, what it refuses, long graphs. The derivatives of each op are tested with the ops."""

import re
import warnings

import numpy as np
import pytest

import symgraph.tensor as T
from symgraph.errors import DtypeError, GradientError, ShapeError
from symgraph.grad import grad
from symgraph.graph.traverse import ancestors, leaves, toposort
from symgraph.interpreter import evaluate


def value(out, values):
    """The value of a variable, given {variable: value}."""
    return evaluate([out], {x: np.asarray(v, x.dtype) for x, v in values.items()})[0]


def differences(cost, x, values, step=1e-6):
    """The reference: central differences of the cost in each element of x."""
    base = np.asarray(values[x], float)
    result = np.zeros(base.shape)
    for place in np.ndindex(base.shape):
        moved = [base.copy(), base.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        high, low = (value(cost, {**values, x: m}) for m in moved)
        result[place] = (high - low) / (2 * step)
    return result


def check(cost, values, tolerance=1e-7, **options):
    """The gradients with respect to all of `values` are those of finite differences."""
    gradients = grad(cost, list(values), **options)
    for x, g in zip(values, gradients, strict=True):
        assert g.dtype == x.dtype and g.ndim == x.ndim
        np.testing.assert_allclose(value(g, values), differences(cost, x, values), rtol=tolerance, atol=tolerance)


x, y, z = T.dscalar("x"), T.dscalar("y"), T.dscalar("z")
u, v = T.dvector("u"), T.dvector("v")
A = T.dmatrix("A")
RNG = np.random.default_rng(0)
VALUES = {u: RNG.normal(size=3), v: RNG.normal(size=3), A: RNG.normal(size=(3, 3))}


@pytest.mark.parametrize("cost", [
    lambda: (A @ u).sum() + (v * v).sum(),
    lambda: T.tanh(A @ u + v).mean() * u[0],
    lambda: T.exp(u * v - A).max(axis=0).sum(),
    lambda: T.log(1 + T.exp(A.T @ A)).sum() / (1 + (u * u).sum()) + v[1],
    lambda: (A[1:, ::2] * u[:2]).sum() + A.reshape((9,))[4] ** 3 * v[2],
    lambda: T.dot(u, v) * T.concatenate([A, A.T], axis=1)[:, 4].sum(),
])
def test_gradients_are_those_of_finite_differences(cost):
    check(cost(), VALUES)


def test_several_uses_are_added():
    cost = x * x * x + x * T.sin(x) + x
    check(cost, {x: 0.7})
    assert value(grad(x + x + x, x), {x: 5.0}) == 3.0
    assert value(grad((u + u).sum(), u), {u: [1, 2]}).tolist() == [2.0, 2.0]


def test_a_diamond_of_100_layers_is_walked_once():
    h = x
    for _ in range(100):
        h = h * 0.5 + h * 0.5
    g = grad(h, x)
    assert len(toposort([g])) < 1500
    assert value(g, {x: 3.0}) == pytest.approx(1.0, rel=1e-12)


def test_the_result_is_one_variable_or_a_list():
    assert value(grad(x * y, x), {y: 3.0, x: 2.0}) == 3.0
    for wrt in ([x, y], (x, y), iter([x, y])):
        gradients = grad(x * y, wrt)
        assert isinstance(gradients, list)
        assert [float(value(g, {x: 2.0, y: 3.0})) for g in gradients] == [3.0, 2.0]
    assert grad(x * y, []) == []
    twice = grad(x * y, [x, x])
    assert [float(value(g, {x: 2.0, y: 3.0})) for g in twice] == [3.0, 3.0]


def test_the_cost_itself_and_variables_in_between():
    h = T.exp(x)
    cost = h * h + x
    g_cost, g_h, g_x = grad(cost, [cost, h, x])
    at = {x: 0.3}
    assert value(g_cost, at) == 1.0
    assert value(g_h, at) == pytest.approx(2 * np.exp(0.3), rel=1e-14)
    assert value(g_x, at) == pytest.approx(2 * np.exp(0.6) + 1, rel=1e-14)


def test_gradients_of_gradients():
    f = T.sin(x) * T.exp(2 * x) + x**3
    derivative = f
    closed = [  # of sin(x) e^2x + x^3, by hand
        lambda t: np.exp(2 * t) * (np.cos(t) + 2 * np.sin(t)) + 3 * t**2,
        lambda t: np.exp(2 * t) * (4 * np.cos(t) + 3 * np.sin(t)) + 6 * t,
        lambda t: np.exp(2 * t) * (11 * np.cos(t) + 2 * np.sin(t)) + 6,
    ]
    for expected in closed:
        derivative = grad(derivative, x)
        assert value(derivative, {x: 0.4}) == pytest.approx(expected(0.4), rel=1e-12)


def test_second_derivatives_of_arrays_are_those_of_finite_differences():
    cost = T.tanh(A @ u).sum() * (u * v).sum()
    first = grad(cost, [u, v, A])
    check((first[0] * v).sum() + (first[1] ** 2).sum() + (first[2] * A).sum(), VALUES, 1e-6)


def test_broadcasting_is_summed_back_also_where_the_length_is_1_only_at_the_call():
    col, row, b = T.col("col", dtype="float64"), T.row("row", dtype="float64"), T.dscalar("b")
    values = {col: RNG.normal(size=(3, 1)), row: RNG.normal(size=(1, 4)), b: np.array(0.3)}
    check(T.exp(col * row + b).sum(), values)
    unknown = T.dmatrix("unknown")
    for shape in ((3, 3), (1, 3), (3, 1), (1, 1)):
        check((A * unknown).sum() + (u * unknown).sum(), {**VALUES, unknown: RNG.normal(size=shape)} | {v: VALUES[v]},
              disconnected_inputs="ignore")


def test_a_gradient_keeps_the_dtype_of_its_variable():
    w = T.fvector("w")
    g_w, g_u = grad((T.exp(w) * u).sum(), [w, u])
    assert (g_w.dtype, g_u.dtype) == ("float32", "float64")
    cost = (w * w).sum()
    assert cost.dtype == "float32" and grad(cost, w).dtype == "float32"


def test_nothing_flows_through_constant_expressions():
    h = T.exp(x)
    cost = h * x
    at = {x: 0.5}
    assert value(grad(cost, x, consider_constant=[h]), at) == value(h, at)
    assert value(grad(cost, x, consider_constant=h), at) == value(h, at)
    assert value(grad(cost, x), at) == pytest.approx(1.5 * np.exp(0.5), rel=1e-14)
    with pytest.raises(GradientError, match="does not depend on x"):
        grad(h * y, x, consider_constant=[h])


def test_known_gradients_start_the_chain_rule():
    h, k = x * x, T.sin(x)
    at = {x: 0.5, y: 3.0}
    assert value(grad(None, x, known_grads={h: y}), at) == 3.0 * 1.0
    assert value(grad(None, x, known_grads={h: y, k: 2.0}), at) == pytest.approx(3 + 2 * np.cos(0.5), rel=1e-14)
    assert value(grad(k, x, known_grads={h: y}), at) == pytest.approx(3 + np.cos(0.5), rel=1e-14)
    assert grad(None, h, known_grads={h: y}) is y


def test_a_known_gradient_is_not_added_to():
    h = x * x
    assert value(grad(T.exp(h), x, known_grads={h: y}), {x: 0.5, y: 3.0}) == 3.0


@pytest.mark.parametrize("known, error, message", [
    (lambda: {u * 2: y}, ShapeError, "known gradient of u [*] 2 has rank 0, but u [*] 2 has rank 1"),
    (lambda: {u * 2: [[1.0]]}, ShapeError, "rank 2"),
    (lambda: {T.cast(u, "float32"): u}, DtypeError, "is float64, but .* is float32"),
    (lambda: {T.cast(u, "int64"): u}, GradientError, "integers cannot change"),
    (lambda: {"u": u}, TypeError, "known_grads takes symbolic variables, but was given str"),
])
def test_known_gradients_must_fit(known, error, message):
    with pytest.raises(error, match=message):
        grad(None, u, known_grads=known())


def test_what_the_cost_does_not_depend_on():
    cost = T.exp(x)
    with pytest.raises(GradientError, match=r"exp\(x\) does not depend on y \(made at test_grad.py:\d+\).*'ignore'"):
        grad(cost, y)
    with pytest.warns(UserWarning, match=r"exp\(x\) does not depend on u .*zeros") as caught:
        g = grad(cost, u, disconnected_inputs="warn")
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(value(g, {u: [1, 2, 3]}), np.zeros(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        g_x, g_y = grad(cost, [x, y], disconnected_inputs="ignore")
    assert value(g_y, {x: 0.0, y: 9.0}) == 0.0 and value(g_x, {x: 0.0}) == 1.0


@pytest.mark.parametrize("cost", [
    lambda: (x > 0) * y, lambda: T.cast(T.cast(x, "int64"), "float64") * y, lambda: A[T.cast(x, "int64"), 0],
])
def test_no_gradient_flows_through_truth_values_and_integers(cost):
    with pytest.raises(GradientError, match=r"does not depend on x .*or only through integers or comparisons"):
        grad(cost(), x)


@pytest.mark.parametrize("cost, wrt, error, message", [
    (lambda: u * 2, x, GradientError, r"cost must be a scalar, but u \* 2 has shape \(\?,\): take its \.sum\(\)"),
    (lambda: T.lscalar("n") * 2, x, GradientError, r"cost must be a float, but n \* 2 is int64"),
    (lambda: x > 0, x, GradientError, "is bool"),
    (lambda: x * T.lscalar("n"), T.lscalar("n"), GradientError, "n is int64: integers cannot change by a small amount"),
    (lambda: x * 1, T.scalar("flag", dtype="bool"), GradientError, "flag is bool: truth values cannot change"),
    (lambda: 3.0, x, TypeError, "cost must be a symbolic variable, not float"),
    (lambda: None, x, GradientError, "needs a cost, or known_grads"),
    (lambda: x * 1, 3.0, TypeError, "wrt takes symbolic variables, but was given float"),
    (lambda: x * 1, [x, "y"], TypeError, "wrt takes symbolic variables, but was given str"),
    (lambda: x * 1, "x", TypeError, "was given str"),
    (lambda: x * 1, None, TypeError, "was given NoneType"),
])
def test_what_grad_refuses(cost, wrt, error, message):
    with pytest.raises(error, match=message):
        grad(cost(), wrt)


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="'raise', 'warn' or 'ignore', not 'maybe'"):
        grad(x * x, x, disconnected_inputs="maybe")


def test_only_paths_that_lead_to_the_target_are_differentiated():
    heavy = T.exp(T.sin(T.cos(y)))
    g = grad(heavy * x, x)
    assert ancestors([g]).count(heavy) == 1
    assert not re.search(r"cos\(y\) \* ", T.pp(g))
    assert leaves([g]) == [y]


def test_a_chain_of_100_000_nodes():
    h, derivative = x, 1
    for k in range(100_000):
        h = h + x if k % 3 else -h
        derivative = derivative + 1 if k % 3 else -derivative
    assert value(grad(h, x), {x: 0.5}) == derivative


@pytest.mark.parametrize("uses", [10, 5_000])
def test_a_value_with_very_many_uses(uses):
    h = T.exp(x)
    g = grad(T.stack([h * float(k) for k in range(uses)]).sum(), x)
    assert value(g, {x: 0.0}) == uses * (uses - 1) / 2
