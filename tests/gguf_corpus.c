/* SPDX-License-Identifier: MIT */
/* The hostile corpus: one group of cases a function, in the order of the fields in the file. */
#include "gguf_corpus.h"

#include <kquant/codec.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef unsigned long long ull;

typedef struct corpus {
    gguf_visit *visit;
    void *ctx;
} corpus;

/* A case's expectations: up to four texts separated by '|'. */
static void split_says(char says[CASE_SAYS][72], const char *all) {
    for (int i = 0; i < CASE_SAYS; i++) {
        size_t n = strcspn(all, "|");
        snprintf(says[i], 72, "%.*s", (int)n, all);
        all += n + (all[n] == '|');
    }
}
static void expect(char says[CASE_SAYS][72], const char *format, va_list args) {
    char all[CASE_SAYS * 72];
    vsnprintf(all, sizeof all, format, args);
    split_says(says, all);
}

static void show(const corpus *c, const char *name, const bytes *b, kq_status status, const char *says, ...)
    __attribute__((format(printf, 5, 6)));
static void show(const corpus *c, const char *name, const bytes *b, kq_status status, const char *says, ...) {
    gguf_case one = {.status = status, .data = b->data, .size = b->size};
    snprintf(one.name, sizeof one.name, "%s", name);
    va_list args;
    va_start(args, says);
    expect(one.says, says, args);
    va_end(args);
    c->visit(c->ctx, &one);
}

/* The same for a file in the making, which is finished and freed. */
#define SHOW(c, g, status, says, ...)                                   \
    do {                                                                \
        char name_[72];                                                 \
        snprintf(name_, sizeof name_, __VA_ARGS__);                     \
        gguf_finish(g);                                                 \
        SHOW_AS_IT_IS(c, name_, g, status, says);                       \
    } while (0)
#define SHOW_AS_IT_IS(c, name, g, status, says)                         \
    do {                                                                \
        show((c), (name), &(g)->out, (status), "%s", (says));           \
        gguf_free(g);                                                   \
    } while (0)

/* printf into a rotating buffer, for the texts of one call */
static const char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *text(const char *format, ...) {
    static char buffers[4][CASE_SAYS * 72];
    static unsigned next;
    char *out = buffers[next++ % 4];
    va_list args;
    va_start(args, format);
    vsnprintf(out, sizeof buffers[0], format, args);
    va_end(args);
    return out;
}

typedef struct number {
    const char *name;
    uint64_t value;
} number;

/* Where 32-bit, signed and multiplied counts break. */
static const number huge[] = {
    {"2^31-1", UINT64_C(0x7fffffff)}, {"2^31", UINT64_C(1) << 31}, {"2^32-1", UINT32_MAX},        {"2^32", UINT64_C(1) << 32},
    {"2^60", UINT64_C(1) << 60},      {"2^61", UINT64_C(1) << 61}, {"2^62", UINT64_C(1) << 62},   {"2^63-1", INT64_MAX},
    {"2^63", UINT64_C(1) << 63},      {"2^64-32", UINT64_MAX - 31}, {"2^64-8", UINT64_MAX - 7},   {"2^64-1", UINT64_MAX},
};
enum { N_HUGE = sizeof huge / sizeof *huge };

/* ---- header ------------------------------------------------------------------------------------------------------- */

static void short_files(const corpus *c) {
    gguf g;
    for (size_t size = 0; size < 24; size += size < 4 ? 1 : 5) {
        gguf_begin(&g, 3);
        g.out.size = size;
        SHOW_AS_IT_IS(c, text("header-cut-at-%02zu", size), &g, KQ_E_FORMAT, text("the file has %zu bytes|header takes 24", size));
    }
}

static void magics_and_versions(const corpus *c) {
    gguf g;
    static const char *const magics[] = {"lmgg", "tjgg", "FUGG", "gguf", "GGML", "<!DO", "vers", "PK\3\4", "\0\0\0\0"};
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
        gguf_begin(&g, 3);
        memcpy(g.out.data, magics[i], 4);
        SHOW(c, &g, KQ_E_FORMAT, "it is no GGUF|must be 'GGUF'", "magic-%zu", i);
    }
    static const uint32_t versions[] = {0, 1, 4, 5, 255, 0x7fffffff, 0x80000000u, UINT32_MAX};
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        gguf_begin(&g, versions[i]);
        SHOW(c, &g, KQ_E_UNSUPPORTED, text("version is %u|must be 2 or 3", versions[i]), "version-%u", versions[i]);
    }
    for (uint32_t v = 1; v <= 3; v++) {
        gguf_begin(&g, v << 24);
        SHOW(c, &g, KQ_E_UNSUPPORTED, text("big-endian|version %u", v), "big-endian-version-%u", v);
    }
}

static void counts(const corpus *c) {
    gguf g;
    for (int i = 0; i < N_HUGE + 4; i++) {
        /* as many pairs as there is no room for; and counts whose product with a likely struct size wraps to little */
        uint64_t n = i < N_HUGE ? huge[i].value : i == N_HUGE ? 4 : UINT64_MAX / (i == N_HUGE + 1 ? 14 : i == N_HUGE + 2 ? 48 : 56) + 1;
        const char *name = i < N_HUGE ? huge[i].name : text("%llu", (ull)n);
        gguf_begin(&g, 3);
        gguf_u32(&g, "a", 1); /* 17 bytes */
        put_zeros(&g.out, 32);
        g.n_kv = n;
        SHOW(c, &g, KQ_E_FORMAT, text("n_kv is %llu|only 49 more bytes|room for 3", (ull)n), "n_kv-%s", name);
        gguf_begin(&g, 3);
        put_zeros(&g.out, 104);
        g.n_tensors = n;
        SHOW(c, &g, KQ_E_FORMAT, text("n_tensors is %llu|only 104 more bytes|room for 3", (ull)n), "n_tensors-%s", name);
    }
    gguf_begin(&g, 3); /* room for two by size, but there is one */
    gguf_text(&g, "a", "0123456789");
    g.n_kv = 2;
    SHOW(c, &g, KQ_E_FORMAT, "ends before key 2 of 2", "n_kv-one-too-many");
    gguf_begin(&g, 3);
    gguf_tensor(&g, "a", 1, (uint64_t[]){64}, 24, 64);
    g.n_tensors = 2;
    SHOW(c, &g, KQ_E_FORMAT, "tensor 2 of 2", "n_tensors-one-too-many");
    gguf_sample(&g, 3);
    memset(g.out.data + 16, 0, 8);
    SHOW_AS_IT_IS(c, "n_kv-0-but-there-are-some", &g, KQ_E_FORMAT, "tensor");
    gguf_begin(&g, 3);
    for (uint32_t i = 0; i < 65537; i++) gguf_key(&g, text("k%05x", i), 0), put_u8(&g.out, i);
    SHOW(c, &g, KQ_E_LIMIT, "n_kv is 65537|limit is 65536", "n_kv-65537");
}

/* ---- keys --------------------------------------------------------------------------------------------------------- */

static void key_names(const corpus *c) {
    gguf g;
    for (int i = 0; i < N_HUGE; i++) {
        gguf_begin(&g, 3);
        put_string(&g.out, huge[i].value, "general.name\0\0\0\0", 16);
        g.n_kv = 1;
        SHOW(c, &g, KQ_E_FORMAT, text("key 1 of 1|%llu bytes|only 16 more", (ull)huge[i].value), "key-length-%s", huge[i].name);
    }
    gguf_begin(&g, 3);
    gguf_u32(&g, "", 1);
    gguf_u32(&g, "a", 1);
    SHOW(c, &g, KQ_E_FORMAT, "key 1 of 2|0 bytes|1 to 65535", "key-empty");
    static char longest[65536 + 1];
    memset(longest, 'k', 65536);
    gguf_begin(&g, 3);
    gguf_u32(&g, longest, 1);
    SHOW(c, &g, KQ_E_LIMIT, "key 1 of 1 'kkk|65536 bytes|limit is 65535", "key-65536-bytes");
    gguf_begin(&g, 3);
    put_string(&g.out, 3, "a\0b", 3);
    put_u32(&g.out, 0), put_zeros(&g.out, 1);
    g.n_kv = 1;
    SHOW(c, &g, KQ_E_FORMAT, "key 1 of 1 'a\\x00b'|byte 0", "key-with-byte-0");
    gguf_begin(&g, 3);
    gguf_u32(&g, "twice", 1);
    gguf_u32(&g, "other", 1);
    gguf_text(&g, "twice", "x");
    SHOW(c, &g, KQ_E_FORMAT, "key 3 of 3 'twice'|already key 1", "key-duplicate");
    gguf_begin(&g, 3);
    gguf_u32(&g, "general.alignment", 32);
    gguf_u32(&g, "general.alignment", 64);
    SHOW(c, &g, KQ_E_FORMAT, "'general.alignment'|already key 1", "key-duplicate-alignment");
}

/* ---- values ------------------------------------------------------------------------------------------------------- */

static const uint32_t odd_kinds[] = {13, 14, 255, 256, 0x80000000u, UINT32_MAX};
enum { N_ODD_KINDS = sizeof odd_kinds / sizeof *odd_kinds };

static void kinds(const corpus *c) {
    gguf g;
    for (int i = 0; i < N_ODD_KINDS; i++) {
        gguf_begin(&g, 3);
        gguf_key(&g, "k", odd_kinds[i]), put_zeros(&g.out, 16);
        SHOW(c, &g, KQ_E_FORMAT, text("key 'k'|kind is %u|0 to 12", odd_kinds[i]), "kind-%u", odd_kinds[i]);
        for (int empty = 0; empty < 2; empty++) { /* an element of unknown size once took 0 bytes: 2^60 of them without end */
            gguf_begin(&g, 3);
            gguf_array(&g, "k", odd_kinds[i], empty ? 0 : UINT64_C(1) << 60);
            SHOW(c, &g, KQ_E_FORMAT, text("key 'k'|element kind is %u|0 to 12", odd_kinds[i]), "element-kind-%u%s", odd_kinds[i],
                 empty ? "-empty" : "");
        }
    }
    for (int depth = 1; depth <= 10000; depth *= 100) { /* a reader that recurses runs out of stack */
        gguf_begin(&g, 3);
        gguf_key(&g, "k", 9);
        for (int i = 0; i < depth; i++) put_u32(&g.out, 9), put_u64(&g.out, 1);
        put_u32(&g.out, 0), put_u64(&g.out, 1), put_u8(&g.out, 7);
        SHOW(c, &g, KQ_E_UNSUPPORTED, "key 'k'|array of arrays", "nested-array-depth-%d", depth);
    }
}

static void string_lengths(const corpus *c) {
    gguf g;
    for (int i = -2; i < N_HUGE; i++) {
        uint64_t n = i == -2 ? 21 : i == -1 ? 1 << 30 : huge[i].value;
        const char *name = i == -2 ? "one-too-long" : i == -1 ? "1GiB" : huge[i].name;
        gguf_begin(&g, 3);
        gguf_key(&g, "k", 8), put_string(&g.out, n, "twenty bytes of text", 20);
        SHOW(c, &g, KQ_E_FORMAT, text("key 'k'|string 1 of 1|%llu bytes|only 20 more", (ull)n), "string-length-%s", name);
        gguf_begin(&g, 3);
        gguf_array(&g, "k", 8, 3), put_text(&g.out, "fine"), put_string(&g.out, n, "twenty bytes of text", 20);
        SHOW(c, &g, KQ_E_FORMAT, text("key 'k'|string 2 of 3|%llu bytes|only 20 more", (ull)n), "string-2-of-3-length-%s", name);
    }
    gguf_begin(&g, 3);
    gguf_array(&g, "k", 8, 3), put_text(&g.out, "just two"), put_text(&g.out, "of three");
    SHOW(c, &g, KQ_E_FORMAT, "key 'k'|string 3 of 3|only 0 more", "string-array-short");
}

static void array_counts(const corpus *c) {
    static const struct { uint32_t kind, size; const char *name; } kinds[] = {
        {0, 1, "u8"}, {1, 1, "i8"}, {2, 2, "u16"}, {3, 2, "i16"}, {4, 4, "u32"}, {5, 4, "i32"}, {6, 4, "f32"}, {7, 1, "bool"},
        {8, 8, "string"}, {10, 8, "u64"}, {11, 8, "i64"}, {12, 8, "f64"}};
    gguf g;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (int i = -2; i < N_HUGE; i++) {
            uint64_t n = i >= 0 ? huge[i].value : 24 / kinds[k].size + 1;
            if (i == -1) n = UINT64_MAX / kinds[k].size + (kinds[k].size > 1); /* times the size: 0 */
            const char *name = i >= 0 ? huge[i].name : i == -2 ? "one-too-many" : "wraps";
            gguf_begin(&g, 3);
            gguf_array(&g, "k", kinds[k].kind, n), put_zeros(&g.out, 24);
            SHOW(c, &g, KQ_E_FORMAT, text("key 'k'|%llu x %s|only 24 more", (ull)n, kinds[k].name), "array-of-%s-count-%s",
                 kinds[k].name, name);
        }
    }
}

static void bools(const corpus *c) {
    gguf g;
    for (uint32_t v = 2; v < 256; v += 253) {
        gguf_begin(&g, 3);
        gguf_key(&g, "k", 7), put_u8(&g.out, v);
        SHOW(c, &g, KQ_E_FORMAT, text("key 'k'|is %u|0 or 1", v), "bool-%u", v);
        gguf_begin(&g, 3);
        gguf_array(&g, "k", 7, 4), put_u8(&g.out, 0), put_u8(&g.out, 1), put_u8(&g.out, v), put_u8(&g.out, 0);
        SHOW(c, &g, KQ_E_FORMAT, text("key 'k'|bool 3 of 4|is %u|0 or 1", v), "bool-3-of-4-is-%u", v);
    }
}

static void alignments(const corpus *c) {
    gguf g;
    static const uint32_t bad[] = {0, 1, 2, 3, 4, 7, 12, 24, 33, 63, 100, 0x55555555, 0x7fffffff, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gguf_begin(&g, 3);
        gguf_u32(&g, "general.alignment", bad[i]);
        gguf_tensor(&g, "t", 1, (uint64_t[]){8}, 24, 8);
        SHOW(c, &g, KQ_E_FORMAT, text("general.alignment|is %u|power of two from 8 to 1048576", bad[i]), "alignment-%u", bad[i]);
    }
    for (uint32_t bit = 21; bit < 32; bit++) {
        gguf_begin(&g, 3);
        gguf_u32(&g, "general.alignment", 1u << bit);
        gguf_tensor(&g, "t", 1, (uint64_t[]){8}, 24, 8);
        SHOW(c, &g, KQ_E_LIMIT, text("general.alignment|is %u|limit is 1048576", 1u << bit), "alignment-2^%u", bit);
    }
    static const char *const names[] = {"u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};
    for (uint32_t kind = 0; kind <= 12; kind++) {
        if (kind == 4) continue;
        gguf_begin(&g, 3);
        if (kind == 9) {
            gguf_array(&g, "general.alignment", 4, 1), put_u32(&g.out, 32);
        } else if (kind == 8) {
            gguf_text(&g, "general.alignment", "32");
        } else {
            gguf_key(&g, "general.alignment", kind);
            if (kind == 6) put_f32(&g.out, 32);
            else if (kind == 12) put_f64(&g.out, 32);
            else put_string(&g.out, kind == 7 ? 1 : 32, NULL, 0);
            static const uint8_t width[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
            if (kind != 6 && kind != 12) g.out.size -= 8u - width[kind];
        }
        gguf_tensor(&g, "t", 1, (uint64_t[]){8}, 24, 8);
        SHOW(c, &g, KQ_E_FORMAT, text("general.alignment|is %s|must be u32", names[kind]), "alignment-as-%s", names[kind]);
    }
}

/* ---- tensors ------------------------------------------------------------------------------------------------------ */

static void tensor_names(const corpus *c) {
    gguf g;
    for (int i = 0; i < N_HUGE; i++) {
        gguf_begin(&g, 3);
        put_string(&g.out, huge[i].value, "token_embd.weight", 17);
        put_zeros(&g.out, 16);
        g.n_tensors = 1;
        SHOW(c, &g, KQ_E_FORMAT, text("tensor 1 of 1|%llu bytes|only", (ull)huge[i].value), "tensor-name-length-%s", huge[i].name);
    }
    gguf_begin(&g, 3);
    gguf_info(&g, "", 1, (uint64_t[]){8}, 24, 0);
    put_zeros(&g.data, 8);
    SHOW(c, &g, KQ_E_FORMAT, "tensor 1 of 1|0 bytes|1 to 127", "tensor-name-empty");
    char name[129];
    memset(name, 'n', 128);
    name[128] = 0;
    gguf_begin(&g, 3);
    gguf_tensor(&g, name, 1, (uint64_t[]){8}, 24, 8);
    SHOW(c, &g, KQ_E_LIMIT, "tensor 1 of 1 'nnn|128 bytes|limit is 127", "tensor-name-128-bytes");
    gguf_begin(&g, 3);
    put_string(&g.out, 3, "a\0b", 3);
    put_u32(&g.out, 1), put_u64(&g.out, 8), put_u32(&g.out, 24), put_u64(&g.out, 0);
    g.n_tensors = 1;
    SHOW(c, &g, KQ_E_FORMAT, "tensor 1 of 1 'a\\x00b'|byte 0", "tensor-name-with-byte-0");
    gguf_begin(&g, 3);
    gguf_tensor(&g, "twice", 1, (uint64_t[]){8}, 24, 8);
    gguf_tensor(&g, "other", 1, (uint64_t[]){8}, 24, 8);
    gguf_tensor(&g, "twice", 1, (uint64_t[]){8}, 24, 8);
    SHOW(c, &g, KQ_E_FORMAT, "tensor 3 of 3 'twice'|already tensor 1", "tensor-name-duplicate");
}

static void shapes(const corpus *c) {
    gguf g;
    static const uint32_t n_dims[] = {0, 5, 6, 8, 255, 0x7fffffff, 0x80000000u, UINT32_MAX};
    for (size_t i = 0; i < sizeof n_dims / sizeof *n_dims; i++) {
        gguf_begin(&g, 3);
        put_text(&g.out, "t");
        put_u32(&g.out, n_dims[i]);
        for (uint32_t d = 0; d < 8; d++) put_u64(&g.out, 1);
        put_u32(&g.out, 0), put_u64(&g.out, 0), put_zeros(&g.out, 64);
        g.n_tensors = 1;
        SHOW(c, &g, KQ_E_FORMAT, text("tensor 't'|n_dims is %u|1 to 4", n_dims[i]), "n_dims-%u", n_dims[i]);
    }
    for (uint32_t n = 1; n <= 4; n++) {
        for (uint32_t d = 0; d < n; d++) {
            uint64_t dims[4] = {32, 1, 1, 1};
            dims[d] = 0;
            gguf_begin(&g, 3);
            gguf_info(&g, "t", n, dims, n % 2 ? 2 : 0, 0), put_zeros(&g.data, 128);
            SHOW(c, &g, KQ_E_FORMAT, text("tensor 't'|dim %u is 0|at least 1", d), "dim-%u-of-%u-zero", d, n);
        }
    }
    for (int i = 0; i < N_HUGE; i++) {
        for (uint32_t d = 0; d < 4; d++) {
            uint64_t dims[4] = {2, 2, 2, 2};
            dims[d] = huge[i].value;
            __uint128_t weights = (__uint128_t)huge[i].value * 8, limit = (__uint128_t)1 << 64;
            const char *says = weights >= limit       ? "product of the dims|over 2^64 - 1"
                               : weights * 4 >= limit ? "over 2^64 - 1 bytes"
                                                      : "has 64 bytes of data";
            gguf_begin(&g, 3);
            gguf_info(&g, "t", 4, dims, 0, 0), put_zeros(&g.data, 64);
            SHOW(c, &g, KQ_E_FORMAT, text("tensor 't'|%s", says), "dim-%u-of-4-%s", d, huge[i].name);
        }
    }
    static const struct { const char *name; uint64_t dims[4]; } wraps[] = {
        {"to-0-in-2", {UINT64_C(1) << 32, UINT64_C(1) << 32, 1, 1}},
        {"to-0-in-4", {1 << 16, 1 << 16, 1 << 16, 1 << 16}},
        {"to-2", {UINT64_C(0x5555555555555556), 3, 1, 1}},
        {"to-16", {UINT64_C(0x8000000000000008), 2, 1, 1}},
        {"SIZE_MAX-by-4", {UINT64_MAX / 4, 5, 1, 1}},
        {"negative-by-negative", {UINT64_MAX, UINT64_MAX, 1, 1}},
    };
    for (size_t i = 0; i < sizeof wraps / sizeof *wraps; i++) {
        gguf_begin(&g, 3);
        gguf_info(&g, "t", 4, wraps[i].dims, 24, 0), put_zeros(&g.data, 64);
        SHOW(c, &g, KQ_E_FORMAT, "tensor 't'|product of the dims|over 2^64 - 1", "dims-wrap-%s", wraps[i].name);
    }
}

/* The longest names with the longest numbers: the text still fits its 160 bytes, with the end of the name. */
static void long_names(const corpus *c) {
    gguf g;
    char name[2][128];
    for (int i = 0; i < 2; i++) {
        memset(name[i], i ? 'm' : 'n', 127);
        memcpy(name[i] + 110, ".ffn_norm.weight", 17);
    }
    gguf_begin(&g, 3);
    gguf_info(&g, name[0], 1, (uint64_t[]){UINT64_MAX}, 24, UINT64_MAX - 31);
    put_zeros(&g.data, 64);
    SHOW(c, &g, KQ_E_FORMAT, "tensor 'nnn|.ffn_norm.weight'|18446744073709551615 bytes at offset 18446744073709551584|has 64 bytes of data",
         "longest-name-outside");
    gguf_begin(&g, 3);
    gguf_info(&g, name[0], 1, (uint64_t[]){64}, 24, 0);
    gguf_info(&g, name[1], 1, (uint64_t[]){64}, 24, 32);
    put_zeros(&g.data, 128);
    SHOW(c, &g, KQ_E_FORMAT, "tensor 'mmm|.weight' begins inside tensor 'nnn|.ffn_norm.weight', 64 bytes at 352", "longest-names-overlap");
    gguf_begin(&g, 3); /* bytes that do not print take four characters each */
    gguf_info(&g, "\x1b[31m\n\xff\xfe\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f", 1, (uint64_t[]){0}, 24, 0);
    SHOW(c, &g, KQ_E_FORMAT, "tensor '\\x1b[31m\\x0a\\xff|dim 0 is 0|at least 1", "name-that-does-not-print");
}

/* One tensor whose bytes wrap though its weights fit, in every codec; and the rows that are no whole blocks. */
static void codec_sizes(const corpus *c) {
    gguf g;
    for (uint32_t type = 0; type < KQ_CODEC_LIMIT; type++) {
        const kq_codec_info *info = kq_codec_describe(type);
        if (!info) continue;
        uint64_t block = info->block_weights, most = UINT64_MAX / block * block;
        uint64_t wraps = UINT64_MAX / info->block_bytes / block * block + (info->block_bytes > 1 ? block : 0);
        uint64_t sizes[] = {most, UINT64_C(1) << 63, UINT64_C(1) << 62, wraps};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            bool over = (__uint128_t)(sizes[i] / block) * info->block_bytes >> 64 != 0;
            gguf_begin(&g, 3);
            gguf_info(&g, "t", 1, &sizes[i], type, 0), put_zeros(&g.data, 256);
            SHOW(c, &g, KQ_E_FORMAT, text("tensor 't'|%s", over ? "over 2^64 - 1 bytes" : "has 256 bytes of data"), "%s-%s", info->name,
                 (const char *[]){"most-weights", "2^63-weights", "2^62-weights", "type-size-times-weights-wraps"}[i]);
        }
        if (block == 1) continue;
        uint64_t rows[] = {1, block / 2, block - 1, block + 1, block == 256 ? 32 : block + block / 2};
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            gguf_begin(&g, 3);
            gguf_info(&g, "t", 2, (uint64_t[]){rows[i], block}, type, 0), put_zeros(&g.data, 4096);
            SHOW(c, &g, KQ_E_FORMAT, text("tensor 't'|dim 0 is %llu|%llu weights in a block of %s", (ull)rows[i], (ull)block, info->name),
                 "%s-row-of-%llu", info->name, (ull)rows[i]);
        }
    }
}

static void types(const corpus *c) {
    gguf g;
    static const uint32_t removed[] = {4, 5, 31, 32, 33, 36, 37, 38, 43, 99, 255, 256, 0x7fffffff, 0x80000000u, UINT32_MAX};
    for (size_t i = 0; i < sizeof removed / sizeof *removed; i++) {
        gguf_begin(&g, 3);
        gguf_info(&g, "t", 1, (uint64_t[]){32}, removed[i], 0), put_zeros(&g.data, 4096);
        SHOW(c, &g, KQ_E_UNSUPPORTED, text("tensor 't'|type is %u|none that is known", removed[i]), "type-%u", removed[i]);
    }
}

static void extents(const corpus *c) {
    gguf g;
    static const uint64_t crooked[] = {1, 16, 31, 33, UINT64_C(0x8000000000000001), UINT64_MAX};
    for (size_t i = 0; i < sizeof crooked / sizeof *crooked; i++) {
        gguf_begin(&g, 3);
        gguf_info(&g, "t", 1, (uint64_t[]){8}, 24, crooked[i]), put_zeros(&g.data, 64);
        SHOW(c, &g, KQ_E_FORMAT, text("tensor 't'|offset is %llu|alignment 32", (ull)crooked[i]), "offset-%llu", (ull)crooked[i]);
    }
    for (int i = -2; i < N_HUGE; i++) {
        uint64_t at = i == -2 ? 32 : i == -1 ? 96 : huge[i].value & ~UINT64_C(31);
        gguf_begin(&g, 3);
        gguf_info(&g, "t", 1, (uint64_t[]){16}, 0, at), put_zeros(&g.data, 64); /* 64 bytes: only offset 0 is right */
        SHOW(c, &g, KQ_E_FORMAT, text("tensor 't'|64 bytes at offset %llu|has 64 bytes of data", (ull)at), "offset-outside-%llu", (ull)at);
    }
    gguf_begin(&g, 3);
    for (uint32_t i = 0; i < 8; i++) { /* together 2^64 + 8 * 32 */
        gguf_info(&g, text("t%u", i), 1, (uint64_t[]){(UINT64_C(1) << 61) + 32}, 24, i * ((UINT64_C(1) << 61) + 32));
    }
    put_zeros(&g.data, 512);
    SHOW(c, &g, KQ_E_FORMAT, "tensor 't0'|has 512 bytes of data", "sizes-sum-past-2^64");
    gguf_begin(&g, 3);
    gguf_tensor(&g, "small", 1, (uint64_t[]){8}, 24, 8);
    gguf_info(&g, "top", 1, (uint64_t[]){UINT64_MAX - 63}, 24, 32);
    SHOW(c, &g, KQ_E_FORMAT, "tensor 'top'|18446744073709551552 bytes at offset 32", "total-near-the-top");
    gguf_begin(&g, 3);
    gguf_info(&g, "pads", 1, (uint64_t[]){UINT64_MAX}, 24, 0), put_zeros(&g.data, 64); /* rounding its size up wraps to 0 */
    SHOW(c, &g, KQ_E_FORMAT, "tensor 'pads'|18446744073709551615 bytes", "padded-size-wraps");
    gguf_begin(&g, 3);
    gguf_tensor(&g, "t", 1, (uint64_t[]){16}, 0, 63);
    SHOW(c, &g, KQ_E_FORMAT, "tensor 't'|64 bytes at offset 0|has 63 bytes of data", "data-one-byte-short");
    gguf_begin(&g, 3);
    gguf_info(&g, "t", 1, (uint64_t[]){16}, 0, 0);
    gguf_finish(&g);
    SHOW_AS_IT_IS(c, "data-absent", &g, KQ_E_FORMAT, "tensor 't'|has 0 bytes of data");
    gguf_begin(&g, 3);
    gguf_info(&g, "tt", 1, (uint64_t[]){16}, 0, 0);
    g.alignment = 1; /* the file ends in the padding */
    SHOW(c, &g, KQ_E_FORMAT, "tensor 'tt'|before any tensor's data", "data-absent-and-padding-too");
}

static void overlaps(const corpus *c) {
    static const struct { const char *name, *inner, *outer; uint64_t sizes[3], at[3]; } sets[] = {
        {"same-place", "b", "a", {64, 64, 8}, {0, 0, 64}},
        {"by-half", "b", "a", {64, 64, 8}, {0, 32, 96}},
        {"by-one-byte", "b", "a", {33, 8, 8}, {0, 32, 64}},
        {"inside", "b", "a", {128, 8, 8}, {0, 64, 128}},
        {"backwards", "a", "c", {8, 8, 40}, {64, 0, 32}},
        {"last-in-first", "c", "a", {100, 8, 8}, {0, 128, 96}},
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        gguf g;
        gguf_begin(&g, 3);
        for (uint32_t t = 0; t < 3; t++) gguf_info(&g, text("%c", 'a' + t), 1, &sets[i].sizes[t], 24, sets[i].at[t]);
        put_zeros(&g.data, 256);
        const char *says = text("tensor '%s' begins inside tensor '%s'", sets[i].inner, sets[i].outer);
        if (strcmp(sets[i].name, "same-place") == 0) says = "begins inside|'a'|'b'"; /* either in either */
        SHOW(c, &g, KQ_E_FORMAT, says, "overlap-%s", sets[i].name);
    }
}

static void truncations(const corpus *c) {
    gguf g;
    gguf_sample(&g, 3);
    size_t whole = g.out.size;
    for (size_t size = 25; size < whole; size += whole / 16) {
        bytes cut = {.data = g.out.data, .size = size};
        show(c, text("sample-cut-at-%04zu", size), &cut, KQ_E_FORMAT, "%s", "");
    }
    gguf_free(&g);
}

void gguf_corpus(gguf_visit *visit, void *ctx) {
    corpus c = {visit, ctx};
    gguf g;
    gguf_sample(&g, 3);
    show(&c, "valid-v3", &g.out, KQ_OK, "%s", "");
    gguf_free(&g);
    gguf_sample(&g, 2);
    show(&c, "valid-v2", &g.out, KQ_OK, "%s", "");
    gguf_free(&g);
    gguf_begin(&g, 3);
    gguf_finish(&g);
    SHOW_AS_IT_IS(&c, "valid-nothing-in-it", &g, KQ_OK, "");
    short_files(&c);
    magics_and_versions(&c);
    counts(&c);
    key_names(&c);
    kinds(&c);
    string_lengths(&c);
    array_counts(&c);
    bools(&c);
    alignments(&c);
    tensor_names(&c);
    shapes(&c);
    long_names(&c);
    codec_sizes(&c);
    types(&c);
    extents(&c);
    overlaps(&c);
    truncations(&c);
}

void gguf_corpus_big(gguf_visit *visit, void *ctx) {
    corpus c = {visit, ctx};
    enum { MOST = 1 << 20 };
    for (uint32_t n = MOST; n <= MOST + 1; n++) {
        gguf g;
        gguf_begin(&g, 3);
        gguf_u32(&g, "general.alignment", 8);
        for (uint32_t i = 0; i < n; i++) gguf_info(&g, text("%x", i), 1, (uint64_t[]){8}, 24, UINT64_C(8) * i);
        put_zeros(&g.data, (size_t)n * 8);
        g.alignment = 8;
        if (n == MOST) SHOW(&c, &g, KQ_OK, "", "valid-n_tensors-2^20");
        else SHOW(&c, &g, KQ_E_LIMIT, "n_tensors is 1048577|limit is 1048576", "n_tensors-2^20+1");
    }
}

/* ---- splits ------------------------------------------------------------------------------------------------------- */

typedef struct split_set {
    const char *name;
    int open, blames; /* parts, from 1: which is named, which the error is about */
    kq_status status;
    const char *says;
    int no[3];        /* what each part says of itself; -1: there is no such part */
    int count[3], total[3];
    char tensor[4];   /* the name of each part's tensor */
} split_set;

#define ALL_3 {3, 3, 3}
static const split_set sets[] = {
    {"valid", 1, 0, KQ_OK, "", {0, 1, 2}, ALL_3, ALL_3, "abc"},
    {"valid", 2, 0, KQ_OK, "", {0, 1, 2}, ALL_3, ALL_3, "abc"},
    {"valid", 3, 0, KQ_OK, "", {0, 1, 2}, ALL_3, ALL_3, "abc"},
    {"missing-1", 2, 1, KQ_E_FORMAT, "part 1 of 3 is missing", {-1, 1, 2}, ALL_3, ALL_3, "abc"},
    {"missing-2", 1, 2, KQ_E_FORMAT, "part 2 of 3 is missing", {0, -1, 2}, ALL_3, ALL_3, "abc"},
    {"missing-2", 3, 2, KQ_E_FORMAT, "part 2 of 3 is missing", {0, -1, 2}, ALL_3, ALL_3, "abc"},
    {"missing-3", 1, 3, KQ_E_FORMAT, "part 3 of 3 is missing", {0, 1, -1}, ALL_3, ALL_3, "abc"},
    {"repeated", 1, 2, KQ_E_FORMAT, "'split.no' is 0|must be 1 in part 2 of 3", {0, 0, 2}, ALL_3, ALL_3, "aac"},
    {"repeated-last", 1, 3, KQ_E_FORMAT, "'split.no' is 1|must be 2 in part 3 of 3", {0, 1, 1}, ALL_3, ALL_3, "abb"},
    {"swapped", 1, 2, KQ_E_FORMAT, "'split.no' is 2|must be 1 in part 2 of 3", {0, 2, 1}, ALL_3, ALL_3, "acb"},
    {"misnumbered", 1, 1, KQ_E_FORMAT, "part 2 of 3 by its keys|end in -00002-of-00003.gguf", {1, 0, 2}, ALL_3, ALL_3, "bac"},
    {"first-is-not", 2, 1, KQ_E_FORMAT, "it says part 3 of 3|must be part 1 of 3", {2, 1, 0}, ALL_3, ALL_3, "cba"},
    {"mixed-count", 1, 2, KQ_E_FORMAT, "'split.count' is 4|must be 3", {0, 1, 2}, {3, 4, 3}, ALL_3, "abc"},
    {"mixed-unsplit", 1, 2, KQ_E_FORMAT, "'split.count' is 0|must be 3", {0, 1, 2}, {3, 0, 3}, ALL_3, "abc"},
    {"mixed-total", 1, 3, KQ_E_FORMAT, "'split.tensors.count' is 4|must be 3", {0, 1, 2}, ALL_3, {3, 3, 4}, "abc"},
    {"mixed-names", 1, 3, KQ_E_FORMAT, "tensor 'a'|already in part 1", {0, 1, 2}, ALL_3, ALL_3, "aba"},
    {"total-too-large", 1, 1, KQ_E_FORMAT, "'split.tensors.count' is 5|3 tensors", {0, 1, 2}, ALL_3, {5, 5, 5}, "abc"},
    {"total-too-small", 1, 1, KQ_E_FORMAT, "'split.tensors.count' is 2|3 tensors", {0, 1, 2}, ALL_3, {2, 2, 2}, "abc"},
    {"total-negative", 1, 1, KQ_E_MODEL, "'split.tensors.count' is -1|0 to 1048576", {0, 1, 2}, ALL_3, {-1, 3, 3}, "abc"},
    {"count-10000", 1, 1, KQ_E_MODEL, "'split.count' is 10000|0 to 9999", {0, 1, 2}, {10000, 3, 3}, ALL_3, "abc"},
    {"count-9999", 1, 1, KQ_E_FORMAT, "part 1 of 9999 by its keys|end in -00001-of-09999.gguf", {0, 1, 2}, {9999, 3, 3}, ALL_3, "abc"},
    {"no-beyond-count", 1, 1, KQ_E_MODEL, "'split.no' is 3|0 to 2", {3, 1, 2}, ALL_3, ALL_3, "abc"},
};

/* Part i of three, with one tensor. */
static int write_part(const char *path, const split_set *s, int i) {
    gguf g;
    gguf_begin(&g, 3);
    gguf_text(&g, "general.architecture", "split");
    gguf_key(&g, "split.no", 2), put_u16(&g.out, (uint32_t)s->no[i]);
    gguf_key(&g, "split.count", 2), put_u16(&g.out, (uint32_t)s->count[i]);
    gguf_key(&g, "split.tensors.count", 5), put_u32(&g.out, (uint32_t)s->total[i]);
    gguf_tensor(&g, text("%c", s->tensor[i]), 1, (uint64_t[]){8}, 24, 8);
    gguf_finish(&g);
    int failed = write_file(path, g.out.data, g.out.size);
    gguf_free(&g);
    return failed;
}

int gguf_split_corpus(const char *directory, void (*visit)(void *ctx, const gguf_split_case *c), void *ctx) {
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        const split_set *s = &sets[i];
        gguf_split_case one = {.status = s->status};
        for (int part = 0; part < 3; part++) {
            snprintf(one.path, sizeof one.path, "%s/%s-%05d-of-00003.gguf", directory, s->name, part + 1);
            if (s->no[part] >= 0 && write_part(one.path, s, part)) return -1;
        }
        snprintf(one.name, sizeof one.name, "split-%s-opened-by-%d", s->name, s->open);
        snprintf(one.path, sizeof one.path, "%s/%s-%05d-of-00003.gguf", directory, s->name, s->open);
        if (s->blames) snprintf(one.blames, sizeof one.blames, "/%s-%05d-of-00003.gguf", s->name, s->blames);
        split_says(one.says, s->says);
        visit(ctx, &one);
    }
    return 0;
}
