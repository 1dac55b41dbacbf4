/* SPDX-License-Identifier: MIT */
/* What the AVX2 kernels share. Only files that are compiled for AVX2 include it. */
#ifndef KQ_CPU_X86_AVX2_H
#define KQ_CPU_X86_AVX2_H

#include "cpu/x86/prefetch.h"

#include <immintrin.h>
#include <stddef.h>

static inline __m256i load32(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }

/* Eight sums of four products of unsigned by signed bytes. The caller knows that two products fit 16 bits. */
static inline __attribute__((always_inline)) __m256 dot4(__m256i u, __m256i s) {
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1)));
}

static inline float sum8(__m256 v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* Bytes 8k .. 8k + 7 as floats. */
static inline __attribute__((always_inline)) __m128i eight_bytes(__m256i v, int k) {
    __m128i half = k < 2 ? _mm256_castsi256_si128(v) : _mm256_extracti128_si256(v, 1);
    return k % 2 ? _mm_unpackhi_epi64(half, half) : half;
}
static inline __attribute__((always_inline)) __m256 unsigned_bytes(__m256i v, int k) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight_bytes(v, k)));
}
static inline __attribute__((always_inline)) __m256 signed_bytes(__m256i v, int k) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight_bytes(v, k)));
}

#endif
