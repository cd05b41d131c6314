"""Random graphs, compiled and interpreted, side by side: fusion, layout of memory, updates in place.

Each function holds several small graphs over the same inputs and state. They are drawn step by step, each step an
operation on values drawn before whose shapes fit; the numbers are kept small. A function is called twice with the
lengths that it was made with and once with others, where graphs may be wrong: then both must say so, and nothing may
change.
"""

import random

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.errors import GraphError
from symgraph.interpreter import evaluate

AXES = {"a": "nm", "b": "mn", "v": "m", "w": "n", "s": ""}  # the axes of inputs and shared variables
INDEX = np.array([0, 2, 1, 1])


class Drawing:
    """Values drawn so far, with what they are at the lengths of the drawing."""

    def __init__(self, rng, leaves, values, index):
        self.rng = rng
        self.pool = list(leaves)
        self.values = dict(values)
        self.index = index

    def add(self, x):
        """Keep a value, tamed if its numbers are large."""
        (value,) = evaluate([x], self.values)
        if np.isfinite(value).all() and np.abs(value).max(initial=0) > 50:
            x = T.tanh(x)
            (value,) = evaluate([x], self.values)
        if value.dtype != "float64":
            x, value = x.astype("float64"), value.astype("float64")
        if np.isfinite(value).all() and value.size <= 400:
            if self.rng.random() < 0.3:
                x.name = self.rng.choice(["h", "t", "y", "total", "W", "i", "out"])
            self.pool.append(x)
            self.values[x] = value

    def draw(self, fits=lambda shape: True):
        """A value whose shape fits, rather a late one; None if there is none."""
        late = self.pool[-12:] + self.rng.sample(self.pool, min(4, len(self.pool)))
        fitting = [x for x in late if fits(self.values[x].shape)]
        return self.rng.choice(fitting) if fitting else None

    def step(self):
        x = self.draw()
        shape = self.values[x].shape
        made = self.rng.choice(MOVES)(self, x, shape)
        if made is not None:
            self.add(made)


def unary(d, x, shape):
    return d.rng.choice([T.tanh, lambda x: T.exp(-abs(x)), lambda x: -x, T.sqr, T.nnet.sigmoid, lambda x: x * 0.5 + 1,
                         T.nnet.softplus, lambda x: 1 / (1 + x * x), T.nnet.relu])(x)  # fmt: skip


def binary(d, x, shape):
    y = d.draw(lambda other: len(other) <= len(shape) and other == shape[len(shape) - len(other):])
    if y is None:
        return None
    return d.rng.choice([x + y, x * y, x - y, y - x * x, T.maximum(x, y), T.minimum(x, y)])


def reduction(d, x, shape):
    if not shape or 0 in shape:
        return None
    f = d.rng.choice([T.sum, T.mean, T.max, T.min, T.prod, T.var])
    return f(x, axis=d.rng.choice([None, *range(len(shape))]), keepdims=d.rng.random() < 0.4)


def position(d, x, shape):
    return T.argmax(x, axis=d.rng.randrange(len(shape))) if shape and 0 not in shape else None


def product(d, x, shape):
    y = d.draw(lambda other: len(other) in (1, 2) and len(shape) in (1, 2) and other[0] == shape[-1])
    return None if y is None else T.dot(x, y)


def layout(d, x, shape):
    if len(shape) == 2:
        k, m = x.shape[0], x.shape[1]
        return d.rng.choice([x.T, x.reshape((m, k)), x.flatten(), x.T.reshape((k, m))])
    return d.rng.choice([x.dimshuffle(0, "x"), x.dimshuffle("x", 0), x.reshape((1, x.shape[0]))]) if shape else None


def part(d, x, shape):
    if not shape or min(shape) < 3:
        return None
    rows = [x[1:], x[:-1], x[::-1], x[::2], x[0], x[-1], x[1:-1], x[1:] * x[:-1]]
    columns = [x[:, 1:], x[:, 0], x[1:, ::-1], x[:, -1]] if len(shape) > 1 else []
    return d.rng.choice(rows + columns)


def taken(d, x, shape):
    return x[d.rng.choice([T.constant([0, 2, 1, 0]), d.index])] if shape and shape[0] > 2 else None


def changed(d, x, shape):
    if not shape or shape[0] < 3:
        return None
    y = d.draw(lambda other: other in ((), shape[1:]))
    where = [x[T.constant([0, 1, 0])], x[1:]] + [x[d.rng.choice([0, 1, -1])]] * 2
    return None if y is None else d.rng.choice([T.set_subtensor, T.inc_subtensor])(d.rng.choice(where), y)


def joined(d, x, shape):
    y = d.draw(lambda other: len(other) == len(shape) > 0 and other[1:] == shape[1:])
    return None if y is None else T.concatenate([x, y])


def chosen(d, x, shape):
    y, z = (d.draw(lambda other: other == shape) for _ in range(2))
    return None if y is None or z is None else T.switch(x > 0, y, z)


def crossed(d, x, shape):
    y = d.draw(lambda other: len(other) == len(shape) == 1)
    return None if y is None else d.rng.choice([x.dimshuffle(0, "x") * y, T.outer(x, y)])


def rows(d, x, shape):
    return T.nnet.softmax(x) if len(shape) == 2 and shape[1] else None


def measured(d, x, shape):
    return x * x.shape[0] + x.shape[-1] if shape else None


MOVES = [unary, unary, binary, binary, binary, reduction, reduction, position, product, product, layout, part, taken,
         changed, joined, chosen, crossed, rows, measured]  # fmt: skip


def arrays(rng, lengths):
    """Numbers for the inputs, or the state."""
    return [rng.uniform(-1, 1, [lengths[axis] for axis in axes]) for axes in AXES.values()]


class Case:
    """Several graphs: inputs, state, outputs and updates."""

    def __init__(self, seed, graphs, steps, of_state):
        rng, numbers = random.Random(seed), np.random.default_rng(seed)
        self.numbers = numbers
        self.lengths = {"n": rng.choice([3, 5, 7]), "m": rng.choice([3, 4, 6])}
        self.inputs = [T.TensorType("float64", (None,) * len(axes))(name) for name, axes in AXES.items()]
        self.index = T.lvector("idx")
        self.arrays, self.start = arrays(numbers, self.lengths), arrays(numbers, self.lengths)
        self.state = [sg.shared(value.copy(), f"S{name}") for name, value in zip(AXES, self.start)]
        values = dict(zip([*self.inputs, *self.state, self.index], [*self.arrays, *self.start, INDEX]))
        self.outputs, self.updates, free = [], [], list(self.state)
        for _ in range(graphs):
            drawing = Drawing(rng, self.state if of_state else [*self.inputs, *self.state], values, self.index)
            for _ in range(steps):
                drawing.step()
            made = [x for x in drawing.pool if x.owner is not None]
            self.outputs += rng.sample(made, min(len(made), rng.choice([1, 2, 3])))
            for s in list(free):
                fitting = [x for x in drawing.pool if x is not s and drawing.values[x].shape == values[s].shape]
                if fitting and rng.random() < (0.9 if of_state else 0.4):
                    self.updates.append((s, rng.choice(fitting[-4:])))
                    free.remove(s)
        a, b, v = self.state[:3]
        old = [a, a.T, b.flatten(), v[::-1], b, a.reshape((-1,)), *self.outputs[:1]]
        self.outputs += rng.sample(old, rng.randrange(4))

    def function(self, mode):
        inputs = [*self.inputs, self.index]
        return sg.function(inputs, self.outputs, updates=self.updates, on_unused_input="ignore", mode=mode)

    def run(self, f, given, state):
        """The results and the state after a call; the error instead of the results if there is one."""
        for s, value in zip(self.state, state):
            s.set_value(value)
        kept = [array.copy() for array in given]
        try:
            results = [result.copy() for result in f(*given, INDEX)]
        except (GraphError, IndexError, ValueError) as error:
            results = error
        for array, before in zip(given, kept):
            np.testing.assert_array_equal(array, before)
        return results, [s.get_value() for s in self.state]

    def check(self, mode):
        compiled, reference = self.function(mode), self.function("numpy")
        state = self.start
        for call in range(3):
            given = self.arrays
            if call == 2:
                lengths = {"n": self.lengths["n"] + 2, "m": self.lengths["m"] + 1}
                given, state = arrays(self.numbers, lengths), arrays(self.numbers, lengths)
            expected, after = self.run(reference, given, state)
            results, found = self.run(compiled, given, state)
            if isinstance(expected, Exception):
                assert isinstance(results, type(expected)), f"{results} where there should be {expected!r}"
                after = state
            else:
                assert not isinstance(results, Exception), repr(results)
                for x, result, value in zip(self.outputs, results, expected, strict=True):
                    assert result.shape == value.shape
                    np.testing.assert_allclose(result, value, rtol=1e-9, atol=1e-10, err_msg=f"{x}, call {call}")
            for s, value, other in zip(self.state, found, after, strict=True):
                np.testing.assert_allclose(value, other, rtol=1e-9, atol=1e-10, err_msg=f"{s}, call {call}")
            state = after


@pytest.mark.parametrize("seed", range(25))
def test_graphs_of_inputs_and_state(seed):
    Case(seed, graphs=8, steps=12, of_state=False).check("c")


@pytest.mark.parametrize("seed", range(100, 120))
def test_updates_of_state_by_state(seed):
    Case(seed, graphs=4, steps=6, of_state=True).check("c")


@pytest.mark.parametrize("seed", range(200, 206))
def test_as_written_without_rewriting(seed):
    Case(seed, graphs=6, steps=10, of_state=False).check("FAST_COMPILE")
