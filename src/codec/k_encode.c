/* SPDX-License-Identifier: MIT */
/* Encoders of the K family (q2_k q3_k q4_k q5_k q6_k).
 *
 * Each super-block goes three steps: search a scale (and minimum) for each group; quantise the scales themselves; then find the
 * codes again for the scales that were stored, read back from the packed bytes. Where a stored scale is 0, the codes that the
 * search found stay. */
#include "codec/blocks.h"
#include "codec/codec.h"
#include "codec/search.h"

/* ---- step 1: the groups' own searches ------------------------------------------------------------------------------ */

/* Importances are evened out by sigma2 = factor * the super-block's mean square; sums[g] is the weight of group g. */
static void weigh_groups(const float *x, const float *importances, float factor, int size, float *w, float *sums) {
    float sigma2 = factor * kq_sum_of_squares(x, 256) / 256;
    kq_weigh(importances, sigma2, x, 256, w);
    for (int g = 0; g < 256 / size; g++) {
        float sum = 0;
        for (int l = 0; l < size; l++) sum += w[g * size + l];
        sums[g] = sum;
    }
}

/* Weights without importances, of q4_k and q5_k: |x| and the root mean square of its group. */
static void weigh_by_size(const float *x, float *w) {
    float average = __builtin_sqrtf(kq_sum_of_squares(x, 32) / 32);
    for (int l = 0; l < 32; l++) w[l] = average + __builtin_fabsf(x[l]);
}

static float greatest(const float *x, int n) {
    float most = 0;
    for (int i = 0; i < n; i++) most = KQ_MAX(x[i], most);
    return most;
}

/* ---- step 3: codes for the scales that were stored ------------------------------------------------------------------------ */

static void again_affine(int n, int n_max, const float *x, float d, float dm, uint8_t *codes) {
    if (d == 0) return;
    for (int l = 0; l < n; l++) codes[l] = (uint8_t)kq_clamp(kq_nearest((x[l] + dm) / d), 0, n_max);
}

static void again_signed(int n, int n_max, const float *x, float d, uint8_t *codes) {
    if (d == 0) return;
    for (int l = 0; l < n; l++) codes[l] = (uint8_t)(kq_clamp(kq_nearest(x[l] / d), -n_max, n_max - 1) + n_max);
}

/* Bits `from` and `from + 1` of 256 codes into four planes. */
static void put_planes(const uint8_t *codes, int from, uint8_t qs[64]) {
    memset(qs, 0, 64);
    for (int i = 0; i < 256; i++) qs[32 * (i / 128) + i % 32] |= (uint8_t)((codes[i] >> from & 3) << 2 * (i % 128 / 32));
}

/* One bit of 256 codes, bit i/32 of byte i%32. */
static void put_bits(const uint8_t *codes, int bit, uint8_t bits[32]) {
    memset(bits, 0, 32);
    for (int i = 0; i < 256; i++) bits[i % 32] |= (uint8_t)((codes[i] >> bit & 1) << i / 32);
}

/* The low 4 bits of 256 codes as q4_k holds them. */
static void put_nibbles(const uint8_t *codes, uint8_t qs[128]) {
    for (int i = 0; i < 128; i++) {
        const uint8_t *c = codes + 64 * (i / 32) + i % 32;
        qs[i] = (uint8_t)((c[0] & 15) | (c[32] & 15) << 4);
    }
}

/* ---- q2_k --------------------------------------------------------------------------------------------------------- */

/* 16 values that should not be negative as codes of 4 bits times the result. */
static float q2_scales(const float *values, uint8_t *codes) {
    float most = greatest(values, 16);
    memset(codes, 0, 16);
    if (!(most > 0)) return 0;
    for (int g = 0; g < 16; g++) codes[g] = kq_low_byte(kq_nearest(15 / most * values[g]));
    return most / 15;
}

bool kq_encode_q2_k(const float *src, size_t n_weights, const float *importances, void *dst) {
    static const kq_affine_trials plain = {.first = -0.5f, .step = 0.1f, .last = 15, .absolute = true};
    static const kq_affine_trials weighted = {.first = -0.9f, .step = 0.05f, .last = 36};
    kq_block_q2_k *b = dst;
    for (size_t i = 0; i < n_weights; i += 256, b++) {
        const float *x = src + i;
        float w[256], sums[16], scales[16], mins[16];
        uint8_t codes[256], sc[16], mn[16];
        if (importances) weigh_groups(x, importances + i, 1, 16, w, sums);
        else for (int l = 0; l < 256; l++) w[l] = __builtin_fabsf(x[l]);
        for (int g = 0; g < 16; g++) {
            scales[g] = kq_search_affine(16, 3, x + 16 * g, w + 16 * g, importances ? &weighted : &plain, codes + 16 * g, &mins[g]);
        }
        b->d = kq_f32_to_f16(importances ? kq_search_positive(16, 15, scales, sums, sc) : q2_scales(scales, sc));
        b->dmin = kq_f32_to_f16(importances ? kq_search_positive(16, 15, mins, sums, mn) : q2_scales(mins, mn));
        float d = kq_f16_to_f32(b->d), dmin = kq_f16_to_f32(b->dmin);
        for (int g = 0; g < 16; g++) {
            b->scales[g] = kq_low_byte(sc[g] | mn[g] << 4);
            again_affine(16, 3, x + 16 * g, d * (float)(b->scales[g] & 15), dmin * (float)(b->scales[g] >> 4), codes + 16 * g);
        }
        put_planes(codes, 0, b->qs);
    }
    return true;
}

/* ---- q3_k --------------------------------------------------------------------------------------------------------- */

/* Signed scales of 6 bits, c - 32, so that the one of greatest magnitude becomes 0. */
static float q3_scales(const float *scales, uint8_t codes[16]) {
    float most = kq_greatest_signed(scales, 16);
    memset(codes, 0, 16);
    if (most == 0) return 0;
    float inverse = -32.0f / most;
    for (int g = 0; g < 16; g++) {
        int8_t code = (int8_t)kq_low_byte(kq_nearest(inverse * scales[g]));
        codes[g] = (uint8_t)(kq_clamp(code, -32, 31) + 32);
    }
    return 1 / inverse;
}

bool kq_encode_q3_k(const float *src, size_t n_weights, const float *importances, void *dst) {
    kq_block_q3_k *b = dst;
    for (size_t i = 0; i < n_weights; i += 256, b++) {
        const float *x = src + i;
        float w[256], sums[16], scales[16];
        uint8_t codes[256], sc[16];
        if (importances) weigh_groups(x, importances + i, 2, 16, w, sums);
        for (int g = 0; g < 16; g++) {
            if (importances) scales[g] = kq_search_signed(16, 4, x + 16 * g, w + 16 * g, codes + 16 * g);
            else scales[g] = kq_refine_signed(16, 4, x + 16 * g, codes + 16 * g);
        }
        b->d = kq_f32_to_f16(importances ? kq_search_signed(16, 32, scales, sums, sc) : q3_scales(scales, sc));
        memset(b->scales, 0, sizeof b->scales);
        for (int g = 0; g < 16; g++) {
            b->scales[g % 8] |= (uint8_t)((sc[g] & 15) << 4 * (g / 8));
            b->scales[8 + g % 4] |= (uint8_t)(sc[g] >> 4 << 2 * (g / 4));
        }
        float d = kq_f16_to_f32(b->d);
        for (int g = 0; g < 16; g++) again_signed(16, 4, x + 16 * g, d * (float)kq_k3_scale(b->scales, g), codes + 16 * g);
        put_planes(codes, 0, b->qs);
        put_bits(codes, 2, b->hmask);
    }
    return true;
}

/* ---- q4_k, q5_k --------------------------------------------------------------------------------------------------- */

/* 8 values that should not be negative as codes of 6 bits times the result. */
static float k4_scales(const float *values, uint8_t *codes) {
    float most = greatest(values, 8), inverse = most > 0 ? 63 / most : 0;
    for (int g = 0; g < 8; g++) {
        uint8_t code = kq_low_byte(kq_nearest(inverse * values[g]));
        codes[g] = KQ_MIN(63, code);
    }
    return most / 63;
}

/* The 12 bytes of scales and minima. A code beyond 6 bits (q4_k's can be: a negative scale, wrapped) spills into its neighbour. */
static void put_k4_scales(const uint8_t sc[8], const uint8_t mn[8], uint8_t scales[12]) {
    for (int j = 0; j < 4; j++) {
        scales[j] = sc[j];
        scales[j + 4] = mn[j];
    }
    for (int j = 4; j < 8; j++) {
        scales[j + 4] = (uint8_t)((sc[j] & 15) | (mn[j] & 15) << 4);
        scales[j - 4] |= kq_low_byte(sc[j] >> 4 << 6);
        scales[j] |= kq_low_byte(mn[j] >> 4 << 6);
    }
}

/* Both codecs, up to their codes: n_max is 15 or 31. */
static void encode_k4(int n_max, const float *x, const float *importances, uint16_t *d_out, uint16_t *dmin_out, uint8_t packed[12],
                      uint8_t codes[256]) {
    static const kq_affine_trials plain4 = {.first = -1.0f, .step = 0.1f, .last = 20}, plain5 = {.first = -0.5f, .step = 0.1f, .last = 15};
    static const kq_affine_trials weighted = {.first = -0.9f, .step = 0.05f, .last = 36};
    float w[256], sums[8], scales[8], mins[8];
    uint8_t sc[8], mn[8];
    if (importances) weigh_groups(x, importances, 2, 32, w, sums);
    for (int g = 0; g < 8; g++) {
        if (!importances) weigh_by_size(x + 32 * g, w + 32 * g);
        const kq_affine_trials *trials = importances ? &weighted : n_max == 15 ? &plain4 : &plain5;
        scales[g] = kq_search_affine(32, n_max, x + 32 * g, w + 32 * g, trials, codes + 32 * g, &mins[g]);
    }
    *d_out = kq_f32_to_f16(importances ? kq_search_positive(8, 63, scales, sums, sc) : k4_scales(scales, sc));
    *dmin_out = kq_f32_to_f16(importances ? kq_search_positive(8, 63, mins, sums, mn) : k4_scales(mins, mn));
    if (n_max == 31) { /* q5_k alone cuts them to 6 bits before packing */
        for (int g = 0; g < 8; g++) {
            sc[g] = KQ_MIN(63, sc[g]);
            mn[g] = KQ_MIN(63, mn[g]);
        }
    }
    put_k4_scales(sc, mn, packed);
    float d = kq_f16_to_f32(*d_out), dmin = kq_f16_to_f32(*dmin_out);
    for (int g = 0; g < 8; g++) {
        int s, m;
        kq_k4_scale(packed, g, &s, &m);
        again_affine(32, n_max, x + 32 * g, d * (float)s, dmin * (float)m, codes + 32 * g);
    }
}

bool kq_encode_q4_k(const float *src, size_t n_weights, const float *importances, void *dst) {
    kq_block_q4_k *b = dst;
    for (size_t i = 0; i < n_weights; i += 256, b++) {
        uint8_t codes[256];
        uint16_t d, dmin;
        encode_k4(15, src + i, importances ? importances + i : NULL, &d, &dmin, b->scales, codes);
        b->d = d;
        b->dmin = dmin;
        put_nibbles(codes, b->qs);
    }
    return true;
}

bool kq_encode_q5_k(const float *src, size_t n_weights, const float *importances, void *dst) {
    kq_block_q5_k *b = dst;
    for (size_t i = 0; i < n_weights; i += 256, b++) {
        uint8_t codes[256];
        uint16_t d, dmin;
        encode_k4(31, src + i, importances ? importances + i : NULL, &d, &dmin, b->scales, codes);
        b->d = d;
        b->dmin = dmin;
        put_nibbles(codes, b->qs);
        put_bits(codes, 4, b->qh);
    }
    return true;
}

/* ---- q6_k --------------------------------------------------------------------------------------------------------- */

bool kq_encode_q6_k(const float *src, size_t n_weights, const float *importances, void *dst) {
    kq_block_q6_k *b = dst;
    for (size_t i = 0; i < n_weights; i += 256, b++) {
        const float *x = src + i;
        float scales[16];
        uint8_t codes[256];
        for (int g = 0; g < 16; g++) { /* the importances as they are: alone of its family */
            scales[g] = kq_search_signed(16, 32, x + 16 * g, importances ? importances + i + 16 * g : NULL, codes + 16 * g);
        }
        float most = kq_greatest_signed(scales, 16);
        if (__builtin_fabsf(most) < 1e-15f) {
            memset(b, 0, sizeof *b);
            continue;
        }
        float inverse = -128.0f / most;
        b->d = kq_f32_to_f16(1 / inverse);
        float d = kq_f16_to_f32(b->d);
        for (int g = 0; g < 16; g++) {
            int scale = kq_nearest(inverse * scales[g]);
            b->scales[g] = (int8_t)kq_low_byte(KQ_MIN(127, scale));
            again_signed(16, 32, x + 16 * g, d * (float)b->scales[g], codes + 16 * g);
        }
        for (int k = 0; k < 128; k++) {
            const uint8_t *c = codes + 128 * (k / 64) + k % 64;
            b->ql[k] = (uint8_t)((c[0] & 15) | (c[64] & 15) << 4);
        }
        put_planes(codes, 4, b->qh);
    }
    return true;
}
