/* c = beta c + alpha op(a) op(b), for REAL, where c has no more columns than a vector has lanes, and no gaps.

   A row of c is one vector. Each element of a meets a row of b once, so a is read as it lies, and only b is packed: its
   rows, filled up to whole vectors. */

/* A row of a tile, of which `left` elements follow, as a vector; those beyond the n of the row are anything. */
INLINE VECTOR OF_REAL(row_)(const REAL *c, ptrdiff_t n, ptrdiff_t left)
{
    VECTOR row = {0};
    if (left >= LANES)
        return *(const VECTOR *)c;
    __builtin_memcpy(&row, c, (size_t)n * sizeof(REAL));
    return row;
}

/* So many rows of c. A vector that is stored covers elements of the next rows, which are stored after it. */
INLINE void OF_REAL(few_)(const int rows, ptrdiff_t n, ptrdiff_t k, ptrdiff_t pieces, REAL alpha, const REAL *a,
                          ptrdiff_t a_row, ptrdiff_t a_column, const REAL *b, REAL beta, REAL *c)
{
    VECTOR total[ROWS], sum[ROWS];
    const REAL *from[(ROWS + 2) / 3]; /* every third row: the addresses of all would be too many */
    UNROLL
    for (int i = 0; i < rows; ++i)
        total[i] = beta == 0 ? (VECTOR){0} : OF_REAL(row_)(c + i * n, n, (rows - i) * n);
    UNROLL
    for (int i = 0; i < rows; i += 3)
        from[i / 3] = a + i * a_row;
    for (ptrdiff_t piece = 0; piece < pieces; ++piece, beta = 1) {
        const REAL *const end = b + (share(k, pieces, piece + 1) - share(k, pieces, piece)) * LANES;
        UNROLL
        for (int i = 0; i < rows; ++i)
            sum[i] = (VECTOR){0};
        for (; b < end; b += LANES) {
            const VECTOR right = *(const VECTOR *)b;
            UNROLL
            for (int i = 0; i < rows; ++i)
                sum[i] += from[i / 3][i % 3 * a_row] * right;
            UNROLL
            for (int i = 0; i < rows; i += 3)
                from[i / 3] += a_column;
        }
        UNROLL
        for (int i = 0; i < rows; ++i)
            total[i] = beta == 0 ? alpha * sum[i] : beta * total[i] + alpha * sum[i];
    }
    UNROLL
    for (int i = 0; i < rows; ++i)
        if ((rows - i) * n >= LANES)
            *(VECTOR *)(c + i * n) = total[i];
        else
            __builtin_memcpy(c + i * n, &total[i], (size_t)n * sizeof(REAL));
}

/* A tile of at most ROWS rows. */
APART void OF_REAL(any_few_)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t k, ptrdiff_t pieces, REAL alpha, const REAL *a,
                             ptrdiff_t a_row, ptrdiff_t a_column, const REAL *b, REAL beta, REAL *c)
{
    switch (rows) {
#define CASE(count)                                                                                                    \
    case count:                                                                                                        \
        if (count <= ROWS)                                                                                             \
            OF_REAL(few_)(count, n, k, pieces, alpha, a, a_row, a_column, b, beta, c);                                 \
        return;
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13)
        CASE(14)
#undef CASE
    }
}

/* The sums are made in pieces as in gemm.c. */
static void OF_REAL(few_columns_)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, REAL alpha, const REAL *a, ptrdiff_t a_row,
                                  ptrdiff_t a_column, const REAL *b, ptrdiff_t b_row, ptrdiff_t b_column, REAL beta,
                                  REAL *c)
{
    REAL *const packed = panels_of_thread.OF_REAL(as_);
    const ptrdiff_t pieces = k > DEPTH ? (k + DEPTH - 1) / DEPTH : 1, tiles = (m + ROWS - 1) / ROWS;
    const ptrdiff_t most = PANELS_BYTES / VECTOR_BYTES / DEPTH; /* pieces that there is room for */

    for (ptrdiff_t first = 0; first < pieces; first += most, beta = 1) {
        const ptrdiff_t last = first + most < pieces ? first + most : pieces;
        const ptrdiff_t p = share(k, pieces, first), depth = share(k, pieces, last) - p;
        OF_REAL(pack_)(b + p * b_row, b_column, b_row, n, depth, packed, LANES);
        for (ptrdiff_t t = 0; t < tiles; ++t) {
            const ptrdiff_t i = share(m, tiles, t), rows = share(m, tiles, t + 1) - i;
            OF_REAL(any_few_)(rows, n, depth, last - first, alpha, a + i * a_row + p * a_column, a_row, a_column, packed,
                              beta, c + i * n);
        }
    }
}
