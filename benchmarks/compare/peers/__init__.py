"""The peers: which there are, in which environment each runs, and what its file offers.

A peer's file has a function for each program it can do, which takes the workload and gives the `Call` to be timed. It
may have `start()`, what a process does once before it compiles anything. It is imported in that peer's process alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
)  # fmt: skip


def as_list(result: Any) -> list[Any]:
    """One result, or several, as a list."""
    return list(result) if isinstance(result, (list, tuple)) else [result]


@dataclass(frozen=True)
class Call:
    """What is timed: `function(*args)`.

    outputs: the arrays of what a call returned, in the order of the reference's; None where it computes nothing
    state: what the calls so far have left in the program's state
    moved: bytes that a call reads and writes, where the library can tell
    repeats: how often one call does the work, where it is C that repeats it
    """

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    outputs: Callable[[Any], list[Any]] | None = as_list
    state: Callable[[], Mapping[str, Any]] = dict
    moved: Callable[[], int | None] = lambda: None
    repeats: int = 1


@dataclass(frozen=True)
class Peer:
    """One column of the table.

    package: as PyPI calls it
    module: the file in this folder
    option: what the file is told, where it serves several peers
    needs: a flag of the processor without which this peer is left out
    role: "own" for symgraph's columns, "limit" for what the machine can do
    slow: takes long to compile: left out by `--quick` unless asked for
    """

    name: str
    package: str
    module: str
    option: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: str = ""
    role: str = "peer"
    slow: bool = False

    def variables(self, threads: int, cache: Path) -> dict[str, str]:
        """The environment of its process."""
        directories = {
            "SYMGRAPH_CACHE": cache, "NUMBA_CACHE_DIR": cache, "TORCHINDUCTOR_CACHE_DIR": cache,
            "JAX_COMPILATION_CACHE_DIR": cache, "PYTENSOR_FLAGS": f"base_compiledir={cache}", "TMPDIR": cache,
        }  # fmt: skip
        numbers = dict.fromkeys(THREADS, str(threads))
        return {**numbers, **{k: str(v) for k, v in directories.items()}, **self.environment}


def processor_has(flag: str) -> bool:
    """Whether the processor has a feature, by its name in /proc/cpuinfo."""
    try:
        return flag in Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False


# OpenBLAS takes some processors that have AVX-512 for older ones; it believes what it is told before it is loaded.
AVX512 = {"OPENBLAS_CORETYPE": "SKYLAKEX"} if processor_has("avx512f") else {}
ONE_JOB = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}  # no pool of compilers that would outlive the measurement

PEERS = (
    Peer("limit", "", "limit_peer", role="limit"),
    Peer("symgraph", "symgraph", "symgraph_peer", role="own"),
    Peer("bound", "symgraph", "symgraph_peer", option="bound", role="own"),
    Peer("numpy", "numpy", "numpy_peer"),
    Peer("numpy-avx512", "numpy", "numpy_peer", environment=AVX512, needs="avx512f"),
    Peer("numexpr", "numexpr", "numexpr_peer"),
    Peer("numba", "numba", "numba_peer", environment=AVX512),
    Peer("casadi", "casadi", "casadi_peer"),
    Peer("pytensor", "pytensor", "pytensor_peer", option="cvm", environment=AVX512),
    Peer("pytensor-numba", "pytensor", "pytensor_peer", option="numba", environment=AVX512, slow=True),
    Peer("jax", "jax", "jax_peer"),
    Peer("torch", "torch", "torch_peer"),
    Peer("torch.compile", "torch", "torch_peer", option="compile", environment=ONE_JOB, slow=True),
)
