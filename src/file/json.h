/* SPDX-License-Identifier: MIT */
/* JSON from outside, through jansson: the one place where the library parses it. jansson checks UTF-8, refuses duplicate keys,
 * \u0000, integers beyond 64 bits and doubles beyond their range; but it recurses up to 2048 deep and takes about 130 bytes
 * for a value of 3. So a scan of our own bounds depth and number of values first.
 * jansson's memory is the C library's, not the object's allocator: jansson has one allocator for the whole process, which a
 * guest must not set. It lives only while a file is opened. */
#ifndef KQ_FILE_JSON_H
#define KQ_FILE_JSON_H

#include "file/file.h"

#include <jansson.h>

typedef struct kq_json_limits {
    uint32_t depth;  /* objects and arrays within each other */
    uint64_t values; /* of all kinds */
} kq_json_limits;

/* Parses one whole object or array. path and base (the offset of data in that file) are for errors. The result is released with
 * json_decref. KQ_E_FORMAT, KQ_E_LIMIT, KQ_E_MEMORY. */
kq_status kq_json_parse(json_t **out, const void *data, uint64_t size, kq_json_limits limits, const char *path, uint64_t base, kq_error *err);
/* An integer that is not negative. */
bool kq_json_u64(const json_t *value, uint64_t *out);
/* Reads a whole file of at most `limit` bytes. */
kq_status kq_json_read(json_t **out, const char *path, uint64_t limit, kq_json_limits limits, kq_error *err);

/* ---- writing (json_write.c) ----------------------------------------------------------------------------------------- */

/* A text that grows. A failure to grow sticks, so nothing is checked before the end. */
typedef struct kq_text {
    const kq_allocator *allocator;
    char *data; /* kq_free it */
    size_t size, capacity;
    bool failed;
} kq_text;
void kq_text_add(kq_text *t, const void *data, size_t size);
void kq_text_put(kq_text *t, const char *s);
void kq_text_u64(kq_text *t, uint64_t n);
/* A JSON string in its quotes; the bytes must be UTF-8, and come out as they are but for what JSON escapes. */
void kq_text_json(kq_text *t, const char *data, size_t size);
/* A whole value as jansson holds it, indented by two; reals with as few digits as give every one of them back. */
void kq_text_value(kq_text *t, const json_t *value);
/* Writes all of it to a file, which appears whole. KQ_E_MEMORY when the text has failed; KQ_E_IO. */
kq_status kq_text_write(const kq_text *t, const char *path, kq_error *err);
/* UTF-8, without surrogates. */
bool kq_is_utf8(const char *data, size_t size);

#endif
