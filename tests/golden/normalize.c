/* normalize, compiled by symgraph

   input   x : float64 (x_0, x_1)
   input   gain : float64 (x_1,)
   output  scaled = (x - ....dimshuffle(0, 'x') / float64(...)) / sqrt(... + 1e-05) * gain
   output  sum((x - ....dimshuffle(0, 'x') / ...) / sqrt(... + 1e-05) * gain, axis=0)
   output  max(abs(x))

   arrays are contiguous, the last axis running fastest */

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Iterations of the loop below may run side by side in vector lanes. */
#ifdef SG_SIMD
#define SG_LANES(clauses) _Pragma(#clauses)
#else
#define SG_LANES(clauses)
#endif

/* Kernels stay functions of their own, so that the time to compile grows with their number and not faster. Functions of
   numbers become part of the loops that use them, which could not run in vector lanes otherwise. */
#if defined(__GNUC__)
#define SG_KERNEL static __attribute__((noinline))
#define SG_INLINE static inline __attribute__((always_inline))
#else
#define SG_KERNEL static
#define SG_INLINE static inline
#endif

/* Large work is done in blocks, which threads share out. The number of blocks depends on the work alone: the results
   are the same to the last bit for any number of threads. NAME_threads receives the address of that number. */
#ifndef SG_BLOCK_WORK
#define SG_BLOCK_WORK 131072
#endif
enum { SG_MOST_BLOCKS = 32 };
static const int32_t sg_one_thread = 1;
static const int32_t *sg_threads = &sg_one_thread;

SG_INLINE int64_t sg_blocks(int64_t n, int64_t work)
{
    const int64_t most = n < SG_MOST_BLOCKS ? n : SG_MOST_BLOCKS, blocks = work / SG_BLOCK_WORK;
    return blocks < 2 || most < 2 ? 1 : blocks < most ? blocks : most;
}

/* Calls CALL for each block of 0 ... N-1; it may use `block`, `first` and `last`, which is one behind the block. */
#define SG_BLOCK_OF(n, call)                                                           \
    {                                                                                  \
        const int64_t first = (n) * block / blocks, last = (n) * (block + 1) / blocks; \
        call;                                                                          \
    }
#ifdef _OPENMP
#define SG_IN_BLOCKS(n, call)                                                  \
    if (blocks > 1 && *sg_threads > 1) {                                       \
        _Pragma("omp parallel for schedule(dynamic) num_threads(*sg_threads)") \
        for (int64_t block = 0; block < blocks; ++block)                       \
            SG_BLOCK_OF(n, call)                                               \
    } else {                                                                   \
        for (int64_t block = 0; block < blocks; ++block)                       \
            SG_BLOCK_OF(n, call)                                               \
    }
#else
#define SG_IN_BLOCKS(n, call)                        \
    for (int64_t block = 0; block < blocks; ++block) \
        SG_BLOCK_OF(n, call)
#endif

static inline bool sg_isnan_f64(double a)
{
    return a != a;
}

static inline double sg_maximum_f64(double a, double b)
{
    const double best = a < b ? b : a;
    return b != b ? b : best;
}

/* scaled = (x - mean) / sqrt(variance + 1e-05) * gain : float64 (x_0, x_1)    test_golden.py:66
   sum(scaled, axis=0) : float64 (x_1,)    test_golden.py:67
   max(abs(x)) : float64 ()    test_golden.py:67
   12*x_0*x_1 + 4*x_0 + 3 operations; 8*x_0*x_1 + 8*x_1 bytes read, 8*x_0*x_1 + 8*x_1 + 8 written */
SG_KERNEL void compute_scaled(const double *restrict x, const double *restrict gain, double *restrict scaled,
                              double *restrict output_1_of_block, double *restrict best_of_block,
                              int64_t *restrict best_of_block_2, int64_t x_1, int64_t first, int64_t last)
{
    SG_LANES(omp simd)
    for (int64_t i = 0; i < x_1; ++i) {
        output_1_of_block[i] = 0.0;
    }
    double best = -INFINITY;
    int64_t nan_seen = 0;
    for (int64_t i = first; i < last; ++i) {
        double total = 0.0;
        SG_LANES(omp simd reduction(+:total) reduction(max:best) reduction(|:nan_seen))
        for (int64_t j = 0; j < x_1; ++j) {
            const double x_2 = x[i * x_1 + j];
            total += x_2;
            const double term = fabs(x_2);
            best = best < term ? term : best;
            nan_seen = nan_seen | (int64_t)sg_isnan_f64(term);
        }
        const double mean = total / (double)x_1;
        double total_2 = 0.0;
        SG_LANES(omp simd reduction(+:total_2))
        for (int64_t j = 0; j < x_1; ++j) {
            const double x_2 = x[i * x_1 + j];
            const double t_2 = x_2 - mean;
            total_2 += t_2 * t_2;
        }
        const double t_6 = sqrt(total_2 / (double)x_1 + 1e-05);
        SG_LANES(omp simd)
        for (int64_t j = 0; j < x_1; ++j) {
            const double x_2 = x[i * x_1 + j];
            const double t_2 = x_2 - mean;
            const double scaled_2 = t_2 / t_6 * gain[j];
            scaled[i * x_1 + j] = scaled_2;
            output_1_of_block[j] += scaled_2;
        }
    }
    best_of_block[0] = best;
    best_of_block_2[0] = nan_seen;
}

/* What compute_scaled leaves to do when all blocks are done. */
SG_KERNEL void compute_scaled_rest(double *restrict output_1, double *restrict output_2,
                                   double *restrict best_of_block, int64_t *restrict best_of_block_2,
                                   double *restrict output_1_of_block, int64_t blocks, int64_t x_1)
{
    double best = -INFINITY;
    int64_t nan_seen = 0;
    for (int64_t block = 0; block < blocks; ++block) {
        best = sg_maximum_f64(best, best_of_block[block]);
        nan_seen = nan_seen | best_of_block_2[block];
    }
    SG_LANES(omp simd)
    for (int64_t i = 0; i < x_1; ++i) {
        output_1[i] = output_1_of_block[i];
    }
    for (int64_t block = 1; block < blocks; ++block) {
        SG_LANES(omp simd)
        for (int64_t i = 0; i < x_1; ++i) {
            output_1[i] += output_1_of_block[block * x_1 + i];
        }
    }
    best = nan_seen != 0 ? NAN : best;
    output_2[0] = best;
}

/* Checks the lengths of the arguments and derives the other sizes; 0, or the number of the check that failed. */
int normalize_plan(void *const *arrays, int64_t *sizes)
{
    const int64_t x_0 = sizes[0];
    const int64_t x_1 = sizes[1];
    const int64_t gain_0 = sizes[2];
    (void)arrays;
    const int64_t workspace_bytes = 512 + ((x_1 * 256 + 63) & -64);
    /* for (x - ....dimshuffle(0, 'x') / float64(...)) / sqrt(... + 1e-05) * gain    test_golden.py:66 */
    if (!(x_1 == gain_0))
        return 1;
    /* x_0 > 0 */
    if (!(x_0 > 0))
        return 2;
    /* x_1 > 0 */
    if (!(x_1 > 0))
        return 3;
    sizes[3] = workspace_bytes;
    return 0;
}

/* Computes everything; the sizes are those that the plan left. */
int normalize(void *const *arrays, const int64_t *sizes, void *workspace)
{
    const double *x = arrays[0]; /* input, float64 (x_0, x_1) */
    const double *gain = arrays[1]; /* input, float64 (x_1,) */
    double *scaled = arrays[2]; /* output, float64 (x_0, x_1) */
    double *output_1 = arrays[3]; /* output, float64 (x_1,) */
    double *output_2 = arrays[4]; /* output, float64 () */
    const int64_t x_0 = sizes[0];
    const int64_t x_1 = sizes[1];
    double *best_of_block = workspace;
    int64_t *best_of_block_2 = (int64_t *)((char *)workspace + 256);
    double *output_1_of_block = (double *)((char *)workspace + 512);
    {
        const int64_t blocks = sg_blocks(x_0, x_0 * x_1 * 27);
        SG_IN_BLOCKS(x_0, compute_scaled(x, gain, scaled, output_1_of_block + block * x_1, best_of_block + block,
                                         best_of_block_2 + block, x_1, first, last))
        compute_scaled_rest(output_1, output_2, best_of_block, best_of_block_2, output_1_of_block, blocks, x_1);
    }
    return 0;
}

void normalize_threads(const int32_t *count)
{
    sg_threads = count;
}
