"""What this machine can do at most: bytes a second through memory, multiplications and additions a second."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import Any

from codegen.blas import Blas
from codegen.cache import Cache
from codegen.errors import CacheRefused
from codegen.module import load
from codegen.toolchain import Toolchain, digest

_SOURCE = """\
#include <math.h>
#include <stdint.h>
#include <time.h>

#ifdef __FMA__
#define STEP(x) x = fma(x, 0.999, 0.001)
#else
#define STEP(x) x = x * 0.999 + 0.001
#endif

enum { STEPS = 100000 };

static double now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int sg_machine_plan(void *const *arrays, int64_t *sizes)
{
    (void)arrays;
    (void)sizes;
    return 0;
}

/* results[0]: bytes a second of a[i] = b[i] + s * c[i]; results[1]: operations a second of independent multiply-adds.
*/ int sg_machine(void *const *arrays, const int64_t *sizes, void *workspace)
{
    double *results = arrays[0], *a = arrays[1], *b = arrays[2], *c = arrays[3];
    const int64_t n = sizes[0];
    (void)workspace;
    double best = 1e30;
    for (int round = 0; round < 5; ++round) {
        const double start = now();
#ifdef SG_SIMD
#pragma omp simd
#endif
        for (int64_t i = 0; i < n; ++i)
            a[i] = b[i] + 0.5 * c[i];
        const double seconds = now() - start;
        best = seconds > 0 && seconds < best ? seconds : best; /* a clock may be set back */
    }
    results[0] = 24.0 * (double)n / best;
    best = 1e30;
    double p[8], q[8], r[8], s[8], t[8], u[8], v[8], w[8], x[8], y[8];
    for (int k = 0; k < 8; ++k)
        p[k] = q[k] = r[k] = s[k] = t[k] = u[k] = v[k] = w[k] = x[k] = y[k] = (double)k;
    for (int round = 0; round < 5; ++round) {
        const double start = now();
        for (int64_t i = 0; i < STEPS; ++i) {
#ifdef SG_SIMD
#pragma omp simd
#endif
            for (int k = 0; k < 8; ++k) {
                STEP(p[k]); STEP(q[k]); STEP(r[k]); STEP(s[k]); STEP(t[k]);
                STEP(u[k]); STEP(v[k]); STEP(w[k]); STEP(x[k]); STEP(y[k]);
            }
        }
        const double seconds = now() - start;
        best = seconds > 0 && seconds < best ? seconds : best; /* a clock may be set back */
    }
    for (int k = 0; k < 8; ++k)
        a[k] = p[k] + q[k] + r[k] + s[k] + t[k] + u[k] + v[k] + w[k] + x[k] + y[k];
    results[1] = 2.0 * 80.0 * (double)STEPS / best;
    return 0;
}
"""

ELEMENTS = 4_000_000  # doubles an array, so that three of them do not fit into a cache


@dataclass(frozen=True)
class Machine:
    """Rates of one core, measured.

    bandwidth: bytes a second through memory, of a loop that reads two arrays and writes one
    arithmetic: float64 operations a second in vector registers
    product, product_single: operations a second of a matrix product by BLAS, float64 and float32, with the threads it
        takes, which for our own copy is one; 0 without a BLAS
    """

    bandwidth: float
    arithmetic: float
    product: float
    product_single: float

    def fastest(self, single: bool) -> float:
        """Operations a second that nothing exceeds, in float32 if `single` and otherwise in float64."""
        return max(2 * self.arithmetic, self.product_single) if single else max(self.arithmetic, self.product)


def measure(toolchain: Toolchain, cache: Cache, blas: Blas | None) -> Machine:
    """The rates of this machine, measured in about half a second the first time and remembered in the cache directory.

    Raises CompileError, NoCompiler or CacheRefused, as `load` does. What cannot be stored is measured all the same.
    """
    key = digest(repr((_SOURCE, toolchain.identity, blas and (blas.path, blas.name, blas.serial))).encode())[:16]
    memory = cache.directory / f"machine-{key}.json"
    try:
        known = json.loads(memory.read_text())
        return Machine(*(float(known[field.name]) for field in fields(Machine)))
    except (OSError, ValueError, KeyError, TypeError):
        machine = _measure(toolchain, cache, blas)
        with suppress(OSError, CacheRefused):
            cache.install_text(json.dumps(asdict(machine)), memory)
        return machine


def _measure(toolchain: Toolchain, cache: Cache, blas: Blas | None) -> Machine:
    module = load(_SOURCE, name="sg_machine", uses_blas=False, toolchain=toolchain, cache=cache, blas=None)
    ffi = module.ffi
    results = ffi.new("double[]", 2)
    arrays = [ffi.new("double[]", ELEMENTS) for _ in range(3)]
    pointers = ffi.new("void *[]", [results, *arrays])
    module.run(pointers, ffi.new("int64_t[]", [ELEMENTS]), ffi.NULL)
    products = [_product_rate(blas, ffi, *kind) if blas is not None else 0.0
                for kind in (("dgemm", "double"), ("sgemm", "float"))]  # fmt: skip
    return Machine(results[0], results[1], *products)


def _product_rate(blas: Blas, ffi: Any, function: str, real: str) -> float:
    from time import perf_counter

    n = 768
    integer = blas.integer
    matrix = f"{real} *, {integer}"
    flags, lengths = "int, int, int", ", ".join([integer] * 3)
    signature = f"void(*)({flags}, {lengths}, {real}, {matrix}, {matrix}, {real}, {matrix})"
    gemm = ffi.cast(signature, blas.addresses[function])
    a, b, c = (ffi.new(f"{real}[]", n * n) for _ in range(3))
    best = float("inf")
    for _ in range(4):
        start = perf_counter()
        gemm(101, 111, 111, n, n, n, 1.0, a, n, b, n, 0.0, c, n)
        best = min(best, perf_counter() - start)
    return 2.0 * n**3 / best
