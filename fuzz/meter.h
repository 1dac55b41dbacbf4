/* SPDX-License-Identifier: MIT */
/* For fuzzers: an allocator whose allocation number fail_at fails (0: none), and that counts those that are held. */
#ifndef KQ_FUZZ_METER_H
#define KQ_FUZZ_METER_H

#include <stddef.h>
#include <stdlib.h>

typedef struct meter {
    size_t calls, fail_at, live;
} meter;
static inline void *meter_alloc(void *ctx, size_t alignment, size_t size) {
    meter *m = ctx;
    void *p;
    if (++m->calls == m->fail_at || posix_memalign(&p, alignment < 8 ? 8 : alignment, size)) return NULL;
    m->live++;
    return p;
}
static inline void meter_free(void *ctx, void *memory) {
    ((meter *)ctx)->live--;
    free(memory);
}

#endif
