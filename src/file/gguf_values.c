/* SPDX-License-Identifier: MIT */
/* What an open GGUF answers: accessors, typed readers, walks over arrays. The reader has checked every byte that is touched
 * here, so nothing here can fail but for a key's absence, kind or range. */
#include "file/file.h"

#include <math.h>

typedef unsigned long long ull; /* for printf */

const char *kq_gguf_kind_name(uint32_t kind) {
    static const char *const names[] = {
        [KQ_GGUF_U8] = "u8",   [KQ_GGUF_I8] = "i8",     [KQ_GGUF_U16] = "u16",       [KQ_GGUF_I16] = "i16",     [KQ_GGUF_U32] = "u32",
        [KQ_GGUF_I32] = "i32", [KQ_GGUF_F32] = "f32",   [KQ_GGUF_BOOL] = "bool",     [KQ_GGUF_STRING] = "string",
        [KQ_GGUF_ARRAY] = "array", [KQ_GGUF_U64] = "u64", [KQ_GGUF_I64] = "i64",     [KQ_GGUF_F64] = "f64",
    };
    return kind < KQ_COUNT(names) ? names[kind] : NULL;
}

const char *kq_gguf_path(const kq_gguf *g) { return g->parts[0].path; }
uint32_t kq_gguf_version(const kq_gguf *g) { return g->version; }
uint32_t kq_gguf_parts(const kq_gguf *g) { return g->owner.object ? g->owner.n_files : (uint32_t)g->n_parts; }

uint64_t kq_gguf_file_bytes(const kq_gguf *g) {
    uint64_t sum = g->owner.file_bytes; /* no overflow: the parts are mapped side by side */
    for (size_t i = 0; i < g->n_parts; i++) sum += g->parts[i].size;
    return sum;
}

uint64_t kq_gguf_alignment(const kq_gguf *g) {
    uint64_t least = g->parts[0].alignment;
    for (size_t i = 1; i < g->n_parts; i++) least = KQ_MIN(least, g->parts[i].alignment);
    return least;
}

bool kq_gguf_is_file(const kq_gguf *g, const char *path) {
    for (size_t i = 0; i < g->n_parts; i++) {
        if (kq_map_is(&g->parts[i].map, path)) return true;
    }
    return g->owner.object && g->owner.is_file(g->owner.object, path);
}

size_t kq_gguf_n_values(const kq_gguf *g) { return g->n_values; }
const kq_gguf_value *kq_gguf_value_at(const kq_gguf *g, size_t i) { return i < g->n_values ? &g->values[i] : NULL; }

const kq_gguf_value *kq_gguf_find(const kq_gguf *g, const char *key) {
    uint32_t i;
    return key && kq_strmap_find(&g->keys, key, strlen(key), &i) ? &g->values[i] : NULL;
}

size_t kq_gguf_n_tensors(const kq_gguf *g) { return g->n_tensors; }
const kq_gguf_tensor *kq_gguf_tensor_at(const kq_gguf *g, size_t i) { return i < g->n_tensors ? &g->tensors[i] : NULL; }

const kq_gguf_tensor *kq_gguf_tensor_find(const kq_gguf *g, const char *name) {
    uint32_t i;
    return name && kq_strmap_find(&g->names, name, strlen(name), &i) ? &g->tensors[i] : NULL;
}

kq_status kq_gguf_tensor_read(const kq_gguf *g, const kq_gguf_tensor *t, uint64_t offset, uint64_t size, void *dst, kq_error *err) {
    if (!g || !t || (!dst && size)) return kq_fail(err, KQ_E_ARGUMENT, "kq_gguf_tensor_read: the file, the tensor or the result is NULL");
    uint64_t row = t->bytes / (t->weights / t->dims[0]); /* whole blocks in a row: the reader checked it */
    if (!kq_within(offset, size, t->bytes) || offset % row || size % row) {
        return kq_fail(err, KQ_E_ARGUMENT, "tensor '%s': bytes %llu to %llu are no whole rows of %llu bytes within %llu", KQ_SHOW(t->name),
                       (ull)offset, (ull)(offset + size), (ull)row, (ull)t->bytes);
    }
    if (!size) return KQ_OK;
    if (!t->data) return g->owner.read(g->owner.object, t, offset, size, dst, err);
    memcpy(dst, (const uint8_t *)t->data + offset, (size_t)size);
    return KQ_OK;
}

void kq_gguf_tensor_release(const kq_gguf *g, const kq_gguf_tensor *t, uint64_t offset, uint64_t size) {
    if (g->owner.object && g->owner.release) g->owner.release(g->owner.object);
    if (t->data && t->offset != KQ_NO_OFFSET && t->part < g->n_parts) kq_map_release(&g->parts[t->part].map, t->offset + offset, size);
}

uint64_t kq_gguf_stamp(const kq_gguf *g) {
    uint64_t stamp = g->owner.stamp;
    for (size_t i = 0; i < g->n_parts; i++) stamp = kq_map_stamp(&g->parts[i].map, stamp);
    return stamp;
}

/* ---- elements ----------------------------------------------------------------------------------------------------- */

/* An integer or bool, as a magnitude and a sign. */
typedef struct integer {
    uint64_t value; /* two's complement */
    bool negative;
} integer;

static bool element_integer(const kq_gguf_value *v, uint64_t i, integer *out) {
    if (i >= v->count) return false;
    const uint8_t *p = v->data + i * kq_gguf_kind_bytes(v->element); /* inside the value: i < count */
    int64_t s;
    switch (v->element) {
    case KQ_GGUF_U8: case KQ_GGUF_BOOL: s = p[0]; break;
    case KQ_GGUF_I8: s = (int8_t)p[0]; break;
    case KQ_GGUF_U16: s = kq_load_u16(p); break;
    case KQ_GGUF_I16: s = (int16_t)kq_load_u16(p); break;
    case KQ_GGUF_U32: s = kq_load_u32(p); break;
    case KQ_GGUF_I32: s = (int32_t)kq_load_u32(p); break;
    case KQ_GGUF_I64: s = (int64_t)kq_load_u64(p); break;
    case KQ_GGUF_U64: *out = (integer){.value = kq_load_u64(p)}; return true;
    default: return false;
    }
    *out = (integer){.value = (uint64_t)s, .negative = s < 0};
    return true;
}

bool kq_gguf_element_i64(const kq_gguf_value *value, uint64_t i, int64_t *out) {
    integer n;
    if (!value || !element_integer(value, i, &n) || (!n.negative && n.value > INT64_MAX)) return false;
    *out = (int64_t)n.value;
    return true;
}

bool kq_gguf_element_f64(const kq_gguf_value *value, uint64_t i, double *out) {
    if (!value || i >= value->count) return false;
    integer n;
    if (value->element == KQ_GGUF_F32) {
        *out = (double)kq_load_f32(value->data + i * 4);
    } else if (value->element == KQ_GGUF_F64) {
        memcpy(out, value->data + i * 8, 8);
    } else if (value->element != KQ_GGUF_BOOL && element_integer(value, i, &n)) {
        *out = n.negative ? (double)(int64_t)n.value : (double)n.value;
    } else {
        return false;
    }
    return true;
}

bool kq_gguf_scalar_string(const kq_gguf_value *value, kq_string *out) {
    if (!value || value->kind != KQ_GGUF_STRING) return false;
    *out = (kq_string){.data = (const char *)value->data + 8, .size = (size_t)kq_load_u64(value->data)};
    return true;
}

kq_gguf_strings kq_gguf_strings_of(const kq_gguf_value *value) {
    return (kq_gguf_strings){.value = value, .at = value ? value->data : NULL};
}

bool kq_gguf_strings_next(kq_gguf_strings *it, kq_string *out) {
    const kq_gguf_value *v = it->value;
    if (!v || v->kind != KQ_GGUF_ARRAY || v->element != KQ_GGUF_STRING || it->next >= v->count) return false;
    *out = (kq_string){.data = (const char *)it->at + 8, .size = (size_t)kq_load_u64(it->at)};
    it->at += 8 + out->size;
    it->next++;
    return true;
}

/* ---- typed readers ------------------------------------------------------------------------------------------------ */

static kq_status asked_well(const kq_gguf *g, const char *key, const void *out, kq_error *err) {
    return g && key && out ? KQ_OK : kq_fail(err, KQ_E_ARGUMENT, "the file, the key or the result is NULL");
}

static kq_status missing(const kq_gguf *g, const char *key, kq_error *err) {
    return kq_fail_at(err, KQ_E_MODEL, kq_gguf_path(g), KQ_NO_OFFSET, "key '%s' is missing", kq_show(key, strlen(key)).text);
}

/* "key 'a.b' is an array of 7 string, must be ..." */
static kq_status mistyped(const kq_gguf *g, const kq_gguf_value *v, const char *must, kq_error *err) {
    const char *path = kq_gguf_path(g), *element = kq_gguf_kind_name(v->element);
    if (v->kind == KQ_GGUF_ARRAY) {
        return kq_fail_at(err, KQ_E_MODEL, path, v->offset, "key '%s' is an array of %llu %s, must be %s", KQ_SHOW(v->key), (ull)v->count,
                          element, must);
    }
    double number;
    kq_string text;
    if (kq_gguf_scalar_string(v, &text)) {
        return kq_fail_at(err, KQ_E_MODEL, path, v->offset, "key '%s' is the string '%s', must be %s", KQ_SHOW(v->key), KQ_SHOW(text), must);
    }
    if (kq_gguf_element_f64(v, 0, &number)) {
        return kq_fail_at(err, KQ_E_MODEL, path, v->offset, "key '%s' is the %s %.17g, must be %s", KQ_SHOW(v->key), element, number, must);
    }
    return kq_fail_at(err, KQ_E_MODEL, path, v->offset, "key '%s' is the %s %s, must be %s", KQ_SHOW(v->key), element,
                      v->data[0] ? "true" : "false", must);
}

static kq_status to_u64(const kq_gguf *g, const kq_gguf_value *v, uint64_t min, uint64_t max, uint64_t *out, kq_error *err) {
    integer n;
    if (v->kind == KQ_GGUF_ARRAY || v->kind == KQ_GGUF_BOOL || !element_integer(v, 0, &n)) return mistyped(g, v, "an integer", err);
    if (n.negative || n.value < min || n.value > max) {
        return kq_fail_at(err, KQ_E_MODEL, kq_gguf_path(g), v->offset, "key '%s' is %s%llu, must be %llu to %llu", KQ_SHOW(v->key),
                          n.negative ? "-" : "", n.negative ? (ull)(0 - n.value) : (ull)n.value, (ull)min, (ull)max);
    }
    *out = n.value;
    return KQ_OK;
}

kq_status kq_gguf_get_u64_or(const kq_gguf *g, const char *key, uint64_t fallback, uint64_t min, uint64_t max, uint64_t *out,
                             kq_error *err) {
    KQ_TRY(asked_well(g, key, out, err));
    *out = 0;
    const kq_gguf_value *v = kq_gguf_find(g, key);
    if (v) return to_u64(g, v, min, max, out, err);
    *out = fallback;
    return KQ_OK;
}

kq_status kq_gguf_get_u64(const kq_gguf *g, const char *key, uint64_t min, uint64_t max, uint64_t *out, kq_error *err) {
    KQ_TRY(asked_well(g, key, out, err));
    *out = 0;
    const kq_gguf_value *v = kq_gguf_find(g, key);
    return v ? to_u64(g, v, min, max, out, err) : missing(g, key, err);
}

static kq_status to_f32(const kq_gguf *g, const kq_gguf_value *v, float *out, kq_error *err) {
    double number = 0;
    if ((v->kind != KQ_GGUF_F32 && v->kind != KQ_GGUF_F64) || !kq_gguf_element_f64(v, 0, &number)) return mistyped(g, v, "a float", err);
    if (!isfinite(number) || !isfinite((float)number)) return mistyped(g, v, "a finite f32", err);
    *out = (float)number;
    return KQ_OK;
}

kq_status kq_gguf_get_f32_or(const kq_gguf *g, const char *key, float fallback, float *out, kq_error *err) {
    KQ_TRY(asked_well(g, key, out, err));
    *out = 0;
    const kq_gguf_value *v = kq_gguf_find(g, key);
    if (v) return to_f32(g, v, out, err);
    *out = fallback;
    return KQ_OK;
}

kq_status kq_gguf_get_f32(const kq_gguf *g, const char *key, float *out, kq_error *err) {
    KQ_TRY(asked_well(g, key, out, err));
    *out = 0;
    const kq_gguf_value *v = kq_gguf_find(g, key);
    return v ? to_f32(g, v, out, err) : missing(g, key, err);
}

kq_status kq_gguf_get_bool_or(const kq_gguf *g, const char *key, bool fallback, bool *out, kq_error *err) {
    KQ_TRY(asked_well(g, key, out, err));
    *out = false;
    const kq_gguf_value *v = kq_gguf_find(g, key);
    if (v && v->kind != KQ_GGUF_BOOL) return mistyped(g, v, "a bool", err);
    *out = v ? v->data[0] != 0 : fallback;
    return KQ_OK;
}

kq_status kq_gguf_get_string_or(const kq_gguf *g, const char *key, const char *fallback, kq_string *out, kq_error *err) {
    KQ_TRY(asked_well(g, key, out, err));
    *out = (kq_string){0};
    const kq_gguf_value *v = kq_gguf_find(g, key);
    if (v) return kq_gguf_scalar_string(v, out) ? KQ_OK : mistyped(g, v, "a string", err);
    if (fallback) *out = (kq_string){.data = fallback, .size = strlen(fallback)};
    return KQ_OK;
}

kq_status kq_gguf_get_string(const kq_gguf *g, const char *key, kq_string *out, kq_error *err) {
    *out = (kq_string){0};
    return kq_gguf_find(g, key) ? kq_gguf_get_string_or(g, key, NULL, out, err) : missing(g, key, err);
}
