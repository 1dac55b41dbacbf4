/* SPDX-License-Identifier: MIT */
/* Tiles of bf16 for ARMv8.6: bfmmla multiplies two weight rows of four bf16 by two activation rows of four into 2 x 2 floats, twice what bfdot
 * does. 6 weight rows by a strip of 16 activation rows are 24 registers of sums.
 *
 * A strip has pairs of weights beside each other and bfmmla wants fours: a strip is turned once a call, 256 weights deep, into 8 KB of
 * stack, from where all weight rows meet it. Two weight rows are brought together in registers, 6 zips for 48 products.
 *
 * Sums are rounded to odd and what is below 2^-126 is 0, whatever the modes of the processor; tests/check has the bound that follows. */
#include "cpu/arm/transpose.h"
#include "cpu/kernels.h"

enum { BLOCK_ROWS = 6, PAIRS = BLOCK_ROWS / 2, LANE_PAIRS = KQ_LANES / 2, DEPTH = 256 };

/* ---- tile ---------------------------------------------------------------------------------------------------------- */

#define ZIP(op, a, b) vreinterpretq_f32_f64(op(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)))

/* out[k / 4][lane][k % 4] of what pack lays as [k / 2][lane][k % 2]. */
static void turn(const uint8_t *strip, size_t n, uint32_t *out) {
    const uint32_t *in = (const uint32_t *)(const void *)strip;
    for (size_t k = 0; k < n; k += 4, in += 2 * KQ_LANES, out += 2 * KQ_LANES) {
        for (size_t lane = 0; lane < KQ_LANES; lane += 4) {
            uint32x4_t first = vld1q_u32(in + lane), second = vld1q_u32(in + KQ_LANES + lane);
            vst1q_u32(out + 2 * lane, vzip1q_u32(first, second));
            vst1q_u32(out + 2 * lane + 4, vzip2q_u32(first, second));
        }
    }
}

/* Activations of two lanes, in register x, times three pairs of weight rows; then the activations that x holds next. */
#define MULTIPLY(x, w0, w1, w2, a, b, c, next) \
    "bfmmla v" #a ".4s, v" #w0 ".8h, v" #x ".8h\n bfmmla v" #b ".4s, v" #w1 ".8h, v" #x ".8h\n bfmmla v" #c ".4s, v" #w2 ".8h, v" #x ".8h\n" next
#define NEXT(x) "ldr q" #x ", [%[x]], #16\n"
#define FOUR(w0, w1, w2, even, odd)                                                                                  \
    MULTIPLY(31, w0, w1, w2, 0, 8, 16, NEXT(31)) MULTIPLY(28, w0, w1, w2, 1, 9, 17, NEXT(28))                        \
    MULTIPLY(31, w0, w1, w2, 2, 10, 18, NEXT(31)) MULTIPLY(28, w0, w1, w2, 3, 11, 19, NEXT(28))                      \
    MULTIPLY(31, w0, w1, w2, 4, 12, 20, NEXT(31)) MULTIPLY(28, w0, w1, w2, 5, 13, 21, NEXT(28))                      \
    MULTIPLY(31, w0, w1, w2, 6, 14, 22, even) MULTIPLY(28, w0, w1, w2, 7, 15, 23, odd)
#define SUMS(op)                                                                                                                        \
    op " q0, q1, [%[sums]]\n" op " q2, q3, [%[sums], #32]\n" op " q4, q5, [%[sums], #64]\n" op " q6, q7, [%[sums], #96]\n"              \
    op " q8, q9, [%[sums], #128]\n" op " q10, q11, [%[sums], #160]\n" op " q12, q13, [%[sums], #192]\n" op " q14, q15, [%[sums], #224]\n" \
    op " q16, q17, [%[sums], #256]\n" op " q18, q19, [%[sums], #288]\n" op " q20, q21, [%[sums], #320]\n" op " q22, q23, [%[sums], #352]\n"

/* sums[pair of rows][pair of lanes], 2 x 2 each, += the rows' n weights, a multiple of eight, by a turned strip. Assembly, because every register is
 * taken: v0 to v23 are sums, v24 to v30 weights, of which eight of a row come at once and leave v28 to the activations when they are zipped. */
static void multiply(const uint8_t *w, size_t w_pitch, const uint32_t *x, size_t n, float (*sums)[LANE_PAIRS][4]) {
    const uint8_t *w1 = w + w_pitch, *w2 = w1 + w_pitch, *w3 = w2 + w_pitch, *w4 = w3 + w_pitch, *w5 = w4 + w_pitch;
    __asm__ volatile(SUMS("ldp")
                     "1:\n"
                     "ldr q24, [%[w0]], #16\n ldr q25, [%[w1]], #16\n ldr q26, [%[w2]], #16\n"
                     "ldr q27, [%[w3]], #16\n ldr q28, [%[w4]], #16\n ldr q29, [%[w5]], #16\n" NEXT(31)
                     "zip1 v30.2d, v24.2d, v25.2d\n zip2 v25.2d, v24.2d, v25.2d\n"
                     "zip1 v24.2d, v26.2d, v27.2d\n zip2 v27.2d, v26.2d, v27.2d\n"
                     "zip1 v26.2d, v28.2d, v29.2d\n zip2 v29.2d, v28.2d, v29.2d\n"
                     NEXT(28) FOUR(30, 24, 26, NEXT(31), NEXT(28)) FOUR(25, 27, 29, "", "")
                     "subs %[n], %[n], #8\n b.ne 1b\n"
                     SUMS("stp")
                     : [w0] "+r"(w), [w1] "+r"(w1), [w2] "+r"(w2), [w3] "+r"(w3), [w4] "+r"(w4), [w5] "+r"(w5), [x] "+r"(x), [n] "+r"(n)
                     : [sums] "r"(sums)
                     : "cc", "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16",
                       "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");
}

/* Sums as they lie in memory, a row after the other, to 2 x 2 and back: two rows' first two lanes, their last two. */
static void block(const uint8_t *w, size_t w_pitch, const uint32_t *x, size_t n, float *sums) {
    float squares[PAIRS][LANE_PAIRS][4];
    for (size_t p = 0; p < PAIRS; p++) {
        for (size_t lane = 0; lane < KQ_LANES; lane += 4) {
            float32x4_t even = vld1q_f32(sums + 2 * p * KQ_LANES + lane), odd = vld1q_f32(sums + (2 * p + 1) * KQ_LANES + lane);
            vst1q_f32(squares[p][lane / 2], ZIP(vzip1q_f64, even, odd));
            vst1q_f32(squares[p][lane / 2 + 1], ZIP(vzip2q_f64, even, odd));
        }
    }
    multiply(w, w_pitch, x, n, squares);
    for (size_t p = 0; p < PAIRS; p++) {
        for (size_t lane = 0; lane < KQ_LANES; lane += 4) {
            float32x4_t low = vld1q_f32(squares[p][lane / 2]), high = vld1q_f32(squares[p][lane / 2 + 1]);
            vst1q_f32(sums + 2 * p * KQ_LANES + lane, ZIP(vzip1q_f64, low, high));
            vst1q_f32(sums + (2 * p + 1) * KQ_LANES + lane, ZIP(vzip2q_f64, low, high));
        }
    }
}

void kq_tile_bf16_bf16mm(const void *w, size_t w_pitch, size_t n_rows, const void *x, size_t x_pitch, size_t n_strips, size_t n, float *sums,
                         size_t sums_pitch, bool add) {
    _Alignas(64) uint32_t turned[DEPTH / 2 * KQ_LANES];
    for (size_t s = 0; s < n_strips; s++) {
        for (size_t at = 0; at < n; at += DEPTH) {
            size_t depth = KQ_MIN(n - at, (size_t)DEPTH);
            turn((const uint8_t *)x + s * x_pitch + 2 * KQ_LANES * at, depth, turned);
            for (size_t r = 0; r < n_rows; r += BLOCK_ROWS) {
                float *out = sums + s * sums_pitch + r * KQ_LANES;
                if (!add && at == 0) memset(out, 0, BLOCK_ROWS * KQ_LANES * sizeof *out);
                block((const uint8_t *)w + r * w_pitch + 2 * at, w_pitch, turned, depth, out);
            }
        }
    }
}

/* ---- to bf16 ------------------------------------------------------------------------------------------------------- */

/* Four floats, of which those below 2^-126 become zeros of their signs. */
static inline float32x4_t normal_of(float32x4_t v) {
    uint32x4_t bits = vreinterpretq_u32_f32(v), normal = vtstq_u32(bits, vdupq_n_u32(0x7f800000));
    return vreinterpretq_f32_u32(vandq_u32(bits, vorrq_u32(normal, vdupq_n_u32(0x80000000))));
}

/* Floats k .. k + 7 of a row of n, zeros behind it, as bf16. */
static inline bfloat16x8_t rounded(const float *x, size_t k, size_t n) {
    float rest[8] = {0};
    if (n < k + 8) {
        if (n > k) memcpy(rest, x + k, (n - k) * sizeof *rest);
        x = rest;
        k = 0;
    }
    return vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(normal_of(vld1q_f32(x + k))), normal_of(vld1q_f32(x + k + 4)));
}

static size_t padded(size_t n) { return (n + KQ_TILE_STEP - 1) / KQ_TILE_STEP * KQ_TILE_STEP; }

void kq_narrow_bf16_bf16mm(const float *w, size_t n, void *out) {
    uint16_t *to = out;
    for (size_t k = 0; k < padded(n); k += 8) vst1q_u16(to + k, vreinterpretq_u16_bf16(rounded(w, k, n)));
}

void kq_pack_bf16_bf16mm(const float *const *x, size_t m, size_t n, void *out) {
    float *to = out; /* pairs of bf16 */
    for (size_t k = 0; k < padded(n); k += 8, to += 4 * KQ_LANES) {
        for (size_t first = 0; first < KQ_LANES; first += 4) {
            float32x4_t v[4];
            for (size_t j = 0; j < 4; j++) v[j] = first + j < m ? vreinterpretq_f32_bf16(rounded(x[first + j], k, n)) : vdupq_n_f32(0);
            transpose4(v);
            for (size_t i = 0; i < 4; i++) vst1q_f32(to + KQ_LANES * i + first, v[i]);
        }
    }
}
