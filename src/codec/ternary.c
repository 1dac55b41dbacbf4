/* SPDX-License-Identifier: MIT */
/* Decoders of the ternary codecs (tq1_0 tq2_0). */
#include "codec/blocks.h"
#include "codec/codec.h"

/* Trit n of a byte: blocks.h says why this is it. power is 3^n. */
static float trit(uint8_t byte, unsigned power) {
    unsigned left = byte * power & 255;
    return (float)((int)(left * 3 >> 8) - 1);
}

void kq_decode_tq1_0(const void *src, size_t n_blocks, float *dst) {
    static const unsigned power[5] = {1, 3, 9, 27, 81};
    const kq_block_tq1_0 *b = src;
    for (; n_blocks--; b++, dst += 256) {
        float d = kq_f16_to_f32(b->d);
        for (int n = 0; n < 5; n++) {
            for (int m = 0; m < 32; m++) dst[m + 32 * n] = trit(b->qs[m], power[n]) * d;
            for (int m = 0; m < 16; m++) dst[160 + m + 16 * n] = trit(b->qs[32 + m], power[n]) * d;
        }
        for (int n = 0; n < 4; n++) {
            for (int j = 0; j < 4; j++) dst[240 + j + 4 * n] = trit(b->qh[j], power[n]) * d;
        }
    }
}

void kq_decode_tq2_0(const void *src, size_t n_blocks, float *dst) {
    const kq_block_tq2_0 *b = src;
    for (; n_blocks--; b++, dst += 256) {
        float d = kq_f16_to_f32(b->d);
        for (int i = 0; i < 256; i++) {
            int code = b->qs[32 * (i / 128) + i % 32] >> 2 * (i % 128 / 32) & 3;
            dst[i] = (float)(code - 1) * d;
        }
    }
}
