/* normalize, compiled by symgraph

   input   x : float64 (x_0, x_1)
   input   gain : float64 (x_1,)
   output  scaled = (x - ...) / sqrt(...) * gain
   output  sum((x - (... / ...).dimshuffle(0, 'x')) / sqrt(... + 1e-05) * gain, axis=0)
   output  max(abs(x))

   arrays: {x, gain, scaled, output_1, output_2}, contiguous, the last axis running fastest. sizes: 5 numbers; the
   caller sets the first 3, x_0, x_1, gain_0; normalize_plan(arrays, sizes) sets the others. Then normalize(arrays,
   sizes, workspace) computes; workspace: sizes[4] bytes, aligned to 64. Both give 0, or the number of a check that
   failed. */

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

/* Arrays of SG_LARGE bytes and more are written past the caches, where the machine can do that. */
#ifndef SG_LARGE
#define SG_LARGE 8388608
#endif
#if defined(__clang__)
#define SG_PAST_CACHES(to, from) __builtin_nontemporal_store(from, to)
typedef long long sg_part __attribute__((vector_size(16), may_alias));
#elif defined(__GNUC__) && defined(__AVX512F__)
#define SG_PAST_CACHES(to, from) __builtin_ia32_movntdq512(to, from)
typedef long long sg_part __attribute__((vector_size(64), may_alias));
#elif defined(__GNUC__) && defined(__AVX__)
#define SG_PAST_CACHES(to, from) __builtin_ia32_movntdq256(to, from)
typedef long long sg_part __attribute__((vector_size(32), may_alias));
#elif defined(__GNUC__) && defined(__SSE2__)
#define SG_PAST_CACHES(to, from) __builtin_ia32_movntdq(to, from)
typedef long long sg_part __attribute__((vector_size(16), may_alias));
#endif

static inline bool sg_is_large(int64_t bytes)
{
#ifdef SG_PAST_CACHES
    return bytes >= SG_LARGE;
#else
    return bytes < 0;
#endif
}

/* Copies past the caches, but for the ends of the target that are no whole lines. */
SG_KERNEL void sg_stream(void *restrict target, const void *restrict source, int64_t bytes)
{
    char *to = target;
    const char *from = source;
    int64_t k = 0;
#ifdef SG_PAST_CACHES
    const int64_t head = (int64_t)(-(uintptr_t)to % 64);
    k = head < bytes ? head : bytes;
    memcpy(to, from, (size_t)k);
    for (; bytes - k >= 64; k += 64)
        for (int64_t part = 0; part < 64; part += (int64_t)sizeof(sg_part)) {
            sg_part x;
            memcpy(&x, from + k + part, sizeof x);
            SG_PAST_CACHES((sg_part *)(void *)(to + k + part), x);
        }
#endif
    memcpy(to + k, from + k, (size_t)(bytes - k));
}

/* What was written past the caches comes before what is written from here on, as other threads see it. */
static inline void sg_streamed(void)
{
#if defined(SG_PAST_CACHES) && defined(__SSE2__)
    __builtin_ia32_sfence();
#endif
}

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
#define SG_START_largest(x) _Generic(x, float: -INFINITY, double: -INFINITY, int32_t: INT32_MIN, int64_t: INT64_MIN, default: 0)
#define SG_largest(a, b) ((a) < (b) ? (b) : (a))
#define SG_SIGN_largest max
#define SG_START_or(x) 0
#define SG_or(a, b) ((a) | (b))
#define SG_SIGN_or |

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

/* BODY for INDEX = FROM ... TO-1. Each lane has 3 such x of its own. */
#ifdef SG_VECTOR_BYTES
#define SG_ROW_3(end, of, index, from, to, how_1, type_1, x_1, how_2, type_2, x_2, how_3, type_3, x_3, ...) \
    {                                                                                                       \
        enum { sg_lanes = SG_VECTOR_BYTES / (int)sizeof(of) };                                              \
        const int64_t sg_whole = (from) + (((to) - (from)) & -(int64_t)sg_lanes);                           \
        const int32_t sg_left = (int32_t)((to) - sg_whole);                                                 \
        type_1 sg_x_1[sg_lanes];                                                                            \
        type_2 sg_x_2[sg_lanes];                                                                            \
        type_3 sg_x_3[sg_lanes];                                                                            \
        for (int sg_lane = 0; sg_lane < sg_lanes; ++sg_lane) sg_x_1[sg_lane] = SG_START_##how_1(x_1);       \
        for (int sg_lane = 0; sg_lane < sg_lanes; ++sg_lane) sg_x_2[sg_lane] = SG_START_##how_2(x_2);       \
        for (int sg_lane = 0; sg_lane < sg_lanes; ++sg_lane) sg_x_3[sg_lane] = SG_START_##how_3(x_3);       \
        for (int64_t sg_at = from; sg_at < sg_whole; sg_at += sg_lanes) {                                   \
            SG_LANES(omp simd)                                                                              \
            for (int32_t sg_lane = 0; sg_lane < sg_lanes; ++sg_lane) {                                      \
                const int64_t index = sg_at + sg_lane;                                                      \
                type_1 x_1 = sg_x_1[sg_lane];                                                               \
                type_2 x_2 = sg_x_2[sg_lane];                                                               \
                type_3 x_3 = sg_x_3[sg_lane];                                                               \
                __VA_ARGS__                                                                                 \
                sg_x_1[sg_lane] = x_1;                                                                      \
                sg_x_2[sg_lane] = x_2;                                                                      \
                sg_x_3[sg_lane] = x_3;                                                                      \
            }                                                                                               \
        }                                                                                                   \
        if (end && sg_left > 0) {                                                                           \
            SG_LANES(omp simd)                                                                              \
            for (int32_t sg_lane = 0; sg_lane < sg_lanes; ++sg_lane) {                                      \
                type_1 x_1 = sg_x_1[sg_lane];                                                               \
                type_2 x_2 = sg_x_2[sg_lane];                                                               \
                type_3 x_3 = sg_x_3[sg_lane];                                                               \
                if (sg_lane < sg_left) {                                                                    \
                    const int64_t index = sg_whole + sg_lane;                                               \
                    __VA_ARGS__                                                                             \
                }                                                                                           \
                sg_x_1[sg_lane] = x_1;                                                                      \
                sg_x_2[sg_lane] = x_2;                                                                      \
                sg_x_3[sg_lane] = x_3;                                                                      \
            }                                                                                               \
        }                                                                                                   \
        SG_JOIN(SG_##how_1, x_1, sg_x_1)                                                                    \
        SG_JOIN(SG_##how_2, x_2, sg_x_2)                                                                    \
        SG_JOIN(SG_##how_3, x_3, sg_x_3)                                                                    \
        for (int64_t index = sg_whole; !(end) && index < (to); ++index)                                     \
            __VA_ARGS__                                                                                     \
    }
#else
#define SG_ROW_3(end, of, index, from, to, how_1, type_1, x_1, how_2, type_2, x_2, how_3, type_3, x_3, ...)                   \
    SG_ALL_LANES(omp simd reduction(SG_SIGN_##how_1 : x_1) reduction(SG_SIGN_##how_2 : x_2) reduction(SG_SIGN_##how_3 : x_3)) \
    for (int64_t index = from; index < (to); ++index)                                                                         \
        __VA_ARGS__
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

/* scaled = (x - mean) / sqrt(variance + 1e-05) * gain : float64 (x_0, x_1)    test_golden.py:67
   sum((x - mean) / sqrt(variance + 1e-05), axis=0) : float64 (x_1,)    test_golden.py:68
   max(abs(x)) : float64 ()    test_golden.py:68
   12*x_0*x_1 + 4*x_0 + 3 operations; 8*x_0*x_1 + 8*x_1 bytes read, 8*x_0*x_1 + 8*x_1 + 8 written */
SG_BY_VECTORS
SG_KERNEL void compute_scaled(const double *restrict x, const double *restrict gain, double *restrict scaled,
                              double *restrict output_1_of_block, double *restrict best_of_block,
                              int64_t *restrict best_of_block_2, int64_t x_1, int64_t first, int64_t last,
                              int64_t x_0)
{
    SG_LANES(omp simd)
    for (int64_t i = 0; i < x_1; ++i) {
        output_1_of_block[i] = 0.0;
    }
    double best = -INFINITY;
    int64_t nan_seen = 0;
    for (int64_t i = first; i < last; ++i) {
        double total = 0.0;
        SG_ROW_3(SG_IDLE, double, j, 0, x_1, add, double, total, largest, double, best, or, int64_t, nan_seen, {
            const double x_2 = x[i * x_1 + j];
            total += x_2;
            const double term = fabs(x_2);
            best = best < term ? term : best;
            nan_seen = nan_seen | (int64_t)sg_isnan_f64(term);
        })
        const double mean = total / (double)x_1;
        double total_2 = 0.0;
        for (int64_t run = 0; run < x_1; run += 512) {
            const int64_t end = x_1 - run < 512 ? x_1 : run + 512;
            sg_ahead(x + i * x_1 + run, 8192, (end - run) * 8);
            SG_ROW_1(SG_IDLE, double, j, run, end, add, double, total_2, {
                const double x_2 = x[i * x_1 + j];
                const double t_2 = x_2 - mean;
                total_2 += t_2 * t_2;
            })
        }
        const double t_6 = sqrt(total_2 / (double)x_1 + 1e-05);
        for (int64_t run = 0, sg_run = sg_is_large(x_0 * x_1 * 8) ? 128 : x_0 * x_1; run < x_1; run += sg_run) {
            const int64_t end = x_1 - run < sg_run ? x_1 : run + sg_run;
            double sg_row[128];
            const bool sg_large = sg_run != x_0 * x_1;
            double *sg_to = sg_large ? sg_row : scaled + i * x_1 + run;
            SG_LANES(omp simd)
            for (int64_t j = run; j < end; ++j) {
                const double x_2 = x[i * x_1 + j];
                const double t_2 = x_2 - mean;
                const double t_7 = t_2 / t_6;
                sg_to[j - run] = t_7 * gain[j];
                output_1_of_block[j] += t_7;
            }
            if (sg_large)
                sg_stream(scaled + i * x_1 + run, sg_row, (end - run) * 8);
        }
    }
    best_of_block[0] = best;
    best_of_block_2[0] = nan_seen;
    sg_streamed();
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
            output_1[i] += output_1_of_block[block * ((x_1 + 15) & -16) + i];
        }
    }
    best = nan_seen != 0 ? NAN : best;
    output_2[0] = best;
}

/* compute_scaled in blocks. */
SG_PLAIN
SG_KERNEL void compute_scaled_in_blocks(const double *restrict x, const double *restrict gain,
                                        double *restrict scaled, double *restrict output_1_of_block,
                                        double *restrict best_of_block, int64_t *restrict best_of_block_2,
                                        double *restrict output_1, double *restrict output_2, int64_t x_0,
                                        int64_t x_1)
{
    const int64_t work = x_0 * x_1 * 26, blocks = sg_blocks(x_0, work);
    SG_IN_BLOCKS(x_0, work, compute_scaled(x, gain, scaled, output_1_of_block + block * ((x_1 + 15) & -16),
                                           best_of_block + block, best_of_block_2 + block, x_1, first, last, x_0))
    compute_scaled_rest(output_1, output_2, best_of_block, best_of_block_2, output_1_of_block, blocks, x_1);
}

/* switch(x.shape[0] > 0, sum((x - mean) / sqrt(...), axis=0) * gain, 0) : float64 (x_1,)    test_golden.py:68
   x_1 operations; 16*x_1 bytes read, 8*x_1 written */
SG_KERNEL void compute(double *restrict output_1, const double *restrict gain, int64_t first, int64_t last, int64_t n)
{
    SG_LANES(omp simd)
    for (int64_t i = first; i < last; ++i) {
        output_1[i] = n != 0 ? output_1[i] * gain[i] : 0.0;
    }
}

/* compute in blocks. */
SG_PLAIN
SG_KERNEL void compute_in_blocks(double *restrict output_1, const double *restrict gain, int64_t x_1, int64_t n)
{
    const int64_t work = x_1 * 14, blocks = sg_blocks(x_1, work);
    SG_IN_BLOCKS(x_1, work, compute(output_1, gain, first, last, n))
}

/* Checks the lengths of the arguments and derives the other sizes; 0, or the number of the check that failed. */
SG_PLAIN
int normalize_plan(void *const *arrays, int64_t *sizes)
{
    const int64_t x_0 = sizes[0];
    const int64_t x_1 = sizes[1];
    const int64_t gain_0 = sizes[2];
    (void)arrays;
    const int64_t n = (int64_t)(x_0 > 0);
    const int64_t workspace_bytes = 512 + ((((x_1 + 15) & -16) * 256 + 63) & -64);
    /* for (x - ...) / sqrt(...) * gain    test_golden.py:67 */
    if (!(x_1 == gain_0))
        return 1;
    /* x_0 > 0 */
    if (!(n != 0))
        return 2;
    /* x_1 > 0 */
    if (!(x_1 > 0))
        return 3;
    sizes[3] = n;
    sizes[4] = workspace_bytes;
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
    const int64_t n = sizes[3];
    double *best_of_block = workspace;
    int64_t *best_of_block_2 = (int64_t *)((char *)workspace + 256);
    double *output_1_of_block = (double *)((char *)workspace + 512);
    compute_scaled_in_blocks(x, gain, scaled, output_1_of_block, best_of_block, best_of_block_2, output_1, output_2,
                             x_0, x_1);
    compute_in_blocks(output_1, gain, x_1, n);
    return 0;
}

void normalize_threads(const int32_t *count)
{
    sg_threads = count;
}
