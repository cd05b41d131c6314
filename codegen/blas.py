"""The BLAS on this machine, as function pointers that compiled C is given when it is loaded.

First choice is the OpenBLAS that numpy brings along. `private_blas.py` makes a copy of it for us alone, or takes the
library of our own, whichever is faster.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# The compiled half of cffi, which modules made by cffi import too. Its FFI parses the few types we need by itself;
# that of cffi loads pycparser, for 15 ms.
import _cffi_backend

# What compiled C may call, in the order in which NAME_blas takes the pointers.
FUNCTIONS = ("sgemm", "dgemm", "sgemv", "dgemv")

Integer = Literal["int32_t", "int64_t"]

# How libraries spell the name of a function, and its integers: before `cblas_dgemm` or `openblas_…`, and after.
_SPELLINGS: tuple[tuple[str, str, Integer], ...] = (
    ("scipy_", "64_", "int64_t"),           # the OpenBLAS of wheels
    ("", "64_", "int64_t"),                 # OpenBLAS as Fedora and Julia build it
    ("scipy_", "", "int32_t"),
    ("", "$NEWLAPACK$ILP64", "int64_t"),    # Accelerate since macOS 13.3
    ("", "$NEWLAPACK", "int32_t"),
    ("", "", "int32_t"),
)

_ACCELERATE = "/System/Library/Frameworks/Accelerate.framework/Accelerate"
_SYSTEM = ("openblas", "blis", "mkl_rt", "cblas", "blas")

_FFI = _cffi_backend.FFI()
# NODELETE: the addresses stay good when nobody holds the library any more.
_LOAD = _FFI.RTLD_NOW | _FFI.RTLD_LOCAL | _FFI.RTLD_NODELETE


@dataclass(frozen=True)
class Blas:
    """A loaded BLAS with row-major (CBLAS) entry points. It stays loaded until the process ends.

    Attributes:
        path: the library, as it was opened
        name: what it says of itself, with its version if it does; else its file name
        integer: the C type of its integers
        addresses: of each of FUNCTIONS
        spelling: what its names have before and after those of CBLAS
        serial: a call does all its work on the thread that calls, so that threads of ours may call it side by side
        any_borders: the bits of a product do not depend on the parts it is computed in, as runtime.py makes them
    """

    path: str
    name: str
    integer: Integer
    addresses: Mapping[str, int]
    spelling: tuple[str, str] = ("", "")
    serial: bool = False
    any_borders: bool = False

    @property
    def is_openblas(self) -> bool:
        """Whether it is an OpenBLAS, which takes its settings from the environment when it is loaded."""
        return self.name.startswith("OpenBLAS")


def find_blas(candidates: Iterable[str | Path] | None = None) -> Blas | None:
    """The first BLAS that can be loaded and has all of FUNCTIONS.

    `candidates` are libraries to try instead of those of numpy, Accelerate, and the system.
    """
    for candidate in _candidates() if candidates is None else candidates:
        blas = open_blas(str(candidate))
        if blas is not None:
            return blas
    return None


def _candidates() -> Iterator[str | Path]:
    """The libraries worth trying, best first."""
    numpy = importlib.util.find_spec("numpy")
    if numpy is not None and numpy.origin is not None:
        package = Path(numpy.origin).parent
        for folder in package.with_name("numpy.libs"), package / ".dylibs":
            yield from sorted(folder.glob("*openblas*"))
    if sys.platform == "darwin":
        yield _ACCELERATE
    from ctypes.util import find_library  # which starts processes

    for name in _SYSTEM:
        if found := find_library(name):
            yield found


def open_blas(path: str) -> Blas | None:
    """The library at `path`; None if it cannot be loaded or lacks a function."""
    try:
        library = _cffi_backend.load_library(path, _LOAD)
    except OSError:
        return None

    def function(c_type: str, symbol: str) -> Callable | None:
        try:
            return library.load_function(_FFI.typeof(c_type), symbol)
        except AttributeError:
            return None

    for before, after, integer in _SPELLINGS:
        found = {name: function("void(*)(void)", f"{before}cblas_{name}{after}") for name in FUNCTIONS}
        if None in found.values():
            continue
        describe = function("char *(*)(void)", f"{before}openblas_get_config{after}")
        threads = function("int(*)(void)", f"{before}openblas_get_num_threads{after}")
        kind = function("int(*)(void)", f"{before}openblas_get_parallel{after}")
        name = _FFI.string(describe()).decode(errors="replace").strip() if describe else Path(path).name
        # One built with OpenMP (2) asks OpenMP for the number at every call.
        serial = threads is not None and kind is not None and kind() != 2 and threads() == 1
        return Blas(
            path=path,
            name=name,
            integer="int64_t" if "USE64BITINT" in name.split() else integer,  # Debian's libopenblas64 has plain names
            addresses={name: int(_FFI.cast("uintptr_t", pointer)) for name, pointer in found.items()},
            spelling=(before, after),
            serial=serial,
        )
    return None
