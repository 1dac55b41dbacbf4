/* SPDX-License-Identifier: MIT */
/* The exact product, and activations to int8: two ymm registers are the sixteen lanes of the definition (kernels.h). */
#include "cpu/kernels.h"

#include "cpu/x86/turn_avx2.h"

#include <immintrin.h>

/* ---- exact ----------------------------------------------------------------------------------------------------------- */

/* Four weight rows times one activation row: 8 chains of additions keep two adders busy, and 10 loads are fewer than the 16
 * multiplications and additions that they feed, so a block of several activation rows would gain nothing. */
static void exact_row(const float *const w[KQ_EXACT_ROWS], const float *x, size_t n, float (*lanes)[KQ_EXACT_LANES]) {
    const float *w0 = w[0], *w1 = w[1], *w2 = w[2], *w3 = w[3];
    __m256 a0 = _mm256_loadu_ps(lanes[0]), a1 = _mm256_loadu_ps(lanes[0] + 8), b0 = _mm256_loadu_ps(lanes[1]), b1 = _mm256_loadu_ps(lanes[1] + 8);
    __m256 c0 = _mm256_loadu_ps(lanes[2]), c1 = _mm256_loadu_ps(lanes[2] + 8), d0 = _mm256_loadu_ps(lanes[3]), d1 = _mm256_loadu_ps(lanes[3] + 8);
    size_t k = 0;
    for (; k + 16 <= n; k += 16) {
        __m256 u = _mm256_loadu_ps(x + k), v = _mm256_loadu_ps(x + k + 8);
        a0 = _mm256_add_ps(a0, _mm256_mul_ps(_mm256_loadu_ps(w0 + k), u));
        a1 = _mm256_add_ps(a1, _mm256_mul_ps(_mm256_loadu_ps(w0 + k + 8), v));
        b0 = _mm256_add_ps(b0, _mm256_mul_ps(_mm256_loadu_ps(w1 + k), u));
        b1 = _mm256_add_ps(b1, _mm256_mul_ps(_mm256_loadu_ps(w1 + k + 8), v));
        c0 = _mm256_add_ps(c0, _mm256_mul_ps(_mm256_loadu_ps(w2 + k), u));
        c1 = _mm256_add_ps(c1, _mm256_mul_ps(_mm256_loadu_ps(w2 + k + 8), v));
        d0 = _mm256_add_ps(d0, _mm256_mul_ps(_mm256_loadu_ps(w3 + k), u));
        d1 = _mm256_add_ps(d1, _mm256_mul_ps(_mm256_loadu_ps(w3 + k + 8), v));
    }
    _mm256_storeu_ps(lanes[0], a0), _mm256_storeu_ps(lanes[0] + 8, a1), _mm256_storeu_ps(lanes[1], b0), _mm256_storeu_ps(lanes[1] + 8, b1);
    _mm256_storeu_ps(lanes[2], c0), _mm256_storeu_ps(lanes[2] + 8, c1), _mm256_storeu_ps(lanes[3], d0), _mm256_storeu_ps(lanes[3] + 8, d1);
    for (size_t i = 0; i < KQ_EXACT_ROWS; i++)
        for (size_t l = 0; k + l < n; l++) lanes[i][l] += w[i][k + l] * x[k + l];
}

void kq_exact_f32_avx2(const float *const w[KQ_EXACT_ROWS], const float *const *x, size_t m, size_t n,
                       float (*lanes)[KQ_EXACT_ROWS][KQ_EXACT_LANES]) {
    for (size_t j = 0; j < m; j++) exact_row(w, x[j], n, lanes[j]);
}

/* ---- act8 ------------------------------------------------------------------------------------------------------------ */

/* The sums of the four 32-bit lanes in the lower and in the upper half. */
static inline void half_totals(__m256i v, int32_t *low, int32_t *high) {
    v = _mm256_add_epi32(v, _mm256_shuffle_epi32(v, 0x4e));
    v = _mm256_add_epi32(v, _mm256_shuffle_epi32(v, 0xb1));
    *low = _mm256_cvtsi256_si32(v);
    *high = _mm256_extract_epi32(v, 4);
}

static inline __m256i round_times(__m256 x, __m256 inverse) { return _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse)); }

static void convert_group(const float *x, int8_t *q, float *scale, float *sum, float *sum16) {
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff), in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256 v[4];
    __m256i most = _mm256_setzero_si256();
    for (size_t i = 0; i < 4; i++) {
        v[i] = _mm256_loadu_ps(x + 8 * i);
        most = _mm256_max_epu32(most, _mm256_and_si256(_mm256_castps_si256(v[i]), magnitude));
    }
    __m128i four = _mm_max_epu32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0x4e));
    uint32_t bits = (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(four, _mm_shuffle_epi32(four, 0xb1)));
    if (bits < 0x03800000u || bits >= 0x7f800000u) { /* below 2^-120; NaN or infinite */
        _mm256_storeu_si256((__m256i *)(void *)q, _mm256_setzero_si256());
        *scale = *sum = sum16[0] = sum16[1] = bits < 0x7f800000u ? 0.0f : kq_bits_to_f32(0x7fc00000u);
        return;
    }
    float largest = kq_bits_to_f32(bits);
    __m256 inverse = _mm256_set1_ps(127.0f / largest);
    /* packing works in 128-bit halves: 32-bit words come out as 0 4 1 5 2 6 3 7 */
    __m256i a = _mm256_packs_epi32(round_times(v[0], inverse), round_times(v[1], inverse));
    __m256i b = _mm256_packs_epi32(round_times(v[2], inverse), round_times(v[3], inverse));
    _mm256_storeu_si256((__m256i *)(void *)q, _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), in_order));
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i pairs_a = _mm256_madd_epi16(a, ones), pairs_b = _mm256_madd_epi16(b, ones);
    int32_t total[4];
    half_totals(pairs_a, &total[0], &total[1]);
    half_totals(pairs_b, &total[2], &total[3]);
    *scale = largest / 127.0f;
    sum16[0] = *scale * (float)(total[0] + total[1]);
    sum16[1] = *scale * (float)(total[2] + total[3]);
    *sum = *scale * (float)(total[0] + total[1] + total[2] + total[3]);
}

static void convert_block(const float *x, kq_act8 *out) {
    for (size_t g = 0; g < 8; g++) convert_group(x + 32 * g, out->q + 32 * g, &out->scale[g], &out->sum[g], &out->sum16[2 * g]);
}

void kq_act8_f32_avx2(const float *x, size_t n, kq_act8 *out) {
    for (; n >= KQ_ACT_WEIGHTS; n -= KQ_ACT_WEIGHTS, x += KQ_ACT_WEIGHTS) convert_block(x, out++);
    if (!n) return;
    _Alignas(64) float rest[KQ_ACT_WEIGHTS] = {0};
    memcpy(rest, x, n * sizeof *x);
    convert_block(rest, out);
}

/* ---- weave ----------------------------------------------------------------------------------------------------------- */

/* One block, or none, to the left or right half of a piece. */
static void weave_block(const kq_act8 *a, uint8_t *out) {
    __m256i g[8], q[8];
    for (int i = 0; i < 8; i++) g[i] = a ? _mm256_load_si256((const __m256i *)(const void *)(a->q + 32 * i)) : _mm256_setzero_si256();
    turn_groups(g, q);
    for (int s = 0; s < 8; s++) _mm256_store_si256((__m256i *)(void *)(out + 64 * s), q[s]);
    __m256 zero = _mm256_setzero_ps(), low = a ? _mm256_load_ps(a->sum16) : zero, high = a ? _mm256_load_ps(a->sum16 + 8) : zero;
    float *floats = (float *)(void *)(out + 512);
    _mm256_store_ps(floats, a ? turn_floats(_mm256_load_ps(a->scale)) : zero);
    _mm256_store_ps(floats + 16, a ? turn_floats(_mm256_load_ps(a->sum)) : zero);
    _mm256_store_ps(floats + 32, turn_half_groups(low, high, 0));
    _mm256_store_ps(floats + 48, turn_half_groups(low, high, 1));
}

void kq_weave_f32_avx2(const kq_act8 *x, size_t n, size_t m, uint8_t *out) {
    for (size_t i = 0; i < n; i += 2, out += m * KQ_WOVEN) {
        weave_block(x + i, out);
        weave_block(i + 1 < n ? x + i + 1 : NULL, out + 32);
    }
}

/* ---- rowsf ----------------------------------------------------------------------------------------------------------- */

#define ROWSF kq_rowsf_f32_avx2
#define WEIGHT_BYTES 4
#define WIDEN(p) _mm256_loadu_ps((const float *)(const void *)(p))
#include "cpu/x86/rowsf_tmpl.h"
