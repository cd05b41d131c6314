"""What a figure shows of a graph: which variables get a box, between which of them arrows run, and what ops are called.

Three things need no box of their own. A number (`2` in `x ** 2`) is written into its user's label, and so is a length
(`x.shape[0]`) and what is computed of numbers and lengths alone. Bookkeeping of broadcasting changes no element, so an
arrow passes through it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from symgraph.graph.node import Apply, Constant, Op, Variable
from symgraph.graph.printing import Term, name_of
from symgraph.graph.printing import shown as shown_name
from symgraph.graph.traverse import ancestors
from symgraph.lower.steps import Step
from symgraph.ops.axes import DimShuffle
from symgraph.ops.elementwise import Cast, Elementwise, Unbroadcast
from symgraph.ops.joining import Join
from symgraph.ops.layout import BroadcastTo, Length, ShapeOf, SpecifyShape
from symgraph.visual.values import number

LONGEST_NUMBER = 32  # characters of a number or length written into a label
LONGEST_OPERAND = 16  # characters of a name in a label
LONGEST_LABEL = 40
DRAWN = "•"  # stands for an operand that has a box but no name
SIGNS = {"+": "+", "*": "×"}  # of ops whose operands' order does not matter
PRIVATE = 0xE000  # the first character of Unicode's private use area; names never show one
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

Group = tuple[object, ...]


@dataclass(frozen=True)
class Outline:
    """The variables that get a box, inputs before users, and the operands of each that arrows come from.

    roots: the variables asked for
    names: of all variables that have one, as they are shown
    numbers: what is written into labels
    through: for each variable that an arrow passes through the one from which it comes
    idle: variables with a box though their op is bookkeeping
    """

    roots: tuple[Variable, ...]
    drawn: tuple[Variable, ...]
    operands: Mapping[Variable, tuple[Variable, ...]]
    names: Mapping[Variable, str]
    numbers: Mapping[Variable, Term]
    through: Mapping[Variable, Variable]
    idle: frozenset[Variable] = frozenset()

    def label(self, x: Variable) -> str:
        """What the box of an op's result says about the op: sigmoid, + or x @ W."""
        assert x.owner is not None
        op, inputs = x.owner.op, x.owner.inputs
        if isinstance(op, Unbroadcast):
            return f"{'' if x in self.idle else 'sum '}to the shape of {self._operand(inputs[1]).text}"
        sign = SIGNS.get(op.function.infix) if isinstance(op, Elementwise) else None
        if sign and len(self.operands[x]) == len(inputs):
            return sign
        if len(inputs) == 1:
            written = op.format(Term(DRAWN, "atom", inputs[0].type))
            called = f"{op.label}({DRAWN}"
            if isinstance(written, str) and written.startswith(called):
                return op.label + written[len(called) :].removesuffix(")").replace(", ", " ", 1)
        text = typeset(op, [self._operand(v) for v in inputs]).text
        return text if len(text) <= LONGEST_LABEL else op.label

    def expression(self, members: Sequence[Variable]) -> str:
        """The last of some variables in terms of the operands that are not among them; empty where it is long."""
        terms: dict[Variable, Term] = {}
        for x in members:
            if x.owner is None:
                return ""
            operands = [terms.get(self.through.get(v, v)) or self._operand(v) for v in x.owner.inputs]
            terms[x] = typeset(x.owner.op, operands)
            if len(terms[x].text) > LONGEST_LABEL:
                return ""
        return terms[members[-1]].text

    def _operand(self, x: Variable) -> Term:
        if x in self.numbers:
            return self.numbers[x]
        name = self.names.get(self.through.get(x, x), "")
        return Term(name if 0 < len(name) <= LONGEST_OPERAND else DRAWN, "atom", x.type)


def typeset(op: Op, operands: Sequence[Term]) -> Term:
    """An op with its operands as `Op.format` writes it, but with the signs of mathematics: x − 2 × y²."""
    stand_ins = [Term(chr(PRIVATE + k), x.level, x.type) for k, x in enumerate(operands)]
    written = op.format(*stand_ins)
    text, level = written if isinstance(written, tuple) else (written, "atom")
    text = re.sub(r"(?<![\w*])-(?=[( -\ue000-\uf8ff])", "−", text).replace(" * ", " × ")
    for stand_in, operand in zip(stand_ins, operands, strict=True):
        if operand.text == "1" and len(operands) > 2:
            text = text.replace(f"{stand_in.text} × ", "")
    if len(operands) == 2 and text.endswith(f"**{stand_ins[1]}") and re.fullmatch(r"\d", operands[1].text):
        text = text[:-3] + operands[1].text.translate(SUPERSCRIPTS)
    for stand_in, operand in zip(stand_ins, operands, strict=True):
        text = text.replace(stand_in.text, operand.text)
    return Term(text, level, operands[0].type if operands else stand_ins[0].type)


def outline(
    roots: Sequence[Variable],
    assigned: Mapping[Variable, str],
    values: Mapping[Variable, np.ndarray],
    *,
    tidy: bool = True,
) -> Outline:
    """The outline of the graph of some variables.

    assigned: names for variables that have none; values: of variables, where known; tidy: without it, all has a box
    """
    order = ancestors(roots)
    names = {x: name_of(x) or shown_name(assigned[x]) for x in order if x.name or x in assigned}
    numbers: dict[Variable, Term] = {}
    through: dict[Variable, Variable] = {}
    found = Outline(tuple(roots), (), {}, names, numbers, through)
    asked = set(roots)
    if tidy:
        for x in order:
            if x in asked or x in names:
                continue
            term = _number(x, found, values)
            if term is not None:
                numbers[x] = term
            elif x.owner is not None and _is_bookkeeping(x.owner, values):
                source = x.owner.inputs[0]
                if source in numbers:
                    numbers[x] = numbers[source]
                else:
                    through[x] = through.get(source, source)
    operands = {x: _operands(x, numbers, through) for x in order if x not in numbers and x not in through}
    wanted = set(roots)
    for x in reversed(order):
        if x in wanted:
            wanted.update(operands[x])
    drawn = tuple(x for x in order if x in wanted)
    idle = frozenset(x for x in drawn if x.owner is not None and _is_bookkeeping(x.owner, values))
    return Outline(tuple(roots), drawn, operands, names, numbers, through, idle)


def _operands(
    x: Variable, numbers: Mapping[Variable, Term], through: Mapping[Variable, Variable]
) -> tuple[Variable, ...]:
    if x.owner is None:
        return ()
    inputs = x.owner.inputs
    if isinstance(x.owner.op, Unbroadcast) and (numbers or through):
        inputs = inputs[:1]
    return tuple(through.get(v, v) for v in inputs if v not in numbers)


def _number(x: Variable, found: Outline, values: Mapping[Variable, np.ndarray]) -> Term | None:
    """What is written for a number, a length, or what is computed of them alone; None for everything else."""
    if isinstance(x, Constant):
        return _written(x.data, x) if x.data.size == 1 else None
    if x.owner is None:
        return None
    if not isinstance(x.owner.op, (Length, ShapeOf)):
        whole = x.ndim == 0 or isinstance(x.owner.op, Join)
        if not whole or not x.owner.inputs or any(v not in found.numbers for v in x.owner.inputs):
            return None
    if x in values and x.ndim == 0:
        return _written(values[x], x)
    if isinstance(x.owner.op, Cast):
        return found.numbers[x.owner.inputs[0]]
    term = typeset(x.owner.op, [found._operand(v) for v in x.owner.inputs])
    return term if len(term.text) <= LONGEST_NUMBER else Term("…", "atom", x.type)


def _written(value: np.ndarray, x: Variable) -> Term:
    text = number(value.reshape(())[()]).replace("-", "−", 1)
    return Term(text, "unary" if text.startswith("−") else "atom", x.type)


def _is_bookkeeping(node: Apply, values: Mapping[Variable, np.ndarray]) -> bool:
    """Whether an op only stretches, or would sum over what was stretched but nothing was."""
    match node.op:
        case BroadcastTo() | SpecifyShape():
            return True
        case DimShuffle(order=order):
            kept = [axis for axis in order if isinstance(axis, int)]
            return kept == sorted(kept)
        case Unbroadcast():
            g, x = node.inputs
            if g in values and x in values:
                return values[g].shape == values[x].shape
            return g.ndim == x.ndim and all(n != 1 or m == 1 for n, m in zip(x.type.shape, g.type.shape, strict=True))
    return False


# -- groups: several variables in one box

MANY_LEAVES = 8  # made on one line, from which on they share a box


def by_line(found: Outline) -> dict[Variable, Group]:
    """One group for each line of the user's program, apart from what was derived from it; single values stay single."""
    groups: dict[Variable, Group] = {}
    for x in found.drawn:
        if x.owner is not None:
            groups[x] = ("line", x.origin, x.origin.derived)
        else:
            groups[x] = ("leaves", x.origin, type(x))
    counts: dict[Group, int] = {}
    for group in groups.values():
        counts[group] = counts.get(group, 0) + 1
    return {x: g for x, g in groups.items() if counts[g] > (1 if g[0] == "line" else MANY_LEAVES)}


def by_region(found: Outline, steps: Iterable[Step]) -> dict[Variable, Group]:
    """One group for each loop nest or call that computes more than one of the values drawn."""
    groups: dict[Variable, Group] = {}
    for k, step in enumerate(steps):
        members = [x for x in step.made if x in found.operands]
        if len(members) > 1:
            groups.update((x, ("region", k, step.name)) for x in members)
    return groups


def around(found: Outline, variables: Iterable[Variable]) -> dict[Variable, Group]:
    """For each of some variables a group of it and the operands, and theirs, that its line made."""
    groups: dict[Variable, Group] = {}
    for k, x in enumerate(variables):
        stack = [x] if x in found.operands and x.owner is not None else []
        while stack:
            v = stack.pop()
            if v not in groups:
                groups[v] = ("around", k)
                same = (o for o in found.operands[v] if o.owner is not None)
                stack.extend(o for o in same if o.origin == x.origin and o.origin.derived == x.origin.derived)
    return groups


_COMMENT = re.compile(r"\s+#(?:\s.*)?$")


def source_text(x: Variable) -> str:
    """The user's line that made a variable, without a comment at its end; empty where it cannot be read."""
    return _COMMENT.sub("", x.origin.text)
