/* SPDX-License-Identifier: MIT */
/* linear and linear_gather: products with weights, through the drivers of matmul.c. */
#include "cpu/op.h"

static void linear_run(const kq_exec *x, const kq_step *step) {
    const kq_tensor *w = kq_op_in(x->slots, step, 0), *in = kq_op_in(x->slots, step, 1), *b = kq_op_in(x->slots, step, 2);
    uint64_t n_rows = (uint64_t)w->dims[0], n_cols = kq_op_width(w);
    kq_matmul_args args = {
        .codec = w->codec, .w = w->data, .n_rows = n_rows, .n_cols = n_cols, .row_bytes = w->row_bytes,
        .x = in->data, .m = kq_op_rows(in), .ldx = n_cols,
        .bias = b ? b->data : NULL,
        .y = x->slots[step->out].data, .ldy = n_rows,
        .exact = x->exact,
    };
    kq_matmul_run(x->table, x->pool, &args, x->scratch);
}

static bool linear_scratch(const kq_tensor *slots, const kq_step *step, int n_threads, uint64_t *bytes) {
    const kq_tensor *in = kq_op_in(slots, step, 1);
    return kq_matmul_scratch(kq_op_rows(in), kq_op_width(in), n_threads, bytes);
}
const kq_cpu_op kq_cpu_linear = {.run = linear_run, .scratch = linear_scratch};

static void gather_run(const kq_exec *x, const kq_step *step) {
    const kq_tensor *w = kq_op_in(x->slots, step, 0), *in = kq_op_in(x->slots, step, 1), *idx = kq_op_in(x->slots, step, 2);
    kq_gather_args args = {
        .codec = w->codec, .w = w->data, .n_experts = (uint64_t)w->dims[0], .n_rows = (uint64_t)w->dims[1], .n_cols = kq_op_width(w),
        .row_bytes = w->row_bytes, .expert_bytes = (uint64_t)w->dims[1] * w->row_bytes,
        .x = in->data, .n_tokens = (uint64_t)in->dims[0], .n_x = (uint64_t)in->dims[1],
        .n_used = kq_op_width(idx), .idx = idx->data,
        .y = x->slots[step->out].data,
        .exact = x->exact,
    };
    kq_gather_run(x->table, x->pool, &args, x->scratch);
}

static bool gather_scratch(const kq_tensor *slots, const kq_step *step, int n_threads, uint64_t *bytes) {
    const kq_tensor *w = kq_op_in(slots, step, 0), *in = kq_op_in(slots, step, 1), *idx = kq_op_in(slots, step, 2);
    return kq_gather_scratch((uint64_t)w->dims[0], (uint64_t)in->dims[0], (uint64_t)in->dims[1], kq_op_width(idx), kq_op_width(w),
                             n_threads, bytes);
}
const kq_cpu_op kq_cpu_linear_gather = {.run = gather_run, .scratch = gather_scratch};
