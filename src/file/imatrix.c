/* SPDX-License-Identifier: MIT */
/* Importance matrices in memory: made, asked, and read from both forms. The old form, little-endian:
 *   i32 n   n x { i32 length, name, i32 count, i32 n_values, f32 values[n_values] }   then nothing, or i32 chunks, i32 length, dataset
 * Source of both forms: llama.cpp's llama-imatrix. */
#include "file/imatrix.h"

#include <math.h>

typedef unsigned long long ull; /* for printf */

enum { MIN_DAT_ENTRY = 4 + 1 + 4 + 4 + 4 };

kq_status kq_imatrix_create(kq_imatrix **out, const kq_imatrix_options *options, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "kq_imatrix_create: out is NULL");
    *out = NULL;
    kq_imatrix_options o;
    kq_options_read(&o, sizeof o, options);
    kq_allocator a = kq_allocator_of(o.allocator);
    kq_imatrix *im = kq_alloc(&a, 1, sizeof *im);
    if (!im) return kq_fail_memory(err, sizeof *im, "an importance matrix");
    im->allocator = a;
    kq_arena_init(&im->arena, &a);
    if (!kq_strmap_init(&im->names, &a, 64)) {
        kq_imatrix_close(im);
        return kq_fail_memory(err, 64 * sizeof *im->names.slots, "an importance matrix");
    }
    *out = im;
    return KQ_OK;
}

void kq_imatrix_close(kq_imatrix *im) {
    if (!im) return;
    kq_allocator a = im->allocator;
    kq_strmap_free(&im->names);
    kq_free(&a, im->entries);
    kq_free(&a, (void *)im->datasets);
    kq_arena_free(&im->arena);
    kq_free(&a, im);
}

/* ---- asking ------------------------------------------------------------------------------------------------------- */

kq_imatrix_form kq_imatrix_form_of(const kq_imatrix *im) { return im->form; }
size_t kq_imatrix_n_entries(const kq_imatrix *im) { return im->n_entries; }
const kq_imatrix_entry *kq_imatrix_entry_at(const kq_imatrix *im, size_t i) { return i < im->n_entries ? &im->entries[i] : NULL; }
const char *kq_imatrix_dataset_at(const kq_imatrix *im, size_t i) { return i < im->n_datasets ? im->datasets[i] : NULL; }

const kq_imatrix_entry *kq_imatrix_find(const kq_imatrix *im, const char *tensor) {
    uint32_t at;
    return tensor && kq_strmap_find(&im->names, tensor, strlen(tensor), &at) ? &im->entries[at] : NULL;
}

uint32_t kq_imatrix_chunks(const kq_imatrix *im, uint32_t *chunk_size) {
    if (chunk_size) *chunk_size = im->chunk_size;
    return im->chunks;
}

/* The count as it is used: a whole number. In the old form 0 means that the values are means already. */
static float divisor(const kq_imatrix *im, const kq_imatrix_entry *e, uint64_t group) {
    float n = rintf(e->counts[group]);
    return im->form == KQ_IMATRIX_DAT && n == 0 ? 1 : n;
}

static bool find_fault(const kq_imatrix *im, const kq_imatrix_entry *e, uint64_t group, kq_imatrix_fault *fault) {
    const float *sums = e->sums + group * e->columns;
    bool finite = isfinite(e->counts[group]), negative = e->counts[group] < 0;
    for (uint64_t i = 0; i < e->columns && finite; i++) {
        finite = isfinite(sums[i]);
        negative = negative || sums[i] < 0;
    }
    *fault = !finite ? KQ_IMATRIX_NOT_FINITE : negative ? KQ_IMATRIX_NEGATIVE : KQ_IMATRIX_NEVER_HIT;
    return !finite || negative || divisor(im, e, group) <= 0;
}

bool kq_imatrix_next_issue(const kq_imatrix *im, uint64_t *at, kq_imatrix_issue *out) {
    uint64_t i = 0; /* *at counts groups over all entries */
    for (size_t k = 0; k < im->n_entries; k++) {
        const kq_imatrix_entry *e = &im->entries[k];
        for (uint64_t group = *at > i ? *at - i : 0; group < e->groups; group++) {
            kq_imatrix_fault fault;
            if (!find_fault(im, e, group, &fault)) continue;
            *out = (kq_imatrix_issue){.entry = e, .group = group, .fault = fault};
            *at = i + group + 1;
            return true;
        }
        i += e->groups;
    }
    return false;
}

kq_status kq_imatrix_weights(const kq_imatrix *im, const char *tensor, uint64_t columns, uint64_t groups, float *out, bool *found,
                             kq_error *err) {
    const kq_imatrix_entry *e = kq_imatrix_find(im, tensor);
    *found = e != NULL;
    if (!e) return KQ_OK;
    uint64_t want, has = e->columns * e->groups; /* both lie in memory */
    bool fits = kq_mul(columns, groups, &want) && want == has && (e->groups == 1 || e->groups == groups);
    if (!fits) {
        return kq_fail(err, KQ_E_MODEL, "tensor '%s' has %llu x %llu columns, its importances are for %llu x %llu", KQ_SHOW(e->name),
                       (ull)groups, (ull)columns, (ull)e->groups, (ull)e->columns);
    }
    for (uint64_t group = 0; out && group < e->groups; group++) {
        kq_imatrix_fault fault;
        bool bad = find_fault(im, e, group, &fault);
        float n = divisor(im, e, group);
        for (uint64_t i = group * e->columns; i < (group + 1) * e->columns; i++) out[i] = bad ? 1 : e->sums[i] / n;
    }
    return KQ_OK;
}

/* ---- making ------------------------------------------------------------------------------------------------------- */

/* A new entry with zeroed values, whose bytes the caller knows to be there. */
static kq_status add_entry(kq_imatrix *im, const char *name, size_t size, uint64_t columns, uint64_t groups, float **sums, float **counts,
                           kq_error *err) {
    uint64_t n, bytes;
    if (!kq_mul(columns, groups, &n) || !kq_mul(n, sizeof **sums, &bytes)) return kq_fail_memory(err, UINT64_MAX, "importances");
    *sums = kq_arena_alloc(&im->arena, n, sizeof **sums);
    *counts = kq_arena_alloc(&im->arena, groups, sizeof **counts);
    const char *copy = kq_arena_string(&im->arena, name, size);
    bool failed = !*sums || !*counts || !copy ||
                  !kq_grow(&im->allocator, &im->entries, &im->entries_capacity, im->n_entries + 1, sizeof *im->entries);
    if (!failed && !kq_strmap_add(&im->names, copy, size, (uint32_t)im->n_entries, NULL, &failed) && !failed) {
        return kq_fail(err, KQ_E_FORMAT, "entry '%s' is there twice", kq_show(name, size).text);
    }
    if (failed) return kq_fail_memory(err, bytes, "importances");
    im->entries[im->n_entries++] = (kq_imatrix_entry){.name = {copy, size}, .columns = columns, .groups = groups, .sums = *sums, .counts = *counts};
    return KQ_OK;
}

kq_status kq_imatrix_add(kq_imatrix *im, const char *tensor, uint64_t columns, uint64_t groups, const float *sums, const float *counts,
                         kq_error *err) {
    size_t size = tensor ? strlen(tensor) : 0;
    if (size < 1 || size > KQ_GGUF_MAX_NAME - 8 || !columns || !groups || !sums || !counts) { /* the suffix ".in_sum2" is a name too */
        return kq_fail(err, KQ_E_ARGUMENT, "importances '%s': %llu x %llu, a name of 1 to %d bytes, and values are needed",
                       kq_show(tensor, size).text, (ull)groups, (ull)columns, KQ_GGUF_MAX_NAME - 8);
    }
    const kq_imatrix_entry *e = kq_imatrix_find(im, tensor);
    float *s, *c;
    if (e && (e->columns != columns || e->groups != groups)) {
        return kq_fail(err, KQ_E_ARGUMENT, "importances '%s' are %llu x %llu, not %llu x %llu", kq_show(tensor, size).text, (ull)e->groups,
                       (ull)e->columns, (ull)groups, (ull)columns);
    }
    if (e) {
        s = (float *)(uintptr_t)e->sums; /* our own arena's */
        c = (float *)(uintptr_t)e->counts;
    } else {
        KQ_TRY(add_entry(im, tensor, size, columns, groups, &s, &c, err));
    }
    for (uint64_t i = 0; i < columns * groups; i++) s[i] += sums[i];
    for (uint64_t i = 0; i < groups; i++) c[i] += counts[i];
    return KQ_OK;
}

static kq_status add_dataset(kq_imatrix *im, const char *name, size_t size, kq_error *err) {
    const char *copy = kq_arena_string(&im->arena, name, size);
    if (!copy || !kq_grow(&im->allocator, &im->datasets, &im->datasets_capacity, im->n_datasets + 1, sizeof *im->datasets)) {
        return kq_fail_memory(err, size, "the name of a dataset");
    }
    im->datasets[im->n_datasets++] = copy;
    return KQ_OK;
}
kq_status kq_imatrix_add_dataset(kq_imatrix *im, const char *name, kq_error *err) {
    if (!name) return kq_fail(err, KQ_E_ARGUMENT, "kq_imatrix_add_dataset: name is NULL");
    return add_dataset(im, name, strlen(name), err);
}

void kq_imatrix_set_chunks(kq_imatrix *im, uint32_t chunks, uint32_t chunk_size) {
    im->chunks = chunks;
    im->chunk_size = chunk_size;
}

/* ---- the old form ------------------------------------------------------------------------------------------------- */

#define REFUSE(status, at, ...) kq_fail_at(err, (status), path, (at), __VA_ARGS__)

/* An i32 that is a length: not negative. */
static bool take_count(kq_cursor *c, uint32_t *out) { return kq_cursor_u32(c, out) && *out <= INT32_MAX; }

static kq_status read_dat_entry(kq_imatrix *im, kq_cursor *c, uint32_t i, uint32_t n, const char *path, kq_error *err) {
    uint64_t at = c->at;
    uint32_t size, calls, values;
    const uint8_t *name = NULL, *data = NULL;
    if (take_count(c, &size) && size >= 1 && size <= KQ_GGUF_MAX_NAME) name = kq_cursor_take(c, size);
    if (!name || memchr(name, 0, size)) {
        return REFUSE(KQ_E_FORMAT, at, "entry %u of %u: its name must have 1 to %d bytes, none of them 0", i + 1, n, KQ_GGUF_MAX_NAME);
    }
    kq_shown shown = kq_show((const char *)name, size);
    at = c->at;
    if (take_count(c, &calls) && take_count(c, &values) && values) data = kq_cursor_take(c, 4ull * values);
    if (!data) return REFUSE(KQ_E_FORMAT, at, "entry '%s': its count, or its values, are not there or negative", shown.text);
    float *sums, *counts;
    kq_status status = add_entry(im, (const char *)name, size, values, 1, &sums, &counts, err);
    if (status == KQ_E_FORMAT) return REFUSE(KQ_E_FORMAT, at, "entry '%s' is there twice", shown.text);
    KQ_TRY(status);
    memcpy(sums, data, 4ull * values);
    counts[0] = (float)calls;
    return KQ_OK;
}

static kq_status read_dat(kq_imatrix *im, const uint8_t *data, uint64_t size, const char *path, kq_error *err) {
    kq_cursor c = {.data = data, .size = size};
    uint32_t n, chunks, length;
    im->form = KQ_IMATRIX_DAT;
    if (!take_count(&c, &n) || !n || n > kq_cursor_left(&c) / MIN_DAT_ENTRY) {
        return REFUSE(KQ_E_FORMAT, 0, "it is no importance matrix: its number of entries does not fit its %llu bytes", (ull)size);
    }
    for (uint32_t i = 0; i < n; i++) KQ_TRY(read_dat_entry(im, &c, i, n, path, err));
    if (!kq_cursor_left(&c)) return KQ_OK;
    uint64_t at = c.at;
    const uint8_t *name = NULL;
    if (take_count(&c, &chunks) && take_count(&c, &length)) name = kq_cursor_take(&c, length);
    if (!name || kq_cursor_left(&c)) return REFUSE(KQ_E_FORMAT, at, "behind the entries must be nothing, or chunks and a dataset's name");
    im->chunks = chunks;
    return length ? add_dataset(im, (const char *)name, length, err) : KQ_OK;
}

/* ---- GGUF --------------------------------------------------------------------------------------------------------- */

static kq_status read_gguf_entry(kq_imatrix *im, const kq_gguf *g, const kq_gguf_tensor *t, const char *path, kq_error *err) {
    static const char sum[] = ".in_sum2", count[] = ".counts";
    enum { SUM = sizeof sum - 1, COUNT = sizeof count - 1 };
    char name[KQ_GGUF_MAX_NAME + COUNT + 1];
    bool is_sum = t->name.size > SUM && memcmp(t->name.data + t->name.size - SUM, sum, SUM) == 0;
    bool is_count = t->name.size > COUNT && memcmp(t->name.data + t->name.size - COUNT, count, COUNT) == 0;
    if (t->codec != KQ_F32 || (!is_sum && !is_count)) {
        return REFUSE(KQ_E_MODEL, t->offset, "tensor '%s' is no f32 %s or %s of an importance matrix", KQ_SHOW(t->name), sum, count);
    }
    size_t size = t->name.size - (is_sum ? (size_t)SUM : (size_t)COUNT);
    memcpy(name, t->name.data, size);
    memcpy(name + size, is_sum ? count : sum, is_sum ? sizeof count : sizeof sum);
    const kq_gguf_tensor *other = strlen(name) <= KQ_GGUF_MAX_NAME ? kq_gguf_tensor_find(g, name) : NULL;
    if (!other) return REFUSE(KQ_E_MODEL, t->offset, "tensor '%s' has no partner '%s'", KQ_SHOW(t->name), kq_show(name, strlen(name)).text);
    if (!is_sum) return KQ_OK; /* it is read with its sums */
    uint64_t groups = t->weights / t->dims[0];
    if (other->weights != groups || other->codec != KQ_F32) {
        return REFUSE(KQ_E_MODEL, other->offset, "tensor '%s' is %llu of %s, must be %llu of f32", KQ_SHOW(other->name), (ull)other->weights,
                      kq_codec_describe((uint32_t)other->codec)->name, (ull)groups);
    }
    float *sums, *counts;
    KQ_TRY(add_entry(im, name, size, t->dims[0], groups, &sums, &counts, err));
    memcpy(sums, t->data, (size_t)t->bytes);
    memcpy(counts, other->data, (size_t)other->bytes);
    return KQ_OK;
}

static kq_status read_gguf(kq_imatrix *im, const kq_gguf *g, const char *path, kq_error *err) {
    uint64_t chunks, chunk_size;
    const kq_gguf_value *datasets = kq_gguf_find(g, "imatrix.datasets");
    if (!datasets || datasets->element != KQ_GGUF_STRING) {
        return REFUSE(KQ_E_MODEL, KQ_NO_OFFSET, "key 'imatrix.datasets' is missing or no array of strings: it is no importance matrix");
    }
    KQ_TRY(kq_gguf_get_u64(g, "imatrix.chunk_count", 0, UINT32_MAX, &chunks, err));
    KQ_TRY(kq_gguf_get_u64(g, "imatrix.chunk_size", 0, UINT32_MAX, &chunk_size, err));
    kq_imatrix_set_chunks(im, (uint32_t)chunks, (uint32_t)chunk_size);
    kq_string name;
    for (kq_gguf_strings it = kq_gguf_strings_of(datasets); kq_gguf_strings_next(&it, &name);) {
        KQ_TRY(add_dataset(im, name.data, name.size, err));
    }
    for (size_t i = 0; i < kq_gguf_n_tensors(g); i++) KQ_TRY(read_gguf_entry(im, g, kq_gguf_tensor_at(g, i), path, err));
    return KQ_OK;
}

kq_status kq_imatrix_open_memory(kq_imatrix **out, const void *data, size_t size, const char *name, const kq_imatrix_options *options,
                                 kq_error *err) {
    if (!name) name = "(memory)";
    KQ_TRY(kq_imatrix_create(out, options, err));
    kq_imatrix *im = *out;
    kq_status status;
    if (size >= 4 && memcmp(data, "GGUF", 4) == 0) {
        kq_gguf *g;
        kq_gguf_options o = KQ_OPTIONS_INIT(kq_gguf_options);
        o.allocator = &im->allocator;
        status = kq_gguf_open_memory(&g, data, size, name, &o, err);
        if (!status) status = read_gguf(im, g, name, err);
        kq_gguf_close(g);
    } else {
        status = read_dat(im, data, size, name, err);
    }
    if (status) {
        kq_imatrix_close(im);
        *out = NULL;
    }
    return status;
}

kq_status kq_imatrix_open(kq_imatrix **out, const char *path, const kq_imatrix_options *options, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "kq_imatrix_open: out is NULL");
    *out = NULL;
    if (!path) return kq_fail(err, KQ_E_ARGUMENT, "kq_imatrix_open: path is NULL");
    kq_map map;
    KQ_TRY(kq_map_open(&map, path, err));
    kq_status status = kq_imatrix_open_memory(out, map.data, (size_t)map.size, path, options, err);
    kq_map_close(&map);
    return status;
}
