"""Several rows at once: which loops, the same sums, every row once."""

import numpy as np
import pytest

from codegen import ir
from codegen.jam import ROWS, jammed

i, j, n, m = (ir.Var(ir.INDEX, name) for name in "ijnm")
A, B, T = ir.Buffer("a", "float64"), ir.Buffer("b", "float64", True), ir.Buffer("t", "float64", True)
x = ir.Load("float64", A, i * m + j)
d = ir.Var("float64", "d")


def add(term, buffer=T, offset=j):
    return ir.Store(buffer, offset, ir.Load("float64", buffer, offset) + term)


def kernel(*row, extent=n, start=0, jammable=False, index=i, width=m):
    inner = ir.For(j, width, row, simd=True)
    body = (ir.For(index, extent, (inner,), start=ir.index(start), jammable=jammable),)
    return ir.Kernel("k", (A, B, T, n, m), body)


def value(e, names, memory):
    match e:
        case ir.Literal(_, v):
            return v
        case ir.Var(_, name):
            return names[name]
        case ir.Load(_, buffer, offset):
            return memory[buffer.name][value(offset, names, memory)]
        case ir.Operation(_, name, (left, right)):
            a, b = value(left, names, memory), value(right, names, memory)
            return {"add": a + b, "sub": a - b, "mul": a * b}[name] if name != "bitwise_and" else a & b
    raise TypeError(e)


def run(body, names, memory):
    for s in body:
        match s:
            case ir.For():
                k = value(s.start, names, memory)
                while k < value(s.extent, names, memory):
                    run(s.body, {**names, s.index.name: k}, memory)
                    k += s.step
            case ir.Declare(var, e):
                names = {**names, var.name: value(e, names, memory)}
            case ir.Store(buffer, offset, e):
                memory[buffer.name][value(offset, names, memory)] = value(e, names, memory)


SUMS = {
    "columns": (add(x),),
    "squares about another row": (ir.Declare(d, x - ir.Load("float64", B, j)), add(d * d)),
    "two sums": (ir.Declare(d, x), add(d), add(d * d, B)),
}


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5, 7, 8, 11])
@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("case", SUMS)
def test_every_row_is_added_once(case, rows, first):
    rows, columns = rows + first, 3
    plain = kernel(*SUMS[case], start=first)
    at_once = jammed(plain)
    assert at_once != plain and at_once.body[0].step == ROWS
    results = []
    for k in plain, at_once:
        memory = {"a": np.arange(50.0) ** 2 % 17, "b": np.arange(3.0), "t": np.ones(3)}
        run(k.body, {"n": rows, "m": columns}, memory)
        results.append(memory)
    for name in "abt":
        np.testing.assert_array_equal(results[0][name], results[1][name])


LEFT = {
    "rows are written": kernel(add(x), ir.Store(B, i * m + j, x)),
    "a sum is read": kernel(add(ir.Load("float64", T, j + 1))),
    "two sums in one array": kernel(add(x), add(x, offset=j + m)),
    "no sum": kernel(ir.Store(B, i * m + j, x)),
    "what is computed is the most of it": kernel(add(ir.Operation("float64", "exp", (x,)))),
    "few rows": kernel(add(x), extent=ir.index(2 * ROWS - 1)),
    "blocks, which are few": kernel(add(x), index=ir.BLOCK),
    "rows of different lengths": kernel(add(x), width=i),
    "a product": kernel(ir.Store(T, j, ir.Load("float64", T, j) * x)),
}


@pytest.mark.parametrize("case", LEFT)
def test_other_loops_are_left(case):
    assert jammed(LEFT[case]) == LEFT[case]


def test_what_the_loop_promises_is_believed():
    row = (add(x), add(x, offset=j + m))
    assert jammed(kernel(*row, jammable=True)) != kernel(*row, jammable=True)


def test_inner_loops_are_found_and_known_lengths_leave_no_rest():
    run_ = ir.Var(ir.INDEX, "run")
    inner = kernel(add(x), extent=ir.index(8)).body
    outer = ir.Kernel("k", (A, T, n, m), (ir.For(run_, n, inner),))
    (loop,) = jammed(outer).body
    assert [s.step for s in loop.body] == [ROWS]


def test_names_of_copies_are_new():
    taken = ir.Var("float64", "d_0")
    found = jammed(ir.Kernel("k", (A, B, T, n, m, taken), kernel(ir.Declare(d, x * taken), add(d)).body))
    names = [s.var.name for s in found.body[0].body[0].body if isinstance(s, ir.Declare)]
    assert len(set(names)) == ROWS and "d_0" not in names
