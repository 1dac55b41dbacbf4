/* SPDX-License-Identifier: MIT */
/* iq1_s and iq1_m with a super-block in each lane: the reference is in iq1_encode.c.
 *
 * The reference walks through all cuts of the sorted group and keeps a fit with sums a, b when a^2 > best b, where best = (a / b) a of
 * the last one kept, rounded. What it ends with is the greatest a^2 / b whenever that is greater than all others by more than its
 * roundings, 2^-21 in all: none before it can have stopped it, none after it replaces it, and which were kept on the way does not
 * matter. So the lanes look for the greatest ratio and, comparing a^2 B with A^2 b, whether a second comes within 2^-18 of it. There (ties
 * mostly), or near the ends of float's range, the reference searches that group. */
#include "codec/iq1_encode.h"
#include "codec/lanes/near_lanes.h"
#include "codec/lanes/search_lanes.h"

enum { PLUS, MINUS };

/* ---- a group in each lane ------------------------------------------------------------------------------------------------- */

typedef struct search {
    int n; /* 32 or 16 */
    vf w[32], wx[32];
    vi keys[4], sets[4]; /* of each cell */
    vf scale;
    vm live, wild;
    float rows_x[KQ_LANES][32], rows_w[KQ_LANES][32];
    /* elements by rising x; equal ones stay in order */
    vf sorted_x[32], sorted_w[32], sorted_wx[32], order[32];
} search;

LANE void exchange(vm swap, vf *a, vf *b) {
    vf low = v_select(swap, *b, *a);
    *b = v_select(swap, *a, *b);
    *a = low;
}

/* Batcher's odd-even merge sort, whose comparisons do not depend on the data. */
LANE void sort(search *s, const vf *x) {
    for (int i = 0; i < s->n; i++) {
        s->sorted_x[i] = x[i];
        s->sorted_w[i] = s->w[i];
        s->sorted_wx[i] = s->wx[i];
        s->order[i] = v_set((float)i);
    }
    for (int p = 1; p < s->n; p *= 2) {
        for (int k = p; k >= 1; k /= 2) {
            for (int i = k % p; i + k < s->n; i++) {
                if ((i - k % p) / k % 2 || i / (2 * p) != (i + k) / (2 * p)) continue;
                vm equal = v_eq(s->sorted_x[i], s->sorted_x[i + k]), after = v_lt(s->order[i + k], s->order[i]);
                vm swap = m_or(v_lt(s->sorted_x[i + k], s->sorted_x[i]), m_and(equal, after));
                exchange(swap, &s->sorted_x[i], &s->sorted_x[i + k]);
                exchange(swap, &s->sorted_w[i], &s->sorted_w[i + k]);
                exchange(swap, &s->sorted_wx[i], &s->sorted_wx[i + k]);
                exchange(swap, &s->order[i], &s->order[i + k]);
            }
        }
    }
}

/* The greatest a^2 / b so far, and whether another is close. */
typedef struct top_fit {
    vf aa, b, at; /* at: the number of the candidate */
    vm close;
} top_fit;

LANE void consider(top_fit *t, vf a, vf b, vf number) {
    vf aa = a * a, mine = aa * t->b, best = t->aa * b;
    vm up = v_lt(best, mine), sure = v_lt(best * v_set(1 + 0x1p-18f), mine), near = v_lt(best * v_set(1 - 0x1p-18f), mine);
    t->close = m_and(m_or(t->close, near), m_not(sure));
    t->aa = v_select(up, aa, t->aa);
    t->b = v_select(up, b, t->b);
    t->at = v_select(up, number, t->at);
}

/* The lanes whose greatest is the reference's: no sum near it was rounded as only the smallest and the greatest numbers are. b is at least
 * a hundredth of the weight, so no close candidate has a product a hundred times smaller. */
LANE vm settled(const top_fit *t, vf weight) {
    vf product = t->aa * t->b;
    vm fine = m_and(v_gt(weight, v_set(0x1p-60f)), v_lt(weight, v_set(0x1p60f)));
    fine = m_and(fine, m_and(v_gt(t->aa, v_set(0x1p-100f)), v_lt(t->aa, v_set(0x1p100f))));
    fine = m_and(fine, m_and(v_gt(product, v_set(0x1p-100f)), v_lt(product, v_set(0x1p100f))));
    return m_and(fine, m_not(t->close));
}

static const float levels[2][4] = {{-0.875f, 0.125f, 1.125f, 0}, {-1.125f, -0.125f, 0.875f, 0}};

/* Cuts i <= j in the order in which they are tried. */
LANE void cuts_at(int n, int number, int *i, int *j) {
    int row = 0;
    for (; number > n - row; row++) number -= n - row + 1;
    *i = row;
    *j = row + number;
}

/* iq1_s. What the reference sums for each of three parts and each set is summed once where it is the same: the middle's level is 1/8 or
 * -1/8, the first part's sum depends on i alone and the last's on j alone. */
LANE vm search_s(const search *s, kq_iq1_choice *found) {
    vf sx[33], sw[33], last_x[2][33], last_w[2][33], number = v_zero();
    top_fit t = {.aa = v_zero(), .b = v_set(1), .at = v_zero(), .close = m_none()};
    sx[0] = sw[0] = v_zero();
    for (int j = 0; j < 32; j++) {
        sx[j + 1] = sx[j] + s->sorted_wx[j];
        sw[j + 1] = sw[j] + s->sorted_w[j];
    }
    for (int j = 0; j <= 32; j++) {
        for (int set = PLUS; set <= MINUS; set++) {
            vf q = v_set(levels[set][2]);
            last_x[set][j] = (sx[32] - sx[j]) * q;
            last_w[set][j] = (sw[32] - sw[j]) * q * q;
        }
    }
    const vf p0 = v_set(levels[PLUS][0]), m0 = v_set(levels[MINUS][0]), eighth = v_set(0.125f), one = v_set(1);
    for (int i = 0; i <= 32; i++) {
        vf xp = sx[i] * p0, xm = sx[i] * m0, wp = sw[i] * p0 * p0, wm = sw[i] * m0 * m0;
        for (int j = i; j <= 32; j++) {
            vf x = (sx[j] - sx[i]) * eighth, w = (sw[j] - sw[i]) * eighth * eighth;
            consider(&t, xp + x + last_x[PLUS][j], wp + w + last_w[PLUS][j], number);
            number += one;
            consider(&t, xm - x + last_x[MINUS][j], wm + w + last_w[MINUS][j], number);
            number += one;
        }
    }
    for (int lane = 0; lane < KQ_LANES; lane++) {
        kq_iq1_choice *c = &found[lane];
        int at = (int)t.at[lane], i, j;
        cuts_at(32, at / 2, &i, &j);
        const float *q = levels[at % 2];
        float a = sx[i][lane] * q[0] + (sx[j][lane] - sx[i][lane]) * q[1] + (sx[32][lane] - sx[j][lane]) * q[2];
        float b = sw[i][lane] * q[0] * q[0] + (sw[j][lane] - sw[i][lane]) * q[1] * q[1] + (sw[32][lane] - sw[j][lane]) * q[2] * q[2];
        *c = (kq_iq1_choice){.cut1 = i, .cut2 = j, .set = at % 2, .scale = a / b, .found = true};
    }
    return settled(&t, sw[32]);
}

/* iq1_m: sums of a cell, x and weights, at each cut. */
typedef struct sums_m {
    vf x[17], w[17];
} sums_m;

LANE vm search_m(const search *s, kq_iq1_choice *found) {
    sums_m h[2];
    vf cut2[2][2][17], number = v_zero();
    top_fit t = {.aa = v_zero(), .b = v_set(1), .at = v_zero(), .close = m_none()};
    for (int cell = 0; cell < 2; cell++) {
        h[cell].x[0] = h[cell].w[0] = v_zero();
        for (int j = 0; j < 16; j++) {
            vm second = v_gt(s->order[j], v_set(7.5f)), mine = cell ? second : m_not(second);
            h[cell].x[j + 1] = v_select(mine, h[cell].x[j] + s->sorted_wx[j], h[cell].x[j]);
            h[cell].w[j + 1] = v_select(mine, h[cell].w[j] + s->sorted_w[j], h[cell].w[j]);
        }
        for (int j = 0; j <= 16; j++) {
            cut2[cell][PLUS][j] = h[cell].w[j] * v_set(-1.25f);
            cut2[cell][MINUS][j] = h[cell].w[j] * v_set(-0.75f);
        }
    }
    vf all_x[2][2], all_w[2][2];
    for (int cell = 0; cell < 2; cell++) {
        all_x[cell][PLUS] = h[cell].x[16] * v_set(1.125f);
        all_x[cell][MINUS] = h[cell].x[16] * v_set(0.875f);
        all_w[cell][PLUS] = h[cell].w[16] * v_set(1.125f) * v_set(1.125f);
        all_w[cell][MINUS] = h[cell].w[16] * v_set(0.875f) * v_set(0.875f);
    }
    for (int i = 0; i <= 16; i++) {
        vf cut1[2][2];
        for (int cell = 0; cell < 2; cell++) {
            cut1[cell][PLUS] = all_w[cell][PLUS] + h[cell].w[i] * v_set(0.75f);
            cut1[cell][MINUS] = all_w[cell][MINUS] + h[cell].w[i] * v_set(1.25f);
        }
        for (int j = i; j <= 16; j++) {
            vf a[2][2], b[2][2];
            for (int cell = 0; cell < 2; cell++) {
                vf y = h[cell].x[i] + h[cell].x[j];
                for (int set = PLUS; set <= MINUS; set++) {
                    a[cell][set] = all_x[cell][set] - y;
                    b[cell][set] = cut1[cell][set] + cut2[cell][set][j];
                }
            }
            for (int set = 0; set < 4; set++) {
                consider(&t, a[0][set / 2] + a[1][set % 2], b[0][set / 2] + b[1][set % 2], number);
                number += v_set(1);
            }
        }
    }
    for (int lane = 0; lane < KQ_LANES; lane++) {
        int at = (int)t.at[lane], set[2] = {at % 4 / 2, at % 2}, i, j;
        float a[2], b[2];
        cuts_at(16, at / 4, &i, &j);
        for (int cell = 0; cell < 2; cell++) {
            float y = h[cell].x[i][lane] + h[cell].x[j][lane], wi = h[cell].w[i][lane], wj = h[cell].w[j][lane];
            a[cell] = all_x[cell][set[cell]][lane] - y;
            b[cell] = all_w[cell][set[cell]][lane] + wi * (set[cell] ? 1.25f : 0.75f) + wj * (set[cell] ? -0.75f : -1.25f);
        }
        found[lane] = (kq_iq1_choice){.cut1 = i, .cut2 = j, .set = at % 4, .scale = (a[0] + a[1]) / (b[0] + b[1]), .found = true};
    }
    return settled(&t, h[0].w[16] + h[1].w[16]);
}

/* ---- from cuts to points --------------------------------------------------------------------------------------------------- */

/* Codes by the cuts: an element is before a cut if it is before the one there. Turned lanes count from the other end. */
LANE void cut(search *s, const vf *x, vf cut1, vf cut2, vm turned) {
    const vf infinite = v_set(__builtin_inff());
    vf edge_x[2] = {infinite, infinite}, edge_at[2] = {v_zero(), v_zero()};
    for (int j = 0; j < s->n; j++) {
        for (int c = 0; c < 2; c++) {
            vm here = v_eq(v_set((float)j), c ? cut2 : cut1);
            edge_x[c] = v_select(here, s->sorted_x[j], edge_x[c]);
            edge_at[c] = v_select(here, s->order[j], edge_at[c]);
        }
    }
    for (int e = 0; e < s->n; e++) {
        vi code = v_select_int(turned, v_int(0), v_int(2)), step = v_select_int(turned, v_int(1), v_int(-1));
        for (int c = 0; c < 2; c++) {
            vm before = m_or(v_lt(x[e], edge_x[c]), m_and(v_eq(x[e], edge_x[c]), v_lt(v_set((float)e), edge_at[c])));
            code += v_select_int(before, step, v_int(0));
        }
        if (e % 8 == 0) s->keys[e / 8] = v_int(0);
        s->keys[e / 8] |= code << 2 * (e % 8);
    }
}

/* The level of element e of a key. */
LANE vf level(vi key, vi set, int e) {
    return v_to_float(key >> 2 * e & 3) - v_set(0.875f) - v_select(v_eq(v_to_float(set), v_zero()), v_zero(), v_set(0.25f));
}

/* Moves the cells that are no point of the grid. Returns the lanes where one was. */
LANE vm snap(const kq_lattice *lattice, search *s) {
    vm moved = m_none();
    unsigned lanes = m_bits(m_and(s->live, m_not(s->wild)));
    for (int cell = 0; cell < s->n / 8; cell++) {
        for (unsigned left = lanes; left; left &= left - 1) {
            int lane = __builtin_ctz(left), found = lattice->find[s->keys[cell][lane]];
            if (found >= 0) continue;
            float d[NEAR_ROOM], scale = s->scale[lane];
            near_cell c = {s->rows_x[lane] + 8 * cell, s->rows_w[lane] + 8 * cell, levels[s->sets[cell][lane]], 8, 2};
            near8 tables;
            near8_terms terms;
            const uint16_t *list = lattice->near + (-1 - found);
            int n = *list++;
            near8_load(&tables, &c);
            near8_at(&terms, &tables, scale);
            float least = near8_scan(&terms, list, n, d);
            int at = near_winner(&c, scale, list, n, NEAR8_LANES, NEAR8_EXACT, d, least);
            s->keys[cell][lane] = list[KQ_MAX(at, 0)];
            if (at < 0) s->wild = m_or(s->wild, v_lane(lane));
            moved = m_or(moved, v_lane(lane));
        }
    }
    return moved;
}

/* Groups at x in every lane, with s->w: keys, sets and a scale that is not negative; 0 in lanes not live. */
LANE void find_groups(const kq_lattice *lattice, search *s, const vf *x) {
    kq_iq1_choice found[KQ_LANES];
    float cuts[2][KQ_LANES], scales[KQ_LANES];
    for (int e = 0; e < s->n; e++) s->wx[e] = s->w[e] * x[e];
    rows_out(s->n, x, s->rows_x);
    rows_out(s->n, s->w, s->rows_w);
    sort(s, x);
    vm doubt = m_and(s->live, m_not(s->n == 32 ? search_s(s, found) : search_m(s, found)));
    unsigned slow = m_bits(doubt), live = m_bits(s->live);
    vi set = v_int(0);
    for (int lane = 0; lane < KQ_LANES; lane++) {
        if (slow >> lane & 1) kq_iq1_choose(s->n, s->rows_x[lane], s->rows_w[lane], &found[lane]);
        if (!found[lane].found) live &= ~(1u << lane);
        cuts[0][lane] = (float)found[lane].cut1;
        cuts[1][lane] = (float)found[lane].cut2;
        scales[lane] = found[lane].scale;
        set[lane] = found[lane].set;
    }
    s->live = v_lanes(live);
    vf scale = v_load(scales);
    vm turned = v_lt(scale, v_zero());
    s->scale = v_abs(scale);
    s->wild = m_and(s->live, m_not(v_lt(s->scale, v_set(0x1p100f))));
    cut(s, x, v_load(cuts[0]), v_load(cuts[1]), turned);
    for (int cell = 0; cell < s->n / 8; cell++) {
        vi mine = set;
        if (s->n == 16) mine = (cell ? set : set >> 1) & 1;
        s->sets[cell] = v_select_int(s->live, v_select_int(turned, v_int(1) - mine, mine), v_int(0));
    }
    vm moved = snap(lattice, s);
    vf a = v_zero(), b = v_zero();
    for (int e = 0; e < s->n; e++) {
        vf q = level(s->keys[e / 8], s->sets[e / 8], e % 8);
        a += s->w[e] * q * x[e];
        b += s->w[e] * q * q;
    }
    vm again = m_and(moved, m_and(v_gt(a, v_zero()), v_gt(b, v_zero())));
    s->scale = v_select(s->live, v_select(again, a / b, s->scale), v_zero());
    s->wild = m_or(s->wild, v_is_nan(s->scale));
    for (int cell = 0; cell < s->n / 8; cell++) s->keys[cell] = v_select_int(s->live, s->keys[cell], v_int(0));
}

/* ---- blocks ------------------------------------------------------------------------------------------------------------- */

/* All groups of all lanes' super-blocks. */
typedef struct found_blocks {
    vf x[256], w[256], scale[16], top;
    vi keys[32], sets[32]; /* of each cell */
    vm redo;
} found_blocks;

LANE void find_blocks(const kq_lattice *lattice, const batch *b, bool with, int n, float nothing, found_blocks *f) {
    search s;
    s.n = n;
    lanes_in(b->x, 256, f->x);
    vf sigma2 = v_set(2) * v_sum_of_squares(f->x, 256) / v_set(256);
    if (with) {
        lanes_in(b->importances, 256, f->w);
        v_weigh(f->w, sigma2, f->x, 256, f->w);
    } else {
        for (int e = 0; e < 256; e++) f->w[e] = f->x[e] * f->x[e];
    }
    f->redo = m_none();
    f->top = v_zero();
    for (int g = 0; g < 256 / n; g++) {
        vf most = v_zero();
        for (int e = 0; e < n; e++) {
            s.w[e] = f->w[n * g + e];
            most = v_max(v_abs(f->x[n * g + e]), most);
        }
        s.live = m_and(v_lt(v_index(), v_set((float)b->n)), m_not(v_lt(most, v_set(nothing))));
        find_groups(lattice, &s, f->x + n * g);
        f->redo = m_or(f->redo, s.wild);
        f->scale[g] = s.scale;
        f->top = v_max(s.scale, f->top);
        for (int cell = 0; cell < n / 8; cell++) {
            f->keys[g * n / 8 + cell] = s.keys[cell];
            f->sets[g * n / 8 + cell] = s.sets[cell];
        }
    }
}

LANE void group_of(const kq_lattice *lattice, const found_blocks *f, int n, int g, int lane, kq_iq1_group *out) {
    out->scale = f->scale[g][lane];
    for (int cell = 0; cell < n / 8; cell++) {
        out->set[cell] = (uint8_t)f->sets[g * n / 8 + cell][lane];
        out->index[cell] = (uint16_t)(out->scale == 0 && f->keys[g * n / 8 + cell][lane] == 0 ? 0 : lattice->find[f->keys[g * n / 8 + cell][lane]]);
    }
}

bool ENCODER(iq1_s)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    const kq_lattice *lattice = kq_lattice_get(KQ_LATTICE_IQ1);
    uint8_t beside[64];
    size_t n_blocks = rows * cols / 256;
    for (size_t first = 0; first < n_blocks; first += KQ_LANES) {
        batch b;
        found_blocks f;
        batch_fill(&b, src, importances, dst, first, n_blocks, cols / 256, 256, sizeof(kq_block_iq1_s), beside);
        find_blocks(lattice, &b, importances != NULL, 32, 1e-12f, &f);
        unsigned redo = m_bits(f.redo);
        for (int lane = 0; lane < (int)b.n; lane++) {
            kq_iq1_group groups[8];
            if (redo >> lane & 1) {
                if (!kq_encode_iq1_s(b.x[lane], 256, b.importances[lane], b.out[lane])) return false;
                continue;
            }
            for (int g = 0; g < 8; g++) group_of(lattice, &f, 32, g, lane, &groups[g]);
            kq_iq1_pack_s(groups, f.top[lane], b.out[lane]);
        }
    }
    return true;
}

/* The scale of scales fitted to what will be stored: the reference's finish_m. */
LANE vf fit_m(found_blocks *f) {
    vf dd = f->top / v_set(15), inverse = v_set(1) / dd, wqx = v_zero(), wqq = v_zero();
    for (int g = 0; g < 16; g++) {
        vf code = v_set(0.5f) * (inverse * f->scale[g] - v_set(1));
        f->redo = m_or(f->redo, m_and(v_gt(f->top, v_zero()), m_not(v_tame(code))));
        vf odd = v_nearest(code, 0, 7) * v_set(2) + v_set(1);
        for (int e = 16 * g; e < 16 * g + 16; e++) {
            vf q = level(f->keys[e / 8], f->sets[e / 8], e % 8) * odd;
            wqx += f->w[e] * q * f->x[e];
            wqq += f->w[e] * q * q;
        }
    }
    return v_select(v_gt(wqq, v_zero()), wqx / wqq, dd);
}

bool ENCODER(iq1_m)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    const kq_lattice *lattice = kq_lattice_get(KQ_LATTICE_IQ1);
    uint8_t beside[64];
    size_t n_blocks = rows * cols / 256;
    for (size_t first = 0; first < n_blocks; first += KQ_LANES) {
        batch b;
        found_blocks f;
        batch_fill(&b, src, importances, dst, first, n_blocks, cols / 256, 256, sizeof(kq_block_iq1_m), beside);
        find_blocks(lattice, &b, importances != NULL, 16, 1e-7f, &f);
        vf fitted = fit_m(&f);
        unsigned redo = m_bits(f.redo);
        for (int lane = 0; lane < (int)b.n; lane++) {
            kq_iq1_group groups[16];
            if (redo >> lane & 1) {
                if (!kq_encode_iq1_m(b.x[lane], 256, b.importances[lane], b.out[lane])) return false;
                continue;
            }
            for (int g = 0; g < 16; g++) group_of(lattice, &f, 16, g, lane, &groups[g]);
            kq_iq1_pack_m(groups, f.top[lane], fitted[lane], b.out[lane]);
        }
    }
    return true;
}
