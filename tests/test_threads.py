"""Threads: the same bits whatever their number, small work in one, and what the environment and a fork say."""

import os
import subprocess
import sys

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.lower import blocks

COUNTS = (1, 2, 3, 7)
rng = np.random.default_rng(0)
x, y, z = T.fmatrices("x", "y", "z")
v, w = T.dvectors("v", "w")
i = T.lvector("i")
S = sg.shared(rng.normal(size=(40, 30)).astype("float32"), "S")
p = T.nnet.softmax(x)
VALUES = {
    x: rng.normal(size=(101, 30)).astype("float32"), y: rng.normal(size=(101, 30)).astype("float32"),
    z: rng.normal(size=(3000, 5)).astype("float32"), v: rng.normal(size=3001), w: rng.normal(size=3001),
    i: rng.integers(0, 30, 101),
}  # fmt: skip
CASES = {
    "elements in order": ([x, y], [T.tanh(x) * y, x + 1]),
    "a broadcast row": ([x], [x * x[0] - x[:, :1]]),
    "a transpose": ([x], [T.exp(x.T) + 1]),
    "sums of everything": ([x, v], [x.sum(), (v * v).sum(), x.prod(), T.any(x > 3), T.all(x < 9)]),
    "largest and smallest": ([x, v], [x.max(), v.min(), x.max(axis=0), x.min(axis=1)]),
    "positions": ([x, v], [T.argmax(v), T.argmin(x, axis=0), T.argmax(x, axis=1)]),
    "sums of rows and of columns": ([x], [x.sum(axis=1), x.sum(axis=0), x.mean(), x.var(axis=0)]),
    "means and variances of many rows": ([z, v], [z.mean(axis=0), z.var(axis=0), v.var()]),
    "the middle of three axes": ([x], [x.reshape((101, 5, 6)).sum(axis=1), x.reshape((101, 5, 6)).sum(axis=0)]),
    "softmax, its sum, and what becomes of the sum": ([x], [p, p.sum(axis=0), T.log(p.sum())]),
    "a loss and its gradient": ([x, i], [-T.mean(T.log(p)[T.arange(i.shape[0]), i]),
                                         sg.grad(-T.mean(T.log(p)[T.arange(i.shape[0]), i]), x)]),
    "neighbours": ([v], [v[1:] * v[:-1], v + v[::-1]]),
    "a result beside sums of columns": ([x, y], [x * y - x.mean(axis=1, keepdims=True), (x * y).sum(axis=0)]),
    "products": ([x, y], [T.dot(x, y.T), T.dot(x.T, y), T.dot(x, S.T)]),
}  # fmt: skip


@pytest.fixture(autouse=True)
def restored():
    count = sg.get_num_threads()
    yield
    sg.set_num_threads(count)


@pytest.fixture
def little_blocks(monkeypatch):
    """Work counts as large from two operations on."""
    monkeypatch.setenv("CC", os.environ["CC"] + " -DSG_BLOCK_WORK=1")
    monkeypatch.setattr(blocks, "BLOCK_WORK", 1)


@pytest.mark.parametrize("large", ["", " -DSG_LARGE=0"], ids=["small arrays", "large arrays"])
@pytest.mark.parametrize("case", CASES)
def test_bits_do_not_depend_on_the_number_of_threads(case, large, little_blocks, monkeypatch):
    """Nor do the results depend on whether arrays are so large that they are written past the caches."""
    monkeypatch.setenv("CC", os.environ["CC"] + large)
    inputs, outputs = CASES[case]
    arrays = [VALUES[variable] for variable in inputs]
    f = sg.function(inputs, outputs)
    assert "SG_IN_BLOCKS" in f.c_source or "sg_gemm" in f.c_source
    results = []
    for count in COUNTS:
        sg.set_num_threads(count)
        results.append(f(*arrays))
    for other in results[1:]:
        for got, expected in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(got, expected, strict=True)
    interpreted = sg.function(inputs, outputs, mode="numpy")(*arrays)
    for got, expected in zip(results[0], interpreted, strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-6, strict=True)


@pytest.mark.parametrize("rows", [0, 1, 2, 31, 33])
def test_fewer_rows_than_blocks(rows, little_blocks):
    X = rng.normal(size=(rows, 4)).astype("float32")
    f = sg.function([x], [x * 2, x.sum(axis=0), x.sum(), x.sum(axis=1)])
    for got, expected in zip(f(X), [X * 2, X.sum(0), X.sum(), X.sum(1)], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_updates_in_place_by_several_threads(little_blocks):
    W = sg.shared(rng.normal(size=(64, 30)).astype("float32"), "W")
    b = sg.shared(np.zeros(30, "float32"), "b")
    first = {count: (W.get_value(), b.get_value()) for count in COUNTS}
    f = sg.function([x], T.dot(x, W.T).sum(), updates=[(W, W - 0.1 * W * b), (b, b + x.sum(axis=0) * 0.1)])
    after = []
    for count in COUNTS:
        W.set_value(first[count][0])
        b.set_value(first[count][1])
        sg.set_num_threads(count)
        for _ in range(3):
            f(VALUES[x])
        after.append((W.get_value(), b.get_value()))
    for one in after[1:]:
        np.testing.assert_array_equal(one[0], after[0][0])
        np.testing.assert_array_equal(one[1], after[0][1])


def test_what_an_iteration_reads_of_others_is_not_overwritten(little_blocks):
    """Every element needs the first one, which the update changes: in place, and yet as it was."""
    s = sg.shared(np.arange(1.0, 1001.0), "s")
    f = sg.function([], updates=[(s, s * s[0] + s[::-1])])
    for count in COUNTS:
        sg.set_num_threads(count)
        old = s.get_value()
        f()
        np.testing.assert_array_equal(s.get_value(), old * old[0] + old[::-1])


def test_large_work_is_split_and_small_is_not():
    vector = sg.shared(np.zeros(100), "vector")
    assert "SG_IN_BLOCKS(" not in sg.function([], vector * 2).c_source
    assert "SG_IN_BLOCKS(" in sg.function([], sg.shared(np.zeros(10**6)) * 2).c_source


@pytest.mark.parametrize("count", [0, -1, 2**15])
def test_impossible_numbers_of_threads(count):
    with pytest.raises(ValueError, match="number of threads"):
        sg.set_num_threads(count)


@pytest.mark.parametrize("count", [1.0, "2", None, True])
def test_a_number_of_threads_is_an_integer(count):
    with pytest.raises(TypeError, match="int"):
        sg.set_num_threads(count)


@pytest.mark.parametrize(
    ("asked", "given"), [("1", 1), ("3", 3), (" 2 ", 2), ("5,2", 5), ("", None), ("0", None), ("x", None)]
)
def test_the_environment_tells_the_first_number(asked, given):
    program = "import symgraph; print(symgraph.get_num_threads())"
    env = {**os.environ, "OMP_NUM_THREADS": asked}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    expected = given or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    assert int(done.stdout) == expected


def test_a_child_made_by_a_fork_computes(little_blocks):
    """Threads do not survive a fork; one that waited for them would never end."""
    f = sg.function([x], T.tanh(x).sum())
    sg.set_num_threads(2)
    expected = f(VALUES[x])
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"%d %a" % (sg.get_num_threads(), bool(f(VALUES[x]) == expected)))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 100) == b"1 True"
    os.close(reader)
    os.close(writer)
    assert f(VALUES[x]) == expected and sg.get_num_threads() == 2


def test_loading_leaves_the_environment_as_it_was():
    before = dict(os.environ)
    sg.function([x], (x * 5).sum())
    assert dict(os.environ) == before


def test_a_scalar_that_the_loop_reads_and_the_rest_updates(little_blocks):
    """Every block sees the old bias, and the new one is the same for any number of threads."""
    bias = sg.shared(0.25, "bias")
    error = T.tanh(v + bias) - w
    f = sg.function([v, w], [(error**2).sum(), error], updates=[(bias, bias - 1e-4 * T.grad((error**2).sum(), bias))])
    assert f.c_source.count("SG_IN_BLOCKS(") > 1
    after = []
    for count in COUNTS:
        sg.set_num_threads(count)
        bias.set_value(0.25)
        total, values = f(VALUES[v], VALUES[w])
        np.testing.assert_allclose(values, np.tanh(VALUES[v] + 0.25) - VALUES[w], rtol=1e-12)
        slope = (2 * values * (1 - np.tanh(VALUES[v] + 0.25) ** 2)).sum()
        np.testing.assert_allclose(bias.get_value(), 0.25 - 1e-4 * slope, rtol=1e-10)
        after.append((float(total), float(bias.get_value())))
    assert len(set(after)) == 1
