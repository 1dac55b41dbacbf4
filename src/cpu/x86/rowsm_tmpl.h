/* SPDX-License-Identifier: MIT */
/* rows1 and rowsm from one loop. Before including: a static inline rows_m(w, row_bytes, n_rows, n_blocks, x, y, M) that is right for a
 * constant M of 1 to 4 and gives a pair the same bits whatever M is, and ROWS_OF(op), which spells the kernels' names.
 *
 * Four activation rows are what the registers hold; eight are two passes, the second over weights that the first left in the cache. */

void ROWS_OF(rows1)(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *x, float *y) {
    rows_m(w, row_bytes, n_rows, n_blocks, &x, &y, 1);
}

void ROWS_OF(rowsm)(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *const *x, float *const *y, size_t m) {
    for (; m >= 4; m -= 4, x += 4, y += 4) rows_m(w, row_bytes, n_rows, n_blocks, x, y, 4);
    if (m == 3) rows_m(w, row_bytes, n_rows, n_blocks, x, y, 3);
    if (m == 2) rows_m(w, row_bytes, n_rows, n_blocks, x, y, 2);
    if (m == 1) rows_m(w, row_bytes, n_rows, n_blocks, x, y, 1);
}
