/* SPDX-License-Identifier: MIT */
/* rowsf: rows of f32, f16 or bf16 weights times float activations, for AVX2 and AVX-512. Before including:
 *
 *     ROWSF           the kernel's name
 *     WEIGHT_BYTES    of a weight: 4 or 2
 *     WIDEN(p)        a vector of weights from any address on, as floats: 8 for AVX2, 16 for AVX-512
 *
 * A row goes by in steps of eight vectors. A step has a sum of its own, so that the next step does not wait for it, and is added to the pair's: an
 * addition for eight products, and two registers for each activation row. What is left of a row goes the same way with zeros behind it. So
 * what a pair gives depends on its row's length alone, and nothing behind a row is read. */
#include "cpu/x86/prefetch.h"

#ifdef __AVX512F__
typedef __m512 vector;
enum { WIDTH = 16 };
#define OF_VECTOR(op) _mm512_##op##_ps
static inline float total(vector v) { return _mm512_reduce_add_ps(v); }
#else
typedef __m256 vector;
enum { WIDTH = 8 };
#define OF_VECTOR(op) _mm256_##op##_ps
static inline float total(vector v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
#endif
enum { STEP = 8 * WIDTH };

static inline __attribute__((always_inline)) void add_step(const uint8_t *w, const float *const *x, size_t at, vector *sum, const size_t M) {
    vector step[4];
    for (size_t i = 0; i < 8; i++) {
        vector v = WIDEN(w + WEIGHT_BYTES * WIDTH * i);
        for (size_t j = 0; j < M; j++) {
            vector a = OF_VECTOR(loadu)(x[j] + at + WIDTH * i);
            step[j] = i ? OF_VECTOR(fmadd)(v, a, step[j]) : OF_VECTOR(mul)(v, a);
        }
    }
    for (size_t j = 0; j < M; j++) sum[j] = OF_VECTOR(add)(sum[j], step[j]);
}

static inline __attribute__((always_inline)) void rowsf_m(const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n, const float *const *x,
                                                          float *const *y, const size_t M) {
    size_t whole = n / STEP * STEP, left = n - whole;
    float x_left[4][STEP];
    const float *x_at[4];
    for (size_t j = 0; j < M; j++) {
        x_at[j] = x_left[j];
        if (!left) continue;
        memset(x_left[j], 0, sizeof x_left[j]);
        memcpy(x_left[j], x[j] + whole, left * sizeof(float));
    }
    for (size_t r = 0; r < n_rows; r++, w += row_bytes) {
        vector sum[4];
        for (size_t j = 0; j < M; j++) sum[j] = OF_VECTOR(setzero)();
        for (size_t at = 0; at < whole; at += STEP) {
            prefetch_weights(w + WEIGHT_BYTES * at, WEIGHT_BYTES * STEP);
            add_step(w + WEIGHT_BYTES * at, x, at, sum, M);
        }
        if (left) {
            uint8_t w_left[WEIGHT_BYTES * STEP];
            memset(w_left, 0, sizeof w_left);
            memcpy(w_left, w + WEIGHT_BYTES * whole, WEIGHT_BYTES * left);
            add_step(w_left, x_at, 0, sum, M);
        }
        for (size_t j = 0; j < M; j++) y[j][r] = total(sum[j]);
    }
}

/* As in rowsm_tmpl.h: four activation rows are what the registers hold; eight are two passes, the second over weights that the first left in L1. */
void ROWSF(const void *w, size_t row_bytes, size_t n_rows, size_t n, const float *const *x, float *const *y, size_t m) {
    size_t most = m > 4 ? KQ_MAX(((size_t)16 << 10) / (n * WEIGHT_BYTES + 1), 1) : n_rows;
    const uint8_t *at = w;
    for (size_t first = 0, rows; first < n_rows; first += rows, at += rows * row_bytes) {
        rows = KQ_MIN(n_rows - first, most);
        for (size_t j = 0, count; j < m; j += count) {
            float *out[4];
            count = KQ_MIN(m - j, 4);
            for (size_t i = 0; i < count; i++) out[i] = y[j + i] + first;
            if (count == 4) rowsf_m(at, row_bytes, rows, n, x + j, out, 4);
            else if (count == 3) rowsf_m(at, row_bytes, rows, n, x + j, out, 3);
            else if (count == 2) rowsf_m(at, row_bytes, rows, n, x + j, out, 2);
            else rowsf_m(at, row_bytes, rows, n, x + j, out, 1);
        }
    }
}
