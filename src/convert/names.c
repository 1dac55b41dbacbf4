/* SPDX-License-Identifier: MIT */
/* The tables of families and names, and how they are searched. */
#include "convert/convert.h"

#include <stdio.h>

static const kq_hf_class classes[] = {
#define HEAD_NONE KQ_HEAD_NONE
#define HEAD_SPLIT KQ_HEAD_SPLIT
#define KQ_HF_CLASS(class_, type, family_, arch, embd, ff, layer, head_, kv, width, ctx, eps_, theta_, vocab, tied_, expert, used, ff_expert) \
    {.name = class_, .model_type = type, .family = KQ_HF_##family_, .architecture = arch, .n_embd = embd, .n_ff = ff, .n_layer = layer,       \
     .n_head = head_, .n_kv = kv, .head = width, .n_ctx = ctx, .eps = eps_, .theta = theta_, .n_vocab = vocab, .tied = tied_,                 \
     .n_expert = expert, .n_used = used, .n_ff_expert = ff_expert},
#include "convert/families.def"
#undef HEAD_NONE
#undef HEAD_SPLIT
};

static const kq_hf_name names[] = {
#define LLAMA KQ_HF_LLAMA
#define MIXTRAL KQ_HF_MIXTRAL
#define QWEN2 KQ_HF_QWEN2
#define QWEN3 KQ_HF_QWEN3
#define QWEN3MOE KQ_HF_QWEN3MOE
#define GEMMA3 KQ_HF_GEMMA3
#define ALL KQ_HF_ALL
#define DENSE KQ_HF_DENSE
#define KQ_HF_NAME(who, need_, hf_, gguf_, shape_, how_) \
    {.families = (uint32_t)(who), .need = KQ_NEED_##need_, .hf = hf_, .gguf = gguf_, .shape = shape_, .how = KQ_HOW_##how_},
#include "convert/names.def"
};

const kq_hf_name *kq_hf_name_at(size_t i) { return i < KQ_COUNT(names) ? &names[i] : NULL; }

kq_status kq_hf_class_of(const kq_hf_class **out, kq_hf_config *c, kq_error *err) {
    *out = NULL;
    const json_t *list = json_object_get(c->text, "architectures"); /* of the text model, if it has its own */
    const char *name = json_string_value(json_array_get(list, 0)), *type = json_string_value(json_object_get(c->text, "model_type"));
    for (size_t i = 0; i < KQ_COUNT(classes); i++) {
        if (name ? strcmp(name, classes[i].name) != 0 : !type || strcmp(type, classes[i].model_type) != 0) continue;
        *out = &classes[i];
        return KQ_OK;
    }
    if (name) return kq_hf_fail(c, KQ_E_UNSUPPORTED, err, "architectures is '%s', which is none that is known", kq_show(name, strlen(name)).text);
    if (type) return kq_hf_fail(c, KQ_E_UNSUPPORTED, err, "model_type is '%s', which is none that is known", kq_show(type, strlen(type)).text);
    return kq_hf_fail(c, KQ_E_MODEL, err, "neither architectures nor model_type says what model it is");
}

const kq_hf_class *kq_hf_class_of_gguf(const kq_gguf *g) {
    kq_string arch = {0};
    if (!kq_gguf_scalar_string(kq_gguf_find(g, "general.architecture"), &arch)) return NULL;
    bool experts = kq_gguf_tensor_find(g, "blk.0.ffn_gate_exps.weight") != NULL;
    for (size_t i = 0; i < KQ_COUNT(classes); i++) {
        if (arch.size != strlen(classes[i].architecture) || memcmp(arch.data, classes[i].architecture, arch.size) != 0) continue;
        if ((classes[i].n_expert != 0) == experts) return &classes[i];
    }
    return NULL;
}

/* Whether `name` is `pattern` with a number for each #, without leading zeros and below 2^32. */
static bool match(const char *pattern, const char *name, uint32_t numbers[2]) {
    size_t n = 0;
    for (; *pattern; pattern++) {
        if (*pattern != '#') {
            if (*name++ != *pattern) return false;
            continue;
        }
        uint64_t value = 0;
        const char *first = name;
        for (; *name >= '0' && *name <= '9'; name++) {
            value = value * 10 + (uint64_t)(*name - '0');
            if (value > UINT32_MAX) return false;
        }
        if (name == first || (*first == '0' && name > first + 1)) return false;
        numbers[n++ & 1] = (uint32_t)value;
    }
    return !*name;
}

const kq_hf_name *kq_hf_name_find(uint32_t family, const char *name, size_t *at, uint32_t *layer, uint32_t *expert) {
    while (*at < KQ_COUNT(names)) {
        const kq_hf_name *row = &names[(*at)++];
        uint32_t numbers[2] = {0};
        if (!(row->families & family) || !match(row->hf, name, numbers)) continue;
        *layer = numbers[0];
        *expert = numbers[1];
        return row;
    }
    return NULL;
}

bool kq_hf_name_format(const char *pattern, uint32_t layer, uint32_t expert, char *out, size_t size) {
    size_t n = 0, numbers = 0;
    for (; *pattern; pattern++) {
        int wrote = *pattern == '#' ? snprintf(out + n, size - n, "%u", numbers++ ? expert : layer) : snprintf(out + n, size - n, "%c", *pattern);
        if (wrote < 0 || (size_t)wrote >= size - n) return false;
        n += (size_t)wrote;
    }
    return true;
}

const kq_hf_name *kq_hf_name_to_mlx(uint32_t family, const char *gguf, char out[KQ_SAFETENSORS_MAX_NAME + 1]) {
    for (size_t i = 0; i < KQ_COUNT(names); i++) {
        const kq_hf_name *row = &names[i];
        uint32_t numbers[2] = {0};
        bool mlx = row->how != KQ_HOW_WHOLE && row->how != KQ_HOW_STACK && row->how != KQ_HOW_GATE && row->how != KQ_HOW_UP;
        if (!mlx || !(row->families & family) || !match(row->gguf, gguf, numbers)) continue;
        return kq_hf_name_format(row->hf, numbers[0], 0, out, KQ_SAFETENSORS_MAX_NAME + 1) ? row : NULL;
    }
    return NULL;
}
