/* SPDX-License-Identifier: MIT */
/* Models made as checkpoints: the same blocks as in a GGUF, both ways, stopped and taken up, and what may lie in the way. */
#include "folder.h"
#include "golden.h"
#include "meter.h"

#include "convert/convert.h"
#include "quant/quant.h"

#include <setjmp.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "quantize_watch.h"

#define TALE KQ_SOURCE_DIR "/models/tale-q4_k_m.gguf"
static char base[64];

static int begin(void **state) {
    (void)state;
    return folder_make(base, "made");
}
static int end(void **state) {
    (void)state;
    return folder_remove(base);
}

typedef struct path {
    char text[400];
} path;
static path in_base(const char *name) {
    path p;
    snprintf(p.text, sizeof p.text, "%s/%s", base, name);
    return p;
}
static bool is_there(const char *name) { return access(in_base(name).text, F_OK) == 0; }
static void must(kq_status status, const kq_error *e) {
    if (status) fail_msg("%s: %s", e->file, e->text);
}

static kq_gguf *open_model(const char *file) {
    kq_source_options o = KQ_OPTIONS_INIT(kq_source_options);
    kq_gguf *g;
    kq_error e;
    o.lazy = true;
    must(kq_source_open(&g, file, &o, &e), &e);
    return g;
}

/* A mixture of all K-quants and of others. */
static kq_quant_plan *plan_of(const kq_gguf *g, const char *type) {
    static const kq_quant_override mix[] = {{"attn_q", "q2_k"}, {"attn_k.", "q3_k"}, {"attn_v", "q5_k"}, {"attn_output", "q6_k"},
                                            {"ffn_up", "iq4_xs"}, {"ffn_gate", "q8_0"}, {"blk.0.ffn_down", "q5_1"}, {"blk.1.ffn_down", "f16"}};
    kq_quant_plan_options o = KQ_OPTIONS_INIT(kq_quant_plan_options);
    kq_quant_plan *p;
    kq_error e;
    o.type = type;
    o.allow_requantize = true;
    if (strcmp(type, "Q4_K_S") == 0) {
        o.overrides = mix;
        o.n_overrides = KQ_COUNT(mix);
    }
    must(kq_quant_plan_open(&p, g, &o, &e), &e);
    return p;
}

static kq_status make(const kq_quant_plan *p, const char *name, uint64_t max_shard, watch *w, const kq_allocator *a, kq_error *e) {
    kq_quantize_model_options o = KQ_OPTIONS_INIT(kq_quantize_model_options);
    size_t n = strlen(name);
    o.allocator = a;
    o.form = n > 5 && strcmp(name + n - 5, ".gguf") == 0 ? KQ_FORM_GGUF : KQ_FORM_CHECKPOINT;
    o.max_shard_bytes = max_shard;
    watch_with(&o, w);
    return kq_quantize_model(p, in_base(name).text, &o, e);
}

static void convert(const char *from, const char *to, const char *type, uint64_t max_shard) {
    kq_gguf *g = open_model(from);
    kq_quant_plan *p = plan_of(g, type);
    watch w = {.stop_after = 999};
    kq_error e;
    must(make(p, to, max_shard, &w, NULL, &e), &e);
    assert_int_equal(w.reports, kq_quant_plan_size(p));
    kq_quant_plan_close(p);
    kq_gguf_close(g);
}

static void same_tensors(const char *one, const char *two) {
    kq_gguf *a = open_model(in_base(one).text), *b = open_model(in_base(two).text);
    assert_int_equal(kq_gguf_n_tensors(a), kq_gguf_n_tensors(b));
    for (size_t i = 0; i < kq_gguf_n_tensors(a); i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(a, i), *u = kq_gguf_tensor_find(b, t->name.data);
        if (!u || t->codec != u->codec || t->bytes != u->bytes || memcmp(t->dims, u->dims, sizeof t->dims) != 0) fail_msg("%s differs", t->name.data);
        uint8_t *x = malloc(t->bytes), *y = malloc(t->bytes);
        kq_error e;
        must(kq_gguf_tensor_read(a, t, 0, t->bytes, x, &e), &e);
        must(kq_gguf_tensor_read(b, u, 0, t->bytes, y, &e), &e);
        if (memcmp(x, y, t->bytes) != 0) fail_msg("%s has other bytes", t->name.data);
        free(x);
        free(y);
    }
    kq_gguf_close(a);
    kq_gguf_close(b);
}

/* Both folders have the same files, byte for byte, and nothing else. */
static void same_folders(const char *one, const char *two) {
    char command[1000];
    snprintf(command, sizeof command, "diff -r %s %s", in_base(one).text, in_base(two).text);
    assert_int_equal(system(command), 0);
}

static void both_ways(void **state) {
    (void)state;
    convert(TALE, "a.gguf", "Q4_K_S", 0);                             /* a mixture */
    convert(TALE, "direct", "Q4_K_S", 0);
    same_tensors("a.gguf", "direct");
    convert(in_base("a.gguf").text, "b", "COPY", 1 << 20);            /* GGUF, checkpoint of many files, GGUF */
    convert(in_base("b").text, "c.gguf", "COPY", 0);
    same_tensors("a.gguf", "c.gguf");
    convert(in_base("direct").text, "d", "COPY", 0);                  /* checkpoint, checkpoint; checkpoint, GGUF, checkpoint */
    same_folders("direct", "d");
    convert(in_base("direct").text, "e.gguf", "COPY", 0);
    convert(in_base("e.gguf").text, "f", "COPY", 0);
    same_tensors("direct", "f");
    same_tensors("e.gguf", "f");
    convert(TALE, "g", "COPY", 0);                                    /* the model as it comes: Q4_K_M */
    convert(in_base("g").text, "h.gguf", "COPY", 0);
    same_tensors("g", "h.gguf");
    convert(TALE, "i.gguf", "COPY", 0);
    same_tensors("h.gguf", "i.gguf");
}

static void stopped_and_taken_up(void **state) {
    (void)state;
    static const uint64_t shards[] = {0, 700000};
    static const int stops[] = {0, 1, 40, 89};
    kq_gguf *g = open_model(TALE);
    kq_quant_plan *p = plan_of(g, "Q4_K_S");
    int n = (int)kq_quant_plan_size(p);
    kq_error e;
    assert_int_equal(n, 90);
    for (size_t k = 0; k < KQ_COUNT(shards); k++) {
        watch all = {.stop_after = 999};
        must(make(p, "whole", shards[k], &all, NULL, &e), &e);
        for (size_t i = 0; i < KQ_COUNT(stops); i++) {
            int stop = stops[i];
            watch some = {.stop_after = stop}, rest = {.stop_after = 999};
            assert_int_equal(make(p, "out", shards[k], &some, NULL, &e), KQ_E_CANCELLED);
            assert_int_equal(some.reports, stop);
            assert_false(is_there("out"));
            assert_int_equal(is_there("out.kq-part"), stop > 0);
            must(make(p, "out", shards[k], &rest, NULL, &e), &e);
            assert_int_equal(rest.kept, stop);
            assert_int_equal(rest.reports, n);
            assert_false(is_there("out.kq-part"));
            same_folders("whole", "out");
            char command[500];
            snprintf(command, sizeof command, "rm -r %s", in_base("out").text);
            assert_int_equal(system(command), 0);
        }
    }
    kq_quant_plan_close(p);
    kq_gguf_close(g);
}

static void write_text(const char *name, const char *text) {
    FILE *f = fopen(in_base(name).text, "wb");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* What an interrupted run left is dropped when something else is made, and what is torn in it is made again. */
static void other_work(void **state) {
    (void)state;
    kq_gguf *g = open_model(TALE);
    kq_quant_plan *p = plan_of(g, "Q4_K_S"), *other = plan_of(g, "Q3_K_M");
    watch all = {.stop_after = 999}, some = {.stop_after = 40}, rest = {.stop_after = 999};
    kq_error e;
    must(make(p, "whole", 0, &all, NULL, &e), &e);
    all = (watch){.stop_after = 999};
    must(make(other, "other", 0, &all, NULL, &e), &e);
    assert_int_equal(make(p, "out", 700000, &some, NULL, &e), KQ_E_CANCELLED);
    must(make(other, "out", 0, &rest, NULL, &e), &e); /* other codecs, in one file instead of many */
    assert_int_equal(rest.kept, 0);
    same_folders("other", "out");
    /* an older checkpoint stays until the new one is whole; leftovers go, a torn file is made again */
    some = (watch){.stop_after = 40}, rest = (watch){.stop_after = 999};
    assert_int_equal(make(p, "out", 0, &some, NULL, &e), KQ_E_CANCELLED);
    same_folders("other", "out");
    write_text("out.kq-part/tokenizer.json", "half");
    write_text("out.kq-part/model.safetensors.index.json.part-1-0", "{");
    write_text("out.kq-part/model-00001-of-00009.safetensors.kq-part", "of nothing");
    FILE *f = fopen(in_base("out.kq-part/model.safetensors.kq-part").text, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 100000, SEEK_SET), 0);
    assert_int_equal(fputs("torn", f) >= 0 && fclose(f) == 0, 1);
    must(make(p, "out", 0, &rest, NULL, &e), &e);
    assert_true(rest.kept < 40);
    same_folders("whole", "out");
    assert_false(is_there("out.kq-part"));
    kq_quant_plan_close(other);
    kq_quant_plan_close(p);
    kq_gguf_close(g);
}

static void what_is_in_the_way(void **state) {
    (void)state;
    kq_gguf *g = open_model(TALE);
    kq_quant_plan *p = plan_of(g, "COPY");
    watch w = {.stop_after = 999};
    kq_error e;
    /* a folder with somebody's file, also beside a checkpoint; a file; the source, or the folder that it lies in */
    must(make(p, "out", 0, &w, NULL, &e), &e);
    write_text("out/notes.txt", "mine");
    assert_int_equal(make(p, "out", 0, &w, NULL, &e), KQ_E_IO);
    assert_non_null(strstr(e.text, "notes.txt"));
    assert_true(is_there("out/notes.txt") && is_there("out/config.json"));
    assert_int_equal(unlink(in_base("out/notes.txt").text), 0);
    write_text("file", "mine");
    assert_int_equal(make(p, "file", 0, &w, NULL, &e), KQ_E_IO);
    kq_gguf *folder = open_model(in_base("out").text);
    kq_quant_plan *again = plan_of(folder, "COPY");
    assert_int_equal(make(again, "out", 0, &w, NULL, &e), KQ_E_ARGUMENT);
    kq_quant_plan_close(again);
    kq_gguf_close(folder);
    convert(TALE, "out/inside.gguf", "COPY", 0);
    kq_gguf *inside = open_model(in_base("out/inside.gguf").text);
    again = plan_of(inside, "COPY");
    assert_int_equal(make(again, "out", 0, &w, NULL, &e), KQ_E_IO);
    assert_true(is_there("out/inside.gguf"));
    kq_quant_plan_close(again);
    kq_gguf_close(inside);
    /* another process is at it */
    assert_int_equal(mkdir(in_base("new.kq-part").text, 0777), 0);
    int file = open(in_base("new.kq-part").text, O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(file, LOCK_EX), 0);
    assert_int_equal(make(p, "new", 0, &w, NULL, &e), KQ_E_IO);
    assert_non_null(strstr(e.text, "another process"));
    close(file);
    must(make(p, "new", 0, &w, NULL, &e), &e);
    /* something that is no folder has the unfinished one's name */
    write_text("third.kq-part", "mine");
    assert_int_equal(make(p, "third", 0, &w, NULL, &e), KQ_E_IO);
    assert_true(is_there("third.kq-part"));
    kq_quant_plan_close(p);
    /* codecs that the form does not have */
    p = plan_of(g, "TQ2_0");
    assert_int_equal(make(p, "ternary", 0, &w, NULL, &e), KQ_E_UNSUPPORTED);
    assert_non_null(strstr(e.text, "is tq2_0, which checkpoints of mlx-kquant do not have"));
    assert_false(is_there("ternary") || is_there("ternary.kq-part"));
    kq_quant_plan_close(p);
    kq_gguf_close(g);
}

static void without_memory(void **state) {
    (void)state;
    kq_gguf *g = open_model(TALE);
    kq_quant_plan *p = plan_of(g, "COPY");
    watch w = {.stop_after = 999};
    kq_error e;
    must(make(p, "whole", 0, &w, NULL, &e), &e);
    kq_status status = KQ_E_MEMORY;
    for (int n = 0; status; n += 1 + n / 5) {
        meter m = meter_of((size_t)n);
        const kq_allocator a = meter_allocator(&m);
        status = make(p, "out", 0, &w, &a, &e);
        assert_int_equal(m.live, 0);
        if (status && status != KQ_E_MEMORY) fail_msg("%s", e.text);
        assert_int_equal(is_there("out"), !status);
    }
    same_folders("whole", "out");
    assert_false(is_there("out.kq-part"));
    kq_quant_plan_close(p);
    kq_gguf_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_ways, begin, end),          cmocka_unit_test_setup_teardown(stopped_and_taken_up, begin, end),
        cmocka_unit_test_setup_teardown(other_work, begin, end),         cmocka_unit_test_setup_teardown(what_is_in_the_way, begin, end),
        cmocka_unit_test_setup_teardown(without_memory, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
