/* SPDX-License-Identifier: MIT */
/* Importance matrices: both forms of one matrix that llama.cpp wrote say the same and are written again to the byte; faults are listed;
 * hostile files are refused. */
#include "gguf_build.h"
#include "golden.h"
#include "meter.h"

#include "file/file.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static char target[64];
static int make_target(void **state) {
    (void)state;
    snprintf(target, sizeof target, "/tmp/kquant-im-XXXXXX");
    int fd = mkstemp(target);
    return fd < 0 || close(fd) ? -1 : 0;
}
static int remove_target(void **state) {
    (void)state;
    return unlink(target);
}

static void same_bytes(const char *a, const char *b) {
    bytes x = read_file(a), y = read_file(b);
    assert_non_null(x.data);
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.data, y.data, x.size);
    bytes_free(&x);
    bytes_free(&y);
}

static void both_forms_of_one_matrix(void **state) {
    (void)state;
    char g_path[1024], d_path[1024];
    kq_imatrix *g, *d;
    kq_error e;
    if (!golden_shared_path(g_path, sizeof g_path, "golden/quantize/tale.imatrix.gguf")) return;
    golden_shared_path(d_path, sizeof d_path, "golden/quantize/tale.imatrix.dat");
    if (kq_imatrix_open(&g, g_path, NULL, &e) || kq_imatrix_open(&d, d_path, NULL, &e)) fail_msg("%s: %s", e.file, e.text);
    assert_int_equal(kq_imatrix_form_of(g), KQ_IMATRIX_GGUF);
    assert_int_equal(kq_imatrix_form_of(d), KQ_IMATRIX_DAT);
    uint32_t chunk_size;
    assert_int_equal(kq_imatrix_chunks(g, &chunk_size), 200);
    assert_int_equal(chunk_size, 512);
    assert_int_equal(kq_imatrix_chunks(d, NULL), 200);
    assert_string_equal(kq_imatrix_dataset_at(g, 0), kq_imatrix_dataset_at(d, 0));
    assert_int_equal(kq_imatrix_n_entries(g), 56);
    assert_int_equal(kq_imatrix_n_entries(d), 56);
    uint64_t at = 0;
    kq_imatrix_issue issue;
    assert_false(kq_imatrix_next_issue(g, &at, &issue));
    for (size_t i = 0; i < 56; i++) {
        const kq_imatrix_entry *a = kq_imatrix_entry_at(g, i);
        float x[1024], y[1024];
        bool found;
        assert_in_range(a->columns, 1, 1024);
        assert_int_equal(kq_imatrix_weights(g, a->name.data, a->columns, 1, x, &found, &e), KQ_OK);
        assert_true(found);
        assert_int_equal(kq_imatrix_weights(d, a->name.data, a->columns, 1, y, &found, &e), KQ_OK);
        assert_true(found);
        for (uint64_t k = 0; k < a->columns; k++) { /* the old form is m * 200, rounded; read, it is divided and rounded: 2 * 2^-24 */
            assert_true(fabs((double)x[k] - (double)y[k]) <= (double)x[k] * 0x1.001p-23);
        }
    }
    assert_int_equal(kq_imatrix_write(g, target, KQ_IMATRIX_GGUF, &e), KQ_OK);
    same_bytes(target, g_path);
    assert_int_equal(kq_imatrix_write(g, target, KQ_IMATRIX_DAT, &e), KQ_OK);
    same_bytes(target, d_path);
    kq_imatrix_close(g);
    kq_imatrix_close(d);
}

static void experts_faults_and_merging(void **state) {
    (void)state;
    const float sums[12] = {2, 4, 6, NAN, 1, 1, 5, -1, 1, 0, 0, 0}, counts[4] = {2, 1, 1, 0}, expect[12] = {1, 2, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const kq_imatrix_fault faults[] = {KQ_IMATRIX_NOT_FINITE, KQ_IMATRIX_NEGATIVE, KQ_IMATRIX_NEVER_HIT};
    kq_imatrix *im, *again;
    kq_error e;
    float out[12];
    bool found;
    assert_int_equal(kq_imatrix_create(&im, NULL, &e), KQ_OK);
    assert_int_equal(kq_imatrix_add(im, "blk.0.ffn_up_exps.weight", 3, 4, sums, counts, &e), KQ_OK);
    assert_int_equal(kq_imatrix_add(im, "blk.0.ffn_up_exps.weight", 4, 3, sums, counts, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_imatrix_add(im, "b", 2, 1, (float[]){1, 2}, (float[]){1}, &e), KQ_OK);
    assert_int_equal(kq_imatrix_add(im, "b", 2, 1, (float[]){3, 4}, (float[]){1}, &e), KQ_OK);
    assert_int_equal(kq_imatrix_add_dataset(im, "one", &e), KQ_OK);
    assert_int_equal(kq_imatrix_add_dataset(im, "two", &e), KQ_OK);
    kq_imatrix_set_chunks(im, 7, 512);
    for (int form = KQ_IMATRIX_GGUF; form <= KQ_IMATRIX_DAT; form++) {
        assert_int_equal(kq_imatrix_write(im, target, (kq_imatrix_form)form, &e), KQ_OK);
        if (kq_imatrix_open(&again, target, NULL, &e)) fail_msg("%s", e.text);
        assert_int_equal(kq_imatrix_weights(again, "blk.0.ffn_up_exps.weight", 3, 4, out, &found, &e), KQ_OK);
        for (int i = 0; i < 12; i++) assert_true(fabsf(out[i] - expect[i]) <= expect[i] * 0x1.001p-23f);
        assert_int_equal(kq_imatrix_weights(again, "b", 2, 1, out, &found, &e), KQ_OK);
        assert_true(found && fabsf(out[0] - 2) <= 0x1p-21f && fabsf(out[1] - 3) <= 0x1p-21f);
        assert_int_equal(kq_imatrix_weights(again, "b", 3, 1, out, &found, &e), KQ_E_MODEL);
        assert_int_equal(kq_imatrix_weights(again, "c", 3, 1, out, &found, &e), KQ_OK);
        assert_false(found);
        uint64_t at = 0, n = 0;
        kq_imatrix_issue issue;
        for (; kq_imatrix_next_issue(again, &at, &issue); n++) {
            assert_int_equal(issue.group, n + 1);
            assert_int_equal(issue.fault, faults[n]);
        }
        assert_int_equal(n, form == KQ_IMATRIX_GGUF ? 3 : 0);
        assert_non_null(kq_imatrix_dataset_at(again, form == KQ_IMATRIX_GGUF));
        kq_imatrix_close(again);
    }
    kq_imatrix_close(im);
}

static void dat(bytes *b, uint32_t n, uint32_t length, const char *name, uint32_t calls, uint32_t values, size_t floats) {
    *b = (bytes){0};
    put_u32(b, n);
    put_u32(b, length);
    put_raw(b, name, strlen(name));
    put_u32(b, calls);
    put_u32(b, values);
    for (size_t i = 0; i < floats; i++) put_f32(b, 1);
}

static kq_status read_exact(const bytes *b, size_t size, kq_imatrix **im, kq_error *e) { /* in a block of its exact size */
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, b->data, size);
    kq_status status = kq_imatrix_open_memory(im, copy, size, NULL, NULL, e);
    free(copy);
    return status;
}

static void hostile_files(void **state) {
    (void)state;
    static const struct { uint32_t n, length, calls, values; kq_status status; } cases[] = {
        {1, 3, 5, 2, KQ_OK}, {1, 3, 0, 2, KQ_OK}, {0, 3, 5, 2, KQ_E_FORMAT}, {2, 3, 5, 2, KQ_E_FORMAT}, {UINT32_MAX, 3, 5, 2, KQ_E_FORMAT},
        {INT32_MAX, 3, 5, 2, KQ_E_FORMAT}, {1, 0, 5, 2, KQ_E_FORMAT}, {1, UINT32_MAX, 5, 2, KQ_E_FORMAT}, {1, INT32_MAX, 5, 2, KQ_E_FORMAT},
        {1, 3, UINT32_MAX, 2, KQ_E_FORMAT}, {1, 3, 5, 0, KQ_E_FORMAT}, {1, 3, 5, 3, KQ_E_FORMAT}, {1, 3, 5, 1, KQ_E_FORMAT},
        {1, 3, 5, UINT32_MAX, KQ_E_FORMAT}, {1, 3, 5, 0x40000001, KQ_E_FORMAT}};
    kq_imatrix *im;
    kq_error e;
    bytes b;
    for (size_t i = 0; i < KQ_COUNT(cases); i++) {
        dat(&b, cases[i].n, cases[i].length, "abc", cases[i].calls, cases[i].values, 2);
        kq_status status = read_exact(&b, b.size, &im, &e);
        if (status != cases[i].status) fail_msg("case %zu: %s %s", i, kq_status_name(status), status ? e.text : "");
        kq_imatrix_close(im);
        bytes_free(&b);
    }
    dat(&b, 1, 3, "abc", 5, 2, 2);
    size_t whole = b.size;
    put_u32(&b, 9);
    put_u32(&b, 4);
    put_raw(&b, "text", 4);
    for (size_t size = 0; size <= b.size; size++) { /* cut anywhere: it is whole in two places */
        assert_int_equal(read_exact(&b, size, &im, &e), size == whole || size == b.size ? KQ_OK : KQ_E_FORMAT);
        kq_imatrix_close(im);
    }
    put_u8(&b, 0);
    assert_int_equal(read_exact(&b, b.size, &im, &e), KQ_E_FORMAT);
    bytes_free(&b);
    gguf g; /* a GGUF that is another thing */
    gguf_sample(&g, 3);
    assert_int_equal(read_exact(&g.out, g.out.size, &im, &e), KQ_E_MODEL);
    gguf_free(&g);
    static const struct { const char *name; uint64_t dims[2]; const char *other; uint64_t counts; kq_status status; } tensors[] = {
        {"a.in_sum2", {4, 3}, "a.counts", 3, KQ_OK}, {"a.in_sum2", {4, 3}, "a.counts", 2, KQ_E_MODEL},
        {"a.in_sum2", {4, 3}, "b.counts", 3, KQ_E_MODEL}, {"a.in_sum", {4, 3}, "a.counts", 3, KQ_E_MODEL}};
    for (size_t i = 0; i < KQ_COUNT(tensors); i++) {
        gguf_begin(&g, 3);
        gguf_array(&g, "imatrix.datasets", KQ_GGUF_STRING, 0);
        gguf_u32(&g, "imatrix.chunk_count", 1);
        gguf_u32(&g, "imatrix.chunk_size", 1);
        gguf_tensor(&g, tensors[i].name, 2, tensors[i].dims, KQ_F32, 48);
        gguf_tensor(&g, tensors[i].other, 2, (uint64_t[]){1, tensors[i].counts}, KQ_F32, 4 * (size_t)tensors[i].counts);
        gguf_finish(&g);
        assert_int_equal(read_exact(&g.out, g.out.size, &im, &e), tensors[i].status);
        kq_imatrix_close(im);
        gguf_free(&g);
    }
}


static void every_allocation_fails_once(void **state) {
    (void)state;
    kq_error e;
    for (int form = KQ_IMATRIX_GGUF; form <= KQ_IMATRIX_DAT; form++) {
        size_t n = 0;
        for (kq_status status = KQ_E_MEMORY; status;) {
            meter m = {.fail_at = ++n};
            kq_allocator a = meter_allocator(&m);
            kq_imatrix_options o = KQ_OPTIONS_INIT(kq_imatrix_options);
            o.allocator = &a;
            kq_imatrix *im = NULL, *again = NULL;
            status = kq_imatrix_create(&im, &o, &e);
            if (!status) status = kq_imatrix_add(im, "a", 2, 1, (float[]){1, 2}, (float[]){1}, &e);
            if (!status) status = kq_imatrix_add_dataset(im, "text", &e);
            if (!status) status = kq_imatrix_write(im, target, (kq_imatrix_form)form, &e);
            if (!status) status = kq_imatrix_open(&again, target, &o, &e);
            if (status) assert_int_equal(status, KQ_E_MEMORY);
            kq_imatrix_close(im);
            kq_imatrix_close(again);
            assert_int_equal(m.live, 0);
        }
        assert_true(n > 8);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_forms_of_one_matrix, make_target, remove_target),
        cmocka_unit_test_setup_teardown(experts_faults_and_merging, make_target, remove_target),
        cmocka_unit_test(hostile_files),
        cmocka_unit_test_setup_teardown(every_allocation_fails_once, make_target, remove_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
