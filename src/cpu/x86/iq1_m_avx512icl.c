/* SPDX-License-Identifier: MIT */
/* decode of iq1_m for AVX-512: as iq1_s, with a delta for each cell. */
#include "cpu/x86/grid_avx512icl.h"

#define KERNEL(op) kq_##op##_iq1_m_avx512icl
#define BLOCK kq_block_iq1_m
#define UNIT_BLOCKS 1
#define GROUP 16
#define OFFSET 16
#define MINIMA 0

typedef struct lanes {
    __m512i levels, high_bits;
    __m128i scale_bits;
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    l.levels = _mm512_set1_epi32(0x00191109); /* 8 (code - 1) + OFFSET + 1 */
    l.high_bits = _mm512_set1_epi64(0x2410201004100010ll); /* from bits 0 and 4 of a 32-bit word to the upper bytes of two words; zeros to the lower */
    l.scale_bits = _mm_setr_epi8(0, 3, 6, 9, 16, 19, 22, 25, 32, 35, 38, 41, 48, 51, 54, 57);
    return l;
}

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    __m512i high = _mm512_multishift_epi64_epi8(l->high_bits, _mm512_cvtepu8_epi32(load16(b->qh)));
    __m512i index = _mm512_or_si512(_mm512_cvtepu8_epi16(load32(b->qs)), _mm512_and_si512(high, _mm512_set1_epi16(0x700)));
    __m512i entries = look_up_large(kq_grid_iq1, index);
    for (int p = 0; p < 4; p++) { /* a mask of eight cells; no byte is less than 7 */
        __mmask8 minus = (__mmask8)_pext_u32(kq_load_u32(b->qh + 4 * p), 0x88888888u);
        __m512i levels = levels_of_8(entries, p, l->levels);
        codes[p] = _mm512_mask_sub_epi64(levels, minus, levels, _mm512_set1_epi8(2));
    }
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    uint64_t words = kq_load_u64(b->scales);
    __m128i s = _mm_and_si128(_mm_multishift_epi64_epi8(l->scale_bits, _mm_set1_epi64x((long long)words)), _mm_set1_epi8(7));
    float d = half((uint16_t)_pext_u64(words, 0xf000f000f000f000ull));
    *scales = *minima = half_steps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(s)), d * 0.25f);
}

#include "cpu/x86/decode_avx512icl_tmpl.h"
