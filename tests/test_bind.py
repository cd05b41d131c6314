"""Calls with fixed arrays: what they read and write, what they refuse, and when."""

import threading

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.function import Function
from symgraph.options import Options
from symgraph.signature import make_signature


@pytest.fixture(params=["c", "python", "numpy"])
def make(request):
    """`make(inputs, outputs, …)`: a function called by C, by Python, or interpreted."""
    def compiled(inputs, outputs=None, updates=(), name="f"):
        options = Options(mode="numpy") if request.param == "numpy" else Options(calls=request.param)
        return Function(make_signature(inputs, outputs, updates, name=name), options, 0.0)
    return compiled


def test_it_follows_the_arrays(make):
    x, y = T.dvector("x"), T.dscalar("y")
    f = make([x, y], [x * y, x.sum()])
    a, b = np.arange(3.0), np.array(2.0)
    g = f.bind(a, b)
    assert [array.tolist() for array in g.outputs] == [g.outputs[0].tolist(), g.outputs[1].tolist()]
    outputs = g()
    assert outputs is g.outputs and g.inputs[0] is a
    np.testing.assert_array_equal(outputs[0], [0, 2, 4])
    a += 1
    b[...] = 3
    g()
    np.testing.assert_array_equal(outputs[0], [3, 6, 9])
    assert outputs[1] == 6


@pytest.mark.parametrize("shape", [(1000,), (0,), (3, 5), ()])
def test_new_outputs_begin_where_vectors_may(make, shape):
    x = T.TensorType("float32", (None,) * len(shape))("x")
    g = make([x], [x + 1, x > 0]).bind(np.ones(shape, "float32"))
    for array, dtype in zip(g(), ("float32", "bool"), strict=True):
        assert array.shape == shape and array.dtype == dtype and array.flags.carray
        assert array.size == 0 or array.ctypes.data % 64 == 0
        assert (array == (2 if dtype == "float32" else True)).all()


@pytest.mark.parametrize("form", ["one", "one as a list", "list", "dict", "dict as a list", "none"])
def test_forms_of_out(make, form):
    x = T.dvector("x")
    outputs = {"on": x + 1, "li": [x + 1, x.sum()], "di": {"a": x + 1, "b": x.sum()}, "no": None}[form[:2]]
    s = sg.shared(0.0, "s")
    f = make([x], outputs, updates=[(s, s + x.sum())])
    vector, number = np.empty(3), np.empty(())
    out = {"one": vector, "one as a list": [vector], "list": [vector, number], "dict": {"b": number, "a": vector},
           "dict as a list": (vector, number), "none": None}[form]
    g = f.bind(np.ones(3), out=out)
    result = g()
    assert type(result) is {"on": np.ndarray, "li": list, "di": dict, "no": type(None)}[form[:2]]
    if form != "none":
        assert (vector == 2).all()
    assert s.get_value() == 3


def test_names_defaults_and_numbers(make):
    x, y, z = T.dvector("x"), T.dscalar("y"), T.dscalar("z")
    f = make([x, sg.In(y, value=2.0), sg.In(z, name="last", value=0.0)], x * y + z)
    np.testing.assert_array_equal(f.bind(np.ones(2))(), [2, 2])
    np.testing.assert_array_equal(f.bind(np.ones(2), last=1)(), [3, 3])
    np.testing.assert_array_equal(f.bind(last=np.float64(1), x=np.ones(2), y=5)(), [6, 6])
    with pytest.raises(TypeError, match="missing"):
        f.bind()
    with pytest.raises(TypeError, match="no w"):
        f.bind(np.ones(2), w=1)


def test_a_state_is_no_array_to_bind(make):
    x, n = T.dvector("x"), T.dscalar("n")
    f = make([x, sg.In(n, value=1.0, update=n + 1)], x * n)
    with pytest.raises(TypeError, match="state"):
        f.bind(np.ones(2))


@pytest.mark.parametrize("value, error", [
    ([1.0, 2.0], TypeError), ("x", TypeError), (None, TypeError), (np.ones(2, "float32"), sg.DtypeError),
    (np.ones(2, int), sg.DtypeError), (np.ones(2, ">f8"), sg.DtypeError), (np.ones(2, complex), sg.DtypeError),
    (np.ones((2, 2)), sg.ShapeError), (np.ones(4)[::2], ValueError), (np.array(1.0), sg.ShapeError),
    (np.frombuffer(bytes(17), offset=1), ValueError), (np.ma.array([1.0, 2.0], mask=[True, False]), sg.DtypeError),
], ids=repr)
def test_inputs_that_do_not_fit(make, value, error):
    x = T.dvector("x")
    f = make([x], x + 1)
    with pytest.raises(error, match=r"f\(\): x"):
        f.bind(value)


def test_inputs_that_fit_as_they_are(make, tmp_path):
    x = T.dvector("x")
    f = make([x], x + 1)
    fixed = np.ones(2)
    fixed.flags.writeable = False
    mapped = np.memmap(tmp_path / "values", float, "w+", shape=2)
    for value in (fixed, np.zeros(0), np.ones(4)[1:3], mapped):
        g = f.bind(value)
        np.testing.assert_array_equal(g(), np.asarray(value) + 1)
    mapped[:] = 5
    np.testing.assert_array_equal(g(), [6, 6])


class Mine(np.ndarray):
    """A user's kind of array."""


def refused(memory):
    """(out, error) that a function from memory[:3] of one vector refuses."""
    locked = np.empty(3)
    locked.flags.writeable = False
    return [
        (np.empty(4), sg.ShapeError), (np.empty((3, 1)), sg.ShapeError), (np.empty(3, "float32"), sg.DtypeError),
        (np.empty(3, ">f8"), sg.DtypeError), (np.empty(6)[::2], ValueError), (locked, ValueError),
        ([np.empty(3)] * 2, TypeError), ({"a": np.empty(3)}, TypeError), (5, TypeError), ([[1.0, 2.0, 3.0]], TypeError),
        (memory[:3], ValueError), (memory[2:5], ValueError), (np.empty(3).view(Mine), TypeError),
    ]


@pytest.mark.parametrize("k", range(13))
def test_outputs_that_do_not_fit(make, k):
    x, memory = T.dvector("x"), np.arange(6.0)
    f = make([x], x + 1)
    out, error = refused(memory)[k]
    with pytest.raises(error, match=r"f\(\)"):
        f.bind(memory[:3], out=out)
    np.testing.assert_array_equal(f.bind(memory[:3], out=memory[3:])(), [1, 2, 3])


def test_outputs_that_share_memory(make):
    x, memory = T.dvector("x"), np.arange(6.0)
    s = sg.shared(memory[:3], "s", borrow=True)
    f = make([x], [x + 1, x * s])
    with pytest.raises(ValueError, match="output 1 shares memory"):
        f.bind(np.ones(3), out=[memory[:3], np.empty(3)])
    same = np.empty(3)
    with pytest.raises(ValueError, match="shares memory"):
        f.bind(np.ones(3), out=[same, same])
    with pytest.raises(ValueError, match="shares memory"):
        f.bind(np.ones(3), out=[memory[2:5], memory[3:]])
    g = f.bind(np.ones(3), out=[memory[3:], same])
    g()
    s.set_value(memory[3:], borrow=True)  # later
    with pytest.raises(ValueError, match="output 1 shares memory"):
        g()
    s.set_value(np.full(3, 2.0))
    np.testing.assert_array_equal(g()[1], [2, 2, 2])


def test_lengths_that_do_not_fit(make):
    x, y = T.dvector("x"), T.dvector("y")
    f = make([x, y], x + y)
    with pytest.raises(sg.ShapeError, match="x"):
        f.bind(np.ones(2), np.ones(3))
    np.testing.assert_array_equal(f.bind(np.ones(1), np.ones(3))(), [2, 2, 2])  # broadcasts, by a variant


def test_failing_calls_change_nothing(make):
    x, s = T.dscalar("x"), sg.shared(0.0, "s")
    f = make([x], s + x, updates=[(s, s + sg.Assert("positive")(x, x > 0))])
    value = np.array(1.0)
    g = f.bind(value)
    assert g() == 1
    value[...] = -1
    for _ in range(2):
        with pytest.raises(sg.AssertionFailure):
            g()
    assert s.get_value() == 1
    value[...] = 2
    assert g() == 3


def test_indices_out_of_range(make):
    x, i = T.dvector("x"), T.lscalar("i")
    f = make([x, i], x[i])
    at = np.array(1)
    g = f.bind(np.arange(3.0), at)
    assert g() == 1
    at[...] = 7
    with pytest.raises(IndexError):
        g()
    at[...] = -1
    assert g() == 2


def test_results_that_change_their_lengths(make):
    n, s = T.lscalar("n"), sg.shared(np.ones(2), "s")
    f = make([n], T.arange(n), updates=[(s, T.concatenate([s, s]))])
    count = np.array(3)
    g = f.bind(count)
    np.testing.assert_array_equal(g(), [0, 1, 2])
    count[...] = 4
    for _ in range(2):
        with pytest.raises(sg.ShapeError, match=r"\(4,\) now"):
            g()
    assert s.get_value().shape == (4,)
    count[...] = 3
    g()
    assert s.get_value().shape == (8,)


def test_state_is_followed(make):
    s, x = sg.shared(np.ones(3), "s"), T.dvector("x")
    f = make([x], s * x, updates=[(s, s + 1)])
    other = make([], None, updates=[(s, s * 10)])
    g = f.bind(np.ones(3))
    np.testing.assert_array_equal(g(), [1, 1, 1])
    other()
    np.testing.assert_array_equal(g(), [20, 20, 20])
    s.set_value(np.full(3, 7.0))
    np.testing.assert_array_equal(g(), [7, 7, 7])
    mine = np.zeros(3)
    s.set_value(mine, borrow=True)
    np.testing.assert_array_equal(g(), [0, 0, 0])
    s.set_value(np.zeros(4))
    with pytest.raises(sg.ShapeError):
        g()
    s.set_value(np.ones(3))
    np.testing.assert_array_equal(g(), [1, 1, 1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # numpy 2.5 would rather not have shapes set
def test_arrays_that_change_between_calls_are_noticed(make):
    x, s = T.dmatrix("x"), sg.shared(np.zeros(2), "s")
    f = make([x], [x * 2, x.sum(axis=0) + s], updates=[(s, s + 1)])
    value, out = np.arange(4.0).reshape(2, 2), [np.empty((2, 2)), np.empty(2)]
    g = f.bind(value, out=out)
    for k in range(3):
        assert g()[1].tolist() == [2.0 + k, 4.0 + k]
    value.shape = (1, 4)
    with pytest.raises(sg.ShapeError):
        g()
    value.shape = (2, 2)
    assert g()[1].tolist() == [5.0, 7.0]
    out[0].flags.writeable = False
    with pytest.raises((ValueError, TypeError)):
        g()
    out[0].flags.writeable = True
    value.dtype = "complex64"
    with pytest.raises((ValueError, TypeError)):
        g()
    value.dtype = "float64"
    assert g()[1].tolist() == [6.0, 8.0] and s.get_value().tolist() == [5.0, 5.0]
    f.free()
    assert g()[1].tolist() == [7.0, 9.0]
    assert f(np.ones((1, 2)))[1].tolist() == [7.0, 7.0] and g()[1].tolist() == [9.0, 11.0]


def test_what_is_printed_and_lengths_from_programs_of_their_own(make, capsys):
    x = T.dvector("x")
    f = make([x], sg.Print("value")(x) + 1)
    g = f.bind(np.ones(2))
    capsys.readouterr()
    np.testing.assert_array_equal(g(), [2, 2])
    assert "value" in capsys.readouterr().out
    h = make([x], T.arange(T.cast(x.sum(), "int64")))
    value = np.ones(3)
    bound = h.bind(value)
    np.testing.assert_array_equal(bound(), [0, 1, 2])
    value[0] = 2
    with pytest.raises(sg.ShapeError):
        bound()


def test_edited_c_counts_at_once(tmp_path):
    x = T.dvector("x")
    f = sg.function([x], x + 1.5, name="f")
    g = f.bind(np.ones(2))
    assert g()[0] == f(np.ones(2))[0] == 2.5
    path = f.edit(tmp_path / "f.c")
    path.write_text(path.read_text().replace("1.5", "1.5000000001"))
    f.reload(path, np.ones(2))
    assert g()[0] == f(np.ones(2))[0] == 2.5000000001


def test_threads(make):
    x, total = T.dvector("x"), sg.shared(np.zeros(100), "total")
    f = make([x], None, updates=[(total, total + x)])
    bound = [f.bind(np.full(100, float(k))) for k in range(4)]
    threads = [threading.Thread(target=lambda g=g: [g() for _ in range(500)]) for g in bound]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    np.testing.assert_array_equal(total.get_value(), np.full(100, 500 * 6.0))
