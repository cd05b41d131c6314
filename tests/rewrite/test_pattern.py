"""What a pattern matches, and what a rule makes of it."""

import numpy as np
import pytest

from symgraph.graph.node import Apply, as_variable
from symgraph.ops.elementary import add, exp, log, maximum, mul, sigmoid, softplus
from symgraph.rewrite.pattern import Rule, a, b, constant, keeps_type, match, uniform, wildcard

PAIR = (("float32", 2), ("float64", 0), ("float64", 3))


def bindings(pattern, x):
    return list(match(pattern, x))


@pytest.mark.parametrize("dtype, ndim", PAIR)
def test_a_wildcard_matches_any_float_of_any_rank(var, dtype, ndim):
    x = var(dtype, ndim)
    assert bindings(log(a), log(x)) == [{a: x}]
    assert bindings(log(a), exp(x)) == []


def test_a_float_wildcard_leaves_integers_alone(var):
    x, y = var("int64"), var("int64")
    assert bindings(a + b, x + y) == []
    assert bindings(wildcard("n", floats=False) + 1, x + 1)


def test_a_wildcard_that_stands_twice_matches_the_same_value_twice(var):
    x, y = var("float64"), var("float64")
    assert {a: x} in bindings(maximum(a, a), maximum(x, x))
    assert bindings(maximum(a, a), maximum(x, y)) == []


def test_operands_of_commutative_functions_match_in_both_orders(var):
    x, y = var("float64"), var("float64")
    assert bindings(a + log(b), log(x) + y) == [{a: y, b: x}]
    assert bindings(a - log(b), log(x) - y) == []
    assert bindings(a * b, x * y) == [{a: x, b: y}, {a: y, b: x}]


def test_it_backtracks_into_inner_orders(var):
    x, y = var("float64"), var("float64")
    found = bindings((a * b) + log(b), (x * y) + log(x))
    assert found == [{a: y, b: x}]


@pytest.mark.parametrize("ones", [1, 1.0, np.float32(1), np.ones((2, 3)), np.ones((1, 1), "int8"), True])
def test_a_number_matches_a_constant_of_that_value_in_any_dtype_and_shape(var, ones):
    x = var("float64", 2, shape=(2, 3))
    assert len(bindings(a * 1, Apply(mul_op(), (x, as_variable(ones, "float64"))).output)) == 1


@pytest.mark.parametrize("others", [2.0, np.array([1.0, 2.0]), np.zeros(0), np.nan])
def test_a_number_matches_nothing_else(var, others):
    assert bindings(a * 1, var("float64") * as_variable(others, "float64")) == []


def test_the_constant_wildcard_matches_constants_only(var):
    x = var("float64")
    assert bindings(a + constant, x + 3)[0][constant].value == 3
    assert bindings(a + constant, x + x) == []


def test_uniform():
    assert uniform(as_variable([[2, 2], [2, 2]])) == 2
    assert uniform(as_variable([1, 2])) is None
    assert uniform(as_variable(np.zeros(0))) is None
    assert uniform(as_variable(np.zeros(1001))) is None  # too large to be searched
    assert uniform(a) is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_right_side_takes_the_dtype_of_what_was_matched(var, dtype, is_same):
    x = var(dtype, 2)
    rule = Rule(before=log(1 + exp(a)), after=0.5 * softplus(a) * 2, why="test")
    result = rule(log(1 + exp(x)).owner, None)
    assert result.dtype == dtype
    assert is_same(result, 0.5 * softplus(x) * 2)


def test_a_condition_is_asked(var):
    x = var("float64")
    rule = Rule(before=a + b, after=b, why="test", when=lambda bound: bound[b] is x)
    y = var("float64")
    assert rule((y + x).owner, None) is x
    assert rule((y + y).owner, None) is None


def test_a_rule_does_not_fire_where_the_shape_would_be_lost(var):
    x, matrix = var("float64", 1), as_variable(np.zeros((3, 4)))
    rule = Rule(before=a + 0, after=a, why="test")
    assert rule((x + matrix).owner, None) is None
    full = var("float64", 2, shape=(3, 4))
    assert rule((full + matrix).owner, None) is full


def test_keeps_type(var):
    unknown, five, one = var("float64"), var("float64", shape=(5,)), var("float64", shape=(1,))
    assert keeps_type(unknown, five) and keeps_type(five, five)
    assert not keeps_type(five, unknown)
    assert not keeps_type(unknown, one)  # what stretched it to an unknown length would be gone
    assert not keeps_type(unknown, var("float32")) and not keeps_type(unknown, var("float64", 2))


def test_a_rule_names_itself_by_its_identity():
    assert Rule(before=log(sigmoid(a)), after=-softplus(-a), why="test").name == "log(sigmoid(a)) -> -softplus(-a)"
    assert Rule(before=log(a), after=a, why="test", name="own").name == "own"


def mul_op():
    return mul(a, b).owner.op


def test_add_is_looked_up_by_its_scalar_function():
    assert Rule(before=a + b, after=b, why="test").on == (add,)
