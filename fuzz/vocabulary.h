/* SPDX-License-Identifier: MIT */
/* For the fuzzers of text: a GGUF file that holds a tokenizer, made in memory piece by piece. */
#ifndef KQ_FUZZ_VOCABULARY_H
#define KQ_FUZZ_VOCABULARY_H

#include <kquant/text.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct buffer {
    uint8_t *data;
    size_t size, capacity, n; /* n: elements */
} buffer;

static inline void buffer_put(buffer *b, const void *data, size_t size) {
    if (b->size + size > b->capacity) {
        b->capacity = 2 * (b->size + size);
        b->data = realloc(b->data, b->capacity);
        if (!b->data) abort();
    }
    if (size) memcpy(b->data + b->size, data, size);
    b->size += size;
}
static inline void buffer_u32(buffer *b, uint32_t v) { buffer_put(b, &v, 4); }
static inline void buffer_u64(buffer *b, uint64_t v) { buffer_put(b, &v, 8); }
static inline void buffer_string(buffer *b, const char *text, size_t size) {
    buffer_u64(b, size);
    buffer_put(b, text, size);
}

typedef struct made {
    buffer pairs, tokens, types, scores, merges; /* pairs: single values */
} made;

static inline void made_key(made *m, const char *key, uint32_t kind) {
    buffer_string(&m->pairs, key, strlen(key));
    buffer_u32(&m->pairs, kind);
    m->pairs.n++;
}
static inline void made_text(made *m, const char *key, const char *text) {
    made_key(m, key, KQ_GGUF_STRING);
    buffer_string(&m->pairs, text, strlen(text));
}
static inline void made_begin(made *m, const char *model, const char *pre) {
    memset(m, 0, sizeof *m);
    made_text(m, "general.architecture", "llama");
    made_text(m, "tokenizer.ggml.model", model);
    if (*pre) made_text(m, "tokenizer.ggml.pre", pre);
}
static inline void made_token(made *m, const char *text, size_t size, int32_t type, float score) {
    buffer_string(&m->tokens, text, size);
    buffer_put(&m->types, &type, 4);
    buffer_put(&m->scores, &score, 4);
    m->tokens.n++;
}
static inline void made_merge(made *m, const char *text, size_t size) {
    buffer_string(&m->merges, text, size);
    m->merges.n++;
}
static inline void made_array(buffer *out, const char *key, uint32_t element, size_t n, const buffer *elements) {
    buffer_string(out, key, strlen(key));
    buffer_u32(out, KQ_GGUF_ARRAY);
    buffer_u32(out, element);
    buffer_u64(out, n);
    buffer_put(out, elements->data, elements->size);
}

/* Opens what was made, and frees it. */
static inline kq_status made_open(made *m, kq_tokenizer **t, const kq_allocator *a, kq_error *err) {
    buffer file = {0};
    kq_gguf *g;
    buffer_put(&file, "GGUF", 4);
    buffer_u32(&file, 3);
    buffer_u64(&file, 0);
    buffer_u64(&file, m->pairs.n + 4);
    buffer_put(&file, m->pairs.data, m->pairs.size);
    made_array(&file, "tokenizer.ggml.tokens", KQ_GGUF_STRING, m->tokens.n, &m->tokens);
    made_array(&file, "tokenizer.ggml.token_type", KQ_GGUF_I32, m->tokens.n, &m->types);
    made_array(&file, "tokenizer.ggml.scores", KQ_GGUF_F32, m->tokens.n, &m->scores);
    made_array(&file, "tokenizer.ggml.merges", KQ_GGUF_STRING, m->merges.n, &m->merges);
    *t = NULL;
    kq_status status = kq_gguf_open_memory(&g, file.data, file.size, "made", NULL, err);
    kq_tokenizer_options o = {.struct_size = sizeof o, .allocator = a};
    if (!status) status = kq_tokenizer_open(t, g, &o, err);
    kq_gguf_close(g);
    free(file.data);
    buffer *parts[] = {&m->pairs, &m->tokens, &m->types, &m->scores, &m->merges};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) free(parts[i]->data);
    return status;
}

#endif
