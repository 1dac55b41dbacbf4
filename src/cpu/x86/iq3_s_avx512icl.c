/* SPDX-License-Identifier: MIT */
/* iq3_s for AVX-512. The ninth bits of 32 indices are a mask as they lie. */
#include "cpu/x86/grid_avx512icl.h"

#define KERNEL(op) kq_##op##_iq3_s_avx512icl
#define BLOCK kq_block_iq3_s
#define UNIT_BLOCKS 1
#define GROUP 32
#define OFFSET 128
#define MINIMA 0

typedef struct lanes {
    __m512i levels;
} lanes;

INLINE lanes make_lanes(void) { return (lanes){eight_levels(kq_levels_iq3_s)}; }

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    for (int k = 0; k < 2; k++) {
        __m512i index = _mm512_cvtepu8_epi16(load32(b->qs + 32 * k));
        __m512i low = look_up_256(kq_grid_iq3_s, index), high = look_up_256(kq_grid_iq3_s + 256, index);
        __m512i entries = _mm512_mask_blend_epi16(kq_load_u32(b->qh + 4 * k), low, high);
        for (int p = 2 * k; p < 2 * k + 2; p++) codes[p] = with_signs(levels_of_4(entries, p, l->levels), kq_load_u64(b->signs + 8 * p));
    }
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    (void)l;
    __m128i both = _mm_cvtepu8_epi16(_mm_cvtsi32_si128((int)kq_load_u32(b->scales)));
    both = _mm_and_si128(_mm_or_si128(both, _mm_slli_epi16(both, 4)), _mm_set1_epi8(15));
    __m512 s = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_unpacklo_epi64(both, both)));
    *scales = *minima = half_steps(s, half(b->d) * 2);
}

#include "cpu/x86/unit_avx512icl_tmpl.h"
