/* SPDX-License-Identifier: MIT */
/* q4_k for AVX2. */
#define BLOCK kq_block_q4_k
#define HAS_QH 0
#include "cpu/x86/k45_avx2_tmpl.h"

#define ROWS_OF(op) kq_##op##_q4_k_avx2
#include "cpu/x86/rowsm_tmpl.h"

void kq_decode_q4_k_avx2(const void *src, size_t n_blocks, float *dst) { decode(src, n_blocks, dst); }
