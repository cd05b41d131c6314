"""The two-layer network of the textbooks, beside the numbers that the book works out by hand.

Two inputs, two hidden units, one output, and four examples to learn: the exclusive or. Read it from top to bottom,
then run it: every number that the book prints is computed and shown next to the book's.

    python examples/textbook.py
"""

import numpy as np

import symgraph as sg
import symgraph.tensor as T


def row(what, computed, book):
    """Print one line of a table."""
    print(f"{what:<30}{computed!s:<52}{book}")


def places(value):
    """`value` to eight decimal places, as the book prints it."""
    return np.round(value, 8).tolist()


def digits(value):
    """`value` to three significant digits, as the book's calculations by hand have it."""
    return ", ".join(f"{number:#.3g}" for number in np.ravel(value))


# ------------------------------------------------------------------------------------------------------- 1  symbols
# x and y stand for numbers to be given later: a matrix with one example a row, and a vector of right answers.

x = T.dmatrix("x")
y = T.dvector("y")

# Shared variables keep a value from call to call. Here they are the weights and the biases, which training changes.

W = sg.shared(np.array([[3.0, 2.0], [4.0, 3.0]]), "W")
b = sg.shared(np.array([-2.0, -4.0]), "b")
W2 = sg.shared(np.array([5.0, -5.0]), "W2")
b2 = sg.shared(-2.0, "b2")

# ------------------------------------------------------------------------------------------------------- 2  network
# Nothing is computed in these lines. Each of them writes down how one value follows from others.

h = T.nnet.sigmoid(T.dot(x, W) + b)           # the hidden layer
score = T.dot(h, W2) + b2                     # what enters the output unit ...
y_pred = T.nnet.sigmoid(score)                # ... and what leaves it
cost = T.mean((y - y_pred) ** 2)

# ----------------------------------------------------------------------------------------------------- 3  functions
# A function is compiled to C from the symbols that go in and the values wanted.

h_function = sg.function([x], h, name="h_function")
predict = sg.function([x], y_pred, name="predict")

X = [[0, 0], [0, 1], [1, 0], [1, 1]]
Y = [0, 1, 1, 0]

row("prediction", "computed", "the book")
row("h_function([[1, 0]])", places(h_function([[1, 0]])), "[[0.73105858, 0.11920292]]")
row("predict([[1, 0]])", places(predict([[1, 0]])), "[0.7425526]")
row("predict(X)", places(predict(X)), "[0.18333462, 0.7425526, 0.7425526, 0.33430961]")

# ----------------------------------------------------------------------------------------------------- 4  gradients
# One example, x = (1, 0) with the right answer t = 1, and its error. By hand, the error is taken back through the
# network step by step; `grad` writes down the same steps. They point to where the error grows; to make it smaller
# we go the other way, hence the minus.

error = T.sum((y - y_pred) ** 2) / 2
gradients = sg.grad(error, [y_pred, score, W2, h])
by_hand = sg.function([x, y], [-g for g in gradients], name="by_hand")
at_output, below_sigmoid, at_W2, at_h = by_hand([[1, 0]], [1])

print()
row("minus the gradient of", "computed", "the book")
row("the output (this is t - y)", digits(at_output), "0.257")
row("the input of its sigmoid", digits(below_sigmoid), "0.0492")
row("W2", digits(at_W2), "0.0360, 0.00587")
row("h", digits(at_h), "0.246, -0.246")

# ------------------------------------------------------------------------------------------------------ 5  training
# One call of `train` returns the predictions and their cost, then moves all weights a small step downhill. Both
# outputs and all updates are computed from the weights as they were before the call.

learning_rate = 0.1
weights = [W, b, W2, b2]
updates = [(w, w - learning_rate * g) for w, g in zip(weights, sg.grad(cost, weights))]
train = sg.function([x, y], [y_pred, cost], updates=updates, name="train")

print()
row("training", "computed", "the book")
y_first, cost_first = train(X, Y)
row("train(X, Y), predictions", places(y_first), "[0.18333462, 0.7425526, 0.7425526, 0.33430961]")
row("             cost", float(cost_first), "0.06948320612438118")
y_second, cost_second = train(X, Y)
row("train(X, Y), predictions", places(y_second), "[0.18353091, 0.74260499, 0.74321824, 0.33324929]")
row("             cost", float(cost_second), "0.06923193686092949")

# ---------------------------------------------------------------------------------------------------------- 6  the C

print(f"\nThe C of train is in {train.c_path}")
