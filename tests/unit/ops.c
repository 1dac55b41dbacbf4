/* SPDX-License-Identifier: MIT */
/* cpu: every operation of ops.def against its definition in double precision, on random shapes. Bounds come from the data: the
 * number of roundings times 2^-24 times the sum of the magnitudes that were added. */
#include "base/numeric.h"
#include "cpu/cpu.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define U 0x1p-24 /* half an ulp of 1 */

/* ---- random data ---------------------------------------------------------------------------------------------------- */

static uint64_t seed = 20261121;

static uint64_t next(void) { /* splitmix64 */
    uint64_t z = seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
static size_t below(size_t n) { return (size_t)(next() % n); }
static size_t between(size_t low, size_t high) { return low + below(high - low + 1); }
static float uniform(void) { return (float)((double)(next() >> 40) * 0x1p-23 - 1.0); }

/* ---- one step on its own ---------------------------------------------------------------------------------------------- */

enum { MOST_SLOTS = 8 };

typedef struct bench {
    kq_tensor slots[MOST_SLOTS];
    size_t bytes[MOST_SLOTS];
    uint32_t n_slots;
    kq_step step;
    kq_cpu_table table;
    bool exact;
} bench;

static bench *bench_open(kq_op op) {
    bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    b->step.op = (uint16_t)op;
    for (int i = 0; i < KQ_MAX_INPUTS; i++) b->step.in[i] = KQ_NO_SLOT;
    kq_cpu_select(&b->table, kq_cpu_features());
    b->exact = true;
    return b;
}

static void bench_close(bench *b) {
    for (uint32_t i = 0; i < b->n_slots; i++) free(b->slots[i].data);
    free(b);
}

/* A slot of exactly its bytes, so that the sanitizer sees a step beyond. */
static uint32_t slot_bytes(bench *b, kq_type type, uint32_t codec, int n_dims, const size_t *dims, size_t bytes) {
    uint32_t i = b->n_slots++;
    kq_tensor *t = &b->slots[i];
    *t = (kq_tensor){.n_dims = (uint8_t)n_dims, .type = (uint8_t)type, .codec = codec, .data = malloc(bytes ? bytes : 1)};
    assert_non_null(t->data);
    memset(t->data, 0xff, bytes); /* NaN, or -1 */
    for (int d = 0; d < n_dims; d++) t->dims[d] = (int64_t)dims[d];
    b->bytes[i] = bytes;
    return i;
}

static size_t product(int n_dims, const size_t *dims) {
    size_t p = 1;
    for (int d = 0; d < n_dims; d++) p *= dims[d];
    return p;
}

#define DIMS(...) (int)(sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t)), (size_t[]){__VA_ARGS__}

static uint32_t floats(bench *b, int n_dims, const size_t *dims) {
    size_t n = product(n_dims, dims);
    uint32_t i = slot_bytes(b, KQ_T_F32, 0, n_dims, dims, n * sizeof(float));
    for (size_t k = 0; k < n; k++) ((float *)b->slots[i].data)[k] = uniform();
    return i;
}

static uint32_t ints(bench *b, size_t limit, int n_dims, const size_t *dims) {
    size_t n = product(n_dims, dims);
    uint32_t i = slot_bytes(b, KQ_T_I32, 0, n_dims, dims, n * sizeof(int32_t));
    for (size_t k = 0; k < n; k++) ((int32_t *)b->slots[i].data)[k] = (int32_t)below(limit);
    return i;
}

static uint32_t output(bench *b, kq_type type, int n_dims, const size_t *dims) {
    return b->step.out = slot_bytes(b, type, 0, n_dims, dims, product(n_dims, dims) * 4);
}

static uint32_t state(bench *b, uint32_t codec, int n_dims, const size_t *dims) {
    return slot_bytes(b, KQ_T_STATE, codec, n_dims, dims, product(n_dims, dims) * (codec == KQ_F16 ? 2 : 4));
}

/* Weights in a codec whose random bytes are all finite: f32, f16, bf16, q8_0; made from floats in [-1, 1). */
__attribute__((unused)) static uint32_t weights(bench *b, uint32_t codec, int n_dims, const size_t *dims) {
    const kq_codec_info *info = kq_codec_describe(codec);
    size_t n = product(n_dims, dims), width = dims[n_dims - 1], n_blocks = n / info->block_weights;
    uint32_t i = slot_bytes(b, KQ_T_WEIGHT, codec, n_dims, dims, n_blocks * info->block_bytes);
    b->slots[i].row_bytes = width / info->block_weights * info->block_bytes;
    uint8_t *to = b->slots[i].data;
    for (size_t k = 0; k < n_blocks; k++, to += info->block_bytes) {
        for (size_t j = 0; j < info->block_bytes; j++) to[j] = (uint8_t)next();
        uint16_t h = kq_f32_to_f16(uniform() / (codec == KQ_Q8_0 ? 127.0f : 1.0f)), bf = kq_f32_to_bf16(uniform());
        float f = uniform();
        memcpy(to, codec == KQ_F32 ? (void *)&f : codec == KQ_BF16 ? (void *)&bf : (void *)&h, codec == KQ_F32 ? 4 : 2);
    }
    return i;
}

__attribute__((unused)) static float *decoded(const bench *b, uint32_t slot) {
    const kq_tensor *t = &b->slots[slot];
    size_t n = 1;
    for (int d = 0; d < t->n_dims; d++) n *= (size_t)t->dims[d];
    float *y = malloc(n * sizeof *y);
    assert_int_equal(kq_dequantize(t->codec, t->data, b->bytes[slot], n, y, n, NULL), KQ_OK);
    return y;
}

/* Runs the step in exactly the scratch it asked for, filled with garbage. */
static void run(bench *b, kq_pool *pool) {
    uint64_t bytes;
    assert_true(kq_exec_scratch(&b->step, 1, b->slots, kq_pool_threads(pool), &bytes));
    kq_allocator a = kq_allocator_of(NULL);
    void *scratch = kq_alloc_raw(&a, 1, bytes);
    assert_non_null(scratch);
    memset(scratch, 0xff, bytes);
    kq_exec_run(&(kq_exec){.table = &b->table, .pool = pool, .slots = b->slots, .exact = b->exact, .scratch = scratch}, &b->step, 1);
    kq_free(&a, scratch);
}

#define F(slot) ((float *)b->slots[slot].data)
#define I(slot) ((int32_t *)b->slots[slot].data)

static void near(double is, double wanted, double bound) {
    if (!(fabs(is - wanted) <= bound)) fail_msg("%.9g instead of %.9g: off by %.3g, bound %.3g", is, wanted, fabs(is - wanted), bound);
}

/* ---- attention -------------------------------------------------------------------------------------------------------- */

typedef struct attention_case {
    size_t tokens, heads, groups, key_width, value_width, positions, first, window;
    uint32_t codec;
} attention_case;

static bench *attention_bench(const attention_case *c) {
    bench *b = bench_open(KQ_OP_attention);
    b->step.in[0] = floats(b, DIMS(c->tokens, c->heads, c->key_width));
    b->step.in[1] = state(b, c->codec, DIMS(c->positions, c->groups, c->key_width));
    b->step.in[2] = state(b, c->codec, DIMS(c->positions, c->groups, c->value_width));
    b->step.in[3] = ints(b, 1, DIMS(c->tokens));
    output(b, KQ_T_F32, DIMS(c->tokens, c->heads, c->value_width));
    b->step.attr[0].f = 1.0 / sqrt((double)c->key_width);
    b->step.attr[1].i = (int64_t)c->window;
    for (size_t t = 0; t < c->tokens; t++) I(b->step.in[3])[t] = (int32_t)(c->first + t);
    for (int s = 1; s <= 2; s++) { /* positions behind the last token stay NaN: nobody may look */
        size_t n = (c->first + c->tokens) * c->groups * (s == 1 ? c->key_width : c->value_width);
        for (size_t i = 0; i < n; i++) {
            if (c->codec == KQ_F32) F(b->step.in[s])[i] = 4 * uniform();
            else ((uint16_t *)b->slots[b->step.in[s]].data)[i] = kq_f32_to_f16(4 * uniform());
        }
    }
    return b;
}

static double cached(const bench *b, uint32_t slot, size_t i) {
    return b->slots[slot].codec == KQ_F32 ? (double)F(slot)[i] : (double)kq_f16_to_f32(((uint16_t *)b->slots[slot].data)[i]);
}

/* Every result against softmax in double. A score is off by e <= (width / 16 + 6) u sum|q k| scale, its exponential by that factor
 * and 2 u, sums of n terms in chunks of 256 by at most (256 + n / 256) u of their magnitudes. */
static void attention_check(const bench *b, const attention_case *c) {
    double *weight = malloc(c->positions * sizeof *weight);
    for (size_t t = 0; t < c->tokens; t++) {
        for (size_t h = 0; h < c->heads; h++) {
            size_t g = h / (c->heads / c->groups), pos = c->first + t;
            size_t low = c->window && pos + 1 > c->window ? pos + 1 - c->window : 0;
            double max = -INFINITY, sum = 0, off = 0;
            for (size_t p = low; p <= pos; p++) {
                double s = 0, magnitude = 0;
                for (size_t d = 0; d < c->key_width; d++) {
                    double term = (double)F(b->step.in[0])[(t * c->heads + h) * c->key_width + d] *
                                  cached(b, b->step.in[1], (p * c->groups + g) * c->key_width + d);
                    s += term;
                    magnitude += fabs(term);
                }
                weight[p] = s * b->step.attr[0].f;
                max = fmax(max, weight[p]);
                off = fmax(off, ((double)c->key_width / 16 + 6) * U * magnitude * b->step.attr[0].f);
            }
            off += 2 * U * fabs(max); /* the difference to the maximum is rounded */
            for (size_t p = low; p <= pos; p++) sum += weight[p] = exp(weight[p] - max);
            double n = (double)(pos + 1 - low), relative = 2 * (2 * off + 4 * U + (fmin(n, 256) + 3 * n / 256 + 8) * U);
            for (size_t d = 0; d < c->value_width; d++) {
                double y = 0, magnitude = 0;
                for (size_t p = low; p <= pos; p++) {
                    double term = weight[p] / sum * cached(b, b->step.in[2], (p * c->groups + g) * c->value_width + d);
                    y += term;
                    magnitude += fabs(term);
                }
                near((double)F(b->step.out)[(t * c->heads + h) * c->value_width + d], y, relative * magnitude);
            }
        }
    }
    free(weight);
}

static void attention_meets_its_definition(void **unused) {
    (void)unused;
    static const attention_case cases[] = {
        {1, 1, 1, 1, 1, 1, 0, 0, KQ_F32},           {1, 4, 2, 64, 64, 700, 600, 0, KQ_F16}, {7, 6, 3, 24, 16, 40, 0, 0, KQ_F16},
        {3, 8, 1, 32, 48, 1200, 1000, 0, KQ_F32},   {40, 4, 4, 16, 16, 300, 240, 0, KQ_F16}, {40, 4, 2, 16, 16, 300, 240, 6, KQ_F32},
        {5, 2, 2, 17, 33, 600, 510, 1, KQ_F16},     {4, 2, 1, 128, 128, 600, 255, 256, KQ_F16}, {20, 3, 3, 5, 7, 600, 500, 257, KQ_F32},
        {33, 2, 2, 8, 8, 560, 512, 300, KQ_F16},    {2, 2, 2, 256, 256, 20, 7, 1000, KQ_F16},
    };
    for (size_t i = 0; i < KQ_COUNT(cases); i++) {
        bench *b = attention_bench(&cases[i]);
        run(b, NULL);
        attention_check(b, &cases[i]);
        bench_close(b);
    }
    for (int i = 0; i < 60; i++) {
        attention_case c = {.groups = between(1, 3), .key_width = between(1, 70), .value_width = between(1, 70)};
        c.heads = c.groups * between(1, 4);
        c.tokens = between(1, 36);
        c.first = below(2) ? 0 : below(700);
        c.positions = c.first + c.tokens + below(9);
        c.window = below(2) ? 0 : between(1, 400);
        c.codec = below(2) ? KQ_F16 : KQ_F32;
        bench *b = attention_bench(&c);
        run(b, NULL);
        attention_check(b, &c);
        bench_close(b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_meets_its_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
