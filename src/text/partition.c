/* SPDX-License-Identifier: MIT */
/* Cuts the tokens that are written out in a text from the text around them.
 *
 * The rule: the longest token first, over the whole text, leftmost first, then the next longest in what is left. So "ab" + "abc" +
 * "cde" in "abcde" is "abc", "de" - and with "bcde" it would be "a", "bcde". Searching the text once for each of thousands of tokens
 * would be slow; instead the text is walked once, and for every byte only the longest token that begins there goes into a heap, in
 * the order (token, place). Taken from it in turn:
 *   - the byte is taken already: nothing can begin here any more;
 *   - the bytes are free: the token takes them;
 *   - some later byte is taken: this token can never stand here, the next shorter one that begins here goes into the heap. It comes
 *     later in the order than what is looked at now, so it is not too late for it.
 * A byte has one entry at a time: n entries at most. */
#include "text/text.h"

#include <stdlib.h>

static int by_bytes(const void *x, const void *y) {
    const kq_special *a = x, *b = y;
    int c = memcmp(a->text, b->text, KQ_MIN(a->size, b->size));
    return c ? c : (a->size > b->size) - (a->size < b->size);
}

static int by_size(const void *x, const void *y) {
    const kq_special *a = x, *b = y;
    if (a->size != b->size) return a->size < b->size ? 1 : -1;
    return (a->id > b->id) - (a->id < b->id);
}

kq_status kq_partition_open(kq_partition *p, const kq_vocab *v, const kq_allocator *a, kq_error *err) {
    enum { SEARCHED = KQ_TOKEN_CONTROL | KQ_TOKEN_USER | KQ_TOKEN_UNKNOWN };
    *p = (kq_partition){0};
    for (size_t id = 0; id < v->n; id++) p->n += (v->is[id] & SEARCHED) != 0;
    p->tokens = kq_alloc(a, p->n, sizeof *p->tokens);
    p->by_order = kq_alloc(a, p->n, sizeof *p->by_order);
    if (!p->tokens || !p->by_order) {
        size_t n = p->n;
        kq_partition_close(p, a);
        return kq_fail_memory(err, (uint64_t)n * sizeof *p->tokens, "special tokens");
    }
    size_t n = 0;
    for (uint32_t id = 0; id < v->n; id++) {
        if (!(v->is[id] & SEARCHED)) continue;
        size_t size;
        const char *text = kq_vocab_text(v, id, &size);
        p->tokens[n++] = (kq_special){.id = id, .size = (uint32_t)size, .text = text,
                                      .plain = !(v->is[id] & (KQ_TOKEN_CONTROL | KQ_TOKEN_UNKNOWN))};
    }
    qsort(p->tokens, n, sizeof *p->tokens, by_size);
    for (size_t i = 0; i < n; i++) p->tokens[i].order = (uint32_t)i;
    qsort(p->tokens, n, sizeof *p->tokens, by_bytes);
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)p->tokens[i].text[0];
        p->by_order[p->tokens[i].order] = (uint32_t)i;
        p->first[byte + 1]++;
        p->starts[false][byte] = true;
        if (p->tokens[i].plain) p->starts[true][byte] = true;
    }
    for (size_t b = 0; b < 256; b++) p->first[b + 1] += p->first[b];
    return KQ_OK;
}

void kq_partition_close(kq_partition *p, const kq_allocator *a) {
    kq_free(a, p->tokens);
    kq_free(a, p->by_order);
    *p = (kq_partition){0};
}

/* The longest token of less than `below` bytes that text begins with. */
static const kq_special *longest(const kq_partition *p, bool plain_only, const uint8_t *text, size_t left, size_t below) {
    const kq_special *best = NULL;
    size_t low = p->first[text[0]], high = p->first[text[0] + 1];
    /* all of [low, high) agree with the text in their first `depth` bytes; a token that ends there is the first of them */
    for (size_t depth = 1; low < high && depth < below; depth++) {
        const kq_special *s = &p->tokens[low];
        if (s->size == depth) {
            if (s->plain || !plain_only) best = s;
            low++;
        }
        if (depth == left) break;
        uint8_t byte = text[depth];
        size_t end = high; /* the first whose byte is not below, by halving; then the first whose byte is above */
        for (size_t from = low; from < end;) {
            size_t middle = from + (end - from) / 2;
            if ((uint8_t)p->tokens[middle].text[depth] < byte) from = low = middle + 1; else end = middle;
        }
        for (size_t from = low, to = high; from < to;) {
            size_t middle = from + (to - from) / 2;
            if ((uint8_t)p->tokens[middle].text[depth] > byte) high = to = middle; else from = middle + 1;
        }
    }
    return best;
}

typedef struct search {
    const kq_partition *p;
    const kq_vocab *v;
    bool plain_only;
    const uint8_t *text;
    size_t size;
    uint8_t *taken;     /* a bit for every byte */
    kq_heap open, done; /* entries (order, place); (place, index of the token) */
} search;

static bool is_taken(const search *s, size_t i) { return s->taken[i / 8] >> i % 8 & 1; }
static void take(search *s, size_t i) { s->taken[i / 8] = (uint8_t)(s->taken[i / 8] | 1u << i % 8); }
static bool strips(uint8_t byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

static bool offer(search *s, size_t at, size_t below) {
    const kq_special *token = longest(s->p, s->plain_only, s->text + at, s->size - at, below);
    return !token || kq_heap_push(&s->open, (kq_heap_entry){.key = (uint64_t)token->order << 32 | at});
}

static bool settle(search *s, uint32_t order, size_t at) {
    const kq_special *token = &s->p->tokens[s->p->by_order[order]];
    size_t end = at + token->size;
    if (is_taken(s, at)) return true;
    for (size_t i = at + 1; i < end; i++) {
        if (is_taken(s, i)) return offer(s, at, token->size);
    }
    for (size_t i = at; i < end; i++) take(s, i);
    uint16_t is = s->v->is[token->id];
    if (is & KQ_TOKEN_LSTRIP) {
        for (size_t i = at; i > 0 && !is_taken(s, i - 1) && strips(s->text[i - 1]); i--) take(s, i - 1);
    }
    if (is & KQ_TOKEN_RSTRIP) {
        for (size_t i = end; i < s->size && !is_taken(s, i) && strips(s->text[i]); i++) take(s, i);
    }
    return kq_heap_push(&s->done, (kq_heap_entry){.key = at, .a = s->p->by_order[order]});
}

/* Gives out tokens and the free bytes between them. Bytes that were stripped lie beside a token, so what is free between two
 * tokens is in one piece. */
static kq_status give_out(search *s, kq_partition_emit emit, void *ctx) {
    kq_heap_entry e;
    size_t at = 0;
    bool more;
    do {
        more = kq_heap_pop(&s->done, &e);
        size_t end = more ? (size_t)e.key : s->size, next = end;
        while (at < end && is_taken(s, at)) at++;
        while (at < end && is_taken(s, end - 1)) end--;
        if (at < end) KQ_TRY(emit(ctx, KQ_NO_TOKEN, (const char *)s->text + at, end - at));
        if (more) {
            const kq_special *token = &s->p->tokens[e.a];
            KQ_TRY(emit(ctx, (int32_t)token->id, NULL, 0));
            at = next + token->size;
        }
    } while (more);
    return KQ_OK;
}

kq_status kq_partition_run(const kq_partition *p, const kq_vocab *v, const kq_allocator *a, bool plain_only, const char *text, size_t size,
                           kq_partition_emit emit, void *ctx, kq_error *err) {
    search s = {.p = p, .v = v, .plain_only = plain_only, .text = (const uint8_t *)text, .size = size,
                .open = {.allocator = a}, .done = {.allocator = a}};
    if (size == 0) return KQ_OK;
    bool fine = true;
    const bool *starts = p->starts[plain_only];
    for (size_t at = 0; fine && at < size; at++) {
        if (starts[s.text[at]]) fine = offer(&s, at, SIZE_MAX);
    }
    kq_status status = KQ_OK;
    if (fine && s.open.n == 0) return emit(ctx, KQ_NO_TOKEN, text, size);
    if (fine) fine = (s.taken = kq_alloc(a, size / 8 + 1, 1)) != NULL;
    kq_heap_entry e;
    while (fine && kq_heap_pop(&s.open, &e)) fine = settle(&s, (uint32_t)(e.key >> 32), (size_t)(e.key & UINT32_MAX));
    status = fine ? give_out(&s, emit, ctx) : kq_fail_memory(err, size, "special tokens in a text");
    kq_heap_free(&s.open);
    kq_heap_free(&s.done);
    kq_free(a, s.taken);
    return status;
}
