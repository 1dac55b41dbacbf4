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

/* Where the tensors of a kq_gguf come from that was not read from GGUF files (kq_gguf_assemble). The object is closed with it. */
typedef struct kq_gguf_owner {
    void *object;
    /* Bytes [offset, offset + size) of a tensor without data, whole rows and within it. Any thread, also several at once. */
    kq_status (*read)(void *object, const kq_gguf_tensor *t, uint64_t offset, uint64_t size, void *dst, kq_error *err);
    bool (*is_file)(void *object, const char *path); /* one of the files that it reads */
    void (*close)(void *object);
    void (*release)(void *object); /* what was read will not be needed again: its pages may leave memory. NULL: nothing to do */
    const char *form;    /* what it is, for people: a constant */
    uint64_t file_bytes; /* of all its files */
    uint32_t n_files;
    uint64_t stamp;      /* of all its files, from kq_map_stamp */
} kq_gguf_owner;

struct kq_gguf {
    kq_allocator allocator;
    kq_gguf_owner owner;   /* object NULL: the parts are the files */
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

/* Metadata under construction: keys in the order of their first addition, values and keys copied. */
typedef struct kq_metadata {
    kq_allocator allocator;
    kq_arena arena;
    kq_gguf_value *values;
    size_t n_values, capacity;
    kq_strmap keys;
} kq_metadata;
/* A failed init needs kq_metadata_free as well; freeing twice, or a zeroed one, is fine. */
kq_status kq_metadata_init(kq_metadata *m, const kq_allocator *a, kq_error *err);
void kq_metadata_free(kq_metadata *m);
const kq_gguf_value *kq_metadata_find(const kq_metadata *m, const char *key); /* NULL when absent; valid until the next addition */
/* As kq_gguf_writer_value and its kin: a key that is there gets the new value. */
kq_status kq_metadata_value(kq_metadata *m, const char *key, kq_gguf_kind kind, kq_gguf_kind element, uint64_t count, const void *data,
                            size_t size, kq_error *err);
kq_status kq_metadata_u32(kq_metadata *m, const char *key, uint32_t value, kq_error *err);
kq_status kq_metadata_f32(kq_metadata *m, const char *key, float value, kq_error *err);
kq_status kq_metadata_bool(kq_metadata *m, const char *key, bool value, kq_error *err);
kq_status kq_metadata_string(kq_metadata *m, const char *key, const char *value, kq_error *err);
/* Arrays: of strings, and of a kind of fixed size (bools as bytes 0 and 1). */
kq_status kq_metadata_strings(kq_metadata *m, const char *key, const kq_string *strings, size_t n, kq_error *err);
kq_status kq_metadata_array(kq_metadata *m, const char *key, kq_gguf_kind element, size_t n, const void *data, kq_error *err);

/* A kq_gguf of metadata and tensors that lie in no GGUF: every accessor of file.h works on it. `path` is for errors and
 * kq_gguf_path. Takes *m and *owner over, also when it fails (m is then empty, the owner closed). Tensors are copied: name, codec, n_dims
 * and dims, measured as a file's are, and data, which is NULL or lives as long as the owner. KQ_E_FORMAT (a name twice or of a
 * bad length, a shape), KQ_E_LIMIT, KQ_E_MEMORY. */
kq_status kq_gguf_assemble(kq_gguf **out, const char *path, kq_metadata *m, const kq_gguf_tensor *tensors, size_t n_tensors,
                           const kq_gguf_owner *owner, const kq_allocator *a, kq_error *err);

/* Some bytes of a tensor that were read will not be needed again: their pages need not stay in this process's memory. */
void kq_gguf_tensor_release(const kq_gguf *g, const kq_gguf_tensor *t, uint64_t offset, uint64_t size);
/* Tells the state of a model's files, as far as the system knows it without reading them: sizes, times of change, which files. Another
 * value: something changed. */
uint64_t kq_gguf_stamp(const kq_gguf *g);

/* KQ_E_ARGUMENT when a name has no byte or more than `limit`. `what`: "key" or "tensor". */
kq_status kq_name_check(const char *what, const char *name, size_t limit, kq_error *err);

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
