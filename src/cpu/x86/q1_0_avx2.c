/* SPDX-License-Identifier: MIT */
/* q1_0 for AVX2: a code is used as 0 or 2, and 1 comes off. */
#include "cpu/x86/unit_avx2.h"

#define KERNEL(op) kq_##op##_q1_0_avx2
#define BLOCK kq_block_q1_0
#define UNIT_BLOCKS 2
#define SCALING BY_32
#define OFFSET 1
#define MINIMA 0

INLINE void unit_open(const BLOCK *b, unit *u) { u->scales[0] = _mm256_blend_ps(one_half(b[0].d), one_half(b[1].d), 0xf0); }

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    (void)u;
    return _mm256_and_si256(spread_bits(b[g / 4].qs + 4 * (g % 4)), _mm256_set1_epi8(2));
}

#include "cpu/x86/unit_avx2_tmpl.h"
