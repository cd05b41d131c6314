"""What the tests of loop programs share: one printed, compiled and called on numpy's memory."""

import functools
import os

import numpy as np
import pytest

from codegen.blas import find_blas
from codegen.c_printer import print_program
from codegen.cache import Cache
from codegen.errors import NoCompiler
from codegen.module import load
from codegen.private_blas import private_blas
from codegen.toolchain import find_toolchain
from codegen.verify import verify


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """`run(program, arrays, given, blas=True)` gives the number that the program returns; arrays are written in place.

    Its workspace has 4096 bytes; with `blas` a program that uses one gets the one of this machine.
    """
    folder = tmp_path_factory.mktemp("programs")
    try:
        toolchain = find_toolchain(os.environ.get("CC"), probe_dir=folder)
    except NoCompiler as error:
        pytest.skip(str(error))
    cache = Cache(folder / "cache")
    private = functools.cache(lambda: private_blas(find_blas(), cache))

    def run(program, arrays, given=(), blas=True):
        verify(program)
        found = find_blas() if blas and program.uses_blas else None
        text = print_program(program)
        module = load(
            text, name=program.name, uses_blas=found is not None, toolchain=toolchain, cache=cache, blas=found,
            private=private() if found is not None else None,
        )  # fmt: skip
        ffi = module.ffi
        pointers = ffi.new("void *[]", [ffi.from_buffer(a) for a in arrays] or 1)
        sizes = ffi.new("int64_t[]", [*given, *[0] * (len(program.derived) + 1)])
        workspace = np.empty(4096, np.uint8)
        return module.plan(pointers, sizes) or module.run(pointers, sizes, ffi.from_buffer(workspace))

    return run
