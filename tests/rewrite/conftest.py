"""What tests of rewriting share: the values before and after, and whether two expressions are the same one."""

import numpy as np
import pytest

from symgraph.graph.node import Variable
from symgraph.graph.traverse import ancestors
from symgraph.graph.types import TensorType
from symgraph.interpreter import evaluate
from symgraph.rewrite.engine import Book, apply_book
from symgraph.rewrite.pattern import keeps_type
from symgraph.rewrite.pipeline import rewrite


def variable(dtype, ndim=1, name=None, shape=None):
    return Variable(TensorType(dtype, shape if shape is not None else (None,) * ndim), name)


@pytest.fixture
def var():
    """`var("float32", 2)`: a new input of unknown lengths; `shape=` fixes them."""
    return variable


@pytest.fixture
def is_same():
    """Whether two expressions are made of the same ops of the same inputs and equal constants."""

    def check(x, y):
        merged = apply_book(Book(), [x, y], copy=True)
        return merged[0] is merged[1]

    return check


@pytest.fixture
def rewritten():
    """`rewritten(x)`: what the whole pipeline makes of one output."""
    return lambda x, **options: rewrite([x], **options).outputs[0]


@pytest.fixture
def check():
    """`check(outputs, {input: array})` rewrites, compares values before and after, and returns what was made.

    exact: whether values must be equal to the last bit
    """

    def run(outputs, values, rtol=1e-6, exact=False):
        outputs = outputs if isinstance(outputs, list) else [outputs]
        values = {x: np.asarray(value, x.dtype) for x, value in values.items()}
        result = rewrite(outputs)
        before, after = evaluate(outputs, values), evaluate(list(result.outputs), values)
        for x, y, expected, value in zip(outputs, result.outputs, before, after, strict=True):
            assert keeps_type(x, y), (x.type, y.type)
            assert value.dtype == expected.dtype and value.shape == expected.shape
            if exact:
                np.testing.assert_array_equal(value, expected)
            else:
                np.testing.assert_allclose(value, expected, rtol=rtol, atol=rtol)
        for x in ancestors(result.outputs):
            assert x.owner is None or not hasattr(x.owner.op, "expand"), f"{x.owner.op} has not been expanded"
        return result

    return run
