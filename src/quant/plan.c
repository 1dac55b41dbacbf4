/* SPDX-License-Identifier: MIT */
/* The plan: walks the tensors in the order of the output, asks the rules for a codec, and settles what a codec asks for: blocks that divide
 * the rows, importances, leave to encode again what is encoded. */
#include "quant/quant.h"

#include <stdio.h>

typedef unsigned long long ull; /* for printf */

typedef struct planner {
    kq_quant_plan *plan;
    const kq_quant_plan_options *o;
    const kq_quant_type *type; /* or NULL */
    kq_mixture mixture;
    kq_recipe recipe;          /* without a type */
    kq_rule *overrides;
    bool has_output, keep_output, has_embedding, tied;
    kq_codec output, embedding;
    uint64_t *roles;           /* of every tensor of the source */
    uint64_t n_layer;          /* by the names of tensors */
    bool target;
    kq_target_item *items;     /* what a target decides */
    size_t n_items;
    kq_error *err;
} planner;

/* What the rules say of one tensor. */
typedef struct verdict {
    bool keep;
    kq_codec codec;
    char reason[160];
} verdict;

/* ---- options ------------------------------------------------------------------------------------------------------- */

static kq_status read_overrides(planner *p) {
    const kq_quant_plan_options *o = p->o;
    if (o->n_overrides == 0) return KQ_OK;
    if (!o->overrides) return kq_fail(p->err, KQ_E_ARGUMENT, "kq_quant_plan_open: overrides is NULL");
    p->overrides = kq_arena_alloc(&p->plan->arena, o->n_overrides, sizeof *p->overrides);
    if (!p->overrides) return kq_fail_memory(p->err, o->n_overrides * sizeof *p->overrides, "a quantisation plan");
    for (size_t i = 0; i < o->n_overrides; i++) {
        const char *pattern = o->overrides[i].pattern, *codec = o->overrides[i].codec;
        if (!pattern || !codec) return kq_fail(p->err, KQ_E_ARGUMENT, "kq_quant_plan_open: override %zu is NULL", i);
        char what[64];
        snprintf(what, sizeof what, "override %.48s", pattern);
        KQ_TRY(kq_rule_read(&p->overrides[i], &p->plan->arena, pattern, codec, true, what, p->err));
    }
    return KQ_OK;
}

static kq_status read_recipe(planner *p) {
    const char *text = p->o->recipe, *name = p->o->recipe_name ? p->o->recipe_name : "";
    if (p->o->preset) {
        const kq_preset *preset = kq_preset_find(p->o->preset);
        if (!preset) return kq_fail(p->err, KQ_E_ARGUMENT, "no preset is named '%s'", p->o->preset);
        text = preset->recipe;
        name = preset->name;
    }
    return kq_recipe_read(&p->recipe, &p->plan->arena, text, name, p->err);
}

static kq_status read_options(planner *p) {
    const kq_quant_plan_options *o = p->o;
    int n = (o->type != NULL) + (o->preset != NULL) + (o->recipe != NULL) + (o->target_bpw != 0.0 || o->target_bytes != 0);
    if (n != 1) return kq_fail(p->err, KQ_E_ARGUMENT, "a plan begins with one of type, preset, recipe and target, not with %d", n);
    if (o->pure && !o->type) return kq_fail(p->err, KQ_E_ARGUMENT, "pure goes with a type only");
    p->target = o->target_bpw != 0.0 || o->target_bytes != 0;
    if (p->target && o->target_bpw != 0.0 && (o->target_bytes != 0 || !(o->target_bpw > 0.0 && o->target_bpw <= 64.0))) {
        return kq_fail(p->err, KQ_E_ARGUMENT, "a target is bits a weight, above 0 and at most 64, or bytes: not %g and %llu", o->target_bpw,
                       (ull)o->target_bytes);
    }
    if (o->type) {
        p->type = kq_quant_type_find(o->type);
        if (!p->type) return kq_fail(p->err, KQ_E_ARGUMENT, "no quantisation type is named '%s'", o->type);
    } else if (!p->target) {
        KQ_TRY(read_recipe(p));
    }
    if (o->output_codec) {
        p->has_output = true;
        p->keep_output = strcmp(o->output_codec, "keep") == 0;
        if (!p->keep_output) KQ_TRY(kq_codec_read(o->output_codec, "the output's codec", &p->output, p->err));
    }
    if (o->embedding_codec) {
        p->has_embedding = true;
        KQ_TRY(kq_codec_read(o->embedding_codec, "the embedding's codec", &p->embedding, p->err));
    }
    return read_overrides(p);
}

/* Roles, where anybody can say; recipes that go by them cannot do without. */
static kq_status read_roles(planner *p) {
    const kq_gguf *g = p->plan->source;
    size_t n = kq_gguf_n_tensors(g);
    bool needed = p->recipe.by_role;
    for (size_t i = 0; i < p->o->n_overrides; i++) needed |= p->overrides[i].roles != 0;
    p->roles = kq_alloc(&p->plan->allocator, n, sizeof *p->roles);
    if (!p->roles) return kq_fail_memory(p->err, n * sizeof *p->roles, "a quantisation plan");
    for (size_t i = 0; i < n; i++) {
        int64_t layer = kq_name_layer(kq_gguf_tensor_at(g, i)->name.data);
        if (layer >= 0) p->n_layer = KQ_MAX(p->n_layer, (uint64_t)layer + 1);
    }
    kq_status status = kq_roles_read(p->roles, g, &p->plan->allocator, needed ? p->err : NULL);
    return needed || status == KQ_E_MEMORY ? status : KQ_OK;
}

/* ---- rules --------------------------------------------------------------------------------------------------------- */

static const kq_rule *find_override(planner *p, const kq_subject *s) {
    const kq_rule *last = NULL;
    for (size_t i = 0; i < p->o->n_overrides; i++) {
        if (!kq_rule_matches(&p->overrides[i], s, p->n_layer)) continue;
        p->overrides[i].met = true;
        last = &p->overrides[i];
    }
    return last;
}

/* What the options say of single tensors. A tensor that they settle is not shown to the mixture, whose counters stay behind: as in
 * llama.cpp, and so is the precedence. */
static bool judge_by_options(planner *p, const kq_subject *s, verdict *v) {
    const char *name = s->tensor->name.data;
    kq_name_class class = kq_name_classify(name);
    const kq_rule *over = find_override(p, s);
    bool embedding = class == KQ_CLASS_EMBEDDING, output = class == KQ_CLASS_OUTPUT;
    if (over && strcmp(name, "per_layer_token_embd.weight") == 0) embedding = false;
    if (embedding && p->has_embedding) {
        v->codec = p->embedding;
        snprintf(v->reason, sizeof v->reason, "the embedding's codec was given");
    } else if (output && p->has_output) {
        v->keep = p->keep_output;
        v->codec = p->output;
        snprintf(v->reason, sizeof v->reason, "the output's codec was given");
    } else if (over) {
        v->keep = over->keep;
        v->codec = over->codec;
        snprintf(v->reason, sizeof v->reason, "override %.100s", over->text);
    } else if (embedding && p->tied && p->has_output && !p->keep_output) {
        v->codec = p->output;
        snprintf(v->reason, sizeof v->reason, "the output's codec was given, and the embedding is the output");
    } else {
        return false;
    }
    return true;
}

static kq_status judge_by_type(planner *p, const kq_subject *s, verdict *v) {
    const kq_quant_type *type = p->type;
    v->codec = type->codec;
    snprintf(v->reason, sizeof v->reason, p->o->pure ? "%s, pure" : "%s", type->name);
    if (p->o->pure || kq_codec_describe(type->codec)->block_weights == 1) return KQ_OK;
    KQ_TRY(kq_mixture_choose(&p->mixture, s->tensor, &v->codec, p->err));
    if (v->codec != type->codec) snprintf(v->reason, sizeof v->reason, "%s's mixture", type->name);
    return KQ_OK;
}

/* `overridden`: the rules are asked all the same, so that those that match are known, but a gap in them does no harm. */
static kq_status judge_by_recipe(planner *p, const kq_subject *s, bool overridden, verdict *v) {
    bool named;
    const kq_rule *rule = kq_recipe_choose(&p->recipe, s, p->n_layer, &named);
    if (overridden) return KQ_OK;
    if (!rule) {
        return kq_recipe_named(&p->recipe, kq_fail(p->err, KQ_E_ARGUMENT, "no rule matches tensor %s", KQ_SHOW(s->tensor->name)), p->err);
    }
    if (p->recipe.by_role && !s->roles && !named) {
        return kq_fail_at(p->err, KQ_E_MODEL, kq_gguf_path(p->plan->source), s->tensor->offset,
                          "tensor %s has no role in the model, and no rule names it", KQ_SHOW(s->tensor->name));
    }
    v->keep = rule->keep;
    v->codec = rule->codec;
    snprintf(v->reason, sizeof v->reason, "%s: %.100s", p->o->preset ? p->recipe.name : "recipe", rule->text);
    return KQ_OK;
}

static kq_status judge(planner *p, const kq_subject *s, verdict *v) {
    bool done = judge_by_options(p, s, v);
    if (!p->type) return judge_by_recipe(p, s, done, v);
    return done ? KQ_OK : judge_by_type(p, s, v);
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

/* Whether the matrix has importances for a tensor; an embedding's may be of another kind, and are then not used. */
static kq_status find_importances(const planner *p, const kq_gguf_tensor *t, bool *found) {
    *found = false;
    if (!p->plan->imatrix) return KQ_OK;
    bool embedding = kq_name_classify(t->name.data) == KQ_CLASS_EMBEDDING;
    kq_status status = kq_imatrix_weights(p->plan->imatrix, t->name.data, t->dims[0], t->dims[2], NULL, found, embedding ? NULL : p->err);
    if (status) *found = false;
    return embedding ? KQ_OK : status;
}

static kq_status settle_importances(planner *p, const kq_gguf_tensor *t, kq_quant_choice *c) {
    const kq_imatrix *im = p->plan->imatrix;
    const kq_codec_info *codec = kq_codec_describe(c->codec);
    bool needed = needs_importances(p, t, c->codec), found = false;
    if (codec->block_weights == 1) return KQ_OK;
    if (!im && needed) {
        return kq_fail(p->err, KQ_E_ARGUMENT, "tensor %s becomes %s, which needs an importance matrix", KQ_SHOW(t->name), codec->name);
    }
    KQ_TRY(find_importances(p, t, &found));
    if (im && needed && !found) {
        return kq_fail(p->err, KQ_E_ARGUMENT, "tensor %s becomes %s, which needs importances: the matrix has none for it", KQ_SHOW(t->name),
                       codec->name);
    }
    c->weighted = found;
    return KQ_OK;
}

/* May the tensor be encoded? */
static kq_status check_source(const planner *p, const kq_gguf_tensor *t) {
    const kq_codec_info *old = kq_codec_describe(t->codec);
    if (!old->decodes) return kq_fail(p->err, KQ_E_UNSUPPORTED, "tensor %s is in %s, which holds no weights", KQ_SHOW(t->name), old->label);
    if (old->block_weights > 1 && !p->o->allow_requantize) {
        return kq_fail(p->err, KQ_E_UNSUPPORTED, "tensor %s is quantised already (%s); encoding it again must be allowed by name", KQ_SHOW(t->name),
                       old->name);
    }
    if (t->dims[3] > 1) return kq_fail(p->err, KQ_E_UNSUPPORTED, "tensor %s has 4 dims", KQ_SHOW(t->name));
    return KQ_OK;
}

static kq_status settle(planner *p, const kq_gguf_tensor *t, verdict *v, kq_quant_choice *c) {
    c->wanted = c->codec = t->codec;
    c->bytes = t->bytes;
    c->copied = true;
    if (v->keep) return KQ_OK;
    c->wanted = v->codec;
    if (!kq_fallback(v->codec, t->dims[0], &c->codec)) {
        return kq_fail(p->err, KQ_E_ARGUMENT, "tensor %s: its rows of %llu are no whole blocks of %s, and nothing stands in for that",
                       KQ_SHOW(t->name), (ull)t->dims[0], kq_codec_describe(v->codec)->name);
    }
    if (c->codec != c->wanted) {
        size_t n = strlen(v->reason);
        snprintf(v->reason + n, sizeof v->reason - n, "; rows of %llu are no whole blocks of %s", (ull)t->dims[0],
                 kq_codec_describe(c->wanted)->name);
    }
    if (c->codec == t->codec) return KQ_OK;
    KQ_TRY(check_source(p, t));
    c->copied = false;
    uint64_t row_bytes;
    KQ_TRY(kq_row_bytes(c->codec, t->dims[0], &row_bytes, p->err));
    if (!kq_mul(row_bytes, t->weights / t->dims[0], &c->bytes)) {
        return kq_fail(p->err, KQ_E_LIMIT, "tensor %s is too large", KQ_SHOW(t->name));
    }
    return settle_importances(p, t, c);
}

/* "attn_v"; of several roles "embedding,output". */
static const char *show_roles(kq_arena *arena, uint64_t roles) {
    char text[512] = "";
    size_t n = 0;
    for (int r = 1; r < KQ_N_ROLES && n < sizeof text; r++) {
        if (roles >> r & 1) n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n ? "," : "", kq_role_names[r]);
    }
    return kq_arena_string(arena, text, strlen(text));
}

static kq_status conclude(planner *p, verdict *v, kq_quant_choice *c) {
    KQ_TRY(settle(p, c->tensor, v, c));
    c->reason = kq_arena_string(&p->plan->arena, v->reason, strlen(v->reason));
    return c->reason ? KQ_OK : kq_fail_memory(p->err, sizeof v->reason, "a quantisation plan");
}

/* For families that are not known: those that a target distinguishes. */
static uint64_t roles_by_name(const planner *p, const char *name) {
    const uint64_t embedding = UINT64_C(1) << KQ_ROLE_embedding, output = UINT64_C(1) << KQ_ROLE_output;
    switch (kq_name_classify(name)) {
    case KQ_CLASS_OUTPUT: return output;
    case KQ_CLASS_EMBEDDING: return p->tied && strcmp(name, "token_embd.weight") == 0 ? embedding | output : embedding;
    case KQ_CLASS_Q: return UINT64_C(1) << KQ_ROLE_attn_q;
    case KQ_CLASS_K: return UINT64_C(1) << KQ_ROLE_attn_k;
    case KQ_CLASS_V: return UINT64_C(1) << KQ_ROLE_attn_v;
    case KQ_CLASS_QKV: return UINT64_C(1) << KQ_ROLE_attn_qkv;
    case KQ_CLASS_ATTN_OUTPUT: return UINT64_C(1) << KQ_ROLE_attn_output;
    case KQ_CLASS_DOWN: return UINT64_C(1) << KQ_ROLE_ffn_down;
    default: return 0;
    }
}

static kq_status choose(planner *p, const kq_gguf_tensor *t, size_t i, kq_quant_choice *c) {
    verdict v = {0};
    const char *never = kq_never_quantised(t);
    const kq_subject s = {t, kq_name_layer(t->name.data), p->roles[t - kq_gguf_tensor_at(p->plan->source, 0)]};
    *c = (kq_quant_choice){.tensor = t, .role = show_roles(&p->plan->arena, s.roles), .error = -1.0};
    if (!c->role) return kq_fail_memory(p->err, 512, "a quantisation plan");
    if (never) {
        v.keep = true;
        snprintf(v.reason, sizeof v.reason, "never quantised: %s", never);
    } else if (p->type && p->type->file_type == UINT32_MAX) {
        v.keep = true;
        snprintf(v.reason, sizeof v.reason, "%s", p->type->name);
    } else if (!p->target) {
        KQ_TRY(judge(p, &s, &v));
    } else if (!judge_by_options(p, &s, &v)) {
        kq_target_item *item = &p->items[p->n_items++];
        *item = (kq_target_item){.tensor = t, .roles = s.roles ? s.roles : roles_by_name(p, t->name.data), .choice = i};
        KQ_TRY(check_source(p, t));
        return find_importances(p, t, &item->weighted);
    }
    return conclude(p, &v, c);
}

/* ---- targets ------------------------------------------------------------------------------------------------------- */

/* What the budget leaves for the items, once all others are settled. */
static kq_status read_budget(planner *p, kq_target *target) {
    const kq_quant_plan *plan = p->plan;
    uint64_t used = 0, weights = 0;
    target->alignment = 1;
    if (p->o->target_bytes) KQ_TRY(kq_quant_plan_head(plan, &used, &target->alignment, p->err));
    bool fine = true;
    for (size_t i = 0; i < plan->n_choices; i++) { /* an item has 0 bytes yet */
        uint64_t bytes;
        fine = fine && kq_round_up(plan->choices[i].bytes, target->alignment, &bytes) && kq_add(used, bytes, &used) &&
               kq_add(weights, plan->choices[i].tensor->weights, &weights);
    }
    uint64_t limit = p->o->target_bytes ? p->o->target_bytes : (uint64_t)(p->o->target_bpw / 8.0 * (double)weights);
    if (!fine) return kq_fail(p->err, KQ_E_LIMIT, "the model has more than 2^64 bytes");
    target->limit = limit;
    target->used = used;
    target->bpw = p->o->target_bpw;
    target->weights = p->o->target_bytes ? 0 : weights;
    return KQ_OK;
}

static kq_status choose_items(planner *p) {
    kq_quant_plan *plan = p->plan;
    kq_target target = {.measure = {plan->allocator, plan->source, plan->imatrix, p->o->pool}, .arena = &plan->arena,
                        .n_layer = p->n_layer, .progress = p->o->progress, .progress_ctx = p->o->progress_ctx};
    KQ_TRY(read_budget(p, &target));
    KQ_TRY(kq_target_choose(&target, p->items, p->n_items, p->err));
    for (size_t i = 0; i < p->n_items; i++) {
        kq_target_item *item = &p->items[i];
        verdict v = {.codec = item->codec};
        snprintf(v.reason, sizeof v.reason, "%s", item->reason);
        kq_quant_choice *c = &plan->choices[item->choice];
        c->error = item->error;
        c->counted = item->counted;
        c->next = item->next;
        c->next_error = item->next_error;
        c->next_bytes = item->next_bytes;
        KQ_TRY(conclude(p, &v, c));
    }
    return KQ_OK;
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
    p->items = kq_alloc(&plan->allocator, p->target ? n : 0, sizeof *p->items);
    if (!order || !plan->choices || !p->items) {
        kq_free(&plan->allocator, order);
        return kq_fail_memory(p->err, n * sizeof *plan->choices, "a quantisation plan");
    }
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    kq_sort_indices(order, n, before, plan->source);
    kq_status status = KQ_OK;
    for (size_t i = 0; i < n && !status; i++) {
        status = choose(p, kq_gguf_tensor_at(plan->source, order[i]), i, &plan->choices[i]);
        plan->n_choices = i + 1;
    }
    kq_free(&plan->allocator, order);
    return status;
}

/* Whatever the user wrote must have had a use. */
static kq_status check_met(const planner *p) {
    for (size_t i = 0; i < p->o->n_overrides; i++) {
        if (!p->overrides || p->overrides[i].met) continue; /* parsed: there are as many */
        return kq_fail(p->err, KQ_E_ARGUMENT, "override %.80s: no tensor that may be quantised matches", p->overrides[i].text);
    }
    return kq_recipe_check_met(&p->recipe, p->err);
}

/* The file type that most weights are of. */
static uint32_t majority(const kq_quant_plan *p) {
    uint64_t weights[KQ_CODEC_LIMIT] = {0};
    size_t best = 0;
    for (size_t i = 0; i < p->n_choices; i++) weights[p->choices[i].codec] += p->choices[i].tensor->weights;
    for (size_t c = 1; c < KQ_CODEC_LIMIT; c++) {
        if (weights[c] > weights[best]) best = c;
    }
    return kq_file_type_of((kq_codec)best);
}

static kq_status make(planner *p) {
    kq_quant_plan *plan = p->plan;
    KQ_TRY(read_options(p));
    p->tied = !kq_gguf_tensor_find(plan->source, "output.weight");
    KQ_TRY(read_roles(p));
    if (p->type) KQ_TRY(kq_mixture_init(&p->mixture, plan->source, p->type, plan->imatrix != NULL, p->err));
    KQ_TRY(kq_quant_plan_values_make(plan, p->o, p->err));
    KQ_TRY(choose_all(p));
    KQ_TRY(check_met(p));
    if (p->target) KQ_TRY(choose_items(p));
    plan->file_type = p->type ? p->type->file_type : majority(plan);
    return kq_quant_plan_finish(plan, p->err);
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
    planner maker = {.plan = p, .o = &o, .err = err};
    kq_status status = make(&maker);
    kq_free(&a, maker.recipe.rules);
    kq_free(&a, maker.roles);
    kq_free(&a, maker.items);
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
