/* SPDX-License-Identifier: MIT */
/* Sessions: append, rewind, reuse, limits, memory, sharing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/numeric.h"
#include "cpu/kernels.h"
#include "engine/engine.h"
#include "golden.h"
#include "make_model.h"

#include <pthread.h>
#include <stdio.h>

#include <kquant/kquant.h>

enum { N = 24, VOCAB = 128 };
static bytes file;
static kq_model *model;
static int32_t tokens[N];
static float expected[N][VOCAB]; /* exact, f32 state, one by one */

static kq_status open_model(kq_model **out, const kq_allocator *a, kq_error *err) {
    kq_gguf_options go = KQ_OPTIONS_INIT(kq_gguf_options);
    kq_model_options o = KQ_OPTIONS_INIT(kq_model_options);
    kq_gguf *g;
    o.no_tokenizer = true;
    o.allocator = go.allocator = a;
    *out = NULL;
    kq_status status = kq_gguf_open_memory(&g, file.data, file.size, "test", &go, err);
    return status ? status : kq_model_open_file(out, g, &o, err);
}

static kq_session_options options_of(uint32_t n_ctx, uint32_t n_batch) {
    kq_session_options o = KQ_OPTIONS_INIT(kq_session_options);
    o.n_ctx = n_ctx;
    o.n_batch = n_batch;
    o.mode = KQ_EXACT;
    o.state_type = KQ_STATE_F32;
    return o;
}

static kq_session *open_session(uint32_t n_ctx, uint32_t n_batch) {
    kq_error err = {0};
    kq_session *s;
    kq_session_options o = options_of(n_ctx, n_batch);
    if (kq_session_open(&s, model, &o, &err)) fail_msg("%s", err.text);
    return s;
}

static void append(kq_session *s, size_t first, size_t n, float *logits, size_t n_logits) {
    kq_error err = {0};
    if (kq_session_append(s, tokens + first, n, logits, n_logits, &err)) fail_msg("%s", err.text);
}

static int setup(void **state) {
    (void)state;
    spec *sp = spec_open("gemma3-dense"); /* a window, and layers of two kinds */
    file = spec_file(sp, NULL);
    spec_close(sp);
    for (int i = 0; i < N; i++) tokens[i] = (i * 7919 + 13) % VOCAB;
    kq_error err = {0};
    if (open_model(&model, NULL, &err)) fail_msg("%s", err.text);
    kq_session *s = open_session(N, 0);
    for (size_t i = 0; i < N; i++) append(s, i, 1, expected[i], 1);
    kq_session_close(s);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    kq_model_close(model);
    bytes_free(&file);
    return 0;
}

/* ---- append -------------------------------------------------------------------------------------------------------- */

static void any_batches(void **state) {
    (void)state;
    float logits[N][VOCAB];
    for (uint32_t n_batch = 1; n_batch <= N + 1; n_batch++) {
        kq_session *s = open_session(N, n_batch);
        append(s, 0, N, logits[0], N);
        assert_memory_equal(logits, expected, sizeof expected);
        kq_session_close(s);
    }
}

static void any_number_of_logits(void **state) {
    (void)state;
    for (size_t n_logits = 0; n_logits <= N; n_logits++) {
        float logits[N + 1][VOCAB];
        memset(logits, 0x5a, sizeof logits);
        kq_session *s = open_session(N, 7);
        append(s, 0, N, n_logits ? logits[0] : NULL, n_logits);
        assert_memory_equal(logits, expected[N - n_logits], n_logits * sizeof logits[0]);
        for (size_t i = 0; i < sizeof logits[0]; i++) assert_int_equal(((uint8_t *)logits[n_logits])[i], 0x5a);
        kq_session_close(s);
    }
}

static void nothing_to_append(void **state) {
    (void)state;
    kq_session *s = open_session(N, 0);
    kq_error err = {0};
    assert_int_equal(kq_session_append(s, NULL, 0, NULL, 0, &err), KQ_OK);
    assert_int_equal(kq_session_length(s), 0);
    kq_session_close(s);
}

/* ---- what is refused, and that it changes nothing -------------------------------------------------------------------- */

static void refused(void **state) {
    (void)state;
    float logits[2][VOCAB];
    kq_session *s = open_session(10, 4);
    append(s, 0, 6, NULL, 0);
    static const struct {
        int32_t tokens[3];
        size_t n, n_logits;
        kq_status status;
        const char *text;
    } cases[] = {
        {{1, -1, 2}, 3, 1, KQ_E_ARGUMENT, "token 1 is -1"},
        {{1, 2, VOCAB}, 3, 1, KQ_E_ARGUMENT, "token 2 is 128"},
        {{INT32_MIN}, 1, 1, KQ_E_ARGUMENT, "token 0"},
        {{INT32_MAX}, 1, 1, KQ_E_ARGUMENT, "token 0"},
        {{1}, 1, 2, KQ_E_ARGUMENT, "n_logits is 2"},
        {{0}, 0, 1, KQ_E_ARGUMENT, "n_logits is 1"},
    };
    for (size_t i = 0; i < KQ_COUNT(cases); i++) {
        kq_error err = {0};
        assert_int_equal(kq_session_append(s, cases[i].tokens, cases[i].n, logits[0], cases[i].n_logits, &err), cases[i].status);
        if (!strstr(err.text, cases[i].text)) fail_msg("says \"%s\"", err.text);
        assert_int_equal(kq_session_append(s, cases[i].tokens, cases[i].n, logits[0], cases[i].n_logits, NULL), cases[i].status);
    }
    kq_error err = {0};
    assert_int_equal(kq_session_append(s, tokens, 5, logits[0], 1, &err), KQ_E_CONTEXT);
    assert_non_null(strstr(err.text, "6 of 10"));
    assert_int_equal(kq_session_append(s, tokens, SIZE_MAX, logits[0], 1, &err) != KQ_OK, 1);
    assert_int_equal(kq_session_append(s, NULL, 1, logits[0], 1, &err), KQ_E_ARGUMENT);
    assert_int_equal(kq_session_append(s, tokens, 1, NULL, 1, &err), KQ_E_ARGUMENT);
    assert_int_equal(kq_session_append(NULL, tokens, 1, logits[0], 1, &err), KQ_E_ARGUMENT);
    assert_int_equal(kq_session_rewind(s, 7, &err), KQ_E_ARGUMENT);
    assert_int_equal(kq_session_rewind(NULL, 0, &err), KQ_E_ARGUMENT);

    assert_int_equal(kq_session_length(s), 6);
    assert_memory_equal(kq_session_tokens(s), tokens, 6 * sizeof *tokens);
    append(s, 6, 4, logits[0], 2); /* to the brim */
    assert_memory_equal(logits, expected[8], sizeof logits);
    assert_int_equal(kq_session_append(s, tokens, 1, logits[0], 1, &err), KQ_E_CONTEXT);
    assert_int_equal(kq_session_capacity(s), 10);
    kq_session_close(s);
    kq_session_close(NULL);
}

static void options_refused(void **state) {
    (void)state;
    kq_session *s;
    kq_error err = {0};
    uint64_t a, b;
    kq_session_options o = options_of(N, 0);
    o.mode = (kq_mode)2;
    assert_int_equal(kq_session_open(&s, model, &o, &err), KQ_E_ARGUMENT);
    o = options_of(N, 0);
    o.state_type = (kq_state_type)2;
    assert_int_equal(kq_session_open(&s, model, &o, &err), KQ_E_ARGUMENT);
    o = options_of(UINT32_MAX, 0);
    assert_int_equal(kq_session_open(&s, model, &o, &err), KQ_E_ARGUMENT);
    o = options_of(N, UINT32_MAX);
    assert_int_equal(kq_session_open(&s, model, &o, &err), KQ_E_ARGUMENT);
    assert_int_equal(kq_session_bytes(model, &o, &a, &b, &err), KQ_E_ARGUMENT);
    assert_null(s);
    o = options_of(N, 0);
    assert_int_equal(kq_session_open(&s, NULL, &o, &err), KQ_E_ARGUMENT);
    assert_int_equal(kq_session_open(NULL, model, &o, &err), KQ_E_ARGUMENT);
    assert_int_equal(kq_session_open(&s, model, NULL, &err), KQ_OK); /* all defaults */
    assert_int_equal(kq_session_capacity(s), 256);                   /* the model's own */
    kq_session_close(s);
}

/* ---- rewind and reuse ---------------------------------------------------------------------------------------------- */

static void rewind_is_as_new(void **state) {
    (void)state;
    kq_session *s = open_session(N, 5);
    float logits[VOCAB];
    kq_error err = {0};
    for (size_t keep = 0; keep < N; keep++) {
        const int32_t other[] = {1, 2, 3, 4};
        assert_int_equal(kq_session_rewind(s, 0, &err), KQ_OK);
        append(s, 0, keep, NULL, 0);
        size_t n_other = KQ_MIN(KQ_COUNT(other), N - keep);
        assert_int_equal(kq_session_append(s, other, n_other, logits, 1, &err), KQ_OK); /* soils what lies behind */
        assert_int_equal(kq_session_rewind(s, keep, &err), KQ_OK);
        assert_int_equal(kq_session_length(s), keep);
        append(s, keep, N - keep, logits, 1);
        assert_memory_equal(logits, expected[N - 1], sizeof logits);
    }
    kq_session_close(s);
}

static void reuse(void **state) {
    (void)state;
    kq_session *s = open_session(N, 0);
    float logits[VOCAB];
    int32_t other[N];
    assert_int_equal(kq_session_reuse(s, tokens, N), 0);
    append(s, 0, N, NULL, 0);
    assert_int_equal(kq_session_reuse(s, tokens, N), N - 1); /* the last one is left to give logits */
    append(s, N - 1, 1, logits, 1);
    assert_memory_equal(logits, expected[N - 1], sizeof logits);
    memcpy(other, tokens, sizeof other);
    other[10] = (other[10] + 1) % VOCAB;
    assert_int_equal(kq_session_reuse(s, other, N), 10);
    assert_int_equal(kq_session_length(s), 10);
    append(s, 10, N - 10, logits, 1);
    assert_memory_equal(logits, expected[N - 1], sizeof logits);
    assert_int_equal(kq_session_reuse(s, tokens, 5), 4);
    assert_int_equal(kq_session_reuse(s, tokens, 0), 0);
    kq_session_close(s);
}

/* ---- memory -------------------------------------------------------------------------------------------------------- */

/* Counts what is taken, and refuses the allocation after `left` others. */
typedef struct counter {
    size_t left, calls, live_calls;
    uint64_t live;
} counter;

static void *counted_alloc(void *ctx, size_t alignment, size_t size) {
    counter *c = ctx;
    if (c->left == 0) return NULL;
    c->left--;
    size_t head = alignment < sizeof(size_t) ? sizeof(size_t) : alignment;
    uint8_t *p;
    if (posix_memalign((void **)&p, head, head + size)) return NULL;
    memcpy(p + head - sizeof size, &size, sizeof size);
    memset(p + head, 0xa5, size); /* nothing may rely on fresh memory */
    c->calls++;
    c->live_calls++;
    c->live += size;
    /* the alignment is needed to free: all of the library's are 64 */
    assert_int_equal(alignment, 64);
    return p + head;
}

static void counted_free(void *ctx, void *memory) {
    counter *c = ctx;
    size_t size;
    memcpy(&size, (uint8_t *)memory - sizeof size, sizeof size);
    c->live -= size;
    c->live_calls--;
    free((uint8_t *)memory - 64);
}

static void bytes_are_exact(void **state) {
    (void)state;
    kq_pool *pool;
    assert_int_equal(kq_pool_open(&pool, 2, NULL, NULL), KQ_OK);
    for (uint32_t n_ctx = 1; n_ctx < 100; n_ctx += 33) {
        for (int k = 0; k < 8; k++) {
            counter c = {.left = SIZE_MAX};
            kq_allocator a = {counted_alloc, counted_free, &c};
            kq_session_options o = options_of(n_ctx, k & 1 ? 3 : 0);
            o.state_type = k & 2 ? KQ_STATE_F16 : KQ_STATE_F32;
            o.pool = k & 4 ? pool : NULL;
            o.allocator = &a;
            kq_session *s;
            kq_error err = {0};
            uint64_t state_bytes, scratch;
            assert_int_equal(kq_session_bytes(model, &o, &state_bytes, &scratch, &err), KQ_OK);
            assert_int_equal(c.live, 0);
            assert_int_equal(kq_session_open(&s, model, &o, &err), KQ_OK);
            assert_int_equal(c.live, state_bytes + scratch);
            assert_int_equal(c.live_calls, 2);
            size_t calls = c.calls;
            float logits[VOCAB];
            assert_int_equal(kq_session_append(s, tokens, KQ_MIN(n_ctx, N), logits, 1, &err), KQ_OK);
            assert_int_equal(c.calls, calls); /* nothing is taken later */
            if (o.state_type == KQ_STATE_F32) assert_memory_equal(logits, expected[KQ_MIN(n_ctx, N) - 1], sizeof logits);
            kq_session_close(s);
            assert_int_equal(c.live, 0);
        }
    }
    kq_model_info info = kq_model_describe(model);
    assert_int_equal(info.state_bytes_per_token, 2 * 2 * 2 * 64 * 2); /* layers, k and v, heads, width, bytes */
    kq_pool_close(pool);
}

/* Every allocation fails once; each failure says so, and leaves nothing behind. */
static void allocations_fail(void **state) {
    (void)state;
    size_t n_model = 0, n_session = 0;
    for (size_t left = 0;; left++, n_model++) {
        counter c = {.left = left};
        kq_allocator a = {counted_alloc, counted_free, &c};
        kq_model *m;
        kq_error err = {0};
        kq_status status = open_model(&m, &a, &err);
        if (!status) kq_model_close(m);
        assert_int_equal(c.live, 0);
        if (!status) break;
        assert_int_equal(status, KQ_E_MEMORY);
        assert_null(m);
        assert_true(err.text[0] != 0);
    }
    for (size_t left = 0;; left++, n_session++) {
        counter c = {.left = left};
        kq_allocator a = {counted_alloc, counted_free, &c};
        kq_session *s;
        kq_error err = {0};
        kq_session_options o = options_of(N, 0);
        o.allocator = &a;
        kq_status status = kq_session_open(&s, model, &o, &err);
        if (!status) kq_session_close(s);
        assert_int_equal(c.live, 0);
        if (!status) break;
        assert_int_equal(status, KQ_E_MEMORY);
        assert_null(s);
    }
    printf("allocations made to fail: %zu of a model, %zu of a session\n", n_model, n_session);
    assert_true(n_model > 5 && n_session >= 4);
}

/* ---- sharing ------------------------------------------------------------------------------------------------------- */

static void *run_alone(void *result) {
    kq_session *s;
    kq_session_options o = options_of(N, 5);
    const uint8_t *bits = (const uint8_t *)expected;
    if (kq_session_open(&s, model, &o, NULL)) return NULL;
    for (int round = 0; round < 20; round++) {
        bool fine = kq_session_rewind(s, 0, NULL) == KQ_OK && kq_session_append(s, tokens, N, result, N, NULL) == KQ_OK;
        if (!fine || memcmp(result, bits, sizeof expected) != 0) return NULL;
    }
    kq_session_close(s);
    return result;
}

static void two_threads_share_a_model(void **state) {
    (void)state;
    static float results[2][N][VOCAB];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, run_alone, results[i]), 0);
    for (int i = 0; i < 2; i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_non_null(result);
    }
}

/* The fast mode has its own bits, but they too depend on nothing but the tokens, in batches of up to 16; larger ones have the same for any
 * number of threads. */
static void fast_mode_is_one_result(void **state) {
    (void)state;
    kq_pool *pool;
    float first[N][VOCAB], logits[N][VOCAB];
    assert_int_equal(kq_pool_open(&pool, 2, NULL, NULL), KQ_OK);
    for (uint32_t n_batch = 1; n_batch <= N; n_batch += n_batch < 16 ? 5 : 8) { /* 1 6 11 16 24 */
        for (int threads = 1; threads <= 2; threads++) {
            kq_session *s;
            kq_session_options o = options_of(N, n_batch);
            o.mode = KQ_FAST;
            o.pool = threads == 2 ? pool : NULL;
            assert_int_equal(kq_session_open(&s, model, &o, NULL), KQ_OK);
            append(s, 0, N, logits[0], N);
            if ((n_batch == 1 || n_batch == 24) && threads == 1) memcpy(first, logits, sizeof first);
            assert_memory_equal(first, logits, sizeof first);
            kq_session_close(s);
        }
        assert_true(nmse(first[0], expected[0], (size_t)N * VOCAB) < 1e-9); /* f32 weights: only the order of sums differs */
    }
    kq_pool_close(pool);
}

/* ---- observation --------------------------------------------------------------------------------------------------- */

/* What was seen: for each weight the tokens, and of a few the values. */
typedef struct seen {
    size_t calls, tokens;
    size_t layer_tokens; /* of blk.0.attn_q.weight */
    double layer_sum;    /* of the squares that went into it */
    char last[64];
} seen;

static void look(void *ctx, const kq_observation *o) {
    seen *s = ctx;
    s->calls++;
    s->tokens += o->n_tokens;
    snprintf(s->last, sizeof s->last, "%s", o->weight);
    assert_true(o->n_tokens > 0 && o->n_cols > 0 && o->n_x == 1 && o->n_experts == 0 && o->n_used == 0 && !o->experts);
    assert_null(strstr(o->weight, "norm"));
    if (strcmp(o->weight, "blk.0.attn_q.weight") != 0) return;
    s->layer_tokens += o->n_tokens;
    for (size_t i = 0; i < o->n_tokens * o->n_cols; i++) s->layer_sum += (double)o->x[i] * (double)o->x[i];
}

static void observed(void **state) {
    (void)state;
    float logits[N][VOCAB];
    double sum = 0;
    size_t n_layer = (size_t)kq_model_describe(model).n_layer;
    for (uint32_t n_batch = 1; n_batch <= N; n_batch += 23) {
        seen s = {0};
        kq_session *session;
        kq_session_options o = options_of(N, n_batch);
        o.observe = look;
        o.observe_ctx = &s;
        assert_int_equal(kq_session_open(&session, model, &o, NULL), KQ_OK);
        assert_ptr_equal(kq_session_model(session), model);
        append(session, 0, N, logits[0], N);
        assert_memory_equal(logits, expected, sizeof expected); /* looking changes nothing */
        assert_int_equal(s.calls, (n_layer * 7 + 1) * (N / n_batch));
        assert_int_equal(s.tokens, (n_layer * 7 + 1) * N);
        assert_int_equal(s.layer_tokens, N);
        assert_string_equal(s.last, "output.weight");
        if (n_batch == 1) sum = s.layer_sum;
        assert_true(s.layer_sum > 0 && s.layer_sum == sum); /* the same values in the same order */
        kq_session_close(session);
    }
}

/* Rows that nobody wants are not told: the last layer's feed-forward sees wanted rows only. */
static void observed_rows(void **state) {
    (void)state;
    seen s = {0};
    kq_session *session;
    kq_session_options o = options_of(N, 0);
    o.observe = look;
    o.observe_ctx = &s;
    assert_int_equal(kq_session_open(&session, model, &o, NULL), KQ_OK);
    append(session, 0, N, NULL, 0);
    assert_int_equal(s.calls, (size_t)kq_model_describe(model).n_layer * 7 - 3);
    kq_session_close(session);
}

/* A product by its definition, as the exact mode has it. */
static float product(const float *w, const float *x, size_t n) {
    float lanes[KQ_EXACT_LANES] = {0};
    for (size_t k = 0; k < n; k++) lanes[k % KQ_EXACT_LANES] += w[k] * x[k];
    return kq_exact_sum(lanes);
}

enum { EXPERTS = 4, USED = 2, FF = 384 };
typedef struct experts_seen {
    const kq_gguf *file;
    size_t n_embd, n;              /* of a batch: the tokens that came to this layer's router */
    int32_t chosen[N][USED];       /* what its scores say */
    float hidden[N][USED][FF];     /* what each expert's gate gives, times its up */
    size_t routers, products;      /* tokens, over all layers and batches */
} experts_seen;

/* The first expert of the highest score, then the first of the rest. */
static void route(experts_seen *s, const kq_observation *o, const float *w) {
    for (size_t t = 0; t < o->n_tokens; t++) {
        float score[EXPERTS];
        int32_t first = 0, second = -1;
        for (int32_t e = 0; e < EXPERTS; e++) score[e] = product(w + (size_t)e * o->n_cols, o->x + t * o->n_cols, o->n_cols);
        for (int32_t e = 1; e < EXPERTS; e++) first = score[e] > score[first] ? e : first;
        for (int32_t e = 0; e < EXPERTS; e++) {
            if (e != first && (second < 0 || score[e] > score[second])) second = e;
        }
        s->chosen[t][0] = first;
        s->chosen[t][1] = second;
    }
    s->n = o->n_tokens;
    s->routers += o->n_tokens;
}

/* Computes what goes into each step of a layer of experts from what went into the steps before. */
static void look_at_experts(void *ctx, const kq_observation *o) {
    experts_seen *s = ctx;
    const float *w = kq_gguf_tensor_find(s->file, o->weight)->data;
    bool gate = strstr(o->weight, "ffn_gate_exps") != NULL, up = strstr(o->weight, "ffn_up_exps") != NULL;
    if (strstr(o->weight, "ffn_gate_inp")) route(s, o, w);
    if (!strstr(o->weight, "_exps")) {
        assert_true(o->n_experts == 0 && o->n_used == 0 && !o->experts && o->n_x == 1);
        return;
    }
    assert_true(o->n_tokens == s->n && o->n_experts == EXPERTS && o->n_used == USED);
    assert_int_equal(o->n_x, gate || up ? 1 : USED);
    assert_int_equal(o->n_cols, gate || up ? s->n_embd : FF);
    assert_memory_equal(o->experts, s->chosen, s->n * sizeof *s->chosen);
    s->products += s->n * USED;
    for (size_t t = 0; t < s->n; t++) {
        for (size_t u = 0; u < USED; u++) {
            const float *matrix = w + (size_t)s->chosen[t][u] * o->n_cols * FF;
            float *hidden = s->hidden[t][u];
            if (!gate && !up) assert_memory_equal(o->x + (t * USED + u) * FF, hidden, FF * sizeof *hidden);
            for (size_t f = 0; f < FF && (gate || up); f++) {
                float y = product(matrix + f * o->n_cols, o->x + t * o->n_cols, o->n_cols);
                hidden[f] = gate ? kq_silu(y) : hidden[f] * y;
            }
        }
    }
}

/* Of a mixture of experts: who was chosen, and each one's own rows, in batches of any size; in the last layer only the tokens whose logits
 * are wanted. */
static void observed_experts(void **state) {
    (void)state;
    static experts_seen s;
    kq_gguf *g;
    kq_model *m;
    kq_model_options mo = KQ_OPTIONS_INIT(kq_model_options);
    mo.no_tokenizer = true;
    spec *sp = spec_open("llama-moe");
    bytes b = spec_file(sp, NULL);
    spec_close(sp);
    assert_int_equal(kq_gguf_open_memory(&g, b.data, b.size, "test", NULL, NULL), KQ_OK);
    assert_int_equal(kq_model_open_file(&m, g, &mo, NULL), KQ_OK);
    size_t n_layer = (size_t)kq_model_describe(m).n_layer, n_logits[] = {N, 3, 0};
    for (size_t i = 0; i < KQ_COUNT(n_logits); i++) {
        for (uint32_t n_batch = 5; n_batch <= N; n_batch += N - 5) {
            static float logits[N][VOCAB];
            kq_session *session;
            kq_session_options o = options_of(N, n_batch);
            s = (experts_seen){.file = kq_model_file(m), .n_embd = 256};
            o.observe = look_at_experts;
            o.observe_ctx = &s;
            assert_int_equal(kq_session_open(&session, m, &o, NULL), KQ_OK);
            assert_int_equal(kq_session_append(session, tokens, N, logits[0], n_logits[i], NULL), KQ_OK);
            assert_int_equal(s.routers, (n_layer - 1) * N + n_logits[i]);
            assert_int_equal(s.products, 3 * USED * s.routers);
            kq_session_close(session);
        }
    }
    kq_model_close(m);
    bytes_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(observed), cmocka_unit_test(observed_rows), cmocka_unit_test(observed_experts),
        cmocka_unit_test(any_batches), cmocka_unit_test(any_number_of_logits), cmocka_unit_test(nothing_to_append), cmocka_unit_test(refused),
        cmocka_unit_test(options_refused), cmocka_unit_test(rewind_is_as_new), cmocka_unit_test(reuse), cmocka_unit_test(bytes_are_exact),
        cmocka_unit_test(allocations_fail), cmocka_unit_test(two_threads_share_a_model), cmocka_unit_test(fast_mode_is_one_result),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
