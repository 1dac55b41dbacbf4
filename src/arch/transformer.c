/* SPDX-License-Identifier: MIT */
/* What the families of decoder-only transformers share: hyper-parameters, attention, feed-forward, experts, output.
 *
 * Keys: docs/gguf.md of the ggml repository. T tokens, R wanted rows, S positions; shapes are in comments, outermost first. */
#include "arch/arch.h"

#include "file/file.h"

#include <math.h>

/* Wider than any model, and small enough that a product of two stays far below 2^63. */
enum { MAX_LAYERS = 1024, MAX_WIDTH = 1 << 20, MAX_HEADS = 1 << 16, MAX_HEAD = 1 << 16, MAX_EXPERTS = 1 << 16 };

/* ---- hyper-parameters ---------------------------------------------------------------------------------------------- */

static bool is(kq_string s, const char *text) { return s.size == strlen(text) && memcmp(s.data, text, s.size) == 0; }

void kq_refuse(kq_builder *b, const char *key, double neutral) {
    double v = kq_key_f64_or(b, key, neutral, -INFINITY, INFINITY);
    if (v != neutral) kq_builder_fail(b, KQ_E_UNSUPPORTED, "%s.%s = %g is not supported", b->prefix, key, v);
}

/* Linear scaling divides positions by a factor; the factor alone, or under its old name, means the same. llama3's scaling is no key: it
 * is the tensor rope_freqs.weight. */
static double rope_scale(kq_builder *b) {
    kq_string type = kq_key_string_or(b, "rope.scaling.type", "linear");
    if (is(type, "none")) return 1.0;
    if (!is(type, "linear")) {
        kq_builder_fail(b, KQ_E_UNSUPPORTED, "%s.rope.scaling.type: no support for %s", b->prefix, KQ_SHOW(type));
        return 1.0;
    }
    double old = kq_key_f64_or(b, "rope.scale_linear", 0.0, 0.0, 1e9);
    double factor = kq_key_f64_or(b, "rope.scaling.factor", old, 0.0, 1e9);
    return factor == 0.0 ? 1.0 : 1.0 / factor;
}

static void read_rope(kq_builder *b, int style, kq_hyper *h) {
    h->rope.style = style;
    h->rope.n_rot = kq_key_u64_or(b, "rope.dimension_count", h->head_k, 2, h->head_k);
    if (!b->status && h->rope.n_rot % 2) {
        kq_builder_fail(b, KQ_E_MODEL, "%s.rope.dimension_count is %llu, which is odd", b->prefix, (unsigned long long)h->rope.n_rot);
    }
    h->rope.base = kq_key_f64_or(b, "rope.freq_base", 10000.0, 1.0, 1e15);
    h->rope.scale = rope_scale(b);
    h->rope.factors = kq_vector_or_none(b, h->rope.n_rot / 2, "rope_freqs.weight"); /* [n_rot / 2] */
    kq_refuse(b, "rope.scaling.attn_factor", 1.0);
}

/* Query heads of layer b->layer, and the key heads that they share. */
static uint64_t heads(kq_builder *b, uint64_t *n_kv) {
    uint64_t n = kq_key_layer(b, "attention.head_count", 1, MAX_HEADS);
    *n_kv = kq_key_layer_or(b, "attention.head_count_kv", n, 1, MAX_HEADS);
    if (n % *n_kv != 0) {
        kq_builder_fail(b, KQ_E_MODEL, "%s.attention.head_count is %llu, no multiple of head_count_kv %llu (layer %u)", b->prefix,
                        (unsigned long long)n, (unsigned long long)*n_kv, b->layer);
    }
    return n;
}

static void read_experts(kq_builder *b, kq_hyper *h) {
    h->n_expert = kq_key_u64_or(b, "expert_count", 0, 0, MAX_EXPERTS);
    if (h->n_expert == 0) return;
    h->n_used = kq_key_u64(b, "expert_used_count", 1, h->n_expert);
    double scale = kq_key_f64_or(b, "expert_weights_scale", 0.0, -1e9, 1e9);
    h->expert_scale = scale == 0.0 ? 1.0 : scale;
    if (kq_key_u64_or(b, "expert_gating_func", 1, 0, UINT32_MAX) > 1) {
        kq_builder_fail(b, KQ_E_UNSUPPORTED, "%s.expert_gating_func: only softmax is supported", b->prefix);
    }
    if (!kq_key_bool_or(b, "expert_weights_norm", true)) {
        kq_builder_fail(b, KQ_E_UNSUPPORTED, "%s.expert_weights_norm = false is not supported", b->prefix);
    }
}

void kq_hyper_read(kq_builder *b, int rope_style, kq_hyper *h) {
    h->n_layer = kq_key_u64(b, "block_count", 1, MAX_LAYERS);
    h->n_embd = kq_key_u64(b, "embedding_length", 1, MAX_WIDTH);
    h->n_ctx = kq_key_u64(b, "context_length", 1, INT32_MAX);
    h->eps = kq_key_f64(b, "attention.layer_norm_rms_epsilon", 0.0, 1.0);
    uint64_t n_kv, head = h->n_embd / heads(b, &n_kv);
    h->head_k = kq_key_u64_or(b, "attention.key_length", head, 1, MAX_HEAD);
    h->head_v = kq_key_u64_or(b, "attention.value_length", head, 1, MAX_HEAD);
    if (h->head_k < 2 || h->head_v < 1) {
        kq_builder_fail(b, KQ_E_MODEL, "%s.embedding_length is %llu, too small for its heads", b->prefix, (unsigned long long)h->n_embd);
    }
    h->scale = 1.0 / sqrt((double)h->head_k);
    if (!kq_key_bool_or(b, "attention.causal", true)) kq_builder_fail(b, KQ_E_UNSUPPORTED, "%s.attention.causal = false is not supported", b->prefix);
    read_rope(b, rope_style, h);
    read_experts(b, h);
    if (b->status) return;

    const kq_gguf_tensor *embedding = kq_gguf_tensor_find(b->file, "token_embd.weight");
    if (!embedding) {
        kq_builder_fail(b, KQ_E_MODEL, "tensor token_embd.weight is missing");
        return;
    }
    h->n_vocab = embedding->dims[1]; /* kq_matrix checks the rest of its shape */
    b->tokens = kq_input(b, KQ_SYM_T, (kq_dim)KQ_MIN(h->n_vocab, INT32_MAX), "tokens");
    b->positions = kq_input(b, KQ_SYM_T, KQ_SYM_S, "positions");
    b->rows = kq_input(b, KQ_SYM_R, KQ_SYM_T, "rows");
}

/* ---- the pieces ---------------------------------------------------------------------------------------------------- */

kq_ref kq_embedding(kq_builder *b, const kq_hyper *h, double scale) {
    return kq_look_up(b, kq_matrix(b, KQ_ROLE_embedding, h->n_vocab, h->n_embd, "token_embd.weight"), b->tokens, scale); /* [T, n_embd] */
}

kq_ref kq_norm(kq_builder *b, const kq_hyper *h, kq_ref x, const char *name) {
    return kq_rms_norm(b, x, kq_vector(b, h->n_embd, "blk.%u.%s.weight", b->layer, name), h->eps); /* [T, n_embd] */
}

/* A matrix of this layer, with its bias where there is one. GGUF's names for the matrices of a dense layer are those of their roles. */
static kq_ref project(kq_builder *b, kq_ref x, uint64_t rows, uint64_t columns, kq_role role, bool biased) {
    const char *name = kq_role_names[role];
    kq_ref w = kq_matrix(b, role, rows, columns, "blk.%u.%s.weight", b->layer, name);
    kq_ref bias = biased ? kq_vector(b, rows, "blk.%u.%s.bias", b->layer, name) : kq_vector_or_none(b, rows, "blk.%u.%s.bias", b->layer, name);
    return kq_linear(b, w, x, bias); /* [T, rows] */
}

/* x [T, n, head_k], each head normalised */
static kq_ref head_norm(kq_builder *b, const kq_hyper *h, kq_ref x, const char *name) {
    kq_ref w = h->qk_norm ? kq_vector(b, h->head_k, "blk.%u.%s.weight", b->layer, name)
                          : kq_vector_or_none(b, h->head_k, "blk.%u.%s.weight", b->layer, name);
    return w == KQ_NO_SLOT ? x : kq_rms_norm(b, x, w, h->eps);
}

kq_ref kq_self_attention(kq_builder *b, const kq_hyper *h, kq_ref x, uint64_t window) {
    uint64_t n_kv, n = heads(b, &n_kv);
    kq_ref q = kq_reshape(b, project(b, x, n * h->head_k, h->n_embd, KQ_ROLE_attn_q, h->qkv_bias), n, h->head_k);       /* [T, n, head_k] */
    kq_ref k = kq_reshape(b, project(b, x, n_kv * h->head_k, h->n_embd, KQ_ROLE_attn_k, h->qkv_bias), n_kv, h->head_k); /* [T, n_kv, head_k] */
    kq_ref v = kq_reshape(b, project(b, x, n_kv * h->head_v, h->n_embd, KQ_ROLE_attn_v, h->qkv_bias), n_kv, h->head_v); /* [T, n_kv, head_v] */
    q = kq_rope(b, head_norm(b, h, q, "attn_q_norm"), &h->rope);
    k = kq_rope(b, head_norm(b, h, k, "attn_k_norm"), &h->rope);
    kq_ref keys = kq_state(b, n_kv, h->head_k, "blk.%u.keys", b->layer);     /* [S, n_kv, head_k] */
    kq_ref values = kq_state(b, n_kv, h->head_v, "blk.%u.values", b->layer); /* [S, n_kv, head_v] */
    kq_cache_write(b, k, keys);
    kq_cache_write(b, v, values);
    x = kq_reshape(b, kq_attention(b, q, keys, values, h->scale, window), n * h->head_v, 0); /* [T, n head_v] */
    return project(b, x, h->n_embd, n * h->head_v, KQ_ROLE_attn_output, false);               /* [T, n_embd] */
}

static kq_ref gate_mul(kq_builder *b, const kq_hyper *h, kq_ref gate, kq_ref up) {
    return h->gelu ? kq_gelu_mul(b, gate, up) : kq_silu_mul(b, gate, up);
}

kq_ref kq_ffn(kq_builder *b, const kq_hyper *h, kq_ref x) {
    uint64_t n_ff = kq_key_layer(b, "feed_forward_length", 1, MAX_WIDTH);
    kq_ref gate = project(b, x, n_ff, h->n_embd, KQ_ROLE_ffn_gate, false);                 /* [T, n_ff] */
    kq_ref up = project(b, x, n_ff, h->n_embd, KQ_ROLE_ffn_up, false);                     /* [T, n_ff] */
    return project(b, gate_mul(b, h, gate, up), h->n_embd, n_ff, KQ_ROLE_ffn_down, false); /* [T, n_embd] */
}

kq_ref kq_experts_ffn(kq_builder *b, const kq_hyper *h, kq_ref x) {
    uint64_t n = h->n_expert, n_ff = h->n_ff_expert, d = h->n_embd;
    uint32_t i = b->layer;
    kq_ref scores = kq_linear(b, kq_matrix(b, KQ_ROLE_router, n, d, "blk.%u.ffn_gate_inp.weight", i), x, KQ_NO_SLOT); /* [T, n] */
    kq_ref idx = kq_router_pick(b, scores, h->n_used);                                                                /* [T, n_used] */
    kq_ref weights = kq_router_weights(b, scores, idx, true, h->expert_scale);                                        /* [T, n_used] */
    x = kq_reshape(b, x, 1, d);                                                                                       /* [T, 1, n_embd] */
    kq_ref gate = kq_experts(b, KQ_ROLE_expert_gate, n, n_ff, d, "blk.%u.ffn_gate_exps.weight", i);
    kq_ref up = kq_experts(b, KQ_ROLE_expert_up, n, n_ff, d, "blk.%u.ffn_up_exps.weight", i);
    kq_ref down = kq_experts(b, KQ_ROLE_expert_down, n, d, n_ff, "blk.%u.ffn_down_exps.weight", i);
    gate = kq_linear_gather(b, gate, x, idx);                                                                         /* [T, n_used, n_ff] */
    up = kq_linear_gather(b, up, x, idx);                                                                             /* [T, n_used, n_ff] */
    return kq_combine(b, kq_linear_gather(b, down, gate_mul(b, h, gate, up), idx), weights);                          /* [T, n_embd] */
}

void kq_logits(kq_builder *b, const kq_hyper *h, kq_ref x) {
    const char *name = kq_tensor_exists(b, "output.weight") ? "output.weight" : "token_embd.weight"; /* tied */
    x = kq_rms_norm(b, x, kq_vector(b, h->n_embd, "output_norm.weight"), h->eps);                 /* [R, n_embd] */
    kq_ref w = kq_matrix(b, KQ_ROLE_output, h->n_vocab, h->n_embd, "%s", name);
    kq_output(b, kq_linear(b, w, x, KQ_NO_SLOT), "logits");                                       /* [R, n_vocab] */
}
