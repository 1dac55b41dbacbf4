/* SPDX-License-Identifier: MIT */
/* Writes safetensors: all that the headers say is known before the first byte goes out, so shards are planned, their space is
 * taken, they are written and synced under temporary names, and only then are they renamed, the index last. */
#include "file/json.h"
#include "file/output.h"
#include "file/safetensors.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

typedef unsigned long long ull; /* for printf */

typedef struct item { /* one tensor */
    kq_safetensors_tensor info; /* shard: which; offset: in its data */
    kq_produce produce;
    void *ctx;
} item;

struct kq_safetensors_writer {
    kq_allocator allocator;
    kq_arena arena;
    const char *path;   /* of the single file */
    uint64_t max_shard;
    bool done;          /* finish was called */
    kq_output single;   /* made when opened; unused when there are several, or when they can be taken up again */
    const kq_resume *resume; /* NULL: they cannot */
    kq_safetensors_pair *pairs;
    size_t n_pairs, pairs_capacity;
    item *items;
    size_t n_items, items_capacity;
    kq_strmap names;
    /* while finish runs */
    kq_output *outputs; /* n_shards, and one more for an index */
    size_t n_shards, n_outputs;
    uint32_t *order;    /* of items: shard by shard, as they lie in the files */
};

kq_status kq_safetensors_writer_open(kq_safetensors_writer **out, const char *path, const kq_safetensors_options *options, kq_error *err) {
    return kq_safetensors_writer_open_resumable(out, path, options, NULL, err);
}

kq_status kq_safetensors_writer_open_resumable(kq_safetensors_writer **out, const char *path, const kq_safetensors_options *options,
                                               const kq_resume *resume, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "kq_safetensors_writer_open: out is NULL");
    *out = NULL;
    if (!path || !kq_ends_with(path, KQ_SAFETENSORS_SUFFIX) || strlen(path) > PATH_MAX - 64) {
        return kq_fail(err, KQ_E_ARGUMENT, "path '%s': must end in " KQ_SAFETENSORS_SUFFIX " and have at most %d bytes", path ? path : "",
                       PATH_MAX - 64);
    }
    kq_safetensors_options o;
    kq_options_read(&o, sizeof o, options);
    kq_allocator a = kq_allocator_of(o.allocator);
    kq_safetensors_writer *w = kq_alloc(&a, 1, sizeof *w);
    if (!w) return kq_fail_memory(err, sizeof *w, "a safetensors writer");
    w->allocator = a;
    w->resume = resume;
    w->max_shard = o.max_shard_bytes ? o.max_shard_bytes : UINT64_MAX;
    kq_arena_init(&w->arena, &a);
    w->path = kq_arena_string(&w->arena, path, strlen(path));
    kq_status status = KQ_OK;
    if (!w->path || !kq_strmap_init(&w->names, &a, 512)) status = kq_fail_memory(err, 512 * sizeof *w->names.slots, "a safetensors writer");
    if (!status && !resume) status = kq_output_open(&w->single, path, &w->arena, &a, err);
    if (status) {
        kq_safetensors_writer_close(w);
        return status;
    }
    *out = w;
    return KQ_OK;
}

/* The files that are not published go. */
static void drop_files(kq_safetensors_writer *w) {
    kq_output_close(&w->single);
    for (size_t i = 0; i < w->n_outputs; i++) kq_output_close(&w->outputs[i]);
    kq_free(&w->allocator, w->outputs);
    kq_free(&w->allocator, w->order);
    w->outputs = NULL;
    w->order = NULL;
    w->n_outputs = 0;
}

void kq_safetensors_writer_close(kq_safetensors_writer *w) {
    if (!w) return;
    drop_files(w);
    kq_allocator a = w->allocator;
    kq_strmap_free(&w->names);
    kq_free(&a, w->pairs);
    kq_free(&a, w->items);
    kq_arena_free(&w->arena);
    kq_free(&a, w);
}

/* ---- collecting --------------------------------------------------------------------------------------------------- */

static bool is_utf8(const char *text) { return kq_is_utf8(text, strlen(text)); }

kq_status kq_safetensors_writer_metadata(kq_safetensors_writer *w, const char *key, const char *value, kq_error *err) {
    if (!key || !value || !is_utf8(key) || !is_utf8(value)) {
        return kq_fail(err, KQ_E_ARGUMENT, "metadata '%s': key and value must be UTF-8", key ? kq_show(key, strlen(key)).text : "");
    }
    if (w->done) return kq_fail(err, KQ_E_ARGUMENT, "metadata '%s': the file is finished", kq_show(key, strlen(key)).text);
    size_t at = 0;
    while (at < w->n_pairs && strcmp(w->pairs[at].key, key) != 0) at++;
    const char *k = kq_arena_string(&w->arena, key, strlen(key)), *v = kq_arena_string(&w->arena, value, strlen(value));
    if (!k || !v || !kq_grow(&w->allocator, &w->pairs, &w->pairs_capacity, at + 1, sizeof *w->pairs)) {
        return kq_fail_memory(err, strlen(key) + strlen(value), "metadata");
    }
    w->pairs[at] = (kq_safetensors_pair){.key = k, .value = v};
    w->n_pairs = KQ_MAX(w->n_pairs, at + 1);
    return KQ_OK;
}

static kq_status check_tensor(const kq_safetensors_writer *w, const char *name, kq_dtype dtype, uint32_t n_dims, const uint64_t *dims,
                              kq_error *err) {
    size_t size = name ? strlen(name) : 0;
    kq_shown shown = kq_show(name, size);
    if (size < 1 || size > KQ_SAFETENSORS_MAX_NAME || !is_utf8(name) || strcmp(name, "__metadata__") == 0) {
        return kq_fail(err, KQ_E_ARGUMENT, "tensor '%s': its name must be 1 to %d bytes of UTF-8, and not __metadata__", shown.text,
                       KQ_SAFETENSORS_MAX_NAME);
    }
    if (w->done) return kq_fail(err, KQ_E_ARGUMENT, "tensor '%s': the file is finished", shown.text);
    if (!kq_dtype_describe((uint32_t)dtype)) return kq_fail(err, KQ_E_ARGUMENT, "tensor '%s': dtype %d is unknown", shown.text, (int)dtype);
    if (n_dims > KQ_SAFETENSORS_MAX_DIMS || (n_dims && !dims)) {
        return kq_fail(err, KQ_E_ARGUMENT, "tensor '%s': it has %u dims, must be 0 to %d", shown.text, n_dims, KQ_SAFETENSORS_MAX_DIMS);
    }
    if (w->n_items == KQ_SAFETENSORS_MAX_TENSORS) {
        return kq_fail(err, KQ_E_LIMIT, "tensor '%s': the limit is %d tensors", shown.text, KQ_SAFETENSORS_MAX_TENSORS);
    }
    return KQ_OK;
}

kq_status kq_safetensors_writer_tensor(kq_safetensors_writer *w, const char *name, kq_dtype dtype, uint32_t n_dims, const uint64_t *dims,
                                       const void *data, kq_produce produce, void *ctx, kq_error *err) {
    KQ_TRY(check_tensor(w, name, dtype, n_dims, dims, err));
    kq_shown shown = kq_show(name, strlen(name));
    item it = {.info = {.dtype = dtype, .n_dims = n_dims, .data = data}, .produce = produce, .ctx = ctx};
    if (n_dims) memcpy(it.info.dims, dims, n_dims * sizeof *dims);
    /* the reader's integers end at 2^63 - 1 */
    bool fits = kq_safetensors_measure(&it.info) && it.info.bytes <= INT64_MAX;
    for (uint32_t d = 0; d < n_dims; d++) fits = fits && dims[d] <= INT64_MAX;
    if (!fits) return kq_fail(err, KQ_E_ARGUMENT, "tensor '%s': its shape takes 2^63 bytes or more", shown.text);
    if ((data && produce) || (!data && !produce && it.info.bytes)) {
        return kq_fail(err, KQ_E_ARGUMENT, "tensor '%s': it needs one of data and produce", shown.text);
    }
    it.info.name = (kq_string){.data = kq_arena_string(&w->arena, name, strlen(name)), .size = strlen(name)};
    bool failed = !it.info.name.data || !kq_grow(&w->allocator, &w->items, &w->items_capacity, w->n_items + 1, sizeof *w->items);
    if (!failed && !kq_strmap_add(&w->names, it.info.name.data, it.info.name.size, (uint32_t)w->n_items, NULL, &failed) && !failed) {
        return kq_fail(err, KQ_E_ARGUMENT, "tensor '%s' was added before", shown.text);
    }
    if (failed) return kq_fail_memory(err, sizeof it, "a tensor");
    w->items[w->n_items++] = it;
    return KQ_OK;
}

/* ---- headers ------------------------------------------------------------------------------------------------------- */

static void put_string(kq_text *t, const char *s) { kq_text_json(t, s, strlen(s)); }

/* The header of one shard, its items at order[begin, end), padded to a multiple of 8. */
static void add_header(const kq_safetensors_writer *w, kq_text *t, size_t begin, size_t end) {
    kq_text_put(t, "{");
    if (w->n_pairs) {
        for (size_t i = 0; i < w->n_pairs; i++) {
            kq_text_put(t, i ? "," : "\"__metadata__\":{");
            put_string(t, w->pairs[i].key);
            kq_text_put(t, ":");
            put_string(t, w->pairs[i].value);
        }
        kq_text_put(t, "}");
    }
    for (size_t i = begin; i < end; i++) {
        const kq_safetensors_tensor *info = &w->items[w->order[i]].info;
        if (i > begin || w->n_pairs) kq_text_put(t, ",");
        put_string(t, info->name.data);
        kq_text_put(t, ":{\"dtype\":\"");
        kq_text_put(t, kq_dtype_describe((uint32_t)info->dtype)->name);
        kq_text_put(t, "\",\"shape\":[");
        for (uint32_t d = 0; d < info->n_dims; d++) {
            if (d) kq_text_put(t, ",");
            kq_text_u64(t, info->dims[d]);
        }
        kq_text_put(t, "],\"data_offsets\":[");
        kq_text_u64(t, info->offset);
        kq_text_put(t, ",");
        kq_text_u64(t, info->offset + info->bytes);
        kq_text_put(t, "]}");
    }
    kq_text_put(t, "}");
    kq_text_add(t, "       ", (0 - t->size) & 7);
}

/* ---- the plan ----------------------------------------------------------------------------------------------------- */

static bool before(const void *ctx, uint32_t a, uint32_t b) {
    const item *items = ctx;
    const kq_safetensors_tensor *x = &items[a].info, *y = &items[b].info;
    uint32_t nx = kq_dtype_describe((uint32_t)x->dtype)->bytes, ny = kq_dtype_describe((uint32_t)y->dtype)->bytes;
    if (x->shard != y->shard) return x->shard < y->shard;
    if (nx != ny) return nx > ny;
    return strcmp(x->name.data, y->name.data) < 0;
}

/* Gives every tensor its shard and its offset. */
static kq_status plan(kq_safetensors_writer *w, kq_error *err) {
    uint64_t bytes = 0, sum = 0, total = 0;
    uint32_t shard = 0;
    for (size_t i = 0; i < w->n_items; i++) {
        kq_safetensors_tensor *t = &w->items[i].info;
        bool fits = kq_add(bytes, t->bytes, &sum) && sum <= w->max_shard;
        if (!kq_add(total, t->bytes, &total) || total > INT64_MAX) {
            return kq_fail_at(err, KQ_E_ARGUMENT, w->path, KQ_NO_OFFSET, "the files would have more than 2^63 - 1 bytes");
        }
        if (!fits && bytes) {
            shard++;
            sum = t->bytes;
        }
        t->shard = shard;
        bytes = sum;
    }
    w->n_shards = (size_t)shard + 1;
    if (w->n_shards > KQ_SAFETENSORS_MAX_SHARDS) {
        return kq_fail_at(err, KQ_E_LIMIT, w->path, KQ_NO_OFFSET, "there would be %zu shards, the limit is %d", w->n_shards,
                          KQ_SAFETENSORS_MAX_SHARDS);
    }
    w->order = kq_alloc(&w->allocator, w->n_items, sizeof *w->order);
    if (!w->order) return kq_fail_memory(err, w->n_items * sizeof *w->order, "the order of tensors");
    for (size_t i = 0; i < w->n_items; i++) w->order[i] = (uint32_t)i;
    kq_sort_indices(w->order, w->n_items, before, w->items);
    uint64_t at = 0;
    for (size_t i = 0; i < w->n_items; i++) {
        kq_safetensors_tensor *t = &w->items[w->order[i]].info;
        if (i && w->items[w->order[i - 1]].info.shard != t->shard) at = 0;
        t->offset = at;
        at += t->bytes; /* no overflow: at most the total */
    }
    return KQ_OK;
}

/* The path of shard i, or with i = n_shards that of the index. */
static void shard_path(const kq_safetensors_writer *w, size_t i, char *path, size_t size) {
    int stem = (int)(strlen(w->path) - strlen(KQ_SAFETENSORS_SUFFIX));
    if (i == w->n_shards) snprintf(path, size, "%.*s" KQ_SAFETENSORS_INDEX, stem, w->path);
    else snprintf(path, size, "%.*s-%05zu-of-%05zu" KQ_SAFETENSORS_SUFFIX, stem, w->path, i + 1, w->n_shards);
}
/* The same in the arena; NULL when memory fails. */
static char *path_of(kq_safetensors_writer *w, size_t i) {
    size_t size = strlen(w->path) + 64;
    char *path = kq_arena_alloc(&w->arena, size, 1);
    if (path) shard_path(w, i, path, size);
    return path;
}

static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Refuses to leave a folder in which two models lie. */
static kq_status check_folder(kq_safetensors_writer *w, kq_error *err) {
    char *index = path_of(w, w->n_shards);
    if (!index) return kq_fail_memory(err, strlen(w->path), "a path");
    const char *other = w->n_shards > 1 ? w->path : index;
    if (access(other, F_OK) == 0) {
        return kq_fail_at(err, KQ_E_IO, other, KQ_NO_OFFSET, "it is in the way: beside what is to be written, it would be another model");
    }
    if (w->n_shards == 1) return KQ_OK;
    kq_strmap known;
    if (!kq_strmap_init(&known, &w->allocator, w->n_shards)) return kq_fail_memory(err, w->n_shards, "the names of shards");
    bool failed = false;
    for (size_t i = 0; i < w->n_shards && !failed; i++) {
        const char *name = path_of(w, i);
        failed = !name || (!kq_strmap_add(&known, file_name(name), strlen(file_name(name)), (uint32_t)i, NULL, &failed) && failed);
    }
    const char *stem = file_name(w->path);
    size_t folder_size = (size_t)(stem - w->path);
    char found[256], *folder = kq_arena_string(&w->arena, folder_size ? w->path : ".", folder_size ? folder_size : 1);
    kq_status status = failed || !folder ? kq_fail_memory(err, w->n_shards, "the names of shards") : KQ_OK;
    if (!status) status = kq_safetensors_stray(folder, stem, strlen(stem) - strlen(KQ_SAFETENSORS_SUFFIX), &known, found, err);
    if (!status && found[0]) {
        status = kq_fail_at(err, KQ_E_IO, folder, KQ_NO_OFFSET, "'%s' is in the way: it is a shard of another model of this name", found);
    }
    kq_strmap_free(&known);
    return status;
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

/* Opens all files and takes their space, each with its header written. */
static kq_status start_shard(kq_safetensors_writer *w, size_t shard, size_t begin, size_t end, kq_error *err) {
    kq_output *o = &w->outputs[shard];
    if (w->n_shards > 1 || w->resume) {
        const char *path = w->n_shards > 1 ? path_of(w, shard) : w->path;
        if (!path) return kq_fail_memory(err, w->n_shards, "a path");
        if (w->resume) KQ_TRY(kq_output_open_resumable(o, path, w->resume, &w->arena, &w->allocator, err));
        else KQ_TRY(kq_output_open(o, path, &w->arena, &w->allocator, err));
    } else {
        *o = w->single;
        w->single = (kq_output){0};
    }
    w->n_outputs = shard + 1;
    kq_text t = {.allocator = &w->allocator};
    add_header(w, &t, begin, end);
    uint64_t length = t.size, data = 0;
    if (end > begin) data = w->items[w->order[end - 1]].info.offset + w->items[w->order[end - 1]].info.bytes;
    kq_status status = t.failed ? kq_fail_memory(err, t.size, "a header") : KQ_OK;
    if (!status && length > KQ_SAFETENSORS_MAX_HEADER) {
        status = kq_fail_at(err, KQ_E_LIMIT, o->path, KQ_NO_OFFSET, "its header would have %llu bytes, the limit is %d", (ull)length,
                            KQ_SAFETENSORS_MAX_HEADER);
    }
    if (!status) status = kq_output_reserve(o, 8 + length + data, err); /* data < 2^63 */
    if (!status) {
        (void)kq_output_write(o, &length, 8);
        (void)kq_output_write(o, t.data, t.size);
    }
    kq_free(&w->allocator, t.data);
    return status;
}

static bool index_before(const void *ctx, uint32_t a, uint32_t b) {
    const item *items = ctx;
    return strcmp(items[a].info.name.data, items[b].info.name.data) < 0;
}

/* As others write it: two spaces, tensors in order of name. */
static kq_status write_index(kq_safetensors_writer *w, kq_error *err) {
    kq_output *o = &w->outputs[w->n_shards];
    const char *path = path_of(w, w->n_shards);
    if (!path) return kq_fail_memory(err, strlen(w->path), "a path");
    KQ_TRY(kq_output_open(o, path, &w->arena, &w->allocator, err));
    w->n_outputs = w->n_shards + 1;
    uint64_t total = 0;
    for (size_t i = 0; i < w->n_items; i++) total += w->items[i].info.bytes; /* plan has added them up */
    kq_sort_indices(w->order, w->n_items, index_before, w->items);
    kq_text t = {.allocator = &w->allocator};
    kq_text_put(&t, "{\n  \"metadata\": {\n    \"total_size\": ");
    kq_text_u64(&t, total);
    kq_text_put(&t, "\n  },\n  \"weight_map\": {");
    for (size_t i = 0; i < w->n_items; i++) {
        const kq_safetensors_tensor *info = &w->items[w->order[i]].info;
        kq_text_put(&t, i ? ",\n    " : "\n    ");
        put_string(&t, info->name.data);
        kq_text_put(&t, ": ");
        char name[PATH_MAX];
        shard_path(w, info->shard, name, sizeof name);
        put_string(&t, file_name(name));
    }
    kq_text_put(&t, "\n  }\n}\n");
    kq_status status = t.failed ? kq_fail_memory(err, t.size, "an index") : kq_output_reserve(o, t.size, err);
    if (!status) {
        (void)kq_output_write(o, t.data, t.size);
        status = kq_output_complete(o, err);
    }
    kq_free(&w->allocator, t.data);
    return status;
}

static kq_status write_shards(kq_safetensors_writer *w, kq_error *err) {
    size_t begin = 0;
    for (size_t shard = 0; shard < w->n_shards; shard++) {
        size_t end = begin;
        while (end < w->n_items && w->items[w->order[end]].info.shard == shard) end++;
        KQ_TRY(start_shard(w, shard, begin, end, err));
        begin = end;
    }
    for (size_t i = 0; i < w->n_items; i++) {
        const item *it = &w->items[w->order[i]];
        const kq_safetensors_tensor *t = &it->info;
        KQ_TRY(kq_output_tensor(&w->outputs[t->shard], t->name, t->bytes, t->data, it->produce, it->ctx, err));
    }
    for (size_t shard = 0; shard < w->n_shards; shard++) KQ_TRY(kq_output_complete(&w->outputs[shard], err));
    return w->n_shards > 1 ? write_index(w, err) : KQ_OK;
}

static kq_status write_all(kq_safetensors_writer *w, kq_error *err) {
    KQ_TRY(plan(w, err));
    KQ_TRY(check_folder(w, err));
    if (w->n_shards > 1) kq_output_close(&w->single);
    w->outputs = kq_alloc(&w->allocator, w->n_shards + 1, sizeof *w->outputs);
    if (!w->outputs) return kq_fail_memory(err, w->n_shards * sizeof *w->outputs, "output files");
    KQ_TRY(write_shards(w, err));
    if (w->n_shards > 1 && unlink(w->outputs[w->n_shards].path) && errno != ENOENT) {
        return kq_fail_at(err, KQ_E_IO, w->outputs[w->n_shards].path, KQ_NO_OFFSET, "cannot remove the old index: %s", strerror(errno));
    }
    for (size_t i = 0; i < w->n_outputs; i++) KQ_TRY(kq_output_publish(&w->outputs[i], err));
    return KQ_OK;
}

kq_status kq_safetensors_writer_finish(kq_safetensors_writer *w, kq_error *err) {
    if (w->done) return kq_fail(err, KQ_E_ARGUMENT, "kq_safetensors_writer_finish: the file is finished");
    w->done = true;
    kq_status status = write_all(w, err);
    for (size_t i = 0; status && i < w->n_outputs; i++) kq_output_broken_off(&w->outputs[i], status);
    drop_files(w);
    return status;
}
