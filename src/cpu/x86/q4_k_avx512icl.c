/* SPDX-License-Identifier: MIT */
/* q4_k for AVX-512 with VNNI and GFNI. */
#define KERNEL(op) kq_##op##_q4_k_avx512icl
#define BLOCK kq_block_q4_k
#define HAS_QH 0
#include "cpu/x86/k45_avx512icl_tmpl.h"
