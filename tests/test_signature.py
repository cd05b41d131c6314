"""What a function is asked for: what is taken, how it is brought to one form, what is refused in which words."""

import re
import warnings
from collections import OrderedDict

import numpy as np
import pytest

import symgraph.tensor as T
from symgraph.errors import DtypeError, MissingInputError, ShapeError, UnusedInputError
from symgraph.graph.node import Constant, SharedVariable
from symgraph.graph.traverse import leaves
from symgraph.graph.types import TensorType
from symgraph.interpreter import evaluate
from symgraph.ops.creation import shared
from symgraph.signature import In, Out, make_signature


def run(signature, *args, **kwargs):
    """A call as any back end makes it: all from the old state, then the updates; state is untouched by a failure."""
    arrays = signature.bind(args, kwargs)
    values = {x.variable: array for x, array in zip(signature.inputs, arrays, strict=True)}
    results = evaluate([*signature.outputs, *(new for _, new in signature.updates)], values)
    outputs, new = results[: len(signature.outputs)], results[len(signature.outputs) :]
    for (variable, _), value in zip(signature.updates, new, strict=True):
        assert value.dtype == variable.dtype and value.ndim == variable.ndim
        variable.storage = value
    return signature.pack(outputs)


@pytest.fixture
def x():
    return T.dmatrix("x")


@pytest.fixture
def y():
    return T.dvector("y")


@pytest.fixture
def W():
    return shared(np.array([1.0, 2.0]), "W")


X, Y = np.arange(4.0).reshape(2, 2), np.array([3.0, 5.0])


# ---------------------------------------------------------------------------------------------------------- outputs


@pytest.mark.parametrize("form", [list, tuple, lambda pair: (Out(pair[0], borrow=True), Out(pair[1]))])
def test_a_list_of_outputs_gives_a_list(x, y, form):
    result = run(make_signature([x, y], form([x + y, y * 2])), X, Y)
    assert isinstance(result, list)
    np.testing.assert_array_equal(result[0], X + Y)
    np.testing.assert_array_equal(result[1], Y * 2)


def test_one_output_gives_its_value(x):
    for output in (x.T, Out(x.T)):
        np.testing.assert_array_equal(run(make_signature([x], output), X), X.T)
    assert run(make_signature([x], [x.sum()]), X) == [6.0]


def test_a_dict_of_outputs_keeps_keys_and_order(x, y):
    result = run(make_signature([x, y], {"total": x.sum(), "a": Out(y), 3: 1.5}), X, Y)
    assert list(result) == ["total", "a", 3]
    assert result["total"] == 6.0 and result["a"].tolist() == [3.0, 5.0] and result[3] == 1.5


def test_no_outputs(x, W):
    assert run(make_signature([x], None, [(W, x[0])]), X) is None
    assert run(make_signature([], []), *[]) == []
    assert run(make_signature([], {})) == {}


@pytest.mark.parametrize("output", [2, 2.5, True, np.float32(3), np.arange(3)])
def test_numbers_and_arrays_are_constant_outputs(output):
    signature = make_signature([], output)
    assert isinstance(signature.outputs[0], Constant)
    np.testing.assert_array_equal(run(signature), output)


@pytest.mark.parametrize("outputs, message", [
    ("x", "the output is a str"), ([None], "output 1 is a NoneType"), ([1, [2]], "output 2 is a list"),
    ({"a": "b"}, "output a is a str"), ([Out("z")], "output 1 is a str"), (lambda: 1, "the output is a function"),
])
def test_what_is_no_output(outputs, message):
    with pytest.raises(TypeError, match=message):
        make_signature([], outputs)


# ----------------------------------------------------------------------------------------------------------- inputs


def test_names_and_shared_variables(x, y, W):
    b = shared(1.0, "b")
    inputs = [x, In(y, name="target"), T.dscalar()]
    signature = make_signature(inputs, x @ W - y, [(b, b + 1)], on_unused_input="ignore")
    assert signature.names == ("x", "target", None)
    assert signature.shared == (W, b)
    assert [i.variable for i in signature.inputs[:2]] == [x, y]


@pytest.mark.parametrize("inputs, message", [
    (lambda x, W: x, r"inputs is a list of variables, but was given x: write function\(\[x, y\]"),
    (lambda x, W: In(x), "but was given In"),
    (lambda x, W: "x", "but was given str"),
    (lambda x, W: {x: 1}, "but was given dict"),
    (lambda x, W: None, "but was given NoneType"),
    (lambda x, W: [x, "y"], "input 2 is a str, but an input is a symbolic variable"),
    (lambda x, W: [x, [x]], "input 2 is a list"),
    (lambda x, W: [x, W], r"W \(made at test_signature.py:\d+\) is shared.*W\.set_value"),
    (lambda x, W: [x, T.as_tensor_variable(2.0)], "input 2 is the constant 2, which is known"),
    (lambda x, W: [In(x, name=3)], "name of an input is a string, not int"),
])
def test_what_is_no_input(x, W, inputs, message):
    with pytest.raises(TypeError, match=message):
        make_signature(inputs(x, W), x.sum())


def test_an_input_given_twice(x, y):
    with pytest.raises(ValueError, match=r"x \(made at .*\) is an input twice, as number 1 and number 3"):
        make_signature([x, y, In(x)], x + y)


def test_a_missing_input_is_named_with_the_line_that_needs_it(x, y):
    h = T.tanh(x * y)
    cost = h.sum()
    with pytest.raises(MissingInputError) as caught:
        make_signature([x], [x.sum(), cost], name="train")
    text = str(caught.value)
    assert text.startswith("train() needs y, which is neither an input nor given\n")
    assert f"y: made at {y.origin}, used in x * y ({h.origin}   h = T.tanh(x * y)), for output 2" in text


@pytest.mark.parametrize("arguments, purpose", [
    (lambda y, W: dict(outputs=y.sum()), r"used in sum\(y\) \(.*\), for the output"),
    (lambda y, W: dict(outputs=y), "used in the output"),
    (lambda y, W: dict(outputs={"loss": y.sum()}), "for output loss"),
    (lambda y, W: dict(outputs=[], updates=[(W, W - y)]), r"used in W - y \(.*\), for the update of W"),
    (lambda y, W: dict(outputs=W, givens={W: y * 2}), r"used in y \* 2"),
])
def test_what_a_missing_input_is_for(y, W, arguments, purpose):
    with pytest.raises(MissingInputError, match=purpose):
        make_signature([], **arguments(y, W))


def test_several_missing_inputs(x, y):
    with pytest.raises(MissingInputError, match="function\\(\\) needs x and y, which are neither inputs nor given"):
        make_signature([], x + y)


def test_unused_inputs(x, y):
    with pytest.raises(UnusedInputError, match=r"f\(\) takes y, but no output .* depends on it: leave it out"):
        make_signature([x, y], x.sum(), name="f")
    with pytest.warns(UserWarning, match="takes y, but no output") as caught:
        make_signature([x, y], x.sum(), on_unused_input="warn")
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(make_signature([x, y], x.sum(), on_unused_input="ignore"), X, Y) == 6.0
    with pytest.raises(ValueError, match="'raise', 'warn' or 'ignore', not 'maybe'"):
        make_signature([x, y], x.sum(), on_unused_input="maybe")


def test_an_expression_may_be_an_input(x, y):
    h = x @ y
    signature = make_signature([h, y], [T.exp(h).sum() + y.sum(), h])
    total, same = run(signature, [1.0, 2.0], Y)
    assert total == pytest.approx(np.exp(1) + np.exp(2) + 8, rel=1e-15) and same.tolist() == [1.0, 2.0]
    assert leaves(signature.outputs) == [i.variable for i in signature.inputs]


def test_the_name_of_a_function_is_a_string(x):
    with pytest.raises(TypeError, match="name of a function is a string, not int"):
        make_signature([x], x, name=3)


# ---------------------------------------------------------------------------------------------------------- updates


@pytest.mark.parametrize("form", [list, tuple, dict, OrderedDict, iter, lambda pairs: [list(p) for p in pairs]])
def test_updates_are_all_from_the_old_state(W, form):
    b = shared(np.array([10.0, 20.0]), "b")
    signature = make_signature([], W + b, form([(W, b * 2), (b, W - 1)]))
    np.testing.assert_array_equal(run(signature), [11, 22])
    np.testing.assert_array_equal(W.get_value(), [20, 40])
    np.testing.assert_array_equal(b.get_value(), [0, 1])


@pytest.mark.parametrize("new", [
    lambda: [5, 6], lambda: np.array([5, 6]), lambda: T.as_tensor_variable([5, 6]), lambda: (5.0, 6.0),
])
def test_a_new_value_takes_the_dtype_where_it_loses_nothing(W, new):
    signature = make_signature([], [], [(W, new())])
    assert signature.updates[0][1].dtype == "float64"
    run(signature)
    np.testing.assert_array_equal(W.get_value(), [5.0, 6.0])


def test_integers_count_up():
    count = shared(np.int32(3), "count")
    run(make_signature([], [], {count: count + 1}))
    assert count.get_value() == 4 and count.get_value().dtype == np.int32


@pytest.mark.parametrize("new, error, message", [
    (lambda w: w * np.float64(0.1), DtypeError, r"update of w \(float32\) has dtype float64, .*\.astype\('float32'\)"),
    (lambda w: np.array([0.1]), DtypeError, r"update of w has dtype float32; float64 values would lose"),
    (lambda w: w.sum(), ShapeError, "update of w has rank 0, but w has rank 1"),
    (lambda w: 1.0, ShapeError, "update of w takes a vector, but was given a scalar"),
    (lambda w: "a", DtypeError, "update of w takes numbers"),
    (lambda w: None, DtypeError, "update of w takes numbers .* given None"),
])
def test_an_update_of_another_type_is_refused(new, error, message):
    w = shared(np.array([1.0], "f4"), "w")
    with pytest.raises(error, match=message):
        make_signature([], [], [(w, new(w))])
    assert w.get_value().tolist() == [1.0]


def test_an_update_that_is_refused_names_its_line(W):
    n = shared(np.array([1, 2]), "n")
    new = n * 0.5
    with pytest.raises(DtypeError) as caught:
        make_signature([], [], [(n, new)])
    assert f"\n  {new.origin}   new = n * 0.5\n" in str(caught.value) and f"n: {n.origin}" in str(caught.value)


def test_an_update_of_a_fixed_length_must_be_able_to_match():
    w = SharedVariable(TensorType("float64", (2, None)), np.zeros((2, 2)), "w")
    m = T.matrix("m", dtype="float64", shape=(3, None))
    with pytest.raises(ShapeError, match=r"update of w has shape \(3, \?\), but w has shape \(2, \?\)"):
        make_signature([m], [], [(w, m)])
    unknown = T.dmatrix("unknown")
    make_signature([unknown], [], {w: unknown})
    with pytest.raises(ShapeError, match=r"update of w has shape \(3, \?\)"):
        make_signature([m], [], {w: unknown}, givens={unknown: m})


def test_the_same_variable_updated_twice(W):
    first, second = W + 1, W + 2
    with pytest.raises(ValueError, match=r"W .* is updated twice") as caught:
        make_signature([], [], [(W, first), (W, second)])
    assert f"W + 1 at {first.origin}" in str(caught.value) and f"W + 2 at {second.origin}" in str(caught.value)


@pytest.mark.parametrize("updates, message", [
    (lambda x, W: [(x, x + 1)], r"only a shared variable can be updated, and x \(made at .*\) is not shared"),
    (lambda x, W: [(W + 1, W)], r"and W \+ 1 \(made at .*\) is not shared"),
    (lambda x, W: [("W", W)], "and a str is not shared"),
    (lambda x, W: (W, W + 1), r"updates is a list of \(shared variable, new value\) pairs, or a dict, but holds W"),
    (lambda x, W: W, "but holds W"),
    (lambda x, W: [(W, W, W)], "but holds a tuple"),
    (lambda x, W: [[W]], "but holds a list"),
    (lambda x, W: 3, "but holds an int"),
    (lambda x, W: "ab", "but holds a str"),
])
def test_what_is_no_update(x, W, updates, message):
    with pytest.raises(TypeError, match=message):
        make_signature([], [], updates(x, W))


# ----------------------------------------------------------------------------------------------------------- givens


def test_a_minibatch_of_shared_data(x, y):
    data, target = shared(np.arange(12.0).reshape(6, 2), "data"), shared(np.arange(6.0), "target")
    k = T.lscalar("k")
    rows = slice(k * 2, (k + 1) * 2)
    signature = make_signature([k], ((x * x).sum(), y), givens={x: data[rows], y: target[rows]})
    for batch in range(3):
        total, part = run(signature, batch)
        assert total == (np.arange(4.0) + 4 * batch) @ (np.arange(4.0) + 4 * batch)
        assert part.tolist() == [2.0 * batch, 2.0 * batch + 1]


def test_givens_replace_at_once_in_outputs_and_updates(x, y, W):
    z = T.dvector("z")
    signature = make_signature([z], [y, W + y], [(W, W * y)], givens=[(y, W + z), (W, y_ := z * 2)])
    first, second = run(signature, [1.0, 1.0])
    assert first.tolist() == [2.0, 3.0]  # W + z, with W as it was
    assert second.tolist() == [4.0, 5.0]  # 2 z + (W + z)
    assert W.get_value().tolist() == [4.0, 6.0] and y_.ndim == 1


def test_numbers_arrays_and_expressions_in_between_may_be_replaced(x, y):
    h = T.exp(y)
    s = T.dscalar("s")
    np.testing.assert_array_equal(run(make_signature([], h * s, givens={h: [1, 2], s: 3})), [3.0, 6.0])


@pytest.mark.parametrize("givens, error, message", [
    (lambda y: {y: T.dmatrix("m")}, ShapeError, "replacement given for y has rank 2, but y has rank 1"),
    (lambda y: {y: T.fvector("v")}, DtypeError, r"replacement given for y is float32, but y is float64.*\('float64'\)"),
    (lambda y: {y: [[1.0]]}, ShapeError, "replacement given for y takes a vector, but was given a matrix"),
    (lambda y: {y: ["a"]}, DtypeError, "replacement given for y takes numbers"),
    (lambda y: {"y": y}, TypeError, "givens replaces variables, but was to replace y"),
    (lambda y: {T.as_tensor_variable(1.0): y}, TypeError, "givens replaces variables"),
    (lambda y: [(y, [1.0]), (y, [2.0])], ValueError, r"y \(made at .*\) is given twice"),
    (lambda y: y, TypeError, r"givens is a list of \(variable, new value\) pairs"),
    (lambda y: {y: y[:, None].T}, ShapeError, "rank 2"),
])
def test_what_givens_refuses(y, givens, error, message):
    with pytest.raises(error, match=message):
        make_signature([], y.sum(), givens=givens(y))


def test_a_given_of_another_known_length():
    y = T.vector("y", dtype="float64", shape=(3,))
    with pytest.raises(ShapeError, match=r"replacement given for y has shape \(2,\), but y has shape \(3,\)"):
        make_signature([], y.sum(), givens={y: T.as_tensor_variable([1.0, 2.0])})


def test_an_input_cannot_be_given_too(y):
    with pytest.raises(ValueError, match=r"y \(made at .*\) is an input and also given"):
        make_signature([y], y.sum(), givens={y: [1.0]})


# ------------------------------------------------------------------------------------------------------------ calls


@pytest.fixture
def f(x, y):
    lr = T.dscalar("lr")
    return make_signature([x, y, In(lr, value=0.5)], lr * (x @ y), name="f")


def test_arguments_by_position_and_by_name(f):
    expected = X @ Y
    calls = [((X, Y, 1.0), {}), ((X,), {"lr": 1, "y": Y}), ((), {"y": Y, "lr": 1.0, "x": X}), ((X, Y), {"lr": 1})]
    for args, kwargs in calls:
        np.testing.assert_array_equal(run(f, *args, **kwargs), expected)
    np.testing.assert_array_equal(run(f, X, Y), 0.5 * expected)
    np.testing.assert_array_equal(run(f, X, y=Y), 0.5 * expected)


@pytest.mark.parametrize("args, kwargs, message", [
    ((X,), {}, "f() takes x, y, lr=…; y is missing"),
    ((), {}, "f() takes x, y, lr=…; x and y are missing"),
    ((), {"y": Y}, "f() takes x, y, lr=…; x is missing"),
    ((X, Y, 1, 2), {}, "f() takes x, y, lr=…; 4 arguments were given"),
    ((X, Y), {"z": 1}, "f() takes x, y, lr=…; there is no z"),
    ((X, Y), {"x": X}, "f() takes x, y, lr=…; x was given twice, by position and by name"),
    ((X, Y), {"a\nb": X}, r"f() takes x, y, lr=…; there is no 'a\nb'"),
])
def test_wrong_arguments(f, args, kwargs, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        f.bind(args, kwargs)


def test_a_function_of_nothing():
    with pytest.raises(TypeError, match=r"^function\(\) takes no arguments; 1 argument was given$"):
        make_signature([], 1).bind((2,), {})


def test_inputs_without_a_name_or_of_the_same_name(y):
    again, unnamed = T.dvector("y"), T.dvector()
    signature = make_signature([y, again, unnamed], y + again + unnamed, name="g")
    assert run(signature, Y, Y, Y).tolist() == [9.0, 15.0]
    with pytest.raises(TypeError, match=r"g\(\) takes y, y, argument 3 \(float64 \(\?,\)\); argument 3 .* is missing"):
        signature.bind((Y, Y), {})
    with pytest.raises(TypeError, match="y is the name of 2 of them: give these by position"):
        signature.bind((), {"y": Y})


@pytest.mark.parametrize("value, error, message", [
    (Y[:, None], ShapeError, r"f\(\): y takes a vector, but was given a matrix of shape \(2, 1\)"),
    (3.0, ShapeError, "y takes a vector, but was given a scalar"),
    (None, DtypeError, "y takes numbers of dtype float64, but was given None"),
    (Y.astype(object), DtypeError, "dtype object"),
    ("ab", DtypeError, "given str"),
    (Y + 1j, DtypeError, "complex"),
    (T.dvector("v"), DtypeError, r"f\(\): y takes a value, but was given the symbol v"),
])
def test_wrong_values(f, value, error, message):
    with pytest.raises(error, match=message):
        f.bind((X, value), {})


def test_values_in_any_memory_become_what_c_reads(f):
    strided, swapped = np.arange(8.0)[::4], Y.astype(">f8")
    for value in (Y, [3, 5], (3.0, 5), Y[::-1], strided, swapped, Y.astype("i1"), memoryview(Y), np.ma.array(Y)):
        array = f.bind((X.T, value), {})[1]
        np.testing.assert_array_equal(array, np.asarray(value))
        assert array.dtype == np.float64 and array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative
    arrays = f.bind((X, Y), {})
    assert arrays[0] is X and arrays[1] is Y


def test_downcasting_is_asked_for():
    w = T.fvector("w")
    values = np.array([0.1, 0.2])
    with pytest.raises(DtypeError, match=r"w has dtype float32; .*allow_input_downcast=True"):
        make_signature([w], w).bind((values,), {})
    for inputs, downcast in (([w], True), ([In(w, allow_downcast=True)], None)):
        signature = make_signature(inputs, w, allow_input_downcast=downcast)
        np.testing.assert_array_equal(signature.bind((values,), {})[0], values.astype("f4"))
    with pytest.raises(DtypeError):
        make_signature([In(w, allow_downcast=False)], w, allow_input_downcast=True).bind((values,), {})
    n = T.lscalar("n")
    for value in (np.nan, np.inf, np.array(np.nan), 1e300):
        with pytest.raises(DtypeError, match="n has dtype int64"):
            make_signature([n], n, allow_input_downcast=True).bind((value,), {})


def test_a_strict_input_converts_nothing(y):
    signature = make_signature([In(y, strict=True)], y)
    assert signature.bind((Y,), {})[0] is Y
    for value in ([1.0], Y.astype("f4"), 1.0, None):
        with pytest.raises(DtypeError, match="y is strict: it takes only arrays of dtype float64"):
            signature.bind((value,), {})


def test_defaults(y, W):
    value = np.array([1.0, 2.0])
    signature = make_signature([In(y, value=value)], y * 2)
    value[0] = 9
    assert run(signature).tolist() == [2.0, 4.0]
    signature = make_signature([In(y, value=W)], y * 2)
    W.set_value([7.0])
    assert run(signature).tolist() == [14.0] and run(signature, Y).tolist() == [6.0, 10.0]
    assert not np.shares_memory(signature.bind((), {})[0], W.get_value(borrow=True))
    with pytest.raises(ShapeError, match="y takes a vector"):
        make_signature([In(y, value=1.0)], y)
    with pytest.raises(ShapeError, match="the value of s has rank 1"):
        s = T.dscalar("s")
        make_signature([In(s, value=W)], s)


def test_an_input_with_a_state_of_its_own():
    state, step = T.dscalar("state"), T.dscalar("step")
    signature = make_signature([step, In(state, value=10, update=state + step)], state * 2)
    assert [float(run(signature, s)) for s in (1, 2, 3)] == [20.0, 22.0, 26.0]
    assert float(run(signature, 1, 100)) == 200.0
    assert float(run(signature, 1)) == 202.0
    with pytest.raises(ValueError, match=r"In\(state, update=…\) needs value=…"):
        make_signature([step, In(state, update=state + step)], state)
    mine = shared(1.0, "mine")
    signature = make_signature([In(state, value=mine, update=state * 3)], state)
    assert [float(run(signature)), float(run(signature)), float(mine.get_value())] == [1.0, 3.0, 9.0]


def test_nothing_is_changed_by_what_is_refused(x, y, W):
    before = W.get_value()
    signature = make_signature([y], W.sum(), [(W, W + y)])
    for args in ((), (1,), (Y, Y), ("a",), ([1, 2, 3],)):
        with pytest.raises((TypeError, ValueError)):
            run(signature, *args)
    for arguments in (dict(inputs=[y, y]), dict(inputs=[]), dict(inputs=[y, x]), dict(inputs=[y], givens={y: Y})):
        with pytest.raises((TypeError, ValueError)):
            make_signature(outputs=W.sum(), updates=[(W, W + y)], **arguments)
    np.testing.assert_array_equal(W.get_value(), before)


def test_hostile_names_stay_on_their_line():
    v = T.dvector("v\n\x1b[31m")
    signature = make_signature([v], v, name="f\n")
    with pytest.raises(TypeError) as caught:
        signature.bind((), {})
    assert str(caught.value) == r"'f\n'() takes 'v\n\x1b[31m'; 'v\n\x1b[31m' is missing"
    assert run(signature, **{"v\n\x1b[31m": Y}).tolist() == [3.0, 5.0]


def test_a_graph_of_30_000_nodes_is_checked_without_recursion():
    s, t = T.dscalar("s"), T.dscalar("t")
    h = s
    for _ in range(30_000):
        h = h + s
    assert run(make_signature([], h, givens={s: 2.0})) == 60_002.0
    with pytest.raises(MissingInputError, match=r"needs t, .*\n.*used in .* \+ t "):
        make_signature([s], h + t)
