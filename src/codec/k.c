/* SPDX-License-Identifier: MIT */
/* Decoders of the K family: super-blocks of 256 with scales of scales (q2_k q3_k q4_k q5_k q6_k). */
#include "codec/blocks.h"
#include "codec/codec.h"

void kq_decode_q2_k(const void *src, size_t n_blocks, float *dst) {
    const kq_block_q2_k *b = src;
    for (; n_blocks--; b++, dst += 256) {
        float d = kq_f16_to_f32(b->d), dmin = kq_f16_to_f32(b->dmin);
        for (int g = 0; g < 16; g++) {
            float scale = d * (float)(b->scales[g] & 15), min = dmin * (float)(b->scales[g] >> 4);
            const uint8_t *qs = b->qs + 32 * (g / 8) + 16 * (g % 2);
            int shift = 2 * (g % 8 / 2);
            for (int l = 0; l < 16; l++) dst[16 * g + l] = scale * (float)(qs[l] >> shift & 3) - min;
        }
    }
}

void kq_decode_q3_k(const void *src, size_t n_blocks, float *dst) {
    const kq_block_q3_k *b = src;
    for (; n_blocks--; b++, dst += 256) {
        float d = kq_f16_to_f32(b->d);
        for (int g = 0; g < 16; g++) {
            float scale = d * (float)kq_k3_scale(b->scales, g);
            const uint8_t *qs = b->qs + 32 * (g / 8) + 16 * (g % 2), *hmask = b->hmask + 16 * (g % 2);
            int shift = 2 * (g % 8 / 2), bit = g / 2;
            for (int l = 0; l < 16; l++) {
                int code = (qs[l] >> shift & 3) | (hmask[l] >> bit & 1) << 2;
                dst[16 * g + l] = scale * (float)(code - 4);
            }
        }
    }
}

void kq_decode_q4_k(const void *src, size_t n_blocks, float *dst) {
    const kq_block_q4_k *b = src;
    for (; n_blocks--; b++, dst += 256) {
        float d = kq_f16_to_f32(b->d), dmin = kq_f16_to_f32(b->dmin);
        for (int g = 0; g < 8; g++) {
            int sc, mn;
            kq_k4_scale(b->scales, g, &sc, &mn);
            float scale = d * (float)sc, min = dmin * (float)mn;
            const uint8_t *qs = b->qs + 32 * (g / 2);
            int shift = 4 * (g % 2);
            for (int l = 0; l < 32; l++) dst[32 * g + l] = scale * (float)(qs[l] >> shift & 15) - min;
        }
    }
}

void kq_decode_q5_k(const void *src, size_t n_blocks, float *dst) {
    const kq_block_q5_k *b = src;
    for (; n_blocks--; b++, dst += 256) {
        float d = kq_f16_to_f32(b->d), dmin = kq_f16_to_f32(b->dmin);
        for (int g = 0; g < 8; g++) {
            int sc, mn;
            kq_k4_scale(b->scales, g, &sc, &mn);
            float scale = d * (float)sc, min = dmin * (float)mn;
            const uint8_t *qs = b->qs + 32 * (g / 2);
            int shift = 4 * (g % 2);
            for (int l = 0; l < 32; l++) {
                int code = (qs[l] >> shift & 15) | (b->qh[l] >> g & 1) << 4;
                dst[32 * g + l] = scale * (float)code - min;
            }
        }
    }
}

void kq_decode_q6_k(const void *src, size_t n_blocks, float *dst) {
    const kq_block_q6_k *b = src;
    for (; n_blocks--; b++, dst += 256) {
        float d = kq_f16_to_f32(b->d);
        for (int g = 0; g < 16; g++) {
            float scale = d * (float)b->scales[g];
            int run = g % 8 / 2; /* of 32 weights in the half of 128 */
            const uint8_t *ql = b->ql + 64 * (g / 8) + 32 * (run % 2) + 16 * (g % 2);
            const uint8_t *qh = b->qh + 32 * (g / 8) + 16 * (g % 2);
            for (int l = 0; l < 16; l++) {
                int code = (ql[l] >> 4 * (run / 2) & 15) | (qh[l] >> 2 * run & 3) << 4;
                dst[16 * g + l] = scale * (float)(code - 32);
            }
        }
    }
}
