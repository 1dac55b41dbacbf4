/* SPDX-License-Identifier: MIT */
/* q6_k for AVX-512 with VNNI and GFNI.
 *
 * 64 bytes of ql are, by their low nibbles, 64 weights in order, and by their high ones the next 64. The two upper bits come from 32
 * bytes of qh, broadcast to both halves: one GF(2) product takes its own two bits in each half and puts them at 4 and 5. */
#include "cpu/x86/unit_avx512icl.h"

#define KERNEL(op) kq_##op##_q6_k_avx512icl
#define BLOCK kq_block_q6_k
#define UNIT_BLOCKS 1
#define GROUP 16
#define MOST 63
#define OFFSET 32
#define MINIMA 0

typedef struct lanes {
    __m512i low;      /* 15 in each byte */
    __m512i high;     /* GF(2): the high nibble */
    __m512i upper[2]; /* GF(2): two bits to 4 and 5, of runs 0 and 1, and of runs 2 and 3 */
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    l.low = _mm512_set1_epi8(15);
    l.high = _mm512_set1_epi64(HIGH_NIBBLE);
    for (int k = 0; k < 2; k++) {
        long long even = ONE_BIT(4 * k, 4) | ONE_BIT(4 * k + 1, 5), odd = ONE_BIT(4 * k + 2, 4) | ONE_BIT(4 * k + 3, 5);
        l.upper[k] = halves(even, odd);
    }
    return l;
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    (void)l;
    __m128 d = _mm_cvtph_ps(_mm_cvtsi32_si128((int)kq_load_u32((const uint8_t *)b + 206))); /* the last of these four bytes */
    __m512 s = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load16(b->scales)));
    *scales = *minima = _mm512_mul_ps(s, _mm512_broadcastss_ps(_mm_movehdup_ps(d)));
}

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    for (int p = 0; p < 4; p++) {
        __m512i ql = load64(b->ql + 64 * (p / 2)), upper = _mm512_gf2p8affine_epi64_epi8(twice(b->qh + 32 * (p / 2)), l->upper[p % 2], 0);
        codes[p] = p % 2 ? _mm512_or_si512(_mm512_gf2p8affine_epi64_epi8(ql, l->high, 0), upper)
                         : _mm512_ternarylogic_epi64(ql, l->low, upper, 0xea); /* ql & low | upper */
    }
}

#include "cpu/x86/batch_avx512icl_tmpl.h"
