"""numpy, with results and temporaries written where they were before, and gradients worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.compare.peers import Call
from benchmarks.compare.programs import EPSILON, GELU, MOMENTUM, PENALTY, RATE
from benchmarks.compare.workloads import Workload


def build(w: Workload, option: str) -> Call | None:
    """The call of a program."""
    return globals()[w.program](w, *w.data.arrays.values())


def stateful(w: Workload, step: Any) -> Call:
    """The call of a step that changes a copy of the state, which it is given by name."""
    state = {name: x.copy() for name, x in w.data.state.items()}
    inputs = tuple(w.data.arrays.values())
    return Call(lambda: step(*inputs, **state), state=lambda: state)


def add_one(w: Workload, x: np.ndarray) -> Call:
    return Call(np.add, (x, 1, np.empty_like(x))) if w.bound else Call(lambda: x + 1)


def five_scalars(w: Workload, a: Any, b: Any, c: Any, d: Any, e: Any) -> Call | None:
    return None if w.bound else Call(lambda a, b, c, d, e: a * b + c * d - e, tuple(x[()] for x in (a, b, c, d, e)))


def textbook_step(w: Workload, x: np.ndarray, y: np.ndarray) -> Call | None:
    def step(x, y, W, b, W2, b2):
        h = 1 / (1 + np.exp(-(x @ W + b)))
        p = 1 / (1 + np.exp(-(h @ W2 + b2)))
        e = p - y
        dp = (2 / len(y)) * e * p * (1 - p)
        dh = dp[:, None] * W2 * h * (1 - h)
        W2 -= 0.1 * (h.T @ dp)
        W -= 0.1 * (x.T @ dh)
        b -= 0.1 * dh.sum(axis=0)
        b2 -= 0.1 * dp.sum()
        return p, e @ e / len(y)

    return None if w.bound else stateful(w, step)


def plus_one(w: Workload, a: np.ndarray) -> Call:
    return Call(np.add, (a, 1, np.empty_like(a)))


def scaled_sum(w: Workload, a: np.ndarray, b: np.ndarray) -> Call:
    out, other = np.empty_like(a), np.empty_like(a)
    return Call(lambda: np.add(np.multiply(a, 2, out=out), np.multiply(b, 3, out=other), out=out))


def square_of_sum(w: Workload, a: np.ndarray, b: np.ndarray) -> Call:
    out, other = np.empty_like(a), np.empty_like(a)

    def f():
        np.multiply(a, a, out=out)
        np.add(out, np.multiply(b, b, out=other), out=out)
        np.multiply(np.multiply(a, b, out=other), 2, out=other)
        return np.add(out, other, out=out)

    return Call(f)


def tenth_power(w: Workload, a: np.ndarray, b: np.ndarray) -> Call:
    out, other = np.empty_like(a), np.empty_like(a)

    def f():
        np.multiply(b, b, out=out)  # b^2
        np.multiply(out, out, out=other)
        np.multiply(other, other, out=other)  # b^8
        np.multiply(out, other, out=out)
        return np.add(out, np.multiply(a, 2, out=other), out=out)

    return Call(f)


def sigmoid(w: Workload, x: np.ndarray) -> Call:
    out = np.empty_like(x)

    def f():
        np.exp(np.negative(x, out=out), out=out)
        np.add(out, 1, out=out)
        return np.divide(1, out, out=out)

    return Call(f)


def gelu(w: Workload, x: np.ndarray) -> Call:
    y, g, t = (np.empty_like(x) for _ in range(3))
    scale, cube = GELU

    def f():
        np.multiply(x, x, out=g)
        np.multiply(g, cube * scale, out=t)
        np.add(t, scale, out=t)
        np.multiply(t, x, out=t)
        np.tanh(t, out=t)
        np.multiply(g, 3 * cube * scale, out=g)
        np.add(g, scale, out=g)  # derivative of the argument of tanh
        np.multiply(g, x, out=g)
        np.multiply(t, t, out=y)
        np.subtract(1, y, out=y)
        np.multiply(g, y, out=g)
        np.add(t, 1, out=t)
        np.multiply(x, t, out=y)
        np.multiply(y, 0.5, out=y)
        np.add(g, t, out=g)
        return y, np.multiply(g, 0.5, out=g)

    return Call(f)


def sum_of_squares(w: Workload, x: np.ndarray) -> Call:
    return Call(np.dot, (x, x))


def gaussian_sum(w: Workload, x: np.ndarray, m: Any, s: Any) -> Call:
    out, m, s = np.empty_like(x), x.dtype.type(m), x.dtype.type(s)

    def f():
        np.subtract(x, m, out=out)
        np.multiply(out, out, out=out)
        np.exp(np.multiply(out, -1 / s, out=out), out=out)
        return out.sum()

    return Call(f)


def logsumexp(w: Workload, x: np.ndarray) -> Call:
    out = np.empty_like(x)

    def f():
        top = x.max(axis=1)
        np.exp(np.subtract(x, top[:, None], out=out), out=out)
        return np.log(out.sum(axis=1)) + top

    return Call(f)


def column_moments(w: Workload, x: np.ndarray) -> Call:
    out = np.empty_like(x)

    def f():
        mean = x.mean(axis=0)
        np.subtract(x, mean, out=out)
        return mean, np.einsum("ij,ij->j", out, out) / x.dtype.type(len(x))

    return Call(f)


def softmax_gradient(logits: np.ndarray, y: np.ndarray, rows: np.ndarray, out: np.ndarray) -> Any:
    """The mean cross-entropy; its gradient by the logits is in `out`, which may be where they are."""
    np.subtract(logits, logits.max(axis=1, keepdims=True), out=out)
    chosen = out[rows, y]
    np.exp(out, out=out)
    total = out.sum(axis=1, keepdims=True)
    np.divide(out, total * len(y), out=out)
    out[rows, y] -= out.dtype.type(1 / len(y))
    return (np.log(total[:, 0]) - chosen).mean()


def cross_entropy(w: Workload, x: np.ndarray, y: np.ndarray) -> Call:
    out, rows = np.empty_like(x), np.arange(len(x))
    return Call(lambda: (softmax_gradient(x, y, rows, out), out))


def layer_norm(w: Workload, x: np.ndarray, g: np.ndarray, b: np.ndarray, d: np.ndarray) -> Call:
    u, e, y = (np.empty_like(x) for _ in range(3))
    width = x.dtype.type(x.shape[1])

    def f():
        np.subtract(x, x.mean(axis=1, keepdims=True), out=u)
        scale = 1 / np.sqrt(np.einsum("ij,ij->i", u, u) / width + x.dtype.type(EPSILON))[:, None]
        np.multiply(u, scale, out=u)
        dg = np.einsum("ij,ij->j", d, u)
        np.add(np.multiply(u, g, out=y), b, out=y)
        np.multiply(d, g, out=e)
        along = np.einsum("ij,ij->i", e, u)[:, None] / width
        np.subtract(e, e.mean(axis=1, keepdims=True), out=e)
        np.subtract(e, np.multiply(u, along, out=u), out=e)
        return y, np.multiply(e, scale, out=e), dg, d.sum(axis=0)

    return Call(f)


def logistic(w: Workload, x: np.ndarray, y: np.ndarray) -> Call:
    rows = np.arange(len(x))

    def step(x, y, W, b):
        z = x @ W
        z += b
        cost = softmax_gradient(z, y, rows, z)
        z *= RATE
        W -= x.T @ z
        b -= z.sum(axis=0)
        return cost

    return stateful(w, step)


def tanh_mlp(w: Workload, x: np.ndarray, y: np.ndarray) -> Call:
    rows, G1 = np.arange(len(x)), np.empty_like(w.data.state["W1"])

    def step(x, y, W1, b1, W2, b2):
        h = x @ W1
        h += b1
        np.tanh(h, out=h)
        z = h @ W2
        z += b2
        cost = softmax_gradient(z, y, rows, z) + PENALTY * (np.vdot(W1, W1) + np.vdot(W2, W2))
        dh = z @ W2.T
        dh *= 1 - h * h
        np.matmul(x.T, dh, out=G1)
        G2 = h.T @ z
        for weights, gradient in ((W1, G1), (W2, G2)):
            gradient *= RATE
            weights *= 1 - 2 * RATE * PENALTY
            weights -= gradient
        b1 -= RATE * dh.sum(axis=0)
        b2 -= RATE * z.sum(axis=0)
        return cost

    return stateful(w, step)


def relu_mlp(w: Workload, x: np.ndarray, t: np.ndarray) -> Call:
    G = np.empty_like(w.data.state["W0"])

    def step(x, t, **s):
        layers = [x]
        for k in range(3):
            z = layers[-1] @ s[f"W{k}"]
            z += s[f"b{k}"]
            layers.append(np.maximum(z, 0, out=z) if k < 2 else z)
        d = layers[-1]
        d -= t
        cost = np.vdot(d, d) / t.size
        d *= -RATE * 2 / t.size
        for k in reversed(range(3)):
            W, b, v, c = s[f"W{k}"], s[f"b{k}"], s[f"vW{k}"], s[f"vb{k}"]
            np.matmul(layers[k].T, d, out=G)
            c *= MOMENTUM
            c += d.sum(axis=0)
            if k:
                d = d @ W.T
                d *= layers[k] > 0
            v *= MOMENTUM
            v += G
            W += v
            b += c
        return cost

    return stateful(w, step)


def chain(w: Workload, W: np.ndarray, v: np.ndarray, b: np.ndarray) -> Call:
    steps = len(b)
    values, deltas = np.empty((steps + 1, len(v)), v.dtype), np.empty_like(b)

    def f():
        values[0] = v
        for k in range(steps):
            np.tanh(W @ values[k] + b[k], out=values[k + 1])
        last = values[steps]
        d = 2 * last
        slopes = 1 - values[1:] ** 2
        for k in range(steps - 1, -1, -1):
            np.multiply(d, slopes[k], out=deltas[k])
            d = W.T @ deltas[k]
        return last @ last, deltas.T @ values[:-1]

    return Call(f)


def product(w: Workload, A: np.ndarray, B: np.ndarray) -> Call:
    return Call(np.matmul, (A, B, np.empty((A.shape[0], B.shape[1]), A.dtype)))
