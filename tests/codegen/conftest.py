"""What the tests of loop programs share: one printed, compiled and called on numpy's memory."""

import functools
import os

import numpy as np
import pytest

from codegen import private_blas
from codegen.blas import Blas, find_blas
from codegen.c_printer import print_program
from codegen.cache import Cache
from codegen.errors import NoCompiler
from codegen.module import load
from codegen.own_blas import OwnBlas
from codegen.toolchain import find_toolchain
from codegen.verify import verify


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """`run(program, arrays, given, blas="best", before="")` gives the number that the program returns.

    Arrays are written in place; the workspace has 4096 bytes. With `blas` a program that uses one gets the best of
    this machine, our "own", or an "other", which is a copy of the OpenBLAS found; or that given. With None, it gets
    none. `before` is C that stands before its own.
    """
    folder = tmp_path_factory.mktemp("programs")
    try:
        toolchain = find_toolchain(os.environ.get("CC"), probe_dir=folder)
    except NoCompiler as error:
        pytest.skip(str(error))
    cache = Cache(folder / "cache")
    found = find_blas()
    own = OwnBlas(toolchain, cache, found.integer if found is not None else "int64_t")

    @functools.cache
    def library(which):
        if which == "best":
            return private_blas.PrivateBlas(found, own)()
        if which == "own":
            return own.open()
        if found is None or not found.is_openblas:
            pytest.skip("no OpenBLAS on this machine")
        known = private_blas._Known(found.path, (), 0, 0)
        return private_blas._copied(found, known, cache.directory / "blas-other.json", cache)

    def run(program, arrays, given=(), blas="best", before=""):
        verify(program)
        given_blas = blas if isinstance(blas, Blas) else library(blas) if blas and program.uses_blas else None
        module = load(
            before + print_program(program), name=program.name, uses_blas=given_blas is not None, toolchain=toolchain,
            cache=cache, blas=given_blas,
        )  # fmt: skip
        ffi = module.ffi
        pointers = ffi.new("void *[]", [ffi.from_buffer(a) for a in arrays] or 1)
        sizes = ffi.new("int64_t[]", [*given, *[0] * (len(program.derived) + 1)])
        workspace = np.empty(4096, np.uint8)
        return module.plan(pointers, sizes) or module.run(pointers, sizes, ffi.from_buffer(workspace))

    return run
