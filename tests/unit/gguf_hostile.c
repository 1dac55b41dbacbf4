/* SPDX-License-Identifier: MIT */
/* GGUF files that are not as they should be. Each is refused with its status and a text that names the thing, its value and the
 * limit; memory stays within a small multiple of the file's size, and so does the number of allocations; a failed
 * allocation at any point leaves nothing behind. */
#include "folder.h"
#include "gguf_corpus.h"
#include "random.h"

#include "file/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* An allocator that counts, and fails when it is told to. */
typedef struct meter {
    size_t now, peak, calls, fail_at; /* fail_at: the number of the call that fails, from 1; 0 never */
} meter;
enum { GUARD = 64 };
static void *meter_alloc(void *ctx, size_t alignment, size_t size) {
    meter *m = ctx;
    m->calls++;
    if (m->calls == m->fail_at) return NULL;
    void *p;
    assert_true(alignment <= GUARD);
    assert_int_equal(posix_memalign(&p, GUARD, size + GUARD), 0);
    memcpy(p, &size, sizeof size);
    m->now += size;
    m->peak = KQ_MAX(m->peak, m->now);
    return (uint8_t *)p + GUARD;
}
static void meter_free(void *ctx, void *memory) {
    meter *m = ctx;
    size_t size;
    uint8_t *p = (uint8_t *)memory - GUARD;
    memcpy(&size, p, sizeof size);
    m->now -= size;
    free(p);
}

/* 56 bytes of value, 96 of map slots and 16 of name for a pair of at least 14 bytes; the first chunk of an arena is 64 KiB. */
static size_t memory_limit(size_t file) { return 16 * file + (128 << 10); }
static size_t calls_limit(size_t file) { return 24 + file / 4096; }

static kq_status open_metered(const void *data, size_t size, meter *m, kq_gguf **g, kq_error *e) {
    kq_allocator a = {.alloc = meter_alloc, .free = meter_free, .ctx = m};
    kq_gguf_options o = KQ_OPTIONS_INIT(kq_gguf_options);
    o.allocator = &a;
    return kq_gguf_open_memory(g, data, size, "case.gguf", &o, e);
}

static int failures, cases;

static void explain(const char *name, const kq_error *e, const char *what) {
    print_error("%s: %s [%s at %lld: %s]\n", name, what, kq_status_name(e->status), (long long)e->offset, e->text);
    failures++;
}

static void check_case(void *ctx, const gguf_case *c) {
    (void)ctx;
    cases++;
    /* a block of exactly that size, so that a sanitizer sees a byte too far */
    uint8_t *copy = malloc(c->size ? c->size : 1);
    assert_non_null(copy);
    if (c->size) memcpy(copy, c->data, c->size);
    meter m = {0};
    kq_error e = {0};
    kq_gguf *g = (kq_gguf *)1;
    kq_status status = open_metered(copy, c->size, &m, &g, &e);
    if (status != c->status) explain(c->name, &e, "another status");
    if (status) {
        if (g) explain(c->name, &e, "a result in spite of a failure");
        if (strcmp(e.file, "case.gguf") != 0) explain(c->name, &e, "the file is not named");
        if (e.offset > c->size) explain(c->name, &e, "the offset is outside the file");
        if (!e.text[0] || strlen(e.text) >= sizeof e.text - 1) explain(c->name, &e, "the text is empty, or too long for its place");
        for (int i = 0; i < CASE_SAYS; i++) {
            if (!strstr(e.text, c->says[i])) explain(c->name, &e, c->says[i]);
        }
    }
    kq_gguf_close(status ? NULL : g);
    if (m.now) explain(c->name, &e, "a leak");
    if (m.peak > memory_limit(c->size)) explain(c->name, &e, "too much memory");
    if (m.calls > calls_limit(c->size)) explain(c->name, &e, "too many allocations");
    free(copy);
}

static void the_corpus_is_refused(void **state) {
    (void)state;
    failures = cases = 0;
    gguf_corpus(check_case, NULL);
    print_message("%d cases\n", cases);
    assert_int_equal(failures, 0);
    assert_true(cases > 500);
}

static void the_largest_number_of_tensors(void **state) {
    (void)state;
    failures = cases = 0;
    gguf_corpus_big(check_case, NULL);
    assert_int_equal(failures, 0);
    assert_int_equal(cases, 2);
}

static void check_split(void *ctx, const gguf_split_case *c) {
    (void)ctx;
    cases++;
    meter m = {0};
    kq_allocator a = {.alloc = meter_alloc, .free = meter_free, .ctx = &m};
    kq_gguf_options o = KQ_OPTIONS_INIT(kq_gguf_options);
    o.allocator = &a;
    kq_error e = {0};
    kq_gguf *g;
    kq_status status = kq_gguf_open(&g, c->path, &o, &e);
    if (status != c->status) explain(c->name, &e, "another status");
    if (status) {
        size_t n = strlen(e.file), blames = strlen(c->blames);
        if (g) explain(c->name, &e, "a result in spite of a failure");
        if (n < blames || strcmp(e.file + n - blames, c->blames) != 0) explain(c->name, &e, e.file);
        for (int i = 0; i < CASE_SAYS; i++) {
            if (!strstr(e.text, c->says[i])) explain(c->name, &e, c->says[i]);
        }
    } else {
        if (kq_gguf_parts(g) != 3 || kq_gguf_n_tensors(g) != 3) explain(c->name, &e, "not three parts");
    }
    kq_gguf_close(g);
    if (m.now) explain(c->name, &e, "a leak");
}

static void wrong_shards_are_refused_by_name(void **state) {
    (void)state;
    char directory[64];
    assert_int_equal(folder_make(directory, "split"), 0);
    failures = cases = 0;
    assert_int_equal(gguf_split_corpus(directory, check_split, NULL), 0);
    assert_int_equal(folder_remove(directory), 0);
    assert_int_equal(failures, 0);
    assert_true(cases > 20);
}

static void a_part_alone_in_memory(void **state) {
    (void)state;
    gguf b;
    gguf_begin(&b, 3);
    gguf_u32(&b, "split.no", 0);
    gguf_u32(&b, "split.count", 2);
    gguf_u32(&b, "split.tensors.count", 0);
    gguf_finish(&b);
    kq_gguf *g;
    kq_error e;
    assert_int_equal(kq_gguf_open_memory(&g, b.out.data, b.out.size, NULL, NULL, &e), KQ_E_UNSUPPORTED);
    assert_null(g);
    assert_non_null(strstr(e.text, "'split.count' is 2"));
    gguf_free(&b);
}

/* A file that is shorter than its header says never opens, wherever it is cut. */
static void truncated_anywhere(void **state) {
    (void)state;
    gguf b;
    gguf_sample(&b, 3);
    for (size_t size = 0; size < b.out.size; size++) {
        uint8_t *copy = malloc(size ? size : 1);
        assert_non_null(copy);
        memcpy(copy, b.out.data, size);
        meter m = {0};
        kq_error e = {0};
        kq_gguf *g;
        kq_status status = open_metered(copy, size, &m, &g, &e);
        if (status != KQ_E_FORMAT) print_error("cut at %zu: %d %s\n", size, status, e.text);
        assert_int_equal(status, KQ_E_FORMAT);
        assert_true(e.offset <= size);
        assert_int_equal(m.now, 0);
        free(copy);
    }
    gguf_free(&b);
}

static void truncated_every_4_kib_on_disk(void **state) {
    (void)state;
    bytes whole = read_file(KQ_SOURCE_DIR "/models/tale-q4_k_m.gguf");
    assert_non_null(whole.data);
    char path[] = "/tmp/kquant-cut-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, whole.data, whole.size), (ssize_t)whole.size);
    int opened = 0;
    for (size_t size = (whole.size - 1) & ~(size_t)4095;; size -= 4096) {
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
        kq_gguf *g;
        kq_error e = {0};
        kq_status status = kq_gguf_open(&g, path, NULL, &e);
        if (status != KQ_E_FORMAT) print_error("cut at %zu: %d %s\n", size, status, e.text);
        assert_int_equal(status, KQ_E_FORMAT);
        opened++;
        if (size == 0) break;
    }
    assert_int_equal(opened, (int)((whole.size - 1) / 4096 + 1));
    close(fd);
    unlink(path);
    bytes_free(&whole);
}

/* Rows of 1 to 512 weights in every codec: whole blocks open, others are refused. */
static void rows_of_every_length(void **state) {
    (void)state;
    for (uint32_t type = 0; type < 64; type++) {
        const kq_codec_info *info = kq_codec_describe(type);
        for (uint64_t row = 1; row <= 512; row++) {
            gguf b;
            gguf_begin(&b, 3);
            gguf_tensor(&b, "t", 2, (uint64_t[]){row, 3}, type, info ? (size_t)(row / info->block_weights * 3 * info->block_bytes) : 0);
            gguf_finish(&b);
            kq_gguf *g;
            kq_error e = {0};
            kq_status status = kq_gguf_open_memory(&g, b.out.data, b.out.size, NULL, NULL, &e);
            assert_int_equal(status, !info ? KQ_E_UNSUPPORTED : row % info->block_weights ? KQ_E_FORMAT : KQ_OK);
            if (!status) assert_int_equal(kq_gguf_tensor_at(g, 0)->bytes, row / info->block_weights * 3 * info->block_bytes);
            kq_gguf_close(g);
            gguf_free(&b);
        }
    }
}

static void every_unknown_type(void **state) {
    (void)state;
    gguf b;
    gguf_begin(&b, 3);
    gguf_tensor(&b, "t", 1, (uint64_t[]){512}, 0, 4096);
    gguf_finish(&b);
    size_t at = 24 + 8 + 1 + 4 + 8;
    for (uint32_t type = 0; type < 70000; type++) {
        if (kq_codec_describe(type)) continue;
        memcpy(b.out.data + at, &type, 4);
        kq_gguf *g;
        assert_int_equal(kq_gguf_open_memory(&g, b.out.data, b.out.size, NULL, NULL, NULL), KQ_E_UNSUPPORTED);
    }
    gguf_free(&b);
}

/* Every key of the sample through every typed reader and every walk: the right ones answer, the others say what it is. */
static void every_kind_through_every_reader(void **state) {
    (void)state;
    gguf b;
    gguf_sample(&b, 3);
    kq_gguf *g;
    assert_int_equal(kq_gguf_open_memory(&g, b.out.data, b.out.size, NULL, NULL, NULL), KQ_OK);
    for (size_t i = 0; i < kq_gguf_n_values(g); i++) {
        const kq_gguf_value *v = kq_gguf_value_at(g, i);
        const char *key = v->key.data;
        bool scalar = v->kind != KQ_GGUF_ARRAY, string = v->element == KQ_GGUF_STRING, boolean = v->element == KQ_GGUF_BOOL;
        bool real = v->element == KQ_GGUF_F32 || v->element == KQ_GGUF_F64, integral = !string && !boolean && !real;
        uint64_t u = 1;
        float f = 1;
        bool yes = true;
        kq_string s = {.data = key};
        int64_t whole;
        double number;
        kq_error e;
        kq_status status[4] = {kq_gguf_get_u64(g, key, 0, UINT64_MAX, &u, &e), kq_gguf_get_f32(g, key, &f, &e),
                               kq_gguf_get_bool_or(g, key, false, &yes, &e), kq_gguf_get_string(g, key, &s, &e)};
        bool negative = scalar && (v->kind == KQ_GGUF_I8 || v->kind == KQ_GGUF_I16 || v->kind == KQ_GGUF_I32 || v->kind == KQ_GGUF_I64);
        bool fits[4] = {scalar && integral && !negative, scalar && real, scalar && boolean, scalar && string};
        for (int k = 0; k < 4; k++) {
            if (!fits[k]) assert_non_null(strstr(e.text, "must be"));
            assert_int_equal(status[k], fits[k] ? KQ_OK : KQ_E_MODEL);
        }
        if (!fits[0]) assert_true(u == 0);
        if (!fits[3]) assert_null(s.data);
        assert_int_equal(kq_gguf_element_i64(v, v->count, &whole), false);
        assert_int_equal(kq_gguf_element_i64(v, UINT64_MAX, &whole), false);
        assert_int_equal(kq_gguf_element_f64(v, v->count, &number), false);
        assert_int_equal(kq_gguf_element_f64(v, UINT64_MAX, &number), false);
        for (uint64_t k = 0; k < v->count; k++) {
            bool big = v->element == KQ_GGUF_U64 && kq_load_u64(v->data + 8 * k) > INT64_MAX;
            assert_int_equal(kq_gguf_element_i64(v, k, &whole), (integral || boolean) && !big);
            assert_int_equal(kq_gguf_element_f64(v, k, &number), integral || real);
        }
        uint64_t walked = 0;
        kq_gguf_strings it = kq_gguf_strings_of(v);
        while (kq_gguf_strings_next(&it, &s)) walked++;
        assert_int_equal(walked, !scalar && string ? v->count : 0);
        assert_int_equal(kq_gguf_scalar_string(v, &s), scalar && string);
    }
    kq_gguf_close(g);
    gguf_free(&b);
}

/* The Nth allocation fails, for every N: KQ_E_MEMORY, nothing leaks, nothing crashes. */
static void every_allocation_fails_once(void **state) {
    (void)state;
    gguf b;
    gguf_sample(&b, 3);
    meter all = {0};
    kq_gguf *g;
    assert_int_equal(open_metered(b.out.data, b.out.size, &all, &g, NULL), KQ_OK);
    kq_gguf_close(g);
    assert_true(all.calls > 4);
    for (size_t n = 1; n <= all.calls; n++) {
        meter m = {.fail_at = n};
        kq_error e = {0};
        assert_int_equal(open_metered(b.out.data, b.out.size, &m, &g, &e), KQ_E_MEMORY);
        assert_null(g);
        assert_int_equal(m.now, 0);
        assert_int_equal(e.status, KQ_E_MEMORY);
        assert_non_null(strstr(e.text, "no memory"));
    }
    gguf_free(&b);
}

static void every_allocation_of_a_split_model_fails_once(void **state) {
    (void)state;
    char directory[64], path[128];
    assert_int_equal(folder_make(directory, "split"), 0);
    for (uint32_t part = 0; part < 3; part++) {
        gguf b;
        gguf_begin(&b, 3);
        gguf_u32(&b, "split.no", part);
        gguf_u32(&b, "split.count", 3);
        gguf_u32(&b, "split.tensors.count", 300);
        for (uint32_t t = 0; t < 100; t++) { /* in falling order, so that offsets are sorted */
            char name[16];
            snprintf(name, sizeof name, "p%u.t%u", part, t);
            gguf_info(&b, name, 1, (uint64_t[]){8}, 24, 32 * (99 - t));
        }
        put_zeros(&b.data, 3200);
        gguf_finish(&b);
        snprintf(path, sizeof path, "%s/m-%05u-of-00003.gguf", directory, part + 1);
        assert_int_equal(write_file(path, b.out.data, b.out.size), 0);
        gguf_free(&b);
    }
    kq_status status = KQ_E_MEMORY;
    size_t n = 0;
    while (status) { /* `path` is the last part: the first is opened second */
        meter m = {.fail_at = ++n};
        kq_allocator a = {.alloc = meter_alloc, .free = meter_free, .ctx = &m};
        kq_gguf_options o = KQ_OPTIONS_INIT(kq_gguf_options);
        o.allocator = &a;
        kq_gguf *g;
        status = kq_gguf_open(&g, path, &o, NULL);
        assert_true(status == KQ_OK || status == KQ_E_MEMORY);
        kq_gguf_close(g);
        assert_int_equal(m.now, 0);
        if (!status) assert_true(m.calls < n);
    }
    assert_true(n > 20);
    assert_int_equal(folder_remove(directory), 0);
}

/* Touches every byte that the file promises; returns something, so that nothing is optimised away. */
static uint64_t walk(const kq_gguf *g) {
    uint64_t sum = 0;
    for (size_t i = 0; i < kq_gguf_n_values(g); i++) {
        const kq_gguf_value *v = kq_gguf_value_at(g, i);
        kq_string s;
        int64_t n;
        double d;
        assert_ptr_equal(kq_gguf_find(g, v->key.data), v);
        kq_gguf_strings it = kq_gguf_strings_of(v);
        while (kq_gguf_strings_next(&it, &s)) {
            for (size_t k = 0; k < s.size; k++) sum += (uint8_t)s.data[k];
        }
        if (kq_gguf_scalar_string(v, &s) && s.size) sum += (uint8_t)s.data[s.size - 1];
        for (uint64_t k = 0; k < v->count && v->element != KQ_GGUF_STRING; k++) {
            if (kq_gguf_element_i64(v, k, &n)) sum += (uint64_t)n;
            if (kq_gguf_element_f64(v, k, &d)) sum += d > 0;
        }
        for (uint64_t k = 0; k < v->size; k++) sum += v->data[k];
    }
    for (size_t i = 0; i < kq_gguf_n_tensors(g); i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(g, i);
        assert_ptr_equal(kq_gguf_tensor_find(g, t->name.data), t);
        assert_int_equal(t->offset % kq_gguf_alignment(g), 0);
        for (uint64_t k = 0; k < t->bytes; k++) sum += ((const uint8_t *)t->data)[k];
    }
    return sum;
}

/* Any change of any bytes: the file opens and can be walked, or is refused with a text. Says the seed; KQ_SEED repeats one. */
static void any_mutation(void **state) {
    uint64_t sum = 0;
    new_seed(state);
    static const uint64_t words[] = {0, 1, 255, 1u << 31, UINT32_MAX, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX};
    gguf b;
    gguf_sample(&b, 3);
    uint8_t *copy = malloc(b.out.size);
    assert_non_null(copy);
    size_t opened = 0, refused = 0;
    for (size_t at = 0; at < b.out.size; at++) {
        for (int round = 0; round < 12; round++) {
            memcpy(copy, b.out.data, b.out.size);
            size_t size = b.out.size, some = (size_t)next_random() % 64;
            if (round < 8) copy[at] ^= (uint8_t)(1u << round); /* each bit once */
            else if (round == 8) copy[at] = (uint8_t)next_random();
            else if (round == 9) memcpy(copy + at, &words[next_random() % KQ_COUNT(words)], KQ_MIN((size_t)8, size - at));
            else if (round == 10) memcpy(copy + at, b.out.data + next_random() % (size / 2), KQ_MIN(size - at, some));
            else for (int k = 0; k < 8; k++) copy[next_random() % size] = (uint8_t)next_random();
            meter m = {0};
            kq_error e = {0};
            kq_gguf *g;
            kq_status status = open_metered(copy, size, &m, &g, &e);
            if (status) {
                assert_true(status >= 40 && status <= 43 && e.text[0] && e.offset <= size);
                refused++;
            } else {
                sum += walk(g);
                kq_gguf_close(g);
                opened++;
            }
            assert_int_equal(m.now, 0);
            assert_true(m.peak <= memory_limit(size));
        }
    }
    print_message("%zu opened, %zu refused (%llu)\n", opened, refused, (unsigned long long)sum);
    assert_true(opened > 1000 && refused > 1000);
    free(copy);
    gguf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_corpus_is_refused), cmocka_unit_test(the_largest_number_of_tensors),
        cmocka_unit_test(wrong_shards_are_refused_by_name), cmocka_unit_test(a_part_alone_in_memory),
        cmocka_unit_test(truncated_anywhere), cmocka_unit_test(truncated_every_4_kib_on_disk),
        cmocka_unit_test(rows_of_every_length), cmocka_unit_test(every_unknown_type),
        cmocka_unit_test(every_kind_through_every_reader), cmocka_unit_test(every_allocation_fails_once),
        cmocka_unit_test(every_allocation_of_a_split_model_fails_once), cmocka_unit_test(any_mutation),
    };
    return cmocka_run_group_tests_name("gguf_hostile", tests, NULL, NULL);
}
