/* SPDX-License-Identifier: MIT */
/* iq2_xxs iq2_xs iq2_s iq3_xxs iq3_s with a super-block in each lane: the reference is in lattice_encode.c.
 *
 * Most of the reference's time goes into finding near points, once for each cell and trial scale. Codes change rarely from one trial to
 * the next, so a lane's trials fall into runs of the same codes, and so of the same list of near points. For a run it is enough to
 * look at its first and last scale: if the same point is nearest at both, it is at all scales between. For the squared distance of a
 * point with levels q, D(s) = sum w (s q - v)^2, is C + s (s A - B) with C the same for all points. So the difference of two points'
 * distances, divided by s, is linear in s: positive at both ends, it is positive between. And the binary32 sums that the reference
 * compares are within 2^-19 (D + s^2 sum w) of D: each term is rounded 4 times and added at most 7 times, and the rounding of s q adds
 * at most 2 * 2^-24 * sum w |s q - v| s q <= 2^-24 * 15 (D + s^2 sum w), as q <= 15. So if at both ends every other point is farther by
 * 2^-14 (D + s^2 sum w), with the greater D and s of the two, it is farther at all scales between, in binary32 too. */
#include "codec/lanes/near_lanes.h"
#include "codec/lanes/search_lanes.h"
#include "codec/lattice_encode.h"

enum { TRIALS_MAX = 31, CELLS_MAX = 8 };

/* ---- small vectors ------------------------------------------------------------------------------------------------------ */

#if defined(__AVX512F__)
LANE vm v_bit(vi x, int bit) { return _mm512_test_epi32_mask((__m512i)x, _mm512_set1_epi32((int32_t)(1u << bit))); }
LANE vm v_differ(vi a, vi b) { return _mm512_cmpneq_epi32_mask((__m512i)a, (__m512i)b); }
#else
LANE vm v_bit(vi x, int bit) { return (vm)((x & v_int((int32_t)(1u << bit))) == v_int((int32_t)(1u << bit))); }
LANE vm v_differ(vi a, vi b) { return (vm)(a != b); }
#endif

/* 2 code + 1, of the code at a bit of the key. */
LANE vf v_level(int bits, vi key, int at) {
#if defined(__AVX512F__)
    const __m512 two = _mm512_setr_ps(1, 3, 5, 7, 1, 3, 5, 7, 1, 3, 5, 7, 1, 3, 5, 7);
    const __m512 three = _mm512_setr_ps(1, 3, 5, 7, 9, 11, 13, 15, 1, 3, 5, 7, 9, 11, 13, 15);
    return _mm512_permutexvar_ps((__m512i)(key >> at), bits == 2 ? two : three);
#elif defined(__AVX2__)
    const __m256 two = _mm256_setr_ps(1, 3, 5, 7, 1, 3, 5, 7), three = _mm256_setr_ps(1, 3, 5, 7, 9, 11, 13, 15);
    return bits == 2 ? _mm256_permutevar_ps(two, (__m256i)(key >> at)) : _mm256_permutevar8x32_ps(three, (__m256i)(key >> at));
#else
    return v_to_float((key >> at & v_int((1 << bits) - 1)) * 2 + 1);
#endif
}

/* ---- a group in each lane ------------------------------------------------------------------------------------------------- */

typedef struct search {
    vf v[32], w[32], wv[32];
    float rows_v[KQ_LANES][32], rows_r[KQ_LANES][32]; /* v and sqrt(w), lane by lane */
    float sum_r[CELLS_MAX][KQ_LANES];
    vf greatest, farthest; /* of v, of |v| */
    vi signs[4];
    vi keys[CELLS_MAX];
    vf scale;
    vm live, wild;         /* lanes not empty; lanes that the reference shall do */
    /* the trials */
    vf inverse[TRIALS_MAX + 1], scales[TRIALS_MAX + 1];
    vi trial_keys[CELLS_MAX][TRIALS_MAX + 1];
    vi changes[CELLS_MAX]; /* bit k: trial k's key differs from the one before; only then trial_keys[cell][k] counts */
    vi on_grid[CELLS_MAX]; /* bit k */
} search;

/* Signs and magnitudes; by parity an odd number of signs is made even by turning the element over that matters least. */
LANE void split_signs(const kq_lattice_format *f, const vf *x, search *s) {
    s->greatest = v_set(-__builtin_inff());
    s->farthest = v_zero();
    for (int run = 0; run < f->group / 8; run++) {
        vi signs = v_int(0), parity = v_int(0);
        vf least = v_zero(), which = v_zero();
        for (int e = 0; e < 8; e++) {
            vf value = x[8 * run + e], cost = s->w[8 * run + e] * value * value;
            vm negative = v_lt(value, v_zero());
            s->v[8 * run + e] = v_abs(value);
            signs |= v_select_int(negative, v_int(1 << e), v_int(0));
            parity ^= v_select_int(negative, v_int(1), v_int(0));
            vm less = v_lt(cost, least);
            if (e == 0) least = cost;
            else {
                which = v_select(less, v_set((float)e), which);
                least = v_select(less, cost, least);
            }
            s->farthest = v_max(v_abs(value), s->farthest);
        }
        if (f->by_parity) {
            vm odd = v_bit(parity, 0);
            for (int e = 0; e < 8; e++) {
                vm turn = m_and(odd, v_eq(which, v_set((float)e)));
                s->v[8 * run + e] = v_select(turn, v_neg(s->v[8 * run + e]), s->v[8 * run + e]);
                signs ^= v_select_int(turn, v_int(1 << e), v_int(0));
            }
            signs &= 127;
        }
        s->signs[run] = signs;
        for (int e = 0; e < 8; e++) s->greatest = v_max(s->v[8 * run + e], s->greatest);
    }
}

/* kq_search_positive(32, 4, v, w), whose codes nobody wants. An element turned over is negative and has codes that wrap. */
LANE vf start_iq2_xxs(search *s) {
    vf most = v_max(s->greatest, v_zero()), l[32];
    vm dead = v_lt(most, v_set(1e-15f));
    vf chosen = v_set(4) / most, scale = v_set(1) / chosen, error = v_zero();
    s->wild = m_or(s->wild, m_and(m_not(dead), m_not(v_tame(v_set(1.125f) * chosen * s->farthest))));
    for (int i = 0; i < 32; i++) {
        vi code = v_code(chosen * s->v[i] + v_set(MAGIC));
        vf d = s->v[i] - scale * v_to_float(code & 255);
        error += s->w[i] * d * d;
    }
    for (int k = -4; k <= 4; k++) {
        if (k == 0) continue;
        vf inverse = v_set(0.1f * (float)k + 4) / most, trial_error = v_zero();
        scale = v_set(1) / inverse;
        for (int i = 0; i < 32; i++) {
            vf d = s->v[i] - scale * v_nearest(inverse * s->v[i], -(1 << 22), 4);
            trial_error += s->w[i] * d * d;
        }
        vm better = v_lt(trial_error, error);
        error = v_select(better, trial_error, error);
        chosen = v_select(better, inverse, chosen);
    }
    vf wxl = v_zero(), wll = v_zero();
    for (int i = 0; i < 32; i++) {
        vf code = v_nearest(chosen * s->v[i], -(1 << 22), 4);
        wxl += s->wv[i] * code;
        wll += s->w[i] * code * code;
        l[i] = v_to_float(v_truncate(code) & 255);
    }
    vm active = m_not(dead);
    for (int sweep = 0; sweep < 5 && m_any(active); sweep++) {
        vm changed = m_none();
        for (int i = 0; i < 32; i++) {
            vf a = wxl - s->wv[i] * l[i], b = wll - s->w[i] * l[i] * l[i];
            vm may = m_and(active, m_and(v_gt(a, v_zero()), v_gt(b, v_zero())));
            vf quotient = s->v[i] * b / a, code = v_nearest(quotient, -(1 << 22), 4);
            s->wild = m_or(s->wild, m_and(may, m_not(v_tame(quotient))));
            may = m_and(may, m_not(v_eq(code, l[i])));
            if (!m_any(may)) continue;
            a += s->wv[i] * code;
            b += s->w[i] * code * code;
            vm better = m_and(may, v_gt(a * a * wll, wxl * wxl * b));
            l[i] = v_select(better, v_to_float(v_truncate(code) & 255), l[i]);
            wxl = v_select(better, a, wxl);
            wll = v_select(better, b, wll);
            changed = m_or(changed, better);
        }
        active = changed;
    }
    return v_select(m_and(m_not(dead), v_gt(wll, v_zero())), wxl / wll, v_zero());
}

/* The key of a cell for 1 / scale; 0.5 (inverse v - 1) has the bits of half v - 0.5. */
LANE vi quantize_cell(const kq_lattice_format *f, const vf *v, vf half) {
    vi key = v_int(0);
    for (int e = 0; e < f->cell; e++) key |= v_code(v_nearest_raw(half * v[e] - v_set(0.5f), 0, f->codes - 1)) << f->bits * e;
    return key;
}

LANE void fit(const kq_lattice_format *f, const search *s, const vi *keys, vf *wvq, vf *wqq) {
    vf a = v_zero(), b = v_zero();
    for (int e = 0; e < f->group; e++) {
        vf q = v_level(f->bits, keys[e / f->cell], e % f->cell * f->bits);
        a += s->wv[e] * q;
        b += s->w[e] * q * q;
    }
    *wvq = a;
    *wqq = b;
}

/* ---- near points: one lane, one cell ---------------------------------------------------------------------------------------- */

static const float odd_levels[16] = {1, 3, 5, 7, 9, 11, 13, 15};

typedef struct near_any { /* of one of the two sizes */
    near8 of8;
    near4 of4;
} near_any;

LANE float distances(const kq_lattice_format *f, const near_any *c, float scale, const uint16_t *list, int n, float *d) {
    if (f->cell == 8) {
        near8_terms t;
        near8_at(&t, &c->of8, scale);
        return near8_scan(&t, list, n, d);
    }
    near4_terms t;
    near4_at(&t, &c->of4, scale);
    return near4_scan(&t, list, n, d);
}

LANE int winner(const kq_lattice_format *f, const near_cell *cell, float scale, const uint16_t *list, int n, const float *d, float least) {
    return near_winner(cell, scale, list, n, f->cell == 8 ? NEAR8_LANES : NEAR4_LANES, f->cell == 4 || NEAR8_EXACT, d, least);
}

/* Trials first .. last of a lane, which have the same key, off the grid. False where the reference breaks down. */
LANE bool snap_run(const kq_lattice_format *f, search *s, int cell, int lane, const near_cell *c, const near_any *tables,
                            const uint16_t *list, int first, int last) {
    float d[NEAR_ROOM], d_last[NEAR_ROOM];
    int n = *list++, lanes = f->cell == 8 ? NEAR8_LANES : NEAR4_LANES, at, at_last;
    float scale = s->scales[first][lane], least = distances(f, tables, scale, list, n, d);
    if (first < last) {
        float scale_last = s->scales[last][lane], least_last = distances(f, tables, scale_last, list, n, d_last);
        float margin = 0x1p-14f * (KQ_MAX(least, least_last) + scale * scale * s->sum_r[cell][lane]);
        int count = near_within(d, n, lanes, least + margin, &at) + near_within(d_last, n, lanes, least_last + margin, &at_last);
        bool sane = margin > 0x1p-80f && margin < 0x1p100f;
        if (!(sane && count == 2 && at == at_last)) {
            at_last = winner(f, c, scale_last, list, n, d_last, least_last);
            if (at_last < 0) return false;
            s->trial_keys[cell][last][lane] = list[at_last];
            for (int k = first + 1; k < last; k++) {
                scale_last = s->scales[k][lane];
                least_last = distances(f, tables, scale_last, list, n, d_last);
                at = winner(f, c, scale_last, list, n, d_last, least_last);
                if (at < 0) return false;
                s->trial_keys[cell][k][lane] = list[at];
            }
            s->changes[cell][lane] |= (int32_t)((2u << last) - (2u << first));
            at = winner(f, c, scale, list, n, d, least);
        }
    } else {
        at = winner(f, c, scale, list, n, d, least);
    }
    if (at < 0) return false;
    s->trial_keys[cell][first][lane] = list[at];
    return true;
}

LANE void near_cell_of(const kq_lattice_format *f, const search *s, int cell, int lane, near_cell *c, near_any *tables) {
    *c = (near_cell){s->rows_v[lane] + cell * f->cell, s->rows_r[lane] + cell * f->cell, odd_levels, f->cell, f->bits};
    if (f->cell == 8) near8_load(&tables->of8, c);
    else near4_load(&tables->of4, c);
}

/* All trials of a cell of a lane. */
LANE bool snap_trials(const kq_lattice_format *f, const kq_lattice *lattice, search *s, int cell, int lane, int n_trials) {
    near_cell c;
    near_any tables;
    near_cell_of(f, s, cell, lane, &c, &tables);
    uint32_t starts = (uint32_t)s->changes[cell][lane], on_grid = 0;
    while (starts) {
        int first = __builtin_ctz(starts);
        starts &= starts - 1;
        int last = (starts ? __builtin_ctz(starts) : n_trials) - 1;
        int found = lattice->find[s->trial_keys[cell][first][lane]];
        if (found >= 0) on_grid |= (2u << last) - (1u << first);
        else if (!snap_run(f, s, cell, lane, &c, &tables, lattice->near + (-1 - found), first, last)) return false;
    }
    s->on_grid[cell][lane] = (int32_t)on_grid;
    return true;
}

/* ---- the search --------------------------------------------------------------------------------------------------------- */

/* The reference's second pass, in lanes that need one. */
LANE void second_pass(const kq_lattice_format *f, const kq_lattice *lattice, search *s, const vm *was_on_grid) {
    vm redo = f->redo_always ? s->live : m_none();
    for (int cell = 0; cell < f->group / f->cell; cell++) redo = m_or(redo, m_and(s->live, m_not(was_on_grid[cell])));
    redo = m_and(redo, m_and(v_gt(s->scale, v_zero()), m_not(s->wild)));
    if (!m_any(redo)) return;
    vf half = v_set(0.5f) * (v_set(1) / s->scale), a, b;
    s->wild = m_or(s->wild, m_and(redo, m_not(v_tame(half * s->farthest))));
    for (int cell = 0; cell < f->group / f->cell; cell++) {
        vm moved = f->redo_all ? redo : m_and(redo, m_not(was_on_grid[cell]));
        s->keys[cell] = v_select_int(moved, quantize_cell(f, s->v + cell * f->cell, half), s->keys[cell]);
        for (unsigned left = m_bits(moved); left; left &= left - 1) {
            int lane = __builtin_ctz(left), found = lattice->find[s->keys[cell][lane]];
            if (found >= 0) continue;
            float d[NEAR_ROOM];
            near_cell c;
            near_any tables;
            near_cell_of(f, s, cell, lane, &c, &tables);
            const uint16_t *list = lattice->near + (-1 - found);
            int n = *list++;
            float least = distances(f, &tables, s->scale[lane], list, n, d);
            int at = winner(f, &c, s->scale[lane], list, n, d, least);
            s->keys[cell][lane] = list[KQ_MAX(at, 0)];
            if (at < 0) s->wild = m_or(s->wild, v_lane(lane));
        }
    }
    fit(f, s, s->keys, &a, &b);
    s->scale = v_select(m_and(redo, v_gt(b, v_zero())), a / b, s->scale);
}

/* Keys and scales of a group. x and w are those of the group; live lanes are not empty. */
LANE void find_groups(const kq_lattice_format *f, const kq_lattice *lattice, search *s) {
    int cells = f->group / f->cell, most = 2 * f->codes - 1, n_trials = 2 * f->trials + 1;
    vf start, end;
    if (f->searched_start) {
        start = start_iq2_xxs(s);
        end = start * v_set(3);
        s->live = m_and(s->live, m_not(m_or(v_lt(end, v_zero()), v_eq(end, v_zero()))));
    } else {
        start = s->greatest / v_set((float)most);
        end = s->greatest;
    }
    s->scale = start;
    for (int k = 0; k < n_trials; k++) {
        s->inverse[k] = v_set((float)most + (float)(k - f->trials) * f->step) / end;
        s->scales[k] = v_set(1) / s->inverse[k];
    }
    s->wild = m_or(s->wild, m_and(s->live, m_not(v_tame(s->inverse[n_trials - 1] * s->farthest))));
    s->wild = m_or(s->wild, m_and(s->live, m_not(m_and(v_lt(end, v_set(0x1p30f)), v_gt(end, v_set(0x1p-30f))))));
    unsigned lanes = m_bits(m_and(s->live, m_not(s->wild)));
    for (int cell = 0; cell < cells; cell++) {
        vi before = v_int(-1);
        s->changes[cell] = v_int(0);
        s->on_grid[cell] = v_int(0);
        for (int k = 0; k < n_trials; k++) {
            vi key = s->trial_keys[cell][k] = quantize_cell(f, s->v + cell * f->cell, v_set(0.5f) * s->inverse[k]);
            s->changes[cell] |= v_select_int(v_differ(key, before), v_int((int32_t)(1u << k)), v_int(0));
            before = key;
        }
        for (unsigned left = lanes; left; left &= left - 1) {
            int lane = __builtin_ctz(left);
            if (!snap_trials(f, lattice, s, cell, lane, n_trials)) s->wild = m_or(s->wild, v_lane(lane));
        }
    }
    vi keys[CELLS_MAX];
    vm was_on_grid[CELLS_MAX];
    vf best = v_zero(), a, b;
    for (int cell = 0; cell < cells; cell++) {
        was_on_grid[cell] = f->redo_unsearched ? m_none() : m_not(m_none());
        s->keys[cell] = keys[cell] = v_int(0);
    }
    for (int k = 0; k < n_trials; k++) {
        for (int cell = 0; cell < cells; cell++) keys[cell] = v_select_int(v_bit(s->changes[cell], k), s->trial_keys[cell][k], keys[cell]);
        fit(f, s, keys, &a, &b);
        vm better = m_and(v_gt(b, v_zero()), v_gt(a * a, best * b));
        s->scale = v_select(better, a / b, s->scale);
        best = v_select(better, s->scale * a, best);
        for (int cell = 0; cell < cells; cell++) {
            s->keys[cell] = v_select_int(better, keys[cell], s->keys[cell]);
            was_on_grid[cell] = m_or(m_and(better, v_bit(s->on_grid[cell], k)), m_and(m_not(better), was_on_grid[cell]));
        }
    }
    second_pass(f, lattice, s, was_on_grid);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------------- */

/* Groups at x in every lane: what the reference's encode_group finds. */
LANE void encode_group(const kq_lattice_format *f, const kq_lattice *lattice, const vf *x, search *s, kq_lattice_group (*groups)[16], int g,
                       vm counted, vm *redo) {
    split_signs(f, x, s);
    for (int e = 0; e < f->group; e++) s->wv[e] = s->w[e] * s->v[e];
    vf roots[32];
    for (int e = 0; e < f->group; e++) roots[e] = v_sqrt(s->w[e]);
    rows_out(f->group, s->v, s->rows_v);
    rows_out(f->group, roots, s->rows_r);
    for (int cell = 0; cell < f->group / f->cell; cell++) {
        vf sum = v_zero();
        for (int e = 0; e < f->cell; e++) sum += roots[cell * f->cell + e];
        v_store(s->sum_r[cell], sum);
    }
    s->wild = m_none();
    s->live = m_and(counted, m_not(v_lt(s->greatest, v_set(f->nothing))));
    find_groups(f, lattice, s);
    *redo = m_or(*redo, m_or(s->wild, m_and(s->live, v_is_nan(s->scale))));
    vm turned = v_lt(s->scale, v_zero());
    vf scale = v_abs(s->scale);
    for (int run = 0; run < f->group / 8; run++) {
        s->signs[run] = v_select_int(turned, ~s->signs[run] & (f->by_parity ? 127 : 255), s->signs[run]);
    }
    unsigned live = m_bits(s->live);
    for (int lane = 0; lane < KQ_LANES; lane++) {
        kq_lattice_group *out = &groups[lane][g];
        *out = (kq_lattice_group){.empty = !(live >> lane & 1)};
        if (out->empty) continue;
        out->scale = scale[lane];
        for (int run = 0; run < f->group / 8; run++) out->signs[run] = (uint8_t)s->signs[run][lane];
        for (int cell = 0; cell < f->group / f->cell; cell++) out->index[cell] = (uint16_t)lattice->find[s->keys[cell][lane]];
    }
}

LANE bool encode(const kq_lattice_format *f, kq_lattice_pack_fn *pack, kq_encode_fn *reference, size_t block_bytes, const float *src,
                 size_t rows, size_t cols, const float *importances, void *dst) {
    const kq_lattice *lattice = kq_lattice_get(f->lattice);
    uint8_t beside[128];
    size_t n_blocks = rows * cols / 256;
    for (size_t first = 0; first < n_blocks; first += KQ_LANES) {
        batch b;
        vf x[256], w[256];
        search s;
        kq_lattice_group groups[KQ_LANES][16];
        vm redo = m_none();
        batch_fill(&b, src, importances, dst, first, n_blocks, cols / 256, 256, block_bytes, beside);
        lanes_in(b.x, 256, x);
        vf sigma2 = v_set(f->sigma2_factor) * v_sum_of_squares(x, 256) / v_set(256);
        if (importances) lanes_in(b.importances, 256, w);
        for (int g = 0; g < 256 / f->group; g++) {
            const vf *at = x + g * f->group;
            if (importances) v_weigh(w + g * f->group, sigma2, at, (size_t)f->group, s.w);
            else if (f->codes == 8) for (int e = 0; e < f->group; e++) s.w[e] = at[e] * at[e];
            else for (int e = 0; e < f->group; e++) s.w[e] = v_set(0.25f) * sigma2 + at[e] * at[e];
            encode_group(f, lattice, at, &s, groups, g, v_lt(v_index(), v_set((float)b.n)), &redo);
        }
        unsigned again = m_bits(redo);
        for (size_t lane = 0; lane < b.n; lane++) {
            if (again >> lane & 1) {
                if (!reference(b.x[lane], 256, b.importances[lane], b.out[lane])) return false;
                continue;
            }
            float top = 0;
            for (int g = 0; g < 256 / f->group; g++) top = KQ_MAX(top, groups[lane][g].scale);
            pack(groups[lane], top, b.out[lane]);
        }
    }
    return true;
}

#define LATTICE_ENCODER(codec)                                                                                                         \
    bool ENCODER(codec)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {                             \
        return encode(&kq_lattice_##codec, kq_lattice_pack_##codec, kq_encode_##codec, sizeof(kq_block_##codec), src, rows, cols, importances, dst); \
    }
LATTICE_ENCODER(iq2_xxs)
LATTICE_ENCODER(iq2_xs)
LATTICE_ENCODER(iq2_s)
LATTICE_ENCODER(iq3_xxs)
LATTICE_ENCODER(iq3_s)
