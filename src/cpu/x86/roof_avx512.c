/* SPDX-License-Identifier: MIT */
/* Roofs of machines with AVX-512 (cpu/roof.h). Narrower loads and stores do not reach theirs. */
#include "cpu/roof.h"

#include <immintrin.h>

uint64_t kq_roof_read_avx512(const uint8_t *p, size_t n, size_t ahead) {
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (size_t i = 0; i < n; i += KQ_ROOF_STEP) {
        if (ahead) {
            for (size_t k = 0; k < KQ_ROOF_STEP; k += 64) __builtin_prefetch(p + i + k + ahead);
        }
        const __m512i *w = (const __m512i *)(const void *)(p + i);
        a = _mm512_xor_si512(a, w[0]), b = _mm512_xor_si512(b, w[1]), c = _mm512_xor_si512(c, w[2]), d = _mm512_xor_si512(d, w[3]);
    }
    return (uint64_t)_mm512_reduce_or_epi64(_mm512_xor_si512(_mm512_xor_si512(a, b), _mm512_xor_si512(c, d)));
}

void kq_roof_store_avx512(uint8_t *p, size_t n, bool past) {
    __m512i zero = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += 64) {
        if (past) _mm512_stream_si512((__m512i *)(void *)(p + i), zero);
        else _mm512_store_si512((__m512i *)(void *)(p + i), zero);
    }
    _mm_sfence();
}

uint64_t kq_roof_f32_avx512(uint64_t rounds) {
    uint64_t loops = rounds << 10;
    if (rounds) {
        __asm__ volatile("vpxord %%zmm31, %%zmm31, %%zmm31\n .irp r,16,17,18,19,20,21,22,23,24,25,26,27\n vpxord %%zmm\\r, %%zmm\\r, %%zmm\\r\n .endr\n"
                         "1:\n .irp r,16,17,18,19,20,21,22,23,24,25,26,27\n vfmadd231ps %%zmm31, %%zmm31, %%zmm\\r\n .endr\n dec %0\n jnz 1b\n"
                         : "+r"(loops) : : "cc", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",
                           "xmm26", "xmm27", "xmm31");
    }
    return (uint64_t)12 * 32 << 10;
}
