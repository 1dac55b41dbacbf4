/* SPDX-License-Identifier: MIT */
/* The codecs that are plain floats: a block is one weight. */
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

/* ---- encoding: importances mean nothing here --------------------------------------------------------------------------- */

bool kq_encode_f32(const float *src, size_t n_weights, const float *importances, void *dst) {
    (void)importances;
    memcpy(dst, src, n_weights * sizeof *src);
    return true;
}

bool kq_encode_f16(const float *src, size_t n_weights, const float *importances, void *dst) {
    (void)importances;
    kq_block_f16 *b = dst;
    for (size_t i = 0; i < n_weights; i++) b[i].bits = kq_f32_to_f16(src[i]);
    return true;
}

bool kq_encode_bf16(const float *src, size_t n_weights, const float *importances, void *dst) {
    (void)importances;
    kq_block_bf16 *b = dst;
    for (size_t i = 0; i < n_weights; i++) b[i].bits = kq_f32_to_bf16(src[i]);
    return true;
}
