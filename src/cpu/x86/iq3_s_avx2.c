/* SPDX-License-Identifier: MIT */
/* iq3_s for AVX2. */
#include "cpu/x86/grid_avx2.h"

#define KERNEL(op) kq_##op##_iq3_s_avx2
#define BLOCK kq_block_iq3_s
#define UNIT_BLOCKS 1
#define SCALING BY_32
#define OFFSET 64
#define MINIMA 0

INLINE void unit_open(const BLOCK *b, unit *u) {
    __m256i s = _mm256_srlv_epi32(_mm256_set1_epi32((int)kq_load_u32(b->scales)), _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    s = _mm256_and_si256(s, _mm256_set1_epi32(15));
    s = _mm256_or_si256(_mm256_add_epi32(s, s), _mm256_set1_epi32(1));
    u->scales[0] = _mm256_mul_ps(_mm256_cvtepi32_ps(s), one_half(b->d));
    const __m256i bit = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, -32768);
    for (int k = 0; k < 4; k++) {
        __m256i set = _mm256_cmpeq_epi16(_mm256_and_si256(_mm256_set1_epi16((short)kq_load_u16(b->qh + 2 * k)), bit), bit);
        put_index(u, k, b->qs + 16 * k, _mm256_and_si256(set, _mm256_set1_epi16(256)));
    }
}

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    const uint32_t *t = kq_cells_iq3_s;
    const uint16_t *i = u->index + 8 * g;
    __m256i cells = _mm256_setr_epi32((int)t[i[0]], (int)t[i[1]], (int)t[i[2]], (int)t[i[3]], (int)t[i[4]], (int)t[i[5]], (int)t[i[6]], (int)t[i[7]]);
    return with_signs(cells, b->signs + 4 * g);
}

#include "cpu/x86/unit_avx2_tmpl.h"
