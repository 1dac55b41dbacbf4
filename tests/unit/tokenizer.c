/* SPDX-License-Identifier: MIT */
/* Tokenizers against the reference's ids, and the way there and back. */
#include "golden.h"
#include "random.h"

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

/* ---- there and back ------------------------------------------------------------------------------------------------------- */

static const char *const vocabularies[] = {"llama-bpe", "llama-spm", "gpt-2", "qwen2", "deepseek-llm", "phi-3", "gemma-4"};

/* Calls run() with the default model's tokenizer, then with those of the shared data. */
static void for_each(void (*run)(const kq_tokenizer *t, const char *name)) {
    opened o;
    open_default(&o);
    run(o.t, "tale");
    kq_tokenizer_close(o.t);
    for (size_t i = 0; i < KQ_COUNT(vocabularies); i++) {
        char path[128];
        snprintf(path, sizeof path, "golden/tokenizers/%s.gguf", vocabularies[i]);
        if (!open_shared(&o, path)) return;
        run(o.t, vocabularies[i]);
        kq_tokenizer_close(o.t);
    }
}

/* The text as a vocabulary of code points sees it: bad bytes are U+FFFD. */
static size_t canonical(const char *text, size_t size, char *out) {
    size_t n = 0;
    for (size_t at = 0; at < size;) {
        uint32_t cp;
        at += kq_utf8_decode((const uint8_t *)text + at, size - at, &cp);
        n += kq_utf8_encode(cp, (uint8_t *)out + n);
    }
    return n;
}

/* The concatenation of pieces, as decoding without clean-up would have it. */
static size_t pieces(const kq_tokenizer *t, const int32_t *ids, size_t n, char *out) {
    size_t size = 0, one;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(kq_tokenizer_piece(t, ids[i], true, out + size, 4096, &one, NULL), KQ_OK);
        size += one;
    }
    return size;
}

static void round_trip(const kq_tokenizer *t, const char *name) {
    enum { MAX = 2000 };
    static char text[MAX + 8], want[3 * MAX + 8], have[16 * MAX + 8192];
    bool spm = t->kind == KQ_TEXT_SPM;
    for (size_t k = 0; k < 400; k++) {
        size_t size = random_text(text, MAX, true), count;
        if (t->flags & KQ_PRE_RAW || spm) { /* U+2581 and a space are the same to these */
            for (size_t i = 0; i + 3 <= size; i++) {
                if (kq_merge_is_space((uint8_t *)text + i, size - i)) memcpy(text + i, "abc", 3);
            }
        }
        int32_t *ids = encode(t, text, size, 0, &count);
        size_t n = pieces(t, ids, count, have), m = size;
        if (spm) memcpy(want, text, size); else m = canonical(text, size, want);
        if (spm) { /* the bytes of a U+2581 come back one by one after a bad byte that announces more */
            size_t out = 0;
            for (size_t i = 0; i < n; i++) {
                bool is_space = kq_merge_is_space((uint8_t *)have + i, n - i);
                have[out++] = is_space ? ' ' : have[i];
                i += is_space ? 2 : 0;
            }
            n = out;
        }
        size_t space = spm && n ? 1 : 0; /* SentencePiece puts one before every fragment; there is one: nothing special was looked for */
        bool same = n == m + space && memcmp(have + space, want, m) == 0 && (!space || have[0] == ' ');
        if (!same) fail_msg("%s: '%.*s' became '%.*s'", name, (int)size, text, (int)n, have);
        free(ids);
    }
}

static void texts_there_and_back(void **state) {
    (void)state;
    for_each(round_trip);
}

/* ---- one id at a time -------------------------------------------------------------------------------------------------------- */

/* UTF-8 as the Unicode standard decodes it (the greatest part of a character that breaks off is one U+FFFD), written apart from
 * detokenize.c: by the standard's table of sequences. */
static size_t replaced(const uint8_t *in, size_t size, uint8_t *out) {
    static const struct {
        uint8_t lead[2], second[2], more;
    } rows[] = {{{0xc2, 0xdf}, {0x80, 0xbf}, 0}, {{0xe0, 0xe0}, {0xa0, 0xbf}, 1}, {{0xe1, 0xec}, {0x80, 0xbf}, 1}, {{0xed, 0xed}, {0x80, 0x9f}, 1},
                {{0xee, 0xef}, {0x80, 0xbf}, 1}, {{0xf0, 0xf0}, {0x90, 0xbf}, 2}, {{0xf1, 0xf3}, {0x80, 0xbf}, 2}, {{0xf4, 0xf4}, {0x80, 0x8f}, 2}};
    size_t n = 0;
    for (size_t at = 0; at < size;) {
        size_t good = 1, want = 1;
        if (in[at] >= 0x80) {
            want = 0;
            for (size_t r = 0; r < KQ_COUNT(rows); r++) {
                if (in[at] < rows[r].lead[0] || in[at] > rows[r].lead[1]) continue;
                want = 2u + rows[r].more;
                if (at + 1 < size && in[at + 1] >= rows[r].second[0] && in[at + 1] <= rows[r].second[1]) good = 2;
                while (good > 1 && good < want && at + good < size && in[at + good] >> 6 == 2) good++;
            }
        }
        if (good == want) {
            memcpy(out + n, in + at, good);
            n += good;
        } else {
            memcpy(out + n, "\xef\xbf\xbd", 3);
            n += 3;
        }
        at += good;
    }
    return n;
}

static size_t stream(const kq_tokenizer *t, const int32_t *ids, size_t count, bool special, bool at_start, uint8_t *out) {
    size_t capacity = kq_detokenizer_capacity(t), n = 0, size;
    char *one = malloc(capacity);
    kq_detokenizer d;
    kq_detokenizer_init(&d, t, special, at_start);
    for (size_t i = 0; i <= count; i++) {
        if (i < count) {
            assert_int_equal(kq_detokenizer_feed(&d, ids[i], one, capacity, &size, NULL), KQ_OK);
        } else {
            assert_int_equal(kq_detokenizer_finish(&d, one, 12, &size, NULL), KQ_OK);
        }
        assert_true(size <= capacity);
        for (size_t at = 0, taken; at < size; at += taken) { /* whole characters only */
            uint8_t again[16];
            taken = KQ_MIN((size_t)kq_utf8_length((uint8_t)one[at]), size - at);
            assert_int_equal(replaced((uint8_t *)one + at, taken, again), taken);
            assert_memory_equal(again, one + at, taken);
        }
        memcpy(out + n, one, size);
        n += size;
    }
    free(one);
    return n;
}

static void stream_is_whole(const kq_tokenizer *t, const char *name) {
    enum { MAX = 200 };
    static uint8_t bytes[MAX * 4096], want[3 * sizeof bytes], have[3 * sizeof bytes];
    for (size_t k = 0; k < 300; k++) {
        int32_t ids[MAX];
        size_t n = below(MAX);
        for (size_t i = 0; i < n; i++) ids[i] = (int32_t)below(below(3) ? KQ_MIN((size_t)600, t->vocab.n) : t->vocab.n);
        bool special = below(2), at_start = below(2);
        size_t size = 0, one;
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(kq_tokenizer_piece(t, ids[i], special, (char *)bytes + size, 4096, &one, NULL), KQ_OK);
            if (i == 0 && at_start && t->add_space_prefix && one && bytes[0] == ' ') memmove(bytes, bytes + 1, --one);
            size += one;
        }
        size_t w = replaced(bytes, size, want), h = stream(t, ids, n, special, at_start, have);
        if (w != h || memcmp(want, have, w) != 0) fail_msg("%s: the stream of %zu ids differs from the whole", name, n);
    }
}

static void a_stream_is_the_whole(void **state) {
    (void)state;
    for_each(stream_is_whole);
}

static void ids_out_of_range(void **state) {
    (void)state;
    opened o;
    open_default(&o);
    kq_detokenizer d;
    char bytes[4096];
    static const int32_t bad[] = {-1, 8192, INT32_MIN, INT32_MAX};
    size_t capacity = kq_detokenizer_capacity(o.t), size;
    assert_true(capacity <= sizeof bytes);
    kq_detokenizer_init(&d, o.t, true, true);
    for (size_t i = 0; i < KQ_COUNT(bad); i++) {
        assert_int_equal(kq_tokenizer_piece(o.t, bad[i], true, bytes, sizeof bytes, &size, NULL), KQ_E_ARGUMENT);
        assert_int_equal(kq_detokenizer_feed(&d, bad[i], bytes, sizeof bytes, &size, NULL), KQ_E_ARGUMENT);
        assert_int_equal(kq_tokenizer_decode(o.t, &bad[i], 1, true, bytes, sizeof bytes, &size, NULL), KQ_E_ARGUMENT);
        assert_int_equal(size, 0);
    }
    assert_int_equal(kq_detokenizer_feed(&d, 100, bytes, capacity - 1, &size, NULL), KQ_E_ARGUMENT);
    assert_int_equal(kq_detokenizer_feed(&d, 100, bytes, capacity, &size, NULL), KQ_OK);
    assert_int_equal(kq_detokenizer_finish(&d, bytes, 11, &size, NULL), KQ_E_ARGUMENT);
    assert_int_equal(kq_tokenizer_piece(o.t, 8190, true, NULL, 0, &size, NULL), KQ_OK);
    assert_int_equal(size, strlen("<|im_start|>"));
    assert_int_equal(kq_tokenizer_piece(o.t, 8190, false, NULL, 0, &size, NULL), KQ_OK);
    assert_int_equal(size, 0);
    kq_tokenizer_close(o.t);
    kq_tokenizer_close(NULL);
}

static void texts_that_are_refused(void **state) {
    (void)state;
    opened o;
    open_default(&o);
    size_t count = 7;
    kq_error e;
    int32_t id;
    /* only the size is looked at: there is no such text */
    assert_int_equal(kq_tokenizer_encode(o.t, "x", (size_t)1 << 31, 0, NULL, 0, &count, &e), KQ_E_ARGUMENT);
    assert_int_equal(count, 0);
    assert_int_equal(kq_tokenizer_encode(o.t, "x", SIZE_MAX, 0, NULL, 0, &count, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_tokenizer_encode(o.t, "x", ((size_t)1 << 30) + 1, 0, NULL, 0, &count, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_tokenizer_encode(o.t, NULL, 1, 0, NULL, 0, &count, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_tokenizer_encode(o.t, "x", 1, 0, NULL, 1, &count, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_tokenizer_encode(o.t, "x", 1, 64, &id, 1, &count, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_tokenizer_encode(o.t, NULL, 0, 0, NULL, 0, &count, &e), KQ_OK);
    assert_int_equal(count, 0);
    kq_tokenizer_close(o.t);
}

/* ---- time ---------------------------------------------------------------------------------------------------------------------- */

static void no_text_takes_long(const kq_tokenizer *t, const char *name) {
    static const char *const shapes[] = {" ", "\n", "a", "A", "1", "!", "你", "\xff", "a ", "é", "<|im_start|>", "<", "ab", "\t", "the "};
    enum { N = 300000 };
    char *text = malloc(N);
    for (size_t s = 0; s < KQ_COUNT(shapes); s++) {
        size_t period = strlen(shapes[s]), count;
        for (size_t i = 0; i < N; i++) text[i] = shapes[s][i % period];
        double seconds[2];
        for (size_t k = 0; k < 2; k++) { /* a fifth first */
            clock_t begin = clock();
            assert_int_equal(kq_tokenizer_encode(t, text, k ? N : N / 5, KQ_ENCODE_SPECIAL, NULL, 0, &count, NULL), KQ_OK);
            seconds[k] = (double)(clock() - begin) / CLOCKS_PER_SEC;
        }
        assert_true(count > 0);
        if (seconds[1] > 1 && seconds[1] > 12 * seconds[0]) fail_msg("%s: %.2f s for '%s', %.2f for a fifth", name, seconds[1], shapes[s], seconds[0]);
    }
    free(text);
}

static void hostile_texts_in_linear_time(void **state) {
    (void)state;
    for_each(no_text_takes_long);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_vocabularies), cmocka_unit_test(the_tale), cmocka_unit_test(texts_there_and_back),
        cmocka_unit_test(a_stream_is_the_whole), cmocka_unit_test(ids_out_of_range), cmocka_unit_test(texts_that_are_refused),
        cmocka_unit_test(hostile_texts_in_linear_time),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, new_seed, NULL);
}
