/* SPDX-License-Identifier: MIT */
/* Divergence of quantised files of models/tale from the unquantised one, against what llama.cpp measured of the files that it made (60 chunks of
 * 512 tokens of tales-heldout.txt). The files are equal, so only the arithmetic differs: llama.cpp rounds activations to 8 bits before each
 * product, in blocks of 256 for the codecs whose blocks are as long and of 32 for the others; here they stay as they are, or lose
 * what bfloat16 loses. So with activations rounded likewise (through a session's observe, which sees them before each product) the figures must
 * agree, and without they must never be worse.
 *     test_long_perplexity [all]     the whole table, as docs/recipes.md has it: 20 minutes on two processors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/base.h"
#include "folder.h"
#include "golden.h"

#include <math.h>
#include <unistd.h>

#include <kquant/kquant.h>

enum { CHUNK = 512, CHUNKS = 60, FEW = 4, MOST = 32 };

typedef struct row {
    const char *type;
    bool weighted;       /* with tale.imatrix.gguf */
    uint64_t bytes;      /* 0: of another length, as the matrix's name is in the file */
    double kld, same;    /* llama.cpp's; same: per cent, 0 where it was not noted */
    bool quick;          /* part of the test */
    kq_model *model;
} row;
static row rows[] = {
    {"Q8_0", false, 9210944, 0.000628, 98.0, true, NULL},     {"Q6_K", false, 7179328, 0.003848, 95.2, false, NULL},
    {"Q5_K_M", false, 6465600, 0.007841, 93.5, false, NULL},  {"Q4_K_M", false, 5793856, 0.022927, 89.4, true, NULL},
    {"Q4_K_S", false, 5598272, 0.025995, 88.6, false, NULL},  {"Q4_0", false, 5557312, 0.043169, 85.1, false, NULL},
    {"IQ4_NL", false, 5581888, 0.030603, 87.6, false, NULL},  {"IQ4_XS", false, 5391424, 0.031509, 87.5, false, NULL},
    {"Q3_K_M", false, 5043264, 0.077372, 81.2, false, NULL},  {"Q2_K", false, 4322368, 0.313273, 64.5, false, NULL},
    {"Q4_K_M", true, 0, 0.023030, 0, false, NULL},            {"IQ4_XS", true, 0, 0.033696, 0, false, NULL},
    {"Q3_K_M", true, 0, 0.071707, 0, false, NULL},            {"Q2_K", true, 0, 0.262636, 0, false, NULL},
    {"IQ3_S", true, 0, 0.098014, 0, false, NULL},             {"IQ3_XXS", true, 0, 0.184516, 0, true, NULL},
    {"IQ2_S", true, 0, 0.370196, 0, false, NULL},             {"IQ2_XS", true, 0, 0.503574, 0, false, NULL},
    {"IQ2_XXS", true, 0, 0.632270, 0, false, NULL},           {"IQ1_M", true, 0, 0.974037, 0, false, NULL},
    {"IQ1_S", true, 0, 1.094000, 0, false, NULL},
};

static kq_error err;
#define FINE(call) do { if (call) fail_msg("%s", err.text); } while (0)

static struct {
    kq_gguf *source;
    kq_imatrix *imatrix;
    kq_pool *pool;
    kq_model *reference;
    int32_t *ids;
    char folder[64];
} data;

/* ---- making them --------------------------------------------------------------------------------------------------- */

static void make(row *r) {
    char path[128];
    kq_quant_plan *p;
    kq_quant_plan_options o = KQ_OPTIONS_INIT(kq_quant_plan_options);
    kq_quantize_model_options q = KQ_OPTIONS_INIT(kq_quantize_model_options);
    o.type = r->type;
    o.imatrix = r->weighted ? data.imatrix : NULL;
    q.pool = data.pool;
    q.no_error = true;
    FINE(kq_quant_plan_open(&p, data.source, &o, &err));
    if (r->bytes) assert_int_equal(kq_quant_plan_file_bytes(p), r->bytes);
    snprintf(path, sizeof path, "%s/model.gguf", data.folder);
    FINE(kq_quantize_model(p, path, &q, &err));
    kq_quant_plan_close(p);
    FINE(kq_model_open(&r->model, path, NULL, &err));
    assert_int_equal(unlink(path), 0); /* it stays mapped */
}

static int set_up(void **state) {
    (void)state;
    char path[3][1024];
    static const char *const names[] = {"models/tale-gguf/tale-bf16.gguf", "golden/quantize/tale.imatrix.gguf", "text/tales-heldout.txt"};
    for (int i = 0; i < 3; i++) {
        if (!golden_shared_path(path[i], sizeof path[i], "%s", names[i])) return 0;
    }
    assert_int_equal(folder_make(data.folder, "perplexity"), 0);
    FINE(kq_pool_open(&data.pool, 0, NULL, &err));
    FINE(kq_gguf_open(&data.source, path[0], NULL, &err));
    FINE(kq_imatrix_open(&data.imatrix, path[1], NULL, &err));
    FINE(kq_model_open(&data.reference, path[0], NULL, &err));
    size_t size = 0, n;
    char *text = (char *)golden_read_file(path[2], &size);
    data.ids = malloc(size * sizeof *data.ids);
    assert_true(text && data.ids);
    FINE(kq_tokenizer_encode(kq_model_tokenizer(data.reference), text, size, KQ_ENCODE_ADD_SPECIAL, data.ids, size, &n, &err));
    assert_true(n >= CHUNKS * CHUNK);
    free(text);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    for (size_t i = 0; i < KQ_COUNT(rows); i++) kq_model_close(rows[i].model);
    kq_model_close(data.reference);
    kq_imatrix_close(data.imatrix);
    kq_gguf_close(data.source);
    kq_pool_close(data.pool);
    free(data.ids);
    if (*data.folder) rmdir(data.folder);
    return 0;
}

/* ---- llama.cpp's activations --------------------------------------------------------------------------------------- */

/* One scale for 32 numbers, kept as f16. */
static void round_32(float *x) {
    float most = 0;
    for (int k = 0; k < 32; k++) most = fmaxf(most, fabsf(x[k]));
    float scale = most / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f, kept = kq_f16_to_f32(kq_f32_to_f16(scale));
    for (int k = 0; k < 32; k++) x[k] = kept * roundf(x[k] * inverse);
}

/* One for 256; the number farthest from 0 becomes -127. */
static void round_256(float *x) {
    float most = 0;
    for (int k = 0; k < 256; k++) most = fabsf(x[k]) > fabsf(most) ? x[k] : most;
    if (most == 0.0f) return;
    float inverse = -127.0f / most;
    for (int k = 0; k < 256; k++) x[k] = fminf(127.0f, rintf(x[k] * inverse)) / inverse;
}

static void round_activations(void *ctx, const kq_observation *o) {
    const kq_gguf_tensor *t = kq_gguf_tensor_find(kq_model_file(ctx), o->weight);
    uint32_t block = kq_codec_describe(t->codec)->block_weights;
    assert_true(o->n_experts == 0 && (block == 32 || block == 256) && o->n_cols % block == 0);
    float *x = (float *)(uintptr_t)o->x; /* ours to change: the product that follows reads it, and rounding again changes nothing */
    for (size_t i = 0; i < o->n_tokens * o->n_cols; i += block) {
        if (block == 32) round_32(x + i);
        else round_256(x + i);
    }
}

/* ---- measuring ----------------------------------------------------------------------------------------------------- */

typedef struct way { /* to read the text */
    kq_mode mode;
    bool rounded;
    uint32_t mask;
} way;

static kq_session *read_with(kq_model *m, const way *w, bool rounded) {
    kq_session *s;
    kq_session_options o = KQ_OPTIONS_INIT(kq_session_options);
    o.n_ctx = CHUNK;
    o.pool = data.pool;
    o.state_type = KQ_STATE_F32;
    o.mode = w->mode;
    o.cpu_mask = w->mask;
    o.observe = rounded ? round_activations : NULL;
    o.observe_ctx = m;
    FINE(kq_session_open(&s, m, &o, &err));
    return s;
}

/* As kq_perplexity_chunk does, with one reading of the reference for all rows. */
static void measure(row *const *list, size_t n, int chunks, const way *w, kq_perplexity_figures *out) {
    kq_session *reference = read_with(data.reference, w, false), *s[MOST];
    kq_perplexity *p[MOST];
    size_t n_vocab = kq_model_describe(data.reference).n_vocab, half = CHUNK / 2, counted = CHUNK - 1 - half;
    float *a = malloc(counted * n_vocab * sizeof *a), *b = malloc(counted * n_vocab * sizeof *b);
    assert_true(a && b && n <= MOST);
    for (size_t k = 0; k < n; k++) {
        kq_perplexity_options o = KQ_OPTIONS_INIT(kq_perplexity_options);
        o.pool = data.pool;
        o.n_vocab = (uint32_t)n_vocab;
        o.reference = true;
        FINE(kq_perplexity_open(&p[k], &o, &err));
        s[k] = read_with(list[k]->model, w, w->rounded);
    }
    for (int i = 0; i < chunks; i++) {
        const int32_t *ids = data.ids + i * CHUNK;
        FINE(kq_session_rewind(reference, 0, &err) || kq_session_append(reference, ids, CHUNK - 1, a, counted, &err));
        for (size_t k = 0; k < n; k++) {
            FINE(kq_session_rewind(s[k], 0, &err) || kq_session_append(s[k], ids, CHUNK - 1, b, counted, &err));
            FINE(kq_perplexity_add(p[k], b, a, ids + half + 1, counted, &err));
        }
    }
    for (size_t k = 0; k < n; k++) {
        FINE(kq_perplexity_result(p[k], &out[k], &err));
        kq_perplexity_close(p[k]);
        kq_session_close(s[k]);
    }
    kq_session_close(reference);
    free(a);
    free(b);
}

static size_t choose(bool all, row **list) {
    size_t n = 0;
    for (size_t i = 0; i < KQ_COUNT(rows); i++) {
        if (!all && !rows[i].quick) continue;
        if (!rows[i].model) make(&rows[i]);
        list[n++] = &rows[i];
    }
    return n;
}

/* ---- tests --------------------------------------------------------------------------------------------------------- */

#define TOLERANCE 0.02

static void the_figures_of_llama(void **state) {
    (void)state;
    if (!data.source) skip();
    row *list[MOST];
    kq_perplexity_figures rounded[MOST], ours[MOST];
    size_t n = choose(false, list);
    measure(list, n, CHUNKS, &(way){KQ_EXACT, true, 0}, rounded);
    measure(list, n, CHUNKS, &(way){KQ_FAST, false, 0}, ours);
    for (size_t k = 0; k < n; k++) {
        const row *r = list[k];
        double same = r->same > 0 ? r->same : 100.0 * rounded[k].same_top.value;
        if (fabs(ours[k].reference_perplexity.value / 47.74 - 1.0) > 0.001) fail_msg("perplexity %f", ours[k].reference_perplexity.value);
        if (fabs(rounded[k].kld_mean.value / r->kld - 1.0) > TOLERANCE || fabs(100.0 * rounded[k].same_top.value / same - 1.0) > TOLERANCE) {
            fail_msg("%s: rounded as llama.cpp rounds %f, %f", r->type, rounded[k].kld_mean.value, rounded[k].same_top.value);
        }
        if (ours[k].kld_mean.value > r->kld * (1.0 + TOLERANCE)) fail_msg("%s: %f, llama.cpp's %f", r->type, ours[k].kld_mean.value, r->kld);
    }
}

static void every_processor_alike(void **state) {
    (void)state;
    if (!data.source) skip();
    static const uint32_t masks[] = {0, KQ_CPU_AVX2, KQ_CPU_NONE};
    row *list[MOST];
    kq_perplexity_figures first[MOST], other[MOST];
    choose(false, list);
    for (size_t i = 0; i < KQ_COUNT(masks); i++) {
        measure(list + 1, 1, FEW, &(way){KQ_FAST, false, masks[i]}, i ? other : first);
        if (i && fabs(other->kld_mean.value / first->kld_mean.value - 1.0) > TOLERANCE) {
            fail_msg("mask %x: %f instead of %f", masks[i], other->kld_mean.value, first->kld_mean.value);
        }
    }
}

static void print_all(void) {
    static const way ways[] = {{KQ_EXACT, true, 0}, {KQ_FAST, false, 0}, {KQ_FAST, false, KQ_CPU_AVX2}};
    row *list[MOST];
    kq_perplexity_figures f[KQ_COUNT(ways)][MOST];
    size_t n = choose(true, list);
    for (size_t i = 0; i < KQ_COUNT(ways); i++) {
        measure(list, n, CHUNKS, &ways[i], f[i]);
        fprintf(stderr, "%zu of %zu ways\n", i + 1, KQ_COUNT(ways));
    }
    printf("| type | llama.cpp | rounded likewise | ours | AVX2 | same top |\n|---|---|---|---|---|---|\n");
    for (size_t k = 0; k < n; k++) {
        printf("| %s%s | %.6f |", list[k]->type, list[k]->weighted ? ", imatrix" : "", list[k]->kld);
        for (size_t i = 0; i < KQ_COUNT(ways); i++) {
            printf(" %.6f", f[i][k].kld_mean.value);
            if (i == 0) printf(" (%+.1f %%)", 100.0 * (f[i][k].kld_mean.value / list[k]->kld - 1.0));
            printf(" |");
        }
        printf(" %.1f %% |\n", 100.0 * f[1][k].same_top.value);
    }
}

static void the_whole_table(void **state) {
    (void)state;
    if (!data.source) skip();
    print_all();
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_figures_of_llama), cmocka_unit_test(every_processor_alike)};
    const struct CMUnitTest table[] = {cmocka_unit_test(the_whole_table)};
    if (argc > 1 && !strcmp(argv[1], "all")) return cmocka_run_group_tests(table, set_up, tear_down);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
