/* SPDX-License-Identifier: MIT */
/* For tests and fuzzers: an allocator that fails when it is told to, counts what is held, and fills what it gives, so that nobody relies
 * on zeros that were not asked for. (What counts bytes too, tests/unit/gguf_hostile.c and session.c, has to put them before each block,
 * where a sanitizer then sees no byte too few.) */
#ifndef KQ_TESTS_METER_H
#define KQ_TESTS_METER_H

#include <kquant/core.h>

#include <stdlib.h>
#include <string.h>

typedef struct meter {
    size_t fail_at; /* the allocation that fails, counted from 1; 0: none */
    bool onwards;   /* and all behind it */
    size_t most;    /* bytes; more fail too, unless 0 */
    size_t calls, live;
} meter;

static inline void *meter_alloc(void *ctx, size_t alignment, size_t size) {
    meter *m = ctx;
    void *p;
    m->calls++;
    if (m->fail_at && (m->onwards ? m->calls >= m->fail_at : m->calls == m->fail_at)) return NULL;
    if ((m->most && size > m->most) || posix_memalign(&p, alignment < sizeof p ? sizeof p : alignment, size)) return NULL;
    memset(p, 0xa5, size);
    m->live++;
    return p;
}
static inline void meter_free(void *ctx, void *memory) {
    ((meter *)ctx)->live--;
    free(memory);
}
/* Lends the meter. */
static inline kq_allocator meter_allocator(meter *m) { return (kq_allocator){meter_alloc, meter_free, m}; }

/* Gives so many allocations and no more; SIZE_MAX: all. */
static inline meter meter_of(size_t allocations) { return (meter){.fail_at = allocations + 1, .onwards = true}; }

#endif
