"""The memory of calls: nothing leaks, results are used again once they are dropped and not before."""

import gc
import sys
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T


class Mine(np.ndarray):
    """A user's kind of array."""


def test_calls_leak_nothing(make):
    x, s = T.dvector("x"), sg.shared(np.zeros(3), "s")
    f = make([x], {"a": x + s, "b": x.sum()}, updates=[(s, s + 1)])
    big = make([x], [x + 1, x * 2])
    small, large, odd = np.ones(3), np.ones(1 << 16), np.ones(6)[::2]
    g = f.bind(small)

    def calls(count):
        for _ in range(count):
            f(small), f(odd), big(large), g()

    calls(50)
    gc.collect()
    before = [sys.getrefcount(o) for o in (f, s, s.storage, small, large, odd, np.dtype("float64"))]
    tracemalloc.start()
    try:
        calls(20)
        gc.collect()
        first = tracemalloc.get_traced_memory()[0]
        calls(400)
        gc.collect()
        second = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    after = [sys.getrefcount(o) for o in (f, s, s.storage, small, large, odd, np.dtype("float64"))]
    assert second - first < 4000
    assert all(abs(a - b) < 20 for a, b in zip(before, after)), (before, after)


def test_a_function_that_is_dropped_goes(make):
    x, s = T.dvector("x"), sg.shared(np.zeros(1 << 16), "s")
    f = make([x], x + s, updates=[(s, s + x)])
    result = f(np.ones(1 << 16))
    g = f.bind(np.ones(1 << 16))
    g()
    gone = [weakref.ref(f), weakref.ref(g)]
    count = sys.getrefcount(s)
    del f, g
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    assert sys.getrefcount(s) <= count
    np.testing.assert_array_equal(result, np.ones(1 << 16))  # outlives what made it
    result.resize(10, refcheck=False)
    assert result.sum() == 10


def held(how, result):
    """Something that keeps the memory of a result in use when the array itself is dropped."""
    return {
        "array": lambda: result,
        "view": lambda: result[1:],
        "view of a view": lambda: result[1:][::2],
        "reshaped": lambda: result.reshape(2, -1),
        "other dtype": lambda: result.view("uint8"),
        "memoryview": lambda: memoryview(result),
        "dlpack": lambda: np.from_dlpack(result),
        "ctypes": lambda: result.ctypes.data_as(np.ctypeslib.ctypes.c_void_p),
        "iterator": lambda: result.flat,
        "subclass": lambda: result.view(Mine),
    }[how]()


@pytest.mark.parametrize("n", [4, 1 << 10, 1 << 17, 1 << 18])
@pytest.mark.parametrize("how", ["array", "view", "view of a view", "reshaped", "other dtype", "memoryview", "dlpack",
                                 "ctypes", "iterator", "subclass"])
def test_results_that_are_held_are_never_written_again(make, how, n):
    x = T.dvector("x")
    f = make([x], x * 1)
    address = f(np.full(n, 1.0)).ctypes.data
    kept = held(how, f(np.full(n, 2.0)))
    for k in range(3, 8):
        assert (f(np.full(n, float(k))) == k).all()
    if how == "ctypes":
        values = np.ctypeslib.as_array((np.ctypeslib.ctypes.c_double * n).from_address(kept.value))
    else:
        values = np.frombuffer(bytes(np.array(kept, copy=True).tobytes()))
    assert (values == 2.0).all() and address


def test_large_results_are_recycled(extension):
    x = T.dvector("x")
    f = sg.function([x], [x + 1, x * 2])
    value, program = np.ones(1 << 19), f._quick.program
    f(value)
    assert program.kept_bytes == 2 * value.nbytes
    places = {a.ctypes.data for a in f(value)}
    assert {a.ctypes.data for a in f(value)} == places  # dropped, and used again
    for n in (1 << 18, 1 << 20, 1 << 19):
        f(np.ones(n))
        f(np.ones(n))
        assert program.kept_bytes == 2 * 8 * n  # never more than one call's
    held = [f(value) for _ in range(5)]
    assert len({a.ctypes.data for pair in held for a in pair}) == 10
    del held
    assert program.kept_bytes == 2 * value.nbytes
    f.free()
    assert program.kept_bytes == 0
    f(np.ones(10))
    assert program.kept_bytes == 2 * 80  # small ones are kept as arrays
    f.free()
    assert program.kept_bytes == 0


def test_small_results_are_the_same_arrays(extension):
    x = T.dvector("x")
    f = sg.function([x], x + 1)
    value = np.ones(4)
    y = f(value)
    seen = {id(y)}
    for _ in range(10):
        y = f(value)
        seen.add(id(y))
    assert len(seen) == 2  # y is held while the next is made
    held = [f(value + k) for k in range(10)]
    assert len(set(map(id, held))) == 10 and [a[0] for a in held] == [2.0 + k for k in range(10)]
    assert f(f(f(value)))[0] == 4.0 and f(value)[0] + f(value * 2)[0] == 5.0


def spoil(array):
    """Ways to change an array but not its elements."""
    yield "flags", lambda: array.setflags(write=False)
    yield "shape", lambda: setattr(array, "shape", (2, 2))
    yield "dtype", lambda: setattr(array, "dtype", "int64")
    yield "length", lambda: array.resize(2, refcheck=False)
    yield "order", lambda: (setattr(array, "shape", (2, 2)), setattr(array, "strides", (8, 16)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("k", range(5))
def test_changed_results_are_not_returned_again(make, k):
    x = T.dvector("x")
    f = make([x], x + 1)
    value = np.arange(4.0)
    f(value)
    for _ in range(3):
        result = f(value)
        _, change = list(spoil(result))[k]
        change()
        del result, change
        after = f(value)
        assert after.shape == (4,) and after.dtype == "float64" and after.flags.carray
        np.testing.assert_array_equal(after, value + 1)


def test_weak_references_to_results_die(make):
    x = T.dvector("x")
    f = make([x], x + 1)
    f(np.ones(3))
    seen, results = f(np.ones(3)), []
    ref = weakref.ref(seen, lambda _: results.append(f(np.zeros(3))))  # within a call, or when the result is dropped
    del seen
    for k in range(4):
        assert (f(np.full(3, float(k))) == k + 1).all()
    assert ref() is None and [list(r) for r in results] == [[1.0, 1.0, 1.0]]


def test_recycling_with_threads_that_drop_late(extension):
    x = T.dvector("x")
    f = sg.function([x], x + 0)
    wrong = []

    def work(k):
        value, last = np.full(1 << 18, float(k)), None
        for _ in range(60):
            result = f(value)
            if not (result == k).all() or (last is not None and not (last == k).all()):
                wrong.append(k)
            last = result[::2]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_the_memory_report(make):
    x, W = T.dmatrix("x"), sg.shared(np.ones((3, 2)), "W")
    h = T.tanh(x @ W)
    f = make([x], (h[::-1] * h).sum(), updates=[(W, W * 2)], name="f")
    before = f.memory()
    assert {p.role for p in before.parts} >= {"input", "shared", "output", "workspace"}
    assert all(p.at_last is None for p in before.parts)
    f(np.ones((5, 3)))
    after = f.memory()
    numbers = {p.what: p.at_last for p in after.parts}
    assert numbers["x"] == 120 and numbers["W"] == 48
    assert after.workspace >= sum(p.at_last for p in after.parts if p.role == "workspace" and p.at_last)
    text = str(after)
    assert "8*x_0*x_1" in text and "updated in place" in text and "held now" in text
    f.free()
    assert f.memory().workspace == 0
    assert f(np.ones((5, 3))).shape == ()


def test_interpreted_functions_have_no_memory_to_tell():
    x = T.dvector("x")
    with pytest.raises(RuntimeError, match="interpreted"):
        sg.function([x], x + 1, mode="numpy").memory()
