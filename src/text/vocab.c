/* SPDX-License-Identifier: MIT */
/* The vocabulary: texts and types of ids, copied once out of the file, and the way from a text to its id. */
#include "file/file.h"
#include "text/text.h"

#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The slot of a text, or the free one where it would be. */
static size_t probe(const kq_vocab *v, const char *text, size_t size, uint64_t hash) {
    size_t i = hash & v->mask;
    for (; v->slots[i]; i = (i + 1) & v->mask) {
        if (v->slots[i] >> 32 != hash >> 32) continue;
        size_t n;
        const char *have = kq_vocab_text(v, (uint32_t)v->slots[i] - 1, &n);
        if (n == size && memcmp(have, text, size) == 0) break;
    }
    return i;
}

int32_t kq_vocab_find(const kq_vocab *v, const char *text, size_t size) {
    if (size > v->longest || !v->slots) return KQ_NO_TOKEN;
    uint64_t slot = v->slots[probe(v, text, size, XXH3_64bits_withSeed(text, size, v->seed))];
    return slot ? (int32_t)((uint32_t)slot - 1) : KQ_NO_TOKEN;
}

kq_status kq_vocab_numbers(const kq_gguf *g, const char *key, size_t n, bool floats, const kq_gguf_value **out, kq_error *err) {
    *out = NULL;
    const kq_gguf_value *value = kq_gguf_find(g, key);
    if (!value) return KQ_OK;
    bool number = value->element != KQ_GGUF_STRING && value->element != KQ_GGUF_BOOL && value->element != KQ_GGUF_ARRAY;
    bool real = value->element == KQ_GGUF_F32 || value->element == KQ_GGUF_F64;
    if (value->kind != KQ_GGUF_ARRAY || !number || (real && !floats)) {
        return kq_fail(err, KQ_E_MODEL, "%s is no array of %s", key, floats ? "numbers" : "integers");
    }
    if (value->count < n) {
        return kq_fail(err, KQ_E_MODEL, "%s has %llu elements for %zu tokens", key, (unsigned long long)value->count, n);
    }
    *out = value;
    return KQ_OK;
}

/* Bytes of all texts; empty ones get a name, which is at most 21 bytes. */
static kq_status measure(kq_vocab *v, const kq_gguf_value *tokens, uint64_t *bytes, kq_error *err) {
    kq_gguf_strings it = kq_gguf_strings_of(tokens);
    kq_string s;
    *bytes = 0;
    for (size_t id = 0; id < v->n; id++) {
        if (!kq_gguf_strings_next(&it, &s)) return kq_fail(err, KQ_E_MODEL, "tokenizer.ggml.tokens ends at token %zu of %zu", id, v->n);
        if (s.size > KQ_VOCAB_MAX_TOKEN) {
            return kq_fail(err, KQ_E_LIMIT, "token %zu has %zu bytes, the limit is %d", id, s.size, KQ_VOCAB_MAX_TOKEN);
        }
        *bytes += s.size ? s.size : 24; /* at most 2^24 * 65535: far below 2^64 */
    }
    if (*bytes > UINT32_MAX) {
        return kq_fail(err, KQ_E_LIMIT, "tokenizer.ggml.tokens has %llu bytes of text, the limit is 2^32 - 1", (unsigned long long)*bytes);
    }
    return KQ_OK;
}

static kq_status copy_texts(kq_vocab *v, const kq_gguf_value *tokens, kq_error *err) {
    kq_gguf_strings it = kq_gguf_strings_of(tokens);
    kq_string s;
    uint32_t at = 0;
    for (uint32_t id = 0; id < v->n && kq_gguf_strings_next(&it, &s); id++) {
        v->start[id] = at;
        size_t size = s.size;
        if (size) {
            memcpy(v->bytes + at, s.data, size);
        } else {
            char name[24];
            size = (size_t)snprintf(name, sizeof name, "[EMPTY_%u]", (unsigned)id);
            memcpy(v->bytes + at, name, size);
        }
        v->longest = KQ_MAX(v->longest, size);
        uint64_t hash = XXH3_64bits_withSeed(v->bytes + at, size, v->seed);
        v->start[id + 1] = at + (uint32_t)size; /* probe() reads it for earlier ids only */
        size_t slot = probe(v, v->bytes + at, size, hash);
        if (v->slots[slot]) {
            return kq_fail(err, KQ_E_MODEL, "tokens %u and %u are both '%s'", (unsigned)((uint32_t)v->slots[slot] - 1), (unsigned)id,
                           kq_show(v->bytes + at, size).text);
        }
        v->slots[slot] = (hash & ~(uint64_t)UINT32_MAX) | (id + 1);
        at += (uint32_t)size;
    }
    return KQ_OK;
}

static kq_status read_types(kq_vocab *v, const kq_gguf *g, kq_error *err) {
    static const uint16_t is[] = {0, KQ_TOKEN_NORMAL, KQ_TOKEN_UNKNOWN, KQ_TOKEN_CONTROL, KQ_TOKEN_USER, KQ_TOKEN_UNUSED, KQ_TOKEN_BYTE};
    const kq_gguf_value *types;
    KQ_TRY(kq_vocab_numbers(g, "tokenizer.ggml.token_type", v->n, false, &types, err));
    for (size_t id = 0; id < v->n; id++) {
        int64_t type = 1;
        if (types && !kq_gguf_element_i64(types, id, &type)) type = 0; /* beyond int64: as undefined as any other number */
        v->is[id] = type > 0 && type < (int64_t)KQ_COUNT(is) ? is[type] : 0;
    }
    return KQ_OK;
}

kq_status kq_vocab_open(kq_vocab *v, const kq_gguf *g, const kq_allocator *a, kq_error *err) {
    *v = (kq_vocab){.allocator = a};
    const kq_gguf_value *tokens = kq_gguf_find(g, "tokenizer.ggml.tokens");
    if (!tokens) return kq_fail(err, KQ_E_MODEL, "tokenizer.ggml.tokens is missing");
    if (tokens->kind != KQ_GGUF_ARRAY || tokens->element != KQ_GGUF_STRING) {
        return kq_fail(err, KQ_E_MODEL, "tokenizer.ggml.tokens is no array of strings");
    }
    if (tokens->count == 0) return kq_fail(err, KQ_E_MODEL, "tokenizer.ggml.tokens is empty");
    if (tokens->count > KQ_VOCAB_MAX_TOKENS) {
        return kq_fail(err, KQ_E_LIMIT, "tokenizer.ggml.tokens has %llu tokens, the limit is %d", (unsigned long long)tokens->count,
                       KQ_VOCAB_MAX_TOKENS);
    }
    v->n = (size_t)tokens->count;
    uint64_t bytes = 0;
    KQ_TRY(measure(v, tokens, &bytes, err));
    size_t slots = 16;
    while (slots < 2 * v->n) slots *= 2;
    v->mask = slots - 1;
    v->seed = kq_hash_seed(v);
    v->bytes = kq_alloc_raw(a, bytes, 1);
    v->start = kq_alloc_raw(a, v->n + 1, sizeof *v->start);
    v->is = kq_alloc_raw(a, v->n, sizeof *v->is);
    v->slots = kq_alloc(a, slots, sizeof *v->slots);
    kq_status status = v->bytes && v->start && v->is && v->slots
                           ? copy_texts(v, tokens, err)
                           : kq_fail_memory(err, bytes + slots * 8 + v->n * 6, "a vocabulary");
    if (!status) status = read_types(v, g, err);
    const kq_gguf_value *scores; /* only SentencePiece reads them, but they must fit in any vocabulary */
    if (!status) status = kq_vocab_numbers(g, "tokenizer.ggml.scores", v->n, true, &scores, err);
    if (status) kq_vocab_close(v);
    return status;
}

void kq_vocab_close(kq_vocab *v) {
    if (!v->allocator) return;
    kq_free(v->allocator, v->bytes);
    kq_free(v->allocator, v->start);
    kq_free(v->allocator, v->is);
    kq_free(v->allocator, v->slots);
    *v = (kq_vocab){0};
}
