/* SPDX-License-Identifier: MIT */
/* binary16 weights. */
#include "cpu/kernels.h"

#include <immintrin.h>

void kq_decode_f16_avx512(const void *src, size_t n_blocks, float *dst) {
    const uint8_t *at = src;
    size_t i = 0;
    for (; i + 16 <= n_blocks; i += 16) _mm512_storeu_ps(dst + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(at + 2 * i))));
    if (i == n_blocks) return;
    __mmask16 rest = (__mmask16)((1u << (n_blocks - i)) - 1);
    _mm512_mask_storeu_ps(dst + i, rest, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(rest, at + 2 * i)));
}

/* ---- rowsf ----------------------------------------------------------------------------------------------------------- */

#define ROWSF kq_rowsf_f16_avx512
#define WEIGHT_BYTES 2
#define WIDEN(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#include "cpu/x86/rowsf_tmpl.h"
