"""The ends of rows as vectors with idle lanes: which loops have them, and that every number stays what it was."""

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from codegen import ir
from codegen.tails import tailed
from codegen.visit import statements

i, j, n, m = (ir.Var(ir.INDEX, name) for name in "ijnm")


def array(name, dtype, writable=True):
    return ir.Buffer(name, dtype, writable)


def at(buffer, offset=None):
    return ir.Load(buffer.dtype, buffer, i * m + j if offset is None else offset)


def tail(*body, sums=(), extent=m, around=True, **more):
    """The lanes of the last vector of a loop along a row."""
    loop = ir.For(j, extent, body, simd=True, sums=sums, **more)
    kernel = ir.Kernel("k", (), (ir.For(i, n, (loop,)) if around else loop,))
    (found,) = [s for s in statements(tailed(kernel).body) if isinstance(s, ir.For) and s.simd]
    return found.tail


def total(dtype, of):
    var = ir.Var(dtype, "total")
    term = of if of.dtype == dtype else ir.Cast(dtype, of)
    return {"body": ir.Assign(var, var + term), "sums": (("+", var),)}


X = {dtype: array("x", dtype, False) for dtype in ("float32", "float64", "int32", "int64", "int8")}
Y = array("y", "float32")
EXP = ir.Store(Y, i * m + j, ir.Operation("float32", "exp", (at(X["float32"]),)))


def sum_of(dtype, of):
    parts = total(dtype, at(X[of]))
    return tail(parts["body"], sums=parts["sums"])


def test_a_vector_has_as_many_lanes_as_of_the_shortest_elements():
    assert sum_of("float32", "float32") == 16 == tail(EXP)
    assert sum_of("float64", "float64") == 8 == sum_of("int64", "int64")
    assert sum_of("float64", "float32") == 16 == sum_of("int64", "int32")
    assert sum_of("int64", "int8") == 0


def test_loops_are_left_that_gain_nothing():
    assert tail(ir.Store(Y, i * m + j, at(X["float32"]) + at(X["float32"]))) == 0  # cheap, and no sum
    assert tail(EXP, around=False) == 0  # ends once
    assert tail(EXP, lanes=8) == 0 and tail(EXP, step=4) == 0
    assert [tail(EXP, extent=ir.index(count)) for count in (15, 16, 17, 32)] == [16, 0, 16, 0]
    assert tail(EXP, ir.SourceLine("a.py", 1)) == 0  # no line of its own within a macro
    added = ir.Store(Y, j, at(Y, j) + ir.Operation("float32", "exp", (at(X["float32"]),)))
    assert tail(added) == 0  # the next row reads it at once
    assert tail(ir.Store(Y, j, EXP.value)) == 16


def test_runs_have_them_too():
    loop = ir.For(j, m, (EXP,), simd=True)
    runs = ir.Kernel("k", (), (ir.For(i, n, (ir.Runs(loop, 512),)),))
    (found,) = [s for s in statements(tailed(runs).body) if isinstance(s, ir.Runs)]
    assert found.loop.tail == 16


LENGTHS = *range(1, 20), 31, 32, 33, 100, 513, 1000


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


ROWS = {
    "softmax": (T.nnet.softmax, softmax),
    "sum": (lambda x: x.sum(axis=1), lambda x: x.sum(axis=1)),
    "product": (lambda x: (1 + x / 100).prod(axis=1), lambda x: (1 + x / 100).prod(axis=1)),
    "largest": (lambda x: x.max(axis=1), lambda x: x.max(axis=1)),
    "smallest": (lambda x: x.min(axis=1), lambda x: x.min(axis=1)),
    "logsumexp": (
        lambda x: T.log(T.exp(x - x.max(axis=1, keepdims=True)).sum(axis=1)),
        lambda x: np.log(np.exp(x - x.max(axis=1, keepdims=True)).sum(axis=1)),
    ),
    "scaled by the sum of their squares": (
        lambda x: T.tanh(x / T.sqrt(T.sqr(x).sum(axis=1, keepdims=True))),
        lambda x: np.tanh(x / np.sqrt((x * x).sum(axis=1, keepdims=True))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("known", [False, True], ids=["of any length", "of a known length"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", ROWS)
def test_rows_of_all_lengths(case, dtype, known):
    symbolic, expected = ROWS[case]
    rng = np.random.default_rng(0)
    any_length = sg.function([x := T.TensorType(dtype, (None, None))("x")], symbolic(x))
    for length in (5, 7, 10, 17) if known else LENGTHS:
        f = any_length
        if known:
            x = T.TensorType(dtype, (None, length))("x")
            f = sg.function([x], symbolic(x))
        X = rng.normal(size=(7, length)).astype(dtype)
        tolerance = 1e-6 if dtype == "float32" else 1e-14
        wanted = expected(X.astype("float64"))
        np.testing.assert_allclose(f(X), wanted, rtol=20 * tolerance, atol=20 * tolerance)


@pytest.mark.parametrize("place", [0, 9, 15, 16, 20])
def test_a_nan_in_the_last_vector_is_seen(place):
    x = T.fmatrix("x")
    f = sg.function([x], [x.max(axis=1), T.nnet.softmax(x), x.sum(axis=1)])
    X = np.ones((3, 21), "float32")
    X[1, place] = np.nan
    for result in f(X):
        assert np.isnan(result[1]).all() and np.isfinite(result[[0, 2]]).all()


@pytest.mark.parametrize("length", [1, 5, 15, 17, 100])
def test_nothing_is_written_beyond_a_row(length):
    """Not even by lanes that are idle: the results are parts of larger arrays."""
    x = T.fmatrix("x")
    f = sg.function([x], T.nnet.softmax(x))
    memory = np.full(4 * length + 64, 7.0, "float32")
    out = memory[16 : 16 + 4 * length].reshape(4, length)
    f.bind(X := np.random.default_rng(0).normal(size=(4, length)).astype("float32"), out=[out])()
    np.testing.assert_allclose(out, softmax(X), rtol=1e-5)
    assert (memory[:16] == 7).all() and (memory[16 + 4 * length :] == 7).all()
