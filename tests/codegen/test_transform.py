"""Equal kernels are emitted once, and only equal ones."""

import pytest

from codegen import ir
from codegen.transform import folded, lift_offsets, renamed, share_kernels, taken_apart
from codegen.visit import expressions

i, j, n = (ir.Var(ir.INDEX, name) for name in "ijn")


def kernel(name, x="x", out="out", size="n", index="i", local="t", *, dtype="float64", add=1.0, simd=False, swap=False,
           comment=""):
    """`out[i] = t + add` where `t = x[i] * x[i]`, for i below n."""
    source, target, extent = ir.Buffer(x, dtype), ir.Buffer(out, dtype, writable=True), ir.Var(ir.INDEX, size)
    counter, square = ir.Var(ir.INDEX, index), ir.Var(dtype, local)
    load = ir.Load(dtype, source, counter)
    body = (ir.Declare(square, load * load), ir.Store(target, counter, square + add))
    params = (target, source, extent) if swap else (source, target, extent)
    return ir.Kernel(name, params, (ir.For(counter, extent, body, simd),), comment)


def call(name, *arrays):
    return ir.Call(name, (*(ir.Pointer(a, ir.index(0)) for a in arrays), n))


def shared(*kernels):
    return len(share_kernels(kernels, [])[0])


a, b, c = (ir.Buffer(name, "float64") for name in "abc")


def test_calls_go_to_the_one_that_is_kept():
    first, second = kernel("first"), kernel("second", "u", "v", "m", "k", "s")
    run = [call("first", a, b), ir.Comment("between"), call("second", b, c), ir.Call("sg_gemm_f64", ())]
    kernels, calls = share_kernels([first, second], run)
    assert kernels == [first]
    assert calls == [call("first", a, b), ir.Comment("between"), call("first", b, c), ir.Call("sg_gemm_f64", ())]


def test_nothing_to_share():
    first, second = kernel("first"), kernel("second", add=2.0)
    run = [call("first", a, b), call("second", b, c)]
    assert share_kernels([first, second], run) == ([first, second], run)


@pytest.mark.parametrize("other", [
    kernel("other", "a_name", "another", "m", "k", "z"),
    kernel("other", comment="what it is for"),
    kernel("other", "out", "x"),       # names exchanged, roles kept
    kernel("other", "n", "i", "x", "out", "q"),
])  # fmt: skip
def test_names_and_comments_do_not_count(other):
    assert shared(kernel("first"), other) == 1


@pytest.mark.parametrize("other", [
    kernel("other", add=-1.0),
    kernel("other", dtype="float32"),
    kernel("other", simd=True),
    kernel("other", swap=True),
    kernel("other", "x", "x", "n", "i", "t"),        # in place
])  # fmt: skip
def test_what_differs_is_kept(other):
    assert shared(kernel("first"), other) == 2


def statement_kernel(*body):
    return ir.Kernel("k", (a, ir.Buffer("b", "float64", writable=True), n), body)


ZERO = ir.index(0)
WRITE_B = ir.Store(ir.Buffer("b", "float64", writable=True), ZERO, ir.Literal("float64", 1.0))


@pytest.mark.parametrize(("one", "another"), [
    (ir.Literal("float64", 1.0), ir.Literal("float64", 1)),      # equal for Python, and the same in C
    (ir.Literal("float64", 0.0), ir.Literal("float64", -0.0)),   # equal for Python only
    (ir.Literal("float64", 1.0), ir.Literal("float64", True)),
])  # fmt: skip
def test_constants_that_are_equal_for_python(one, another):
    """1 == 1.0 == True give the same C, but 0.0 and -0.0 are different numbers."""
    kernels = [statement_kernel(ir.Store(ir.Buffer("b", "float64", writable=True), ZERO, v)) for v in (one, another)]
    assert shared(*kernels) == (2 if one.value == 0 else 1)


def test_which_array_is_copied_counts():
    target, source = ir.Buffer("b", "float64", writable=True), a

    def copying(first, second):
        pointers = ir.Pointer(target, ZERO), ir.Pointer(source, ZERO)
        return ir.Kernel("k", (first, second, n), (ir.Copy(*pointers, n),))
    assert shared(copying(a, target), copying(target, a)) == 2


def test_branches_and_sums_count():
    total = ir.Var("float64", "total")
    start = ir.Declare(total, ir.Literal("float64", 0.0), mutable=True)
    more = ir.Assign(total, total + ir.Load("float64", a, i))
    loops = [ir.For(i, n, (more,), True, sums) for sums in ((), (("+", total),), (("*", total),))]
    assert shared(*(statement_kernel(start, loop) for loop in loops)) == 3
    holds = ir.Operation("bool", "lt", (n, ir.index(3)))
    branches = [ir.If(holds, (WRITE_B,)), ir.If(holds, (), (WRITE_B,)), ir.If(holds, (WRITE_B,), (WRITE_B,))]
    assert shared(*(statement_kernel(branch) for branch in branches)) == 3


def test_calls_inside_kernels_count():
    calls = [ir.Call(name, (ir.Pointer(a, offset), n)) for name in ("f", "g") for offset in (ZERO, n)]
    assert shared(*(statement_kernel(c) for c in calls)) == 4


def test_a_name_that_shadows_nothing_is_not_mixed_up():
    """`x` twice for one array, or two arrays once each: the same shape, another meaning."""
    def product(first, second):
        value = ir.Load("float64", first, ZERO) * ir.Load("float64", second, ZERO)
        store = ir.Store(ir.Buffer("out", "float64", writable=True), ZERO, value)
        return ir.Kernel("k", (a, b, ir.Buffer("out", "float64", writable=True)), (store,))
    assert shared(product(a, a), product(a, b), product(b, b), product(b, a)) == 4
    assert shared(product(a, b), product(a, b)) == 1


def test_locals_are_renamed_where_they_are_made_and_where_they_are_used():
    total, other = ir.Var("float64", "total"), ir.Var("float64", "other")
    load = ir.Load("float64", a, i)
    body = (
        ir.Declare(total, ir.Literal("float64", 0.0), mutable=True),
        ir.For(i, n, (ir.Assign(total, total + load),), True, (("+", total),)),
        ir.If(ir.Operation("bool", "lt", (total, total)), (ir.Store(b, ZERO, total),)),
    )
    found = renamed(body, {total: other, i: j})
    expected = (
        ir.Declare(other, ir.Literal("float64", 0.0), mutable=True),
        ir.For(j, n, (ir.Assign(other, other + ir.Load("float64", a, j)),), True, (("+", other),)),
        ir.If(ir.Operation("bool", "lt", (other, other)), (ir.Store(b, ZERO, other),)),
    )
    assert found == expected
    assert renamed(body, {}) == body


# What differs between calls


@pytest.mark.parametrize("offsets, lifted", [
    ([i + 20], 20),
    ([i + 3, i, i + 7], 0),
    ([(n * 2 + i) * 3, (n * 2 + i) * 3 + 1, (n * 2 + i) * 3 + 2], 24),
    ([(i + 5) * n + j, (i + 6) * n + j], 0),
    ([(i + 5) * n + j], 20),
    ([n * n, n * n + 4], 16),
    ([i, n + i], 0),
    ([ir.Operation(ir.INDEX, "floor_divide", (i + 6, ir.index(2))), i * 2], 0),
])  # fmt: skip
def test_offsets_are_lifted_and_mean_the_same(offsets, lifted):
    """The elements that are read, by running through all of them in Python, for n = 4."""
    x, out = ir.Buffer("x", "float64"), ir.Buffer("out", "float64", writable=True)
    store = ir.Store(out, i, sum((ir.Load("float64", x, e) for e in offsets), ir.Literal("float64", 0.0)))
    before = ir.Kernel("f", (x, out, n), (ir.For(i, n, (ir.For(j, n, (store,)),)),))
    after, starts = lift_offsets(before)

    def read(kernel, start):
        loads = list(dict.fromkeys(e.offset for e in expressions(kernel.body) if isinstance(e, ir.Load)))
        return {tuple(start + evaluate(e, dict(i=u, j=v, n=4)) for e in loads) for u in range(4) for v in range(4)}

    start = evaluate(starts["x"], dict(n=4)) if starts else 0
    assert start == lifted and read(after, start) == read(before, 0)
    assert all(min(places) >= 0 for places in read(after, 0))


def test_kernels_for_the_rows_of_an_array_are_equal():
    x, out = ir.Buffer("x", "float64"), ir.Buffer("out", "float64", writable=True)

    def row(k):
        loads = [ir.Load("float64", x, (n * k + i) * 3 + c) for c in range(3)]
        return ir.Kernel("f", (x, out, n), (ir.For(i, n, (ir.Store(out, i, loads[0] + loads[1] * loads[2]),)),))

    (first, start), (second, other) = (lift_offsets(row(k)) for k in (2, 7))
    assert first == second and start != other and "x" in start
    kept, nothing = lift_offsets(row(2), keep=["x"])
    assert kept == row(2) and nothing == {}


def evaluate(e, sizes):
    """An index expression, in numbers."""
    match e:
        case ir.Literal(_, value):
            return int(value)
        case ir.Var(_, name):
            return sizes[name]
        case ir.Operation(_, name, args):
            a, b = (evaluate(x, sizes) for x in args)
            return {"add": a + b, "mul": a * b, "floor_divide": a // (b or 1)}[name]
    raise TypeError(e)


def test_numbers_that_offsets_are_multiplied_by_meet():
    """Or a row would not be seen to be so many elements from the one before."""
    i, n = ir.Var(ir.INDEX, "i"), ir.Var(ir.INDEX, "n")
    assert folded(i * 3 * 4 + (ZERO + 2) * 5) == i * 12 + 10
    taken = taken_apart(i * 3 * 4 + (n + 1) * 2, {n})
    assert (taken.start, taken.constant, taken.moving) == (n * 2, 2, i * 12)
