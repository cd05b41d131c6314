"""numexpr: what is elementwise."""

from __future__ import annotations

import os

import numexpr
import numpy as np
from numexpr.necompiler import getType

from benchmarks.compare.peers import Call
from benchmarks.compare.programs import GELU, Elementwise
from benchmarks.compare.workloads import Workload

EXPRESSIONS = {
    "add_one": ["x + 1"],
    "five_scalars": ["a * b + c * d - e"],
    "sigmoid": ["1 / (1 + exp(-x))"],
    "gelu": [
        "half * x * (1 + tanh(scale * x + cubed * x**3))",
        "half * (1 + tanh(scale * x + cubed * x**3)) + half * x * (1 - tanh(scale * x + cubed * x**3)**2)"
        " * (scale + 3 * cubed * x**2)",
    ],
    "gaussian_sum": ["exp(-(x - m)**2 / s)"],  # summed by numpy: numexpr adds float32 one after the other, and errs
}


def start() -> None:
    """The threads."""
    numexpr.set_num_threads(int(os.environ.get("NUMEXPR_NUM_THREADS", "1")))


def build(w: Workload, option: str) -> Call | None:
    """The call of a program."""
    program = w.definition
    expressions = [program.expression] if isinstance(program, Elementwise) else EXPRESSIONS.get(w.program)
    if expressions is None:
        return None
    scale, cube = GELU
    one = np.dtype(w.dtype).type
    names = w.data.arrays | {"half": one(0.5), "scale": one(scale), "cubed": one(scale * cube)}
    results = [np.empty(x.shape, w.dtype) if x.ndim else None for x in w.expected.arrays.values()]
    if w.group == "calls" and not w.bound:
        results = [None] * len(results)
    compiled = [numexpr.NumExpr(e, signature(e, names)) for e in expressions]
    arguments = [[names[n] for n in c.input_names] for c in compiled]
    if w.program == "gaussian_sum":
        out = np.empty_like(w.data.arrays["x"])
        return Call(lambda: compiled[0](*arguments[0], out=out, ex_uses_vml=False).sum())
    if len(compiled) == 1:
        return Call(lambda: compiled[0](*arguments[0], out=results[0], ex_uses_vml=False))
    return Call(lambda: [c(*a, out=r, ex_uses_vml=False) for c, a, r in zip(compiled, arguments, results)])


def signature(expression: str, names: dict[str, np.ndarray]) -> list[tuple[str, type]]:
    """The names in an expression with their types."""
    used = [n for n in names if n in compile(expression, "", "eval").co_names]
    return [(n, getType(np.asarray(names[n]))) for n in used]
