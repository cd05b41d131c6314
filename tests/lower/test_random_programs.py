"""Programs put together at random of reductions, elementwise work and gradients: compiled, they give what is meant."""

import random

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T

REDUCTIONS = [T.sum, T.max, T.min, T.mean, T.prod]
FUNCTIONS = [T.tanh, T.exp, T.sqr, T.abs_, T.nnet.sigmoid, lambda x: x * 0.5]
PAIRS = [lambda x, y: x - y, lambda x, y: x + y, lambda x, y: x * y]


def program(choose):
    """An array of some rank with lengths, its symbol, and results made of it."""
    lengths = [choose.choice([1, 2, 3, 4, 5, 7]) for _ in range(choose.choice([2, 3, 3, 4]))]
    x = T.TensorType(choose.choice(["float32", "float64"]), (False,) * len(lengths))("x")
    known = [n if choose.random() < 0.7 else None for n in lengths]
    values = [T.specify_shape(x, known) if choose.random() < 0.5 else x]
    for _ in range(choose.randint(2, 7)):
        a, kind = choose.choice(values[-3:]), choose.random()
        if kind < 0.45 and a.ndim:
            axes = choose.sample(range(a.ndim), choose.randint(1, a.ndim)) if choose.random() < 0.4 else [a.ndim - 1]
            reduce = choose.choice(REDUCTIONS)
            values.append(reduce(a, axis=tuple(sorted(axes)), keepdims=choose.random() < 0.8))
        elif kind < 0.7:
            values.append(choose.choice(FUNCTIONS)(a * 0.3))
        elif kind < 0.8 and a.ndim >= 2:
            values.append(T.nnet.softmax(a))
        else:
            values.append(pair(choose, a, choose.choice(values)))
    results = [values[-1], choose.choice(values)]
    return lengths, x, [*results, T.grad(results[0].sum(), x)] if choose.random() < 0.4 else results


def pair(choose, a, b):
    """A sum, difference or product, or one of the two where their lengths are known to differ."""
    try:
        return choose.choice(PAIRS)(*sorted((a, b), key=lambda v: -v.ndim))
    except sg.ShapeError:
        return a


@pytest.mark.parametrize("seed", range(0, 200, 10))
def test_random_programs(seed):
    done = 0
    for number in range(seed, seed + 10):
        lengths, x, results = program(random.Random(number))
        value = np.random.default_rng(number).normal(size=lengths).astype(x.dtype)
        try:
            expected = sg.function([x], results, mode="numpy")(value)
        except sg.ShapeError:
            continue
        tolerance = 2e-3 if x.dtype == "float32" else 1e-9
        for found, wanted in zip(sg.function([x], results)(value), expected, strict=True):
            scale = max(1, np.abs(wanted).max())  # what cancels leaves as much as 1 lost
            np.testing.assert_allclose(found, wanted, tolerance, tolerance * scale, err_msg=str(number))
        done += 1
    assert done > 3
