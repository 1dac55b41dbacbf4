/* SPDX-License-Identifier: MIT */
/* Decoders of the codecs of one and two bits without groups (q1_0 q2_0). */
#include "codec/blocks.h"
#include "codec/codec.h"

void kq_decode_q1_0(const void *src, size_t n_blocks, float *dst) {
    const kq_block_q1_0 *b = src;
    for (; n_blocks--; b++, dst += 128) {
        float d = kq_f16_to_f32(b->d);
        for (int i = 0; i < 128; i++) dst[i] = b->qs[i / 8] >> i % 8 & 1 ? d : -d;
    }
}

void kq_decode_q2_0(const void *src, size_t n_blocks, float *dst) {
    const kq_block_q2_0 *b = src;
    for (; n_blocks--; b++, dst += 64) {
        float d = kq_f16_to_f32(b->d);
        for (int i = 0; i < 64; i++) dst[i] = (float)((b->qs[i / 4] >> 2 * (i % 4) & 3) - 1) * d;
    }
}
