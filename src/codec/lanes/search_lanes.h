/* SPDX-License-Identifier: MIT */
/* The searches of search.c, a group in each lane: element i of all groups is x[i]. */
#ifndef KQ_CODEC_SEARCH_LANES_H
#define KQ_CODEC_SEARCH_LANES_H

#include "codec/lanes/lanes.h"

/* The element of greatest magnitude with its sign, the first of equals. */
LANE vf v_greatest_signed(const vf *x, size_t n) {
    vf most = v_zero(), with_sign = v_zero();
    for (size_t i = 0; i < n; i++) {
        vf size = v_abs(x[i]);
        with_sign = v_select(v_gt(size, most), x[i], with_sign);
        most = v_max(size, most);
    }
    return with_sign;
}

LANE vf v_sum_of_squares(const vf *x, size_t n) {
    vf sum = v_zero();
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sum;
}

LANE void v_weigh(const vf *importances, vf sigma2, const vf *x, size_t n, vf *w) {
    for (size_t i = 0; i < n; i++) w[i] = importances[i] * v_sqrt(sigma2 + x[i] * x[i]);
}

/* ---- x ~ scale * code + low ------------------------------------------------------------------------------------------- */

/* What the search of a group found. Codes are not kept: they are nearest(inverse * (x - base)), and 0 in the lanes of `dead`. */
typedef struct affine {
    vf scale, min, inverse, base;
    vf least, greatest; /* of x */
    vm dead;            /* no range: the scale is 0 */
    vm wild;            /* an integer may have wrapped: not proven to be what the reference finds */
} affine;

/* |inverse * (x - low)| is below 2^22 for every x between least and greatest: rounding keeps the order of differences and products. */
LANE vm affine_wild(const affine *a, vf inverse, vf low) {
    vf reach = v_max(v_abs(a->greatest - low), v_abs(a->least - low));
    return m_not(v_tame(inverse * reach));
}

LANE vf v_cost(vf difference, bool absolute) {
    if (absolute) return v_abs(difference);
    return difference * difference;
}

LANE vf affine_error(int n, const vf *x, const vf *w, const vf *l, vf scale, vf low, bool absolute) {
    vf error = v_zero();
    for (int i = 0; i < n; i++) {
        vf d = scale * l[i] + low - x[i];
        error += w[i] * v_cost(d, absolute);
    }
    return error;
}

/* kq_search_affine for `pairs` groups of n at once, so that one's sums hide the latency of the other's: x and w [pairs][n]. */
LANE void search_affine(int pairs, int n, int n_max, const vf *x, const vf *w, const kq_affine_trials *trials, affine *out) {
    enum { MOST = 2 };
    vf low[MOST], w1[MOST], wx[MOST], error[MOST], l[MOST * 32];
    for (int p = 0; p < pairs; p++) {
        const vf *xp = x + p * n, *wp = w + p * n;
        affine *a = out + p;
        a->least = a->greatest = xp[0];
        w1[p] = wp[0];
        wx[p] = wp[0] * xp[0];
        for (int i = 1; i < n; i++) {
            a->least = v_min(xp[i], a->least);
            a->greatest = v_max(xp[i], a->greatest);
            w1[p] += wp[i];
            wx[p] += wp[i] * xp[i];
        }
        low[p] = v_select(v_gt(a->least, v_zero()), v_zero(), a->least);
        a->dead = v_eq(a->greatest, low[p]);
        a->inverse = v_set((float)n_max) / (a->greatest - low[p]);
        a->base = low[p];
        a->scale = v_set(1) / a->inverse;
        a->wild = affine_wild(a, a->inverse, low[p]);
        for (int i = 0; i < n; i++) l[p * n + i] = v_nearest(a->inverse * (xp[i] - low[p]), 0, n_max);
        error[p] = affine_error(n, xp, wp, l + p * n, a->scale, low[p], trials->absolute);
    }
    for (int t = 0; t <= trials->last; t++) {
        vf inverse[MOST], wl[MOST], wll[MOST], wlx[MOST], scale[MOST], trial_low[MOST], trial_error[MOST];
        vm fits[MOST];
        for (int p = 0; p < pairs; p++) {
            inverse[p] = v_set(trials->first + trials->step * (float)t + (float)n_max) / (out[p].greatest - low[p]);
            out[p].wild = m_or(out[p].wild, affine_wild(out + p, inverse[p], low[p]));
            wl[p] = wll[p] = wlx[p] = v_zero();
        }
        for (int i = 0; i < n; i++) {
            for (int p = 0; p < pairs; p++) {
                vf code = v_nearest(inverse[p] * (x[p * n + i] - low[p]), 0, n_max), weighted = w[p * n + i] * code;
                l[p * n + i] = code;
                wl[p] += weighted;
                wll[p] += weighted * code;
                wlx[p] += weighted * x[p * n + i];
            }
        }
        for (int p = 0; p < pairs; p++) {
            vf determinant = w1[p] * wll[p] - wl[p] * wl[p];
            fits[p] = v_gt(determinant, v_zero());
            scale[p] = (w1[p] * wlx[p] - wx[p] * wl[p]) / determinant;
            trial_low[p] = (wll[p] * wx[p] - wl[p] * wlx[p]) / determinant;
            vm above = v_gt(trial_low[p], v_zero());
            if (m_any(above)) {
                trial_low[p] = v_select(above, v_zero(), trial_low[p]);
                scale[p] = v_select(above, wlx[p] / wll[p], scale[p]);
            }
            trial_error[p] = v_zero();
        }
        for (int i = 0; i < n; i++) {
            for (int p = 0; p < pairs; p++) {
                vf d = scale[p] * l[p * n + i] + trial_low[p] - x[p * n + i];
                trial_error[p] += w[p * n + i] * v_cost(d, trials->absolute);
            }
        }
        for (int p = 0; p < pairs; p++) {
            affine *a = out + p;
            vm better = m_and(fits[p], v_lt(trial_error[p], error[p]));
            error[p] = v_select(better, trial_error[p], error[p]);
            a->scale = v_select(better, scale[p], a->scale);
            a->inverse = v_select(better, inverse[p], a->inverse);
            a->base = v_select(better, low[p], a->base);
            low[p] = v_select(better, trial_low[p], low[p]);
        }
    }
    for (int p = 0; p < pairs; p++) {
        affine *a = out + p;
        a->wild = m_and(a->wild, m_not(a->dead));
        a->scale = v_select(a->dead, v_zero(), a->scale);
        a->min = v_neg(low[p]);
    }
}

/* Codes (integers) of a group for the scale d and minimum m that were stored; the search's where d is 0. Returns the lanes that
 * may have wrapped.
 * The codes are the nearest integers of (x + m) / d. A division takes as long as a dozen other instructions, so (x + m) * (1 / d) stands
 * in for it: for a quotient below 64 it is off by less than 2^-16, so where it is not within 2^-15 of a half, both have the same
 * nearest integer; beyond 64 both are cut. Else the group is divided after all. */
LANE vm again_affine(int n, int n_max, const vf *x, const affine *a, vf d, vf m, vi *codes) {
    vm kept = v_eq(d, v_zero());
    vf divisor = v_select(kept, v_set(1), d), inverse = v_set(1) / divisor, doubt = v_zero();
    for (int i = 0; i < n; i++) {
        vf q = (x[i] + m) * inverse, rounded = q + v_set(MAGIC);
        doubt = v_max(v_abs(q - (rounded - v_set(MAGIC))), doubt);
        codes[i] = v_code(v_min(v_max(rounded, v_set(MAGIC)), v_set(MAGIC + (float)n_max)));
    }
    vf reach = v_max(v_abs(a->greatest + m), v_abs(a->least + m));
    vm wild = m_not(v_lt(v_abs(reach * inverse), v_set(0x1p21f)));
    if (m_any(m_not(v_lt(doubt, v_set(0.5f - 0x1p-15f))))) {
        for (int i = 0; i < n; i++) codes[i] = v_code(v_nearest_raw((x[i] + m) / divisor, 0, n_max));
    }
    if (m_any(kept)) {
        for (int i = 0; i < n; i++) {
            vi found = v_code(v_nearest_raw(a->inverse * (x[i] - a->base), 0, n_max));
            codes[i] = v_select_int(kept, v_select_int(a->dead, v_int(0), found), codes[i]);
        }
    }
    return m_and(wild, m_not(kept));
}

/* ---- x ~ scale * code, x >= 0 ------------------------------------------------------------------------------------------ */

/* kq_search_positive for n values (a vector each); codes as integers. Values below 0, whose codes would wrap, and quotients beyond
 * 2^22 make a lane wild. */
LANE vm search_positive(int n, int n_max, const vf *x, const vf *w, vf *scale_out, vi *codes) {
    vf most = v_zero(), least = v_zero(), l[16];
    for (int i = 0; i < n; i++) {
        most = v_max(x[i], most);
        least = v_min(x[i], least);
    }
    vm dead = v_lt(most, v_set(1e-15f)), wild = m_not(v_eq(least, v_zero()));
    vf chosen = v_set((float)n_max) / most, scale = v_set(1) / chosen, error = v_zero();
    for (int i = 0; i < n; i++) {
        vf d = x[i] - scale * v_nearest(chosen * x[i], 0, 255);
        error += w[i] * d * d;
    }
    for (int k = -4; k <= 4; k++) {
        if (k == 0) continue;
        vf inverse = v_set(0.1f * (float)k + (float)n_max) / most, trial_error = v_zero();
        scale = v_set(1) / inverse;
        for (int i = 0; i < n; i++) {
            vf d = x[i] - scale * v_nearest(inverse * x[i], 0, n_max);
            trial_error += w[i] * d * d;
        }
        vm better = v_lt(trial_error, error);
        error = v_select(better, trial_error, error);
        chosen = v_select(better, inverse, chosen);
    }
    vf wxl = v_zero(), wll = v_zero();
    for (int i = 0; i < n; i++) {
        l[i] = v_nearest(chosen * x[i], 0, n_max);
        wxl += w[i] * x[i] * l[i];
        wll += w[i] * l[i] * l[i];
    }
    vm active = m_not(dead);
    for (int sweep = 0; sweep < 5 && m_any(active); sweep++) {
        vm changed = m_none();
        for (int i = 0; i < n; i++) {
            vf a = wxl - w[i] * x[i] * l[i], b = wll - w[i] * l[i] * l[i];
            vm may = m_and(active, m_and(v_gt(a, v_zero()), v_gt(b, v_zero())));
            vf quotient = x[i] * b / a, code = v_nearest(quotient, 0, n_max);
            wild = m_or(wild, m_and(may, m_not(v_tame(quotient))));
            may = m_and(may, m_not(v_eq(code, l[i])));
            if (!m_any(may)) continue;
            a += w[i] * x[i] * code;
            b += w[i] * code * code;
            vm better = m_and(may, v_gt(a * a * wll, wxl * wxl * b));
            l[i] = v_select(better, code, l[i]);
            wxl = v_select(better, a, wxl);
            wll = v_select(better, b, wll);
            changed = m_or(changed, better);
        }
        active = changed;
    }
    for (int i = 0; i < n; i++) codes[i] = v_select_int(dead, v_int(0), v_truncate(l[i]));
    *scale_out = v_select(m_and(m_not(dead), v_gt(wll, v_zero())), wxl / wll, v_zero());
    return wild;
}


/* ---- x ~ scale * (code - n_max) ------------------------------------------------------------------------------------------ */

/* What the search of a group found: codes are nearest(inverse * x) + n_max, and 0 in the lanes of `dead`. */
typedef struct signed_fit {
    vf scale, inverse;
    vf most; /* of x, with its sign */
    vm dead;
} signed_fit;

/* sum w x l and sum w l l of `pairs` groups, for the codes that their inverses give. */
LANE void fit_signed(int pairs, int n, int n_max, const vf *inverse, const vf *x, const vf *wx, const vf *w, vf *wxl, vf *wll) {
    for (int p = 0; p < pairs; p++) wxl[p] = wll[p] = v_zero();
    for (int i = 0; i < n; i++) {
        for (int p = 0; p < pairs; p++) {
            vf l = v_nearest(inverse[p] * x[p * n + i], -n_max, n_max - 1);
            wxl[p] += wx[p * n + i] * l;
            wll[p] += w[p * n + i] * l * l;
        }
    }
}

/* kq_search_signed for `pairs` groups of n: x and w [pairs][n]; w NULL: x^2. Nothing wraps: |inverse * x| is at most n_max + 1. */
LANE void search_signed(int pairs, int n, int n_max, const vf *x, const vf *w, signed_fit *out) {
    enum { MOST = 2 };
    vf wx[MOST * 32], ww[MOST * 32], best[MOST], inverse[MOST], wxl[MOST], wll[MOST];
    for (int i = 0; i < pairs * n; i++) {
        ww[i] = x[i] * x[i];
        if (w) ww[i] = w[i];
        wx[i] = ww[i] * x[i];
    }
    for (int p = 0; p < pairs; p++) {
        out[p].most = v_greatest_signed(x + p * n, (size_t)n);
        out[p].dead = v_lt(v_abs(out[p].most), v_set(1e-15f));
        out[p].inverse = inverse[p] = v_set((float)-n_max) / out[p].most;
    }
    fit_signed(pairs, n, n_max, inverse, x, wx, ww, wxl, wll);
    for (int p = 0; p < pairs; p++) {
        out[p].scale = v_select(v_eq(wll[p], v_zero()), v_zero(), wxl[p] / wll[p]);
        best[p] = out[p].scale * wxl[p];
    }
    for (int k = -9; k <= 9; k++) {
        if (k == 0) continue;
        for (int p = 0; p < pairs; p++) inverse[p] = v_set(-((float)n_max + 0.1f * (float)k)) / out[p].most;
        fit_signed(pairs, n, n_max, inverse, x, wx, ww, wxl, wll);
        for (int p = 0; p < pairs; p++) {
            vm better = m_and(v_gt(wll[p], v_zero()), v_gt(wxl[p] * wxl[p], best[p] * wll[p]));
            vf scale = wxl[p] / wll[p];
            out[p].scale = v_select(better, scale, out[p].scale);
            out[p].inverse = v_select(better, inverse[p], out[p].inverse);
            best[p] = v_select(better, scale * wxl[p], best[p]);
        }
    }
    for (int p = 0; p < pairs; p++) out[p].scale = v_select(out[p].dead, v_zero(), out[p].scale);
}

LANE void signed_codes(int n, int n_max, const vf *x, const signed_fit *f, vi *codes) {
    for (int i = 0; i < n; i++) {
        vi code = v_code(v_nearest_raw(f->inverse * x[i], -n_max, n_max - 1)) + v_int(n_max);
        codes[i] = v_select_int(f->dead, v_int(0), code);
    }
}

/* As again_affine, for codes nearest(x / d) + n_max; where d is 0 they stay as they are. */
LANE vm again_signed(int n, int n_max, const vf *x, vf most, vf d, vi *codes) {
    vm kept = v_eq(d, v_zero());
    vf divisor = v_select(kept, v_set(1), d), inverse = v_set(1) / divisor, doubt = v_zero();
    vi found[32];
    for (int i = 0; i < n; i++) {
        vf q = x[i] * inverse, rounded = q + v_set(MAGIC);
        doubt = v_max(v_abs(q - (rounded - v_set(MAGIC))), doubt);
        found[i] = v_code(v_min(v_max(rounded, v_set(MAGIC - (float)n_max)), v_set(MAGIC + (float)(n_max - 1)))) + v_int(n_max);
    }
    vm wild = m_and(m_not(v_lt(v_abs(most * inverse), v_set(0x1p21f))), m_not(kept));
    if (m_any(m_not(v_lt(doubt, v_set(0.5f - 0x1p-15f))))) {
        for (int i = 0; i < n; i++) found[i] = v_code(v_nearest_raw(x[i] / divisor, -n_max, n_max - 1)) + v_int(n_max);
    }
    if (m_any(kept)) {
        for (int i = 0; i < n; i++) codes[i] = v_select_int(kept, codes[i], found[i]);
    } else {
        for (int i = 0; i < n; i++) codes[i] = found[i];
    }
    return wild;
}

#endif
