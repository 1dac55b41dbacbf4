/* SPDX-License-Identifier: MIT */
/* Builds the search lists of the grids; lattice.h says what they are. */
#include "codec/lattice.h"
#include "codec/codebooks.h"

#include <pthread.h>

/* Sizes of all lists of a grid: entries and one length for each key off the grid. A build that meets other numbers has a wrong
 * codebook. */
enum {
    IQ2_XXS_NEAR = 113157 + 6305,
    IQ2_XS_NEAR = 181721 + 6049,
    IQ2_S_NEAR = 44716 + 5537,
    IQ3_XXS_NEAR = 18985 + 3840,
    IQ3_S_NEAR = 24733 + 3584,
    IQ1_NEAR = 327721 + 4513
};
#define KQ_NEAR(grid, size) static uint16_t near_##grid[(size) + KQ_NEAR_SLACK]
KQ_NEAR(iq2_xxs, IQ2_XXS_NEAR);
KQ_NEAR(iq2_xs, IQ2_XS_NEAR);
KQ_NEAR(iq2_s, IQ2_S_NEAR);
KQ_NEAR(iq3_xxs, IQ3_XXS_NEAR);
KQ_NEAR(iq3_s, IQ3_S_NEAR);
KQ_NEAR(iq1, IQ1_NEAR);
static int32_t find_iq2_xxs[65536], find_iq2_xs[65536], find_iq2_s[65536], find_iq3_xxs[4096], find_iq3_s[4096], find_iq1[65536];

static kq_lattice lattices[KQ_LATTICES] = {
    [KQ_LATTICE_IQ2_XXS] = {kq_grid_iq2_xxs, 256, 8, 2, 3, 2, near_iq2_xxs, IQ2_XXS_NEAR, find_iq2_xxs},
    [KQ_LATTICE_IQ2_XS] = {kq_grid_iq2_xs, 512, 8, 2, 3, 2, near_iq2_xs, IQ2_XS_NEAR, find_iq2_xs},
    [KQ_LATTICE_IQ2_S] = {kq_grid_iq2_s, 1024, 8, 2, 3, 1, near_iq2_s, IQ2_S_NEAR, find_iq2_s},
    [KQ_LATTICE_IQ3_XXS] = {kq_grid_iq3_xxs, 256, 4, 3, 8, 2, near_iq3_xxs, IQ3_XXS_NEAR, find_iq3_xxs},
    [KQ_LATTICE_IQ3_S] = {kq_grid_iq3_s, 512, 4, 3, 8, 3, near_iq3_s, IQ3_S_NEAR, find_iq3_s},
    [KQ_LATTICE_IQ1] = {kq_grid_iq1, 2048, 8, 2, 3, 3, near_iq1, IQ1_NEAR, find_iq1},
};

enum { POINTS_MAX = 2048, DISTANCES = 4 * 7 * 7 + 1 }; /* 8 * 2 * 2 is less */

/* Appends the list of a key: all points at the `shells` smallest squared distances, by distance, then by index. */
static uint32_t list_near(const kq_lattice *lattice, const uint8_t *codes, uint8_t (*points)[8], uint32_t at) {
    uint8_t distance[POINTS_MAX];
    bool present[DISTANCES] = {false};
    for (int i = 0; i < lattice->points; i++) {
        int sum = 0;
        for (int e = 0; e < 8; e++) {
            int difference = points[i][e] - codes[e];
            sum += difference * difference;
        }
        distance[i] = (uint8_t)sum;
        present[sum] = true;
    }
    uint32_t head = at++;
    for (int d = 0, shells = 0; d < DISTANCES && shells < lattice->shells; d++) {
        if (!present[d]) continue;
        shells++;
        for (int i = 0; i < lattice->points; i++) {
            if (distance[i] != d) continue;
            assert(at < lattice->near_size);
            lattice->near[at++] = lattice->grid[i];
        }
    }
    assert(at - head - 1 <= KQ_NEAR_MAX);
    lattice->near[head] = (uint16_t)(at - head - 1);
    return at;
}

/* The next key above that has no code beyond the last. */
static unsigned next_key(const kq_lattice *lattice, unsigned key) {
    for (int e = 0; e < lattice->cell; e++) {
        if (kq_lattice_code(lattice, key, e) + 1 < lattice->base) return key + (1u << lattice->bits * e);
        key &= ~(((1u << lattice->bits) - 1) << lattice->bits * e);
    }
    return 0; /* that was the last */
}

static void build(kq_lattice *lattice) {
    uint8_t points[POINTS_MAX][8] = {{0}}; /* codes beyond the cell are 0 in both, and count nothing */
    unsigned key = 0;
    do {
        lattice->find[key] = -1;
    } while ((key = next_key(lattice, key)));
    for (int i = 0; i < lattice->points; i++) {
        for (int e = 0; e < lattice->cell; e++) points[i][e] = (uint8_t)kq_lattice_code(lattice, lattice->grid[i], e);
        lattice->find[lattice->grid[i]] = i;
    }
    uint32_t at = 0;
    do {
        if (lattice->find[key] >= 0) continue;
        uint8_t codes[8] = {0};
        for (int e = 0; e < lattice->cell; e++) codes[e] = (uint8_t)kq_lattice_code(lattice, key, e);
        lattice->find[key] = -1 - (int32_t)at;
        at = list_near(lattice, codes, points, at);
    } while ((key = next_key(lattice, key)));
    assert(at == lattice->near_size);
}

/* pthread_once takes no argument: one function and one flag a grid. */
#define KQ_ONCE(ID)                                               \
    static pthread_once_t once_##ID = PTHREAD_ONCE_INIT;          \
    static void build_##ID(void) { build(&lattices[KQ_LATTICE_##ID]); }
KQ_ONCE(IQ2_XXS)
KQ_ONCE(IQ2_XS)
KQ_ONCE(IQ2_S)
KQ_ONCE(IQ3_XXS)
KQ_ONCE(IQ3_S)
KQ_ONCE(IQ1)

const kq_lattice *kq_lattice_get(kq_lattice_id id) {
    switch (id) {
    case KQ_LATTICE_IQ2_XXS: pthread_once(&once_IQ2_XXS, build_IQ2_XXS); break;
    case KQ_LATTICE_IQ2_XS: pthread_once(&once_IQ2_XS, build_IQ2_XS); break;
    case KQ_LATTICE_IQ2_S: pthread_once(&once_IQ2_S, build_IQ2_S); break;
    case KQ_LATTICE_IQ3_XXS: pthread_once(&once_IQ3_XXS, build_IQ3_XXS); break;
    case KQ_LATTICE_IQ3_S: pthread_once(&once_IQ3_S, build_IQ3_S); break;
    default: pthread_once(&once_IQ1, build_IQ1); break;
    }
    return &lattices[id];
}
