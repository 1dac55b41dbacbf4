/* SPDX-License-Identifier: MIT */
/* mxfp4 for AVX-512: split nibbles that name levels -12 .. 12, and exponents 17 bytes apart. */
#include "cpu/x86/unit_avx512icl.h"

#define KERNEL(op) kq_##op##_mxfp4_avx512icl
#define BLOCK kq_block_mxfp4
#define UNIT_BLOCKS 8
#define GROUP 32
#define MOST 24
#define OFFSET 12
#define LEVELS kq_levels_e2m1
#define MINIMA 0

typedef struct lanes {
    __m512i nibbles, levels, exponents;
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    l.nibbles = quarters(LOW_NIBBLE, HIGH_NIBBLE);
    l.levels = sixteen_levels(LEVELS, OFFSET);
    /* bytes of two registers, 0 and 68 bytes behind the unit's start, twice */
    l.exponents = _mm512_castsi128_si512(_mm_setr_epi8(0, 17, 34, 51, 64, 81, 98, 115, 0, 17, 34, 51, 64, 81, 98, 115));
    return l;
}

INLINE void unit_names(const BLOCK *b, const lanes *l, __m512i names[4]) {
    for (int p = 0; p < 4; p++) names[p] = split_nibbles(b[2 * p].qs, b[2 * p + 1].qs, l->nibbles);
}

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    unit_names(b, l, codes);
    for (int p = 0; p < 4; p++) codes[p] = _mm512_shuffle_epi8(l->levels, codes[p]);
}

/* 2^(e - 128): the exponent's field is e - 1, and below it, where e is 0 or 1, the number is subnormal. */
INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    __m512i bytes = _mm512_permutex2var_epi8(load64(b), l->exponents, load64((const uint8_t *)b + 68));
    __m512i e = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(bytes)), bits = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    bits = _mm512_mask_sllv_epi32(bits, _mm512_cmplt_epu32_mask(e, _mm512_set1_epi32(2)), _mm512_set1_epi32(0x00200000), e);
    *scales = *minima = _mm512_castsi512_ps(bits);
}

#define TURNED
INLINE void pair_turned(const BLOCK *b, const BLOCK *next, const lanes *l, __m512i q[8]) {
    turn_nibbles(b->qs, next->qs, sizeof *b, q);
    for (int s = 0; s < 8; s++) q[s] = _mm512_shuffle_epi8(l->levels, q[s]);
}

#include "cpu/x86/batch_avx512icl_tmpl.h"
