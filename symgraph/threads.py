"""How many threads compiled functions use."""

from __future__ import annotations

import os

from codegen import threads
from symgraph.options import environment


def set_num_threads(count: int) -> None:
    """Let compiled functions use up to `count` threads, in the whole process and from their next call on.

    At first it is `$OMP_NUM_THREADS`, or else the number of processors that the process may run on. Work that is too
    small is done by one thread whatever is allowed, and results do not depend on the number. After a fork of a process
    that has compiled functions the child has one, since threads do not survive a fork.

    Raises TypeError for what is no integer, ValueError for a number below 1.
    """
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"the number of threads is an int, not {type(count).__name__}")
    threads.set_num_threads(count)


def get_num_threads() -> int:
    """How many threads compiled functions use at most."""
    return threads.get_num_threads()


def _default() -> int:
    """What the environment asks for, as OpenMP reads it: `4`, or `4,2` for teams inside teams."""
    asked = environment().get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked.isdecimal() and 1 <= int(asked) < 2**15:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


set_num_threads(_default())
