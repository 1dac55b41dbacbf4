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

/* Eight bytes of one row, then eight of the other. */
INLINE int8x16_t first_eights(int8x16_t a, int8x16_t b) { return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b))); }
INLINE int8x16_t last_eights(int8x16_t a, int8x16_t b) { return vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b))); }

INLINE void interleave(const unpacked u[2], int8_t *q) {
    for (size_t k = 0; k < KQ_ACT_WEIGHTS; k += 16) {
        int8x16_t a = vld1q_s8(u[0].q + k), b = vld1q_s8(u[1].q + k);
        vst1q_s8(q + 2 * k, first_eights(a, b));
        vst1q_s8(q + 2 * k + 16, last_eights(a, b));
    }
}

/* sum[g % 4]: weight row 0 by activation row 0 and 1, weight row 1 by 0 and 1. */
INLINE void add_run_2(const shape *s, const unpacked u[2], const int8_t *w, const kq_act8 *const x[2], size_t n, float32x4_t sum[4]) {
    for (size_t g = 0; g < n; g++) {
        int32x4_t products = vdupq_n_s32(0);
        for (size_t k = s->group * g; k < s->group * (g + 1); k += 16) {
            int8x16_t a = vld1q_s8(x[0]->q + k), b = vld1q_s8(x[1]->q + k);
            products = vmmlaq_s32(products, vld1q_s8(w + 2 * k), first_eights(a, b));
            products = vmmlaq_s32(products, vld1q_s8(w + 2 * k + 16), last_eights(a, b));
        }
        size_t at = s->group == 16 ? g / 2 : g;
        float32x2_t both = vset_lane_f32(x[1]->scale[at], vdup_n_f32(x[0]->scale[at]), 1);
        float32x4_t scale = scales_of(s, vcombine_f32(vdup_n_f32(u[0].scale[g]), vdup_n_f32(u[1].scale[g])), vcombine_f32(both, both));
        sum[g % 4] = vfmaq_f32(sum[g % 4], vcvtq_f32_s32(products), scale);
    }
}

/* Two weight rows, or one twice, by m > 1 activation rows, of which the last is its own partner where m is odd. */
INLINE void two_rows(const shape *s, const uint8_t *const w[2], size_t n_blocks, const kq_act8 *const *x, size_t m, float out[2][KQ_ROWSM]) {
    float32x4_t sum[KQ_ROWSM / 2][4], offset[2][KQ_ROWSM];
    for (size_t j = 0; j < m; j++) offset[0][j] = offset[1][j] = vdupq_n_f32(0);
    for (size_t p = 0; p < (m + 1) / 2; p++)
        for (int l = 0; l < 4; l++) sum[p][l] = vdupq_n_f32(0);
    for (size_t i = 0; i < n_blocks; i += s->run) {
        unpacked u[2];
        _Alignas(64) int8_t q[2 * KQ_ACT_WEIGHTS];
        size_t n = KQ_MIN(n_blocks - i, s->run), groups = fours(n * s->groups), at = i / s->run;
        for (int r = 0; r < 2; r++) take_apart(s, w[r], i, n, &u[r]);
        interleave(u, q);
        for (size_t j = 0; j < m; j += 2) add_run_2(s, u, q, (const kq_act8 *const[2]){x[j] + at, x[KQ_MIN(j + 1, m - 1)] + at}, groups, sum[j / 2]);
        for (size_t j = 0; j < m && s->kind == OFFSETS; j++)
            for (int r = 0; r < 2; r++) offset[r][j] = add_offsets(s, &u[r], x[j] + at, groups, offset[r][j]);
    }
    for (size_t j = 0; j < m; j++) {
        float four[4];
        float32x4_t *l = sum[j / 2];
        vst1q_f32(four, vaddq_f32(vaddq_f32(l[0], l[1]), vaddq_f32(l[2], l[3])));
        for (size_t r = 0; r < 2; r++) out[r][j] = s->kind == OFFSETS ? four[2 * r + j % 2] + lanes_of(offset[r][j]) : four[2 * r + j % 2];
    }
}

INLINE void rows_m(const shape *s, const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *const *x, float *const *y,
                   size_t m) {
    for (size_t r = 0; r < n_rows; r += 2, w += 2 * row_bytes) {
        float out[2][KQ_ROWSM];
        size_t n = KQ_MIN(n_rows - r, (size_t)2);
        two_rows(s, (const uint8_t *const[2]){w, n > 1 ? w + row_bytes : w}, n_blocks, x, m, out);
        for (size_t j = 0; j < m; j++)
            for (size_t i = 0; i < n; i++) y[j][r + i] = out[i][j];
    }
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
