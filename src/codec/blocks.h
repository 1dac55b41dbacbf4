/* SPDX-License-Identifier: MIT */
/* The block formats: one struct a codec, drawn. Plain C that nvcc compiles too; includes nothing of ours.
 *
 * How to read the drawings
 *   - Offsets are bytes from the start of the block; integers are little-endian; there is no padding anywhere.
 *   - A byte is drawn with bit 7 at the left: | 7 6 5 4 | 3 2 1 0 |. "i" is the number of a weight in its block, "c" its code.
 *   - d is a scale and m a minimum, binary16 unless said; a weight's value is given in the order in which it is evaluated:
 *     every operation rounds to binary32 once, and no product is fused with a sum.
 *   - A super-block is 256 weights; a group is the run of 16 or 32 weights in it that share a scale; a cell is the run of 8
 *     (iq3: 4) weights that one index into a codebook (codebooks.h) stands for.
 *
 * On the host the structs are packed, so a block may lie at any address. On a device they have the alignment of their
 * members (1, 2, or 4 for f32), which tensors in device memory keep: packed members would be read byte by byte there. */
#ifndef KQ_CODEC_BLOCKS_H
#define KQ_CODEC_BLOCKS_H

#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define KQ_PACKED
#define KQ_BLOCK_FN static __host__ __device__ inline
#else
#define KQ_PACKED __attribute__((packed))
#define KQ_BLOCK_FN static inline
#endif
#ifdef __cplusplus
#define KQ_STATIC_ASSERT(what, text) static_assert(what, text)
#else
#define KQ_STATIC_ASSERT(what, text) _Static_assert(what, text)
#endif

/* The weights that a block holds, counted from the fields that hold their codes. The end of this file compares them, and the
 * sizes of the structs, with codecs.def. */
#define KQ_HOLDS(id, count) enum { kq_holds_##id = (count) }
#define KQ_FIELD_BITS(id, field) (8 * (int)sizeof(((kq_block_##id *)0)->field))

/* ---- floats: a block of one --------------------------------------------------------------------------------------- */

typedef struct KQ_PACKED kq_block_f32 { float value; } kq_block_f32;
typedef struct KQ_PACKED kq_block_f16 { uint16_t bits; } kq_block_f16;   /* binary16 */
typedef struct KQ_PACKED kq_block_bf16 { uint16_t bits; } kq_block_bf16; /* the upper half of a binary32 */
KQ_HOLDS(f32, KQ_FIELD_BITS(f32, value) / 32);
KQ_HOLDS(f16, KQ_FIELD_BITS(f16, bits) / 16);
KQ_HOLDS(bf16, KQ_FIELD_BITS(bf16, bits) / 16);

/* ---- 32 weights and one scale ------------------------------------------------------------------------------------- */

/* Split nibbles, here and wherever "split nibbles" is said: byte j holds weights j and j + 16 of 32.
 *
 *     qs[j]   |  c of j+16  |   c of j    |      j = 0..15
 *             | 7  6  5  4  | 3  2  1  0  |
 */

/* q4_0, 4.5 bits a weight: (c - 8) * d
 *      0 d     2
 *      2 qs   16   split nibbles */
typedef struct KQ_PACKED kq_block_q4_0 {
    uint16_t d;
    uint8_t qs[16];
} kq_block_q4_0;
KQ_HOLDS(q4_0, KQ_FIELD_BITS(q4_0, qs) / 4);

/* q4_1, 5 bits: c * d + m
 *      0 d     2
 *      2 m     2   the block's least weight
 *      4 qs   16   split nibbles */
typedef struct KQ_PACKED kq_block_q4_1 {
    uint16_t d, m;
    uint8_t qs[16];
} kq_block_q4_1;
KQ_HOLDS(q4_1, KQ_FIELD_BITS(q4_1, qs) / 4);

/* q5_0, 5.5 bits: (c - 16) * d
 *      0 d     2
 *      2 qh    4   32 bits, little-endian: bit i is bit 4 of the code of weight i
 *      6 qs   16   split nibbles: bits 0..3 */
typedef struct KQ_PACKED kq_block_q5_0 {
    uint16_t d;
    uint8_t qh[4];
    uint8_t qs[16];
} kq_block_q5_0;
KQ_HOLDS(q5_0, KQ_FIELD_BITS(q5_0, qs) / 4);

/* q5_1, 6 bits: c * d + m
 *      0 d     2
 *      2 m     2
 *      4 qh    4   as q5_0
 *      8 qs   16   split nibbles: bits 0..3 */
typedef struct KQ_PACKED kq_block_q5_1 {
    uint16_t d, m;
    uint8_t qh[4];
    uint8_t qs[16];
} kq_block_q5_1;
KQ_HOLDS(q5_1, KQ_FIELD_BITS(q5_1, qs) / 4);

/* q8_0, 8.5 bits: c * d
 *      0 d     2
 *      2 qs   32   signed bytes */
typedef struct KQ_PACKED kq_block_q8_0 {
    uint16_t d;
    int8_t qs[32];
} kq_block_q8_0;
KQ_HOLDS(q8_0, KQ_FIELD_BITS(q8_0, qs) / 8);

/* ---- K: super-blocks of 256, whose groups have scales of their own ------------------------------------------------- */

/* Four planes, here and wherever "four planes" is said: 64 bytes hold 2 bits of each of 256 weights. Each half (128 weights,
 * 32 bytes) is four runs of 32 weights, one above the other in the same bytes:
 *
 *     qs[32h + l]   | i = 128h+96+l | 128h+64+l | 128h+32+l | 128h+l |      h = 0, 1; l = 0..31
 *                   |     7  6      |   5  4    |   3  2    |  1  0  |
 */

/* q2_k, 2.625 bits: (d * sc) * c - (dmin * mn), sc and mn of the group of 16
 *      0 scales   16   one byte a group:  | mn: 7 6 5 4 | sc: 3 2 1 0 |
 *     16 qs       64   four planes
 *     80 d         2
 *     82 dmin      2 */
typedef struct KQ_PACKED kq_block_q2_k {
    uint8_t scales[16];
    uint8_t qs[64];
    uint16_t d, dmin;
} kq_block_q2_k;
KQ_HOLDS(q2_k, KQ_FIELD_BITS(q2_k, qs) / 2);

/* q3_k, 3.4375 bits: (d * (sc - 32)) * (c - 4), sc of the group of 16
 *      0 hmask   32   bit i/32 of byte i%32 is bit 2 of c
 *     32 qs      64   four planes: bits 0 and 1 of c
 *     96 scales  12   16 scales of 6 bits:
 *                      bytes 0..7    j  | low 4 of sc[j+8]            | low 4 of sc[j]              |
 *                      bytes 8..11  8+j | high 2 of sc[j+12] | [j+8]  | high 2 of sc[j+4] | sc[j]   |
 *                                       |      7  6          |  5  4  |      3  2         |  1  0   |
 *    108 d        2 */
typedef struct KQ_PACKED kq_block_q3_k {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    uint16_t d;
} kq_block_q3_k;
KQ_HOLDS(q3_k, KQ_FIELD_BITS(q3_k, qs) / 2);

/* q4_k, 4.5 bits: (d * sc) * c - (dmin * mn), sc and mn of the group of 32
 *      0 d         2
 *      2 dmin      2
 *      4 scales   12   8 scales and 8 minima of 6 bits:
 *                       bytes 0..3    j  | high 2 of sc[j+4] | sc[j], 6 bits            |
 *                       bytes 4..7   4+j | high 2 of mn[j+4] | mn[j], 6 bits            |
 *                       bytes 8..11  8+j | low 4 of mn[j+4]    | low 4 of sc[j+4]       |
 *     16 qs      128   byte 32p + l:  | c of i = 64p+32+l | c of i = 64p+l |     p = 0..3; l = 0..31
 *                                     |    7  6  5  4     |   3  2  1  0   | */
typedef struct KQ_PACKED kq_block_q4_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qs[128];
} kq_block_q4_k;
KQ_HOLDS(q4_k, KQ_FIELD_BITS(q4_k, qs) / 4);

/* q5_k, 5.5 bits: value and scales as q4_k
 *      0 d         2
 *      2 dmin      2
 *      4 scales   12   as q4_k
 *     16 qh       32   bit i/32 of byte i%32 is bit 4 of c
 *     48 qs      128   as q4_k: bits 0..3 of c */
typedef struct KQ_PACKED kq_block_q5_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
} kq_block_q5_k;
KQ_HOLDS(q5_k, KQ_FIELD_BITS(q5_k, qs) / 4);

/* q6_k, 6.5625 bits: (d * sc) * (c - 32), sc of the group of 16
 *      0 ql      128   byte 64h + 32p + l:  | low 4 of i = 128h+64+32p+l | low 4 of i = 128h+32p+l |    h, p = 0, 1; l = 0..31
 *    128 qh       64   four planes: bits 4 and 5 of c
 *    192 scales   16   signed bytes
 *    208 d         2 */
typedef struct KQ_PACKED kq_block_q6_k {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint16_t d;
} kq_block_q6_k;
KQ_HOLDS(q6_k, KQ_FIELD_BITS(q6_k, ql) / 4);

/* ---- iq2 and iq3: super-blocks of cells, each an index into a codebook and eight signs ------------------------------ */

/* Signs. Eight sign bits, bit e set = weight e of the run of 8 is negative. Two ways to store them:
 *   by parity   7 bits; bit 7 is the exclusive or of the others, so the number of negative weights is always even
 *   explicit    all 8 bits
 * sign below is +1 or -1; grid is the codebook's entry. */

/* iq2_xxs, 2.0625 bits: ((d * (0.5 + s) * 0.25) * grid) * sign
 *      0 d     2
 *      2 qs   64   8 bytes a group of 32: 4 indices, one a cell of 8, then a 32-bit word:
 *                   | s: 31..28 | signs of cell 3: 27..21 | cell 2: 20..14 | cell 1: 13..7 | cell 0: 6..0 |   by parity */
typedef struct KQ_PACKED kq_block_iq2_xxs {
    uint16_t d;
    uint8_t qs[64];
} kq_block_iq2_xxs;
KQ_HOLDS(iq2_xxs, KQ_FIELD_BITS(iq2_xxs, qs) / 64 * 32);

/* iq2_xs, 2.3125 bits: value as iq2_xxs, s of the group of 16
 *      0 d        2
 *      2 qs      64   one 16-bit word a cell of 8:  | signs by parity: 15..9 | index: 8..0 |
 *     66 scales   8   | s of group 2j+1: 7 6 5 4 | s of group 2j: 3 2 1 0 | */
typedef struct KQ_PACKED kq_block_iq2_xs {
    uint16_t d;
    uint16_t qs[32];
    uint8_t scales[8];
} kq_block_iq2_xs;
KQ_HOLDS(iq2_xs, KQ_FIELD_BITS(iq2_xs, qs) / 16 * 8);

/* iq2_s, 2.5625 bits: value as iq2_xxs, s of the group of 16
 *      0 d        2
 *      2 qs      32   one byte a cell of 8: bits 0..7 of its index
 *     34 signs   32   one byte a cell, explicit
 *     66 qh       8   bits 8 and 9 of the indices of cells 4j..4j+3:  | 4j+3: 7 6 | 4j+2: 5 4 | 4j+1: 3 2 | 4j: 1 0 |
 *     74 scales   8   as iq2_xs */
typedef struct KQ_PACKED kq_block_iq2_s {
    uint16_t d;
    uint8_t qs[32];
    uint8_t signs[32];
    uint8_t qh[8];
    uint8_t scales[8];
} kq_block_iq2_s;
KQ_HOLDS(iq2_s, KQ_FIELD_BITS(iq2_s, signs));

/* iq3_xxs, 3.0625 bits: ((d * (0.5 + s) * 0.5) * grid) * sign
 *      0 d      2
 *      2 qs    64   one byte a cell of 4: its index
 *     66 gas   32   one 32-bit word a group of 32, as iq2_xxs's: s and, by parity, the signs of four runs of 8 */
typedef struct KQ_PACKED kq_block_iq3_xxs {
    uint16_t d;
    uint8_t qs[64];
    uint8_t gas[32]; /* groups: scale and signs */
} kq_block_iq3_xxs;
KQ_HOLDS(iq3_xxs, KQ_FIELD_BITS(iq3_xxs, qs) / 8 * 4);

/* iq3_s, 3.4375 bits: ((d * (1 + 2s)) * grid) * sign, s of the group of 32
 *      0 d         2
 *      2 qs       64   one byte a cell of 4: bits 0..7 of its index
 *     66 qh        8   bit j%8 of byte j/8 is bit 8 of the index of cell j
 *     74 signs    32   one byte a run of 8, explicit
 *    106 scales    4   | s of group 2j+1: 7 6 5 4 | s of group 2j: 3 2 1 0 | */
typedef struct KQ_PACKED kq_block_iq3_s {
    uint16_t d;
    uint8_t qs[64];
    uint8_t qh[8];
    uint8_t signs[32];
    uint8_t scales[4];
} kq_block_iq3_s;
KQ_HOLDS(iq3_s, KQ_FIELD_BITS(iq3_s, signs));

/* ---- iq1: super-blocks of cells without signs, moved up or down by 1/8 ----------------------------------------------- */

/* iq1_s, 1.5625 bits: (d * (2s + 1)) * (grid + delta), grid in {-1, 0, 1}, delta = +0.125 or -0.125; s and delta of the group of 32
 *      0 d     2
 *      2 qs   32   one byte a cell of 8: bits 0..7 of its index
 *     34 qh   16   one 16-bit word a group:
 *                   | minus delta: 15 | s: 14..12 | bits 8..10 of the index of cell 3: 11..9 | 2: 8..6 | 1: 5..3 | 0: 2..0 | */
typedef struct KQ_PACKED kq_block_iq1_s {
    uint16_t d;
    uint8_t qs[32];
    uint16_t qh[8];
} kq_block_iq1_s;
KQ_HOLDS(iq1_s, KQ_FIELD_BITS(iq1_s, qs));

/* iq1_m, 1.75 bits: value as iq1_s, but s of the group of 16 and delta of the cell
 *      0 qs       32   as iq1_s
 *     32 qh       16   one byte a group (two cells):
 *                       | cell 1: minus delta: 7 | index bits 8..10: 6 5 4 | cell 0: minus delta: 3 | index bits 8..10: 2 1 0 |
 *     48 scales    8   four 16-bit words, word j:
 *                       | nibble j of d: 15..12 | s of group 4j+3: 11..9 | 4j+2: 8..6 | 4j+1: 5..3 | 4j: 2..0 |
 *                      so d, a binary16, is spread over the top nibbles of the four */
typedef struct KQ_PACKED kq_block_iq1_m {
    uint8_t qs[32];
    uint8_t qh[16];
    uint16_t scales[4];
} kq_block_iq1_m;
KQ_HOLDS(iq1_m, KQ_FIELD_BITS(iq1_m, qs));

/* ---- iq4: codes that name 16 unevenly spaced levels (codebooks.h, kq_levels_iq4) ------------------------------------- */

/* iq4_nl, 4.5 bits: d * level[c]
 *      0 d     2
 *      2 qs   16   split nibbles */
typedef struct KQ_PACKED kq_block_iq4_nl {
    uint16_t d;
    uint8_t qs[16];
} kq_block_iq4_nl;
KQ_HOLDS(iq4_nl, KQ_FIELD_BITS(iq4_nl, qs) / 4);

/* iq4_xs, 4.25 bits: (d * (s - 32)) * level[c], s of the group of 32, 6 bits
 *      0 d           2
 *      2 scales_h    2   16-bit word: bits 2g, 2g+1 are bits 4, 5 of s of group g
 *      4 scales_l    4   | low 4 of s of group 2j+1: 7 6 5 4 | of group 2j: 3 2 1 0 |
 *      8 qs        128   16 bytes a group, split nibbles */
typedef struct KQ_PACKED kq_block_iq4_xs {
    uint16_t d;
    uint16_t scales_h;
    uint8_t scales_l[4];
    uint8_t qs[128];
} kq_block_iq4_xs;
KQ_HOLDS(iq4_xs, KQ_FIELD_BITS(iq4_xs, qs) / 4);

/* ---- ternary: (c - 1) * d, c in {0, 1, 2} ------------------------------------------------------------------------------- */

/* tq1_0, 1.6875 bits: five trits a byte
 *      0 qs   48   bytes m = 0..31: weights m + 32n, n = 0..4; bytes 32 + m, m = 0..15: weights 160 + m + 16n
 *     48 qh    4   byte j: weights 240 + j + 4n, n = 0..3 (a fifth trit, unused, is 0)
 *     52 d     2
 * A byte y is not the number v = sum of c_n 3^(4-n) (n = 0 most significant) but v as a fraction of 3^5 in 256ths, rounded
 * up: y = ceil(256 v / 243). Then multiplying y by 3 pushes out the first trit above bit 8, and the low 8 bits go on with
 * the rest: trit n is (((y * 3^n) mod 256) * 3) >> 8, without a division. */
typedef struct KQ_PACKED kq_block_tq1_0 {
    uint8_t qs[48];
    uint8_t qh[4];
    uint16_t d;
} kq_block_tq1_0;
KQ_HOLDS(tq1_0, KQ_FIELD_BITS(tq1_0, qs) / 8 * 5 + KQ_FIELD_BITS(tq1_0, qh) / 8 * 4);

/* tq2_0, 2.0625 bits (the code 3 decodes to 2d)
 *      0 qs   64   four planes
 *     64 d     2 */
typedef struct KQ_PACKED kq_block_tq2_0 {
    uint8_t qs[64];
    uint16_t d;
} kq_block_tq2_0;
KQ_HOLDS(tq2_0, KQ_FIELD_BITS(tq2_0, qs) / 2);

/* ---- 4-bit floats: codes are E2M1, doubled to integers (codebooks.h, kq_levels_e2m1), so the scale below is halved ------- */

/* mxfp4, 4.25 bits: level[c] * d
 *      0 e     1   E8M0: d = 2^(e - 128), a power of two
 *      1 qs   16   split nibbles */
typedef struct KQ_PACKED kq_block_mxfp4 {
    uint8_t e;
    uint8_t qs[16];
} kq_block_mxfp4;
KQ_HOLDS(mxfp4, KQ_FIELD_BITS(mxfp4, qs) / 4);

/* nvfp4, 4.5 bits: level[c] * d, d of the group of 16
 *      0 scales   4   UE4M3, | -: 7 | exponent: 6 5 4 3 | mantissa: 2 1 0 |; d is half of its value; 0x7f means 0
 *      4 qs      32   8 bytes a group, byte 8g + j:  | c of i = 16g+8+j | c of i = 16g+j | */
typedef struct KQ_PACKED kq_block_nvfp4 {
    uint8_t scales[4];
    uint8_t qs[32];
} kq_block_nvfp4;
KQ_HOLDS(nvfp4, KQ_FIELD_BITS(nvfp4, qs) / 4);

/* ---- one and two bits --------------------------------------------------------------------------------------------------- */

/* q1_0, 1.125 bits: c = 1 is d, c = 0 is -d
 *      0 d     2
 *      2 qs   16   bit i%8 of byte i/8 */
typedef struct KQ_PACKED kq_block_q1_0 {
    uint16_t d;
    uint8_t qs[16];
} kq_block_q1_0;
KQ_HOLDS(q1_0, KQ_FIELD_BITS(q1_0, qs));

/* q2_0, 2.25 bits: (c - 1) * d
 *      0 d     2
 *      2 qs   16   | i = 4j+3: 7 6 | 4j+2: 5 4 | 4j+1: 3 2 | 4j: 1 0 | */
typedef struct KQ_PACKED kq_block_q2_0 {
    uint16_t d;
    uint8_t qs[16];
} kq_block_q2_0;
KQ_HOLDS(q2_0, KQ_FIELD_BITS(q2_0, qs) / 2);

/* ---- every row of codecs.def against its struct --------------------------------------------------------------------------- */

#define KQ_CODEC(id, LABEL, type, weights, bytes)                                                            \
    KQ_STATIC_ASSERT(sizeof(kq_block_##id) == (bytes), "codecs.def: bytes of " #id " differ from its struct"); \
    KQ_STATIC_ASSERT(kq_holds_##id == (weights), "codecs.def: weights of " #id " differ from its struct");
#include "codec/codecs.def"

/* ---- the few puzzles in them ------------------------------------------------------------------------------------------------ */

/* Scale and minimum of group j (0..7) in the 12 bytes of q4_k and q5_k. */
KQ_BLOCK_FN void kq_k4_scale(const uint8_t *scales, int j, int *scale, int *min) {
    if (j < 4) {
        *scale = scales[j] & 63;
        *min = scales[j + 4] & 63;
    } else {
        *scale = (scales[j + 4] & 15) | (scales[j - 4] >> 6) << 4;
        *min = scales[j + 4] >> 4 | (scales[j] >> 6) << 4;
    }
}

/* Scale of group j (0..15) in the 12 bytes of q3_k, -32..31. */
KQ_BLOCK_FN int kq_k3_scale(const uint8_t *scales, int j) {
    int low = scales[j % 8] >> 4 * (j / 8) & 15, high = scales[8 + j % 4] >> 2 * (j / 4) & 3;
    return (low | high << 4) - 32;
}

/* The eight signs of seven bits: bit 7 makes their number even. */
KQ_BLOCK_FN unsigned kq_signs_by_parity(unsigned seven) {
    unsigned p = seven ^ seven >> 4;
    return seven | ((p ^ p >> 1 ^ p >> 2 ^ p >> 3) & 1) << 7;
}

/* The binary16 d of iq1_m, gathered from its four nibbles. */
KQ_BLOCK_FN uint16_t kq_iq1_m_scale(const kq_block_iq1_m *b) {
    return (uint16_t)(b->scales[0] >> 12 | (b->scales[1] >> 12) << 4 | (b->scales[2] >> 12) << 8 | (b->scales[3] >> 12) << 12);
}

/* The d of mxfp4: 2^(e - 128), which is subnormal for e = 0 and 1. */
KQ_BLOCK_FN float kq_e8m0_half(uint8_t e) {
    uint32_t bits = e < 2 ? UINT32_C(0x00200000) << e : (uint32_t)(e - 1) << 23;
    float d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

/* The d of a group of nvfp4: half the UE4M3 value; bit 7 is not looked at. */
KQ_BLOCK_FN float kq_ue4m3_half(uint8_t u) {
    int exponent = u >> 3 & 15, mantissa = u & 7;
    if (u == 0x7f) return 0;
    if (exponent == 0) return (float)mantissa * (1.0f / 1024);
    return (float)((8 + mantissa) << exponent) * (1.0f / 2048);
}

#endif
