/* SPDX-License-Identifier: MIT */
/* NEON without the dot product instructions. Two products of signed bytes fill 16 bits: 2 * 128 * 127 < 2^15. */
#include <arm_neon.h>

static inline int32x4_t multiply(int8x16_t w, int8x16_t x) {
    return vpaddlq_s16(vmlal_high_s8(vmull_s8(vget_low_s8(w), vget_low_s8(x)), w, x));
}
#define PRODUCTS(w, x) multiply(w, x)
#define VARIANT(op, id) kq_##op##_##id##_neon
#include "cpu/arm/rows_tmpl.h"
