/* SPDX-License-Identifier: MIT */
/* What the operations share: a step's tensors, its rows cut into tasks, and its scratch cut into pieces. */
#ifndef KQ_CPU_OP_H
#define KQ_CPU_OP_H

#include "cpu/cpu.h"

/* The step's input, or NULL where an optional one is absent. */
static inline const kq_tensor *kq_op_in(const kq_tensor *slots, const kq_step *step, int i) {
    return step->in[i] == KQ_NO_SLOT ? NULL : &slots[step->in[i]];
}

/* The size of the last dimension, and how many such rows there are. */
static inline uint64_t kq_op_width(const kq_tensor *t) { return (uint64_t)t->dims[t->n_dims - 1]; }
static inline uint64_t kq_op_rows(const kq_tensor *t) {
    uint64_t rows = 1;
    for (int i = 0; i + 1 < t->n_dims; i++) rows *= (uint64_t)t->dims[i];
    return rows;
}

/* Calls fn over the rows [0, n) in pieces. `work` is roughly how many floats a row touches: pieces have a fixed amount of it, and
 * when all of it is too little to be worth waking threads the caller's own does it in one piece. Rows never know their piece. */
typedef void kq_op_rows_fn(const void *ctx, uint64_t first, uint64_t end, size_t worker);
void kq_op_run_rows(kq_pool *pool, uint64_t n, uint64_t work, kq_op_rows_fn *fn, const void *ctx);

/* Takes n * size bytes of scratch, a multiple of 64; *at is the running total. False on overflow. */
static inline bool kq_op_take(uint64_t *at, uint64_t n, uint64_t size) {
    uint64_t bytes;
    return kq_mul(n, size, &bytes) && kq_round_up(bytes, 64, &bytes) && kq_add(*at, bytes, at);
}
/* The same while running, where kq_op_take has already said that it fits. */
static inline void *kq_op_carve(uint8_t **at, uint64_t n, uint64_t size) {
    uint8_t *p = *at;
    *at += (n * size + 63) & ~UINT64_C(63);
    return p;
}

#endif
