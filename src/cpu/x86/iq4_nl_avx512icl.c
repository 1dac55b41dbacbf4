/* SPDX-License-Identifier: MIT */
/* iq4_nl for AVX-512: as q4_0, but codes name levels -127 .. 113, which are used as 1 .. 241. */
#define KERNEL(op) kq_##op##_iq4_nl_avx512icl
#define BLOCK kq_block_iq4_nl
#define MOST 241
#define OFFSET 128
#define LEVELS kq_levels_iq4
#include "cpu/x86/nibbles18_avx512icl_tmpl.h"
