/* What others call, for REAL. */

EXPORTED void GEMM(int order, int ta, int tb, SG_BLAS_INT m, SG_BLAS_INT n, SG_BLAS_INT k, REAL alpha, const REAL *a,
                   SG_BLAS_INT a_step, const REAL *b, SG_BLAS_INT b_step, REAL beta, REAL *c, SG_BLAS_INT c_step)
{
    (void)order;
    const ptrdiff_t a_row = ta == TRANSPOSED ? 1 : a_step, a_column = ta == TRANSPOSED ? a_step : 1;
    const ptrdiff_t b_row = tb == TRANSPOSED ? 1 : b_step, b_column = tb == TRANSPOSED ? b_step : 1;
    if (n <= LANES && c_step == n)
        OF_REAL(few_columns_)(m, n, k, alpha, a, a_row, a_column, b, b_row, b_column, beta, c);
    else if (n <= LANES && n < m) /* few columns fill no vectors: the transposed product */
        OF_REAL(gemm_)(n, m, k, alpha, b, b_column, b_row, a, a_column, a_row, beta, c, 1, c_step);
    else
        OF_REAL(gemm_)(m, n, k, alpha, a, a_row, a_column, b, b_row, b_column, beta, c, c_step, 1);
}
