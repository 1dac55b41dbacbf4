/* SPDX-License-Identifier: MIT */
/* Folders opened as models: of every family, a folder made from the golden model by rules of the test's own must give the golden's tensors
 * byte for byte and its logits; what is wrong is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "convert/convert.h"
#include "engine/engine.h"
#include "folder.h"
#include "golden.h"
#include "hf_folder.h"
#include "make_model.h"

#include <jansson.h>
#include <kquant/kquant.h>

#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    return folder_make(folder, "source");
}
static int remove_folder(void **state) {
    (void)state;
    hf_folder_remove(folder);
    return 0;
}

/* ---- families ------------------------------------------------------------------------------------------------------- */

#define SIZES(kv)                                                                                                              \
    "\"vocab_size\":128,\"hidden_size\":256,\"intermediate_size\":384,\"num_hidden_layers\":2,\"num_attention_heads\":4,"      \
    "\"num_key_value_heads\":" #kv ",\"max_position_embeddings\":256,\"rms_norm_eps\":1e-5"

typedef struct family {
    const char *golden, *config;
    hf_options how;
    double bound; /* of the logits: that of the golden model itself (tests/unit/model.c) */
} family;

static const family families[] = {
    {"llama-dense", "{\"architectures\":[\"LlamaForCausalLM\"]," SIZES(2) "%Q}", {.halves = true}, 1e-8},
    {"llama-moe", "{\"architectures\":[\"MixtralForCausalLM\"],\"rope_theta\":10000,\"head_dim\":64,\"num_local_experts\":4," SIZES(2) "%Q}", {.halves = true}, 1e-8},
    {"qwen2-dense", "{\"model_type\":\"qwen2\",\"rope_theta\":10000.0,\"head_dim\":64," SIZES(2) "%Q}", {0}, 1e-8},
    {"qwen3-dense", "{\"architectures\":[\"Qwen3ForCausalLM\"],\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":1e4},\"head_dim\":64," SIZES(1) "%Q}", {0}, 1e-8},
    {"qwen3moe-moe",
     "{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"num_experts\":4,\"num_experts_per_tok\":2,\"moe_intermediate_size\":384,\"norm_topk_prob\":true,"
     "\"head_dim\":64,\"mlp_only_layers\":[]," SIZES(2) "%Q}", {.moe_in_mlp = true}, 1e-8},
    {"gemma3-dense",
     "{\"architectures\":[\"Gemma3ForCausalLM\"],\"layer_types\":[\"sliding_attention\",\"full_attention\"],\"sliding_window\":6,"
     "\"query_pre_attn_scalar\":64,\"rope_theta\":10000,\"rope_local_base_freq\":1e4,\"head_dim\":64,\"tie_word_embeddings\":false," SIZES(2) "%Q}",
     {.gemma = true}, 2e-7},
};

/* The configuration with the quantization of a checkpoint, or without; a text that hf_folder_write takes. */
static const char *config_of(const family *f, bool packed) {
    static char text[4096];
    const char *at = strstr(f->config, "%Q");
    snprintf(text, sizeof text, "%.*s%s}", (int)(at - f->config), f->config,
             packed ? ",\"quantization\":{\"mode\":\"kquant\",\"per_tensor\":{%s}}" : "");
    return text;
}

static kq_gguf *open_bytes(bytes file) {
    kq_gguf *g;
    kq_error err = {0};
    if (kq_gguf_open_memory(&g, file.data, file.size, "golden", NULL, &err)) fail_msg("%s", err.text);
    return g;
}

static kq_status open_source(kq_gguf **out, bool lazy, kq_error *err) {
    kq_source_options o = KQ_OPTIONS_INIT(kq_source_options);
    o.lazy = lazy;
    o.no_vocabulary = true;
    return kq_source_open(out, folder, &o, err);
}

static kq_gguf *must_open(bool lazy) {
    kq_gguf *g;
    kq_error err = {0};
    if (open_source(&g, lazy, &err)) fail_msg("%s: %s", err.file, err.text);
    return g;
}

/* What one has under its architecture's name, the other has with the same value, where it has it at all. */
static void compare_keys(const kq_gguf *want, const kq_gguf *got, size_t least) {
    size_t same = 0;
    for (size_t i = 0; i < kq_gguf_n_values(want); i++) {
        const kq_gguf_value *a = kq_gguf_value_at(want, i), *b = kq_gguf_find(got, a->key.data);
        if (!b || strncmp(a->key.data, "general.", 8) == 0 || a->kind == KQ_GGUF_ARRAY) continue;
        if (a->kind != b->kind || a->size != b->size || memcmp(a->data, b->data, a->size) != 0) fail_msg("key %s differs", a->key.data);
        same++;
    }
    if (same < least) fail_msg("only %zu keys agree", same);
}

/* Every tensor with its shape and bytes, whole and in pieces of rows. The folder may widen norms and routers: those are compared as floats. */
static void compare_tensors(const kq_gguf *want, const kq_gguf *got) {
    kq_error err = {0};
    size_t classifiers = kq_gguf_tensor_find(want, "cls.output.weight") != NULL; /* which a folder does not hold */
    assert_int_equal(kq_gguf_n_tensors(want), kq_gguf_n_tensors(got) + classifiers);
    for (size_t i = 0; i < kq_gguf_n_tensors(want); i++) {
        if (strncmp(kq_gguf_tensor_at(want, i)->name.data, "cls.", 4) == 0) continue;
        const kq_gguf_tensor *a = kq_gguf_tensor_at(want, i), *b = kq_gguf_tensor_find(got, a->name.data);
        if (!b || a->codec != b->codec || a->n_dims != b->n_dims || memcmp(a->dims, b->dims, sizeof a->dims) != 0) {
            fail_msg("tensor %s is missing or has another shape or type", a->name.data);
            return;
        }
        uint64_t row = a->bytes / (a->weights / a->dims[0]), part = row * 5;
        uint8_t *read = malloc(a->bytes);
        for (uint64_t at = 0; at < a->bytes; at += part) {
            assert_int_equal(kq_gguf_tensor_read(got, b, at, KQ_MIN(part, a->bytes - at), read + at, &err), KQ_OK);
        }
        if (memcmp(read, a->data, a->bytes) != 0) fail_msg("tensor %s has other bytes", a->name.data);
        if (b->data) assert_memory_equal(b->data, a->data, a->bytes);
        assert_int_equal(kq_gguf_tensor_read(got, b, 1, row, read, &err), KQ_E_ARGUMENT);
        assert_int_equal(kq_gguf_tensor_read(got, b, row, a->bytes, read, &err), KQ_E_ARGUMENT);
        free(read);
    }
}

static void check_logits(kq_gguf *g, const char *name, double bound) {
    kq_error err = {0};
    kq_model *m;
    kq_session *s;
    golden_logits want = golden_logits_read(name);
    size_t n = (size_t)want.n, v = (size_t)want.n_vocab;
    float *out = malloc(n * v * sizeof *out);
    kq_model_options o = KQ_OPTIONS_INIT(kq_model_options);
    o.no_tokenizer = true;
    if (kq_model_open_file(&m, g, &o, &err)) fail_msg("%s: %s", name, err.text);
    kq_session_options so = KQ_OPTIONS_INIT(kq_session_options);
    so.mode = KQ_EXACT;
    so.state_type = KQ_STATE_F32;
    assert_int_equal(kq_session_open(&s, m, &so, &err), KQ_OK);
    assert_int_equal(kq_session_append(s, want.tokens, n, out, n, &err), KQ_OK);
    double error = nmse(out, want.logits, n * v);
    printf("%-16s from a folder: nmse %.2e (bound %.0e)\n", name, error, bound);
    assert_true(error <= bound);
    kq_session_close(s);
    kq_model_close(m);
    free(out);
    free(want.file.data);
}

/* The configuration that is made of a model means the same model: written in place of the one it was read with, it gives the same keys. */
static void check_way_back(const kq_gguf *g) {
    kq_error err = {0};
    json_t *config;
    char path[128];
    if (kq_hf_config_make(&config, g, &err)) fail_msg("%s", err.text);
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    kq_gguf *again = must_open(true);
    assert_int_equal(kq_gguf_n_values(again), kq_gguf_n_values(g));
    for (size_t i = 0; i < kq_gguf_n_values(g); i++) {
        const kq_gguf_value *a = kq_gguf_value_at(g, i), *b = kq_gguf_find(again, a->key.data);
        if (!b || a->kind != b->kind || a->size != b->size || memcmp(a->data, b->data, a->size) != 0) fail_msg("key %s is lost", a->key.data);
    }
    compare_tensors(g, again);
    kq_gguf_close(again);
}

static void golden_families(void **state) {
    (void)state;
    for (size_t i = 0; i < KQ_COUNT(families); i++) {
        const family *f = &families[i];
        spec *sp = spec_open(f->golden);
        bytes file = spec_file(sp, NULL);
        kq_gguf *want = open_bytes(file);
        bool experts = kq_gguf_tensor_find(want, "blk.0.ffn_gate_exps.weight") != NULL;
        for (int k = 0; k < (experts ? f->how.moe_in_mlp ? 3 : 2 : 1); k++) {
            hf_options how = f->how;
            how.dtype = KQ_DTYPE_F32;
            how.experts = (hf_experts)k;
            how.max_shard_bytes = k ? 0 : 400000;
            hf_folder_remove(folder);
            assert_int_equal(mkdir(folder, 0700), 0);
            hf_folder_write(folder, want, config_of(f, false), &how);
            kq_gguf *lazy = must_open(true), *whole = must_open(false);
            assert_string_equal(kq_source_form(lazy), "huggingface");
            compare_tensors(want, lazy);
            compare_tensors(want, whole);
            compare_keys(want, whole, 9);
            kq_gguf_close(lazy);
            if (!kq_gguf_tensor_find(want, "rope_freqs.weight")) check_way_back(whole); /* the goldens' are random: no field can say them */
            check_logits(whole, f->golden, f->bound);
        }
        kq_gguf_close(want);
        bytes_free(&file);
        spec_close(sp);
    }
}

/* Llama 3's rope is numbers in config.json and a tensor in GGUF. Wavelengths of base 10000 and a head of 64, by hand: 2 pi of the first row is
 * short and stays; the last, 2 pi 10000^(62/64) = 47119, is beyond the context of 8192 and is stretched by the whole factor. */
static void rope_factors(void **state) {
    (void)state;
    const family *f = &families[0];
    spec *sp = spec_open(f->golden);
    bytes file = spec_file(sp, NULL);
    kq_gguf *golden = open_bytes(file);
    char config[4096];
    hf_options how = f->how;
    how.dtype = KQ_DTYPE_F32;
    how.drop = "rope_freqs.weight";
    const char *plain = config_of(f, false);
    snprintf(config, sizeof config, "%.*s,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":32.0,\"low_freq_factor\":1.0,"
             "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192}}", (int)strlen(plain) - 1, plain);
    hf_folder_write(folder, golden, config, &how);
    kq_gguf *g = must_open(false);
    const kq_gguf_tensor *t = kq_gguf_tensor_find(g, "rope_freqs.weight");
    assert_non_null(t);
    assert_int_equal(t->weights, 32);
    const float *factors = t->data;
    assert_true(factors[0] == 1.0f && factors[31] == 32.0f);
    for (int i = 1; i < 32; i++) assert_true(factors[i] >= factors[i - 1]);
    assert_null(kq_gguf_find(g, "llama.rope.scaling.type"));
    check_way_back(g);
    kq_gguf_close(g);
    kq_gguf_close(golden);
    bytes_free(&file);
    spec_close(sp);
}

/* ---- checkpoints ---------------------------------------------------------------------------------------------------- */

/* The golden model with every matrix whose columns allow it in a codec, as bytes of a GGUF. */
static bytes packed_model(const kq_gguf *g, kq_codec codec) {
    char path[96];
    snprintf(path, sizeof path, "%s.gguf", folder);
    kq_gguf_writer *w;
    kq_error err = {0};
    void *made[128];
    size_t n_made = 0;
    assert_int_equal(kq_gguf_writer_open(&w, path, NULL, &err), KQ_OK);
    for (size_t i = 0; i < kq_gguf_n_values(g); i++) {
        const kq_gguf_value *v = kq_gguf_value_at(g, i);
        assert_int_equal(kq_gguf_writer_value(w, v->key.data, v->kind, v->element, v->count, v->data, v->size, &err), KQ_OK);
    }
    for (size_t i = 0; i < kq_gguf_n_tensors(g); i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(g, i);
        bool pack = t->n_dims > 1 && t->dims[0] % kq_codec_describe(codec)->block_weights == 0 && !strstr(t->name.data, "ffn_gate_inp");
        if (strncmp(t->name.data, "cls.", 4) == 0) continue;
        const void *data = t->data;
        if (pack) {
            uint64_t row;
            assert_int_equal(kq_row_bytes(codec, t->dims[0], &row, &err), KQ_OK);
            uint64_t rows = t->weights / t->dims[0];
            made[n_made] = malloc(row * rows);
            assert_int_equal(kq_quantize(codec, t->data, t->weights, rows, t->dims[0], made[n_made], row * rows, NULL, &err), KQ_OK);
            data = made[n_made++];
        }
        assert_int_equal(kq_gguf_writer_tensor(w, t->name.data, pack ? codec : t->codec, t->n_dims, t->dims, data, NULL, NULL, &err), KQ_OK);
    }
    assert_int_equal(kq_gguf_writer_finish(w, &err), KQ_OK);
    kq_gguf_writer_close(w);
    for (size_t i = 0; i < n_made; i++) free(made[i]);
    bytes file = read_file(path);
    unlink(path);
    return file;
}

/* A checkpoint keeps every byte of the blocks, in rows of Hugging Face's order. */
static void checkpoints(void **state) {
    (void)state;
    const kq_codec codecs[] = {KQ_Q4_K, KQ_Q8_0, KQ_MXFP4};
    for (size_t i = 0; i < KQ_COUNT(families); i++) {
        const family *f = &families[i];
        spec *sp = spec_open(f->golden);
        bytes file = spec_file(sp, NULL);
        kq_gguf *plain = open_bytes(file);
        bytes packed = packed_model(plain, codecs[i % KQ_COUNT(codecs)]);
        kq_gguf *want = open_bytes(packed);
        hf_options how = f->how;
        how.dtype = KQ_DTYPE_F32;
        how.experts = i & 1 ? HF_SWITCH : HF_EACH;
        hf_folder_remove(folder);
        assert_int_equal(mkdir(folder, 0700), 0);
        hf_folder_write(folder, want, config_of(f, true), &how);
        kq_gguf *lazy = must_open(true), *whole = must_open(false);
        assert_string_equal(kq_source_form(lazy), "mlx-kquant");
        compare_tensors(want, lazy);
        compare_tensors(want, whole);
        kq_gguf_close(lazy);
        kq_gguf_close(whole);
        kq_gguf_close(want);
        kq_gguf_close(plain);
        bytes_free(&packed);
        bytes_free(&file);
        spec_close(sp);
    }
}

/* ---- models/tale ---------------------------------------------------------------------------------------------------- */

/* The folder that was trained is the GGUF that was made of it: every key, and every byte of every tensor. What our folder has beyond that are
 * the keys that llama.cpp's converter writes and the maker of that file left out. */
static void tale(void **state) {
    (void)state;
    char path[1024], reference[1024];
    kq_gguf *want, *got;
    kq_error err = {0};
    if (!golden_shared_path(path, sizeof path, "models/tale") || !golden_shared_path(reference, sizeof reference, "models/tale-gguf/tale-bf16.gguf")) skip();
    if (kq_gguf_open(&want, reference, NULL, &err) || kq_source_open(&got, path, NULL, &err)) fail_msg("%s", err.text);
    compare_tensors(want, got);
    for (size_t i = 0; i < kq_gguf_n_values(want); i++) {
        const kq_gguf_value *a = kq_gguf_value_at(want, i), *b = kq_gguf_find(got, a->key.data);
        if (!b || a->kind != b->kind || a->element != b->element || a->count != b->count || a->size != b->size) {
            fail_msg("key %s is missing or differs", a->key.data);
            return;
        }
        if (memcmp(a->data, b->data, a->size) != 0) fail_msg("key %s has another value", a->key.data);
    }
    static const char *const more[] = {"general.type", "general.size_label", "general.quantization_version"};
    for (size_t i = 0; i < kq_gguf_n_values(got); i++) {
        const char *key = kq_gguf_value_at(got, i)->key.data;
        bool known = kq_gguf_find(want, key) != NULL;
        for (size_t k = 0; k < KQ_COUNT(more); k++) known = known || strcmp(key, more[k]) == 0;
        if (!known) fail_msg("key %s is one too many", key);
    }
    char inside[1100];
    snprintf(inside, sizeof inside, "%s/tokenizer.json", path);
    assert_true(kq_gguf_is_file(got, inside));
    assert_true(kq_gguf_is_file(got, path));
    assert_false(kq_gguf_is_file(got, reference));
    kq_gguf_close(want);
    kq_gguf_close(got);
}

/* ---- what is wrong -------------------------------------------------------------------------------------------------- */

static void write_config(const char *text, size_t size) {
    char path[128];
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(write_file(path, text, size), 0);
}

static void refused(kq_status want, const char *said, const char *what) {
    kq_gguf *g;
    kq_error err = {0};
    for (int lazy = 0; lazy < 2; lazy++) {
        kq_status status = open_source(&g, lazy != 0, &err);
        if (status != want || g || !strstr(err.text, said)) {
            fail_msg("%s: status %d, '%s', should be %d and say '%s'", what, (int)status, err.text, (int)want, said);
        }
    }
}

static void configs(void **state) {
    (void)state;
    const family *f = &families[3]; /* qwen3, with this in front of its fields */
    static const struct {
        const char *replace, *with;
        kq_status status;
        const char *says;
    } cases[] = {
        {"Qwen3ForCausalLM", "Qwen99ForCausalLM", KQ_E_UNSUPPORTED, "Qwen99ForCausalLM"},
        {"[\"Qwen3ForCausalLM\"]", "3", KQ_E_MODEL, "neither architectures nor model_type"},
        {"\"hidden_size\":256", "\"hidden_size\":0", KQ_E_MODEL, "hidden_size is 0"},
        {"\"hidden_size\":256", "\"hidden_size\":-1", KQ_E_MODEL, "hidden_size is -1"},
        {"\"hidden_size\":256", "\"hidden_size\":256.5", KQ_E_MODEL, "hidden_size is 256.5"},
        {"\"hidden_size\":256", "\"hidden_size\":9000000000000000000", KQ_E_MODEL, "hidden_size is 9000000000000000000"},
        {"\"hidden_size\":256", "\"hidden_size\":99999999999999999999999", KQ_E_FORMAT, "no valid JSON"},
        {"\"hidden_size\":256", "\"hidden_size\":\"256\"", KQ_E_MODEL, "hidden_size is '256'"},
        {"\"hidden_size\":256", "\"hidden_size\":[256]", KQ_E_MODEL, "hidden_size is an object or a list"},
        {"\"hidden_size\":256", "\"hidden_size\":256,\"hidden_size\":256", KQ_E_FORMAT, "no valid JSON"},
        {"\"hidden_size\":256", "\"hidden_size\":512", KQ_E_MODEL, "must be"},
        {"\"num_hidden_layers\":2", "\"num_hidden_layers\":1", KQ_E_MODEL, "1 layers"},
        {"\"num_hidden_layers\":2", "\"num_hidden_layers\":3", KQ_E_MODEL, "model.layers.2.input_layernorm.weight' is missing"},
        {"\"num_hidden_layers\":2", "\"num_hidden_layers\":100000", KQ_E_MODEL, "num_hidden_layers is 100000"},
        {"\"num_attention_heads\":4", "\"num_attention_heads\":3,\"x\":4", KQ_E_MODEL, "must be"},
        {"\"num_key_value_heads\":1", "\"num_key_value_heads\":3", KQ_E_MODEL, "no multiple"},
        {"\"head_dim\":64", "\"head_dim\":63", KQ_E_MODEL, "must be even"},
        {"\"rms_norm_eps\":1e-5", "\"rms_norm_eps\":\"tiny\"", KQ_E_MODEL, "rms_norm_eps is 'tiny'"},
        {"\"rope_type\":\"default\"", "\"rope_type\":\"spiral\"", KQ_E_UNSUPPORTED, "spiral"},
        {"\"rope_type\":\"default\"", "\"rope_type\":\"llama3\"", KQ_E_UNSUPPORTED, "llama3"},
        {"\"rope_type\":\"default\"", "\"rope_type\":\"linear\"", KQ_E_MODEL, "has no factor"},
        {"\"rope_type\":\"default\"", "\"rope_type\":7", KQ_E_MODEL, "no string"},
        {"{\"rope_type\":\"default\",\"rope_theta\":1e4}", "[1]", KQ_E_MODEL, "rope_parameters is no object"},
        {"\"head_dim\":64", "\"head_dim\":64,\"hidden_act\":\"gelu\"", KQ_E_UNSUPPORTED, "hidden_act is 'gelu'"},
        {"\"head_dim\":64", "\"head_dim\":64,\"text_config\":[]", KQ_E_FORMAT, "no object"},
        {"\"head_dim\":64", "\"head_dim\":64,\"quantization\":{\"bits\":4}", KQ_E_UNSUPPORTED, "without mode"},
        {"\"head_dim\":64", "\"head_dim\":64,\"quantization_config\":{\"quant_method\":\"fp8\"}", KQ_E_UNSUPPORTED, "fp8"},
        {"\"head_dim\":64", "\"head_dim\":64,\"quantization\":{\"mode\":\"kquant\"}", KQ_E_MODEL, "per_tensor"},
        {"\"head_dim\":64", "\"head_dim\":64,\"quantization\":{\"mode\":\"kquant\",\"per_tensor\":{\"nowhere\":\"q8_0\"}}", KQ_E_MODEL, "names no tensor"},
        {"\"head_dim\":64", "\"head_dim\":64,\"quantization\":{\"mode\":\"kquant\",\"per_tensor\":{\"lm_head\":\"q8_0\"}}", KQ_E_MODEL, "must be U8"},
        {"\"head_dim\":64", "\"head_dim\":64,\"quantization\":{\"mode\":\"kquant\",\"per_tensor\":{\"lm_head\":\"q8_9\"}}", KQ_E_UNSUPPORTED, "q8_9"},
    };
    spec *sp = spec_open(f->golden);
    bytes file = spec_file(sp, NULL);
    kq_gguf *want = open_bytes(file);
    const hf_options how = {.dtype = KQ_DTYPE_F32};
    hf_folder_write(folder, want, config_of(f, false), &how);
    char whole[4096], text[8192];
    snprintf(whole, sizeof whole, "%s", config_of(f, false));
    for (size_t i = 0; i < KQ_COUNT(cases); i++) {
        const char *at = strstr(whole, cases[i].replace);
        assert_non_null(at);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - whole), whole, cases[i].with, at + strlen(cases[i].replace));
        write_config(text, strlen(text));
        refused(cases[i].status, cases[i].says, cases[i].with);
    }
    for (size_t n = 0; n < strlen(whole); n++) { /* cut anywhere */
        write_config(whole, n);
        refused(KQ_E_FORMAT, n ? "no valid JSON" : "is empty", "cut");
    }
    memset(text, '[', sizeof text);
    write_config(text, sizeof text);
    refused(KQ_E_LIMIT, "deep", "nested");
    write_config("[]", 2);
    refused(KQ_E_FORMAT, "no JSON object", "a list");
    kq_gguf_close(want);
    bytes_free(&file);
    spec_close(sp);
}

static void tensors(void **state) {
    (void)state;
    static const struct {
        size_t family;
        hf_options how;
        kq_status status;
        const char *says;
    } cases[] = {
        {3, {.drop = "model.layers.1.mlp.up_proj.weight"}, KQ_E_MODEL, "'model.layers.1.mlp.up_proj.weight' is missing"},
        {3, {.drop = "lm_head.weight"}, KQ_E_MODEL, "tie_word_embeddings is not true"},
        {3, {.extra = "model.layers.0.mlp.other.weight"}, KQ_E_UNSUPPORTED, "'model.layers.0.mlp.other.weight' has no meaning"},
        {3, {.extra = "model.layers.00.mlp.up_proj.weight"}, KQ_E_UNSUPPORTED, "has no meaning"},
        {3, {.extra = "model.layers.4294967296.mlp.up_proj.weight"}, KQ_E_UNSUPPORTED, "has no meaning"},
        {3, {.extra = "../../etc/passwd"}, KQ_E_UNSUPPORTED, "has no meaning"},
        {3, {.reshape = "model.layers.1.self_attn.q_proj.weight"}, KQ_E_MODEL, "is 255 x 256, must be 256 x 256"},
        {0, {.halves = true, .reshape = "model.layers.1.self_attn.k_proj.weight"}, KQ_E_MODEL, "is 127 x 256, must be 128 x 256"},
        {1, {.halves = true, .drop = "model.layers.0.block_sparse_moe.experts.3.w1.weight"}, KQ_E_MODEL, "3 such experts, must be 4"},
        {1, {.halves = true, .drop = "model.layers.0.block_sparse_moe.experts.0.w1.weight"}, KQ_E_MODEL, "3 such experts, must be 4"},
        {1, {.halves = true, .extra = "model.layers.0.block_sparse_moe.experts.4.w1.weight"}, KQ_E_MODEL, "4 experts"},
        {1, {.halves = true, .extra = "model.layers.0.block_sparse_moe.switch_mlp.gate_proj.weight"}, KQ_E_MODEL, "are the same"},
        {5, {.gemma = true, .extra = "language_model.model.norm.weight"}, KQ_E_MODEL, "are the same"},
    };
    for (size_t i = 0; i < KQ_COUNT(cases); i++) {
        const family *f = &families[cases[i].family];
        spec *sp = spec_open(f->golden);
        bytes file = spec_file(sp, NULL);
        kq_gguf *want = open_bytes(file);
        hf_options how = cases[i].how;
        how.dtype = KQ_DTYPE_F32;
        hf_folder_remove(folder);
        assert_int_equal(mkdir(folder, 0700), 0);
        hf_folder_write(folder, want, config_of(f, false), &how);
        refused(cases[i].status, cases[i].says, cases[i].says);
        kq_gguf_close(want);
        bytes_free(&file);
        spec_close(sp);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(golden_families, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(rope_factors, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(checkpoints, make_folder, remove_folder),
        cmocka_unit_test(tale),
        cmocka_unit_test_setup_teardown(configs, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(tensors, make_folder, remove_folder),
    };
    return cmocka_run_group_tests_name("source", tests, NULL, NULL);
}
