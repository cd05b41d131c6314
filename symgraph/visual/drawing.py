"""`draw`: the textbook figure of any graph, with every value and every gradient written at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from symgraph.errors import MissingInputError
from symgraph.function import Function
from symgraph.graph.assigned import assigned_names
from symgraph.graph.node import Constant, SharedVariable, Variable
from symgraph.graph.printing import name_of
from symgraph.graph.traverse import ancestors, leaves
from symgraph.graph.types import Shape
from symgraph.rewrite.pipeline import rewrite
from symgraph.variants import refine
from symgraph.visual.exports import dot, mermaid, tikz, tikz_document
from symgraph.visual.figure import Contents, Figure, Point, evaluate_at, given_arrays
from symgraph.visual.outline import Group, around, by_line, by_region, outline
from symgraph.visual.svg import Placed, place, svg
from symgraph.visual.unfolding import page

MOST_BOXES = 60  # with fold="auto", above which lines are folded


class Drawing:
    """A figure of a graph, in several formats; at the notebook it shows itself.

    figure: its boxes and arrows, without coordinates
    """

    def __init__(self, contents: Contents):
        self._contents = contents
        self.figure: Figure = contents.whole()

    @cached_property
    def _placed(self) -> Placed:
        return place(self.figure)

    @cached_property
    def svg(self) -> str:
        """A self-contained SVG, without script, for light and dark screens and for paper."""
        return svg(self._placed)

    @cached_property
    def html(self) -> str:
        """A self-contained page in which a click unfolds the box of a line; nothing is loaded from elsewhere."""
        inside = {key: svg(place(self._contents.inside(key))) for key in self._contents.folded()}
        return page(self.svg, inside)

    @property
    def dot(self) -> str:
        """The graph in the language of Graphviz."""
        return dot(self.figure)

    @property
    def mermaid(self) -> str:
        """The graph as a Mermaid flowchart, as Markdown on GitHub and elsewhere shows it."""
        return mermaid(self.figure)

    @property
    def tikz(self) -> str:
        """A tikzpicture environment for LaTeX, with the same layout; needs the TikZ library `shapes.misc`."""
        return tikz(self._placed)

    def save(self, path: str | Path) -> Path:
        """Write a file whose suffix says the format: .svg .html .dot .gv .mmd .mermaid .tikz, or .tex for a document.

        Returns the path. Raises ValueError for another suffix, OSError where the file cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in FORMATS:
            raise ValueError(f"a figure is saved as {', '.join(FORMATS)}, not as {suffix or 'a file without a suffix'}")
        path.write_text(FORMATS[suffix](self), encoding="utf-8")
        return path

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x:auto">{self.svg}</div>'

    def __repr__(self) -> str:
        return f"<a drawing of {len(self.figure.boxes)} boxes; .save('figure.svg') writes it; also {' '.join(FORMATS)}>"


FORMATS = {
    ".svg": lambda d: d.svg, ".html": lambda d: d.html, ".dot": lambda d: d.dot, ".gv": lambda d: d.dot,
    ".mmd": lambda d: d.mermaid, ".mermaid": lambda d: d.mermaid, ".tikz": lambda d: d.tikz,
    ".tex": lambda d: tikz_document(d.tikz),
}  # fmt: skip


def draw(
    what: Variable | Sequence[Variable] | Function,
    at: Mapping[Any, Any] | None = None,
    wrt: Variable | Sequence[Variable] = (),
    optimized: bool = False,
    fold: str | Variable | Iterable[Variable] | None = "auto",
    descent: bool = False,
) -> Drawing:
    """The figure of a computation: inputs at the top, each value and each gradient written at its node.

    what: a variable, a list of them, or a compiled function, of which outputs and updates are drawn
    at: {input: value}, by variable or by name; shared variables have their present value unless one is given.
        Arrays of up to 6 elements are written out, of larger ones shape, norm and a heat map. Without `at`: types
    wrt: where gradients of the first output lead to; they are shown there and at every node on the way
    optimized: draw the graph after rewriting, as it is compiled
    fold: "line" draws what one line of the program made as one box, None draws even constants and the bookkeeping of
        broadcasting, "auto" folds lines in large graphs only; "region" draws the graph that a function compiled, each
        of its loop nests as one box; variables: what their lines made is one box each
    descent: show gradients with the opposite sign, the direction in which the cost falls

    Raises TypeError for something that cannot be drawn, a name in `at` that no input has, or an unknown `fold`;
    MissingInputError, ShapeError and DtypeError where `at` does not fit; GradientError where `wrt` does not.
    """
    roots, roles = _roots(what)
    targets = [wrt] if isinstance(wrt, Variable) else list(wrt)
    given = given_arrays(roots, at) if at is not None else {}
    parameters: list[Variable] = []
    if fold == "region":
        roots, given, targets, parameters = _compiled(what, given, targets)
    elif optimized:
        roots, given, targets, parameters = _rewritten(roots, given, targets)
    if targets and at is None and any(not isinstance(x, SharedVariable) for x in leaves(roots[:1])):
        raise MissingInputError("gradients are shown as numbers: say at which values, by at={input: value}")
    assigned = assigned_names(roots)
    point = Point({}, {})
    if at is not None or targets:
        cost = name_of(roots[0]) or assigned.get(roots[0]) or "the cost"
        point = evaluate_at(roots, given, targets, cost, descent=descent)
    found = outline(roots, assigned, point.values, tidy=fold is not None)
    groups: dict[Variable, Group] = {}
    if fold == "line" or (fold == "auto" and len(found.drawn) > MOST_BOXES):
        groups = by_line(found)
    elif fold == "region":
        groups = by_region(found, what.graph.steps)  # type: ignore[union-attr]
    elif isinstance(fold, str) and fold != "auto":
        raise TypeError(f"fold is 'auto', 'line', 'region', None or variables, not {fold!r}")
    elif fold is not None and not isinstance(fold, str):
        groups = around(found, [fold] if isinstance(fold, Variable) else fold)
    return Drawing(Contents(found, groups, point, {roots[k]: role for k, role in roles.items()}, parameters))


def _roots(what: Any) -> tuple[list[Variable], dict[int, str]]:
    """What to draw, and for new values of shared variables which they are."""
    if isinstance(what, Variable):
        return [what], {}
    if isinstance(what, Function):
        count = len(what.outputs)
        names = [name_of(s) or str(s.type) for s, _ in what.updates]
        roles = {count + k: f"new {name}" for k, name in enumerate(names)}
        return [*what.outputs, *(new for _, new in what.updates)], roles
    if isinstance(what, (list, tuple)) and what and all(isinstance(x, Variable) for x in what):
        return list(what), {}
    raise TypeError(f"draw takes a variable, a list of variables or a compiled function, not {type(what).__name__}")


def _compiled(
    what: Any, given: Mapping[Variable, np.ndarray], targets: Sequence[Variable]
) -> tuple[list[Variable], dict[Variable, np.ndarray], list[Variable], list[Variable]]:
    """The graph that a function compiled, with what stands for inputs and shared variables in it."""
    if not isinstance(what, Function) or not what.graph.leaves:
        raise TypeError("fold='region' draws the loop nests of a compiled function, and of nothing else")
    stand_ins = what.graph.leaves
    for x in [*given, *targets]:
        if x not in stand_ins:
            raise TypeError(f"{x} is computed, and rewriting may do without it: give inputs and shared variables")
    shared = {new: x.storage for x, new in stand_ins.items() if isinstance(x, SharedVariable)}
    values = {**shared, **{stand_ins[x]: array for x, array in given.items()}}
    return list(what.graph.rewritten), values, [stand_ins[x] for x in targets], list(shared)


def _rewritten(
    roots: list[Variable], given: dict[Variable, np.ndarray], targets: list[Variable]
) -> tuple[list[Variable], dict[Variable, np.ndarray], list[Variable], list[Variable]]:
    """The same after rewriting, with the lengths known that the values have, and what stands for shared variables."""
    inputs = [x for x in ancestors(roots) if x.owner is None and not isinstance(x, Constant)]
    for x in [*given, *targets]:
        if x.owner is not None:
            raise TypeError(f"{x} is computed, and rewriting may do without it: give inputs and shared variables")
    shapes: dict[Variable, Shape] = {x: x.storage.shape for x in inputs if isinstance(x, SharedVariable)}
    refined, stand_ins = refine(roots, shapes | {x: array.shape for x, array in given.items()})
    values = {new: x.storage for x, new in stand_ins.items() if isinstance(x, SharedVariable)}
    values.update((stand_ins[x], array) for x, array in given.items())
    outputs = rewrite(refined, names=assigned_names(refined)).outputs
    parameters = [new for x, new in stand_ins.items() if isinstance(x, SharedVariable)]
    return list(outputs), values, [stand_ins.get(x, x) for x in targets], parameters
