/* SPDX-License-Identifier: MIT */
/* Decoders of the codecs of 4-bit floats (mxfp4 nvfp4). */
#include "codec/blocks.h"
#include "codec/codebooks.h"
#include "codec/codec.h"

void kq_decode_mxfp4(const void *src, size_t n_blocks, float *dst) {
    const kq_block_mxfp4 *b = src;
    for (; n_blocks--; b++, dst += 32) {
        float d = kq_e8m0_half(b->e);
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)kq_levels_e2m1[b->qs[j] & 15] * d;
            dst[j + 16] = (float)kq_levels_e2m1[b->qs[j] >> 4] * d;
        }
    }
}

void kq_decode_nvfp4(const void *src, size_t n_blocks, float *dst) {
    const kq_block_nvfp4 *b = src;
    for (; n_blocks--; b++, dst += 64) {
        for (int g = 0; g < 4; g++) {
            float d = kq_ue4m3_half(b->scales[g]);
            for (int j = 0; j < 8; j++) {
                uint8_t pair = b->qs[8 * g + j];
                dst[16 * g + j] = (float)kq_levels_e2m1[pair & 15] * d;
                dst[16 * g + 8 + j] = (float)kq_levels_e2m1[pair >> 4] * d;
            }
        }
    }
}
