/* y = beta y + alpha op(a) x, for REAL: a is read once, from one end to the other, some rows at a time. */

/* y = beta y + alpha a x for so many rows. */
INLINE void OF_REAL(dots_)(const int rows, ptrdiff_t n, REAL alpha, const REAL *a, ptrdiff_t a_row, const REAL *x,
                           REAL beta, REAL *y)
{
    VECTOR sum[4] = {{0}};
    const ptrdiff_t whole = n / LANES * LANES;
    for (ptrdiff_t j = 0; j < whole; j += LANES) {
        const VECTOR factor = *(const VECTOR *)(x + j);
        UNROLL
        for (int i = 0; i < rows; ++i)
            sum[i] += *(const VECTOR *)(a + i * a_row + j) * factor;
    }
    UNROLL
    for (int i = 0; i < rows; ++i) {
        REAL total = 0;
        for (int lane = 0; lane < LANES; ++lane)
            total += sum[i][lane];
        for (ptrdiff_t j = whole; j < n; ++j)
            total += a[i * a_row + j] * x[j];
        y[i] = beta == 0 ? alpha * total : beta * y[i] + alpha * total;
    }
}

/* y += alpha x a for so many rows. */
INLINE void OF_REAL(rows_)(const int rows, ptrdiff_t n, REAL alpha, const REAL *a, ptrdiff_t a_row, const REAL *x,
                           REAL *restrict y)
{
    ptrdiff_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        VECTOR total = *(const VECTOR *)(y + j);
        UNROLL
        for (int i = 0; i < rows; ++i)
            total += alpha * x[i] * *(const VECTOR *)(a + i * a_row + j);
        *(VECTOR *)(y + j) = total;
    }
    for (; j < n; ++j)
        for (int i = 0; i < rows; ++i)
            y[j] += alpha * x[i] * a[i * a_row + j];
}

EXPORTED void GEMV(int order, int ta, SG_BLAS_INT m, SG_BLAS_INT n, REAL alpha, const REAL *a, SG_BLAS_INT a_step,
                   const REAL *x, SG_BLAS_INT x_step, REAL beta, REAL *restrict y, SG_BLAS_INT y_step)
{
    (void)order, (void)x_step, (void)y_step; /* steps of 1 */
    const ptrdiff_t rows = m, columns = n, a_row = a_step;
    ptrdiff_t i = 0;
    if (ta == TRANSPOSED) {
        for (ptrdiff_t j = 0; j < columns; ++j)
            y[j] = beta == 0 ? 0 : beta * y[j];
        for (; i + 4 <= rows; i += 4)
            OF_REAL(rows_)(4, columns, alpha, a + i * a_row, a_row, x + i, y);
        for (; i < rows; ++i)
            OF_REAL(rows_)(1, columns, alpha, a + i * a_row, a_row, x + i, y);
    } else {
        for (; i + 4 <= rows; i += 4)
            OF_REAL(dots_)(4, columns, alpha, a + i * a_row, a_row, x, beta, y + i);
        for (; i < rows; ++i)
            OF_REAL(dots_)(1, columns, alpha, a + i * a_row, a_row, x, beta, y + i);
    }
}
