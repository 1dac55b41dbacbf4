/* SPDX-License-Identifier: MIT */
/* A binary heap of 16-byte entries. */
#include "text/text.h"

bool kq_heap_push(kq_heap *h, kq_heap_entry e) {
    if (!kq_grow(h->allocator, &h->entries, &h->capacity, h->n + 1, sizeof *h->entries)) return false;
    size_t i = h->n++;
    for (size_t up; i > 0 && h->entries[up = (i - 1) / 2].key > e.key; i = up) h->entries[i] = h->entries[up];
    h->entries[i] = e;
    return true;
}

bool kq_heap_pop(kq_heap *h, kq_heap_entry *out) {
    if (h->n == 0) return false;
    *out = h->entries[0];
    kq_heap_entry last = h->entries[--h->n];
    size_t i = 0;
    for (size_t down; (down = 2 * i + 1) < h->n; i = down) {
        if (down + 1 < h->n && h->entries[down + 1].key < h->entries[down].key) down++;
        if (h->entries[down].key >= last.key) break;
        h->entries[i] = h->entries[down];
    }
    h->entries[i] = last;
    return true;
}

void kq_heap_free(kq_heap *h) {
    kq_free(h->allocator, h->entries);
    h->entries = NULL;
    h->n = h->capacity = 0;
}
