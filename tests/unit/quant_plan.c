/* SPDX-License-Identifier: MIT */
/* quant: the plan. Globs, llama.cpp's types on models/tale (types and, in long_quantize, every hash), overrides, refusals. */
#include "golden.h"
#include "make_model.h"
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

/* ---- made models --------------------------------------------------------------------------------------------------- */

typedef struct made {
    bytes file;
    kq_gguf *g;
} made;

static made make(const char *name, const spec_change *change) {
    spec *s = spec_open(name);
    made m = {.file = spec_file(s, change)};
    kq_error e = {0};
    if (kq_gguf_open_memory(&m.g, m.file.data, m.file.size, name, NULL, &e)) fail_msg("%s", e.text);
    spec_close(s);
    return m;
}

static void unmake(made *m) {
    kq_gguf_close(m->g);
    bytes_free(&m->file);
}

static kq_quant_plan *plan(const kq_gguf *g, const kq_quant_plan_options *o) {
    kq_quant_plan *p;
    kq_error e = {0};
    if (kq_quant_plan_open(&p, g, o, &e)) fail_msg("%s %s", e.file, e.text);
    return p;
}

static const kq_quant_choice *choice(const kq_quant_plan *p, const char *tensor) {
    for (size_t i = 0; i < kq_quant_plan_size(p); i++) {
        if (!strcmp(kq_quant_plan_at(p, i)->tensor->name.data, tensor)) return kq_quant_plan_at(p, i);
    }
    fail_msg("%s is not in the plan", tensor);
    return NULL;
}

static void takes(const kq_quant_plan *p, const char *tensor, kq_codec codec) {
    const kq_quant_choice *c = choice(p, tensor);
    if (c->codec != codec) fail_msg("%s is %s, not %s", tensor, kq_codec_describe(c->codec)->name, kq_codec_describe(codec)->name);
}

/* The error of a plan that fails must hold `text`. */
static void refused(const kq_gguf *g, const kq_quant_plan_options *o, kq_status status, const char *text) {
    kq_quant_plan *p;
    kq_error e = {0};
    kq_status got = kq_quant_plan_open(&p, g, o, &e);
    if (got != status || p || !strstr(e.text, text)) fail_msg("%s: %s, not %s: %s", kq_status_name(got), e.text, kq_status_name(status), text);
}

static kq_status put_bytes(void *sink, const void *data, size_t size, kq_error *err) {
    (void)err;
    put_raw(sink, data, size);
    return KQ_OK;
}

/* The plan as a recipe makes the plan again. */
static void comes_back(const kq_gguf *g, const kq_quant_plan *p, const kq_imatrix *im) {
    bytes text = {0};
    assert_int_equal(kq_quant_plan_recipe(p, put_bytes, &text, NULL), KQ_OK);
    put_u8(&text, 0);
    kq_quant_plan_options o = KQ_OPTIONS_INIT(kq_quant_plan_options);
    o.recipe = (const char *)text.data;
    o.imatrix = im;
    kq_quant_plan *again = plan(g, &o);
    for (size_t i = 0; i < kq_quant_plan_size(p); i++) {
        if (kq_quant_plan_at(p, i)->codec == kq_quant_plan_at(again, i)->codec) continue;
        fail_msg("%s\n%s: another codec", (const char *)text.data, kq_quant_plan_at(p, i)->tensor->name.data);
    }
    assert_int_equal(kq_quant_plan_file_bytes(p) - kq_quant_plan_tensor_bytes(p),
                     kq_quant_plan_file_bytes(again) - kq_quant_plan_tensor_bytes(again));
    kq_quant_plan_close(again);
    bytes_free(&text);
}

static void every_type_and_preset_comes_back(void **state) {
    (void)state;
    kq_gguf *tale = open_tale();
    char path[1024];
    kq_imatrix *im = NULL;
    if (tale) {
        golden_shared_path(path, sizeof path, "golden/quantize/tale.imatrix.gguf");
        assert_int_equal(kq_imatrix_open(&im, path, NULL, NULL), KQ_OK);
    }
    made moe = make("qwen3moe-moe", NULL);
    for (int m = 0; m < 2; m++) {
        const kq_gguf *g = m ? moe.g : tale;
        if (!g) continue;
        const kq_quant_type *t;
        for (size_t i = 0; (t = kq_quant_type_at(i)); i++) {
            kq_quant_plan_options o = KQ_OPTIONS_INIT(kq_quant_plan_options);
            o.type = t->name;
            o.imatrix = m ? NULL : im;
            if (m && t->needs_imatrix) {
                refused(g, &o, KQ_E_ARGUMENT, "which needs an importance matrix");
                continue;
            }
            kq_quant_plan *p = plan(g, &o);
            if (strcmp(t->name, "COPY")) assert_int_equal(kq_quant_plan_file_type(p), t->file_type);
            comes_back(g, p, o.imatrix);
            kq_quant_plan_close(p);
        }
        const kq_preset *preset;
        size_t n = 0;
        for (; (preset = kq_preset_at(n)); n++) {
            kq_quant_plan_options o = KQ_OPTIONS_INIT(kq_quant_plan_options), printed = KQ_OPTIONS_INIT(kq_quant_plan_options);
            o.preset = preset->name;
            printed.recipe = preset->recipe;
            kq_quant_plan *p = plan(g, &o), *q = plan(g, &printed);
            for (size_t i = 0; i < kq_quant_plan_size(p); i++) assert_int_equal(kq_quant_plan_at(p, i)->codec, kq_quant_plan_at(q, i)->codec);
            comes_back(g, p, NULL);
            kq_quant_plan_close(p);
            kq_quant_plan_close(q);
        }
        assert_int_equal(n, 13);
    }
    unmake(&moe);
    kq_imatrix_close(im);
    kq_gguf_close(tale);
}

static void presets_go_by_role(void **state) {
    (void)state;
    made m = make("qwen3moe-moe", NULL); /* 2 layers, the second with more bits; its experts' rows down have 384 weights */
    kq_quant_plan_options o = KQ_OPTIONS_INIT(kq_quant_plan_options);
    o.preset = "q4_k_m";
    kq_quant_plan *p = plan(m.g, &o);
    takes(p, "blk.0.attn_q.weight", KQ_Q4_K);
    takes(p, "blk.0.attn_v.weight", KQ_Q6_K);
    takes(p, "blk.0.ffn_gate_inp.weight", KQ_F32);
    takes(p, "blk.1.ffn_gate_exps.weight", KQ_Q4_K);
    takes(p, "blk.1.ffn_down_exps.weight", KQ_Q8_0);
    takes(p, "output.weight", KQ_Q6_K);
    takes(p, "token_embd.weight", KQ_Q4_K);
    const kq_quant_choice *c = choice(p, "blk.1.ffn_down_exps.weight");
    assert_int_equal(c->wanted, KQ_Q6_K);
    assert_string_equal(c->role, "expert_down");
    assert_string_equal(c->reason, "q4_k_m: role:{ffn,shared,expert}_down @more_bits; rows of 384 are no whole blocks of q6_k");
    assert_string_equal(choice(p, "blk.0.ffn_gate_inp.weight")->role, "router");
    assert_string_equal(choice(p, "blk.0.ffn_gate_inp.weight")->reason, "never quantised: ffn_gate_inp.weight");
    assert_int_equal(kq_quant_plan_file_type(p), 15);
    kq_quant_plan_close(p);
    o.preset = "Q4_K_MOE";
    p = plan(m.g, &o);
    takes(p, "blk.1.ffn_down_exps.weight", KQ_Q5_0);
    kq_quant_plan_close(p);
    unmake(&m);

    spec_change tie = {.tensor = "output.weight", .drop_tensor = true};
    m = make("qwen3-dense", &tie);
    o.preset = "q4_k_m";
    p = plan(m.g, &o);
    takes(p, "token_embd.weight", KQ_Q6_K); /* it is the output too */
    assert_string_equal(choice(p, "token_embd.weight")->role, "embedding,output");
    kq_quant_plan_close(p);
    unmake(&m);

    uint32_t one = 1;
    spec_change strange = {.key = "qwen3.block_count", .kind = KQ_GGUF_U32, .value = &one, .value_size = 4};
    m = make("qwen3-dense", &strange);
    refused(m.g, &o, KQ_E_MODEL, "tensor blk.1.attn_k.weight has no role in the model");
    kq_quant_override keep = {"blk.1.", "keep"};
    o.overrides = &keep;
    o.n_overrides = 1;
    kq_quant_plan_close(plan(m.g, &o));
    unmake(&m);

    spec_change family = {.key = "general.architecture", .kind = KQ_GGUF_STRING, .value = "\x05\0\0\0\0\0\0\0alien", .value_size = 13};
    m = make("qwen3-dense", &family);
    o = (kq_quant_plan_options)KQ_OPTIONS_INIT(kq_quant_plan_options);
    o.preset = "q4_k_m";
    refused(m.g, &o, KQ_E_UNSUPPORTED, "no support for alien");
    unmake(&m);
}

static void recipes(void **state) {
    (void)state;
    made m = make("qwen3-dense", NULL);
    kq_quant_plan_options o = KQ_OPTIONS_INIT(kq_quant_plan_options);
    o.recipe = "# everything first\n\n  * = Q4_K # then more\r\nblk.{1..9}.attn_? = keep\n*attn_v.weight @1=q8_0\nrole:ffn_up @more_bits @{0..5} = q5_k";
    refused(m.g, &o, KQ_E_ARGUMENT, "line 4: no tensor that may be quantised matches blk.{1..9}.attn_?");
    o.recipe = "* = Q4_K\nblk.{1..9}.attn_?.weight = keep\n*attn_v.weight @1=q8_0\nrole:ffn_up @more_bits @{0..5} = q5_k";
    kq_quant_plan *p = plan(m.g, &o);
    takes(p, "blk.0.attn_q.weight", KQ_Q4_K);
    takes(p, "blk.1.attn_q.weight", KQ_F32);
    assert_true(choice(p, "blk.1.attn_q.weight")->copied);
    takes(p, "blk.0.attn_v.weight", KQ_Q4_K);
    takes(p, "blk.1.attn_v.weight", KQ_Q8_0);
    takes(p, "blk.0.ffn_up.weight", KQ_Q4_K);
    takes(p, "blk.1.ffn_up.weight", KQ_Q5_K);
    assert_string_equal(choice(p, "blk.1.attn_v.weight")->reason, "recipe: *attn_v.weight @1");
    kq_quant_plan_close(p);
    static const struct {
        const char *text, *error;
    } bad[] = {
        {"", "there is no rule in it"},
        {"# nothing\n\n", "there is no rule in it"},
        {"* q4_k", "line 1: no '=' in: * q4_k"},
        {"\n = q4_k", "line 2: there is no pattern"},
        {"* = ", "line 1: no codec is named ''"},
        {"* = q4", "line 1: no codec is named 'q4'"},
        {"* = q4_k q5_k", "line 1: no codec is named 'q4_k q5_k'"},
        {"* = i32", "line 1: i32 holds no weights"},
        {"* = q4_k\nattn_(q|k) = q5_k", "line 2: pattern attn_(q|k): patterns are globs"},
        {"* = q4_k\nrole:atn_v = q5_k", "line 2: no role is called atn_v"},
        {"* = q4_k\n*_norm.weight = q5_k", "line 2: no tensor that may be quantised matches *_norm.weight"},
        {"* more = q4_k", "line 1: 'more' is no condition"},
        {"* @mor_bits = q4_k", "line 1: @mor_bits: conditions are"},
        {"* @0 @1 = q4_k", "line 1: @1: two conditions on layers"},
        {"blk.* = q4_k", "no rule matches tensor "},
    };
    for (size_t i = 0; i < KQ_COUNT(bad); i++) {
        o.recipe = bad[i].text;
        o.recipe_name = "my.recipe";
        refused(m.g, &o, KQ_E_ARGUMENT, bad[i].error);
        kq_error e = {0};
        assert_int_equal(kq_quant_plan_open(&p, m.g, &o, &e), KQ_E_ARGUMENT);
        assert_string_equal(e.file, "my.recipe");
    }
    unmake(&m);
}

static void options(void **state) {
    (void)state;
    made m = make("qwen3-dense", NULL);
    kq_quant_plan_options o = KQ_OPTIONS_INIT(kq_quant_plan_options);
    refused(m.g, &o, KQ_E_ARGUMENT, "begins with one of");
    o.preset = "q4_k_n";
    refused(m.g, &o, KQ_E_ARGUMENT, "no preset is named 'q4_k_n'");
    o.type = "Q4_K_M";
    refused(m.g, &o, KQ_E_ARGUMENT, "not with 2");
    o.preset = NULL;
    o.type = "Q4_K_N";
    refused(m.g, &o, KQ_E_ARGUMENT, "no quantisation type is named 'Q4_K_N'");

    o.type = "q4_k";
    kq_quant_override over[] = {{"attn_q", "q5_k"}, {"attn_{q,k}", "q8_0"}, {"role:ffn_down @0", "f16"}};
    o.overrides = over;
    o.n_overrides = 3;
    o.output_codec = "Q8_0";
    o.embedding_codec = "q4_0";
    kq_quant_plan *p = plan(m.g, &o);
    takes(p, "blk.0.attn_q.weight", KQ_Q8_0); /* the last that matches */
    takes(p, "blk.0.ffn_down.weight", KQ_F16);
    takes(p, "output.weight", KQ_Q8_0);
    takes(p, "token_embd.weight", KQ_Q4_0);
    assert_string_equal(choice(p, "blk.0.attn_q.weight")->reason, "override attn_{q,k}");
    assert_string_equal(kq_quant_type_find("q4_k")->name, "Q4_K_M");
    kq_quant_plan_close(p);
    o.pure = true;
    p = plan(m.g, &o);
    takes(p, "blk.0.attn_v.weight", KQ_Q4_K);
    takes(p, "blk.0.attn_q.weight", KQ_Q8_0); /* what was asked for by name holds */
    kq_quant_plan_close(p);
    over[0] = (kq_quant_override){"attn_nothing", "q5_k"};
    refused(m.g, &o, KQ_E_ARGUMENT, "override attn_nothing: no tensor that may be quantised matches");
    over[0] = (kq_quant_override){"attn_q", "q5k"};
    refused(m.g, &o, KQ_E_ARGUMENT, "override attn_q: no codec is named 'q5k'");
    over[0] = (kq_quant_override){"output_norm", "q5_k"};
    refused(m.g, &o, KQ_E_ARGUMENT, "override output_norm: no tensor that may be quantised matches");
    over[0] = (kq_quant_override){"attn_output", "q1_0"};
    o.output_codec = "q9";
    refused(m.g, &o, KQ_E_ARGUMENT, "the output's codec: no codec is named 'q9'");
    unmake(&m);
}

/* What is quantised already stays, byte for byte, where the plan wants the same codec; else it must be allowed. */
static void quantised_sources(void **state) {
    (void)state;
    spec_change change = {.tensor = "blk.0.attn_q.weight", .n_dims = 2, .dims = {256, 256}, .type = KQ_Q4_K, .n_bytes = 256 * 144};
    made m = make("qwen3-dense", &change);
    kq_quant_plan_options o = KQ_OPTIONS_INIT(kq_quant_plan_options);
    o.type = "Q4_K_M";
    kq_quant_plan *p = plan(m.g, &o);
    assert_true(choice(p, "blk.0.attn_q.weight")->copied);
    kq_quant_plan_close(p);
    o.type = "Q8_0";
    refused(m.g, &o, KQ_E_UNSUPPORTED, "tensor blk.0.attn_q.weight is quantised already (q4_k); encoding it again must be allowed");
    o.allow_requantize = true;
    p = plan(m.g, &o);
    assert_false(choice(p, "blk.0.attn_q.weight")->copied);
    takes(p, "blk.0.attn_q.weight", KQ_Q8_0);
    kq_quant_plan_close(p);
    unmake(&m);
}

/* Importances: of another size they are refused, and missing ones where they are needed; the metadata tell of the matrix. */
static void importances(void **state) {
    (void)state;
    made m = make("qwen3-dense", NULL);
    kq_imatrix *im;
    assert_int_equal(kq_imatrix_create(&im, NULL, NULL), KQ_OK);
    float ones[512], n = 1;
    for (size_t i = 0; i < 512; i++) ones[i] = 1;
    assert_int_equal(kq_imatrix_add(im, "blk.0.attn_q.weight", 256, 1, ones, &n, NULL), KQ_OK);
    assert_int_equal(kq_imatrix_add_dataset(im, "tales.txt", NULL), KQ_OK);
    kq_imatrix_set_chunks(im, 7, 512);
    kq_quant_plan_options o = KQ_OPTIONS_INIT(kq_quant_plan_options);
    o.type = "Q4_K_M";
    o.imatrix = im;
    o.imatrix_name = "some.imatrix";
    kq_quant_plan *p = plan(m.g, &o);
    assert_true(choice(p, "blk.0.attn_q.weight")->weighted);
    assert_false(choice(p, "blk.0.attn_k.weight")->weighted);
    static const char *const keys[] = {"general.quantization_version", "general.file_type", "quantize.imatrix.file", "quantize.imatrix.dataset",
                                       "quantize.imatrix.entries_count", "quantize.imatrix.chunks_count"};
    size_t first = kq_quant_plan_n_values(p) - KQ_COUNT(keys);
    for (size_t i = 0; i < KQ_COUNT(keys); i++) assert_string_equal(kq_quant_plan_value_at(p, first + i)->key.data, keys[i]);
    kq_string name;
    assert_true(kq_gguf_scalar_string(kq_quant_plan_value_at(p, first + 2), &name));
    assert_int_equal(name.size, strlen("some.imatrix"));
    assert_memory_equal(name.data, "some.imatrix", name.size);
    assert_int_equal(kq_load_u32(kq_quant_plan_value_at(p, first + 5)->data), 7);
    kq_quant_plan_close(p);
    o.type = "IQ3_XXS";
    refused(m.g, &o, KQ_E_ARGUMENT, "which needs importances: the matrix has none for it");
    o.imatrix = NULL;
    refused(m.g, &o, KQ_E_ARGUMENT, "which needs an importance matrix");
    o.type = NULL;
    o.recipe = "* = iq3_xxs"; /* its encoder goes without */
    kq_quant_plan_close(plan(m.g, &o));
    o.recipe = "* = iq2_xxs";
    refused(m.g, &o, KQ_E_ARGUMENT, "which needs an importance matrix");
    assert_int_equal(kq_imatrix_add(im, "blk.0.attn_k.weight", 512, 1, ones, &n, NULL), KQ_OK);
    o.imatrix = im;
    o.recipe = "* = q4_k";
    refused(m.g, &o, KQ_E_MODEL, "blk.0.attn_k.weight");
    kq_imatrix_close(im);
    unmake(&m);
}

/* A target is met and nearly used up, by bits and by bytes; more bytes never make more error; threads change nothing. */
static void targets(void **state) {
    (void)state;
    made m = make("qwen3-dense", NULL);
    kq_gguf *g = m.g;
    kq_pool *pool;
    assert_int_equal(kq_pool_open(&pool, 2, NULL, NULL), KQ_OK);
    kq_quant_plan_options o = KQ_OPTIONS_INIT(kq_quant_plan_options);
    kq_quant_override over = {"blk.0.attn_k", "q8_0"};
    o.overrides = &over;
    o.n_overrides = 1;
    double last = 1e9;
    for (int bits = 4; bits <= 6; bits += 2) {
        o.target_bpw = bits;
        o.pool = bits == 4 ? pool : NULL;
        kq_quant_plan *p = plan(g, &o);
        double sum = 0.0;
        for (size_t i = 0; i < kq_quant_plan_size(p); i++) sum += kq_quant_plan_at(p, i)->error > 0 ? kq_quant_plan_at(p, i)->error : 0.0;
        assert_true(kq_quant_plan_bpw(p) <= bits && kq_quant_plan_bpw(p) > bits - 0.5);
        assert_true(sum < last);
        last = sum;
        takes(p, "blk.0.attn_k.weight", KQ_Q8_0);
        assert_non_null(strstr(choice(p, "blk.1.attn_v.weight")->reason, "target: error "));
        kq_quant_plan_options file = o;
        file.target_bpw = 0.0;
        file.target_bytes = kq_quant_plan_file_bytes(p);
        file.pool = bits == 4 ? NULL : pool;
        kq_quant_plan *q = plan(g, &file);
        assert_true(kq_quant_plan_file_bytes(q) <= file.target_bytes);
        assert_true(kq_quant_plan_file_bytes(q) > file.target_bytes / 10 * 9);
        kq_quant_plan_close(q);
        o.pool = bits == 4 ? NULL : pool;
        q = plan(g, &o);
        for (size_t i = 0; i < kq_quant_plan_size(p); i++) {
            assert_int_equal(kq_quant_plan_at(p, i)->codec, kq_quant_plan_at(q, i)->codec);
            assert_true(kq_quant_plan_at(p, i)->error == kq_quant_plan_at(q, i)->error);
        }
        kq_quant_plan_close(q);
        kq_quant_plan_close(p);
    }
    o.target_bpw = 1.0;
    refused(g, &o, KQ_E_ARGUMENT, "a target of 1 bits a weight is out of reach: at least ");
    o.target_bpw = 0.001;
    refused(g, &o, KQ_E_ARGUMENT, "a target of 0.001 bits a weight is out of reach: at least ");
    o.target_bpw = -4.0;
    refused(g, &o, KQ_E_ARGUMENT, "above 0 and at most 64");
    kq_pool_close(pool);
    unmake(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs),
        cmocka_unit_test(every_type_and_preset_comes_back),
        cmocka_unit_test(presets_go_by_role),
        cmocka_unit_test(recipes),
        cmocka_unit_test(options),
        cmocka_unit_test(quantised_sources),
        cmocka_unit_test(importances),
        cmocka_unit_test(targets),
        cmocka_unit_test(types_of_tale),
        cmocka_unit_test(the_file_of_tale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
