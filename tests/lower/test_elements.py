"""One element of a value as a scalar expression: what is only re-indexed or known is seen through."""

import pytest

import symgraph.tensor as T
from codegen import ir
from codegen.visit import walk
from symgraph.graph.node import as_variable
from symgraph.graph.types import TensorType
from symgraph.lower.elements import LOOP_DEPTH, LOOP_INDICES, Elements, is_loop_index, is_one, loop_index, squeeze
from symgraph.lower.shapes import infer_shapes

x = T.dmatrix("x")
v = T.dvector("v")
n = T.lscalar("n")
row = TensorType("float64", (1, None))("row")
i, j, k = LOOP_INDICES[:3]
ZERO = ir.index(0)


def elements_of(*outputs):
    """The elements of a graph in which each size is written as a variable of its own."""
    shapes = infer_shapes(list(outputs), [x, v, n, row])
    sizes = {shapes.of(x)[0]: "rows", shapes.of(x)[1]: "columns", shapes.of(v)[0]: "length", n: "n"}

    def size(length):
        length = shapes.find(length)
        return ir.index(length.value) if hasattr(length, "value") else ir.Var(ir.INDEX, sizes[length])
    return Elements(shapes, size)


def element(of, *index):
    return ir.Element(of.dtype, of, index)


@pytest.mark.parametrize(("output", "expected"), [
    (x, element(x, i, j)),
    (x.T, element(x, j, i)),
    (x.dimshuffle(1, "x", 0), element(x, j, i)),
    (x.dimshuffle(0, "x", 1), element(x, i, j)),
    (T.eye(3), None),
    (x.T.T, element(x, i, j)),
])  # fmt: skip
def test_reindexing_is_seen_through(output, expected):
    elements = elements_of(output)
    found = elements.at(output, loop_index(elements.shapes.of(output)))
    if expected is None:
        assert not any(isinstance(part, ir.Element) for part in ir_parts(found))
    else:
        assert found == expected


def body_of(elements, output):
    """The element of a computed value at the loop indices."""
    return elements.apply(output.owner, loop_index(elements.domain(output.owner)))


def ir_parts(e):
    return list(walk(e))


def test_stretched_axes_are_read_at_0():
    total = row + x
    elements = elements_of(total)
    assert body_of(elements, total) == element(row, ZERO, j) + element(x, i, j)


def test_computed_operands_stay_elements():
    inner = T.exp(x)
    outer = inner * 2
    elements = elements_of(outer)
    assert body_of(elements, outer) == element(inner, i, j) * 2


def test_constants_and_sizes_are_written_where_they_are_used():
    total = T.arange(5) * 3 + x.shape[1]
    elements = elements_of(total)
    assert body_of(elements, total) == element(total.owner.inputs[0], i) + ir.Var(ir.INDEX, "columns")
    assert body_of(elements, total.owner.inputs[0]) == i * 3


def test_integer_inputs_are_no_loads():
    total = T.arange(5) + n
    elements = elements_of(total)
    assert body_of(elements, total) == i + ir.Var(ir.INDEX, "n")


def test_reductions_are_taken_over_the_operand():
    total = x.sum(axis=1)
    elements = elements_of(total)
    assert elements.domain(total.owner) == elements.shapes.of(x)
    e = body_of(elements, total)
    assert e == ir.Reduce("float64", "add", element(x, i, j), (j,), (ir.Var(ir.INDEX, "columns"),))


def test_indices_of_loops():
    lengths = [as_variable(1), x.shape[0], as_variable(1), as_variable(5)]
    assert [is_one(length) for length in lengths] == [True, False, True, False]
    assert squeeze(lengths) == (lengths[1], lengths[3])
    assert loop_index(lengths) == (ZERO, i, ZERO, j)
    assert loop_index([]) == ()
    assert all(is_loop_index(index) and LOOP_DEPTH[index] == depth for depth, index in enumerate(LOOP_INDICES))
    assert not is_loop_index(ir.Var(ir.INDEX, "n")) and not is_loop_index(ZERO) and not is_loop_index(i + 1)
