/* SPDX-License-Identifier: MIT */
/* Encoders of the ternary lattice (iq1_s iq1_m). A group's weights are sorted, so that "which get code 0, which 1, which 2" is
 * two cuts of the sorted row; every pair of cuts is tried, with the levels moved up or down by 1/8, on prefix sums; then
 * cells that are no point of the grid snap to a near one. */
#include "codec/blocks.h"
#include "codec/codec.h"
#include "codec/lattice.h"
#include "codec/search.h"

#include <float.h>

/* The levels of the codes 0, 1, 2, moved up (plus) or down (minus). */
static const float levels[2][3] = {{-0.875f, 0.125f, 1.125f}, {-1.125f, -0.125f, 0.875f}};
enum { PLUS, MINUS };

/* A group while it is searched. Each cell of 8 has its own set of levels; in iq1_s the four are always the same. */
typedef struct group {
    int n; /* 32 or 16 */
    const float *x;
    float w[32];
    uint8_t order[32]; /* elements by rising x; equal ones stay in order */
    uint8_t codes[32];
    uint8_t set[4];
    int index[4];
    float scale;
} group;

static void sort(group *g) {
    for (int i = 0; i < g->n; i++) {
        int at = i;
        for (; at > 0 && g->x[g->order[at - 1]] > g->x[i]; at--) g->order[at] = g->order[at - 1];
        g->order[at] = (uint8_t)i;
    }
}

/* The two cuts and the sets of the best scale so far. */
typedef struct choice {
    int cut1, cut2, set;
    float scale, best;
    bool found;
} choice;

static void try_fit(choice *c, float a, float b, int cut1, int cut2, int set) {
    if (!(b > 0 && a * a > c->best * b)) return; /* best * b may be -infinity at first */
    float scale = a / b;
    *c = (choice){cut1, cut2, set, scale, scale * a, true};
}

static choice search_s(const group *g) {
    choice c = {.best = -FLT_MAX};
    float sx[33] = {0}, sw[33] = {0};
    for (int j = 0; j < 32; j++) {
        int o = g->order[j];
        sx[j + 1] = sx[j] + g->w[o] * g->x[o];
        sw[j + 1] = sw[j] + g->w[o];
    }
    for (int i = 0; i <= 32; i++) {
        for (int j = i; j <= 32; j++) {
            for (int set = PLUS; set <= MINUS; set++) {
                const float *q = levels[set];
                float a = (sx[i] - sx[0]) * q[0] + (sx[j] - sx[i]) * q[1] + (sx[32] - sx[j]) * q[2];
                float b = (sw[i] - sw[0]) * q[0] * q[0] + (sw[j] - sw[i]) * q[1] * q[1] + (sw[32] - sw[j]) * q[2] * q[2];
                try_fit(&c, a, b, i, j, set);
            }
        }
    }
    return c;
}

/* iq1_m: set 0..3 is plus/plus, plus/minus, minus/plus, minus/minus for the two cells. The sums below are those of search_s for
 * each cell, taken apart differently; they round differently, so they are the format's. */
static choice search_m(const group *g) {
    choice c = {.best = -FLT_MAX};
    float sx[2][17] = {{0}}, sw[2][17] = {{0}};
    for (int j = 0; j < 16; j++) {
        int o = g->order[j], mine = o / 8, other = 1 - mine;
        sx[mine][j + 1] = sx[mine][j] + g->w[o] * g->x[o];
        sw[mine][j + 1] = sw[mine][j] + g->w[o];
        sx[other][j + 1] = sx[other][j];
        sw[other][j + 1] = sw[other][j];
    }
    for (int i = 0; i <= 16; i++) {
        for (int j = i; j <= 16; j++) {
            float a[2][2], b[2][2]; /* [cell][set] */
            for (int h = 0; h < 2; h++) {
                float y = sx[h][i] + sx[h][j];
                a[h][PLUS] = sx[h][16] * 1.125f - y;
                a[h][MINUS] = sx[h][16] * 0.875f - y;
                b[h][PLUS] = sw[h][16] * 1.125f * 1.125f + sw[h][i] * 0.75f + sw[h][j] * -1.25f;
                b[h][MINUS] = sw[h][16] * 0.875f * 0.875f + sw[h][i] * 1.25f + sw[h][j] * -0.75f;
            }
            for (int set = 0; set < 4; set++) try_fit(&c, a[0][set / 2] + a[1][set % 2], b[0][set / 2] + b[1][set % 2], i, j, set);
        }
    }
    return c;
}

/* The index of a cell's codes, or of the near point that fits best, whose codes it then takes. -1 when no point has a finite
 * distance. */
static int snap_cell(group *g, const kq_lattice *lattice, int cell, bool *moved) {
    const float *x = g->x + 8 * cell, *w = g->w + 8 * cell, *q = levels[g->set[cell]];
    uint8_t *codes = g->codes + 8 * cell;
    int found = lattice->find[kq_lattice_key(lattice, codes)], best = -1;
    if (found >= 0) return found;
    *moved = true;
    const uint16_t *list = lattice->near + (-1 - found);
    float least = FLT_MAX;
    for (int n = *list++; n--; list++) {
        float distance = 0;
        for (int e = 0; e < 8; e++) {
            float difference = g->scale * q[kq_lattice_code(lattice, *list, e)] - x[e];
            distance += w[e] * difference * difference;
        }
        if (distance < least) {
            least = distance;
            best = *list;
        }
    }
    for (int e = 0; e < 8 && best >= 0; e++) codes[e] = (uint8_t)kq_lattice_code(lattice, (unsigned)best, e);
    return best < 0 ? best : lattice->find[best];
}

/* Takes the choice: codes by its cuts, a positive scale, points of the grid. False when the search breaks down: where sums
 * overflow the scale can be NaN. */
static bool settle(group *g, const kq_lattice *lattice, const choice *c) {
    bool negative = c->scale < 0, moved = false;
    g->scale = negative ? -c->scale : c->scale;
    for (int j = 0; j < g->n; j++) {
        int code = j < c->cut1 ? 0 : j < c->cut2 ? 1 : 2;
        g->codes[g->order[j]] = (uint8_t)(negative ? 2 - code : code);
    }
    for (int cell = 0; cell < g->n / 8; cell++) {
        int set = g->n == 32 ? c->set : cell == 0 ? c->set / 2 : c->set % 2;
        g->set[cell] = (uint8_t)(negative ? 1 - set : set);
        g->index[cell] = snap_cell(g, lattice, cell, &moved);
        if (g->index[cell] < 0) return false;
    }
    if (g->scale != g->scale) return false;
    if (!moved) return true;
    float a = 0, b = 0;
    for (int e = 0; e < g->n; e++) {
        float q = levels[g->set[e / 8]][g->codes[e]];
        a += g->w[e] * q * g->x[e];
        b += g->w[e] * q * q;
    }
    if (a > 0 && b > 0) g->scale = a / b;
    return g->scale == g->scale;
}

/* A group of n at x. One without a value of at least `nothing`, or without weight, is empty: scale 0, index 0, plus. */
static bool encode_group(group *g, int n, const float *x, const float *importances, float sigma2, float nothing) {
    const kq_lattice *lattice = kq_lattice_get(KQ_LATTICE_IQ1);
    *g = (group){.n = n, .x = x};
    if (importances) kq_weigh(importances, sigma2, x, (size_t)n, g->w);
    else for (int e = 0; e < n; e++) g->w[e] = x[e] * x[e];
    if (kq_greatest_magnitude(x, (size_t)n) < nothing) return true;
    sort(g);
    choice c = n == 32 ? search_s(g) : search_m(g);
    return !c.found || settle(g, lattice, &c);
}

/* The 3 bits of a group's scale, in units of dd. */
static unsigned scale_code(float scale, float dd) {
    float inverse = 1 / dd;
    return (unsigned)kq_clamp(kq_nearest(0.5f * (inverse * scale - 1)), 0, 7);
}

bool kq_encode_iq1_s(const float *src, size_t n_weights, const float *importances, void *dst) {
    kq_block_iq1_s *b = dst;
    for (size_t i = 0; i < n_weights; i += 256, b++) {
        const float *x = src + i;
        float top = 0, sigma2 = 2 * kq_sum_of_squares(x, 256) / 256;
        group groups[8];
        memset(b, 0, sizeof *b);
        for (int g = 0; g < 8; g++) {
            if (!encode_group(&groups[g], 32, x + 32 * g, importances ? importances + i + 32 * g : NULL, sigma2, 1e-12f)) return false;
            top = KQ_MAX(top, groups[g].scale);
            unsigned high = 0;
            for (int k = 0; k < 4; k++) {
                b->qs[4 * g + k] = (uint8_t)groups[g].index[k];
                high |= (unsigned)groups[g].index[k] >> 8 << 3 * k;
            }
            b->qh[g] = (uint16_t)high;
        }
        if (top == 0) continue;
        float dd = top / 15;
        b->d = kq_f32_to_f16(dd * 1.125f);
        for (int g = 0; g < 8; g++) {
            b->qh[g] = (uint16_t)(b->qh[g] | scale_code(groups[g].scale, dd) << 12 | (unsigned)groups[g].set[0] << 15);
        }
    }
    return true;
}

/* Stores scales and moves, and fits the scale of scales to them: the result is d. */
static float finish_m(const group *groups, float top, kq_block_iq1_m *b) {
    float dd = top / 15, wqx = 0, wqq = 0;
    for (int g = 0; g < 16; g++) {
        unsigned s = scale_code(groups[g].scale, dd);
        b->scales[g / 4] = (uint16_t)(b->scales[g / 4] | s << 3 * (g % 4));
        b->qh[g] = (uint8_t)(b->qh[g] | groups[g].set[0] << 3 | groups[g].set[1] << 7);
        for (int e = 0; e < 16; e++) {
            float q = levels[groups[g].set[e / 8]][groups[g].codes[e]] * (float)(2 * s + 1);
            wqx += groups[g].w[e] * q * groups[g].x[e];
            wqq += groups[g].w[e] * q * q;
        }
    }
    return wqq > 0 ? wqx / wqq : dd;
}

bool kq_encode_iq1_m(const float *src, size_t n_weights, const float *importances, void *dst) {
    kq_block_iq1_m *b = dst;
    for (size_t i = 0; i < n_weights; i += 256, b++) {
        const float *x = src + i;
        float top = 0, sigma2 = 2 * kq_sum_of_squares(x, 256) / 256;
        group groups[16];
        memset(b, 0, sizeof *b);
        for (int g = 0; g < 16; g++) {
            if (!encode_group(&groups[g], 16, x + 16 * g, importances ? importances + i + 16 * g : NULL, sigma2, 1e-7f)) return false;
            top = KQ_MAX(top, groups[g].scale);
            for (int k = 0; k < 2; k++) b->qs[2 * g + k] = (uint8_t)groups[g].index[k];
            b->qh[g] = (uint8_t)(groups[g].index[0] >> 8 | groups[g].index[1] >> 8 << 4);
        }
        if (top == 0) continue;
        uint16_t d = kq_f32_to_f16(finish_m(groups, top, b) * 1.1125f);
        for (int j = 0; j < 4; j++) b->scales[j] = (uint16_t)(b->scales[j] | (d >> 4 * j & 15) << 12);
    }
    return true;
}
