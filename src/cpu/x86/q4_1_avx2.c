/* SPDX-License-Identifier: MIT */
/* q4_1 for AVX2. */
#include "cpu/x86/unit_avx2.h"

#define KERNEL(op) kq_##op##_q4_1_avx2
#define BLOCK kq_block_q4_1
#define UNIT_BLOCKS 8
#define MOST 15
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

#define TURNED
INLINE void unit_turned(const BLOCK *b, unit *u, __m256i q[8]) {
    (void)u;
    turn_nibbles(b->qs, sizeof *b, q);
}

#include "cpu/x86/unit_avx2_tmpl.h"
