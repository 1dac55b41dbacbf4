/* SPDX-License-Identifier: MIT */
/* iq3_xxs for AVX-512. */
#include "cpu/x86/grid_avx512icl.h"

#define KERNEL(op) kq_##op##_iq3_xxs_avx512icl
#define BLOCK kq_block_iq3_xxs
#define UNIT_BLOCKS 1
#define GROUP 32
#define OFFSET 128
#define MINIMA 0

typedef struct lanes {
    __m512i levels;
} lanes;

INLINE lanes make_lanes(void) { return (lanes){eight_levels(kq_levels_iq3_xxs)}; }

/* The words of eight groups in the upper halves of 64 bits, as iq2_xxs has them. */
INLINE __m512i group_words(const BLOCK *b) { return _mm512_slli_epi64(_mm512_cvtepu32_epi64(load32(b->gas)), 32); }

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    uint64_t signs[4];
    signs_of_words(group_words(b), signs);
    for (int k = 0; k < 2; k++) {
        __m512i entries = look_up_256(kq_grid_iq3_xxs, _mm512_cvtepu8_epi16(load32(b->qs + 32 * k)));
        for (int p = 2 * k; p < 2 * k + 2; p++) codes[p] = with_signs(levels_of_4(entries, p, l->levels), signs[p]);
    }
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    (void)l;
    *scales = *minima = half_steps(_mm512_broadcast_f32x8(tops_of_words(group_words(b))), half(b->d) * 0.5f);
}

#include "cpu/x86/unit_avx512icl_tmpl.h"
