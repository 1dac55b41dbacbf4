/* SPDX-License-Identifier: MIT */
/* q4_k and q5_k for AVX-512 with VNNI and GFNI. Before including: BLOCK, the block's type; HAS_QH, 1 where codes have a fifth bit.
 * The only combinations: kq_block_q4_k with 0, kq_block_q5_k with 1.
 *
 * 32 bytes of qs hold two groups of 32 codes, one in the low and one in the high nibbles. They are broadcast to both halves of a register, and
 * one GF(2) product takes the low nibbles in the lower half and the high ones in the upper: codes in the order of the weights, for one
 * instruction, so the activations need no order of their own. (With activations permuted to the file's order, two shifts and four
 * ANDs did what four products do here.) The fifth bits come the same way from qh.
 *
 * VNNI adds products of a code (at most 31) and an activation (at most 127) in four: no saturation, below 2^14. Sixteen lanes of
 * a product are two groups of eight lanes, and are scaled by a register that holds each group's scale eight times.
 *
 * Each pair of rows has two sums, one for even and one for odd products, and one for the minima; blocks are added in order.
 * So what a pair gives does not depend on M. */
#include "codec/blocks.h"
#include "cpu/kernels.h"
#include "cpu/x86/prefetch.h"

#include <immintrin.h>

typedef struct lanes {
    __m512i nibbles;  /* GF(2) matrices: low nibble, high nibble */
    __m512i fifth[4]; /* bit 2p or 2p + 1 to bit 4 */
    __m512i group[4]; /* lane of each lane's scale */
    __m512i head;     /* d in lanes 0..7, dmin in 8..15 */
    __m128i fields, lower_at, lower_bits, upper_at, upper_bits; /* of the scales: see block_scales */
} lanes;

static inline __attribute__((always_inline)) lanes make_lanes(void) {
    lanes l;
    const long long low = 0x0102040800000000ll, high = 0x1020408000000000ll;
    l.nibbles = _mm512_setr_epi64(low, low, low, low, high, high, high, high);
    for (int p = 0; p < 4; p++) {
        long long even = 1ll << (24 + 2 * p), odd = 2ll << (24 + 2 * p);
        l.fifth[p] = _mm512_setr_epi64(even, even, even, even, odd, odd, odd, odd);
        l.group[p] = _mm512_inserti64x4(_mm512_set1_epi32(2 * p), _mm256_set1_epi32(2 * p + 1), 1);
    }
    l.fields = _mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
    l.lower_at = _mm_setr_epi8(0, 8, 16, 24, 32, 40, 48, 56, 0, 8, 16, 24, 36, 44, 52, 60);
    l.lower_bits = _mm_setr_epi8(63, 63, 63, 63, 15, 15, 15, 15, 63, 63, 63, 63, 15, 15, 15, 15);
    l.upper_at = _mm_setr_epi8(0, 0, 0, 0, 2, 10, 18, 26, 0, 0, 0, 0, 2, 10, 18, 26);
    l.upper_bits = _mm_setr_epi8(0, 0, 0, 0, 48, 48, 48, 48, 0, 0, 0, 0, 48, 48, 48, 48);
    l.head = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi32(1), 1);
    return l;
}

/* d * scale of the 8 groups, then dmin * minimum of the 8. The fields are taken apart where they lie: 64 bits that hold the four low
 * scales (or minima) and the four bytes of the others' low nibbles, from which each byte is cut at its own bit. In scalar registers
 * this is idle ports' work, but GCC 12 turns such code into twelve vector instructions. */
static inline __attribute__((always_inline)) __m512 block_scales(const BLOCK *b, const lanes *l) {
    __m128i head = _mm_loadu_si128((const __m128i *)(const void *)b); /* d, dmin, scales */
    __m128i fields = _mm_shuffle_epi8(head, l->fields);
    __m128i upper = _mm_and_si128(_mm_multishift_epi64_epi8(l->upper_at, fields), l->upper_bits);
    __m128i bytes = _mm_ternarylogic_epi32(_mm_multishift_epi64_epi8(l->lower_at, fields), l->lower_bits, upper, 0xea); /* a & b | c */
    __m512 d = _mm512_permutexvar_ps(l->head, _mm512_castps128_ps512(_mm_cvtph_ps(head)));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)), d);
}

/* The codes of weights 64p .. 64p + 63. */
static inline __attribute__((always_inline)) __m512i block_codes(const BLOCK *b, int p, const lanes *l) {
    __m512i qs = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(const void *)(b->qs + 32 * p)));
    __m512i codes = _mm512_gf2p8affine_epi64_epi8(qs, l->nibbles, 0);
#if HAS_QH
    __m512i qh = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(const void *)b->qh));
    codes = _mm512_or_si512(codes, _mm512_gf2p8affine_epi64_epi8(qh, l->fifth[p], 0));
#endif
    return codes;
}

static inline __attribute__((always_inline)) void rows_m(const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks,
                                                         const kq_act8 *const *x, float *const *y, const size_t M) {
    const lanes l = make_lanes();
    for (size_t r = 0; r < n_rows; r++, w += row_bytes) {
        const BLOCK *b = (const BLOCK *)(const void *)w;
        __m512 even[4], odd[4], minima[4];
        for (size_t j = 0; j < M; j++) even[j] = odd[j] = minima[j] = _mm512_setzero_ps();
        for (size_t i = 0; i < n_blocks; i++) {
            const BLOCK *at = b + i;
            prefetch_weights(at, sizeof *at);
            __m512 scales = block_scales(at, &l), t[4];
            for (size_t j = 0; j < M; j++) {
                t[j] = _mm512_mul_ps(scales, _mm512_load_ps(x[j][i].scale)); /* and sum[] behind it */
                minima[j] = _mm512_add_ps(minima[j], t[j]);
            }
            for (int p = 0; p < 4; p++) {
                __m512i codes = block_codes(at, p, &l);
                for (size_t j = 0; j < M; j++) {
                    __m512i products = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, _mm512_load_si512(x[j][i].q + 64 * p));
                    __m512 *sum = p & 1 ? &odd[j] : &even[j];
                    *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), _mm512_permutexvar_ps(l.group[p], t[j]), *sum);
                }
            }
        }
        for (size_t j = 0; j < M; j++) {
            __m512 sum = _mm512_add_ps(even[j], odd[j]);
            y[j][r] = _mm512_reduce_add_ps(_mm512_mask_sub_ps(sum, 0xff00, sum, minima[j]));
        }
    }
}
