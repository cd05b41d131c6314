"""C routines that programs call: matrix products. Each is printed into a unit that uses it.

`sg_gemm_*` and `sg_gemv_*` take row-major matrices without gaps. Small products run as loops, since a call to BLAS
costs more than they do; larger ones go to the BLAS handed over at load; without one, to loops.
`sg_gemm_f32_n10` is `sg_gemm_f32` where the result is known to have 10 columns, and `sg_gemm_f32_m10` rows: see
narrow.py.
"""

from __future__ import annotations

import re
from string import Template

from codegen import ir, narrow
from codegen.blas import FUNCTIONS

SMALL = 16 * 16 * 16  # multiplications below which loops beat a call to BLAS
PART = 1 << 22  # multiplications that are worth a thread; for fewer, BLAS may add up in another order
AWAKE_PART = 1 << 17  # those that are worth one that is awake
BORDER = 32  # rows or columns that BLAS computes at once, or a multiple of them
FIXED_PARTS = 4  # where the order of sums depends on the borders: no more, since each part costs 2 %

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
static void *sg_blas[$count + 1];
enum { SG_ROW_MAJOR = 101, SG_AS_IT_IS = 111, SG_TRANSPOSED = 112 };
#define SG_FITS(n) ((SG_BLAS_INT)(n) == (n))
#define SG_ANY_BORDERS ((void *)2)
"""
)

_IN_PARTS = Template(
    """
/* The loop behind this does parts that have nothing to do with each other, by so many `threads`. */
#ifdef _OPENMP
#define SG_IN_PARTS _Pragma("omp parallel for schedule(static) num_threads((int)threads) if (threads > 1)")

static void sg_product_done(int64_t threads)
{
    if (threads > 1)
        sg_worked = sg_ended = sg_now();
}

/* The multiplications that are worth a thread, which are fewer while it is awake. */
static double sg_worth(void)
{
    return *sg_threads > 1 && sg_are_awake(sg_now()) ? $awake_part : $part;
}
#else
#define SG_IN_PARTS
#define sg_product_done(threads) (void)(threads)
#define sg_worth() $part
#endif
"""
)

_LARGE_GEMM = Template(
    """
/* sg_gemm_$s by BLAS, in parts of c, never of the sums, whose order must not depend on the number of threads. So either
   it does not depend on borders, or the parts are fixed. Columns are cut unless rows are twice as many: then a thread
   that has some columns of a weight in its cache, since it multiplied by them, also updates them. */
SG_PLAIN
static void sg_large_gemm_$s(int64_t ta, int64_t tb, int64_t m, int64_t n, int64_t k, $T alpha, const $T *a,
                             const $T *b, $T beta, $T *c)
{
    sg_$gemm_name gemm;
    memcpy(&gemm, &sg_blas[$gemm], sizeof gemm);
    const double work = (double)m * (double)n * (double)k;
    const bool by_rows = m >= 2 * n, any_borders = sg_blas[$count] == SG_ANY_BORDERS;
    const double worth = any_borders && work >= 2.0 * $awake_part ? sg_worth() : $part;
    const int64_t most = !sg_blas[$count] ? 1 : any_borders ? *sg_threads : $fixed;
    const int64_t side = by_rows ? m : n, steps = (side + $border - 1) / $border;
    int64_t parts = steps < most ? steps : most;
    if (work / worth < (double)parts)
        parts = work < 2 * worth ? 1 : (int64_t)(work / worth);
    const int64_t threads = parts > 1 ? *sg_threads : 1;
    SG_IN_PARTS
    for (int64_t part = 0; part < parts; ++part) {
        const int64_t first = steps * part / parts * $border, next = steps * (part + 1) / parts * $border;
        const int64_t length = (next < side ? next : side) - first;
        const int64_t row = by_rows ? first : 0, column = by_rows ? 0 : first;
        gemm(SG_ROW_MAJOR, ta ? SG_TRANSPOSED : SG_AS_IT_IS, tb ? SG_TRANSPOSED : SG_AS_IT_IS,
             (SG_BLAS_INT)(by_rows ? length : m), (SG_BLAS_INT)(by_rows ? n : length), (SG_BLAS_INT)k, alpha,
             a + row * (ta ? 1 : k), (SG_BLAS_INT)(ta ? m : k), b + column * (tb ? k : 1), (SG_BLAS_INT)(tb ? k : n),
             beta, c + row * n + column, (SG_BLAS_INT)n);
    }
    sg_product_done(threads);
}
"""
)

_NARROW_GEMM = Template(
    """
/* sg_gemm_$s of $count $what. */
static void sg_gemm_${s}_$kind$count(int64_t ta, int64_t tb, int64_t m, int64_t n, int64_t k, $T alpha, const $T *a,
                             const $T *b, $T beta, $T *restrict c)
{
#if defined(__GNUC__)
    if (sg_narrow_${s}_$count($arguments))
        return;
#endif
    sg_gemm_$s(ta, tb, m, n, k, alpha, a, b, beta, c);
}
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
    /* Where alpha is 0, BLAS may leave out the product, and the NaN in it. */
    if (sg_blas[$gemm] && SG_FITS(m) && SG_FITS(n) && SG_FITS(k) && k > 0 && alpha != $zero &&
        (double)m * (double)n * (double)k >= $small) {
        sg_large_gemm_$s(ta, tb, m, n, k, alpha, a, b, beta, c);
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
                SG_LANES(omp simd reduction(+:total))
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
    if (sg_blas[$gemv] && SG_FITS(m) && SG_FITS(n) && m > 0 && n > 0 && alpha != $zero &&
        (double)m * (double)n >= $small) {
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
            SG_LANES(omp simd reduction(+:total))
            for (int64_t j = 0; j < n; ++j)
                total += a[i * n + j] * x[j];
            y[i] += alpha * total;
        }
    }
}
"""
)

_ROUTINE = re.compile(r"sg_(?P<kind>gem[mv])_(?P<suffix>f32|f64)(?:_(?P<known>[mn])(?P<count>[1-9][0-9]*))?")


def gemm(suffix: str, m: ir.Expr, n: ir.Expr, k: ir.Expr) -> str:
    """The routine for a product of f32 or f64, of m x k by k x n."""
    rows, columns, inner = (int(e.value) if isinstance(e, ir.Literal) else None for e in (m, n, k))
    if narrow.pays(rows, columns, inner):
        for known, length in ("n", columns), ("m", rows):
            if length is not None and 1 < length <= narrow.WIDEST:
                return f"sg_gemm_{suffix}_{known}{length}"
    return f"sg_gemm_{suffix}"


def is_routine(name: str) -> bool:
    """Whether a called function is one of these."""
    return _ROUTINE.fullmatch(name) is not None


def parameters(name: str) -> tuple[ir.Buffer | ir.Var, ...]:
    """The parameters of a routine, as a kernel would have them; KeyError where there is none."""
    kind, suffix, _, _ = _parts(name)
    dtype = {"f32": "float32", "f64": "float64"}[suffix]
    a, b = ("a", "b") if kind == "gemm" else ("a", "x")
    sizes = ("ta", "tb", "m", "n", "k") if kind == "gemm" else ("ta", "m", "n")
    result = "c" if kind == "gemm" else "y"
    return (
        *(ir.Var(ir.INDEX, size) for size in sizes), ir.Var(dtype, "alpha"), ir.Buffer(a, dtype), ir.Buffer(b, dtype),
        ir.Var(dtype, "beta"), ir.Buffer(result, dtype, writable=True),
    )  # fmt: skip


def routines(names: list[str], function: str) -> list[str]:
    """The C text of some routines and of what they need, for a unit whose function is called `function`."""
    if not names:
        return []
    wanted = sorted(_parts(name) for name in names)
    narrow_ones = sorted({(suffix, int(count)) for _, suffix, known, count in wanted if known})
    plain = sorted({(kind, suffix) for kind, suffix, _, _ in wanted})
    parts = [_DECLARATIONS.substitute(name=function, count=len(FUNCTIONS)).strip()]
    if any(kind == "gemm" for kind, _ in plain):
        parts.append(_IN_PARTS.substitute(part=PART, awake_part=AWAKE_PART).strip())
    for kind, suffix in plain:
        parts += [_filled(_LARGE_GEMM, suffix), _filled(_GEMM, suffix)] if kind == "gemm" else [_filled(_GEMV, suffix)]
    if narrow_ones:
        parts += [narrow.DECLARATIONS, *(narrow.vectors(suffix) for suffix in sorted({s for s, _ in narrow_ones}))]
        parts += [narrow.kernels(suffix, count) for suffix, count in narrow_ones]
    for _, suffix, known, count in wanted:
        if known:
            by_columns = known == "n"
            parts.append(_filled(
                _NARROW_GEMM, suffix, kind=known, count=count, what="columns" if by_columns else "rows",
                arguments="ta, tb, m, k, alpha, a, b, beta, c, n, 1" if by_columns
                else "!tb, !ta, n, k, alpha, b, a, beta, c, 1, n",
            ))  # fmt: skip
    return parts


def take_blas(function: str) -> str:
    """The C text of the entry point that receives the BLAS."""
    order = ", ".join(FUNCTIONS)
    return (
        f"/* Receives pointers to {order} of a CBLAS whose integers are SG_BLAS_INT; and one that is not NULL\n"
        "   if a call does all its work on the thread that calls, SG_ANY_BORDERS if its sums do not mind borders. */\n"
        f"void {function}_blas(void *const *functions)\n"
        "{\n"
        "    memcpy(sg_blas, functions, sizeof sg_blas);\n"
        "}"
    )


def _parts(name: str) -> tuple[str, str, str, str]:
    """The kind of a routine, its dtype, which length is known ("m", "n" or neither) and that length."""
    match = _ROUTINE.fullmatch(name)
    if match is None:
        raise KeyError(name)
    return match["kind"], match["suffix"], match["known"] or "", match["count"] or ""


def _filled(template: Template, suffix: str, **more: str) -> str:
    """A template in one dtype."""
    letter = "s" if suffix == "f32" else "d"
    values = dict(
        s=suffix, T="float" if suffix == "f32" else "double", small=SMALL, part=PART, awake_part=AWAKE_PART,
        border=BORDER, fixed=FIXED_PARTS,
        zero="0.0f" if suffix == "f32" else "0.0", one="1.0f" if suffix == "f32" else "1.0",
        gemm=FUNCTIONS.index(f"{letter}gemm"), gemv=FUNCTIONS.index(f"{letter}gemv"), count=len(FUNCTIONS),
        gemm_name=f"{letter}gemm_t", gemv_name=f"{letter}gemv_t",
    )  # fmt: skip
    return template.substitute({**values, **more}).strip()
