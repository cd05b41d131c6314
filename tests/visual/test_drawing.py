"""`draw`: values, gradients, folding, optimization, functions, formats and errors."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import combinations

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.errors import DtypeError, GradientError, MissingInputError, ShapeError
from symgraph.graph.traverse import ancestors
from symgraph.interpreter import evaluate
from symgraph.visual.figure import MOST_INSIDE, evaluate_at
from symgraph.visual.svg import place
from tests.visual.chromium import Chromium, find_chromium

SVG = "{http://www.w3.org/2000/svg}"
RNG = np.random.default_rng(0)


def network():
    x, t = T.dmatrix("x"), T.dvector("t")
    W, b = sg.shared(RNG.normal(size=(3, 2)), "W"), sg.shared(RNG.normal(size=2), "b")
    w = sg.shared(RNG.normal(size=2), "w")
    h = T.tanh(T.dot(x, W) + b)
    y = T.dot(h, w)
    cost = ((y - t) ** 2).mean()
    return x, t, (W, b, w), h, y, cost


def texts(drawing):
    root = ET.fromstring(drawing.svg)
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def box_named(drawing, name):
    (box,) = [box for box in drawing.figure.boxes if box.name == name]
    return box


def test_values_are_those_of_numpy():
    x, t, (W, b, w), _, _, cost = network()
    X, Y = RNG.normal(size=(4, 3)), RNG.normal(size=4)
    drawing = sg.draw(cost, at={x: X, t: Y})
    expected = np.mean((np.tanh(X @ W.get_value() + b.get_value()) @ w.get_value() - Y) ** 2)
    assert box_named(drawing, "cost").value.text == f"{expected:#.3g}"
    hidden = np.tanh(X @ W.get_value() + b.get_value())
    assert box_named(drawing, "h").value.text == f"4 × 2  norm {np.linalg.norm(hidden):.2f}"
    np.testing.assert_allclose(box_named(drawing, "h").value.heat, hidden)


def test_gradients_are_those_of_finite_differences_at_every_node():
    x, t, parameters, _, _, cost = network()
    given = {x: RNG.normal(size=(4, 3)), t: RNG.normal(size=4)}
    point = evaluate_at([cost], given, [x, *parameters], "cost")
    names = {str(v) for v in point.gradients}
    assert {"x", "W", "b", "w"} <= names and "t" not in names and len(point.gradients) >= 10
    step = 1e-6
    for v, gradient in point.gradients.items():
        if v is cost:
            assert gradient == 1
            continue
        for index in np.ndindex(gradient.shape):
            sides = []
            for sign in (1, -1):
                moved = point.values[v].copy()
                moved[index] += sign * step
                sides.append(evaluate([cost], {**given, v: moved})[0])
            assert gradient[index] == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-5, abs=1e-7)


def test_descent_turns_the_signs():
    v = T.dvector("v")
    cost = (v**2).sum()
    assert box_named(sg.draw(cost, at={v: [1, -3]}, wrt=v), "v").gradient.text == "(2, -6)"
    down = sg.draw(cost, at={v: [1, -3]}, wrt=v, descent=True)
    assert box_named(down, "v").gradient.text == "(-2, 6)"
    assert box_named(down, "cost").gradient is None
    assert "minus the gradient of cost: the way down" in texts(down)
    assert "−∂" in texts(down) and "∂" not in texts(down)


def test_gradients_are_shown_only_on_the_way_to_what_was_asked_for():
    x, t, (_, _, w), *_, cost = network()
    drawing = sg.draw(cost, at={x: np.ones((1, 3)), t: [1]}, wrt=w)
    shown = {box.name or box.text for box in drawing.figure.boxes if box.gradient is not None}
    assert {"w", "y", "cost"} <= shown and not shown & {"x", "t", "W", "b", "h"}


def test_without_values_types_are_shown():
    *_, cost = network()
    drawing = sg.draw(cost)
    assert all(box.facts and box.value is None for box in drawing.figure.boxes)
    assert "float64 (?, ?)" in texts(drawing)


def test_inputs_can_be_given_by_name_and_shared_variables_too():
    x, s = T.dscalar("x"), sg.shared(2.0, "s")
    assert box_named(sg.draw(x * s, at={"x": 3}), "s").value.text == "2"
    drawing = sg.draw(x * s, at={"x": 3, s: 7})
    assert [box.value.text for box in drawing.figure.boxes] == ["3", "7", "21"]
    assert s.get_value() == 2


def test_a_value_in_the_middle_replaces_what_made_it():
    x = T.dscalar("x")
    h = T.exp(x)
    y = h + 1
    drawing = sg.draw(y, at={h: 5})
    assert box_named(drawing, "y").value.text == "6"
    assert box_named(drawing, "x").value is None and box_named(drawing, "x").facts == "float64 ()"


def test_values_that_the_figure_does_not_need_are_ignored():
    x, other = T.dscalar("x"), T.dscalar("other")
    assert box_named(sg.draw(x + 1, at={x: 1, other: 2}), "x").value.text == "1"


def test_boxes_do_not_overlap():
    x, t, parameters, _, _, cost = network()
    at = {x: RNG.normal(size=(4, 3)), t: RNG.normal(size=4)}
    placed = place(sg.draw([cost, *sg.grad(cost, parameters)], at=at, fold=None).figure)
    assert len(placed.corners) > 40
    for a, b in combinations(placed.corners, 2):
        (x1, y1), (x2, y2) = placed.corners[a], placed.corners[b]
        (w1, h1), (w2, h2) = placed.sizes[a], placed.sizes[b]
        assert x1 + w1 <= x2 + 0.01 or x2 + w2 <= x1 + 0.01 or y1 + h1 <= y2 + 0.01 or y2 + h2 <= y1 + 0.01


def test_contents_fit_into_their_boxes():
    x, t, parameters, _, _, cost = network()
    placed = place(sg.draw(cost, at={x: np.ones((4, 3)), t: np.ones(4)}, wrt=parameters).figure)
    for key, content in placed.contents.items():
        width, height = placed.sizes[key]
        assert content.width <= width and content.height <= height


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium here: apt-get install chromium")
@pytest.mark.parametrize("family", ["DejaVu Sans", "monospace"])
def test_texts_stay_in_their_boxes_in_whatever_font(family, tmp_path):
    x, t, parameters, _, _, cost = network()
    named = T.dvector("WWWWWWWWWWWWWWWW") * T.dvector("iiiiiiiiiiiiiiii") * T.dvector("θ·x")
    drawings = [
        sg.draw(cost, at={x: RNG.normal(size=(4, 3)), t: np.ones(4)}, wrt=parameters, fold=None), sg.draw(named),
    ]
    path = tmp_path / "page.html"
    path.write_text(
        f'<!DOCTYPE html><html data-ready="true"><meta charset="utf-8">{"".join(d.svg for d in drawings)}'
        f'<style>.sg-figure, .sg-figure .code {{ font-family: "{family}" }}</style></html>', encoding="utf-8")
    with Chromium() as browser:
        browser.open(path)
        count, overflowing, apart = browser.run("""(() => {
            const overflowing = [], apart = [], texts = [...document.querySelectorAll(".box text")];
            for (const text of texts) {
                const inner = text.getBoundingClientRect();
                const outer = text.closest(".box").querySelector(".shape").getBoundingClientRect();
                if (inner.left < outer.left || inner.right > outer.right) overflowing.push(text.textContent);
                const cells = [...text.children].map(cell => cell.getBoundingClientRect());
                cells.forEach((cell, k) => { if (k && cells[k - 1].right > cell.left) apart.push(text.textContent); });
            }
            return [texts.length, overflowing, apart];
        })()""")
    assert count > 30 and (overflowing, apart) == ([], [])


def test_the_svg_is_well_formed_self_contained_and_without_script():
    x, t, parameters, _, _, cost = network()
    text = sg.draw(cost, at={x: np.ones((4, 3)), t: np.ones(4)}, wrt=parameters).svg
    root = ET.fromstring(text)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg", "style", "rect", "g", "path", "text", "tspan", "title", "image"}
    assert all(e.get("href").startswith("data:image/png;base64,") for e in root.iter(f"{SVG}image"))
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]
    assert "prefers-color-scheme:dark" in text


def test_kinds_are_told_apart_by_shape():
    x, s = T.dvector("x"), sg.shared(np.ones(2), "s")
    root = ET.fromstring(sg.draw(x * s + np.array([1.0, 2.0])).svg)
    shapes = {}
    for group in root.iter(f"{SVG}g"):
        classes = (group.get("class") or "").split()
        if "box" in classes:
            parts = [e for e in group if "shape" in (e.get("class") or "")]
            shapes[classes[1]] = tuple((e.tag, e.get("rx"), e.get("d") is not None) for e in parts)
    assert set(shapes) == {"input", "parameter", "constant", "op"}
    assert len(set(shapes.values())) == 4


def test_hovering_tells_expression_type_and_line():
    v = T.dvector("v")
    h = T.exp(v) * 2
    drawing = sg.draw(h, at={v: [0, 1]})
    title = box_named(drawing, "h").title
    assert title[0] == "h = exp(v) * 2"
    assert title[1].startswith("float64 (?,), test_drawing.py:")
    assert title[2] == "h = T.exp(v) * 2"
    assert title[3] == "value (2, 5.44)"
    titles = ["".join(e.itertext()) for e in ET.fromstring(drawing.svg).iter(f"{SVG}title")]
    assert "\n".join(title) in titles


# -- folding


def chain(steps):
    v = T.dvector("v")
    state = v
    for k in range(steps):
        moved = state * 0.5 + k
        state = T.tanh(moved)
    return v, state.sum()


def test_large_graphs_are_folded_by_line_and_small_ones_are_not():
    _, cost = chain(5)
    assert all(box.count == 1 for box in sg.draw(cost).figure.boxes)
    _, cost = chain(400)
    boxes = sg.draw(cost).figure.boxes
    assert [box.count for box in boxes] == [1, 800, 400, 1]
    assert boxes[1].text == "moved = state * 0.5 + k"


def test_lines_are_folded_when_asked_for():
    x, t, _, _, _, cost = network()
    drawing = sg.draw(cost, at={x: np.ones((1, 3)), t: [0]}, fold="line")
    folded = {box.name: box for box in drawing.figure.boxes if box.kind == "line"}
    assert set(folded) == {"h", "cost"}
    assert folded["h"].text == "h = T.tanh(T.dot(x, W) + b)" and folded["h"].count == 3
    assert folded["h"].value is not None


def test_no_folding_shows_every_variable():
    *_, cost = network()
    assert len(sg.draw(cost, fold=None).figure.boxes) == len(ancestors([cost]))


def test_variables_fold_their_line():
    v = T.dvector("v")
    h = T.exp(v)
    error = ((h - 1) ** 2).sum() / 2
    for fold in (error, [error]):
        drawing = sg.draw(error, at={v: [0, 0]}, fold=fold)
        assert [box.text for box in drawing.figure.boxes] == ["", "exp", "error = ((h - 1) ** 2).sum() / 2"]
        assert drawing.figure.boxes[-1].value.text == "0"


def test_where_the_source_cannot_be_read_a_fold_shows_its_expression():
    made = {}
    exec("import symgraph.tensor as T\nv = T.dvector('v')\nh = T.exp(v)\ny = (h - 2) ** 2 + h", made)
    drawing = sg.draw(made["y"], fold=made["y"])
    assert drawing.figure.boxes[-1].text == "(• − 2)² + •"


def test_a_line_run_again_and_again_makes_a_figure_with_a_loop():
    _, cost = chain(100)
    drawing = sg.draw(cost, fold="line")
    keys = [box.key for box in drawing.figure.boxes]
    assert {(a.source, a.target) for a in drawing.figure.arrows} >= {(keys[1], keys[2]), (keys[2], keys[1])}
    ET.fromstring(drawing.svg)


def test_doubled_operands_have_an_arrow_each():
    v = T.dvector("v")
    assert len(sg.draw(v * v).figure.arrows) == 2


def test_the_page_holds_the_inside_of_every_fold():
    _, _, parameters, *_, cost = network()
    drawing = sg.draw([cost, *sg.grad(cost, parameters)], fold="line")
    folded = [box.key for box in drawing.figure.boxes if box.count > 1]
    found = re.findall(r'<template id="inside-(\d+)">(.*?)</template>', drawing.html, re.DOTALL)
    assert [int(key) for key, _ in found] == folded and folded
    by_key = {box.key: box for box in drawing.figure.boxes}
    for key, text in found:
        boxes = [g.get("class").split() for g in ET.fromstring(text).iter(f"{SVG}g") if g.get("data-key")]
        assert sum("aside" not in classes for classes in boxes) == by_key[int(key)].count
    assert drawing.html.count("<script>") == 1 and "src=" not in drawing.html


def inside(drawing, key):
    text = re.search(rf'<template id="inside-{key}">(.*?)</template>', drawing.html, re.DOTALL)[1]
    own = [g for g in ET.fromstring(text).iter(f"{SVG}g")
           if "box" in (g.get("class") or "") and "aside" not in g.get("class")]
    return text, len(own)


def test_the_inside_of_a_line_run_again_and_again_is_its_last_run():
    _, cost = chain(500)
    text, boxes = inside(sg.draw(cost), 1)
    assert boxes == 2
    assert "the last of 500 times" in text and "• + 499" in text and "• + 498" not in text


def test_the_inside_of_a_long_chain_is_its_end():
    state = T.dvector("v")
    for k in range(500):
        state = T.tanh(state * 0.5 + k)
    text, boxes = inside(sg.draw(state), 1)
    assert boxes == MOST_INSIDE
    assert f"the last {MOST_INSIDE} of 1500 operations" in text


def test_the_inside_of_many_inputs_is_all_of_them():
    inputs = [T.dscalar(f"x{k}") for k in range(20)]
    drawing = sg.draw(sum(inputs[1:], inputs[0]), fold="line")
    (key,) = [box.key for box in drawing.figure.boxes if box.kind == "input"]
    text, boxes = inside(drawing, key)
    assert boxes == 20 and "times" not in text
    assert drawing.figure.boxes[key].text == "x0 … x19"


# -- functions and optimization


def test_functions_are_drawn_with_their_updates():
    x, s = T.dscalar("x"), sg.shared(2.0, "s")
    f = sg.function([x], x * s, updates=[(s, s + x)], mode="numpy")
    drawing = sg.draw(f, at={x: 3})
    assert {(box.role, box.value.text) for box in drawing.figure.boxes if box.output} == {("", "6"), ("new s", "5")}
    assert "new s" in texts(drawing)


def test_after_optimization_the_values_are_the_same():
    x, t, parameters, _, _, cost = network()
    at = {x: RNG.normal(size=(4, 3)), t: RNG.normal(size=4)}
    gradients = sg.grad(cost, parameters)
    before = sg.draw([cost, *gradients], at=at)
    after = sg.draw([cost, *gradients], at=at, optimized=True)
    for drawing in before, after:
        assert {box.name for box in drawing.figure.boxes if box.kind == "parameter"} == {"W", "b", "w"}
        assert {box.name for box in drawing.figure.boxes if box.kind == "input"} == {"x", "t"}
    outputs = [sorted(box.value.text for box in drawing.figure.boxes if box.output) for drawing in (before, after)]
    assert outputs[0] == outputs[1]
    assert len(after.figure.boxes) < len(before.figure.boxes)


def test_gradients_flow_through_the_optimized_graph():
    x, t, parameters, _, _, cost = network()
    at = {x: RNG.normal(size=(4, 3)), t: RNG.normal(size=4)}
    drawings = [sg.draw(cost, at=at, wrt=parameters, optimized=optimized) for optimized in (False, True)]
    for name in ("W", "b", "w"):
        assert box_named(drawings[0], name).gradient.text == box_named(drawings[1], name).gradient.text


def test_optimization_shows_what_it_did():
    v = T.dvector("v")
    assert "softplus" in " ".join(texts(sg.draw(T.log(T.nnet.sigmoid(v)), optimized=True)))
    assert "softplus" not in " ".join(texts(sg.draw(T.log(T.nnet.sigmoid(v)))))


# -- formats and notebooks


@pytest.mark.parametrize("suffix, start", [
    (".svg", "<svg "), (".html", "<!doctype html>"), (".dot", "digraph "), (".gv", "digraph "),
    (".mmd", "flowchart TD"), (".mermaid", "flowchart TD"), (".tikz", "\\begin{tikzpicture}"),
    (".tex", "\\documentclass"), (".SVG", "<svg "),
])
def test_saving_goes_by_suffix(tmp_path, suffix, start):
    path = sg.draw(T.dscalar("x") + 1).save(tmp_path / f"figure{suffix}")
    assert path == tmp_path / f"figure{suffix}"
    assert path.read_text(encoding="utf-8").startswith(start)


@pytest.mark.parametrize("name", ["figure.png", "figure"])
def test_an_unknown_suffix_is_an_error_and_writes_nothing(tmp_path, name):
    with pytest.raises(ValueError, match=r"a figure is saved as \.svg, \.html"):
        sg.draw(T.dscalar("x") + 1).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_notebooks_show_the_svg():
    drawing = sg.draw(T.dscalar("x") + 1)
    assert isinstance(drawing, sg.Drawing)
    assert drawing._repr_svg_() == drawing.svg
    assert drawing.svg in drawing._repr_html_()
    assert "<script" not in drawing._repr_html_()
    assert repr(drawing).startswith("<a drawing of 2 boxes")


def test_all_formats_have_all_boxes_and_arrows():
    x, t, parameters, _, _, cost = network()
    drawing = sg.draw(cost, at={x: np.ones((1, 3)), t: [0]}, wrt=parameters)
    keys = {str(box.key) for box in drawing.figure.boxes}
    arrows = len(drawing.figure.arrows)
    assert set(re.findall(r"^  b(\d+) \[", drawing.dot, re.M)) == keys
    assert len(re.findall(r"^  b\d+ -> b\d+;$", drawing.dot, re.M)) == arrows
    assert set(re.findall(r"^    b(\d+)[(\[{]", drawing.mermaid, re.M)) == keys
    assert len(re.findall(r"^    b\d+ --> b\d+$", drawing.mermaid, re.M)) == arrows
    assert set(re.findall(r"\(b(\d+)\) at \(", drawing.tikz)) == keys
    assert len(re.findall(r"\\draw\[edge", drawing.tikz)) == arrows


# -- errors


def test_bad_input():
    x, other = T.dscalar("x"), T.dscalar("other")
    v = T.dvector("v")
    y = x**2
    for call, error, message in [
        (lambda: sg.draw(3), TypeError, "draw takes a variable"),
        (lambda: sg.draw([]), TypeError, "draw takes a variable"),
        (lambda: sg.draw([x, 3]), TypeError, "draw takes a variable"),
        (lambda: sg.draw(y, fold="lines"), TypeError, "fold is 'auto'"),
        (lambda: sg.draw(y, at={}), MissingInputError, "x"),
        (lambda: sg.draw(y, at={"z": 1}), TypeError, "no input is called 'z'; there are x"),
        (lambda: sg.draw(y, at={x: [1, 2]}), ShapeError, "x takes a scalar"),
        (lambda: sg.draw(y, at={x: "a"}), DtypeError, "x takes numbers"),
        (lambda: sg.draw(y, wrt=x), MissingInputError, "at={input: value}"),
        (lambda: sg.draw(y, at={x: 1}, wrt=other), GradientError, "does not depend on other"),
        (lambda: sg.draw(v * 2, at={v: [1, 2]}, wrt=v), GradientError, "must be a scalar"),
        (lambda: sg.draw(y + 1, at={y: 1}, optimized=True), TypeError, "give inputs and shared variables"),
    ]:
        with pytest.raises(error, match=re.escape(message)):
            call()


def test_gradients_need_no_point_where_all_is_shared():
    s = sg.shared(3.0, "s")
    drawing = sg.draw(s**2, wrt=s)
    assert box_named(drawing, "s").gradient.text == "6"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308, 5e-324])
def test_extreme_values_are_drawn(value):
    v = T.dvector("v")
    for at in ([value], np.full(50, value)):
        ET.fromstring(sg.draw((v * v).sum(), at={v: at}, wrt=v).svg)


def test_empty_arrays_are_drawn():
    v = T.dvector("v")
    assert "empty, 0" in texts(sg.draw((v * v).sum(), at={v: []}, wrt=v))


def test_a_graph_deeper_than_the_recursion_limit_is_drawn():
    v, cost = chain(1500)
    drawing = sg.draw(cost, at={v: [0.5]}, wrt=v, fold=None)
    assert len(drawing.figure.boxes) > 4500
    ET.fromstring(drawing.svg)


def test_importing_symgraph_does_not_import_the_figures():
    program = "import symgraph, sys; assert not any('visual' in m for m in sys.modules); symgraph.draw; dir(symgraph)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError):
        sg.drew


def test_the_loop_nests_of_a_function_are_boxes():
    x, y = T.dmatrix("x"), T.dvector("y")
    W = sg.shared(np.arange(6.0).reshape(3, 2), "W")
    h = T.tanh(T.dot(x, W))
    cost = T.mean((h.sum(axis=1) - y) ** 2)
    train = sg.function([x, y], cost, updates=[(W, W - 0.1 * sg.grad(cost, W))], name="train")
    drawing = sg.draw(train, fold="region", at={x: np.ones((4, 3)), y: np.zeros(4)})
    texts = {box.text: box for box in drawing.figure.boxes}
    nests = [s.name for s in train.graph.steps if s.kind == "nest" and len(s.made) > 1]
    assert nests and all(f"{name}()" in texts for name in nests)
    assert all(texts[f"{name}()"].count > 1 for name in nests)
    assert {b.name for b in drawing.figure.boxes if b.kind == "parameter"} == {"W"}
    with pytest.raises(TypeError, match="compiled function"):
        sg.draw(cost, fold="region")
