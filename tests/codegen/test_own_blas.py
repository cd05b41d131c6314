"""Our own BLAS: numpy's numbers, the same bits however a product is cut, nothing touched beside the matrices."""

import ctypes
import mmap
import os
import sys
import threading
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from codegen.cache import Cache
from codegen.errors import CompileError, NoCompiler
from codegen.own_blas import OwnBlas
from codegen.toolchain import find_toolchain

SCALARS = [(1.0, 0.0), (1.0, 1.0), (-0.5, 2.0)]
FLAGS = list(product((False, True), repeat=2))
OLDER = {"": (), "avx2": ("-mno-avx512f",), "sse2": ("-mno-avx512f", "-mno-avx")}
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def toolchain(folder):
    try:
        return find_toolchain(os.environ.get("CC"), probe_dir=folder)
    except NoCompiler as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=OLDER)
def library(request, folder, toolchain):
    """The library, for this processor and, on x86, for older ones."""
    flags = OLDER[request.param]
    if flags and ("-march=native" not in toolchain.flags or os.uname().machine != "x86_64"):
        pytest.skip("not for x86")
    older = replace(toolchain, flags=(*toolchain.flags, *flags, "-Wall", "-Wextra", "-Werror"))
    return ctypes.CDLL(str(OwnBlas(older, Cache(folder / "cache"), "int64_t").build()))


def address(array):
    return array.__array_interface__["data"][0]


def gemm(library, a, b, c, ta=False, tb=False, alpha=1.0, beta=0.0):
    """c = beta c + alpha op(a) op(b): matrices as they lie, whose rows may be apart."""
    real, letter = (ctypes.c_float, "s") if a.dtype == np.float32 else (ctypes.c_double, "d")
    function = getattr(library, f"cblas_{letter}gemm")
    matrix, size = ctypes.c_void_p, ctypes.c_int64
    function.argtypes = [ctypes.c_int] * 3 + [size] * 3 + [real, matrix, size, matrix, size, real, matrix, size]
    function.restype = None
    steps = [max(x.strides[0] // x.itemsize, 1) for x in (a, b, c)]
    (m, n), k = c.shape, a.shape[0] if ta else a.shape[1]
    function(101, 112 if ta else 111, 112 if tb else 111, m, n, k, alpha, address(a), steps[0], address(b), steps[1],
             beta, address(c), steps[2])  # fmt: skip
    return c


def gemv(library, a, x, y, ta=False, alpha=1.0, beta=0.0):
    real, letter = (ctypes.c_float, "s") if a.dtype == np.float32 else (ctypes.c_double, "d")
    function = getattr(library, f"cblas_{letter}gemv")
    vector, size = ctypes.c_void_p, ctypes.c_int64
    function.argtypes = [ctypes.c_int] * 2 + [size] * 2 + [real, vector, size, vector, size, real, vector, size]
    function.restype = None
    function(101, 112 if ta else 111, *a.shape, alpha, address(a), a.shape[1], address(x), 1, beta, address(y), 1)
    return y


def laid(value, transposed):
    return np.ascontiguousarray(value.T if transposed else value)


def integers(rng, shape, dtype):
    return rng.integers(-4, 5, shape).astype(dtype)  # sums of their products are exact in any order


@each_dtype
def test_every_size_up_to_70(library, dtype):
    rng = np.random.default_rng(0)
    for length in range(1, 71):
        for m, n, k in ((length, 35, 9), (17, length, 34), (15, 19, length), (length, length, length)):
            a, b, c = (integers(rng, shape, dtype) for shape in ((m, k), (k, n), (m, n)))
            for (ta, tb), (alpha, beta) in zip(FLAGS, SCALARS + SCALARS[:1]):
                start = c.copy() if beta else np.full_like(c, np.nan)
                found = gemm(library, laid(a, ta), laid(b, tb), start, ta, tb, alpha, beta)
                np.testing.assert_array_equal(found, alpha * (a @ b) + beta * c, f"{m, n, k, ta, tb}")


@each_dtype
@pytest.mark.parametrize(("m", "n", "k"), [
    (600, 40, 30), (290, 1100, 300), (3, 2100, 520), (1, 1, 3000), (577, 33, 257), (50, 10, 700), (3, 5, 20000),
])  # fmt: skip
def test_sizes_beyond_one_block_panel_and_piece(library, dtype, m, n, k):
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(size=shape).astype(dtype) for shape in ((m, k), (k, n), (m, n)))
    exact = -0.5 * (a.astype(float) @ b.astype(float)) + 0.9 * c.astype(float)
    size = np.abs(a).astype(float) @ np.abs(b).astype(float) + np.abs(c)
    for ta, tb in FLAGS:
        found = gemm(library, laid(a, ta), laid(b, tb), c.copy(), ta, tb, -0.5, 0.9)
        assert (np.abs(found - exact) <= 8 * np.finfo(dtype).eps * size).all()


@each_dtype
def test_bits_do_not_depend_on_how_a_product_is_cut(library, dtype):
    rng = np.random.default_rng(0)
    for _ in range(60):
        m, n, k = (int(x) for x in rng.integers(1, (330, 130, 600)))
        a, b, c = (rng.normal(size=shape).astype(dtype) for shape in ((m, k), (k, n), (m, n)))
        ta, tb = FLAGS[rng.integers(4)]
        alpha, beta = ((1.0, 0.0), (0.1, 1.0), (-0.3, 0.7))[rng.integers(3)]
        left, right = laid(a, ta), laid(b, tb)
        whole = gemm(library, left, right, c.copy(), ta, tb, alpha, beta)
        row, column = int(rng.integers(m + 1)), int(rng.integers(n + 1))
        parts = c.copy()
        for rows, columns in product((slice(row), slice(row, m)), (slice(column), slice(column, n))):
            some_a = left[:, rows] if ta else left[rows]
            some_b = right[columns] if tb else right[:, columns]
            if parts[rows, columns].size:
                gemm(library, some_a, some_b, parts[rows, columns], ta, tb, alpha, beta)
        assert parts.tobytes() == whole.tobytes(), (m, n, k, ta, tb, row, column)


@each_dtype
def test_matrices_within_larger_ones(library, dtype):
    """Neither read nor written beside: all around them is NaN, and they begin anywhere."""
    rng = np.random.default_rng(0)
    for m, n, k in ((5, 7, 3), (33, 35, 40), (14, 32, 300), (61, 21, 17), (13, 27, 100), (28, 6, 64)):
        for ta, tb in FLAGS:
            shapes = ((k, m) if ta else (m, k), (n, k) if tb else (k, n), (m, n))
            around = [np.full((rows + 2, columns + 3), np.nan, dtype) for rows, columns in shapes]
            a, b, c = (x[1:-1, 1:-2] for x in around)
            for x in (a, b, c):
                x[...] = integers(rng, x.shape, dtype)
            expected = around[2].copy()
            expected[1:-1, 1:-2] = 2 * ((a.T if ta else a) @ (b.T if tb else b)) - c
            gemm(library, a, b, c, ta, tb, 2.0, -1.0)
            np.testing.assert_array_equal(around[2], expected)


@each_dtype
@pytest.mark.skipif(sys.platform != "linux", reason="how a page is closed is told for Linux")
def test_nothing_behind_a_matrix_is_read(library, dtype):
    """Each ends where a page begins that may not be touched."""
    page = mmap.PAGESIZE
    libc = ctypes.CDLL(None)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def at_the_end(shape):
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        room = -(-count // page) * page
        memory = np.frombuffer(mmap.mmap(-1, room + page), np.uint8)
        assert libc.mprotect(address(memory) + room, page, 0) == 0
        return memory[room - count : room].view(dtype).reshape(shape)

    for m, n, k in (
        (1, 1, 1), (2, 3, 2), (3, 2, 40), (14, 17, 3), (30, 33, 18), (13, 5, 300), (16, 9, 33),
        (14, 25, 100), (13, 12, 100), (28, 7, 64), (5, 32, 80),
    ):  # fmt: skip
        for ta, tb in FLAGS:
            a, b, c = (at_the_end(s) for s in ((k, m) if ta else (m, k), (n, k) if tb else (k, n), (m, n)))
            a[...], b[...] = 2, 3
            assert (gemm(library, a, b, c, ta, tb) == 6 * k).all()
            vector, result = at_the_end((a.shape[0 if ta else 1],)), at_the_end((a.shape[1 if ta else 0],))
            vector[...] = 1
            assert (gemv(library, a, vector, result, ta) == 2 * len(vector)).all()


@each_dtype
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_go_where_they_belong(library, dtype, special):
    rng = np.random.default_rng(0)
    for m, n, k in ((1, 1, 1), (5, 9, 4), (30, 50, 20), (15, 40, 300)):
        for ta, tb in FLAGS:
            a, b = (rng.integers(1, 5, shape).astype(dtype) for shape in ((m, k), (k, n)))
            a[rng.integers(m), rng.integers(k)] = special
            b[rng.integers(k), rng.integers(n)] = special
            a[-1, -1] = 0  # times infinity: NaN
            c = np.full((m, n), np.nan, dtype)  # of which nothing is left
            with np.errstate(invalid="ignore"):
                expected = a @ b
            np.testing.assert_array_equal(gemm(library, laid(a, ta), laid(b, tb), c, ta, tb), expected)
            with np.errstate(invalid="ignore"):
                expected = 0 * expected + 1  # a product that counts nothing leaves its NaN
            ones = np.ones((m, n), dtype)
            found = gemm(library, laid(a, ta), laid(b, tb), ones, ta, tb, 0.0, 1.0)
            np.testing.assert_array_equal(found, expected)


@each_dtype
def test_numbers_close_to_zero_and_to_infinity(library, dtype):
    info = np.finfo(dtype)
    for factor, other in ((info.smallest_subnormal, 1), (info.tiny, 0.25), (info.max, 1), (info.max, 2), (-0.0, 1)):
        a, b = np.full((3, 1), factor, dtype), np.full((1, 40), other, dtype)
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(gemm(library, a, b, np.empty((3, 40), dtype)), a @ b)


@each_dtype
def test_sums_of_no_terms_and_results_without_elements(library, dtype):
    c = np.full((20, 40), 3, dtype)
    assert (gemm(library, np.empty((20, 0), dtype), np.empty((0, 40), dtype), c, beta=2.0) == 6).all()
    assert (gemm(library, np.empty((20, 0), dtype), np.empty((0, 40), dtype), c) == 0).all()
    for m, n in ((0, 3), (3, 0), (0, 0)):
        gemm(library, np.ones((m, 4), dtype), np.ones((4, n), dtype), np.empty((m, n), dtype))


@each_dtype
def test_matrix_times_vector(library, dtype):
    rng = np.random.default_rng(0)
    for m, n in [(k, 13) for k in range(1, 10)] + [(7, k) for k in range(1, 70)] + [(300, 501), (0, 5), (5, 0)]:
        a = integers(rng, (m, n), dtype)
        for ta, (alpha, beta) in product((False, True), SCALARS):
            op = a.T if ta else a
            x, y = integers(rng, op.shape[1], dtype), integers(rng, op.shape[0], dtype)
            found = gemv(library, a, x, y.copy() if beta else np.full_like(y, np.nan), ta, alpha, beta)
            np.testing.assert_array_equal(found, alpha * (op @ x) + beta * y, f"{m, n, ta}")


def test_threads_have_memory_of_their_own_and_give_it_back(library):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 150, 150))
    expected = gemm(library, a, b, np.empty((150, 150))).tobytes()
    found = []

    def work():
        found.append(gemm(library, a, b, np.empty((150, 150))).tobytes())

    def together(times):
        for _ in range(times):
            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE if sys.platform == "linux" else 0

    together(10)
    before = resident()
    together(40)
    assert set(found) == {expected} and len(found) == 4 * 50
    assert resident() - before < 100e6  # 160 threads that keep their megabytes would take 200


def test_it_is_built_once_and_a_blas_of_one_thread(folder, toolchain, monkeypatch):
    own = OwnBlas(toolchain, Cache(folder / "cache"), "int32_t")
    blas = own.open()
    assert blas.serial and blas.any_borders and blas.integer == "int32_t" and not blas.is_openblas
    monkeypatch.setattr("codegen.cache.compile", None)
    assert own.open() == blas
    assert own.identity != replace(own, integer="int64_t").identity


def test_a_compiler_without_vectors_is_told(folder, toolchain):
    poor = replace(toolchain, flags=(*toolchain.flags, "-U__GNUC__"))
    with pytest.raises(CompileError):
        OwnBlas(poor, Cache(folder / "cache"), "int64_t").build()
