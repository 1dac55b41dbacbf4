/* SPDX-License-Identifier: MIT */
/* iq4_nl with a block in each lane, iq4_xs with a super-block: the reference is in iq4.c of the folder above. */
#include "codec/codebooks.h"
#include "codec/lanes/search_lanes.h"

/* The level nearest to v and its code, as v_levels of this variant finds them. Between two levels the upper one begins at their midpoint,
 * that included: near it both differences that the reference compares are exact. No NaN. */
static const float middles[15] = {-115.5f, -93.5f, -74, -57, -42, -28.5f, -16, -4.5f, 7, 19, 31.5f, 45.5f, 61, 79, 101};

#if defined(__AVX512F__)
/* Midpoints are at least 11.5 apart, so a stretch of 8 has at most one: stretch 8s .. 8s + 7 of -128 .. 127 begins with code first[s modulo 32],
 * and what is at its midpoint or above has the next. v / 8 is exact, so no v comes into the stretch beside its own. */
typedef struct levels {
    __m512 middle[2];
    __m512i first[2];
    __m512 level;
} levels;

LANE levels levels_make(void) {
    float middle[32], level[16];
    int32_t first[32];
    for (int s = 0; s < 32; s++) {
        float begin = (float)(8 * (s < 16 ? s : s - 32));
        int code = 0;
        while (code < 15 && middles[code] <= begin) code++;
        first[s] = code;
        middle[s] = code < 15 ? middles[code] : 0x1p100f; /* far off where the stretch has none */
    }
    for (int i = 0; i < 16; i++) level[i] = (float)kq_levels_iq4[i];
    return (levels){{_mm512_loadu_ps(middle), _mm512_loadu_ps(middle + 16)},
                    {_mm512_loadu_si512(first), _mm512_loadu_si512(first + 16)}, _mm512_loadu_ps(level)};
}

LANE vi nearest_code(const levels *t, vf v) {
    vf cut = _mm512_max_ps(_mm512_min_ps(v, _mm512_set1_ps(127)), _mm512_set1_ps(-128));
    __m512i stretch = _mm512_cvt_roundps_epi32(_mm512_mul_ps(cut, _mm512_set1_ps(0.125f)), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512 middle = _mm512_permutex2var_ps(t->middle[0], stretch, t->middle[1]);
    __m512i code = _mm512_permutex2var_epi32(t->first[0], stretch, t->first[1]);
    return (vi)_mm512_mask_add_epi32(code, _mm512_cmp_ps_mask(v, middle, _CMP_GE_OQ), code, _mm512_set1_epi32(1));
}

LANE vf level_of(const levels *t, vi code) { return _mm512_permutexvar_ps((__m512i)code, t->level); }

#else
typedef struct levels { int none; } levels;

LANE levels levels_make(void) { return (levels){0}; }

LANE vi nearest_code(const levels *t, vf v) {
    (void)t;
    vi code = v_int(0);
    for (int i = 0; i < 15; i++) code = v_count(v_ge(v, v_set(middles[i])), code);
    return code;
}

#if defined(__AVX2__)
LANE vf level_of(const levels *t, vi code) { /* bit 3 of the code chooses the half */
    (void)t;
    const __m256 low = _mm256_setr_ps(-127, -104, -83, -65, -49, -35, -22, -10), high = _mm256_setr_ps(1, 13, 25, 38, 53, 69, 89, 113);
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, (__m256i)code), _mm256_permutevar8x32_ps(high, (__m256i)code), (__m256)(code << 28));
}
#else
LANE vf level_of(const levels *t, vi code) {
    (void)t;
    return (vf){(float)kq_levels_iq4[code[0]], (float)kq_levels_iq4[code[1]], (float)kq_levels_iq4[code[2]], (float)kq_levels_iq4[code[3]]};
}
#endif
#endif

/* The scale of a group of 32 in each lane, of either sign. */
LANE vf search_iq4(const levels *t, const vf *x, const vf *w) {
    vf most = v_greatest_signed(x, 32), wx[32], scale = v_zero(), best = v_zero();
    vm dead = v_lt(v_abs(most), v_set(1e-15f));
    for (int i = 0; i < 32; i++) wx[i] = w[i];
    for (int k = -8; k <= 7; k++) { /* -8 stands for the first trial */
        vf inverse = k == -8 ? v_set(1) / (v_neg(most) / v_set(-127)) : v_set((float)(k - 127)) / most;
        vf a = v_zero(), b = v_zero();
        for (int i = 0; i < 32; i++) {
            vf q = level_of(t, nearest_code(t, inverse * x[i])), wq = wx[i] * q;
            a += wq * x[i];
            b += wq * q;
        }
        vm some = v_gt(b, v_zero()), better = k == -8 ? some : m_and(some, v_gt(a * a, best * b));
        scale = v_select(better, a / b, scale);
        best = v_select(better, scale * a, best);
    }
    return v_select(dead, v_zero(), scale);
}

/* The codes of 32 weights: 16 bytes at `at`. */
LANE void put_codes(const levels *t, const batch *b, const vf *x, vf inverse, size_t at) {
    vi words[4];
    for (int k = 0; k < 4; k++) {
        words[k] = v_int(0);
        for (int j = 0; j < 4; j++) {
            const vf *v = x + 4 * k + j;
            words[k] |= (nearest_code(t, inverse * v[0]) | nearest_code(t, inverse * v[16]) << 4) << 8 * j;
        }
    }
    lanes_out(b->out, at, words);
}

LANE void weigh(const batch *b, vf sigma2, const vf *x, size_t n, vf *w) {
    if (b->importances[0]) {
        lanes_in(b->importances, n, w);
        v_weigh(w, sigma2, x, n, w);
    } else {
        for (size_t i = 0; i < n; i++) w[i] = x[i] * x[i];
    }
}

LANE vf inverse_of(vf d) { return v_select(v_eq(d, v_zero()), v_zero(), v_set(1) / d); }
/* Where a product with a weight may be NaN. */
LANE vm infinite(vf x) { return m_not(v_lt(v_abs(x), v_set(0x1p127f))); }

bool ENCODER(iq4_nl)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    const levels t = levels_make();
    kq_block_iq4_nl beside;
    size_t n_blocks = rows * cols / 32;
    for (size_t first = 0; first < n_blocks; first += KQ_LANES) {
        batch b;
        vf x[32], w[32];
        batch_fill(&b, src, importances, dst, first, n_blocks, cols / 32, 32, sizeof beside, (uint8_t *)&beside);
        lanes_in(b.x, 32, x);
        weigh(&b, v_sum_of_squares(x, 32) * v_set(2.0f / 32), x, 32, w);
        vf scale = search_iq4(&t, x, w), inverse = inverse_of(scale);
        lanes_out_half(b.out, 0, v_to_f16(scale));
        put_codes(&t, &b, x, inverse, 2);
        vm redo = m_or(infinite(scale), infinite(inverse));
        if (m_any(redo)) batch_redo(&b, redo, kq_encode_iq4_nl, 32);
    }
    return true;
}

bool ENCODER(iq4_xs)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    const levels t = levels_make();
    kq_block_iq4_xs beside;
    size_t n_blocks = rows * cols / 256;
    for (size_t first = 0; first < n_blocks; first += KQ_LANES) {
        batch b;
        vf x[256], w[256], scales[8];
        batch_fill(&b, src, importances, dst, first, n_blocks, cols / 256, 256, sizeof beside, (uint8_t *)&beside);
        lanes_in(b.x, 256, x);
        weigh(&b, v_sum_of_squares(x, 256) * v_set(2.0f / 256), x, 256, w);
        for (int g = 0; g < 8; g++) scales[g] = search_iq4(&t, x + 32 * g, w + 32 * g);
        vf dd = v_neg(v_greatest_signed(scales, 8)) / v_set(32), inverse = inverse_of(dd);
        vm redo = m_or(v_not_finite(scales, 8), infinite(inverse));
        vi head[4] = {v_to_f16(dd), v_int(0), v_int(0), v_int(0)};
        for (int g = 0; g < 8; g++) {
            vf l = v_nearest(inverse * scales[g], -32, 31), inverse_l = inverse_of(dd * l);
            vi code = v_truncate(l) + v_int(32);
            put_codes(&t, &b, x + 32 * g, inverse_l, 8 + 16 * (size_t)g);
            head[0] |= code >> 4 << (16 + 2 * g);
            head[1] |= (code & 15) << 4 * g;
            redo = m_or(redo, infinite(inverse_l));
        }
        lanes_out_part(b.out, 0, head, 8);
        if (m_any(redo)) batch_redo(&b, redo, kq_encode_iq4_xs, 256);
    }
    return true;
}
