"""Graphs as LaTeX: read back as the graph means it, well formed whatever the names, and never out of hand."""

import re

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.graph.node import Op, SharedVariable
from symgraph.graph.types import TensorType
from symgraph.interpreter import evaluate
from symgraph.latex import BROADCASTING, FUNCTIONS, GREEK, SCALAR_FORMS, latex, symbol
from symgraph.ops.elementwise import unbroadcast
from symgraph.ops.scalar import SCALAR_FUNCTIONS
from symgraph.testing import variables_for

x, y, w = T.dmatrix("x"), T.dvector("y"), T.dvector("w")
s, t, u, i = T.dscalar("s"), T.dscalar("t"), T.dscalar("u"), T.lscalar("i")


def named(variable, name):
    variable.name = name
    return variable


@pytest.mark.parametrize("name, tex", [
    ("x", "x"), ("alpha", r"\alpha"), ("Omega", r"\Omega"), ("omicron", r"\mathrm{omicron}"), ("α", r"\alpha"),
    ("λ_1", r"\lambda_{1}"), ("Λ", r"\Lambda"), ("W_1", "W_{1}"), ("b2", "b_{2}"), ("W1_h", r"W_{1, h}"),
    ("y_pred", r"y_{\mathrm{pred}}"), ("x_alpha", r"x_{\alpha}"), ("sigma_2", r"\sigma_{2}"),
    ("cost", r"\mathrm{cost}"),
    ("conv12", r"\mathrm{conv}_{12}"), ("learning_rate", r"\mathrm{learning\_rate}"), ("lambda_", r"\lambda"),
    ("x'", "x'"), ("grad_W_1", r"\nabla_{W_{1}}"), ("é", r"\text{é}"), ("a.b[0]", r"\mathtt{a.b[0]}"),
    ("_", r"\mathtt{\_}"), ("50%", r"\mathtt{50\%}"), ("a\\b", r"\mathtt{a\backslash{}b}"),
])
def test_a_name_becomes_a_symbol(name, tex):
    assert symbol(name) == tex


@pytest.mark.parametrize("expression, tex", [
    (lambda: s - (t - u), r"s - \left(t - u\right)"),
    (lambda: s - t - u, "s - t - u"),
    (lambda: s - (-t), r"s - \left(-t\right)"),
    (lambda: -(s * t), r"-s \cdot t"),
    (lambda: s * -t, r"s \cdot \left(-t\right)"),
    (lambda: -(-s), r"-\left(-s\right)"),  # noqa: B002
    (lambda: s * (t + u), r"s \cdot \left(t + u\right)"),
    (lambda: s / t / u, r"\frac{\frac{s}{t}}{u}"),
    (lambda: (s / t) ** 2, r"\left(\frac{s}{t}\right)^{2}"),
    (lambda: (s**2) ** t, r"\left(s^{2}\right)^{t}"),
    (lambda: s ** (t + 1), "s^{t + 1}"),
    (lambda: T.exp(-(s**2)), "e^{-s^{2}}"),
    (lambda: T.exp(s) ** 2, r"\left(e^{s}\right)^{2}"),
    (lambda: T.sqrt(s + 1), r"\sqrt{s + 1}"),
    (lambda: abs(s - t), r"\left|s - t\right|"),
    (lambda: T.floor(s), r"\left\lfloor s\right\rfloor"),
    (lambda: T.tanh(s + t), r"\tanh\left(s + t\right)"),
    (lambda: T.erf(s), r"\operatorname{erf}\left(s\right)"),
    (lambda: T.nnet.sigmoid(x @ w + s), r"\sigma\left(x \, w + s\right)"),
    (lambda: y @ w, r"y \cdot w"),
    (lambda: x.T @ (x @ y), r"x^{\top} \, \left(x \, y\right)"),
    (lambda: x.T**2, r"\left(x^{\top}\right)^{2}"),
    (lambda: y * w, r"y \odot w"),
    (lambda: 2 * y, r"2 \cdot y"),
    (lambda: (y * w).sum() + 1, r"\sum y \odot w + 1"),
    (lambda: (y + 1).sum() * s, r"\left(\sum \left(y + 1\right)\right) \cdot s"),
    (lambda: s + y.sum(), r"s + \sum y"),
    (lambda: x.sum(axis=0), r"\sum_{\mathrm{axis}\,0} x"),
    (lambda: x.max(), r"\max\left(x\right)"),
    (lambda: T.prod(y), r"\prod y"),
    (lambda: T.mean(y), r"\frac{\sum y}{\operatorname{len}_{0}\left(y\right)}"),
    (lambda: (s < t) & (t >= u), r"\left(s < t\right) \mathbin{\&} \left(t \ge u\right)"),
    (lambda: T.switch(s > t, s, -t), r"\begin{cases} s & \text{if } s > t \\ -t & \text{otherwise} \end{cases}"),
    (lambda: x[i, 1:], r"{x}_{i, 1:}"),
    (lambda: (x + 1)[0], r"{\left(x + 1\right)}_{0}"),
    (lambda: x.reshape((i, 2)), r"x\mathtt{.reshape((}i\mathtt{{,}\ 2))}"),
    (lambda: T.nnet.softmax(x), r"\operatorname{softmax}\left(x, \mathtt{axis=1}\right)"),
    (lambda: T.cast(i, "float64") * s, r"i \cdot s"),
    (lambda: T.cast(s, "int64"), r"\operatorname{int64}\left(s\right)"),
    (lambda: y * [1.5, -2e-9], r"y \odot \left[1.5, -2 \cdot 10^{-9}\right]"),
    (lambda: s * 1e-5, r"s \cdot 10^{-5}"),
    (lambda: T.constant(1e-5) ** s, r"\left(10^{-5}\right)^{s}"),
    (lambda: T.constant(-2.0) ** s, r"\left(-2\right)^{s}"),
    (lambda: s - np.inf, r"s - \infty{}"),
])
def test_latex(expression, tex):
    assert latex(expression()) == tex


SCALARS = [
    lambda p, q: p + q, lambda p, q: p - q, lambda p, q: p * q, lambda p, q: p / (q * q + 1), lambda p, q: -p,
    lambda p, q: p**2, lambda p, q: 2**p, lambda p, q: T.exp(p / 9), lambda p, q: T.sqrt(abs(q)), lambda p, q: p * -3,
    lambda p, q: T.sin(p) - (q - p), lambda p, q: T.floor(p) * q, lambda p, q: T.log1p(p * p),
    lambda p, q: T.tanh(p) ** 2,
]  # fmt: skip


def random_expression(rng, depth=5):
    made = [s, t, u]
    for _ in range(depth):
        left, right = rng.integers(len(made), size=2)
        made.append(SCALARS[rng.integers(len(SCALARS))](made[max(left, len(made) - 3)], made[right]))
    return made[-1]


def braced(text, start):
    """The text between the braces that open at `start`, and where they close."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + 1 : place], place + 1
    raise AssertionError(f"an open brace in {text}")


def in_python(tex):
    """A formula of scalars as Python reads it."""
    for command, call in (("\\frac", "({})/({})"), ("\\sqrt", "sqrt({})"), ("^", "**({})")):
        while (place := tex.find(f"{command}{{")) >= 0:
            arguments, end = [], place + len(command)
            while len(arguments) < call.count("{}"):
                inner, end = braced(tex, end)
                arguments.append(inner)
            tex = f"{tex[:place]}({call.format(*arguments)}){tex[end:]}" if command != "^" else (
                f"{tex[:place]}{call.format(*arguments)}{tex[end:]}")
    for sign, text in ((r"\left\lfloor", "floor("), (r"\right\rfloor", ")"), (r"\left|", "abs("), (r"\right|", ")"),
                       (r"\left(", "("), (r"\right)", ")"), (r"\cdot", "*"), (r"\odot", "*")):
        tex = tex.replace(sign, text)
    return re.sub(r"t_\{(\d+)\}", r"t\1", re.sub(r"_\{(\d+)\}", r"\1", tex)).replace("\\", "").replace("e**", "E**")


@pytest.mark.parametrize("seed", range(150))
def test_the_formula_is_read_back_as_the_graph_means_it(seed):
    out = random_expression(np.random.default_rng(seed))
    values = {"s": 0.7, "t": -1.3, "u": 2.1}
    (expected,) = evaluate([out], {v: np.asarray(values[v.name]) for v in (s, t, u)})
    functions = {name: getattr(np, name) for name in ("sqrt", "floor", "sin", "log", "tanh")}
    names = {**functions, **values, "E": np.e}
    *definitions, text = in_python_lines(latex(out))
    for line in definitions:
        exec(line, names)
    np.testing.assert_allclose(eval(text, names), expected, rtol=1e-12)


def in_python_lines(tex):
    if not tex.startswith(r"\begin{aligned}"):
        return [in_python(tex)]
    lines = tex.removeprefix("\\begin{aligned}\n").removesuffix("\n\\end{aligned}").split(" \\\\\n")
    *definitions, result = [re.sub(r"_\{(\d+)\}", r"_{\1}", line) for line in lines]
    pairs = [line.split(" &= ", 1) for line in definitions]
    return [*(f"{in_python(name)} = {in_python(value)}" for name, value in pairs), in_python(result.removeprefix("& "))]


# Commands that LaTeX with amsmath, MathJax and KaTeX share.
COMMANDS = {f"\\{name}" for name in GREEK | FUNCTIONS} | set(r"""
    \left \right \frac \sqrt \cdot \odot \oplus \top \nabla \infty \sum \prod \operatorname \mathrm \mathtt \mathbin
    \mathord \text \begin \end \lfloor \rfloor \lceil \rceil \le \ge \ne \land \lor \lnot \sim \ll \gg \bmod \Gamma \psi
    \sigma \backslash \wedge \ldots \displaystyle \quad \\ \{ \} \$ \& \# \% \_ \,
""".split()) | {"\\ "}
DELIMITERS = {*"()[]|", r"\lfloor", r"\rfloor", r"\lceil", r"\rceil"}


def check_form(tex):
    """Commands are known, braces and \\left \\right balance, nothing special stands alone, no index has a second."""
    tex = tex.replace(r"\text{`}", "").replace(r"\text{'}", "").replace(r"\text{''}", "")
    tokens = re.findall(r"\\[A-Za-z]+|\\.|.", tex, re.DOTALL)
    opened, environments = [], 0
    for k, token in enumerate(tokens):
        if token.startswith("\\"):
            assert token in COMMANDS, (token, tex)
            following = tokens[k + 1] if k + 1 < len(tokens) else ""
            assert token not in (r"\left", r"\right") or following in DELIMITERS, tex
            environments += {r"\begin": 1, r"\end": -1}.get(token, 0)
        assert token not in "$#%~\"`", (token, tex)
        assert token != "&" or environments > 0, tex
        assert "<" not in token or tokens[k + 1] in " }", (tex, "a browser may take this for a tag")
        if token in ("{", r"\left"):
            opened.append(token)
        elif token in ("}", r"\right"):
            assert opened.pop() == {"}": "{", r"\right": r"\left"}[token], tex
    assert not opened and environments == 0, tex
    for index in re.finditer(r"[_^]\{", tex):
        _, end = braced(tex.replace(r"\{", "xx").replace(r"\}", "xx"), index.end() - 1)
        assert tex[end : end + 1] != index[0][0], (tex, "a second index")


def subclasses(cls):
    return [cls] if not cls.__subclasses__() else [leaf for sub in cls.__subclasses__() for leaf in subclasses(sub)]


@pytest.mark.parametrize("op", subclasses(Op), ids=lambda op: op.__name__)
def test_every_op_is_well_formed(op):
    for function, arrays in op.examples():
        out = function(*variables_for(arrays))
        check_form(latex(out))
        check_form(out._repr_latex_()[1:-1])


def test_every_form_is_of_a_function_there_is():
    assert set(SCALAR_FORMS) - set(SCALAR_FUNCTIONS) == set()


HOSTILE = [
    "</script>", "*/", "\n", "??/", "\\", "\\end{document}", "%", "$x$", "#1", "~^_", '"', "'", "`", "{", "}", "}{",
    "&", "\x00", "\u202e", "\ud800", "\ue0000 atom\ue001", "a" * 10_000, "x_", "_x", "__", "x__y", "grad_", "²", "x²",
    "日本", "\\input{/etc/passwd}", "a b", "-", "…",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_hostile_names_are_data(name):
    v, m = T.dscalar(name), T.dmatrix(name)
    for out in (v, v**2, (T.exp(m).T @ m)[0, 1:], named(v + 1, name), sg.grad((m * v).sum(), m)):
        for tex in (latex(out), out._repr_latex_()[1:-1]):
            check_form(tex)
            tex.encode("utf-8")
            assert len(tex) < 4000


@pytest.mark.parametrize("cost, by, tex", [
    (lambda: x.sum(), x, "1"),
    (lambda: T.exp(x).sum(), x, r"1 \odot e^{x}"),
    (lambda: (x * y).sum(), y, r"\sum_{\mathrm{axis}\,0} 1 \odot x"),
    (lambda: (x * s).sum(), s, r"\sum 1 \odot x"),
])
def test_gradients_leave_broadcasts_out_and_write_what_comes_back_as_sums(cost, by, tex):
    assert latex(sg.grad(cost(), by)) == tex


def test_every_form_of_broadcasting_is_of_an_op_there_is():
    ops = [type(v.owner.op) for v in (s.broadcast_to((3,)), unbroadcast(x, y))]
    assert set(BROADCASTING) == {f"{op.__module__}.{op.__name__}" for op in ops}


def test_what_is_not_written_is_not_defined():
    long = T.tanh(T.dot(x, w) + T.dot(x, w * 2) + T.dot(x, w * 3) + y)
    lengths = long.shape[0] * 2 + long.shape[0] // 2
    tex = latex(s.broadcast_to((lengths,)) + t.broadcast_to((lengths,)))
    assert tex == "s + t"
    tex = latex(named(T.exp(s), "e").broadcast_to((lengths,)) * t)
    assert tex == "\\begin{aligned}\ne &= e^{s} \\\\\n& e \\cdot t\n\\end{aligned}"


def test_names_that_look_alike_in_tex_are_told_apart():
    assert latex(T.dscalar("b2") + T.dscalar("b_2")) == r"b_{2} + \mathtt{b\_2}"
    assert latex(T.dscalar("a") + T.dscalar("a")) == "a + a_{2}"


def test_what_is_named_or_shared_is_defined_first():
    h = named(T.tanh(x @ w + s), "h")
    assert latex(T.exp(h) * h) == (
        "\\begin{aligned}\nh &= \\tanh\\left(x \\, w + s\\right) \\\\\n& e^{h} \\odot h\n\\end{aligned}"
    )
    assert latex(h) == r"\tanh\left(x \, w + s\right)"


def test_at_the_prompt():
    W = SharedVariable(TensorType("float32", (None, 3)), np.zeros((2, 3), "float32"), "W_1")
    assert W._repr_latex_() == r"$\displaystyle W_{1} \quad \mathtt{shared\ float32\ (?{,}\ 3)}$"
    assert named(2 * s, "h")._repr_latex_() == r"$\displaystyle h = 2 \cdot s \quad \mathtt{float64\ ()}$"
    assert T.dvector()._repr_latex_() == r"$\mathtt{float64\ (?{,})}$"


def chain(length):
    v = s
    for _ in range(length):
        v = T.tanh(v) + s
    return v


def test_the_text_is_linear_and_at_the_prompt_bounded():
    chain(100)
    shorter, longer = (latex(chain(n)) for n in (5_000, 10_000))
    assert len(longer) < 2.2 * len(shorter) and longer.startswith(r"\begin{aligned}")
    assert len(chain(10_000)._repr_latex_()) < 2000
    doubled = s
    for _ in range(60):
        doubled = T.exp(doubled) * T.sin(doubled)
    assert len(latex(doubled)) < 20_000
