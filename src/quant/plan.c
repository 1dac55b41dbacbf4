/* SPDX-License-Identifier: MIT */
/* The plan: walks the tensors in the order of the output, asks the rules for a codec, and settles what a codec asks for: blocks that divide
 * the rows, importances, leave to encode again what is encoded. */
#include "quant/quant.h"

#include <stdio.h>

typedef unsigned long long ull; /* for printf */

typedef struct override {
    const char *glob;
    kq_codec codec;
    bool keep;
    bool met; /* a tensor that may be quantised matches */
} override;

typedef struct planner {
    kq_quant_plan *plan;
    const kq_quant_plan_options *o;
    const kq_quant_type *type;
    kq_mixture mixture;
    override *overrides;
    bool has_output, has_embedding;
    kq_codec output, embedding;
    kq_error *err;
} planner;

/* What the rules say of one tensor. */
typedef struct verdict {
    bool keep;
    kq_codec codec;
    char reason[160];
} verdict;

/* ---- options ------------------------------------------------------------------------------------------------------- */

static kq_status find_codec(const char *name, const char *what, kq_codec *out, kq_error *err) {
    const kq_codec_info *info = kq_codec_find(name);
    if (!info) return kq_fail(err, KQ_E_ARGUMENT, "%s: no codec is named '%s'", what, name);
    if (!info->decodes) return kq_fail(err, KQ_E_ARGUMENT, "%s: %s holds no weights", what, info->name);
    *out = info->codec;
    return KQ_OK;
}

static kq_status read_overrides(planner *p) {
    const kq_quant_plan_options *o = p->o;
    if (o->n_overrides == 0) return KQ_OK;
    if (!o->overrides) return kq_fail(p->err, KQ_E_ARGUMENT, "kq_quant_plan_open: overrides is NULL");
    p->overrides = kq_arena_alloc(&p->plan->arena, o->n_overrides, sizeof *p->overrides);
    if (!p->overrides) return kq_fail_memory(p->err, o->n_overrides * sizeof *p->overrides, "a quantisation plan");
    for (size_t i = 0; i < o->n_overrides; i++) {
        const char *pattern = o->overrides[i].pattern, *codec = o->overrides[i].codec;
        if (!pattern || !codec) return kq_fail(p->err, KQ_E_ARGUMENT, "kq_quant_plan_open: override %zu is NULL", i);
        char what[64], glob[512];
        snprintf(what, sizeof what, "override %.48s", pattern);
        const char *why = kq_glob_check(pattern);
        if (why) return kq_fail(p->err, KQ_E_ARGUMENT, "%s: %s", what, why);
        if (strlen(pattern) > sizeof glob - 3) return kq_fail(p->err, KQ_E_ARGUMENT, "%s: longer than %zu characters", what, sizeof glob - 3);
        snprintf(glob, sizeof glob, "*%s*", pattern);
        p->overrides[i].glob = kq_arena_string(&p->plan->arena, glob, strlen(glob));
        if (!p->overrides[i].glob) return kq_fail_memory(p->err, strlen(glob), "a quantisation plan");
        p->overrides[i].keep = strcmp(codec, "keep") == 0;
        if (!p->overrides[i].keep) KQ_TRY(find_codec(codec, what, &p->overrides[i].codec, p->err));
    }
    return KQ_OK;
}

static kq_status read_options(planner *p) {
    const kq_quant_plan_options *o = p->o;
    int n = (o->type != NULL) + (o->preset != NULL) + (o->recipe != NULL) + (o->target_bpw != 0.0 || o->target_bytes != 0);
    if (n != 1) return kq_fail(p->err, KQ_E_ARGUMENT, "a plan begins with one of type, preset, recipe and target, not with %d", n);
    if (!o->type) return kq_fail(p->err, KQ_E_UNSUPPORTED, "only types are supported");
    p->type = kq_quant_type_find(o->type);
    if (!p->type) return kq_fail(p->err, KQ_E_ARGUMENT, "no quantisation type is named '%s'", o->type);
    if (o->output_codec) {
        p->has_output = true;
        KQ_TRY(find_codec(o->output_codec, "the output's codec", &p->output, p->err));
    }
    if (o->embedding_codec) {
        p->has_embedding = true;
        KQ_TRY(find_codec(o->embedding_codec, "the embedding's codec", &p->embedding, p->err));
    }
    return read_overrides(p);
}

/* ---- rules --------------------------------------------------------------------------------------------------------- */

static override *find_override(planner *p, const char *name) {
    override *last = NULL;
    for (size_t i = 0; i < p->o->n_overrides; i++) {
        if (!kq_glob_matches(p->overrides[i].glob, name)) continue;
        p->overrides[i].met = true;
        last = &p->overrides[i];
    }
    return last;
}

/* A tensor that overrides settle is not shown to the mixture, whose counters stay behind: as in llama.cpp. */
static kq_status judge(planner *p, const kq_gguf_tensor *t, verdict *v) {
    const char *name = t->name.data;
    const kq_quant_type *type = p->type;
    kq_name_class class = kq_name_classify(name);
    override *over = find_override(p, name);
    bool embedding = class == KQ_CLASS_EMBEDDING, output = class == KQ_CLASS_OUTPUT;
    if (over && strcmp(name, "per_layer_token_embd.weight") == 0) embedding = false;
    v->keep = false;
    if (embedding && p->has_embedding) {
        v->codec = p->embedding;
        snprintf(v->reason, sizeof v->reason, "the embedding's codec was given");
    } else if (output && p->has_output) {
        v->codec = p->output;
        snprintf(v->reason, sizeof v->reason, "the output's codec was given");
    } else if (over) {
        v->keep = over->keep;
        v->codec = over->codec;
        snprintf(v->reason, sizeof v->reason, "override %.*s", (int)strlen(over->glob) - 2, over->glob + 1);
    } else if (embedding && p->mixture.tied && p->has_output) {
        v->codec = p->output;
        snprintf(v->reason, sizeof v->reason, "the output's codec was given, and the embedding is the output");
    } else if (p->o->pure || kq_codec_describe(type->codec)->block_weights == 1) {
        v->codec = type->codec;
        snprintf(v->reason, sizeof v->reason, p->o->pure ? "%s, pure" : "%s", type->name);
    } else {
        KQ_TRY(kq_mixture_choose(&p->mixture, t, &v->codec, p->err));
        snprintf(v->reason, sizeof v->reason, v->codec == type->codec ? "%s" : "%s's mixture", type->name);
    }
    return KQ_OK;
}

/* ---- what a codec asks for ----------------------------------------------------------------------------------------- */

/* llama.cpp encodes these only with importances: their search means little without. */
static bool needs_importances(const planner *p, const kq_gguf_tensor *t, kq_codec codec) {
    if (kq_codec_describe(codec)->needs_importances) return true;
    kq_name_class class = kq_name_classify(t->name.data);
    if (!p->type || class == KQ_CLASS_OUTPUT || class == KQ_CLASS_EMBEDDING) return false;
    switch (codec) {
    case KQ_IQ1_M: case KQ_IQ2_S: case KQ_IQ3_XXS: return true;
    case KQ_Q2_K: return p->type->file_type == kq_quant_type_find("Q2_K_S")->file_type;
    default: return false;
    }
}

static kq_status settle_importances(planner *p, const kq_gguf_tensor *t, kq_quant_choice *c) {
    const kq_imatrix *im = p->plan->imatrix;
    const kq_codec_info *codec = kq_codec_describe(c->codec);
    bool needed = needs_importances(p, t, c->codec), found = false;
    if (codec->block_weights == 1) return KQ_OK;
    if (!im && needed) {
        return kq_fail(p->err, KQ_E_ARGUMENT, "tensor %s becomes %s, which needs an importance matrix", KQ_SHOW(t->name), codec->name);
    }
    if (im) {
        kq_status status = kq_imatrix_weights(im, t->name.data, t->dims[0], t->dims[2], NULL, &found, p->err);
        if (status && kq_name_classify(t->name.data) != KQ_CLASS_EMBEDDING) return status; /* an embedding's may be of another kind */
        if (status) found = false;
    }
    if (im && needed && !found) {
        return kq_fail(p->err, KQ_E_ARGUMENT, "tensor %s becomes %s, which needs importances: the matrix has none for it", KQ_SHOW(t->name),
                       codec->name);
    }
    c->weighted = found;
    return KQ_OK;
}

static kq_status settle(planner *p, const kq_gguf_tensor *t, verdict *v, kq_quant_choice *c) {
    const kq_codec_info *old = kq_codec_describe(t->codec);
    c->wanted = c->codec = t->codec;
    c->bytes = t->bytes;
    c->copied = true;
    if (v->keep) return KQ_OK;
    c->wanted = v->codec;
    if (!kq_fallback(v->codec, t->dims[0], &c->codec)) {
        return kq_fail(p->err, KQ_E_ARGUMENT, "tensor %s: its rows of %llu are no whole blocks of %s, and nothing stands in for that",
                       KQ_SHOW(t->name), (ull)t->dims[0], kq_codec_describe(v->codec)->name);
    }
    const kq_codec_info *codec = kq_codec_describe(c->codec);
    if (c->codec != c->wanted) {
        size_t n = strlen(v->reason);
        snprintf(v->reason + n, sizeof v->reason - n, "; rows of %llu are no whole blocks of %s", (ull)t->dims[0],
                 kq_codec_describe(c->wanted)->name);
    }
    if (c->codec == t->codec) return KQ_OK;
    if (!old->decodes) return kq_fail(p->err, KQ_E_UNSUPPORTED, "tensor %s is in %s, which holds no weights", KQ_SHOW(t->name), old->label);
    if (old->block_weights > 1 && !p->o->allow_requantize) {
        return kq_fail(p->err, KQ_E_UNSUPPORTED, "tensor %s is quantised already (%s); encoding it again as %s must be allowed by name",
                       KQ_SHOW(t->name), old->name, codec->name);
    }
    if (t->dims[3] > 1) return kq_fail(p->err, KQ_E_UNSUPPORTED, "tensor %s has 4 dims", KQ_SHOW(t->name));
    c->copied = false;
    uint64_t row_bytes;
    KQ_TRY(kq_row_bytes(c->codec, t->dims[0], &row_bytes, p->err));
    if (!kq_mul(row_bytes, t->weights / t->dims[0], &c->bytes)) {
        return kq_fail(p->err, KQ_E_LIMIT, "tensor %s is too large", KQ_SHOW(t->name));
    }
    return settle_importances(p, t, c);
}

static kq_status choose(planner *p, const kq_gguf_tensor *t, kq_quant_choice *c) {
    verdict v = {0};
    const char *never = kq_never_quantised(t);
    *c = (kq_quant_choice){.tensor = t, .role = "", .error = -1.0};
    if (never) {
        v.keep = true;
        snprintf(v.reason, sizeof v.reason, "never quantised: %s", never);
    } else if (p->type->file_type == UINT32_MAX) {
        v.keep = true;
        snprintf(v.reason, sizeof v.reason, "%s", p->type->name);
    } else {
        KQ_TRY(judge(p, t, &v));
    }
    KQ_TRY(settle(p, t, &v, c));
    c->reason = kq_arena_string(&p->plan->arena, v.reason, strlen(v.reason));
    return c->reason ? KQ_OK : kq_fail_memory(p->err, sizeof v.reason, "a quantisation plan");
}

/* ---- the whole ----------------------------------------------------------------------------------------------------- */

static bool before(const void *ctx, uint32_t a, uint32_t b) {
    const char *x = kq_gguf_tensor_at(ctx, a)->name.data, *y = kq_gguf_tensor_at(ctx, b)->name.data;
    int64_t i = kq_name_layer(x), k = kq_name_layer(y);
    return i != k ? i < k : strcmp(x, y) < 0;
}

static kq_status choose_all(planner *p) {
    kq_quant_plan *plan = p->plan;
    size_t n = kq_gguf_n_tensors(plan->source);
    uint32_t *order = kq_alloc_raw(&plan->allocator, n, sizeof *order);
    plan->choices = kq_alloc(&plan->allocator, n, sizeof *plan->choices);
    if (!order || !plan->choices) {
        kq_free(&plan->allocator, order);
        return kq_fail_memory(p->err, n * sizeof *plan->choices, "a quantisation plan");
    }
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    kq_sort_indices(order, n, before, plan->source);
    kq_status status = KQ_OK;
    for (size_t i = 0; i < n && !status; i++) {
        status = choose(p, kq_gguf_tensor_at(plan->source, order[i]), &plan->choices[i]);
        plan->n_choices = i + 1;
    }
    kq_free(&plan->allocator, order);
    for (size_t i = 0; i < p->o->n_overrides && !status; i++) {
        if (p->overrides[i].met) continue;
        status = kq_fail(p->err, KQ_E_ARGUMENT, "override %.80s=%.16s: no tensor that may be quantised matches", p->o->overrides[i].pattern,
                         p->o->overrides[i].codec);
    }
    return status;
}

static kq_status make(kq_quant_plan *plan, const kq_quant_plan_options *o, kq_error *err) {
    planner p = {.plan = plan, .o = o, .err = err};
    KQ_TRY(read_options(&p));
    KQ_TRY(kq_mixture_init(&p.mixture, plan->source, p.type, o->imatrix && kq_imatrix_n_entries(o->imatrix) > 0, err));
    KQ_TRY(choose_all(&p));
    plan->file_type = p.type->file_type;
    return kq_quant_plan_finish(plan, o, err);
}

kq_status kq_quant_plan_open(kq_quant_plan **out, const kq_gguf *source, const kq_quant_plan_options *options, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "kq_quant_plan_open: out is NULL");
    *out = NULL;
    if (!source) return kq_fail(err, KQ_E_ARGUMENT, "kq_quant_plan_open: source is NULL");
    kq_quant_plan_options o;
    kq_options_read(&o, sizeof o, options);
    kq_allocator a = kq_allocator_of(o.allocator);
    kq_quant_plan *p = kq_alloc(&a, 1, sizeof *p);
    if (!p) return kq_fail_memory(err, sizeof *p, "a quantisation plan");
    p->allocator = a;
    p->source = source;
    p->imatrix = o.imatrix && kq_imatrix_n_entries(o.imatrix) > 0 ? o.imatrix : NULL;
    kq_arena_init(&p->arena, &a);
    kq_status status = make(p, &o, err);
    if (status) kq_quant_plan_close(p);
    else *out = p;
    return status;
}

void kq_quant_plan_close(kq_quant_plan *p) {
    if (!p) return;
    kq_allocator a = p->allocator;
    kq_free(&a, p->choices);
    kq_free(&a, p->values);
    kq_arena_free(&p->arena);
    kq_free(&a, p);
}

size_t kq_quant_plan_size(const kq_quant_plan *p) { return p->n_choices; }
const kq_quant_choice *kq_quant_plan_at(const kq_quant_plan *p, size_t i) { return i < p->n_choices ? &p->choices[i] : NULL; }
const kq_gguf *kq_quant_plan_source(const kq_quant_plan *p) { return p->source; }
const kq_imatrix *kq_quant_plan_imatrix(const kq_quant_plan *p) { return p->imatrix; }
size_t kq_quant_plan_n_values(const kq_quant_plan *p) { return p->n_values; }
const kq_gguf_value *kq_quant_plan_value_at(const kq_quant_plan *p, size_t i) { return i < p->n_values ? &p->values[i] : NULL; }
uint32_t kq_quant_plan_file_type(const kq_quant_plan *p) { return p->file_type; }
uint64_t kq_quant_plan_tensor_bytes(const kq_quant_plan *p) { return p->tensor_bytes; }
uint64_t kq_quant_plan_file_bytes(const kq_quant_plan *p) { return p->file_bytes; }
double kq_quant_plan_bpw(const kq_quant_plan *p) { return p->weights ? 8.0 * (double)p->tensor_bytes / (double)p->weights : 0.0; }
