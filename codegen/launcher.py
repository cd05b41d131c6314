"""The extension module that calls compiled functions: C of its own, built once for a Python, numpy and compiler.

Building it takes longer than a small function does, so it goes on in the background, and calls run in Python until the
module is there.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np

from codegen.cache import Cache
from codegen.errors import CacheRefused, CompileError, NoCompiler
from codegen.toolchain import Toolchain

_NAME = "launcher"
_PARTS = ("memory", "arrays", "results", "launch", "program", "calls")
_UNDEFINED = ("-Wl,-z,defs",)  # Python's own functions are found when the module is loaded
_APPLE = ("-undefined", "dynamic_lookup")


@dataclass
class _Attempt:
    """What has become of the module in this process: it, or why there is none, or neither while it is built."""

    module: ModuleType | None = None
    refused: str = ""
    builder: threading.Thread | None = None


_attempt = _Attempt()
_starting = threading.Lock()


def launcher(toolchain: Toolchain, cache: Cache, *, wait: bool = False) -> ModuleType | None:
    """The extension module, if it is there by now; the first use in a process starts to build it where needed.

    wait: until it is built
    """
    if _attempt.module is None and not _attempt.refused:
        with _starting:
            builder = _attempt.builder
            if builder is None or (not builder.is_alive() and _is_open()):  # a fork has no threads but one
                _begin(toolchain, cache)
            builder = _attempt.builder
        if wait and builder is not None:
            builder.join()
    return _attempt.module


def refusal() -> str:
    """Why there is no extension module; empty where there is one, or none was asked for yet."""
    return _attempt.refused


def _is_open() -> bool:
    return _attempt.module is None and not _attempt.refused


def _begin(toolchain: Toolchain, cache: Cache) -> None:
    """Load the module from the cache, or start to build it."""
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        _attempt.refused = "it is made for CPython with a global lock"
        return
    try:
        text, folders = _text(), _folders()
        toolchain = _in_background(toolchain)
        flags = ["-O2", *(word for folder in folders for word in ("-isystem", str(folder)))]
        flags += _APPLE if sys.platform == "darwin" else ()
        found = cache.find(text, toolchain, flags, name=_NAME)
    except OSError as error:
        _attempt.refused = str(error)
        return
    if found is not None:
        _load(found)
        return

    def build() -> None:
        try:
            _load(cache.build(text, toolchain, flags, name=_NAME))
        except (CompileError, NoCompiler, CacheRefused, OSError) as error:
            _attempt.refused = str(error)

    _attempt.builder = threading.Thread(target=build, name="symgraph builds its launcher")
    _attempt.builder.start()


def _in_background(toolchain: Toolchain) -> Toolchain:
    """The compiler, giving way to what is compiled at the same time and waited for."""
    nice = ("/usr/bin/nice", "-n", "5") if os.access("/usr/bin/nice", os.X_OK) else ()
    command = (*nice, *toolchain.command)
    return replace(toolchain, command=command, flags=tuple(x for x in toolchain.flags if x not in _UNDEFINED))


def _load(path: Path) -> None:
    spec = spec_from_file_location(_NAME, path, loader=ExtensionFileLoader(_NAME, str(path)))
    assert spec is not None and spec.loader is not None
    try:
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        _attempt.refused = str(error)
        return
    _attempt.module = module


def _text() -> str:
    """The C, which names what it is built for."""
    home = Path(__file__).with_name("extension")
    head = f"/* for Python {sys.version.split()[0]}{EXTENSION_SUFFIXES[0]} and numpy {np.__version__} */"
    return "\n".join([head, *((home / f"{part}.c").read_text(encoding="utf-8") for part in _PARTS)])


def _folders() -> Iterator[Path]:
    """The directories of Python's and numpy's headers; FileNotFoundError where they are not installed."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}{sys.abiflags}"
    headers = Path(sys.base_prefix, "include", version)
    if not (headers / "Python.h").exists():
        import sysconfig  # reads Python's whole build configuration, 3 ms

        headers = Path(sysconfig.get_path("include"))
    for folder, header in ((headers, "Python.h"), (Path(np.get_include()), "numpy/arrayobject.h")):
        if not (folder / header).exists():
            package = " (Debian, Ubuntu: apt install python3-dev)" if header == "Python.h" else ""
            raise FileNotFoundError(f"there is no {header} in {folder}{package}")
        yield folder
