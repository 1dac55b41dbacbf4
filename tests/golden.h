/* SPDX-License-Identifier: MIT */
/* For tests: files of tests/golden, and of the shared data that a user of the project need not have ($KQ_SHARED, or ../shared). */
#ifndef KQ_TESTS_GOLDEN_H
#define KQ_TESTS_GOLDEN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the test program: for what no test is about. */
static inline void golden_die(const char *what, const char *path) {
    fprintf(stderr, "%s: %s\n", path, what);
    exit(1);
}

static inline uint8_t *golden_read_file(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    long n = fseek(f, 0, SEEK_END) ? -1 : ftell(f);
    uint8_t *data = n < 0 ? NULL : malloc((size_t)n + 1);
    if (!data || fseek(f, 0, SEEK_SET) || fread(data, 1, (size_t)n, f) != (size_t)n) golden_die("cannot be read", path);
    data[n] = 0;
    fclose(f);
    *size = (size_t)n;
    return data;
}

typedef struct golden_path {
    char text[1024];
} golden_path;
__attribute__((format(printf, 1, 0))) static inline golden_path golden_path_of(const char *format, va_list args) {
    golden_path p;
    int n = snprintf(p.text, sizeof p.text, "%s/tests/golden/", KQ_SOURCE_DIR);
    vsnprintf(p.text + n, sizeof p.text - (size_t)n, format, args);
    return p;
}

/* A file of tests/golden, always there. free() the bytes; a zero follows them. */
__attribute__((format(printf, 2, 3))) static inline uint8_t *golden_read(size_t *size, const char *format, ...) {
    va_list args;
    va_start(args, format);
    golden_path path = golden_path_of(format, args);
    va_end(args);
    uint8_t *data = golden_read_file(path.text, size);
    if (!data) golden_die("is missing", path.text);
    return data;
}

__attribute__((format(printf, 1, 2))) static inline FILE *golden_open(const char *format, ...) {
    va_list args;
    va_start(args, format);
    golden_path path = golden_path_of(format, args);
    va_end(args);
    FILE *f = fopen(path.text, "r");
    if (!f) golden_die("is missing", path.text);
    return f;
}

/* The path of a file of the shared data. Where the whole folder is missing: false, said once; but under CI=true that is a failure. */
__attribute__((format(printf, 3, 4))) static inline bool golden_shared_path(char *path, size_t size, const char *format, ...) {
    static int missing = -1;
    const char *root = getenv("KQ_SHARED"), *ci = getenv("CI");
    int n = snprintf(path, size, "%s/README.md", root ? root : KQ_SOURCE_DIR "/../shared");
    if (missing < 0) {
        FILE *f = fopen(path, "rb");
        missing = !f;
        if (f) fclose(f);
        if (missing && ci && !strcmp(ci, "true")) golden_die("is missing, and CI=true", path);
        if (missing) fprintf(stderr, "skipped: what needs the shared data (no %s; set KQ_SHARED)\n", path);
    }
    if (missing) return false;
    n -= (int)strlen("README.md");
    va_list args;
    va_start(args, format);
    vsnprintf(path + n, size - (size_t)n, format, args);
    va_end(args);
    return true;
}

/* The bytes of one, or NULL where golden_shared_path is false. */
__attribute__((format(printf, 2, 3))) static inline uint8_t *golden_read_shared(size_t *size, const char *format, ...) {
    char name[512], path[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    if (!golden_shared_path(path, sizeof path, "%s", name)) return NULL;
    uint8_t *data = golden_read_file(path, size);
    if (!data) golden_die("is missing", path);
    return data;
}

/* FNV-1a, 64 bits. */
static inline uint64_t golden_hash(const void *data, size_t size) {
    const uint8_t *p = data;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++) h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

#endif
