/* SPDX-License-Identifier: MIT */
/* q5_1 for AVX-512. */
#define KERNEL(op) kq_##op##_q5_1_avx512icl
#define BLOCK kq_block_q5_1
#define HAS_MIN 1
#include "cpu/x86/q5_avx512icl_tmpl.h"
