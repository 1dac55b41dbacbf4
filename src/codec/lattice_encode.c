/* SPDX-License-Identifier: MIT */
/* Encoders of the codecs whose cells name points of a lattice and whose signs are kept apart (iq2_xxs iq2_xs iq2_s iq3_xxs
 * iq3_s). One algorithm, with the differences in a table: for each group try some scales; each gives codes, and cells whose
 * codes are no point of the grid snap to a near one; keep the scale that fits best; then snap once more for that scale.
 *
 * The metric is not the decoder's: while searching, code l counts as 2l + 1, whatever level it names. */
#include "codec/blocks.h"
#include "codec/codec.h"
#include "codec/lattice_encode.h"
#include "codec/search.h"

/* A group while it is searched: values v without their signs, weights w, and their roots r, which weigh distances. */
typedef struct search {
    const kq_lattice_format *f;
    const kq_lattice *lattice;
    float v[32], w[32], r[32];
    float greatest;
    unsigned keys[8]; /* of each cell */
    float scale;
    bool empty;
} search;

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

static unsigned quantize_cell(const search *s, int cell, float inverse) {
    unsigned key = 0;
    for (int e = 0; e < s->f->cell; e++) {
        float value = s->v[cell * s->f->cell + e];
        key |= (unsigned)kq_clamp(kq_nearest(0.5f * (inverse * value - 1)), 0, s->f->codes - 1) << s->f->bits * e;
    }
    return key;
}

/* Moves a cell to the near point that fits the scale best, when its codes are not a point. False when no point has a finite distance. */
static bool snap_cell(const search *s, int cell, float scale, unsigned *key, bool *was_on_grid) {
    int size = s->f->cell, first = cell * size, found = s->lattice->find[*key];
    *was_on_grid = found >= 0;
    if (found >= 0) return true;
    const uint16_t *list = s->lattice->near + (-1 - found);
    int best = -1;
    float least = FLT_MAX;
    for (int n = *list++; n--; list++) {
        float distance = 0;
        for (int e = 0; e < size; e++) {
            float q = (float)(2 * kq_lattice_code(s->lattice, *list, e) + 1);
            float difference = scale * q - s->v[first + e];
            distance += s->r[first + e] * difference * difference;
        }
        if (distance < least) {
            least = distance;
            best = *list;
        }
    }
    *key = (unsigned)best;
    return best >= 0;
}

static void fit(const search *s, const unsigned *keys, float *wvq, float *wqq) {
    float a = 0, b = 0;
    for (int e = 0; e < s->f->group; e++) {
        float q = (float)(2 * kq_lattice_code(s->lattice, keys[e / s->f->cell], e % s->f->cell) + 1);
        a += s->w[e] * s->v[e] * q;
        b += s->w[e] * q * q;
    }
    *wvq = a;
    *wqq = b;
}

/* ---- a group ------------------------------------------------------------------------------------------------------ */

static void weigh(search *s, const float *x, const float *importances, float sigma2) {
    int n = s->f->group;
    if (importances) kq_weigh(importances, sigma2, x, (size_t)n, s->w);
    else if (s->f->codes == 8) for (int e = 0; e < n; e++) s->w[e] = x[e] * x[e];
    else for (int e = 0; e < n; e++) s->w[e] = 0.25f * sigma2 + x[e] * x[e];
    for (int e = 0; e < n; e++) s->r[e] = __builtin_sqrtf(s->w[e]);
}

/* The second pass: the cells that the trial had to move (or all) once more, for the scale that it came to. */
static bool second_pass(search *s, const bool *was_on_grid) {
    float inverse = 1 / s->scale, a, b;
    for (int cell = 0; cell < s->f->group / s->f->cell; cell++) {
        bool ignored;
        if (!s->f->redo_all && was_on_grid[cell]) continue;
        s->keys[cell] = quantize_cell(s, cell, inverse);
        if (!snap_cell(s, cell, s->scale, &s->keys[cell], &ignored)) return false;
    }
    fit(s, s->keys, &a, &b);
    if (b > 0) s->scale = a / b;
    return true;
}

/* Finds keys and scale for s->v; false when the search breaks down. */
static bool find_group(search *s) {
    const kq_lattice_format *f = s->f;
    int cells = f->group / f->cell, most = 2 * f->codes - 1;
    float start, end;
    if (f->searched_start) {
        uint8_t ignored[32];
        start = kq_search_positive(32, 4, s->v, s->w, ignored);
        end = start * 3;
        s->empty = end <= 0;
        if (s->empty) return true;
    } else {
        start = s->greatest / (float)most;
        end = s->greatest;
    }
    s->scale = start;
    bool on_grid[8];
    for (int cell = 0; cell < 8; cell++) on_grid[cell] = !f->redo_unsearched;
    float best = 0, a, b;
    for (int k = -f->trials; k <= f->trials; k++) {
        float inverse = ((float)most + (float)k * f->step) / end, scale = 1 / inverse;
        unsigned keys[8] = {0};
        bool was_on_grid[8] = {false};
        for (int cell = 0; cell < cells; cell++) {
            keys[cell] = quantize_cell(s, cell, inverse);
            if (!snap_cell(s, cell, scale, &keys[cell], &was_on_grid[cell])) return false;
        }
        fit(s, keys, &a, &b);
        if (b > 0 && a * a > best * b) {
            s->scale = a / b;
            best = s->scale * a;
            memcpy(s->keys, keys, sizeof keys);
            memcpy(on_grid, was_on_grid, sizeof on_grid);
        }
    }
    bool redo = f->redo_always;
    for (int cell = 0; cell < cells; cell++) redo |= !on_grid[cell];
    return s->scale > 0 && redo ? second_pass(s, on_grid) : true;
}

/* The whole of a group: from x to indices, signs and a scale that is not negative. */
static bool encode_group(const kq_lattice_format *f, const float *x, const float *importances, float sigma2, kq_lattice_group *g) {
    search s = {.f = f, .lattice = kq_lattice_get(f->lattice)};
    *g = (kq_lattice_group){.empty = true};
    weigh(&s, x, importances, sigma2);
    for (int run = 0; run < f->group / 8; run++) g->signs[run] = split_signs(x + 8 * run, s.w + 8 * run, f->by_parity, s.v + 8 * run);
    s.greatest = s.v[0];
    for (int e = 1; e < f->group; e++) s.greatest = KQ_MAX(s.v[e], s.greatest);
    s.empty = s.greatest < f->nothing;
    if (!s.empty && !find_group(&s)) return false;
    if (s.empty) {
        memset(g->signs, 0, sizeof g->signs);
        return true;
    }
    if (s.scale != s.scale) return false;
    g->empty = false;
    g->scale = s.scale;
    if (s.scale < 0) {
        g->scale = -s.scale;
        for (int run = 0; run < f->group / 8; run++) g->signs[run] = (uint8_t)(~g->signs[run] & (f->by_parity ? 127 : 255));
    }
    for (int cell = 0; cell < f->group / f->cell; cell++) {
        int index = s.lattice->find[s.keys[cell]];
        assert(index >= 0);
        g->index[cell] = (uint16_t)index;
    }
    return true;
}

/* All super-blocks of a row. */
static bool encode_row(const kq_lattice_format *f, kq_lattice_pack_fn *pack, size_t block_bytes, const float *src, size_t n_weights,
                       const float *importances, uint8_t *dst) {
    for (size_t i = 0; i < n_weights; i += 256, dst += block_bytes) {
        kq_lattice_group groups[16];
        float top = 0, sigma2 = f->sigma2_factor * kq_sum_of_squares(src + i, 256) / 256;
        for (size_t g = 0; g < 256 / (size_t)f->group; g++) {
            size_t at = i + (size_t)f->group * g;
            if (!encode_group(f, src + at, importances ? importances + at : NULL, sigma2, &groups[g])) return false;
            top = KQ_MAX(top, groups[g].scale);
        }
        pack(groups, top, dst);
    }
    return true;
}

/* ---- blocks ------------------------------------------------------------------------------------------------------- */

/* The 4 bits of a group's scale, in units of dd = top / 31. */
static unsigned scale_code(float scale, float top) {
    float inverse = 1 / (top / 31);
    return (unsigned)kq_clamp(kq_nearest(0.5f * (inverse * scale - 1)), 0, 15);
}

void kq_lattice_pack_iq2_xxs(const kq_lattice_group *groups, float top, void *block) {
    kq_block_iq2_xxs *b = block;
    memset(b, 0, sizeof *b);
    if (top == 0) return;
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

void kq_lattice_pack_iq2_xs(const kq_lattice_group *groups, float top, void *block) {
    kq_block_iq2_xs *b = block;
    memset(b, 0, sizeof *b);
    if (top == 0) return;
    b->d = kq_f32_to_f16(top / 31);
    for (int g = 0; g < 16; g++) {
        b->scales[g / 2] |= (uint8_t)(scale_code(groups[g].scale, top) << 4 * (g % 2));
        for (int k = 0; k < 2; k++) b->qs[2 * g + k] = (uint16_t)(groups[g].index[k] | groups[g].signs[k] << 9);
    }
}

void kq_lattice_pack_iq2_s(const kq_lattice_group *groups, float top, void *block) {
    kq_block_iq2_s *b = block;
    memset(b, 0, sizeof *b);
    for (int k = 0; k < 32; k++) {
        const kq_lattice_group *g = &groups[k / 2];
        b->qs[k] = (uint8_t)g->index[k % 2];
        b->qh[k / 4] |= (uint8_t)(g->index[k % 2] >> 8 << 2 * (k % 4));
        b->signs[k] = g->signs[k % 2];
    }
    if (top == 0) return;
    b->d = kq_f32_to_f16(top / 31 * 0.9875f);
    for (int g = 0; g < 16; g++) b->scales[g / 2] |= (uint8_t)(scale_code(groups[g].scale, top) << 4 * (g % 2));
}

void kq_lattice_pack_iq3_xxs(const kq_lattice_group *groups, float top, void *block) {
    kq_block_iq3_xxs *b = block;
    memset(b, 0, sizeof *b);
    if (top == 0) return;
    b->d = kq_f32_to_f16(top / 31 * 1.0125f);
    for (int g = 0; g < 8; g++) {
        uint32_t word = scale_code(groups[g].scale, top) << 28;
        for (int k = 0; k < 8; k++) b->qs[8 * g + k] = (uint8_t)groups[g].index[k];
        for (int run = 0; run < 4; run++) word |= (uint32_t)groups[g].signs[run] << 7 * run;
        memcpy(b->gas + 4 * g, &word, 4);
    }
}

/* The format's encoder writes the low bytes of indices, and the signs, one after another and leaves out empty groups, while
 * everything else keeps its place: after a group of zeros within a super-block all later groups decode wrongly. The same bytes
 * need the same slip. */
void kq_lattice_pack_iq3_s(const kq_lattice_group *groups, float top, void *block) {
    kq_block_iq3_s *b = block;
    memset(b, 0, sizeof *b);
    for (int g = 0, slot = 0; g < 8; g++) {
        if (groups[g].empty) continue;
        for (int k = 0; k < 8; k++) {
            b->qs[8 * slot + k] = (uint8_t)groups[g].index[k];
            b->qh[g] |= (uint8_t)(groups[g].index[k] >> 8 << k);
        }
        memcpy(b->signs + 4 * slot, groups[g].signs, 4);
        slot++;
    }
    if (top == 0) return;
    b->d = kq_f32_to_f16(top / 31 * 1.033f);
    for (int g = 0; g < 8; g++) b->scales[g / 2] |= (uint8_t)(scale_code(groups[g].scale, top) << 4 * (g % 2));
}

#define ENCODER(codec)                                                                                                        \
    bool kq_encode_##codec(const float *src, size_t n_weights, const float *importances, void *dst) {                         \
        return encode_row(&kq_lattice_##codec, kq_lattice_pack_##codec, sizeof(kq_block_##codec), src, n_weights, importances, dst); \
    }
ENCODER(iq2_xxs)
ENCODER(iq2_xs)
ENCODER(iq2_s)
ENCODER(iq3_xxs)
ENCODER(iq3_s)
