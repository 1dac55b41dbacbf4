/* SPDX-License-Identifier: MIT */
/* kq_quantize and kq_dequantize: a row of floats in Q4_K, what it takes, and what the rounding cost. */
#include <kquant/kquant.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    enum { ROWS = 4, COLS = 512 };
    static float weights[ROWS * COLS], back[ROWS * COLS];
    for (int i = 0; i < ROWS * COLS; i++) weights[i] = sinf((float)i) * 0.1f;

    kq_error err;
    uint64_t row_bytes;
    void *packed = NULL;
    if (kq_row_bytes(KQ_Q4_K, COLS, &row_bytes, &err)) goto failed;
    size_t bytes = (size_t)row_bytes * ROWS;
    if (!(packed = malloc(bytes))) return 1;
    if (kq_quantize(KQ_Q4_K, weights, ROWS * COLS, ROWS, COLS, packed, bytes, NULL, &err)) goto failed;
    if (kq_dequantize(KQ_Q4_K, packed, bytes, ROWS * COLS, back, ROWS * COLS, &err)) goto failed;
    free(packed);

    double error = 0, size = 0;
    for (int i = 0; i < ROWS * COLS; i++) {
        error += pow((double)(weights[i] - back[i]), 2);
        size += pow((double)weights[i], 2);
    }
    printf("%zu floats in %zu bytes, %.1f %% off\n", sizeof weights / sizeof *weights, bytes, 100 * sqrt(error / size));
    return 0;
failed:
    fprintf(stderr, "%s\n", err.text);
    free(packed);
    return 1;
}
