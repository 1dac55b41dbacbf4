/* SPDX-License-Identifier: MIT */
/* Prefetching of a weight stream, for kernels that read rows in file order. */
#ifndef KQ_CPU_X86_PREFETCH_H
#define KQ_CPU_X86_PREFETCH_H

#include <immintrin.h>
#include <stddef.h>

/* Into L2 one page ahead, which starts the next page before the hardware's prefetcher may cross into it, and into L1 what comes within
 * the next few blocks. A prefetch never faults, so it may point behind the weights. docs/kernels.md has what this gains. */
static inline __attribute__((always_inline)) void prefetch_weights(const void *p, size_t bytes) {
    for (size_t line = 0; line < bytes; line += 64) {
        _mm_prefetch((const char *)p + 512 + line, _MM_HINT_T0);
        _mm_prefetch((const char *)p + 4096 + line, _MM_HINT_T1);
    }
}

/* The rows of a panel's pieces are a few lines each, far from each other: no prefetcher of the machine finds the next. */
enum { PANEL_AHEAD = 8 };
static inline __attribute__((always_inline)) void prefetch_row(const void *p, size_t bytes) {
    for (size_t line = 0; line < bytes; line += 64) _mm_prefetch((const char *)p + line, _MM_HINT_T0);
}

#endif
