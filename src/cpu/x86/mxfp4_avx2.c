/* SPDX-License-Identifier: MIT */
/* mxfp4 for AVX2: levels -12 .. 12, and exponents 17 bytes apart. */
#include "cpu/x86/unit_avx2.h"

#define KERNEL(op) kq_##op##_mxfp4_avx2
#define BLOCK kq_block_mxfp4
#define UNIT_BLOCKS 8
#define MOST 24
#define SCALING BY_32
#define OFFSET 12
#define MINIMA 0

/* 2^(e - 128): the exponent's field is e - 1, and below it, where e is 0 or 1, the number is subnormal. */
INLINE void unit_open(const BLOCK *b, unit *u) {
    __m256i e = _mm256_setr_epi32(b[0].e, b[1].e, b[2].e, b[3].e, b[4].e, b[5].e, b[6].e, b[7].e);
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23), small = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    u->scales[0] = _mm256_castsi256_ps(_mm256_blendv_epi8(normal, small, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e)));
}

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    (void)u;
    return _mm256_shuffle_epi8(levels_from_zero(kq_levels_e2m1, OFFSET), split_nibbles(b[g].qs));
}

#define TURNED
INLINE void unit_turned(const BLOCK *b, unit *u, __m256i q[8]) {
    (void)u;
    turn_nibbles(b->qs, sizeof *b, q);
    for (int s = 0; s < 8; s++) q[s] = _mm256_shuffle_epi8(levels_from_zero(kq_levels_e2m1, OFFSET), q[s]);
}

#include "cpu/x86/unit_avx2_tmpl.h"
