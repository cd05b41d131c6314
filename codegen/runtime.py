"""C routines that programs call: matrix products. Each is printed into a unit that uses it.

`sg_gemm_*` and `sg_gemv_*` take row-major matrices without gaps. Small products run as loops, since a call to BLAS
costs more than they do; larger ones go to the BLAS handed over at load; without one, to blocked loops.
"""

from __future__ import annotations

from string import Template

from codegen import ir
from codegen.blas import FUNCTIONS

SMALL = 16 * 16 * 16  # multiplications below which loops beat a call to BLAS

_DECLARATIONS = Template(
    """
/* The BLAS, by pointers that ${name}_blas receives; NULL until then, and loops are used instead. */
#ifndef SG_BLAS_INT
#define SG_BLAS_INT int64_t
#endif
typedef void (*sg_sgemm_t)(int, int, int, SG_BLAS_INT, SG_BLAS_INT, SG_BLAS_INT, float, const float *, SG_BLAS_INT,
                           const float *, SG_BLAS_INT, float, float *, SG_BLAS_INT);
typedef void (*sg_dgemm_t)(int, int, int, SG_BLAS_INT, SG_BLAS_INT, SG_BLAS_INT, double, const double *, SG_BLAS_INT,
                           const double *, SG_BLAS_INT, double, double *, SG_BLAS_INT);
typedef void (*sg_sgemv_t)(int, int, SG_BLAS_INT, SG_BLAS_INT, float, const float *, SG_BLAS_INT,
                           const float *, SG_BLAS_INT, float, float *, SG_BLAS_INT);
typedef void (*sg_dgemv_t)(int, int, SG_BLAS_INT, SG_BLAS_INT, double, const double *, SG_BLAS_INT,
                           const double *, SG_BLAS_INT, double, double *, SG_BLAS_INT);
static void *sg_blas[$count];
enum { SG_ROW_MAJOR = 101, SG_AS_IT_IS = 111, SG_TRANSPOSED = 112 };
"""
)

_GEMM = Template(
    """
/* c = beta c + alpha op(a) op(b), where op(a) is m x k, op(b) k x n and c m x n; op transposes where told to. */
static void sg_gemm_$s(int64_t ta, int64_t tb, int64_t m, int64_t n, int64_t k, $T alpha, const $T *a, const $T *b,
                        $T beta, $T *restrict c)
{
    if (m == 0 || n == 0)
        return;
    if (sg_blas[$gemm] && k > 0 && (double)m * (double)n * (double)k >= $small) {
        sg_$gemm_name gemm;
        memcpy(&gemm, &sg_blas[$gemm], sizeof gemm);
        gemm(SG_ROW_MAJOR, ta ? SG_TRANSPOSED : SG_AS_IT_IS, tb ? SG_TRANSPOSED : SG_AS_IT_IS, (SG_BLAS_INT)m,
             (SG_BLAS_INT)n, (SG_BLAS_INT)k, alpha, a, (SG_BLAS_INT)(ta ? m : k), b, (SG_BLAS_INT)(tb ? k : n), beta, c,
             (SG_BLAS_INT)n);
        return;
    }
    const int64_t a_row = ta ? 1 : k, a_column = ta ? m : 1;
    for (int64_t i = 0; i < m; ++i) {
        $T *restrict row = c + i * n;
        if (beta == $zero)
            for (int64_t j = 0; j < n; ++j)
                row[j] = $zero;
        else if (beta != $one)
            for (int64_t j = 0; j < n; ++j)
                row[j] *= beta;
        if (tb)
            for (int64_t j = 0; j < n; ++j) {
                $T total = $zero;
                for (int64_t l = 0; l < k; ++l)
                    total += a[i * a_row + l * a_column] * b[j * k + l];
                row[j] += alpha * total;
            }
        else
            for (int64_t l = 0; l < k; ++l) {
                const $T factor = alpha * a[i * a_row + l * a_column];
                for (int64_t j = 0; j < n; ++j)
                    row[j] += factor * b[l * n + j];
            }
    }
}
"""
)

_GEMV = Template(
    """
/* y = beta y + alpha op(a) x, where a is stored as m x n. */
static void sg_gemv_$s(int64_t ta, int64_t m, int64_t n, $T alpha, const $T *a, const $T *x, $T beta, $T *restrict y)
{
    const int64_t length = ta ? n : m;
    if (length == 0)
        return;
    if (sg_blas[$gemv] && m > 0 && n > 0 && (double)m * (double)n >= $small) {
        sg_$gemv_name gemv;
        memcpy(&gemv, &sg_blas[$gemv], sizeof gemv);
        gemv(SG_ROW_MAJOR, ta ? SG_TRANSPOSED : SG_AS_IT_IS, (SG_BLAS_INT)m, (SG_BLAS_INT)n, alpha, a, (SG_BLAS_INT)n,
             x, 1, beta, y, 1);
        return;
    }
    for (int64_t i = 0; i < length; ++i)
        y[i] = beta == $zero ? $zero : beta * y[i];
    for (int64_t i = 0; i < m; ++i) {
        if (ta) {
            const $T factor = alpha * x[i];
            for (int64_t j = 0; j < n; ++j)
                y[j] += factor * a[i * n + j];
        } else {
            $T total = $zero;
            for (int64_t j = 0; j < n; ++j)
                total += a[i * n + j] * x[j];
            y[i] += alpha * total;
        }
    }
}
"""
)

_ROUTINES = {"sg_gemm_f32": "f32", "sg_gemm_f64": "f64", "sg_gemv_f32": "f32", "sg_gemv_f64": "f64"}


def is_routine(name: str) -> bool:
    """Whether a called function is one of these."""
    return name in _ROUTINES


def parameters(name: str) -> tuple[ir.Buffer | ir.Var, ...]:
    """The parameters of a routine, as a kernel would have them; KeyError where there is none."""
    dtype = {"f32": "float32", "f64": "float64"}[_ROUTINES[name]]
    a, b = ("a", "b") if name.startswith("sg_gemm") else ("a", "x")
    sizes = ("ta", "tb", "m", "n", "k") if name.startswith("sg_gemm") else ("ta", "m", "n")
    result = "c" if name.startswith("sg_gemm") else "y"
    return (
        *(ir.Var(ir.INDEX, size) for size in sizes), ir.Var(dtype, "alpha"), ir.Buffer(a, dtype), ir.Buffer(b, dtype),
        ir.Var(dtype, "beta"), ir.Buffer(result, dtype, writable=True),
    )  # fmt: skip


def routines(names: list[str], function: str) -> list[str]:
    """The C text of some routines and of what they need, for a unit whose function is called `function`."""
    if not names:
        return []
    values = {"name": function, "count": len(FUNCTIONS)}
    return [_DECLARATIONS.substitute(values).strip(), *map(_routine, sorted(names))]


def take_blas(function: str) -> str:
    """The C text of the entry point that receives the BLAS."""
    order = ", ".join(FUNCTIONS)
    return (
        f"/* Receives pointers to {order} of a CBLAS whose integers are SG_BLAS_INT. */\n"
        f"void {function}_blas(void *const *functions)\n"
        "{\n"
        "    memcpy(sg_blas, functions, sizeof sg_blas);\n"
        "}"
    )


def _routine(name: str) -> str:
    single = _ROUTINES[name] == "f32"
    letter = "s" if single else "d"
    template = _GEMM if name.startswith("sg_gemm") else _GEMV
    return template.substitute(
        s=_ROUTINES[name], T="float" if single else "double", small=SMALL, zero="0.0f" if single else "0.0",
        one="1.0f" if single else "1.0", gemm=FUNCTIONS.index(f"{letter}gemm"), gemv=FUNCTIONS.index(f"{letter}gemv"),
        gemm_name=f"{letter}gemm_t", gemv_name=f"{letter}gemv_t",
    ).strip()  # fmt: skip
