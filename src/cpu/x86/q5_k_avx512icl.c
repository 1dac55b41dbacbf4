/* SPDX-License-Identifier: MIT */
/* q5_k for AVX-512 with VNNI and GFNI. */
#define KERNEL(op) kq_##op##_q5_k_avx512icl
#define BLOCK kq_block_q5_k
#define HAS_QH 1
#include "cpu/x86/k45_avx512icl_tmpl.h"
