/* SPDX-License-Identifier: MIT */
/* The error of the fast mode's products, per codec and regime: against float64 on the same weights and the activations as they are, relative to what
 * results are in the mean over random activations, |w| |x| / sqrt(columns). */
#include "check.h"

#include "cpu/cpu.h"

#include <math.h>
#include <stdlib.h>

enum { ROWS = 24, COLS = 2048, MANY = 32, BATCHES = 4 };

static void *take(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) exit(1);
    return p;
}

/* In per cent, of `MANY * BATCHES` activation rows that come m at a time. */
static double product_error(const kq_cpu_table *table, const kq_codec_info *c, const uint8_t *w, const float *values, floats_kind kind, size_t m,
                            void *scratch) {
    size_t row_bytes = COLS / c->block_weights * c->block_bytes;
    float *x = take(m * COLS * sizeof *x), *y = take(m * ROWS * sizeof *y);
    double error = 0, norm = 0;
    for (size_t at = 0; at < MANY * BATCHES; at += m) {
        for (size_t j = 0; j < m; j++) make_floats(kind, x + j * COLS, COLS);
        kq_matmul_args args = {.codec = (uint32_t)c->codec, .w = w, .n_rows = ROWS, .n_cols = COLS, .row_bytes = row_bytes, .x = x, .m = m, .ldx = COLS,
                               .y = y, .ldy = ROWS};
        kq_matmul_run(table, NULL, &args, scratch);
        for (size_t j = 0; j < m; j++) {
            for (size_t r = 0; r < ROWS; r++) {
                double want = 0, xx = 0, ww = 0;
                for (size_t i = 0; i < COLS; i++) {
                    double a = (double)values[r * COLS + i], b = (double)x[j * COLS + i];
                    want += a * b;
                    ww += a * a;
                    xx += b * b;
                }
                error += ((double)y[j * ROWS + r] - want) * ((double)y[j * ROWS + r] - want);
                norm += ww * xx / COLS;
            }
        }
    }
    free(x);
    free(y);
    return 100 * sqrt(error / norm);
}

bool print_errors(uint32_t features) {
    static const double limits[4] = {0.7, 1.5, 0.3, 0.3}; /* what the fast mode promises */
    kq_cpu_table table;
    uint64_t bytes;
    bool good = true;
    kq_cpu_select(&table, features);
    if (!kq_matmul_scratch(MANY, COLS, 1, &bytes)) return false;
    void *scratch = take(bytes);
    printf("| codec | M = 1, Gaussian | with outliers | M = 32, Gaussian | with outliers |\n|---|---|---|---|---|\n");
    for (uint32_t codec = 0; codec < KQ_CODEC_LIMIT; codec++) {
        const kq_codec_info *c = kq_codec_describe(codec);
        if (!c || !c->decodes) continue;
        random_start(1, c->name);
        uint8_t *w = take(ROWS * COLS / c->block_weights * c->block_bytes);
        float *values = take((size_t)ROWS * COLS * sizeof *values);
        make_weights(c, WEIGHTS_EVEN, w, ROWS * COLS / c->block_weights);
        kq_codec_decoder(codec)(w, ROWS * COLS / c->block_weights, values);
        printf("| %s |", c->name);
        for (size_t k = 0; k < 4; k++) {
            double error = product_error(&table, c, w, values, k % 2 ? FLOATS_OUTLIERS : FLOATS_GAUSSIAN, k < 2 ? 1 : MANY, scratch);
            printf(" %.3f %%%s |", error, error <= limits[k] ? "" : " TOO MUCH");
            good &= error <= limits[k];
        }
        printf("\n");
        free(w);
        free(values);
    }
    free(scratch);
    return good;
}
