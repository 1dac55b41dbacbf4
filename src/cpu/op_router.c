/* SPDX-License-Identifier: MIT */
/* router_pick, router_weights, combine: which experts a token goes to, how much each counts, and their sum. */
#include "base/numeric.h"
#include "cpu/op.h"

struct router {
    const float *x;
    const int32_t *idx;
    int32_t *picked;
    float *w, scale;
    uint64_t n_experts, n_used;
    bool normalise;
};

/* The larger first; the first of equals; NaN after everything else. Selection by insertion: n_used is small. */
static void pick_rows(const void *ctx, uint64_t first, uint64_t end, size_t worker) {
    (void)worker;
    const struct router *r = ctx;
    for (uint64_t t = first; t < end; t++) {
        const float *x = r->x + t * r->n_experts;
        int32_t *picked = r->picked + t * r->n_used;
        uint64_t n = 0;
        for (uint64_t e = 0; e < r->n_experts; e++) {
            uint64_t at = n;
            while (at > 0 && (x[e] > x[picked[at - 1]] || (x[e] == x[e] && x[picked[at - 1]] != x[picked[at - 1]]))) at--;
            if (at == r->n_used) continue;
            if (n < r->n_used) n++;
            for (uint64_t i = n - 1; i > at; i--) picked[i] = picked[i - 1];
            picked[at] = (int32_t)e;
        }
    }
}

static void pick_run(const kq_exec *x, const kq_step *step) {
    const kq_tensor *in = kq_op_in(x->slots, step, 0), *out = &x->slots[step->out];
    struct router r = {.x = in->data, .picked = out->data, .n_experts = kq_op_width(in), .n_used = kq_op_width(out)};
    kq_op_run_rows(x->pool, kq_op_rows(in), 2 * r.n_experts, pick_rows, &r);
}
const kq_cpu_op kq_cpu_router_pick = {.run = pick_run};

static void weigh_rows(const void *ctx, uint64_t first, uint64_t end, size_t worker) {
    (void)worker;
    const struct router *r = ctx;
    for (uint64_t t = first; t < end; t++) {
        const float *x = r->x + t * r->n_experts;
        const int32_t *idx = r->idx + t * r->n_used;
        float *w = r->w + t * r->n_used;
        float largest = x[0], sum = 0;
        for (uint64_t e = 1; e < r->n_experts; e++) largest = x[e] > largest ? x[e] : largest;
        for (uint64_t e = 0; e < r->n_experts; e++) sum += kq_expf(x[e] - largest);
        float used = 0;
        for (uint64_t u = 0; u < r->n_used; u++) {
            w[u] = kq_expf(x[idx[u]] - largest) / sum;
            used += w[u];
        }
        for (uint64_t u = 0; u < r->n_used; u++) w[u] = (r->normalise ? w[u] / used : w[u]) * r->scale;
    }
}

static void weights_run(const kq_exec *x, const kq_step *step) {
    const kq_tensor *in = kq_op_in(x->slots, step, 0), *idx = kq_op_in(x->slots, step, 1);
    struct router r = {.x = in->data, .idx = idx->data, .w = x->slots[step->out].data, .n_experts = kq_op_width(in)};
    r.n_used = kq_op_width(idx);
    r.normalise = step->attr[0].i != 0;
    r.scale = (float)step->attr[1].f;
    kq_op_run_rows(x->pool, kq_op_rows(in), 4 * r.n_experts, weigh_rows, &r);
}
const kq_cpu_op kq_cpu_router_weights = {.run = weights_run};

struct combine {
    const float *y, *w;
    float *z;
    uint64_t n_used, width;
};

static void combine_rows(const void *ctx, uint64_t first, uint64_t end, size_t worker) {
    (void)worker;
    const struct combine *c = ctx;
    for (uint64_t t = first; t < end; t++) {
        const float *w = c->w + t * c->n_used;
        float *restrict z = c->z + t * c->width;
        for (uint64_t u = 0; u < c->n_used; u++) {
            const float *y = c->y + (t * c->n_used + u) * c->width;
            for (uint64_t i = 0; i < c->width; i++) z[i] = (u ? z[i] : 0.0f) + w[u] * y[i];
        }
    }
}

static void combine_run(const kq_exec *x, const kq_step *step) {
    const kq_tensor *y = kq_op_in(x->slots, step, 0), *w = kq_op_in(x->slots, step, 1);
    struct combine c = {y->data, w->data, x->slots[step->out].data, kq_op_width(w), kq_op_width(y)};
    kq_op_run_rows(x->pool, kq_op_rows(w), c.n_used * c.width, combine_rows, &c);
}
const kq_cpu_op kq_cpu_combine = {.run = combine_run};
