/* SPDX-License-Identifier: MIT */
/* Roofs: that the work is done, as much as is said, and what is refused. How fast is no test. */
#include "base/base.h"

#include <kquant/measure.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BYTES = 1 << 16 };
static uint8_t *memory;

static kq_roof_options options_of(kq_pool *pool, uint32_t mask) {
    kq_roof_options o = KQ_OPTIONS_INIT(kq_roof_options);
    o.pool = pool;
    o.cpu_mask = mask;
    o.memory = memory;
    o.bytes = BYTES;
    return o;
}

static void every_way(kq_pool *pool, uint32_t mask) {
    for (int roof = KQ_ROOF_READ; roof <= KQ_ROOF_INT8; roof++) {
        kq_roof_options o = options_of(pool, mask);
        uint64_t work = 1, twice;
        uint32_t way = 0;
        for (;; way++) {
            memset(memory, 1, BYTES + 64);
            o.rounds = 0;
            assert_int_equal(kq_roof_pass((kq_roof)roof, way, &o, &work, NULL), KQ_OK);
            if (!work) break;
            if (roof == KQ_ROOF_READ || roof == KQ_ROOF_STORE) assert_in_range(work, BYTES - 256 * 3, BYTES);
            bool stored = roof == KQ_ROOF_STORE; /* of several threads one may do another's work, on its own part */
            for (size_t i = 0; i < BYTES + 64; i++) {
                if (!stored || i >= work || !memory[i]) assert_int_equal(memory[i], stored && i < work ? 0 : 1);
                else assert_true(kq_pool_threads(pool) > 1 && memory[i] == 1);
            }
            o.rounds = 2;
            assert_int_equal(kq_roof_pass((kq_roof)roof, way, &o, &twice, NULL), KQ_OK);
            assert_int_equal(twice, 2 * work);
        }
        if (roof <= KQ_ROOF_F32) assert_true(way > 0); /* every machine has these */
    }
}

static void work_is_done(void **state) {
    (void)state;
    static const uint32_t masks[] = {0, KQ_CPU_NONE, KQ_CPU_AVX2, KQ_CPU_AVX2 | KQ_CPU_AVX512,
                                     KQ_CPU_AVX2 | KQ_CPU_AVX512 | KQ_CPU_AVX512ICL | KQ_CPU_AVX512BF16};
    for (int threads = 1; threads <= 3; threads += 2) {
        kq_pool *pool;
        assert_int_equal(kq_pool_open(&pool, threads, NULL, NULL), KQ_OK);
        for (size_t i = 0; i < KQ_COUNT(masks); i++) every_way(pool, masks[i]);
        kq_pool_close(pool);
    }
    every_way(NULL, 0);
}

static void wrong_arguments(void **state) {
    (void)state;
    kq_roof_options o = options_of(NULL, 0);
    uint64_t work = 1;
    kq_error e;
    assert_int_equal(kq_roof_pass(KQ_ROOF_READ, 0, &o, NULL, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_roof_pass((kq_roof)5, 0, &o, &work, &e), KQ_E_ARGUMENT);
    assert_int_equal(work, 0);
    assert_int_equal(kq_roof_pass(KQ_ROOF_STORE, 0, NULL, &work, &e), KQ_E_ARGUMENT);
    o.memory = memory + 32;
    assert_int_equal(kq_roof_pass(KQ_ROOF_READ, 0, &o, &work, &e), KQ_E_ARGUMENT);
    o.memory = memory;
    o.bytes = 255;
    assert_int_equal(kq_roof_pass(KQ_ROOF_STORE, 0, &o, &work, &e), KQ_E_ARGUMENT);
    assert_non_null(strstr(e.text, "255"));
    assert_int_equal(kq_roof_pass(KQ_ROOF_F32, 0, NULL, &work, &e), KQ_OK); /* needs no memory */
    assert_true(work > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(work_is_done), cmocka_unit_test(wrong_arguments)};
    memory = aligned_alloc(64, BYTES + 64);
    if (!memory) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(memory);
    return failed;
}
