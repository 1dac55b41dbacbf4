/* SPDX-License-Identifier: MIT */
/* The drivers of products: activations are brought into the kernels' format once, weight rows are cut into tiles for the pool, and
 * kernels are handed rows. No result depends on how rows are cut. With many activation rows fast products are tiles.c's. */
#include "cpu/tiles.h"

enum {
    PIECE = 512,              /* weights of a row that are decoded at a time in the exact mode: 4 rows of them are 8 KB */
    GROUP = 64,               /* activation rows that meet a tile together; a multiple of KQ_ROWSM */
    TILE_MOST = 128 << 10,    /* bytes of weights in a tile: above, it would not stay in L2 for the next activation rows; */
    TILE_LEAST = 16 << 10,    /* bytes times activation rows: below, handing it out costs more than a few per cent of it; */
    TILES = 128,              /* and where neither limits, this many, so that many and uneven threads end together */
    TILES_FROM = 17,          /* activation rows: fewer are quicker row by row, and give what each gives alone; */
    BATCH_TO = 24,            /* so many are quicker in a batch, where the codec has it */
    BATCH_FROM = 2,           /* activation rows that are woven for batch, where the codec has it */
    SERIAL_FLOATS = 16 << 10  /* activations that one thread brings into their format sooner than a pool wakes */
};

_Static_assert(BATCH_TO >= TILES_FROM && BATCH_TO <= (int)KQ_BATCH, "tiles begin where batches end");

/* ---- regimes ------------------------------------------------------------------------------------------------------- */

/* The fewest activation rows that go through tiles; none do: UINT64_MAX. */
static uint64_t tiles_from(const kq_cpu_table *table, uint32_t codec, bool exact) {
    if (exact || !kq_tiles_can(table, codec)) return UINT64_MAX;
    return table->batch[codec] ? BATCH_TO + 1 : TILES_FROM;
}

static bool is_woven(kq_batch_fn *batch, uint64_t m) { return batch && m >= BATCH_FROM && m <= BATCH_TO; }

/* Do rows of this codec meet int8 activations? */
static bool takes_act8(const kq_cpu_table *table, uint32_t codec, bool exact) { return !exact && table->rows1[codec] && table->rowsm[codec]; }

kq_product kq_matmul_product(const kq_cpu_table *table, uint32_t codec, uint64_t m, bool exact) {
    if (m >= tiles_from(table, codec, exact)) return (kq_product){KQ_REGIME_TILES, kq_tiles_panel(table, codec)};
    if (!takes_act8(table, codec, exact)) return (kq_product){KQ_REGIME_ROWS, KQ_F32};
    return (kq_product){is_woven(table->batch[codec], m) ? KQ_REGIME_BATCH : KQ_REGIME_ROWS, KQ_I8};
}

/* ---- one tile ------------------------------------------------------------------------------------------------------ */

/* A matrix and the kernels for it. Fast products take activations as kq_act8, or as floats where weights are floats; exact ones as floats. */
typedef struct matrix {
    const uint8_t *w;
    uint64_t n_rows, n_cols, row_bytes;
    uint64_t tile_rows, n_tiles;
    size_t block_weights, block_bytes;
    bool as_floats; /* rows lie in memory as aligned floats: nothing to decode */
    kq_decode_fn *decode;
    kq_exact_fn *exact;
    kq_act8_fn *act8;   /* fast: all three, or rowsf; exact: none */
    kq_rows1_fn *rows1;
    kq_rowsm_fn *rowsm;
    kq_batch_fn *batch; /* fast: may be none */
    kq_weave_fn *weave;
    kq_rowsf_fn *rowsf;
    const float *bias;
} matrix;

/* m: the activation rows that a tile will meet, more or less. */
static void matrix_init(matrix *a, const kq_cpu_table *table, uint32_t codec, const void *w, uint64_t n_rows, uint64_t n_cols,
                        uint64_t row_bytes, uint64_t m, bool exact) {
    const kq_codec_info *info = kq_codec_describe(codec);
    assert(info && info->decodes && n_cols % info->block_weights == 0 && PIECE % info->block_weights == 0);
    *a = (matrix){.w = w, .n_rows = n_rows, .n_cols = n_cols, .row_bytes = row_bytes};
    a->block_weights = info->block_weights;
    a->block_bytes = info->block_bytes;
    a->decode = table->decode[codec];
    a->exact = table->exact[KQ_F32];
    a->as_floats = codec == KQ_F32 && (uintptr_t)w % sizeof(float) == 0 && row_bytes % sizeof(float) == 0;
    if (takes_act8(table, codec, exact)) {
        a->act8 = table->act8[KQ_F32];
        a->rows1 = table->rows1[codec];
        a->rowsm = table->rowsm[codec];
        a->batch = table->batch[codec];
        a->weave = table->weave[KQ_F32];
    }
    if (!exact) a->rowsf = table->rowsf[codec];
    uint64_t bytes = KQ_MIN(KQ_MAX(n_rows * row_bytes / TILES, TILE_LEAST / m), TILE_MOST);
    a->tile_rows = (bytes / KQ_MAX(row_bytes, 1) + KQ_EXACT_ROWS) / KQ_EXACT_ROWS * KQ_EXACT_ROWS;
    a->n_tiles = n_rows / a->tile_rows + (n_rows % a->tile_rows != 0);
}

/* Rows [first, first + n) with n <= KQ_EXACT_ROWS; y[j][r] for the row r of the matrix. */
static void exact_rows(const matrix *a, size_t first, size_t n, const float *const *x, float *const *y, size_t m) {
    _Alignas(64) float lanes[GROUP][KQ_EXACT_ROWS][KQ_EXACT_LANES];
    _Alignas(64) float decoded[KQ_EXACT_ROWS][PIECE];
    const uint8_t *row[KQ_EXACT_ROWS];
    const float *w[KQ_EXACT_ROWS], *part[GROUP];
    memset(lanes, 0, m * sizeof lanes[0]);
    for (size_t i = 0; i < KQ_EXACT_ROWS; i++) { /* kernels take four rows: the last one stands in for those behind it */
        row[i] = a->w + (first + KQ_MIN(i, n - 1)) * a->row_bytes;
        w[i] = decoded[KQ_MIN(i, n - 1)];
    }
    for (size_t at = 0; at < a->n_cols; at += PIECE) {
        size_t piece = KQ_MIN(a->n_cols - at, PIECE), offset = at / a->block_weights * a->block_bytes;
        for (size_t i = 0; i < KQ_EXACT_ROWS; i++) {
            if (a->as_floats) {
                w[i] = (const float *)(const void *)(row[i] + offset);
            } else if (i < n) {
                a->decode(row[i] + offset, piece / a->block_weights, decoded[i]);
            }
        }
        for (size_t j = 0; j < m; j++) part[j] = x[j] + at;
        a->exact(w, part, m, piece, lanes);
    }
    for (size_t j = 0; j < m; j++)
        for (size_t i = 0; i < n; i++) y[j][first + i] = kq_exact_sum(lanes[j][i]);
}

/* One tile of rows times m <= GROUP activation rows: x are kq_act8 rows where there is act8, and floats otherwise. woven:
 * all rows that the matrix meets, where they are woven; or NULL. */
static void tile(const matrix *a, size_t index, const void *const *x, const uint8_t *woven, float *const *y, size_t m) {
    size_t first = index * a->tile_rows, n = KQ_MIN(a->tile_rows, a->n_rows - first), n_blocks = a->n_cols / a->block_weights;
    const uint8_t *w = a->w + first * a->row_bytes;
    if (woven) {
        float *out[KQ_BATCH];
        for (size_t j = 0; j < m; j++) out[j] = y[j] + first;
        a->batch(w, a->row_bytes, n, n_blocks, woven, out, m);
    } else if (a->act8) {
        const kq_act8 *acts[KQ_ROWSM];
        float *out[KQ_ROWSM];
        for (size_t at = 0, count; at < m; at += count) {
            count = KQ_MIN(m - at, KQ_ROWSM);
            for (size_t j = 0; j < count; j++) {
                acts[j] = x[at + j];
                out[j] = y[at + j] + first;
            }
            if (count == 1) {
                a->rows1(w, a->row_bytes, n, n_blocks, acts[0], out[0]);
            } else {
                a->rowsm(w, a->row_bytes, n, n_blocks, acts, out, count);
            }
        }
    } else if (a->rowsf) {
        const float *rows[KQ_ROWSM];
        float *out[KQ_ROWSM];
        for (size_t at = 0, count; at < m; at += count) {
            count = KQ_MIN(m - at, KQ_ROWSM);
            for (size_t j = 0; j < count; j++) {
                rows[j] = x[at + j];
                out[j] = y[at + j] + first;
            }
            a->rowsf(w, a->row_bytes, n, a->n_cols, rows, out, count);
        }
    } else {
        const float *rows[GROUP];
        for (size_t j = 0; j < m; j++) rows[j] = x[j];
        for (size_t r = 0; r < n; r += KQ_EXACT_ROWS) exact_rows(a, first + r, KQ_MIN(n - r, KQ_EXACT_ROWS), rows, y, m);
    }
    if (a->bias) {
        for (size_t j = 0; j < m; j++)
            for (size_t r = first; r < first + n; r++) y[j][r] += a->bias[r];
    }
}

/* ---- activations --------------------------------------------------------------------------------------------------- */

typedef struct convert_job {
    kq_act8_fn *act8;
    const float *x;
    uint64_t ldx, n_cols;
    kq_act8 *out;
} convert_job;

static void convert_task(void *ctx, size_t i, size_t worker) {
    const convert_job *c = ctx;
    (void)worker;
    c->act8(c->x + i * c->ldx, c->n_cols, c->out + i * kq_act8_blocks(c->n_cols));
}

static void convert(const matrix *a, kq_pool *pool, const float *x, uint64_t m, uint64_t ldx, kq_act8 *out) {
    convert_job c = {a->act8, x, ldx, a->n_cols, out};
    kq_pool_run(m * a->n_cols > SERIAL_FLOATS ? pool : NULL, m, convert_task, &c);
}

/* Bytes of m rows of activations in the fast mode's format, woven or not. */
static bool converted_bytes(uint64_t m, uint64_t n_cols, uint64_t *bytes) {
    return kq_mul(n_cols / KQ_ACT_WEIGHTS + 2, sizeof(kq_act8), bytes) && kq_mul(*bytes, m, bytes);
}

/* ---- y = x w^T ----------------------------------------------------------------------------------------------------- */

typedef struct matmul_job {
    matrix a;
    const kq_matmul_args *args;
    const kq_act8 *acts;
    uint8_t *woven;
} matmul_job;

static void matmul_weave(void *ctx, size_t i, size_t worker) {
    const matmul_job *job = ctx;
    size_t row = kq_act8_blocks(job->a.n_cols);
    (void)worker;
    job->a.weave(job->acts + i * row, row, job->args->m, job->woven + i * KQ_WOVEN);
}

static void matmul_task(void *ctx, size_t i, size_t worker) {
    const matmul_job *job = ctx;
    const kq_matmul_args *args = job->args;
    size_t row = kq_act8_blocks(job->a.n_cols);
    (void)worker;
    const void *x[GROUP];
    float *y[GROUP];
    for (size_t at = 0; at < args->m; at += GROUP) {
        size_t m = KQ_MIN(args->m - at, GROUP);
        for (size_t j = 0; j < m; j++) {
            x[j] = job->acts ? (const void *)(job->acts + (at + j) * row) : (const void *)(args->x + (at + j) * args->ldx);
            y[j] = args->y + (at + j) * args->ldy;
        }
        tile(&job->a, i, x, job->woven, y, m);
    }
}

bool kq_matmul_scratch(uint64_t m, uint64_t n_cols, int n_threads, uint64_t *bytes) {
    uint64_t tiles = 0;
    if (m >= TILES_FROM && !kq_tiles_scratch(m / KQ_LANES + 1, n_cols, n_threads, &tiles)) return false;
    if (!converted_bytes(m <= BATCH_TO ? 2 * m : m, n_cols, bytes)) return false;
    *bytes = KQ_MAX(*bytes, tiles);
    return true;
}

static void matmul_tiles(const kq_cpu_table *table, kq_pool *pool, const kq_matmul_args *args, void *scratch) {
    kq_tiles t;
    kq_tiles_init(&t, table, pool, args->codec, args->n_rows, args->n_cols, args->row_bytes, args->bias, scratch);
    for (size_t at = 0, m; at < args->m; at += m) {
        m = kq_tiles_open(&t, args->w, args->m - at);
        for (size_t j = 0; j < m; j++) {
            t.x[t.opened + j] = args->x + (at + j) * args->ldx;
            t.y[t.opened + j] = args->y + (at + j) * args->ldy;
        }
    }
    kq_tiles_flush(&t);
}

void kq_matmul_run(const kq_cpu_table *table, kq_pool *pool, const kq_matmul_args *args, void *scratch) {
    if (!args->m || !args->n_rows) return;
    if (args->m >= tiles_from(table, args->codec, args->exact)) {
        matmul_tiles(table, pool, args, scratch);
        return;
    }
    matmul_job job = {.args = args};
    matrix_init(&job.a, table, args->codec, args->w, args->n_rows, args->n_cols, args->row_bytes, args->m, args->exact);
    job.a.bias = args->bias;
    if (job.a.act8) {
        convert(&job.a, pool, args->x, args->m, args->ldx, scratch);
        job.acts = scratch;
    }
    if (is_woven(job.a.batch, args->m)) {
        job.woven = (uint8_t *)scratch + args->m * kq_act8_blocks(args->n_cols) * sizeof(kq_act8);
        kq_pool_run(args->m * args->n_cols > SERIAL_FLOATS ? pool : NULL, args->m, matmul_weave, &job);
    }
    kq_pool_run(pool, job.a.n_tiles, matmul_task, &job);
}

/* ---- by expert ----------------------------------------------------------------------------------------------------- */

/* A pair is a token and a place among its experts: t * n_used + u. Pairs are sorted by expert, by counting. */
typedef struct gather_job {
    matrix a; /* of one expert; w is the first's */
    const kq_gather_args *args;
    const kq_act8 *acts;
    const uint64_t *pairs;   /* by expert */
    const uint64_t *ends;    /* of each expert's pairs; the first's begin at 0 */
    const uint64_t *few;     /* experts that are done row by row */
    const uint64_t *many;    /* experts that are done in tiles */
    const uint64_t *woven_at; /* of each of few: the rows before its own at woven */
    uint8_t *woven;
    size_t n_few, n_many;
} gather_job;

static uint64_t pairs_begin(const gather_job *job, uint64_t expert) { return expert ? job->ends[expert - 1] : 0; }
static uint64_t row_of_pair(const kq_gather_args *args, uint64_t pair) { return args->n_x == 1 ? pair / args->n_used : pair; }

/* The rows of one expert, if it has enough of them. */
static void gather_weave(void *ctx, size_t i, size_t worker) {
    const gather_job *job = ctx;
    uint64_t begin = pairs_begin(job, job->few[i]), n = job->ends[job->few[i]] - begin;
    size_t row = kq_act8_blocks(job->a.n_cols);
    (void)worker;
    uint8_t *out = job->woven + job->woven_at[i] * kq_woven_bytes(row);
    for (size_t j = 0; is_woven(job->a.batch, n) && j < n; j++, out += KQ_WOVEN)
        job->a.weave(job->acts + row_of_pair(job->args, job->pairs[begin + j]) * row, row, n, out);
}

static void gather_task(void *ctx, size_t i, size_t worker) {
    const gather_job *job = ctx;
    const kq_gather_args *args = job->args;
    (void)worker;
    matrix a = job->a;
    uint64_t expert = job->few[i / a.n_tiles], end = job->ends[expert];
    a.w += expert * args->expert_bytes;
    size_t row = kq_act8_blocks(a.n_cols);
    bool woven = is_woven(a.batch, end - pairs_begin(job, expert));
    const uint8_t *batch = woven ? job->woven + job->woven_at[i / a.n_tiles] * kq_woven_bytes(row) : NULL;
    const void *x[GROUP];
    float *y[GROUP];
    for (uint64_t at = pairs_begin(job, expert); at < end; at += GROUP) {
        size_t m = KQ_MIN(end - at, GROUP);
        for (size_t j = 0; j < m; j++) {
            uint64_t pair = job->pairs[at + j], from = row_of_pair(args, pair);
            x[j] = job->acts ? (const void *)(job->acts + from * row) : (const void *)(args->x + from * a.n_cols);
            y[j] = args->y + pair * a.n_rows;
        }
        tile(&a, i % a.n_tiles, x, batch, y, m);
    }
}

bool kq_gather_scratch(uint64_t n_experts, uint64_t n_tokens, uint64_t n_x, uint64_t n_used, uint64_t n_cols, int n_threads,
                       uint64_t *bytes) {
    uint64_t rows, words, pairs, woven, tiles = 0;
    if (!kq_mul(n_tokens, n_x, &rows) || !kq_mul(n_tokens, n_used, &pairs) ||
        !kq_mul(n_experts, BATCH_TO, &woven) || !kq_add(rows, KQ_MIN(woven, pairs), &rows) || !converted_bytes(rows, n_cols, bytes) ||
        !kq_mul(n_experts, 4, &words) || !kq_add(words, pairs, &words) || !kq_mul(words, sizeof(uint64_t), &words) ||
        !kq_round_up(words, 64, &words)) {
        return false;
    }
    if (pairs >= TILES_FROM && !kq_tiles_scratch(KQ_TILE_STRIPS, n_cols, n_threads, &tiles)) return false;
    *bytes = KQ_MAX(*bytes, tiles);
    return kq_add(*bytes, words, bytes);
}

static void gather_tiles(const gather_job *job, const kq_cpu_table *table, kq_pool *pool, void *scratch) {
    const kq_gather_args *args = job->args;
    kq_tiles t;
    kq_tiles_init(&t, table, pool, args->codec, args->n_rows, args->n_cols, args->row_bytes, NULL, scratch);
    for (size_t i = 0; i < job->n_many; i++) {
        uint64_t expert = job->many[i], end = job->ends[expert];
        for (uint64_t at = pairs_begin(job, expert), m; at < end; at += m) {
            m = kq_tiles_open(&t, (const uint8_t *)args->w + expert * args->expert_bytes, end - at);
            for (size_t j = 0; j < m; j++) {
                t.x[t.opened + j] = args->x + row_of_pair(args, job->pairs[at + j]) * args->n_cols;
                t.y[t.opened + j] = args->y + job->pairs[at + j] * args->n_rows;
            }
        }
    }
    kq_tiles_flush(&t);
}

/* Sorts the pairs; those of no expert get their NaN here. Experts of `tiles_from` pairs and more go to many, the other touched ones to few. */
static void sort_pairs(gather_job *job, uint64_t tiles_from, uint64_t *pairs, uint64_t *ends, uint64_t *few, uint64_t *many) {
    const kq_gather_args *args = job->args;
    uint64_t n_pairs = args->n_tokens * args->n_used;
    memset(ends, 0, args->n_experts * sizeof *ends);
    for (uint64_t p = 0; p < n_pairs; p++) {
        if (args->idx[p] >= 0 && (uint64_t)args->idx[p] < args->n_experts) {
            ends[args->idx[p]]++;
        } else {
            for (uint64_t r = 0; r < args->n_rows; r++) args->y[p * args->n_rows + r] = kq_bits_to_f32(0x7fc00000u);
        }
    }
    uint64_t start = 0;
    for (uint64_t e = 0; e < args->n_experts; e++) { /* counts become beginnings, which filling moves to the ends */
        uint64_t count = ends[e];
        ends[e] = start;
        start += count;
        if (count >= tiles_from) many[job->n_many++] = e;
        else if (count) few[job->n_few++] = e;
    }
    for (uint64_t p = 0; p < n_pairs; p++) {
        if (args->idx[p] >= 0 && (uint64_t)args->idx[p] < args->n_experts) pairs[ends[args->idx[p]]++] = p;
    }
    job->pairs = pairs;
    job->ends = ends;
    job->few = few;
    job->many = many;
}

void kq_gather_run(const kq_cpu_table *table, kq_pool *pool, const kq_gather_args *args, void *scratch) {
    if (!args->n_tokens || !args->n_used || !args->n_rows) return;
    gather_job job = {.args = args};
    matrix_init(&job.a, table, args->codec, args->w, args->n_rows, args->n_cols, args->row_bytes, 1, args->exact);
    uint64_t n_pairs = args->n_tokens * args->n_used, rows = args->n_tokens * args->n_x, *words = scratch;
    void *rest = words + (4 * args->n_experts + n_pairs + 7) / 8 * 8; /* whole cache lines of words */
    uint64_t *ends = words, *few = ends + args->n_experts, *many = few + args->n_experts, *woven_at = many + args->n_experts;
    uint64_t *pairs = woven_at + args->n_experts;
    sort_pairs(&job, tiles_from(table, args->codec, args->exact), pairs, ends, few, many);
    if (job.n_many) gather_tiles(&job, table, pool, rest);
    if (!job.n_few) return;
    if (job.a.act8) {
        convert(&job.a, pool, args->x, rows, args->n_cols, rest);
        job.acts = rest;
    }
    if (job.a.batch) {
        uint64_t n_woven = 0;
        for (size_t i = 0; i < job.n_few; i++) {
            uint64_t m = ends[few[i]] - pairs_begin(&job, few[i]);
            woven_at[i] = n_woven;
            if (is_woven(job.a.batch, m)) n_woven += m;
        }
        job.woven_at = woven_at;
        job.woven = (uint8_t *)rest + rows * kq_act8_blocks(args->n_cols) * sizeof(kq_act8);
        if (n_woven) kq_pool_run(n_woven * args->n_cols > SERIAL_FLOATS ? pool : NULL, job.n_few, gather_weave, &job);
    }
    kq_pool_run(pool, job.n_few * job.a.n_tiles, gather_task, &job);
}
