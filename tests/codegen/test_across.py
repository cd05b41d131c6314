"""Lanes across rows: the same numbers as along them, for any number of rows; what may not run in lanes is left."""

import numpy as np
import pytest

from codegen import ir
from codegen.across import MUCH, SHORT, across_rows
from codegen.visit import buffers, expressions, statements

i, j, k, n = (ir.Var(ir.INDEX, name) for name in "ijkn")
ROW = 3
ONE_ROW = ir.index(ROW)


class Case:
    """A loop over rows of three elements, in one dtype: of x and y by rows, s and b one row, r one element a row."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.x, self.b = ir.Buffer("x", dtype), ir.Buffer("b", dtype)
        self.y, self.s, self.r = (ir.Buffer(name, dtype, True) for name in "ysr")
        self.label = ir.Buffer("label", "int64")
        self.arrays = (self.x, self.b, self.label, self.y, self.s, self.r)
        self.scratch = ir.Buffer("scratch", dtype, True)
        self.total, self.h = ir.Var(dtype, "total"), ir.Var(dtype, "h")
        self.sum = ir.Var("float64", "sum")
        self.zero = ir.Literal(dtype, 0.0)
        self.at = self.load(self.x, i * ROW + j)

    def load(self, buffer, offset):
        return ir.Load(buffer.dtype, buffer, offset)

    def op(self, name, *args):
        return ir.Operation(self.dtype, name, args)

    def add(self, buffer, offset, term):
        return ir.Store(buffer, offset, self.load(buffer, offset) + term)

    def along(self, *body, sums=(), index=j, extent=ONE_ROW):
        return ir.For(index, extent, body, simd=True, sums=sums)

    def kernel(self, *row, before=(), after=(), extent=n):
        loop = ir.For(i, extent, row)
        body = (*before, loop, *after)
        return ir.Kernel("k", (*buffers(body), n), body)

    # -- rows that can run in lanes

    def softmax(self):
        """The values stay in the result, then in the row itself."""
        exp = self.op("exp", self.at - self.load(self.b, j))
        first = self.along(
            ir.Declare(self.h, exp), ir.Store(self.y, i * ROW + j, self.h),
            ir.Assign(self.total, self.total + self.h), sums=(("+", self.total),),
        )  # fmt: skip
        second = self.along(ir.Store(self.y, i * ROW + j, self.load(self.y, i * ROW + j) / self.total))
        return self.kernel(ir.Declare(self.total, self.zero, mutable=True), first, second)

    def scratch_row(self):
        """A row of the kernel's own between the two loops; column sums; what is written for each row."""
        cell = self.load(self.scratch, j)
        first = self.along(
            ir.Store(self.scratch, j, self.op("tanh", self.at)), ir.Assign(self.total, self.total + cell),
            sums=(("+", self.total),),
        )  # fmt: skip
        second = self.along(self.add(self.s, j, cell * self.total))
        one = ir.Store(self.r, i, self.total * self.total)
        return self.kernel(
            ir.Declare(self.total, self.zero, mutable=True), first, one, second,
            before=(ir.LocalArray(self.scratch, ROW),),
        )  # fmt: skip

    def sums_of_rows(self):
        """One local for all rows, in double precision; a label that picks an element."""
        picked = self.load(self.x, i * ROW + self.load(self.label, i))
        part = ir.Var(self.dtype, "part")
        row = ir.Runs(
            self.along(ir.Assign(part, part + self.at * picked), sums=(("+", part),)), 512,
            (ir.Declare(part, self.zero, mutable=True),),
            (ir.Assign(self.sum, self.sum + (part if self.dtype == "float64" else ir.Cast("float64", part))),),
        )  # fmt: skip
        first = ir.Declare(self.sum, ir.Literal("float64", 1.0), mutable=True)
        last = ir.Cast(self.dtype, self.sum) if self.dtype != "float64" else self.sum
        return self.kernel(row, before=(first,), after=(ir.Store(self.r, ir.index(0), last),))

    def largest(self):
        """A local that a row changes by its own rule; a loop in a loop."""
        best = ir.Var(self.dtype, "best")
        larger = ir.Select(self.dtype, ir.Operation("bool", "lt", (best, self.at)), self.at, best)
        inner = self.along(
            self.add(self.s, j, self.at * self.load(self.b, k)), index=k, extent=ir.index(2)
        )  # fmt: skip
        return self.kernel(
            ir.Declare(best, self.load(self.x, i * ROW), mutable=True),
            ir.For(j, ONE_ROW, (ir.Assign(best, larger),)), ir.Store(self.r, i, best), ir.For(j, ir.index(2), (inner,)),
        )  # fmt: skip


    def sums_within_a_row(self):
        """Of the elements of a row, each times another row, added up in runs: a loop in a loop."""
        part = ir.Var(self.dtype, "part")
        first = ir.Declare(part, self.zero, mutable=True)
        term = self.at * self.load(self.x, i * ROW + k)
        inner = self.along(ir.Assign(part, part + term), sums=(("+", part),), index=k, extent=ir.index(2))
        runs = ir.Runs(inner, 512, (first,), (ir.Store(self.y, i * ROW + j, part),))
        return self.kernel(ir.For(j, ir.index(2), (runs,)))


IN_LANES = ["sums_within_a_row", "softmax", "scratch_row", "sums_of_rows", "largest"]


def results(run, case, kernel, rows):
    rng = np.random.default_rng(rows)
    shapes = {"x": rows * ROW, "b": ROW, "label": rows, "y": rows * ROW, "s": ROW, "r": max(rows, 1)}
    memory = {name: rng.normal(size=size).astype(case.dtype) for name, size in shapes.items()}
    memory["label"] = rng.integers(0, ROW, rows)
    call = ir.Call("k", (*(ir.Pointer(b, ir.index(0)) for b in kernel.params[:-1]), n))
    fields = tuple(ir.ArrayField(b, "output" if b.writable else "input") for b in case.arrays)
    program = ir.Program("across", fields, (n,), (), (), (call,), (kernel,))
    assert run(program, [memory[b.name] for b in case.arrays], (rows,)) == 0
    return memory


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", IN_LANES)
def test_rows_in_lanes_give_the_same(run, name, dtype):
    case = Case(dtype)
    along = getattr(case, name)()
    across = across_rows(along)
    (loop,) = [s for s in statements(across.body) if isinstance(s, ir.For)]
    assert loop.simd and loop.index == i and loop.lanes == (8 if dtype == "float32" else 4)
    assert not any(isinstance(s, ir.LocalArray) for s in across.body)
    for rows in (*range(10), 31, 1000):
        expected, found = results(run, case, along, rows), results(run, case, across, rows)
        for array, value in expected.items():
            tolerance = 32 * np.finfo(dtype).eps
            np.testing.assert_allclose(found[array], value, tolerance, tolerance * max(rows, 1), err_msg=array)


def test_no_row_reads_what_it_has_written_from_memory():
    case = Case("float64")
    for name in IN_LANES:
        across = across_rows(getattr(case, name)())
        (loop,) = [s for s in statements(across.body) if isinstance(s, ir.For)]
        stores = [(s.buffer, s.offset) for s in loop.body if isinstance(s, ir.Store)]
        loads = {(e.buffer, e.offset) for s in loop.body for e in _loads(s)}
        assert len(set(stores)) == len(stores) and loads.isdisjoint(stores)


def _loads(stmt):
    return [e for e in expressions([stmt]) if isinstance(e, ir.Load)]


c = Case("float64")
seen = ir.Var("float64", "seen")
LEFT = {
    "a row reads the one before it": c.kernel(c.along(ir.Store(c.y, i * ROW + j, c.load(c.y, (i + -1) * ROW + j)))),
    "rows overlap": c.kernel(c.along(ir.Store(c.y, i * 2 + j, c.at))),
    "all rows write to one place": c.kernel(c.along(ir.Store(c.s, j, c.at))),
    "a sum is read": c.kernel(c.along(c.add(c.s, j, c.load(c.s, j)))),
    "rows are written where labels say": c.kernel(c.along(c.add(c.y, c.load(c.label, i) * ROW + j, c.at))),
    "rows are read where labels say": c.kernel(
        c.along(ir.Store(c.y, i * ROW + j, c.load(c.x, c.load(c.label, i) * ROW + j)))
    ),
    "the largest of all rows": c.kernel(
        c.along(ir.Store(c.y, i * ROW + j, c.at)), ir.Assign(seen, c.op("maximum", seen, c.load(c.x, i * ROW))),
        before=(ir.Declare(seen, c.zero, mutable=True),),
    ),
    "a sum so far": c.kernel(
        c.along(ir.Store(c.y, i * ROW + j, c.at)), ir.Assign(seen, seen + c.load(c.x, i * ROW)), ir.Store(c.r, i, seen),
        before=(ir.Declare(seen, c.zero, mutable=True),),
    ),
    "what an earlier row left is read": c.kernel(
        c.along(ir.Store(c.y, i * ROW + j, c.load(c.scratch, j))), c.along(ir.Store(c.scratch, j, c.at)),
        before=(ir.LocalArray(c.scratch, ROW),),
    ),
    "rows are long": c.kernel(c.along(ir.Store(c.y, i * ROW + j, c.at), extent=ir.index(SHORT + 1))),
    "rows of rows": c.kernel(ir.For(k, ONE_ROW, (c.along(ir.Store(c.y, (i * ROW + k) * ROW + j, c.at)),))),
    "rows have no elements": c.kernel(c.along(ir.Store(c.y, i * ROW + j, c.at), extent=ir.index(0))),
    "a row is much work": c.kernel(*[c.along(ir.Store(c.y, i * ROW + j, c.at))] * (MUCH // ROW + 1)),
    "blocks, which are few": ir.Kernel("k", (c.x, c.s), (ir.For(ir.BLOCK, ir.BLOCKS, (
        c.along(c.add(c.s, j, c.load(c.x, ir.BLOCK * ROW + j))),)),)),
    "few rows": c.kernel(c.along(ir.Store(c.y, i * ROW + j, c.at)), extent=ir.index(SHORT)),
    "no rows": ir.Kernel("k", (c.x, c.s), (c.along(ir.Store(c.s, j, c.load(c.x, j))),)),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT)
def test_other_loops_are_left(name):
    assert across_rows(LEFT[name]) == LEFT[name]


def test_a_row_of_its_own_that_is_also_used_elsewhere_is_kept():
    case = Case("float64")
    cell = case.load(case.scratch, j)
    rows = case.kernel(
        case.along(ir.Store(case.scratch, j, case.at)), case.along(ir.Store(case.y, i * ROW + j, cell)),
        before=(ir.LocalArray(case.scratch, ROW),), after=(case.along(ir.Store(case.s, j, cell)),),
    )  # fmt: skip
    assert across_rows(rows) == rows


def test_loops_inside_others_are_found():
    case = Case("float64")
    rows = case.kernel(case.along(ir.Store(case.y, (k * n + i) * ROW + j, case.load(case.x, i * ROW + j)))).body
    found = across_rows(ir.Kernel("k", (*case.arrays, n), (ir.For(k, n, rows),)))
    (outer,) = found.body
    assert not outer.simd and [s.simd for s in outer.body] == [True]
