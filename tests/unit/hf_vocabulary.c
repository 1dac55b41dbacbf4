/* SPDX-License-Identifier: MIT */
/* Vocabularies of folders: what becomes of tokenizer.json, tokenizer.model and their companions. */
#include "golden.h"

#include "convert/vocabulary.h"

#include <setjmp.h>
#include <sys/stat.h>

#include <cmocka.h>

/* ---- helpers -------------------------------------------------------------------------------------------------------- */

static void must(kq_status status, const kq_error *e) {
    if (status) fail_msg("%s: %s", e->file, e->text);
}

static kq_status read_folder(kq_metadata *m, const char *folder, kq_error *err) {
    kq_hf_config c;
    must(kq_metadata_init(m, NULL, err), err);
    KQ_TRY(kq_hf_config_open(&c, folder, NULL, err));
    kq_status status = kq_vocabulary_read(m, &c, err);
    kq_hf_config_close(&c);
    return status;
}

static void assert_same_value(const kq_gguf_value *a, const kq_gguf_value *b) {
    if (a->kind != b->kind || a->element != b->element || a->count != b->count || a->size != b->size || memcmp(a->data, b->data, a->size) != 0) {
        fail_msg("%s differs", a->key.data);
    }
}

/* ---- tests ---------------------------------------------------------------------------------------------------------- */

static void the_tale_has_the_keys_of_its_gguf(void **state) {
    (void)state;
    char folder[1024], path[1024];
    kq_error e = {0};
    if (!golden_shared_path(folder, sizeof folder, "models/tale") || !golden_shared_path(path, sizeof path, "models/tale-gguf/tale-bf16.gguf")) skip();
    kq_metadata m;
    kq_gguf *g;
    must(read_folder(&m, folder, &e), &e);
    must(kq_gguf_open(&g, path, NULL, &e), &e);
    size_t n = 0;
    for (size_t i = 0; i < kq_gguf_n_values(g); i++) {
        const kq_gguf_value *value = kq_gguf_value_at(g, i);
        if (strncmp(value->key.data, "tokenizer.", 10) != 0) continue;
        if (n >= m.n_values) fail_msg("%s is missing", value->key.data);
        assert_string_equal(m.values[n].key.data, value->key.data); /* in the same order */
        assert_same_value(&m.values[n++], value);
    }
    assert_int_equal(n, m.n_values);
    kq_gguf_close(g);
    kq_metadata_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tale_has_the_keys_of_its_gguf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
