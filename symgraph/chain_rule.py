"""`explain_grad`: the chain rule of one gradient, written out value by value, with numbers that are checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph.grad import grad
from symgraph.graph.assigned import assigned_names
from symgraph.graph.node import Apply, Constant, Variable, Written
from symgraph.graph.printing import PYTHON, Names, Notation, Term, excerpt, excerpt_term, name_of, shown
from symgraph.graph.traverse import ancestors, toposort
from symgraph.graph.types import TensorType
from symgraph.interpreter import evaluate
from symgraph.latex import Formula, TeX, numbers, stretched, verbatim
from symgraph.ops.axes import DimShuffle
from symgraph.ops.elementwise import Elementwise, Unbroadcast
from symgraph.ops.layout import BroadcastTo, SpecifyShape
from symgraph.ops.reduce import Sum
from symgraph.visual.figure import given_arrays
from symgraph.visual.values import MOST_NUMBERS
from symgraph.visual.values import shown as shown_value

MOST_LINKS = 30  # values written out
MOST_SHARES = 8  # uses of one value written out
MOST_CHECKED = 24  # elements that are moved to check derivatives, divided among the variables
MOST_INSIDE = 8  # applications of an operand written out in a formula
DELTA = "δ"


@dataclass(frozen=True)
class Share:
    """What reaches a value through one use of it.

    through: the name of the result that uses it
    formula, latex: the share, in terms of names and of the derivative by that result
    each: the formula is one number, which every element gets
    local: the derivative of the result by the value, element by element or of a result of one element; otherwise None
    value: the share itself, at the point
    """

    through: str
    formula: str
    latex: str
    each: bool
    local: np.ndarray | None = None
    value: np.ndarray | None = None


@dataclass(frozen=True)
class Link:
    """One value on the way from the cost to the variables asked for.

    name, symbol: its name, in text and in LaTeX; t1, t2, … where the user gave none
    formula, latex: its expression in terms of names; empty for an input
    shares: of the derivative of the cost by it, for the first uses on the way; empty for the cost itself
    more: how many uses there are beyond these
    value, gradient: at the point, if one was given
    """

    variable: Variable
    name: str
    symbol: str
    formula: str
    latex: str
    shares: tuple[Share, ...]
    more: int = 0
    value: np.ndarray | None = None
    gradient: np.ndarray | None = None


@dataclass(frozen=True)
class Check:
    """A derivative beside central differences.

    error: the largest among `count` of its `size` elements
    agrees: whether no error is larger than that of the differences themselves, as those of twice the step tell it
    """

    name: str
    count: int
    size: int
    error: float
    agrees: bool

    def __str__(self) -> str:
        some = "all" if self.count == self.size else f"{self.count} of"
        which = "" if self.size == 1 else f" in {some} its {self.size} elements"
        verdict = "agrees with" if self.agrees else "DIFFERS FROM"
        return f"{DELTA}{self.name} {verdict} finite differences: at most {self.error:.1e} apart{which}"


@dataclass(frozen=True, repr=False)
class ChainRule:
    """The derivatives of a cost, written out. `str` is a text, `latex` an `aligned` environment (amsmath).

    cost: its name; targets: the names of the variables asked for
    links: the values on the way, users before operands, as far as they are written out
    omitted: for each number of links before it, what is left out there
    checks: of the derivatives asked for, by finite differences, if a point was given; of many only the first
    """

    cost: str
    targets: tuple[str, ...]
    links: tuple[Link, ...]
    omitted: Mapping[int, str]
    checks: tuple[Check, ...]
    symbol: str

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        yield f"The derivative of {self.cost} by {', '.join(self.targets)}; {DELTA}v stands for ∂{self.cost}/∂v."
        yield ""
        for k, link in enumerate(self.links):
            if k in self.omitted:
                yield f"… {self.omitted[k]} …"
            yield from _text(link)
        if self.checks:
            yield ""
            yield from map(str, self.checks)
            if len(self.checks) < len(self.targets):
                yield f"… and {len(self.targets) - len(self.checks)} more, which are not checked"

    @property
    def latex(self) -> str:
        """The same as formulas, one line for each value and one for each derivative."""
        lines = []
        for k, link in enumerate(self.links):
            if k in self.omitted:
                lines.append(rf"& \ldots{{}}\ {verbatim(self.omitted[k])}")
            lines += _formulas(link, self.symbol)
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex}$"


def _text(link: Link) -> Iterator[str]:
    origin = f"    {link.variable.origin}" if link.formula else ""
    yield f"{link.name}{' = ' + link.formula if link.formula else ''}{_equals(link.value)}{origin}"
    name = f"{DELTA}{link.name}"
    if not link.shares:
        yield f"    {name} = 1"
    for k, share in enumerate(link.shares):
        lead = f"{name} =" if k == 0 else f"{'+':>{len(name) + 2}}"
        each = " to each element" if share.each else ""
        local = f"    with ∂{share.through}/∂{link.name}{_equals(share.local)}" if share.local is not None else ""
        yield f"    {lead} {share.formula}{each}{_equals(share.value)}{local}"
    if link.more:
        yield f"    {'+':>{len(name) + 2}} … {link.more} more"
    if len(link.shares) > 1 and link.gradient is not None:
        yield f"    {'=':>{len(name) + 2}} {shown_value(link.gradient).text}"


def _equals(value: np.ndarray | None) -> str:
    return "" if value is None else f" = {shown_value(value).text}"


def _formulas(link: Link, cost: str) -> Iterator[str]:
    if link.formula or link.value is not None:
        yield f"{link.symbol} &{f'= {link.latex} ' if link.latex else ''}{_tex_value(link.value).strip()}".rstrip()
    total = " + ".join([share.latex for share in link.shares] + [r"\ldots{}"] * bool(link.more)) or "1"
    yield f"{_partial(cost, link.symbol)} &= {total}{_tex_value(link.gradient) if link.shares else ''}"


def _tex_value(value: np.ndarray | None) -> str:
    if value is None:
        return ""
    text = shown_value(value).text
    return f" = {numbers(text) if 0 < value.size <= MOST_NUMBERS else verbatim(text)}"


def _partial(cost: str, by: str) -> str:
    return rf"\frac{{\partial {cost}}}{{\partial {by}}}"


def explain_grad(
    cost: Variable, wrt: Variable | Sequence[Variable], at: Mapping[Any, Any] | None = None
) -> ChainRule:
    """The chain rule from a cost back to some variables, node by node.

    cost: a float scalar; wrt: one variable or several
    at: {input: value}, by variable or by name: each value, each local derivative and each derivative of the cost is
        given there, and those asked for are compared with finite differences. Shared variables have their present value

    Of a large graph the two ends are written out, and what is between them is counted.
    Raises GradientError as `grad` does; MissingInputError, ShapeError or DtypeError where `at` does not fit, TypeError
    for a name in it that no input has.
    Source: Griewank and Walther, Evaluating Derivatives (2008), section 3.2 (reverse mode), equation 1.2 (differences).
    """
    targets = [wrt] if isinstance(wrt, Variable) else list(wrt)
    grad(cost, targets)  # raises what is to be raised
    values: dict[Variable, np.ndarray] = {}
    given: dict[Variable, np.ndarray] = {}
    if at is not None:
        given = given_arrays([cost], at)
        evaluate([cost], given, values)
    sweep = _Sweep(cost, targets, values)
    path = list(sweep.uses)
    kept, omitted = _ends(path, set(targets))
    writer = _Writer(cost, path)
    links = tuple(writer.link(x, sweep) for x in kept)
    names = tuple(writer.word(x) for x in targets)
    checks: tuple[Check, ...] = ()
    if values:
        few = max(1, MOST_CHECKED // max(1, len(targets)))
        moved = list(zip(targets, names, strict=True))[:MOST_CHECKED]
        checks = tuple(_check(cost, x, name, given, values, sweep.totals[x], few) for x, name in moved)
    return ChainRule(writer.word(cost), names, links, omitted, checks, writer.symbol(cost))


def _ends(path: list[Variable], targets: set[Variable]) -> tuple[list[Variable], dict[int, str]]:
    """The values to write out, and for each gap in them, by the number of values before it, what is left out."""
    half = MOST_LINKS // 2
    kept: list[Variable] = []
    omitted: dict[int, dict[str, int]] = {}
    for k, x in enumerate(path):
        if k < half or k >= len(path) - half or x in targets:
            kept.append(x)
        else:
            counts = omitted.setdefault(len(kept), {})
            label = x.owner.op.label if x.owner is not None else "input"
            counts[label] = counts.get(label, 0) + 1
    return kept, {k: _counted(counts) for k, counts in omitted.items()}


def _counted(counts: Mapping[str, int]) -> str:
    most = sorted(counts.items(), key=lambda item: -item[1])
    listed = ", ".join(f"{count} {label}" for label, count in most[:6])
    return f"{sum(counts.values())} values: {listed}{', and others' if len(most) > 6 else ''}"


# -- backwards through the graph

class _Local:
    """The gradient of one op, in terms of variables of its own for the operands, the result and its derivative.

    values: of the graph's variables, if known; then the lengths are
    """

    def __init__(self, node: Apply, values: Mapping[Variable, np.ndarray]):
        def fresh(x: Variable) -> Variable:
            return Variable(TensorType(x.dtype, values[x].shape) if x in values else x.type, None, None, x.origin)

        inner = {x: x if isinstance(x, Constant) else fresh(x) for x in node.inputs}
        out = fresh(node.output)
        self.node = node
        self.derivative = fresh(node.output)
        self.stands_for = {inner[x]: x for x in inner} | {out: node.output}
        self.shares = node.op.gradient(*[inner[x] for x in node.inputs], out, self.derivative)

    def value(self, k: int, values: Mapping[Variable, np.ndarray], derivative: np.ndarray) -> np.ndarray:
        """The share of the k-th operand."""
        share = self.shares[k]
        assert share is not None
        known = {y: values[x] for y, x in self.stands_for.items() if not isinstance(y, Constant)}
        return evaluate([share], {**known, self.derivative: derivative})[0]

    def factor(self, k: int, values: Mapping[Variable, np.ndarray]) -> np.ndarray | None:
        """The derivative of the result by the k-th operand, where it has the operand's shape."""
        out, x = values[self.node.output], values[self.node.inputs[k]]
        by_element = isinstance(self.node.op, Elementwise) and out.shape == x.shape
        return self.value(k, values, np.ones_like(out)) if by_element or out.size == 1 else None


class _Sweep:
    """Which values the derivative reaches on its way to the targets, and with numbers what it is there.

    uses: for each value reached, users first, the applications on the way that use it and as which operand
    totals: the derivatives of the cost, where values are known
    """

    def __init__(self, cost: Variable, targets: Sequence[Variable], values: Mapping[Variable, np.ndarray]):
        self.values = values
        self.uses: dict[Variable, list[tuple[Apply, int]]] = {cost: []}
        self.totals: dict[Variable, np.ndarray] = {cost: np.ones_like(values[cost])} if values else {}
        order = toposort([cost])
        leading = set(targets)
        for node in order:
            if not leading.isdisjoint(node.inputs):
                leading.add(node.output)
        found: dict[Variable, list[tuple[Apply, int]]] = {cost: []}
        for node in reversed(order):
            out = node.output
            if out not in found or out not in leading:
                continue
            self.uses[out] = found[out]
            local = _Local(node, values)
            for k, x in enumerate(node.inputs):
                if local.shares[k] is None or x not in leading:
                    continue
                found.setdefault(x, []).append((node, k))
                if values:
                    share = local.value(k, values, self.totals[out])
                    self.totals[x] = self.totals[x] + share if x in self.totals else share
        self.uses.update((x, uses) for x, uses in found.items() if x not in self.uses)
        self._leave_out_dead_ends(targets)

    def _leave_out_dead_ends(self, targets: Sequence[Variable]) -> None:
        """Values that a derivative reaches but does not leave, such as a length taken as a float."""
        useful = set(targets)
        waiting = list(targets)
        while waiting:
            for node, _ in self.uses.get(waiting.pop(), ()):
                if node.output not in useful:
                    useful.add(node.output)
                    waiting.append(node.output)
        self.uses = {x: uses for x, uses in self.uses.items() if x in useful}


# -- in words

class _Within(Notation):
    """A notation in which some variables have words.

    The bookkeeping of broadcasting, which numpy does unasked, goes unsaid, but not where `plain`.
    """

    def __init__(self, base: Notation, terms: Mapping[Variable, Term], plain: bool = False):
        self.base = base
        self.terms = terms
        self.plain = plain
        self.longest_text = base.longest_text
        self.ellipsis = base.ellipsis

    def is_leaf(self, x: Variable) -> bool:
        return x in self.terms or self.base.is_leaf(x)

    def word(self, word: str, type: TensorType) -> Term:
        return self.base.word(word, type)

    def leaf(self, x: Variable, names: Names) -> Term:
        return self.terms[x] if x in self.terms else self.base.leaf(x, names)

    def cut(self, x: Variable, operands: Sequence[Written]) -> Term:
        return self.base.cut(x, operands)

    def apply(self, x: Variable, operands: Sequence[Written]) -> Term:
        assert x.owner is not None
        first = operands[0] if operands else None
        if self.plain or not isinstance(first, Term):
            return self.base.apply(x, operands)
        if isinstance(x.owner.inputs[0], Constant):
            return self.base.apply(x, operands)
        rank = x.owner.inputs[0].ndim
        match x.owner.op:
            case BroadcastTo() | SpecifyShape():
                return first
            case DimShuffle(order) if order[len(order) - rank :] == tuple(range(rank)):
                return first  # new axes in front
            case Unbroadcast():
                axes = tuple(stretched(*(y.type for y in x.owner.inputs)))
                return self.base.apply(Sum(axes)(x.owner.inputs[0]), [first]) if axes else first
        return self.base.apply(x, operands)


class _Writer:
    """Gives every value on the way a word, in text and in LaTeX, and writes formulas in these words."""

    def __init__(self, cost: Variable, path: Sequence[Variable]):
        self.cost = cost
        self.names = Names()
        self.tex = TeX()
        self.words: dict[Variable, Term] = {}
        self.symbols: dict[Variable, Term] = {}
        assigned = assigned_names([cost])
        everything = ancestors([cost])
        for x in everything:
            name = name_of(x) or (shown(assigned[x]) if x in assigned else "")
            if name or x is cost:
                self._name(x, self.names.unique(name or "cost"))
        for x in path:
            if x not in self.words:
                self._name(x, self.names.temporary())

    def _name(self, x: Variable, word: str) -> None:
        self.words[x] = Term(word, "atom", x.type)
        self.symbols[x] = self.tex.word(word, x.type)

    def word(self, x: Variable) -> str:
        """The word for a value on the way."""
        return self.words[x].text

    def symbol(self, x: Variable) -> str:
        """The same in LaTeX."""
        return self.symbols[x].text

    def link(self, x: Variable, sweep: _Sweep) -> Link:
        """A value, its expression and its derivative."""
        formula = latex = ""
        if x.owner is not None:
            formula = excerpt(x, _Within(PYTHON, self.words, plain=True))
            latex = excerpt(x, _Within(self.tex, self.symbols, plain=True))
        uses = sweep.uses[x]
        shares = tuple(self._share(x, node, k, sweep) for node, k in uses[:MOST_SHARES])
        value, gradient = sweep.values.get(x), sweep.totals.get(x)
        more = len(uses) - len(shares)
        return Link(x, self.word(x), self.symbol(x), formula, latex, shares, more, value, gradient)

    def _share(self, x: Variable, node: Apply, k: int, sweep: _Sweep) -> Share:
        local = _Local(node, sweep.values)
        share = local.shares[k]
        assert share is not None
        out = node.output
        words = {y: self._operand(v, PYTHON, self.words) for y, v in local.stands_for.items()}
        symbols = {y: self._operand(v, self.tex, self.symbols) for y, v in local.stands_for.items()}
        fraction = _partial(self.symbol(self.cost), self.symbol(out))
        words[local.derivative] = Term(f"{DELTA}{self.word(out)}", "atom", out.type)
        symbols[local.derivative] = Formula(fraction, "power", out.type)
        formula = excerpt_term(share, _Within(PYTHON, words))
        factor = value = None
        if sweep.values:
            factor = local.factor(k, sweep.values)
            value = local.value(k, sweep.values, sweep.totals[out])
        latex = excerpt(share, _Within(self.tex, symbols))
        return Share(self.word(out), formula.text, latex, formula.type.ndim < x.ndim, factor, value)

    def _operand(self, x: Variable, notation: Notation, terms: Mapping[Variable, Term]) -> Term:
        """An operand by its word; one that is not on the way and has no name by its expression."""
        if x in terms or x.owner is None:
            return terms[x] if x in terms else notation.leaf(x, self.names)
        return excerpt_term(x, _Within(notation, terms, plain=True), MOST_INSIDE)


# -- differences

def _check(
    cost: Variable,
    x: Variable,
    name: str,
    given: Mapping[Variable, np.ndarray],
    values: Mapping[Variable, np.ndarray],
    derivative: np.ndarray,
    few: int,
) -> Check:
    """A derivative beside central differences by some of the elements, in the dtype of the cost."""
    point = values[x]
    places = np.random.default_rng(0).permutation(point.size)[:few]
    epsilon = float(np.finfo(cost.dtype).eps)
    step = epsilon ** (1 / 3)  # where the errors of rounding and of truncation are about equal

    def difference(place: int, width: float) -> float:
        ends = []
        for sign in (1, -1):
            moved = point.copy()
            moved.flat[place] += sign * width * max(1.0, abs(float(point.flat[place])))
            ends.append((float(evaluate([cost], {**given, x: moved})[0]), float(moved.flat[place])))
        (above, right), (below, left) = ends
        return (above - below) / (right - left)

    error, agrees = 0.0, True
    rounding = 16 * epsilon * max(1.0, float(np.nan_to_num(np.abs(values[cost]), posinf=0.0))) / step
    for place in places:
        near, far = difference(place, step), difference(place, 2 * step)
        apart = _apart(near, float(derivative.flat[place]))
        error = max(error, apart)
        agrees = agrees and apart <= rounding + float(np.nan_to_num(abs(near - far), posinf=0.0))
    return Check(name, len(places), point.size, error, agrees)


def _apart(x: float, y: float) -> float:
    """How far apart two numbers are: not at all if both are NaN, infinitely if one is."""
    if x == y or (np.isnan(x) and np.isnan(y)):
        return 0.0
    return abs(x - y) if np.isfinite(x - y) else float("inf")
