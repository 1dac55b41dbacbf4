/* SPDX-License-Identifier: MIT */
/* Products with many activation rows, for the drivers of matmul.c: a batch of pieces, each up to 512 activation rows times one matrix;
 * the matrices (of experts, say) differ in nothing but their address. */
#ifndef KQ_CPU_TILES_H
#define KQ_CPU_TILES_H

#include "cpu/cpu.h"

enum {
    KQ_TILE_STRIPS = 64, /* of KQ_LANES activation rows, in a batch */
    KQ_PIECE_STRIPS = 32 /* in a piece: its sums stay in L2 */
};

typedef struct kq_tiles_piece {
    const uint8_t *w;
    size_t strip, n_strips;
} kq_tiles_piece;

typedef struct kq_tiles {
    const kq_cpu_table *table;
    kq_pool *pool;
    uint32_t codec, panel; /* of the weights; of panels and strips */
    uint64_t n_rows, n_cols, row_bytes;
    const float *bias;
    uint8_t *threads, *strips; /* scratch: a panel and sums for each thread; activations */
    size_t unit;               /* bytes of a panel's weight */
    size_t task_rows, n_tasks; /* of a piece */
    size_t n_pieces, n_strips, opened;
    kq_tiles_piece pieces[KQ_TILE_STRIPS];
    size_t lanes[KQ_TILE_STRIPS]; /* rows of a strip that are used */
    const float *x[KQ_TILE_STRIPS * KQ_LANES];
    float *y[KQ_TILE_STRIPS * KQ_LANES];
} kq_tiles;

/* What weights of this codec are in a panel: KQ_BF16 or KQ_F32. */
uint32_t kq_tiles_panel(const kq_cpu_table *table, uint32_t codec);
/* Are there kernels for them? */
bool kq_tiles_can(const kq_cpu_table *table, uint32_t codec);
/* Bytes of scratch for batches of up to n_strips strips; false on overflow. */
bool kq_tiles_scratch(uint64_t n_strips, uint64_t n_cols, int n_threads, uint64_t *bytes);
void kq_tiles_init(kq_tiles *t, const kq_cpu_table *table, kq_pool *pool, uint32_t codec, uint64_t n_rows, uint64_t n_cols, uint64_t row_bytes,
                   const float *bias, void *scratch);
/* Opens a piece of up to m activation rows times the matrix at w and returns how many it takes; the caller then sets x[opened + j] and
 * y[opened + j] of each. A full batch runs first. */
size_t kq_tiles_open(kq_tiles *t, const void *w, size_t m);
/* Runs what was opened. */
void kq_tiles_flush(kq_tiles *t);

#endif
