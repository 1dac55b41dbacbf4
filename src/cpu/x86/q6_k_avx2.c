/* SPDX-License-Identifier: MIT */
/* q6_k for AVX2.
 *
 * A run of 32 codes is a register. vpmaddubsw adds two products of a code (0..63) and an activation (at most 127) to 16 bits: at most 16002,
 * no saturation. vpmaddwd then adds pairs of these times the scale of their group of 16, a signed byte: at most 2^22, exact in f32.
 * So scales cost nothing, and a run needs one float: d times its activations' scale.
 *
 * Codes stand for -32..31: 32 times the scale times the sum of the activations is taken off at the end of a row, in one sum. */
#include "codec/blocks.h"
#include "cpu/kernels.h"
#include "cpu/x86/avx2.h"

/* The codes of weights 128h + 32r .. + 31. */
static inline __attribute__((always_inline)) __m256i run_codes(const kq_block_q6_k *b, int h, int r) {
    const __m256i nibble = _mm256_set1_epi8(15), upper = _mm256_set1_epi8(0x30);
    __m256i ql = load32(b->ql + 64 * h + 32 * (r % 2)), qh = load32(b->qh + 32 * h);
    __m256i low = _mm256_and_si256(r < 2 ? ql : _mm256_srli_epi16(ql, 4), nibble);
    __m256i high = r < 2 ? _mm256_slli_epi16(qh, 4 - 2 * r) : _mm256_srli_epi16(qh, 2 * r - 4);
    return _mm256_or_si256(low, _mm256_and_si256(high, upper));
}

/* Two of eight 16-bit scales, each eight times: vpshufb's index. */
static inline __attribute__((always_inline)) __m256i pair_index(int r) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi16((short)(0x0100 + 0x0404 * r))),
                                   _mm_set1_epi16((short)(0x0302 + 0x0404 * r)), 1);
}

static inline __attribute__((always_inline)) void rows_m(const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks,
                                                         const kq_act8 *const *x, float *const *y, const size_t M) {
    for (size_t r = 0; r < n_rows; r++, w += row_bytes) {
        const kq_block_q6_k *b = (const kq_block_q6_k *)(const void *)w;
        __m256 even[4], odd[4], offsets[4];
        for (size_t j = 0; j < M; j++) even[j] = odd[j] = offsets[j] = _mm256_setzero_ps();
        for (size_t i = 0; i < n_blocks; i++) {
            _Alignas(32) float t[4][8];
            prefetch_weights(b + i, sizeof *b);
            __m256 d = _mm256_set1_ps(_cvtsh_ss(b[i].d));
            __m256i sc = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)b[i].scales));
            __m256 s0 = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(sc))));
            __m256 s1 = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_extracti128_si256(sc, 1))));
            for (size_t j = 0; j < M; j++) {
                _mm256_store_ps(t[j], _mm256_mul_ps(d, _mm256_load_ps(x[j][i].scale)));
                offsets[j] = _mm256_fmadd_ps(s0, _mm256_load_ps(x[j][i].sum16), offsets[j]);
                offsets[j] = _mm256_fmadd_ps(s1, _mm256_load_ps(x[j][i].sum16 + 8), offsets[j]);
            }
            for (int h = 0; h < 2; h++) {
                __m256i half = h ? _mm256_permute4x64_epi64(sc, 0xee) : _mm256_permute4x64_epi64(sc, 0x44); /* twice the same eight */
                for (int run = 0; run < 4; run++) {
                    __m256i codes = run_codes(b + i, h, run), scale = _mm256_shuffle_epi8(half, pair_index(run));
                    for (size_t j = 0; j < M; j++) {
                        __m256i pairs = _mm256_maddubs_epi16(codes, load32(x[j][i].q + 128 * h + 32 * run));
                        __m256 *sum = run & 1 ? &odd[j] : &even[j];
                        *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, scale)), _mm256_broadcast_ss(&t[j][4 * h + run]), *sum);
                    }
                }
            }
        }
        for (size_t j = 0; j < M; j++)
            y[j][r] = sum8(_mm256_fnmadd_ps(_mm256_set1_ps(32.0f), offsets[j], _mm256_add_ps(even[j], odd[j])));
    }
}

#define ROWS_OF(op) kq_##op##_q6_k_avx2
#include "cpu/x86/rowsm_tmpl.h"

void kq_decode_q6_k_avx2(const void *src, size_t n_blocks, float *dst) {
    const kq_block_q6_k *b = src;
    for (; n_blocks--; b++, dst += 256) {
        float d = _cvtsh_ss(b->d);
        for (int run = 0; run < 8; run++) {
            __m256i values = _mm256_sub_epi8(run_codes(b, run / 4, run % 4), _mm256_set1_epi8(32));
            for (int g = 0; g < 2; g++) {
                __m256 scale = _mm256_set1_ps(d * (float)b->scales[2 * run + g]);
                for (int k = 2 * g; k < 2 * g + 2; k++) _mm256_storeu_ps(dst + 32 * run + 8 * k, _mm256_mul_ps(scale, signed_bytes(values, k)));
            }
        }
    }
}
