/* SPDX-License-Identifier: MIT */
/* Any bytes as the files of a tokenizer. The first byte says which allocation fails (0: none); zero bytes divide the rest into
 *     tokenizer.json  \0  tokenizer_config.json  \0  config.json  \0  tokenizer.model
 * What is empty is not there. What can be read becomes a tokenizer, which encodes; and is written again, which gives the same tokens. */
#include "meter.h"
#include "convert/convert.h"
#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char in[] = "/tmp/kquant-fuzz-tokenizer-XXXXXX", out[] = "/tmp/kquant-fuzz-written-XXXXXX";
static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "config.json", "tokenizer.model", "chat_template.jinja"};

static void must(bool truth) {
    if (!truth) abort();
}

static void remove_files(const char *folder) {
    for (size_t i = 0; i < KQ_COUNT(names); i++) {
        char path[96];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
}
static void remove_folders(void) {
    remove_files(in);
    remove_files(out);
    rmdir(in);
    rmdir(out);
}

static void write_file(const char *folder, const char *name, const uint8_t *data, size_t size) {
    char path[96];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    must(f && (size == 0 || fwrite(data, 1, size, f) == size) && fclose(f) == 0);
}

/* config.json is `config`, or {}. */
static kq_status read_folder(kq_metadata *m, const char *folder, const kq_allocator *a) {
    kq_hf_config c;
    kq_error e = {0};
    kq_status status = kq_metadata_init(m, a, &e);
    if (status) {
        *m = (kq_metadata){0};
        return status;
    }
    status = kq_hf_config_open(&c, folder, a, &e);
    if (status) return status;
    status = kq_vocabulary_read(m, &c, &e);
    must(status == KQ_OK || e.text[0]);
    kq_hf_config_close(&c);
    return status;
}

static kq_gguf view_of(const kq_metadata *m) {
    return (kq_gguf){.allocator = m->allocator, .values = m->values, .n_values = m->n_values, .keys = m->keys};
}

static void encode(const kq_gguf *g, const kq_allocator *a) {
    static const char text[] = "Hello  w\xc3\xb6rld, it's 2026!\n<s>\xe4\xb8\x96\xe7\x95\x8c";
    kq_tokenizer *t;
    kq_error e = {0};
    int32_t ids[128];
    size_t n;
    kq_tokenizer_options o = KQ_OPTIONS_INIT(kq_tokenizer_options);
    o.allocator = a;
    if (kq_tokenizer_open(&t, g, &o, &e)) return;
    if (kq_tokenizer_encode(t, text, sizeof text - 1, 3, ids, KQ_COUNT(ids), &n, &e) == KQ_OK) {
        for (size_t i = 0; i < n && i < KQ_COUNT(ids); i++) must(ids[i] >= 0 && (size_t)ids[i] < kq_tokenizer_size(t));
    }
    kq_tokenizer_close(t);
}

/* Written and read again: every token has its text. */
static void there_and_back(const kq_metadata *m, const uint8_t *config, size_t size, const kq_allocator *a) {
    const kq_gguf g = view_of(m);
    kq_metadata again;
    kq_error e = {0};
    remove_files(out);
    if (kq_vocabulary_write(&g, out, a, &e)) {
        must(e.text[0]);
        return;
    }
    write_file(out, "config.json", size ? config : (const uint8_t *)"{}", size ? size : 2);
    if (read_folder(&again, out, a) == KQ_OK) {
        kq_gguf_strings one = kq_gguf_strings_of(kq_metadata_find(m, "tokenizer.ggml.tokens"));
        kq_gguf_strings two = kq_gguf_strings_of(kq_metadata_find(&again, "tokenizer.ggml.tokens"));
        kq_string x, y;
        while (kq_gguf_strings_next(&one, &x)) must(kq_gguf_strings_next(&two, &y) && x.size == y.size && memcmp(x.data, y.data, x.size) == 0);
    }
    if (again.allocator.alloc) kq_metadata_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool made;
    if (!made) {
        must(mkdtemp(in) != NULL && mkdtemp(out) != NULL && atexit(remove_folders) == 0);
        made = true;
    }
    if (size < 1 || size > 1 << 20) return 0;
    meter counted = {.fail_at = data[0]};
    const kq_allocator a = meter_allocator(&counted);
    const uint8_t *config = NULL;
    size_t config_size = 0, at = 1;
    remove_files(in);
    for (size_t i = 0; i < 4; i++) {
        const uint8_t *zero = i < 3 && at < size ? memchr(data + at, 0, size - at) : NULL;
        size_t n = at >= size ? 0 : zero ? (size_t)(zero - data) - at : size - at;
        if (i == 2) {
            config = data + at;
            config_size = n;
        }
        if (n) write_file(in, names[i], data + at, n);
        else if (i == 2) write_file(in, names[i], (const uint8_t *)"{}", 2);
        at += n + 1;
    }
    kq_metadata m;
    if (read_folder(&m, in, &a) == KQ_OK) {
        const kq_gguf g = view_of(&m);
        encode(&g, &a);
        there_and_back(&m, config, config_size, &a);
    }
    if (m.allocator.alloc) kq_metadata_free(&m);
    must(counted.live == 0);
    return 0;
}
