/* SPDX-License-Identifier: MIT */
/* quant: models/tale, planned and encoded, has the SHA-256 of every tensor that llama-quantize makes of it. */
#include "golden.h"
#include "quant/quant.h"

#include <setjmp.h>

#include <cmocka.h>
#include <jansson.h>

static uint8_t *encode(const kq_quant_plan *p, const kq_quant_choice *c, kq_pool *pool) {
    const kq_gguf_tensor *t = c->tensor;
    float *x = malloc((size_t)t->weights * sizeof *x), *importances = malloc((size_t)(t->dims[0] * t->dims[2]) * sizeof *importances);
    uint8_t *bytes = malloc((size_t)c->bytes);
    kq_error e = {0};
    bool found;
    kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
    o.pool = pool;
    if (c->weighted) {
        assert_int_equal(kq_imatrix_weights(kq_quant_plan_imatrix(p), t->name.data, t->dims[0], t->dims[2], importances, &found, NULL), KQ_OK);
        assert_true(found);
        o.importances = importances;
        o.importance_floats = (size_t)(t->dims[0] * t->dims[2]);
        o.group_rows = t->dims[1];
    }
    if (kq_dequantize(t->codec, t->data, (size_t)t->bytes, t->weights, x, (size_t)t->weights, &e)) fail_msg("%s", e.text);
    if (kq_quantize(c->codec, x, (size_t)t->weights, t->weights / t->dims[0], t->dims[0], bytes, (size_t)c->bytes, &o, &e)) fail_msg("%s", e.text);
    free(x);
    free(importances);
    return bytes;
}

static void every_hash_of_tale(void **state) {
    (void)state;
    char path[1024], hex[65];
    if (!golden_shared_path(path, sizeof path, "models/tale-gguf/tale-bf16.gguf")) skip();
    kq_gguf *g;
    kq_imatrix *im;
    kq_pool *pool;
    assert_int_equal(kq_gguf_open(&g, path, NULL, NULL), KQ_OK);
    golden_shared_path(path, sizeof path, "golden/quantize/tale.imatrix.gguf");
    assert_int_equal(kq_imatrix_open(&im, path, NULL, NULL), KQ_OK);
    assert_int_equal(kq_pool_open(&pool, 2, NULL, NULL), KQ_OK);
    size_t size, n = 0;
    char *text = (char *)golden_read_shared(&size, "golden/quantize/tale.json");
    json_t *runs = json_loadb(text, size, 0, NULL), *run;
    const char *name;
    json_object_foreach(runs, name, run) {
        bool with = strncmp(name, "A-im-", 5) == 0;
        kq_quant_plan_options o = KQ_OPTIONS_INIT(kq_quant_plan_options);
        o.type = name + (with ? 5 : 2);
        o.imatrix = with ? im : NULL;
        kq_quant_plan *p;
        kq_error e = {0};
        if (kq_quant_plan_open(&p, g, &o, &e)) fail_msg("%s: %s", name, e.text);
        for (size_t i = 0; i < kq_quant_plan_size(p); i++, n++) {
            const kq_quant_choice *c = kq_quant_plan_at(p, i);
            uint8_t *made = c->copied ? NULL : encode(p, c, pool);
            kq_sha256_hex(made ? made : c->tensor->data, (size_t)c->bytes, hex);
            const char *want = json_string_value(json_array_get(json_object_get(run, c->tensor->name.data), 1));
            if (!want || strcmp(hex, want) != 0) fail_msg("%s: %s has another hash", name, c->tensor->name.data);
            free(made);
        }
        kq_quant_plan_close(p);
    }
    assert_int_equal(n, 5 * 90);
    json_decref(runs);
    free(text);
    kq_pool_close(pool);
    kq_imatrix_close(im);
    kq_gguf_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_hash_of_tale)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
