/* SPDX-License-Identifier: MIT */
/* tq2_0 for AVX2: codes as in q2_k, and one scale. */
#include "cpu/x86/unit_avx2.h"

#define KERNEL(op) kq_##op##_tq2_0_avx2
#define BLOCK kq_block_tq2_0
#define UNIT_BLOCKS 1
#define SCALING BY_32
#define OFFSET 1
#define MINIMA 0

INLINE void unit_open(const BLOCK *b, unit *u) { u->scales[0] = one_half(b->d); }

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    (void)u;
    return two_bits(b->qs, g);
}

#include "cpu/x86/unit_avx2_tmpl.h"
