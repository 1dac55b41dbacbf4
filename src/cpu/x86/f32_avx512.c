/* SPDX-License-Identifier: MIT */
/* The exact product, and activations to int8: one zmm register is the sixteen lanes of the definition (kernels.h). */
#include "cpu/kernels.h"

#include <immintrin.h>

/* ---- exact ----------------------------------------------------------------------------------------------------------- */

/* Four weight rows times M activation rows: 4 M sums in registers. With M = 4 a load serves four products, and 16 chains of
 * additions are more than the adders' latency needs. A product is rounded before it is added: no fused multiply-add here. */
static inline __attribute__((always_inline)) void exact_m(const float *const *w, const float *const *x, const size_t M, size_t n,
                                                          float (*lanes)[KQ_EXACT_ROWS][KQ_EXACT_LANES]) {
    const float *w0 = w[0], *w1 = w[1], *w2 = w[2], *w3 = w[3];
    __m512 sum[4][4];
    for (size_t j = 0; j < M; j++)
        for (size_t i = 0; i < 4; i++) sum[j][i] = _mm512_loadu_ps(lanes[j][i]);
    size_t k = 0;
    for (; k + 16 <= n; k += 16) {
        __m512 a = _mm512_loadu_ps(w0 + k), b = _mm512_loadu_ps(w1 + k), c = _mm512_loadu_ps(w2 + k), d = _mm512_loadu_ps(w3 + k);
        for (size_t j = 0; j < M; j++) {
            __m512 v = _mm512_loadu_ps(x[j] + k);
            sum[j][0] = _mm512_add_ps(sum[j][0], _mm512_mul_ps(a, v));
            sum[j][1] = _mm512_add_ps(sum[j][1], _mm512_mul_ps(b, v));
            sum[j][2] = _mm512_add_ps(sum[j][2], _mm512_mul_ps(c, v));
            sum[j][3] = _mm512_add_ps(sum[j][3], _mm512_mul_ps(d, v));
        }
    }
    if (k < n) {
        __mmask16 rest = (__mmask16)((1u << (n - k)) - 1); /* lanes without an element keep their sum */
        for (size_t j = 0; j < M; j++) {
            __m512 v = _mm512_maskz_loadu_ps(rest, x[j] + k);
            for (size_t i = 0; i < 4; i++) {
                __m512 product = _mm512_mul_ps(_mm512_maskz_loadu_ps(rest, w[i] + k), v);
                sum[j][i] = _mm512_mask_add_ps(sum[j][i], rest, sum[j][i], product);
            }
        }
    }
    for (size_t j = 0; j < M; j++)
        for (size_t i = 0; i < 4; i++) _mm512_storeu_ps(lanes[j][i], sum[j][i]);
}

void kq_exact_f32_avx512(const float *const w[KQ_EXACT_ROWS], const float *const *x, size_t m, size_t n,
                         float (*lanes)[KQ_EXACT_ROWS][KQ_EXACT_LANES]) {
    size_t j = 0;
    for (; j + 4 <= m; j += 4) exact_m(w, x + j, 4, n, lanes + j);
    for (; j + 2 <= m; j += 2) exact_m(w, x + j, 2, n, lanes + j);
    for (; j < m; j++) exact_m(w, x + j, 1, n, lanes + j);
}

/* ---- act8 ------------------------------------------------------------------------------------------------------------ */

static void convert_block(const float *x, kq_act8 *out) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    _Alignas(32) uint32_t most[8];
    for (size_t g = 0; g < 8; g++) {
        __m512i a = _mm512_and_si512(_mm512_loadu_si512(x + 32 * g), magnitude);
        __m512i b = _mm512_and_si512(_mm512_loadu_si512(x + 32 * g + 16), magnitude);
        most[g] = _mm512_reduce_max_epu32(_mm512_max_epu32(a, b));
    }
    __m256i bits = _mm256_load_si256((const __m256i *)most);
    __m256 largest = _mm256_castsi256_ps(bits), steps = _mm256_set1_ps(127.0f);
    __mmask8 special = _mm256_cmpge_epu32_mask(bits, _mm256_set1_epi32(0x7f800000));
    __mmask8 good = _mm256_cmpge_epu32_mask(bits, _mm256_set1_epi32(0x03800000)) & (__mmask8)~special; /* at least 2^-120 */
    __m256 scales = _mm256_maskz_div_ps(good, largest, steps);
    _Alignas(32) float inverse[8], scale[8];
    _mm256_store_ps(inverse, _mm256_maskz_div_ps(good, steps, largest));
    _mm256_store_ps(scale, _mm256_mask_mov_ps(scales, special, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000))));
    memcpy(out->scale, scale, sizeof scale);
    _Alignas(64) int32_t total[16];
    for (size_t h = 0; h < 16; h++) {
        __mmask16 keep = (__mmask16)-(good >> (h / 2) & 1);
        __m512i q = _mm512_cvtps_epi32(_mm512_maskz_mul_ps(keep, _mm512_loadu_ps(x + 16 * h), _mm512_set1_ps(inverse[h / 2])));
        _mm_storeu_si128((__m128i *)(void *)(out->q + 16 * h), _mm512_cvtepi32_epi8(q));
        total[h] = _mm512_reduce_add_epi32(q);
    }
    const __m512i pairs = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    __m512i halves = _mm512_load_si512(total);
    __m512 half_scales = _mm512_permutexvar_ps(pairs, _mm512_castps256_ps512(_mm256_load_ps(scale)));
    _mm512_storeu_ps(out->sum16, _mm512_mul_ps(half_scales, _mm512_cvtepi32_ps(halves)));
    __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    __m512i sums = _mm512_add_epi32(_mm512_permutexvar_epi32(even, halves), _mm512_permutexvar_epi32(odd, halves));
    _mm256_storeu_ps(out->sum, _mm256_mul_ps(_mm256_load_ps(scale), _mm256_cvtepi32_ps(_mm512_castsi512_si256(sums))));
}

void kq_act8_f32_avx512(const float *x, size_t n, kq_act8 *out) {
    for (; n >= KQ_ACT_WEIGHTS; n -= KQ_ACT_WEIGHTS, x += KQ_ACT_WEIGHTS) convert_block(x, out++);
    if (!n) return;
    _Alignas(64) float rest[KQ_ACT_WEIGHTS] = {0};
    memcpy(rest, x, n * sizeof *x);
    convert_block(rest, out);
}

/* ---- rowsf ----------------------------------------------------------------------------------------------------------- */

#define ROWSF kq_rowsf_f32_avx512
#define WEIGHT_BYTES 4
#define WIDEN(p) _mm512_loadu_ps(p)
#include "cpu/x86/rowsf_tmpl.h"
