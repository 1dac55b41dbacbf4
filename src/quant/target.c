/* SPDX-License-Identifier: MIT */
/* Codecs for a size: of all ways to spend so many bytes, one whose measured errors do little harm.
 *
 * The harm of a model's errors is taken to be the sum over its matrices of the relative squared error times a factor of the role (Malinovskii
 * et al., "Pushing the Limits of Large Language Model Quantization via the Linearity Theorem", 2024: for small errors the loss is linear in
 * them, with a factor a matrix). So of a tensor's candidates those that no mixture of two others beats (the lower convex hull of harm over
 * bytes) are steps of falling gain a byte; taking steps from the smallest file upwards, the best first, is optimal up to the first that does not
 * fit, and later ones that still fit fill what is left. */
#include "quant/quant.h"

#include <math.h>
#include <stdio.h>

typedef unsigned long long ull; /* for printf */

enum { MAX_CANDIDATES = 20 };

typedef struct candidate {
    kq_codec codec;
    uint64_t cost; /* bytes of the budget */
    double error;  /* relative, squared */
} candidate;

typedef struct hull {
    candidate c[MAX_CANDIDATES]; /* cheapest first */
    size_t n, at;                /* at: the one that is chosen */
    double factor;
} hull;

typedef struct step { /* from candidate `from` of an item to the next */
    uint32_t item, from;
    double gain; /* of harm, a byte */
} step;

/* How often an error in this matrix counts. The stream that a model of n layers reads its answer from is the sum of 2n + 1 parts, the
 * embedding and what the two halves of each layer add; that they are alike in size is the assumption. A relative error in a matrix that makes
 * a part is one of 1 part in 2n + 1; in the output matrix, of all the answer. Attention takes an average, and softens errors: how much was
 * measured on two small models of different families, and that a down-projection of the first layers, which writes into a stream that is
 * short as yet, counts more (docs/recipes.md has the figures); rounded to powers of two. */
static double factor_of(uint64_t roles, uint64_t layer, uint64_t n_layer) {
    const uint64_t output = UINT64_C(1) << KQ_ROLE_output;
    const double whole = 2.0 * (double)n_layer + 1.0;
    if (roles & output) return roles == output ? whole : whole + 1.0; /* an embedding that is the output matrix is both */
    const uint64_t half = UINT64_C(1) << KQ_ROLE_attn_k | UINT64_C(1) << KQ_ROLE_attn_v | UINT64_C(1) << KQ_ROLE_attn_qkv;
    const uint64_t quarter = UINT64_C(1) << KQ_ROLE_attn_q | UINT64_C(1) << KQ_ROLE_attn_output;
    const uint64_t down = UINT64_C(1) << KQ_ROLE_ffn_down | UINT64_C(1) << KQ_ROLE_shared_down | UINT64_C(1) << KQ_ROLE_expert_down;
    if (roles & down) return layer < KQ_MAX(n_layer / 8, UINT64_C(1)) ? 2.0 : 1.0;
    return roles & half ? 0.5 : roles & quarter ? 0.25 : 1.0;
}

/* ---- candidates ---------------------------------------------------------------------------------------------------- */

static const kq_codec wide[] = {KQ_IQ1_S, KQ_IQ1_M, KQ_IQ2_XXS, KQ_IQ2_XS, KQ_IQ2_S, KQ_Q2_K, KQ_IQ3_XXS, KQ_Q3_K,
                                KQ_IQ3_S, KQ_IQ4_XS, KQ_IQ4_NL, KQ_Q4_K,   KQ_Q5_K,  KQ_Q6_K, KQ_Q8_0,    KQ_BF16};
static const kq_codec narrow[] = {KQ_IQ4_NL, KQ_Q4_1, KQ_Q5_0, KQ_Q5_1, KQ_Q8_0, KQ_BF16};

static uint64_t cost_of(const kq_target *t, uint64_t bytes) { return (bytes + t->alignment - 1) / t->alignment * t->alignment; }

/* Without importances their searches mean little: llama.cpp refuses that, and here they are no candidates then. */
static bool blind(kq_codec codec) {
    return codec == KQ_IQ1_S || codec == KQ_IQ1_M || codec == KQ_IQ2_XXS || codec == KQ_IQ2_XS || codec == KQ_IQ2_S || codec == KQ_IQ3_XXS;
}

/* Codecs whose blocks divide the rows and that make the tensor smaller; and then the source's own. */
static kq_status list_candidates(const kq_target *target, const kq_target_item *item, candidate *c, size_t *n, kq_error *err) {
    const kq_gguf_tensor *t = item->tensor;
    const kq_codec *codecs = t->dims[0] % 256 ? narrow : wide;
    size_t n_codecs = t->dims[0] % 256 ? KQ_COUNT(narrow) : KQ_COUNT(wide);
    *n = 0;
    for (size_t i = 0; i < n_codecs; i++) {
        const kq_codec_info *info = kq_codec_describe(codecs[i]);
        uint64_t row, bytes;
        if (t->dims[0] % info->block_weights || codecs[i] == t->codec || (blind(codecs[i]) && !item->weighted)) continue;
        KQ_TRY(kq_row_bytes(codecs[i], t->dims[0], &row, err));
        if (!kq_mul(row, t->weights / t->dims[0], &bytes) || bytes >= t->bytes) continue;
        c[(*n)++] = (candidate){codecs[i], cost_of(target, bytes), 0.0};
    }
    return KQ_OK;
}

static kq_status measure(const kq_target *target, const kq_target_item *item, hull *h, kq_error *err) {
    candidate c[MAX_CANDIDATES];
    kq_codec codecs[MAX_CANDIDATES];
    double errors[MAX_CANDIDATES];
    size_t n;
    KQ_TRY(list_candidates(target, item, c, &n, err));
    for (size_t i = 0; i < n; i++) codecs[i] = c[i].codec;
    if (n) KQ_TRY(kq_measure_tensor(&target->measure, item->tensor, item->weighted, codecs, n, errors, err));
    for (size_t i = 0; i < n; i++) c[i].error = errors[i];
    c[n++] = (candidate){item->tensor->codec, cost_of(target, item->tensor->bytes), 0.0};
    for (size_t i = 1; i < n; i++) { /* by cost, then by error: few, so insertion */
        candidate moved = c[i];
        size_t k = i;
        for (; k > 0 && (c[k - 1].cost > moved.cost || (c[k - 1].cost == moved.cost && c[k - 1].error > moved.error)); k--) c[k] = c[k - 1];
        c[k] = moved;
    }
    h->factor = factor_of(item->roles, (uint64_t)kq_name_layer(item->tensor->name.data), target->n_layer);
    h->n = h->at = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(c[i].error) || (h->n && c[i].error >= h->c[h->n - 1].error)) continue;
        while (h->n >= 2) { /* the last is above the line from the one before it to this one? */
            const candidate *a = &h->c[h->n - 2], *b = &h->c[h->n - 1];
            double before = (a->error - b->error) / (double)(b->cost - a->cost), after = (b->error - c[i].error) / (double)(c[i].cost - b->cost);
            if (before > after) break;
            h->n--;
        }
        h->c[h->n++] = c[i];
    }
    return KQ_OK;
}

/* ---- spending ------------------------------------------------------------------------------------------------------ */

static bool before(const void *ctx, uint32_t a, uint32_t b) {
    const step *x = (const step *)ctx + a, *y = (const step *)ctx + b;
    if (x->gain != y->gain) return x->gain > y->gain;
    return x->item != y->item ? x->item < y->item : x->from < y->from;
}

static void spend(hull *hulls, const step *steps, const uint32_t *order, size_t n_steps, uint64_t left) {
    for (size_t i = 0; i < n_steps; i++) {
        const step *s = &steps[order[i]];
        hull *h = &hulls[s->item];
        if (h->at != s->from) continue; /* a step before it did not fit */
        uint64_t cost = h->c[s->from + 1].cost - h->c[s->from].cost;
        if (cost > left) continue;
        left -= cost;
        h->at++;
    }
}

static kq_status say_why(const kq_target *target, const hull *h, kq_target_item *item, kq_error *err) {
    char text[160];
    const candidate *c = &h->c[h->at], *next = h->at + 1 < h->n ? c + 1 : NULL;
    item->codec = c->codec;
    item->error = c->error;
    item->counted = h->factor;
    int n = snprintf(text, sizeof text, "target: error %.3g %%, counted %g times; ", 100.0 * sqrt(c->error), h->factor);
    if (next) {
        item->next = next->codec;
        item->next_error = next->error;
        item->next_bytes = next->cost - c->cost;
        snprintf(text + n, sizeof text - (size_t)n, "%s has %.3g %% for %llu bytes more", kq_codec_describe(next->codec)->name,
                 100.0 * sqrt(next->error), (ull)item->next_bytes);
    } else {
        snprintf(text + n, sizeof text - (size_t)n, "nothing has less");
    }
    item->reason = kq_arena_string(target->arena, text, strlen(text));
    return item->reason ? KQ_OK : kq_fail_memory(err, sizeof text, "a quantisation plan");
}

/* A target that is out of reach is refused before anything is measured. */
static kq_status check_least(const kq_target *t, const kq_target_item *items, size_t n, kq_error *err) {
    candidate c[MAX_CANDIDATES];
    uint64_t sum = t->used;
    for (size_t i = 0; i < n; i++) {
        size_t n_candidates;
        uint64_t least = cost_of(t, items[i].tensor->bytes);
        KQ_TRY(list_candidates(t, &items[i], c, &n_candidates, err));
        for (size_t k = 0; k < n_candidates; k++) least = KQ_MIN(least, c[k].cost);
        if (!kq_add(sum, least, &sum)) return kq_fail(err, KQ_E_LIMIT, "the model has more than 2^64 bytes");
    }
    if (sum <= t->limit) return KQ_OK;
    const char *hint = t->measure.imatrix ? "" : " (without importances: they admit smaller codecs)";
    if (!t->weights) return kq_fail(err, KQ_E_ARGUMENT, "a target of %llu bytes is out of reach: at least %llu%s", (ull)t->limit, (ull)sum, hint);
    double weights = (double)t->weights, least = ceil(8e4 * (double)sum / weights) / 1e4;
    return kq_fail(err, KQ_E_ARGUMENT, "a target of %g bits a weight is out of reach: at least %g%s", t->bpw, least, hint);
}

static kq_status choose(const kq_target *target, kq_target_item *items, size_t n, hull *hulls, kq_error *err) {
    uint64_t least = target->used;
    size_t n_steps = 0;
    KQ_TRY(check_least(target, items, n, err));
    for (size_t i = 0; i < n; i++) {
        if (target->progress && !target->progress(target->progress_ctx, i, n, items[i].tensor->name.data)) {
            return kq_fail(err, KQ_E_CANCELLED, "measuring was stopped");
        }
        KQ_TRY(measure(target, &items[i], &hulls[i], err));
        if (!kq_add(least, hulls[i].c[0].cost, &least)) return kq_fail(err, KQ_E_LIMIT, "the model has more than 2^64 bytes");
        n_steps += hulls[i].n - 1;
    }
    if (least > target->limit) { /* the cheapest codecs could not encode it */
        return kq_fail(err, KQ_E_ARGUMENT, "the target is out of reach: %llu bytes, and with codecs that can encode these weights at least %llu",
                       (ull)target->limit, (ull)least);
    }
    step *steps = kq_alloc_raw(&target->measure.allocator, n_steps, sizeof *steps);
    uint32_t *order = kq_alloc_raw(&target->measure.allocator, n_steps, sizeof *order);
    kq_status status = steps && order ? KQ_OK : kq_fail_memory(err, n_steps * sizeof *steps, "a quantisation plan");
    size_t at = 0;
    for (size_t i = 0; i < n && !status; i++) {
        for (size_t k = 0; k + 1 < hulls[i].n; k++, at++) {
            const candidate *c = &hulls[i].c[k];
            steps[at] = (step){(uint32_t)i, (uint32_t)k, hulls[i].factor * (c[0].error - c[1].error) / (double)(c[1].cost - c[0].cost)};
            order[at] = (uint32_t)at;
        }
    }
    if (!status) {
        kq_sort_indices(order, n_steps, before, steps);
        spend(hulls, steps, order, n_steps, target->limit - least);
    }
    kq_free(&target->measure.allocator, steps);
    kq_free(&target->measure.allocator, order);
    for (size_t i = 0; i < n && !status; i++) status = say_why(target, &hulls[i], &items[i], err);
    return status;
}

kq_status kq_target_choose(const kq_target *target, kq_target_item *items, size_t n, kq_error *err) {
    hull *hulls = kq_alloc(&target->measure.allocator, n, sizeof *hulls);
    if (!hulls) return kq_fail_memory(err, n * sizeof *hulls, "a quantisation plan");
    kq_status status = choose(target, items, n, hulls, err);
    kq_free(&target->measure.allocator, hulls);
    return status;
}
