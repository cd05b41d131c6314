"""Ends of rows in loops of their own: which may wait for other rows, and that every number stays what it was."""

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from codegen import ir
from codegen.distribute import STRIP, distributed
from codegen.visit import statements

i, j, n, m = (ir.Var(ir.INDEX, name) for name in "ijnm")
X, Y, Z = ir.Buffer("x", "float64"), ir.Buffer("y", "float64", True), ir.Buffer("z", "float64", True)
total, outer, t, u = (ir.Var("float64", name) for name in ("total", "outer", "t", "u"))


def at(buffer, offset):
    return ir.Load("float64", buffer, offset)


def log(e):
    return ir.Operation("float64", "log", (e,))


START = ir.Declare(total, ir.Literal("float64", 0.0), mutable=True)
ALONG = ir.For(j, m, (ir.Assign(total, total + at(X, i * m + j)),), simd=True, sums=(("+", total),))


def waiting(*end, before=(), after=(), extent=n):
    """How many statements of a row are done in the loop of their own."""
    rows = ir.For(i, extent, (*before, START, ALONG, *end, *after))
    whole = (ir.Declare(outer, ir.Literal("float64", 0.0), mutable=True), rows, ir.Store(Z, ir.index(0), outer))
    loops = [s for s in statements(distributed(ir.Kernel("k", (), whole)).body) if isinstance(s, ir.For)]
    ends = [s for s in loops if s.simd and s.index == i]
    return sum(s in end for s in ends[0].body) if ends else 0


def test_what_may_wait():
    assert waiting(ir.Store(Y, i, log(total))) == 1
    assert waiting(ir.Assign(outer, outer + log(total))) == 1
    assert waiting(ir.Declare(t, log(total)), ir.Declare(u, t + t), ir.Store(Y, i, t * u)) == 3
    cheap = ir.Declare(t, total + total)
    assert waiting(cheap, ir.Store(Y, i, log(t))) == 2 and waiting(cheap, ir.Store(Y, i, log(total))) == 2
    assert waiting(ir.Store(Y, i, log(total)), ir.Assign(outer, outer + total)) == 1  # what is cheap need not


def test_what_gains_nothing():
    assert waiting(ir.Store(Y, i, total + total)) == 0
    assert waiting(ir.Store(Y, i, log(total)), extent=ir.index(STRIP - 1)) == 0
    assert waiting(ir.SourceLine("a.py", 1), ir.Store(Y, i, log(total))) == 0  # debuggers go line by line
    assert distributed(kernel := ir.Kernel("k", (), (ir.For(i, n, (ir.Store(Y, i, log(at(X, i))),)),))) == kernel


def test_what_must_not_wait():
    scaled = ir.For(j, m, (ir.Store(Y, i * m + j, at(X, i * m + j) * t),), simd=True)
    assert waiting(ir.Declare(t, log(total)), scaled) == 0  # a loop of the same row needs it
    assert waiting(ir.Store(Y, ir.index(0), log(total))) == 0  # the last row's stays
    assert waiting(ir.Store(Y, i, at(Y, i) + log(total))) == 0  # what is there may be another row's
    assert waiting(ir.Store(Y, i, log(total)), before=[ir.Declare(t, at(Y, i + 1)), ir.Store(Z, i, t)]) == 0
    assert waiting(ir.Declare(t, log(at(Y, i))), ir.Store(Z, i, t), after=[ir.Store(Y, i + 1, total)]) == 0
    assert waiting(ir.Assign(outer, outer * log(total))) == 0  # no sum
    assert waiting(ir.Assign(outer, outer + log(total)), after=[ir.Store(Y, i, outer)]) == 0  # a sum so far
    assert waiting(ir.Declare(t, log(total)), ir.Store(Y, i, t), after=[ir.Assign(total, total + total)]) == 0
    assert waiting(ir.Store(Y, i, log(outer)), before=[ir.Assign(outer, outer + at(X, i))]) == 0  # of the rows so far
    assert waiting(ir.Store(Y, i, log(u)), before=[ir.Declare(u, at(X, i))]) == 1  # of its own


@pytest.mark.parametrize("rows", [0, 1, 15, STRIP - 1, STRIP, STRIP + 1, 3 * STRIP + 17])
def test_every_row_once(rows, run):
    """Sums, a value from memory, one that is made on the way, and the row's number, from a first row on."""
    first, last = (ir.Var(ir.INDEX, name) for name in ("from", "to"))
    body = (
        ir.Declare(outer, ir.Literal("float64", 0.0), mutable=True),
        ir.For(i, last, (
            ir.Declare(u, at(X, i)), START, ALONG, ir.Assign(total, total * u), ir.Declare(t, log(total)),
            ir.Assign(outer, outer + t), ir.Store(Y, i, t + u + ir.Cast("float64", i)),
        ), start=first),
        ir.Store(Z, ir.index(0), outer),
    )  # fmt: skip
    kernel = distributed(ir.Kernel("k", (X, Y, Z, first, last, m), body))
    assert sum(isinstance(s, ir.LocalArray) for s in kernel.body) == 1  # for the total; x is read again
    args = (ir.Pointer(b, ir.index(0)) for b in (X, Y, Z))
    fields = tuple(ir.ArrayField(b, role) for b, role in ((X, "input"), (Y, "output"), (Z, "output")))
    call = ir.Call("k", (*args, ir.index(2), n, m))
    program = ir.Program("ends", fields, (n, m), (), (), (call,), (kernel,))
    x = np.random.default_rng(0).uniform(1, 2, (rows + 2, 3))
    y, z = np.zeros(rows + 3), np.zeros(1)
    assert run(program, [x, y, z], (rows + 2, 3)) == 0
    of_row = np.log(x.sum(axis=1) * x.ravel()[: rows + 2])
    expected = of_row + x.ravel()[: rows + 2] + np.arange(rows + 2)
    np.testing.assert_allclose(y, [0, 0, *expected[2:], 0], rtol=1e-14)
    np.testing.assert_allclose(z, of_row[2:].sum(), rtol=1e-13)


@pytest.mark.parametrize("columns", [1, 10, 33])
@pytest.mark.parametrize("rows", [1, 63, 64, 130])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_whose_rows_end_with_a_logarithm(rows, columns, dtype):
    x, label = T.matrix("x", dtype), T.lvector("label")
    p = T.nnet.softmax(x)
    of_row = T.log(T.exp(x).sum(axis=1))
    cost = -T.mean(T.log(p)[T.arange(label.shape[0]), label])
    f = sg.function([x, label], [of_row, cost, sg.grad(cost, x)])
    assert "strip_end" in f.c_source
    rng = np.random.default_rng(0)
    X, wanted = rng.normal(size=(rows, columns)).astype(dtype), rng.integers(0, columns, rows)
    e = np.exp(X.astype("float64"))
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    got = f(X, wanted)
    np.testing.assert_allclose(got[0], np.log(e.sum(axis=1)), rtol=tolerance, atol=tolerance)
    P = e / e.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(got[1], -np.log(P[np.arange(rows), wanted]).mean(), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(got[2], (P - np.eye(columns)[wanted]) / rows, rtol=tolerance, atol=tolerance)
