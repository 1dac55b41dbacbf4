/* SPDX-License-Identifier: MIT */
/* decode of tq2_0 for AVX-512: codes as in q2_k, and one scale. */
#include "cpu/x86/unit_avx512icl.h"

#define KERNEL(op) kq_##op##_tq2_0_avx512icl
#define BLOCK kq_block_tq2_0
#define UNIT_BLOCKS 1
#define GROUP 32
#define OFFSET 1
#define MINIMA 0

typedef struct lanes {
    __m512i runs[2];
} lanes;

INLINE lanes make_lanes(void) { return (lanes){{halves(TWO_BITS(0), TWO_BITS(1)), halves(TWO_BITS(2), TWO_BITS(3))}}; }

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    for (int p = 0; p < 4; p++) codes[p] = _mm512_gf2p8affine_epi64_epi8(twice(b->qs + 32 * (p / 2)), l->runs[p % 2], 0);
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    (void)l;
    *scales = *minima = one_half(b->d);
}

#include "cpu/x86/decode_avx512icl_tmpl.h"
