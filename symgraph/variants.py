"""What a compilation may take for granted about lengths, what it must check, and what a call that broke it shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from symgraph.graph.node import Apply, Constant, Op, Variable
from symgraph.graph.provenance import attributed_to
from symgraph.graph.traverse import ancestors, toposort
from symgraph.graph.types import Shape, TensorType
from symgraph.graph.values import as_constant
from symgraph.interpreter import evaluate
from symgraph.lower.shapes import SizedOperand
from symgraph.ops.gather import counted
from symgraph.ops.layout import SpecifyShape, length


@dataclass
class Facts:
    """What is known of the lengths of a call.

    shapes: lengths beyond those of a variable's type; None where nothing is known
    partial: indices that count 0, 1, 2, … beside others, but not to the end of their axis
    """

    shapes: dict[Variable, Shape] = field(default_factory=dict)
    partial: set[Variable] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.shapes or self.partial)


def refine(
    roots: Sequence[Variable], facts: Mapping[Variable, Shape], partial: Collection[Variable] = ()
) -> tuple[list[Variable], dict[Variable, Variable]]:
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
        op = replace(node.op, partial=True) if x in partial else node.op  # type: ignore[type-var]
        if op is not node.op or any(a is not b for a, b in zip(inputs, node.inputs, strict=True)):
            new[x] = Apply(op, inputs, x.origin, x.name).output
        if x in facts:
            now = new.get(x, x)
            if _merged(now.type.shape, facts[x]) != now.type.shape:
                new[x] = Apply(SpecifyShape(facts[x]), (now,), x.origin, x.name).output
    return [new.get(x, x) for x in roots], leaves


def stretched(
    roots: Sequence[Variable], values: Mapping[Variable, np.ndarray], trace: dict[Variable, np.ndarray] | None = None
) -> Facts:
    """Run the graph by its references and tell which lengths are not as they were taken for granted: those that are 1
    and broadcast, though no type says so, and those of indices that do not count to the end of their axis.

    All values are left in `trace`. Raises the error that the call makes, in the user's names, if it makes one.
    """
    trace = trace if trace is not None else {}
    evaluate(roots, values, trace)
    facts = Facts()
    for node in toposort(roots):
        short = [(i, x, axis) for i, x, axis in counted(node) if len(trace[i]) < trace[x].shape[axis]]
        facts.partial.update(i for i, _, _ in short)
        for x, axis in _stretched_axes(node, trace):
            if not any(x is i or (x, axis) == (y, k) for i, y, k in short):
                ones: list[int | None] = [None] * x.ndim
                ones[axis] = 1
                facts.shapes[x] = _merged(facts.shapes.get(x, (None,) * x.ndim), tuple(ones))
    return facts


def _stretched_axes(node: Apply, trace: Mapping[Variable, np.ndarray]) -> list[tuple[Variable, int]]:
    """The axes of a node's operands that are 1 where the op declares them equal to a length that is not."""
    lengths: dict[Variable, np.ndarray] = {}
    tags: dict[Variable, tuple[Variable, int]] = {}

    def sized(x: Variable) -> SizedOperand:
        own = []
        for axis, n in enumerate(trace[x].shape):
            length = Variable(TensorType("int64"))
            lengths[length] = np.asarray(n)
            tags[length] = (x, axis)
            own.append(length)
        scalar = x.ndim == 0 and not x.type.is_float
        return SizedOperand(x, Constant(as_constant(trace[x])) if scalar else x, tuple(own))

    found: list[tuple[Variable, int]] = []
    equal: dict[Variable, list[Variable]] = {}  # those that were 1 like this one, and are stretched with it

    def same(left: Variable, right: Variable) -> Variable:
        a, b = (int(v) for v in evaluate([left, right], lengths))
        if a == b == 1:
            equal[right] = [*equal.get(left, [left]), *equal.get(right, [right])]
        for n, value, partner in ((left, a, b), (right, b, a)):
            if value == 1 != partner:
                stretched = (tags[m] for m in equal.get(n, [n]) if m in tags)
                found.extend((x, axis) for x, axis in stretched if x.type.shape[axis] is None)
        return left if a != 1 else right

    node.op.shape(same, *map(sized, node.inputs))
    return found


def conditions(roots: Sequence[Variable]) -> list[Variable]:
    """Bool scalars that must hold for the expressions as they are written, whatever rewriting leaves of them."""
    found: list[Variable] = []
    for node in toposort(roots):
        if type(node.op).checks is not Op.checks:
            operands = [SizedOperand(x, x, tuple(length(x, axis) for axis in range(x.ndim))) for x in node.inputs]
            with attributed_to(node.output.origin):
                found += node.op.checks(*operands)
    return found


def _merged(first: Shape, second: Shape) -> Shape:
    return tuple(m if n is None else n for n, m in zip(first, second, strict=True))
