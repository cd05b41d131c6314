"""Environment variables for a C library that takes its settings from them when it is loaded."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_lock = threading.Lock()


@contextmanager
def set_for_c(variables: Mapping[str, str]) -> Iterator[None]:
    """The environment that C code sees, with some variables set; `os.environ`, which others may read, stays.

    One thread at a time has it so, and no process is forked meanwhile.
    """
    with _lock:
        for name, value in variables.items():
            os.putenv(name, value)
        try:
            yield
        finally:
            for name in variables:
                if name in os.environ:
                    os.putenv(name, os.environ[name])
                else:
                    os.unsetenv(name)


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
