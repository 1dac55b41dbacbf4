/* SPDX-License-Identifier: MIT */
/* Transposing squares of 32-bit elements in registers. Only files that are compiled for the instruction set include it. */
#ifndef KQ_CPU_X86_TRANSPOSE_H
#define KQ_CPU_X86_TRANSPOSE_H

#include <immintrin.h>

/* r[i] lane j becomes r[j] lane i: pairs and quads within the 128-bit quarters, then the quarters. */
static inline __attribute__((always_inline)) void transpose8(__m256 r[8]) {
    __m256 t[8], q[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        q[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        q[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        q[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        q[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(q[i], q[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(q[i], q[i + 4], 0x31);
    }
}

#ifdef __AVX512F__
static inline __attribute__((always_inline)) void transpose16(__m512i r[16]) {
    __m512i t[16], q[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        q[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        q[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        q[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        q[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) { /* q[i + 4k] has rows 4k .. 4k + 3 of columns i, i + 4, i + 8, i + 12, a quarter each */
        __m512i a = _mm512_shuffle_i32x4(q[i], q[i + 4], 0x88), b = _mm512_shuffle_i32x4(q[i + 8], q[i + 12], 0x88);
        __m512i c = _mm512_shuffle_i32x4(q[i], q[i + 4], 0xdd), d = _mm512_shuffle_i32x4(q[i + 8], q[i + 12], 0xdd);
        r[i] = _mm512_shuffle_i32x4(a, b, 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(a, b, 0xdd);
        r[i + 4] = _mm512_shuffle_i32x4(c, d, 0x88);
        r[i + 12] = _mm512_shuffle_i32x4(c, d, 0xdd);
    }
}
#endif

#endif
