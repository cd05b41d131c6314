"""What the machine can do at most: the bytes that a program must move, moved and nothing else.

In the same rounds as the program itself, from memory of the same size, by the best of plain and non-temporal stores, in
turns line by line or in chunks.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import time
from pathlib import Path

from benchmarks.compare.peers import Call
from benchmarks.compare.workloads import Workload

LINE = 64
CHUNKS = 1, 64, 1024  # lines
WORTH_THREADS = 1 << 17  # bytes, from which a second thread is tried as well
REPEATED = 1 << 22  # bytes moved in one call from Python, so that its own time does not count
THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))


def library() -> ctypes.CDLL:
    """limit.c, compiled into the present folder, which is this process's own. Raises OSError where that fails."""
    path = Path("limit.so").resolve()
    if not path.exists():
        command = [*shlex.split(os.environ.get("CC", "cc")), "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC"]
        command += [str(Path(__file__).with_name("limit.c")), "-o", str(path)]
        done = subprocess.run(command, capture_output=True)
        if done.returncode:
            raise OSError(done.stderr.decode().strip().splitlines()[0])
    return ctypes.CDLL(str(path))


def start() -> None:
    """Compile it."""
    library()


def build(w: Workload, option: str) -> Call | None:
    """The call that moves the program's bytes; None where they are not what takes the time."""
    if w.group in ("calls", "compile", "limits"):
        return None
    c = library()
    c.allocate.restype = ctypes.c_void_p
    reads, writes = -(-w.read // LINE), -(-w.written // LINE)
    source, target = (ctypes.c_void_p(c.allocate(ctypes.c_int64(n * LINE))) for n in (reads, writes))
    threads = {1, THREADS} if w.read + w.written >= WORTH_THREADS else {1}
    repeats = max(1, REPEATED // (w.read + w.written))
    sizes = source, ctypes.c_int64(reads), target, ctypes.c_int64(writes)
    ways = [
        (*sizes, ctypes.c_int64(chunk), streaming, n, ctypes.c_int64(repeats))
        for chunk in CHUNKS for streaming in (0, 1) for n in threads
    ]  # fmt: skip
    return Call(c.run, min(ways, key=lambda args: seconds(c, args)), outputs=None, repeats=repeats)


def seconds(c: ctypes.CDLL, args: tuple[object, ...]) -> float:
    """The best of several calls."""
    best, until = float("inf"), time.perf_counter() + 0.05
    while time.perf_counter() < until:
        start = time.perf_counter()
        c.run(*args)
        best = min(best, time.perf_counter() - start)
    return best
