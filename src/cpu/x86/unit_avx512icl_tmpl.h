/* SPDX-License-Identifier: MIT */
/* decode, rows1 and rowsm of a codec for AVX-512, from how it takes a unit of 256 weights apart. Before including:
 *
 *     KERNEL(op)    spells the kernels' names
 *     BLOCK         the block's type; UNIT_BLOCKS, how many are a unit: 1, 2, 4 or 8
 *     GROUP         weights that share a scale: 32 (or more) or 16
 *     OFFSET        what a code stands for: a weight is (code - OFFSET) * scale. Codes are 0 .. 255, codes less OFFSET -128 .. 127
 *     MINIMA        1: a weight is code * scale - OFFSET * minimum, OFFSET being 1 or -1; 0 otherwise
 *     lanes         a type: constants that stay in registers; make_lanes() makes them
 *     unit_codes(b, l, codes)                the codes in the order of the weights, 64 in a register
 *     unit_scales(b, l, &scales, &minima)    GROUP 32: the scales in lanes 0..7 of scales, and in 8..15 what OFFSET multiplies: minima, or
 *                                            the scales again. GROUP 16: sixteen scales, and, where there are MINIMA, those
 *     and no other definition of a symbol. All bytes from b on to the end of the unit may be read.
 *
 * VNNI multiplies an unsigned code by a signed activation and adds four: 4 * 255 * 127 is far from saturation and exact in f32. The lanes
 * of a product are scaled by a register that holds each group's scale as often as it has lanes. Offsets and minima are multiplied by the sums of
 * activations, one instruction a unit, and are taken off at the end of a row.
 *
 * Each pair of rows has one sum for even products, one for odd ones and one for what comes off; units are added in order. So what a pair
 * gives does not depend on M. A row's last blocks that are no whole unit go the same way with the missing ones as zeros, so nothing behind the
 * row is read. */

INLINE void add_unit(const BLOCK *b, const kq_act8 *const *x, size_t i, const lanes *l, __m512 *even, __m512 *odd, __m512 *off, const size_t M) {
    __m512 scales, minima, t[4];
    __m512i codes[4];
    unit_scales(b, l, &scales, &minima);
    for (size_t j = 0; j < M; j++) {
#if GROUP == 32
        t[j] = _mm512_mul_ps(scales, _mm512_load_ps(x[j][i].scale)); /* and sum[] behind it */
        off[j] = _mm512_add_ps(off[j], t[j]);
#else
        const __m512i pairs = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
        t[j] = _mm512_mul_ps(scales, _mm512_permutexvar_ps(pairs, _mm512_load_ps(x[j][i].scale)));
        off[j] = _mm512_fmadd_ps(MINIMA ? minima : scales, _mm512_load_ps(x[j][i].sum16), off[j]);
#endif
    }
    unit_codes(b, l, codes);
    for (int p = 0; p < 4; p++) {
        for (size_t j = 0; j < M; j++) {
            __m512i products = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes[p], _mm512_load_si512(x[j][i].q + 64 * p));
            __m512 *sum = p & 1 ? &odd[j] : &even[j];
            __m512i lane = GROUP == 32 ? lanes_of_32(p) : lanes_of_16(p);
            *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), _mm512_permutexvar_ps(lane, t[j]), *sum);
        }
    }
}

INLINE void rows_m(const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *const *x, float *const *y, const size_t M) {
    const lanes l = make_lanes();
    size_t whole = n_blocks / UNIT_BLOCKS, left = n_blocks % UNIT_BLOCKS;
    for (size_t r = 0; r < n_rows; r++, w += row_bytes) {
        const BLOCK *b = (const BLOCK *)(const void *)w;
        __m512 even[4], odd[4], off[4];
        for (size_t j = 0; j < M; j++) even[j] = odd[j] = off[j] = _mm512_setzero_ps();
        for (size_t i = 0; i < whole; i++) {
            prefetch_weights(b + UNIT_BLOCKS * i, UNIT_BLOCKS * sizeof *b);
            add_unit(b + UNIT_BLOCKS * i, x, i, &l, even, odd, off, M);
        }
        if (left) {
            BLOCK rest[UNIT_BLOCKS];
            memset(rest, 0, sizeof rest);
            memcpy(rest, b + UNIT_BLOCKS * whole, left * sizeof *b);
            add_unit(rest, x, whole, &l, even, odd, off, M);
        }
        for (size_t j = 0; j < M; j++) {
            __m512 sum = _mm512_add_ps(even[j], odd[j]);
            sum = _mm512_mask3_fnmadd_ps(_mm512_set1_ps(OFFSET), off[j], sum, GROUP == 32 ? 0xff00 : 0xffff);
            y[j][r] = _mm512_reduce_add_ps(sum);
        }
    }
}

#define ROWS_OF(op) KERNEL(op)
#include "cpu/x86/rowsm_tmpl.h"

#include "cpu/x86/decode_avx512icl_tmpl.h"
