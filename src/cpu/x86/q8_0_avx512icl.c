/* SPDX-License-Identifier: MIT */
/* q8_0 rows for AVX-512 with VNNI.
 *
 * VNNI multiplies unsigned by signed bytes: weights are used as w + 128 (their top bit flipped), and 128 times the scale times the sum of
 * the activations is taken off at the end of a row. Four products of at most 255 * 127: no saturation, and 2^18 is exact in f32.
 * Two blocks of 32 make a register; eight meet a block of activations. What is left of a row, one to seven blocks, goes through
 * the same steps with the missing blocks as zeros, so nothing behind the row is read. */
#include "codec/blocks.h"
#include "cpu/kernels.h"
#include "cpu/x86/prefetch.h"

#include <immintrin.h>

static inline __attribute__((always_inline)) __m256i quants(const kq_block_q8_0 *b) {
    return _mm256_loadu_si256((const __m256i *)(const void *)b->qs);
}

/* The scales of eight blocks, twice: for the products in lanes 0..7, for the sums in 8..15. */
static inline __attribute__((always_inline)) __m512 eight_scales(const kq_block_q8_0 *b) {
    uint64_t low = (uint64_t)b[0].d | (uint64_t)b[1].d << 16 | (uint64_t)b[2].d << 32 | (uint64_t)b[3].d << 48;
    uint64_t high = (uint64_t)b[4].d | (uint64_t)b[5].d << 16 | (uint64_t)b[6].d << 32 | (uint64_t)b[7].d << 48;
    return _mm512_cvtph_ps(_mm256_broadcastsi128_si256(_mm_set_epi64x((long long)high, (long long)low)));
}

static inline __attribute__((always_inline)) void add_eight(const kq_block_q8_0 *b, size_t i, const kq_act8 *const *x, const __m512i *group,
                                                            __m512 *even, __m512 *odd, __m512 *offsets, const size_t M) {
    const __m512i flip = _mm512_set1_epi8(-128);
    __m512 scales = eight_scales(b), t[4];
    for (size_t j = 0; j < M; j++) {
        t[j] = _mm512_mul_ps(scales, _mm512_load_ps(x[j][i].scale)); /* and sum[] behind it */
        offsets[j] = _mm512_add_ps(offsets[j], t[j]);
    }
    for (int p = 0; p < 4; p++) {
        __m512i two = _mm512_inserti64x4(_mm512_castsi256_si512(quants(b + 2 * p)), quants(b + 2 * p + 1), 1), codes = _mm512_xor_si512(two, flip);
        for (size_t j = 0; j < M; j++) {
            __m512i products = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, _mm512_load_si512(x[j][i].q + 64 * p));
            __m512 *sum = p & 1 ? &odd[j] : &even[j];
            *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), _mm512_permutexvar_ps(group[p], t[j]), *sum);
        }
    }
}

static inline __attribute__((always_inline)) void rows_m(const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks,
                                                         const kq_act8 *const *x, float *const *y, const size_t M) {
    __m512i group[4]; /* lane of each lane's scale */
    for (int p = 0; p < 4; p++) group[p] = _mm512_inserti64x4(_mm512_set1_epi32(2 * p), _mm256_set1_epi32(2 * p + 1), 1);
    size_t whole = n_blocks / 8, left = n_blocks % 8;
    for (size_t r = 0; r < n_rows; r++, w += row_bytes) {
        const kq_block_q8_0 *b = (const kq_block_q8_0 *)(const void *)w;
        __m512 even[4], odd[4], offsets[4];
        for (size_t j = 0; j < M; j++) even[j] = odd[j] = offsets[j] = _mm512_setzero_ps();
        for (size_t i = 0; i < whole + (left > 0); i++) {
            kq_block_q8_0 rest[8];
            const kq_block_q8_0 *at = b + 8 * i;
            if (i < whole) {
                prefetch_weights(at, 8 * sizeof *at);
            } else {
                memset(rest, 0, sizeof rest);
                memcpy(rest, at, left * sizeof *at);
                at = rest;
            }
            add_eight(at, i, x, group, even, odd, offsets, M);
        }
        for (size_t j = 0; j < M; j++) {
            __m512 sum = _mm512_add_ps(even[j], odd[j]);
            y[j][r] = _mm512_reduce_add_ps(_mm512_mask3_fnmadd_ps(_mm512_set1_ps(128.0f), offsets[j], sum, 0xff00));
        }
    }
}

#define ROWS_OF(op) kq_##op##_q8_0_avx512icl
#include "cpu/x86/rowsm_tmpl.h"
