/* SPDX-License-Identifier: MIT */
/* add, silu_mul, gelu_mul: one value at a time, so any cut is the same. y may be a. */
#include "cpu/op.h"

struct pair {
    const float *a, *b;
    float *y;
    kq_silu_fn *product; /* or a kq_gelu_fn, which is the same type */
};

static void add_part(const void *ctx, uint64_t first, uint64_t end, size_t worker) {
    (void)worker;
    const struct pair *p = ctx;
    const float *a = p->a, *b = p->b;
    float *y = p->y;
    for (uint64_t i = first; i < end; i++) y[i] = a[i] + b[i];
}

static void product_part(const void *ctx, uint64_t first, uint64_t end, size_t worker) {
    (void)worker;
    const struct pair *p = ctx;
    p->product(p->a + first, p->b + first, (size_t)(end - first), p->y + first);
}

static void run(const kq_exec *x, const kq_step *step, uint64_t work, kq_op_rows_fn *fn, kq_silu_fn *product) {
    const kq_tensor *a = kq_op_in(x->slots, step, 0), *b = kq_op_in(x->slots, step, 1);
    struct pair p = {a->data, b->data, x->slots[step->out].data, product};
    kq_op_run_rows(x->pool, kq_op_rows(a) * kq_op_width(a), work, fn, &p);
}

static void add_run(const kq_exec *x, const kq_step *step) { run(x, step, 1, add_part, NULL); }
static void silu_mul_run(const kq_exec *x, const kq_step *step) { run(x, step, 4, product_part, x->table->silu[KQ_F32]); }
static void gelu_mul_run(const kq_exec *x, const kq_step *step) { run(x, step, 4, product_part, x->table->gelu[KQ_F32]); }

const kq_cpu_op kq_cpu_add = {.run = add_run};
const kq_cpu_op kq_cpu_silu_mul = {.run = silu_mul_run};
const kq_cpu_op kq_cpu_gelu_mul = {.run = gelu_mul_run};
