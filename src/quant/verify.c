/* SPDX-License-Identifier: MIT */
/* Verification: every byte of every tensor is hashed and decoded, and manifests.
 *
 * A scale that is NaN or infinite makes every weight under it NaN or infinite, also where the code is 0, so decoding finds all of them. Two
 * formats have scales that are not finite by their definition though they decode to numbers: mxfp4's 255 and nvfp4's 127. Tensors are shared
 * out among the pool; a tensor is read in pieces of whole rows, so memory stays small. */
#include "base/base.h"
#include "codec/blocks.h"
#include "codec/codec.h"
#include "file/file.h"
#include "file/output.h"

#include <kquant/measure.h>

#include <float.h>
#include <stdatomic.h>
#include <stdio.h>

enum { PIECE = 1 << 20 /* bytes that are read together, unless a row has more */, DECODED = 4096 /* weights */ };

struct kq_verification {
    kq_allocator allocator;
    const kq_gguf *file;
    kq_tensor_check *checks;
    size_t n;
    char metadata[65];
};

/* ---- tensors ------------------------------------------------------------------------------------------------------- */

typedef struct worker {
    uint8_t *bytes;         /* [piece] */
    float decoded[DECODED]; /* whole blocks: the largest has 256 weights */
    kq_status status;       /* the first failure */
    kq_error error;
} worker;

typedef struct job {
    kq_verification *v;
    const kq_verify_options *o;
    worker *workers;
    uint64_t total;
    _Atomic uint64_t done;
    atomic_bool stop;
} job;

static uint64_t row_bytes(const kq_gguf_tensor *t) { return t->bytes / (t->weights / t->dims[0]); }
static uint64_t piece_bytes(const kq_gguf_tensor *t) { return KQ_MIN(KQ_MAX(PIECE / row_bytes(t), 1) * row_bytes(t), t->bytes); }

static bool scale_is_nan(kq_codec codec, const uint8_t *block) {
    if (codec == KQ_MXFP4) return ((const kq_block_mxfp4 *)block)->e == 255;
    bool found = false;
    for (int i = 0; codec == KQ_NVFP4 && i < 4; i++) found = found || (((const kq_block_nvfp4 *)block)->scales[i] & 127) == 127;
    return found;
}

static bool is_finite(const float *x, size_t n) {
    bool finite = true;
    for (size_t i = 0; i < n; i++) finite &= __builtin_fabsf(x[i]) <= FLT_MAX; /* false for NaN */
    return finite;
}

static void note_bad(kq_tensor_check *c, const kq_codec_info *info, uint64_t offset) {
    if (c->bad_blocks++) return;
    uint64_t row = row_bytes(c->tensor);
    c->row = offset / row;
    c->block = offset % row / info->block_bytes;
}

/* Whole rows at `data`, which begin `offset` bytes into the tensor. */
static kq_status scan(kq_tensor_check *c, worker *w, const uint8_t *data, uint64_t size, uint64_t offset, kq_error *err) {
    const kq_codec_info *info = kq_codec_describe((uint32_t)c->tensor->codec);
    if (c->tensor->codec == KQ_F64) {
        for (uint64_t i = 0; i < size; i += 8) {
            if ((kq_load_u64(data + i) >> 52 & 0x7ff) == 0x7ff) note_bad(c, info, offset + i);
        }
    }
    if (!info->decodes) return KQ_OK;
    uint64_t step = DECODED / info->block_weights * info->block_bytes;
    for (uint64_t at = 0, n; at < size; at += n) {
        n = KQ_MIN(size - at, step);
        uint64_t blocks = n / info->block_bytes;
        KQ_TRY(kq_dequantize((uint32_t)info->codec, data + at, (size_t)n, blocks * info->block_weights, w->decoded, DECODED, err));
        bool special = info->codec == KQ_MXFP4 || info->codec == KQ_NVFP4;
        if (!special && is_finite(w->decoded, (size_t)(blocks * info->block_weights))) continue;
        for (uint64_t b = 0; b < blocks; b++) {
            bool good = is_finite(w->decoded + b * info->block_weights, info->block_weights);
            uint64_t place = at + b * info->block_bytes;
            if (!good || scale_is_nan(info->codec, data + place)) note_bad(c, info, offset + place);
        }
    }
    return KQ_OK;
}

static kq_status check_tensor(job *j, kq_tensor_check *c, worker *w, bool tells, kq_error *err) {
    const kq_gguf_tensor *t = c->tensor;
    uint64_t piece = piece_bytes(t);
    kq_sha256 hash;
    uint8_t digest[32];
    kq_sha256_init(&hash);
    for (uint64_t at = 0, n; at < t->bytes; at += n) {
        n = KQ_MIN(t->bytes - at, piece);
        if (atomic_load(&j->stop)) return KQ_OK; /* whoever stopped says why */
        const uint8_t *data = t->data ? (const uint8_t *)t->data + at : w->bytes;
        if (!t->data) KQ_TRY(kq_gguf_tensor_read(j->v->file, t, at, n, w->bytes, err));
        kq_sha256_add(&hash, data, (size_t)n);
        KQ_TRY(scan(c, w, data, n, at, err));
        uint64_t done = atomic_fetch_add(&j->done, n) + n;
        if (tells && j->o->progress && !j->o->progress(j->o->progress_ctx, (double)done / (double)j->total)) {
            return kq_fail(err, KQ_E_CANCELLED, "verifying was stopped");
        }
    }
    kq_sha256_finish(&hash, digest);
    kq_hex(digest, sizeof digest, c->sha256);
    return KQ_OK;
}

static void tensor_task(void *ctx, size_t i, size_t index) {
    job *j = ctx;
    worker *w = &j->workers[index];
    if (atomic_load(&j->stop)) return;
    kq_error e;
    kq_status status = check_tensor(j, &j->v->checks[i], w, index == 0, &e);
    if (!status) return;
    w->status = status;
    w->error = e;
    atomic_store(&j->stop, true);
}

static kq_status check_tensors(kq_verification *v, const kq_verify_options *o, kq_error *err) {
    size_t n_workers = (size_t)kq_pool_threads(o->pool);
    uint64_t largest = 0;
    job j = {.v = v, .o = o};
    for (size_t i = 0; i < v->n; i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(v->file, i);
        v->checks[i].tensor = t;
        j.total += t->bytes;
        if (!t->data) largest = KQ_MAX(largest, piece_bytes(t));
    }
    kq_status status = KQ_OK;
    j.workers = kq_alloc(&v->allocator, n_workers, sizeof *j.workers);
    if (!j.workers) return kq_fail_memory(err, n_workers * sizeof *j.workers, "a verification");
    for (size_t i = 0; i < n_workers && largest && !status; i++) {
        j.workers[i].bytes = kq_alloc_raw(&v->allocator, largest, 1);
        if (!j.workers[i].bytes) status = kq_fail_memory(err, largest, "a verification");
    }
    if (!status) kq_pool_run(o->pool, v->n, tensor_task, &j);
    for (size_t i = 0; i < n_workers; i++) {
        if (!status && j.workers[i].status) {
            status = j.workers[i].status;
            if (err) *err = j.workers[i].error;
        }
        kq_free(&v->allocator, j.workers[i].bytes);
    }
    kq_free(&v->allocator, j.workers);
    return status;
}

static void hash_metadata(kq_verification *v) {
    kq_sha256 hash;
    uint8_t digest[32];
    kq_sha256_init(&hash);
    for (size_t i = 0; i < kq_gguf_n_values(v->file); i++) {
        const kq_gguf_value *x = kq_gguf_value_at(v->file, i);
        if (strncmp(x->key.data, "split.", 6) == 0) continue;
        uint64_t head[5] = {x->key.size, (uint64_t)x->kind, (uint64_t)x->element, x->count, x->size};
        kq_sha256_add(&hash, head, sizeof head);
        kq_sha256_add(&hash, x->key.data, x->key.size);
        kq_sha256_add(&hash, x->data, (size_t)x->size);
    }
    kq_sha256_finish(&hash, digest);
    kq_hex(digest, sizeof digest, v->metadata);
}

kq_status kq_verify_open(kq_verification **out, const kq_gguf *g, const kq_verify_options *options, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "kq_verify_open: out is NULL");
    *out = NULL;
    if (!g) return kq_fail(err, KQ_E_ARGUMENT, "kq_verify_open: the file is NULL");
    kq_verify_options o;
    kq_options_read(&o, sizeof o, options);
    kq_allocator a = kq_allocator_of(o.allocator);
    kq_verification *v = kq_alloc(&a, 1, sizeof *v);
    if (!v) return kq_fail_memory(err, sizeof *v, "a verification");
    v->allocator = a;
    v->file = g;
    v->n = kq_gguf_n_tensors(g);
    v->checks = kq_alloc(&a, v->n, sizeof *v->checks);
    kq_status status = v->checks ? check_tensors(v, &o, err) : kq_fail_memory(err, v->n * sizeof *v->checks, "a verification");
    if (status) {
        kq_verify_close(v);
        return status;
    }
    hash_metadata(v);
    *out = v;
    return KQ_OK;
}

void kq_verify_close(kq_verification *v) {
    if (!v) return;
    kq_allocator a = v->allocator;
    kq_free(&a, v->checks);
    kq_free(&a, v);
}

size_t kq_verify_n_tensors(const kq_verification *v) { return v->n; }
const kq_tensor_check *kq_verify_tensor_at(const kq_verification *v, size_t i) { return i < v->n ? &v->checks[i] : NULL; }

/* ---- manifests ----------------------------------------------------------------------------------------------------- */

/* "q4_k  256x8192" */
typedef struct shape_text { char text[120]; } shape_text;
static shape_text shape_of(const kq_gguf_tensor *t) {
    shape_text s;
    int n = snprintf(s.text, sizeof s.text, "%s  ", kq_codec_describe((uint32_t)t->codec)->name);
    for (uint32_t d = 0; d < t->n_dims; d++) {
        n += snprintf(s.text + n, sizeof s.text - (size_t)n, "%s%llu", d ? "x" : "", (unsigned long long)t->dims[d]);
    }
    return s;
}

static void put(kq_output *o, const char *data, size_t size) { (void)kq_output_write(o, data, size); } /* a failure sticks */

static kq_status fill(const kq_verification *v, kq_output *o, kq_error *err) {
    static const char head[] = "# kquant manifest: SHA-256 of metadata; of each tensor's bytes, its codec, shape and name\n", meta[] = "  metadata\n";
    KQ_TRY(kq_output_reserve(o, 0, err)); /* a buffer; so few bytes need no space in advance */
    put(o, head, sizeof head - 1);
    put(o, v->metadata, 64);
    put(o, meta, sizeof meta - 1);
    for (size_t i = 0; i < v->n; i++) {
        const kq_tensor_check *c = &v->checks[i];
        shape_text shape = shape_of(c->tensor);
        put(o, c->sha256, 64);
        put(o, "  ", 2);
        put(o, shape.text, strlen(shape.text));
        put(o, "  ", 2);
        put(o, c->tensor->name.data, c->tensor->name.size);
        put(o, "\n", 1);
    }
    return kq_output_complete(o, err);
}

kq_status kq_manifest_write(const kq_verification *v, const char *path, kq_error *err) {
    if (!v || !path || !*path) return kq_fail(err, KQ_E_ARGUMENT, "kq_manifest_write: an argument is NULL, or the path is empty");
    for (size_t i = 0; i < v->n; i++) {
        kq_string name = v->checks[i].tensor->name;
        if (!memchr(name.data, '\n', name.size)) continue;
        return kq_fail(err, KQ_E_LIMIT, "tensor '%s' has a line break in its name, which no manifest can hold", KQ_SHOW(name));
    }
    kq_output o;
    kq_arena arena;
    kq_arena_init(&arena, &v->allocator);
    kq_status status = kq_output_open(&o, path, &arena, &v->allocator, err);
    if (!status) {
        status = fill(v, &o, err);
        if (!status) status = kq_output_publish(&o, err);
        kq_output_close(&o);
    }
    kq_arena_free(&arena);
    return status;
}

typedef struct comparison {
    const kq_verification *v;
    void (*report)(void *ctx, kq_difference what, kq_string name);
    void *ctx;
    const char *path;
    kq_strmap names; /* of the model's tensors */
    bool *seen;      /* [n] */
} comparison;

/* The next two fields end with two spaces each; the name is the rest. False: not so. */
static bool take_field(const char **at, const char *end, kq_string *out) {
    const char *p = *at;
    while (end - p >= 2 && !(p[0] == ' ' && p[1] == ' ')) p++;
    if (end - p < 2 || p == *at) return false;
    *out = (kq_string){*at, (size_t)(p - *at)};
    *at = p + 2;
    return true;
}

static kq_status compare_line(comparison *c, const char *line, size_t size, uint64_t offset, kq_error *err) {
    const char *at = line, *end = line + size;
    kq_string hash, codec, dims, name;
    bool good = take_field(&at, end, &hash) && hash.size == 64;
    for (size_t i = 0; good && i < 64; i++) good = (hash.data[i] >= '0' && hash.data[i] <= '9') || (hash.data[i] >= 'a' && hash.data[i] <= 'f');
    if (good && (size_t)(end - at) == 8 && memcmp(at, "metadata", 8) == 0) {
        if (memcmp(hash.data, c->v->metadata, 64) != 0) c->report(c->ctx, KQ_DIFFERS_METADATA, (kq_string){"metadata", 8});
        return KQ_OK;
    }
    good = good && take_field(&at, end, &codec) && take_field(&at, end, &dims) && at < end;
    if (!good) return kq_fail_at(err, KQ_E_FORMAT, c->path, offset, "it is no manifest: a line must be a SHA-256, codec, shape and name");
    name = (kq_string){at, (size_t)(end - at)};
    uint32_t i;
    if (!kq_strmap_find(&c->names, name.data, name.size, &i)) {
        c->report(c->ctx, KQ_DIFFERS_MISSING, name);
        return KQ_OK;
    }
    if (c->seen[i]) return kq_fail_at(err, KQ_E_FORMAT, c->path, offset, "tensor '%s' is there twice", KQ_SHOW(name));
    c->seen[i] = true;
    shape_text shape = shape_of(c->v->checks[i].tensor);
    size_t both = (size_t)(dims.data + dims.size - codec.data);
    if (strlen(shape.text) != both || memcmp(shape.text, codec.data, both) != 0) {
        c->report(c->ctx, KQ_DIFFERS_SHAPE, name);
    } else if (memcmp(hash.data, c->v->checks[i].sha256, 64) != 0) {
        c->report(c->ctx, KQ_DIFFERS_BYTES, name);
    }
    return KQ_OK;
}

static kq_status compare_lines(comparison *c, const char *text, uint64_t size, kq_error *err) {
    size_t lines = 0;
    for (uint64_t at = 0; at < size;) {
        const char *line = text + at, *end = memchr(line, '\n', (size_t)(size - at));
        size_t length = end ? (size_t)(end - line) : (size_t)(size - at);
        if (length && *line != '#') {
            KQ_TRY(compare_line(c, line, length, at, err));
            lines++;
        }
        at += length + 1;
    }
    if (!lines) return kq_fail_at(err, KQ_E_FORMAT, c->path, KQ_NO_OFFSET, "it is no manifest: no line of it names a tensor");
    for (size_t i = 0; i < c->v->n; i++) {
        if (!c->seen[i]) c->report(c->ctx, KQ_DIFFERS_EXTRA, c->v->checks[i].tensor->name);
    }
    return KQ_OK;
}

kq_status kq_manifest_compare(const kq_verification *v, const char *path, void (*report)(void *ctx, kq_difference what, kq_string name),
                              void *ctx, kq_error *err) {
    if (!v || !path || !report) return kq_fail(err, KQ_E_ARGUMENT, "kq_manifest_compare: an argument is NULL");
    kq_map map;
    KQ_TRY(kq_map_open(&map, path, err));
    comparison c = {.v = v, .report = report, .ctx = ctx, .path = path};
    bool failed = !kq_strmap_init(&c.names, &v->allocator, v->n);
    for (size_t i = 0; i < v->n && !failed; i++) {
        kq_string name = v->checks[i].tensor->name;
        (void)kq_strmap_add(&c.names, name.data, name.size, (uint32_t)i, NULL, &failed); /* names are unique */
    }
    c.seen = failed ? NULL : kq_alloc(&v->allocator, v->n, sizeof *c.seen);
    kq_status status = c.seen ? compare_lines(&c, (const char *)map.data, map.size, err) : kq_fail_memory(err, v->n, "a manifest");
    kq_free(&v->allocator, c.seen);
    kq_strmap_free(&c.names);
    kq_map_close(&map);
    return status;
}
