"""The C of products whose result has few columns (or rows), their number known: tiles of it stay in vector registers.

Such products read a long matrix once and do little with each element. BLAS first brings its operands into an order
that pays only if they are used often; here the long matrix is read as it lies, in whole vectors along its rows. So
the lanes of a vector run over the sum if its rows do, and over rows of the result otherwise.
"""

from __future__ import annotations

import math
from string import Template

WIDEST = 12  # columns of a result up to which it counts as narrow: BLAS takes as long as for 16
WORK = 1 << 14  # multiplications up to which BLAS is as good
ROW = 160  # sums along rows: the lanes of a row's columns are added up in as long as so many multiplications take
COMPILED = 1 << 18  # multiplications for which the kernels, which take the compiler 0.1 s, are worth compiling
KNOWN = 6 << 10  # the product of the known lengths from which 40 rows, not too large a batch, are so many

# Not a vector extension of one processor but of compilers: gcc and clang make of these types what there is.
DECLARATIONS = """\
/* Products with few columns keep a tile of the result in vector registers: SG_TILE columns, twice. */
#if defined(__GNUC__)
#if defined(__AVX512F__)
enum { SG_VECTOR = 64, SG_TILE = 14 };
#elif defined(__AVX__)
enum { SG_VECTOR = 32, SG_TILE = 6 };
#elif defined(__aarch64__)
enum { SG_VECTOR = 16, SG_TILE = 14 };
#else
enum { SG_VECTOR = 16, SG_TILE = 6 };
#endif
enum { SG_ROWS = 256, SG_STEP = 64 }; /* of the pieces of a product that stay in the cache */
#define SG_WHOLE __attribute__((aligned(64))) /* no vector of it lies on two lines of the cache */

/* Multiplications and additions may be one instruction. */
#if defined(__clang__)
#define SG_UNROLL _Pragma("clang loop unroll(full)")
#define SG_FUSED _Pragma("clang fp contract(fast)")
#define SG_PRODUCT static __attribute__((noinline))
#define SG_AROUND static __attribute__((noinline))
#else
#define SG_UNROLL _Pragma("GCC unroll 32")
#define SG_FUSED
#define SG_PRODUCT static __attribute__((noinline, optimize("fp-contract=fast")))
#define SG_AROUND static __attribute__((noinline, optimize("O1"))) /* quick to compile, and seldom run */
#endif
#endif"""

_VECTOR = Template("""\
#if defined(__GNUC__)
typedef $T sg_vector_$s __attribute__((vector_size(SG_VECTOR), aligned(sizeof($T)), may_alias));
typedef $T sg_piece_$s __attribute__((vector_size(16), aligned(sizeof($T)), may_alias));
enum { SG_LANES_$S = SG_VECTOR / sizeof($T), SG_DEPTH_$S = 4096 / sizeof($T) };
#endif""")

_KERNELS = Template("""\
#if defined(__GNUC__)
enum {
    SG_GROUPS_${S}_$N = ($N + SG_TILE - 1) / SG_TILE,
    SG_GROUP_${S}_$N = ($N + SG_GROUPS_${S}_$N - 1) / SG_GROUPS_${S}_$N,
    SG_PADDED_${S}_$N = SG_GROUPS_${S}_$N * SG_GROUP_${S}_$N
};

/* The sums over l of two rows a[l] times each row b[l] of a group, which has zeros up to a whole vector. */
SG_PRODUCT void sg_dots_${s}_$N(int64_t k, const $T *a, const $T *next, const $T *b, $T *total)
{
    SG_FUSED
    enum { LANES = SG_LANES_$S, GROUP = SG_GROUP_${S}_$N };
    SG_WHOLE $T last[2][LANES] = {{0}}, part[2 * GROUP][LANES];
    const int64_t whole = k / LANES * LANES;
    for (int64_t l = whole; l < k; ++l) {
        last[0][l - whole] = a[l];
        last[1][l - whole] = next[l];
    }
    sg_vector_$s sum[2 * GROUP];
    SG_UNROLL
    for (int j = 0; j < 2 * GROUP; ++j)
        sum[j] = (sg_vector_$s){0};
    for (int64_t l = 0; l < k; l += LANES) {
        const bool ends = l == whole;
        const sg_vector_$s x = *(const sg_vector_$s *)(ends ? last[0] : a + l);
        const sg_vector_$s y = *(const sg_vector_$s *)(ends ? last[1] : next + l);
        SG_UNROLL
        for (int j = 0; j < GROUP; ++j) {
            /* Loaded once for both, which is what takes the time: otherwise gcc makes it an operand of each. */
            const sg_vector_$s w = *(const volatile sg_vector_$s *)(b + j * SG_DEPTH_$S + l);
            sum[j] += x * w;
            sum[GROUP + j] += y * w;
        }
    }
    memcpy(part, sum, sizeof part);
    for (int j = 0; j < 2 * GROUP; ++j) {
        const sg_piece_$s *piece = (const sg_piece_$s *)part[j];
        sg_piece_$s four = piece[0];
        for (int q = 1; q < SG_VECTOR / 16; ++q)
            four += piece[q];
        $T lane[16 / sizeof($T)], all = 0;
        memcpy(lane, &four, sizeof lane);
        for (size_t q = 0; q < 16 / sizeof($T); ++q)
            all += lane[q];
        total[j < GROUP ? j : SG_PADDED_${S}_$N + j - GROUP] = all;
    }
}

/* Adds to the sums of two vectors of columns of a, one for each of a group of factors, the rows a[l] times b[l]. */
SG_PRODUCT void sg_outer_${s}_$N(int64_t k, const $T *a, int64_t a_row, const $T *b, $T *sums)
{
    SG_FUSED
    enum { LANES = SG_LANES_$S, GROUP = SG_GROUP_${S}_$N };
    sg_vector_$s sum[2 * GROUP], *place = (sg_vector_$s *)sums;
    SG_UNROLL
    for (int j = 0; j < 2 * GROUP; ++j)
        sum[j] = place[j];
    for (int64_t l = 0; l < k; ++l, a += a_row, b += SG_PADDED_${S}_$N) {
        const sg_vector_$s x = *(const sg_vector_$s *)a, y = *(const sg_vector_$s *)(a + LANES);
        SG_UNROLL
        for (int j = 0; j < GROUP; ++j) {
            sum[2 * j] += b[j] * x;
            sum[2 * j + 1] += b[j] * y;
        }
    }
    SG_UNROLL
    for (int j = 0; j < 2 * GROUP; ++j)
        place[j] = sum[j];
}

/* c = beta c + alpha sum, where both have $N columns and lie in steps from row to row and from column to column. */
SG_AROUND void sg_merge_${s}_$N(int64_t rows, $T alpha, const $T *sum, int64_t sum_row, int64_t sum_column, $T beta,
                                $T *c, int64_t c_row, int64_t c_column)
{
    for (int64_t i = 0; i < rows; ++i, sum += sum_row, c += c_row)
        if (beta == 0)
            for (int64_t j = 0; j < $N; ++j)
                c[j * c_column] = alpha * sum[j * sum_column];
        else
            for (int64_t j = 0; j < $N; ++j)
                c[j * c_column] = beta * c[j * c_column] + alpha * sum[j * sum_column];
}

/* Some rows of c = beta c + alpha a b, a being by rows and b as `packed`, by columns, the first `depth` of k sums. */
SG_AROUND void sg_rows_${s}_$N(int64_t rows, int64_t k, int64_t depth, $T alpha, const $T *a, const $T *packed, $T beta,
                               $T *c, int64_t c_row, int64_t c_column)
{
    $T total[SG_ROWS + 1][SG_PADDED_${S}_$N];
    for (int64_t i = 0; i < rows; i += 2) {
        const $T *row = a + i * k, *next = i + 1 < rows ? row + k : row;
        for (int g = 0; g < SG_PADDED_${S}_$N; g += SG_GROUP_${S}_$N)
            sg_dots_${s}_$N(depth, row, next, packed + g * SG_DEPTH_$S, total[i] + g);
    }
    sg_merge_${s}_$N(rows, alpha, total[0], SG_PADDED_${S}_$N, 1, beta, c, c_row, c_column);
}

/* Some rows of c = beta c + alpha a.T b, a being k x m. If they do not fill two vectors, these begin with rows before
   them, which must be there, and what comes out for those is left. */
SG_AROUND void sg_columns_${s}_$N(int64_t rows, int64_t m, int64_t k, int64_t tb, $T alpha, const $T *a, const $T *b,
                                  $T beta, $T *c, int64_t c_row, int64_t c_column)
{
    enum { WIDE = 2 * SG_LANES_$S };
    SG_WHOLE $T sums[SG_ROWS / WIDE][SG_PADDED_${S}_$N][WIDE] = {{{0}}};
    $T packed[SG_STEP][SG_PADDED_${S}_$N] = {{0}};
    const int64_t tiles = (rows + WIDE - 1) / WIDE;
    for (int64_t l = 0; l < k; l += SG_STEP) {
        const int64_t depth = k - l < SG_STEP ? k - l : SG_STEP;
        const $T *factors = b + l * $N;
        if (tb || SG_PADDED_${S}_$N != $N) {
            for (int64_t p = 0; p < depth; ++p)
                for (int64_t j = 0; j < $N; ++j)
                    packed[p][j] = tb ? b[j * k + l + p] : factors[p * $N + j];
            factors = packed[0];
        }
        for (int64_t t = 0; t < tiles; ++t) { /* the last overlaps the one before it */
            const int64_t i = (t + 1) * WIDE <= rows ? t * WIDE : rows - WIDE;
            for (int g = 0; g < SG_PADDED_${S}_$N; g += SG_GROUP_${S}_$N)
                sg_outer_${s}_$N(depth, a + l * m + i, m, factors + g, sums[t][g]);
        }
    }
    for (int64_t t = 0; t < tiles; ++t) {
        const int64_t i = t * WIDE, done = i + WIDE <= rows ? 0 : i + WIDE - rows;
        sg_merge_${s}_$N(WIDE - done, alpha, sums[t][0] + done, 1, WIDE, beta, c + i * c_row, c_row, c_column);
    }
}

/* c = beta c + alpha op(a) op(b), of $N columns, where c lies by rows or by columns; false: not done, since BLAS is as
   fast. Threads do different rows, so that the sums are the same by any number of them. */
SG_AROUND bool sg_narrow_${s}_$N(int64_t ta, int64_t tb, int64_t m, int64_t k, $T alpha, const $T *a, const $T *b,
                                 $T beta, $T *c, int64_t c_row, int64_t c_column)
{
    const int64_t work = m * k * $N, columns = ($N + SG_LANES_$S - 1) / SG_LANES_$S * SG_LANES_$S;
    if (work < $work || m < 2 * SG_LANES_$S || k < SG_LANES_$S)
        return false;
    if (!ta && k * (columns - $N) < $row * $N) /* what is saved beside whole vectors of columns */
        return false;
    const int64_t threads = work < sg_worth() ? 1 : *sg_threads; /* which may change meanwhile */
    const int64_t parts = ((m + SG_ROWS - 1) / SG_ROWS + threads - 1) / threads * threads; /* as many for each thread */
    if (ta) {
        const int64_t wide = 2 * SG_LANES_$S, tiles = (m + wide - 1) / wide;
        SG_IN_PARTS
        for (int64_t part = 0; part < parts; ++part) {
            const int64_t i = tiles * part / parts * wide, end = tiles * (part + 1) / parts * wide;
            const int64_t rows = (end < m ? end : m) - i;
            sg_columns_${s}_$N(rows, m, k, tb, alpha, a + i, b, beta, c + i * c_row, c_row, c_column);
        }
        sg_product_done(threads);
        return true;
    }
    SG_WHOLE $T packed[SG_PADDED_${S}_$N][SG_DEPTH_$S] = {{0}};
    const int64_t pieces = (k + SG_DEPTH_$S - 1) / SG_DEPTH_$S, b_row = tb ? 1 : $N, b_column = tb ? k : 1;
    for (int64_t piece = 0; piece < pieces; ++piece) {
        const int64_t l = k * piece / pieces, depth = k * (piece + 1) / pieces - l;
        for (int64_t j = 0; j < $N; ++j) {
            for (int64_t p = 0; p < depth; ++p)
                packed[j][p] = b[(l + p) * b_row + j * b_column];
            for (int64_t p = depth; p < SG_DEPTH_$S && p < depth + SG_LANES_$S; ++p)
                packed[j][p] = 0;
        }
        SG_IN_PARTS
        for (int64_t part = 0; part < parts; ++part) {
            const int64_t i = m * part / parts, rows = m * (part + 1) / parts - i;
            sg_rows_${s}_$N(rows, k, depth, alpha, a + i * k + l, packed[0], piece ? 1 : beta, c + i * c_row, c_row,
                            c_column);
        }
    }
    sg_product_done(threads);
    return true;
}
#endif""")


def vectors(suffix: str) -> str:
    """The C types that the kernels for one dtype, f32 or f64, share."""
    return _VECTOR.substitute(s=suffix, S=suffix.upper(), T=_TYPES[suffix])


def kernels(suffix: str, columns: int) -> str:
    """The C of products of f32 or f64 whose result has so many columns."""
    return _KERNELS.substitute(s=suffix, S=suffix.upper(), T=_TYPES[suffix], N=columns, work=WORK, row=ROW)


def pays(m: int | None, n: int | None, k: int | None) -> bool:
    """Whether products of lengths that are known, or None, may be large enough.

    The known lengths must say that the matrices are not tiny.
    """
    known = math.prod(length for length in (m, n, k) if length is not None)
    return known >= (COMPILED if None not in (m, n, k) else KNOWN)


_TYPES = {"f32": "float", "f64": "double"}
