"""The contents of a figure: boxes with names, values and gradients, and the arrows between them; no coordinates."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph.grad import grad
from symgraph.graph.node import Constant, SharedVariable, Variable
from symgraph.graph.printing import excerpt
from symgraph.graph.traverse import ancestors
from symgraph.graph.values import as_array
from symgraph.interpreter import evaluate
from symgraph.visual.outline import Group, Outline, source_text
from symgraph.visual.values import Shown, array_text, shown

LONGEST_LINE = 48  # characters of a user's line in its box
MOST_INSIDE = 300  # variables shown of the inside of one box
MOST_PRINTED = 24  # elements of an array in a title


@dataclass(frozen=True)
class Box:
    """One box: a variable, or several that one line of the user's program made.

    key: its number, unique in a figure
    kind: "input", "parameter" (a shared variable), "constant", "op", or "line" (several, of a line or of a loop nest)
    name: the user's, or empty; text: the op, or the user's line
    facts: the type, where no value is shown
    value, gradient: at the point of the figure, if it has one
    title: lines shown when pointing at it
    output: whether it was asked for; role: of an output, such as "new W"
    count: variables in it; aside: it belongs to another figure and is here as a neighbour
    """

    key: int
    kind: str
    name: str
    text: str
    facts: str = ""
    value: Shown | None = None
    gradient: Shown | None = None
    title: tuple[str, ...] = ()
    output: bool = False
    role: str = ""
    count: int = 1
    aside: bool = False


@dataclass(frozen=True)
class Arrow:
    """From the box of an operand to the box that uses it."""

    source: int
    target: int


@dataclass(frozen=True)
class Figure:
    """Boxes, operands before users, and arrows.

    cost: what the gradients are of, or empty; descent: whether they are shown with the opposite sign
    note: a sentence about what is left out, or empty
    """

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    cost: str = ""
    descent: bool = False
    note: str = ""


@dataclass(frozen=True)
class Point:
    """Values and gradients of variables, where known."""

    values: Mapping[Variable, np.ndarray]
    gradients: Mapping[Variable, np.ndarray]
    cost: str = ""
    descent: bool = False


def given_arrays(roots: Sequence[Variable], at: Mapping[Any, Any]) -> dict[Variable, np.ndarray]:
    """The arrays of `at` for variables, which may be named; those of variables that are not in the graph are ignored.

    Raises TypeError for a name that no input has, ShapeError or DtypeError for an array that does not fit.
    """
    met = ancestors(roots)
    named = {x.name: x for x in met if x.owner is None and x.name}
    given: dict[Variable, np.ndarray] = {}
    for key, value in at.items():
        x = named.get(key) if isinstance(key, str) else key
        if not isinstance(x, Variable):
            raise TypeError(f"no input is called {key!r}; there are {', '.join(map(str, named.values())) or 'none'}")
        given[x] = as_array(value, x.type, str(x))
    known = set(met)
    return {x: array for x, array in given.items() if x in known}


def evaluate_at(
    roots: Sequence[Variable],
    given: Mapping[Variable, np.ndarray],
    wrt: Sequence[Variable],
    cost: str,
    *,
    descent: bool = False,
) -> Point:
    """Values of all variables that `roots` depend on; gradients of the first root along the paths to it from `wrt`.

    given: arrays for the inputs; descent: turn the signs of the gradients
    Raises what evaluation and differentiation raise: MissingInputError for an input that is not given, GradientError
    where the first root is no float scalar or does not depend on a variable in `wrt`.
    """
    values: dict[Variable, np.ndarray] = {}
    evaluate(roots, given, values)
    if not wrt:
        return Point(values, {})
    order = ancestors(roots[:1])
    reachable = set(order)
    for x in wrt:
        if x not in reachable:
            grad(roots[0], x)  # raises, and says why
    leading = set(wrt)
    for x in order:
        if x.owner is not None and not leading.isdisjoint(x.owner.inputs):
            leading.add(x)
    wanted = [x for x in order if x in leading and (x.type.is_float or x in wrt)]
    if descent:
        wanted.remove(roots[0])  # "−1" there says nothing
    derivatives = evaluate(grad(roots[0], wanted, disconnected_inputs="ignore"), values)
    turned = [-g if descent else g for g in derivatives]
    return Point(values, dict(zip(wanted, turned, strict=True)), cost, descent)


class Contents:
    """What figures of one graph are made from: the whole, and the inside of each box of several variables."""

    def __init__(
        self,
        found: Outline,
        groups: Mapping[Variable, Group],
        point: Point,
        roles: Mapping[Variable, str],
        parameters: Collection[Variable] = (),
    ) -> None:
        """`groups`: of variables that share a box; `roles`: of outputs; `parameters`: what stands for shared ones."""
        self.found = found
        self.point = point
        self.roles = roles
        self.parameters = parameters
        keys: dict[object, int] = {}
        self._regions: dict[int, str] = {}
        self._members: dict[int, list[Variable]] = {}
        self._key: dict[Variable, int] = {}
        self._users: dict[Variable, list[Variable]] = {}
        for x in found.drawn:
            self._key[x] = keys.setdefault(groups.get(x, x), len(keys))
            self._members.setdefault(self._key[x], []).append(x)
            group = groups.get(x)
            if group is not None and group[0] == "region":
                self._regions[self._key[x]] = str(group[-1])
            for v in found.operands[x]:
                self._users.setdefault(v, []).append(x)

    def whole(self) -> Figure:
        """The figure of the whole graph, each group as one box."""
        boxes = [self._box(key, members) for key, members in self._members.items()]
        arrows = []
        single = {key for key, members in self._members.items() if len(members) == 1}
        seen = set()
        for x in self.found.drawn:
            for v in self.found.operands[x]:
                source, target = self._key[v], self._key[x]
                once = source in single and target in single
                if source != target and (once or (source, target) not in seen):
                    seen.add((source, target))
                    arrows.append(Arrow(source, target))
        return Figure(tuple(boxes), tuple(arrows), self.point.cost, self.point.descent)

    def folded(self) -> list[int]:
        """The keys of the boxes that have an inside."""
        return [key for key, members in self._members.items() if len(members) > 1]

    def inside(self, key: int) -> Figure:
        """The figure of one box's variables; their neighbours stand aside, under the keys they have in the whole.

        Of what a line made again and again in the same way the last is shown.
        """
        everyone = self._members[key]
        different, times = _different(everyone, self.found.operands)
        members = different[-MOST_INSIDE:]
        own = {x: len(self._members) + number for number, x in enumerate(members)}
        uses = [(v, x) for x in members for v in self.found.operands[x] if v in own or self._key[v] != key]
        uses += [(v, x) for v in members for x in self._users.get(v, ()) if x not in own]
        arrows = [Arrow(own.get(v, self._key[v]), own.get(x, self._key[x])) for v, x in uses]
        sources = dict.fromkeys(a.source for a in arrows if a.source < len(self._members))
        targets = dict.fromkeys(a.target for a in arrows if a.target < len(self._members) and a.target not in sources)
        boxes = [
            *(self._box(k, self._members[k], aside=True) for k in sources),
            *(self._single(k, x) for x, k in own.items()),
            *(self._box(k, self._members[k], aside=True) for k in targets),
        ]
        notes = [f"the last of {times} times"] if times > 1 else []
        if len(members) < len(different):
            notes.append(f"the last {len(members)} of {len(different)} operations")
        unique = tuple(dict.fromkeys(arrows))
        return Figure(tuple(boxes), unique, self.point.cost, self.point.descent, ", ".join(notes))

    def _box(self, key: int, members: Sequence[Variable], *, aside: bool = False) -> Box:
        if len(members) == 1:
            return self._single(key, members[0], aside=aside)
        if members[0].owner is None:
            return self._leaves(key, members, aside=aside)
        last = members[-1]
        results = [x for x in members if self._is_result(x)]
        named = [x for x in results if x in self.found.names]
        out = results[0] if len(results) == 1 else named[0] if len(named) == 1 else None
        name = self.found.names.get(out, "") if out is not None else ""
        region = self._regions.get(key)
        text = f"{region}()" if region else source_text(last)
        text = text or " = ".join(filter(None, (name, self.found.expression(members) or excerpt(last))))
        text = _shortened(text, LONGEST_LINE)
        if last.origin.derived and not region:
            text = f"derivative of  {text}"
        title = (f"{len(members)} operations of {last.origin}", *([source_text(last)] if source_text(last) else []))
        if out is not None:
            title = (*self._title(out), f"{len(members)} operations")
        return Box(
            key, "line", name, text, "" if out is None or self._is_known(out) else str(out.type),
            None if aside or out is None else self._shown(self.point.values, out),
            None if aside or out is None else self._shown(self.point.gradients, out),
            title, any(x in self.found.roots for x in members), self._role(members), len(members), aside,
        )  # fmt: skip

    def _is_result(self, x: Variable) -> bool:
        """Whether a variable is used outside its box."""
        return x in self.found.roots or any(self._key[user] != self._key[x] for user in self._users.get(x, ()))

    def _leaves(self, key: int, members: Sequence[Variable], *, aside: bool) -> Box:
        first, last = (self.found.names.get(x, str(x.type)) for x in (members[0], members[-1]))
        text = f"{first} … {last}"
        title = (f"{len(members)} made at {members[0].origin}", source_text(members[0]))
        return Box(key, self._kind(members[0]), "", text, title=title, count=len(members), aside=aside)

    def _single(self, key: int, x: Variable, *, aside: bool = False) -> Box:
        return Box(
            key, self._kind(x), self.found.names.get(x, ""), self.found.label(x) if x.owner is not None else "",
            "" if self._is_known(x) and not aside else str(x.type),
            None if aside else self._shown(self.point.values, x),
            None if aside else self._shown(self.point.gradients, x),
            self._title(x), x in self.found.roots, self._role([x]), aside=aside,
        )  # fmt: skip

    def _kind(self, x: Variable) -> str:
        if x.owner is not None:
            return "op"
        if isinstance(x, SharedVariable) or x in self.parameters:
            return "parameter"
        return "constant" if isinstance(x, Constant) else "input"

    def _is_known(self, x: Variable) -> bool:
        return x in self.point.values or isinstance(x, Constant)

    def _shown(self, arrays: Mapping[Variable, np.ndarray], x: Variable) -> Shown | None:
        if x in arrays:
            return shown(arrays[x])
        return shown(x.data) if isinstance(x, Constant) and arrays is self.point.values else None

    def _role(self, members: Iterable[Variable]) -> str:
        return ", ".join(self.roles[x] for x in members if x in self.roles)

    def _title(self, x: Variable) -> tuple[str, ...]:
        name = self.found.names.get(x)
        expression = excerpt(x) if x.owner is not None else ""
        lines = [" = ".join(part for part in (name, expression) if part) or self._kind(x)]
        lines.append(f"{x.type}, {'derived from ' if x.origin.derived else ''}{x.origin}")
        if source_text(x):
            lines.append(source_text(x))
        for what, arrays in (("value", self.point.values), ("gradient", self.point.gradients)):
            if x in arrays and arrays[x].size <= MOST_PRINTED:
                minus = "minus the " if what == "gradient" and self.point.descent else ""
                lines.append(f"{minus}{what} {array_text(arrays[x])}")
        return tuple(lines)


def _different(
    members: Sequence[Variable], operands: Mapping[Variable, Sequence[Variable]]
) -> tuple[list[Variable], int]:
    """The members without connected parts that have the same ops as a later one, and how many the most alike are."""
    part: dict[Variable, Variable] = {x: x for x in members}

    def first(x: Variable) -> Variable:
        while part[x] is not x:
            part[x] = part[part[x]]
            x = part[x]
        return x

    for x in members:
        for v in operands[x]:
            if v in part:
                part[first(v)] = first(x)
    parts: dict[Variable, list[Variable]] = {}
    for x in members:
        parts.setdefault(first(x), []).append(x)
    alike: dict[object, list[list[Variable]]] = {}
    for variables in parts.values():
        place = {x: k for k, x in enumerate(variables)}
        ops = [x.owner.op if x.owner is not None else x for x in variables]
        form = tuple((op, *(place.get(v, -1) for v in operands[x])) for op, x in zip(ops, variables, strict=True))
        alike.setdefault(form, []).append(variables)
    shown = {x for same in alike.values() for x in same[-1]}
    return [x for x in members if x in shown], max(map(len, alike.values()))


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
