/* SPDX-License-Identifier: MIT */
/* Writes importance matrices in both forms, through the atomic output. */
#include "file/imatrix.h"
#include "file/output.h"

#include <stdio.h>

static kq_status add_strings(const kq_imatrix *im, kq_gguf_writer *w, kq_error *err) {
    uint64_t size = 0, at = 0;
    for (size_t i = 0; i < im->n_datasets; i++) size += 8 + strlen(im->datasets[i]);
    uint8_t *bytes = kq_alloc_raw(&im->allocator, size, 1);
    if (!bytes) return kq_fail_memory(err, size, "the names of datasets");
    for (size_t i = 0; i < im->n_datasets; i++) {
        uint64_t length = strlen(im->datasets[i]);
        memcpy(bytes + at, &length, 8);
        memcpy(bytes + at + 8, im->datasets[i], (size_t)length);
        at += 8 + length;
    }
    kq_status status = kq_gguf_writer_value(w, "imatrix.datasets", KQ_GGUF_ARRAY, KQ_GGUF_STRING, im->n_datasets, bytes, (size_t)size, err);
    kq_free(&im->allocator, bytes);
    return status;
}

static kq_status fill_gguf(const kq_imatrix *im, kq_gguf_writer *w, kq_error *err) {
    KQ_TRY(kq_gguf_writer_string(w, "general.type", "imatrix", err));
    KQ_TRY(add_strings(im, w, err));
    KQ_TRY(kq_gguf_writer_u32(w, "imatrix.chunk_count", im->chunks, err));
    KQ_TRY(kq_gguf_writer_u32(w, "imatrix.chunk_size", im->chunk_size, err));
    for (size_t i = 0; i < im->n_entries; i++) {
        const kq_imatrix_entry *e = &im->entries[i];
        char name[KQ_GGUF_MAX_NAME + 16];
        uint32_t n_dims = e->groups > 1 ? 2 : 1; /* as llama.cpp counts them */
        snprintf(name, sizeof name, "%s.in_sum2", e->name.data);
        KQ_TRY(kq_gguf_writer_tensor(w, name, KQ_F32, n_dims, (uint64_t[]){e->columns, e->groups}, e->sums, NULL, NULL, err));
        snprintf(name, sizeof name, "%s.counts", e->name.data);
        KQ_TRY(kq_gguf_writer_tensor(w, name, KQ_F32, n_dims, (uint64_t[]){1, e->groups}, e->counts, NULL, NULL, err));
    }
    return kq_gguf_writer_finish(w, err);
}

static kq_status write_gguf(const kq_imatrix *im, const char *path, kq_error *err) {
    kq_gguf_writer *w;
    kq_gguf_options o = KQ_OPTIONS_INIT(kq_gguf_options);
    o.allocator = &im->allocator;
    KQ_TRY(kq_gguf_writer_open(&w, path, &o, err));
    kq_status status = fill_gguf(im, w, err);
    kq_gguf_writer_close(w);
    return status;
}

static void put_i32(kq_output *o, uint32_t n) { (void)kq_output_write(o, &n, 4); }

static kq_status put_entry(const kq_imatrix *im, kq_output *o, const kq_imatrix_entry *e, uint32_t calls, kq_error *err) {
    uint64_t n = e->columns * e->groups; /* in memory, and checked against the limit */
    float *values = kq_alloc_raw(&im->allocator, n, sizeof *values);
    if (!values) return kq_fail_memory(err, n * sizeof *values, "importances");
    bool found;
    kq_status status = kq_imatrix_weights(im, e->name.data, e->columns, e->groups, values, &found, err);
    for (uint64_t i = 0; i < n && !status; i++) values[i] *= (float)calls;
    put_i32(o, (uint32_t)e->name.size);
    (void)kq_output_write(o, e->name.data, e->name.size);
    put_i32(o, calls);
    put_i32(o, (uint32_t)n);
    (void)kq_output_write(o, values, (size_t)n * sizeof *values);
    kq_free(&im->allocator, values);
    return status;
}

static kq_status fill_dat(const kq_imatrix *im, kq_output *o, const char *path, kq_error *err) {
    uint64_t total = 4 + 8;
    uint32_t calls = im->chunks ? im->chunks : 1;
    const char *dataset = im->n_datasets ? im->datasets[0] : "";
    for (size_t i = 0; i < im->n_entries; i++) {
        const kq_imatrix_entry *e = &im->entries[i];
        if (e->columns * e->groups > INT32_MAX) {
            return kq_fail_at(err, KQ_E_LIMIT, path, KQ_NO_OFFSET, "entry '%s' has more than 2^31 - 1 values, the most of this form", KQ_SHOW(e->name));
        }
        total += 12 + e->name.size + 4 * e->columns * e->groups;
    }
    if (calls > INT32_MAX || strlen(dataset) > INT32_MAX || !im->n_entries || im->n_entries > INT32_MAX) {
        return kq_fail_at(err, KQ_E_LIMIT, path, KQ_NO_OFFSET, "%zu entries of %u chunks do not fit the old form", im->n_entries, im->chunks);
    }
    KQ_TRY(kq_output_reserve(o, total + strlen(dataset), err));
    put_i32(o, (uint32_t)im->n_entries);
    for (size_t i = 0; i < im->n_entries; i++) KQ_TRY(put_entry(im, o, &im->entries[i], calls, err));
    put_i32(o, im->chunks);
    put_i32(o, (uint32_t)strlen(dataset));
    (void)kq_output_write(o, dataset, strlen(dataset));
    return kq_output_complete(o, err);
}

static kq_status write_dat(const kq_imatrix *im, const char *path, kq_error *err) {
    kq_output o;
    kq_arena arena;
    kq_arena_init(&arena, &im->allocator);
    kq_status status = kq_output_open(&o, path, &arena, &im->allocator, err);
    if (!status) {
        status = fill_dat(im, &o, path, err);
        if (!status) status = kq_output_publish(&o, err);
        kq_output_close(&o);
    }
    kq_arena_free(&arena);
    return status;
}

kq_status kq_imatrix_write(const kq_imatrix *im, const char *path, kq_imatrix_form form, kq_error *err) {
    if (!path || !*path) return kq_fail(err, KQ_E_ARGUMENT, "kq_imatrix_write: path is empty");
    return form == KQ_IMATRIX_DAT ? write_dat(im, path, err) : write_gguf(im, path, err);
}
