/* SPDX-License-Identifier: MIT */
/* NEON with the 8-bit matrix products of ARMv8.6: smmla multiplies two rows of eight bytes by two others into four int32, which is two weight
 * rows by two activation rows. With one activation row half of it would be thrown away: dot products then, whose sums are the same integers.
 *
 * A group's products are one exact integer either way (32 * 128 * 127 at most). Group g of a run goes to the sum g % 4 of its pair, in order; at the
 * end (0 + 1) + (2 + 3). So a pair gives the same bits with smmla and without, whatever is beside it. Runs are of whole fours of groups: what
 * a row lacks has scales of zero. */
#include "cpu/arm/unpack.h"

#include <float.h>

#define INLINE static inline __attribute__((always_inline))

/* Of a codec: its blocks in a run, groups in a block, and what unpack.h says of it. */
typedef struct shape {
    size_t run, groups, group, block_bytes;
    int kind;
    void (*unpack)(const void *b, size_t n_blocks, unpacked *u);
} shape;

INLINE size_t fours(size_t n) { return (n + 3) & ~(size_t)3; }

INLINE void take_apart(const shape *s, const uint8_t *row, size_t first, size_t n, unpacked *u) {
    if (n < s->run) memset(u, 0, sizeof *u);
    s->unpack(row + first * s->block_bytes, n, u);
}

/* Scales of the weights times those of the activations. Infinite ones would make NaN of sums that are 0; see rows_tmpl.h. A NaN stays one. */
INLINE float32x4_t scales_of(const shape *s, float32x4_t w, float32x4_t x) {
    float32x4_t scale = vmulq_f32(w, x);
    return s->kind == HUGE_SCALES ? vminq_f32(scale, vdupq_n_f32(FLT_MAX)) : scale;
}

INLINE float32x4_t add_offsets(const shape *s, const unpacked *u, const kq_act8 *x, size_t n, float32x4_t sum) {
    const float *sums = s->group == 16 ? x->sum16 : x->sum;
    for (size_t g = 0; g < n; g += 4) sum = vfmaq_f32(sum, vld1q_f32(u->offset + g), vld1q_f32(sums + g));
    return sum;
}

INLINE float lanes_of(float32x4_t sum) {
    float32x4_t pairs = vpaddq_f32(sum, sum);
    return vgetq_lane_f32(pairs, 0) + vgetq_lane_f32(pairs, 1);
}

/* ---- one activation row -------------------------------------------------------------------------------------------- */

/* The products of a group of one row, as four integers to be added up. */
INLINE int32x4_t dots(const shape *s, const int8_t *w, const int8_t *x) {
    int32x4_t products = vdotq_s32(vdupq_n_s32(0), vld1q_s8(w), vld1q_s8(x));
    return s->group == 16 ? products : vdotq_s32(products, vld1q_s8(w + 16), vld1q_s8(x + 16));
}

INLINE float32x4_t add_run_1(const shape *s, const unpacked *u, const kq_act8 *x, size_t n, float32x4_t sum) {
    for (size_t g = 0; g < n; g += 4) {
        const int8_t *w = u->q + s->group * g, *q = x->q + s->group * g;
        int32x4_t low = vpaddq_s32(dots(s, w, q), dots(s, w + s->group, q + s->group));
        int32x4_t high = vpaddq_s32(dots(s, w + 2 * s->group, q + 2 * s->group), dots(s, w + 3 * s->group, q + 3 * s->group));
        float32x2_t two = vld1_f32(x->scale + g / 2);
        float32x4_t scale = s->group == 16 ? vcombine_f32(vzip1_f32(two, two), vzip2_f32(two, two)) : vld1q_f32(x->scale + g % 8);
        sum = vfmaq_f32(sum, vcvtq_f32_s32(vpaddq_s32(low, high)), scales_of(s, vld1q_f32(u->scale + g), scale));
    }
    return sum;
}

INLINE void rows_1(const shape *s, const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *x, float *y) {
    for (size_t r = 0; r < n_rows; r++, w += row_bytes) {
        float32x4_t sum = vdupq_n_f32(0), offset = vdupq_n_f32(0);
        for (size_t i = 0; i < n_blocks; i += s->run) {
            unpacked u;
            size_t n = KQ_MIN(n_blocks - i, s->run), groups = fours(n * s->groups);
            take_apart(s, w, i, n, &u);
            sum = add_run_1(s, &u, x + i / s->run, groups, sum);
            if (s->kind == OFFSETS) offset = add_offsets(s, &u, x + i / s->run, groups, offset);
        }
        y[r] = s->kind == OFFSETS ? lanes_of(sum) + lanes_of(offset) : lanes_of(sum);
    }
}

/* ---- two by two ---------------------------------------------------------------------------------------------------- */

/* Two rows of a run beside each other: eight bytes of the one, eight of the other; and scales as smmla has its sums, weight row 0 by activation row
 * 0 and 1, weight row 1 by 0 and 1. */
typedef struct pair {
    _Alignas(64) int8_t q[2 * KQ_ACT_WEIGHTS];
    float scale[16][4];
} pair;

#define DOUBLES(op, a, b) vreinterpretq_f32_f64(op(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)))

INLINE void put_bytes(const int8_t *first, const int8_t *second, int8_t *q) {
    for (size_t k = 0; k < KQ_ACT_WEIGHTS; k += 16) {
        float32x4_t a = vreinterpretq_f32_s8(vld1q_s8(first + k)), b = vreinterpretq_f32_s8(vld1q_s8(second + k));
        vst1q_s8(q + 2 * k, vreinterpretq_s8_f32(DOUBLES(vzip1q_f64, a, b)));
        vst1q_s8(q + 2 * k + 16, vreinterpretq_s8_f32(DOUBLES(vzip2q_f64, a, b)));
    }
}

INLINE void pair_weights(const unpacked u[2], size_t n, pair *out) {
    put_bytes(u[0].q, u[1].q, out->q);
    for (size_t g = 0; g < n; g += 4) {
        float32x4_t a = vld1q_f32(u[0].scale + g), b = vld1q_f32(u[1].scale + g);
        float32x4_t a01 = vzip1q_f32(a, a), a23 = vzip2q_f32(a, a), b01 = vzip1q_f32(b, b), b23 = vzip2q_f32(b, b);
        vst1q_f32(out->scale[g], DOUBLES(vzip1q_f64, a01, b01));
        vst1q_f32(out->scale[g + 1], DOUBLES(vzip2q_f64, a01, b01));
        vst1q_f32(out->scale[g + 2], DOUBLES(vzip1q_f64, a23, b23));
        vst1q_f32(out->scale[g + 3], DOUBLES(vzip2q_f64, a23, b23));
    }
}

INLINE void pair_activations(const kq_act8 *x, const kq_act8 *y, pair *out) {
    put_bytes(x->q, y->q, out->q);
    for (size_t g = 0; g < 8; g += 4) {
        float32x4_t a = vld1q_f32(x->scale + g), b = vld1q_f32(y->scale + g), ab01 = vzip1q_f32(a, b), ab23 = vzip2q_f32(a, b);
        vst1q_f32(out->scale[g], DOUBLES(vzip1q_f64, ab01, ab01));
        vst1q_f32(out->scale[g + 1], DOUBLES(vzip2q_f64, ab01, ab01));
        vst1q_f32(out->scale[g + 2], DOUBLES(vzip1q_f64, ab23, ab23));
        vst1q_f32(out->scale[g + 3], DOUBLES(vzip2q_f64, ab23, ab23));
    }
}

INLINE float32x4_t add_group(const shape *s, const pair *w, const pair *x, size_t g, float32x4_t sum) {
    const int8_t *a = w->q + 2 * s->group * g, *b = x->q + 2 * s->group * g;
    int32x4_t products = vmmlaq_s32(vmmlaq_s32(vdupq_n_s32(0), vld1q_s8(a), vld1q_s8(b)), vld1q_s8(a + 16), vld1q_s8(b + 16));
    if (s->group == 32) products = vmmlaq_s32(vmmlaq_s32(products, vld1q_s8(a + 32), vld1q_s8(b + 32)), vld1q_s8(a + 48), vld1q_s8(b + 48));
    return vfmaq_f32(sum, vcvtq_f32_s32(products), scales_of(s, vld1q_f32(w->scale[g]), vld1q_f32(x->scale[s->group == 16 ? g / 2 : g])));
}

/* Group g to sum[g % 4]. */
INLINE void add_run_2(const shape *s, const pair *w, const pair *x, size_t n, float32x4_t sum[4]) {
    float32x4_t sum0 = sum[0], sum1 = sum[1], sum2 = sum[2], sum3 = sum[3];
    for (size_t g = 0; g < n; g += 4) {
        sum0 = add_group(s, w, x, g, sum0);
        sum1 = add_group(s, w, x, g + 1, sum1);
        sum2 = add_group(s, w, x, g + 2, sum2);
        sum3 = add_group(s, w, x, g + 3, sum3);
    }
    sum[0] = sum0, sum[1] = sum1, sum[2] = sum2, sum[3] = sum3;
}

/* Weight rows that share the activations' pairs: four pairs of rows pay for one pairing. */
enum { BLOCK_ROWS = 8, PAIRS = KQ_ROWSM / 2 };

typedef struct sums {
    float32x4_t product[BLOCK_ROWS / 2][PAIRS][4], offset[BLOCK_ROWS][KQ_ROWSM];
} sums;

INLINE float result_of(const shape *s, const sums *t, size_t r, size_t j) {
    const float32x4_t *l = t->product[r / 2][j / 2];
    float four[4];
    vst1q_f32(four, vaddq_f32(vaddq_f32(l[0], l[1]), vaddq_f32(l[2], l[3])));
    float sum = four[2 * (r % 2) + j % 2];
    return s->kind == OFFSETS ? sum + lanes_of(t->offset[r][j]) : sum;
}

/* n_rows weight rows by m > 1 activation rows; where a number is odd, the last row is its own partner. */
INLINE void block(const shape *s, const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *const *x, float *const *y, size_t m,
                  size_t first) {
    sums t;
    memset(&t, 0, sizeof t);
    for (size_t i = 0; i < n_blocks; i += s->run) {
        pair acts[PAIRS];
        size_t n = KQ_MIN(n_blocks - i, s->run), groups = fours(n * s->groups), at = i / s->run;
        for (size_t j = 0; j < m; j += 2) pair_activations(x[j] + at, x[KQ_MIN(j + 1, m - 1)] + at, &acts[j / 2]);
        for (size_t r = 0; r < n_rows; r += 2) {
            unpacked u[2];
            pair both;
            for (size_t h = 0; h < 2; h++) take_apart(s, w + KQ_MIN(r + h, n_rows - 1) * row_bytes, i, n, &u[h]);
            pair_weights(u, groups, &both);
            for (size_t j = 0; j < m; j += 2) add_run_2(s, &both, &acts[j / 2], groups, t.product[r / 2][j / 2]);
            for (size_t j = 0; j < m && s->kind == OFFSETS; j++)
                for (size_t h = 0; h < 2; h++) t.offset[r + h][j] = add_offsets(s, &u[h], x[j] + at, groups, t.offset[r + h][j]);
        }
    }
    for (size_t j = 0; j < m; j++)
        for (size_t r = 0; r < n_rows; r++) y[j][first + r] = result_of(s, &t, r, j);
}

INLINE void rows_m(const shape *s, const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *const *x, float *const *y,
                   size_t m) {
    for (size_t r = 0; r < n_rows; r += BLOCK_ROWS) block(s, w + r * row_bytes, row_bytes, KQ_MIN(n_rows - r, (size_t)BLOCK_ROWS), n_blocks, x, y, m, r);
}

#define ROWS(id)                                                                                                                                 \
    INLINE void unpack_any_##id(const void *b, size_t n, unpacked *u) { unpack_##id(b, n, u); }                                                   \
    static const shape shape_##id = {KQ_ACT_WEIGHTS / kq_holds_##id, kq_holds_##id / group_of_##id, group_of_##id, sizeof(kq_block_##id),         \
                                     kind_of_##id, unpack_any_##id};                                                                              \
    void kq_rows1_##id##_i8mm(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *x, float *y) {                      \
        rows_1(&shape_##id, w, row_bytes, n_rows, n_blocks, x, y);                                                                                \
    }                                                                                                                                            \
    void kq_rowsm_##id##_i8mm(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *const *x, float *const *y,          \
                              size_t m) {                                                                                                        \
        if (m == 1) rows_1(&shape_##id, w, row_bytes, n_rows, n_blocks, x[0], y[0]);                                                              \
        else rows_m(&shape_##id, w, row_bytes, n_rows, n_blocks, x, y, m);                                                                        \
    }
#include "cpu/arm/codecs.def"
