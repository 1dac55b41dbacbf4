/* SPDX-License-Identifier: MIT */
/* decode of q3_k for AVX-512: two bits of a code as in q2_k, the third from the mask by a GF(2) product of its own. */
#include "cpu/x86/unit_avx512icl.h"

#define KERNEL(op) kq_##op##_q3_k_avx512icl
#define BLOCK kq_block_q3_k
#define UNIT_BLOCKS 1
#define GROUP 16
#define OFFSET 4
#define MINIMA 0

typedef struct lanes {
    __m512i runs[2], third[4];
    __m128i low_bytes, low_bits, high_bytes, high_bits;
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    l.runs[0] = halves(TWO_BITS(0), TWO_BITS(1));
    l.runs[1] = halves(TWO_BITS(2), TWO_BITS(3));
    for (int p = 0; p < 4; p++) l.third[p] = halves(ONE_BIT(2 * p, 2), ONE_BIT(2 * p + 1, 2));
    l.low_bytes = _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9);
    l.low_bits = _mm_setr_epi8(0, 8, 16, 24, 32, 40, 48, 56, 4, 12, 20, 28, 36, 44, 52, 60);
    l.high_bytes = _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13);
    l.high_bits = _mm_setr_epi8(60, 4, 12, 20, 62, 6, 14, 22, 0, 8, 16, 24, 2, 10, 18, 26);
    return l;
}

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    __m512i hmask = twice(b->hmask);
    for (int p = 0; p < 4; p++) {
        __m512i low = _mm512_gf2p8affine_epi64_epi8(twice(b->qs + 32 * (p / 2)), l->runs[p % 2], 0);
        codes[p] = _mm512_or_si512(low, _mm512_gf2p8affine_epi64_epi8(hmask, l->third[p], 0));
    }
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    __m128i end = load16(b->scales - 2); /* the scales are its bytes 2..13, d its last two */
    __m128i low = _mm_multishift_epi64_epi8(l->low_bits, _mm_shuffle_epi8(end, l->low_bytes));
    __m128i high = _mm_multishift_epi64_epi8(l->high_bits, _mm_shuffle_epi8(end, l->high_bytes));
    __m128i six = _mm_or_si128(_mm_and_si128(low, _mm_set1_epi8(15)), _mm_and_si128(high, _mm_set1_epi8(48)));
    __m512 s = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_sub_epi8(six, _mm_set1_epi8(32))));
    *scales = *minima = _mm512_mul_ps(s, one_half(b->d));
}

#include "cpu/x86/decode_avx512icl_tmpl.h"
