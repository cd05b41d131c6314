"""Scalar functions, found by walking the table: values, types, derivatives and stability at the extremes."""

import copy
import math
import pickle
import subprocess
import sys

import mpmath
import numpy as np
import pytest
import scipy.special as scipy_special
import sympy

import symgraph as sg
import symgraph.tensor as T
from codegen import ir
from symgraph.errors import DtypeError, GradientError
from symgraph.graph.types import DTYPES
from symgraph.interpreter import evaluate
from symgraph.ops import elementary as e
from symgraph.ops.elementwise import derivatives, sampled
from symgraph.ops.scalar import SCALAR_FUNCTIONS, composite
from symgraph.ops.sympy_bridge import derivatives_by_sympy, from_sympy, scalar_function

FUNCTIONS = list(SCALAR_FUNCTIONS.values())
SMOOTH = [f for f in FUNCTIONS if f.derivatives is not None]
EXTREMES = [0.0, -0.0, 1.0, -1.0, 0.5, 30.0, -30.0, 800.0, -800.0, 1e10, 1e30, -1e30, 1e-30,
            math.inf, -math.inf, math.nan]  # fmt: skip
named = pytest.mark.parametrize


def sample(function, count=8, seed=0):
    """Random arguments in the function's domain, as the dtypes it computes in."""
    rng = np.random.default_rng(seed)
    ranges = function.domain or ((-3, 3),) * function.arity
    numbers = [rng.uniform(low, high, count) for low, high in ranges]
    dtypes = sampled(function)
    return [x > 0 if d == "bool" else np.rint(x).astype(d) if "int" in d else x.astype(d)
            for x, d in zip(numbers, dtypes, strict=True)]  # fmt: skip


def exact(expression, symbols, point):
    """The value of a sympy expression by mpmath, to 30 digits."""
    convert = {bool: sympy.sympify, int: sympy.Integer, float: lambda v: sympy.Rational(v)}
    values = {s: convert[type(v)](v) for s, v in zip(symbols, point, strict=True)}
    value = expression.xreplace(values).doit()
    return value.evalf(30) if value.is_number else value


def symbols_of(function):
    kinds = sampled(function)
    return [sympy.Symbol(f"c{k}") if d == "bool" else sympy.Symbol(f"x{k}", real=True) for k, d in enumerate(kinds)]


def rows(arrays):
    return list(zip(*[a.tolist() for a in arrays], strict=True))


@named("function", [f for f in FUNCTIONS if f.sympy], ids=repr)
@named("dtype", ["float64", "float32"])
def test_value_equals_the_sympy_form(function, dtype):
    symbols = symbols_of(function)
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in sample(function)]
    expression = sympy.sympify(function.sympy(*symbols))
    expected = [exact(expression, symbols, point) for point in rows(arrays)]
    value = function(*arrays)
    if value.dtype == bool:
        assert value.tolist() == [bool(v) for v in expected]
        return
    np.testing.assert_allclose(value, [float(v) for v in expected], rtol=1e-13 if dtype == "float64" else 3e-6)


@named("function", [f for f in SMOOTH if f.derivatives], ids=repr)
def test_stated_derivatives_equal_those_of_sympy(function):
    """At random points, off the kinks; a bool counts as 0 or 1."""
    arrays = sample(function)
    out = function(*arrays)
    for k, (stated, taken) in enumerate(zip(function.derivatives, derivatives_by_sympy(function), strict=True)):
        if stated is None:
            continue
        ours = np.broadcast_to(np.asarray(stated(*arrays, out), "float64"), out.shape)
        theirs = np.broadcast_to(np.asarray(taken(*arrays, out), "float64"), out.shape)
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-13, err_msg=f"by argument {k}")


@named("function", SMOOTH, ids=repr)
def test_second_derivatives_equal_those_of_sympy(function):
    """Through grad of grad, in the interpreter; by the last argument."""
    if function.derivatives and function.derivatives[-1] is None:
        return
    arrays = sample(function, count=3)
    variables = [T.TensorType(str(a.dtype), (None,))() for a in arrays]
    x = variables[-1]
    first = sg.grad(function(*variables).sum(), x)
    second = sg.grad(first.sum(), x, disconnected_inputs="ignore")
    (value,) = evaluate([second], dict(zip(variables, arrays, strict=True)))

    symbols = symbols_of(function)
    derivative = from_sympy_twice(function, symbols)
    expected = np.broadcast_to(np.asarray(derivative(*arrays), "float64"), value.shape)
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)


def from_sympy_twice(function, symbols):
    """The second derivative by the last argument, by sympy alone, as a function of arrays."""
    flat = {"floor", "ceil", "trunc", "round", "sign", "floor_divide", "mod"}
    if function.name in flat:
        return lambda *arrays: 0.0
    expression = sympy.sympify(function.sympy(*symbols)).diff(symbols[-1], 2)
    return from_sympy(expression.replace(sympy.DiracDelta, lambda *args: sympy.S.Zero), symbols)


@named("function", FUNCTIONS, ids=repr)
def test_each_says_what_it_is(function):
    assert function.doc.endswith(".")
    assert "Dtypes" in function.__doc__
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.deepcopy(function) is function
    if function.derivatives is not None:
        assert len(derivatives(function)) == function.arity


# Types.


UFUNCS = [f for f in FUNCTIONS if f.ufunc and f.types.__doc__.startswith("As numpy")]
HALF_AS_SINGLE = {"float16": "float32"}


@named("function", UFUNCS, ids=repr)
@named("dtype", DTYPES)
def test_result_type_is_that_of_numpy(function, dtype):
    """For each pair of dtypes, and with Python numbers; float32 stands for numpy's float16."""
    one = np.ones(1, dtype)
    others = [(), (1,), (1.0,), *[(np.ones(1, d),) for d in DTYPES]]
    for other in [o for o in others if len(o) == function.arity - 1]:
        kinds = tuple(str(x.dtype) if isinstance(x, np.ndarray) else type(x) for x in (one, *other))
        try:
            with np.errstate(all="ignore"):
                expected = str(function.ufunc(one, *other).dtype)
        except TypeError:
            with pytest.raises(DtypeError):
                function.types(kinds)
            continue
        assert function.types(kinds)[-1] == HALF_AS_SINGLE.get(expected, expected)
        assert function(one, *other).dtype == HALF_AS_SINGLE.get(expected, expected)


@named("function", FUNCTIONS, ids=repr)
@named("dtype", DTYPES)
def test_the_type_rule_keeps_what_it_gave(function, dtype):
    """A node is typed anew from its cast operands: the same dtypes must come out."""
    try:
        dtypes = function.types((dtype,) * function.arity)
    except DtypeError:
        return
    assert function.types(dtypes[:-1]) == dtypes


def test_int64_and_uint64_compare_exactly():
    big, small = np.uint64(2**63), np.int64(-1)
    for function in (e.lt, e.le, e.gt, e.ge, e.eq, e.neq):
        x, y = ir.Var("int64", "x"), ir.Var("uint64", "y")
        for left, right, a, b in ((x, y, small, big), (y, x, big, small), (x, y, np.int64(7), np.uint64(7))):
            expression = function(left, right)
            assert expression.dtype == "bool"
            values = {left: a, right: b}
            assert run(expression, values) == function.ufunc(a, b) == function(a, b)


def run(expression, values):
    """An expression of the loop program by numpy; operands of each operation must have one dtype."""
    match expression:
        case ir.Literal(dtype, value):
            return np.dtype(dtype).type(value)
        case ir.Cast(dtype, arg):
            with np.errstate(all="ignore"):
                return run(arg, values).astype(dtype)
        case ir.Select(_, condition, x, y):
            return run(x if run(condition, values) else y, values)
        case ir.Operation(dtype, name, args):
            operands = [run(a, values) for a in args]
            assert len({str(a.dtype) for a in operands}) == 1, f"{name} of {[str(a.dtype) for a in operands]}"
            value = SCALAR_FUNCTIONS[name](*operands)
            assert value.dtype == dtype
            return value[()]
        case _:
            return values[expression]


@named("function", FUNCTIONS, ids=repr)
@named("dtype", DTYPES)
def test_the_formula_in_c_means_the_same(function, dtype):
    """The loop program's expression, run by numpy, gives the value and the dtype of the function."""
    try:
        dtypes = function.types((dtype,) * function.arity)
    except DtypeError:
        return
    arrays = [np.abs(a).astype(d) if d[0] == "u" else a.astype(d)
              for a, d in zip(sample(function, 4), dtypes, strict=False)]  # fmt: skip
    variables = [ir.Var(d, f"x{k}") for k, d in enumerate(dtypes[:-1])]
    expression = function.c(*variables)
    assert expression.dtype == dtypes[-1]
    for k in range(4):
        value = run(expression, {v: a[k] for v, a in zip(variables, arrays, strict=True)})
        with np.errstate(all="ignore"):
            expected = np.asarray(function.numeric(*[np.asarray(a[k]) for a in arrays])).astype(dtypes[-1])
        np.testing.assert_array_equal(value, expected)


# Values at the extremes.


@named("dtype", ["float64", "float32"])
@named(("function", "reference"), [
    (e.erf, scipy_special.erf), (e.erfc, scipy_special.erfc), (e.gamma, scipy_special.gamma),
    (e.gammaln, scipy_special.gammaln), (e.psi, scipy_special.psi),
    (e.tri_gamma, lambda x: scipy_special.polygamma(1, x)), (e.sigmoid, scipy_special.expit),
    (e.softplus, lambda x: np.logaddexp(0, x)), (e.relu, lambda x: np.maximum(x, 0)),
], ids=lambda f: getattr(f, "name", ""))  # fmt: skip
def test_extremes_equal_those_of_scipy(function, reference, dtype):
    x = np.array(EXTREMES, dtype)
    poles = (x == -np.inf) | (x == 0) | ((x < 0) & (x == np.floor(x)))
    if function in (e.gamma, e.gammaln, e.psi, e.tri_gamma):
        x = x[~poles]
    with np.errstate(all="ignore"):
        expected = reference(x.astype("float64")).astype(dtype)
        value = function(x)
    assert value.dtype == dtype
    np.testing.assert_allclose(value, expected, rtol=1e-13 if dtype == "float64" else 1e-6, atol=np.finfo(dtype).tiny)


def test_poles_are_those_of_c():
    inf, nan = math.inf, math.nan
    np.testing.assert_array_equal(e.gamma([0.0, -0.0, -1.0, -inf, 200.0]), [inf, -inf, nan, nan, inf])
    np.testing.assert_array_equal(e.gammaln([0.0, -1.0, -inf, inf, 1e308]), [inf, inf, inf, inf, inf])
    np.testing.assert_array_equal(e.psi([0.0, -1.0, -inf, inf]), [-inf, nan, nan, inf])
    np.testing.assert_array_equal(e.polygamma([1.0, 2.0, 2.0, 1.5, -1.0, inf, 1e300], [-1.0, -1.0, 0.0, *[3.0] * 4]),
                                  [inf, nan, -inf, *[nan] * 4])  # fmt: skip


def test_psi_and_polygamma_left_and_right_of_zero():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.uniform(-12, 40, 60), [1e-8, -1e-8, 1.4616321449683622, 1.47, 1e6]])
    with mpmath.workdps(40):
        for n in range(5):
            expected = [float(mpmath.polygamma(n, mpmath.mpf(v))) for v in x]
            np.testing.assert_allclose(e.polygamma(float(n), x), expected, rtol=1e-12 if n else 1e-13, atol=1e-13)


@named("dtype", ["float64", "float32"])
@named(("function", "points", "expected"), [
    (e.sigmoid, [-800, 800, 0, -math.inf, math.inf], [0, 0, 0.25, 0, 0]),
    (e.tanh, [-800, 800, 0, math.inf], [0, 0, 1, 0]),
    (e.softplus, [-1000, 1000, 0, -math.inf, math.inf], [0, 1, 0.5, 0, 1]),
    (e.relu, [-1000, 1000, 0, math.inf], [0, 1, 0, 1]),
    (e.erf, [-30, 30, math.inf], [0, 0, 0]),
    (e.erfc, [-30, 30, math.inf], [0, 0, 0]),
    (e.log1p, [0, 1e30, math.inf], [1, 1e-30, 0]),
    (e.expm1, [-1000, 0, -math.inf], [0, 1, 0]),
    (e.abs, [-1000, 0, 1000, math.inf], [-1, 0, 1, 1]),
    (e.gammaln, [1e10], [math.log(1e10) - 0.5e-10]),
    (e.floor, [0.5, 1e30, -math.inf], [0, 0, 0]),
    (e.arctan, [1e30, math.inf], [0, 0]),
    (e.sqr, [0, 1e10], [0, 2e10]),
], ids=lambda f: getattr(f, "name", ""))  # fmt: skip
def test_gradients_stay_finite_and_right_at_the_extremes(function, points, expected, dtype):
    x = T.TensorType(dtype, (None,))("x")
    gradient = sg.grad(function(x).sum(), x)
    assert gradient.dtype == dtype
    (value,) = evaluate([gradient], {x: np.array(points, dtype)})
    tolerance = 1e-14 if dtype == "float64" else 1e-6
    np.testing.assert_allclose(value, expected, rtol=tolerance, atol=1e-16 if dtype == "float64" else 1e-8)


@named("g", [1.0, math.inf, math.nan])
@named("function", [e.floor, e.ceil, e.round, e.trunc, e.sign, lambda x: x // 2, lambda x: e.maximum(x, 7),
                    lambda x: e.switch(x > 1, x, 5.0), lambda x: e.clip(x, 3, 4)])  # fmt: skip
def test_no_gradient_where_nothing_moves_not_even_an_infinite_one(function, g):
    x, incoming = T.dvector("x"), T.dvector("g")
    y = function(x)
    (gradient,) = sg.grad(None, [x], known_grads={y: incoming})
    (value,) = evaluate([gradient], {x: np.array([0.3, -1.7]), incoming: np.array([g, g])})
    np.testing.assert_array_equal(value, [0, 0])


def gradient_at(f, *point):
    variables = [T.dscalar() for _ in point]
    gradients = sg.grad(f(*variables), variables, disconnected_inputs="ignore")
    return [float(v) for v in evaluate(gradients, {v: np.array(p) for v, p in zip(variables, point, strict=True)})]


@named(("x", "n", "expected"), [(0, 0, 0), (0, 1, 1), (0, 2, 0), (0, 3, 0), (2, 3, 12), (-2, 3, 12), (math.inf, 0, 0)])
def test_derivative_of_a_power_is_safe_at_zero(x, n, expected):
    assert gradient_at(lambda x: x**n, x) == [expected]
    assert gradient_at(lambda x, n: x**n, x, n)[0] == expected
    second = n * (n - 1) * x ** (n - 2) if n > 1 else 0
    assert gradient_at(lambda x: sg.grad(x**n, x, disconnected_inputs="ignore"), x) == [second]


def test_derivative_by_the_exponent_is_safe_at_zero():
    assert gradient_at(lambda x, n: x**n, 0.0, 2.0) == [0, 0]
    assert gradient_at(lambda n: 0.0**n + n, 2.0) == [1]
    np.testing.assert_allclose(gradient_at(lambda x, n: x**n, 3.0, 2.0), [6, 9 * math.log(3)])


def test_at_a_tie_the_first_argument_takes_all():
    assert gradient_at(e.maximum, 2.0, 2.0) == [1, 0]
    assert gradient_at(e.minimum, 2.0, 2.0) == [1, 0]
    assert gradient_at(e.clip, 1.0, 1.0, 2.0) == [1, 0, 0]
    assert gradient_at(e.clip, 2.0, 1.0, 2.0) == [1, 0, 0]
    assert gradient_at(e.clip, 5.0, 3.0, 2.0) == gradient_at(e.clip, 0.0, 3.0, 2.0) == [0, 0, 1]


def test_gradients_keep_the_dtype_of_their_variable():
    x = T.fvector("x")
    swish = scalar_function("swish_of_max", sympy.Max(sympy.Symbol("a"), 0) * sympy.exp(sympy.Symbol("a")))
    for y in (swish(x), e.maximum(x, 0.5), x**2, e.gammaln(x), e.deg2rad(x)):
        assert y.dtype == sg.grad(y.sum(), x).dtype == "float32"


# Integers.


def test_powers_of_integers():
    x = np.array([0, 1, -1, 2, -2, 3], "int64")
    for n in (-3, -2, -1):
        assert e.power(x, n).tolist() == [0, 1, (-1) ** n, 0, 0, 0]
    assert e.power(x, 3).tolist() == [0, 1, -1, 8, -8, 27]
    assert e.power(np.int8(3), np.int8(5)) == 3**5 - 256
    assert e.power(x, 0.5).dtype == "float64"


def test_integer_division_by_zero_and_overflow():
    low = np.array([np.iinfo("int64").min, 7, -7], "int64")
    assert e.floor_divide(low, 0).tolist() == e.mod(low, 0).tolist() == [0, 0, 0]
    assert e.floor_divide(low, -1).tolist() == [low[0], -7, 7]
    assert e.mod(low, 3).tolist() == [v % 3 for v in low.tolist()]


def test_integers_stay_integers_where_nothing_is_rounded():
    x = np.array([-(2**62) - 1, 5], "int64")
    for function in (e.floor, e.ceil, e.round, e.trunc):
        np.testing.assert_array_equal(function(x), x)
    assert e.round(np.array([0.5, 1.5, 2.5, -0.5])).tolist() == [0, 2, 2, 0]
    assert not e.isnan(x).any() and not e.isinf(x).any() and e.isfinite(x).all()
    assert e.abs(ir.Var("uint8", "x")) == ir.Var("uint8", "x")


# sympy.


def test_a_function_defined_by_a_sympy_expression():
    x, y = sympy.symbols("x y")
    function = scalar_function("gelu_scaled", y * x * (1 + sympy.erf(x / sympy.sqrt(2))) / 2)
    points = np.linspace(-3, 3, 7)
    expected = 2 * points * (1 + scipy_special.erf(points / np.sqrt(2))) / 2
    np.testing.assert_allclose(function(points, 2.0), expected, rtol=1e-14)

    v = T.dvector("v")
    slope = sg.grad(function(v, 2.0).sum(), v)
    density = np.exp(-(points**2) / 2) / np.sqrt(2 * np.pi)
    cumulative = (1 + scipy_special.erf(points / np.sqrt(2))) / 2
    compiled = sg.function([v], [function(v, 2.0), slope])
    np.testing.assert_allclose(compiled(points), [expected, 2 * (cumulative + points * density)], rtol=1e-13)

    assert scalar_function("gelu_scaled", y * x * (1 + sympy.erf(x / sympy.sqrt(2))) / 2) is function
    with pytest.raises(ValueError, match="already"):
        scalar_function("gelu_scaled", x + y)


def test_arguments_come_in_the_order_given():
    x, y = sympy.symbols("x y")
    assert scalar_function("difference_yx", x - y, [y, x])(1.0, 5.0) == 4
    assert scalar_function("is_left", x < y)(1, 5)
    assert scalar_function("is_left", x < y).derivatives is None


X, Y = sympy.symbols("x y", positive=True)


@named("expression", [
    X - 2 * Y, -X - Y, X / Y, -X / Y**3, 1 / X, X ** sympy.Rational(3, 2), 1 / sympy.sqrt(X), X**Y, 2**X, sympy.pi * X,
    sympy.Piecewise((X, X > 1), (Y, Y > 1), (X * Y, True)), sympy.Piecewise((X, X > 10**9)), sympy.Max(X, Y, 1),
    sympy.Min(X, Y, 1), sympy.Mod(X, Y), sympy.cot(X) + sympy.sec(X) + sympy.csc(X), sympy.coth(X), sympy.sech(X),
    sympy.csch(X), sympy.factorial(X), sympy.loggamma(X), sympy.polygamma(2, X), sympy.Heaviside(X - 1),
    sympy.atan2(X, Y),
    sympy.Rational(1, 3) * X + sympy.Float("0.1"), sympy.Abs(X - Y), sympy.ceiling(X), sympy.E**X, sympy.Integer(7),
    sympy.exp(-(X**2)) * sympy.erfc(Y), sympy.Integer(10) ** 30 * X, sympy.asinh(X) - sympy.acosh(Y + 1), (X + Y) ** -2,
    sympy.Piecewise((1, sympy.And(X > 1, sympy.Or(Y < 1, sympy.Not(Y < 2)))), (0, True)), X,
], ids=str)  # fmt: skip
def test_sympy_expressions_translate(expression):
    formula = from_sympy(expression, [X, Y])
    for x, y in ((0.7, 1.3), (1.9, 0.4), (3.2, 2.6)):
        expected = expression.subs({X: sympy.Float(x, 30), Y: sympy.Float(y, 30)}).evalf(20)
        np.testing.assert_allclose(float(formula(x, y)), float(expected), rtol=1e-13)


def test_common_subexpressions_are_computed_once():
    v = T.dscalar("v")
    x = sympy.Symbol("x")
    y = from_sympy(sympy.sin(sympy.exp(x)) + sympy.cos(sympy.exp(x)), [x])(v)
    assert y.owner.inputs[0].owner.inputs[0] is y.owner.inputs[1].owner.inputs[0]


def test_a_deep_expression_needs_no_recursion_of_ours():
    x = sympy.Symbol("x")
    expression = x
    for _ in range(100):
        expression = sympy.sin(expression, evaluate=False) + 1
    value = 0.5
    for _ in range(100):
        value = math.sin(value) + 1
    assert from_sympy(expression, [x])(0.5) == pytest.approx(value, rel=1e-14)


@named(("make", "error"), [
    (lambda x, y: scalar_function("bad", "x + 1"), TypeError),
    (lambda x, y: scalar_function("bad", sympy.Integer(3)), ValueError),
    (lambda x, y: scalar_function("bad", x, [x, y]), ValueError),
    (lambda x, y: scalar_function("bad", x + y, [x]), ValueError),
    (lambda x, y: scalar_function("bad", x, [x, x]), ValueError),
    (lambda x, y: scalar_function("bad", sympy.besselj(1, x)), TypeError),
    (lambda x, y: scalar_function("bad", x + sympy.I), TypeError),
    (lambda x, y: from_sympy(x + y, [x]), ValueError),
    (lambda x, y: scalar_function("exp", 2 * x), ValueError),
    (lambda x, y: e.bitwise_and(x, y), TypeError),
    (lambda x, y: e.exp(1, 2), TypeError),
    (lambda x, y: derivatives_by_sympy(e.bitwise_and), GradientError),
    (lambda x, y: e.exp("text"), TypeError),
])  # fmt: skip
def test_what_cannot_be_translated_is_refused(make, error):
    before = set(SCALAR_FUNCTIONS)
    with pytest.raises(error):
        make(*sympy.symbols("x y"))
    assert set(SCALAR_FUNCTIONS) == before


def test_a_composite_without_stated_derivatives_takes_those_of_sympy():
    logit = composite("logit_for_test", lambda p: e.log(p / (1 - p)), domain=((0.1, 0.9),), doc="The log odds.")
    p = T.dscalar("p")
    assert float(evaluate([sg.grad(logit(p), p)], {p: np.array(0.25)})[0]) == pytest.approx(1 / (0.25 * 0.75))


def test_sympy_is_imported_only_when_it_is_needed():
    code = ("import sys, symgraph as sg, symgraph.tensor as T; x = T.dvector('x'); "
            "sg.grad((T.exp(x) * T.nnet.sigmoid(x) ** 2).sum(), x); assert 'sympy' not in sys.modules")  # fmt: skip
    subprocess.run([sys.executable, "-c", code], check=True)
