/* SPDX-License-Identifier: MIT */
/* q4_k for AVX2. */
#include "cpu/x86/unit_avx2.h"

#define KERNEL(op) kq_##op##_q4_k_avx2
#define BLOCK kq_block_q4_k
#define UNIT_BLOCKS 1
#define MOST 15
#define SCALING BY_32
#define OFFSET 1
#define MINIMA 1

INLINE void unit_open(const BLOCK *b, unit *u) { open_k4(u, b->scales, b->d, b->dmin); }

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    (void)u;
    return half_bytes(b->qs, g);
}

#include "cpu/x86/unit_avx2_tmpl.h"
