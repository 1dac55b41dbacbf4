/* SPDX-License-Identifier: MIT */
/* nvfp4 for AVX2: 8 bytes hold 16 codes, eight in low and eight in high nibbles; they name levels -12 .. 12. A scale is a UE4M3, whose bits are
 * those of a binary16 with another bias. */
#include "cpu/x86/unit_avx2.h"

#define KERNEL(op) kq_##op##_nvfp4_avx2
#define BLOCK kq_block_nvfp4
#define UNIT_BLOCKS 4
#define MOST 24
#define SCALING BY_16
#define OFFSET 12
#define MINIMA 0

INLINE void unit_open(const BLOCK *b, unit *u) {
    __m128i s = _mm_setr_epi32((int)kq_load_u32(b[0].scales), (int)kq_load_u32(b[1].scales), (int)kq_load_u32(b[2].scales), (int)kq_load_u32(b[3].scales));
    const __m128i none = _mm_set1_epi8(0x7f); /* is no number: 0 */
    s = _mm_andnot_si128(_mm_cmpeq_epi8(s, none), _mm_and_si128(s, none));
    __m256i bits = _mm256_slli_epi16(_mm256_cvtepu8_epi16(s), 7);
    const __m256 bias = _mm256_set1_ps(128); /* biases 15 and 7, and half of it */
    u->scales[0] = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(bits)), bias);
    u->scales[1] = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(bits, 1)), bias);
}

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    (void)u;
    __m256i qs = _mm256_permute4x64_epi64(_mm256_castsi128_si256(load16(b[g / 2].qs + 16 * (g % 2))), 0x50); /* eight bytes, twice; the next, twice */
    __m256i codes = _mm256_and_si256(_mm256_srlv_epi64(qs, _mm256_setr_epi64x(0, 4, 0, 4)), _mm256_set1_epi8(15));
    return _mm256_shuffle_epi8(levels_from_zero(kq_levels_e2m1, OFFSET), codes);
}

#include "cpu/x86/unit_avx2_tmpl.h"
