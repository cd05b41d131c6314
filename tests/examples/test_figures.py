"""The two figures of the textbook chapter show the book's numbers, at the nodes where the book has them."""

import runpy
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "figures.py"
SVG = "{http://www.w3.org/2000/svg}"

# Each node from top to bottom as the book draws it: what it says, its value, and its gradient times -1.
NETWORK = [
    ("x", "(1, 0)", "(0.0935, 0.116)"),
    ("W1", "3 2 4 3", "0.0484 -0.0258 0 0"),
    ("x @ W1", "(3, 2)", "(0.0484, -0.0258)"),
    ("b1", "(-2, -4)", "(0.0484, -0.0258)"),
    ("+", "(1, -2)", "(0.0484, -0.0258)"),
    ("h = sigmoid", "(0.731, 0.119)", "(0.246, -0.246)"),
    ("W2", "(5, -5)", "(0.0360, 0.00587)"),
    ("h @ W2", "3.06", "0.0492"),
    ("b2", "-2", "0.0492"),
    ("+", "1.06", "0.0492"),
    ("y = sigmoid", "0.743", "0.257"),
]
ERROR = [("t", "1", ""), ("L2 = (t - y) ** 2 / 2", "0.0331", "")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures") / "new"
    before = sys.argv
    sys.argv = [str(EXAMPLE), str(folder)]
    try:
        runpy.run_path(str(EXAMPLE))
    finally:
        sys.argv = before
    return folder


def boxes(path):
    """(heading, value, gradient) of each box of an SVG, in the order in which they stand in it."""
    found = []
    for group in ET.parse(path).getroot().iter(f"{SVG}g"):
        if group.get("data-key"):
            texts = {"head": [], "code": [], "value": [], "gradient": [], "small": []}
            for text in group.iter(f"{SVG}text"):
                texts[text.get("class").split()[0]].append("".join(text.itertext()))
            heading, value, gradient = (" ".join(texts[part]) for part in ("head", "value", "gradient"))
            found.append((heading or " ".join(texts["code"]), value, gradient.removeprefix("−∂ ")))
    return found


def test_the_network(folder):
    assert boxes(folder / "network.svg") == [(what, value, "") for what, value, _ in NETWORK]


def test_the_gradients(folder):
    assert boxes(folder / "gradients.svg") == NETWORK + ERROR


@pytest.mark.parametrize("name", ["network", "gradients"])
def test_values_stand_below_what_they_are_computed_from(folder, name):
    root = ET.parse(folder / f"{name}.svg").getroot()
    tops = {g.get("data-key"): float(g.get("transform").split()[1].rstrip(")"))
            for g in root.iter(f"{SVG}g") if g.get("data-key")}
    edges = [(g.get("data-source"), g.get("data-target")) for g in root.iter(f"{SVG}g") if g.get("data-source")]
    assert len(edges) == {"network": 10, "gradients": 12}[name]
    assert all(tops[a] < tops[b] for a, b in edges)


def test_the_same_numbers_are_in_the_latex(folder):
    text = (folder / "gradients.tex").read_text(encoding="utf-8")
    for number in ("$3.06$", "$(0.0360, 0.00587)$", "$(0.246, -0.246)$", "$0.0492$", "$0.257$", "0.0484 & -0.0258"):
        assert number in text
