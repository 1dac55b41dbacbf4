/* SPDX-License-Identifier: MIT */
/* Decoders of the codecs whose cells of 8 weights name a point of a lattice, levels 8 25 43 (iq2_xxs iq2_xs iq2_s). */
#include "codec/blocks.h"
#include "codec/codebooks.h"
#include "codec/codec.h"

static void put_cell(float scale, unsigned grid, unsigned signs, float *dst) {
    for (int e = 0; e < 8; e++) {
        float value = scale * (float)kq_levels_iq2[grid >> 2 * e & 3];
        dst[e] = value * (signs >> e & 1 ? -1.0f : 1.0f);
    }
}

void kq_decode_iq2_xxs(const void *src, size_t n_blocks, float *dst) {
    const kq_block_iq2_xxs *b = src;
    for (; n_blocks--; b++) {
        float d = kq_f16_to_f32(b->d);
        for (int g = 0; g < 8; g++) {
            const uint8_t *qs = b->qs + 8 * g;
            uint32_t word = kq_load_u32(qs + 4);
            float scale = d * (0.5f + (float)(word >> 28)) * 0.25f;
            for (int k = 0; k < 4; k++, dst += 8) put_cell(scale, kq_grid_iq2_xxs[qs[k]], kq_signs_by_parity(word >> 7 * k & 127), dst);
        }
    }
}

void kq_decode_iq2_xs(const void *src, size_t n_blocks, float *dst) {
    const kq_block_iq2_xs *b = src;
    for (; n_blocks--; b++) {
        float d = kq_f16_to_f32(b->d);
        for (int k = 0; k < 32; k++, dst += 8) {
            int s = b->scales[k / 4] >> 4 * (k / 2 % 2) & 15;
            float scale = d * (0.5f + (float)s) * 0.25f;
            put_cell(scale, kq_grid_iq2_xs[b->qs[k] & 511], kq_signs_by_parity((unsigned)b->qs[k] >> 9), dst);
        }
    }
}

void kq_decode_iq2_s(const void *src, size_t n_blocks, float *dst) {
    const kq_block_iq2_s *b = src;
    for (; n_blocks--; b++) {
        float d = kq_f16_to_f32(b->d);
        for (int k = 0; k < 32; k++, dst += 8) {
            int s = b->scales[k / 4] >> 4 * (k / 2 % 2) & 15;
            float scale = d * (0.5f + (float)s) * 0.25f;
            int index = b->qs[k] | (b->qh[k / 4] >> 2 * (k % 4) & 3) << 8;
            put_cell(scale, kq_grid_iq2_s[index], b->signs[k], dst);
        }
    }
}
