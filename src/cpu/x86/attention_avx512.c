/* SPDX-License-Identifier: MIT */
/* Attention's products with AVX-512: a zmm register is the sixteen lanes of the definition. Products are rounded before they are
 * added: no fused multiply-add. Elements that a row does not have are loaded as zeros, and adding 0 * 0 changes no lane: a sum that began
 * at +0 is never -0. */
#include "cpu/kernels.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

INLINE __mmask16 mask_of(size_t n) { return (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1); }

INLINE __m512 load(const uint8_t *row, size_t d, bool f16) {
    return f16 ? _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(row + 2 * d))) : _mm512_loadu_ps(row + 4 * d);
}
INLINE __m512 load_some(const uint8_t *row, size_t d, __mmask16 some, bool f16) {
    return f16 ? _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(some, row + 2 * d)) : _mm512_maskz_loadu_ps(some, row + 4 * d);
}

/* ---- score ----------------------------------------------------------------------------------------------------------- */

/* The tree of kq_exact_sum for four keys at once: lanes 0 and 8, then 4, 2 and 1 apart. */
INLINE __m128 sum_four(const __m512 *a) {
    __m512 x = _mm512_add_ps(_mm512_shuffle_f32x4(a[0], a[1], 0x44), _mm512_shuffle_f32x4(a[0], a[1], 0xee));
    __m512 y = _mm512_add_ps(_mm512_shuffle_f32x4(a[2], a[3], 0x44), _mm512_shuffle_f32x4(a[2], a[3], 0xee));
    x = _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd)); /* 128 bits a key now */
    x = _mm512_add_ps(x, _mm512_permute_ps(x, 0x4e));
    x = _mm512_add_ps(x, _mm512_permute_ps(x, 0xb1));
    return _mm512_castps512_ps128(_mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), x));
}

/* M queries times K keys (a multiple of 4): with M = K = 4 eight loads feed 16 chains. Of the keys, the last n do; the others are
 * the first once more. */
INLINE void score_block(const float *const *q, const size_t M, const uint8_t *k, size_t k_pitch, const size_t K, size_t n, size_t width,
                        float scale, float *s, size_t s_pitch, const bool f16) {
    __m512 sum[4][8];
    const uint8_t *row[8];
    for (size_t i = 0; i < K; i++) row[i] = k + (i < n ? i : 0) * k_pitch;
    for (size_t j = 0; j < M; j++)
        for (size_t i = 0; i < K; i++) sum[j][i] = _mm512_setzero_ps();
    size_t d = 0;
    for (; d + 16 <= width; d += 16) {
        __m512 key[8];
        for (size_t i = 0; i < K; i++) key[i] = load(row[i], d, f16);
        for (size_t j = 0; j < M; j++) {
            __m512 query = _mm512_loadu_ps(q[j] + d);
            for (size_t i = 0; i < K; i++) sum[j][i] = _mm512_add_ps(sum[j][i], _mm512_mul_ps(query, key[i]));
        }
    }
    if (d < width) {
        __mmask16 some = mask_of(width - d);
        for (size_t i = 0; i < K; i++) {
            __m512 key = load_some(row[i], d, some, f16);
            for (size_t j = 0; j < M; j++) sum[j][i] = _mm512_add_ps(sum[j][i], _mm512_mul_ps(_mm512_maskz_loadu_ps(some, q[j] + d), key));
        }
    }
    for (size_t j = 0; j < M; j++) {
        for (size_t i = 0; i < K; i += 4) {
            __m128 four = _mm_mul_ps(sum_four(sum[j] + i), _mm_set1_ps(scale));
            size_t left = n - KQ_MIN(n, i);
            _mm_mask_storeu_ps(s + j * s_pitch + i, (__mmask8)mask_of(KQ_MIN(left, 4)), four);
        }
    }
}

INLINE void score(const float *const *q, size_t m, const uint8_t *k, size_t k_pitch, size_t n, size_t width, float scale, float *s,
                  size_t s_pitch, const bool f16) {
    for (size_t i = 0; m >= 4 && i < n; i += 4) {
        for (size_t j = 0; j + 4 <= m; j += 4)
            score_block(q + j, 4, k + i * k_pitch, k_pitch, 4, KQ_MIN(n - i, 4), width, scale, s + j * s_pitch + i, s_pitch, f16);
    }
    for (size_t i = 0; m % 4 && i < n; i += 8) {
        const uint8_t *keys = k + i * k_pitch;
        size_t some = KQ_MIN(n - i, 8), j = m / 4 * 4;
        if (m & 2) {
            score_block(q + j, 2, keys, k_pitch, 8, some, width, scale, s + j * s_pitch + i, s_pitch, f16);
            j += 2;
        }
        if (m & 1) score_block(q + j, 1, keys, k_pitch, 8, some, width, scale, s + j * s_pitch + i, s_pitch, f16);
    }
}

/* ---- blend ----------------------------------------------------------------------------------------------------------- */

/* M rows times V vectors of 16 values, over all n positions: the sums stay in registers. Whole vectors, or one of `some`. */
INLINE void blend_block(const float *e, size_t e_pitch, const size_t M, const uint8_t *v, size_t v_pitch, size_t n, const size_t V, size_t d,
                        __mmask16 some, float *acc, size_t acc_pitch, const bool f16, const bool whole) {
    __m512 sum[4][8];
    for (size_t j = 0; j < M; j++)
        for (size_t c = 0; c < V; c++) {
            float *from = acc + j * acc_pitch + d + 16 * c;
            sum[j][c] = whole ? _mm512_loadu_ps(from) : _mm512_maskz_loadu_ps(some, from);
        }
    for (size_t i = 0; i < n; i++) {
        __m512 value[8];
        for (size_t c = 0; c < V; c++) value[c] = whole ? load(v + i * v_pitch, d + 16 * c, f16) : load_some(v + i * v_pitch, d, some, f16);
        for (size_t j = 0; j < M; j++) {
            __m512 weight = _mm512_set1_ps(e[j * e_pitch + i]);
            for (size_t c = 0; c < V; c++) sum[j][c] = _mm512_add_ps(sum[j][c], _mm512_mul_ps(weight, value[c]));
        }
    }
    for (size_t j = 0; j < M; j++)
        for (size_t c = 0; c < V; c++) {
            float *to = acc + j * acc_pitch + d + 16 * c;
            if (whole) _mm512_storeu_ps(to, sum[j][c]);
            else _mm512_mask_storeu_ps(to, some, sum[j][c]);
        }
}

/* M rows: as many vectors at a time as registers allow. */
INLINE void blend_rows(const float *e, size_t e_pitch, const size_t M, const uint8_t *v, size_t v_pitch, size_t n, size_t width, float *acc,
                       size_t acc_pitch, const bool f16) {
    size_t d = 0;
    if (M < 4) {
        for (; d + 128 <= width; d += 128) blend_block(e, e_pitch, M, v, v_pitch, n, 8, d, 0, acc, acc_pitch, f16, true);
    }
    for (; d + 64 <= width; d += 64) blend_block(e, e_pitch, M, v, v_pitch, n, 4, d, 0, acc, acc_pitch, f16, true);
    for (; d + 16 <= width; d += 16) blend_block(e, e_pitch, M, v, v_pitch, n, 1, d, 0, acc, acc_pitch, f16, true);
    if (d < width) blend_block(e, e_pitch, M, v, v_pitch, n, 1, d, mask_of(width - d), acc, acc_pitch, f16, false);
}

INLINE void blend_positions(const float *e, size_t e_pitch, size_t m, const uint8_t *v, size_t v_pitch, size_t n, size_t width, float *acc,
                            size_t acc_pitch, const bool f16) {
    size_t j = 0;
    for (; j + 4 <= m; j += 4) blend_rows(e + j * e_pitch, e_pitch, 4, v, v_pitch, n, width, acc + j * acc_pitch, acc_pitch, f16);
    if (m & 2) {
        blend_rows(e + j * e_pitch, e_pitch, 2, v, v_pitch, n, width, acc + j * acc_pitch, acc_pitch, f16);
        j += 2;
    }
    if (m & 1) blend_rows(e + j * e_pitch, e_pitch, 1, v, v_pitch, n, width, acc + j * acc_pitch, acc_pitch, f16);
}

/* Several groups of rows go over POSITIONS values before the next: few enough to stay in L1, where the pitch of a cache puts them into few
 * sets; enough that loading and storing the sums costs little. */
enum { POSITIONS = 32 };

INLINE void blend(const float *e, size_t e_pitch, size_t m, const uint8_t *v, size_t v_pitch, size_t n, size_t width, float *acc,
                  size_t acc_pitch, const bool f16) {
    size_t step = m > 4 ? POSITIONS : n;
    for (size_t i = 0; i < n; i += step)
        blend_positions(e + i, e_pitch, m, v + i * v_pitch, v_pitch, KQ_MIN(n - i, step), width, acc, acc_pitch, f16);
}

#define KERNEL(op) kq_##op##_avx512
#include "cpu/attention_tmpl.h"
