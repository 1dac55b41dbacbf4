/* SPDX-License-Identifier: MIT */
/* What the output is besides its tensors: its metadata, in llama.cpp's order, and the size of the whole file. */
#include "quant/quant.h"

typedef unsigned long long ull; /* for printf */

/* Keys that belong to the source as a file, and keys that are set anew behind the others. */
static const char *const left_out[] = {
    "split.no", "split.count", "split.tensors.count", "general.quantization_version", "general.file_type", "quantize.imatrix.file",
    "quantize.imatrix.dataset", "quantize.imatrix.entries_count", "quantize.imatrix.chunks_count",
};
enum { N_KEPT_WITHOUT_IMATRIX = 5 }; /* the last four go only when they are replaced */

static bool leaves_out(const kq_quant_plan *p, const char *key) {
    size_t n = p->imatrix ? KQ_COUNT(left_out) : N_KEPT_WITHOUT_IMATRIX;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(key, left_out[i]) == 0) return true;
    }
    return false;
}

static bool add(kq_quant_plan *p, const char *key, kq_gguf_kind kind, const void *data, size_t size) {
    uint8_t *copy = kq_arena_alloc(&p->arena, size, 1);
    if (!copy) return false;
    memcpy(copy, data, size);
    p->values[p->n_values++] = (kq_gguf_value){.key = {key, strlen(key)}, .kind = kind, .element = kind, .count = 1, .size = size, .data = copy};
    return true;
}

static bool add_u32(kq_quant_plan *p, const char *key, uint32_t value) { return add(p, key, KQ_GGUF_U32, &value, sizeof value); }

/* Texts are cut as llama.cpp's fields cut them. */
static bool add_text(kq_quant_plan *p, const char *key, const char *text) {
    struct {
        uint64_t size;
        char text[128];
    } s = {.size = KQ_MIN(strlen(text), 127)};
    memcpy(s.text, text, s.size);
    return add(p, key, KQ_GGUF_STRING, &s, sizeof s.size + s.size);
}

/* The file type of COPY: the source's own, else that of the most frequent codec, with llama.cpp's mark of a guess. */
static uint32_t copied_file_type(const kq_quant_plan *p) {
    uint64_t type;
    if (kq_gguf_get_u64(p->source, "general.file_type", 0, UINT32_MAX, &type, NULL) == KQ_OK) return (uint32_t)type;
    size_t count[KQ_CODEC_LIMIT] = {0}, best = 0;
    for (size_t i = 0; i < p->n_choices; i++) count[p->choices[i].codec]++;
    for (size_t c = 1; c < KQ_CODEC_LIMIT; c++) {
        if (count[c] > count[best]) best = c;
    }
    return 1024 | kq_file_type_of((kq_codec)best);
}

kq_status kq_quant_plan_values_make(kq_quant_plan *p, const kq_quant_plan_options *o, kq_error *err) {
    size_t n = kq_gguf_n_values(p->source);
    p->values = kq_alloc(&p->allocator, n + 6, sizeof *p->values);
    if (!p->values) return kq_fail_memory(err, (n + 6) * sizeof *p->values, "a quantisation plan");
    for (size_t i = 0; i < n; i++) {
        const kq_gguf_value *v = kq_gguf_value_at(p->source, i);
        if (!leaves_out(p, v->key.data)) p->values[p->n_values++] = *v;
    }
    bool fine = add_u32(p, "general.quantization_version", 2) && add_u32(p, "general.file_type", 0);
    if (p->imatrix) {
        const char *dataset = kq_imatrix_dataset_at(p->imatrix, 0);
        uint32_t chunks = kq_imatrix_chunks(p->imatrix, NULL);
        fine = fine && add_text(p, "quantize.imatrix.file", o->imatrix_name ? o->imatrix_name : "");
        if (dataset) fine = fine && add_text(p, "quantize.imatrix.dataset", dataset);
        fine = fine && add_u32(p, "quantize.imatrix.entries_count", (uint32_t)kq_imatrix_n_entries(p->imatrix));
        if (chunks) fine = fine && add_u32(p, "quantize.imatrix.chunks_count", chunks);
    }
    return fine ? KQ_OK : kq_fail_memory(err, 128, "a quantisation plan");
}

kq_status kq_quant_plan_head(const kq_quant_plan *p, uint64_t *bytes, uint64_t *alignment, kq_error *err) {
    uint64_t at = 24; /* of the header, then values and descriptions of tensors */
    bool fine = true;
    *alignment = KQ_GGUF_DEFAULT_ALIGNMENT;
    for (size_t i = 0; i < p->n_values; i++) {
        const kq_gguf_value *v = &p->values[i];
        if (strcmp(v->key.data, "general.alignment") == 0) *alignment = kq_load_u32(v->data); /* a power of two: the reader knows */
        fine = fine && kq_add(at, 8 + v->key.size + 4 + (v->kind == KQ_GGUF_ARRAY ? 12 : 0), &at) && kq_add(at, v->size, &at);
    }
    for (size_t i = 0; i < kq_gguf_n_tensors(p->source); i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(p->source, i);
        fine = fine && kq_add(at, 8 + t->name.size + 4 + 8 * (uint64_t)t->n_dims + 4 + 8, &at);
    }
    fine = fine && kq_round_up(at, *alignment, bytes);
    return fine ? KQ_OK : kq_fail(err, KQ_E_LIMIT, "the output would have more than 2^64 bytes");
}

kq_status kq_quant_plan_finish(kq_quant_plan *p, kq_error *err) {
    uint64_t at, alignment;
    if (p->file_type == UINT32_MAX) p->file_type = copied_file_type(p);
    for (size_t i = 0; i < p->n_values; i++) {
        if (strcmp(p->values[i].key.data, "general.file_type") == 0) p->values[i].data = (const uint8_t *)&p->file_type;
    }
    KQ_TRY(kq_quant_plan_head(p, &at, &alignment, err));
    bool fine = true;
    for (size_t i = 0; i < p->n_choices; i++) {
        const kq_quant_choice *c = &p->choices[i];
        fine = fine && kq_add(at, c->bytes, &at) && kq_round_up(at, alignment, &at) && kq_add(p->tensor_bytes, c->bytes, &p->tensor_bytes) &&
               kq_add(p->weights, c->tensor->weights, &p->weights);
    }
    p->file_bytes = at;
    return fine ? KQ_OK : kq_fail(err, KQ_E_LIMIT, "the output would have more than 2^64 bytes");
}
