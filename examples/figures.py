"""The two figures of the textbook chapter, drawn from the graph: a network with its values, then with all gradients.

Two inputs, two hidden units, one output. The first figure follows the input x = (1, 0) through the network. The second
adds the error, L2 = (t - y)² / 2 for the right answer t = 1, and takes it back through the network: the gradient of
L2 at every node, with the book's sign, which points to where the error falls.

    python examples/figures.py [FOLDER]

writes network.svg, gradients.svg and the same for LaTeX into the folder, by default the current one.
"""

import sys
from pathlib import Path

import numpy as np

import symgraph as sg
import symgraph.tensor as T

x = T.dvector("x")
t = T.dscalar("t")
W1 = sg.shared(np.array([[3.0, 2.0], [4.0, 3.0]]), "W1")
b1 = sg.shared(np.array([-2.0, -4.0]), "b1")
W2 = sg.shared(np.array([5.0, -5.0]), "W2")
b2 = sg.shared(-2.0, "b2")

h = T.nnet.sigmoid(T.dot(x, W1) + b1)
y = T.nnet.sigmoid(T.dot(h, W2) + b2)
L2 = (t - y) ** 2 / 2

# Where no name was given, the one it was assigned to is taken: h, y and L2.
network = sg.draw(y, at={x: [1, 0]})

# What the line of L2 made is folded into one node, as in the book.
gradients = sg.draw(L2, at={x: [1, 0], t: 1}, wrt=[x, W1, b1, W2, b2], fold=L2, descent=True)

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
folder.mkdir(parents=True, exist_ok=True)
for name, drawing in (("network", network), ("gradients", gradients)):
    for suffix in (".svg", ".tex"):
        print(drawing.save(folder / f"{name}{suffix}"))
