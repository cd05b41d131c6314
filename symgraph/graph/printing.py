"""Graphs as text: `repr` and `str` at the prompt, `pp` in full, `debugprint` as a tree.

How an op is written is the op's own affair (`Op.format`). A name is data: one that is no plain word is shown as a
quoted string, so that it cannot break a line or reach the terminal.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TextIO

import numpy as np

from symgraph.graph.node import Constant, Op, SharedVariable, Variable, Written
from symgraph.graph.syntax import SYNTAX
from symgraph.graph.traverse import ancestors, toposort
from symgraph.graph.types import TensorType, format_shape

_LEVELS = "comparison or xor and shift sum product unary power atom".split()  # of Python, loosest first
LEVELS = {level: k for k, level in enumerate(_LEVELS)}
TIGHTER = dict(pairwise(_LEVELS))
OPERATORS = {
    "<": "comparison", "<=": "comparison", ">": "comparison", ">=": "comparison",
    "==": "comparison", "!=": "comparison",
    "|": "or", "^": "xor", "&": "and", "<<": "shift", ">>": "shift", "+": "sum", "-": "sum",
    "*": "product", "/": "product", "//": "product", "%": "product", "@": "product", "**": "power",
}  # fmt: skip

PLAIN_NAME = re.compile(r"[^\W\d][\w.'\[\]]*")
LONGEST_NAME = 40  # characters of a name that are shown
LONGEST_TEXT = 72  # characters of an expression in `str` and `repr`
MOST_OPERANDS = 8  # shown in `str` and `repr`
MOST_ELEMENTS = 8  # of a constant
DEEPEST = 24  # levels of a tree before it goes on as a tree of its own


@dataclass(frozen=True)
class Term:
    """The text of an expression and how tightly it binds."""

    text: str
    level: str
    type: TensorType

    def __format__(self, level: str) -> str:
        looser = level and LEVELS[self.level] < LEVELS[level]
        return f"({self.text})" if looser else self.text


def infix(symbol: str, *operands: Written) -> tuple[str, str]:
    """`x + y` or `-x`, and its level: what `Op.format` returns for an operator."""
    if len(operands) == 1:
        return f"{symbol}{operands[0]:power}", "unary"
    x, y = operands
    level = OPERATORS[symbol]
    if symbol == "**":
        return f"{x:atom}**{y:unary}", level
    tighter = TIGHTER[level]
    return f"{x:{tighter if level == 'comparison' else level}} {symbol} {y:{tighter}}", level


def name_of(x: Variable) -> str:
    """The name as it is shown: shortened, quoted with escapes where it is no plain word; empty where there is none."""
    return shown(str(x.name)) if x.name else ""


def shown(name: str) -> str:
    """A name from outside as it may stand in a message: shortened, on one line, without control characters."""
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 12]}…{name[-11:]}"
    return name if PLAIN_NAME.fullmatch(name.replace("…", "_")) else repr(name)


class Names:
    """The words for the variables of one text, each of them given once."""

    def __init__(self) -> None:
        self._words: dict[Variable, str] = {}
        self._taken: set[str] = set()
        self._temporaries = 0
        self._next: dict[str, int] = {}

    def of(self, x: Variable) -> str:
        """The word for a variable that has a name or no expression: two of the same name are told apart."""
        if x not in self._words:
            self._words[x] = self.unique(name_of(x)) if name_of(x) else self._unnamed(x)
        return self._words[x]

    def temporary(self) -> str:
        """A word t1, t2, … that no variable has."""
        while True:
            self._temporaries += 1
            if (word := f"t{self._temporaries}") not in self._taken:
                return word

    def _unnamed(self, x: Variable) -> str:
        if isinstance(x, Constant):
            return _number(x.data)
        word = self.unique(_described(x))
        return f"<{word}>"

    def unique(self, word: str) -> str:
        """The word, or one like it that is not taken yet."""
        unique = word
        while unique in self._taken:
            self._next[word] = self._next.get(word, 1) + 1
            unique = f"{word}_{self._next[word]}" if word.isidentifier() else f"{word} #{self._next[word]}"
        self._taken.add(unique)
        return unique


def _described(x: Variable) -> str:
    if isinstance(x, Constant):
        return f"constant {x.type}"
    if not isinstance(x, SharedVariable):
        return str(x.type)
    now = f", now {format_shape(x.storage.shape)}" if x.storage.shape != x.type.shape else ""
    return f"shared {x.type}{now}"


def _number(data: np.ndarray) -> str:
    if data.size > MOST_ELEMENTS or (data.size == 0 and data.ndim > 1):
        return f"<{data.dtype} {format_shape(data.shape)}>"
    if data.ndim == 0:
        return str(data.item()) if data.dtype.kind != "f" else str(data[()])
    return "[" + ", ".join(_number(part) for part in data) + "]"


class Notation:
    """How expressions are written: the text of a leaf, of an op and of a name. This one is Python's."""

    longest_text = LONGEST_TEXT
    longest_line = 100  # characters of an expression before it gets a line of its own
    worth_naming = 16  # a shared expression shorter than this is written out at each use
    ellipsis = "…"

    def is_leaf(self, x: Variable) -> bool:
        """Whether a name, or whatever `leaf` writes, stands for the expression of a variable."""
        return x.owner is None or bool(name_of(x))

    def word(self, word: str, type: TensorType) -> Term:
        """A name that was given to an expression."""
        return Term(word, "atom", type)

    def leaf(self, x: Variable, names: Names) -> Term:
        """A variable that has a name or no expression."""
        text = names.of(x)
        if isinstance(x, Constant) and x.ndim == 0 and not x.name:
            text = text.removesuffix(".0")  # `1 - x`, as it was typed
        return Term(text, "unary" if text.startswith("-") else "atom", x.type)

    def apply(self, x: Variable, operands: Sequence[Written]) -> Term:
        """The result of an op."""
        written = _op(x).format(*operands)
        return Term(written, "atom", x.type) if isinstance(written, str) else Term(*written, x.type)

    def cut(self, x: Variable, operands: Sequence[Written]) -> Term:
        """The result of an op with more operands than are shown."""
        return Term(f"{_op(x).label}({', '.join(f'{v}' for v in operands)}, …)", "atom", x.type)


PYTHON = Notation()


def _op(x: Variable) -> Op:
    assert x.owner is not None
    return x.owner.op


def pp(x: Variable) -> str:
    """The whole expression of `x`, in infix, with no more parentheses than it needs.

    What the user named, what is used more than once and what is too long for a line is defined before it is used, one
    line each, so that the text grows no faster than the graph. A named `x` itself is given by its expression.
    """
    definitions, term = written_out(x, PYTHON)
    return "\n".join([*(f"{word} = {value}" for word, value in definitions), term.text])


def written_out(x: Variable, notation: Notation) -> tuple[list[tuple[Term, Term]], Term]:
    """The whole expression of `x` and, before it, definitions of the names that it uses: see `pp`."""
    names = Names()
    if x.owner is None:
        return [], notation.leaf(x, names)
    uses: dict[Variable, int] = {}
    for v in ancestors([x]):
        if v is not x and name_of(v):
            names.of(v)
        if v.owner is not None:
            for operand in v.owner.inputs:
                uses[operand] = uses.get(operand, 0) + 1

    terms: dict[Variable, Term] = {}
    definitions = []
    for node in toposort([x]):
        out = node.output
        term = notation.apply(out, [terms[v] if v in terms else notation.leaf(v, names) for v in node.inputs])
        shared = uses.get(out, 0) > 1 and len(term.text) > notation.worth_naming
        if out is not x and (name_of(out) or shared or len(term.text) > notation.longest_line):
            word = notation.word(names.of(out) if name_of(out) else names.temporary(), out.type)
            definitions.append((word, term))
            term = word
        terms[out] = term
    return definitions, terms[x]


def excerpt(x: Variable, notation: Notation = PYTHON, most: int = 32) -> str:
    """The expression of `x` on one line, `…` for what is deeper than `most` applications. The cost is bounded."""
    text = excerpt_term(x, notation, most).text
    return f"{text[: LONGEST_TEXT - 1]}…" if notation is PYTHON and len(text) > LONGEST_TEXT else text


def excerpt_term(x: Variable, notation: Notation, most: int = 32) -> Term:
    """The same with how tightly it binds and its type; longer than `notation.longest_text` only if it must be."""
    for nodes in (32, 16, 8, 4, 2):
        if nodes <= most:
            term = _excerpt(x, nodes, notation)
            if len(term.text) <= notation.longest_text:
                return term
    return _excerpt(x, 1, notation)


def _excerpt(x: Variable, nodes: int, notation: Notation) -> Term:
    """The expression with the `nodes` applications nearest to `x` written out, each as often as it is used."""
    names = Names()
    met: list[Variable] = [x]
    operands: list[range | None] = []
    for k, v in enumerate(met):  # grows while we walk
        expanded = v.owner is not None and nodes > 0 and (k == 0 or not notation.is_leaf(v))
        operands.append(None)
        if expanded and v.owner is not None:
            nodes -= 1
            operands[k] = range(len(met), len(met) + min(len(v.owner.inputs), MOST_OPERANDS))
            met.extend(v.owner.inputs[:MOST_OPERANDS])
    for v in met[1:]:
        if v.owner is None or name_of(v):
            names.of(v)  # in the order in which they are met
    terms: dict[int, Term] = {}
    for k in reversed(range(len(met))):
        v, parts = met[k], operands[k]
        if parts is not None and v.owner is not None:
            write = notation.cut if len(v.owner.inputs) > len(parts) else notation.apply
            terms[k] = write(v, [terms[i] for i in parts])
        elif notation.is_leaf(v):
            terms[k] = notation.leaf(v, names)
        else:
            terms[k] = notation.word(notation.ellipsis, v.type)
    return terms[0]


def _str(x: Variable) -> str:
    return name_of(x) or (PYTHON.leaf(x, Names()).text if x.owner is None else excerpt(x))


def _repr(x: Variable) -> str:
    if x.owner is None:
        shown = name_of(x) or (_number(x.data) if isinstance(x, Constant) else "")
        return f"<{shown} : {_described(x)}>" if shown else f"<{_described(x)}>"
    name = f"{name_of(x)} = " if name_of(x) else ""
    return f"<{name}{excerpt(x)} : {x.type}>"


SYNTAX["str"] = _str
SYNTAX["repr"] = _repr


def debugprint(obj: Any, print_type: bool = True, file: TextIO | str | None = None) -> str | None:
    """Print a graph as a tree: one line for each use, an id for each variable, the operands of each written out once.

    obj: a variable, a list of them, or a function (anything with `outputs` and maybe `updates`)
    print_type: show dtypes and shapes
    file: where to print, by default standard output; "str" returns the text instead

    Where a variable is met again, or the tree grows too deep, `…` stands for its operands: look for its id.
    """
    lines = "\n".join(_tree(_roots(obj), print_type)) + "\n"
    if file == "str":
        return lines
    stream: Any = sys.stdout if file is None else file
    stream.write(lines)
    return None


def _roots(obj: Any) -> list[tuple[str, Variable]]:
    if isinstance(obj, Variable):
        return [("", obj)]
    if isinstance(obj, (list, tuple)) and all(isinstance(x, Variable) for x in obj):
        return [("", x) for x in obj]
    outputs: Iterable[Variable] | None = getattr(obj, "outputs", None)
    if outputs is None:
        raise TypeError(f"debugprint takes a variable, a list of variables or a function, not {type(obj).__name__}")
    updates = getattr(obj, "updates", ())
    pairs = updates.items() if isinstance(updates, dict) else updates
    return [*(("", x) for x in outputs), *((f"new {shared}: ", x) for shared, x in pairs)]


def _tree(roots: Sequence[tuple[str, Variable]], print_type: bool) -> Iterator[str]:
    ids: dict[Variable, str] = {}
    expanded: set[Variable] = set()
    waiting = [(prefix, "", x, 0) for prefix, x in reversed(roots)]
    postponed: deque[Variable] = deque()
    while waiting or postponed:
        if not waiting:
            x = postponed.popleft()
            if x not in expanded:
                waiting.append(("", "", x, 0))
            continue
        lead, indent, x, depth = waiting.pop()
        ids.setdefault(x, _letters(len(ids)))
        inputs = x.owner.inputs if x.owner is not None else ()
        again = bool(inputs) and (x in expanded or depth == DEEPEST)
        yield f"{lead}{_line(x, ids[x], print_type)}{' …' if again else ''}"
        if again:
            postponed.append(x)
            continue
        expanded.add(x)
        last = len(inputs) - 1
        for k in range(last, -1, -1):
            branch, rest = (" └─ ", "    ") if k == last else (" ├─ ", " │  ")
            waiting.append((indent + branch, indent + rest, inputs[k], depth + 1))


def _line(x: Variable, identity: str, print_type: bool) -> str:
    type = f" : {_described(x)}" if print_type else ""
    name = name_of(x)
    if x.owner is None:
        shown = name or (_number(x.data) if isinstance(x, Constant) else "?")
        return f"{shown} [id {identity}]{type}"
    op = x.owner.op
    parameters = f"({', '.join(op.parameters)})" if op.parameters else ""
    return f"{op.label}{parameters} [id {identity}]{f' {name}' if name else ''}{type}"


def _letters(number: int) -> str:
    """0, 1, … as A, B, …, Z, AA, AB, …"""
    text = ""
    number += 1
    while number:
        number, digit = divmod(number - 1, 26)
        text = chr(ord("A") + digit) + text
    return text
