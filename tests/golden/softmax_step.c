/* softmax_step, compiled by symgraph

   input   x : float32 (x_0, 20)
   input   labels : int64 (x_0,)
   shared  W : float32 (20, 10)
   shared  b : float32 (10,)
   output  loss = sum(-log(...)[..., labels]) / float32((-...).shape[0])
   output  argmax(softmax(x @ W + b, axis=1), axis=1)
   update  W <- W - 0.1 * grad_W
   update  b <- b - 0.1 * grad_b

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

static inline bool sg_isnan_f32(float a)
{
    return a != a;
}

/* x kept within -bound and bound; NaN stays. */
SG_INLINE float sg_clamp_f32(float x, float bound)
{
    const float y = -bound > x ? -bound : x;
    return bound < y ? bound : y;
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

SG_INLINE uint32_t sg_bits_f32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

SG_INLINE float sg_of_bits_f32(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* exp(r) 2^n factor, for |r| <= log(2) / 2 and shifted = n + 0x1.8p23f, with a whole |n| < 2000 (float: 250). */
SG_INLINE float sg_exp_reduced_f32(float r, float shifted, float factor)
{
    float p = 0.0013950608f;
    p = sg_muladd_f32(p, r, 0.0083689f);
    p = sg_muladd_f32(p, r, 0.041666202f);
    p = sg_muladd_f32(p, r, 0.16666518f);
    p = sg_muladd_f32(p, r, 0.5f);
    const float e = sg_muladd_f32(r, sg_muladd_f32(r, p, 1), 1) * factor;
    const uint32_t n = sg_bits_f32(shifted), half = n >> 1;  /* twice, since 2^n itself may be no normal number */
    return e * sg_of_bits_f32((half << 23) + 0x3f800000) * sg_of_bits_f32(((n - half) << 23) + 0x3f800000);
}

/* exp(x - tail) factor, for a tail far below x. */
SG_INLINE float sg_exp_scaled_f32(float x, float tail, float factor)
{
    const float y = sg_clamp_f32(x, 110.0f), shifted = sg_muladd_f32(y, 0x1.715476p+0f, 0x1.8p23f), n = shifted - 0x1.8p23f;
    const float r = sg_muladd_f32(n, -0x1.7f7d1cp-20f, sg_muladd_f32(n, -0x1.62e4p-1f, y) - tail);
    return sg_exp_reduced_f32(r, shifted, factor);
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
    return x > 0 && x < INFINITY ? value : x == 0 ? -INFINITY : x < 0 ? NAN : x;
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
static void *sg_blas[4];
enum { SG_ROW_MAJOR = 101, SG_AS_IT_IS = 111, SG_TRANSPOSED = 112 };

/* c = beta c + alpha op(a) op(b), where op(a) is m x k, op(b) k x n and c m x n; op transposes where told to. */
static void sg_gemm_f32(int64_t ta, int64_t tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, const float *b,
                        float beta, float *restrict c)
{
    if (m == 0 || n == 0)
        return;
    if (sg_blas[0] && k > 0 && (double)m * (double)n * (double)k >= 4096) {
        sg_sgemm_t gemm;
        memcpy(&gemm, &sg_blas[0], sizeof gemm);
        gemm(SG_ROW_MAJOR, ta ? SG_TRANSPOSED : SG_AS_IT_IS, tb ? SG_TRANSPOSED : SG_AS_IT_IS, (SG_BLAS_INT)m,
             (SG_BLAS_INT)n, (SG_BLAS_INT)k, alpha, a, (SG_BLAS_INT)(ta ? m : k), b, (SG_BLAS_INT)(tb ? k : n), beta, c,
             (SG_BLAS_INT)n);
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

/* all((labels >= -10) & (labels < 10)) : bool ()    test_golden.py:33
   switch(... < 0, ... + 10, labels.dimshuffle(0, 'x')) : int64 (x_0, 1)    test_golden.py:33
   6*x_0 operations; 8*x_0 bytes read, 8*x_0 + 1 written */
SG_KERNEL void compute(const int64_t *restrict labels, bool *restrict t, int64_t *restrict t_9, int64_t x_0)
{
    bool best = true;
    SG_LANES(omp simd reduction(&:best))
    for (int64_t i = 0; i < x_0; ++i) {
        const int64_t labels_2 = labels[i];
        best = best & ((labels_2 >= -10) & (labels_2 < 10));
        t_9[i] = labels_2 < 0 ? labels_2 + 10 : labels_2;
    }
    t[0] = best;
}

/* arange(x.shape[0]) : int64 (x_0,)    test_golden.py:33
   0 operations; 0 bytes read, 8*x_0 written */
SG_KERNEL void compute_2(int64_t *restrict t_3, int64_t x_0)
{
    SG_LANES(omp simd)
    for (int64_t i = 0; i < x_0; ++i) {
        t_3[i] = i;
    }
}

/* full((x.shape[0],), 0) : float32 (x_0,)    test_golden.py:32
   0 operations; 0 bytes read, 4*x_0 written */
SG_KERNEL void compute_3(float *restrict t_2, int64_t x_0)
{
    SG_LANES(omp simd)
    for (int64_t i = 0; i < x_0; ++i) {
        t_2[i] = 0.0f;
    }
}

/* (x @ W)[arange(x.shape[0]), labels] + b[labels] : float32 (x_0,)    test_golden.py:33
   x_0 operations; 12*x_0 + 4 bytes read, 4*x_0 written */
SG_KERNEL void compute_4(const int64_t *restrict labels, const float *restrict t_5, const float *restrict b,
                         float *restrict t_6, int64_t x_0)
{
    SG_LANES(omp simd)
    for (int64_t i = 0; i < x_0; ++i) {
        const int64_t labels_2 = labels[i];
        t_6[i] = t_5[(i < 0 ? i + x_0 : i) * 10 + (labels_2 < 0 ? labels_2 + 10 : labels_2)] + b[labels_2 < 0 ? labels_2 + 10 : labels_2];
    }
}

/* max(x @ W + b, axis=1) : float32 (x_0,)    test_golden.py:33
   sum(exp(x @ W + b - max(x @ W + b, axis=1).dimshuffle(0, 'x')), axis=1) : float32 (x_0,)    test_golden.py:33
   p = exp(... - ...) / ....dimshuffle(0, 'x') : float32 (x_0, 10)    test_golden.py:32
   argmax(p, axis=1) : int64 (x_0,)    test_golden.py:36
   150*x_0 operations; 40*x_0 + 40 bytes read, 56*x_0 written */
SG_KERNEL void compute_p(const float *restrict t_5, const float *restrict b, float *restrict t_7, float *restrict t_8,
                         float *restrict p, int64_t *restrict output_1, int64_t x_0)
{
    float t_14_row[10];
    for (int64_t i = 0; i < x_0; ++i) {
        float best = -INFINITY;
        bool nan_seen = false;
        SG_LANES(omp simd reduction(max:best) reduction(|:nan_seen))
        for (int64_t j = 0; j < 10; ++j) {
            const float t_11 = t_5[i * 10 + j] + b[j];
            const float term = t_11;
            best = best < term ? term : best;
            nan_seen = nan_seen | sg_isnan_f32(term);
        }
        best = nan_seen ? NAN : best;
        t_7[i] = best;
        double total = 0.0;
        SG_LANES(omp simd reduction(+:total))
        for (int64_t j = 0; j < 10; ++j) {
            const float t_11 = t_5[i * 10 + j] + b[j];
            const float t_14 = sg_exp_f32(t_11 - best);
            t_14_row[j] = t_14;
            total += (double)t_14;
        }
        const float t_15 = (float)total;
        t_8[i] = t_15;
        float best_3 = -INFINITY;
        int64_t best_2 = 0;
        for (int64_t j = 0; j < 10; ++j) {
            const float t_14 = t_14_row[j];
            const float p_2 = t_14 / t_15;
            p[i * 10 + j] = p_2;
            const float term_2 = p_2;
            if ((term_2 > best_3) | (sg_isnan_f32(term_2) & !sg_isnan_f32(best_3))) {
                best_3 = term_2;
                best_2 = j;
            }
        }
        output_1[i] = best_2;
    }
}

/* inc_subtensor(full((...,), 0)[arange(...)], -1 / ...) : float32 (x_0,)    test_golden.py:32
   4*x_0 operations; 4 bytes read, 4 written */
SG_KERNEL void scatter(float *restrict t_2, int64_t x_0)
{
    for (int64_t i0 = 0; i0 < x_0; ++i0) {
        const int64_t at0 = i0 < 0 ? i0 + x_0 : i0;
        t_2[at0] += -1.0f / (float)x_0;
    }
}

/* loss = -(sum(... - ... - log(...)) / float32(x.shape[0])) : float32 ()    test_golden.py:33
   4*x_0 + 2 operations; 12*x_0 bytes read, 4 written */
SG_KERNEL void compute_loss(const float *restrict t_6, const float *restrict t_7, const float *restrict t_8,
                            float *restrict loss, int64_t x_0)
{
    double total = 0.0;
    SG_LANES(omp simd reduction(+:total))
    for (int64_t i = 0; i < x_0; ++i) {
        total += (double)(t_6[i] - t_7[i] - sg_log_f32(t_8[i]));
    }
    loss[0] = -((float)total / (float)x_0);
}

/* switch(... == ..., ..., 0) - p * ... : float32 (x_0, 10)    test_golden.py:32
   grad_b = sum(switch(..., ..., 0) - p * ..., axis=0) : float32 (10,)    test_golden.py:32
   50*x_0 operations; 52*x_0 + 40 bytes read, 40*x_0 + 40 written */
SG_KERNEL void compute_grad_b(const int64_t *restrict t_9, const float *restrict p, const float *restrict t_2,
                              float *restrict t_4, float *restrict grad_b, int64_t x_0)
{
    SG_LANES(omp simd)
    for (int64_t i = 0; i < 10; ++i) {
        grad_b[i] = 0.0f;
    }
    for (int64_t i = 0; i < x_0; ++i) {
        const int64_t t_10 = t_9[i];
        const float t_13 = t_2[i];
        SG_LANES(omp simd)
        for (int64_t j = 0; j < 10; ++j) {
            const float t_15 = (t_10 == j ? -1.0f / (float)x_0 : 0.0f) - p[i * 10 + j] * t_13;
            t_4[i * 10 + j] = t_15;
            grad_b[j] += t_15;
        }
    }
}

/* b <- b - grad_b * 0.1 : float32 (10,)    test_golden.py:35
   20 operations; 80 bytes read, 40 written */
SG_KERNEL void update_b(const float *restrict grad_b, float *restrict b)
{
    SG_LANES(omp simd)
    for (int64_t i = 0; i < 10; ++i) {
        b[i] -= grad_b[i] * 0.1f;
    }
}

/* Checks the lengths of the arguments and derives the other sizes; 0, or the number of the check that failed. */
int softmax_step_plan(void *const *arrays, int64_t *sizes)
{
    const int64_t x_0 = sizes[0];
    const int64_t x_1 = sizes[1];
    const int64_t labels_0 = sizes[2];
    const int64_t W_0 = sizes[3];
    const int64_t W_1 = sizes[4];
    const int64_t b_0 = sizes[5];
    (void)arrays;
    const int64_t slot_bytes = (x_0 * 8 + 63) & -64;
    const int64_t slot_bytes_2 = (x_0 * 40 + 63) & -64;
    const int64_t slot = 64 + slot_bytes * 2;
    const int64_t slot_bytes_3 = (x_0 * 4 + 63) & -64;
    const int64_t slot_2 = slot + slot_bytes_2 * 2;
    const int64_t workspace_bytes = slot_2 + slot_bytes_3 * 4;
    /* W.shape[0] is 20 */
    if (!(W_0 == 20))
        return 1;
    /* W.shape[1] is 10 */
    if (!(W_1 == 10))
        return 2;
    /* b.shape[0] is 10 */
    if (!(b_0 == 10))
        return 3;
    /* for x @ W    test_golden.py:32 */
    if (!(x_1 == 20))
        return 4;
    /* for log(softmax(..., axis=1))[arange(...), labels]    test_golden.py:33 */
    if (!(x_0 == labels_0))
        return 5;
    sizes[6] = slot_bytes;
    sizes[7] = slot_bytes_2;
    sizes[8] = slot;
    sizes[9] = slot_bytes_3;
    sizes[10] = slot_2;
    sizes[11] = workspace_bytes;
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
    const int64_t slot_bytes_2 = sizes[7];
    const int64_t slot = sizes[8];
    const int64_t slot_bytes_3 = sizes[9];
    const int64_t slot_2 = sizes[10];
    bool *t = workspace;
    int64_t *t_9 = (int64_t *)((char *)workspace + 64);
    float *t_5 = (float *)((char *)workspace + slot);
    int64_t *t_3 = (int64_t *)((char *)workspace + 64 + slot_bytes);
    float *t_2 = (float *)((char *)workspace + slot_2);
    float *t_6 = (float *)((char *)workspace + slot_2 + slot_bytes_3);
    float *t_7 = (float *)((char *)workspace + slot_2 + slot_bytes_3 * 2);
    float *t_8 = (float *)((char *)workspace + slot_2 + slot_bytes_3 * 3);
    float *p = (float *)((char *)workspace + slot + slot_bytes_2);
    float *t_4 = (float *)((char *)workspace + slot);
    float *grad_b = workspace;
    compute(labels, t, t_9, x_0);
    if (!t[0])
        return 9;
    /* x @ W : float32 (x_0, 10)    test_golden.py:32 */
    sg_gemm_f32(0, 0, x_0, 10, 20, 1.0f, x, W, 0.0f, t_5);
    compute_2(t_3, x_0);
    compute_3(t_2, x_0);
    compute_4(labels, t_5, b, t_6, x_0);
    compute_p(t_5, b, t_7, t_8, p, output_1, x_0);
    scatter(t_2, x_0);
    compute_loss(t_6, t_7, t_8, loss, x_0);
    compute_grad_b(t_9, p, t_2, t_4, grad_b, x_0);
    /* W <- 1 * W + -0.1 * (x.T @ (switch(..., ..., 0) - ...)) : float32 (20, 10)    test_golden.py:35 */
    sg_gemm_f32(1, 0, 20, 10, x_0, -0.1f, x, t_4, 1.0f, W);
    update_b(grad_b, b);
    return 0;
}

/* Receives pointers to sgemm, dgemm, sgemv, dgemv of a CBLAS whose integers are SG_BLAS_INT. */
void softmax_step_blas(void *const *functions)
{
    memcpy(sg_blas, functions, sizeof sg_blas);
}
