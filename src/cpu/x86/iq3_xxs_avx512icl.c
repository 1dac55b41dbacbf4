/* SPDX-License-Identifier: MIT */
/* iq3_xxs for AVX-512: the 64 cells of a block. Column e is weight e of all cells: a lane is four cells, half a group. A code, three bits and a
 * sign, is a nibble. */
#include "cpu/x86/columns_avx512icl.h"

#define KERNEL(op) kq_##op##_iq3_xxs_avx512icl
#define BLOCK kq_block_iq3_xxs
#define UNIT_BLOCKS 1
#define UNIT_ACTS 1
#define SHARED 0
#define CHAINS 1
#define OFFSET 128
#define ORDER BITS(5, 4, 3, 2, 1, 0, 7, 6)
#define BACK BITS(1, 0, 7, 6, 5, 4, 3, 2)

typedef struct lanes {
    __m512i low[4], high[4]; /* the codebook in nibbles: weights 0 and 1, 2 and 3 */
    __m512i levels;          /* of nibbles with signs, over and over, as vpermb looks at six bits */
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    split_nibble_grid(kq_grid_iq3_xxs, 256, l.low, l.high);
    __m512i levels = _mm512_set1_epi64((long long)kq_load_u64(kq_levels_iq3_xxs)), middle = _mm512_set1_epi8(-128);
    l.levels = _mm512_mask_blend_epi64(0xaa, _mm512_add_epi8(middle, levels), _mm512_sub_epi8(middle, levels));
    return l;
}

typedef struct parts {
    __m512i nibbles[2];
    __m256i words;
} parts;

INLINE parts unit_open(const BLOCK *b, const lanes *l) {
    __m512i index = load64(b->qs);
    __m256i words = load32(b->gas);
    __m512i signs = cell_signs(signs_of_words(_mm512_cvtepu32_epi64(words)));
    return (parts){{_mm512_or_si512(pick_of_4(l->low, index), sign_nibbles(signs, 0)),
                    _mm512_or_si512(pick_of_4(l->high, index), sign_nibbles(signs, 2))}, words};
}

INLINE __m512i unit_column(const parts *p, const lanes *l, int k) {
    __m512i nibbles = p->nibbles[k / 2];
    return _mm512_permutexvar_epi8(k % 2 ? _mm512_srli_epi16(nibbles, 4) : nibbles, l->levels);
}

INLINE void unit_scales(const BLOCK *b, const parts *p, const lanes *l, __m512 scales[CHAINS]) {
    (void)l;
    __m512 s = _mm512_cvtepi32_ps(twice_each(_mm256_srli_epi32(p->words, 28)));
    scales[0] = half_steps(s, one_half(b->d), 0.5f);
}

#include "cpu/x86/columns_avx512icl_tmpl.h"
