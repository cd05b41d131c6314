"""What the clocks of `profile=True` cost: the training step of an MLP, with and without, in interleaved rounds.

    python benchmarks/profiling.py [rounds]
"""

import os
import sys
import time
from statistics import median

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: a second thread that waits for its turn is noise

import numpy as np

import symgraph as sg
import symgraph.tensor as T

BAR = 2.0  # percent


def training_step(profile: bool) -> sg.Function:
    """One step of a 784-500-10 network on a batch, float32."""
    rng = np.random.default_rng(0)
    x, y = T.fmatrix("x"), T.lvector("y")
    W1, W2 = (sg.shared((rng.normal(size=s) * 0.05).astype("float32")) for s in ((784, 500), (500, 10)))
    p = T.nnet.softmax(T.dot(T.tanh(T.dot(x, W1)), W2))
    cost = T.mean(T.nnet.categorical_crossentropy(p, y))
    weights = [W1, W2]
    updates = [(w, w - 0.01 * g) for w, g in zip(weights, sg.grad(cost, weights), strict=True)]
    return sg.function([x, y], cost, updates=updates, name="train", profile=profile)


def main(rounds: int) -> None:
    """Print the median of the ratios, each of two neighbouring measurements."""
    rng = np.random.default_rng(1)
    batch = rng.normal(size=(60, 784)).astype("float32"), rng.integers(0, 10, 60)
    functions = [training_step(profile) for profile in (False, True)]
    for f in functions:
        f(*batch)
    ratios = []
    for _ in range(rounds):
        seconds = []
        for f in functions:
            started = time.perf_counter()
            for _ in range(20):
                f(*batch)
            seconds.append(time.perf_counter() - started)
        ratios.append(seconds[1] / seconds[0])
    cost = 100 * (median(ratios) - 1)
    print(f"clocks cost {cost:.2f} % of a training step (median of {rounds} rounds; bar: below {BAR} %)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 31)
