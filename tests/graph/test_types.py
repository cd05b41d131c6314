"""Types: dtypes and shapes that exist, promotion and broadcasting as numpy has them."""

import itertools

import numpy as np
import pytest

from symgraph.errors import DtypeError, ShapeError
from symgraph.graph.types import DTYPES, FLOATS, TensorType, broadcast_shapes, float_for, format_shape, promote


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_type_of_each_dtype(dtype):
    type = TensorType(dtype, (None, 3, 1))
    assert (type.dtype, type.ndim, type.broadcastable) == (dtype, 3, (False, False, True))
    assert type.is_float == (np.dtype(dtype).kind == "f")
    assert str(type) == f"{dtype} (?, 3, 1)"
    assert type == TensorType(dtype, (None, 3, 1)) and hash(type) == hash(TensorType(dtype, (None, 3, 1)))


@pytest.mark.parametrize("dtype", ["float16", "complex128", "object", "int", "", "<f8", "str"])
def test_a_dtype_that_symgraph_lacks_is_refused(dtype):
    with pytest.raises(DtypeError, match="float32, float64"):
        TensorType(dtype)


def test_a_negative_length_is_refused():
    with pytest.raises(ShapeError, match=r"negative: \(2, -1\)"):
        TensorType("float64", (2, -1))


@pytest.mark.parametrize("shape, text", [((), "()"), ((3,), "(3,)"), ((None,), "(?,)"), ((2, None, 0), "(2, ?, 0)")])
def test_a_shape_as_text(shape, text):
    assert format_shape(shape) == text


@pytest.mark.parametrize("a, b", list(itertools.combinations_with_replacement(DTYPES, 2)))
def test_dtypes_promote_as_arrays_do(a, b):
    assert promote(a, b) == promote(b, a) == str((np.zeros(1, a) + np.zeros(1, b)).dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_float_for_a_dtype_is_that_of_exp(dtype):
    wanted = np.exp(np.zeros(1, dtype)).dtype
    assert float_for(dtype) == ("float32" if wanted == "float16" else str(wanted))
    assert float_for(dtype) in FLOATS


def test_known_shapes_broadcast_as_in_numpy():
    shapes = [shape for rank in range(3) for shape in itertools.product((0, 1, 2, 3), repeat=rank)]
    refused = 0
    for a, b in itertools.product(shapes, repeat=2):
        try:
            expected = np.broadcast_shapes(a, b)
        except ValueError:
            refused += 1
            with pytest.raises(ShapeError, match=r"do not broadcast on axis -[12]"):
                broadcast_shapes([a, b])
        else:
            assert broadcast_shapes([a, b]) == expected
    assert refused > 100


@pytest.mark.parametrize("shapes, result", [
    ([], ()),
    ([(None,)], (None,)),
    ([(None,), (3,)], (3,)),
    ([(3,), (None,)], (3,)),
    ([(None,), (1,)], (None,)),
    ([(1,), (None,)], (None,)),
    ([(1,), (None,), (3,)], (3,)),
    ([(None,), (0,)], (0,)),
    ([(None, 1), (4,)], (None, 4)),
    ([(2, None), (None, 5), ()], (2, 5)),
])
def test_an_unknown_length_is_that_of_its_partner(shapes, result):
    assert broadcast_shapes(shapes) == result


def test_two_known_lengths_beside_an_unknown_one_still_clash():
    with pytest.raises(ShapeError, match="2 and 3"):
        broadcast_shapes([(2,), (None,), (3,)])
