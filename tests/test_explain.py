"""`f.explain()`: every reason it gives is true of the program; `explain_grad`: its numbers are those of the book."""

import json
import re

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.chain_rule import MOST_LINKS, explain_grad
from symgraph.errors import DtypeError, GradientError, MissingInputError, ShapeError
from symgraph.interpreter import evaluate
from symgraph.testing import check_grad

HOSTILE = ["*/", "</script>", "\n", "\\", '"', "??/", "%", "a" * 10_000, "{0}", "{}", "日本", "\u202e", "δ"]


def network():
    """The two-layer network of the textbook, all by name."""
    x, y = T.dmatrix("x"), T.dvector("y")
    W = sg.shared(np.array([[3.0, 2.0], [4.0, 3.0]]), "W")
    b = sg.shared(np.array([-2.0, -4.0]), "b")
    W2, b2 = sg.shared(np.array([5.0, -5.0]), "W2"), sg.shared(-2.0, "b2")
    h = T.nnet.sigmoid(T.dot(x, W) + b)
    score = T.dot(h, W2) + b2
    y_pred = T.nnet.sigmoid(score)
    error = T.sum((y - y_pred) ** 2) / 2
    return dict(x=x, y=y, W=W, b=b, W2=W2, b2=b2, h=h, score=score, y_pred=y_pred, error=error)


def train():
    n = network()
    weights = [n[name] for name in ("W", "b", "W2", "b2")]
    cost = T.mean((n["y"] - n["y_pred"]) ** 2)
    updates = [(w, w - 0.1 * g) for w, g in zip(weights, sg.grad(cost, weights))]
    return sg.function([n["x"], n["y"]], cost, updates=updates, name="train")


# -- f.explain()


def explained(inputs, outputs, **options):
    return sg.function(inputs, outputs, **options).explain()


def test_rules_that_fired_are_counted_and_shown_with_their_reason_and_line():
    x = T.dvector("x")
    report = explained([x], [T.log(T.nnet.sigmoid(x)), T.log(T.nnet.sigmoid(2 * x))])
    (rule,) = [r for r in report.data["rules"] if "log" in r["before"] and "softplus" in r["after"]]
    assert rule["count"] == 2 and rule["before"] == "log(sigmoid(x))" and rule["after"].startswith("-softplus(-x")
    assert rule["why"] and "test_explain.py:" in rule["line"] and "T.log(T.nnet.sigmoid(x))" in rule["line"]
    assert f"{rule['rule']} ×2: {rule['why']}" in str(report)
    assert "log(sigmoid(x))  ->  -softplus" in str(report)


def test_nothing_fires_where_nothing_can():
    x = T.dvector("x")
    assert explained([x], T.exp(x)).data["rules"] == []


def test_what_is_fused_is_in_one_step():
    x = T.dmatrix("x")
    (step,) = explained([x], T.exp(x * 2).sum(axis=1)).data["steps"]
    assert step["kind"] == "nest" and step["apart"] == []
    assert [v["stored"] for v in step["values"]] == [False, False, True]
    assert [v["value"] for v in step["values"]] == ["x * 2", "exp(x * 2)", "sum(exp(x * 2), axis=1)"]
    assert all(v["line"].startswith("test_explain.py:") for v in step["values"])


def reasons(report):
    return [told["why"] for step in report.data["steps"] for told in step["apart"]]


def test_a_value_that_is_complete_late_keeps_its_readers_apart():
    x = T.dmatrix("x")
    report = explained([x], T.exp(x) / T.exp(x).sum())
    assert any("complete only after the loops" in why and "sum(exp(x))" in why for why in reasons(report))
    assert len(report.data["steps"]) == 2


def test_a_neighbours_element_keeps_its_reader_apart():
    x = T.dvector("x")
    report = explained([x], T.exp(x)[::-1] + T.exp(x))
    assert any("other elements of exp(x)" in why for why in reasons(report))


def test_library_calls_and_loops_of_their_own_stand_alone():
    x, w, i = T.dmatrix("x"), T.dmatrix("w"), T.lvector("i")
    report = explained([x, w, i], T.inc_subtensor(T.tanh(x @ w)[i], 1.0))
    kinds = {step["name"]: step["kind"] for step in report.data["steps"]}
    assert kinds["sg_gemm_f64"] == "call" and [k for name, k in kinds.items() if "scatter" in name] == ["loops"]
    assert sorted(kinds.values()) == ["call", "loops", "nest", "nest"]  # the second checks the indices
    assert "it is made by a step of its own" in reasons(report)
    assert "the reader takes it whole" in reasons(report)


def test_without_fusion_every_value_has_a_nest_of_its_own_and_this_is_said(monkeypatch):
    from dataclasses import replace

    from symgraph.options import Options

    unfused = replace(Options(), fuse=False)
    monkeypatch.setattr(Options, "of", classmethod(lambda cls, *_: unfused))
    x = T.dvector("x")
    report = explained([x], T.exp(x * 2) + 1)
    assert len(report.data["steps"]) == 3
    assert set(reasons(report)) == {"the nest has 1 values already, and takes no more"}


def test_updates_are_in_place_or_it_is_said_why_not():
    s, t = sg.shared(np.zeros(3), "s"), sg.shared(np.zeros(3), "t")
    x = T.dvector("x")
    memory = explained([x], s * 2, updates=[(s, s + x)]).data["memory"]
    assert [entry["shared"] for entry in memory["in_place"]] == ["s"] and memory["copied"] == []
    memory = explained([], [], updates=[(s, s[::-1] + 1)]).data["memory"]
    assert memory["in_place"] == [] and memory["copied"][0]["shared"] == "s"
    assert "other elements" in memory["copied"][0]["why"]
    memory = explained([], [], updates=[(s, t), (t, s)]).data["memory"]
    assert len(memory["copied"]) == 1 and "a later step reads its old value" in memory["copied"][0]["why"]
    report = explained([], s, updates=[(s, s + 1)])
    assert report.data["memory"]["copied"] == [{"shared": "s", "why": "its old value is an output"}]
    assert "s is copied at the end: its old value is an output" in str(report)


def test_values_that_share_memory_are_told():
    x, w = T.TensorType("float64", (8, 8))("x"), T.TensorType("float64", (8, 8))("w")
    chain = x
    for _ in range(4):
        chain = T.tanh(chain @ w)
    memory = explained([x, w], chain).data["memory"]
    assert len(memory["delivered"]) == 1
    held = [len(block["values"]) for block in memory["workspace"]]
    assert held == [4, 2] and len(memory["taken_over"]) == 4  # each tanh in place of its product
    assert {block["bytes"] for block in memory["workspace"]} == {"512"}


def test_rewrites_whose_sides_read_alike_are_told_once():
    x, w = T.TensorType("float64", (None, 2))("x"), sg.shared(np.ones((2, 2)), "w")
    report = explained([x], T.tanh(x @ w))
    (rule,) = [r for r in report.data["rules"] if r["before"] == r["after"]]
    assert re.search(rf"\n  {rule['rule']}: {rule['why']}\n      x @ w    test_explain.py:\d+  ", str(report))
    assert "->  x @ w" not in str(report)


def test_workspace_without_values_is_told_as_what_it_is():
    report = train().explain()
    sizes = [block["bytes"] for block in report.data["memory"]["workspace"] if not block["values"]]
    line = r"\n  workspace: partial results of a loop's blocks take (?:(\d+) times )?(\d+) bytes"
    told = re.findall(line, str(report))
    assert sizes and sorted(sizes) == sorted(size for times, size in told for _ in range(int(times or 1)))
    assert "workspace:  " not in str(report)


def test_changes_of_dtype_are_traced_to_their_reader():
    n, z = T.ivector("n"), T.fvector("z")
    (first, second) = explained([n, z], n * z).data["casts"]
    assert {first["value"], second["value"]} == {"n", "z"} and {first["to"], second["to"]} == {"float64"}
    assert sorted(first["dtypes"]) == ["float32", "int32"] and "n * z" in first["line"] and not first["derived"]
    assert explained([z], z * 2).data["casts"] == []
    (explicit,) = explained([z], T.cast(z, "int8")).data["casts"]
    assert (explicit["from"], explicit["to"], explicit["reader"]) == ("float32", "int8", "")


def test_the_report_has_all_parts_and_data_is_plain():
    report = train().explain()
    text = str(report)
    for part in ("Rules that fired", "Steps, in the order in which they run", "Memory", "Changes of dtype"):
        assert f"\n{part}\n" in text
    assert text.startswith("train: ") and "W is updated in place" in text and "h = sigmoid(" in text
    assert json.loads(json.dumps(report.data)) == report.data
    assert str(train().explain()) == text and repr(report) == text


def test_the_report_of_a_large_function_is_bounded():
    x, w = T.TensorType("float64", (9, 9))("x"), T.TensorType("float64", (9, 9))("w")
    chain = x
    for _ in range(60):
        chain = T.tanh(chain @ w)
    report = explained([x, w], chain)
    assert len(report.data["steps"]) == 120 and "and 90 more" in str(report) and len(str(report)) < 20_000


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_hostile_names_stay_on_their_line(name):
    x, s = T.dvector(name), sg.shared(np.zeros(3), name)
    report = str(explained([x], T.log(T.nnet.sigmoid(x)), updates=[(s, s[::-1] + x)], name="f"))
    assert len(report) < 4000 and "\u202e" not in report
    assert all(len(line) < 400 for line in report.splitlines())


def test_an_interpreted_function_has_nothing_to_explain():
    x = T.dvector("x")
    with pytest.raises(RuntimeError, match="interpreted"):
        explained([x], x + 1, mode="numpy")


# -- explain_grad


def test_the_numbers_are_those_of_the_book():
    n = network()
    told = explain_grad(-n["error"], [n["y_pred"], n["score"], n["W2"], n["h"], n["W"]], {"x": [[1, 0]], "y": [1]})
    found = {link.name: link for link in told.links}

    def digits(array):
        return ", ".join(f"{value:#.3g}" for value in np.ravel(array))

    assert digits(found["y_pred"].gradient) == "0.257"
    assert digits(found["score"].gradient) == "0.0492"
    assert digits(found["W2"].gradient) == "0.0360, 0.00587"
    assert digits(found["h"].gradient) == "0.246, -0.246"
    assert digits(found["h"].value) == "0.731, 0.119"
    assert digits(found["y_pred"].value) == "0.743"
    text = str(told)
    assert "δscore = δy_pred * (y_pred * (1 - y_pred)) = (0.0492)    with ∂y_pred/∂score = (0.191)" in text
    assert "y_pred = sigmoid(score) = (0.743)    test_explain.py:" in text
    assert "= (0.0360, 0.00587)    with" in text
    assert [check.name for check in told.checks] == ["y_pred", "score", "W2", "h", "W"]
    assert all(check.agrees for check in told.checks)
    assert text.endswith("apart in all its 4 elements") and "δW2 agrees with finite differences" in text


def test_every_number_is_that_of_grad_and_every_share_adds_up():
    n = network()
    point = {n["x"]: np.array([[0.5, -1.0], [2.0, 0.25], [-1.0, 1.0]]), n["y"]: np.array([0.0, 1.0, 0.5])}
    cost = T.mean((n["y"] - n["y_pred"]) ** 2) + 0.01 * (n["W2"] ** 2).sum() + (n["h"] ** 2).sum()
    told = explain_grad(cost, [n["W"], n["b"], n["W2"]], point)
    assert all(check.agrees for check in told.checks)
    for link in told.links[1:]:
        (expected,) = evaluate([sg.grad(cost, link.variable)], point)
        np.testing.assert_allclose(link.gradient, expected, rtol=1e-12, err_msg=link.name)
        np.testing.assert_allclose(sum(share.value for share in link.shares), expected, rtol=1e-12)
        (value,) = evaluate([link.variable], point)
        np.testing.assert_array_equal(link.value, value)
    (h,) = [link for link in told.links if link.name == "h"]
    assert len(h.shares) == 2
    assert re.search(r"δh = .*\n +\+ .*\n += ", str(told))


def test_without_a_point_only_formulas_are_given():
    n = network()
    told = explain_grad(n["error"], n["b"])
    assert told.checks == () and all(link.value is None and link.gradient is None for link in told.links)
    assert "finite" not in str(told)
    (b,) = [link for link in told.links if link.name == "b"]
    assert re.fullmatch(r"sum\(δt\d+, axis=0\)", b.shares[0].formula)
    assert "    δt" in str(told) and "to each element" in str(told)


def test_a_length_is_no_way_for_a_derivative():
    x = T.dvector("x")
    told = explain_grad(T.mean(x), x, {x: [1.0, 2.0]})
    assert [link.formula.split("(")[0] for link in told.links] == ["t1 / float64", "sum", ""]


def test_latex_is_an_aligned_environment_of_the_same_numbers():
    n = network()
    told = explain_grad(n["error"], n["W2"], {"x": [[1, 0]], "y": [1]})
    lines = told.latex.split(" \\\\\n")
    assert lines[0].startswith("\\begin{aligned}\n\\mathrm{error} &= ") and told.latex.endswith("\\end{aligned}")
    assert r"\frac{\partial \mathrm{error}}{\partial W_{2}} &= h^{\top} \, \frac{\partial \mathrm{error}}" in told.latex
    assert "= (-0.0360, -0.00587)" in lines[-1]
    assert told._repr_latex_().startswith(r"$\displaystyle \begin{aligned}")


def test_a_wrong_derivative_is_told(monkeypatch):
    from symgraph.ops.reduce import Sum

    right = Sum.gradient
    monkeypatch.setattr(Sum, "gradient", lambda self, x, out, g: right(self, x, out, 3 * g))
    x = T.dvector("x")
    told = explain_grad((x**2).sum(), x, {x: [1.0, 2.0]})
    assert not told.checks[0].agrees and "DIFFERS FROM finite differences" in str(told)
    assert told.checks[0].error == pytest.approx(8, rel=1e-6)


@pytest.mark.parametrize("function, value, agrees", [
    (T.sqrt, 2.0, True), (T.sqrt, 0.0, False), (T.log, 0.0, False), (T.nnet.relu, 0.0, False), (abs, -3.0, True),
    (T.sqrt, -1.0, True),  # NaN, and so are the differences
])
def test_where_there_is_no_derivative_differences_say_so(function, value, agrees):
    x = T.dvector("x")
    told = explain_grad(function(x).sum(), x, {x: [value]})
    assert told.checks[0].agrees is agrees


def test_float32_is_checked_as_float32_can_be():
    x, w = T.fmatrix("x"), T.fvector("w")
    rng = np.random.default_rng(0)
    at = {x: rng.normal(size=(5, 3)).astype("float32"), w: rng.normal(size=3).astype("float32")}
    told = explain_grad(T.nnet.sigmoid(x @ w).sum(), w, at)
    assert told.checks[0].agrees and told.links[-1].gradient.dtype == np.float32


def test_a_large_variable_is_checked_in_some_elements():
    x = T.dmatrix("x")
    told = explain_grad(T.exp(x).sum(), x, {"x": np.zeros((40, 30))})
    assert (told.checks[0].count, told.checks[0].size) == (24, 1200)
    assert "in 24 of its 1200 elements" in str(told) and "40 × 30  norm" in str(told)


def test_many_uses_and_many_variables_are_cut_and_counted():
    x = T.dscalar("x")
    told = explain_grad(sum((T.exp(k * x) for k in range(1, 101)), T.dscalar("y")), x, {x: 0.1, "y": 0.0})
    assert (len(told.links[-1].shares), told.links[-1].more) == (8, 92)
    assert "+ … 92 more\n" in str(told) and r"+ \ldots{}" in told.latex and told.checks[0].agrees
    many = [T.dscalar(f"x{k}") for k in range(30)]
    told = explain_grad(sum(T.exp(v) for v in many), many, dict.fromkeys(many, 0.5))
    assert len(told.checks) == 24 and str(told).endswith("… and 6 more, which are not checked")
    assert {link.name for link in told.links} >= {v.name for v in many}


def test_broadcasting_sums_back():
    x, b = T.dmatrix("x"), T.dvector("b")
    check_grad(lambda u, v: (u * v).sum(), [np.ones((2, 3)), np.arange(3.0)])
    told = explain_grad((x * b).sum(), b, {x: [[1.0, 2.0], [3.0, 4.0]], b: [5.0, 6.0]})
    np.testing.assert_array_equal(told.links[-1].gradient, [4.0, 6.0])
    assert told.links[-1].shares[0].formula == "sum(δt1 * x, axis=0)" and told.links[-1].shares[0].local is None


def test_a_long_chain_is_cut_and_counted():
    x = T.dscalar("x")
    v = x
    for _ in range(500):
        v = T.tanh(v) + 0.1
    told = explain_grad(v, x, {x: 0.3})
    assert len(told.links) == MOST_LINKS and told.omitted == {MOST_LINKS // 2: "971 values: 486 tanh, 485 add"}
    assert "… 971 values: 486 tanh, 485 add …" in str(told) and "971" in told.latex
    assert told.checks[0].agrees and len(str(told)) < 8000
    assert told.links[-1].name == "x" and told.links[0].name == "v"


def test_a_target_on_the_way_or_the_cost_itself():
    n = network()
    told = explain_grad(n["error"], n["h"], {"x": [[1, 0]], "y": [1]})
    assert told.links[-1].name == "h" and told.checks[0].agrees
    itself = explain_grad(n["error"], n["error"])
    assert [link.shares for link in itself.links] == [()] and "δerror = 1" in str(itself)


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_hostile_names_are_data(name):
    x, w = T.dvector(name), T.dvector(name)
    told = explain_grad((T.exp(x) * w).sum(), [x, w], {x: [1.0], w: [2.0]})
    assert len(str(told)) < 4000 and "\u202e" not in str(told) and "\n\n\n" not in str(told)
    assert len({link.name for link in told.links}) == len(told.links) == len({link.symbol for link in told.links})
    assert "<s" not in told.latex and "%" not in told.latex.replace(r"\%", "")


def test_bad_input_is_refused():
    n = network()
    with pytest.raises(MissingInputError, match="y"):
        explain_grad(n["error"], n["W"], {"x": [[1, 0]]})
    with pytest.raises(TypeError, match=r"no input is called 'z'; there are .*W2"):
        explain_grad(n["error"], n["W"], {"z": 1})
    with pytest.raises(ShapeError):
        explain_grad(n["error"], n["W"], {"x": [1, 0], "y": [1]})
    with pytest.raises(DtypeError):
        explain_grad(n["error"], n["W"], {"x": [["a"]], "y": [1]})
    with pytest.raises(GradientError, match="scalar"):
        explain_grad(n["h"], n["W"])
    with pytest.raises(GradientError, match="does not depend"):
        explain_grad(n["error"], sg.shared(1.0, "other"))
