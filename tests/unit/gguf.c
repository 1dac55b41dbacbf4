/* SPDX-License-Identifier: MIT */
/* GGUF files that are as they should be: read, walked, split, at the limits. */
#include "folder.h"
#include "gguf_build.h"

#include "file/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static kq_gguf *open_ok(const char *path) {
    kq_gguf *g;
    kq_error e = {0};
    if (kq_gguf_open(&g, path, NULL, &e)) fail_msg("%s: %s", e.file, e.text);
    return g;
}

static kq_gguf *open_built(gguf *b) {
    kq_gguf *g;
    kq_error e = {0};
    if (kq_gguf_open_memory(&g, b->out.data, b->out.size, "built", NULL, &e)) fail_msg("%s", e.text);
    return g;
}

static void the_default_model(void **state) {
    (void)state;
    kq_gguf *g = open_ok(KQ_SOURCE_DIR "/models/tale-q4_k_m.gguf");
    assert_int_equal(kq_gguf_version(g), 3);
    assert_int_equal(kq_gguf_parts(g), 1);
    assert_int_equal(kq_gguf_alignment(g), 32);
    assert_int_equal(kq_gguf_n_tensors(g), 90);
    assert_int_equal(kq_gguf_n_values(g), 26);
    assert_int_equal(kq_gguf_file_bytes(g), 5793952);
    const kq_gguf_tensor *t = kq_gguf_tensor_find(g, "token_embd.weight");
    assert_non_null(t);
    assert_string_equal(t->name.data, "token_embd.weight");
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->dims[2], 1);
    kq_string architecture;
    assert_int_equal(kq_gguf_get_string(g, "general.architecture", &architecture, NULL), KQ_OK);
    assert_int_equal(architecture.size, 5);
    assert_memory_equal(architecture.data, "qwen3", 5);
    assert_null(kq_gguf_find(g, "no.such.key"));
    assert_null(kq_gguf_tensor_find(g, "no.such.tensor"));
    assert_null(kq_gguf_value_at(g, 26));
    assert_null(kq_gguf_tensor_at(g, 90));
    kq_gguf_close(g);
    kq_gguf_close(NULL);
}

static void expect_i64(const kq_gguf *g, const char *key, uint64_t i, int64_t expected) {
    int64_t n;
    assert_true(kq_gguf_element_i64(kq_gguf_find(g, key), i, &n));
    assert_true(n == expected);
}
static void expect_f64(const kq_gguf *g, const char *key, uint64_t i, double expected) {
    double d;
    assert_true(kq_gguf_element_f64(kq_gguf_find(g, key), i, &d));
    assert_true(d == expected);
}
static void same_string(kq_string s, const void *data, size_t size) {
    assert_int_equal(s.size, size);
    assert_memory_equal(s.data, data, size);
}

static void check_scalars(const kq_gguf *g) {
    expect_i64(g, "scalar.u8", 0, 200);
    expect_i64(g, "scalar.i8", 0, -100);
    expect_i64(g, "scalar.u16", 0, 60000);
    expect_i64(g, "scalar.i16", 0, -30000);
    expect_i64(g, "scalar.u32", 0, 4000000000);
    expect_i64(g, "scalar.i32", 0, -2000000000);
    expect_i64(g, "scalar.i64", 0, INT64_MIN);
    expect_i64(g, "scalar.bool", 0, 1);
    expect_f64(g, "scalar.u64", 0, 0x1p64);
    expect_f64(g, "scalar.i8", 0, -100);
    expect_f64(g, "scalar.f32", 0, 1.5);
    expect_f64(g, "scalar.f64", 0, 0x1.0000000000001p-3);
    uint64_t u;
    float f;
    bool b;
    kq_string s;
    assert_int_equal(kq_gguf_get_u64(g, "scalar.u64", 0, UINT64_MAX, &u, NULL), KQ_OK);
    assert_true(u == UINT64_MAX);
    assert_int_equal(kq_gguf_get_u64_or(g, "scalar.u16", 7, 1, 65535, &u, NULL), KQ_OK);
    assert_int_equal(u, 60000);
    assert_int_equal(kq_gguf_get_u64_or(g, "absent", 7, 1, 5, &u, NULL), KQ_OK);
    assert_int_equal(u, 7);
    assert_int_equal(kq_gguf_get_f32(g, "scalar.f32", &f, NULL), KQ_OK);
    assert_true(f == 1.5f);
    assert_int_equal(kq_gguf_get_f32(g, "scalar.f64", &f, NULL), KQ_OK);
    assert_true(f == 0.125f);
    assert_int_equal(kq_gguf_get_f32_or(g, "absent", 2.5f, &f, NULL), KQ_OK);
    assert_true(f == 2.5f);
    assert_int_equal(kq_gguf_get_bool_or(g, "scalar.bool", false, &b, NULL), KQ_OK);
    assert_true(b);
    assert_int_equal(kq_gguf_get_bool_or(g, "absent", true, &b, NULL), KQ_OK);
    assert_true(b);
    assert_int_equal(kq_gguf_get_string(g, "scalar.string", &s, NULL), KQ_OK);
    same_string(s, "a string", 8);
    assert_int_equal(kq_gguf_get_string(g, "scalar.empty", &s, NULL), KQ_OK);
    same_string(s, "", 0);
    assert_int_equal(kq_gguf_get_string(g, "scalar.bytes", &s, NULL), KQ_OK);
    same_string(s, "\0\xff\n\x80", 4);
    assert_int_equal(kq_gguf_get_string_or(g, "absent", "fallback", &s, NULL), KQ_OK);
    same_string(s, "fallback", 8);
    assert_int_equal(kq_gguf_get_string_or(g, "absent", NULL, &s, NULL), KQ_OK);
    assert_null(s.data);
}

static void check_arrays(const kq_gguf *g) {
    expect_i64(g, "array.u8", 2, 255);
    expect_i64(g, "array.i8", 1, -128);
    expect_i64(g, "array.u16", 1, 65535);
    expect_i64(g, "array.i16", 1, -32768);
    expect_i64(g, "array.u32", 1, UINT32_MAX);
    expect_i64(g, "array.i32", 1, INT32_MIN);
    expect_i64(g, "array.bool", 1, 0);
    expect_i64(g, "array.u64", 0, INT64_MAX);
    expect_i64(g, "array.i64", 1, INT64_MIN);
    expect_f64(g, "array.f32", 1, 0x1p-149);
    expect_f64(g, "array.f64", 0, 1e300);
    int64_t n;
    assert_false(kq_gguf_element_i64(kq_gguf_find(g, "array.u64"), 1, &n));
    assert_false(kq_gguf_element_i64(NULL, 0, &n));
    const kq_gguf_value *v = kq_gguf_find(g, "array.string");
    assert_int_equal(v->kind, KQ_GGUF_ARRAY);
    assert_int_equal(v->element, KQ_GGUF_STRING);
    assert_int_equal(v->count, 3);
    assert_int_equal(v->size, 3 * 8 + 3 + 0 + 5);
    static const char *const expected[] = {"one", "", "three"};
    kq_gguf_strings it = kq_gguf_strings_of(v);
    kq_string s;
    for (int i = 0; i < 3; i++) {
        assert_true(kq_gguf_strings_next(&it, &s));
        same_string(s, expected[i], strlen(expected[i]));
    }
    assert_false(kq_gguf_strings_next(&it, &s));
    it = kq_gguf_strings_of(NULL);
    assert_false(kq_gguf_strings_next(&it, &s));
    assert_int_equal(kq_gguf_find(g, "array.none")->count, 0);
    assert_int_equal(kq_gguf_find(g, "array.no_strings")->size, 0);
}

static void check_tensors(const kq_gguf *g) {
    static const struct { const char *name; kq_codec codec; uint32_t n_dims; uint64_t dims[4], bytes; } expected[] = {
        {"one", KQ_I8, 1, {1, 1, 1, 1}, 1},         {"norm.weight", KQ_F32, 1, {17, 1, 1, 1}, 68},
        {"half", KQ_F16, 2, {3, 5, 1, 1}, 30},      {"blk.0.attn_q.weight", KQ_Q4_0, 2, {64, 3, 1, 1}, 108},
        {"blk.0.ffn_up.weight", KQ_Q4_K, 2, {256, 2, 1, 1}, 288}, {"experts", KQ_Q8_0, 3, {32, 2, 3, 1}, 204},
        {"four", KQ_BF16, 4, {2, 3, 4, 5}, 240}};
    assert_int_equal(kq_gguf_n_tensors(g), KQ_COUNT(expected));
    for (size_t i = 0; i < KQ_COUNT(expected); i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(g, i);
        assert_ptr_equal(t, kq_gguf_tensor_find(g, expected[i].name));
        assert_string_equal(t->name.data, expected[i].name);
        assert_int_equal(t->name.size, strlen(expected[i].name));
        assert_int_equal(t->codec, expected[i].codec);
        assert_int_equal(t->n_dims, expected[i].n_dims);
        assert_memory_equal(t->dims, expected[i].dims, sizeof t->dims);
        assert_int_equal(t->weights, t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3]);
        assert_int_equal(t->bytes, expected[i].bytes);
        assert_int_equal(t->part, 0);
        assert_int_equal(t->offset % 64, 0);
        for (size_t k = 0; k < t->bytes; k++) assert_int_equal(((const uint8_t *)t->data)[k], gguf_data_byte(expected[i].name, k));
    }
}

static void every_kind_and_shape(void **state) {
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        gguf b;
        gguf_sample(&b, version);
        kq_gguf *g = open_built(&b);
        assert_int_equal(kq_gguf_version(g), version);
        assert_int_equal(kq_gguf_alignment(g), 64);
        assert_string_equal(kq_gguf_path(g), "built");
        check_scalars(g);
        check_arrays(g);
        check_tensors(g);
        for (size_t i = 0; i < kq_gguf_n_values(g); i++) {
            const kq_gguf_value *v = kq_gguf_value_at(g, i);
            assert_ptr_equal(v->data, b.out.data + v->offset);
            assert_int_equal(strlen(v->key.data), v->key.size);
        }
        kq_gguf_close(g);
        gguf_free(&b);
    }
}

static void ranges_and_texts_of_the_typed_readers(void **state) {
    (void)state;
    gguf b;
    gguf_begin(&b, 3);
    gguf_u32(&b, "heads", 0);
    gguf_key(&b, "minus", 11), put_u64(&b.out, (uint64_t)INT64_MIN);
    gguf_key(&b, "nan", 6), put_u32(&b.out, 0x7fc00000);
    gguf_key(&b, "inf", 6), put_u32(&b.out, 0xff800000);
    gguf_key(&b, "large", 12), put_f64(&b.out, 1e39);
    gguf_array(&b, "list", 4, 2), put_u64(&b.out, 0);
    gguf_text(&b, "text", "8\n");
    gguf_finish(&b);
    kq_gguf *g = open_built(&b);
    kq_error e;
    uint64_t u = 9;
    float f = 9;
    kq_string s;
    assert_int_equal(kq_gguf_get_u64(g, "heads", 1, 1024, &u, &e), KQ_E_MODEL);
    assert_string_equal(e.text, "key 'heads' is 0, must be 1 to 1024");
    assert_string_equal(e.file, "built");
    assert_true(e.offset == kq_gguf_find(g, "heads")->offset);
    assert_true(u == 0);
    assert_int_equal(kq_gguf_get_u64(g, "minus", 0, 10, &u, &e), KQ_E_MODEL);
    assert_string_equal(e.text, "key 'minus' is -9223372036854775808, must be 0 to 10");
    assert_int_equal(kq_gguf_get_u64(g, "gone", 0, 10, &u, &e), KQ_E_MODEL);
    assert_string_equal(e.text, "key 'gone' is missing");
    assert_int_equal(kq_gguf_get_u64(g, "list", 0, 10, &u, &e), KQ_E_MODEL);
    assert_string_equal(e.text, "key 'list' is an array of 2 u32, must be an integer");
    assert_int_equal(kq_gguf_get_u64(g, "text", 0, 10, &u, &e), KQ_E_MODEL);
    assert_string_equal(e.text, "key 'text' is the string '8\\x0a', must be an integer");
    static const char *const odd[] = {"nan", "inf", "large"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kq_gguf_get_f32_or(g, odd[i], 1, &f, &e), KQ_E_MODEL);
        assert_non_null(strstr(e.text, "must be a finite f32"));
    }
    assert_int_equal(kq_gguf_get_f32(g, "heads", &f, &e), KQ_E_MODEL);
    assert_string_equal(e.text, "key 'heads' is the u32 0, must be a float");
    assert_int_equal(kq_gguf_get_f32(g, "gone", &f, NULL), KQ_E_MODEL);
    assert_int_equal(kq_gguf_get_string(g, "heads", &s, &e), KQ_E_MODEL);
    assert_int_equal(kq_gguf_get_string(g, "gone", &s, &e), KQ_E_MODEL);
    assert_string_equal(e.text, "key 'gone' is missing");
    kq_gguf_close(g);
    gguf_free(&b);
}

static void any_order_gaps_and_a_tail(void **state) {
    (void)state;
    gguf b;
    gguf_begin(&b, 3);
    enum { N = 37 };
    for (uint64_t i = 0; i < N; i++) { /* 7 and 37 have no common factor: every place once, in a mixed order */
        char name[16];
        snprintf(name, sizeof name, "t%d", (int)i);
        gguf_info(&b, name, 1, (uint64_t[]){32}, 24, i * 7 % N * 64);
    }
    put_zeros(&b.data, N * 64 + 1000);
    gguf_finish(&b);
    kq_gguf *g = open_built(&b);
    for (uint64_t i = 0; i < N; i++) {
        uint64_t first = kq_gguf_tensor_at(g, 0)->offset; /* place 0 */
        assert_int_equal(kq_gguf_tensor_at(g, i)->offset, first + i * 7 % N * 64);
    }
    kq_gguf_close(g);
    gguf_free(&b);
}

static void at_the_limits(void **state) {
    (void)state;
    static char key[KQ_GGUF_MAX_KEY + 1];
    memset(key, 'k', KQ_GGUF_MAX_KEY);
    char name[KQ_GGUF_MAX_NAME + 1] = {0};
    memset(name, 'n', KQ_GGUF_MAX_NAME);
    gguf b;
    gguf_begin(&b, 3);
    gguf_u32(&b, key, 5);
    for (uint32_t i = 1; i < KQ_GGUF_MAX_KEYS; i++) {
        char k[8];
        snprintf(k, sizeof k, "%x", i);
        gguf_u32(&b, k, i);
    }
    gguf_tensor(&b, name, 4, (uint64_t[]){1, 1, 1, 1}, 24, 1);
    gguf_finish(&b);
    kq_gguf *g = open_built(&b);
    assert_int_equal(kq_gguf_n_values(g), KQ_GGUF_MAX_KEYS);
    expect_i64(g, key, 0, 5);
    expect_i64(g, "ffff", 0, 0xffff);
    assert_non_null(kq_gguf_tensor_find(g, name));
    kq_gguf_close(g);
    gguf_free(&b);
    for (uint32_t alignment = KQ_GGUF_MIN_ALIGNMENT; alignment <= KQ_GGUF_MAX_ALIGNMENT; alignment *= 2) {
        gguf_begin(&b, 3);
        gguf_u32(&b, "general.alignment", alignment);
        b.alignment = alignment;
        gguf_tensor(&b, "a", 1, (uint64_t[]){3}, 24, 3);
        gguf_tensor(&b, "b", 1, (uint64_t[]){3}, 24, 3);
        gguf_finish(&b);
        g = open_built(&b);
        assert_int_equal(kq_gguf_alignment(g), alignment);
        assert_int_equal(kq_gguf_tensor_at(g, 0)->offset % alignment, 0);
        assert_int_equal(kq_gguf_tensor_at(g, 1)->offset, kq_gguf_tensor_at(g, 0)->offset + alignment);
        kq_gguf_close(g);
        gguf_free(&b);
    }
}

/* Part `no` of `count`; the first has metadata and, as some programs write it, no tensor. */
static void write_part(const char *directory, uint32_t no, uint32_t count, uint32_t tensors, uint32_t alignment) {
    char path[256], name[32];
    gguf b;
    gguf_begin(&b, 3);
    if (no == 0) gguf_text(&b, "general.name", "in parts");
    if (alignment != 32) gguf_u32(&b, "general.alignment", alignment);
    gguf_key(&b, "split.no", 2), put_u16(&b.out, no);
    gguf_key(&b, "split.count", 2), put_u16(&b.out, count);
    gguf_key(&b, "split.tensors.count", 5), put_u32(&b.out, tensors);
    b.alignment = alignment;
    for (uint32_t t = 0; t < no && t < 2; t++) {
        snprintf(name, sizeof name, "part.%u.%u", no, t);
        gguf_tensor(&b, name, 1, (uint64_t[]){40}, 24, 40);
    }
    gguf_finish(&b);
    snprintf(path, sizeof path, "%s/in.parts-%05u-of-%05u.gguf", directory, no + 1, count);
    assert_int_equal(write_file(path, b.out.data, b.out.size), 0);
    gguf_free(&b);
}

static void in_parts(void **state) {
    (void)state;
    char directory[64], path[256];
    assert_int_equal(folder_make(directory, "parts"), 0);
    for (uint32_t no = 0; no < 4; no++) write_part(directory, no, 4, 5, no == 2 ? 16 : 64);
    for (uint32_t named = 1; named <= 4; named++) {
        snprintf(path, sizeof path, "%s/in.parts-%05u-of-00004.gguf", directory, named);
        kq_gguf *g = open_ok(path);
        assert_int_equal(kq_gguf_parts(g), 4);
        assert_int_equal(kq_gguf_alignment(g), 16);
        assert_int_equal(kq_gguf_n_tensors(g), 5);
        assert_true(kq_gguf_is_file(g, path));
        path[strlen(path) - sizeof "1-of-00004.gguf" + 1] = '1';
        assert_string_equal(kq_gguf_path(g), path);
        kq_string s;
        assert_int_equal(kq_gguf_get_string(g, "general.name", &s, NULL), KQ_OK);
        same_string(s, "in parts", 8);
        for (uint32_t i = 0; i < 5; i++) {
            const kq_gguf_tensor *t = kq_gguf_tensor_at(g, i);
            char name[32];
            snprintf(name, sizeof name, "part.%u.%u", (i + 3) / 2, i ? (i + 1) % 2 : 0);
            assert_string_equal(t->name.data, name);
            assert_int_equal(t->part, (i + 3) / 2);
            assert_ptr_equal(t, kq_gguf_tensor_find(g, name));
            for (size_t k = 0; k < 40; k++) assert_int_equal(((const uint8_t *)t->data)[k], gguf_data_byte(name, k));
        }
        kq_gguf_close(g);
    }
    assert_int_equal(folder_remove(directory), 0);
}

static void the_largest_number_of_parts(void **state) {
    (void)state;
    char directory[64], path[256];
    assert_int_equal(folder_make(directory, "parts"), 0);
    for (uint32_t no = 0; no < KQ_GGUF_MAX_PARTS; no++) write_part(directory, no, KQ_GGUF_MAX_PARTS, KQ_GGUF_MAX_PARTS * 2 - 3, 32);
    snprintf(path, sizeof path, "%s/in.parts-09999-of-09999.gguf", directory);
    kq_gguf *g = open_ok(path);
    assert_int_equal(kq_gguf_parts(g), KQ_GGUF_MAX_PARTS);
    assert_int_equal(kq_gguf_tensor_find(g, "part.9998.1")->part, 9998);
    kq_gguf_close(g);
    assert_int_equal(folder_remove(directory), 0);
}

/* One that was split and merged again says split.count 0; one that was never split may say 1. */
static void not_really_in_parts(void **state) {
    (void)state;
    for (uint32_t count = 0; count <= 1; count++) {
        gguf b;
        gguf_begin(&b, 3);
        gguf_key(&b, "split.no", 2), put_u16(&b.out, 0);
        gguf_key(&b, "split.count", 2), put_u16(&b.out, count);
        gguf_key(&b, "split.tensors.count", 5), put_u32(&b.out, 1);
        gguf_tensor(&b, "t", 1, (uint64_t[]){40}, 24, 40);
        gguf_finish(&b);
        kq_gguf *g = open_built(&b);
        assert_int_equal(kq_gguf_parts(g), 1);
        kq_gguf_close(g);
        gguf_free(&b);
    }
}

static void paths_that_cannot_be_opened(void **state) {
    (void)state;
    kq_error e = {0};
    kq_gguf *g = (kq_gguf *)1;
    assert_int_equal(kq_gguf_open(&g, "/no/such/file.gguf", NULL, &e), KQ_E_IO);
    assert_null(g);
    assert_string_equal(e.file, "/no/such/file.gguf");
    assert_int_equal(kq_gguf_open(&g, "/tmp", NULL, &e), KQ_E_IO);
    assert_string_equal(e.text, "is a directory");
    assert_int_equal(kq_gguf_open(&g, "/dev/zero", NULL, &e), KQ_E_IO);
    assert_int_equal(kq_gguf_open(&g, NULL, NULL, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_gguf_open(NULL, "/tmp", NULL, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_gguf_open_memory(&g, NULL, 5, NULL, NULL, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_gguf_open_memory(&g, NULL, 0, NULL, NULL, &e), KQ_E_FORMAT);
}

/* Files of others, which may not be copied here. */
static void files_of_others(void **state) {
    (void)state;
    static const struct { const char *path; size_t values, tensors; } files[] = {
        {"golden/files/empty.gguf", 1, 0},
        {"golden/tokenizers/deepseek-llm.gguf", 23, 0}, {"golden/tokenizers/falcon.gguf", 18, 0},
        {"golden/tokenizers/gemma-4.gguf", 42, 0},      {"golden/tokenizers/gpt-2.gguf", 16, 0},
        {"golden/tokenizers/llama-bpe.gguf", 20, 0},    {"golden/tokenizers/llama-spm.gguf", 22, 0},
        {"golden/tokenizers/phi-3.gguf", 26, 0},        {"golden/tokenizers/qwen2.gguf", 20, 0},
        {"golden/tokenizers/qwen35.gguf", 20, 0},       {"golden/tokenizers/starcoder.gguf", 19, 0},
        {"golden/quantize/tale.imatrix.gguf", 4, 112},  {"models/stories260K/stories260K-f32.gguf", 20, 47},
        {"models/tale-gguf/tale-bf16.gguf", 23, 90},    {"models/tale-gguf/tale-q4_k_m.gguf", 24, 90},
    };
    const char *shared = getenv("KQ_SHARED"), *ci = getenv("CI");
    if (!shared) shared = "../shared";
    char path[512];
    if (access(shared, F_OK)) {
        if (ci && strcmp(ci, "true") == 0) fail_msg("%s is missing", shared);
        print_message("skipped: %s is missing\n", shared);
        skip();
    }
    for (size_t i = 0; i < KQ_COUNT(files); i++) {
        snprintf(path, sizeof path, "%s/%s", shared, files[i].path);
        kq_gguf *g = open_ok(path);
        assert_int_equal(kq_gguf_n_values(g), files[i].values);
        assert_int_equal(kq_gguf_n_tensors(g), files[i].tensors);
        kq_gguf_close(g);
    }
    kq_gguf *g; /* a header alone: its one tensor of 64 x 128 floats is not there */
    kq_error e;
    snprintf(path, sizeof path, "%s/golden/files/tiny.gguf", shared);
    assert_int_equal(kq_gguf_open(&g, path, NULL, &e), KQ_E_FORMAT);
    assert_string_equal(e.text, "tensor 'test.weight.0': the file ends at 122, before any tensor's data");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_model), cmocka_unit_test(every_kind_and_shape),
        cmocka_unit_test(ranges_and_texts_of_the_typed_readers), cmocka_unit_test(any_order_gaps_and_a_tail),
        cmocka_unit_test(at_the_limits), cmocka_unit_test(in_parts), cmocka_unit_test(the_largest_number_of_parts),
        cmocka_unit_test(not_really_in_parts), cmocka_unit_test(paths_that_cannot_be_opened), cmocka_unit_test(files_of_others),
    };
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
