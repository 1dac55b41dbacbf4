/* SPDX-License-Identifier: MIT */
/* tq1_0 for AVX2: the first trit of 32 bytes at once, then bytes times 3 (their low 8 bits) have the second first, and so on. Sixteen bytes have
 * two trits at a time: their upper copy is one multiplication ahead. */
#include "cpu/x86/unit_avx2.h"

#define KERNEL(op) kq_##op##_tq1_0_avx2
#define BLOCK kq_block_tq1_0
#define UNIT_BLOCKS 1
#define SCALING BY_32
#define OFFSET 1
#define MINIMA 0

INLINE __m256i triple(__m256i y) { return _mm256_add_epi8(y, _mm256_add_epi8(y, y)); }

INLINE void unit_open(const BLOCK *b, unit *u) {
    u->scales[0] = one_half(b->d);
    u->rest[0] = load32(b->qs);
    __m256i y = twice(b->qs + 32);
    u->rest[1] = _mm256_blend_epi32(y, triple(y), 0xf0);
}

/* (3 y) >> 8 without leaving bytes: with z = max(y - 1, 0), two averages that round up give three quarters of it, whose top two bits are right for all
 * 256 (with y itself they would be wrong for 85, 170 and 255). */
INLINE __m256i first_trits(__m256i y) {
    __m256i z = _mm256_subs_epu8(y, _mm256_set1_epi8(1)), three_quarters = _mm256_avg_epu8(z, _mm256_avg_epu8(z, _mm256_setzero_si256()));
    return _mm256_and_si256(_mm256_srli_epi16(three_quarters, 6), _mm256_set1_epi8(3));
}

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    __m256i y = u->rest[g / 5];
    if (g < 5) {
        u->rest[0] = triple(y);
    } else if (g < 7) {
        u->rest[1] = triple(triple(y));
    } else { /* the last trits of sixteen bytes, and four of each of four others */
        uint32_t powers = kq_load_u32(b->qh), low = powers & 0x00ff00ffu, high = powers >> 8 & 0x00ff00ffu;
        uint32_t each[4];
        for (int n = 0; n < 4; n++) {
            each[n] = (low & 0x00ff00ffu) | (high & 0x00ff00ffu) << 8;
            low *= 3;
            high *= 3;
        }
        y = _mm256_inserti128_si256(y, _mm_setr_epi32((int)each[0], (int)each[1], (int)each[2], (int)each[3]), 1);
    }
    return first_trits(y);
}

#include "cpu/x86/unit_avx2_tmpl.h"
