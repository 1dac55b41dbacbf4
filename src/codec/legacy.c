/* SPDX-License-Identifier: MIT */
/* The first family: 32 weights and one scale (q4_0 q4_1 q5_0 q5_1 q8_0). */
#include "codec/blocks.h"
#include "codec/codec.h"
#include "codec/search.h"

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

/* ---- encoding ----------------------------------------------------------------------------------------------------- */

static void put_nibbles(const uint8_t codes[32], uint8_t qs[16]) {
    for (int j = 0; j < 16; j++) qs[j] = (uint8_t)((codes[j] & 15) | (codes[j + 16] & 15) << 4);
}

static void put_fifth_bits(const uint8_t codes[32], uint8_t qh[4]) {
    memset(qh, 0, 4);
    for (int i = 0; i < 32; i++) qh[i / 8] |= (uint8_t)((codes[i] >> 4 & 1) << i % 8);
}

/* One scale, so that the element of greatest magnitude becomes code 0. An all-zero block gets d = -0 and the midpoint. */
static float direct_signed(int n_max, const float *x, uint8_t codes[32]) {
    float d = kq_greatest_signed(x, 32) / (float)-n_max, inverse = d != 0 ? 1 / d : 0;
    for (int i = 0; i < 32; i++) {
        int8_t code = (int8_t)kq_low_byte(kq_truncate(x[i] * inverse + ((float)n_max + 0.5f)));
        codes[i] = (uint8_t)KQ_MIN(2 * n_max - 1, code);
    }
    return d;
}

/* A scale and a minimum from the range of the block. */
static float direct_affine(int n_max, const float *x, uint8_t codes[32], float *min) {
    float low = x[0], high = x[0];
    for (int i = 1; i < 32; i++) {
        low = KQ_MIN(x[i], low);
        high = KQ_MAX(x[i], high);
    }
    float d = (high - low) / (float)n_max, inverse = d != 0 ? 1 / d : 0;
    for (int i = 0; i < 32; i++) codes[i] = kq_low_byte(kq_truncate((x[i] - low) * inverse + 0.5f));
    *min = low;
    return d;
}

/* With importances: the mean square that evens them out is the whole row's. */
static float row_sigma2(const float *src, size_t n_weights, const float *importances) {
    return importances ? kq_sum_of_squares(src, n_weights) / (float)n_weights : 0;
}

static float signed_codes(int n_max, const float *x, const float *importances, float sigma2, uint8_t codes[32]) {
    if (!importances) return direct_signed(n_max, x, codes);
    float w[32];
    kq_weigh(importances, sigma2, x, 32, w);
    return kq_search_signed(32, n_max, x, w, codes);
}

static float affine_codes(int n_max, const float *x, const float *importances, float sigma2, uint8_t codes[32], float *min) {
    static const kq_affine_trials trials = {.first = -0.9f, .step = 0.05f, .last = 36};
    if (!importances) return direct_affine(n_max, x, codes, min);
    float w[32], minus_min;
    kq_weigh(importances, sigma2, x, 32, w);
    float scale = kq_search_affine(32, n_max, x, w, &trials, codes, &minus_min);
    *min = -minus_min;
    return scale;
}

static void encode_q4_0(const float *x, const float *importances, float sigma2, void *dst) {
    kq_block_q4_0 *b = dst;
    uint8_t codes[32];
    b->d = kq_f32_to_f16(signed_codes(8, x, importances, sigma2, codes));
    put_nibbles(codes, b->qs);
}

static void encode_q4_1(const float *x, const float *importances, float sigma2, void *dst) {
    kq_block_q4_1 *b = dst;
    uint8_t codes[32];
    float min;
    b->d = kq_f32_to_f16(affine_codes(15, x, importances, sigma2, codes, &min));
    b->m = kq_f32_to_f16(min);
    for (int j = 0; j < 32; j++) codes[j] = (uint8_t)KQ_MIN(15, (int8_t)codes[j]);
    put_nibbles(codes, b->qs);
}

static void encode_q5_0(const float *x, const float *importances, float sigma2, void *dst) {
    kq_block_q5_0 *b = dst;
    uint8_t codes[32];
    b->d = kq_f32_to_f16(signed_codes(16, x, importances, sigma2, codes));
    put_nibbles(codes, b->qs);
    put_fifth_bits(codes, b->qh);
}

static void encode_q5_1(const float *x, const float *importances, float sigma2, void *dst) {
    kq_block_q5_1 *b = dst;
    uint8_t codes[32];
    float min;
    b->d = kq_f32_to_f16(affine_codes(31, x, importances, sigma2, codes, &min));
    b->m = kq_f32_to_f16(min);
    put_nibbles(codes, b->qs);
    put_fifth_bits(codes, b->qh);
}

void kq_encode_block_32(uint32_t codec, const float *x, const float *importances, float sigma2, void *dst) {
    switch (codec) {
    case KQ_Q4_0: encode_q4_0(x, importances, sigma2, dst); break;
    case KQ_Q4_1: encode_q4_1(x, importances, sigma2, dst); break;
    case KQ_Q5_0: encode_q5_0(x, importances, sigma2, dst); break;
    case KQ_Q5_1: encode_q5_1(x, importances, sigma2, dst); break;
    default: assert(!"a codec of this file");
    }
}

static bool encode_blocks(uint32_t codec, size_t block_bytes, const float *src, size_t n_weights, const float *importances, uint8_t *dst) {
    float sigma2 = row_sigma2(src, n_weights, importances);
    for (size_t i = 0; i < n_weights; i += 32, dst += block_bytes) {
        kq_encode_block_32(codec, src + i, importances ? importances + i : NULL, sigma2, dst);
    }
    return true;
}

bool kq_encode_q4_0(const float *src, size_t n_weights, const float *importances, void *dst) {
    return encode_blocks(KQ_Q4_0, sizeof(kq_block_q4_0), src, n_weights, importances, dst);
}

bool kq_encode_q4_1(const float *src, size_t n_weights, const float *importances, void *dst) {
    return encode_blocks(KQ_Q4_1, sizeof(kq_block_q4_1), src, n_weights, importances, dst);
}

bool kq_encode_q5_0(const float *src, size_t n_weights, const float *importances, void *dst) {
    return encode_blocks(KQ_Q5_0, sizeof(kq_block_q5_0), src, n_weights, importances, dst);
}

bool kq_encode_q5_1(const float *src, size_t n_weights, const float *importances, void *dst) {
    return encode_blocks(KQ_Q5_1, sizeof(kq_block_q5_1), src, n_weights, importances, dst);
}

bool kq_encode_q8_0(const float *src, size_t n_weights, const float *importances, void *dst) {
    (void)importances;
    kq_block_q8_0 *b = dst;
    for (size_t i = 0; i < n_weights; i += 32, b++) {
        float d = kq_greatest_magnitude(src + i, 32) / 127, inverse = d != 0 ? 1 / d : 0;
        b->d = kq_f32_to_f16(d);
        for (int j = 0; j < 32; j++) b->qs[j] = (int8_t)kq_low_byte(kq_round_away(src[i + (size_t)j] * inverse));
    }
    return true;
}
