/* SPDX-License-Identifier: MIT */
/* q8_0 for AVX-512 with VNNI, which multiplies unsigned by signed bytes: weights are used as w + 128, their top bit flipped. */
#include "cpu/x86/unit_avx512icl.h"

#define KERNEL(op) kq_##op##_q8_0_avx512icl
#define BLOCK kq_block_q8_0
#define UNIT_BLOCKS 8
#define GROUP 32
#define MOST 255
#define OFFSET 128
#define MINIMA 0

typedef struct lanes {
    __m512i flip;
} lanes;

INLINE lanes make_lanes(void) { return (lanes){_mm512_set1_epi8(-128)}; }

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    for (int p = 0; p < 4; p++) {
        __m512i two = _mm512_inserti64x4(_mm512_castsi256_si512(load32(b[2 * p].qs)), load32(b[2 * p + 1].qs), 1);
        codes[p] = _mm512_xor_si512(two, l->flip);
    }
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    (void)l;
    uint64_t low = (uint64_t)b[0].d | (uint64_t)b[1].d << 16 | (uint64_t)b[2].d << 32 | (uint64_t)b[3].d << 48;
    uint64_t high = (uint64_t)b[4].d | (uint64_t)b[5].d << 16 | (uint64_t)b[6].d << 32 | (uint64_t)b[7].d << 48;
    *scales = *minima = _mm512_cvtph_ps(_mm256_broadcastsi128_si256(_mm_set_epi64x((long long)high, (long long)low)));
}

#include "cpu/x86/batch_avx512icl_tmpl.h"
