/* SPDX-License-Identifier: MIT */
/* bfloat16 weights. */
#include "cpu/kernels.h"

#include <immintrin.h>

static inline __m256 widen(__m128i v) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16)); }

void kq_decode_bf16_avx2(const void *src, size_t n_blocks, float *dst) {
    const uint8_t *at = src;
    size_t i = 0;
    for (; i + 8 <= n_blocks; i += 8) _mm256_storeu_ps(dst + i, widen(_mm_loadu_si128((const __m128i *)(const void *)(at + 2 * i))));
    for (; i < n_blocks; i++) dst[i] = kq_bf16_to_f32(kq_load_u16(at + 2 * i));
}

/* ---- rowsf ----------------------------------------------------------------------------------------------------------- */

#define ROWSF kq_rowsf_bf16_avx2
#define WEIGHT_BYTES 2
#define WIDEN(p) widen(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#include "cpu/x86/rowsf_tmpl.h"
