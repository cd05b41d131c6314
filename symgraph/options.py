"""What can be set: options of one compilation, and the default float. Only this file reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from symgraph.errors import DtypeError

# What Theano programs set or ask for that has no meaning here, with Theano's defaults; and the sections of such names.
THEANOS: dict[str, object] = dict(
    allow_gc=True, assert_no_cpu_op="ignore", base_compiledir="", cast_policy="custom", compiledir="",
    compute_test_value="off", compute_test_value_opt="off", cxx="", deterministic="default", device="cpu",
    enable_initial_driver_test=False, exception_verbosity="low", force_device=False, init_gpu_device="",
    int_division="int", linker="cvm", mode="Mode", on_opt_error="warn", on_unused_input="raise", openmp=False,
    openmp_elemwise_minsize=200000, optimizer="fast_run", optimizer_excluding="", optimizer_including="",
    optimizer_verbose=False, pickle_test_value=True, print_active_device=True, print_test_value=False, profile=False,
    profile_memory=False, profile_optimizer=False, reoptimize_unpickled_function=False, warn_float64="ignore",
)  # fmt: skip
SECTIONS = """
    DebugMode NanGuardMode blas compile conv ctc cuda dnn experimental gcc gpuarray lib metaopt numpy nvcc profiling
    scan tensor traceback unittests warn
""".split()


class Config:
    """Process-wide defaults, under Theano's names: `floatX` is the dtype of `T.matrix()` and of Python floats.

    Theano's other names, such as `device`, `mode`, `compute_test_value` or `gpuarray.preallocate`, can be set and asked
    for, but change nothing. Any other name raises AttributeError.
    """

    def __init__(self) -> None:
        self._floatX = "float64"
        for section in SECTIONS:
            setattr(self, section, SimpleNamespace())

    def __setattr__(self, name: str, value: object) -> None:
        if name not in ("floatX", "_floatX", *THEANOS, *SECTIONS):
            raise AttributeError(_unknown(f"config.{name}", "config.floatX"))
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name not in THEANOS:
            raise AttributeError(_unknown(f"config.{name}", "config.floatX"))
        return THEANOS[name]

    @property
    def floatX(self) -> str:
        """float64 (the default) or float32."""
        return self._floatX

    @floatX.setter
    def floatX(self, dtype: str) -> None:
        if dtype not in ("float32", "float64"):
            raise DtypeError(f"floatX is 'float32' or 'float64', not {dtype!r}")
        self._floatX = dtype


def _unknown(name: str, known: str) -> str:
    return f"there is no {name}, but there is {known}; Theano's other names, such as device, are taken without effect"


config = Config()


@dataclass(frozen=True)
class NanGuardMode:
    """A mode of `function`: a call fails, and changes nothing, where a result is not a finite number.

    "nan_guard" stands for one that minds NaN and infinity. The arguments are Theano's:
    nan_is_error, inf_is_error, big_is_error: what counts, in outputs and updates; big is an absolute value over 1e10
    optimizer: None compiles the graph as written, "default" with all rewrites
    linker: Theano's; not used
    """

    nan_is_error: bool = True
    inf_is_error: bool = True
    big_is_error: bool = True
    optimizer: str | None = "default"
    linker: object = None


@dataclass(frozen=True)
class Options:
    """How one function is compiled; handed down, never changed.

    mode: "c" compiles; "numpy" interprets
    optimize: apply the rewrite books; without them the graph is compiled as written
    fuse: join ops into common loops
    profile: take the time of every step
    lines: let debuggers and profilers speak of the user's lines
    guard: what a call fails for, if its results are not finite
    calls: "c": arguments are checked and results made by an extension module, once it is built; "python": without one.
        `SYMGRAPH_FLAGS=calls=python` makes that the default
    cc: the C compiler's command, `$CC` by default; None lets symgraph look for one
    cache: the directory of compiled code, `$SYMGRAPH_CACHE` by default; None takes the user's cache directory
    """

    mode: str = "c"
    optimize: bool = True
    fuse: bool = True
    profile: bool = False
    lines: bool = False
    guard: NanGuardMode | None = None
    calls: str = field(default_factory=lambda: _flags().get("calls", "c"))
    cc: str | None = field(default_factory=lambda: os.environ.get("CC"))
    cache: Path | None = field(default_factory=lambda: _path("SYMGRAPH_CACHE"))

    @classmethod
    def of(cls, mode: str | NanGuardMode | None, profile: bool, debug: str | None) -> Options:
        """The options that these arguments of `function` stand for; raises ValueError for words that mean nothing."""
        guard = mode if isinstance(mode, NanGuardMode) else None
        if mode in ("nan_guard", "NanGuardMode"):
            guard = NanGuardMode(big_is_error=False)
        if guard is None and mode not in (None, "c", "numpy", "FAST_RUN", "FAST_COMPILE"):
            raise ValueError(
                "mode is 'c', 'numpy', 'nan_guard', or Theano's 'FAST_RUN', 'FAST_COMPILE' or NanGuardMode(), "
                f"not {mode!r}"
            )
        if debug not in (None, "line"):
            raise ValueError(f"debug is None or 'line', not {debug!r}")
        return cls(
            mode="numpy" if mode == "numpy" else "c",
            optimize=mode != "FAST_COMPILE"
            and (guard is None or guard.optimizer not in (None, "None", "fast_compile")),
            profile=bool(profile),
            lines=debug == "line",
            guard=guard,
        )


def environment() -> Mapping[str, str]:
    """The variables of the environment, for those who look up directories in it."""
    return os.environ


def _path(name: str) -> Path | None:
    return Path(os.environ[name]) if os.environ.get(name) else None


FLAGS = {"floatX": ("float32", "float64"), "calls": ("c", "python")}


def _flags() -> dict[str, str]:
    """What `SYMGRAPH_FLAGS` says: `name=value`, separated by commas. Raises ValueError for what means nothing."""
    flags = {}
    for part in filter(None, map(str.strip, os.environ.get("SYMGRAPH_FLAGS", "").split(","))):
        name, _, value = map(str.strip, part.partition("="))
        if name not in FLAGS and name.partition(".")[0] not in (*THEANOS, *SECTIONS):
            raise ValueError(_unknown(f"{name!r} for SYMGRAPH_FLAGS", " and ".join(f"{name}=…" for name in FLAGS)))
        if name in FLAGS and value not in FLAGS[name]:
            raise ValueError(f"{name} in SYMGRAPH_FLAGS is {' or '.join(map(repr, FLAGS[name]))}, not {value!r}")
        flags[name] = value
    return flags


if "floatX" in _flags():
    config.floatX = _flags()["floatX"]
