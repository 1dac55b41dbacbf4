/* SPDX-License-Identifier: MIT */
/* From the tokenizer of a folder to tokenizer.ggml.*, as llama.cpp's converter writes it. Four kinds of vocabulary:
 *     byte-level BPE       gpt2     tokenizer.json: texts in the byte alphabet, merges
 *     SentencePiece BPE    llama    tokenizer.model: pieces with scores; corrected by added_tokens.json and tokenizer_config.json
 *     the same, converted  llama    tokenizer.json with byte_fallback: scores made of the merges
 *     the same with merges gemma4 */
#include "convert/vocabulary.h"

#include <stdio.h>

/* ---- tokens by id --------------------------------------------------------------------------------------------------- */

void kq_tokens_init(kq_tokens *v, const kq_allocator *a) {
    *v = (kq_tokens){.allocator = *a};
    kq_arena_init(&v->arena, a);
}

void kq_tokens_free(kq_tokens *v) {
    if (!v->allocator.alloc) return;
    kq_free(&v->allocator, v->text);
    kq_free(&v->allocator, v->type);
    kq_free(&v->allocator, v->score);
    kq_arena_free(&v->arena);
    *v = (kq_tokens){0};
}

kq_status kq_tokens_resize(kq_tokens *v, uint64_t n, kq_error *err) {
    if (n > KQ_VOCAB_MAX_TOKENS) {
        return kq_fail(err, KQ_E_LIMIT, "the vocabulary has %llu tokens, the limit is %d", (unsigned long long)n, KQ_VOCAB_MAX_TOKENS);
    }
    size_t capacities[3] = {v->capacity, v->capacity, v->capacity};
    if (!kq_grow(&v->allocator, &v->text, &capacities[0], (size_t)n, sizeof *v->text) ||
        !kq_grow(&v->allocator, &v->type, &capacities[1], (size_t)n, sizeof *v->type) ||
        !kq_grow(&v->allocator, &v->score, &capacities[2], (size_t)n, sizeof *v->score)) {
        return kq_fail_memory(err, n * (sizeof *v->text + sizeof *v->type + sizeof *v->score), "a vocabulary");
    }
    v->capacity = KQ_MIN(capacities[0], KQ_MIN(capacities[1], capacities[2]));
    for (size_t id = v->n; id < n; id++) {
        v->text[id] = (kq_string){0};
        v->type[id] = KQ_TYPE_UNUSED;
        v->score[id] = 0;
    }
    v->n = (size_t)n;
    return KQ_OK;
}

kq_status kq_tokens_fill(kq_tokens *v, float score, kq_error *err) {
    size_t holes = 0;
    for (size_t id = 0; id < v->n; id++) holes += !v->text[id].data;
    if (holes > KQ_TOKENIZER_MAX_HOLES) {
        return kq_fail(err, KQ_E_LIMIT, "%zu of %zu ids have no token, the limit is %d", holes, v->n, KQ_TOKENIZER_MAX_HOLES);
    }
    for (size_t id = 0; id < v->n; id++) {
        char name[24];
        if (v->text[id].data) continue;
        size_t size = (size_t)snprintf(name, sizeof name, "[PAD%zu]", id);
        v->text[id] = (kq_string){kq_arena_string(&v->arena, name, size), size};
        if (!v->text[id].data) return kq_fail_memory(err, size, "a token");
        v->type[id] = KQ_TYPE_UNUSED;
        v->score[id] = score;
    }
    return KQ_OK;
}

static const char blank[] = "\xe2\x96\x81"; /* U+2581 */

kq_string kq_tokens_spaced(kq_tokens *v, kq_string text) {
    bool any = false;
    for (size_t i = 0; i + 3 <= text.size && !any; i++) any = memcmp(text.data + i, blank, 3) == 0;
    if (!any) return text;
    char *copy = kq_arena_string(&v->arena, text.data, text.size);
    size_t n = 0;
    for (size_t i = 0; copy && i < text.size; n++) {
        bool space = i + 3 <= text.size && memcmp(text.data + i, blank, 3) == 0;
        copy[n] = space ? ' ' : text.data[i];
        i += space ? 3 : 1;
    }
    return (kq_string){copy, n};
}

static bool begins_and_ends(kq_string s, const char *begin, const char *end) {
    size_t b = strlen(begin), e = strlen(end);
    return s.size >= KQ_MAX(b, e) && memcmp(s.data, begin, b) == 0 && memcmp(s.data + s.size - e, end, e) == 0;
}

bool kq_token_looks_special(kq_string text) {
    return kq_string_is(text, "<pad>") || kq_string_is(text, "<mask>") || kq_string_is(text, "<2mass>") || kq_string_is(text, "[@BOS@]") ||
           begins_and_ends(text, "<|", "|>") || begins_and_ends(text, "<｜", "｜>") || begins_and_ends(text, "<unused", ">");
}

/* ---- what all kinds write -------------------------------------------------------------------------------------------- */

static kq_status put_head(kq_metadata *out, const char *model, const char *pre, kq_error *err) {
    KQ_TRY(kq_metadata_string(out, "tokenizer.ggml.model", model, err));
    return pre ? kq_metadata_string(out, "tokenizer.ggml.pre", pre, err) : KQ_OK;
}

static kq_status put_tokens(kq_metadata *out, const kq_tokens *v, bool scores, kq_error *err) {
    KQ_TRY(kq_metadata_strings(out, "tokenizer.ggml.tokens", v->text, v->n, err));
    if (scores) KQ_TRY(kq_metadata_array(out, "tokenizer.ggml.scores", KQ_GGUF_F32, v->n, v->score, err));
    return kq_metadata_array(out, "tokenizer.ggml.token_type", KQ_GGUF_I32, v->n, v->type, err);
}

/* The class of the model, or "". */
static const char *class_of(const kq_hf_config *c) {
    const json_t *inner = json_object_get(json_object_get(c->root, "text_config"), "architectures");
    const char *name = json_string_value(json_array_get(inner, 0));
    if (!name) name = json_string_value(json_array_get(json_object_get(c->text, "architectures"), 0));
    return name ? name : "";
}

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* ---- byte-level BPE ---------------------------------------------------------------------------------------------------- */

static kq_status read_bytes(kq_metadata *out, kq_hf_config *c, const kq_tokenizer_json *j, kq_tokens *v, kq_error *err) {
    KQ_TRY(kq_tokenizer_json_tokens(j, c, v, err));
    KQ_TRY(kq_tokens_fill(v, 0, err));
    KQ_TRY(put_head(out, "gpt2", "default", err)); /* which pre-tokenizer is found out when all else is known */
    KQ_TRY(put_tokens(out, v, false, err));
    KQ_TRY(kq_tokenizer_json_merges(j, out, err));
    KQ_TRY(kq_special_vocab_read(out, c, j, v->n, err));
    return kq_pre_tokenizer_find(out, j, c, err);
}

/* ---- SentencePiece ----------------------------------------------------------------------------------------------------- */

/* {text: id}: what older folders add. */
static kq_status read_added_json(kq_tokens *v, kq_hf_config *c, json_t *added, kq_error *err) {
    const char *text;
    json_t *value;
    json_object_foreach(added, text, value) {
        uint64_t id;
        if (!kq_json_u64(value, &id)) {
            return kq_fail_at(err, KQ_E_FORMAT, kq_hf_path(c, "added_tokens.json"), KQ_NO_OFFSET, "the id of '%s' is no integer of at least 0",
                              kq_show(text, strlen(text)).text);
        }
        if (id >= v->n) continue;
        v->text[id] = (kq_string){kq_arena_string(&v->arena, text, strlen(text)), strlen(text)};
        if (!v->text[id].data) return kq_fail_memory(err, strlen(text), "a token");
        v->type[id] = KQ_TYPE_USER;
        v->score[id] = -1000;
    }
    return KQ_OK;
}

static kq_status read_added_decoder(kq_tokens *v, const kq_hf_config *c, kq_error *err) {
    const char *id;
    json_t *entry;
    json_object_foreach(json_object_get(c->tokenizer, "added_tokens_decoder"), id, entry) {
        kq_added_token t;
        KQ_TRY(kq_added_token_decoder(&t, id, entry, "tokenizer_config.json", err));
        if (t.id >= v->n) continue;
        bool control = t.special || kq_token_looks_special(t.text);
        v->text[t.id] = control ? t.text : kq_tokens_spaced(v, t.text);
        if (!v->text[t.id].data) return kq_fail_memory(err, t.text.size, "a token");
        v->type[t.id] = control ? KQ_TYPE_CONTROL : KQ_TYPE_USER;
        v->score[t.id] = -1000;
    }
    return KQ_OK;
}

/* What the model's class and its configuration say of the space in front. */
static kq_status put_space_prefix(kq_metadata *out, const kq_hf_config *c, kq_error *err) {
    const json_t *prefix = json_object_get(c->tokenizer, "add_prefix_space");
    if (begins(class_of(c), "Gemma")) return kq_metadata_bool(out, "tokenizer.ggml.add_space_prefix", false, err);
    return json_is_boolean(prefix) ? kq_metadata_bool(out, "tokenizer.ggml.add_space_prefix", json_is_true(prefix), err) : KQ_OK;
}

/* Two sizes that llama.cpp's converter knows: CodeLlama's end of infilling, and a model that wants no BOS. */
static kq_status put_known_sizes(kq_metadata *out, const kq_tokens *v, kq_error *err) {
    if (v->n == 32016) KQ_TRY(kq_metadata_u32(out, "tokenizer.ggml.eot_token_id", 32010, err));
    if (v->n == 49152) KQ_TRY(kq_metadata_bool(out, "tokenizer.ggml.add_bos_token", false, err));
    return KQ_OK;
}

static kq_status read_pieces(kq_metadata *out, kq_hf_config *c, const kq_tokenizer_json *j, kq_tokens *v, kq_error *err) {
    uint64_t size = 0;
    json_t *added;
    if (kq_json_u64(json_object_get(c->text, "vocab_size"), &size)) KQ_TRY(kq_tokens_resize(v, size, err));
    KQ_TRY(kq_hf_json(&added, c, "added_tokens.json", err));
    kq_status status = read_added_json(v, c, added, err);
    json_decref(added);
    KQ_TRY(status);
    KQ_TRY(read_added_decoder(v, c, err));
    KQ_TRY(kq_tokens_fill(v, -10000, err));
    KQ_TRY(put_head(out, "llama", "default", err));
    KQ_TRY(put_tokens(out, v, true, err));
    KQ_TRY(kq_special_vocab_read(out, c, j, v->n, err));
    KQ_TRY(put_space_prefix(out, c, err));
    return put_known_sizes(out, v, err);
}

/* ---- SentencePiece that was converted --------------------------------------------------------------------------------- */

static bool is_byte(kq_string s) {
    unsigned byte;
    char end;
    return s.size == 6 && sscanf(s.data, "<0x%2X%c", &byte, &end) == 2 && end == '>';
}

/* One of the byte alphabet's steps, which makes a vocabulary byte-level. */
static bool no_bytes(void *ctx, const char *type, const json_t *step) {
    (void)ctx;
    (void)step;
    return strcmp(type, "ByteLevel") != 0;
}

static bool is_converted(const kq_tokenizer_json *j) {
    return j->byte_fallback && (!j->pre_tokenizer || kq_json_steps(j->pre_tokenizer, no_bytes, NULL)) &&
           (!j->decoder || kq_json_steps(j->decoder, no_bytes, NULL));
}

/* The model joins the pair that stands first in the list of merges, the runtime the one that makes the token of the highest score; so a token's
 * score is less the later its first merge stands. (llama.cpp's converter gives all tokens -1000, which leaves the choice to what stands on
 * the left: other ids than the model's.) What no merge makes must not be made: its score is below all. */
static kq_status score_merges(kq_tokens *v, const kq_tokenizer_json *j, kq_error *err) {
    size_t n = json_array_size(j->merges), at;
    const json_t *merge;
    char *text = kq_arena_alloc(&v->arena, 2 * KQ_VOCAB_MAX_TOKEN + 2, 1);
    if (!text) return kq_fail_memory(err, 2 * KQ_VOCAB_MAX_TOKEN, "a merge");
    for (size_t id = 0; id < v->n; id++) v->score[id] = -(float)KQ_MAX(n + 1, (size_t)1000);
    for (at = n; at--;) { /* so that the first is what stays */
        merge = json_array_get(j->merges, at);
        const char *left = json_string_value(merge), *space = left ? strchr(left, ' ') : NULL, *right = space ? space + 1 : NULL;
        size_t left_size = space ? (size_t)(space - left) : 0;
        if (json_is_array(merge)) {
            left = json_string_value(json_array_get(merge, 0));
            right = json_string_value(json_array_get(merge, 1));
            left_size = left ? strlen(left) : 0;
        }
        if (!left || !right || left_size > KQ_VOCAB_MAX_TOKEN || strlen(right) > KQ_VOCAB_MAX_TOKEN) {
            return kq_fail_at(err, KQ_E_FORMAT, j->path, KQ_NO_OFFSET, "model.merges: element %zu is no two texts of at most %d bytes", at,
                              KQ_VOCAB_MAX_TOKEN);
        }
        memcpy(text, left, left_size);
        memcpy(text + left_size, right, strlen(right) + 1);
        const json_t *id = json_object_get(j->vocab, text);
        if (json_is_integer(id) && (uint64_t)json_integer_value(id) < v->n) v->score[json_integer_value(id)] = -(float)at;
    }
    return KQ_OK;
}

/* A normalizer or pre-tokenizer that puts U+2581 in front. */
static bool no_prefix(void *ctx, const char *type, const json_t *step) {
    const char *scheme = json_string_value(json_object_get(step, "prepend_scheme"));
    bool prepends = strcmp(type, "Prepend") == 0;
    if (strcmp(type, "Metaspace") == 0) prepends = scheme ? strcmp(scheme, "never") != 0 : !json_is_false(json_object_get(step, "add_prefix_space"));
    if (prepends) *(bool *)ctx = true;
    return true;
}

static kq_status put_converted_prefix(kq_metadata *out, const kq_hf_config *c, const kq_tokenizer_json *j, kq_error *err) {
    bool prefix = false;
    KQ_TRY(put_space_prefix(out, c, err));
    if (j->normalizer) (void)kq_json_steps(j->normalizer, no_prefix, &prefix);
    if (j->pre_tokenizer) (void)kq_json_steps(j->pre_tokenizer, no_prefix, &prefix);
    if (prefix || kq_metadata_find(out, "tokenizer.ggml.add_space_prefix")) return KQ_OK;
    return kq_metadata_bool(out, "tokenizer.ggml.add_space_prefix", false, err);
}

/* <0xHH> are bytes; tokens named by tokenizer_config.json are control tokens. */
static void type_converted(kq_tokens *v) {
    for (size_t id = 0; id < v->n; id++) {
        if (v->text[id].data && v->type[id] == KQ_TYPE_NORMAL && is_byte(v->text[id])) v->type[id] = KQ_TYPE_BYTE;
    }
}

static kq_status read_converted(kq_metadata *out, kq_hf_config *c, const kq_tokenizer_json *j, kq_tokens *v, kq_error *err) {
    KQ_TRY(kq_tokenizer_json_tokens(j, c, v, err));
    type_converted(v);
    KQ_TRY(score_merges(v, j, err));
    KQ_TRY(kq_tokens_fill(v, -10000, err));
    KQ_TRY(put_head(out, "llama", "default", err));
    KQ_TRY(put_tokens(out, v, true, err));
    KQ_TRY(kq_special_vocab_read(out, c, j, v->n, err));
    KQ_TRY(put_converted_prefix(out, c, j, err));
    return put_known_sizes(out, v, err);
}

static kq_status read_gemma4(kq_metadata *out, kq_hf_config *c, const kq_tokenizer_json *j, kq_tokens *v, kq_error *err) {
    static const char *const shown[] = {"<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>",
                                        "<|\"|>"};
    KQ_TRY(kq_tokenizer_json_tokens(j, c, v, err));
    type_converted(v);
    for (size_t id = 0; id < v->n; id++) {
        v->score[id] = -1000;
        for (size_t i = 0; i < KQ_COUNT(shown); i++) {
            if (v->text[id].data && kq_string_is(v->text[id], shown[i])) v->type[id] = KQ_TYPE_USER;
        }
    }
    KQ_TRY(kq_tokens_fill(v, -1000, err));
    KQ_TRY(put_head(out, "gemma4", NULL, err));
    KQ_TRY(put_tokens(out, v, true, err));
    KQ_TRY(kq_tokenizer_json_merges(j, out, err));
    KQ_TRY(kq_special_vocab_read(out, c, j, v->n, err));
    KQ_TRY(kq_metadata_bool(out, "tokenizer.ggml.add_space_prefix", false, err));
    return kq_metadata_bool(out, "tokenizer.ggml.add_bos_token", true, err);
}

/* ---- which kind -------------------------------------------------------------------------------------------------------- */

static bool is_checkpoint(const kq_hf_config *c) {
    static const char *const keys[] = {"quantization", "quantization_config"};
    for (size_t i = 0; i < KQ_COUNT(keys); i++) {
        const char *mode = json_string_value(json_object_get(json_object_get(c->root, keys[i]), "mode"));
        if (mode && strcmp(mode, "kquant") == 0) return true;
    }
    return false;
}

static kq_status read_any(kq_metadata *out, kq_hf_config *c, const kq_tokenizer_json *j, kq_tokens *v, kq_error *err) {
    bool pieces = false;
    if (j->root && begins(class_of(c), "Gemma4")) return read_gemma4(out, c, j, v, err);
    KQ_TRY(kq_sentencepiece_read(v, c, &pieces, err));
    if (pieces) return read_pieces(out, c, j, v, err);
    if (j->root) return is_converted(j) ? read_converted(out, c, j, v, err) : read_bytes(out, c, j, v, err);
    /* a checkpoint made of a model without vocabulary */
    if (is_checkpoint(c)) return put_head(out, "none", NULL, err);
    return kq_fail_at(err, KQ_E_MODEL, c->folder, KQ_NO_OFFSET, "there is neither tokenizer.json nor tokenizer.model");
}

kq_status kq_vocabulary_read(kq_metadata *out, kq_hf_config *c, kq_error *err) {
    kq_tokenizer_json j;
    kq_tokens v;
    kq_tokens_init(&v, &out->allocator);
    kq_status status = kq_tokenizer_json_open(&j, c, err);
    if (!status) status = read_any(out, c, &j, &v, err);
    kq_tokens_free(&v);
    kq_tokenizer_json_close(&j);
    return status;
}
