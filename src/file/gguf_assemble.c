/* SPDX-License-Identifier: MIT */
/* A kq_gguf made of metadata and tensors that lie in no GGUF: what a folder of other files looks like to everything behind. */
#include "file/file.h"

typedef unsigned long long ull; /* for printf */

/* The largest power of two, up to the default, that divides every tensor's address. */
static uint64_t common_alignment(const kq_gguf_tensor *tensors, size_t n) {
    uintptr_t all = KQ_GGUF_DEFAULT_ALIGNMENT;
    for (size_t i = 0; i < n; i++) all |= (uintptr_t)tensors[i].data;
    return all & (0 - all);
}

static kq_status add_tensors(kq_gguf *g, const kq_gguf_tensor *tensors, size_t n, kq_error *err) {
    if (n > KQ_GGUF_MAX_TENSORS) {
        return kq_fail_at(err, KQ_E_LIMIT, kq_gguf_path(g), KQ_NO_OFFSET, "%zu tensors, the limit is %d", n, KQ_GGUF_MAX_TENSORS);
    }
    if (!kq_strmap_init(&g->names, &g->allocator, n) || !kq_grow(&g->allocator, &g->tensors, &g->tensors_capacity, n, sizeof *g->tensors)) {
        return kq_fail_memory(err, n * sizeof *g->tensors, "the tensors of a model");
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        kq_gguf_tensor *t = &g->tensors[i];
        *t = tensors[i];
        if (t->name.size < 1 || t->name.size > KQ_GGUF_MAX_NAME) {
            return kq_fail(err, KQ_E_FORMAT, "tensor '%s': its name has %zu bytes, must be 1 to %d", KQ_SHOW(t->name), t->name.size,
                           KQ_GGUF_MAX_NAME);
        }
        KQ_TRY(kq_gguf_measure(t, (uint32_t)t->codec, err));
        if (!kq_add(sum, t->bytes, &sum)) {
            return kq_fail(err, KQ_E_FORMAT, "tensor '%s': with its %llu bytes all of them are over 2^64 - 1", KQ_SHOW(t->name), (ull)t->bytes);
        }
        t->part = 0;
        t->offset = KQ_NO_OFFSET;
        t->name.data = kq_arena_string(&g->arena, t->name.data, t->name.size);
        bool failed = !t->name.data;
        if (failed || !kq_strmap_add(&g->names, t->name.data, t->name.size, (uint32_t)i, NULL, &failed)) {
            if (failed) return kq_fail_memory(err, t->name.size + 1, "a tensor's name");
            return kq_fail(err, KQ_E_FORMAT, "tensor '%s' is there twice", KQ_SHOW(t->name));
        }
        g->n_tensors++;
    }
    return KQ_OK;
}

static kq_status fill(kq_gguf *g, const char *path, const kq_gguf_tensor *tensors, size_t n, kq_error *err) {
    char *copy = kq_arena_string(&g->arena, path, strlen(path));
    if (!copy || !kq_grow(&g->allocator, &g->parts, &g->parts_capacity, 1, sizeof *g->parts)) {
        return kq_fail_memory(err, strlen(path) + sizeof *g->parts, "a model");
    }
    g->parts[g->n_parts++] = (kq_gguf_part){.path = copy, .alignment = common_alignment(tensors, n)};
    return add_tensors(g, tensors, n, err);
}

kq_status kq_gguf_assemble(kq_gguf **out, const char *path, kq_metadata *m, const kq_gguf_tensor *tensors, size_t n_tensors,
                           const kq_gguf_owner *owner, const kq_allocator *a, kq_error *err) {
    *out = NULL;
    kq_gguf *g = kq_alloc(a, 1, sizeof *g);
    if (!g) {
        kq_metadata_free(m);
        owner->close(owner->object);
        return kq_fail_memory(err, sizeof *g, "a model");
    }
    /* the metadata becomes the file's, with its arena */
    *g = (kq_gguf){.allocator = *a, .owner = *owner, .arena = m->arena, .values = m->values, .n_values = m->n_values, .keys = m->keys};
    *m = (kq_metadata){0};
    kq_status status = fill(g, path, tensors, n_tensors, err);
    if (status) {
        kq_gguf_close(g);
        return status;
    }
    *out = g;
    return KQ_OK;
}
