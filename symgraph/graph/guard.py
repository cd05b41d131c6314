"""Locks for state that several functions share: shared variables used together are guarded together."""

from __future__ import annotations

import threading
from collections.abc import Iterable


class Guard:
    """A lock that can be joined with others; from then on they are one. `with guard:` holds it.

    One thread may hold it twice, so that a signal handler can read the state of a function it interrupts. `depth`
    counts how often: where it is 0, who holds the lock of the interpreter may use the state without this one, until he
    lets go of that.
    """

    __slots__ = ("depth", "joined", "lock")

    def __init__(self) -> None:
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
