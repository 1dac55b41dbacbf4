/* SPDX-License-Identifier: MIT */
/* Tiles of floats for AVX-512, for machines that do not multiply bf16. */
#include "cpu/x86/transpose.h"

#define MULTIPLY(sum, w, x) _mm512_fmadd_ps(_mm512_castsi512_ps(w), _mm512_castsi512_ps(x), sum)
#define STEP_WEIGHTS 1
#define TILE kq_tile_f32_avx512
#include "cpu/x86/tile_avx512_tmpl.h"

void kq_pack_f32_avx512(const float *const *x, size_t m, size_t n, void *out) {
    uint8_t *to = out;
    size_t end = (n + KQ_TILE_STEP - 1) / KQ_TILE_STEP * KQ_TILE_STEP;
    for (size_t k = 0; k < end; k += 16, to += 1024) {
        __m512i v[16];
        __mmask16 there = (__mmask16)(n >= k + 16 ? 0xffffu : k < n ? (1u << (n - k)) - 1 : 0);
        for (size_t j = 0; j < 16; j++) v[j] = j < m ? _mm512_maskz_loadu_epi32(there, x[j] + k) : _mm512_setzero_si512();
        transpose16(v);
        for (size_t j = 0; j < 16; j++) _mm512_storeu_si512(to + 64 * j, v[j]);
    }
}

void kq_unpack_f32_avx512(const float *sums, size_t n_rows, size_t m, const float *bias, float *const *y) {
    for (size_t r = 0; r < n_rows; r += 16) {
        __m512i v[16];
        __mmask16 there = (__mmask16)(n_rows >= r + 16 ? 0xffffu : (1u << (n_rows - r)) - 1);
        for (size_t i = 0; i < 16; i++) v[i] = r + i < n_rows ? _mm512_loadu_si512(sums + (r + i) * KQ_LANES) : _mm512_setzero_si512();
        transpose16(v);
        __m512 b = _mm512_setzero_ps();
        if (bias) b = _mm512_maskz_loadu_ps(there, bias + r);
        for (size_t j = 0; j < m; j++) {
            __m512 sum = _mm512_castsi512_ps(v[j]);
            _mm512_mask_storeu_ps(y[j] + r, there, bias ? _mm512_add_ps(sum, b) : sum);
        }
    }
}
