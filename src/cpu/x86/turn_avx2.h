/* SPDX-License-Identifier: MIT */
/* Turning groups for AVX2 as weave (kernels.h) has them: a register for each of a group's eight dwords, a lane for each of eight groups. */
#ifndef KQ_CPU_X86_TURN_AVX2_H
#define KQ_CPU_X86_TURN_AVX2_H

#include <immintrin.h>

/* Dword i of four registers' halves, beside each other in a half of register i. */
static inline __attribute__((always_inline)) void turn_halves(__m256i a, __m256i b, __m256i c, __m256i d, __m256i out[4]) {
    __m256i a0 = _mm256_unpacklo_epi32(a, b), a1 = _mm256_unpackhi_epi32(a, b), b0 = _mm256_unpacklo_epi32(c, d), b1 = _mm256_unpackhi_epi32(c, d);
    out[0] = _mm256_unpacklo_epi64(a0, b0);
    out[1] = _mm256_unpackhi_epi64(a0, b0);
    out[2] = _mm256_unpacklo_epi64(a1, b1);
    out[3] = _mm256_unpackhi_epi64(a1, b1);
}

/* Of eight groups in their order: dword s of the groups 0 2 4 6 1 3 5 7 in register s. */
static inline __attribute__((always_inline)) void turn_groups(const __m256i g[8], __m256i q[8]) {
    __m256i even[4], odd[4];
    turn_halves(g[0], g[2], g[4], g[6], even);
    turn_halves(g[1], g[3], g[5], g[7], odd);
    for (int i = 0; i < 4; i++) {
        q[i] = _mm256_permute2x128_si256(even[i], odd[i], 0x20);
        q[4 + i] = _mm256_permute2x128_si256(even[i], odd[i], 0x31);
    }
}

/* Floats of the eight groups in that order; of sixteen half groups those of the first or the second halves. */
static inline __attribute__((always_inline)) __m256 turn_floats(__m256 v) {
    return _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
}
static inline __attribute__((always_inline)) __m256 turn_half_groups(__m256 low, __m256 high, int half) {
    const __m256i h = _mm256_set1_epi32(half), from = _mm256_setr_epi32(0, 4, 0, 4, 2, 6, 2, 6);
    __m256i at = _mm256_add_epi32(from, h);
    return _mm256_blend_ps(_mm256_permutevar8x32_ps(low, at), _mm256_permutevar8x32_ps(high, at), 0xcc);
}

#endif
