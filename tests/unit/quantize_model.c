/* SPDX-License-Identifier: MIT */
/* Making a model through the library: stopped and taken up, without memory, with weights that are not finite. */
#include "folder.h"
#include "gguf_build.h"
#include "meter.h"

#include "quant/quant.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "quantize_watch.h"

static char folder[64], target[128], part[160];

static int make_folder(void **state) {
    (void)state;
    if (folder_make(folder, "model")) return -1;
    snprintf(target, sizeof target, "%s/out.gguf", folder);
    snprintf(part, sizeof part, "%s.kq-part", target);
    return 0;
}
static int remove_folder(void **state) {
    (void)state;
    return folder_remove(folder);
}

/* Four matrices of f32; one weight of the third is `odd`, unless that is 0. */
static kq_gguf *source(gguf *file, float odd) {
    static const char *const names[] = {"token_embd.weight", "blk.0.attn_q.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down.weight"};
    uint64_t dims[] = {256, 96};
    gguf_begin(file, 3);
    gguf_text(file, "general.architecture", "llama");
    gguf_u32(file, "llama.block_count", 1);
    for (size_t i = 0; i < 4; i++) gguf_info(file, names[i], 2, dims, KQ_F32, i * 256 * 96 * 4);
    for (size_t i = 0; i < 4; i++) {
        for (uint32_t k = 0; k < 256 * 96; k++) {
            float x = sinf((float)(k * (i + 3) % 4099)) * 0.1f;
            if (odd != 0 && i == 2 && k == 256 * 7 + 5) x = odd;
            put_f32(&file->data, x);
        }
    }
    gguf_finish(file);
    kq_gguf *g;
    kq_error e;
    if (kq_gguf_open_memory(&g, file->out.data, file->out.size, "source", NULL, &e)) fail_msg("%s", e.text);
    return g;
}

static kq_quant_plan *plan_of(const kq_gguf *g) {
    kq_quant_plan_options o = KQ_OPTIONS_INIT(kq_quant_plan_options);
    kq_quant_plan *p;
    kq_error e;
    o.type = "Q4_K_S";
    if (kq_quant_plan_open(&p, g, &o, &e)) fail_msg("%s", e.text);
    return p;
}

static kq_status make(const kq_quant_plan *p, watch *w, kq_pool *pool, const kq_allocator *a, kq_error *e) {
    kq_quantize_model_options o = KQ_OPTIONS_INIT(kq_quantize_model_options);
    o.allocator = a;
    o.pool = pool;
    w->most_error = 0.02;
    w->in_order = true;
    watch_with(&o, w);
    return kq_quantize_model(p, target, &o, e);
}

static void same_as(const bytes *expected) {
    bytes b = read_file(target);
    assert_int_equal(b.size, expected->size);
    assert_memory_equal(b.data, expected->data, b.size);
    bytes_free(&b);
    unlink(target);
    assert_int_equal(access(part, F_OK), -1);
}

static void stopped_and_taken_up(void **state) {
    (void)state;
    gguf file = {0};
    kq_gguf *g = source(&file, 0);
    kq_quant_plan *p = plan_of(g);
    kq_pool *pool;
    kq_error e;
    assert_int_equal(kq_pool_open(&pool, 3, NULL, NULL), KQ_OK);
    watch all = {.stop_after = 99};
    assert_int_equal(make(p, &all, NULL, NULL, &e), KQ_OK);
    assert_int_equal(all.reports, 4);
    bytes expected = read_file(target);
    assert_int_equal(expected.size, kq_quant_plan_file_bytes(p));
    for (int stop = 0; stop < 4; stop++) {
        unlink(target);
        watch some = {.stop_after = stop}, rest = {.stop_after = 99};
        assert_int_equal(make(p, &some, pool, NULL, &e), KQ_E_CANCELLED);
        assert_int_equal(some.reports, stop);
        assert_int_equal(access(target, F_OK), -1);
        assert_int_equal(make(p, &rest, stop % 2 ? pool : NULL, NULL, &e), KQ_OK);
        assert_int_equal(rest.kept, stop);
        assert_int_equal(rest.reports, 4);
        same_as(&expected);
    }
    bytes_free(&expected);
    kq_pool_close(pool);
    kq_quant_plan_close(p);
    kq_gguf_close(g);
    gguf_free(&file);
}

static void weights_that_are_not_finite(void **state) {
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < KQ_COUNT(odd); i++) {
        gguf file = {0};
        kq_gguf *g = source(&file, odd[i]);
        kq_quant_plan *p = plan_of(g);
        watch w = {.stop_after = 99};
        kq_error e;
        assert_int_equal(make(p, &w, NULL, NULL, &e), KQ_E_FORMAT);
        assert_non_null(strstr(e.text, "row 7, column 5"));
        assert_int_equal(access(target, F_OK), -1);
        assert_int_equal(access(part, F_OK), -1);
        kq_quant_plan_close(p);
        kq_gguf_close(g);
        gguf_free(&file);
    }
}

static void without_memory(void **state) {
    (void)state;
    gguf file = {0};
    kq_gguf *g = source(&file, 0);
    kq_quant_plan *p = plan_of(g);
    watch all = {.stop_after = 99};
    assert_int_equal(make(p, &all, NULL, NULL, NULL), KQ_OK);
    bytes expected = read_file(target);
    unlink(target);
    kq_status status = KQ_E_MEMORY;
    int n = 0;
    for (; status; n++) {
        watch w = {.stop_after = 99};
        kq_error e;
        meter m = meter_of((size_t)n);
        const kq_allocator a = meter_allocator(&m);
        status = make(p, &w, NULL, &a, &e);
        assert_int_equal(m.live, 0);
        assert_true(status == KQ_OK || status == KQ_E_MEMORY);
        assert_int_equal(access(target, F_OK), status ? -1 : 0);
    }
    assert_true(n > 10);
    same_as(&expected);
    bytes_free(&expected);
    kq_quant_plan_close(p);
    kq_gguf_close(g);
    gguf_free(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stopped_and_taken_up), cmocka_unit_test(weights_that_are_not_finite), cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
