/* SPDX-License-Identifier: MIT */
/* From byte strings to numbers: linear probing at a load of at most 1/2. The keys come from files, and a file could be made of a
 * million keys that meet in one slot (2^21 tries a key, hours of work once), which would take a million times a million
 * steps to read; so every map hashes with a seed that no file can know. Nothing depends on the order of slots. */
#include "base/base.h"

#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t kq_hash_seed(const void *somewhere) {
    uint64_t seed;
    /* early in a boot the system may have none: then an address, which is not known outside either */
    return getrandom(&seed, sizeof seed, GRND_NONBLOCK) == (ssize_t)sizeof seed ? seed : (uintptr_t)somewhere;
}

static uint64_t hash_of(const kq_strmap *map, const char *key, size_t size) {
    uint64_t h = XXH3_64bits_withSeed(key, size, map->seed);
    return h ? h : 1;
}

bool kq_strmap_init(kq_strmap *map, const kq_allocator *a, size_t n) {
    *map = (kq_strmap){.allocator = kq_allocator_of(a)};
    size_t slots = 16;
    while (slots / 2 < n) slots *= 2;
    map->slots = kq_alloc(&map->allocator, slots, sizeof *map->slots);
    map->mask = slots - 1;
    map->seed = kq_hash_seed(map->slots);
    return map->slots != NULL;
}

void kq_strmap_free(kq_strmap *map) {
    if (map->slots) kq_free(&map->allocator, map->slots);
    *map = (kq_strmap){0};
}

static size_t probe(const kq_strmap_slot *slots, size_t mask, const char *key, size_t size, uint64_t hash) {
    size_t i = hash & mask;
    while (slots[i].hash && (slots[i].hash != hash || slots[i].size != size || memcmp(slots[i].key, key, size) != 0)) i = (i + 1) & mask;
    return i;
}

static bool grow(kq_strmap *map) {
    size_t slots = (map->mask + 1) * 2;
    kq_strmap_slot *bigger = kq_alloc(&map->allocator, slots, sizeof *bigger);
    if (!bigger) return false;
    for (size_t i = 0; i <= map->mask; i++) {
        const kq_strmap_slot *s = &map->slots[i];
        if (s->hash) bigger[probe(bigger, slots - 1, s->key, s->size, s->hash)] = *s;
    }
    kq_free(&map->allocator, map->slots);
    map->slots = bigger;
    map->mask = slots - 1;
    return true;
}

bool kq_strmap_add(kq_strmap *map, const char *key, size_t size, uint32_t value, uint32_t *old, bool *failed) {
    uint64_t hash = hash_of(map, key, size);
    size_t i = probe(map->slots, map->mask, key, size, hash);
    if (map->slots[i].hash) {
        if (old) *old = map->slots[i].value;
        return false;
    }
    if (size > UINT32_MAX || ((map->n + 1) * 2 > map->mask + 1 && !grow(map))) {
        if (failed) *failed = true;
        return false;
    }
    i = probe(map->slots, map->mask, key, size, hash);
    map->slots[i] = (kq_strmap_slot){.key = key, .size = (uint32_t)size, .value = value, .hash = hash};
    map->n++;
    return true;
}

bool kq_strmap_find(const kq_strmap *map, const char *key, size_t size, uint32_t *value) {
    if (!map->slots) return false;
    size_t i = probe(map->slots, map->mask, key, size, hash_of(map, key, size));
    if (!map->slots[i].hash) return false;
    if (value) *value = map->slots[i].value;
    return true;
}
