"""Whatever the user's names are, the C has identifiers that compile, look like them and are not mixed up."""

import re

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from codegen.threads import DECLARATIONS
from symgraph.lower.names import LONGEST, RESERVED, Names, identifier

HOSTILE = [
    "", " ", "0", "7up", "a b", "a-b", 'quote"', "apostrophe'", "back\\slash", "back\\\nslash", "*/", "/*",
    "*/ int evil; /*", "//", "??/", "???/\n", "new\nline", "tab\t", "\0", "\x1b[31m", "\r\n", "é", "漢字", "😀",
    "\u202e", "é" * 100, "x" * 10_000, "_", "__x", "_Bool", "<script>", "%s%n", "${x}", "$(rm)", "`x`", "#define x",
    "a;b", "{", "}", "Ⅳ", "ﬁ", "x²",
]  # fmt: skip
OTHERS = """
    int double for while if else return static restrict inline const void main NULL bool true false struct
    i j k l i4 i7 i12 arrays sizes workspace
    exp log sin tanh pow fmax round floor expf tanhf powf lgammaf logl isnan isinf signbit
    memcpy strlen printf exit malloc abort puts toupper isalpha cabs
    NAN INFINITY INT64_MAX INT64_MIN UINT8_MAX SIZE_MAX HUGE_VAL FP_ZERO M_PI MATH_ERRNO
    int8_t int64_t uint32_t size_t ptrdiff_t intmax_t float_t wchar_t
    sg_blas sg_exp_f64 sg_gemm_f64 SG_LANES SG_KERNEL SG_SIMD SG_BLAS_INT SG_TRANSPOSED
    asm typeof linux unix alignas nullptr
    compute compute_2 compute_plan compute_blas plan blas output_0 output_1 input t t_2 total total_2 best term n slot
    slot_2 workspace_bytes x_0 x_1 value constant f f_plan f_blas
""".split()


@pytest.mark.parametrize("name", [*HOSTILE, *OTHERS, None], ids=lambda name: ascii(name)[:30])
def test_any_text_gives_an_identifier(name):
    text = identifier(name)
    assert re.fullmatch(r"[A-Za-z]\w*", text, re.ASCII) and len(text) <= LONGEST + 2
    assert text not in RESERVED and not text.lower().startswith("sg_")
    assert identifier(text) == text


@pytest.mark.parametrize(("name", "text"), [
    ("W", "W"), ("learning_rate", "learning_rate"), ("x1", "x1"), ("été", "ete"), ("a b-c", "a_b_c"),
    ("exp", "v_exp"), ("expf", "v_expf"), ("i3", "v_i3"), ("idx", "idx"), ("7up", "v_7up"), ("_private_", "private"),
    ("int64_t", "v_int64_t"),
    ("SG_X", "v_SG_X"), ("interval", "interval"), ("iso", "iso"), ("M", "M"), ("MAX", "MAX"),
    ("漢字", "value"), ("ﬁ²", "fi2"),
])  # fmt: skip
def test_it_looks_like_the_name(name, text):
    assert identifier(name) == text


def test_default():
    assert identifier("", "input") == identifier(None, "input") == identifier("***", "input") == "input"


def test_each_is_used_once():
    names = Names()
    taken = [names.fresh(name) for name in ["x", "x", "x_2", "x", "x_2", "x-2", "x_2_2"]]
    assert len(set(taken)) == len(taken) and taken[:2] == ["x", "x_2"]


def test_scopes_share_no_names_with_the_outer_one():
    outer = Names()
    outer.fresh("x")
    first, second = Names(outer), Names(outer)
    assert first.fresh("x") == "x_2" == second.fresh("x")        # beside each other they may
    assert first.fresh("y") == "y"
    assert outer.fresh("y") == "y_2"                             # also where the inner one was first
    outer.take("z")
    assert first.fresh("z") == "z_2"


def compute(x_name, h_name, total_name, function_name):
    """A program with a name at everything that can have one: inputs, shared variables, values, the function."""
    x = T.fmatrix(x_name)
    W = sg.shared(np.ones(3, "float32"), h_name)
    h = T.exp(x * 0.5) + T.tanh(x) * W
    h.name = h_name
    total = h.sum(axis=1)
    total.name = total_name
    best = T.argmax(h, axis=1)
    best.name = x_name
    product = T.dot(h.T, total)
    product.name = total_name
    f = sg.function([x], [h, total, best, product], updates=[(W, W + product)], name=function_name)
    X = np.arange(-3, 3, dtype="float32").reshape(2, 3)
    H = np.exp(X * np.float32(0.5)) + np.tanh(X)
    results = f(X)
    np.testing.assert_allclose(results[0], H, rtol=1e-6)
    np.testing.assert_allclose(results[1], H.sum(1), rtol=1e-6)
    np.testing.assert_array_equal(results[2], H.argmax(1))
    np.testing.assert_allclose(results[3], H.T @ H.sum(1), rtol=1e-5)
    np.testing.assert_allclose(W.get_value(), 1 + H.T @ H.sum(1), rtol=1e-5)
    return f


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:30])
def test_hostile_names_compile_and_compute(name):
    f = compute(name, name, name, name)
    text = f.c_source.replace(DECLARATIONS, "")  # whose macros alone go on in the next line
    assert text.isascii() and "\\\n" not in text and "??" not in text


@pytest.mark.parametrize("start", range(0, len(OTHERS), 4))
def test_names_that_c_or_the_printer_uses_compile_and_compute(start):
    names = (OTHERS[start:] + OTHERS)[:4]
    compute(*names)
    compute(*names[::-1])


@pytest.mark.parametrize("name", ["exp", "printf", "main", "round", "strlen", "int", "compute", "x"])
def test_functions_of_any_name(name):
    compute("x", "h", "total", name)
    compute(name, name, name, name)


@pytest.mark.parametrize("name", ["plan", "blas", "threads", "seconds", "plain"])
def test_results_named_as_the_ends_of_entry_points(name):
    """The kernel that computes `threads` is not `compute_threads`, which receives their number."""
    x = T.dvector("x")
    y = 2 * x
    y.name = name
    f = sg.function([x], y, name="compute", profile=True)
    np.testing.assert_array_equal(f(np.ones(3)), np.full(3, 2.0))
    g = sg.function([x], T.sum(y), name="compute")
    assert g(np.ones(3)) == 6 and g.lowlevel() is not None


def test_what_an_op_names_itself_may_be_named_so_by_the_user():
    xs = [T.dvector(name) for name in ("a", "b", "start2", "start3", "start1", "i", "j")]
    f = sg.function(xs, T.concatenate(xs))
    np.testing.assert_array_equal(f(*[[k] * (k + 1) for k in range(7)]), np.repeat(range(7), range(1, 8)))


def test_long_names_that_begin_alike_are_told_apart():
    xs = [T.dvector("a" * 60 + str(number)) for number in range(4)]
    f = sg.function(xs, [x * (number + 1) for number, x in enumerate(xs)])
    for number, value in enumerate(f(*[[float(number)] for number in range(4)])):
        assert value == number * (number + 1)


def test_unnamed_and_equal_names():
    xs = [T.dscalar() for _ in range(3)] + [T.dscalar("x") for _ in range(3)]
    f = sg.function(xs, [x - 1 for x in xs])
    assert [float(v) for v in f(*range(6))] == [-1, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["clock", "time", "tzset", "timespec_get", "strftime", "time_t"])
def test_functions_with_products_may_be_named_as_what_their_c_includes(name):
    x = T.dmatrix("x")
    f = sg.function([x], T.dot(x, x), name=name)
    np.testing.assert_array_equal(f(np.ones((2, 2))), np.full((2, 2), 2.0))
