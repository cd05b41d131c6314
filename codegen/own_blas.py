"""A BLAS of our own: C in `products/`, compiled once for this machine by the compiler that compiles functions.

It takes part wherever the best library is chosen (private_blas.py), and is the one there is where none is installed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from codegen.blas import Blas, Integer, open_blas
from codegen.cache import Cache, key
from codegen.toolchain import Toolchain

NAME = "symgraph's own"
_FILE = "products"
_PARTS = ("vectors", "gemm", "few", "cblas", "gemv")
_TYPES = (("float", "s"), ("double", "d"))

# The vectors are written out; a multiplication and the addition after it may be one instruction.
_FLAGS = ("-fno-tree-vectorize", "-ffp-contract=fast")


@dataclass(frozen=True)
class OwnBlas:
    """Our own library as one compiler makes it, in one cache, with integers of one type."""

    toolchain: Toolchain
    cache: Cache
    integer: Integer

    @property
    def identity(self) -> str:
        """What tells it from others: a digest of all that decides its code."""
        return key(_text(), self.toolchain, self._flags)

    def build(self) -> Path:
        """The library, compiled where it is not there yet, in about half a second.

        Raises CompileError or NoCompiler, also where the compiler lacks vector types; CacheRefused.
        """
        return self.cache.build(_text(), self.toolchain, self._flags, name=_FILE)

    def open(self) -> Blas | None:
        """The library, loaded; raises as `build`. None where the system does not load it."""
        blas = open_blas(str(self.build()))
        return blas and replace(blas, name=NAME, integer=self.integer, serial=True, any_borders=True)

    @property
    def _flags(self) -> tuple[str, ...]:
        return (*_FLAGS, f"-DSG_BLAS_INT={self.integer}")


@cache
def _text() -> str:
    """The C: what both types share, then the products for each."""
    home = Path(__file__).with_name(_FILE)
    common, *products = ((home / f"{part}.c").read_text(encoding="utf-8") for part in _PARTS)
    parts = [common]
    for real, letter in _TYPES:
        names = {"REAL": real, "GEMM": f"cblas_{letter}gemm", "GEMV": f"cblas_{letter}gemv"}
        parts += [f"#define {name} {value}" for name, value in names.items()]
        parts += products
        parts += [f"#undef {name}" for name in names]
    return "\n".join([*parts, ""])
