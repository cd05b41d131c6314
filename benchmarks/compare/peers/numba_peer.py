"""numba: loops fused by hand. Reductions may be reordered (fastmath), large loops run on all threads (prange).

Constants are made in the arrays' dtype, for numba takes `2 * x` of a float32 x to float64.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import prange

from benchmarks.compare.peers import Call
from benchmarks.compare.programs import EPSILON, GELU, MOMENTUM, PENALTY, RATE
from benchmarks.compare.workloads import Workload

# NaN and infinity keep their meaning; sums may be reordered, products contracted, divisions made reciprocals.
FAST = {"reassoc", "contract", "arcp", "nsz"}
SCALE, CUBE = GELU
LARGE = 100_000  # elements from which a second thread pays
THREADS = int(os.environ.get("NUMBA_NUM_THREADS", "1"))
BLOCKS = max(THREADS, 1)

warnings.filterwarnings("ignore", category=numba.NumbaPerformanceWarning)


def jitter(large: bool) -> Any:
    """What compiles a function. Of all that numba can do in parallel only prange: the rest is too small for it."""
    automatic = "comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil", "fusion"
    parallel = dict.fromkeys(automatic, False) if THREADS > 1 and large else False
    return numba.njit(parallel=parallel, fastmath=FAST, cache=True, error_model="numpy")


def build(w: Workload, option: str) -> Call | None:
    """The call of a program: its loop, with results and temporaries kept between calls."""
    large = sum(x.size for x in w.data.arrays.values()) >= LARGE and w.program != "chain"
    jit = jitter(large)
    inputs, state = list(w.data.arrays.values()), {name: x.copy() for name, x in w.data.state.items()}
    inputs = [x if x.ndim else x[()] for x in inputs]
    outputs = [np.empty(x.shape, w.dtype) for x in w.expected.arrays.values()]
    if w.group == "calls" and not w.bound:
        if w.program == "textbook_step":
            return None
        return Call(jit(FRESH[w.program]), tuple(inputs))
    function = jit(LOOPS[w.program])
    scratch = SCRATCH[w.program](w) if w.program in SCRATCH else []
    args = (*inputs, *state.values(), *outputs, *scratch)
    return Call(function, args, outputs=lambda _: outputs, state=lambda: state)


def add_one_fresh(x):
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = x[i] + 1.0
    return out


def five_scalars_fresh(a, b, c, d, e):
    return a * b + c * d - e


def add_one(x, out):
    for i in range(x.size):
        out[i] = x[i] + 1.0


def five_scalars(a, b, c, d, e, out):
    out[()] = a * b + c * d - e


def textbook_step(x, y, W, b, W2, b2, p, cost):
    rows, width, hidden = x.shape[0], x.shape[1], W.shape[1]
    dW, db, dW2 = np.zeros((2, 2)), np.zeros(2), np.zeros(2)
    h, db2, total = np.empty(2), 0.0, 0.0
    for i in range(rows):
        z = b2[()]
        for j in range(hidden):
            s = b[j]
            for k in range(width):
                s += x[i, k] * W[k, j]
            h[j] = 1.0 / (1.0 + math.exp(-s))
            z += h[j] * W2[j]
        p[i] = 1.0 / (1.0 + math.exp(-z))
        e = p[i] - y[i]
        total += e * e
        dz = 2.0 / rows * e * p[i] * (1.0 - p[i])
        db2 += dz
        for j in range(hidden):
            dW2[j] += dz * h[j]
            ds = dz * W2[j] * h[j] * (1.0 - h[j])
            db[j] += ds
            for k in range(width):
                dW[k, j] += ds * x[i, k]
    for j in range(hidden):
        for k in range(width):
            W[k, j] -= 0.1 * dW[k, j]
        b[j] -= 0.1 * db[j]
        W2[j] -= 0.1 * dW2[j]
    b2[()] -= 0.1 * db2
    cost[()] = total / rows


def plus_one(a, out):
    one = a.dtype.type(1)
    for i in prange(a.size):
        out[i] = a[i] + one


def scaled_sum(a, b, out):
    two, three = a.dtype.type(2), a.dtype.type(3)
    for i in prange(a.size):
        out[i] = two * a[i] + three * b[i]


def square_of_sum(a, b, out):
    two = a.dtype.type(2)
    for i in prange(a.size):
        out[i] = a[i] * a[i] + b[i] * b[i] + two * a[i] * b[i]


def tenth_power(a, b, out):
    two = a.dtype.type(2)
    for i in prange(a.size):
        b2 = b[i] * b[i]
        b4 = b2 * b2
        out[i] = two * a[i] + b4 * b4 * b2


def sigmoid(x, out):
    one = x.dtype.type(1)
    for i in prange(x.size):
        out[i] = one / (one + math.exp(-x[i]))


def gelu(x, y, g):
    one, half, three = x.dtype.type(1), x.dtype.type(0.5), x.dtype.type(3)
    scale, cube = x.dtype.type(SCALE), x.dtype.type(CUBE)
    for i in prange(x.size):
        v = x[i]
        t = math.tanh(scale * (v + cube * v * v * v))
        y[i] = half * v * (one + t)
        g[i] = half * (one + t) + half * v * (one - t * t) * scale * (one + three * cube * v * v)


def sum_of_squares(x, out):
    total = x.dtype.type(0)
    for i in prange(x.size):
        total += x[i] * x[i]
    out[()] = total


def gaussian_sum(x, m, s, out):
    total, factor = x.dtype.type(0), -x.dtype.type(1) / s
    for i in prange(x.size):
        d = x[i] - m
        total += math.exp(d * d * factor)
    out[()] = total


def logsumexp(x, out):
    for i in prange(x.shape[0]):
        top = x[i, 0]
        for j in range(x.shape[1]):
            top = max(top, x[i, j])
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            total += math.exp(x[i, j] - top)
        out[i] = math.log(total) + top


def column_moments(x, mean, variance, sums, squares):
    rows, columns = x.shape
    step = (rows + BLOCKS - 1) // BLOCKS
    for t in prange(BLOCKS):
        total, square = sums[t], squares[t]
        total[:] = 0
        square[:] = 0
        for i in range(t * step, min(rows, (t + 1) * step)):
            for j in range(columns):
                v = x[i, j] - x[0, j]
                total[j] += v
                square[j] += v * v
    n = x.dtype.type(rows)
    for j in range(columns):
        m = sums[:, j].sum() / n
        mean[j] = m + x[0, j]
        variance[j] = squares[:, j].sum() / n - m * m


def softmax_row(row, label, n, d):
    """One row of the softmax minus the label, over n, into d; the row's cross-entropy."""
    top = row[0]
    for j in range(row.size):
        top = max(top, row[j])
    total, chosen = row.dtype.type(0), row[label]
    for j in range(row.size):
        e = math.exp(row[j] - top)
        d[j] = e
        total += e
    factor = row.dtype.type(1) / (total * n)
    for j in range(row.size):
        d[j] *= factor
    d[label] -= row.dtype.type(1) / n
    return math.log(total) + top - chosen


softmax_row = jitter(large=False)(softmax_row)


def cross_entropy(x, y, cost, d):
    total, n = x.dtype.type(0), x.dtype.type(x.shape[0])
    for i in prange(x.shape[0]):
        total += softmax_row(x[i], y[i], n, d[i])
    cost[()] = total / n


def layer_norm(x, g, b, d, y, dx, dg, db, sums_g, sums_b):
    rows, columns = x.shape
    step, n = (rows + BLOCKS - 1) // BLOCKS, x.dtype.type(columns)
    one, zero, epsilon = x.dtype.type(1), x.dtype.type(0), x.dtype.type(EPSILON)
    for t in prange(BLOCKS):
        total_g, total_b = sums_g[t], sums_b[t]
        total_g[:] = 0
        total_b[:] = 0
        for i in range(t * step, min(rows, (t + 1) * step)):
            mean, variance, flat, along = zero, zero, zero, zero
            for j in range(columns):
                mean += x[i, j]
            mean /= n
            for j in range(columns):
                v = x[i, j] - mean
                variance += v * v
            scale = one / math.sqrt(variance / n + epsilon)
            for j in range(columns):
                u, e = (x[i, j] - mean) * scale, d[i, j] * g[j]
                flat += e
                along += e * u
                y[i, j] = u * g[j] + b[j]
                total_g[j] += d[i, j] * u
                total_b[j] += d[i, j]
            flat /= n
            along /= n
            for j in range(columns):
                u = (x[i, j] - mean) * scale
                dx[i, j] = (d[i, j] * g[j] - flat - u * along) * scale
    for j in range(columns):
        dg[j] = sums_g[:, j].sum()
        db[j] = sums_b[:, j].sum()


def logistic(x, y, W, b, cost, z, dW):
    np.dot(x, W, z)
    total, n, rate = W.dtype.type(0), W.dtype.type(x.shape[0]), W.dtype.type(RATE)
    for i in range(z.shape[0]):
        z[i] += b
        total += softmax_row(z[i], y[i], n, z[i])
    cost[()] = total / n
    np.dot(x.T, z, dW)
    for k in range(W.shape[0]):
        for j in range(W.shape[1]):
            W[k, j] -= rate * dW[k, j]
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            b[j] -= rate * z[i, j]


def tanh_mlp(x, y, W1, b1, W2, b2, cost, h, z, dh, dW1, dW2):
    one, n = W1.dtype.type(1), W1.dtype.type(x.shape[0])
    rate, penalty = W1.dtype.type(RATE), W1.dtype.type(PENALTY)
    keep = one - W1.dtype.type(2 * RATE * PENALTY)
    np.dot(x, W1, h)
    for i in prange(h.shape[0]):
        for j in range(h.shape[1]):
            h[i, j] = math.tanh(h[i, j] + b1[j])
    np.dot(h, W2, z)
    total, squares = W1.dtype.type(0), W1.dtype.type(0)
    for i in range(z.shape[0]):
        z[i] += b2
        total += softmax_row(z[i], y[i], n, z[i])
    np.dot(z, W2.T, dh)
    for i in prange(h.shape[0]):
        for j in range(h.shape[1]):
            dh[i, j] *= one - h[i, j] * h[i, j]
    np.dot(x.T, dh, dW1)
    np.dot(h.T, z, dW2)
    for k in prange(W1.shape[0]):
        for j in range(W1.shape[1]):
            w = W1[k, j]
            squares += w * w
            W1[k, j] = keep * w - rate * dW1[k, j]
    for k in range(W2.shape[0]):
        for j in range(W2.shape[1]):
            w = W2[k, j]
            squares += w * w
            W2[k, j] = keep * w - rate * dW2[k, j]
    for i in range(h.shape[0]):
        for j in range(h.shape[1]):
            b1[j] -= rate * dh[i, j]
        for j in range(z.shape[1]):
            b2[j] -= rate * z[i, j]
    cost[()] = total / n + penalty * squares


def relu_layer(h, W, b, out):
    np.dot(h, W, out)
    zero = W.dtype.type(0)
    for i in prange(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = max(out[i, j] + b[j], zero)


def momentum_step(h, d, W, b, v, c, dW):
    np.dot(h.T, d, dW)
    rate, keep = W.dtype.type(RATE), W.dtype.type(MOMENTUM)
    for k in prange(W.shape[0]):
        for j in range(W.shape[1]):
            v[k, j] = keep * v[k, j] - rate * dW[k, j]
            W[k, j] += v[k, j]
    for j in range(b.size):
        c[j] *= keep
    for i in range(d.shape[0]):
        for j in range(b.size):
            c[j] -= rate * d[i, j]
    for j in range(b.size):
        b[j] += c[j]


def through_relu(d, W, h, out):
    np.dot(d, W.T, out)
    zero = W.dtype.type(0)
    for i in prange(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = out[i, j] if h[i, j] > zero else zero


relu_layer, momentum_step, through_relu = (jitter(large=True)(f) for f in (relu_layer, momentum_step, through_relu))


def relu_mlp(x, t, W0, b0, W1, b1, W2, b2, vW0, vb0, vW1, vb1, vW2, vb2, cost, h0, h1, z, d0, d1, dW):
    relu_layer(x, W0, b0, h0)
    relu_layer(h0, W1, b1, h1)
    np.dot(h1, W2, z)
    total, n, two = x.dtype.type(0), x.dtype.type(x.size), x.dtype.type(2)
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            e = z[i, j] + b2[j] - t[i, j]
            total += e * e
            z[i, j] = two * e / n
    cost[()] = total / n
    through_relu(z, W2, h1, d1)
    momentum_step(h1, z, W2, b2, vW2, vb2, dW)
    through_relu(d1, W1, h0, d0)
    momentum_step(h0, d1, W1, b1, vW1, vb1, dW)
    momentum_step(x, d0, W0, b0, vW0, vb0, dW)


def chain(W, v, b, cost, dW, values, deltas):
    steps, width = b.shape
    one, two = W.dtype.type(1), W.dtype.type(2)
    values[0] = v
    for k in range(steps):
        z = np.dot(W, values[k])
        for j in range(width):
            values[k + 1, j] = math.tanh(z[j] + b[k, j])
    d = two * values[steps]
    cost[()] = np.dot(values[steps], values[steps])
    for k in range(steps - 1, -1, -1):
        for j in range(width):
            h = values[k + 1, j]
            deltas[k, j] = d[j] * (one - h * h)
        d = np.dot(W.T, deltas[k])
    np.dot(deltas.T, values[:-1], dW)


def product(A, B, out):
    np.dot(A, B, out)


def block_sums(w: Workload) -> list[np.ndarray]:
    """Two sums of columns for each thread."""
    return [np.empty((BLOCKS, w.sizes["columns"]), w.dtype) for _ in range(2)]


def logistic_scratch(w: Workload) -> list[np.ndarray]:
    return [np.empty((w.sizes["batch"], w.sizes["classes"]), w.dtype), np.empty_like(w.data.state["W"])]


def tanh_scratch(w: Workload) -> list[np.ndarray]:
    h = np.empty((w.sizes["batch"], w.sizes["hidden"]), w.dtype)
    z = np.empty((w.sizes["batch"], w.sizes["classes"]), w.dtype)
    return [h, z, np.empty_like(h), np.empty_like(w.data.state["W1"]), np.empty_like(w.data.state["W2"])]


def relu_scratch(w: Workload) -> list[np.ndarray]:
    return [np.empty_like(w.data.arrays["x"]) for _ in range(5)] + [np.empty_like(w.data.state["W0"])]


def chain_scratch(w: Workload) -> list[np.ndarray]:
    b = w.data.arrays["b"]
    return [np.empty((len(b) + 1, b.shape[1]), w.dtype), np.empty_like(b)]


FRESH: dict[str, Callable[..., Any]] = {"add_one": add_one_fresh, "five_scalars": five_scalars_fresh}
LOOPS: dict[str, Callable[..., Any]] = {
    f.__name__: f for f in (
        add_one, five_scalars, textbook_step, plus_one, scaled_sum, square_of_sum, tenth_power, sigmoid, gelu,
        sum_of_squares, gaussian_sum, logsumexp, column_moments, cross_entropy, layer_norm, logistic, tanh_mlp,
        relu_mlp, chain, product,
    )
}  # fmt: skip
SCRATCH: dict[str, Callable[[Workload], list[np.ndarray]]] = {
    "column_moments": block_sums, "layer_norm": block_sums, "logistic": logistic_scratch,
    "tanh_mlp": tanh_scratch, "relu_mlp": relu_scratch, "chain": chain_scratch,
}  # fmt: skip
