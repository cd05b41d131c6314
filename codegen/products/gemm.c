/* c = beta c + alpha op(a) op(b), for REAL.

   The scheme is that of Goto and van de Geijn (Anatomy of high-performance matrix multiplication, ACM TOMS 34(3),
   2008) as BLIS has it (Van Zee and van de Geijn, ACM TOMS 41(3), 2015), with a and b exchanged, since these matrices
   lie by rows:

     for each piece of the sums, of at most DEPTH terms
       for each group of columns
         for each block of rows
           pack the block of a, which stays in the second-level cache: tile by tile, in the order of reading
           for each panel of b, at most two vectors wide
             pack the panel, unless a block before this one did: it stays in the first-level cache
             for each tile of the block
               c[tile, panel] += a[tile, piece] b[piece, panel], which stays in registers

   If all rows are one block, as in small batches, each panel is a group of its own, and done with at once. Where the
   rows of b lie as those of a panel, the first tile packs it while it computes: to read b from memory takes no time
   of its own.

   The two vectors of a panel of fewer than 2 LANES columns overlap: the second one begins at column `right`. */

/* sum += a b for `rows` rows and `vectors` vectors, so many terms: of a, which is packed, and of the panel, into which
   the rows of b are copied first if it is not packed yet. */
INLINE void OF_REAL(add_)(const int rows, const int vectors, const bool packed, ptrdiff_t terms, const REAL *a,
                          const REAL *b, ptrdiff_t b_row, ptrdiff_t right, REAL *panel, VECTOR (*restrict sum)[2])
{
    enum { AHEAD = DEEP / 4 }; /* so many rows of b are on their way */
    for (ptrdiff_t p = 0; p < terms; ++p, a += rows, b += b_row, panel += vectors * LANES) {
        const REAL *const one = packed ? panel : b, *const other = packed ? panel + (vectors - 1) * LANES : b + right;
        const VECTOR left = *(const VECTOR *)one, next = *(const VECTOR *)other;
        if (!packed) {
            __builtin_prefetch(one + AHEAD * b_row);
            __builtin_prefetch(other + AHEAD * b_row + LANES - 1);
            *(VECTOR *)panel = left;
            *(VECTOR *)(panel + LANES) = next;
        }
        UNROLL
        for (int i = 0; i < rows; ++i) {
            sum[i][0] += a[i] * left;
            if (vectors == 2)
                sum[i][1] += a[i] * next;
        }
    }
}

/* c = beta c + alpha a b for a tile of `rows` rows and `vectors` vectors, a and the panel of b `depth` terms deep. */
INLINE void OF_REAL(tile_)(const int rows, const int vectors, const bool packed, ptrdiff_t depth, REAL alpha,
                           const REAL *a, const REAL *b, ptrdiff_t b_row, REAL *panel, REAL beta, REAL *c,
                           ptrdiff_t c_row, ptrdiff_t right)
{
    enum { STEP = 4 };
    VECTOR sum[ROWS][2];
    UNROLL
    for (int i = 0; i < rows; ++i)
        sum[i][0] = sum[i][1] = (VECTOR){0};
    ptrdiff_t p = 0;
    for (ptrdiff_t i = 0; i < rows && p + STEP <= depth; ++i, p += STEP) { /* the rows of c on their way meanwhile */
        __builtin_prefetch(c + i * c_row, 1, 2);
        __builtin_prefetch(c + i * c_row + right + LANES - 1, 1, 2);
        OF_REAL(add_)(rows, vectors, packed, STEP, a + p * rows, b + p * b_row, b_row, right,
                      panel + p * vectors * LANES, sum);
    }
    OF_REAL(add_)(rows, vectors, packed, depth - p, a + p * rows, b + p * b_row, b_row, right,
                  panel + p * vectors * LANES, sum);
    UNROLL
    for (int i = 0; i < rows; ++i, c += c_row) {
        VECTOR *const place[2] = {(VECTOR *)c, (VECTOR *)(c + right)};
        VECTOR total[2]; /* of both before one is written: they may overlap */
        UNROLL
        for (int v = 0; v < vectors; ++v)
            total[v] = beta == 0 ? alpha * sum[i][v] : beta * *place[v] + alpha * sum[i][v];
        UNROLL
        for (int v = 0; v < vectors; ++v)
            *place[v] = total[v];
    }
}

/* A tile of an even number of rows from FEW to ROWS, and of one or two vectors. The panel is packed, or b is not null
   and the panel has two vectors. */
APART void OF_REAL(any_tile_)(ptrdiff_t rows, ptrdiff_t vectors, ptrdiff_t depth, REAL alpha, const REAL *a,
                              const REAL *b, ptrdiff_t b_row, REAL *panel, REAL beta, REAL *c, ptrdiff_t c_row,
                              ptrdiff_t right)
{
    switch (rows) {
#define TILE(count, vectors, packed)                                                                                   \
    OF_REAL(tile_)(count, vectors, packed, depth, alpha, a, b, b_row, panel, beta, c, c_row, right)
#define CASE(count)                                                                                                    \
    case count:                                                                                                        \
        if (count < FEW || count > ROWS)                                                                               \
            return;                                                                                                    \
        if (b)                                                                                                         \
            TILE(count, 2, false);                                                                                     \
        else if (vectors == 2)                                                                                         \
            TILE(count, 2, true);                                                                                      \
        else                                                                                                           \
            TILE(count, 1, true);                                                                                      \
        return;
        CASE(4) CASE(6) CASE(8) CASE(10) CASE(12) CASE(14)
#undef CASE
#undef TILE
    }
}

/* A tile of which only so many rows and columns are there, or whose rows lie across: computed beside c as a whole. */
APART void OF_REAL(edge_)(ptrdiff_t rows, ptrdiff_t vectors, ptrdiff_t depth, REAL alpha, const REAL *a, REAL *panel,
                          REAL beta, REAL *c, ptrdiff_t c_row, ptrdiff_t c_column, ptrdiff_t right,
                          ptrdiff_t rows_there, ptrdiff_t columns_there)
{
    REAL whole[ROWS][WIDTH] = {{0}};
    for (ptrdiff_t i = 0; i < rows_there && beta != 0; ++i)
        for (ptrdiff_t j = 0; j < columns_there; ++j)
            whole[i][j] = c[i * c_row + j * c_column];
    OF_REAL(any_tile_)(rows, vectors, depth, alpha, a, NULL, 0, panel, beta, whole[0], WIDTH, right);
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
        for (ptrdiff_t i = 0; i < vectors * LANES; ++i)
            to[p * width + i] = i < count ? from[i * across + p * along] : 0;
}

/* c = beta c + alpha a b for the tiles of a block and a panel, which is packed from b first if b is not null. */
INLINE void OF_REAL(meet_)(Tiling tiling, ptrdiff_t first, ptrdiff_t last, ptrdiff_t depth, REAL alpha,
                           const REAL *block, const REAL *b, ptrdiff_t b_row, ptrdiff_t b_column, ptrdiff_t columns,
                           REAL *panel, REAL beta, REAL *c, ptrdiff_t c_row, ptrdiff_t c_column)
{
    const ptrdiff_t vectors = columns > LANES ? 2 : 1, right = vectors == 2 ? columns - LANES : 0;
    const bool vectors_of_c = c_column == 1 && columns >= LANES;
    const bool by_tile = vectors_of_c && vectors == 2 && b_column == 1 && depth >= DEEP && is_whole(tiling, first);
    if (b && !by_tile) {
        OF_REAL(pack_)(b, b_column, b_row, right ? LANES : columns, depth, panel, vectors * LANES);
        if (right)
            OF_REAL(pack_)(b + right * b_column, b_column, b_row, LANES, depth, panel + LANES, WIDTH);
        b = NULL;
    }
    for (ptrdiff_t t = first; t < last; ++t, b = NULL) {
        const ptrdiff_t rows = rows_of(tiling, t), top = top_of(tiling, t);
        const REAL *const a = block + (top - top_of(tiling, first)) * depth;
        REAL *const place = c + top * c_row;
        if (vectors_of_c && is_whole(tiling, t))
            OF_REAL(any_tile_)(rows, vectors, depth, alpha, a, b, b ? b_row : 0, panel, beta, place, c_row, right);
        else
            OF_REAL(edge_)(rows, vectors, depth, alpha, a, panel, beta, place, c_row, c_column, right,
                           there(tiling, t), columns);
    }
}

static void OF_REAL(gemm_)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, REAL alpha, const REAL *a, ptrdiff_t a_row,
                           ptrdiff_t a_column, const REAL *b, ptrdiff_t b_row, ptrdiff_t b_column, REAL beta, REAL *c,
                           ptrdiff_t c_row, ptrdiff_t c_column)
{
    REAL *const block = block_of_thread.OF_REAL(as_), *const panels = panels_of_thread.OF_REAL(as_);
    const ptrdiff_t pieces = k > DEPTH ? (k + DEPTH - 1) / DEPTH : 1;
    const Tiling tiling = tiled(m);
    const ptrdiff_t blocks = (tiling.tiles + TILES - 1) / TILES, group = blocks == 1 ? WIDTH : GROUP;

    for (ptrdiff_t piece = 0; piece < pieces; ++piece, beta = 1) {
        const ptrdiff_t p = share(k, pieces, piece), depth = share(k, pieces, piece + 1) - p;
        for (ptrdiff_t from = 0; from < n; from += group) {
            const ptrdiff_t to = from + group < n ? from + group : n;
            for (ptrdiff_t q = 0; q < blocks; ++q) {
                const ptrdiff_t first = share(tiling.tiles, blocks, q), last = share(tiling.tiles, blocks, q + 1);
                for (ptrdiff_t t = first; t < last && (blocks > 1 || from == 0); ++t) {
                    const ptrdiff_t top = top_of(tiling, t);
                    OF_REAL(pack_)(a + top * a_row + p * a_column, a_row, a_column, there(tiling, t), depth,
                                   block + (top - top_of(tiling, first)) * depth, rows_of(tiling, t));
                }
                for (ptrdiff_t j = from; j < to; j += WIDTH)
                    OF_REAL(meet_)(tiling, first, last, depth, alpha, block,
                                   q == 0 ? b + p * b_row + j * b_column : NULL, b_row, b_column,
                                   to - j < WIDTH ? to - j : WIDTH, panels + (j - from) * depth, beta, c + j * c_column,
                                   c_row, c_column);
            }
        }
    }
}
