"""How work is cut into blocks, in C."""

import ctypes
import os
from itertools import pairwise

import pytest

from codegen.cache import Cache
from codegen.errors import NoCompiler
from codegen.threads import AWAKE, BLOCK_WORK, DECLARATIONS, MOST_BLOCKS, MUCH, TURNING, WAKING
from codegen.toolchain import find_toolchain

UNIT = f"""\
#include <stdbool.h>
#include <stdint.h>
#ifdef _OPENMP
#include <omp.h>
#else
#define omp_get_num_threads() 1
#define omp_get_thread_num() 0
#endif
#define SG_INLINE static inline
static double now; /* as the test says */
static double sg_now(void)
{{
    return now;
}}
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
    const int64_t work = 0;
    (void)work;
    SG_IN_BLOCKS(n, work, note(to, block, first, last))
}}

/* The blocks in the order in which each thread does them: 100 times the block and the thread, for each of 8 blocks. */
void order(int threads, int64_t work, int *to)
{{
    const int32_t *const before = sg_threads;
    const int32_t count = threads;
    const int64_t blocks = 8;
    int done[8] = {{0}};
    sg_threads = &count;
    SG_IN_BLOCKS(8, work, if (last == first + 1) {{
        const int thread = omp_get_thread_num();
        to[8 / threads * thread + done[thread]++] = 100 * (int)first + thread;
    }})
    sg_threads = before;
}}

/* Takes `duration` from the time `start` on; how many threads do it. */
int threads_for(double start, double duration, int64_t work)
{{
    static const int32_t two = 2;
    const int32_t *const before = sg_threads;
    const int64_t blocks = 2;
    int threads = 0;
    sg_threads = &two;
    now = start;
    SG_IN_BLOCKS(2, work, if (first == 0 && last == 1) {{
        threads = omp_get_num_threads();
        now = start + duration;
    }})
    sg_threads = before;
    return threads;
}}

int has_threads(void)
{{
#if defined(_OPENMP) && !defined(__clang__)
    return 1;
#else
    return 0;
#endif
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


@pytest.fixture
def threaded(library):
    if not library.has_threads():
        pytest.skip("no OpenMP, or one whose threads sleep at once")
    return library


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


def order(library, threads, work):
    to = (ctypes.c_int * 8)()
    library.order(threads, ctypes.c_int64(work), to)
    return list(to)


def test_the_next_pass_begins_where_the_last_one_ended(library):
    passes = [order(library, 1, 8 * BLOCK_WORK) for _ in range(4)]
    blocks = [100 * block for block in range(8)]
    assert passes in ([blocks, blocks[::-1]] * 2, [blocks[::-1], blocks] * 2)
    assert [order(library, 1, TURNING * BLOCK_WORK) for _ in range(2)] == [blocks] * 2


def test_each_thread_turns_among_its_own_blocks(threaded):
    passes = [order(threaded, 2, MUCH * BLOCK_WORK) for _ in range(4)]
    one, other = [0, 100, 200, 300], [401, 501, 601, 701]
    there, back = one + other, one[::-1] + other[::-1]
    assert passes in ([there, back] * 2, [back, there] * 2)


def test_a_little_work_wakes_nobody_until_it_has_come_often(threaded):
    time = 1000.0

    def threads(gap, work=2 * BLOCK_WORK):
        nonlocal time
        time += gap
        found = threaded.threads_for(ctypes.c_double(time), ctypes.c_double(10e-6), ctypes.c_int64(work))
        time += 10e-6
        return found
    assert {threads(2 * AWAKE) for _ in range(100)} == {1}  # each after a pause
    at_once = [threads(0) for _ in range(30)]
    alone = at_once.index(2)
    assert alone == pytest.approx(WAKING / 10e-6, abs=2) and set(at_once[alone:]) == {2}
    assert [threads(gap) for gap in (AWAKE / 2, AWAKE / 2, 2 * AWAKE, 0)] == [2, 2, 1, 1]
    assert threads(1.0, MUCH * BLOCK_WORK) == 2
    assert threads(AWAKE / 2) == 2 and threads(1.0) == 1
