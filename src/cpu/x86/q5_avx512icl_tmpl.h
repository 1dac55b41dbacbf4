/* SPDX-License-Identifier: MIT */
/* q5_0 and q5_1 for AVX-512: split nibbles and, in 32 bits, the codes' fifth ones, which are a mask as they lie. Before including: KERNEL and BLOCK as
 * batch_avx512icl_tmpl.h has them, and HAS_MIN: 0 for q5_0, 1 for q5_1. */
#include "cpu/x86/unit_avx512icl.h"

#define UNIT_BLOCKS 8
#define GROUP 32
#define MOST 31
#define MINIMA HAS_MIN
#if HAS_MIN
#define OFFSET -1
#else
#define OFFSET 16
#endif

typedef struct lanes {
    __m512i nibbles, scales, last;
} lanes;

/* Words of three registers, 0, 3 and about 5 blocks behind the unit's start: the scales of blocks 0..2, 3..5 and 6, 7, then the same or the minima. */
INLINE lanes make_lanes(void) {
    lanes l;
    l.nibbles = quarters(LOW_NIBBLE, HIGH_NIBBLE);
#if HAS_MIN /* 24 bytes apart, the last from 128 on */
    l.scales = _mm512_castsi256_si512(_mm256_setr_epi16(0, 12, 24, 32, 44, 56, 0, 0, 1, 13, 25, 33, 45, 57, 0, 0));
    l.last = _mm512_castsi256_si512(_mm256_setr_epi16(0, 0, 0, 0, 0, 0, 8, 20, 0, 0, 0, 0, 0, 0, 9, 21));
#else /* 22 bytes apart, the last from 112 on */
    l.scales = _mm512_castsi256_si512(_mm256_setr_epi16(0, 11, 22, 32, 43, 54, 0, 0, 0, 11, 22, 32, 43, 54, 0, 0));
    l.last = _mm512_castsi256_si512(_mm256_setr_epi16(0, 0, 0, 0, 0, 0, 10, 21, 0, 0, 0, 0, 0, 0, 10, 21));
#endif
    return l;
}

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    for (int p = 0; p < 4; p++) {
        __mmask64 fifth = (__mmask64)kq_load_u32(b[2 * p].qh) | (__mmask64)kq_load_u32(b[2 * p + 1].qh) << 32;
        codes[p] = split_nibbles(b[2 * p].qs, b[2 * p + 1].qs, l->nibbles);
        codes[p] = _mm512_mask_add_epi8(codes[p], fifth, codes[p], _mm512_set1_epi8(16));
    }
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    __m512i d = _mm512_permutex2var_epi16(load64(b), l->scales, load64(b + 3));
    d = _mm512_mask_permutexvar_epi16(d, 0xc0c0, l->last, load64((const uint8_t *)b + 8 * sizeof *b - 64));
    *scales = *minima = _mm512_cvtph_ps(_mm512_castsi512_si256(d));
}

#include "cpu/x86/batch_avx512icl_tmpl.h"
