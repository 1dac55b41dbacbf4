/* SPDX-License-Identifier: MIT */
/* Attention's products with NEON: four registers are the sixteen lanes of the definition. Products are rounded before they are added: no fused
 * multiply-add. What a row lacks of sixteen elements is zeros, and adding 0 * 0 changes no lane: a sum that began at +0 is never -0. */
#include "base/numeric.h"
#include "cpu/kernels.h"

#include <arm_neon.h>

#define INLINE static inline __attribute__((always_inline))

/* Element d of a cache row, and four from d on. */
INLINE float one_of(const uint8_t *row, size_t d, bool f16) {
    return f16 ? kq_f16_to_f32(((const uint16_t *)(const void *)row)[d]) : ((const float *)(const void *)row)[d];
}
INLINE float32x4_t four_of(const uint8_t *row, size_t d, bool f16) {
    return f16 ? vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(row + 2 * d))) : vreinterpretq_f32_u8(vld1q_u8(row + 4 * d));
}

/* ---- score ----------------------------------------------------------------------------------------------------------- */

/* The tree of kq_exact_sum: lanes 8, 4, 2 and 1 apart. */
INLINE float sum_of(const float32x4_t lanes[4]) {
    float32x4_t four = vaddq_f32(vaddq_f32(lanes[0], lanes[2]), vaddq_f32(lanes[1], lanes[3]));
    float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

/* M queries times K keys, at most four pairs: 16 registers of sums. */
INLINE void score_block(const float *const *q, const size_t M, const uint8_t *k, size_t k_pitch, const size_t K, size_t width, float scale,
                        float *s, size_t s_pitch, const bool f16) {
    float32x4_t sum[2][4][4];
    for (size_t j = 0; j < M; j++)
        for (size_t i = 0; i < K; i++)
            for (size_t l = 0; l < 4; l++) sum[j][i][l] = vdupq_n_f32(0);
    size_t d = 0;
    for (; d + 16 <= width; d += 16) {
        float32x4_t query[2][4];
        for (size_t j = 0; j < M; j++)
            for (size_t l = 0; l < 4; l++) query[j][l] = vld1q_f32(q[j] + d + 4 * l);
        for (size_t i = 0; i < K; i++) {
            for (size_t l = 0; l < 4; l++) {
                float32x4_t key = four_of(k + i * k_pitch, d + 4 * l, f16);
                for (size_t j = 0; j < M; j++) sum[j][i][l] = vaddq_f32(sum[j][i][l], vmulq_f32(query[j][l], key));
            }
        }
    }
    if (d < width) {
        float query[2][16] = {{0}}, key[4][16] = {{0}};
        for (size_t l = 0; d + l < width; l++) {
            for (size_t j = 0; j < M; j++) query[j][l] = q[j][d + l];
            for (size_t i = 0; i < K; i++) key[i][l] = one_of(k + i * k_pitch, d + l, f16);
        }
        for (size_t j = 0; j < M; j++)
            for (size_t i = 0; i < K; i++)
                for (size_t l = 0; l < 4; l++)
                    sum[j][i][l] = vaddq_f32(sum[j][i][l], vmulq_f32(vld1q_f32(query[j] + 4 * l), vld1q_f32(key[i] + 4 * l)));
    }
    for (size_t j = 0; j < M; j++)
        for (size_t i = 0; i < K; i++) s[j * s_pitch + i] = sum_of(sum[j][i]) * scale;
}

/* M queries, 1 or 2, times all keys. */
INLINE void score_rows(const float *const *q, const size_t M, const uint8_t *k, size_t k_pitch, size_t n, size_t width, float scale, float *s,
                       size_t s_pitch, const bool f16) {
    const size_t K = 4 / M;
    size_t i = 0;
    for (; i + K <= n; i += K) score_block(q, M, k + i * k_pitch, k_pitch, K, width, scale, s + i, s_pitch, f16);
    for (; i < n; i++) score_block(q, M, k + i * k_pitch, k_pitch, 1, width, scale, s + i, s_pitch, f16);
}

/* KEYS at a time meet all queries while L1 holds them. */
enum { KEYS = 32 };

INLINE void score(const float *const *q, size_t m, const uint8_t *k, size_t k_pitch, size_t n, size_t width, float scale, float *s,
                  size_t s_pitch, const bool f16) {
    size_t step = m > 2 ? KEYS : n;
    for (size_t i = 0; i < n; i += step) {
        const uint8_t *keys = k + i * k_pitch;
        size_t some = KQ_MIN(n - i, step), j = 0;
        for (; j + 2 <= m; j += 2) score_rows(q + j, 2, keys, k_pitch, some, width, scale, s + j * s_pitch + i, s_pitch, f16);
        if (j < m) score_rows(q + j, 1, keys, k_pitch, some, width, scale, s + j * s_pitch + i, s_pitch, f16);
    }
}

/* ---- blend ----------------------------------------------------------------------------------------------------------- */

/* M rows times V vectors of four values, at most 16 sums, over all n positions: the sums stay in registers. */
INLINE void blend_block(const float *e, size_t e_pitch, const size_t M, const uint8_t *v, size_t v_pitch, size_t n, const size_t V, size_t d,
                        float *acc, size_t acc_pitch, const bool f16) {
    float32x4_t sum[4][16];
    for (size_t j = 0; j < M; j++)
        for (size_t c = 0; c < V; c++) sum[j][c] = vld1q_f32(acc + j * acc_pitch + d + 4 * c);
    for (size_t i = 0; i < n; i++) {
        float weight[4];
        for (size_t j = 0; j < M; j++) weight[j] = e[j * e_pitch + i];
        for (size_t c = 0; c < V; c++) {
            float32x4_t value = four_of(v + i * v_pitch, d + 4 * c, f16);
            for (size_t j = 0; j < M; j++) sum[j][c] = vaddq_f32(sum[j][c], vmulq_n_f32(value, weight[j]));
        }
    }
    for (size_t j = 0; j < M; j++)
        for (size_t c = 0; c < V; c++) vst1q_f32(acc + j * acc_pitch + d + 4 * c, sum[j][c]);
}

/* M rows, 1, 2 or 4. */
INLINE void blend_rows(const float *e, size_t e_pitch, const size_t M, const uint8_t *v, size_t v_pitch, size_t n, size_t width, float *acc,
                       size_t acc_pitch, const bool f16) {
    const size_t V = 16 / M;
    size_t d = 0;
    for (; d + 4 * V <= width; d += 4 * V) blend_block(e, e_pitch, M, v, v_pitch, n, V, d, acc, acc_pitch, f16);
    for (; d + 4 <= width; d += 4) blend_block(e, e_pitch, M, v, v_pitch, n, 1, d, acc, acc_pitch, f16);
    for (; d < width; d++)
        for (size_t j = 0; j < M; j++)
            for (size_t i = 0; i < n; i++) acc[j * acc_pitch + d] += e[j * e_pitch + i] * one_of(v + i * v_pitch, d, f16);
}

/* POSITIONS at a time meet all rows while L1 holds their values; enough that loading and storing the sums costs little. */
enum { POSITIONS = 32 };

INLINE void blend(const float *e, size_t e_pitch, size_t m, const uint8_t *v, size_t v_pitch, size_t n, size_t width, float *acc,
                  size_t acc_pitch, const bool f16) {
    size_t step = m > 4 ? POSITIONS : n;
    for (size_t i = 0; i < n; i += step) {
        const uint8_t *values = v + i * v_pitch;
        const float *weights = e + i;
        size_t some = KQ_MIN(n - i, step), j = 0;
        for (; j + 4 <= m; j += 4) blend_rows(weights + j * e_pitch, e_pitch, 4, values, v_pitch, some, width, acc + j * acc_pitch, acc_pitch, f16);
        if (m & 2) {
            blend_rows(weights + j * e_pitch, e_pitch, 2, values, v_pitch, some, width, acc + j * acc_pitch, acc_pitch, f16);
            j += 2;
        }
        if (m & 1) blend_rows(weights + j * e_pitch, e_pitch, 1, values, v_pitch, some, width, acc + j * acc_pitch, acc_pitch, f16);
    }
}

/* ---- soften ---------------------------------------------------------------------------------------------------------- */

/* The largest of s that is not a NaN: GCC 12 makes sixteen branches of the generic kernel's. */
static float largest_of(const float *s, size_t n) {
    float lane[KQ_EXACT_LANES], most = -INFINITY;
    float32x4_t four[4] = {vdupq_n_f32(-INFINITY), vdupq_n_f32(-INFINITY), vdupq_n_f32(-INFINITY), vdupq_n_f32(-INFINITY)};
    size_t i = 0;
    for (; i + KQ_EXACT_LANES <= n; i += KQ_EXACT_LANES) {
        for (size_t l = 0; l < 4; l++) {
            float32x4_t v = vld1q_f32(s + i + 4 * l);
            four[l] = vbslq_f32(vcgtq_f32(v, four[l]), v, four[l]);
        }
    }
    for (size_t l = 0; l < 4; l++) vst1q_f32(lane + 4 * l, four[l]);
    for (; i < n; i++) most = s[i] > most ? s[i] : most;
    for (size_t l = 0; l < KQ_EXACT_LANES; l++) most = lane[l] > most ? lane[l] : most;
    return most;
}

void kq_soften_f32_neon(float *s, size_t n, float *max, float *sum) {
    float most = largest_of(s, n), base = most == -INFINITY ? 0.0f : most, lane[KQ_EXACT_LANES] = {0};
    for (size_t i = 0; i < n; i++) s[i] = kq_expf(s[i] - base);
    size_t i = 0;
    for (; i + KQ_EXACT_LANES <= n; i += KQ_EXACT_LANES)
        for (size_t l = 0; l < KQ_EXACT_LANES; l++) lane[l] += s[i + l];
    for (size_t l = 0; i + l < n; l++) lane[l] += s[i + l];
    *max = most;
    *sum = kq_exact_sum(lane);
}

#define KERNEL(op) kq_##op##_neon
#include "cpu/attention_tmpl.h"
