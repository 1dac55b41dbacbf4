/* SPDX-License-Identifier: MIT */
/* Blocks taken apart into signed bytes, for every codec: a weight is scale[g] * q + offset[g], g its group of 16 or of 32. A run is 256 weights,
 * or what a row has left of them; it goes through L1, where up to 8 activation rows meet it.
 *
 * Plain C, in loops of 16 and 32 bytes that the compiler turns into vectors: nibbles and planes are what these are good at. Look-ups, single bits, signs and
 * grids are not, and are written as vectors here. What q times 2^k is folded into the scale is exact. */
#ifndef KQ_CPU_ARM_UNPACK_H
#define KQ_CPU_ARM_UNPACK_H

#include "codec/blocks.h"
#include "codec/codebooks.h"
#include "cpu/kernels.h"

#include <arm_neon.h>

typedef struct unpacked {
    _Alignas(64) int8_t q[KQ_ACT_WEIGHTS];
    float scale[16], offset[16];
} unpacked;

/* UNPACK(id, group, kind): the weights that share a scale, and what there is besides: nothing, offsets, or scales that reach 2^126. */
enum { SCALES, OFFSETS, HUGE_SCALES };
#define UNPACK(id, group, kind)                                \
    enum { group_of_##id = (group), kind_of_##id = (int)(kind) }; \
    static inline void unpack_##id(const kq_block_##id *b, size_t n_blocks, unpacked *u)

/* A scale: the machine's own conversion. */
static inline float half_of(uint16_t h) { return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h))), 0); }

static inline void split_nibbles(const uint8_t qs[16], int minus, int8_t *q) {
    for (int j = 0; j < 16; j++) {
        q[j] = (int8_t)((qs[j] & 15) - minus);
        q[j + 16] = (int8_t)((qs[j] >> 4) - minus);
    }
}

/* Levels by nibble: the compiler does not find the table instruction. */
static inline void split_levels(const uint8_t qs[16], const int8_t levels[16], int8_t *q) {
    int8x16_t table = vld1q_s8(levels);
    uint8x16_t codes = vld1q_u8(qs);
    vst1q_s8(q, vqtbl1q_s8(table, vandq_u8(codes, vdupq_n_u8(15))));
    vst1q_s8(q + 16, vqtbl1q_s8(table, vshrq_n_u8(codes, 4)));
}

/* Two bytes, eight times each. */
static inline uint8x16_t spread_bytes(const uint8_t two[2]) {
    static const uint8_t byte[16] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
    return vqtbl1q_u8(vreinterpretq_u8_u16(vdupq_n_u16(kq_load_u16(two))), vld1q_u8(byte));
}
/* Sixteen bits, the lowest first, as bytes of all ones or zeros. */
static inline uint8x16_t spread_bits(const uint8_t bits[2]) {
    static const uint8_t bit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    return vtstq_u8(spread_bytes(bits), vld1q_u8(bit));
}

/* Bits 0..31 of a word as bit 4 of 32 bytes. */
static inline void add_fifth_bits(const uint8_t qh[4], int8_t *q) {
    for (int half = 0; half < 2; half++) {
        uint8x16_t set = spread_bits(qh + 2 * half);
        vst1q_s8(q + 16 * half, vorrq_s8(vld1q_s8(q + 16 * half), vreinterpretq_s8_u8(vandq_u8(set, vdupq_n_u8(16)))));
    }
}

UNPACK(q4_0, 32, SCALES) {
    for (size_t i = 0; i < n_blocks; i++) {
        split_nibbles(b[i].qs, 8, u->q + 32 * i);
        u->scale[i] = half_of(b[i].d);
    }
}
UNPACK(q4_1, 32, OFFSETS) {
    for (size_t i = 0; i < n_blocks; i++) {
        split_nibbles(b[i].qs, 0, u->q + 32 * i);
        u->scale[i] = half_of(b[i].d);
        u->offset[i] = half_of(b[i].m);
    }
}
UNPACK(q5_0, 32, SCALES) {
    for (size_t i = 0; i < n_blocks; i++) {
        int8_t *q = u->q + 32 * i;
        split_nibbles(b[i].qs, 0, q);
        add_fifth_bits(b[i].qh, q);
        for (int j = 0; j < 32; j++) q[j] = (int8_t)(q[j] - 16);
        u->scale[i] = half_of(b[i].d);
    }
}
UNPACK(q5_1, 32, OFFSETS) {
    for (size_t i = 0; i < n_blocks; i++) {
        split_nibbles(b[i].qs, 0, u->q + 32 * i);
        add_fifth_bits(b[i].qh, u->q + 32 * i);
        u->scale[i] = half_of(b[i].d);
        u->offset[i] = half_of(b[i].m);
    }
}
UNPACK(q8_0, 32, SCALES) {
    for (size_t i = 0; i < n_blocks; i++) {
        memcpy(u->q + 32 * i, b[i].qs, 32);
        u->scale[i] = half_of(b[i].d);
    }
}

/* ---- K -------------------------------------------------------------------------------------------------------------- */

/* Two bits of each of 256 weights, from four planes. */
static inline void planes(const uint8_t *qs, int8_t *q) {
    for (int h = 0; h < 2; h++)
        for (int run = 0; run < 4; run++)
            for (int l = 0; l < 32; l++) q[128 * h + 32 * run + l] = (int8_t)(qs[32 * h + l] >> 2 * run & 3);
}

UNPACK(q2_k, 16, OFFSETS) {
    (void)n_blocks;
    float d = half_of(b->d), dmin = half_of(b->dmin);
    planes(b->qs, u->q);
    for (int g = 0; g < 16; g++) {
        u->scale[g] = d * (float)(b->scales[g] & 15);
        u->offset[g] = -(dmin * (float)(b->scales[g] >> 4));
    }
}
UNPACK(q3_k, 16, SCALES) {
    (void)n_blocks;
    float d = half_of(b->d);
    planes(b->qs, u->q);
    for (int run = 0; run < 8; run++)
        for (int l = 0; l < 32; l++) u->q[32 * run + l] = (int8_t)(u->q[32 * run + l] - 4 + ((b->hmask[l] >> run & 1) << 2));
    for (int g = 0; g < 16; g++) u->scale[g] = d * (float)kq_k3_scale(b->scales, g);
}
static inline void k4_scales(const uint8_t *scales, uint16_t d16, uint16_t dmin16, unpacked *u) {
    float d = half_of(d16), dmin = half_of(dmin16);
    for (int g = 0; g < 8; g++) {
        int sc, mn;
        kq_k4_scale(scales, g, &sc, &mn);
        u->scale[g] = d * (float)sc;
        u->offset[g] = -(dmin * (float)mn);
    }
}
static inline void k4_nibbles(const uint8_t *qs, int8_t *q) {
    for (int p = 0; p < 4; p++)
        for (int l = 0; l < 32; l++) {
            q[64 * p + l] = (int8_t)(qs[32 * p + l] & 15);
            q[64 * p + 32 + l] = (int8_t)(qs[32 * p + l] >> 4);
        }
}
UNPACK(q4_k, 32, OFFSETS) {
    (void)n_blocks;
    k4_scales(b->scales, b->d, b->dmin, u);
    k4_nibbles(b->qs, u->q);
}
UNPACK(q5_k, 32, OFFSETS) {
    (void)n_blocks;
    k4_scales(b->scales, b->d, b->dmin, u);
    k4_nibbles(b->qs, u->q);
    for (int g = 0; g < 8; g++)
        for (int l = 0; l < 32; l++) u->q[32 * g + l] = (int8_t)(u->q[32 * g + l] | (b->qh[l] >> g & 1) << 4);
}
UNPACK(q6_k, 16, SCALES) {
    (void)n_blocks;
    float d = half_of(b->d);
    planes(b->qh, u->q);
    for (int h = 0; h < 2; h++)
        for (int run = 0; run < 4; run++)
            for (int l = 0; l < 32; l++) {
                int8_t *q = u->q + 128 * h + 32 * run + l;
                *q = (int8_t)(((b->ql[64 * h + 32 * (run % 2) + l] >> 4 * (run / 2) & 15) | *q << 4) - 32);
            }
    for (int g = 0; g < 16; g++) u->scale[g] = d * (float)b->scales[g];
}

/* ---- levels and bits ------------------------------------------------------------------------------------------------ */

UNPACK(iq4_nl, 32, SCALES) {
    for (size_t i = 0; i < n_blocks; i++) {
        split_levels(b[i].qs, kq_levels_iq4, u->q + 32 * i);
        u->scale[i] = half_of(b[i].d);
    }
}
UNPACK(iq4_xs, 32, SCALES) {
    (void)n_blocks;
    float d = half_of(b->d);
    for (int g = 0; g < 8; g++) {
        int s = (b->scales_l[g / 2] >> 4 * (g % 2) & 15) | (b->scales_h >> 2 * g & 3) << 4;
        u->scale[g] = d * (float)(s - 32);
        split_levels(b->qs + 16 * g, kq_levels_iq4, u->q + 32 * g);
    }
}
UNPACK(mxfp4, 32, HUGE_SCALES) {
    for (size_t i = 0; i < n_blocks; i++) {
        split_levels(b[i].qs, kq_levels_e2m1, u->q + 32 * i);
        u->scale[i] = kq_e8m0_half(b[i].e);
    }
}
UNPACK(nvfp4, 16, SCALES) {
    for (size_t i = 0; i < n_blocks; i++) {
        for (int g = 0; g < 4; g++) {
            int8x16_t table = vld1q_s8(kq_levels_e2m1);
            uint8x8_t codes = vld1_u8(b[i].qs + 8 * g);
            vst1q_s8(u->q + 64 * i + 16 * g, vqtbl1q_s8(table, vcombine_u8(vand_u8(codes, vdup_n_u8(15)), vshr_n_u8(codes, 4))));
            u->scale[4 * i + (size_t)g] = kq_ue4m3_half(b[i].scales[g]);
        }
    }
}
static inline int8_t trit(uint8_t byte, unsigned power) { return (int8_t)((int)((uint16_t)((uint8_t)(byte * power) * 3) >> 8) - 1); }
UNPACK(tq1_0, 32, SCALES) {
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    (void)n_blocks;
    for (int n = 0; n < 5; n++) {
        for (int m = 0; m < 32; m++) u->q[m + 32 * n] = trit(b->qs[m], power[n]);
        for (int m = 0; m < 16; m++) u->q[160 + m + 16 * n] = trit(b->qs[32 + m], power[n]);
    }
    for (int n = 0; n < 4; n++)
        for (int j = 0; j < 4; j++) u->q[240 + j + 4 * n] = trit(b->qh[j], power[n]);
    for (int g = 0; g < 8; g++) u->scale[g] = half_of(b->d);
}
UNPACK(tq2_0, 32, SCALES) {
    (void)n_blocks;
    planes(b->qs, u->q);
    for (int i = 0; i < 256; i++) u->q[i] = (int8_t)(u->q[i] - 1);
    for (int g = 0; g < 8; g++) u->scale[g] = half_of(b->d);
}
UNPACK(q1_0, 32, SCALES) {
    for (size_t i = 0; i < n_blocks; i++) {
        for (size_t k = 0; k < 128; k += 16) { /* 1, or -1: all ones */
            uint8x16_t set = spread_bits(b[i].qs + k / 8);
            vst1q_u8((uint8_t *)u->q + 128 * i + k, vornq_u8(vdupq_n_u8(1), set));
        }
        for (size_t g = 0; g < 4; g++) u->scale[4 * i + g] = half_of(b[i].d);
    }
}
UNPACK(q2_0, 32, SCALES) {
    for (size_t i = 0; i < n_blocks; i++) {
        uint8x16_t fours = vld1q_u8(b[i].qs), one = vdupq_n_u8(1), three = vdupq_n_u8(3);
        uint8x16x4_t codes = {{vandq_u8(fours, three), vandq_u8(vshrq_n_u8(fours, 2), three), vandq_u8(vshrq_n_u8(fours, 4), three), vshrq_n_u8(fours, 6)}};
        for (int k = 0; k < 4; k++) codes.val[k] = vsubq_u8(codes.val[k], one);
        vst4q_u8((uint8_t *)u->q + 64 * i, codes);
        u->scale[2 * i] = u->scale[2 * i + 1] = half_of(b[i].d);
    }
}

/* ---- grids: cells come as bytes from tables (codebooks.h), then all get their signs --------------------------------- */

/* Sixteen indices: low bytes and high ones. */
static inline void put_indices(const uint8_t low[16], uint8x16_t high, uint16_t *index) {
    vst1q_u16(index, vreinterpretq_u16_u8(vzip1q_u8(vld1q_u8(low), high)));
    vst1q_u16(index + 8, vreinterpretq_u16_u8(vzip2q_u8(vld1q_u8(low), high)));
}
/* Cells of 8 and of 4 weights. In eights: GCC 12 unrolls no longer loop. */
#define PUT_CELLS(table, index, n, q)                                                                                    \
    for (int k_ = 0; k_ < (n); k_ += 8)                                                                                  \
        for (int e_ = 0; e_ < 8; e_++) memcpy((q) + sizeof *(table) * (size_t)(k_ + e_), &(table)[(index)[k_ + e_]], sizeof *(table))

/* Bit e of signs[k]: weight 8 k + e is negative. */
static inline void put_signs(const uint8_t signs[32], int8_t *q) {
    for (int k = 0; k < 32; k += 2, q += 16) {
        int8x16_t minus = vreinterpretq_s8_u8(spread_bits(signs + k));
        vst1q_s8(q, vsubq_s8(veorq_s8(vld1q_s8(q), minus), minus));
    }
}

/* Four words of a scale and four times seven signs: the signs, with those that parity gives. */
static inline uint8x16_t signs_of(uint32x4_t words) {
    uint32x4_t low = vorrq_u32(vandq_u32(words, vdupq_n_u32(0x7f)), vandq_u32(vshlq_n_u32(words, 1), vdupq_n_u32(0x7f00)));
    uint32x4_t high = vorrq_u32(vandq_u32(vshlq_n_u32(words, 2), vdupq_n_u32(0x7f0000)), vandq_u32(vshlq_n_u32(words, 3), vdupq_n_u32(0x7f000000)));
    uint8x16_t sevens = vreinterpretq_u8_u32(vorrq_u32(low, high));
    return vorrq_u8(sevens, vshlq_n_u8(vcntq_u8(sevens), 7));
}
/* Their scales: d * (0.5 + s) * unit, in this order. */
static inline float32x4_t scales_of_words(uint32x4_t words, float d, float unit) {
    return vmulq_n_f32(vmulq_n_f32(vaddq_f32(vdupq_n_f32(0.5f), vcvtq_f32_u32(vshrq_n_u32(words, 28))), d), unit);
}

UNPACK(iq2_xxs, 32, SCALES) {
    uint8_t signs[32], index[32];
    (void)n_blocks;
    for (int g = 0; g < 8; g += 4) { /* a group: four indices, a word */
        uint32x4_t first = vreinterpretq_u32_u8(vld1q_u8(b->qs + 8 * g)), second = vreinterpretq_u32_u8(vld1q_u8(b->qs + 8 * g + 16));
        uint32x4_t words = vuzp2q_u32(first, second);
        vst1q_u8(index + 4 * g, vreinterpretq_u8_u32(vuzp1q_u32(first, second)));
        vst1q_u8(signs + 4 * g, signs_of(words));
        vst1q_f32(u->scale + g, scales_of_words(words, half_of(b->d), 0.25f));
    }
    PUT_CELLS(kq_cells_iq2_xxs, index, 32, u->q);
    put_signs(signs, u->q);
}
static inline void scales_iq2(uint16_t d16, const uint8_t *scales, unpacked *u) {
    float d = half_of(d16);
    for (int g = 0; g < 16; g++) u->scale[g] = d * (0.5f + (float)(scales[g / 2] >> 4 * (g % 2) & 15)) * 0.25f;
}
UNPACK(iq2_xs, 16, SCALES) {
    uint8_t signs[32];
    uint16_t index[32];
    (void)n_blocks;
    scales_iq2(b->d, b->scales, u);
    for (int k = 0; k < 32; k += 8) {
        uint16x8_t words = vreinterpretq_u16_u8(vld1q_u8((const uint8_t *)b->qs + 2 * k));
        uint8x8_t sevens = vshr_n_u8(vshrn_n_u16(words, 8), 1);
        vst1q_u16(index + k, vandq_u16(words, vdupq_n_u16(511)));
        vst1_u8(signs + k, vorr_u8(sevens, vshl_n_u8(vcnt_u8(sevens), 7)));
    }
    PUT_CELLS(kq_cells_iq2_xs, index, 32, u->q);
    put_signs(signs, u->q);
}
UNPACK(iq2_s, 16, SCALES) {
    static const uint8_t byte[16] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
    static const int8_t down[16] = {0, -2, -4, -6, 0, -2, -4, -6, 0, -2, -4, -6, 0, -2, -4, -6};
    uint16_t index[32];
    (void)n_blocks;
    scales_iq2(b->d, b->scales, u);
    for (int k = 0; k < 32; k += 16) {
        uint8x16_t fours = vqtbl1q_u8(vreinterpretq_u8_u32(vdupq_n_u32(kq_load_u32(b->qh + k / 4))), vld1q_u8(byte));
        put_indices(b->qs + k, vandq_u8(vshlq_u8(fours, vld1q_s8(down)), vdupq_n_u8(3)), index + k);
    }
    PUT_CELLS(kq_cells_iq2_s, index, 32, u->q);
    put_signs(b->signs, u->q);
}
UNPACK(iq3_xxs, 32, SCALES) {
    uint8_t signs[32];
    (void)n_blocks;
    for (int g = 0; g < 8; g += 4) {
        uint32x4_t words = vreinterpretq_u32_u8(vld1q_u8(b->gas + 4 * g));
        vst1q_u8(signs + 4 * g, signs_of(words));
        vst1q_f32(u->scale + g, scales_of_words(words, half_of(b->d), 0.5f));
    }
    PUT_CELLS(kq_cells_iq3_xxs, b->qs, 64, u->q);
    put_signs(signs, u->q);
}
UNPACK(iq3_s, 32, SCALES) {
    uint16_t index[64];
    (void)n_blocks;
    float d = half_of(b->d);
    for (int g = 0; g < 8; g++) u->scale[g] = d * (float)(1 + 2 * (b->scales[g / 2] >> 4 * (g % 2) & 15));
    for (int k = 0; k < 64; k += 16) put_indices(b->qs + k, vandq_u8(spread_bits(b->qh + k / 8), vdupq_n_u8(1)), index + k);
    PUT_CELLS(kq_cells_iq3_s, index, 64, u->q);
    put_signs(b->signs, u->q);
}

/* Grid and delta in eighths: 8 * (-1, 0, 1) + 1 or - 1. The table has 8 * (1, 2, 3), so 15 or 17 is taken off each cell. */
static inline void put_deltas(const uint8_t off[32], int8_t *q) {
    for (int k = 0; k < 32; k += 2, q += 16) vst1q_s8(q, vsubq_s8(vld1q_s8(q), vreinterpretq_s8_u8(spread_bytes(off + k))));
}
UNPACK(iq1_s, 32, SCALES) {
    static const uint8_t byte[16] = {0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3};
    static const int16_t down[8] = {0, -3, -6, -9, 0, -3, -6, -9};
    uint8_t off[32];
    uint16_t index[32];
    (void)n_blocks;
    float d = half_of(b->d);
    for (int g = 0; g < 8; g++) {
        int word = b->qh[g];
        u->scale[g] = d * (float)(2 * (word >> 12 & 7) + 1) * 0.125f;
        memset(off + 4 * g, 15 + 2 * (word >> 15), 4);
    }
    for (int g = 0; g < 8; g += 2) { /* a word has the upper three bits of four indices */
        uint8x16_t words = vqtbl1q_u8(vreinterpretq_u8_u32(vdupq_n_u32(kq_load_u32((const uint8_t *)b->qh + 2 * g))), vld1q_u8(byte));
        uint16x8_t high = vandq_u16(vshlq_u16(vreinterpretq_u16_u8(words), vld1q_s16(down)), vdupq_n_u16(7));
        vst1q_u16(index + 4 * g, vsliq_n_u16(vmovl_u8(vld1_u8(b->qs + 4 * g)), high, 8));
    }
    PUT_CELLS(kq_cells_iq1, index, 32, u->q);
    put_deltas(off, u->q);
}
UNPACK(iq1_m, 16, SCALES) {
    uint8_t off[32];
    uint16_t index[32];
    (void)n_blocks;
    float d = half_of(kq_iq1_m_scale(b));
    for (int g = 0; g < 16; g++) u->scale[g] = d * (float)(2 * (b->scales[g / 4] >> 3 * (g % 4) & 7) + 1) * 0.125f;
    for (int k = 0; k < 32; k += 16) {
        uint8x8_t pairs = vld1_u8(b->qh + k / 2), low = vand_u8(pairs, vdup_n_u8(15)), high = vshr_n_u8(pairs, 4);
        uint8x16_t four = vcombine_u8(vzip1_u8(low, high), vzip2_u8(low, high)); /* three bits of the index, one of the delta */
        put_indices(b->qs + k, vandq_u8(four, vdupq_n_u8(7)), index + k);
        vst1q_u8(off + k, vsraq_n_u8(vdupq_n_u8(15), vandq_u8(four, vdupq_n_u8(8)), 2));
    }
    PUT_CELLS(kq_cells_iq1, index, 32, u->q);
    put_deltas(off, u->q);
}

#endif
