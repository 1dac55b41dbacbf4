/* SPDX-License-Identifier: MIT */
/* Roofs of machines with AVX2 (cpu/roof.h). */
#include "cpu/roof.h"

#include <immintrin.h>

uint64_t kq_roof_read_avx2(const uint8_t *p, size_t n, size_t ahead) {
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (size_t i = 0; i < n; i += KQ_ROOF_STEP) {
        if (ahead) {
            for (size_t k = 0; k < KQ_ROOF_STEP; k += 64) __builtin_prefetch(p + i + k + ahead);
        }
        for (size_t k = 0; k < KQ_ROOF_STEP; k += 128) {
            const __m256i *w = (const __m256i *)(const void *)(p + i + k);
            a = _mm256_xor_si256(a, w[0]), b = _mm256_xor_si256(b, w[1]), c = _mm256_xor_si256(c, w[2]), d = _mm256_xor_si256(d, w[3]);
        }
    }
    a = _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d));
    return (uint64_t)_mm256_extract_epi64(a, 0);
}

void kq_roof_store_avx2(uint8_t *p, size_t n, bool past) {
    __m256i zero = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += 32) {
        __m256i *to = (__m256i *)(void *)(p + i);
        if (past) _mm256_stream_si256(to, zero);
        else _mm256_store_si256(to, zero);
    }
    _mm_sfence();
}

/* Sums in ten registers, enough to hide the latency; the assembler text keeps them there. */
#define SUMS "0,1,2,3,4,5,6,7,8,9"
#define CLOBBERS "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm15"

uint64_t kq_roof_f32_avx2(uint64_t rounds) {
    uint64_t loops = rounds << 10;
    if (rounds) {
        __asm__ volatile("vxorps %%ymm15, %%ymm15, %%ymm15\n .irp r," SUMS "\n vxorps %%ymm\\r, %%ymm\\r, %%ymm\\r\n .endr\n"
                         "1:\n .irp r," SUMS "\n vfmadd231ps %%ymm15, %%ymm15, %%ymm\\r\n .endr\n dec %0\n jnz 1b\n"
                         : "+r"(loops) : : "cc", CLOBBERS);
    }
    return (uint64_t)10 * 16 << 10;
}

/* Three instructions for 32 products: as machines without VNNI must. */
uint64_t kq_roof_int8_avx2(uint64_t rounds) {
    uint64_t loops = rounds << 10;
    if (rounds) {
        __asm__ volatile("vpxor %%ymm15, %%ymm15, %%ymm15\n .irp r," SUMS "\n vpxor %%ymm\\r, %%ymm\\r, %%ymm\\r\n .endr\n"
                         "1:\n .irp r," SUMS "\n vpmaddubsw %%ymm15, %%ymm15, %%ymm10\n vpmaddwd %%ymm15, %%ymm10, %%ymm10\n"
                         " vpaddd %%ymm10, %%ymm\\r, %%ymm\\r\n .endr\n dec %0\n jnz 1b\n"
                         : "+r"(loops) : : "cc", CLOBBERS);
    }
    return (uint64_t)10 * 64 << 10;
}
