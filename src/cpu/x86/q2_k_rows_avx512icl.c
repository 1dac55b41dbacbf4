/* SPDX-License-Identifier: MIT */
/* rows1 and rowsm of q2_k for AVX-512, in columns. */
#include "cpu/x86/planes_avx512icl.h"

#define KERNEL(op) kq_##op##_q2_k_avx512icl
#define BLOCK kq_block_q2_k
#define OFFSET 0
#define MINIMA
#define LANE_UNITS _mm512_setr_epi32(1, 4, 16, 64, 1, 4, 16, 64, 1, 4, 16, 64, 1, 4, 16, 64)

typedef struct lanes {
    __m512i masks, groups;
} lanes;

INLINE lanes make_lanes(void) { return (lanes){_mm512_mullo_epi32(LANE_UNITS, _mm512_set1_epi32(0x03030303)), lane_groups()}; }

typedef struct parts {
    __m512i qs, bytes; /* and of each lane the byte of its scale and minimum */
} parts;

INLINE parts unit_open(const BLOCK *b, const lanes *l) {
    return (parts){load64(b->qs), _mm512_maskz_permutexvar_epi8(0x1111111111111111, l->groups, _mm512_castsi128_si512(load16(b->scales)))};
}

INLINE __m512i unit_column(const parts *p, const lanes *l, int k) { return _mm512_and_si512(each_quarter(p->qs, k), l->masks); }

INLINE void unit_scales(const BLOCK *b, const parts *p, const lanes *l, __m512 scales[CHAINS]) {
    (void)l;
    __m512 s = _mm512_cvtepi32_ps(_mm512_and_si512(p->bytes, _mm512_set1_epi32(15)));
    scales[0] = _mm512_mul_ps(s, _mm512_broadcastss_ps(two_halves(&b->d)));
}

INLINE __m512 unit_minima(const BLOCK *b, const parts *p) {
    __m512 m = _mm512_cvtepi32_ps(_mm512_srli_epi32(p->bytes, 4));
    return _mm512_mul_ps(m, _mm512_broadcastss_ps(_mm_movehdup_ps(two_halves(&b->d))));
}

#include "cpu/x86/columns_avx512icl_tmpl.h"
