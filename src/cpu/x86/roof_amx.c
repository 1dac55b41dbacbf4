/* SPDX-License-Identifier: MIT */
/* The roof of AMX: four tiles of 16 by 16 sums, each taking 16 by 16 by 32 products of bf16 an instruction (cpu/roof.h). */
#include "cpu/roof.h"

uint64_t kq_roof_bf16_amx(uint64_t rounds) {
    static const struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } shape = {1, 0, {0}, {64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16}};
    uint64_t loops = rounds << 7;
    if (rounds) {
        __asm__ volatile("ldtilecfg %1\n tilezero %%tmm0\n tilezero %%tmm1\n tilezero %%tmm2\n tilezero %%tmm3\n tilezero %%tmm4\n tilezero %%tmm5\n"
                         "1:\n tdpbf16ps %%tmm4, %%tmm5, %%tmm0\n tdpbf16ps %%tmm4, %%tmm5, %%tmm1\n tdpbf16ps %%tmm4, %%tmm5, %%tmm2\n"
                         " tdpbf16ps %%tmm4, %%tmm5, %%tmm3\n dec %0\n jnz 1b\n tilerelease\n"
                         : "+r"(loops) : "m"(shape) : "cc");
    }
    return (uint64_t)4 * 16 * 16 * 64 << 7;
}
