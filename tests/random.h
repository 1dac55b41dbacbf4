/* SPDX-License-Identifier: MIT */
/* For tests: numbers at random, from a seed that is printed and may be given. */
#ifndef KQ_TESTS_RANDOM_H
#define KQ_TESTS_RANDOM_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t seed = 20261121;

static inline uint64_t next_random(void) { /* splitmix64 */
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
static inline size_t below(size_t n) { return (size_t)(next_random() % n); }
static inline float uniform(void) { return (float)((double)(next_random() >> 40) * 0x1p-23 - 1.0); } /* [-1, 1) */

/* A group's set-up: another seed each time, unless KQ_SEED is one. */
static inline int new_seed(void **state) {
    (void)state;
    const char *given = getenv("KQ_SEED");
    seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("seed %llu (KQ_SEED)\n", (unsigned long long)seed);
    return 0;
}

#endif
