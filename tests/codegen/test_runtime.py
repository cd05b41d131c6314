"""The matrix products that programs call: against numpy, small and large, with our BLAS, another, and without."""

import ctypes
import os
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from codegen import ir
from codegen.blas import open_blas
from codegen.runtime import SMALL, gemm, is_routine, parameters, routines
from codegen.threads import set_num_threads
from codegen.toolchain import compile, find_toolchain

DTYPES = {"f32": "float32", "f64": "float64"}
SIZES = tuple(ir.Var(ir.INDEX, name) for name in ("ta", "tb", "m", "n", "k"))


def program(routine, dtype, scalars, sizes):
    """A program whose arrays are those of the routine, and whose sizes are its integer arguments."""
    names = ("a", "b", "c")
    arrays = [ir.Buffer(name, dtype, writable=name == "c") for name in names]
    a, b, c = (ir.Pointer(buffer, ir.index(0)) for buffer in arrays)
    alpha, beta = (ir.Literal(dtype, scalar) for scalar in scalars)
    call = ir.Call(routine, (*sizes, alpha, a, b, beta, c))
    fields = tuple(ir.ArrayField(buffer, "input") for buffer in arrays)
    return ir.Program("product", fields, tuple(sizes), (), (), (call,), uses_blas=True)


def matrix(rng, dtype, rows, columns, transposed):
    """A matrix, and how it lies in memory."""
    value = rng.integers(-4, 5, (rows, columns)).astype(dtype)   # small integers: sums are exact in any order
    return value, np.ascontiguousarray(value.T if transposed else value)


def check_gemm(run, suffix, m, n, k, ta, tb, alpha, beta, blas, start=None, name=None):
    rng, dtype = np.random.default_rng(m + 10 * n + 100 * k), DTYPES[suffix]
    (a, stored_a), (b, stored_b) = matrix(rng, dtype, m, k, ta), matrix(rng, dtype, k, n, tb)
    c = rng.integers(-4, 5, (m, n)).astype(dtype) if start is None else np.full((m, n), start, dtype)
    before = [stored_a.copy(), stored_b.copy()]
    expected = dtype_of(alpha * (a @ b) + (beta * c if beta else 0), dtype)
    called = program(name or f"sg_gemm_{suffix}", dtype, (alpha, beta), SIZES)
    assert run(called, [stored_a, stored_b, c], (ta, tb, m, n, k), blas) == 0
    np.testing.assert_array_equal(c, expected)
    np.testing.assert_array_equal(stored_a, before[0])
    np.testing.assert_array_equal(stored_b, before[1])


def check_gemv(run, suffix, m, n, ta, alpha, beta, blas, start=None):
    """`a` is stored as m x n."""
    rng, dtype = np.random.default_rng(m + 10 * n), DTYPES[suffix]
    a, _ = matrix(rng, dtype, m, n, False)
    op = a.T if ta else a
    x = rng.integers(-4, 5, op.shape[1]).astype(dtype)
    y = rng.integers(-4, 5, op.shape[0]).astype(dtype) if start is None else np.full(op.shape[0], start, dtype)
    expected = dtype_of(alpha * (op @ x) + (beta * y if beta else 0), dtype)
    sizes = (SIZES[0], SIZES[2], SIZES[3])
    assert run(program(f"sg_gemv_{suffix}", dtype, (alpha, beta), sizes), [a, x, y], (ta, m, n), blas) == 0
    np.testing.assert_array_equal(y, expected)


def dtype_of(value, dtype):
    return np.asarray(value).astype(dtype)


SCALARS = [(1.0, 0.0), (1.0, 1.0), (-0.5, 1.0), (2.0, -0.25), (0.0, 1.0), (0.0, 0.0)]
each_suffix = pytest.mark.parametrize("suffix", DTYPES)
with_and_without = pytest.mark.parametrize("blas", ["own", "other", None], ids=["own", "other", "loops"])
with_both = pytest.mark.parametrize("blas", ["own", "other"])


@each_suffix
@with_and_without
@pytest.mark.parametrize(("ta", "tb"), [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize(("alpha", "beta"), SCALARS)
def test_gemm(run, suffix, blas, ta, tb, alpha, beta):
    for m, n, k in [(1, 1, 1), (2, 3, 4), (5, 1, 3), (1, 7, 2), (33, 17, 29)]:
        check_gemm(run, suffix, m, n, k, ta, tb, alpha, beta, blas)


@each_suffix
@with_and_without
@pytest.mark.parametrize("ta", [0, 1])
@pytest.mark.parametrize(("alpha", "beta"), SCALARS)
def test_gemv(run, suffix, blas, ta, alpha, beta):
    for m, n in [(1, 1), (2, 3), (5, 1), (1, 7), (70, 90)]:
        check_gemv(run, suffix, m, n, ta, alpha, beta, blas)


@each_suffix
@with_and_without
@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf])
def test_with_beta_0_nothing_is_left_of_what_was_there(run, suffix, blas, garbage):
    for ta in (0, 1):
        for m, n, k in [(2, 3, 4), (33, 17, 29), (3, 2, 0)]:
            check_gemm(run, suffix, m, n, k, ta, 1 - ta, 1.0, 0.0, blas, start=garbage)
        for m, n in [(2, 3), (70, 90), (0, 3), (3, 0)]:
            check_gemv(run, suffix, m, n, ta, 1.0, 0.0, blas, start=garbage)


@each_suffix
@with_and_without
def test_empty(run, suffix, blas):
    for ta, tb in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        for m, n, k in [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0), (1000, 0, 1000)]:
            check_gemm(run, suffix, m, n, k, ta, tb, 2.0, 3.0, blas)
        for m, n in [(0, 3), (3, 0), (0, 0)]:
            check_gemv(run, suffix, m, n, ta, 2.0, 3.0, blas)


@each_suffix
@with_and_without
def test_nan_in_an_operand_comes_through(run, suffix, blas):
    """Where it should and nowhere else, on both sides of the size from which BLAS is called."""
    dtype = DTYPES[suffix]
    for size in (3, 40):
        a, b, c = np.ones((size, size), dtype), np.ones((size, size), dtype), np.empty((size, size), dtype)
        a[1, 2] = np.nan
        run(program(f"sg_gemm_{suffix}", dtype, (1.0, 0.0), SIZES), [a, b, c], (0, 0, size, size, size), blas)
        np.testing.assert_array_equal(np.isnan(c), np.arange(size)[:, None].repeat(size, 1) == 1)


@each_suffix
@with_and_without
def test_nan_is_not_lost_where_the_product_counts_nothing(run, suffix, blas):
    dtype = DTYPES[suffix]
    a, b, c = np.ones((40, 40), dtype), np.ones((40, 40), dtype), np.ones((40, 40), dtype)
    a[1, 2] = np.nan
    run(program(f"sg_gemm_{suffix}", dtype, (0.0, 1.0), SIZES), [a, b, c], (0, 0, 40, 40, 40), blas)
    np.testing.assert_array_equal(np.isnan(c), np.arange(40)[:, None].repeat(40, 1) == 1)
    y = np.ones(40, dtype)
    vector = program(f"sg_gemv_{suffix}", dtype, (0.0, 1.0), (SIZES[0], SIZES[2], SIZES[3]))
    run(vector, [a, b[0].copy(), y], (0, 40, 40), blas)
    np.testing.assert_array_equal(np.isnan(y), np.arange(40) == 1)


@each_suffix
@with_both
def test_large_products_are_those_of_numpy(run, suffix, blas):
    """Random numbers, well above the size from which BLAS is called."""
    rng, dtype = np.random.default_rng(0), DTYPES[suffix]
    m, n, k = 70, 50, 60
    assert m * n * k > SMALL
    a, b, c = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype), np.empty((m, n), dtype)
    run(program(f"sg_gemm_{suffix}", dtype, (1.0, 0.0), SIZES), [a, b, c], (0, 0, m, n, k), blas)
    exact = a.astype("float64") @ b.astype("float64")
    np.testing.assert_allclose(c, exact, rtol=0, atol=50 * np.finfo(dtype).eps * np.abs(exact).max())


@pytest.mark.parametrize("name", ["sg_gemm_f32", "sg_gemm_f64", "sg_gemv_f32", "sg_gemv_f64", "sg_gemm_f64_n10"])
def test_parameters_are_those_in_c(name):
    """In the order of the C, arrays where it takes pointers, writable where these are not const."""
    text = routines([name], "f")[-1]
    declared = text[text.index(f"{name}(") + len(name) + 1 : text.index(")\n{")].split(",")
    params = parameters(name)
    assert [c.split()[-1].lstrip("*") for c in declared] == [p.name for p in params]
    assert ["*" in c for c in declared] == [isinstance(p, ir.Buffer) for p in params]
    assert ["const" not in c for c in declared if "*" in c] == [p.writable for p in params if isinstance(p, ir.Buffer)]
    assert is_routine(name)


@pytest.mark.parametrize(("m", "n", "k", "name"), [
    (None, 10, 784, "sg_gemm_f32_n10"), (784, 10, None, "sg_gemm_f32_n10"), (10, None, 784, "sg_gemm_f32_m10"),
    (12, 12, 784, "sg_gemm_f32"), (12, 12, 5000, "sg_gemm_f32_n12"),     # all known: whether it is large is known, too
    (None, 2, 2, "sg_gemm_f32"), (4, 2, 2, "sg_gemm_f32"), (None, None, None, "sg_gemm_f32"),
    (None, 10, 500, "sg_gemm_f32"),
    (None, 1, 784000, "sg_gemm_f32"), (None, 13, 784, "sg_gemm_f32"), (1, None, 784000, "sg_gemm_f32"),
])
def test_results_known_to_be_narrow_have_a_routine_of_their_own(m, n, k, name):
    lengths = [ir.index(x) if x is not None else ir.Var(ir.INDEX, v) for x, v in ((m, "m"), (n, "n"), (k, "k"))]
    assert gemm("f32", *lengths) == name and is_routine(name)


NARROW = [(ta, tb, by) for ta in (0, 1) for tb in (0, 1) for by in "nm"]


def narrow_lengths(width, by, m=401, k=1201):
    """Odd lengths, so that the last vectors are not full, more than one piece fits the cache, and sums are long enough
    for the kernels whatever the width."""
    return (m, width, k) if by == "n" else (width, m, k)


@each_suffix
@pytest.mark.parametrize("width", [2, 3, 7, 10, 11, 12])
def test_narrow_results(run, suffix, width):
    for ta, tb, by in NARROW:
        m, n, k = narrow_lengths(width, by)
        for alpha, beta in ((1.0, 0.0), (-0.5, 2.0)):
            check_gemm(run, suffix, m, n, k, ta, tb, alpha, beta, "best", name=f"sg_gemm_{suffix}_{by}{width}")


@each_suffix
@pytest.mark.parametrize(("m", "k"), [
    (1, 90000), (90000, 1), (2, 50000), (17, 8001), (0, 5), (5, 0), (33, 5000), (60, 500), (500, 60),
])
def test_narrow_results_of_odd_shapes(run, suffix, m, k):
    for ta, tb in ((0, 0), (1, 1)):
        check_gemm(run, suffix, m, 10, k, ta, tb, 2.0, -1.0, "best", name=f"sg_gemm_{suffix}_n10")
        check_gemm(run, suffix, 10, m, k, ta, tb, 2.0, 0.0, "best", start=np.nan, name=f"sg_gemm_{suffix}_m10")


@each_suffix
@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_narrow_results_keep_nan_and_infinity_where_they_belong(run, suffix, special):
    """In the last row and column of each operand, next to what only fills up vectors."""
    dtype = DTYPES[suffix]
    for ta, tb, by in NARROW:
        m, n, k = narrow_lengths(10, by)
        a, b = np.ones((m, k), dtype), np.ones((k, n), dtype)
        a[-1, -1] = b[-1, -1] = b[0, 0] = special
        stored = [np.ascontiguousarray(x.T if t else x) for x, t in ((a, ta), (b, tb))]
        c = np.full((m, n), np.nan, dtype)
        call = program(f"sg_gemm_{suffix}_{by}10", dtype, (1.0, 0.0), SIZES)
        assert run(call, [*stored, c], (ta, tb, m, n, k)) == 0
        with np.errstate(invalid="ignore"):  # of what BLAS multiplies beside the operands
            expected = a @ b
        np.testing.assert_array_equal(c, expected)


@each_suffix
@with_both
@pytest.mark.parametrize("awake", [False, True])
def test_any_number_of_threads_gives_the_same_bits(run, suffix, blas, awake):
    """Above and below the size from which products are split, by rows and by columns of the result."""
    before = "#define SG_AWAKE 1e18\n" if awake else ""  # as if a product had just been done, at any time
    rng, dtype = np.random.default_rng(0), DTYPES[suffix]
    shapes = [
        (60, 500, 784), (784, 500, 60), (300, 311, 129), (97, 1001, 700), (129, 128, 1500), (2000, 10, 700),
        (285, 1000, 83), (1000, 285, 83), (60, 10, 500), (500, 10, 60), (60, 500, 10), (65, 64, 63),
    ]  # fmt: skip
    for m, n, k in shapes:
        for ta, tb in ((0, 0), (0, 1), (1, 0), (1, 1)):
            a = rng.normal(size=(k, m) if ta else (m, k)).astype(dtype)
            b = rng.normal(size=(n, k) if tb else (k, n)).astype(dtype)
            name = f"sg_gemm_{suffix}_n10" if n == 10 else f"sg_gemm_{suffix}"
            results = []
            for threads in (1, 2, 3, 64):  # also more than there are parts
                set_num_threads(threads)
                c = np.empty((m, n), dtype)
                run(program(name, dtype, (1.0, 0.0), SIZES), [a, b, c], (ta, tb, m, n, k), blas, before)
                results.append(c.tobytes())
            set_num_threads(1)
            assert len(set(results)) == 1, (m, n, k, ta, tb)


COUNTING = """
static int calls;
int taken(void)
{
    return __atomic_exchange_n(&calls, 0, __ATOMIC_SEQ_CST);
}
void cblas_dgemm(void) { __atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST); }
void cblas_sgemm(void) { cblas_dgemm(); }
void cblas_sgemv(void) {}
void cblas_dgemv(void) {}
"""


@each_suffix
def test_threads_that_are_awake_take_small_products(run, suffix, tmp_path):
    """A BLAS that computes nothing counts the parts of products."""
    toolchain = find_toolchain(os.environ.get("CC"), probe_dir=tmp_path)
    version = subprocess.run([*toolchain.command, "--version"], capture_output=True, check=True).stdout
    if "-fopenmp" not in toolchain.flags or b"clang" in version:
        pytest.skip("there are no threads, or they sleep at once")
    source, built = tmp_path / "counting.c", tmp_path / "counting.so"
    source.write_text(COUNTING)
    compile(toolchain, source, built)
    taken = ctypes.CDLL(str(built)).taken
    blas = replace(open_blas(str(built)), integer="int64_t", serial=True, any_borders=True)
    dtype = DTYPES[suffix]
    call = program(f"sg_gemm_{suffix}", dtype, (1.0, 0.0), SIZES)
    set_num_threads(2)
    try:
        for awake, expected in ((0.0, [2, 1, 1]), (1e18, [2, 2, 1])):
            before = f"#define SG_AWAKE {awake}\n"
            for (m, n, k), parts in zip([(500, 500, 60), (60, 500, 10), (20, 64, 60)], expected, strict=True):
                arrays = [np.zeros(size, dtype) for size in (m * k, k * n, m * n)]
                assert run(call, arrays, (0, 0, m, n, k), blas, before) == 0
                assert taken() == parts, (awake, m, n, k)
    finally:
        set_num_threads(1)


def test_only_routines_that_are_called_are_printed():
    assert routines([], "f") == []
    text = "\n".join(routines(["sg_gemv_f32"], "f"))
    assert "sg_gemv_f32(" in text and "sg_gemm_f64(" not in text and "sg_gemv_f64(" not in text
    assert not is_routine("sg_gemx_f32") and not is_routine("exp")
