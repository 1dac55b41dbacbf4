/* SPDX-License-Identifier: MIT */
/* q1_0 for AVX-512: four blocks at a time, 512 weights. Column e is bit e of each byte, used as 0 or 2; a lane is the 32 weights of four bytes. */
#include "cpu/x86/columns_avx512icl.h"

#define KERNEL(op) kq_##op##_q1_0_avx512icl
#define BLOCK kq_block_q1_0
#define UNIT_BLOCKS 4
#define UNIT_ACTS 2
#define SHARED 1
#define CHAINS 1
#define OFFSET 1
#define ORDER BITS(4, 3, 2, 1, 0, 7, 6, 5)
#define BACK BITS(2, 1, 0, 7, 6, 5, 4, 3)

typedef struct lanes {
    __m512i heads;
} lanes;

INLINE lanes make_lanes(void) { return (lanes){heads_of_4()}; }

typedef struct parts {
    __m512i bytes;
} parts;

INLINE parts unit_open(const BLOCK *b, const lanes *l) {
    (void)l;
    return (parts){four_quarters(b[0].qs, b[1].qs, b[2].qs, b[3].qs)};
}

INLINE __m512i unit_column(const parts *p, const lanes *l, int k) {
    (void)l;
    return _mm512_gf2p8affine_epi64_epi8(p->bytes, _mm512_set1_epi64(ONE_BIT(k, 1)), 0);
}

INLINE void unit_scales(const BLOCK *b, const parts *p, const lanes *l, __m512 scales[CHAINS]) {
    (void)p;
    scales[0] = _mm512_cvtph_ps(_mm512_castsi512_si256(_mm512_permutexvar_epi16(l->heads, load64(b))));
}

#include "cpu/x86/columns_avx512icl_tmpl.h"
