/* SPDX-License-Identifier: MIT */
/* A roof of multiplication on ARM. Before including: ROOF, its name; INSTRUCTION and FORM, the instruction and the shape of its sources;
 * OPERATIONS, of one instruction.
 *
 * 24 sums: cores with four units take up to five cycles for one. */
#include "cpu/roof.h"

#define REGISTERS "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23"

uint64_t ROOF(uint64_t rounds) {
    uint64_t loops = rounds << 10;
    if (rounds) {
        __asm__ volatile("movi v31.16b, #0\n .irp r," REGISTERS "\n movi v\\r\\().16b, #0\n .endr\n"
                         "1:\n .irp r," REGISTERS "\n " INSTRUCTION " v\\r\\().4s, v31." FORM ", v31." FORM "\n .endr\n subs %0, %0, #1\n b.ne 1b\n"
                         : "+r"(loops)
                         :
                         : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17",
                           "v18", "v19", "v20", "v21", "v22", "v23", "v31");
    }
    return (uint64_t)24 * OPERATIONS << 10;
}
