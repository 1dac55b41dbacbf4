/* SPDX-License-Identifier: MIT */
/* q4_1 for AVX2. */
#include "cpu/x86/unit_avx2.h"

#define KERNEL(op) kq_##op##_q4_1_avx2
#define BLOCK kq_block_q4_1
#define UNIT_BLOCKS 8
#define SCALING BY_32
#define OFFSET -1
#define MINIMA 1

INLINE void unit_open(const BLOCK *b, unit *u) {
    u->scales[0] = halves_apart(&b->d, sizeof *b);
    u->minima[0] = halves_apart(&b->m, sizeof *b);
}

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    (void)u;
    return split_nibbles(b[g].qs);
}

#include "cpu/x86/unit_avx2_tmpl.h"
