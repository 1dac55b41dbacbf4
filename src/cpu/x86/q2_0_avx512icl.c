/* SPDX-License-Identifier: MIT */
/* q2_0 for AVX-512: two bytes hold eight codes, which vpmultishiftqb takes apart. */
#include "cpu/x86/unit_avx512icl.h"

#define KERNEL(op) kq_##op##_q2_0_avx512icl
#define BLOCK kq_block_q2_0
#define UNIT_BLOCKS 4
#define GROUP 32
#define OFFSET 1
#define MINIMA 0

typedef struct lanes {
    __m512i shifts, scales;
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    l.shifts = _mm512_set1_epi64(0x0e0c0a0806040200ll);
    l.scales = _mm512_broadcast_i32x4(_mm_setr_epi16(0, 0, 9, 9, 18, 18, 27, 27)); /* words 18 bytes apart, all twice */
    return l;
}

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    for (int p = 0; p < 4; p++) {
        __m512i words = _mm512_cvtepu16_epi64(load16(b[p].qs));
        codes[p] = _mm512_and_si512(_mm512_multishift_epi64_epi8(l->shifts, words), _mm512_set1_epi8(3));
    }
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    *scales = *minima = _mm512_cvtph_ps(_mm512_castsi512_si256(_mm512_permutexvar_epi16(l->scales, load64(b))));
}

#include "cpu/x86/unit_avx512icl_tmpl.h"
