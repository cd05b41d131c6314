"""JAX: one jitted function, state and the memory of earlier results donated."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import gelu as jax_gelu

from benchmarks.compare.peers import Call
from benchmarks.compare.programs import EPSILON, MOMENTUM, PENALTY, RATE, Elementwise
from benchmarks.compare.workloads import Workload

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_compilation_cache_dir", os.environ.get("JAX_COMPILATION_CACHE_DIR"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def start() -> None:
    """The back end, and what it loads with the first compilation."""
    jax.jit(lambda x: jnp.tanh(x).sum())(np.zeros(8)).block_until_ready()


def build(w: Workload, option: str) -> Call | None:
    """The call of any program."""
    if w.bound:
        return None
    program = w.definition
    inputs = tuple(jnp.asarray(x) for x in w.data.arrays.values())
    if w.data.state:
        return step(STEPS[w.program], inputs, {name: jnp.asarray(x) for name, x in w.data.state.items()})
    if isinstance(program, Elementwise):
        code = compile(program.expression, w.program, "eval")
        names = tuple(w.data.arrays)
        return fresh(lambda *args: [eval(code, {}, dict(zip(names, args)))], inputs, w)
    return fresh(FUNCTIONS[w.program], inputs, w)


def fresh(function: Callable[..., list[Any]], inputs: tuple[Any, ...], w: Workload) -> Call:
    """A function without state. Where its results are large they are donated to the next call."""
    if w.group == "calls":
        jitted = jax.jit(lambda *args: function(*args)[0])
        return Call(lambda: jitted(*inputs).block_until_ready())
    if sum(x.size for x in w.expected.arrays.values()) < 100:
        jitted = jax.jit(function)
        return Call(lambda: jax.block_until_ready(jitted(*inputs)))
    jitted = jax.jit(lambda old, *args: function(*args), donate_argnums=0, keep_unused=True)
    kept = [[jnp.zeros(x.shape, w.dtype) for x in w.expected.arrays.values()]]

    def call():
        kept[0] = result = jitted(kept[0], *inputs)
        result[0].block_until_ready()  # all results of one program are ready together
        return result

    return Call(call)


def step(function: Callable[..., Any], inputs: tuple[Any, ...], state: dict[str, Any]) -> Call:
    """A function of the state and the inputs to outputs and the next state, which takes the memory of the last."""
    jitted = jax.jit(function, donate_argnums=0)
    kept = [state]

    def call():
        result, kept[0] = jitted(kept[0], *inputs)
        jax.block_until_ready(result)
        return result

    return Call(call, state=lambda: kept[0])


def logsumexp(x):
    return [jax.nn.logsumexp(x, axis=1)]


def mean_cross_entropy(logits, y):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1).mean()


def cross_entropy(x, y):
    return list(jax.value_and_grad(mean_cross_entropy)(x, y))


def layer_norm(x, g, b, d):
    def f(x, g, b):
        mean, variance = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + EPSILON) * g + b

    y, pull = jax.vjp(f, x, g, b)
    return [y, *pull(d)]


def gelu(x):
    y, pull = jax.vjp(jax_gelu, x)
    return [y, *pull(jnp.ones_like(x))]


def textbook_step(state, x, y):
    def cost(s):
        h = jax.nn.sigmoid(x @ s["W"] + s["b"])
        p = jax.nn.sigmoid(h @ s["W2"] + s["b2"])
        return jnp.mean((y - p) ** 2), p

    (value, p), shares = jax.value_and_grad(cost, has_aux=True)(state)
    return [p, value], {name: state[name] - 0.1 * shares[name] for name in state}


def descend(cost):
    """A step against the gradient of cost(state, x, y)."""
    def stepped(state, x, y):
        value, shares = jax.value_and_grad(cost)(state, x, y)
        return [value], {name: state[name] - RATE * shares[name] for name in state}
    return stepped


def logistic_cost(s, x, y):
    return mean_cross_entropy(x @ s["W"] + s["b"], y)


def tanh_cost(s, x, y):
    h = jnp.tanh(x @ s["W1"] + s["b1"])
    penalty = PENALTY * (jnp.sum(s["W1"] ** 2) + jnp.sum(s["W2"] ** 2))
    return mean_cross_entropy(h @ s["W2"] + s["b2"], y) + penalty


def relu_mlp(state, x, t):
    def cost(weights):
        h = x
        for k in range(3):
            h = h @ weights[f"W{k}"] + weights[f"b{k}"]
            h = jax.nn.relu(h) if k < 2 else h
        return jnp.mean((h - t) ** 2)

    weights = {name: value for name, value in state.items() if not name.startswith("v")}
    value, shares = jax.value_and_grad(cost)(weights)
    velocities = {"v" + name: MOMENTUM * state["v" + name] - RATE * shares[name] for name in weights}
    return [value], {name: weights[name] + velocities["v" + name] for name in weights} | velocities


def chain(W, v, b):
    def cost(W):
        h = v
        for k in range(b.shape[0]):
            h = jnp.tanh(W @ h + b[k])
        return jnp.sum(h**2)

    return list(jax.value_and_grad(cost)(W))


FUNCTIONS: dict[str, Callable[..., list[Any]]] = {
    "add_one": lambda x: [x + 1],
    "five_scalars": lambda a, b, c, d, e: [a * b + c * d - e],
    "sigmoid": lambda x: [jax.nn.sigmoid(x)],
    "gelu": gelu,
    "sum_of_squares": lambda x: [jnp.square(x).sum()],
    "gaussian_sum": lambda x, m, s: [jnp.exp(-((x - m) ** 2) / s).sum()],
    "logsumexp": logsumexp,
    "column_moments": lambda x: [x.mean(axis=0), x.var(axis=0)],
    "cross_entropy": cross_entropy,
    "layer_norm": layer_norm,
    "chain": chain,
    "product": lambda A, B: [A @ B],
}
STEPS: dict[str, Callable[..., Any]] = {
    "textbook_step": textbook_step,
    "logistic": descend(logistic_cost),
    "tanh_mlp": descend(tanh_cost),
    "relu_mlp": relu_mlp,
}
