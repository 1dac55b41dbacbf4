/* SPDX-License-Identifier: MIT */
/* Vocabularies made up for the purpose: hostile metadata, special tokens, merging against its definition, memory that runs out. */
#include "gguf_build.h"
#include "meter.h"
#include "random.h"

#include "text/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- building ------------------------------------------------------------------------------------------------------------- */

enum { MAX_TOKENS = 512 };
typedef struct spec {
    const char *model, *pre;
    size_t n, n_merges;
    const char *tokens[MAX_TOKENS];
    int32_t types[MAX_TOKENS]; /* 0: normal */
    float scores[MAX_TOKENS];
    const char *merges[MAX_TOKENS];
} spec;

static void add(spec *s, const char *token, int32_t type, float score) {
    s->tokens[s->n] = token;
    s->types[s->n] = type;
    s->scores[s->n++] = score;
}

static const char *without; /* a key that put_spec leaves out */
static bool wanted(const char *key) { return !without || strcmp(without, key) != 0; }

static void put_spec(gguf *b, const spec *s) {
    gguf_begin(b, 3);
    gguf_text(b, "general.architecture", "llama");
    if (s->model && wanted("tokenizer.ggml.model")) gguf_text(b, "tokenizer.ggml.model", s->model);
    if (s->pre && wanted("tokenizer.ggml.pre")) gguf_text(b, "tokenizer.ggml.pre", s->pre);
    if (wanted("tokenizer.ggml.tokens")) {
        gguf_array(b, "tokenizer.ggml.tokens", KQ_GGUF_STRING, s->n);
        for (size_t i = 0; i < s->n; i++) put_text(&b->out, s->tokens[i]);
    }
    if (wanted("tokenizer.ggml.token_type")) {
        gguf_array(b, "tokenizer.ggml.token_type", KQ_GGUF_I32, s->n);
        for (size_t i = 0; i < s->n; i++) put_u32(&b->out, (uint32_t)(s->types[i] ? s->types[i] : 1));
    }
    if (wanted("tokenizer.ggml.scores")) {
        gguf_array(b, "tokenizer.ggml.scores", KQ_GGUF_F32, s->n);
        for (size_t i = 0; i < s->n; i++) put_f32(&b->out, s->scores[i]);
    }
    if (wanted("tokenizer.ggml.merges")) {
        gguf_array(b, "tokenizer.ggml.merges", KQ_GGUF_STRING, s->n_merges);
        for (size_t i = 0; i < s->n_merges; i++) put_text(&b->out, s->merges[i]);
    }
}

static kq_status open_built(kq_tokenizer **t, gguf *b, const kq_allocator *a, kq_error *e) {
    kq_gguf *g;
    *t = NULL;
    gguf_finish(b);
    kq_status status = kq_gguf_open_memory(&g, b->out.data, b->out.size, "built", NULL, e);
    if (status) fail_msg("%s", e->text);
    kq_tokenizer_options o = {.struct_size = sizeof o, .allocator = a};
    status = kq_tokenizer_open(t, g, &o, e);
    kq_gguf_close(g);
    gguf_free(b);
    return status;
}

static kq_status open_spec(kq_tokenizer **t, const spec *s, kq_error *e) {
    gguf b;
    put_spec(&b, s);
    return open_built(t, &b, NULL, e);
}

static kq_tokenizer *open_ok(const spec *s) {
    kq_tokenizer *t;
    kq_error e = {0};
    if (open_spec(&t, s, &e)) fail_msg("%s", e.text);
    return t;
}

static void expect_refused(const spec *s, kq_status status, const char *says) {
    kq_tokenizer *t;
    kq_error e = {0};
    assert_int_equal(open_spec(&t, s, &e), status);
    assert_null(t);
    if (!strstr(e.text, says)) fail_msg("'%s' does not say '%s'", e.text, says);
}

/* A small vocabulary of each kind. */
static spec spm_spec(void) {
    static char hex[256][8];
    spec s = {.model = "llama"};
    add(&s, "<unk>", 2, 0);
    add(&s, "<s>", 3, 0);
    add(&s, "</s>", 3, 0);
    for (unsigned i = 0; i < 256; i++) {
        snprintf(hex[i], sizeof hex[i], "<0x%02X>", i);
        add(&s, hex[i], 6, 0);
    }
    static const char *const pieces[] = {"▁", "a", "b", "ab", "▁a", "▁ab", "▁▁", "▁▁▁", "ba", "b▁", "é", "aa", "<x>"};
    for (size_t i = 0; i < KQ_COUNT(pieces); i++) add(&s, pieces[i], i + 1 == KQ_COUNT(pieces) ? 4 : 1, -(float)(i % 7));
    return s;
}

static spec bpe_spec(void) {
    static char alphabet[256][4];
    spec s = {.model = "gpt2", .pre = "gpt-2"};
    for (uint32_t i = 0; i < 256; i++) {
        size_t n = kq_utf8_encode(kq_byte_to_cp((uint8_t)i), (uint8_t *)alphabet[i]);
        alphabet[i][n] = 0;
        add(&s, alphabet[i], 1, 0);
    }
    static const char *const more[] = {"ab", "abc", "Ġa", "Ġab", "aa"};
    for (size_t i = 0; i < KQ_COUNT(more); i++) add(&s, more[i], 1, 0);
    add(&s, "<|endoftext|>", 3, 0);
    add(&s, "<user>", 4, 0);
    static const char *const merges[] = {"a b", "ab c", "Ġ a", "Ġ ab", "a a", "a b", "x y", "xy z"};
    for (size_t i = 0; i < KQ_COUNT(merges); i++) s.merges[s.n_merges++] = merges[i];
    return s;
}

/* ---- metadata -------------------------------------------------------------------------------------------------------------- */

static void put_element(bytes *out, uint32_t kind, size_t i) {
    char name[24];
    snprintf(name, sizeof name, "t %zu", i); /* with a space, as merges have one */
    switch (kind) {
    case KQ_GGUF_U8: case KQ_GGUF_I8: case KQ_GGUF_BOOL: put_u8(out, 1); break;
    case KQ_GGUF_U16: case KQ_GGUF_I16: put_u16(out, 1); break;
    case KQ_GGUF_U32: case KQ_GGUF_I32: put_u32(out, 1); break;
    case KQ_GGUF_F32: put_f32(out, 1); break;
    case KQ_GGUF_F64: put_f64(out, 1); break;
    case KQ_GGUF_STRING: put_text(out, name); break;
    default: put_u64(out, 1); break;
    }
}

/* Every key as an array of every kind, too short, exact, too long, and as a single value. */
static void every_key_of_every_kind(void **state) {
    (void)state;
    static const char *const keys[] = {"tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.scores", "tokenizer.ggml.merges"};
    spec specs[2] = {spm_spec(), bpe_spec()};
    for (size_t v = 0; v < 2; v++) {
        for (size_t k = 0; k < KQ_COUNT(keys); k++) {
            for (uint32_t kind = 0; kind <= KQ_GGUF_F64; kind++) {
                if (kind == KQ_GGUF_ARRAY) continue;
                size_t counts[] = {0, specs[v].n - 1, specs[v].n, specs[v].n + 1, SIZE_MAX};
                for (size_t c = 0; c < KQ_COUNT(counts); c++) {
                    gguf b;
                    kq_error e;
                    kq_tokenizer *t;
                    bool single = counts[c] == SIZE_MAX;
                    without = keys[k];
                    put_spec(&b, &specs[v]);
                    without = NULL;
                    if (single) gguf_key(&b, keys[k], kind); else gguf_array(&b, keys[k], kind, counts[c]);
                    for (size_t i = 0; i < (single ? 1 : counts[c]); i++) put_element(&b.out, kind, i);
                    bool real = kind == KQ_GGUF_F32 || kind == KQ_GGUF_F64;
                    bool number = kind != KQ_GGUF_STRING && kind != KQ_GGUF_BOOL, enough = counts[c] >= specs[v].n;
                    /* new texts under old types: those of SentencePiece's byte tokens no longer name bytes */
                    bool fine = k == 0 ? kind == KQ_GGUF_STRING && counts[c] > 0 && counts[c] <= specs[v].n && v == 1
                              : k == 1 ? number && !real && enough : k == 2 ? number && enough : v == 0 || kind == KQ_GGUF_STRING;
                    if (single) fine = k == 3 && v == 0; /* SentencePiece looks at no merges */
                    kq_status status = open_built(&t, &b, NULL, &e);
                    if (status != (fine ? KQ_OK : KQ_E_MODEL)) fail_msg("%s of kind %u, %zu elements: %d", keys[k], (unsigned)kind, counts[c], (int)status);
                    if (status && k != 0 && !strstr(e.text, keys[k])) fail_msg("'%s' does not name %s", e.text, keys[k]);
                    kq_tokenizer_close(t);
                }
            }
        }
    }
}

static void scalars_of_other_kinds(void **state) {
    (void)state;
    static const struct {
        const char *key;
        uint32_t kind;
        uint64_t bits;
        kq_status status;
    } cases[] = {
        {"tokenizer.ggml.bos_token_id", KQ_GGUF_F32, 0, KQ_E_MODEL}, {"tokenizer.ggml.eos_token_id", KQ_GGUF_BOOL, 1, KQ_E_MODEL},
        {"tokenizer.ggml.bos_token_id", KQ_GGUF_I32, UINT32_MAX, KQ_E_MODEL}, {"tokenizer.ggml.bos_token_id", KQ_GGUF_U32, UINT32_MAX, KQ_OK},
        {"tokenizer.ggml.eot_token_id", KQ_GGUF_U64, UINT64_MAX, KQ_OK}, {"tokenizer.ggml.fim_pad_token_id", KQ_GGUF_U16, 3, KQ_OK},
        {"tokenizer.ggml.add_bos_token", KQ_GGUF_U32, 1, KQ_E_MODEL}, {"tokenizer.ggml.add_space_prefix", KQ_GGUF_F32, 1, KQ_E_MODEL},
        {"general.name", KQ_GGUF_U32, 1, KQ_E_MODEL}};
    for (size_t i = 0; i < KQ_COUNT(cases); i++) {
        static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
        gguf b;
        kq_tokenizer *t;
        kq_error e = {0};
        spec s = spm_spec();
        put_spec(&b, &s);
        gguf_key(&b, cases[i].key, cases[i].kind);
        put_raw(&b.out, &cases[i].bits, sizes[cases[i].kind]);
        kq_status status = open_built(&t, &b, NULL, &e);
        if (status != cases[i].status) fail_msg("%s: %d (%s)", cases[i].key, (int)status, e.text);
        if (status) assert_non_null(strstr(e.text, cases[i].key));
        if (!status && !strcmp(cases[i].key, "tokenizer.ggml.bos_token_id")) assert_int_equal(kq_tokenizer_bos(t), 1); /* the default stays */
        kq_tokenizer_close(t);
    }
}

static void vocabularies_that_are_refused(void **state) {
    (void)state;
    static const char *const later[] = {"bert", "t5", "rwkv", "plamo2", "whitespace", "hybriddna", "no such model", ""};
    for (size_t i = 0; i < KQ_COUNT(later); i++) {
        spec s = bpe_spec();
        s.model = later[i];
        expect_refused(&s, KQ_E_UNSUPPORTED, later[i]);
    }
    spec s = bpe_spec();
    s.pre = "no such pre";
    expect_refused(&s, KQ_E_UNSUPPORTED, "no such pre");
    s = bpe_spec();
    s.model = NULL;
    expect_refused(&s, KQ_E_MODEL, "tokenizer.ggml.model");
    s = bpe_spec();
    add(&s, "ab", 1, 0);
    expect_refused(&s, KQ_E_MODEL, "both 'ab'");
    static const char *const no_bytes[] = {"<0x-1>", "<0xGG>", "<0x0>", "<0x000>", "<0x 1>", "0x00", "<0X00>", "<0x00}", "x"};
    for (size_t i = 0; i < KQ_COUNT(no_bytes); i++) {
        s = bpe_spec();
        s.tokens[0] = no_bytes[i][0] == 'x' ? "xx" : no_bytes[i];
        s.types[0] = 6;
        expect_refused(&s, KQ_E_MODEL, "byte token");
    }
    s = spm_spec();
    s.scores[40] = kq_bits_to_f32(0x7fc00000);
    expect_refused(&s, KQ_E_MODEL, "token 40");
    static char big[KQ_VOCAB_MAX_TOKEN + 2];
    memset(big, 'q', sizeof big - 1);
    s = bpe_spec();
    add(&s, big, 1, 0);
    expect_refused(&s, KQ_E_LIMIT, "65535");
    big[sizeof big - 2] = 0;
    s = bpe_spec();
    add(&s, big, 1, 0);
    kq_tokenizer_close(open_ok(&s)); /* the longest that may be */
    static char wide[3 * 2000 + 1]; /* each of its characters shows the whole text */
    for (size_t i = 0; i < 2000; i++) memcpy(wide + 3 * i, "一", 3);
    s = bpe_spec();
    add(&s, wide, 1, 0);
    expect_refused(&s, KQ_E_LIMIT, "prints");
}

static void odd_vocabularies_that_open(void **state) {
    (void)state;
    spec s = bpe_spec();
    add(&s, "", 1, 0);
    add(&s, "", 1, 0);
    kq_tokenizer *t = open_ok(&s);
    assert_int_equal(kq_tokenizer_find(t, "[EMPTY_263]", 11), 263);
    assert_int_equal(kq_tokenizer_find(t, "[EMPTY_264]", 11), 264);
    kq_tokenizer_close(t);
    s = (spec){.model = "llama"};
    add(&s, "x", 1, 0); /* one token, no bytes, no bos: ids 0 to 2 are out of range or not what they are by default */
    t = open_ok(&s);
    assert_int_equal(kq_tokenizer_bos(t), KQ_NO_TOKEN);
    assert_int_equal(kq_tokenizer_eos(t), KQ_NO_TOKEN);
    assert_false(kq_tokenizer_adds_bos(t));
    kq_error e;
    size_t count;
    assert_int_equal(kq_tokenizer_encode(t, "y", 1, 0, NULL, 0, &count, &e), KQ_E_MODEL);
    assert_int_equal(count, 0);
    assert_non_null(strstr(e.text, "0xe2"));
    kq_tokenizer_close(t);
    s = bpe_spec(); /* bytes without tokens are lost, as in the reference */
    s.n = 0;
    add(&s, "a", 1, 0);
    t = open_ok(&s);
    int32_t ids[8];
    assert_int_equal(kq_tokenizer_encode(t, "xay a", 5, 0, ids, 8, &count, &e), KQ_OK);
    assert_int_equal(count, 2);
    assert_int_equal(ids[0] + ids[1], 0);
    kq_tokenizer_close(t);
}

static void expect(const kq_tokenizer *t, const char *text, uint32_t flags, const char *want) {
    int32_t ids[256];
    char have[4096];
    size_t n, at = 0;
    kq_error e = {0};
    if (kq_tokenizer_encode(t, text, strlen(text), flags, ids, 256, &n, &e)) fail_msg("%s", e.text);
    have[0] = 0;
    for (size_t i = 0; i < n; i++) {
        size_t size;
        const char *token = kq_vocab_text(&t->vocab, (uint32_t)ids[i], &size);
        at += (size_t)snprintf(have + at, sizeof have - at, "%s%.*s", i ? " | " : "", (int)size, token);
    }
    assert_string_equal(have, want);
}

/* A merge is two texts with a space between; the reference lets others pass, and they join nothing. */
static void merges_without_a_space_between(void **state) {
    (void)state;
    static const char *const broken[] = {"nospace", " leading", "trailing ", "", " "};
    for (size_t i = 0; i < KQ_COUNT(broken); i++) {
        spec s = bpe_spec();
        char says[64];
        snprintf(says, sizeof says, "merge %zu is '%s'", s.n_merges, broken[i]);
        s.merges[s.n_merges++] = broken[i];
        expect_refused(&s, KQ_E_MODEL, says);
    }
}

static void merges_as_they_are_read(void **state) {
    (void)state;
    spec s = bpe_spec();
    kq_tokenizer *t = open_ok(&s);
    expect(t, "abc", 0, "abc");
    expect(t, "aab", 0, "a | ab");   /* rank 0 before rank 4 */
    expect(t, "aaa", 0, "aa | a");   /* the leftmost of equals */
    expect(t, " ab", 0, "Ġab");      /* a b first, then Ġ ab; Ġ a comes later than a b */
    expect(t, "xyz", 0, "x | y | z"); /* xyz is no token: its bytes */
    expect(t, "\x01", 0, "ā");
    expect(t, "a<|endoftext|>b<user>", KQ_ENCODE_SPECIAL, "a | <|endoftext|> | b | <user>");
    expect(t, "<|end<user>", 0, "< | | | e | n | d | <user>");
    kq_tokenizer_close(t);
    s = spm_spec();
    s.model = "gemma4";
    t = open_ok(&s); /* an overlong space is no space when spaces are escaped, and one when the text is decoded */
    static const char overlong[] = "a\xc0\xa0\xc0\xa0\xc0\xa0\xc0\xa0\xc0\xa0\xc0\xa0\xc0\xa0\xc0\xa0 b";
    expect(t, overlong, 0, "a | <0x20> | <0x20> | <0x20> | <0x20> | <0x20> | <0x20> | <0x20> | <0x20> | ▁ | b");
    kq_tokenizer_close(t);
    s = spm_spec();
    t = open_ok(&s);
    expect(t, "ab", 0, "▁ab");
    expect(t, "ab<x>ab", 0, "▁ab | <x> | ▁ab"); /* a space after each special token */
    expect(t, "ab", KQ_ENCODE_ADD_SPECIAL, "<s> | ▁ab");
    expect(t, "", KQ_ENCODE_ADD_SPECIAL, "<s>");
    expect(t, "\n\xff", 0, "▁ | <0x0A> | <0xFF>");
    kq_tokenizer_close(t);
}

static void models_without_texts(void **state) {
    (void)state;
    spec s = bpe_spec();
    s.model = "test";
    kq_tokenizer *t = open_ok(&s);
    int32_t ids[4];
    size_t n, size;
    char piece[16];
    assert_int_equal(kq_tokenizer_encode(t, "Hello!", 6, KQ_ENCODE_ADD_SPECIAL, ids, 4, &n, NULL), KQ_OK);
    assert_int_equal(n, 2);
    uint64_t h = 0;
    for (size_t i = 0; i < 5; i++) h = h * 31 + (uint8_t)"Hello"[i];
    assert_int_equal(ids[0], h % s.n);
    assert_int_equal(ids[1], '!');
    assert_int_equal(kq_tokenizer_piece(t, 255, false, piece, sizeof piece, &size, NULL), KQ_OK);
    assert_int_equal(size, 2);
    assert_memory_equal(piece, "ff", 2);
    kq_tokenizer_close(t);
    gguf b;
    kq_error e;
    gguf_begin(&b, 3);
    gguf_text(&b, "general.architecture", "llama");
    gguf_text(&b, "tokenizer.ggml.model", "no_vocab");
    gguf_u32(&b, "llama.vocab_size", 1000);
    assert_int_equal(open_built(&t, &b, NULL, &e), KQ_OK);
    assert_int_equal(kq_tokenizer_size(t), 1000);
    assert_false(kq_tokenizer_is_end(t, 5));
    assert_int_equal(kq_tokenizer_find(t, "a", 1), KQ_NO_TOKEN);
    assert_int_equal(kq_tokenizer_encode(t, "a", 1, 0, ids, 4, &n, &e), KQ_E_UNSUPPORTED);
    assert_int_equal(kq_tokenizer_piece(t, 999, true, piece, sizeof piece, &size, NULL), KQ_OK);
    assert_int_equal(size, 0);
    kq_tokenizer_close(t);
}

/* ---- roles ------------------------------------------------------------------------------------------------------------------- */

static uint16_t is(const kq_tokenizer *t, const char *text) {
    int32_t id = kq_tokenizer_find(t, text, strlen(text));
    assert_true(id >= 0);
    return t->vocab.is[id];
}

static void roles_by_their_texts(void **state) {
    (void)state;
    spec s = bpe_spec();
    static const char *const oss[] = {"<|end|>", "<|call|>", "<|return|>", "<|channel|>", "<|start|>"};
    for (size_t i = 0; i < KQ_COUNT(oss); i++) add(&s, oss[i], 3, 0);
    kq_tokenizer *t = open_ok(&s);
    assert_int_equal(is(t, "<|end|>"), KQ_TOKEN_USER); /* ends a message, not the answer */
    assert_int_equal(is(t, "<|call|>"), KQ_TOKEN_CONTROL | KQ_TOKEN_END);
    assert_int_equal(is(t, "<|channel|>"), KQ_TOKEN_USER);
    assert_int_equal(is(t, "<|endoftext|>"), KQ_TOKEN_CONTROL | KQ_TOKEN_END);
    assert_int_equal(t->vocab.is[11], KQ_TOKEN_NORMAL | KQ_TOKEN_END); /* eos is 11 where nothing is said */
    kq_tokenizer_close(t);

    s = bpe_spec();
    add(&s, "<|end|>", 1, 0);
    add(&s, "</s>", 3, 0);
    add(&s, "<|tool_response>", 4, 0);
    add(&s, "<unused7>", 3, 0);
    add(&s, "<fim_prefix>", 1, 0);
    t = open_ok(&s);
    assert_int_equal(is(t, "<|end|>"), KQ_TOKEN_NORMAL | KQ_TOKEN_CONTROL | KQ_TOKEN_END);
    assert_int_equal(is(t, "</s>"), KQ_TOKEN_NORMAL);
    assert_int_equal(is(t, "<|tool_response>"), KQ_TOKEN_USER | KQ_TOKEN_CONTROL | KQ_TOKEN_END);
    assert_int_equal(is(t, "<unused7>"), KQ_TOKEN_CONTROL | KQ_TOKEN_UNUSED);
    assert_int_equal(is(t, "<fim_prefix>"), KQ_TOKEN_NORMAL | KQ_TOKEN_CONTROL);
    assert_int_equal(is(t, "<user>"), KQ_TOKEN_USER);
    kq_tokenizer_close(t);

    gguf b;
    kq_error e;
    s = spm_spec();
    put_spec(&b, &s);
    gguf_text(&b, "general.name", "My Phi-3 mini");
    gguf_u32(&b, "tokenizer.ggml.eot_token_id", 5);
    assert_int_equal(open_built(&t, &b, NULL, &e), KQ_OK);
    assert_int_equal(is(t, "<x>"), KQ_TOKEN_USER | KQ_TOKEN_RSTRIP);
    assert_int_equal(is(t, "<s>"), KQ_TOKEN_CONTROL);
    assert_int_equal(is(t, "</s>"), KQ_TOKEN_CONTROL | KQ_TOKEN_END | KQ_TOKEN_RSTRIP);
    assert_true(kq_tokenizer_is_end(t, 5));
    expect(t, "ab<x> \n ab", 0, "▁ab | <x> | ▁ab");
    kq_tokenizer_close(t);
}

static void clean_up(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"Hello , world !", "Hello, world!"}, {" ?", "?"}, {"?", "?"}, {"", ""}, {"a . b", "a. b"}, {"I 'm he 's we 're they 've", "I'm he's we're they've"},
        {"I 'll don 't he 'd", "I 'll don 't he 'd"}, {"a ' b", "a'b"}, {"x ' ' y", "x'' y"}, {"a  !", "a !"}, {"' s", "' s"}, {" 's", "'s"}, {"a '", "a '"},
        {"a 're", "a're"}, {"a 'r", "a 'r"}, {"! ! !", "!!!"}};
    spec s = bpe_spec();
    kq_tokenizer *t = open_ok(&s);
    for (size_t i = 0; i < KQ_COUNT(cases); i++) {
        int32_t ids[64];
        char text[64];
        size_t n, size;
        assert_int_equal(kq_tokenizer_encode(t, cases[i][0], strlen(cases[i][0]), 0, ids, 64, &n, NULL), KQ_OK);
        assert_int_equal(kq_tokenizer_decode(t, ids, n, false, text, sizeof text, &size, NULL), KQ_OK);
        text[size] = 0;
        assert_string_equal(text, cases[i][1]);
    }
    static const int32_t ids[] = {'a'}; /* of no consequence here: the first id's space is SentencePiece's */
    size_t size;
    assert_int_equal(kq_tokenizer_decode(t, ids, 1, false, NULL, 0, &size, NULL), KQ_OK);
    kq_tokenizer_close(t);
    s = spm_spec();
    t = open_ok(&s);
    char text[64];
    int32_t two[3] = {1, kq_tokenizer_find(t, "▁a", 4), kq_tokenizer_find(t, "▁a", 4)};
    assert_int_equal(kq_tokenizer_decode(t, two + 1, 2, false, text, sizeof text, &size, NULL), KQ_OK);
    assert_int_equal(size, 3);
    assert_memory_equal(text, "a a", 3);
    assert_int_equal(kq_tokenizer_decode(t, two, 2, false, text, sizeof text, &size, NULL), KQ_OK); /* after <s> the space stays */
    assert_int_equal(size, 2);
    assert_int_equal(kq_tokenizer_decode(t, two, 2, true, text, 2, &size, NULL), KQ_OK);
    assert_int_equal(size, 5);
    assert_memory_equal(text, "<s", 2);
    kq_tokenizer_close(t);
}

/* ---- against definitions ------------------------------------------------------------------------------------------------------ */

static const char *random_word(char *out, const char *const *letters, size_t n_letters, size_t max) {
    out[0] = 0;
    for (size_t n = 1 + below(max); n > 0; n--) strcat(out, letters[below(n_letters)]);
    return out;
}

typedef struct part {
    int32_t id; /* or KQ_NO_TOKEN: text */
    const char *text;
    size_t size;
} part;
typedef struct parts {
    part at[4096];
    size_t n;
} parts;

static kq_status collect(void *ctx, int32_t id, const char *text, size_t size) {
    parts *p = ctx;
    p->at[p->n++] = (part){id, text, size};
    return KQ_OK;
}

static bool blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* One token in every fragment of text: as the rule has it, by rebuilding the list of fragments. */
static void slow_cut(const kq_vocab *v, uint32_t id, parts *p) {
    static parts out;
    size_t n;
    const char *token = kq_vocab_text(v, id, &n);
    out.n = 0;
    for (size_t i = 0; i < p->n; i++) {
        part rest = p->at[i];
        for (size_t k = 0; rest.id == KQ_NO_TOKEN && k + n <= rest.size;) {
            if (memcmp(rest.text + k, token, n) != 0) {
                k++;
                continue;
            }
            part left = {KQ_NO_TOKEN, rest.text, k};
            while (v->is[id] & KQ_TOKEN_LSTRIP && left.size && blank(left.text[left.size - 1])) left.size--;
            if (left.size) out.at[out.n++] = left;
            out.at[out.n++] = (part){(int32_t)id, NULL, 0};
            rest = (part){KQ_NO_TOKEN, rest.text + k + n, rest.size - k - n};
            while (v->is[id] & KQ_TOKEN_RSTRIP && rest.size && blank(rest.text[0])) rest.text++, rest.size--;
            k = 0;
        }
        if (rest.size || rest.id != KQ_NO_TOKEN) out.at[out.n++] = rest;
    }
    *p = out;
}

static void special_tokens_longest_first(void **state) {
    (void)state;
    static const char *const letters[] = {"a", "b", "c", " ", "ab", "é"};
    static parts have, want;
    for (size_t round = 0; round < 400; round++) {
        static char words[64][64];
        spec s = {.model = "test"};
        add(&s, "some token", 1, 0);
        for (size_t i = 0; i < 1 + below(40); i++) {
            random_word(words[i], letters, KQ_COUNT(letters), 1 + below(8));
            bool there = false;
            for (size_t k = 0; k < s.n; k++) there |= strcmp(s.tokens[k], words[i]) == 0;
            if (!there) add(&s, words[i], (int32_t[]){1, 2, 3, 4, 4, 4, 5}[below(7)], 0);
        }
        kq_tokenizer *t = open_ok(&s);
        for (size_t i = 0; i < t->vocab.n; i++) t->vocab.is[i] |= (uint16_t)(below(4) ? 0 : below(2) ? KQ_TOKEN_LSTRIP : KQ_TOKEN_RSTRIP);
        for (size_t k = 0; k < 40; k++) {
            char text[1024];
            random_word(text, letters, KQ_COUNT(letters), 1 + below(100));
            bool plain = below(2);
            have.n = 0;
            assert_int_equal(kq_partition_run(&t->special, &t->vocab, &t->allocator, plain, text, strlen(text), collect, &have, NULL), KQ_OK);
            want.at[0] = (part){KQ_NO_TOKEN, text, strlen(text)};
            want.n = 1;
            for (size_t size = 64; size > 0; size--) {
                for (uint32_t id = 0; id < t->vocab.n; id++) {
                    uint16_t bits = t->vocab.is[id];
                    bool candidate = plain ? bits & KQ_TOKEN_USER && !(bits & (KQ_TOKEN_CONTROL | KQ_TOKEN_UNKNOWN))
                                           : bits & (KQ_TOKEN_CONTROL | KQ_TOKEN_USER | KQ_TOKEN_UNKNOWN);
                    if (candidate && strlen(s.tokens[id]) == size) slow_cut(&t->vocab, id, &want);
                }
            }
            assert_int_equal(have.n, want.n);
            for (size_t i = 0; i < want.n; i++) {
                assert_int_equal(have.at[i].id, want.at[i].id);
                assert_int_equal(have.at[i].size, want.at[i].size);
                if (want.at[i].size) assert_ptr_equal(have.at[i].text, want.at[i].text);
            }
        }
        kq_tokenizer_close(t);
    }
}

/* Merging by its definition: strings in a list, all pairs looked at again after every step. */
typedef struct strings {
    char at[600][1024]; /* one text has at most 1023 bytes */
    size_t n;
} strings;

static double pair_order(const spec *s, bool spm, const char *left, const char *right) {
    char both[2050];
    if (spm) {
        snprintf(both, sizeof both, "%s%s", left, right);
        for (size_t i = 0; i < s->n; i++) {
            if (strcmp(s->tokens[i], both) == 0) return -(double)s->scores[i];
        }
    } else {
        snprintf(both, sizeof both, "%s %s", left, right);
        for (size_t i = 0; i < s->n_merges; i++) {
            if (strcmp(s->merges[i], both) == 0) return (double)i;
        }
    }
    return 1e9;
}

static void slow_merge(const spec *s, bool spm, strings *x) {
    for (;;) {
        size_t best = 0;
        double order = 1e9;
        for (size_t i = 0; i + 1 < x->n; i++) {
            double o = pair_order(s, spm, x->at[i], x->at[i + 1]);
            if (o < order) order = o, best = i;
        }
        if (order == 1e9) return;
        size_t have = strlen(x->at[best]);
        memmove(x->at[best] + have, x->at[best + 1], strlen(x->at[best + 1]) + 1);
        x->n--;
        memmove(x->at[best + 1], x->at[best + 2], (x->n - best - 1) * sizeof x->at[0]);
    }
}

static void compare_merging(const spec *s, bool spm, const kq_tokenizer *t, const char *text) {
    static strings x;
    char want[8192], have[8192];
    int32_t ids[2048];
    size_t n, w = 0, h = 0;
    x.n = 0;
    if (spm) strcpy(x.at[x.n++], "▁");
    for (const char *p = text; *p; x.n++) {
        size_t size = *p == ' ' ? 1 : kq_utf8_length((uint8_t)*p);
        snprintf(x.at[x.n], sizeof x.at[0], "%.*s", (int)size, *p == ' ' ? "" : p);
        if (*p == ' ') strcpy(x.at[x.n], "▁");
        p += size;
    }
    slow_merge(s, spm, &x);
    assert_int_equal(kq_tokenizer_encode(t, text, strlen(text), 0, ids, 2048, &n, NULL), KQ_OK);
    want[0] = have[0] = 0;
    for (size_t i = 0; i < x.n; i++) w += (size_t)snprintf(want + w, sizeof want - w, "%s|", x.at[i]);
    for (size_t i = 0; i < n; i++) {
        size_t size;
        const char *token = kq_vocab_text(&t->vocab, (uint32_t)ids[i], &size);
        h += (size_t)snprintf(have + h, sizeof have - h, "%.*s|", (int)size, token);
    }
    assert_string_equal(have, want);
}

/* Random vocabularies, some of which join things to a following space; texts on both sides of the size where the heap begins. */
static void merging_by_its_definition(void **state) {
    (void)state;
    static const char *const letters[] = {"a", "b", "c", "▁", "é"}, *const typed[] = {"a", "b", "c", " ", "é", "ab"};
    for (size_t round = 0; round < 300; round++) {
        static char joined[64][256], merge[64][256];
        bool spm = round % 2;
        spec s = {.model = spm ? "llama" : "gemma4"};
        for (size_t i = 0; i < KQ_COUNT(letters); i++) add(&s, letters[i], 1, -(float)below(6));
        for (size_t i = 0; i < 1 + below(50); i++) { /* joined from what is there, so that long tokens are reached */
            const char *left = s.tokens[below(s.n)], *right = s.tokens[below(s.n)];
            if (strlen(left) + strlen(right) > 100) continue;
            snprintf(merge[i], sizeof merge[i], "%s %s", left, right);
            snprintf(joined[i], sizeof joined[i], "%s%s", left, right);
            s.merges[s.n_merges++] = merge[i];
            bool there = false;
            for (size_t k = 0; k < s.n; k++) there |= strcmp(s.tokens[k], joined[i]) == 0;
            if (!there) add(&s, joined[i], 1, (float)below(12) - 6);
        }
        kq_tokenizer *t = open_ok(&s);
        for (size_t k = 0; k < 8; k++) {
            char text[1024];
            compare_merging(&s, spm, t, random_word(text, typed, KQ_COUNT(typed), 1 + below(k ? 60 : 200)));
        }
        kq_tokenizer_close(t);
    }
}

/* ---- memory ------------------------------------------------------------------------------------------------------------------ */

static kq_status use(const spec *s, meter *m, kq_error *e) {
    kq_allocator a = meter_allocator(m);
    static const char text[] = "ab abc<user> aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab \xff é<x>xyz <|endoftext|> 123";
    kq_tokenizer *t;
    gguf b;
    int32_t ids[256];
    char out[1024];
    size_t n, size;
    put_spec(&b, s);
    kq_status status = open_built(&t, &b, &a, e);
    if (!status) status = kq_tokenizer_encode(t, text, sizeof text - 1, KQ_ENCODE_SPECIAL, ids, 256, &n, e);
    if (!status) status = kq_tokenizer_decode(t, ids, n, true, out, sizeof out, &size, e);
    kq_tokenizer_close(t);
    return status;
}

static void memory_runs_out(void **state) {
    (void)state;
    spec specs[] = {spm_spec(), bpe_spec(), bpe_spec(), bpe_spec()};
    specs[2].pre = "deepseek-llm";
    specs[3].pre = "llama3"; /* looks whole pieces up */
    for (size_t v = 0; v < KQ_COUNT(specs); v++) {
        size_t allowed = 0;
        for (;; allowed++) {
            meter m = meter_of(allowed);
            kq_error e = {0};
            kq_status status = use(&specs[v], &m, &e);
            assert_int_equal(m.live, 0);
            if (!status) break;
            if (status != KQ_E_MEMORY) fail_msg("%d: %s", (int)status, e.text);
            assert_true(e.text[0]);
        }
        assert_true(allowed > 10);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_of_every_kind), cmocka_unit_test(scalars_of_other_kinds), cmocka_unit_test(vocabularies_that_are_refused),
        cmocka_unit_test(odd_vocabularies_that_open), cmocka_unit_test(merges_as_they_are_read),
        cmocka_unit_test(merges_without_a_space_between), cmocka_unit_test(models_without_texts),
        cmocka_unit_test(roles_by_their_texts), cmocka_unit_test(clean_up), cmocka_unit_test(special_tokens_longest_first),
        cmocka_unit_test(merging_by_its_definition), cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests_name("vocabulary", tests, new_seed, NULL);
}
