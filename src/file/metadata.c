/* SPDX-License-Identifier: MIT */
/* Metadata under construction: what a writer collects, and what a source that is no GGUF is described by. */
#include "file/file.h"

typedef unsigned long long ull; /* for printf */

kq_status kq_metadata_init(kq_metadata *m, const kq_allocator *a, kq_error *err) {
    *m = (kq_metadata){.allocator = kq_allocator_of(a)};
    kq_arena_init(&m->arena, &m->allocator);
    return kq_strmap_init(&m->keys, &m->allocator, 64) ? KQ_OK : kq_fail_memory(err, 128 * sizeof *m->keys.slots, "metadata");
}

void kq_metadata_free(kq_metadata *m) {
    kq_strmap_free(&m->keys);
    if (m->values) kq_free(&m->allocator, m->values);
    kq_arena_free(&m->arena);
    *m = (kq_metadata){0};
}

const kq_gguf_value *kq_metadata_find(const kq_metadata *m, const char *key) {
    uint32_t at;
    return kq_strmap_find(&m->keys, key, strlen(key), &at) ? &m->values[at] : NULL;
}

/* The reader would take exactly these bytes for this kind, element kind and count. */
static bool agrees(kq_gguf_kind kind, kq_gguf_kind element, uint64_t count, const uint8_t *data, size_t size) {
    if (!kq_gguf_kind_name(kind) || !kq_gguf_kind_name(element) || element == KQ_GGUF_ARRAY || (!data && size)) return false;
    if (kind != KQ_GGUF_ARRAY && (kind != element || count != 1)) return false;
    uint64_t bytes;
    if (element != KQ_GGUF_STRING) {
        if (!kq_mul(count, kq_gguf_kind_bytes(element), &bytes) || bytes != size) return false;
        for (uint64_t i = 0; element == KQ_GGUF_BOOL && i < size; i++) {
            if (data[i] > 1) return false;
        }
        return true;
    }
    kq_cursor c = {.data = data, .size = size};
    for (uint64_t i = 0; i < count; i++) {
        if (!kq_cursor_u64(&c, &bytes) || !kq_cursor_take(&c, bytes)) return false;
    }
    return kq_cursor_left(&c) == 0;
}

kq_status kq_name_check(const char *what, const char *name, size_t limit, kq_error *err) {
    size_t size = name ? strlen(name) : 0;
    if (size >= 1 && size <= limit) return KQ_OK;
    return kq_fail(err, KQ_E_ARGUMENT, "%s '%s': its name has %zu bytes, must be 1 to %zu", what, kq_show(name, size).text, size, limit);
}

kq_status kq_metadata_value(kq_metadata *m, const char *key, kq_gguf_kind kind, kq_gguf_kind element, uint64_t count, const void *data,
                            size_t size, kq_error *err) {
    KQ_TRY(kq_name_check("key", key, KQ_GGUF_MAX_KEY, err));
    if (!agrees(kind, element, count, data, size)) {
        return kq_fail(err, KQ_E_ARGUMENT, "key '%s': kind %d, element kind %d, count %llu and %zu bytes do not agree",
                       kq_show(key, strlen(key)).text, (int)kind, (int)element, (ull)count, size);
    }
    uint32_t at = 0;
    bool there = kq_strmap_find(&m->keys, key, strlen(key), &at);
    if (!there && m->n_values == KQ_GGUF_MAX_KEYS) {
        return kq_fail(err, KQ_E_LIMIT, "key '%s': the limit is %d keys", kq_show(key, strlen(key)).text, KQ_GGUF_MAX_KEYS);
    }
    char *name = kq_arena_string(&m->arena, key, strlen(key)), *copy = kq_arena_string(&m->arena, data, size);
    bool failed = !name || !copy || !kq_grow(&m->allocator, &m->values, &m->capacity, m->n_values + 1, sizeof *m->values);
    if (!failed && !there) {
        at = (uint32_t)m->n_values;
        kq_strmap_add(&m->keys, name, strlen(name), at, NULL, &failed);
    }
    if (failed) return kq_fail_memory(err, size, "a value");
    m->n_values += !there;
    m->values[at] = (kq_gguf_value){.key = {name, strlen(name)}, .kind = kind, .element = element, .count = count, .size = size,
                                    .offset = KQ_NO_OFFSET, .data = (const uint8_t *)copy};
    return KQ_OK;
}

kq_status kq_metadata_u32(kq_metadata *m, const char *key, uint32_t value, kq_error *err) {
    return kq_metadata_value(m, key, KQ_GGUF_U32, KQ_GGUF_U32, 1, &value, sizeof value, err);
}

kq_status kq_metadata_f32(kq_metadata *m, const char *key, float value, kq_error *err) {
    return kq_metadata_value(m, key, KQ_GGUF_F32, KQ_GGUF_F32, 1, &value, sizeof value, err);
}

kq_status kq_metadata_bool(kq_metadata *m, const char *key, bool value, kq_error *err) {
    uint8_t byte = value;
    return kq_metadata_value(m, key, KQ_GGUF_BOOL, KQ_GGUF_BOOL, 1, &byte, 1, err);
}

/* Strings as GGUF lays them out: u64 length, bytes, one after another. */
static kq_status put_strings(kq_metadata *m, const char *key, kq_gguf_kind kind, const kq_string *strings, size_t n, kq_error *err) {
    uint64_t size = 0;
    for (size_t i = 0; i < n; i++) size += 8 + (uint64_t)strings[i].size; /* no overflow: all of them are in memory, 16 bytes each at least */
    uint8_t *bytes = kq_alloc_raw(&m->allocator, size, 1), *p = bytes;
    if (!bytes) return kq_fail_memory(err, size, "a value");
    for (size_t i = 0; i < n; i++) {
        uint64_t length = strings[i].size;
        memcpy(p, &length, 8);
        if (length) memcpy(p + 8, strings[i].data, strings[i].size);
        p += 8 + length;
    }
    kq_status status = kq_metadata_value(m, key, kind, KQ_GGUF_STRING, n, bytes, (size_t)size, err);
    kq_free(&m->allocator, bytes);
    return status;
}

kq_status kq_metadata_string(kq_metadata *m, const char *key, const char *value, kq_error *err) {
    if (!value) return kq_fail(err, KQ_E_ARGUMENT, "key '%s': its value is NULL", key ? kq_show(key, strlen(key)).text : "");
    const kq_string s = {value, strlen(value)};
    return put_strings(m, key, KQ_GGUF_STRING, &s, 1, err);
}

kq_status kq_metadata_strings(kq_metadata *m, const char *key, const kq_string *strings, size_t n, kq_error *err) {
    return put_strings(m, key, KQ_GGUF_ARRAY, strings, n, err);
}

kq_status kq_metadata_array(kq_metadata *m, const char *key, kq_gguf_kind element, size_t n, const void *data, kq_error *err) {
    uint64_t size;
    if (!kq_mul(n, kq_gguf_kind_bytes(element), &size)) return kq_fail(err, KQ_E_ARGUMENT, "key '%s': %zu elements", key, n);
    return kq_metadata_value(m, key, KQ_GGUF_ARRAY, element, n, data, (size_t)size, err);
}
