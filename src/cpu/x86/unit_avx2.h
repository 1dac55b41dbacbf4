/* SPDX-License-Identifier: MIT */
/* What the AVX2 kernels of unit_avx2_tmpl.h share: what a unit of 256 weights is taken apart into, and how. Only files that are compiled for AVX2
 * include it. */
#ifndef KQ_CPU_X86_UNIT_AVX2_H
#define KQ_CPU_X86_UNIT_AVX2_H

#include "codec/blocks.h"
#include "codec/codebooks.h"
#include "cpu/kernels.h"
#include "cpu/x86/avx2.h"
#include "cpu/x86/turn_avx2.h"

#define INLINE static inline __attribute__((always_inline))

/* What does not belong to a single group; unit_avx2_tmpl.h says which of it a codec fills in. */
typedef struct unit {
    __m256 scales[2], minima[2];
    __m256i steps; /* sixteen integers of 16 bits */
    __m256 d;
    __m256i rest[2];        /* tq1_0: what its next trits come from */
    uint16_t index[64];     /* iq: of cells that have more than 8 bits of it */
    uint8_t parity[32];     /* iq: signs of cells, where they are not stored as they are used */
} unit;

INLINE __m128i load16(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
INLINE __m256i twice(const void *p) { return _mm256_broadcastsi128_si256(load16(p)); } /* 16 bytes in both halves */

/* Eight binary16 that lie `pitch` bytes apart. */
INLINE __m256 halves_apart(const void *first, size_t pitch) {
    const uint8_t *p = first;
    uint16_t h[8];
    for (size_t i = 0; i < 8; i++) h[i] = kq_load_u16(p + i * pitch);
    return _mm256_cvtph_ps(_mm_setr_epi16((short)h[0], (short)h[1], (short)h[2], (short)h[3], (short)h[4], (short)h[5], (short)h[6], (short)h[7]));
}
INLINE __m256 one_half(uint16_t h) { return _mm256_set1_ps(_cvtsh_ss(h)); }

/* Split nibbles: 16 bytes are 32 codes. */
INLINE __m256i split_nibbles(const void *qs) {
    const __m256i shift = _mm256_setr_epi64x(0, 0, 4, 4);
    return _mm256_and_si256(_mm256_srlv_epi64(twice(qs), shift), _mm256_set1_epi8(15));
}

/* The same of eight groups, 16 bytes at first + g * pitch each, turned: low nibbles are dwords 0 .. 3, high ones 4 .. 7. */
INLINE void turn_nibbles(const uint8_t *first, size_t pitch, __m256i q[8]) {
    __m256i two[4], bytes[4];
    for (int i = 0; i < 4; i++, first += 2 * pitch)
        two[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(load16(first)), load16(first + pitch), 1);
    turn_halves(two[0], two[1], two[2], two[3], bytes);
    for (int i = 0; i < 4; i++) {
        q[i] = _mm256_and_si256(bytes[i], _mm256_set1_epi8(15));
        q[4 + i] = _mm256_and_si256(_mm256_srli_epi16(bytes[i], 4), _mm256_set1_epi8(15));
    }
}

/* q4_k and q5_k: of 12 bytes eight scales and eight minima of 6 bits each. */
INLINE __m256 bytes_as_floats(uint64_t bytes) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)bytes))); }
INLINE void open_k4(unit *u, const uint8_t scales[12], uint16_t d, uint16_t dmin) {
    uint32_t a = kq_load_u32(scales), m = kq_load_u32(scales + 4), h = kq_load_u32(scales + 8);
    uint64_t sc = (uint64_t)(a & 0x3f3f3f3fu) | (uint64_t)((h & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u)) << 32;
    uint64_t mn = (uint64_t)(m & 0x3f3f3f3fu) | (uint64_t)((h >> 4 & 0x0f0f0f0fu) | (m >> 2 & 0x30303030u)) << 32;
    u->scales[0] = _mm256_mul_ps(bytes_as_floats(sc), one_half(d));
    u->minima[0] = _mm256_mul_ps(bytes_as_floats(mn), one_half(dmin));
}
/* Byte l of 32 holds the codes of weights 64p + l and 64p + 32 + l. */
INLINE __m256i half_bytes(const uint8_t *qs, int g) {
    return _mm256_and_si256(_mm256_srli_epi16(load32(qs + 32 * (g / 2)), 4 * (g % 2)), _mm256_set1_epi8(15));
}
/* Bit `from` of each byte as bit `to`. */
INLINE __m256i one_bit(__m256i bytes, int from, int to) {
    __m256i moved = from < to ? _mm256_slli_epi16(bytes, to - from) : _mm256_srli_epi16(bytes, from - to);
    return _mm256_and_si256(moved, _mm256_set1_epi8((char)(1 << to)));
}

/* Sixteen levels, each so much more, in both halves, for vpshufb. */
INLINE __m256i levels_from_zero(const int8_t *levels, int offset) { return _mm256_add_epi8(twice(levels), _mm256_set1_epi8((char)offset)); }

/* Of four planes (blocks.h) the codes of weights 32g .. 32g + 31. */
INLINE __m256i two_bits(const uint8_t *qs, int g) {
    return _mm256_and_si256(_mm256_srli_epi16(load32(qs + 32 * (g / 4)), 2 * (g % 4)), _mm256_set1_epi8(3));
}

/* 32 bits as 32 bytes: all ones where the bit is set. */
INLINE __m256i spread_bits(const void *bits) {
    const __m256i byte = _mm256_setr_epi64x(0, 0x0101010101010101ll, 0x0202020202020202ll, 0x0303030303030303ll);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201ull);
    __m256i each = _mm256_shuffle_epi8(_mm256_set1_epi32((int)kq_load_u32(bits)), byte);
    return _mm256_cmpeq_epi8(_mm256_and_si256(each, bit), bit);
}

#endif
