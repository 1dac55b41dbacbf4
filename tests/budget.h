/* SPDX-License-Identifier: MIT */
/* For tests: an allocator that gives so many allocations and no more, and counts those that are held. */
#ifndef KQ_TESTS_BUDGET_H
#define KQ_TESTS_BUDGET_H

#include <stddef.h>
#include <stdlib.h>

typedef struct budget {
    size_t left, live;
} budget;
static inline void *budget_alloc(void *ctx, size_t alignment, size_t size) {
    budget *b = ctx;
    if (b->left == 0) return NULL;
    b->left--;
    b->live++;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
static inline void budget_free(void *ctx, void *memory) {
    ((budget *)ctx)->live--;
    free(memory);
}

#endif
