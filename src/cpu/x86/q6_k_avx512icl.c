/* SPDX-License-Identifier: MIT */
/* q6_k rows for AVX-512 with VNNI and GFNI.
 *
 * 64 bytes of ql are, by their low nibbles, 64 weights in order, and by their high ones the next 64. The two upper bits come from 32
 * bytes of qh, broadcast to both halves: one GF(2) product takes its own two bits in each half and puts them at 4 and 5.
 *
 * Codes are 0..63 and stand for -32..31: the products are taken with the codes as they are, and 32 times the scale times the sum of
 * the activations is taken off at the end of a row, in one sum. VNNI: four products of at most 63 * 127, no saturation.
 * A group of 16 weights is four lanes of a product. */
#include "codec/blocks.h"
#include "cpu/kernels.h"
#include "cpu/x86/prefetch.h"

#include <immintrin.h>

typedef struct lanes {
    __m512i low;      /* 15 in each byte */
    __m512i high;     /* GF(2): the high nibble */
    __m512i upper[2]; /* GF(2): two bits to 4 and 5, of runs 0 and 1, and of runs 2 and 3 */
    __m512i group[4]; /* lane of each lane's scale */
    __m512i pairs;    /* activations have a scale for two groups */
} lanes;

static inline __attribute__((always_inline)) long long two_bits(int run) { return (1ll << 24 | 2ll << 16) << (2 * run); }

static inline __attribute__((always_inline)) lanes make_lanes(void) {
    lanes l;
    l.low = _mm512_set1_epi8(15);
    l.high = _mm512_set1_epi64(0x1020408000000000ll);
    for (int k = 0; k < 2; k++)
        l.upper[k] = _mm512_inserti64x4(_mm512_set1_epi64(two_bits(2 * k)), _mm256_set1_epi64x(two_bits(2 * k + 1)), 1);
    const __m512i four = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    for (int p = 0; p < 4; p++) l.group[p] = _mm512_add_epi32(four, _mm512_set1_epi32(4 * p));
    l.pairs = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return l;
}

static inline __attribute__((always_inline)) __m512 block_scales(const kq_block_q6_k *b) {
    /* d is the last of these four bytes */
    __m128 d = _mm_cvtph_ps(_mm_cvtsi32_si128((int)kq_load_u32((const uint8_t *)b + 206)));
    __m512 s = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)b->scales)));
    return _mm512_mul_ps(s, _mm512_broadcastss_ps(_mm_movehdup_ps(d)));
}

/* The codes of weights 64p .. 64p + 63. */
static inline __attribute__((always_inline)) __m512i block_codes(const kq_block_q6_k *b, int p, const lanes *l) {
    __m512i ql = _mm512_loadu_si512(b->ql + 64 * (p / 2));
    __m512i qh = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(const void *)(b->qh + 32 * (p / 2))));
    __m512i upper = _mm512_gf2p8affine_epi64_epi8(qh, l->upper[p % 2], 0);
    if (p % 2) return _mm512_or_si512(_mm512_gf2p8affine_epi64_epi8(ql, l->high, 0), upper);
    return _mm512_ternarylogic_epi64(ql, l->low, upper, 0xea); /* ql & low | upper */
}

static inline __attribute__((always_inline)) void rows_m(const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks,
                                                         const kq_act8 *const *x, float *const *y, const size_t M) {
    const lanes l = make_lanes();
    for (size_t r = 0; r < n_rows; r++, w += row_bytes) {
        const kq_block_q6_k *b = (const kq_block_q6_k *)(const void *)w;
        __m512 even[4], odd[4], offsets[4];
        for (size_t j = 0; j < M; j++) even[j] = odd[j] = offsets[j] = _mm512_setzero_ps();
        for (size_t i = 0; i < n_blocks; i++) {
            prefetch_weights(b + i, sizeof *b);
            __m512 scales = block_scales(b + i), t[4];
            for (size_t j = 0; j < M; j++) {
                __m512 x_scales = _mm512_permutexvar_ps(l.pairs, _mm512_load_ps(x[j][i].scale)); /* with sum[] behind it, unused */
                t[j] = _mm512_mul_ps(scales, x_scales);
                offsets[j] = _mm512_fmadd_ps(scales, _mm512_load_ps(x[j][i].sum16), offsets[j]);
            }
            for (int p = 0; p < 4; p++) {
                __m512i codes = block_codes(b + i, p, &l);
                for (size_t j = 0; j < M; j++) {
                    __m512i products = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, _mm512_load_si512(x[j][i].q + 64 * p));
                    __m512 *sum = p & 1 ? &odd[j] : &even[j];
                    *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), _mm512_permutexvar_ps(l.group[p], t[j]), *sum);
                }
            }
        }
        for (size_t j = 0; j < M; j++)
            y[j][r] = _mm512_reduce_add_ps(_mm512_fnmadd_ps(_mm512_set1_ps(32.0f), offsets[j], _mm512_add_ps(even[j], odd[j])));
    }
}

#define ROWS_OF(op) kq_##op##_q6_k_avx512icl
#include "cpu/x86/rowsm_tmpl.h"
