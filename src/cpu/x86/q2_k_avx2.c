/* SPDX-License-Identifier: MIT */
/* q2_k for AVX2. */
#include "cpu/x86/unit_avx2.h"

#define KERNEL(op) kq_##op##_q2_k_avx2
#define BLOCK kq_block_q2_k
#define UNIT_BLOCKS 1
#define SCALING STEPS_16
#define OFFSET 1
#define MINIMA 1

INLINE void unit_open(const BLOCK *b, unit *u) {
    const __m128i nibble = _mm_set1_epi8(15);
    __m128i bytes = load16(b->scales), mins = _mm_and_si128(_mm_srli_epi16(bytes, 4), nibble);
    __m256 dmin = one_half(b->dmin);
    u->d = one_half(b->d);
    u->steps = _mm256_cvtepu8_epi16(_mm_and_si128(bytes, nibble));
    u->minima[0] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(mins)), dmin);
    u->minima[1] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(mins, 8))), dmin);
}

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    (void)u;
    return two_bits(b->qs, g);
}

#include "cpu/x86/unit_avx2_tmpl.h"
