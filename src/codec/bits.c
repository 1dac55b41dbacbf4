/* SPDX-License-Identifier: MIT */
/* The codecs of one and two bits without groups (q1_0 q2_0). */
#include "codec/blocks.h"
#include "codec/codec.h"
#include "codec/search.h"

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

/* ---- encoding: importances mean nothing here --------------------------------------------------------------------------- */

bool kq_encode_q1_0(const float *src, size_t n_weights, const float *importances, void *dst) {
    (void)importances;
    kq_block_q1_0 *b = dst;
    for (size_t i = 0; i < n_weights; i += 128, b++) {
        const float *x = src + i;
        float sum = 0;
        memset(b->qs, 0, sizeof b->qs);
        for (int k = 0; k < 128; k++) {
            sum += __builtin_fabsf(x[k]);
            b->qs[k / 8] |= (uint8_t)((x[k] >= 0) << k % 8);
        }
        b->d = kq_f32_to_f16(sum / 128);
    }
    return true;
}

/* The code 3, 2d, is never made: it would need a weight of 1.5 times the greatest. */
bool kq_encode_q2_0(const float *src, size_t n_weights, const float *importances, void *dst) {
    (void)importances;
    kq_block_q2_0 *b = dst;
    for (size_t i = 0; i < n_weights; i += 64, b++) {
        const float *x = src + i;
        float d = kq_greatest_magnitude(x, 64), inverse = d > 0 ? 1 / d : 0;
        b->d = kq_f32_to_f16(d);
        memset(b->qs, 0, sizeof b->qs);
        for (int k = 0; k < 64; k++) {
            int32_t nearest = kq_round_away(x[k] * inverse); /* the least int32 when d is subnormal and its inverse infinite */
            b->qs[k / 4] |= (uint8_t)(kq_clamp(KQ_MAX(nearest, -1) + 1, 0, 3) << 2 * (k % 4));
        }
    }
    return true;
}
