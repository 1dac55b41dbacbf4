/* SPDX-License-Identifier: MIT */
/* iq2_xxs for AVX-512. */
#include "cpu/x86/grid_avx512icl.h"

#define KERNEL(op) kq_##op##_iq2_xxs_avx512icl
#define BLOCK kq_block_iq2_xxs
#define UNIT_BLOCKS 1
#define GROUP 32
#define OFFSET 128
#define MINIMA 0

typedef struct lanes {
    __m512i levels;
} lanes;

INLINE lanes make_lanes(void) { return (lanes){four_levels(kq_levels_iq2)}; }

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    uint64_t signs[4];
    __m512i words = load64(b->qs), entries = look_up_256(kq_grid_iq2_xxs, _mm512_cvtepu8_epi16(_mm512_cvtepi64_epi32(words)));
    signs_of_words(words, signs);
    for (int p = 0; p < 4; p++) codes[p] = with_signs(levels_of_8(entries, p, l->levels), signs[p]);
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    (void)l;
    *scales = *minima = half_steps(_mm512_broadcast_f32x8(tops_of_words(load64(b->qs))), half(b->d) * 0.25f);
}

#include "cpu/x86/unit_avx512icl_tmpl.h"
