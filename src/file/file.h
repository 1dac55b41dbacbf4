/* SPDX-License-Identifier: MIT */
/* file owns: the readers of files that others made (GGUF, in one part or several) and the writers of ours. Readers trust
 * nothing; writers never leave half a file under a name.
 * It may include: base codec. */
#ifndef KQ_FILE_H
#define KQ_FILE_H

#include "base/base.h"

#include <kquant/file.h>

/* One file of a model; a model that is not split has one. */
typedef struct kq_gguf_part {
    const char *path;    /* in the arena */
    kq_map map;          /* empty when the bytes are the caller's */
    const uint8_t *data;
    uint64_t size;
    uint64_t alignment;
} kq_gguf_part;

struct kq_gguf {
    kq_allocator allocator;
    kq_arena arena;        /* paths, and zero-terminated keys and names */
    kq_gguf_part *parts;
    size_t n_parts, parts_capacity;
    kq_gguf_value *values; /* of the first part */
    size_t n_values;
    kq_gguf_tensor *tensors;
    size_t n_tensors, tensors_capacity;
    kq_strmap keys, names; /* to indices of values and tensors */
    uint32_t version;      /* of the first part */
};

/* Reads one file's bytes, whatever it says about being a part of several. Takes *map over, also when it fails (empty when the
 * bytes are the caller's); `path` is for errors. */
kq_status kq_gguf_read(kq_gguf **out, const char *path, kq_map *map, const uint8_t *data, uint64_t size, const kq_allocator *a,
                       kq_error *err);

/* From name, n_dims, dims and a type number: codec, weights, bytes, and 1 in the dims beyond n_dims. The text of a failure names
 * the tensor; its status is the reader's. */
kq_status kq_gguf_measure(kq_gguf_tensor *t, uint32_t type, kq_error *err);

/* Bytes of one element; 0 for strings, arrays and numbers that are no kind. */
uint32_t kq_gguf_kind_bytes(uint32_t kind);

/* Heap sort of indices, from what is before to what is behind: the C library's qsort may allocate, and may be quadratic. Not stable. */
void kq_sort_indices(uint32_t *order, size_t n, bool (*before)(const void *ctx, uint32_t a, uint32_t b), const void *ctx);

/* A name from a file, fit for an error's text: printable ASCII, at most 40 characters, the middle left out. */
typedef struct kq_shown {
    char text[41];
} kq_shown;
kq_shown kq_show(const char *data, size_t size);
/* printf's %s of a kq_string */
#define KQ_SHOW(string) kq_show((string).data, (string).size).text

#endif
