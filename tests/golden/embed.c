/* embed, compiled by symgraph

   input   picks : int64 (picks_0,)
   input   step : float64 (picks_0, 4)
   shared  table : float64 (50, 4)
   output  sum(table[picks], axis=1)
   update  table <- inc_subtensor(table[picks], -0.1 * step)

   arrays: {picks, step, table, output_0}, contiguous, the last axis running fastest. sizes: 6 numbers; the caller
   sets the first 5, picks_0, step_0, step_1, table_0, table_1; embed_plan(arrays, sizes) sets the others. Then
   embed(arrays, sizes, workspace) computes; workspace: sizes[5] bytes, aligned to 64. Both give 0, or the number of a
   check that failed. */

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
#define SG_INLINE static inline __attribute__((always_inline, unused))
#else
#define SG_KERNEL static
#define SG_INLINE static inline
#endif

/* Functions that only call others are not optimized: the compiler would be at them for a third of its time, and where
   they are long for more than linear time. */
#if defined(__clang__)
#define SG_PLAIN __attribute__((optnone))
#elif defined(__GNUC__)
#define SG_PLAIN __attribute__((optimize("O0")))
#else
#define SG_PLAIN
#endif

#ifdef _OPENMP
#include <time.h>

/* The time, in seconds. */
SG_INLINE double sg_now(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
#endif

/* Large work is done in blocks, which threads share out. The number of blocks depends on the work alone: the results
   are the same to the last bit for any number of threads. NAME_threads receives the address of that number. */
#ifndef SG_BLOCK_WORK
#define SG_BLOCK_WORK 131072
#endif
#ifndef SG_AWAKE
#define SG_AWAKE 2e-05
#endif
enum { SG_MOST_BLOCKS = 32 };
static const int32_t sg_one_thread = 1;
static const int32_t *sg_threads = &sg_one_thread;

SG_INLINE int64_t sg_blocks(int64_t n, int64_t work)
{
    const int64_t most = n < SG_MOST_BLOCKS ? n : SG_MOST_BLOCKS, wanted = work / SG_BLOCK_WORK;
    int64_t blocks = 1; /* a power of 2, as most numbers of threads are: then all have the same share */
    while (2 * blocks <= wanted && 2 * blocks <= most)
        blocks *= 2;
    return blocks;
}

/* One pass takes the blocks from the first to the last, the next one from the last to the first: it begins with what
   is still in the caches. In the same order again, of an array a bit larger than they are, it would find nothing: each
   line would have made room just before it is needed. */
static _Atomic bool sg_turned;

SG_INLINE bool sg_turns(int64_t blocks, int64_t work)
{
    if (blocks == 1 || work >= (int64_t)128 * SG_BLOCK_WORK)
        return false;
    const bool turned = !sg_turned;
    sg_turned = turned;
    return turned;
}

/* Calls CALL for each block of 0 ... N-1; it may use `block`, `first` and `last`, which is one behind the block.
   A thread always gets the same blocks, and finds in its caches what it has left there. */
#define SG_BLOCKS_OF(thread, threads, n, call)                                                              \
    {                                                                                                       \
        const int64_t sg_from = blocks * (thread) / (threads), sg_to = blocks * ((thread) + 1) / (threads); \
        for (int64_t sg_k = sg_from; sg_k < sg_to; ++sg_k) {                                                \
            const int64_t block = sg_back ? sg_from + sg_to - 1 - sg_k : sg_k;                              \
            const int64_t first = (n) * block / blocks, last = (n) * (block + 1) / blocks;                  \
            call;                                                                                           \
        }                                                                                                   \
    }
#ifdef _OPENMP
/* To wake threads takes longer than a little work does. That is shared out when they are awake from work before, or
   when so much has come, one after the other, that it would have been worth it to wake them. */
static _Atomic double sg_worked, sg_ended; /* when threads last did work, and when the last work ended */
static _Atomic double sg_alone;            /* for how long one thread has done work that others could have shared */

SG_INLINE bool sg_are_awake(double now)
{
#if defined(__clang__) /* those of its library sleep at once */
    (void)now;
    return false;
#else
    return now >= sg_worked && now - sg_worked < SG_AWAKE;
#endif
}

SG_INLINE bool sg_shares(int64_t work, double now)
{
    if (now - sg_ended > SG_AWAKE)
        sg_alone = 0;
    return work >= (int64_t)64 * SG_BLOCK_WORK || sg_are_awake(now) || sg_alone >= 0.0001;
}

SG_INLINE void sg_done(double start, bool shared)
{
    const double now = sg_now();
    sg_ended = now;
    sg_worked = shared ? now : sg_worked;
    sg_alone = shared ? 0 : sg_alone + (now - start);
}

#define SG_IN_BLOCKS(n, work, call)                                                          \
    {                                                                                        \
        const bool sg_back = sg_turns(blocks, work);                                         \
        const bool sg_several = blocks > 1 && *sg_threads > 1;                               \
        const double sg_start = sg_several ? sg_now() : 0;                                   \
        const bool sg_shared = sg_several && sg_shares(work, sg_start);                      \
        const int32_t sg_count = sg_shared ? *sg_threads : 1;                                \
        if (sg_shared) {                                                                     \
            _Pragma("omp parallel for schedule(static) num_threads(sg_count)")               \
            for (int32_t sg_thread = 0; sg_thread < sg_count; ++sg_thread)                   \
                SG_BLOCKS_OF(sg_thread, sg_count, n, call)                                   \
        } else {                                                                             \
            SG_BLOCKS_OF(0, 1, n, call)                                                      \
        }                                                                                    \
        if (sg_several)                                                                      \
            sg_done(sg_start, sg_shared);                                                    \
    }
#else
#define SG_IN_BLOCKS(n, work, call)                  \
    {                                                \
        const bool sg_back = sg_turns(blocks, work); \
        SG_BLOCKS_OF(0, 1, n, call)                  \
    }
#endif

/* Asks for memory that will be read soon: some bytes, from `distance` behind a place on. */
static inline void sg_ahead(const void *from, int64_t distance, int64_t bytes)
{
#if defined(__GNUC__)
    for (int64_t k = 0; k < bytes; k += 64)
        __builtin_prefetch((const void *)((uintptr_t)from + (uintptr_t)(distance + k)));
#else
    (void)from, (void)distance, (void)bytes;
#endif
}

/* Loops in vectors with a lane for each element of type OF, where the compiler can leave lanes idle. With SG_IDLE, what
   is left over at the end is one more vector, and not done one by one. gcc then has two copies of a body to find
   registers for, and finds them if it is told to look at every loop by itself. Vectors of AVX2 it would set to 0 by
   halves, for which those who read them whole would wait. */
#if defined(SG_SIMD) && defined(__GNUC__) && defined(__AVX512F__)
#define SG_VECTOR_BYTES 64
#elif defined(SG_SIMD) && defined(__GNUC__) && defined(__AVX2__) && !defined(__clang__)
#define SG_VECTOR_BYTES 32
#endif
#if !defined(SG_VECTOR_BYTES) || defined(__clang__)
#define SG_BY_VECTORS
#elif SG_VECTOR_BYTES == 64
#define SG_BY_VECTORS __attribute__((optimize("ira-region=all")))
#else
#define SG_BY_VECTORS __attribute__((optimize("ira-region=all", "no-tree-loop-distribute-patterns")))
#endif
enum { SG_ONE_BY_ONE, SG_IDLE };
#define SG_ALL_LANES(clauses) SG_LANES(clauses)
#define SG_START_add(x) 0
#define SG_add(a, b) ((a) + (b))
#define SG_SIGN_add +
#define SG_START_smallest(x) _Generic(x, float: INFINITY, double: INFINITY, int32_t: INT32_MAX, int64_t: INT64_MAX, \
                                      uint32_t: UINT32_MAX, default: UINT64_MAX)
#define SG_smallest(a, b) ((b) < (a) ? (b) : (a))
#define SG_SIGN_smallest min

/* Combines the elements of an array with a value: in pairs, and pairs of pairs. */
#define SG_JOIN(how, value, array)                                                       \
    for (int sg_lane = 0; sg_lanes == 16 && sg_lane < 8; ++sg_lane)                      \
        array[sg_lane] = how(array[sg_lane], array[sg_lane + sg_lanes / 2]);             \
    for (int sg_lane = 0; sg_lanes >= 8 && sg_lane < 4; ++sg_lane)                       \
        array[sg_lane] = how(array[sg_lane], array[sg_lane + (sg_lanes >= 8 ? 4 : 0)]);  \
    array[0] = how(how(array[0], array[2]), how(array[1], array[3]));                    \
    value = how(value, array[0]);

/* BODY for INDEX = FROM ... TO-1. Each lane has an x of its own, until the end. */
#ifdef SG_VECTOR_BYTES
#define SG_ROW_1(end, of, index, from, to, how_1, type_1, x_1, ...)                                   \
    {                                                                                                 \
        enum { sg_lanes = SG_VECTOR_BYTES / (int)sizeof(of) };                                        \
        const int64_t sg_whole = (from) + (((to) - (from)) & -(int64_t)sg_lanes);                     \
        const int32_t sg_left = (int32_t)((to) - sg_whole);                                           \
        type_1 sg_x_1[sg_lanes];                                                                      \
        for (int sg_lane = 0; sg_lane < sg_lanes; ++sg_lane) sg_x_1[sg_lane] = SG_START_##how_1(x_1); \
        for (int64_t sg_at = from; sg_at < sg_whole; sg_at += sg_lanes) {                             \
            SG_LANES(omp simd)                                                                        \
            for (int32_t sg_lane = 0; sg_lane < sg_lanes; ++sg_lane) {                                \
                const int64_t index = sg_at + sg_lane;                                                \
                type_1 x_1 = sg_x_1[sg_lane];                                                         \
                __VA_ARGS__                                                                           \
                sg_x_1[sg_lane] = x_1;                                                                \
            }                                                                                         \
        }                                                                                             \
        if (end && sg_left > 0) {                                                                     \
            SG_LANES(omp simd)                                                                        \
            for (int32_t sg_lane = 0; sg_lane < sg_lanes; ++sg_lane) {                                \
                type_1 x_1 = sg_x_1[sg_lane];                                                         \
                if (sg_lane < sg_left) {                                                              \
                    const int64_t index = sg_whole + sg_lane;                                         \
                    __VA_ARGS__                                                                       \
                }                                                                                     \
                sg_x_1[sg_lane] = x_1;                                                                \
            }                                                                                         \
        }                                                                                             \
        SG_JOIN(SG_##how_1, x_1, sg_x_1)                                                              \
        for (int64_t index = sg_whole; !(end) && index < (to); ++index)                               \
            __VA_ARGS__                                                                               \
    }
#else
#define SG_ROW_1(end, of, index, from, to, how_1, type_1, x_1, ...) \
    SG_ALL_LANES(omp simd reduction(SG_SIGN_##how_1 : x_1))         \
    for (int64_t index = from; index < (to); ++index)               \
        __VA_ARGS__
#endif

static inline uint32_t sg_minimum_u32(uint32_t a, uint32_t b)
{
    return a > b ? b : a;
}

/* all((picks >= -50) & (picks < 50)) : bool ()    test_golden.py:76
   4*picks_0 + 2 operations; 8*picks_0 bytes read, 1 written */
SG_BY_VECTORS
SG_KERNEL void compute(const int64_t *restrict picks, uint32_t *restrict best_of_block, int64_t picks_0,
                       int64_t first, int64_t last)
{
    uint32_t best = 4294967295U;
    for (int64_t run = first; run < last; run += 512) {
        const int64_t end = last - run < 512 ? last : run + 512;
        if (picks_0 * 8 >= 8388608) {
            sg_ahead(picks + run, 16384, (end - run) * 8);
        }
        SG_ROW_1(SG_IDLE, uint32_t, i, run, end, smallest, uint32_t, best, {
            const int64_t picks_2 = picks[i];
            best = sg_minimum_u32(best, (uint32_t)((picks_2 >= -50) & (picks_2 < 50)));
        })
    }
    best_of_block[0] = best;
}

/* What compute leaves to do when all blocks are done. */
SG_KERNEL void compute_rest(uint8_t *restrict t, uint32_t *restrict best_of_block, int64_t blocks)
{
    uint32_t best = 4294967295U;
    for (int64_t block = 0; block < blocks; ++block) {
        best = sg_minimum_u32(best, best_of_block[block]);
    }
    t[0] = best != 0;
}

/* compute in blocks. */
SG_PLAIN
SG_KERNEL void compute_in_blocks(const int64_t *restrict picks, uint32_t *restrict best_of_block, uint8_t *restrict t,
                                 int64_t picks_0)
{
    const int64_t work = picks_0 * 7, blocks = sg_blocks(picks_0, work);
    SG_IN_BLOCKS(picks_0, work, compute(picks, best_of_block + block, picks_0, first, last))
    compute_rest(t, best_of_block, blocks);
}

/* step * -0.1 : float64 (picks_0, 4)    test_golden.py:77
   4*picks_0 operations; 32*picks_0 bytes read, 32*picks_0 written */
SG_KERNEL void compute_2(const double *restrict step, double *restrict t_2, int64_t first, int64_t last)
{
    SG_LANES(omp simd)
    for (int64_t i = first; i < last; ++i) {
        t_2[i] = step[i] * -0.1;
    }
}

/* compute_2 in blocks. */
SG_PLAIN
SG_KERNEL void compute_2_in_blocks(const double *restrict step, double *restrict t_2, int64_t picks_0)
{
    const int64_t work = picks_0 * 40, blocks = sg_blocks(picks_0 * 4, work);
    SG_IN_BLOCKS(picks_0 * 4, work, compute_2(step, t_2, first, last))
}

/* sum(table[picks], axis=1) : float64 (picks_0,)    test_golden.py:76
   4*picks_0 operations; 8*picks_0 + 32 bytes read, 8*picks_0 written */
SG_BY_VECTORS
SG_KERNEL void compute_3(const int64_t *restrict picks, const double *restrict table, double *restrict output_0,
                         int64_t first, int64_t last)
{
    for (int64_t i = first; i < last; ++i) {
        const int64_t picks_2 = picks[i];
        double total = 0.0;
        SG_ROW_1(SG_IDLE, double, j, 0, 4, add, double, total, {
            total += table[(picks_2 < 0 ? picks_2 + 50 : picks_2) * 4 + j];
        })
        output_0[i] = total;
    }
}

/* compute_3 in blocks. */
SG_PLAIN
SG_KERNEL void compute_3_in_blocks(const int64_t *restrict picks, const double *restrict table,
                                   double *restrict output_0, int64_t picks_0)
{
    const int64_t work = picks_0 * 16, blocks = sg_blocks(picks_0, work);
    SG_IN_BLOCKS(picks_0, work, compute_3(picks, table, output_0, first, last))
}

/* table <- inc_subtensor(table[picks], step * -0.1) : float64 (50, 4)    test_golden.py:77
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
SG_PLAIN
int embed_plan(void *const *arrays, int64_t *sizes)
{
    const int64_t picks_0 = sizes[0];
    const int64_t step_0 = sizes[1];
    const int64_t step_1 = sizes[2];
    const int64_t table_0 = sizes[3];
    const int64_t table_1 = sizes[4];
    (void)arrays;
    const int64_t workspace_bytes = 192 + ((picks_0 * 32 + 63) & -64);
    /* table.shape[0] is 50 */
    if (!(table_0 == 50))
        return 1;
    /* table.shape[1] is 4 */
    if (!(table_1 == 4))
        return 2;
    /* for inc_subtensor(table[picks], -0.1 * step)    test_golden.py:77 */
    if (!(picks_0 == step_0))
        return 3;
    /* for inc_subtensor(table[picks], -0.1 * step)    test_golden.py:77 */
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
    uint8_t *t = workspace;
    double *t_2 = (double *)((char *)workspace + 192);
    uint32_t *best_of_block = (uint32_t *)((char *)workspace + 64);
    compute_in_blocks(picks, best_of_block, t, picks_0);
    /* all((picks >= -50) & (picks < 50))    test_golden.py:76 */
    if (t[0] == 0)
        return 8;
    compute_2_in_blocks(step, t_2, picks_0);
    compute_3_in_blocks(picks, table, output_0, picks_0);
    scatter(picks, table, t_2, picks_0);
    return 0;
}

void embed_threads(const int32_t *count)
{
    sg_threads = count;
}
