/* SPDX-License-Identifier: MIT */
/* iq1_s for AVX2. A weight is scale * (grid + delta): eight times the bracket is a whole number, -9 .. 9, and the scale is divided by eight, exactly. */
#include "cpu/x86/grid_avx2.h"

#define KERNEL(op) kq_##op##_iq1_s_avx2
#define BLOCK kq_block_iq1_s
#define UNIT_BLOCKS 1
#define SCALING BY_32
#define OFFSET 16
#define MINIMA 0

INLINE void unit_open(const BLOCK *b, unit *u) {
    __m256i s = _mm256_and_si256(_mm256_srli_epi32(_mm256_cvtepu16_epi32(load16(b->qh)), 11), _mm256_set1_epi32(14));
    s = _mm256_or_si256(s, _mm256_set1_epi32(1));
    u->scales[0] = _mm256_mul_ps(_mm256_cvtepi32_ps(s), _mm256_set1_ps(half(b->d) * 0.125f));
    for (int k = 0; k < 2; k++) { /* three bits from 0, 3, 6 and 9 on to 8; the last go too far by one */
        __m256i words = four_times_words(kq_load_u64((const uint8_t *)b->qh + 8 * k));
        __m256i high = _mm256_mullo_epi16(words, _mm256_set1_epi64x(0x0001000400200100ll));
        high = _mm256_blend_epi16(high, _mm256_srli_epi16(high, 1), 0x88);
        put_index(u, k, b->qs + 16 * k, _mm256_and_si256(high, _mm256_set1_epi16(0x700)));
    }
}

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    __m256i delta = _mm256_or_si256(_mm256_srai_epi16(_mm256_set1_epi16((short)b->qh[g]), 15), _mm256_set1_epi8(1)); /* -1 or 1 */
    return _mm256_add_epi8(words_of_8(kq_cells_iq1, u->index + 4 * g), delta);
}

#include "cpu/x86/unit_avx2_tmpl.h"
