/* SPDX-License-Identifier: MIT */
/* llama.cpp's rules for which tensor of a type gets more bits than the rest. Which layers these are depends on how many tensors of a
 * class were met before, so tensors are asked for in the order of the output. Source: the behaviour of llama-quantize (llama.cpp
 * de3ff81), to the letter; file types are its numbers. */
#include "quant/quant.h"

#include <stdio.h>

typedef unsigned long long ull; /* for printf */

enum {
    Q4_0 = 2, Q5_0 = 8, Q2_K = 10, Q3_K_S = 11, Q3_K_M = 12, Q3_K_L = 13, Q4_K_S = 14, Q4_K_M = 15, Q5_K_M = 17, IQ2_XXS = 19, IQ2_XS = 20,
    Q2_K_S = 21, IQ3_XS = 22, IQ3_XXS = 23, IQ1_S = 24, IQ4_NL = 25, IQ3_S = 26, IQ3_M = 27, IQ2_S = 28, IQ2_M = 29, IQ4_XS = 30, IQ1_M = 31,
    TQ1_0 = 36, TQ2_0 = 37, MXFP4_MOE = 38, Q2_0 = 41
};

static bool is(kq_string s, const char *text) { return s.size == strlen(text) && memcmp(s.data, text, s.size) == 0; }

static bool like_v(kq_name_class c) { return c == KQ_CLASS_V || c == KQ_CLASS_QKV || c == KQ_CLASS_KV_B; }

/* "<architecture>.<key>", of layer 0 where it is a list. */
static kq_status read_key(const kq_mixture *m, const char *key, uint64_t fallback, uint64_t *out, kq_error *err) {
    char full[256];
    snprintf(full, sizeof full, "%.*s.%s", (int)KQ_MIN(m->architecture.size, 128), m->architecture.data, key);
    const kq_gguf_value *v = kq_gguf_find(m->g, full);
    if (!v || v->kind != KQ_GGUF_ARRAY) return kq_gguf_get_u64_or(m->g, full, fallback, 0, UINT32_MAX, out, err);
    int64_t first;
    if (!kq_gguf_element_i64(v, 0, &first) || first < 0 || first > UINT32_MAX) {
        return kq_fail_at(err, KQ_E_MODEL, kq_gguf_path(m->g), v->offset, "%s does not begin with a count", KQ_SHOW(v->key));
    }
    *out = (uint64_t)first;
    return KQ_OK;
}

kq_status kq_mixture_init(kq_mixture *m, const kq_gguf *g, const kq_quant_type *type, bool has_imatrix, kq_error *err) {
    *m = (kq_mixture){.g = g, .type = type, .has_imatrix = has_imatrix};
    KQ_TRY(kq_gguf_get_string(g, "general.architecture", &m->architecture, err));
    uint64_t heads, kv_heads;
    KQ_TRY(read_key(m, "block_count", 0, &m->n_layer, err));
    KQ_TRY(read_key(m, "attention.head_count", 0, &heads, err));
    KQ_TRY(read_key(m, "attention.head_count_kv", heads, &kv_heads, err));
    KQ_TRY(read_key(m, "expert_count", 0, &m->n_expert, err));
    if (m->n_layer == 0) {
        return kq_fail_at(err, KQ_E_MODEL, kq_gguf_path(g), KQ_NO_OFFSET, "%s.block_count is 0 or missing: the type's rules need it",
                          KQ_SHOW(m->architecture));
    }
    m->gqa = kv_heads ? heads / kv_heads : 0;
    kq_string a = m->architecture;
    m->falcon = is(a, "falcon");
    m->is_70b = ((is(a, "llama") || is(a, "llama-embed")) && m->n_layer == 80 && heads != kv_heads && m->n_expert != 8) ||
                ((is(a, "qwen2") || is(a, "olmo") || is(a, "deci")) && m->n_layer == 80) || (is(a, "jais2") && m->n_layer == 68);
    m->tied = !kq_gguf_tensor_find(g, "output.weight");
    for (size_t i = 0; i < kq_gguf_n_tensors(g); i++) m->n_v += like_v(kq_name_classify(kq_gguf_tensor_at(g, i)->name.data));
    return KQ_OK;
}

/* Types of one or two bits: all but the tensors that matter most take the default. */
static kq_codec choose_iq12(kq_mixture *m, kq_name_class class) {
    uint32_t ft = m->type->file_type;
    kq_codec more = ft == IQ2_S || ft == IQ2_M ? KQ_IQ3_S : KQ_Q2_K;
    if (like_v(class)) {
        m->v++;
        return m->gqa >= 4 || m->n_expert >= 4 ? KQ_Q4_K : more;
    }
    if (class == KQ_CLASS_K && m->n_expert == 8) return KQ_Q4_K;
    if (class == KQ_CLASS_DOWN) return m->down++ < m->n_layer / 8 ? more : m->type->codec;
    if (class == KQ_CLASS_ATTN_OUTPUT) {
        if (m->n_expert == 8) return KQ_Q5_K;
        if (ft == IQ1_S || ft == IQ1_M) return KQ_IQ2_XXS;
        if (ft == IQ2_S || ft == IQ2_M) return KQ_IQ3_S;
    }
    return m->type->codec;
}

static kq_codec choose_v(kq_mixture *m) {
    kq_codec c = m->type->codec;
    uint64_t i = m->v++;
    bool grouped = m->gqa >= 4;
    switch (m->type->file_type) {
    case Q2_K: c = grouped ? KQ_Q4_K : KQ_Q3_K; break;
    case Q2_K_S: if (grouped) c = KQ_Q4_K; break;
    case IQ3_XXS: c = grouped ? KQ_Q4_K : m->has_imatrix ? KQ_IQ3_XXS : KQ_IQ3_S; break;
    case IQ3_XS: case IQ3_S: if (grouped) c = KQ_Q4_K; break;
    case IQ3_M: c = KQ_Q4_K; break;
    case Q3_K_M: c = i < 2 ? KQ_Q5_K : KQ_Q4_K; break;
    case Q3_K_L: c = KQ_Q5_K; break;
    case IQ4_NL: case IQ4_XS: if (grouped) c = KQ_Q5_K; break;
    case Q4_K_M: case Q5_K_M: if (kq_more_bits(i, m->n_v)) c = KQ_Q6_K; break;
    case Q4_K_S: if (i < 4) c = KQ_Q5_K; break;
    default: break;
    }
    if (m->is_70b && (c == KQ_Q3_K || c == KQ_Q4_K)) c = KQ_Q5_K; /* v is small there: eight query heads share one of its heads */
    return m->n_expert == 8 ? KQ_Q8_0 : c;
}

static kq_codec choose_down(const kq_mixture *m, uint64_t i) {
    kq_codec c = m->type->codec;
    uint64_t n = m->n_layer;
    bool eighth = i < n / 8, sixteenth = i < n / 16, more = kq_more_bits(i, n);
    switch (m->type->file_type) {
    case Q2_K: return KQ_Q3_K;
    case Q2_K_S: return eighth ? KQ_Q4_K : c;
    case IQ3_XXS: return m->has_imatrix ? c : eighth ? KQ_Q4_K : KQ_Q3_K;
    case Q3_K_M: return sixteenth ? KQ_Q5_K : !m->falcon || more ? KQ_Q4_K : KQ_Q3_K;
    case IQ3_M: return eighth || (m->n_expert == 8 && more) ? KQ_Q4_K : c;
    case Q3_K_L: return m->falcon ? KQ_Q4_K : KQ_Q5_K;
    case Q4_K_M:
        if (m->falcon) return sixteenth ? KQ_Q6_K : more ? KQ_Q5_K : KQ_Q4_K;
        return more ? KQ_Q6_K : c;
    case IQ4_NL: case IQ4_XS: return eighth && !m->has_imatrix ? KQ_Q5_K : c;
    case Q5_K_M: return more ? KQ_Q6_K : c;
    case Q4_K_S: return !m->falcon && eighth ? KQ_Q5_K : c;
    case Q4_0: return m->has_imatrix && eighth ? KQ_Q4_1 : c;
    case Q5_0: return m->has_imatrix && eighth ? KQ_Q5_1 : c;
    default: return c;
    }
}

static kq_codec choose_attn_output(const kq_mixture *m) {
    uint32_t ft = m->type->file_type;
    if (m->falcon) return ft == Q3_K_L ? KQ_Q4_K : m->type->codec;
    if (m->n_expert == 8) {
        switch (ft) {
        case Q2_K: case IQ3_XS: case IQ3_XXS: case Q3_K_S: case Q3_K_M: case IQ4_NL: case Q4_K_S: case Q4_K_M: case IQ3_S: case IQ3_M: case IQ4_XS:
            return KQ_Q5_K;
        default: return m->type->codec;
        }
    }
    switch (ft) {
    case Q2_K: return KQ_Q3_K;
    case IQ3_XXS: return KQ_IQ3_S;
    case Q3_K_M: case IQ3_M: return KQ_Q4_K;
    case Q3_K_L: return KQ_Q5_K;
    default: return m->type->codec;
    }
}

/* The layer of a feed-forward tensor: counted, or with experts read from the name. */
static kq_status feed_forward_layer(const kq_mixture *m, const kq_gguf_tensor *t, uint64_t *counter, uint64_t *out, kq_error *err) {
    *out = (*counter)++;
    if (m->n_expert <= 1) return KQ_OK;
    int64_t layer = kq_name_layer(t->name.data);
    if (layer < 0 || (uint64_t)layer >= m->n_layer) {
        return kq_fail_at(err, KQ_E_MODEL, kq_gguf_path(m->g), t->offset, "tensor %s: its name has no layer of 0 to %llu", KQ_SHOW(t->name),
                          (ull)m->n_layer - 1);
    }
    *out = (uint64_t)layer;
    return KQ_OK;
}

static kq_codec choose_output(const kq_mixture *m, const kq_gguf_tensor *t) {
    kq_codec c = m->type->codec;
    if (m->type->file_type == MXFP4_MOE || m->falcon || t->dims[0] % kq_codec_describe(c)->block_weights != 0) return KQ_Q8_0;
    switch (m->type->file_type) {
    case IQ1_S: case IQ1_M: case IQ2_XXS: case IQ2_XS: case IQ2_S: case IQ2_M: case IQ3_XXS: return KQ_Q5_K;
    default: return c == KQ_Q8_0 ? c : KQ_Q6_K;
    }
}

static kq_codec choose_embedding(const kq_mixture *m) {
    switch (m->type->file_type) {
    case IQ2_XXS: case IQ2_XS: case IQ1_S: case IQ1_M: return KQ_Q2_K;
    case IQ2_S: case IQ2_M: case IQ3_XXS: return KQ_IQ3_S;
    case TQ1_0: case TQ2_0: case Q2_0: return KQ_Q4_K;
    default: return m->type->codec;
    }
}

static kq_codec choose_mxfp4(const kq_mixture *m, const kq_gguf_tensor *t, kq_name_class class) {
    bool experts = t->dims[2] > 1;
    if (is(m->architecture, "bailingmoe3")) { /* whose attention has matrices a head */
        experts = experts && (class == KQ_CLASS_UP || class == KQ_CLASS_GATE || class == KQ_CLASS_DOWN);
    }
    return experts ? KQ_MXFP4 : KQ_Q8_0;
}

kq_status kq_mixture_choose(kq_mixture *m, const kq_gguf_tensor *t, kq_codec *out, kq_error *err) {
    kq_name_class class = kq_name_classify(t->name.data);
    uint32_t ft = m->type->file_type;
    uint64_t i;
    *out = m->type->codec;
    if (class == KQ_CLASS_OUTPUT || (class == KQ_CLASS_EMBEDDING && m->tied)) {
        *out = choose_output(m, t);
    } else if (ft == MXFP4_MOE) {
        *out = choose_mxfp4(m, t, class);
    } else if (class == KQ_CLASS_EMBEDDING) {
        *out = choose_embedding(m);
    } else if (ft == IQ1_S || ft == IQ1_M || ft == IQ2_XXS || ft == IQ2_XS || ft == IQ2_S || ft == IQ2_M) {
        *out = choose_iq12(m, class);
    } else if (like_v(class)) {
        *out = choose_v(m);
    } else if (class == KQ_CLASS_K && m->n_expert == 8) {
        *out = KQ_Q8_0;
    } else if (class == KQ_CLASS_K || class == KQ_CLASS_Q) {
        if (ft == IQ3_XS) *out = KQ_IQ3_XXS;
        if (ft == IQ3_XXS) *out = KQ_IQ2_S;
    } else if (class == KQ_CLASS_DOWN) {
        KQ_TRY(feed_forward_layer(m, t, &m->down, &i, err));
        *out = choose_down(m, i);
    } else if (class == KQ_CLASS_ATTN_OUTPUT) {
        *out = choose_attn_output(m);
    } else if (class == KQ_CLASS_GATE || class == KQ_CLASS_UP) {
        KQ_TRY(feed_forward_layer(m, t, class == KQ_CLASS_GATE ? &m->gate : &m->up, &i, err));
        if (ft == IQ3_XS && i >= m->n_layer / 8 && i < 7 * m->n_layer / 8) *out = KQ_IQ3_XXS;
    }
    return KQ_OK;
}
