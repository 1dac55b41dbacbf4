/* SPDX-License-Identifier: MIT */
/* q8_0 for AVX2. */
#include "cpu/x86/unit_avx2.h"

#define KERNEL(op) kq_##op##_q8_0_avx2
#define BLOCK kq_block_q8_0
#define UNIT_BLOCKS 8
#define SCALING BY_32
#define SIGNED
#define MINIMA 0

INLINE void unit_open(const BLOCK *b, unit *u) { u->scales[0] = halves_apart(&b->d, sizeof *b); }

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    (void)u;
    return load32(b[g].qs);
}

#include "cpu/x86/unit_avx2_tmpl.h"
