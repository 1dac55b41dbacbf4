/* SPDX-License-Identifier: MIT */
/* decode of iq2_s for AVX-512. */
#include "cpu/x86/grid_avx512icl.h"

#define KERNEL(op) kq_##op##_iq2_s_avx512icl
#define BLOCK kq_block_iq2_s
#define UNIT_BLOCKS 1
#define GROUP 16
#define OFFSET 128
#define MINIMA 0

typedef struct lanes {
    __m512i levels, high_bits;
} lanes;

INLINE lanes make_lanes(void) { /* two bits to the upper byte of each of four words, zeros to the lower */
    return (lanes){four_levels(kq_levels_iq2), _mm512_set1_epi64(0x0620042002200020ll)};
}

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    __m512i high = _mm512_multishift_epi64_epi8(l->high_bits, _mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)(const void *)b->qh)));
    __m512i index = _mm512_or_si512(_mm512_cvtepu8_epi16(load32(b->qs)), _mm512_and_si512(high, _mm512_set1_epi16(0x300)));
    __m512i entries = look_up_large(kq_grid_iq2_s, index);
    for (int p = 0; p < 4; p++) codes[p] = with_signs(levels_of_8(entries, p, l->levels), kq_load_u64(b->signs + 8 * p));
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    (void)l;
    *scales = *minima = half_steps(nibbles_as_floats(b->scales), half(b->d) * 0.25f);
}

#include "cpu/x86/decode_avx512icl_tmpl.h"
