/* SPDX-License-Identifier: MIT */
/* Tokenizers against the reference's ids, and the way there and back. */
#include "golden.h"

#include "text/text.h"

#include <setjmp.h>
#include <time.h>

#include <cmocka.h>

/* ---- helpers ------------------------------------------------------------------------------------------------------------- */

typedef struct opened {
    uint8_t *file;
    kq_gguf *g;
    kq_tokenizer *t;
} opened;

static void open_bytes(opened *o, uint8_t *file, size_t size, const char *name) {
    kq_error e = {0};
    o->file = file;
    if (kq_gguf_open_memory(&o->g, file, size, name, NULL, &e)) fail_msg("%s: %s", name, e.text);
    if (kq_tokenizer_open(&o->t, o->g, NULL, &e)) fail_msg("%s: %s", name, e.text);
    kq_gguf_close(o->g); /* a tokenizer keeps nothing of the file */
    free(o->file);
    o->g = NULL;
    o->file = NULL;
}

static bool open_shared(opened *o, const char *path) {
    size_t size = 0;
    uint8_t *file = golden_read_shared(&size, "%s", path);
    if (file) open_bytes(o, file, size, path);
    return file != NULL;
}

static void open_default(opened *o) {
    size_t size = 0;
    uint8_t *file = golden_read_file(KQ_SOURCE_DIR "/models/tale-q4_k_m.gguf", &size);
    assert_non_null(file);
    open_bytes(o, file, size, "tale");
}

/* All ids of a text; checks that measuring, a buffer that is too short, and an exact one agree. free() them. */
static int32_t *encode(const kq_tokenizer *t, const char *text, size_t size, uint32_t flags, size_t *count) {
    kq_error e = {0};
    size_t n = 99, again = 99;
    if (kq_tokenizer_encode(t, text, size, flags, NULL, 0, &n, &e)) fail_msg("%s", e.text);
    int32_t *ids = malloc((n + 1) * sizeof *ids);
    ids[n] = -77;
    assert_int_equal(kq_tokenizer_encode(t, text, size, flags, ids, n, &again, &e), KQ_OK);
    assert_int_equal(n, again);
    assert_int_equal(ids[n], -77);
    if (n > 1) {
        int32_t *few = malloc(n * sizeof *few);
        few[n / 2] = -77;
        assert_int_equal(kq_tokenizer_encode(t, text, size, flags, few, n / 2, &again, &e), KQ_OK);
        assert_int_equal(again, n);
        assert_memory_equal(few, ids, n / 2 * sizeof *few);
        assert_int_equal(few[n / 2], -77);
        free(few);
    }
    *count = n;
    return ids;
}

static void expect_ids(const kq_tokenizer *t, const char *what, const char *text, size_t size, uint32_t flags, const int32_t *want, size_t n) {
    size_t count;
    int32_t *ids = encode(t, text, size, flags, &count);
    for (size_t i = 0; i < n && i < count; i++) {
        if (ids[i] != want[i]) fail_msg("%s: id %zu of '%.*s' is %d, not %d", what, i, (int)size, text, ids[i], want[i]);
    }
    if (count != n) fail_msg("%s: %zu ids, not %zu, of '%.*s'", what, count, n, (int)size, text);
    free(ids);
}

static char *decode(const kq_tokenizer *t, const int32_t *ids, size_t n, bool special, size_t *size) {
    size_t bytes, again;
    assert_int_equal(kq_tokenizer_decode(t, ids, n, special, NULL, 0, &bytes, NULL), KQ_OK);
    char *text = malloc(bytes + 1);
    text[bytes] = 'Z';
    assert_int_equal(kq_tokenizer_decode(t, ids, n, special, text, bytes, &again, NULL), KQ_OK);
    assert_int_equal(bytes, again);
    assert_int_equal(text[bytes], 'Z');
    *size = bytes;
    return text;
}

static uint64_t seed;
static uint64_t next_random(void) {
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
static size_t below(size_t n) { return (size_t)(next_random() % n); }

static int new_seed(void **state) {
    (void)state;
    const char *given = getenv("KQ_SEED");
    seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("seed %llu (KQ_SEED)\n", (unsigned long long)seed);
    return 0;
}

/* Text as people write it and as nobody does: words, scripts, runs of blanks, special tokens, now and then bad bytes. */
static size_t random_text(char *out, size_t max, bool bad_bytes) {
    static const char *const parts[] = {"the ", " quick", "\n", "\n\n", "  ", "\t", "\r\n", "'s", "'LL", "é", "e\xcc\x81", "你好", "한국", "ไทย", "Ж", "ß",
                                        "𝔘", "😀", "👩‍👩‍👧", "１２", "12345", "7", "--", "...", "?!", "\xe3\x80\x80", "\xc2\xa0", "▁", "<|im_start|>",
                                        "<|im_end|>", "<s>", "</s>", "<0x0A>", "ü", "\xe2\x80\x8b", "_", "A", "BC", " a b c", "\xc2\x85"};
    size_t n = 0;
    for (size_t k = below(40); k > 0; k--) {
        char one[8];
        const char *part = parts[below(KQ_COUNT(parts))];
        size_t size = strlen(part);
        size_t kind = below(10);
        if (kind == 0) {
            uint32_t cp = (uint32_t)below(0x110000);
            if (cp >= 0xd800 && cp < 0xe000) cp = 'x';
            size = kq_utf8_encode(cp, (uint8_t *)one);
            part = one;
        } else if (kind == 1 && bad_bytes) {
            size = 1 + below(3);
            for (size_t i = 0; i < size; i++) one[i] = (char)next_random();
            part = one;
        }
        if (n + size > max) break;
        memcpy(out + n, part, size);
        n += size;
    }
    return n;
}

/* ---- goldens ------------------------------------------------------------------------------------------------------------- */

static void vocabulary_golden(const char *name) {
    static const char separator[] = "\n__ggml_vocab_test__\n";
    opened o;
    char path[128];
    size_t in_size, out_size;
    snprintf(path, sizeof path, "golden/tokenizers/%s.gguf", name);
    if (!open_shared(&o, path)) return;
    char *in = (char *)golden_read_shared(&in_size, "golden/tokenizers/%s.inp", name);
    char *out = (char *)golden_read_shared(&out_size, "golden/tokenizers/%s.out", name);
    char *line = out;
    size_t texts = 0;
    for (char *text = in; text; texts++) {
        char *end = strstr(text, separator);
        size_t size = end ? (size_t)(end - text) : (size_t)(in + in_size - text);
        int32_t want[4096];
        size_t n = 0;
        char *stop = strchr(line, '\n');
        assert_non_null(stop);
        *stop = 0;
        for (char *p = line, *after; want[n] = (int32_t)strtol(p, &after, 10), after != p; p = after) n++;
        expect_ids(o.t, name, text, size, KQ_ENCODE_SPECIAL, want, n);
        line = stop + 1;
        text = end && end[strlen(separator)] ? end + strlen(separator) : NULL; /* some files end in a separator */
    }
    assert_int_equal(line - out, out_size);
    assert_true(texts > 40);
    free(in);
    free(out);
    kq_tokenizer_close(o.t);
}

static void all_vocabularies(void **state) {
    (void)state;
    static const char *const names[] = {"llama-bpe", "llama-spm", "gpt-2", "qwen2", "qwen35", "deepseek-llm", "falcon", "starcoder", "phi-3", "gemma-4"};
    for (size_t i = 0; i < KQ_COUNT(names); i++) vocabulary_golden(names[i]);
}

/* A string of JSON at p, after the quote; returns where it ends. */
static const char *json_string(const char *p, char *out, size_t *size) {
    size_t n = 0;
    while (*p != '"') {
        if (*p != '\\') {
            out[n++] = *p++;
        } else if (p[1] == 'u') {
            char digits[5] = {p[2], p[3], p[4], p[5], 0};
            n += kq_utf8_encode((uint32_t)strtoul(digits, NULL, 16), (uint8_t *)out + n);
            p += 6;
        } else {
            out[n++] = p[1]; /* \" and \\ */
            p += 2;
        }
    }
    *size = n;
    return p + 1;
}

static void the_tale(void **state) {
    (void)state;
    opened o;
    size_t json_size;
    char *json = (char *)golden_read(&json_size, "tale.json");
    open_default(&o);
    size_t texts = 0;
    for (const char *p = json; (p = strstr(p, "{\"text\": \"")); texts++) {
        char text[1024];
        int32_t want[1024];
        size_t size, n = 0;
        p = json_string(p + strlen("{\"text\": \""), text, &size);
        p = strstr(p, "\"ids\": [") + strlen("\"ids\": [");
        for (char *end; *p != ']'; p = *end == ',' ? end + 1 : end) want[n++] = (int32_t)strtol(p, &end, 10);
        expect_ids(o.t, "tale", text, size, KQ_ENCODE_SPECIAL, want, n);
        size_t back;
        char *again = decode(o.t, want, n, true, &back);
        assert_int_equal(back, size);
        assert_memory_equal(again, text, size);
        free(again);
    }
    assert_int_equal(texts, 4);
    assert_int_equal(kq_tokenizer_size(o.t), 8192);
    assert_string_equal(kq_tokenizer_model(o.t), "gpt2");
    assert_string_equal(kq_tokenizer_pre(o.t), "qwen2");
    int32_t end = kq_tokenizer_find(o.t, "<|im_end|>", 10);
    assert_int_equal(end, 8191);
    assert_true(kq_tokenizer_is_end(o.t, end));
    assert_false(kq_tokenizer_is_end(o.t, 8190));
    assert_false(kq_tokenizer_is_end(o.t, -1));
    assert_false(kq_tokenizer_is_end(o.t, 8192));
    assert_int_equal(kq_tokenizer_find(o.t, "no such token", 13), KQ_NO_TOKEN);
    free(json);
    kq_tokenizer_close(o.t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_vocabularies), cmocka_unit_test(the_tale),
    };
    (void)random_text;
    return cmocka_run_group_tests_name("tokenizer", tests, new_seed, NULL);
}
