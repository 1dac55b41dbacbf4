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
 *     and no other definition of a symbol. All bytes from b on to the end of the unit may be read.
 *
 * A pair of rows is summed in one order, whatever the number of activation rows. VNNI multiplies an unsigned code by a signed activation
 * and adds four; all products of a group are added in integers: 32 * 255 * 127 is exact in f32. Then, for each group,
 *
 *     sum[lane] = fma(products as a float, scale * the activations' scale, sum[lane])
 *     sum[lane] = fma(what is to be added, the sum of the activations, sum[lane])
 *
 * where a lane is a group of 16 within a unit, or a group of 32 within two units; and sum_lanes adds the sixteen.
 *
 * rows1 and rowsm have weights in their order in a register, so each product has a sum of four in each lane, and the lanes of four registers
 * are added crosswise. Small codes do it with 16-bit packs and vpmaddwd by ones: an instruction fewer for each pair of registers.
 *
 * batch has the lanes of other activation rows beside each other, and broadcasts weights: nothing is added crosswise, and the conversion and
 * the scales' products, of which rows1 has one for each 4 products, come once for 8 of them, mill() below. */
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

enum { UNITS = 2 }; /* in a register of group sums: lane 8 * unit + group */

INLINE __m512 two_floats8(const float *a, const float *b) {
    __m512 low = _mm512_zextps256_ps512(_mm256_load_ps(a));
    return b ? _mm512_castpd_ps(_mm512_insertf64x4(_mm512_castps_pd(low), _mm256_load_pd((const double *)(const void *)b), 1)) : low;
}

/* Two units, or one, whose place beside it stays zero. */
INLINE void add_units(const BLOCK *b, const BLOCK *next, const lanes *l, const kq_act8 *const *x, size_t i, __m512 *sums, const size_t M) {
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
        sums[j] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), t, sums[j]);
        sums[j] = subtract(m, two_floats8(x[j][i].sum, next ? x[j][i + 1].sum : NULL), sums[j]);
    }
}

#else

enum { UNITS = 1 }; /* in a register of group sums: lane 2 * (group of 32) + half */

INLINE void add_units(const BLOCK *b, const BLOCK *next, const lanes *l, const kq_act8 *const *x, size_t i, __m512 *sums, const size_t M) {
    const __m512i natural = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i pairs = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    (void)next;
    __m512 s, m;
    __m512i codes[4];
    unit_codes(b, l, codes);
    unit_scales(b, l, &s, &m);
    m = subtrahend(MINIMA ? m : s);
    for (size_t j = 0; j < M; j++) {
        __m512i products = _mm512_permutexvar_epi32(natural, unit_products(codes, &x[j][i]));
        __m512 t = _mm512_mul_ps(s, _mm512_permutexvar_ps(pairs, _mm512_load_ps(x[j][i].scale))); /* with sum[] behind it, unused */
        sums[j] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), t, sums[j]);
        sums[j] = subtract(m, _mm512_load_ps(x[j][i].sum16), sums[j]);
    }
}

#endif

/* The tree of a row's end: unit of two (or half of a group), even and odd groups, then the groups 0 2 4 6 (1 3 5 7) as (0 + 4) + (2 + 6). */
INLINE float sum_lanes(__m512 sum) {
    const __m512i order = GROUP == 32 ? _mm512_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15)
                                      : _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15);
    sum = _mm512_permutexvar_ps(order, sum);
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sum), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(sum), 1)));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

INLINE void rows_m(const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *const *x, float *const *y, const size_t M) {
    const lanes l = make_lanes();
    size_t whole = n_blocks / UNIT_BLOCKS, left = n_blocks % UNIT_BLOCKS;
    for (size_t r = 0; r < n_rows; r++, w += row_bytes) {
        const BLOCK *b = (const BLOCK *)(const void *)w;
        __m512 sums[2];
        size_t i = 0;
        for (size_t j = 0; j < M; j++) sums[j] = _mm512_setzero_ps();
        for (; i + UNITS <= whole; i += UNITS) {
            const BLOCK *at = b + UNIT_BLOCKS * i;
            prefetch_weights(at, UNITS * UNIT_BLOCKS * sizeof *b);
            add_units(at, UNITS == 2 ? at + UNIT_BLOCKS : NULL, &l, x, i, sums, M);
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

/* Four weight rows, 1024 weights at a time, are taken apart into a panel, which stays in L1. Of 256 codes, dword s of the groups 0 2 4 6 (and
 * 1 3 5 7) lies at CODES_AT: 16 bytes that are one weight dword for each lane of 4 activation rows, or twice 8 for 8 rows. A codec whose bytes
 * can be put so sooner than codes defines TURNED, and unit_turned() makes four registers of them; from codes in their order it takes eight
 * instructions, which give another order of dwords. Scales and what is to be added come in the same order of groups. */
#ifdef TURNED
#define CODES_AT(odd, s) (128 * (odd) + 16 * (s))
#else
#define CODES_AT(odd, s) (64 * ((s) % 4) + 32 * (odd) + 16 * ((s) / 4))
INLINE void unit_turned(const BLOCK *b, const lanes *l, __m512i turned[4]) {
    __m512i c[4];
    unit_codes(b, l, c);
    __m512i a0 = _mm512_unpacklo_epi32(c[0], c[1]), a1 = _mm512_unpackhi_epi32(c[0], c[1]);
    __m512i b0 = _mm512_unpacklo_epi32(c[2], c[3]), b1 = _mm512_unpackhi_epi32(c[2], c[3]);
    turned[0] = _mm512_unpacklo_epi64(a0, b0);
    turned[1] = _mm512_unpackhi_epi64(a0, b0);
    turned[2] = _mm512_unpacklo_epi64(a1, b1);
    turned[3] = _mm512_unpackhi_epi64(a1, b1);
}
#endif

enum { PANEL_ROWS = 4, PANEL_UNITS = 4, HALVES = GROUP == 32 ? 1 : 2 };
typedef struct panel {
    _Alignas(64) uint8_t codes[PANEL_UNITS][PANEL_ROWS][256];
    float scales[PANEL_UNITS][PANEL_ROWS][2][8 * HALVES]; /* scales, then what is to be added; each half of groups of 16 by itself */
} panel;

INLINE void turn_unit(const BLOCK *b, const lanes *l, uint8_t *codes, float *scales) {
    __m512i c[4];
    __m512 s, m;
    unit_turned(b, l, c);
    for (int i = 0; i < 4; i++) _mm512_store_si512(codes + 64 * i, c[i]);
    unit_scales(b, l, &s, &m);
#if GROUP == 32
    const __m512i order = _mm512_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
    s = _mm512_permutexvar_ps(order, s);
    _mm512_store_ps(scales, _mm512_mask_mul_ps(s, 0xff00, s, _mm512_set1_ps(-(OFFSET))));
#else
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15);
    _mm512_store_ps(scales, _mm512_permutexvar_ps(order, s));
    _mm512_store_ps(scales + 16, _mm512_permutexvar_ps(order, _mm512_mul_ps(MINIMA ? m : s, _mm512_set1_ps(-(OFFSET)))));
#endif
}

INLINE void turn_row(const BLOCK *row, size_t n_blocks, size_t from, size_t count, const lanes *l, panel *p, size_t r) {
    for (size_t i = 0; i < count; i++) {
        size_t block = (from + i) * UNIT_BLOCKS;
        const BLOCK *b = row + block;
        BLOCK rest[UNIT_BLOCKS];
        if (UNIT_BLOCKS > 1 && n_blocks - block < UNIT_BLOCKS) { /* the missing blocks are zeros */
            memset(rest, 0, sizeof rest);
            memcpy(rest, b, (n_blocks - block) * sizeof *b);
            b = rest;
        }
        turn_unit(b, l, p->codes[i][r], p->scales[i][r][0]);
    }
}

/* The dwords, or floats, of one group for each lane of `width` activation rows. */
INLINE __m512i spread(const void *p, const size_t width) {
    return width == 8 ? _mm512_set1_epi64((long long)kq_load_u64(p)) : _mm512_broadcast_i32x4(load16(p));
}

/* The sums of a panel's rows and up to 8 activation rows, for each lane of rows1: eight groups, of two kinds: units of two or halves of groups.
 * They do not fit the registers together, so one kind goes after the other. */
typedef float sums_state[2][PANEL_ROWS][4][16];

/* A panel of n units times `width` woven activation rows. Each lane is one of 2 (4) groups of one of 8 (4) rows; 4 (2) registers are the groups of a
 * unit, for each of four weight rows. A register of activations serves four weight rows: 5 loads for 4 products, and two load ports. `lines` of what
 * comes next are fetched for each register. */
INLINE void mill(const panel *p, size_t n, const uint8_t *x, sums_state state, const uint8_t *ahead, size_t lines, const size_t width) {
    const size_t fours = width / 2, unit_bytes = width * sizeof(kq_act8), steps = GROUP == 32 ? 8 : 4;
    for (size_t c = 0; c < 2; c++) {
        __m512 sums[PANEL_ROWS][4];
        for (size_t r = 0; r < PANEL_ROWS; r++)
            for (size_t k = 0; k < fours; k++) sums[r][k] = _mm512_load_ps(state[c][r][k]);
        for (size_t i = GROUP == 32 ? c : 0; i < n; i += UNITS) {
            const uint8_t *at = x + i * unit_bytes, *codes = p->codes[i][0] + (GROUP == 32 ? 0 : CODES_AT(0, 4 * c));
            const float *scales = p->scales[i][0][0] + (GROUP == 32 ? 0 : 8 * c);
            const uint8_t *q = at + (GROUP == 32 ? 0 : 256 * c), *x_scales = at + width * 256;
            const uint8_t *x_sums = x_scales + (GROUP == 32 ? fours : fours * (2 + c)) * 64;
#pragma GCC unroll 4
            for (size_t k = 0; k < fours; k++) {
                for (size_t line = 0; line < lines; line++, ahead += 64) _mm_prefetch((const char *)ahead, _MM_HINT_T1);
                __m512i t[PANEL_ROWS];
#pragma GCC unroll 4
                for (size_t r = 0; r < PANEL_ROWS; r++) t[r] = _mm512_setzero_si512();
#pragma GCC unroll 8
                for (size_t s = 0; s < steps; s++) {
                    __m512i v = _mm512_load_si512(q + (k * 8 + s) * 64);
                    size_t from = width == 8 ? CODES_AT(k / 2, s) + 8 * (k % 2) : CODES_AT(k, s);
#pragma GCC unroll 4
                    for (size_t r = 0; r < PANEL_ROWS; r++) t[r] = _mm512_dpbusd_epi32(t[r], spread(codes + 256 * r + from, width), v);
                }
                __m512 xs = _mm512_load_ps(x_scales + 64 * k), xm = _mm512_load_ps(x_sums + 64 * k);
#pragma GCC unroll 4
                for (size_t r = 0; r < PANEL_ROWS; r++) {
                    const float *s = scales + 16 * HALVES * r + k * (16 / width);
                    __m512 scale = _mm512_mul_ps(_mm512_castsi512_ps(spread(s, width)), xs);
                    sums[r][k] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(t[r]), scale, sums[r][k]);
                    sums[r][k] = _mm512_fmadd_ps(_mm512_castsi512_ps(spread(s + 8 * HALVES, width)), xm, sums[r][k]);
                }
            }
        }
        for (size_t r = 0; r < PANEL_ROWS; r++)
            for (size_t k = 0; k < fours; k++) _mm512_store_ps(state[c][r][k], sums[r][k]);
    }
}
#define NOINLINE static __attribute__((noinline))
NOINLINE void mill8(const panel *p, size_t n, const uint8_t *x, sums_state state, const uint8_t *ahead, size_t lines) {
    mill(p, n, x, state, ahead, lines, 8);
}
NOINLINE void mill4(const panel *p, size_t n, const uint8_t *x, sums_state state, const uint8_t *ahead, size_t lines) {
    mill(p, n, x, state, ahead, lines, 4);
}

/* The tree of sum_lanes, for the lanes of `width` rows. */
INLINE void finish(sums_state state, size_t n_rows, float *const *y, size_t m, size_t first, const size_t width) {
    for (size_t r = 0; r < n_rows; r++) {
        _Alignas(64) float out[16];
        __m512 k[4];
        for (size_t i = 0; i < width / 2; i++) k[i] = _mm512_add_ps(_mm512_load_ps(state[0][r][i]), _mm512_load_ps(state[1][r][i]));
        __m512 sum = width == 8 ? _mm512_add_ps(_mm512_add_ps(k[0], k[2]), _mm512_add_ps(k[1], k[3])) : _mm512_add_ps(k[0], k[1]);
        if (width == 4) sum = _mm512_add_ps(sum, _mm512_permute_ps(sum, 0x4e));
        _mm512_store_ps(out, _mm512_add_ps(sum, _mm512_permute_ps(sum, 0xb1)));
        for (size_t j = 0; j < m; j++) y[j][first + r] = out[16 / width * j];
    }
}

void KERNEL(batch)(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const uint8_t *x, float *const *y, size_t m) {
    enum { SETS = KQ_BATCH / 8, UNIT_BYTES = UNIT_BLOCKS * sizeof(BLOCK), LINES = PANEL_ROWS * UNIT_BYTES / 64 + 1 };
    const lanes l = make_lanes();
    panel p;
    _Alignas(64) sums_state state[SETS];
    size_t units = (n_blocks + UNIT_BLOCKS - 1) / UNIT_BLOCKS, sets = (m + 7) / 8;
    for (size_t first = 0; first < n_rows; first += PANEL_ROWS) {
        size_t n = KQ_MIN(n_rows - first, PANEL_ROWS);
        const uint8_t *rows = (const uint8_t *)w + first * row_bytes;
        memset(state, 0, sets * sizeof state[0]);
        for (size_t from = 0, count; from < units; from += count) {
            count = KQ_MIN(units - from, PANEL_UNITS);
            for (size_t r = 0; r < PANEL_ROWS; r++) { /* the last row stands in for those behind it */
                turn_row((const BLOCK *)(const void *)(rows + KQ_MIN(r, n - 1) * row_bytes), n_blocks, from, count, &l, &p, r);
            }
            /* while a panel is multiplied, a part of the next four rows comes */
            const uint8_t *ahead = rows + PANEL_ROWS * (row_bytes + from * UNIT_BYTES);
            for (size_t set = 0; set < sets; set++) {
                const size_t eights = (LINES + 3) / 4, fours = (LINES + 1) / 2;
                const uint8_t *at = x + 8 * set * units * sizeof(kq_act8);
                if (m - 8 * set > 4) mill8(&p, count, at + 8 * from * sizeof(kq_act8), state[set], ahead, set ? 0 : eights);
                else mill4(&p, count, at + 4 * from * sizeof(kq_act8), state[set], ahead, set ? 0 : fours);
            }
        }
        for (size_t set = 0; set < sets; set++) {
            if (m - 8 * set > 4) finish(state[set], n, y + 8 * set, KQ_MIN(m - 8 * set, 8), first, 8);
            else finish(state[set], n, y + 8 * set, m - 8 * set, first, 4);
        }
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
