/* SPDX-License-Identifier: MIT */
/* rows1, rowsm and batch of a codec for AVX2 whose codes are small: a part of unit_avx2_tmpl.h, for those that define
 *
 *     MOST          the largest code, at most 63
 *     TURNED        where bytes can be turned sooner than codes: unit_turned(b, u, q) makes the registers of turn_groups
 *
 * A unit of 256 weights is eight registers, dword s of each of its eight groups in register s (weave, kernels.h), so that a lane is a group's. Sums
 * of two products, at most 2 * MOST * 127, are added in 16 bits as long as they fit, FIT of them, and vpmaddwd adds the two halves of a dword: of
 * codes up to 15 one for all 256 weights. Then come one conversion, one product of scales and the FMAs, for eight groups at once, where in
 * unit_avx2_tmpl.h each group has a vpmaddwd, a conversion and an FMA of its own. With steps (STEPS_16) vpmaddwd multiplies by them, and a
 * group's sum is less than 2^26.
 *
 * rowsm weaves its activations on the stack, 4096 weights at a time, for 64 weight rows. All add units in order to one sum a pair. */
#include "cpu/x86/turn_avx2.h"

enum { FIT = MOST <= 16 ? 8 : MOST <= 32 ? 4 : 2, STACK_UNITS = 16, STACK_ROWS = 64, HALVES = SCALING == BY_32 ? 1 : 2 };
_Static_assert(FIT * 2 * MOST * 127 <= INT16_MAX, "sums of products fit 16 bits");

#ifndef TURNED
INLINE void unit_turned(const BLOCK *b, unit *u, __m256i q[8]) {
    __m256i g[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) g[i] = unit_codes(b, u, i);
    turn_groups(g, q);
}
#endif

typedef struct turned {
    __m256i q[8];
    __m256 scales[2], added[2]; /* of groups, or of their halves; STEPS_16: d in scales[0] */
    __m256i steps[2];           /* of halves, in both words of a dword */
} turned;

INLINE __m256 added_of(__m256 v) { return OFFSET == 1 || OFFSET == -1 ? v : _mm256_mul_ps(v, _mm256_set1_ps(OFFSET)); }

INLINE void open_turned(const BLOCK *b, turned *t) {
    unit u;
    unit_open(b, &u);
    unit_turned(b, &u, t->q);
    if (SCALING == BY_32) {
        t->scales[0] = turn_floats(u.scales[0]);
        t->added[0] = added_of(MINIMA ? turn_floats(u.minima[0]) : t->scales[0]);
        return;
    }
    __m256 low = scales_of_16(&u, 0), high = scales_of_16(&u, 1);
    for (int h = 0; h < 2; h++) {
        t->scales[h] = turn_half_groups(low, high, h);
        t->added[h] = added_of(MINIMA ? turn_half_groups(u.minima[0], u.minima[1], h) : t->scales[h]);
    }
    if (SCALING == STEPS_16) {
        __m256 low_steps = _mm256_castsi256_ps(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(u.steps)));
        __m256 high_steps = _mm256_castsi256_ps(_mm256_cvtepi16_epi32(_mm256_extracti128_si256(u.steps, 1)));
        for (int h = 0; h < 2; h++) {
            __m256i s = _mm256_castps_si256(turn_half_groups(low_steps, high_steps, h));
            t->steps[h] = _mm256_blend_epi16(s, _mm256_slli_epi32(s, 16), 0xaa);
        }
        t->scales[0] = u.d;
    }
}

/* The products of registers `from` to `to`, times `by`. */
INLINE __m256i products_of(const turned *t, const uint8_t *x, const int from, const int to, __m256i by) {
    __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int s = from; s < to; s += FIT) {
        __m256i pairs = _mm256_maddubs_epi16(t->q[s], load32(x + 64 * s));
#pragma GCC unroll 8
        for (int k = s + 1; k < KQ_MIN(s + FIT, to); k++) pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(t->q[k], load32(x + 64 * k)));
        __m256i dwords = _mm256_madd_epi16(pairs, by);
        sum = s == from ? dwords : _mm256_add_epi32(sum, dwords);
    }
    return sum;
}

/* A unit's products with one activation row, whose pair of units is at x: of its first or second half. */
INLINE void add_turned(const turned *t, const uint8_t *x, float *sums) {
    __m256 sum = _mm256_load_ps(sums), scales = _mm256_load_ps((const float *)(const void *)(x + 512));
    if (SCALING == BY_32) {
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products_of(t, x, 0, 8, _mm256_set1_epi16(1))), _mm256_mul_ps(t->scales[0], scales), sum);
    } else if (SCALING == BY_16) {
        for (int h = 0; h < 2; h++) {
            __m256i products = products_of(t, x, 4 * h, 4 * h + 4, _mm256_set1_epi16(1));
            sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), _mm256_mul_ps(t->scales[h], scales), sum);
        }
    } else {
        __m256i products = _mm256_add_epi32(products_of(t, x, 0, 4, t->steps[0]), products_of(t, x, 4, 8, t->steps[1]));
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), _mm256_mul_ps(t->scales[0], scales), sum);
    }
    for (int h = 0; h < HALVES; h++) {
        __m256 of = _mm256_load_ps((const float *)(const void *)(x + (SCALING == BY_32 ? 576 : 640 + 64 * h)));
        sum = OFFSET < 0 ? _mm256_fmadd_ps(t->added[h], of, sum) : _mm256_fnmadd_ps(t->added[h], of, sum);
    }
    _mm256_store_ps(sums, sum);
}

/* `count` units of a row from `from` on, an even one, times m activation rows; what is `ahead` bytes behind them comes meanwhile. */
INLINE void add_piece(const BLOCK *row, size_t n_blocks, size_t from, size_t count, const uint8_t *x, size_t m, float *sums, size_t ahead) {
    for (size_t i = 0; i < count; i++) {
        const BLOCK *b = row + UNIT_BLOCKS * (from + i);
        size_t have = n_blocks - UNIT_BLOCKS * (from + i);
        BLOCK rest[UNIT_BLOCKS];
        turned t;
        for (size_t line = 0; line < UNIT_BLOCKS * sizeof *b; line += 64) {
            _mm_prefetch((const char *)b + 1024 + line, _MM_HINT_T0);
            _mm_prefetch((const char *)b + ahead + line, _MM_HINT_T1);
        }
        if (have < UNIT_BLOCKS) { /* the missing blocks are zeros */
            memset(rest, 0, sizeof rest);
            memcpy(rest, b, have * sizeof *b);
            b = rest;
        }
        open_turned(b, &t);
        const uint8_t *at = x + i / 2 * m * KQ_WOVEN + i % 2 * 32;
        for (size_t j = 0; j < m; j++, at += KQ_WOVEN) add_turned(&t, at, sums + 8 * j);
    }
}

/* Where a row's activations do not stay in L1, pieces of them that do meet ROWS rows, and what is fetched is the same piece of the next ROWS. */
void KERNEL(batch)(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const uint8_t *x, float *const *y, size_t m) {
    enum { IN_L1 = 24 << 10, ROWS = 8 };
    _Alignas(32) float sums[ROWS][KQ_BATCH * 8];
    size_t units = (n_blocks + UNIT_BLOCKS - 1) / UNIT_BLOCKS, piece = 2 * KQ_MAX(IN_L1 / KQ_WOVEN / m, 1);
    size_t n_together = units <= piece ? 1 : ROWS, ahead = units <= piece ? 4096 : ROWS * row_bytes;
    for (size_t first = 0, n; first < n_rows; first += n) {
        const uint8_t *rows = (const uint8_t *)w + first * row_bytes;
        n = KQ_MIN(n_rows - first, n_together);
        for (size_t r = 0; r < n; r++) memset(sums[r], 0, m * 32);
        for (size_t from = 0, count; from < units; from += count) {
            count = KQ_MIN(units - from, piece);
            for (size_t r = 0; r < n; r++)
                add_piece((const BLOCK *)(const void *)(rows + r * row_bytes), n_blocks, from, count, x + from / 2 * m * KQ_WOVEN, m, sums[r], ahead);
        }
        for (size_t r = 0; r < n; r++)
            for (size_t j = 0; j < m; j++) y[j][first + r] = sum8(_mm256_load_ps(sums[r] + 8 * j));
    }
}

/* Up to four activation rows as they are. */
INLINE void rows_m(const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *const *x, float *const *y, const size_t M) {
    _Alignas(64) uint8_t woven[STACK_UNITS / 2 * 4 * KQ_WOVEN];
    _Alignas(32) float sums[STACK_ROWS][4 * 8];
    size_t units = (n_blocks + UNIT_BLOCKS - 1) / UNIT_BLOCKS;
    for (size_t first = 0, n; first < n_rows; first += n, w += n * row_bytes) {
        n = KQ_MIN(n_rows - first, STACK_ROWS);
        memset(sums, 0, n * sizeof sums[0]);
        for (size_t from = 0, count; from < units; from += count) {
            count = KQ_MIN(units - from, STACK_UNITS);
            for (size_t j = 0; j < M; j++) kq_weave_f32_avx2(x[j] + from, count, M, woven + j * KQ_WOVEN);
            for (size_t r = 0; r < n; r++)
                add_piece((const BLOCK *)(const void *)(w + r * row_bytes), n_blocks, from, count, woven, M, sums[r], 4096);
        }
        for (size_t r = 0; r < n; r++)
            for (size_t j = 0; j < M; j++) y[j][first + r] = sum8(_mm256_load_ps(sums[r] + 8 * j));
    }
}

/* rows1 has weights in their order, 32 in a register, and adds a group's products crosswise: in 16 bits as far as they fit. Integers are exact in any
 * order, so the floats are batch's. */

/* Of sixteen half groups those of the first or the second halves, groups upwards. */
INLINE __m256 half_groups(__m256 low, __m256 high, int half) {
    __m256 v = half ? _mm256_shuffle_ps(low, high, 0xdd) : _mm256_shuffle_ps(low, high, 0x88);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xd8));
}

/* The steps of groups 2i and 2i + 1, four words of each: of the first halves, then of the second. */
INLINE __m256i steps_of_two(const unit *u, int i) {
    __m256i eight = i < 2 ? _mm256_permute4x64_epi64(u->steps, 0x44) : _mm256_permute4x64_epi64(u->steps, 0xee); /* twice the same */
    const __m256i first = _mm256_setr_epi64x(0x0100010001000100ll, 0x0504050405040504ll, 0x0302030203020302ll, 0x0706070607060706ll);
    return _mm256_shuffle_epi8(eight, _mm256_add_epi8(first, _mm256_set1_epi8((char)(8 * (i % 2)))));
}

/* The products of a unit: of its groups upwards; BY_16 of their first halves, and of the second in *second. */
INLINE __m256i group_sums(const BLOCK *b, unit *u, const kq_act8 *x, __m256i *second) {
    __m256i two[4], four[2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m256i even = _mm256_maddubs_epi16(unit_codes(b, u, 2 * i), load32(x->q + 64 * i));
        __m256i odd = _mm256_maddubs_epi16(unit_codes(b, u, 2 * i + 1), load32(x->q + 64 * i + 32));
        two[i] = _mm256_add_epi16(_mm256_unpacklo_epi64(even, odd), _mm256_unpackhi_epi64(even, odd));
        if (FIT == 2) two[i] = _mm256_madd_epi16(two[i], SCALING == STEPS_16 ? steps_of_two(u, i) : _mm256_set1_epi16(1));
    }
    for (int i = 0; i < 2; i++) {
        __m256 c = _mm256_castsi256_ps(two[2 * i]), d = _mm256_castsi256_ps(two[2 * i + 1]);
        __m256i even = _mm256_castps_si256(_mm256_shuffle_ps(c, d, 0x88)), odd = _mm256_castps_si256(_mm256_shuffle_ps(c, d, 0xdd));
        four[i] = FIT == 2 ? _mm256_add_epi32(even, odd) : _mm256_add_epi16(even, odd);
        if (FIT == 4) four[i] = _mm256_madd_epi16(four[i], _mm256_set1_epi16(1));
    }
    __m256i low = _mm256_permute2x128_si256(four[0], four[1], 0x20), high = _mm256_permute2x128_si256(four[0], four[1], 0x31);
    *second = high;
    if (SCALING == BY_16) return low;
    return FIT == 8 ? _mm256_madd_epi16(_mm256_add_epi16(low, high), _mm256_set1_epi16(1)) : _mm256_add_epi32(low, high);
}
_Static_assert(SCALING == BY_32 || FIT == (SCALING == BY_16 ? 4 : 2), "halves of groups of 16 fours fit");

INLINE __m256 take_off(__m256 added, __m256 of, __m256 sum) {
    return OFFSET < 0 ? _mm256_fmadd_ps(added_of(added), of, sum) : _mm256_fnmadd_ps(added_of(added), of, sum);
}

INLINE __m256 add_unit(const BLOCK *b, const kq_act8 *x, __m256 sum) {
    __m256 scales = _mm256_load_ps(x->scale);
    unit u;
    unit_open(b, &u);
    __m256i second, first = group_sums(b, &u, x, &second);
    if (SCALING == BY_32) {
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(first), _mm256_mul_ps(u.scales[0], scales), sum);
        return take_off(MINIMA ? u.minima[0] : u.scales[0], _mm256_load_ps(x->sum), sum);
    }
    __m256 low = scales_of_16(&u, 0), high = scales_of_16(&u, 1), off_low = MINIMA ? u.minima[0] : low, off_high = MINIMA ? u.minima[1] : high;
    if (SCALING == BY_16) {
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(first), _mm256_mul_ps(half_groups(low, high, 0), scales), sum);
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(second), _mm256_mul_ps(half_groups(low, high, 1), scales), sum);
    } else {
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(first), _mm256_mul_ps(u.d, scales), sum);
    }
    for (int h = 0; h < 2; h++)
        sum = take_off(half_groups(off_low, off_high, h), half_groups(_mm256_load_ps(x->sum16), _mm256_load_ps(x->sum16 + 8), h), sum);
    return sum;
}

static __attribute__((noinline)) __m256 add_rest(const BLOCK *b, size_t left, const kq_act8 *x, __m256 sum) {
    BLOCK rest[UNIT_BLOCKS];
    memset(rest, 0, sizeof rest);
    memcpy(rest, b, left * sizeof *b);
    return add_unit(rest, x, sum);
}

void KERNEL(rows1)(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *x, float *y) {
    size_t whole = n_blocks / UNIT_BLOCKS, left = n_blocks % UNIT_BLOCKS;
    for (size_t r = 0; r < n_rows; r++) {
        const BLOCK *b = (const BLOCK *)(const void *)((const uint8_t *)w + r * row_bytes);
        __m256 sum = _mm256_setzero_ps();
        for (size_t i = 0; i < whole; i++, b += UNIT_BLOCKS) {
            prefetch_weights(b, UNIT_BLOCKS * sizeof *b);
            sum = add_unit(b, x + i, sum);
        }
        if (left) sum = add_rest(b, left, x + whole, sum);
        y[r] = sum8(turn_floats(sum));
    }
}
void KERNEL(rowsm)(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *const *x, float *const *y, size_t m) {
    for (size_t j = 0; j < m; j += 4) rows_m(w, row_bytes, n_rows, n_blocks, x + j, y + j, KQ_MIN(m - j, 4));
}
