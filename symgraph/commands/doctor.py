"""`python -m symgraph doctor`: what symgraph found on this machine, whether it works, and what would mend it."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from codegen.blas import Blas
from codegen.cache import Cache
from codegen.errors import CacheRefused, CompileError, NoCompiler
from codegen.launcher import launcher, refusal
from codegen.machine import measure
from codegen.private_blas import measured
from codegen.toolchain import Toolchain, find_toolchain
from symgraph.commands.cache import open_cache, summary
from symgraph.commands.sizes import duration, rate
from symgraph.compiler import default_blas, default_private_blas, own_blas
from symgraph.function import Function
from symgraph.graph.types import TensorType
from symgraph.ops.elementary import exp
from symgraph.options import Options, environment
from symgraph.signature import make_signature

EXAMPLES = """\
Shows the compiler and its flags, the BLAS and what it does a second, the machine's limits,
the cache and the versions, and compiles and runs a small function:

    python -m symgraph doctor

What is missing is said together with the one command that mends it. The exit status is 0 if
functions are compiled here, and 1 if they would run interpreted, or not at all. The first run
measures the machine, for about a second.
"""

NEEDED = ("numpy", "cffi", "sympy")
USEFUL = {"pygments": "C in colour in notebooks"}


@dataclass
class Findings:
    """Lines to print, problems that keep functions from being compiled, and what else could be better."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)

    def add(self, what: str, *lines: str) -> None:
        """One thing found, on one line or several."""
        self.rows += [(what if k == 0 else "", line) for k, line in enumerate(lines)]


def add(parser: argparse.ArgumentParser) -> None:
    """The command takes no arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; 0 if functions are compiled here, otherwise 1."""
    found = Findings()
    options = Options()
    _versions(found)
    cache = _cache(found, options)
    toolchain = _compiler(found, options, cache)
    blas = _blas(found, toolchain, cache)
    _machine(found, toolchain, cache, blas)
    if toolchain is not None and cache is not None:
        _calls(found, options, toolchain, cache)
        _trial(found, options)
    for what, line in found.rows:
        print(f"{what:<12}{line}")
    for title, entries in (("Missing", found.problems), ("Could be better", found.advice)):
        if entries:
            print(f"\n{title}")
            print("\n".join(f"  {line}" for entry in entries for line in entry.splitlines()))
    print(f"\n{'Functions are compiled here.' if not found.problems else 'Functions are NOT compiled here.'}")
    return 1 if found.problems else 0


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _versions(found: Findings) -> None:
    here = Path(__file__).parents[1]
    found.add("symgraph", f"{_version('symgraph') or 'not installed, run'} from {here}")
    found.add("python", f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}")
    install = f"{shlex.quote(sys.executable)} -m pip install"
    versions = {name: _version(name) for name in (*NEEDED, *USEFUL)}
    found.add("packages", ", ".join(f"{name} {version or '(missing)'}" for name, version in versions.items()))
    for name in (name for name, version in versions.items() if version is None):
        why = f" ({USEFUL[name]})" if name in USEFUL else ", which symgraph requires"
        found.advice.append(f"{name} is missing{why}: {install} {name}")


def _cache(found: Findings, options: Options) -> Cache | None:
    """The cache that functions use, which is a temporary one where the directory is refused."""
    try:
        cache = open_cache(options)
    except CacheRefused as error:
        found.advice.append(f"what is compiled is kept for one process alone: {error}")
        return _temporary_cache(found)
    found.add("cache", f"{cache.directory}: {summary(cache)}")
    return cache


def _temporary_cache(found: Findings) -> Cache | None:
    try:
        cache = Cache.temporary()
    except CacheRefused as error:
        found.problems.append(str(error))
        return None
    found.add("cache", f"{cache.directory}: until this process ends")
    return cache


def _compiler(found: Findings, options: Options, cache: Cache | None) -> Toolchain | None:
    if cache is None:
        return None
    try:
        toolchain = find_toolchain(options.cc, probe_dir=cache.directory)
    except NoCompiler as error:
        found.problems.append(str(error))
        return None
    found.add("compiler", shlex.join(toolchain.command), *_announced(toolchain), " ".join(toolchain.flags))
    if "-DSG_SIMD" not in toolchain.flags:
        found.advice.append("the compiler refuses -fopenmp-simd, without which fewer loops are vectorized: try gcc")
    return toolchain


def _announced(toolchain: Toolchain) -> Iterator[str]:
    """What the compiler says of itself."""
    try:
        done = subprocess.run(
            [*toolchain.command, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return
    yield from done.stdout.splitlines()[:1]


def _blas(found: Findings, toolchain: Toolchain | None, cache: Cache | None) -> Blas | None:
    """The BLAS that functions call: our own library, or a copy of the one found, where there can be one."""
    blas = default_blas()
    ours = default_private_blas(toolchain, cache)() if toolchain is not None and cache is not None else blas
    if blas is None:
        wheel = f"{shlex.quote(sys.executable)} -m pip install --force-reinstall --only-binary=:all: numpy"
        found.advice.append(f"no BLAS was found, and numpy's own products are slow; its wheel brings one: {wheel}")
    if ours is None:
        found.add("BLAS", "none: matrix products run as loops")
        return None
    width = {"int32_t": 32, "int64_t": 64}[ours.integer]
    whose = "for us alone, on our threads" if ours.serial else "with threads of its own"
    found.add("BLAS", ours.name, ours.path, f"{width}-bit integers, {whose}")
    if blas is not None and toolchain is not None and cache is not None:
        for k, kernels in enumerate(measured(blas, own_blas(toolchain, cache))):
            rates = f"{rate(kernels.single, 'FLOP')} in float32, {rate(kernels.double, 'FLOP')} in float64"
            found.add("", f"{kernels.name}: {rates} on one core{'' if k else ', chosen'}")
    return ours


def _machine(found: Findings, toolchain: Toolchain | None, cache: Cache | None, blas: Blas | None) -> None:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = environment().get("OMP_NUM_THREADS")
    cores = f"{allowed} core{'s' * (allowed > 1)}" + (f" of {os.cpu_count()}" if allowed != os.cpu_count() else "")
    found.add("processor", f"{platform.machine()}, {cores}{f', OMP_NUM_THREADS={limit}' if limit else ''}")
    if toolchain is None or cache is None:
        return
    try:
        rates = measure(toolchain, cache, blas)
    except (CompileError, NoCompiler, CacheRefused, OSError) as error:
        found.advice.append(f"this machine could not be measured: {error}")
        return
    core = f"memory {rate(rates.bandwidth, 'B')}, one core's arithmetic {rate(rates.arithmetic, 'FLOP')} in float64"
    products = f"{rate(rates.product_single, 'FLOP')} in float32, {rate(rates.product, 'FLOP')} in float64"
    whose = " on one core" if blas is not None and blas.serial else ""
    found.add("measured", core, *([f"matrix product by BLAS {products}{whose}"] if blas is not None else []))


def _calls(found: Findings, options: Options, toolchain: Toolchain, cache: Cache) -> None:
    """Whether the extension module that calls compiled functions is there; it is built where it is not."""
    if options.calls != "c":
        found.add("calls", "by Python, as SYMGRAPH_FLAGS says")
        return
    module = launcher(toolchain, cache, wait=True)
    found.add("calls", f"by {module.__file__}" if module is not None else "by Python")
    if module is None:
        first = refusal().strip().splitlines()[0]
        found.advice.append(f"each call takes some microseconds longer without the extension module: {first}")


def _trial(found: Findings, options: Options) -> None:
    """Compile a function without the cache, call it, and compare."""
    x = TensorType("float64", (None,))("x")
    values = np.linspace(-1, 1, 1000)
    try:
        with tempfile.TemporaryDirectory(prefix="symgraph-") as folder:
            trial = Function(make_signature([x], exp(x) + 1, name="trial"), replace(options, cache=Path(folder)), 0.0)
            stages = {stage: seconds for stage, seconds in trial.timings.items() if stage != "check"}
            started = time.perf_counter()
            result = trial(values)
            call = time.perf_counter() - started
    except (CompileError, NoCompiler, CacheRefused, OSError) as error:
        found.problems.append(f"a small function cannot be compiled: {error}")
        return
    if not np.allclose(result, np.exp(values) + 1, rtol=1e-14):
        found.problems.append("a small function was compiled and gives wrong numbers: please report this output")
        return
    told = f"compiled in {duration(sum(stages.values()))}, of which the C compiler took {duration(stages['compile'])}"
    found.add("trial", f"{told}; first call {duration(call)}; the result is right")
