/* SPDX-License-Identifier: MIT */
/* iq3_s for AVX-512: columns as in iq3_xxs. Levels are odd numbers, 2 code + 1, so a sign is the complement of four bits: code or -code - 1, plus 8,
 * is a number u of 0 .. 15, and a weight is 2 u - 15 times the scale. */
#include "cpu/x86/columns_avx512icl.h"

#define KERNEL(op) kq_##op##_iq3_s_avx512icl
#define BLOCK kq_block_iq3_s
#define UNIT_BLOCKS 1
#define UNIT_ACTS 1
#define SHARED 0
#define CHAINS 1
#define OFFSET 15
#define ORDER BITS(5, 4, 3, 2, 1, 0, 7, 6)
#define BACK BITS(1, 0, 7, 6, 5, 4, 3, 2)

typedef struct lanes {
    __m512i low[8], high[8], nibbles;
    __m512 steps;
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    split_nibble_grid(kq_grid_iq3_s, 512, l.low, l.high);
    l.nibbles = nibble_of_pairs();
    l.steps = nibble_steps(2);
    return l;
}

typedef struct parts {
    __m512i nibbles[2];
} parts;

INLINE parts unit_open(const BLOCK *b, const lanes *l) {
    __m512i index = load64(b->qs), signs = cell_signs(_mm512_cvtepu32_epi64(load32(b->signs)));
    __mmask64 ninth = kq_load_u64(b->qh);
    return (parts){{_mm512_or_si512(pick_of_8(l->low, index, ninth), sign_nibbles(signs, 0)),
                    _mm512_or_si512(pick_of_8(l->high, index, ninth), sign_nibbles(signs, 2))}};
}

INLINE __m512i unit_column(const parts *p, const lanes *l, int k) { /* 2 u: all four bits change with the sign, and the top one is set without */
    (void)l;
    uint64_t one = 1u << 4 * (k % 2), sign = 8 * one;
    uint64_t rows = ROW(1, one | sign) | ROW(2, one << 1 | sign) | ROW(3, one << 2 | sign) | ROW(4, sign);
    return _mm512_gf2p8affine_epi64_epi8(p->nibbles[k / 2], _mm512_set1_epi64((long long)rows), 16);
}

INLINE void unit_scales(const BLOCK *b, const parts *p, const lanes *l, __m512 scales[CHAINS]) {
    (void)p;
    scales[0] = nibble_scales(l->nibbles, kq_load_u32(b->scales), l->steps, one_half(b->d));
}

#include "cpu/x86/columns_avx512icl_tmpl.h"
