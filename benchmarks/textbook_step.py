"""What the textbook's training function costs: to compile from nothing, to find in the cache, to call.

Each compilation is timed in a process of its own, from `function(` to ready; the best of several, for other work on the
machine only adds. Run it with `python benchmarks/textbook_step.py`.
"""

import json
import os
import subprocess
import sys
import tempfile

PROGRAM = """
import json, sys, time, timeit
import numpy as np
import symgraph as sg
import symgraph.tensor as T

x, y = T.dmatrix("x"), T.dvector("y")
W, b = sg.shared(np.array([[3.0, 2.0], [4.0, 3.0]]), "W"), sg.shared(np.array([-2.0, -4.0]), "b")
W2, b2 = sg.shared(np.array([5.0, -5.0]), "W2"), sg.shared(-2.0, "b2")
h = T.nnet.sigmoid(T.dot(x, W) + b)
y_pred = T.nnet.sigmoid(T.dot(h, W2) + b2)
cost = T.mean((y - y_pred) ** 2)
weights = [W, b, W2, b2]
updates = [(w, w - 0.1 * g) for w, g in zip(weights, sg.grad(cost, weights))]

started = time.perf_counter()
train = sg.function([x, y], [y_pred, cost], updates=updates, name="train")
ready = time.perf_counter() - started
X, Y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0.0, 1, 1, 0])
calls = min(timeit.repeat(lambda: train(X, Y), number=20000, repeat=5)) / 20000
print(json.dumps({"ready": ready, "call": calls, "sympy": "sympy" in sys.modules}))
"""


def run(cache: str) -> dict[str, float]:
    """One process with the given cache directory."""
    environment = {**os.environ, "SYMGRAPH_CACHE": cache}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as directory:
        run(f"{directory}/warm")  # also writes Python's own caches
        cold = [run(f"{directory}/{k}") for k in range(5)]
        warm = [run(f"{directory}/warm") for _ in range(5)]
    rows = [
        ("compile, no cache", min(r["ready"] for r in cold) * 1e3, "ms", 400),
        ("compile, from the disk cache", min(r["ready"] for r in warm) * 1e3, "ms", 50),
        ("one call", min(r["call"] for r in cold + warm) * 1e6, "us", 2.3),
    ]
    for what, value, unit, bar in rows:
        print(f"{what:30} {value:8.2f} {unit}   at most {bar} {unit}")
    print(f"{'sympy imported':30} {any(r['sympy'] for r in cold + warm)}")


if __name__ == "__main__":
    main()
