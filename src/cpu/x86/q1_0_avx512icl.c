/* SPDX-License-Identifier: MIT */
/* q1_0 for AVX-512: 64 codes are a mask as they lie. A code is used as 0 or 2, and 1 comes off. */
#include "cpu/x86/unit_avx512icl.h"

#define KERNEL(op) kq_##op##_q1_0_avx512icl
#define BLOCK kq_block_q1_0
#define UNIT_BLOCKS 2
#define GROUP 32
#define OFFSET 1
#define MINIMA 0

typedef struct lanes {
    __m512i two;
} lanes;

INLINE lanes make_lanes(void) { return (lanes){_mm512_set1_epi8(2)}; }

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    for (int p = 0; p < 4; p++) codes[p] = _mm512_maskz_mov_epi8((__mmask64)kq_load_u64(b[p / 2].qs + 8 * (p % 2)), l->two);
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    (void)l;
    *scales = *minima = _mm512_mask_mov_ps(one_half(b[0].d), 0xf0f0, one_half(b[1].d));
}

#include "cpu/x86/unit_avx512icl_tmpl.h"
