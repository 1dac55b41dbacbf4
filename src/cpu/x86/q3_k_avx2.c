/* SPDX-License-Identifier: MIT */
/* q3_k for AVX2: two bits of a code from planes, the third from a mask. */
#include "cpu/x86/unit_avx2.h"

#define KERNEL(op) kq_##op##_q3_k_avx2
#define BLOCK kq_block_q3_k
#define UNIT_BLOCKS 1
#define SCALING STEPS_16
#define OFFSET 4
#define MINIMA 0

INLINE void unit_open(const BLOCK *b, unit *u) {
    __m128i low = _mm_srlv_epi64(_mm_set1_epi64x((long long)kq_load_u64(b->scales)), _mm_setr_epi32(0, 0, 4, 0));
    __m128i high = _mm_srlv_epi32(_mm_set1_epi32((int)kq_load_u32(b->scales + 8)), _mm_setr_epi32(0, 2, 4, 6));
    high = _mm_slli_epi16(_mm_and_si128(high, _mm_set1_epi8(3)), 4);
    __m128i six = _mm_or_si128(_mm_and_si128(low, _mm_set1_epi8(15)), high);
    u->d = one_half(b->d);
    u->steps = _mm256_cvtepi8_epi16(_mm_sub_epi8(six, _mm_set1_epi8(32)));
}

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    (void)u;
    return _mm256_or_si256(two_bits(b->qs, g), one_bit(load32(b->hmask), g, 2));
}

#include "cpu/x86/unit_avx2_tmpl.h"
