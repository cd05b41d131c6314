"""How compile time grows with the graph: each family at n and 2n nodes, in Python's stages and as a whole.

The bar: twice the nodes take at most 2.3 times as long. Caches are empty, so that the C compiler runs each time.

    python benchmarks/compile_time.py [nodes] [rounds]
"""

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
CACHE = os.environ["SYMGRAPH_CACHE"] = tempfile.mkdtemp(prefix="symgraph-bench-")

import symgraph as sg
import symgraph.tensor as T
from symgraph.graph.traverse import toposort

BAR = 2.3
Family = Callable[[int], tuple[list[Any], list[Any], list[tuple[Any, Any]]]]  # n -> inputs, outputs, updates


def elementwise_chain(n: int) -> Any:
    """tanh and x*a + b by turns."""
    x, a, b = T.dvectors("x", "a", "b")
    h = x
    for k in range(2 * n // 3):
        h = T.tanh(h) if k % 2 else h * a + b
    return [x, a, b], [h], []


def chain_with_gradient(n: int) -> Any:
    """The same with its derivative."""
    (x, a, b), (h,), _ = elementwise_chain(n // 4)
    return [x, a, b], [h, T.grad(h.sum(), x)], []


def unrolled_network(n: int) -> Any:
    """v = tanh(W v + b_i), its gradient and an update of W."""
    W, v = sg.shared(np.eye(50) * 0.9, "W"), T.dvector("v")
    bs, h = [T.dvector(f"b{k}") for k in range(n // 10)], v
    for b in bs:
        h = T.tanh(W @ h + b)
    cost = (h * h).sum()
    return [v, *bs], [cost], [(W, W - 0.1 * T.grad(cost, W))]


def wide_sum(n: int) -> Any:
    """Many terms in one sum, with the derivative by each."""
    xs = [T.dvector(f"x{k}") for k in range(n // 4)]
    total = xs[0]
    for k, x in enumerate(xs[1:]):
        total = total + x * float(k % 7)
    return xs, [total, *T.grad(total.sum(), xs)], []


def deep_perceptron(n: int) -> Any:
    """Layer upon layer, all updated."""
    x, Ws = T.dmatrix("x"), [sg.shared(np.eye(30), f"W{k}") for k in range(n // 10)]
    h = x
    for W in Ws:
        h = T.nnet.relu(h @ W)
    cost = (h**2).mean()
    return [x], [cost], [(W, W - 0.1 * g) for W, g in zip(Ws, T.grad(cost, Ws), strict=True)]


FAMILIES: tuple[Family, ...] = (elementwise_chain, chain_with_gradient, unrolled_network, wide_sum, deep_perceptron)


def measure(family: Family, n: int) -> tuple[int, float, float]:
    """The number of nodes, and the seconds of Python's stages and of the whole, of one compilation."""
    inputs, outputs, updates = family(n)
    nodes = len(toposort([*outputs, *(new for _, new in updates)]))
    shutil.rmtree(CACHE, ignore_errors=True)
    gc.collect()
    start = perf_counter()
    f = sg.function(inputs, outputs, updates=updates)
    whole = perf_counter() - start
    return nodes, whole - f.timings["compile"], whole


def main() -> None:
    """Print the table."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    x = T.dvector("x")
    sg.function([x], [T.tanh(x * x).sum(), T.grad((x**2).sum(), x)])  # what a process does once
    print(f"{'family':22}{'nodes':>8}{'python':>10}{'whole':>10}{'nodes':>9}{'python':>10}{'whole':>10}{'ratios':>16}")
    met = True
    for family in FAMILIES:
        small, large = [], []
        for _ in range(rounds):  # by turns, and the best of each, for the machine may be busy
            small.append(measure(family, n))
            large.append(measure(family, 2 * n))
        (few, *_), (many, *_) = small[0], large[0]
        one, two = ([min(times) for times in list(zip(*runs, strict=True))[1:]] for runs in (small, large))
        scale = 2 * few / many  # families do not hit the number of nodes exactly
        ratios = [scale * b / a for a, b in zip(one, two, strict=True)]
        met = met and max(ratios) <= BAR
        print(
            f"{family.__name__:22}{few:8d}{one[0]:9.2f}s{one[1]:9.2f}s{many:9d}{two[0]:9.2f}s{two[1]:9.2f}s"
            f"{ratios[0]:9.2f} {ratios[1]:6.2f}", flush=True,
        )  # fmt: skip
    print(f"\nbar: twice the nodes take at most {BAR} times as long: {'met' if met else 'MISSED'}")
    shutil.rmtree(CACHE, ignore_errors=True)


if __name__ == "__main__":
    main()
