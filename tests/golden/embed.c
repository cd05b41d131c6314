/* embed, compiled by symgraph

   input   picks : int64 (picks_0,)
   input   step : float64 (picks_0, 4)
   shared  table : float64 (50, 4)
   output  sum(table[picks], axis=1)
   update  table <- inc_subtensor(table[picks], -0.1 * step)

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

/* all((picks >= -50) & (picks < 50)) : bool ()    test_golden.py:75
   4*picks_0 operations; 8*picks_0 bytes read, 1 written */
SG_KERNEL void compute(const int64_t *restrict picks, bool *restrict t, int64_t picks_0)
{
    bool best = true;
    SG_LANES(omp simd reduction(&:best))
    for (int64_t i = 0; i < picks_0; ++i) {
        const int64_t picks_2 = picks[i];
        best = best & ((picks_2 >= -50) & (picks_2 < 50));
    }
    t[0] = best;
}

/* step * -0.1 : float64 (picks_0, 4)    test_golden.py:76
   4*picks_0 operations; 32*picks_0 bytes read, 32*picks_0 written */
SG_KERNEL void compute_2(const double *restrict step, double *restrict t_2, int64_t picks_0)
{
    SG_LANES(omp simd)
    for (int64_t i = 0; i < picks_0 * 4; ++i) {
        t_2[i] = step[i] * -0.1;
    }
}

/* sum(table[picks], axis=1) : float64 (picks_0,)    test_golden.py:75
   4*picks_0 operations; 8*picks_0 + 32 bytes read, 8*picks_0 written */
SG_KERNEL void compute_3(const int64_t *restrict picks, const double *restrict table, double *restrict output_0,
                         int64_t picks_0)
{
    for (int64_t i = 0; i < picks_0; ++i) {
        const int64_t picks_2 = picks[i];
        double total = 0.0;
        SG_LANES(omp simd reduction(+:total))
        for (int64_t j = 0; j < 4; ++j) {
            total += table[(picks_2 < 0 ? picks_2 + 50 : picks_2) * 4 + j];
        }
        output_0[i] = total;
    }
}

/* table <- inc_subtensor(table[picks], step * -0.1) : float64 (50, 4)    test_golden.py:76
   6*picks_0 operations; 40*picks_0 + 32 bytes read, 32 written */
SG_KERNEL void scatter(const int64_t *restrict picks, double *restrict table, const double *restrict t_2,
                       int64_t picks_0)
{
    for (int64_t i0 = 0; i0 < picks_0; ++i0) {
        const int64_t at0 = picks[i0] < 0 ? picks[i0] + 50 : picks[i0];
        for (int64_t i1 = 0; i1 < 4; ++i1) {
            table[at0 * 4 + i1] += t_2[i0 * 4 + i1];
        }
    }
}

/* Checks the lengths of the arguments and derives the other sizes; 0, or the number of the check that failed. */
int embed_plan(void *const *arrays, int64_t *sizes)
{
    const int64_t picks_0 = sizes[0];
    const int64_t step_0 = sizes[1];
    const int64_t step_1 = sizes[2];
    const int64_t table_0 = sizes[3];
    const int64_t table_1 = sizes[4];
    (void)arrays;
    const int64_t workspace_bytes = 64 + ((picks_0 * 32 + 63) & -64);
    /* table.shape[0] is 50 */
    if (!(table_0 == 50))
        return 1;
    /* table.shape[1] is 4 */
    if (!(table_1 == 4))
        return 2;
    /* for inc_subtensor(table[picks], -0.1 * step)    test_golden.py:76 */
    if (!(picks_0 == step_0))
        return 3;
    /* for inc_subtensor(table[picks], -0.1 * step)    test_golden.py:76 */
    if (!(4 == step_1))
        return 4;
    sizes[5] = workspace_bytes;
    return 0;
}

/* Computes everything; the sizes are those that the plan left. */
int embed(void *const *arrays, const int64_t *sizes, void *workspace)
{
    const int64_t *picks = arrays[0]; /* input, int64 (picks_0,) */
    const double *step = arrays[1]; /* input, float64 (picks_0, 4) */
    double *table = arrays[2]; /* shared, float64 (50, 4) */
    double *output_0 = arrays[3]; /* output, float64 (picks_0,) */
    const int64_t picks_0 = sizes[0];
    bool *t = workspace;
    double *t_2 = (double *)((char *)workspace + 64);
    compute(picks, t, picks_0);
    if (!t[0])
        return 8;
    compute_2(step, t_2, picks_0);
    compute_3(picks, table, output_0, picks_0);
    scatter(picks, table, t_2, picks_0);
    return 0;
}
