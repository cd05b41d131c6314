"""Results past the caches: the same numbers wherever the array begins, and however the runs and blocks cut it."""

import dataclasses
import mmap
import os

import numpy as np
import pytest

from codegen import ir
from codegen.c_printer import print_program
from codegen.cache import Cache
from codegen.errors import NoCompiler
from codegen.module import load
from codegen.streams import LARGE, RUN
from codegen.threads import get_num_threads, set_num_threads
from codegen.toolchain import find_toolchain
from codegen.verify import verify

i, j, n, m = (ir.Var(ir.INDEX, name) for name in "ijnm")



def program(dtype, name, ahead=False, by_threads=False):
    """y = not x, or x + x, by rows of m; only the y of n * m elements goes past the caches. `ahead`: x is asked for."""
    x, y = ir.Buffer("x", dtype), ir.Buffer("y", dtype, writable=True)
    value = ir.Load(dtype, x, i * m + j)
    result = ir.Operation(dtype, "logical_not", (value,)) if dtype == "bool" else value + value
    loop = ir.For(j, m, (ir.Store(y, i * m + j, result),), simd=True)
    early = ir.Ahead(ir.Pointer(x, i * m + ir.RUN), ir.END - ir.RUN, 64)
    runs = ir.Runs(loop, RUN, before=(early,) if ahead else (), streamed=ir.Streamed(y, n * m, by_threads))
    rows = ir.For(i, n, (runs,))
    kernel = ir.Kernel("rows", (x, y, n, m), (rows,))
    call = ir.Call("rows", (ir.Pointer(x, ir.index(0)), ir.Pointer(y, ir.index(0)), n, m))
    fields = ir.ArrayField(x, "input"), ir.ArrayField(y, "output")
    return ir.Program(name, fields, (n, m), (), (), (call,), (kernel,))


@pytest.fixture(scope="module", params=[(), ("-mno-avx512f",), ("-mno-avx512f", "-mno-avx")])
def double(request, tmp_path_factory):
    """`double(x, y)` lets C write 2 x, or not x, to `y`; every array is large, and lines of all widths are tried."""
    folder = tmp_path_factory.mktemp("streams")
    try:
        toolchain = find_toolchain(os.environ.get("CC"), probe_dir=folder)
    except NoCompiler as error:
        pytest.skip(str(error))
    flags = (*toolchain.flags, "-DSG_LARGE=0", "-Wall", "-Wextra", "-Werror", *request.param)
    if request.param and os.uname().machine not in ("x86_64", "amd64"):
        pytest.skip("flags of another machine")
    toolchain, cache = dataclasses.replace(toolchain, flags=flags), Cache(folder / "cache")

    def double(x, y, ahead=False, by_threads=False):
        whole = program(str(x.dtype), f"double_{x.dtype}", ahead, by_threads)
        verify(whole)
        module = load(
            print_program(whole), name=whole.name, uses_blas=False, toolchain=toolchain, cache=cache, blas=None
        )
        pointers = module.ffi.new("void *[]", [module.ffi.from_buffer(a) for a in (x, y)])
        assert module.run(pointers, module.ffi.new("int64_t[]", x.shape), module.ffi.NULL) == 0

    return double


@pytest.mark.parametrize("dtype", ["float32", "float64", "bool", "int16"])
def test_every_element_is_written_and_nothing_else(double, dtype):
    rng = np.random.default_rng(0)
    ragged = (3, RUN - 1), (2, RUN), (3, RUN + 1), (2, 3 * RUN + 9)
    for rows, columns in [(0, 5), (3, 0), (1, 1), (1, 15), (5, 17), *ragged]:
        for begin in (0, 1, 3, 16):
            x = rng.integers(0, 2, (rows, columns)).astype(dtype)
            memory = np.ones(rows * columns + 64, dtype)
            y = memory[begin : begin + x.size].reshape(x.shape)
            double(x, y)
            np.testing.assert_array_equal(y, ~x if dtype == "bool" else x + x)
            assert memory[:begin].all() and memory[begin + x.size :].all()


@pytest.mark.parametrize("count", [0, 1, RUN, RUN + 1, 5 * RUN + 3])
def test_asking_ahead_changes_no_result(double, count):
    """Nor does it touch what may not be touched: the arrays end with a page, behind which there is none of ours."""
    memory = mmap.mmap(-1, 4 * mmap.PAGESIZE)
    x = np.frombuffer(memory, "float32")[-count:] if count else np.empty(0, "float32")
    x[:] = np.arange(count)
    y = np.empty_like(x)
    double(x.reshape(1, -1), y, ahead=True)
    np.testing.assert_array_equal(y, x + x)


@pytest.mark.parametrize("threads", [1, 2])
def test_costly_loops_go_past_the_caches_for_several_threads_only(double, threads):
    whole = program("float32", "f", by_threads=True)
    assert "sg_is_large(n * m * 4) && *sg_threads > 1" in print_program(whole)
    before = get_num_threads()
    set_num_threads(threads)
    try:
        x = np.arange(3.0 * (RUN + 5), dtype="float32").reshape(3, -1)
        y = np.empty_like(x)
        double(x, y, by_threads=True)
        np.testing.assert_array_equal(y, x + x)
    finally:
        set_num_threads(before)


def test_small_arrays_stay_in_the_caches():
    text = print_program(program("float32", "f"))
    assert f"#define SG_LARGE {LARGE}\n" in text
    assert "sg_is_large(n * m * 4)" in text
    assert text.count("    sg_streamed();\n") == 1
