/* SPDX-License-Identifier: MIT */
/* Reads config.json, tokenizer_config.json and generation_config.json of a folder. */
#include "convert/convert.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* A config has a few hundred values; a checkpoint's per_tensor map one for a tensor; a tokenizer's added tokens eight for a token. */
enum { MAX_BYTES = 32 << 20, MAX_DEPTH = 32, MAX_VALUES = 1 << 20 };

const char *kq_hf_path(kq_hf_config *c, const char *name) {
    size_t size = strlen(c->folder) + 1 + strlen(name) + 1;
    char *path = kq_arena_alloc(&c->arena, size, 1);
    if (path) snprintf(path, size, "%s/%s", c->folder, name);
    return path;
}

static kq_status read_object(json_t **out, const char *path, kq_error *err) {
    KQ_TRY(kq_json_read(out, path, MAX_BYTES, (kq_json_limits){.depth = MAX_DEPTH, .values = MAX_VALUES}, err));
    if (json_is_object(*out)) return KQ_OK;
    json_decref(*out);
    *out = NULL;
    return kq_fail_at(err, KQ_E_FORMAT, path, 0, "it is no JSON object");
}

kq_status kq_hf_json(json_t **out, kq_hf_config *c, const char *name, kq_error *err) {
    *out = NULL;
    const char *path = kq_hf_path(c, name);
    if (!path) return kq_fail_memory(err, strlen(c->folder), "a path");
    if (access(path, F_OK) && errno == ENOENT) return KQ_OK;
    return read_object(out, path, err);
}

/* Models of several parts keep the text model's configuration in an object of their own. */
static kq_status find_text(kq_hf_config *c, kq_error *err) {
    static const char *const names[] = {"text_config", "llm_config", "lm_config", "language_config"};
    const json_t *text = json_object_get(json_object_get(c->root, "thinker_config"), "text_config");
    for (size_t i = 0; i < KQ_COUNT(names) && !text; i++) text = json_object_get(c->root, names[i]);
    if (!text || json_is_null(text)) {
        c->text = json_incref(c->root);
        return KQ_OK;
    }
    if (!json_is_object(text)) {
        return kq_fail_at(err, KQ_E_FORMAT, kq_hf_path(c, "config.json"), KQ_NO_OFFSET, "the text model's configuration is no object");
    }
    c->text = json_copy(c->root);
    if (!c->text || json_object_update(c->text, (json_t *)(uintptr_t)text)) { /* which it only reads */
        return kq_fail_memory(err, json_object_size(c->root) * sizeof(void *), "a configuration");
    }
    return KQ_OK;
}

kq_status kq_hf_config_open(kq_hf_config *c, const char *folder, const kq_allocator *a, kq_error *err) {
    *c = (kq_hf_config){.allocator = kq_allocator_of(a), .folder = folder};
    kq_arena_init(&c->arena, &c->allocator);
    c->folder = kq_arena_string(&c->arena, folder, strlen(folder));
    const char *path = c->folder ? kq_hf_path(c, "config.json") : NULL;
    kq_status status = path ? KQ_OK : kq_fail_memory(err, strlen(folder), "a path");
    if (!status && access(path, F_OK) && errno == ENOENT) {
        status = kq_fail_at(err, KQ_E_IO, folder, KQ_NO_OFFSET, "is a directory without config.json, so it holds no model");
    }
    if (!status) status = read_object(&c->root, path, err);
    if (!status) status = find_text(c, err);
    if (!status) status = kq_hf_json(&c->tokenizer, c, "tokenizer_config.json", err);
    if (!status) status = kq_hf_json(&c->generation, c, "generation_config.json", err);
    if (status) kq_hf_config_close(c);
    return status;
}

void kq_hf_config_close(kq_hf_config *c) {
    json_decref(c->root);
    json_decref(c->text);
    json_decref(c->tokenizer);
    json_decref(c->generation);
    kq_arena_free(&c->arena);
    *c = (kq_hf_config){0};
}

/* ---- fields -------------------------------------------------------------------------------------------------------- */

static kq_status fail_in(kq_hf_config *c, const json_t *object, kq_status status, kq_error *err, const char *text) {
    bool generation = object && object == c->generation, tokenizer = object && object == c->tokenizer;
    const char *path = kq_hf_path(c, generation ? "generation_config.json" : tokenizer ? "tokenizer_config.json" : "config.json");
    return kq_fail_at(err, status, path ? path : c->folder, KQ_NO_OFFSET, "%s", text);
}

kq_status kq_hf_fail(kq_hf_config *c, kq_status status, kq_error *err, const char *format, ...) {
    char text[sizeof err->text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return fail_in(c, c->root, status, err, text);
}

/* "hidden_size is 'x', must be an integer" */
static kq_status mistyped(kq_hf_config *c, const json_t *object, const json_t *value, const char *field, const char *must, kq_error *err) {
    char text[48] = "an object or a list";
    if (json_is_boolean(value)) snprintf(text, sizeof text, "%s", json_is_true(value) ? "true" : "false");
    if (json_is_number(value)) snprintf(text, sizeof text, "%.17g", json_number_value(value));
    if (json_is_string(value)) snprintf(text, sizeof text, "'%s'", kq_show(json_string_value(value), json_string_length(value)).text);
    char sentence[sizeof err->text];
    snprintf(sentence, sizeof sentence, "%s is %s, must be %s", field, text, must);
    return fail_in(c, object, KQ_E_MODEL, err, sentence);
}

kq_status kq_hf_u64(kq_hf_config *c, const json_t *object, const char *field, uint64_t min, uint64_t max, uint64_t *out, bool *found,
                    kq_error *err) {
    const json_t *value = json_object_get(object, field);
    bool there = value && !json_is_null(value);
    if (found) *found = there;
    if (!there) return KQ_OK;
    uint64_t n = 0;
    if (!json_is_integer(value)) return mistyped(c, object, value, field, "an integer", err);
    if (!kq_json_u64(value, &n) || n < min || n > max) {
        char text[sizeof err->text];
        snprintf(text, sizeof text, "%s is %lld, must be %llu to %llu", field, (long long)json_integer_value(value), (unsigned long long)min,
                 (unsigned long long)max);
        return fail_in(c, object, KQ_E_MODEL, err, text);
    }
    *out = n;
    return KQ_OK;
}

kq_status kq_hf_f64(kq_hf_config *c, const json_t *object, const char *field, double min, double max, double *out, bool *found,
                    kq_error *err) {
    const json_t *value = json_object_get(object, field);
    bool there = value && !json_is_null(value);
    if (found) *found = there;
    if (!there) return KQ_OK;
    if (!json_is_number(value)) return mistyped(c, object, value, field, "a number", err);
    double n = json_number_value(value);
    if (!isfinite(n) || n < min || n > max) {
        char text[sizeof err->text];
        snprintf(text, sizeof text, "%s is %g, must be %g to %g", field, n, min, max);
        return fail_in(c, object, KQ_E_MODEL, err, text);
    }
    *out = n;
    return KQ_OK;
}
