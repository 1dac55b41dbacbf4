/* SPDX-License-Identifier: MIT */
/* What q2_k, q3_k and tq2_0 share in columns: bytes that are four planes of 32 weights for each half of a block. A lane is a group of 16 weights: of
 * a quarter of the register, 16 bytes, column k has the k'th four in each of four lanes, and lane r takes plane r. Codes stay where they are in their
 * bytes, so they are powers of two larger. */
#ifndef KQ_CPU_X86_PLANES_AVX512ICL_H
#define KQ_CPU_X86_PLANES_AVX512ICL_H

#include "cpu/x86/columns_avx512icl.h"

#define UNIT_BLOCKS 1
#define UNIT_ACTS 1
#define SHARED 0
#define CHAINS 1
#define OWN_DECODE
#define ORDER BITS(5, 3, 2, 4, 7, 6, 1, 0)

/* The group of 16 of each lane, as the byte that a permutation of bytes takes to the lane. */
INLINE __m512i lane_groups(void) { return _mm512_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15); }

/* Dword k of each quarter in all its lanes. */
INLINE __m512i each_quarter(__m512i v, int k) {
    return k == 0 ? _mm512_shuffle_epi32(v, 0x00) : k == 1 ? _mm512_shuffle_epi32(v, 0x55) : k == 2 ? _mm512_shuffle_epi32(v, 0xaa) : _mm512_shuffle_epi32(v, 0xff);
}

#endif
