/* SPDX-License-Identifier: MIT */
/* Decoders of the codecs that are plain floats: a block is one weight. */
#include "codec/blocks.h"
#include "codec/codec.h"

/* A copy, so that every bit of a NaN stays. */
void kq_decode_f32(const void *src, size_t n_blocks, float *dst) { memcpy(dst, src, n_blocks * sizeof(kq_block_f32)); }

void kq_decode_f16(const void *src, size_t n_blocks, float *dst) {
    const kq_block_f16 *b = src;
    for (size_t i = 0; i < n_blocks; i++) dst[i] = kq_f16_to_f32(b[i].bits);
}

void kq_decode_bf16(const void *src, size_t n_blocks, float *dst) {
    const kq_block_bf16 *b = src;
    for (size_t i = 0; i < n_blocks; i++) dst[i] = kq_bf16_to_f32(b[i].bits);
}
