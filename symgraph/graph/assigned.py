"""The names that a user gave by assignment: in `h = T.tanh(x @ W)` the variable that the line makes is called `h`."""

from __future__ import annotations

import keyword
import linecache
import re
import tokenize
from collections.abc import Iterable
from functools import lru_cache
from io import StringIO

from symgraph.graph.node import Variable
from symgraph.graph.provenance import Origin
from symgraph.graph.traverse import toposort

LONGEST_STATEMENT = 12  # lines that we look back for the start of a statement

_ASSIGNMENT = re.compile(r"\s*([^\W\d]\w*)\s*(?::[^=]+)?(?:[-+*/@]|\*\*|//)?=(?!=)")
_FUNCTION = re.compile(r"\bfunction\s*\(")
_OTHER = re.compile(r"\s*[\[{]")
_SPACE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def assigned_names(outputs: Iterable[Variable]) -> dict[Variable, str]:
    """Names for variables that have none but were assigned to one, in the graph of `outputs`.

    A line makes many variables; the name belongs to the one that no other variable of the same line uses, if there is
    one such variable.
    """
    outputs = list(outputs)
    order = toposort(outputs)
    written = [node for node in order if not node.output.origin.derived]
    inner = {x for node in written for x in node.inputs if x.origin == node.output.origin}
    outer: dict[Origin, list[Variable]] = {}
    for node in written:
        if node.output not in inner:
            outer.setdefault(node.output.origin, []).append(node.output)
    names = {}
    for origin, made in outer.items():
        name = assigned_at(origin) if len(made) == 1 and made[0].name is None else None
        if name is not None:
            names[made[0]] = name
    return names


@lru_cache(maxsize=4096)
def assigned_at(origin: Origin) -> str | None:
    """The name that the statement on a line assigns to; None where it assigns to none or to several, or where parts of
    several statements stand on the line.

    Nor is a list, a dict or a function called what one variable in it is.
    """
    last = linecache.getline(origin.filename, origin.line)
    before = ""  # the lines between the start of the statement and this one
    for line in range(origin.line, max(0, origin.line - LONGEST_STATEMENT), -1):
        text = linecache.getline(origin.filename, line)
        found = _ASSIGNMENT.match(text)
        if found and (line == origin.line or _is_open(text[found.end() :] + before)):
            is_other = _OTHER.match(text[found.end() :]) or _FUNCTION.search(text + before)
            if keyword.iskeyword(found.group(1)) or is_other:
                return None
            written = text if line == origin.line else text + before + last
            return found.group(1) if _is_one_statement(written) else None
        if line != origin.line:
            before = text + before
    return None


def _is_one_statement(text: str) -> bool:
    """Whether some text is one statement, or the beginning of one."""
    if ";" not in text and "\n" not in text.rstrip():
        return True
    ended = False
    try:
        for token in tokenize.generate_tokens(StringIO(text.lstrip()).readline):
            if ended and token.type not in _SPACE:
                return False
            ended = ended or token.type == tokenize.NEWLINE or token.string == ";"
    except (tokenize.TokenError, SyntaxError):  # it goes on in the next lines
        pass
    return True


def _is_open(text: str) -> bool:
    """Whether some text opens more brackets than it closes."""
    return sum(text.count(c) for c in "([{") > sum(text.count(c) for c in ")]}")
