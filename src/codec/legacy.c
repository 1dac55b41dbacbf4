/* SPDX-License-Identifier: MIT */
/* Decoders of the first family: 32 weights and one scale (q4_0 q4_1 q5_0 q5_1 q8_0). */
#include "codec/blocks.h"
#include "codec/codec.h"

void kq_decode_q4_0(const void *src, size_t n_blocks, float *dst) {
    const kq_block_q4_0 *b = src;
    for (; n_blocks--; b++, dst += 32) {
        float d = kq_f16_to_f32(b->d);
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)((b->qs[j] & 15) - 8) * d;
            dst[j + 16] = (float)((b->qs[j] >> 4) - 8) * d;
        }
    }
}

void kq_decode_q4_1(const void *src, size_t n_blocks, float *dst) {
    const kq_block_q4_1 *b = src;
    for (; n_blocks--; b++, dst += 32) {
        float d = kq_f16_to_f32(b->d), m = kq_f16_to_f32(b->m);
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)(b->qs[j] & 15) * d + m;
            dst[j + 16] = (float)(b->qs[j] >> 4) * d + m;
        }
    }
}

void kq_decode_q5_0(const void *src, size_t n_blocks, float *dst) {
    const kq_block_q5_0 *b = src;
    for (; n_blocks--; b++, dst += 32) {
        float d = kq_f16_to_f32(b->d);
        uint32_t high = kq_load_u32(b->qh);
        for (int j = 0; j < 16; j++) {
            int lo = (int)(b->qs[j] & 15u) | (int)(high >> j & 1) << 4;
            int hi = (int)(b->qs[j] >> 4) | (int)(high >> (j + 16) & 1) << 4;
            dst[j] = (float)(lo - 16) * d;
            dst[j + 16] = (float)(hi - 16) * d;
        }
    }
}

void kq_decode_q5_1(const void *src, size_t n_blocks, float *dst) {
    const kq_block_q5_1 *b = src;
    for (; n_blocks--; b++, dst += 32) {
        float d = kq_f16_to_f32(b->d), m = kq_f16_to_f32(b->m);
        uint32_t high = kq_load_u32(b->qh);
        for (int j = 0; j < 16; j++) {
            int lo = (int)(b->qs[j] & 15u) | (int)(high >> j & 1) << 4;
            int hi = (int)(b->qs[j] >> 4) | (int)(high >> (j + 16) & 1) << 4;
            dst[j] = (float)lo * d + m;
            dst[j + 16] = (float)hi * d + m;
        }
    }
}

void kq_decode_q8_0(const void *src, size_t n_blocks, float *dst) {
    const kq_block_q8_0 *b = src;
    for (; n_blocks--; b++, dst += 32) {
        float d = kq_f16_to_f32(b->d);
        for (int j = 0; j < 32; j++) dst[j] = (float)b->qs[j] * d;
    }
}
