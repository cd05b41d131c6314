"""The engine: merging, order, names and origins, and that it is linear and ends."""

import numpy as np
import pytest

from symgraph.graph.node import Constant, as_variable
from symgraph.graph.provenance import Origin, attributed_to
from symgraph.graph.traverse import ancestors, toposort
from symgraph.ops.elementary import add, cos, exp, log, mul, neg, sigmoid, sin, softplus, tanh
from symgraph.ops.elementwise import Elementwise
from symgraph.rewrite.engine import Book, RewriteError, Step, apply_book
from symgraph.rewrite.pattern import Rule, a, b, rule


def test_equal_expressions_become_one(var):
    x, y = var("float64"), var("float64")
    left, right, other = apply_book(Book(), [exp(x) * y, exp(x) * y, exp(y) * x])
    assert left is right and left is not other


def test_commutative_operands_are_equal_in_both_orders(var):
    x, y = var("float64"), var("float64")
    merged = apply_book(Book(), [x + y, y + x, x - y, y - x])
    assert merged[0] is merged[1] and merged[2] is not merged[3]


def test_constants_are_merged_by_dtype_shape_and_bytes(var):
    x = var("float64")
    constants = [as_variable(value) for value in (0.0, 0.0, -0.0, [0.0])]
    merged = apply_book(Book(), [x + c for c in constants])
    assert merged[0] is merged[1]
    assert len(set(merged)) == 3


def test_large_constants_are_compared_by_identity(var):
    x, large = var("float64"), as_variable(np.zeros(500))
    same, equal, again = apply_book(Book(), [x + large, x + as_variable(np.zeros(500)), x + large])
    assert same is again and same is not equal


def test_constants_stand_second(var):
    x = var("float64")
    (result,) = apply_book(Book(), [2 * x])
    assert isinstance(result.owner.inputs[1], Constant) and result.owner.inputs[0] is x


SIGMOID = Rule(before=log(sigmoid(a)), after=-softplus(-a), why="test")
SINE = Rule(before=sin(a), after=cos(a), why="test")


def test_rules_apply_to_what_rules_made(var, is_same):
    x = var("float64")
    book = Book(SINE, Rule(before=exp(cos(a)), after=tanh(a), why="test"), Rule(before=tanh(a), after=-a, why="test"))
    (result,) = apply_book(book, [exp(sin(x))])
    assert is_same(result, -x)


def test_the_first_rule_of_the_book_wins(var, is_same):
    x = var("float64")
    (result,) = apply_book(Book(SINE, Rule(before=sin(a), after=a, why="test")), [sin(x)])
    assert is_same(result, cos(x))


def test_the_trace_says_which_rules_fired(var, is_same):
    x, trace = var("float64"), []
    node = log(sigmoid(x))
    apply_book(Book(SIGMOID), [node], trace)
    (step,) = trace
    assert isinstance(step, Step) and step.rule == SIGMOID.name and step.why == "test"
    assert step.before is node and is_same(step.after, -softplus(-x))


def test_nodes_that_do_not_change_stay_the_same_objects(var):
    x = var("float64")
    node = exp(x) * x
    assert apply_book(Book(SIGMOID), [node]) == [node]


def test_what_replaces_a_named_variable_takes_its_name(var):
    x = var("float64")
    loss = log(sigmoid(x))
    loss.name = "loss"
    (result,) = apply_book(Book(SIGMOID), [loss], copy=True)
    assert result.name == "loss" and result.owner.op.function is neg


def test_a_name_does_not_move_to_an_input_or_replace_another(var):
    x = var("float64", name="x")
    y = exp(x)
    y.name = "y"
    z = sin(y)
    z.name = "z"
    drop = Rule(before=sin(a), after=a, why="test")
    (result,) = apply_book(Book(drop), [z], copy=True)
    assert result.name == "y"
    named_input = sin(x)
    named_input.name = "s"
    assert apply_book(Book(drop), [named_input], copy=True)[0].name == "x"


def test_the_callers_variables_keep_their_names(var):
    x = var("float64")
    inner = exp(x)
    outer = sin(inner)
    outer.name = "outer"
    (result,) = apply_book(Book(Rule(before=sin(a), after=a, why="test")), [outer], copy=True)
    assert result.name == "outer" and inner.name is None and result is not inner


def test_new_nodes_belong_to_the_line_of_what_they_replace(var):
    x, line = var("float64"), Origin("model.py", 7)
    with attributed_to(line):
        loss = log(sigmoid(x))
    (result,) = apply_book(Book(SIGMOID), [exp(loss)])
    assert [node.output.origin for node in toposort([result])][:3] == [line] * 3
    assert result.origin != line


def test_used_once_counts_operands_and_outputs(var):
    x = var("float64")
    shared, single = exp(x), tanh(x)
    asked = {}

    @rule(on=Elementwise, why="test")
    def ask(node, graph):
        for y in node.inputs:
            asked[y] = graph.used_once(y)

    apply_book(Book(ask), [sin(shared) + shared, cos(single)])
    assert asked[shared] is False and asked[single] is True
    apply_book(Book(ask), [cos(single), single])
    assert asked[single] is False


def test_equal_values_that_are_used_once_each_count_together(var):
    x, uses = var("float64"), []

    @rule(on=add, why="test")
    def ask(node, graph):
        uses.append(graph.used_once(node.inputs[1]))

    first, second = exp(x), exp(x)
    apply_book(Book(ask), [sin(first), x + second])
    assert uses == [False]


def test_has_finds_values_of_the_graph_whose_inputs_became_these(var):
    x, asked = var("float64"), []

    @rule(on=exp, why="test")
    def ask(node, graph):
        (y,) = node.inputs
        asked.extend([graph.has(Elementwise(tanh), y), graph.has(Elementwise(tanh), x), graph.has(Elementwise(log), y)])

    apply_book(Book(SINE, ask), [tanh(sin(x)), exp(cos(x))])
    assert asked == [True, False, False]


def named(name, before, after):
    return Rule(before=before, after=after, why="test", name=name)


@pytest.mark.parametrize("rules", [
    [named("swap", a + b, b + a + 0), named("drop", a + 0, a)],
    [named("grow", a * b, a * b * 1)],
    [named("there", sin(a), cos(a)), named("back", cos(a), sin(a))],
    [named("nest", sin(a), sin(sin(a)))],
])  # fmt: skip
def test_rules_that_do_not_end_are_reported_by_name(var, rules):
    x, y = var("float64"), var("float64")
    with pytest.raises(RewriteError) as error:
        apply_book(Book(*rules), [sin(x + y) * x])
    assert any(r.name in str(error.value) for r in rules)


def test_a_rule_that_changes_the_type_is_reported_by_name(var):
    x = var("float64")
    for wrong in (lambda node, graph: node.inputs[0].astype("float32"), lambda node, graph: node.inputs[0].sum()):
        broken = rule(on=sin, why="test", name="broken rule")(wrong)
        with pytest.raises(RewriteError, match="broken rule"):
            apply_book(Book(broken), [sin(x)])


def test_a_rule_that_fails_is_reported_by_name(var):
    @rule(on=sin, why="test")
    def careless_rule(node, graph):
        return node.inputs[1]

    with pytest.raises(RewriteError, match="careless rule"):
        apply_book(Book(careless_rule), [sin(var("float64"))])


def attempts(length, var):
    """How often a rule is tried in a graph of `length` layers, in which each value is used twice."""
    count = [0]

    @rule(on=Elementwise, why="test")
    def counted(node, graph):
        count[0] += 1

    x = var("float64")
    y = x
    for _ in range(length):
        y = tanh(log(sigmoid(y)) + y * y)
    apply_book(Book(SIGMOID, counted), [y])
    return count[0]


def test_work_is_linear_in_the_graph(var):
    small, large = attempts(100, var), attempts(200, var)
    assert large == 2 * small


def test_a_chain_of_100_000_nodes(var):
    y = var("float64", 0)
    for k in range(50_000):
        y = log(sigmoid(y)) if k % 2 else tanh(y)
    (result,) = apply_book(Book(SIGMOID), [y], copy=True)
    assert len(ancestors([result])) == 1 + 25_000 + 3 * 25_000


def test_a_replacement_that_runs_down_a_chain_is_no_cycle(var):
    """Each firing makes the node at which the next one fires, as deep as the graph is."""
    y = var("float64", 0)
    for _ in range(5_000):
        y = exp(y)
    push = Rule(before=neg(exp(a)), after=exp(neg(a)), why="test")
    (result,) = apply_book(Book(push), [-y])
    bottom = toposort([result])[0]
    assert bottom.op.function is neg


def test_mul_and_add_are_told_apart(var):
    x, y = var("float64"), var("float64")
    merged = apply_book(Book(), [mul(x, y), add(x, y)])
    assert merged[0] is not merged[1]
