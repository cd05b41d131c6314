/* train, compiled by symgraph

   input   x : float64 (y_0, 2)
   input   y : float64 (y_0,)
   shared  W : float64 (2, 2)
   shared  b : float64 (2,)
   shared  W2 : float64 (2,)
   shared  b2 : float64 ()
   output  y_pred = sigmoid(sigmoid(x @ W + b) @ W2 + b2)
   output  cost = sum((y - sigmoid(...))**2) / float64((...**2).shape[0])
   update  W <- W - 0.1 * grad_W
   update  b <- b - 0.1 * grad_b
   update  W2 <- W2 - 0.1 * grad_W2
   update  b2 <- b2 - 0.1 * grad_b2

   arrays: {x, y, W, b, W2, b2, y_pred, cost}, contiguous, the last axis running fastest. sizes: 8 numbers; the caller
   sets the first 7, x_0, x_1, y_0, W_0, W_1, b_0, W2_0; train_plan(arrays, sizes) sets the others. Then train(arrays,
   sizes, workspace) computes; workspace: sizes[7] bytes, aligned to 64. Both give 0, or the number of a check that
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

/* The BLAS, by pointers that train_blas receives; NULL until then, and loops are used instead. */
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

/* sg_gemm_f64 by BLAS, in parts of c, never of the sums, whose order must not depend on the number of threads. So either
   it does not depend on borders, or the parts are fixed. Columns are cut unless rows are twice as many: then a thread
   that has some columns of a weight in its cache, since it multiplied by them, also updates them. */
SG_PLAIN
static void sg_large_gemm_f64(int64_t ta, int64_t tb, int64_t m, int64_t n, int64_t k, double alpha, const double *a,
                             const double *b, double beta, double *c)
{
    sg_dgemm_t gemm;
    memcpy(&gemm, &sg_blas[1], sizeof gemm);
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
static void sg_gemm_f64(int64_t ta, int64_t tb, int64_t m, int64_t n, int64_t k, double alpha, const double *a, const double *b,
                        double beta, double *restrict c)
{
    if (m == 0 || n == 0)
        return;
    /* Where alpha is 0, BLAS may leave out the product, and the NaN in it. */
    if (sg_blas[1] && SG_FITS(m) && SG_FITS(n) && SG_FITS(k) && k > 0 && alpha != 0.0 &&
        (double)m * (double)n * (double)k >= 4096) {
        sg_large_gemm_f64(ta, tb, m, n, k, alpha, a, b, beta, c);
        return;
    }
    const int64_t a_row = ta ? 1 : k, a_column = ta ? m : 1;
    for (int64_t i = 0; i < m; ++i) {
        double *restrict row = c + i * n;
        if (beta == 0.0)
            for (int64_t j = 0; j < n; ++j)
                row[j] = 0.0;
        else if (beta != 1.0)
            for (int64_t j = 0; j < n; ++j)
                row[j] *= beta;
        if (tb)
            for (int64_t j = 0; j < n; ++j) {
                double total = 0.0;
                SG_LANES(omp simd reduction(+:total))
                for (int64_t l = 0; l < k; ++l)
                    total += a[i * a_row + l * a_column] * b[j * k + l];
                row[j] += alpha * total;
            }
        else
            for (int64_t l = 0; l < k; ++l) {
                const double factor = alpha * a[i * a_row + l * a_column];
                for (int64_t j = 0; j < n; ++j)
                    row[j] += factor * b[l * n + j];
            }
    }
}

/* y_pred = sigmoid(h @ W2 + b2) : float64 (y_0,)    test_golden.py:22
   cost = sum(sqr(y - y_pred)) / float64(y.shape[0]) : float64 ()    test_golden.py:23
   (-(... / ... * ...)).dimshuffle(0, 'x') * W2 * (h * (1 - h)) : float64 (y_0, 2)    test_golden.py:21
   grad_b = sum((-(... * ...)).dimshuffle(0, 'x') * W2 * (h * (1 - h)), axis=0) : float64 (2,)    test_golden.py:21
   grad_W2 = h.T @ (-(... * 2 / float64(...) * (y_pred * (1 - y_pred)))) : float64 (2,)    test_golden.py:22
   b2 <- b2 - grad_b2 * 0.1 : float64 ()    test_golden.py:25
   40*y_0 + 5 operations; 16*y_0 + 56 bytes read, 24*y_0 + 48 written */
SG_KERNEL void compute_y_pred_cost_grad_b(const double *restrict x, const double *restrict W,
                                          const double *restrict b, const double *restrict W2, double *restrict b2,
                                          double *restrict y_pred, const double *restrict y, double *restrict t,
                                          double *restrict grad_b_of_block, double *restrict grad_W2_of_block,
                                          double *restrict total_2_of_block, double *restrict grad_b2_of_block,
                                          int64_t first, int64_t last, int64_t y_0)
{
    SG_LANES(omp simd)
    for (int64_t i = 0; i < 2; ++i) {
        grad_b_of_block[i] = 0.0;
    }
    SG_LANES(omp simd)
    for (int64_t i = 0; i < 2; ++i) {
        grad_W2_of_block[i] = 0.0;
    }
    const double b2_2 = b2[0];
    double total_2 = 0.0;
    double grad_b2 = 0.0;
    double grad_b_of_block_0 = grad_b_of_block[0];
    double grad_W2_of_block_0 = grad_W2_of_block[0];
    double grad_b_of_block_1 = grad_b_of_block[1];
    double grad_W2_of_block_1 = grad_W2_of_block[1];
    SG_LANES(omp simd simdlen(4) reduction(+:grad_b_of_block_0) reduction(+:grad_W2_of_block_0)
             reduction(+:grad_b_of_block_1) reduction(+:grad_W2_of_block_1) reduction(+:total_2) reduction(+:grad_b2))
    for (int64_t i = first; i < last; ++i) {
        const double x_2 = x[i * 2];
        const double x_3 = x[i * 2 + 1];
        double total = 0.0;
        const double h_0 = sg_sigmoid_f64(x_2 * W[0] + x_3 * W[2] + b[0]);
        const double W2_2_0 = W2[0];
        total += h_0 * W2_2_0;
        const double h_1 = sg_sigmoid_f64(x_2 * W[1] + x_3 * W[3] + b[1]);
        const double W2_2_1 = W2[1];
        total += h_1 * W2_2_1;
        const double y_pred_2 = sg_sigmoid_f64(total + b2_2);
        const double t_6 = y[i] - y_pred_2;
        const double t_14 = -(t_6 * 2.0 / (double)y_0 * (y_pred_2 * (1.0 - y_pred_2)));
        y_pred[i] = y_pred_2;
        total_2 += t_6 * t_6;
        grad_b2 += t_14;
        const double t_18_0 = t_14 * W2_2_0 * (h_0 * (1.0 - h_0));
        t[i * 2] = t_18_0;
        grad_b_of_block_0 += t_18_0;
        grad_W2_of_block_0 += h_0 * t_14;
        const double t_18_1 = t_14 * W2_2_1 * (h_1 * (1.0 - h_1));
        t[i * 2 + 1] = t_18_1;
        grad_b_of_block_1 += t_18_1;
        grad_W2_of_block_1 += h_1 * t_14;
    }
    grad_b_of_block[0] = grad_b_of_block_0;
    grad_W2_of_block[0] = grad_W2_of_block_0;
    grad_b_of_block[1] = grad_b_of_block_1;
    grad_W2_of_block[1] = grad_W2_of_block_1;
    total_2_of_block[0] = total_2;
    grad_b2_of_block[0] = grad_b2;
}

/* What compute_y_pred_cost_grad_b leaves to do when all blocks are done. */
SG_KERNEL void compute_y_pred_cost_grad_b_rest(double *restrict b2, double *restrict cost, double *restrict grad_b,
                                               double *restrict grad_W2, double *restrict total_2_of_block,
                                               double *restrict grad_b2_of_block, double *restrict grad_b_of_block,
                                               double *restrict grad_W2_of_block, int64_t blocks, int64_t y_0)
{
    double total_2 = 0.0;
    double grad_b2 = 0.0;
    for (int64_t block = 0; block < blocks; ++block) {
        total_2 += total_2_of_block[block];
        grad_b2 += grad_b2_of_block[block];
    }
    SG_LANES(omp simd)
    for (int64_t i = 0; i < 2; ++i) {
        grad_b[i] = grad_b_of_block[i];
    }
    for (int64_t block = 1; block < blocks; ++block) {
        SG_LANES(omp simd)
        for (int64_t i = 0; i < 2; ++i) {
            grad_b[i] += grad_b_of_block[block * 16 + i];
        }
    }
    SG_LANES(omp simd)
    for (int64_t i = 0; i < 2; ++i) {
        grad_W2[i] = grad_W2_of_block[i];
    }
    for (int64_t block = 1; block < blocks; ++block) {
        SG_LANES(omp simd)
        for (int64_t i = 0; i < 2; ++i) {
            grad_W2[i] += grad_W2_of_block[block * 16 + i];
        }
    }
    const double b2_2 = b2[0];
    cost[0] = total_2 / (double)y_0;
    b2[0] = b2_2 - grad_b2 * 0.1;
}

/* compute_y_pred_cost_grad_b in blocks. */
SG_PLAIN
SG_KERNEL void compute_y_pred_cost_grad_b_in_blocks(const double *restrict x, const double *restrict W,
                                                    const double *restrict b, const double *restrict W2,
                                                    double *restrict b2, double *restrict y_pred,
                                                    const double *restrict y, double *restrict t,
                                                    double *restrict grad_b_of_block,
                                                    double *restrict grad_W2_of_block,
                                                    double *restrict total_2_of_block,
                                                    double *restrict grad_b2_of_block, double *restrict cost,
                                                    double *restrict grad_b, double *restrict grad_W2, int64_t y_0)
{
    const int64_t work = y_0 * 160, blocks = sg_blocks(y_0, work);
    SG_IN_BLOCKS(y_0, work, compute_y_pred_cost_grad_b(x, W, b, W2, b2, y_pred, y, t, grad_b_of_block + block * 16,
                                                       grad_W2_of_block + block * 16, total_2_of_block + block,
                                                       grad_b2_of_block + block, first, last, y_0))
    compute_y_pred_cost_grad_b_rest(b2, cost, grad_b, grad_W2, total_2_of_block, grad_b2_of_block, grad_b_of_block,
                                    grad_W2_of_block, blocks, y_0);
}

/* b <- b - grad_b * 0.1 : float64 (2,)    test_golden.py:25
   W2 <- W2 - grad_W2 * 0.1 : float64 (2,)    test_golden.py:25
   8 operations; 64 bytes read, 32 written */
SG_KERNEL void update_b_W2(const double *restrict grad_b, double *restrict b, const double *restrict grad_W2,
                           double *restrict W2)
{
    SG_LANES(omp simd)
    for (int64_t i = 0; i < 2; ++i) {
        b[i] -= grad_b[i] * 0.1;
        W2[i] -= grad_W2[i] * 0.1;
    }
}

/* Checks the lengths of the arguments and derives the other sizes; 0, or the number of the check that failed. */
SG_PLAIN
int train_plan(void *const *arrays, int64_t *sizes)
{
    const int64_t x_0 = sizes[0];
    const int64_t x_1 = sizes[1];
    const int64_t y_0 = sizes[2];
    const int64_t W_0 = sizes[3];
    const int64_t W_1 = sizes[4];
    const int64_t b_0 = sizes[5];
    const int64_t W2_0 = sizes[6];
    (void)arrays;
    const int64_t workspace_bytes = 8832 + ((y_0 * 16 + 63) & -64);
    /* W.shape[0] is 2 */
    if (!(W_0 == 2))
        return 1;
    /* W.shape[1] is 2 */
    if (!(W_1 == 2))
        return 2;
    /* b.shape[0] is 2 */
    if (!(b_0 == 2))
        return 3;
    /* W2.shape[0] is 2 */
    if (!(W2_0 == 2))
        return 4;
    /* for x @ W    test_golden.py:21 */
    if (!(x_1 == 2))
        return 5;
    /* for y - sigmoid(sigmoid(x @ W + b) @ W2 + b2)    test_golden.py:23 */
    if (!(y_0 == x_0))
        return 6;
    sizes[7] = workspace_bytes;
    return 0;
}

/* Computes everything; the sizes are those that the plan left. */
int train(void *const *arrays, const int64_t *sizes, void *workspace)
{
    const double *x = arrays[0]; /* input, float64 (y_0, 2) */
    const double *y = arrays[1]; /* input, float64 (y_0,) */
    double *W = arrays[2]; /* shared, float64 (2, 2) */
    double *b = arrays[3]; /* shared, float64 (2,) */
    double *W2 = arrays[4]; /* shared, float64 (2,) */
    double *b2 = arrays[5]; /* shared, float64 () */
    double *y_pred = arrays[6]; /* output, float64 (y_0,) */
    double *cost = arrays[7]; /* output, float64 () */
    const int64_t y_0 = sizes[2];
    double *t = (double *)((char *)workspace + 8832);
    double *grad_b = workspace;
    double *grad_W2 = (double *)((char *)workspace + 64);
    double *total_2_of_block = (double *)((char *)workspace + 128);
    double *grad_b2_of_block = (double *)((char *)workspace + 384);
    double *grad_b_of_block = (double *)((char *)workspace + 640);
    double *grad_W2_of_block = (double *)((char *)workspace + 4736);
    compute_y_pred_cost_grad_b_in_blocks(x, W, b, W2, b2, y_pred, y, t, grad_b_of_block, grad_W2_of_block,
                                         total_2_of_block, grad_b2_of_block, cost, grad_b, grad_W2, y_0);
    /* W <- 1 * W + -0.1 * (x.T @ ((-...).dimshuffle(0, 'x') * W2 * (h * (1 - h)))) : float64 (2, 2)    test_golden.py:25 */
    sg_gemm_f64(1, 0, 2, 2, y_0, -0.1, x, t, 1.0, W);
    update_b_W2(grad_b, b, grad_W2, W2);
    return 0;
}

/* Receives pointers to sgemm, dgemm, sgemv, dgemv of a CBLAS whose integers are SG_BLAS_INT; and one that is not NULL
   if a call does all its work on the thread that calls, SG_ANY_BORDERS if its sums do not mind borders. */
void train_blas(void *const *functions)
{
    memcpy(sg_blas, functions, sizeof sg_blas);
}

void train_threads(const int32_t *count)
{
    sg_threads = count;
}
