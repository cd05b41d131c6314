"""Operations and bytes of loop programs, against counts by hand."""

import pytest

from codegen import ir
from codegen.cost import Cost, Polynomial, cost, number

K, J = ir.Var("int64", "i"), ir.Var("int64", "j")
N, M = ir.Var("int64", "n"), ir.Var("int64", "m")
A, B, OUT = ir.Buffer("a", "float64"), ir.Buffer("b", "float32"), ir.Buffer("out", "float64", True)


def name(*factors):
    return Polynomial({factors: 1})


def test_polynomials_add_multiply_and_print():
    p = number(3) * name("n") + name("n") * name("m") + number(2)
    assert p({"n": 5, "m": 7}) == 3 * 5 + 5 * 7 + 2
    assert str(p) == "m*n + 3*n + 2"
    assert str(p * p) == "m*m*n*n + 6*m*n*n + 4*m*n + 9*n*n + 12*n + 4"
    assert str(number(0)) == "0" and (p + number(-2)).terms.keys() == {("n",), ("m", "n")}
    with pytest.raises(KeyError):
        p({"n": 1})


def test_a_nest_counts_each_element_of_an_array_once():
    load = ir.Load("float64", A, K * M + J)
    row = ir.Cast("float64", ir.Load("float32", B, J))
    body = (ir.For(K, N, (ir.For(J, M, (ir.Store(OUT, K * M + J, load * load + row),)),)),)
    found = cost(body, {})
    assert found.operations == number(2) * name("m") * name("n")
    assert found.read == number(8) * name("m") * name("n") + number(4) * name("m")
    assert found.written == number(8) * name("m") * name("n")


def test_the_largest_use_of_an_array_is_that_of_most_lengths():
    load = ir.Load("float64", A, K)
    many, few = ir.index(3) * N * M + N, M
    body = [ir.For(K, extent, (ir.Store(OUT, K, load),)) for extent in (many, few)]
    for loops in (body, body[::-1]):
        assert cost(loops, {}).read == number(8) * (number(3) * name("n") * name("m") + name("n"))


def test_a_kernel_costs_what_its_arguments_make_it_and_rows_it_keeps_are_free():
    row = ir.Buffer("row", "float64", True)
    body = (
        ir.LocalArray(row, 4),
        ir.For(K, N, (ir.Store(row, K, ir.Load("float64", A, K)), ir.Store(OUT, K, ir.Load("float64", row, K)))),
    )
    kernel = ir.Kernel("k", (A, OUT, N), body)
    zero = ir.index(0)
    x, y = ir.Buffer("x", "float64"), ir.Buffer("y", "float64", True)
    call = ir.Call("k", (ir.Pointer(x, zero), ir.Pointer(y, zero), M))
    assert cost((call,), {"k": kernel}) == Cost(number(0), number(8) * name("m"), number(8) * name("m"))


def test_matrix_products():
    zero, flag = ir.index(0), ir.Literal("int64", 0)
    one = ir.Literal("float64", 1.0)
    pointers = [ir.Pointer(b, zero) for b in (A, ir.Buffer("b", "float64"), OUT)]
    k = ir.index(10)
    product = ir.Call("sg_gemm_f64", (flag, flag, N, M, k, one, pointers[0], pointers[1], one, pointers[2]))
    found = cost((product,), {})
    assert found.operations == number(20) * name("m") * name("n")
    assert found.read == number(80) * name("n") + number(80) * name("m")
    assert found.written == number(8) * name("m") * name("n")


def test_locals_that_say_where_an_element_is_count_as_what_they_stand_for():
    start, rows = ir.Var("int64", "start"), ir.Var("int64", "rows")
    fewer = ir.Operation("bool", "lt", (M - start, ir.index(8)))
    body = (
        ir.Declare(start, K * 8),
        ir.Declare(rows, ir.Select("int64", fewer, M - start, ir.index(8))),
        ir.For(J, rows, (ir.Store(OUT, J, ir.Load("float64", A, start + J)),)),
    )
    found = cost((ir.For(K, N, body),), {})
    assert found.read == number(64) * name("n")
    assert found.written == number(64)
