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
    __m512i turn[2], fifths[2], rotate[2]; /* see unit_turned */
    __m128i fields, lower_at, lower_bits, upper_at, upper_bits; /* of the scales: see unit_scales */
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    l.nibbles = halves(LOW_NIBBLE, HIGH_NIBBLE);
    for (int p = 0; p < 4; p++) l.fifth[p] = halves(ONE_BIT(2 * p, 4), ONE_BIT(2 * p + 1, 4));
    l.turn[0] = _mm512_setr_epi32(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);
    l.turn[1] = _mm512_add_epi32(l.turn[0], _mm512_set1_epi32(4));
    l.fifths[0] = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    l.fifths[1] = _mm512_add_epi32(l.fifths[0], _mm512_set1_epi32(4));
    l.rotate[0] = _mm512_broadcast_i32x4(_mm_setr_epi32(4, 2, 0, 30)); /* bits 0 2 4 6 of a byte to bit 4 */
    l.rotate[1] = _mm512_broadcast_i32x4(_mm_setr_epi32(3, 1, 31, 29)); /* 1 3 5 7 */
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

/* Dword s of the four runs of 32 bytes, s in a quarter: low nibbles are even groups, high ones odd groups. A dword of qh has their fifth bits. */
#define TURNED
INLINE void unit_turned(const BLOCK *b, const lanes *l, __m512i turned[4]) {
    for (int i = 0; i < 2; i++) {
        __m512i qs = _mm512_permutex2var_epi32(load64(b->qs), l->turn[i], load64(b->qs + 64));
        turned[i] = _mm512_and_si512(qs, _mm512_set1_epi8(15));
        turned[2 + i] = _mm512_gf2p8affine_epi64_epi8(qs, _mm512_set1_epi64(HIGH_NIBBLE), 0);
#if HAS_QH
        __m512i qh = _mm512_permutexvar_epi32(l->fifths[i], _mm512_castsi256_si512(load32(b->qh))), bit = _mm512_set1_epi8(16);
        turned[i] = _mm512_ternarylogic_epi32(turned[i], _mm512_rolv_epi32(qh, l->rotate[0]), bit, 0xf8); /* a | b & c */
        turned[2 + i] = _mm512_ternarylogic_epi32(turned[2 + i], _mm512_rolv_epi32(qh, l->rotate[1]), bit, 0xf8);
#endif
    }
}

#include "cpu/x86/batch_avx512icl_tmpl.h"
