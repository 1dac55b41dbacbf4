/* SPDX-License-Identifier: MIT */
/* The loop of both kinds of BPE: join the neighbours whose pair has the lowest rank, the leftmost of equals, until no pair has one.
 *
 * Pairs wait in a heap, ordered by (rank, place of the left symbol). A pair goes stale when one of its symbols joins another; entries
 * carry the pair's size, and that alone tells: symbols only ever grow, the left one towards its end and the right one likewise, so the
 * same place and the same size are the same two symbols. Each join takes two symbols and offers two pairs: O(n log n). */
#include "text/text.h"

static bool offer(kq_encoder *e, uint32_t left, uint32_t right, kq_merge_rank rank) {
    if (left == KQ_NO_SYMBOL || right == KQ_NO_SYMBOL) return true;
    const kq_symbol *l = &e->symbols[left], *r = &e->symbols[right];
    uint32_t id = 0, order = rank(e, l, r, &id);
    if (order == KQ_NO_SYMBOL) return true;
    return kq_heap_push(&e->heap, (kq_heap_entry){.key = (uint64_t)order << 32 | left, .a = l->size + r->size, .b = id});
}

kq_status kq_merge(kq_encoder *e, size_t n, kq_merge_rank rank) {
    bool fine = true;
    e->heap.n = 0;
    for (uint32_t i = 1; fine && i < n; i++) fine = offer(e, i - 1, i, rank);
    kq_heap_entry best;
    while (fine && kq_heap_pop(&e->heap, &best)) {
        uint32_t i = (uint32_t)best.key;
        kq_symbol *left = &e->symbols[i];
        if (left->size == 0 || left->next == KQ_NO_SYMBOL) continue;
        kq_symbol *right = &e->symbols[left->next];
        if (left->size + right->size != best.a) continue;
        left->size = best.a;
        left->id = best.b;
        left->next = right->next;
        right->size = 0;
        if (left->next != KQ_NO_SYMBOL) e->symbols[left->next].prev = i;
        fine = offer(e, left->prev, i, rank) && offer(e, i, left->next, rank);
    }
    return fine ? KQ_OK : kq_fail_memory(e->err, n * sizeof *e->heap.entries, "merging symbols");
}
