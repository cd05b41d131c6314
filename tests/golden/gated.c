/* gated, compiled by symgraph

   input   x : float64 (x_0, x_1)
   input   y : float64 (x_0, x_1)
   output  switch(x > 0, x, expm1(x)) * y
   output  switch(x > 0, x, expm1(x))**2 + 2 * y**3 - 1.5

   arrays: {x, y, output_0, output_1}, contiguous, the last axis running fastest. sizes: 5 numbers; the caller sets
   the first 4, x_0, x_1, y_0, y_1; gated_plan(arrays, sizes) sets the others. Then gated(arrays, sizes, workspace)
   computes; workspace: sizes[4] bytes, aligned to 64. Both give 0, or the number of a check that failed. */

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

SG_INLINE uint64_t sg_bits_f64(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* exp(x) - 1, but for the sign of 0. */
SG_INLINE double sg_expm1_value_f64(double x)
{
    const double low = -710.0 / 2 > x ? -710.0 / 2 : x, y = 710.0 < low ? 710.0 : low;
    const double shifted = sg_muladd_f64(y, 0x1.71547652b82fep+0, 0x1.8p52), n = shifted - 0x1.8p52;
    const double r = sg_muladd_f64(n, -0x1.ef35793c7673p-45, sg_muladd_f64(n, -0x1.62e42fefa38p-1, y));
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
    const double e = sg_muladd_f64(r * r, p, r);
    const double scale = sg_of_bits_f64((sg_bits_f64(shifted) << 52) + 0x3fe0000000000000);
    return n == 0 ? e : 2 * sg_muladd_f64(scale, e, scale - 0.5);
}

SG_INLINE double sg_expm1_f64(double x)
{
    return copysign(sg_expm1_value_f64(x), x);
}

/* gate * y : float64 (x_0, x_1)    test_golden.py:58
   sqr(gate) + sqr(y) * y * 2 - 1.5 : float64 (x_0, x_1)    test_golden.py:58
   9*x_0*x_1 operations; 16*x_0*x_1 bytes read, 16*x_0*x_1 written */
SG_KERNEL void compute(const double *restrict x, const double *restrict y, double *restrict output_0,
                       double *restrict output_1, int64_t first, int64_t last)
{
    SG_LANES(omp simd)
    for (int64_t i = first; i < last; ++i) {
        const double x_2 = x[i];
        const double gate = x_2 > 0.0 ? x_2 : sg_expm1_f64(x_2);
        const double y_2 = y[i];
        output_0[i] = gate * y_2;
        output_1[i] = gate * gate + y_2 * y_2 * y_2 * 2.0 - 1.5;
    }
}

/* compute in blocks. */
SG_PLAIN
SG_KERNEL void compute_in_blocks(const double *restrict x, const double *restrict y, double *restrict output_0,
                                 double *restrict output_1, int64_t x_0, int64_t x_1)
{
    const int64_t work = x_0 * x_1 * 63, blocks = sg_blocks(x_0 * x_1, work);
    SG_IN_BLOCKS(x_0 * x_1, work, compute(x, y, output_0, output_1, first, last))
}

/* Checks the lengths of the arguments and derives the other sizes; 0, or the number of the check that failed. */
SG_PLAIN
int gated_plan(void *const *arrays, int64_t *sizes)
{
    const int64_t x_0 = sizes[0];
    const int64_t x_1 = sizes[1];
    const int64_t y_0 = sizes[2];
    const int64_t y_1 = sizes[3];
    (void)arrays;
    const int64_t workspace_bytes = 0;
    /* for switch(x > 0, x, expm1(x)) * y    test_golden.py:58 */
    if (!(x_0 == y_0))
        return 1;
    /* for switch(x > 0, x, expm1(x)) * y    test_golden.py:58 */
    if (!(x_1 == y_1))
        return 2;
    sizes[4] = workspace_bytes;
    return 0;
}

/* Computes everything; the sizes are those that the plan left. */
int gated(void *const *arrays, const int64_t *sizes, void *workspace)
{
    (void)workspace;
    const double *x = arrays[0]; /* input, float64 (x_0, x_1) */
    const double *y = arrays[1]; /* input, float64 (x_0, x_1) */
    double *output_0 = arrays[2]; /* output, float64 (x_0, x_1) */
    double *output_1 = arrays[3]; /* output, float64 (x_0, x_1) */
    const int64_t x_0 = sizes[0];
    const int64_t x_1 = sizes[1];
    compute_in_blocks(x, y, output_0, output_1, x_0, x_1);
    return 0;
}

void gated_threads(const int32_t *count)
{
    sg_threads = count;
}
