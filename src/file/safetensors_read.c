/* SPDX-License-Identifier: MIT */
/* Reads one safetensors file:
 *
 *   u64 length, little-endian
 *   { "__metadata__": {"key": "value"}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]} }, spaces
 *   data: offsets count from here, and together they cover it exactly
 *
 * Nothing is believed before it is compared: the length with the file, shape and dtype with the offsets, the offsets with each
 * other and with the file's end. */
#include "file/json.h"
#include "file/safetensors.h"

typedef unsigned long long ull; /* for printf */

/* Eight values a tensor, and four dims on average, are far more than files of a million tensors need. */
static const kq_json_limits header_limits = {.depth = KQ_SAFETENSORS_MAX_DEPTH, .values = 12ull * KQ_SAFETENSORS_MAX_TENSORS};

static const kq_dtype_info dtypes[] = {
    {KQ_DTYPE_BOOL, "BOOL", 1, false, KQ_F32}, {KQ_DTYPE_U8, "U8", 1, false, KQ_F32}, {KQ_DTYPE_I8, "I8", 1, true, KQ_I8},
    {KQ_DTYPE_F8_E4M3, "F8_E4M3", 1, false, KQ_F32}, {KQ_DTYPE_F8_E5M2, "F8_E5M2", 1, false, KQ_F32},
    {KQ_DTYPE_U16, "U16", 2, false, KQ_F32}, {KQ_DTYPE_I16, "I16", 2, true, KQ_I16}, {KQ_DTYPE_F16, "F16", 2, true, KQ_F16},
    {KQ_DTYPE_BF16, "BF16", 2, true, KQ_BF16}, {KQ_DTYPE_U32, "U32", 4, false, KQ_F32}, {KQ_DTYPE_I32, "I32", 4, true, KQ_I32},
    {KQ_DTYPE_F32, "F32", 4, true, KQ_F32}, {KQ_DTYPE_U64, "U64", 8, false, KQ_F32}, {KQ_DTYPE_I64, "I64", 8, true, KQ_I64},
    {KQ_DTYPE_F64, "F64", 8, true, KQ_F64},
};

const kq_dtype_info *kq_dtype_describe(uint32_t dtype) { return dtype < KQ_COUNT(dtypes) ? &dtypes[dtype] : NULL; }

const kq_dtype_info *kq_dtype_find(const char *name) {
    for (size_t i = 0; i < KQ_COUNT(dtypes); i++) {
        if (strcmp(dtypes[i].name, name) == 0) return &dtypes[i];
    }
    return NULL;
}

bool kq_safetensors_measure(kq_safetensors_tensor *t) {
    uint64_t product = 1;
    bool empty = false;
    for (uint32_t d = 0; d < t->n_dims; d++) {
        if (t->dims[d] == 0) empty = true;
        else if (!kq_mul(product, t->dims[d], &product)) return false;
    }
    for (uint32_t d = t->n_dims; d < KQ_SAFETENSORS_MAX_DIMS; d++) t->dims[d] = 1;
    if (!kq_mul(product, dtypes[t->dtype].bytes, &t->bytes)) return false;
    t->elements = empty ? 0 : product;
    if (empty) t->bytes = 0;
    return true;
}

typedef struct reader {
    kq_safetensors *s;
    const char *path;
    const uint8_t *data; /* of the tensors */
    uint64_t begin, size; /* where it begins in the file, and its bytes */
    size_t first;        /* of this file's tensors */
    kq_error *err;
} reader;

/* jansson keeps no offsets: what a tensor's entry says is named by the tensor. */
#define REFUSE(r, status, ...) kq_fail_at((r)->err, (status), (r)->path, KQ_NO_OFFSET, __VA_ARGS__)

/* ---- one tensor --------------------------------------------------------------------------------------------------- */

static kq_status check_members(reader *r, const char *shown, const json_t *entry) {
    static const char *const members[] = {"dtype", "shape", "data_offsets"};
    if (!json_is_object(entry)) return REFUSE(r, KQ_E_FORMAT, "tensor '%s': its entry is no object", shown);
    for (size_t i = 0; i < KQ_COUNT(members); i++) {
        if (!json_object_get(entry, members[i])) return REFUSE(r, KQ_E_FORMAT, "tensor '%s': its entry has no '%s'", shown, members[i]);
    }
    if (json_object_size(entry) != KQ_COUNT(members)) {
        return REFUSE(r, KQ_E_FORMAT, "tensor '%s': its entry has %zu members, must be dtype, shape and data_offsets", shown,
                      json_object_size(entry));
    }
    return KQ_OK;
}

static kq_status read_shape(reader *r, const char *shown, const json_t *shape, kq_safetensors_tensor *t) {
    if (!json_is_array(shape)) return REFUSE(r, KQ_E_FORMAT, "tensor '%s': its shape is no array", shown);
    size_t n = json_array_size(shape);
    if (n > KQ_SAFETENSORS_MAX_DIMS) {
        return REFUSE(r, KQ_E_LIMIT, "tensor '%s': its shape has %zu dims, the limit is %d", shown, n, KQ_SAFETENSORS_MAX_DIMS);
    }
    t->n_dims = (uint32_t)n;
    for (uint32_t d = 0; d < t->n_dims; d++) {
        if (!kq_json_u64(json_array_get(shape, d), &t->dims[d])) {
            return REFUSE(r, KQ_E_FORMAT, "tensor '%s': dim %u is no integer from 0 to 2^63 - 1", shown, d);
        }
    }
    if (!kq_safetensors_measure(t)) return REFUSE(r, KQ_E_FORMAT, "tensor '%s': its shape takes 2^64 bytes or more", shown);
    return KQ_OK;
}

static kq_status read_offsets(reader *r, const char *shown, const json_t *offsets, kq_safetensors_tensor *t) {
    uint64_t begin, end;
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 || !kq_json_u64(json_array_get(offsets, 0), &begin) ||
        !kq_json_u64(json_array_get(offsets, 1), &end)) {
        return REFUSE(r, KQ_E_FORMAT, "tensor '%s': its data_offsets are not two integers from 0 to 2^63 - 1", shown);
    }
    if (end < begin) {
        return REFUSE(r, KQ_E_FORMAT, "tensor '%s': its data ends at %llu, before it begins at %llu", shown, (ull)end, (ull)begin);
    }
    if (end - begin != t->bytes) {
        return REFUSE(r, KQ_E_FORMAT, "tensor '%s': its shape and %s take %llu bytes, its data_offsets leave %llu", shown,
                      dtypes[t->dtype].name, (ull)t->bytes, (ull)(end - begin));
    }
    if (end > r->size) {
        return REFUSE(r, KQ_E_FORMAT, "tensor '%s': its data ends at %llu, the file has %llu bytes of data", shown, (ull)end, (ull)r->size);
    }
    t->offset = begin; /* absolute when all are in order */
    return KQ_OK;
}

static kq_status read_tensor(reader *r, const char *name, const json_t *entry) {
    kq_safetensors *s = r->s;
    size_t size = strlen(name);
    kq_shown shown = kq_show(name, size);
    if (size < 1) return REFUSE(r, KQ_E_FORMAT, "a tensor's name is empty");
    if (size > KQ_SAFETENSORS_MAX_NAME) {
        return REFUSE(r, KQ_E_LIMIT, "tensor '%s': its name has %zu bytes, the limit is %d", shown.text, size, KQ_SAFETENSORS_MAX_NAME);
    }
    if (s->n_tensors == KQ_SAFETENSORS_MAX_TENSORS) {
        return REFUSE(r, KQ_E_LIMIT, "tensor '%s': the limit is %d tensors", shown.text, KQ_SAFETENSORS_MAX_TENSORS);
    }
    kq_safetensors_tensor t = {.shard = (uint32_t)s->n_shards - 1};
    KQ_TRY(check_members(r, shown.text, entry));
    const json_t *dtype = json_object_get(entry, "dtype");
    if (!json_is_string(dtype)) return REFUSE(r, KQ_E_FORMAT, "tensor '%s': its dtype is no string", shown.text);
    const kq_dtype_info *info = kq_dtype_find(json_string_value(dtype));
    if (!info) {
        return REFUSE(r, KQ_E_UNSUPPORTED, "tensor '%s': its dtype is '%s', which is none that is known", shown.text,
                      kq_show(json_string_value(dtype), json_string_length(dtype)).text);
    }
    t.dtype = info->dtype;
    KQ_TRY(read_shape(r, shown.text, json_object_get(entry, "shape"), &t));
    KQ_TRY(read_offsets(r, shown.text, json_object_get(entry, "data_offsets"), &t));
    t.name = (kq_string){.data = kq_arena_string(&s->arena, name, size), .size = size};
    if (!t.name.data || !kq_grow(&s->allocator, &s->tensors, &s->tensors_capacity, s->n_tensors + 1, sizeof *s->tensors)) {
        return kq_fail_memory(r->err, sizeof t, "the tensors of a file");
    }
    s->tensors[s->n_tensors++] = t;
    return KQ_OK;
}

/* ---- all of them -------------------------------------------------------------------------------------------------- */

static bool before(const void *ctx, uint32_t a, uint32_t b) {
    const kq_safetensors_tensor *t = ctx;
    if (t[a].offset != t[b].offset) return t[a].offset < t[b].offset;
    if (t[a].bytes != t[b].bytes) return t[a].bytes < t[b].bytes; /* those without data first */
    return a < b;
}

static kq_status sort_tensors(reader *r) {
    kq_safetensors *s = r->s;
    size_t n = s->n_tensors - r->first, i = 1;
    if (n == 0) return KQ_OK; /* s->tensors may be NULL, to which not even 0 may be added */
    kq_safetensors_tensor *mine = s->tensors + r->first;
    while (i < n && before(mine, (uint32_t)i - 1, (uint32_t)i)) i++;
    if (i >= n) return KQ_OK; /* as every writer leaves them */
    uint32_t *order = kq_alloc(&s->allocator, n, sizeof *order);
    kq_safetensors_tensor *copy = kq_alloc_raw(&s->allocator, n, sizeof *copy);
    if (order && copy) {
        for (i = 0; i < n; i++) order[i] = (uint32_t)i;
        kq_sort_indices(order, n, before, mine);
        for (i = 0; i < n; i++) copy[i] = mine[order[i]];
        memcpy(mine, copy, n * sizeof *copy);
    }
    bool failed = !order || !copy;
    kq_free(&s->allocator, order);
    kq_free(&s->allocator, copy);
    return failed ? kq_fail_memory(r->err, n * (sizeof *order + sizeof *copy), "the order of tensors") : KQ_OK;
}

/* The tensors cover the data exactly. */
static kq_status place_tensors(reader *r) {
    kq_safetensors *s = r->s;
    uint64_t end = 0;
    for (size_t i = r->first; i < s->n_tensors; i++) {
        kq_safetensors_tensor *t = &s->tensors[i];
        if (t->offset < end) {
            return REFUSE(r, KQ_E_FORMAT, "tensor '%s' begins at %llu, inside tensor '%s', which ends at %llu", KQ_SHOW(t->name),
                          (ull)t->offset, KQ_SHOW(s->tensors[i - 1].name), (ull)end);
        }
        if (t->offset > end) {
            return REFUSE(r, KQ_E_FORMAT, "tensor '%s' begins at %llu, but the data before it ends at %llu", KQ_SHOW(t->name),
                          (ull)t->offset, (ull)end);
        }
        end += t->bytes; /* at most r->size */
        t->data = r->data ? r->data + t->offset : NULL;
        t->offset += r->begin;
    }
    if (end != r->size) {
        return kq_fail_at(r->err, KQ_E_FORMAT, r->path, r->begin + end, "%llu bytes lie behind the last tensor, must be none",
                          (ull)(r->size - end));
    }
    return KQ_OK;
}

static kq_status name_tensors(reader *r) {
    kq_safetensors *s = r->s;
    for (size_t i = r->first; i < s->n_tensors; i++) {
        const kq_safetensors_tensor *t = &s->tensors[i];
        uint32_t other = 0;
        bool failed = false;
        if (kq_strmap_add(&s->names, t->name.data, t->name.size, (uint32_t)i, &other, &failed)) continue;
        if (failed) return kq_fail_memory(r->err, sizeof *s->names.slots, "a tensor's name");
        return REFUSE(r, KQ_E_FORMAT, "tensor '%s' is already in '%s'", KQ_SHOW(t->name), s->shards[s->tensors[other].shard].path);
    }
    return KQ_OK;
}

static kq_status read_metadata(reader *r, json_t *metadata) {
    kq_safetensors *s = r->s;
    const char *key;
    json_t *value;
    if (!json_is_object(metadata)) return REFUSE(r, KQ_E_FORMAT, "__metadata__ is no object");
    kq_safetensors_pair *pairs = kq_arena_alloc(&s->arena, json_object_size(metadata) + 1, sizeof *pairs);
    if (!pairs) return kq_fail_memory(r->err, json_object_size(metadata) * sizeof *pairs, "metadata");
    size_t n = 0;
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value)) return REFUSE(r, KQ_E_FORMAT, "__metadata__: '%s' is no string", kq_show(key, strlen(key)).text);
        pairs[n].key = kq_arena_string(&s->arena, key, strlen(key));
        pairs[n].value = kq_arena_string(&s->arena, json_string_value(value), json_string_length(value));
        if (!pairs[n].key || !pairs[n].value) return kq_fail_memory(r->err, json_string_length(value), "metadata");
        n++;
    }
    if (s->n_shards == 1) {
        s->pairs = pairs;
        s->n_pairs = n;
    }
    return KQ_OK;
}

static kq_status read_entries(reader *r, json_t *header) {
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry) {
        KQ_TRY(strcmp(name, "__metadata__") == 0 ? read_metadata(r, entry) : read_tensor(r, name, entry));
    }
    KQ_TRY(sort_tensors(r));
    KQ_TRY(place_tensors(r));
    return name_tensors(r);
}

static kq_status read_file(reader *r, const uint8_t *data, uint64_t size) {
    if (size < 8) return kq_fail_at(r->err, KQ_E_FORMAT, r->path, 0, "the file has %llu bytes, a safetensors header takes 8", (ull)size);
    uint64_t length = kq_load_u64(data);
    if (length > size - 8) {
        return kq_fail_at(r->err, KQ_E_FORMAT, r->path, 0, "its header has %llu bytes, but the file has only %llu more", (ull)length,
                          (ull)(size - 8));
    }
    if (length > KQ_SAFETENSORS_MAX_HEADER) {
        return kq_fail_at(r->err, KQ_E_LIMIT, r->path, 0, "its header has %llu bytes, the limit is %d", (ull)length, KQ_SAFETENSORS_MAX_HEADER);
    }
    if (length < 1 || data[8] != '{') {
        return kq_fail_at(r->err, KQ_E_FORMAT, r->path, 8, "its header begins with '%s', must be '{'",
                          kq_show((const char *)data + 8, (size_t)KQ_MIN(length, 4u)).text);
    }
    json_t *header;
    KQ_TRY(kq_json_parse(&header, data + 8, length, header_limits, r->path, 8, r->err));
    r->begin = 8 + length;
    r->size = size - r->begin;
    r->data = data + r->begin;
    kq_status status = read_entries(r, header);
    json_decref(header);
    return status;
}

kq_status kq_safetensors_read(kq_safetensors *s, const char *path, kq_map *map, const uint8_t *data, uint64_t size, kq_error *err) {
    char *copy = kq_arena_string(&s->arena, path, strlen(path));
    if (!copy || !kq_grow(&s->allocator, &s->shards, &s->shards_capacity, s->n_shards + 1, sizeof *s->shards)) {
        kq_map_close(map);
        return kq_fail_memory(err, strlen(path) + sizeof *s->shards, "an open safetensors file");
    }
    s->shards[s->n_shards++] = (kq_safetensors_shard){.path = copy, .map = *map, .size = size};
    reader r = {.s = s, .path = copy, .first = s->n_tensors, .err = err};
    return read_file(&r, data, size);
}
