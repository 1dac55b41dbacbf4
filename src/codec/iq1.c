/* SPDX-License-Identifier: MIT */
/* Decoders of the codecs whose cells of 8 weights name a ternary point, moved by an eighth (iq1_s iq1_m). */
#include "codec/blocks.h"
#include "codec/codebooks.h"
#include "codec/codec.h"

static void put_cell(float scale, unsigned grid, bool minus, float *dst) {
    float delta = minus ? -0.125f : 0.125f;
    for (int e = 0; e < 8; e++) dst[e] = scale * ((float)((int)(grid >> 2 * e & 3) - 1) + delta);
}

void kq_decode_iq1_s(const void *src, size_t n_blocks, float *dst) {
    const kq_block_iq1_s *b = src;
    for (; n_blocks--; b++) {
        float d = kq_f16_to_f32(b->d);
        for (int g = 0; g < 8; g++) {
            unsigned word = b->qh[g];
            float scale = d * (float)(2 * (word >> 12 & 7) + 1);
            for (int k = 0; k < 4; k++, dst += 8) {
                unsigned index = b->qs[4 * g + k] | (word >> 3 * k & 7) << 8;
                put_cell(scale, kq_grid_iq1[index], word >> 15, dst);
            }
        }
    }
}

void kq_decode_iq1_m(const void *src, size_t n_blocks, float *dst) {
    const kq_block_iq1_m *b = src;
    for (; n_blocks--; b++) {
        float d = kq_f16_to_f32(kq_iq1_m_scale(b));
        for (int k = 0; k < 32; k++, dst += 8) {
            int g = k / 2, high = b->qh[g] >> 4 * (k % 2) & 15;
            int s = b->scales[g / 4] >> 3 * (g % 4) & 7;
            put_cell(d * (float)(2 * s + 1), kq_grid_iq1[b->qs[k] | (high & 7) << 8], high >> 3, dst);
        }
    }
}
