/* SPDX-License-Identifier: MIT */
/* The exact product, and activations to int8: four registers are the sixteen lanes of the definition (kernels.h). */
#include "cpu/kernels.h"

#include <arm_neon.h>

/* ---- exact ----------------------------------------------------------------------------------------------------------- */

/* Four weight rows times one activation row: 16 chains of additions, and 20 loads for 32 multiplications and additions. A product is rounded
 * before it is added: no fused multiply-add here. */
static void exact_row(const float *const w[KQ_EXACT_ROWS], const float *x, size_t n, float (*lanes)[KQ_EXACT_LANES]) {
    const float *row[KQ_EXACT_ROWS] = {w[0], w[1], w[2], w[3]};
    float32x4_t sum[KQ_EXACT_ROWS][4];
    for (size_t i = 0; i < KQ_EXACT_ROWS; i++)
        for (size_t q = 0; q < 4; q++) sum[i][q] = vld1q_f32(lanes[i] + 4 * q);
    size_t k = 0;
    for (; k + 16 <= n; k += 16) {
        for (size_t q = 0; q < 4; q++) {
            float32x4_t v = vld1q_f32(x + k + 4 * q);
            for (size_t i = 0; i < KQ_EXACT_ROWS; i++) sum[i][q] = vaddq_f32(sum[i][q], vmulq_f32(vld1q_f32(row[i] + k + 4 * q), v));
        }
    }
    for (size_t i = 0; i < KQ_EXACT_ROWS; i++) {
        for (size_t q = 0; q < 4; q++) vst1q_f32(lanes[i] + 4 * q, sum[i][q]);
        for (size_t l = 0; k + l < n; l++) lanes[i][l] += row[i][k + l] * x[k + l];
    }
}

void kq_exact_f32_neon(const float *const w[KQ_EXACT_ROWS], const float *const *x, size_t m, size_t n,
                       float (*lanes)[KQ_EXACT_ROWS][KQ_EXACT_LANES]) {
    for (size_t j = 0; j < m; j++) exact_row(w, x[j], n, lanes[j]);
}

/* ---- act8 ------------------------------------------------------------------------------------------------------------ */

static void convert_group(const float *x, int8_t *q, float *scale, float *sum, float *sum16) {
    float32x4_t v[8];
    uint32x4_t most = vdupq_n_u32(0);
    for (size_t i = 0; i < 8; i++) {
        v[i] = vld1q_f32(x + 4 * i);
        most = vmaxq_u32(most, vreinterpretq_u32_f32(vabsq_f32(v[i])));
    }
    uint32_t bits = vmaxvq_u32(most);
    if (bits < 0x03800000u || bits >= 0x7f800000u) { /* below 2^-120; NaN or infinite */
        memset(q, 0, KQ_ACT_GROUP);
        *scale = *sum = sum16[0] = sum16[1] = bits < 0x7f800000u ? 0.0f : kq_bits_to_f32(0x7fc00000u);
        return;
    }
    float largest = kq_bits_to_f32(bits), inverse = 127.0f / largest;
    int32_t total[2];
    *scale = largest / 127.0f;
    for (size_t half = 0; half < 2; half++) {
        int16x4_t four[4];
        for (size_t i = 0; i < 4; i++) four[i] = vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(v[4 * half + i], inverse)));
        int16x8_t low = vcombine_s16(four[0], four[1]), high = vcombine_s16(four[2], four[3]);
        vst1q_s8(q + 16 * half, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
        total[half] = vaddvq_s16(vaddq_s16(low, high)); /* 16 * 127 < 2^15 */
        sum16[half] = *scale * (float)total[half];
    }
    *sum = *scale * (float)(total[0] + total[1]);
}

static void convert_block(const float *x, kq_act8 *out) {
    for (size_t g = 0; g < 8; g++) convert_group(x + 32 * g, out->q + 32 * g, &out->scale[g], &out->sum[g], &out->sum16[2 * g]);
}

void kq_act8_f32_neon(const float *x, size_t n, kq_act8 *out) {
    for (; n >= KQ_ACT_WEIGHTS; n -= KQ_ACT_WEIGHTS, x += KQ_ACT_WEIGHTS) convert_block(x, out++);
    if (!n) return;
    float rest[KQ_ACT_WEIGHTS] = {0};
    memcpy(rest, x, n * sizeof *x);
    convert_block(rest, out);
}
