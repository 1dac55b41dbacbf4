/* SPDX-License-Identifier: MIT */
/* Calibration against llama.cpp's matrix of the same model and text. Reads the shared data; the whole of it takes a minute or less, so
 * it is no quick test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/base.h"
#include "golden.h"

#include <math.h>

#include <kquant/kquant.h>

static void as_the_reference(void **state) {
    (void)state;
    char path[4][1024];
    static const char *const names[] = {"golden/quantize/tale.imatrix.gguf", "models/tale-gguf/tale-bf16.gguf", "text/tales-calibration.txt"};
    for (int i = 0; i < 3; i++) {
        if (!golden_shared_path(path[i], sizeof path[i], "%s", names[i])) skip();
    }
    kq_error err = {0};
    kq_imatrix *golden, *ours;
    kq_model *m;
    kq_calibration *c;
    kq_pool *pool;
    kq_session *s;
    if (kq_imatrix_open(&golden, path[0], NULL, &err) || kq_model_open(&m, path[1], NULL, &err)) fail_msg("%s", err.text);
    uint32_t n, chunks = kq_imatrix_chunks(golden, &n);
    assert_true(n == 512 && chunks == 200);

    size_t size = 0, count;
    char *text = (char *)golden_read_file(path[2], &size);
    int32_t *ids = malloc(size * sizeof *ids);
    assert_true(text && ids);
    assert_int_equal(kq_tokenizer_encode(kq_model_tokenizer(m), text, size, KQ_ENCODE_ADD_SPECIAL, ids, size, &count, &err), KQ_OK);
    assert_true(count >= (size_t)chunks * n && count <= size);
    assert_int_equal(kq_calibration_open(&c, m, NULL, &err), KQ_OK);
    assert_int_equal(kq_pool_open(&pool, 0, NULL, &err), KQ_OK);
    kq_session_options o = KQ_OPTIONS_INIT(kq_session_options);
    o.n_ctx = n;
    o.pool = pool;
    o.mode = KQ_EXACT; /* what `kquant calibrate` takes: the fast mode's bfloat16 tiles are off by up to 1.1e-3 */
    o.observe = kq_calibration_observe;
    o.observe_ctx = c;
    assert_int_equal(kq_session_open(&s, m, &o, &err), KQ_OK);
    float *logits = malloc((size_t)n * kq_model_describe(m).n_vocab * sizeof *logits);
    assert_non_null(logits);
    for (uint32_t i = 0; i < chunks; i++) {
        assert_int_equal(kq_session_rewind(s, 0, &err), KQ_OK);
        assert_int_equal(kq_session_append(s, ids + (size_t)i * n, n, logits, n, &err), KQ_OK);
    }
    assert_int_equal(kq_imatrix_create(&ours, NULL, &err), KQ_OK);
    assert_int_equal(kq_calibration_result(c, ours, &err), KQ_OK);

    size_t n_entries = kq_imatrix_n_entries(golden);
    double most = 0;
    assert_int_equal(kq_imatrix_n_entries(ours), n_entries);
    for (size_t i = 0; i < n_entries; i++) {
        const kq_imatrix_entry *a = kq_imatrix_entry_at(golden, i), *b = kq_imatrix_find(ours, a->name.data);
        assert_non_null(b);
        assert_true(a->columns == b->columns && a->groups == 1 && b->groups == 1 && a->counts[0] == b->counts[0]);
        for (uint64_t k = 0; k < a->columns; k++) {
            double off = fabs((double)b->sums[k] / (double)a->sums[k] - 1);
            if (!(off <= 1e-3)) fail_msg("%s, column %llu: %g, not %g", a->name.data, (unsigned long long)k, (double)b->sums[k], (double)a->sums[k]);
            most = off > most ? off : most;
        }
    }
    print_message("largest relative difference of a column: %.2g\n", most);
    free(logits);
    free(ids);
    free(text);
    kq_session_close(s);
    kq_pool_close(pool);
    kq_calibration_close(c);
    kq_imatrix_close(ours);
    kq_imatrix_close(golden);
    kq_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
