"""How long the figure of a graph of a given number of nodes takes, folded by lines and with a box for each node.

    python benchmarks/figure_time.py [NODES]
"""

import sys
from itertools import pairwise
from time import perf_counter

import numpy as np

import symgraph as sg
import symgraph.tensor as T


def recurrence(nodes):
    """A chain of steps of four nodes each, its input, its parameter and the sum of what comes out."""
    rng = np.random.default_rng(0)
    x = state = T.dvector("x")
    A = sg.shared(rng.normal(size=(4, 4)), "A")
    for k in range(nodes // 4):
        moved = T.dot(A, state) + 0.01 * k
        state = T.tanh(moved) * 0.5
    return x, A, state.sum()


def main(nodes):
    x, A, cost = recurrence(nodes)
    point = dict(at={x: np.ones(4)}, wrt=[A])
    ways = [
        ("types, lines folded", dict()),
        ("types, every node", dict(fold=None)),
        ("values and gradients, lines folded", dict(fold="line", **point)),
        ("values and gradients, every node", dict(fold=None, **point)),
    ]
    print(f"a graph of {nodes} nodes\n{'':<36}{'boxes':>8}{'draw, s':>10}{'svg, s':>10}{'html, s':>10}{'svg, MB':>10}")
    for what, options in ways:
        times = [perf_counter()]
        drawing = sg.draw(cost, **options)
        times.append(perf_counter())
        size = len(drawing.svg) / 1e6
        times.append(perf_counter())
        assert drawing.html
        times.append(perf_counter())
        seconds = "".join(f"{after - before:>10.2f}" for before, after in pairwise(times))
        print(f"{what:<36}{len(drawing.figure.boxes):>8}{seconds}{size:>10.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
