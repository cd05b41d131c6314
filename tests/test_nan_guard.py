"""A guarded function fails where a result is not finite, changes nothing, and tells what made the first such value."""

import threading

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph import NanGuardMode, NonFiniteError
from symgraph.compiler import Compiler
from symgraph.function import Function
from symgraph.nan_guard import ADVICE, minds
from symgraph.ops.scalar import SCALAR_FUNCTIONS
from symgraph.options import Options
from symgraph.signature import make_signature

AS_WRITTEN = NanGuardMode(big_is_error=False, optimizer=None)

x, v, u = T.dmatrix("x"), T.dvector("v"), T.fvector("u")


def interpreted(inputs, outputs=None, updates=(), name=None):
    """The function by numpy, guarded: what it is where there is no compiler."""
    guard = NanGuardMode(big_is_error=False)
    return Function(make_signature(inputs, outputs, updates, name=name), Options(mode="numpy", guard=guard), 0.0)


def compiled(inputs, outputs=None, updates=(), name=None):
    return sg.function(inputs, outputs, updates, name=name, mode="nan_guard")


def as_written(inputs, outputs=None, updates=(), name=None):
    return sg.function(inputs, outputs, updates, name=name, mode=AS_WRITTEN)


@pytest.fixture(params=[compiled, as_written, interpreted])
def guarded(request):
    return request.param


def error_of(f, *args):
    with pytest.raises(FloatingPointError) as caught:
        f(*args)
    assert isinstance(caught.value, NonFiniteError)
    return str(caught.value)


# -- what made it


@pytest.mark.parametrize("expression, given, made, of", [
    (lambda: T.log(v), [1.0, 0.0], "log(v)", "at [1]: log(0.0) is -inf"),
    (lambda: T.log(v - 2), [1.0, 3.0], "log(v - 2)", "at [0]: log(-1.0) is nan"),
    (lambda: (v - 1) / (v - v[::-1]), [1.0, 1.0], "(v - 1) / (v - v[::-1])", "at [0]: true_divide(0.0, 0.0) is nan"),
    (lambda: 3 / v, [1.0, 0.0], "3 / v", "at [1]: true_divide(3.0, 0.0) is inf"),
    (lambda: T.exp(v), [1.0, 1000.0], "exp(v)", "at [1]: exp(1000.0) is inf"),
    (lambda: T.exp(v).sum() * 0 + 1, [1.0, 1000.0], "exp(v)", "at [1]: exp(1000.0) is inf"),
    (lambda: T.sqrt(v), [4.0, -1.0], "sqrt(v)", "at [1]: sqrt(-1.0) is nan"),
    (lambda: v**0.5 + 1, [4.0, -1.0], None, "-1.0"),
    (lambda: v**-3, [4.0, 0.0], "v**-3", "at [1]: power(0.0, -3.0) is inf"),
    (lambda: T.arcsin(v), [0.5, 2.0], "arcsin(v)", "at [1]: arcsin(2.0) is nan"),
    (lambda: v * v, [1e200, 1.0], "v * v", "at [0]: mul(1e+200, 1e+200) is inf"),
    (lambda: T.prod(v), [1e200, 1e200], "prod(v)", "v is float64 (2,): min 1e+200, mean 1e+200, max 1e+200"),
    (lambda: v @ v, [1e200, 1.0], "v @ v", "v is float64 (2,)"),
    (lambda: T.grad(T.sqrt(v).sum(), v), [1.0, 0.0], None, "is inf"),
])
def test_names_the_node_that_made_it_from_finite_values(expression, given, made, of, guarded):
    y = expression()
    text = error_of(guarded([v], y, name="f"), given)
    head, first, line, *_ = text.splitlines()
    assert head.startswith("f(): the output is float64")
    if made is not None:
        assert first == f"  first made by  {made}"
    assert first.startswith("  first made by  ")
    assert "test_nan_guard.py:" in line
    assert of in text
    assert "already" not in text
    assert text.splitlines()[-1] == "  nothing has changed"


def test_the_line_is_the_users(guarded):
    hidden = v * 2
    logarithm = T.log(hidden)  # this line
    lines = error_of(guarded([v], T.tanh(logarithm * 0)), [0.0]).splitlines()
    assert lines[2].split("   ")[-1] == "logarithm = T.log(hidden)  # this line"
    assert lines[3] == "    v * 2 is float64 (1,): min 0, mean 0, max 0"


def test_in_a_gradient_the_line_that_it_is_of(guarded):
    root = T.sqrt(v)
    text = error_of(guarded([v], T.grad(root.sum(), v)), [1.0, 0.0])
    assert "in the gradient of  root = T.sqrt(v)" in text


def test_infinities_that_become_nan_are_told_apart(guarded):
    big = T.exp(v)
    text = error_of(guarded([v], big - big[::-1]), [1000.0, 999.0])
    first, then = text.index("first made by  exp(v)"), text.index("then NaN made by  exp(v) - exp(v)[::-1]")
    assert first < then
    assert "at [0]: exp(1000.0) is inf" in text
    assert "at [0]: sub(inf, inf) is nan" in text


def test_infinity_that_ends_in_a_finite_result_is_no_error(guarded):
    f = guarded([v], [1 / T.exp(v), T.tanh(T.exp(v)), T.switch(v > 0, v, -T.exp(-v))])
    for value, expected in zip(f([1000.0, 1.0]), ([0, np.exp(-1)], [1, np.tanh(np.e)], [1000, 1])):
        np.testing.assert_allclose(value, expected, rtol=1e-15)


def test_elements_are_followed_not_arrays(guarded):
    """exp(v) is infinite at one place, but the result is wrong only at the other, where exp(v) is 0."""
    text = error_of(guarded([v], 1 / T.exp(v)), [1000.0, -1000.0])
    assert "made by  1 / exp(v)" in text
    assert "at [1]: true_divide(1.0, 0.0) is inf" in text


def test_what_a_switch_does_not_choose_is_not_blamed(guarded):
    text = error_of(guarded([v], T.switch(v > 0, T.log(v), 1 / (v * 0))), [0.0])
    assert "made by  1 / (v * 0)" in text


def test_only_what_the_bad_result_comes_from_is_blamed(guarded):
    early = T.tanh(T.exp(v))  # overflows, harmlessly
    late = T.log(v - 1000)
    text = error_of(guarded([v], [early, late]), [1000.0])
    assert text.startswith("function(): output 2 is float64 (1,): 1 -inf\n  first made by  log(v - 1000)")


def test_of_several_the_first_in_order(guarded):
    a, b = T.log(v), 1 / v
    lines = error_of(guarded([v], [a + b, b]), [0.0, 1.0]).splitlines()
    assert lines[0].startswith("function(): output 1 is")
    assert "; output 2 is" in lines[0]
    assert lines[1] == "  first made by  log(v)"


def test_of_those_that_compiled_code_shares(guarded):
    """As written both logarithms are infinite; compiled the first is log_softmax, and only the second is to blame."""
    p = T.log(T.nnet.softmax(x))
    q = T.log(x[:, 0])
    f = guarded([x], p.sum(axis=1) + q)
    text = error_of(f, [[0.0, 1000.0]])
    assert ("first made by  log(x[:, 0])" if guarded is compiled else "first made by  log(softmax(x, axis=1))") in text


@pytest.mark.parametrize("dtype, limit", [("float32", "88.72"), ("float64", "709.78")])
def test_overflow_by_dtype(dtype, limit, guarded):
    s = T.TensorType(dtype, (None,))("s")
    f = guarded([s], T.exp(s))
    inside = np.array([float(limit) - 0.01], dtype)
    np.testing.assert_allclose(f(inside), np.exp(inside), rtol=1e-5)
    assert f"exp overflows {dtype} above {limit}" in error_of(f, inside + np.array(0.1, dtype))


def test_overflow_of_a_product_in_float32(guarded):
    text = error_of(guarded([u], (u * u).sum()), np.array([1e30, 2], "float32"))
    assert "first made by  u * u" in text
    assert "the result is larger than float32 holds, 3.4e+38" in text


def test_a_cast_that_overflows(guarded):
    text = error_of(guarded([v], v.astype("float32")), [1e300])
    assert "first made by  float32(v)" in text


# -- what came in wrong


def test_an_input_that_was_wrong_is_named_as_such(guarded):
    text = error_of(guarded([v], T.exp(v) + 1), [1.0, np.nan, 3.0, np.nan])
    assert "the input v (made at test_nan_guard.py" in text
    assert "already was float64 (4,): min 1, mean 2, max 3, 2 nan" in text
    assert "made by" not in text


def test_a_wrong_shared_variable_and_constant(guarded):
    w = sg.shared(np.array([np.inf, 1.0]), "w")
    text = error_of(guarded([v], v + w + np.array([0.0, -np.inf])), [1.0, 1.0])
    assert "the shared w (made at test_nan_guard.py" in text
    assert "the constant" in text
    assert "made by" not in text


def test_nan_made_of_an_infinite_input(guarded):
    text = error_of(guarded([v], v - v[::-1]), [np.inf, np.inf])
    assert "  NaN made by  v - v[::-1]" in text
    assert "the input v" in text
    assert "first made by" not in text


def test_a_wrong_input_and_a_maker(guarded):
    y = T.dvector("y")
    text = error_of(guarded([v, y], T.log(v) + y), [0.0], [np.nan])
    assert "first made by  log(v)" in text
    assert "the input y" in text
    assert "the input v" not in text


def test_a_wrong_input_that_does_not_show_is_no_error(guarded):
    assert guarded([v], T.switch(T.isnan(v), 0.0, v).sum())([1.0, np.nan]) == 1


# -- the state


def test_the_state_is_unchanged_and_the_function_goes_on(guarded):
    w, n = sg.shared(np.ones(2), "w"), sg.shared(0, "n")
    f = guarded([v], v.sum(), updates=[(w, w * T.sqrt(v)), (n, n + 1)])
    storage = w.get_value(borrow=True)
    text = error_of(f, [4.0, -1.0])
    assert text.startswith("function(): the update of w is float64 (2,): min 2, mean 2, max 2, 1 nan\n")
    assert "first made by  sqrt(v)" in text
    assert w.get_value(borrow=True) is storage
    np.testing.assert_array_equal(w.get_value(), [1, 1])
    assert n.get_value() == 0
    assert f([4.0, 9.0]) == 13
    np.testing.assert_array_equal(w.get_value(), [2, 3])
    assert n.get_value() == 1


def test_nan_in_one_update_keeps_all(guarded):
    a, b, c = (sg.shared(np.full(3, k), name) for k, name in ((1.0, "a"), (2.0, "b"), (3.0, "c")))
    f = guarded([v], [], updates=[(a, b), (b, a * v), (c, c - T.log(v))])
    error_of(f, [1.0, 0.0, 1.0])
    assert [s.get_value()[0] for s in (a, b, c)] == [1, 2, 3]
    f([1.0, 1.0, 1.0])
    assert [s.get_value()[0] for s in (a, b, c)] == [2, 1, 3]


def test_training_diverges_and_stops_with_the_last_good_weights(guarded):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    target = T.dvector("target")
    w = sg.shared(np.zeros(3), "w")
    cost = T.sqr(x @ w - target).sum()
    step = guarded([x, target], cost, updates=[(w, w - 10.0 * T.grad(cost, w))], name="step")
    with pytest.raises(NonFiniteError, match="step"):
        for _ in range(1000):
            before = w.get_value()
            assert np.isfinite(step(X, y))
    np.testing.assert_array_equal(w.get_value(), before)
    assert np.isfinite(before).all()


def test_a_state_whose_lengths_change(guarded):
    w = sg.shared(np.ones(1), "w")
    f = guarded([v], updates=[(w, T.concatenate([w, T.log(v)]))])
    f([1.0])
    error_of(f, [0.0])
    np.testing.assert_array_equal(w.get_value(), [1, 0])


def test_function_with_state_of_its_own(guarded):
    s = T.dscalar("s")
    f = guarded([v, sg.In(s, value=1.0, update=s / v.sum())], s)
    assert f([2.0]) == 1
    error_of(f, [0.0])
    assert f([2.0]) == 0.5


def test_variants_for_lengths_that_broadcast(guarded):
    y = T.dmatrix("y")
    w = sg.shared(np.zeros((2, 3)), "w")
    f = guarded([x, y], T.log(x) + y, updates=[(w, w + T.log(x) + y)])
    full = np.ones((2, 3))
    for shape in ((2, 3), (1, 3), (2, 1), (1, 1)):
        w.set_value(np.zeros((2, 3)))
        np.testing.assert_array_equal(f(np.ones(shape), full), full)
        text = error_of(f, np.zeros(shape), full)
        assert "first made by  log(x)" in text
        np.testing.assert_array_equal(w.get_value(), full)


def test_the_first_call_broadcasts_and_is_wrong(guarded):
    y = T.dmatrix("y")
    f = guarded([x, y], T.log(x) + y)
    assert "first made by  log(x)" in error_of(f, np.zeros((1, 3)), np.ones((2, 3)))
    assert f(np.ones((1, 3)), np.ones((2, 3))).shape == (2, 3)


def test_failing_costs_no_compilation(monkeypatch):
    f = compiled([v], T.log(v))
    monkeypatch.setattr(Compiler, "compile", lambda *args: pytest.fail("compiled again"))
    for _ in range(3):
        error_of(f, [0.0])


def test_threads_fail_each_for_itself(guarded):
    w = sg.shared(0.0, "w")
    f = guarded([v], T.log(v).sum(), updates=[(w, w + 1)])
    outcomes = []

    def run(value):
        for _ in range(10):
            try:
                outcomes.append(float(f([value])))
            except NonFiniteError as error:
                outcomes.append(str(error).count("log(0.0) is -inf"))

    threads = [threading.Thread(target=run, args=(value,)) for value in (0.0, np.exp(2.0), 0.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [1] * 20 + [2.0] * 10
    assert w.get_value() == 10


# -- values that are right


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_are_those_of_an_unguarded_function(dtype, guarded):
    rng = np.random.default_rng(0)
    a, b = (T.TensorType(dtype, (None, None))(name) for name in "ab")
    W = sg.shared(rng.normal(size=(4, 3)).astype(dtype), "W")
    outputs = [T.tanh(a @ W), (a * b).T, T.eq(a, b), a.sum(axis=0), T.nnet.softmax(a @ W), a.shape]
    updates = [(W, W - T.grad(T.sqr(a @ W).mean(), W))]
    start = W.get_value()
    A, B = rng.normal(size=(2, 5, 4)).astype(dtype)
    results = []
    for f in (guarded([a, b], outputs, updates), sg.function([a, b], outputs, updates=updates)):
        W.set_value(start)
        results.append([*f(A, B), W.get_value()])
    for guarded_value, value in zip(*results):
        assert guarded_value.dtype == value.dtype
        np.testing.assert_allclose(guarded_value, value, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-6)


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (100_003,)])
def test_one_wrong_element_among_many_or_none(shape, guarded):
    f = guarded([v], v * 2)
    given = np.ones(shape)
    np.testing.assert_array_equal(f(given), given * 2)
    for bad in (np.nan, np.inf, -np.inf):
        for place in (0, -1):
            if given.size:
                wrong = given.copy()
                wrong[place] = bad
                assert "already was" in error_of(f, wrong)


def test_the_largest_finite_numbers_are_fine(guarded):
    for dtype in ("float32", "float64"):
        s = T.TensorType(dtype, (None,))("s")
        extremes = np.array([np.finfo(dtype).max, np.finfo(dtype).min, np.finfo(dtype).smallest_subnormal, -0.0], dtype)
        np.testing.assert_array_equal(guarded([s], s)(extremes), extremes)


def test_prints_and_asserts_in_a_guarded_function(guarded, capsys):
    w = sg.shared(1.0, "w")
    checked = sg.Assert("not negative")(sg.Print("v")(v), v >= 0)
    f = guarded([v], T.log(checked), updates=[(w, w + 1)])
    with pytest.raises(AssertionError, match="not negative"):
        f([-1.0])
    error_of(f, [0.0])
    np.testing.assert_array_equal(f([1.0]), [0])
    assert capsys.readouterr().out.splitlines() == [f"v: float64 (1,) [{k}]" for k in ("-1.", "0.", "1.")]
    assert w.get_value() == 2


def test_a_wrong_shape_stays_a_shape_error(guarded):
    y = T.dvector("y")
    f = guarded([v, y], T.log(v + y))
    with pytest.raises(sg.ShapeError):
        f(np.zeros(2), np.zeros(3))


# -- what to write instead


@pytest.mark.parametrize("expression, given, form", [
    (lambda: T.log(T.nnet.softmax(x)), [[0.0, 1000.0]], "T.nnet.log_softmax"),
    (lambda: T.log(T.nnet.softmax(x))[T.arange(1), 0], [[0.0, 1000.0]], "T.nnet.log_softmax"),
    (lambda: T.log(T.exp(x).sum(axis=1)), [[0.0, 1000.0]], "T.logsumexp"),
    (lambda: T.log(1 + T.exp(x)), [[0.0, 1000.0]], "T.nnet.softplus"),
    (lambda: T.log(T.nnet.sigmoid(x)), [[0.0, -1000.0]], "T.nnet.softplus"),
    (lambda: T.exp(x) / (1 + T.exp(x)), [[0.0, 1000.0]], "T.nnet.sigmoid"),
    (lambda: T.exp(x) / T.exp(x).sum(axis=1, keepdims=True), [[0.0, 1000.0]], "T.nnet.softmax"),
])
def test_the_stable_form_where_the_rewriter_knows_one(expression, given, form):
    y = expression()
    assert np.isfinite(compiled([x], y)(given)).all(), "compiled with all rewrites it is right"
    for guarded in (as_written, interpreted):
        text = error_of(guarded([x], y), given)
        (hint,) = [line for line in text.splitlines() if line.startswith("  stable")][:1]
        assert form in hint
        assert "in place of" in hint
        assert "advice" not in text


def test_cross_entropy_written_naively():
    t = T.dvector("t")
    p = T.nnet.sigmoid(v)
    cost = -(t * T.log(p) + (1 - t) * T.log(1 - p)).mean()
    logits, targets = [800.0, -800.0], [0.0, 1.0]
    assert compiled([v, t], cost)(logits, targets) == 800
    text = error_of(as_written([v, t], cost), logits, targets)
    assert "T.nnet.softplus" in text
    assert "T.nnet.sigmoid_binary_crossentropy" in text


def test_no_form_is_recommended_that_does_not_help(guarded):
    text = error_of(guarded([v], T.log(1 + v)), [-1.0])
    assert "stable" not in text, "log1p(-1) is -inf as well"
    assert "T.nnet.log_softmax" in text


@pytest.mark.parametrize("expression, given, word", [
    (lambda: T.log(v), [-1.0], "negative number"),
    (lambda: T.log(v), [0.0], "log(0) is -inf"),
    (lambda: T.sqrt(v), [-1.0], "T.maximum(x, 0)"),
    (lambda: 1 / v, [0.0], "division by 0"),
    (lambda: v / (v * 1e-300), [1e-200], "division by 0"),
    (lambda: v / 1e-300, [1e200], "larger than float64 holds, 1.8e+308"),
    (lambda: v**1.5, [-1.0], "no such power"),
    (lambda: v**-1.5, [0.0], "division by 0"),
    (lambda: v**5.5, [1e200], "y * T.log(x)"),
])
def test_advice(expression, given, word):
    text = error_of(interpreted([v], expression()), given)
    (advice,) = [line for line in text.splitlines() if line.startswith("  advice")]
    assert word in advice


def test_advice_is_for_functions_that_there_are():
    assert set(ADVICE) <= set(SCALAR_FUNCTIONS)


# -- what counts


@pytest.mark.parametrize("guard, value, fails", [
    (NanGuardMode(nan_is_error=True, inf_is_error=False, big_is_error=False), np.nan, True),
    (NanGuardMode(nan_is_error=True, inf_is_error=False, big_is_error=False), np.inf, False),
    (NanGuardMode(nan_is_error=False, inf_is_error=True, big_is_error=False), np.nan, False),
    (NanGuardMode(nan_is_error=False, inf_is_error=True, big_is_error=False), -np.inf, True),
    (NanGuardMode(nan_is_error=False, inf_is_error=False, big_is_error=True), np.nan, False),
    (NanGuardMode(nan_is_error=False, inf_is_error=False, big_is_error=True), -1.1e10, True),
    (NanGuardMode(), 1e10, False),
    (NanGuardMode(), 1.1e10, True),
    (NanGuardMode(big_is_error=False), 1e300, False),
    (NanGuardMode(False, False, False), np.nan, False),
])
@pytest.mark.parametrize("rank", [0, 1])
def test_what_counts_is_told_by_the_mode(guard, value, fails, rank):
    s = T.TensorType("float64", (None,) * rank)("s")
    given = np.full((3,) * rank, 1.0)
    given[...] = value
    f = sg.function([s], s + 0.0, mode=guard)
    assert minds(given, guard).all() == fails
    if fails:
        assert "the input s" in error_of(f, given)
    else:
        np.testing.assert_array_equal(f(given), given)


def test_big_values_are_followed_to_what_made_them():
    f = sg.function([v], T.sqr(v) + 1, mode=NanGuardMode())
    assert f([1e4]) == 1e8 + 1
    assert "first made by  sqr(v)" in error_of(f, [1e6])


@pytest.mark.parametrize("mode", ["nan_guard", "NanGuardMode"])
def test_modes_by_name(mode):
    error_of(sg.function([v], T.log(v), mode=mode), [0.0])


def test_an_unknown_mode():
    with pytest.raises(ValueError, match="nan_guard"):
        sg.function([v], v, mode="nan-guard")


@pytest.mark.parametrize("name", ['"q"', "*/", "two\nlines", "back\\slash", "??/", "{0}", "%s", "世", "a" * 10_000])
def test_hostile_names(name, guarded):
    h = T.dvector(name)
    w = sg.shared(np.ones(1), name)
    text = error_of(guarded([h], T.log(h), updates=[(w, w / h)], name=name), [0.0])
    assert len(text) < 3000
    assert "two\nlines" not in text
    assert "first made by" in text


def test_integers_and_truth_values_are_always_fine(guarded):
    n = T.lvector("n")
    outputs = guarded([n], [n * n, n > 1, n.sum()])([2**62, 3])
    assert outputs[0][0] == 0


def test_a_long_chain():
    y = v
    for _ in range(3000):
        y = y * 1.01 + 0.1
    text = error_of(interpreted([v], T.log(-y)), [1.0])
    assert "first made by  log(" in text
