/* SPDX-License-Identifier: MIT */
/* What codecs in columns for AVX-512 share: codebooks that are looked up in registers, 64 cells at a time, a byte of their entries after the other;
 * levels; and signs. */
#ifndef KQ_CPU_X86_COLUMNS_AVX512ICL_H
#define KQ_CPU_X86_COLUMNS_AVX512ICL_H

#include "cpu/x86/unit_avx512icl.h"

/* GF(2): bit i of a result is the parity of the source bits in `mask`. */
#define ROW(i, mask) ((uint64_t)(mask) << (56 - 8 * (i)))
/* A permutation of bits: b7 is the source bit that becomes bit 7, and so on. */
#define BITS(b7, b6, b5, b4, b3, b2, b1, b0)                                                                                                     \
    (long long)(ROW(7, 1u << (b7)) | ROW(6, 1u << (b6)) | ROW(5, 1u << (b5)) | ROW(4, 1u << (b4)) | ROW(3, 1u << (b3)) | ROW(2, 1u << (b2)) | \
                ROW(1, 1u << (b1)) | ROW(0, 1u << (b0)))

/* The lower and the upper bytes of n words of a codebook. */
INLINE void split_words(const uint16_t *words, size_t n, __m512i *low, __m512i *high) {
    const __m512i byte = _mm512_set1_epi16(255);
    const __m512i in_order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    for (size_t i = 0; i < n / 64; i++) {
        __m512i a = load64(words + 64 * i), b = load64(words + 64 * i + 32);
        low[i] = _mm512_permutexvar_epi64(in_order, _mm512_packus_epi16(_mm512_and_si512(a, byte), _mm512_and_si512(b, byte)));
        high[i] = _mm512_permutexvar_epi64(in_order, _mm512_packus_epi16(_mm512_srli_epi16(a, 8), _mm512_srli_epi16(b, 8)));
    }
}

/* The same of words that have four codes of three bits, as two nibbles in each byte. */
INLINE void split_nibble_grid(const uint16_t *words, size_t n, __m512i *low, __m512i *high) {
    uint16_t nibbles[512];
    for (size_t i = 0; i < n; i += 32) {
        __m512i v = load64(words + i), spread = _mm512_and_si512(v, _mm512_set1_epi16(7));
        spread = _mm512_or_si512(spread, _mm512_and_si512(_mm512_slli_epi16(v, 1), _mm512_set1_epi16(0x70)));
        spread = _mm512_or_si512(spread, _mm512_and_si512(_mm512_slli_epi16(v, 2), _mm512_set1_epi16(0x700)));
        spread = _mm512_or_si512(spread, _mm512_and_si512(_mm512_slli_epi16(v, 3), _mm512_set1_epi16(0x7000)));
        _mm512_storeu_si512(nibbles + i, spread);
    }
    split_words(nibbles, n, low, high);
}

/* Bits 6 and 7 of 64 indices, and both. */
typedef struct upper_bits {
    __mmask64 six, seven, both;
} upper_bits;
INLINE upper_bits upper_bits_of(__m512i index) {
    upper_bits m = {_mm512_test_epi8_mask(index, _mm512_set1_epi8(64)), _mm512_movepi8_mask(index), 0};
    m.both = _kand_mask64(m.six, m.seven);
    return m;
}

/* Bytes 0 .. 255 of a table by 64 indices, and 0 .. 511 by 64 of nine bits, the ninth in a mask. A lookup among 64 bytes is one operation, with a mask too,
 * where one among 128 is three on Intel. */
INLINE __m512i pick_of_4(const __m512i *table, __m512i index) {
    const upper_bits m = upper_bits_of(index);
    __m512i v = _mm512_permutexvar_epi8(index, table[0]);
    v = _mm512_mask_permutexvar_epi8(v, m.six, index, table[1]);
    v = _mm512_mask_permutexvar_epi8(v, m.seven, index, table[2]);
    return _mm512_mask_permutexvar_epi8(v, m.both, index, table[3]);
}
INLINE __m512i pick_of_8(const __m512i *table, __m512i index, __mmask64 ninth) {
    return _mm512_mask_blend_epi8(ninth, pick_of_4(table, index), pick_of_4(table + 4, index));
}

/* 128 + level of the run'th of four codes in a byte. Only the codes 0, 1 and 2 are in a grid, and any three values are an affine function of two
 * bits: bit 0 says whether 8 becomes 25, bit 1 whether it becomes 43. */
INLINE __m512i levels_iq2(__m512i codes, int run) {
    uint64_t one = 1u << 2 * run, two = 2u << 2 * run, both = one | two;
    return _mm512_gf2p8affine_epi64_epi8(codes, _mm512_set1_epi64((long long)(ROW(0, both) | ROW(1, two) | ROW(4, one) | ROW(5, two))), 128 + 8);
}

/* 128 + level becomes 128 - level, which is 0 - (128 + level) in 8 bits. */
INLINE __m512i with_signs(__m512i codes, __mmask64 negative) { return _mm512_mask_sub_epi8(codes, negative, _mm512_setzero_si512(), codes); }

/* Weights e and e + 4 of two cells in each lane, from their bytes of codes and, twice, of signs. */
INLINE __m512i cells_of_2(__m512i codes, __m512i signs, int e) {
    return with_signs(levels_iq2(codes, e), _mm512_test_epi8_mask(signs, _mm512_set1_epi32((int)(0x10100101u << e))));
}

/* Of words of 32 bits with four sign fields by parity and four more bits: the signs of four cells, a byte each. */
INLINE __m512i signs_of_words(__m512i words) {
    __m512i seven = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x352e2720150e0700ll), words);
    return _mm512_gf2p8affine_epi64_epi8(seven, _mm512_set1_epi64(SIGNS_BY_PARITY), 0);
}

/* Eight times four bytes, the signs of two cells of 4 each, in the lower halves of 64 bits: a byte a cell, its signs in the lower four bits. */
INLINE __m512i cell_signs(__m512i groups) { return _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x1c1814100c080400ll), groups); }
/* Two of them, as the top bits of two nibbles. */
INLINE __m512i sign_nibbles(__m512i signs, int first) {
    return _mm512_gf2p8affine_epi64_epi8(signs, _mm512_set1_epi64((long long)(ROW(3, 1u << first) | ROW(7, 2u << first))), 0);
}

/* Eight numbers, each twice: of the two lanes of each group. */
INLINE __m512i twice_each(__m256i eight) {
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), _mm512_castsi256_si512(eight));
}

/* Scales of four bits: the lanes' nibbles come to their lower four bits by a multishift, and are looked up. */
INLINE __m512i nibble_of_each(void) { return _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60); }
/* Both lanes of each group. */
INLINE __m512i nibble_of_pairs(void) { return _mm512_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28); }
/* (0.5 + s) * part */
INLINE __m512 nibble_steps(float part) {
    const __m512 s = _mm512_setr_ps(0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 6.5f, 7.5f, 8.5f, 9.5f, 10.5f, 11.5f, 12.5f, 13.5f, 14.5f, 15.5f);
    return _mm512_mul_ps(s, _mm512_set1_ps(part));
}
/* Of 64 bits, those nibbles times d. */
INLINE __m512 nibble_scales(__m512i nibbles, uint64_t bits, __m512 steps, __m512 d) {
    return _mm512_mul_ps(_mm512_permutexvar_ps(_mm512_multishift_epi64_epi8(nibbles, _mm512_set1_epi64((long long)bits)), steps), d);
}

/* d (0.5 + s) / 4 and the like: exact in any order. */
INLINE __m512 half_steps(__m512 s, __m512 d, float part) {
    return _mm512_mul_ps(_mm512_mul_ps(_mm512_add_ps(s, _mm512_set1_ps(0.5f)), _mm512_set1_ps(part)), d);
}

/* 16 bytes each. */
INLINE __m512i four_quarters(const void *a, const void *b, const void *c, const void *d) {
    __m512i v = _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(load16(a)), 0x00f0, load16(b));
    return _mm512_mask_broadcast_i32x4(_mm512_mask_broadcast_i32x4(v, 0x0f00, load16(c)), 0xf000, load16(d));
}
/* Of four blocks of 18 bytes the first words, each four times. */
INLINE __m512i heads_of_4(void) {
    return _mm512_broadcast_i64x4(_mm256_setr_epi16(0, 0, 0, 0, 9, 9, 9, 9, 18, 18, 18, 18, 27, 27, 27, 27));
}

#endif
