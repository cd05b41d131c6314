"""The BLAS that is found: its functions give numpy's numbers."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from _cffi_backend import FFI

from codegen.blas import FUNCTIONS, find_blas
from codegen.errors import NoCompiler
from codegen.toolchain import compile, find_toolchain

ROOT = Path(__file__).parents[2]
ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112

ffi = FFI()


@pytest.fixture(scope="module")
def blas():
    found = find_blas()
    if found is None:
        pytest.skip("no BLAS on this machine")
    return found


def called(blas, name, c_type):
    return ffi.cast(c_type.replace("INT", blas.integer), blas.addresses[name])


def test_all_functions_are_there(blas):
    assert set(blas.addresses) == set(FUNCTIONS) and all(blas.addresses.values())
    assert blas.integer in ("int32_t", "int64_t") and blas.name


@pytest.mark.parametrize(("name", "dtype", "c"), [("sgemm", "float32", "float"), ("dgemm", "float64", "double")])
def test_matrix_product(blas, name, dtype, c):
    gemm = called(blas, name, f"void(*)(int, int, int, INT, INT, INT, {c}, void *, INT, void *, INT, {c}, void *, INT)")
    rng = np.random.default_rng(0)
    a, b, out = (rng.random(shape).astype(dtype) for shape in [(3, 5), (4, 5), (3, 4)])
    expected = 2 * a @ b.T - out
    a_, b_, out_ = map(ffi.from_buffer, (a, b, out))
    gemm(ROW_MAJOR, PLAIN, TRANSPOSED, 3, 4, 5, 2, a_, 5, b_, 5, -1, out_, 4)
    np.testing.assert_allclose(out, expected, rtol=1e-5)


@pytest.mark.parametrize(("name", "dtype", "c"), [("sgemv", "float32", "float"), ("dgemv", "float64", "double")])
def test_matrix_times_vector(blas, name, dtype, c):
    gemv = called(blas, name, f"void(*)(int, int, INT, INT, {c}, void *, INT, void *, INT, {c}, void *, INT)")
    rng = np.random.default_rng(0)
    a, x, out = (rng.random(shape).astype(dtype) for shape in [(3, 5), 3, 5])
    expected = a.T @ x + 3 * out
    a_, x_, out_ = map(ffi.from_buffer, (a, x, out))
    gemv(ROW_MAJOR, TRANSPOSED, 3, 5, 1, a_, 5, x_, 1, 3, out_, 1)
    np.testing.assert_allclose(out, expected, rtol=1e-5)


def test_the_first_that_has_the_functions_is_taken(blas, tmp_path):
    (tmp_path / "text.so").write_text("not a library")
    stranger = sys.modules["_cffi_backend"].__file__      # a library, but no BLAS
    candidates = [tmp_path / "missing.so", tmp_path / "text.so", stranger, blas.path]
    assert find_blas(candidates) == blas
    assert find_blas(candidates[:3]) is None
    assert find_blas([]) is None


@pytest.mark.parametrize(("before", "after", "config", "integer"), [
    ("scipy_", "64_", "OpenBLAS 0.3 USE64BITINT", "int64_t"),       # numpy's wheels
    ("scipy_", "", "OpenBLAS 0.3", "int32_t"),                      # numpy's wheels for 32 bits, scipy's
    ("", "64_", None, "int64_t"),                                   # Fedora, Julia
    ("", "", "OpenBLAS 0.3 DYNAMIC_ARCH", "int32_t"),               # Debian
    ("", "", "OpenBLAS 0.3 USE64BITINT", "int64_t"),                # Debian's libopenblas64
    ("", "", None, "int32_t"),                                      # the reference, BLIS, MKL
])
def test_the_width_of_integers_is_read_off_the_names(tmp_path, before, after, config, integer):
    try:
        toolchain = find_toolchain(os.environ.get("CC"), probe_dir=tmp_path)
    except NoCompiler as error:
        pytest.skip(str(error))
    lines = [f"void {before}cblas_{name}{after}(void) {{}}" for name in FUNCTIONS]
    if config:
        lines.append(f'const char *{before}openblas_get_config{after}(void) {{ return "{config}"; }}')
    source, library = tmp_path / "fake.c", tmp_path / "fake.so"
    source.write_text("\n".join([*lines, ""]))
    compile(toolchain, source, library)
    found = find_blas([library])
    assert (found.integer, found.name, found.spelling) == (integer, config or "fake.so", (before, after))
    assert found.is_openblas == bool(config) and not found.serial


def test_numpy_s_own_is_found_without_starting_a_process(monkeypatch):
    folder = Path(np.__file__).parent.with_name("numpy.libs")
    if not list(folder.glob("*openblas*")):
        pytest.skip("this numpy brings no OpenBLAS along")
    monkeypatch.setattr(subprocess, "Popen", None)
    assert Path(find_blas().path).parent == folder
