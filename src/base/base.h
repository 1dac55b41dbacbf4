/* SPDX-License-Identifier: MIT */
/* base owns: status and error text, checked size arithmetic, allocation and arena, mapped files, the bounded cursor,
 * f16/bf16 conversion, the thread pool, CPU features, the string map, SHA-256.
 * It may include: the public headers only. */
#ifndef KQ_BASE_H
#define KQ_BASE_H

#include <kquant/core.h>

#include <assert.h>
#include <stdarg.h>
#include <string.h>

#define KQ_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define KQ_MIN(a, b) ((a) < (b) ? (a) : (b))
#define KQ_MAX(a, b) ((a) > (b) ? (a) : (b))

/* ---- error text --------------------------------------------------------------------------------------------------- */

/* Fills *err (when not NULL) and returns status: `return kq_fail(err, KQ_E_ARGUMENT, "rows is %zu", rows);`
 * The text is cut to fit and bytes that do not print are escaped, so names from a file may be passed as they are. */
kq_status kq_fail(kq_error *err, kq_status status, const char *format, ...) __attribute__((format(printf, 3, 4), cold));
/* The same with a file and an offset in it (KQ_NO_OFFSET when none). */
kq_status kq_fail_at(kq_error *err, kq_status status, const char *file, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 5, 6), cold));
/* For a failed allocation. */
kq_status kq_fail_memory(kq_error *err, uint64_t bytes, const char *what) __attribute__((cold));
#ifdef __clang_analyzer__ /* which sees one file at a time, and so not that these never return KQ_OK */
#define kq_fail(err, status, ...) ({ (void)kq_fail(err, status, __VA_ARGS__); (status); })
#define kq_fail_at(err, status, ...) ({ (void)kq_fail_at(err, status, __VA_ARGS__); (status); })
#define kq_fail_memory(err, bytes, what) ({ (void)kq_fail_memory(err, bytes, what); KQ_E_MEMORY; })
#endif

/* Passes a failure on: KQ_TRY(kq_gguf_open(...)); nothing to clean up at that point. */
#define KQ_TRY(call)                              \
    do {                                          \
        kq_status kq_try_status_ = (call);        \
        if (kq_try_status_) return kq_try_status_; \
    } while (0)

/* Reads an options structure of an older or newer caller: copies the part both know, zeroes the rest. `given` may be NULL. */
void kq_options_read(void *out, size_t size, const void *given);

/* ---- checked sizes: the only arithmetic on sizes that come from outside ----------------------------------------------- */

static inline bool kq_add(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline bool kq_mul(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_mul_overflow(a, b, out); }
/* Up to a multiple of `to`, which is a power of two. */
static inline bool kq_round_up(uint64_t a, uint64_t to, uint64_t *out) {
    uint64_t sum;
    if (!kq_add(a, to - 1, &sum)) return false;
    *out = sum & ~(to - 1);
    return true;
}
/* base[0, base_size) holds [at, at + size)? */
static inline bool kq_within(uint64_t at, uint64_t size, uint64_t base_size) { return at <= base_size && size <= base_size - at; }

/* ---- memory ------------------------------------------------------------------------------------------------------- */

/* The C library's allocator when a is NULL. A filled-in allocator of which a copy is kept by every object. */
kq_allocator kq_allocator_of(const kq_allocator *a);
/* n * size zeroed bytes, 64-aligned; NULL on overflow or failure, and for 0 bytes a valid pointer. */
void *kq_alloc(const kq_allocator *a, uint64_t n, uint64_t size);
/* The same without zeroing. */
void *kq_alloc_raw(const kq_allocator *a, uint64_t n, uint64_t size);
void kq_free(const kq_allocator *a, void *memory); /* NULL is fine */
/* Grows *array (elements of `size` bytes) to hold at least `need`, doubling; new elements are not zeroed.
 * False when memory fails; the array is then as before. */
bool kq_grow(const kq_allocator *a, void *array_pointer, size_t *capacity, size_t need, size_t size);

/* An arena: many small objects with one lifetime. Zeroed memory, 16-aligned. */
typedef struct kq_arena_chunk kq_arena_chunk;
typedef struct kq_arena {
    kq_allocator allocator;
    kq_arena_chunk *chunks;
    size_t used, size; /* of the newest chunk */
} kq_arena;
void kq_arena_init(kq_arena *arena, const kq_allocator *a);
void *kq_arena_alloc(kq_arena *arena, uint64_t n, uint64_t size); /* NULL on failure */
char *kq_arena_string(kq_arena *arena, const char *data, size_t size); /* a zero-terminated copy */
void kq_arena_free(kq_arena *arena); /* everything in it */

/* ---- mapped files ------------------------------------------------------------------------------------------------- */

typedef struct kq_map {
    const uint8_t *data; /* page-aligned; NULL when size is 0 */
    uint64_t size;
    uint64_t device, inode; /* which file it is, whatever it is called */
    uint64_t changed;       /* when its bytes last changed, in nanoseconds */
} kq_map;
/* Maps a regular file for reading. KQ_E_IO with the system's reason (missing, a directory, no permission). */
kq_status kq_map_open(kq_map *out, const char *path, kq_error *err);
void kq_map_close(kq_map *map);
/* Whether `path` names the file that is mapped: an output must not be written over its input. False when nothing has that name. */
bool kq_map_is(const kq_map *map, const char *path);
/* A number that changes when the file does, mixed with one before: 0, or that of other files. */
uint64_t kq_map_stamp(const kq_map *map, uint64_t before);
/* Bytes that were read will not be needed again: whole pages of them leave this process's memory, until they are touched. */
void kq_map_release(const kq_map *map, uint64_t offset, uint64_t size);

/* ---- bounded cursor: the only way bytes of a file's header are read ------------------------------------------------- */

typedef struct kq_cursor {
    const uint8_t *data;
    uint64_t size, at; /* at <= size always */
} kq_cursor;
static inline uint64_t kq_cursor_left(const kq_cursor *c) { return c->size - c->at; }
/* The next n bytes, or NULL (and no movement) when they are not there. */
static inline const uint8_t *kq_cursor_take(kq_cursor *c, uint64_t n) {
    if (n > c->size - c->at) return NULL;
    const uint8_t *p = c->data + c->at;
    c->at += n;
    return p;
}
static inline bool kq_cursor_u8(kq_cursor *c, uint8_t *out) {
    const uint8_t *p = kq_cursor_take(c, 1);
    if (p) *out = *p;
    return p != NULL;
}
static inline uint32_t kq_load_u32(const void *p) { uint32_t v; memcpy(&v, p, 4); return v; } /* little-endian hosts only: base.c asserts it */
static inline uint64_t kq_load_u64(const void *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline uint16_t kq_load_u16(const void *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static inline float kq_load_f32(const void *p) { float v; memcpy(&v, p, 4); return v; }
static inline bool kq_cursor_u32(kq_cursor *c, uint32_t *out) {
    const uint8_t *p = kq_cursor_take(c, 4);
    if (p) *out = kq_load_u32(p);
    return p != NULL;
}
static inline bool kq_cursor_u64(kq_cursor *c, uint64_t *out) {
    const uint8_t *p = kq_cursor_take(c, 8);
    if (p) *out = kq_load_u64(p);
    return p != NULL;
}

/* ---- half floats -------------------------------------------------------------------------------------------------- */

static inline float kq_bits_to_f32(uint32_t bits) { float f; memcpy(&f, &bits, 4); return f; }
static inline uint32_t kq_f32_to_bits(float f) { uint32_t bits; memcpy(&bits, &f, 4); return bits; }

/* binary16 to binary32, exact; NaN keeps its payload and becomes quiet, as the F16C instruction does. */
static inline float kq_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fffu;
    if (rest >= 0x7c00) return kq_bits_to_f32(sign | 0x7f800000u | (rest & 0x3ff) << 13 | (rest > 0x7c00 ? 0x400000u : 0));
    if (rest < 0x400) { /* zero or subnormal: rest * 2^-24 is exact */
        return kq_bits_to_f32(sign | kq_f32_to_bits((float)rest * 0x1p-24f));
    }
    return kq_bits_to_f32(sign | ((rest << 13) + 0x38000000u));
}

/* binary32 to binary16: nearest even, subnormals made, overflow to infinity; NaN becomes sign | 0x7e00. */
static inline uint16_t kq_f32_to_f16(float f) {
    uint32_t bits = kq_f32_to_bits(f), sign = bits >> 16 & 0x8000, mag = bits & 0x7fffffffu;
    if (mag > 0x7f800000u) return (uint16_t)(sign | 0x7e00);
    if (mag >= 0x477ff000u) return (uint16_t)(sign | 0x7c00); /* 65520 and more */
    if (mag < 0x38800000u) {                                  /* below 2^-14: adding 0.5 aligns the binary point at 2^-24 and rounds */
        float shifted = kq_bits_to_f32(mag) + 0.5f;
        return (uint16_t)(sign | (kq_f32_to_bits(shifted) - 0x3f000000u));
    }
    return (uint16_t)(sign | ((mag - 0x38000000u + 0xfff + (mag >> 13 & 1)) >> 13));
}

static inline float kq_bf16_to_f32(uint16_t h) { return kq_bits_to_f32((uint32_t)h << 16); }
/* Nearest even; NaN is truncated and made quiet. */
static inline uint16_t kq_f32_to_bf16(float f) {
    uint32_t bits = kq_f32_to_bits(f);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 64);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* ---- thread pool -------------------------------------------------------------------------------------------------- */

/* Runs task(ctx, i, worker) for every i in [0, n), on any thread of the pool, and returns when all are done. worker is in
 * [0, kq_pool_threads(pool)), one thread each: it indexes scratch. NULL pool: the calling thread, in order. Tasks must not
 * call kq_pool_run on the same pool. Memory written before is seen by tasks; memory written by tasks is seen after. */
void kq_pool_run(kq_pool *pool, size_t n, void (*task)(void *ctx, size_t i, size_t worker), void *ctx);

/* ---- string map --------------------------------------------------------------------------------------------------- */

/* What a hash table over keys from a file mixes into its hashes: no file can be made to meet it. */
uint64_t kq_hash_seed(const void *somewhere);

/* From byte strings to numbers: open addressing over hashes; keys are borrowed. */
typedef struct kq_strmap_slot {
    const char *key;
    uint32_t size, value;
    uint64_t hash; /* 0 = the slot is free */
} kq_strmap_slot;
typedef struct kq_strmap {
    kq_allocator allocator;
    kq_strmap_slot *slots;
    size_t n, mask; /* mask + 1 slots */
    uint64_t seed;
} kq_strmap;
/* Room for n keys without growing. False when memory fails. */
bool kq_strmap_init(kq_strmap *map, const kq_allocator *a, size_t n);
void kq_strmap_free(kq_strmap *map);
/* Adds a key that is not there, or returns false with *old set to the value that is. *failed is set when memory fails. */
bool kq_strmap_add(kq_strmap *map, const char *key, size_t size, uint32_t value, uint32_t *old, bool *failed);
bool kq_strmap_find(const kq_strmap *map, const char *key, size_t size, uint32_t *value);

/* ---- CPU features ------------------------------------------------------------------------------------------------- */

/* This machine's features that a mask of options leaves (0: all), less those whose lower tier it takes away. */
uint32_t kq_cpu_usable(uint32_t mask);

/* ---- SHA-256 ------------------------------------------------------------------------------------------------------ */

typedef struct kq_sha256 {
    uint32_t h[8];
    uint64_t bytes; /* so far */
    uint8_t block[64];
} kq_sha256;
void kq_sha256_init(kq_sha256 *s);
void kq_sha256_add(kq_sha256 *s, const void *data, size_t size);
void kq_sha256_finish(kq_sha256 *s, uint8_t hash[32]);
/* All at once, as 64 hexadecimal digits and a zero. */
void kq_sha256_hex(const void *data, size_t size, char hex[65]);
/* Bytes as lower-case hexadecimal digits: 2 * size of them and a zero. */
void kq_hex(const uint8_t *data, size_t size, char *hex);

#endif
