/* SPDX-License-Identifier: MIT */
/* iq2_xs for AVX-512: two blocks at a time, 64 cells. A group of 16 is two cells, so a lane of column e has weights e and e + 4 of both; columns
 * 0 .. 3 are the first block's, 4 .. 7 the second's. */
#include "cpu/x86/columns_avx512icl.h"

#define KERNEL(op) kq_##op##_iq2_xs_avx512icl
#define BLOCK kq_block_iq2_xs
#define UNIT_BLOCKS 2
#define UNIT_ACTS 2
#define SHARED 0
#define CHAINS 2
#define OFFSET 128
#define ORDER BITS(5, 4, 3, 2, 0, 1, 7, 6)
#define BACK BITS(1, 0, 7, 6, 5, 4, 2, 3)

typedef struct lanes {
    __m512i low[8], high[8], nibbles;
    __m512 steps;
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    split_words(kq_grid_iq2_xs, 512, l.low, l.high);
    l.nibbles = nibble_of_each();
    l.steps = nibble_steps(0.25f);
    return l;
}

typedef struct parts {
    __m512i codes[2], signs[2];
} parts;

INLINE parts unit_open(const BLOCK *b, const lanes *l) {
    const __m512i byte = _mm512_set1_epi16(255);
    __m512i first = load64(b[0].qs), second = load64(b[1].qs);
    __m512i index = _mm512_packus_epi16(_mm512_and_si512(first, byte), _mm512_and_si512(second, byte));
    __m512i upper = _mm512_packus_epi16(_mm512_srli_epi16(first, 8), _mm512_srli_epi16(second, 8)); /* seven signs, and the index's ninth bit */
    __mmask64 ninth = _mm512_test_epi8_mask(upper, _mm512_set1_epi8(1));
    __m512i low = pick_of_8(l->low, index, ninth), high = pick_of_8(l->high, index, ninth);
    __m512i signs = _mm512_gf2p8affine_epi64_epi8(upper, _mm512_set1_epi64(0x02040810204080fell), 0);
    return (parts){{_mm512_unpacklo_epi16(low, high), _mm512_unpackhi_epi16(low, high)},
                   {_mm512_unpacklo_epi16(signs, signs), _mm512_unpackhi_epi16(signs, signs)}};
}

INLINE __m512i unit_column(const parts *p, const lanes *l, int k) {
    (void)l;
    return cells_of_2(p->codes[k / 4], p->signs[k / 4], k % 4);
}

INLINE void unit_scales(const BLOCK *b, const parts *p, const lanes *l, __m512 scales[CHAINS]) {
    (void)p;
    for (int i = 0; i < 2; i++) scales[i] = nibble_scales(l->nibbles, kq_load_u64(b[i].scales), l->steps, one_half(b[i].d));
}

#include "cpu/x86/columns_avx512icl_tmpl.h"
