"""The textbook network gives the book's numbers, in our spelling and in the old one."""

import math
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np

EXAMPLE = Path(__file__).parents[2] / "examples" / "textbook.py"

X, Y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
PREDICTIONS = [0.18333462, 0.7425526, 0.7425526, 0.33430961], [0.18353091, 0.74260499, 0.74321824, 0.33324929]
COSTS = 0.06948320612438118, 0.06923193686092949

PRINTED = [
    ("h_function([[1, 0]])", "[[0.73105858, 0.11920292]]"),
    ("predict([[1, 0]])", "[0.7425526]"),
    ("predict(X)", "[0.18333462, 0.7425526, 0.7425526, 0.33430961]"),
    ("the output (this is t - y)", "0.257"),
    ("the input of its sigmoid", "0.0492"),
    ("W2", "0.0360, 0.00587"),
    ("h", "0.246, -0.246"),
    ("train(X, Y), predictions", "[0.18333462, 0.7425526, 0.7425526, 0.33430961]"),
    ("cost", "0.06948320612438118"),
    ("train(X, Y), predictions", "[0.18353091, 0.74260499, 0.74321824, 0.33324929]"),
    ("cost", "0.06923193686092949"),
]


def assert_cost(computed, book):
    """Equal, but for the last of 17 digits: doubles near 0.07 lie 1.4e-17 apart, and another order of adding, or one
    rounding of `a * b + c` where the book has two, moves the result by a few of them."""
    assert abs(float(computed) - book) <= 4 * math.ulp(book)


def test_the_example_prints_the_numbers_of_the_book(capsys):
    made = runpy.run_path(str(EXAMPLE))
    rows = [line for line in capsys.readouterr().out.splitlines()[:-1] if line[82:] not in ("", "the book")]
    assert len(rows) == len(PRINTED)
    for line, (what, book) in zip(rows, PRINTED):
        name, computed = line[:30].strip(), line[30:82].strip()
        assert name == what
        assert line[82:] == book
        if name == "cost":
            assert_cost(computed, float(book))
        else:
            assert computed == book
    assert_cost(made["cost_first"], COSTS[0])
    assert_cost(made["cost_second"], COSTS[1])


def test_the_example_says_where_its_c_is(capsys):
    train = runpy.run_path(str(EXAMPLE))["train"]
    last_line = capsys.readouterr().out.splitlines()[-1]
    assert last_line == f"The C of train is in {train.c_path}"
    assert Path(train.c_path).read_text(encoding="utf-8") == train.c_source


def program_in_the_old_spelling():
    """A Theano program as it stands; only its first import differs."""
    import symgraph as theano
    import symgraph.tensor as T

    x = T.dmatrix()
    y = T.dvector()
    W = theano.shared(value=np.array([[3.0, 2.0], [4.0, 3.0]]), name="W", borrow=True)
    b = theano.shared(value=np.array([-2.0, -4.0]), name="b", borrow=True)
    W2 = theano.shared(value=np.array([5.0, -5.0]), name="W2", borrow=True)
    b2 = theano.shared(value=-2.0, name="b2")

    h = T.nnet.sigmoid(T.dot(x, W) + b)
    y_pred = T.nnet.sigmoid(T.dot(h, W2) + b2)
    cost = T.mean(T.sqr(y - y_pred))
    gW, gb, gW2, gb2 = T.grad(cost, [W, b, W2, b2])

    h_function = theano.function(inputs=[x], outputs=h)
    predict = theano.function(inputs=[x], outputs=y_pred)
    train = theano.function(
        inputs=[x, y],
        outputs=[y_pred, cost],
        updates=[[W, W - 0.1 * gW], [b, b - 0.1 * gb], [W2, W2 - 0.1 * gW2], [b2, b2 - 0.1 * gb2]])
    return h_function, predict, train


def test_the_old_spelling_runs_as_it_stands():
    h_function, predict, train = program_in_the_old_spelling()
    assert np.round(h_function([[1, 0]]), 8).tolist() == [[0.73105858, 0.11920292]]
    assert np.round(predict([[1, 0]]), 8).tolist() == [0.7425526]
    assert np.round(predict(X), 8).tolist() == PREDICTIONS[0]
    for predictions, book in zip(PREDICTIONS, COSTS):
        y_pred, cost = train(X, Y)
        assert np.round(y_pred, 8).tolist() == predictions
        assert_cost(cost, book)


def test_the_example_does_not_import_sympy():
    program = f"import runpy, sys; runpy.run_path({str(EXAMPLE)!r}); assert 'sympy' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=EXAMPLE.parents[1])
    assert done.returncode == 0, done.stderr
