"""CasADi: the small programs, compiled by the C compiler, with arguments and results bound to arrays."""

from __future__ import annotations

from collections.abc import Callable

import casadi
import numpy as np

from benchmarks.compare.peers import Call
from benchmarks.compare.workloads import Workload

OPTIONS = {
    "jit": True, "compiler": "shell", "jit_options": {"flags": ["-O3", "-march=native"], "compiler": "cc"},
    "jit_temp_suffix": True,
}  # fmt: skip


def build(w: Workload, option: str) -> Call | None:
    """The call of a program; matrices are CasADi's transposed, for it stores columns."""
    if w.program not in PROGRAMS:
        return None
    state = {name: x.copy() for name, x in w.data.state.items()}
    arguments = [*w.data.arrays.values(), *state.values()]
    symbols = [casadi.SX.sym("s", *(x.shape[::-1] if x.ndim == 2 else (x.size, 1))) for x in arguments]
    outputs, new = PROGRAMS[w.program](*symbols)
    f = casadi.Function(w.program, symbols, [*outputs, *new], OPTIONS)
    if not w.bound:
        if state:
            return None
        return Call(f, tuple(w.data.arrays.values()), outputs=lambda x: [shaped(np.asarray(x), w)])
    results = [np.empty(x.shape) for x in w.expected.arrays.values()]
    buffer, evaluate = f.buffer()
    for k, x in enumerate(arguments):
        buffer.set_arg(k, memoryview(x))
    for k, x in enumerate([*results, *state.values()]):  # the check of the results shows that this may be in place
        buffer.set_res(k, memoryview(x))
    keep = [buffer, *results]  # CasADi does not
    return Call(evaluate, outputs=lambda _: keep[1:], state=lambda: state)


def shaped(x: np.ndarray, w: Workload) -> np.ndarray:
    """CasADi's column as the array that was meant."""
    return x.reshape(w.expected.arrays["0"].shape)


def add_one(x):
    return [x + 1], []


def five_scalars(a, b, c, d, e):
    return [a * b + c * d - e], []


def textbook_step(x, y, W, b, W2, b2):
    sigmoid = lambda z: 1 / (1 + casadi.exp(-z))
    h = sigmoid(W @ x + casadi.repmat(b, 1, x.shape[1]))
    p = sigmoid(W2.T @ h + b2).T
    cost = casadi.sumsqr(y - p) / y.numel()
    return [p, cost], [w - 0.1 * casadi.gradient(cost, w) for w in (W, b, W2, b2)]


PROGRAMS: dict[str, Callable[..., tuple[list[casadi.SX], list[casadi.SX]]]] = {
    "add_one": add_one, "five_scalars": five_scalars, "textbook_step": textbook_step,
}  # fmt: skip
