/* SPDX-License-Identifier: MIT */
/* Encoders of the ternary lattice (iq1_s iq1_m). A group's weights are sorted, so that "which get code 0, which 1, which 2" is
 * two cuts of the sorted row; every pair of cuts is tried, with the levels moved up or down by 1/8, on prefix sums; then
 * cells that are no point of the grid snap to a near one. */
#include "codec/blocks.h"
#include "codec/codec.h"
#include "codec/iq1_encode.h"
#include "codec/lattice.h"
#include "codec/search.h"

#include <float.h>

/* The levels of the codes 0, 1, 2, moved up (plus) or down (minus). */
static const float levels[2][3] = {{-0.875f, 0.125f, 1.125f}, {-1.125f, -0.125f, 0.875f}};
enum { PLUS, MINUS };

/* A group while it is searched. */
typedef struct group {
    int n; /* 32 or 16 */
    const float *x;
    float w[32];
    uint8_t codes[32];
    kq_iq1_group found;
} group;

/* Elements by rising x; equal ones stay in order. */
static void sort(int n, const float *x, uint8_t *order) {
    for (int i = 0; i < n; i++) {
        int at = i;
        for (; at > 0 && x[order[at - 1]] > x[i]; at--) order[at] = order[at - 1];
        order[at] = (uint8_t)i;
    }
}

static void try_fit(kq_iq1_choice *c, float a, float b, int cut1, int cut2, int set) {
    if (!(b > 0 && a * a > c->best * b)) return; /* best * b may be -infinity at first */
    float scale = a / b;
    *c = (kq_iq1_choice){cut1, cut2, set, scale, scale * a, true};
}

static void search_s(const float *x, const float *w, const uint8_t *order, kq_iq1_choice *c) {
    float sx[33] = {0}, sw[33] = {0};
    for (int j = 0; j < 32; j++) {
        int o = order[j];
        sx[j + 1] = sx[j] + w[o] * x[o];
        sw[j + 1] = sw[j] + w[o];
    }
    for (int i = 0; i <= 32; i++) {
        for (int j = i; j <= 32; j++) {
            for (int set = PLUS; set <= MINUS; set++) {
                const float *q = levels[set];
                float a = (sx[i] - sx[0]) * q[0] + (sx[j] - sx[i]) * q[1] + (sx[32] - sx[j]) * q[2];
                float b = (sw[i] - sw[0]) * q[0] * q[0] + (sw[j] - sw[i]) * q[1] * q[1] + (sw[32] - sw[j]) * q[2] * q[2];
                try_fit(c, a, b, i, j, set);
            }
        }
    }
}

/* The sums below are those of search_s for each cell, taken apart differently; they round differently, so they are the format's. */
static void search_m(const float *x, const float *w, const uint8_t *order, kq_iq1_choice *c) {
    float sx[2][17] = {{0}}, sw[2][17] = {{0}};
    for (int j = 0; j < 16; j++) {
        int o = order[j], mine = o / 8, other = 1 - mine;
        sx[mine][j + 1] = sx[mine][j] + w[o] * x[o];
        sw[mine][j + 1] = sw[mine][j] + w[o];
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
            for (int set = 0; set < 4; set++) try_fit(c, a[0][set / 2] + a[1][set % 2], b[0][set / 2] + b[1][set % 2], i, j, set);
        }
    }
}

void kq_iq1_choose(int n, const float *x, const float *w, kq_iq1_choice *c) {
    uint8_t order[32];
    *c = (kq_iq1_choice){.best = -FLT_MAX};
    sort(n, x, order);
    if (n == 32) search_s(x, w, order, c);
    else search_m(x, w, order, c);
}

/* The index of a cell's codes, or of the near point that fits best, whose codes it then takes. -1 when no point has a finite
 * distance. */
static int snap_cell(group *g, const kq_lattice *lattice, int cell, bool *moved) {
    const float *x = g->x + 8 * cell, *w = g->w + 8 * cell, *q = levels[g->found.set[cell]];
    uint8_t *codes = g->codes + 8 * cell;
    int found = lattice->find[kq_lattice_key(lattice, codes)], best = -1;
    if (found >= 0) return found;
    *moved = true;
    const uint16_t *list = lattice->near + (-1 - found);
    float least = FLT_MAX;
    for (int n = *list++; n--; list++) {
        float distance = 0;
        for (int e = 0; e < 8; e++) {
            float difference = g->found.scale * q[kq_lattice_code(lattice, *list, e)] - x[e];
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
static bool settle(group *g, const kq_lattice *lattice, const kq_iq1_choice *c) {
    bool negative = c->scale < 0, moved = false;
    kq_iq1_group *found = &g->found;
    uint8_t order[32];
    sort(g->n, g->x, order);
    found->scale = negative ? -c->scale : c->scale;
    for (int j = 0; j < g->n; j++) {
        int code = j < c->cut1 ? 0 : j < c->cut2 ? 1 : 2;
        g->codes[order[j]] = (uint8_t)(negative ? 2 - code : code);
    }
    for (int cell = 0; cell < g->n / 8; cell++) {
        int set = g->n == 32 ? c->set : cell == 0 ? c->set / 2 : c->set % 2;
        found->set[cell] = (uint8_t)(negative ? 1 - set : set);
        int index = snap_cell(g, lattice, cell, &moved);
        if (index < 0) return false;
        found->index[cell] = (uint16_t)index;
    }
    if (found->scale != found->scale) return false;
    if (!moved) return true;
    float a = 0, b = 0;
    for (int e = 0; e < g->n; e++) {
        float q = levels[found->set[e / 8]][g->codes[e]];
        a += g->w[e] * q * g->x[e];
        b += g->w[e] * q * q;
    }
    if (a > 0 && b > 0) found->scale = a / b;
    return found->scale == found->scale;
}

/* A group of n at x. One without a value of at least `nothing`, or without weight, is empty: scale 0, index 0, plus. */
static bool encode_group(group *g, int n, const float *x, const float *importances, float sigma2, float nothing) {
    *g = (group){.n = n, .x = x};
    if (importances) kq_weigh(importances, sigma2, x, (size_t)n, g->w);
    else for (int e = 0; e < n; e++) g->w[e] = x[e] * x[e];
    if (kq_greatest_magnitude(x, (size_t)n) < nothing) return true;
    kq_iq1_choice c;
    kq_iq1_choose(n, x, g->w, &c);
    return !c.found || settle(g, kq_lattice_get(KQ_LATTICE_IQ1), &c);
}

/* The 3 bits of a group's scale, in units of dd. */
static unsigned scale_code(float scale, float dd) {
    float inverse = 1 / dd;
    return (unsigned)kq_clamp(kq_nearest(0.5f * (inverse * scale - 1)), 0, 7);
}

void kq_iq1_pack_s(const kq_iq1_group *groups, float top, void *block) {
    kq_block_iq1_s *b = block;
    float dd = top / 15;
    memset(b, 0, sizeof *b);
    if (top > 0) b->d = kq_f32_to_f16(dd * 1.125f);
    for (int g = 0; g < 8; g++) {
        unsigned high = 0;
        for (int k = 0; k < 4; k++) {
            b->qs[4 * g + k] = (uint8_t)groups[g].index[k];
            high |= (unsigned)groups[g].index[k] >> 8 << 3 * k;
        }
        if (top > 0) high |= scale_code(groups[g].scale, dd) << 12 | (unsigned)groups[g].set[0] << 15;
        b->qh[g] = (uint16_t)high;
    }
}

bool kq_encode_iq1_s(const float *src, size_t n_weights, const float *importances, void *dst) {
    kq_block_iq1_s *b = dst;
    for (size_t i = 0; i < n_weights; i += 256, b++) {
        const float *x = src + i;
        float top = 0, sigma2 = 2 * kq_sum_of_squares(x, 256) / 256;
        kq_iq1_group groups[8];
        for (int k = 0; k < 8; k++) {
            group g;
            if (!encode_group(&g, 32, x + 32 * k, importances ? importances + i + 32 * k : NULL, sigma2, 1e-12f)) return false;
            groups[k] = g.found;
            top = KQ_MAX(top, g.found.scale);
        }
        kq_iq1_pack_s(groups, top, b);
    }
    return true;
}

/* The scale of scales, fitted to the groups with the codes of their scales. */
static float fit_m(const group *groups, float top) {
    float dd = top / 15, wqx = 0, wqq = 0;
    for (int g = 0; g < 16; g++) {
        unsigned s = scale_code(groups[g].found.scale, dd);
        for (int e = 0; e < 16; e++) {
            float q = levels[groups[g].found.set[e / 8]][groups[g].codes[e]] * (float)(2 * s + 1);
            wqx += groups[g].w[e] * q * groups[g].x[e];
            wqq += groups[g].w[e] * q * q;
        }
    }
    return wqq > 0 ? wqx / wqq : dd;
}

void kq_iq1_pack_m(const kq_iq1_group *groups, float top, float fitted, void *block) {
    kq_block_iq1_m *b = block;
    memset(b, 0, sizeof *b);
    for (int g = 0; g < 16; g++) {
        for (int k = 0; k < 2; k++) b->qs[2 * g + k] = (uint8_t)groups[g].index[k];
        unsigned high = (unsigned)groups[g].index[0] >> 8 | (unsigned)groups[g].index[1] >> 8 << 4;
        if (top > 0) {
            high |= (unsigned)groups[g].set[0] << 3 | (unsigned)groups[g].set[1] << 7;
            b->scales[g / 4] = (uint16_t)(b->scales[g / 4] | scale_code(groups[g].scale, top / 15) << 3 * (g % 4));
        }
        b->qh[g] = (uint8_t)high;
    }
    if (!(top > 0)) return;
    uint16_t d = kq_f32_to_f16(fitted * 1.1125f);
    for (int j = 0; j < 4; j++) b->scales[j] = (uint16_t)(b->scales[j] | (d >> 4 * j & 15) << 12);
}

bool kq_encode_iq1_m(const float *src, size_t n_weights, const float *importances, void *dst) {
    kq_block_iq1_m *b = dst;
    for (size_t i = 0; i < n_weights; i += 256, b++) {
        const float *x = src + i;
        float top = 0, sigma2 = 2 * kq_sum_of_squares(x, 256) / 256;
        group groups[16];
        kq_iq1_group found[16];
        for (int g = 0; g < 16; g++) {
            if (!encode_group(&groups[g], 16, x + 16 * g, importances ? importances + i + 16 * g : NULL, sigma2, 1e-7f)) return false;
            found[g] = groups[g].found;
            top = KQ_MAX(top, found[g].scale);
        }
        kq_iq1_pack_m(found, top, fit_m(groups, top), b);
    }
    return true;
}
