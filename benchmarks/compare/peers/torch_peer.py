"""PyTorch, eager and by `torch.compile`: results in the memory of earlier ones, weights updated in place."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.compare.peers import Call
from benchmarks.compare.programs import EPSILON, MOMENTUM, PENALTY, RATE
from benchmarks.compare.workloads import Workload

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def start() -> None:
    """The thread pool."""
    torch.mm(torch.zeros(64, 64), torch.zeros(64, 64))


def build(w: Workload, option: str) -> Call | None:
    """The call of a program: EAGER ones by kernels of torch's that an expert finds, COMPILED ones as plain formulas."""
    inputs = tuple(torch.from_numpy(x.copy()) for x in w.data.arrays.values())
    # A scalar of the state is an array of one: the inductor of 2.13 does not update one without axes.
    state = {name: torch.from_numpy(np.atleast_1d(x.copy())) for name, x in w.data.state.items()}
    known = lambda: {name: x.detach().reshape(w.data.state[name].shape) for name, x in state.items()}
    outputs = [torch.empty(x.shape, dtype=getattr(torch, w.dtype)) for x in w.expected.arrays.values()]
    torch.set_grad_enabled(False)
    if option == "compile":
        if w.bound:
            return None
        if w.program in STEPS:
            compiled = torch.compile(STEPS[w.program], fullgraph=True, dynamic=False)
            return Call(compiled, (state, *inputs), state=known)
        function = FUNCTIONS[w.program]
        if w.group == "calls" or sum(x.numel() for x in outputs) < 100:
            return Call(torch.compile(function, fullgraph=True, dynamic=False), inputs)

        def into(outputs, *args):
            for out, value in zip(outputs, function(*args)):
                out.copy_(value)

        return Call(torch.compile(into, fullgraph=True, dynamic=False), (outputs, *inputs), outputs=lambda _: outputs)
    if w.program in STEPS:
        if w.bound:
            return None
        for x in state.values():
            x.requires_grad_()
        return Call(EAGER_STEPS[w.program], (state, *inputs), state=known)
    if w.bound or w.group == "elementwise":
        if w.program not in INTO:
            return None
        return Call(INTO[w.program], (outputs, *inputs), outputs=lambda _: outputs)
    return Call(EAGER.get(w.program, FUNCTIONS[w.program]), inputs)


# -- plain formulas


def gelu(x):
    y = F.gelu(x, approximate="tanh")
    return y, torch.ops.aten.gelu_backward(torch.ones_like(x), x, approximate="tanh")


def cross_entropy(x, y):
    gradient, cost = torch.func.grad_and_value(F.cross_entropy)(x, y)
    return cost, gradient


def layer_norm(x, g, b, d):
    width = [x.shape[1]]
    y, mean, scale = torch.ops.aten.native_layer_norm(x, width, g, b, EPSILON)
    return y, *torch.ops.aten.native_layer_norm_backward(d, x, width, mean, scale, g, b, [True] * 3)


def chain(W, v, b):
    def cost(W):
        h = v
        for k in range(b.shape[0]):
            h = torch.tanh(W @ h + b[k])
        return (h * h).sum()

    gradient, value = torch.func.grad_and_value(cost)(W)
    return value, gradient


def column_moments(x):
    variance, mean = torch.var_mean(x, dim=0, correction=0)
    return mean, variance


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add_one": lambda x: (x + 1,),
    "five_scalars": lambda a, b, c, d, e: (a * b + c * d - e,),
    "plus_one": lambda a: (a + 1,),
    "scaled_sum": lambda a, b: (2 * a + 3 * b,),
    "square_of_sum": lambda a, b: (a**2 + b**2 + 2 * a * b,),
    "tenth_power": lambda a, b: (2 * a + b**10,),
    "sigmoid": lambda x: (torch.sigmoid(x),),
    "gelu": gelu,
    "sum_of_squares": lambda x: (torch.square(x).sum(),),
    "gaussian_sum": lambda x, m, s: (torch.exp(-((x - m) ** 2) / s).sum(),),
    "logsumexp": lambda x: (torch.logsumexp(x, dim=1),),
    "column_moments": column_moments,
    "cross_entropy": cross_entropy,
    "layer_norm": layer_norm,
    "chain": chain,
    "product": lambda A, B: (A @ B,),
}


def textbook_cost(s, x, y):
    h = torch.sigmoid(x @ s["W"] + s["b"])
    p = torch.sigmoid(h @ s["W2"] + s["b2"])
    return ((y - p) ** 2).mean(), (p,)


def logistic_cost(s, x, y):
    return F.cross_entropy(torch.addmm(s["b"], x, s["W"]), y), ()


def tanh_cost(s, x, y):
    h = torch.tanh(torch.addmm(s["b1"], x, s["W1"]))
    penalty = PENALTY * ((s["W1"] ** 2).sum() + (s["W2"] ** 2).sum())
    return F.cross_entropy(torch.addmm(s["b2"], h, s["W2"]), y) + penalty, ()


def relu_cost(s, x, t):
    h = x
    for k in range(3):
        h = torch.addmm(s[f"b{k}"], h, s[f"W{k}"])
        h = torch.relu(h) if k < 2 else h
    return F.mse_loss(h, t), ()


def descent(cost, rate, momentum=False):
    """A step for `torch.compile`: gradients by torch.func, weights updated in the same graph."""
    def step(state, x, y):
        weights = {name: w for name, w in state.items() if not name.startswith("v")}
        shares, (value, others) = torch.func.grad_and_value(cost, has_aux=True)(weights, x, y)
        for name, share in shares.items():
            if momentum:
                velocity = state["v" + name]
                velocity.mul_(MOMENTUM).sub_(share, alpha=rate)
                state[name].add_(velocity)
            else:
                state[name].sub_(share, alpha=rate)
        return *others, value
    return step


def eager_descent(cost, rate, momentum=False):
    """The same step by step: autograd, then updates in place under no_grad."""
    def step(state, x, y):
        names = [name for name in state if not name.startswith("v")]
        weights = [state[name] for name in names]
        with torch.enable_grad():
            value, others = cost(state, x, y)
        shares = torch.autograd.grad(value, weights)
        with torch.no_grad():
            if momentum:
                velocities = [state["v" + name] for name in names]
                torch._foreach_mul_(velocities, MOMENTUM)
                torch._foreach_add_(velocities, shares, alpha=-rate)
                torch._foreach_add_(weights, velocities)
            else:
                torch._foreach_add_(weights, shares, alpha=-rate)
        return *(x.detach() for x in others), value.detach()
    return step


COSTS = {
    "textbook_step": (textbook_cost, 0.1),
    "logistic": (logistic_cost, RATE),
    "tanh_mlp": (tanh_cost, RATE),
    "relu_mlp": (relu_cost, RATE, True),
}
STEPS = {name: descent(*terms) for name, terms in COSTS.items()}
EAGER_STEPS = {name: eager_descent(*terms) for name, terms in COSTS.items()}


# -- eager kernels that write where they are told


def plus_one(outputs, a):
    torch.add(a, 1, out=outputs[0])


def scaled_sum(outputs, a, b):
    torch.mul(a, 2, out=outputs[0]).add_(b, alpha=3)


def square_of_sum(outputs, a, b):
    torch.mul(a, a, out=outputs[0]).addcmul_(b, b).addcmul_(a, b, value=2)


def tenth_power(outputs, a, b):
    torch.pow(b, 10, out=outputs[0]).add_(a, alpha=2)


def sigmoid_into(outputs, x):
    torch.sigmoid(x, out=outputs[0])


def gelu_into(outputs, x):
    torch.ops.aten.gelu.out(x, approximate="tanh", out=outputs[0])
    ones = torch.ones((), dtype=x.dtype).expand_as(x)
    torch.ops.aten.gelu_backward.grad_input(ones, x, approximate="tanh", grad_input=outputs[1])


def gaussian_sum(x, m, s):
    return ((x - m).square_().mul_(-1 / s).exp_().sum(),)


def cross_entropy_eager(x, y):
    logs = torch.log_softmax(x, dim=1)
    ones = torch.ones((), dtype=x.dtype)
    cost, weight = torch.ops.aten.nll_loss_forward(logs, y, None, 1, -100)
    d = torch.ops.aten.nll_loss_backward(ones, logs, y, None, 1, -100, weight)
    return cost, torch.ops.aten._log_softmax_backward_data(d, logs, 1, x.dtype)


def chain_eager(W, v, b):
    with torch.enable_grad():
        weights, h = W.detach().requires_grad_(), v
        for row in b.unbind():
            h = torch.tanh(torch.addmv(row, weights, h))
        cost = h @ h
    return cost.detach(), *torch.autograd.grad(cost, weights)


INTO: dict[str, Callable[..., None]] = {
    "add_one": plus_one,
    "plus_one": plus_one,
    "scaled_sum": scaled_sum,
    "square_of_sum": square_of_sum,
    "tenth_power": tenth_power,
    "sigmoid": sigmoid_into,
    "gelu": gelu_into,
}
EAGER: dict[str, Callable[..., Any]] = {
    "sum_of_squares": lambda x: (torch.dot(x, x),),
    "gaussian_sum": gaussian_sum,
    "cross_entropy": cross_entropy_eager,
    "chain": chain_eager,
}
