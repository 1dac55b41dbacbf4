/* SPDX-License-Identifier: MIT */
/* decode, rows1, rowsm and batch of a codec for AVX-512, from how it takes a unit of 256 weights apart. Before including:
 *
 *     KERNEL(op)    spells the kernels' names
 *     BLOCK         the block's type; UNIT_BLOCKS, how many are a unit: 1, 2, 4 or 8
 *     GROUP         weights that share a scale: 32 (or more) or 16
 *     MOST          the largest code, at most 255
 *     OFFSET        what a code stands for: a weight is (code - OFFSET) * scale, and codes less OFFSET are -128 .. 127
 *     MINIMA        1: a weight is code * scale - OFFSET * minimum, OFFSET being 1 or -1; 0 otherwise
 *     lanes         a type: constants that stay in registers; make_lanes() makes them
 *     unit_codes(b, l, codes)                the codes in the order of the weights, 64 in a register
 *     unit_scales(b, l, &scales, &minima)    GROUP 32: the scales in lanes 0..7 of scales, and in 8..15 what OFFSET multiplies: minima, or
 *                                            the scales again. GROUP 16: sixteen scales, and, where there are MINIMA, those
 *     LEVELS        the 16 values that 4-bit codes name, as bytes, where they do: and unit_names(b, l, codes), the names
 *     TURNED        where bytes can be put sooner than codes: and pair_turned(), below
 *     and no other definition of a symbol. All bytes from b on to the end of the unit may be read.
 *
 * A pair of rows is summed in one order, whatever the number of activation rows. VNNI multiplies an unsigned code by a signed activation
 * and adds four; all products of a group are added in integers: 32 * 255 * 127 is exact in f32. Then, for each group,
 *
 *     sum[lane] = fma(products as a float, scale * the activations' scale, sum[lane])
 *     sum[lane] = fma(what is to be added, the sum of the activations, sum[lane])
 *
 * where a lane is a group of 16 of even or of odd units, or a group of 32 of these; and sum_lanes adds them.
 *
 * rows1 and rowsm have weights in their order in a register, so each product has a sum of four in each lane, and the lanes of four registers
 * are added crosswise. Small codes do it with 16-bit packs and vpmaddwd by ones: an instruction fewer for each pair of registers.
 *
 * batch has a group for each lane, in weights and in woven activations: nothing is added crosswise. Taking weights apart so costs more, but once for
 * all activation rows. */
#include "cpu/x86/unit_avx512icl.h"

/* Lanes 4 * quarter + p: the sum of the quarter of products[p], which are sums of four. */
INLINE __m512i quarter_sums(const __m512i products[4]) {
    __m512i a, b;
    if (MOST <= 64) { /* 4 * 64 * 127 fits 16 bits */
        const __m512i ones = _mm512_set1_epi16(1);
        a = _mm512_madd_epi16(_mm512_packs_epi32(products[0], products[1]), ones);
        b = _mm512_madd_epi16(_mm512_packs_epi32(products[2], products[3]), ones);
        if (MOST <= 32) return _mm512_madd_epi16(_mm512_packs_epi32(a, b), ones);
        __m512 x = _mm512_castsi512_ps(a), y = _mm512_castsi512_ps(b);
        return _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(x, y, 0x88)), _mm512_castps_si512(_mm512_shuffle_ps(x, y, 0xdd)));
    }
    a = _mm512_add_epi32(_mm512_unpacklo_epi32(products[0], products[1]), _mm512_unpackhi_epi32(products[0], products[1]));
    b = _mm512_add_epi32(_mm512_unpacklo_epi32(products[2], products[3]), _mm512_unpackhi_epi32(products[2], products[3]));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

INLINE __m512i unit_products(const __m512i codes[4], const kq_act8 *x) {
    __m512i products[4];
    for (int p = 0; p < 4; p++) products[p] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes[p], _mm512_load_si512(x->q + 64 * p));
    return quarter_sums(products);
}

/* What is added for a group is its last argument times the sum of activations; |OFFSET| and the sign are exact. */
INLINE __m512 subtrahend(__m512 m) { return OFFSET == 1 || OFFSET == -1 ? m : _mm512_mul_ps(m, _mm512_set1_ps(OFFSET)); }
INLINE __m512 subtract(__m512 m, __m512 x, __m512 sum) { return OFFSET < 0 ? _mm512_fmadd_ps(m, x, sum) : _mm512_fnmadd_ps(m, x, sum); }

#if GROUP == 32

enum { SUMS = 1 }; /* a register: lane 8 * unit + group */

INLINE __m512 two_floats8(const float *a, const float *b) {
    __m512 low = _mm512_zextps256_ps512(_mm256_load_ps(a));
    return b ? _mm512_castpd_ps(_mm512_insertf64x4(_mm512_castps_pd(low), _mm256_load_pd((const double *)(const void *)b), 1)) : low;
}

/* Two units, or one, whose place beside it stays zero. */
INLINE void add_units(const BLOCK *b, const BLOCK *next, const lanes *l, const kq_act8 *const *x, size_t i, __m512 (*sums)[SUMS], const size_t M) {
    const __m512i first = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 16, 24, 17, 25, 18, 26, 19, 27);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(4));
    __m512 s, m, unused;
    __m512i codes[2][4];
    unit_codes(b, l, codes[0]);
    unit_scales(b, l, &s, &unused);
    if (next) {
        __m512 s1;
        unit_codes(next, l, codes[1]);
        unit_scales(next, l, &s1, &unused);
        m = MINIMA ? _mm512_shuffle_f32x4(s, s1, 0xee) : _mm512_shuffle_f32x4(s, s1, 0x44);
        s = _mm512_shuffle_f32x4(s, s1, 0x44);
    } else {
        m = MINIMA ? _mm512_maskz_shuffle_f32x4(0x00ff, s, s, 0xee) : _mm512_maskz_mov_ps(0x00ff, s);
        s = _mm512_maskz_mov_ps(0x00ff, s);
    }
    m = subtrahend(m);
    for (size_t j = 0; j < M; j++) {
        __m512i a = unit_products(codes[0], &x[j][i]), c = next ? unit_products(codes[1], &x[j][i + 1]) : _mm512_setzero_si512();
        __m512i products = _mm512_add_epi32(_mm512_permutex2var_epi32(a, first, c), _mm512_permutex2var_epi32(a, second, c));
        __m512 t = _mm512_mul_ps(s, two_floats8(x[j][i].scale, next ? x[j][i + 1].scale : NULL));
        sums[j][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), t, sums[j][0]);
        sums[j][0] = subtract(m, two_floats8(x[j][i].sum, next ? x[j][i + 1].sum : NULL), sums[j][0]);
    }
}

#else

enum { SUMS = 2 }; /* a register for each unit of two: lane 2 * (group of 32) + half */

INLINE void add_unit(const BLOCK *b, const lanes *l, const kq_act8 *const *x, size_t i, __m512 (*sums)[SUMS], const size_t u, const size_t M) {
    const __m512i natural = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i pairs = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    __m512 s, m;
    __m512i codes[4];
    unit_codes(b, l, codes);
    unit_scales(b, l, &s, &m);
    m = subtrahend(MINIMA ? m : s);
    for (size_t j = 0; j < M; j++) {
        __m512i products = _mm512_permutexvar_epi32(natural, unit_products(codes, &x[j][i]));
        __m512 t = _mm512_mul_ps(s, _mm512_permutexvar_ps(pairs, _mm512_load_ps(x[j][i].scale))); /* with sum[] behind it, unused */
        sums[j][u] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), t, sums[j][u]);
        sums[j][u] = subtract(m, _mm512_load_ps(x[j][i].sum16), sums[j][u]);
    }
}

INLINE void add_units(const BLOCK *b, const BLOCK *next, const lanes *l, const kq_act8 *const *x, size_t i, __m512 (*sums)[SUMS], const size_t M) {
    add_unit(b, l, x, i, sums, 0, M);
    if (next) add_unit(next, l, x, i + 1, sums, 1, M);
    else for (size_t j = 0; j < M; j++) sums[j][1] = _mm512_add_ps(sums[j][1], _mm512_setzero_ps()); /* as batch: a zero has no sign */
}

#endif

/* The tree of a row's end: units of two, halves of a group, even and odd groups, then the groups 0 2 4 6 (1 3 5 7) as (0 + 4) + (2 + 6). */
INLINE float sum_eight(__m256 eight) { /* groups 0 2 4 6 1 3 5 7 */
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE __m256 add_halves(__m512 sum) {
    return _mm256_add_ps(_mm512_castps512_ps256(sum), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(sum), 1)));
}
INLINE float sum_lanes(const __m512 sums[SUMS]) {
    const __m512i order = GROUP == 32 ? _mm512_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15)
                                      : _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15);
    __m512 sum = sums[0];
    if (GROUP == 16) sum = _mm512_add_ps(sum, sums[SUMS - 1]);
    return sum_eight(add_halves(_mm512_permutexvar_ps(order, sum)));
}

INLINE void rows_m(const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *const *x, float *const *y, const size_t M) {
    const lanes l = make_lanes();
    size_t whole = n_blocks / UNIT_BLOCKS, left = n_blocks % UNIT_BLOCKS;
    for (size_t r = 0; r < n_rows; r++, w += row_bytes) {
        const BLOCK *b = (const BLOCK *)(const void *)w;
        __m512 sums[2][SUMS];
        size_t i = 0;
        for (size_t j = 0; j < M; j++)
            for (size_t k = 0; k < SUMS; k++) sums[j][k] = _mm512_setzero_ps();
        for (; i + 2 <= whole; i += 2) {
            const BLOCK *at = b + UNIT_BLOCKS * i;
            prefetch_weights(at, 2 * UNIT_BLOCKS * sizeof *b);
            add_units(at, at + UNIT_BLOCKS, &l, x, i, sums, M);
        }
        if (i < whole && !left) add_units(b + UNIT_BLOCKS * i, NULL, &l, x, i, sums, M);
        if (left) { /* the missing blocks are zeros */
            BLOCK rest[2 * UNIT_BLOCKS];
            size_t have = n_blocks - UNIT_BLOCKS * i;
            memset(rest, 0, sizeof rest);
            memcpy(rest, b + UNIT_BLOCKS * i, have * sizeof *b);
            if (have > UNIT_BLOCKS) add_units(rest, rest + UNIT_BLOCKS, &l, x, i, sums, M);
            else add_units(rest, NULL, &l, x, i, sums, M);
        }
        for (size_t j = 0; j < M; j++) y[j][r] = sum_lanes(sums[j]);
    }
}

void KERNEL(rows1)(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *x, float *y) {
    rows_m(w, row_bytes, n_rows, n_blocks, &x, &y, 1);
}

/* ---- batch --------------------------------------------------------------------------------------------------------- */

/* Two units are taken apart into eight registers: register s has dword s of each of their sixteen groups, in the order of weave (kernels.h), so that a
 * lane is a group's and nothing is added crosswise. A codec whose bytes can be put so sooner than codes defines TURNED and pair_turned(). */
#ifndef TURNED
INLINE void pair_turned(const BLOCK *b, const BLOCK *next, const lanes *l, __m512i q[8]) {
    __m512i c[2][4];
    unit_codes(b, l, c[0]);
    unit_codes(next, l, c[1]);
    turn_codes(c, q);
}
#endif

typedef struct pair {
    __m512i q[8];
    __m512 scales[SUMS], added[SUMS]; /* of groups, or of their first and second halves */
} pair;

/* Where there is no second unit, the first stands in for it, with scales of zero. */
INLINE void open_pair(const BLOCK *b, const BLOCK *next, const lanes *l, pair *p) {
    const __m512i order = GROUP == 32 ? _mm512_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7, 16, 18, 20, 22, 17, 19, 21, 23)
                                      : _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 16, 20, 24, 28, 18, 22, 26, 30);
    const __mmask16 there = next ? 0xffff : 0x00ff;
    __m512 s[2], m[2];
    if (!next) next = b;
    pair_turned(b, next, l, p->q);
    unit_scales(b, l, &s[0], &m[0]);
    unit_scales(next, l, &s[1], &m[1]);
    for (int h = 0; h < SUMS; h++) {
        const __m512i at = _mm512_add_epi32(order, _mm512_set1_epi32(h));
        p->scales[h] = _mm512_maskz_permutex2var_ps(there, s[0], at, s[1]);
        p->added[h] = subtrahend(
            MINIMA ? _mm512_maskz_permutex2var_ps(there, m[0], GROUP == 32 ? _mm512_add_epi32(at, _mm512_set1_epi32(8)) : at, m[1]) : p->scales[h]);
    }
}

/* What is fetched meanwhile: into L1, and into L2. */
typedef struct stream {
    const uint8_t *near, *far;
} stream;

/* A pair's products with N activation rows: their chains run beside each other, for each takes as long as eight products do. `lines` of the stream are
 * fetched in between, not in a burst, which would fill the buffers and leave nothing to wait for during the arithmetic. */
INLINE void add_pair(const pair *p, const uint8_t *x, float *sums, const stream *at, const int lines, const int N) {
    __m512i t[4][SUMS];
#pragma GCC unroll 8
    for (int s = 0; s < 8; s++) {
        const int h = SUMS == 1 ? 0 : s % 2, d = SUMS == 1 ? s : 4 * h + s / 2; /* halves in turn */
#pragma GCC unroll 4
        for (int j = 0; j < N; j++) {
            t[j][h] = _mm512_dpbusd_epi32(s < SUMS ? _mm512_setzero_si512() : t[j][h], p->q[d], _mm512_load_si512(x + KQ_WOVEN * j + 64 * d));
        }
#pragma GCC unroll 4
        for (int k = lines * s / 8; k < lines * (s + 1) / 8; k++) {
            _mm_prefetch((const char *)at->near + 64 * k, _MM_HINT_T0);
            _mm_prefetch((const char *)at->far + 64 * k, _MM_HINT_T1);
        }
    }
#pragma GCC unroll 4
    for (int j = 0; j < N; j++, x += KQ_WOVEN, sums += 16 * SUMS) {
        __m512 scales = _mm512_load_ps(x + WOVEN_SCALES);
#pragma GCC unroll 2
        for (int h = 0; h < SUMS; h++) {
            __m512 sum = _mm512_load_ps(sums + 16 * h);
            sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(t[j][h]), _mm512_mul_ps(p->scales[h], scales), sum);
            _mm512_store_ps(sums + 16 * h, subtract(p->added[h], _mm512_load_ps(x + (GROUP == 32 ? WOVEN_SUMS : WOVEN_SUMS16 + 64 * h)), sum));
        }
    }
}

/* `count` pairs of a row from `from` on, times m activation rows; what is `ahead` bytes behind them comes meanwhile. */
INLINE void add_piece(const BLOCK *row, size_t n_blocks, size_t from, size_t count, const lanes *l, const uint8_t *x, size_t m, float *sums,
                      size_t ahead) {
    const int lines = (2 * UNIT_BLOCKS * sizeof(BLOCK) + 63) / 64;
    for (size_t i = from; i < from + count; i++, x += KQ_WOVEN * m) {
        const BLOCK *b = row + 2 * UNIT_BLOCKS * i;
        const stream at = {(const uint8_t *)b + 1024, (const uint8_t *)b + ahead};
        size_t have = n_blocks - 2 * UNIT_BLOCKS * i, j = 0;
        BLOCK rest[2 * UNIT_BLOCKS];
        pair p;
        if (have >= 2 * UNIT_BLOCKS) {
            open_pair(b, b + UNIT_BLOCKS, l, &p);
        } else { /* the missing blocks are zeros */
            memset(rest, 0, sizeof rest);
            memcpy(rest, b, have * sizeof *b);
            open_pair(rest, have > UNIT_BLOCKS ? rest + UNIT_BLOCKS : NULL, l, &p);
        }
        if (m >= 4) {
            add_pair(&p, x, sums, &at, lines, 4);
            for (j = 4; j + 4 <= m; j += 4) add_pair(&p, x + KQ_WOVEN * j, sums + 16 * SUMS * j, &at, 0, 4);
            if (m & 2) add_pair(&p, x + KQ_WOVEN * j, sums + 16 * SUMS * j, &at, 0, 2);
        } else if (m & 2) {
            add_pair(&p, x, sums, &at, lines, 2);
        }
        if (m & 1) add_pair(&p, x + KQ_WOVEN * (m - 1), sums + 16 * SUMS * (m - 1), &at, 0, 1);
    }
}

INLINE float sum_woven(const float *sums) {
    __m256 eight = add_halves(_mm512_load_ps(sums));
    if (SUMS == 2) eight = _mm256_add_ps(eight, add_halves(_mm512_load_ps(sums + 16)));
    return sum_eight(eight);
}

/* Where a row's activations do not stay in L1, pieces of them that do meet ROWS rows. */
void KERNEL(batch)(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const uint8_t *x, float *const *y, size_t m) {
    enum { IN_L1 = 26 << 10, ROWS = 8 };
    _Alignas(64) float sums[ROWS][KQ_BATCH * SUMS * 16];
    const lanes l = make_lanes();
    size_t pairs = (n_blocks + 2 * UNIT_BLOCKS - 1) / (2 * UNIT_BLOCKS), piece = KQ_MAX(IN_L1 / KQ_WOVEN / m, 1);
    size_t n_together = pairs <= piece ? 1 : ROWS;
    for (size_t first = 0, n; first < n_rows; first += n) {
        const uint8_t *rows = (const uint8_t *)w + first * row_bytes;
        n = KQ_MIN(n_rows - first, n_together);
        for (size_t r = 0; r < n; r++) memset(sums[r], 0, m * SUMS * 64);
        for (size_t from = 0, count; from < pairs; from += count) {
            count = KQ_MIN(pairs - from, piece);
            for (size_t r = 0; r < n; r++)
                add_piece((const BLOCK *)(const void *)(rows + r * row_bytes), n_blocks, from, count, &l, x + from * m * KQ_WOVEN, m, sums[r],
                          n_together > 1 ? ROWS * row_bytes : 8192);
        }
        for (size_t r = 0; r < n; r++)
            for (size_t j = 0; j < m; j++) y[j][first + r] = sum_woven(sums[r] + 16 * SUMS * j);
    }
}

/* Two activation rows share the weights' registers; more are a batch, and what calls rowsm with more has no woven rows. */
void KERNEL(rowsm)(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *const *x, float *const *y, size_t m) {
    size_t most = row_bytes && row_bytes < 16 << 10 ? ((size_t)16 << 10) / row_bytes : 1; /* rows that stay in L1 for the next two */
    const uint8_t *at = w;
    for (size_t first = 0, n; first < n_rows; first += n, at += n * row_bytes) {
        n = KQ_MIN(n_rows - first, most);
        for (size_t j = 0; j < m; j += 2) {
            float *out[2] = {y[j] + first, j + 1 < m ? y[j + 1] + first : NULL};
            if (j + 1 < m) rows_m(at, row_bytes, n, n_blocks, x + j, out, 2);
            else rows_m(at, row_bytes, n, n_blocks, x + j, out, 1);
        }
    }
}

#include "cpu/x86/decode_avx512icl_tmpl.h"
