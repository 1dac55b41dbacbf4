/* SPDX-License-Identifier: MIT */
/* Guarded buffers and data that is meant to hurt. */
#define _GNU_SOURCE
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- random numbers -------------------------------------------------------------------------------------------------- */

static uint64_t state;

void random_start(uint64_t seed, const char *name) {
    state = seed;
    for (; *name; name++) state = (state ^ (uint8_t)*name) * 0x100000001b3u;
}

uint32_t random_u32(void) { /* splitmix64 */
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

uint32_t random_below(uint32_t n) { return (uint32_t)((uint64_t)random_u32() * n >> 32); }
float random_uniform(void) { return (float)(int32_t)random_u32() * 0x1p-31f; }

/* One of 65536 numbers by Box and Muller: a logarithm and a cosine for each were half of all the time that check took. */
float random_gaussian(void) {
    static float numbers[1 << 16];
    if (numbers[0] == 0) {
        uint64_t kept = state; /* of the kernel, whose cases --function and --seed repeat */
        state = 0;
        for (size_t i = 0; i < KQ_COUNT(numbers); i++) {
            double u = ((double)random_u32() + 0.5) * 0x1p-32, v = ((double)random_u32() + 0.5) * 0x1p-32;
            numbers[i] = (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
        }
        state = kept;
    }
    return numbers[random_u32() >> 16];
}

/* ---- buffers --------------------------------------------------------------------------------------------------------- */

enum { CANARY = 0xa5, RING = 512 }; /* bytes of canaries on either side, as far as the guard page */

const char *const place_names[N_PLACES] = {"start", "end", "odd"};

void buffer_open(buffer *b, size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size = (size + 2 * RING + page - 1) / page * page;
    uint8_t *all = mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all + page, size, PROT_READ | PROT_WRITE)) {
        fprintf(stderr, "check: no memory for a buffer of %zu bytes\n", size);
        exit(1);
    }
    *b = (buffer){.base = all + page, .size = size};
}

static void ring(const buffer *b, uint8_t **from, uint8_t **to) {
    *from = (size_t)(b->data - b->base) > RING ? b->data - RING : b->base;
    uint8_t *end = b->base + b->size;
    *to = (size_t)(end - (b->data + b->bytes)) > RING ? b->data + b->bytes + RING : end;
}

void *buffer_place(buffer *b, size_t bytes, place where, size_t align) {
    if (bytes + 2 * RING > b->size) {
        fprintf(stderr, "check: a case of %zu bytes for a buffer of %zu\n", bytes, b->size);
        exit(1);
    }
    mprotect(b->base, b->size, PROT_READ | PROT_WRITE);
    b->bytes = bytes;
    b->data = where == AT_START ? b->base : where == AT_END ? b->base + b->size - bytes : b->base + RING + align;
    uint8_t *from, *to;
    ring(b, &from, &to);
    memset(from, CANARY, (size_t)(to - from));
    return b->data;
}

void buffer_protect(buffer *b) { mprotect(b->base, b->size, PROT_READ); }

bool buffer_whole(const buffer *b) {
    uint8_t *from, *to;
    ring(b, &from, &to);
    for (; from < to; from++) {
        if (from == b->data) from += b->bytes;
        if (from < to && *from != CANARY) return false;
    }
    return true;
}

/* ---- weights --------------------------------------------------------------------------------------------------------- */

const char *const weights_names[N_WEIGHTS] = {"random", "extreme", "even"};

enum { MOST_WEIGHTS = 256 };

static float largest_weight(const kq_codec_info *c, const uint8_t *block) {
    float values[MOST_WEIGHTS], most = 0;
    kq_codec_decoder(c->codec)(block, 1, values);
    for (size_t i = 0; i < c->block_weights; i++) {
        if (!(fabsf(values[i]) <= 3e38f)) return INFINITY;
        most = fmaxf(most, fabsf(values[i]));
    }
    return most;
}

/* Scales are binary16 at the beginning or at the end of most blocks: zero, the ends of the subnormals, the largest, or any. */
static void put_scale(uint8_t *at) {
    static const uint16_t ends[] = {0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x0400, 0x7bff, 0xfbff, 0x3c00};
    uint32_t pick = random_below(2 * (uint32_t)KQ_COUNT(ends));
    uint16_t h = pick < KQ_COUNT(ends) ? ends[pick] : (uint16_t)random_u32();
    memcpy(at, &h, 2);
}

static void extreme_block(const kq_codec_info *c, uint8_t *block) {
    static const uint8_t ends[] = {0x00, 0xff, 0x7f, 0x80, 0x0f, 0xf0, 0x3f, 0xc0, 0x55, 0xaa};
    uint8_t fill = ends[random_below(KQ_COUNT(ends))], other = ends[random_below(KQ_COUNT(ends))];
    bool mixed = random_below(2);
    for (size_t i = 0; i < c->block_bytes; i++) block[i] = mixed && random_below(2) ? other : fill;
    if (c->block_bytes < 8) return;
    put_scale(block);
    put_scale(block + 2);
    put_scale(block + c->block_bytes - 2);
    if (random_below(2)) put_scale(block + c->block_bytes - 4);
}

void make_weights(const kq_codec_info *c, weights_kind kind, uint8_t *out, size_t n_blocks) {
    for (size_t b = 0; b < n_blocks; b++, out += c->block_bytes) {
        for (size_t tries = 0;; tries++) {
            if (kind == WEIGHTS_EXTREME && tries < 100) {
                extreme_block(c, out);
            } else {
                for (size_t i = 0; i < c->block_bytes; i++) out[i] = (uint8_t)random_u32();
            }
            float most = largest_weight(c, out);
            if (kind == WEIGHTS_EVEN ? most >= 0.25f && most <= 1.0f : most < INFINITY) break;
        }
    }
}

/* ---- activations ----------------------------------------------------------------------------------------------------- */

const char *const floats_names[N_FLOATS] = {"gaussian", "outliers", "level", "sparse", "wide", "special"};

void make_floats(floats_kind kind, float *out, size_t n) {
    static const uint32_t special[] = {0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0x00000001, 0x80000001, 0x007fffff,
                                       0x00800000, 0x7f7fffff, 0xff7fffff, 0x80000000, 0x03800000, 0x037fffff};
    float level = ldexpf(1.0f + fabsf(random_uniform()), (int)random_below(40) - 20);
    for (size_t i = 0; i < n; i++) {
        float g = random_gaussian();
        switch (kind) {
        case FLOATS_OUTLIERS: out[i] = i % 128 == 77 ? 30 * g : g; break;
        case FLOATS_LEVEL: out[i] = random_below(8) <= 7 - i / 256 % 8 ? level : -level; break;
        case FLOATS_SPARSE: out[i] = random_below(40) ? 0.0f : g; break;
        case FLOATS_WIDE: out[i] = ldexpf(g, (int)random_below(120) - 60); break;
        case FLOATS_SPECIAL:
            out[i] = random_below(16) ? ldexpf(g, (int)random_below(250) - 160) : kq_bits_to_f32(random_below(4) ? special[random_below(KQ_COUNT(special))] : random_u32());
            break;
        default: out[i] = g; break;
        }
    }
}
