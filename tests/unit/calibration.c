/* SPDX-License-Identifier: MIT */
/* Calibration: what is collected of plain layers and of experts, results and merging, refusals, memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "meter.h"
#include "engine/engine.h"
#include "make_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <kquant/kquant.h>

enum { N = 24, VOCAB = 128 };
static bytes file;
static kq_model *model; /* llama-moe: 4 experts, 2 of them used */

static int setup(void **state) {
    (void)state;
    kq_gguf *g;
    kq_model_options o = KQ_OPTIONS_INIT(kq_model_options);
    o.no_tokenizer = true;
    spec *sp = spec_open("llama-moe");
    file = spec_file(sp, NULL);
    spec_close(sp);
    return kq_gguf_open_memory(&g, file.data, file.size, "test", NULL, NULL) || kq_model_open_file(&model, g, &o, NULL);
}

static int teardown(void **state) {
    (void)state;
    kq_model_close(model);
    bytes_free(&file);
    return 0;
}

static kq_calibration *open_sums(bool output) {
    kq_calibration *c;
    kq_calibration_options o = KQ_OPTIONS_INIT(kq_calibration_options);
    o.output = output;
    assert_int_equal(kq_calibration_open(&c, model, &o, NULL), KQ_OK);
    return c;
}

static kq_imatrix *result_of(const kq_calibration *c) {
    kq_imatrix *im;
    assert_int_equal(kq_imatrix_create(&im, NULL, NULL), KQ_OK);
    assert_int_equal(kq_calibration_result(c, im, NULL), KQ_OK);
    return im;
}

static void run_session(uint32_t n_batch, void (*observe)(void *ctx, const kq_observation *o), void *ctx) {
    kq_session *s;
    kq_session_options o = KQ_OPTIONS_INIT(kq_session_options);
    int32_t tokens[N];
    float logits[N][VOCAB];
    for (int i = 0; i < N; i++) tokens[i] = (i * 7919 + 13) % VOCAB;
    o.n_ctx = N;
    o.n_batch = n_batch;
    o.mode = KQ_EXACT;
    o.observe = observe;
    o.observe_ctx = ctx;
    assert_int_equal(kq_session_open(&s, model, &o, NULL), KQ_OK);
    assert_int_equal(kq_session_append(s, tokens, N, logits[0], N, NULL), KQ_OK);
    kq_session_close(s);
}

static void collect(kq_calibration *c, uint32_t n_batch) { run_session(n_batch, kq_calibration_observe, c); }

static void what_is_collected(void **state) {
    (void)state;
    size_t n_layer = (size_t)kq_model_describe(model).n_layer;
    for (int output = 0; output < 2; output++) {
        kq_calibration *c = open_sums(output);
        kq_calibration_entry e;
        size_t n = 0;
        collect(c, 5);
        for (; kq_calibration_entry_at(c, n, &e); n++) {
            bool experts = strstr(e.name, "_exps.") != NULL;
            uint64_t total = 0;
            assert_true(strncmp(e.name, "blk.", 4) == 0 || (output && !strcmp(e.name, "output.weight")));
            assert_int_equal(e.groups, experts ? 4 : 1);
            assert_int_equal(e.not_finite, 0);
            for (uint64_t g = 0; g < e.groups; g++) total += e.counts[g];
            assert_int_equal(total, experts ? 2 * N : N);
        }
        assert_int_equal(n, kq_calibration_n_entries(c));
        assert_int_equal(n, n_layer * 8 + (size_t)output); /* q k v o, the router, gate up down */
        kq_calibration_close(c);
    }
}

/* Sums by hand: batches of any size give the same, and each expert has its own. */
static void sums(void **state) {
    (void)state;
    kq_calibration *c = open_sums(false);
    const char *gate = "blk.0.ffn_gate_exps.weight", *down = "blk.0.ffn_down_exps.weight", *q = "blk.0.attn_q.weight";
    kq_imatrix *im = result_of(c);
    assert_int_equal(kq_imatrix_n_entries(im), 0); /* nothing was met, so nothing is there */
    kq_imatrix_close(im);
    kq_calibration_entry e;
    size_t k = 0, wide = 0, narrow = 0;
    while (kq_calibration_entry_at(c, k++, &e)) {
        if (!strcmp(e.name, gate)) wide = (size_t)e.columns;
        if (!strcmp(e.name, down)) narrow = (size_t)e.columns;
    }
    assert_true(wide && narrow);
    size_t most = wide > narrow ? wide : narrow;
    float *x = calloc(4 * most, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < 4 * most; i++) x[i] = (float)(i % 7) - 3;
    const int32_t experts[4] = {1, 3, 3, 0};
    kq_observation o = {.weight = gate, .x = x, .n_tokens = 2, .n_cols = wide, .n_x = 1, .n_experts = 4, .n_used = 2, .experts = experts};
    kq_calibration_observe(c, &o);
    o.weight = down;
    o.n_cols = narrow;
    o.n_x = 2;
    kq_calibration_observe(c, &o);
    x[1] = (float)NAN;
    kq_observation plain = {.weight = q, .x = x, .n_tokens = 3, .n_cols = wide, .n_x = 1};
    kq_calibration_observe(c, &plain);
    plain.weight = "token_embd.weight";
    kq_calibration_observe(c, &plain); /* passed over */
    x[1] = -2;
    im = result_of(c);
    assert_int_equal(kq_imatrix_n_entries(im), 3);
    static const size_t rows_of[4][2] = {{1, 9}, {0, 9}, {9, 9}, {0, 1}}; /* gate: the token's row; 9: none */
    static const size_t own_rows[4][2] = {{3, 9}, {0, 9}, {9, 9}, {1, 2}}; /* down: token times 2 plus place */
    for (int w = 0; w < 2; w++) {
        const kq_imatrix_entry *entry = kq_imatrix_find(im, w ? down : gate);
        const size_t(*rows)[2] = w ? own_rows : rows_of;
        assert_non_null(entry);
        for (size_t g = 0; g < 4; g++) {
            size_t n_rows = (size_t)(rows[g][0] != 9) + (rows[g][1] != 9);
            assert_true(entry->counts[g] == (float)n_rows);
            for (size_t i = 0; i < entry->columns; i++) {
                float sum = 0;
                for (size_t r = 0; r < n_rows; r++) sum += x[rows[g][r] * entry->columns + i] * x[rows[g][r] * entry->columns + i];
                assert_true(entry->sums[g * entry->columns + i] == sum);
            }
        }
    }
    const kq_imatrix_entry *entry = kq_imatrix_find(im, q);
    assert_true(entry && entry->counts[0] == 2 && isfinite(entry->sums[1])); /* the row with NaN is left out */
    for (k = 0; kq_calibration_entry_at(c, k, &e); k++) assert_int_equal(e.not_finite, strcmp(e.name, q) ? 0 : 1);
    kq_imatrix_close(im);
    kq_calibration_close(c);
    free(x);
}

/* What a session tells, kept for one weight: sums and rows of each expert. */
typedef struct kept {
    const char *weight;
    double sums[4][384];
    uint64_t counts[4];
} kept;

static void keep(void *ctx, const kq_observation *o) {
    kept *k = ctx;
    if (strcmp(o->weight, k->weight) != 0) return;
    for (size_t t = 0; t < o->n_tokens; t++) {
        for (size_t u = 0; u < (o->n_experts ? o->n_used : 1); u++) {
            const float *x = o->x + (t * o->n_x + (o->n_x > 1 ? u : 0)) * o->n_cols;
            size_t e = o->n_experts ? (size_t)o->experts[t * o->n_used + u] : 0;
            for (size_t i = 0; i < o->n_cols; i++) k->sums[e][i] += (double)x[i] * (double)x[i];
            k->counts[e]++;
        }
    }
}

/* Each expert has the rows that went to it, and no other; plain layers have all. */
static void what_a_session_tells(void **state) {
    (void)state;
    static kept k;
    kq_calibration *c = open_sums(false);
    kq_calibration_entry e;
    collect(c, 7);
    kq_imatrix *im = result_of(c);
    size_t unequal = 0;
    for (size_t n = 0; kq_calibration_entry_at(c, n, &e); n++) {
        const kq_imatrix_entry *entry = kq_imatrix_find(im, e.name);
        k = (kept){.weight = e.name};
        run_session(7, keep, &k);
        assert_non_null(entry);
        for (uint64_t g = 0; g < e.groups; g++) {
            assert_int_equal(e.counts[g], k.counts[g]);
            assert_true(entry->counts[g] == (float)k.counts[g]);
            unequal += k.counts[g] != e.counts[0];
            for (uint64_t i = 0; i < e.columns; i++) assert_true(entry->sums[g * e.columns + i] == (float)k.sums[g][i]);
        }
    }
    assert_true(unequal > 0); /* or counts would prove nothing */
    kq_imatrix_close(im);
    kq_calibration_close(c);
}

/* A router of zeros chooses the first two of four experts, always. The others are in the matrix with a count of zero, and importances that
 * are taken from it are ones for them. */
static void experts_that_nobody_chose(void **state) {
    (void)state;
    kq_gguf *g;
    kq_model_options mo = KQ_OPTIONS_INIT(kq_model_options);
    kq_model *usual = model;
    mo.no_tokenizer = true;
    spec *sp = spec_open("llama-moe");
    bytes b = spec_file(sp, &(spec_change){.tensor = "blk.0.ffn_gate_inp.weight", .n_dims = 2, .dims = {256, 4}, .type = KQ_F32, .n_bytes = 4096});
    spec_close(sp);
    assert_int_equal(kq_gguf_open_memory(&g, b.data, b.size, "test", NULL, NULL), KQ_OK);
    assert_int_equal(kq_model_open_file(&model, g, &mo, NULL), KQ_OK);
    kq_calibration *c = open_sums(false);
    kq_calibration_entry e;
    collect(c, 5);
    for (size_t n = 0; kq_calibration_entry_at(c, n, &e); n++) {
        if (strncmp(e.name, "blk.0.", 6) != 0 || e.groups != 4) continue;
        for (uint64_t i = 0; i < 4; i++) assert_int_equal(e.counts[i], i < 2 ? N : 0);
    }
    kq_imatrix *im = result_of(c);
    kq_imatrix_issue issue;
    float weights[4 * 384];
    bool found;
    size_t n_issues = 0;
    for (uint64_t at = 0; kq_imatrix_next_issue(im, &at, &issue); n_issues++) {
        assert_int_equal(issue.fault, KQ_IMATRIX_NEVER_HIT);
        assert_true(issue.group >= 2 && strncmp(issue.entry->name.data, "blk.0.ffn_", 10) == 0);
    }
    assert_int_equal(n_issues, 2 * 3);
    assert_int_equal(kq_imatrix_weights(im, "blk.0.ffn_down_exps.weight", 384, 4, weights, &found, NULL), KQ_OK);
    assert_true(found);
    for (size_t i = 2 * 384; i < 4 * 384; i++) assert_true(weights[i] == 1.0f);
    kq_imatrix_close(im);
    kq_calibration_close(c);
    kq_model_close(model);
    model = usual;
    bytes_free(&b);
}

static void merged(void **state) {
    (void)state;
    kq_calibration *once = open_sums(false), *twice = open_sums(false), *batches = open_sums(false);
    collect(once, N);
    collect(batches, 7);
    collect(twice, N);
    kq_imatrix *a = result_of(once);
    assert_int_equal(kq_calibration_merge(twice, a, NULL), KQ_OK);
    kq_imatrix *b = result_of(twice), *same = result_of(batches);
    for (size_t i = 0; i < kq_imatrix_n_entries(a); i++) {
        const kq_imatrix_entry *x = kq_imatrix_entry_at(a, i), *y = kq_imatrix_find(b, x->name.data), *z = kq_imatrix_find(same, x->name.data);
        assert_non_null(y);
        assert_non_null(z);
        assert_memory_equal(x->sums, z->sums, x->columns * x->groups * sizeof(float));
        for (uint64_t k = 0; k < x->columns * x->groups; k++) {
            assert_true(fabs((double)y->sums[k] - 2 * (double)x->sums[k]) <= 0x1p-22 * (double)x->sums[k]);
        }
        for (uint64_t k = 0; k < x->groups; k++) assert_true(y->counts[k] == 2 * x->counts[k]);
    }
    kq_imatrix_close(a);
    kq_imatrix_close(b);
    kq_imatrix_close(same);
    kq_calibration_close(once);
    kq_calibration_close(twice);
    kq_calibration_close(batches);
}

static void wrong_matrices(void **state) {
    (void)state;
    kq_calibration *c = open_sums(false);
    kq_calibration_entry e;
    kq_error err;
    assert_true(kq_calibration_entry_at(c, 0, &e));
    float *sums_of = calloc((size_t)e.columns + 1, sizeof *sums_of), count = 1;
    assert_non_null(sums_of);
    static const struct {
        const char *name;
        float sum, count;
        int more;
    } cases[] = {{"blk.99.attn_q.weight", 1, 1, 0}, {NULL, 1, 1, 1}, {NULL, -1, 1, 0}, {NULL, (float)NAN, 1, 0}, {NULL, 1, -1, 0}, {NULL, 1, (float)INFINITY, 0}};
    for (size_t i = 0; i < 6; i++) {
        kq_imatrix *im;
        assert_int_equal(kq_imatrix_create(&im, NULL, NULL), KQ_OK);
        sums_of[0] = cases[i].sum;
        count = cases[i].count;
        assert_int_equal(kq_imatrix_add(im, cases[i].name ? cases[i].name : e.name, e.columns + (uint64_t)cases[i].more, 1, sums_of, &count, NULL), KQ_OK);
        assert_int_equal(kq_calibration_merge(c, im, &err), KQ_E_MODEL);
        assert_non_null(strstr(err.text, cases[i].name ? cases[i].name : e.name));
        kq_imatrix_close(im);
    }
    free(sums_of);
    kq_calibration_close(c);
    assert_int_equal(kq_calibration_open(NULL, model, NULL, &err), KQ_E_ARGUMENT);
    assert_int_equal(kq_calibration_open(&c, NULL, NULL, &err), KQ_E_ARGUMENT);
    assert_null(c);
    kq_calibration_close(NULL);
}

static void allocations_fail(void **state) {
    (void)state;
    kq_status status = KQ_E_MEMORY;
    for (size_t n = 0; status; n++) {
        meter m = meter_of(n);
        kq_allocator a = meter_allocator(&m);
        kq_calibration_options o = KQ_OPTIONS_INIT(kq_calibration_options);
        kq_calibration *c;
        o.allocator = &a;
        status = kq_calibration_open(&c, model, &o, NULL);
        assert_true(status == KQ_OK || (status == KQ_E_MEMORY && !c));
        if (!status) {
            size_t before = m.calls;
            collect(c, N); /* needs none of its own */
            assert_int_equal(m.calls, before);
        }
        kq_calibration_close(c);
        assert_int_equal(m.live, 0);
        assert_true(n < 1000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_collected), cmocka_unit_test(sums), cmocka_unit_test(what_a_session_tells),
        cmocka_unit_test(experts_that_nobody_chose), cmocka_unit_test(merged), cmocka_unit_test(wrong_matrices),
        cmocka_unit_test(allocations_fail),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
