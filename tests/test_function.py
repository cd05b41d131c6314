"""What `function` takes and gives: forms of outputs, updates, givens, defaults, names; the state; threads."""

import copy
import pickle
import threading
from collections import OrderedDict

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph import In, Out

X = np.arange(6.0).reshape(2, 3)


@pytest.fixture(params=["c", "numpy"])
def mode(request):
    return request.param


# -- outputs


def test_the_result_has_the_form_of_the_outputs(mode):
    x = T.dmatrix("x")
    total = x.sum()
    one = sg.function([x], total, mode=mode)(X)
    assert isinstance(one, np.ndarray) and one.shape == () and one == 15
    assert sg.function([x], [total], mode=mode)(X) == [15]
    both = sg.function([x], (x * 2, total), mode=mode)(X)
    assert isinstance(both, list)
    np.testing.assert_array_equal(both[0], X * 2)
    named = sg.function([x], OrderedDict([("twice", x * 2), ("total", total)]), mode=mode)(X)
    assert list(named) == ["twice", "total"] and named["total"] == 15
    assert sg.function([x], {0: total}, mode=mode)(X) == {0: 15}
    assert sg.function([x], [], on_unused_input="ignore", mode=mode)(X) == []
    assert sg.function([x], None, on_unused_input="ignore", mode=mode)(X) is None
    assert sg.function([x], {}, on_unused_input="ignore", mode=mode)(X) == {}
    assert sg.function([x], [Out(total, borrow=True)], mode=mode)(X) == [15]


def test_results_are_numpy_arrays_of_the_declared_dtype(mode):
    x = T.fvector("x")
    outputs = [x + 1, x > 0, x.argmax(), x.shape, x.shape[0], T.cast(x, "int8"), x.sum(), T.constant(2.5)]
    values = sg.function([x], outputs, mode=mode)(np.float32([1, 3, 2]))
    for value, out in zip(values, outputs, strict=True):
        assert type(value) is np.ndarray and str(value.dtype) == out.dtype and value.ndim == out.ndim, out
        assert value.flags.writeable and value.flags.c_contiguous
    expected = [[2, 4, 3], [True] * 3, 1, [3], 3, [1, 3, 2], 6, 2.5]
    for value, right in zip(values, expected, strict=True):
        np.testing.assert_array_equal(value, right)


def test_functions_without_inputs(mode):
    W = sg.shared(np.arange(3.0), "W")
    assert sg.function([], [], mode=mode)() == []
    assert sg.function([], T.constant(3) * 2, mode=mode)() == 6
    np.testing.assert_array_equal(sg.function([], W * 2, mode=mode)(), [0, 2, 4])
    step = sg.function([], W.sum(), updates=[(W, W + 1)], mode=mode)
    assert [float(step()) for _ in range(3)] == [3, 6, 9]


def test_constants_as_outputs(mode):
    f = sg.function(
        [], [2, 2.5, True, np.arange(6).reshape(2, 3), np.float32(1.5), T.zeros((2, 2)), np.array(7)], mode=mode
    )
    expected = [2, 2.5, True, np.arange(6).reshape(2, 3), 1.5, np.zeros((2, 2)), 7]
    for value, right in zip(f(), expected, strict=True):
        np.testing.assert_array_equal(value, right)
    first = f()
    for value in first:
        value[...] = 0
    for value, right in zip(f(), expected, strict=True):
        np.testing.assert_array_equal(value, right)


def test_what_is_returned_is_never_memory_of_something_else(mode):
    x, W = T.dmatrix("x"), sg.shared(X.copy(), "W")
    outputs = [
        x,
        x,
        x * 1,
        x + 0,
        x.T,
        x.reshape((3, 2)),
        x[1],
        x[:, ::-1],
        W,
        W,
        W.T,
        W[0],
        W.reshape((6,)),
        x.flatten(),
        T.neg(T.neg(x)),
    ]
    f = sg.function([x], outputs, mode=mode)
    argument = X.copy()
    results = f(argument)
    expected = [X, X, X, X, X.T, X.reshape(3, 2), X[1], X[:, ::-1], X, X, X.T, X[0], X.reshape(6), X.flatten(), X]
    everything = [*results, argument, W.get_value(borrow=True)]
    for k, value in enumerate(everything):
        for other in everything[:k]:
            assert not np.may_share_memory(value, other)
    for value in results:
        value[...] = np.nan
    np.testing.assert_array_equal(argument, X)
    np.testing.assert_array_equal(W.get_value(), X)
    for value, right in zip(f(argument), expected, strict=True):
        np.testing.assert_array_equal(value, right)


def test_results_of_one_call_stay_when_the_next_is_made(mode):
    x = T.dvector("x")
    h = T.tanh(x)
    f = sg.function([x], [h, (h * h).sum(), T.dot(h, h), h[::-1]], mode=mode)
    first = f([1.0, 2.0])
    copies = [value.copy() for value in first]
    f([3.0, 4.0])
    for value, kept in zip(first, copies, strict=True):
        np.testing.assert_array_equal(value, kept)


def test_an_input_as_it_is_and_its_shape(mode):
    x, n = T.dmatrix("x"), T.lscalar("n")
    f = sg.function([x, n], [x, x.shape, x.shape[1], n, x.ndim, x.size], mode=mode)
    for value, right in zip(f(X, 5), [X, [2, 3], 3, 5, 2, 6], strict=True):
        np.testing.assert_array_equal(value, right)
    np.testing.assert_array_equal(f(np.zeros((0, 4)), -1)[1], [0, 4])


# -- updates


@pytest.mark.parametrize("form", [list, tuple, dict, OrderedDict])
def test_updates_as_pairs_or_a_dict(mode, form):
    a, b = sg.shared(1.0, "a"), sg.shared(2.0, "b")
    f = sg.function([], a * 10 + b, updates=form([(a, b), (b, a + b)]), mode=mode)
    assert f() == 12 and a.get_value() == 2 and b.get_value() == 3
    assert f() == 23 and a.get_value() == 3 and b.get_value() == 5


def test_all_is_computed_from_the_old_state(mode):
    a, b, c = (sg.shared(np.full(3, k), n) for k, n in ((1.0, "a"), (2.0, "b"), (3.0, "c")))
    f = sg.function([], [a, b, c, a + b + c], updates=[(a, b), (b, c), (c, a)], mode=mode)
    np.testing.assert_array_equal(f(), [np.full(3, k) for k in (1.0, 2, 3, 6)])
    np.testing.assert_array_equal(f(), [np.full(3, k) for k in (2.0, 3, 1, 6)])
    np.testing.assert_array_equal([v.get_value() for v in (a, b, c)], [np.full(3, k) for k in (3.0, 1, 2)])


@pytest.mark.parametrize(
    "new",
    [
        lambda W, x: W[::-1],
        lambda W, x: W.T,
        lambda W, x: W @ W,
        lambda W, x: W - W.mean(axis=0),
        lambda W, x: W * W.sum(),
        lambda W, x: W - 0.1 * x,
        lambda W, x: T.set_subtensor(W[0], x[1]),
        lambda W, x: T.inc_subtensor(W[[0, 0, 1]], x[[0, 1, 0]]),
        lambda W, x: W + x @ W,
        lambda W, x: W - 0.5 * (x @ x),
        lambda W, x: W[[1, 0]],
        lambda W, x: T.concatenate([W[1:], x[:1]]),
        lambda W, x: T.softmax(W),
        lambda W, x: x,
        lambda W, x: W,
        lambda W, x: T.zeros_like(W),
        lambda W, x: W.reshape((4,)).reshape((2, 2)) + 1,
        lambda W, x: W[:, ::-1] + W,
        lambda W, x: T.cumsum(W, axis=0) if hasattr(T, "cumsum") else W + 2,
    ],
)
def test_updates_that_read_what_they_replace(mode, new):
    start, given = np.array([[1.0, 2], [3, 4]]), np.array([[5.0, -6], [7, 8]])
    W, x = sg.shared(start.copy(), "W"), T.dmatrix("x")
    value = new(W, x)
    f = sg.function([x], [W + 0, value], updates=[(W, value)], on_unused_input="ignore", mode=mode)
    old, returned = f(given)
    np.testing.assert_array_equal(old, start)
    expected = new(T.constant(start), T.constant(given)).eval()
    np.testing.assert_allclose(returned, expected, rtol=1e-14)
    np.testing.assert_allclose(W.get_value(), expected, rtol=1e-14)
    np.testing.assert_array_equal(given, [[5.0, -6], [7, 8]])
    returned[...] = 0
    np.testing.assert_allclose(W.get_value(), expected, rtol=1e-14)


def test_an_update_to_a_number_or_an_array(mode):
    a, b = sg.shared(3.0, "a"), sg.shared(np.zeros((1, 2), "float32"), "b")
    sg.function([], None, updates=[(a, 0), (b, np.ones((1, 2), "float32"))], mode=mode)()
    assert a.get_value() == 0
    np.testing.assert_array_equal(b.get_value(), [[1, 1]])


def test_a_narrower_update_is_cast(mode):
    a = sg.shared(np.zeros(2), "a")
    x = T.fvector("x")
    sg.function([x], None, updates=[(a, x)], mode=mode)(np.float32([1, 2]))
    assert a.get_value().dtype == "float64"
    np.testing.assert_array_equal(a.get_value(), [1, 2])


def test_an_array_that_grows_with_each_call(mode):
    x, log = T.dvector("x"), sg.shared(np.zeros(0), "log")
    f = sg.function([x], log.shape[0], updates=[(log, T.concatenate([log, x]))], mode=mode)
    for k in range(4):
        assert f([float(k)] * k) == sum(range(k))
    np.testing.assert_array_equal(log.get_value(), [1, 2, 2, 3, 3, 3])
    log.set_value([7.0])
    assert f([8.0]) == 1
    np.testing.assert_array_equal(log.get_value(), [7, 8])


def test_a_growing_matrix_used_in_the_same_function(mode):
    x, W = T.dvector("x"), sg.shared(np.zeros((0, 2)), "W")
    grown = T.concatenate([W, x.dimshuffle("x", 0)])
    f = sg.function([x], [W.sum(axis=0), grown.sum(axis=0), W @ x], updates=[(W, grown)], mode=mode)
    rows = np.zeros((0, 2))
    for k in range(3):
        row = np.array([1.0, k])
        before, after, product = f(row)
        np.testing.assert_allclose(before, rows.sum(axis=0))
        np.testing.assert_allclose(product, rows @ row)
        rows = np.vstack([rows, row])
        np.testing.assert_allclose(after, rows.sum(axis=0))
    np.testing.assert_array_equal(W.get_value(), rows)


def test_set_value_with_another_shape_between_calls(mode):
    x, W = T.dmatrix("x"), sg.shared(np.ones((3, 2)), "W")
    f = sg.function([x], (x @ W).sum(axis=0), updates=[(W, W * 2)], mode=mode)
    rng = np.random.default_rng(0)
    for rows, columns in ((3, 2), (3, 4), (5, 4), (1, 1), (0, 3), (3, 0), (3, 2)):
        value, argument = rng.normal(size=(rows, columns)), rng.normal(size=(2, rows))
        W.set_value(value)
        np.testing.assert_allclose(f(argument), (argument @ value).sum(axis=0), rtol=1e-12)
        np.testing.assert_allclose(W.get_value(), value * 2, rtol=1e-15)


def test_set_value_takes_a_copy_and_get_value_gives_one(mode):
    value = np.ones(2)
    W = sg.shared(value, "W")
    value[:] = 5
    sg.function([], None, updates=[(W, W + 1)], mode=mode)()
    kept = W.get_value()
    kept[:] = 9
    np.testing.assert_array_equal(W.get_value(), [2, 2])
    W.set_value(value)
    value[:] = 6
    np.testing.assert_array_equal(W.get_value(), [5, 5])


# -- givens


def test_mini_batches_of_a_shared_data_set(mode):
    rng = np.random.default_rng(1)
    data, labels = rng.normal(size=(11, 3)), rng.integers(0, 2, 11)
    X_all, Y_all = sg.shared(data, "X_all", borrow=True), T.cast(sg.shared(labels.astype("float64")), "int64")
    k, x, y = T.lscalar("k"), T.dmatrix("x"), T.lvector("y")
    w = sg.shared(np.zeros(3), "w")
    cost = T.nnet.binary_crossentropy(T.nnet.sigmoid(x @ w), y).mean()
    batch = {x: X_all[k * 4 : (k + 1) * 4], y: Y_all[k * 4 : (k + 1) * 4]}
    step = sg.function([k], [cost, x.shape[0]], updates=[(w, w - 0.5 * T.grad(cost, w))], givens=batch, mode=mode)
    weights = np.zeros(3)
    for _ in range(2):
        for b in range(3):
            rows, wanted = data[b * 4 : b * 4 + 4], labels[b * 4 : b * 4 + 4]
            p = 1 / (1 + np.exp(-rows @ weights))
            value, count = step(b)
            assert count == len(rows) == (3 if b == 2 else 4)
            np.testing.assert_allclose(value, -np.mean(np.where(wanted, np.log(p), np.log(1 - p))), rtol=1e-12)
            weights = weights - 0.5 * rows.T @ (p - wanted) / len(rows)
            np.testing.assert_allclose(w.get_value(), weights, rtol=1e-11)


def test_givens_replace_at_once_everywhere(mode):
    x, y, z = T.dscalars("x", "y", "z")
    assert sg.function([z], [x, y, x + y], givens=[(x, z * 2), (y, z * 3)], mode=mode)(1.0) == [2, 3, 5]
    assert sg.function([z], [x, y], givens={x: y, y: z}, on_unused_input="ignore", mode=mode) if False else True
    h = x * 2
    assert sg.function([z], h + 1, givens={h: z}, mode=mode)(5.0) == 6
    assert sg.function([], x * 2, givens={x: 4}, mode=mode)() == 8
    s = sg.shared(1.0, "s")
    assert sg.function([z], s + 1, givens={s: z}, mode=mode)(10.0) == 11
    f = sg.function([], s + x, updates=[(s, s + x)], givens={x: np.float64(0.5)}, mode=mode)
    assert f() == 1.5 and f() == 2 and s.get_value() == 2


# -- inputs


def test_by_position_and_by_name(mode):
    x, y, z = T.dscalars("x", "y", "z")
    f = sg.function([x, y, z], x * 100 + y * 10 + z, name="f", mode=mode)
    assert f(1, 2, 3) == f(1, 2, z=3) == f(1, z=3, y=2) == f(z=3, y=2, x=1) == 123


def test_defaults_and_names(mode):
    x, y, z = T.dscalars("x", "y", "z")
    f = sg.function([x, In(y, value=2), In(z, name="last", value=np.float64(3))], x * 100 + y * 10 + z, mode=mode)
    assert f(1) == 123 and f(1, 5) == 153 and f(1, last=7) == 127 and f(x=1, y=0, last=0) == 100 and f(1) == 123


def test_a_default_cannot_be_changed_through_the_result(mode):
    x = T.dvector("x")
    f = sg.function([In(x, value=[1.0, 2.0])], [x, x + 1], mode=mode)
    for value in f():
        value[:] = 0
    np.testing.assert_array_equal(f()[0], [1, 2])


def test_an_input_with_a_state_of_its_own(mode):
    x, s = T.dscalar("x"), T.dscalar("s")
    f = sg.function([x, In(s, value=10.0, update=s + x)], s, mode=mode)
    assert [float(f(1)), float(f(2)), float(f(3))] == [10, 11, 13]
    assert f(1, s=100) == 100 and f(0) == 101


def test_a_shared_variable_as_a_default(mode):
    x, W = T.dvector("x"), sg.shared(np.ones(2), "W")
    f = sg.function([In(x, value=W)], x * 2, mode=mode)
    np.testing.assert_array_equal(f(), [2, 2])
    W.set_value([5.0, 6.0, 7.0])
    np.testing.assert_array_equal(f(), [10, 12, 14])
    np.testing.assert_array_equal(f([1.0]), [2])


def test_a_value_in_between_as_an_input(mode):
    x = T.dscalar("x")
    h = x * 2
    assert sg.function([h], h + 1, mode=mode)(10) == 11
    assert sg.function([x, h], h + x, mode=mode)(1, 10) == 11


def test_duplicate_and_missing_names_go_by_position(mode):
    first, second, third = T.dscalar("a"), T.dscalar("a"), T.dscalar()
    f = sg.function([first, second, third], first * 100 + second * 10 + third, mode=mode)
    assert f(1, 2, 3) == 123
    with pytest.raises(TypeError, match="a is the name of 2 of them"):
        f(1, a=2)


def test_unused_inputs(mode):
    x, y = T.dscalars("x", "y")
    with pytest.raises(sg.UnusedInputError, match=r"takes y, but no output or update depends on it.*on_unused_input"):
        sg.function([x, y], x, mode=mode)
    with pytest.warns(UserWarning, match="takes y, but no output") as caught:
        f = sg.function([x, y], x, on_unused_input="warn", mode=mode)
    assert caught[0].filename == __file__
    assert f(1, 2) == 1
    assert sg.function([x, y], x * 2, on_unused_input="ignore", mode=mode)(1, 2) == 2


def test_names_of_functions():
    x = T.dscalar("x")
    for name in ("step", "a b/*c*/", "int", "", "日本", "x" * 300, "main", "exp", "sg_x"):
        f = sg.function([x], T.exp(x) + 1, name=name)
        assert f.name == name and f(0) == 2
    assert "step" in sg.function([x], x + 1, name="step").c_source


def test_hostile_names_of_variables():
    names = [
        "*/ int main() {",
        "double",
        "i",
        "j",
        "arrays",
        "sizes",
        "workspace",
        "x\ny",
        "é",
        "exp",
        "NAN",
        "n",
        "t",
        "t_2",
        "\\",
        '"',
        "??/",
        "sg_exp",
    ]
    values = [T.dvector(name) for name in names]
    total = values[0]
    for v in values[1:]:
        total = T.exp(total * 0.01) * v
        total.name = v.name
    shared = sg.shared(np.ones(2), "*/ #error")
    f = sg.function(values, [total, shared], updates=[(shared, shared + total.sum())], name="*/")
    arrays = [np.full(2, 0.5 + k / 10) for k in range(len(names))]
    expected = arrays[0]
    for a in arrays[1:]:
        expected = np.exp(expected * 0.01) * a
    np.testing.assert_allclose(f(*arrays)[0], expected, rtol=1e-13)


# -- looking at it


def test_what_can_be_seen(mode):
    x, W = T.dmatrix("x"), sg.shared(np.ones((3, 2)), "W")
    f = sg.function([x], x @ W, updates=[(W, W * 2)], name="apply", mode=mode)
    assert f.name == "apply" and f.inputs == (x,) and len(f.outputs) == 1 and f.updates[0][0] is W
    assert f.graph.inputs == (x,) and len(f.graph.rewritten) == (2 if mode == "c" else len(f.graph.rewritten))
    assert "apply" in repr(f)
    if mode == "c":
        assert "apply" in f.c_source and f.c_path.read_text() == f.c_source
        assert {"rewrite", "lower", "print", "compile"} <= set(f.timings) and all(t >= 0 for t in f.timings.values())
    else:
        assert f.c_source == "" and f.c_path is None


def test_theano_modes_and_wrong_ones():
    x = T.dscalar("x")
    assert sg.function([x], x + 1, mode="FAST_RUN")(1) == sg.function([x], x + 1, mode="FAST_COMPILE")(1) == 2
    with pytest.raises(ValueError, match="mode is 'c', 'numpy'"):
        sg.function([x], x + 1, mode="fast")


def test_eval():
    x, y = T.dmatrix("x"), T.dscalar("y")
    np.testing.assert_array_equal((x * y).eval({x: X, y: 2}), X * 2)
    np.testing.assert_array_equal((x * y).eval({"x": X, "y": 2}), X * 2)
    np.testing.assert_array_equal((x * y).eval({x: X}, y=3), X * 3)
    assert T.constant(3).eval() == 3
    with pytest.raises(sg.MissingInputError, match="y"):
        (x * y).eval({x: X})
    with pytest.raises(TypeError, match="no input"):
        (x * y).eval({x: X, y: 1, T.dscalar("z"): 2})


# -- lengths that only a computation tells


def test_lengths_that_only_a_computation_tells(mode):
    x, m, y = T.lvector("x"), T.lvector("m"), T.dvector("y")
    a = np.array([2, 0, 1])
    np.testing.assert_array_equal(sg.function([x], T.arange(x.sum()), mode=mode)(a), np.arange(3))
    f = sg.function([y, m], [y[: m.max()], y[: m.max()].sum()], mode=mode)
    part, total = f(np.arange(5.0), a)
    np.testing.assert_array_equal(part, [0, 1])
    assert total == 1
    np.testing.assert_array_equal(f(np.arange(5.0), [9])[0], np.arange(5.0))
    n = (x * 2).sum()
    np.testing.assert_array_equal(sg.function([x], T.zeros((n, x.max())) + 1, mode=mode)(a), np.ones((6, 2)))
    np.testing.assert_array_equal(
        sg.function([y], y[: T.cast(y.sum(), "int64")], mode=mode)(np.array([0.5, 1.5, 4, 1])[:3]), [0.5, 1.5, 4]
    )


def test_computed_lengths_inside_computed_lengths(mode):
    x = T.lvector("x")
    first = T.arange(x.sum())
    second = T.arange(first.sum())
    W = sg.shared(np.zeros(1, "int64"), "W")
    f = sg.function([x], [second.sum(), first.shape[0], second[first.sum() // 2 :]], updates=[(W, second)], mode=mode)
    for a in ([1, 3], [0], [5]):
        n = int(np.arange(sum(a)).sum())
        total, count, tail = f(a)
        assert total == np.arange(n).sum() and count == sum(a)
        np.testing.assert_array_equal(tail, np.arange(n)[n // 2 :])
        np.testing.assert_array_equal(W.get_value(), np.arange(n))


def test_a_computed_length_of_a_shared_state(mode):
    W = sg.shared(np.array([1, 2]), "W")
    f = sg.function([], T.arange(W.sum()), updates=[(W, W + 1)], mode=mode)
    for n in (3, 5, 7):
        np.testing.assert_array_equal(f(), np.arange(n))


def test_gradients_through_computed_lengths(mode):
    x, m = T.dvector("x"), T.lvector("m")
    cost = (x[: m.max()] ** 2).sum() * T.zeros((m.sum(),)).shape[0]
    f = sg.function([x, m], [cost, T.grad(cost, x)], mode=mode)
    value, g = f(np.arange(4.0), [1, 2])
    assert value == 3
    np.testing.assert_array_equal(g, [0, 6, 0, 0])


# -- threads


def in_threads(count, work):
    """Run work(k) in `count` threads that start together; the first exception is raised here."""
    errors, barrier = [], threading.Barrier(count)

    def run(k):
        barrier.wait()
        try:
            work(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


def test_one_function_in_eight_threads(mode):
    x, y = T.dmatrix("x"), T.dvector("y")
    f = sg.function([x, y], [T.tanh(x * y).sum(axis=1), x.T @ x], mode=mode)
    rng = np.random.default_rng(2)
    cases = [(rng.normal(size=(k + 1, 3)), rng.normal(size=1 if k % 3 == 0 else 3)) for k in range(8)]
    serial = [f(*case) for case in cases]

    def work(k):
        for _ in range(40):
            for value, right in zip(f(*cases[k]), serial[k], strict=True):
                np.testing.assert_array_equal(value, right)

    in_threads(8, work)


def test_one_training_function_in_eight_threads(mode):
    x, total = T.dscalar("x"), sg.shared(np.zeros(1000), "total")
    f = sg.function([x], total[0], updates=[(total, total + x)], mode=mode)
    in_threads(8, lambda k: [f(1.0) for _ in range(50)])
    np.testing.assert_array_equal(total.get_value(), np.full(1000, 400.0))


def test_several_functions_with_one_state_in_threads(mode):
    state = sg.shared(np.zeros(20_000), "state")
    add = [sg.function([], None, updates=[(state, state + k)], mode=mode) for k in (1.0, 2.0, 3.0, 4.0)]
    spread = sg.function([], state.max() - state.min(), mode=mode)

    def work(k):
        for _ in range(40):
            if k < 4:
                add[k]()
            elif k < 6:
                assert spread() == 0
            else:
                assert np.ptp(state.get_value()) == 0

    in_threads(8, work)
    np.testing.assert_array_equal(state.get_value(), np.full(20_000, 40 * 10.0))


def test_functions_of_shared_states_in_crossed_order_do_not_wait_for_each_other(mode):
    a, b = sg.shared(np.zeros(5000), "a"), sg.shared(np.zeros(5000), "b")
    forth = sg.function([], [a.sum(), b.sum()], updates=[(a, a + 1), (b, b - 1)], mode=mode)
    back = sg.function([], [b.sum(), a.sum()], updates=[(b, b - 1), (a, a + 1)], mode=mode)

    def work(k):
        for _ in range(50):
            first, second = (forth if k % 2 else back)()
            assert first == -second

    in_threads(4, work)
    np.testing.assert_array_equal(a.get_value(), np.full(5000, 200.0))


def test_a_state_that_fits_only_after_set_value(mode):
    """Placeholders are common: the function is made first, and the real values come later."""
    a, b = sg.shared(np.zeros((2, 3)), "a"), sg.shared(np.zeros((1, 0)), "b")
    f = sg.function([], [a @ b, b[4]], updates=[(b, b * 2)], mode=mode)
    with pytest.raises(sg.ShapeError, match=r"cannot multiply a \(2, 3\) by b \(1, 0\)"):
        f()
    a.set_value(np.ones((2, 5)))
    b.set_value(np.ones((5, 2)))
    product, row = f()
    np.testing.assert_array_equal(product, np.full((2, 2), 5.0))
    np.testing.assert_array_equal(row, [1, 1])
    np.testing.assert_array_equal(b.get_value(), np.full((5, 2), 2.0))


@pytest.mark.parametrize("copy_of", [pickle.dumps, copy.copy, copy.deepcopy])
def test_copies_are_refused_with_advice(copy_of):
    x = T.dvector("x")
    f = sg.function([x], x + 1, name="step")
    with pytest.raises(TypeError, match=r"step\(\) is compiled.*call sg.function again"):
        copy_of(f)
