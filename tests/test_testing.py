"""The checks themselves: each accepts what is right and finds what is wrong."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import symgraph.tensor as T
from symgraph.graph.node import Op
from symgraph.testing import assert_close, check_grad, compare

ROOT = Path(__file__).parents[1]
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


@pytest.mark.parametrize("f, array, why", [
    (lambda x: T.argmax(x), X, "argmax.* is int64"),
    (lambda n: n * 2.0, np.array([1, 2]), "none of its 1 arrays holds floats"),
    (lambda n: n * 2, np.array([1, 2]), "is int64"),
])
def test_check_grad_refuses_to_check_nothing(f, array, why):
    with pytest.raises(TypeError, match=f"no derivative .*{why}"):
        check_grad(f, [array])


def test_the_checks_hold_in_python_without_assertions():
    program = """if True:
        import numpy as np
        from symgraph.testing import assert_close
        for other in np.ones(3, "float32"), np.ones((1, 3)):
            try:
                assert_close(other, np.ones(3))
            except AssertionError as error:
                print(error)
    """
    done = subprocess.run([sys.executable, "-O", "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ": dtype float32, expected float64\n: shape (1, 3), expected (3,)\n"


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
