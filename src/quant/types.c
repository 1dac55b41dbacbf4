/* SPDX-License-Identifier: MIT */
/* llama.cpp's quantisation types, and what its rules read out of a tensor's name: whether it is quantised at all, what class it is of,
 * which codec stands in where blocks do not divide its rows. Source: the behaviour of llama-quantize (llama.cpp de3ff81). */
#include "quant/quant.h"

/* ---- types --------------------------------------------------------------------------------------------------------- */

enum { COPY = UINT32_MAX }; /* keeps the source's general.file_type */

/* Smallest first, by bits of the default codec and then of the mixture. */
static const kq_quant_type types[] = {
    {"IQ1_S", 24, KQ_IQ1_S, true},   {"TQ1_0", 36, KQ_TQ1_0, false},  {"IQ1_M", 31, KQ_IQ1_M, true},   {"IQ2_XXS", 19, KQ_IQ2_XXS, true},
    {"TQ2_0", 37, KQ_TQ2_0, false},  {"IQ2_XS", 20, KQ_IQ2_XS, true}, {"IQ2_S", 28, KQ_IQ2_XS, true},  {"IQ2_M", 29, KQ_IQ2_S, true},
    {"Q2_K_S", 21, KQ_Q2_K, true},   {"Q2_K", 10, KQ_Q2_K, false},    {"IQ3_XXS", 23, KQ_IQ3_XXS, true}, {"IQ3_XS", 22, KQ_IQ3_S, true},
    {"IQ3_S", 26, KQ_IQ3_S, false},  {"Q3_K_S", 11, KQ_Q3_K, false},  {"IQ3_M", 27, KQ_IQ3_S, false},  {"Q3_K_M", 12, KQ_Q3_K, false},
    {"Q3_K_L", 13, KQ_Q3_K, false},  {"IQ4_XS", 30, KQ_IQ4_XS, false}, {"MXFP4_MOE", 38, KQ_MXFP4, false}, {"IQ4_NL", 25, KQ_IQ4_NL, false},
    {"Q4_0", 2, KQ_Q4_0, false},     {"Q4_K_S", 14, KQ_Q4_K, false},  {"Q4_K_M", 15, KQ_Q4_K, false},  {"Q4_1", 3, KQ_Q4_1, false},
    {"Q5_0", 8, KQ_Q5_0, false},     {"Q5_K_S", 16, KQ_Q5_K, false},  {"Q5_K_M", 17, KQ_Q5_K, false},  {"Q5_1", 9, KQ_Q5_1, false},
    {"Q6_K", 18, KQ_Q6_K, false},    {"Q8_0", 7, KQ_Q8_0, false},     {"F16", 1, KQ_F16, false},       {"BF16", 32, KQ_BF16, false},
    {"F32", 0, KQ_F32, false},       {"Q1_0", 40, KQ_Q1_0, false},    {"Q2_0", 41, KQ_Q2_0, false},    {"COPY", COPY, KQ_F32, false},
};

static const struct {
    const char *name, *type;
} aliases[] = {{"Q3_K", "Q3_K_M"}, {"Q4_K", "Q4_K_M"}, {"Q5_K", "Q5_K_M"}};

bool kq_same_name(const char *a, const char *b) {
    for (;; a++, b++) {
        char x = *a >= 'A' && *a <= 'Z' ? (char)(*a + 32) : *a, y = *b >= 'A' && *b <= 'Z' ? (char)(*b + 32) : *b;
        if (x != y) return false;
        if (!x) return true;
    }
}

const kq_quant_type *kq_quant_type_at(size_t i) { return i < KQ_COUNT(types) ? &types[i] : NULL; }

const kq_quant_type *kq_quant_type_find(const char *name) {
    for (size_t i = 0; name && i < KQ_COUNT(aliases); i++) {
        if (kq_same_name(name, aliases[i].name)) name = aliases[i].type;
    }
    for (size_t i = 0; name && i < KQ_COUNT(types); i++) {
        if (kq_same_name(name, types[i].name)) return &types[i];
    }
    return NULL;
}

uint32_t kq_file_type_of(kq_codec codec) {
    switch (codec) { /* of several types with this default codec, the one that names no mixture, or else the usual one */
    case KQ_Q2_K: return 10;
    case KQ_Q3_K: return 12;
    case KQ_Q4_K: return 15;
    case KQ_Q5_K: return 17;
    case KQ_IQ2_XS: return 20;
    case KQ_IQ2_S: return 28;
    case KQ_IQ3_S: return 26;
    case KQ_NVFP4: return 39;
    default: break;
    }
    for (size_t i = 0; i < KQ_COUNT(types); i++) {
        if (types[i].codec == codec && types[i].file_type != COPY) return types[i].file_type;
    }
    return 0;
}

/* ---- names --------------------------------------------------------------------------------------------------------- */

/* Parts of names that are never quantised. Most are small; some do not stand it. */
static const char *const never[] = {
    "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel", "per_layer_model_proj", "ssm_conv1d",
    "shortconv.conv.weight", "indexer.k_proj.weight", "indexer.q_proj.weight", "time_mix_first.weight", "time_mix_w0.weight",
    "time_mix_w1.weight", "time_mix_w2.weight", "time_mix_v0.weight", "time_mix_v1.weight", "time_mix_v2.weight", "time_mix_a0.weight",
    "time_mix_a1.weight", "time_mix_a2.weight", "time_mix_g1.weight", "time_mix_g2.weight", "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight", "attn_rel_b.weight", ".position_embd", "sam.pos_embd", "sam.neck.", "sam.net_",
    ".rel_pos", ".patch_embd", ".patch_merger", "a.rvq.codebook", "mm.a.code_embd",
};

const char *kq_never_quantised(const kq_gguf_tensor *t) {
    const char *name = t->name.data;
    size_t n = t->name.size, tail = strlen("weight");
    if (t->dims[1] == 1 && t->dims[2] == 1 && t->dims[3] == 1) return "a vector";
    if (n < tail || strcmp(name + n - tail, "weight") != 0) return "its name does not end in weight";
    if (strcmp(name, "position_embd.weight") == 0 || strcmp(name, "token_types.weight") == 0) return "positions and types of tokens stay";
    for (size_t i = 0; i < KQ_COUNT(never); i++) {
        if (strstr(name, never[i])) return never[i];
    }
    return NULL;
}

kq_name_class kq_name_classify(const char *name) {
    static const struct {
        const char *part;
        kq_name_class class;
    } parts[] = {{"attn_qkv.weight", KQ_CLASS_QKV}, {"attn_kv_b.weight", KQ_CLASS_KV_B}, {"attn_v.weight", KQ_CLASS_V},
                 {"attn_k.weight", KQ_CLASS_K},     {"attn_q.weight", KQ_CLASS_Q},       {"attn_output.weight", KQ_CLASS_ATTN_OUTPUT},
                 {"ffn_up", KQ_CLASS_UP},           {"ffn_gate", KQ_CLASS_GATE},         {"ffn_down", KQ_CLASS_DOWN}};
    if (strcmp(name, "output.weight") == 0) return KQ_CLASS_OUTPUT;
    if (strcmp(name, "token_embd.weight") == 0 || strcmp(name, "per_layer_token_embd.weight") == 0) return KQ_CLASS_EMBEDDING;
    for (size_t i = 0; i < KQ_COUNT(parts); i++) {
        if (strstr(name, parts[i].part)) return parts[i].class;
    }
    return KQ_CLASS_OTHER;
}

int64_t kq_name_layer(const char *name) {
    if (strncmp(name, "blk.", 4) != 0) return -1;
    int64_t layer = 0;
    size_t digits = 0;
    for (name += 4; *name >= '0' && *name <= '9' && digits < 9; name++, digits++) layer = layer * 10 + (*name - '0');
    return digits && *name == '.' ? layer : -1;
}

bool kq_fallback(kq_codec codec, uint64_t columns, kq_codec *out) {
    *out = codec;
    if (columns % kq_codec_describe(codec)->block_weights == 0) return true;
    switch (codec) {
    case KQ_IQ1_S: case KQ_IQ1_M: case KQ_IQ2_XXS: case KQ_IQ2_XS: case KQ_IQ2_S: case KQ_IQ3_XXS: case KQ_IQ3_S: case KQ_IQ4_XS:
        *out = KQ_IQ4_NL;
        break;
    case KQ_Q2_0: case KQ_Q2_K: case KQ_Q3_K: case KQ_TQ1_0: case KQ_TQ2_0: *out = KQ_Q4_0; break;
    case KQ_Q4_K: *out = KQ_Q5_0; break;
    case KQ_Q5_K: *out = KQ_Q5_1; break;
    case KQ_Q6_K: *out = KQ_Q8_0; break;
    case KQ_Q1_0: case KQ_NVFP4: return false;
    default: break;
    }
    if (columns % kq_codec_describe(*out)->block_weights != 0) *out = KQ_F16;
    return true;
}
