/* SPDX-License-Identifier: MIT */
/* cache_write and attention.
 *
 * A (token, head) pair is a row: one query against the cache positions [first, pos]. Positions are cut into chunks at multiples of
 * CHUNK, whatever the batch. Over one chunk a row gets
 *     s[p] = scale * (q . k[p])     the dot product in 16 lanes and the tree of kq_exact_sum
 *     max  = the largest s;  e[p] = exp(s[p] - max);  sum = e[p] summed in the same lanes and tree;  acc = sum over p, upwards, of e[p] v[p]
 * and chunks are merged upwards, each time scaling the side with the smaller maximum. So there is one order of sums for a row,
 * which no batch, thread count or cut into tasks can change, while long contexts still spread over threads: with few tokens
 * a task is one chunk of one key head and the merge comes after; with many it is a tile of tokens that merges as it goes.
 * Chunks also bound the error: no float sum is longer than CHUNK terms. */
#include "base/numeric.h"
#include "cpu/op.h"

enum {
    CHUNK = 256,     /* positions; with 128 wide heads the keys and values of one chunk in f32 are 256 KB, half an L2 */
    TILE = 16,       /* tokens that share the conversion of a chunk */
    SPLIT = 4,       /* up to so many tokens, tasks are chunks */
    POOL_WORK = 32768 /* multiplications below which waking the pool costs more than it saves */
};

/* ---- cache_write --------------------------------------------------------------------------------------------------- */

static void cache_write_run(const kq_exec *x, const kq_step *step) {
    const kq_tensor *in = kq_op_in(x->slots, step, 0), *pos = kq_op_in(x->slots, step, 1), *cache = &x->slots[step->out];
    uint64_t width = (uint64_t)in->dims[1] * (uint64_t)in->dims[2];
    const float *from = in->data;
    for (uint64_t t = 0; t < (uint64_t)in->dims[0]; t++, from += width) {
        size_t at = (size_t)((const int32_t *)pos->data)[t] * width;
        if (cache->codec == KQ_F32) {
            memcpy((float *)cache->data + at, from, width * sizeof *from);
        } else {
            uint16_t *to = (uint16_t *)cache->data + at;
            for (uint64_t i = 0; i < width; i++) to[i] = kq_f32_to_f16(from[i]);
        }
    }
}
const kq_cpu_op kq_cpu_cache_write = {.run = cache_write_run};

/* ---- attention: one row over one chunk ------------------------------------------------------------------------------ */

/* What a row knows after some of its chunks: acc / sum is the result so far, max the exponent they are relative to. */
typedef struct row_state {
    float *acc; /* [value_width] */
    float max, sum;
} row_state;

/* Rows of keys or values as floats: row p of the chunk at data + p * pitch. */
typedef struct row_set {
    const float *data;
    size_t pitch;
} row_set;

static float dot(const float *a, const float *b, size_t n) {
    float lanes[KQ_EXACT_LANES] = {0};
    size_t i = 0;
    for (; i + KQ_EXACT_LANES <= n; i += KQ_EXACT_LANES) {
        for (size_t j = 0; j < KQ_EXACT_LANES; j++) lanes[j] += a[i + j] * b[i + j];
    }
    for (size_t j = 0; i + j < n; j++) lanes[j] += a[i + j] * b[i + j];
    return kq_exact_sum(lanes);
}

/* One row over the positions [first, end) of a chunk, all of them its own; scores has room for CHUNK floats. */
static void attend(const float *q, row_set k, row_set v, size_t first, size_t end, size_t key_width, size_t value_width, float scale,
                   float *scores, row_state *out) {
    size_t n = end - first;
    float max = -INFINITY, lanes[KQ_EXACT_LANES] = {0};
    for (size_t i = 0; i < n; i++) {
        scores[i] = dot(q, k.data + (first + i) * k.pitch, key_width) * scale;
        max = scores[i] > max ? scores[i] : max;
    }
    float base = max == -INFINITY ? 0.0f : max; /* all of them -infinity: exp gives zeros, not NaN */
    for (size_t i = 0; i < n; i++) scores[i] = kq_expf(scores[i] - base);
    for (size_t i = 0; i < n; i++) lanes[i % KQ_EXACT_LANES] += scores[i];
    memset(out->acc, 0, value_width * sizeof *out->acc);
    for (size_t i = 0; i < n; i++) {
        const float *value = v.data + (first + i) * v.pitch;
        float weight = scores[i], *acc = out->acc;
        for (size_t j = 0; j < value_width; j++) acc[j] += weight * value[j];
    }
    out->max = max;
    out->sum = kq_exact_sum(lanes);
}

/* Adds the next chunk's state to a row's. A row without chunks so far has max = -infinity, sum = 0 and acc = 0. */
static void merge(row_state *into, const row_state *next, size_t value_width) {
    float a = 1.0f, b = 1.0f;
    if (next->max > into->max) {
        a = kq_expf(into->max - next->max);
        into->max = next->max;
    } else if (next->max < into->max) {
        b = kq_expf(next->max - into->max);
    }
    into->sum = into->sum * a + next->sum * b;
    for (size_t j = 0; j < value_width; j++) into->acc[j] = into->acc[j] * a + next->acc[j] * b;
}

/* ---- attention: tasks ------------------------------------------------------------------------------------------------ */

typedef struct attention {
    const kq_cpu_table *table;
    const float *q;
    const kq_tensor *k, *v;
    const int32_t *pos;
    float *y;
    size_t n_tokens, n_heads, n_groups, per_group; /* per_group query heads share a key head */
    size_t key_width, value_width;
    float scale;
    int64_t window;
    uint8_t *room;     /* of the workers, room_bytes each */
    size_t room_bytes;
    /* few tokens: */
    size_t first_chunk, n_chunks;
    float *partial; /* [n_chunks][n_tokens][n_heads][value_width + 2]: acc, max, sum */
} attention;

/* A worker's memory. */
typedef struct workspace {
    float *keys, *values; /* [CHUNK][width]; unused with an f32 cache */
    float *scores;        /* [CHUNK] */
    float *next;          /* [value_width] */
    row_state *rows;      /* [TILE][per_group] */
} workspace;

static size_t first_position(const attention *a, size_t t) {
    int64_t first = a->window > 0 ? a->pos[t] - a->window + 1 : 0;
    return first > 0 ? (size_t)first : 0;
}

static workspace workspace_of(const attention *a, size_t worker) {
    uint8_t *at = a->room + worker * a->room_bytes;
    bool f32 = a->k->codec == KQ_F32;
    workspace w;
    w.keys = kq_op_carve(&at, f32 ? 0 : CHUNK * a->key_width, sizeof(float));
    w.values = kq_op_carve(&at, f32 ? 0 : CHUNK * a->value_width, sizeof(float));
    w.scores = kq_op_carve(&at, CHUNK, sizeof(float));
    w.next = kq_op_carve(&at, a->value_width, sizeof(float));
    w.rows = kq_op_carve(&at, TILE * a->per_group, sizeof(row_state));
    float *acc = kq_op_carve(&at, TILE * a->per_group * a->value_width, sizeof(float));
    for (size_t i = 0; i < TILE * a->per_group; i++) w.rows[i] = (row_state){.acc = acc + i * a->value_width};
    return w;
}

static bool workspace_bytes(uint64_t key_width, uint64_t value_width, uint64_t per_group, bool f32, uint64_t *bytes) {
    uint64_t rows, acc, chunk = f32 ? 0 : CHUNK;
    return kq_op_take(bytes, chunk * sizeof(float), key_width) && kq_op_take(bytes, chunk * sizeof(float), value_width) &&
           kq_op_take(bytes, CHUNK, sizeof(float)) && kq_op_take(bytes, value_width, sizeof(float)) && kq_mul(TILE, per_group, &rows) &&
           kq_op_take(bytes, rows, sizeof(row_state)) && kq_mul(rows, value_width, &acc) && kq_op_take(bytes, acc, sizeof(float));
}

/* Positions [first, first + n) of key head g as floats. */
static row_set rows_of(const attention *a, const kq_tensor *cache, size_t g, size_t first, size_t n, float *room) {
    size_t width = (size_t)kq_op_width(cache), pitch = a->n_groups * width, at = first * pitch + g * width;
    if (cache->codec == KQ_F32) return (row_set){(const float *)cache->data + at, pitch};
    const uint16_t *from = (const uint16_t *)cache->data + at;
    for (size_t i = 0; i < n; i++) a->table->decode[KQ_F16](from + i * pitch, width, room + i * width);
    return (row_set){room, width};
}

/* The tokens [t0, t1) with key head g over one chunk: calls for each row that has positions in it. */
static void attend_chunk(const attention *a, size_t t0, size_t t1, size_t g, size_t chunk, const workspace *w,
                         void (*done)(const attention *a, const workspace *w, size_t chunk, size_t t, size_t h, size_t row, const row_state *next)) {
    size_t base = chunk * CHUNK, first = CHUNK, end = 0;
    for (size_t t = t0; t < t1; t++) { /* what any of them needs of this chunk */
        size_t low = KQ_MAX(first_position(a, t), base), high = KQ_MIN((size_t)a->pos[t] + 1, base + CHUNK);
        if (low >= high) continue;
        first = KQ_MIN(first, low - base);
        end = KQ_MAX(end, high - base);
    }
    if (first >= end) return;
    row_set k = rows_of(a, a->k, g, base + first, end - first, w->keys), v = rows_of(a, a->v, g, base + first, end - first, w->values);
    for (size_t t = t0; t < t1; t++) {
        size_t low = KQ_MAX(first_position(a, t), base + first), high = KQ_MIN((size_t)a->pos[t] + 1, base + end);
        if (low >= high) continue;
        for (size_t i = 0; i < a->per_group; i++) {
            size_t h = g * a->per_group + i;
            row_state next = {.acc = w->next};
            attend(a->q + (t * a->n_heads + h) * a->key_width, k, v, low - base - first, high - base - first, a->key_width, a->value_width,
                   a->scale, w->scores, &next);
            done(a, w, chunk, t, h, (t - t0) * a->per_group + i, &next);
        }
    }
}

static void row_finish(const attention *a, size_t t, size_t h, const row_state *row) {
    float *y = a->y + (t * a->n_heads + h) * a->value_width, inverse = 1.0f / row->sum;
    for (size_t j = 0; j < a->value_width; j++) y[j] = row->acc[j] * inverse;
}

/* many tokens: a tile of them with one key head */

static void merge_row(const attention *a, const workspace *w, size_t chunk, size_t t, size_t h, size_t row, const row_state *next) {
    (void)chunk, (void)t, (void)h;
    merge(&w->rows[row], next, a->value_width);
}

static void tile_task(void *ctx, size_t index, size_t worker) {
    const attention *a = ctx;
    workspace w = workspace_of(a, worker);
    size_t n_tiles = (a->n_tokens + TILE - 1) / TILE, g = index / n_tiles;
    size_t t0 = (n_tiles - 1 - index % n_tiles) * TILE, t1 = KQ_MIN(t0 + TILE, a->n_tokens); /* the last, and longest, first */
    size_t low = SIZE_MAX, high = 0;
    for (size_t t = t0; t < t1; t++) {
        low = KQ_MIN(low, first_position(a, t));
        high = KQ_MAX(high, (size_t)a->pos[t]);
        for (size_t i = 0; i < a->per_group; i++) {
            row_state *row = &w.rows[(t - t0) * a->per_group + i];
            row->max = -INFINITY;
            row->sum = 0;
            memset(row->acc, 0, a->value_width * sizeof *row->acc);
        }
    }
    for (size_t chunk = low / CHUNK; chunk <= high / CHUNK; chunk++) attend_chunk(a, t0, t1, g, chunk, &w, merge_row);
    for (size_t t = t0; t < t1; t++) {
        for (size_t i = 0; i < a->per_group; i++) row_finish(a, t, g * a->per_group + i, &w.rows[(t - t0) * a->per_group + i]);
    }
}

/* few tokens: all of them with one key head and one chunk, then the merge */

static float *partial_of(const attention *a, size_t chunk, size_t t, size_t h) {
    return a->partial + (((chunk - a->first_chunk) * a->n_tokens + t) * a->n_heads + h) * (a->value_width + 2);
}

static void keep_row(const attention *a, const workspace *w, size_t chunk, size_t t, size_t h, size_t row, const row_state *next) {
    (void)w, (void)row;
    float *to = partial_of(a, chunk, t, h);
    memcpy(to, next->acc, a->value_width * sizeof *to);
    to[a->value_width] = next->max;
    to[a->value_width + 1] = next->sum;
}

static void chunk_task(void *ctx, size_t index, size_t worker) {
    const attention *a = ctx;
    workspace w = workspace_of(a, worker);
    attend_chunk(a, 0, a->n_tokens, index % a->n_groups, a->first_chunk + index / a->n_groups, &w, keep_row);
}

static void merge_rows(const void *ctx, uint64_t first, uint64_t end, size_t worker) {
    const attention *a = ctx;
    workspace w = workspace_of(a, worker);
    for (uint64_t i = first; i < end; i++) {
        size_t t = i / a->n_heads, h = i % a->n_heads;
        row_state row = {w.next, -INFINITY, 0};
        memset(row.acc, 0, a->value_width * sizeof *row.acc);
        for (size_t chunk = first_position(a, t) / CHUNK; chunk <= (size_t)a->pos[t] / CHUNK; chunk++) {
            float *from = partial_of(a, chunk, t, h);
            merge(&row, &(row_state){from, from[a->value_width], from[a->value_width + 1]}, a->value_width);
        }
        row_finish(a, t, h, &row);
    }
}

static void attention_run(const kq_exec *x, const kq_step *step) {
    const kq_tensor *q = kq_op_in(x->slots, step, 0), *k = kq_op_in(x->slots, step, 1), *v = kq_op_in(x->slots, step, 2);
    attention a = {.table = x->table, .q = q->data, .k = k, .v = v, .pos = kq_op_in(x->slots, step, 3)->data, .y = x->slots[step->out].data};
    a.n_tokens = (size_t)q->dims[0];
    a.n_heads = (size_t)q->dims[1];
    a.n_groups = (size_t)k->dims[1];
    a.per_group = a.n_heads / a.n_groups;
    a.key_width = (size_t)kq_op_width(k);
    a.value_width = (size_t)kq_op_width(v);
    a.scale = (float)step->attr[0].f;
    a.window = step->attr[1].i;
    uint64_t bytes = 0;
    bool fits = workspace_bytes(a.key_width, a.value_width, a.per_group, k->codec == KQ_F32, &bytes);
    assert(fits);
    (void)fits;
    a.room = x->scratch;
    a.room_bytes = (size_t)bytes;

    size_t low = SIZE_MAX, high = 0, work = 0;
    for (size_t t = 0; t < a.n_tokens; t++) {
        low = KQ_MIN(low, first_position(&a, t));
        high = KQ_MAX(high, (size_t)a.pos[t]);
        work += ((size_t)a.pos[t] + 1 - first_position(&a, t)) * a.n_heads * (a.key_width + a.value_width);
    }
    kq_pool *pool = work < POOL_WORK ? NULL : x->pool;
    if (a.n_tokens > SPLIT) {
        kq_pool_run(pool, (a.n_tokens + TILE - 1) / TILE * a.n_groups, tile_task, &a);
    } else if (a.n_tokens > 0) {
        a.first_chunk = low / CHUNK;
        a.n_chunks = high / CHUNK - a.first_chunk + 1;
        a.partial = (float *)(void *)(a.room + (size_t)kq_pool_threads(x->pool) * a.room_bytes);
        kq_pool_run(pool, a.n_chunks * a.n_groups, chunk_task, &a);
        kq_op_run_rows(pool, a.n_tokens * a.n_heads, a.n_chunks * a.value_width, merge_rows, &a);
    }
}

static bool attention_scratch(const kq_tensor *slots, const kq_step *step, int n_threads, uint64_t *bytes) {
    const kq_tensor *q = kq_op_in(slots, step, 0), *k = kq_op_in(slots, step, 1), *v = kq_op_in(slots, step, 2);
    uint64_t room = 0, rows = KQ_MIN((uint64_t)q->dims[0], SPLIT), chunks = (uint64_t)k->dims[0] / CHUNK + 1, floats;
    return workspace_bytes(kq_op_width(k), kq_op_width(v), (uint64_t)(q->dims[1] / k->dims[1]), k->codec == KQ_F32, &room) &&
           kq_mul(room, (uint64_t)n_threads, bytes) && kq_mul(rows, (uint64_t)q->dims[1], &rows) && kq_mul(rows, chunks, &rows) &&
           kq_mul(rows, kq_op_width(v) + 2, &floats) && kq_op_take(bytes, floats, sizeof(float));
}
const kq_cpu_op kq_cpu_attention = {.run = attention_run, .scratch = attention_scratch};
