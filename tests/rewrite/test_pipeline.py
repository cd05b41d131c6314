"""The passes together: all ops keep their values, the user's graph stays as it is, equal values are one."""

import numpy as np
import pytest

from symgraph.errors import GraphError
from symgraph.grad import grad
from symgraph.graph.node import Op, Variable
from symgraph.graph.traverse import ancestors, toposort
from symgraph.graph.types import TensorType
from symgraph.interpreter import evaluate
from symgraph.ops.creation import shared
from symgraph.ops.elementary import exp, log, sigmoid, tanh
from symgraph.ops.linalg import dot
from symgraph.ops.nn import softmax
from symgraph.rewrite.canonicalize import CANONICALIZE
from symgraph.rewrite.pipeline import passes, rewrite
from symgraph.rewrite.specialize import FINISH, ROWS, SPECIALIZE
from symgraph.rewrite.stabilize import STABILIZE


def subclasses(cls):
    for sub in cls.__subclasses__():
        yield from [sub, *subclasses(sub)]


OPS = sorted({op for op in subclasses(Op) if op.__module__.startswith("symgraph.")}, key=lambda op: op.__name__)


def shape_kinds(shape):
    """Lengths of 1 known, all known."""
    return [tuple(1 if n == 1 else None for n in shape), shape]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.__name__)
def test_each_op_and_its_gradient_keep_their_values(op, check):
    """Every example of every op, with shapes known and not."""
    rng = np.random.default_rng(0)
    for function, values in op.examples():
        arrays = [np.asarray(v) for v in values]
        for kind in range(2):
            types = [TensorType(str(v.dtype), shape_kinds(v.shape)[kind]) for v in arrays]
            inputs = [Variable(type, f"x{k}") for k, type in enumerate(types)]
            given = dict(zip(inputs, arrays, strict=True))
            try:
                out = function(*inputs)
            except (GraphError, ValueError, TypeError):
                assert kind == 0  # an example that needs its lengths known
                continue
            outputs = [out]
            floats = [x for x in inputs if x.type.is_float]
            if out.type.is_float and floats and kind == 1:
                weights = rng.normal(size=evaluate([out], given)[0].shape).astype(out.dtype)
                outputs += grad((out * weights).sum(), floats, disconnected_inputs="ignore")
            check(outputs, given, rtol=1e-5)
            if kind == 1:
                plain = rewrite(outputs, optimize=False)
                for value, expected in zip(evaluate(list(plain.outputs), given), evaluate(outputs, given), strict=True):
                    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)


def network(var):
    x, t = var("float64", 2, "x"), var("float64", 1, "t")
    w, b = shared(np.ones((3, 2)), "w"), shared(np.zeros(2), "b")
    h = sigmoid(dot(x, w) + b)
    h.name = "h"
    cost = ((h.sum(axis=1) - t) ** 2).mean()
    cost.name = "cost"
    return [h, cost, *[p - 0.1 * g for p, g in zip((w, b), grad(cost, [w, b]), strict=True)]]


def test_the_callers_graph_is_not_changed(var):
    outputs = network(var)
    before = [(x, x.name, x.owner, x.origin, x.type) for x in ancestors(outputs)]
    rewrite(outputs)
    assert before == [(x, x.name, x.owner, x.origin, x.type) for x in ancestors(outputs)]


def test_names_and_lines_are_kept(var):
    outputs = network(var)
    result = rewrite(outputs)
    assert [x.name for x in result.outputs[:2]] == ["h", "cost"]
    lines = {x.origin for x in ancestors(outputs)}
    assert all(x.origin in lines for x in ancestors(result.outputs) if x.owner is not None)


def test_the_result_says_what_was_done(var):
    result = rewrite(network(var))
    assert list(result.times) == ["canonicalize", "stabilize", "expand", "finish"]
    assert all(seconds >= 0 for seconds in result.times.values())
    assert {step.rule for step in result.trace} >= {"accumulate product", "expand unbroadcast"}
    assert all(step.why and step.before.dtype == step.after.dtype for step in result.trace)


def test_equal_parts_of_outputs_are_one(var):
    x = var("float64")
    first, second = rewrite([tanh(exp(x) + 1), tanh(1 + exp(x))]).outputs
    assert first is second


def test_without_optimization_there_is_only_expansion_and_merging(var):
    x = var("float64", 2)
    y = log(softmax(x * 1))
    result = rewrite([y, log(softmax(x * 1))], optimize=False)
    assert result.outputs[0] is result.outputs[1]
    assert {step.rule for step in result.trace} == {"expand"}
    labels = [node.op.label for node in toposort(result.outputs)]
    assert "log" in labels and "mul" in labels and "softmax" not in labels


def test_an_input_or_a_constant_may_be_an_output(var):
    x, c = var("float64"), shared(1.0)
    assert rewrite([x, c, x]).outputs == (x, c, x)
    assert rewrite([]).outputs == ()


def test_rewriting_again_changes_nothing(var, is_same):
    once = rewrite(network(var)).outputs
    for x, y in zip(once, rewrite(list(once)).outputs, strict=True):
        assert is_same(x, y)


def test_steps_are_linear_in_the_graph(var):
    def fired(n):
        x = var("float64", 2)
        y = x
        for _ in range(n):
            y = tanh(log(sigmoid(y)) * 1 + softmax(y) + y.zeros_like())
        result = rewrite([y, grad(y.sum(), x)])
        return len(result.trace), len(ancestors(result.outputs))

    small, large = fired(10), fired(20)
    assert all(b <= 2 * a + 20 for a, b in zip(small, large, strict=True))


def test_a_deep_gradient_is_rewritten(var):
    x = var("float64", 0)
    y = x
    for _ in range(3000):
        y = tanh(y * 1)
    result = rewrite([grad(y, x)])
    assert len(ancestors(result.outputs)) > 3000


@pytest.mark.parametrize("rule", [*CANONICALIZE, *STABILIZE, *ROWS, *SPECIALIZE, *FINISH], ids=lambda r: r.name)
def test_every_rule_has_a_name_and_a_reason_of_its_own(rule):
    assert rule.name and rule.why and rule.on
    names = [r.name for r in (*CANONICALIZE, *STABILIZE, *ROWS, *SPECIALIZE, *FINISH)]
    assert names.count(rule.name) == 1


def test_passes_are_made_once():
    assert passes() is passes()
