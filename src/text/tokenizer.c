/* SPDX-License-Identifier: MIT */
/* The public functions: opening a tokenizer, asking it, and the way of a text through it. */
#include "file/file.h"
#include "text/text.h"

#include <stdio.h>

/* ---- opening ------------------------------------------------------------------------------------------------------------- */

static const struct algorithm {
    const char *name; /* tokenizer.ggml.model */
    kq_text_model kind;
    int32_t bos, eos;
    bool add_bos, add_space_prefix, clean_spaces, escape;
} algorithms[] = {
    {"llama", KQ_TEXT_SPM, 1, 2, true, true, false, true},
    {"gpt2", KQ_TEXT_BPE, 11, 11, false, false, true, false},
    {"gemma4", KQ_TEXT_BPE, KQ_NO_TOKEN, KQ_NO_TOKEN, true, false, true, true},
    {"test", KQ_TEXT_TEST, KQ_NO_TOKEN, KQ_NO_TOKEN, false, false, false, false},
    {"none", KQ_TEXT_NONE, KQ_NO_TOKEN, KQ_NO_TOKEN, false, false, false, false},
    {"no_vocab", KQ_TEXT_NONE, KQ_NO_TOKEN, KQ_NO_TOKEN, false, false, false, false},
};

static kq_status read_model(kq_tokenizer *t, const kq_gguf *g, kq_error *err) {
    kq_string model, pre;
    KQ_TRY(kq_gguf_get_string(g, "tokenizer.ggml.model", &model, err));
    KQ_TRY(kq_gguf_get_string_or(g, "tokenizer.ggml.pre", "", &pre, err));
    t->model = kq_arena_string(&t->arena, model.data, model.size);
    t->pre = kq_arena_string(&t->arena, pre.data, pre.size);
    if (!t->model || !t->pre) return kq_fail_memory(err, model.size + pre.size, "a tokenizer");
    const struct algorithm *a = NULL;
    for (size_t i = 0; i < KQ_COUNT(algorithms); i++) {
        if (strcmp(algorithms[i].name, t->model) == 0 && model.size == strlen(t->model)) a = &algorithms[i];
    }
    if (!a) return kq_fail(err, KQ_E_UNSUPPORTED, "tokenizer.ggml.model '%s' is not supported", KQ_SHOW(model));
    t->kind = a->kind;
    t->bos = a->bos;
    t->eos = a->eos;
    t->add_bos = a->add_bos;
    t->add_space_prefix = a->add_space_prefix;
    t->clean_spaces = a->clean_spaces;
    t->escape = a->escape;
    if (t->kind != KQ_TEXT_BPE) return KQ_OK;
    if (a->escape) t->pre = "gemma4"; /* whatever the file says */
    const kq_pretokenizer *row = kq_pretokenizer_find(*t->pre ? t->pre : "default");
    if (!row || (!a->escape && pre.size != strlen(t->pre))) {
        return kq_fail(err, KQ_E_UNSUPPORTED, "tokenizer.ggml.pre '%s' is not supported", KQ_SHOW(pre));
    }
    t->flags = row->flags;
    if (t->flags & KQ_PRE_ADD_BOS) t->add_bos = true;
    if (t->flags & KQ_PRE_NO_CLEAN) t->clean_spaces = false;
    if (t->flags & KQ_PRE_ESCAPE) t->escape = true;
    if (t->flags & KQ_PRE_NO_DEFAULT_BOS) t->bos = KQ_NO_TOKEN;
    return kq_chain_open(&t->chain, row->stages, &t->allocator, err);
}

/* <0x00> to <0xFF>, and the texts of one byte. */
static void find_bytes(kq_tokenizer *t) {
    for (uint32_t b = 0; b < 256; b++) {
        char text[8], byte = (char)b;
        t->hex_token[b] = kq_vocab_find(&t->vocab, text, (size_t)snprintf(text, sizeof text, "<0x%02X>", (unsigned)b));
        t->byte_token[b] = kq_vocab_find(&t->vocab, &byte, 1);
    }
}

/* No vocabulary: ids without texts, as many as the model has. */
static kq_status open_without_texts(kq_tokenizer *t, const kq_gguf *g, kq_error *err) {
    kq_string arch;
    char key[128];
    uint64_t n = 0;
    KQ_TRY(kq_gguf_get_string(g, "general.architecture", &arch, err));
    if (arch.size > 64) return kq_fail(err, KQ_E_MODEL, "general.architecture has %zu bytes, the limit is 64", arch.size);
    snprintf(key, sizeof key, "%.*s.vocab_size", (int)arch.size, arch.data);
    KQ_TRY(kq_gguf_get_u64_or(g, key, 0, 0, KQ_VOCAB_MAX_TOKENS, &n, err));
    t->vocab.n = (size_t)n;
    return KQ_OK;
}

static kq_status open_parts(kq_tokenizer *t, const kq_gguf *g, kq_error *err) {
    KQ_TRY(read_model(t, g, err));
    if (t->kind == KQ_TEXT_NONE) return open_without_texts(t, g, err);
    KQ_TRY(kq_vocab_open(&t->vocab, g, &t->allocator, err));
    KQ_TRY(kq_gguf_get_bool_or(g, "tokenizer.ggml.add_bos_token", t->add_bos, &t->add_bos, err));
    KQ_TRY(kq_gguf_get_bool_or(g, "tokenizer.ggml.add_eos_token", false, &t->add_eos, err));
    KQ_TRY(kq_gguf_get_bool_or(g, "tokenizer.ggml.add_space_prefix", t->add_space_prefix, &t->add_space_prefix, err));
    if (t->flags & KQ_PRE_FORCE_BOS) t->add_bos = true;
    KQ_TRY(kq_special_open(t, g, err));
    find_bytes(t);
    KQ_TRY(kq_partition_open(&t->special, &t->vocab, &t->allocator, err));
    if (t->kind == KQ_TEXT_SPM) KQ_TRY(kq_spm_open(t, g, err));
    if (t->kind == KQ_TEXT_BPE) KQ_TRY(kq_bpe_open(t, g, err));
    return kq_detokenize_open(t, err);
}

kq_status kq_tokenizer_open(kq_tokenizer **out, const kq_gguf *g, const kq_tokenizer_options *options, kq_error *err) {
    *out = NULL;
    kq_tokenizer_options o;
    kq_options_read(&o, sizeof o, options);
    kq_allocator a = kq_allocator_of(o.allocator);
    kq_tokenizer *t = kq_alloc(&a, 1, sizeof *t);
    if (!t) return kq_fail_memory(err, sizeof *t, "a tokenizer");
    t->allocator = a;
    kq_arena_init(&t->arena, &a);
    kq_status status = open_parts(t, g, err);
    if (status) {
        kq_tokenizer_close(t);
        return status;
    }
    *out = t;
    return KQ_OK;
}

kq_status kq_tokenizer_set_pre(kq_tokenizer *t, const kq_pretokenizer *row, kq_error *err) {
    kq_chain *chain = NULL;
    if (t->kind != KQ_TEXT_BPE || t->flags & KQ_PRE_RAW || row->flags & KQ_PRE_RAW) {
        return kq_fail(err, KQ_E_UNSUPPORTED, "tokenizer.ggml.pre '%s' is not for byte-level texts", row->name);
    }
    KQ_TRY(kq_chain_open(&chain, row->stages, &t->allocator, err));
    kq_chain_close(t->chain);
    t->chain = chain;
    t->pre = row->name;
    t->flags = row->flags;
    return KQ_OK;
}

void kq_tokenizer_close(kq_tokenizer *t) {
    if (!t) return;
    kq_allocator a = t->allocator;
    kq_bpe_close(&t->bpe, &a);
    kq_chain_close(t->chain);
    kq_partition_close(&t->special, &a);
    kq_free(&a, t->scores);
    kq_vocab_close(&t->vocab);
    kq_arena_free(&t->arena);
    kq_free(&a, t);
}

/* ---- asking -------------------------------------------------------------------------------------------------------------- */

size_t kq_tokenizer_size(const kq_tokenizer *t) { return t->vocab.n; }
const char *kq_tokenizer_model(const kq_tokenizer *t) { return t->model; }
const char *kq_tokenizer_pre(const kq_tokenizer *t) { return t->pre; }
int32_t kq_tokenizer_bos(const kq_tokenizer *t) { return t->bos; }
int32_t kq_tokenizer_eos(const kq_tokenizer *t) { return t->eos; }
bool kq_tokenizer_adds_bos(const kq_tokenizer *t) { return t->add_bos && t->bos != KQ_NO_TOKEN; }
bool kq_tokenizer_adds_eos(const kq_tokenizer *t) { return t->add_eos && t->eos != KQ_NO_TOKEN; }
bool kq_tokenizer_is_end(const kq_tokenizer *t, int32_t id) {
    return id >= 0 && (size_t)id < t->vocab.n && t->vocab.is && t->vocab.is[id] & KQ_TOKEN_END;
}
int32_t kq_tokenizer_find(const kq_tokenizer *t, const char *text, size_t size) { return kq_vocab_find(&t->vocab, text, size); }

/* ---- text to ids ------------------------------------------------------------------------------------------------------- */

/* TEST: a hash of every five bytes. */
static void test_fragment(kq_encoder *e, const char *text, size_t size) {
    for (size_t at = 0; at < size; at += 5) {
        uint64_t h = 0;
        for (size_t i = at; i < KQ_MIN(at + 5, size); i++) h = h * 31 + (uint8_t)text[i];
        kq_encoder_put(e, (int32_t)(h % e->t->vocab.n));
    }
}

static kq_status fragment(void *ctx, int32_t id, const char *text, size_t size) {
    kq_encoder *e = ctx;
    if (id != KQ_NO_TOKEN) {
        kq_encoder_put(e, id);
        return KQ_OK;
    }
    switch (e->t->kind) {
    case KQ_TEXT_SPM: return kq_spm_fragment(e, text, size);
    case KQ_TEXT_BPE: return kq_bpe_fragment(e, text, size);
    case KQ_TEXT_TEST: test_fragment(e, text, size); break;
    case KQ_TEXT_NONE: break;
    }
    return KQ_OK;
}

static void encoder_close(kq_encoder *e) {
    const kq_allocator *a = &e->t->allocator;
    kq_heap_free(&e->heap);
    kq_free(a, e->symbols);
    kq_free(a, e->text);
    kq_free(a, e->classes);
    kq_free(a, e->mapped);
    kq_splitter_close(&e->splitter);
}

kq_status kq_tokenizer_encode(const kq_tokenizer *t, const char *text, size_t size, uint32_t flags, int32_t *ids, size_t capacity,
                              size_t *count, kq_error *err) {
    *count = 0;
    if (size > KQ_TEXT_MAX_BYTES) {
        return kq_fail(err, KQ_E_ARGUMENT, "the text has %zu bytes, the limit is %d", size, KQ_TEXT_MAX_BYTES);
    }
    if ((!text && size) || (!ids && capacity)) return kq_fail(err, KQ_E_ARGUMENT, text ? "ids is NULL" : "text is NULL");
    if (flags & ~(uint32_t)(KQ_ENCODE_SPECIAL | KQ_ENCODE_ADD_SPECIAL)) return kq_fail(err, KQ_E_ARGUMENT, "unknown flags 0x%x", flags);
    if (t->kind == KQ_TEXT_NONE) return kq_fail(err, KQ_E_UNSUPPORTED, "the model has no vocabulary (tokenizer.ggml.model '%s')", t->model);
    kq_encoder e = {.t = t, .ids = ids, .capacity = capacity, .err = err, .heap = {.allocator = &t->allocator}};
    if (t->chain) KQ_TRY(kq_splitter_open(&e.splitter, t->chain, err));
    bool add = flags & KQ_ENCODE_ADD_SPECIAL && t->kind != KQ_TEXT_TEST;
    if (add && kq_tokenizer_adds_bos(t)) kq_encoder_put(&e, t->bos);
    kq_status status = kq_partition_run(&t->special, &t->vocab, &t->allocator, !(flags & KQ_ENCODE_SPECIAL), text, size, fragment, &e, err);
    if (add && kq_tokenizer_adds_eos(t)) kq_encoder_put(&e, t->eos);
    if (!status) *count = e.count;
    encoder_close(&e);
    return status;
}
