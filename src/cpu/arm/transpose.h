/* SPDX-License-Identifier: MIT */
/* Transposing squares of 32-bit elements in registers. */
#ifndef KQ_CPU_ARM_TRANSPOSE_H
#define KQ_CPU_ARM_TRANSPOSE_H

#include <arm_neon.h>

/* r[i] lane j becomes r[j] lane i. */
static inline __attribute__((always_inline)) void transpose4(float32x4_t r[4]) {
    float32x4_t even[2], odd[2]; /* lanes 0 and 2, lanes 1 and 3, of rows 0 and 1, of rows 2 and 3 */
    for (int i = 0; i < 2; i++) {
        even[i] = vtrn1q_f32(r[2 * i], r[2 * i + 1]);
        odd[i] = vtrn2q_f32(r[2 * i], r[2 * i + 1]);
    }
#define PAIRS(op, a, b) vreinterpretq_f32_f64(op(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)))
    r[0] = PAIRS(vtrn1q_f64, even[0], even[1]);
    r[1] = PAIRS(vtrn1q_f64, odd[0], odd[1]);
    r[2] = PAIRS(vtrn2q_f64, even[0], even[1]);
    r[3] = PAIRS(vtrn2q_f64, odd[0], odd[1]);
#undef PAIRS
}

#endif
