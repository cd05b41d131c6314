"""C text to entry points: a small function with the three of docs/internals.md, called on numpy's memory."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import codegen.module
from codegen.blas import find_blas
from codegen.cache import Cache
from codegen.errors import CacheRefused, CompileError, NoCompiler
from codegen.module import load
from codegen.toolchain import find_toolchain

ROOT = Path(__file__).parents[2]

# y = 2 x; sizes: the length of x, the length of y
DOUBLE = """
#include <stdint.h>
int twice_plan(void *const *arrays, int64_t *sizes)
{
    (void)arrays;
    if (sizes[0] > 5) return 3;
    sizes[1] = sizes[0];
    return 0;
}
int twice(void *const *arrays, const int64_t *sizes, void *workspace)
{
    const double *x = arrays[0];
    double *y = arrays[1];
    (void)workspace;
    for (int64_t i = 0; i < sizes[0]; ++i) y[i] = 2 * x[i];
    return 0;
}
"""

# c = a b, for square matrices
PRODUCT = """
#include <stdint.h>
#ifndef SG_BLAS_INT
#define SG_BLAS_INT int64_t
#endif
typedef void (*dgemm_t)(int, int, int, SG_BLAS_INT, SG_BLAS_INT, SG_BLAS_INT, double, const double *, SG_BLAS_INT,
                        const double *, SG_BLAS_INT, double, double *, SG_BLAS_INT);
static dgemm_t dgemm;
void product_blas(void *const *functions) { dgemm = (dgemm_t)functions[1]; }
int product_plan(void *const *arrays, int64_t *sizes) { (void)arrays; (void)sizes; return 0; }
int product(void *const *arrays, const int64_t *sizes, void *workspace)
{
    SG_BLAS_INT n = sizes[0];
    (void)workspace;
    if (!dgemm) return 9;
    dgemm(101, 111, 111, n, n, n, 1, arrays[0], n, arrays[1], n, 0, arrays[2], n);
    return 0;
}
"""


@pytest.fixture(scope="module")
def toolchain(tmp_path_factory):
    try:
        return find_toolchain(os.environ.get("CC"), probe_dir=tmp_path_factory.mktemp("probe"))
    except NoCompiler as error:
        pytest.skip(str(error))


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path)


def pointers(module, *arrays):
    return module.ffi.new("void *[]", [module.ffi.from_buffer(array) for array in arrays])


def test_plan_and_run(cache, toolchain):
    module = load(DOUBLE, name="twice", uses_blas=False, toolchain=toolchain, cache=cache, blas=None)
    x, y = np.arange(5.0), np.zeros(5)
    sizes = module.ffi.new("int64_t[]", [5, 0])
    assert module.plan(pointers(module, x, y), sizes) == 0 and sizes[1] == 5
    assert module.run(pointers(module, x, y), sizes, module.ffi.NULL) == 0
    assert y.tolist() == [0, 2, 4, 6, 8]
    sizes[0] = 6
    assert module.plan(pointers(module, x, y), sizes) == 3
    assert module.source_path.read_text() == DOUBLE
    assert module.library_path == module.source_path.with_suffix(".so")


def test_blas_is_handed_in(cache, toolchain):
    blas = find_blas()
    if blas is None:
        pytest.skip("no BLAS on this machine")
    module = load(PRODUCT, name="product", uses_blas=True, toolchain=toolchain, cache=cache, blas=blas)
    a, b = np.random.default_rng(0).random((2, 7, 7))
    c = np.full((7, 7), np.nan)
    assert module.run(pointers(module, a, b, c), module.ffi.new("int64_t[]", [7]), module.ffi.NULL) == 0
    np.testing.assert_allclose(c, a @ b)


def test_entry_points_outlive_their_module(cache, toolchain):
    run = load(DOUBLE, name="twice", uses_blas=False, toolchain=toolchain, cache=cache, blas=None).run
    cache.clear()
    ffi = codegen.module._FFI
    y = np.zeros(1)
    arrays = ffi.new("void *[]", [ffi.from_buffer(np.ones(1)), ffi.from_buffer(y)])
    assert run(arrays, ffi.new("int64_t[]", [1, 1]), ffi.NULL) == 0 and y[0] == 2


def test_a_damaged_library_is_not_loaded(tmp_path, toolchain):
    """In processes of their own: a library that is loaded may not be damaged."""
    program = f"""if True:
        from pathlib import Path
        from codegen.cache import Cache
        from codegen.module import load
        from codegen.toolchain import Toolchain
        module = load({DOUBLE!r}, name="twice", uses_blas=False, toolchain={toolchain!r},
                      cache=Cache(Path({str(tmp_path)!r})), blas=None)
        print(module.plan(module.ffi.NULL, module.ffi.new("int64_t[]", [6, 0])), module.library_path)
    """

    def run():
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.split()
    first = run()
    sound = Path(first[1]).read_bytes()
    Path(first[1]).write_bytes(sound[: len(sound) // 2])
    assert run() == first == ["3", first[1]]
    assert Path(first[1]).read_bytes() == sound


def test_c_that_is_wrong(cache, toolchain):
    with pytest.raises(CompileError, match="not_declared"):
        load(DOUBLE + "int f(void) { return not_declared; }", name="twice", uses_blas=False, toolchain=toolchain,
             cache=cache, blas=None)


def test_a_function_that_is_nowhere_defined(cache, toolchain):
    with pytest.raises(CompileError, match="nowhere_defined"):
        load(DOUBLE + "int nowhere_defined(void); int f(void) { return nowhere_defined(); }", name="twice",
             uses_blas=False, toolchain=toolchain, cache=cache, blas=None)


def test_an_entry_point_that_is_missing(cache, toolchain):
    with pytest.raises(ValueError, match=r"lacks an entry point.*thrice_plan"):
        load(DOUBLE, name="thrice", uses_blas=False, toolchain=toolchain, cache=cache, blas=None)


def test_without_a_blas_none_is_handed_in(cache, toolchain):
    module = load(PRODUCT, name="product", uses_blas=True, toolchain=toolchain, cache=cache, blas=None)
    assert module.run(pointers(module, *np.zeros((3, 1, 1))), module.ffi.new("int64_t[]", [1]), module.ffi.NULL) == 9


def test_a_directory_that_no_code_is_loaded_from(cache, toolchain, monkeypatch):
    class Mounted:
        @staticmethod
        def load_library(path, flags):
            raise OSError("failed to map segment from shared object")
    monkeypatch.setattr(codegen.module, "_cffi_backend", Mounted)
    with pytest.raises(CacheRefused, match=r"does not load .*failed to map.*noexec, set \$SYMGRAPH_CACHE"):
        load(DOUBLE, name="twice", uses_blas=False, toolchain=toolchain, cache=cache, blas=None)
