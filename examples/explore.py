"""See inside a training function: a page of graphs, rewrites, loops and C, each linked to the others.

The function is the one of digits.py, told to take the time of every step; a few hundred steps are run first.

    python examples/explore.py [train.html]
"""

import argparse
import webbrowser
from pathlib import Path

import digits
import numpy as np

import symgraph as sg

BATCH = 32


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("page", nargs="?", type=Path, default=Path("train.html"), help="by default %(default)s")
    parser.add_argument("--open", action="store_true", help="show it in the browser")
    chosen = parser.parse_args(arguments)

    sg.config.floatX = "float32"
    images, labels, _, _ = digits.read_digits(seed=0)
    shared = sg.shared(images, "images"), sg.shared(labels, "labels")
    batches = len(images) // BATCH
    train, _ = digits.compile_network(*shared, BATCH, 10 * batches, np.random.default_rng(0), profile=True)
    for step in range(10 * batches):
        train(step % batches)

    page = train.explore(chosen.page)
    print(f"{page}: {page.stat().st_size / 1000:.0f} kB; open it in a browser and press ? for help")
    if chosen.open:
        webbrowser.open(page.resolve().as_uri())
    return page


if __name__ == "__main__":
    main()
