/* SPDX-License-Identifier: MIT */
/* iq4_xs for AVX-512: split nibbles that name levels -127 .. 113, which are used as 1 .. 241. The eight scales of 6 bits and d are all in
 * the first 8 bytes. */
#include "cpu/x86/unit_avx512icl.h"

#define KERNEL(op) kq_##op##_iq4_xs_avx512icl
#define BLOCK kq_block_iq4_xs
#define UNIT_BLOCKS 1
#define GROUP 32
#define MOST 241
#define OFFSET 128
#define LEVELS kq_levels_iq4
#define MINIMA 0

typedef struct lanes {
    __m512i nibbles, levels;
    __m128i low_bits, high_bits;
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    l.nibbles = quarters(LOW_NIBBLE, HIGH_NIBBLE);
    l.levels = sixteen_levels(LEVELS, OFFSET);
    l.low_bits = _mm_setr_epi8(32, 36, 40, 44, 48, 52, 56, 60, 32, 36, 40, 44, 48, 52, 56, 60);
    l.high_bits = _mm_setr_epi8(12, 14, 16, 18, 20, 22, 24, 26, 12, 14, 16, 18, 20, 22, 24, 26);
    return l;
}

INLINE void unit_names(const BLOCK *b, const lanes *l, __m512i names[4]) {
    for (int p = 0; p < 4; p++) names[p] = split_nibbles(b->qs + 32 * p, b->qs + 32 * p + 16, l->nibbles);
}

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    unit_names(b, l, codes);
    for (int p = 0; p < 4; p++) codes[p] = _mm512_shuffle_epi8(l->levels, codes[p]);
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    __m128i head = _mm_set1_epi64x((long long)kq_load_u64((const uint8_t *)b));
    __m128i low = _mm_and_si128(_mm_multishift_epi64_epi8(l->low_bits, head), _mm_set1_epi8(15));
    __m128i high = _mm_and_si128(_mm_multishift_epi64_epi8(l->high_bits, head), _mm_set1_epi8(48));
    __m512 s = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_sub_epi8(_mm_or_si128(low, high), _mm_set1_epi8(32))));
    *scales = *minima = _mm512_mul_ps(s, _mm512_broadcastss_ps(_mm_cvtph_ps(head)));
}

#define TURNED
INLINE void pair_turned(const BLOCK *b, const BLOCK *next, const lanes *l, __m512i q[8]) {
    turn_nibbles(b->qs, next->qs, 16, q);
    for (int s = 0; s < 8; s++) q[s] = _mm512_shuffle_epi8(l->levels, q[s]);
}

#include "cpu/x86/batch_avx512icl_tmpl.h"
