/* SPDX-License-Identifier: MIT */
/* Searching a codebook's grid: which point has these codes, and if none, which points are near.
 *
 * The codes of a cell, packed as the grid packs them (codebooks.h), make a key. A key that is a grid point's has its index; every
 * other key has a list of points, nearest first: all points at the two (or one, or three) smallest distances there are from it. The
 * lists are constants that follow from the grids, but 1.4 MB of them; so they are worked out when an encoder first needs a grid, in
 * static memory that nothing touches before. */
#ifndef KQ_CODEC_LATTICE_H
#define KQ_CODEC_LATTICE_H

#include "base/base.h"

enum {
    KQ_NEAR_MAX = 304, /* the longest list has 292 */
    KQ_NEAR_SLACK = 16 /* entries after the last list that may be read as part of it */
};

typedef struct kq_lattice {
    const uint16_t *grid; /* codebooks.h */
    int points, cell, bits, base, shells;
    uint16_t *near;       /* lists of points as keys, each led by its length */
    uint32_t near_size;   /* of all of them */
    int32_t *find;        /* key: the index of the point, or -1 - the offset of a list in near; of no meaning where a code is no code */
} kq_lattice;

typedef enum kq_lattice_id {
    KQ_LATTICE_IQ2_XXS, KQ_LATTICE_IQ2_XS, KQ_LATTICE_IQ2_S, KQ_LATTICE_IQ3_XXS, KQ_LATTICE_IQ3_S, KQ_LATTICE_IQ1, KQ_LATTICES
} kq_lattice_id;

/* Never NULL. Any thread may call it; the first one to need a grid builds it, others wait. */
const kq_lattice *kq_lattice_get(kq_lattice_id id);

static inline int kq_lattice_code(const kq_lattice *lattice, unsigned key, int e) {
    return (int)(key >> lattice->bits * e & ((1u << lattice->bits) - 1));
}

static inline unsigned kq_lattice_key(const kq_lattice *lattice, const uint8_t *codes) {
    unsigned key = 0;
    for (int e = 0; e < lattice->cell; e++) key |= (unsigned)codes[e] << lattice->bits * e;
    return key;
}

#endif
