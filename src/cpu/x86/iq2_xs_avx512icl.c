/* SPDX-License-Identifier: MIT */
/* iq2_xs for AVX-512. */
#include "cpu/x86/grid_avx512icl.h"

#define KERNEL(op) kq_##op##_iq2_xs_avx512icl
#define BLOCK kq_block_iq2_xs
#define UNIT_BLOCKS 1
#define GROUP 16
#define OFFSET 128
#define MINIMA 0

typedef struct lanes {
    __m512i levels;
} lanes;

INLINE lanes make_lanes(void) { return (lanes){four_levels(kq_levels_iq2)}; }

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    uint64_t signs[4];
    __m512i words = load64(b->qs), entries = look_up_512(kq_grid_iq2_xs, words); /* which looks at 9 bits */
    __m256i seven = _mm512_cvtepi16_epi8(_mm512_srli_epi16(words, 9));
    _mm256_storeu_si256((__m256i *)(void *)signs, _mm256_gf2p8affine_epi64_epi8(seven, _mm256_set1_epi64x(SIGNS_BY_PARITY), 0));
    for (int p = 0; p < 4; p++) codes[p] = with_signs(levels_of_8(entries, p, l->levels), signs[p]);
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    (void)l;
    *scales = *minima = half_steps(nibbles_as_floats(b->scales), half(b->d) * 0.25f);
}

#include "cpu/x86/unit_avx512icl_tmpl.h"
