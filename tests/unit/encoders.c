/* SPDX-License-Identifier: MIT */
/* codec: every row of encoders.def against the reference encoder, block by block, on data of many kinds mixed in one batch. */
#include "codec/codec.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- data --------------------------------------------------------------------------------------------------------- */

static uint64_t state;

static uint32_t draw(void) { /* splitmix64, upper half */
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) >> 32);
}

static float uniform(void) { return (float)((int32_t)draw() >> 7) * 0x1p-24f; } /* -1 .. 1 */
static float gaussian(void) { return uniform() + uniform() + uniform() + uniform(); }
static float magnitude(int low, int high) { return ldexpf(gaussian(), low + (int)(draw() % (uint32_t)(high - low + 1))); }

/* n weights of one kind. What a search multiplies by itself may overflow (kinds of 2^60 and more) or vanish. */
enum { KINDS = 25 };
static void fill(int kind, float *x, size_t n) {
    float constant = magnitude(-6, 2), group = 1;
    int shift = (int)(draw() % 250) - 140;
    size_t outlier = draw() % n;
    static const float tops[] = {1, 6, 12, 8, 16, 127, -127, -8};
    float top = tops[draw() % 8], beside = ldexpf(1, (int)(draw() % 4) - 2);
    for (size_t i = 0; i < n; i++) {
        float g = gaussian();
        if (i % 16 == 0) group = ldexpf(1, (int)(draw() % 28) - 14);
        switch (kind) {
        case 0: x[i] = g * 0.02f; break;
        case 1: x[i] = kq_bf16_to_f32(kq_f32_to_bf16(g * 0.02f)); break;
        case 2: x[i] = 0; break;
        case 3: x[i] = draw() % 2 ? -0.0f : 0; break;
        case 4: x[i] = ldexpf(g, -145); break;
        case 5: x[i] = ldexpf(g, -126); break;
        case 6: x[i] = ldexpf(g, 125); break;
        case 7: x[i] = ldexpf(g, 62); break;
        case 8: x[i] = ldexpf(g, -50); break; /* about 1e-15 */
        case 9: x[i] = constant; break;
        case 10: x[i] = i == outlier ? 1000 * constant : g * 1e-3f; break;
        case 11: x[i] = i == outlier ? constant : 0; break;
        case 12: x[i] = g * group; break;
        case 13: x[i] = magnitude(-20, 20); break;
        case 14: x[i] = (float)((int)(draw() % 17) - 8) * 0.25f; break; /* ties */
        case 15: x[i] = fabsf(g) + 1e-6f; break;
        case 16: x[i] = -fabsf(g) - 1e-6f; break;
        case 17: x[i] = draw() % 4 ? 0 : g; break;
        case 18: x[i] = draw() % 2 ? constant : -constant; break;
        case 19: x[i] = constant * (1 + (float)(draw() % 5) * 0x1p-23f); break; /* hardly a range */
        case 20: x[i] = ldexpf(g, shift); break;
        case 21: x[i] = draw() % 16 ? -fabsf(g) : 1e-3f; break;
        case 22: x[i] = i / 32 % 2 ? 0 : g; break;
        case 23: /* where roundings turn: halves, and the floats beside them */
            x[i] = (float)((int)(draw() % 33) - 16) * 0.5f;
            x[i] = i % 32 == 0 ? top : draw() % 3 ? x[i] : nextafterf(x[i], draw() % 2 ? -INFINITY : INFINITY);
            if (draw() % 8 == 0 && i % 32) x[i] = fminf(fabsf(top), 127) * (float)(draw() % 3) * 0.25f;
            if (beside < 1) x[i] *= beside;
            break;
        default: x[i] = ldexpf(g, 30 + (int)(draw() % 90)); break;
        }
        if (!(fabsf(x[i]) < INFINITY)) x[i] = 0x1.fffffep127f;
    }
}

enum { WEIGHTS = 7 };
static void fill_importances(int kind, float *w, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float u = fabsf(uniform());
        switch (kind) {
        case 0: w[i] = 1; break;
        case 1: w[i] = u; break;
        case 2: w[i] = ldexpf(u, (int)(draw() % 66) - 33); break;
        case 3: w[i] = draw() % 2 ? u : 0; break;
        case 4: w[i] = 0; break;
        case 5: w[i] = i / 32 % 2 ? 0 : u; break;
        default: w[i] = ldexpf(u, (int)(draw() % 200) - 120); break;
        }
    }
}

/* ---- comparison ----------------------------------------------------------------------------------------------------- */

static bool usable(const kq_encoder *e) { return (kq_cpu_features() & e->needs) == e->needs; }

/* Rows one by one through the reference, which may fail, and through every encoder of the codec that can run: then so do they. */
static void compare(uint32_t codec, const float *x, size_t rows, size_t cols, const float *importances, const char *what) {
    const kq_codec_info *info = kq_codec_describe(codec);
    size_t row_bytes = cols / info->block_weights * info->block_bytes, size = rows * row_bytes;
    uint8_t *want = malloc(size), *got = malloc(size + 2);
    bool fine = true;
    memset(want, 0x5a, size);
    for (size_t r = 0; r < rows && fine; r++) fine = kq_codec_encoder(codec)(x + r * cols, cols, importances, want + r * row_bytes);
    for (const kq_encoder *e = kq_encoders; e < kq_encoders + kq_n_encoders; e++) {
        if (e->codec != codec || !usable(e)) continue;
        memset(got, 0xa5, size + 2);
        if (e->encode(x, rows, cols, importances, got + 1) != fine) fail_msg("%s %s: %s", info->name, e->variant, what);
        for (size_t i = 0; i < size && fine; i++) {
            if (got[1 + i] == want[i]) continue;
            fail_msg("%s %s%s: %s, %zu rows of %zu: row %zu, block %zu, byte %zu is %02x, not %02x", info->name, e->variant,
                     importances ? " with importances" : "", what, rows, cols, i / row_bytes, i % row_bytes / info->block_bytes,
                     i % info->block_bytes, got[1 + i], want[i]);
        }
        assert_int_equal(got[0], 0xa5);
        assert_int_equal(got[1 + size], 0xa5);
    }
    free(want);
    free(got);
}

/* The grid codecs' references are slow. */
static bool is_slow(uint32_t codec) { return strncmp(kq_codec_describe(codec)->name, "iq", 2) == 0; }

/* Matrices of one kind of data, and matrices in which each block has a kind of its own. */
static void encoders_meet_the_reference(void **unused) {
    (void)unused;
    static const struct { size_t rows, blocks; } shapes[] = {{1, 1}, {5, 3}, {1, 16}, {3, 7}};
    assert_true(kq_n_encoders > 0);
    for (uint32_t codec = 0; codec < KQ_CODEC_LIMIT; codec++) {
        const kq_codec_info *info = kq_codec_describe(codec);
        if (!kq_encoder_select(codec, KQ_CPU_ALL)) continue;
        state = 1;
        for (int kind = 0; kind < KINDS + 4; kind++) {
            for (size_t s = 0; s < KQ_COUNT(shapes); s++) {
                size_t rows = shapes[s].rows, cols = shapes[s].blocks * info->block_weights;
                float *x = malloc(rows * cols * sizeof *x), *w = malloc(cols * sizeof *w);
                for (size_t at = 0; at < rows * cols; at += info->block_weights) {
                    fill(kind < KINDS ? kind : (int)(draw() % KINDS), x + at, info->block_weights);
                }
                char what[64];
                snprintf(what, sizeof what, "kind %d", kind);
                if (!info->needs_importances) compare(codec, x, rows, cols, NULL, what);
                for (int weights = 0; weights < WEIGHTS; weights++) {
                    fill_importances(weights, w, cols);
                    snprintf(what, sizeof what, "kind %d, importances %d", kind, weights);
                    if (!is_slow(codec) || (weights + kind + (int)s) % 4 == 0) compare(codec, x, rows, cols, w, what);
                }
                free(x);
                free(w);
            }
        }
    }
}

/* What is like weights, in numbers: rare roundings need many blocks. */
static void encoders_meet_the_reference_often(void **unused) {
    (void)unused;
    enum { ROWS = 12, COLS = 1024 };
    static float x[ROWS * COLS], w[COLS];
    for (uint32_t codec = 0; codec < KQ_CODEC_LIMIT; codec++) {
        const kq_codec_info *info = kq_codec_describe(codec);
        if (!kq_encoder_select(codec, KQ_CPU_ALL)) continue;
        state = 2;
        for (int kind = 0; kind < 2; kind++) {
            fill(kind, x, ROWS * COLS);
            fill_importances(1 + kind, w, COLS);
            if (!info->needs_importances) compare(codec, x, ROWS, COLS, NULL, "weights");
            compare(codec, x, ROWS, COLS, w, "weights");
        }
    }
}

/* Rows are in order, so that the last that qualifies is the best; a codec has at most one row of a variant. */
static void the_last_row_wins(void **unused) {
    (void)unused;
    for (size_t i = 0; i < kq_n_encoders; i++) {
        const kq_encoder *e = &kq_encoders[i];
        assert_ptr_equal(kq_encoder_select(e->codec, e->needs), e);
        const kq_encoder *none = kq_encoder_select(e->codec, 0);
        assert_true(!none || none->needs == 0);
    }
    assert_null(kq_encoder_select(KQ_F32, KQ_CPU_ALL));
    assert_null(kq_encoder_select(KQ_CODEC_LIMIT, KQ_CPU_ALL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoders_meet_the_reference),
        cmocka_unit_test(encoders_meet_the_reference_often),
        cmocka_unit_test(the_last_row_wins),
    };
    return cmocka_run_group_tests_name("encoders", tests, NULL, NULL);
}
