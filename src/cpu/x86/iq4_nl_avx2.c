/* SPDX-License-Identifier: MIT */
/* iq4_nl for AVX2: levels -127 .. 113, whose range is too wide for an offset. */
#include "cpu/x86/unit_avx2.h"

#define KERNEL(op) kq_##op##_iq4_nl_avx2
#define BLOCK kq_block_iq4_nl
#define UNIT_BLOCKS 8
#define SCALING BY_32
#define SIGNED
#define MINIMA 0

INLINE void unit_open(const BLOCK *b, unit *u) { u->scales[0] = halves_apart(&b->d, sizeof *b); }

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    (void)u;
    return _mm256_shuffle_epi8(twice(kq_levels_iq4), split_nibbles(b[g].qs));
}

#include "cpu/x86/unit_avx2_tmpl.h"
