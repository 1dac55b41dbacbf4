/* SPDX-License-Identifier: MIT */
/* The ternary codecs (tq1_0 tq2_0). */
#include "codec/blocks.h"
#include "codec/codec.h"
#include "codec/search.h"

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

/* ---- encoding: importances mean nothing here --------------------------------------------------------------------------- */

/* 0, 1 or 2. An infinite inverse (of a subnormal scale) gives 1. */
static unsigned trit_of(float x, float inverse) { return (unsigned)((int8_t)kq_low_byte(kq_round_away(x * inverse)) + 1); }

/* n trits, `step` weights apart, as a fraction of 3^5 in 256ths, rounded up. */
static uint8_t pack_trits(const float *x, int n, int step, float inverse) {
    unsigned v = 0;
    for (int i = 0; i < 5; i++) v = v * 3 + (i < n ? trit_of(x[i * step], inverse) : 0);
    return (uint8_t)((256 * v + 242) / 243);
}

bool kq_encode_tq1_0(const float *src, size_t n_weights, const float *importances, void *dst) {
    (void)importances;
    kq_block_tq1_0 *b = dst;
    for (size_t i = 0; i < n_weights; i += 256, b++) {
        const float *x = src + i;
        float d = kq_greatest_magnitude(x, 256), inverse = d != 0 ? 1 / d : 0;
        b->d = kq_f32_to_f16(d);
        for (int m = 0; m < 32; m++) b->qs[m] = pack_trits(x + m, 5, 32, inverse);
        for (int m = 0; m < 16; m++) b->qs[32 + m] = pack_trits(x + 160 + m, 5, 16, inverse);
        for (int j = 0; j < 4; j++) b->qh[j] = pack_trits(x + 240 + j, 4, 4, inverse);
    }
    return true;
}

bool kq_encode_tq2_0(const float *src, size_t n_weights, const float *importances, void *dst) {
    (void)importances;
    kq_block_tq2_0 *b = dst;
    for (size_t i = 0; i < n_weights; i += 256, b++) {
        const float *x = src + i;
        float d = kq_greatest_magnitude(x, 256), inverse = d != 0 ? 1 / d : 0;
        b->d = kq_f32_to_f16(d);
        memset(b->qs, 0, sizeof b->qs);
        for (int k = 0; k < 256; k++) b->qs[32 * (k / 128) + k % 32] |= (uint8_t)(trit_of(x[k], inverse) << 2 * (k % 128 / 32));
    }
    return true;
}
