/* SPDX-License-Identifier: MIT */
/* Codebooks of 1024 and 2048 entries for AVX-512: 32 indices at a time to 16-bit entries, entries to levels, and signs. The smaller ones are in
 * columns_avx512icl.h. */
#ifndef KQ_CPU_X86_GRID_AVX512ICL_H
#define KQ_CPU_X86_GRID_AVX512ICL_H

#include "cpu/x86/unit_avx512icl.h"

/* Entries of a codebook by 32 indices: two gathers of 16 aligned pairs of entries (an entry's own 32 bits could end behind the table). */
INLINE __m512i look_up_large(const uint16_t *table, __m512i index) {
    const __m512i pair = _mm512_set1_epi32(0x7ffe);
    __m512i even = _mm512_i32gather_epi32(_mm512_and_si512(index, pair), table, 2);
    __m512i odd = _mm512_i32gather_epi32(_mm512_and_si512(_mm512_srli_epi32(index, 16), pair), table, 2);
    /* of each pair the entry that the index's lowest bit names, in the lower and in the upper half of 32 bits */
    __mmask16 even_upper = _mm512_test_epi32_mask(index, _mm512_set1_epi32(1)), odd_upper = _mm512_test_epi32_mask(index, _mm512_set1_epi32(0x10000));
    even = _mm512_mask_srli_epi32(even, even_upper, even, 16);
    odd = _mm512_mask_slli_epi32(odd, (__mmask16)~odd_upper, odd, 16);
    return _mm512_mask_blend_epi16(0xaaaaaaaa, even, odd);
}

/* Eight entries of eight 2-bit codes each, entries 8p .. 8p + 7 of 32, as the levels of 64 weights; `levels` repeats its four. */
INLINE __m512i levels_of_8(__m512i entries, int p, __m512i levels) {
    const __m512i spread = _mm512_add_epi16(_mm512_setr_epi64(0, 0x0001000100010001ll, 0x0002000200020002ll, 0x0003000300030003ll, 0x0004000400040004ll,
                                                              0x0005000500050005ll, 0x0006000600060006ll, 0x0007000700070007ll),
                                            _mm512_set1_epi16((short)(8 * p)));
    __m512i each = _mm512_permutexvar_epi16(spread, entries);
    return _mm512_permutexvar_epi8(_mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x0e0c0a0806040200ll), each), levels);
}

/* Levels plus an offset of 128, over and over: vpermb looks at six bits of an index, of which the upper ones belong to the next code. */
INLINE __m512i four_levels(const uint8_t *levels) {
    return _mm512_xor_si512(_mm512_set1_epi32((int)kq_load_u32(levels)), _mm512_set1_epi8(-128));
}
/* 128 + level becomes 128 - level, which is 0 - (128 + level) in 8 bits. */
INLINE __m512i with_signs(__m512i codes, uint64_t negative) { return _mm512_mask_sub_epi8(codes, (__mmask64)negative, _mm512_setzero_si512(), codes); }

/* Sixteen nibbles as floats, the low one of a byte first. */
INLINE __m512 nibbles_as_floats(const uint8_t bytes[8]) {
    __m128i both = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)bytes));
    both = _mm_and_si128(_mm_or_si128(both, _mm_slli_epi16(both, 4)), _mm_set1_epi8(15));
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(both));
}

/* d (0.5 + s) / 4 and the like: exact in any order. */
INLINE __m512 half_steps(__m512 s, float d) { return _mm512_mul_ps(_mm512_add_ps(s, _mm512_set1_ps(0.5f)), _mm512_set1_ps(d)); }
INLINE float half(uint16_t h) { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h))); }

#endif
