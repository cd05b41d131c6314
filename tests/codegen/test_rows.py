"""Loops along rows in vectors: which have idle lanes at the end, and that every number stays what it was."""

from dataclasses import replace

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from codegen import ir
from codegen.rows import MOST, WORDS, by_vectors
from codegen.visit import statements

IDLE = ir.Vectors("float32", True)
i, j, n, m = (ir.Var(ir.INDEX, name) for name in "ijnm")


def array(name, dtype, writable=True):
    return ir.Buffer(name, dtype, writable)


def at(buffer, offset=None):
    return ir.Load(buffer.dtype, buffer, i * m + j if offset is None else offset)


def vectors(*body, sums=(), extent=m, around=True, **more):
    """How a loop along a row runs."""
    loop = ir.For(j, extent, body, simd=True, sums=sums, **more)
    kernel = ir.Kernel("k", (), (ir.For(i, n, (loop,)) if around else loop,))
    (found,) = [s for s in statements(by_vectors(kernel).body) if isinstance(s, ir.For) and s.simd]
    return found.vectors


def reduced(dtype, of, operator="+", count=1):
    """The statements and sums of a loop that combines elements of one dtype in another."""
    term = at(X[of]) if of == dtype else ir.Cast(dtype, at(X[of]))
    totals = [ir.Var(dtype, f"total_{k}") for k in range(count)]
    return [ir.Assign(var, var + term) for var in totals], tuple((operator, var) for var in totals)


def shortest(dtype, of):
    """What has a lane in the vectors of a loop that combines elements of one dtype in another."""
    body, sums = reduced(dtype, of)
    found = vectors(*body, sums=sums)
    return found and found.of


X = {dtype: array("x", dtype, False) for dtype in ("float32", "float64", "int32", "int64", "int8")}
Y = array("y", "float32")
EXP = ir.Store(Y, i * m + j, ir.Operation("float32", "exp", (at(X["float32"]),)))


def test_a_vector_has_as_many_lanes_as_of_the_shortest_elements():
    assert shortest("float32", "float32") == "float32" == shortest("float64", "float32")
    assert shortest("float64", "float64") == "float64" and shortest("int64", "int64") == "int64"
    assert shortest("int64", "int32") == "int32" and shortest("int64", "int8") is None


def test_loops_are_left_that_gain_nothing():
    assert vectors(ir.Store(Y, i * m + j, at(X["float32"]) + at(X["float32"]))) is None  # cheap, and no sum
    assert vectors(EXP, around=False) is None  # ends once
    assert vectors(EXP, lanes=8) is None and vectors(EXP, step=4) is None
    assert vectors(EXP, ir.SourceLine("a.py", 1)) is None  # no line of its own within a macro
    body, sums = reduced("float32", "float32", count=MOST + 1)
    assert vectors(*body, sums=sums) is None and vectors(*body[1:], sums=sums[1:]) is not None


def test_lanes_are_idle_only_at_an_end_that_nobody_waits_for():
    assert [vectors(EXP, extent=ir.index(count)) for count in (15, 16, 17)] == [IDLE, None, IDLE]
    added = ir.Store(Y, j, at(Y, j) + ir.Operation("float32", "exp", (at(X["float32"]),)))
    assert vectors(added) is None  # the next row reads it at once
    assert vectors(ir.Store(Y, j, EXP.value)) == IDLE
    assert vectors(ir.Store(Y, i * m + j, ir.Operation("float32", "exp", (at(Y),)))) == IDLE  # in place
    body, sums = reduced("float32", "float32")
    assert vectors(*body, sums=sums) == IDLE
    assert vectors(*body, added, sums=sums) == replace(IDLE, idle=False)
    assert vectors(*body, sums=sums, extent=ir.index(32)) == replace(IDLE, idle=False)


def test_lanes_are_idle_where_shorter_vectors_would_wait():
    """A cheap loop that reads what a loop before it in the row has just written."""
    first = ir.For(j, m, (EXP,), simd=True)
    for read, expected in ((Y, IDLE), (X["float32"], None)):
        scaled = ir.For(j, m, (ir.Store(Y, i * m + j, at(read) + at(read)),), simd=True)
        kernel = by_vectors(ir.Kernel("k", (), (ir.For(i, n, (first, scaled)),)))
        assert [s.vectors for s in statements(kernel.body) if isinstance(s, ir.For) and s.simd] == [IDLE, expected]


def test_runs_along_rows_and_runs_that_add_up():
    body, sums = reduced("float32", "float32")
    for loop, outside in ((ir.For(j, m, (EXP,), simd=True), None), (ir.For(j, m, tuple(body), True, sums), IDLE)):
        runs = ir.Runs(loop, 512)
        for kernel, expected in ((ir.For(i, n, (runs,)), IDLE), (runs, outside)):
            (found,) = [s for s in statements(by_vectors(ir.Kernel("k", (), (kernel,))).body) if isinstance(s, ir.Runs)]
            assert found.loop.vectors == expected


HOW = {
    "+": np.add.reduce, "*": np.multiply.reduce, "max": np.max, "min": np.min, "&": np.bitwise_and.reduce,
    "|": np.bitwise_or.reduce,
}  # fmt: skip
OPERATION = {"+": "add", "*": "mul", "max": "maximum", "min": "minimum", "&": "bitwise_and", "|": "bitwise_or"}
KINDS = [
    (operator, dtype) for dtype in ("int32", "uint32", "int64", "uint64", "float32", "float64") for operator in WORDS
    if "int" in dtype or operator not in "&|"
]  # fmt: skip


@pytest.mark.parametrize("end", ["SG_IDLE", "SG_ONE_BY_ONE"])
@pytest.mark.parametrize(
    "before", ["", "#undef __AVX512F__\n", "#undef SG_SIMD\n"], ids=["in vectors", "in shorter vectors", "plain"]
)
@pytest.mark.parametrize(("operator", "dtype"), KINDS)
def test_every_way_to_combine(operator, dtype, before, end, run):
    """A kernel of the macro alone: the value so far counts, too, and every element once."""
    x, y = array("x", dtype, False), array("y", dtype)
    best = ir.Var(dtype, "best")
    width = 64 // np.dtype(dtype).itemsize  # the longest vector there may be
    combined = ir.Operation(dtype, OPERATION[operator], (best, at(x, j)))
    loop = ir.For(j, n, (ir.Assign(best, combined),), True, ((operator, best),))
    loop = replace(loop, vectors=ir.Vectors(dtype, end == "SG_IDLE"))
    start = ir.Declare(best, ir.Load(dtype, y, ir.index(0)), mutable=True)
    kernel = ir.Kernel("k", (x, y, n), (start, loop, ir.Store(y, ir.index(0), best)))
    call = ir.Call("k", (ir.Pointer(x, ir.index(0)), ir.Pointer(y, ir.index(0)), n))
    fields = (ir.ArrayField(x, "input"), ir.ArrayField(y, "output"))
    program = ir.Program("rows", fields, (n,), (), (), (call,), (kernel,))
    rng = np.random.default_rng(0)
    for length in range(2 * width + 2):
        X = rng.integers(1, 3 if operator == "*" else 100, length).astype(dtype)
        if operator == "*":
            X[10:] = 1  # no product is too large
        Y = np.array([50], dtype)
        expected = HOW[operator](np.append(X, Y))
        assert run(program, [np.append(X, X[:1]), Y], (length,), before=before) == 0
        assert Y[0] == expected, (length, X)


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
