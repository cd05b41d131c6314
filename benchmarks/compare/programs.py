"""What is computed: the data of each program, its reference in float64, and the matrix products it cannot do without.

Every peer has a function of the program's name in `peers/`. Outputs are in the order of the reference's; a program with
state (the weights of a network) changes it at each call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Arrays = dict[str, np.ndarray]
Sizes = Mapping[str, int]

RATE, MOMENTUM, PENALTY = 0.05, 0.9, 1e-3  # of the training steps
EPSILON = 1e-5  # of layer normalization
GELU = 0.7978845608028654, 0.044715  # sqrt(2 / pi) and the weight of the cube


class Program:
    """One computation. `rounding`: how far results may be from the reference, in units of the format's epsilon,
    relative to the largest element.
    """

    rounding = 32.0

    def inputs(self, rng: np.random.Generator, sizes: Sizes) -> Arrays:
        """The arguments of a call, in order; floating ones are cast to the workload's dtype."""
        raise NotImplementedError

    def state(self, rng: np.random.Generator, sizes: Sizes) -> Arrays:
        """What calls change, before the first."""
        return {}

    def reference(self, inputs: Arrays, state: Arrays) -> tuple[Sequence[np.ndarray], Arrays]:
        """The outputs of the first call and the state after it, from float64 arrays."""
        raise NotImplementedError

    def products(self, sizes: Sizes) -> list[tuple[int, int, int]]:
        """The matrix products that any way of computing it must do: (m, k, n) of (m, k) times (k, n)."""
        return []


class AddOne(Program):
    """x + 1."""

    def inputs(self, rng, sizes):
        return {"x": rng.random(sizes["n"])}

    def reference(self, inputs, state):
        return [inputs["x"] + 1], {}


class FiveScalars(Program):
    """a b + c d - e of five scalars."""

    def inputs(self, rng, sizes):
        return {name: np.array(rng.random() + 1) for name in "abcde"}

    def reference(self, inputs, state):
        a, b, c, d, e = inputs.values()
        return [np.asarray(a * b + c * d - e)], {}


class TextbookStep(Program):
    """The step of README.md: four examples, 2-2-1 sigmoids, mean squared error; predictions and cost."""

    def inputs(self, rng, sizes):
        return {"x": np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), "y": np.array([0.0, 1, 1, 0])}

    def state(self, rng, sizes):
        W, b = np.array([[3.0, 2], [4, 3]]), np.array([-2.0, -4])
        return {"W": W, "b": b, "W2": np.array([5.0, -5]), "b2": np.array(-2.0)}

    def reference(self, inputs, state):
        x, y = inputs.values()
        W, b, W2, b2 = state.values()
        h = 1 / (1 + np.exp(-(x @ W + b)))
        p = 1 / (1 + np.exp(-(h @ W2 + b2)))
        dp = 2 * (p - y) / len(y) * p * (1 - p)
        dh = np.outer(dp, W2) * h * (1 - h)
        shares = x.T @ dh, dh.sum(0), h.T @ dp, dp.sum()
        new = [np.asarray(w - 0.1 * g) for w, g in zip(state.values(), shares)]
        return [p, np.mean((y - p) ** 2)], dict(zip(state, new))


class Elementwise(Program):
    """A sum of products of vectors; the expression in a and b is spelled as Python's and numexpr's."""

    def __init__(self, expression: str):
        self.expression = expression

    def inputs(self, rng, sizes):
        return {name: rng.random(sizes["n"]) + 0.5 for name in "ab" if name in self.expression}

    def reference(self, inputs, state):
        return [eval(self.expression, {}, inputs)], {}


class Sigmoid(Program):
    """1 / (1 + exp(-x))."""

    def inputs(self, rng, sizes):
        return {"x": rng.normal(size=sizes["n"])}

    def reference(self, inputs, state):
        return [1 / (1 + np.exp(-inputs["x"]))], {}


class Gelu(Program):
    """The approximation of x Phi(x) by tanh (Hendrycks and Gimpel, 2016), and its derivative."""

    def inputs(self, rng, sizes):
        return {"x": rng.normal(size=sizes["n"])}

    def reference(self, inputs, state):
        x, (scale, cube) = inputs["x"], GELU
        t = np.tanh(scale * (x + cube * x**3))
        return [0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * scale * (1 + 3 * cube * x * x)], {}


class SumOfSquares(Program):
    """sum(x^2)."""

    rounding = 1e3

    def inputs(self, rng, sizes):
        return {"x": rng.normal(size=sizes["n"])}

    def reference(self, inputs, state):
        return [np.sum(inputs["x"] ** 2)], {}


class GaussianSum(Program):
    """sum(exp(-(x - m)^2 / s))."""

    rounding = 1e3

    def inputs(self, rng, sizes):
        return {"x": rng.normal(size=sizes["n"]), "m": np.array(0.125), "s": np.array(2.0)}

    def reference(self, inputs, state):
        x, m, s = inputs.values()
        return [np.sum(np.exp(-((x - m) ** 2) / s))], {}


class LogSumExp(Program):
    """log(sum(exp(x))) of each row, safe for large x."""

    def inputs(self, rng, sizes):
        return {"x": rng.normal(size=(sizes["rows"], sizes["columns"]))}

    def reference(self, inputs, state):
        x = inputs["x"]
        top = x.max(axis=1, keepdims=True)
        return [np.log(np.exp(x - top).sum(axis=1)) + top[:, 0]], {}


class ColumnMoments(Program):
    """Mean and variance of each column."""

    rounding = 1e3

    def inputs(self, rng, sizes):
        return {"x": rng.normal(1.0, 2.0, size=(sizes["rows"], sizes["columns"]))}

    def reference(self, inputs, state):
        return [inputs["x"].mean(axis=0), inputs["x"].var(axis=0)], {}


class CrossEntropy(Program):
    """The mean softmax cross-entropy of logits, and its gradient by them."""

    rounding = 256.0

    def inputs(self, rng, sizes):
        rows, classes = sizes["rows"], sizes["columns"]
        return {"x": rng.normal(size=(rows, classes)), "y": rng.integers(0, classes, rows)}

    def reference(self, inputs, state):
        return cross_entropy(inputs["x"], inputs["y"]), {}


class LayerNorm(Program):
    """y = (x - mean) / sqrt(variance + epsilon) * g + b of each row; the gradients by x, g, b where d is y's."""

    rounding = 1e3

    def inputs(self, rng, sizes):
        rows, columns = sizes["rows"], sizes["columns"]
        x, d = rng.normal(size=(2, rows, columns))
        return {"x": x, "g": rng.random(columns) + 0.5, "b": rng.normal(size=columns), "d": d}

    def reference(self, inputs, state):
        x, g, b, d = inputs.values()
        scale = 1 / np.sqrt(x.var(axis=1, keepdims=True) + EPSILON)
        u = (x - x.mean(axis=1, keepdims=True)) * scale
        e = d * g
        dx = (e - e.mean(axis=1, keepdims=True) - u * (e * u).mean(axis=1, keepdims=True)) * scale
        return [u * g + b, dx, (d * u).sum(axis=0), d.sum(axis=0)], {}


class Logistic(Program):
    """A step of multinomial logistic regression; the cost."""

    rounding = 1e3

    def inputs(self, rng, sizes):
        return labelled(rng, sizes)

    def state(self, rng, sizes):
        return {"W": 0.01 * rng.normal(size=(sizes["inputs"], sizes["classes"])), "b": np.zeros(sizes["classes"])}

    def reference(self, inputs, state):
        x, y = inputs.values()
        cost, d = cross_entropy(x @ state["W"] + state["b"], y)
        shares = {"W": x.T @ d, "b": d.sum(axis=0)}
        return [cost], {name: state[name] - RATE * share for name, share in shares.items()}

    def products(self, sizes):
        batch, inputs, classes = sizes["batch"], sizes["inputs"], sizes["classes"]
        return [(batch, inputs, classes), (inputs, batch, classes)]


class TanhMlp(Program):
    """A step of the network with one hidden layer of tanh, softmax, and an L2 penalty on the weights; the cost."""

    rounding = 1e3

    def inputs(self, rng, sizes):
        return labelled(rng, sizes)

    def state(self, rng, sizes):
        inputs, hidden, classes = sizes["inputs"], sizes["hidden"], sizes["classes"]
        W1, W2 = 0.05 * rng.normal(size=(inputs, hidden)), 0.05 * rng.normal(size=(hidden, classes))
        return {"W1": W1, "b1": np.zeros(hidden), "W2": W2, "b2": np.zeros(classes)}

    def reference(self, inputs, state):
        x, y = inputs.values()
        W1, b1, W2, b2 = state.values()
        h = np.tanh(x @ W1 + b1)
        cost, d = cross_entropy(h @ W2 + b2, y)
        dh = (d @ W2.T) * (1 - h * h)
        shares = x.T @ dh + 2 * PENALTY * W1, dh.sum(axis=0), h.T @ d + 2 * PENALTY * W2, d.sum(axis=0)
        new = {name: w - RATE * g for (name, w), g in zip(state.items(), shares)}
        return [cost + PENALTY * ((W1 * W1).sum() + (W2 * W2).sum())], new

    def products(self, sizes):
        batch, inputs, hidden, classes = (sizes[k] for k in ("batch", "inputs", "hidden", "classes"))
        forward = [(batch, inputs, hidden), (batch, hidden, classes)]
        return [*forward, (hidden, batch, classes), (batch, classes, hidden), (inputs, batch, hidden)]


class ReluMlp(Program):
    """A step with momentum of a network of three layers, relu between them, and the mean squared error; the cost."""

    rounding = 1e3

    def inputs(self, rng, sizes):
        return {name: rng.random((sizes["batch"], sizes["width"])) for name in ("x", "t")}

    def state(self, rng, sizes):
        width = sizes["width"]
        state: Arrays = {}
        for k in range(3):
            state |= {f"W{k}": rng.normal(size=(width, width)) / np.sqrt(width), f"b{k}": np.zeros(width)}
        return state | {"v" + name: 0.01 * rng.normal(size=w.shape) for name, w in state.items()}

    def reference(self, inputs, state):
        x, t = inputs.values()
        layers = [x]
        shares: Arrays = {}
        for k in range(3):
            z = layers[-1] @ state[f"W{k}"] + state[f"b{k}"]
            layers.append(np.maximum(z, 0) if k < 2 else z)
        d = 2 * (layers[-1] - t) / t.size
        for k in reversed(range(3)):
            shares |= {f"W{k}": layers[k].T @ d, f"b{k}": d.sum(axis=0)}
            d = (d @ state[f"W{k}"].T) * (layers[k] > 0)
        new = {"v" + name: MOMENTUM * state["v" + name] - RATE * g for name, g in shares.items()}
        return [np.mean((layers[-1] - t) ** 2)], new | {name: state[name] + new["v" + name] for name in shares}

    def products(self, sizes):
        batch, width = sizes["batch"], sizes["width"]
        return 5 * [(batch, width, width)] + 3 * [(width, batch, width)]


class Chain(Program):
    """v = tanh(W v + b_i) for each row b_i, written out; the sum of squares of the last v, and its gradient by W."""

    rounding = 1e3

    def inputs(self, rng, sizes):
        width, steps = sizes["width"], sizes["steps"]
        W = rng.normal(size=(width, width)) / np.sqrt(width)
        return {"W": W, "v": rng.normal(size=width), "b": 0.1 * rng.normal(size=(steps, width))}

    def reference(self, inputs, state):
        W, v, b = inputs.values()
        values = [v]
        for row in b:
            values.append(np.tanh(W @ values[-1] + row))
        gradient, d = np.zeros_like(W), 2 * values[-1]
        for before, after in zip(reversed(values[:-1]), reversed(values[1:])):
            d = d * (1 - after * after)
            gradient += np.outer(d, before)
            d = W.T @ d
        return [np.sum(values[-1] ** 2), gradient], {}


class Product(Program):
    """One matrix product: what it takes is the limit of those above."""

    rounding = 1e3

    def inputs(self, rng, sizes):
        return {"A": rng.normal(size=(sizes["m"], sizes["k"])), "B": rng.normal(size=(sizes["k"], sizes["n"]))}

    def reference(self, inputs, state):
        return [inputs["A"] @ inputs["B"]], {}

    def products(self, sizes):
        return [(sizes["m"], sizes["k"], sizes["n"])]


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean over the rows, and its gradient by the logits."""
    rows = np.arange(len(labels))
    shifted = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(shifted)
    total = p.sum(axis=1, keepdims=True)
    p /= total
    cost = np.mean(np.log(total[:, 0]) - shifted[rows, labels])
    p[rows, labels] -= 1
    return cost, p / len(labels)


def labelled(rng: np.random.Generator, sizes: Sizes) -> Arrays:
    """A batch of inputs and of the numbers of their classes."""
    x = rng.random((sizes["batch"], sizes["inputs"]))
    return {"x": x, "y": rng.integers(0, sizes["classes"], sizes["batch"])}


PROGRAMS: dict[str, Program] = {
    "add_one": AddOne(),
    "five_scalars": FiveScalars(),
    "textbook_step": TextbookStep(),
    "plus_one": Elementwise("a + 1"),
    "scaled_sum": Elementwise("2*a + 3*b"),
    "square_of_sum": Elementwise("a**2 + b**2 + 2*a*b"),
    "tenth_power": Elementwise("2*a + b**10"),
    "sigmoid": Sigmoid(),
    "gelu": Gelu(),
    "sum_of_squares": SumOfSquares(),
    "gaussian_sum": GaussianSum(),
    "logsumexp": LogSumExp(),
    "column_moments": ColumnMoments(),
    "cross_entropy": CrossEntropy(),
    "layer_norm": LayerNorm(),
    "logistic": Logistic(),
    "tanh_mlp": TanhMlp(),
    "relu_mlp": ReluMlp(),
    "chain": Chain(),
    "product": Product(),
}
