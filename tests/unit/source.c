/* SPDX-License-Identifier: MIT */
/* Folders opened as models: of every family, a folder made from the golden model by rules of the test's own must give the golden's tensors
 * byte for byte and its logits; what is wrong is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "convert/convert.h"
#include "engine/engine.h"
#include "golden.h"
#include "hf_folder.h"
#include "make_model.h"

#include <kquant/kquant.h>

#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/kquant-source-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
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
            check_logits(whole, f->golden, f->bound);
        }
        kq_gguf_close(want);
        bytes_free(&file);
        spec_close(sp);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(golden_families, make_folder, remove_folder),
    };
    return cmocka_run_group_tests_name("source", tests, NULL, NULL);
}
