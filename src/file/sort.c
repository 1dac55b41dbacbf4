/* SPDX-License-Identifier: MIT */
/* Sorting without memory, in a time that no file can make quadratic. */
#include "file/file.h"

static void swap(uint32_t *a, uint32_t *b) {
    uint32_t old = *a;
    *a = *b;
    *b = old;
}

static void sift(uint32_t *heap, size_t root, size_t n, bool (*before)(const void *, uint32_t, uint32_t), const void *ctx) {
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && before(ctx, heap[child], heap[child + 1])) child++;
        if (!before(ctx, heap[root], heap[child])) return;
        swap(&heap[root], &heap[child]);
    }
}

void kq_sort_indices(uint32_t *order, size_t n, bool (*before)(const void *ctx, uint32_t a, uint32_t b), const void *ctx) {
    for (size_t i = n / 2; i-- > 0;) sift(order, i, n, before, ctx);
    for (size_t end = n; end-- > 1;) {
        swap(&order[0], &order[end]);
        sift(order, 0, end, before, ctx);
    }
}
