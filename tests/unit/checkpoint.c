/* SPDX-License-Identifier: MIT */
/* Checkpoints: a GGUF becomes a folder and is read back with every byte of its tensors, and the same logits. */
#include "folder.h"
#include "golden.h"
#include "make_model.h"

#include "convert/convert.h"

#include "engine/engine.h"

#include <setjmp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char base[64], folder[96], file[96];

static int begin(void **state) {
    (void)state;
    if (folder_make(base, "checkpoint")) return -1;
    snprintf(folder, sizeof folder, "%s/out", base);
    snprintf(file, sizeof file, "%s/in.gguf", base);
    return 0;
}
static int end(void **state) {
    (void)state;
    return folder_remove(base);
}

static void must(kq_status status, const kq_error *e) {
    if (status) fail_msg("%s: %s", e->file, e->text);
}

static size_t files_beside(void) {
    char command[160];
    snprintf(command, sizeof command, "ls %s | grep -c part", base);
    FILE *p = popen(command, "r");
    int n = -1;
    assert_int_equal(fscanf(p, "%d", &n), 1);
    pclose(p);
    return (size_t)n;
}

/* The golden model with its matrices in q8_0, as a file. */
static void make_quantised(const char *name) {
    kq_error e = {0};
    spec *s = spec_open(name);
    bytes all = spec_file(s, NULL);
    kq_gguf *g;
    kq_gguf_writer *w;
    must(kq_gguf_open_memory(&g, all.data, all.size, name, NULL, &e), &e);
    must(kq_gguf_writer_open(&w, file, NULL, &e), &e);
    for (size_t i = 0; i < kq_gguf_n_values(g); i++) {
        const kq_gguf_value *v = kq_gguf_value_at(g, i);
        if (strstr(v->key.data, ".classifier.")) continue; /* what no checkpoint holds */
        must(kq_gguf_writer_value(w, v->key.data, v->kind, v->element, v->count, v->data, v->size, &e), &e);
    }
    void *made[256];
    size_t n = kq_gguf_n_tensors(g);
    assert_true(n <= KQ_COUNT(made));
    for (size_t i = 0; i < n; i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(g, i);
        made[i] = NULL;
        /* a classifier, and arbitrary factors of rope, which no scaling of config.json has */
        if (strncmp(t->name.data, "cls.", 4) == 0 || strcmp(t->name.data, "rope_freqs.weight") == 0) continue;
        bool packs = t->n_dims > 1 && !strstr(t->name.data, "gate_inp") && t->codec == KQ_F32;
        if (packs) {
            uint64_t rows = t->weights / t->dims[0];
            made[i] = malloc(t->weights / 32 * 34);
            must(kq_quantize(KQ_Q8_0, t->data, t->weights, rows, t->dims[0], made[i], t->weights / 32 * 34, NULL, &e), &e);
        }
        must(kq_gguf_writer_tensor(w, t->name.data, packs ? KQ_Q8_0 : t->codec, t->n_dims, t->dims, packs ? made[i] : t->data, NULL, NULL, &e), &e);
    }
    must(kq_gguf_writer_finish(w, &e), &e);
    kq_gguf_writer_close(w);
    for (size_t i = 0; i < n; i++) free(made[i]);
    kq_gguf_close(g);
    bytes_free(&all);
    spec_close(s);
}

/* A tensor's bytes in pieces that end within rows. */
static kq_status in_pieces(void *ctx, kq_status (*put)(void *sink, const void *data, size_t size, kq_error *err), void *sink, kq_error *err) {
    const kq_gguf_tensor *t = ctx;
    for (uint64_t at = 0, n; at < t->bytes; at += n) {
        n = KQ_MIN((uint64_t)1013, t->bytes - at);
        KQ_TRY(put(sink, (const uint8_t *)t->data + at, (size_t)n, err));
    }
    return KQ_OK;
}

static kq_status write_checkpoint(const kq_gguf *g, const char *to, bool pieces, uint64_t max_shard, kq_error *err) {
    kq_checkpoint_options o = KQ_OPTIONS_INIT(kq_checkpoint_options);
    kq_checkpoint_writer *w;
    o.max_shard_bytes = max_shard;
    KQ_TRY(kq_checkpoint_writer_open(&w, to, g, &o, err));
    kq_status status = KQ_OK;
    for (size_t i = 0; i < kq_gguf_n_tensors(g) && !status; i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(g, i);
        status = kq_checkpoint_writer_tensor(w, t->name.data, t->codec, t->n_dims, t->dims, pieces ? NULL : t->data, pieces ? in_pieces : NULL,
                                             pieces ? (void *)(uintptr_t)t : NULL, err);
    }
    if (!status) status = kq_checkpoint_writer_finish(w, err);
    kq_checkpoint_writer_close(w);
    return status;
}

/* All logits of a few tokens. */
static float *logits_of(kq_gguf *g, size_t *n) {
    static const int32_t tokens[] = {1, 5, 9, 100, 77, 3, 3, 64};
    kq_error e = {0};
    kq_model *m;
    kq_session *s;
    kq_model_options o = KQ_OPTIONS_INIT(kq_model_options);
    kq_session_options so = KQ_OPTIONS_INIT(kq_session_options);
    o.no_tokenizer = true;
    so.mode = KQ_EXACT;
    const kq_gguf_tensor *t = kq_gguf_tensor_find(g, "token_embd.weight");
    *n = KQ_COUNT(tokens) * t->dims[1];
    float *out = malloc(*n * sizeof *out);
    must(kq_model_open_file(&m, g, &o, &e), &e);
    must(kq_session_open(&s, m, &so, &e), &e);
    must(kq_session_append(s, tokens, KQ_COUNT(tokens), out, KQ_COUNT(tokens), &e), &e);
    kq_session_close(s);
    kq_model_close(m);
    return out;
}

static void there_and_back(const char *path, bool pieces, uint64_t max_shard) {
    kq_error e = {0};
    kq_gguf *g, *back;
    must(kq_gguf_open(&g, path, NULL, &e), &e);
    must(write_checkpoint(g, folder, pieces, max_shard, &e), &e);
    must(kq_source_open(&back, folder, NULL, &e), &e);
    assert_string_equal(kq_source_form(back), "mlx-kquant");
    assert_int_equal(kq_gguf_n_tensors(g), kq_gguf_n_tensors(back));
    for (size_t i = 0; i < kq_gguf_n_tensors(g); i++) {
        const kq_gguf_tensor *a = kq_gguf_tensor_at(g, i), *b = kq_gguf_tensor_find(back, a->name.data);
        if (!b || a->codec != b->codec || a->bytes != b->bytes || memcmp(a->dims, b->dims, sizeof a->dims) != 0) fail_msg("%s differs", a->name.data);
        if (memcmp(a->data, b->data, a->bytes) != 0) fail_msg("%s has other bytes", a->name.data);
    }
    size_t n, m;
    float *one = logits_of(g, &n), *two = logits_of(back, &m);
    assert_int_equal(n, m);
    assert_memory_equal(one, two, n * sizeof *one);
    free(one);
    free(two);
    assert_int_equal(files_beside(), 0);
}

static void families(void **state) {
    (void)state;
    static const char *const names[] = {"llama-dense", "llama-moe", "qwen2-dense", "qwen3-dense", "qwen3moe-moe", "gemma3-dense"};
    for (size_t i = 0; i < KQ_COUNT(names); i++) {
        make_quantised(names[i]);
        there_and_back(file, i % 2, i == 2 ? 100000 : 0); /* each replaces the one before it */
    }
    kq_hf_config c; /* Gemma's: what mlx-lm reads instead of layer_types */
    kq_error e = {0};
    must(kq_hf_config_open(&c, folder, NULL, &e), &e);
    assert_int_equal(json_integer_value(json_object_get(c.root, "sliding_window_pattern")), 2);
    kq_hf_config_close(&c);
}

static void the_default_model(void **state) {
    (void)state;
    kq_error e = {0};
    kq_gguf *g, *back;
    there_and_back(KQ_SOURCE_DIR "/models/tale-q4_k_m.gguf", false, 0);
    must(kq_gguf_open(&g, KQ_SOURCE_DIR "/models/tale-q4_k_m.gguf", NULL, &e), &e);
    must(kq_source_open(&back, folder, NULL, &e), &e);
    for (size_t i = 0; i < kq_gguf_n_values(g); i++) { /* what the model is run with */
        const kq_gguf_value *v = kq_gguf_value_at(g, i), *b = kq_gguf_find(back, v->key.data);
        if (strncmp(v->key.data, "qwen3.", 6) != 0 && strncmp(v->key.data, "tokenizer.", 10) != 0) continue;
        if (!b || v->kind != b->kind || v->size != b->size || memcmp(v->data, b->data, v->size) != 0) fail_msg("%s differs", v->key.data);
    }
    /* a checkpoint is a source itself, and its folder is not written over */
    char other[128];
    snprintf(other, sizeof other, "%s/again", base);
    must(write_checkpoint(back, other, true, 0, &e), &e);
    assert_int_equal(write_checkpoint(back, folder, true, 0, &e), KQ_E_ARGUMENT);
    kq_gguf *again;
    must(kq_source_open(&again, other, NULL, &e), &e);
    for (size_t i = 0; i < kq_gguf_n_tensors(g); i++) {
        const kq_gguf_tensor *a = kq_gguf_tensor_at(g, i), *b = kq_gguf_tensor_find(again, a->name.data);
        assert_memory_equal(a->data, b->data, a->bytes);
    }
    kq_gguf_close(again);
    kq_gguf_close(back);
    kq_gguf_close(g);
    assert_int_equal(files_beside(), 0);
}

static void what_is_refused(void **state) {
    (void)state;
    kq_error e = {0};
    kq_gguf *g;
    kq_checkpoint_writer *w;
    char path[192];
    make_quantised("gemma3-dense");
    must(kq_gguf_open(&g, file, NULL, &e), &e);
    assert_int_equal(kq_checkpoint_writer_open(&w, base, g, NULL, &e), KQ_E_IO); /* a folder of something else */
    assert_int_equal(kq_checkpoint_writer_open(&w, file, g, NULL, &e), KQ_E_ARGUMENT); /* the input */
    snprintf(path, sizeof path, "%s/new", base);
    must(kq_checkpoint_writer_open(&w, path, g, NULL, &e), &e);
    static const uint8_t blocks[34 * 8];
    static const float tiny[256] = {[3] = 1e-9f};
    const uint64_t row[] = {256};
    assert_int_equal(kq_checkpoint_writer_tensor(w, "output_norm.weight", KQ_Q8_0, 1, row, blocks, NULL, NULL, &e), KQ_E_UNSUPPORTED);
    assert_int_equal(kq_checkpoint_writer_tensor(w, "blk.0.nothing.weight", KQ_F32, 1, row, tiny, NULL, NULL, &e), KQ_E_UNSUPPORTED);
    must(kq_checkpoint_writer_tensor(w, "output_norm.weight", KQ_F32, 1, row, tiny, NULL, NULL, &e), &e);
    assert_int_equal(kq_checkpoint_writer_finish(w, &e), KQ_E_UNSUPPORTED); /* 1e-9 - 1 does not come back */
    kq_checkpoint_writer_close(w);
    struct stat st;
    assert_int_not_equal(stat(path, &st), 0);
    assert_int_equal(files_beside(), 0);
    kq_gguf_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(families, begin, end),
        cmocka_unit_test_setup_teardown(the_default_model, begin, end),
        cmocka_unit_test_setup_teardown(what_is_refused, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
