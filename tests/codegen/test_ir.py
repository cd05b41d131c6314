"""The loop program is plain data that Python's operators build."""

from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest

from codegen import ir

x, y = ir.Var("float32", "x"), ir.Var("float32", "y")


def operation(name, *args):
    return ir.Operation("float32", name, args)


@pytest.mark.parametrize(("built", "name", "args"), [
    (x + y, "add", (x, y)),
    (x + 1, "add", (x, ir.Literal("float32", 1))),
    (1 + x, "add", (ir.Literal("float32", 1), x)),
    (x - 0.5, "sub", (x, ir.Literal("float32", 0.5))),
    (0.5 - x, "sub", (ir.Literal("float32", 0.5), x)),
    (x * y, "mul", (x, y)),
    (2 * x, "mul", (ir.Literal("float32", 2), x)),
    (x / y, "true_divide", (x, y)),
    (1 / x, "true_divide", (ir.Literal("float32", 1), x)),
    (-x, "neg", (x,)),
])  # fmt: skip
def test_python_s_operators_build_operations(built, name, args):
    assert built == operation(name, *args)


def test_a_formula_reads_the_same_on_numbers_and_expressions():
    def formula(t):
        return 1 / (1 + t) - t * 2
    assert formula(3.0) == 1 / 4 - 6
    one, two = ir.Literal("float32", 1), ir.Literal("float32", 2)
    assert formula(x) == operation(
        "sub", operation("true_divide", one, operation("add", one, x)), operation("mul", x, two)
    )


def test_lift_leaves_expressions_and_types_numbers():
    assert ir.lift(x, "int64") is x
    assert ir.lift(2, "uint8") == ir.Literal("uint8", 2)
    assert ir.index(7) == ir.Literal("int64", 7)


def loop(extent):
    i, out = ir.Var(ir.INDEX, "i"), ir.Buffer("out", "float32", writable=True)
    return ir.For(i, ir.index(extent), (ir.Store(out, i, x),))


def test_equal_programs_are_equal_and_hash_alike():
    assert loop(3) == loop(3) and hash(loop(3)) == hash(loop(3))
    assert loop(3) != loop(7)
    assert ir.Buffer("a", "int8") != ir.Buffer("a", "int8", writable=True)
    assert ir.Literal("float32", 1) != ir.Literal("float64", 1)


NODES = [cls for cls in vars(ir).values() if isinstance(cls, type) and is_dataclass(cls)]


@pytest.mark.parametrize("cls", NODES, ids=lambda cls: cls.__name__)
def test_nodes_never_change(cls):
    assert cls.__dataclass_params__.frozen
    node = object.__new__(cls)
    with pytest.raises(FrozenInstanceError):
        setattr(node, fields(cls)[0].name, None)
