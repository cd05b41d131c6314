"""Threads: how many compiled functions use, and the C with which a function does its work in blocks.

All units share one pool, that of OpenMP, and one cell that holds the number of threads. What is large enough is split
into blocks by its size alone, so the same sums are made in the same order by any number of threads.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from string import Template
from typing import Any

import _cffi_backend  # not cffi, for the reason that blas.py gives

from codegen.environment import set_for_c

_FFI = _cffi_backend.FFI()
_CELL = _FFI.new("int32_t *", 1)
_given = False  # whether some unit may have started threads

# A thread that waits for work spins for some 25 us, a bit longer than AWAKE, and not for the 0.2 s that the libraries
# of gcc and clang have otherwise: others need the processor, and one of them may be the thread it waits for. That of
# clang counts in milliseconds, so there it sleeps at once.
_SHORT_SPIN = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}

MOST_BLOCKS = 32
BLOCK_WORK = 1 << 17  # operations, of which a core does some 10 to 100 in a nanosecond
MUCH = 64  # blocks' work, for which threads are woken in any case
AWAKE = 20e-6  # seconds that a thread which has worked is awake, at least
WAKING = 100e-6  # seconds that it takes to wake one, about
TURNING = 128  # blocks' work, which may be a pass over 20 MB: of more, caches keep nothing until the next pass

DECLARATIONS = Template("""\
/* Large work is done in blocks, which threads share out. The number of blocks depends on the work alone: the results
   are the same to the last bit for any number of threads. NAME_threads receives the address of that number. */
#ifndef SG_BLOCK_WORK
#define SG_BLOCK_WORK $work
#endif
#ifndef SG_AWAKE
#define SG_AWAKE $awake
#endif
enum { SG_MOST_BLOCKS = $most };
static const int32_t sg_one_thread = 1;
static const int32_t *sg_threads = &sg_one_thread;

SG_INLINE int64_t sg_blocks(int64_t n, int64_t work)
{
    const int64_t most = n < SG_MOST_BLOCKS ? n : SG_MOST_BLOCKS, wanted = work / SG_BLOCK_WORK;
    int64_t blocks = 1; /* a power of 2, as most numbers of threads are: then all have the same share */
    while (2 * blocks <= wanted && 2 * blocks <= most)
        blocks *= 2;
    return blocks;
}

/* One pass takes the blocks from the first to the last, the next one from the last to the first: it begins with what
   is still in the caches. In the same order again, of an array a bit larger than they are, it would find nothing: each
   line would have made room just before it is needed. */
static _Atomic bool sg_turned;

SG_INLINE bool sg_turns(int64_t blocks, int64_t work)
{
    if (blocks == 1 || work >= (int64_t)$turning * SG_BLOCK_WORK)
        return false;
    const bool turned = !sg_turned;
    sg_turned = turned;
    return turned;
}

/* Calls CALL for each block of 0 ... N-1; it may use `block`, `first` and `last`, which is one behind the block.
   A thread always gets the same blocks, and finds in its caches what it has left there. */
#define SG_BLOCKS_OF(thread, threads, n, call)                                                              \\
    {                                                                                                       \\
        const int64_t sg_from = blocks * (thread) / (threads), sg_to = blocks * ((thread) + 1) / (threads); \\
        for (int64_t sg_k = sg_from; sg_k < sg_to; ++sg_k) {                                                \\
            const int64_t block = sg_back ? sg_from + sg_to - 1 - sg_k : sg_k;                              \\
            const int64_t first = (n) * block / blocks, last = (n) * (block + 1) / blocks;                  \\
            call;                                                                                           \\
        }                                                                                                   \\
    }
#ifdef _OPENMP
/* To wake threads takes longer than a little work does. That is shared out when they are awake from work before, or
   when so much has come, one after the other, that it would have been worth it to wake them. */
static _Atomic double sg_worked, sg_ended; /* when threads last did work, and when the last work ended */
static _Atomic double sg_alone;            /* for how long one thread has done work that others could have shared */

SG_INLINE bool sg_are_awake(double now)
{
#if defined(__clang__) /* those of its library sleep at once */
    (void)now;
    return false;
#else
    return now >= sg_worked && now - sg_worked < SG_AWAKE;
#endif
}

SG_INLINE bool sg_shares(int64_t work, double now)
{
    if (now - sg_ended > SG_AWAKE)
        sg_alone = 0;
    return work >= (int64_t)$much * SG_BLOCK_WORK || sg_are_awake(now) || sg_alone >= $waking;
}

SG_INLINE void sg_done(double start, bool shared)
{
    const double now = sg_now();
    sg_ended = now;
    sg_worked = shared ? now : sg_worked;
    sg_alone = shared ? 0 : sg_alone + (now - start);
}

#define SG_IN_BLOCKS(n, work, call)                                                          \\
    {                                                                                        \\
        const bool sg_back = sg_turns(blocks, work);                                         \\
        const bool sg_several = blocks > 1 && *sg_threads > 1;                               \\
        const double sg_start = sg_several ? sg_now() : 0;                                   \\
        const bool sg_shared = sg_several && sg_shares(work, sg_start);                      \\
        const int32_t sg_count = sg_shared ? *sg_threads : 1;                                \\
        if (sg_shared) {                                                                     \\
            _Pragma("omp parallel for schedule(static) num_threads(sg_count)")               \\
            for (int32_t sg_thread = 0; sg_thread < sg_count; ++sg_thread)                   \\
                SG_BLOCKS_OF(sg_thread, sg_count, n, call)                                   \\
        } else {                                                                             \\
            SG_BLOCKS_OF(0, 1, n, call)                                                      \\
        }                                                                                    \\
        if (sg_several)                                                                      \\
            sg_done(sg_start, sg_shared);                                                    \\
    }
#else
#define SG_IN_BLOCKS(n, work, call)                  \\
    {                                                \\
        const bool sg_back = sg_turns(blocks, work); \\
        SG_BLOCKS_OF(0, 1, n, call)                  \\
    }
#endif""").substitute(work=BLOCK_WORK, most=MOST_BLOCKS, awake=AWAKE, waking=WAKING, much=MUCH, turning=TURNING)


def take_threads(function: str) -> str:
    """The C text of the entry point that receives the number of threads."""
    return f"void {function}_threads(const int32_t *count)\n{{\n    sg_threads = count;\n}}"


def cell() -> Any:
    """Where the number of threads stands, an `int32_t *` that stays good until the process ends; for a loaded unit."""
    global _given
    _given = True
    return _CELL


def set_num_threads(count: int) -> None:
    """Let compiled functions use up to `count` threads, in the whole process. Raises ValueError below 1."""
    if not 1 <= count < 2**15:
        raise ValueError(f"the number of threads is between 1 and {2**15 - 1}, not {count}")
    _CELL[0] = count


def get_num_threads() -> int:
    """How many threads compiled functions use at most."""
    return int(_CELL[0])


def short_spin() -> AbstractContextManager[None]:
    """While a unit is loaded, and OpenMP with the first of them: the environment that tells OpenMP how long to spin.

    What the user has said himself stands.
    """
    is_free = {"OMP_WAIT_POLICY", *_SHORT_SPIN}.isdisjoint(os.environ)
    return set_for_c(_SHORT_SPIN if is_free else {})


def _after_fork() -> None:
    """The threads of OpenMP do not survive a fork, and a child that asked for them would wait forever."""
    if _given:
        set_num_threads(1)


os.register_at_fork(after_in_child=_after_fork)
