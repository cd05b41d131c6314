"""Functions whose BLAS is still made ready: small products do not wait for it, large ones do."""

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from codegen.blas import find_blas
from symgraph import compiler
from symgraph.errors import ShapeError


class Awaited:
    """A BLAS that is ready when it is said to be."""

    def __init__(self, blas):
        self.blas, self.ready, self.waits = blas, False, 0

    def is_ready(self):
        return self.ready

    def __call__(self):
        self.waits += not self.ready
        self.ready = True
        return self.blas


def test_only_large_products_wait_for_the_blas(monkeypatch):
    awaited = Awaited(find_blas())
    monkeypatch.setattr(compiler, "default_private_blas", lambda *_: awaited)
    x, W = T.dmatrix("x"), sg.shared(np.eye(8) * 2, "W")
    f = sg.function([x], x @ W)
    for n in (1, 5, 60):
        np.testing.assert_array_equal(f(np.ones((n, 8))), np.full((n, 8), 2.0))
    assert awaited.waits == 0 and f._quick is None
    with pytest.raises(ShapeError):
        f(np.ones((100, 9)))
    assert awaited.waits == 0
    np.testing.assert_array_equal(f(np.ones((100, 8))), np.full((100, 8), 2.0))
    assert awaited.waits == 1
    np.testing.assert_array_equal(f(np.ones((5, 8))), np.full((5, 8), 2.0))


@pytest.mark.parametrize("use", [
    lambda f: f.bind(np.ones((1, 8))), lambda f: f.address,
], ids=["bind", "address"])  # fmt: skip
def test_who_calls_without_python_has_the_blas(monkeypatch, use):
    awaited = Awaited(find_blas())
    monkeypatch.setattr(compiler, "default_private_blas", lambda *_: awaited)
    x = T.dmatrix("x")
    f = sg.function([x], x @ x.T)
    f(np.ones((2, 8)))
    assert awaited.waits == 0
    use(f)
    assert awaited.waits == 1


def test_a_blas_that_comes_to_be_ready_is_used_from_the_next_call_on(monkeypatch):
    awaited = Awaited(find_blas())
    monkeypatch.setattr(compiler, "default_private_blas", lambda *_: awaited)
    x = T.dmatrix("x")
    f = sg.function([x], x @ x.T)
    f(np.ones((2, 8)))
    launcher = f._variants[0].launcher
    assert not launcher.module.has_blas()
    awaited.ready = True
    f(np.ones((2, 8)))
    assert launcher.module.has_blas() and awaited.waits == 0
