/* SPDX-License-Identifier: MIT */
/* Makes the model of a plan: a writer asks for one tensor after the other, and each is streamed from the source through the encoder to
 * the writer's file. There are two writers, a GGUF's and a checkpoint's; both can take up what an earlier run left. */
#include "quant/encode.h"

#include "convert/convert.h"
#include "file/output.h"

#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

typedef struct maker {
    const kq_quant_plan *plan;
    kq_quantize_model_options o;
    kq_allocator allocator;
    uint64_t done, total; /* weights of tensors that this run makes */
    struct item *items;
} maker;

typedef struct item { /* one tensor of the output */
    maker *m;
    size_t index;
    const kq_quant_choice *choice;
    double error, seconds;
} item;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- one tensor ------------------------------------------------------------------------------------------------------ */

static void tell(const item *it, bool kept) {
    maker *m = it->m;
    if (!m->o.report) return;
    kq_quantize_report r = {.choice = it->choice, .index = it->index, .error = it->error, .seconds = it->seconds, .kept = kept};
    m->o.report(m->o.ctx, &r);
}

static bool progress(void *ctx, uint64_t weights) {
    const item *it = ctx;
    const maker *m = it->m;
    return !m->o.progress || m->o.progress(m->o.ctx, it->choice, m->done + weights, m->total);
}

static kq_status read_importances(const maker *m, const kq_quant_choice *c, float **out, kq_error *err) {
    const kq_gguf_tensor *t = c->tensor;
    uint64_t n;
    bool found;
    *out = NULL;
    if (!c->weighted) return KQ_OK;
    if (!kq_mul(t->dims[0], t->dims[2], &n)) return kq_fail_memory(err, UINT64_MAX, "importances");
    *out = kq_alloc_raw(&m->allocator, n, sizeof **out);
    if (!*out) return kq_fail_memory(err, n * sizeof **out, "importances");
    return kq_imatrix_weights(m->plan->imatrix, t->name.data, t->dims[0], t->dims[2], *out, &found, err);
}

static kq_status produce(void *ctx, kq_status (*put)(void *sink, const void *data, size_t size, kq_error *err), void *sink, kq_error *err) {
    item *it = ctx;
    maker *m = it->m;
    double begin = now();
    float *importances;
    kq_status status = read_importances(m, it->choice, &importances, err);
    if (!status) {
        kq_encode_job j = {.allocator = m->allocator, .pool = m->o.pool, .source = m->plan->source, .choice = it->choice,
                           .importances = importances, .measure = !m->o.no_error, .put = put, .sink = sink, .progress = progress,
                           .progress_ctx = it};
        status = kq_encode_tensor(&j, &it->error, err);
    }
    kq_free(&m->allocator, importances);
    it->seconds = now() - begin;
    return status;
}

/* The writer's file holds it: what the next run should know, should there be one. */
static void note(void *ctx, double out[2]) {
    const item *it = ctx;
    out[0] = it->error;
    out[1] = it->seconds;
    it->m->done += it->choice->tensor->weights;
    tell(it, false);
}

static kq_status keep(void *ctx, const double in[2], kq_error *err) {
    item *it = ctx;
    it->error = in[0];
    it->m->total -= it->choice->tensor->weights;
    tell(it, true);
    return progress(it, 0) ? KQ_OK : kq_fail(err, KQ_E_CANCELLED, "stopped");
}

/* ---- writers --------------------------------------------------------------------------------------------------------- */

static kq_status fill_gguf(maker *m, kq_gguf_writer *w, kq_error *err) {
    const kq_quant_plan *p = m->plan;
    for (size_t i = 0; i < p->n_values; i++) {
        const kq_gguf_value *v = &p->values[i];
        KQ_TRY(kq_gguf_writer_value(w, v->key.data, v->kind, v->element, v->count, v->data, (size_t)v->size, err));
    }
    for (size_t i = 0; i < p->n_choices; i++) {
        const kq_gguf_tensor *t = p->choices[i].tensor;
        KQ_TRY(kq_gguf_writer_tensor(w, t->name.data, p->choices[i].codec, t->n_dims, t->dims, NULL, produce, &m->items[i], err));
    }
    return KQ_OK;
}

static kq_status write_gguf(maker *m, const char *out, const kq_resume *resume, kq_error *err) {
    kq_gguf_options o = KQ_OPTIONS_INIT(kq_gguf_options);
    kq_gguf_writer *w;
    o.allocator = &m->allocator;
    KQ_TRY(kq_gguf_writer_open_resumable(&w, out, &o, resume, err));
    kq_status status = fill_gguf(m, w, err);
    if (!status) status = kq_gguf_writer_finish(w, err);
    kq_gguf_writer_close(w);
    return status;
}

static kq_status fill_checkpoint(maker *m, kq_checkpoint_writer *w, kq_error *err) {
    for (size_t i = 0; i < m->plan->n_choices; i++) {
        const kq_quant_choice *c = &m->plan->choices[i];
        KQ_TRY(kq_checkpoint_writer_tensor(w, c->tensor->name.data, c->codec, c->tensor->n_dims, c->tensor->dims, NULL, produce, &m->items[i], err));
    }
    return KQ_OK;
}

static kq_status write_checkpoint(maker *m, const char *out, const kq_resume *resume, kq_error *err) {
    kq_checkpoint_options o = KQ_OPTIONS_INIT(kq_checkpoint_options);
    kq_checkpoint_writer *w;
    o.allocator = &m->allocator;
    o.max_shard_bytes = m->o.max_shard_bytes;
    KQ_TRY(kq_checkpoint_writer_open_resumable(&w, out, m->plan->source, &o, resume, err));
    kq_status status = fill_checkpoint(m, w, err);
    if (!status) status = kq_checkpoint_writer_finish(w, err);
    kq_checkpoint_writer_close(w);
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------- */

static void hash_imatrix(XXH3_state_t *h, const kq_imatrix *im) {
    for (size_t i = 0; i < kq_imatrix_n_entries(im); i++) {
        const kq_imatrix_entry *e = kq_imatrix_entry_at(im, i);
        uint64_t shape[] = {e->name.size, e->columns, e->groups};
        XXH3_128bits_update(h, shape, sizeof shape);
        XXH3_128bits_update(h, e->name.data, e->name.size);
        XXH3_128bits_update(h, e->sums, (size_t)(e->columns * e->groups) * sizeof *e->sums);
        XXH3_128bits_update(h, e->counts, (size_t)e->groups * sizeof *e->counts);
    }
}

/* Everything that decides the bytes of the tensors: the source's files, the choices, the importances, the encoders. */
static kq_status identify(const maker *m, uint64_t out[2], kq_error *err) {
    const kq_quant_plan *p = m->plan;
    XXH3_state_t *h = kq_alloc(&m->allocator, 1, sizeof *h);
    if (!h) return kq_fail_memory(err, sizeof *h, "a hash");
    XXH3_128bits_reset(h);
    XXH3_128bits_update(h, KQ_VERSION, sizeof KQ_VERSION);
    uint64_t stamp = kq_gguf_stamp(p->source);
    XXH3_128bits_update(h, &stamp, sizeof stamp);
    for (size_t i = 0; i < p->n_choices; i++) {
        const kq_quant_choice *c = &p->choices[i];
        uint64_t words[] = {c->tensor->name.size, c->tensor->n_dims, c->tensor->codec, c->codec, c->copied, c->weighted, c->bytes};
        XXH3_128bits_update(h, words, sizeof words);
        XXH3_128bits_update(h, c->tensor->dims, sizeof c->tensor->dims);
        XXH3_128bits_update(h, c->tensor->name.data, c->tensor->name.size);
    }
    if (p->imatrix) hash_imatrix(h, p->imatrix);
    XXH128_hash_t hash = XXH3_128bits_digest(h);
    kq_free(&m->allocator, h);
    out[0] = hash.low64;
    out[1] = hash.high64;
    return KQ_OK;
}

static kq_status make(maker *m, const char *out, kq_error *err) {
    const kq_quant_plan *p = m->plan;
    kq_resume resume = {.anew = m->o.anew, .note = note, .keep = keep};
    KQ_TRY(identify(m, resume.identity, err));
    m->items = kq_alloc(&m->allocator, p->n_choices, sizeof *m->items);
    if (!m->items) return kq_fail_memory(err, p->n_choices * sizeof *m->items, "a model's tensors");
    for (size_t i = 0; i < p->n_choices; i++) {
        m->items[i] = (item){.m = m, .index = i, .choice = &p->choices[i], .error = -1};
        m->total += p->choices[i].tensor->weights; /* the plan has added them up */
    }
    return (m->o.form == KQ_FORM_GGUF ? write_gguf : write_checkpoint)(m, out, &resume, err);
}

kq_status kq_quantize_model(const kq_quant_plan *plan, const char *out, const kq_quantize_model_options *options, kq_error *err) {
    if (!plan || !out || !*out) return kq_fail(err, KQ_E_ARGUMENT, "kq_quantize_model: %s", plan ? "the output has no name" : "plan is NULL");
    maker m = {.plan = plan};
    kq_options_read(&m.o, sizeof m.o, options);
    m.allocator = kq_allocator_of(m.o.allocator);
    if (m.o.form != KQ_FORM_GGUF && m.o.form != KQ_FORM_CHECKPOINT) {
        return kq_fail(err, KQ_E_ARGUMENT, "kq_quantize_model: form %d is not known", (int)m.o.form);
    }
    if (kq_gguf_is_file(plan->source, out)) {
        return kq_fail_at(err, KQ_E_ARGUMENT, out, KQ_NO_OFFSET, "is the source itself: choose another name for the output");
    }
    kq_status status = make(&m, out, err);
    kq_free(&m.allocator, m.items);
    return status;
}
