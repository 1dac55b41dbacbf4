/* SPDX-License-Identifier: MIT */
/* The checks: each operation's definition, and data of every kind and size run against it between guard pages.
 *
 * Kernels that are EXACTLY the definition must have its bits (any NaN is as good as another). The others sum in an order of their own:
 * where each term t was rounded at most c times and passes through at most n additions, the sum is off by at most
 * (n + c) * 2^-24 * sum |t| to first order, plus what underflow takes. The definition is evaluated in double, whose own error is
 * 2^-29 of that. */
#include "check.h"

#include "codec/blocks.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

static buffer weights, inputs, outputs;
static float *expected, *scratch; /* plain memory of the buffers' size */
enum { BUFFER = 4 << 20 };

static void open_buffers(void) {
    if (expected) return;
    buffer_open(&weights, BUFFER);
    buffer_open(&inputs, BUFFER);
    buffer_open(&outputs, BUFFER);
    expected = aligned_alloc(64, BUFFER);
    scratch = aligned_alloc(64, 8 * BUFFER);
    if (!expected || !scratch) exit(1);
}

static bool same(float a, float b) { return kq_f32_to_bits(a) == kq_f32_to_bits(b) || (a != a && b != b); }

static void compare_floats(const float *got, const float *want, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (same(got[i], want[i])) continue;
        case_failed("value %zu is %a, must be %a", i, (double)got[i], (double)want[i]);
        return;
    }
}

static void finish_case(void) {
    if (!buffer_whole(&weights) || !buffer_whole(&inputs)) case_failed("wrote round an input");
    if (!buffer_whole(&outputs)) case_failed("wrote outside the result");
    n_cases++;
}

/* ---- decode, stream ---------------------------------------------------------------------------------------------------------- */

static void decode_case(const kq_kernel *k, const kq_codec_info *c, size_t n_blocks, int kind, place where) {
    case_name("%s: %zu blocks of %s, %s, at %s", k->name, n_blocks, c->name, kind < N_WEIGHTS ? weights_names[kind] : "any bytes", place_names[where]);
    size_t n = n_blocks * c->block_weights;
    uint8_t *src = buffer_place(&weights, n_blocks * c->block_bytes, where, 1);
    buffer_place(&inputs, 0, AT_START, 1);
    float *dst = buffer_place(&outputs, n * sizeof(float), where, sizeof(float));
    if (kind < N_WEIGHTS) {
        make_weights(c, (weights_kind)kind, src, n_blocks);
    } else {
        for (size_t i = 0; i < n_blocks * c->block_bytes; i++) src[i] = (uint8_t)random_u32();
    }
    kq_codec_decoder(c->codec)(src, n_blocks, expected);
    buffer_protect(&weights);
    if (k->op == KQ_KERNEL_stream) ((kq_stream_fn *)k->fn)(kq_codec_decoder(c->codec), src, n_blocks, c->block_bytes, c->block_weights, dst, true);
    else ((kq_decode_fn *)k->fn)(src, n_blocks, dst);
    compare_floats(dst, expected, n);
    finish_case();
}

static void check_decode(const kq_kernel *k) {
    const kq_codec_info *c = kq_codec_describe(k->codec);
    static const size_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 64, 131};
    for (size_t s = 0; s < KQ_COUNT(sizes); s++)
        for (int kind = 0; kind <= N_WEIGHTS; kind++)
            for (int where = 0; where < N_PLACES; where++) decode_case(k, c, sizes[s], kind, (place)where);
}

static void check_stream(const kq_kernel *k) {
    static const uint32_t codecs[] = {KQ_F16, KQ_Q4_0, KQ_NVFP4, KQ_Q6_K};
    static const size_t sizes[] = {1, 3, 8, 15, 16, 33, 131, 1024, 1025, 2500};
    for (size_t i = 0; i < KQ_COUNT(codecs); i++) {
        const kq_codec_info *c = kq_codec_describe(codecs[i]);
        for (size_t s = 0; s < KQ_COUNT(sizes); s++)
            for (int where = 0; where < N_PLACES && sizes[s] * c->block_weights <= 131 * 256; where++) decode_case(k, c, sizes[s], WEIGHTS_RANDOM, (place)where);
    }
}

/* ---- exact ----------------------------------------------------------------------------------------------------------- */

static void exact_case(const kq_kernel *k, size_t n, size_t m, floats_kind kind, place where) {
    case_name("%s: %zu weights, m %zu, %s, at %s", k->name, n, m, floats_names[kind], place_names[where]);
    float *w = buffer_place(&weights, KQ_EXACT_ROWS * n * sizeof(float), where, sizeof(float));
    float *x = buffer_place(&inputs, m * n * sizeof(float), where, sizeof(float));
    size_t lanes_bytes = m * sizeof(float[KQ_EXACT_ROWS][KQ_EXACT_LANES]);
    float(*lanes)[KQ_EXACT_ROWS][KQ_EXACT_LANES] = buffer_place(&outputs, lanes_bytes, where, sizeof(float));
    make_floats(kind, w, KQ_EXACT_ROWS * n);
    make_floats(kind, x, m * n);
    make_floats(kind, (float *)lanes, lanes_bytes / sizeof(float)); /* sums that are under way */
    memcpy(expected, lanes, lanes_bytes);
    const float *w_rows[KQ_EXACT_ROWS], *x_rows[64];
    for (size_t i = 0; i < KQ_EXACT_ROWS; i++) w_rows[i] = w + i * n;
    for (size_t j = 0; j < m; j++) x_rows[j] = x + j * n;
    for (size_t j = 0; j < m; j++) /* the definition, from the words in kernels.h */
        for (size_t i = 0; i < KQ_EXACT_ROWS; i++)
            for (size_t e = 0; e < n; e++) {
                float product = w_rows[i][e] * x_rows[j][e], *lane = expected + (j * KQ_EXACT_ROWS + i) * KQ_EXACT_LANES + e % 16;
                *lane = *lane + product;
            }
    buffer_protect(&weights);
    buffer_protect(&inputs);
    ((kq_exact_fn *)k->fn)(w_rows, x_rows, m, n, lanes);
    compare_floats((float *)lanes, expected, lanes_bytes / sizeof(float));
    finish_case();
}

static void check_exact(const kq_kernel *k) {
    static const size_t sizes[] = {1, 15, 16, 17, 31, 32, 48, 100, 256, 512, 4099};
    for (size_t s = 0; s < KQ_COUNT(sizes); s++)
        for (size_t m = 1; m <= 11; m += m < 9 ? 1 : 2)
            for (int where = 0; where < N_PLACES; where++)
                exact_case(k, sizes[s], m, m % 2 ? FLOATS_SPECIAL : FLOATS_GAUSSIAN, (place)where);
}

/* ---- act8 ------------------------------------------------------------------------------------------------------------ */

/* The promises of kernels.h, from its words. */
static void check_group(const float *x, size_t n, const kq_act8 *a, size_t g) {
    float most = 0, scale = a->scale[g];
    bool special = false;
    for (size_t i = 0; i < n; i++) {
        special |= !isfinite(x[i]);
        most = fmaxf(most, fabsf(x[i]));
    }
    int32_t total[2] = {0, 0};
    for (size_t i = 0; i < KQ_ACT_GROUP; i++) {
        int q = a->q[g * KQ_ACT_GROUP + i];
        float v = i < n ? x[i] : 0;
        total[i / 16] += q;
        if (q < -127) case_failed("group %zu: q is -128", g);
        if (special || most < 0x1p-120f || i >= n) {
            if (q != 0) case_failed("group %zu: q is %d where it must be 0", g, q);
        } else if (fabs((double)v - (double)scale * q) > (double)scale * (0.5 + 127 * 0x1p-22)) { /* half a step and the rounding of scale and inverse */
            case_failed("group %zu: %a became %d * %a", g, (double)v, q, (double)scale);
        }
    }
    float none = special ? NAN : most < 0x1p-120f ? 0.0f : most / 127.0f;
    if (!same(scale, none)) case_failed("group %zu: scale is %a, must be %a", g, (double)scale, (double)none);
    for (size_t h = 0; h < 2; h++) {
        float sum = scale * (float)total[h];
        if (!same(a->sum16[2 * g + h], sum)) case_failed("group %zu: half sum %zu is %a, must be %a", g, h, (double)a->sum16[2 * g + h], (double)sum);
    }
    float sum = scale * (float)(total[0] + total[1]);
    if (!same(a->sum[g], sum)) case_failed("group %zu: sum is %a, must be %a", g, (double)a->sum[g], (double)sum);
}

static void act8_case(const kq_kernel *k, size_t n, floats_kind kind, place where) {
    case_name("%s: %zu floats, %s, at %s", k->name, n, floats_names[kind], place_names[where]);
    buffer_place(&weights, 0, AT_START, 1);
    float *x = buffer_place(&inputs, n * sizeof(float), where, sizeof(float));
    size_t n_blocks = kq_act8_blocks(n);
    kq_act8 *out = buffer_place(&outputs, n_blocks * sizeof(kq_act8), where, 64);
    make_floats(kind, x, n);
    if (kind == FLOATS_GAUSSIAN && n > 40) memset(x, 0, 40 * sizeof(float)); /* a group of zeros */
    buffer_protect(&inputs);
    ((kq_act8_fn *)k->fn)(x, n, out);
    kq_act8 *want = (kq_act8 *)(void *)expected;
    kq_act8_f32_generic(x, n, want);
    if (memcmp(out, want, n_blocks * sizeof *out)) case_failed("differs from the generic kernel");
    for (size_t at = 0; at < n_blocks * KQ_ACT_WEIGHTS; at += KQ_ACT_GROUP)
        check_group(x + KQ_MIN(at, n), at < n ? KQ_MIN(n - at, KQ_ACT_GROUP) : 0, out + at / KQ_ACT_WEIGHTS, at % KQ_ACT_WEIGHTS / KQ_ACT_GROUP);
    finish_case();
}

static void check_act8(const kq_kernel *k) {
    static const size_t sizes[] = {1, 2, 15, 16, 17, 31, 32, 33, 64, 172, 255, 256, 257, 288, 512, 1000, 4096};
    for (size_t s = 0; s < KQ_COUNT(sizes); s++)
        for (int kind = 0; kind < N_FLOATS; kind++)
            for (int where = 0; where < N_PLACES; where++) act8_case(k, sizes[s], (floats_kind)kind, (place)where);
}

/* ---- rows1 and rowsm ------------------------------------------------------------------------------------------------- */

/* Integer kernels take a weight apart: w = a * code + offset, and sum both parts, so what w x is does not bound the terms. The offset is what a
 * weight would be with code `zero`. Where a codec is not in this table, its kernels must not need an offset. */
static const struct {
    uint32_t codec;
    size_t at, size;
    uint8_t zero;
} codes[] = {
#define KQ_CODES(CODEC, id, field, zero) {CODEC, offsetof(kq_block_##id, field), sizeof(((kq_block_##id *)0)->field), zero}
    KQ_CODES(KQ_Q4_K, q4_k, qs, 0), KQ_CODES(KQ_Q5_K, q5_k, qs, 0), KQ_CODES(KQ_Q5_K, q5_k, qh, 0),
    KQ_CODES(KQ_Q6_K, q6_k, ql, 0), KQ_CODES(KQ_Q6_K, q6_k, qh, 0), KQ_CODES(KQ_Q8_0, q8_0, qs, 0x80),
    KQ_CODES(KQ_Q4_0, q4_0, qs, 0), KQ_CODES(KQ_Q4_1, q4_1, qs, 0), KQ_CODES(KQ_Q5_0, q5_0, qs, 0), KQ_CODES(KQ_Q5_0, q5_0, qh, 0),
    KQ_CODES(KQ_Q5_1, q5_1, qs, 0), KQ_CODES(KQ_Q5_1, q5_1, qh, 0), KQ_CODES(KQ_Q2_K, q2_k, qs, 0), KQ_CODES(KQ_Q3_K, q3_k, qs, 0),
    KQ_CODES(KQ_Q3_K, q3_k, hmask, 0), KQ_CODES(KQ_TQ1_0, tq1_0, qs, 0), KQ_CODES(KQ_TQ1_0, tq1_0, qh, 0), KQ_CODES(KQ_TQ2_0, tq2_0, qs, 0),
    KQ_CODES(KQ_Q1_0, q1_0, qs, 0), KQ_CODES(KQ_Q2_0, q2_0, qs, 0),
    /* levels become unsigned: the code that names the least */
    KQ_CODES(KQ_IQ4_NL, iq4_nl, qs, 0), KQ_CODES(KQ_IQ4_XS, iq4_xs, qs, 0), KQ_CODES(KQ_MXFP4, mxfp4, qs, 0xff), KQ_CODES(KQ_NVFP4, nvfp4, qs, 0xff),
};

/* Where levels with signs become unsigned and no code names the least: the offset in scales, over the largest level of the format. From the largest
 * weight of a group it gives at most what the offset is, so again the check may be too strict. */
static const struct {
    uint32_t codec;
    size_t group;
    float share;
} signed_levels[] = {
    {KQ_IQ2_XXS, 32, 128.0f / 43}, {KQ_IQ2_XS, 16, 128.0f / 43}, {KQ_IQ2_S, 16, 128.0f / 43}, {KQ_IQ3_XXS, 32, 128.0f / 62},
    {KQ_IQ3_S, 32, 128.0f / 15},   {KQ_IQ1_S, 32, 16.0f / 9},   {KQ_IQ1_M, 16, 16.0f / 9},
};

/* values[k]: the weights of a block; offsets[k]: the part of each that is not its code's. */
static void split_block(const kq_codec_info *c, const uint8_t *block, float *values, double *offsets) {
    uint8_t copy[1024];
    float decoded[256];
    bool any = false;
    memcpy(copy, block, c->block_bytes);
    for (size_t i = 0; i < KQ_COUNT(codes); i++) {
        if (codes[i].codec != (uint32_t)c->codec) continue;
        memset(copy + codes[i].at, codes[i].zero, codes[i].size);
        any = true;
    }
    kq_codec_decoder(c->codec)(block, 1, values);
    kq_codec_decoder(c->codec)(copy, 1, decoded);
    for (size_t i = 0; i < c->block_weights; i++) offsets[i] = any ? (double)decoded[i] : 0;
    for (size_t k = 0; k < KQ_COUNT(signed_levels); k++) {
        if (signed_levels[k].codec != (uint32_t)c->codec) continue;
        for (size_t i = 0, n = signed_levels[k].group; i < c->block_weights; i += n) {
            float most = 0;
            for (size_t e = i; e < i + n; e++) most = fmaxf(most, fabsf(values[e]));
            for (size_t e = i; e < i + n; e++) offsets[e] = (double)(-most * signed_levels[k].share);
        }
    }
}

typedef struct product {
    double value, bound;
    bool may_overflow; /* on the way, whatever the result is: scales of mxfp4 reach 2^127 */
} product;

/* Weight row times activation row in double, and the bound for a kernel that adds four consecutive products or more in integers, offsets times the
 * sums of 16 activations or more, and does so in four lanes or more. */
static product define_product(const kq_codec_info *c, const uint8_t *row, size_t n_blocks, const kq_act8 *x) {
    float values[256];
    double offsets[256], sum = 0, terms = 0, weights_alone = 0, four = 0, sixteen = 0;
    size_t n = n_blocks * c->block_weights;
    for (size_t k = 0; k < n; k++) {
        size_t i = k % c->block_weights;
        if (i == 0) split_block(c, row + k / c->block_weights * c->block_bytes, values, offsets);
        const kq_act8 *a = x + k / KQ_ACT_WEIGHTS;
        double v = (double)a->scale[k % KQ_ACT_WEIGHTS / KQ_ACT_GROUP] * a->q[k % KQ_ACT_WEIGHTS], w = (double)values[i], o = offsets[i];
        sum += w * v;
        weights_alone += (fabs(w) + fabs(o)) * fabs(v);
        four += (w - o) * v;
        sixteen += o * v;
        if (k % 4 == 3) terms += fabs(four), four = 0;
        if (k % 16 == 15) terms += fabs(sixteen), sixteen = 0;
    }
    /* A lane adds n / 16 fours and less than n / 64 offsets; the lanes' tree, and d, its scale of 6 or 8 bits, the activations' scale and sum, are not
     * 16 roundings more. The definition's weights were themselves rounded, three times each. Underflow: a product of scales is off by
     * 2^-150 at most, times an integer sum of at most 32 * 255 * 127, for n / 4 fours and n / 16 offsets. */
    double count = (double)n, additions = count / 16 + count / 64 + 16;
    return (product){.value = sum, .may_overflow = !(terms < 3e38),
                      .bound = 0x1p-24 * (additions * terms + 3 * weights_alone) + (count / 4 + count / 16) * 0x1p-150 * 32 * 255 * 127};
}

/* weave, from the words of kernels.h: m rows, one after another. */
static void weave_case(const kq_kernel *k, size_t m, size_t n, place where) {
    case_name("%s: %zu rows of %zu blocks, at %s", k->name, m, n, place_names[where]);
    kq_act8 *acts = buffer_place(&inputs, m * n * sizeof(kq_act8), where, 64);
    uint8_t *out = buffer_place(&outputs, m * kq_woven_bytes(n), where, 64);
    buffer_place(&weights, 0, AT_START, 1);
    for (size_t i = 0; i < m * n * sizeof(kq_act8); i++) ((uint8_t *)acts)[i] = (uint8_t)random_u32();
    buffer_protect(&inputs);
    for (size_t j = 0; j < m; j++) ((kq_weave_fn *)k->fn)(acts + j * n, n, m, out + j * KQ_WOVEN);
    static const size_t groups[8] = {0, 2, 4, 6, 1, 3, 5, 7};
    const kq_act8 none = {0};
    for (size_t i = 0; i < (n + 1) / 2; i++) {
        for (size_t j = 0; j < m; j++) {
            uint8_t *want = (uint8_t *)expected + (i * m + j) * KQ_WOVEN;
            for (size_t lane = 0; lane < 16; lane++) {
                size_t block = 2 * i + lane / 8, g = groups[lane % 8];
                const kq_act8 *a = block < n ? acts + j * n + block : &none;
                for (size_t s = 0; s < 8; s++) memcpy(want + (s * 16 + lane) * 4, a->q + 32 * g + 4 * s, 4);
                const float values[4] = {a->scale[g], a->sum[g], a->sum16[2 * g], a->sum16[2 * g + 1]};
                for (size_t v = 0; v < 4; v++) memcpy(want + ((8 + v) * 16 + lane) * 4, &values[v], 4);
            }
        }
    }
    if (memcmp(out, expected, m * kq_woven_bytes(n))) case_failed("differs from the definition");
    finish_case();
}

static void check_weave(const kq_kernel *k) {
    for (size_t m = 1; m <= 8; m++)
        for (size_t n = 1; n <= 5; n++)
            for (int where = 0; where < N_PLACES; where++) weave_case(k, m, n, (place)where);
}

static kq_rows1_fn *rows1_of(const kq_kernel *k) {
    for (size_t i = 0; i < kq_n_kernels; i++) {
        const kq_kernel *o = &kq_kernels[i];
        if (o->op == KQ_KERNEL_rows1 && o->codec == k->codec && strcmp(o->variant, k->variant) == 0) return (kq_rows1_fn *)o->fn;
    }
    return NULL;
}

static void call_rows(const kq_kernel *k, const uint8_t *w, size_t pitch, size_t n_rows, size_t n_blocks, const kq_act8 *const *x, float *const *y,
                      size_t m) {
    if (k->op == KQ_KERNEL_rows1) {
        ((kq_rows1_fn *)k->fn)(w, pitch, n_rows, n_blocks, x[0], y[0]);
    } else if (k->op == KQ_KERNEL_batch) {
        size_t blocks = kq_act8_blocks(n_blocks * kq_codec_describe(k->codec)->block_weights);
        uint8_t *woven = (uint8_t *)expected;
        for (size_t j = 0; j < m; j++) kq_weave_f32_generic(x[j], blocks, m, woven + j * KQ_WOVEN);
        ((kq_batch_fn *)k->fn)(w, pitch, n_rows, n_blocks, woven, y, m);
    } else {
        ((kq_rowsm_fn *)k->fn)(w, pitch, n_rows, n_blocks, x, y, m);
    }
}

typedef struct rows_size {
    size_t n_blocks, n_rows, m, gap; /* gap: bytes between rows */
} rows_size;

/* Holds all results against their definition, and rows1's; false where terms overflow, so that the definition does not settle them. */
static bool compare_rows(const kq_kernel *k, const kq_codec_info *c, rows_size s, const uint8_t *w, const kq_act8 *const *x, float *const *y) {
    size_t pitch = s.n_blocks * c->block_bytes + s.gap;
    kq_rows1_fn *single = rows1_of(k);
    bool all = true;
    for (size_t j = 0; j < s.m; j++) {
        for (size_t r = 0; r < s.n_rows; r++) {
            product p = define_product(c, w + r * pitch, s.n_blocks, x[j]);
            double error = fabs((double)y[j][r] - p.value);
            if (!(error <= p.bound) && !p.may_overflow) case_failed("row %zu of activation %zu is %.9g, must be %.9g +- %.3g", r, j, (double)y[j][r], p.value, p.bound);
            if (p.bound > 0 && !p.may_overflow) case_error(error / p.bound);
            all &= !p.may_overflow;
            float alone;
            single(w + r * pitch, pitch, 1, s.n_blocks, x[j], &alone);
            if (!same(alone, y[j][r])) case_failed("row %zu of activation %zu is %a, and %a alone", r, j, (double)y[j][r], (double)alone);
        }
    }
    return all;
}

static void scale_down(kq_act8 *a) {
    for (size_t g = 0; g < KQ_COUNT(a->scale); g++) a->scale[g] *= 0x1p-100f, a->sum[g] *= 0x1p-100f;
    for (size_t h = 0; h < KQ_COUNT(a->sum16); h++) a->sum16[h] *= 0x1p-100f;
}

static void rows_case(const kq_kernel *k, const kq_codec_info *c, rows_size s, weights_kind kind, floats_kind floats, place where) {
    case_name("%s: %zu rows of %zu blocks, gap %zu, m %zu, %s x %s, at %s", k->name, s.n_rows, s.n_blocks, s.gap, s.m, weights_names[kind],
              floats_names[floats], place_names[where]);
    size_t row_bytes = s.n_blocks * c->block_bytes, pitch = row_bytes + s.gap, n_cols = s.n_blocks * c->block_weights;
    size_t act_blocks = kq_act8_blocks(n_cols);
    uint8_t *w = buffer_place(&weights, pitch * s.n_rows - s.gap, where, 1);
    kq_act8 *acts = buffer_place(&inputs, s.m * act_blocks * sizeof(kq_act8), where, 64);
    float *out = buffer_place(&outputs, s.m * s.n_rows * sizeof(float), where, sizeof(float));
    const kq_act8 *x[KQ_BATCH];
    float *y[KQ_BATCH];
    for (size_t r = 0; r < s.n_rows; r++) make_weights(c, kind, w + r * pitch, s.n_blocks);
    for (size_t j = 0; j < s.m; j++) {
        make_floats(floats, scratch, n_cols);
        kq_act8_f32_generic(scratch, n_cols, acts + j * act_blocks);
        x[j] = acts + j * act_blocks;
        y[j] = out + j * s.n_rows;
    }
    buffer_protect(&weights);
    buffer_protect(&inputs);
    call_rows(k, w, pitch, s.n_rows, s.n_blocks, x, y, s.m);
    if (!compare_rows(k, c, s, w, x, y)) {
        /* The same products with activations 2^-100 times as large: nothing overflows, and what was wrong before is wrong now. */
        kq_act8 *small = (kq_act8 *)(void *)scratch;
        memcpy(small, acts, s.m * act_blocks * sizeof *small);
        for (size_t i = 0; i < s.m * act_blocks; i++) scale_down(&small[i]);
        for (size_t j = 0; j < s.m; j++) x[j] = small + j * act_blocks;
        call_rows(k, w, pitch, s.n_rows, s.n_blocks, x, y, s.m);
        (void)compare_rows(k, c, s, w, x, y); /* but where offsets are no floats: -12 * 2^125, from mxfp4's exponent 253 on */
    }
    finish_case();
}

/* The error that int8 activations bring, on long rows: against float64 on the activations as they were, relative to what the results
 * are in the mean over random activations, |w| |x| / sqrt(columns): weights with a common sign would else divide by a lucky sum. */
static void accuracy_case(const kq_kernel *k, const kq_codec_info *c, floats_kind floats, double limit) {
    enum { ROWS = 12, COLS = 4096, REPEATS = 256 };
    case_name("%s: accuracy on %s activations", k->name, floats_names[floats]);
    size_t n_blocks = COLS / c->block_weights, row_bytes = n_blocks * c->block_bytes;
    uint8_t *w = buffer_place(&weights, ROWS * row_bytes, AT_END, 1);
    kq_act8 *act = buffer_place(&inputs, kq_act8_blocks(COLS) * sizeof(kq_act8), AT_END, 64);
    float *y = buffer_place(&outputs, ROWS * sizeof(float), AT_END, sizeof(float)), *x = scratch, *values = scratch + COLS;
    const kq_act8 *acts[1] = {act};
    float *ys[1] = {y};
    double error = 0, norm = 0, w_norm[ROWS] = {0};
    make_weights(c, WEIGHTS_EVEN, w, ROWS * n_blocks);
    kq_codec_decoder(c->codec)(w, ROWS * n_blocks, values);
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++) w_norm[i / COLS] += (double)values[i] * (double)values[i];
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        make_floats(floats, x, COLS);
        kq_act8_f32_generic(x, COLS, act);
        call_rows(k, w, row_bytes, ROWS, n_blocks, acts, ys, 1);
        double x_norm = 0;
        for (size_t i = 0; i < COLS; i++) x_norm += (double)x[i] * (double)x[i];
        for (size_t r = 0; r < ROWS; r++) {
            double want = 0;
            for (size_t i = 0; i < COLS; i++) want += (double)values[r * COLS + i] * (double)x[i];
            error += ((double)y[r] - want) * ((double)y[r] - want);
            norm += w_norm[r] * x_norm / COLS;
        }
    }
    double share = sqrt(error / norm);
    if (!(share <= limit)) case_failed("error is %.3f %%, must be at most %.3f %%", 100 * share, 100 * limit);
    case_accuracy(100 * share);
    finish_case();
}

static void check_rows(const kq_kernel *k) {
    const kq_codec_info *c = kq_codec_describe(k->codec);
    static const size_t blocks[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 25};
    size_t most = k->op == KQ_KERNEL_rows1 ? 1 : k->op == KQ_KERNEL_batch ? KQ_BATCH : KQ_ROWSM;
    for (size_t b = 0; b < KQ_COUNT(blocks); b++) {
        for (size_t m = 1; m <= most; m += m < 18 ? 1 : 7) {
            for (int i = 0; i < (k->op == KQ_KERNEL_rows1 ? 12 : 3); i++) {
                rows_size s = {blocks[b], 1 + random_below(6), m, random_below(4) ? 0 : random_below(40)};
                rows_case(k, c, s, (weights_kind)(i % N_WEIGHTS), (floats_kind)random_below(FLOATS_SPECIAL), (place)random_below(N_PLACES));
            }
        }
    }
    size_t m = KQ_MIN(most, 9);
    for (int where = 0; where < N_PLACES; where++) {
        for (int floats = 0; floats < FLOATS_SPECIAL; floats++) {
            rows_case(k, c, (rows_size){1, 1, m, 0}, WEIGHTS_EXTREME, (floats_kind)floats, (place)where);
            rows_case(k, c, (rows_size){8192 / c->block_weights, 2, m, 0}, (weights_kind)(floats % N_WEIGHTS), (floats_kind)floats, (place)where);
        }
    }
    rows_case(k, c, (rows_size){3, 0, m, 0}, WEIGHTS_RANDOM, FLOATS_GAUSSIAN, AT_END);
    accuracy_case(k, c, FLOATS_GAUSSIAN, 0.007); /* what the fast mode promises */
    accuracy_case(k, c, FLOATS_OUTLIERS, 0.015);
}

/* ---- rowsf ----------------------------------------------------------------------------------------------------------- */

/* A kernel adds in eight lanes or more, so a term is rounded at most once and passes through at most n / 8 additions, and the lanes' tree. */
static void floats_case(const kq_kernel *k, const kq_codec_info *c, size_t n, size_t n_rows, size_t m, size_t gap, floats_kind kind, place where) {
    case_name("%s: %zu rows of %zu, gap %zu, m %zu, %s, at %s", k->name, n_rows, n, gap, m, floats_names[kind], place_names[where]);
    size_t row_bytes = n * c->block_bytes, pitch = row_bytes + gap;
    uint8_t *w = buffer_place(&weights, n_rows ? pitch * n_rows - gap : 0, where, 1);
    float *x = buffer_place(&inputs, m * n * sizeof(float), where, sizeof(float));
    float *out = buffer_place(&outputs, m * n_rows * sizeof(float), where, sizeof(float));
    for (size_t r = 0; r < n_rows; r++) {
        make_floats(kind, scratch, n);
        for (size_t i = 0; i < n; i++) {
            if (c->codec == KQ_F32) memcpy(w + r * pitch + 4 * i, scratch + i, 4);
            uint16_t h = c->codec == KQ_F16 ? kq_f32_to_f16(scratch[i]) : kq_f32_to_bf16(scratch[i]);
            if (c->codec != KQ_F32) memcpy(w + r * pitch + 2 * i, &h, 2);
        }
    }
    make_floats(kind, x, m * n);
    const float *xs[KQ_ROWSM];
    float *ys[KQ_ROWSM];
    for (size_t j = 0; j < m; j++) {
        xs[j] = x + (m - 1 - j) * n; /* in any order */
        ys[j] = out + j * n_rows;
    }
    buffer_protect(&weights);
    buffer_protect(&inputs);
    kq_rowsf_fn *fn = (kq_rowsf_fn *)k->fn;
    fn(w, pitch, n_rows, n, xs, ys, m);
    for (size_t r = 0; r < n_rows; r++) {
        kq_codec_decoder(c->codec)(w + r * pitch, n, scratch);
        for (size_t j = 0; j < m; j++) {
            double sum = 0, terms = 0;
            for (size_t i = 0; i < n; i++) {
                double term = (double)scratch[i] * (double)xs[j][i];
                sum += term;
                terms += fabs(term);
            }
            double bound = 0x1p-24 * ((double)n / 8 + 8) * terms + (double)n * 0x1p-149, error = fabs((double)ys[j][r] - sum);
            if (terms != terms && ys[j][r] == ys[j][r]) case_failed("row %zu of activation %zu is %g, must be NaN", r, j, (double)ys[j][r]);
            if (terms < 3e38 && !(error <= bound)) case_failed("row %zu of activation %zu is %.9g, must be %.9g +- %.3g", r, j, (double)ys[j][r], sum, bound);
            if (terms < 3e38 && bound > 0) case_error(error / bound);
            float alone, *y = &alone;
            fn(w + r * pitch, pitch, 1, n, &xs[j], &y, 1);
            if (!same(alone, ys[j][r])) case_failed("row %zu of activation %zu is %a, and %a alone", r, j, (double)ys[j][r], (double)alone);
        }
    }
    finish_case();
}

static void check_floats(const kq_kernel *k) {
    const kq_codec_info *c = kq_codec_describe(k->codec);
    static const size_t sizes[] = {1, 2, 7, 8, 15, 16, 17, 63, 64, 65, 100, 127, 128, 129, 200, 256, 1000, 4096, 8191};
    for (size_t s = 0; s < KQ_COUNT(sizes); s++) {
        for (size_t m = 1; m <= KQ_ROWSM; m++) {
            for (int i = 0; i < 4; i++)
                floats_case(k, c, sizes[s], 1 + random_below(6), m, random_below(4) ? 0 : random_below(40), (floats_kind)random_below(N_FLOATS), (place)random_below(N_PLACES));
        }
    }
    floats_case(k, c, 33, 0, KQ_ROWSM, 0, FLOATS_GAUSSIAN, AT_END);
}

void check_kernel(const kq_kernel *k) {
    open_buffers();
    switch (k->op) {
    case KQ_KERNEL_decode: check_decode(k); break;
    case KQ_KERNEL_stream: check_stream(k); break;
    case KQ_KERNEL_exact: check_exact(k); break;
    case KQ_KERNEL_act8: check_act8(k); break;
    case KQ_KERNEL_rows1:
    case KQ_KERNEL_rowsm:
    case KQ_KERNEL_batch: check_rows(k); break;
    case KQ_KERNEL_weave: check_weave(k); break;
    case KQ_KERNEL_rowsf: check_floats(k); break;
    case KQ_KERNEL_pack:
    case KQ_KERNEL_narrow:
    case KQ_KERNEL_panel:
    case KQ_KERNEL_tile:
    case KQ_KERNEL_unpack: check_tiles(k); break;
    case KQ_KERNEL_score:
    case KQ_KERNEL_soften:
    case KQ_KERNEL_blend: check_attention(k); break;
    case KQ_KERNEL_silu:
    case KQ_KERNEL_gelu: check_pointwise(k); break;
    case KQ_N_KERNEL_OPS: break;
    }
}
