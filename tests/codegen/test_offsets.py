"""Arithmetic of offsets: what it leaves out, and that what it makes has the value of what was written."""

import numpy as np
import pytest

from codegen import ir
from codegen.offsets import ONE, ZERO, add, element_count, flat_offset, multiply
from codegen.transform import folded

N, M, K, J = (ir.Var(ir.INDEX, name) for name in "nmkj")


@pytest.mark.parametrize("result, expected", [
    (add(ZERO, K), K),
    (add(K, ZERO), K),
    (add(K, ONE), K + 1),
    (multiply(ZERO, N), ZERO),
    (multiply(N, ZERO), ZERO),
    (multiply(ONE, N), N),
    (multiply(N, ONE), N),
    (multiply(ir.index(3), ir.index(4)), ir.index(12)),
    (multiply(N * 3, ir.index(4)), N * 12),
    (element_count([]), ONE),
    (element_count([N]), N),
    (element_count([ir.index(2), N, ONE, M]), ir.index(2) * N * M),
    (flat_offset([], []), ZERO),
    (flat_offset([ZERO, J], [N, M]), J),
    (flat_offset([K, J], [N, M]), K * M + J),
])  # fmt: skip
def test_what_is_known_is_left_out(result, expected):
    assert result == expected


def test_an_offset_counts_elements_as_numpy_does():
    extents = (2, 3, 1, 4)
    for index in np.ndindex(extents):
        offset = flat_offset(map(ir.index, index), map(ir.index, extents))
        assert folded(offset) == ir.index(int(np.ravel_multi_index(index, extents)))


def test_an_index_for_every_axis():
    with pytest.raises(ValueError, match="argument"):
        flat_offset([K], [N, M])
