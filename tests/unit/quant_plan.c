/* SPDX-License-Identifier: MIT */
/* quant: the plan. Globs, llama.cpp's types on models/tale (types and, in long_quantize, every hash), overrides, refusals. */
#include "golden.h"
#include "quant/quant.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

static void globs(void **state) {
    (void)state;
    static const struct {
        const char *glob, *text;
        bool matches;
    } rows[] = {
        {"*", "", true},
        {"*", "blk.0.attn_v.weight", true},
        {"", "a", false},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"*attn_v*", "blk.10.attn_v.weight", true},
        {"attn_v", "blk.10.attn_v.weight", false},
        {"blk.[0-3].*", "blk.3.x", true},
        {"blk.[0-3].*", "blk.4.x", false},
        {"blk.[!0-3].*", "blk.4.x", true},
        {"blk.{0..7}.*", "blk.7.x", true},
        {"blk.{0..7}.*", "blk.8.x", false},
        {"blk.{0..7}.*", "blk.07.x", false},
        {"blk.{0..7,28..31}.ffn_{up,gate}.weight", "blk.29.ffn_gate.weight", true},
        {"blk.{0..7,28..31}.ffn_{up,gate}.weight", "blk.29.ffn_down.weight", false},
        {"blk.{8..12}.*", "blk.10.x", true},
        {"{a,ab}c", "abc", true},
        {"{a*,b}c", "axyc", true},
        {"a{,s}", "a", true},
        {"a{,s}", "as", true},
        {"*a*a*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    };
    for (size_t i = 0; i < KQ_COUNT(rows); i++) {
        if (*rows[i].glob) assert_null(kq_glob_check(rows[i].glob));
        if (kq_glob_matches(rows[i].glob, rows[i].text) != rows[i].matches) fail_msg("%s, %s", rows[i].glob, rows[i].text);
    }
    static const char *const bad[] = {"", "[", "[]", "[!]", "[z-a]", "{a", "a}", "{a,{b}}", "a,b", "{3..1}", "attn_(q|k)", "blk\\.0", "]"};
    for (size_t i = 0; i < KQ_COUNT(bad); i++) {
        if (!kq_glob_check(bad[i])) fail_msg("%s is no glob", bad[i]);
    }
}

/* ---- models/tale --------------------------------------------------------------------------------------------------- */

static kq_gguf *open_tale(void) {
    char path[1024];
    kq_gguf *g;
    kq_error e = {0};
    if (!golden_shared_path(path, sizeof path, "models/tale-gguf/tale-bf16.gguf")) return NULL;
    if (kq_gguf_open(&g, path, NULL, &e)) fail_msg("%s", e.text);
    return g;
}

/* Every run of tale.json: "A-TYPE", or "A-im-TYPE" with the importance matrix. */
static void types_of_tale(void **state) {
    (void)state;
    kq_gguf *g = open_tale();
    char path[1024];
    if (!g || !golden_shared_path(path, sizeof path, "golden/quantize/tale.imatrix.gguf")) skip();
    kq_imatrix *im;
    assert_int_equal(kq_imatrix_open(&im, path, NULL, NULL), KQ_OK);
    size_t size, n_runs = 0;
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
        assert_int_equal(kq_quant_plan_size(p), json_object_size(run));
        for (size_t i = 0; i < kq_quant_plan_size(p); i++) {
            const kq_quant_choice *c = kq_quant_plan_at(p, i);
            const char *want = json_string_value(json_array_get(json_object_get(run, c->tensor->name.data), 0));
            assert_string_equal(kq_codec_describe(c->codec)->name, want);
            assert_int_equal(c->copied, c->codec == c->tensor->codec);
        }
        kq_quant_plan_close(p);
        n_runs++;
    }
    assert_int_equal(n_runs, 5);
    json_decref(runs);
    free(text);
    kq_imatrix_close(im);
    kq_gguf_close(g);
}

/* The order of tensors and keys, and the size, are those of the file that llama-quantize made. */
static void the_file_of_tale(void **state) {
    (void)state;
    kq_gguf *g = open_tale(), *want;
    char path[1024];
    if (!g || !golden_shared_path(path, sizeof path, "models/tale-gguf/tale-q4_k_m.gguf")) skip();
    assert_int_equal(kq_gguf_open(&want, path, NULL, NULL), KQ_OK);
    kq_quant_plan_options o = KQ_OPTIONS_INIT(kq_quant_plan_options);
    o.type = "q4_k_m";
    kq_quant_plan *p;
    assert_int_equal(kq_quant_plan_open(&p, g, &o, NULL), KQ_OK);
    assert_int_equal(kq_quant_plan_size(p), kq_gguf_n_tensors(want));
    for (size_t i = 0; i < kq_quant_plan_size(p); i++) {
        const kq_quant_choice *c = kq_quant_plan_at(p, i);
        assert_string_equal(c->tensor->name.data, kq_gguf_tensor_at(want, i)->name.data);
        assert_int_equal(c->codec, kq_gguf_tensor_at(want, i)->codec);
        assert_int_equal(c->bytes, kq_gguf_tensor_at(want, i)->bytes);
    }
    assert_int_equal(kq_quant_plan_n_values(p), kq_gguf_n_values(want));
    for (size_t i = 0; i < kq_quant_plan_n_values(p); i++) {
        const kq_gguf_value *a = kq_quant_plan_value_at(p, i), *b = kq_gguf_value_at(want, i);
        assert_string_equal(a->key.data, b->key.data);
        assert_int_equal(a->kind, b->kind);
        assert_int_equal(a->size, b->size);
        assert_memory_equal(a->data, b->data, a->size);
    }
    assert_int_equal(kq_quant_plan_file_bytes(p), kq_gguf_file_bytes(want));
    kq_quant_plan_close(p);
    kq_gguf_close(want);
    kq_gguf_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs),
        cmocka_unit_test(types_of_tale),
        cmocka_unit_test(the_file_of_tale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
