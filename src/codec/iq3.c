/* SPDX-License-Identifier: MIT */
/* Decoders of the codecs whose cells of 4 weights name a point of a lattice of 8 levels (iq3_xxs iq3_s). */
#include "codec/blocks.h"
#include "codec/codebooks.h"
#include "codec/codec.h"

/* signs: those of the run of 8, moved so that bit 0 is the cell's first. */
static void put_cell(float scale, const uint8_t levels[8], unsigned grid, unsigned signs, float *dst) {
    for (int e = 0; e < 4; e++) {
        float value = scale * (float)levels[grid >> 3 * e & 7];
        dst[e] = value * (signs >> e & 1 ? -1.0f : 1.0f);
    }
}

void kq_decode_iq3_xxs(const void *src, size_t n_blocks, float *dst) {
    const kq_block_iq3_xxs *b = src;
    for (; n_blocks--; b++) {
        float d = kq_f16_to_f32(b->d);
        for (int g = 0; g < 8; g++) {
            uint32_t word = kq_load_u32(b->gas + 4 * g);
            float scale = d * (0.5f + (float)(word >> 28)) * 0.5f;
            for (int k = 0; k < 8; k++, dst += 4) {
                unsigned signs = kq_signs_by_parity(word >> 7 * (k / 2) & 127);
                put_cell(scale, kq_levels_iq3_xxs, kq_grid_iq3_xxs[b->qs[8 * g + k]], signs >> 4 * (k % 2), dst);
            }
        }
    }
}

void kq_decode_iq3_s(const void *src, size_t n_blocks, float *dst) {
    const kq_block_iq3_s *b = src;
    for (; n_blocks--; b++) {
        float d = kq_f16_to_f32(b->d);
        for (int k = 0; k < 64; k++, dst += 4) {
            int s = b->scales[k / 16] >> 4 * (k / 8 % 2) & 15;
            float scale = d * (float)(1 + 2 * s);
            int index = b->qs[k] | (b->qh[k / 8] >> k % 8 & 1) << 8;
            put_cell(scale, kq_levels_iq3_s, kq_grid_iq3_s[index], (unsigned)b->signs[k / 2] >> 4 * (k % 2), dst);
        }
    }
}
