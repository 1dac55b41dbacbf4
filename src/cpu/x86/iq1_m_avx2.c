/* SPDX-License-Identifier: MIT */
/* iq1_m for AVX2: as iq1_s, with a delta for each cell. */
#include "cpu/x86/grid_avx2.h"

#define KERNEL(op) kq_##op##_iq1_m_avx2
#define BLOCK kq_block_iq1_m
#define UNIT_BLOCKS 1
#define SCALING STEPS_16
#define OFFSET 16
#define MINIMA 0

INLINE void unit_open(const BLOCK *b, unit *u) {
    /* three bits from 0, 3, 6 and 9 on to 9, then to 1 */
    __m256i s = _mm256_mullo_epi16(four_times_words(kq_load_u64(b->scales)), _mm256_set1_epi64x(0x0001000800400200ll));
    s = _mm256_and_si256(_mm256_srli_epi16(s, 8), _mm256_set1_epi16(14));
    u->steps = _mm256_or_si256(s, _mm256_set1_epi16(1));
    u->d = _mm256_set1_ps(half(kq_iq1_m_scale(b)) * 0.125f);
    for (int k = 0; k < 2; k++) {
        __m256i each = _mm256_cvtepu8_epi16(load16(b->qh)), eight = k ? _mm256_permute4x64_epi64(each, 0xfa) : _mm256_permute4x64_epi64(each, 0x50);
        __m256i two = _mm256_unpacklo_epi16(eight, eight), four = _mm256_blend_epi32(two, _mm256_unpackhi_epi16(eight, eight), 0xcc);
        __m256i high = _mm256_mullo_epi16(four, _mm256_set1_epi32(0x00100100));
        put_index(u, k, b->qs + 16 * k, _mm256_and_si256(high, _mm256_set1_epi16(0x700)));
    }
}

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    const __m256i bit = _mm256_setr_epi64x(0x0008000800080008ll, 0x0080008000800080ll, 0x0800080008000800ll, (long long)0x8000800080008000ull);
    __m256i minus = _mm256_cmpeq_epi16(_mm256_and_si256(_mm256_set1_epi16((short)kq_load_u16(b->qh + 2 * g)), bit), bit);
    return _mm256_add_epi8(words_of_8(kq_cells_iq1, u->index + 4 * g), _mm256_or_si256(minus, _mm256_set1_epi8(1)));
}

#include "cpu/x86/unit_avx2_tmpl.h"
