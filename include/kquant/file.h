/* SPDX-License-Identifier: MIT */
/* Files of models, read by mapping, without copies; written atomically: GGUF (versions 2 and 3, little-endian) here, safetensors
 * (single and sharded) and importance matrices below.
 * Source of the format of GGUF: docs/gguf.md of the ggml repository.
 *
 * A reader trusts nothing: every count, length, product and offset is checked against the bytes that are there before
 * anything is allocated or read; time and memory are linear in the file's size. Of a file that opens it is known that
 *   - keys and tensor names are unique, not empty and without a byte 0; strings that are values hold any bytes;
 *   - values have a known kind, bools are 0 or 1, and no array holds arrays (the format allows them, nobody writes them:
 *     KQ_E_UNSUPPORTED);
 *   - tensors have known types, 1 to 4 dims, none of them 0, and whole blocks; they lie wholly inside the file, at
 *     multiples of its alignment, and do not overlap. There may be none (a file of vocabulary), gaps between them, and
 *     bytes behind the last.
 * What the keys mean is not looked at, but for general.alignment and split.*. Limits (one test each) are below. */
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
    KQ_GGUF_MIN_ALIGNMENT = 8,     /* general.alignment is a power of two */
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
    kq_gguf_kind element;  /* of an array, never KQ_GGUF_ARRAY; else = kind */
    uint64_t count;        /* of an array; else 1 */
    uint64_t offset;       /* byte of `data` in the first part; KQ_NO_OFFSET when it lies in no GGUF */
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
    uint64_t offset;       /* absolute byte in that part; KQ_NO_OFFSET when it lies in no GGUF */
    const void *data;      /* in the mapping, aligned as kq_gguf_alignment says; NULL when it is made as it is read (kq_gguf_tensor_read) */
} kq_gguf_tensor;

typedef struct kq_gguf_options {
    size_t struct_size;
    const kq_allocator *allocator;
} kq_gguf_options;

/* Opens a GGUF, all its parts when it is split (`path` may name any part: NAME-00002-of-00005.gguf). options may be NULL.
 * The result is immutable, so threads may share it; closing it ends every pointer that it gave.
 * A file that is cut short while it is mapped raises SIGBUS where its lost bytes are touched, as every mapping does: the
 * library cannot know, since it takes no signal from its host. A program that must outlive that handles SIGBUS itself;
 * replacing a model by rename (as the writer below does) instead of in place never does it.
 * KQ_E_IO, KQ_E_FORMAT, KQ_E_LIMIT, KQ_E_UNSUPPORTED (version, byte order, tensor type, nested array), KQ_E_MEMORY;
 * KQ_E_MODEL when split.* keys have an impossible kind or value. A part that is missing is KQ_E_FORMAT. */
KQ_API KQ_MUST_CHECK kq_status kq_gguf_open(kq_gguf **out, const char *path, const kq_gguf_options *options, kq_error *err);
/* The same for a whole unsplit file in memory, which must outlive the result; `name` is used in errors. */
KQ_API KQ_MUST_CHECK kq_status kq_gguf_open_memory(kq_gguf **out, const void *data, size_t size, const char *name,
                                                   const kq_gguf_options *options, kq_error *err);
KQ_API void kq_gguf_close(kq_gguf *g);

/* What kq_source_open (convert.h) gives for a folder is a kq_gguf as well, made of other files: its path is the folder's, its version 0. */
KQ_API const char *kq_gguf_path(const kq_gguf *g);          /* of the first part */
KQ_API uint32_t kq_gguf_version(const kq_gguf *g);          /* of the first part; 0 when there is no GGUF file */
KQ_API uint32_t kq_gguf_parts(const kq_gguf *g);            /* files; 1 when it is not split */
KQ_API uint64_t kq_gguf_file_bytes(const kq_gguf *g);       /* over all parts */
KQ_API uint64_t kq_gguf_alignment(const kq_gguf *g);        /* the smallest of the parts': every tensor's offset is a multiple */
/* Whether `path` names one of the files that are open here, by whatever name or link: ask before writing there. */
KQ_API bool kq_gguf_is_file(const kq_gguf *g, const char *path);

KQ_API size_t kq_gguf_n_values(const kq_gguf *g);
KQ_API const kq_gguf_value *kq_gguf_value_at(const kq_gguf *g, size_t i); /* in file order; NULL beyond the end */
KQ_API const kq_gguf_value *kq_gguf_find(const kq_gguf *g, const char *key); /* NULL when absent */

KQ_API size_t kq_gguf_n_tensors(const kq_gguf *g);
KQ_API const kq_gguf_tensor *kq_gguf_tensor_at(const kq_gguf *g, size_t i); /* in file order, part by part */
KQ_API const kq_gguf_tensor *kq_gguf_tensor_find(const kq_gguf *g, const char *name);
/* Copies bytes [offset, offset + size) of a tensor of g, whole rows, whether it has data or not; the memory that it takes does not grow with
 * the tensor. Any thread. KQ_E_ARGUMENT: no whole rows, or beyond the tensor. KQ_E_MEMORY. */
KQ_API KQ_MUST_CHECK kq_status kq_gguf_tensor_read(const kq_gguf *g, const kq_gguf_tensor *t, uint64_t offset, uint64_t size, void *dst,
                                                   kq_error *err);

/* Typed readers. A missing key is KQ_E_MODEL unless the name has _or: then *out = fallback and KQ_OK (a fallback is not
 * checked against min and max). A key of another kind or out of range is KQ_E_MODEL, with key, value and limit in the text.
 * u64 takes integers of any width and sign that are within [min, max], f32 also takes f64; bools are no integers. */
KQ_API KQ_MUST_CHECK kq_status kq_gguf_get_u64(const kq_gguf *g, const char *key, uint64_t min, uint64_t max, uint64_t *out, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_get_u64_or(const kq_gguf *g, const char *key, uint64_t fallback, uint64_t min, uint64_t max,
                                                  uint64_t *out, kq_error *err);
/* Also refuses NaN and infinities. */
KQ_API KQ_MUST_CHECK kq_status kq_gguf_get_f32(const kq_gguf *g, const char *key, float *out, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_get_f32_or(const kq_gguf *g, const char *key, float fallback, float *out, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_get_bool_or(const kq_gguf *g, const char *key, bool fallback, bool *out, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_get_string(const kq_gguf *g, const char *key, kq_string *out, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_get_string_or(const kq_gguf *g, const char *key, const char *fallback, kq_string *out, kq_error *err);

/* Elements. A value that is no array is one element. All return false, and leave *out alone, when `value` is NULL, when i is
 * beyond its count, or when its kind is another. An array of strings has no index: it is walked forwards. */
typedef struct kq_gguf_strings { /* walks an array of strings; made by kq_gguf_strings_of */
    const kq_gguf_value *value;
    uint64_t next;               /* index of the next element */
    const uint8_t *at;
} kq_gguf_strings;
KQ_API kq_gguf_strings kq_gguf_strings_of(const kq_gguf_value *value);
KQ_API bool kq_gguf_strings_next(kq_gguf_strings *it, kq_string *out); /* false at the end, or if value is no array of strings */
KQ_API bool kq_gguf_element_i64(const kq_gguf_value *value, uint64_t i, int64_t *out);  /* integers and bool; u64 above INT64_MAX: false */
KQ_API bool kq_gguf_element_f64(const kq_gguf_value *value, uint64_t i, double *out);   /* f32, f64 and integers, rounded */
KQ_API bool kq_gguf_scalar_string(const kq_gguf_value *value, kq_string *out);          /* a single string */

/* ---- writing ------------------------------------------------------------------------------------------------------ */

/* Makes a tensor's bytes for a writer: exactly as many as it has, through `put`, in pieces of any size; return what `put` returned
 * when it failed. */
typedef kq_status (*kq_produce)(void *ctx, kq_status (*put)(void *sink, const void *data, size_t size, kq_error *err), void *sink,
                                kq_error *err);

/* Collects metadata and tensors, then writes version 3 in one pass. The file appears under its name only when complete:
 * temporary file beside it (NAME.part-...), fsync, rename. So the target may even be a model that is open for reading, which
 * keeps its old bytes; but a user who names his input as output has made a mistake: refuse it with kq_gguf_is_file.
 * Names and values are copied; tensor data is borrowed until kq_gguf_writer_finish, or produced piece by piece by a callback.
 * One thread at a time. A process whose file size is limited (RLIMIT_FSIZE) should ignore SIGXFSZ to get KQ_E_IO instead. */
typedef struct kq_gguf_writer kq_gguf_writer;
/* Makes the temporary file, so a directory that cannot be written to is known at once. A symbolic link is followed.
 * KQ_E_IO (also when the target is no regular file), KQ_E_MEMORY. */
KQ_API KQ_MUST_CHECK kq_status kq_gguf_writer_open(kq_gguf_writer **out, const char *path, const kq_gguf_options *options, kq_error *err);
/* Drops an unfinished file. */
KQ_API void kq_gguf_writer_close(kq_gguf_writer *w);
/* Adds one value, replacing a key that is there. `data` is laid out as in kq_gguf_value (which may be passed field by field:
 * key.data, kind, element, count, data, size). general.alignment is obeyed.
 * KQ_E_ARGUMENT: kind, element, count and size do not agree. */
KQ_API KQ_MUST_CHECK kq_status kq_gguf_writer_value(kq_gguf_writer *w, const char *key, kq_gguf_kind kind, kq_gguf_kind element,
                                                    uint64_t count, const void *data, size_t size, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_writer_u32(kq_gguf_writer *w, const char *key, uint32_t value, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_writer_f32(kq_gguf_writer *w, const char *key, float value, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_writer_bool(kq_gguf_writer *w, const char *key, bool value, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_gguf_writer_string(kq_gguf_writer *w, const char *key, const char *value, kq_error *err);
/* Adds a tensor, in order. Exactly one of data and produce. KQ_E_ARGUMENT: duplicate name, bad shape, unknown codec. */
KQ_API KQ_MUST_CHECK kq_status kq_gguf_writer_tensor(kq_gguf_writer *w, const char *name, kq_codec codec, uint32_t n_dims,
                                                     const uint64_t *dims, const void *data, kq_produce produce, void *ctx,
                                                     kq_error *err);
/* Writes everything and renames the file into place; the disk space is taken first. After a failure nothing is left behind and
 * the target is untouched (but for one case: the directory cannot be synced after the renaming). Once only; then close. */
KQ_API KQ_MUST_CHECK kq_status kq_gguf_writer_finish(kq_gguf_writer *w, kq_error *err);

/* ---- safetensors -------------------------------------------------------------------------------------------------- */

/* Safetensors: u64 length, a JSON header of that length, data. Source of the format: the README of the safetensors repository.
 * The reader is as strict as the one above. Of a file that opens it is known that
 *   - the header is one JSON object in UTF-8 without duplicate keys, at most KQ_SAFETENSORS_MAX_HEADER bytes long and
 *     KQ_SAFETENSORS_MAX_DEPTH deep; __metadata__ holds strings only;
 *   - every tensor has exactly dtype, shape and data_offsets, in integers that are not negative; its dtype is known, and its shape
 *     takes exactly the bytes that its offsets leave;
 *   - the tensors cover the data exactly: no gap, no overlap, nothing behind the last.
 * A dim may be 0, and a shape may be empty (one element). Data need not be aligned: read it with memcpy.
 * A sharded model opens as one. Its index names only files beside itself; each tensor lies in the shard that the index says, no tensor
 * is missing from the index, and no file that is named like a shard of this model (NAME-00001-of-00002.safetensors) is left over. */
enum {
    KQ_SAFETENSORS_MAX_HEADER = 100000000,
    KQ_SAFETENSORS_MAX_DEPTH = 16,
    KQ_SAFETENSORS_MAX_DIMS = 8,
    KQ_SAFETENSORS_MAX_NAME = 1023,       /* bytes of a tensor's name */
    KQ_SAFETENSORS_MAX_TENSORS = 1 << 20, /* over all shards */
    KQ_SAFETENSORS_MAX_SHARDS = 9999
};

typedef enum kq_dtype {
    KQ_DTYPE_BOOL, KQ_DTYPE_U8, KQ_DTYPE_I8, KQ_DTYPE_F8_E4M3, KQ_DTYPE_F8_E5M2, KQ_DTYPE_U16, KQ_DTYPE_I16, KQ_DTYPE_F16, KQ_DTYPE_BF16,
    KQ_DTYPE_U32, KQ_DTYPE_I32, KQ_DTYPE_F32, KQ_DTYPE_U64, KQ_DTYPE_I64, KQ_DTYPE_F64
} kq_dtype;

typedef struct kq_dtype_info {
    kq_dtype dtype;
    const char *name; /* "BF16", as files spell it */
    uint32_t bytes;   /* of an element */
    bool has_codec;   /* F32 F16 BF16 F64 and I8 to I64 are codecs too; bool, unsigned and 8-bit floats are not */
    kq_codec codec;   /* when has_codec */
} kq_dtype_info;
/* The description of a dtype, or NULL for a number that is none. The result lives as long as the program. */
KQ_API const kq_dtype_info *kq_dtype_describe(uint32_t dtype);

typedef struct kq_safetensors kq_safetensors;

typedef struct kq_safetensors_tensor { /* borrowed from the file */
    kq_string name;        /* UTF-8, also zero-terminated in `data` */
    kq_dtype dtype;
    uint32_t n_dims;       /* 0 to 8 */
    uint64_t dims[8];      /* outermost first, as in the file; 1 beyond n_dims */
    uint64_t elements;     /* product of dims */
    uint64_t bytes;
    uint32_t shard;        /* which file */
    uint64_t offset;       /* absolute byte in that file */
    const void *data;      /* in the mapping, at any address */
} kq_safetensors_tensor;

typedef struct kq_safetensors_options {
    size_t struct_size;
    const kq_allocator *allocator;
    uint64_t max_shard_bytes; /* writer: data bytes of a shard, unless one tensor alone has more; 0: one file */
} kq_safetensors_options;

/* `path` is a .safetensors file (opened alone, even if it is a shard), an index (NAME.safetensors.index.json), or a folder that holds
 * model.safetensors.index.json or model.safetensors; of both, if the index names the other. Immutable, as an open GGUF is, and the same
 * holds of SIGBUS. KQ_E_IO, KQ_E_FORMAT, KQ_E_LIMIT, KQ_E_UNSUPPORTED (dtype), KQ_E_MEMORY. A shard that is missing or left over is KQ_E_FORMAT.
 * The JSON is held by jansson while opening, in the C library's memory. */
KQ_API KQ_MUST_CHECK kq_status kq_safetensors_open(kq_safetensors **out, const char *path, const kq_safetensors_options *options,
                                                   kq_error *err);
/* The same for one whole file in memory, which must outlive the result; `name` is used in errors. */
KQ_API KQ_MUST_CHECK kq_status kq_safetensors_open_memory(kq_safetensors **out, const void *data, size_t size, const char *name,
                                                          const kq_safetensors_options *options, kq_error *err);
KQ_API void kq_safetensors_close(kq_safetensors *s);

KQ_API size_t kq_safetensors_n_shards(const kq_safetensors *s);                    /* files with tensors; 1 when there is no index */
KQ_API const char *kq_safetensors_shard_path(const kq_safetensors *s, size_t i);   /* in order of name; NULL beyond the end */
KQ_API uint64_t kq_safetensors_file_bytes(const kq_safetensors *s);                /* over all shards */
/* Whether `path` names one of the files that are open here, by whatever name or link. */
KQ_API bool kq_safetensors_is_file(const kq_safetensors *s, const char *path);
KQ_API size_t kq_safetensors_n_tensors(const kq_safetensors *s);
/* In the order of their data, shard by shard; NULL beyond the end. */
KQ_API const kq_safetensors_tensor *kq_safetensors_tensor_at(const kq_safetensors *s, size_t i);
KQ_API const kq_safetensors_tensor *kq_safetensors_tensor_find(const kq_safetensors *s, const char *name);
/* __metadata__ of the first shard, in its order. False beyond the end. Both are zero-terminated. */
KQ_API bool kq_safetensors_metadata_at(const kq_safetensors *s, size_t i, const char **key, const char **value);

/* Collects tensors, then writes them: one file, or NAME-00001-of-0000N.safetensors and NAME.safetensors.index.json where they
 * are more than max_shard_bytes. Tensors go to shards in the order they were added; in a file they lie by size of element,
 * largest first, then by name, so that data is aligned and the bytes depend on nothing else. Names and metadata are copied; data
 * is borrowed until kq_safetensors_writer_finish, or produced (in the order of the files). One thread at a time.
 * Every file is complete and synced before the first gets its name; of several the index comes last, after an older index
 * was removed, so no index ever names the shards of two models. */
typedef struct kq_safetensors_writer kq_safetensors_writer;
/* `path` ends in .safetensors and names the single file. Makes a temporary file, so a folder that cannot be written to is known at
 * once. KQ_E_ARGUMENT (path), KQ_E_IO, KQ_E_MEMORY. */
KQ_API KQ_MUST_CHECK kq_status kq_safetensors_writer_open(kq_safetensors_writer **out, const char *path,
                                                          const kq_safetensors_options *options, kq_error *err);
/* Drops unfinished files. */
KQ_API void kq_safetensors_writer_close(kq_safetensors_writer *w);
/* Adds a string to __metadata__ of every shard, replacing a key that is there. KQ_E_ARGUMENT: not UTF-8. */
KQ_API KQ_MUST_CHECK kq_status kq_safetensors_writer_metadata(kq_safetensors_writer *w, const char *key, const char *value, kq_error *err);
/* Adds a tensor; dims outermost first. Exactly one of data and produce, but for a tensor without elements, which needs none.
 * KQ_E_ARGUMENT: duplicate name, not UTF-8, bad shape, unknown dtype. */
KQ_API KQ_MUST_CHECK kq_status kq_safetensors_writer_tensor(kq_safetensors_writer *w, const char *name, kq_dtype dtype, uint32_t n_dims,
                                                            const uint64_t *dims, const void *data, kq_produce produce, void *ctx,
                                                            kq_error *err);
/* Writes everything; the disk space of all files is taken first. A file in the folder that would make the result ambiguous (the
 * index of a sharded model where one file is written, a single file or other shards where shards are) is KQ_E_IO and stays.
 * After a failure nothing is left behind and no target is touched, unless giving the files their names itself fails. Once only;
 * then close. */
KQ_API KQ_MUST_CHECK kq_status kq_safetensors_writer_finish(kq_safetensors_writer *w, kq_error *err);

/* ---- importance matrices -------------------------------------------------------------------------------------------- */

/* How much each column of a tensor matters: sums of squared activations and how many were summed, per group of rows (an expert).
 * Two forms, both of llama.cpp: GGUF (tensors NAME.in_sum2 [columns, groups] and NAME.counts [1, groups], f32; keys imatrix.datasets,
 * imatrix.chunk_count, imatrix.chunk_size), and the old one (.dat), which has one count for a tensor, however many experts it has. */
typedef enum kq_imatrix_form { KQ_IMATRIX_GGUF, KQ_IMATRIX_DAT } kq_imatrix_form;

typedef struct kq_imatrix kq_imatrix;
typedef struct kq_imatrix_entry { /* borrowed */
    kq_string name;      /* of the tensor, also zero-terminated in `data` */
    uint64_t columns;    /* of a .dat: all values of the tensor */
    uint64_t groups;     /* of a .dat: 1 */
    const float *sums;   /* [groups][columns] */
    const float *counts; /* [groups] */
} kq_imatrix_entry;

/* What is wrong with a group: the sums or the count hold NaN or infinity, something negative, or nothing was ever counted. Such files
 * open: unused experts are common. kq_imatrix_weights gives such a group ones, as if nothing were known of it. */
typedef enum kq_imatrix_fault { KQ_IMATRIX_NOT_FINITE, KQ_IMATRIX_NEGATIVE, KQ_IMATRIX_NEVER_HIT } kq_imatrix_fault;
typedef struct kq_imatrix_issue {
    const kq_imatrix_entry *entry;
    uint64_t group;
    kq_imatrix_fault fault; /* the first of the three that holds */
} kq_imatrix_issue;

typedef struct kq_imatrix_options {
    size_t struct_size;
    const kq_allocator *allocator;
} kq_imatrix_options;

/* Reads either form (told by its first bytes) into memory; or makes an empty one. One thread at a time while it is changed.
 * KQ_E_IO, KQ_E_FORMAT, KQ_E_LIMIT, KQ_E_MODEL (a GGUF that is no importance matrix), KQ_E_UNSUPPORTED, KQ_E_MEMORY. */
KQ_API KQ_MUST_CHECK kq_status kq_imatrix_open(kq_imatrix **out, const char *path, const kq_imatrix_options *options, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_imatrix_open_memory(kq_imatrix **out, const void *data, size_t size, const char *name,
                                                      const kq_imatrix_options *options, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_imatrix_create(kq_imatrix **out, const kq_imatrix_options *options, kq_error *err);
KQ_API void kq_imatrix_close(kq_imatrix *im);

KQ_API kq_imatrix_form kq_imatrix_form_of(const kq_imatrix *im); /* as read; GGUF for one that was made */
KQ_API size_t kq_imatrix_n_entries(const kq_imatrix *im);
KQ_API const kq_imatrix_entry *kq_imatrix_entry_at(const kq_imatrix *im, size_t i); /* in file order; NULL beyond the end */
KQ_API const kq_imatrix_entry *kq_imatrix_find(const kq_imatrix *im, const char *tensor);
KQ_API uint32_t kq_imatrix_chunks(const kq_imatrix *im, uint32_t *chunk_size); /* 0: not known; chunk_size may be NULL */
KQ_API const char *kq_imatrix_dataset_at(const kq_imatrix *im, size_t i); /* NULL beyond the end */
/* Walks what is wrong: *at is 0 at first. False at the end. */
KQ_API bool kq_imatrix_next_issue(const kq_imatrix *im, uint64_t *at, kq_imatrix_issue *out);

/* The importances for a tensor of `groups` matrices with rows of `columns` weights: out[groups][columns] = sum / count, the count
 * rounded to a whole number (a .dat whose count is 0 holds means: they are taken as they are). Groups with an issue get ones.
 * *found is false, and out is left alone, when there is no entry. out may be NULL, to ask only. KQ_E_MODEL: the entry has another size. */
KQ_API KQ_MUST_CHECK kq_status kq_imatrix_weights(const kq_imatrix *im, const char *tensor, uint64_t columns, uint64_t groups, float *out,
                                                  bool *found, kq_error *err);

/* Adds sums and counts; to an entry that is there they are added, which merges matrices. KQ_E_ARGUMENT: another shape. */
KQ_API KQ_MUST_CHECK kq_status kq_imatrix_add(kq_imatrix *im, const char *tensor, uint64_t columns, uint64_t groups, const float *sums,
                                              const float *counts, kq_error *err);
KQ_API KQ_MUST_CHECK kq_status kq_imatrix_add_dataset(kq_imatrix *im, const char *name, kq_error *err);
KQ_API void kq_imatrix_set_chunks(kq_imatrix *im, uint32_t chunks, uint32_t chunk_size);
/* Writes one file, atomically. In the old form values are importances times the number of chunks, as llama.cpp writes them. */
KQ_API KQ_MUST_CHECK kq_status kq_imatrix_write(const kq_imatrix *im, const char *path, kq_imatrix_form form, kq_error *err);

#ifdef __cplusplus
}
#endif
#endif
