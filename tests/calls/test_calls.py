"""The extension module that calls compiled functions: what it takes, what it leaves to Python, what it never breaks."""

import inspect
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.function import Function
from symgraph.options import Options
from symgraph.signature import make_signature


def took_c(f, *args):
    """The result of a call, and whether Python had no part in it."""
    slow, original = [], Function._call

    def spy(self, args, kwargs):
        slow.append(self)
        return original(self, args, kwargs)

    Function._call = spy
    try:
        return f(*args), not slow
    finally:
        Function._call = original


# -- what C takes and what it leaves to Python

class Mine(np.ndarray):
    """A user's kind of array."""


X = np.arange(6.0).reshape(2, 3)
LATE = X.astype(">f8")


@pytest.mark.parametrize("value, quick", [
    (X, True),
    (np.zeros((0, 3)), True),
    (np.zeros((5, 0)), True),
    (X.T.copy().T, False),
    (X[:, ::2], False),
    (X[::2], True),
    (X.astype("float32"), False),
    (X.astype(int), False),
    (LATE, False),
    (X.tolist(), False),
    (X.view(Mine), False),
    (np.ma.array(X), False),
    (np.lib.stride_tricks.as_strided(X, writeable=False), True),
    (np.broadcast_to(np.ones(3), (2, 3)), False),
    (np.frombuffer(b"\0" + X.tobytes(), offset=1).reshape(2, 3), False),
], ids=str)
def test_arrays_as_they_are_go_straight_to_c(extension, value, quick):
    x = T.dmatrix("x")
    f = sg.function([x], x + 1)
    result, taken = took_c(f, value)
    assert taken == quick
    assert type(result) is np.ndarray and result.dtype == "float64"
    np.testing.assert_array_equal(result, np.asarray(value, float) + 1)


@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
                                   "float32", "float64"])
@pytest.mark.parametrize("value", [
    0, 1, -1, 7, 127, 128, 255, 256, -129, 40_000, 70_000, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64,
    10**400, True, 0.5, 3.0, -0.0, 1e-320, 3.4028235e38, 3.4028236e38, 1e39, 1e300, float("inf"), float("nan"),
    np.float64(2.5), np.float32(2.5), np.int64(3), np.int8(-3), np.bool_(True), np.uint64(2**63), np.longlong(5),
    np.array(4.0), np.array(4), np.array([1.0]), "1", None, 1j,
], ids=repr)
def test_numbers_become_scalars_as_in_python(extension, dtype, value):
    x = T.scalar("x", dtype)
    signature = make_signature([x], x.copy(), name="f")
    functions = [Function(signature, Options(calls=calls), 0.0) for calls in ("c", "python")]
    outcomes = []
    for f in functions:
        try:
            result = f(value)
            outcomes.append((result.dtype, result.shape, result.tobytes()))
        except Exception as error:
            outcomes.append((type(error), str(error)))
    assert outcomes[0] == outcomes[1]


def test_plain_numbers_need_no_python(extension):
    xs = [T.dscalar(c) for c in "abcde"]
    f = sg.function(xs, xs[0] + xs[1] * xs[2] - xs[3] / xs[4])
    for args in [(1.0, 2.0, 3.0, 4.0, 5.0), (1, 2, 3, 4, 5), (np.float64(1), np.array(2.0), 3, 4.0, 5)]:
        assert took_c(f, *args) == (1 + 6 - 0.8, True)


def test_strict_inputs_take_no_numbers(make):
    x = T.dscalar("x")
    f = make([sg.In(x, strict=True)], x * 2)
    assert f(np.array(2.0)) == 4
    with pytest.raises(sg.DtypeError, match="strict"):
        f(2.0)


def test_known_lengths_are_checked(make):
    x = T.row("x")
    f = make([x], x.sum())
    n = 4
    assert f(np.ones((1, n))) == n
    with pytest.raises(sg.ShapeError):
        f(np.ones((2, n + 1)))


def test_longlong_arrays_are_int64(make):
    x = T.lvector("x")
    f = make([x], x + 1)
    np.testing.assert_array_equal(f(np.arange(3, dtype=np.longlong)), [1, 2, 3])
    np.testing.assert_array_equal(f(np.arange(3)), [1, 2, 3])


@pytest.mark.parametrize("form", ["one", "list", "tuple", "dict", "none", "empty list", "empty dict"])
def test_forms(make, form):
    x, s = T.dvector("x"), sg.shared(0.0, "s")
    outputs = {"one": x + 1, "list": [x + 1, x.sum()], "tuple": (x + 1,), "dict": {"a": x + 1, 2: x.sum()},
               "none": None, "empty list": [], "empty dict": {}}[form]
    f = make([x], outputs, updates=[(s, s + x.sum())])
    for k in range(3):
        result = f(np.ones(4))
        assert s.get_value() == 4 * (k + 1)
        if form == "none":
            assert result is None
            continue
        assert type(result) is {"one": np.ndarray, "dict": dict, "empty dict": dict}.get(form, list)
        values = [result] if form == "one" else list(result.values()) if isinstance(result, dict) else result
        for value, right in zip(values, [np.full(4, 2.0), 4.0]):
            np.testing.assert_array_equal(value, right)
        if form == "dict":
            assert list(result) == ["a", 2]


def test_many_shapes_and_back(make):
    x = T.dmatrix("x")
    f = make([x], [x.sum(axis=0), x * 2])
    for _ in range(2):
        for n in range(100):
            total, double = f(np.ones((n, n % 7)))
            assert total.shape == (n % 7,) and double.shape == (n, n % 7)
            assert (total == n).all() and (double == 2).all()


def test_lengths_that_depend_on_values(make):
    n, x = T.lscalar("n"), T.dvector("x")
    f = make([n, x], [T.arange(n), x[n:]])
    for k in (3, 0, 5, 3):
        numbers, rest = f(k, np.arange(5.0))
        np.testing.assert_array_equal(numbers, np.arange(k))
        np.testing.assert_array_equal(rest, np.arange(5.0)[k:])


def test_errors_are_those_of_python(extension):
    x, y = T.dvector("x"), T.dvector("y")
    signature = make_signature([x, y], x / y + y[2], name="f")
    functions = [Function(signature, Options(calls=calls), 0.0) for calls in ("c", "python")]
    cases = [(np.ones(3),), (np.ones(3), np.ones(4)), (np.ones(2), np.ones(2)), (np.ones((3, 1)), np.ones(3)),
             (np.ones(3), "y"), (np.ones(3),) * 3]
    for args in cases:
        messages = []
        for f in functions:
            with pytest.raises((TypeError, ValueError, IndexError)) as caught:
                f(*args)
            messages.append((caught.type, str(caught.value)))
        assert messages[0] == messages[1]
    for f in functions:
        np.testing.assert_array_equal(f(np.ones(3), np.ones(3)), [2, 2, 2])
        np.testing.assert_array_equal(f(x=np.ones(3), y=np.ones(3)), [2, 2, 2])


def test_variants_take_turns(make):
    x, y = T.dmatrix("x"), T.dmatrix("y")
    f = make([x, y], x + y)
    for _ in range(3):
        assert f(np.ones((2, 3)), np.ones((2, 3))).shape == (2, 3)
        assert f(np.ones((2, 3)), np.ones((1, 3))).shape == (2, 3)
        assert f(np.ones((2, 1)), np.ones((2, 3))).shape == (2, 3)


def test_a_call_is_described_as_before(extension):
    x = T.dvector("x")
    f = sg.function([x], x + 0)
    assert (f(np.ones(2)) == 1).all() and (f(x=np.ones(2)) == 1).all() and (f.__call__(np.ones(2)) == 1).all()
    assert str(inspect.signature(f)) == "(x)" and str(inspect.signature(f.bind(np.ones(2)))) == "()"
    assert "Compute the outputs" in inspect.getdoc(type(f).__call__)
    assert "signature" in inspect.signature(type(f)).parameters


# -- the state

def test_state_that_grows(make):
    s = sg.shared(np.ones(1), "s")
    f = make([], s.sum(), updates=[(s, T.concatenate([s, s]))])
    for k in range(6):
        assert f() == 2**k
    assert s.get_value().shape == (64,)


def test_a_failed_call_leaves_the_state(make):
    x, s, t = T.dscalar("x"), sg.shared(np.zeros(3), "s"), sg.shared(1.0, "t")
    checked = sg.Assert("x must be positive")(x, x > 0)
    f = make([x], s.sum(), updates=[(s, s + checked), (t, t * 2)])
    f(1.0)
    for _ in range(3):
        with pytest.raises(sg.AssertionFailure, match="positive"):
            f(-1.0)
    assert t.get_value() == 2
    np.testing.assert_array_equal(s.get_value(), np.ones(3))
    assert f(2.0) == 3


def test_a_long_call_without_memory_for_its_workspace(make):
    """4e14 bytes; a call that is to be long holds the lock, which it gives back."""
    x, n, s = T.dvector("x"), T.lscalar("n"), sg.shared(0.0, "s")
    square = T.alloc(x[0], n, n)
    f = make([x, n], T.dot(T.exp(square), square)[0, 0], updates=[(s, s + 1)])
    for _ in range(3):
        f([0.0], 2)
        with pytest.raises(MemoryError):
            f([0.0], 4_000_000)
    assert s.get_value() == 3


def test_millions_of_arguments_are_too_many(make):
    x = T.dscalar("x")
    f = make([x], x + 1)
    f(1.0)
    with pytest.raises(TypeError, match="3000000 arguments"):
        f(*[0.0] * 3_000_000)
    assert f(x=1.0) == 2


def test_guarded_functions(make):
    x, s = T.dvector("x"), sg.shared(0.0, "s")
    f = make([x], T.log(x), updates=[(s, s + 1)], mode="nan_guard")
    f(np.ones(2))
    with pytest.raises(sg.NonFiniteError):
        f(-np.ones(2))
    assert s.get_value() == 1


def test_borrowed_state_that_overlaps(make):
    memory = np.arange(6.0)
    s = sg.shared(memory, "s", borrow=True)
    x = T.dvector("x")
    f = make([x], s.sum(), updates=[(s, s + x[::-1])])
    f(np.zeros(6))
    assert f(s.get_value(borrow=True)) == 15  # the argument is what the call changes
    np.testing.assert_array_equal(s.get_value(), np.full(6, 5.0))
    t = sg.shared(np.zeros(6), "t")
    t.set_value(s.get_value(borrow=True), borrow=True)
    g = make([], [s.sum(), t.sum()], updates=[(s, s + 1), (t, t * 2)])
    assert g() == [30, 30]
    np.testing.assert_array_equal(s.get_value(), np.full(6, 6.0))
    np.testing.assert_array_equal(t.get_value(), np.full(6, 10.0))


def test_set_value_between_calls(make):
    s, x = sg.shared(np.ones(3), "s"), T.dvector("x")
    f = make([x], (s * x).sum())
    assert f(np.ones(3)) == 3
    s.set_value(np.full(3, 2.0))
    assert f(np.ones(3)) == 6
    s.set_value(np.full(5, 2.0))
    assert f(np.ones(5)) == 10
    with pytest.raises(sg.ShapeError):
        f(np.ones(3))


def test_functions_that_share_state_after_the_first_call(make):
    a, b = sg.shared(0.0, "a"), sg.shared(0.0, "b")
    f = make([], a, updates=[(a, a + 1)])
    g = make([], b, updates=[(b, b + 1)])
    f(), g()
    both = make([], [a, b], updates=[(a, b), (b, a + 10)])  # joins the guards
    assert f() == 1 and g() == 1
    assert both() == [2, 2]
    assert f() == 2 and g() == 12


# -- several threads, signals, calls within calls

@pytest.mark.parametrize("size", [4, 1 << 18])
def test_threads(make, size):
    x, total = T.dvector("x"), sg.shared(np.zeros(size), "total")
    add = make([x], None, updates=[(total, total + x)])
    read = make([], total.max() - total.min())
    ones, rounds, wrong = np.ones(size), 40 if size > 100 else 3000, []

    def work(k):
        for _ in range(rounds):
            if k % 2:
                add(ones)
            elif read() != 0 or np.ptp(total.get_value()) != 0:
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
    np.testing.assert_array_equal(total.get_value(), np.full(size, 2.0 * rounds))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_waits_for_calls_elsewhere(make):
    """The child could not wait for a thread that it does not have; nor should it see a state half stored."""
    x, total = T.dvector("x"), sg.shared(np.zeros(1 << 20), "total")
    f = make([x], None, updates=[(total, total + x)])
    ones, stop = np.ones(1 << 20), threading.Event()
    f(ones)

    def work():
        while not stop.is_set():
            f(ones)

    thread = threading.Thread(target=work)
    thread.start()
    codes = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            before = total.get_value()
            f(ones)
            whole = np.ptp(before) == 0 and np.array_equal(total.get_value(), before + 1)
            os._exit(0 if whole else 1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    stop.set()
    thread.join()
    assert codes == [0] * 8
    assert np.ptp(total.get_value()) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_during_a_call_by_its_own_thread(make):
    x, s = T.dscalar("x"), sg.shared(1.0, "s")
    children = []

    def fork(text, value):
        child = os.fork()
        if child == 0:
            s.get_value()
        children.append(child)

    f = make([x], sg.Print("x", global_fn=fork)(x) + s)
    f(2.0)
    if 0 in children:
        signal.alarm(20)
        os._exit(0 if f(2.0) == 3 else 1)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0]


def test_others_run_during_a_long_call(make):
    x = T.dvector("x")
    f = make([x], T.exp(T.sin(T.cos(x))).sum())
    value, ticks, done = np.linspace(0, 1, 1 << 22), [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())

    f(value)
    thread = threading.Thread(target=tick)
    thread.start()
    most = 0
    for _ in range(100):  # on one core, the other thread may not have its turn during each
        started = time.perf_counter()
        f(value)
        ended = time.perf_counter()
        most = max(most, sum(started < t < ended for t in ticks[-10_000:]))
        if most > 10:
            break
    done.set()
    thread.join()
    assert most > 10


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
def test_signal_handlers_may_call(make):
    """A handler runs between calls in C, or within one in Python, where the call of the same function is refused."""
    x, s = T.dscalar("x"), sg.shared(0.0, "s")
    f = make([x], s, updates=[(s, s + x)])
    g = make([], s * 1)
    f(0.0), g()
    calls = []

    def handler(*_):
        for function, args in ((g, ()), (f, (1.0,))):
            try:
                function(*args)
                calls.append(function)
            except RuntimeError as error:
                assert "during a call of itself" in str(error)

    old = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
    try:
        for _ in range(5000):
            f(1.0)
            calls.append(f)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert s.get_value() == calls.count(f)


def test_an_interrupt_leaves_the_lock_free(make, request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    x, s = T.dvector("x"), sg.shared(0.0, "s")
    f = make([x], None, updates=[(s, s + T.exp(T.sin(x)).sum() * 0 + 1)])
    value = np.ones(1 << 21)
    f(value)
    count = 1
    for _ in range(5):
        timer = threading.Timer(0.002, signal.raise_signal, (signal.SIGINT,))
        try:
            timer.start()
            while True:
                f(value)
                count += 1
        except KeyboardInterrupt:
            timer.join()
        assert s.get_value() - count in (0, 1)  # the interrupt may have come after the call
        count = int(s.get_value())
    thread = threading.Thread(target=f, args=(value,))
    thread.start()
    thread.join(10)
    assert not thread.is_alive() and s.get_value() == count + 1
