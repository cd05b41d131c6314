/* softmax_step, compiled by symgraph

   input   x : float32 (x_0, 20)
   input   labels : int64 (x_0,)
   shared  W : float32 (20, 10)
   shared  b : float32 (10,)
   output  loss = sum(-log(...)[..., labels]) / float32((-...).shape[0])
   output  argmax(softmax(x @ W + b, axis=1), axis=1)
   update  W <- W - 0.1 * grad_W
   update  b <- b - 0.1 * grad_b

   arrays: {x, labels, W, b, loss, output_1}, contiguous, the last axis running fastest. sizes: 8 numbers; the caller
   sets the first 6, x_0, x_1, labels_0, W_0, W_1, b_0; softmax_step_plan(arrays, sizes) sets the others. Then
   softmax_step(arrays, sizes, workspace) computes; workspace: sizes[7] bytes, aligned to 64. Both give 0, or the
   number of a check that failed. */

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

/* `a & b` of truth values is meant so: it computes both, without a branch. */
#if defined(__clang__) && defined(__has_warning)
#if __has_warning("-Wbitwise-instead-of-logical")
#pragma clang diagnostic ignored "-Wbitwise-instead-of-logical"
#endif
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
#define SG_START_largest(x) _Generic(x, float: -INFINITY, double: -INFINITY, int32_t: INT32_MIN, int64_t: INT64_MIN, default: 0)
#define SG_largest(a, b) ((a) < (b) ? (b) : (a))
#define SG_SIGN_largest max
#define SG_START_or(x) 0
#define SG_or(a, b) ((a) | (b))
#define SG_SIGN_or |
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

/* BODY for INDEX = FROM ... TO-1. Each lane has 2 such x of its own. */
#ifdef SG_VECTOR_BYTES
#define SG_ROW_2(end, of, index, from, to, how_1, type_1, x_1, how_2, type_2, x_2, ...)               \
    {                                                                                                 \
        enum { sg_lanes = SG_VECTOR_BYTES / (int)sizeof(of) };                                        \
        const int64_t sg_whole = (from) + (((to) - (from)) & -(int64_t)sg_lanes);                     \
        const int32_t sg_left = (int32_t)((to) - sg_whole);                                           \
        type_1 sg_x_1[sg_lanes];                                                                      \
        type_2 sg_x_2[sg_lanes];                                                                      \
        for (int sg_lane = 0; sg_lane < sg_lanes; ++sg_lane) sg_x_1[sg_lane] = SG_START_##how_1(x_1); \
        for (int sg_lane = 0; sg_lane < sg_lanes; ++sg_lane) sg_x_2[sg_lane] = SG_START_##how_2(x_2); \
        for (int64_t sg_at = from; sg_at < sg_whole; sg_at += sg_lanes) {                             \
            SG_LANES(omp simd)                                                                        \
            for (int32_t sg_lane = 0; sg_lane < sg_lanes; ++sg_lane) {                                \
                const int64_t index = sg_at + sg_lane;                                                \
                type_1 x_1 = sg_x_1[sg_lane];                                                         \
                type_2 x_2 = sg_x_2[sg_lane];                                                         \
                __VA_ARGS__                                                                           \
                sg_x_1[sg_lane] = x_1;                                                                \
                sg_x_2[sg_lane] = x_2;                                                                \
            }                                                                                         \
        }                                                                                             \
        if (end && sg_left > 0) {                                                                     \
            SG_LANES(omp simd)                                                                        \
            for (int32_t sg_lane = 0; sg_lane < sg_lanes; ++sg_lane) {                                \
                type_1 x_1 = sg_x_1[sg_lane];                                                         \
                type_2 x_2 = sg_x_2[sg_lane];                                                         \
                if (sg_lane < sg_left) {                                                              \
                    const int64_t index = sg_whole + sg_lane;                                         \
                    __VA_ARGS__                                                                       \
                }                                                                                     \
                sg_x_1[sg_lane] = x_1;                                                                \
                sg_x_2[sg_lane] = x_2;                                                                \
            }                                                                                         \
        }                                                                                             \
        SG_JOIN(SG_##how_1, x_1, sg_x_1)                                                              \
        SG_JOIN(SG_##how_2, x_2, sg_x_2)                                                              \
        for (int64_t index = sg_whole; !(end) && index < (to); ++index)                               \
            __VA_ARGS__                                                                               \
    }
#else
#define SG_ROW_2(end, of, index, from, to, how_1, type_1, x_1, how_2, type_2, x_2, ...)      \
    SG_ALL_LANES(omp simd reduction(SG_SIGN_##how_1 : x_1) reduction(SG_SIGN_##how_2 : x_2)) \
    for (int64_t index = from; index < (to); ++index)                                        \
        __VA_ARGS__
#endif

static inline uint32_t sg_minimum_u32(uint32_t a, uint32_t b)
{
    return a > b ? b : a;
}

static inline bool sg_isnan_f32(float a)
{
    return a != a;
}

SG_INLINE uint32_t sg_bits_f32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The bits of x, or those of limit where that is less; of a NaN, any. As integers: one instruction for many lanes. */
SG_INLINE uint32_t sg_limited_f32(float x, float limit)
{
    const int32_t bits = (int32_t)sg_bits_f32(x), most = (int32_t)sg_bits_f32(limit);
    return (uint32_t)(bits < most ? bits : most);
}

/* a b + c, rounded once where the machine does so in one instruction. */
SG_INLINE float sg_muladd_f32(float a, float b, float c)
{
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

SG_INLINE float sg_of_bits_f32(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* exp(r) 2^n factor, for |r| <= log(2) / 2 and the bits of n + 0x1.8001fcp23f, with a whole n above -254. */
SG_INLINE float sg_exp_reduced_f32(float r, uint32_t shifted, float factor)
{
    float p = 0.0013950608f;
    p = sg_muladd_f32(p, r, 0.0083689f);
    p = sg_muladd_f32(p, r, 0.041666202f);
    p = sg_muladd_f32(p, r, 0.16666518f);
    p = sg_muladd_f32(p, r, 0.5f);
    const float e = sg_muladd_f32(r, sg_muladd_f32(r, p, 1), 1) * factor;
    const uint32_t half = (shifted << (23 - 1)) & 0xff800000;  /* twice, since 2^n itself may be no normal number */
    return e * sg_of_bits_f32(half) * sg_of_bits_f32((shifted << 23) - half);
}

/* exp(x - tail) factor, for a tail far below x. Below -bound there is no n, and whatever comes out is left. */
SG_INLINE float sg_exp_scaled_f32(float x, float tail, float factor)
{
    const uint32_t shifted = sg_limited_f32(sg_muladd_f32(x, 0x1.715476p+0f, 0x1.8001fcp23f), 0x1.800314p23f);
    const float n = sg_of_bits_f32(shifted) - 0x1.8001fcp23f;
    const float r = sg_muladd_f32(n, -0x1.7f7d1cp-20f, sg_muladd_f32(n, -0x1.62e4p-1f, x) - tail);
    return x < -110.0f ? 0.0f : sg_exp_reduced_f32(r, shifted, factor);
}

SG_INLINE float sg_exp_f32(float x)
{
    return sg_exp_scaled_f32(x, 0, 1);
}

/* n where x = 2^n m, for a positive normal x and m between sqrt(1/2) and sqrt(2). */
SG_INLINE float sg_exponent_f32(float x)
{
    return sg_of_bits_f32(((sg_bits_f32(x) + (0x3f800000 - 0x3f3504f3)) >> 23) | 0x4b000000) - 0x1.0000fep23f;
}

/* log(x), given its value for positive finite x. */
SG_INLINE float sg_log_edges_f32(float x, float value)
{
    const float most = x < INFINITY ? value : x;
    const float edge = x == 0 ? -INFINITY : NAN;
    return x > 0 ? most : edge;
}

/* log(1 + f) + n log(2), for 1 + f between sqrt(1/2) and sqrt(2). */
SG_INLINE float sg_log_reduced_f32(float f, float n)
{
    const float s = f / (2 + f), r = s * s, q = 0.5f * f * f;
    float p = 0.2358213f;
    p = sg_muladd_f32(p, r, 0.2853731f);
    p = sg_muladd_f32(p, r, 0.40000334f);
    p = sg_muladd_f32(p, r, 0.6666666f);
    return sg_muladd_f32(n, 0x1.62e4p-1f, f - (q - sg_muladd_f32(s, sg_muladd_f32(r, p, q), n * 0x1.7f7d1cp-20f)));
}

/* m where x = 2^n m, for the same. */
SG_INLINE float sg_significand_f32(float x)
{
    return sg_of_bits_f32(((sg_bits_f32(x) + (0x3f800000 - 0x3f3504f3)) & 0x7fffff) + 0x3f3504f3);
}

SG_INLINE float sg_log_f32(float x)
{
    const bool small = x < 0x1p-126f;
    const float y = small ? x * 0x1p25f : x, n = sg_exponent_f32(y) - (small ? 25.0f : 0.0f);
    return sg_log_edges_f32(x, sg_log_reduced_f32(sg_significand_f32(y) - 1, n));
}

/* The BLAS, by pointers that softmax_step_blas receives; NULL until then, and loops are used instead. */
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
static void *sg_blas[4 + 1];
enum { SG_ROW_MAJOR = 101, SG_AS_IT_IS = 111, SG_TRANSPOSED = 112 };
#define SG_FITS(n) ((SG_BLAS_INT)(n) == (n))
#define SG_ANY_BORDERS ((void *)2)

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
    return *sg_threads > 1 && sg_are_awake(sg_now()) ? 131072 : 4194304;
}
#else
#define SG_IN_PARTS
#define sg_product_done(threads) (void)(threads)
#define sg_worth() 4194304
#endif

/* sg_gemm_f32 by BLAS, in parts of c, never of the sums, whose order must not depend on the number of threads. So either
   it does not depend on borders, or the parts are fixed. Columns are cut unless rows are twice as many: then a thread
   that has some columns of a weight in its cache, since it multiplied by them, also updates them. */
SG_PLAIN
static void sg_large_gemm_f32(int64_t ta, int64_t tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                             const float *b, float beta, float *c)
{
    sg_sgemm_t gemm;
    memcpy(&gemm, &sg_blas[0], sizeof gemm);
    const double work = (double)m * (double)n * (double)k;
    const bool by_rows = m >= 2 * n, any_borders = sg_blas[4] == SG_ANY_BORDERS;
    const double worth = any_borders && work >= 2.0 * 131072 ? sg_worth() : 4194304;
    const int64_t most = !sg_blas[4] ? 1 : any_borders ? *sg_threads : 4;
    const int64_t side = by_rows ? m : n, steps = (side + 32 - 1) / 32;
    int64_t parts = steps < most ? steps : most;
    if (work / worth < (double)parts)
        parts = work < 2 * worth ? 1 : (int64_t)(work / worth);
    const int64_t threads = parts > 1 ? *sg_threads : 1;
    SG_IN_PARTS
    for (int64_t part = 0; part < parts; ++part) {
        const int64_t first = steps * part / parts * 32, next = steps * (part + 1) / parts * 32;
        const int64_t length = (next < side ? next : side) - first;
        const int64_t row = by_rows ? first : 0, column = by_rows ? 0 : first;
        gemm(SG_ROW_MAJOR, ta ? SG_TRANSPOSED : SG_AS_IT_IS, tb ? SG_TRANSPOSED : SG_AS_IT_IS,
             (SG_BLAS_INT)(by_rows ? length : m), (SG_BLAS_INT)(by_rows ? n : length), (SG_BLAS_INT)k, alpha,
             a + row * (ta ? 1 : k), (SG_BLAS_INT)(ta ? m : k), b + column * (tb ? k : 1), (SG_BLAS_INT)(tb ? k : n),
             beta, c + row * n + column, (SG_BLAS_INT)n);
    }
    sg_product_done(threads);
}

/* c = beta c + alpha op(a) op(b), where op(a) is m x k, op(b) k x n and c m x n; op transposes where told to. */
static void sg_gemm_f32(int64_t ta, int64_t tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, const float *b,
                        float beta, float *restrict c)
{
    if (m == 0 || n == 0)
        return;
    /* Where alpha is 0, BLAS may leave out the product, and the NaN in it. */
    if (sg_blas[0] && SG_FITS(m) && SG_FITS(n) && SG_FITS(k) && k > 0 && alpha != 0.0f &&
        (double)m * (double)n * (double)k >= 4096) {
        sg_large_gemm_f32(ta, tb, m, n, k, alpha, a, b, beta, c);
        return;
    }
    const int64_t a_row = ta ? 1 : k, a_column = ta ? m : 1;
    for (int64_t i = 0; i < m; ++i) {
        float *restrict row = c + i * n;
        if (beta == 0.0f)
            for (int64_t j = 0; j < n; ++j)
                row[j] = 0.0f;
        else if (beta != 1.0f)
            for (int64_t j = 0; j < n; ++j)
                row[j] *= beta;
        if (tb)
            for (int64_t j = 0; j < n; ++j) {
                float total = 0.0f;
                SG_LANES(omp simd reduction(+:total))
                for (int64_t l = 0; l < k; ++l)
                    total += a[i * a_row + l * a_column] * b[j * k + l];
                row[j] += alpha * total;
            }
        else
            for (int64_t l = 0; l < k; ++l) {
                const float factor = alpha * a[i * a_row + l * a_column];
                for (int64_t j = 0; j < n; ++j)
                    row[j] += factor * b[l * n + j];
            }
    }
}

/* all((labels >= -10) & (labels < 10)) : bool ()    test_golden.py:34
   4*x_0 + 1 operations; 8*x_0 bytes read, 1 written */
SG_BY_VECTORS
SG_KERNEL void compute(const int64_t *restrict labels, uint8_t *restrict t, int64_t x_0)
{
    uint32_t best = 4294967295U;
    for (int64_t run = 0; run < x_0; run += 512) {
        const int64_t end = x_0 - run < 512 ? x_0 : run + 512;
        if (x_0 * 8 >= 8388608) {
            sg_ahead(labels + run, 16384, (end - run) * 8);
        }
        SG_ROW_1(SG_IDLE, uint32_t, i, run, end, smallest, uint32_t, best, {
            const int64_t labels_2 = labels[i];
            best = sg_minimum_u32(best, (uint32_t)((labels_2 >= -10) & (labels_2 < 10)));
        })
    }
    t[0] = best != 0;
}

/* loss = -(sum(... - ... - log(...)) / float32(x.shape[0])) : float32 ()    test_golden.py:34
   argmax(p, axis=1) : int64 (x_0,)    test_golden.py:37
   switch(switch(..., ..., ...) == arange(10), -1 / ..., 0) - p * (-1 / ...) : float32 (x_0, 10)    test_golden.py:33
   grad_b = sum(switch(switch(..., ..., ...) == ..., -1 / ..., 0) - p * (-1 / ...), axis=0) : float32 (10,)    test_golden.py:33
   219*x_0 + 3 operations; 12*x_0 + 4 bytes read, 48*x_0 + 44 written */
SG_BY_VECTORS
SG_KERNEL void compute_loss_grad_b(const int64_t *restrict labels, const float *restrict t_3, const float *restrict b,
                                   int64_t *restrict output_1, float *restrict t_2, float *restrict grad_b_of_block,
                                   double *restrict total_2_of_block, int64_t first, int64_t last, int64_t x_0)
{
    float best_of_row[64];
    float t_14_of_row[64];
    SG_LANES(omp simd)
    for (int64_t i = 0; i < 10; ++i) {
        grad_b_of_block[i] = 0.0f;
    }
    double total_2 = 0.0;
    for (int64_t strip_start = first; strip_start < last; strip_start += 64) {
        const int64_t strip_end = last - strip_start < 64 ? last : strip_start + 64;
        for (int64_t i = strip_start; i < strip_end; ++i) {
            const int64_t labels_2 = labels[i];
            const int64_t t_23 = labels_2 < 0 ? labels_2 + 10 : labels_2;
            float best = -INFINITY;
            int32_t nan_seen = 0;
            SG_ROW_2(SG_IDLE, float, j, 0, 10, largest, float, best, or, int32_t, nan_seen, {
                const float t_9 = t_3[i * 10 + j] + b[j];
                const float term = t_9;
                best = best < term ? term : best;
                nan_seen = nan_seen | (int32_t)sg_isnan_f32(term);
            })
            best = nan_seen != 0 ? NAN : best;
            double total = 0.0;
            float part_2 = 0.0f;
            SG_ROW_1(SG_IDLE, float, j, 0, 10, add, float, part_2, {
                const float t_9 = t_3[i * 10 + j] + b[j];
                const float t_13 = sg_exp_f32(t_9 - best);
                t_2[i * 10 + j] = t_13;
                part_2 += t_13;
            })
            total += (double)part_2;
            const float t_14 = (float)total;
            const float t_19 = 1.0f / t_14;
            float best_3 = -INFINITY;
            int64_t best_2 = 0;
            for (int64_t j = 0; j < 10; ++j) {
                const float t_13 = t_2[i * 10 + j];
                const float p = t_13 * t_19;
                const float t_27 = (t_23 == j ? -1.0f / (float)x_0 : 0.0f) - p * (-1.0f / (float)x_0);
                const float term_2 = p;
                if ((term_2 > best_3) | (sg_isnan_f32(term_2) & !sg_isnan_f32(best_3))) {
                    best_3 = term_2;
                    best_2 = j;
                }
                t_2[i * 10 + j] = t_27;
                grad_b_of_block[j] += t_27;
            }
            output_1[i] = best_2;
            best_of_row[i - strip_start] = best;
            t_14_of_row[i - strip_start] = t_14;
        }
        /* the ends of these rows */
        SG_ROW_1(SG_IDLE, float, i, strip_start, strip_end, add, double, total_2, {
            const int64_t labels_2 = labels[i];
            const float best = best_of_row[i - strip_start];
            const float t_14 = t_14_of_row[i - strip_start];
            total_2 += (double)(t_3[(i < 0 ? i + x_0 : i) * 10 + (labels_2 < 0 ? labels_2 + 10 : labels_2)] + b[labels_2 < 0 ? labels_2 + 10 : labels_2] - best - sg_log_f32(t_14));
        })
    }
    total_2_of_block[0] = total_2;
}

/* What compute_loss_grad_b leaves to do when all blocks are done. */
SG_KERNEL void compute_loss_grad_b_rest(float *restrict loss, float *restrict grad_b,
                                        double *restrict total_2_of_block, float *restrict grad_b_of_block,
                                        int64_t blocks, int64_t x_0)
{
    double total_2 = 0.0;
    for (int64_t block = 0; block < blocks; ++block) {
        total_2 += total_2_of_block[block];
    }
    SG_LANES(omp simd)
    for (int64_t i = 0; i < 10; ++i) {
        grad_b[i] = grad_b_of_block[i];
    }
    for (int64_t block = 1; block < blocks; ++block) {
        SG_LANES(omp simd)
        for (int64_t i = 0; i < 10; ++i) {
            grad_b[i] += grad_b_of_block[block * 32 + i];
        }
    }
    loss[0] = -((float)total_2 / (float)x_0);
}

/* compute_loss_grad_b in blocks. */
SG_PLAIN
SG_KERNEL void compute_loss_grad_b_in_blocks(const int64_t *restrict labels, const float *restrict t_3,
                                             const float *restrict b, int64_t *restrict output_1, float *restrict t_2,
                                             float *restrict grad_b_of_block, double *restrict total_2_of_block,
                                             float *restrict loss, float *restrict grad_b, int64_t x_0)
{
    const int64_t work = x_0 * 320, blocks = sg_blocks(x_0, work);
    SG_IN_BLOCKS(x_0, work, compute_loss_grad_b(labels, t_3, b, output_1, t_2, grad_b_of_block + block * 32,
                                                total_2_of_block + block, first, last, x_0))
    compute_loss_grad_b_rest(loss, grad_b, total_2_of_block, grad_b_of_block, blocks, x_0);
}

/* b <- b - grad_b * 0.1 : float32 (10,)    test_golden.py:36
   20 operations; 80 bytes read, 40 written */
SG_KERNEL void update_b(const float *restrict grad_b, float *restrict b)
{
    SG_LANES(omp simd)
    for (int64_t i = 0; i < 10; ++i) {
        b[i] -= grad_b[i] * 0.1f;
    }
}

/* Checks the lengths of the arguments and derives the other sizes; 0, or the number of the check that failed. */
SG_PLAIN
int softmax_step_plan(void *const *arrays, int64_t *sizes)
{
    const int64_t x_0 = sizes[0];
    const int64_t x_1 = sizes[1];
    const int64_t labels_0 = sizes[2];
    const int64_t W_0 = sizes[3];
    const int64_t W_1 = sizes[4];
    const int64_t b_0 = sizes[5];
    (void)arrays;
    const int64_t slot_bytes = (x_0 * 40 + 63) & -64;
    const int64_t workspace_bytes = 4416 + slot_bytes * 2;
    /* W.shape[0] is 20 */
    if (!(W_0 == 20))
        return 1;
    /* W.shape[1] is 10 */
    if (!(W_1 == 10))
        return 2;
    /* b.shape[0] is 10 */
    if (!(b_0 == 10))
        return 3;
    /* for x @ W    test_golden.py:33 */
    if (!(x_1 == 20))
        return 4;
    /* for log(softmax(..., axis=1))[arange(...), labels]    test_golden.py:34 */
    if (!(x_0 == labels_0))
        return 5;
    sizes[6] = slot_bytes;
    sizes[7] = workspace_bytes;
    return 0;
}

/* Computes everything; the sizes are those that the plan left. */
int softmax_step(void *const *arrays, const int64_t *sizes, void *workspace)
{
    const float *x = arrays[0]; /* input, float32 (x_0, 20) */
    const int64_t *labels = arrays[1]; /* input, int64 (x_0,) */
    float *W = arrays[2]; /* shared, float32 (20, 10) */
    float *b = arrays[3]; /* shared, float32 (10,) */
    float *loss = arrays[4]; /* output, float32 () */
    int64_t *output_1 = arrays[5]; /* output, int64 (x_0,) */
    const int64_t x_0 = sizes[0];
    const int64_t slot_bytes = sizes[6];
    uint8_t *t = workspace;
    float *t_3 = (float *)((char *)workspace + 4416);
    float *t_2 = (float *)((char *)workspace + 4416 + slot_bytes);
    float *grad_b = workspace;
    double *total_2_of_block = (double *)((char *)workspace + 64);
    float *grad_b_of_block = (float *)((char *)workspace + 320);
    compute(labels, t, x_0);
    /* all((labels >= -10) & (labels < 10))    test_golden.py:34 */
    if (t[0] == 0)
        return 9;
    /* x @ W : float32 (x_0, 10)    test_golden.py:33 */
    sg_gemm_f32(0, 0, x_0, 10, 20, 1.0f, x, W, 0.0f, t_3);
    compute_loss_grad_b_in_blocks(labels, t_3, b, output_1, t_2, grad_b_of_block, total_2_of_block, loss, grad_b,
                                  x_0);
    /* W <- 1 * W + -0.1 * (x.T @ (switch(... == ..., -1 / ..., 0) - p * (-1 / ...))) : float32 (20, 10)    test_golden.py:36 */
    sg_gemm_f32(1, 0, 20, 10, x_0, -0.1f, x, t_2, 1.0f, W);
    update_b(grad_b, b);
    return 0;
}

/* Receives pointers to sgemm, dgemm, sgemv, dgemv of a CBLAS whose integers are SG_BLAS_INT; and one that is not NULL
   if a call does all its work on the thread that calls, SG_ANY_BORDERS if its sums do not mind borders. */
void softmax_step_blas(void *const *functions)
{
    memcpy(sg_blas, functions, sizeof sg_blas);
}

void softmax_step_threads(const int32_t *count)
{
    sg_threads = count;
}
