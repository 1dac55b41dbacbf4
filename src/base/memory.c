/* SPDX-License-Identifier: MIT */
/* Allocation through the caller's functions, and the arena. */
#include "base/base.h"

#include <stdlib.h>

static void *libc_alloc(void *ctx, size_t alignment, size_t size) {
    (void)ctx;
    void *p;
    return posix_memalign(&p, alignment < sizeof(void *) ? sizeof(void *) : alignment, size) == 0 ? p : NULL;
}

static void libc_free(void *ctx, void *memory) {
    (void)ctx;
    free(memory);
}

kq_allocator kq_allocator_of(const kq_allocator *a) {
    if (a && a->alloc && a->free) return *a;
    return (kq_allocator){.alloc = libc_alloc, .free = libc_free};
}

void *kq_alloc_raw(const kq_allocator *a, uint64_t n, uint64_t size) {
    uint64_t bytes;
    if (!kq_mul(n, size, &bytes) || bytes > SIZE_MAX / 2) return NULL;
    return a->alloc(a->ctx, 64, bytes ? (size_t)bytes : 1);
}

void *kq_alloc(const kq_allocator *a, uint64_t n, uint64_t size) {
    void *p = kq_alloc_raw(a, n, size);
    if (p) memset(p, 0, (size_t)(n * size));
    return p;
}

void kq_free(const kq_allocator *a, void *memory) {
    if (memory) a->free(a->ctx, memory);
}

bool kq_grow(const kq_allocator *a, void *array_pointer, size_t *capacity, size_t need, size_t size) {
    if (need <= *capacity) return true;
    void *old;
    memcpy(&old, array_pointer, sizeof old);
    uint64_t bigger = *capacity ? *capacity : 8;
    while (bigger < need) {
        if (!kq_mul(bigger, 2, &bigger)) return false;
    }
    void *grown = kq_alloc_raw(a, bigger, size);
    if (!grown) return false;
    if (old) memcpy(grown, old, *capacity * size);
    kq_free(a, old);
    memcpy(array_pointer, &grown, sizeof grown);
    *capacity = (size_t)bigger;
    return true;
}

enum { ARENA_CHUNK = 64 * 1024 };

struct kq_arena_chunk {
    kq_arena_chunk *next;
    size_t pad;     /* the payload starts 16-aligned */
    uint8_t data[]; /* zeroed */
};

void kq_arena_init(kq_arena *arena, const kq_allocator *a) { *arena = (kq_arena){.allocator = kq_allocator_of(a)}; }

void *kq_arena_alloc(kq_arena *arena, uint64_t n, uint64_t size) {
    uint64_t bytes, rounded;
    if (!kq_mul(n, size, &bytes) || !kq_round_up(bytes ? bytes : 1, 16, &rounded)) return NULL;
    if (!arena->chunks || rounded > arena->size - arena->used) {
        uint64_t room = KQ_MAX(rounded, (uint64_t)ARENA_CHUNK), whole;
        if (!kq_add(room, sizeof(kq_arena_chunk), &whole)) return NULL;
        kq_arena_chunk *chunk = kq_alloc(&arena->allocator, 1, whole);
        if (!chunk) return NULL;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        arena->used = 0;
        arena->size = (size_t)room;
    }
    void *p = arena->chunks->data + arena->used;
    arena->used += (size_t)rounded;
    return p;
}

char *kq_arena_string(kq_arena *arena, const char *data, size_t size) {
    char *copy = kq_arena_alloc(arena, (uint64_t)size + 1, 1);
    if (copy && size) memcpy(copy, data, size);
    return copy;
}

void kq_arena_free(kq_arena *arena) {
    for (kq_arena_chunk *chunk = arena->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        kq_free(&arena->allocator, chunk);
    }
    arena->chunks = NULL;
    arena->used = arena->size = 0;
}
