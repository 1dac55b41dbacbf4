/* SPDX-License-Identifier: MIT */
/* Weights that are floats: decode of f16 and bf16, and rowsf.
 *
 * rowsf goes 16 weights at a time, four vectors with a sum each, so that four products are under way with one activation row; what is left of a row goes
 * the same way with zeros behind it. So what a pair gives depends on its row's length alone, and nothing behind a row is read. */
#include "cpu/kernels.h"

#include <arm_neon.h>

#define INLINE static inline __attribute__((always_inline))

/* Four weights from any address on. */
INLINE float32x4_t four_f32(const uint8_t *p) { return vreinterpretq_f32_u8(vld1q_u8(p)); }
INLINE float32x4_t four_f16(const uint8_t *p) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p))); }
INLINE float32x4_t four_bf16(const uint8_t *p) { return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16)); }

/* ---- decode -------------------------------------------------------------------------------------------------------- */

#define DECODE(id)                                                                                                  \
    void kq_decode_##id##_neon(const void *src, size_t n_blocks, float *dst) {                                       \
        const uint8_t *at = src;                                                                                    \
        size_t i = 0;                                                                                               \
        for (; i + 4 <= n_blocks; i += 4) vst1q_f32(dst + i, four_##id(at + 2 * i));                                \
        for (; i < n_blocks; i++) dst[i] = kq_##id##_to_f32(kq_load_u16(at + 2 * i));                               \
    }
DECODE(f16)
DECODE(bf16)

/* ---- rowsf --------------------------------------------------------------------------------------------------------- */

enum { STEP = 16, MOST = 4 };

typedef float32x4_t four_fn(const uint8_t *p);

INLINE void add_step(four_fn *four, size_t bytes, const uint8_t *w, const float *const *x, size_t at, float32x4_t (*sum)[4], const size_t M) {
    for (size_t i = 0; i < 4; i++) {
        float32x4_t v = four(w + 4 * bytes * i);
        for (size_t j = 0; j < M; j++) sum[j][i] = vfmaq_f32(sum[j][i], v, vld1q_f32(x[j] + at + 4 * i));
    }
}

INLINE void rows_m(four_fn *four, size_t bytes, const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n, const float *const *x, float *const *y,
                   const size_t M) {
    size_t whole = n / STEP * STEP, left = n - whole;
    float rest[MOST][STEP] = {{0}};
    const float *x_at[MOST], *x_rest[MOST];
    for (size_t j = 0; j < M; j++) {
        x_at[j] = x[j];
        x_rest[j] = rest[j];
        if (left) memcpy(rest[j], x[j] + whole, left * sizeof(float));
    }
    for (size_t r = 0; r < n_rows; r++, w += row_bytes) {
        float32x4_t sum[MOST][4];
        for (size_t j = 0; j < M; j++)
            for (size_t i = 0; i < 4; i++) sum[j][i] = vdupq_n_f32(0);
        for (size_t at = 0; at < whole; at += STEP) add_step(four, bytes, w + bytes * at, x_at, at, sum, M);
        if (left) {
            uint8_t w_rest[4 * STEP] = {0};
            memcpy(w_rest, w + bytes * whole, bytes * left);
            add_step(four, bytes, w_rest, x_rest, 0, sum, M);
        }
        for (size_t j = 0; j < M; j++) y[j][r] = vaddvq_f32(vaddq_f32(vaddq_f32(sum[j][0], sum[j][1]), vaddq_f32(sum[j][2], sum[j][3])));
    }
}

/* Four activation rows are what the registers hold; eight are two passes, the second over weights that the first left in L1. */
INLINE void rows(four_fn *four, size_t bytes, const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n, const float *const *x, float *const *y,
                 size_t m) {
    size_t most = m > MOST ? KQ_MAX(((size_t)16 << 10) / (n * bytes + 1), 1) : n_rows;
    for (size_t first = 0, some; first < n_rows; first += some, w += some * row_bytes) {
        some = KQ_MIN(n_rows - first, most);
        for (size_t j = 0, count; j < m; j += count) {
            float *out[MOST];
            count = KQ_MIN(m - j, (size_t)MOST);
            for (size_t i = 0; i < count; i++) out[i] = y[j + i] + first;
            if (count == 4) rows_m(four, bytes, w, row_bytes, some, n, x + j, out, 4);
            else if (count == 3) rows_m(four, bytes, w, row_bytes, some, n, x + j, out, 3);
            else if (count == 2) rows_m(four, bytes, w, row_bytes, some, n, x + j, out, 2);
            else rows_m(four, bytes, w, row_bytes, some, n, x + j, out, 1);
        }
    }
}

#define ROWSF(id, bytes)                                                                                                                           \
    void kq_rowsf_##id##_neon(const void *w, size_t row_bytes, size_t n_rows, size_t n, const float *const *x, float *const *y, size_t m) {        \
        rows(four_##id, bytes, w, row_bytes, n_rows, n, x, y, m);                                                                                  \
    }
ROWSF(f32, 4)
ROWSF(f16, 2)
ROWSF(bf16, 2)
