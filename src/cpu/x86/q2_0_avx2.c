/* SPDX-License-Identifier: MIT */
/* q2_0 for AVX2: four codes in a byte, one after another. */
#include "cpu/x86/unit_avx2.h"

#define KERNEL(op) kq_##op##_q2_0_avx2
#define BLOCK kq_block_q2_0
#define UNIT_BLOCKS 4
#define SCALING BY_32
#define OFFSET 1
#define MINIMA 0

INLINE void unit_open(const BLOCK *b, unit *u) {
    short d0 = (short)b[0].d, d1 = (short)b[1].d, d2 = (short)b[2].d, d3 = (short)b[3].d;
    u->scales[0] = _mm256_cvtph_ps(_mm_setr_epi16(d0, d0, d1, d1, d2, d2, d3, d3));
}

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    (void)u;
    const __m256i byte = _mm256_setr_epi64x(0x0101010100000000ll, 0x0303030302020202ll, 0x0505050504040404ll, 0x0707070706060606ll);
    const __m256i fields = _mm256_set1_epi16(0x0c03), code = twice((const uint8_t[16]){0, 1, 2, 3, 1, 0, 0, 0, 2, 0, 0, 0, 3});
    __m256i four = _mm256_shuffle_epi8(_mm256_set1_epi64x((long long)kq_load_u64(b[g / 2].qs + 8 * (g % 2))), byte);
    four = _mm256_blend_epi16(four, _mm256_srli_epi16(four, 4), 0xaa); /* codes 2 and 3 lie where 0 and 1 do */
    return _mm256_shuffle_epi8(code, _mm256_and_si256(four, fields)); /* 0 .. 3, or four times that */
}

#include "cpu/x86/unit_avx2_tmpl.h"
