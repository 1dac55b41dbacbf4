/* SPDX-License-Identifier: MIT */
/* iq2_xxs for AVX-512: two blocks at a time, 64 cells. Column e is weight e of all cells: four cells, a group, are a lane. */
#include "cpu/x86/columns_avx512icl.h"

#define KERNEL(op) kq_##op##_iq2_xxs_avx512icl
#define BLOCK kq_block_iq2_xxs
#define UNIT_BLOCKS 2
#define UNIT_ACTS 2
#define SHARED 1
#define CHAINS 1
#define OFFSET 128
#define ORDER BITS(4, 3, 2, 1, 0, 7, 6, 5)
#define BACK BITS(2, 1, 0, 7, 6, 5, 4, 3)

typedef struct lanes {
    __m512i low[4], high[4]; /* the codebook: the codes of weights 0 .. 3, and of 4 .. 7 */
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    split_words(kq_grid_iq2_xxs, 256, l.low, l.high);
    return l;
}

typedef struct parts {
    __m512i low, high, signs, words;
} parts;

INLINE parts unit_open(const BLOCK *b, const lanes *l) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    __m512i first = load64(b[0].qs), second = load64(b[1].qs), index = _mm512_permutex2var_epi32(first, even, second);
    __m512i words = _mm512_permutex2var_epi32(first, _mm512_or_si512(even, _mm512_set1_epi32(1)), second);
    return (parts){pick_of_4(l->low, index), pick_of_4(l->high, index), signs_of_words(words), words};
}

INLINE __m512i unit_column(const parts *p, const lanes *l, int k) {
    (void)l;
    return with_signs(levels_iq2(k < 4 ? p->low : p->high, k % 4), _mm512_test_epi8_mask(p->signs, _mm512_set1_epi8((char)(1 << k))));
}

INLINE void unit_scales(const BLOCK *b, const parts *p, const lanes *l, __m512 scales[CHAINS]) {
    (void)l;
    __m512 s = _mm512_cvtepi32_ps(_mm512_srli_epi32(p->words, 28));
    scales[0] = half_steps(s, _mm512_cvtph_ps(_mm256_mask_set1_epi16(_mm256_set1_epi16((short)b[0].d), 0xff00, (short)b[1].d)), 0.25f);
}

#include "cpu/x86/columns_avx512icl_tmpl.h"
