"""Nodes: variables, constants, shared variables, applications and what an op must say."""

import gc
import weakref
from dataclasses import dataclass

import numpy as np
import pytest

import symgraph.tensor as T
from symgraph.errors import DtypeError, ShapeError
from symgraph.graph.node import Apply, Constant, Op, SharedVariable, Variable, as_variable
from symgraph.graph.types import TensorType


def shared(value, name=None, shape=None):
    value = np.asarray(value)
    return SharedVariable(TensorType(str(value.dtype), shape or (None,) * value.ndim), value.copy(), name)


def test_an_expression_knows_its_maker():
    x, y = T.dvector("x"), T.dvector("y")
    z = x + y
    assert isinstance(z.owner, Apply) and z.owner.inputs == (x, y) and z.owner.output is z
    assert (z.dtype, z.ndim, z.broadcastable, z.name) == ("float64", 1, (False,), None)
    assert x.owner is None


def test_variables_are_equal_only_to_themselves():
    x, again = T.dscalar("x"), T.dscalar("x")
    assert {x: 1, again: 2} == {x: 1, again: 2} and len({x, again, x}) == 2
    assert x == x and x != again and x in [again, x]


def test_a_symbol_has_no_truth_value_and_no_length():
    x = T.dvector("x")
    with pytest.raises(TypeError, match=r"x > 0 is a symbol .*T\.switch"):
        bool(x > 0)
    with pytest.raises(TypeError, match=r"length of x is a symbol: write x\.shape\[0\]"):
        len(x)


def test_unknown_attributes_are_named():
    with pytest.raises(AttributeError, match="'summ'"):
        T.dvector("x").summ
    assert {"sum", "shape", "T", "name"} <= set(dir(T.dvector("x")))


@pytest.mark.parametrize("value", [2, 2.5, True, [1, 2], [[1.0], [2.0]], np.float32(3), np.arange(3, dtype="int8")])
def test_values_become_constants(value):
    constant = as_variable(value)
    assert isinstance(constant, Constant)
    np.testing.assert_array_equal(constant.data, value)
    assert constant.type == TensorType(str(np.asarray(value).dtype), np.shape(value))


def test_a_variable_stays_as_it_is():
    x = T.dscalar("x")
    assert as_variable(x) is x


def test_a_list_of_variables_is_stacked():
    x, y = T.dscalar("x"), T.dscalar("y")
    assert as_variable([x, y, 1.0]).type.shape == (3,)


@pytest.mark.parametrize("value", [None, "x", object(), [None], 1j])
def test_what_is_no_number_cannot_be_a_constant(value):
    with pytest.raises(DtypeError):
        as_variable(value)


def test_a_shared_value_is_copied_unless_borrowed():
    W = shared([1.0, 2.0], "W")
    W.get_value()[0] = 9
    np.testing.assert_array_equal(W.get_value(), [1, 2])
    assert W.get_value(borrow=True) is W.storage
    mine = np.array([3.0, 4.0])
    W.set_value(mine)
    mine[0] = 9
    np.testing.assert_array_equal(W.get_value(), [3, 4])
    W.set_value(mine, borrow=True)
    assert W.get_value(borrow=True) is mine


def test_a_shared_value_may_change_its_lengths_but_not_its_type():
    W = shared(np.zeros((2, 3)), "W")
    W.set_value([[1, 2]])
    assert W.get_value().shape == (1, 2) and W.get_value().dtype == np.float64
    for value, error in [
        ([1.0], ShapeError), (1.0, ShapeError), (np.zeros((1, 1), complex), DtypeError), ("a", DtypeError),
        (None, DtypeError),
        ([[1.0], [1.0, 2.0]], DtypeError), (T.dmatrix("x"), DtypeError),
    ]:
        with pytest.raises(error, match=r"^W "):
            W.set_value(value)
        np.testing.assert_array_equal(W.get_value(), [[1, 2]])


def test_a_fixed_length_stays():
    W = shared(np.zeros(3), "W", shape=(3,))
    with pytest.raises(ShapeError, match=r"W has shape \(3,\), but was given \(2,\)"):
        W.set_value([1.0, 2.0])


def test_a_shared_value_never_is_what_cannot_be_written_to():
    value = np.zeros(3)
    value.flags.writeable = False
    W = shared([1.0], "W")
    W.set_value(value, borrow=True)
    assert W.get_value(borrow=True).flags.writeable
    W.set_value(np.broadcast_to(np.ones(1), 3), borrow=True)
    assert W.get_value(borrow=True).flags.c_contiguous and W.get_value(borrow=True).flags.writeable


def test_shapes_that_cannot_fit_are_an_error_in_the_line_typed():
    x, w = T.matrix("x", dtype="float64", shape=(None, 3)), T.vector("w", dtype="float64", shape=(4,))
    with pytest.raises(ShapeError) as caught:
        x + w
    text = str(caught.value)
    assert text.startswith("cannot add x (?, 3) and w (4,): lengths 3 and 4 do not broadcast on axis -1\n")
    assert "test_node.py:" in text and "x + w" in text
    assert f"x: {x.origin}" in text and f"w: {w.origin}" in text


def test_a_name_cannot_break_an_error_message():
    x = T.vector("{0}\n\x1b[31m", dtype="float64", shape=(3,))
    with pytest.raises(ShapeError) as caught:
        x + T.vector("{1.x}", dtype="float64", shape=(4,))
    assert str(caught.value).startswith(r"cannot add '{0}\n\x1b[31m' (3,) and '{1.x}' (4,): lengths 3 and 4")


def complete(**more):
    """The members of an op that says everything but how it becomes C."""
    return dict(
        infer_type=lambda self, x: x, reference=lambda self, x: x, gradient=lambda self, x, out, g: [g],
        examples=classmethod(lambda cls: ()), **more,
    )


@pytest.mark.parametrize("member", ["infer_type", "reference", "gradient", "examples"])
def test_an_op_that_leaves_something_out_is_refused(member):
    members = complete(alias=True)
    del members[member]
    with pytest.raises(TypeError, match=f"op Half lacks .*'{member}'"):
        type("Half", (Op,), members)


@pytest.mark.parametrize("ways", [{}, {"element": 1, "expand": 1}, {"loops": 1, "alias": True}])
def test_an_op_becomes_c_in_exactly_one_way(ways):
    with pytest.raises(TypeError, match="needs one"):
        type("Torn", (Op,), complete(**ways))


def test_an_op_needs_no_more_than_that():
    @dataclass(frozen=True)
    class TwiceOver(Op):
        axes: tuple[int, ...]
        deep: bool = True
        alias = True

        def infer_type(self, x): return x
        def reference(self, x): return x
        def gradient(self, x, out, g): return [g]
        @classmethod
        def examples(cls): return ()

    x = T.dmatrix("x")
    op = TwiceOver((1,))
    assert op == TwiceOver((1,)) != TwiceOver((0,)) and hash(op) == hash(TwiceOver((1,)))
    assert op.label == "twice_over" and op.parameters == ["axis=1", "deep=True"]
    assert op(x).type == x.type and op(x).owner.inputs == (x,)
    assert str(op(x)) == "twice_over(x, axis=1, deep=True)"
    assert str(TwiceOver((0, 1), False)(x)) == "twice_over(x, deep=False)"


def test_a_long_chain_is_deleted_without_recursion():
    x = y = T.dscalar("x")
    for _ in range(100_000):
        y = y + x
    gone = weakref.ref(y.owner.inputs[0])
    del y
    gc.collect()
    assert gone() is None and isinstance(x, Variable)


@pytest.mark.parametrize("value", [np.zeros(2), np.zeros((0, 3))])
def test_a_shared_array_is_true_for_it_was_given(value):
    assert bool(shared(value)) is True
