/* SPDX-License-Identifier: MIT */
/* From GGUF keys to config.json: the fields that transformers and mlx-lm read. What no field expresses is refused, so that a checkpoint never
 * says less than the model that it was made of. */
#include "convert/convert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull; /* for printf */

typedef struct maker {
    const kq_gguf *g;
    const kq_hf_class *class;
    json_t *out;
    bool failed; /* memory */
    kq_error *err;
    char key[128];
} maker;

static const char *full_key(maker *m, const char *name) {
    snprintf(m->key, sizeof m->key, "%s.%s", m->class->architecture, name);
    return m->key;
}

/* Takes the value over. */
static void put(json_t *object, maker *m, const char *field, json_t *value) {
    if (!value || json_object_set_new(object, field, value)) m->failed = true;
}

/* The double of the fewest digits that is this float: 1e-06, not 9.9999999747524271e-07. */
static double few_digits(float f) {
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)f);
        double d = strtod(text, NULL);
        if ((float)d == f) return d;
    }
    return (double)f;
}

static kq_status put_u64(maker *m, const char *field, const char *key, bool must) {
    uint64_t n = 0;
    full_key(m, key);
    if (!kq_gguf_find(m->g, m->key) && !must) return KQ_OK;
    KQ_TRY(kq_gguf_get_u64(m->g, m->key, 0, INT32_MAX, &n, m->err));
    put(m->out, m, field, json_integer((json_int_t)n));
    return KQ_OK;
}

static kq_status put_f32(maker *m, json_t *object, const char *field, const char *key, bool must) {
    float f = 0.0f;
    full_key(m, key);
    if (!kq_gguf_find(m->g, m->key) && !must) return KQ_OK;
    KQ_TRY(kq_gguf_get_f32(m->g, m->key, &f, m->err));
    put(object, m, field, json_real(few_digits(f)));
    return KQ_OK;
}

/* ---- rope ---------------------------------------------------------------------------------------------------------- */

/* A llama3 scaling is only known by its factors: those of the models that have it are tried, and the one that gives these is it. */
static kq_status put_llama3(maker *m, const kq_gguf_tensor *factors, double base) {
    static const double scales[] = {8.0, 32.0, 16.0, 4.0, 2.0};
    uint64_t n = factors->weights;
    if (factors->codec != KQ_F32 || factors->n_dims != 1 || !factors->data) {
        return kq_fail(m->err, KQ_E_UNSUPPORTED, "tensor 'rope_freqs.weight' is no list of f32");
    }
    for (size_t k = 0; k < KQ_COUNT(scales); k++) {
        bool same = true;
        for (uint64_t i = 0; i < n && same; i++) {
            double wavelength = 2.0 * 3.14159265358979323846 * pow(base, (double)i / (double)n), smooth = (8192.0 / wavelength - 1.0) / 3.0;
            double want = wavelength < 2048.0 ? 1.0 : wavelength > 8192.0 ? scales[k] : 1.0 / ((1.0 - smooth) / scales[k] + smooth);
            same = fabs(want - (double)kq_load_f32((const uint8_t *)factors->data + 4 * i)) <= 1e-4 * want;
        }
        if (!same) continue;
        json_t *scaling = json_pack("{s:s,s:f,s:f,s:f,s:i}", "rope_type", "llama3", "factor", scales[k], "low_freq_factor", 1.0,
                                    "high_freq_factor", 4.0, "original_max_position_embeddings", 8192);
        put(m->out, m, "rope_scaling", scaling);
        return KQ_OK;
    }
    return kq_fail(m->err, KQ_E_UNSUPPORTED, "tensor 'rope_freqs.weight' is no scaling that config.json can express");
}

static kq_status put_rope(maker *m) {
    float base = (float)m->class->theta;
    bool gemma = m->class->family == KQ_HF_GEMMA3;
    const kq_gguf_tensor *factors = kq_gguf_tensor_find(m->g, "rope_freqs.weight");
    kq_string type = {0};
    KQ_TRY(kq_gguf_get_f32_or(m->g, full_key(m, "rope.freq_base"), 10000.0f, &base, m->err)); /* what a GGUF that is silent means */
    put(m->out, m, "rope_theta", json_real(few_digits(base)));
    if (gemma) KQ_TRY(put_f32(m, m->out, "rope_local_base_freq", "rope.freq_base_swa", false));
    if (factors) return put_llama3(m, factors, (double)base);
    KQ_TRY(kq_gguf_get_string_or(m->g, full_key(m, "rope.scaling.type"), "none", &type, m->err));
    bool linear = type.size == 6 && memcmp(type.data, "linear", 6) == 0, yarn = type.size == 4 && memcmp(type.data, "yarn", 4) == 0;
    if (type.size == 4 && memcmp(type.data, "none", 4) == 0) return KQ_OK;
    if (!linear && !yarn) return kq_fail(m->err, KQ_E_UNSUPPORTED, "key '%s' is '%s', which config.json cannot express", m->key, KQ_SHOW(type));
    json_t *scaling = json_pack("{s:s}", "rope_type", linear ? "linear" : "yarn");
    put(m->out, m, "rope_scaling", scaling);
    if (m->failed) return KQ_OK; /* said at the end */
    KQ_TRY(put_f32(m, scaling, "factor", "rope.scaling.factor", true));
    if (linear) return KQ_OK;
    uint64_t context = 0;
    KQ_TRY(kq_gguf_get_u64(m->g, full_key(m, "rope.scaling.original_context_length"), 1, INT32_MAX, &context, m->err));
    put(scaling, m, "original_max_position_embeddings", json_integer((json_int_t)context));
    KQ_TRY(put_f32(m, scaling, "extrapolation_factor", "rope.scaling.yarn_ext_factor", false));
    KQ_TRY(put_f32(m, scaling, "attention_factor", "rope.scaling.yarn_attn_factor", false));
    KQ_TRY(put_f32(m, scaling, "beta_fast", "rope.scaling.yarn_beta_fast", false));
    return put_f32(m, scaling, "beta_slow", "rope.scaling.yarn_beta_slow", false);
}

/* ---- the families' own --------------------------------------------------------------------------------------------- */

/* Every how manyth layer is a full one, 0: they do not recur. mlx-lm knows no other order. */
static uint64_t period_of(const json_t *types) {
    for (uint64_t period = 1, n = json_array_size(types); period <= n; period++) {
        bool fits = true;
        for (uint64_t i = 0; i < n && fits; i++) {
            fits = (strcmp(json_string_value(json_array_get(types, i)), "full_attention") == 0) == ((i + 1) % period == 0);
        }
        if (fits) return period;
    }
    return 0;
}

static kq_status put_gemma(maker *m, uint64_t n_layer, uint64_t n_embd, uint64_t n_head, uint64_t head) {
    const kq_gguf_value *pattern = kq_gguf_find(m->g, full_key(m, "attention.sliding_window_pattern"));
    uint64_t period = 6;
    if (pattern && pattern->kind != KQ_GGUF_ARRAY) KQ_TRY(kq_gguf_get_u64(m->g, m->key, 1, 1024, &period, m->err));
    json_t *types = json_array();
    put(m->out, m, "layer_types", types);
    for (uint64_t i = 0; i < n_layer && !m->failed; i++) {
        int64_t local = (i + 1) % period != 0;
        if (pattern && pattern->kind == KQ_GGUF_ARRAY && !kq_gguf_element_i64(pattern, i, &local)) {
            return kq_fail(m->err, KQ_E_MODEL, "key '%s' has no integer for layer %llu", m->key, (ull)i);
        }
        if (json_array_append_new(types, json_string(local ? "sliding_attention" : "full_attention"))) m->failed = true;
    }
    bool windows = kq_gguf_find(m->g, full_key(m, "attention.sliding_window")) != NULL;
    if (!windows) put(m->out, m, "sliding_window", json_null());
    if (pattern && pattern->kind == KQ_GGUF_ARRAY) period = m->failed ? 0 : period_of(types);
    if (period) put(m->out, m, "sliding_window_pattern", json_integer((json_int_t)period));
    KQ_TRY(put_u64(m, "sliding_window", "attention.sliding_window", false));
    KQ_TRY(put_f32(m, m->out, "final_logit_softcapping", "final_logit_softcapping", false));
    put(m->out, m, "query_pre_attn_scalar", json_integer((json_int_t)(n_layer == 62 ? n_embd / n_head : head)));
    put(m->out, m, "hidden_activation", json_string("gelu_pytorch_tanh"));
    return KQ_OK;
}

static kq_status put_experts(maker *m) {
    bool mixtral = m->class->family == KQ_HF_MIXTRAL;
    KQ_TRY(put_u64(m, mixtral ? "num_local_experts" : "num_experts", "expert_count", true));
    KQ_TRY(put_u64(m, "num_experts_per_tok", "expert_used_count", true));
    if (mixtral) return KQ_OK;
    const kq_gguf_tensor *gate = kq_gguf_tensor_find(m->g, "blk.0.ffn_gate_exps.weight"); /* there: it chose the class */
    put(m->out, m, "moe_intermediate_size", json_integer((json_int_t)gate->dims[1]));
    put(m->out, m, "norm_topk_prob", json_true());
    put(m->out, m, "decoder_sparse_step", json_integer(1));
    put(m->out, m, "mlp_only_layers", json_array());
    return KQ_OK;
}

static kq_status put_ids(maker *m) {
    static const char *const rows[][2] = {{"bos_token_id", "tokenizer.ggml.bos_token_id"}, {"eos_token_id", "tokenizer.ggml.eos_token_id"},
                                          {"pad_token_id", "tokenizer.ggml.padding_token_id"}};
    for (size_t i = 0; i < KQ_COUNT(rows); i++) {
        uint64_t id = 0;
        if (!kq_gguf_find(m->g, rows[i][1])) continue;
        KQ_TRY(kq_gguf_get_u64(m->g, rows[i][1], 0, INT32_MAX, &id, m->err));
        put(m->out, m, rows[i][0], json_integer((json_int_t)id));
    }
    return KQ_OK;
}

/* Where the reader finds a name that is one: with a slash it is a path, and at a dot one of this machine. */
static void put_name(maker *m) {
    kq_string name;
    if (kq_gguf_get_string(m->g, "general.name", &name, NULL) || !name.size || name.data[0] == '.' || memchr(name.data, '/', name.size)) return;
    json_t *text = json_stringn(name.data, name.size);
    if (text) put(m->out, m, "_name_or_path", text); /* NULL: no UTF-8 */
}

static kq_status fill(maker *m) {
    uint64_t n_layer = 0, n_embd = 0, n_head = 0, n_kv = 0, head = 0;
    const kq_gguf_tensor *embedding = kq_gguf_tensor_find(m->g, "token_embd.weight");
    if (!embedding) return kq_fail(m->err, KQ_E_MODEL, "tensor 'token_embd.weight' is missing");
    put_name(m);
    put(m->out, m, "architectures", json_pack("[s]", m->class->name));
    put(m->out, m, "model_type", json_string(m->class->model_type));
    KQ_TRY(kq_gguf_get_u64(m->g, full_key(m, "block_count"), 1, 1024, &n_layer, m->err));
    KQ_TRY(kq_gguf_get_u64(m->g, full_key(m, "embedding_length"), 1, 1 << 20, &n_embd, m->err));
    KQ_TRY(kq_gguf_get_u64(m->g, full_key(m, "attention.head_count"), 1, 1 << 16, &n_head, m->err));
    KQ_TRY(kq_gguf_get_u64_or(m->g, full_key(m, "attention.head_count_kv"), n_head, 1, 1 << 16, &n_kv, m->err));
    KQ_TRY(kq_gguf_get_u64_or(m->g, full_key(m, "attention.key_length"), n_embd / n_head, 1, 1 << 16, &head, m->err));
    put(m->out, m, "num_hidden_layers", json_integer((json_int_t)n_layer));
    put(m->out, m, "hidden_size", json_integer((json_int_t)n_embd));
    put(m->out, m, "num_attention_heads", json_integer((json_int_t)n_head));
    put(m->out, m, "num_key_value_heads", json_integer((json_int_t)n_kv));
    put(m->out, m, "head_dim", json_integer((json_int_t)head));
    put(m->out, m, "vocab_size", json_integer((json_int_t)embedding->dims[1]));
    KQ_TRY(put_u64(m, "intermediate_size", "feed_forward_length", true));
    KQ_TRY(put_u64(m, "max_position_embeddings", "context_length", true));
    KQ_TRY(put_f32(m, m->out, "rms_norm_eps", "attention.layer_norm_rms_epsilon", true));
    put(m->out, m, "tie_word_embeddings", json_boolean(!kq_gguf_tensor_find(m->g, "output.weight")));
    put(m->out, m, "attention_bias", json_boolean(kq_gguf_tensor_find(m->g, "blk.0.attn_q.bias") != NULL));
    put(m->out, m, "mlp_bias", json_boolean(kq_gguf_tensor_find(m->g, "blk.0.ffn_up.bias") != NULL));
    if (m->class->family == KQ_HF_GEMMA3) KQ_TRY(put_gemma(m, n_layer, n_embd, n_head, head));
    else put(m->out, m, "hidden_act", json_string("silu"));
    if (m->class->n_expert) KQ_TRY(put_experts(m));
    KQ_TRY(put_rope(m));
    return put_ids(m);
}

kq_status kq_hf_config_make(json_t **out, const kq_gguf *g, kq_error *err) {
    *out = NULL;
    maker m = {.g = g, .class = kq_hf_class_of_gguf(g), .err = err};
    if (!m.class) return kq_fail_at(err, KQ_E_UNSUPPORTED, kq_gguf_path(g), KQ_NO_OFFSET, "general.architecture is none that config.json is known for");
    m.out = json_object();
    if (!m.out) return kq_fail_memory(err, 1024, "a configuration");
    kq_status status = fill(&m);
    if (!status && m.failed) status = kq_fail_memory(err, 1024, "a configuration");
    if (status) json_decref(m.out);
    else *out = m.out;
    return status;
}
