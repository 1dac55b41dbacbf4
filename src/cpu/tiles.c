/* SPDX-License-Identifier: MIT */
/* Products with many activation rows. Activations are laid in strips once; then each task decodes some weight rows, 512 weights deep, into a
 * panel that stays in L2, multiplies it by all strips, and goes on with the next 512. Any codec that decodes runs at the speed of the
 * multiplication, less its decoding.
 *
 * A result is a sum over pieces of 512 weights in their order, each in the order of the tile kernel, on zero: it depends on its weight
 * row and its activation row alone. So tasks may be cut to suit the number of threads. */
#include "cpu/tiles.h"

enum {
    DEPTH = 512,                          /* weights: 16 KB of a strip of bf16, two of which stay in L1 while a panel goes by */
    PANEL_ROWS = 2 * KQ_TILE_ROWS,        /* what strips of activations, from L3, are multiplied by each time they are read */
    GAP = 64,                             /* bytes between a panel's rows: at a power of two they would meet in one set of L1 */
    PANEL_BYTES = PANEL_ROWS * (DEPTH * 4 + GAP),
    SUMS_PITCH = PANEL_ROWS * KQ_LANES,   /* floats of a strip's sums */
    THREAD_BYTES = PANEL_BYTES + KQ_PIECE_STRIPS * SUMS_PITCH * 4
};
_Static_assert(PANEL_BYTES % 64 == 0 && DEPTH % KQ_TILE_STEP == 0, "all of it lies in whole cache lines");

uint32_t kq_tiles_panel(const kq_cpu_table *table, uint32_t codec) { return codec != KQ_F32 && table->tile[KQ_BF16] ? KQ_BF16 : KQ_F32; }

bool kq_tiles_can(const kq_cpu_table *table, uint32_t codec) { return table->tile[kq_tiles_panel(table, codec)] != NULL; }

bool kq_tiles_scratch(uint64_t n_strips, uint64_t n_cols, int n_threads, uint64_t *bytes) {
    uint64_t threads;
    n_strips = KQ_MIN(n_strips, KQ_TILE_STRIPS);
    return kq_round_up(n_cols, KQ_TILE_STEP, bytes) && kq_mul(*bytes, KQ_LANES * sizeof(float), bytes) && kq_mul(*bytes, n_strips, bytes) &&
           kq_mul((uint64_t)n_threads, THREAD_BYTES, &threads) && kq_add(*bytes, threads, bytes);
}

void kq_tiles_init(kq_tiles *t, const kq_cpu_table *table, kq_pool *pool, uint32_t codec, uint64_t n_rows, uint64_t n_cols, uint64_t row_bytes,
                   const float *bias, void *scratch) {
    t->table = table;
    t->pool = pool;
    t->codec = codec;
    t->n_rows = n_rows;
    t->n_cols = n_cols;
    t->row_bytes = row_bytes;
    t->bias = bias;
    t->n_pieces = t->n_strips = 0;
    t->panel = kq_tiles_panel(table, codec);
    t->unit = t->panel == KQ_BF16 ? 2 : 4;
    t->strip_bytes = (n_cols + KQ_TILE_STEP - 1) / KQ_TILE_STEP * KQ_TILE_STEP * KQ_LANES * t->unit;
    /* four tasks a thread where rows are few: a panel of half the height reads the strips twice as often */
    uint64_t share = n_rows / (4 * (uint64_t)kq_pool_threads(pool));
    t->task_rows = share >= PANEL_ROWS ? PANEL_ROWS : KQ_TILE_ROWS;
    t->n_tasks = n_rows / t->task_rows + (n_rows % t->task_rows != 0);
    t->threads = scratch;
    t->strips = t->threads + (size_t)kq_pool_threads(pool) * THREAD_BYTES;
}

/* ---- strips -------------------------------------------------------------------------------------------------------- */

static void pack_task(void *ctx, size_t i, size_t worker) {
    const kq_tiles *t = ctx;
    (void)worker;
    size_t pieces = t->n_cols / DEPTH + (t->n_cols % DEPTH != 0), strip = i / pieces, at = i % pieces * DEPTH;
    const float *x[KQ_LANES];
    for (size_t j = 0; j < t->lanes[strip]; j++) x[j] = t->x[strip * KQ_LANES + j] + at;
    t->table->pack[t->panel](x, t->lanes[strip], KQ_MIN(t->n_cols - at, DEPTH), t->strips + strip * t->strip_bytes + at * KQ_LANES * t->unit);
}

/* ---- panels -------------------------------------------------------------------------------------------------------- */

/* n weights of a row, whole blocks, into the panel. */
static void put_row(const kq_tiles *t, const uint8_t *blocks, size_t n, uint8_t *to) {
    const kq_codec_info *info = kq_codec_describe(t->codec);
    size_t end = (n + KQ_TILE_STEP - 1) / KQ_TILE_STEP * KQ_TILE_STEP;
    if (t->codec == t->panel) {
        memcpy(to, blocks, n * t->unit);
        memset(to + n * t->unit, 0, (end - n) * t->unit);
    } else if (t->panel == KQ_F32) {
        t->table->decode[t->codec](blocks, n / info->block_weights, (float *)(void *)to);
        memset(to + n * t->unit, 0, (end - n) * t->unit);
    } else {
        _Alignas(64) float values[DEPTH];
        t->table->decode[t->codec](blocks, n / info->block_weights, values);
        t->table->narrow[t->panel](values, n, to);
    }
}

static void multiply_task(void *ctx, size_t i, size_t worker) {
    const kq_tiles *t = ctx;
    const kq_tiles_piece *p = &t->pieces[i / t->n_tasks];
    const kq_codec_info *info = kq_codec_describe(t->codec);
    size_t first = i % t->n_tasks * t->task_rows, n_rows = KQ_MIN(t->n_rows - first, t->task_rows), pitch = DEPTH * t->unit + GAP;
    uint8_t *panel = t->threads + worker * THREAD_BYTES;
    float *sums = (float *)(void *)(panel + PANEL_BYTES);
    memset(sums, 0, p->n_strips * SUMS_PITCH * sizeof *sums);
    for (size_t at = 0; at < t->n_cols; at += DEPTH) {
        size_t n = KQ_MIN(t->n_cols - at, DEPTH);
        const uint8_t *w = p->w + first * t->row_bytes + at / info->block_weights * info->block_bytes;
        for (size_t r = 0; r < n_rows; r++) put_row(t, w + r * t->row_bytes, n, panel + r * pitch);
        t->table->tile[t->panel](panel, pitch, n_rows, t->strips + p->strip * t->strip_bytes + at * KQ_LANES * t->unit, t->strip_bytes, p->n_strips,
                                 (n + KQ_TILE_STEP - 1) / KQ_TILE_STEP * KQ_TILE_STEP, sums, SUMS_PITCH);
    }
    for (size_t s = 0; s < p->n_strips; s++) {
        float *y[KQ_LANES];
        for (size_t j = 0; j < t->lanes[p->strip + s]; j++) y[j] = t->y[(p->strip + s) * KQ_LANES + j] + first;
        t->table->unpack[KQ_F32](sums + s * SUMS_PITCH, n_rows, t->lanes[p->strip + s], t->bias ? t->bias + first : NULL, y);
    }
}

/* ---- batches ------------------------------------------------------------------------------------------------------- */

void kq_tiles_flush(kq_tiles *t) {
    size_t depths = t->n_cols / DEPTH + (t->n_cols % DEPTH != 0);
    kq_pool_run(t->pool, t->n_strips * depths, pack_task, t);
    kq_pool_run(t->pool, t->n_pieces * t->n_tasks, multiply_task, t);
    t->n_pieces = t->n_strips = 0;
}

size_t kq_tiles_open(kq_tiles *t, const void *w, size_t m) {
    m = KQ_MIN(m, KQ_PIECE_STRIPS * KQ_LANES);
    size_t n_strips = m / KQ_LANES + (m % KQ_LANES != 0);
    if (t->n_strips + n_strips > KQ_TILE_STRIPS || t->n_pieces == KQ_COUNT(t->pieces)) kq_tiles_flush(t);
    t->pieces[t->n_pieces++] = (kq_tiles_piece){w, t->n_strips, n_strips};
    t->opened = t->n_strips * KQ_LANES;
    for (size_t s = 0; s < n_strips; s++) t->lanes[t->n_strips + s] = KQ_MIN(m - s * KQ_LANES, KQ_LANES);
    t->n_strips += n_strips;
    return m;
}
