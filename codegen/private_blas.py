"""The best BLAS for us alone: one of our own, or a copy of an OpenBLAS with the kernels that are the fastest here.

OpenBLAS takes its settings from the environment when it is loaded, and the one that numpy has loaded has those of the
user. It sees to threads of its own, which fight with ours, and it goes by lists of CPUs: one that is younger
than the list gets kernels for an older one, which take up to twice the time. A copy of the file is another library
to the system. What is the fastest is measured in processes of their own, once for each machine and library.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from codegen.blas import Blas, open_blas
from codegen.cache import Cache
from codegen.environment import set_for_c
from codegen.errors import CacheRefused, CompileError, NoCompiler
from codegen.own_blas import OwnBlas
from codegen.toolchain import digest, this_machine

_KERNELS = "OPENBLAS_CORETYPE"
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
_ONE_CORE = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
_PATIENCE = 20.0  # seconds after which a library that is being measured is given up

# Run by a Python that loads nothing else. Prints the float32 and float64 operations a second of the products of a
# training step, each of which takes half a millisecond: a layer of a small batch, what comes back through it, and what
# its weights get; and of one of square matrices. Then the name of the kernels, if the library tells.
_PROBE = """\
import ctypes, sys, time
path, before, after, integer = sys.argv[1:]
library = ctypes.CDLL(path)
size = getattr(ctypes, "c_" + integer[:-2])
flag = ctypes.c_int
products = (64, 512, 512, 0, 0, 0.0), (64, 512, 512, 0, 1, 0.0), (512, 512, 64, 1, 0, 1.0), (320, 320, 320, 0, 0, 0.0)
for letter, real in ("s", ctypes.c_float), ("d", ctypes.c_double):
    a, b, c = ((real * (512 * 512))() for _ in range(3))
    gemm = getattr(library, before + "cblas_" + letter + "gemm" + after)
    gemm.argtypes = [flag] * 3 + [size] * 3 + [real, type(a), size, type(b), size, real, type(c), size]
    work = seconds = 0.0
    for m, n, k, ta, tb, beta in products:
        best = float("inf")
        for _ in range(6):
            start = time.perf_counter()
            gemm(101, 111 + ta, 111 + tb, m, n, k, 1.0, a, m if ta else k, b, k if tb else n, beta, c, n)
            best = min(best, time.perf_counter() - start)
        work += 2.0 * m * n * k
        seconds += best
    print(work / seconds, end=" ")
name = getattr(library, before + "openblas_get_corename" + after, None)
if name is not None:
    name.restype = ctypes.c_char_p
    print(name().decode())
"""


@dataclass(frozen=True)
class Kernels:
    """One choice, measured on one core: our own library, or the other one with some of its kernels.

    own: it is our own
    asked: what is asked for in the environment; empty: the library chooses
    name: what the library calls itself, or the kernels
    single, double: float32 and float64 operations a second of the products of a training step
    """

    own: bool
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
    """What is remembered: the library found, the choices, the best first, and a copy by its size and time of change."""

    source: str
    kernels: tuple[Kernels, ...]
    size: int = 0
    changed: int = 0


class PrivateBlas:
    """The best BLAS for us alone, whose results then stay on the thread that calls; it may still be made ready.

    That is `own` or a copy of `blas`, the one that was found, in the cache of `own`; `blas` itself if that is the
    fastest but no OpenBLAS, or if it cannot be copied. The first time on a machine takes 0.6 s.
    """

    def __init__(self, blas: Blas | None, own: OwnBlas):
        self._found: list[Blas | None] = []
        self._instead = blas

        def prepare() -> None:
            with suppress(OSError, CacheRefused, CompileError, NoCompiler):
                self._found.append(_prepared(blas, own))

        self._worker = threading.Thread(target=prepare, name="symgraph-blas")
        self._worker.start()

    def is_ready(self) -> bool:
        """Whether it can be had at once."""
        return not self._worker.is_alive()

    def __call__(self) -> Blas | None:
        """It, once it is ready."""
        self._worker.join()
        return self._found[0] if self._found else self._instead


def measured(blas: Blas, own: OwnBlas) -> tuple[Kernels, ...]:
    """The choices that `PrivateBlas` compared on this machine, the best first; empty before it has."""
    known = _remembered(_memory(blas, own))
    return known.kernels if known is not None else ()


def _prepared(blas: Blas | None, own: OwnBlas) -> Blas | None:
    """The best one, loaded; what is not there yet is made."""
    if blas is None:
        return own.open()
    memory = _memory(blas, own)
    known = _remembered(memory)
    if known is None:
        known = _Known(blas.path, tuple(_compared(blas, own)))
        _remember(known, memory, own.cache)
    if known.kernels and known.kernels[0].own:
        return own.open() or blas
    return _copied(blas, known, memory, own.cache) if blas.is_openblas else blas


def _copied(blas: Blas, known: _Known, memory: Path, cache: Cache) -> Blas:
    """The copy of an OpenBLAS, loaded with the best kernels; it is made unless it is there."""
    copy = memory.with_suffix(".so")
    if cache.stamp(copy) != (known.size, known.changed):
        cache.install_copy(Path(blas.path), copy)
        size, changed = cache.stamp(copy) or (0, 0)
        _remember(replace(known, size=size, changed=changed), memory, cache)
    asked = known.kernels[0].asked if known.kernels and _KERNELS not in os.environ else ""
    with set_for_c({**_ONE_THREAD, **({_KERNELS: asked} if asked else {})}):
        ours = open_blas(str(copy))
    return replace(ours, path=blas.path) if ours is not None else blas


def _memory(blas: Blas, own: OwnBlas) -> Path:
    """Where it is remembered what is best on this machine, if this library was found."""
    stamp: tuple[int, ...] = ()
    with suppress(FileNotFoundError):  # only the loader knows where a plain name is
        status = os.stat(blas.path)
        stamp = status.st_size, status.st_mtime_ns
    user = os.environ.get(_KERNELS)
    key = repr((_PROBE, blas.path, stamp, this_machine(), own.identity, user))
    return own.cache.directory / f"blas-{digest(key.encode())[:16]}.json"


def _remembered(memory: Path) -> _Known | None:
    try:
        known = json.loads(memory.read_text())
        kernels = tuple(
            Kernels(bool(k["own"]), str(k["asked"]), str(k["name"]), float(k["single"]), float(k["double"]))
            for k in known["kernels"]
        )
        return _Known(str(known["source"]), kernels, int(known["size"]), int(known["changed"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(known: _Known, memory: Path, cache: Cache) -> None:
    cache.install_text(json.dumps(asdict(known)), memory)
    _forget_others(cache)


def _forget_others(cache: Cache) -> None:
    """Remove the copies of libraries that are no more."""
    for memory in cache.directory.glob("blas-*.json"):
        known = _remembered(memory)
        if known is not None and os.sep in known.source and not os.path.exists(known.source):
            memory.unlink(missing_ok=True)
            memory.with_suffix(".so").unlink(missing_ok=True)


def _compared(blas: Blas, own: OwnBlas) -> list[Kernels]:
    """The library found, with the kernels it chooses and those for the widest vectors, and our own: the best first.

    What the user asks for is not compared to others.
    """
    asked_for = blas.is_openblas and _KERNELS in os.environ
    ours = None
    with suppress(CompileError, NoCompiler):
        ours = own.open() if not asked_for else None  # built before the first is measured, which it would disturb
    usual = _measured(blas)
    found = [usual, _measured(ours, own=True) if ours is not None else None]
    widest = _widest() if blas.is_openblas and not asked_for else None
    if widest is not None and (usual is None or usual.name.upper() != widest):
        found.append(_measured(blas, widest))
    return sorted((k for k in found if k is not None), key=lambda kernels: kernels.rate, reverse=True)


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


def _measured(blas: Blas, asked: str = "", *, own: bool = False) -> Kernels | None:
    """The rates of a library with the kernels asked for; None where they do not run."""
    import subprocess

    environment = {**os.environ, **_ONE_CORE, **({_KERNELS: asked} if asked else {})}
    arguments = [blas.path, *blas.spelling, blas.integer]
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROBE, *arguments], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_PATIENCE, check=True, text=True,
        )  # fmt: skip
        single, double, *name = done.stdout.split()
        return Kernels(own, asked, name[0] if name else blas.name, float(single), float(double))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
