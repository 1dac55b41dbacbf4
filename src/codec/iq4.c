/* SPDX-License-Identifier: MIT */
/* The codecs with 16 uneven levels (iq4_nl iq4_xs). */
#include "codec/blocks.h"
#include "codec/codebooks.h"
#include "codec/codec.h"
#include "codec/search.h"

void kq_decode_iq4_nl(const void *src, size_t n_blocks, float *dst) {
    const kq_block_iq4_nl *b = src;
    for (; n_blocks--; b++, dst += 32) {
        float d = kq_f16_to_f32(b->d);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)kq_levels_iq4[b->qs[j] & 15];
            dst[j + 16] = d * (float)kq_levels_iq4[b->qs[j] >> 4];
        }
    }
}

void kq_decode_iq4_xs(const void *src, size_t n_blocks, float *dst) {
    const kq_block_iq4_xs *b = src;
    for (; n_blocks--; b++, dst += 256) {
        float d = kq_f16_to_f32(b->d);
        for (int g = 0; g < 8; g++) {
            int s = (b->scales_l[g / 2] >> 4 * (g % 2) & 15) | (b->scales_h >> 2 * g & 3) << 4;
            float scale = d * (float)(s - 32);
            const uint8_t *qs = b->qs + 16 * g;
            for (int j = 0; j < 16; j++) {
                dst[32 * g + j] = scale * (float)kq_levels_iq4[qs[j] & 15];
                dst[32 * g + 16 + j] = scale * (float)kq_levels_iq4[qs[j] >> 4];
            }
        }
    }
}

/* ---- encoding ----------------------------------------------------------------------------------------------------- */

/* The code whose level is nearest; of two equally near, the upper; 15 for NaN. */
static uint8_t nearest_level(float v) {
    const int8_t *level = kq_levels_iq4;
    if (v <= (float)level[0]) return 0;
    if (v >= (float)level[15]) return 15;
    int low = 0, high = 15;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (v < (float)level[middle]) high = middle;
        else low = middle;
    }
    return (uint8_t)(v - (float)level[high - 1] < (float)level[high] - v ? high - 1 : high);
}

static void fit(const float *x, const float *w, float inverse, float *wqx, float *wqq) {
    float a = 0, b = 0;
    for (int i = 0; i < 32; i++) {
        float q = (float)kq_levels_iq4[nearest_level(inverse * x[i])];
        a += w[i] * q * x[i];
        b += w[i] * q * q;
    }
    *wqx = a;
    *wqq = b;
}

/* The scale of a group of 32, of either sign. */
static float search(const float *x, const float *importances, float sigma2) {
    float w[32], a, b, most = kq_greatest_signed(x, 32);
    if (__builtin_fabsf(most) < 1e-15f) return 0;
    if (importances) kq_weigh(importances, sigma2, x, 32, w);
    else for (int i = 0; i < 32; i++) w[i] = x[i] * x[i];
    fit(x, w, 1 / (-most / -127.0f), &a, &b);
    float scale = b > 0 ? a / b : 0, best = scale * a;
    for (int k = -7; k <= 7; k++) {
        fit(x, w, (float)(k - 127) / most, &a, &b);
        if (b > 0 && a * a > best * b) {
            scale = a / b;
            best = scale * a;
        }
    }
    return scale;
}

static void put_codes(const float *x, float inverse, uint8_t qs[16]) {
    for (int j = 0; j < 16; j++) qs[j] = (uint8_t)(nearest_level(inverse * x[j]) | nearest_level(inverse * x[j + 16]) << 4);
}

bool kq_encode_iq4_nl(const float *src, size_t n_weights, const float *importances, void *dst) {
    kq_block_iq4_nl *b = dst;
    for (size_t i = 0; i < n_weights; i += 32, b++) {
        const float *x = src + i;
        float scale = search(x, importances ? importances + i : NULL, kq_sum_of_squares(x, 32) * (2.0f / 32));
        b->d = kq_f32_to_f16(scale);
        put_codes(x, scale != 0 ? 1 / scale : 0, b->qs);
    }
    return true;
}

bool kq_encode_iq4_xs(const float *src, size_t n_weights, const float *importances, void *dst) {
    kq_block_iq4_xs *b = dst;
    for (size_t i = 0; i < n_weights; i += 256, b++) {
        const float *x = src + i;
        float scales[8], sigma2 = kq_sum_of_squares(x, 256) * (2.0f / 256);
        for (int g = 0; g < 8; g++) scales[g] = search(x + 32 * g, importances ? importances + i + 32 * g : NULL, sigma2);
        float dd = -kq_greatest_signed(scales, 8) / 32, inverse = dd != 0 ? 1 / dd : 0;
        unsigned high = 0;
        b->d = kq_f32_to_f16(dd);
        memset(b->scales_l, 0, sizeof b->scales_l);
        for (int g = 0; g < 8; g++) {
            int l = kq_clamp(kq_nearest(inverse * scales[g]), -32, 31);
            float dl = dd * (float)l;
            put_codes(x + 32 * g, dl != 0 ? 1 / dl : 0, b->qs + 16 * g);
            b->scales_l[g / 2] |= (uint8_t)(((unsigned)(l + 32) & 15) << 4 * (g % 2));
            high |= (unsigned)(l + 32) >> 4 << 2 * g;
        }
        b->scales_h = (uint16_t)high;
    }
    return true;
}
