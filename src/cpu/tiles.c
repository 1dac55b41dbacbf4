/* SPDX-License-Identifier: MIT */
/* Products with many activation rows. Activations are laid in strips once; then each task decodes some weight rows, DEPTH weights of each, into
 * a panel that stays in L2, multiplies it by all strips, and goes on with the next DEPTH. Any codec that decodes runs at the speed of the
 * multiplication, less its decoding.
 *
 * A result is a sum over pieces of DEPTH weights in their order, each in the order of the tile kernel, on zero: it depends on its weight
 * row and its activation row alone. So tasks may be cut to suit the number of threads. */
#include "cpu/tiles.h"

/* A panel and its sums stay in L2, through which the strips' pieces pass, from L3: once for a panel, so the more rows it has, the better.
 * L2 has 1 MB, or 2 MB where there is AMX, whose products need half the time that L3 needs to bring 16 KB of strips for 96 rows. */
enum {
    DEPTH = 256,                          /* weights: 8 KB of a strip of bf16, two of which stay in L1 while a panel goes by, and a block of each codec */
    PANEL_ROWS = 4 * KQ_TILE_ROWS,        /* 108 KB of bf16, and 384 KB of sums for 512 activation rows */
    AMX_PANEL_ROWS = 8 * KQ_TILE_ROWS,
    AHEAD = 16,                           /* rows: how far ahead of decoding weights are fetched */
    GAP = 64,                             /* bytes between a panel's rows: at a power of two they would meet in one set of L1 */
    PANEL_BYTES = KQ_MAX(PANEL_ROWS * (DEPTH * 4 + GAP), AMX_PANEL_ROWS * (DEPTH * 2 + GAP)),
    THREAD_BYTES = PANEL_BYTES + KQ_PIECE_STRIPS * AMX_PANEL_ROWS * KQ_LANES * 4
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
    uint64_t most = t->panel == KQ_BF16 && table->features & KQ_CPU_AMX ? AMX_PANEL_ROWS : PANEL_ROWS, threads = (uint64_t)kq_pool_threads(pool);
    /* four tasks a thread, down to a quarter or an eighth of the most rows */
    uint64_t share = threads > 1 ? n_rows / (4 * threads) / KQ_TILE_ROWS * KQ_TILE_ROWS : most;
    t->task_rows = KQ_MAX(KQ_MIN(share, most), KQ_TILE_ROWS);
    t->n_tasks = n_rows / t->task_rows + (n_rows % t->task_rows != 0);
    t->threads = scratch;
    t->strips = t->threads + (size_t)kq_pool_threads(pool) * THREAD_BYTES;
}

/* ---- strips -------------------------------------------------------------------------------------------------------- */

static size_t padded(size_t n) { return (n + KQ_TILE_STEP - 1) / KQ_TILE_STEP * KQ_TILE_STEP; }

/* Weights at .. at + n - 1 of a strip; those of the strips that follow lie behind it, without a gap: at a pitch of whole rows they would meet in a few
 * sets of the caches. */
static uint8_t *part_of_strip(const kq_tiles *t, size_t strip, size_t at, size_t n) {
    return t->strips + (at * t->n_strips + padded(n) * strip) * KQ_LANES * t->unit;
}

static void pack_task(void *ctx, size_t i, size_t worker) {
    const kq_tiles *t = ctx;
    (void)worker;
    size_t pieces = t->n_cols / DEPTH + (t->n_cols % DEPTH != 0), strip = i / pieces, at = i % pieces * DEPTH, n = KQ_MIN(t->n_cols - at, DEPTH);
    const float *x[KQ_LANES];
    for (size_t j = 0; j < t->lanes[strip]; j++) x[j] = t->x[strip * KQ_LANES + j] + at;
    t->table->pack[t->panel](x, t->lanes[strip], n, part_of_strip(t, strip, at, n));
}

/* ---- panels -------------------------------------------------------------------------------------------------------- */

/* n weights of a row, whole blocks, into the panel, where its codec has no kernel for that. */
static void put_row(const kq_tiles *t, const uint8_t *blocks, size_t n, uint8_t *to) {
    const kq_codec_info *info = kq_codec_describe(t->codec);
    size_t end = padded(n);
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

static void put_rows(const kq_tiles *t, const uint8_t *w, size_t n_rows, size_t n, uint8_t *panel, size_t pitch) {
    const kq_codec_info *info = kq_codec_describe(t->codec);
    if (t->panel == KQ_BF16 && t->table->panel[t->codec]) {
        t->table->panel[t->codec](w, t->row_bytes, n_rows, n / info->block_weights, panel, pitch);
        return;
    }
    size_t bytes = n / info->block_weights * info->block_bytes;
    for (size_t r = 0; r < n_rows; r++) {
        /* a few lines, far from the next row's: no prefetcher of the machine finds them */
        for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(w + KQ_MIN(r + AHEAD, n_rows - 1) * t->row_bytes + i);
        put_row(t, w + r * t->row_bytes, n, panel + r * pitch);
    }
}

static void multiply_task(void *ctx, size_t i, size_t worker) {
    const kq_tiles *t = ctx;
    const kq_tiles_piece *p = &t->pieces[i / t->n_tasks];
    const kq_codec_info *info = kq_codec_describe(t->codec);
    size_t first = i % t->n_tasks * t->task_rows, n_rows = KQ_MIN(t->n_rows - first, t->task_rows), pitch = DEPTH * t->unit + GAP;
    size_t sums_pitch = t->task_rows * KQ_LANES;
    uint8_t *panel = t->threads + worker * THREAD_BYTES;
    float *sums = (float *)(void *)(panel + PANEL_BYTES);
    for (size_t at = 0; at < t->n_cols; at += DEPTH) {
        size_t n = KQ_MIN(t->n_cols - at, DEPTH);
        const uint8_t *w = p->w + first * t->row_bytes + at / info->block_weights * info->block_bytes;
        put_rows(t, w, n_rows, n, panel, pitch);
        t->table->tile[t->panel](panel, pitch, n_rows, part_of_strip(t, p->strip, at, n), padded(n) * KQ_LANES * t->unit, p->n_strips, padded(n), sums,
                                 sums_pitch, at > 0);
    }
    for (size_t s = 0; s < p->n_strips; s++) {
        float *y[KQ_LANES];
        for (size_t j = 0; j < t->lanes[p->strip + s]; j++) y[j] = t->y[(p->strip + s) * KQ_LANES + j] + first;
        t->table->unpack[KQ_F32](sums + s * sums_pitch, n_rows, t->lanes[p->strip + s], t->bias ? t->bias + first : NULL, y);
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
