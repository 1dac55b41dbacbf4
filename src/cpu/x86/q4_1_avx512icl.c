/* SPDX-License-Identifier: MIT */
/* q4_1 for AVX-512: split nibbles; scales and minima, side by side, 20 bytes apart. */
#include "cpu/x86/unit_avx512icl.h"

#define KERNEL(op) kq_##op##_q4_1_avx512icl
#define BLOCK kq_block_q4_1
#define UNIT_BLOCKS 8
#define GROUP 32
#define MOST 15
#define OFFSET -1
#define MINIMA 1

typedef struct lanes {
    __m512i nibbles, scales;
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    l.nibbles = quarters(LOW_NIBBLE, HIGH_NIBBLE);
    /* words of two registers, 0 and 80 bytes behind the unit's start: eight scales, eight minima */
    l.scales = _mm512_castsi256_si512(_mm256_setr_epi16(0, 10, 20, 30, 32, 42, 52, 62, 1, 11, 21, 31, 33, 43, 53, 63));
    return l;
}

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    for (int p = 0; p < 4; p++) codes[p] = split_nibbles(b[2 * p].qs, b[2 * p + 1].qs, l->nibbles);
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    __m512i d = _mm512_permutex2var_epi16(load64(b), l->scales, load64((const uint8_t *)b + 80));
    *scales = *minima = _mm512_cvtph_ps(_mm512_castsi512_si256(d));
}

#define TURNED
INLINE void pair_turned(const BLOCK *b, const BLOCK *next, const lanes *l, __m512i q[8]) {
    turn_nibbles(b->qs, next->qs, sizeof *b, q);
    (void)l;
}

#include "cpu/x86/batch_avx512icl_tmpl.h"
