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

#define INLINE static inline __attribute__((always_inline))

#ifdef __AVX512F__
typedef __m512 vector;
enum { WIDTH = 16, MOST = 8 }; /* MOST activation rows' sums fit the registers */
#define OF_VECTOR(op) _mm512_##op##_ps
static inline float total(vector v) { return _mm512_reduce_add_ps(v); }
#else
typedef __m256 vector;
enum { WIDTH = 8, MOST = 4 };
#define OF_VECTOR(op) _mm256_##op##_ps
static inline float total(vector v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
#endif
enum { STEP = 8 * WIDTH };

/* Eight vectors of weights times M activation rows. What comes is fetched between them: in a burst it would fill the buffers, and nothing would wait
 * during the arithmetic. */
INLINE void add_step(const uint8_t *w, const float *const *x, size_t at, vector *sum, size_t ahead, const size_t M) {
    vector step[MOST];
    for (size_t i = 0; i < 8; i++) {
        vector v = WIDEN(w + WEIGHT_BYTES * WIDTH * i);
        if (i * WEIGHT_BYTES * WIDTH % 64 == 0) {
            _mm_prefetch((const char *)w + 1024 + WEIGHT_BYTES * WIDTH * i, _MM_HINT_T0);
            _mm_prefetch((const char *)w + ahead + WEIGHT_BYTES * WIDTH * i, _MM_HINT_T1);
        }
        for (size_t j = 0; j < M; j++) {
            vector a = OF_VECTOR(loadu)(x[j] + at + WIDTH * i);
            step[j] = i ? OF_VECTOR(fmadd)(v, a, step[j]) : OF_VECTOR(mul)(v, a);
        }
    }
    for (size_t j = 0; j < M; j++) sum[j] = OF_VECTOR(add)(sum[j], step[j]);
}

/* Steps of a row from weight `from` to `to`, both whole steps. */
INLINE void add_steps(const uint8_t *w, size_t from, size_t to, const float *const *x, vector *sums, size_t ahead, const size_t M) {
    vector sum[MOST];
    for (size_t j = 0; j < M; j++) sum[j] = sums[j];
    for (size_t at = from; at < to; at += STEP) add_step(w + WEIGHT_BYTES * at, x, at, sum, ahead, M);
    for (size_t j = 0; j < M; j++) sums[j] = sum[j];
}

static inline void add_rows(const uint8_t *w, size_t from, size_t to, const float *const *x, vector *sums, size_t ahead, size_t m) {
    for (size_t j = 0, count; j < m; j += count) {
        count = KQ_MIN(m - j, MOST);
#ifdef __AVX512F__
        if (count == 8) add_steps(w, from, to, x + j, sums + j, ahead, 8);
        else if (count > 4) add_steps(w, from, to, x + j, sums + j, ahead, count = 4);
        else
#endif
        if (count == 4) add_steps(w, from, to, x + j, sums + j, ahead, 4);
        else if (count == 3) add_steps(w, from, to, x + j, sums + j, ahead, 3);
        else if (count == 2) add_steps(w, from, to, x + j, sums + j, ahead, 2);
        else add_steps(w, from, to, x + j, sums + j, ahead, 1);
    }
}

/* Where the activations do not stay in L1, pieces of them that do meet ROWS rows, and what is fetched is the same piece of the next ROWS. */
void ROWSF(const void *w, size_t row_bytes, size_t n_rows, size_t n, const float *const *x, float *const *y, size_t m) {
    enum { IN_L1 = 32 << 10, PIECE = 24 << 10, ROWS = 8 };
    size_t whole = n / STEP * STEP, left = n - whole, piece = PIECE / sizeof(float) / m / STEP * STEP;
    const bool stays = whole * m * sizeof(float) <= IN_L1;
    size_t n_together = stays ? 1 : ROWS, ahead = stays ? 4096 : ROWS * row_bytes;
    if (stays) piece = whole;
    float x_left[KQ_ROWSM][STEP];
    const float *x_at[KQ_ROWSM];
    for (size_t j = 0; j < m; j++) {
        x_at[j] = x_left[j];
        if (!left) continue;
        memset(x_left[j], 0, sizeof x_left[j]);
        memcpy(x_left[j], x[j] + whole, left * sizeof(float));
    }
    for (size_t first = 0, rows; first < n_rows; first += rows) {
        const uint8_t *at = (const uint8_t *)w + first * row_bytes;
        vector sums[ROWS][KQ_ROWSM];
        rows = KQ_MIN(n_rows - first, n_together);
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < m; j++) sums[r][j] = OF_VECTOR(setzero)();
        for (size_t from = 0, to; from < whole; from = to) {
            to = KQ_MIN(whole, from + piece);
            for (size_t r = 0; r < rows; r++) add_rows(at + r * row_bytes, from, to, x, sums[r], ahead, m);
        }
        for (size_t r = 0; r < rows; r++) {
            if (left) {
                uint8_t w_left[WEIGHT_BYTES * STEP];
                memset(w_left, 0, sizeof w_left);
                memcpy(w_left, at + r * row_bytes + WEIGHT_BYTES * whole, WEIGHT_BYTES * left);
                add_rows(w_left, 0, STEP, x_at, sums[r], 0, m);
            }
            for (size_t j = 0; j < m; j++) y[j][first + r] = total(sums[r][j]);
        }
    }
}
