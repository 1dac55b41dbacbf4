/* SPDX-License-Identifier: MIT */
/* q5_1 for AVX2. */
#include "cpu/x86/unit_avx2.h"

#define KERNEL(op) kq_##op##_q5_1_avx2
#define BLOCK kq_block_q5_1
#define UNIT_BLOCKS 8
#define MOST 31
#define SCALING BY_32
#define OFFSET -1
#define MINIMA 1

INLINE void unit_open(const BLOCK *b, unit *u) {
    u->scales[0] = halves_apart(&b->d, sizeof *b);
    u->minima[0] = halves_apart(&b->m, sizeof *b);
}

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    (void)u;
    return _mm256_or_si256(split_nibbles(b[g].qs), _mm256_and_si256(spread_bits(b[g].qh), _mm256_set1_epi8(16)));
}

#include "cpu/x86/unit_avx2_tmpl.h"
