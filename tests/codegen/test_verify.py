"""Each way in which a loop program can be wrong is refused, with function, statement and who should have known."""

from dataclasses import replace

import pytest

from codegen import ir
from codegen.verify import VerifyError, verify

i, j, n, m = (ir.Var(ir.INDEX, name) for name in "ijnm")
total, value = ir.Var("float64", "total"), ir.Var("float64", "value")
x, out = ir.Buffer("x", "float64"), ir.Buffer("out", "float64", writable=True)
BYTES = ir.Buffer("b", "int8")
ONE, ZERO = ir.Literal("float64", 1.0), ir.index(0)
START = ir.Declare(total, ir.Literal("float64", 0.0), mutable=True)
ADD = ir.Assign(total, total + ir.Load("float64", x, i))
LOOP = ir.For(i, n, (ADD,), simd=True, sums=(("+", total),))
STORE = ir.Store(out, ZERO, total)


def program(*body, run=None, plan=None, params=(x, out, n), arrays=(x, out), name="f", kernel="kernel", **other):
    """A program that calls one kernel with this body."""
    arguments = [ir.Pointer(p, ZERO) if isinstance(p, ir.Buffer) else n for p in params]
    return ir.Program(
        name, tuple(ir.ArrayField(b, "input") for b in arrays), (n,), (m,),
        (ir.Declare(m, n + 1),) if plan is None else plan,
        (ir.Call(kernel, tuple(arguments)),) if run is None else run,
        (ir.Kernel(kernel, params, body),), **other,
    )  # fmt: skip


SOUND = program(START, LOOP, STORE)


def test_a_sound_program():
    assert verify(SOUND) is None


def past(*body):
    """A loop that writes to an array past the caches."""
    return ir.Runs(ir.For(i, n, body, simd=True), 9, streamed=ir.Streamed(out, n))


def place(buffer, base="workspace", offset=ZERO):
    return ir.Place(buffer, base, offset)


t, u = ir.Buffer("t", "float64", writable=True), ir.Buffer("u", "float64", writable=True)
CALL = SOUND.run[0]


def gemv(a, v, y, ta=ZERO):
    pointers = [ir.Pointer(b, ZERO) for b in (a, v, y)]
    return ir.Call("sg_gemv_f64", (ta, n, n, ONE, *pointers[:2], ONE, pointers[2]))


@pytest.mark.parametrize("run", [
    (place(t), place(u, offset=ir.index(64)), ir.Call("kernel", (ir.Pointer(t, n), ir.Pointer(u, m), n)), CALL),
    (place(t), ir.Copy(ir.Pointer(t, ZERO), ir.Pointer(x, ZERO), n), place(u, "t", n), CALL),
    (place(ir.Buffer("part", "float64"), "x", n), ir.Comment("x"), CALL),
    (place(t), place(u, offset=m), gemv(t, x, u), CALL),
    (ir.If(ir.Operation("bool", "lt", (n, m)), (ir.Fail(3),), (ir.Store(out, ZERO, ONE),)), CALL),
])  # fmt: skip
def test_sound_entry_points(run):
    verify(replace(SOUND, run=run))


@pytest.mark.parametrize("body", [
    (ir.For(i, n, ()), ir.For(i, n, ())),                                       # one index after the other
    (ir.Declare(value, ir.Cast("float64", n)), ir.For(i, n, (ir.Store(out, i, value),))),
    (ir.If(ir.Literal("bool", True), (ir.Declare(value, ONE),), (ir.Declare(value, ONE),)),),
    (START, ir.For(i, n, (ADD,))),
    (START, ir.For(i, n, (ir.Declare(value, ONE, mutable=True), ir.Assign(value, ONE)), simd=True)),
    (ir.Declare(value, ir.Select("float64", ir.Operation("bool", "isnan", (ONE,)), ONE, ONE)),),
])  # fmt: skip
def test_sound_kernels(body):
    verify(program(*body))


def unsound(problem, function="kernel", statement=None, blame=None, **changes):
    """Arguments of a case: the program, and what its error must say."""
    body = changes.pop("body", (START, LOOP, STORE))
    return program(*body, **changes), problem, function, statement, blame


KERNELS = {
    "a variable from nowhere": unsound(
        "i is not declared as int64", statement="out[…] = …", body=(ir.Store(out, i, ONE),), blame="lower/loops.py"
    ),
    "used before it is declared": unsound("total is not declared", body=(LOOP, START)),
    "used after its scope": unsound(
        "value is not declared", body=(ir.For(i, n, (ir.Declare(value, ONE),)), ir.Store(out, ZERO, value))
    ),
    "an index after its loop": unsound("i is not declared", body=(ir.For(i, n, ()), ir.Store(out, i, ONE))),
    "a branch does not declare for the other": unsound(
        "value is not declared",
        body=(ir.If(ir.Literal("bool", True), (ir.Declare(value, ONE),), (ir.Store(out, ZERO, value),)),),
    ),
    "used in its own first value": unsound("value is not declared", body=(ir.Declare(value, value + 1),)),
    "declared twice": unsound("total is declared twice", body=(START, START), blame="lower/names.py"),
    "a loop index that hides another": unsound("i is declared twice", body=(ir.For(i, n, (ir.For(i, n, ()),)),)),
    "a local that hides a parameter": unsound("n is declared twice", body=(ir.Declare(n, ZERO),)),
    "a local that hides an array": unsound("x is declared twice", body=(
        ir.Declare(ir.Var("bool", "x"), ir.Literal("bool", True)),)),
    "no identifier": unsound("'a b' is no identifier", body=(ir.Declare(ir.Var("float64", "a b"), ONE),)),
    "an identifier with a newline": unsound("is no identifier", body=(ir.Declare(ir.Var("float64", "a\n"), ONE),)),
    "a variable called like a function that is used": unsound(
        "hides the function sqrt", blame="lower/names.py",
        body=(ir.Declare(ir.Var("float64", "sqrt"), ir.Operation("float64", "sqrt", (ONE,))),),
    ),
    "another dtype than declared": unsound("i is not declared as float64", body=(
        ir.For(i, n, (ir.Store(out, i, ir.Var("float64", "i")),)),)),
    "an array from nowhere": unsound("t is not declared as an array", body=(ir.Store(t, ZERO, ONE),)),
    "an array of another dtype": unsound(
        "x is not declared as an array of float32", body=(ir.Declare(value, ir.Cast("float64", ir.Load(
            "float32", ir.Buffer("x", "float32"), ZERO))),)),
    "read as another dtype": unsound(
        "x, of float64, is read as int64", body=(ir.For(i, ir.Load("int64", x, ZERO), ()),)),
    "a store to what is only read": unsound(
        "x is written but not writable", statement="x[…] = …", body=(ir.Store(x, ZERO, ONE),), blame="lower/buffers.py"
    ),
    "a store that only claims to be allowed": unsound(
        "x is written but not writable", body=(ir.Store(replace(x, writable=True), ZERO, ONE),)),
    "a store of another dtype": unsound("out takes float64, but is given int64", body=(ir.Store(out, ZERO, n),)),
    "an array past the caches that is written twice": unsound(
        "out is not written once and never read", body=(past(ir.Store(out, i, ONE), ir.Store(out, i, ONE)),)),
    "an array past the caches that is read": unsound(
        "out is not written once and never read", body=(past(ir.Store(out, i, ir.Load("float64", out, i))),)),
    "an array past the caches in another order": unsound(
        "out is not written in order", body=(past(ir.Store(out, i + i, ONE)),)),
    "a main function that asks ahead": unsound(
        "only a kernel asks ahead", function="f", run=(ir.Ahead(ir.Pointer(x, ZERO), n, 64), CALL)),
    "memory that is asked for when it is read": unsound(
        "only a kernel asks ahead, and not for what it reads next", body=(ir.Ahead(ir.Pointer(x, ZERO), n, 0),)),
    "as much memory as a float says": unsound(
        "a count takes int64, but is given float64", body=(ir.Ahead(ir.Pointer(x, ZERO), ONE, 64),)),
    "a run outside of runs": unsound("run is not declared", body=(ir.Store(out, ir.RUN, ONE),)),
    "an offset that is no integer": unsound(
        "an offset takes int64, but is given float64", body=(ir.Store(out, ONE, ONE),)),
    "an offset of a load": unsound("at int32", body=(
        ir.Store(out, ZERO, ir.Load("float64", x, ir.Literal("int32", 0))),)),
    "an extent that is no int64": unsound(
        "an extent takes int64, but is given int32", statement="the loop over i",
        body=(ir.For(i, ir.Literal("int32", 3), ()),)),
    "a loop index that is no int64": unsound("the index i is int32", body=(ir.For(ir.Var("int32", "i"), n, ()),)),
    "a condition that is no bool": unsound("a condition takes bool", body=(ir.If(n, ()),)),
    "an assignment to a constant": unsound(
        "value is assigned but not mutable", body=(ir.Declare(value, ONE), ir.Assign(value, ONE))),
    "an assignment to a parameter": unsound("n is assigned but not mutable", body=(ir.Assign(n, ZERO),)),
    "an assignment of another dtype": unsound("total takes float64", body=(START, ir.Assign(total, n))),
    "lanes that race for a local": unsound(
        "vector lanes assign to total", body=(START, replace(LOOP, sums=())), statement="total = …"),
    "lanes that loop": unsound("more than plain statements", body=(ir.For(i, n, (ir.For(j, n, ()),), simd=True),)),
    "a sum that is no local": unsound("value is not declared", body=(replace(LOOP, sums=(("+", value),)),)),
    "an operation that is none": unsound("no operation exq", body=(
        ir.Store(out, ZERO, ir.Operation("float64", "exq", (ONE,))),)),
    "an operation without meaning": unsound(
        "operation exp has no meaning for int64", body=(ir.Store(out, ir.Operation("int64", "exp", (n,)), ONE),),
        blame="an op's element or loops"),
    "operands of two dtypes": unsound("add of float64, int64", body=(ir.Store(out, ZERO, ONE + n),)),
    "too many operands": unsound("add of 3 operands", body=(
        ir.Store(out, ZERO, ir.Operation("float64", "add", (ONE, ONE, ONE))),)),
    "a sign with two operands": unsound("neg of 2 operands", body=(
        ir.Store(out, ZERO, ir.Operation("float64", "neg", (ONE, ONE))),)),
    "a comparison that is no bool": unsound("lt of float64 is not float64", body=(
        ir.Store(out, ZERO, ir.Operation("float64", "lt", (ONE, ONE))),)),
    "a sum of another dtype": unsound("add of float64 is not float32", body=(
        ir.Declare(ir.Var("float32", "value"), ir.Operation("float32", "add", (ONE, ONE))),)),
    "a dtype there is not": unsound("no dtype float16", body=(
        ir.Declare(ir.Var("float16", "value"), ir.Cast("float16", ONE)),)),
    "a cast from a dtype there is not": unsound("no dtype complex64", body=(
        ir.Store(out, ZERO, ir.Cast("float64", ir.Literal("complex64", 1))),)),
    "a constant out of range": unsound("256 is no uint8", body=(
        ir.Store(out, ZERO, ir.Cast("float64", ir.Literal("uint8", 256))),)),
    "a constant that is no number": unsound("'1' is no float64", body=(
        ir.Store(out, ZERO, ir.Literal("float64", "1")),)),
    "a choice by a number": unsound("by int64", body=(ir.Store(out, ZERO, ir.Select("float64", n, ONE, ONE)),)),
    "a choice between dtypes": unsound("chooses float64 or int64", body=(
        ir.Store(out, ZERO, ir.Select("float64", ir.Literal("bool", True), ONE, n)),)),
    "an element": unsound("Element is left", blame="lower/loops.py", body=(
        ir.Store(out, ZERO, ONE + ir.Element("float64", "x", (ZERO,))),)),
    "a reduction": unsound("Reduce is left", body=(ir.Store(out, ZERO, ir.Reduce("float64", "add", ONE, (i,), (n,))),)),
    "a kernel that fails": unsound("a kernel cannot fail", body=(ir.Fail(1),)),
    "a kernel that lays out memory": unsound("a kernel places an array", body=(place(t),)),
    "a statement there is not": unsound("no such statement", body=(ir.Stmt(),)),
    "a call inside of something unknown": unsound("there is no sg_gemx", body=(ir.Call("sg_gemx", ()),)),
}  # fmt: skip

ENTRY = {
    "too few arguments": unsound("kernel takes 3 arguments, not 1", "f", "the call of kernel", "lower/program.py", run=(
        ir.Call("kernel", (n,)),)),
    "a number for an array": unsound("kernel takes an array as out", "f", run=(
        ir.Call("kernel", (ir.Pointer(x, ZERO), n, n)),)),
    "an array for a number": unsound("kernel takes no array of float64 as n", "f", run=(
        ir.Call("kernel", (ir.Pointer(x, ZERO), ir.Pointer(out, ZERO), ir.Pointer(x, ZERO))),)),
    "a number of another dtype": unsound("n takes int64, but is given float64", "f", run=(
        ir.Call("kernel", (ir.Pointer(x, ZERO), ir.Pointer(out, ZERO), ONE)),)),
    "an array of another dtype for the kernel": unsound("takes no array of int8", "f", arrays=(x, out, BYTES), run=(
        ir.Call("kernel", (ir.Pointer(BYTES, ZERO), ir.Pointer(out, ZERO), n)),)),
    "an input to write to": unsound("x is written but not writable", "f", run=(
        ir.Call("kernel", (ir.Pointer(out, ZERO), ir.Pointer(x, ZERO), n)),)),
    "one array read and written": unsound("under a second name", "f", blame="lower/buffers.py", run=(
        ir.Call("kernel", (ir.Pointer(out, ZERO), ir.Pointer(out, ZERO), n)),)),
    "two arrays in one slot": unsound("under a second name", "f", run=(
        place(t, offset=m), place(u, offset=m), ir.Call("kernel", (ir.Pointer(t, ZERO), ir.Pointer(u, ZERO), n)))),
    "an array and a part of it": unsound("under a second name", "f", run=(
        place(t, "out", n), ir.Call("kernel", (ir.Pointer(t, ZERO), ir.Pointer(out, ZERO), n)))),
    "a product in place": unsound("sg_gemv_f64 gets the memory", "f", run=(CALL, gemv(x, out, out))),
    "a product of what is no integer": unsound("ta takes int64", "f", run=(CALL, gemv(x, x, out, ta=ONE))),
    "a copy onto itself": unsound("are the same memory", "f", "the copy to out", run=(
        CALL, ir.Copy(ir.Pointer(out, ZERO), ir.Pointer(out, n), n))),
    "a copy of another dtype": unsound("copies int8 to float64", "f", arrays=(x, out, BYTES), run=(
        CALL, ir.Copy(ir.Pointer(out, ZERO), ir.Pointer(BYTES, ZERO), n))),
    "a copy to an input": unsound("x is written but not writable", "f", run=(
        CALL, ir.Copy(ir.Pointer(x, ZERO), ir.Pointer(out, ZERO), n))),
    "a place in nothing": unsound("nowhere is not declared", "f", "the place of t", run=(CALL, place(t, "nowhere"))),
    "an input made writable": unsound("t is writable, but not x", "f", run=(CALL, place(t, "x"))),
    "a name placed twice": unsound("t is declared twice", "f", run=(CALL, place(t), place(t, offset=m))),
    "a check without a number": unsound("0 is no number of a check", "f", run=(CALL, ir.Fail(0))),
    "a kernel that nobody calls": unsound("nothing calls kernel", "f", "", "codegen/transform.py", run=()),
    "a size that is not computed": unsound("the size m is not computed", "f_plan", plan=()),
    "a size computed in a branch": unsound("the size m is not computed", "f_plan", plan=(
        ir.If(ir.Literal("bool", True), (ir.Declare(m, n),)),)),
    "a size declared again in the run": unsound("m is declared twice", "f", run=(CALL, ir.Declare(m, n))),
    "arrays of one name": unsound("x is declared twice", "f_plan", arrays=(x, out, x)),
    "a kernel called like the function": unsound("two functions have the same name", "f", kernel="f"),
    "a kernel called like the plan": unsound("two functions have the same name", "f", kernel="f_plan"),
}  # fmt: skip


@pytest.mark.parametrize("case", [*KERNELS, *ENTRY])
def test_what_is_wrong_is_named(case):
    wrong, problem, function, statement, blame = {**KERNELS, **ENTRY}[case]
    with pytest.raises(VerifyError) as caught:
        verify(wrong)
    error = caught.value
    assert problem in error.problem and error.function == function
    assert statement in (None, error.statement) and blame in (None, error.blame)
    assert str(error).startswith(f"{function}, {error.statement}: " if error.statement else f"{function}: ")
    assert str(error).endswith(f"({error.blame} should have prevented this)")


def test_sizes_are_int64():
    with pytest.raises(VerifyError, match="the size n is int32"):
        verify(replace(SOUND, given=(ir.Var("int32", "n"),)))


def test_kernels_of_one_name():
    with pytest.raises(VerifyError, match="two functions have the same name"):
        verify(replace(SOUND, kernels=SOUND.kernels * 2))
