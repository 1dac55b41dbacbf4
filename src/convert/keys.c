/* SPDX-License-Identifier: MIT */
/* From config.json to GGUF keys, as llama.cpp's converter does: fields that are silent mean what the class of transformers takes for them.
 * What a GGUF cannot say, and what would so be run wrongly, is refused by name. */
#include "convert/convert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef unsigned long long ull; /* for printf */

/* Wider than any model, and small enough that a product of three stays far below 2^63: what the families themselves take. */
enum { MAX_LAYERS = 1024, MAX_WIDTH = 1 << 20, MAX_HEADS = 1 << 16, MAX_EXPERTS = 1 << 16 };

/* ---- shape --------------------------------------------------------------------------------------------------------- */

static bool has(const json_t *object, const char *field) {
    const json_t *value = json_object_get(object, field);
    return value && !json_is_null(value);
}

static kq_status read_experts(kq_hf_shape *s, kq_hf_config *c, kq_error *err) {
    bool found;
    KQ_TRY(kq_hf_u64(c, c->text, "num_local_experts", 1, MAX_EXPERTS, &s->n_expert, &found, err));
    if (!found) KQ_TRY(kq_hf_u64(c, c->text, "num_experts", 1, MAX_EXPERTS, &s->n_expert, NULL, err));
    KQ_TRY(kq_hf_u64(c, c->text, "num_experts_per_tok", 1, s->n_expert, &s->n_used, NULL, err));
    if (s->n_used > s->n_expert) {
        return kq_hf_fail(c, KQ_E_MODEL, err, "there are %llu experts, and each token uses %llu", (ull)s->n_expert, (ull)s->n_used);
    }
    if (s->class->family == KQ_HF_MIXTRAL) {
        s->n_ff_expert = s->n_ff;
        return KQ_OK;
    }
    KQ_TRY(kq_hf_u64(c, c->text, "moe_intermediate_size", 1, MAX_WIDTH, &s->n_ff_expert, NULL, err));
    if (!json_is_true(json_object_get(c->text, "norm_topk_prob"))) { /* false is the class's default, and the models of this family set it */
        return kq_hf_fail(c, KQ_E_UNSUPPORTED, err, "norm_topk_prob is not true: only experts whose weights sum to 1 can be expressed");
    }
    uint64_t step = 1;
    KQ_TRY(kq_hf_u64(c, c->text, "decoder_sparse_step", 1, MAX_LAYERS, &step, NULL, err));
    if (step != 1 || json_array_size(json_object_get(c->text, "mlp_only_layers"))) {
        return kq_hf_fail(c, KQ_E_UNSUPPORTED, err, "decoder_sparse_step or mlp_only_layers: layers without experts among others are not supported");
    }
    return KQ_OK;
}

/* Fields whose other values are other arithmetic. */
static kq_status refuse_others(const kq_hf_shape *s, kq_hf_config *c, kq_error *err) {
    bool gemma = s->class->family == KQ_HF_GEMMA3;
    const char *field = gemma ? "hidden_activation" : "hidden_act", *must = gemma ? "gelu_pytorch_tanh" : "silu";
    const json_t *act = json_object_get(c->text, field);
    const char *is = json_string_value(act);
    if (has(c->text, field) && (!is || strcmp(is, must) != 0)) {
        return kq_hf_fail(c, is ? KQ_E_UNSUPPORTED : KQ_E_MODEL, err, "%s is '%s', only '%s' is supported", field,
                          is ? kq_show(is, strlen(is)).text : "no string", must);
    }
    double part = 1.0, scalar = (double)s->head;
    KQ_TRY(kq_hf_f64(c, c->text, "partial_rotary_factor", 0.0, 1.0, &part, NULL, err));
    if (part != 1.0) return kq_hf_fail(c, KQ_E_UNSUPPORTED, err, "partial_rotary_factor is %g, only 1 is supported", part);
    if (!gemma) return KQ_OK;
    /* No key holds the scale of attention: it follows from the head, but for the 27B model of 62 layers, where it follows from the width. */
    uint64_t wide = s->n_embd / s->n_head;
    double means = s->n_layer == 62 ? (double)wide : (double)s->head;
    scalar = 256.0;
    KQ_TRY(kq_hf_f64(c, c->text, "query_pre_attn_scalar", 1.0, 1e6, &scalar, NULL, err));
    if (scalar != means) {
        return kq_hf_fail(c, KQ_E_UNSUPPORTED, err, "query_pre_attn_scalar is %g, only %g can be expressed for this model", scalar, means);
    }
    if (has(c->text, "attn_logit_softcapping")) return kq_hf_fail(c, KQ_E_UNSUPPORTED, err, "attn_logit_softcapping is not supported");
    if (json_is_true(json_object_get(c->text, "use_bidirectional_attention"))) {
        return kq_hf_fail(c, KQ_E_UNSUPPORTED, err, "use_bidirectional_attention is not supported");
    }
    return KQ_OK;
}

kq_status kq_hf_shape_read(kq_hf_shape *s, kq_hf_config *c, kq_error *err) {
    const kq_hf_class *k;
    KQ_TRY(kq_hf_class_of(&k, c, err));
    *s = (kq_hf_shape){.class = k, .n_vocab = k->n_vocab, .n_embd = k->n_embd, .n_ff = k->n_ff, .n_layer = k->n_layer, .n_head = k->n_head,
                       .n_kv = k->n_kv, .n_expert = k->n_expert, .n_used = k->n_used, .n_ff_expert = k->n_ff_expert, .tied = k->tied};
    const json_t *t = c->text;
    KQ_TRY(kq_hf_u64(c, t, "vocab_size", 1, INT32_MAX, &s->n_vocab, NULL, err));
    KQ_TRY(kq_hf_u64(c, t, "hidden_size", 1, MAX_WIDTH, &s->n_embd, NULL, err));
    KQ_TRY(kq_hf_u64(c, t, "intermediate_size", 1, MAX_WIDTH, &s->n_ff, NULL, err));
    KQ_TRY(kq_hf_u64(c, t, "num_hidden_layers", 1, MAX_LAYERS, &s->n_layer, NULL, err));
    KQ_TRY(kq_hf_u64(c, t, "num_attention_heads", 1, MAX_HEADS, &s->n_head, NULL, err));
    if (!s->n_kv || json_is_null(json_object_get(t, "num_key_value_heads"))) s->n_kv = s->n_head;
    KQ_TRY(kq_hf_u64(c, t, "num_key_value_heads", 1, MAX_HEADS, &s->n_kv, NULL, err));
    s->head = k->head > 0 ? (uint64_t)k->head : s->n_embd / s->n_head;
    KQ_TRY(kq_hf_u64(c, t, "head_dim", 1, MAX_WIDTH, &s->head, &s->head_is_field, err));
    s->head_is_field = s->head_is_field || k->head != KQ_HEAD_NONE;
    if (s->n_head % s->n_kv) {
        return kq_hf_fail(c, KQ_E_MODEL, err, "num_attention_heads is %llu, no multiple of num_key_value_heads %llu", (ull)s->n_head, (ull)s->n_kv);
    }
    if (s->head < 2 || s->head % 2) {
        return kq_hf_fail(c, KQ_E_MODEL, err, "a head has %llu rows (head_dim, or hidden_size over num_attention_heads), must be even", (ull)s->head);
    }
    const json_t *tied = json_object_get(t, "tie_word_embeddings");
    if (json_is_boolean(tied)) s->tied = json_is_true(tied);
    else if (has(t, "tie_word_embeddings")) return kq_hf_fail(c, KQ_E_MODEL, err, "tie_word_embeddings is neither true nor false");
    if (k->n_expert) KQ_TRY(read_experts(s, c, err));
    return refuse_others(s, c, err);
}

/* ---- rope ---------------------------------------------------------------------------------------------------------- */

/* Where rope's parameters are: in an object, of which there may be one for full and one for sliding attention, or beside the others. */
typedef struct rope {
    const json_t *full; /* an object, or NULL */
    const char *type;   /* "default" when nothing says it */
    double base, local; /* local: 0 when there is none */
} rope;

static kq_status first_of(kq_hf_config *c, const json_t *object, const char *const *fields, double *out, kq_error *err) {
    bool found = false;
    for (size_t i = 0; fields[i] && !found; i++) KQ_TRY(kq_hf_f64(c, object, fields[i], 1.0, 1e15, out, &found, err));
    return KQ_OK;
}

static kq_status read_rope(rope *r, const kq_hf_shape *s, kq_hf_config *c, kq_error *err) {
    static const char *const inner[] = {"rope_theta", NULL};
    static const char *const global[] = {"global_rope_theta", "rope_global_theta", "rope_theta_global", "rope_theta", "rotary_emb_base", NULL};
    static const char *const local[] = {"local_rope_theta", "rope_local_theta", "rope_theta_local", "swa_rope_theta", "rope_local_base_freq", NULL};
    bool gemma = s->class->family == KQ_HF_GEMMA3;
    const char *field = has(c->text, "rope_parameters") ? "rope_parameters" : "rope_scaling";
    const json_t *whole = json_object_get(c->text, field);
    *r = (rope){.type = "default", .base = s->class->theta, .local = gemma ? 1e4 : 0.0};
    if (has(c->text, field) && !json_is_object(whole)) return kq_hf_fail(c, KQ_E_MODEL, err, "%s is no object", field);
    const json_t *full = json_object_get(whole, "full_attention"), *sliding = json_object_get(whole, "sliding_attention");
    if ((full && !json_is_object(full)) || (sliding && !json_is_object(sliding))) {
        return kq_hf_fail(c, KQ_E_MODEL, err, "%s.%s is no object", field, full && !json_is_object(full) ? "full_attention" : "sliding_attention");
    }
    r->full = full ? full : json_is_object(whole) ? whole : NULL;
    if (!full && !sliding) {
        KQ_TRY(first_of(c, c->text, global, &r->base, err));
        KQ_TRY(first_of(c, c->text, local, &r->local, err));
    }
    KQ_TRY(first_of(c, r->full, inner, &r->base, err));
    KQ_TRY(first_of(c, sliding, inner, &r->local, err));
    const char *names[] = {"rope_type", "type"};
    for (size_t i = 0; i < 2; i++) {
        if (!has(r->full, names[i])) continue;
        r->type = json_string_value(json_object_get(r->full, names[i]));
        return r->type ? KQ_OK : kq_hf_fail(c, KQ_E_MODEL, err, "%s.%s is no string", field, names[i]);
    }
    return KQ_OK;
}

static kq_status want(kq_hf_config *c, const rope *r, const char *field, double min, double max, double *out, kq_error *err) {
    bool found;
    KQ_TRY(kq_hf_f64(c, r->full, field, min, max, out, &found, err));
    return found ? KQ_OK : kq_hf_fail(c, KQ_E_MODEL, err, "rope of type '%s' has no %s", r->type, field);
}

/* ---- keys ---------------------------------------------------------------------------------------------------------- */

typedef struct keys {
    kq_metadata *out;
    const kq_hf_shape *s;
    kq_hf_config *c;
    kq_error *err;
    char key[128];
} keys;

static const char *full_key(keys *k, const char *name) {
    snprintf(k->key, sizeof k->key, "%s.%s", k->s->class->architecture, name);
    return k->key;
}
static kq_status u32(keys *k, const char *name, uint64_t value) { return kq_metadata_u32(k->out, full_key(k, name), (uint32_t)value, k->err); }
static kq_status f32(keys *k, const char *name, double value) { return kq_metadata_f32(k->out, full_key(k, name), (float)value, k->err); }
/* A number of rope, if it is there. */
static kq_status rope_f32(keys *k, const rope *r, const char *field, const char *name) {
    double value = 0.0;
    bool found;
    KQ_TRY(kq_hf_f64(k->c, r->full, field, -1e15, 1e15, &value, &found, k->err));
    return found ? f32(k, name, value) : KQ_OK;
}

static kq_status put_scaling(keys *k, const rope *r) {
    static const char *const silent[] = {"default", "dynamic", "proportional"}; /* no key: dynamic is the same within the model's context */
    double factor = 0.0, context = 0.0;
    for (size_t i = 0; i < KQ_COUNT(silent); i++) {
        if (strcmp(r->type, silent[i]) == 0) return KQ_OK;
    }
    if (strcmp(r->type, "llama3") == 0 && (k->s->class->family & (KQ_HF_LLAMA | KQ_HF_MIXTRAL))) return KQ_OK; /* it is a tensor */
    if (strcmp(r->type, "linear") == 0) {
        KQ_TRY(want(k->c, r, "factor", 1e-9, 1e9, &factor, k->err));
        KQ_TRY(kq_metadata_string(k->out, full_key(k, "rope.scaling.type"), "linear", k->err));
        return f32(k, "rope.scaling.factor", factor);
    }
    if (strcmp(r->type, "yarn") == 0) {
        KQ_TRY(want(k->c, r, "factor", 1e-9, 1e9, &factor, k->err));
        KQ_TRY(want(k->c, r, "original_max_position_embeddings", 1, INT32_MAX, &context, k->err));
        KQ_TRY(kq_metadata_string(k->out, full_key(k, "rope.scaling.type"), "yarn", k->err));
        KQ_TRY(f32(k, "rope.scaling.factor", factor));
        KQ_TRY(u32(k, "rope.scaling.original_context_length", (uint64_t)context));
        KQ_TRY(rope_f32(k, r, "extrapolation_factor", "rope.scaling.yarn_ext_factor"));
        KQ_TRY(rope_f32(k, r, has(r->full, "attention_factor") ? "attention_factor" : "attn_factor", "rope.scaling.yarn_attn_factor"));
        KQ_TRY(rope_f32(k, r, "beta_fast", "rope.scaling.yarn_beta_fast"));
        return rope_f32(k, r, "beta_slow", "rope.scaling.yarn_beta_slow");
    }
    return kq_hf_fail(k->c, KQ_E_UNSUPPORTED, k->err, "rope of type '%s' is not supported for %s", kq_show(r->type, strlen(r->type)).text,
                      k->s->class->name);
}

/* Which of Gemma's layers have a window: a key only where it is not the period of 6 that every reader assumes. */
static kq_status put_windows(keys *k) {
    const json_t *t = k->c->text, *types = json_object_get(t, "layer_types");
    uint64_t window = 4096, period = 6, n = k->s->n_layer;
    KQ_TRY(kq_hf_u64(k->c, t, "sliding_window_pattern", 1, MAX_LAYERS, &period, NULL, k->err));
    if (!has(t, "sliding_window_pattern")) KQ_TRY(kq_hf_u64(k->c, t, "_sliding_window_pattern", 1, MAX_LAYERS, &period, NULL, k->err));
    KQ_TRY(kq_hf_u64(k->c, t, "sliding_window", 1, INT32_MAX, &window, NULL, k->err));
    if (period == 1 || json_is_null(json_object_get(t, "sliding_window"))) return KQ_OK; /* none has */
    KQ_TRY(u32(k, "attention.sliding_window", window));
    uint8_t local[MAX_LAYERS];
    bool usual = true;
    if (has(t, "layer_types") && json_array_size(types) != n) {
        return kq_hf_fail(k->c, KQ_E_MODEL, k->err, "layer_types has %zu entries for %llu layers", json_array_size(types), (ull)n);
    }
    for (uint64_t i = 0; i < n; i++) {
        const char *type = json_string_value(json_array_get(types, (size_t)i));
        local[i] = types && type ? strcmp(type, "sliding_attention") == 0 : (i + 1) % period != 0;
        if (has(t, "layer_types") && (!type || (!local[i] && strcmp(type, "full_attention") != 0))) {
            return kq_hf_fail(k->c, KQ_E_MODEL, k->err, "layer_types of layer %llu is '%s', must be sliding_attention or full_attention", (ull)i,
                              type ? kq_show(type, strlen(type)).text : "no string");
        }
        usual = usual && local[i] == ((i + 1) % 6 != 0);
    }
    if (usual) return KQ_OK;
    return kq_metadata_array(k->out, full_key(k, "attention.sliding_window_pattern"), KQ_GGUF_BOOL, (size_t)n, local, k->err);
}

static kq_status put_family(keys *k) {
    const kq_hf_shape *s = k->s;
    if (s->class->family & (KQ_HF_LLAMA | KQ_HF_MIXTRAL)) {
        KQ_TRY(u32(k, "vocab_size", s->n_vocab));
        KQ_TRY(u32(k, "rope.dimension_count", s->head));
    }
    if (s->class->family == KQ_HF_QWEN3MOE) KQ_TRY(u32(k, "expert_feed_forward_length", s->n_ff_expert));
    if (s->class->family != KQ_HF_GEMMA3) return KQ_OK;
    double cap = 0.0;
    KQ_TRY(kq_hf_f64(k->c, k->c->text, "final_logit_softcapping", 0.0, 1e9, &cap, NULL, k->err));
    if (cap != 0.0) KQ_TRY(f32(k, "final_logit_softcapping", cap));
    return put_windows(k);
}

/* The last component of the path, whatever slashes follow it; "." and "/" have none of their own. */
static const char *folder_name(kq_hf_config *c) {
    char *whole = realpath(c->folder, NULL);
    const char *path = whole ? whole : c->folder, *slash = strrchr(path, '/');
    const char *name = slash && slash[1] ? slash + 1 : path;
    const char *copy = kq_arena_string(&c->arena, name, strlen(name));
    free(whole);
    return copy;
}

static kq_status put_general(keys *k) {
    const kq_hf_shape *s = k->s;
    const char *name = folder_name(k->c), *given = json_string_value(json_object_get(k->c->root, "_name_or_path"));
    const char *slash = given ? strchr(given, '/') : NULL;
    if (given && *given && *given != '/' && *given != '.' && !(slash && (!slash[1] || strchr(slash + 1, '/')))) name = slash ? slash + 1 : given;
    if (!name) return kq_fail_memory(k->err, strlen(k->c->folder), "a name");
    KQ_TRY(kq_metadata_string(k->out, "general.architecture", s->class->architecture, k->err));
    KQ_TRY(kq_metadata_string(k->out, "general.type", "model", k->err));
    KQ_TRY(kq_metadata_string(k->out, "general.name", name, k->err));
    KQ_TRY(kq_metadata_string(k->out, "general.size_label", "", k->err));
    static const struct {
        const char *field, *key;
    } sampling[] = {{"top_p", "general.sampling.top_p"}, {"min_p", "general.sampling.min_p"}, {"temperature", "general.sampling.temp"},
                    {"repetition_penalty", "general.sampling.penalty_repeat"}};
    uint64_t top_k = 0;
    bool found;
    KQ_TRY(kq_hf_u64(k->c, k->c->generation, "top_k", 0, INT32_MAX, &top_k, &found, k->err));
    const int32_t value = (int32_t)top_k;
    if (found) KQ_TRY(kq_metadata_value(k->out, "general.sampling.top_k", KQ_GGUF_I32, KQ_GGUF_I32, 1, &value, sizeof value, k->err));
    for (size_t i = 0; i < KQ_COUNT(sampling); i++) {
        double number = 0.0;
        KQ_TRY(kq_hf_f64(k->c, k->c->generation, sampling[i].field, -1e9, 1e9, &number, &found, k->err));
        if (found) KQ_TRY(kq_metadata_f32(k->out, sampling[i].key, (float)number, k->err));
    }
    return KQ_OK;
}

kq_status kq_hf_keys(kq_metadata *out, const kq_hf_shape *s, kq_hf_config *c, kq_error *err) {
    keys k = {.out = out, .s = s, .c = c, .err = err};
    rope r;
    uint64_t context = s->class->n_ctx;
    double eps = s->class->eps;
    KQ_TRY(read_rope(&r, s, c, err));
    KQ_TRY(kq_hf_u64(c, c->text, "max_position_embeddings", 1, INT32_MAX, &context, NULL, err));
    KQ_TRY(kq_hf_f64(c, c->text, "rms_norm_eps", 0.0, 1.0, &eps, NULL, err));
    KQ_TRY(put_general(&k));
    KQ_TRY(u32(&k, "block_count", s->n_layer));
    KQ_TRY(u32(&k, "context_length", context));
    KQ_TRY(u32(&k, "embedding_length", s->n_embd));
    KQ_TRY(u32(&k, "feed_forward_length", s->n_ff));
    KQ_TRY(u32(&k, "attention.head_count", s->n_head));
    KQ_TRY(u32(&k, "attention.head_count_kv", s->n_kv));
    if (json_is_false(json_object_get(c->text, "is_causal"))) KQ_TRY(kq_metadata_bool(out, full_key(&k, "attention.causal"), false, err));
    KQ_TRY(put_scaling(&k, &r));
    KQ_TRY(f32(&k, "rope.freq_base", r.base));
    if (r.local > 0.0) KQ_TRY(f32(&k, "rope.freq_base_swa", r.local));
    KQ_TRY(f32(&k, "attention.layer_norm_rms_epsilon", eps));
    if (s->n_expert) {
        KQ_TRY(u32(&k, "expert_count", s->n_expert));
        KQ_TRY(u32(&k, "expert_used_count", s->n_used));
    }
    if (s->head_is_field) {
        KQ_TRY(u32(&k, "attention.key_length", s->head));
        KQ_TRY(u32(&k, "attention.value_length", s->head));
    }
    KQ_TRY(kq_metadata_u32(out, "general.file_type", 0, err));
    KQ_TRY(put_family(&k));
    return kq_metadata_u32(out, "general.quantization_version", 2, err);
}

/* ---- rope_freqs ---------------------------------------------------------------------------------------------------- */

/* Source: llama.cpp's converter (research: wavelengths beyond the original context are stretched by the factor, short ones stay, and between
 * the two is a ramp). Computed in double and rounded once. */
kq_status kq_hf_rope_factors(float **out, const kq_hf_shape *s, kq_hf_config *c, kq_error *err) {
    rope r;
    *out = NULL;
    KQ_TRY(read_rope(&r, s, c, err));
    if (strcmp(r.type, "llama3") != 0 || !(s->class->family & (KQ_HF_LLAMA | KQ_HF_MIXTRAL))) return KQ_OK;
    double factor = 8.0, low = 1.0, high = 4.0, context = 8192.0;
    KQ_TRY(kq_hf_f64(c, r.full, "factor", 1e-9, 1e9, &factor, NULL, err));
    KQ_TRY(kq_hf_f64(c, r.full, "low_freq_factor", 1e-9, 1e9, &low, NULL, err));
    KQ_TRY(kq_hf_f64(c, r.full, "high_freq_factor", 1e-9, 1e9, &high, NULL, err));
    KQ_TRY(kq_hf_f64(c, c->text, "original_max_position_embeddings", 1.0, 1e12, &context, NULL, err));
    KQ_TRY(kq_hf_f64(c, r.full, "original_max_position_embeddings", 1.0, 1e12, &context, NULL, err));
    if (low >= high) return kq_hf_fail(c, KQ_E_MODEL, err, "low_freq_factor is %g, must be below high_freq_factor %g", low, high);
    float *f = kq_arena_alloc(&c->arena, s->head / 2, sizeof *f);
    if (!f) return kq_fail_memory(err, s->head / 2 * sizeof *f, "rope's factors");
    for (uint64_t i = 0; i < s->head / 2; i++) {
        double wavelength = 2.0 * 3.14159265358979323846 * pow(r.base, 2.0 * (double)i / (double)s->head);
        double smooth = (context / wavelength - low) / (high - low);
        f[i] = (float)(wavelength < context / high ? 1.0 : wavelength > context / low ? factor : 1.0 / ((1.0 - smooth) / factor + smooth));
    }
    *out = f;
    return KQ_OK;
}
