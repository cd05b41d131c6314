"""One page that shows what became of a program: its lines, the graph as written, its gradient, the graph as rewritten,
the loop nests, and the C, each thing linked to what it came from and to what became of it.

The page is one file that needs no other and loads nothing. What it shows stands in it as JSON and reaches the document
as text only.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import linecache
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from symgraph.compiler import Variant
from symgraph.graph.assigned import assigned_names
from symgraph.graph.node import Constant, SharedVariable, Variable
from symgraph.graph.printing import excerpt, shown
from symgraph.graph.provenance import Origin
from symgraph.graph.traverse import ancestors, consumers
from symgraph.lower.program import Lowered
from symgraph.rewrite.engine import Step
from symgraph.rewrite.pipeline import Rewritten, rewrite
from symgraph.visual.c_lines import comments, places
from symgraph.visual.folding import fold
from symgraph.visual.outline import Outline, outline

AROUND = 3  # lines shown before and after each line that made something
LONGEST_LINE = 400  # characters of a line of the user's program
MOST_LEAVES = 8  # inputs of one line, or values of the other graph, that are shown one by one
MOST_TARGETS = 6  # values that one which was rewritten away is said to have gone into
MOST_NEIGHBOURS = 4  # values named that share memory with another
LONGEST_STORY = 40  # replacements of one value that are followed
SCRIPTS = ("model.js", "layered.js", "graph.js", "text.js", "explorer.js")


def write_page(
    path: str | Path,
    name: str | None,
    outputs: Sequence[Variable],
    updates: Sequence[tuple[SharedVariable, Variable]],
    variant: Variant | None,
) -> Path:
    """Write the page of a function and return where it is.

    name, outputs, updates: the function's; variant: what was compiled last, None for an interpreted function
    Raises OSError where the file cannot be written.
    """
    target = Path(path)
    target.write_text(page(contents(name, outputs, updates, variant)), encoding="utf-8")
    return target


def page(data: Mapping[str, Any]) -> str:
    """The page that shows `data`, which may hold any text."""
    style = _part("explorer.css")
    script = '"use strict";\n' + "\n".join(_part(name) for name in SCRIPTS)
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "POLICY": policy,
        "TITLE": html.escape(f"{shown(data['name'])} – symgraph"),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": _embedded(data),
    }
    before, *rest = _part("template.html").split("{{")
    pieces = [before]
    for piece in rest:
        key, _, after = piece.partition("}}")
        pieces += [parts[key], after]
    return "".join(pieces)


def _embedded(data: Mapping[str, Any]) -> str:
    """JSON that can stand inside a script element: no character in it means anything to HTML."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair has no place in a file


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


@cache
def _part(name: str) -> str:
    return (Path(__file__).parent / "page" / name).read_text(encoding="utf-8")


# -- what the page shows


def contents(
    name: str | None,
    outputs: Sequence[Variable],
    updates: Sequence[tuple[SharedVariable, Variable]],
    variant: Variant | None,
) -> dict[str, Any]:
    """All that the page shows, as plain lists, dictionaries, texts and numbers.

    lines: of the user's program, [file, number, text, whether it made something]
    written: the values as the user wrote them and their gradients; rewritten: those that were compiled
    steps: loop nests and library calls; rewrites: the rules that fired; rules: their names and reasons
    folds: of each graph, its nodes in nested lists
    c: the C; marks: lines of its comments that speak of one value, [line, number in `rewritten`]
    """
    roots = variant.written if variant is not None else (*outputs, *(new for _, new in updates))
    rewritten = variant.rewritten if variant is not None else rewrite(roots, names=assigned_names(roots))
    roles = _roles(outputs, updates)
    shared = {x for lowered, _ in variant.launcher.programs for x in lowered.shared} if variant is not None else set()
    lines, texts = _Lines(), _Texts()
    written = _Graph(outline(roots, assigned_names(roots), {}), roles, shared, lines, texts)
    compiled = _Graph(outline(rewritten.outputs, {}, {}), roles, shared, lines, texts)
    story = _Story(written, compiled, rewritten)
    steps, marks, text = _steps(variant, compiled, rewritten, texts) if variant is not None else ([], [], "")
    _note_steps(compiled.nodes, steps)
    _note_story(written.nodes, story)
    rules = dict.fromkeys((step.rule, step.why) for step in rewritten.trace)
    rewrites = _rewrites(rewritten.trace, list(rules), story, lines, texts)
    return {
        "name": name or "a function",
        "timings": dict(variant.timings) if variant is not None else {},
        "passes": rewritten.times,
        "calls": variant.launcher.calls if variant is not None else 0,
        "written": written.nodes,
        "rewritten": compiled.nodes,
        "steps": steps,
        "rules": [[rule, why] for rule, why in rules],
        "rewrites": rewrites,
        "folds": _folds(written, compiled, steps),
        "c": text,
        "marks": marks,
        "lines": lines.texts(),
    }


def _roles(outputs: Sequence[Variable], updates: Sequence[tuple[SharedVariable, Variable]]) -> list[str]:
    """What each root is to the function."""
    several = len(outputs) > 1
    roles = [f"output {k}" if several else "output" for k in range(1, len(outputs) + 1)]
    return roles + [f"new {shown(s.name) if s.name else 'state'}" for s, _ in updates]


def _note_steps(nodes: Sequence[dict[str, Any]], steps: Sequence[Mapping[str, Any]]) -> None:
    """Write down for the compiled values where they are computed, and whether that is only where they are read."""
    made: list[list[int]] = [[] for _ in nodes]
    for k, step in enumerate(steps):
        for m in step["made"]:
            made[m].append(k)
    for node, own in zip(nodes, made, strict=True):
        node["inlined"] = bool(steps) and not own and node["kind"] == "op"
    for node, places_ in zip(nodes, _in_steps(nodes, made), strict=True):
        node["steps"] = places_


def _note_story(nodes: Sequence[dict[str, Any]], story: _Story) -> None:
    """Write down for the written values what they became, and whether they were rewritten away."""
    for node, (targets, absorbed) in zip(nodes, story.targets(), strict=True):
        node["became"] = targets
        node["absorbed"] = absorbed


def _rewrites(
    trace: Sequence[Step], rules: Sequence[tuple[str, str]], story: _Story, lines: _Lines, texts: _Texts
) -> list[dict[str, Any]]:
    """Each firing of a rule: which, both its sides, its line, and the values of both graphs that it touched."""
    position = {rule: k for k, rule in enumerate(rules)}
    return [
        {
            "rule": position[step.rule, step.why],
            "before": texts[step.before],
            "after": texts[step.after],
            "line": lines.number(step.before.origin),
            "written": story.written_in[k],
            "rewritten": story.now(step.before),
        }
        for k, step in enumerate(trace)
    ]


def _folds(written: _Graph, compiled: _Graph, steps: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The nested lists of each graph, of its derived part, and of the steps."""
    computed = {k: x["steps"][0] for k, x in enumerate(compiled.nodes) if x["steps"] and x["kind"] == "op"}
    return {
        "written": written.folds([k for k, x in enumerate(written.nodes) if not x["derived"]]),
        "gradient": written.folds([k for k, x in enumerate(written.nodes) if x["derived"]]),
        "rewritten": compiled.folds(range(len(compiled.nodes)), computed),
        "steps": fold(range(len(steps)), {k: s["needs"] for k, s in enumerate(steps)}, {}),
    }


class _Texts(dict[Variable, str]):
    """The expression of each variable, written once."""

    def __missing__(self, x: Variable) -> str:
        self[x] = excerpt(x) if x.owner is not None else str(x)
        return self[x]

    def short(self, x: Variable) -> str:
        """The name, or the expression where there is none."""
        return shown(x.name) if x.name else self[x]


class _Lines:
    """The lines of the user's program that made something, numbered in the order met, and those around them."""

    def __init__(self) -> None:
        self._numbers: dict[Origin, int] = {}

    def number(self, origin: Origin) -> int:
        """The number of a line."""
        return self._numbers.setdefault(Origin(*origin), len(self._numbers))

    def texts(self) -> dict[str, Any]:
        """What each line is, and the files: for each line shown its number here (or -1), that in the file, its text."""
        files: dict[str, dict[int, int]] = {}
        for origin, number in self._numbers.items():
            files.setdefault(origin.filename, {})[origin.line] = number
        return {
            "made": [[str(origin), *self._text(origin.filename, origin.line)] for origin in self._numbers],
            "files": [[Path(filename).name, self._excerpt(filename, made)] for filename, made in files.items()],
        }

    def _excerpt(self, filename: str, made: Mapping[int, int]) -> list[list[Any]]:
        wanted = {n for line in made for n in range(line - AROUND, line + AROUND + 1) if n > 0}
        last = len(linecache.getlines(filename))
        return [[made.get(n, -1), n, *self._text(filename, n)] for n in sorted(wanted) if n <= last or n in made]

    def _text(self, filename: str, line: int) -> list[str]:
        text = linecache.getline(filename, line).rstrip()
        return [text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}…"]


class _Graph:
    """The variables of a graph that are drawn, as nodes."""

    def __init__(self, found: Outline, roles: Sequence[str], shared: set[Variable], lines: _Lines, texts: _Texts):
        self.found = found
        self.number = {x: k for k, x in enumerate(found.drawn)}
        self.users = consumers(found.roots)
        role: dict[Variable, list[str]] = {}
        for x, text in zip(found.roots, roles, strict=True):
            role.setdefault(x, []).append(text)
        self.nodes: list[dict[str, Any]] = [
            {
                "name": found.names.get(x, ""),
                "label": found.label(x) if x.owner is not None else "",
                "text": texts[x],
                "type": str(x.type),
                "kind": self._kind(x, shared),
                "role": ", ".join(role.get(x, ())),
                "line": lines.number(x.origin),
                "derived": x.origin.derived and x.owner is not None,
                "operands": [self.number[o] for o in found.operands[x]],
            }
            for x in found.drawn
        ]

    def _kind(self, x: Variable, shared: set[Variable]) -> str:
        if x.owner is not None:
            return "op"
        if isinstance(x, Constant):
            return "constant"
        return "shared" if isinstance(x, SharedVariable) or x in shared else "input"

    def folds(self, numbers: Iterable[int], groups: Mapping[int, object] | None = None) -> list[Any]:
        """Some of the nodes, and the operands they have elsewhere, in nested lists: by line, or in the groups given."""
        own = set(numbers)
        wanted = own.union(*(self.nodes[k]["operands"] for k in own)) if own else own
        if groups is None:
            groups = {k: self.nodes[k]["line"] for k in own if self.nodes[k]["kind"] == "op"}
        aside: dict[int, list[int]] = {}
        for k in wanted.difference(groups):
            aside.setdefault(self.nodes[k]["line"], []).append(k)
        crowds = {k: ("aside", line) for line, many in aside.items() if len(many) > MOST_LEAVES for k in many}
        return fold(sorted(wanted), {k: self.nodes[k]["operands"] for k in own}, {**groups, **crowds})

    def nearest(self, x: Variable) -> list[int]:
        """The node that shows `x`, or those that use what is too small to be shown."""
        met, stack = {x}, [x]
        found: list[int] = []
        while stack and len(found) < MOST_TARGETS:
            v = stack.pop()
            v = self.found.through.get(v, v)
            if v in self.number:
                found.append(self.number[v])
                continue
            for user in self.users.get(v, ()):
                if user.output not in met and len(met) < LONGEST_STORY:
                    met.add(user.output)
                    stack.append(user.output)
        return sorted(set(found))


class _Story:
    """What became of each written value, and which rules had a part in it."""

    def __init__(self, written: _Graph, compiled: _Graph, rewritten: Rewritten):
        self.written = written
        self.compiled = compiled
        self.alive = set(ancestors(rewritten.outputs))
        self.became = rewritten.became
        self._final: dict[Variable, Variable] = {}
        firing: dict[Variable, list[int]] = {}
        for k, step in enumerate(rewritten.trace):
            firing.setdefault(step.before, []).append(k)
        self.written_in: list[list[int]] = [[] for _ in rewritten.trace]
        for x, number in written.number.items():
            for _ in range(LONGEST_STORY):
                for k in firing.get(x, ()):
                    self.written_in[k].append(number)
                if x not in self.became:
                    break
                x = self.became[x]

    def final(self, x: Variable) -> Variable:
        """The last variable that stands for `x`."""
        path: dict[Variable, None] = {}
        while x in self.became and x not in self._final and x not in path:
            path[x] = None
            x = self.became[x]
        x = self._final.get(x, x)
        self._final.update(dict.fromkeys(path, x))
        return x

    def now(self, x: Variable) -> list[int]:
        """The nodes that stand for `x` in the compiled graph; none where it was rewritten away."""
        end = self.final(x)
        return self.compiled.nearest(end) if end in self.alive else []

    def targets(self) -> list[tuple[list[int], bool]]:
        """For each written node those it became and False; if it was rewritten away, its users' and True."""
        found: dict[Variable, tuple[list[int], bool]] = {}
        for x in reversed(ancestors(self.written.found.roots)):
            own = self.now(x)
            if own:
                found[x] = (own, False)
            else:
                further = [k for user in self.written.users.get(x, ()) for k in found[user.output][0]]
                found[x] = (list(dict.fromkeys(further))[:MOST_TARGETS], True)
        return [found[x] for x in self.written.number]


# -- steps and C


def _steps(
    variant: Variant, compiled: _Graph, rewritten: Rewritten, texts: _Texts
) -> tuple[list[dict[str, Any]], list[list[int]], str]:
    """The steps of all programs of a compilation, the lines of C that speak of one value, and the C."""
    launcher = variant.launcher
    steps: list[dict[str, Any]] = []
    marks: list[list[int]] = []
    above = 0
    maker: dict[int, int] = {}
    for lowered, text in launcher.programs:
        lines = text.split("\n")
        number = _numbers(lowered, rewritten, compiled)
        main = lowered is launcher.lowered
        seconds = launcher.seconds() if main and lowered.program.clocks and launcher.calls else []
        sizes = launcher.sizes() if main and launcher.calls else {}
        for k, (step, place) in enumerate(zip(lowered.steps, places(lowered, text), strict=True)):
            made = [number[x] for x in step.made if x in number]
            for m in made:
                maker.setdefault(m, len(steps))  # a later program may compute a length again
            steps.append(
                {
                    "name": place.function,
                    "kind": {"nest": "loop nest", "loops": "loops of one op", "call": "library call"}[step.kind],
                    "made": made,
                    "stored": [number[x] for x in step.stored if x in number],
                    "unshown": [texts[x] for x in step.stored if x not in number],
                    "lines": [[a + above, b + above] for a, b in filter(None, (place.definition, place.call))],
                    "cost": [str(step.cost.operations), str(step.cost.read), str(step.cost.written)],
                    "counts": _counts(step.cost, sizes),
                    "seconds": seconds[k] if seconds else None,
                }
            )
            marks += [[line + above, number[x]] for line, x in comments(step, place, lines).items() if x in number]
        _note_memory(lowered, number, compiled.nodes, texts)
        above += len(lines)
    _link(steps, compiled, maker)
    return steps, marks, launcher.c_source


def _link(steps: Sequence[dict[str, Any]], compiled: _Graph, maker: Mapping[int, int]) -> None:
    """Note for each step those that make what it reads, also where it reads it in another order."""
    sources: list[set[int]] = []
    for k, node in enumerate(compiled.nodes):
        sources.append({maker[k]} if k in maker else {s for o in node["operands"] for s in sources[o]})
    for number, step in enumerate(steps):
        needed = {s for m in step["made"] for o in compiled.nodes[m]["operands"] for s in sources[o]}
        step["needs"] = sorted(s for s in needed if s < number)


def _note_memory(
    lowered: Lowered, number: Mapping[Variable, int], nodes: Sequence[dict[str, Any]], texts: _Texts
) -> None:
    """Write down for the values of a program in which memory they are, and why they are in memory at all."""
    decided = lowered.decisions

    def note(x: Variable, text: str) -> None:
        if x in number:
            nodes[number[x]]["memory"] = text

    for block in decided.workspace:
        for x in block.values:
            others = [texts.short(other) for other in islice((v for v in block.values if v is not x), MOST_NEIGHBOURS)]
            shares = f", the same memory as {', '.join(others)}" if others else ""
            note(x, f"in the workspace, {block.bytes} bytes{shares}")
    for x, operand in decided.taken_over.items():
        note(x, f"in the memory of {texts.short(operand)}, which it takes over")
    for x in decided.delivered:
        note(x, "in the array that the caller gets")
    for state, x in decided.in_place.items():
        note(x, f"in the memory of {texts.short(state)}")
    for state, why in decided.copied.items():
        note(state, f"its new value is computed elsewhere and copied: {why}")
    for apart in decided.apart:
        if apart.value in number and apart.reader in number:
            reasons = nodes[number[apart.value]].setdefault("apart", [])
            if len(reasons) < MOST_TARGETS:
                reasons.append([number[apart.reader], str(apart.why)])


def _counts(cost: Any, sizes: Mapping[str, int]) -> list[int] | None:
    """Operations, bytes read and bytes written in the last call, where the sizes tell them."""
    try:
        return [cost.operations(sizes), cost.read(sizes), cost.written(sizes)]
    except KeyError:
        return None


def _numbers(lowered: Lowered, rewritten: Rewritten, compiled: _Graph) -> dict[Variable, int]:
    """The nodes behind the variables of a program, which may be copies with a length in place of its expression."""
    found = dict(compiled.number)
    if len(lowered.roots) == len(rewritten.outputs):
        met: set[Variable] = set()
        stack = list(zip(lowered.roots, rewritten.outputs, strict=True))
        while stack:
            x, original = stack.pop()
            if x is original or x in met:
                continue
            met.add(x)
            if original in compiled.number:
                found[x] = compiled.number[original]
            if x.owner is not None and original.owner is not None and x.owner.op == original.owner.op:
                stack.extend(zip(x.owner.inputs, original.owner.inputs, strict=True))
    return found


def _in_steps(nodes: Sequence[Mapping[str, Any]], made: Sequence[list[int]]) -> list[list[int]]:
    """For each compiled node the steps that compute it; for inputs and what is read in another order, its readers."""
    found = [list(own) for own in made]
    users: list[list[int]] = [[] for _ in nodes]
    for k, node in enumerate(nodes):
        for o in node["operands"]:
            users[o].append(k)
    for k in reversed(range(len(nodes))):
        if nodes[k]["inlined"] or nodes[k]["kind"] != "op":
            readers = sorted({s for u in users[k] for s in found[u]})
            found[k] = readers[:MOST_TARGETS] if nodes[k]["inlined"] else readers
    return found
