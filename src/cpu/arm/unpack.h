/* SPDX-License-Identifier: MIT */
/* Blocks taken apart into signed bytes, for every codec: a weight is scale[g] * q + offset[g], g its group of 16 or of 32. A run is 256 weights,
 * or what a row has left of them; it goes through L1, where up to 8 activation rows meet it.
 *
 * Plain C, in loops of 16 and 32 bytes that the compiler turns into vectors: nibbles, planes and table look-ups are what these are good at.
 * (Only the grids of iq1 to iq3 are fetched entry by entry.) What q times 2^k is folded into the scale is exact. */
#ifndef KQ_CPU_ARM_UNPACK_H
#define KQ_CPU_ARM_UNPACK_H

#include "codec/blocks.h"
#include "codec/codebooks.h"
#include "cpu/kernels.h"

typedef struct unpacked {
    _Alignas(64) int8_t q[KQ_ACT_WEIGHTS];
    float scale[16], offset[16];
} unpacked;

/* UNPACK(id, group, kind): the weights that share a scale, and what there is besides: nothing, offsets, or scales that reach 2^126. */
enum { SCALES, OFFSETS, HUGE_SCALES };
#define UNPACK(id, group, kind)                                \
    enum { group_of_##id = (group), kind_of_##id = (int)(kind) }; \
    static inline void unpack_##id(const kq_block_##id *b, size_t n_blocks, unpacked *u)

static inline void split_nibbles(const uint8_t qs[16], int minus, int8_t *q) {
    for (int j = 0; j < 16; j++) {
        q[j] = (int8_t)((qs[j] & 15) - minus);
        q[j + 16] = (int8_t)((qs[j] >> 4) - minus);
    }
}

/* Levels by nibble: the compiler does not find the table instruction. */
#include <arm_neon.h>
static inline void split_levels(const uint8_t qs[16], const int8_t levels[16], int8_t *q) {
    int8x16_t table = vld1q_s8(levels);
    uint8x16_t codes = vld1q_u8(qs);
    vst1q_s8(q, vqtbl1q_s8(table, vandq_u8(codes, vdupq_n_u8(15))));
    vst1q_s8(q + 16, vqtbl1q_s8(table, vshrq_n_u8(codes, 4)));
}

/* Bits 0..31 of a word as bit 4 of 32 bytes. */
static inline void add_fifth_bits(const uint8_t qh[4], int8_t *q) {
    static const uint8_t bit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    for (int half = 0; half < 2; half++) {
        uint8x16_t byte = vcombine_u8(vdup_n_u8(qh[2 * half]), vdup_n_u8(qh[2 * half + 1]));
        uint8x16_t set = vtstq_u8(byte, vld1q_u8(bit));
        vst1q_s8(q + 16 * half, vorrq_s8(vld1q_s8(q + 16 * half), vreinterpretq_s8_u8(vandq_u8(set, vdupq_n_u8(16)))));
    }
}

UNPACK(q4_0, 32, SCALES) {
    for (size_t i = 0; i < n_blocks; i++) {
        split_nibbles(b[i].qs, 8, u->q + 32 * i);
        u->scale[i] = kq_f16_to_f32(b[i].d);
    }
}
UNPACK(q4_1, 32, OFFSETS) {
    for (size_t i = 0; i < n_blocks; i++) {
        split_nibbles(b[i].qs, 0, u->q + 32 * i);
        u->scale[i] = kq_f16_to_f32(b[i].d);
        u->offset[i] = kq_f16_to_f32(b[i].m);
    }
}
UNPACK(q5_0, 32, SCALES) {
    for (size_t i = 0; i < n_blocks; i++) {
        int8_t *q = u->q + 32 * i;
        split_nibbles(b[i].qs, 0, q);
        add_fifth_bits(b[i].qh, q);
        for (int j = 0; j < 32; j++) q[j] = (int8_t)(q[j] - 16);
        u->scale[i] = kq_f16_to_f32(b[i].d);
    }
}
UNPACK(q5_1, 32, OFFSETS) {
    for (size_t i = 0; i < n_blocks; i++) {
        split_nibbles(b[i].qs, 0, u->q + 32 * i);
        add_fifth_bits(b[i].qh, u->q + 32 * i);
        u->scale[i] = kq_f16_to_f32(b[i].d);
        u->offset[i] = kq_f16_to_f32(b[i].m);
    }
}
UNPACK(q8_0, 32, SCALES) {
    for (size_t i = 0; i < n_blocks; i++) {
        memcpy(u->q + 32 * i, b[i].qs, 32);
        u->scale[i] = kq_f16_to_f32(b[i].d);
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
    float d = kq_f16_to_f32(b->d), dmin = kq_f16_to_f32(b->dmin);
    planes(b->qs, u->q);
    for (int g = 0; g < 16; g++) {
        u->scale[g] = d * (float)(b->scales[g] & 15);
        u->offset[g] = -(dmin * (float)(b->scales[g] >> 4));
    }
}
UNPACK(q3_k, 16, SCALES) {
    (void)n_blocks;
    float d = kq_f16_to_f32(b->d);
    planes(b->qs, u->q);
    for (int run = 0; run < 8; run++)
        for (int l = 0; l < 32; l++) u->q[32 * run + l] = (int8_t)(u->q[32 * run + l] - 4 + ((b->hmask[l] >> run & 1) << 2));
    for (int g = 0; g < 16; g++) u->scale[g] = d * (float)kq_k3_scale(b->scales, g);
}
static inline void k4_scales(const uint8_t *scales, uint16_t d16, uint16_t dmin16, unpacked *u) {
    float d = kq_f16_to_f32(d16), dmin = kq_f16_to_f32(dmin16);
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
    float d = kq_f16_to_f32(b->d);
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
        u->scale[i] = kq_f16_to_f32(b[i].d);
    }
}
UNPACK(iq4_xs, 32, SCALES) {
    (void)n_blocks;
    float d = kq_f16_to_f32(b->d);
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
    for (int g = 0; g < 8; g++) u->scale[g] = kq_f16_to_f32(b->d);
}
UNPACK(tq2_0, 32, SCALES) {
    (void)n_blocks;
    planes(b->qs, u->q);
    for (int i = 0; i < 256; i++) u->q[i] = (int8_t)(u->q[i] - 1);
    for (int g = 0; g < 8; g++) u->scale[g] = kq_f16_to_f32(b->d);
}
UNPACK(q1_0, 32, SCALES) {
    for (size_t i = 0; i < n_blocks; i++) {
        for (int k = 0; k < 128; k++) u->q[128 * i + (size_t)k] = (int8_t)(b[i].qs[k / 8] >> k % 8 & 1 ? 1 : -1);
        for (size_t g = 0; g < 4; g++) u->scale[4 * i + g] = kq_f16_to_f32(b[i].d);
    }
}
UNPACK(q2_0, 32, SCALES) {
    for (size_t i = 0; i < n_blocks; i++) {
        for (int k = 0; k < 64; k++) u->q[64 * i + (size_t)k] = (int8_t)((b[i].qs[k / 4] >> 2 * (k % 4) & 3) - 1);
        u->scale[2 * i] = u->scale[2 * i + 1] = kq_f16_to_f32(b[i].d);
    }
}

/* ---- grids ---------------------------------------------------------------------------------------------------------- */

/* Eight levels of iq2 by pairs of bits, and their signs. */
static inline void cell_iq2(unsigned grid, unsigned signs, int8_t *q) {
    for (int e = 0; e < 8; e++) {
        int level = kq_levels_iq2[grid >> 2 * e & 3];
        q[e] = (int8_t)(signs >> e & 1 ? -level : level);
    }
}
UNPACK(iq2_xxs, 32, SCALES) {
    (void)n_blocks;
    float d = kq_f16_to_f32(b->d);
    for (int g = 0; g < 8; g++) {
        const uint8_t *qs = b->qs + 8 * g;
        uint32_t word = kq_load_u32(qs + 4);
        u->scale[g] = d * (0.5f + (float)(word >> 28)) * 0.25f;
        for (int k = 0; k < 4; k++) cell_iq2(kq_grid_iq2_xxs[qs[k]], kq_signs_by_parity(word >> 7 * k & 127), u->q + 32 * g + 8 * k);
    }
}
static inline void scales_iq2(uint16_t d16, const uint8_t *scales, unpacked *u) {
    float d = kq_f16_to_f32(d16);
    for (int g = 0; g < 16; g++) u->scale[g] = d * (0.5f + (float)(scales[g / 2] >> 4 * (g % 2) & 15)) * 0.25f;
}
UNPACK(iq2_xs, 16, SCALES) {
    (void)n_blocks;
    scales_iq2(b->d, b->scales, u);
    for (int k = 0; k < 32; k++) cell_iq2(kq_grid_iq2_xs[b->qs[k] & 511], kq_signs_by_parity((unsigned)b->qs[k] >> 9), u->q + 8 * k);
}
UNPACK(iq2_s, 16, SCALES) {
    (void)n_blocks;
    scales_iq2(b->d, b->scales, u);
    for (int k = 0; k < 32; k++) cell_iq2(kq_grid_iq2_s[b->qs[k] | (b->qh[k / 4] >> 2 * (k % 4) & 3) << 8], b->signs[k], u->q + 8 * k);
}
static inline void cell_iq3(const uint8_t levels[8], unsigned grid, unsigned signs, int8_t *q) {
    for (int e = 0; e < 4; e++) {
        int level = levels[grid >> 3 * e & 7];
        q[e] = (int8_t)(signs >> e & 1 ? -level : level);
    }
}
UNPACK(iq3_xxs, 32, SCALES) {
    (void)n_blocks;
    float d = kq_f16_to_f32(b->d);
    for (int g = 0; g < 8; g++) {
        uint32_t word = kq_load_u32(b->gas + 4 * g);
        u->scale[g] = d * (0.5f + (float)(word >> 28)) * 0.5f;
        for (int k = 0; k < 8; k++) {
            unsigned signs = kq_signs_by_parity(word >> 7 * (k / 2) & 127);
            cell_iq3(kq_levels_iq3_xxs, kq_grid_iq3_xxs[b->qs[8 * g + k]], signs >> 4 * (k % 2), u->q + 32 * g + 4 * k);
        }
    }
}
UNPACK(iq3_s, 32, SCALES) {
    (void)n_blocks;
    float d = kq_f16_to_f32(b->d);
    for (int g = 0; g < 8; g++) u->scale[g] = d * (float)(1 + 2 * (b->scales[g / 2] >> 4 * (g % 2) & 15));
    for (int k = 0; k < 64; k++) {
        int index = b->qs[k] | (b->qh[k / 8] >> k % 8 & 1) << 8;
        cell_iq3(kq_levels_iq3_s, kq_grid_iq3_s[index], (unsigned)b->signs[k / 2] >> 4 * (k % 2), u->q + 4 * k);
    }
}
/* grid + delta in eighths: 8 * (-1, 0, 1) + 1 or - 1. */
static inline void cell_iq1(unsigned grid, bool minus, int8_t *q) {
    for (int e = 0; e < 8; e++) q[e] = (int8_t)(8 * ((int)(grid >> 2 * e & 3) - 1) + (minus ? -1 : 1));
}
UNPACK(iq1_s, 32, SCALES) {
    (void)n_blocks;
    float d = kq_f16_to_f32(b->d);
    for (int g = 0; g < 8; g++) {
        unsigned word = b->qh[g];
        u->scale[g] = d * (float)(2 * (word >> 12 & 7) + 1) * 0.125f;
        for (int k = 0; k < 4; k++) cell_iq1(kq_grid_iq1[b->qs[4 * g + k] | (word >> 3 * k & 7) << 8], word >> 15, u->q + 32 * g + 8 * k);
    }
}
UNPACK(iq1_m, 16, SCALES) {
    (void)n_blocks;
    float d = kq_f16_to_f32(kq_iq1_m_scale(b));
    for (int g = 0; g < 16; g++) u->scale[g] = d * (float)(2 * (b->scales[g / 4] >> 3 * (g % 4) & 7) + 1) * 0.125f;
    for (int k = 0; k < 32; k++) {
        int high = b->qh[k / 2] >> 4 * (k % 2) & 15;
        cell_iq1(kq_grid_iq1[b->qs[k] | (high & 7) << 8], high >> 3, u->q + 8 * k);
    }
}

#endif
