"""What a compilation may take for granted about lengths, and what a call that broke it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from symgraph.graph.node import Apply, Variable
from symgraph.graph.traverse import ancestors, toposort
from symgraph.graph.types import Shape, TensorType
from symgraph.interpreter import evaluate
from symgraph.ops.elementwise import Elementwise, Unbroadcast
from symgraph.ops.layout import BroadcastTo, SpecifyShape

Facts = dict[Variable, Shape]  # lengths that are known of a variable beyond its type; None where nothing is


def refine(roots: Sequence[Variable], facts: Mapping[Variable, Shape]) -> tuple[list[Variable], dict[Variable, Variable]]:
    """The same expressions in which the types of some variables know more, and what stands for each leaf.

    Raises ShapeError where known lengths do not fit together.
    """
    new: dict[Variable, Variable] = {}
    leaves: dict[Variable, Variable] = {}
    for x in ancestors(roots):
        if x.owner is None and x in facts:
            shape = _merged(x.type.shape, facts[x])
            new[x] = leaves[x] = Variable(TensorType(x.dtype, shape), x.name, None, x.origin)
    for node in toposort(roots):
        inputs = tuple(new.get(x, x) for x in node.inputs)
        x = node.output
        if any(a is not b for a, b in zip(inputs, node.inputs, strict=True)):
            new[x] = Apply(node.op, inputs, x.origin, x.name).output
        if x in facts:
            now = new.get(x, x)
            if _merged(now.type.shape, facts[x]) != now.type.shape:
                new[x] = Apply(SpecifyShape(facts[x]), (now,), x.origin, x.name).output
    return [new.get(x, x) for x in roots], leaves


def stretched(roots: Sequence[Variable], values: Mapping[Variable, np.ndarray]) -> Facts:
    """Run the graph by its references and tell which lengths are 1 and broadcast, though no type says so.

    Raises the error that the call makes, in the user's names, if it makes one.
    """
    trace: dict[Variable, np.ndarray] = {}
    evaluate(roots, values, trace)
    facts: Facts = {}
    for node in toposort(roots):
        if isinstance(node.op, Elementwise):
            operands, whole = node.inputs, trace[node.output].shape
        elif isinstance(node.op, BroadcastTo):
            operands, whole = node.inputs[:1], trace[node.output].shape
        elif isinstance(node.op, Unbroadcast):
            operands, whole = node.inputs[1:], trace[node.inputs[0]].shape
        else:
            continue
        for x in operands:
            own = trace[x].shape
            partner = whole[len(whole) - len(own) :]
            known = zip(x.type.shape, own, partner, strict=True)
            ones = tuple(1 if k is None and n == 1 != m else None for k, n, m in known)
            if any(ones):
                facts[x] = _merged(facts.get(x, (None,) * x.ndim), ones)
    return facts


def _merged(first: Shape, second: Shape) -> Shape:
    return tuple(m if n is None else n for n, m in zip(first, second, strict=True))
