import base64
import hashlib
import html.parser
import json
import re
from collections import Counter

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.visual.explorer import contents, page
from tests.visual.chromium import Chromium, find_chromium

HOSTILE = ['</script><script>alert(1)</script>', "<!--", "]]>", '"\'`', "*/ int x; /*", "line\nbreak", "\u2028\u2029",
           "\\u003c\\", "??/", "größe 网络 \U0001f600", "\ud800", "&lt;&amp;", "{{DATA}}", "__proto__", "n" * 10_000,
           "<img src=x onerror=alert(1)>"]


def network():
    """A network of 5, 6 and 1 values, with a training step."""
    x, y = T.dmatrix("x"), T.dvector("y")
    W, b = sg.shared(np.linspace(-1, 1, 30).reshape(5, 6), "W"), sg.shared(np.linspace(0, 1, 6), "b")
    W2, b2 = sg.shared(np.linspace(1, -1, 6), "W2"), sg.shared(-2.0, "b2")
    h = T.nnet.sigmoid(T.dot(x, W) + b)
    y_pred = T.nnet.sigmoid(T.dot(h, W2) + b2)
    cost = T.mean((y - y_pred) ** 2)
    weights = [W, b, W2, b2]
    updates = [(w, w - 0.1 * g) for w, g in zip(weights, sg.grad(cost, weights))]
    return [x, y], [y_pred, cost], updates


def deep(steps):
    """A chain of many steps of one line, and the gradient through it."""
    x, W = T.dvector("x"), sg.shared(np.eye(4), "W")
    v = x
    for _ in range(steps):
        v = T.tanh(T.dot(W, v))
    cost = v.sum()
    return sg.function([x], cost, updates=[(W, W - 0.1 * sg.grad(cost, W))], name="deep")


def shown_by(f):
    return contents(f.name, f.outputs, f.updates, f._variants[0] if f._variants else None)


@pytest.fixture(scope="module")
def train():
    inputs, outputs, updates = network()
    return sg.function(inputs, outputs, updates=updates, name="train")


@pytest.fixture(scope="module")
def data(train):
    return shown_by(train)


def one(nodes, name):
    (found,) = [k for k, node in enumerate(nodes) if node["name"] == name]
    return found


# -- what came from what


def test_a_line_leads_to_its_value_its_kernel_and_its_c(data):
    h = data["written"][one(data["written"], "h")]
    where, text = data["lines"]["made"][h["line"]]
    assert where.startswith("test_explorer.py:") and text.strip().startswith("h = T.nnet.sigmoid(")
    (became,) = h["became"]
    assert not h["absorbed"] and data["rewritten"][became]["name"] == "h"
    assert data["rewritten"][became]["text"] == "sigmoid(x @ W + b)"
    (number,) = data["rewritten"][became]["steps"]
    step = data["steps"][number]
    assert became in step["stored"]
    lines = data["c"].split("\n")
    texts = ["\n".join(lines[first - 1:last]) for first, last in step["lines"]]
    kernel = step["name"].removesuffix("_in_blocks")  # which calls it
    assert any("h = sigmoid(x @ W + b)" in t and f" {kernel}(" in t and t.endswith("}") for t in texts)
    assert any(text.strip().startswith(f"{step['name']}(") and text.endswith(");") for text in texts)


def test_the_gradient_is_told_apart_and_belongs_to_the_line_it_is_of(data):
    grad_W = data["written"][one(data["written"], "grad_W")]
    h = data["written"][one(data["written"], "h")]
    assert grad_W["derived"] and not h["derived"] and grad_W["line"] == h["line"]


def test_a_product_that_an_update_takes_in_is_said_to_be_absorbed(data):
    grad_W = data["written"][one(data["written"], "grad_W")]
    assert grad_W["absorbed"]
    assert [data["rewritten"][k]["role"] for k in grad_W["became"]] == ["new W"]


def test_every_compiled_value_is_computed_by_one_step_and_every_step_is_in_the_c(data, train):
    text = data["c"].split("\n")
    assert data["c"] == train.c_source
    for k, node in enumerate(data["rewritten"]):
        makers = [s for s, step in enumerate(data["steps"]) if k in step["made"]]
        if node["kind"] == "op" and not node["inlined"]:
            assert node["steps"] == makers and len(makers) == 1
        else:
            assert makers == []
    for step in data["steps"]:
        assert set(step["stored"]) <= set(step["made"])
        assert any(f"{step['name']}(" in line for first, last in step["lines"] for line in text[first - 1:last])
        assert len(step["lines"]) == (1 if step["kind"] == "library call" else 2)


def test_steps_come_after_those_they_need(data):
    assert all(n < k for k, step in enumerate(data["steps"]) for n in step["needs"])
    assert any(step["needs"] for step in data["steps"])


def test_marked_lines_of_comments_speak_of_the_value(data):
    text = data["c"].split("\n")
    named = [(text[n - 1], data["rewritten"][r]["name"]) for n, r in data["marks"] if data["rewritten"][r]["name"]]
    assert len(named) >= 4 and all(re.search(rf"\b{name}\b", line) for line, name in named)


def test_rewrites_tell_rule_reason_and_both_sides_and_what_they_touched(data, train):
    fired = [(data["rules"][r["rule"]], r) for r in data["rewrites"]]
    assert [rule for (rule, _), _ in fired] == [step.rule for step in train._variants[0].rewritten.trace]
    (square,) = [r for (rule, _), r in fired if rule == "a**2 -> sqr(a)"]
    assert (square["before"], square["after"]) == ("(y - y_pred)**2", "sqr(y - y_pred)")
    assert all(data["written"][k]["text"].endswith("**2") for k in square["written"]) and len(square["written"]) == 1
    assert [data["rewritten"][k]["text"] for k in square["rewritten"]] == ["sqr(y - y_pred)"]
    assert all(why for _, why in data["rules"])


def test_values_merged_are_one(data):
    x = T.dvector("x")
    f = sg.function([x], [T.exp(x) * 2, T.exp(x) * 3])
    shown = shown_by(f)
    first, second = [node["became"] for node in shown["written"] if node["text"] == "exp(x)"]
    assert first == second and len(first) == 1


def test_folds_hold_every_value_once(data):
    def leaves(tree):
        return [x for item in tree for x in (leaves(item) if isinstance(item, list) else [item])]

    for name, derived in ("written", False), ("gradient", True):
        own = [k for k in leaves(data["folds"][name]) if data["written"][k]["derived"] == derived]
        assert sorted(own) == [k for k, node in enumerate(data["written"]) if node["derived"] == derived]
    assert sorted(leaves(data["folds"]["rewritten"])) == list(range(len(data["rewritten"])))
    assert sorted(leaves(data["folds"]["steps"])) == list(range(len(data["steps"])))


def test_kernels_that_are_shared_belong_to_all_their_steps():
    W = [sg.shared(np.ones(3), f"w{k}") for k in range(3)]
    x = [T.dmatrix(f"x{k}") for k in range(3)]
    f = sg.function(x, [T.exp(T.dot(a, w)) for a, w in zip(x, W)])
    loops = [step for step in shown_by(f)["steps"] if step["kind"] == "loop nest"]
    names = Counter(step["name"] for step in loops)
    assert len(loops) == 3 and len(names) == 1
    definitions, calls = {tuple(step["lines"][0]) for step in loops}, {tuple(step["lines"][1]) for step in loops}
    assert len(definitions) == 1 and len(calls) == 3


def test_a_function_with_a_program_for_its_lengths_is_linked_through():
    n, x = T.lvector("n"), T.dvector("x")
    y = T.exp(T.arange(n.sum()) * x.sum())
    f = sg.function([n, x], y)
    assert f([1, 2], [0.5, 0.5]).shape == (3,)
    shown = shown_by(f)
    (out,) = [node for node in shown["rewritten"] if node["role"] == "output"]
    assert out["steps"] and all(out_step < len(shown["steps"]) for out_step in out["steps"])
    text = shown["c"].split("\n")
    assert shown["c"] == f.c_source
    for step in shown["steps"]:
        assert any(f"{step['name']}(" in line for first, last in step["lines"] for line in text[first - 1:last])


def test_an_interpreted_function_shows_its_graphs_and_no_c(tmp_path):
    inputs, outputs, updates = network()
    f = sg.function(inputs, outputs, updates=updates, mode="numpy")
    shown = shown_by(f)
    assert shown["c"] == "" and shown["steps"] == [] and shown["rewrites"] and shown["rewritten"]
    assert f.explore(tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_profiled_function_tells_the_time_of_every_step():
    inputs, outputs, updates = network()
    f = sg.function(inputs, outputs, updates=updates, profile=True)
    assert {step["seconds"] for step in shown_by(f)["steps"]} == {None}
    for _ in range(3):
        f([[1, 0, 1, 0, 1]], [1])
    shown = shown_by(f)
    assert shown["calls"] == 3 and all(step["seconds"] >= 0 for step in shown["steps"])
    assert sum(step["seconds"] for step in shown["steps"]) > 0
    products = [step["counts"][0] for step in shown["steps"] if step["kind"] == "library call"]
    assert sorted(products) == [12, 12, 60, 60]  # h @ W2 and h.T @ g: 2*1*6; x @ W and x.T @ g: 2*1*5*6


# -- the page


class Elements(html.parser.HTMLParser):
    """The start tags of a page and the texts of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self._open = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag == "script"
        if self._open:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._open = False

    def handle_data(self, text):
        if self._open:
            self.scripts[-1] += text


def hostile_function():
    inputs = [T.dvector(name) for name in HOSTILE]
    total = sum((T.exp(x) for x in inputs[1:]), T.exp(inputs[0]))
    total.name = HOSTILE[0]
    state = sg.shared(0.0, HOSTILE[5])
    return sg.function(inputs, total, updates=[(state, state + total.sum())], name=HOSTILE[0])


def test_hostile_names_stay_data():
    f = hostile_function()
    shown = shown_by(f)
    elements = Elements(page(shown))
    plain = Elements(page(shown_by(sg.function([], T.constant(1.0) * 2, name="f"))))
    assert [tag for tag, _ in elements.tags] == [tag for tag, _ in plain.tags]
    assert [tag for tag, _ in elements.tags].count("script") == 2
    stored = json.loads(elements.scripts[0])
    assert stored["name"] == HOSTILE[0] and stored["written"] == json.loads(json.dumps(shown["written"]))
    assert not set("<>&\u2028\u2029") & set(elements.scripts[0])
    assert len(page(shown)) < 1_000_000


def test_only_the_scripts_and_styles_of_the_page_itself_may_run(data):
    text = page(data)
    (policy,) = [a["content"] for tag, a in Elements(text).tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy and "http" not in policy
    script = re.search(r"<script>(.*?)</script>", text, re.S).group(1)
    style = re.search(r"<style>(.*?)</style>", text, re.S).group(1)
    for kind, part in ("script", script), ("style", style):
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", script)


def test_a_page_is_small(train, tmp_path):
    assert train.explore(tmp_path / "train.html").stat().st_size < 500_000


def test_the_page_of_3000_values_is_no_larger_than_a_picture(tmp_path):
    f = deep(300)
    path = f.explore(tmp_path / "deep.html")
    assert path.stat().st_size < 8_000_000


# -- in a browser

in_chromium = pytest.mark.skipif(find_chromium() is None, reason="no Chromium here: apt-get install chromium")


@pytest.fixture(scope="module")
def browser():
    with Chromium() as chromium:
        yield chromium


@pytest.fixture
def opened(browser, train, tmp_path):
    """The browser with the page of the textbook network, from a file and without any other request or complaint."""
    browser.problems.clear()
    browser.requests.clear()
    path = train.explore(tmp_path / "train.html")
    browser.mouse("mouseMoved", 0, 0)
    browser.open(path)
    yield browser
    assert browser.problems == []
    assert browser.requests == [path.resolve().as_uri()]


def box_of(browser, pane, name):
    """The selector of the box of a named value."""
    found = browser.run(f"[...app.panes.{pane}.elements.keys()].find(id => model.node(id)?.name === '{name}')")
    return f"#{pane}-{found}"


def lit(browser, selector):
    return browser.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.dataset.id + ' ' + "
                       "['self', 'from', 'to', 'step'].filter(c => e.classList.contains(c)))"
                       ".filter(text => !text.endsWith(' '))")


@in_chromium
def test_it_opens(browser, train, tmp_path):
    path = train.explore(tmp_path / "train.html")
    assert browser.open(path) > 0  # and fails if its scripts never say that they are done


@in_chromium
def test_pointing_at_a_value_lights_its_line_what_it_became_and_its_c(opened, data):
    assert lit(opened, "[data-id]") == []
    opened.hover(box_of(opened, "written", "h"))
    number = one(data["written"], "h")
    h = data["written"][number]
    became = h["became"][0]
    step = data["rewritten"][became]["steps"][0]
    assert f"W{number} self" in lit(opened, ".node")
    assert lit(opened, ".line[data-id^=L]") == [f"L{h['line']} from"]
    assert f"R{became} to" in lit(opened, ".node") and f"R{became} to" in lit(opened, ".row")
    assert f"K{step} to" in lit(opened, ".node")
    expected = {n for first, last in data["steps"][step]["lines"] for n in range(first, last + 1)}
    opened.wait("document.querySelector('.line.to[data-id^=C]')")              # drawn when it comes into view
    shown = {int(text.split()[0][1:]) for text in lit(opened, ".line[data-id^=C]")}
    assert shown and shown <= expected
    assert opened.run("document.querySelector('#details').textContent.includes('sigmoid(x @ W + b)')")
    opened.mouse("mouseMoved", 0, 0)
    opened.wait("!document.querySelector('.self')")


@in_chromium
def test_pointing_at_c_lights_the_program(opened, data):
    opened.click(box_of(opened, "written", "h"))
    opened.mouse("mouseMoved", 0, 0)
    in_sight = """[...document.querySelectorAll('.line.to[data-id^=C]')].find(e => {
        const r = e.getBoundingClientRect();
        return e.contains(document.elementFromPoint(r.x + 60, r.y + r.height / 2));
    })"""
    opened.wait(in_sight)                                                  # kept, and one is brought into view
    line = opened.run(f"{in_sight}.dataset.id")
    opened.key("Escape")
    assert opened.run("!document.querySelector('.self')")
    opened.hover(f".line[data-id={line}]")
    opened.wait("document.querySelector('.line.from[data-id^=L]')")
    assert f"L{data['written'][one(data['written'], 'h')]['line']} from" in lit(opened, ".line[data-id^=L]")


@in_chromium
def test_keys(opened):
    opened.key("?")
    assert opened.run("document.querySelector('#help').open")
    opened.click("#help form button")
    assert not opened.run("document.querySelector('#help').open")
    opened.mouse("mouseMoved", 0, 0)                                           # from what was behind the button
    opened.key("4")
    assert opened.run("app.shells.gradient.hidden") and not opened.run("app.shells.written.hidden")
    opened.key("4")
    before = opened.run("document.documentElement.dataset.theme")
    opened.key("t")
    assert opened.run("document.documentElement.dataset.theme") != before
    opened.key("n")
    assert opened.run("app.pinned") == ["S0"] and lit(opened, ".rewrite") == ["S0 self"]
    opened.key("/", "")
    for letter in "grad_b2":
        opened.key(letter)
    assert opened.run("document.querySelectorAll('#results [role=option]').length") > 1
    opened.key("Enter")
    assert opened.run("model.node(app.pinned[0]).name") == "grad_b2"
    opened.run("app.panes.written.svg.focus()")
    opened.key("ArrowDown")
    assert opened.run("document.activeElement.getAttribute('aria-activedescendant')").startswith("written-W")


@in_chromium
def test_every_control_has_a_name_and_a_role(opened):
    unnamed = opened.run("[...document.querySelectorAll('button, input, [role=button], [role=separator], [tabindex]')]"
                         ".filter(e => !e.getAttribute('aria-label') && !e.textContent.trim()).map(e => e.outerHTML)")
    assert unnamed == []


@in_chromium
def test_a_deep_graph_is_folded_and_unfolds(browser, tmp_path):
    browser.problems.clear()
    browser.open(deep(300).explore(tmp_path / "deep.html"))
    count = "app.panes.written.elements.size"
    folded = browser.run(count)
    assert folded < 100
    fold = browser.run("[...app.panes.written.elements.keys()].find(id => id[0] === 'F')")
    inside = browser.run(f"app.panes.written.folds.get('{fold}').items.length")
    browser.run(f"app.panes.written.toggle('{fold}')")
    assert folded < browser.run(count) <= folded + 3 * inside
    browser.run("app.panes.written.all(true)")
    total = browser.run("data.written.filter(x => !x.derived).length")
    assert browser.run(count) >= total
    browser.run("app.panes.written.all(false)")
    assert browser.run(count) < 100
    last = browser.run("data.written.length - 1")
    browser.run(f"goTo('W{last}')")                    # what is found lies in no closed fold any more
    assert browser.run(f"app.panes.written.elements.has('W{last}') || app.panes.gradient.elements.has('W{last}')")
    assert browser.problems == []


@in_chromium
def test_boxes_do_not_overlap_and_edges_run_down(opened):
    overlaps = opened.run("""["written", "gradient", "rewritten", "fused"].map(key => {
        const {drawing: d, boxes: b} = app.panes[key], n = b.length;
        const apart = (at, size, i, j) => at[i] >= at[j] + b[j][size] || at[j] >= at[i] + b[i][size];
        let bad = d.routes.filter(r => r[0][1] >= r.at(-1)[1]).length;
        for (let i = 0; i < n; i++) for (let j = 0; j < i; j++)
            if (!apart(d.x, "w", i, j) && !apart(d.y, "h", i, j)) bad++;
        return bad;
    })""")
    assert overlaps == [0, 0, 0, 0]


@in_chromium
def test_hostile_names_are_shown_and_not_run(browser, tmp_path):
    browser.problems.clear()
    browser.open(hostile_function().explore(tmp_path / "hostile.html"))
    assert browser.run("document.querySelector('#name').textContent") == HOSTILE[0]
    assert browser.run("document.querySelectorAll('script, img, iframe').length") == 2
    for number in range(browser.run("data.written.length")):
        browser.run(f"app.light(['W{number}'])")
    assert browser.problems == []


@in_chromium
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_picture_can_be_taken(browser, train, tmp_path, theme):
    browser.open(train.explore(tmp_path / "train.html"), f"#{theme}")
    picture = browser.screenshot(tmp_path / f"{theme}.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 50_000       # an empty page is a tenth of that
    assert browser.run("getComputedStyle(document.body).colorScheme") == ("dark" if theme == "dark" else "light")
