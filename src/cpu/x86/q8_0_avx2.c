/* SPDX-License-Identifier: MIT */
/* q8_0 for AVX2.
 *
 * vpmaddubsw wants one operand unsigned: the magnitude of the weights, with their signs moved to the activations. Two products are at
 * most 2 * 128 * 127 = 32512, which 16 bits hold (activations are never -128). A block has one scale; eight blocks meet a block of
 * activations, and what is left of a row goes through the same steps with the missing blocks as zeros. */
#include "codec/blocks.h"
#include "cpu/kernels.h"
#include "cpu/x86/avx2.h"

static inline __attribute__((always_inline)) void add_eight(const kq_block_q8_0 *b, size_t i, const kq_act8 *const *x, __m256 *even, __m256 *odd,
                                                            const size_t M) {
    _Alignas(32) float t[4][8];
    uint64_t low = (uint64_t)b[0].d | (uint64_t)b[1].d << 16 | (uint64_t)b[2].d << 32 | (uint64_t)b[3].d << 48;
    uint64_t high = (uint64_t)b[4].d | (uint64_t)b[5].d << 16 | (uint64_t)b[6].d << 32 | (uint64_t)b[7].d << 48;
    __m256 d = _mm256_cvtph_ps(_mm_set_epi64x((long long)high, (long long)low));
    for (size_t j = 0; j < M; j++) _mm256_store_ps(t[j], _mm256_mul_ps(d, _mm256_load_ps(x[j][i].scale)));
    for (int g = 0; g < 8; g++) {
        __m256i w = load32(b[g].qs), magnitude = _mm256_sign_epi8(w, w);
        for (size_t j = 0; j < M; j++) {
            __m256 *sum = g & 1 ? &odd[j] : &even[j];
            *sum = _mm256_fmadd_ps(dot4(magnitude, _mm256_sign_epi8(load32(x[j][i].q + 32 * g), w)), _mm256_broadcast_ss(&t[j][g]), *sum);
        }
    }
}

static inline __attribute__((always_inline)) void rows_m(const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks,
                                                         const kq_act8 *const *x, float *const *y, const size_t M) {
    for (size_t r = 0; r < n_rows; r++, w += row_bytes) {
        const kq_block_q8_0 *b = (const kq_block_q8_0 *)(const void *)w;
        __m256 even[4], odd[4];
        for (size_t j = 0; j < M; j++) even[j] = odd[j] = _mm256_setzero_ps();
        for (size_t i = 0; i < n_blocks / 8; i++) {
            prefetch_weights(b + 8 * i, 8 * sizeof *b);
            add_eight(b + 8 * i, i, x, even, odd, M);
        }
        if (n_blocks % 8) {
            kq_block_q8_0 rest[8];
            memset(rest, 0, sizeof rest);
            memcpy(rest, b + n_blocks / 8 * 8, n_blocks % 8 * sizeof *b);
            add_eight(rest, n_blocks / 8, x, even, odd, M);
        }
        for (size_t j = 0; j < M; j++) y[j][r] = sum8(_mm256_add_ps(even[j], odd[j]));
    }
}

#define ROWS_OF(op) kq_##op##_q8_0_avx2
#include "cpu/x86/rowsm_tmpl.h"

void kq_decode_q8_0_avx2(const void *src, size_t n_blocks, float *dst) {
    const kq_block_q8_0 *b = src;
    for (; n_blocks--; b++, dst += 32) {
        __m256 d = _mm256_set1_ps(_cvtsh_ss(b->d));
        __m256i values = load32(b->qs);
        for (int k = 0; k < 4; k++) _mm256_storeu_ps(dst + 8 * k, _mm256_mul_ps(signed_bytes(values, k), d));
    }
}
