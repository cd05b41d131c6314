"""`Print` and `Assert`: the same in compiled code and in numpy, whatever rewriting makes of the graph around them."""

import io
import sys
import threading

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph import AssertionFailure, DtypeError, ShapeError
from symgraph.graph.traverse import toposort
from symgraph.ops.debugging import FEW, Assert, Print, spread, summary
from symgraph.testing import check_grad

HOSTILE = [
    '"quoted"', "*/ int x; /*", "two\nlines", "back\\slash", "??/", "<script>", "{0} {x} {", "%s %n", "é世界",
    "a" * 10_000,
]  # fmt: skip

x, v = T.dmatrix("x"), T.dvector("v")


@pytest.fixture(params=["c", "FAST_COMPILE", "numpy", "nan_guard"])
def mode(request):
    return request.param


def lines(capsys):
    return capsys.readouterr().out.splitlines()


# -- Print


def test_prints_at_each_call_and_changes_nothing(mode, capsys):
    f = sg.function([v], Print("v is")(v) * 2, mode=mode)
    assert lines(capsys) == []
    np.testing.assert_array_equal(f(np.array([1.0, 2.5])), [2, 5])
    assert lines(capsys) == ["v is: float64 (2,) [1. 2.5]"]
    f([-1.0])
    assert lines(capsys) == ["v is: float64 (1,) [-1.]"]


@pytest.mark.parametrize(
    "value, text",
    [
        (np.array(0.25), "x: float64 0.25"),
        (np.array([True, False]), "x: bool (2,) [True False]"),
        (np.array([[1, 2], [3, 4]], "int8"), "x: int8 (2, 2) [[1 2] [3 4]]"),
        (np.zeros((0, 3), "float32"), "x: float32 (0, 3) []"),
        (np.array([np.nan, -np.inf]), "x: float64 (2,) [nan -inf]"),
        (
            np.arange(2.0**64, step=2.0**59).astype("uint64"),
            "x: uint64 (32,) min 0, mean 8.93514e+18, max 17870283321406128128; "
            "[0 576460752303423488 1152921504606846976 1729382256910270464 2305843009213693952 2882303761517117440 "
            "3458764513820540928 4035225266123964416 ...]",
        ),
    ],
)
def test_what_is_printed_of_every_kind_of_value(value, text, mode, capsys):
    s = T.TensorType(str(value.dtype), (None,) * value.ndim)("s")
    result = sg.function([s], Print("x")(s), mode="c" if mode == "nan_guard" else mode)(value)
    assert result.dtype == value.dtype
    assert lines(capsys) == [text]


def test_a_large_array_is_told_by_its_range_and_first_elements(mode, capsys):
    big = np.arange(1_000_000.0).reshape(1000, 1000)
    sg.function([x], Print("big")(x).sum(), mode=mode)(big)
    assert lines(capsys) == ["big: float64 (1000, 1000) min 0, mean 500000, max 999999; [0. 1. 2. 3. 4. 5. 6. 7. ...]"]


def test_without_a_message_the_expression_stands_there(capsys):
    sg.function([v], Print()(v * 2).sum())([3.0])
    assert lines(capsys) == ["v * 2: float64 (1,) [6.]"]


def test_attributes_as_in_theano(mode, capsys):
    f = sg.function([v], sg.printing.Print("v", attrs=("shape", "max", "__str__"))(v), mode=mode)
    f([1.0, 2.0])
    assert lines(capsys) == ["v shape = (2,)", "v max = 2.0", "v: float64 (2,) [1. 2.]"]
    f([])
    assert lines(capsys)[1].startswith("v max: ValueError: zero-size array"), "the call itself does not fail"


def test_an_attribute_that_arrays_lack_is_refused_at_once():
    with pytest.raises(AttributeError, match="'shpe'"):
        Print("v", attrs=("shpe",))


def test_global_fn_gets_the_op_and_a_copy(mode):
    seen = []

    def keep(op, value):
        value *= 2
        seen.append((op.message, value))

    f = sg.function([v], Print("m", global_fn=keep)(v), mode=mode)
    given = np.array([1.0, 2.0])
    np.testing.assert_array_equal(f(given), [1, 2])
    np.testing.assert_array_equal(given, [1, 2])
    ((message, value),) = seen
    assert message == "m"
    np.testing.assert_array_equal(value, [2, 4])


def test_the_order_is_that_of_the_graph(mode, capsys):
    a = Print("first")(v + 1)
    b = Print("second")(a * 2)
    c = Print("third")(T.exp(v) + b)
    sg.function([v], [c, a], mode=mode)([0.0])
    assert [line.split(":")[0] for line in lines(capsys)] == ["first", "second", "third"]


def test_every_use_of_print_prints_once_per_call(mode, capsys):
    p = Print("p")(v)
    sg.function([v], [p + 1, p * p, Print("p")(v)], mode=mode)([1.0])
    assert len(lines(capsys)) == 2, "one for each node, though both have one value"


@pytest.mark.parametrize("use", [lambda p: p.shape[0], lambda p: p * 0, lambda p: T.zeros_like(p), lambda p: p - p])
def test_prints_whatever_rewriting_leaves_of_it(use, mode, capsys):
    sg.function([v], use(Print("p")(v)), mode=mode)([1.0])
    assert lines(capsys) == ["p: float64 (1,) [1.]"]


def test_what_no_result_depends_on_is_not_printed(mode, capsys):
    known = T.TensorType("float64", (1,))("known")
    sg.function([known], T.grad(Print("p")(known).sum(), known), on_unused_input="ignore", mode=mode)([1.0])
    assert lines(capsys) == []


def test_is_not_in_the_way_of_rewriting():
    z = T.dmatrix("z")
    f = sg.function([z], T.log(Print("p", attrs=("shape",))(T.nnet.softmax(z))))
    assert f(np.array([[0.0, 1000.0]]))[0, 0] == -1000


def test_prints_in_updates_and_of_the_old_state(mode, capsys):
    w = sg.shared(np.ones(2), "w")
    f = sg.function([], Print("out")(w * 10), updates=[(w, Print("new")(w + Print("old")(w)))], mode=mode)
    np.testing.assert_array_equal(f(), [10, 10])
    np.testing.assert_array_equal(w.get_value(), [2, 2])
    f()
    expected = [f"{n}: float64 (2,) [{k}. {k}.]" for n, k in
                (("out", 10), ("old", 1), ("new", 2), ("out", 20), ("old", 2), ("new", 4))]  # fmt: skip
    assert lines(capsys) == expected


@pytest.mark.parametrize(
    "outputs, expected",
    [
        (None, None),
        ([], []),
        ({"a": v + 1}, {"a": np.array([2.0])}),
        ([v + 1], [np.array([2.0])]),
    ],
)
def test_results_keep_their_form(outputs, expected, mode, capsys):
    w = sg.shared(np.zeros(1), "w")
    assert sg.function([v], outputs, updates=[(w, Print("w")(w + v))], mode=mode)([1.0]) == expected
    assert lines(capsys) == ["w: float64 (1,) [1.]"]


def test_a_failing_call_prints_what_was_computed_before(mode, capsys):
    w = sg.shared(np.ones(3), "w")
    p = Print("v")(v)
    f = sg.function([v], Print("never")(w[T.cast(p, "int64")]), updates=[(w, w + 1)], mode=mode)
    with pytest.raises(IndexError):
        f([7.0])
    assert lines(capsys) == ["v: float64 (1,) [7.]"]
    np.testing.assert_array_equal(w.get_value(), np.ones(3))


def test_a_new_variant_prints_once(mode, capsys):
    a, b = T.dmatrix("a"), T.dmatrix("b")
    f = sg.function([a, b], Print("sum", attrs=("shape",))(a + b), mode=mode)
    for _ in range(2):
        assert f(np.ones((3, 1)), np.ones((3, 4))).shape == (3, 4)
        assert f(np.ones((3, 4)), np.ones((3, 4))).shape == (3, 4)
    assert lines(capsys) == ["sum shape = (3, 4)"] * 4


@pytest.mark.parametrize("message", HOSTILE)
def test_hostile_messages(message, mode, capsys):
    f = sg.function([v], Print(message)(v) + 1, mode=mode)
    f([1.0])
    assert capsys.readouterr().out == f"{message}: float64 (1,) [1.]\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_stdout_cannot_encode_is_escaped(encoding, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    sg.function([v], Print("世\ud800")(v))([1.0])
    sys.stdout.flush()
    expected = "世" if encoding == "utf-8" else "\\u4e16"
    assert raw.getvalue().decode(encoding) == f"{expected}\\ud800: float64 (1,) [1.]\n"


def test_no_stdout_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert sg.function([v], Print("p")(v))([1.0]) == [1.0]


def test_threads_print_whole_calls(capsys):
    f = sg.function([v], Print("b")(Print("a")(v) * 2))
    threads = [threading.Thread(target=lambda k=k: [f([k]) for _ in range(20)]) for k in (1.0, 2.0, 3.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    printed = lines(capsys)
    pairs = {("a: float64 (1,) [1.]", "b: float64 (1,) [2.]"), ("a: float64 (1,) [2.]", "b: float64 (1,) [4.]"),
             ("a: float64 (1,) [3.]", "b: float64 (1,) [6.]")}  # fmt: skip
    assert len(printed) == 120
    assert set(zip(printed[::2], printed[1::2])) == pairs


def test_gradient_passes_through_print(capsys):
    check_grad(lambda a: T.exp(Print("a")(T.sin(a))), [np.array([0.5, 1.0])])
    f = sg.function([v], T.grad(T.exp(Print("e")(2 * v)).sum(), v))
    np.testing.assert_allclose(f([0.5]), [2 * np.e], rtol=1e-15)
    assert lines(capsys) == ["e: float64 (1,) [1.]"]


@pytest.mark.parametrize(
    "value, text",
    [
        (np.array([]), "empty"),
        (np.array([np.nan, np.inf, -np.inf, np.inf]), "1 nan, 2 inf, 1 -inf"),
        (np.array([1.0, np.nan, 3.0]), "min 1, mean 2, max 3, 1 nan"),
        (np.full(3, 3e38, "float32"), "min 3e+38, mean 3e+38, max 3e+38"),
        (np.full(3, np.finfo("float64").max), "min 1.79769e+308, mean inf, max 1.79769e+308"),
        (np.array([2**63 - 1, -(2**63)]), "min -9223372036854775808, mean 0, max 9223372036854775807"),
        (np.array([True, False]), "min False, mean 0.5, max True"),
    ],
)
def test_spread(value, text):
    assert spread(value) == text


def test_summary_shows_all_of_few_elements_whatever_numpy_is_told():
    with np.printoptions(threshold=1, linewidth=10):
        assert summary(np.arange(FEW)) == f"int64 ({FEW},) [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15]"


# -- Assert


@pytest.mark.parametrize(
    "condition, good, bad",
    [
        (lambda: v > 0, [1.0, 2.0], [1.0, -2.0]),
        (lambda: (v > 0).all(), [1.0, 2.0], [1.0, -2.0]),
        (lambda: (v > 0)[0], [1.0, -2.0], [-1.0, 2.0]),
        (lambda: (v > 0)[:1].reshape(()), [1.0, -2.0], [-1.0, 2.0]),
        (lambda: (v > 0).any(keepdims=True).dimshuffle(), [1.0, -2.0], [-1.0, -2.0]),
        (lambda: v @ v < 10, [1.0, 2.0], [3.0, 4.0]),
        (lambda: v.sum(), [1.0, 2.0], [1.0, -1.0]),
        (lambda: v.shape[0] < 3, [1.0, 2.0], [1.0, 2.0, 3.0]),
        (lambda: T.eq(T.arange(T.cast(v.sum(), "int64")).shape[0], 3), [1.0, 2.0], [2.0, 2.0]),
        (lambda: T.cast(v, "int64"), [1.0, 2.0], [1.0, 0.0]),
        (lambda: ~T.isnan(v), [1.0, np.inf], [np.nan, 1.0]),
    ],
)
@pytest.mark.parametrize("use", [lambda y: y + 1, lambda y: y * 0, lambda y: y.shape[0], T.zeros_like])
def test_holds_or_fails(condition, good, bad, use, mode):
    if mode == "nan_guard":
        mode = sg.NanGuardMode(nan_is_error=False, inf_is_error=False, big_is_error=False)
    f = sg.function([v], use(Assert("as it should be")(v, condition())), mode=mode)
    expected = sg.function([v], use(v), mode="numpy")
    np.testing.assert_array_equal(f(good), expected(good))
    with pytest.raises(AssertionError, match=r"as it should be: .* is false"):
        f(bad)
    np.testing.assert_array_equal(f(good), expected(good))


def test_the_error_tells_condition_line_and_values(mode):
    w = sg.shared(np.array(2.0), "limit")
    f = sg.function([v], Assert("too long")(v * 2, v.shape[0] > 0, T.sum(v**2) < 1 * w), mode=mode)
    with pytest.raises(AssertionFailure) as error:
        f([1.0, 3.0])
    text = str(error.value)
    assert text.startswith("too long: sum(v**2) < 1 * limit is false\n")
    assert "test_debugging.py" in text
    assert 'f = sg.function([v], Assert("too long")' in text
    assert "where sum(v**2) is float64 10.0" in text
    assert "where limit is float64 2.0" in text
    assert "where v is float64 (2,) [1. 3.]" in text
    assert isinstance(error.value, AssertionError)


def test_all_conditions_that_fail_are_told(mode):
    f = sg.function([v], Assert()(v, v > 0, v < 1, v.sum() > 5), mode=mode)
    with pytest.raises(AssertionError, match=r"all\(v > 0\) is false and sum\(v\) > 5 is false"):
        f([-1.0, 0.5])


@pytest.mark.parametrize("condition, given", [("n", 0), ("s", 0.0), ("b", False)])
def test_scalar_inputs_as_conditions(condition, given, mode):
    c = {"n": T.lscalar, "s": T.dscalar, "b": T.TensorType("bool", ())}[condition]("c")
    f = sg.function([v, c], Assert("c")(v, c), mode=mode)
    f([1.0], np.asarray(given, c.dtype) == 0 if condition == "b" else 1)
    with pytest.raises(AssertionError, match="c"):
        f([1.0], given)


@pytest.mark.parametrize("constant", [False, 0, np.array([True, False])])
def test_a_condition_that_never_holds_fails_at_the_call(constant, mode):
    f = sg.function([v], Assert("never")(v, constant), mode=mode)
    with pytest.raises(AssertionError, match="never"):
        f([1.0])


def test_a_failing_assert_changes_no_state(mode):
    w, k, q = sg.shared(np.ones(3), "w"), sg.shared(0, "k"), sg.shared(np.ones(3), "q")
    checked = Assert("growing")(w, w < 4)
    f = sg.function([v], w.sum(), updates=[(w, w * 2 + v), (k, k + 1), (q, q + checked)], mode=mode)
    f(np.zeros(3))
    f(np.zeros(3))
    for _ in range(2):
        with pytest.raises(AssertionError, match="growing"):
            f(np.zeros(3))
    np.testing.assert_array_equal(w.get_value(), [4, 4, 4])
    np.testing.assert_array_equal(q.get_value(), [4, 4, 4])
    assert k.get_value() == 2
    w.set_value(np.zeros(3))
    assert f(np.ones(3)) == 0
    np.testing.assert_array_equal(w.get_value(), [1, 1, 1])


def test_a_condition_on_the_new_value_of_a_state_whose_lengths_change(mode):
    w = sg.shared(np.ones(1), "w")
    grown = T.concatenate([w, w])
    f = sg.function([], updates=[(w, Assert("short")(grown, grown.shape[0] < 8))], mode=mode)
    f(), f()
    with pytest.raises(AssertionError, match="short"):
        f()
    assert w.get_value().shape == (4,)


def test_a_large_array(mode):
    f = sg.function([v], Assert("all")(v, v >= 0).sum(), mode=mode)
    big = np.ones(1_000_000)
    assert f(big) == 1_000_000
    big[-1] = -1
    with pytest.raises(AssertionError, match=r"v is float64 \(1000000,\) min -1, mean 0.999998, max 1; \[1. 1."):
        f(big)


def test_asserts_before_the_index_that_they_protect(mode):
    i = T.lscalar("i")
    f = sg.function([v, i], v[Assert("i is a position")(i, i < v.shape[0])], mode=mode)
    assert f([5.0, 6.0], 1) == 6
    with pytest.raises(AssertionError, match="i is a position"):
        f([5.0, 6.0], 2)


def test_asserts_of_broadcast_operands(mode):
    a, b = T.dmatrix("a"), T.dmatrix("b")
    f = sg.function([a, b], Assert("positive")(a + b, a + b > 0), mode=mode)
    for shape in ((3, 1), (1, 4), (3, 4), (1, 1)):
        assert f(np.ones(shape), np.ones((3, 4))).shape == (3, 4)
        with pytest.raises(AssertionError, match="positive"):
            f(-np.ones(shape), np.zeros((3, 4)))


def test_a_sum_that_rounds_otherwise_is_an_assertion_too():
    compiled, numpys = (sg.function([v], v.sum(), mode=m) for m in ("c", "numpy"))
    values = (np.random.default_rng(seed).normal(size=10_007) for seed in range(1000))
    value = next(x for x in values if compiled(x) != numpys(x))
    f = sg.function([v], Assert("exact")(v, T.eq(v.sum(), float(value.sum()))))
    with pytest.raises(AssertionError, match="rounds otherwise"):
        f(value)


def test_failing_costs_no_compilation():
    f = sg.function([v], Assert("positive")(v, v > 0))
    with pytest.raises(AssertionError):
        f([-1.0])
    (variant,) = f._variants
    for _ in range(3):
        with pytest.raises(AssertionError):
            f([-1.0])
    assert f._variants == [variant], "interpreted, not compiled again"


def test_is_not_in_the_way_of_rewriting_either():
    z = T.dmatrix("z")
    p = T.nnet.softmax(z)
    f = sg.function([z], T.log(Assert("a distribution")(p, abs(p.sum(axis=1) - 1) < 1e-9)))
    assert f(np.array([[0.0, 1000.0]]))[0, 0] == -1000
    assert not any(isinstance(node.op, Assert) for node in toposort(f.graph.rewritten))


@pytest.mark.parametrize("message", HOSTILE)
def test_hostile_messages_of_asserts(message, mode):
    hostile = T.dvector(message)
    f = sg.function([hostile], Assert(message)(hostile, hostile > 0), mode=mode)
    f([1.0])
    with pytest.raises(AssertionError) as error:
        f([-1.0])
    assert str(error.value).startswith(f"{message}: all(")


def test_gradient_passes_through_assert(mode):
    check_grad(lambda a: T.exp(Assert("a")(T.sin(a), a > 0)), [np.array([0.5, 1.0])])
    g = sg.function([v], T.grad((Assert("positive")(v, v > 0) ** 2).sum(), v), mode=mode)
    np.testing.assert_array_equal(g([1.0, 2.0]), [2, 4])
    with pytest.raises(AssertionError, match="positive"):
        g([1.0, -2.0])


def test_threads_that_fail_leave_the_others_right():
    w = sg.shared(0.0, "count")
    f = sg.function([v], Assert("positive")(v, v > 0).sum(), updates=[(w, w + 1)])
    failures = []

    def run(value):
        for _ in range(20):
            try:
                assert f([value]) == value
            except AssertionFailure:
                failures.append(value)

    threads = [threading.Thread(target=run, args=(value,)) for value in (1.0, -1.0, 2.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [-1.0] * 20
    assert w.get_value() == 40


def test_conditions_that_are_none():
    with pytest.raises(DtypeError):
        Assert("m")(v, "x > 0")
    with pytest.raises(DtypeError):
        Assert("m").infer_type(v.type, T.lscalar().type)
    with pytest.raises(ShapeError):
        Assert("m").infer_type(v.type, T.TensorType("bool", (3,)))


def test_print_and_assert_as_text():
    assert str(Print("two words")(v)) == "print('two words', v)"
    assert str(Print()(v)) == "print(v)"
    assert str(Assert("m")(v, v.shape[0] > 1)) == "assert(v, v.shape[0] > 1)"
    assert sg.printing.pp(Print("p")(v) + 1) == "print(p, v) + 1"
    assert sg.printing.debugprint(v + 1, file="str") == sg.debugprint(v + 1, file="str")
