/* SPDX-License-Identifier: MIT */
/* The searches for the scale of a group. search.h says what the order of operations is worth. */
#include "codec/search.h"

/* Below this magnitude a group counts as zero. */
static const float nothing = 1e-15f;

/* sum w x l and sum w l l for the codes l that a scale of 1 / inverse gives. */
static void fit_signed(size_t n, int n_max, float inverse, const float *x, const float *w, float *wxl, float *wll) {
    float a = 0, b = 0;
    for (size_t i = 0; i < n; i++) {
        float l = (float)kq_clamp(kq_nearest(inverse * x[i]), -n_max, n_max - 1), weight = w ? w[i] : x[i] * x[i];
        a += weight * x[i] * l;
        b += weight * l * l;
    }
    *wxl = a;
    *wll = b;
}

static void put_signed(size_t n, int n_max, float inverse, const float *x, uint8_t *codes) {
    for (size_t i = 0; i < n; i++) codes[i] = (uint8_t)(kq_clamp(kq_nearest(inverse * x[i]), -n_max, n_max - 1) + n_max);
}

float kq_search_signed(size_t n, int n_max, const float *x, const float *w, uint8_t *codes) {
    float most = kq_greatest_signed(x, n), a, b;
    memset(codes, 0, n); /* 0, not the midpoint, for a zero group: so the formats have it */
    if (__builtin_fabsf(most) < nothing) return 0;
    float inverse = (float)-n_max / most, chosen = inverse;
    fit_signed(n, n_max, inverse, x, w, &a, &b);
    float scale = b != 0 ? a / b : 0, best = scale * a;
    for (int k = -9; k <= 9; k++) {
        if (k == 0) continue;
        inverse = -((float)n_max + 0.1f * (float)k) / most;
        fit_signed(n, n_max, inverse, x, w, &a, &b);
        if (b > 0 && a * a > best * b) {
            scale = a / b;
            best = scale * a;
            chosen = inverse;
        }
    }
    put_signed(n, n_max, chosen, x, codes);
    return scale;
}

float kq_refine_signed(size_t n, int n_max, const float *x, uint8_t *codes) {
    float most = kq_greatest_signed(x, n), wxl, wll;
    memset(codes, 0, n);
    if (__builtin_fabsf(most) < nothing) return 0;
    float inverse = (float)-n_max / most;
    put_signed(n, n_max, inverse, x, codes);
    fit_signed(n, n_max, inverse, x, NULL, &wxl, &wll);
    bool changed = true;
    for (int sweep = 0; sweep < 5 && changed; sweep++) {
        changed = false;
        for (size_t i = 0; i < n; i++) {
            float w = x[i] * x[i], l = (float)(codes[i] - n_max);
            float a = wxl - w * x[i] * l;
            if (!(a > 0)) continue;
            float b = wll - w * l * l;
            int code = kq_clamp(kq_nearest(x[i] * b / a), -n_max, n_max - 1) + n_max;
            if (code == codes[i]) continue;
            l = (float)(code - n_max);
            a += w * x[i] * l;
            b += w * l * l;
            if (b > 0 && a * a * wll > wxl * wxl * b) {
                codes[i] = (uint8_t)code;
                wxl = a;
                wll = b;
                changed = true;
            }
        }
    }
    return wll > 0 ? wxl / wll : 0;
}

static float affine_error(size_t n, const float *x, const float *w, const uint8_t *codes, float scale, float low, bool absolute) {
    float error = 0;
    for (size_t i = 0; i < n; i++) {
        float difference = scale * (float)codes[i] + low - x[i];
        error += w[i] * (absolute ? __builtin_fabsf(difference) : difference * difference);
    }
    return error;
}

float kq_search_affine(size_t n, int n_max, const float *x, const float *w, const kq_affine_trials *trials, uint8_t *codes, float *min) {
    float low = x[0], high = x[0], w1 = w[0], wx = w[0] * x[0];
    for (size_t i = 1; i < n; i++) {
        low = KQ_MIN(x[i], low);
        high = KQ_MAX(x[i], high);
        w1 += w[i];
        wx += w[i] * x[i];
    }
    if (low > 0) low = 0;
    if (high == low) {
        memset(codes, 0, n);
        *min = -low;
        return 0;
    }
    float inverse = (float)n_max / (high - low), scale = 1 / inverse;
    for (size_t i = 0; i < n; i++) codes[i] = (uint8_t)kq_clamp(kq_nearest(inverse * (x[i] - low)), 0, n_max);
    float error = affine_error(n, x, w, codes, scale, low, trials->absolute);
    for (int t = 0; t <= trials->last; t++) {
        uint8_t trial[32];
        float wl = 0, wll = 0, wlx = 0;
        inverse = (trials->first + trials->step * (float)t + (float)n_max) / (high - low); /* low may be an accepted trial's */
        for (size_t i = 0; i < n; i++) {
            trial[i] = (uint8_t)kq_clamp(kq_nearest(inverse * (x[i] - low)), 0, n_max);
            float l = (float)trial[i];
            wl += w[i] * l;
            wll += w[i] * l * l;
            wlx += w[i] * l * x[i];
        }
        float determinant = w1 * wll - wl * wl;
        if (!(determinant > 0)) continue;
        float trial_scale = (w1 * wlx - wx * wl) / determinant, trial_low = (wll * wx - wl * wlx) / determinant;
        if (trial_low > 0) {
            trial_low = 0;
            trial_scale = wlx / wll;
        }
        float trial_error = affine_error(n, x, w, trial, trial_scale, trial_low, trials->absolute);
        if (trial_error < error) {
            memcpy(codes, trial, n);
            error = trial_error;
            scale = trial_scale;
            low = trial_low;
        }
    }
    *min = -low;
    return scale;
}

static float positive_error(size_t n, int n_max, const float *x, const float *w, float inverse) {
    float scale = 1 / inverse, error = 0;
    for (size_t i = 0; i < n; i++) {
        int l = kq_nearest(inverse * x[i]);
        float difference = x[i] - scale * (float)KQ_MIN(n_max, l);
        error += w[i] * difference * difference;
    }
    return error;
}

float kq_search_positive(size_t n, int n_max, const float *x, const float *w, uint8_t *codes) {
    float most = 0;
    for (size_t i = 0; i < n; i++) most = KQ_MAX(x[i], most);
    memset(codes, 0, n);
    if (most < nothing) return 0;
    float inverse = (float)n_max / most, chosen = inverse, scale = 1 / inverse, error = 0;
    for (size_t i = 0; i < n; i++) { /* here alone a negative code counts as the byte it would be, and no code is cut to n_max */
        float difference = x[i] - scale * (float)kq_low_byte(kq_nearest(inverse * x[i]));
        error += w[i] * difference * difference;
    }
    for (int k = -4; k <= 4; k++) {
        if (k == 0) continue;
        inverse = (0.1f * (float)k + (float)n_max) / most;
        float trial_error = positive_error(n, n_max, x, w, inverse);
        if (trial_error < error) {
            error = trial_error;
            chosen = inverse;
        }
    }
    float wxl = 0, wll = 0;
    for (size_t i = 0; i < n; i++) {
        int l = kq_nearest(chosen * x[i]);
        l = KQ_MIN(n_max, l);
        codes[i] = kq_low_byte(l);
        wxl += w[i] * x[i] * (float)l;
        wll += w[i] * (float)l * (float)l;
    }
    bool changed = true;
    for (int sweep = 0; sweep < 5 && changed; sweep++) {
        changed = false;
        for (size_t i = 0; i < n; i++) {
            float l = (float)codes[i];
            float a = wxl - w[i] * x[i] * l, b = wll - w[i] * l * l;
            if (!(a > 0 && b > 0)) continue;
            int code = kq_nearest(x[i] * b / a);
            code = KQ_MIN(n_max, code);
            if (code == codes[i]) continue;
            l = (float)code;
            a += w[i] * x[i] * l;
            b += w[i] * l * l;
            if (a * a * wll > wxl * wxl * b) {
                codes[i] = kq_low_byte(code);
                wxl = a;
                wll = b;
                changed = true;
            }
        }
    }
    return wll > 0 ? wxl / wll : 0;
}
