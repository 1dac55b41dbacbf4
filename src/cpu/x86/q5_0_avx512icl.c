/* SPDX-License-Identifier: MIT */
/* q5_0 for AVX-512. */
#define KERNEL(op) kq_##op##_q5_0_avx512icl
#define BLOCK kq_block_q5_0
#define HAS_MIN 0
#include "cpu/x86/q5_avx512icl_tmpl.h"
