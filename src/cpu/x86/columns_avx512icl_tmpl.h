/* SPDX-License-Identifier: MIT */
/* decode, rows1 and rowsm of a codec for AVX-512 whose bytes give codes of weights that do not lie side by side. The codes of a unit are used in
 * columns, the order in which they fall out; the activations are put into that order, 4096 of them at a time, before all rows of a call.
 *
 * With a choice of order, one that gives every 32-bit lane weights of one group lets VNNI add all columns of a chain in integers, from minus
 * OFFSET times the activations' sums on. What is left of a unit is a conversion, a product of scales and an FMA for each chain, where weights in
 * their own order need them, and a permutation of scales, for every register. Before including:
 *
 *     KERNEL(op)    spells the kernels' names
 *     BLOCK         the block's type; UNIT_BLOCKS, how many are a unit
 *     UNIT_ACTS     1 or 2: the blocks of activations of a unit, of four columns each
 *     SHARED        1 where the lower half of each of eight columns is of the first block of activations and the upper one of the second
 *     CHAINS        sums of a unit: each goes over 4 * UNIT_ACTS / CHAINS columns
 *     OFFSET        a weight is (code - OFFSET) * scale. Codes are 0 .. 255, codes less OFFSET -128 .. 127
 *     OFFSET_2      where some lanes have another, larger one: unit_second(parts, c) is a mask of those of a chain
 *     CELL_OFFSET   where some cells have another one, and a lane has two cells, its even and its odd bytes: unit_deltas(parts, c) are two words for each
 *                   lane of a chain that are 1 for those cells, else 0
 *     LANE_UNITS    sixteen powers of two, where lanes have codes that are so many times as large
 *     MINIMA        where a weight is code * scale - minimum: unit_minima(b, parts) are those of sixteen lanes, each of a group of 16; one chain
 *     ORDER, BACK   BITS(..): which weight of 256 is at place 64 * column + byte (SHARED: 32 * column + byte), and which place is a weight's. Both
 *                   permute the eight bits of a number.
 *                   Or unit_places(k) in place of ORDER: the weights of 64 places from 64k on. Each lane's are of one group, for each chain
 *     lanes         a type: constants; make_lanes() makes them
 *     parts, unit_open(b, l)             what the columns are made of
 *     unit_column(parts, l, k)           column k: 64 codes
 *     unit_scales(b, parts, l, scales)   the scales of each chain's sixteen lanes
 *     OWN_DECODE    defined where decode is somewhere else; no BACK then
 *     and no other definition of a symbol. All bytes from b on to the end of the unit may be read.
 *
 * VNNI adds 32 products of at most 255 * 127 on 32 of 128 * 127: exact in integers and as a float. A pair of rows has one sum; units are
 * added in order, those of 4096 weights before the next. So what a pair gives does not depend on M. A row's last blocks that are no whole unit go the
 * same way with the missing ones as zeros, so nothing behind the row is read. */

enum { COLUMNS = 4 * UNIT_ACTS, CHAIN = COLUMNS / CHAINS, PIECE_UNITS = 16 / UNIT_ACTS };

/* The activations of a unit in its order, and for each chain the scales of its lanes and what it begins with. */
typedef struct columns {
    int8_t q[COLUMNS][64];
    float scale[CHAINS][16];
    int32_t start[CHAINS][16];
#ifdef OFFSET_2
    int32_t start_2[CHAINS][16];
#endif
#ifdef CELL_OFFSET
    int16_t cell_sums[CHAINS][32];
#endif
#ifdef MINIMA
    float sum16[16];
#endif
} columns;

/* The numbers of 64 places from 64k on, permuted. */
INLINE __m512i places(long long matrix, int k) {
    __m512i first = _mm512_set_epi64(0x3f3e3d3c3b3a3938, 0x3736353433323130, 0x2f2e2d2c2b2a2928, 0x2726252423222120, 0x1f1e1d1c1b1a1918,
                                     0x1716151413121110, 0x0f0e0d0c0b0a0908, 0x0706050403020100);
    return _mm512_gf2p8affine_epi64_epi8(_mm512_or_si512(first, _mm512_set1_epi8((char)(64 * k))), _mm512_set1_epi64(matrix), 0);
}

#ifdef LANE_UNITS
INLINE __m512i offsets(void) { return _mm512_mullo_epi32(LANE_UNITS, _mm512_set1_epi32(0x01010101 * OFFSET)); }
INLINE __m512 in_units(__m512 scales) { return _mm512_div_ps(scales, _mm512_cvtepi32_ps(LANE_UNITS)); }
#else
INLINE __m512i offsets(void) { return _mm512_set1_epi8((char)OFFSET); }
INLINE __m512 in_units(__m512 scales) { return scales; }
#endif
#ifdef ORDER
INLINE __m512i unit_places(int k) { return places(ORDER, k); }
#endif

static void make_columns(const kq_act8 *x, size_t n_acts, columns *out) {
    for (size_t first = 0; first < n_acts; first += UNIT_ACTS, out++) {
        for (size_t a = 0; a < UNIT_ACTS; a++) {
            bool there = first + a < n_acts;
            const kq_act8 *at = x + first + (there ? a : 0);
            __m512 scales = _mm512_maskz_mov_ps(there ? 0xff : 0, _mm512_load_ps(at->scale)); /* and sum[] behind it */
            __m512i natural[4];
            for (int k = 0; k < 4; k++) natural[k] = _mm512_maskz_mov_epi64(there ? 0xff : 0, _mm512_load_si512(at->q + 64 * k));
            for (int k = 0; k < 4; k++) {
                __m512i place = unit_places(k), q = pick_of_4(natural, place);
                __m512 s = in_units(_mm512_permutexvar_ps(_mm512_and_si512(_mm512_srli_epi32(place, 5), _mm512_set1_epi32(7)), scales));
                if (SHARED) {
                    _mm256_store_si256((__m256i *)(void *)(out->q[2 * k] + 32 * a), _mm512_castsi512_si256(q));
                    _mm256_store_si256((__m256i *)(void *)(out->q[2 * k + 1] + 32 * a), _mm512_extracti64x4_epi64(q, 1));
                    if (k == 0) _mm256_storeu_ps(out->scale[0] + 8 * a, _mm512_castps512_ps256(s));
                } else {
                    int column = 4 * (int)a + k;
                    _mm512_store_si512(out->q[column], q);
                    if (column % CHAIN == 0) _mm512_storeu_ps(out->scale[column / CHAIN], s);
#ifdef MINIMA
                    s = _mm512_permutexvar_ps(_mm512_srli_epi32(_mm512_slli_epi32(place, 24), 28), _mm512_load_ps(at->sum16));
                    if (column == 0) _mm512_storeu_ps(out->sum16, _mm512_maskz_mov_ps(there ? 0xffff : 0, s));
#endif
                }
            }
        }
        for (int c = 0; c < CHAINS; c++) {
            __m512i sum = _mm512_setzero_si512();
            for (int k = 0; k < CHAIN; k++) sum = _mm512_dpbusd_epi32(sum, offsets(), _mm512_load_si512(out->q[c * CHAIN + k]));
            _mm512_storeu_si512(out->start[c], _mm512_sub_epi32(_mm512_setzero_si512(), sum));
#ifdef OFFSET_2
            for (int k = 0; k < CHAIN; k++) sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(OFFSET_2 - OFFSET), _mm512_load_si512(out->q[c * CHAIN + k]));
            _mm512_storeu_si512(out->start_2[c], _mm512_sub_epi32(_mm512_setzero_si512(), sum));
#endif
#ifdef CELL_OFFSET
            const __m512i even = _mm512_set1_epi16(CELL_OFFSET - OFFSET), odd = _mm512_slli_epi16(even, 8);
            __m512i of_first = _mm512_setzero_si512(), of_second = of_first;
            for (int k = c * CHAIN; k < (c + 1) * CHAIN; k++) {
                of_first = _mm512_dpbusd_epi32(of_first, even, _mm512_load_si512(out->q[k]));
                of_second = _mm512_dpbusd_epi32(of_second, odd, _mm512_load_si512(out->q[k]));
            }
            of_first = _mm512_mask_blend_epi16(0xaaaaaaaa, of_first, _mm512_slli_epi32(of_second, 16));
            _mm512_storeu_si512(out->cell_sums[c], _mm512_sub_epi16(_mm512_setzero_si512(), of_first));
#endif
        }
    }
}

INLINE __m512i unit_start(const parts *p, const columns *x, int c) {
    __m512i start = _mm512_loadu_si512(x->start[c]);
#ifdef OFFSET_2
    start = _mm512_mask_loadu_epi32(start, unit_second(p, c), x->start_2[c]);
#elif defined CELL_OFFSET
    start = _mm512_dpwssd_epi32(start, unit_deltas(p, c), _mm512_loadu_si512(x->cell_sums[c]));
#else
    (void)p;
#endif
    return start;
}

INLINE void add_unit(const BLOCK *b, const columns (*x)[PIECE_UNITS], size_t i, const lanes *l, __m512 *sum, const size_t M) {
    __m512 scales[CHAINS];
    const parts p = unit_open(b, l);
    unit_scales(b, &p, l, scales);
    for (int c = 0; c < CHAINS; c++) {
        __m512i products[4];
        for (size_t j = 0; j < M; j++) products[j] = unit_start(&p, &x[j][i], c);
        for (int k = c * CHAIN; k < (c + 1) * CHAIN; k++) {
            __m512i codes = unit_column(&p, l, k);
            for (size_t j = 0; j < M; j++) products[j] = _mm512_dpbusd_epi32(products[j], codes, _mm512_load_si512(x[j][i].q[k]));
        }
        for (size_t j = 0; j < M; j++)
            sum[j] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[j]), _mm512_mul_ps(scales[c], _mm512_loadu_ps(x[j][i].scale[c])), sum[j]);
    }
#ifdef MINIMA
    const __m512 minima = unit_minima(b, &p);
    for (size_t j = 0; j < M; j++) sum[j] = _mm512_fnmadd_ps(minima, _mm512_loadu_ps(x[j][i].sum16), sum[j]);
#endif
}

INLINE void rows_m(const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *const *x, float *const *y, const size_t M) {
    _Alignas(64) columns piece[4][PIECE_UNITS];
    const lanes l = make_lanes();
    for (size_t first = 0; first < n_blocks; first += UNIT_BLOCKS * PIECE_UNITS) {
        size_t n = KQ_MIN(n_blocks - first, UNIT_BLOCKS * PIECE_UNITS), whole = n / UNIT_BLOCKS, left = n % UNIT_BLOCKS;
        size_t first_act = first / UNIT_BLOCKS * UNIT_ACTS, n_acts = (n * UNIT_ACTS + UNIT_BLOCKS - 1) / UNIT_BLOCKS;
        for (size_t j = 0; j < M; j++) make_columns(x[j] + first_act, n_acts, piece[j]);
        for (size_t r = 0; r < n_rows; r++) {
            const BLOCK *b = (const BLOCK *)(const void *)(w + r * row_bytes) + first;
            __m512 sum[4];
            for (size_t j = 0; j < M; j++) sum[j] = _mm512_setzero_ps();
            for (size_t i = 0; i < whole; i++) {
                prefetch_weights(b + UNIT_BLOCKS * i, UNIT_BLOCKS * sizeof *b);
                add_unit(b + UNIT_BLOCKS * i, (const columns (*)[PIECE_UNITS])piece, i, &l, sum, M);
            }
            if (left) {
                BLOCK rest[UNIT_BLOCKS];
                memset(rest, 0, sizeof rest);
                memcpy(rest, b + UNIT_BLOCKS * whole, left * sizeof *b);
                add_unit(rest, (const columns (*)[PIECE_UNITS])piece, whole, &l, sum, M);
            }
            for (size_t j = 0; j < M; j++) y[j][r] = (first ? y[j][r] : 0) + _mm512_reduce_add_ps(sum[j]);
        }
    }
}

#define ROWS_OF(op) KERNEL(op)
#include "cpu/x86/rowsm_tmpl.h"

#ifndef OWN_DECODE

/* The codes of a unit in places, 256 for each of its blocks of activations, and the scales of lanes. */
INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[UNIT_ACTS][4], float lane_scales[CHAINS][16]) {
    __m512i column[COLUMNS];
    __m512 scales[CHAINS];
    const parts p = unit_open(b, l);
    unit_scales(b, &p, l, scales);
    for (int c = 0; c < CHAINS; c++) _mm512_storeu_ps(lane_scales[c], scales[c]);
    for (int k = 0; k < COLUMNS; k++) column[k] = unit_column(&p, l, k);
    for (int a = 0; a < UNIT_ACTS; a++) {
        for (int k = 0; k < 4; k++) {
            if (!SHARED) codes[a][k] = column[4 * a + k];
            else if (a == 0) codes[a][k] = _mm512_shuffle_i64x2(column[(2 * k) % COLUMNS], column[(2 * k + 1) % COLUMNS], 0x44);
            else codes[a][k] = _mm512_shuffle_i64x2(column[(2 * k) % COLUMNS], column[(2 * k + 1) % COLUMNS], 0xee);
        }
    }
}

/* Of the 256 weights with number a of a unit, 64k .. 64k + 63; scale_of: the lane of the scale of each sixteen weights. */
INLINE void decode_64(__m512i codes[UNIT_ACTS][4], float lane_scales[CHAINS][16], const uint8_t *scale_of, int a, int k, __m512 v[4]) {
    const float *scales = SHARED ? lane_scales[0] + 8 * a : lane_scales[a * CHAINS / UNIT_ACTS];
    _Alignas(64) int8_t values[64];
    _mm512_store_si512(values, _mm512_sub_epi8(pick_of_4(codes[a], places(BACK, k)), _mm512_set1_epi8((char)OFFSET)));
    for (int q = 0; q < 4; q++)
        v[q] = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load16(values + 16 * q))), _mm512_set1_ps(scales[scale_of[4 * k + q]]));
}

INLINE void decode_unit(const BLOCK *b, const lanes *l, const uint8_t *scale_of, float *dst) {
    __m512i codes[UNIT_ACTS][4];
    float scales[CHAINS][16];
    unit_codes(b, l, codes, scales);
    for (int a = 0; a < UNIT_ACTS; a++) {
        for (int k = 0; k < 4; k++) {
            __m512 v[4];
            decode_64(codes, scales, scale_of, a, k, v);
            for (int q = 0; q < 4; q++) _mm512_storeu_ps(dst + 256 * a + 64 * k + 16 * q, v[q]);
        }
    }
}

/* 256 weights to first, and where a unit has 512 the others to second. */
ROUNDS_TO_BF16 INLINE void panel_unit(const BLOCK *b, const lanes *l, const uint8_t *scale_of, uint8_t *first, uint8_t *second) {
    __m512i codes[UNIT_ACTS][4];
    float scales[CHAINS][16];
    unit_codes(b, l, codes, scales);
    for (int a = 0; a < UNIT_ACTS; a++) {
        for (int k = 0; k < 4; k++) {
            __m512 v[4];
            uint8_t *dst = (a == 0 ? first : second) + 128 * k;
            decode_64(codes, scales, scale_of, a, k, v);
            _mm512_storeu_si512(dst, (__m512i)_mm512_cvtne2ps_pbh(v[1], v[0]));
            _mm512_storeu_si512(dst + 64, (__m512i)_mm512_cvtne2ps_pbh(v[3], v[2]));
        }
    }
}

INLINE void find_scales(uint8_t scale_of[16]) {
    uint8_t place[256];
    for (int k = 0; k < 4; k++) _mm512_storeu_si512(place + 64 * k, places(BACK, k));
    for (int i = 0; i < 16; i++) { /* the lane, of the chain, of the place of the first of sixteen */
        int at = place[16 * i];
        scale_of[i] = (uint8_t)(SHARED ? at % 32 / 4 : at / 64 / CHAIN * 16 + at % 64 / 4);
    }
}

void KERNEL(decode)(const void *src, size_t n_blocks, float *dst) {
    const lanes l = make_lanes();
    const BLOCK *b = src;
    uint8_t scale_of[16];
    find_scales(scale_of);
    for (; n_blocks >= UNIT_BLOCKS; n_blocks -= UNIT_BLOCKS, b += UNIT_BLOCKS, dst += 256 * UNIT_ACTS) decode_unit(b, &l, scale_of, dst);
    if (!n_blocks) return;
    BLOCK rest[UNIT_BLOCKS];
    float values[256 * UNIT_ACTS];
    memset(rest, 0, sizeof rest);
    memcpy(rest, b, n_blocks * sizeof *b);
    decode_unit(rest, &l, scale_of, values);
    memcpy(dst, values, n_blocks * (256 * UNIT_ACTS / UNIT_BLOCKS) * sizeof *dst);
}

ROUNDS_TO_BF16 void KERNEL(panel)(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, void *out, size_t pitch) {
    const lanes l = make_lanes();
    uint8_t scale_of[16];
    find_scales(scale_of);
    for (size_t r = 0; r < n_rows; r++) {
        const uint8_t *row = (const uint8_t *)w + r * row_bytes;
        const BLOCK *b = (const BLOCK *)(const void *)row;
        uint8_t *dst = (uint8_t *)out + r * pitch;
        size_t left = n_blocks;
        prefetch_row(row + PANEL_AHEAD * row_bytes, n_blocks * sizeof *b);
        for (; left >= UNIT_BLOCKS; left -= UNIT_BLOCKS, b += UNIT_BLOCKS, dst += 512 * UNIT_ACTS) panel_unit(b, &l, scale_of, dst, dst + 512);
        if (!left) continue;
        BLOCK rest[UNIT_BLOCKS];
        if (UNIT_ACTS == 2 && n_blocks == UNIT_BLOCKS / 2 && r + 1 < n_rows) { /* two rows are a unit */
            prefetch_row(row + (PANEL_AHEAD + 1) * row_bytes, sizeof rest / 2);
            memcpy(rest, row, sizeof rest / 2);
            memcpy(rest + UNIT_BLOCKS / 2, row + row_bytes, sizeof rest / 2);
            panel_unit(rest, &l, scale_of, dst, dst + pitch);
            r++;
            continue;
        }
        uint8_t values[512 * UNIT_ACTS];
        memset(rest, 0, sizeof rest);
        memcpy(rest, b, left * sizeof *b);
        panel_unit(rest, &l, scale_of, values, values + 512);
        memcpy(dst, values, left * (512 * UNIT_ACTS / UNIT_BLOCKS));
    }
}

#endif
