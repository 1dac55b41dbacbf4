/* SPDX-License-Identifier: MIT */
/* Elementary functions that give the same bits on every machine.
 *
 * The C library's expf, cosf and pow differ between versions and choose their code by CPU at run time, so nothing built on them
 * could promise that the same seed, model and mode give the same text everywhere. These are plain C: additions, multiplications
 * and divisions in a fixed order, compiled without contraction, so IEEE 754 settles every bit. The single-precision ones have no
 * branches, so loops around them vectorise. tests/unit/numeric.c measures the stated errors against long double. */
#ifndef KQ_BASE_NUMERIC_H
#define KQ_BASE_NUMERIC_H

#include "base/base.h"

#include <math.h>

/* e^x within 1 ulp (0.98 measured over all floats), subnormal results included; exactly 1 at 0, 0 below -104, infinity above
 * 88.73, NaN for NaN.
 * x = n ln2 + r with |r| <= 0.3475: n ln2's upper part has 15 bits, so n * upper is exact; the polynomial is our own minimax fit of
 * (e^r - 1 - r) / r^2; 2^n is applied in two halves, of which the first is exact, so subnormal results round once. */
static inline float kq_expf(float x) {
    x = x > 89.0f ? 89.0f : x; /* comparisons with NaN are false: it passes */
    x = x < -104.0f ? -104.0f : x;
    float shifted = x * 0x1.715476p+0f + 0x1.8p+23f; /* 1/ln2; adding 1.5 * 2^23 rounds to an integer in the low bits */
    float n = shifted - 0x1.8p+23f;
    float r = (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
    float q = 0x1.6a21acp-10f;
    q = q * r + 0x1.123b6ap-7f;
    q = q * r + 0x1.5558fap-5f;
    q = q * r + 0x1.55549p-3f;
    q = q * r + 0x1.fffffcp-2f;
    float y = (q * (r * r) + r) + 1.0f;
    uint32_t i = kq_f32_to_bits(shifted) - 0x4b400000u;        /* n as a two's complement integer, -151 to 129 */
    uint32_t half = (i + 1024u) / 2u - 512u;                   /* floor(n / 2) */
    return y * kq_bits_to_f32((half + 127u) << 23) * kq_bits_to_f32((i - half + 127u) << 23);
}

/* x / (1 + e^-x): relative error below 4 * 2^-24 where the result is above 2^-121 in magnitude; below, e^-x overflows and the result may
 * be 0. NaN for NaN and for -infinity. */
static inline float kq_silu(float x) { return x / (1.0f + kq_expf(-x)); }

/* x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3), written as x / (1 + e^-2u), which loses nothing where tanh is near -1.
 * Six roundings make u, so e^-2u is off by up to 12 |u| * 2^-24, and the result by (4 + 12 |u|) * 2^-24, relative (0.62 of that measured);
 * as above where the result is tiny. */
static inline float kq_gelu_tanh(float x) {
    float u2 = 0x1.988454p+0f * x * (1.0f + 0.044715f * (x * x)); /* 2 sqrt(2/pi) = 1.5957691 */
    return x / (1.0f + kq_expf(-u2));
}

/* e^x in double, within 2 ulp while the result is normal; below -708 the result is 0, above 709.79 infinity. */
static inline double kq_exp(double x) {
    if (!(x <= 709.79)) return x + (double)INFINITY; /* NaN stays NaN */
    if (x < -708.0) return 0.0;
    double shifted = x * 0x1.71547652b82fep+0 + 0x1.8p+52, n = shifted - 0x1.8p+52;
    double r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
    double y = 1.0 / 6227020800.0; /* Taylor to r^13 / 13!: what is left is below 2^-57 for |r| <= 0.3466 */
    y = y * r + 1.0 / 479001600.0;
    y = y * r + 1.0 / 39916800.0;
    y = y * r + 1.0 / 3628800.0;
    y = y * r + 1.0 / 362880.0;
    y = y * r + 1.0 / 40320.0;
    y = y * r + 1.0 / 5040.0;
    y = y * r + 1.0 / 720.0;
    y = y * r + 1.0 / 120.0;
    y = y * r + 1.0 / 24.0;
    y = y * r + 1.0 / 6.0;
    y = y * r + 0.5;
    y = (y * (r * r) + r) + 1.0;
    int64_t i = (int64_t)n, half = i / 2; /* two halves: n may be 1024 */
    uint64_t a = (uint64_t)(half + 1023) << 52, b = (uint64_t)(i - half + 1023) << 52;
    double sa, sb;
    memcpy(&sa, &a, 8);
    memcpy(&sb, &b, 8);
    return y * sa * sb;
}

/* The natural logarithm of a finite x > 0 (normal numbers), within 3 ulp or 2^-53, whichever is larger.
 * x = 2^k m, m in [0.707, 1.414]; with s = (m - 1) / (m + 1), ln m = 2 (s + s^3/3 + s^5/5 + ...), s^2 < 0.0295. */
static inline double kq_log(double x) {
    uint64_t bits;
    memcpy(&bits, &x, 8);
    int64_t k = (int64_t)(bits >> 52 & 0x7ff) - 1023;
    bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
    double m;
    memcpy(&m, &bits, 8);
    if (m > 0x1.6a09e667f3bcdp+0) {
        m *= 0.5;
        k++;
    }
    double s = (m - 1.0) / (m + 1.0), z = s * s, sum = 1.0 / 23.0;
    for (int i = 21; i >= 3; i -= 2) sum = sum * z + 1.0 / i;
    return (double)k * 0x1.62e42feep-1 + (2.0 * s + (2.0 * s * z * sum + (double)k * 0x1.a39ef35793c76p-33));
}

/* cos and sin of x in double: absolute error below 2^-50 for |x| <= 2^31.
 * x = n pi/2 + r; pi/2 is cut in four, the first three of 22 bits, so that their products with n are exact. */
static inline void kq_cos_sin(double x, double *cosine, double *sine) {
    double shifted = x * 0x1.45f306dc9c883p-1 + 0x1.8p+52, n = shifted - 0x1.8p+52;
    double r = (((x - n * 0x1.921fbp+0) - n * 0x1.5110bp-22) - n * 0x1.184698p-44) - n * 0x1.3198a2e037073p-69;
    double z = r * r;
    double s = -1.0 / 1307674368000.0; /* Taylor: sin to r^15, cos to r^16, |r| <= 0.7854 */
    s = s * z + 1.0 / 6227020800.0;
    s = s * z - 1.0 / 39916800.0;
    s = s * z + 1.0 / 362880.0;
    s = s * z - 1.0 / 5040.0;
    s = s * z + 1.0 / 120.0;
    s = s * z - 1.0 / 6.0;
    s = s * z * r + r;
    double c = 1.0 / 20922789888000.0;
    c = c * z - 1.0 / 87178291200.0;
    c = c * z + 1.0 / 479001600.0;
    c = c * z - 1.0 / 3628800.0;
    c = c * z + 1.0 / 40320.0;
    c = c * z - 1.0 / 720.0;
    c = c * z + 1.0 / 24.0;
    c = c * z - 0.5;
    c = c * z + 1.0;
    uint64_t quadrant;
    memcpy(&quadrant, &shifted, 8); /* n modulo 4 is in the lowest bits */
    bool swap = quadrant & 1, negate_c = (quadrant + 1) & 2, negate_s = quadrant & 2;
    double a = swap ? s : c, b = swap ? c : s;
    *cosine = negate_c ? -a : a;
    *sine = negate_s ? -b : b;
}

#endif
