/* c = beta c + alpha op(a) op(b), for REAL.

   The scheme is that of Goto and van de Geijn (Anatomy of high-performance matrix multiplication, ACM TOMS 34(3),
   2008) as BLIS has it (Van Zee and van de Geijn, ACM TOMS 41(3), 2015), with a and b exchanged, since these matrices
   lie by rows:

     for each piece of the sums, of at most DEPTH terms
       for each group of columns
         for each block of rows
           pack the block of a, which stays in the second-level cache: tile by tile, in the order of reading
           for each panel of b, WIDTH columns wide
             pack the panel, unless a block before this one did: it stays in the first-level cache
             for each tile of the block
               c[tile, panel] += a[tile, piece] b[piece, panel], which stays in registers

   If all rows are one block, as in small batches, each panel is a group of its own, and done with at once. */

/* sum += a b for `rows` rows and `vectors` vectors: of a and b, which are packed, so many terms. */
INLINE void OF_REAL(add_)(const int rows, const int vectors, ptrdiff_t terms, const REAL *restrict a,
                          const REAL *restrict b, VECTOR (*restrict sum)[2])
{
    for (ptrdiff_t p = 0; p < terms; ++p, a += rows, b += vectors * LANES) {
        const VECTOR left = *(const VECTOR *)b, right = *(const VECTOR *)(b + (vectors - 1) * LANES);
        UNROLL
        for (int i = 0; i < rows; ++i) {
            sum[i][0] += a[i] * left;
            if (vectors == 2)
                sum[i][1] += a[i] * right;
        }
    }
}

/* c = beta c + alpha a b for a tile of `rows` rows and `vectors` vectors, a and b being packed, `depth` terms deep. */
INLINE void OF_REAL(tile_)(const int rows, const int vectors, ptrdiff_t depth, REAL alpha, const REAL *a, const REAL *b,
                           REAL beta, REAL *c, ptrdiff_t c_row)
{
    enum { STEP = 4 };
    VECTOR sum[ROWS][2];
    UNROLL
    for (int i = 0; i < rows; ++i)
        sum[i][0] = sum[i][1] = (VECTOR){0};
    ptrdiff_t p = 0;
    for (ptrdiff_t i = 0; i < rows && p + STEP <= depth; ++i, p += STEP) { /* the rows of c on their way meanwhile */
        __builtin_prefetch(c + i * c_row, 1, 2);
        __builtin_prefetch(c + i * c_row + vectors * LANES - 1, 1, 2);
        OF_REAL(add_)(rows, vectors, STEP, a + p * rows, b + p * vectors * LANES, sum);
    }
    OF_REAL(add_)(rows, vectors, depth - p, a + p * rows, b + p * vectors * LANES, sum);
    UNROLL
    for (int i = 0; i < rows; ++i, c += c_row) {
        UNROLL
        for (int v = 0; v < vectors; ++v) {
            VECTOR *const place = (VECTOR *)(c + v * LANES);
            *place = beta == 0 ? alpha * sum[i][v] : beta * *place + alpha * sum[i][v];
        }
    }
}

/* A tile of an even number of rows from FEW to ROWS, and of one or two vectors. */
APART void OF_REAL(any_tile_)(ptrdiff_t rows, ptrdiff_t vectors, ptrdiff_t depth, REAL alpha, const REAL *a,
                              const REAL *b, REAL beta, REAL *c, ptrdiff_t c_row)
{
    switch (rows) {
#define CASE(count)                                                                                                    \
    case count:                                                                                                        \
        if (count < FEW || count > ROWS)                                                                               \
            return;                                                                                                    \
        if (vectors == 1)                                                                                              \
            OF_REAL(tile_)(count, 1, depth, alpha, a, b, beta, c, c_row);                                              \
        else                                                                                                           \
            OF_REAL(tile_)(count, 2, depth, alpha, a, b, beta, c, c_row);                                              \
        return;
        CASE(4) CASE(6) CASE(8) CASE(10) CASE(12) CASE(14)
#undef CASE
    }
}

/* A tile of which only so many rows and columns are there, or whose rows lie across: computed beside c as a whole. */
APART void OF_REAL(edge_)(ptrdiff_t rows, ptrdiff_t vectors, ptrdiff_t depth, REAL alpha, const REAL *a, const REAL *b,
                          REAL beta, REAL *c, ptrdiff_t c_row, ptrdiff_t c_column, ptrdiff_t rows_there,
                          ptrdiff_t columns_there)
{
    REAL whole[ROWS][WIDTH] = {{0}};
    for (ptrdiff_t i = 0; i < rows_there && beta != 0; ++i)
        for (ptrdiff_t j = 0; j < columns_there; ++j)
            whole[i][j] = c[i * c_row + j * c_column];
    OF_REAL(any_tile_)(rows, vectors, depth, alpha, a, b, beta, whole[0], WIDTH);
    for (ptrdiff_t i = 0; i < rows_there; ++i)
        for (ptrdiff_t j = 0; j < columns_there; ++j)
            c[i * c_row + j * c_column] = whole[i][j];
}

/* to[p * width + i] = from[i * across + p] for p < LANES and i < LANES; but 0 from i = count on. */
INLINE void OF_REAL(transpose_)(const REAL *from, ptrdiff_t across, ptrdiff_t count, REAL *to, ptrdiff_t width)
{
    VECTOR x[LANES], y[LANES];
    UNROLL
    for (int i = 0; i < LANES; ++i)
        x[i] = i < count ? *(const VECTOR *)(from + i * across) : (VECTOR){0};
    UNROLL
    for (int step = 1; step < LANES; step *= 2) {
        UNROLL
        for (int i = 0; i < LANES / 2; ++i) {
            y[2 * i] = LANES_OF(x[i], x[LANES / 2 + i], JOINED(FIRST_, LANES));
            y[2 * i + 1] = LANES_OF(x[i], x[LANES / 2 + i], JOINED(SECOND_, LANES));
        }
        UNROLL
        for (int i = 0; i < LANES; ++i)
            x[i] = y[i];
    }
    UNROLL
    for (int p = 0; p < LANES; ++p)
        *(VECTOR *)(to + p * width) = x[p];
}

/* to[p * width + i] = from[i * across + p * along] for p < depth and i < count, where one of the steps is 1.

   From i = count to `width` there is anything. Whole vectors are written in the order of p, so that what one has too
   much the next one covers; after the last, a vector may be written over. */
APART void OF_REAL(pack_)(const REAL *from, ptrdiff_t across, ptrdiff_t along, ptrdiff_t count, ptrdiff_t depth,
                          REAL *to, ptrdiff_t width)
{
    const ptrdiff_t vectors = (count + LANES - 1) / LANES;
    ptrdiff_t done = 0;
    if (along == 1 && depth >= LANES) {
        for (; done < depth; done += LANES) {
            const ptrdiff_t p = done <= depth - LANES ? done : depth - LANES;
            for (ptrdiff_t i = (vectors - 1) * LANES; i >= 0; i -= LANES)
                OF_REAL(transpose_)(from + i * across + p, across, count - i, to + p * width + i, width);
        }
    } else if (across == 1) { /* as long as there is a whole vector to read */
        const ptrdiff_t spare = (depth - 1) * along + count - vectors * LANES;
        for (; spare >= 0 && done <= spare / along; ++done)
            for (ptrdiff_t i = 0; i < vectors * LANES; i += LANES)
                *(VECTOR *)(to + done * width + i) = *(const VECTOR *)(from + done * along + i);
    }
    for (ptrdiff_t p = done; p < depth; ++p)
        for (ptrdiff_t i = 0; i < width; ++i)
            to[p * width + i] = i < count ? from[i * across + p * along] : 0;
}

static void OF_REAL(gemm_)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, REAL alpha, const REAL *a, ptrdiff_t a_row,
                           ptrdiff_t a_column, const REAL *b, ptrdiff_t b_row, ptrdiff_t b_column, REAL beta, REAL *c,
                           ptrdiff_t c_row, ptrdiff_t c_column)
{
    REAL *const block = block_of_thread.OF_REAL(as_), *const panels = panels_of_thread.OF_REAL(as_);
    const ptrdiff_t pieces = k > DEPTH ? (k + DEPTH - 1) / DEPTH : 1;
    const ptrdiff_t pairs = (m + 1) / 2, tiles = (2 * pairs + ROWS - 1) / ROWS; /* pairs of rows are shared out */
    const ptrdiff_t blocks = (tiles + TILES - 1) / TILES, group = blocks == 1 ? WIDTH : GROUP;

    for (ptrdiff_t piece = 0; piece < pieces; ++piece, beta = 1) {
        const ptrdiff_t p = share(k, pieces, piece), depth = share(k, pieces, piece + 1) - p;
        for (ptrdiff_t from = 0; from < n; from += group) {
            const ptrdiff_t to = from + group < n ? from + group : n;
            for (ptrdiff_t q = 0; q < blocks; ++q) {
                const ptrdiff_t first = share(tiles, blocks, q), last = share(tiles, blocks, q + 1);
                const ptrdiff_t top = 2 * share(pairs, tiles, first);
                for (ptrdiff_t t = first; t < last && (blocks > 1 || from == 0); ++t) {
                    const ptrdiff_t i = 2 * share(pairs, tiles, t), end = 2 * share(pairs, tiles, t + 1);
                    OF_REAL(pack_)(a + i * a_row + p * a_column, a_row, a_column, end < m ? end - i : m - i, depth,
                                   block + (i - top) * depth, end - i < FEW ? FEW : end - i);
                }
                for (ptrdiff_t j = from; j < to; j += WIDTH) {
                    const ptrdiff_t columns = to - j < WIDTH ? to - j : WIDTH, vectors = columns > LANES ? 2 : 1;
                    REAL *const panel = panels + (j - from) * depth;
                    if (q == 0)
                        OF_REAL(pack_)(b + p * b_row + j * b_column, b_column, b_row, columns, depth, panel,
                                       vectors * LANES);
                    for (ptrdiff_t t = first; t < last; ++t) {
                        const ptrdiff_t i = 2 * share(pairs, tiles, t), end = 2 * share(pairs, tiles, t + 1);
                        const ptrdiff_t rows = end - i < FEW ? FEW : end - i, there = end < m ? end - i : m - i;
                        const REAL *const packed = block + (i - top) * depth;
                        REAL *const place = c + i * c_row + j * c_column;
                        if (there == rows && columns == vectors * LANES && c_column == 1)
                            OF_REAL(any_tile_)(rows, vectors, depth, alpha, packed, panel, beta, place, c_row);
                        else
                            OF_REAL(edge_)(rows, vectors, depth, alpha, packed, panel, beta, place, c_row, c_column,
                                           there, columns);
                    }
                }
            }
        }
    }
}
