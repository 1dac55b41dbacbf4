/* SPDX-License-Identifier: MIT */
/* q6_k for AVX2. */
#include "cpu/x86/unit_avx2.h"

#define KERNEL(op) kq_##op##_q6_k_avx2
#define BLOCK kq_block_q6_k
#define UNIT_BLOCKS 1
#define MOST 63
#define SCALING STEPS_16
#define OFFSET 32
#define MINIMA 0

INLINE void unit_open(const BLOCK *b, unit *u) {
    u->d = one_half(b->d);
    u->steps = _mm256_cvtepi8_epi16(load16(b->scales));
}

INLINE __m256i unit_codes(const BLOCK *b, unit *u, int g) {
    (void)u;
    int half = g / 4, run = g % 4;
    __m256i ql = load32(b->ql + 64 * half + 32 * (run % 2)), qh = load32(b->qh + 32 * half);
    __m256i low = _mm256_and_si256(run < 2 ? ql : _mm256_srli_epi16(ql, 4), _mm256_set1_epi8(15));
    __m256i high = run < 2 ? _mm256_slli_epi16(qh, 4 - 2 * run) : _mm256_srli_epi16(qh, 2 * run - 4);
    return _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi8(0x30)));
}

#include "cpu/x86/unit_avx2_tmpl.h"
