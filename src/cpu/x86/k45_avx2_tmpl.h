/* SPDX-License-Identifier: MIT */
/* q4_k and q5_k for AVX2. Before including: BLOCK, the block's type; HAS_QH, 1 where codes have a fifth bit.
 * The only combinations: kq_block_q4_k with 0, kq_block_q5_k with 1.
 *
 * A group of 32 codes is a register. vpmaddubsw adds two products of a code (at most 31) and an activation (at most 127) to 16 bits: at
 * most 7874, no saturation. A group's scale is one float: it is stored once and broadcast by the load that uses it.
 *
 * Each pair of rows has two sums, one for groups in low and one for groups in high nibbles, and one for the minima; blocks are added
 * in order. So what a pair gives does not depend on M. */
#include "codec/blocks.h"
#include "cpu/kernels.h"
#include "cpu/x86/avx2.h"

/* The eight scales, or minima, of a block as the bytes of a word. */
static inline void six_bits(const BLOCK *b, uint64_t *sc, uint64_t *mn) {
    uint32_t a = kq_load_u32(b->scales), m = kq_load_u32(b->scales + 4), h = kq_load_u32(b->scales + 8);
    *sc = (uint64_t)(a & 0x3f3f3f3fu) | (uint64_t)((h & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u)) << 32;
    *mn = (uint64_t)(m & 0x3f3f3f3fu) | (uint64_t)((h >> 4 & 0x0f0f0f0fu) | (m >> 2 & 0x30303030u)) << 32;
}

static inline __m256 bytes_times(uint64_t bytes, uint16_t f16) {
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)bytes))), _mm256_set1_ps(_cvtsh_ss(f16)));
}

static inline __attribute__((always_inline)) void block_codes(const BLOCK *b, int p, __m256i *low, __m256i *high) {
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i qs = load32(b->qs + 32 * p);
    *low = _mm256_and_si256(qs, nibble);
    *high = _mm256_and_si256(_mm256_srli_epi16(qs, 4), nibble);
#if HAS_QH
    const __m256i fifth = _mm256_set1_epi8(16);
    __m256i qh = load32(b->qh);
    __m256i even = p < 2 ? _mm256_slli_epi16(qh, 4 - 2 * p) : _mm256_srli_epi16(qh, 2 * p - 4);
    __m256i odd = p < 2 ? _mm256_slli_epi16(qh, 3 - 2 * p) : _mm256_srli_epi16(qh, 2 * p - 3);
    *low = _mm256_or_si256(*low, _mm256_and_si256(even, fifth));
    *high = _mm256_or_si256(*high, _mm256_and_si256(odd, fifth));
#endif
}

static inline __attribute__((always_inline)) void rows_m(const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks,
                                                         const kq_act8 *const *x, float *const *y, const size_t M) {
    for (size_t r = 0; r < n_rows; r++, w += row_bytes) {
        const BLOCK *b = (const BLOCK *)(const void *)w;
        __m256 even[4], odd[4], minima[4];
        for (size_t j = 0; j < M; j++) even[j] = odd[j] = minima[j] = _mm256_setzero_ps();
        for (size_t i = 0; i < n_blocks; i++) {
            _Alignas(32) float t[4][8];
            prefetch_weights(b + i, sizeof *b);
            uint64_t sc, mn;
            six_bits(b + i, &sc, &mn);
            __m256 scales = bytes_times(sc, b[i].d), mins = bytes_times(mn, b[i].dmin);
            for (size_t j = 0; j < M; j++) {
                _mm256_store_ps(t[j], _mm256_mul_ps(scales, _mm256_load_ps(x[j][i].scale)));
                minima[j] = _mm256_fmadd_ps(mins, _mm256_load_ps(x[j][i].sum), minima[j]);
            }
            for (int p = 0; p < 4; p++) {
                __m256i low, high;
                block_codes(b + i, p, &low, &high);
                for (size_t j = 0; j < M; j++) {
                    __m256 a = dot4(low, load32(x[j][i].q + 64 * p)), c = dot4(high, load32(x[j][i].q + 64 * p + 32));
                    even[j] = _mm256_fmadd_ps(a, _mm256_broadcast_ss(&t[j][2 * p]), even[j]);
                    odd[j] = _mm256_fmadd_ps(c, _mm256_broadcast_ss(&t[j][2 * p + 1]), odd[j]);
                }
            }
        }
        for (size_t j = 0; j < M; j++) y[j][r] = sum8(_mm256_sub_ps(_mm256_add_ps(even[j], odd[j]), minima[j]));
    }
}

static inline void decode(const BLOCK *b, size_t n_blocks, float *dst) {
    for (; n_blocks--; b++, dst += 256) {
        _Alignas(32) float scale[8], min[8];
        uint64_t sc, mn;
        six_bits(b, &sc, &mn);
        _mm256_store_ps(scale, bytes_times(sc, b->d));
        _mm256_store_ps(min, bytes_times(mn, b->dmin));
        for (int p = 0; p < 4; p++) {
            __m256i codes[2];
            block_codes(b, p, &codes[0], &codes[1]);
            for (int g = 0; g < 2; g++) {
                __m256 s = _mm256_broadcast_ss(&scale[2 * p + g]), m = _mm256_broadcast_ss(&min[2 * p + g]);
                for (int k = 0; k < 4; k++)
                    _mm256_storeu_ps(dst + 64 * p + 32 * g + 8 * k, _mm256_sub_ps(_mm256_mul_ps(s, unsigned_bytes(codes[g], k)), m));
            }
        }
    }
}
