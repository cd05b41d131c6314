"""C text to a loaded library whose entry points Python can call."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _cffi_backend  # not cffi, for the reason that blas.py gives

from codegen.blas import FUNCTIONS, Blas
from codegen.cache import Cache
from codegen.errors import CacheRefused
from codegen.private_blas import PrivateBlas
from codegen.threads import cell, short_spin
from codegen.toolchain import Toolchain

_FFI = _cffi_backend.FFI()
_LOAD = _FFI.RTLD_NOW | _FFI.RTLD_LOCAL | _FFI.RTLD_NODELETE  # so that entry points outlive their Module
_PLAN = _FFI.typeof("int(*)(void *const *, int64_t *)")
_RUN = _FFI.typeof("int(*)(void *const *, const int64_t *, void *)")
_BLAS = _FFI.typeof("void(*)(void *const *)")
_FUNCTIONS = _FFI.typeof("void *[]")
_THREADS = _FFI.typeof("void(*)(const int32_t *)")
_CLOCKS = _FFI.typeof("double *(*)(void)")


@dataclass(frozen=True)
class Module:
    """A compiled function. Its library stays loaded until the process ends, so pointers into it stay good.

    Attributes:
        name: of the function in C
        ffi: makes the arguments (`new`, `from_buffer`) and turns entry points into addresses (`cast`)
        lib: the library, as cffi loaded it
        plan: `int NAME_plan(void *const *arrays, int64_t *sizes)`
        run: `int NAME(void *const *arrays, const int64_t *sizes, void *workspace)`
        library_path: the shared library
        source_path: the C it was made from
        handover: gives it the BLAS it calls; None for one that calls none
    """

    name: str
    ffi: Any
    lib: Any
    plan: Callable[[Any, Any], int]
    run: Callable[[Any, Any, Any], int]
    library_path: Path
    source_path: Path
    handover: "Handover | None" = None

    def has_blas(self, wait: bool = False) -> bool:
        """Whether it has the BLAS that it calls, if any; `wait` until that is ready. Before, loops do all products."""
        return self.handover is None or self.handover(wait)

    @property
    def run_address(self) -> int:
        """Where `run` is in memory; waits for the BLAS, for nobody else would."""
        self.has_blas(wait=True)
        return int(self.ffi.cast("intptr_t", self.run))

    @property
    def plan_address(self) -> int:
        """Where `plan` is in memory."""
        return int(self.ffi.cast("intptr_t", self.plan))

    def clocks(self) -> Any:
        """`double *NAME_seconds(void)`: the clocks of a program that has some. ValueError for one that has none."""
        try:
            return self.lib.load_function(_CLOCKS, f"{self.name}_seconds")()
        except AttributeError as error:
            raise ValueError(f"the C of {self.name} has no clocks: {error}") from error


class Handover:
    """Gives a unit the BLAS that it calls, once that is ready."""

    def __init__(self, receive: Callable[[Any], None], blas: PrivateBlas):
        """`receive` is the unit's NAME_blas."""
        self._receive = receive
        self._blas: PrivateBlas | None = blas

    def __call__(self, wait: bool) -> bool:
        """Whether it has been done; `wait` until it has."""
        blas = self._blas  # which another thread may be handing over as well
        if blas is not None and (wait or blas.is_ready()):
            hand_over(self._receive, blas())
            self._blas = blas = None
        return blas is None


def hand_over(receive: Callable[[Any], None], blas: Blas | None) -> None:
    """Call a unit's NAME_blas, if there is a BLAS."""
    if blas is not None:
        addresses = [*(blas.addresses[function] for function in FUNCTIONS), blas.serial + blas.any_borders]
        receive(_FFI.new(_FUNCTIONS, [_FFI.cast("void *", address) for address in addresses]))


def address(array: Any) -> int:
    """Where the memory of a contiguous array starts."""
    return int(_FFI.cast("intptr_t", _FFI.from_buffer(array)))


def load(
    c_text: str, *, name: str, uses_blas: bool, toolchain: Toolchain, cache: Cache, blas: Blas | None,
    private: PrivateBlas | None = None,
) -> Module:  # fmt: skip
    """Compile the C of one function, or take it from the cache, and load it.

    Args:
        c_text: defines NAME_plan and NAME, and NAME_blas if `uses_blas`; docs/internals.md has their types
        name: NAME, a C identifier in ASCII
        uses_blas: the C calls BLAS where it is given one; it sees SG_BLAS_INT, the type of its integers
        blas: given to the C if it `uses_blas`; None: none is, and the C does without
        private: the one to use instead, which may not be ready yet; its integers are those of `blas`, or of 64 bits

    Raises:
        CompileError, NoCompiler, CacheRefused: as `Cache.build`; CacheRefused also if the system will not load
            code from the directory of the cache
        ValueError: the C lacks an entry point, or `name` is no identifier
    """
    flags = [f"-DSG_BLAS_INT={blas.integer}"] if uses_blas and blas is not None else []
    path = cache.build(c_text, toolchain, flags, name=name)
    try:
        with short_spin():
            library = _cffi_backend.load_library(str(path), _LOAD)
    except OSError as error:
        raise CacheRefused(f"the system does not load {path} ({error}); if the file system is mounted noexec, "
                           "set $SYMGRAPH_CACHE to a directory on another") from error
    try:
        plan = library.load_function(_PLAN, f"{name}_plan")
        run = library.load_function(_RUN, name)
        receive = library.load_function(_BLAS, f"{name}_blas") if uses_blas else None
    except AttributeError as error:
        raise ValueError(f"the C of {name} lacks an entry point: {error}") from error
    with suppress(AttributeError):  # it has no use for threads
        library.load_function(_THREADS, f"{name}_threads")(cell())
    handover = Handover(receive, private) if receive is not None and private is not None else None
    if receive is not None and private is None:
        hand_over(receive, blas)
    return Module(name, _FFI, library, plan, run, path, path.with_suffix(".c"), handover)
