/* SPDX-License-Identifier: MIT */
/* The codebooks: constants of the iq and fp4 formats. The grids pack the codes of a cell's weights into 16 bits, weight e of a
 * cell of 8 in bits 2e, 2e+1 (codes 0..2), of a cell of 4 in bits 3e..3e+2 (codes 0..7); a code names a level:
 *
 *     iq2_xxs, iq2_xs, iq2_s   kq_levels_iq2[code]     8 25 43
 *     iq3_xxs                  kq_levels_iq3_xxs[code] 4 12 20 28 36 44 52 62
 *     iq3_s                    kq_levels_iq3_s[code]   2 code + 1
 *     iq1 (iq1_s and iq1_m)    code - 1
 *
 * tests/golden/codebooks lists the same points as numbers; tools/codebooks.py packs them. */
#ifndef KQ_CODEC_CODEBOOKS_H
#define KQ_CODEC_CODEBOOKS_H

#include <stdint.h>

extern const uint8_t kq_levels_iq2[4], kq_levels_iq3_xxs[8], kq_levels_iq3_s[8]; /* no grid holds iq2's fourth code */
extern const int8_t kq_levels_iq4[16], kq_levels_e2m1[16];
extern const uint16_t kq_grid_iq2_xxs[256], kq_grid_iq2_xs[512], kq_grid_iq2_s[1024];
extern const uint16_t kq_grid_iq3_xxs[256], kq_grid_iq3_s[512];
extern const uint16_t kq_grid_iq1[2048];

/* The same cells with their levels as bytes, weight 0 in the lowest; iq1's are 8 (level + 2). For kernels that cannot spread codes. */
extern const uint64_t kq_cells_iq2_xxs[256], kq_cells_iq2_xs[512], kq_cells_iq2_s[1024], kq_cells_iq1[2048];
extern const uint32_t kq_cells_iq3_xxs[256], kq_cells_iq3_s[512];

/* The same points in two halves, for lookups among bytes. They ascend, so the upper four codes of a point, as a byte, are steps of its index:
 * upper[rank], where rank is base[index / 8] and one more for each of the bits 1 .. index % 8 of steps[index / 8]. */
typedef struct kq_halves_iq2_s {
    uint8_t lower[1024], base[128], steps[128], upper[128];
} kq_halves_iq2_s;
typedef struct kq_halves_iq1 {
    uint8_t lower[2048], base[256], steps[256], upper[128];
} kq_halves_iq1;
extern const kq_halves_iq2_s kq_halves_of_iq2_s;
extern const kq_halves_iq1 kq_halves_of_iq1;

#endif
