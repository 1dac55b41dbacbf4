/* SPDX-License-Identifier: MIT */
/* Writes one GGUF, version 3: the header is made whole in memory, then everything goes out in file order. The bytes are
 * collected in a file beside the target that no name ending in .gguf shows; only a complete one, synced, is renamed, so
 * a reader, a full disk or a kill in the middle never meets half a model. */
#if defined(__linux__)
#define _GNU_SOURCE /* fallocate */
#endif
#include "file/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

typedef unsigned long long ull; /* for printf */

enum { BUFFER = 1 << 20, MAX_PART_NAMES = 1000 };

typedef struct output { /* one tensor */
    kq_gguf_tensor info; /* offset: from the start of the data */
    kq_gguf_produce produce;
    void *ctx;
} output;

struct kq_gguf_writer {
    kq_allocator allocator;
    kq_arena arena;
    char *path;      /* the target, symbolic links followed */
    char *temporary; /* NULL when there is none to remove */
    int file, directory;
    bool done;       /* finish was called */
    kq_gguf_value *values;
    size_t n_values, values_capacity;
    output *outputs;
    size_t n_outputs, outputs_capacity;
    kq_strmap keys, names;
    uint64_t alignment;
    /* while finish runs */
    uint8_t *buffer;
    size_t used;
    const output *current;
    uint64_t left;   /* bytes that the current tensor still lacks */
    kq_status status; /* the first failure to write: it sticks, even when a producer ignores it */
    kq_error error;
};

static kq_status fail_io(const kq_gguf_writer *w, const char *what, kq_error *err) {
    return kq_fail_at(err, KQ_E_IO, w->path, KQ_NO_OFFSET, "cannot %s: %s", what, strerror(errno));
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

/* Follows symbolic links to the file that is really meant, and refuses what is no regular file. */
static kq_status resolve(kq_gguf_writer *w, const char *path, kq_error *err) {
    char real[PATH_MAX];
    struct stat st;
    w->path = kq_arena_string(&w->arena, path, strlen(path));
    if (!w->path) return kq_fail_memory(err, strlen(path) + 1, "a path");
    if (lstat(path, &st)) return errno == ENOENT ? KQ_OK : fail_io(w, "examine", err);
    if (S_ISLNK(st.st_mode)) {
        if (!realpath(path, real) || stat(real, &st)) return fail_io(w, "follow the symbolic link", err);
        w->path = kq_arena_string(&w->arena, real, strlen(real));
        if (!w->path) return kq_fail_memory(err, strlen(real) + 1, "a path");
    }
    if (!S_ISREG(st.st_mode)) {
        return kq_fail_at(err, KQ_E_IO, path, KQ_NO_OFFSET, "cannot write: it exists and is not a regular file");
    }
    return KQ_OK;
}

/* Opens DIRECTORY and DIRECTORY/NAME.part-PID-N, which nobody had. */
static kq_status make_temporary(kq_gguf_writer *w, kq_error *err) {
    const char *slash = strrchr(w->path, '/'), *name = slash ? slash + 1 : w->path;
    size_t length = slash ? (size_t)(slash - w->path) : 0, size = strlen(w->path) + 64;
    char *directory = slash ? kq_arena_string(&w->arena, w->path, length ? length : 1) : kq_arena_string(&w->arena, ".", 1);
    char *temporary = kq_arena_alloc(&w->arena, size, 1);
    if (!directory || !temporary) return kq_fail_memory(err, size, "a path");
    w->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->directory < 0) return fail_io(w, "open its directory", err);
    for (int i = 0; i < MAX_PART_NAMES; i++) {
        /* a name that is nearly too long for a file system is cut */
        snprintf(temporary, size, "%s/%.200s.part-%ld-%d", directory, name, (long)getpid(), i);
        w->file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->file >= 0) {
            w->temporary = temporary;
            return KQ_OK;
        }
        if (errno != EEXIST) break;
    }
    return fail_io(w, "create a file beside it", err);
}

kq_status kq_gguf_writer_open(kq_gguf_writer **out, const char *path, const kq_gguf_options *options, kq_error *err) {
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
    w->file = w->directory = -1;
    w->alignment = KQ_GGUF_DEFAULT_ALIGNMENT;
    kq_status status = KQ_OK;
    if (!kq_strmap_init(&w->keys, &a, 64) || !kq_strmap_init(&w->names, &a, 512)) {
        status = kq_fail_memory(err, 512 * sizeof *w->keys.slots, "a GGUF writer");
    }
    if (!status) status = resolve(w, path, err);
    if (!status) status = make_temporary(w, err);
    if (status) {
        kq_gguf_writer_close(w);
        return status;
    }
    *out = w;
    return KQ_OK;
}

/* Leaves no trace of an unfinished file. */
static void drop_file(kq_gguf_writer *w) {
    if (w->file >= 0) close(w->file);
    if (w->temporary) unlink(w->temporary);
    if (w->directory >= 0) close(w->directory);
    w->file = w->directory = -1;
    w->temporary = NULL;
}

void kq_gguf_writer_close(kq_gguf_writer *w) {
    if (!w) return;
    drop_file(w);
    kq_allocator a = w->allocator;
    kq_strmap_free(&w->keys);
    kq_strmap_free(&w->names);
    kq_free(&a, w->values);
    kq_free(&a, w->outputs);
    kq_free(&a, w->buffer);
    kq_arena_free(&w->arena);
    kq_free(&a, w);
}

/* ---- collecting --------------------------------------------------------------------------------------------------- */

static kq_status check_name(const char *what, const char *name, size_t limit, kq_error *err) {
    size_t size = name ? strlen(name) : 0;
    if (size >= 1 && size <= limit) return KQ_OK;
    return kq_fail(err, KQ_E_ARGUMENT, "%s '%s': its name has %zu bytes, must be 1 to %zu", what, kq_show(name, size).text, size, limit);
}

/* The reader would take exactly these bytes for this kind, element kind and count. */
static bool agrees(kq_gguf_kind kind, kq_gguf_kind element, uint64_t count, const uint8_t *data, size_t size) {
    if (!kq_gguf_kind_name(kind) || !kq_gguf_kind_name(element) || element == KQ_GGUF_ARRAY || (!data && size)) return false;
    if (kind != KQ_GGUF_ARRAY && (kind != element || count != 1)) return false;
    uint64_t bytes;
    if (element != KQ_GGUF_STRING) {
        if (!kq_mul(count, kq_gguf_kind_bytes(element), &bytes) || bytes != size) return false;
        for (uint64_t i = 0; element == KQ_GGUF_BOOL && i < count; i++) {
            if (data[i] > 1) return false;
        }
        return true;
    }
    kq_cursor c = {.data = data, .size = size};
    for (uint64_t i = 0; i < count; i++) {
        if (!kq_cursor_u64(&c, &bytes) || !kq_cursor_take(&c, bytes)) return false;
    }
    return kq_cursor_left(&c) == 0;
}

static kq_status set_alignment(kq_gguf_writer *w, kq_gguf_kind kind, const void *data, kq_error *err) {
    uint32_t alignment = kind == KQ_GGUF_U32 ? kq_load_u32(data) : 0;
    if (alignment < KQ_GGUF_MIN_ALIGNMENT || alignment > KQ_GGUF_MAX_ALIGNMENT || (alignment & (alignment - 1)) != 0) {
        return kq_fail(err, KQ_E_ARGUMENT, "key 'general.alignment' is %s %u, must be u32, a power of two from %d to %d",
                       kq_gguf_kind_name(kind), alignment, KQ_GGUF_MIN_ALIGNMENT, KQ_GGUF_MAX_ALIGNMENT);
    }
    w->alignment = alignment;
    return KQ_OK;
}

kq_status kq_gguf_writer_value(kq_gguf_writer *w, const char *key, kq_gguf_kind kind, kq_gguf_kind element, uint64_t count,
                               const void *data, size_t size, kq_error *err) {
    KQ_TRY(check_name("key", key, KQ_GGUF_MAX_KEY, err));
    if (w->done) return kq_fail(err, KQ_E_ARGUMENT, "key '%s': the file is finished", kq_show(key, strlen(key)).text);
    if (!agrees(kind, element, count, data, size)) {
        return kq_fail(err, KQ_E_ARGUMENT, "key '%s': kind %d, element kind %d, count %llu and %zu bytes do not agree",
                       kq_show(key, strlen(key)).text, (int)kind, (int)element, (ull)count, size);
    }
    if (strcmp(key, "general.alignment") == 0) KQ_TRY(set_alignment(w, kind, data, err));
    uint32_t at = 0;
    bool there = kq_strmap_find(&w->keys, key, strlen(key), &at);
    if (!there && w->n_values == KQ_GGUF_MAX_KEYS) {
        return kq_fail(err, KQ_E_LIMIT, "key '%s': the limit is %d keys", kq_show(key, strlen(key)).text, KQ_GGUF_MAX_KEYS);
    }
    char *name = kq_arena_string(&w->arena, key, strlen(key)), *copy = kq_arena_string(&w->arena, data, size);
    bool failed = !name || !copy || !kq_grow(&w->allocator, &w->values, &w->values_capacity, w->n_values + 1, sizeof *w->values);
    if (!failed && !there) {
        at = (uint32_t)w->n_values;
        kq_strmap_add(&w->keys, name, strlen(name), at, NULL, &failed);
    }
    if (failed) return kq_fail_memory(err, size, "a value");
    w->n_values += !there;
    w->values[at] = (kq_gguf_value){.key = {name, strlen(name)}, .kind = kind, .element = element, .count = count, .size = size,
                                    .data = (const uint8_t *)copy};
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
    if (!value) return kq_fail(err, KQ_E_ARGUMENT, "key '%s': its value is NULL", key ? kq_show(key, strlen(key)).text : "");
    uint64_t length = strlen(value);
    uint8_t *bytes = kq_alloc_raw(&w->allocator, length + 8, 1);
    if (!bytes) return kq_fail_memory(err, length + 8, "a value");
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, value, (size_t)length);
    kq_status status = kq_gguf_writer_value(w, key, KQ_GGUF_STRING, KQ_GGUF_STRING, 1, bytes, (size_t)length + 8, err);
    kq_free(&w->allocator, bytes);
    return status;
}

kq_status kq_gguf_writer_tensor(kq_gguf_writer *w, const char *name, kq_codec codec, uint32_t n_dims, const uint64_t *dims,
                                const void *data, kq_gguf_produce produce, void *ctx, kq_error *err) {
    KQ_TRY(check_name("tensor", name, KQ_GGUF_MAX_NAME, err));
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

static kq_status flush_bytes(kq_gguf_writer *w, const uint8_t *data, size_t size) {
    while (size && !w->status) {
        ssize_t n = write(w->file, data, KQ_MIN(size, (size_t)1 << 30));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            if (n == 0) errno = EIO; /* a regular file never takes nothing */
            w->status = fail_io(w, "write", &w->error);
            break;
        }
        data += n;
        size -= (size_t)n;
    }
    return w->status;
}

static kq_status flush(kq_gguf_writer *w) {
    size_t used = w->used;
    w->used = 0;
    return flush_bytes(w, w->buffer, used);
}

static kq_status write_bytes(kq_gguf_writer *w, const void *data, size_t size) {
    if (w->status) return w->status;
    if (size > BUFFER - w->used) KQ_TRY(flush(w));
    if (size >= BUFFER) return flush_bytes(w, data, size);
    if (size) memcpy(w->buffer + w->used, data, size);
    w->used += size;
    return KQ_OK;
}

static kq_status put(void *sink, const void *data, size_t size, kq_error *err) {
    kq_gguf_writer *w = sink;
    if (!w->status && size > w->left) {
        w->status = kq_fail_at(&w->error, KQ_E_ARGUMENT, w->path, KQ_NO_OFFSET, "tensor '%s': more than its %llu bytes were produced",
                               KQ_SHOW(w->current->info.name), (ull)w->current->info.bytes);
    }
    if (!w->status) {
        w->left -= size;
        (void)write_bytes(w, data, size);
    }
    if (w->status && err) *err = w->error;
    return w->status;
}

static kq_status write_tensor(kq_gguf_writer *w, const output *o, kq_error *err) {
    w->current = o;
    w->left = o->info.bytes;
    if (!o->produce) return put(w, o->info.data, (size_t)o->info.bytes, err);
    kq_status status = o->produce(o->ctx, put, w, err);
    if (w->status) { /* whatever the producer made of it */
        if (err) *err = w->error;
        return w->status;
    }
    if (!status && w->left) {
        status = kq_fail_at(err, KQ_E_ARGUMENT, w->path, KQ_NO_OFFSET, "tensor '%s': only %llu of its %llu bytes were produced",
                            KQ_SHOW(o->info.name), (ull)(o->info.bytes - w->left), (ull)o->info.bytes);
    }
    return status;
}

static kq_status write_zeros(kq_gguf_writer *w, uint64_t n) {
    static const uint8_t zeros[4096];
    for (; n; n -= KQ_MIN(n, sizeof zeros)) KQ_TRY(write_bytes(w, zeros, (size_t)KQ_MIN(n, sizeof zeros)));
    return KQ_OK;
}

static void u32(kq_gguf_writer *w, uint32_t value) { (void)write_bytes(w, &value, 4); }
static void u64(kq_gguf_writer *w, uint64_t value) { (void)write_bytes(w, &value, 8); }
static void string(kq_gguf_writer *w, kq_string s) {
    u64(w, s.size);
    (void)write_bytes(w, s.data, s.size);
}

/* A failure sticks in w->status, so it is asked for once, at the end. */
static kq_status write_header(kq_gguf_writer *w) {
    (void)write_bytes(w, "GGUF", 4);
    u32(w, 3);
    u64(w, w->n_outputs);
    u64(w, w->n_values);
    for (size_t i = 0; i < w->n_values; i++) {
        const kq_gguf_value *v = &w->values[i];
        string(w, v->key);
        u32(w, (uint32_t)v->kind);
        if (v->kind == KQ_GGUF_ARRAY) {
            u32(w, (uint32_t)v->element);
            u64(w, v->count);
        }
        (void)write_bytes(w, v->data, (size_t)v->size);
    }
    for (size_t i = 0; i < w->n_outputs; i++) {
        const kq_gguf_tensor *t = &w->outputs[i].info;
        string(w, t->name);
        u32(w, t->n_dims);
        for (uint32_t d = 0; d < t->n_dims; d++) u64(w, t->dims[d]);
        u32(w, (uint32_t)t->codec);
        u64(w, t->offset);
    }
    return w->status;
}

/* Gives every tensor its offset; *header without padding, *total with everything. False when the sum wraps. */
static bool lay_out(kq_gguf_writer *w, uint64_t *header, uint64_t *total) {
    uint64_t at = 24, data = 0;
    for (size_t i = 0; i < w->n_values; i++) { /* no overflow: all of it is in memory */
        const kq_gguf_value *v = &w->values[i];
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
        return kq_fail_at(err, KQ_E_ARGUMENT, w->path, KQ_NO_OFFSET, "the file would have more than 2^63 - 1 bytes");
    }
#if defined(__linux__)
    /* takes the space now, so that a full disk is met before hours of work and not after; file systems that cannot do without */
    if (fallocate(w->file, 0, 0, (off_t)total) && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINTR) {
        return kq_fail_at(err, KQ_E_IO, w->path, KQ_NO_OFFSET, "cannot take %llu bytes on the disk: %s", (ull)total, strerror(errno));
    }
#endif
    w->buffer = kq_alloc_raw(&w->allocator, BUFFER, 1);
    if (!w->buffer) return kq_fail_memory(err, BUFFER, "a write buffer");
    kq_status status = write_header(w);
    if (!status && w->n_outputs) status = write_zeros(w, (0 - header) & (w->alignment - 1));
    for (size_t i = 0; i < w->n_outputs && !status; i++) {
        const kq_gguf_tensor *t = &w->outputs[i].info;
        KQ_TRY(write_tensor(w, &w->outputs[i], err));
        if (!kq_round_up(t->bytes, w->alignment, &rounded)) return KQ_E_ARGUMENT; /* lay_out has refused it */
        status = write_zeros(w, rounded - t->bytes); /* ggml wants the padding of the last one too */
    }
    if (!status) status = flush(w);
    if (status && err) *err = w->error;
    return status;
}

kq_status kq_gguf_writer_finish(kq_gguf_writer *w, kq_error *err) {
    if (w->done) return kq_fail(err, KQ_E_ARGUMENT, "kq_gguf_writer_finish: the file is finished");
    w->done = true;
    kq_status status = write_all(w, err);
    if (!status && fsync(w->file)) status = fail_io(w, "sync", err);
    int file = w->file;
    w->file = -1;
    if (close(file) && !status) status = fail_io(w, "close", err);
    if (!status && rename(w->temporary, w->path)) status = fail_io(w, "rename into place", err);
    if (!status) {
        w->temporary = NULL; /* it has its name */
        /* so that the name survives a power cut; some file systems cannot sync a directory and need not */
        if (fsync(w->directory) && errno != EINVAL && errno != ENOTSUP) status = fail_io(w, "sync its directory", err);
    }
    drop_file(w);
    return status;
}
