/* minibatch, compiled by symgraph

   input   batch : int64 ()
   shared  images : float64 (100, 8)
   shared  w : float64 (8,)
   shared  bias : float64 ()
   shared  targets : float64 (100,)
   output  loss = sum(... - ...) / float64(....shape[0]) + 0.01 * sum(...)
   update  w <- w - 0.5 * grad_w
   update  bias <- bias - 0.5 * grad_bias

   arrays: {batch, images, w, bias, targets, loss}, contiguous, the last axis running fastest. sizes: 7 numbers; the
   caller sets the first 4, images_0, images_1, w_0, targets_0; minibatch_plan(arrays, sizes) sets the others. Then
   minibatch(arrays, sizes, workspace) computes; workspace: sizes[6] bytes, aligned to 64. Both give 0, or the number
   of a check that failed. */

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

/* Combines the elements of an array with a value: in pairs, and pairs of pairs. */
#define SG_JOIN(how, value, array)                                                       \
    for (int sg_lane = 0; sg_lanes == 16 && sg_lane < 8; ++sg_lane)                      \
        array[sg_lane] = how(array[sg_lane], array[sg_lane + sg_lanes / 2]);             \
    for (int sg_lane = 0; sg_lanes >= 8 && sg_lane < 4; ++sg_lane)                       \
        array[sg_lane] = how(array[sg_lane], array[sg_lane + (sg_lanes >= 8 ? 4 : 0)]);  \
    array[0] = how(how(array[0], array[2]), how(array[1], array[3]));                    \
    value = how(value, array[0]);

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

static inline int64_t sg_minimum_i64(int64_t a, int64_t b)
{
    return a > b ? b : a;
}

static inline int64_t sg_maximum_i64(int64_t a, int64_t b)
{
    return a < b ? b : a;
}

SG_INLINE uint64_t sg_bits_f64(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The bits of x, or those of limit where that is less; of a NaN, any. As integers: one instruction for many lanes. */
SG_INLINE uint64_t sg_limited_f64(double x, double limit)
{
    const int64_t bits = (int64_t)sg_bits_f64(x), most = (int64_t)sg_bits_f64(limit);
    return (uint64_t)(bits < most ? bits : most);
}

/* a b + c, rounded once where the machine does so in one instruction. */
SG_INLINE double sg_muladd_f64(double a, double b, double c)
{
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return fma(a, b, c);
#else
    return a * b + c;
#endif
}

SG_INLINE double sg_of_bits_f64(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* 1 / (1 + exp(-x)) with all three scaled alike, so that exp(-x) cannot overflow where the quotient is above 0. */
SG_INLINE double sg_sigmoid_f64(double x)
{
    const uint64_t shifted = sg_limited_f64(sg_muladd_f64(-x, 0x1.71547652b82fep+0, 0x1.800000000039bp52), 0x1.80000000007ffp52);
    const double n = sg_of_bits_f64(shifted) - 0x1.800000000039bp52;
    const double r = sg_muladd_f64(n, -0x1.ef35793c7673p-45, sg_muladd_f64(n, -0x1.62e42fefa38p-1, -x));
    const double r2 = r * r;
    double p0 = 2.0926839661482764e-09, p1 = 2.5112257561583502e-08;
    p0 = sg_muladd_f64(p0, r2, 2.7557233732592873e-07);
    p0 = sg_muladd_f64(p0, r2, 2.4801587373244043e-05);
    p0 = sg_muladd_f64(p0, r2, 0.001388888888885874);
    p0 = sg_muladd_f64(p0, r2, 0.04166666666666673);
    p0 = sg_muladd_f64(p0, r2, 0.5);
    p1 = sg_muladd_f64(p1, r2, 2.7557234186766253e-06);
    p1 = sg_muladd_f64(p1, r2, 0.00019841269897108134);
    p1 = sg_muladd_f64(p1, r2, 0.00833333333331672);
    p1 = sg_muladd_f64(p1, r2, 0.16666666666666685);
    const double p = sg_muladd_f64(p1, r, p0);
    const double e = sg_muladd_f64(r, sg_muladd_f64(r, p, 1), 1) * sg_of_bits_f64(shifted << 52);
    return x > 600.0 ? 1 : 0x1p-100 / (0x1p-100 + e);
}

static inline double sg_maximum_f64(double a, double b)
{
    const double best = a < b ? b : a;
    return b != b ? b : best;
}

/* n where x = 2^n m, for a positive normal x and m between sqrt(1/2) and sqrt(2). */
SG_INLINE double sg_exponent_f64(double x)
{
    return sg_of_bits_f64(((sg_bits_f64(x) + (0x3ff0000000000000 - 0x3fe6a09e667f3bcd)) >> 52) | 0x4330000000000000) - 0x1.00000000003ffp52;
}

/* log(1 + f) + n log(2), for 1 + f between sqrt(1/2) and sqrt(2). */
SG_INLINE double sg_log_reduced_f64(double f, double n)
{
    const double s = f / (2 + f), r = s * s, q = 0.5 * f * f;
    double p = 0.14795951525027634;
    p = sg_muladd_f64(p, r, 0.15314050494417486);
    p = sg_muladd_f64(p, r, 0.18183564323108323);
    p = sg_muladd_f64(p, r, 0.22222198573351296);
    p = sg_muladd_f64(p, r, 0.28571428742384825);
    p = sg_muladd_f64(p, r, 0.399999999994147);
    p = sg_muladd_f64(p, r, 0.6666666666666734);
    return sg_muladd_f64(n, 0x1.62e42fefa38p-1, f - (q - sg_muladd_f64(s, sg_muladd_f64(r, p, q), n * 0x1.ef35793c7673p-45)));
}

/* m where x = 2^n m, for the same. */
SG_INLINE double sg_significand_f64(double x)
{
    return sg_of_bits_f64(((sg_bits_f64(x) + (0x3ff0000000000000 - 0x3fe6a09e667f3bcd)) & 0xfffffffffffff) + 0x3fe6a09e667f3bcd);
}

/* log(x), given its value for positive finite x. */
SG_INLINE double sg_log_edges_f64(double x, double value)
{
    const double most = x < INFINITY ? value : x;
    const double edge = x == 0 ? -INFINITY : NAN;
    return x > 0 ? most : edge;
}

SG_INLINE double sg_log1p_f64(double x)
{
    const double u = 1 + x, v = u - 1, tail = (1 - (u - v)) + (x - v), n = sg_exponent_f64(u);
    const double inverse = sg_of_bits_f64(0x4000000000000000 - (sg_bits_f64(n + 0x1.8p52) << 52));
    const double value = sg_log_reduced_f64(sg_muladd_f64(0.5 * tail, inverse, sg_significand_f64(u) - 1), n);
    return fabs(x) < 0x1p-54 ? x : sg_log_edges_f64(u, value);
}

/* exp(r) 2^n factor, for |r| <= log(2) / 2 and the bits of n + 0x1.80000000007fep52, with a whole n above -2046. */
SG_INLINE double sg_exp_reduced_f64(double r, uint64_t shifted, double factor)
{
    const double r2 = r * r;
    double p0 = 2.0926839661482764e-09, p1 = 2.5112257561583502e-08;
    p0 = sg_muladd_f64(p0, r2, 2.7557233732592873e-07);
    p0 = sg_muladd_f64(p0, r2, 2.4801587373244043e-05);
    p0 = sg_muladd_f64(p0, r2, 0.001388888888885874);
    p0 = sg_muladd_f64(p0, r2, 0.04166666666666673);
    p0 = sg_muladd_f64(p0, r2, 0.5);
    p1 = sg_muladd_f64(p1, r2, 2.7557234186766253e-06);
    p1 = sg_muladd_f64(p1, r2, 0.00019841269897108134);
    p1 = sg_muladd_f64(p1, r2, 0.00833333333331672);
    p1 = sg_muladd_f64(p1, r2, 0.16666666666666685);
    const double p = sg_muladd_f64(p1, r, p0);
    const double e = sg_muladd_f64(r, sg_muladd_f64(r, p, 1), 1) * factor;
    const uint64_t half = (shifted << (52 - 1)) & 0xfff0000000000000;  /* twice, since 2^n itself may be no normal number */
    return e * sg_of_bits_f64(half) * sg_of_bits_f64((shifted << 52) - half);
}

/* exp(x - tail) factor, for a tail far below x. Below -bound there is no n, and whatever comes out is left. */
SG_INLINE double sg_exp_scaled_f64(double x, double tail, double factor)
{
    const uint64_t shifted = sg_limited_f64(sg_muladd_f64(x, 0x1.71547652b82fep+0, 0x1.80000000007fep52), 0x1.8000000000c0ep52);
    const double n = sg_of_bits_f64(shifted) - 0x1.80000000007fep52;
    const double r = sg_muladd_f64(n, -0x1.ef35793c7673p-45, sg_muladd_f64(n, -0x1.62e42fefa38p-1, x) - tail);
    return x < -800.0 ? 0.0 : sg_exp_reduced_f64(r, shifted, factor);
}

SG_INLINE double sg_exp_f64(double x)
{
    return sg_exp_scaled_f64(x, 0, 1);
}

/* The BLAS, by pointers that minibatch_blas receives; NULL until then, and loops are used instead. */
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

/* y = beta y + alpha op(a) x, where a is stored as m x n. */
static void sg_gemv_f64(int64_t ta, int64_t m, int64_t n, double alpha, const double *a, const double *x, double beta, double *restrict y)
{
    const int64_t length = ta ? n : m;
    if (length == 0)
        return;
    if (sg_blas[3] && SG_FITS(m) && SG_FITS(n) && m > 0 && n > 0 && alpha != 0.0 &&
        (double)m * (double)n >= 4096) {
        sg_dgemv_t gemv;
        memcpy(&gemv, &sg_blas[3], sizeof gemv);
        gemv(SG_ROW_MAJOR, ta ? SG_TRANSPOSED : SG_AS_IT_IS, (SG_BLAS_INT)m, (SG_BLAS_INT)n, alpha, a, (SG_BLAS_INT)n,
             x, 1, beta, y, 1);
        return;
    }
    for (int64_t i = 0; i < length; ++i)
        y[i] = beta == 0.0 ? 0.0 : beta * y[i];
    for (int64_t i = 0; i < m; ++i) {
        if (ta) {
            const double factor = alpha * x[i];
            for (int64_t j = 0; j < n; ++j)
                y[j] += factor * a[i * n + j];
        } else {
            double total = 0.0;
            SG_LANES(omp simd reduction(+:total))
            for (int64_t j = 0; j < n; ++j)
                total += a[i * n + j] * x[j];
            y[i] += alpha * total;
        }
    }
}

/* sum(sqr(w)) * 0.01 : float64 ()    test_golden.py:48
   17 operations; 64 bytes read, 8 written */
SG_KERNEL void compute(const double *restrict w, double *restrict t_2)
{
    double total = 0.0;
    SG_LANES(omp simd reduction(+:total))
    for (int64_t i = 0; i < 8; ++i) {
        const double w_2 = w[i];
        total += w_2 * w_2;
    }
    t_2[0] = total * 0.01;
}

/* loss = sum(... - ...) / float64(maximum(..., 0)) + sum(...) * 0.01 : float64 ()    test_golden.py:48
   -1 / float64(...) * targets[...:... + ...] + sigmoid(score) / float64(...) : float64 (n_3,)    test_golden.py:48
   bias <- bias - grad_bias * 0.5 : float64 ()    test_golden.py:49
   16*n_3 + 6 operations; 16*n_3 + 16 bytes read, 8*n_3 + 16 written */
SG_BY_VECTORS
SG_KERNEL void compute_loss_update_bias(double *restrict t, double *restrict bias, const double *restrict targets,
                                        double *restrict total_of_block, double *restrict grad_bias_of_block,
                                        int64_t first, int64_t last, int64_t n_3)
{
    const double bias_2 = bias[0];
    double total = 0.0;
    double grad_bias = 0.0;
    for (int64_t run = first; run < last; run += 512) {
        const int64_t end = last - run < 512 ? last : run + 512;
        sg_ahead(t + run, 8192, (end - run) * 8);
        sg_ahead(targets + run, 8192, (end - run) * 8);
        SG_ROW_2(SG_IDLE, double, i, run, end, add, double, total, add, double, grad_bias, {
            const double t_3 = t[i];
            const double score = t_3 + bias_2;
            const double targets_2 = targets[i];
            const double t_13 = -1.0 / (double)n_3 * targets_2 + sg_sigmoid_f64(score) / (double)n_3;
            total += sg_maximum_f64(score, 0.0) + sg_log1p_f64(sg_exp_f64(-fabs(score))) - targets_2 * score;
            t[i] = t_13;
            grad_bias += t_13;
        })
    }
    total_of_block[0] = total;
    grad_bias_of_block[0] = grad_bias;
}

/* What compute_loss_update_bias leaves to do when all blocks are done. */
SG_KERNEL void compute_loss_update_bias_rest(double *restrict bias, const double *restrict t_2, double *restrict loss,
                                             double *restrict total_of_block, double *restrict grad_bias_of_block,
                                             int64_t blocks, int64_t n_3)
{
    double total = 0.0;
    double grad_bias = 0.0;
    for (int64_t block = 0; block < blocks; ++block) {
        total += total_of_block[block];
        grad_bias += grad_bias_of_block[block];
    }
    const double bias_2 = bias[0];
    loss[0] = total / (double)n_3 + t_2[0];
    bias[0] = bias_2 - grad_bias * 0.5;
}

/* compute_loss_update_bias in blocks. */
SG_PLAIN
SG_KERNEL void compute_loss_update_bias_in_blocks(double *restrict t, double *restrict bias,
                                                  const double *restrict targets, double *restrict total_of_block,
                                                  double *restrict grad_bias_of_block, const double *restrict t_2,
                                                  double *restrict loss, int64_t n_3)
{
    const int64_t work = n_3 * 130, blocks = sg_blocks(n_3, work);
    SG_IN_BLOCKS(n_3, work, compute_loss_update_bias(t, bias, targets, total_of_block + block,
                                                     grad_bias_of_block + block, first, last, n_3))
    compute_loss_update_bias_rest(bias, t_2, loss, total_of_block, grad_bias_of_block, blocks, n_3);
}

/* Checks the lengths of the arguments and derives the other sizes; 0, or the number of the check that failed. */
SG_PLAIN
int minibatch_plan(void *const *arrays, int64_t *sizes)
{
    const int64_t *batch = arrays[0]; /* input, int64 () */
    const int64_t images_0 = sizes[0];
    const int64_t images_1 = sizes[1];
    const int64_t w_0 = sizes[2];
    const int64_t targets_0 = sizes[3];
    const int64_t n = sg_minimum_i64(sg_maximum_i64(batch[0] * 20 < 0 ? batch[0] * 20 + 100 : batch[0] * 20, 0), 100);
    const int64_t n_2 = sg_minimum_i64(sg_maximum_i64((batch[0] + 1) * 20 < 0 ? (batch[0] + 1) * 20 + 100 : (batch[0] + 1) * 20, 0), 100);
    const int64_t n_3 = sg_maximum_i64(n_2 - n, 0);
    const int64_t workspace_bytes = 576 + ((n_3 * 8 + 63) & -64);
    /* images.shape[0] is 100 */
    if (!(images_0 == 100))
        return 1;
    /* images.shape[1] is 8 */
    if (!(images_1 == 8))
        return 2;
    /* w.shape[0] is 8 */
    if (!(w_0 == 8))
        return 3;
    /* targets.shape[0] is 100 */
    if (!(targets_0 == 100))
        return 4;
    /* the values on the way fit into memory */
    if (!((double)n_3 * 8.0 < 4.611686018427388e+18))
        return 5;
    sizes[4] = n;
    sizes[5] = n_3;
    sizes[6] = workspace_bytes;
    return 0;
}

/* Computes everything; the sizes are those that the plan left. */
int minibatch(void *const *arrays, const int64_t *sizes, void *workspace)
{
    const double *images = arrays[1]; /* shared, float64 (100, 8) */
    double *w = arrays[2]; /* shared, float64 (8,) */
    double *bias = arrays[3]; /* shared, float64 () */
    const double *targets = arrays[4]; /* shared, float64 (100,) */
    double *loss = arrays[5]; /* output, float64 () */
    const int64_t n = sizes[4];
    const int64_t n_3 = sizes[5];
    double *t = (double *)((char *)workspace + 576);
    double *t_2 = workspace;
    double *total_of_block = (double *)((char *)workspace + 64);
    double *grad_bias_of_block = (double *)((char *)workspace + 320);
    /* images[minimum(..., 100):minimum(..., 100) + maximum(..., 0), :] @ w : float64 (n_3,)    test_golden.py:47 */
    sg_gemv_f64(0, n_3, 8, 1.0, images + n * 8, w, 0.0, t);
    compute(w, t_2);
    compute_loss_update_bias_in_blocks(t, bias, targets + n, total_of_block, grad_bias_of_block, t_2, loss, n_3);
    /* w <- 0.99 * w + -0.5 * (images[...:... + ..., :].T @ (... + ...)) : float64 (8,)    test_golden.py:49 */
    sg_gemv_f64(1, n_3, 8, -0.5, images + n * 8, t, 0.99, w);
    return 0;
}

/* Receives pointers to sgemm, dgemm, sgemv, dgemv of a CBLAS whose integers are SG_BLAS_INT; and one that is not NULL
   if a call does all its work on the thread that calls, SG_ANY_BORDERS if its sums do not mind borders. */
void minibatch_blas(void *const *functions)
{
    memcpy(sg_blas, functions, sizeof sg_blas);
}

void minibatch_threads(const int32_t *count)
{
    sg_threads = count;
}
