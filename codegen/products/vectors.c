/* A small BLAS by symgraph: cblas_sgemm, cblas_dgemm, cblas_sgemv and cblas_dgemv of matrices that lie by rows.

   It is written in the vector types of gcc and clang, which become the instructions of the CPU it is compiled for.
   What follows these common parts is there twice, for REAL being float and for double.

   No sum depends on how a product is cut into parts by rows or columns: all of its terms meet in one lane of one
   register, one after the other, in pieces that the number of terms alone decides. So the parts of a product may go to
   any number of threads. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if !defined(__GNUC__)
#error "needs the vector types of gcc and clang"
#endif

/* A tile of a result, ROWS rows by two vectors, stays in registers, of which it leaves some for the operands. */
#if defined(__AVX512F__)
#define ROWS 14
#define VECTOR_BYTES 64
#define LANES_float 16
#define LANES_double 8
#elif defined(__AVX__)
#define ROWS 6
#define VECTOR_BYTES 32
#define LANES_float 8
#define LANES_double 4
#else
#if defined(__aarch64__)
#define ROWS 12
#else
#define ROWS 6
#endif
#define VECTOR_BYTES 16
#define LANES_float 4
#define LANES_double 2
#endif

#define JOIN(a, b) a##b
#define JOINED(a, b) JOIN(a, b)
#define OF_REAL(name) JOINED(name, REAL)
#define VECTOR OF_REAL(vector_)
#define LANES OF_REAL(LANES_)
#define WIDTH (2 * LANES)

/* The lanes of two vectors by turns: those of their first halves, those of their second halves. */
#define FIRST_2 0, 2
#define FIRST_4 0, 4, 1, 5
#define FIRST_8 0, 8, 1, 9, 2, 10, 3, 11
#define FIRST_16 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define SECOND_2 1, 3
#define SECOND_4 2, 6, 3, 7
#define SECOND_8 4, 12, 5, 13, 6, 14, 7, 15
#define SECOND_16 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#if defined(__clang__) || __GNUC__ >= 12
#define LANES_OF(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define LANES_OF(x, y, ...) __builtin_shuffle(x, y, (OF_REAL(lanes_)){__VA_ARGS__})
#endif

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline)) /* some of its arguments are constants where it is called */
#define APART static __attribute__((noinline))
#define EXPORTED __attribute__((visibility("default")))

#ifndef SG_BLAS_INT
#define SG_BLAS_INT int64_t
#endif
enum { AS_IT_IS = 111, TRANSPOSED = 112 }; /* of the flags of CBLAS */

typedef float vector_float __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(float)), may_alias));
typedef double vector_double __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(double)), may_alias));
typedef int32_t lanes_float __attribute__((vector_size(VECTOR_BYTES)));
typedef int64_t lanes_double __attribute__((vector_size(VECTOR_BYTES)));

/* Where part number `part` of `parts` begins, if `all` is shared out evenly. */
static inline ptrdiff_t share(ptrdiff_t all, ptrdiff_t parts, ptrdiff_t part)
{
    return all * part / parts;
}

/* How the rows of a result are cut into tiles: pairs of rows, as many for each, the first ones having one more. */
enum { FEW = (ROWS + 2) / 4 * 2 }; /* rows of the smallest tile */
typedef struct {
    ptrdiff_t rows, tiles, pairs, longer;
} Tiling;

static inline Tiling tiled(ptrdiff_t rows)
{
    const ptrdiff_t pairs = (rows + 1) / 2, tiles = (2 * pairs + ROWS - 1) / ROWS;
    return (Tiling){rows, tiles, rows ? pairs / tiles : 0, rows ? pairs % tiles : 0};
}

static inline ptrdiff_t top_of(Tiling tiling, ptrdiff_t tile)
{
    return 2 * (tile * tiling.pairs + (tile < tiling.longer ? tile : tiling.longer));
}

/* The rows of a tile: an even number, of which one or a few may not be there. */
static inline ptrdiff_t rows_of(Tiling tiling, ptrdiff_t tile)
{
    const ptrdiff_t rows = top_of(tiling, tile + 1) - top_of(tiling, tile);
    return rows < FEW ? FEW : rows;
}

static inline ptrdiff_t there(Tiling tiling, ptrdiff_t tile)
{
    const ptrdiff_t top = top_of(tiling, tile), next = top_of(tiling, tile + 1);
    return (next < tiling.rows ? next : tiling.rows) - top;
}

static inline bool is_whole(Tiling tiling, ptrdiff_t tile)
{
    return there(tiling, tile) == rows_of(tiling, tile);
}

/* What gemm packs, for each thread. A panel, two vectors wide, takes the larger part of a first-level cache, a block of
   rows half of a small second-level one. */
#define GROUP (PANELS_BYTES / (ptrdiff_t)sizeof(REAL) / DEPTH / WIDTH * WIDTH) /* columns of the panels */
enum {
    DEPTH = 256,           /* terms of a sum that are added up at once */
    DEEP = 64,             /* terms from which on a panel is packed while it is used */
    TILES = 280 / ROWS,    /* of a block */
    PANELS_BYTES = 1 << 20 /* of panels that are kept while several blocks of rows meet them */
};
static _Thread_local _Alignas(VECTOR_BYTES) union {
    float as_float[TILES * ROWS * DEPTH + LANES_float];
    double as_double[TILES * ROWS * DEPTH + LANES_double];
} block_of_thread;
static _Thread_local _Alignas(VECTOR_BYTES) union {
    float as_float[PANELS_BYTES / sizeof(float)];
    double as_double[PANELS_BYTES / sizeof(double)];
} panels_of_thread;
