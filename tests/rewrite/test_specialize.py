"""The rules that make things cheaper: their form, and their numbers."""

import math

import numpy as np
import pytest
from mpmath import mp, mpf

import symgraph as sg
import symgraph.tensor as T
from symgraph.grad import grad
from symgraph.graph.node import as_variable
from symgraph.graph.traverse import toposort
from symgraph.ops.creation import arange, shared, zeros
from symgraph.ops.elementary import exp, sigmoid, sqr, sqrt, tanh
from symgraph.ops.gather import Places, Scatter, Take
from symgraph.ops.linalg import dot
from symgraph.ops.matrices import Dot, Gemm
from symgraph.ops.nn import softmax
from symgraph.ops.reduce import Sum
from symgraph.rewrite.pipeline import rewrite
from symgraph.variants import refine

RNG = np.random.default_rng(0)
CELLS = Places((0, 1))


def ops(*outputs):
    return [type(node.op) for node in toposort(outputs)]


def labels(*outputs):
    return [node.op.label for node in toposort(outputs)]


# Powers and quotients ----------------------------------------------------------------------------

POWERS = {
    0.5: lambda x: sqrt(x), -0.5: None, -1: lambda x: 1 / x, -2: lambda x: sqr(1 / x), 1: lambda x: x,
    2: lambda x: sqr(x), 3: lambda x: sqr(x) * x, 4: lambda x: sqr(sqr(x)), 5: lambda x: sqr(sqr(x)) * x,
    6: lambda x: sqr(sqr(x) * x), -3: lambda x: sqr(1 / x) * (1 / x), 7: None, 10: None, -4: None, 1.5: None, 99: None,
    float("inf"): None,
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", POWERS)
def test_powers(n, dtype, var, check, is_same):
    x = var(dtype)
    result = check(x**n, {x: [0.3, 1.0, 2.5, 7.0]}, rtol=1e-6).outputs[0]
    assert is_same(result, POWERS[n](x)) if POWERS[n] else "power" in labels(result)


@pytest.mark.parametrize("build, is_positive", [
    (lambda x: x.var(axis=0) + 1e-5, True),
    (lambda x: ((x - x.mean(axis=1, keepdims=True)) ** 2).mean(axis=1) + 1e-5, True),
    (lambda x: (x**2).sum(axis=1) + 1e-8, True),
    (lambda x: T.exp(x) + abs(x), True),
    (lambda x: x, False),
    (lambda x: x + 1, False),
    (lambda x: x**2, False),
    (lambda x: x**2 - 1, False),
])
def test_the_reciprocal_of_a_root_where_it_is_that(build, is_positive):
    x = T.dmatrix("x")
    f = sg.function([x], build(x) ** -0.5)
    assert ("sg_power_f64" not in f.c_source) == is_positive
    plain = sg.function([x], build(x) ** -0.5, mode="numpy")
    for values in (RNG.normal(size=(4, 3)), np.array([[-0.0, -math.inf, 0.0], [math.nan, math.inf, -1.0]])):
        found, expected = f(values), plain(values)
        np.testing.assert_allclose(found, expected, rtol=1e-14)
        numbers = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [-32, -10, -4, -3, -2, 2, 3, 4, 5, 6, 7, 10, 31, 32])
def test_whole_powers_are_within_four_units_in_the_last_place(n, dtype):
    """Also where the result has no full precision, and where only a part of it would be too large."""
    x = T.vector("x", dtype=dtype)
    f = sg.function([x], x**n)
    assert "log" not in f.c_source and f"sg_power_{dtype.replace('loat', '')}" not in f.c_source
    limits = np.finfo(dtype)
    reach = (limits.maxexp + limits.nmant) / abs(n)
    values = np.concatenate([RNG.uniform(1, 2, 2000), np.exp2(RNG.uniform(-reach, reach, 2000))])
    values = (values * RNG.choice([-1, 1], values.size)).astype(dtype)
    worst = 0.0
    with mp.workdps(40):
        for value, found in zip(values.tolist(), f(values).tolist(), strict=True):
            true = mpf(value) ** n
            if abs(true) < mpf(2) ** limits.maxexp:
                unit = mpf(2) ** max(mp.frexp(true)[1] - limits.nmant - 1, limits.minexp - limits.nmant)
                worst = max(worst, float(abs(mpf(found) - true) / unit))
            else:
                assert math.isinf(found)
    assert worst <= 4
    with np.errstate(all="ignore"):
        edges = np.array([0, -0.0, 1, -1, math.inf, -math.inf, math.nan, limits.max, -limits.max, limits.tiny], dtype)
        np.testing.assert_array_equal(f(edges), edges ** np.array(n, dtype))
        np.testing.assert_array_equal(np.signbit(f(edges[:2])), np.signbit(edges[:2] ** np.array(n, dtype)))


def test_powers_of_integers(var, check):
    x = var("int64")
    for n in (1, 2, 3, 8):
        assert "power" not in labels(*check(x**n, {x: [-3, 0, 7, 1000]}, exact=True).outputs)
    assert "power" in labels(*rewrite([x ** as_variable(-1)]).outputs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_power_of_two_divides_by_a_product(var, check, is_same, dtype):
    x = var(dtype)
    values = {x: RNG.normal(size=9)}
    assert is_same(check(x / 8, values, exact=True).outputs[0], x * 0.125)
    assert is_same(check(x / -0.25, values, exact=True).outputs[0], x * -4)
    assert is_same(check(x / 3, values, exact=True).outputs[0], x / 3)
    tiny = float(np.finfo(dtype).smallest_subnormal)
    assert labels(*check(x / as_variable(tiny, dtype), values, exact=True).outputs) == ["true_divide"]


def test_subtracting_a_constant_is_spelled_so(var, rewritten, is_same):
    x = var("float64")
    assert is_same(rewritten(x - 3), x - 3)
    assert is_same(rewritten((x - 3) - 4), x - 7)


@pytest.mark.parametrize("build", [
    lambda x, y: x, lambda x, y: -x, lambda x, y: x * 2, lambda x, y: x / -3, lambda x, y: x - y,
])  # fmt: skip
def test_the_derivative_of_sigmoid_takes_one_exponential(var, check, build):
    x, y = var("float64"), var("float64")
    values = {x: RNG.normal(size=5), y: RNG.normal(size=5)}
    z = build(x, y)
    for built in (sigmoid(z) * (1 - sigmoid(z)), sigmoid(-z) * sigmoid(z), grad(sigmoid(z).sum(), x)):
        assert labels(*check(built, values).outputs).count("sigmoid") == 1
    for built in (sigmoid(z) * sigmoid(-x - 1), sigmoid(z) * sigmoid(x * -5), sigmoid(z) * sigmoid(x + y)):
        assert labels(*check(built, values).outputs).count("sigmoid") == 2


def test_a_sum_over_axes_that_are_no_neighbours_is_two(var, check):
    x = var("float64", 4)
    result = check(x.sum(axis=(0, 2, 3)), {x: RNG.normal(size=(2, 3, 4, 2))}).outputs[0]
    assert [node.op for node in toposort([result])] == [Sum((2, 3)), Sum((0,))]
    joined = rewrite([x.sum(axis=(1, 2))]).outputs[0]
    assert [node.op for node in toposort([joined])] == [Sum((1, 2))]


# Products of matrices ----------------------------------------------------------------------------


@pytest.fixture
def matrices(var):
    a, b, c = var("float64", 2, "a"), var("float64", 2, "b"), var("float64", 2, "c")
    s, t = var("float64", 0, "s"), var("float64", 0, "t")
    values = {a: RNG.normal(size=(4, 3)), b: RNG.normal(size=(3, 5)), c: RNG.normal(size=(4, 5)), s: 0.5, t: -2.0}
    return a, b, c, s, t, values


ACCUMULATED = {
    "c + a @ b": lambda a, b, c, s, t: c + dot(a, b),
    "a @ b + c": lambda a, b, c, s, t: dot(a, b) + c,
    "c - a @ b": lambda a, b, c, s, t: c - dot(a, b),
    "a @ b - c": lambda a, b, c, s, t: dot(a, b) - c,
    "c - 0.1 * a @ b": lambda a, b, c, s, t: c - 0.1 * dot(a, b),
    "c - s * (a @ b)": lambda a, b, c, s, t: c - s * dot(a, b),
    "c + (a @ b) / s": lambda a, b, c, s, t: c + dot(a, b) / s,
    "t * c - s * (a @ b)": lambda a, b, c, s, t: t * c - s * dot(a, b),
    "0.9 * c - (0.1 * s) * (a @ b) / t": lambda a, b, c, s, t: 0.9 * c - (0.1 * s) * dot(a, b) / t,
    "c - 0.1 * (0.2 * c + a @ b)": lambda a, b, c, s, t: c - 0.1 * (0.2 * c + dot(a, b)),
    "s * (c - t * (a @ b)) - 2 * c": lambda a, b, c, s, t: s * (c - t * dot(a, b)) - 2 * c,
    "c + (a @ b + c)": lambda a, b, c, s, t: c + (dot(a, b) + c),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCUMULATED)
def test_a_product_is_added_up_in_the_matrix(name, matrices, check):
    *operands, values = matrices
    build = ACCUMULATED[name]
    result = check(build(*operands), values)
    assert [op for op in ops(*result.outputs) if op in (Dot, Gemm)] == [Gemm]
    assert toposort(result.outputs)[-1].op == Gemm()
    check(exp(build(*operands)), values)


def test_two_products_are_added_up_in_one_matrix(matrices, check):
    a, b, *_, values = matrices
    result = check(dot(a, b) + dot(a * 2, b), values)
    assert sorted(op.__name__ for op in ops(*result.outputs) if op in (Dot, Gemm)) == ["Dot", "Gemm"]


@pytest.mark.parametrize("build", [
    lambda a, b, c, s, t: [c + dot(a, b), dot(a, b)],  # used twice: it would be computed twice
    lambda a, b, c, s, t: [tanh(c) + dot(a, b)],  # the loop that computes tanh(c) adds it
    lambda a, b, c, s, t: [c + c * dot(a, b)],  # no scalar factor
    lambda a, b, c, s, t: [c[:1] + dot(a, b)],
    lambda a, b, c, s, t: [c[0] + dot(a, b)],  # stretched
    lambda a, b, c, s, t: [c + dot(a, b) + dot(a, b)[0]],
])  # fmt: skip
def test_where_a_product_is_not_added_up_in_a_matrix(build, matrices, check):
    *operands, values = matrices
    assert Gemm not in ops(*check(build(*operands), values).outputs)


def test_a_row_is_not_stretched_by_a_product(var, check):
    a, b, row = var("float64", 2), var("float64", 2), var("float64", 2, shape=(1, None))
    values = {a: RNG.normal(size=(4, 3)), b: RNG.normal(size=(3, 5)), row: RNG.normal(size=(1, 5))}
    assert Gemm not in ops(*check(row + dot(a, b), values).outputs)


def test_float32_products_stay_float32(var, check):
    a, b, c = (var("float32", 2) for _ in range(3))
    values = {a: RNG.normal(size=(2, 3)), b: RNG.normal(size=(3, 2)), c: RNG.normal(size=(2, 2))}
    result = check(c - 0.1 * dot(a, b), values, rtol=1e-5)
    assert Gemm in ops(*result.outputs) and result.outputs[0].dtype == "float32"


def test_the_update_of_a_weight_matrix_is_one_gemm(var):
    x, y = var("float64", 2), var("float64")
    w = shared(RNG.normal(size=(3,)), "w")
    cost = ((dot(x, w) - y) ** 2).mean()
    (update,) = rewrite([w - 0.1 * grad(cost, w)]).outputs
    assert update.owner.op == Gemm() and update.owner.inputs[0] is w


def test_a_cost_with_squares_of_weights_leaves_the_update_one_gemm(var):
    x, y = var("float64", 2), var("float64", 2)
    w = shared(RNG.normal(size=(3, 2)), "w")
    cost = ((dot(x, w) - y) ** 2).sum() + 0.001 * (w**2).sum()
    (update,) = rewrite([w - 0.1 * grad(cost, w)]).outputs
    assert update.owner.op == Gemm() and update.owner.inputs[0] is w and update.owner.inputs[4].owner is None


def test_a_product_that_is_wanted_itself_is_not_taken_into_another(matrices, check):
    a, b, c, *_, values = matrices
    inner = 0.2 * c + dot(a, b)
    assert ops(*check([inner, c - 0.1 * inner], values).outputs).count(Gemm) == 1


FEW = {
    "two columns": (lambda a, b: a @ b, (5, 2), (2, 3)),
    "columns of a transposed matrix": (lambda a, b: a.T @ b.T, (4, 5), (3, 4)),
    "one column": (lambda a, b: a @ b, (5, 1), (1, 3)),
    "a vector on the left": (lambda a, b: a @ b, (3,), (3, 6)),
    "a short vector": (lambda a, b: a @ b, (5, 4), (4,)),
    "few rows of a transposed matrix": (lambda a, b: a.T @ b, (50, 2), (50,)),
    "no rows": (lambda a, b: a @ b, (0, 2), (2, 3)),
    "no columns": (lambda a, b: a @ b, (5, 2), (2, 0)),
    "a sum over nothing for few rows": (lambda a, b: a.T @ b, (0, 2), (0,)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", FEW)
def test_few_products_are_loops(case, dtype, check):
    build, left, right = FEW[case]
    a, b = (T.tensor(dtype, shape, name) for name, shape in (("a", left), ("b", right)))
    values = {a: RNG.normal(size=left).astype(dtype), b: RNG.normal(size=right).astype(dtype)}
    result = check(build(a, b), values, rtol=1e-5 if dtype == "float32" else 1e-12).outputs[0]
    assert Dot not in ops(result)
    extreme = [np.ones(shape, dtype) for shape in (left, right)]
    extreme[0][..., :1], extreme[1][..., -1:] = -np.inf, 0.0
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(sg.function([a, b], build(a, b))(*extreme), build(*extreme))


@pytest.mark.parametrize("left, right", [
    ((5, 5), (5, 3)), ((None, None), (None, None)), ((2, 0), (0, 3)), ((2, 9), (9,)),
])  # fmt: skip
def test_other_products_are_calls(left, right):
    a, b = (T.tensor("float64", shape, name) for name, shape in (("a", left), ("b", right)))
    assert Dot in ops(rewrite([a @ b]).outputs[0])


def test_a_small_network_is_one_loop():
    x, W, v = T.dmatrix("x"), sg.shared(RNG.normal(size=(2, 2)), "W"), sg.shared(RNG.normal(size=2), "v")
    f = sg.function([x], sigmoid(sigmoid(x @ W) @ v))
    assert [step.kind for step in f.graph.steps] == ["nest"]


def test_integer_products_are_left_alone(var, check):
    a, b, c = (var("int64", 2) for _ in range(3))
    values = {x: RNG.integers(-3, 3, (2, 2)) for x in (a, b, c)}
    assert Gemm not in ops(*check(c + dot(a, b), values, exact=True).outputs)


# Elements at x[i, j] -----------------------------------------------------------------------------


def scattered(x, y, i, j):
    return Scatter(CELLS, True)(x.zeros_like(), y, i, j)


@pytest.mark.parametrize("labels_dtype", ["int64", "int8", "uint8"])
def test_one_hot_rows_instead_of_scattering(var, check, labels_dtype):
    x, y, j = var("float64", 2), var("float64"), var(labels_dtype)
    chosen = np.array([1, 2, 0, 1]) if labels_dtype == "uint8" else np.array([1, -1, 0, -2])
    values = {x: RNG.normal(size=(4, 3)), y: RNG.normal(size=4), j: chosen}
    result = check(scattered(x, y, arange(x.shape[0]), j), values, exact=True)
    assert Scatter not in ops(*result.outputs) and "switch" in labels(*result.outputs)
    known = var("float64", 2, shape=(4, 3))
    given = var(labels_dtype, shape=(4,))
    built = scattered(known, as_variable(2.0), as_variable(np.arange(4)), given)
    result = check(built, {known: values[x], given: chosen}, exact=True)
    assert Scatter not in ops(*result.outputs)


@pytest.mark.parametrize("rows", [[0, 1, 2, 2], [3, 2, 1, 0]])
def test_rows_in_another_order_are_scattered(var, check, rows):
    x, y, j = var("float64", 2), var("float64"), var("int64")
    values = {x: RNG.normal(size=(4, 3)), y: RNG.normal(size=4), j: [1, 0, 1, 2]}
    assert Scatter in ops(*check(scattered(x, y, as_variable(rows), j), values).outputs)


def test_rows_that_are_counted_beside_others_are_all_rows(var, check):
    x, y, j = var("float64", 2), var("float64"), var("int64")
    values = {x: RNG.normal(size=(4, 3)), y: RNG.normal(size=4), j: [2, 0, -1, 1]}
    result = check(scattered(x, y, arange(j.shape[0]), j), values, exact=True)
    assert Scatter not in ops(*result.outputs)
    rows = y.dimshuffle(0, "x")
    picked = check(Take(CELLS)(x * rows, arange(j.shape[0]), j), values, exact=True)
    assert ops(*picked.outputs).count(Take) == 1, "that of x; all of y is taken as it is"
    minibatch = Take(CELLS)(x[1:3] * rows[1:3], arange(j[1:3].shape[0]), j[1:3])
    assert ops(*check(minibatch, values, exact=True).outputs).count(Take) == 1


def test_rows_that_may_be_fewer_are_scattered(var, check):
    x, j = var("float64", 2), var("int64")
    values = {x: RNG.normal(size=(4, 3)), j: [2, 0]}
    roots, _ = refine([scattered(x, as_variable(1.5), i := arange(j.shape[0]), j)], {}, {i})
    assert Scatter in ops(*check(roots, values).outputs)


def test_sums_of_scattered_rows(var, check):
    x, y, i, j = var("float64", 2), var("float64"), var("int64"), var("int64")
    values = {x: RNG.normal(size=(4, 3)), y: RNG.normal(size=5), i: [0, 3, 3, -1, 0], j: [2, 1, 1, 0, 0]}
    result = check(scattered(x, y, i, j).sum(axis=1), values)
    assert all(node.output.ndim < 2 for node in toposort(result.outputs))
    in_order = scattered(x, y, arange(x.shape[0]), j).sum(axis=1)
    rows = check(in_order, {x: values[x], y: RNG.normal(size=4), j: [2, 1, 1, 0]})
    assert rows.outputs == (y,)
    check(scattered(x, as_variable(2.0), i, as_variable([1])).sum(axis=1), values)
    check(scattered(x, y, i, j).sum(axis=0), values)
    check(scattered(x, y, i, j).sum(), values)


@pytest.mark.parametrize("build", [
    lambda s, x: s + x, lambda s, x: x + s, lambda s, x: s - x, lambda s, x: x - s,
])  # fmt: skip
def test_scattering_onto_a_sum(build, var, check):
    x, y, i = var("float64", 2), var("float64", 2), var("int64")
    s = Scatter(Places((0,)), True)(x.zeros_like(), y, i)
    values = {x: RNG.normal(size=(4, 3)), y: RNG.normal(size=(2, 3)), i: [1, 1]}
    result = check(build(s, tanh(x)), values)
    (node,) = [node for node in toposort(result.outputs) if isinstance(node.op, Scatter)]
    assert "tanh" in labels(node.inputs[0])
    small = check(build(s, x[0]), values)  # a row does not hold the result
    assert Scatter in ops(*small.outputs)


def test_what_replaces_elements_is_not_added(var, check):
    x, y, i = var("float64", 2), var("float64", 2), var("int64")
    s = Scatter(Places((0,)), False)(x.zeros_like(), y, i)
    check(s + x, {x: RNG.normal(size=(4, 3)), y: RNG.normal(size=(2, 3)), i: [1, 3]})


def test_only_the_elements_taken_are_computed(var, check):
    x, row, column = var("float64", 2), var("float64"), var("float64", 2, shape=(None, 1))
    i, j = var("int64"), var("int64")
    values = {x: RNG.normal(size=(4, 3)), row: RNG.normal(size=3), column: RNG.normal(size=(4, 1))}
    values |= {i: [0, 3, 3], j: [2, 1, 0]}
    wide = exp(x + row) * column / 2
    result = check(wide[i, j], values)
    assert all(node.output.ndim < 2 or node.inputs == (column,) for node in toposort(result.outputs))
    known = var("float64", 2, shape=(1, 3))
    check((x * known)[i, j], {**values, known: RNG.normal(size=(1, 3))})


def test_a_value_that_is_used_elsewhere_too_is_computed_once(var, check):
    x, i = var("float64", 2), var("int64")
    y = exp(x)
    result = check([y, y[i, i]], {x: RNG.normal(size=(4, 3)), i: [0, 2]})
    assert labels(*result.outputs).count("exp") == 1


def test_taking_all_rows_takes_nothing(var, check):
    x = var("float64")
    result = check(Take(Places((0,)))(x, arange(x.shape[0])), {x: [1.0, 2.0]})
    assert result.outputs == (x,)
    y = var("float64")
    kept = check(Take(Places((0,)))(x, arange(y.shape[0])), {x: [1.0, 2.0], y: [0.0]})
    assert Take in ops(*kept.outputs)


def test_zeros_with_elements_added_at_all_rows(var, check):
    y = var("float64", shape=(3,))
    result = check(Scatter(Places((0,)), True)(zeros(3, "float64"), y, as_variable([0, 1, 2])), {y: [1.0, 2.0, 3.0]})
    assert result.outputs == (y,)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axis", [0, 1])
def test_softmax_divides_once_a_row(dtype, axis, var, check):
    x = var(dtype, 2)
    inf, nan = np.inf, np.nan
    values = np.array([[0, 1000, -500], [2, 2, 2], [-inf, -inf, -inf], [inf, 1, inf], [nan, 1, 2], [-inf, 3, 3.5]])
    result = check(softmax(x, axis=axis), {x: RNG.normal(size=(40, 50)) * 30}, rtol=4 * np.finfo(dtype).eps)
    (divided,) = (node for node in toposort(result.outputs) if node.op.label == "true_divide")
    assert divided.inputs[0].ndim == 0, "1 is divided by the sums"
    for rows in (slice(None), slice(0, 2), slice(2, 3), slice(5, 6)):
        with np.errstate(all="ignore"):
            check(softmax(x, axis=axis), {x: values[rows]}, rtol=4 * np.finfo(dtype).eps)
