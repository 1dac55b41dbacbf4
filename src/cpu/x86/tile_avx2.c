/* SPDX-License-Identifier: MIT */
/* Tiles of floats for AVX2: 6 weight rows times a strip of 16 activation rows, 12 sums in registers. A step is 6 weights
 * broadcast from their rows, each used twice, and the 16 activations. No rounding but the sums'. */
#include "cpu/kernels.h"
#include "cpu/x86/transpose.h"

enum { BLOCK_ROWS = 6 };

static inline __attribute__((always_inline)) void block(const uint8_t *w, size_t w_pitch, const float *x, size_t n, float *sums, bool add) {
    __m256 low[BLOCK_ROWS], high[BLOCK_ROWS];
    const uint8_t *w3 = w + 3 * w_pitch;
    for (size_t r = 0; r < BLOCK_ROWS; r++) {
        low[r] = add ? _mm256_loadu_ps(sums + r * KQ_LANES) : _mm256_setzero_ps();
        high[r] = add ? _mm256_loadu_ps(sums + r * KQ_LANES + 8) : _mm256_setzero_ps();
    }
    for (size_t k = 0; k < n; k++) {
        __m256 a = _mm256_loadu_ps(x + KQ_LANES * k), b = _mm256_loadu_ps(x + KQ_LANES * k + 8);
#define ROW(r, base, i)                                                                                    \
    {                                                                                                      \
        __m256 v = _mm256_broadcast_ss((const float *)(const void *)((base) + (i) * w_pitch + 4 * k));      \
        low[r] = _mm256_fmadd_ps(v, a, low[r]);                                                            \
        high[r] = _mm256_fmadd_ps(v, b, high[r]);                                                          \
    }
        ROW(0, w, 0) ROW(1, w, 1) ROW(2, w, 2) ROW(3, w3, 0) ROW(4, w3, 1) ROW(5, w3, 2)
#undef ROW
    }
    for (size_t r = 0; r < BLOCK_ROWS; r++) {
        _mm256_storeu_ps(sums + r * KQ_LANES, low[r]);
        _mm256_storeu_ps(sums + r * KQ_LANES + 8, high[r]);
    }
}

void kq_tile_f32_avx2(const void *w, size_t w_pitch, size_t n_rows, const void *x, size_t x_pitch, size_t n_strips, size_t n, float *sums,
                      size_t sums_pitch, bool add) {
    for (size_t s = 0; s < n_strips; s++) {
        const float *strip = (const float *)(const void *)((const uint8_t *)x + s * x_pitch);
        for (size_t r = 0; r < n_rows; r += BLOCK_ROWS)
            block((const uint8_t *)w + r * w_pitch, w_pitch, strip, n, sums + s * sums_pitch + r * KQ_LANES, add);
    }
}

/* Eight lanes from `first` on, of eight floats each. */
static inline void pack8(const float *const *x, size_t m, size_t first, size_t k, size_t n, float *out) {
    __m256 v[8];
    for (size_t j = 0; j < 8; j++) {
        _Alignas(32) float rest[8] = {0};
        v[j] = _mm256_setzero_ps();
        if (first + j >= m || k >= n) continue;
        if (k + 8 <= n) {
            v[j] = _mm256_loadu_ps(x[first + j] + k);
        } else {
            memcpy(rest, x[first + j] + k, (n - k) * sizeof *rest);
            v[j] = _mm256_load_ps(rest);
        }
    }
    transpose8(v);
    for (size_t j = 0; j < 8; j++) _mm256_storeu_ps(out + KQ_LANES * j, v[j]);
}

void kq_pack_f32_avx2(const float *const *x, size_t m, size_t n, void *out) {
    float *to = out;
    size_t end = (n + KQ_TILE_STEP - 1) / KQ_TILE_STEP * KQ_TILE_STEP;
    for (size_t k = 0; k < end; k += 8, to += 8 * KQ_LANES) {
        pack8(x, m, 0, k, n, to);
        pack8(x, m, 8, k, n, to + 8);
    }
}

void kq_unpack_f32_avx2(const float *sums, size_t n_rows, size_t m, const float *bias, float *const *y) {
    size_t r = 0;
    for (; r + 8 <= n_rows; r += 8) {
        for (size_t first = 0; first < m; first += 8) {
            __m256 v[8];
            for (size_t i = 0; i < 8; i++) v[i] = _mm256_loadu_ps(sums + (r + i) * KQ_LANES + first);
            transpose8(v);
            for (size_t j = first; j < KQ_MIN(m, first + 8); j++) {
                __m256 sum = v[j - first];
                _mm256_storeu_ps(y[j] + r, bias ? _mm256_add_ps(sum, _mm256_loadu_ps(bias + r)) : sum);
            }
        }
    }
    for (; r < n_rows; r++)
        for (size_t j = 0; j < m; j++) y[j][r] = bias ? sums[r * KQ_LANES + j] + bias[r] : sums[r * KQ_LANES + j];
}
