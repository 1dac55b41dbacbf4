/* SPDX-License-Identifier: MIT */
/* The public operations at their edges: at every entry point what is NULL, empty, overlapping, too large, out of range, without memory or no
 * number is an error or a result that ops.h names. What they compute is tests/unit/operations.c's. */
#include "meter.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "operands.h"

/* The four operations as one: [M, K] by [N, K], but matmul_t's x and y change places and embed looks M rows up. */
enum { MATMUL, MATMUL_T, GATHER, EMBED, N_ENTRIES };
static kq_status enter(int op, kq_device *d, const kq_activations *x, const kq_weights *w, const int32_t *ids, size_t n, const kq_results *y,
                       kq_error *e) {
    if (op == MATMUL) return kq_matmul(d, x, w, NULL, y, e);
    if (op == MATMUL_T) return kq_matmul_t(d, x, w, y, e);
    if (op == GATHER) return kq_matmul_gather(d, x, w, NULL, ids, n, y, e);
    return kq_embed(d, w, ids, n, y, e);
}

static void what_is_null_is_refused(void **state) {
    (void)state;
    devices d;
    open_devices(&d);
    packed p = pack(KQ_Q8_0, 1, 32, 32, 0);
    kq_activations x = make_x(KQ_F32, 1, 2, 32, 0);
    kq_results y = make_y(KQ_F32, 1, 2, 32, 0);
    static const int32_t ids[] = {0, 0};
    for (int op = 0; op < N_ENTRIES; op++) {
        kq_error e = {0};
        assert_int_equal(enter(op, NULL, &x, &p.w, ids, 2, &y, &e), KQ_E_ARGUMENT);
        assert_string_equal(e.text, "device is NULL");
        if (op != EMBED) assert_int_equal(enter(op, d.device[1], NULL, &p.w, ids, 2, &y, &e), KQ_E_ARGUMENT);
        if (op != EMBED) assert_string_equal(e.text, "x is NULL");
        assert_int_equal(enter(op, d.device[1], &x, NULL, ids, 2, &y, &e), KQ_E_ARGUMENT);
        assert_string_equal(e.text, "w is NULL");
        assert_int_equal(enter(op, d.device[1], &x, &p.w, ids, 2, NULL, &e), KQ_E_ARGUMENT);
        assert_string_equal(e.text, "y is NULL");
        assert_int_equal(enter(op, d.device[1], &x, &p.w, ids, 2, NULL, NULL), KQ_E_ARGUMENT);
        is_unwritten(&y);
    }
    assert_int_equal(kq_device_open(NULL, NULL, NULL), KQ_E_ARGUMENT);
    free(y.data);
    free((void *)(uintptr_t)x.data);
    unpack(&p);
    close_devices(&d);
}

/* All eight of M, N and K that are 0 or not, with NULL for what has no elements: sums over nothing are 0, the rest is not touched. */
static void any_dimension_may_be_0(void **state) {
    (void)state;
    devices d;
    open_devices(&d);
    for (int i = 0; i < 4 * 8 * N_ENTRIES * 3; i++) {
        int op = i % N_ENTRIES, which = i / N_ENTRIES % 8;
        uint32_t type = types[i / N_ENTRIES / 8 % 3];
        kq_device *device = d.device[i / N_ENTRIES / 8 / 3];
        uint64_t m = which & 1 ? 3 : 0, n = which & 2 ? 32 : 0, k = which & 4 ? 256 : 0, batch = op < GATHER ? 2 : 1;
        packed p = pack(KQ_Q4_K, 1, n, k, 1);
        kq_activations x = make_x(type, batch, m, op == MATMUL_T ? n : k, 1);
        kq_results y = make_y(type, batch, m, op == MATMUL || op == GATHER ? n : k, 1);
        void *x_memory = (void *)(uintptr_t)x.data;
        static const int32_t zeros[3];
        if (op == EMBED && !n) y.rows = m = 0; /* no row is there to look up */
        if (!m || !x.cols) x.data = NULL;
        if (!n || !k) p.w.data = NULL;
        kq_results given = y;
        if (!m || !y.cols) given.data = NULL;
        kq_error e;
        if (enter(op, device, &x, &p.w, zeros, m, &given, &e)) fail_msg("operation %d, M %d, N %d, K %d: %s", op, (int)m, (int)n, (int)k, e.text);
        bool summed = op == MATMUL || op == GATHER ? !k : op == MATMUL_T && !n;
        for (uint64_t b = 0; b < batch; b++)
            for (uint64_t r = 0; r < m && summed; r++)
                for (uint64_t c = 0; c < y.cols; c++) assert_int_equal(kq_f32_to_bits(get(type, y.data, y_at(&y, b, r, c))), 0);
        if (!given.data) is_unwritten(&y);
        else gaps_untouched(&y);
        free(y.data);
        free(x_memory);
        unpack(&p);
    }
    close_devices(&d);
}

/* Rows and matrices that are read may overlap; the results are those of copies without. */
static void what_is_read_may_overlap(void **state) {
    (void)state;
    devices d;
    open_devices(&d);
    enum { M = 3, N = 32, K = 64, MATRICES = 2 };
    packed p = pack(KQ_Q8_0, 1, N + MATRICES, K, 0);
    uint64_t block = kq_codec_describe(KQ_Q8_0)->block_bytes;
    kq_weights slid = p.w, apart = {KQ_Q8_0, NULL, MATRICES * N * 2 * block, N, K, 0, MATRICES, 0};
    slid.rows = N;
    slid.row_bytes = block;      /* a row begins with the block that ends the one before */
    slid.matrices = MATRICES;
    slid.matrix_bytes = block;
    uint8_t *copy = take(apart.bytes);
    for (uint64_t i = 0; i < MATRICES * N; i++) memcpy(copy + i * 2 * block, (const uint8_t *)p.w.data + (i / N + i % N) * block, 2 * block);
    apart.data = copy;
    static const int32_t right[] = {1, 0, 1}, ids[] = {31, 0, 7};
    for (int op = 0; op < N_ENTRIES; op++) {
        uint64_t batch = op < GATHER ? MATRICES : 1, cols = op == MATMUL_T ? N : K, out = op == MATMUL || op == GATHER ? N : K;
        kq_activations x = make_x(KQ_F32, 1, 1, cols + 64, 0), dense = make_x(KQ_F32, batch, M, cols, 0);
        x.rows = M;
        x.cols = cols;
        x.row_stride = 2;
        x.batch = batch;
        x.batch_stride = 1;
        for (uint64_t i = 0; i < batch * M; i++) memcpy((float *)(uintptr_t)dense.data + i * cols, (const float *)x.data + i / M + i % M * 2, cols * 4);
        if (op == EMBED) slid.matrices = apart.matrices = 1;
        for (int i = 0; i < 4; i++) {
            kq_results y = make_y(KQ_F32, batch, M, out, 0), z = make_y(KQ_F32, batch, M, out, 0);
            kq_error e;
            if (enter(op, d.device[i], &x, &slid, op == EMBED ? ids : right, M, &y, &e)) fail_msg("operation %d: %s", op, e.text);
            if (enter(op, d.device[i], &dense, &apart, op == EMBED ? ids : right, M, &z, &e)) fail_msg("operation %d: %s", op, e.text);
            assert_memory_equal(y.data, z.data, y.bytes);
            free(y.data);
            free(z.data);
        }
        free((void *)(uintptr_t)x.data);
        free((void *)(uintptr_t)dense.data);
    }
    free(copy);
    unpack(&p);
    close_devices(&d);
}

/* Results that lie on the activations are arbitrary; nothing else is written. */
static void results_on_activations_harm_nothing_else(void **state) {
    (void)state;
    devices d;
    open_devices(&d);
    packed p = pack(KQ_Q8_0, 1, 32, 32, 0);
    static const int32_t right[20];
    for (int i = 0; i < 2 * GATHER + 2; i++) {
        kq_results y = make_y(KQ_F32, 1, 20, 32, i % 2 ? 3 : 0);
        for (uint64_t r = 0; r < 20 * 32; r++) ((float *)y.data)[y_at(&y, 0, r / 32, r % 32)] = uniform();
        kq_activations x = {KQ_F32, y.data, y.bytes, 20, 32, y.row_stride, 1, 0};
        assert_int_equal(enter(i / 2, d.device[1], &x, &p.w, right, 20, &y, NULL), KQ_OK);
        gaps_untouched(&y);
        free(y.data);
    }
    unpack(&p);
    close_devices(&d);
}

/* Sizes whose products pass 64 bits, and those whose scratch cannot be. */
static void sizes_that_overflow_are_refused(void **state) {
    (void)state;
    static const uint64_t huge[] = {UINT64_MAX, UINT64_MAX - 255, UINT64_C(1) << 63, UINT64_C(1) << 62, UINT64_C(1) << 56, UINT64_C(1) << 33};
    kq_device *d;
    assert_int_equal(kq_device_open(&d, NULL, NULL), KQ_OK);
    packed p = pack(KQ_Q4_K, 1, 256, 256, 0);
    kq_activations x0 = make_x(KQ_F32, 1, 2, 256, 0);
    kq_results y0 = make_y(KQ_F32, 1, 2, 256, 0);
    static const int32_t ids[2];
    for (size_t i = 0; i < KQ_COUNT(huge) * N_ENTRIES; i++) {
        for (int field = 0; field < 16; field++) {
            kq_weights w = p.w;
            kq_activations x = x0;
            kq_results y = y0;
            uint64_t *const fields[] = {&w.rows, &w.cols, &w.row_bytes, &w.matrices, &x.rows, &x.cols, &x.row_stride, &x.batch,
                                        &y.rows, &y.cols, &y.row_stride, &y.batch, &w.rows, &w.matrix_bytes, &x.batch_stride, &y.batch_stride};
            int op = (int)(i % N_ENTRIES);
            *fields[field] = huge[i / N_ENTRIES];
            if (field == 12) w.cols = huge[i / N_ENTRIES] & ~UINT64_C(255);
            if (field > 12) w.matrices = x.batch = y.batch = 2; /* so that the stride counts */
            if (op == EMBED && (field == 4 || field == 5 || field == 6 || field == 7)) continue; /* it has no x */
            kq_error e = {0};
            kq_status status = enter(op, d, &x, &w, ids, 2, &y, &e);
            if (status != KQ_E_ARGUMENT || !e.text[0]) fail_msg("operation %d, field %d, %llx: %d", op, field, (unsigned long long)huge[i / N_ENTRIES], (int)status);
        }
    }
    is_unwritten(&y0);
    /* so many pairs, of nothing */
    kq_weights nil = {.codec = KQ_F32, .rows = 0, .cols = 0, .matrices = UINT64_C(1) << 31};
    kq_activations none = {.type = KQ_F32, .rows = UINT64_C(1) << 31, .cols = 0};
    kq_results nothing = {.type = KQ_F32, .rows = UINT64_C(1) << 31, .cols = 0};
    assert_int_equal(kq_matmul_gather(d, &none, &nil, NULL, NULL, (size_t)1 << 31, &nothing, NULL), KQ_E_ARGUMENT);
    none.rows--, nothing.rows--, nil.matrices--;
    assert_int_equal(kq_matmul_gather(d, &none, &nil, NULL, NULL, ((size_t)1 << 31) - 1, &nothing, NULL), KQ_OK);
    free(y0.data);
    free((void *)(uintptr_t)x0.data);
    unpack(&p);
    kq_device_close(d);
}

/* An index may be anything; only those that are rows are taken, and before anything is written. */
static void indices_are_checked(void **state) {
    (void)state;
    static const int32_t wrong[] = {-1, INT32_MIN, INT32_MAX, 5, 6};
    kq_device *d;
    assert_int_equal(kq_device_open(&d, NULL, NULL), KQ_OK);
    packed p = pack(KQ_Q8_0, 5, 5, 32, 0);
    kq_weights one = p.w;
    one.matrices = 1;
    kq_activations x = make_x(KQ_F16, 1, 5, 32, 0);
    kq_results y = make_y(KQ_F16, 1, 4, 5, 0), rows = make_y(KQ_F16, 1, 4, 32, 0);
    for (size_t i = 0; i < KQ_COUNT(wrong) * 4; i++) {
        int32_t fine[4] = {4, 0, 4, 3}, bad[4] = {4, 0, 4, 3};
        kq_error e;
        char want[64];
        bad[i % 4] = wrong[i / 4];
        snprintf(want, sizeof want, "[%d] is %d, not in [0, 5)", (int)(i % 4), wrong[i / 4]);
        assert_int_equal(kq_matmul_gather(d, &x, &p.w, bad, fine, 4, &y, &e), KQ_E_ARGUMENT);
        assert_non_null(strstr(e.text, want));
        assert_int_equal(kq_matmul_gather(d, &x, &p.w, fine, bad, 4, &y, &e), KQ_E_ARGUMENT);
        assert_non_null(strstr(e.text, want));
        assert_int_equal(kq_embed(d, &one, bad, 4, &rows, &e), KQ_E_ARGUMENT);
        assert_non_null(strstr(e.text, want));
        is_unwritten(&y);
        is_unwritten(&rows);
    }
    free(y.data);
    free(rows.data);
    free((void *)(uintptr_t)x.data);
    unpack(&p);
    kq_device_close(d);
}

/* Without memory nothing is written, and the device works when there is some again. */
static void every_operation_bears_no_memory(void **state) {
    (void)state;
    static const int32_t ids[3];
    packed p = pack(KQ_Q4_K, 1, 256, 256, 0);
    for (int op = 0; op < EMBED; op++) { /* embed needs none */
        meter m = meter_of(1);
        kq_allocator a = meter_allocator(&m);
        kq_device_options o = KQ_OPTIONS_INIT(kq_device_options);
        o.allocator = &a;
        kq_device *d;
        assert_int_equal(kq_device_open(&d, &o, NULL), KQ_OK);
        kq_activations x = make_x(KQ_BF16, 1, 3, 256, 0);
        kq_results y = make_y(KQ_F16, 1, 3, 256, 0);
        kq_error e = {0};
        assert_int_equal(enter(op, d, &x, &p.w, ids, 3, &y, &e), KQ_E_MEMORY);
        assert_non_null(strstr(e.text, "scratch"));
        is_unwritten(&y);
        assert_int_equal(kq_device_scratch(d), 0);
        m.fail_at = 0;
        assert_int_equal(enter(op, d, &x, &p.w, ids, 3, &y, &e), KQ_OK);
        free(y.data);
        free((void *)(uintptr_t)x.data);
        kq_device_close(d);
        assert_int_equal(m.live, 0);
    }
    unpack(&p);
}

/* What is no number stays where it is: with its activation row, and with its weight row. */
static void no_number_spreads(void **state) {
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    static const uint32_t codecs[] = {KQ_F32, KQ_F16, KQ_BF16, KQ_Q8_0, KQ_Q4_K};
    devices d;
    open_devices(&d);
    for (size_t i = 0; i < KQ_COUNT(odd) * KQ_COUNT(codecs) * N_ENTRIES; i++) {
        int op = (int)(i % N_ENTRIES);
        uint32_t codec = codecs[i / N_ENTRIES % KQ_COUNT(codecs)];
        float bad = odd[i / N_ENTRIES / KQ_COUNT(codecs)];
        for (uint64_t m = op == GATHER ? 20 : 2; m <= 20; m += 9) {
            enum { N = 256, K = 256, WEIGHT_ROW = 70, WEIGHT = 33, X_ROW = 1 };
            packed p = pack(codec, 1, N, K, 0);
            uint8_t *row = p.memory + 1 + WEIGHT_ROW * p.w.row_bytes;
            uint16_t half = to_half(codec == KQ_BF16 ? KQ_BF16 : KQ_F16, bad);
            if (codec == KQ_F32) memcpy(row + 4 * WEIGHT, &bad, 4);
            else memcpy(row + (codec <= KQ_F16 || codec == KQ_BF16 ? 2 * WEIGHT : codec == KQ_Q8_0 ? WEIGHT / 32 * 34 : 0), &half, 2); /* else a scale */
            kq_activations x = make_x(KQ_F32, 1, m, N, 0);
            memcpy((float *)(uintptr_t)x.data + X_ROW * N + 5, &bad, 4);
            int32_t ids[20];
            for (int k = 0; k < 20; k++) ids[k] = op == EMBED && k % 2 ? WEIGHT_ROW : 0;
            kq_results y = make_y(KQ_F32, 1, m, K, 0);
            kq_device *device = d.device[i % 4];
            assert_int_equal(enter(op, device, &x, &p.w, ids, m, &y, NULL), KQ_OK);
            for (uint64_t r = 0; r < m * K; r++) {
                uint64_t a = r / K, c = r % K;
                bool in_column = codec == KQ_Q4_K || (codec == KQ_Q8_0 ? c / 32 == WEIGHT / 32 : c == WEIGHT); /* that a bad scale or number reaches */
                bool want = op == EMBED ? ids[a] == WEIGHT_ROW && in_column : a == X_ROW || (op == MATMUL_T ? in_column : c == WEIGHT_ROW);
                float v = get(KQ_F32, y.data, r);
                if (want == isfinite(v)) fail_msg("operation %d, %s, M %d: result %d, %d is %g", op, kq_codec_describe(codec)->name, (int)m, (int)a, (int)c, (double)v);
            }
            free(y.data);
            free((void *)(uintptr_t)x.data);
            unpack(&p);
        }
    }
    close_devices(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_null_is_refused), cmocka_unit_test(any_dimension_may_be_0), cmocka_unit_test(what_is_read_may_overlap),
        cmocka_unit_test(results_on_activations_harm_nothing_else), cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(indices_are_checked), cmocka_unit_test(every_operation_bears_no_memory), cmocka_unit_test(no_number_spreads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
