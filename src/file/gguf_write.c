/* SPDX-License-Identifier: MIT */
/* Writes one GGUF, version 3: the header is made whole in memory, then everything goes out in file order, through an output file
 * that is whole or not there. */
#include "file/output.h"

typedef unsigned long long ull; /* for printf */

typedef struct output { /* one tensor */
    kq_gguf_tensor info; /* offset: from the start of the data */
    kq_produce produce;
    void *ctx;
} output;

struct kq_gguf_writer {
    kq_allocator allocator;
    kq_arena arena;
    kq_output file;
    bool done; /* finish was called */
    kq_metadata metadata;
    output *outputs;
    size_t n_outputs, outputs_capacity;
    kq_strmap names;
    uint64_t alignment;
};

/* ---- opening ------------------------------------------------------------------------------------------------------ */

kq_status kq_gguf_writer_open(kq_gguf_writer **out, const char *path, const kq_gguf_options *options, kq_error *err) {
    return kq_gguf_writer_open_resumable(out, path, options, NULL, err);
}

kq_status kq_gguf_writer_open_resumable(kq_gguf_writer **out, const char *path, const kq_gguf_options *options, const kq_resume *resume,
                                        kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "kq_gguf_writer_open: out is NULL");
    *out = NULL;
    if (!path || !*path) return kq_fail(err, KQ_E_ARGUMENT, "kq_gguf_writer_open: path is empty");
    kq_gguf_options o;
    kq_options_read(&o, sizeof o, options);
    kq_allocator a = kq_allocator_of(o.allocator);
    kq_gguf_writer *w = kq_alloc(&a, 1, sizeof *w);
    if (!w) return kq_fail_memory(err, sizeof *w, "a GGUF writer");
    w->allocator = a;
    kq_arena_init(&w->arena, &a);
    w->alignment = KQ_GGUF_DEFAULT_ALIGNMENT;
    kq_status status = kq_metadata_init(&w->metadata, &a, err);
    if (!status && !kq_strmap_init(&w->names, &a, 512)) status = kq_fail_memory(err, 1024 * sizeof *w->names.slots, "a GGUF writer");
    if (!status && resume) status = kq_output_open_resumable(&w->file, path, resume, &w->arena, &a, err);
    if (!status && !resume) status = kq_output_open(&w->file, path, &w->arena, &a, err);
    if (status) {
        kq_gguf_writer_close(w);
        return status;
    }
    *out = w;
    return KQ_OK;
}

void kq_gguf_writer_close(kq_gguf_writer *w) {
    if (!w) return;
    kq_output_close(&w->file);
    kq_allocator a = w->allocator;
    kq_metadata_free(&w->metadata);
    kq_strmap_free(&w->names);
    kq_free(&a, w->outputs);
    kq_arena_free(&w->arena);
    kq_free(&a, w);
}

/* ---- collecting --------------------------------------------------------------------------------------------------- */

/* What must hold before a key is taken; general.alignment is obeyed. */
static kq_status check_key(kq_gguf_writer *w, const char *key, kq_gguf_kind kind, const void *data, size_t size, kq_error *err) {
    if (w->done) return kq_fail(err, KQ_E_ARGUMENT, "key '%s': the file is finished", key ? kq_show(key, strlen(key)).text : "");
    if (!key || strcmp(key, "general.alignment") != 0) return KQ_OK;
    uint32_t alignment = kind == KQ_GGUF_U32 && data && size == sizeof alignment ? kq_load_u32(data) : 0;
    if (alignment < KQ_GGUF_MIN_ALIGNMENT || alignment > KQ_GGUF_MAX_ALIGNMENT || (alignment & (alignment - 1)) != 0) {
        return kq_fail(err, KQ_E_ARGUMENT, "key 'general.alignment' is %s %u, must be u32, a power of two from %d to %d",
                       kq_gguf_kind_name(kind), alignment, KQ_GGUF_MIN_ALIGNMENT, KQ_GGUF_MAX_ALIGNMENT);
    }
    return KQ_OK;
}

kq_status kq_gguf_writer_value(kq_gguf_writer *w, const char *key, kq_gguf_kind kind, kq_gguf_kind element, uint64_t count,
                               const void *data, size_t size, kq_error *err) {
    KQ_TRY(check_key(w, key, kind, data, size, err));
    KQ_TRY(kq_metadata_value(&w->metadata, key, kind, element, count, data, size, err));
    if (strcmp(key, "general.alignment") == 0) w->alignment = kq_load_u32(data);
    return KQ_OK;
}

kq_status kq_gguf_writer_u32(kq_gguf_writer *w, const char *key, uint32_t value, kq_error *err) {
    return kq_gguf_writer_value(w, key, KQ_GGUF_U32, KQ_GGUF_U32, 1, &value, sizeof value, err);
}

kq_status kq_gguf_writer_f32(kq_gguf_writer *w, const char *key, float value, kq_error *err) {
    return kq_gguf_writer_value(w, key, KQ_GGUF_F32, KQ_GGUF_F32, 1, &value, sizeof value, err);
}

kq_status kq_gguf_writer_bool(kq_gguf_writer *w, const char *key, bool value, kq_error *err) {
    uint8_t byte = value;
    return kq_gguf_writer_value(w, key, KQ_GGUF_BOOL, KQ_GGUF_BOOL, 1, &byte, 1, err);
}

kq_status kq_gguf_writer_string(kq_gguf_writer *w, const char *key, const char *value, kq_error *err) {
    KQ_TRY(check_key(w, key, KQ_GGUF_STRING, value, 0, err));
    return kq_metadata_string(&w->metadata, key, value, err);
}

kq_status kq_gguf_writer_tensor(kq_gguf_writer *w, const char *name, kq_codec codec, uint32_t n_dims, const uint64_t *dims,
                                const void *data, kq_produce produce, void *ctx, kq_error *err) {
    KQ_TRY(kq_name_check("tensor", name, KQ_GGUF_MAX_NAME, err));
    kq_shown shown = kq_show(name, strlen(name));
    if (w->done) return kq_fail(err, KQ_E_ARGUMENT, "tensor '%s': the file is finished", shown.text);
    if (!dims || !data == !produce) {
        return kq_fail(err, KQ_E_ARGUMENT, "tensor '%s': it needs dims, and one of data and produce", shown.text);
    }
    if (w->n_outputs == KQ_GGUF_MAX_TENSORS) {
        return kq_fail(err, KQ_E_LIMIT, "tensor '%s': the limit is %d tensors", shown.text, KQ_GGUF_MAX_TENSORS);
    }
    output o = {.info = {.name = {name, strlen(name)}, .n_dims = n_dims, .data = data}, .produce = produce, .ctx = ctx};
    memcpy(o.info.dims, dims, KQ_MIN(n_dims, (uint32_t)KQ_GGUF_MAX_DIMS) * sizeof *dims);
    kq_status status = kq_gguf_measure(&o.info, codec, err);
    if (status) return kq_fail(err, KQ_E_ARGUMENT, "%s", err ? err->text : "");
    o.info.name.data = kq_arena_string(&w->arena, name, strlen(name));
    bool failed = !o.info.name.data || !kq_grow(&w->allocator, &w->outputs, &w->outputs_capacity, w->n_outputs + 1, sizeof *w->outputs);
    if (!failed && !kq_strmap_add(&w->names, o.info.name.data, o.info.name.size, (uint32_t)w->n_outputs, NULL, &failed) && !failed) {
        return kq_fail(err, KQ_E_ARGUMENT, "tensor '%s' was added before", shown.text);
    }
    if (failed) return kq_fail_memory(err, sizeof o, "a tensor");
    w->outputs[w->n_outputs++] = o;
    return KQ_OK;
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

static void u32(kq_gguf_writer *w, uint32_t value) { (void)kq_output_write(&w->file, &value, 4); }
static void u64(kq_gguf_writer *w, uint64_t value) { (void)kq_output_write(&w->file, &value, 8); }
static void string(kq_gguf_writer *w, kq_string s) {
    u64(w, s.size);
    (void)kq_output_write(&w->file, s.data, s.size);
}

/* A failure sticks in the file, which says so at the end. */
static void write_header(kq_gguf_writer *w) {
    (void)kq_output_write(&w->file, "GGUF", 4);
    u32(w, 3);
    u64(w, w->n_outputs);
    u64(w, w->metadata.n_values);
    for (size_t i = 0; i < w->metadata.n_values; i++) {
        const kq_gguf_value *v = &w->metadata.values[i];
        string(w, v->key);
        u32(w, (uint32_t)v->kind);
        if (v->kind == KQ_GGUF_ARRAY) {
            u32(w, (uint32_t)v->element);
            u64(w, v->count);
        }
        (void)kq_output_write(&w->file, v->data, (size_t)v->size);
    }
    for (size_t i = 0; i < w->n_outputs; i++) {
        const kq_gguf_tensor *t = &w->outputs[i].info;
        string(w, t->name);
        u32(w, t->n_dims);
        for (uint32_t d = 0; d < t->n_dims; d++) u64(w, t->dims[d]);
        u32(w, (uint32_t)t->codec);
        u64(w, t->offset);
    }
}

/* Gives every tensor its offset; *header without padding, *total with everything. False when the sum wraps. */
static bool lay_out(kq_gguf_writer *w, uint64_t *header, uint64_t *total) {
    uint64_t at = 24, data = 0;
    for (size_t i = 0; i < w->metadata.n_values; i++) { /* no overflow: all of it is in memory */
        const kq_gguf_value *v = &w->metadata.values[i];
        at += 8 + v->key.size + 4 + (v->kind == KQ_GGUF_ARRAY ? 12 : 0) + v->size;
    }
    for (size_t i = 0; i < w->n_outputs; i++) {
        kq_gguf_tensor *t = &w->outputs[i].info;
        at += 8 + t->name.size + 4 + 8 * t->n_dims + 4 + 8;
        t->offset = data;
        if (!kq_add(data, t->bytes, &data) || !kq_round_up(data, w->alignment, &data)) return false;
    }
    *header = at;
    if (w->n_outputs && !kq_round_up(at, w->alignment, &at)) return false; /* without tensors there is no data section */
    return kq_add(at, data, total) && *total <= INT64_MAX;
}

static kq_status write_all(kq_gguf_writer *w, kq_error *err) {
    uint64_t header, total, rounded;
    if (!lay_out(w, &header, &total)) {
        return kq_fail_at(err, KQ_E_ARGUMENT, w->file.path, KQ_NO_OFFSET, "the file would have more than 2^63 - 1 bytes");
    }
    KQ_TRY(kq_output_reserve(&w->file, total, err));
    write_header(w);
    if (w->n_outputs) (void)kq_output_zeros(&w->file, (0 - header) & (w->alignment - 1));
    for (size_t i = 0; i < w->n_outputs && !w->file.status; i++) {
        const output *o = &w->outputs[i];
        KQ_TRY(kq_output_tensor(&w->file, o->info.name, o->info.bytes, o->info.data, o->produce, o->ctx, err));
        if (!kq_round_up(o->info.bytes, w->alignment, &rounded)) return KQ_E_ARGUMENT; /* lay_out has refused it */
        (void)kq_output_zeros(&w->file, rounded - o->info.bytes); /* ggml wants the padding of the last one too */
    }
    return kq_output_complete(&w->file, err);
}

kq_status kq_gguf_writer_finish(kq_gguf_writer *w, kq_error *err) {
    if (w->done) return kq_fail(err, KQ_E_ARGUMENT, "kq_gguf_writer_finish: the file is finished");
    w->done = true;
    kq_status status = write_all(w, err);
    if (!status) status = kq_output_publish(&w->file, err);
    if (status) kq_output_broken_off(&w->file, status);
    kq_output_close(&w->file);
    return status;
}
