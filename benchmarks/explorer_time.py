"""How long the explorer's page of a graph of 3,000 nodes takes to make, and its size. The bar: at most 10 s.

    python benchmarks/explorer_time.py [layers]
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import symgraph as sg
import symgraph.tensor as T


def main(layers: int) -> None:
    """Print the figures of a network of so many layers with its gradient, about ten nodes a layer."""
    x = h = T.dmatrix("x")
    weights = [sg.shared(np.eye(4), f"W{k}") for k in range(layers)]
    for w in weights:
        h = T.tanh(T.dot(h, w) + 0.1)
    cost = T.mean(h**2)
    updates = [(w, w - 0.1 * g) for w, g in zip(weights, sg.grad(cost, weights), strict=True)]
    f = sg.function([x], cost, updates=updates, name="deep")
    with tempfile.TemporaryDirectory() as directory:
        started = time.perf_counter()
        path = f.explore(Path(directory) / "deep.html")
        seconds = time.perf_counter() - started
        size = path.stat().st_size / 1e6
        print(f"{len(f.graph.steps)} steps: page made in {seconds:.1f} s, {size:.1f} MB; bar: 10 s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
