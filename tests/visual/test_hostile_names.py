"""Whatever a variable is called, and whatever its line says, a figure stays a figure in every format."""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.visual.exports import tex_text

SVG = "{http://www.w3.org/2000/svg}"
NAMES = [
    '"', "'", "\\", "\\\\n\\N\\G", "</text></svg><script>alert(1)</script>", "</title><script>alert(1)//", "]]>",
    "<![CDATA[", "<!--", "-->", "&amp;&lt;&#60;", "\0\1\x1b[31m\x7f\x85", "a\nb\r\nc\t\v\f", "x" * 10_000, "W₁ψ中文𝔸é",
    "\ud800", "\u202eabc\u2066", "\u2028\u2029", "\ufffe", "$%&~_^{}#", "\\end{tikzpicture}\\input{/etc/passwd}",
    "^^M%\n\\", '"]; b9 -> b1 [label="', "}", "{", "[0pt]", "*", "`md` **bold**", "end", "a;b-->c", "#quot;#35;",
    "]:::output", "%%{init: {}}%%", "<img src=x onerror=alert(1)>", "onload=alert(1) x", "{{x}}", "[[x]]", "|", "(",
    "click b0 href", "</style>", "</template>", "${x}", "@import url(x)", "-" * 30, " ", "a\u0301\u0302",
]  # fmt: skip
KNOWN_TAGS = {"svg", "style", "rect", "g", "path", "text", "tspan", "title", "image"}
PAGE_TAGS = {"html", "head", "meta", "body", "nav", "button", "span", "main", "template", "script"} | KNOWN_TAGS


def drawings():
    """Inputs, shared variables, operations and folded lines of all these names."""
    inputs = [T.dscalar(name) for name in NAMES]
    shared = [sg.shared(1.0, name) for name in NAMES]
    products = [x * s - s / x for x, s in zip(inputs, shared)]
    for x, name in zip(products, NAMES):
        x.name = name
    source = "\n".join(f"y{k} = T.exp(products[{k}]) + 1  # {ascii(name)[1:-1]}" for k, name in enumerate(NAMES))
    made = {"T": T, "products": products}
    exec(compile(source, "</title><script>.py", "exec"), made)
    total = sum((made[f"y{k}"] for k in range(len(NAMES))), T.dscalar("start"))
    total.name = '<script>"'
    at = {**dict.fromkeys(inputs, 1.0), "start": 0}
    return [
        sg.draw(total, at=at, wrt=[*inputs, *shared], fold=None),
        sg.draw(total, at=at, wrt=shared, fold="line", descent=True),
        sg.draw(products, fold=products),
        sg.draw(total, optimized=True, at=at),
    ]


@pytest.fixture(scope="module", params=range(4), ids=["every node", "lines", "folded", "optimized"])
def drawing(request):
    return drawings()[request.param]


def test_svg(drawing):
    root = ET.fromstring(drawing.svg)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= KNOWN_TAGS
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not [name for name in attributes if name.startswith("on") or ("href" in name and name != "href")]
    shown = "".join(root.itertext())
    assert "<script>" in shown and "\\\\" in shown and "'\"'" in shown
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", drawing.svg)
    assert "xxxxxxxxx…xxxxx" in shown and "x" * 50 not in shown


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []
        self.scripts = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, [name for name, _ in attributes]))

    def handle_data(self, data):
        if self.found and self.found[-1][0] == "script":
            self.scripts.append(data)


def test_html(drawing):
    tags = Tags()
    tags.feed(drawing.html)
    names = [tag for tag, _ in tags.found]
    assert set(names) <= PAGE_TAGS
    assert names.count("script") == 1
    assert not [name for _, attributes in tags.found for name in attributes if name.startswith("on")]
    assert "alert" not in tags.scripts[0]


def test_the_script_is_the_same_in_every_page():
    def script(drawing):
        return re.search(r"<script>(.*)</script></body>", drawing.html, re.DOTALL)[1]

    assert len({script(drawing) for drawing in (*drawings(), sg.draw(T.dscalar("x") + 1))}) == 1


def test_dot(drawing):
    first, *lines, last = drawing.dot.splitlines()
    assert (first, last) == ("digraph figure {", "}")
    label = r'"(?:[^"\\&]|\\["\\n]|&amp;)*"'
    node = rf'  b\d+ \[shape=\w+(, peripheries=2|, style="rounded")?(, penwidth=2.5)?, label={label}\];'
    for line in lines[1:]:
        assert re.fullmatch(rf"{node}|  b\d+ -> b\d+;", line), line


def test_mermaid(drawing):
    first, *lines = drawing.mermaid.splitlines()
    assert first == "flowchart TD" and lines.pop() == "    classDef output stroke-width:3px"
    text = r"(?:[\w .,()=+−∂×•…-]|#\d+;|<br/>)*"
    shapes = "|".join(rf'{a}"{text}"{b}' for a, b in
                      [(r"\(\[", r"\]\)"), (r"\[\[", r"\]\]"), (r"\{\{", r"\}\}"), (r"\(", r"\)"), (r"\[", r"\]")])
    for line in lines:
        assert re.fullmatch(rf"    b\d+(?:{shapes})(?::::output)?|    b\d+ --> b\d+", line), line


TEX_COMMANDS = re.compile(
    r"\\(?:textbackslash|textasciicircum|textasciitilde|textless|textgreater|textbar|textasciigrave|dots)\{\}"
    r"|\\[{}$&#_%]|\$(?:\\[a-zA-Z]+|-|\^\d)\$|-\{\}"
)


@pytest.mark.parametrize("name", NAMES)
def test_tex_text(name):
    rest = TEX_COMMANDS.sub("", tex_text(name))
    assert not re.search(r"[\\{}$&#^_~%<>|`\"-]", rest)
    assert all(" " <= c <= "~" or "À" <= c <= "ÿ" for c in rest)


def test_tikz(drawing):
    text = drawing.tikz
    assert text.startswith("\\begin{tikzpicture}[") and text.endswith("\\end{tikzpicture}\n")
    assert text.count("\\begin{tikzpicture}") == text.count("\\end{tikzpicture}") == 1
    plain = text.replace("\\\\", "").replace("\\{", "").replace("\\}", "")
    depth = 0
    for c in plain:
        depth += (c == "{") - (c == "}")
        assert depth >= 0
    assert depth == 0
    assert "\\input" not in text and not re.search(r"[\0-\x09\x0b-\x1f]", text)
    assert "\\\\[" not in text and "\\\\*" not in text


@pytest.mark.parametrize("line", NAMES[:12] + ["x = 1 # </script>"])
def test_a_hostile_line_of_the_program(line, monkeypatch):
    monkeypatch.setattr("linecache.getline", lambda *_: line)
    x = T.dscalar("x")
    y = T.exp(x * 2) + 1
    drawing = sg.draw(y, fold=y)
    root = ET.fromstring(drawing.svg)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= KNOWN_TAGS
    assert drawing.html.count("<script>") == 1
    assert len(drawing.dot.splitlines()) == 6
