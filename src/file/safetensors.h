/* SPDX-License-Identifier: MIT */
/* What the parts of the safetensors reader and writer share. */
#ifndef KQ_FILE_SAFETENSORS_H
#define KQ_FILE_SAFETENSORS_H

#include "file/file.h"

typedef struct kq_safetensors_shard {
    const char *path; /* in the arena */
    kq_map map;       /* empty when the bytes are the caller's */
    uint64_t size;
} kq_safetensors_shard;

typedef struct kq_safetensors_pair {
    const char *key, *value;
} kq_safetensors_pair;

struct kq_safetensors {
    kq_allocator allocator;
    kq_arena arena; /* paths, names, metadata */
    kq_safetensors_shard *shards;
    size_t n_shards, shards_capacity;
    kq_safetensors_pair *pairs; /* of the first shard */
    size_t n_pairs;
    kq_safetensors_tensor *tensors;
    size_t n_tensors, tensors_capacity;
    kq_strmap names;
};

/* Adds a file's tensors. Takes *map over, also when it fails; data and size are the mapping's or the caller's. */
kq_status kq_safetensors_read(kq_safetensors *s, const char *path, kq_map *map, const uint8_t *data, uint64_t size, kq_error *err);

/* As kq_map_stamp and kq_map_release, of all shards. */
uint64_t kq_safetensors_stamp(const kq_safetensors *s);
void kq_safetensors_release(const kq_safetensors *s);

/* The dtype with this name, or NULL. */
const kq_dtype_info *kq_dtype_find(const char *name);
/* From dtype, n_dims and dims: elements, bytes, and 1 in the dims beyond n_dims. False when they are 2^64 or more. A dim of 0 excuses
 * no other: [2^63, 4, 0] is refused. */
bool kq_safetensors_measure(kq_safetensors_tensor *t);

/* Looks in `folder` for a file named STEM-ddddd-of-ddddd.safetensors that is no key of `known` (its name goes to `found`). */
kq_status kq_safetensors_stray(const char *folder, const char *stem, size_t stem_size, const kq_strmap *known, char found[256], kq_error *err);

#define KQ_SAFETENSORS_SUFFIX ".safetensors"
#define KQ_SAFETENSORS_INDEX ".safetensors.index.json"
bool kq_ends_with(const char *text, const char *end);

#endif
