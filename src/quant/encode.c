/* SPDX-License-Identifier: MIT */
/* One tensor, from the codec of its source to that of the output, in memory that does not grow with it: chunks of rows, each cut into
 * tiles for the pool. A thread reads a tile, decodes it, encodes it and decodes the result again, all in its own cache; while a chunk is
 * encoded, the one before it is written. Chunks and tiles depend on the shape alone, so neither bytes nor errors depend on the threads.
 *
 * Every weight is looked at on its way: NaN and infinity in the source are refused, and so is a result that does not decode to finite
 * numbers (the scale of a block is binary16, and weights of about 65504 times a code are beyond it). */
#include "quant/encode.h"

#include <math.h>

typedef unsigned long long ull; /* for printf */

enum {
    TILE_WEIGHTS = 16384,      /* enough work that taking a tile costs nothing */
    CHUNK_WEIGHTS = 8 << 20,   /* 512 tiles: threads are kept busy, and the writing of the one before is hidden */
    CACHE_LINE = 64
};
/* A scale is at most the largest weight; below this none can leave binary16, whatever the codec. */
#define SAFE_MAGNITUDE 16384.0f

typedef struct slot { /* of one thread */
    uint8_t *packed;  /* a tile of the source; unused where the source is f32 */
    float *x, *y;     /* its weights, before and after */
    size_t failed;    /* the tile that failed, when status is set */
    kq_status status;
    kq_error error;
} slot;

typedef struct work {
    const kq_encode_job *job;
    uint64_t cols, rows, from_row, to_row, tile_rows;
    size_t n_tiles, n_slots; /* of the chunk */
    uint64_t first;          /* row of the chunk */
    uint64_t end;
    uint8_t *dst;            /* where the chunk goes */
    slot *slots;
    double (*sums)[2];       /* of each tile: squared errors, squared weights */
    const uint8_t *pending;  /* the chunk before, to be written meanwhile; NULL: none */
    uint64_t pending_bytes;
    kq_status put_status;
    kq_error put_error;
} work;

/* The bits of the largest magnitude: 0x7f800000 and more when something is not finite. */
static uint32_t largest(const float *x, uint64_t n) {
    uint32_t most = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint32_t bits = kq_f32_to_bits(x[i]) & 0x7fffffff;
        most = KQ_MAX(most, bits);
    }
    return most;
}

/* Sums of w (x - y)^2 and w x^2 in four lanes, each in order. */
static void add_errors(const float *x, const float *y, const float *w, uint64_t n, double sums[2]) {
    double e[4] = {0}, s[4] = {0};
    uint64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (int k = 0; k < 4; k++) {
            double weight = w ? (double)w[i + (uint64_t)k] : 1.0, v = (double)x[i + (uint64_t)k], d = v - (double)y[i + (uint64_t)k];
            e[k] += weight * d * d;
            s[k] += weight * v * v;
        }
    }
    for (; i < n; i++) {
        double weight = w ? (double)w[i] : 1.0, v = (double)x[i], d = v - (double)y[i];
        e[0] += weight * d * d;
        s[0] += weight * v * v;
    }
    sums[0] += (e[0] + e[1]) + (e[2] + e[3]);
    sums[1] += (s[0] + s[1]) + (s[2] + s[3]);
}

static kq_status fail_value(const work *w, const float *x, uint64_t row, uint64_t rows, const char *when, kq_error *err) {
    const kq_gguf_tensor *t = w->job->choice->tensor;
    uint64_t i = 0;
    while (i + 1 < rows * w->cols && isfinite(x[i])) i++;
    return kq_fail_at(err, KQ_E_FORMAT, kq_gguf_path(w->job->source), KQ_NO_OFFSET, "tensor '%s': row %llu, column %llu is %s%s",
                      KQ_SHOW(t->name), (ull)(row + i / w->cols), (ull)(i % w->cols), x[i] != x[i] ? "NaN" : "infinite", when);
}

/* Reads and decodes rows into s->x; bytes that are copied go straight to dst. */
static kq_status read_tile(const work *w, slot *s, uint64_t row, uint64_t rows, uint8_t *dst, kq_error *err) {
    const kq_quant_choice *c = w->job->choice;
    const kq_gguf_tensor *t = c->tensor;
    uint64_t bytes = rows * w->from_row, weights = rows * w->cols; /* no overflow: they are the tensor's, or fewer */
    bool plain = !kq_codec_describe(t->codec)->decodes;
    uint8_t *to = c->copied ? dst : t->codec == KQ_F32 ? (uint8_t *)s->x : s->packed;
    KQ_TRY(kq_gguf_tensor_read(w->job->source, t, row * w->from_row, bytes, to, err));
    if (plain) return KQ_OK;
    if (to != (uint8_t *)s->x) KQ_TRY(kq_dequantize(t->codec, to, (size_t)bytes, weights, s->x, (size_t)weights, err));
    return largest(s->x, weights) < 0x7f800000 ? KQ_OK : fail_value(w, s->x, row, rows, "", err);
}

/* Rows of one group of importances. */
static kq_status encode_rows(const work *w, const float *x, uint64_t row, uint64_t rows, const float *importances, uint8_t *dst, kq_error *err) {
    const kq_quant_choice *c = w->job->choice;
    kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
    o.importances = importances;
    o.importance_floats = importances ? (size_t)w->cols : 0;
    kq_status status = kq_quantize(c->codec, x, (size_t)(rows * w->cols), rows, w->cols, dst, (size_t)(rows * w->to_row), &o, err);
    if (status != KQ_E_ARGUMENT) return status;
    uint64_t i = 0; /* which row */
    while (i + 1 < rows && !kq_quantize(c->codec, x + i * w->cols, (size_t)w->cols, 1, w->cols, dst, (size_t)w->to_row, &o, NULL)) i++;
    return kq_fail_at(err, KQ_E_FORMAT, kq_gguf_path(w->job->source), KQ_NO_OFFSET, "tensor '%s': row %llu has weights too large for %s",
                      KQ_SHOW(c->tensor->name), (ull)(row + i), kq_codec_describe(c->codec)->name);
}

static kq_status do_tile(work *w, slot *s, size_t tile, kq_error *err) {
    const kq_quant_choice *c = w->job->choice;
    uint64_t first = w->first + tile * w->tile_rows, end = KQ_MIN(first + w->tile_rows, w->end), rows = end - first;
    uint8_t *dst = w->dst + (first - w->first) * w->to_row;
    w->sums[tile][0] = w->sums[tile][1] = 0;
    KQ_TRY(read_tile(w, s, first, rows, dst, err));
    if (c->copied) return KQ_OK;
    uint64_t group_rows = c->tensor->dims[1], weights = rows * w->cols;
    for (uint64_t row = first, n; row < end; row += n) { /* no two groups at once */
        uint64_t group = row / group_rows;
        n = KQ_MIN(end, (group + 1) * group_rows) - row;
        const float *importances = w->job->importances ? w->job->importances + group * w->cols : NULL;
        KQ_TRY(encode_rows(w, s->x + (row - first) * w->cols, row, n, importances, dst + (row - first) * w->to_row, err));
    }
    if (!w->job->measure && kq_bits_to_f32(largest(s->x, weights)) < SAFE_MAGNITUDE) return KQ_OK;
    KQ_TRY(kq_dequantize(c->codec, dst, (size_t)(rows * w->to_row), weights, s->y, (size_t)weights, err));
    if (largest(s->y, weights) >= 0x7f800000) return fail_value(w, s->y, first, rows, " once it is encoded", err);
    for (uint64_t i = 0; w->job->measure && i < rows; i++) {
        const float *importances = w->job->importances ? w->job->importances + (first + i) / group_rows * w->cols : NULL;
        add_errors(s->x + i * w->cols, s->y + i * w->cols, importances, w->cols, w->sums[tile]);
    }
    return KQ_OK;
}

static void task(void *ctx, size_t i, size_t worker) {
    work *w = ctx;
    if (w->pending) { /* the first task writes */
        if (i == 0) {
            w->put_status = w->job->put(w->job->sink, w->pending, (size_t)w->pending_bytes, &w->put_error);
            return;
        }
        i--;
    }
    slot *s = &w->slots[w->n_tiles > w->n_slots ? worker : i];
    if (s->status) return; /* tiles are taken in order: an earlier one has failed */
    s->status = do_tile(w, s, i, &s->error);
    s->failed = i;
}

/* The failure of the first tile that failed, whichever thread met it. */
static kq_status first_failure(const work *w, kq_error *err) {
    const slot *first = NULL;
    for (size_t i = 0; i < w->n_slots; i++) {
        const slot *s = &w->slots[i];
        if (s->status && (!first || s->failed < first->failed)) first = s;
    }
    if (first && err) *err = first->error;
    return first ? first->status : KQ_OK;
}

/* ---- memory ---------------------------------------------------------------------------------------------------------- */

typedef struct memory {
    uint64_t packed, floats; /* bytes of a slot's parts */
    size_t n_chunks;         /* buffers: one, or two when there are more chunks */
    uint64_t chunk;
    size_t n_tiles;
    uint8_t *slots_at, *chunks_at;
} memory;

static bool measure_memory(const work *w, uint64_t chunk_rows, memory *m) {
    const kq_quant_choice *c = w->job->choice;
    bool decodes = kq_codec_describe(c->tensor->codec)->decodes;
    uint64_t weights;
    m->packed = m->floats = 0;
    if (!kq_mul(w->tile_rows, w->cols, &weights)) return false;
    if (decodes && (!kq_mul(weights, sizeof(float), &m->floats) || !kq_round_up(m->floats, CACHE_LINE, &m->floats))) return false;
    if (!c->copied && c->tensor->codec != KQ_F32 &&
        (!kq_mul(w->tile_rows, w->from_row, &m->packed) || !kq_round_up(m->packed, CACHE_LINE, &m->packed))) return false;
    m->n_chunks = chunk_rows < w->rows ? 2 : 1;
    m->n_tiles = (size_t)((chunk_rows - 1) / w->tile_rows + 1);
    return kq_mul(chunk_rows, w->to_row, &m->chunk) && kq_round_up(m->chunk, CACHE_LINE, &m->chunk);
}

static kq_status take_memory(work *w, memory *m, kq_error *err) {
    const kq_encode_job *j = w->job;
    uint64_t each, bytes;
    bool two = !j->choice->copied; /* y too */
    bool fits = kq_add(m->packed, m->floats, &each) && (!two || kq_add(each, m->floats, &each)) && kq_mul(each, w->n_slots, &bytes);
    if (!fits) return kq_fail_memory(err, UINT64_MAX, "the rows of a tensor");
    w->slots = kq_alloc(&j->allocator, w->n_slots, sizeof *w->slots);
    w->sums = kq_alloc(&j->allocator, m->n_tiles, sizeof *w->sums);
    m->slots_at = kq_alloc_raw(&j->allocator, w->n_slots, each ? each : 1);
    m->chunks_at = kq_alloc_raw(&j->allocator, m->n_chunks, m->chunk);
    if (!w->slots || !w->sums || !m->slots_at || !m->chunks_at) return kq_fail_memory(err, bytes + m->n_chunks * m->chunk, "rows of a tensor");
    for (size_t i = 0; i < w->n_slots; i++) {
        uint8_t *at = m->slots_at + i * each;
        w->slots[i].packed = at;
        w->slots[i].x = (float *)(void *)(at + m->packed);
        w->slots[i].y = (float *)(void *)(at + m->packed + m->floats);
    }
    return KQ_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------- */

/* Encodes rows [w->first, w->end) while the chunk before them is written. */
static kq_status do_chunk(work *w, kq_error *err) {
    w->n_tiles = (size_t)((w->end - w->first - 1) / w->tile_rows + 1);
    kq_pool_run(w->job->pool, w->n_tiles + (w->pending != NULL), task, w);
    if (w->put_status) {
        if (err) *err = w->put_error;
        return w->put_status;
    }
    return first_failure(w, err);
}

static kq_status do_chunks(work *w, const memory *m, uint64_t chunk_rows, double sums[2], kq_error *err) {
    const kq_encode_job *j = w->job;
    for (size_t turn = 0; w->first < w->rows; turn++) {
        if (j->progress && !j->progress(j->progress_ctx, w->first * w->cols)) return kq_fail(err, KQ_E_CANCELLED, "stopped");
        w->end = KQ_MIN(w->first + chunk_rows, w->rows);
        w->dst = m->chunks_at + turn % m->n_chunks * m->chunk;
        KQ_TRY(do_chunk(w, err));
        for (size_t i = 0; i < w->n_tiles; i++) {
            sums[0] += w->sums[i][0];
            sums[1] += w->sums[i][1];
        }
        kq_gguf_tensor_release(j->source, j->choice->tensor, w->first * w->from_row, (w->end - w->first) * w->from_row);
        w->pending = w->dst;
        w->pending_bytes = (w->end - w->first) * w->to_row;
        w->first = w->end;
    }
    return j->put(j->sink, w->pending, (size_t)w->pending_bytes, err);
}

kq_status kq_encode_tensor(const kq_encode_job *j, double *error, kq_error *err) {
    const kq_gguf_tensor *t = j->choice->tensor;
    work w = {.job = j, .cols = t->dims[0], .rows = t->weights / t->dims[0]};
    KQ_TRY(kq_row_bytes(t->codec, w.cols, &w.from_row, err));
    KQ_TRY(kq_row_bytes(j->choice->codec, w.cols, &w.to_row, err));
    w.tile_rows = KQ_MIN(KQ_MAX(1, TILE_WEIGHTS / w.cols), w.rows);
    uint64_t chunk_rows = KQ_MIN(KQ_MAX(1, CHUNK_WEIGHTS / w.cols / w.tile_rows) * w.tile_rows, w.rows);
    memory m = {0};
    if (!measure_memory(&w, chunk_rows, &m)) return kq_fail_memory(err, UINT64_MAX, "the rows of a tensor");
    w.n_slots = KQ_MIN((size_t)kq_pool_threads(j->pool), m.n_tiles);
    double sums[2] = {0, 0};
    kq_status status = take_memory(&w, &m, err);
    if (!status) status = do_chunks(&w, &m, chunk_rows, sums, err);
    kq_free(&j->allocator, w.slots);
    kq_free(&j->allocator, w.sums);
    kq_free(&j->allocator, m.slots_at);
    kq_free(&j->allocator, m.chunks_at);
    *error = j->choice->copied ? 0 : !j->measure ? -1 : sums[0] > 0 ? sums[0] / sums[1] : 0;
    return status;
}
