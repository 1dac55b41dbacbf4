/* SPDX-License-Identifier: MIT */
/* iq3_xxs for AVX2. */
#include "cpu/x86/grid_avx2.h"

#define KERNEL(op) kq_##op##_iq3_xxs_avx2
#define BLOCK kq_block_iq3_xxs
#define UNIT_BLOCKS 1
#define SCALING BY_32
#define OFFSET 64
#define MINIMA 0

INLINE void unit_open(const BLOCK *b, unit *u) { open_words(u, load32(b->gas), half(b->d) * 0.5f); }

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    const uint32_t *t = kq_cells_iq3_xxs;
    const uint8_t *i = b->qs + 8 * g;
    __m256i cells = _mm256_setr_epi32((int)t[i[0]], (int)t[i[1]], (int)t[i[2]], (int)t[i[3]], (int)t[i[4]], (int)t[i[5]], (int)t[i[6]], (int)t[i[7]]);
    return with_signs(cells, u->parity + 4 * g);
}

#include "cpu/x86/unit_avx2_tmpl.h"
