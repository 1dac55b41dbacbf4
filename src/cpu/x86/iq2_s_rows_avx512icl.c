/* SPDX-License-Identifier: MIT */
/* rows1 and rowsm of iq2_s for AVX-512: two blocks at a time, 64 cells, and columns as in iq2_xs. */
#include "cpu/x86/halves_avx512icl.h"

#define KERNEL(op) kq_##op##_iq2_s_avx512icl
#define BLOCK kq_block_iq2_s
#define UNIT_BLOCKS 2
#define UNIT_ACTS 2
#define SHARED 0
#define CHAINS 2
#define OFFSET 128
#define ORDER BITS(5, 4, 3, 2, 0, 1, 7, 6)
#define OWN_DECODE

typedef struct lanes {
    __m512i mix, high_bits, pairs, nibbles;
    __m512 steps;
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    uint8_t high[64];
    uint32_t pairs[16];
    for (int i = 0; i < 64; i++) high[i] = (uint8_t)((2 * (i / 16 * 8 + i % 8) + 59) % 64); /* two bits to bits 5 and 6 */
    for (unsigned i = 0; i < 16; i++) pairs[i] = (16 + i) * 0x10001;
    l.mix = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    l.high_bits = load64(high);
    l.pairs = load64(pairs);
    l.nibbles = nibble_of_each();
    l.steps = nibble_steps(0.25f);
    return l;
}

typedef struct parts {
    __m512i codes[2], signs[2];
} parts;

INLINE parts unit_open(const BLOCK *b, const lanes *l) {
    const kq_halves_iq2_s *t = &kq_halves_of_iq2_s;
    __m512i first = load64(b[0].qs), second = load64(b[1].qs); /* and signs behind them */
    __m512i index = _mm512_permutex2var_epi64(first, l->mix, second);
    __m512i qh = _mm512_mask_broadcastq_epi64(_mm512_broadcastq_epi64(load8(b[0].qh)), 0xaa, load8(b[1].qh));
    __m512i high = _mm512_multishift_epi64_epi8(l->high_bits, qh);
    __mmask64 eight = _mm512_test_epi8_mask(high, _mm512_set1_epi8(32)), nine = _mm512_test_epi8_mask(high, _mm512_set1_epi8(64));
    upper_bits m = upper_bits_of(index);
    __m512i low[4];
    for (int i = 0; i < 4; i++) low[i] = among_256(t->lower + 256 * i, index, m);
    low[0] = _mm512_mask_blend_epi8(nine, _mm512_mask_blend_epi8(eight, low[0], low[1]), _mm512_mask_blend_epi8(eight, low[2], low[3]));
    __m512i eighth = eighths_of(index, high, 0x60);
    __m512i upper = upper_halves(t->upper, among_128(t->base, eighth, nine), among_128(t->steps, eighth, nine), index);
    return (parts){{_mm512_unpacklo_epi16(low[0], upper), _mm512_unpackhi_epi16(low[0], upper)},
                   {_mm512_permutexvar_epi16(l->pairs, first), _mm512_permutexvar_epi16(l->pairs, second)}};
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
