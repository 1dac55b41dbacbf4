/* SPDX-License-Identifier: MIT */
/* GGUF files, versions 2 and 3, little-endian: read by mapping, without copies; written atomically.
 * Source of the format: docs/gguf.md of the ggml repository.
 *
 * A reader trusts nothing: every count, length, product and offset is checked against the bytes that are there before
 * anything is allocated or read. A file that opens has tensors that lie wholly inside it, do not overlap, have known types
 * and whole blocks. Limits (documented constants, one test each) are below. */
#ifndef KQUANT_FILE_H
#define KQUANT_FILE_H

#include <kquant/codec.h>
#include <kquant/core.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    KQ_GGUF_MAX_DIMS = 4,
    KQ_GGUF_MAX_NAME = 127,        /* bytes of a tensor's name */
    KQ_GGUF_MAX_KEY = 65535,       /* bytes of a key */
    KQ_GGUF_MAX_KEYS = 65536,      /* metadata pairs in a file */
    KQ_GGUF_MAX_TENSORS = 1 << 20, /* tensors over all parts */
    KQ_GGUF_MIN_ALIGNMENT = 8,
    KQ_GGUF_DEFAULT_ALIGNMENT = 32,
    KQ_GGUF_MAX_ALIGNMENT = 1 << 20,
    KQ_GGUF_MAX_PARTS = 9999
};

/* The kinds of metadata values; the numbers are GGUF's. */
typedef enum kq_gguf_kind {
    KQ_GGUF_U8 = 0, KQ_GGUF_I8 = 1, KQ_GGUF_U16 = 2, KQ_GGUF_I16 = 3, KQ_GGUF_U32 = 4, KQ_GGUF_I32 = 5, KQ_GGUF_F32 = 6,
    KQ_GGUF_BOOL = 7, KQ_GGUF_STRING = 8, KQ_GGUF_ARRAY = 9, KQ_GGUF_U64 = 10, KQ_GGUF_I64 = 11, KQ_GGUF_F64 = 12
} kq_gguf_kind;

/* The name of a kind ("u32"), or NULL for a number that is none. */
KQ_API const char *kq_gguf_kind_name(uint32_t kind);

/* Bytes inside the mapping: any bytes, not zero-terminated. */
typedef struct kq_string {
    const char *data;
    size_t size;
} kq_string;

typedef struct kq_gguf kq_gguf;

/* One metadata value. Borrowed from the file: valid until kq_gguf_close. */
typedef struct kq_gguf_value {
    kq_string key;         /* also zero-terminated in `data` */
    kq_gguf_kind kind;
    kq_gguf_kind element;  /* of an array (never an array itself: nested arrays are refused); else = kind */
    uint64_t count;        /* of an array; else 1 */
    uint64_t offset;       /* byte of `data` in the first part */
    uint64_t size;         /* bytes of `data` */
    const uint8_t *data;   /* little-endian, not aligned; strings are u64 length + bytes, one after another */
} kq_gguf_value;

typedef struct kq_gguf_tensor {
    kq_string name;        /* also zero-terminated in `data` */
    kq_codec codec;
    uint32_t n_dims;       /* 1 to 4 */
    uint64_t dims[4];      /* innermost (columns) first, as in the file; 1 beyond n_dims; never 0 */
    uint64_t weights;      /* product of dims */
    uint64_t bytes;
    uint32_t part;         /* which file of a split model */
    uint64_t offset;       /* absolute byte in that part */
    const void *data;      /* in the mapping; aligned as the file says (general.alignment) */
} kq_gguf_tensor;

typedef struct kq_gguf_options {
    size_t struct_size;
    const kq_allocator *allocator;
} kq_gguf_options;

/* Opens a GGUF, all its parts when it is split (`path` may name any part: NAME-00002-of-00005.gguf). options may be NULL.
 * The result is immutable. A file that shrinks while it is mapped raises SIGBUS at the reader, as every mapping does.
 * KQ_E_IO, KQ_E_FORMAT, KQ_E_LIMIT, KQ_E_UNSUPPORTED (version, byte order, tensor type), KQ_E_MEMORY. */
KQ_API KQ_MUST_CHECK kq_status kq_gguf_open(kq_gguf **out, const char *path, const kq_gguf_options *options, kq_error *err);
/* The same for a whole unsplit file in memory, which must outlive the result; `name` is used in errors. */
KQ_API KQ_MUST_CHECK kq_status kq_gguf_open_memory(kq_gguf **out, const void *data, size_t size, const char *name,
                                                   const kq_gguf_options *options, kq_error *err);
KQ_API void kq_gguf_close(kq_gguf *g);

KQ_API const char *kq_gguf_path(const kq_gguf *g);          /* of the first part */
KQ_API uint32_t kq_gguf_version(const kq_gguf *g);
KQ_API uint32_t kq_gguf_parts(const kq_gguf *g);
KQ_API uint64_t kq_gguf_file_bytes(const kq_gguf *g);       /* over all parts */
KQ_API uint64_t kq_gguf_alignment(const kq_gguf *g);

KQ_API size_t kq_gguf_n_values(const kq_gguf *g);
KQ_API const kq_gguf_value *kq_gguf_value_at(const kq_gguf *g, size_t i); /* in file order; NULL beyond the end */
KQ_API const kq_gguf_value *kq_gguf_find(const kq_gguf *g, const char *key); /* NULL when absent */

KQ_API size_t kq_gguf_n_tensors(const kq_gguf *g);
KQ_API const kq_gguf_tensor *kq_gguf_tensor_at(const kq_gguf *g, size_t i); /* in file order, part by part */
KQ_API const kq_gguf_tensor *kq_gguf_tensor_find(const kq_gguf *g, const char *name);

/* Typed readers. A missing key is KQ_E_MODEL unless the name has _or: then *out = fallback and KQ_OK. A key of another
 * kind is KQ_E_MODEL, with key, kind and value in the text. Integers of any width and sign are accepted where they fit. */
KQ_API KQ_MUST_CHECK kq_status kq_gguf_get_u64(const kq_gguf *g, const char *key, uint64_t min, uint64_t max, uint64_t *out, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_get_u64_or(const kq_gguf *g, const char *key, uint64_t fallback, uint64_t min, uint64_t max,
                                                  uint64_t *out, kq_error *err);
/* Also refuses NaN and infinities. */
KQ_API KQ_MUST_CHECK kq_status kq_gguf_get_f32(const kq_gguf *g, const char *key, float *out, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_get_f32_or(const kq_gguf *g, const char *key, float fallback, float *out, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_get_bool_or(const kq_gguf *g, const char *key, bool fallback, bool *out, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_get_string(const kq_gguf *g, const char *key, kq_string *out, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_get_string_or(const kq_gguf *g, const char *key, const char *fallback, kq_string *out, kq_error *err);

/* Elements of a value. kq_gguf_element_* take i < value->count and a matching kind (integer of any width / f32 or f64 / string);
 * they return false otherwise. Strings are found in O(1) from the previous index, so walk arrays forwards with an iterator: */
typedef struct kq_gguf_strings { /* walks an array of strings; made by kq_gguf_strings_of */
    const kq_gguf_value *value;
    uint64_t next;               /* index of the next element */
    const uint8_t *at;
} kq_gguf_strings;
KQ_API kq_gguf_strings kq_gguf_strings_of(const kq_gguf_value *value);
KQ_API bool kq_gguf_strings_next(kq_gguf_strings *it, kq_string *out); /* false at the end, or if value is no array of strings */
KQ_API bool kq_gguf_element_i64(const kq_gguf_value *value, uint64_t i, int64_t *out);  /* integers and bool; u64 above INT64_MAX: false */
KQ_API bool kq_gguf_element_f64(const kq_gguf_value *value, uint64_t i, double *out);   /* f32, f64 and integers */
KQ_API bool kq_gguf_scalar_string(const kq_gguf_value *value, kq_string *out);          /* a single string */

/* ---- writing ------------------------------------------------------------------------------------------------------ */

/* Collects metadata and tensors, then writes version 3 in one pass. The file appears under its name only when complete:
 * temporary file beside it, fsync, rename. Names and values are copied; tensor data is borrowed until kq_gguf_writer_finish,
 * or produced piece by piece by a callback. One thread at a time. */
typedef struct kq_gguf_writer kq_gguf_writer;
/* Writes the tensor's `bytes` bytes through `put`; return what `put` returned when it failed. */
typedef kq_status (*kq_gguf_produce)(void *ctx, kq_status (*put)(void *sink, const void *data, size_t size, kq_error *err), void *sink,
                                     kq_error *err);

KQ_API KQ_MUST_CHECK kq_status kq_gguf_writer_open(kq_gguf_writer **out, const char *path, const kq_gguf_options *options, kq_error *err);
/* Drops an unfinished file. */
KQ_API void kq_gguf_writer_close(kq_gguf_writer *w);
/* Adds one value, replacing a key that is there. `data` is laid out as in kq_gguf_value (which may be passed field by field).
 * KQ_E_ARGUMENT: a kind, count or size that do not agree. */
KQ_API KQ_MUST_CHECK kq_status kq_gguf_writer_value(kq_gguf_writer *w, const char *key, kq_gguf_kind kind, kq_gguf_kind element,
                                                    uint64_t count, const void *data, size_t size, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_writer_u32(kq_gguf_writer *w, const char *key, uint32_t value, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_writer_f32(kq_gguf_writer *w, const char *key, float value, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_writer_bool(kq_gguf_writer *w, const char *key, bool value, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_writer_string(kq_gguf_writer *w, const char *key, const char *value, kq_error *err);
/* Adds a tensor, in order. Exactly one of data and produce. KQ_E_ARGUMENT: duplicate name, bad shape, unknown codec. */
KQ_API KQ_MUST_CHECK kq_status kq_gguf_writer_tensor(kq_gguf_writer *w, const char *name, kq_codec codec, uint32_t n_dims,
                                                     const uint64_t *dims, const void *data, kq_gguf_produce produce, void *ctx,
                                                     kq_error *err);
/* Writes everything and renames the file into place. After a failure nothing is left behind and the target is untouched. */
KQ_API KQ_MUST_CHECK kq_status kq_gguf_writer_finish(kq_gguf_writer *w, kq_error *err);

#ifdef __cplusplus
}
#endif
#endif
