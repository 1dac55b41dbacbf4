/* SPDX-License-Identifier: MIT */
/* cache_write and attention.
 *
 * A (token, head) pair is a row: one query against the cache positions [first, pos]. Positions are cut into chunks at multiples of
 * CHUNK, whatever the batch. Over one chunk a row gets
 *     s[p] = scale * (q . k[p])                                        score, of kernels.h
 *     max  = the largest s;  e[p] = exp(s[p] - max);  sum = sum of e   soften
 *     acc  = sum of e[p] v[p], upwards from 0                          blend
 * and chunks are merged upwards, each time scaling the side with the smaller maximum. So there is one order of sums for a row, in
 * both numeric modes, which no batch, thread count or cut into tasks can change. Long contexts still spread over threads: with few tokens a
 * task is one chunk of one key head and the merge comes after; with many it is a tile of tokens that merges as it goes.
 * Chunks also bound the error: no float sum is longer than CHUNK terms. */
#include "base/numeric.h"
#include "cpu/op.h"

enum {
    CHUNK = 256,      /* positions: 64 rows of scores are 64 KB, keys and values of 128 in f16 128 KB: L2 holds both */
    ROWS = 64,        /* rows of a tile, whole tokens: what a chunk is read for. A cache's pitch puts it into few sets of L1 and L2, so 16 rows
                       * fetch it too often: 16 to 64 gave a fifth more behind 4096 positions */
    TILES = 8,        /* but at least so many tiles, that there is something to share */
    SPLIT = 4,        /* up to so many tokens, tasks are chunks */
    POOL_WORK = 32768 /* multiplications below which waking the pool costs more than it saves */
};

/* ---- cache_write --------------------------------------------------------------------------------------------------- */

struct write {
    const float *from;
    const int32_t *pos;
    const kq_tensor *cache;
    size_t width;
};

static void write_rows(const void *ctx, uint64_t first, uint64_t end, size_t worker) {
    (void)worker;
    const struct write *w = ctx;
    for (uint64_t t = first; t < end; t++) {
        const float *from = w->from + t * w->width;
        size_t at = (size_t)w->pos[t] * w->width;
        if (w->cache->codec == KQ_F32) {
            memcpy((float *)w->cache->data + at, from, w->width * sizeof *from);
        } else {
            uint16_t *to = (uint16_t *)w->cache->data + at;
            for (size_t i = 0; i < w->width; i++) to[i] = kq_f32_to_f16(from[i]);
        }
    }
}

static void cache_write_run(const kq_exec *x, const kq_step *step) {
    const kq_tensor *in = kq_op_in(x->slots, step, 0), *pos = kq_op_in(x->slots, step, 1);
    struct write w = {in->data, pos->data, &x->slots[step->out], (size_t)in->dims[1] * kq_op_width(in)};
    kq_op_run_rows(x->pool, (uint64_t)in->dims[0], w.width, write_rows, &w);
}
const kq_cpu_op kq_cpu_cache_write = {.run = cache_write_run};

/* ---- attention: a tile of rows over one chunk -------------------------------------------------------------------------- */

typedef struct attention {
    kq_score_fn *score;
    kq_soften_fn *soften;
    kq_blend_fn *blend;
    const float *q;
    const uint8_t *k, *v;
    size_t k_pitch, v_pitch, k_head, v_head; /* bytes from one position, and from one head, to the next */
    const int32_t *pos;
    float *y;
    size_t n_tokens, n_heads, n_groups, per_group; /* per_group query heads share a key head */
    size_t key_width, value_width;
    float scale;
    int64_t window;
    uint8_t *room; /* of the workers, room_bytes each */
    size_t room_bytes;
    size_t tile; /* tokens */
    size_t first_chunk; /* few tokens: of all of them */
    float *partial;     /* [chunks][n_tokens][n_heads][value_width + 2]: acc, max, sum */
} attention;

/* What a row knows after some of its chunks: acc / sum is the result so far, max the exponent both are relative to. */
typedef struct row_state {
    float *acc; /* [value_width] */
    float max, sum;
} row_state;

/* A worker's memory, for a tile's rows: token after token, per_group each. */
typedef struct workspace {
    const float **query;
    float *scores;    /* [rows][CHUNK] */
    row_state *next;  /* of the chunk */
    row_state *total; /* of all chunks so far */
} workspace;

/* The most rows at a time: of a tile, or of SPLIT tokens. */
static uint64_t most_rows(uint64_t per_group) { return KQ_MAX(KQ_MAX(ROWS / per_group, 1), SPLIT) * per_group; }

static bool workspace_bytes(uint64_t rows, uint64_t value_width, uint64_t *bytes) {
    uint64_t acc;
    return kq_op_take(bytes, rows, sizeof(float *)) && kq_op_take(bytes, rows, CHUNK * sizeof(float)) &&
           kq_op_take(bytes, rows, 2 * sizeof(row_state)) && kq_mul(2 * rows, value_width, &acc) && kq_op_take(bytes, acc, sizeof(float));
}

static workspace workspace_of(const attention *a, size_t worker) {
    uint8_t *at = a->room + worker * a->room_bytes;
    size_t rows = (size_t)most_rows(a->per_group);
    workspace w;
    w.query = kq_op_carve(&at, rows, sizeof *w.query);
    w.scores = kq_op_carve(&at, rows, CHUNK * sizeof(float));
    w.next = kq_op_carve(&at, rows, 2 * sizeof *w.next);
    w.total = w.next + rows;
    float *acc = kq_op_carve(&at, 2 * rows * a->value_width, sizeof *acc);
    for (size_t i = 0; i < 2 * rows; i++) w.next[i] = (row_state){.acc = acc + i * a->value_width};
    return w;
}

static size_t first_position(const attention *a, size_t t) {
    int64_t first = a->window > 0 ? a->pos[t] - a->window + 1 : 0;
    return first > 0 ? (size_t)first : 0;
}

/* The positions [low, high) of a chunk that token t looks at; false when none. */
static bool range_of(const attention *a, size_t t, size_t chunk, size_t *low, size_t *high) {
    *low = KQ_MAX(first_position(a, t), chunk * CHUNK);
    *high = KQ_MIN((size_t)a->pos[t] + 1, (chunk + 1) * CHUNK);
    return *low < *high;
}

static void clear(row_state *row, size_t value_width) {
    row->max = -INFINITY;
    row->sum = 0;
    memset(row->acc, 0, value_width * sizeof *row->acc);
}

/* Tokens [t0, t1) with key head g over one chunk, into w->next; rows of tokens that do not look at it become empty. */
static void attend(const attention *a, size_t t0, size_t t1, size_t g, size_t chunk, const workspace *w) {
    size_t first = SIZE_MAX, end = 0, shared_low = 0, shared_high = SIZE_MAX, low, high, active = 0, rows = (t1 - t0) * a->per_group;
    for (size_t t = t0; t < t1; t++) {
        for (size_t i = 0; i < a->per_group; i++) {
            size_t row = (t - t0) * a->per_group + i;
            w->query[row] = a->q + (t * a->n_heads + g * a->per_group + i) * a->key_width;
            clear(&w->next[row], a->value_width);
        }
        if (!range_of(a, t, chunk, &low, &high)) continue;
        first = KQ_MIN(first, low), end = KQ_MAX(end, high);
        shared_low = KQ_MAX(shared_low, low), shared_high = KQ_MIN(shared_high, high);
        active++;
    }
    if (!active) return;
    const uint8_t *k = a->k + g * a->k_head, *v = a->v + g * a->v_head;
    /* every row gets scores where any has positions; those outside its own are never looked at */
    a->score(w->query, rows, k + first * a->k_pitch, a->k_pitch, end - first, a->key_width, a->scale, w->scores, CHUNK);
    bool together = active == t1 - t0 && shared_low < shared_high;
    for (size_t t = t0; t < t1; t++) {
        size_t row = (t - t0) * a->per_group;
        if (!range_of(a, t, chunk, &low, &high)) continue;
        for (size_t i = 0; i < a->per_group; i++) {
            row_state *next = &w->next[row + i];
            a->soften(w->scores + (row + i) * CHUNK + low - first, high - low, &next->max, &next->sum);
        }
        size_t stop = together ? shared_low : high; /* alone: up to where all are together */
        if (low < stop) {
            a->blend(w->scores + row * CHUNK + low - first, CHUNK, a->per_group, v + low * a->v_pitch, a->v_pitch, stop - low, a->value_width,
                     w->next[row].acc, a->value_width);
        }
    }
    if (!together) return;
    a->blend(w->scores + shared_low - first, CHUNK, rows, v + shared_low * a->v_pitch, a->v_pitch, shared_high - shared_low, a->value_width,
             w->next[0].acc, a->value_width);
    for (size_t t = t0; t < t1; t++) {
        size_t row = (t - t0) * a->per_group;
        if (range_of(a, t, chunk, &low, &high) && shared_high < high) {
            a->blend(w->scores + row * CHUNK + shared_high - first, CHUNK, a->per_group, v + shared_high * a->v_pitch, a->v_pitch,
                     high - shared_high, a->value_width, w->next[row].acc, a->value_width);
        }
    }
}

/* Adds the next chunk's state to a row's. */
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

static void finish(const attention *a, size_t t, size_t h, const row_state *row) {
    float *y = a->y + (t * a->n_heads + h) * a->value_width, inverse = 1.0f / row->sum;
    for (size_t j = 0; j < a->value_width; j++) y[j] = row->acc[j] * inverse;
}

/* ---- attention: tasks ------------------------------------------------------------------------------------------------ */

/* Many tokens: a tile of them with one key head, over all its chunks. */
static void tile_task(void *ctx, size_t index, size_t worker) {
    const attention *a = ctx;
    workspace w = workspace_of(a, worker);
    /* Tile after tile with one key head, whose keys and values stay in L2 for some thousand positions; the last, and longest, tile first. */
    size_t n_tiles = (a->n_tokens + a->tile - 1) / a->tile, g = index / n_tiles;
    size_t t0 = (n_tiles - 1 - index % n_tiles) * a->tile, t1 = KQ_MIN(t0 + a->tile, a->n_tokens);
    size_t rows = (t1 - t0) * a->per_group, first = SIZE_MAX, last = 0, low, high;
    for (size_t row = 0; row < rows; row++) clear(&w.total[row], a->value_width);
    for (size_t t = t0; t < t1; t++) {
        first = KQ_MIN(first, first_position(a, t) / CHUNK);
        last = KQ_MAX(last, (size_t)a->pos[t] / CHUNK);
    }
    for (size_t chunk = first; chunk <= last; chunk++) {
        attend(a, t0, t1, g, chunk, &w);
        for (size_t row = 0; row < rows; row++) {
            if (range_of(a, t0 + row / a->per_group, chunk, &low, &high)) merge(&w.total[row], &w.next[row], a->value_width);
        }
    }
    for (size_t row = 0; row < rows; row++) finish(a, t0 + row / a->per_group, g * a->per_group + row % a->per_group, &w.total[row]);
}

/* Few tokens: all of them with one key head and one chunk; then the merge. */

static float *partial_of(const attention *a, size_t chunk, size_t t, size_t h) {
    return a->partial + (((chunk - a->first_chunk) * a->n_tokens + t) * a->n_heads + h) * (a->value_width + 2);
}

static void chunk_task(void *ctx, size_t index, size_t worker) {
    const attention *a = ctx;
    workspace w = workspace_of(a, worker);
    size_t g = index % a->n_groups, chunk = a->first_chunk + index / a->n_groups;
    attend(a, 0, a->n_tokens, g, chunk, &w);
    for (size_t row = 0; row < a->n_tokens * a->per_group; row++) {
        const row_state *next = &w.next[row];
        float *to = partial_of(a, chunk, row / a->per_group, g * a->per_group + row % a->per_group);
        memcpy(to, next->acc, a->value_width * sizeof *to);
        to[a->value_width] = next->max;
        to[a->value_width + 1] = next->sum;
    }
}

static void merge_rows(const void *ctx, uint64_t first, uint64_t end, size_t worker) {
    const attention *a = ctx;
    row_state *total = workspace_of(a, worker).total;
    for (uint64_t i = first; i < end; i++) {
        size_t t = i / a->n_heads, h = i % a->n_heads;
        clear(total, a->value_width);
        for (size_t chunk = first_position(a, t) / CHUNK; chunk <= (size_t)a->pos[t] / CHUNK; chunk++) {
            float *from = partial_of(a, chunk, t, h);
            merge(total, &(row_state){from, from[a->value_width], from[a->value_width + 1]}, a->value_width);
        }
        finish(a, t, h, total);
    }
}

/* ---- attention: the step --------------------------------------------------------------------------------------------- */

static void attention_run(const kq_exec *x, const kq_step *step) {
    const kq_tensor *q = kq_op_in(x->slots, step, 0), *k = kq_op_in(x->slots, step, 1), *v = kq_op_in(x->slots, step, 2);
    attention a = {.q = q->data, .k = k->data, .v = v->data, .pos = kq_op_in(x->slots, step, 3)->data, .y = x->slots[step->out].data};
    a.score = x->table->score[k->codec];
    a.soften = x->table->soften[KQ_F32];
    a.blend = x->table->blend[v->codec];
    a.n_tokens = (size_t)q->dims[0];
    a.n_heads = (size_t)q->dims[1];
    a.n_groups = (size_t)k->dims[1];
    a.per_group = a.n_heads / a.n_groups;
    a.key_width = (size_t)kq_op_width(k);
    a.value_width = (size_t)kq_op_width(v);
    a.k_head = a.key_width * (k->codec == KQ_F16 ? 2 : 4);
    a.v_head = a.value_width * (v->codec == KQ_F16 ? 2 : 4);
    a.k_pitch = a.n_groups * a.k_head;
    a.v_pitch = a.n_groups * a.v_head;
    a.scale = (float)step->attr[0].f;
    a.window = step->attr[1].i;
    a.tile = KQ_MAX(KQ_MIN(ROWS / a.per_group, a.n_tokens / TILES), 1);
    uint64_t bytes = 0;
    bool fits = workspace_bytes(most_rows(a.per_group), a.value_width, &bytes);
    assert(fits);
    (void)fits;
    a.room = x->scratch;
    a.room_bytes = (size_t)bytes;

    size_t first = SIZE_MAX, last = 0, work = 0;
    for (size_t t = 0; t < a.n_tokens; t++) {
        first = KQ_MIN(first, first_position(&a, t) / CHUNK);
        last = KQ_MAX(last, (size_t)a.pos[t] / CHUNK);
        work += ((size_t)a.pos[t] + 1 - first_position(&a, t)) * a.n_heads * (a.key_width + a.value_width);
    }
    kq_pool *pool = work < POOL_WORK ? NULL : x->pool;
    if (a.n_tokens > SPLIT) {
        kq_pool_run(pool, (a.n_tokens + a.tile - 1) / a.tile * a.n_groups, tile_task, &a);
    } else if (a.n_tokens > 0) {
        a.first_chunk = first;
        a.partial = (float *)(void *)(a.room + (size_t)kq_pool_threads(x->pool) * a.room_bytes);
        kq_pool_run(pool, (last - first + 1) * a.n_groups, chunk_task, &a);
        kq_op_run_rows(pool, a.n_tokens * a.n_heads, (last - first + 1) * a.value_width, merge_rows, &a);
    }
}

static bool attention_scratch(const kq_tensor *slots, const kq_step *step, int n_threads, uint64_t *bytes) {
    const kq_tensor *q = kq_op_in(slots, step, 0), *k = kq_op_in(slots, step, 1), *v = kq_op_in(slots, step, 2);
    uint64_t room = 0, rows = KQ_MIN((uint64_t)q->dims[0], SPLIT), chunks = (uint64_t)k->dims[0] / CHUNK + 1, floats;
    return workspace_bytes(most_rows((uint64_t)(q->dims[1] / k->dims[1])), kq_op_width(v), &room) &&
           kq_mul(room, (uint64_t)n_threads, bytes) && kq_mul(rows, (uint64_t)q->dims[1], &rows) && kq_mul(rows, chunks, &rows) &&
           kq_mul(rows, kq_op_width(v) + 2, &floats) && kq_op_take(bytes, floats, sizeof(float));
}
const kq_cpu_op kq_cpu_attention = {.run = attention_run, .scratch = attention_scratch};
