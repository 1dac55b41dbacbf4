/* SPDX-License-Identifier: MIT */
/* Opens safetensors: one file, bytes in memory, or all the shards that an index names:
 *
 *   { "metadata": {...}, "weight_map": { "TENSOR": "NAME-00001-of-00002.safetensors", ... } }
 *
 * The index is as hostile as the files: it may name only files of its own folder, and it and the shards must tell the same. */
#include "file/json.h"
#include "file/safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

typedef unsigned long long ull; /* for printf */

static const kq_json_limits index_limits = {.depth = KQ_SAFETENSORS_MAX_DEPTH, .values = 2ull * KQ_SAFETENSORS_MAX_TENSORS};

bool kq_ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && memcmp(text + n - m, end, m) == 0;
}

/* ---- the files of a folder ------------------------------------------------------------------------------------------ */

/* STEM-ddddd-of-ddddd.safetensors */
static bool is_shard_name(const char *name, const char *stem, size_t stem_size) {
    static const char pattern[] = "-ddddd-of-ddddd" KQ_SAFETENSORS_SUFFIX;
    if (strlen(name) != stem_size + sizeof pattern - 1 || memcmp(name, stem, stem_size) != 0) return false;
    name += stem_size;
    for (size_t i = 0; pattern[i]; i++) {
        bool digit = i < 15 && pattern[i] == 'd'; /* not the d of a suffix */
        if (digit ? name[i] < '0' || name[i] > '9' : name[i] != pattern[i]) return false;
    }
    return true;
}

kq_status kq_safetensors_stray(const char *folder, const char *stem, size_t stem_size, const kq_strmap *known, char found[256], kq_error *err) {
    found[0] = 0;
    DIR *d = opendir(folder);
    if (!d) return kq_fail_at(err, KQ_E_IO, folder, KQ_NO_OFFSET, "cannot list: %s", strerror(errno));
    uint32_t at;
    for (const struct dirent *e; (e = readdir(d));) {
        if (!is_shard_name(e->d_name, stem, stem_size) || kq_strmap_find(known, e->d_name, strlen(e->d_name), &at)) continue;
        if (!found[0] || strcmp(e->d_name, found) < 0) snprintf(found, 256, "%s", e->d_name); /* the first by name, every time */
    }
    closedir(d);
    return KQ_OK;
}

/* ---- an index ------------------------------------------------------------------------------------------------------- */

typedef struct indexed {
    kq_safetensors *s;
    const char *path;   /* of the index */
    size_t folder_size; /* of path, the slash included */
    json_t *map;        /* weight_map */
    kq_strmap shards;   /* names to indices of `files` */
    const char **files; /* borrowed from map */
    size_t n_files, files_capacity;
    kq_error *err;
} indexed;

#define REFUSE(x, status, ...) kq_fail_at((x)->err, (status), (x)->path, KQ_NO_OFFSET, __VA_ARGS__)

static kq_status check_shard_name(indexed *x, const char *name, size_t size) {
    if (size < sizeof KQ_SAFETENSORS_SUFFIX || size > 255 || strlen(name) != size || strchr(name, '/') || strchr(name, '\\') ||
        strstr(name, "..") || !kq_ends_with(name, KQ_SAFETENSORS_SUFFIX)) {
        return REFUSE(x, KQ_E_FORMAT, "shard '%s': must be the name of a .safetensors file beside the index", kq_show(name, size).text);
    }
    return KQ_OK;
}

/* The different files of the map, and each name checked. */
static kq_status list_files(indexed *x) {
    const char *tensor;
    json_t *file;
    json_object_foreach(x->map, tensor, file) {
        if (!json_is_string(file)) {
            return REFUSE(x, KQ_E_FORMAT, "tensor '%s': its file in the index is no string", kq_show(tensor, strlen(tensor)).text);
        }
        const char *name = json_string_value(file);
        uint32_t old;
        bool failed = false;
        KQ_TRY(check_shard_name(x, name, json_string_length(file)));
        if (!kq_strmap_add(&x->shards, name, strlen(name), (uint32_t)x->n_files, &old, &failed)) {
            if (failed) return kq_fail_memory(x->err, sizeof *x->shards.slots, "the shards of a model");
            continue;
        }
        if (x->n_files == KQ_SAFETENSORS_MAX_SHARDS) {
            return REFUSE(x, KQ_E_LIMIT, "the index names more than %d shards, which is the limit", KQ_SAFETENSORS_MAX_SHARDS);
        }
        if (!kq_grow(&x->s->allocator, &x->files, &x->files_capacity, x->n_files + 1, sizeof *x->files)) {
            return kq_fail_memory(x->err, sizeof *x->files, "the shards of a model");
        }
        x->files[x->n_files++] = name;
    }
    return x->n_files ? KQ_OK : REFUSE(x, KQ_E_FORMAT, "its weight_map is empty");
}

static bool name_before(const void *ctx, uint32_t a, uint32_t b) {
    const char *const *files = ctx;
    return strcmp(files[a], files[b]) < 0;
}

/* DIRECTORY of the index / name, in the arena; NULL when memory fails. */
static char *beside(indexed *x, const char *name) {
    char *path = kq_arena_alloc(&x->s->arena, x->folder_size + strlen(name) + 1, 1);
    if (path) {
        memcpy(path, x->path, x->folder_size);
        memcpy(path + x->folder_size, name, strlen(name));
    }
    return path;
}

static kq_status open_file(kq_safetensors *s, const char *path, kq_error *err) {
    kq_map map;
    KQ_TRY(kq_map_open(&map, path, err));
    return kq_safetensors_read(s, path, &map, map.data, map.size, err);
}

static kq_status open_shards(indexed *x) {
    uint32_t *order = kq_alloc(&x->s->allocator, x->n_files, sizeof *order);
    if (!order) return kq_fail_memory(x->err, x->n_files * sizeof *order, "the order of shards");
    for (size_t i = 0; i < x->n_files; i++) order[i] = (uint32_t)i;
    kq_sort_indices(order, x->n_files, name_before, x->files);
    kq_status status = KQ_OK;
    for (size_t i = 0; i < x->n_files && !status; i++) {
        const char *path = beside(x, x->files[order[i]]);
        if (!path) status = kq_fail_memory(x->err, x->folder_size, "a path");
        else if (access(path, F_OK)) status = kq_fail_at(x->err, KQ_E_FORMAT, path, KQ_NO_OFFSET, "it is missing, and the index names it");
        else status = open_file(x->s, path, x->err);
    }
    kq_free(&x->s->allocator, order);
    return status;
}

static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Index and shards tell the same. */
static kq_status compare(indexed *x) {
    kq_safetensors *s = x->s;
    const char *name;
    json_t *file;
    for (size_t i = 0; i < s->n_tensors; i++) {
        const kq_safetensors_tensor *t = &s->tensors[i];
        const char *in = s->shards[t->shard].path;
        const json_t *said = json_object_get(x->map, t->name.data);
        if (!said) return REFUSE(x, KQ_E_FORMAT, "tensor '%s' of '%s' is not in the index", KQ_SHOW(t->name), file_name(in));
        if (strcmp(json_string_value(said), file_name(in)) != 0) {
            return REFUSE(x, KQ_E_FORMAT, "tensor '%s' is in '%s', the index says '%s'", KQ_SHOW(t->name), file_name(in),
                          json_string_value(said));
        }
    }
    json_object_foreach(x->map, name, file) {
        if (kq_safetensors_tensor_find(s, name)) continue;
        return REFUSE(x, KQ_E_FORMAT, "tensor '%s' is not in '%s', where the index says it is", kq_show(name, strlen(name)).text,
                      json_string_value(file));
    }
    return KQ_OK;
}

static kq_status refuse_strays(indexed *x) {
    const char *name = x->path + x->folder_size;
    if (!kq_ends_with(name, KQ_SAFETENSORS_INDEX)) return KQ_OK;
    char found[256], *folder = x->folder_size ? kq_arena_string(&x->s->arena, x->path, x->folder_size) : kq_arena_string(&x->s->arena, ".", 1);
    if (!folder) return kq_fail_memory(x->err, x->folder_size, "a path");
    KQ_TRY(kq_safetensors_stray(folder, name, strlen(name) - strlen(KQ_SAFETENSORS_INDEX), &x->shards, found, x->err));
    if (!found[0]) return KQ_OK;
    return REFUSE(x, KQ_E_FORMAT, "'%s' lies beside it, a shard that the index does not name", found);
}

static kq_status open_index(kq_safetensors *s, const char *path, kq_error *err) {
    indexed x = {.s = s, .path = path, .folder_size = (size_t)(file_name(path) - path), .err = err};
    json_t *root;
    KQ_TRY(kq_json_read(&root, path, KQ_SAFETENSORS_MAX_HEADER, index_limits, err));
    x.map = json_object_get(root, "weight_map");
    kq_status status = KQ_OK;
    if (!json_is_object(x.map)) status = REFUSE(&x, KQ_E_FORMAT, "it is no index of shards: it has no object 'weight_map'");
    else if (json_object_size(x.map) > KQ_SAFETENSORS_MAX_TENSORS) {
        status = REFUSE(&x, KQ_E_LIMIT, "the index has %zu tensors, the limit is %d", json_object_size(x.map), KQ_SAFETENSORS_MAX_TENSORS);
    }
    if (!status && !kq_strmap_init(&x.shards, &s->allocator, 16)) status = kq_fail_memory(err, 16 * sizeof *x.shards.slots, "shards");
    if (!status) status = list_files(&x);
    if (!status) status = refuse_strays(&x);
    if (!status) status = open_shards(&x);
    if (!status) status = compare(&x);
    kq_strmap_free(&x.shards);
    kq_free(&s->allocator, x.files);
    json_decref(root);
    return status;
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static kq_status open_folder(kq_safetensors *s, const char *path, kq_error *err) {
    static const char single[] = "model" KQ_SAFETENSORS_SUFFIX, index[] = "model" KQ_SAFETENSORS_INDEX;
    size_t size = strlen(path) + 1 + sizeof index;
    char *one = kq_arena_alloc(&s->arena, size, 1), *several = kq_arena_alloc(&s->arena, size, 1);
    if (!one || !several) return kq_fail_memory(err, size, "a path");
    const char *slash = kq_ends_with(path, "/") ? "" : "/";
    snprintf(one, size, "%s%s%s", path, slash, single);
    snprintf(several, size, "%s%s%s", path, slash, index);
    bool has_one = access(one, F_OK) == 0, has_several = access(several, F_OK) == 0;
    if (!has_one && !has_several) {
        return kq_fail_at(err, KQ_E_IO, path, KQ_NO_OFFSET, "the folder holds neither %s nor %s", single, index);
    }
    if (!has_several) return open_file(s, one, err);
    KQ_TRY(open_index(s, several, err));
    if (!has_one || kq_safetensors_is_file(s, one)) return KQ_OK; /* mlx-lm writes an index for a single file too */
    return kq_fail_at(err, KQ_E_FORMAT, path, KQ_NO_OFFSET, "the folder holds both %s and %s, which does not name it: name one of them", single, index);
}

static kq_status create(kq_safetensors **out, const kq_safetensors_options *options, kq_error *err) {
    kq_safetensors_options o;
    kq_options_read(&o, sizeof o, options);
    kq_allocator a = kq_allocator_of(o.allocator);
    kq_safetensors *s = kq_alloc(&a, 1, sizeof *s);
    if (!s) return kq_fail_memory(err, sizeof *s, "an open safetensors file");
    s->allocator = a;
    kq_arena_init(&s->arena, &a);
    if (!kq_strmap_init(&s->names, &a, 16)) {
        kq_safetensors_close(s);
        return kq_fail_memory(err, 16 * sizeof *s->names.slots, "an open safetensors file");
    }
    *out = s;
    return KQ_OK;
}

static kq_status settle(kq_safetensors **out, kq_status status) {
    if (!status) return KQ_OK;
    kq_safetensors_close(*out);
    *out = NULL;
    return status;
}

kq_status kq_safetensors_open(kq_safetensors **out, const char *path, const kq_safetensors_options *options, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "kq_safetensors_open: out is NULL");
    *out = NULL;
    if (!path) return kq_fail(err, KQ_E_ARGUMENT, "kq_safetensors_open: path is NULL");
    KQ_TRY(create(out, options, err));
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return settle(out, open_folder(*out, path, err));
    return settle(out, kq_ends_with(path, ".index.json") ? open_index(*out, path, err) : open_file(*out, path, err));
}

kq_status kq_safetensors_open_memory(kq_safetensors **out, const void *data, size_t size, const char *name,
                                     const kq_safetensors_options *options, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "kq_safetensors_open_memory: out is NULL");
    *out = NULL;
    if (!data && size) return kq_fail(err, KQ_E_ARGUMENT, "kq_safetensors_open_memory: data is NULL and size is %zu", size);
    KQ_TRY(create(out, options, err));
    kq_map none = {0};
    return settle(out, kq_safetensors_read(*out, name ? name : "(memory)", &none, data, size, err));
}

void kq_safetensors_close(kq_safetensors *s) {
    if (!s) return;
    kq_allocator a = s->allocator;
    for (size_t i = 0; i < s->n_shards; i++) kq_map_close(&s->shards[i].map);
    kq_strmap_free(&s->names);
    kq_free(&a, s->shards);
    kq_free(&a, s->tensors);
    kq_arena_free(&s->arena);
    kq_free(&a, s);
}

/* ---- asking ------------------------------------------------------------------------------------------------------- */

size_t kq_safetensors_n_shards(const kq_safetensors *s) { return s->n_shards; }
const char *kq_safetensors_shard_path(const kq_safetensors *s, size_t i) { return i < s->n_shards ? s->shards[i].path : NULL; }

uint64_t kq_safetensors_file_bytes(const kq_safetensors *s) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < s->n_shards; i++) bytes += s->shards[i].size;
    return bytes;
}

bool kq_safetensors_is_file(const kq_safetensors *s, const char *path) {
    for (size_t i = 0; i < s->n_shards; i++) {
        if (kq_map_is(&s->shards[i].map, path)) return true;
    }
    return false;
}

size_t kq_safetensors_n_tensors(const kq_safetensors *s) { return s->n_tensors; }

const kq_safetensors_tensor *kq_safetensors_tensor_at(const kq_safetensors *s, size_t i) {
    return i < s->n_tensors ? &s->tensors[i] : NULL;
}

const kq_safetensors_tensor *kq_safetensors_tensor_find(const kq_safetensors *s, const char *name) {
    uint32_t at;
    return name && kq_strmap_find(&s->names, name, strlen(name), &at) ? &s->tensors[at] : NULL;
}

bool kq_safetensors_metadata_at(const kq_safetensors *s, size_t i, const char **key, const char **value) {
    if (i >= s->n_pairs) return false;
    *key = s->pairs[i].key;
    *value = s->pairs[i].value;
    return true;
}

uint64_t kq_safetensors_stamp(const kq_safetensors *s) {
    uint64_t stamp = 0;
    for (size_t i = 0; i < s->n_shards; i++) stamp = kq_map_stamp(&s->shards[i].map, stamp);
    return stamp;
}

void kq_safetensors_release(const kq_safetensors *s) {
    for (size_t i = 0; i < s->n_shards; i++) kq_map_release(&s->shards[i].map, 0, s->shards[i].map.size);
}
