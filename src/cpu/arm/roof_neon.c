/* SPDX-License-Identifier: MIT */
/* The roof of NEON: fused products of four floats (cpu/roof.h). */
#include "cpu/roof.h"

uint64_t kq_roof_f32_neon(uint64_t rounds) {
    uint64_t loops = rounds << 10;
    if (rounds) {
        __asm__ volatile("movi v31.16b, #0\n .irp r,0,1,2,3,4,5,6,7,16,17,18,19\n movi v\\r\\().16b, #0\n .endr\n"
                         "1:\n .irp r,0,1,2,3,4,5,6,7,16,17,18,19\n fmla v\\r\\().4s, v31.4s, v31.4s\n .endr\n subs %0, %0, #1\n b.ne 1b\n"
                         : "+r"(loops) : : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19", "v31");
    }
    return (uint64_t)12 * 8 << 10;
}
