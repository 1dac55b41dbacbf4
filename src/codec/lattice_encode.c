/* SPDX-License-Identifier: MIT */
/* Encoders of the codecs whose cells name points of a lattice and whose signs are kept apart (iq2_xxs iq2_xs iq2_s iq3_xxs
 * iq3_s). One algorithm, with the differences in a table: for each group try some scales; each gives codes, and cells whose
 * codes are no point of the grid snap to a near one; keep the scale that fits best; then snap once more for that scale.
 *
 * The metric is not the decoder's: while searching, code l counts as 2l + 1, whatever level it names. */
#include "codec/blocks.h"
#include "codec/codec.h"
#include "codec/lattice.h"
#include "codec/search.h"

#include <float.h>

typedef struct format {
    kq_lattice_id lattice;
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
} format;

static const format iq2_xxs = {.lattice = KQ_LATTICE_IQ2_XXS, .group = 32, .codes = 3, .by_parity = true, .sigma2_factor = 1, .nothing = 1e-15f,
                               .trials = 6, .step = 0.1f, .searched_start = true, .redo_all = true, .redo_always = true};
static const format iq2_xs = {.lattice = KQ_LATTICE_IQ2_XS, .group = 16, .codes = 3, .by_parity = true, .sigma2_factor = 1, .nothing = 1e-15f,
                               .trials = 9, .step = 0.1f};
static const format iq2_s = {.lattice = KQ_LATTICE_IQ2_S, .group = 16, .codes = 3, .sigma2_factor = 2, .nothing = 1e-8f, .trials = 9, .step = 0.1f};
static const format iq3_xxs = {.lattice = KQ_LATTICE_IQ3_XXS, .group = 32, .codes = 8, .by_parity = true, .sigma2_factor = 2, .nothing = 1e-8f,
                               .trials = 15, .step = 0.2f};
static const format iq3_s = {.lattice = KQ_LATTICE_IQ3_S, .group = 32, .codes = 8, .sigma2_factor = 2, .nothing = FLT_TRUE_MIN, .trials = 9,
                               .step = 0.2f, .redo_all = true, .redo_unsearched = true};

/* A group while it is searched: values v without their signs, weights w, and their roots r, which weigh distances. */
typedef struct group {
    const format *f;
    const kq_lattice *lattice;
    float v[32], w[32], r[32];
    float greatest;
    uint8_t codes[32];
    uint8_t signs[4];
    int index[8]; /* of each cell, in the end */
    float scale;
    bool empty;
} group;

/* ---- signs -------------------------------------------------------------------------------------------------------- */

/* Splits a run of 8 into signs and magnitudes. By parity, an odd number of signs is made even by turning the element over that
 * matters least; its value stays negative in all that follows. */
static uint8_t split_signs(const float *x, const float *w, bool by_parity, float *v) {
    unsigned signs = 0, count = 0;
    for (unsigned e = 0; e < 8; e++) {
        bool negative = !(x[e] >= 0);
        v[e] = negative ? -x[e] : x[e];
        signs |= (unsigned)negative << e;
        count += negative;
    }
    if (!by_parity) return (uint8_t)signs;
    if (count % 2) {
        unsigned least = 0;
        float cost = w[0] * x[0] * x[0];
        for (unsigned e = 1; e < 8; e++) {
            float c = w[e] * x[e] * x[e];
            if (c < cost) {
                cost = c;
                least = e;
            }
        }
        v[least] = -v[least];
        signs ^= 1u << least;
    }
    return (uint8_t)(signs & 127);
}

/* ---- one scale ---------------------------------------------------------------------------------------------------- */

static void quantize_cell(const group *g, int cell, float inverse, uint8_t *codes) {
    int size = g->lattice->cell;
    for (int e = cell * size; e < (cell + 1) * size; e++) {
        codes[e] = (uint8_t)kq_clamp(kq_nearest(0.5f * (inverse * g->v[e] - 1)), 0, g->f->codes - 1);
    }
}

/* Moves a cell's codes to the near point that fits the scale best, when they are not a point. False when no point has a finite
 * distance. */
static bool snap_cell(const group *g, int cell, float scale, uint8_t *codes, bool *was_on_grid) {
    int size = g->lattice->cell, first = cell * size, found = g->lattice->find[kq_lattice_key(g->lattice, codes + first)];
    *was_on_grid = found >= 0;
    if (found >= 0) return true;
    const uint16_t *list = g->lattice->near + (-1 - found);
    int best = -1;
    float least = FLT_MAX;
    for (int n = *list++; n--; list++) {
        float distance = 0;
        for (int e = 0; e < size; e++) {
            float q = (float)(2 * kq_lattice_code(g->lattice, *list, e) + 1);
            float difference = scale * q - g->v[first + e];
            distance += g->r[first + e] * difference * difference;
        }
        if (distance < least) {
            least = distance;
            best = *list;
        }
    }
    if (best < 0) return false;
    for (int e = 0; e < size; e++) codes[first + e] = (uint8_t)kq_lattice_code(g->lattice, best, e);
    return true;
}

static void fit(const group *g, const uint8_t *codes, float *wvq, float *wqq) {
    float a = 0, b = 0;
    for (int e = 0; e < g->f->group; e++) {
        float q = (float)(2 * codes[e] + 1);
        a += g->w[e] * g->v[e] * q;
        b += g->w[e] * q * q;
    }
    *wvq = a;
    *wqq = b;
}

/* ---- a group ------------------------------------------------------------------------------------------------------ */

static void weigh(group *g, const float *x, const float *importances, float sigma2) {
    int n = g->f->group;
    if (importances) kq_weigh(importances, sigma2, x, (size_t)n, g->w);
    else if (g->f->codes == 8) for (int e = 0; e < n; e++) g->w[e] = x[e] * x[e];
    else for (int e = 0; e < n; e++) g->w[e] = 0.25f * sigma2 + x[e] * x[e];
    for (int e = 0; e < n; e++) g->r[e] = __builtin_sqrtf(g->w[e]);
}

/* The second pass: the cells that the trial had to move (or all) once more, for the scale that it came to. */
static bool second_pass(group *g, const bool *was_on_grid) {
    float inverse = 1 / g->scale, a, b;
    for (int cell = 0; cell < g->f->group / g->lattice->cell; cell++) {
        bool ignored;
        if (!g->f->redo_all && was_on_grid[cell]) continue;
        quantize_cell(g, cell, inverse, g->codes);
        if (!snap_cell(g, cell, g->scale, g->codes, &ignored)) return false;
    }
    fit(g, g->codes, &a, &b);
    if (b > 0) g->scale = a / b;
    return true;
}

/* Finds codes and scale for g->v; false when the search breaks down. */
static bool search(group *g) {
    const format *f = g->f;
    int cells = f->group / g->lattice->cell, most = 2 * f->codes - 1;
    float start, end;
    if (f->searched_start) {
        uint8_t ignored[32];
        start = kq_search_positive(32, 4, g->v, g->w, ignored);
        end = start * 3;
        g->empty = end <= 0;
        if (g->empty) return true;
    } else {
        start = g->greatest / (float)most;
        end = g->greatest;
    }
    g->scale = start;
    bool on_grid[8];
    for (int cell = 0; cell < 8; cell++) on_grid[cell] = !f->redo_unsearched;
    float best = 0, a, b;
    for (int k = -f->trials; k <= f->trials; k++) {
        float inverse = ((float)most + (float)k * f->step) / end, scale = 1 / inverse;
        uint8_t codes[32];
        bool was_on_grid[8] = {false};
        for (int cell = 0; cell < cells; cell++) {
            quantize_cell(g, cell, inverse, codes);
            if (!snap_cell(g, cell, scale, codes, &was_on_grid[cell])) return false;
        }
        fit(g, codes, &a, &b);
        if (b > 0 && a * a > best * b) {
            g->scale = a / b;
            best = g->scale * a;
            memcpy(g->codes, codes, (size_t)f->group);
            memcpy(on_grid, was_on_grid, sizeof on_grid);
        }
    }
    bool redo = f->redo_always;
    for (int cell = 0; cell < cells; cell++) redo |= !on_grid[cell];
    return g->scale > 0 && redo ? second_pass(g, on_grid) : true;
}

/* The whole of a group: from x to indices, signs and a scale that is not negative. */
static bool encode_group(const format *f, const float *x, const float *importances, float sigma2, group *g) {
    *g = (group){.f = f, .lattice = kq_lattice_get(f->lattice)};
    weigh(g, x, importances, sigma2);
    for (int run = 0; run < f->group / 8; run++) g->signs[run] = split_signs(x + 8 * run, g->w + 8 * run, f->by_parity, g->v + 8 * run);
    g->greatest = g->v[0];
    for (int e = 1; e < f->group; e++) g->greatest = KQ_MAX(g->greatest, g->v[e]);
    g->empty = g->greatest < f->nothing;
    if (!g->empty && !search(g)) return false;
    if (g->empty) {
        memset(g->signs, 0, sizeof g->signs);
        return true;
    }
    if (g->scale != g->scale) return false;
    if (g->scale < 0) {
        g->scale = -g->scale;
        for (int run = 0; run < 4; run++) g->signs[run] = (uint8_t)(~g->signs[run] & (f->by_parity ? 127 : 255));
    }
    for (int cell = 0; cell < f->group / g->lattice->cell; cell++) {
        g->index[cell] = g->lattice->find[kq_lattice_key(g->lattice, g->codes + cell * g->lattice->cell)];
        assert(g->index[cell] >= 0);
    }
    return true;
}

/* All groups of a super-block: 8 of 32 or 16 of 16. */
static bool encode_groups(const format *f, const float *x, const float *importances, group *groups, float *top) {
    float sigma2 = f->sigma2_factor * kq_sum_of_squares(x, 256) / 256;
    *top = 0;
    for (int g = 0; g < 256 / f->group; g++) {
        int at = f->group * g;
        if (!encode_group(f, x + at, importances ? importances + at : NULL, sigma2, &groups[g])) return false;
        *top = KQ_MAX(*top, groups[g].scale);
    }
    return true;
}

/* The 4 bits of a group's scale, in units of dd = top / 31. */
static unsigned scale_code(float scale, float top) {
    float inverse = 1 / (top / 31);
    return (unsigned)kq_clamp(kq_nearest(0.5f * (inverse * scale - 1)), 0, 15);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------- */

bool kq_encode_iq2_xxs(const float *src, size_t n_weights, const float *importances, void *dst) {
    kq_block_iq2_xxs *b = dst;
    for (size_t i = 0; i < n_weights; i += 256, b++) {
        group groups[8];
        float top;
        memset(b, 0, sizeof *b);
        if (!encode_groups(&iq2_xxs, src + i, importances ? importances + i : NULL, groups, &top)) return false;
        if (top == 0) continue;
        b->d = kq_f32_to_f16(top / 31);
        for (int g = 0; g < 8; g++) {
            uint32_t word = scale_code(groups[g].scale, top) << 28;
            for (int k = 0; k < 4; k++) {
                b->qs[8 * g + k] = (uint8_t)groups[g].index[k];
                word |= (uint32_t)groups[g].signs[k] << 7 * k;
            }
            memcpy(b->qs + 8 * g + 4, &word, 4);
        }
    }
    return true;
}

bool kq_encode_iq2_xs(const float *src, size_t n_weights, const float *importances, void *dst) {
    kq_block_iq2_xs *b = dst;
    for (size_t i = 0; i < n_weights; i += 256, b++) {
        group groups[16];
        float top;
        memset(b, 0, sizeof *b);
        if (!encode_groups(&iq2_xs, src + i, importances ? importances + i : NULL, groups, &top)) return false;
        if (top == 0) continue;
        b->d = kq_f32_to_f16(top / 31);
        for (int g = 0; g < 16; g++) {
            b->scales[g / 2] |= (uint8_t)(scale_code(groups[g].scale, top) << 4 * (g % 2));
            for (int k = 0; k < 2; k++) b->qs[2 * g + k] = (uint16_t)(groups[g].index[k] | groups[g].signs[k] << 9);
        }
    }
    return true;
}

bool kq_encode_iq2_s(const float *src, size_t n_weights, const float *importances, void *dst) {
    kq_block_iq2_s *b = dst;
    for (size_t i = 0; i < n_weights; i += 256, b++) {
        group groups[16];
        float top;
        memset(b, 0, sizeof *b);
        if (!encode_groups(&iq2_s, src + i, importances ? importances + i : NULL, groups, &top)) return false;
        for (int k = 0; k < 32; k++) {
            const group *g = &groups[k / 2];
            b->qs[k] = (uint8_t)g->index[k % 2];
            b->qh[k / 4] |= (uint8_t)(g->index[k % 2] >> 8 << 2 * (k % 4));
            b->signs[k] = g->signs[k % 2];
        }
        if (top == 0) continue;
        b->d = kq_f32_to_f16(top / 31 * 0.9875f);
        for (int g = 0; g < 16; g++) b->scales[g / 2] |= (uint8_t)(scale_code(groups[g].scale, top) << 4 * (g % 2));
    }
    return true;
}

bool kq_encode_iq3_xxs(const float *src, size_t n_weights, const float *importances, void *dst) {
    kq_block_iq3_xxs *b = dst;
    for (size_t i = 0; i < n_weights; i += 256, b++) {
        group groups[8];
        float top;
        memset(b, 0, sizeof *b);
        if (!encode_groups(&iq3_xxs, src + i, importances ? importances + i : NULL, groups, &top)) return false;
        if (top == 0) continue;
        b->d = kq_f32_to_f16(top / 31 * 1.0125f);
        for (int g = 0; g < 8; g++) {
            uint32_t word = scale_code(groups[g].scale, top) << 28;
            for (int k = 0; k < 8; k++) b->qs[8 * g + k] = (uint8_t)groups[g].index[k];
            for (int run = 0; run < 4; run++) word |= (uint32_t)groups[g].signs[run] << 7 * run;
            memcpy(b->gas + 4 * g, &word, 4);
        }
    }
    return true;
}

/* The format's encoder writes the low bytes of indices, and the signs, one after another and leaves out empty groups, while
 * everything else keeps its place: after a group of zeros within a super-block all later groups decode wrongly. The same bytes
 * need the same slip. */
bool kq_encode_iq3_s(const float *src, size_t n_weights, const float *importances, void *dst) {
    kq_block_iq3_s *b = dst;
    for (size_t i = 0; i < n_weights; i += 256, b++) {
        group groups[8];
        float top;
        memset(b, 0, sizeof *b);
        if (!encode_groups(&iq3_s, src + i, importances ? importances + i : NULL, groups, &top)) return false;
        for (int g = 0, slot = 0; g < 8; g++) {
            if (groups[g].empty) continue;
            for (int k = 0; k < 8; k++) {
                b->qs[8 * slot + k] = (uint8_t)groups[g].index[k];
                b->qh[g] |= (uint8_t)(groups[g].index[k] >> 8 << k);
            }
            memcpy(b->signs + 4 * slot, groups[g].signs, 4);
            slot++;
        }
        if (top == 0) continue;
        b->d = kq_f32_to_f16(top / 31 * 1.033f);
        for (int g = 0; g < 8; g++) b->scales[g / 2] |= (uint8_t)(scale_code(groups[g].scale, top) << 4 * (g % 2));
    }
    return true;
}
