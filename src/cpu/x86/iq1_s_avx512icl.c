/* SPDX-License-Identifier: MIT */
/* decode of iq1_s for AVX-512. A weight is scale * (grid + delta): eight times the bracket is a whole number, -9 .. 9, and the scale is divided by eight, exactly. */
#include "cpu/x86/grid_avx512icl.h"

#define KERNEL(op) kq_##op##_iq1_s_avx512icl
#define BLOCK kq_block_iq1_s
#define UNIT_BLOCKS 1
#define GROUP 32
#define OFFSET 16
#define MINIMA 0

typedef struct lanes {
    __m512i levels, high_bits, delta[4];
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    l.levels = _mm512_set1_epi32(0x00191109); /* 8 (code - 1) + OFFSET + 1 */
    l.high_bits = _mm512_set1_epi64(0x0920062003200020ll); /* from bits 0, 3, 6, 9 to the upper byte of each of four words; zeros to the lower */
    /* the lower byte of word 2p for 32 weights, of word 2p + 1 for the next */
    for (int p = 0; p < 4; p++) l.delta[p] = _mm512_inserti64x4(_mm512_set1_epi8((char)(4 * p)), _mm256_set1_epi8((char)(4 * p + 2)), 1);
    return l;
}

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    __m128i qh = load16(b->qh);
    __m512i high = _mm512_multishift_epi64_epi8(l->high_bits, _mm512_cvtepu16_epi64(qh));
    __m512i index = _mm512_or_si512(_mm512_cvtepu8_epi16(load32(b->qs)), _mm512_and_si512(high, _mm512_set1_epi16(0x700)));
    __m512i entries = look_up_large(kq_grid_iq1, index);
    __m512i minus = _mm512_castsi128_si512(_mm_slli_epi16(_mm_srai_epi16(qh, 15), 1)); /* -2, or 0: between 8 grid + 1 and 8 grid - 1 */
    for (int p = 0; p < 4; p++)
        codes[p] = _mm512_add_epi8(levels_of_8(entries, p, l->levels), _mm512_permutexvar_epi8(l->delta[p], minus));
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    (void)l;
    __m256i s = _mm256_and_si256(_mm256_srli_epi32(_mm256_cvtepu16_epi32(load16(b->qh)), 12), _mm256_set1_epi32(7));
    *scales = *minima = half_steps(_mm512_broadcast_f32x8(_mm256_cvtepi32_ps(s)), half(b->d) * 0.25f);
}

#include "cpu/x86/decode_avx512icl_tmpl.h"
