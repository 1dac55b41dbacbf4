/* SPDX-License-Identifier: MIT */
/* decode of tq1_0 for AVX-512: the first trit of all 52 bytes at once, then bytes times 3 (their low 8 bits) have the second first, and so on. */
#include "cpu/x86/unit_avx512icl.h"

#define KERNEL(op) kq_##op##_tq1_0_avx512icl
#define BLOCK kq_block_tq1_0
#define UNIT_BLOCKS 1
#define GROUP 32
#define OFFSET 1
#define MINIMA 0

typedef struct lanes {
    __m512i top;
} lanes;

INLINE lanes make_lanes(void) { return (lanes){_mm512_set1_epi64(TWO_BITS(3))}; }

/* (3 y) >> 8 without leaving bytes: with z = max(y - 1, 0), two averages that round up give three quarters of it, whose top two bits are right for all
 * 256 (with y itself they would be wrong for 85, 170 and 255). */
INLINE __m512i first_trits(__m512i y, const lanes *l) {
    __m512i z = _mm512_subs_epu8(y, _mm512_set1_epi8(1));
    return _mm512_gf2p8affine_epi64_epi8(_mm512_avg_epu8(z, _mm512_avg_epu8(z, _mm512_setzero_si512())), l->top, 0);
}

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    __m512i y = _mm512_maskz_loadu_epi8(((__mmask64)1 << sizeof *b) - 1, b), t[5]; /* quarters: qs, qs, qs, qh and d */
    for (int n = 0; n < 5; n++) {
        t[n] = first_trits(y, l);
        y = _mm512_add_epi8(y, _mm512_add_epi8(y, y));
    }
    codes[0] = _mm512_shuffle_i64x2(t[0], t[1], 0x44);
    codes[1] = _mm512_shuffle_i64x2(t[2], t[3], 0x44);
    codes[2] = _mm512_shuffle_i64x2(t[4], _mm512_shuffle_i64x2(t[0], t[1], 0xaa), 0x84);
    __m512i qh = _mm512_unpacklo_epi64(_mm512_unpacklo_epi32(t[0], t[1]), _mm512_unpacklo_epi32(t[2], t[3])); /* in the last quarter */
    codes[3] = _mm512_shuffle_i64x2(_mm512_shuffle_i64x2(t[2], t[3], 0xaa), _mm512_shuffle_i64x2(t[4], qh, 0xfa), 0x88);
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    (void)l;
    *scales = *minima = one_half(b->d);
}

#include "cpu/x86/decode_avx512icl_tmpl.h"
