/* SPDX-License-Identifier: MIT */
/* iq4_xs for AVX2: levels as in iq4_nl, and scales of 6 bits. */
#include "cpu/x86/unit_avx2.h"

#define KERNEL(op) kq_##op##_iq4_xs_avx2
#define BLOCK kq_block_iq4_xs
#define UNIT_BLOCKS 1
#define SCALING BY_32
#define SIGNED
#define MINIMA 0

INLINE void unit_open(const BLOCK *b, unit *u) {
    __m256i low = _mm256_srlv_epi32(_mm256_set1_epi32((int)kq_load_u32(b->scales_l)), _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    __m256i high = _mm256_srlv_epi32(_mm256_set1_epi32(b->scales_h << 4), _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
    __m256i six = _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)), _mm256_and_si256(high, _mm256_set1_epi32(48)));
    u->scales[0] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(six, _mm256_set1_epi32(32))), one_half(b->d));
}

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    (void)u;
    return _mm256_shuffle_epi8(twice(kq_levels_iq4), split_nibbles(b->qs + 16 * g));
}

#include "cpu/x86/unit_avx2_tmpl.h"
