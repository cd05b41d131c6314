"""Locks for state that several functions share: shared variables used together are guarded together."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from weakref import WeakSet

FORK_WAITS = 1.0  # seconds, at most, for calls in other threads, so that the child gets no half-written state


class Guard:
    """A lock that can be joined with others; from then on they are one. `with guard:` holds it.

    One thread may hold it twice, so that a signal handler can read the state of a function it interrupts. `depth`
    counts how often: where it is 0, who holds the lock of the interpreter may use the state without this one, until he
    lets go of that.
    """

    __slots__ = ("__weakref__", "depth", "joined", "lock")

    def __init__(self) -> None:
        _all.add(self)
        self.lock = threading.RLock()
        self.joined: Guard | None = None
        self.depth = 0

    def __enter__(self) -> None:
        guard = self.root
        guard.lock.acquire()
        while guard.joined is not None:  # joined while we waited
            guard.lock.release()
            guard = guard.root
            guard.lock.acquire()
        guard.depth += 1

    def __exit__(self, *error: object) -> None:
        guard = self.root
        guard.depth -= 1
        guard.lock.release()

    def __reduce__(self) -> tuple[type[Guard], tuple[()]]:
        return Guard, ()

    @property
    def root(self) -> Guard:
        """The guard that this one has become part of; who holds it keeps it from becoming part of another."""
        guard = self
        while guard.joined is not None:
            guard = guard.joined
        return guard


_all: WeakSet[Guard] = WeakSet()
_joining = threading.Lock()


def join(guards: Iterable[Guard]) -> Guard:
    """Make guards one, waiting for those who hold them; a new one if there are none."""
    with _joining:
        roots = list(dict.fromkeys(guard.root for guard in guards))
        if not roots:
            return Guard()
        for other in roots[1:]:
            with roots[0].lock, other.lock:
                other.joined = roots[0]
        return roots[0]


_taken: list[Guard] = []  # during a fork


def _before_fork() -> None:
    end = time.monotonic() + FORK_WAITS
    if not _joining.acquire(timeout=FORK_WAITS):
        return
    _taken.extend(g for g in list(_all) if g.lock.acquire(timeout=max(0.0, end - time.monotonic())))
    _joining.release()


def _after_fork() -> None:
    while _taken:
        _taken.pop().lock.release()


def _after_fork_in_child() -> None:
    """No thread is left that would let go of the other locks, which C knows: they must stay the same objects."""
    taken = set(_taken)
    for guard in set(_all) - taken:
        guard.lock._at_fork_reinit()  # type: ignore[attr-defined]
        guard.depth = 0
    _joining._at_fork_reinit()  # type: ignore[attr-defined]
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
