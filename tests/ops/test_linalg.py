"""Products against numpy, for all ranks and dtypes, in one op and in the ops it comes down to."""

import numpy as np
import pytest

import symgraph as sg
from symgraph.errors import DtypeError, ShapeError
from symgraph.grad import grad
from symgraph.graph.node import Variable, as_variable
from symgraph.graph.traverse import substitute, toposort
from symgraph.graph.types import DTYPES, TensorType
from symgraph.interpreter import evaluate
from symgraph.ops.linalg import batched_dot, dot, matmul, outer, tensordot
from symgraph.ops.matrices import Dot, Gemm

RNG = np.random.default_rng(0)


def symbol(name, shape=(), dtype="float64"):
    return Variable(TensorType(dtype, shape), name)


def expanded(x):
    """The expression in the ops it comes down to."""
    while node := next((node for node in toposort([x]) if hasattr(node.op, "expand")), None):
        (x,) = substitute([x], {node.output: node.op.expand(*node.inputs)})
    return x


def check(function, reference, *arrays, known):
    """Values, dtype, shape and the shape that the type knows, of the op and of what it comes down to."""
    inputs = [symbol(f"x{k}", a.shape if known else (None,) * a.ndim, str(a.dtype)) for k, a in enumerate(arrays)]
    result = function(*inputs)
    expected = np.asarray(reference(*arrays))
    assert result.dtype == str(expected.dtype)
    assert all(n in (None, m) for n, m in zip(result.type.shape, expected.shape, strict=True))
    assert not known or None not in result.type.shape
    for form in (result, expanded(result)):
        (actual,) = evaluate([form], dict(zip(inputs, arrays, strict=True)))
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)
        assert actual.shape == expected.shape
        assert actual.dtype == expected.dtype


DOTS = [
    ((), ()), ((), (3,)), ((2, 3), ()), ((3,), (3,)), ((0,), (0,)), ((1,), (1,)),
    ((2, 3), (3, 4)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 0), (0, 3)), ((0, 2), (2, 0)),
    ((2, 0), (0,)), ((0,), (0, 2)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (4,)), ((4,), (2, 4, 3)), ((2, 4), (3, 4, 2)),
    ((2, 3, 4), (5, 4, 2)), ((1, 2, 3, 2), (2, 1)), ((2, 0, 3), (4, 3, 2)), ((20, 30), (30, 17)),
]  # fmt: skip
MATMULS = [
    ((3,), (3,)), ((2, 3), (3, 4)), ((3,), (3, 2)), ((2, 3), (3,)),
    ((2, 3, 4), (2, 4, 5)), ((2, 3, 4), (4, 5)), ((3, 4), (2, 4, 5)), ((4,), (2, 4, 3)), ((2, 3, 4), (4,)),
    ((1, 3, 4), (5, 4, 2)), ((5, 3, 4), (1, 4, 2)), ((2, 1, 3, 4), (3, 4, 2)), ((2, 1, 3, 4), (1, 5, 4, 2)),
    ((0, 3, 4), (4, 2)), ((2, 3, 0), (2, 0, 4)), ((3, 1, 0, 4), (2, 4, 2)),
]  # fmt: skip


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("left, right", DOTS)
def test_dot_is_numpys(left, right, known):
    check(dot, np.dot, np.asarray(RNG.normal(size=left)), np.asarray(RNG.normal(size=right)), known=known)


@pytest.mark.parametrize("left, right", MATMULS)
def test_matmul_is_numpys(left, right):
    arrays = RNG.normal(size=left), RNG.normal(size=right)
    check(matmul, np.matmul, *arrays, known=True)
    check(lambda a, b: a @ b, np.matmul, *arrays, known=True)


@pytest.mark.parametrize("left, right", [case for case in MATMULS if 1 not in (*case[0][:-2], *case[1][:-2])])
def test_matmul_of_unknown_lengths(left, right):
    check(matmul, np.matmul, RNG.normal(size=left), RNG.normal(size=right), known=False)


def test_matmul_broadcasts_what_turns_out_to_be_1_in_the_interpreter():
    a, b = symbol("a", (None,) * 3), symbol("b", (None,) * 3)
    left, right = RNG.normal(size=(1, 2, 3)), RNG.normal(size=(4, 3, 2))
    product = matmul(a, b)
    np.testing.assert_allclose(evaluate([product], {a: left, b: right})[0], left @ right)
    shares = evaluate(grad(product.sum(), [a, b]), {a: left, b: right})
    assert [g.shape for g in shares] == [(1, 2, 3), (4, 3, 2)]
    np.testing.assert_allclose(shares[0], (np.ones((4, 2, 2)) @ right.swapaxes(1, 2)).sum(0, keepdims=True))


@pytest.mark.parametrize("left", DTYPES)
@pytest.mark.parametrize("right", DTYPES)
def test_dtypes_promote_as_numpy_has_it(left, right):
    a, b = np.array([[1, 2], [0, 3]]).astype(left), np.array([[0, 1], [5, 1]]).astype(right)
    for x, y in ((a, b), (a, b[0]), (a[0], b), (a[0], b[0]), (a[None], b)):
        check(dot, np.dot, x, y, known=False)
    check(matmul, np.matmul, a[None], b, known=False)
    check(outer, np.outer, a, b, known=False)


def test_integers_wrap_around_as_in_numpy():
    a = np.array([[100, 100]], "int8")
    check(dot, np.dot, a, a.T.copy(), known=False)
    check(dot, np.dot, a[0], a[0], known=False)
    big = np.array([[2**62, 2**62]])
    check(dot, np.dot, big, np.full((2, 1), 2), known=False)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("turned", [(False, False), (False, True), (True, False), (True, True)])
def test_stacks_are_multiplied_as_they_lie_whatever_the_number_of_threads(dtype, turned):
    """Matrices turned over are not copied; a stack is large enough for threads to share it."""
    a, b = ((RNG.normal(size=shape) * 4).astype(dtype) for shape in ((9, 70, 50), (9, 50, 60)))
    x, y = (symbol(name, (None, None, None), dtype) for name in "xy")
    f = sg.function([x, y], batched_dot(*(v.dimshuffle(0, 2, 1) if t else v for v, t in zip((x, y), turned))))
    assert "    SG_IN_BLOCKS(" in f.c_source and "*t = " not in f.c_source
    stored = [np.ascontiguousarray(v.swapaxes(1, 2)) if t else v for v, t in zip((a, b), turned)]
    results = []
    for threads in (1, 2, 3):
        sg.set_num_threads(threads)
        results.append(f(*stored))
    sg.set_num_threads(1)
    np.testing.assert_allclose(results[0], a @ b, rtol=1e-4, atol=1e-3 if dtype == "float32" else 1e-11)
    assert len({r.tobytes() for r in results}) == 1


@pytest.mark.parametrize(
    "left, right",
    [
        ((4, 2, 3), (4, 3, 5)), ((4, 3), (4, 3)), ((4, 3), (4, 3, 2)), ((4, 2, 3), (4, 3)), ((0, 2, 3), (0, 3, 1)),
        ((2, 3, 0), (2, 0, 4)),
    ],
)  # fmt: skip
def test_batched_dot_takes_pairs(left, right):
    def reference(a, b):
        return np.array([x @ y for x, y in zip(a, b)]).reshape(expected)

    expected = (left[0], *left[1:-1], *right[2:])
    for known in (True, False):
        check(batched_dot, reference, RNG.normal(size=left), RNG.normal(size=right), known=known)


@pytest.mark.parametrize(
    "left, right, axes",
    [
        ((2, 3, 4), (3, 4, 5), 2), ((2, 3), (4, 5), 0), ((2, 3, 4), (4, 3), [(1, 2), (1, 0)]), ((2, 3), (3,), [1, 0]),
        ((2, 3, 4), (4, 3, 2), [(0, 1, 2), (2, 1, 0)]), ((3,), (3,), 1), ((2, 3, 4), (5, 2, 4), [(-1, 0), (-1, 1)]),
        ((2, 0, 3), (3, 0), [(1,), (1,)]), ((4, 2), (2, 3), [[], []]),
    ],
)  # fmt: skip
def test_tensordot_is_numpys(left, right, axes):
    arrays = RNG.normal(size=left), RNG.normal(size=right)
    for known in (True, False):
        check(lambda a, b: tensordot(a, b, axes), lambda a, b: np.tensordot(a, b, axes), *arrays, known=known)


def test_values_mix_with_symbols():
    x = symbol("x", (None, 2))
    data = RNG.normal(size=(3, 2))
    for product, expected in (
        (dot(x, [[1.0], [2.0]]), data @ [[1.0], [2.0]]),
        (data @ x.T, data @ data.T),
        (dot(2, x), 2 * data),
        (np.ones(3) @ x, data.sum(0)),
    ):
        np.testing.assert_allclose(evaluate([product], {x: data})[0], expected)
    assert evaluate([dot(2, 3)], {})[0] == 6


def test_infinity_and_nan_pass_through():
    a, b = symbol("a", (1, 2)), symbol("b", (2, 1))
    for left, right in (([[np.inf, 1]], [[0], [1]]), ([[np.nan, 1]], [[0], [1]]), ([[1e308, 1e308]], [[10], [1]])):
        arrays = np.array(left, float), np.array(right, float)
        with np.errstate(all="ignore"):
            expected = arrays[0] @ arrays[1]
        np.testing.assert_array_equal(evaluate([dot(a, b)], dict(zip((a, b), arrays)))[0], expected)


def test_it_is_written_as_a_product():
    a, b = symbol("a", (2, 2)), symbol("b", (2, 2))
    assert str(dot(a + b, b)) == str((a + b) @ b) == "(a + b) @ b"
    assert str(symbol("v", (2,)) @ symbol("w", (2,))) == "v @ w"


@pytest.mark.parametrize(
    "left, right", [((64, 784), (100,)), ((64, 784), (100, 5)), ((784,), (100,)), ((784,), (100, 5))]
)
@pytest.mark.parametrize("function", [dot, matmul])
def test_lengths_that_do_not_match(function, left, right):
    x, w = symbol("x", left), symbol("w", right)
    text = f"cannot multiply x {left} by w {right}: the last axis of x is 784, the first of w is 100"
    with pytest.raises(ShapeError) as caught:
        function(x, w)
    assert str(caught.value).splitlines()[0] == text
    assert "test_linalg.py" in str(caught.value)

    x, w = symbol("x", (None,) * len(left)), symbol("w", (None,) * len(right))
    with pytest.raises(ShapeError) as caught:
        evaluate([function(x, w)], {x: np.zeros(left), w: np.zeros(right)})
    assert str(caught.value).splitlines()[0] == text


def test_other_lengths_that_do_not_match():
    with pytest.raises(ShapeError, match="the last axis of a is 3, the last but one of b is 4"):
        matmul(symbol("a", (5, 2, 3)), symbol("b", (4, 2)))
    with pytest.raises(ShapeError, match="before the last two axes, lengths 5 and 6 do not broadcast"):
        matmul(symbol("a", (5, 2, 3)), symbol("b", (6, 3, 2)))
    with pytest.raises(ShapeError, match="axis 2 of a is 3, axis 1 of b is 2"):
        dot(symbol("a", (5, 2, 3)), symbol("b", (6, 2, 3)))
    with pytest.raises(ShapeError, match="a has 5 matrices, b 6"):
        batched_dot(symbol("a", (5, 2, 3)), symbol("b", (6, 3, 2)))
    with pytest.raises(ShapeError, match="a has 1 matrices, b 6"):
        batched_dot(symbol("a", (1, 2, 3)), symbol("b", (6, 3, 2)))
    with pytest.raises(ShapeError, match="axis 1 of a is 3, axis 0 of b is 2"):
        tensordot(symbol("a", (2, 3)), symbol("b", (2, 3)), axes=1)


def test_ranks_that_do_not_fit():
    a, b = symbol("a", (2, 2)), symbol("b", (2, 2))
    with pytest.raises(ShapeError, match=r"a matrix product takes no scalar, but s .* is one"):
        a @ symbol("s")
    with pytest.raises(ShapeError, match="rank 2 or 3"):
        batched_dot(symbol("v", (2,)), a)
    with pytest.raises(ShapeError, match="cannot sum over 3 axes"):
        tensordot(a, b, axes=3)
    with pytest.raises(ShapeError, match=r"1 axes of a .* cannot be paired with 2 of b"):
        tensordot(a, b, axes=[[0], [0, 1]])
    with pytest.raises(np.exceptions.AxisError):
        tensordot(a, b, axes=[[2], [0]])
    with pytest.raises(DtypeError, match="a product has one dtype"):
        Dot()(a, symbol("i", (2, 2), "int64"))


def test_gemm_is_the_sum_it_says():
    c, a, b = symbol("c", (None, None)), symbol("a", (None, None)), symbol("b", (None, None))
    arrays = {c: RNG.normal(size=(2, 4)), a: RNG.normal(size=(2, 3)), b: RNG.normal(size=(3, 4))}
    result = Gemm()(c, as_variable(0.5), a, b, as_variable(-2.0))
    np.testing.assert_allclose(evaluate([result], arrays)[0], -2 * arrays[c] + 0.5 * (arrays[a] @ arrays[b]))
    assert str(result) == "-2 * c + 0.5 * (a @ b)"
    arrays[c] = np.full((2, 4), np.nan)
    unread = Gemm()(c, as_variable(1.0), a, b, as_variable(0.0))
    np.testing.assert_allclose(evaluate([unread], arrays)[0], arrays[a] @ arrays[b])


def test_gemm_refuses():
    one, a = as_variable(1.0), symbol("a", (2, 3))
    with pytest.raises(ShapeError, match=r"cannot add the product of a \(2, 3\) and b \(3, 4\) to c \(2, 5\)"):
        Gemm()(symbol("c", (2, 5)), one, a, symbol("b", (3, 4)), one)
    with pytest.raises(ShapeError, match="the last axis of a is 3, the first of b is 2"):
        Gemm()(symbol("c", (2, 4)), one, a, symbol("b", (2, 4)), one)
    with pytest.raises(DtypeError, match="one float dtype"):
        Gemm()(symbol("c", (2, 4), "float32"), one, a, symbol("b", (3, 4)), one)
    with pytest.raises(ShapeError, match="must be scalars"):
        Gemm()(symbol("c", (2, 4)), symbol("f", (1,)), a, symbol("b", (3, 4)), one)


@pytest.mark.parametrize("left, right", DOTS)
def test_gradients_of_dot(left, right):
    """d sum(w * dot(a, b)) is linear in each operand, so that a difference quotient of any step is exact."""
    arrays = np.asarray(RNG.normal(size=left)), np.asarray(RNG.normal(size=right))
    a, b = symbol("a", (None,) * len(left)), symbol("b", (None,) * len(right))
    weights = RNG.normal(size=np.dot(*arrays).shape)
    shares = evaluate(grad((dot(a, b) * weights).sum(), [a, b]), {a: arrays[0], b: arrays[1]})
    direction = np.asarray(RNG.normal(size=left)), np.asarray(RNG.normal(size=right))
    np.testing.assert_allclose((shares[0] * direction[0]).sum(), (weights * np.dot(direction[0], arrays[1])).sum())
    np.testing.assert_allclose((shares[1] * direction[1]).sum(), (weights * np.dot(arrays[0], direction[1])).sum())
    assert [g.shape for g in shares] == [left, right]


def test_a_vector_gradient_is_an_outer_product():
    w, x, g = symbol("w", (None, None)), symbol("x", (None,)), symbol("g", (None,))
    gw, gx = grad((dot(w, x) * g).sum(), [w, x])
    values = {w: RNG.normal(size=(2, 3)), x: RNG.normal(size=3), g: RNG.normal(size=2)}
    np.testing.assert_allclose(evaluate([gw], values)[0], np.outer(values[g], values[x]))
    np.testing.assert_allclose(evaluate([gx], values)[0], values[w].T @ values[g])
