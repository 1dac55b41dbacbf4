/* SPDX-License-Identifier: MIT */
/* q5_k rows for AVX-512 with VNNI and GFNI. */
#define BLOCK kq_block_q5_k
#define HAS_QH 1
#include "cpu/x86/k45_avx512icl_tmpl.h"

#define ROWS_OF(op) kq_##op##_q5_k_avx512icl
#include "cpu/x86/rowsm_tmpl.h"
