/* SPDX-License-Identifier: MIT */
/* Which point of a list is nearest to a cell: the inner loop of the lattice encoders. Here the lanes are points of the list.
 *
 * The reference's distance of a point with codes c is the sum over e, in order, of (w[e] * d) * d with d = scale * level[c[e]] - v[e].
 * An element has only 4 (or 8) such terms: they are computed once for a cell and a scale, and a point's distance is 8 (or 4) look-ups.
 * The terms have the reference's bits, and so have their sums if they are added in its order: NEAR_EXACT. AVX-512 looks up two
 * elements of 4 levels at a time in a table of 16, so its sums are ordered differently: each is within 14 * 2^-24 of the
 * reference's, relatively, as no term is negative. If no other is that near the least, it is the reference's least too; else the
 * few in question are summed again in order. */
#ifndef KQ_CODEC_NEAR_LANES_H
#define KQ_CODEC_NEAR_LANES_H

#include "codec/lanes/lanes.h"
#include "codec/lattice.h"

#include <float.h>

/* ---- lanes and rows ---------------------------------------------------------------------------------------------------- */

LANE vf v_index(void) {
    static const float index[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return v_load(index);
}

LANE vm v_lane(int lane) { return v_eq(v_index(), v_set((float)lane)); }

/* The lanes whose bits are set. */
LANE vm v_lanes(unsigned bits) {
#if defined(__AVX512F__)
    return (vm)bits;
#else
    vi all = v_int((int32_t)bits), own = v_int(0);
    for (int lane = 0; lane < KQ_LANES; lane++) own[lane] = 1 << lane;
    return (vm)((all & own) != v_int(0));
#endif
}

/* rows[lane] = element 0 .. n-1 of that lane; n is a multiple of 4. */
LANE void rows_out(int n, const vf *x, float (*rows)[32]) {
    uint8_t *to[KQ_LANES];
    for (int lane = 0; lane < KQ_LANES; lane++) to[lane] = (uint8_t *)rows[lane];
    for (int e = 0; e < n; e += 4) {
        vi words[4];
        for (int k = 0; k < 4; k++) words[k] = v_bits(x[e + k]);
        lanes_out(to, (size_t)e * sizeof(float), words);
    }
}

/* ---- lists ------------------------------------------------------------------------------------------------------------- */

enum { NEAR_ROOM = 320 }; /* distances of a list, with infinities up to a whole vector */

/* A cell: n values v and weights w, scale's levels at their codes. */
typedef struct near_cell {
    const float *v, *w, *levels;
    int n, bits;
} near_cell;

/* The first of the points whose distance d is at most limit that the reference would take; -1 where it has none. */
static int near_exactly(const near_cell *c, float scale, const uint16_t *list, int n, const float *d, float limit) {
    int best = -1;
    float least = FLT_MAX;
    for (int i = 0; i < n; i++) {
        if (d && !(d[i] <= limit)) continue;
        float distance = 0;
        for (int e = 0; e < c->n; e++) {
            float difference = scale * c->levels[list[i] >> c->bits * e & ((1 << c->bits) - 1)] - c->v[e];
            distance += c->w[e] * difference * difference;
        }
        if (distance < least) {
            least = distance;
            best = i;
        }
    }
    return best;
}

/* ---- terms and sums ----------------------------------------------------------------------------------------------------- */

#if defined(__AVX512F__)
typedef struct near8 { __m512 v[2], w[2], levels; } near8; /* element e in [e / 4], at 4 (e % 4) + code */
typedef struct near8_terms { __m512 pair[4]; } near8_terms; /* elements 2p, 2p + 1: [p] at code + 4 code */
#define NEAR8_EXACT 0

LANE void near8_load(near8 *c, const near_cell *cell) {
    const __m512i low = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3), high = _mm512_add_epi32(low, _mm512_set1_epi32(4));
    __m512 v = _mm512_castps256_ps512(_mm256_loadu_ps(cell->v)), w = _mm512_castps256_ps512(_mm256_loadu_ps(cell->w));
    c->v[0] = _mm512_permutexvar_ps(low, v);
    c->v[1] = _mm512_permutexvar_ps(high, v);
    c->w[0] = _mm512_permutexvar_ps(low, w);
    c->w[1] = _mm512_permutexvar_ps(high, w);
    c->levels = _mm512_broadcast_f32x4(_mm_loadu_ps(cell->levels));
}

LANE void near8_at(near8_terms *t, const near8 *c, float scale) {
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
    const __m512i second = _mm512_setr_epi32(4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7), eight = _mm512_set1_epi32(8);
    __m512 q = _mm512_mul_ps(_mm512_set1_ps(scale), c->levels);
    for (int h = 0; h < 2; h++) {
        __m512 d = _mm512_sub_ps(q, c->v[h]), term = _mm512_mul_ps(_mm512_mul_ps(c->w[h], d), d);
        t->pair[2 * h] = _mm512_add_ps(_mm512_permutexvar_ps(first, term), _mm512_permutexvar_ps(second, term));
        t->pair[2 * h + 1] = _mm512_add_ps(_mm512_permutexvar_ps(_mm512_add_epi32(first, eight), term),
                                           _mm512_permutexvar_ps(_mm512_add_epi32(second, eight), term));
    }
}

/* d[i] = the distance of point i, infinite from n up to a whole vector; returns the least. */
LANE float near8_scan(const near8_terms *t, const uint16_t *list, int n, float *d) {
    __m512 least = _mm512_set1_ps(__builtin_inff());
    for (int i = 0; i < n; i += 16) {
        __m512i key = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(list + i)));
        __m512 a = _mm512_add_ps(_mm512_permutexvar_ps(key, t->pair[0]), _mm512_permutexvar_ps(_mm512_srli_epi32(key, 4), t->pair[1]));
        __m512 b = _mm512_add_ps(_mm512_permutexvar_ps(_mm512_srli_epi32(key, 8), t->pair[2]),
                                 _mm512_permutexvar_ps(_mm512_srli_epi32(key, 12), t->pair[3]));
        __mmask16 real = _cvtu32_mask16(n - i >= 16 ? 0xffffu : (1u << (n - i)) - 1);
        __m512 sum = _mm512_mask_add_ps(_mm512_set1_ps(__builtin_inff()), real, a, b);
        _mm512_storeu_ps(d + i, sum);
        least = _mm512_min_ps(sum, least);
    }
    return _mm512_reduce_min_ps(least);
}

#elif defined(__AVX2__)
typedef struct near8 { __m256 v[4], w[4], levels; } near8; /* element e in [e / 2], at 4 (e % 2) + code */
typedef struct near8_terms { float at[8][4]; } near8_terms;
#define NEAR8_EXACT 1

LANE void near8_load(near8 *c, const near_cell *cell) {
    for (int p = 0; p < 4; p++) {
        c->v[p] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_set1_ps(cell->v[2 * p])), _mm_set1_ps(cell->v[2 * p + 1]), 1);
        c->w[p] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_set1_ps(cell->w[2 * p])), _mm_set1_ps(cell->w[2 * p + 1]), 1);
    }
    c->levels = _mm256_broadcast_ps((const __m128 *)(const void *)cell->levels);
}

LANE void near8_at(near8_terms *t, const near8 *c, float scale) {
    __m256 q = _mm256_mul_ps(_mm256_set1_ps(scale), c->levels);
    for (int p = 0; p < 4; p++) {
        __m256 d = _mm256_sub_ps(q, c->v[p]);
        _mm256_storeu_ps(t->at[2 * p], _mm256_mul_ps(_mm256_mul_ps(c->w[p], d), d));
    }
}

LANE float least_of_8(__m256 x) {
    __m128 least = _mm_min_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    least = _mm_min_ps(least, _mm_movehl_ps(least, least));
    return _mm_cvtss_f32(_mm_min_ss(least, _mm_movehdup_ps(least)));
}

LANE __m256 near_tail(__m256 sum, int left) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_blendv_ps(_mm256_set1_ps(__builtin_inff()), sum, _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(left), lane)));
}

LANE float near8_scan(const near8_terms *t, const uint16_t *list, int n, float *d) {
    __m256 least = _mm256_set1_ps(__builtin_inff()), term[8];
    for (int e = 0; e < 8; e++) term[e] = _mm256_broadcast_ps((const __m128 *)(const void *)t->at[e]);
    for (int i = 0; i < n; i += 8) {
        __m256i key = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(list + i)));
        __m256 sum = _mm256_permutevar_ps(term[0], key);
        for (int e = 1; e < 8; e++) sum = _mm256_add_ps(sum, _mm256_permutevar_ps(term[e], _mm256_srli_epi32(key, 2 * e)));
        sum = near_tail(sum, n - i);
        _mm256_storeu_ps(d + i, sum);
        least = _mm256_min_ps(sum, least);
    }
    return least_of_8(least);
}

#else
typedef struct near8 { const near_cell *cell; } near8;
typedef struct near8_terms { float at[8][4]; } near8_terms;
#define NEAR8_EXACT 1

LANE void near8_load(near8 *c, const near_cell *cell) { c->cell = cell; }

LANE void near_terms(const near_cell *c, float scale, float *terms) {
    int n_levels = 1 << c->bits;
    for (int e = 0; e < c->n; e++) {
        for (int l = 0; l < n_levels; l += KQ_LANES) {
            vf d = v_set(scale) * v_load(c->levels + l) - v_set(c->v[e]);
            v_store(terms + n_levels * e + l, v_set(c->w[e]) * d * d);
        }
    }
}

LANE void near8_at(near8_terms *t, const near8 *c, float scale) { near_terms(c->cell, scale, t->at[0]); }

LANE float near_pad(float *d, int n, float least) {
    for (; n % KQ_LANES; n++) d[n] = __builtin_inff();
    return least;
}

LANE float near8_scan(const near8_terms *t, const uint16_t *list, int n, float *d) {
    float least = __builtin_inff();
    for (int i = 0; i < n; i++) {
        unsigned key = list[i];
        float sum = t->at[0][key & 3];
        for (int e = 1; e < 8; e++) sum += t->at[e][key >> 2 * e & 3];
        d[i] = sum;
        least = sum < least ? sum : least;
    }
    return near_pad(d, n, least);
}
#endif

#if defined(__AVX2__)
typedef struct near4 { __m256 v[4], w[4], levels; } near4;
typedef struct near4_terms { __m256 at[4]; } near4_terms; /* lists are short: vectors of 8 with AVX-512 too */
#if defined(__AVX512F__)
LANE float least_of_8(__m256 x) {
    __m128 least = _mm_min_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    least = _mm_min_ps(least, _mm_movehl_ps(least, least));
    return _mm_cvtss_f32(_mm_min_ss(least, _mm_movehdup_ps(least)));
}
LANE __m256 near_tail(__m256 sum, int left) {
    return _mm256_mask_mov_ps(_mm256_set1_ps(__builtin_inff()), _cvtu32_mask8(left >= 8 ? 0xffu : (1u << left) - 1), sum);
}
#endif

LANE void near4_load(near4 *c, const near_cell *cell) {
    for (int e = 0; e < 4; e++) {
        c->v[e] = _mm256_set1_ps(cell->v[e]);
        c->w[e] = _mm256_set1_ps(cell->w[e]);
    }
    c->levels = _mm256_loadu_ps(cell->levels);
}

LANE void near4_at(near4_terms *t, const near4 *c, float scale) {
    __m256 q = _mm256_mul_ps(_mm256_set1_ps(scale), c->levels);
    for (int e = 0; e < 4; e++) {
        __m256 d = _mm256_sub_ps(q, c->v[e]);
        t->at[e] = _mm256_mul_ps(_mm256_mul_ps(c->w[e], d), d);
    }
}

LANE float near4_scan(const near4_terms *t, const uint16_t *list, int n, float *d) {
    __m256 least = _mm256_set1_ps(__builtin_inff());
    for (int i = 0; i < n; i += 8) {
        __m256i key = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(list + i)));
        __m256 sum = _mm256_permutevar8x32_ps(t->at[0], key);
        for (int e = 1; e < 4; e++) sum = _mm256_add_ps(sum, _mm256_permutevar8x32_ps(t->at[e], _mm256_srli_epi32(key, 3 * e)));
        sum = near_tail(sum, n - i);
        _mm256_storeu_ps(d + i, sum);
        least = _mm256_min_ps(sum, least);
    }
    return least_of_8(least);
}
#else
typedef struct near4 { const near_cell *cell; } near4;
typedef struct near4_terms { float at[4][8]; } near4_terms;
LANE void near4_load(near4 *c, const near_cell *cell) { c->cell = cell; }
LANE void near4_at(near4_terms *t, const near4 *c, float scale) { near_terms(c->cell, scale, t->at[0]); }
LANE float near4_scan(const near4_terms *t, const uint16_t *list, int n, float *d) {
    float least = __builtin_inff();
    for (int i = 0; i < n; i++) {
        unsigned key = list[i];
        float sum = t->at[0][key & 7] + t->at[1][key >> 3 & 7];
        sum += t->at[2][key >> 6 & 7];
        sum += t->at[3][key >> 9];
        d[i] = sum;
        least = sum < least ? sum : least;
    }
    return near_pad(d, n, least);
}
#endif

#if defined(__AVX2__)
enum { NEAR4_LANES = 8 };
#else
enum { NEAR4_LANES = KQ_LANES };
#endif
enum { NEAR8_LANES = KQ_LANES };

/* ---- choosing --------------------------------------------------------------------------------------------------------- */

/* How many of d[0 .. n-1] are at most limit, and which is the first. */
LANE int near_within(const float *d, int n, int lanes, float limit, int *first) {
    int count = 0, at = 0;
    for (int i = (n - 1) / lanes * lanes; i >= 0; i -= lanes) {
#if defined(__AVX512F__)
        unsigned m = lanes == 8 ? _cvtmask8_u32(_mm256_cmp_ps_mask(_mm256_loadu_ps(d + i), _mm256_set1_ps(limit), _CMP_LE_OQ))
                                : _cvtmask16_u32(_mm512_cmp_ps_mask(_mm512_loadu_ps(d + i), _mm512_set1_ps(limit), _CMP_LE_OQ));
#else
        unsigned m = m_bits(m_not(v_lt(v_set(limit), v_load(d + i)))) & ((1u << KQ_LANES) - 1);
#endif
        count += __builtin_popcount(m);
        at = m ? i + __builtin_ctz(m) : at;
    }
    *first = at;
    return count;
}

/* Distances beyond this may be infinite in another order of the sum. */
#define NEAR_FINITE 0x1p120f

/* Which point is the reference's, given all distances and the least: -1 where it has none. */
LANE int near_winner(const near_cell *c, float scale, const uint16_t *list, int n, int lanes, bool exact, const float *d, float least) {
    int first;
    if (!(least < NEAR_FINITE)) return near_exactly(c, scale, list, n, NULL, 0);
    float limit = exact ? least : least + least * 0x1p-18f;
    int count = near_within(d, n, lanes, limit, &first);
    return exact || count == 1 ? first : near_exactly(c, scale, list, n, d, limit);
}

#endif
