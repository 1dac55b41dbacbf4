/* SPDX-License-Identifier: MIT */
/* Decoders of the codecs with 16 uneven levels (iq4_nl iq4_xs). */
#include "codec/blocks.h"
#include "codec/codebooks.h"
#include "codec/codec.h"

void kq_decode_iq4_nl(const void *src, size_t n_blocks, float *dst) {
    const kq_block_iq4_nl *b = src;
    for (; n_blocks--; b++, dst += 32) {
        float d = kq_f16_to_f32(b->d);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)kq_levels_iq4[b->qs[j] & 15];
            dst[j + 16] = d * (float)kq_levels_iq4[b->qs[j] >> 4];
        }
    }
}

void kq_decode_iq4_xs(const void *src, size_t n_blocks, float *dst) {
    const kq_block_iq4_xs *b = src;
    for (; n_blocks--; b++, dst += 256) {
        float d = kq_f16_to_f32(b->d);
        for (int g = 0; g < 8; g++) {
            int s = (b->scales_l[g / 2] >> 4 * (g % 2) & 15) | (b->scales_h >> 2 * g & 3) << 4;
            float scale = d * (float)(s - 32);
            const uint8_t *qs = b->qs + 16 * g;
            for (int j = 0; j < 16; j++) {
                dst[32 * g + j] = scale * (float)kq_levels_iq4[qs[j] & 15];
                dst[32 * g + 16 + j] = scale * (float)kq_levels_iq4[qs[j] >> 4];
            }
        }
    }
}
