r"""Expressions as LaTeX, for notebooks and papers: `latex(x)`, and what a variable shows of itself in Jupyter.

An op may state a form of its own (`Op.latex`); scalar functions and broadcasting have theirs here. What has none is
written as `Op.format` writes it, in typewriter. Precedence is that of `graph.printing`, with three differences of
mathematical writing: a negative binds as a sum, large operators (\sum) as a product, and products as a unary sign, so
that no two signs meet and nobody has to guess where a sum ends.

Nothing that comes from a name reaches TeX unescaped. Only commands are used that LaTeX with amsmath, MathJax and KaTeX
share; and text mode, in which they differ, only for quotes and foreign letters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from symgraph.graph.node import Constant, Op, SharedVariable, Variable, Written
from symgraph.graph.printing import Names, Notation, Term, excerpt, name_of, written_out
from symgraph.graph.syntax import SYNTAX
from symgraph.graph.types import TensorType

GREEK = frozenset("""
    alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi rho sigma tau
    upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega
""".split())
FUNCTIONS = frozenset("sin cos tan arcsin arccos arctan sinh cosh tanh exp log max min".split())  # commands of TeX

Form = Callable[..., "str | tuple[str, str]"]

_NAME = re.compile(r"([^\W\d_]+)(\d*)((?:_[^\W_]+)*)_*('*)")
_TEMPORARY = re.compile(r"\bt_\{\d+\}")
_NUMBER = re.compile(r"-?(?:\d+(?:\.\d*)?(?:e([-+]\d+))?|inf|nan)")
_ESCAPES = {
    "\\": r"\backslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\wedge{}", "~": r"\sim{}", " ": r"\ ", "…": r"\ldots{}",
    "'": r"\text{'}", "`": r"\text{`}", '"': r"\text{''}",
    "-": "{-}", "<": "{<}", ">": "{>}", ":": "{:}", ",": "{,}",
}  # fmt: skip


def latex(x: Variable) -> str:
    r"""The whole expression of `x`, without dollar signs; a named `x` itself is given by its expression, as by `pp`.

    What the user named, what is used more than once and what is too long for a line is defined before it is used, in an
    `aligned` environment (amsmath), so that the text grows no faster than the graph.
    """
    definitions, term = written_out(x, TeX())
    definitions = _needed(definitions, term)
    if not definitions:
        return term.text
    lines = [f"{word} &= {value}" for word, value in definitions]
    result = f"{TeX().word(name_of(x), x.type)} &= {term}" if name_of(x) else f"& {term}"
    return "\\begin{aligned}\n" + " \\\\\n".join([*lines, result]) + "\n\\end{aligned}"


def _needed(definitions: list[tuple[Term, Term]], result: Term) -> list[tuple[Term, Term]]:
    """The definitions without those of ours that only operands use which are not written, such as lengths."""
    used = set(_TEMPORARY.findall(result.text))
    kept = []
    for word, value in reversed(definitions):
        if word.text in used or not _TEMPORARY.fullmatch(word.text):
            used.update(_TEMPORARY.findall(value.text))
            kept.append((word, value))
    return kept[::-1]


class TeX(Notation):
    """The notation of one text: it keeps two names apart that TeX would show alike, such as b2 and b_2."""

    longest_text = 240
    longest_line = 240
    worth_naming = 40
    ellipsis = r"\ldots{}"

    def __init__(self) -> None:
        self._symbols: dict[str, str] = {}
        self._taken: set[str] = set()

    def word(self, word: str, type: TensorType) -> Term:
        if word == self.ellipsis:
            return Formula(word, "atom", type)
        if word not in self._symbols:
            found = symbol(word)
            self._symbols[word] = verbatim(word) if found in self._taken else found
            self._taken.add(self._symbols[word])
        return Formula(self._symbols[word], "atom", type)

    def leaf(self, x: Variable, names: Names) -> Term:
        text = names.of(x)
        if not isinstance(x, Constant) or x.name:
            return self.word(text, x.type) if x.name else Formula(verbatim(text), "atom", x.type)
        if text.startswith("<"):
            return Formula(verbatim(text), "atom", x.type)
        written = numbers(re.sub(r"\.0(?=[],]|$)", "", text)).replace("[", r"\left[").replace("]", r"\right]")
        scaled = "unary" if r"\cdot" in written else "power" if "^" in written else "atom"
        level = "atom" if x.ndim else "sum" if written.startswith("-") else scaled
        return Formula(re.sub("True|False", lambda match: rf"\mathrm{{{match[0]}}}", written), level, x.type)

    def apply(self, x: Variable, operands: Sequence[Written]) -> Term:
        assert x.owner is not None
        op = x.owner.op
        summed = BROADCASTING.get(f"{type(op).__module__}.{type(op).__name__}")
        if summed is not None and isinstance(operands[0], Term):
            axes = summed(*(y.type for y in x.owner.inputs))
            return Formula(*total(axes, operands[0]), x.type) if axes else operands[0]
        written = op.latex(*operands)
        if written is None and type(op).format is Op.format:
            arguments = [f"{v}" for v in operands] + [verbatim(text) for text in op.parameters]
            written = _call(op.label, arguments)
        if written is None:
            written = _mixed(op, operands)
        return Formula(written, "atom", x.type) if isinstance(written, str) else Formula(*written, x.type)

    def cut(self, x: Variable, operands: Sequence[Written]) -> Term:
        assert x.owner is not None
        return Formula(_call(x.owner.op.label, [*(f"{v}" for v in operands), self.ellipsis]), "atom", x.type)


class Formula(Term):
    """A term whose parentheses grow with what is in them."""

    def __format__(self, level: str) -> str:
        plain = super().__format__(level)
        return plain if plain == self.text else rf"\left({self.text}\right)"


def symbol(name: str) -> str:
    r"""A name in TeX: `alpha` is \alpha, `W_1` W_{1}, `b2` b_{2}, `y_pred` y_{\mathrm{pred}}, and `grad_W` \nabla_{W}.

    Words are set upright; what is no plain name is escaped and set in typewriter.
    """
    if name.startswith("grad_") and _NAME.fullmatch(name[5:]):
        return rf"\nabla_{{{symbol(name[5:])}}}"
    match = _NAME.fullmatch(name)
    if match is None:
        return verbatim(name)
    base, digits, rest, primes = match.groups()
    parts = [part for part in rest.split("_") if part]
    letter = _letter(base)
    if letter is None and parts:  # learning_rate is one word, not an index
        return rf"\mathrm{{{_escaped(name.rstrip(chr(39)))}}}{primes}"
    subscript = ", ".join([*([digits] if digits else []), *map(_index, parts)])
    return (letter or rf"\mathrm{{{_escaped(base)}}}") + primes + (f"_{{{subscript}}}" if subscript else "")


def _letter(word: str) -> str | None:
    r"""A single letter, or a command for a Greek one; None for any other word."""
    if word in GREEK:
        return f"\\{word}"
    if len(word) > 1:
        return None
    if word.isascii():
        return word
    kind, _, last = unicodedata.name(word, "").rpartition(" ")
    known = {"GREEK SMALL LETTER": last.lower(), "GREEK CAPITAL LETTER": last.capitalize()}.get(kind)
    known = "lambda" if known == "lamda" else "Lambda" if known == "Lamda" else known  # as Unicode spells it
    return f"\\{known}" if known in GREEK else _escaped(word)


def _index(part: str) -> str:
    plain = part if part.isascii() and part.isdigit() else _letter(part)
    return plain if plain is not None else rf"\mathrm{{{_escaped(part)}}}"


def verbatim(text: str) -> str:
    """Any text as it is, in typewriter."""
    return rf"\mathtt{{{_escaped(text)}}}"


def _escaped(text: str) -> str:
    """Text that TeX may read in mathematics."""
    return "".join(
        _ESCAPES.get(sign) or (sign if sign.isascii() and sign.isprintable() else rf"\text{{{_printable(sign)}}}")
        for sign in text
    )


def _printable(sign: str) -> str:
    return sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}"


def numbers(text: str) -> str:
    """Numbers as Python writes them, with powers of ten; what is between them stays as it is."""
    return _NUMBER.sub(_number, text)


def _number(match: re.Match[str]) -> str:
    text = match[0]
    if match[1] is None:
        return text.replace("inf", r"\infty{}").replace("nan", r"\mathrm{nan}")
    mantissa = text.partition("e")[0].removesuffix(".0")
    power = f"10^{{{int(match[1])}}}"
    return power if mantissa == "1" else f"-{power}" if mantissa == "-1" else rf"{mantissa} \cdot {power}"


def _call(label: str, arguments: Sequence[str]) -> str:
    name = f"\\{label}" if label in FUNCTIONS else rf"\operatorname{{{_escaped(label)}}}"
    return rf"{name}\left({', '.join(arguments)}\right)"


# -- what an op writes in Python's way, with its operands in TeX

_OPENING, _CLOSING = "\ue000", "\ue001"  # around an operand's number and level; from a private area of Unicode


class _Marker:
    """An operand that leaves a mark where it is written."""

    def __init__(self, position: int, operand: Written):
        self.position = position
        self.type = operand.type

    def __format__(self, level: str) -> str:
        return f"{_OPENING}{self.position} {level}{_CLOSING}"


def _mixed(op: Op, operands: Sequence[Written]) -> str | tuple[str, str]:
    written = op.format(*[_Marker(k, operand) for k, operand in enumerate(operands)])
    text, level = (written, "atom") if isinstance(written, str) else written
    parts = re.split(f"{_OPENING}([0-9]+) ([a-z]*){_CLOSING}", text)
    pieces = [verbatim(part) for part in parts[:1] if part]
    for position, inner, after in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        pieces.append(format(operands[int(position)], inner))
        if after:
            pieces.append(verbatim(after))
    return "".join(pieces), level


# -- scalar functions

def operator(sign: str, level: str, tighter: str) -> Form:
    """A sign between two operands, the right one of which binds as `tighter` at least."""
    return lambda x, y: (f"{x:{level}} {sign} {y:{tighter}}", level)


def relation(sign: str) -> Form:
    """A comparison, which does not associate."""
    return operator(sign, "comparison", "or")


def product(x: Written, y: Written) -> tuple[str, str]:
    r"""x times y: \odot of two arrays, element by element, \cdot where one is a number."""
    sign = r"\odot" if x.type.ndim and y.type.ndim else r"\cdot"
    return f"{x:unary} {sign} {y:power}", "unary"


SCALAR_FORMS: dict[str, Form] = {
    "lt": relation("<"), "le": relation(r"\le"), "gt": relation(">"), "ge": relation(r"\ge"),
    "eq": relation("="), "neq": relation(r"\ne"),
    "logical_and": operator(r"\land", "and", "shift"), "logical_or": operator(r"\lor", "or", "xor"),
    "logical_xor": operator(r"\oplus", "xor", "and"), "logical_not": lambda x: (rf"\lnot {x:power}", "unary"),
    "bitwise_and": operator(r"\mathbin{\&}", "and", "shift"), "bitwise_or": operator(r"\mathbin{|}", "or", "xor"),
    "bitwise_xor": operator(r"\oplus", "xor", "and"), "invert": lambda x: (rf"\mathord{{\sim}} {x:power}", "unary"),
    "left_shift": operator(r"\ll", "shift", "sum"), "right_shift": operator(r"\gg", "shift", "sum"),
    "add": operator("+", "sum", "product"), "sub": operator("-", "sum", "product"), "mul": product,
    "neg": lambda x: (f"-{x:product}", "sum"),
    "true_divide": lambda x, y: (rf"\frac{{{x}}}{{{y}}}", "power"),
    "floor_divide": lambda x, y: rf"\left\lfloor\frac{{{x}}}{{{y}}}\right\rfloor",
    "mod": lambda x, y: (rf"{x:unary} \bmod {y:power}", "unary"),
    "abs": lambda x: rf"\left|{x}\right|",
    "floor": lambda x: rf"\left\lfloor {x}\right\rfloor", "ceil": lambda x: rf"\left\lceil {x}\right\rceil",
    "power": lambda x, y: (f"{x:atom}^{{{y}}}", "power"), "sqr": lambda x: (f"{x:atom}^{{2}}", "power"),
    "sqrt": lambda x: rf"\sqrt{{{x}}}", "reciprocal": lambda x: (rf"\frac{{1}}{{{x}}}", "power"),
    "exp": lambda x: (f"e^{{{x}}}", "power"), "exp2": lambda x: (f"2^{{{x}}}", "power"),
    "expm1": lambda x: (f"e^{{{x}}} - 1", "sum"), "log1p": lambda x: rf"\log\left(1 + {x:product}\right)",
    "log2": lambda x: rf"\log_{{2}}\left({x}\right)", "log10": lambda x: rf"\log_{{10}}\left({x}\right)",
    "minimum": lambda x, y: rf"\min\left({x}, {y}\right)", "maximum": lambda x, y: rf"\max\left({x}, {y}\right)",
    "switch": lambda c, x, y: (
        rf"\begin{{cases}} {x} & \text{{if }} {c} \\ {y} & \text{{otherwise}} \end{{cases}}", "product"
    ),
    "sigmoid": lambda x: rf"\sigma\left({x}\right)",
    "gamma": lambda x: rf"\Gamma\left({x}\right)", "gammaln": lambda x: rf"\log\left|\Gamma\left({x}\right)\right|",
    "psi": lambda x: rf"\psi\left({x}\right)", "polygamma": lambda n, x: rf"\psi^{{\left({n}\right)}}\left({x}\right)",
}  # fmt: skip


def scalar_latex(name: str, *operands: Written) -> str | tuple[str, str]:
    """How a scalar function of this name is written: by its form, or as a call."""
    form = SCALAR_FORMS.get(name)
    return form(*operands) if form is not None else _call(name, [f"{x}" for x in operands])


# -- broadcasting, which mathematics leaves to the reader

def stretched(g: TensorType, x: TensorType) -> list[int]:
    """The axes of `g` along which `x` is known to have been stretched."""
    extra = g.ndim - x.ndim
    return [k for k, n in enumerate(g.shape) if k < extra or x.shape[k - extra] == 1 != n]


BROADCASTING: dict[str, Callable[..., list[int]]] = {  # an op's class -> the axes of its first operand it sums over
    "symgraph.ops.layout.BroadcastTo": lambda x, *lengths: [],
    "symgraph.ops.elementwise.Unbroadcast": stretched,
}


# -- reductions

def total(axes: Sequence[int], x: Written) -> tuple[str, str]:
    """The sum over some axes."""
    return f"{over('sum', axes, x)} {x:product}", "product"



def over(command: str, axes: Sequence[int], x: Written) -> str:
    r"""A command such as \sum with the axes it runs over, where these are not all of the operand's."""
    if tuple(axes) == tuple(range(x.type.ndim)):
        return f"\\{command}"
    return rf"\{command}_{{\mathrm{{axis}}\,{', '.join(map(str, axes))}}}"


# -- at the prompt

def _repr_latex(x: Variable) -> str:
    """The expression of `x` and its type, as an inline formula; of a large graph the outermost part."""
    notation = TeX()
    if x.owner is None:
        text = notation.leaf(x, Names()).text if x.name or isinstance(x, Constant) else ""
    else:
        name = f"{notation.word(name_of(x), x.type)} = " if name_of(x) else ""
        text = name + excerpt(x, notation)
    kind = verbatim(f"{'shared ' if isinstance(x, SharedVariable) else ''}{x.type}")
    return rf"$\displaystyle {text} \quad {kind}$" if text else f"${kind}$"


SYNTAX["latex"] = _repr_latex
