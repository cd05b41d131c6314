"""A figure for other programs: Graphviz, Mermaid, and LaTeX with TikZ.

A user's names and lines are data in every one of them: what the language would take for its own is written in its
escapes.
"""

from __future__ import annotations

import re
from itertools import pairwise

from symgraph.visual.figure import Box, Figure
from symgraph.visual.layout import Route, is_loose
from symgraph.visual.svg import Placed
from symgraph.visual.values import Shown


def label_lines(box: Box, descent: bool) -> list[str]:
    """What a box says, as plain lines of text."""
    heading = box.text if box.kind == "line" else " = ".join(part for part in (box.name, box.text) if part)
    lines = [heading, box.facts]
    if box.value is not None:
        lines.append(box.value.text)
    if box.gradient is not None:
        lines.append(f"{'−∂' if descent else '∂'} {box.gradient.text}")
    if box.count > 1:
        lines.append(f"{box.count} {'operations' if box.kind == 'line' else 'variables'}")
    return [line for line in (*lines, box.role) if line]


# -- Graphviz

DOT_SHAPES = {
    "input": "shape=oval", "parameter": "shape=box, peripheries=2", "constant": "shape=octagon",
    "op": 'shape=box, style="rounded"', "line": "shape=box3d",
}  # fmt: skip


def dot(figure: Figure) -> str:
    """The figure in the language of Graphviz.

    Source: https://graphviz.org/doc/info/lang.html; labels also know escapes with \\ and HTML's entities
    """
    lines = ["digraph figure {", '  node [fontname="Helvetica"];']
    for box in figure.boxes:
        label = "\\n".join(_dot_text(line) for line in label_lines(box, figure.descent))
        thick = ", penwidth=2.5" if box.output else ""
        lines.append(f'  b{box.key} [{DOT_SHAPES[box.kind]}{thick}, label="{label}"];')
    lines += [f"  b{arrow.source} -> b{arrow.target};" for arrow in figure.arrows]
    return "\n".join([*lines, "}", ""])


def _dot_text(text: str) -> str:
    return _printable(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


# -- Mermaid

MERMAID_SHAPES = {
    "input": ('(["', '"])'), "parameter": ('[["', '"]]'), "constant": ('{{"', '"}}'), "op": ('("', '")'),
    "line": ('["', '"]'),
}  # fmt: skip


def mermaid(figure: Figure) -> str:
    """The figure as a Mermaid flowchart.

    Source: https://mermaid.js.org/syntax/flowchart.html, "Entity codes to escape characters"
    """
    lines = ["flowchart TD"]
    for box in figure.boxes:
        before, after = MERMAID_SHAPES[box.kind]
        label = "<br/>".join(_mermaid_text(line) for line in label_lines(box, figure.descent))
        lines.append(f"    b{box.key}{before}{label}{after}{':::output' * box.output}")
    lines += [f"    b{arrow.source} --> b{arrow.target}" for arrow in figure.arrows]
    return "\n".join([*lines, "    classDef output stroke-width:3px", ""])


def _mermaid_text(text: str) -> str:
    return re.sub(r"[^\w .,()=+−∂×•…-]|_", lambda match: f"#{ord(match[0])};", _printable(text))


# -- TikZ

SCALE = 0.75  # points in a pixel
TEX_STYLES = """\
  x=1pt, y=-1pt, >=stealth, every node/.style={draw, align=center, inner sep=0pt, font=\\small},
  input/.style={rounded rectangle}, parameter/.style={double, double distance=1.5pt, line width=0.6pt},
  constant/.style={chamfered rectangle, chamfered rectangle sep=4pt}, op/.style={rounded corners=3pt},
  line/.style={rounded corners=3pt, dashed}, output/.style={line width=1.4pt},
  edge/.style={->, gray!60!black}, loose/.style={densely dotted}"""
TEX_SPECIALS = {
    "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "$": "\\$", "&": "\\&", "#": "\\#", "_": "\\_", "%": "\\%",
    "^": "\\textasciicircum{}", "~": "\\textasciitilde{}", "<": "\\textless{}", ">": "\\textgreater{}",
    "|": "\\textbar{}", "`": "\\textasciigrave{}", '"': "''", "-": "-{}", "−": "$-$", "×": "$\\times$",
    "•": "$\\bullet$", "·": "$\\cdot$", "∂": "$\\partial$", "…": "\\dots{}",
}  # fmt: skip
SUPERSCRIPT_DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
GREEK = dict(zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ", """
    alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega
    Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega
    """.split(), strict=True))  # fmt: skip


def tikz(placed: Placed) -> str:
    """The figure as a tikzpicture with the layout of the SVG, without heat maps; needs the library `shapes.misc`."""
    descent = placed.figure.descent
    lines = ["\\begin{tikzpicture}[", f"{TEX_STYLES}]"]
    for arrow, route in zip(placed.figure.arrows, placed.routes, strict=True):
        if route:
            lines.append(f"  {_tex_edge(route)} % b{arrow.source} to b{arrow.target}")
    for box in placed.figure.boxes:
        (x, y), (width, height) = placed.corners[box.key], placed.sizes[box.key]
        size = f"minimum width={width * SCALE:.1f}pt, minimum height={height * SCALE:.1f}pt"
        place = f"({(x + width / 2) * SCALE:.1f}, {(y + height / 2) * SCALE:.1f})"
        content = "\\\\{}".join(_tex_lines(box, descent))
        lines.append(f"  \\node[{box.kind}{', output' * box.output}, fill=white, {size}] (b{box.key}) at {place}")
        lines.append(f"    {{{content}}};")
    return "\n".join([*lines, "\\end{tikzpicture}", ""])


def tikz_document(picture: str) -> str:
    """A LaTeX document of one picture, for pdflatex, xelatex or lualatex."""
    return (
        "\\documentclass[tikz, border=4pt]{standalone}\n\\usetikzlibrary{shapes.misc}\n"
        f"\\begin{{document}}\n{picture}\\end{{document}}\n"
    )


def tex_text(text: str) -> str:
    """Text for LaTeX, by any of its engines: Greek as mathematics, what lies beyond Latin letters by its number."""
    return "".join(_tex_character(c) for c in text)


def _tex_character(c: str) -> str:
    if c in TEX_SPECIALS:
        return TEX_SPECIALS[c]
    if c in GREEK:
        return f"$\\{GREEK[c]}$"
    if c in SUPERSCRIPT_DIGITS:
        return f"$^{SUPERSCRIPT_DIGITS.index(c)}$"
    return c if " " <= c <= "~" or "À" <= c <= "ÿ" else f"U+{ord(c):04X}"


def _tex_lines(box: Box, descent: bool) -> list[str]:
    name = f"\\textbf{{{tex_text(box.name)}}}" if box.name else ""
    if box.kind == "line":
        lines = [f"\\texttt{{{tex_text(box.text)}}}"]
    else:
        lines = [" $=$ ".join(part for part in (name, tex_text(box.text)) if part)]
    lines.append(f"\\footnotesize {tex_text(box.facts)}" if box.facts else "")
    if box.value is not None:
        lines.append(_tex_array(box.value))
    if box.gradient is not None:
        sign = "$-\\partial$" if descent else "$\\partial$"
        lines.append(f"\\color{{red!70!black}}{sign} {_tex_array(box.gradient)}")
    if box.count > 1:
        lines.append(f"\\footnotesize {box.count} {'operations' if box.kind == 'line' else 'variables'}")
    lines.append(f"\\footnotesize {tex_text(box.role)}" if box.role else "")
    return [line for line in lines if line]


def _tex_array(array: Shown) -> str:
    if array.rows and array.rows[0]:
        rows = "\\\\ ".join(" & ".join(map(_tex_numbers, row)) for row in array.rows)
        return f"$\\left[\\begin{{array}}{{{'r' * len(array.rows[0])}}}{rows}\\end{{array}}\\right]$"
    if re.fullmatch(r"[-\d., ()e]+", array.text):
        return f"${_tex_numbers(array.text)}$"
    return tex_text(array.text)


def _tex_numbers(text: str) -> str:
    """Numbers inside mathematics, 1.2e-7 with its power of ten."""
    return re.sub(r"[a-zA-Z]+", r"\\mathrm{\g<0>}", re.sub(r"e(-?\d+)", r"{\\cdot}10^{\1}", text).replace(
        "\\cdot", "\0")).replace("\0", "\\cdot")  # fmt: skip


def _tex_edge(route: Route) -> str:
    points = [f"({x * SCALE:.1f}, {y * SCALE:.1f})" for x, y in route]
    loose = is_loose(route)
    parts = [f"\\draw[edge{', loose' * loose}] {points[0]}"]
    for k, ((x1, y1), (x2, y2)) in enumerate(pairwise(route), 1):
        if abs(x1 - x2) < 0.5 or loose:
            parts.append(f"-- {points[k]}")
        else:
            middle = (y1 + y2) / 2 * SCALE
            parts.append(
                f".. controls ({x1 * SCALE:.1f}, {middle:.1f}) and ({x2 * SCALE:.1f}, {middle:.1f}) .. {points[k]}"
            )
    return " ".join(parts) + ";"
