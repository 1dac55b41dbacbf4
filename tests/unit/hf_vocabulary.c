/* SPDX-License-Identifier: MIT */
/* Vocabularies of folders: what becomes of tokenizer.json, tokenizer.model and their companions, and what is made of a GGUF's. */
#include "folder.h"
#include "golden.h"

#include "convert/vocabulary.h"

#include <setjmp.h>

#include <cmocka.h>

/* ---- helpers -------------------------------------------------------------------------------------------------------- */

static void must(kq_status status, const kq_error *e) {
    if (status) fail_msg("%s: %s", e->file, e->text);
}

/* A folder that is removed with everything in it. */
typedef struct folder {
    char path[64];
} folder;

static folder make_folder(void) {
    folder f;
    assert_int_equal(folder_make(f.path, "vocabulary"), 0);
    return f;
}

static void remove_folder(const folder *f) {
    assert_int_equal(folder_remove(f->path), 0);
}

static void put_bytes(const folder *f, const char *name, const void *data, size_t size) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}
static void put_file(const folder *f, const char *name, const char *text) { put_bytes(f, name, text, strlen(text)); }

static kq_status read_path(kq_metadata *m, const char *path, kq_error *err) {
    kq_hf_config c;
    must(kq_metadata_init(m, NULL, err), err);
    KQ_TRY(kq_hf_config_open(&c, path, NULL, err));
    kq_status status = kq_vocabulary_read(m, &c, err);
    kq_hf_config_close(&c);
    return status;
}

/* A tokenizer of what was read: it keeps nothing of the metadata. */
static kq_tokenizer *tokenizer_of(const kq_metadata *m) {
    const kq_gguf view = {.allocator = m->allocator, .values = m->values, .n_values = m->n_values, .keys = m->keys};
    kq_error e = {0};
    kq_tokenizer *t = NULL;
    must(kq_tokenizer_open(&t, &view, NULL, &e), &e);
    return t;
}

static void assert_same_value(const kq_gguf_value *a, const kq_gguf_value *b, const char *key) {
    if (!a || !b) fail_msg("%s is there once", key);
    if (a->kind != b->kind || a->element != b->element || a->count != b->count || a->size != b->size || memcmp(a->data, b->data, a->size) != 0) {
        fail_msg("%s differs", key);
    }
}

static void assert_text(const kq_metadata *m, const char *key, const char *text) {
    kq_string s = {0};
    if (!kq_gguf_scalar_string(kq_metadata_find(m, key), &s)) fail_msg("%s is missing, must be '%s'", key, text);
    if (!kq_string_is(s, text)) fail_msg("%s is '%.*s', must be '%s'", key, (int)s.size, s.data, text);
}

/* A number or bool; -1: the key is absent. */
static void assert_number(const kq_metadata *m, const char *key, int64_t value) {
    int64_t have = -1;
    (void)kq_gguf_element_i64(kq_metadata_find(m, key), 0, &have);
    if (have != value) fail_msg("%s is %lld, must be %lld", key, (long long)have, (long long)value);
}

static void assert_token(const kq_metadata *m, size_t id, const char *text, int64_t type) {
    kq_gguf_strings it = kq_gguf_strings_of(kq_metadata_find(m, "tokenizer.ggml.tokens"));
    kq_string s = {0};
    int64_t have = -1;
    for (size_t i = 0; i <= id; i++) assert_true(kq_gguf_strings_next(&it, &s));
    (void)kq_gguf_element_i64(kq_metadata_find(m, "tokenizer.ggml.token_type"), id, &have);
    if (!kq_string_is(s, text) || have != type) {
        fail_msg("token %zu is '%.*s' of type %lld, must be '%s' of type %lld", id, (int)s.size, s.data, (long long)have, text, (long long)type);
    }
}

/* ---- the tale ------------------------------------------------------------------------------------------------------- */

static void the_tale_has_the_keys_of_its_gguf(void **state) {
    (void)state;
    char source[1024], path[1024];
    kq_error e = {0};
    if (!golden_shared_path(source, sizeof source, "models/tale") || !golden_shared_path(path, sizeof path, "models/tale-gguf/tale-bf16.gguf")) skip();
    kq_metadata m;
    kq_gguf *g;
    must(read_path(&m, source, &e), &e);
    must(kq_gguf_open(&g, path, NULL, &e), &e);
    size_t n = 0;
    for (size_t i = 0; i < kq_gguf_n_values(g); i++) {
        const kq_gguf_value *value = kq_gguf_value_at(g, i);
        if (strncmp(value->key.data, "tokenizer.", 10) != 0) continue;
        if (n >= m.n_values) fail_msg("%s is missing", value->key.data);
        assert_string_equal(m.values[n].key.data, value->key.data); /* in the same order */
        assert_same_value(&m.values[n++], value, value->key.data);
    }
    assert_int_equal(n, m.n_values);
    kq_gguf_close(g);
    kq_metadata_free(&m);
}

/* ---- there and back ------------------------------------------------------------------------------------------------- */

/* The ids of every text of NAME.inp are those of NAME.out. */
static void expect_goldens(const kq_tokenizer *t, const char *name) {
    static const char separator[] = "\n__ggml_vocab_test__\n";
    size_t in_size, out_size, texts = 0;
    char *in = (char *)golden_read_shared(&in_size, "golden/tokenizers/%s.inp", name);
    char *out = (char *)golden_read_shared(&out_size, "golden/tokenizers/%s.out", name), *line = out;
    for (char *text = in; text; texts++) {
        char *end = strstr(text, separator), *after;
        size_t size = end ? (size_t)(end - text) : (size_t)(in + in_size - text), n = 0;
        static int32_t ids[4096];
        kq_error e = {0};
        must(kq_tokenizer_encode(t, text, size, KQ_ENCODE_SPECIAL, ids, KQ_COUNT(ids), &n, &e), &e);
        for (size_t i = 0; i < n; i++, line = after) {
            if (strtol(line, &after, 10) != ids[i]) fail_msg("%s, text %zu: id %zu is %d", name, texts, i, (int)ids[i]);
        }
        line += strcspn(line, "0123456789\n");
        assert_int_equal(*line++, '\n');
        text = end && end[strlen(separator)] ? end + strlen(separator) : NULL;
    }
    assert_true(texts > 40);
    free(in);
    free(out);
}

static void there_and_back(const char *name, const char *class, bool scores) {
    static const char *const keys[] = {"tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens", "tokenizer.ggml.token_type",
                                       "tokenizer.ggml.merges", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
                                       "tokenizer.ggml.unknown_token_id", "tokenizer.ggml.padding_token_id", "tokenizer.chat_template"};
    char path[1024], config[256];
    kq_error e = {0};
    kq_gguf *g;
    kq_metadata m;
    if (!golden_shared_path(path, sizeof path, "golden/tokenizers/%s.gguf", name)) return;
    must(kq_gguf_open(&g, path, NULL, &e), &e);
    folder f = make_folder();
    must(kq_vocabulary_write(g, f.path, NULL, &e), &e);
    snprintf(config, sizeof config, "{\"architectures\": [\"%s\"], \"vocab_size\": %llu}", class,
             (unsigned long long)kq_gguf_find(g, "tokenizer.ggml.tokens")->count);
    put_file(&f, "config.json", config);
    must(read_path(&m, f.path, &e), &e);
    for (size_t i = 0; i < KQ_COUNT(keys); i++) {
        const kq_gguf_value *value = kq_gguf_find(g, keys[i]), *back = kq_metadata_find(&m, keys[i]);
        if (value || back) assert_same_value(value, back, keys[i]);
    }
    if (scores) assert_same_value(kq_gguf_find(g, "tokenizer.ggml.scores"), kq_metadata_find(&m, "tokenizer.ggml.scores"), "scores");
    kq_tokenizer *t = tokenizer_of(&m), *old = NULL;
    must(kq_tokenizer_open(&old, g, NULL, &e), &e);
    assert_int_equal(kq_tokenizer_adds_bos(t), kq_tokenizer_adds_bos(old));
    assert_int_equal(kq_tokenizer_adds_eos(t), kq_tokenizer_adds_eos(old));
    expect_goldens(t, name);
    kq_tokenizer_close(t);
    kq_tokenizer_close(old);
    kq_metadata_free(&m);
    kq_gguf_close(g);
    remove_folder(&f);
}

/* Their pre-tokenizers are found by patterns and by the hashes of their ids. */
static void byte_level_there_and_back(void **state) {
    (void)state;
    there_and_back("gpt-2", "GPT2LMHeadModel", false);
    there_and_back("starcoder", "Starcoder2ForCausalLM", false);
    there_and_back("falcon", "FalconForCausalLM", false);
    there_and_back("deepseek-llm", "LlamaForCausalLM", false);
    there_and_back("qwen35", "Qwen2ForCausalLM", false);
}

static void llama_3_there_and_back(void **state) {
    (void)state;
    there_and_back("llama-bpe", "LlamaForCausalLM", false);
}

static void pieces_there_and_back(void **state) {
    (void)state;
    there_and_back("llama-spm", "LlamaForCausalLM", true);
    there_and_back("phi-3", "LlamaForCausalLM", true);
}

static void gemma_4_there_and_back(void **state) {
    (void)state;
    there_and_back("gemma-4", "Gemma4ForCausalLM", true);
}

/* ---- small folders -------------------------------------------------------------------------------------------------- */

#define GPT2_STEP "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}"
#define ADDED(id, text, special) "{\"id\": " #id ", \"content\": \"" text "\", \"special\": " #special "}"

/* Reads what lies in the folder, which goes. */
static kq_status read_and_remove(kq_metadata *m, folder *f, kq_error *e) {
    kq_status status = read_path(m, f->path, e);
    remove_folder(f);
    return status;
}

static void ids_without_token_and_added_tokens(void **state) {
    (void)state;
    folder f = make_folder();
    kq_metadata m;
    kq_error e = {0};
    put_file(&f, "config.json", "{\"vocab_size\": 9, \"bos_token_id\": 0, \"pad_token_id\": 7, \"eos_token_id\": [6, 2], \"mask_token_id\": 99}");
    put_file(&f, "tokenizer_config.json", "{\"bos_token\": {\"content\": \"<s>\"}, \"unk_token\": \"nobody\", \"add_eos_token\": false}");
    put_file(&f, "tokenizer.json", "{" GPT2_STEP ", \"added_tokens\": [" ADDED(4, "<|end|>", false) ", " ADDED(5, "<x\xe2\x96\x81y>", false) ", "
                                   ADDED(6, "<s>", true) ", " ADDED(0, "a", false) "], "
                                   "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]}}");
    must(read_and_remove(&m, &f, &e), &e);
    assert_text(&m, "tokenizer.ggml.model", "gpt2");
    assert_text(&m, "tokenizer.ggml.pre", "gpt-2");
    assert_token(&m, 0, "a", 4);
    assert_token(&m, 2, "ab", 1);
    assert_token(&m, 3, "[PAD3]", 5);
    assert_token(&m, 4, "<|end|>", 3); /* looks special */
    assert_token(&m, 5, "<x y>", 4);
    assert_token(&m, 6, "<s>", 3);
    assert_token(&m, 8, "[PAD8]", 5);
    assert_number(&m, "tokenizer.ggml.bos_token_id", 6); /* tokenizer_config.json before config.json */
    assert_number(&m, "tokenizer.ggml.padding_token_id", 7);
    assert_number(&m, "tokenizer.ggml.eos_token_id", -1);  /* a list is no id */
    assert_number(&m, "tokenizer.ggml.mask_token_id", -1); /* out of range */
    assert_number(&m, "tokenizer.ggml.unknown_token_id", -1);
    assert_number(&m, "tokenizer.ggml.add_eos_token", 0);
    assert_number(&m, "tokenizer.ggml.add_bos_token", -1);
    kq_metadata_free(&m);
}

static void merges_of_both_forms(void **state) {
    (void)state;
    static const char *const forms[] = {"[\"\xc4\xa0 a\", \"\xc4\xa0""a b\"]", "[[\" \", \"a\"], [\"\xc4\xa0""a\", \"b\"]]"};
    for (size_t i = 0; i < KQ_COUNT(forms); i++) {
        folder f = make_folder();
        kq_metadata m;
        kq_error e = {0};
        char text[512];
        snprintf(text, sizeof text, "{" GPT2_STEP ", \"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"\xc4\xa0\": 2, \"\xc4\xa0""a\": 3, \"\xc4\xa0""ab\": 4}, "
                                    "\"merges\": %s}}", forms[i]);
        put_file(&f, "config.json", "{}");
        put_file(&f, "tokenizer.json", text);
        must(read_and_remove(&m, &f, &e), &e);
        kq_gguf_strings it = kq_gguf_strings_of(kq_metadata_find(&m, "tokenizer.ggml.merges"));
        kq_string merge;
        assert_true(kq_gguf_strings_next(&it, &merge) && kq_string_is(merge, "\xc4\xa0 a"));
        assert_true(kq_gguf_strings_next(&it, &merge) && kq_string_is(merge, "\xc4\xa0""a b"));
        kq_tokenizer *t = tokenizer_of(&m);
        int32_t id = -1;
        size_t n = 0;
        must(kq_tokenizer_encode(t, " ab", 3, 0, &id, 1, &n, &e), &e);
        assert_true(n == 1 && id == 4);
        kq_tokenizer_close(t);
        kq_metadata_free(&m);
    }
}

#define SPECIAL(text) "{\"SpecialToken\": {\"id\": \"" text "\", \"type_id\": 0}}"
#define SEQUENCE(id) "{\"Sequence\": {\"id\": \"" id "\", \"type_id\": 0}}"
#define TEMPLATE(single, pair) "{\"type\": \"TemplateProcessing\", \"single\": [" single "], \"pair\": [" pair "], \"special_tokens\": {}}"

/* What the post-processor and tokenizer_config.json say of BOS, EOS and SEP. */
static void what_is_added(void **state) {
    (void)state;
    static const struct {
        const char *post, *config;
        int bos, eos, sep, eos_id, eot_id;
    } cases[] = {
        {TEMPLATE(SEQUENCE("A"), ""), "{}", 0, -1, -1, -1, -1},
        {TEMPLATE(SPECIAL("<s>") ", " SEQUENCE("A"), ""), "{\"bos_token\": \"<s>\"}", 1, -1, -1, -1, -1},
        {TEMPLATE(SPECIAL("<s>") ", " SEQUENCE("A"), ""), "{\"bos_token\": \"</s>\"}", 0, -1, -1, -1, -1},
        {TEMPLATE(SPECIAL("<s>") ", " SEQUENCE("A"), ""), "{\"bos_token\": \"<s>\", \"add_bos_token\": false}", 0, -1, -1, -1, -1},
        /* what ends a text is eos; what the configuration calls so ends a turn */
        {TEMPLATE(SEQUENCE("A") ", " SPECIAL("</s>"), ""), "{\"eos_token\": \"<t>\"}", -1, 1, -1, 4, 5},
        {TEMPLATE(SEQUENCE("A") ", " SPECIAL("</s>"), ""), "{\"eos_token\": \"</s>\"}", -1, 1, -1, 4, -1},
        {TEMPLATE(SEQUENCE("A"), SEQUENCE("A") ", " SPECIAL("</s>") ", " SEQUENCE("B")), "{\"sep_token\": \"</s>\"}", 0, -1, 1, 4, -1},
        {TEMPLATE(SEQUENCE("A"), SEQUENCE("A") ", " SPECIAL("<t>") ", " SEQUENCE("B")), "{\"sep_token\": \"</s>\"}", 0, -1, 0, 4, -1},
        {"{\"type\": \"RobertaProcessing\", \"sep\": [\"</s>\", 4], \"cls\": [\"<s>\", 3]}", "{}", 1, 1, 1, -1, -1},
        {"{\"type\": \"Sequence\", \"processors\": [{\"type\": \"ByteLevel\"}, " TEMPLATE(SPECIAL("<s>") ", " SEQUENCE("A"), "") "]}",
         "{\"bos_token\": \"<s>\"}", 1, -1, -1, -1, -1},
    };
    for (size_t i = 0; i < KQ_COUNT(cases); i++) {
        folder f = make_folder();
        kq_metadata m;
        kq_error e = {0};
        char text[2048];
        snprintf(text, sizeof text, "{" GPT2_STEP ", \"added_tokens\": [" ADDED(3, "<s>", true) ", " ADDED(4, "</s>", true) ", " ADDED(5, "<t>", true)
                 "], \"post_processor\": %s, \"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]}}", cases[i].post);
        put_file(&f, "config.json", "{}");
        put_file(&f, "tokenizer.json", text);
        put_file(&f, "tokenizer_config.json", cases[i].config);
        must(read_and_remove(&m, &f, &e), &e);
        assert_number(&m, "tokenizer.ggml.add_bos_token", cases[i].bos);
        assert_number(&m, "tokenizer.ggml.add_eos_token", cases[i].eos);
        assert_number(&m, "tokenizer.ggml.add_sep_token", cases[i].sep);
        assert_number(&m, "tokenizer.ggml.eos_token_id", cases[i].eos_id);
        assert_number(&m, "tokenizer.ggml.eot_token_id", cases[i].eot_id);
        kq_metadata_free(&m);
    }
}

static void templates(void **state) {
    (void)state;
    static const char tokenizer[] = "{" GPT2_STEP ", \"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]}}";
    static const struct {
        const char *config, *jinja, *json, *want, *named;
    } cases[] = {
        {"{\"chat_template\": \"one\"}", "two", NULL, "one", NULL},
        {"{}", "two\r\nlines\r", "{\"chat_template\": \"three\"}", "two\nlines\n", NULL},
        {"{\"chat_template\": null}", NULL, "{\"chat_template\": \"three\"}", "three", NULL},
        {"{\"chat_template\": [{\"name\": \"tool use\", \"template\": \"four\"}, {\"name\": \"default\", \"template\": \"five\"}]}", NULL, NULL, "five", "four"},
        {"{}", NULL, NULL, NULL, NULL},
        {NULL, "two", NULL, NULL, NULL}, /* nothing is read without tokenizer_config.json */
    };
    for (size_t i = 0; i < KQ_COUNT(cases); i++) {
        folder f = make_folder();
        kq_metadata m;
        kq_error e = {0};
        put_file(&f, "config.json", "{}");
        put_file(&f, "tokenizer.json", tokenizer);
        if (cases[i].config) put_file(&f, "tokenizer_config.json", cases[i].config);
        if (cases[i].jinja) put_file(&f, "chat_template.jinja", cases[i].jinja);
        if (cases[i].json) put_file(&f, "chat_template.json", cases[i].json);
        must(read_and_remove(&m, &f, &e), &e);
        if (cases[i].want) assert_text(&m, "tokenizer.chat_template", cases[i].want);
        else assert_null(kq_metadata_find(&m, "tokenizer.chat_template"));
        if (cases[i].named) assert_text(&m, "tokenizer.chat_template.tool_use", cases[i].named);
        assert_int_equal(kq_metadata_find(&m, "tokenizer.chat_templates") != NULL, cases[i].named != NULL);
        kq_metadata_free(&m);
    }
}

static void scores_come_from_merges(void **state) {
    (void)state;
    folder f = make_folder();
    kq_metadata m;
    kq_error e = {0};
    put_file(&f, "config.json", "{\"architectures\": [\"LlamaForCausalLM\"]}");
    put_file(&f, "tokenizer_config.json", "{\"unk_token\": \"<unk>\"}");
    put_file(&f, "tokenizer.json",
             "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\xe2\x96\x81\"}]}, "
             "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"ByteFallback\"}]}, \"added_tokens\": [" ADDED(0, "<unk>", true) "], "
             "\"model\": {\"type\": \"BPE\", \"byte_fallback\": true, \"vocab\": {\"<unk>\": 0, \"<0x0A>\": 1, \"a\": 2, \"b\": 3, \"c\": 4, \"ab\": 5, "
             "\"bc\": 6, \"abc\": 7}, \"merges\": [[\"b\", \"c\"], [\"a\", \"b\"], [\"a\", \"bc\"], [\"ab\", \"c\"]]}}");
    must(read_and_remove(&m, &f, &e), &e);
    assert_text(&m, "tokenizer.ggml.model", "llama");
    assert_text(&m, "tokenizer.ggml.pre", "default");
    assert_token(&m, 0, "<unk>", 3);
    assert_token(&m, 1, "<0x0A>", 6);
    assert_number(&m, "tokenizer.ggml.add_space_prefix", 0); /* nothing puts one there */
    static const double want[] = {-1000, -1000, -1000, -1000, -1000, -1, 0, -2};
    for (size_t id = 0; id < KQ_COUNT(want); id++) {
        double score = 1;
        assert_true(kq_gguf_element_f64(kq_metadata_find(&m, "tokenizer.ggml.scores"), id, &score));
        assert_true(score == want[id]);
    }
    assert_null(kq_metadata_find(&m, "tokenizer.ggml.merges"));
    kq_metadata_free(&m);
}

static void pieces_of_a_model_file(void **state) {
    (void)state;
    /* pieces <unk> (unknown), a (score -1.5), b (user-defined), and a trainer that says BPE */
    static const uint8_t model[] = {0x0a, 9,  0x0a, 5,    '<',  'u',  'n', 'k', '>',  0x18, 2,    0x0a, 8,   0x0a, 1, 'a', 0x15, 0,
                                    0,    0xc0, 0xbf, 0x0a, 5,    0x0a, 1,   'b', 0x18, 4,    0x12, 2,    0x18, 2};
    folder f = make_folder();
    kq_metadata m;
    kq_error e = {0};
    put_bytes(&f, "tokenizer.model", model, sizeof model);
    put_file(&f, "config.json", "{\"architectures\": [\"Gemma3ForCausalLM\"], \"vocab_size\": 7, \"bos_token_id\": 1}");
    put_file(&f, "added_tokens.json", "{\"<x>\": 3, \"<far>\": 7}");
    put_file(&f, "tokenizer_config.json", "{\"add_bos_token\": true, \"added_tokens_decoder\": {\"4\": {\"content\": \"<y>\", \"special\": true}, "
                                          "\"5\": {\"content\": \"<z\xe2\x96\x81>\", \"special\": false}, \"99\": {\"content\": \"<far>\"}}}");
    must(read_and_remove(&m, &f, &e), &e);
    assert_text(&m, "tokenizer.ggml.model", "llama");
    assert_token(&m, 0, "<unk>", 2);
    assert_token(&m, 1, "a", 1);
    assert_token(&m, 2, "b", 1); /* as llama.cpp's converter has it */
    assert_token(&m, 3, "<x>", 4);
    assert_token(&m, 4, "<y>", 3);
    assert_token(&m, 5, "<z >", 4);
    assert_token(&m, 6, "[PAD6]", 5);
    static const double want[] = {0, -1.5, 0, -1000, -1000, -1000, -10000};
    for (size_t id = 0; id < KQ_COUNT(want); id++) {
        double score = 1;
        assert_true(kq_gguf_element_f64(kq_metadata_find(&m, "tokenizer.ggml.scores"), id, &score));
        assert_true(score == want[id]);
    }
    assert_number(&m, "tokenizer.ggml.add_space_prefix", 0);
    assert_number(&m, "tokenizer.ggml.add_bos_token", 1);
    kq_metadata_free(&m);
    for (size_t cut = 1; cut < sizeof model; cut++) { /* every beginning of it is refused or read; nothing beyond is touched */
        kq_tokens v;
        kq_allocator a = kq_allocator_of(NULL);
        uint8_t *exact = malloc(cut);
        memcpy(exact, model, cut);
        kq_tokens_init(&v, &a);
        kq_status status = kq_sentencepiece_parse(&v, exact, cut, "cut", &e);
        assert_true(status == KQ_E_FORMAT || (status == KQ_OK && (cut == 11 || cut == 21 || cut == 28)));
        kq_tokens_free(&v);
        free(exact);
    }
}

/* ---- hostile folders ------------------------------------------------------------------------------------------------ */

#define BPE(vocab, merges) "{" GPT2_STEP ", \"model\": {\"type\": \"BPE\", \"vocab\": " vocab ", \"merges\": " merges "}}"
#define WITH_ADDED(added) "{" GPT2_STEP ", \"added_tokens\": " added ", \"model\": {\"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": []}}"

static void hostile_tokenizers(void **state) {
    (void)state;
    static const struct {
        kq_status status;
        const char *tokenizer, *config;
    } cases[] = {
        {KQ_E_FORMAT, "[]", NULL},
        {KQ_E_FORMAT, "{}", NULL},
        {KQ_E_FORMAT, "{\"model\": []}", NULL},
        {KQ_E_FORMAT, "{\"model\": {\"vocab\": [], \"merges\": []}}", NULL},
        {KQ_E_FORMAT, "{\"model\": {\"vocab\": {}}}", NULL},
        {KQ_E_UNSUPPORTED, "{\"model\": {\"type\": \"Unigram\", \"vocab\": []}}", NULL},
        {KQ_E_UNSUPPORTED, "{\"model\": {\"type\": 7}}", NULL},
        {KQ_E_UNSUPPORTED, "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [], \"end_of_word_suffix\": \"</w>\"}}", NULL},
        {KQ_E_FORMAT, BPE("{\"a\": 0, \"a\": 1}", "[]"), NULL},
        {KQ_E_MODEL, BPE("{\"a\": 0, \"b\": 0}", "[]"), NULL},
        {KQ_E_FORMAT, BPE("{\"a\": -1}", "[]"), NULL},
        {KQ_E_FORMAT, BPE("{\"a\": \"0\"}", "[]"), NULL},
        {KQ_E_FORMAT, BPE("{\"a\": 0.5}", "[]"), NULL},
        {KQ_E_FORMAT, BPE("{\"a\": 9223372036854775807}", "[]"), NULL},
        {KQ_E_LIMIT, BPE("{\"a\": 4294967294}", "[]"), NULL},
        {KQ_E_LIMIT, BPE("{\"a\": 16777215}", "[]"), NULL}, /* too many ids without a token */
        {KQ_E_MODEL, BPE("{\"a\": 5}", "[]"), "{\"vocab_size\": 5}"},
        {KQ_E_FORMAT, BPE("{\"a\": 0}", "[]"), "{\"vocab_size\": 0}"},
        {KQ_E_FORMAT, BPE("{\"a\": 0}", "[]"), "{\"vocab_size\": \"many\"}"},
        {KQ_E_LIMIT, BPE("{\"a\": 0}", "[]"), "{\"vocab_size\": 9223372036854775807}"},
        {KQ_E_MODEL, BPE("{}", "[]"), NULL},
        {KQ_E_MODEL, BPE("{\"a\": 0}", "[\"ab\"]"), NULL},
        {KQ_E_FORMAT, BPE("{\"a\": 0}", "[7]"), NULL},
        {KQ_E_FORMAT, BPE("{\"a\": 0}", "[[\"a\"]]"), NULL},
        {KQ_E_FORMAT, BPE("{\"a\": 0}", "[[\"a\", 1]]"), NULL},
        {KQ_E_FORMAT, BPE("{\"a\\u0000\": 0}", "[]"), NULL},
        {KQ_E_FORMAT, BPE("{\"\\ud800\": 0}", "[]"), NULL},
        {KQ_E_FORMAT, BPE("{\"\xff\": 0}", "[]"), NULL},
        {KQ_E_FORMAT, WITH_ADDED("{}"), NULL},
        {KQ_E_FORMAT, WITH_ADDED("[7]"), NULL},
        {KQ_E_FORMAT, WITH_ADDED("[{\"id\": 2}]"), NULL},
        {KQ_E_FORMAT, WITH_ADDED("[{\"content\": \"x\"}]"), NULL},
        {KQ_E_MODEL, WITH_ADDED("[" ADDED(1, "a", true) "]"), NULL},
        {KQ_E_MODEL, WITH_ADDED("[" ADDED(2, "a", true) "]"), NULL},
        {KQ_E_MODEL, WITH_ADDED("[" ADDED(2, "x", true) ", " ADDED(2, "y", true) "]"), NULL},
        {KQ_E_MODEL, WITH_ADDED("[" ADDED(2, "x", true) ", " ADDED(3, "x", true) "]"), NULL},
        {KQ_E_FORMAT, "{\"post_processor\": {\"type\": \"Sequence\", \"processors\": [1]}, " GPT2_STEP ", \"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}", NULL},
        {KQ_E_FORMAT, "{\"pre_tokenizer\": 7, \"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}", NULL},
        {KQ_E_UNSUPPORTED, "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [\"a a\"]}}", NULL}, /* no pre-tokenizer that is known */
        {KQ_E_MODEL, BPE("{\"a\": 0}", "[\"a a\"]"), "{\"bos_token_id\": -1}"},
        {KQ_E_LIMIT, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", NULL},
    };
    for (size_t i = 0; i < KQ_COUNT(cases); i++) {
        folder f = make_folder();
        kq_metadata m;
        kq_error e = {0};
        put_file(&f, "config.json", cases[i].config ? cases[i].config : "{}");
        put_file(&f, "tokenizer.json", cases[i].tokenizer);
        kq_status status = read_and_remove(&m, &f, &e);
        if (status != cases[i].status) fail_msg("%s: %s, must be %s: %s", cases[i].tokenizer, kq_status_name(status), kq_status_name(cases[i].status), e.text);
        kq_metadata_free(&m);
    }
}

static void folders_without_vocabulary(void **state) {
    (void)state;
    kq_metadata m;
    kq_error e = {0};
    folder f = make_folder();
    put_file(&f, "config.json", "{}");
    assert_int_equal(read_path(&m, f.path, &e), KQ_E_MODEL);
    kq_metadata_free(&m);
    /* a checkpoint of a model that has none */
    put_file(&f, "config.json", "{\"quantization\": {\"mode\": \"kquant\", \"per_tensor\": {}}}");
    must(read_and_remove(&m, &f, &e), &e);
    assert_text(&m, "tokenizer.ggml.model", "none");
    kq_metadata_free(&m);
}

/* A vocabulary that no table knows: what is written for its pre-tokenizer leads back to one that cuts and merges alike. */
static void every_pre_tokenizer_there_and_back(void **state) {
    (void)state;
    const kq_string tokens[] = {{"a", 1}, {"b", 1}, {"ab", 2}}, merges[] = {{"a b", 3}};
    const kq_pretokenizer *row;
    size_t written = 0;
    for (size_t i = 0; (row = kq_pretokenizer_at(i)); i++) {
        kq_metadata m, back;
        kq_error e = {0};
        must(kq_metadata_init(&m, NULL, &e), &e);
        must(kq_metadata_string(&m, "tokenizer.ggml.model", "gpt2", &e), &e);
        must(kq_metadata_string(&m, "tokenizer.ggml.pre", row->name, &e), &e);
        must(kq_metadata_strings(&m, "tokenizer.ggml.tokens", tokens, 3, &e), &e);
        must(kq_metadata_strings(&m, "tokenizer.ggml.merges", merges, 1, &e), &e);
        const kq_gguf view = {.allocator = m.allocator, .values = m.values, .n_values = m.n_values, .keys = m.keys};
        folder f = make_folder();
        kq_status status = kq_vocabulary_write(&view, f.path, NULL, &e);
        bool can = !(row->flags & KQ_PRE_RAW) && strcmp(row->chain, "KIMI") != 0;
        if (can) {
            must(status, &e);
            put_file(&f, "config.json", "{}");
            must(read_path(&back, f.path, &e), &e);
            kq_string pre;
            assert_true(kq_gguf_scalar_string(kq_metadata_find(&back, "tokenizer.ggml.pre"), &pre));
            const kq_pretokenizer *other = kq_pretokenizer_find(pre.data);
            bool same_chain = strcmp(other->chain, row->chain) == 0 || (strcmp(row->chain, "GRANEMB") == 0 && strcmp(other->chain, "GPT4O") == 0);
            if (!same_chain || (other->flags ^ row->flags) & KQ_PRE_IGNORE_MERGES) fail_msg("%s came back as %s", row->name, other->name);
            kq_metadata_free(&back);
            written++;
        } else {
            assert_int_equal(status, KQ_E_UNSUPPORTED);
        }
        remove_folder(&f);
        kq_metadata_free(&m);
    }
    assert_true(written > 80);
}

/* Every row of the tables names a pre-tokenizer or a chain that there is. */
static void tables_of_pre_tokenizers(void **state) {
    (void)state;
    static const char *const names[] = {
#define KQ_PRE_HASH(name, hash) name,
#include "convert/pre_tokenizers.def"
    };
    static const char *const chains[] = {
#define KQ_PRE_FORM(chain, ...) #chain,
#define KQ_PRE_ALIAS(chain, ...) #chain,
#include "convert/pre_tokenizers.def"
    };
    for (size_t i = 0; i < KQ_COUNT(names); i++) {
        if (!kq_pretokenizer_find(names[i])) fail_msg("'%s' is no pre-tokenizer", names[i]);
    }
    for (size_t i = 0; i < KQ_COUNT(chains); i++) {
        size_t k = 0;
        while (kq_pretokenizer_at(k) && strcmp(kq_pretokenizer_at(k)->chain, chains[i]) != 0) k++;
        if (!kq_pretokenizer_at(k)) fail_msg("'%s' is no chain", chains[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tale_has_the_keys_of_its_gguf),
        cmocka_unit_test(ids_without_token_and_added_tokens),
        cmocka_unit_test(merges_of_both_forms),
        cmocka_unit_test(what_is_added),
        cmocka_unit_test(templates),
        cmocka_unit_test(scores_come_from_merges),
        cmocka_unit_test(pieces_of_a_model_file),
        cmocka_unit_test(hostile_tokenizers),
        cmocka_unit_test(folders_without_vocabulary),
        cmocka_unit_test(tables_of_pre_tokenizers),
        cmocka_unit_test(every_pre_tokenizer_there_and_back),
        cmocka_unit_test(byte_level_there_and_back),
        cmocka_unit_test(llama_3_there_and_back),
        cmocka_unit_test(pieces_there_and_back),
        cmocka_unit_test(gemma_4_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
