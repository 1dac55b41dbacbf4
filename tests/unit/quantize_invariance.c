/* SPDX-License-Identifier: MIT */
/* codec: what kq_quantize gives depends neither on the features it may use nor on the threads it is lent. Every codec, every set of features that
 * a row of encoders.def asks for, one to five threads, one row and several tiles with a ragged end, with importances of one group and of
 * several and without, on data of every kind in one matrix: the reference encoder's bytes, row by row, or its refusal, of the same row. */
#include "codec/codec.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- data --------------------------------------------------------------------------------------------------------- */

static uint32_t seed;
static uint32_t draw(void) { return (seed = seed * 1664525 + 1013904223) >> 8; } /* 24 bits */
static float uniform(void) { return (float)((int)draw() - (1 << 23)) * 0x1p-23f; }

/* Blocks of 256 change kind, so that neighbours in the lanes of an encoder differ. */
static void fill(float *x, size_t n) {
    float constant = 0;
    uint32_t kind = 0;
    for (size_t i = 0; i < n; i++) {
        float g = uniform() + uniform() + uniform();
        if (i % 256 == 0) kind = draw() % 16, constant = uniform();
        switch (kind) {
        case 0: x[i] = 0; break;
        case 1: x[i] = draw() % 2 ? -0.0f : 0; break;
        case 2: x[i] = ldexpf(g, -145); break; /* subnormal */
        case 3: x[i] = ldexpf(g, -126); break;
        case 4: x[i] = constant; break;
        case 5: x[i] = (float)((int)(draw() % 17) - 8) * 0.25f; break; /* ties */
        case 6: x[i] = i % 32 == 5 ? 100 * constant : g * 1e-3f; break;
        case 7: x[i] = i / 32 % 2 ? 0 : g; break;
        case 8: x[i] = ldexpf(g, (int)(i / 16 % 24) - 12); break;
        case 9: x[i] = ldexpf(g, -50); break; /* where groups count as zero */
        default: x[i] = g * 0.02f; break;
        }
    }
}

static void fill_importances(float *w, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float u = (float)(draw() + 1) * 0x1p-24f;
        w[i] = i / 256 % 3 == 0 ? u : i / 256 % 3 == 1 ? (draw() % 2 ? u : 0) : ldexpf(u, (int)(draw() % 66) - 33);
    }
}

/* ---- masks and threads ---------------------------------------------------------------------------------------------- */

enum { MOST_MASKS = 64 };
static uint32_t masks[MOST_MASKS];
static size_t n_masks;
static kq_pool *pools[4]; /* of 1 (none), 2, 3 and 5 threads */

/* Every subset of the features that encoders ask for and this machine has. A mask of 0 means all. */
static int open_all(void **state) {
    (void)state;
    uint32_t asked = 0;
    for (size_t i = 0; i < kq_n_encoders; i++) asked |= kq_encoders[i].needs;
    asked &= kq_cpu_features();
    for (uint32_t subset = asked;; subset = (subset - 1) & asked) {
        assert_true(n_masks < MOST_MASKS);
        masks[n_masks++] = subset | KQ_CPU_NONE;
        if (!subset) break;
    }
    static const int threads[KQ_COUNT(pools)] = {1, 2, 3, 5};
    for (size_t i = 1; i < KQ_COUNT(pools); i++) assert_int_equal(kq_pool_open(&pools[i], threads[i], NULL, NULL), KQ_OK);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    for (size_t i = 0; i < KQ_COUNT(pools); i++) kq_pool_close(pools[i]);
    return 0;
}

/* ---- comparison ----------------------------------------------------------------------------------------------------- */

typedef struct matrix {
    uint64_t rows, cols, group_rows; /* 0: all rows */
    const float *x, *importances;    /* may be NULL */
    uint64_t importance_floats;
} matrix;

/* The first row that the reference refuses, or rows. */
static uint64_t reference(const kq_codec_info *info, const matrix *m, uint64_t row_bytes, uint8_t *out) {
    bool any_float = info->block_weights == 1; /* f32, f16, bf16 take NaN and infinities as they come */
    for (uint64_t r = 0; r < m->rows; r++) {
        const float *x = m->x + r * m->cols, *w = m->importances ? m->importances + r / (m->group_rows ? m->group_rows : m->rows) * m->cols : NULL;
        for (uint64_t i = 0; i < m->cols; i++) {
            if (!any_float && !(fabsf(x[i]) < INFINITY)) return r;
        }
        if (!kq_codec_encoder(info->codec)(x, (size_t)m->cols, w, out + r * row_bytes)) return r;
    }
    return m->rows;
}

static void check(const kq_codec_info *info, const matrix *m, const char *what) {
    uint64_t row_bytes;
    assert_int_equal(kq_row_bytes(info->codec, m->cols, &row_bytes, NULL), KQ_OK);
    size_t size = (size_t)(m->rows * row_bytes);
    uint8_t *want = malloc(size), *got = malloc(size);
    kq_error first = {0};
    char named[32];
    uint64_t bad = reference(info, m, row_bytes, want);
    snprintf(named, sizeof named, "row %llu", (unsigned long long)bad);
    for (size_t i = 0; i < n_masks * KQ_COUNT(pools); i++) {
        size_t mask = i / KQ_COUNT(pools), pool = i % KQ_COUNT(pools);
        if (mask && mask + 1 < n_masks && pool % 2) continue; /* every number of threads with all features and with none */
        kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
        kq_error e = {0};
        o.importances = m->importances;
        o.importance_floats = m->importance_floats;
        o.group_rows = m->group_rows;
        o.pool = pools[pool];
        o.cpu_mask = masks[mask];
        memset(got, 0xa5, size);
        kq_status status = kq_quantize(info->codec, m->x, (size_t)(m->rows * m->cols), m->rows, m->cols, got, size, &o, &e);
        if (status != (bad == m->rows ? KQ_OK : KQ_E_ARGUMENT)) fail_msg("%s, %s, mask %x: %s", info->name, what, o.cpu_mask, e.text);
        if (status) {
            size_t n = strlen(named);
            if (strncmp(e.text, named, n) || (e.text[n] != ' ' && e.text[n] != ',')) fail_msg("%s, %s: '%s' names not %s", info->name, what, e.text, named);
            if (first.status && strcmp(e.text, first.text)) fail_msg("%s, %s: '%s', and '%s' with another mask or pool", info->name, what, e.text, first.text);
            first = e;
            continue;
        }
        for (size_t b = 0; b < size; b++) {
            if (got[b] == want[b]) continue;
            fail_msg("%s, %s, mask %x, %d threads: row %zu, byte %zu is %02x, not %02x", info->name, what, o.cpu_mask, kq_pool_threads(o.pool),
                     b / (size_t)row_bytes, b % (size_t)row_bytes, got[b], want[b]);
        }
    }
    free(want);
    free(got);
}

/* ---- tests ---------------------------------------------------------------------------------------------------------- */

/* Tiles are of 16384 weights: 21 rows of 768, or 8 of 2048. The counts leave a last tile of another size; groups end within tiles. */
enum { MOST = 45 * 768 };
_Static_assert(MOST >= 67 * 512 && MOST >= 9 * 2048, "room for every matrix");
static float x[MOST], w[3 * 2048];

static void bytes_depend_on_data_alone(void **state) {
    (void)state;
    static const struct { uint64_t rows, cols, groups; } shapes[] = {{1, 256, 0}, {1, 5 * 256, 1}, {45, 768, 0}, {45, 768, 3}, {9, 2048, 1}};
    for (uint32_t codec = 0; codec < KQ_CODEC_LIMIT; codec++) {
        const kq_codec_info *info = kq_codec_describe(codec);
        if (!info || !info->decodes) continue;
        bool slow = strncmp(info->name, "iq", 2) == 0; /* their searches are */
        for (size_t s = 0; s < KQ_COUNT(shapes); s++) {
            matrix m = {.rows = shapes[s].rows, .cols = shapes[s].cols, .x = x};
            if (slow && s == 2 + codec % 2) continue;
            if (shapes[s].groups) {
                m.importances = w;
                m.importance_floats = shapes[s].groups * m.cols;
                m.group_rows = m.rows / shapes[s].groups;
            }
            if (info->needs_importances && !m.importances) continue;
            seed = codec * 16 + (uint32_t)s;
            fill(x, (size_t)(m.rows * m.cols));
            fill_importances(w, KQ_COUNT(w));
            char what[64];
            snprintf(what, sizeof what, "%llu rows of %llu, %llu groups", (unsigned long long)m.rows, (unsigned long long)m.cols,
                     (unsigned long long)shapes[s].groups);
            check(info, &m, what);
        }
    }
}

/* What is not finite is refused, and of several such rows the first is named, whichever thread met one first. Floats take it. */
static void refusals_name_the_first_row(void **state) {
    (void)state;
    enum { ROWS = 67, COLS = 512 }; /* 32 rows a tile */
    static const struct { uint32_t row, col; float value; } plants[][2] = {
        {{66, 511, NAN}, {66, 511, NAN}},
        {{40, 17, INFINITY}, {33, 0, -INFINITY}},
        {{0, 300, -NAN}, {65, 1, INFINITY}},
        {{20, 255, 0x1.fffffep127f}, {64, 2, NAN}}, /* the largest float: some searches refuse it, some do not */
    };
    for (uint32_t codec = 0; codec < KQ_CODEC_LIMIT; codec++) {
        const kq_codec_info *info = kq_codec_describe(codec);
        if (!info || !info->decodes) continue;
        for (size_t p = 0; p < KQ_COUNT(plants); p++) {
            matrix m = {.rows = ROWS, .cols = COLS, .x = x};
            for (size_t i = 0; i < ROWS * COLS; i++) x[i] = i % 256 ? 0 : 1; /* searches end soon */
            for (size_t i = 0; i < COLS; i++) w[i] = 1;
            for (size_t i = 0; i < 2; i++) x[plants[p][i].row * COLS + plants[p][i].col] = plants[p][i].value;
            if (info->needs_importances || p % 2) m.importances = w, m.importance_floats = COLS;
            char what[32];
            snprintf(what, sizeof what, "plant %zu", p);
            check(info, &m, what);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_depend_on_data_alone),
        cmocka_unit_test(refusals_name_the_first_row),
    };
    return cmocka_run_group_tests_name("quantize_invariance", tests, open_all, close_all);
}
