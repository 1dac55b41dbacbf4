/* SPDX-License-Identifier: MIT */
/* rows1 and rowsm of tq2_0 for AVX-512, in columns. */
#include "cpu/x86/planes_avx512icl.h"

#define KERNEL(op) kq_##op##_tq2_0_avx512icl
#define BLOCK kq_block_tq2_0
#define OFFSET 1
#define LANE_UNITS _mm512_setr_epi32(1, 4, 16, 64, 1, 4, 16, 64, 1, 4, 16, 64, 1, 4, 16, 64)

typedef struct lanes {
    __m512i masks;
} lanes;

INLINE lanes make_lanes(void) { return (lanes){_mm512_mullo_epi32(LANE_UNITS, _mm512_set1_epi32(0x03030303))}; }

typedef struct parts {
    __m512i qs;
} parts;

INLINE parts unit_open(const BLOCK *b, const lanes *l) {
    (void)l;
    return (parts){load64(b->qs)};
}

INLINE __m512i unit_column(const parts *p, const lanes *l, int k) { return _mm512_and_si512(each_quarter(p->qs, k), l->masks); }

INLINE void unit_scales(const BLOCK *b, const parts *p, const lanes *l, __m512 scales[CHAINS]) {
    (void)p, (void)l;
    scales[0] = one_half(b->d);
}

#include "cpu/x86/columns_avx512icl_tmpl.h"
