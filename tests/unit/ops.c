/* SPDX-License-Identifier: MIT */
/* cpu: every operation of ops.def against its definition in double precision, on random shapes. Bounds come from the data: the
 * number of roundings times 2^-24 times the sum of the magnitudes that were added. */
#include "random.h"

#include "base/numeric.h"
#include "cpu/cpu.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define U 0x1p-24 /* half an ulp of 1 */

static size_t between(size_t low, size_t high) { return low + below(high - low + 1); }

/* ---- one step on its own ---------------------------------------------------------------------------------------------- */

enum { MOST_SLOTS = 8 };

typedef struct bench {
    kq_tensor slots[MOST_SLOTS];
    size_t bytes[MOST_SLOTS];
    uint32_t n_slots;
    kq_step step;
    bool by_token[MOST_SLOTS]; /* the first dimension is the batch */
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

/* A slot of exactly its bytes, so that the sanitizer sees a step beyond. Floats, ints and outputs are taken to be by token. */
static uint32_t slot_bytes(bench *b, kq_type type, uint32_t codec, int n_dims, const size_t *dims, size_t bytes) {
    uint32_t i = b->n_slots++;
    kq_tensor *t = &b->slots[i];
    *t = (kq_tensor){.n_dims = (uint8_t)n_dims, .type = (uint8_t)type, .codec = codec, .data = malloc(bytes ? bytes : 1)};
    assert_non_null(t->data);
    memset(t->data, 0xff, bytes); /* NaN, or -1 */
    for (int d = 0; d < n_dims; d++) t->dims[d] = (int64_t)dims[d];
    b->bytes[i] = bytes;
    b->by_token[i] = type == KQ_T_F32 || type == KQ_T_I32;
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

/* A norm's weight, a bias, or factors: 1-dimensional f32 weights in [0.5, 1.5). */
static uint32_t vector(bench *b, size_t n) {
    uint32_t i = slot_bytes(b, KQ_T_WEIGHT, KQ_F32, 1, &n, n * sizeof(float));
    for (size_t k = 0; k < n; k++) ((float *)b->slots[i].data)[k] = 1 + uniform() / 2;
    return i;
}

/* Weights in [-1, 1) in a codec that is easily made: f32, f16, bf16, q8_0. */
static uint32_t weights(bench *b, uint32_t codec, int n_dims, const size_t *dims) {
    const kq_codec_info *info = kq_codec_describe(codec);
    size_t n = product(n_dims, dims), width = dims[n_dims - 1], n_blocks = n / info->block_weights;
    uint32_t i = slot_bytes(b, KQ_T_WEIGHT, codec, n_dims, dims, n_blocks * info->block_bytes);
    b->slots[i].row_bytes = width / info->block_weights * info->block_bytes;
    uint8_t *to = b->slots[i].data;
    for (size_t k = 0; k < n_blocks; k++, to += info->block_bytes) {
        for (size_t j = 0; j < info->block_bytes; j++) to[j] = (uint8_t)next_random();
        uint16_t h = kq_f32_to_f16(uniform() / (codec == KQ_Q8_0 ? 127.0f : 1.0f)), bf = kq_f32_to_bf16(uniform());
        float f = uniform();
        memcpy(to, codec == KQ_F32 ? (void *)&f : codec == KQ_BF16 ? (void *)&bf : (void *)&h, codec == KQ_F32 ? 4 : 2);
    }
    return i;
}

static float *decoded(const bench *b, uint32_t slot) {
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

/* The same step over tokens [first, first + n), writing where it writes. */
static bench part_of(const bench *b, size_t first, size_t n) {
    bench part = *b;
    for (uint32_t i = 0; i < b->n_slots; i++) {
        if (!b->by_token[i]) continue;
        part.slots[i].data = (char *)b->slots[i].data + b->bytes[i] / (size_t)b->slots[i].dims[0] * first;
        part.slots[i].dims[0] = (int64_t)n;
    }
    return part;
}

/* The step's results do not change by a bit with the cut of the batch, the threads, and (exact mode) the kernels. */
static void same_whatever_the_cut(bench *b, size_t tokens) {
    static const uint32_t masks[] = {KQ_CPU_ALL, KQ_CPU_AVX2, 0};
    uint32_t out = b->step.out;
    size_t bytes = b->bytes[out];
    uint8_t *wanted = malloc(bytes + 1);
    for (int exact = 1; exact >= 0; exact--) {
        b->exact = exact;
        for (size_t mask = 0; mask < KQ_COUNT(masks); mask++) {
            kq_cpu_select(&b->table, kq_cpu_features() & masks[mask]);
            for (int threads = 1; threads <= 3; threads++) {
                kq_pool *pool;
                assert_int_equal(kq_pool_open(&pool, threads, NULL, NULL), KQ_OK);
                memset(b->slots[out].data, 0xff, bytes);
                run(b, pool);
                if (threads == 1 && (!exact || mask == 0)) memcpy(wanted, b->slots[out].data, bytes);
                assert_memory_equal(b->slots[out].data, wanted, bytes);
                memset(b->slots[out].data, 0xff, bytes);
                for (size_t first = 0, n; first < tokens; first += n) {
                    n = threads == 2 ? 1 : between(1, tokens - first);
                    bench part = part_of(b, first, n);
                    run(&part, pool);
                }
                assert_memory_equal(b->slots[out].data, wanted, bytes);
                kq_pool_close(pool);
            }
        }
    }
    free(wanted);
}

/* ---- embed, pick_rows, cache_write: bytes that move --------------------------------------------------------------------- */

static const uint32_t codecs[] = {KQ_F32, KQ_F16, KQ_BF16, KQ_Q8_0};

static void rows_move(void **unused) {
    (void)unused;
    for (int round = 0; round < 40; round++) {
        size_t tokens = between(1, 50), width = 32 * between(1, 9), rows = between(1, 20);
        bench *b = bench_open(KQ_OP_embed);
        uint32_t w = b->step.in[0] = weights(b, codecs[round % 4], DIMS(rows, width)), ids = b->step.in[1] = ints(b, rows, DIMS(tokens));
        uint32_t y = output(b, KQ_T_F32, DIMS(tokens, width));
        b->step.attr[0].f = round % 3 ? 1 : sqrt((double)width);
        run(b, NULL);
        float *table = decoded(b, w);
        for (size_t i = 0; i < tokens * width; i++) {
            assert_true(F(y)[i] == (float)b->step.attr[0].f * table[(size_t)I(ids)[i / width] * width + i % width]);
        }
        free(table);
        same_whatever_the_cut(b, tokens);
        bench_close(b);

        b = bench_open(KQ_OP_pick_rows);
        uint32_t x = b->step.in[0] = floats(b, DIMS(tokens, width));
        uint32_t picked = b->step.in[1] = ints(b, tokens, DIMS(rows));
        y = output(b, KQ_T_F32, DIMS(rows, width));
        run(b, NULL);
        for (size_t r = 0; r < rows; r++) {
            assert_memory_equal(F(y) + r * width, F(x) + (size_t)I(picked)[r] * width, width * sizeof(float));
        }
        bench_close(b);
    }
}

static void cache_write_puts_rows_at_positions(void **unused) {
    (void)unused;
    for (int round = 0; round < 20; round++) {
        size_t tokens = between(1, 20), heads = between(1, 4), width = between(1, 70), first = below(30), positions = first + tokens + below(5);
        uint32_t codec = round % 2 ? KQ_F16 : KQ_F32;
        bench *b = bench_open(KQ_OP_cache_write);
        uint32_t x = b->step.in[0] = floats(b, DIMS(tokens, heads, width)), pos = b->step.in[1] = ints(b, 1, DIMS(tokens));
        uint32_t cache = b->step.in[2] = b->step.out = state(b, codec, DIMS(positions, heads, width));
        for (size_t t = 0; t < tokens; t++) I(pos)[t] = (int32_t)(first + t);
        F(x)[below(tokens * heads * width)] = 1e6f; /* infinite in f16 */
        run(b, NULL);
        for (size_t i = 0; i < positions * heads * width; i++) {
            size_t p = i / (heads * width);
            bool written = p >= first && p < first + tokens;
            float v = written ? F(x)[i - first * heads * width] : 0;
            if (codec == KQ_F16) assert_int_equal(((uint16_t *)b->slots[cache].data)[i], written ? kq_f32_to_f16(v) : 0xffff);
            else assert_int_equal(((uint32_t *)b->slots[cache].data)[i], written ? kq_f32_to_bits(v) : 0xffffffff);
        }
        same_whatever_the_cut(b, tokens);
        bench_close(b);
    }
}

/* ---- linear, linear_gather ------------------------------------------------------------------------------------------------ */

/* Sums of K products in 16 lanes and a tree: K / 16 + 6 roundings of what is added, and the products' own. */
static double product_bound(size_t n_cols, double magnitude) { return ((double)n_cols / 16 + 8) * U * magnitude; }

static void linear_multiplies(void **unused) {
    (void)unused;
    for (int round = 0; round < 24; round++) {
        size_t rows = between(1, 90), cols = 32 * between(1, 20), experts = between(1, 5), used = between(1, experts);
        bool gather = round % 2, per_use = round % 4 == 1;
        size_t tokens = between(1, 16 / (gather ? used : 1)); /* above, the fast mode's bits are those of tiles: unit/matmul.c */
        bench *b = bench_open(gather ? KQ_OP_linear_gather : KQ_OP_linear);
        uint32_t codec = codecs[round / 2 % 4];
        uint32_t w = gather ? weights(b, codec, DIMS(experts, rows, cols)) : weights(b, codec, DIMS(rows, cols));
        uint32_t x = gather ? floats(b, DIMS(tokens, per_use ? used : 1, cols)) : floats(b, DIMS(tokens, cols));
        uint32_t third = gather ? ints(b, experts, DIMS(tokens, used)) : round % 3 ? vector(b, rows) : KQ_NO_SLOT;
        uint32_t y = gather ? output(b, KQ_T_F32, DIMS(tokens, used, rows)) : output(b, KQ_T_F32, DIMS(tokens, rows));
        b->step.in[0] = w;
        b->step.in[1] = x;
        b->step.in[2] = third;
        if (!gather) used = 1;
        run(b, NULL);
        float *table = decoded(b, w);
        for (size_t i = 0; i < tokens * used * rows; i++) {
            size_t n = i % rows, u = i / rows % used, t = i / rows / used;
            const float *a = table + ((gather ? (size_t)I(third)[t * used + u] : 0) * rows + n) * cols;
            const float *v = F(x) + (per_use ? t * used + u : t) * cols;
            double sum = 0, magnitude = 0;
            for (size_t k = 0; k < cols; k++) {
                sum += (double)a[k] * (double)v[k];
                magnitude += fabs((double)a[k] * (double)v[k]);
            }
            if (!gather && third != KQ_NO_SLOT) {
                sum += (double)F(third)[n];
                magnitude += fabs((double)F(third)[n]);
            }
            near((double)F(y)[i], sum, product_bound(cols, magnitude));
        }
        free(table);
        same_whatever_the_cut(b, tokens);
        bench_close(b);
    }
}

/* ---- rms_norm --------------------------------------------------------------------------------------------------------------- */

static void rms_norm_normalises(void **unused) {
    (void)unused;
    for (int round = 0; round < 30; round++) {
        size_t tokens = between(1, 40), heads = between(1, 4), width = round == 0 ? 40000 : between(1, 300);
        bench *b = bench_open(KQ_OP_rms_norm);
        uint32_t x = b->step.in[0] = floats(b, DIMS(tokens, heads, width)), w = b->step.in[1] = vector(b, width);
        uint32_t y = output(b, KQ_T_F32, DIMS(tokens, heads, width));
        float scale = round % 3 == 1 ? 1e15f : round % 3 == 2 ? 1e-15f : 1; /* squares near the ends of float */
        for (size_t i = 0; i < tokens * heads * width; i++) F(x)[i] *= scale;
        b->step.attr[0].f = round % 2 ? 1e-6 : 1e-5;
        run(b, NULL);
        for (size_t r = 0; r < tokens * heads; r++) {
            double sum = 0;
            for (size_t i = 0; i < width; i++) sum += (double)F(x)[r * width + i] * (double)F(x)[r * width + i];
            double rms = sqrt(sum / (double)width + (double)(float)b->step.attr[0].f);
            for (size_t i = 0; i < width; i++) { /* mean, + eps, root, 1 / root, and two products: 6 roundings; the root halves two of them */
                double wanted = (double)F(x)[r * width + i] / rms * (double)F(w)[i];
                near((double)F(y)[r * width + i], wanted, 5.5 * U * fabs(wanted) + 0x1p-149);
            }
        }
        same_whatever_the_cut(b, tokens);
        bench_close(b);
    }
}

/* ---- rope ------------------------------------------------------------------------------------------------------------------- */

static void rope_rotates(void **unused) {
    (void)unused;
    for (int round = 0; round < 60; round++) {
        size_t tokens = between(1, 20), heads = between(1, 4), width = 2 * between(1, 70) + (size_t)(round % 3 == 0), pairs = between(1, width / 2);
        if (round % 2) pairs = width / 2;
        bench *b = bench_open(KQ_OP_rope);
        uint32_t x = b->step.in[0] = floats(b, DIMS(tokens, heads, width)), pos = b->step.in[1] = ints(b, 1, DIMS(tokens));
        uint32_t f = b->step.in[2] = round % 5 < 2 ? vector(b, pairs) : KQ_NO_SLOT;
        uint32_t y = output(b, KQ_T_F32, DIMS(tokens, heads, width));
        size_t first = round % 7 == 0 ? 0 : round % 7 == 1 ? 1000000 : below(40000);
        for (size_t t = 0; t < tokens; t++) I(pos)[t] = (int32_t)(first + t);
        bool halves = below(2);
        double base = round % 4 ? 10000 : 1e6, scale = round % 6 == 5 ? 0.125 : 1;
        b->step.attr[0].i = (int64_t)(2 * pairs);
        b->step.attr[1].i = halves;
        b->step.attr[2].f = base;
        b->step.attr[3].f = scale;
        run(b, NULL);
        for (size_t r = 0; r < tokens * heads; r++) {
            const float *from = F(x) + r * width, *to = F(y) + r * width;
            for (size_t i = 0; i < pairs; i++) {
                long double angle = (long double)I(pos)[r / heads] * (long double)scale * powl((long double)base, -2.0L * i / (2.0L * pairs));
                if (f != KQ_NO_SLOT) angle /= (long double)F(f)[i];
                size_t at = halves ? i : 2 * i, other = halves ? i + pairs : 2 * i + 1;
                double p = (double)from[at], q = (double)from[other], c = (double)cosl(angle), s = (double)sinl(angle);
                /* cosine and sine, products, sum: 3 roundings; the frequency is off by (i + 4) * 2^-52 */
                double bound = (3 * U + fabs((double)angle) * ((double)i + 4) * 0x1p-52 + 0x1p-50) * (fabs(p) + fabs(q));
                near((double)to[at], p * c - q * s, bound);
                near((double)to[other], p * s + q * c, bound);
            }
            assert_memory_equal(to + 2 * pairs, from + 2 * pairs, (width - 2 * pairs) * sizeof *to);
        }
        same_whatever_the_cut(b, tokens);
        bench_close(b);
    }
}

/* ---- add, silu_mul, gelu_mul -------------------------------------------------------------------------------------------------- */

static void elementwise(void **unused) {
    (void)unused;
    for (int round = 0; round < 30; round++) {
        static const kq_op ops[] = {KQ_OP_add, KQ_OP_silu_mul, KQ_OP_gelu_mul};
        kq_op op = ops[round % 3];
        size_t tokens = between(1, 40), width = round < 6 ? 5000 : between(1, 300), n = tokens * width;
        bench *b = bench_open(op);
        uint32_t a = b->step.in[0] = floats(b, DIMS(tokens, width)), c = b->step.in[1] = floats(b, DIMS(tokens, width));
        uint32_t y = output(b, KQ_T_F32, DIMS(tokens, width));
        for (size_t i = 0; i < n; i++) F(a)[i] *= 12;
        run(b, NULL);
        for (size_t i = 0; i < n; i++) {
            double p = (double)F(a)[i], q = (double)F(c)[i], u2 = 2 * sqrt(2 / 3.14159265358979323846) * (p + 0.044715 * p * p * p);
            if (op == KQ_OP_add) near((double)F(y)[i], p + q, U * fabs(p + q));
            if (op == KQ_OP_silu_mul) near((double)F(y)[i], p / (1 + exp(-p)) * q, 5 * U * fabs(p / (1 + exp(-p)) * q));
            if (op == KQ_OP_gelu_mul) near((double)F(y)[i], p / (1 + exp(-u2)) * q, (5 + 6 * fabs(u2)) * U * fabs(p / (1 + exp(-u2)) * q) + 0x1p-121);
        }
        same_whatever_the_cut(b, tokens);
        float *result = malloc(n * sizeof *result);
        memcpy(result, F(y), n * sizeof *result);
        b->step.out = a; /* in place */
        run(b, NULL);
        assert_memory_equal(F(a), result, n * sizeof *result);
        free(result);
        bench_close(b);
    }
}

/* ---- router_pick, router_weights, combine ------------------------------------------------------------------------------------- */

static void router(void **unused) {
    (void)unused;
    for (int round = 0; round < 60; round++) {
        size_t tokens = between(1, 60), experts = between(1, 130), used = between(1, KQ_MIN(experts, 9));
        bench *b = bench_open(KQ_OP_router_pick);
        uint32_t x = b->step.in[0] = floats(b, DIMS(tokens, experts)), idx = output(b, KQ_T_I32, DIMS(tokens, used));
        for (size_t i = 0; i < tokens * experts; i++) {
            F(x)[i] = round % 2 ? (float)(int)(4 * F(x)[i]) : 9 * F(x)[i]; /* ties, or hardly any */
            if (round % 5 == 0 && below(3) == 0) F(x)[i] = below(2) ? NAN : below(2) ? INFINITY : -INFINITY;
        }
        run(b, NULL);
        for (size_t t = 0; t < tokens; t++) {
            const float *v = F(x) + t * experts;
            bool taken[130] = {false};
            for (size_t u = 0; u < used; u++) { /* the definition: again and again the first largest that is left, NaN last */
                size_t best = SIZE_MAX;
                for (size_t e = 0; e < experts; e++) {
                    if (taken[e]) continue;
                    if (best == SIZE_MAX || v[e] > v[best] || (isnan(v[best]) && !isnan(v[e]))) best = e;
                }
                taken[best] = true;
                assert_int_equal(I(idx)[t * used + u], best);
            }
        }
        same_whatever_the_cut(b, tokens);
        bench_close(b);
        if (round % 5 == 0) continue; /* weights of infinities and NaN are NaN */

        b = bench_open(KQ_OP_router_weights);
        x = b->step.in[0] = floats(b, DIMS(tokens, experts));
        idx = b->step.in[1] = ints(b, experts, DIMS(tokens, used));
        uint32_t w = output(b, KQ_T_F32, DIMS(tokens, used));
        for (size_t i = 0; i < tokens * experts; i++) F(x)[i] *= 9;
        b->step.attr[0].i = round % 2;
        b->step.attr[1].f = round % 3 ? 1 : 2.5;
        run(b, NULL);
        for (size_t t = 0; t < tokens; t++) {
            const float *v = F(x) + t * experts;
            double max = -INFINITY, sum = 0, picked = 0;
            for (size_t e = 0; e < experts; e++) max = fmax(max, (double)v[e]);
            for (size_t e = 0; e < experts; e++) sum += exp((double)v[e] - max);
            for (size_t u = 0; u < used; u++) picked += exp((double)v[I(idx)[t * used + u]] - max) / sum;
            for (size_t u = 0; u < used; u++) {
                double wanted = exp((double)v[I(idx)[t * used + u]] - max) / sum / (round % 2 ? picked : 1) * b->step.attr[1].f;
                /* the difference to the maximum is below 18: 18 u; exponentials 2 u; sums of E and U terms; 3 divisions and products */
                near((double)F(w)[t * used + u], wanted, (2 * (18 + 2) + (double)experts + (double)used + 4) * U * wanted);
            }
        }
        same_whatever_the_cut(b, tokens);
        bench_close(b);
    }
}

static void combine_adds_in_order(void **unused) {
    (void)unused;
    for (int round = 0; round < 20; round++) {
        size_t tokens = between(1, 30), used = between(1, 8), width = between(1, 600);
        bench *b = bench_open(KQ_OP_combine);
        uint32_t y = b->step.in[0] = floats(b, DIMS(tokens, used, width)), w = b->step.in[1] = floats(b, DIMS(tokens, used));
        uint32_t z = output(b, KQ_T_F32, DIMS(tokens, width));
        run(b, NULL);
        for (size_t i = 0; i < tokens * width; i++) {
            double sum = 0, magnitude = 0;
            for (size_t u = 0; u < used; u++) {
                double term = (double)F(w)[i / width * used + u] * (double)F(y)[(i / width * used + u) * width + i % width];
                sum += term;
                magnitude += fabs(term);
            }
            near((double)F(z)[i], sum, (double)(used + 1) * U * magnitude);
        }
        same_whatever_the_cut(b, tokens);
        bench_close(b);
    }
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
        same_whatever_the_cut(b, cases[i].tokens);
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
        if (i % 3 == 0) same_whatever_the_cut(b, c.tokens);
        bench_close(b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_move),
        cmocka_unit_test(cache_write_puts_rows_at_positions),
        cmocka_unit_test(linear_multiplies),
        cmocka_unit_test(rms_norm_normalises),
        cmocka_unit_test(rope_rotates),
        cmocka_unit_test(elementwise),
        cmocka_unit_test(router),
        cmocka_unit_test(combine_adds_in_order),
        cmocka_unit_test(attention_meets_its_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
