/* SPDX-License-Identifier: MIT */
/* tile for AVX-512: 12 weight rows times two strips of 16 activation rows, 24 sums in registers. Before including:
 *     MULTIPLY(sum, w, x)   what one step adds to sixteen sums; w and x are registers of 32-bit elements
 *     STEP_WEIGHTS          weights in an element: 1, floats, or 2, a pair of bf16
 * and TILE, the kernel's name.
 *
 * A step is 12 weights broadcast from their rows, each used twice, and 32 activations that lie in a row: 14 loads for 24 products, so
 * neither load ports nor L1 limit it. Of a strip's 64 bytes a step, and the rows' 48, the strip's 512 weights stay in L1. */
#include "cpu/kernels.h"

#include <immintrin.h>

enum { BLOCK_ROWS = 12 };

static inline __attribute__((always_inline)) void block(const uint8_t *w, size_t w_pitch, const uint8_t *x, size_t x_pitch, size_t steps,
                                                        float *sums, size_t sums_pitch, bool add, const size_t STRIPS) {
    __m512 sum[2][BLOCK_ROWS];
    const uint8_t *w3 = w + 3 * w_pitch, *w6 = w + 6 * w_pitch, *w9 = w + 9 * w_pitch;
    for (size_t s = 0; s < STRIPS; s++)
        for (size_t r = 0; r < BLOCK_ROWS; r++) sum[s][r] = add ? _mm512_loadu_ps(sums + s * sums_pitch + r * KQ_LANES) : _mm512_setzero_ps();
    for (size_t k = 0; k < steps; k++) {
        __m512i a = _mm512_loadu_si512(x + 64 * k), b = STRIPS > 1 ? _mm512_loadu_si512(x + x_pitch + 64 * k) : a;
#define ROW(r, base, i)                                                             \
    {                                                                               \
        __m512i v = _mm512_set1_epi32((int)kq_load_u32((base) + (i) * w_pitch + 4 * k)); \
        sum[0][r] = MULTIPLY(sum[0][r], v, a);                                      \
        if (STRIPS > 1) sum[1][r] = MULTIPLY(sum[1][r], v, b);                      \
    }
        ROW(0, w, 0) ROW(1, w, 1) ROW(2, w, 2) ROW(3, w3, 0) ROW(4, w3, 1) ROW(5, w3, 2)
        ROW(6, w6, 0) ROW(7, w6, 1) ROW(8, w6, 2) ROW(9, w9, 0) ROW(10, w9, 1) ROW(11, w9, 2)
#undef ROW
    }
    for (size_t s = 0; s < STRIPS; s++)
        for (size_t r = 0; r < BLOCK_ROWS; r++) _mm512_storeu_ps(sums + s * sums_pitch + r * KQ_LANES, sum[s][r]);
}

void TILE(const void *w, size_t w_pitch, size_t n_rows, const void *x, size_t x_pitch, size_t n_strips, size_t n, float *sums,
          size_t sums_pitch, bool add) {
    for (size_t s = 0; s < n_strips; s += 2) {
        const uint8_t *strip = (const uint8_t *)x + s * x_pitch, *row = w;
        float *out = sums + s * sums_pitch;
        for (size_t r = 0; r < n_rows; r += BLOCK_ROWS, row += BLOCK_ROWS * w_pitch, out += BLOCK_ROWS * KQ_LANES) {
            if (n_strips - s > 1) block(row, w_pitch, strip, x_pitch, n / STEP_WEIGHTS, out, sums_pitch, add, 2);
            else block(row, w_pitch, strip, x_pitch, n / STEP_WEIGHTS, out, sums_pitch, add, 1);
        }
    }
}
