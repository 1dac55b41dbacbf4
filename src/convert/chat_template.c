/* SPDX-License-Identifier: MIT */
/* The chat template of a folder: in tokenizer_config.json (a text, or a list of named ones), or else in files of its own. */
#include "convert/vocabulary.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Adds a template under a key. Empty ones are not written. */
static kq_status put(kq_metadata *out, const char *key, const char *text, kq_error *err) {
    return *text ? kq_metadata_string(out, key, text, err) : KQ_OK;
}

/* The name with everything but ASCII letters and digits as '_', one for a character. */
static char *plain_name(kq_arena *arena, const char *name) {
    char *copy = kq_arena_string(arena, name, strlen(name)), *p = copy;
    if (!copy) return NULL;
    for (const char *s = name; *s; s++) {
        bool plain = (*s >= '0' && *s <= '9') || (*s >= 'A' && *s <= 'Z') || (*s >= 'a' && *s <= 'z');
        if (((uint8_t)*s & 0xc0) != 0x80) *p++ = plain ? *s : '_';
    }
    *p = 0;
    return copy;
}

/* Named templates: `default` is the template, the others have keys of their own. */
typedef struct named {
    kq_metadata *out;
    kq_arena arena;
    kq_string *names;
    size_t n, capacity;
    const char *plain; /* the default's text */
} named;

static kq_status put_named(named *t, const char *name, const char *text, kq_error *err) {
    name = plain_name(&t->arena, name);
    if (!name) return kq_fail_memory(err, 64, "a template's name");
    if (!*name) return KQ_OK;
    if (strcmp(name, "default") == 0) {
        t->plain = text;
        return KQ_OK;
    }
    static const char prefix[] = "tokenizer.chat_template.";
    size_t size = sizeof prefix + strlen(name);
    char *key = kq_arena_alloc(&t->arena, size, 1);
    if (!key || !kq_grow(&t->out->allocator, &t->names, &t->capacity, t->n + 1, sizeof *t->names)) {
        return kq_fail_memory(err, size, "a template's name");
    }
    snprintf(key, size, "%s%s", prefix, name);
    if (!kq_metadata_find(t->out, key)) t->names[t->n++] = (kq_string){name, strlen(name)};
    return kq_metadata_string(t->out, key, text, err);
}

static kq_status finish(named *t, kq_status status, kq_error *err) {
    if (!status && t->n) status = kq_metadata_strings(t->out, "tokenizer.chat_templates", t->names, t->n, err);
    if (!status && t->plain) status = put(t->out, "tokenizer.chat_template", t->plain, err);
    kq_free(&t->out->allocator, t->names);
    kq_arena_free(&t->arena);
    return status;
}

static kq_status put_list(kq_metadata *out, const json_t *list, kq_error *err) {
    named t = {.out = out};
    kq_arena_init(&t.arena, &out->allocator);
    kq_status status = KQ_OK;
    const json_t *entry;
    size_t at;
    json_array_foreach(list, at, entry) {
        const char *name = json_string_value(json_object_get(entry, "name")), *text = json_string_value(json_object_get(entry, "template"));
        if (!status && name && text) status = put_named(&t, name, text, err);
    }
    return finish(&t, status, err);
}

/* A whole text file, its line ends made \n; in the arena. */
static kq_status read_text(kq_arena *arena, const char *path, const char **out, kq_error *err) {
    kq_map map;
    KQ_TRY(kq_map_open(&map, path, err));
    kq_status status = KQ_OK;
    char *text = NULL, *p;
    if (map.size > KQ_TEMPLATE_MAX_BYTES) {
        status = kq_fail_at(err, KQ_E_LIMIT, path, KQ_NO_OFFSET, "it has %llu bytes, the limit is %d", (unsigned long long)map.size,
                            KQ_TEMPLATE_MAX_BYTES);
    } else if (map.size && memchr(map.data, 0, (size_t)map.size)) {
        status = kq_fail_at(err, KQ_E_FORMAT, path, KQ_NO_OFFSET, "a template holds a byte 0");
    } else if (!(text = kq_arena_alloc(arena, map.size + 1, 1))) {
        status = kq_fail_memory(err, map.size + 1, "a template");
    }
    p = text;
    for (uint64_t i = 0; !status && i < map.size; i++) {
        if (map.data[i] == '\r' && i + 1 < map.size && map.data[i + 1] == '\n') continue;
        *p++ = map.data[i] == '\r' ? '\n' : (char)map.data[i];
    }
    kq_map_close(&map);
    *out = text;
    return status;
}

enum { MAX_TEMPLATES = 64 };

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* The names of additional_chat_templates/NAME.jinja, in order. */
static kq_status list_additional(kq_hf_config *c, const char *folder, const char **names, size_t *n, kq_error *err) {
    DIR *dir = opendir(folder);
    *n = 0;
    if (!dir) return KQ_OK;
    kq_status status = KQ_OK;
    for (struct dirent *e; !status && (e = readdir(dir));) {
        size_t size = strlen(e->d_name);
        if (size < 7 || strcmp(e->d_name + size - 6, ".jinja") != 0) continue;
        if (*n == MAX_TEMPLATES) {
            status = kq_fail_at(err, KQ_E_LIMIT, folder, KQ_NO_OFFSET, "it has more than %d templates, which is the limit", MAX_TEMPLATES);
        } else if (!(names[(*n)++] = kq_arena_string(&c->arena, e->d_name, size - 6))) {
            status = kq_fail_memory(err, size, "a template's name");
        }
    }
    closedir(dir);
    if (!status) qsort(names, *n, sizeof *names, by_name);
    return status;
}

static kq_status put_files(kq_metadata *out, kq_hf_config *c, const char *path, kq_error *err) {
    const char *names[MAX_TEMPLATES], *folder = kq_hf_path(c, "additional_chat_templates"), *text = NULL;
    size_t n = 0;
    if (!folder) return kq_fail_memory(err, strlen(c->folder), "a path");
    KQ_TRY(read_text(&c->arena, path, &text, err));
    KQ_TRY(list_additional(c, folder, names, &n, err));
    named t = {.out = out, .plain = text};
    kq_arena_init(&t.arena, &out->allocator);
    kq_status status = KQ_OK;
    for (size_t i = 0; i < n && !status; i++) {
        size_t size = strlen(folder) + strlen(names[i]) + 8;
        char *file = kq_arena_alloc(&t.arena, size, 1);
        if (!file) {
            status = kq_fail_memory(err, size, "a path");
            break;
        }
        snprintf(file, size, "%s/%s.jinja", folder, names[i]);
        status = read_text(&t.arena, file, &text, err);
        if (!status) status = put_named(&t, names[i], text, err);
    }
    return finish(&t, status, err);
}

/* A text, or a list of named ones. */
static kq_status put_json(kq_metadata *out, const json_t *template, kq_error *err) {
    if (json_is_array(template)) return put_list(out, template, err);
    return json_is_string(template) ? put(out, "tokenizer.chat_template", json_string_value(template), err) : KQ_OK;
}

kq_status kq_chat_template_read(kq_metadata *out, kq_hf_config *c, kq_error *err) {
    const json_t *template = json_object_get(c->tokenizer, "chat_template");
    if (!c->tokenizer) return KQ_OK;
    if (template && !json_is_null(template)) return put_json(out, template, err);
    const char *path = kq_hf_path(c, "chat_template.jinja");
    if (!path) return kq_fail_memory(err, strlen(c->folder), "a path");
    if (kq_hf_exists(path)) return put_files(out, c, path, err);
    json_t *file;
    KQ_TRY(kq_hf_json(&file, c, "chat_template.json", err));
    kq_status status = put_json(out, json_object_get(file, "chat_template"), err);
    json_decref(file);
    return status;
}
