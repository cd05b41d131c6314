"""Graphs as text: it means what the graph means, has no parenthesis too many, and never grows out of hand."""

import ast
import io
import re

import numpy as np
import pytest

import symgraph.tensor as T
from symgraph.graph.node import Constant, SharedVariable, as_variable
from symgraph.graph.printing import debugprint, pp
from symgraph.graph.traverse import ancestors
from symgraph.graph.types import TensorType
from symgraph.interpreter import evaluate

a, b, c = T.lscalar("a"), T.lscalar("b"), T.lscalar("c")
x, y, w, s = T.dmatrix("x"), T.dvector("y"), T.dvector("w"), T.dscalar("s")
i = T.lscalar("i")


def shared(value, name=None):
    value = np.asarray(value)
    return SharedVariable(TensorType(str(value.dtype), (None,) * value.ndim), value, name)


def named(variable, name):
    variable.name = name
    return variable


@pytest.mark.parametrize("expression, text", [
    (lambda: a - (b - c), "a - (b - c)"),
    (lambda: a - b - c, "a - b - c"),
    (lambda: a + (b + c), "a + (b + c)"),
    (lambda: a * (b + c), "a * (b + c)"),
    (lambda: a * b + c, "a * b + c"),
    (lambda: s / (s * s) / s, "s / (s * s) / s"),
    (lambda: -(-a), "-(-a)"),  # noqa: B002
    (lambda: -(a * b), "-(a * b)"),
    (lambda: (-a) * b, "-a * b"),
    (lambda: a * -b, "a * -b"),
    (lambda: a - (-b), "a - -b"),
    (lambda: s**s**s, "s**s**s"),
    (lambda: (s**s) ** s, "(s**s)**s"),
    (lambda: -(s**2), "-s**2"),
    (lambda: (-s) ** 2, "(-s)**2"),
    (lambda: s**-s, "s**-s"),
    (lambda: s**-2.0, "s**-2"),
    (lambda: as_variable(-2.5) ** s, "(-2.5)**s"),
    (lambda: 1 - s * 0.1, "1 - s * 0.1"),
    (lambda: a // b % c, "a // b % c"),
    (lambda: (a < b) & (b >= c), "(a < b) & (b >= c)"),
    (lambda: ~(a < b), "~(a < b)"),
    (lambda: (a & b) | c ^ a, "a & b | c ^ a"),
    (lambda: (a | b) & c, "(a | b) & c"),
    (lambda: a << (b >> c), "a << (b >> c)"),
    (lambda: abs(s) + T.exp(s - 1), "abs(s) + exp(s - 1)"),
    (lambda: T.switch(a > b, s, -s), "switch(a > b, s, -s)"),
    (lambda: x @ y + s, "x @ y + s"),
    (lambda: x @ (x @ y), "x @ (x @ y)"),
    (lambda: x.T, "x.T"),
    (lambda: (x + 1).T, "(x + 1).T"),
    (lambda: x[1:], "x[1:]"),
    (lambda: x[::2, i], "x[::2, i]"),
    (lambda: (x - 1)[i, :3], "(x - 1)[i, :3]"),
    (lambda: x.shape, "x.shape"),
    (lambda: x.shape[0] * 2, "x.shape[0] * 2"),
    (lambda: x.sum(), "sum(x)"),
    (lambda: x.sum(axis=0), "sum(x, axis=0)"),
    (lambda: T.tensor3("z").max(axis=(0, 2)), "max(z, axis=(0, 2))"),
    (lambda: x.argmax(axis=1), "argmax(x, axis=1)"),
    (lambda: T.cast(x, "float32"), "float32(x)"),
    (lambda: x.reshape((i, 2)), "x.reshape((i, 2))"),
    (lambda: x.dimshuffle(1, "x", 0), "x.dimshuffle(1, 'x', 0)"),
    (lambda: x * [1, 2], "x * [1.0, 2.0]"),
    (lambda: x * np.ones((1, 9)), "x * <float64 (1, 9)>"),
])
def test_pp(expression, text):
    assert pp(expression()) == text


OPERATORS = [
    lambda p, q: p + q, lambda p, q: p - q, lambda p, q: p * q, lambda p, q: p // q, lambda p, q: p % q, lambda p,
    q: -p,
    lambda p, q: ~p, lambda p, q: p & q, lambda p, q: p | q, lambda p, q: p ^ q, lambda p, q: p << (q & 3), lambda p,
    q: p >> (q & 3),
    lambda p, q: (p < q) + p, lambda p, q: (p >= q) | p, lambda p, q: p - 3, lambda p, q: -7 * q, lambda p,
    q: p - (q - p),
]


def random_expression(rng, depth=5):
    made = [a, b, c]
    for _ in range(depth):
        left, right = rng.integers(len(made), size=2)
        made.append(OPERATORS[rng.integers(len(OPERATORS))](made[max(left, len(made) - 3)], made[right]))
    return made[-1]


def parenthesized(text):
    """The texts with one pair of parentheses taken out, other than those of calls and those of -(-a)."""
    opened = []
    for place, sign in enumerate(text):
        if sign == "(":
            opened.append(place)
        elif sign == ")":
            start = opened.pop()
            before = text[start - 1] if start else ""
            call, signs = before.isalnum() or before == "_", before in ("-", "~") and text[start + 1] in "-~"
            if not call and not signs:
                yield f"{text[:start]} {text[start + 1 : place]} {text[place + 1 :]}"


@pytest.mark.parametrize("seed", range(150))
def test_python_reads_what_pp_writes_as_the_graph_means_it(seed):
    out = random_expression(np.random.default_rng(seed))
    values = {"a": np.array([5, -3, 0]), "b": np.array([2, 7, -4]), "c": np.array([-1, 3, 6])}
    expected = evaluate([out], {v: values[v.name] for v in (a, b, c)})[0]
    functions = {name: getattr(np, name) for name in ("int8", "int64", "bitwise_and")}
    names = {**functions, **values}
    *definitions, text = pp(out).split("\n")
    with np.errstate(all="ignore"):
        for line in definitions:
            exec(line, names)
        np.testing.assert_array_equal(eval(text, names), expected)
    for line in [*(d.split(" = ", 1)[1] for d in definitions), text]:
        tree = ast.dump(ast.parse(line))
        for fewer in parenthesized(line):
            try:
                assert ast.dump(ast.parse(fewer.strip())) != tree, f"{line} can do with the parentheses of {fewer}"
            except SyntaxError:
                continue


def test_what_is_named_is_defined_once_and_then_used():
    h = named(T.tanh(x @ w + s), "h")
    assert pp(T.exp(h) * h) == "h = tanh(x @ w + s)\nexp(h) * h"
    assert pp(h) == "tanh(x @ w + s)"
    assert str(h) == "h" and str(h + 1) == "h + 1"


def test_what_is_long_and_shared_is_named_once():
    e = T.exp(x @ w + 10 * s)
    assert pp(e / (1 + e)) == "t1 = exp(x @ w + 10 * s)\nt1 / (1 + t1)"
    assert pp(T.exp(s) / (1 + T.exp(s))) == "exp(s) / (1 + exp(s))"
    t1 = T.dscalar("t1")
    assert pp((e + t1) / (1 + e)) == "t2 = exp(x @ w + 10 * s)\n(t2 + t1) / (1 + t2)"


def test_variables_of_the_same_name_or_of_none_are_told_apart():
    assert pp(T.dscalar("u") - T.dscalar("u")) == "u - u_2"
    first, second, third = T.dvector(), T.dvector(), T.fscalar()
    assert pp(first * second - first + third.astype("float64")) == (
        "<float64 (?,)> * <float64 (?,) #2> - <float64 (?,)> + float64(<float32 ()>)"
    )


@pytest.mark.parametrize("variable, str_, repr_", [
    (x, "x", "<x : float64 (?, ?)>"),
    (T.dscalar(), "<float64 ()>", "<float64 ()>"),
    (T.matrix("m", dtype="int8", shape=(None, 3)), "m", "<m : int8 (?, 3)>"),
    (x @ w, "x @ w", "<x @ w : float64 (?,)>"),
    (named(x @ w, "score"), "score", "<score = x @ w : float64 (?,)>"),
    (shared(np.zeros((2, 3)), "W"), "W", "<W : shared float64 (?, ?), now (2, 3)>"),
    (shared(1.0), "<shared float64 ()>", "<shared float64 ()>"),
    (as_variable(2.5), "2.5", "<2.5 : constant float64 ()>"),
    (as_variable(np.float32(0.1)), "0.1", "<0.1 : constant float32 ()>"),
    (as_variable(-np.inf), "-inf", "<-inf : constant float64 ()>"),
    (as_variable([True, False]), "[True, False]", "<[True, False] : constant bool (2,)>"),
    (as_variable([]), "[]", "<[] : constant float64 (0,)>"),
    (as_variable(np.zeros((30, 40))), "<float64 (30, 40)>", "<<float64 (30, 40)> : constant float64 (30, 40)>"),
    (Constant(np.array(3.14), "pi"), "pi", "<pi : constant float64 ()>"),
])
def test_at_the_prompt(variable, str_, repr_):
    assert str(variable) == str_
    assert repr(variable) == repr_


@pytest.mark.parametrize("name, shown", [
    ("W", "W"), ("W_2", "W_2"), ("hidden.W[0]", "hidden.W[0]"), ("x'", "x'"), ("größe", "größe"), ("σ", "σ"),
    ("layer 1", "'layer 1'"), ("a + b", "'a + b'"), ("2", "'2'"), ("a\nb", r"'a\nb'"),
    ("\x1b[2J\x1b[31m", r"'\x1b[2J\x1b[31m'"),
    ("\r\t\0", r"'\r\t\x00'"), ("say \"'hi'\"", "'say \"\\'hi\\'\"'"), ("*/ system(); /*", "'*/ system(); /*'"),
    ("\\", r"'\\'"),
    ("\u202eabc", r"'\u202eabc'"), ("\ud800", r"'\ud800'"), ("\x9b31m", r"'\x9b31m'"), ("x\u2028", r"'x\u2028'"),
    ("n" * 100, "n" * 28 + "…" + "n" * 11), ("{0}", "'{0}'"),
])
def test_names_are_data(name, shown):
    v = T.dscalar(name)
    assert str(v) == pp(v) == shown
    assert pp(v * 2) == str(v * 2) == f"{shown} * 2"
    assert repr(v) == f"<{shown} : float64 ()>"
    assert repr(named(T.exp(s), name)) == f"<{shown} = exp(s) : float64 ()>"
    e = named(T.exp(v), name)
    for text in (debugprint(e, file="str"), repr(e), pp(T.exp(e))):
        assert all(line.isprintable() for line in text.split("\n"))
        assert len(text.split("\n")) <= 3


def test_an_empty_name_is_none():
    assert str(T.dscalar("")) == "<float64 ()>"


def chain(length):
    z = s
    for _ in range(length):
        z = z * s
    return z


def doubling(length):
    z = s
    for _ in range(length):
        z = z + z
    return z


def test_str_and_repr_are_short_in_large_graphs():
    for graph in (chain(50_000), doubling(500), T.stack([T.exp(s) for _ in range(3_000)])):
        texts = [str(graph), repr(graph)]
        assert all(len(text) < 110 and "…" in text and "\n" not in text for text in texts)
    assert str(chain(100)).endswith("* s * s")
    assert re.fullmatch(r"<join\([\w().' ,…]*, …\) : float64 \(3000,\)>", repr(T.stack([T.exp(s)] * 3_000)))


def test_pp_and_debugprint_are_linear():
    def work(print_, build, n):
        return len(print_(build(n)))

    for print_ in (pp, lambda graph: debugprint(graph, file="str")):
        for build, n in ((chain, 30_000), (doubling, 1_000)):
            assert work(print_, build, n) < 13 * work(print_, build, n // 10)


def test_a_long_pp_can_be_read_back():
    names = {"s": np.float64(0.999)}
    graph = chain(300)
    *definitions, last = pp(graph).split("\n")
    assert len(definitions) > 5 and max(map(len, definitions)) < 130
    for line in definitions:
        exec(line, names)
    np.testing.assert_allclose(eval(last, names), 0.999**301, rtol=1e-12)


def test_debugprint_is_a_tree():
    h = named(T.tanh(x @ w), "h")
    assert debugprint([h * h, h], file="str") == """\
mul [id A] : float64 (?,)
 ├─ tanh [id B] h : float64 (?,)
 │   └─ dot [id C] : float64 (?,)
 │       ├─ x [id D] : float64 (?, ?)
 │       └─ w [id E] : float64 (?,)
 └─ tanh [id B] h : float64 (?,) …
tanh [id B] h : float64 (?,) …
"""
    assert debugprint(x.sum(axis=0), print_type=False, file="str") == "sum(axis=0) [id A]\n └─ x [id B]\n"


def test_debugprint_writes_to_standard_output_or_a_file(capsys):
    assert debugprint(s) is None
    assert capsys.readouterr().out == "s [id A] : float64 ()\n"
    file = io.StringIO()
    debugprint(as_variable(2.5), file=file)
    assert file.getvalue() == "2.5 [id A] : constant float64 ()\n"


def test_debugprint_of_a_function_shows_outputs_and_updates():
    class Function:
        W = shared(0.0, "W")
        outputs = (s + 1,)
        updates = ((W, W + s),)

    assert debugprint(Function(), print_type=False, file="str") == """\
add [id A]
 ├─ s [id B]
 └─ 1.0 [id C]
new W: add [id D]
 ├─ W [id E]
 └─ s [id B]
"""


@pytest.mark.parametrize("obj", [3, "x", None, [1], [x, 2]])
def test_debugprint_of_something_else(obj):
    with pytest.raises(TypeError, match="debugprint takes a variable, a list of variables or a function"):
        debugprint(obj)


def test_debugprint_writes_each_node_out_once():
    for graph in (doubling(200), chain(200)):
        text = debugprint(graph, print_type=False, file="str")
        assert max(len(line) for line in text.splitlines()) < 150
        identities = set(re.findall(r"\[id ([A-Z]+)\]", text))
        assert len(identities) == len(ancestors([graph]))
        expanded = re.findall(r"(?:add|mul) \[id ([A-Z]+)\]$", text, re.MULTILINE)
        assert len(expanded) == len(set(expanded)) == 200
