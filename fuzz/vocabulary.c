/* SPDX-License-Identifier: MIT */
/* Hostile vocabularies. The input is a list of records, each a byte of what it is, a byte of its size, and that many bytes:
 *     0-7  a token of that type      8  a merge      9  text to encode      10  an id: key, value      11  a flag: key, value
 *     12  general.name       13  a token's score, as bits      14  a very long token: a byte to repeat, times 256
 * The first byte chooses the model, the second the pre-tokenizer, the third which allocation fails (0: none). */
#include "meter.h"
#include "vocabulary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool truth) {
    if (!truth) abort();
}

static void put_record(made *m, uint8_t what, const uint8_t *bytes, size_t size) {
    static const char *const ids[] = {"bos", "eos", "eot", "eom", "unknown", "fim_pre", "fim_pad", "prefix"};
    static const char *const flags[] = {"add_bos_token", "add_eos_token", "add_space_prefix"};
    char key[64];
    float score = 0;
    if (size >= 4) memcpy(&score, bytes, 4);
    if (what <= 7) made_token(m, (const char *)bytes, size, what, (float)size);
    if (what == 8) made_merge(m, (const char *)bytes, size);
    if (what == 10 && size == 2) {
        snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", ids[bytes[0] % 8]);
        made_key(m, key, KQ_GGUF_U32);
        buffer_u32(&m->pairs, bytes[1] == 255 ? UINT32_MAX : bytes[1]);
    }
    if (what == 11 && size == 2) {
        snprintf(key, sizeof key, "tokenizer.ggml.%s", flags[bytes[0] % 3]);
        made_key(m, key, KQ_GGUF_BOOL);
        uint8_t truth = bytes[1] & 1;
        buffer_put(&m->pairs, &truth, 1);
    }
    if (what == 12) {
        made_key(m, "general.name", KQ_GGUF_STRING);
        buffer_string(&m->pairs, (const char *)bytes, size);
    }
    if (what == 13 && size > 4) made_token(m, (const char *)bytes + 4, size - 4, 1, score);
    if (what == 14 && size >= 1) {
        char *big = malloc(size * 256);
        for (size_t i = 0; i < size * 256; i++) big[i] = (char)bytes[i % size];
        made_token(m, big, size * 256, bytes[0] % 7, 0);
        free(big);
    }
}

static void use(const kq_tokenizer *t, const uint8_t *text, size_t size) {
    for (uint32_t flags = 0; flags < 4; flags++) {
        int32_t ids[64];
        char out[256];
        size_t n, bytes;
        kq_error e;
        if (kq_tokenizer_encode(t, (const char *)text, size, flags, ids, 64, &n, &e)) continue;
        for (size_t i = 0; i < n && i < 64; i++) must(ids[i] >= 0 && (size_t)ids[i] < kq_tokenizer_size(t));
        if (kq_tokenizer_decode(t, ids, n < 64 ? n : 64, flags & 1, out, sizeof out, &bytes, &e)) continue;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const models[] = {"llama", "gpt2", "gemma4", "test", "none"};
    static const char *const pres[] = {"", "llama-bpe", "gemma4", "whitespace", "kimi-k2", "sarvam-moe", "jina-v2-de", "superbpe"};
    if (size < 3) return 0;
    made m;
    made_begin(&m, models[data[0] % 5], pres[data[1] % 8]);
    const uint8_t *text = (const uint8_t *)"a b";
    size_t text_size = 3;
    for (size_t at = 3; at + 2 <= size;) {
        uint8_t what = data[at] % 15;
        size_t n = data[at + 1] <= size - at - 2 ? data[at + 1] : size - at - 2;
        if (what == 9) {
            text = data + at + 2;
            text_size = n;
        }
        put_record(&m, what, data + at + 2, n);
        at += n + 2;
    }
    meter counted = {.fail_at = data[2]};
    kq_allocator a = meter_allocator(&counted);
    kq_tokenizer *t;
    kq_error e;
    if (made_open(&m, &t, &a, &e) == KQ_OK) {
        use(t, text, text_size);
        for (int32_t id = 0; (size_t)id < kq_tokenizer_size(t) && id < 64; id++) {
            size_t n, capacity = kq_detokenizer_capacity(t);
            char *out = malloc(capacity);
            kq_detokenizer d;
            kq_detokenizer_init(&d, t, id & 1, id & 2);
            must(out && kq_detokenizer_feed(&d, id, out, capacity, &n, &e) == KQ_OK && n <= capacity);
            free(out);
        }
    }
    kq_tokenizer_close(t);
    must(counted.live == 0);
    return 0;
}
