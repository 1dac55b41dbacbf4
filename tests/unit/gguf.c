/* SPDX-License-Identifier: MIT */
/* GGUF files that are as they should be: read, walked, written, split. */
#include "file/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void the_default_model(void **state) {
    (void)state;
    kq_gguf *g;
    kq_error e = {0};
    kq_status status = kq_gguf_open(&g, KQ_SOURCE_DIR "/models/tale-q4_k_m.gguf", NULL, &e);
    if (status) print_error("%s\n", e.text);
    assert_int_equal(status, KQ_OK);
    assert_int_equal(kq_gguf_version(g), 3);
    assert_int_equal(kq_gguf_parts(g), 1);
    assert_int_equal(kq_gguf_alignment(g), 32);
    assert_int_equal(kq_gguf_n_tensors(g), 90);
    assert_int_equal(kq_gguf_n_values(g), 24);
    const kq_gguf_tensor *t = kq_gguf_tensor_find(g, "token_embd.weight");
    assert_non_null(t);
    assert_string_equal(t->name.data, "token_embd.weight");
    kq_string architecture;
    assert_int_equal(kq_gguf_get_string(g, "general.architecture", &architecture, NULL), KQ_OK);
    assert_int_equal(architecture.size, 5);
    assert_memory_equal(architecture.data, "qwen3", 5);
    assert_null(kq_gguf_find(g, "no.such.key"));
    kq_gguf_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_default_model)};
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
