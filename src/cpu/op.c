/* SPDX-License-Identifier: MIT */
#include "cpu/op.h"

/* A piece of 16 Ki floats takes some 5 to 20 microseconds; handing one out costs well under one, waking sleeping threads tens. */
enum { PIECE_WORK = 16 * 1024, POOL_WORK = 32 * 1024 };

struct pieces {
    kq_op_rows_fn *fn;
    const void *ctx;
    uint64_t n, rows;
};

static void piece(void *ctx, size_t i, size_t worker) {
    const struct pieces *p = ctx;
    uint64_t first = i * p->rows;
    p->fn(p->ctx, first, KQ_MIN(first + p->rows, p->n), worker);
}

void kq_op_run_rows(kq_pool *pool, uint64_t n, uint64_t work, kq_op_rows_fn *fn, const void *ctx) {
    if (n == 0) return;
    work = KQ_MAX(work, 1);
    uint64_t rows = KQ_MAX(PIECE_WORK / work, 1);
    if (n <= rows || n < POOL_WORK / work) {
        fn(ctx, 0, n, 0);
        return;
    }
    struct pieces p = {fn, ctx, n, rows};
    kq_pool_run(pool, (size_t)((n + rows - 1) / rows), piece, &p);
}
