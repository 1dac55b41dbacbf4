/* SPDX-License-Identifier: MIT */
/* rows1 and rowsm of q3_k for AVX-512, in columns: two GF(2) products put the third bit to two planes in nibbles. */
#include "cpu/x86/planes_avx512icl.h"

#define KERNEL(op) kq_##op##_q3_k_avx512icl
#define BLOCK kq_block_q3_k
#define OFFSET 4
#define LANE_UNITS _mm512_setr_epi32(1, 16, 1, 16, 1, 16, 1, 16, 1, 16, 1, 16, 1, 16, 1, 16)

typedef struct lanes {
    __m512i low[2], third[2], masks, pick[4], low_bits, high_bits;
} lanes;

/* Of each byte, bits a, a + 1 and b, b + 1 to the lower two of both nibbles; and bits a and a + 1 to the third ones. */
INLINE long long two_to_nibbles(int a, int b) { return (long long)(ROW(0, 1u << a) | ROW(1, 2u << a) | ROW(4, 1u << b) | ROW(5, 2u << b)); }
INLINE long long third_of_nibbles(int a) { return (long long)(ROW(2, 1u << a) | ROW(6, 2u << a)); }

INLINE lanes make_lanes(void) {
    lanes l;
    for (int i = 0; i < 2; i++) {
        l.low[i] = _mm512_set1_epi64(two_to_nibbles(4 * i, 4 * i + 2));
        l.third[i] = halves(third_of_nibbles(2 * i), third_of_nibbles(4 + 2 * i));
    }
    l.masks = _mm512_mullo_epi32(LANE_UNITS, _mm512_set1_epi32(0x07070707));
    for (int k = 0; k < 4; k++) {
        l.pick[k] = _mm512_add_epi32(_mm512_setr_epi32(0, 0, 16, 16, 4, 4, 20, 20, 8, 8, 24, 24, 12, 12, 28, 28), _mm512_set1_epi32(k));
    }
    uint32_t low[16], high[16];
    for (unsigned j = 0; j < 16; j++) {
        unsigned g = j / 8 * 8 + j % 4 * 2 + j / 4 % 2; /* lane_groups() */
        low[j] = g % 8 * 8 + g / 8 * 4;
        high[j] = (g % 4 * 8 + g / 4 * 2 + 60) % 64; /* to bits 4 and 5 */
    }
    l.low_bits = load64(low);
    l.high_bits = load64(high);
    return l;
}

typedef struct parts {
    __m512i planes[2];
} parts;

INLINE parts unit_open(const BLOCK *b, const lanes *l) {
    parts p;
    __m512i qs = load64(b->qs), hmask = twice(b->hmask);
    for (int i = 0; i < 2; i++)
        p.planes[i] = _mm512_or_si512(_mm512_gf2p8affine_epi64_epi8(qs, l->low[i], 0), _mm512_gf2p8affine_epi64_epi8(hmask, l->third[i], 0));
    return p;
}

INLINE __m512i unit_column(const parts *p, const lanes *l, int k) {
    return _mm512_and_si512(_mm512_permutex2var_epi32(p->planes[0], l->pick[k], p->planes[1]), l->masks);
}

INLINE void unit_scales(const BLOCK *b, const parts *p, const lanes *l, __m512 scales[CHAINS]) {
    (void)p;
    __m512i low = _mm512_multishift_epi64_epi8(l->low_bits, _mm512_set1_epi64((long long)kq_load_u64(b->scales)));
    __m512i high = _mm512_multishift_epi64_epi8(l->high_bits, _mm512_set1_epi32((int)kq_load_u32(b->scales + 8)));
    __m512i s = _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi32(15)), _mm512_and_si512(high, _mm512_set1_epi32(48)));
    scales[0] = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(s, _mm512_set1_epi32(32))), one_half(b->d));
}

#include "cpu/x86/columns_avx512icl_tmpl.h"
