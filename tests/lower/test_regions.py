"""What shares a loop nest, and what must not."""

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from codegen import ir
from codegen.visit import statements
from symgraph.graph.traverse import leaves

x, y = T.dmatrices("x", "y")
v, w = T.dvectors("v", "w")
z = T.dtensor3("z")
i = T.lvector("i")
labels = T.lvector("labels")
S = sg.shared(np.ones((3, 4)), "S")
h = T.tanh(x)
softmax = T.nnet.softmax(x)
rng = np.random.default_rng(0)
VALUES = {
    x: rng.normal(size=(5, 4)), y: rng.normal(size=(4, 3)), v: rng.normal(size=6), w: rng.normal(size=6),
    z: rng.normal(size=(5, 4, 3)), i: np.array([3, 0, 3]), labels: np.array([1, -1, 0, -3, 2]),
}  # fmt: skip


def inputs_of(outputs):
    used = set(leaves(outputs))
    return [variable for variable in VALUES if variable in used]


def nests(lowered, *outputs):
    """The nests of a function, in order, and how many passes over the rows each makes."""
    steps = lowered(inputs_of(outputs), outputs).steps
    passes = [[isinstance(s, (ir.For, ir.Runs)) for s in step.kernels[0].body] for step in steps if step.kernels]
    return [(step.name, sum(found)) for step, found in zip((s for s in steps if s.kernels), passes, strict=True)]


def check_values(*outputs):
    """That the compiled function gives what the interpreter does."""
    inputs = inputs_of(outputs)
    arrays = [VALUES[variable] for variable in inputs]
    compiled = sg.function(inputs, list(outputs))(*arrays)
    for got, expected in zip(compiled, sg.function(inputs, list(outputs), mode="numpy")(*arrays), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)


centered = x - x.mean(axis=1, keepdims=True)
ONE_NEST = {
    "a chain of elementwise ops": [T.exp(T.tanh(x) * 2 + 1) - x],
    "a value used twice": [h * h + h],
    "two results of one array": [x + 1, x * 2],
    "an intermediate that is a result": [h, h * 2],
    "rows and what belongs to them": [x * w[:4] + x[:, :1]],
    "sums over everything": [x.sum(), (x * x).sum(), x.max()],
    "a sum with what it sums": [h, h.sum()],
    "a sum of each row, used for the row": [x / x.sum(axis=1, keepdims=True)],
    "softmax": [softmax],
    "log softmax": [T.log_softmax(x)],
    "normalized rows": [centered / T.sqrt((centered**2).mean(axis=1, keepdims=True) + 1e-5)],
    "a row reduction of a row reduction": [(softmax * x).sum(axis=1)],
    "sums of the columns while values pass": [h, h.sum(axis=0)],
    "bias gradient of softmax": [softmax, (softmax - 1).sum(axis=0)],
    "argmax beside the maximum": [T.argmax(x, axis=1), x.max(axis=1)],
    "shifted reads of an input": [v[1:] * v[:-1]],
    "shared rows from both ends": [S + S[::-1]],
    "a transposed read of an input": [T.exp(x.T) + 1],
    "taken rows": [T.exp(x[0]) + x[1]],
    "a sum within a row that needs one of the whole row": [
        T.exp(z - z.max(axis=(1, 2), keepdims=True)).sum(axis=2) + z.max(axis=(1, 2))[:, None]
    ],
}


@pytest.mark.parametrize("case", ONE_NEST)
def test_one_nest(lowered, case):
    assert len(nests(lowered, *ONE_NEST[case])) == 1
    check_values(*ONE_NEST[case])


e = T.exp(v)
sums = T.exp(z).sum(axis=2)
APART = {
    "sums within rows, then what is left of all sums of a row": ([T.nnet.softmax(sums)], 2),
    "the same by parts": ([sums / sums.sum(axis=1, keepdims=True)], 2),
    "a sum within a row, and one of the whole row": ([sums - z.max(axis=(1, 2))[:, None]], 2),
    "neighbours of a computed value": ([e[1:] * e[:-1]], 2),
    "a computed value backwards": ([e + e[::-1]], 2),
    "a computed value and its transpose": ([T.dot(x.T, x) + T.dot(x, x.T).sum(), softmax[:4] + softmax[:4].T], None),
    "gathering from a computed value": ([e[i]], None),
    "columns before they are used": ([x / h.sum(axis=0)], 2),
    "through a library call": ([T.dot(h, y).sum() + h.sum()], None),
    "results without an array in common": ([v + 1, x * 2], 2),
}


@pytest.mark.parametrize("case", APART)
def test_several_nests(lowered, case):
    outputs, count = APART[case]
    found = nests(lowered, *outputs)
    assert len(found) == count if count else len(found) > 1
    check_values(*outputs)


def test_a_total_is_complete_before_it_is_used(lowered):
    """In a nest of its own or in a pass before."""
    assert sum(passes for _, passes in nests(lowered, T.tanh(v) / T.tanh(v).sum())) == 2
    check_values(T.tanh(v) / T.tanh(v).sum())


def test_steps_wait_for_the_calls_between_them(lowered):
    """h is read by a product and by what uses the product: no nest may both make h and use the product."""
    product = T.dot(h, y)
    after = T.tanh(product) + h.sum()
    program = lowered([x, y], [after, h * 2]).program
    names = [s.name for s in statements(program.run) if isinstance(s, ir.Call)]
    position = names.index("sg_gemm_f64")
    assert 0 < position < len(names) - 1
    check_values(after, h * 2)


def test_chains_of_products_and_nests_alternate(lowered):
    value, square = x, T.dot(y, y.T)
    for _ in range(6):
        value = T.tanh(T.dot(value, square)) + value
    check_values(value, value.sum())


def test_a_long_chain_is_split(lowered):
    """Into functions that the C compiler takes in linear time; their number grows with the chain."""
    value = v
    counts = []
    for length in (200, 400):
        value = v
        for _ in range(length):
            value = T.tanh(value) * 0.9 + w
        counts.append(len(nests(lowered, value)))
    assert 1 < counts[0] < counts[1] < 30
    check_values(value)


def test_without_fusion_every_op_has_a_nest_of_its_own(lowered):
    outputs = [T.exp(T.tanh(x) * 2 + 1) - x]
    assert len(lowered([x], outputs).steps) == 1 < len(lowered([x], outputs, fuse=False).steps)


def test_cycles_are_impossible(lowered):
    """Two values of one nest, of which one needs a call that needs the other."""
    first = T.exp(x)
    second = T.dot(first, y).sum(axis=1, keepdims=True) * x
    check_values(first + second, first - second, second.sum(axis=0))


def test_checks_come_before_what_they_guard(lowered):
    program = lowered([x, i], [T.exp(x)[i] + 1]).program
    stops = [position for position, s in enumerate(program.run) if isinstance(s, ir.If)]
    reads = [position for position, s in enumerate(program.run) if isinstance(s, ir.Call)]
    assert stops and max(reads) > max(stops)


CLASSIFIERS = {
    "of logits": (x, 1),
    "of a product and a bias": (T.dot(x, y) + w[:3], 2),
    "of values that are picked from memory": (T.tanh(x) * x.mean(axis=0), 3),
}


@pytest.mark.parametrize("written", ["arange", "categorical_crossentropy"])
@pytest.mark.parametrize("case", CLASSIFIERS)
def test_a_cross_entropy_and_its_gradient_are_made_in_one_nest(lowered, case, written):
    """After that which checks the labels, and those that must be complete before."""
    logits, before = CLASSIFIERS[case]
    p = T.nnet.softmax(logits)
    if written == "arange":
        cost = -T.mean(T.log(p)[T.arange(labels.shape[0]), labels])
    else:
        cost = T.mean(T.nnet.categorical_crossentropy(p, labels))
    delta = sg.grad(cost, logits)
    outputs = [cost, p, delta, delta.sum(axis=0), T.eq(T.argmax(p, axis=1), labels).mean()]
    found = nests(lowered, *outputs)
    assert len(found) <= before + 2
    check_values(*outputs)


def test_what_waits_for_a_check_takes_in_what_it_reads(lowered):
    """Also where a product reads that too, later; and where it is a result."""
    picked = x[T.arange(x.shape[0]), labels]
    scaled = T.exp(x) * picked.dimshuffle(0, "x")
    assert len(nests(lowered, scaled.sum(axis=1), T.exp(x))) == 2
    check_values(scaled.sum(axis=1), T.exp(x), T.dot(scaled, y), T.dot(T.exp(x), y))


def test_nests_of_one_stage_that_read_the_same_are_one(lowered):
    """Rows of what two nests make, read by one that makes rows and by one that makes a number."""
    first, second = T.exp(x).sum(axis=1), T.tanh(T.dot(x, T.dot(y, y.T))).sum(axis=1)
    outputs = [(first * second).sum(), x * (first + second).dimshuffle(0, "x")]
    check_values(*outputs)
    assert len(nests(lowered, *outputs)) == 1
