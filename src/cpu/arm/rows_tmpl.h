/* SPDX-License-Identifier: MIT */
/* rows1 and rowsm of every codec on ARM. Before including: VARIANT(op, id), the kernel's name; PRODUCTS(w, x), the sums of 4 (or 8) products of
 * 16 signed bytes with 16 others as four int32.
 *
 * A run of weights is taken apart once (unpack.h) and meets the activation rows from L1. A pair has one register of sums and one for
 * offsets; runs are added in order, so what a pair gives does not depend on M. A product is at most 128 * 127. */
#include "cpu/arm/unpack.h"

#include <float.h>

static inline __attribute__((always_inline)) float32x4_t run_16(const unpacked *u, const kq_act8 *x, size_t n, float32x4_t sum) {
    for (size_t g = 0; g < n; g++) { /* groups of 16 */
        int32x4_t products = PRODUCTS(vld1q_s8(u->q + 16 * g), vld1q_s8(x->q + 16 * g));
        sum = vfmaq_n_f32(sum, vcvtq_f32_s32(products), u->scale[g] * x->scale[g / 2]);
    }
    return sum;
}

/* huge: a block's scale goes to 2^126 (mxfp4's), so that times the activations' it may be infinite, and NaN times products that sum to 0.
 * The largest float does the same to any other sum. */
static inline __attribute__((always_inline)) float32x4_t run_32(const unpacked *u, const kq_act8 *x, size_t n, bool huge, float32x4_t sum) {
    for (size_t g = 0; g < n; g++) {
        int32x4_t low = PRODUCTS(vld1q_s8(u->q + 32 * g), vld1q_s8(x->q + 32 * g));
        int32x4_t high = PRODUCTS(vld1q_s8(u->q + 32 * g + 16), vld1q_s8(x->q + 32 * g + 16));
        float scale = u->scale[g] * x->scale[g];
        if (huge && scale > FLT_MAX) scale = FLT_MAX; /* a NaN stays one */
        sum = vfmaq_n_f32(sum, vcvtq_f32_s32(vaddq_s32(low, high)), scale);
    }
    return sum;
}

/* Offsets times the sums of their groups' activations, four groups a register; a run that ends early has zeros behind it. */
static inline __attribute__((always_inline)) float32x4_t run_offsets(const unpacked *u, const float *sums, size_t n, float32x4_t sum) {
    for (size_t g = 0; g < n; g += 4) sum = vfmaq_f32(sum, vld1q_f32(u->offset + g), vld1q_f32(sums + g));
    return sum;
}

#define OFFSETS_OF(id) ((int)kind_of_##id == (int)OFFSETS)
#define HUGE_OF(id) ((int)kind_of_##id == (int)HUGE_SCALES)
#define ROWS(id)                                                                                                                             \
    void VARIANT(rowsm, id)(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *const *x, float *const *y,       \
                            size_t m) {                                                                                                      \
        enum { RUN = KQ_ACT_WEIGHTS / kq_holds_##id, GROUPS = kq_holds_##id / group_of_##id };                                               \
        const uint8_t *row = w;                                                                                                              \
        for (size_t r = 0; r < n_rows; r++, row += row_bytes) {                                                                              \
            const kq_block_##id *b = (const kq_block_##id *)(const void *)row;                                                               \
            float32x4_t sum[KQ_ROWSM], offset[KQ_ROWSM];                                                                                     \
            for (size_t j = 0; j < m; j++) sum[j] = offset[j] = vdupq_n_f32(0);                                                              \
            for (size_t i = 0; i < n_blocks; i += RUN) {                                                                                     \
                unpacked u;                                                                                                                  \
                size_t n = KQ_MIN(n_blocks - i, (size_t)RUN);                                                                                \
                if (OFFSETS_OF(id) && n < RUN) memset(u.offset, 0, sizeof u.offset);                                                         \
                unpack_##id(b + i, n, &u);                                                                                                   \
                for (size_t j = 0; j < m; j++) {                                                                                             \
                    const kq_act8 *a = x[j] + i / RUN;                                                                                       \
                    sum[j] = group_of_##id == 16 ? run_16(&u, a, n * GROUPS, sum[j])                                                         \
                                 : run_32(&u, a, n * GROUPS, HUGE_OF(id), sum[j]);                                                           \
                    if (OFFSETS_OF(id)) offset[j] = run_offsets(&u, group_of_##id == 16 ? a->sum16 : a->sum, n * GROUPS, offset[j]);         \
                }                                                                                                                            \
            }                                                                                                                                \
            for (size_t j = 0; j < m; j++) y[j][r] = vaddvq_f32(OFFSETS_OF(id) ? vaddq_f32(sum[j], offset[j]) : sum[j]);                     \
        }                                                                                                                                    \
    }                                                                                                                                        \
    void VARIANT(rows1, id)(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *x, float *y) {                   \
        VARIANT(rowsm, id)(w, row_bytes, n_rows, n_blocks, &x, &y, 1);                                                                       \
    }

#include "cpu/arm/codecs.def"
