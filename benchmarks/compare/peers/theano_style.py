"""The programs as a user of Theano writes them: for symgraph and PyTensor, which differ in a few names.

Each function takes the names of the library and the workload, and gives inputs, outputs and updates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.compare.programs import EPSILON, GELU, MOMENTUM, PENALTY, PROGRAMS, RATE, Elementwise
from benchmarks.compare.workloads import Workload


@dataclass(frozen=True)
class Theano:
    """The names of one library; T is its `tensor`."""

    T: Any
    shared: Callable[..., Any]
    grad: Callable[..., Any]
    softmax: Callable[[Any], Any]
    sigmoid: Callable[[Any], Any]


@dataclass(frozen=True)
class Written:
    """What `function` takes, and the shared variables by their names."""

    inputs: list[Any]
    outputs: list[Any]
    updates: list[tuple[Any, Any]]
    shared: dict[str, Any]


def write(lib: Theano, w: Workload) -> Written:
    """The workload's program in symbols."""
    kinds = lib.T.scalar, lib.T.vector, lib.T.matrix
    symbols = {name: kinds[x.ndim](name, dtype=x.dtype.name) for name, x in w.data.arrays.items()}
    state = {name: lib.shared(x.copy(), name) for name, x in w.data.state.items()}
    if isinstance(w.definition, Elementwise):
        outputs, updates = [eval(w.definition.expression, {}, symbols)], []
    else:
        more = {"steps": w.sizes["steps"]} if w.program == "chain" else {}
        outputs, updates = PROGRAMS_IN_SYMBOLS[w.program](lib, *symbols.values(), **state, **more)
    return Written(list(symbols.values()), outputs, updates, state)


def add_one(lib, x):
    return [x + 1], []


def five_scalars(lib, a, b, c, d, e):
    return [a * b + c * d - e], []


def textbook_step(lib, x, y, W, b, W2, b2):
    h = lib.sigmoid(lib.T.dot(x, W) + b)
    y_pred = lib.sigmoid(lib.T.dot(h, W2) + b2)
    cost = lib.T.mean((y - y_pred) ** 2)
    weights = [W, b, W2, b2]
    return [y_pred, cost], [(w, w - 0.1 * g) for w, g in zip(weights, lib.grad(cost, weights))]


def sigmoid(lib, x):
    return [lib.sigmoid(x)], []


def gelu(lib, x):
    scale, cube = GELU
    y = 0.5 * x * (1 + lib.T.tanh(scale * (x + cube * x**3)))
    return [y, lib.grad(y.sum(), x)], []


def sum_of_squares(lib, x):
    return [lib.T.sqr(x).sum()], []


def gaussian_sum(lib, x, m, s):
    return [lib.T.exp(-((x - m) ** 2) / s).sum()], []


def logsumexp(lib, x):
    top = x.max(axis=1, keepdims=True)
    return [lib.T.log(lib.T.exp(x - top).sum(axis=1)) + top[:, 0]], []


def column_moments(lib, x):
    return [x.mean(axis=0), x.var(axis=0)], []


def mean_cross_entropy(lib, logits, y):
    return -lib.T.mean(lib.T.log(lib.softmax(logits))[lib.T.arange(y.shape[0]), y])


def cross_entropy(lib, x, y):
    cost = mean_cross_entropy(lib, x, y)
    return [cost, lib.grad(cost, x)], []


def layer_norm(lib, x, g, b, d):
    mean, variance = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
    y = (x - mean) / lib.T.sqrt(variance + EPSILON) * g + b
    return [y, *lib.grad((y * d).sum(), [x, g, b])], []


def logistic(lib, x, y, W, b):
    cost = mean_cross_entropy(lib, lib.T.dot(x, W) + b, y)
    return [cost], [(w, w - RATE * g) for w, g in zip([W, b], lib.grad(cost, [W, b]))]


def tanh_mlp(lib, x, y, W1, b1, W2, b2):
    h = lib.T.tanh(lib.T.dot(x, W1) + b1)
    cost = mean_cross_entropy(lib, lib.T.dot(h, W2) + b2, y) + PENALTY * ((W1**2).sum() + (W2**2).sum())
    weights = [W1, b1, W2, b2]
    return [cost], [(w, w - RATE * g) for w, g in zip(weights, lib.grad(cost, weights))]


def relu_mlp(lib, x, t, **state):
    names = [name for name in state if not name.startswith("v")]
    h = x
    for k in range(3):
        h = lib.T.dot(h, state[f"W{k}"]) + state[f"b{k}"]
        if k < 2:
            h = lib.T.maximum(h, 0)
    cost = ((h - t) ** 2).mean()
    updates = []
    for name, g in zip(names, lib.grad(cost, [state[name] for name in names])):
        velocity = MOMENTUM * state["v" + name] - RATE * g
        updates += [(state["v" + name], velocity), (state[name], state[name] + velocity)]
    return [cost], updates


def chain(lib, W, v, b, steps):
    for k in range(steps):
        v = lib.T.tanh(lib.T.dot(W, v) + b[k])
    cost = (v**2).sum()
    return [cost, lib.grad(cost, W)], []


def product(lib, A, B):
    return [lib.T.dot(A, B)], []


PROGRAMS_IN_SYMBOLS: dict[str, Callable[..., Any]] = {
    name: globals()[name] for name, program in PROGRAMS.items() if not isinstance(program, Elementwise)
}
