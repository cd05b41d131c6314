"""What can be written on a variable: Python's operators, numpy's ufuncs, methods; and the names of symgraph.tensor."""

import operator
import types

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.errors import DtypeError
from symgraph.graph.syntax import FUNCTIONS, METHODS, SYNTAX, UFUNCS
from symgraph.interpreter import evaluate

X = np.array([[1.5, -2, 3], [0.5, 4, -1]])
BINARY = "add sub mul truediv floordiv mod pow lt le gt ge".split()
INTEGRAL = "and_ or_ xor lshift rshift".split()


@pytest.mark.parametrize("name", BINARY + INTEGRAL)
def test_binary_operators_from_both_sides(name):
    f = getattr(operator, name)
    array = np.array([[3, 2, 1], [4, 5, 6]]) if name in INTEGRAL else np.abs(X)
    x = T.constant(array)
    for other in array[::-1] + 1, array[0], 2, np.int64(3):
        for actual, expected in (f(x, other), f(array, other)), (f(other, x), f(other, array)):
            np.testing.assert_array_equal(evaluate([actual], {})[0], expected, strict=True)


def test_unary_operators_and_divmod():
    x, n = T.constant(X), T.constant(np.array([1, -5]))
    cases = [(-x, -X), (+x, X), (abs(x), abs(X)), (~n, ~n.data), (x @ X.T, X @ X.T), (X.T @ x, X.T @ X)]
    for actual, expected in cases:
        np.testing.assert_array_equal(evaluate([actual], {})[0], expected, strict=True)
    for actual, expected in zip([*divmod(n, 3), *divmod(7, n)], [*divmod(n.data, 3), *divmod(7, n.data)]):
        np.testing.assert_array_equal(evaluate([actual], {})[0], expected, strict=True)


@pytest.mark.parametrize("name", sorted(UFUNCS))
def test_numpy_functions_of_variables_make_variables(name):
    ufunc = getattr(np, name)
    operands = [np.abs(X[:1]) / 4, np.abs(X[1:]) / 8][: ufunc.nin]
    if name.startswith(("bitwise", "invert", "left", "right")):
        operands = [np.array([3, 5]), np.array([1, 2])][: ufunc.nin]
    if name == "matmul":
        operands = [X, X.T]
    with np.errstate(all="ignore"):
        expected = ufunc(*operands)
        made = ufunc(operands[0], T.constant(operands[1])) if ufunc.nin == 2 else ufunc(T.constant(operands[0]))
    assert isinstance(made, T.Variable)
    np.testing.assert_allclose(evaluate([made], {})[0], expected, rtol=1e-15, strict=True)


V = X[0]
NUMPY_CALLS = {
    np.clip: [(X, -1, 2)],
    np.where: [(X > 0, X, 1.0)],
    np.dot: [(X, X.T), (X, V), (V, V), (2.0, X)],
    np.outer: [(V, X)],
    np.tensordot: [(X, X), (X, X.T, 1)],
    np.repeat: [(X, 2), (X, [0, 1, 2], 1)],
    np.tile: [(X, (2, 1)), (V, 3)],
    np.take: [(X, [0, 2]), (X, [1, 1, 0], 1)],
    np.split: [(X, 3, 1), (V, [1, 2])],
    np.broadcast_to: [(V, (2, 3))],
    np.reshape: [(X, (3, 2)), (X, -1)],
    np.expand_dims: [(X, 1)],
    np.squeeze: [(X[:1],), (X[:1], 0)],
    np.moveaxis: [(X, 0, 1)],
    np.swapaxes: [(X, 0, 1)],
    np.transpose: [(X,), (X, (0, 1))],
    np.full_like: [(X, 2), (X, 2, "float32")],
    np.linspace: [(np.float64(1), np.float64(2), 4)],
    np.linalg.norm: [(X,), (V, 1), (X, 3, 0), (X, None, (0, 1), True)],
    np.tril: [(X,), (X, 1)],
    np.triu: [(X,), (X, -1)],
    np.std: [(X,), (X, 1)],
    np.var: [(X,), (X, 1)],
}  # fmt: skip
JOINED = (np.concatenate, np.stack)


@pytest.mark.parametrize("function", sorted(FUNCTIONS.keys() - set(JOINED), key=lambda f: f.__name__))
def test_numpys_functions_of_symbols_have_numpys_values(function):
    for arguments in NUMPY_CALLS.get(function, [(X,)]):
        made = function(*[T.constant(x) if isinstance(x, (np.ndarray, np.generic)) else x for x in arguments])
        expected = function(*arguments)
        for m, e in zip(made, expected) if isinstance(made, list) else [(made, expected)]:
            np.testing.assert_allclose(evaluate([T.as_tensor_variable(m)], {})[0], e, rtol=1e-14, strict=True)


@pytest.mark.parametrize("function", [np.sum, np.prod, np.mean, np.max, np.min, np.all, np.any, np.std, np.var])
def test_numpys_reductions_take_its_keywords(function):
    made = function(T.constant(X), axis=1, keepdims=True)
    np.testing.assert_allclose(evaluate([made], {})[0], function(X, axis=1, keepdims=True), rtol=1e-14, strict=True)


@pytest.mark.parametrize("function", JOINED)
@pytest.mark.parametrize("axis", [0, 1, None])
def test_numpy_joins_symbols_and_arrays(function, axis):
    if (function, axis) == (np.stack, None):
        pytest.skip("numpy stacks along an axis")
    made = function([X, T.constant(X + 1)], axis=axis)
    np.testing.assert_array_equal(evaluate([made], {})[0], function([X, X + 1], axis=axis), strict=True)


@pytest.mark.parametrize("call, message", [
    (lambda v: np.nextafter(v, v), "numpy.nextafter does not take symbols, and v is one: use a function of symgraph"),
    (lambda v: np.cumsum(v), "numpy.cumsum does not take symbols, and v is one"),
    (lambda v: np.array_equal(v, v), "numpy.array_equal does not take symbols"),
    (lambda v: np.linalg.inv(T.outer(v, v)), "numpy.linalg.inv does not take symbols"),
    (lambda v: np.add.reduce(v), "numpy.add.reduce does not take symbols, and v is one"),
    (lambda v: np.add(v, v, where=V > 0), "numpy.add does not take symbols with these arguments"),
    (lambda v: np.sum(v, where=V > 0), "numpy.sum does not take symbols with these arguments, and v is one"),
    (lambda v: np.max(v, 0, V), "numpy.max does not take symbols with these arguments"),
    (lambda v: np.linalg.norm(T.outer(v, v), 2), r"ord=2 is a norm of matrices.*T.norm\(x, ord, axis\)"),
    (lambda v: operator.iadd(V, v), r"an array cannot take up the symbol v: write a = a \+ x, not a \+= x"),
    (lambda v: np.add(V, v, out=V), "an array cannot take up the symbol v"),
])  # fmt: skip
def test_what_numpy_cannot_do_with_a_symbol_says_what_to_do(call, message):
    with pytest.raises(TypeError, match=message):
        call(T.vector("v"))


def test_every_method_is_there_and_documented():
    x = T.matrix("x")
    for name in METHODS:
        assert callable(getattr(x, name)), name
        assert SYNTAX[name].__doc__, name
        assert name in dir(x)
    with pytest.raises(AttributeError, match="no attribute 'no_method'"):
        x.no_method()


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("float32"), "floatX"])
def test_astype(dtype):
    assert T.lvector().astype(dtype).dtype == T.cast(2, dtype).dtype == ("float64" if dtype == "floatX" else "float32")
    x = T.fvector()
    assert x.astype("float32") is x
    with pytest.raises(DtypeError):
        x.astype("float16")


def test_copy_is_a_variable_of_its_own():
    x = T.vector("x")
    y = x.copy(name="y")
    assert y is not x and (x.name, y.name, y.type) == ("x", "y", x.type)
    np.testing.assert_array_equal(evaluate([x.copy()], {x: X[0]})[0], X[0])


def test_iteration_needs_a_known_length():
    x = T.tensor("float64", (2, None))
    first, second = x
    np.testing.assert_array_equal(evaluate([second - first], {x: X})[0], X[1] - X[0])
    with pytest.raises(TypeError, match="specify_shape"):
        list(T.vector("v"))
    with pytest.raises(TypeError, match="scalar"):
        list(T.scalar("s"))
    with pytest.raises(TypeError, match="length"):
        len(x)
    with pytest.raises(TypeError, match="switch"):
        bool(x.sum() > 0)


def test_setting_parts():
    x = T.constant(X)
    expected = X.copy()
    expected[0, 1:] = 7
    np.testing.assert_array_equal(evaluate([x[0, 1:].set(7)], {})[0], expected)
    expected = X.copy()
    expected[:, 0] += [1, 2]
    np.testing.assert_array_equal(evaluate([x[:, 0].inc([1.0, 2.0])], {})[0], expected)


def test_the_namespace_defines_nothing_and_documents_everything():
    for name, thing in vars(T).items():
        if name.startswith("__") or isinstance(thing, (types.ModuleType, T.TensorType)):
            continue
        assert thing.__module__ != "symgraph.tensor", name
        assert thing.__doc__, name


def test_symgraph_stands_in_for_theano():
    theano = sg
    x, w = theano.tensor.dmatrix(), theano.shared(value=np.ones((3, 2)))
    cost = theano.tensor.nnet.sigmoid(theano.tensor.dot(x, w)).sum()
    (gw,) = theano.tensor.grad(cost, [w])
    assert theano.grad(cost, w).type == gw.type == w.type
    h = 1 / (1 + np.exp(-X @ np.ones((3, 2))))
    np.testing.assert_allclose(evaluate([gw], {x: X})[0], X.T @ (h * (1 - h)))


@pytest.fixture(params=["float32", "float64"])
def floatX(request, monkeypatch):
    monkeypatch.setattr(sg.config, "floatX", request.param)
    return request.param


@pytest.mark.parametrize("expression, expected", [
    (lambda x, i: T.switch(x > 0, 1.0, -1.0), [1, -1, 1]),
    (lambda x, i: T.switch(x, 1.0, -1), [1, 1, 1]),
    (lambda x, i: (x > 0) * 0.5, [0.5, 0, 0.5]),
    (lambda x, i: 1.0 - T.eq(x, 3), [1, 1, 0]),
    (lambda x, i: T.constant(1) - 0.9, 0.1),
    (lambda x, i: i * 0.1, [0.1, 0.4, 0.9]),
    (lambda x, i: i**0.5, [1, 2, 3]),
    (lambda x, i: i // 2.5, [0, 1, 3]),
    (lambda x, i: T.maximum(i, 1.5), [1.5, 4, 9]),
    (lambda x, i: T.clip(i, 1.5, 5), [1.5, 4, 5]),
    (lambda x, i: T.stack([i[0], 0.5]), [1, 0.5]),
    (lambda x, i: T.stack([1, 0.5]), [1, 0.5]),
])  # fmt: skip
def test_a_python_float_beside_no_other_float_is_a_floatX(floatX, expression, expected):
    x, i = T.dvector("x"), T.lvector("i")
    (actual,) = evaluate([expression(x, i)], {x: X[0], i: np.array([1, 4, 9])})
    np.testing.assert_allclose(actual, np.array(expected, floatX), rtol=1e-6, strict=True)


@pytest.mark.parametrize("expression, dtype", [
    (lambda x, i: x * 0.5, "float64"),
    (lambda x, i: T.switch(x > 0, x, 0.5), "float64"),
    (lambda x, i: i * np.float64(2), "float64"),
    (lambda x, i: x.astype("float32") * 0.5, "float32"),
    (lambda x, i: i > 0.5, "bool"),
    (lambda x, i: i * 2, "int64"),
])  # fmt: skip
def test_floatX_changes_no_dtype_beside_a_float(floatX, expression, dtype):
    assert expression(T.dvector(), T.lvector()).dtype == dtype


def test_large_integers_are_compared_with_floats_as_float64(monkeypatch):
    monkeypatch.setattr(sg.config, "floatX", "float32")
    i = T.lscalar("i")
    assert evaluate([i > 16777216.0], {i: np.int64(16777217)})[0]


NAMES = """
    abs_ add addbroadcast alloc and_ any all arange argmax argmin as_tensor_variable batched_dot bitwise_and cast ceil
    clip col concatenate constant cos dmatrices dmatrix dot dscalar dvector eq erf exp expm1 eye fill flatten floor
    fmatrix ftensor4 ge grad gt identity_like imatrix inc_subtensor inv invert iscalar isinf isnan ivector join le
    lmatrix log log1p lscalar lt lvector matrices matrix max maximum mean min minimum mod mul ndim neq nnet ones
    ones_like or_ outer patternbroadcast pow prod repeat reshape round row scalar scalars set_subtensor sgn shape
    shape_padleft shape_padright shared sin specify_shape split sqr sqrt square squeeze stack std sum switch tanh
    tensor3 tensor4 tensordot TensorType TensorVariable tile transpose unbroadcast var vector vectors where wmatrix xor
    zeros zeros_like
""".split()


NETWORKS = "sigmoid softmax softplus relu categorical_crossentropy binary_crossentropy elu".split()


@pytest.mark.parametrize("name", [*NAMES, *(f"nnet.{name}" for name in NETWORKS)])
def test_theanos_names(name):
    assert callable(operator.attrgetter(name)(T)) or name == "nnet"
