/* SPDX-License-Identifier: MIT */
/* base: errors, sizes, memory, half floats, cursor, pool, string map. */
#include "base/base.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void error_text_is_cut_and_escaped(void **state) {
    (void)state;
    kq_error e;
    assert_int_equal(kq_fail(&e, KQ_E_FORMAT, "tensor '%s'", "a\nb\x1b[31m"), KQ_E_FORMAT);
    assert_string_equal(e.text, "tensor 'a\\x0ab\\x1b[31m'");
    assert_true(e.offset == KQ_NO_OFFSET);
    char name[1000];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = 0;
    assert_int_equal(kq_fail_at(&e, KQ_E_IO, name, 7, "%s", name), KQ_E_IO);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_int_equal(strlen(e.file), sizeof e.file - 1);
    assert_int_equal(kq_fail(NULL, KQ_E_IO, "nobody listens"), KQ_E_IO);
}

static void options_of_other_sizes(void **state) {
    (void)state;
    struct {
        size_t struct_size;
        int a, b;
    } newer = {sizeof newer, 1, 2}, out;
    struct {
        size_t struct_size;
        int a;
        int pad;
    } older = {offsetof(__typeof__(newer), b), 5, 9};
    kq_options_read(&out, sizeof out, &newer);
    assert_int_equal(out.b, 2);
    kq_options_read(&out, sizeof out, &older);
    assert_int_equal(out.a, 5);
    assert_int_equal(out.b, 0);
    kq_options_read(&out, sizeof out, NULL);
    assert_int_equal(out.a, 0);
}

static void sizes_are_checked(void **state) {
    (void)state;
    uint64_t r;
    assert_true(kq_round_up(33, 32, &r) && r == 64);
    assert_true(kq_round_up(0, 32, &r) && r == 0);
    assert_false(kq_round_up(UINT64_MAX - 3, 32, &r));
    assert_false(kq_mul(UINT64_C(1) << 32, UINT64_C(1) << 32, &r));
    assert_true(kq_within(4, 4, 8));
    assert_false(kq_within(4, 5, 8));
    assert_false(kq_within(9, 0, 8));
    assert_false(kq_within(1, UINT64_MAX, 8));
    kq_allocator a = kq_allocator_of(NULL);
    assert_null(kq_alloc(&a, UINT64_MAX / 2, 4));
}

static void f16_there_and_back(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = kq_f16_to_f32((uint16_t)h);
        if ((h & 0x7c00) == 0x7c00 && (h & 0x3ff)) {
            assert_true(f != f);
            assert_int_equal(kq_f32_to_f16(f), (h & 0x8000) | 0x7e00);
        } else {
            assert_int_equal(kq_f32_to_f16(f), h);
        }
        float b = kq_bf16_to_f32((uint16_t)h);
        if (b == b) assert_int_equal(kq_f32_to_bf16(b), h);
    }
    assert_int_equal(kq_f32_to_f16(65519.99f), 0x7bff);
    assert_int_equal(kq_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(kq_f32_to_f16(0x1p-25f), 0);          /* half of the smallest: to even */
    assert_int_equal(kq_f32_to_f16(0x1.000002p-25f), 1);
    assert_int_equal(kq_f32_to_f16(0x1.ffffp-15f), 0x400); /* the largest subnormal rounds up to a normal */
    assert_int_equal(kq_f32_to_bf16(0x1.01p0f), 0x3f80);   /* tie to even */
    assert_int_equal(kq_f32_to_bf16(0x1.03p0f), 0x3f82);
}

static void cursor_stops_at_the_end(void **state) {
    (void)state;
    uint8_t bytes[10] = {1, 0, 0, 0, 2};
    kq_cursor c = {bytes, sizeof bytes, 0};
    uint32_t a;
    uint64_t b;
    assert_true(kq_cursor_u32(&c, &a) && a == 1);
    assert_false(kq_cursor_u64(&c, &b));
    assert_int_equal(c.at, 4);
    assert_null(kq_cursor_take(&c, UINT64_MAX));
    assert_non_null(kq_cursor_take(&c, 6));
    assert_null(kq_cursor_take(&c, 1));
}

enum { TASKS = 1000 };
static void count_task(void *ctx, size_t i, size_t worker) {
    _Atomic(int) *hits = ctx;
    assert_true(worker < 4);
    atomic_fetch_add(&hits[i], 1);
}

static void pool_runs_every_task_once(void **state) {
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        kq_pool *pool;
        assert_int_equal(kq_pool_open(&pool, threads, NULL, NULL), KQ_OK);
        assert_int_equal(kq_pool_threads(pool), threads);
        for (int round = 1; round <= 200; round++) {
            static _Atomic(int) hits[TASKS];
            size_t n = (size_t)round * 5;
            for (size_t i = 0; i < n; i++) hits[i] = 0;
            kq_pool_run(pool, n, count_task, hits);
            for (size_t i = 0; i < n; i++) assert_int_equal(hits[i], 1);
        }
        kq_pool_close(pool);
    }
    kq_error e;
    kq_pool *pool;
    assert_int_equal(kq_pool_open(&pool, -1, NULL, &e), KQ_E_ARGUMENT);
    assert_null(pool);
}

static void string_map_finds_what_it_holds(void **state) {
    (void)state;
    kq_strmap map;
    enum { N = 5000 };
    static char keys[N][8];
    assert_true(kq_strmap_init(&map, NULL, 0));
    for (uint32_t i = 0; i < N; i++) {
        size_t size = 4;
        memcpy(keys[i], &i, 4);
        bool failed = false;
        assert_true(kq_strmap_add(&map, keys[i], size, i, NULL, &failed));
        uint32_t old = 0;
        assert_false(kq_strmap_add(&map, keys[i], size, 0, &old, &failed));
        assert_int_equal(old, i);
        assert_false(failed);
    }
    for (uint32_t i = 0; i < N; i++) {
        uint32_t value;
        assert_true(kq_strmap_find(&map, keys[i], 4, &value));
        assert_int_equal(value, i);
        assert_false(kq_strmap_find(&map, keys[i], 3, &value));
    }
    assert_true(kq_strmap_add(&map, "", 0, 77, NULL, NULL));
    kq_strmap_free(&map);
}

static void arena_gives_zeroed_aligned_memory(void **state) {
    (void)state;
    kq_arena arena;
    kq_arena_init(&arena, NULL);
    for (size_t i = 1; i < 3000; i += 7) {
        uint8_t *p = kq_arena_alloc(&arena, i, 100);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t k = 0; k < i * 100; k++) assert_int_equal(p[k], 0);
        memset(p, 255, i * 100);
    }
    assert_null(kq_arena_alloc(&arena, UINT64_MAX, 2));
    kq_arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_text_is_cut_and_escaped), cmocka_unit_test(options_of_other_sizes),
        cmocka_unit_test(sizes_are_checked), cmocka_unit_test(f16_there_and_back), cmocka_unit_test(cursor_stops_at_the_end),
        cmocka_unit_test(pool_runs_every_task_once), cmocka_unit_test(string_map_finds_what_it_holds),
        cmocka_unit_test(arena_gives_zeroed_aligned_memory),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
