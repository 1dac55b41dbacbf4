/* SPDX-License-Identifier: MIT */
/* iq2_s for AVX2. */
#include "cpu/x86/grid_avx2.h"

#define KERNEL(op) kq_##op##_iq2_s_avx2
#define BLOCK kq_block_iq2_s
#define UNIT_BLOCKS 1
#define SCALING STEPS_16
#define OFFSET 64
#define MINIMA 0

INLINE void unit_open(const BLOCK *b, unit *u) {
    open_nibbles(u, b->scales, b->d);
    for (int k = 0; k < 2; k++) { /* two bits above each of sixteen bytes */
        __m256i high = _mm256_mullo_epi16(four_times(kq_load_u32(b->qh + 4 * k)), _mm256_set1_epi64x(0x0004001000400100ll));
        put_index(u, k, b->qs + 16 * k, _mm256_and_si256(high, _mm256_set1_epi16(0x300)));
    }
}

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) { return with_signs(words_of_8(kq_cells_iq2_s, u->index + 4 * g), b->signs + 4 * g); }

#include "cpu/x86/unit_avx2_tmpl.h"
