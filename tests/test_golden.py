"""The C of a few functions that matter, in full: a change of the printer or the lowering shows in review.

After a change that is meant: `pytest tests/test_golden.py --update-golden`, then read the difference.
"""

import re
from pathlib import Path

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T


def textbook():
    """Two layers of sigmoids, the squared error and its gradients, as the README has them."""
    x, y = T.dmatrix("x"), T.dvector("y")
    W, b = sg.shared(np.array([[3.0, 2.0], [4.0, 3.0]]), "W"), sg.shared(np.array([-2.0, -4.0]), "b")
    W2, b2 = sg.shared(np.array([5.0, -5.0]), "W2"), sg.shared(-2.0, "b2")
    h = T.nnet.sigmoid(T.dot(x, W) + b)
    y_pred = T.nnet.sigmoid(T.dot(h, W2) + b2)
    cost = T.mean((y - y_pred) ** 2)
    weights = [W, b, W2, b2]
    updates = [(w, w - 0.1 * g) for w, g in zip(weights, sg.grad(cost, weights))]
    return sg.function([x, y], [y_pred, cost], updates=updates, name="train")


def softmax_step():
    """Cross entropy of a softmax with its gradient, in float32."""
    x, labels = T.fmatrix("x"), T.lvector("labels")
    W, b = sg.shared(np.zeros((20, 10), "float32"), "W"), sg.shared(np.zeros(10, "float32"), "b")
    p = T.nnet.softmax(T.dot(x, W) + b)
    loss = T.mean(T.nnet.categorical_crossentropy(p, labels))
    rate = np.float32(0.1)
    updates = [(w, w - rate * g) for w, g in zip([W, b], sg.grad(loss, [W, b]))]
    return sg.function([x, labels], [loss, T.argmax(p, axis=1)], updates=updates, name="softmax_step")


def minibatch():
    """Logistic regression on a minibatch that is sliced from shared data by its number."""
    images = sg.shared(np.zeros((100, 8)), "images")
    targets = sg.shared(np.zeros(100), "targets")
    w, bias = sg.shared(np.zeros(8), "w"), sg.shared(0.0, "bias")
    batch = T.lscalar("batch")
    x, y = T.dmatrix("x"), T.dvector("y")
    score = T.dot(x, w) + bias
    loss = T.mean(T.nnet.softplus(score) - y * score) + 0.01 * T.sum(w**2)
    updates = [(p, p - 0.5 * g) for p, g in zip([w, bias], sg.grad(loss, [w, bias]))]
    rows = slice(batch * 20, (batch + 1) * 20)
    return sg.function([batch], loss, updates=updates, givens={x: images[rows], y: targets[rows]}, name="minibatch")


def elementwise():
    """One pass over two arrays of one shape."""
    x, y = T.dmatrices("x", "y")
    gate = T.switch(x > 0, x, T.expm1(x))
    return sg.function([x, y], [gate * y, gate**2 + 2 * y**3 - 1.5], name="gated")


def normalized():
    """Reductions of rows and columns with broadcasting."""
    x = T.dmatrix("x")
    gain = T.dvector("gain")
    mean = T.mean(x, axis=1, keepdims=True)
    variance = T.mean((x - mean) ** 2, axis=1, keepdims=True)
    scaled = (x - mean) / T.sqrt(variance + 1e-5) * gain
    return sg.function([x, gain], [scaled, scaled.sum(axis=0), T.max(abs(x))], name="normalize")


def indexed():
    """Rows that an index picks are read, and changed in place."""
    table = sg.shared(np.zeros((50, 4)), "table")
    picks = T.lvector("picks")
    step = T.dmatrix("step")
    return sg.function([picks, step], table[picks].sum(axis=1),
                       updates=[(table, T.inc_subtensor(table[picks], -0.1 * step))], name="embed")  # fmt: skip


@pytest.mark.parametrize("make", [textbook, softmax_step, minibatch, elementwise, normalized, indexed],
                         ids=lambda make: make.__name__)  # fmt: skip
def test_the_c_is_as_it_was_read(golden, make):
    f = make()
    if not f.c_source:
        pytest.skip("no C compiler")
    without_flags = re.sub(r"\n+ +compiled with .*(?= \*/)", "", f.c_source)      # which are those of this machine
    golden(f"{f.name}.c", without_flags)


def test_the_c_in_the_readme_is_what_is_compiled():
    root = Path(__file__).parent.parent
    (piece,) = re.findall(r"```c\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert piece in (root / "tests/golden/train.c").read_text(encoding="utf-8")
