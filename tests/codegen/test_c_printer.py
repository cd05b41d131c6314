"""How expressions and statements are written in C, and that C reads them as they were meant."""

import random
import re

import numpy as np
import pytest

from codegen import ir
from codegen.c_expressions import comment, expression
from codegen.c_printer import print_program
from codegen.dtypes import C_TYPES, c_type
from codegen.operations import OPERATIONS, Infix, Prefix, dtypes, spelling
from codegen.visit import buffers, walk

a, b, c = (ir.Var("float64", name) for name in "abc")
k, m, n = (ir.Var("int64", name) for name in "kmn")
p, q, r = (ir.Var("bool", name) for name in "pqr")
s, t = ir.Var("int8", "s"), ir.Var("int8", "t")
u, v = ir.Var("uint32", "u"), ir.Var("uint32", "v")


def op(name, *args, dtype=None):
    return ir.Operation(dtype or args[0].dtype, name, args)


def test(name, *args):
    return op(name, *args, dtype="bool")


def number(value, dtype="float64"):
    return ir.Literal(dtype, value)


def select(condition, then, otherwise):
    return ir.Select(then.dtype, condition, then, otherwise)


test.__test__ = False
x, seen = ir.Buffer("x", "float64"), ir.Buffer("seen", "bool")


@pytest.mark.parametrize(("e", "text"), [
    (a - (b - c), "a - (b - c)"),
    ((a - b) - c, "a - b - c"),
    (a + (b + c), "a + (b + c)"),
    (a / (b * c), "a / (b * c)"),
    (a * (b / c), "a * (b / c)"),
    ((a * b) / c, "a * b / c"),
    (a * (b + c), "a * (b + c)"),
    (a * b + c, "a * b + c"),
    (op("neg", -a), "-(-a)"),
    (-(a + b), "-(a + b)"),
    ((-a) * b, "-a * b"),
    (a - (-b), "a - -b"),
    (-number(1.0), "-1.0"),
    (-number(-1.0), "-(-1.0)"),
    (a - number(-1.0), "a - -1.0"),
    (number(0.1 + 0.2), "0.30000000000000004"),
    (number(float("inf")), "INFINITY"),
    (-number(float("-inf")), "-(-INFINITY)"),
    (number(float("nan")) + a, "NAN + a"),
    (op("gammaln", a + b), "lgamma(a + b)"),
    (op("hurwitz", a, -b), "sg_hurwitz_f64(a, -b)"),
    (op("gammaln", ir.Var("float32", "z")), "lgammaf(z)"),
    (ir.Load("float64", x, k * n + m), "x[k * n + m]"),
    (-ir.Load("float64", x, k), "-x[k]"),
    (ir.Load("bool", seen, k), "seen[k] != 0"),  # bytes
    (test("logical_not", ir.Load("bool", seen, select(test("neq", k, n), k, n))), "seen[k != n ? k : n] == 0"),
    (test("logical_and", ir.Load("bool", seen, k), p), "(seen[k] != 0) & p"),
    (test("eq", test("logical_not", ir.Load("bool", seen, k)), p), "(seen[k] == 0) == p"),
    (select(ir.Load("bool", seen, k), a, b), "seen[k] != 0 ? a : b"),
    (select(p, a, b), "p ? a : b"),
    (select(p, a, select(q, b, c)), "p ? a : q ? b : c"),
    (select(p, select(q, a, b), c), "p ? (q ? a : b) : c"),
    (select(select(p, q, r), a, b), "(p ? q : r) ? a : b"),
    (select(p, a, b) + c, "(p ? a : b) + c"),
    (op("gammaln", select(p, a, b)), "lgamma(p ? a : b)"),
    (test("lt", a + b, c), "a + b < c"),
    (test("logical_and", test("lt", a, b), test("eq", b, c)), "(a < b) & (b == c)"),
    (test("logical_or", test("logical_and", p, q), r), "(p & q) | r"),
    (test("eq", test("lt", a, b), p), "(a < b) == p"),
    (test("logical_not", test("logical_not", p)), "!(!p)"),
    (test("logical_not", test("lt", a, b)), "!(a < b)"),
    (test("logical_xor", p, q), "p != q"),
    (op("invert", op("invert", n)), "~(~n)"),
    (op("bitwise_and", n + 63, ir.index(-64)), "(n + 63) & -64"),
    (op("bitwise_or", op("bitwise_xor", k, m), n), "(k ^ m) | n"),
    (op("add", p, q), "p | q"),
    (ir.Cast("float64", n), "(double)n"),
    (ir.Cast("float64", n + 1), "(double)(n + 1)"),
    (a / ir.Cast("float64", n), "a / (double)n"),
    (ir.Cast("float64", -n), "(double)-n"),
    (ir.Cast("float64", a), "a"),
    (ir.Cast("bool", n), "n != 0"),
    (ir.Cast("bool", a + b), "a + b != 0.0"),
    (test("logical_and", ir.Cast("bool", n), p), "(n != 0) & p"),
    (test("logical_not", ir.Cast("bool", n)), "!(n != 0)"),
    (ir.Cast("int64", a), "sg_i64_of_f64(a)"),
    (ir.Cast("int64", p), "(int64_t)p"),
    (s + t, "(int8_t)(s + t)"),
    ((s + t) * s, "(int8_t)((int8_t)(s + t) * s)"),
    (-s, "(int8_t)(-s)"),
    (op("bitwise_and", s, t), "s & t"),
    (ir.index(100000) * ir.index(100000), "(int64_t)100000 * 100000"),
    (number(3, "uint32") - number(5, "uint32"), "(uint32_t)3 - 5"),
    (-number(3, "uint32"), "-(uint32_t)3"),
    (op("invert", number(3, "uint64")), "~(uint64_t)3"),
    (select(p, ir.index(1), ir.index(2)) - ir.index(3), "(int64_t)(p ? 1 : 2) - 3"),
    (ir.index(2**40) * ir.index(3), "1099511627776LL * 3"),
    (number(2**31, "uint32") + u, "2147483648U + u"),
    (u * number(5, "uint32"), "u * 5"),
    (test("lt", k * 2 + m, n), "k * 2 + m < n"),
    (test("ge", u, number(0, "uint32")), "sg_ge_u32(u, 0)"),
    (test("eq", u, number(0, "uint32")), "u == 0"),
    (test("le", s, number(127, "int8")), "sg_le_i8(s, 127)"),
    (test("lt", s, number(126, "int8")), "s < 126"),
    (test("gt", p, number(True, "bool")), "sg_gt_b(p, true)"),
    (test("eq", n, n), "sg_eq_i64(n, n)"),
    (test("eq", k * n, n * k), "sg_eq_i64(k * n, n * k)"),
    (test("lt", ir.Cast("int64", s), n), "(int64_t)s < n"),
    (test("lt", ir.Cast("int64", s), ir.index(5)), "(int64_t)s < 5"),
    (test("lt", ir.Cast("int64", s), ir.index(200)), "sg_lt_i64((int64_t)s, 200)"),
    (test("lt", ir.Cast("int64", u), ir.index(0)), "sg_lt_i64((int64_t)u, 0)"),
    (test("lt", s + t, s), "sg_lt_i8((int8_t)(s + t), s)"),
    (test("logical_and", test("logical_not", p), test("logical_and", q, r)), "(!p) & (q & r)"),
    (ir.Cast("bool", op("bitwise_and", k, m)), "sg_neq_i64(k & m, 0)"),
    (op("invert", ir.Cast("int32", p)), "sg_invert_i32((int32_t)p)"),
    (test("neq", a, a), "a != a"),
])  # fmt: skip
def test_how_expressions_are_written(e, text):
    assert expression(e) == text


# -- what C makes of them

PREDICATES = set("lt le gt ge eq neq logical_and logical_or logical_xor logical_not".split())
REFERENCE = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal,
             "neq": np.not_equal, "add": np.add, "sub": np.subtract, "mul": np.multiply, "true_divide": np.divide,
             "neg": np.negative, "mod": np.remainder}  # fmt: skip
WRITTEN = {
    dtype: [o for o in OPERATIONS if dtype in dtypes(o) and isinstance(spelling(o, dtype), (Infix, Prefix))]
    for dtype in C_TYPES
}
LENGTH = 23


def arrays_of(dtype):
    """Two arrays of a dtype, extremes among them."""
    rng, kind = np.random.default_rng(len(dtype)), np.dtype(dtype).kind
    if kind == "b":
        return [rng.random(LENGTH) < 0.5 for _ in range(2)]
    if kind == "f":
        edges = [0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 1e30, -1e-30]
        return [rng.permutation(np.concatenate([edges, rng.normal(size=LENGTH - 8)])).astype(dtype) for _ in range(2)]
    limits = np.iinfo(dtype)
    edges = [limits.min, limits.min + 1, 0, 1, 2, limits.max - 1, limits.max]
    more = rng.integers(limits.min, limits.max, LENGTH - 7, dtype=dtype, endpoint=True)
    return [rng.permutation(np.concatenate([np.array(edges, dtype), more])) for _ in range(2)]


INPUTS = {f"{name}_{dtype}": array for dtype in C_TYPES for name, array in zip("xy", arrays_of(dtype))}


def random_constant(rng, dtype):
    value = INPUTS[f"{rng.choice('xy')}_{dtype}"][rng.randrange(LENGTH)].item()
    small = {"b": value, "f": rng.choice([value, 0.5, -3.0])}
    return ir.Literal(dtype, small.get(np.dtype(dtype).kind, rng.choice([value, rng.randrange(100)])))


def random_tree(rng, dtype, depth):
    """An expression of a dtype, of operations that have a sign of their own in C, choices and conversions."""
    if depth == 0 or rng.random() < 0.1:
        if rng.random() < 0.3:
            return random_constant(rng, dtype)
        return ir.Load(dtype, ir.Buffer(f"{rng.choice('xy')}_{dtype}", dtype), ir.Var(ir.INDEX, "i"))
    kind = rng.random()
    if kind < 0.12:
        condition = random_tree(rng, "bool", depth - 1)
        return ir.Select(dtype, condition, *(random_tree(rng, dtype, depth - 1) for _ in range(2)))
    if kind < 0.24:
        exact = [d for d in C_TYPES if c_type(d).kind != "f" or c_type(dtype).kind in "fb"]
        return ir.Cast(dtype, random_tree(rng, rng.choice(exact), depth - 1))
    operand = rng.choice(list(C_TYPES)) if dtype == "bool" and rng.random() < 0.5 else dtype
    names = [o for o in WRITTEN[operand] if (o in PREDICATES or operand == "bool") == (dtype == "bool")]
    name = rng.choice(names)
    count = 1 if isinstance(spelling(name, operand), Prefix) else 2
    args = [random_tree(rng, operand, depth - 1) for _ in range(count)]
    if not any(isinstance(part, ir.Load) for arg in args for part in walk(arg)) and not all(map(is_small, args)):
        return random_tree(rng, dtype, depth)       # compilers compute with constants, and warn where these overflow
    return ir.Operation(dtype, name, tuple(args))


def is_small(e):
    return isinstance(e, ir.Literal) and abs(e.value) < 100


def evaluate(e):
    """The value of an expression by numpy."""
    match e:
        case ir.Literal(dtype, value):
            return np.full(LENGTH, value, dtype)
        case ir.Load(_, buffer, _):
            return INPUTS[buffer.name]
        case ir.Cast(dtype, arg):
            return evaluate(arg).astype(dtype)
        case ir.Select(_, condition, then, otherwise):
            return np.where(evaluate(condition), evaluate(then), evaluate(otherwise))
        case ir.Operation(dtype, name, args):
            values = [evaluate(arg) for arg in args]
            value = (REFERENCE.get(name) or getattr(np, name))(*values)
            assert value.dtype == dtype, (name, value.dtype, dtype)
            return value
    raise AssertionError(e)


def check(run, name, trees):
    """Compile expressions into one loop, and compare with numpy what they give."""
    i = ir.Var(ir.INDEX, "i")
    outs = [ir.Buffer(f"out_{number}", e.dtype, writable=True) for number, e in enumerate(trees)]
    body = tuple(ir.Store(out, i, e) for out, e in zip(outs, trees))
    touched = buffers(body)
    kernel = ir.Kernel("kernel", tuple(touched), (ir.For(i, ir.index(LENGTH), body),))
    call = ir.Call("kernel", tuple(ir.Pointer(buffer, ir.index(0)) for buffer in touched))
    fields = tuple(ir.ArrayField(buffer, "input") for buffer in touched)
    results = {out.name: np.empty(LENGTH, out.dtype) for out in outs}
    program = ir.Program(name, fields, (), (), (), (call,), (kernel,))
    assert run(program, [results[f.name] if f.name in results else INPUTS[f.name] for f in touched]) == 0
    for out, e in zip(outs, trees):
        with np.errstate(all="ignore"):
            expected = evaluate(e)
        np.testing.assert_array_equal(results[out.name], expected, expression(e))
        if expected.dtype.kind == "f":
            numbers = ~np.isnan(expected)
            signs = np.signbit(results[out.name])[numbers], np.signbit(expected)[numbers]
            np.testing.assert_array_equal(*signs, expression(e))


@pytest.mark.parametrize("dtype", C_TYPES)
def test_c_reads_expressions_as_they_were_meant(run, dtype):
    rng = random.Random(dtype)
    trees = [random_tree(rng, dtype, 1 + number % 5) for number in range(60)]
    used = {part.name for e in trees for part in walk(e) if isinstance(part, ir.Operation) and part.dtype == dtype}
    assert used >= {o for o in WRITTEN[dtype] if (o in PREDICATES) == (dtype == "bool") or dtype == "bool"}
    check(run, f"trees_{dtype}", trees)


def test_comparisons_with_answers_known_in_advance(run):
    """They give no warning, which would fail the compilation here."""
    trees = []
    for dtype in [d for d in C_TYPES if c_type(d).kind != "f"]:
        load = ir.Load(dtype, ir.Buffer(f"x_{dtype}", dtype), ir.Var(ir.INDEX, "i"))
        limits = (False, True) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        for name in ("lt", "le", "gt", "ge", "eq", "neq"):
            trees.append(ir.Operation("bool", name, (load, load)))
            for limit in limits:
                constant = ir.Literal(dtype, limit if dtype == "bool" else int(limit))
                trees += [ir.Operation("bool", name, pair) for pair in ((load, constant), (constant, load))]
                trees.append(ir.Operation("bool", name, (constant, constant)))
    check(run, "known", trees)


@pytest.mark.parametrize("source", ["float32", "float64"])
def test_floats_become_integers_without_traps(run, source):
    """What fits is cut off; the rest, which C leaves open, is some number, and NaN as int64 is numpy's on x86."""
    values = np.array([0.0, -0.0, 0.9, -0.9, 1.5, -1.5, 100.7, 127.9, -128.9, np.nan, np.inf, -np.inf, 1e30], source)
    load = ir.Load(source, ir.Buffer("x", source), ir.Var(ir.INDEX, "i"))
    names = [dtype for dtype in C_TYPES if c_type(dtype).kind in "iu"]
    outs = [ir.Buffer(f"out_{dtype}", dtype, writable=True) for dtype in names]
    stores = tuple(ir.Store(out, ir.Var(ir.INDEX, "i"), ir.Cast(out.dtype, load)) for out in outs)
    folded = [ir.Buffer(f"constant_{dtype}", dtype, writable=True) for dtype in names]
    constants = tuple(
        ir.Store(out, ir.index(position), ir.Cast(out.dtype, ir.Literal(source, value.item())))
        for out in folded for position, value in enumerate(values)
    )  # fmt: skip
    loop = ir.For(ir.Var(ir.INDEX, "i"), ir.index(len(values)), stores)
    params = (ir.Buffer("x", source), *outs, *folded)
    program = ir.Program(
        "casts", tuple(ir.ArrayField(param, "input") for param in params), (), (), (),
        (ir.Call("kernel", tuple(ir.Pointer(param, ir.index(0)) for param in params)),),
        (ir.Kernel("kernel", params, (loop, *constants)),),
    )  # fmt: skip
    results = [np.empty(len(values), buffer.dtype) for buffer in params[1:]]
    run(program, [values, *results])
    for result, constant in zip(results[: len(outs)], results[len(outs) :]):
        limits = np.iinfo(result.dtype)
        with np.errstate(invalid="ignore"):
            whole = np.trunc(values)
            fits = (whole >= limits.min) & (whole <= limits.max)
        np.testing.assert_array_equal(result[fits], whole[fits].astype(result.dtype))
        np.testing.assert_array_equal(result, constant)
        if result.dtype == "int64":
            assert (result[~fits] == limits.min).all()


# -- statements

i, total = ir.Var(ir.INDEX, "i"), ir.Var("float64", "total")
out = ir.Buffer("out", "float64", writable=True)
LOAD, OLD = ir.Load("float64", x, i), ir.Load("float64", out, i)


def body_of(*statements, params=(out, x, n)):
    """The lines of a kernel with these statements."""
    program = ir.Program("f", (), (), (), (), (), (ir.Kernel("kernel", params, statements),))
    text = print_program(program)
    return text[text.index("{\n", text.index("kernel(")) + 2 : text.index("\n}\n\n/* Checks")]


@pytest.mark.parametrize(("statement", "lines"), [
    (ir.Declare(a, LOAD), "const double a = x[i];"),
    (ir.Declare(total, number(0.0), mutable=True), "double total = 0.0;"),
    (ir.Assign(total, total + LOAD * a), "total += x[i] * a;"),
    (ir.Assign(total, LOAD + total), "total = x[i] + total;"),
    (ir.Assign(total, total * (a - b)), "total *= a - b;"),
    (ir.Assign(total, total - (a - b)), "total -= a - b;"),
    (ir.Assign(total, total / a), "total = total / a;"),
    (ir.Assign(total, (total + a) + b), "total = total + a + b;"),
    (ir.Assign(total, op("maximum", total, a)), "total = sg_maximum_f64(total, a);"),
    (ir.Assign(p, op("add", p, q)), "p = p | q;"),
    (ir.Store(out, i, OLD + a), "out[i] += a;"),
    (ir.Store(out, i, OLD * select(p, a, b)), "out[i] *= p ? a : b;"),
    (ir.Store(out, i * n + 1, ir.Load("float64", out, i * n) + a), "out[i * n + 1] = out[i * n] + a;"),
    (ir.For(i, n, (ir.Store(out, i, LOAD),)), "for (int64_t i = 0; i < n; ++i) {\n    out[i] = x[i];\n}"),
    (ir.For(i, n + 1, ()), "for (int64_t i = 0; i < n + 1; ++i) {\n}"),
    (ir.For(i, select(p, n, m), ()), "for (int64_t i = 0; i < (p ? n : m); ++i) {\n}"),
    (ir.For(i, n, (ir.Assign(total, total + LOAD),), True, (("+", total),)),
     "SG_LANES(omp simd reduction(+:total))\nfor (int64_t i = 0; i < n; ++i) {\n    total += x[i];\n}"),
    (ir.If(p, (ir.Store(out, i, a),)), "if (p) {\n    out[i] = a;\n}"),
    (ir.If(p, (ir.Store(out, i, a),), (ir.Store(out, i, b),)),
     "if (p) {\n    out[i] = a;\n} else {\n    out[i] = b;\n}"),
    (ir.If(test("logical_not", test("eq", n, m)), (ir.Fail(4),)), "if (!(n == m))\n    return 4;"),
    (ir.Call("kernel", (ir.Pointer(out, ir.index(0)), ir.Pointer(x, n * m), n - 1)), "kernel(out, x + n * m, n - 1);"),
    (ir.Copy(ir.Pointer(out, ir.index(0)), ir.Pointer(x, n), n + 1),
     "memcpy(out, x + n, (size_t)(n + 1) * sizeof *out);"),
    (ir.Place(out, "workspace", ir.index(0)), "double *out = workspace;"),
    (ir.Place(out, "workspace", n), "double *out = (double *)((char *)workspace + n);"),
    (ir.Place(x, "y", n * 2), "const double *x = y + n * 2;"),
    (ir.Comment("one\ntwo"), "/* one\n   two */"),
])  # fmt: skip
def test_how_statements_are_written(statement, lines):
    assert body_of(statement).split("\n") == ["    " + line for line in lines.split("\n")]


@pytest.mark.parametrize(("left", "name"), [
    (ir.Stmt(), "Stmt"),
    (ir.Store(out, i, ir.Element("float64", "x", (i,))), "Element"),
    (ir.Declare(a, ir.Reduce("float64", "add", a, (i,), (n,))), "Reduce"),
])  # fmt: skip
def test_what_lowering_should_have_replaced_is_refused(left, name):
    with pytest.raises(TypeError, match=f"{name} should have been lowered"):
        body_of(left)


def test_long_calls_are_broken_into_lines():
    many = tuple(ir.Buffer(f"array_{number}_with_a_long_name", "float64") for number in range(30))
    call = ir.Call("kernel", tuple(ir.Pointer(buffer, n) for buffer in many))
    program = ir.Program("f", (), (n,), (), (), (call,), (ir.Kernel("kernel", many, ()),))
    text = print_program(program)
    assert max(map(len, text.splitlines())) <= 120
    assert not re.search(r"[ \t]\n", text)


def test_what_only_calls_others_is_not_optimized():
    """Blocks, the plan, and a main function that is long; a short one is, and so are kernels."""
    call = ir.Call("kernel", (ir.Pointer(out, ir.index(0)),))
    kernel = ir.Kernel("kernel", (out,), (ir.Store(out, ir.index(0), number(1.0)),))
    blocks = ir.Kernel("in_blocks", (out, n), (ir.InBlocks(n, n, call),))
    field = ir.ArrayField(out, "output", "")
    short, long = (
        print_program(ir.Program("f", (field,), (n,), (), (), (call,) * count, (kernel, blocks))) for count in (3, 1000)
    )
    plain = re.compile(r"^SG_PLAIN\n.*?(\w+)\(", re.MULTILINE)
    assert plain.findall(short) == ["in_blocks", "f_plan"]
    assert plain.findall(long) == ["in_blocks", "f_plan", "sg_part_1", "sg_part_2", "sg_part_3"]


# -- comments

HOSTILE = [
    "plain", "", "*/", "/*", "*/*/*", "/*/", "**//", "* /", "a */ int x; /*", "??/", "???/", "????/", "??/\n", "a\\",
    "a\\\n*/",
    "\\\n", "*\\\n/", "\n\n", "tab\there", "bell\a\0\x7f\x1b[31m", "new\rline\r\n", "form\fvt\v",
    "é ü 漢字 😀", "\u2028\u202e\u0085",
    '"quotes" \'and\' `ticks`', "%s %d", "x" * 10_000, "??/" * 100, "*" * 99 + "/", "//", "a//b", "#line 3", "…",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_comments_hold_any_text(text):
    written = comment(text)
    assert written.startswith("/* ") and written.endswith(" */") and len(written) >= 6
    inside = written[2:-2]
    assert "*/" not in inside and "/*" not in inside and "??" not in inside and "\\\n" not in inside
    assert re.fullmatch(r"[ -~\n]*", inside)


def test_comments_say_what_the_text_says():
    assert comment("y = x / 2 ** 3") == "/* y = x / 2 ** 3 */"
    assert comment("one\n\ntwo…") == "/* one\n\n   two... */"
    assert comment("é\a") == "/* <U+00E9><U+0007> */"


def test_hostile_comments_compile(run):
    """Without a warning, and the statement after each still counts."""
    out = ir.Buffer("out", "int64", writable=True)
    body = []
    for position, text in enumerate(HOSTILE):
        body += [ir.Comment(text), ir.Store(out, ir.index(position), ir.index(position + 1))]
    everything = "\n".join(HOSTILE)
    program = ir.Program(
        "comments", (ir.ArrayField(out, "output", everything),), (), (), (),
        (ir.Call("kernel", (ir.Pointer(out, ir.index(0)),)),),
        (ir.Kernel("kernel", (out,), tuple(body), everything),), everything,
    )  # fmt: skip
    result = np.zeros(len(HOSTILE), "int64")
    assert run(program, [result]) == 0
    np.testing.assert_array_equal(result, 1 + np.arange(len(HOSTILE)))
