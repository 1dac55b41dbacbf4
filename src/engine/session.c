/* SPDX-License-Identifier: MIT */
/* Sessions: one sequence of tokens, its state, and the memory in which a model's program runs.
 *
 * A session is two pieces of memory, taken when it opens: the state (KV cache), and one block that holds the session itself, its bound
 * slots, its tokens, the arena of temporaries and the scratch of operations. Logits are written where the caller wants them. After the
 * arguments are checked nothing can fail, so a failed call has changed nothing. */
#include "engine/engine.h"

#include "cpu/cpu.h"

struct kq_session {
    kq_allocator allocator;
    const kq_model *model;
    kq_cpu_table table;
    kq_exec exec;
    uint8_t *state;
    kq_tensor *slots;
    int32_t *tokens;       /* [n_ctx] */
    int32_t *numbers;      /* [n_ctx] 0, 1, 2 ...: positions and wanted rows are pieces of it */
    size_t length, n_ctx, n_batch;
    kq_symbols symbols;    /* for which the slots are bound */
    void (*observe)(void *ctx, const kq_observation *o);
    void *observe_ctx;
};

/* ---- memory -------------------------------------------------------------------------------------------------------- */

/* Where everything lies; made before anything is taken. */
typedef struct layout {
    kq_session_options o;  /* complete */
    kq_plan plan;
    kq_tensor *slots;      /* bound at the largest symbols; data not set */
    uint64_t *state_at;    /* of every slot of state */
    uint64_t state;        /* bytes */
    uint64_t slots_at, tokens_at, numbers_at, arena_at, scratch_at, block; /* in the block; its bytes */
} layout;

static kq_status complete_options(kq_session_options *o, const kq_model *m, const kq_session_options *given, kq_error *err) {
    kq_options_read(o, sizeof *o, given);
    if (o->mode != KQ_FAST && o->mode != KQ_EXACT) return kq_fail(err, KQ_E_ARGUMENT, "mode is %d", (int)o->mode);
    if (o->state_type != KQ_STATE_F16 && o->state_type != KQ_STATE_F32) return kq_fail(err, KQ_E_ARGUMENT, "state_type is %d", (int)o->state_type);
    if (o->n_ctx == 0) o->n_ctx = (uint32_t)KQ_MIN(m->info.n_ctx_train, 4096);
    if (o->n_ctx > KQ_MAX_POSITIONS) return kq_fail(err, KQ_E_ARGUMENT, "n_ctx is %u, the most is %d", o->n_ctx, KQ_MAX_POSITIONS);
    if (o->n_batch == 0) o->n_batch = 512;
    if (o->n_batch > KQ_MAX_BATCH) return kq_fail(err, KQ_E_ARGUMENT, "n_batch is %u, the most is %d", o->n_batch, KQ_MAX_BATCH);
    o->n_batch = KQ_MIN(o->n_batch, o->n_ctx);
    if (o->cpu_mask == 0) o->cpu_mask = KQ_CPU_ALL;
    return KQ_OK;
}

static void bind_dims(kq_tensor *slots, const kq_program *p, const kq_symbols *symbols) {
    for (size_t i = 0; i < p->n_slots; i++) {
        for (int d = 0; d < p->slots[i].n_dims; d++) slots[i].dims[d] = kq_dim_value(p->slots[i].dims[d], symbols);
    }
}

static void bind_slots(kq_tensor *slots, const kq_program *p, bool f32_state) {
    for (size_t i = 0; i < p->n_slots; i++) {
        const kq_slot *s = &p->slots[i];
        kq_tensor *t = &slots[i];
        *t = (kq_tensor){.n_dims = s->n_dims, .type = s->type, .codec = s->codec};
        if (s->kind == KQ_SLOT_STATE) t->codec = f32_state ? KQ_F32 : KQ_F16;
        if (s->kind == KQ_SLOT_WEIGHT) {
            uint64_t rows = 1;
            for (int d = 0; d + 1 < s->n_dims; d++) rows *= (uint64_t)s->dims[d]; /* verified */
            t->row_bytes = s->bytes / rows;
            memcpy(&t->data, &s->data, sizeof t->data); /* drops the const: weights are not written through it */
        }
    }
}

static bool take(uint64_t *total, uint64_t n, uint64_t size, uint64_t *at) {
    uint64_t bytes;
    *at = *total;
    return kq_mul(n, size, &bytes) && kq_round_up(bytes, 64, &bytes) && kq_add(*total, bytes, total) && *total <= INT64_MAX;
}

static void layout_free(layout *l, const kq_allocator *a) {
    kq_plan_free(&l->plan, a);
    kq_free(a, l->slots);
    kq_free(a, l->state_at);
}

static kq_status layout_make(layout *l, const kq_model *m, const kq_allocator *a, kq_error *err) {
    const kq_program *p = &m->program;
    const kq_symbols largest = {{l->o.n_batch, l->o.n_batch, l->o.n_ctx}};
    KQ_TRY(kq_plan_make(&l->plan, p, &largest, a, err));
    l->slots = kq_alloc(a, p->n_slots, sizeof *l->slots);
    l->state_at = kq_alloc(a, p->n_slots, sizeof *l->state_at);
    if (!l->slots || !l->state_at) return kq_fail_memory(err, p->n_slots * sizeof *l->slots, "a session");
    bind_slots(l->slots, p, l->o.state_type == KQ_STATE_F32);
    bind_dims(l->slots, p, &largest);

    uint64_t at, scratch, element = l->o.state_type == KQ_STATE_F32 ? sizeof(float) : sizeof(uint16_t);
    bool fits = true;
    for (size_t i = 0; i < p->n_slots; i++) {
        uint64_t bytes;
        if (p->slots[i].kind != KQ_SLOT_STATE) continue;
        fits = fits && kq_slot_bytes(&p->slots[i], &largest, &bytes) && take(&l->state, bytes / sizeof(float), element, &l->state_at[i]);
    }
    fits = fits && take(&l->block, 1, sizeof(kq_session), &at);
    fits = fits && take(&l->block, p->n_slots, sizeof(kq_tensor), &l->slots_at);
    fits = fits && take(&l->block, l->o.n_ctx, sizeof(int32_t), &l->tokens_at);
    fits = fits && take(&l->block, l->o.n_ctx, sizeof(int32_t), &l->numbers_at);
    fits = fits && take(&l->block, l->plan.bytes, 1, &l->arena_at);
    fits = fits && kq_exec_scratch(p->steps, p->n_steps, l->slots, kq_pool_threads(l->o.pool), &scratch);
    fits = fits && take(&l->block, scratch, 1, &l->scratch_at);
    return fits ? KQ_OK : kq_fail(err, KQ_E_ARGUMENT, "n_ctx %u and n_batch %u need more memory than there is", l->o.n_ctx, l->o.n_batch);
}

kq_status kq_session_bytes(const kq_model *m, const kq_session_options *options, uint64_t *state, uint64_t *scratch, kq_error *err) {
    if (state) *state = 0;
    if (scratch) *scratch = 0;
    if (!m || !state || !scratch) return kq_fail(err, KQ_E_ARGUMENT, "model, state or scratch is NULL");
    layout l = {0};
    KQ_TRY(complete_options(&l.o, m, options, err));
    kq_allocator a = kq_allocator_of(l.o.allocator);
    kq_status status = layout_make(&l, m, &a, err);
    if (!status) *state = l.state, *scratch = l.block;
    layout_free(&l, &a);
    return status;
}

/* ---- open and close ------------------------------------------------------------------------------------------------ */

static void session_init(kq_session *s, const kq_model *m, const layout *l, const kq_allocator *a, uint8_t *state) {
    uint8_t *block = (uint8_t *)s;
    const kq_program *p = &m->program;
    *s = (kq_session){.allocator = *a, .model = m, .state = state, .n_ctx = l->o.n_ctx, .n_batch = l->o.n_batch,
                      .slots = (kq_tensor *)(block + l->slots_at), .tokens = (int32_t *)(block + l->tokens_at),
                      .numbers = (int32_t *)(block + l->numbers_at), .symbols = {{0, 0, l->o.n_ctx}},
                      .observe = l->o.observe, .observe_ctx = l->o.observe_ctx};
    kq_cpu_select(&s->table, kq_cpu_usable(l->o.cpu_mask));
    s->exec = (kq_exec){.table = &s->table, .pool = l->o.pool, .slots = s->slots, .exact = l->o.mode == KQ_EXACT,
                        .scratch = block + l->scratch_at};
    memcpy(s->slots, l->slots, p->n_slots * sizeof *s->slots);
    for (size_t i = 0; i < p->n_slots; i++) {
        if (p->slots[i].kind == KQ_SLOT_STATE) s->slots[i].data = state + l->state_at[i];
        if (p->slots[i].kind == KQ_SLOT_TEMP) s->slots[i].data = block + l->arena_at + l->plan.offset[i];
    }
    for (uint32_t i = 0; i < l->o.n_ctx; i++) s->numbers[i] = (int32_t)i;
}

kq_status kq_session_open(kq_session **out, const kq_model *m, const kq_session_options *options, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!m) return kq_fail(err, KQ_E_ARGUMENT, "model is NULL");
    layout l = {0};
    KQ_TRY(complete_options(&l.o, m, options, err));
    kq_allocator a = kq_allocator_of(l.o.allocator);
    kq_status status = layout_make(&l, m, &a, err);
    if (!status) {
        /* not cleared: a page is real memory only once it is used, and nothing reads what was not written before */
        uint8_t *state = kq_alloc_raw(&a, l.state, 1);
        kq_session *s = state ? kq_alloc_raw(&a, l.block, 1) : NULL;
        if (s) session_init(*out = s, m, &l, &a, state);
        else {
            kq_free(&a, state);
            status = kq_fail_memory(err, l.state + l.block, "a session");
        }
    }
    layout_free(&l, &a);
    return status;
}

void kq_session_close(kq_session *s) {
    if (!s) return;
    kq_allocator a = s->allocator;
    kq_free(&a, s->state);
    kq_free(&a, s);
}

const kq_model *kq_session_model(const kq_session *s) { return s->model; }
size_t kq_session_length(const kq_session *s) { return s->length; }
size_t kq_session_capacity(const kq_session *s) { return s->n_ctx; }
const int32_t *kq_session_tokens(const kq_session *s) { return s->tokens; }

/* ---- evaluation ---------------------------------------------------------------------------------------------------- */

/* Tells of a step that is about to run. Rows of no token are not told. */
static void observe(const kq_session *s, const kq_step *step) {
    if (step->op != KQ_OP_linear && step->op != KQ_OP_linear_gather) return;
    const kq_tensor *w = &s->slots[step->in[0]], *x = &s->slots[step->in[1]];
    kq_observation o = {.weight = s->model->program.slots[step->in[0]].name, .x = x->data, .n_cols = (size_t)w->dims[w->n_dims - 1]};
    if (step->op == KQ_OP_linear_gather) {
        const kq_tensor *idx = &s->slots[step->in[2]];
        o.n_tokens = (size_t)x->dims[0];
        o.n_x = (size_t)x->dims[1];
        o.n_experts = (size_t)w->dims[0];
        o.n_used = (size_t)idx->dims[1];
        o.experts = idx->data;
    } else {
        o.n_tokens = o.n_x = 1;
        for (int d = 0; d + 1 < x->n_dims; d++) o.n_tokens *= (size_t)x->dims[d];
    }
    if (o.n_tokens) s->observe(s->observe_ctx, &o);
}

static void run_observed(const kq_session *s, const kq_program *p) {
    for (size_t i = 0; i < p->n_steps; i++) {
        observe(s, &p->steps[i]);
        kq_exec_run(&s->exec, &p->steps[i], 1);
    }
}

/* Evaluates the n tokens behind the sequence, which become part of it; the logits of the last n_rows go to `logits`. */
static void evaluate(kq_session *s, size_t n, size_t n_rows, float *logits) {
    const kq_model *m = s->model;
    kq_symbols now = {{(int64_t)n, (int64_t)n_rows, (int64_t)s->n_ctx}};
    if (memcmp(&now, &s->symbols, sizeof now) != 0) bind_dims(s->slots, &m->program, &now);
    s->symbols = now;
    s->slots[m->tokens].data = s->tokens + s->length;
    s->slots[m->positions].data = s->numbers + s->length;
    s->slots[m->rows].data = s->numbers + (n - n_rows);
    s->slots[m->logits].data = logits;
    if (s->observe) {
        run_observed(s, &m->program);
    } else {
        kq_exec_run(&s->exec, m->program.steps, m->program.n_steps);
    }
    s->length += n;
}

kq_status kq_session_append(kq_session *s, const int32_t *tokens, size_t n, float *logits, size_t n_logits, kq_error *err) {
    if (!s || (n && !tokens) || (n_logits && !logits)) return kq_fail(err, KQ_E_ARGUMENT, "session, tokens or logits is NULL");
    if (n_logits > n) return kq_fail(err, KQ_E_ARGUMENT, "n_logits is %zu for %zu tokens", n_logits, n);
    if (n > s->n_ctx - s->length) {
        return kq_fail(err, KQ_E_CONTEXT, "%zu tokens do not fit: %zu of %zu are taken", n, s->length, s->n_ctx);
    }
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] < 0 || (uint64_t)tokens[i] >= s->model->info.n_vocab) {
            return kq_fail(err, KQ_E_ARGUMENT, "token %zu is %d, not in 0 to %llu", i, tokens[i], (unsigned long long)s->model->info.n_vocab - 1);
        }
    }
    if (n) memmove(s->tokens + s->length, tokens, n * sizeof *tokens); /* they may be our own, before a rewind */
    for (size_t done = 0; done < n;) {
        size_t batch = KQ_MIN(n - done, s->n_batch), left = n - done - batch; /* behind this batch */
        size_t wanted = n_logits > left ? KQ_MIN(n_logits - left, batch) : 0;
        evaluate(s, batch, wanted, logits);
        if (wanted) logits += wanted * s->model->info.n_vocab;
        done += batch;
    }
    return KQ_OK;
}

kq_status kq_session_rewind(kq_session *s, size_t length, kq_error *err) {
    if (!s) return kq_fail(err, KQ_E_ARGUMENT, "session is NULL");
    if (length > s->length) return kq_fail(err, KQ_E_ARGUMENT, "length %zu is more than the sequence's %zu", length, s->length);
    s->length = length;
    return KQ_OK;
}

size_t kq_session_reuse(kq_session *s, const int32_t *tokens, size_t n) {
    if (!s) return 0;
    if (!tokens) n = 0;
    size_t kept = 0, most = KQ_MIN(s->length, n ? n - 1 : 0);
    while (kept < most && s->tokens[kept] == tokens[kept]) kept++;
    return s->length = kept;
}
