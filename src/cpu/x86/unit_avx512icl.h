/* SPDX-License-Identifier: MIT */
/* What the AVX-512 kernels with VNNI, VBMI and GFNI share: taking bytes apart. Only files that are compiled for them include it. */
#ifndef KQ_CPU_X86_UNIT_AVX512ICL_H
#define KQ_CPU_X86_UNIT_AVX512ICL_H

#include "codec/blocks.h"
#include "codec/codebooks.h"
#include "cpu/kernels.h"
#include "cpu/x86/prefetch.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
/* For panel, which needs one instruction more than the rest of its file. */
#define ROUNDS_TO_BF16 __attribute__((target("avx512bf16")))

INLINE __m128i load16(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
INLINE __m256i load32(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
INLINE __m512i load64(const void *p) { return _mm512_loadu_si512(p); }
/* The same 16 or 32 bytes in every quarter, or in both halves. */
INLINE __m512i twice(const void *p) { return _mm512_broadcast_i64x4(load32(p)); }

/* GF(2) matrices, for vgf2p8affineqb: eight bytes, of which the last makes bit 0 of a result, as the parity of the source bits that it has. */
#define LOW_NIBBLE 0x0102040800000000ll
#define HIGH_NIBBLE 0x1020408000000000ll
/* Two bits from 2 * run on, to bits 0 and 1; one bit, to bit `to`. */
#define TWO_BITS(run) ((long long)(0x0102ull << 48 << 2 * (run)))
#define ONE_BIT(bit, to) ((long long)(1ull << (bit) << (56 - 8 * (to))))
/* Seven bits as they are, and their parity as the eighth: signs by parity. */
#define SIGNS_BY_PARITY 0x010204081020407fll

INLINE __m512i halves(long long low, long long high) { return _mm512_setr_epi64(low, low, low, low, high, high, high, high); }
INLINE __m512i quarters(long long even, long long odd) { return _mm512_setr_epi64(even, even, odd, odd, even, even, odd, odd); }

/* Split nibbles: 16 bytes at a and 16 at b are 32 codes each. The matrices are quarters(LOW_NIBBLE, HIGH_NIBBLE). */
INLINE __m512i split_nibbles(const void *a, const void *b, __m512i matrices) {
    __m512i qs = _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(load16(a)), 0xff00, load16(b));
    return _mm512_gf2p8affine_epi64_epi8(qs, matrices, 0);
}

/* Dword i of four registers' quarters, beside each other in a quarter of register i. */
INLINE void turn_quarters(const __m512i c[4], __m512i out[4]) {
    __m512i a0 = _mm512_unpacklo_epi32(c[0], c[1]), a1 = _mm512_unpackhi_epi32(c[0], c[1]);
    __m512i b0 = _mm512_unpacklo_epi32(c[2], c[3]), b1 = _mm512_unpackhi_epi32(c[2], c[3]);
    out[0] = _mm512_unpacklo_epi64(a0, b0);
    out[1] = _mm512_unpackhi_epi64(a0, b0);
    out[2] = _mm512_unpacklo_epi64(a1, b1);
    out[3] = _mm512_unpackhi_epi64(a1, b1);
}

/* Turning, as batch_avx512icl_tmpl.h wants it: of the codes of two units, in their order; */
INLINE void turn_codes(const __m512i codes[2][4], __m512i q[8]) {
    __m512i a[4], b[4]; /* a quarter each: dwords i and 4 + i of even groups, the same of odd ones */
    turn_quarters(codes[0], a);
    turn_quarters(codes[1], b);
    for (int i = 0; i < 4; i++) {
        q[i] = _mm512_shuffle_i32x4(a[i], b[i], 0x88);
        q[4 + i] = _mm512_shuffle_i32x4(a[i], b[i], 0xdd);
    }
}

/* and of 16 bytes for each group, g * pitch behind the first, dword i of each group in register i. */
INLINE void turn_bytes(const uint8_t *first, const uint8_t *second, size_t pitch, __m512i out[4]) {
    __m512i c[4];
    for (int i = 0; i < 4; i++, first += 2 * pitch, second += 2 * pitch) {
        if (pitch == 16) {
            c[i] = _mm512_inserti64x4(_mm512_castsi256_si512(load32(first)), load32(second), 1);
        } else {
            c[i] = _mm512_mask_broadcast_i32x4(_mm512_castsi128_si512(load16(first)), 0x00f0, load16(first + pitch));
            c[i] = _mm512_mask_broadcast_i32x4(c[i], 0x0f00, load16(second));
            c[i] = _mm512_mask_broadcast_i32x4(c[i], 0xf000, load16(second + pitch));
        }
    }
    turn_quarters(c, out);
}
INLINE __m512i low_nibbles(__m512i bytes) { return _mm512_and_si512(bytes, _mm512_set1_epi8(15)); }
INLINE __m512i high_nibbles(__m512i bytes) { return _mm512_gf2p8affine_epi64_epi8(bytes, _mm512_set1_epi64(HIGH_NIBBLE), 0); }
/* Split nibbles: the low ones are dwords 0 .. 3, the high ones 4 .. 7. */
INLINE void turn_nibbles(const uint8_t *first, const uint8_t *second, size_t pitch, __m512i q[8]) {
    __m512i bytes[4];
    turn_bytes(first, second, pitch, bytes);
    for (int i = 0; i < 4; i++) {
        q[i] = low_nibbles(bytes[i]);
        q[4 + i] = high_nibbles(bytes[i]);
    }
}

/* Where a row's floats lie behind its 512 activations (weave, kernels.h). */
enum { WOVEN_SCALES = 512, WOVEN_SUMS = 576, WOVEN_SUMS16 = 640 };

/* Sixteen levels, in every quarter, for vpshufb. */
INLINE __m512i sixteen_levels(const int8_t *levels, int offset) {
    return _mm512_add_epi8(_mm512_broadcast_i32x4(load16(levels)), _mm512_set1_epi8((char)offset));
}

/* Two binary16 that lie side by side. */
INLINE __m128 two_halves(const void *p) { return _mm_cvtph_ps(_mm_cvtsi32_si128((int)kq_load_u32(p))); }
INLINE __m512 one_half(uint16_t h) { return _mm512_set1_ps(_mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)))); }

#endif
