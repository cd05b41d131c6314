"""A figure as a self-contained SVG: no script, no network, no fonts of its own, light and dark."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from symgraph.visual.figure import Box, Figure
from symgraph.visual.layout import Point, Route, is_loose, layered
from symgraph.visual.values import Shown, png

MARGIN = 16.0
PADDING = {"input": (16.0, 7.0), "parameter": (12.0, 9.0), "constant": (14.0, 7.0)}  # (sideways, above and below)
PLAIN_PADDING = (11.0, 7.0)
ROW_GAP = 3.0
CORNER = 8.0  # of a constant, cut off
HEAD = 7.0  # length of an arrow's head
HEAT = 44.0  # the longer side of a heat map
THINNEST = 6.0  # its shorter side at least

SIZES = {"head": 14.0, "value": 13.0, "gradient": 13.0, "small": 11.0, "code": 12.0}
LINE = 1.22  # height of a line of text, in sizes of its font

# Widths of the characters from space to ~ in thousandths of the font's size, as in Adobe's metrics of Helvetica.
HELVETICA = """
278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 278 278 584 584
584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778 722 667 611 722 667 944 667 667 611
278 278 278 469 556 333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 278 556 500 722 500
500 500 334 260 334 584
"""
WIDTHS = {chr(32 + k): int(w) / 1000 for k, w in enumerate(HELVETICA.split())}
WIDTHS |= {"•": 0.35, "·": 0.278, "×": 0.584, "−": 0.584, "…": 1.0, "∂": 0.494}
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MONOSPACED = 0.602
BOLDER = 1.07

STYLE = """
.sg-figure{font-family:"Helvetica Neue",Helvetica,Arial,"Liberation Sans",sans-serif}
.sg-figure text{fill:#1b1b1b;white-space:pre}
.sg-figure .head{font-size:14px}.sg-figure .name{font-weight:bold}
.sg-figure .value{font-size:13px}.sg-figure .gradient{font-size:13px;font-style:italic;fill:#b3261e}
.sg-figure .small{font-size:11px;fill:#666}
.sg-figure .code{font-size:12px;font-family:Menlo,Consolas,"DejaVu Sans Mono","Liberation Mono",monospace}
.sg-figure .paper{fill:#fff}
.sg-figure .shape{fill:#fff;stroke:#3a3a3a;stroke-width:1.2}.sg-figure .inner{fill:none}
.sg-figure .input .shape{fill:#e8f1fb;stroke:#2a659e}
.sg-figure .parameter .shape{fill:#fdf2d9;stroke:#9a6b0f}.sg-figure .parameter .inner{fill:none;stroke-width:.8}
.sg-figure .constant .shape{fill:#f0f0f0;stroke:#6b6b6b}
.sg-figure .line .shape{fill:#eff6ec;stroke:#4a7837}
.sg-figure .output .shape{stroke-width:2.6}.sg-figure .output .inner{stroke-width:.8}
.sg-figure .aside{opacity:.55}.sg-figure .aside .shape{stroke-dasharray:4 3}
.sg-figure .edge{fill:none;stroke:#5d5d5d;stroke-width:1.2}.sg-figure .tip{fill:#5d5d5d}
.sg-figure .loose{stroke-dasharray:2 4;opacity:.6}
.sg-figure .bracket{fill:none;stroke:#1b1b1b}.sg-figure .bracket.of-gradient{stroke:#b3261e}
.sg-figure .frame{fill:none;stroke:#888;stroke-width:.6}
.sg-figure .box:hover .shape{stroke-width:2.2}
"""
DARK = """
.sg-figure text{fill:#e8e8e8}.sg-figure .gradient{fill:#ff9d92}.sg-figure .small{fill:#a5a5a5}
.sg-figure .paper{fill:#16181d}
.sg-figure .shape{fill:#22252c;stroke:#c9c9c9}
.sg-figure .input .shape{fill:#1c2f45;stroke:#7fb4ea}
.sg-figure .parameter .shape{fill:#3b3017;stroke:#e0b457}
.sg-figure .constant .shape{fill:#2b2b2b;stroke:#a0a0a0}
.sg-figure .line .shape{fill:#21301c;stroke:#93c47d}
.sg-figure .edge{stroke:#a8a8a8}.sg-figure .tip{fill:#a8a8a8}
.sg-figure .bracket{stroke:#e8e8e8}.sg-figure .bracket.of-gradient{stroke:#ff9d92}
"""
KINDS = {
    "input": "input", "parameter": "parameter", "constant": "constant", "op": "operation",
    "line": "line of the program",
}  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A piece of a drawing: its size, and its SVG with the top left corner at (0, 0)."""

    width: float
    height: float
    svg: str


@dataclass(frozen=True)
class Placed:
    """A figure with coordinates.

    contents: what is in each box, by key; sizes of boxes; corners: their top left; routes: of arrows
    """

    figure: Figure
    contents: dict[int, Block]
    sizes: dict[int, tuple[float, float]]
    corners: dict[int, Point]
    routes: list[Route]

    @property
    def size(self) -> tuple[float, float]:
        """The width and height that boxes and arrows take."""
        points = [
            *((x + self.sizes[key][0], y + self.sizes[key][1]) for key, (x, y) in self.corners.items()),
            *(point for route in self.routes for point in route),
        ]
        return max((x for x, _ in points), default=0.0), max((y for _, y in points), default=0.0)


def place(figure: Figure) -> Placed:
    """Measure the boxes of a figure and lay it out."""
    contents = {box.key: _content(box, figure.descent) for box in figure.boxes}
    sizes = {box.key: _outer(box, contents[box.key]) for box in figure.boxes}
    arrows = [(arrow.source, arrow.target) for arrow in figure.arrows]
    corners, routes = layered([box.key for box in figure.boxes], arrows, sizes)
    return Placed(figure, contents, sizes, corners, routes)


def svg(placed: Placed) -> str:
    """The SVG text of a figure, with a legend below it. Boxes carry their key, arrows the keys of their ends."""
    width, height = placed.size
    legend = _legend(placed.figure, max(width, 360.0))
    full_width = max(width, legend.width) + 2 * MARGIN
    full_height = height + legend.height + (3 if legend.height else 2) * MARGIN
    left = (full_width - width) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="sg-figure" role="img" aria-label="computation graph" '
        f'width="{_n(full_width)}" height="{_n(full_height)}" viewBox="0 0 {_n(full_width)} {_n(full_height)}">',
        f"<style>{STYLE}@media screen and (prefers-color-scheme:dark){{{DARK}}}</style>",
        f'<rect class="paper" width="{_n(full_width)}" height="{_n(full_height)}" rx="6"/>',
        f'<g transform="translate({_n(left)} {_n(MARGIN)})">',
        *(_edge(a.source, a.target, r) for a, r in zip(placed.figure.arrows, placed.routes, strict=True) if r),
        *(_box(box, placed) for box in placed.figure.boxes),
        "</g>",
        _at(legend.svg, (full_width - legend.width) / 2, height + 2 * MARGIN),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


# -- text


def escape(text: str) -> str:
    """Text for XML content and attributes; what XML forbids, and what could reverse or hide text, becomes a sign."""
    clean = "".join(c if unicodedata.category(c)[0] != "C" or c in "\n\t" else REPLACEMENT for c in text)
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#39;")):
        clean = clean.replace(character, entity)
    return clean


def text_width(text: str, style: str, *, bold: bool = False) -> float:
    """The width of a text in a font like Helvetica, or for code in a monospaced one; estimated beyond ASCII."""
    em = sum(_character(c) if style != "code" else max(MONOSPACED, _wide(c)) for c in text)
    return em * SIZES[style] * (BOLDER if bold else 1.0)


def _character(c: str) -> float:
    known = WIDTHS.get(c)
    if known is not None:
        return known
    return 0.0 if unicodedata.combining(c) else max(0.65, _wide(c))


def _wide(c: str) -> float:
    return 1.0 if unicodedata.east_asian_width(c) in "WF" else 0.0


def _text(text: str, style: str, *, bold: bool = False) -> Block:
    size = SIZES[style]
    name = f"{style} name" if bold else style
    width = text_width(text, style, bold=bold)
    svg = f'<text class="{name}" y="{_n(size * 0.95)}"{_as_wide(width)}>{escape(text)}</text>'
    return Block(width, size * LINE, svg)


def _as_wide(width: float) -> str:
    """Attributes by which a text takes the width that was measured, whatever font it is shown in."""
    return f' textLength="{_n(width)}" lengthAdjust="spacingAndGlyphs"' if width else ""


# -- blocks


def _n(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".") if number else "0"


def _at(svg: str, x: float, y: float) -> str:
    return f'<g transform="translate({_n(x)} {_n(y)})">{svg}</g>' if svg else ""


def _beside(blocks: Sequence[Block], gap: float) -> Block:
    """Blocks side by side, centred on one line."""
    height = max((b.height for b in blocks), default=0.0)
    x, parts = 0.0, []
    for block in blocks:
        parts.append(_at(block.svg, x, (height - block.height) / 2))
        x += block.width + gap
    return Block(max(x - gap, 0.0), height, "".join(parts))


def _below(blocks: Sequence[Block], gap: float) -> Block:
    """Blocks one below the other, centred."""
    width = max((b.width for b in blocks), default=0.0)
    y, parts = 0.0, []
    for block in blocks:
        parts.append(_at(block.svg, (width - block.width) / 2, y))
        y += block.height + gap
    return Block(width, max(y - gap, 0.0), "".join(parts))


def _content(box: Box, descent: bool) -> Block:
    rows = [_heading(box)]
    if box.facts:
        rows.append(_text(box.facts, "small"))
    sign = _text("−∂" if descent else "∂", "gradient")
    if box.value is not None:
        value = _array(box.value, "value")
        pictures = box.value.heat is not None and box.gradient is not None  # one below the other
        rows.append(_beside([Block(sign.width, 0.0, ""), value], 4.0) if pictures else value)
    if box.gradient is not None:
        rows.append(_beside([sign, _array(box.gradient, "gradient")], 4.0))
    if box.count > 1:
        rows.append(_text(f"{box.count} {'operations' if box.kind == 'line' else 'variables'}", "small"))
    if box.role:
        rows.append(_text(box.role, "small"))
    return _below([row for row in rows if row.width], ROW_GAP)


def _heading(box: Box) -> Block:
    if box.kind == "line":
        return _text(box.text, "code")
    name = [_text(box.name, "head", bold=True)] if box.name else []
    if not box.text:
        return _beside(name, 0.0)
    return _beside([*name, _text(f"= {box.text}" if name else box.text, "head")], 5.0)


def _array(array: Shown, style: str) -> Block:
    if array.heat is not None:
        shape, norm = array.text.split("  ", 1)
        words = _below([_text(shape, style), _text(norm, style)], 0.0)
        return _beside([_heat(array), words], 6.0)
    if array.rows and array.rows[0]:
        return _matrix(array, style)
    return _text(array.text, style)


def _matrix(array: Shown, style: str) -> Block:
    widths = [[text_width(cell, style) for cell in row] for row in array.rows]
    columns = [max(column) for column in zip(*widths, strict=True)]
    line, gap, inset = SIZES[style] * LINE, 9.0, 8.0
    rights = [inset + sum(columns[: k + 1]) + gap * k for k in range(len(columns))]
    width, height = rights[-1] + inset, line * len(array.rows)
    parts = []
    for number, (row, wide) in enumerate(zip(array.rows, widths, strict=True)):
        y = _n(line * number + SIZES[style] * 0.95)
        cells = " ".join(
            f'<tspan x="{_n(x)}"{_as_wide(w)}>{escape(c)}</tspan>' for x, w, c in zip(rights, wide, row, strict=True)
        )
        parts.append(f'<text class="{style}" text-anchor="end" y="{y}">{cells}</text>')
    for x, tip in ((1.0, 4.0), (width - 1.0, width - 4.0)):
        path = f"M{_n(tip)} 0H{_n(x)}V{_n(height)}H{_n(tip)}"
        parts.append(f'<path class="bracket of-{style}" d="{path}"/>')
    return Block(width, height, "".join(parts))


def _heat(array: Shown) -> Block:
    assert array.heat is not None
    rows, columns = array.heat.shape
    scale = HEAT / max(rows, columns)
    width, height = max(columns * scale, THINNEST), max(rows * scale, THINNEST)
    size = f'width="{_n(width)}" height="{_n(height)}"'
    image = f'<image {size} preserveAspectRatio="none" style="image-rendering:pixelated" href="{png(array.heat)}"/>'
    return Block(width, height, f'{image}<rect class="frame" {size}/>')


# -- boxes and arrows


def _outer(box: Box, content: Block) -> tuple[float, float]:
    sideways, above = PADDING.get(box.kind, PLAIN_PADDING)
    return max(content.width + 2 * sideways, 34.0), content.height + 2 * above


def _box(box: Box, placed: Placed) -> str:
    (x, y), (width, height), content = placed.corners[box.key], placed.sizes[box.key], placed.contents[box.key]
    classes = " ".join(["box", box.kind, *["output"] * box.output, *["aside"] * box.aside])
    title = f"<title>{escape(chr(10).join(box.title))}</title>" if box.title else ""
    inside = _at(content.svg, (width - content.width) / 2, (height - content.height) / 2)
    shape = outline_of(box.kind, width, height, several=box.count > 1)
    return (
        f'<g class="{classes}" data-key="{box.key}" transform="translate({_n(x)} {_n(y)})">{title}{shape}{inside}</g>'
    )


def outline_of(kind: str, width: float, height: float, *, several: bool = False) -> str:
    """The outline that tells the kind of a box: round ends, a double frame, cut corners, or a plain rectangle."""
    size = f'width="{_n(width)}" height="{_n(height)}"'
    behind = f'<rect class="shape" x="4" y="4" {size} rx="5"/>' if several else ""
    if kind == "input":
        return f'{behind}<rect class="shape" {size} rx="{_n(min(height / 2, 17.0))}"/>'
    if kind == "parameter":
        inner = f'<rect class="shape inner" x="3" y="3" width="{_n(width - 6)}" height="{_n(height - 6)}"/>'
        return f'{behind}<rect class="shape" {size}/>{inner}'
    if kind == "constant":
        c = min(CORNER, height / 3)
        path = (
            f"M{_n(c)} 0H{_n(width - c)}L{_n(width)} {_n(c)}V{_n(height - c)}L{_n(width - c)} {_n(height)}"
            f"H{_n(c)}L0 {_n(height - c)}V{_n(c)}Z"
        )
        return f'{behind}<path class="shape" d="{path}"/>'
    return f'{behind}<rect class="shape" {size} rx="5"/>'


def _edge(source: int, target: int, route: Route) -> str:
    (x, y), before = route[-1], route[-2]
    up = before[1] > y
    neck = y + HEAD - 1 if up else y - HEAD + 1
    wing = y + HEAD if up else y - HEAD
    points = [*route[:-1], (x, neck)]
    loose = is_loose(route)
    path = [f"M{_n(points[0][0])} {_n(points[0][1])}"]
    for (x1, y1), (x2, y2) in pairwise(points):
        if abs(x1 - x2) < 0.5 or loose:
            path.append(f"L{_n(x2)} {_n(y2)}")
        else:
            middle = _n((y1 + y2) / 2)
            path.append(f"C{_n(x1)} {middle} {_n(x2)} {middle} {_n(x2)} {_n(y2)}")
    tip = f"M{_n(x)} {_n(y)}L{_n(x - 3.6)} {_n(wing)}L{_n(x + 3.6)} {_n(wing)}Z"
    name = "edge loose" if loose else "edge"
    return (
        f'<g data-source="{source}" data-target="{target}"><path class="{name}" d="{"".join(path)}"/>'
        f'<path class="tip" d="{tip}"/></g>'
    )


def _legend(figure: Figure, width: float) -> Block:
    """What the shapes and the numbers mean, in as many rows as it takes."""
    met = [kind for kind in KINDS if any(box.kind == kind for box in figure.boxes)]
    items = [
        _beside([Block(24, 15, f'<g class="{kind}">{outline_of(kind, 24, 15)}</g>'), _text(KINDS[kind], "small")], 6.0)
        for kind in (met if len(met) > 1 else [])
    ]
    if figure.cost:
        words = f"minus the gradient of {figure.cost}: the way down" if figure.descent else f"gradient of {figure.cost}"
        items.append(_beside([_text("−∂" if figure.descent else "∂", "gradient"), _text(words, "small")], 6.0))
    shown = [array for box in figure.boxes for array in (box.value, box.gradient) if array is not None]
    if any(array.heat is not None for array in shown):
        items.append(_text("heat maps: blue below zero, red above", "small"))
    if figure.note:
        items.append(_text(figure.note, "small"))
    rows: list[list[Block]] = []
    room = 0.0
    for item in items:
        if not rows or room < item.width:
            rows.append([])
            room = width
        rows[-1].append(item)
        room -= item.width + 18.0
    return _below([_beside(row, 18.0) for row in rows], 6.0)
