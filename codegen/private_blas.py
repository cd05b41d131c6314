"""A copy of an OpenBLAS for us alone: of one thread, and with the kernels that are the fastest on this CPU.

OpenBLAS takes its settings from the environment when it is loaded, and the one that numpy has loaded has those of the
user. It sees to threads of its own, which fight with ours, and it goes by lists of CPUs: one that is younger
than the list gets kernels for an older one, which take up to twice the time. A copy of the file is another library
to the system. Which kernels to ask for is measured in processes of their own, once for each machine and library.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from codegen.blas import Blas, open_blas
from codegen.cache import Cache
from codegen.errors import CacheRefused
from codegen.toolchain import digest, this_machine

_KERNELS = "OPENBLAS_CORETYPE"
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
_PATIENCE = 20.0  # seconds after which a library that is being measured is given up
_environment = threading.Lock()

# Run by a Python that loads nothing else. Prints the name of the kernels, and the float32 and float64 operations a
# second of a product that takes a millisecond or two.
_PROBE = """\
import ctypes, sys, time
path, before, after, integer = sys.argv[1:]
library = ctypes.CDLL(path)
name = getattr(library, before + "openblas_get_corename" + after)
name.restype = ctypes.c_char_p
rates = []
size = getattr(ctypes, "c_" + integer[:-2])
flag = ctypes.c_int
for letter, real, n in ("s", ctypes.c_float, 512), ("d", ctypes.c_double, 384):
    a, b, c = ((real * (n * n))() for _ in range(3))
    gemm = getattr(library, before + "cblas_" + letter + "gemm" + after)
    gemm.argtypes = [flag] * 3 + [size] * 3 + [real, type(a), size, type(b), size, real, type(c), size]
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        gemm(101, 111, 111, n, n, n, 1.0, a, n, b, n, 0.0, c, n)
        best = min(best, time.perf_counter() - start)
    rates.append(2.0 * n**3 / best)
print(name().decode(), *rates)
"""


@dataclass(frozen=True)
class Kernels:
    """One choice of kernels that OpenBLAS has, measured on one core.

    asked: what is asked for in the environment; empty: the library chooses
    name: what the library calls them
    single, double: float32 and float64 operations a second of a matrix product
    """

    asked: str
    name: str
    single: float
    double: float

    @property
    def rate(self) -> float:
        """What choices are compared by: a sum of both rates in which single and double count alike."""
        return self.single + 2 * self.double


@dataclass(frozen=True)
class _Known:
    """What is remembered: the library, its kernels, the best first, and the copy by its size and time of change."""

    source: str
    kernels: tuple[Kernels, ...]
    size: int
    changed: int


def private_blas(blas: Blas, cache: Cache) -> Callable[[], Blas]:
    """A way to get at the copy of a BLAS for us alone, whose results then stay on the thread that calls.

    The first time on a machine it is made ready meanwhile, in about 0.1 s. It is `blas` itself if that is no
    OpenBLAS or if it cannot be copied or loaded again.
    """
    if not blas.is_openblas:
        return lambda: blas
    found: list[Blas] = []

    def prepare() -> None:
        with suppress(OSError, CacheRefused):
            found.append(_prepared(blas, cache))

    worker = threading.Thread(target=prepare, name="symgraph-blas", daemon=True)
    worker.start()

    def ready() -> Blas:
        worker.join()
        return found[0] if found else blas

    return ready


def measured(blas: Blas, cache: Cache) -> tuple[Kernels, ...]:
    """The kernels of an OpenBLAS that `private_blas` compared on this machine, the best first; empty before it has."""
    known = _remembered(_memory(blas, cache))
    return known.kernels if known is not None else ()


def _prepared(blas: Blas, cache: Cache) -> Blas:
    """The copy, loaded, with the best kernels; both are made unless they are there."""
    memory = _memory(blas, cache)
    copy = memory.with_suffix(".so")
    known = _remembered(memory)
    if known is None or cache.stamp(copy) != (known.size, known.changed):
        kernels = known.kernels if known is not None else tuple(_compared(blas))
        cache.install_copy(Path(blas.path), copy)
        size, changed = cache.stamp(copy) or (0, 0)
        known = _Known(blas.path, kernels, size, changed)
        cache.install_text(json.dumps(asdict(known)), memory)
        _forget_others(cache)
    asked = known.kernels[0].asked if known.kernels and _KERNELS not in os.environ else ""
    with _set({**_ONE_THREAD, **({_KERNELS: asked} if asked else {})}):
        ours = open_blas(str(copy))
    return replace(ours, path=blas.path) if ours is not None else blas


def _memory(blas: Blas, cache: Cache) -> Path:
    """Where it is remembered what is best for this library on this machine."""
    status = os.stat(blas.path)
    user = os.environ.get(_KERNELS)
    key = repr((_PROBE, blas.path, status.st_size, status.st_mtime_ns, this_machine(), user))
    return cache.directory / f"blas-{digest(key.encode())[:16]}.json"


def _remembered(memory: Path) -> _Known | None:
    try:
        known = json.loads(memory.read_text())
        kernels = tuple(
            Kernels(str(k["asked"]), str(k["name"]), float(k["single"]), float(k["double"])) for k in known["kernels"]
        )
        return _Known(str(known["source"]), kernels, int(known["size"]), int(known["changed"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _forget_others(cache: Cache) -> None:
    """Remove the copies of libraries that are no more."""
    for memory in cache.directory.glob("blas-*.json"):
        known = _remembered(memory)
        if known is not None and not os.path.exists(known.source):
            memory.unlink(missing_ok=True)
            memory.with_suffix(".so").unlink(missing_ok=True)


def _compared(blas: Blas) -> list[Kernels]:
    """The kernels that the library chooses and those for the widest vectors, measured, the best first.

    What the user asks for is not compared to others.
    """
    own = _measured(blas, "")
    found = [own] if own is not None else []
    widest = _widest() if _KERNELS not in os.environ else None
    if widest is not None and (own is None or own.name.upper() != widest):
        other = _measured(blas, widest)
        found += [other] if other is not None else []
    return sorted(found, key=lambda kernels: kernels.rate, reverse=True)


def _widest() -> str | None:
    """The first kernels for x86 that use the widest vectors of this CPU, as the newer ones do for these products."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return None
    flags = set(next((line for line in text.splitlines() if line.startswith("flags")), "").split())
    if flags >= {"avx512f", "avx512bw", "avx512dq", "avx512vl"}:
        return "SKYLAKEX"
    return "HASWELL" if flags >= {"avx2", "fma"} else None


def _measured(blas: Blas, asked: str) -> Kernels | None:
    """The rates of the kernels asked for; None where they do not run."""
    import subprocess

    environment = {**os.environ, **_ONE_THREAD, **({_KERNELS: asked} if asked else {})}
    arguments = [blas.path, *blas.spelling, blas.integer]
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROBE, *arguments], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_PATIENCE, check=True, text=True,
        )  # fmt: skip
        name, single, double = done.stdout.split()
        return Kernels(asked, name, float(single), float(double))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


@contextmanager
def _set(variables: dict[str, str]) -> Iterator[None]:
    """The environment that C code sees, with some variables set; `os.environ`, which others may read, stays."""
    with _environment:
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
