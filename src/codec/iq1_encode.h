/* SPDX-License-Identifier: MIT */
/* What the reference encoders of the ternary lattice (iq1_s iq1_m) and the fast ones have in common. */
#ifndef KQ_CODEC_IQ1_ENCODE_H
#define KQ_CODEC_IQ1_ENCODE_H

#include "base/base.h"

/* How a sorted group is cut: the first cut1 get code 0, up to cut2 code 1, the rest code 2. iq1_s: one set of levels, plus or minus;
 * iq1_m: set 0..3 is plus/plus, plus/minus, minus/plus, minus/minus for the two cells. */
typedef struct kq_iq1_choice {
    int cut1, cut2, set;
    float scale, best;
    bool found;
} kq_iq1_choice;

/* The best choice for n = 32 (iq1_s) or 16 (iq1_m) values and weights. */
void kq_iq1_choose(int n, const float *x, const float *w, kq_iq1_choice *c);

/* A group as a block keeps it; each cell of 8 has its own set of levels (0 plus, 1 minus), in iq1_s the four are the same. */
typedef struct kq_iq1_group {
    float scale; /* not negative */
    uint8_t set[4];
    uint16_t index[4];
} kq_iq1_group;

/* The blocks of a super-block's groups, 8 or 16. top: the greatest scale; fitted: the scale of scales that fits best, of iq1_m. */
void kq_iq1_pack_s(const kq_iq1_group *groups, float top, void *block);
void kq_iq1_pack_m(const kq_iq1_group *groups, float top, float fitted, void *block);

#endif
