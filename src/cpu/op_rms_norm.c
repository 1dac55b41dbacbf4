/* SPDX-License-Identifier: MIT */
/* rms_norm. The squares are summed in double, in 8 lanes and a fixed tree: the mean is right to the last bit of float for any width
 * that fits in memory, which costs nothing beside the products that follow. */
#include "cpu/op.h"

#include <math.h>

enum { LANES = 8 };

struct norm {
    const float *x, *w;
    float *y, eps;
    uint64_t width;
};

static double sum_of_squares(const float *x, uint64_t n) {
    double lane[LANES] = {0};
    uint64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int j = 0; j < LANES; j++) lane[j] += (double)x[i + (uint64_t)j] * (double)x[i + (uint64_t)j];
    }
    for (int j = 0; i < n; i++, j++) lane[j] += (double)x[i] * (double)x[i];
    for (int half = LANES / 2; half; half /= 2) {
        for (int j = 0; j < half; j++) lane[j] += lane[j + half];
    }
    return lane[0];
}

static void norm_rows(const void *ctx, uint64_t first, uint64_t end, size_t worker) {
    (void)worker;
    const struct norm *n = ctx;
    for (uint64_t r = first; r < end; r++) {
        const float *x = n->x + r * n->width, *w = n->w;
        float *restrict y = n->y + r * n->width;
        float mean = (float)(sum_of_squares(x, n->width) / (double)n->width);
        float scale = 1.0f / sqrtf(mean + n->eps);
        for (uint64_t i = 0; i < n->width; i++) y[i] = x[i] * scale * w[i];
    }
}

static void run(const kq_exec *x, const kq_step *step) {
    const kq_tensor *in = kq_op_in(x->slots, step, 0), *w = kq_op_in(x->slots, step, 1);
    struct norm n = {.x = in->data, .y = x->slots[step->out].data, .eps = (float)step->attr[0].f, .width = kq_op_width(in)};
    n.w = w->data;
    kq_op_run_rows(x->pool, kq_op_rows(in), 2 * n.width, norm_rows, &n);
}
const kq_cpu_op kq_cpu_rms_norm = {.run = run};
