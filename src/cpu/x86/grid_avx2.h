/* SPDX-License-Identifier: MIT */
/* Codebooks for the AVX2 kernels: cells by index, one load each, and signs. Gathers are no quicker than loads one by one, and on machines
 * whose microcode guards them much slower. */
#ifndef KQ_CPU_X86_GRID_AVX2_H
#define KQ_CPU_X86_GRID_AVX2_H

#include "cpu/x86/unit_avx2.h"

INLINE float half(uint16_t h) { return _cvtsh_ss(h); }

/* Four cells of 8 weights. */
INLINE __m256i cells_of_8(const uint64_t *t, const uint8_t *i) {
    return _mm256_setr_epi64x((long long)t[i[0]], (long long)t[i[1]], (long long)t[i[2]], (long long)t[i[3]]);
}
INLINE __m256i words_of_8(const uint64_t *t, const uint16_t *i) {
    return _mm256_setr_epi64x((long long)t[i[0]], (long long)t[i[1]], (long long)t[i[2]], (long long)t[i[3]]);
}

/* What was stored as a vector and will be read piece by piece: through memory. GCC 12 would take it from the register, two instructions a piece. */
#define THROUGH_MEMORY(array) __asm__("" : "+m"(array))

/* Sixteen indices: bytes, and what is above them. */
INLINE void put_index(unit *u, int k, const uint8_t *bytes, __m256i high) {
    _mm256_storeu_si256((__m256i *)(void *)(u->index + 16 * k), _mm256_or_si256(_mm256_cvtepu8_epi16(load16(bytes)), high));
    THROUGH_MEMORY(u->index);
}
/* Each of four bytes, and of four 16-bit words, as four words. */
INLINE __m256i four_times(uint32_t bytes) {
    const __m256i byte = _mm256_setr_epi64x((long long)0x8000800080008000ull, (long long)0x8001800180018001ull, (long long)0x8002800280028002ull,
                                            (long long)0x8003800380038003ull);
    return _mm256_shuffle_epi8(_mm256_set1_epi32((int)bytes), byte);
}
INLINE __m256i four_times_words(uint64_t words) {
    const __m256i bytes = _mm256_setr_epi64x(0x0100010001000100ll, 0x0302030203020302ll, 0x0504050405040504ll, 0x0706070607060706ll);
    return _mm256_shuffle_epi8(_mm256_set1_epi64x((long long)words), bytes);
}

/* Levels, at most 62, plus an offset of 64; 32 sign bits make it 64 less the level. */
INLINE __m256i with_signs(__m256i levels, const uint8_t signs[4]) {
    __m256i sign = _mm256_or_si256(spread_bits(signs), _mm256_set1_epi8(1)); /* -1 or 1 */
    return _mm256_add_epi8(_mm256_sign_epi8(levels, sign), _mm256_set1_epi8(64));
}

/* 32 times seven signs: the eighth makes their number even. */
INLINE void put_signs(unit *u, __m256i seven) {
    const __m256i odd = _mm256_setr_epi64x((long long)0x8000008000808000ull, 0x0080800080000080ll, (long long)0x8000008000808000ull, 0x0080800080000080ll);
    __m256i fold = _mm256_and_si256(_mm256_xor_si256(seven, _mm256_srli_epi16(seven, 4)), _mm256_set1_epi8(15));
    _mm256_storeu_si256((__m256i *)(void *)u->parity, _mm256_or_si256(seven, _mm256_shuffle_epi8(odd, fold)));
    THROUGH_MEMORY(u->parity);
}
/* Eight words of four times seven signs and, in the top 4 bits, s: scales d (0.5 + s), exact in any order. */
INLINE void open_words(unit *u, __m256i words, float d) {
    __m256i s = _mm256_srli_epi32(words, 28), seven = _mm256_and_si256(words, _mm256_set1_epi32(0x7f));
    for (int k = 1; k < 4; k++) seven = _mm256_or_si256(seven, _mm256_and_si256(_mm256_slli_epi32(words, k), _mm256_set1_epi32(0x7f << 8 * k)));
    put_signs(u, seven);
    u->scales[0] = _mm256_mul_ps(_mm256_add_ps(_mm256_cvtepi32_ps(s), _mm256_set1_ps(0.5f)), _mm256_set1_ps(d));
}
/* Sixteen nibbles s, the low one of a byte first: scales d (0.5 + s) / 4, as steps 2s + 1 of d / 8. */
INLINE void open_nibbles(unit *u, const uint8_t bytes[8], uint16_t d) {
    __m128i both = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)bytes));
    __m256i s = _mm256_cvtepu8_epi16(_mm_and_si128(_mm_or_si128(both, _mm_slli_epi16(both, 4)), _mm_set1_epi8(15)));
    u->steps = _mm256_or_si256(_mm256_add_epi16(s, s), _mm256_set1_epi16(1));
    u->d = _mm256_set1_ps(half(d) * 0.125f);
}

#endif
