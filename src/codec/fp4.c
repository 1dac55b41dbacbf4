/* SPDX-License-Identifier: MIT */
/* The codecs of 4-bit floats (mxfp4 nvfp4). */
#include "codec/blocks.h"
#include "codec/codebooks.h"
#include "codec/codec.h"
#include "codec/search.h"

void kq_decode_mxfp4(const void *src, size_t n_blocks, float *dst) {
    const kq_block_mxfp4 *b = src;
    for (; n_blocks--; b++, dst += 32) {
        float d = kq_e8m0_half(b->e);
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)kq_levels_e2m1[b->qs[j] & 15] * d;
            dst[j + 16] = (float)kq_levels_e2m1[b->qs[j] >> 4] * d;
        }
    }
}

void kq_decode_nvfp4(const void *src, size_t n_blocks, float *dst) {
    const kq_block_nvfp4 *b = src;
    for (; n_blocks--; b++, dst += 64) {
        for (int g = 0; g < 4; g++) {
            float d = kq_ue4m3_half(b->scales[g]);
            for (int j = 0; j < 8; j++) {
                uint8_t pair = b->qs[8 * g + j];
                dst[16 * g + j] = (float)kq_levels_e2m1[pair & 15] * d;
                dst[16 * g + 8 + j] = (float)kq_levels_e2m1[pair >> 4] * d;
            }
        }
    }
}

/* ---- encoding: importances mean nothing here --------------------------------------------------------------------------- */

/* The code whose level is nearest, the lower of two (so never 8, which is 0 again). */
static unsigned nearest_level(float x, float d) {
    unsigned best = 0;
    float least = __builtin_fabsf((float)kq_levels_e2m1[0] * d - x);
    for (unsigned c = 1; c < 16; c++) {
        float error = __builtin_fabsf((float)kq_levels_e2m1[c] * d - x);
        if (error < least) {
            least = error;
            best = c;
        }
    }
    return best;
}

/* floor(log2f(x)) as glibc's correctly rounded log2f has it: so near below a power of two that the logarithm rounds up to the
 * whole number, it is that number. How many floats do, depends on the spacing of floats at the logarithm's size. */
static int floor_log2(float x) {
    int shift = x < 0x1p-126f ? 23 : 0;
    uint32_t bits = kq_f32_to_bits(shift ? x * 0x1p23f : x);
    int exponent = (int)(bits >> 23) - 127 - shift;
    int size = exponent < 0 ? -1 - exponent : exponent;
    unsigned reach = size < 2 ? 0 : size < 4 ? 1 : size < 8 ? 2 : size < 16 ? 5 : size < 32 ? 11 : size < 64 ? 22 : 44;
    return exponent + ((bits & 0x7fffff) >= 0x800000 - reach);
}

bool kq_encode_mxfp4(const float *src, size_t n_weights, const float *importances, void *dst) {
    (void)importances;
    kq_block_mxfp4 *b = dst;
    for (size_t i = 0; i < n_weights; i += 32, b++) {
        const float *x = src + i;
        float most = kq_greatest_magnitude(x, 32);
        b->e = most > 0 ? kq_low_byte(floor_log2(most) - 2 + 127) : 0; /* wraps below 2^-125: so the format's encoder does */
        float d = kq_e8m0_half(b->e);
        for (int j = 0; j < 16; j++) b->qs[j] = (uint8_t)(nearest_level(x[j], d) | nearest_level(x[j + 16], d) << 4);
    }
    return true;
}

/* UE4M3 of x >= 0: ties up; the values 256 .. 416 are never made, what is 248 or more becomes 448. */
static uint8_t to_ue4m3(float x) {
    if (!(x > 0)) return 0;
    uint32_t bits = kq_f32_to_bits(x);
    int exponent = (int)(bits >> 23) - 127 + 7;
    if (exponent <= 0) return (uint8_t)KQ_MIN((int)(x * 512 + 0.5f), 7);
    if (x >= 256) return 0x7e;
    unsigned mantissa = (bits >> 20 & 7) + (bits >> 19 & 1);
    if (mantissa == 8) {
        mantissa = 0;
        exponent++;
    }
    return exponent >= 15 ? 0x7e : (uint8_t)(exponent * 8 + (int)mantissa);
}

bool kq_encode_nvfp4(const float *src, size_t n_weights, const float *importances, void *dst) {
    (void)importances;
    kq_block_nvfp4 *b = dst;
    for (size_t i = 0; i < n_weights; i += 64, b++) {
        for (int g = 0; g < 4; g++) {
            const float *x = src + i + 16 * g;
            b->scales[g] = to_ue4m3(kq_greatest_magnitude(x, 16) / 6);
            float d = kq_ue4m3_half(b->scales[g]);
            for (int j = 0; j < 8; j++) b->qs[8 * g + j] = (uint8_t)(nearest_level(x[j], d) | nearest_level(x[j + 8], d) << 4);
        }
    }
    return true;
}
