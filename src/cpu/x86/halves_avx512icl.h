/* SPDX-License-Identifier: MIT */
/* Grids of 1024 and 2048 cells for AVX-512, looked up in registers: lower halves of cells as bytes, upper halves as steps (codebooks.h). A lookup among
 * 64 bytes is one instruction, and with a mask it leaves what another one found; the tables are L1's. Loads of single cells, of which a core does
 * hardly two a cycle, and gathers lost: docs/kernels.md. */
#ifndef KQ_CPU_X86_HALVES_AVX512ICL_H
#define KQ_CPU_X86_HALVES_AVX512ICL_H

#include "cpu/x86/columns_avx512icl.h"

INLINE __m128i load8(const void *p) { return _mm_loadl_epi64((const __m128i *)p); }

/* Bytes 0 .. 127, and 0 .. 255, of a table. */
INLINE __m512i among_128(const uint8_t *table, __m512i index, __mmask64 six) {
    return _mm512_mask_permutexvar_epi8(_mm512_permutexvar_epi8(index, load64(table)), six, index, load64(table + 64));
}
INLINE __m512i among_256(const uint8_t *table, __m512i index, upper_bits m) {
    __m512i v = among_128(table, index, m.six);
    v = _mm512_mask_permutexvar_epi8(v, m.seven, index, load64(table + 128));
    return _mm512_mask_permutexvar_epi8(v, m.both, index, load64(table + 192));
}

/* Indices divided by 8: bits 3 .. 7 of their lower bytes, and of `high`, where bits 8 and on lie from bit 5 on, those in `mask`. */
INLINE __m512i eighths_of(__m512i index, __m512i high, char mask) {
    const __m512i from_3 = _mm512_set1_epi64((long long)(ROW(4, 128) | ROW(3, 64) | ROW(2, 32) | ROW(1, 16) | ROW(0, 8)));
    return _mm512_or_si512(_mm512_gf2p8affine_epi64_epi8(index, from_3, 0), _mm512_and_si512(high, _mm512_set1_epi8(mask)));
}

/* The upper halves from the bytes of `base` and `steps` and the lower three bits of indices. */
INLINE __m512i upper_halves(const uint8_t upper[128], __m512i base, __m512i steps, __m512i index) {
    const __m512i up_to = _mm512_set1_epi64((long long)0xfe7e3e1e0e060200ull); /* bits 1 .. index % 8 */
    __m512i passed = _mm512_and_si512(steps, _mm512_permutexvar_epi8(index, up_to));
    __m512i rank = _mm512_add_epi8(base, _mm512_popcnt_epi8(passed));
    return _mm512_permutex2var_epi8(load64(upper), rank, load64(upper + 64));
}

/* Both halves of 64 cells of iq1, by the lower bytes of indices and their bits 8 .. 10 as bits 5 .. 7 of `high`. */
INLINE void look_up_2048(const kq_halves_iq1 *t, __m512i index, __m512i high, __m512i *lower, __m512i *upper) {
    __m512i low[8], eighth = eighths_of(index, high, (char)0xe0);
    __mmask64 eight = _mm512_test_epi8_mask(high, _mm512_set1_epi8(32));
    upper_bits m = upper_bits_of(index), n = upper_bits_of(high); /* n: bits 9 and 10 of an index, and 6 and 7 of an eighth of it */
    for (int i = 0; i < 8; i++) low[i] = among_256(t->lower + 256 * i, index, m);
    for (int i = 0; i < 8; i += 2) low[i] = _mm512_mask_blend_epi8(eight, low[i], low[i + 1]);
    low[0] = _mm512_mask_blend_epi8(n.six, low[0], low[2]);
    low[4] = _mm512_mask_blend_epi8(n.six, low[4], low[6]);
    *lower = _mm512_mask_blend_epi8(n.seven, low[0], low[4]);
    *upper = upper_halves(t->upper, among_256(t->base, eighth, n), among_256(t->steps, eighth, n), index);
}

/* Eight times the run'th of four codes in a byte. */
INLINE __m512i ternary_levels(__m512i codes, int run) {
    return _mm512_gf2p8affine_epi64_epi8(codes, _mm512_set1_epi64((long long)(ROW(3, 1u << 2 * run) | ROW(4, 2u << 2 * run))), 0);
}

#endif
