/* SPDX-License-Identifier: MIT */
/* rows1 and rowsm from one loop. Before including: a static inline rows_m(w, row_bytes, n_rows, n_blocks, x, y, M) that is right for a
 * constant M of 1 to 4 and gives a pair the same bits whatever M is, and ROWS_OF(op), which spells the kernels' names.
 *
 * Four activation rows are what the registers hold; eight are two passes, the second over weights that the first left in L1. */

void ROWS_OF(rows1)(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *x, float *y) {
    rows_m(w, row_bytes, n_rows, n_blocks, &x, &y, 1);
}

void ROWS_OF(rowsm)(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *const *x, float *const *y, size_t m) {
    size_t most = row_bytes && row_bytes < 16 << 10 ? ((size_t)16 << 10) / row_bytes : 1;
    const uint8_t *at = w;
    for (size_t first = 0, n; first < n_rows; first += n, at += n * row_bytes) {
        n = KQ_MIN(n_rows - first, most);
        for (size_t j = 0, count; j < m; j += count) {
            float *out[4];
            count = KQ_MIN(m - j, 4);
            for (size_t i = 0; i < count; i++) out[i] = y[j + i] + first;
            if (count == 4) rows_m(at, row_bytes, n, n_blocks, x + j, out, 4);
            else if (count == 3) rows_m(at, row_bytes, n, n_blocks, x + j, out, 3);
            else if (count == 2) rows_m(at, row_bytes, n, n_blocks, x + j, out, 2);
            else rows_m(at, row_bytes, n, n_blocks, x + j, out, 1);
        }
    }
}
