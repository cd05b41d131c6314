"""The whole program of a function: its calling convention, what it delivers, the order of checks, its text."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from codegen import ir
from codegen.c_printer import print_program
from codegen.visit import statements

ROOT = Path(__file__).parents[2]
x, y = T.dmatrices("x", "y")
v = T.dvector("v")
n = T.lscalar("n")
X, V = np.arange(6.0).reshape(2, 3), np.arange(3.0)


def test_arrays_come_by_role_and_in_order(lowered):
    s, u = sg.shared(np.ones(3), "s"), sg.shared(1.0, "u")
    constant = T.constant(np.arange(3.0))
    result = lowered([x, v], [x + s, v * u], [(s, s + constant)])
    roles = [(field.role, field.buffer.name) for field in result.program.arrays]
    assert [role for role, _ in roles] == ["input"] * 2 + ["shared"] * 2 + ["constant"] + ["output"] * 2
    assert [name for _, name in roles[:4]] == ["x", "v", "s", "u"]
    assert result.inputs == (x, v) and [c.data.tolist() for c in result.constants] == [[0, 1, 2]]
    assert len(result.program.given) == 4
    assert result.size_count == len(result.program.given) + len(result.program.derived)


def test_the_head_says_how_to_call(lowered):
    made = lowered([x, y], [T.dot(T.exp(x), y)])
    text = " ".join(made.program.comment.split())
    arrays = ", ".join(field.buffer.name for field in made.program.arrays)
    given = ", ".join(size.name for size in made.program.given)
    assert f"arrays: {{{arrays}}}, contiguous" in text
    assert f"sizes: {made.size_count} numbers; the caller sets the first {len(made.program.given)}, {given};" in text
    assert f"workspace: sizes[{made.workspace_position}] bytes, aligned to 64" in text


def test_inputs_and_constants_are_never_written(lowered):
    s = sg.shared(np.ones(3), "s")
    result = lowered([x, v], [T.set_subtensor(x[0], v), v[::-1] + T.constant(np.arange(3.0))], [(s, v + s)])
    for field in result.program.arrays:
        assert field.buffer.writable == (field.role == "output" or field.buffer.name == "s")


DELIVERED = {
    "nothing": [],
    "an input": [x],
    "an input twice, and computed with": [x, x, x + 1],
    "the same result three times": [r := T.exp(x), r, r],
    "views of an input": [x.T, x.reshape((3, 2)), x[1], x[:, ::-1], x.flatten()],
    "views of a result": [r.T, r, r.reshape((3, 2)), r.flatten(), r[0]],
    "a view of a view": [r.flatten().reshape((3, 2)).T],
    "constants": [T.constant(2.5), T.constant([1, 2, 3]), T.constant(np.ones((2, 2), "float32")), T.constant(True)],
    "sizes": [x.shape[0], x.shape[0] * 2 + x.shape[1], x.size],
    "what needs no input": [T.arange(4), T.eye(2), T.zeros((2, 0))],
    "an output of no elements": [x[:0], x[2:], x[:, 3:]],
    "scalars": [x.sum(), x[0, 0], x[1, 2] * 2],
    "stretched": [T.zeros_like(x) + v, x * 0 + 1, x[:1] * T.ones((4, 1))],
    "reduced and kept": [x.sum(axis=0, keepdims=True), x.sum(axis=(0, 1), keepdims=True)],
    "integers and bools": [x > 2, (x > 2).sum(axis=0), x.astype("int8"), T.argmax(x, axis=0)],
    "a copy of what is indexed": [x[T.constant([1, 0, 1])], x[T.constant([1, 0]), T.constant([2, 0])]],
}  # fmt: skip


@pytest.mark.parametrize("case", DELIVERED)
def test_what_is_delivered(case):
    outputs = DELIVERED[case]
    f = sg.function([x, v], outputs, on_unused_input="ignore")
    reference = sg.function([x, v], outputs, on_unused_input="ignore", mode="numpy")
    kept = X.copy(), V.copy()
    results = f(X, V)
    for got, expected in zip(results, reference(X, V), strict=True):
        assert type(got) is np.ndarray and got.dtype == expected.dtype and got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-14)
    for number, got in enumerate(results):                # each an array of its own, free to be changed
        assert got.flags.writeable and not np.shares_memory(got, X) and not np.shares_memory(got, V)
        assert not any(np.shares_memory(got, other) for other in results[:number])
        got[...] = 7 if got.dtype != bool else True
    np.testing.assert_array_equal(X, kept[0])
    for got, expected in zip(f(X, V), reference(X, V), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-14)


def test_plan_checks_have_numbers_of_their_own(lowered):
    """Each check of the plan, then each of the run, returns a number that no other does."""
    i = T.lvector("i")
    program = lowered([x, y, i], [T.dot(x, y), x[i], T.exp(x)[i + 1]]).program
    plan = [s.code for s in statements(program.plan) if isinstance(s, ir.Fail)]
    run = [s.code for s in statements(program.run) if isinstance(s, ir.Fail)]
    assert plan and run and sorted(plan + run) == list(range(1, len(plan) + len(run) + 1))
    assert max(plan) < min(run)


def test_shared_variables_are_written_after_the_last_check(lowered):
    i, s = T.lvector("i"), sg.shared(np.ones((2, 3)), "s")
    program = lowered([x, i], [T.exp(x)[i]], [(s, s * 2 + 1)]).program
    stops = [k for k, statement in enumerate(program.run) if isinstance(statement, ir.If)]
    kernels = {kernel.name: kernel for kernel in program.kernels}

    def writes_s(statement):
        if not isinstance(statement, ir.Call):
            return isinstance(statement, (ir.Copy, ir.Store)) and "s" in repr(statement)
        params = kernels[statement.name].params
        return any(isinstance(a, ir.Pointer) and a.buffer.name == "s" and p.writable
                   for a, p in zip(statement.args, params, strict=True))  # fmt: skip
    writes = [k for k, statement in enumerate(program.run) if writes_s(statement)]
    assert stops and writes and max(stops) < min(writes)


def test_equal_nests_are_one_kernel(lowered):
    a, b, c = T.dvectors("a", "b", "c")
    program = lowered([a, b, c], [T.tanh(a) * 2, T.tanh(b) * 2, T.tanh(c) * 3]).program
    assert len([kernel for kernel in program.kernels if not isinstance(kernel.body[0], ir.InBlocks)]) == 2
    assert len(program.kernels) == 4
    assert sum(isinstance(s, ir.Call) for s in program.run) == 3
    A, B, C = np.arange(3.0), np.arange(4.0), np.arange(5.0)
    values = sg.function([a, b, c], [T.tanh(a) * 2, T.tanh(b) * 2, T.tanh(c) * 3])(A, B, C)
    for got, expected in zip(values, [np.tanh(A) * 2, np.tanh(B) * 2, np.tanh(C) * 3], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-14)


def test_a_repeated_layer_is_one_kernel():
    """Twenty layers alike: the C grows by calls, not by kernels."""
    weights = [sg.shared(np.eye(4) * 0.9, f"W{k}") for k in range(20)]

    def c_of(layers):
        value = x
        for W in weights[:layers]:
            value = T.tanh(T.dot(value, W))
        return sg.function([x], value, name="deep").c_source
    few, many = c_of(5), c_of(20)
    assert many.count("SG_KERNEL void") == few.count("SG_KERNEL void")


def test_empty_inputs_compute():
    f = sg.function([x, v], [x * v, T.dot(x, v), x.sum(axis=1)])
    for shape in [(0, 3), (2, 0), (0, 0)]:
        product, dot, total = f(np.empty(shape), np.empty(shape[1]))
        assert product.shape == shape and dot.tolist() == total.tolist() == [0] * shape[0]
    assert sg.function([x], T.nnet.softmax(x))(np.empty((0, 3))).shape == (0, 3)


def test_what_is_wrong_with_an_empty_input_is_said():
    with pytest.raises((ValueError, IndexError)):
        sg.function([x], x.max(axis=1))(np.empty((2, 0)))
    with pytest.raises(IndexError):
        sg.function([x], x[0])(np.empty((0, 2)))


PROGRAM = """
import numpy as np
import symgraph as sg
import symgraph.tensor as T
x, y = T.dmatrix("x"), T.lvector("y")
W, b = sg.shared(np.zeros((4, 3)), "W"), sg.shared(np.zeros(3), "b")
p = T.nnet.softmax(T.dot(x, W) + b)
loss = -T.mean(T.log(p)[T.arange(y.shape[0]), y])
gW, gb = sg.grad(loss, [W, b])
f = sg.function([x, y], [loss, T.argmax(p, axis=1)], updates=[(W, W - 0.1 * gW), (b, b - 0.1 * gb)], name="train")
print(f.c_source)
"""


def test_the_text_is_the_same_in_every_process(tmp_path):
    """No ids, no addresses, no order of a set, no paths of this machine."""
    script = tmp_path / "train.py"
    script.write_text(PROGRAM)
    texts = set()
    for seed in ("0", "1", "12345"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True,
                              env={**os.environ, **environment})  # fmt: skip
        texts.add(done.stdout)
    assert len(texts) == 1
    assert str(tmp_path) not in texts.pop()


def test_the_program_is_printed_as_it_was_lowered(lowered):
    text = print_program(lowered([x], [T.tanh(x)]).program)
    for head in ("int f_plan(void *const *arrays, int64_t *sizes)",
                 "int f(void *const *arrays, const int64_t *sizes, void *workspace)"):
        assert text.count(head) == 1
    assert "f_blas" not in text
    assert "void f_blas(void *const *functions)" in print_program(lowered([x, y], [T.dot(x, y)]).program)
