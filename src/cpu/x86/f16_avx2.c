/* SPDX-License-Identifier: MIT */
/* binary16 weights. */
#include "cpu/kernels.h"

#include <immintrin.h>

void kq_decode_f16_avx2(const void *src, size_t n_blocks, float *dst) {
    const uint8_t *at = src;
    size_t i = 0;
    for (; i + 8 <= n_blocks; i += 8) _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(at + 2 * i))));
    for (; i < n_blocks; i++) dst[i] = _cvtsh_ss(kq_load_u16(at + 2 * i));
}

/* ---- rowsf ----------------------------------------------------------------------------------------------------------- */

#define ROWSF kq_rowsf_f16_avx2
#define WEIGHT_BYTES 2
#define WIDEN(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#include "cpu/x86/rowsf_tmpl.h"
