/* SPDX-License-Identifier: MIT */
/* JSON that goes out: texts that grow, and files of them. */
#include "file/json.h"
#include "file/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <utf8proc.h>

void kq_text_add(kq_text *t, const void *data, size_t size) {
    t->failed = t->failed || !kq_grow(t->allocator, &t->data, &t->capacity, t->size + size, 1);
    if (t->failed || !size) return;
    memcpy(t->data + t->size, data, size);
    t->size += size;
}

void kq_text_put(kq_text *t, const char *s) { kq_text_add(t, s, strlen(s)); }

void kq_text_u64(kq_text *t, uint64_t n) {
    char digits[24];
    kq_text_add(t, digits, (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)n));
}

void kq_text_json(kq_text *t, const char *data, size_t size) {
    char escaped[8];
    size_t plain = 0;
    kq_text_put(t, "\"");
    for (size_t i = 0; i <= size; i++) {
        uint8_t c = i < size ? (uint8_t)data[i] : '"';
        if (c != '"' && c != '\\' && c >= 0x20) continue;
        kq_text_add(t, data + plain, i - plain);
        plain = i + 1;
        if (i == size) break;
        int n = c < 0x20 ? snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)c) : snprintf(escaped, sizeof escaped, "\\%c", c);
        kq_text_add(t, escaped, (size_t)n);
    }
    kq_text_put(t, "\"");
}

/* 15 digits give back what was written with 15 or less, and look like it; 17 give back everything. */
static bool fits_15(const json_t *value) {
    const char *key;
    json_t *inner;
    size_t at;
    char digits[32];
    if (json_is_real(value)) {
        snprintf(digits, sizeof digits, "%.15g", json_real_value(value));
        return strtod(digits, NULL) == json_real_value(value);
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, inner) {
        if (!fits_15(inner)) return false;
    }
    json_array_foreach(value, at, inner) {
        if (!fits_15(inner)) return false;
    }
    return true;
}

static int dump(const char *data, size_t size, void *ctx) {
    kq_text_add(ctx, data, size);
    return 0;
}

void kq_text_value(kq_text *t, const json_t *value) {
    size_t flags = JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(fits_15(value) ? 15u : 17u);
    if (json_dump_callback(value, dump, t, flags)) t->failed = true;
}

kq_status kq_text_write(const kq_text *t, const char *path, kq_error *err) {
    if (t->failed) return kq_fail_memory(err, t->size, "a text");
    kq_arena arena;
    kq_output o;
    kq_arena_init(&arena, t->allocator);
    kq_status status = kq_output_open(&o, path, &arena, t->allocator, err);
    if (!status) {
        status = kq_output_reserve(&o, t->size, err);
        if (!status) {
            (void)kq_output_write(&o, t->data, t->size);
            status = kq_output_complete(&o, err);
        }
        if (!status) status = kq_output_publish(&o, err);
        kq_output_close(&o);
    }
    kq_arena_free(&arena);
    return status;
}

bool kq_is_utf8(const char *data, size_t size) {
    utf8proc_int32_t code;
    while (size) {
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)data, (utf8proc_ssize_t)size, &code);
        if (n < 1) return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}
