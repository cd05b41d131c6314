"""State: new values are all computed from the old ones, wherever they are written; nothing else changes."""

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from codegen import ir
from codegen.visit import statements

rng = np.random.default_rng(0)
x, y = T.dmatrices("x", "y")
v = T.dvector("v")
X, V = rng.normal(size=(3, 4)), rng.normal(size=4)


class State:
    """Shared variables with known values, and functions held to what numpy says."""

    def __init__(self):
        self.start = {"A": rng.normal(size=(3, 4)), "B": rng.normal(size=(3, 4)), "C": rng.normal(size=(3, 3)),
                      "b": rng.normal(size=4), "s": np.array(0.5)}  # fmt: skip
        for name, value in self.start.items():
            setattr(self, name, sg.shared(value.copy(), name))

    def check(self, outputs, updates, inputs=(), arrays=(), calls=3):
        """Call a function several times, beside the interpreter on a state of its own."""
        compiled = sg.function(list(inputs), outputs, updates=updates)
        reference = sg.function(list(inputs), outputs, updates=updates, mode="numpy")
        variables = [getattr(self, name) for name in self.start]
        now = list(self.start.values())
        for _ in range(calls):
            found = []
            for f in (reference, compiled):
                for variable, value in zip(variables, now, strict=True):
                    variable.set_value(value)
                kept = [np.array(a) for a in arrays]
                results = f(*arrays)
                found.append([np.array(r) for r in results] + [variable.get_value() for variable in variables])
                assert all(np.array_equal(a, k) for a, k in zip(arrays, kept, strict=True))
            for expected, got in zip(*found, strict=True):
                assert got.dtype == expected.dtype and got.shape == expected.shape
                np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)
            now = found[0][len(outputs):]
        return compiled


@pytest.fixture
def state():
    return State()


def writes(lowered, updates, inputs=(), outputs=()):
    """The statements of the main function, and how many of them are copies."""
    run = list(statements(lowered(list(inputs), list(outputs), updates).program.run))
    return run, sum(isinstance(s, ir.Copy) for s in run)


UPDATES = {
    "one step": lambda s: ([], [(s.A, s.A * 0.5 + 1)]),
    "swap": lambda s: ([], [(s.A, s.B), (s.B, s.A)]),
    "swap in a ring, transposed and scaled": lambda s: ([], [(s.A, s.B * 2), (s.B, T.dot(s.C, s.A)), (s.C, s.C.T)]),
    "each needs the old value of the other": lambda s: ([], [(s.A, s.A + s.B), (s.B, s.B - s.A)]),
    "each needs the other by rows": lambda s: ([], [(s.A, s.A * s.b), (s.b, s.b + s.A.sum(axis=0))]),
    "old value is an output": lambda s: ([s.A], [(s.A, s.A * 2)]),
    "old and new value are outputs": lambda s: ([s.A, s.A * 2], [(s.A, s.A * 2)]),
    "old value as a view is an output": lambda s: ([s.A.T, s.A.reshape((4, 3)), s.A[0], s.A[::-1]], [(s.A, s.A + 1)]),
    "old value is read later": lambda s: ([T.exp(s.A).sum()], [(s.A, s.A - s.A.sum())]),
    "softmax of itself": lambda s: ([], [(s.A, T.nnet.softmax(s.A))]),
    "rows divided by their sums": lambda s: ([], [(s.A, s.A / s.A.sum(axis=1, keepdims=True))]),
    "columns divided by their sums": lambda s: ([], [(s.A, s.A / s.A.sum(axis=0))]),
    "its own transpose": lambda s: ([], [(s.C, s.C.T)]),
    "added to its transpose": lambda s: ([], [(s.C, s.C + s.C.T)]),
    "its own rows backwards": lambda s: ([], [(s.A, s.A[::-1])]),
    "shifted along itself": lambda s: ([], [(s.b, T.concatenate([s.b[1:], s.b[:1]]))]),
    "neighbours": lambda s: ([], [(s.b, T.concatenate([s.b[:1], s.b[1:] - s.b[:-1]]))]),
    "times itself": lambda s: ([], [(s.C, T.dot(s.C, s.C))]),
    "a product added": lambda s: ([], [(s.A, s.A - 0.1 * T.dot(s.C, s.B))]),
    "a product with itself added": lambda s: ([], [(s.A, s.A - 0.1 * T.dot(s.C, s.A))]),
    "a product added to its double": lambda s: ([], [(s.A, s.A * 2 - 0.1 * T.dot(s.C, s.B))]),
    "same expression for two": lambda s: ([], [(s.A, s.A + s.B), (s.B, s.A + s.B)]),
    "same variable as two outputs and an update": lambda s: ([h := T.tanh(s.A), h], [(s.B, h)]),
    "set a row": lambda s: ([], [(s.A, T.set_subtensor(s.A[1], s.b))]),
    "increment a column": lambda s: ([], [(s.A, T.inc_subtensor(s.A[:, 2], s.A[:, 1]))]),
    "increment by its own rows": lambda s: ([], [(s.A, T.inc_subtensor(s.A[1:], s.A[:-1]))]),
    "increment at repeated positions": lambda s: ([], [(s.A, T.inc_subtensor(s.A[T.constant([0, 2, 0])], s.b))]),
    "set with the old value as output": lambda s: ([s.A.sum(), s.A], [(s.A, T.set_subtensor(s.A[0], 0.0))]),
    "set twice": lambda s: ([], [(s.A, T.set_subtensor(T.set_subtensor(s.A[0], 1.0)[1], s.A[0]))]),
    "set in one, read by another": lambda s: ([], [(s.A, T.set_subtensor(s.A[0], s.b)), (s.b, s.A[0])]),
    "a constant": lambda s: ([s.A], [(s.A, T.zeros_like(s.A)), (s.s, T.constant(3.0))]),
    "itself": lambda s: ([s.A], [(s.A, s.A)]),
    "a reshape of itself": lambda s: ([], [(s.A, s.A.flatten().reshape((3, 4)))]),
    "a reshape of another": lambda s: ([], [(s.b, s.A.flatten()[:4]), (s.A, s.A + 1)]),
    "a scalar that rows need": lambda s: ([(g := T.tanh(T.tanh(s.A).sum(axis=1) + s.s))], [(s.s, s.s - 0.1 * g.sum())]),
    "scalars": lambda s: ([s.s], [(s.s, s.s * 2 + s.A.sum()), (s.A, s.A * s.s)]),
    "sum over columns": lambda s: ([], [(s.b, s.A.sum(axis=0))]),
    "product over columns of another's new value": lambda s: ([], [(s.b, (s.A * 2).prod(axis=0)), (s.A, s.A * 2)]),
    "arg of rows": lambda s: ([T.argmax(s.A, axis=1)], [(s.A, s.A - s.A.max(axis=1, keepdims=True))]),
    "momentum": lambda s: ([], [(s.B, 0.9 * s.B + s.A), (s.A, s.A - 0.1 * (0.9 * s.B + s.A))]),
    "moments": lambda s: ([], [(s.A, 0.9 * s.A + 0.1 * s.B), (s.C, 0.9 * s.C + 0.1 * T.dot(s.B, s.B.T)),
                               (s.B, s.B - 0.01 * (0.9 * s.A + 0.1 * s.B) / T.sqrt(abs(s.B) + 1))]),
}  # fmt: skip


@pytest.mark.parametrize("case", UPDATES)
def test_updates_are_computed_from_the_old_state(state, case):
    state.check(*UPDATES[case](state))


@pytest.mark.parametrize("case", ["one step", "a product added", "set a row", "momentum", "swap"])
def test_updates_with_inputs_between(state, case):
    """The same, where a library call and inputs stand in between."""
    outputs, updates = UPDATES[case](state)
    more = T.dot(x, state.A.T)
    state.check([*outputs, more, more.sum()], [*updates, (state.s, more.sum())], [x], [X])


@pytest.mark.parametrize("case", ["one step", "a product added", "set a row"])
def test_these_are_done_in_place(lowered, state, case):
    """No second array of that size, no copy."""
    _, updates = UPDATES[case](state)
    run, copies = writes(lowered, updates)
    assert copies == 0 and not any(isinstance(s, ir.Place) for s in run)


def test_a_scalar_is_updated_by_the_nest_whose_rows_need_it(state):
    outputs, updates = UPDATES["a scalar that rows need"](state)
    f = state.check(outputs, updates)
    assert [p.note for p in f.memory().parts if p.what == "s"] == ["updated in place"]


@pytest.mark.parametrize("case", ["added to its transpose", "old value is an output", "increment a column"])
def test_these_may_not_be_done_in_place(lowered, state, case):
    outputs, updates = UPDATES[case](state)
    run, copies = writes(lowered, updates, outputs=outputs)
    assert copies or any(isinstance(s, ir.Place) for s in run)


def test_a_new_value_of_another_shape(state):
    """The variable then has an array of its own again, which later calls and other functions use."""
    grow = sg.function([v], [state.b.sum()], updates=[(state.b, T.concatenate([state.b, v]))])
    read = sg.function([], state.b * 1)
    expected = state.start["b"]
    for _ in range(3):
        np.testing.assert_allclose(grow(V)[0], expected.sum())
        expected = np.concatenate([expected, V])
        np.testing.assert_array_equal(state.b.get_value(), expected)
        np.testing.assert_array_equal(read(), expected)


def test_two_functions_share_their_state(state):
    double = sg.function([], updates=[(state.A, state.A * 2)])
    read = sg.function([], state.A.sum())
    for k in range(1, 4):
        double()
        np.testing.assert_allclose(read(), state.start["A"].sum() * 2**k)
    state.A.set_value(X)
    double()
    np.testing.assert_array_equal(state.A.get_value(), X * 2)


def test_values_handed_out_do_not_change_later(state):
    f = sg.function([], [state.A, state.A * 2], updates=[(state.A, state.A * 2)])
    got = state.A.get_value()
    first = f()
    kept = [got.copy(), first[0].copy(), first[1].copy()]
    f()
    assert all(np.array_equal(now, then) for now, then in zip([got, *first], kept, strict=True))


def test_a_value_passed_in_is_not_kept(state):
    """Neither set_value nor a call keep the caller's array."""
    mine = X.copy()
    state.A.set_value(mine)
    sg.function([], updates=[(state.A, state.A * 2)])()
    np.testing.assert_array_equal(mine, X)
    mine[:] = 0
    np.testing.assert_array_equal(state.A.get_value(), X * 2)


def test_when_a_check_fails_nothing_has_changed(state):
    """Also one that depends on values computed on the way."""
    k = T.lvector("k")
    chosen = state.A[T.argmax(x, axis=1) + k]
    f = sg.function([x, k], [chosen], updates=[(state.A, state.A * 2), (state.s, state.s + 1)])
    for bad in ([5, 0, 0], [0, 0, -9]):
        with pytest.raises(IndexError):
            f(np.zeros((3, 4)), np.array(bad))
        np.testing.assert_array_equal(state.A.get_value(), state.start["A"])
        assert state.s.get_value() == 0.5
    f(np.zeros((3, 4)), np.array([1, 0, 2]))
    np.testing.assert_array_equal(state.A.get_value(), state.start["A"] * 2)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int32", "uint64", "float32"])
def test_state_of_other_dtypes(dtype):
    start = (np.arange(6).reshape(2, 3) % 2).astype(dtype)
    s = sg.shared(start.copy(), "s")
    f = sg.function([], [s, s.T], updates=[(s, T.set_subtensor(s[0], s[1]))])
    for got, expected in zip(f(), [start, start.T], strict=True):
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(s.get_value(), [start[1], start[1]])


def test_memory_is_taken_again_once_it_is_free(lowered):
    """A long chain of products works in a fixed number of slots."""
    def slots(length):
        value = x
        for _ in range(length):
            value = T.tanh(T.dot(value, y))
        places = [s for s in lowered([x, y], [value]).program.run if isinstance(s, ir.Place)]
        return len({place.offset for place in places})
    assert slots(30) == slots(10) <= 4


def test_slots_of_different_lengths():
    """Values of other lengths never share a slot that may be too short."""
    h = T.tanh(x)
    f = sg.function([x, v], [T.dot(h, T.tanh(v)), T.dot(h.T, T.tanh(T.dot(x, v))), T.dot(T.exp(x), x.T)])
    reference = sg.function([x, v], f.outputs, mode="numpy")
    for rows, columns in [(2, 50), (50, 2), (7, 7), (1, 1)]:
        arrays = rng.normal(size=(rows, columns)), rng.normal(size=columns)
        for got, expected in zip(f(*arrays), reference(*arrays), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12)


def product():
    """A product of matrices, which a step of its own makes."""
    return T.dot(x, y)


OVER = {  # what is made of a product in whose memory it is computed, or not
    "element by element": (True, lambda p: T.tanh(p + v)),
    "with sums of columns": (True, lambda p: [h := T.tanh(p) * v, h.sum(axis=0)]),
    "with a sum of all, and for a call": (True, lambda p: [T.dot(h := T.maximum(p, 0), h.T), h.sum()]),
    "two of one": (True, lambda p: [T.exp(p), T.log1p(T.sqr(p))]),
    "two of two": (True, lambda p: [T.exp(p) * (q := T.dot(y, y)), q - p]),
    "one after the other": (True, lambda p: T.tanh(T.dot(T.tanh(p), T.tanh(T.dot(y, y))))),
    "the product is wanted, too": (False, lambda p: [p, T.tanh(p)]),
    "a later step reads the product": (False, lambda p: [T.tanh(p), T.dot(p, p)]),
    "of other elements": (False, lambda p: p + p[::-1]),
    "of its transpose": (False, lambda p: T.tanh(p).T + p),
    "of elements of the row": (False, lambda p: T.tanh(p) + p[:, :1]),
    "of the row's sum": (False, lambda p: T.exp(p) / p.sum(axis=1, keepdims=True)),
    "of another dtype": (False, lambda p: T.cast(p, "float32")),
    "of other lengths": (False, lambda p: T.sqr(p).sum(axis=1)),
}


@pytest.mark.parametrize("case", OVER)
def test_a_value_takes_over_the_memory_of_what_it_is_made_of(case):
    """Where nobody needs that any more, and it reads the one element that it writes over."""
    expected, made_of = OVER[case]
    outputs = made_of(product())
    outputs = outputs if isinstance(outputs, list) else [outputs]
    f = sg.function([x, y, v], outputs, on_unused_input="ignore")
    reference = sg.function([x, y, v], outputs, mode="numpy", on_unused_input="ignore")
    assert bool(f.explain().data["memory"]["taken_over"]) == expected
    arrays = rng.normal(size=(6, 6)), rng.normal(size=(6, 6)), rng.normal(size=6)
    for got, wanted in zip(f(*arrays), reference(*arrays), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5 if got.dtype == np.float32 else 1e-11, atol=1e-12)


def test_memory_that_is_taken_over_has_the_name_of_what_comes_last():
    h = T.tanh(T.dot(x, y) + v)
    h.name = "hidden"
    source = sg.function([x, y, v], T.dot(h, y)).c_source
    assert ", 0.0, hidden);" in source
