"""Python's garbage collector, which is out of the way while a graph is compiled."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_pauses = 0  # how many are inside
_was_on = False  # before the first of them


@contextmanager
def collector_paused() -> Iterator[None]:
    """No search for cycles inside; also a decorator.

    A compilation makes many objects that stay, and the collector would look through all of them again and again, which
    took a fifth of the time of a large one. It belongs to the whole process: the last of those inside turns it on
    again, if it was on before the first.
    """
    global _pauses, _was_on
    with _lock:
        if _pauses == 0:
            _was_on = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _lock:
            _pauses = max(_pauses - 1, 0)
            if _pauses == 0 and _was_on:
                gc.enable()


def _after_fork() -> None:
    """Whoever was inside has not come along, except the thread that forked, which does without a pause."""
    global _lock, _pauses
    _lock = threading.Lock()
    if _pauses and _was_on:
        gc.enable()
    _pauses = 0


os.register_at_fork(after_in_child=_after_fork)
