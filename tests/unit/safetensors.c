/* SPDX-License-Identifier: MIT */
/* Safetensors: what others wrote reads, every malformed file met is refused by name, what we write reads back the same. */
#include "folder.h"
#include "gguf_build.h"
#include "golden.h"
#include "meter.h"

#include "file/file.h"

#include <dirent.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static int make_folder(void **state) {
    (void)state;
    return folder_make(folder, "st");
}
static int remove_folder(void **state) {
    (void)state;
    return folder_remove(folder);
}
static int entries(void) {
    int n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    while (readdir(d)) n++;
    closedir(d);
    return n - 2;
}
static char *in(const char *name) {
    static char paths[4][256];
    static int next;
    char *p = paths[next++ % 4];
    snprintf(p, sizeof paths[0], "%s/%s", folder, name);
    return p;
}
static void put_file(const char *name, const char *header, size_t data) {
    bytes b = {0};
    put_u64(&b, strlen(header));
    put_raw(&b, header, strlen(header));
    put_zeros(&b, data);
    assert_int_equal(write_file(in(name), b.data, b.size), 0);
    bytes_free(&b);
}

/* ---- hostile files ------------------------------------------------------------------------------------------------ */

#define ONE "\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]"
static const struct { const char *header; size_t data; kq_status status; const char *says; } cases[] = {
    {"{\"a\":{" ONE "}}", 8, KQ_OK, ""},
    {"{\"a\":{" ONE "}}     ", 8, KQ_OK, ""},
    {"{}", 0, KQ_OK, ""},
    {"{\"__metadata__\":{\"k\":\"v\"}}", 0, KQ_OK, ""},
    {"{\"a\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]}}", 8, KQ_OK, ""},
    {"{\"b\":{" ONE "},\"a\":{\"dtype\":\"U8\",\"shape\":[0,3],\"data_offsets\":[0,0]}}", 8, KQ_OK, ""},
    {"{\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[8,11]},\"a\":{" ONE "}}", 11, KQ_OK, ""},
    {"[]", 0, KQ_E_FORMAT, "must be '{'"},
    {" {}", 0, KQ_E_FORMAT, "must be '{'"},
    {"{\"a\":{" ONE "}", 8, KQ_E_FORMAT, "no valid JSON"},
    {"{\"a\":{" ONE "}}x", 8, KQ_E_FORMAT, "no valid JSON"},
    {"{\"a\":{" ONE "},\"a\":{" ONE "}}", 8, KQ_E_FORMAT, "duplicate"},
    {"{\"a\":{" ONE ",\"dtype\":\"F32\"}}", 8, KQ_E_FORMAT, "duplicate"},
    {"{\"\xff\":{" ONE "}}", 8, KQ_E_FORMAT, "unable to decode byte 0xff"},
    {"{\"a\\u0000b\":{" ONE "}}", 8, KQ_E_FORMAT, "no valid JSON"},
    {"{\"\":{" ONE "}}", 8, KQ_E_FORMAT, "empty"},
    {"{\"a\":{" ONE "}}", 13, KQ_E_FORMAT, "5 bytes lie behind"},
    {"{\"a\":{" ONE "}}", 7, KQ_E_FORMAT, "has 7 bytes of data"},
    {"{\"a\":{" ONE ",\"more\":1}}", 8, KQ_E_FORMAT, "4 members"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, KQ_E_FORMAT, "no 'data_offsets'"},
    {"{\"a\":7}", 8, KQ_E_FORMAT, "no object"},
    {"{\"__metadata__\":{\"k\":1}}", 0, KQ_E_FORMAT, "no string"},
    {"{\"a\":{\"dtype\":\"Q4\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, KQ_E_UNSUPPORTED, "'Q4'"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, KQ_E_FORMAT, "dim 0"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8, KQ_E_FORMAT, "dim 0"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[18446744073709551615],\"data_offsets\":[0,8]}}", 8, KQ_E_FORMAT, "too big"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1e999],\"data_offsets\":[0,8]}}", 8, KQ_E_FORMAT, "overflow"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", 8, KQ_E_LIMIT, "9 dims"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, KQ_E_FORMAT, "2^64"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296,0],\"data_offsets\":[0,0]}}", 0, KQ_E_FORMAT, "2^64"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, KQ_E_FORMAT, "2^64"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, KQ_E_FORMAT, "before it begins"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, KQ_E_FORMAT, "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]}}", 8, KQ_E_FORMAT, "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, KQ_E_FORMAT, "take 12 bytes"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, KQ_E_FORMAT, "the data before it ends at 0"},
    {"{\"a\":{" ONE "},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, KQ_E_FORMAT, "inside tensor 'a'"},
    {"{\"a\":{" ONE "},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]}}", 16, KQ_E_FORMAT, "ends at 8"},
    {"{\"a\":[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]}", 0, KQ_E_LIMIT, "16 deep"},
};

static kq_status open_bytes(const void *data, size_t size, kq_safetensors **s, kq_error *e) {
    *e = (kq_error){0};
    return kq_safetensors_open_memory(s, data, size, "case.safetensors", NULL, e);
}

static void every_case(void **state) {
    (void)state;
    const char *corpus = getenv("KQ_WRITE_CORPUS"); /* a folder: how fuzz/corpus/safetensors was made */
    for (size_t i = 0; i < KQ_COUNT(cases); i++) {
        bytes b = {0};
        kq_safetensors *s;
        kq_error e;
        put_u64(&b, strlen(cases[i].header));
        put_raw(&b, cases[i].header, strlen(cases[i].header));
        put_zeros(&b, cases[i].data);
        uint8_t *copy = malloc(b.size);
        memcpy(copy, b.data, b.size);
        kq_status status = open_bytes(copy, b.size, &s, &e);
        if (status != cases[i].status || !strstr(e.text, cases[i].says)) {
            fail_msg("case %zu %s: %s '%s', expected %s '%s'", i, cases[i].header, kq_status_name(status), e.text,
                     kq_status_name(cases[i].status), cases[i].says);
        }
        kq_safetensors_close(s);
        char path[512];
        snprintf(path, sizeof path, "%s/case-%02zu", corpus ? corpus : "", i);
        if (corpus) assert_int_equal(write_file(path, b.data, b.size), 0);
        free(copy);
        bytes_free(&b);
    }
}

static void lengths_of_headers(void **state) {
    (void)state;
    static const uint64_t lengths[] = {UINT64_MAX, UINT64_MAX - 7, INT64_MAX, 3, 0};
    kq_safetensors *s;
    kq_error e;
    for (size_t i = 0; i < KQ_COUNT(lengths); i++) {
        uint8_t file[10] = {0};
        memcpy(file, &lengths[i], 8);
        memcpy(file + 8, "{}", 2);
        assert_int_equal(open_bytes(file, sizeof file, &s, &e), KQ_E_FORMAT);
        assert_null(s);
    }
    assert_int_equal(open_bytes("1234567", 7, &s, &e), KQ_E_FORMAT);
    assert_int_equal(open_bytes(NULL, 0, &s, &e), KQ_E_FORMAT);
    size_t size = 8 + (size_t)KQ_SAFETENSORS_MAX_HEADER + 1;
    uint8_t *large = malloc(size);
    uint64_t length = size - 8;
    memset(large, ' ', size);
    memcpy(large, &length, 8);
    memcpy(large + 8, "{}", 2);
    assert_int_equal(open_bytes(large, size, &s, &e), KQ_E_LIMIT);
    length--;
    memcpy(large, &length, 8);
    assert_int_equal(open_bytes(large, size - 1, &s, &e), KQ_OK);
    kq_safetensors_close(s);
    large[8] = '{';
    memset(large + 9, ',', (size_t)length - 1); /* values beyond the limit are met before memory is taken for them */
    assert_int_equal(open_bytes(large, size - 1, &s, &e), KQ_E_LIMIT);
    assert_non_null(strstr(e.text, "values"));
    free(large);
}

/* ---- shards --------------------------------------------------------------------------------------------------------- */

#define S1 "model-00001-of-00002.safetensors"
#define S2 "model-00002-of-00002.safetensors"
#define INDEX "model.safetensors.index.json"

static void expect_index(const char *index, kq_status status, const char *says) {
    kq_safetensors *s;
    kq_error e = {0};
    assert_int_equal(write_file(in(INDEX), index, strlen(index)), 0);
    kq_status is = kq_safetensors_open(&s, folder, NULL, &e);
    if (is != status || !strstr(e.text, says)) fail_msg("%s: %s '%s', expected '%s'", index, kq_status_name(is), e.text, says);
    kq_safetensors_close(s);
}

static void indices(void **state) {
    (void)state;
    kq_safetensors *s;
    kq_error e = {0};
    assert_int_equal(kq_safetensors_open(&s, folder, NULL, &e), KQ_E_IO);
    put_file(S1, "{\"a\":{" ONE "}}", 8);
    put_file(S2, "{\"b\":{" ONE "}}", 8);
    expect_index("{\"weight_map\":{\"a\":\"" S1 "\",\"b\":\"" S2 "\"}}", KQ_OK, "");
    expect_index("{\"weight_map\":{\"a\":\"" S1 "\",\"b\":\"" S1 "\"}}", KQ_E_FORMAT, "'" S2 "' lies beside");
    expect_index("{\"weight_map\":{\"a\":\"" S2 "\",\"b\":\"" S1 "\"}}", KQ_E_FORMAT, "the index says");
    expect_index("{\"weight_map\":{\"b\":\"" S2 "\",\"c\":\"" S1 "\"}}", KQ_E_FORMAT, "tensor 'a' of '" S1 "' is not in the index");
    expect_index("{\"weight_map\":{\"a\":\"" S1 "\",\"b\":\"" S2 "\",\"c\":\"" S2 "\"}}", KQ_E_FORMAT, "tensor 'c' is not in '" S2 "'");
    expect_index("{\"weight_map\":{\"a\":\"" S1 "\",\"b\":\"" S2 "\",\"b\":\"" S2 "\"}}", KQ_E_FORMAT, "duplicate");
    expect_index("{\"weight_map\":{\"a\":\"" S1 "\",\"b\":\"" S2 "\",\"c\":\"x.safetensors\"}}", KQ_E_FORMAT, "missing");
    static const char *const outside[] = {"../" S1, "/etc/" S1, "sub/" S1, "..", ".", "", "a..safetensors", "config.json", ".safetensors"};
    for (size_t i = 0; i < KQ_COUNT(outside); i++) {
        char index[256];
        snprintf(index, sizeof index, "{\"weight_map\":{\"a\":\"%s\"}}", outside[i]);
        expect_index(index, KQ_E_FORMAT, "must be the name");
    }
    expect_index("{\"weight_map\":{\"a\":1}}", KQ_E_FORMAT, "no string");
    expect_index("{\"weight_map\":{}}", KQ_E_FORMAT, "empty");
    expect_index("{}", KQ_E_FORMAT, "no object 'weight_map'");
    expect_index("", KQ_E_FORMAT, "empty");
    put_file("model.safetensors", "{}", 0);
    expect_index("{\"weight_map\":{\"a\":\"" S1 "\",\"b\":\"" S2 "\"}}", KQ_E_FORMAT, "both");
    unlink(in("model.safetensors"));
    put_file(S2, "{\"a\":{" ONE "}}", 8);
    expect_index("{\"weight_map\":{\"a\":\"" S1 "\",\"b\":\"" S2 "\"}}", KQ_E_FORMAT, "tensor 'a' is already in");
}

/* ---- files of others ------------------------------------------------------------------------------------------------ */

static void files_of_others(void **state) {
    (void)state;
    static const struct { const char *name; kq_dtype dtype; uint32_t n_dims; uint64_t dims[4]; } files[] = {
        {"tensor-1d-int32", KQ_DTYPE_I32, 1, {3}}, {"tensor-2d-float64", KQ_DTYPE_F64, 2, {2, 3}},
        {"tensor-3d-float32", KQ_DTYPE_F32, 3, {2, 2, 3}}, {"tensor-4d-float32", KQ_DTYPE_F32, 4, {2, 3, 1, 3}}};
    char path[1024];
    kq_safetensors *s;
    kq_error e;
    for (size_t i = 0; i < KQ_COUNT(files); i++) {
        if (!golden_shared_path(path, sizeof path, "golden/files/%s.safetensors", files[i].name)) return;
        assert_int_equal(kq_safetensors_open(&s, path, NULL, &e), KQ_OK);
        const kq_safetensors_tensor *t = kq_safetensors_tensor_find(s, "embedding");
        assert_non_null(t);
        assert_int_equal(t->dtype, files[i].dtype);
        assert_int_equal(t->n_dims, files[i].n_dims);
        assert_memory_equal(t->dims, files[i].dims, files[i].n_dims * sizeof *t->dims);
        assert_true(kq_safetensors_is_file(s, path));
        kq_safetensors_close(s);
    }
    golden_shared_path(path, sizeof path, "golden/files/tiny.safetensors");
    assert_int_equal(kq_safetensors_open(&s, path, NULL, &e), KQ_E_FORMAT);
    assert_string_equal(e.text, "5 bytes lie behind the last tensor, must be none");
}

static kq_status copy(const kq_safetensors *s, const char *path, uint64_t max, const kq_allocator *a, kq_error *e) {
    kq_safetensors_writer *w;
    kq_safetensors_options o = KQ_OPTIONS_INIT(kq_safetensors_options);
    o.max_shard_bytes = max;
    o.allocator = a;
    kq_status status = kq_safetensors_writer_open(&w, path, &o, e);
    if (!status) status = kq_safetensors_writer_metadata(w, "format", "pt", e);
    for (size_t i = 0; i < kq_safetensors_n_tensors(s) && !status; i++) {
        const kq_safetensors_tensor *t = kq_safetensors_tensor_at(s, i);
        status = kq_safetensors_writer_tensor(w, t->name.data, t->dtype, t->n_dims, t->dims, t->data, NULL, NULL, e);
    }
    if (!status) status = kq_safetensors_writer_finish(w, e);
    kq_safetensors_writer_close(w);
    return status;
}

static void same_bytes(const char *a, const char *b) {
    bytes x = read_file(a), y = read_file(b);
    assert_non_null(x.data);
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.data, y.data, x.size);
    bytes_free(&x);
    bytes_free(&y);
}

/* The trained model that Hugging Face's library wrote: our shards of the same size are its bytes. */
static void the_model_of_others(void **state) {
    (void)state;
    char path[1024];
    kq_safetensors *s, *again;
    kq_error e;
    if (!golden_shared_path(path, sizeof path, "models/tale")) return;
    if (kq_safetensors_open(&s, path, NULL, &e)) fail_msg("%s: %s", e.file, e.text);
    assert_int_equal(kq_safetensors_n_shards(s), 2);
    uint64_t first = 0;
    for (size_t i = 0; i < kq_safetensors_n_tensors(s); i++) {
        const kq_safetensors_tensor *t = kq_safetensors_tensor_at(s, i);
        if (t->shard == 0) first += t->bytes;
    }
    if (copy(s, in("model.safetensors"), first, NULL, &e)) fail_msg("%s: %s", e.file, e.text);
    assert_int_equal(entries(), 3);
    if (kq_safetensors_open(&again, folder, NULL, &e)) fail_msg("%s: %s", e.file, e.text);
    assert_int_equal(kq_safetensors_n_shards(again), 2);
    for (size_t i = 0; i < 2; i++) same_bytes(kq_safetensors_shard_path(s, i), kq_safetensors_shard_path(again, i));
    kq_safetensors_close(again);
    /* a second model may not be left beside it: one file, or three shards */
    assert_int_equal(copy(s, in("model.safetensors"), 0, NULL, &e), KQ_E_IO);
    assert_int_equal(copy(s, in("model.safetensors"), 6 << 20, NULL, &e), KQ_E_IO);
    assert_non_null(strstr(e.text, "in the way"));
    assert_int_equal(copy(s, in("model.safetensors"), first, NULL, &e), KQ_OK); /* itself, yes */
    assert_int_equal(entries(), 3);
    kq_safetensors_close(s);
}

/* ---- our own ---------------------------------------------------------------------------------------------------------- */

static kq_status produce(void *ctx, kq_status (*put)(void *, const void *, size_t, kq_error *), void *sink, kq_error *err) {
    const int *n = ctx;
    for (int i = 0; i < *n; i++) KQ_TRY(put(sink, "x", 1, err));
    return KQ_OK;
}

static void what_is_written_reads_back(void **state) {
    (void)state;
    static const char weird[] = "q\"\\\n\x01 \xc3\xa9";
    kq_safetensors_writer *w;
    kq_safetensors *s;
    kq_error e;
    uint8_t data[64];
    for (int i = 0; i < 64; i++) data[i] = (uint8_t)i;
    int three = 3, two = 2;
    assert_int_equal(kq_safetensors_writer_open(&w, in("x.bin"), NULL, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_safetensors_writer_open(&w, in("x.safetensors"), NULL, &e), KQ_OK);
    assert_int_equal(kq_safetensors_writer_metadata(w, "k", "old", &e), KQ_OK);
    assert_int_equal(kq_safetensors_writer_metadata(w, "k", weird, &e), KQ_OK);
    assert_int_equal(kq_safetensors_writer_metadata(w, "\xff", "", &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_safetensors_writer_tensor(w, "made", KQ_DTYPE_U8, 1, (uint64_t[]){3}, NULL, produce, &three, &e), KQ_OK);
    for (uint32_t d = 0; d <= KQ_DTYPE_F64; d++) {
        char name[32];
        snprintf(name, sizeof name, "%s%u", weird, d);
        assert_int_equal(kq_safetensors_writer_tensor(w, name, (kq_dtype)d, 2, (uint64_t[]){2, 1 + d % 3}, data, NULL, NULL, &e), KQ_OK);
    }
    assert_int_equal(kq_safetensors_writer_tensor(w, "none", KQ_DTYPE_F32, 2, (uint64_t[]){0, 9}, NULL, NULL, NULL, &e), KQ_OK);
    assert_int_equal(kq_safetensors_writer_tensor(w, "one", KQ_DTYPE_F32, 0, NULL, data, NULL, NULL, &e), KQ_OK);
    assert_int_equal(kq_safetensors_writer_tensor(w, "one", KQ_DTYPE_F32, 0, NULL, data, NULL, NULL, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_safetensors_writer_tensor(w, "big", KQ_DTYPE_F32, 1, (uint64_t[]){UINT64_MAX / 4}, data, NULL, NULL, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_safetensors_writer_finish(w, &e), KQ_OK);
    assert_int_equal(kq_safetensors_writer_finish(w, &e), KQ_E_ARGUMENT);
    kq_safetensors_writer_close(w);
    assert_int_equal(entries(), 1);
    if (kq_safetensors_open(&s, in("x.safetensors"), NULL, &e)) fail_msg("%s", e.text);
    const char *key, *value;
    assert_true(kq_safetensors_metadata_at(s, 0, &key, &value));
    assert_string_equal(value, weird);
    assert_int_equal(kq_safetensors_n_tensors(s), KQ_DTYPE_F64 + 4);
    for (size_t i = 0; i < kq_safetensors_n_tensors(s); i++) {
        const kq_safetensors_tensor *t = kq_safetensors_tensor_at(s, i);
        assert_int_equal(t->offset % kq_dtype_describe((uint32_t)t->dtype)->bytes, 0); /* aligned in the file */
        if (strcmp(t->name.data, "made") == 0) assert_memory_equal(t->data, "xxx", 3);
        else if (t->bytes) assert_memory_equal(t->data, data, t->bytes);
    }
    kq_safetensors_close(s);
    /* what produces too little leaves what was there */
    assert_int_equal(kq_safetensors_writer_open(&w, in("x.safetensors"), NULL, &e), KQ_OK);
    assert_int_equal(kq_safetensors_writer_tensor(w, "made", KQ_DTYPE_U8, 1, (uint64_t[]){3}, NULL, produce, &two, &e), KQ_OK);
    assert_int_equal(kq_safetensors_writer_finish(w, &e), KQ_E_ARGUMENT);
    kq_safetensors_writer_close(w);
    assert_int_equal(entries(), 1);
    assert_int_equal(kq_safetensors_open(&s, in("x.safetensors"), NULL, &e), KQ_OK);
    kq_safetensors_close(s);
}

/* ---- memory ----------------------------------------------------------------------------------------------------------- */

static size_t json_calls, json_fail_at;
static void *json_alloc(size_t size) { return ++json_calls == json_fail_at ? NULL : malloc(size); }

static void every_allocation_fails_once(void **state) {
    (void)state;
    kq_safetensors *s, *again;
    kq_error e;
    put_file(S1, "{\"__metadata__\":{\"k\":\"v\"},\"c\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]},\"a\":{" ONE "}}", 16);
    put_file(S2, "{\"b\":{" ONE "}}", 8);
    const char index[] = "{\"weight_map\":{\"a\":\"" S1 "\",\"b\":\"" S2 "\",\"c\":\"" S1 "\"}}";
    assert_int_equal(write_file(in(INDEX), index, sizeof index - 1), 0);
    size_t n = 0, failures = 0;
    for (kq_status status = KQ_E_MEMORY; status;) {
        meter m = {.fail_at = ++n};
        kq_allocator a = meter_allocator(&m);
        kq_safetensors_options o = KQ_OPTIONS_INIT(kq_safetensors_options);
        o.allocator = &a;
        status = kq_safetensors_open(&s, folder, &o, &e);
        if (status) assert_int_equal(status, KQ_E_MEMORY);
        if (status) failures++;
        kq_safetensors_close(s);
        assert_int_equal(m.live, 0);
    }
    assert_true(failures > 8);
    json_set_alloc_funcs(json_alloc, free); /* this program is the host: it may */
    kq_status status = KQ_E_MEMORY;
    for (json_fail_at = 1; status; json_fail_at++) {
        json_calls = 0;
        status = kq_safetensors_open(&s, folder, NULL, &e);
        if (status) assert_true(status == KQ_E_MEMORY || status == KQ_E_FORMAT); /* jansson does not always say why it failed */
        kq_safetensors_close(s);
    }
    assert_true(json_fail_at > 20);
    json_set_alloc_funcs(malloc, free);
    assert_int_equal(kq_safetensors_open(&s, folder, NULL, &e), KQ_OK);
    int files = entries();
    mkdir(in("out"), 0700);
    for (n = 0, status = KQ_E_MEMORY; status;) {
        meter m = {.fail_at = ++n};
        kq_allocator a = meter_allocator(&m);
        status = copy(s, in("out/y.safetensors"), 16, &a, &e);
        if (status) assert_int_equal(status, KQ_E_MEMORY);
        assert_int_equal(m.live, 0);
    }
    assert_true(n > 10);
    assert_int_equal(entries(), files + 1);
    assert_int_equal(kq_safetensors_open(&again, in("out/y.safetensors.index.json"), NULL, &e), KQ_OK);
    assert_int_equal(kq_safetensors_n_shards(again), 2);
    kq_safetensors_close(again);
    kq_safetensors_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case),
        cmocka_unit_test(lengths_of_headers),
        cmocka_unit_test_setup_teardown(indices, make_folder, remove_folder),
        cmocka_unit_test(files_of_others),
        cmocka_unit_test_setup_teardown(the_model_of_others, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_is_written_reads_back, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(every_allocation_fails_once, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
