/* SPDX-License-Identifier: MIT */
/* iq2_xs for AVX2. */
#include "cpu/x86/grid_avx2.h"

#define KERNEL(op) kq_##op##_iq2_xs_avx2
#define BLOCK kq_block_iq2_xs
#define UNIT_BLOCKS 1
#define SCALING STEPS_16
#define OFFSET 64
#define MINIMA 0

INLINE void unit_open(const BLOCK *b, unit *u) {
    open_nibbles(u, b->scales, b->d);
    __m256i low = _mm256_srli_epi16(load32(b->qs), 9), high = _mm256_srli_epi16(load32((const uint8_t *)b->qs + 32), 9);
    put_signs(u, _mm256_permute4x64_epi64(_mm256_packus_epi16(low, high), 0xd8));
}

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    uint16_t index[4];
    for (int k = 0; k < 4; k++) index[k] = b->qs[4 * g + k] & 511;
    return with_signs(words_of_8(kq_cells_iq2_xs, index), u->parity + 4 * g);
}

#include "cpu/x86/unit_avx2_tmpl.h"
