/* SPDX-License-Identifier: MIT */
/* The roof of AVX-512 with BF16: 32 products an instruction (cpu/roof.h). */
#include "cpu/roof.h"

uint64_t kq_roof_bf16_avx512bf16(uint64_t rounds) {
    uint64_t loops = rounds << 10;
    if (rounds) {
        __asm__ volatile("vpxord %%zmm31, %%zmm31, %%zmm31\n .irp r,16,17,18,19,20,21,22,23,24,25,26,27\n vpxord %%zmm\\r, %%zmm\\r, %%zmm\\r\n .endr\n"
                         "1:\n .irp r,16,17,18,19,20,21,22,23,24,25,26,27\n vdpbf16ps %%zmm31, %%zmm31, %%zmm\\r\n .endr\n dec %0\n jnz 1b\n"
                         : "+r"(loops) : : "cc", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",
                           "xmm26", "xmm27", "xmm31");
    }
    return (uint64_t)12 * 64 << 10;
}
