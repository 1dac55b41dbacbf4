/* SPDX-License-Identifier: MIT */
/* q4_0 and iq4_nl for AVX-512: a binary16 scale and 16 bytes of split nibbles. Before including: KERNEL, BLOCK, MOST and OFFSET as
 * batch_avx512icl_tmpl.h has them, and, where codes name levels, LEVELS: sixteen of them, each OFFSET less than it is used as. */
#include "cpu/x86/unit_avx512icl.h"

#define UNIT_BLOCKS 8
#define GROUP 32
#define MINIMA 0

typedef struct lanes {
    __m512i nibbles, levels, scales;
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    l.nibbles = quarters(LOW_NIBBLE, HIGH_NIBBLE);
    /* words of two registers, 0 and 72 bytes behind the unit's start: the scales of blocks 0..3 and of 4..7, all twice */
    l.scales = _mm512_broadcast_i32x4(_mm_setr_epi16(0, 9, 18, 27, 32, 41, 50, 59));
#ifdef LEVELS
    l.levels = sixteen_levels(LEVELS, OFFSET);
#else
    l.levels = _mm512_setzero_si512();
#endif
    return l;
}

INLINE void unit_names(const BLOCK *b, const lanes *l, __m512i names[4]) {
    for (int p = 0; p < 4; p++) names[p] = split_nibbles(b[2 * p].qs, b[2 * p + 1].qs, l->nibbles);
}

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    unit_names(b, l, codes);
#ifdef LEVELS
    for (int p = 0; p < 4; p++) codes[p] = _mm512_shuffle_epi8(l->levels, codes[p]);
#endif
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    __m512i d = _mm512_permutex2var_epi16(load64(b), l->scales, load64((const uint8_t *)b + 72));
    *scales = *minima = _mm512_cvtph_ps(_mm512_castsi512_si256(d));
}

#define TURNED
INLINE void pair_turned(const BLOCK *b, const BLOCK *next, const lanes *l, __m512i q[8]) {
    turn_nibbles(b->qs, next->qs, sizeof *b, q);
#ifdef LEVELS
    for (int s = 0; s < 8; s++) q[s] = _mm512_shuffle_epi8(l->levels, q[s]);
#else
    (void)l;
#endif
}

#include "cpu/x86/batch_avx512icl_tmpl.h"
