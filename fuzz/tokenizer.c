/* SPDX-License-Identifier: MIT */
/* Any text through small vocabularies of each kind and through every chain of patterns. The first byte chooses the tokenizer, the second
 * the flags, the rest is text. What must hold: measuring and writing agree, ids are in range, texts come back as the vocabulary sees
 * them, a stream gives out whole characters. */
#include "vocabulary.h"

#include "text/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool truth) {
    if (!truth) abort();
}

/* Every byte, and a few joins. */
static void put_tokenizer(made *m, const char *model, const char *pre) {
    bool bytes = strcmp(model, "gpt2") == 0;
    static const char *const more[] = {"a", "b", "ab", "\xe2\x96\x81", "▁a", "aa", "b\xe2\x96\x81", "\xe2\x96\x81\xe2\x96\x81", "\n\n"};
    made_begin(m, model, pre);
    for (uint32_t i = 0; i < 256; i++) {
        char text[8];
        if (bytes) made_token(m, text, kq_utf8_encode(kq_byte_to_cp((uint8_t)i), (uint8_t *)text), 1, 0);
        if (!bytes) made_token(m, text, (size_t)snprintf(text, sizeof text, "<0x%02X>", (unsigned)i), 6, 0);
    }
    for (size_t i = bytes ? 2 : 0; i < KQ_COUNT(more) && !(bytes && i > 2); i++) made_token(m, more[i], strlen(more[i]), 1, -(float)i);
    made_token(m, "<user>", 6, 4, 0);
    made_token(m, "<user><", 7, 4, 0);
    made_token(m, "<|im_end|>", 10, 3, 0);
    made_merge(m, "a b", 3);
    made_merge(m, "a a", 3);
    made_merge(m, "\xe2\x96\x81 a", 5);
    made_merge(m, "b \xe2\x96\x81", 5);
}

static kq_tokenizer *tokenizer(size_t i) {
    static kq_tokenizer *open[128];
    size_t n = 0;
    while (kq_pretokenizer_at(n)) n++;
    i %= n + 2;
    if (open[i]) return open[i];
    made m;
    put_tokenizer(&m, i == n ? "llama" : i > n ? "gemma4" : "gpt2", i < n ? kq_pretokenizer_at(i)->name : "");
    must(made_open(&m, &open[i], NULL, NULL) == KQ_OK);
    return open[i];
}

/* Pieces of the ids, whole and as a stream. */
static size_t print(const kq_tokenizer *t, const int32_t *ids, size_t n, char *out) {
    size_t size = 0, capacity = kq_detokenizer_capacity(t), streamed;
    char *one = malloc(capacity);
    kq_detokenizer d;
    kq_detokenizer_init(&d, t, true, false);
    for (size_t i = 0; i <= n; i++) {
        size_t piece = 0;
        if (i < n) {
            must(kq_tokenizer_piece(t, ids[i], true, out + size, 64, &piece, NULL) == KQ_OK && piece <= 64);
            must(kq_detokenizer_feed(&d, ids[i], one, capacity, &streamed, NULL) == KQ_OK);
        } else {
            must(kq_detokenizer_finish(&d, one, capacity, &streamed, NULL) == KQ_OK);
        }
        size += piece;
        for (size_t at = 0; at < streamed;) {
            uint32_t cp;
            size_t taken = kq_utf8_decode((uint8_t *)one + at, streamed - at, &cp);
            must(taken == kq_utf8_length((uint8_t)one[at]) && !(cp >= 0xd800 && cp < 0xe000));
            at += taken;
        }
    }
    must(d.n_held == 0);
    free(one);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    const kq_tokenizer *t = tokenizer(data[0]);
    uint32_t flags = data[1] & 3;
    const char *text = (const char *)data + 2;
    size_t count, again, n = size - 2, out_size;
    must(kq_tokenizer_encode(t, text, n, flags, NULL, 0, &count, NULL) == KQ_OK);
    int32_t *ids = malloc((count + 1) * sizeof *ids);
    must(kq_tokenizer_encode(t, text, n, flags, ids, count, &again, NULL) == KQ_OK && again == count);
    for (size_t i = 0; i < count; i++) must(ids[i] >= 0 && (size_t)ids[i] < kq_tokenizer_size(t));
    char *out = malloc(count * 64 + 1), *whole;
    out_size = print(t, ids, count, out);
    must(kq_tokenizer_decode(t, ids, count, true, NULL, 0, &again, NULL) == KQ_OK && again <= out_size);
    whole = malloc(again + 1);
    must(kq_tokenizer_decode(t, ids, count, true, whole, again / 2, &again, NULL) == KQ_OK);
    bool byte_level = t->kind == KQ_TEXT_BPE && !(t->flags & KQ_PRE_RAW) && strcmp(kq_tokenizer_pre(t), "whitespace") != 0;
    if (byte_level && !(flags & KQ_ENCODE_ADD_SPECIAL)) {
        size_t at = 0, k = 0;
        while (at < n) { /* canonical text, compared as it is made */
            uint32_t cp;
            uint8_t utf8[4];
            at += kq_utf8_decode((const uint8_t *)text + at, n - at, &cp);
            size_t bytes = kq_utf8_encode(cp, utf8);
            must(k + bytes <= out_size && memcmp(out + k, utf8, bytes) == 0);
            k += bytes;
        }
        must(k == out_size);
    }
    free(whole);
    free(out);
    free(ids);
    return 0;
}
