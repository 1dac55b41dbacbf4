/* SPDX-License-Identifier: MIT */
/* The loop of both kinds of BPE: join the neighbours whose pair has the lowest rank, the leftmost of equals, until no pair has one.
 *
 * Few symbols: all ranks in an array, looked over for the lowest. Many: pairs wait in a heap, ordered by (rank, place of the left
 * symbol). A pair goes stale when one of its symbols joins another; entries carry the pair's size, and that alone tells: symbols only
 * ever grow, the left one towards its end and the right one likewise, so the same place and the same size are the same two
 * symbols. Each join takes two symbols and offers two pairs: O(n log n).
 *
 * Where texts hold U+2581 for spaces, a fragment need not be one piece: most vocabularies join nothing to a U+2581 at its right. What
 * lies before such a place can never meet what lies behind it, so both sides are merged by themselves, with the same result. */
#include "text/text.h"

enum { FEW = 32 }; /* at 32 the heap is as fast; pieces of English have 5 */

bool kq_merge_is_space(const uint8_t *text, size_t left) { return left >= 3 && text[0] == 0xe2 && text[1] == 0x96 && text[2] == 0x81; }

kq_status kq_merge_split(kq_encoder *e, const uint8_t *text, size_t size, size_t *taken) {
    uint32_t start = (uint32_t)(text - e->fragment);
    size_t at = 0, n = 0;
    while (at < size) {
        if (n == e->symbols_capacity && !kq_grow(&e->t->allocator, &e->symbols, &e->symbols_capacity, n + FEW, sizeof *e->symbols)) {
            return kq_fail_memory(e->err, (n + 1) * sizeof *e->symbols, "symbols of a text");
        }
        if (n && kq_merge_is_space(text + at, size - at) && !e->t->joins_space[text[at - 1]]) break;
        size_t length = KQ_MIN((size_t)kq_utf8_length(text[at]), size - at);
        e->symbols[n++] = (kq_symbol){.start = start + (uint32_t)at, .size = (uint32_t)length};
        at += length;
    }
    e->n_symbols = n;
    *taken = at;
    return KQ_OK;
}

static void merge_few(kq_encoder *e, kq_merge_rank rank) {
    kq_symbol *s = e->symbols;
    uint32_t n = (uint32_t)e->n_symbols, order[FEW], id[FEW];
    for (uint32_t i = 0; i + 1 < n; i++) {
        id[i] = 0; /* rank leaves it alone when it refuses */
        order[i] = rank(e, &s[i], &s[i + 1], &id[i]);
    }
    while (n > 1) {
        uint32_t best = 0;
        for (uint32_t i = 1; i + 1 < n; i++) {
            if (order[i] < order[best]) best = i;
        }
        if (order[best] == KQ_NO_SYMBOL) break;
        s[best].size += s[best + 1].size;
        s[best].id = id[best];
        n--;
        for (uint32_t i = best + 1; i < n; i++) s[i] = s[i + 1];
        for (uint32_t i = best + 1; i + 1 < n; i++) order[i] = order[i + 1], id[i] = id[i + 1];
        if (best > 0) order[best - 1] = rank(e, &s[best - 1], &s[best], &id[best - 1]);
        if (best + 1 < n) order[best] = rank(e, &s[best], &s[best + 1], &id[best]);
    }
    e->n_symbols = n;
}

static bool offer(kq_encoder *e, uint32_t left, uint32_t right, kq_merge_rank rank) {
    if (left == KQ_NO_SYMBOL || right == KQ_NO_SYMBOL) return true;
    const kq_symbol *l = &e->symbols[left], *r = &e->symbols[right];
    uint32_t id = 0, order = rank(e, l, r, &id);
    if (order == KQ_NO_SYMBOL) return true;
    return kq_heap_push(&e->heap, (kq_heap_entry){.key = (uint64_t)order << 32 | left, .a = l->size + r->size, .b = id});
}

kq_status kq_merge(kq_encoder *e, kq_merge_rank rank) {
    size_t n = e->n_symbols;
    if (n <= FEW) {
        merge_few(e, rank);
        return KQ_OK;
    }
    for (uint32_t i = 0; i < n; i++) {
        e->symbols[i].prev = i ? i - 1 : KQ_NO_SYMBOL;
        e->symbols[i].next = i + 1 < n ? i + 1 : KQ_NO_SYMBOL;
    }
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
    if (!fine) return kq_fail_memory(e->err, n * sizeof *e->heap.entries, "merging symbols");
    e->n_symbols = 0; /* what is left, closed up */
    for (uint32_t i = 0; i != KQ_NO_SYMBOL; i = e->symbols[i].next) e->symbols[e->n_symbols++] = e->symbols[i];
    return KQ_OK;
}
