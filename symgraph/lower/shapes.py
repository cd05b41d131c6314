"""The lengths of every value as integer scalars, which of them are equal, and what a call must check at its entry.

Lengths are graph variables: constants, symbols for the lengths of inputs, and integer expressions of both. Equal
expressions are one variable, and lengths that an op declares equal are merged, so two lengths are known to be equal
exactly if they are the same object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from itertools import chain

from symgraph.graph.node import Apply, Constant, Variable, as_variable
from symgraph.graph.traverse import toposort
from symgraph.graph.types import TensorType
from symgraph.graph.values import as_constant
from symgraph.ops.elementary import eq, ge, le
from symgraph.ops.elementwise import ONE, Cast, Elementwise
from symgraph.ops.layout import Length

Lengths = tuple[Variable, ...]

REFLEXIVE = (eq, le, ge)  # hold between an integer and itself


@dataclass(frozen=True)
class SizedOperand:
    """What an op's `shape` and `checks` see of an operand."""

    variable: Variable
    value: Variable
    shape: Lengths


@dataclass
class Shapes:
    """The result of the analysis.

    lengths: of each variable in the graph
    values: what an integer scalar of the graph is in terms of lengths, constants and scalar inputs
    symbols: (input, axis) of each symbol
    equalities: pairs of lengths to compare at the entry of a call, with a variable that needs them to be equal
    conditions: bool scalars that must hold, with the variable that must wait for them, if one must
    """

    lengths: dict[Variable, Lengths] = field(default_factory=dict)
    values: dict[Variable, Variable] = field(default_factory=dict)
    symbols: dict[Variable, tuple[Variable, int]] = field(default_factory=dict)
    equalities: list[tuple[Variable, Variable, Variable]] = field(default_factory=list)
    conditions: list[tuple[Variable, Variable | None]] = field(default_factory=list)

    def of(self, x: Variable) -> Lengths:
        """The lengths of a variable, merged."""
        return tuple(self.find(n) for n in self.lengths[x]) if x.ndim else ()

    def find(self, n: Variable) -> Variable:
        """The length that stands for all that are equal to `n`."""
        while (parent := self._parent.get(n)) is not None:
            n = parent
        return n

    def same(self, left: Variable, right: Variable) -> Variable:
        """Declare two lengths equal; what is not known is compared at the entry of a call."""
        left, right = self.find(self.canonical(left)), self.find(self.canonical(right))
        if left is right:
            return left
        self.equalities.append((left, right, self.needing))
        kept, merged = sorted((left, right), key=self._preference)
        self._parent[merged] = kept
        return kept

    def is_host(self, x: Variable) -> bool:
        """Whether an integer or bool scalar follows from lengths and scalar inputs alone, without any array."""
        return x in self._host

    def canonical(self, x: Variable) -> Variable:
        """The one variable that stands for an integer scalar and everything computed alike."""
        if x.owner is None:
            return self._leaf(x)
        if x not in self.values:
            for node in toposort([x], stop=self._met):
                self._number(node)
        return self.values[x]

    def merged(self, condition: Variable) -> Variable:
        """A condition, as one variable with all those computed alike, its nodes given their lengths."""
        new: dict[Variable, Variable] = {}
        for node in toposort([condition], stop=self._met):
            inputs = tuple(new[x] if x in new else self._leaf(x) if x.owner is None else x for x in node.inputs)
            key = (node.op, inputs)
            if key not in self._numbered:
                same_inputs = all(a is b for a, b in zip(inputs, node.inputs, strict=True))
                made = node if same_inputs else Apply(node.op, inputs, node.output.origin, node.output.name)
                _infer_node(self, made)
                self._numbered.setdefault(key, made.output)
            x = self._numbered[key]
            new[node.output] = self.values.get(x, x)
        if condition in new:
            return new[condition]
        return self._leaf(condition) if condition.owner is None else self.values.get(condition, condition)

    def _number(self, node: Apply) -> None:
        """Give the output of a node, if it is an integer scalar, the variable that stands for it."""
        x = node.output
        if x.ndim or x in self.values or x.type.is_float:
            return
        if isinstance(node.op, Length) and node.inputs[0] in self.lengths:
            self.values[x] = self.lengths[node.inputs[0]][node.op.axis]
            return
        inputs = tuple(self._leaf(y) if y.owner is None else self.values.get(y, y) for y in node.inputs)
        if not isinstance(node.op, (Elementwise, Cast)) or any(y.type.is_float or y.ndim for y in inputs):
            self.values[x] = x
            return
        inputs = tuple(self.find(y) for y in inputs)
        known = [y.data for y in inputs if isinstance(y, Constant)]
        if len(known) == len(inputs):
            self.values[x] = self._leaf(Constant(as_constant(node.op.reference(*known), x.dtype)))
            return
        if isinstance(node.op, Elementwise) and node.op.function in REFLEXIVE and inputs[0] is inputs[1]:
            self.values[x] = self._leaf(Constant(as_constant(True)))
            return
        commutes = isinstance(node.op, Elementwise) and node.op.function.commutative
        key = (node.op, tuple(sorted(inputs, key=id)) if commutes else inputs)
        if key not in self._numbered:
            new = Apply(node.op, inputs, x.origin, x.name).output if inputs != node.inputs else x
            self._numbered[key] = self.values[new] = new
            self.lengths.setdefault(new, ())
            if all(y in self._host for y in inputs):
                self._host[new] = None
        self.values[x] = self._numbered[key]

    def _leaf(self, x: Variable) -> Variable:
        if x in self.values:
            return self.values[x]
        value = x
        if isinstance(x, Constant):
            value = self._constants.setdefault((x.dtype, x.data.shape, x.data.tobytes()), x)
        if x.ndim == 0 and not x.type.is_float:
            self._host[value] = None
        self.values[x] = value
        return value

    def _preference(self, n: Variable) -> tuple[int, int]:
        kind = 0 if isinstance(n, Constant) else 1 if n in self.symbols else 2
        return kind, self._order.setdefault(n, len(self._order))

    def __post_init__(self) -> None:
        self._parent: dict[Variable, Variable] = {}
        self._numbered: dict[tuple[object, tuple[Variable, ...]], Variable] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Variable] = {}
        self._host: dict[Variable, None] = {}
        self._order: dict[Variable, int] = {}
        self.needing: Variable = ONE  # whose lengths are being looked at
        self._met = _Met(self)

    def add_leaf(self, x: Variable) -> None:
        """Give an input, shared variable or constant its lengths: constants where known, else new symbols."""
        lengths = []
        for axis, known in enumerate(x.type.shape):
            if known is None:
                n = Variable(TensorType("int64"), f"{x.name or 'array'}_{axis}", origin=x.origin)
                self.symbols[n] = (x, axis)
            else:
                n = as_variable(known)
            lengths.append(self._leaf(n))
        self.lengths[x] = tuple(lengths)


class _Met(Set[Variable]):
    """The variables that the analysis has met, seen as a set without a copy."""

    def __init__(self, shapes: Shapes):
        self._shapes = shapes

    def __contains__(self, x: object) -> bool:
        return x in self._shapes.values or x in self._shapes.lengths

    def __iter__(self) -> Iterator[Variable]:
        return chain(self._shapes.values, self._shapes.lengths)

    def __len__(self) -> int:
        return len(self._shapes.values) + len(self._shapes.lengths)


def infer_shapes(outputs: Sequence[Variable], leaves: Iterable[Variable], written: Sequence[Variable] = ()) -> Shapes:
    """The lengths of every value that `outputs` need, over symbols for the lengths of `leaves`; linear in the graph.

    Lengths that must be equal in `written`, the expressions before they were rewritten, count as well.
    """
    shapes = Shapes()
    for x in leaves:
        shapes.add_leaf(x)
    for node in toposort(written):
        _infer_node(shapes, node)
    for node in toposort(outputs):
        _infer_node(shapes, node, conditions=True)
    return shapes


def _infer_node(shapes: Shapes, node: Apply, conditions: bool = False) -> None:
    """Give the output of a node its lengths; with `conditions`, note also what must hold before it is computed."""
    for x in node.inputs:
        if x not in shapes.lengths:
            shapes.add_leaf(x)
    operands = [_operand(shapes, x) for x in node.inputs]
    shapes.needing = node.output
    declared = node.op.shape(shapes.same, *operands)
    shapes.lengths[node.output] = tuple(
        shapes.find(shapes.canonical(n)) if known is None else shapes.canonical(as_variable(known))
        for n, known in zip(declared, node.output.type.shape, strict=True)
    )
    shapes._number(node)
    inputs = tuple(shapes._leaf(x) if isinstance(x, Constant) else shapes.values.get(x, x) for x in node.inputs)
    shapes._numbered.setdefault((node.op, inputs), node.output)
    for condition in node.op.checks(*operands) if conditions else ():
        shapes.conditions.append((shapes.merged(condition), node.output))


def _operand(shapes: Shapes, x: Variable) -> SizedOperand:
    value = shapes.canonical(x) if x.ndim == 0 and not x.type.is_float else x
    return SizedOperand(x, value, shapes.of(x))
