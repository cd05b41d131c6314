"""How work is cut into blocks, in C."""

import ctypes
import os
from itertools import pairwise

import pytest

from codegen.cache import Cache
from codegen.errors import NoCompiler
from codegen.threads import BLOCK_WORK, DECLARATIONS, MOST_BLOCKS
from codegen.toolchain import find_toolchain

UNIT = f"""\
#include <stdint.h>
#define SG_INLINE static inline
{DECLARATIONS}

int64_t count(int64_t n, int64_t work)
{{
    return *sg_threads == 1 ? sg_blocks(n, work) : 0;
}}

static void note(int64_t *to, int64_t block, int64_t first, int64_t last)
{{
    to[2 * block] = first;
    to[2 * block + 1] = last;
}}

void cut(int64_t n, int64_t blocks, int64_t *to)
{{
    SG_IN_BLOCKS(n, note(to, block, first, last))
}}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("threads")
    try:
        toolchain = find_toolchain(os.environ.get("CC"), probe_dir=folder)
    except NoCompiler as error:
        pytest.skip(str(error))
    built = ctypes.CDLL(str(Cache(folder / "cache").build(UNIT, toolchain, (), name="threads")))
    built.count.restype = ctypes.c_int64
    return built


def count(library, n, work):
    return library.count(ctypes.c_int64(n), ctypes.c_int64(work))


def test_the_number_of_blocks_is_a_power_of_two(library):
    for n in (1, 2, 3, 5, 31, 32, 33, 10**6):
        for times in (0, 1, 1.9, 2, 3.9, 4, 7, 8, 30, 32, 1000):
            blocks = count(library, n, int(times * BLOCK_WORK))
            assert 1 <= blocks <= min(n, MOST_BLOCKS) and blocks & (blocks - 1) == 0
            assert blocks * BLOCK_WORK <= max(times, 1) * BLOCK_WORK
            most = min(n, MOST_BLOCKS, max(times, 1))
            assert 2 * blocks > most
    assert count(library, 0, 0) == count(library, 0, 10**12) == 1


@pytest.mark.parametrize("n", [0, 1, 7, 32, 1001])
@pytest.mark.parametrize("blocks", [1, 2, 8, 32])
def test_blocks_follow_each_other(library, n, blocks):
    to = (ctypes.c_int64 * (2 * blocks))()
    library.cut(ctypes.c_int64(n), ctypes.c_int64(blocks), to)
    ends = list(zip(to[::2], to[1::2], strict=True))
    assert ends[0][0] == 0 and ends[-1][1] == n
    assert all(one[1] == other[0] for one, other in pairwise(ends))
    assert all(n // blocks <= last - first <= n // blocks + 1 for first, last in ends)
