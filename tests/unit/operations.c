/* SPDX-License-Identifier: MIT */
/* The public operations: every codec, type, stride and batch against the definition, and every argument that must be refused.
 * In the exact mode results are compared bit for bit with the words of docs/kernels.md; in the fast mode within its documented error. */
#include "meter.h"

#include "base/base.h"
#include "codec/codec.h"

#include <kquant/ops.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "operands.h"

/* The definitions, from the words of docs/kernels.md and ops.h. */
static float exact_dot(const float *w, const kq_activations *x, uint64_t at, uint64_t n) {
    float lanes[16] = {0};
    for (uint64_t k = 0; k < n; k++) {
        float product = w[k] * get(x->type, x->data, at + k);
        lanes[k % 16] = lanes[k % 16] + product;
    }
    for (size_t half = 8; half; half /= 2)
        for (size_t i = 0; i < half; i++) lanes[i] = lanes[i] + lanes[i + half];
    return lanes[0];
}

/* Sums of the squares of errors and results, for the fast mode. */
typedef struct error_sum {
    double error, size;
} error_sum;

static void compare(const kq_results *y, uint64_t at, float want, bool exact, error_sum *sum) {
    float got = get(y->type, y->data, at);
    if (exact) {
        if (y->type != KQ_F32) want = from_half(y->type, to_half(y->type, want));
        if (kq_f32_to_bits(got) != kq_f32_to_bits(want)) fail_msg("result %llu is %a, not %a", (unsigned long long)at, (double)got, (double)want);
    }
    sum->error += ((double)got - (double)want) * ((double)got - (double)want);
    sum->size += (double)want * (double)want;
}
/* 0.7 % is the fast mode's own; bf16 results add half an ulp, 0.2 % at most. Another 30 % for the luck of few results. */
static void within(const error_sum *sum, const char *what) {
    if (sum->size > 0 && !(sqrt(sum->error / sum->size) < 0.0125)) fail_msg("%s: error %g", what, sqrt(sum->error / sum->size));
}

static void one_product(const devices *d, const packed *p, uint64_t batch, uint64_t m, uint32_t tx, uint32_t ty, uint64_t gap, const float *bias) {
    kq_activations x = make_x(tx, batch, m, p->w.cols, gap);
    kq_results y[4];
    kq_error e = {0};
    for (int i = 0; i < 4; i++) {
        y[i] = make_y(ty, batch, m, p->w.rows, gap);
        if (kq_matmul(d->device[i], &x, &p->w, bias, &y[i], &e)) fail_msg("%s", e.text);
        gaps_untouched(&y[i]);
    }
    error_sum exact = {0}, fast = {0};
    for (uint64_t b = 0; b < batch; b++)
        for (uint64_t j = 0; j < m; j++)
            for (uint64_t n = 0; n < p->w.rows; n++) {
                const float *w = p->values + ((p->w.matrices > 1 ? b : 0) * p->w.rows + n) * p->w.cols;
                float want = exact_dot(w, &x, x_at(&x, b, j, 0), p->w.cols);
                if (bias) want += bias[n];
                compare(&y[0], y_at(&y[0], b, j, n), want, true, &exact);
                compare(&y[1], y_at(&y[1], b, j, n), want, false, &fast);
            }
    within(&fast, kq_codec_describe(p->w.codec)->name);
    assert_memory_equal(y[0].data, y[2].data, y[0].bytes);
    assert_memory_equal(y[1].data, y[3].data, y[1].bytes);
    for (int i = 0; i < 4; i++) free(y[i].data);
    free((void *)(uintptr_t)x.data);
}

static void products_are_the_definition(void **state) {
    (void)state;
    devices d;
    open_devices(&d);
    float bias[300];
    for (size_t i = 0; i < KQ_COUNT(bias); i++) bias[i] = uniform();
    for (uint32_t c = 0; c < KQ_CODEC_LIMIT; c++) {
        const kq_codec_info *info = kq_codec_describe(c);
        if (!info || !info->decodes) continue;
        packed w = pack(c, 1, 13, info->block_weights, 3), wide = pack(c, 1, 37, 512, 0), heads = pack(c, 3, 5, 256, 1);
        one_product(&d, &w, 1, 1, KQ_F32, KQ_F32, 0, bias);
        one_product(&d, &wide, 1, 3, KQ_F32, KQ_F32, 2, NULL);
        one_product(&d, &wide, 2, 20, types[c % 3], types[c / 3 % 3], c % 2, bias);
        one_product(&d, &heads, 3, 2, types[(c + 1) % 3], types[c % 3], 5, bias);
        unpack(&w);
        unpack(&wide);
        unpack(&heads);
    }
    packed w = pack(KQ_Q4_K, 1, 300, 768, 0);
    for (size_t i = 0; i < KQ_COUNT(types); i++)
        for (size_t j = 0; j < KQ_COUNT(types); j++) one_product(&d, &w, 2, 35, types[i], types[j], i + j, bias);
    unpack(&w);
    close_devices(&d);
}

static void transposed_products_are_the_definition(void **state) {
    (void)state;
    devices d;
    open_devices(&d);
    for (uint32_t c = 0; c < KQ_CODEC_LIMIT; c++) {
        const kq_codec_info *info = kq_codec_describe(c);
        if (!info || !info->decodes) continue;
        uint64_t matrices = c % 2 ? 2 : 1, batch = 2, m = 1 + c % 5, gap = c % 3;
        packed p = pack(c, matrices, 41, c % 4 == 0 ? info->block_weights : 768, 2);
        kq_activations x = make_x(types[c % 3], batch, m, p.w.rows, gap);
        kq_results y[4];
        for (int i = 0; i < 4; i++) {
            y[i] = make_y(types[c / 2 % 3], batch, m, p.w.cols, gap);
            assert_int_equal(kq_matmul_t(d.device[i], &x, &p.w, &y[i], NULL), KQ_OK);
            gaps_untouched(&y[i]);
            assert_memory_equal(y[i].data, y[0].data, y[0].bytes);
        }
        error_sum sum = {0};
        for (uint64_t b = 0; b < batch; b++)
            for (uint64_t j = 0; j < m; j++)
                for (uint64_t k = 0; k < p.w.cols; k++) {
                    float want = 0;
                    for (uint64_t n = 0; n < p.w.rows; n++) {
                        float product = get(x.type, x.data, x_at(&x, b, j, n)) * p.values[((matrices > 1 ? b : 0) * p.w.rows + n) * p.w.cols + k];
                        want = want + product;
                    }
                    compare(&y[0], y_at(&y[0], b, j, k), want, true, &sum);
                }
        for (int i = 0; i < 4; i++) free(y[i].data);
        free((void *)(uintptr_t)x.data);
        unpack(&p);
    }
    close_devices(&d);
}

static void gathered(const devices *d, const packed *p, uint32_t type, uint64_t n_left, const int32_t *left, const int32_t *right, size_t n) {
    kq_activations x = make_x(type, 1, n_left, p->w.cols, 1);
    kq_results y[4];
    kq_error e = {0};
    error_sum exact = {0}, fast = {0};
    for (int i = 0; i < 4; i++) {
        y[i] = make_y(type, 1, n, p->w.rows, 3);
        if (kq_matmul_gather(d->device[i], &x, &p->w, left, right, n, &y[i], &e)) fail_msg("%s", e.text);
        gaps_untouched(&y[i]);
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t l = left ? (uint64_t)left[i] : i * n_left / n, r = right ? (uint64_t)right[i] : i;
        for (uint64_t row = 0; row < p->w.rows; row++) {
            float want = exact_dot(p->values + (r * p->w.rows + row) * p->w.cols, &x, x_at(&x, 0, l, 0), p->w.cols);
            compare(&y[0], y_at(&y[0], 0, i, row), want, true, &exact);
            compare(&y[1], y_at(&y[1], 0, i, row), want, false, &fast);
        }
    }
    within(&fast, "gather");
    assert_memory_equal(y[0].data, y[2].data, y[0].bytes);
    assert_memory_equal(y[1].data, y[3].data, y[1].bytes);
    for (int i = 0; i < 4; i++) free(y[i].data);
    free((void *)(uintptr_t)x.data);
}

static void experts_are_chosen_by_index(void **state) {
    (void)state;
    devices d;
    open_devices(&d);
    packed p = pack(KQ_Q5_K, 9, 11, 512, 4), q = pack(KQ_IQ4_NL, 4, 70, 32, 0);
    static const int32_t left[] = {0, 3, 3, 1, 3, 0, 2, 2, 0, 0}, right[] = {8, 0, 0, 3, 1, 8, 0, 7, 0, 8};
    gathered(&d, &p, KQ_F32, 4, left, right, 10);    /* any order, with repetitions */
    gathered(&d, &p, KQ_BF16, 5, NULL, right, 10);   /* two experts a token */
    gathered(&d, &p, KQ_F16, 1, NULL, right, 10);    /* one token, ten times */
    gathered(&d, &p, KQ_F32, 4, left, NULL, 9);      /* every expert once */
    gathered(&d, &p, KQ_F32, 4, NULL, right, 0);     /* nothing */
    int32_t many[400];
    for (size_t i = 0; i < 400; i++) many[i] = (int32_t)(next_random() % 4);
    gathered(&d, &q, KQ_F32, 200, NULL, many, 400);  /* many tokens an expert: the tiles */
    unpack(&p);
    unpack(&q);
    close_devices(&d);
}

static void rows_are_embedded(void **state) {
    (void)state;
    devices d;
    open_devices(&d);
    for (uint32_t c = 0; c < KQ_CODEC_LIMIT; c++) {
        const kq_codec_info *info = kq_codec_describe(c);
        if (!info || !info->decodes) continue;
        packed p = pack(c, 1, 9, 768, 2);
        static const int32_t ids[] = {8, 0, 3, 3, 8, 1};
        for (size_t t = 0; t < KQ_COUNT(types); t++) {
            kq_results y = make_y(types[t], 1, KQ_COUNT(ids), 768, t);
            assert_int_equal(kq_embed(d.device[t], &p.w, ids, KQ_COUNT(ids), &y, NULL), KQ_OK);
            gaps_untouched(&y);
            error_sum sum = {0};
            for (size_t i = 0; i < KQ_COUNT(ids); i++)
                for (uint64_t k = 0; k < 768; k++) compare(&y, y_at(&y, 0, i, k), p.values[(uint64_t)ids[i] * 768 + k], true, &sum);
            free(y.data);
        }
        unpack(&p);
    }
    close_devices(&d);
}

/* Results of 4 MB are stored past the caches. */
static void large_results_are_the_same(void **state) {
    (void)state;
    devices d;
    open_devices(&d);
    enum { ROWS = 16, COLS = 1024, N = (4 << 20) / sizeof(float) / COLS + 1 };
    packed p = pack(KQ_Q5_0, 1, ROWS, COLS, 0);
    float *y = take((size_t)N * COLS * sizeof *y);
    int32_t *ids = take(N * sizeof *ids);
    for (int i = 0; i < N; i++) ids[i] = (int32_t)(uniform() * 8 + 8) % ROWS;
    for (int t = 0; t < (int)KQ_COUNT(d.device); t++) {
        kq_results all = {.type = KQ_F32, .data = y, .bytes = (size_t)N * COLS * sizeof *y, .rows = N, .cols = COLS};
        memset(y, GUARD, (size_t)N * COLS * sizeof *y);
        assert_int_equal(kq_embed(d.device[t], &p.w, ids, N, &all, NULL), KQ_OK);
        for (int i = 0; i < N; i++) assert_memory_equal(y + (size_t)i * COLS, p.values + (size_t)ids[i] * COLS, COLS * sizeof *y);
    }
    uint8_t *many = take((size_t)N * p.w.row_bytes);
    for (int i = 0; i < N; i++) memcpy(many + (size_t)i * p.w.row_bytes, p.memory + 1 + (size_t)ids[i] * p.w.row_bytes, (size_t)p.w.row_bytes);
    memset(y, GUARD, (size_t)N * COLS * sizeof *y);
    assert_int_equal(kq_dequantize(KQ_Q5_0, many, (size_t)N * p.w.row_bytes, (uint64_t)N * COLS, y, (size_t)N * COLS, NULL), KQ_OK);
    for (int i = 0; i < N; i++) assert_memory_equal(y + (size_t)i * COLS, p.values + (size_t)ids[i] * COLS, COLS * sizeof *y);
    free(many);
    free(ids);
    free(y);
    unpack(&p);
    close_devices(&d);
}

/* What kq_matmul_describe says is what kq_matmul does: a row's result is the same wherever the type, and that it is tiles or not, are the
 * same, and another where another type is multiplied. */
static void products_are_as_described(void **state) {
    (void)state;
    enum { N = 40, K = 512, MOST = 70 }; /* more than a driver hands over at a time */
    static const uint32_t masks[] = {KQ_CPU_NONE, KQ_CPU_AVX2, KQ_CPU_AVX2 | KQ_CPU_AVX512, KQ_CPU_ALL & ~(uint32_t)KQ_CPU_AMX, 0,
        /* and what no machine has: tiers without those below them */
        KQ_CPU_AVX512ICL, KQ_CPU_AVX512BF16, KQ_CPU_AMX, KQ_CPU_ALL & ~(uint32_t)KQ_CPU_AVX512BF16, KQ_CPU_BF16MM};
    kq_activations x = make_x(KQ_F32, 1, MOST, K, 0);
    kq_results y = make_y(KQ_F32, 1, MOST, N, 0);
    for (size_t mode = 0; mode < 2 * KQ_COUNT(masks); mode++) {
        kq_device_options o = KQ_OPTIONS_INIT(kq_device_options);
        o.mode = mode % 2 ? KQ_EXACT : KQ_FAST;
        o.cpu_mask = masks[mode / 2];
        kq_device *d;
        assert_int_equal(kq_device_open(&d, &o, NULL), KQ_OK);
        static const uint32_t codecs[] = {KQ_F32, KQ_BF16, KQ_Q8_0, KQ_Q4_K, KQ_IQ2_XS, KQ_TQ1_0};
        for (size_t c = 0; c < KQ_COUNT(codecs); c++) {
            packed p = pack(codecs[c], 1, N, K, 0);
            struct { kq_product how; float first[N]; } seen[MOST];
            for (x.rows = y.rows = 1; x.rows <= MOST; x.rows++, y.rows++) {
                size_t at = x.rows - 1;
                assert_int_equal(kq_matmul_describe(d, codecs[c], x.rows, &seen[at].how, NULL), KQ_OK);
                kq_product how = seen[at].how;
                assert_true(how.type == KQ_F32 || how.type == KQ_BF16 || how.type == KQ_I8);
                assert_true(how.type != KQ_I8 || how.regime != KQ_REGIME_TILES);
                assert_true(how.type != KQ_BF16 || how.regime == KQ_REGIME_TILES);
                if (o.mode == KQ_EXACT) assert_true(how.regime == KQ_REGIME_ROWS && how.type == KQ_F32);
                assert_int_equal(kq_matmul(d, &x, &p.w, NULL, &y, NULL), KQ_OK);
                memcpy(seen[at].first, y.data, sizeof seen[at].first);
                for (size_t i = 0; i < at; i++) {
                    bool tiles = how.regime == KQ_REGIME_TILES, same = !memcmp(seen[at].first, seen[i].first, sizeof seen[i].first);
                    if (how.type != seen[i].how.type ? same : !same && tiles == (seen[i].how.regime == KQ_REGIME_TILES))
                        fail_msg("%s: %zu and %zu rows are not as described", kq_codec_describe(codecs[c])->name, i + 1, at + 1);
                }
            }
            unpack(&p);
        }
        kq_device_close(d);
    }
    free(y.data);
    free((void *)(uintptr_t)x.data);
    kq_product how = {KQ_REGIME_TILES, KQ_I8};
    kq_device *d;
    assert_int_equal(kq_device_open(&d, NULL, NULL), KQ_OK);
    assert_int_equal(kq_matmul_describe(d, KQ_I32, 1, &how, NULL), KQ_E_ARGUMENT);
    assert_int_equal(how.type, 0);
    assert_int_equal(kq_matmul_describe(d, KQ_CODEC_LIMIT, 1, &how, NULL), KQ_E_ARGUMENT);
    assert_int_equal(kq_matmul_describe(d, KQ_Q8_0, 1, NULL, NULL), KQ_E_ARGUMENT);
    assert_int_equal(kq_matmul_describe(NULL, KQ_Q8_0, 1, &how, NULL), KQ_E_ARGUMENT);
    assert_int_equal(kq_matmul_describe(d, KQ_Q8_0, 0, &how, NULL), KQ_OK);
    kq_device_close(d);
}

static void nothing_is_a_size(void **state) {
    (void)state;
    kq_device *d;
    assert_int_equal(kq_device_open(&d, NULL, NULL), KQ_OK);
    kq_weights none = {.codec = KQ_Q4_K, .rows = 3, .cols = 0}, no_rows = {.codec = KQ_Q4_K, .rows = 0, .cols = 256};
    kq_activations empty = {.type = KQ_F32, .rows = 2, .cols = 0}, no_x = {.type = KQ_BF16, .rows = 0, .cols = 256};
    float y[6] = {9, 9, 9, 9, 9, 9}, bias[3] = {1, 2, 3}, room[256];
    kq_results r = {.type = KQ_F32, .data = y, .bytes = sizeof y, .rows = 2, .cols = 3};
    assert_int_equal(kq_matmul(d, &empty, &none, bias, &r, NULL), KQ_OK); /* products over nothing */
    for (int i = 0; i < 6; i++) assert_true(y[i] == (float)(i % 3 + 1));
    assert_int_equal(kq_matmul(d, &empty, &none, NULL, &r, NULL), KQ_OK);
    for (int i = 0; i < 6; i++) assert_true(y[i] == 0);
    kq_results nobody = {.type = KQ_F32, .rows = 0, .cols = 0};
    assert_int_equal(kq_matmul(d, &no_x, &no_rows, NULL, &nobody, NULL), KQ_OK);
    kq_activations zero_wide = {.type = KQ_F32, .rows = 1, .cols = 0};
    kq_results wide = {.type = KQ_F32, .data = room, .bytes = sizeof room, .rows = 1, .cols = 256};
    room[7] = 5;
    assert_int_equal(kq_matmul_t(d, &zero_wide, &no_rows, &wide, NULL), KQ_OK);
    for (int i = 0; i < 256; i++) assert_true(room[i] == 0);
    int32_t left[2] = {0, 1}, right[2] = {0, 0};
    assert_int_equal(kq_matmul_gather(d, &empty, &none, left, right, 2, &r, NULL), KQ_OK);
    kq_results no_cols = {.type = KQ_F16, .rows = 2, .cols = 0};
    assert_int_equal(kq_embed(d, &none, right, 2, &no_cols, NULL), KQ_OK);
    assert_int_equal(kq_embed(d, &no_rows, NULL, 0, &(kq_results){.type = KQ_F32, .rows = 0, .cols = 256}, NULL), KQ_OK);
    /* so many of nothing that nobody should count them */
    kq_activations vast = {.type = KQ_F32, .rows = UINT64_MAX / 4, .cols = 0};
    kq_results vast_y = {.type = KQ_F32, .rows = UINT64_MAX / 4, .cols = 0};
    kq_weights nil = {.codec = KQ_Q4_K};
    assert_int_equal(kq_matmul(d, &vast, &nil, NULL, &vast_y, NULL), KQ_OK);
    kq_device_close(d);
    kq_device_close(NULL);
}

/* Each case spoils one thing of a call that works. */
static void what_cannot_be_is_refused(void **state) {
    (void)state;
    kq_device *d;
    assert_int_equal(kq_device_open(&d, NULL, NULL), KQ_OK);
    packed p = pack(KQ_Q6_K, 2, 4, 256, 0);
    const kq_activations x0 = make_x(KQ_F32, 2, 3, 256, 1), t0 = make_x(KQ_F32, 2, 3, 4, 1), g0 = make_x(KQ_F32, 1, 3, 256, 1);
    const kq_results y0 = make_y(KQ_F32, 2, 3, 4, 1), s0 = make_y(KQ_F32, 2, 3, 256, 1), r0 = make_y(KQ_F32, 1, 3, 4, 1);
    const kq_results e0 = make_y(KQ_F32, 1, 3, 256, 1);
    for (int spoil = 0; spoil <= 19; spoil++) {
        kq_weights w = p.w, one;
        kq_activations x = x0, t = t0, g = g0;
        kq_results y = y0, s = s0, r = r0, e = e0;
        switch (spoil) {
        case 1: w.codec = 5; break;
        case 2: w.codec = KQ_I32; break;
        case 3: w.cols = 255; break;
        case 4: w.bytes--; break;
        case 5: w.data = NULL; break;
        case 6: w.row_bytes = UINT64_MAX / 2; break;
        case 7: w.matrix_bytes = UINT64_MAX - 3; break;
        case 8: w.rows = UINT64_MAX / 4; break;
        case 9: x.type = t.type = g.type = KQ_Q8_0; y.type = s.type = r.type = e.type = 77; break;
        case 10: x.bytes -= 12; t.bytes -= 12; g.bytes -= 12; e.bytes -= 12; break;
        case 11: x.data = t.data = g.data = NULL; y.data = s.data = r.data = e.data = NULL; break;
        case 12: x.data = (const char *)x.data + 2; t.data = (const char *)t.data + 2; g.data = (const char *)g.data + 2; e.data = (char *)e.data + 2; break;
        case 13: y.row_stride = s.row_stride = r.row_stride = e.row_stride = 1; break;
        case 14: y.rows = s.rows = r.rows = e.rows = 2; break;
        case 15: y.cols = s.cols = r.cols = e.cols = 3; break;
        case 16: x.row_stride = t.row_stride = g.row_stride = UINT64_MAX; e.row_stride = UINT64_MAX; break;
        case 17: y.bytes -= 12; s.bytes -= 12; r.bytes -= 12; e.bytes -= 12; break;
        case 18: x.batch = t.batch = g.batch = 5; e.batch = 5; break;
        case 19: y.batch_stride = s.batch_stride = 2; r.batch = 2; e.batch = 2; break;
        default: break;
        }
        one = w;
        one.matrices = 1;
        one.bytes -= (size_t)p.w.matrix_bytes;
        static const int32_t left[] = {0, 2, 1}, right[] = {1, 0, 1};
        kq_status want = spoil ? KQ_E_ARGUMENT : KQ_OK;
        kq_error err[4] = {{0}};
        kq_status got[4] = {kq_matmul(d, &x, &w, NULL, &y, &err[0]), kq_matmul_t(d, &t, &w, &s, &err[1]),
                      kq_matmul_gather(d, &g, &w, left, right, 3, &r, &err[2]), kq_embed(d, &one, left, 3, &e, &err[3])};
        for (int i = 0; i < 4; i++) {
            if (i == 3 && spoil == 7) { /* it has one matrix only */
                memset(e.data, GUARD, e.bytes);
                continue;
            }
            if (got[i] != want) fail_msg("case %d, operation %d: %s %s", spoil, i, kq_status_name(got[i]), err[i].text);
            if (spoil) assert_true(err[i].text[0]);
        }
        const kq_results *written[] = {&y0, &s0, &r0, &e0};
        for (size_t i = 0; spoil && i < KQ_COUNT(written); i++) is_unwritten(written[i]);
        for (size_t i = 0; !spoil && i < KQ_COUNT(written); i++) memset(written[i]->data, GUARD, written[i]->bytes);
    }
    static const int32_t low[] = {0, -1, 1}, high[] = {0, 1, 4};
    kq_weights one = p.w;
    one.matrices = 1;
    kq_error e;
    assert_int_equal(kq_matmul_gather(d, &g0, &p.w, low, high, 3, &r0, &e), KQ_E_ARGUMENT);
    assert_string_equal(e.text, "left[1] is -1, not in [0, 3)");
    assert_int_equal(kq_matmul_gather(d, &g0, &p.w, NULL, high, 3, &r0, &e), KQ_E_ARGUMENT);
    assert_string_equal(e.text, "right[2] is 4, not in [0, 2)");
    assert_int_equal(kq_matmul_gather(d, &g0, &p.w, NULL, NULL, 3, &r0, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_embed(d, &one, high, 3, &e0, &e), KQ_E_ARGUMENT);
    assert_string_equal(e.text, "ids[2] is 4, not in [0, 4)");
    assert_int_equal(kq_embed(d, &one, NULL, 3, &e0, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_matmul(NULL, &x0, &p.w, NULL, &y0, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_matmul(d, NULL, &p.w, NULL, &y0, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_matmul(d, &x0, NULL, NULL, &y0, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_matmul(d, &x0, &p.w, NULL, NULL, NULL), KQ_E_ARGUMENT);
    kq_device_options o = KQ_OPTIONS_INIT(kq_device_options);
    o.mode = (kq_mode)7;
    kq_device *none = d;
    assert_int_equal(kq_device_open(&none, &o, &e), KQ_E_ARGUMENT);
    assert_null(none);
    const void *memory[] = {x0.data, t0.data, g0.data, y0.data, s0.data, r0.data, e0.data};
    for (size_t i = 0; i < KQ_COUNT(memory); i++) free((void *)(uintptr_t)memory[i]);
    unpack(&p);
    kq_device_close(d);
}

/* Memory that fails leaves the device usable; scratch is taken in the first round only. */
static void memory_is_taken_once(void **state) {
    (void)state;
    meter m = meter_of(0);
    kq_allocator a = meter_allocator(&m);
    kq_device_options o = KQ_OPTIONS_INIT(kq_device_options);
    o.allocator = &a;
    kq_device *d;
    assert_int_equal(kq_device_open(&d, &o, NULL), KQ_E_MEMORY);
    m.fail_at = m.calls + 2; /* one more is given */
    assert_int_equal(kq_device_open(&d, &o, NULL), KQ_OK);
    packed p = pack(KQ_Q4_K, 1, 8, 256, 0);
    kq_activations x = make_x(KQ_F16, 1, 3, 256, 0);
    kq_results y = make_y(KQ_F16, 1, 3, 8, 0);
    assert_int_equal(kq_matmul(d, &x, &p.w, NULL, &y, NULL), KQ_E_MEMORY);
    for (size_t i = 0; i < y.bytes; i++) assert_int_equal(((uint8_t *)y.data)[i], GUARD);
    m.fail_at = m.calls + 2; /* one more is given */
    for (int i = 0; i < 3; i++) assert_int_equal(kq_matmul(d, &x, &p.w, NULL, &y, NULL), KQ_OK);
    assert_int_equal(m.live, 2);
    assert_true(kq_device_scratch(d) > 0);
    free((void *)(uintptr_t)x.data);
    free(y.data);
    unpack(&p);
    kq_device_close(d);
    assert_int_equal(m.live, 0);
}

/* A NaN stays in its row. */
static void not_a_number_stays_in_its_row(void **state) {
    (void)state;
    for (int mode = 0; mode < 2; mode++) {
        kq_device_options o = KQ_OPTIONS_INIT(kq_device_options);
        o.mode = (kq_mode)mode;
        kq_device *d;
        assert_int_equal(kq_device_open(&d, &o, NULL), KQ_OK);
        for (uint32_t c = 0; c < KQ_CODEC_LIMIT; c++) {
            const kq_codec_info *info = kq_codec_describe(c);
            if (!info || !info->decodes) continue;
            static const uint64_t ms[] = {1, 5, 40};
            packed p = pack(c, 1, 6, 512, 0);
            for (size_t k = 0; k < KQ_COUNT(ms); k++) {
                kq_activations x = make_x(KQ_F32, 1, ms[k], 512, 0);
                kq_results y = make_y(KQ_F32, 1, ms[k], 6, 0);
                float bad = k % 2 ? NAN : INFINITY;
                uint64_t row = ms[k] / 2;
                memcpy((char *)(uintptr_t)x.data + (row * 512 + 300) * 4, &bad, 4);
                assert_int_equal(kq_matmul(d, &x, &p.w, NULL, &y, NULL), KQ_OK);
                for (uint64_t i = 0; i < ms[k] * 6; i++) {
                    float v = get(KQ_F32, y.data, i);
                    if (isfinite(v) == (i / 6 == row)) fail_msg("%s, M = %d: result %d is %g", info->name, (int)ms[k], (int)i, (double)v);
                }
                free(y.data);
                free((void *)(uintptr_t)x.data);
            }
            unpack(&p);
        }
        kq_device_close(d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_the_definition), cmocka_unit_test(transposed_products_are_the_definition),
        cmocka_unit_test(experts_are_chosen_by_index), cmocka_unit_test(rows_are_embedded), cmocka_unit_test(large_results_are_the_same),
        cmocka_unit_test(products_are_as_described), cmocka_unit_test(nothing_is_a_size),
        cmocka_unit_test(what_cannot_be_is_refused), cmocka_unit_test(memory_is_taken_once), cmocka_unit_test(not_a_number_stays_in_its_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
