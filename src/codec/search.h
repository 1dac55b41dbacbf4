/* SPDX-License-Identifier: MIT */
/* What the encoders share: roundings, and the searches for the scale of a group.
 *
 * An encoder's bytes are those of ggml's reference encoders (version de3ff81, built for plain x86-64), so everything in these
 * files is evaluated exactly in the order in which it is written: binary32 throughout, one rounding an operation, no fused
 * multiply-add, sums that start from zero and add one term after another. Parallel lanes may hold different groups, candidates
 * or rows; a sum is never split among them. */
#ifndef KQ_CODEC_SEARCH_H
#define KQ_CODEC_SEARCH_H

#include "base/base.h"

/* ---- roundings ---------------------------------------------------------------------------------------------------- */

/* Nearest integer, ties to even, by adding 1.5 * 2^23. For |f| > 2^22 the same bits are a wrapped value; it does occur (a scale
 * can be infinite), callers clamp it, and the bytes depend on it: +-infinity gives -2^22, NaN gives 0. */
static inline int kq_nearest(float f) { return (int)(kq_f32_to_bits(f + 12582912.0f) & 0x7fffff) - 0x400000; }

/* Towards zero; what no int32 can hold, NaN too, gives the least int32 (whose low byte is 0), as the x86 instruction does. */
static inline int32_t kq_truncate(float f) { return f > -2147483904.0f && f < 2147483648.0f ? (int32_t)f : INT32_MIN; }

/* Nearest integer, ties away from zero; the least int32 as above. */
static inline int32_t kq_round_away(float f) {
    int32_t t = kq_truncate(f);
    if (t == INT32_MIN) return t;
    float rest = f - (float)t; /* exact, and 0 for |f| >= 2^23 */
    return rest >= 0.5f ? t + 1 : rest <= -0.5f ? t - 1 : t;
}

static inline int kq_clamp(int value, int low, int high) { return value < low ? low : value > high ? high : value; }

/* The low byte of an integer, as storing it in one keeps it. */
static inline uint8_t kq_low_byte(int value) { return (uint8_t)((unsigned)value & 255); }

/* ---- pieces ------------------------------------------------------------------------------------------------------- */

static inline float kq_sum_of_squares(const float *x, size_t n) {
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sum;
}

/* The greatest |x|, 0 for none. */
static inline float kq_greatest_magnitude(const float *x, size_t n) {
    float most = 0;
    for (size_t i = 0; i < n; i++) most = KQ_MAX(__builtin_fabsf(x[i]), most);
    return most;
}

/* The element of greatest magnitude with its sign, the first of equals; 0 for none. */
static inline float kq_greatest_signed(const float *x, size_t n) {
    float most = 0, with_sign = 0;
    for (size_t i = 0; i < n; i++) {
        if (__builtin_fabsf(x[i]) > most) {
            most = __builtin_fabsf(x[i]);
            with_sign = x[i];
        }
    }
    return with_sign;
}

/* The weight that an error at x has: importance * sqrt(sigma2 + x^2). */
static inline void kq_weigh(const float *importances, float sigma2, const float *x, size_t n, float *w) {
    for (size_t i = 0; i < n; i++) w[i] = importances[i] * __builtin_sqrtf(sigma2 + x[i] * x[i]);
}

/* ---- searches (search.c): n <= 32 elements, results in codes[n] ---------------------------------------------------------- */

/* x ~ scale * (code - n_max), codes in 0 .. 2 n_max - 1, minimising sum w (x - ..)^2 over 19 trial scales. w NULL: x^2. */
float kq_search_signed(size_t n, int n_max, const float *x, const float *w, uint8_t *codes);

/* The same from one trial scale, refined one code at a time; weights x^2. */
float kq_refine_signed(size_t n, int n_max, const float *x, uint8_t *codes);

/* x ~ scale * code - *min, codes in 0 .. n_max. Trial scales are (first + step * t + n_max) / range for t = 0 .. last. */
typedef struct kq_affine_trials {
    float first, step;
    int last;
    bool absolute; /* the error is |difference|, not its square */
} kq_affine_trials;
float kq_search_affine(size_t n, int n_max, const float *x, const float *w, const kq_affine_trials *trials, uint8_t *codes, float *min);

/* x ~ scale * code, codes in 0 .. n_max, for x that should not be negative. Should one be, its code is a negative integer modulo
 * 256: the format's packing cuts it, and the bytes are identical only if it is cut there and not here. */
float kq_search_positive(size_t n, int n_max, const float *x, const float *w, uint8_t *codes);

/* ---- blocks (legacy.c) ---------------------------------------------------------------------------------------------------- */

/* One block of q4_0, q4_1, q5_0 or q5_1 in a row whose mean square is sigma2. */
void kq_encode_block_32(uint32_t codec, const float *x, const float *importances, float sigma2, void *dst);

#endif
