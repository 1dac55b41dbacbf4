/* SPDX-License-Identifier: MIT */
/* embed: rows of a table, decoded where they are wanted. pick_rows: rows of activations. reshape: nothing. */
#include "cpu/op.h"

struct embed {
    const kq_tensor *w;
    const int32_t *ids;
    float *y, scale;
    kq_decode_fn *decode;
    size_t n_blocks;
};

static void embed_rows(const void *ctx, uint64_t first, uint64_t end, size_t worker) {
    (void)worker;
    const struct embed *e = ctx;
    uint64_t width = kq_op_width(e->w);
    for (uint64_t t = first; t < end; t++) {
        float *y = e->y + t * width;
        e->decode((const uint8_t *)e->w->data + (size_t)e->ids[t] * e->w->row_bytes, e->n_blocks, y);
        if (e->scale != 1.0f) {
            for (uint64_t i = 0; i < width; i++) y[i] *= e->scale;
        }
    }
}

static void embed_run(const kq_exec *x, const kq_step *step) {
    const kq_tensor *w = kq_op_in(x->slots, step, 0), *ids = kq_op_in(x->slots, step, 1);
    struct embed e = {.w = w, .ids = ids->data, .y = x->slots[step->out].data, .scale = (float)step->attr[0].f};
    e.decode = x->table->decode[w->codec];
    e.n_blocks = (size_t)(kq_op_width(w) / kq_codec_describe(w->codec)->block_weights);
    kq_op_run_rows(x->pool, (uint64_t)ids->dims[0], kq_op_width(w), embed_rows, &e);
}
const kq_cpu_op kq_cpu_embed = {.run = embed_run};

static void pick_rows_run(const kq_exec *x, const kq_step *step) {
    const kq_tensor *from = kq_op_in(x->slots, step, 0), *rows = kq_op_in(x->slots, step, 1);
    uint64_t width = kq_op_width(from);
    float *y = x->slots[step->out].data;
    const int32_t *wanted = rows->data;
    for (uint64_t r = 0; r < (uint64_t)rows->dims[0]; r++, y += width) {
        memcpy(y, (const float *)from->data + (size_t)wanted[r] * width, width * sizeof *y);
    }
}
const kq_cpu_op kq_cpu_pick_rows = {.run = pick_rows_run};

static void reshape_run(const kq_exec *x, const kq_step *step) { /* the plan gave the output its input's memory */
    (void)x;
    (void)step;
}
const kq_cpu_op kq_cpu_reshape = {.run = reshape_run};
