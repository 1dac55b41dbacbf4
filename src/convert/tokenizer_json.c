/* SPDX-License-Identifier: MIT */
/* tokenizer.json of the Hugging Face tokenizers library: texts by id, added tokens, merges. Of its models only BPE is read. */
#include "convert/vocabulary.h"

#include <stdlib.h>

typedef unsigned long long ull; /* for printf */

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static const json_t *present(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static kq_status wrong(const kq_tokenizer_json *j, const char *what, kq_error *err) {
    return kq_fail_at(err, KQ_E_FORMAT, j->path, KQ_NO_OFFSET, "%s", what);
}

static kq_status check_model(const json_t *model, const char *path, kq_error *err) {
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const json_t *type = present(model, "type");
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "BPE") != 0)) {
        return kq_fail_at(err, KQ_E_UNSUPPORTED, path, KQ_NO_OFFSET, "model.type '%s' is not supported, only BPE is",
                          json_is_string(type) ? KQ_SHOW(kq_json_text(type)) : "");
    }
    for (size_t i = 0; i < KQ_COUNT(affixes); i++) {
        const json_t *affix = present(model, affixes[i]);
        if (affix && !(json_is_string(affix) && json_string_length(affix) == 0)) {
            return kq_fail_at(err, KQ_E_UNSUPPORTED, path, KQ_NO_OFFSET, "model.%s is not supported", affixes[i]);
        }
    }
    return KQ_OK;
}

static kq_status find_parts(kq_tokenizer_json *j, kq_error *err) {
    const json_t *model = present(j->root, "model");
    if (!json_is_object(model)) return wrong(j, "it has no object 'model'", err);
    KQ_TRY(check_model(model, j->path, err));
    j->vocab = present(model, "vocab");
    j->merges = present(model, "merges");
    j->added = present(j->root, "added_tokens");
    j->normalizer = present(j->root, "normalizer");
    j->pre_tokenizer = present(j->root, "pre_tokenizer");
    j->post_processor = present(j->root, "post_processor");
    j->decoder = present(j->root, "decoder");
    j->byte_fallback = json_is_true(json_object_get(model, "byte_fallback"));
    j->ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
    if (!json_is_object(j->vocab)) return wrong(j, "model.vocab is no object", err);
    if (!json_is_array(j->merges)) return wrong(j, "model.merges is no array", err);
    if (j->added && !json_is_array(j->added)) return wrong(j, "added_tokens is no array", err);
    const json_t *steps[] = {j->normalizer, j->pre_tokenizer, j->post_processor, j->decoder};
    for (size_t i = 0; i < KQ_COUNT(steps); i++) {
        if (steps[i] && !json_is_object(steps[i])) return wrong(j, "normalizer, pre_tokenizer, post_processor or decoder is no object", err);
    }
    return KQ_OK;
}

kq_status kq_tokenizer_json_open(kq_tokenizer_json *j, kq_hf_config *c, kq_error *err) {
    *j = (kq_tokenizer_json){.path = kq_hf_path(c, "tokenizer.json")};
    if (!j->path) return kq_fail_memory(err, strlen(c->folder), "a path");
    if (!kq_hf_exists(j->path)) return KQ_OK;
    KQ_TRY(kq_json_read(&j->root, j->path, KQ_TOKENIZER_MAX_BYTES,
                        (kq_json_limits){.depth = KQ_TOKENIZER_MAX_DEPTH, .values = KQ_TOKENIZER_MAX_VALUES}, err));
    kq_status status = find_parts(j, err);
    if (status) kq_tokenizer_json_close(j);
    return status;
}

void kq_tokenizer_json_close(kq_tokenizer_json *j) {
    json_decref(j->root);
    *j = (kq_tokenizer_json){0};
}

bool kq_json_steps(const json_t *steps, bool (*each)(void *ctx, const char *type, const json_t *step), void *ctx) {
    static const char *const lists[] = {"normalizers", "pretokenizers", "processors", "decoders"};
    const char *type = json_string_value(json_object_get(steps, "type"));
    if (!type) return false;
    if (strcmp(type, "Sequence") != 0) return each(ctx, type, steps);
    for (size_t i = 0; i < KQ_COUNT(lists); i++) {
        const json_t *list = json_object_get(steps, lists[i]), *step;
        size_t at;
        json_array_foreach(list, at, step) { /* no deeper than the file, which is bounded */
            if (!kq_json_steps(step, each, ctx)) return false;
        }
    }
    return true;
}

/* ---- tokens ------------------------------------------------------------------------------------------------------- */

static kq_status flags_of(kq_added_token *t, const json_t *entry, const char *path, kq_error *err) {
    const json_t *content = json_object_get(entry, "content");
    if (!json_is_string(content)) {
        return kq_fail_at(err, KQ_E_FORMAT, path, KQ_NO_OFFSET, "added token %llu has no string 'content'", (ull)t->id);
    }
    t->text = kq_json_text(content);
    t->special = json_is_true(json_object_get(entry, "special"));
    const json_t *normalized = json_object_get(entry, "normalized");
    t->normalized = normalized ? json_is_true(normalized) : !t->special;
    return KQ_OK;
}

kq_status kq_added_token_read(kq_added_token *t, const json_t *entry, const char *path, kq_error *err) {
    if (!kq_json_u64(json_object_get(entry, "id"), &t->id)) {
        return kq_fail_at(err, KQ_E_FORMAT, path, KQ_NO_OFFSET, "one of added_tokens has no 'id' that is an integer of at least 0");
    }
    return flags_of(t, entry, path, err);
}

kq_status kq_added_token_decoder(kq_added_token *t, const char *id, const json_t *entry, const char *path, kq_error *err) {
    char *end = NULL;
    bool digits = *id >= '0' && *id <= '9' && strlen(id) <= 10;
    t->id = digits ? strtoull(id, &end, 10) : 0;
    if (!digits || *end) {
        return kq_fail_at(err, KQ_E_FORMAT, path, KQ_NO_OFFSET, "added_tokens_decoder: the key '%s' is no id", kq_show(id, strlen(id)).text);
    }
    return flags_of(t, entry, path, err);
}

static kq_status check_id(const kq_tokens *v, uint64_t id, kq_string text, const char *path, kq_error *err) {
    if (id < v->n) return KQ_OK;
    return kq_fail_at(err, KQ_E_MODEL, path, KQ_NO_OFFSET, "token '%s' has id %llu, the vocabulary's size is %zu", KQ_SHOW(text), (ull)id, v->n);
}

/* Ids and what they are at most: one more than the largest, of vocab and of added tokens. */
static kq_status largest_id(const kq_tokenizer_json *j, uint64_t *n, kq_error *err) {
    const char *text;
    json_t *value;
    uint64_t id;
    json_object_foreach((json_t *)(uintptr_t)j->vocab, text, value) {
        if (!kq_json_u64(value, &id) || id >= UINT32_MAX) {
            return kq_fail_at(err, KQ_E_FORMAT, j->path, KQ_NO_OFFSET, "model.vocab: the id of '%s' is no integer from 0 to 2^32 - 2",
                              kq_show(text, strlen(text)).text);
        }
        *n = KQ_MAX(*n, id + 1);
    }
    size_t at;
    json_array_foreach(j->added, at, value) {
        kq_added_token t;
        KQ_TRY(kq_added_token_read(&t, value, j->path, err));
        if (t.id >= UINT32_MAX) {
            return kq_fail_at(err, KQ_E_FORMAT, j->path, KQ_NO_OFFSET, "added token '%s': its id is %llu", KQ_SHOW(t.text), (ull)t.id);
        }
        *n = KQ_MAX(*n, t.id + 1);
    }
    return KQ_OK;
}

/* An added token replaces nothing: it is new, or names a token of the vocabulary. */
static kq_status add_token(kq_tokens *v, const kq_tokenizer_json *j, const kq_added_token *t, const char *path, kq_error *err) {
    KQ_TRY(check_id(v, t->id, t->text, path, err));
    const json_t *base = json_object_getn(j->vocab, t->text.data, t->text.size);
    kq_string have = v->text[t->id];
    bool same = have.data && have.size == t->text.size && memcmp(have.data, t->text.data, have.size) == 0;
    if ((have.data && !same) || (base && (uint64_t)json_integer_value(base) != t->id)) {
        return kq_fail_at(err, KQ_E_MODEL, path, KQ_NO_OFFSET, "added token '%s' has id %llu, which contradicts model.vocab", KQ_SHOW(t->text),
                          (ull)t->id);
    }
    bool control = t->special || kq_token_looks_special(t->text);
    v->text[t->id] = control ? t->text : kq_tokens_spaced(v, t->text);
    if (!v->text[t->id].data) return kq_fail_memory(err, t->text.size, "a token");
    v->type[t->id] = control ? KQ_TYPE_CONTROL : KQ_TYPE_USER;
    return KQ_OK;
}

/* Those that only tokenizer_config.json has: transformers adds them where neither id nor text is taken. */
static kq_status add_configured(kq_tokens *v, const kq_tokenizer_json *j, const kq_hf_config *c, kq_error *err) {
    const char *id;
    json_t *entry;
    json_object_foreach(json_object_get(c->tokenizer, "added_tokens_decoder"), id, entry) {
        kq_added_token t;
        KQ_TRY(kq_added_token_decoder(&t, id, entry, "tokenizer_config.json", err));
        if (t.id < v->n && !v->text[t.id].data && !json_object_getn(j->vocab, t.text.data, t.text.size)) {
            KQ_TRY(add_token(v, j, &t, "tokenizer_config.json", err));
        }
    }
    return KQ_OK;
}

kq_status kq_tokenizer_json_tokens(const kq_tokenizer_json *j, const kq_hf_config *c, kq_tokens *v, kq_error *err) {
    uint64_t n = 0, size;
    KQ_TRY(largest_id(j, &n, err));
    const json_t *configured = present(c->text, "vocab_size");
    if (configured && (!kq_json_u64(configured, &size) || !size)) {
        return kq_fail_at(err, KQ_E_FORMAT, "config.json", KQ_NO_OFFSET, "vocab_size is no integer of at least 1");
    }
    KQ_TRY(kq_tokens_resize(v, configured ? size : n, err));
    const char *text;
    json_t *value;
    size_t at;
    json_object_foreach((json_t *)(uintptr_t)j->vocab, text, value) {
        kq_string s = {text, strlen(text)};
        uint64_t id = (uint64_t)json_integer_value(value);
        KQ_TRY(check_id(v, id, s, j->path, err));
        if (v->text[id].data) {
            return kq_fail_at(err, KQ_E_MODEL, j->path, KQ_NO_OFFSET, "model.vocab: '%s' and '%s' have the same id %llu", KQ_SHOW(v->text[id]),
                              KQ_SHOW(s), (ull)id);
        }
        v->text[id] = s;
        v->type[id] = KQ_TYPE_NORMAL;
    }
    json_array_foreach(j->added, at, value) {
        kq_added_token t;
        KQ_TRY(kq_added_token_read(&t, value, j->path, err));
        KQ_TRY(add_token(v, j, &t, j->path, err));
    }
    return add_configured(v, j, c, err);
}

/* ---- merges ------------------------------------------------------------------------------------------------------- */

/* Two texts with a space between; a space inside one of them is written as the byte alphabet writes it, U+0120. */
static bool join(kq_arena *arena, const json_t *pair, kq_string *out) {
    size_t size = 1;
    for (size_t i = 0; i < 2; i++) {
        kq_string s = kq_json_text(json_array_get(pair, i));
        for (size_t k = 0; k < s.size; k++) size += s.data[k] == ' ' ? 2 : 1;
    }
    char *p = kq_arena_alloc(arena, size, 1);
    *out = (kq_string){p, size};
    if (!p) return false;
    for (size_t i = 0; i < 2; i++) {
        kq_string s = kq_json_text(json_array_get(pair, i));
        if (i) *p++ = ' ';
        for (size_t k = 0; k < s.size; k++) {
            if (s.data[k] == ' ') *p++ = '\xc4';
            *p++ = s.data[k] == ' ' ? '\xa0' : s.data[k];
        }
    }
    return true;
}

static kq_status read_merge(kq_arena *arena, const json_t *merge, size_t at, kq_string *out, const char *path, kq_error *err) {
    if (json_is_string(merge)) {
        *out = kq_json_text(merge);
        return KQ_OK;
    }
    if (json_array_size(merge) != 2 || !json_is_string(json_array_get(merge, 0)) || !json_is_string(json_array_get(merge, 1))) {
        return kq_fail_at(err, KQ_E_FORMAT, path, KQ_NO_OFFSET, "model.merges: element %zu is neither a string nor two of them", at);
    }
    return join(arena, merge, out) ? KQ_OK : kq_fail_memory(err, 16, "merges");
}

kq_status kq_tokenizer_json_merges(const kq_tokenizer_json *j, kq_metadata *out, kq_error *err) {
    size_t n = json_array_size(j->merges);
    if (!n) return KQ_OK; /* an empty array is not written */
    kq_string *merges = kq_alloc(&out->allocator, n, sizeof *merges);
    if (!merges) return kq_fail_memory(err, n * sizeof *merges, "merges");
    kq_arena arena;
    kq_arena_init(&arena, &out->allocator);
    kq_status status = KQ_OK;
    for (size_t i = 0; i < n && !status; i++) status = read_merge(&arena, json_array_get(j->merges, i), i, &merges[i], j->path, err);
    if (!status) status = kq_metadata_strings(out, "tokenizer.ggml.merges", merges, n, err);
    kq_arena_free(&arena);
    kq_free(&out->allocator, merges);
    return status;
}
