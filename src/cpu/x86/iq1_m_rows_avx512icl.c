/* SPDX-License-Identifier: MIT */
/* rows1 and rowsm of iq1_m for AVX-512: lookups as in iq1_s, columns as in iq2_xs. A lane has two cells, each with its own delta: what an offset of 9 instead of
 * 7 takes off is the product of two words with the sums of the cells' activations. */
#include "cpu/x86/halves_avx512icl.h"

#define KERNEL(op) kq_##op##_iq1_m_avx512icl
#define BLOCK kq_block_iq1_m
#define UNIT_BLOCKS 2
#define UNIT_ACTS 2
#define SHARED 0
#define CHAINS 2
#define OFFSET 7 /* 8 code - 7 is 8 (level + 1/8) */
#define CELL_OFFSET 9
#define ORDER BITS(5, 4, 3, 2, 0, 1, 7, 6)
#define OWN_DECODE

typedef struct lanes {
    __m512i mix, mix_high, high_bits, delta_bits, scale_bits;
    __m512 scales;
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    uint8_t high[64], delta[64], scale[64] = {0};
    for (int i = 0; i < 64; i++) {
        high[i] = (uint8_t)((4 * (i % 8) + 59) % 64); /* of a dword, three bits of each cell to bits 5 .. 7 */
        delta[i] = (uint8_t)(i % 8 / 4 * 32 + (i % 4 < 2 ? 3 : 7));
    }
    for (int g = 0; g < 16; g++) scale[4 * g] = (uint8_t)(16 * (g / 4) + 3 * (g % 4));
    l.mix = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    l.mix_high = _mm512_setr_epi32(0, 0, 16, 0, 1, 0, 17, 0, 2, 0, 18, 0, 3, 0, 19, 0);
    l.high_bits = load64(high);
    l.delta_bits = load64(delta);
    l.scale_bits = load64(scale);
    l.scales = _mm512_setr_ps(0.125f, 0.375f, 0.625f, 0.875f, 1.125f, 1.375f, 1.625f, 1.875f, 0.125f, 0.375f, 0.625f, 0.875f, 1.125f, 1.375f, 1.625f, 1.875f);
    return l;
}

typedef struct parts {
    __m512i codes[2], deltas[2];
} parts;

INLINE parts unit_open(const BLOCK *b, const lanes *l) {
    parts p;
    __m512i low, upper;
    __m512i index = _mm512_permutex2var_epi64(_mm512_castsi256_si512(load32(b[0].qs)), l->mix, _mm512_castsi256_si512(load32(b[1].qs)));
    __m512i qh = _mm512_permutex2var_epi32(_mm512_castsi128_si512(load16(b[0].qh)), l->mix_high, _mm512_castsi128_si512(load16(b[1].qh)));
    look_up_2048(&kq_halves_of_iq1, index, _mm512_multishift_epi64_epi8(l->high_bits, qh), &low, &upper);
    p.codes[0] = _mm512_unpacklo_epi16(low, upper);
    p.codes[1] = _mm512_unpackhi_epi16(low, upper);
    for (int i = 0; i < 2; i++) { /* words that are 1 where bits 3 and 7 of a byte of qh are */
        __m512i bits = _mm512_multishift_epi64_epi8(l->delta_bits, _mm512_cvtepu8_epi32(load16(b[i].qh)));
        p.deltas[i] = _mm512_and_si512(bits, _mm512_set1_epi16(1));
    }
    return p;
}

INLINE __m512i unit_column(const parts *p, const lanes *l, int k) {
    (void)l;
    return ternary_levels(p->codes[k / 4], k % 4);
}
INLINE __m512i unit_deltas(const parts *p, int c) { return p->deltas[c]; }

INLINE void unit_scales(const BLOCK *b, const parts *p, const lanes *l, __m512 scales[CHAINS]) {
    (void)p;
    for (int i = 0; i < 2; i++) {
        uint64_t words = kq_load_u64((const uint8_t *)b[i].scales);
        __m512i s = _mm512_multishift_epi64_epi8(l->scale_bits, _mm512_set1_epi64((long long)words));
        scales[i] = _mm512_mul_ps(_mm512_permutexvar_ps(s, l->scales), one_half((uint16_t)_pext_u64(words, 0xf000f000f000f000ull)));
    }
}

#include "cpu/x86/columns_avx512icl_tmpl.h"
