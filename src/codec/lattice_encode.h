/* SPDX-License-Identifier: MIT */
/* What the reference encoders of the lattice codecs (iq2_xxs iq2_xs iq2_s iq3_xxs iq3_s) and the fast ones have in common: the
 * constants in which the five differ, and how the groups of a super-block become its bytes. lattice_encode.c has the algorithm. */
#ifndef KQ_CODEC_LATTICE_ENCODE_H
#define KQ_CODEC_LATTICE_ENCODE_H

#include "codec/lattice.h"

#include <float.h>

typedef struct kq_lattice_format {
    kq_lattice_id lattice;
    int cell, bits;       /* of the lattice */
    int group, codes;     /* weights that share a scale; codes 0 .. codes - 1 */
    bool by_parity;       /* signs */
    float sigma2_factor;
    float nothing;        /* a group with no greater value is empty */
    int trials;           /* each side of the middle */
    float step;
    bool searched_start;  /* the middle comes from a search of its own (iq2_xxs), not from the greatest value */
    bool redo_all;        /* the second pass moves every cell, on the grid or not */
    bool redo_always;     /* there is a second pass even if all cells of the best trial were on the grid */
    bool redo_unsearched; /* and also when no trial was taken (iq3_s) */
} kq_lattice_format;

static const kq_lattice_format kq_lattice_iq2_xxs = {.lattice = KQ_LATTICE_IQ2_XXS, .cell = 8, .bits = 2, .group = 32, .codes = 3,
    .by_parity = true, .sigma2_factor = 1, .nothing = 1e-15f, .trials = 6, .step = 0.1f, .searched_start = true, .redo_all = true,
    .redo_always = true};
static const kq_lattice_format kq_lattice_iq2_xs = {.lattice = KQ_LATTICE_IQ2_XS, .cell = 8, .bits = 2, .group = 16, .codes = 3,
    .by_parity = true, .sigma2_factor = 1, .nothing = 1e-15f, .trials = 9, .step = 0.1f};
static const kq_lattice_format kq_lattice_iq2_s = {.lattice = KQ_LATTICE_IQ2_S, .cell = 8, .bits = 2, .group = 16, .codes = 3,
    .sigma2_factor = 2, .nothing = 1e-8f, .trials = 9, .step = 0.1f};
static const kq_lattice_format kq_lattice_iq3_xxs = {.lattice = KQ_LATTICE_IQ3_XXS, .cell = 4, .bits = 3, .group = 32, .codes = 8,
    .by_parity = true, .sigma2_factor = 2, .nothing = 1e-8f, .trials = 15, .step = 0.2f};
static const kq_lattice_format kq_lattice_iq3_s = {.lattice = KQ_LATTICE_IQ3_S, .cell = 4, .bits = 3, .group = 32, .codes = 8,
    .sigma2_factor = 2, .nothing = FLT_TRUE_MIN, .trials = 9, .step = 0.2f, .redo_all = true, .redo_unsearched = true};

/* A group as a block keeps it. */
typedef struct kq_lattice_group {
    float scale; /* not negative */
    bool empty;  /* scale 0, no signs, index 0 */
    uint8_t signs[4];
    uint16_t index[8]; /* of each cell */
} kq_lattice_group;

/* The block of a super-block's groups, 8 of 32 or 16 of 16. top: the greatest scale. */
typedef void kq_lattice_pack_fn(const kq_lattice_group *groups, float top, void *block);
kq_lattice_pack_fn kq_lattice_pack_iq2_xxs, kq_lattice_pack_iq2_xs, kq_lattice_pack_iq2_s, kq_lattice_pack_iq3_xxs, kq_lattice_pack_iq3_s;

#endif
