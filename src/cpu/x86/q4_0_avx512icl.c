/* SPDX-License-Identifier: MIT */
/* q4_0 for AVX-512: split nibbles, and scales 18 bytes apart. */
#define KERNEL(op) kq_##op##_q4_0_avx512icl
#define BLOCK kq_block_q4_0
#define MOST 15
#define OFFSET 8
#include "cpu/x86/nibbles18_avx512icl_tmpl.h"
