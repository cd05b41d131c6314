"""Teach a network to read handwritten digits, with one compiled training function.

The data are the 1,797 scanned digits that scikit-learn carries, 8 by 8 pixels each: nothing is downloaded. A fifth
of them is held out, and the network is judged by how many of those it reads rightly.

    python examples/digits.py [--epochs 30] [--batch-size 32] [--seed 0] [--floatX float32]
"""

import argparse
from time import perf_counter

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import symgraph as sg
import symgraph.tensor as T

HIDDEN = 256       # units between the pixels and the ten digits
RATE = 0.1         # learning rate of the first step; it falls in a straight line to 0 at the last
MOMENTUM = 0.9
NOISE = 0.2        # standard deviation of what is added to each pixel (0 to 1) in training, fresh every epoch


def read_digits(seed):
    """The training images and labels, then the held-out fifth; each image is a row of 64 numbers from 0 to 1."""
    digits = load_digits()
    images = (digits.data / 16).astype(sg.config.floatX)
    labels = digits.target.astype("int64")
    parts = train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=seed)
    train_images, test_images, train_labels, test_labels = parts
    return train_images, train_labels, test_images, test_labels


def compile_network(images, labels, batch_size, steps, rng, profile=False):
    """Two functions: `train(batch)` makes one step and returns its cost, `predict(images)` reads digits.

    `images` and `labels` are shared variables that hold the whole training set, so a step is told only the number of
    its mini-batch. Over `steps` steps the learning rate falls to 0. `profile` takes the time of every part of `train`.
    """
    def parameter(name, value):
        return sg.shared(np.asarray(value, dtype=sg.config.floatX), name)

    x, y = T.matrix("x"), T.lvector("y")
    W1 = parameter("W1", rng.normal(scale=np.sqrt(2 / 64), size=(64, HIDDEN)))
    b1 = parameter("b1", np.zeros(HIDDEN))
    W2 = parameter("W2", rng.normal(scale=np.sqrt(1 / HIDDEN), size=(HIDDEN, 10)))
    b2 = parameter("b2", np.zeros(10))

    h = T.nnet.relu(x @ W1 + b1)
    p_y = T.nnet.softmax(h @ W2 + b2)
    cost = -T.mean(T.log(p_y)[T.arange(y.shape[0]), y])       # compiled as log_softmax: no log of 0

    weights = [W1, b1, W2, b2]
    rate = parameter("rate", RATE)
    updates = [(rate, rate - RATE / steps)]
    for w, gradient in zip(weights, sg.grad(cost, weights)):
        velocity = parameter(f"{w.name}_velocity", np.zeros_like(w.get_value()))
        change = MOMENTUM * velocity - rate * gradient
        updates += [(velocity, change), (w, w + change)]

    batch = T.lscalar("batch")
    start, stop = batch * batch_size, (batch + 1) * batch_size
    givens = {x: images[start:stop], y: labels[start:stop]}
    train = sg.function([batch], cost, updates=updates, givens=givens, name="train", profile=profile)
    predict = sg.function([x], T.argmax(p_y, axis=1), name="predict")
    return train, predict


def fit(train, images, labels, batch_size, epochs, rng):
    """Run `train` over all mini-batches, `epochs` times, in a new order each time; return the seconds in its calls."""
    clean, truth = images.get_value(), labels.get_value()
    batches = len(clean) // batch_size                        # what is left over takes part in the next epoch
    seconds = 0.0
    with tqdm(total=epochs * batches, unit=" steps", desc="training") as progress:
        for _ in range(epochs):
            order = rng.permutation(len(clean))
            noise = rng.normal(scale=NOISE, size=clean.shape)
            images.set_value((clean + noise)[order].astype(clean.dtype))
            labels.set_value(truth[order])
            began = perf_counter()
            for batch in range(batches):
                cost = train(batch)
                progress.update()
            seconds += perf_counter() - began
            progress.set_postfix(cost=f"{float(cost):.4f}")
    return seconds


def report(train, right, steps_per_second):
    """Print how well it reads, how fast it learned, what compiling cost and where the C is."""
    print(f"\naccuracy   {right.mean():.2%} ({right.sum()} of {right.size} held-out digits)")
    print(f"speed      {steps_per_second:,.0f} steps a second")
    print(f"compiling  {sum(train.timings.values()) * 1000:.1f} ms, of which")
    for stage, seconds in train.timings.items():
        print(f"           {seconds * 1000:8.1f} ms  {stage}")
    print(f"C          {train.c_path or 'none: without a C compiler, numpy ran the graph'}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=30, help="times to go through the training set (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="images in a training step (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the split, the weights and the noise (%(default)s)")
    parser.add_argument("--floatX", choices=["float32", "float64"], default="float32", help="numbers (%(default)s)")
    chosen = parser.parse_args(arguments)

    sg.config.floatX = chosen.floatX
    rng = np.random.default_rng(chosen.seed)
    train_images, train_labels, test_images, test_labels = read_digits(chosen.seed)
    if not 1 <= chosen.batch_size <= len(train_images):
        parser.error(f"--batch-size must be from 1 to {len(train_images)}, the number of training images")
    if chosen.epochs < 1:
        parser.error("--epochs must be at least 1")
    images, labels = sg.shared(train_images, "images"), sg.shared(train_labels, "labels")

    steps = chosen.epochs * (len(train_images) // chosen.batch_size)
    train, predict = compile_network(images, labels, chosen.batch_size, steps, rng)
    seconds = fit(train, images, labels, chosen.batch_size, chosen.epochs, rng)
    right = predict(test_images) == test_labels
    report(train, right, steps / seconds)
    return right.mean()


if __name__ == "__main__":
    main()
