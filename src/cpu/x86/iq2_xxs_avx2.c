/* SPDX-License-Identifier: MIT */
/* iq2_xxs for AVX2. */
#include "cpu/x86/grid_avx2.h"

#define KERNEL(op) kq_##op##_iq2_xxs_avx2
#define BLOCK kq_block_iq2_xxs
#define UNIT_BLOCKS 1
#define SCALING BY_32
#define OFFSET 64
#define MINIMA 0

INLINE void unit_open(const BLOCK *b, unit *u) {
    __m256 low = _mm256_loadu_ps((const float *)(const void *)b->qs), high = _mm256_loadu_ps((const float *)(const void *)(b->qs + 32));
    __m256d odd = _mm256_castps_pd(_mm256_shuffle_ps(low, high, 0xdd));
    open_words(u, _mm256_castpd_si256(_mm256_permute4x64_pd(odd, 0xd8)), half(b->d) * 0.25f);
}

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) { return with_signs(cells_of_8(kq_cells_iq2_xxs, b->qs + 8 * g), u->parity + 4 * g); }

#include "cpu/x86/unit_avx2_tmpl.h"
