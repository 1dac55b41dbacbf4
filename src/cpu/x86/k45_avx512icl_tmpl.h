/* SPDX-License-Identifier: MIT */
/* q4_k and q5_k for AVX-512 with VNNI and GFNI. Before including: KERNEL and BLOCK as batch_avx512icl_tmpl.h has them; HAS_QH, 1 where codes have
 * a fifth bit.
 * The only combinations: kq_block_q4_k with 0, kq_block_q5_k with 1.
 *
 * 32 bytes of qs hold two groups of 32 codes, one in the low and one in the high nibbles. They are broadcast to both halves of a register, and
 * one GF(2) product takes the low nibbles in the lower half and the high ones in the upper: codes in the order of the weights, for one
 * instruction, so the activations need no order of their own. (With activations permuted to the file's order, two shifts and four
 * ANDs did what four products do here.) The fifth bits come the same way from qh. */
#include "cpu/x86/unit_avx512icl.h"

#define UNIT_BLOCKS 1
#define GROUP 32
#define MOST (HAS_QH ? 31 : 15)
#define OFFSET 1
#define MINIMA 1

typedef struct lanes {
    __m512i nibbles;  /* GF(2) matrices: low nibble, high nibble */
    __m512i fifth[4]; /* bit 2p or 2p + 1 to bit 4 */
    __m512i head;     /* d in lanes 0..7, dmin in 8..15 */
    __m512i turned_nibbles, dwords[4], qwords[4], cuts[2]; /* see pair_turned */
    __m128i fields, lower_at, lower_bits, upper_at, upper_bits; /* of the scales: see unit_scales */
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    l.nibbles = halves(LOW_NIBBLE, HIGH_NIBBLE);
    for (int p = 0; p < 4; p++) l.fifth[p] = halves(ONE_BIT(2 * p, 4), ONE_BIT(2 * p + 1, 4));
    l.turned_nibbles = quarters(LOW_NIBBLE, HIGH_NIBBLE);
    for (int s = 0; s < 4; s++) {
        l.dwords[s] = _mm512_add_epi32(_mm512_setr_epi32(0, 4, 16, 20, 0, 4, 16, 20, 8, 12, 24, 28, 8, 12, 24, 28), _mm512_set1_epi32(s));
        l.qwords[s] = _mm512_add_epi64(_mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4), _mm512_set1_epi64(s));
    }
    /* bit 8 * byte + group - 4, of groups 0 2 4 6 1 3 5 7 */
    const __m256i cuts = _mm256_setr_epi32(0x140c04fc, 0x160e06fe, 0x18100800, 0x1a120a02, 0x150d05fd, 0x170f07ff, 0x19110901, 0x1b130b03);
    l.cuts[0] = _mm512_broadcast_i64x4(cuts);
    l.cuts[1] = _mm512_add_epi8(l.cuts[0], _mm512_set1_epi8(32));
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
INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    __m128i head = load16(b); /* d, dmin, scales */
    __m128i fields = _mm_shuffle_epi8(head, l->fields);
    __m128i upper = _mm_and_si128(_mm_multishift_epi64_epi8(l->upper_at, fields), l->upper_bits);
    __m128i bytes = _mm_ternarylogic_epi32(_mm_multishift_epi64_epi8(l->lower_at, fields), l->lower_bits, upper, 0xea); /* a & b | c */
    __m512 d = _mm512_permutexvar_ps(l->head, _mm512_castps128_ps512(_mm_cvtph_ps(head)));
    *scales = *minima = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)), d);
}

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    for (int p = 0; p < 4; p++) {
        codes[p] = _mm512_gf2p8affine_epi64_epi8(twice(b->qs + 32 * p), l->nibbles, 0);
#if HAS_QH
        codes[p] = _mm512_or_si512(codes[p], _mm512_gf2p8affine_epi64_epi8(twice(b->qh), l->fifth[p], 0));
#endif
    }
}

/* Dword s of the four runs of 32 bytes of both units, all twice: low nibbles are even groups, high ones odd groups. A dword of qh has their fifth
 * bits; of two neighbours each byte is cut so that its group's bit is bit 4. */
#define TURNED
INLINE void pair_turned(const BLOCK *b, const BLOCK *next, const lanes *l, __m512i q[8]) {
    __m512i a0 = load64(b->qs), a1 = load64(b->qs + 64), b0 = load64(next->qs), b1 = load64(next->qs + 64);
    __m512i low[2] = {_mm512_shuffle_i32x4(a0, b0, 0x88), _mm512_shuffle_i32x4(a1, b1, 0x88)}; /* dwords 0..3: runs 0 and 1, runs 2 and 3 */
    __m512i high[2] = {_mm512_shuffle_i32x4(a0, b0, 0xdd), _mm512_shuffle_i32x4(a1, b1, 0xdd)};
    for (int s = 0; s < 4; s++) {
        q[s] = _mm512_gf2p8affine_epi64_epi8(_mm512_permutex2var_epi32(low[0], l->dwords[s], low[1]), l->turned_nibbles, 0);
        q[4 + s] = _mm512_gf2p8affine_epi64_epi8(_mm512_permutex2var_epi32(high[0], l->dwords[s], high[1]), l->turned_nibbles, 0);
    }
#if HAS_QH
    __m512i qh = _mm512_inserti64x4(_mm512_castsi256_si512(load32(b->qh)), load32(next->qh), 1);
    for (int s = 0; s < 8; s++) {
        __m512i two = _mm512_permutexvar_epi64(l->qwords[s / 2], qh);
        q[s] = _mm512_ternarylogic_epi32(q[s], _mm512_multishift_epi64_epi8(l->cuts[s % 2], two), _mm512_set1_epi8(16), 0xf8); /* a | b & c */
    }
#endif
}

#include "cpu/x86/batch_avx512icl_tmpl.h"
