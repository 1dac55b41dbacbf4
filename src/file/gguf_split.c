/* SPDX-License-Identifier: MIT */
/* Opens a model: one file or bytes in memory, or all the files of a split one, whichever of them is named. A part of a split
 * model is itself a GGUF that says
 *   split.no             its place, from 0      NAME-00001-of-00003.gguf has no 0, count 3
 *   split.count          how many parts         (0 or 1: not split)
 *   split.tensors.count  tensors in all parts
 * so each part is opened alone, and then its tensors are moved to the first. Metadata is the first part's.
 * Source: llama.cpp's gguf-split. */
#include "file/file.h"

#include <stdio.h>
#include <unistd.h>

typedef unsigned long long ull; /* for printf */

/* What one part says; count is 0 when it is no part of several. */
typedef struct split {
    uint64_t no, count, tensors;
} split;

static kq_status read_split(const kq_gguf *g, split *s, kq_error *err) {
    *s = (split){0};
    KQ_TRY(kq_gguf_get_u64_or(g, "split.count", 0, 0, KQ_GGUF_MAX_PARTS, &s->count, err));
    if (s->count <= 1) return KQ_OK;
    KQ_TRY(kq_gguf_get_u64(g, "split.no", 0, s->count - 1, &s->no, err));
    return kq_gguf_get_u64(g, "split.tensors.count", 0, KQ_GGUF_MAX_TENSORS, &s->tensors, err);
}

enum { SUFFIX = sizeof "-00001-of-00003.gguf" - 1 };
/* Whether `path` ends as the name of this part must. */
static bool is_part_path(const char *path, const split *s) {
    char suffix[SUFFIX + 32];
    size_t length = strlen(path);
    snprintf(suffix, sizeof suffix, "-%05llu-of-%05llu.gguf", (ull)s->no + 1, (ull)s->count);
    return length > SUFFIX && strcmp(path + length - SUFFIX, suffix) == 0;
}
/* The path of another part: `path`, which is a part's, with its number replaced. NULL when memory fails. */
static char *part_path(kq_arena *arena, const char *path, uint64_t no) {
    size_t length = strlen(path);
    char *other = kq_arena_string(arena, path, length), digits[24];
    snprintf(digits, sizeof digits, "%05llu", (ull)no + 1);
    if (other) memcpy(other + length - SUFFIX + 1, digits, 5); /* no < KQ_GGUF_MAX_PARTS: five digits */
    return other;
}

static kq_status open_part(kq_gguf **out, const char *path, const kq_allocator *a, kq_error *err) {
    kq_map map;
    *out = NULL;
    KQ_TRY(kq_map_open(&map, path, err));
    return kq_gguf_read(out, path, &map, map.data, map.size, a, err);
}

/* Moves the mapping and the tensors of the next part to the model. */
static kq_status adopt(kq_gguf *g, kq_gguf *part, const char *path, kq_error *err) {
    size_t n = g->n_tensors + part->n_tensors; /* both at most KQ_GGUF_MAX_TENSORS */
    if (n > KQ_GGUF_MAX_TENSORS) {
        return kq_fail_at(err, KQ_E_LIMIT, path, 8, "n_tensors is %zu with the parts before, the limit is %d", n, KQ_GGUF_MAX_TENSORS);
    }
    if (!kq_grow(&g->allocator, &g->parts, &g->parts_capacity, g->n_parts + 1, sizeof *g->parts) ||
        !kq_grow(&g->allocator, &g->tensors, &g->tensors_capacity, n, sizeof *g->tensors)) {
        return kq_fail_memory(err, n * sizeof *g->tensors, "the tensors of a split model");
    }
    for (size_t i = 0; i < part->n_tensors; i++) {
        kq_gguf_tensor *t = &g->tensors[g->n_tensors];
        *t = part->tensors[i];
        t->part = (uint32_t)g->n_parts;
        t->name.data = kq_arena_string(&g->arena, t->name.data, t->name.size);
        uint32_t first = 0;
        bool failed = !t->name.data;
        if (failed || !kq_strmap_add(&g->names, t->name.data, t->name.size, (uint32_t)g->n_tensors, &first, &failed)) {
            if (failed) return kq_fail_memory(err, t->name.size + 1, "a tensor's name");
            return kq_fail_at(err, KQ_E_FORMAT, path, KQ_NO_OFFSET, "tensor '%s' is already in part %u", KQ_SHOW(t->name),
                              g->tensors[first].part + 1);
        }
        g->n_tensors++;
    }
    g->parts[g->n_parts] = part->parts[0];
    g->parts[g->n_parts++].path = path;
    part->n_parts = 0; /* the mapping is the model's now */
    return KQ_OK;
}

static kq_status add_part(kq_gguf *g, const split *whole, uint64_t no, kq_error *err) {
    const char *path = part_path(&g->arena, g->parts[0].path, no);
    if (!path) return kq_fail_memory(err, strlen(g->parts[0].path) + 1, "a path");
    if (access(path, F_OK)) {
        return kq_fail_at(err, KQ_E_FORMAT, path, KQ_NO_OFFSET, "part %llu of %llu is missing", (ull)no + 1, (ull)whole->count);
    }
    kq_gguf *part;
    KQ_TRY(open_part(&part, path, &g->allocator, err));
    split s;
    kq_status status = read_split(part, &s, err);
    if (!status && (s.count != whole->count || s.no != no || s.tensors != whole->tensors)) {
        const char *key = s.count != whole->count ? "split.count" : s.no != no ? "split.no" : "split.tensors.count";
        uint64_t is = s.count != whole->count ? s.count : s.no != no ? s.no : s.tensors;
        uint64_t must = s.count != whole->count ? whole->count : s.no != no ? no : whole->tensors;
        const kq_gguf_value *v = kq_gguf_find(part, key);
        status = kq_fail_at(err, KQ_E_FORMAT, path, v ? v->offset : KQ_NO_OFFSET, "key '%s' is %llu, must be %llu in part %llu of %llu", key,
                            (ull)is, (ull)must, (ull)no + 1, (ull)whole->count);
    }
    if (!status) status = adopt(g, part, path, err);
    kq_gguf_close(part);
    return status;
}

static kq_status open_whole(kq_gguf **out, const char *path, const kq_allocator *a, kq_error *err) {
    split s;
    KQ_TRY(open_part(out, path, a, err));
    KQ_TRY(read_split(*out, &s, err));
    if (s.count <= 1) return KQ_OK;
    if (!is_part_path(path, &s)) {
        return kq_fail_at(err, KQ_E_FORMAT, path, kq_gguf_find(*out, "split.no")->offset,
                          "it is part %llu of %llu by its keys, so its name must end in -%05llu-of-%05llu.gguf", (ull)s.no + 1,
                          (ull)s.count, (ull)s.no + 1, (ull)s.count);
    }
    if (s.no != 0) { /* start again from the first part */
        char *first = part_path(&(*out)->arena, path, 0);
        if (!first) return kq_fail_memory(err, strlen(path) + 1, "a path");
        if (access(first, F_OK)) return kq_fail_at(err, KQ_E_FORMAT, first, KQ_NO_OFFSET, "part 1 of %llu is missing", (ull)s.count);
        kq_gguf *named = *out;
        kq_status status = open_part(out, first, a, err);
        split given = s;
        if (!status) status = read_split(*out, &s, err);
        if (!status && (s.no != 0 || s.count != given.count)) {
            status = kq_fail_at(err, KQ_E_FORMAT, first, KQ_NO_OFFSET, "it says part %llu of %llu, must be part 1 of %llu",
                                s.count ? (ull)s.no + 1 : 0, (ull)s.count, (ull)given.count);
        }
        kq_gguf_close(named);
        KQ_TRY(status);
    }
    for (uint64_t no = 1; no < s.count; no++) KQ_TRY(add_part(*out, &s, no, err));
    if ((*out)->n_tensors != s.tensors) {
        return kq_fail_at(err, KQ_E_FORMAT, kq_gguf_path(*out), kq_gguf_find(*out, "split.tensors.count")->offset,
                          "key 'split.tensors.count' is %llu, but the %llu parts hold %zu tensors", (ull)s.tensors, (ull)s.count,
                          (*out)->n_tensors);
    }
    return KQ_OK;
}

kq_status kq_gguf_open(kq_gguf **out, const char *path, const kq_gguf_options *options, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "kq_gguf_open: out is NULL");
    *out = NULL;
    if (!path) return kq_fail(err, KQ_E_ARGUMENT, "kq_gguf_open: path is NULL");
    kq_gguf_options o;
    kq_options_read(&o, sizeof o, options);
    kq_allocator a = kq_allocator_of(o.allocator);
    kq_status status = open_whole(out, path, &a, err);
    if (status) {
        kq_gguf_close(*out);
        *out = NULL;
    }
    return status;
}

kq_status kq_gguf_open_memory(kq_gguf **out, const void *data, size_t size, const char *name, const kq_gguf_options *options,
                              kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "kq_gguf_open_memory: out is NULL");
    *out = NULL;
    if (!data && size) return kq_fail(err, KQ_E_ARGUMENT, "kq_gguf_open_memory: data is NULL and size is %zu", size);
    kq_gguf_options o;
    kq_options_read(&o, sizeof o, options);
    kq_allocator a = kq_allocator_of(o.allocator);
    kq_map none = {0};
    split s;
    KQ_TRY(kq_gguf_read(out, name ? name : "(memory)", &none, data, size, &a, err));
    kq_status status = read_split(*out, &s, err);
    if (!status && s.count > 1) {
        status = kq_fail_at(err, KQ_E_UNSUPPORTED, kq_gguf_path(*out), kq_gguf_find(*out, "split.count")->offset,
                            "key 'split.count' is %llu, but a split model cannot be opened from memory", (ull)s.count);
    }
    if (status) {
        kq_gguf_close(*out);
        *out = NULL;
    }
    return status;
}
