/* SPDX-License-Identifier: MIT */
/* rope: rotary position embedding.
 *
 * Angles are computed in double and rounded once, as cosine and sine. In float, position times frequency is off by up to
 * position * 2^-24, a visible 0.006 at position 100 000; nobody trains for that error, and it hides nowhere in short tests. */
#include "base/numeric.h"
#include "cpu/op.h"

enum { INTERLEAVED = 0, HALVES = 1 };

struct rope {
    const float *x;
    float *y;
    const int32_t *pos;
    uint64_t n_heads, width, n_pairs;
    bool halves;
    const double *frequency; /* [n_pairs] */
    float *rotation;         /* [workers][2][n_pairs]: cosines, sines of one token */
};

static void rope_rows(const void *ctx, uint64_t first, uint64_t end, size_t worker) {
    const struct rope *r = ctx;
    float *c = r->rotation + worker * 2 * r->n_pairs, *s = c + r->n_pairs;
    /* pair i is (first + i * step, that + gap) */
    uint64_t gap = r->halves ? r->n_pairs : 1, step = r->halves ? 1 : 2;
    for (uint64_t t = first; t < end; t++) {
        for (uint64_t i = 0; i < r->n_pairs; i++) {
            double cosine, sine;
            kq_cos_sin((double)r->pos[t] * r->frequency[i], &cosine, &sine);
            c[i] = (float)cosine;
            s[i] = (float)sine;
        }
        for (uint64_t h = 0; h < r->n_heads; h++) {
            const float *x = r->x + (t * r->n_heads + h) * r->width;
            float *y = r->y + (t * r->n_heads + h) * r->width;
            for (uint64_t i = 0; i < r->n_pairs; i++) {
                float a = x[i * step], b = x[i * step + gap];
                y[i * step] = a * c[i] - b * s[i];
                y[i * step + gap] = a * s[i] + b * c[i];
            }
            for (uint64_t i = 2 * r->n_pairs; i < r->width; i++) y[i] = x[i];
        }
    }
}

static void run(const kq_exec *x, const kq_step *step) {
    const kq_tensor *in = kq_op_in(x->slots, step, 0), *pos = kq_op_in(x->slots, step, 1), *f = kq_op_in(x->slots, step, 2);
    uint64_t n_rot = (uint64_t)step->attr[0].i;
    struct rope r = {.x = in->data, .y = x->slots[step->out].data, .pos = pos->data};
    r.n_heads = (uint64_t)in->dims[1];
    r.width = kq_op_width(in);
    r.n_pairs = KQ_MIN(n_rot, r.width) / 2;
    r.halves = step->attr[1].i == HALVES;
    uint8_t *at = x->scratch;
    double *frequency = kq_op_carve(&at, r.n_pairs, sizeof *frequency);
    r.rotation = (float *)at;
    r.frequency = frequency;
    const float *factor = f ? f->data : NULL;
    /* base^(-2i/n_rot) by repeated multiplication: off by i * 2^-52 at most, which is nothing once an angle becomes a float */
    double ratio = kq_exp(-2.0 / (double)n_rot * kq_log(step->attr[2].f)), power = step->attr[3].f;
    for (uint64_t i = 0; i < r.n_pairs; i++, power *= ratio) frequency[i] = factor ? power / (double)factor[i] : power;
    kq_op_run_rows(x->pool, (uint64_t)in->dims[0], r.n_heads * r.width + 16 * r.n_pairs, rope_rows, &r);
}

static bool scratch(const kq_tensor *slots, const kq_step *step, int n_threads, uint64_t *bytes) {
    uint64_t n_pairs = kq_op_width(kq_op_in(slots, step, 0)) / 2, floats;
    return kq_op_take(bytes, n_pairs, sizeof(double)) && kq_mul(2 * n_pairs, (uint64_t)n_threads, &floats) &&
           kq_op_take(bytes, floats, sizeof(float));
}
const kq_cpu_op kq_cpu_rope = {.run = run, .scratch = scratch};
