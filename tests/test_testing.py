"""The checks themselves: each accepts what is right and finds what is wrong."""

from dataclasses import dataclass

import numpy as np
import pytest

import symgraph.tensor as T
from symgraph.graph.node import Op
from symgraph.testing import assert_close, check_grad, compare

X = np.array([0.5, -1.5, 2.0])


@dataclass(frozen=True)
class Square(Op):
    """x * x, with a derivative of `slope * x`."""

    slope: float

    def infer_type(self, x):
        return x

    def reference(self, x):
        return x * x

    def gradient(self, x, out, g):
        return [self.slope * g * x]

    def element(self, index, x):
        return x[index] * x[index]

    @classmethod
    def examples(cls):
        yield cls(2.0), [X]


def test_check_grad_tells_right_from_wrong():
    check_grad(Square(2.0), [X])
    check_grad(Square(2.0), [X.astype("float32")], known=True)
    check_grad(lambda x, n: Square(2.0)(x) * n, [X, np.array([1, 2, 3])])
    with pytest.raises(AssertionError, match="finite differences give"):
        check_grad(Square(2.001), [X])
    with pytest.raises(AssertionError, match="argument 1"):
        check_grad(lambda x, y: x + Square(-2.0)(y), [X, X])


def test_check_grad_sees_every_element():
    weights = np.array([1.0, 1.0, 0.0])
    check_grad(lambda x: Square(2.0)(x) * weights, [X])
    with pytest.raises(AssertionError):
        check_grad(lambda x: T.concatenate([Square(2.0)(x[:2]), Square(2.5)(x[2:])]), [X])


def test_check_grad_has_nothing_to_say_of_integers():
    check_grad(lambda x: T.argmax(x), [X])
    check_grad(lambda n: n * 2, [np.array([1, 2])])


def test_compare_tells_right_from_wrong():
    np.testing.assert_array_equal(compare(Square(2.0), [X], np.square), X * X)
    with pytest.raises(AssertionError, match="its reference"):
        compare(Square(2.0), [X], np.abs)


@dataclass(frozen=True)
class Diverging(Square):
    """Compiled to something else than its reference."""

    def element(self, index, x):
        return x[index] + x[index]


def test_compare_finds_c_that_is_not_the_reference():
    with pytest.raises(AssertionError, match="compiled and interpreted"):
        compare(Diverging(2.0), [X])


def test_closeness_is_of_dtype_shape_and_value():
    assert_close(X, X * (1 + 4e-16))
    assert_close(np.array([np.nan, np.inf, -np.inf]), np.array([np.nan, np.inf, -np.inf]))
    nowhere, far = np.where(X == 2, np.nan, X), np.where(X == 2, np.inf, X)
    for other in X.astype("float32"), X[None], X * (1 + 1e-12), nowhere, far:
        with pytest.raises(AssertionError):
            assert_close(other, X)
    with pytest.raises(AssertionError):
        assert_close(np.array([1, 2]), np.array([1, 3]))
