/* SPDX-License-Identifier: MIT */
/* Models: logits of every family against the reference engine's, and greedy texts of trained models. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "engine/engine.h"
#include "golden.h"
#include "make_model.h"

#include <jansson.h>
#include <math.h>

#include <kquant/kquant.h>

static kq_pool *pools[3]; /* by threads; [1] is NULL */

static int open_pools(void **state) {
    (void)state;
    return kq_pool_open(&pools[2], 2, NULL, NULL) != KQ_OK;
}

static int close_pools(void **state) {
    (void)state;
    kq_pool_close(pools[2]);
    return 0;
}

static kq_model *open_bytes(bytes file) {
    kq_error err = {0};
    kq_gguf *g;
    kq_model *m = NULL;
    kq_model_options o = KQ_OPTIONS_INIT(kq_model_options);
    o.no_tokenizer = true;
    if (kq_gguf_open_memory(&g, file.data, file.size, "test", NULL, &err) || kq_model_open_file(&m, g, &o, &err)) fail_msg("%s", err.text);
    return m;
}

static kq_session *open_session(const kq_model *m, kq_mode mode, kq_state_type state, int threads, uint32_t mask) {
    kq_error err = {0};
    kq_session *s;
    kq_session_options o = KQ_OPTIONS_INIT(kq_session_options);
    o.mode = mode;
    o.state_type = state;
    o.pool = pools[threads];
    o.n_ctx = 64;
    o.cpu_mask = mask;
    if (kq_session_open(&s, m, &o, &err)) fail_msg("%s", err.text);
    return s;
}

/* ---- golden logits ------------------------------------------------------------------------------------------------- */

/* All the logits of g's tokens, the first `first` in one batch and the others one by one. free() them. */
static float *evaluate(kq_session *s, const golden_logits *g, size_t first) {
    size_t n = (size_t)g->n, v = (size_t)g->n_vocab;
    float *out = malloc(n * v * sizeof *out);
    kq_error err = {0};
    assert_int_equal(kq_session_rewind(s, 0, &err), KQ_OK);
    assert_int_equal(kq_session_append(s, g->tokens, first, out, first, &err), KQ_OK);
    for (size_t i = first; i < n; i++) assert_int_equal(kq_session_append(s, g->tokens + i, 1, out + i * v, 1, &err), KQ_OK);
    return out;
}

/* The goldens' cache was f32: the nmse in f32 is the rounding of float sums, and 1e5 times smaller than in f16.
 * What f16 state may cost: a value rounded to 11 bits has a relative variance of 2^-20 / 12 / 2.16 = 3.7e-8 (2.16: the mean square of
 * a mantissa), there are keys and values in two layers, so 1.5e-7 if the network neither damps nor amplifies that noise; six
 * times as much is allowed for amplification by random weights. */
static void check_family(const char *name, double bound, double bound_half) {
    spec *sp = spec_open(name);
    bytes file = spec_file(sp, NULL);
    golden_logits g = golden_logits_read(name);
    kq_model *m = open_bytes(file);
    size_t n = (size_t)g.n * (size_t)g.n_vocab;
    const size_t splits[] = {16, (size_t)g.n, 0}; /* as the golden was made; one batch; one by one */

    kq_session *s = open_session(m, KQ_EXACT, KQ_STATE_F32, 1, 0);
    float *exact = evaluate(s, &g, 16);
    kq_session_close(s);
    double error = nmse(exact, g.logits, n);
    printf("%-16s exact, f32 state: nmse %.2e (bound %.0e)\n", name, error, bound);
    assert_true(error <= bound);

    for (int threads = 1; threads <= 2; threads++) {
        const uint32_t masks[] = {KQ_CPU_ALL, KQ_CPU_NONE, KQ_CPU_AVX2};
        for (size_t k = 0; k < KQ_COUNT(masks); k++) {
            s = open_session(m, KQ_EXACT, KQ_STATE_F32, threads, masks[k]);
            for (size_t i = 0; i < KQ_COUNT(splits); i++) {
                float *other = evaluate(s, &g, splits[i]);
                assert_memory_equal(other, exact, n * sizeof *exact);
                free(other);
            }
            kq_session_close(s);
        }
    }

    float *first = NULL;
    for (int threads = 1; threads <= 2; threads++) { /* the fast mode and f16 state: their own bits, but the same for any threads */
        s = open_session(m, KQ_EXACT, KQ_STATE_F16, threads, 0);
        float *half = evaluate(s, &g, 16), *half_one_by_one = evaluate(s, &g, 0);
        assert_memory_equal(half, half_one_by_one, n * sizeof *half);
        if (!first) printf("%-16s exact, f16 state: nmse %.2e (bound %.0e)\n", name, nmse(half, g.logits, n), bound_half);
        assert_true(nmse(half, g.logits, n) <= bound_half);
        if (first) assert_memory_equal(first, half, n * sizeof *half);
        kq_session_close(s);
        free(half_one_by_one);
        free(first);
        first = half;
    }
    free(first);
    free(exact);
    kq_model_close(m);
    bytes_free(&file);
    free(g.file.data);
    spec_close(sp);
}

/* ---- trained models ------------------------------------------------------------------------------------------------ */

static kq_model *open_shared(const char *name) {
    char path[1024];
    kq_error err = {0};
    kq_model *m;
    kq_model_options o = KQ_OPTIONS_INIT(kq_model_options);
    if (!golden_shared_path(path, sizeof path, "%s", name)) return NULL;
    if (kq_model_open(&m, path, &o, &err)) fail_msg("%s", err.text);
    return m;
}

static int32_t largest(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        if (x[i] > x[best]) best = i;
    }
    return (int32_t)best;
}

/* Continues ids greedily by n tokens. */
static void greedy(kq_session *s, const kq_model *m, const int32_t *ids, size_t n_ids, int32_t *out, size_t n) {
    size_t v = (size_t)kq_model_describe(m).n_vocab;
    float *logits = malloc(v * sizeof *logits);
    kq_error err = {0};
    assert_int_equal(kq_session_rewind(s, 0, &err), KQ_OK);
    if (kq_session_append(s, ids, n_ids, logits, 1, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < n; i++) {
        out[i] = largest(logits, v);
        assert_int_equal(kq_session_append(s, &out[i], 1, logits, 1, &err), KQ_OK);
    }
    free(logits);
}

/* models/tale in bf16 continues as the network that trained it says, in float32 and by PyTorch. */
static void tale(void **state) {
    (void)state;
    size_t size;
    kq_model *m = open_shared("models/tale-gguf/tale-bf16.gguf");
    uint8_t *text = golden_read_shared(&size, "models/tale/golden.json");
    if (!m || !text) skip();
    json_t *root = json_loadb((const char *)text, size, 0, NULL);
    assert_non_null(root);
    for (int k = 0; k < 4; k++) {
        kq_session *s;
        kq_session_options o = KQ_OPTIONS_INIT(kq_session_options);
        o.mode = k & 1 ? KQ_FAST : KQ_EXACT;
        o.state_type = k & 2 ? KQ_STATE_F16 : KQ_STATE_F32;
        o.n_ctx = 256;
        assert_int_equal(kq_session_open(&s, m, &o, NULL), KQ_OK);
        for (size_t i = 0; i < json_array_size(root); i++) {
            int32_t ids[128], want[128], out[128];
            const json_t *item = json_array_get(root, i), *a = json_object_get(item, "ids"), *b = json_object_get(item, "greedy");
            size_t n_ids = json_array_size(a), n = json_array_size(b);
            assert_true(n_ids > 0 && n_ids <= 128 && n <= 128);
            for (size_t j = 0; j < n_ids; j++) ids[j] = (int32_t)json_integer_value(json_array_get(a, j));
            for (size_t j = 0; j < n; j++) want[j] = (int32_t)json_integer_value(json_array_get(b, j));
            greedy(s, m, ids, n_ids, out, n);
            assert_memory_equal(out, want, n * sizeof *out);
        }
        kq_session_close(s);
    }
    json_decref(root);
    free(text);
    kq_model_close(m);
}

static const char *const lily =
    ", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball. She wanted to play "
    "with it, but it was too high.";

/* Widths of 64 and 172, which no block of 256 divides; the text is karpathy/llama2.c's. */
static void stories260K(void **state) {
    (void)state;
    kq_model *m = open_shared("models/stories260K/stories260K-f32.gguf");
    if (!m) skip();
    const kq_tokenizer *t = kq_model_tokenizer(m);
    kq_session *s;
    kq_session_options o = KQ_OPTIONS_INIT(kq_session_options);
    o.mode = KQ_EXACT;
    assert_int_equal(kq_session_open(&s, m, &o, NULL), KQ_OK);
    const char *prompt = "Once upon a time";
    int32_t ids[64], out[256];
    size_t n, size;
    assert_int_equal(kq_tokenizer_encode(t, prompt, strlen(prompt), KQ_ENCODE_ADD_SPECIAL, ids, 64, &n, NULL), KQ_OK);
    assert_int_equal(ids[0], kq_tokenizer_bos(t));
    greedy(s, m, ids, n, out, 128);
    char text[2048];
    int32_t all[192];
    memcpy(all, ids, n * sizeof *ids);
    memcpy(all + n, out, 128 * sizeof *out);
    assert_int_equal(kq_tokenizer_decode(t, all, n + 128, false, text, sizeof text - 1, &size, NULL), KQ_OK);
    text[KQ_MIN(size, sizeof text - 1)] = 0;
    const char *rest = strstr(text, prompt);
    assert_non_null(rest);
    rest += strlen(prompt);
    if (strncmp(rest, lily, strlen(lily)) != 0) fail_msg("says \"%s\"", rest);
    kq_session_close(s);
    kq_model_close(m);
}

/* The model that lies in the repository: opened by path, described, with progress. */
static bool note_progress(void *ctx, double done) {
    double *last = ctx;
    assert_true(done >= *last && done <= 1.0);
    *last = done;
    return true;
}

static bool stop_at_half(void *ctx, double done) {
    (void)ctx;
    return done < 0.5;
}

static void default_model(void **state) {
    (void)state;
    const char *path = KQ_SOURCE_DIR "/models/tale-q4_k_m.gguf";
    kq_model *m;
    kq_error err = {0};
    double done = 0;
    kq_model_options o = KQ_OPTIONS_INIT(kq_model_options);
    o.progress = note_progress;
    o.progress_ctx = &done;
    if (kq_model_open(&m, path, &o, &err)) fail_msg("%s", err.text);
    assert_true(done == 1.0);
    kq_model_info info = kq_model_describe(m);
    assert_string_equal(info.architecture, "qwen3");
    assert_int_equal(info.n_vocab, 8192);
    assert_int_equal(info.n_layer, 8);
    assert_int_equal(info.n_embd, 256);
    assert_int_equal(info.n_ctx_train, 2048);
    assert_int_equal(info.n_params, 8393984);
    assert_int_equal(info.state_bytes_per_token, 8 * 2 * 2 * 64 * 2);
    assert_true(info.weight_bytes < kq_gguf_file_bytes(kq_model_file(m)));
    assert_int_equal(kq_tokenizer_size(kq_model_tokenizer(m)), 8192);
    kq_model_close(m);

    o.progress = stop_at_half;
    assert_int_equal(kq_model_open(&m, path, &o, &err), KQ_E_CANCELLED);
    assert_null(m);
    assert_int_equal(kq_model_open(&m, "/nonexistent.gguf", NULL, &err), KQ_E_IO);
    assert_int_equal(kq_model_open(NULL, path, NULL, &err), KQ_E_ARGUMENT);
    assert_int_equal(kq_model_open(&m, NULL, NULL, &err), KQ_E_ARGUMENT);
    kq_model_close(NULL);
}

/* Quantised weights: one result a mode, whatever the batches and threads; in the exact mode whatever the kernels too. The fast mode has two: of
 * batches up to 16 tokens, and of larger ones, whose products are tiles. */
static void quantised_is_one_result(void **state) {
    (void)state;
    enum { TOKENS = 20, VOCABULARY = 8192 };
    kq_model *m;
    kq_error err = {0};
    if (kq_model_open(&m, KQ_SOURCE_DIR "/models/tale-q4_k_m.gguf", NULL, &err)) fail_msg("%s", err.text);
    int32_t tokens[TOKENS];
    for (int i = 0; i < TOKENS; i++) tokens[i] = (i * 7919 + 13) % VOCABULARY;
    float *exact = NULL, *fast = NULL, *tiles = NULL;
    const golden_logits g = {.n = TOKENS, .n_vocab = VOCABULARY, .tokens = tokens};
    for (int k = 0; k < 4; k++) {
        for (uint32_t mask = 0; mask < (k & 1 ? 3u : 1u); mask++) { /* all kernels, the generic ones, AVX2 */
            kq_session *s = open_session(m, k & 1 ? KQ_EXACT : KQ_FAST, KQ_STATE_F16, k & 2 ? 2 : 1,
                                         mask == 0 ? 0 : mask == 1 ? KQ_CPU_NONE : KQ_CPU_AVX2);
            for (size_t split = 0; split <= TOKENS; split += split < 9 ? 9 : 11) {
                float *logits = evaluate(s, &g, split), **first = k & 1 ? &exact : split == TOKENS ? &tiles : &fast;
                if (!*first) *first = logits;
                else {
                    assert_memory_equal(logits, *first, (size_t)TOKENS * VOCABULARY * sizeof *logits);
                    free(logits);
                }
            }
            kq_session_close(s);
        }
    }
    double error = nmse(fast, exact, (size_t)TOKENS * VOCABULARY);
    printf("tale-q4_k_m      fast against exact: nmse %.2e\n", error);
    /* int8 activations, 32 to a scale: the largest of 32 normal numbers is about 2.07 deviations, so rounding to its 127th adds a
     * relative variance of 2.07^2 / 127^2 / 12 = 2.2e-5. Activations are rounded four times a layer and once before the logits. */
    assert_true(error > 0 && error < (4 * 8 + 1) * 2.2e-5);
    /* tiles round weights and activations to bf16 at most: each adds a relative variance of at most 2^-16 / 12 * 2 */
    error = nmse(tiles, exact, (size_t)TOKENS * VOCABULARY);
    printf("tale-q4_k_m      fast in one batch against exact: nmse %.2e\n", error);
    assert_true(error < (4 * 8 + 1) * 2 * 0x1p-16 / 6);
    free(exact);
    free(fast);
    free(tiles);
    kq_model_close(m);
}

/* ---- models that do not fit ---------------------------------------------------------------------------------------- */

/* Opens; if that works, evaluates a few tokens. The status of opening. */
static kq_status try_bytes(bytes file, kq_error *err) {
    kq_gguf *g;
    kq_model *m;
    kq_model_options o = KQ_OPTIONS_INIT(kq_model_options);
    o.no_tokenizer = true;
    *err = (kq_error){0};
    kq_status status = kq_gguf_open_memory(&g, file.data, file.size, "test", NULL, err);
    if (!status) status = kq_model_open_file(&m, g, &o, err);
    if (status) {
        assert_true(status >= 40 && status < 50);
        assert_true(err->text[0] != 0);
        assert_string_equal(err->file, "test");
        return status;
    }
    kq_session_options so = KQ_OPTIONS_INIT(kq_session_options);
    kq_session *s;
    so.n_ctx = 4;
    so.mode = KQ_EXACT;
    assert_int_equal(kq_session_open(&s, m, &so, err), KQ_OK);
    uint64_t v = kq_model_describe(m).n_vocab;
    float *logits = malloc(v * sizeof *logits);
    assert_int_equal(kq_session_append(s, (const int32_t[]){0, 1, 2}, 3, logits, 1, err), KQ_OK);
    free(logits);
    kq_session_close(s);
    kq_model_close(m);
    return KQ_OK;
}

static void put_number(bytes *b, uint32_t kind, int which) { /* 0: zero, 1: one, 2: the largest, 3: minus one or NaN */
    static const uint8_t width[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (kind == KQ_GGUF_F32) put_f32(b, which == 0 ? 0.0f : which == 1 ? 1.0f : which == 2 ? 3.4e38f : (float)NAN);
    else if (kind == KQ_GGUF_F64) put_f64(b, which == 0 ? 0.0 : which == 1 ? 1.0 : which == 2 ? 1.7e308 : (double)INFINITY);
    else {
        bool is_signed = kind == KQ_GGUF_I8 || kind == KQ_GGUF_I16 || kind == KQ_GGUF_I32 || kind == KQ_GGUF_I64;
        uint64_t largest_value = UINT64_MAX >> (64 - 8 * width[kind]) >> (is_signed ? 1 : 0);
        uint64_t v = which == 0 ? 0 : which == 1 ? 1 : which == 2 ? largest_value : UINT64_MAX;
        if (kind == KQ_GGUF_BOOL) v &= 1;
        put_raw(b, &v, width[kind]);
    }
}

/* Every key of a family, as every kind, with extreme values; as lists too short and long enough; as text; and missing. */
static void hostile_key(const spec *s, const char *key, size_t *refused, size_t *run) {
    kq_error err;
    for (uint32_t kind = 0; kind <= KQ_GGUF_F64; kind++) {
        bool lists = kind == KQ_GGUF_ARRAY || kind == KQ_GGUF_U32 || kind == KQ_GGUF_BOOL || kind == KQ_GGUF_F32;
        for (int which = 0; which < (lists ? 12 : 4); which++) { /* four values, alone, in a list of 1, in a list of 2 */
            bytes value = {0};
            spec_change c = {.key = key, .kind = kind, .no_vocabulary = true};
            if (kind == KQ_GGUF_ARRAY) { /* empty lists */
                put_u32(&value, (uint32_t)which);
                put_u64(&value, 0);
                if (which == KQ_GGUF_ARRAY) put_u64(&value, 0);
            } else if (kind == KQ_GGUF_STRING) {
                put_text(&value, which == 0 ? "" : which == 1 ? "none" : which == 2 ? "linear" : "yarn");
            } else {
                if (which >= 4) {
                    c.kind = KQ_GGUF_ARRAY;
                    put_u32(&value, kind);
                    put_u64(&value, (uint64_t)which / 4);
                }
                for (int i = 0; i < (which < 8 ? 1 : 2); i++) put_number(&value, kind, which % 4);
            }
            c.value = value.data;
            c.value_size = value.size;
            bytes file = spec_file(s, &c);
            if (try_bytes(file, &err)) ++*refused;
            else ++*run;
            bytes_free(&file);
            bytes_free(&value);
        }
    }
    bytes file = spec_file(s, &(spec_change){.key = key, .drop_key = true, .no_vocabulary = true});
    if (try_bytes(file, &err)) ++*refused;
    else ++*run;
    bytes_free(&file);
}

static void hostile_keys(void **state) {
    (void)state;
    static const struct {
        const char *spec, *keys[8]; /* and keys that the specification lacks */
    } families[] = {
        {"llama-moe", {"llama.rope.scaling.type", "llama.rope.scaling.factor", "llama.rope.scale_linear", "llama.attention.scale",
                       "llama.expert_weights_scale", "llama.expert_weights_norm", "llama.expert_gating_func"}},
        {"qwen3moe-moe", {"qwen3moe.rope.scaling.attn_factor"}},
        {"gemma3-dense", {"gemma3.final_logit_softcapping", "gemma3.attn_logit_softcapping", "gemma3.expert_count"}},
    };
    for (size_t f = 0; f < KQ_COUNT(families); f++) {
        spec *s = spec_open_shrunk(families[f].spec, 8);
        size_t refused = 0, run = 0;
        for (size_t i = 0; i < spec_n_keys(s); i++) {
            if (strncmp(spec_key(s, i), "tokenizer.", 10) != 0) hostile_key(s, spec_key(s, i), &refused, &run);
        }
        for (size_t i = 0; i < 8 && families[f].keys[i]; i++) hostile_key(s, families[f].keys[i], &refused, &run);
        printf("%-16s keys: %zu models refused, %zu run\n", families[f].spec, refused, run);
        assert_true(refused > 100 && run > 100);
        spec_close(s);
    }
}

/* Every tensor missing, transposed, with a row or a column more, in a codec of blocks, in one that holds no weights. */
static void hostile_tensors(void **state) {
    (void)state;
    static const char *const names[] = {"llama-dense", "llama-moe", "qwen2-dense", "qwen3-dense", "gemma3-dense"};
    for (size_t f = 0; f < KQ_COUNT(names); f++) {
        spec *s = spec_open_shrunk(names[f], 8);
        size_t refused = 0, run = 0;
        for (size_t i = 0; i < spec_n_tensors(s); i++) {
            const char *name = spec_tensor(s, i);
            const spec_change changes[] = {
                {.drop_tensor = true},
                {.n_dims = 1, .dims = {32}, .n_bytes = 128},
                {.n_dims = 1, .dims = {1}, .n_bytes = 4},
                {.n_dims = 2, .dims = {32, 1}, .n_bytes = 128},
                {.n_dims = 2, .dims = {1, 32}, .n_bytes = 128},
                {.n_dims = 2, .dims = {32, 16}, .type = KQ_Q8_0, .n_bytes = 16 * 34},
                {.n_dims = 2, .dims = {32, 17}, .type = KQ_F16, .n_bytes = 17 * 64},
                {.n_dims = 2, .dims = {32, 32}, .type = KQ_Q4_0, .n_bytes = 32 * 18},
                {.n_dims = 2, .dims = {32, 16}, .type = KQ_I32, .n_bytes = 16 * 128},
                {.n_dims = 1, .dims = {32}, .type = KQ_F16, .n_bytes = 64},
                {.n_dims = 1, .dims = {32}, .type = KQ_Q8_0, .n_bytes = 34},
                {.n_dims = 4, .dims = {32, 48, 4, 1}, .type = KQ_Q8_0, .n_bytes = 48 * 4 * 34},
                {.n_dims = 4, .dims = {48, 32, 2, 2}, .type = KQ_BF16, .n_bytes = 48 * 32 * 4 * 2},
            };
            for (size_t k = 0; k < KQ_COUNT(changes); k++) {
                spec_change c = changes[k];
                c.tensor = name;
                c.no_vocabulary = true;
                bytes file = spec_file(s, &c);
                kq_error err;
                kq_status status = try_bytes(file, &err);
                if (status == KQ_E_MODEL || status == KQ_E_UNSUPPORTED) { /* names the tensor */
                    if (!strstr(err.text, name) && !strstr(name, "token_embd")) fail_msg("%s: says \"%s\"", name, err.text);
                }
                if (status) refused++;
                else run++;
                bytes_free(&file);
            }
        }
        printf("%-16s tensors: %zu models refused, %zu run\n", names[f], refused, run);
        assert_true(refused > 100 && run > 0);
        spec_close(s);
    }
}

/* Metadata that tells of fewer layers than the file holds must not run half a model; a classifier beside the model is no harm (the
 * golden of qwen3 has one). */
static void tensors_without_use(void **state) {
    (void)state;
    spec *s = spec_open_shrunk("qwen3-dense", 8);
    const uint32_t one = 1;
    bytes file = spec_file(s, &(spec_change){.key = "qwen3.block_count", .kind = KQ_GGUF_U32, .value = &one, .value_size = 4, .no_vocabulary = true});
    kq_error err;
    assert_int_equal(try_bytes(file, &err), KQ_E_MODEL);
    assert_non_null(strstr(err.text, "blk.1."));
    assert_non_null(strstr(err.text, "no use"));
    bytes_free(&file);
    file = spec_file(s, &(spec_change){.no_vocabulary = true});
    assert_int_equal(try_bytes(file, &err), KQ_OK);
    bytes_free(&file);
    spec_close(s);
}

static const double HALF = 6 * 1.5e-7;

static void llama_dense(void **state) { (void)state; check_family("llama-dense", 1e-8, HALF); }
static void llama_moe(void **state) { (void)state; check_family("llama-moe", 1e-8, HALF); }
static void qwen2_dense(void **state) { (void)state; check_family("qwen2-dense", 1e-8, HALF); }
static void qwen3_dense(void **state) { (void)state; check_family("qwen3-dense", 1e-8, HALF); }
static void qwen3moe(void **state) { (void)state; check_family("qwen3moe-moe", 1e-8, HALF); }
static void gemma3_dense(void **state) { (void)state; check_family("gemma3-dense", 2e-7, HALF); }

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_dense), cmocka_unit_test(llama_moe), cmocka_unit_test(qwen2_dense), cmocka_unit_test(qwen3_dense),
        cmocka_unit_test(qwen3moe), cmocka_unit_test(gemma3_dense), cmocka_unit_test(default_model), cmocka_unit_test(quantised_is_one_result),
        cmocka_unit_test(tale),
        cmocka_unit_test(stories260K), cmocka_unit_test(hostile_keys), cmocka_unit_test(hostile_tensors), cmocka_unit_test(tensors_without_use),
    };
    return cmocka_run_group_tests(tests, open_pools, close_pools);
}
