"""What a compiled function shows: costs, profiles, the user's lines, and C edited by hand."""

import re

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from codegen.errors import CompileError


def step(**options):
    """A training step of a linear model, and arguments for it."""
    x, y = T.dmatrix("x"), T.dvector("y")
    w = sg.shared(np.arange(3.0), "w")
    cost = T.mean(T.sqr(T.tanh(T.dot(x, w)) - y))
    train = sg.function([x, y], cost, updates=[(w, w - 0.1 * sg.grad(cost, w))], name="train", **options)
    rng = np.random.default_rng(0)
    return train, w, (rng.normal(size=(5, 3)), rng.normal(size=5))


def test_costs_are_formulas_in_the_lengths():
    a, b = T.dmatrix("a"), T.dvector("b")
    f = sg.function([a, b], a * 2 + T.exp(b))
    total = f.cost().total
    rows, columns = "a_0", next(n for n in total.operations.names if n != "a_0")
    at = {rows: 10, columns: 7}
    assert total.operations(at) == 2 * 70 + 7  # exp is taken once a column, and kept for the rows
    assert total.read(at) == 8 * (70 + 7 + 7) and total.written(at) == 8 * (70 + 7)
    assert f.cost().at(**at)["written"] == 616
    assert "bytes read" in str(f.cost())


def test_a_profile_accounts_for_all_calls_and_names_the_users_lines():
    train, _, arguments = step(profile=True)
    for _ in range(3):
        train(*arguments)
    found = train.profile()
    assert found.calls == 3 and len(found.timings) == len(train.graph.steps)
    assert all(t.seconds >= 0 for t in found.timings) and found.seconds > 0
    assert found.by_line.keys() == {str(x.origin) for s in train.graph.steps for x in s.made}
    assert sum(found.by_line.values()) == pytest.approx(found.seconds)
    assert len(found.timings) > 1 and f" in {len(found.timings)} steps\n" in str(found)
    assert "test_inspection.py:" in str(found) and "GB/s" in str(found)


def test_a_function_without_clocks_says_how_to_get_them():
    train, _, _ = step()
    with pytest.raises(RuntimeError, match="profile=True"):
        train.profile()
    with pytest.raises(RuntimeError, match="interpreted"):
        sg.function([], T.constant(1.0), mode="numpy").cost()


def test_results_are_the_same_with_clocks_and_lines():
    plain, w, arguments = step()
    looked_at, v, _ = step(profile=True, debug="line")
    for _ in range(2):
        np.testing.assert_array_equal(plain(*arguments), looked_at(*arguments))
        np.testing.assert_array_equal(w.get_value(), v.get_value())


def test_lines_of_the_program_in_the_c():
    train, _, _ = step(debug="line")
    lines = train.c_source.split("\n")
    marked = {int(m.group(1)) for line in lines if (m := re.match(r'#line (\d+) ".*test_inspection\.py"', line))}
    made = {x.origin.line for s in train.graph.steps if s.kind == "nest" for x in s.made}
    assert marked and marked <= made
    for k, line in enumerate(lines):  # behind each kernel the C counts its own lines again
        if m := re.match(r'#line (\d+) "train\.c"', line):
            assert int(m.group(1)) == k + 2


def test_a_file_name_of_any_characters():
    source = "import symgraph.tensor as T\nx = T.dvector('x')\ny = T.exp(x) + 1\n"
    made = {}
    exec(compile(source, 'odd"\\\n*/ \u00e9.py', "exec"), made)
    f = sg.function([made["x"]], made["y"], debug="line")
    np.testing.assert_allclose(f([0.0]), [2.0])


def test_c_edited_by_hand_is_used_once_it_computes_the_same(tmp_path):
    train, w, arguments = step()
    path = train.edit(tmp_path / "train.c")
    before = w.get_value()
    path.write_text("/* by hand */\n" + path.read_text())
    train.reload(path, *arguments)
    np.testing.assert_array_equal(w.get_value(), before)  # the trial left no trace
    assert train.c_source.startswith("/* by hand */")
    expected, v, _ = step()
    np.testing.assert_array_equal(train(*arguments), expected(*arguments))
    np.testing.assert_array_equal(w.get_value(), v.get_value())


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (
            lambda c: re.sub(r"(?<!double )sg_tanh_f64\(", "2.0 * sg_tanh_f64(", c),
            ValueError,
            "another value for output 1",
        ),
        (
            lambda c: c.replace("-0.1", "-0.2").replace("0.1;", "0.2;").replace("* 0.1", "* 0.2"),
            ValueError,
            "the update of w",
        ),
        (lambda c: c + "\nthis is no C\n", CompileError, "train"),
        (lambda c: c.replace("int train(", "int other("), ValueError, "entry point"),
    ],
)
def test_edited_c_that_is_wrong_changes_nothing(tmp_path, change, error, text):
    train, w, arguments = step()
    source, before = train.c_source, w.get_value()
    path = tmp_path / "edited.c"
    path.write_text(change(train.edit(path).read_text()))
    with pytest.raises(error, match=text):
        train.reload(path, *arguments)
    assert train.c_source == source
    np.testing.assert_array_equal(w.get_value(), before)


def test_the_c_is_text_and_html():
    train, _, _ = step()
    assert isinstance(train.c_source, str)
    html = train.c_source._repr_html_()
    assert "<pre" in html and "math.h&gt;" in html and "<math.h>" not in html
