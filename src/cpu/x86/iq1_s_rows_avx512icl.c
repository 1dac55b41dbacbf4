/* SPDX-License-Identifier: MIT */
/* rows1 and rowsm of iq1_s for AVX-512: two blocks at a time, 64 cells, and columns as in iq2_xxs. The delta is one of two offsets of a lane. */
#include "cpu/x86/halves_avx512icl.h"

#define KERNEL(op) kq_##op##_iq1_s_avx512icl
#define BLOCK kq_block_iq1_s
#define UNIT_BLOCKS 2
#define UNIT_ACTS 2
#define SHARED 1
#define CHAINS 1
#define OFFSET 7 /* 8 code - 7 is 8 (level + 1/8) */
#define OFFSET_2 9
#define ORDER BITS(4, 3, 2, 1, 0, 7, 6, 5)
#define OWN_DECODE

typedef struct lanes {
    __m512i high_bits;
    __m512 scales;
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    uint8_t high[64];
    for (int i = 0; i < 64; i++) high[i] = (uint8_t)((16 * (i / 4 % 2) + 3 * (i % 4) + 59) % 64); /* of two words, three bits of each cell to bits 5 .. 7 */
    l.high_bits = load64(high);
    l.scales = _mm512_setr_ps(0.125f, 0.375f, 0.625f, 0.875f, 1.125f, 1.375f, 1.625f, 1.875f, 0.125f, 0.375f, 0.625f, 0.875f, 1.125f, 1.375f, 1.625f, 1.875f);
    return l;
}

typedef struct parts {
    __m512i low, high, heads;
} parts;

INLINE parts unit_open(const BLOCK *b, const lanes *l) {
    parts p;
    __m512i index = _mm512_inserti64x4(_mm512_castsi256_si512(load32(b[0].qs)), load32(b[1].qs), 1);
    __m256i words = _mm256_inserti128_si256(_mm256_castsi128_si256(load16(b[0].qh)), load16(b[1].qh), 1);
    __m512i high = _mm512_multishift_epi64_epi8(l->high_bits, _mm512_cvtepu32_epi64(words));
    look_up_2048(&kq_halves_of_iq1, index, high, &p.low, &p.high);
    p.heads = _mm512_cvtepu16_epi32(words);
    return p;
}

INLINE __m512i unit_column(const parts *p, const lanes *l, int k) {
    (void)l;
    return ternary_levels(k < 4 ? p->low : p->high, k % 4);
}

INLINE __mmask16 unit_second(const parts *p, int c) {
    (void)c;
    return _mm512_test_epi32_mask(p->heads, _mm512_set1_epi32(0x8000));
}

INLINE void unit_scales(const BLOCK *b, const parts *p, const lanes *l, __m512 scales[CHAINS]) {
    __m512 s = _mm512_permutexvar_ps(_mm512_srli_epi32(p->heads, 12), l->scales);
    scales[0] = _mm512_mul_ps(s, _mm512_cvtph_ps(_mm256_mask_set1_epi16(_mm256_set1_epi16((short)b[0].d), 0xff00, (short)b[1].d)));
}

#include "cpu/x86/columns_avx512icl_tmpl.h"
