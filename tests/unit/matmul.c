/* SPDX-License-Identifier: MIT */
/* The drivers of products: every codec, ragged sizes, pools, experts, and that no result depends on how the work was cut.
 * Kernels themselves are tests/check's business. */
#include "cpu/cpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t state = 88172645463325252u;
static uint32_t next_u32(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}
static float next_float(void) { return (float)((int32_t)next_u32()) * 0x1p-31f; }

static void *take(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 64) / 64 * 64);
    assert_non_null(p);
    return p;
}

/* Random blocks that decode to finite numbers of ordinary size: random bytes, and again where they do not. */
static void fill_weights(const kq_codec_info *c, uint8_t *w, size_t n_blocks) {
    float values[256];
    for (size_t b = 0; b < n_blocks; b++) {
        for (bool good = false; !good;) {
            uint8_t *block = w + b * c->block_bytes;
            for (size_t i = 0; i < c->block_bytes; i++) block[i] = (uint8_t)next_u32();
            kq_codec_decoder(c->codec)(block, 1, values);
            good = true;
            for (size_t i = 0; i < c->block_weights; i++) good &= values[i] > -1e6f && values[i] < 1e6f;
        }
    }
}

/* The exact mode's definition, from the words in docs/kernels.md. */
static float exact_dot(const float *w, const float *x, size_t n) {
    float lanes[16] = {0};
    for (size_t k = 0; k < n; k++) {
        float product = w[k] * x[k];
        lanes[k % 16] = lanes[k % 16] + product;
    }
    for (size_t half = 8; half; half /= 2)
        for (size_t i = 0; i < half; i++) lanes[i] = lanes[i] + lanes[i + half];
    return lanes[0];
}

/* From this many activation rows on, fast products may be tiles: the same bits for any other batch of so many, not for one alone. Codecs with a batch
 * kernel go on in it for a while. */
enum { TILES_FROM = 17, TILES_AFTER_BATCH = 25 };
static size_t tiles_from(const kq_cpu_table *table, uint32_t codec) { return table->batch[codec] ? TILES_AFTER_BATCH : TILES_FROM; }

/* The fast mode's tiles: rows [at, at + from) in a batch of their own, on one thread, have the bits of the whole; and against double they
 * are off by at most 0.3 % of what products of such rows are in the mean, |w| |x| / sqrt(columns). */
static void check_tiles(const kq_cpu_table *table, const kq_matmul_args *all, const float *decoded, void *scratch) {
    size_t from = tiles_from(table, all->codec), at = next_u32() % (all->m - from + 1);
    float *own = take(from * all->n_rows * 4);
    kq_matmul_args some = *all;
    some.x += at * all->ldx;
    some.m = from;
    some.y = own;
    some.ldy = all->n_rows;
    kq_matmul_run(table, NULL, &some, scratch);
    double error = 0, norm = 0;
    for (size_t j = 0; j < all->m; j++) {
        const float *x = all->x + j * all->ldx;
        double xx = 0;
        for (size_t k = 0; k < all->n_cols; k++) xx += (double)x[k] * (double)x[k];
        for (size_t r = 0; r < all->n_rows; r++) {
            float got = all->y[j * all->ldy + r];
            if (j >= at && j < at + from) assert_int_equal(kq_f32_to_bits(got), kq_f32_to_bits(own[(j - at) * all->n_rows + r]));
            const float *w = decoded + r * all->n_cols;
            double want = all->bias ? (double)all->bias[r] : 0, ww = 0;
            for (size_t k = 0; k < all->n_cols; k++) {
                want += (double)w[k] * (double)x[k];
                ww += (double)w[k] * (double)w[k];
            }
            error += ((double)got - want) * ((double)got - want);
            norm += ww * xx / (double)all->n_cols;
        }
    }
    assert_true(error <= 0.003 * 0.003 * norm);
    free(own);
}

static uint32_t masks[] = {0, KQ_CPU_AVX2, KQ_CPU_AVX2 | KQ_CPU_AVX512, KQ_CPU_ALL & ~(uint32_t)KQ_CPU_AMX, KQ_CPU_ALL};

/* y of every mode, m and pool for one codec and shape, against the definition (exact) or itself at m = 1 on one thread (fast). */
static void check_codec(const kq_codec_info *c, size_t n_rows, size_t n_cols, size_t m, kq_pool *pool) {
    size_t row_bytes = n_cols / c->block_weights * c->block_bytes, ldx = n_cols + 3, ldy = n_rows + 5;
    uint8_t *w = take(n_rows * row_bytes + 1);
    float *x = take(m * ldx * 4), *y = take(m * ldy * 4), *one = take(n_rows * 4), *decoded = take(n_rows * n_cols * 4), *bias = take(n_rows * 4);
    uint8_t *unaligned = w + 1;
    fill_weights(c, unaligned, n_rows * n_cols / c->block_weights);
    for (size_t r = 0; r < n_rows; r++) kq_codec_decoder(c->codec)(unaligned + r * row_bytes, n_cols / c->block_weights, decoded + r * n_cols);
    for (size_t i = 0; i < m * ldx; i++) x[i] = next_float();
    for (size_t i = 0; i < n_rows; i++) bias[i] = next_float();
    uint64_t bytes;
    assert_true(kq_matmul_scratch(m, n_cols, kq_pool_threads(pool), &bytes));
    void *scratch = take(bytes);
    for (size_t k = 0; k < KQ_COUNT(masks) * 2; k++) {
        bool exact = k % 2;
        kq_cpu_table table;
        kq_cpu_select(&table, kq_cpu_features() & masks[k / 2]);
        kq_matmul_args args = {c->codec, unaligned, n_rows, n_cols, row_bytes, x, m, ldx, bias, y, ldy, exact};
        for (size_t i = 0; i < m * ldy; i++) y[i] = -77;
        kq_matmul_run(&table, pool, &args, scratch);
        bool tiles = !exact && m >= tiles_from(&table, c->codec) && table.tile[KQ_F32];
        if (tiles) check_tiles(&table, &args, decoded, scratch);
        for (size_t j = 0; j < m && !tiles; j++) {
            kq_matmul_args single = {c->codec, unaligned, n_rows, n_cols, row_bytes, x + j * ldx, 1, ldx, NULL, one, n_rows, exact};
            kq_matmul_run(&table, NULL, &single, scratch);
            for (size_t r = 0; r < n_rows; r++) {
                float want = exact ? exact_dot(decoded + r * n_cols, x + j * ldx, n_cols) : one[r];
                assert_int_equal(kq_f32_to_bits(want), kq_f32_to_bits(one[r]));
                assert_int_equal(kq_f32_to_bits(want + bias[r]), kq_f32_to_bits(y[j * ldy + r]));
            }
        }
        for (size_t j = 0; j < m; j++)
            for (size_t r = n_rows; r < ldy; r++) assert_true(y[j * ldy + r] == -77);
    }
    free(w), free(x), free(y), free(one), free(decoded), free(bias), free(scratch);
}

static void every_codec(void **unused) {
    (void)unused;
    kq_pool *pool;
    assert_int_equal(kq_pool_open(&pool, 3, NULL, NULL), KQ_OK);
    for (uint32_t i = 0; i < KQ_CODEC_LIMIT; i++) {
        const kq_codec_info *c = kq_codec_describe(i);
        if (!c || !c->decodes) continue;
        check_codec(c, 1, c->block_weights, 1, NULL);
        check_codec(c, 37, 3 * c->block_weights, 2, pool);
        check_codec(c, 70, 5 * c->block_weights, 67, pool);
        check_codec(c, 101, 768, 17, pool);
        check_codec(c, 43, 1280, 24, pool);
        check_codec(c, 43, 768, 25, pool);
        check_codec(c, 9, 1024, 9, pool);
    }
    kq_pool_close(pool);
}

static void nothing_to_do(void **unused) {
    (void)unused;
    kq_cpu_table table;
    kq_cpu_select(&table, 0);
    float y[2] = {5, 5}, x[1] = {1}, bias[2] = {1, 2};
    kq_matmul_run(&table, NULL, &(kq_matmul_args){.codec = KQ_Q4_K, .y = y}, NULL);
    assert_true(y[0] == 5);
    kq_matmul_run(&table, NULL, &(kq_matmul_args){.codec = KQ_F32, .n_rows = 2, .w = x, .x = x, .y = y, .m = 1, .bias = bias, .exact = true}, NULL);
    assert_true(y[0] == 1 && y[1] == 2); /* an empty sum and the bias */
    uint64_t bytes;
    assert_false(kq_matmul_scratch(UINT64_MAX / 4, 4096, 1, &bytes));
    assert_false(kq_gather_scratch(UINT64_MAX, 1, 1, 1, 1, 1, &bytes));
}

/* Many activation rows: more than one batch of pieces. */
static void many_rows(void **unused) {
    (void)unused;
    kq_pool *pool;
    assert_int_equal(kq_pool_open(&pool, 2, NULL, NULL), KQ_OK);
    check_codec(kq_codec_describe(KQ_Q4_K), 21, 256, 1601, pool);
    check_codec(kq_codec_describe(KQ_F32), 5, 43, 1030, pool);
    kq_pool_close(pool);
}

/* Rows by expert are the rows of that expert's own product; a pair without an expert is NaN. */
static void experts(void **unused) {
    (void)unused;
    enum { EXPERTS = 5, ROWS = 19, COLS = 512, TOKENS = 41, USED = 3 };
    const kq_codec_info *c = kq_codec_describe(KQ_Q4_K);
    size_t row_bytes = COLS / c->block_weights * c->block_bytes;
    uint8_t *w = take(EXPERTS * ROWS * row_bytes);
    fill_weights(c, w, EXPERTS * ROWS * COLS / c->block_weights);
    float *x = take(TOKENS * USED * COLS * 4), *y = take(TOKENS * USED * ROWS * 4), *one = take(TILES_AFTER_BATCH * ROWS * 4);
    int32_t idx[TOKENS * USED];
    for (size_t i = 0; i < TOKENS * USED * COLS; i++) x[i] = next_float();
    for (size_t i = 0; i < KQ_COUNT(idx); i++) idx[i] = (int32_t)(next_u32() % (EXPERTS - 1)) + (i % 7 == 0); /* duplicates in a token too */
    idx[4] = -1;
    idx[5] = EXPERTS;
    kq_pool *pool;
    assert_int_equal(kq_pool_open(&pool, 2, NULL, NULL), KQ_OK);
    for (int k = 0; k < 8; k++) {
        bool exact = k & 1;
        size_t n_x = k & 2 ? 1 : USED;
        kq_cpu_table table;
        kq_cpu_select(&table, kq_cpu_features());
        uint64_t bytes;
        assert_true(kq_gather_scratch(EXPERTS, TOKENS, n_x, USED, COLS, 2, &bytes));
        void *scratch = take(bytes), *own;
        assert_true(kq_matmul_scratch(TILES_AFTER_BATCH, COLS, 1, &bytes));
        own = take(bytes);
        kq_gather_args args = {KQ_Q4_K, w, EXPERTS, ROWS, COLS, row_bytes, ROWS * row_bytes, x, TOKENS, n_x, USED, idx, y, exact};
        kq_gather_run(&table, k & 4 ? pool : NULL, &args, scratch);
        for (size_t p = 0; p < KQ_COUNT(idx); p++) {
            bool there = idx[p] >= 0 && idx[p] < EXPERTS;
            size_t count = 0;
            for (size_t q = 0; q < KQ_COUNT(idx); q++) count += idx[q] == idx[p];
            if (there) { /* a batch of the same row, in the regime of this expert's pairs */
                size_t from = tiles_from(&table, KQ_Q4_K), m = !exact && count >= from ? from : 1;
                const float *row = x + (n_x == 1 ? p / USED : p) * COLS;
                kq_matmul_args alike = {KQ_Q4_K, w + (size_t)idx[p] * ROWS * row_bytes, ROWS, COLS, row_bytes, row, m, 0, NULL, one, ROWS, exact};
                kq_matmul_run(&table, NULL, &alike, own);
            }
            for (size_t r = 0; r < ROWS; r++) {
                float got = y[p * ROWS + r];
                if (there) assert_int_equal(kq_f32_to_bits(got), kq_f32_to_bits(one[r]));
                else assert_true(got != got);
            }
        }
        free(scratch);
        free(own);
    }
    kq_pool_close(pool);
    free(w), free(x), free(y), free(one);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_codec), cmocka_unit_test(many_rows), cmocka_unit_test(nothing_to_do), cmocka_unit_test(experts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
