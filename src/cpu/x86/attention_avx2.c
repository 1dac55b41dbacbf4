/* SPDX-License-Identifier: MIT */
/* Attention's products with AVX2 and F16C: two ymm registers are the sixteen lanes of the definition. Products are rounded before
 * they are added: no fused multiply-add. What a row has behind its last 16 elements is copied and filled up with zeros; adding 0 * 0
 * changes no lane: a sum that began at +0 is never -0. */
#include "cpu/kernels.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

INLINE __m256 load(const uint8_t *row, size_t d, bool f16) {
    return f16 ? _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(row + 2 * d))) : _mm256_loadu_ps((const float *)(const void *)row + d);
}

INLINE float load_one(const uint8_t *row, size_t d, bool f16) { return f16 ? kq_f16_to_f32(kq_load_u16(row + 2 * d)) : kq_load_f32(row + 4 * d); }

/* ---- score ----------------------------------------------------------------------------------------------------------- */

/* The tree of kq_exact_sum for two keys whose lanes 8 to 15 were added to 0 to 7. */
INLINE void sum_two(__m256 a, __m256 b, float scale, float *to, size_t n) {
    __m256 x = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31)); /* 128 bits a key now */
    x = _mm256_add_ps(x, _mm256_permute_ps(x, 0x4e));
    x = _mm256_add_ps(x, _mm256_permute_ps(x, 0xb1));
    x = _mm256_mul_ps(x, _mm256_set1_ps(scale));
    if (n > 0) to[0] = _mm256_cvtss_f32(x);
    if (n > 1) to[1] = _mm_cvtss_f32(_mm256_extractf128_ps(x, 1));
}

/* M queries times K keys (even), of which n are there; the first stands in for the others. M * K = 4: eight chains. */
INLINE void score_block(const float *const *q, const size_t M, const uint8_t *k, size_t k_pitch, const size_t K, size_t n, size_t width,
                        float scale, float *s, size_t s_pitch, const bool f16) {
    __m256 low[2][4], high[2][4];
    const uint8_t *row[4];
    for (size_t i = 0; i < K; i++) row[i] = k + (i < n ? i : 0) * k_pitch;
    for (size_t j = 0; j < M; j++)
        for (size_t i = 0; i < K; i++) low[j][i] = high[j][i] = _mm256_setzero_ps();
    size_t d = 0;
    for (; d + 16 <= width; d += 16) {
        for (size_t i = 0; i < K; i++) {
            __m256 a = load(row[i], d, f16), b = load(row[i], d + 8, f16);
            for (size_t j = 0; j < M; j++) {
                low[j][i] = _mm256_add_ps(low[j][i], _mm256_mul_ps(_mm256_loadu_ps(q[j] + d), a));
                high[j][i] = _mm256_add_ps(high[j][i], _mm256_mul_ps(_mm256_loadu_ps(q[j] + d + 8), b));
            }
        }
    }
    if (d < width) {
        float query[2][16] = {{0}}, key[16] = {0};
        for (size_t j = 0; j < M; j++) memcpy(query[j], q[j] + d, (width - d) * sizeof(float));
        for (size_t i = 0; i < K; i++) {
            for (size_t l = 0; d + l < width; l++) key[l] = load_one(row[i], d + l, f16);
            for (size_t j = 0; j < M; j++) {
                low[j][i] = _mm256_add_ps(low[j][i], _mm256_mul_ps(_mm256_loadu_ps(query[j]), _mm256_loadu_ps(key)));
                high[j][i] = _mm256_add_ps(high[j][i], _mm256_mul_ps(_mm256_loadu_ps(query[j] + 8), _mm256_loadu_ps(key + 8)));
            }
        }
    }
    for (size_t j = 0; j < M; j++)
        for (size_t i = 0; i < K; i += 2)
            sum_two(_mm256_add_ps(low[j][i], high[j][i]), _mm256_add_ps(low[j][i + 1], high[j][i + 1]), scale, s + j * s_pitch + i,
                    n - KQ_MIN(n, i));
}

INLINE void score(const float *const *q, size_t m, const uint8_t *k, size_t k_pitch, size_t n, size_t width, float scale, float *s,
                  size_t s_pitch, const bool f16) {
    for (size_t i = 0; m >= 2 && i < n; i += 2) {
        for (size_t j = 0; j + 2 <= m; j += 2)
            score_block(q + j, 2, k + i * k_pitch, k_pitch, 2, KQ_MIN(n - i, 2), width, scale, s + j * s_pitch + i, s_pitch, f16);
    }
    for (size_t i = 0; m % 2 && i < n; i += 4)
        score_block(q + m - 1, 1, k + i * k_pitch, k_pitch, 4, KQ_MIN(n - i, 4), width, scale, s + (m - 1) * s_pitch + i, s_pitch, f16);
}

/* ---- blend ----------------------------------------------------------------------------------------------------------- */

/* M rows times V vectors of 8 values, over all n positions: the sums stay in registers. */
INLINE void blend_block(const float *e, size_t e_pitch, const size_t M, const uint8_t *v, size_t v_pitch, size_t n, const size_t V, size_t d,
                        float *acc, size_t acc_pitch, const bool f16) {
    __m256 sum[4][8];
    for (size_t j = 0; j < M; j++)
        for (size_t c = 0; c < V; c++) sum[j][c] = _mm256_loadu_ps(acc + j * acc_pitch + d + 8 * c);
    for (size_t i = 0; i < n; i++) {
        __m256 value[8];
        for (size_t c = 0; c < V; c++) value[c] = load(v + i * v_pitch, d + 8 * c, f16);
        for (size_t j = 0; j < M; j++) {
            __m256 weight = _mm256_set1_ps(e[j * e_pitch + i]);
            for (size_t c = 0; c < V; c++) sum[j][c] = _mm256_add_ps(sum[j][c], _mm256_mul_ps(weight, value[c]));
        }
    }
    for (size_t j = 0; j < M; j++)
        for (size_t c = 0; c < V; c++) _mm256_storeu_ps(acc + j * acc_pitch + d + 8 * c, sum[j][c]);
}

/* M rows, M V = 8: eight chains. */
INLINE void blend_rows(const float *e, size_t e_pitch, const size_t M, const size_t V, const uint8_t *v, size_t v_pitch, size_t n, size_t width,
                       float *acc, size_t acc_pitch, const bool f16) {
    size_t d = 0;
    for (; d + 8 * V <= width; d += 8 * V) blend_block(e, e_pitch, M, v, v_pitch, n, V, d, acc, acc_pitch, f16);
    for (; d + 8 <= width; d += 8) blend_block(e, e_pitch, M, v, v_pitch, n, 1, d, acc, acc_pitch, f16);
    for (; d < width; d++)
        for (size_t i = 0; i < n; i++) {
            float value = load_one(v + i * v_pitch, d, f16);
            for (size_t j = 0; j < M; j++) acc[j * acc_pitch + d] += e[j * e_pitch + i] * value;
        }
}

INLINE void blend(const float *e, size_t e_pitch, size_t m, const uint8_t *v, size_t v_pitch, size_t n, size_t width, float *acc,
                  size_t acc_pitch, const bool f16) {
    size_t j = 0;
    for (; j + 4 <= m; j += 4) blend_rows(e + j * e_pitch, e_pitch, 4, 2, v, v_pitch, n, width, acc + j * acc_pitch, acc_pitch, f16);
    for (; j + 2 <= m; j += 2) blend_rows(e + j * e_pitch, e_pitch, 2, 4, v, v_pitch, n, width, acc + j * acc_pitch, acc_pitch, f16);
    if (j < m) blend_rows(e + j * e_pitch, e_pitch, 1, 8, v, v_pitch, n, width, acc + j * acc_pitch, acc_pitch, f16);
}

#define KERNEL(op) kq_##op##_avx2
#include "cpu/attention_tmpl.h"
