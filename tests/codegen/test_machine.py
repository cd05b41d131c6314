"""The rates of this machine."""

import json

import numpy as np
import pytest

from codegen.blas import find_blas
from codegen.cache import Cache
from codegen.errors import NoCompiler
from codegen.machine import Machine, measure
from codegen.toolchain import find_toolchain


@pytest.fixture
def tools(tmp_path):
    cache = Cache(tmp_path / "cache")
    try:
        return find_toolchain(probe_dir=cache.directory), cache
    except NoCompiler:
        pytest.skip("no C compiler")


def test_rates_are_those_of_a_computer_and_are_remembered(tools):
    found = measure(*tools, find_blas())
    assert 1e8 < found.bandwidth < 1e13 and 1e8 < found.arithmetic < 1e13
    assert found.product == found.product_single == 0 or 1e8 < min(found.product, found.product_single) < 1e14
    assert found.fastest(single=True) >= 2 * found.arithmetic and found.fastest(single=False) >= found.product
    assert measure(*tools, find_blas()) == found


def test_what_is_remembered_is_data(tools):
    toolchain, cache = tools
    found = measure(toolchain, cache, None)
    (memory,) = cache.directory.glob("machine-*.json")
    for damaged in ("", "[]", "{}", json.dumps({"bandwidth": "x", "arithmetic": 1, "product": 2})):
        memory.write_text(damaged)
        again = measure(toolchain, cache, None)
        assert isinstance(again, Machine) and np.isfinite(again.bandwidth) and again.product == 0
    assert found.product == 0
