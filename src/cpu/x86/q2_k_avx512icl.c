/* SPDX-License-Identifier: MIT */
/* decode of q2_k for AVX-512: 32 bytes hold four runs of 32 codes; broadcast to both halves of a register, a GF(2) product takes one run in each. */
#include "cpu/x86/unit_avx512icl.h"

#define KERNEL(op) kq_##op##_q2_k_avx512icl
#define BLOCK kq_block_q2_k
#define UNIT_BLOCKS 1
#define GROUP 16
#define OFFSET 1
#define MINIMA 1

typedef struct lanes {
    __m512i runs[2];
} lanes;

INLINE lanes make_lanes(void) { return (lanes){{halves(TWO_BITS(0), TWO_BITS(1)), halves(TWO_BITS(2), TWO_BITS(3))}}; }

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    for (int p = 0; p < 4; p++) codes[p] = _mm512_gf2p8affine_epi64_epi8(twice(b->qs + 32 * (p / 2)), l->runs[p % 2], 0);
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    (void)l;
    const __m128i nibble = _mm_set1_epi8(15);
    __m128i bytes = load16(b->scales);
    __m128 d = two_halves(&b->d);
    *scales = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(bytes, nibble))), _mm512_broadcastss_ps(d));
    *minima = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(_mm_srli_epi16(bytes, 4), nibble))),
                            _mm512_broadcastss_ps(_mm_movehdup_ps(d)));
}

#include "cpu/x86/decode_avx512icl_tmpl.h"
