/* SPDX-License-Identifier: MIT */
/* rows1 and rowsm of tq1_0 for AVX-512. All 52 bytes at once become three trits and two: a byte times 27 has the first three, as a number, above its
 * eight bits, and what is left times 9 has the other two; lookups give each trit two bits. Trits stay where they are in their bytes, 1, 4 or 16 times as
 * large, for columns take them so that each lane has one place and one group:
 *
 *     lanes 2n, 2n + 1   trit n of bytes 8k .. 8k + 7 of qs, which are weights 32n + 8k and on
 *     lane 10 + n        trit n of bytes 32 + 4k and on, weights 160 + 16n + 4k
 *     lane 15            trit k of qh, weights 240 + 4k */
#include "cpu/x86/columns_avx512icl.h"

#define KERNEL(op) kq_##op##_tq1_0_avx512icl
#define BLOCK kq_block_tq1_0
#define UNIT_BLOCKS 1
#define UNIT_ACTS 1
#define SHARED 0
#define CHAINS 1
#define OFFSET 1
#define OWN_DECODE

/* 4^place of each lane's trits: what a code is multiplied by. */
#define LANE_UNITS _mm512_setr_epi32(1, 1, 4, 4, 16, 16, 1, 1, 4, 4, 1, 4, 16, 1, 4, 1)

INLINE __m512i unit_places(int k) {
    const __m512i first = _mm512_setr_epi32(0, 4, 32, 36, 64, 68, 96, 100, 128, 132, 160, 176, 192, 208, 224, 240);
    __m512i at = _mm512_add_epi32(first, _mm512_mullo_epi32(_mm512_set1_epi32(k), _mm512_setr_epi32(8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 4, 4, 4, 4, 4, 4)));
    return _mm512_add_epi32(_mm512_mullo_epi32(at, _mm512_set1_epi32(0x01010101)), _mm512_set1_epi32(0x03020100));
}

typedef struct lanes {
    __m512i three, two, shifts, pick[4], masks;
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    uint8_t three[64] = {0}, two[64] = {0};
    for (unsigned i = 0; i < 27; i++) three[i] = (uint8_t)(i / 9 | i / 3 % 3 << 2 | i % 3 << 4);
    for (unsigned i = 0; i < 9; i++) two[i] = (uint8_t)(i / 3 | i % 3 << 2);
    l.three = load64(three);
    l.two = load64(two);
    l.shifts = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 4, 0);
    for (int k = 0; k < 4; k++) {
        int a = 2 * k, b = 16 + 2 * k, c = 8 + k;
        l.pick[k] = _mm512_setr_epi32(a, a + 1, a, a + 1, a, a + 1, b, b + 1, b, b + 1, c, c, c, 16 + c, 16 + c, k < 3 ? 12 + k : 31);
    }
    l.masks = _mm512_mullo_epi32(LANE_UNITS, _mm512_set1_epi32(0x03030303));
    return l;
}

typedef struct parts {
    __m512i three, two;
} parts;

INLINE parts unit_open(const BLOCK *b, const lanes *l) {
    const __m512i upper = _mm512_set1_epi16((short)0xff00);
    __m512i y = _mm512_mask_set1_epi32(_mm512_maskz_loadu_epi32(0x0fff, b->qs), 0xf000, (int)kq_load_u32(b->qh));
    /* of even and of odd bytes, 16 bits each: the product, and the product of its lower byte */
    __m512i even = _mm512_maddubs_epi16(y, _mm512_set1_epi16(27)), odd = _mm512_maddubs_epi16(y, _mm512_set1_epi16(27 << 8));
    __m512i even_2 = _mm512_maddubs_epi16(even, _mm512_set1_epi16(9)), odd_2 = _mm512_maddubs_epi16(odd, _mm512_set1_epi16(9));
    __m512i three = _mm512_or_si512(_mm512_srli_epi16(even, 8), _mm512_and_si512(odd, upper));
    __m512i two = _mm512_or_si512(_mm512_srli_epi16(even_2, 8), _mm512_and_si512(odd_2, upper));
    three = _mm512_permutexvar_epi8(three, l->three);
    return (parts){_mm512_srlv_epi32(three, l->shifts), _mm512_permutexvar_epi8(two, l->two)};
}

INLINE __m512i unit_column(const parts *p, const lanes *l, int k) {
    return _mm512_and_si512(_mm512_permutex2var_epi32(p->three, l->pick[k], p->two), l->masks);
}

INLINE void unit_scales(const BLOCK *b, const parts *p, const lanes *l, __m512 scales[CHAINS]) {
    (void)p, (void)l;
    scales[0] = one_half(b->d);
}

#include "cpu/x86/columns_avx512icl_tmpl.h"
