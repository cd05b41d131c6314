"""Every op and every scalar function, found by walking: a new one is tested without being listed.

What is run is what `examples()` gives, in variations: other dtypes, no elements, scalars, lengths of 1. A variation
that an op refuses, by an error of its own, is no case for it; as given an example must run.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count, islice

import numpy as np
import pytest

import symgraph.tensor as T
from symgraph import grad
from symgraph.errors import GraphError
from symgraph.function import function
from symgraph.graph.node import Op, Variable, as_variable
from symgraph.graph.traverse import toposort
from symgraph.graph.types import DTYPES, TensorType
from symgraph.interpreter import evaluate
from symgraph.ops.scalar import SCALAR_FUNCTIONS, ScalarFunction
from symgraph.testing import assert_close, check_grad

REFUSALS = (GraphError, IndexError)
OUTPUTS_AT_ONCE = 150  # compiled in one function


def all_ops():
    """Every subclass of Op that is not itself only a base of others."""
    todo = [Op]
    while todo:
        cls = todo.pop()
        todo += cls.__subclasses__()
        if cls is not Op and cls.__module__.startswith("symgraph."):
            yield cls


@dataclass(frozen=True)
class Case:
    """One example, or a variation of one."""

    op: type[Op]
    name: str
    place: int  # among the examples of the op, or of the scalar function
    f: Callable
    arrays: tuple

    def inputs(self, known):
        """Variables for the arrays: lengths known, or only those of 1, without which broadcasting is not expected."""
        shapes = [a.shape if known else tuple(1 if n == 1 else None for n in a.shape) for a in self.arrays]
        return [TensorType(str(a.dtype), s)(f"x{k}") for k, (a, s) in enumerate(zip(self.arrays, shapes))]

    def values(self, inputs):
        return dict(zip(inputs, self.arrays))

    def run(self, known):
        """The output, and its value by the interpreter."""
        inputs = self.inputs(known)
        output = self.f(*inputs)
        return output, evaluate([output], self.values(inputs))[0]

    def with_arrays(self, suffix, change):
        return replace(self, name=f"{self.name}, {suffix}", arrays=tuple(change(a) for a in self.arrays))


def scalar_function(f):
    """The scalar function that an example calls, perhaps with some arguments fixed; None for other ops."""
    f = getattr(f, "func", f)
    return f if isinstance(f, ScalarFunction) else None


def name_of(cls, f):
    function = scalar_function(f)
    return f"{cls.__name__} {function.name}" if function else cls.__name__


OPS = sorted(all_ops(), key=lambda cls: cls.__name__)
NAMED = [(cls, name_of(cls, f), f, tuple(map(np.asarray, arrays))) for cls in OPS for f, arrays in cls.examples()]
PLACES = defaultdict(count)
FUNCTIONS = tuple(SCALAR_FUNCTIONS)  # other tests define more
CASES = [Case(cls, f"{name} {(k := next(PLACES[name]))}", k, f, arrays) for cls, name, f, arrays in NAMED]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def as_dtype(kinds, dtype):
    """Arrays of some kinds as another dtype; whole numbers stand in for floats where it has none."""
    def change(a):
        if a.dtype.kind not in kinds:
            return a
        return (np.abs(a) if dtype.startswith("u") else a).astype(dtype)
    return change


def in_dtypes(case, dtypes=DTYPES):
    """The example with its floats in every dtype, and with its integers in every dtype for integers."""
    for dtype in dtypes:
        yield case.with_arrays(dtype, as_dtype("f", dtype))
    if any(a.dtype.kind == "i" for a in case.arrays):
        for dtype in (dtype for dtype in dtypes if "int" in dtype):
            if dtype.startswith("i") or all((a >= 0).all() for a in case.arrays if a.dtype.kind == "i"):
                yield case.with_arrays(f"{dtype} for integers", as_dtype("i", dtype))


def in_shapes(case):
    """The example without elements, with one, with scalars, and with one operand stretched over the others."""
    yield case.with_arrays("no rows", lambda a: a[:0] if a.ndim else a)
    yield case.with_arrays("no columns", lambda a: a[..., :0] if a.ndim else a)
    yield case.with_arrays("one row", lambda a: a[:1] if a.ndim else a)
    if all(a.size for a in case.arrays):
        yield case.with_arrays("scalars", lambda a: a.reshape(-1)[0])
    if len(case.arrays) > 1:
        for k in range(len(case.arrays)):
            for suffix, part in (("stretched along rows", np.s_[:1]), ("stretched along columns", np.s_[..., :1])):
                arrays = tuple(a[part] if j == k and a.ndim else a for j, a in enumerate(case.arrays))
                yield replace(case, name=f"{case.name}, operand {k} {suffix}", arrays=arrays)


def accepted(variations):
    """Those variations that the op takes, with what they give."""
    for case in variations:
        try:
            yield case, *case.run(known=False)
        except REFUSALS:
            continue


def fits(value, type):
    """Whether a value is what a type says."""
    shapes = zip(value.shape, type.shape)
    return str(value.dtype) == type.dtype and value.ndim == type.ndim and all(m in (None, n) for n, m in shapes)


@dataclass(frozen=True)
class Measured:
    """An operand as `Op.shape` sees it, with its actual lengths."""

    variable: Variable
    value: Variable
    shape: tuple


def measured(x, value):
    scalar = value.ndim == 0 and value.dtype.kind in "iu"
    return Measured(x, as_variable(value) if scalar else x, tuple(as_variable(int(n)) for n in value.shape))


def check_nodes(output, trace):
    """In each node: the value is of the type, `shape` gives its lengths, and `checks` let it pass."""
    equal = []
    conditions = []
    lengths = []
    for node in toposort([output]):
        value = trace[node.output]
        assert fits(value, node.output.type), f"{node.output.type} has the value {value!r}"
        operands = [measured(x, trace[x]) for x in node.inputs]
        lengths += zip(node.op.shape(lambda a, b: equal.append((a, b)) or a, *operands), value.shape, strict=True)
        conditions += node.op.checks(*operands)
    stated = evaluate([n for n, _ in lengths], {})
    assert [int(n) for n in stated] == [n for _, n in lengths]
    assert all(evaluate(conditions, dict(trace)))
    assert all(a == b for a, b in zip(evaluate([a for a, _ in equal], {}), evaluate([b for _, b in equal], {})))


def test_the_walk_finds_the_ops():
    names = {cls.__name__ for cls in all_ops()}
    assert {"Elementwise", "Cast", "Sum", "Argmax", "Reshape", "Join", "Dot", "Subtensor", "Softmax"} <= names
    assert {case.op for case in CASES} == set(OPS)
    assert all(any(f"Elementwise {name} " in case.name for case in CASES) for name in FUNCTIONS)


@each_case
def test_value_type_and_lengths(case):
    values = []
    for known in False, True:
        inputs = case.inputs(known)
        output = case.f(*inputs)
        trace = {}
        values += evaluate([output], case.values(inputs), trace)
        check_nodes(output, trace)
    np.testing.assert_array_equal(*values, strict=True)


@each_case
def test_variations_are_of_their_types(case):
    for variation, output, value in accepted([*in_dtypes(case), *in_shapes(case)]):
        assert fits(value, output.type), f"{variation.name}: {output.type} has the value {value!r}"
        _, again = variation.run(known=True)
        np.testing.assert_array_equal(again, value, variation.name, strict=True)


@each_case
def test_the_definition_in_other_ops_is_the_reference(case):
    for variation, _, _ in accepted([*in_dtypes(case), *in_shapes(case)]):
        for known in False, True:
            inputs = variation.inputs(known)
            for node in toposort([variation.f(*inputs)]):
                if hasattr(node.op, "expand"):
                    expanded = node.op.expand(*node.inputs)
                    lengths = zip(expanded.type.shape, node.output.type.shape, strict=True)
                    assert all(m == n for m, n in lengths if n is not None), f"{variation.name}: {expanded.type}"
                    assert_close(*evaluate([expanded, node.output], variation.values(inputs)), variation.name)


def differentiable(case):
    """The example and its variations in shape with float64 operands, as check_grad has them, and how to compare."""
    doubled = case.with_arrays("float64", as_dtype("f", "float64"))
    for variation, output, _ in accepted([doubled, *in_shapes(doubled)]):
        if output.type.is_float and any(a.dtype.kind == "f" for a in variation.arrays):
            rounds = any(node.output.dtype == "float32" for node in toposort([output]))
            yield variation, dict(rtol=1e-3, step=2.0**-12) if rounds else {}


@each_case
def test_gradient_is_the_limit_of_differences(case):
    for variation, accuracy in differentiable(case):
        check_grad(variation.f, variation.arrays, known=True, **accuracy)
        if variation.name == f"{case.name}, float64":
            check_grad(variation.f, variation.arrays, **accuracy)


@each_case
def test_gradient_of_the_gradient_is_the_limit_of_differences(case):
    def first(*inputs):
        moving = [x for x in inputs if x.type.is_float]
        shares = grad(T.sqr(case.f(*inputs)).sum(), moving, disconnected_inputs="ignore")
        return T.concatenate([share.flatten() for share in shares])

    for variation, accuracy in islice(differentiable(case), 1):
        if not accuracy:
            check_grad(first, variation.arrays, rtol=1e-5, atol=1e-6, known=True)


@pytest.mark.parametrize("name", [name for name, f in SCALAR_FUNCTIONS.items() if f.ufunc is not None])
def test_scalar_function_has_the_dtypes_and_values_of_numpys(name):
    f = SCALAR_FUNCTIONS[name]
    for case in (case for case in CASES if scalar_function(case.f) is f):
        for variation, _, value in accepted(in_dtypes(case)):
            with np.errstate(all="ignore"):
                try:
                    expected = f.ufunc(*variation.arrays)
                    if expected.dtype == "float16":
                        expected = f.ufunc(*[a.astype("float32") for a in variation.arrays])
                except ValueError:  # an integer to a negative power
                    continue
            assert_close(value, np.asarray(expected), variation.name, ulps=4)


def compiled_cases(cls, known):
    """The cases of an op and their gradients: the first in every dtype, others in a few, all in variations of shape.

    With lengths known, only in float64: every loop costs the C compiler's time.
    """
    for case in (case for case in CASES if case.op is cls):
        dtypes = DTYPES[-1:] if known else DTYPES[case.place % 4 :: 4] if case.place else DTYPES
        yield from (v for v, _, _ in accepted([*in_dtypes(case, dtypes), *(() if known else in_shapes(case))]))
        for variation, output, value in accepted(case.with_arrays(d, as_dtype("f", d)) for d in ("float64", "float32")):
            for k, a in enumerate(variation.arrays):
                if output.type.is_float and a.dtype.kind == "f":
                    by_k = derivative(variation.f, k, value)
                    yield replace(variation, name=f"{variation.name}, gradient {k}", f=by_k)


def derivative(f, k, value):
    """The gradient by operand k of the elements of `f`, each with a weight of its own."""
    weights = np.random.default_rng(0).uniform(0.5, 1.5, value.shape).astype(value.dtype)

    def by_k(*inputs):
        return grad((f(*inputs) * weights).sum(), inputs[k], disconnected_inputs="ignore")
    return by_k


def batches(cases, size):
    cases = iter(cases)
    while batch := list(islice(cases, size)):
        yield batch


def differences(batch, known):
    """What compiled code computes otherwise than the interpreter, as messages; all cases in one function."""
    inputs = [case.inputs(known) for case in batch]
    outputs = [case.f(*xs) for case, xs in zip(batch, inputs)]
    flat = [x for xs in inputs for x in xs]
    arrays = [a for case in batch for a in case.arrays]
    try:
        compiled = function(flat, outputs, on_unused_input="ignore")(*arrays)
    except Exception as error:
        if len(batch) == 1:
            return [f"{batch[0].name}: {type(error).__name__}: {error}"]
        return [text for case in batch for text in differences([case], known)]
    interpreted = evaluate(outputs, dict(zip(flat, arrays)))
    failures = []
    for case, actual, expected in zip(batch, compiled, interpreted):
        try:
            assert_close(actual, expected, case.name)
        except AssertionError as error:
            failures.append(str(error))
    return failures


@pytest.mark.parametrize("known", [False, True], ids=["open", "known"])
@pytest.mark.parametrize("cls", OPS, ids=lambda cls: cls.__name__)
def test_compiled_is_interpreted(cls, known):
    failures = []
    for batch in batches(compiled_cases(cls, known), OUTPUTS_AT_ONCE):
        failures += differences(batch, known)
    assert not failures, f"{len(failures)} differ:\n" + "\n".join(failures[:20])
