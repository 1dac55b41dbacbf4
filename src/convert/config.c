/* SPDX-License-Identifier: MIT */
/* Reads config.json, tokenizer_config.json and generation_config.json of a folder. */
#include "convert/convert.h"

#include <errno.h>
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
    kq_status status = path ? read_object(&c->root, path, err) : kq_fail_memory(err, strlen(folder), "a path");
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
