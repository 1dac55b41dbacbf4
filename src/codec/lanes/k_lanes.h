/* SPDX-License-Identifier: MIT */
/* What the encoders of the K family share in lanes: a super-block of 256 in each. */
#ifndef KQ_CODEC_K_LANES_H
#define KQ_CODEC_K_LANES_H

#include "codec/lanes/search_lanes.h"

/* w = importances evened out by sigma2 = factor * the super-block's mean square; sums[g] is the weight of group g. */
LANE void weigh_groups(const batch *b, const vf x[256], float factor, int size, vf w[256], vf *sums) {
    vf sigma2 = v_set(factor) * v_sum_of_squares(x, 256) / v_set(256);
    lanes_in(b->importances, 256, w);
    v_weigh(w, sigma2, x, 256, w);
    for (int g = 0; g < 256 / size; g++) {
        vf sum = v_zero();
        for (int i = 0; i < size; i++) sum += w[g * size + i];
        sums[g] = sum;
    }
}

/* The low 4 bits of 256 codes as q4_k holds them: 128 bytes at `at`. */
LANE void put_nibbles(const batch *b, const vi codes[256], size_t at) {
    for (int i = 0; i < 128; i += 16) {
        vi words[4];
        for (int k = 0; k < 4; k++) {
            const vi *c = codes + 64 * (i / 32) + i % 32 + 4 * k;
            words[k] = v_int(0);
            for (int j = 0; j < 4; j++) words[k] |= ((c[j] & 15) | (c[j + 32] & 15) << 4) << 8 * j;
        }
        lanes_out(b->out, at + (size_t)i, words);
    }
}

/* One bit of 256 codes, bit i/32 of byte i%32: 32 bytes at `at`. */
LANE void put_bits(const batch *b, const vi codes[256], int bit, size_t at) {
    for (int i = 0; i < 32; i += 16) {
        vi words[4];
        for (int k = 0; k < 4; k++) {
            words[k] = v_int(0);
            for (int j = 0; j < 4; j++) {
                for (int p = 0; p < 8; p++) words[k] |= (codes[32 * p + i + 4 * k + j] >> bit & 1) << (8 * j + p);
            }
        }
        lanes_out(b->out, at + (size_t)i, words);
    }
}

/* Bits `from` and `from + 1` of 256 codes into four planes: 64 bytes at `at`. */
LANE void put_planes(const batch *b, const vi codes[256], int from, size_t at) {
    for (int i = 0; i < 64; i += 16) {
        vi words[4];
        for (int k = 0; k < 4; k++) {
            const vi *c = codes + 128 * (i / 32) + i % 32 + 4 * k;
            words[k] = v_int(0);
            for (int j = 0; j < 4; j++) {
                for (int p = 0; p < 4; p++) words[k] |= (c[j + 32 * p] >> from & 3) << (8 * j + 2 * p);
            }
        }
        lanes_out(b->out, at + (size_t)i, words);
    }
}

#endif
