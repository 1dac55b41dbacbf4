/* SPDX-License-Identifier: MIT */
/* Tiles of floats for NEON: 6 weight rows times a strip of 16 activation rows, 24 sums in registers. No rounding but the sums'.
 *
 * Sums take v0 to v23, weights v24 to v29, four of each row, multiplied as lanes of their register, and activations go through v30 and v31:
 * every register there is, 22 loads for 96 products. Assembly, because whether GCC 12 finds this is
 * luck (docs/kernels.md). Each load is six products ahead of its use, for cores that take instructions in order. */
#include "cpu/arm/transpose.h"
#include "cpu/kernels.h"

enum { BLOCK_ROWS = 6 };

/* Activations in register x, of weight i of four, times the weights of six rows to the sums of one quarter of the lanes. */
#define MULTIPLY(x, i, a, b, c, d, e, f)                                                                                                \
    "fmla v" #a ".4s, v" #x ".4s, v24.s[" #i "]\n fmla v" #b ".4s, v" #x ".4s, v25.s[" #i "]\n fmla v" #c ".4s, v" #x ".4s, v26.s[" #i "]\n" \
    "fmla v" #d ".4s, v" #x ".4s, v27.s[" #i "]\n fmla v" #e ".4s, v" #x ".4s, v28.s[" #i "]\n fmla v" #f ".4s, v" #x ".4s, v29.s[" #i "]\n"
#define NEXT(x) "ldr q" #x ", [%[x]], #16\n"
#define WEIGHT(i, first, second)                                                                                 \
    MULTIPLY(30, i, 0, 4, 8, 12, 16, 20) NEXT(30) MULTIPLY(31, i, 1, 5, 9, 13, 17, 21) NEXT(31)                \
    MULTIPLY(30, i, 2, 6, 10, 14, 18, 22) first MULTIPLY(31, i, 3, 7, 11, 15, 19, 23) second
/* Of v0 to v23, which lie as they do in memory: row after row. */
#define SUMS(op)                                                                                                                        \
    op " q0, q1, [%[sums]]\n" op " q2, q3, [%[sums], #32]\n" op " q4, q5, [%[sums], #64]\n" op " q6, q7, [%[sums], #96]\n"              \
    op " q8, q9, [%[sums], #128]\n" op " q10, q11, [%[sums], #160]\n" op " q12, q13, [%[sums], #192]\n" op " q14, q15, [%[sums], #224]\n" \
    op " q16, q17, [%[sums], #256]\n" op " q18, q19, [%[sums], #288]\n" op " q20, q21, [%[sums], #320]\n" op " q22, q23, [%[sums], #352]\n"

/* n is a multiple of four, not 0. */
static void block(const uint8_t *w, size_t w_pitch, const float *x, size_t n, float *sums) {
    const uint8_t *w1 = w + w_pitch, *w2 = w1 + w_pitch, *w3 = w2 + w_pitch, *w4 = w3 + w_pitch, *w5 = w4 + w_pitch;
    __asm__ volatile(SUMS("ldp")
                     "1:\n"
                     "ldr q24, [%[w0]], #16\n ldr q25, [%[w1]], #16\n ldr q26, [%[w2]], #16\n"
                     "ldr q27, [%[w3]], #16\n ldr q28, [%[w4]], #16\n ldr q29, [%[w5]], #16\n"
                     NEXT(30) NEXT(31)
                     WEIGHT(0, NEXT(30), NEXT(31)) WEIGHT(1, NEXT(30), NEXT(31)) WEIGHT(2, NEXT(30), NEXT(31)) WEIGHT(3, "", "")
                     "subs %[n], %[n], #4\n b.ne 1b\n"
                     SUMS("stp")
                     : [w0] "+r"(w), [w1] "+r"(w1), [w2] "+r"(w2), [w3] "+r"(w3), [w4] "+r"(w4), [w5] "+r"(w5), [x] "+r"(x), [n] "+r"(n)
                     : [sums] "r"(sums)
                     : "cc", "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16",
                       "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");
}

void kq_tile_f32_neon(const void *w, size_t w_pitch, size_t n_rows, const void *x, size_t x_pitch, size_t n_strips, size_t n, float *sums,
                      size_t sums_pitch, bool add) {
    for (size_t s = 0; s < n_strips; s++) {
        const float *strip = (const float *)(const void *)((const uint8_t *)x + s * x_pitch);
        for (size_t r = 0; r < n_rows; r += BLOCK_ROWS) {
            float *out = sums + s * sums_pitch + r * KQ_LANES;
            if (!add) memset(out, 0, BLOCK_ROWS * KQ_LANES * sizeof *out);
            block((const uint8_t *)w + r * w_pitch, w_pitch, strip, n, out);
        }
    }
}

/* Floats k .. k + 3 of a row of n, zeros behind it. */
static inline float32x4_t four_of(const float *x, size_t k, size_t n) {
    float rest[4] = {0};
    if (n >= k + 4) return vld1q_f32(x + k);
    if (n > k) memcpy(rest, x + k, (n - k) * sizeof *rest);
    return vld1q_f32(rest);
}

void kq_pack_f32_neon(const float *const *x, size_t m, size_t n, void *out) {
    float *to = out;
    size_t end = (n + KQ_TILE_STEP - 1) / KQ_TILE_STEP * KQ_TILE_STEP;
    for (size_t k = 0; k < end; k += 4, to += 4 * KQ_LANES) {
        for (size_t first = 0; first < KQ_LANES; first += 4) {
            float32x4_t v[4];
            for (size_t j = 0; j < 4; j++) v[j] = first + j < m ? four_of(x[first + j], k, n) : vdupq_n_f32(0);
            transpose4(v);
            for (size_t i = 0; i < 4; i++) vst1q_f32(to + KQ_LANES * i + first, v[i]);
        }
    }
}

void kq_unpack_f32_neon(const float *sums, size_t n_rows, size_t m, const float *bias, float *const *y) {
    size_t r = 0;
    for (; r + 4 <= n_rows; r += 4) {
        for (size_t first = 0; first < m; first += 4) {
            float32x4_t v[4];
            for (size_t i = 0; i < 4; i++) v[i] = vld1q_f32(sums + (r + i) * KQ_LANES + first);
            transpose4(v);
            for (size_t j = first; j < KQ_MIN(m, first + 4); j++) {
                float32x4_t sum = v[j - first];
                vst1q_f32(y[j] + r, bias ? vaddq_f32(sum, vld1q_f32(bias + r)) : sum);
            }
        }
    }
    for (; r < n_rows; r++)
        for (size_t j = 0; j < m; j++) y[j][r] = bias ? sums[r * KQ_LANES + j] + bias[r] : sums[r * KQ_LANES + j];
}
