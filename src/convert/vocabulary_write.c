/* SPDX-License-Identifier: MIT */
/* The way back: tokenizer.ggml.* as the files that the tokenizers and transformers libraries read.
 *     gpt2     BPE over the byte alphabet; the chain of tokenizer.ggml.pre as steps Split, and ByteLevel
 *     llama    BPE with byte_fallback, its merges made of the scores; and tokenizer.model, which keeps the scores themselves
 *     gemma4   BPE with byte_fallback and its own merges
 * The libraries give the same ids as our tokenizer, but for what docs/conversion.md lists. What they have no form for is an error. */
#include "convert/vocabulary.h"

#include <stdio.h>
#include <stdlib.h>

typedef unsigned long long ull; /* for printf */

/* A GGUF's vocabulary, opened: text and type of every id. */
typedef struct source {
    const kq_gguf *g;
    const kq_tokenizer *t;
    const kq_allocator *allocator;
    const char *folder;
    kq_arena arena;
    kq_string *text;      /* as the file has it */
    uint8_t *type;
    const kq_gguf_value *scores, *merges;
    size_t n;
} source;

static void put(kq_text *out, const char *s) { kq_text_put(out, s); }
static void put_string(kq_text *out, kq_string s) { kq_text_json(out, s.data, s.size); }

/* ---- reading the GGUF ----------------------------------------------------------------------------------------------- */

/* Ids that the reader invents again: they are left out. */
static bool is_filler(const source *s, size_t id) {
    char name[32];
    snprintf(name, sizeof name, "[PAD%zu]", id);
    return s->type[id] == KQ_TYPE_UNUSED && kq_string_is(s->text[id], name);
}

static bool is_added(const source *s, size_t id) {
    return s->type[id] == KQ_TYPE_CONTROL || s->type[id] == KQ_TYPE_USER || s->type[id] == KQ_TYPE_UNKNOWN;
}

static kq_status read_source(source *s, kq_error *err) {
    const kq_gguf_value *types = kq_gguf_find(s->g, "tokenizer.ggml.token_type");
    s->n = kq_tokenizer_size(s->t);
    s->scores = kq_gguf_find(s->g, "tokenizer.ggml.scores");
    s->merges = kq_gguf_find(s->g, "tokenizer.ggml.merges");
    s->text = kq_alloc(s->allocator, s->n, sizeof *s->text);
    s->type = kq_alloc(s->allocator, s->n, 1);
    if (!s->text || !s->type) return kq_fail_memory(err, s->n * (sizeof *s->text + 1), "a vocabulary");
    kq_gguf_strings it = kq_gguf_strings_of(kq_gguf_find(s->g, "tokenizer.ggml.tokens"));
    for (size_t id = 0; id < s->n && kq_gguf_strings_next(&it, &s->text[id]); id++) {
        int64_t type = KQ_TYPE_NORMAL;
        if (types) (void)kq_gguf_element_i64(types, id, &type);
        s->type[id] = type >= KQ_TYPE_NORMAL && type <= KQ_TYPE_BYTE ? (uint8_t)type : KQ_TYPE_UNUSED;
        if (!s->text[id].size || !kq_is_utf8(s->text[id].data, s->text[id].size) || memchr(s->text[id].data, 0, s->text[id].size)) {
            return kq_fail(err, KQ_E_UNSUPPORTED, "token %zu '%s': JSON has no form for it (empty, a byte 0, or no UTF-8)", id, KQ_SHOW(s->text[id]));
        }
    }
    return KQ_OK;
}

/* The text of the token that a key names, data NULL when there is none. */
static kq_string role(const source *s, const char *name) {
    char key[64];
    int64_t id = -1;
    snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", name);
    if (!kq_gguf_element_i64(kq_gguf_find(s->g, key), 0, &id) || id < 0 || (uint64_t)id >= s->n) return (kq_string){0};
    return s->text[id];
}

/* ---- parts of tokenizer.json ------------------------------------------------------------------------------------------ */

static void put_added(kq_text *out, const source *s) {
    bool first = true;
    put(out, "  \"added_tokens\": [");
    for (size_t id = 0; id < s->n; id++) {
        if (!is_added(s, id)) continue;
        put(out, first ? "\n    {\"id\": " : ",\n    {\"id\": ");
        kq_text_u64(out, id);
        put(out, ", \"content\": ");
        put_string(out, s->text[id]);
        put(out, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": ");
        put(out, s->type[id] == KQ_TYPE_USER ? "false}" : "true}");
        first = false;
    }
    put(out, first ? "],\n" : "\n  ],\n");
}

static void put_special(kq_text *out, kq_string token, int type_id) {
    put(out, "{\"SpecialToken\": {\"id\": ");
    put_string(out, token);
    put(out, type_id ? ", \"type_id\": 1}}" : ", \"type_id\": 0}}");
}

static void put_template(kq_text *out, const char *name, bool pair, kq_string bos, kq_string eos) {
    put(out, "    \"");
    put(out, name);
    put(out, "\": [");
    for (int i = 0; i < 1 + pair; i++) {
        if (i) put(out, ", ");
        if (bos.data) {
            put_special(out, bos, i);
            put(out, ", ");
        }
        put(out, i ? "{\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}" : "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}");
        if (eos.data) {
            put(out, ", ");
            put_special(out, eos, i);
        }
    }
    put(out, "],\n");
}

static void put_template_ids(kq_text *out, kq_string token, int32_t id, bool more) {
    put_string(out, token);
    put(out, ": {\"id\": ");
    put_string(out, token);
    put(out, ", \"ids\": [");
    kq_text_u64(out, (uint64_t)id);
    put(out, "], \"tokens\": [");
    put_string(out, token);
    put(out, more ? "]}, " : "]}");
}

/* BOS in front and EOS behind, where the model adds them; the text alone says that it adds nothing. */
static void put_post_processor(kq_text *out, const source *s) {
    bool adds[2] = {kq_tokenizer_adds_bos(s->t), kq_tokenizer_adds_eos(s->t)};
    int32_t ids[2] = {kq_tokenizer_bos(s->t), kq_tokenizer_eos(s->t)};
    kq_string bos = adds[0] ? s->text[ids[0]] : (kq_string){0}, eos = adds[1] ? s->text[ids[1]] : (kq_string){0};
    put(out, "  \"post_processor\": {\n    \"type\": \"TemplateProcessing\",\n");
    put_template(out, "single", false, bos, eos);
    put_template(out, "pair", true, bos, eos);
    put(out, "    \"special_tokens\": {");
    if (bos.data) put_template_ids(out, bos, ids[0], eos.data && ids[1] != ids[0]);
    if (eos.data && !(bos.data && ids[1] == ids[0])) put_template_ids(out, eos, ids[1], false);
    put(out, "}\n  },\n");
}

/* {text: id} of everything but the fillers. Added tokens that the merges do not make need not be here, but may. */
static void put_vocab(kq_text *out, const source *s) {
    bool first = true;
    put(out, "    \"vocab\": {");
    for (size_t id = 0; id < s->n; id++) {
        if (is_filler(s, id)) continue;
        put(out, first ? "\n      " : ",\n      ");
        put_string(out, s->text[id]);
        put(out, ": ");
        kq_text_u64(out, id);
        first = false;
    }
    put(out, "\n    },\n");
}

static void put_merge(kq_text *out, kq_string left, kq_string right, bool first) {
    put(out, first ? "\n      [" : ",\n      [");
    put_string(out, left);
    put(out, ", ");
    put_string(out, right);
    put(out, "]");
}

static bool is_token(const source *s, kq_string text) {
    int32_t id = kq_tokenizer_find(s->t, text.data, text.size);
    return id != KQ_NO_TOKEN && !is_filler(s, (size_t)id);
}

/* The merges of the file. The libraries refuse one whose parts or result are no tokens. */
static kq_status put_merges(kq_text *out, const source *s, kq_error *err) {
    kq_gguf_strings it = kq_gguf_strings_of(s->merges);
    kq_string merge;
    char *joined = kq_alloc_raw(s->allocator, 2 * KQ_VOCAB_MAX_TOKEN, 1);
    if (!joined) return kq_fail_memory(err, 2 * KQ_VOCAB_MAX_TOKEN, "a merge");
    kq_status status = KQ_OK;
    put(out, "    \"merges\": [");
    for (size_t i = 0; !status && kq_gguf_strings_next(&it, &merge); i++) {
        const char *space = memchr(merge.data + 1, ' ', merge.size - 1); /* it is there: the tokenizer has opened */
        kq_string left = {merge.data, (size_t)(space - merge.data)}, right = {space + 1, merge.size - left.size - 1};
        bool fits = merge.size <= 2 * KQ_VOCAB_MAX_TOKEN;
        if (fits) {
            memcpy(joined, left.data, left.size);
            memcpy(joined + left.size, right.data, right.size);
        }
        if (!fits || !is_token(s, left) || !is_token(s, right) || !is_token(s, (kq_string){joined, merge.size - 1})) {
            status = kq_fail(err, KQ_E_UNSUPPORTED, "merge %zu '%s': tokenizer.json has no form for it, a part or the result is no token", i,
                             KQ_SHOW(merge));
        } else {
            put_merge(out, left, right, i == 0);
        }
    }
    put(out, "\n    ]\n");
    kq_free(s->allocator, joined);
    return status;
}

/* ---- byte-level BPE --------------------------------------------------------------------------------------------------- */

static kq_status put_pre_tokenizer(kq_text *out, const source *s, kq_error *err) {
    const char *pre = kq_tokenizer_pre(s->t);
    const char *const *stages = kq_pre_stages(kq_pretokenizer_find(*pre ? pre : "default"));
    put(out, "  \"pre_tokenizer\": {\n    \"type\": \"Sequence\",\n    \"pretokenizers\": [\n");
    for (size_t i = 0; i < KQ_CHAIN_STAGES && stages[i]; i++) {
        char pattern[KQ_PRE_PATTERN_BYTES];
        if (*stages[i] == '@' || strstr(stages[i], "\\p{Han}") || !kq_pre_canonical(stages[i], pattern)) {
            return kq_fail(err, KQ_E_UNSUPPORTED, "tokenizer.ggml.pre '%s': its pieces have no form in tokenizer.json", pre);
        }
        put(out, "      {\"type\": \"Split\", \"pattern\": {\"Regex\": ");
        kq_text_json(out, pattern, strlen(pattern));
        put(out, "}, \"behavior\": \"Isolated\", \"invert\": false},\n");
    }
    put(out, "      {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": false}\n    ]\n  },\n");
    return KQ_OK;
}

static void put_model_head(kq_text *out, const char *unk, bool fuse, bool fallback, bool ignore) {
    put(out, "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": ");
    if (unk) kq_text_json(out, unk, strlen(unk));
    else put(out, "null");
    put(out, ",\n    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n    \"fuse_unk\": ");
    put(out, fuse ? "true" : "false");
    put(out, ",\n    \"byte_fallback\": ");
    put(out, fallback ? "true" : "false");
    put(out, ",\n    \"ignore_merges\": ");
    put(out, ignore ? "true,\n" : "false,\n");
}

static kq_status put_bytes(kq_text *out, const source *s, kq_error *err) {
    put(out, "  \"normalizer\": null,\n");
    KQ_TRY(put_pre_tokenizer(out, s, err));
    put_post_processor(out, s);
    put(out, "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, \"use_regex\": true},\n");
    put_model_head(out, NULL, false, false, s->t->flags & KQ_PRE_IGNORE_MERGES);
    put_vocab(out, s);
    return put_merges(out, s, err);
}

/* ---- SentencePiece ------------------------------------------------------------------------------------------------------ */

enum { MAX_PIECE = 1024 }; /* bytes of a piece that is taken apart, which takes the square of them */

static bool earlier(const void *ctx, uint32_t a, uint32_t b) {
    const source *s = ctx;
    double x = 0, y = 0;
    (void)kq_gguf_element_f64(s->scores, a, &x);
    (void)kq_gguf_element_f64(s->scores, b, &y);
    return x != y ? x > y : a < b;
}

/* The merges that the scores stand for: a token of the highest score first, of equals the lower id; and of one token all ways to cut it in two
 * tokens, the longest left part first, which is the order of the library's own converter. */
static kq_status put_scored_merges(kq_text *out, const source *s, kq_error *err) {
    uint32_t *order = kq_alloc(s->allocator, s->n, sizeof *order);
    bool first = true;
    if (!order) return kq_fail_memory(err, s->n * sizeof *order, "the order of tokens");
    for (size_t i = 0; i < s->n; i++) order[i] = (uint32_t)i;
    kq_sort_indices(order, s->n, earlier, s);
    put(out, "    \"merges\": [");
    for (size_t i = 0; i < s->n; i++) {
        kq_string text = s->text[order[i]];
        uint8_t type = s->type[order[i]];
        if (type == KQ_TYPE_CONTROL || type == KQ_TYPE_UNKNOWN || is_filler(s, order[i])) continue; /* never made of text */
        if (text.size > MAX_PIECE) {
            kq_free(s->allocator, order);
            return kq_fail(err, KQ_E_LIMIT, "token %u has %zu bytes, the limit is %d where merges are made of scores", (unsigned)order[i], text.size,
                           MAX_PIECE);
        }
        for (size_t left = text.size - 1; left > 0; left--) {
            kq_string l = {text.data, left}, r = {text.data + left, text.size - left};
            if (((uint8_t)*r.data & 0xc0) == 0x80 || !is_token(s, l) || !is_token(s, r)) continue;
            put_merge(out, l, r, first);
            first = false;
        }
    }
    put(out, "\n    ]\n");
    kq_free(s->allocator, order);
    return KQ_OK;
}

static const char *unknown_text(const source *s, kq_arena *arena) {
    kq_string unk = role(s, "unknown");
    for (size_t id = 0; !unk.data && id < s->n; id++) {
        if (s->type[id] == KQ_TYPE_UNKNOWN) unk = s->text[id];
    }
    return unk.data ? kq_arena_string(arena, unk.data, unk.size) : NULL;
}

static kq_status put_pieces(kq_text *out, source *s, kq_error *err) {
    bool prefix = s->t->add_space_prefix, raw = s->t->kind == KQ_TEXT_BPE;
    put(out, "  \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [");
    if (prefix) put(out, "{\"type\": \"Prepend\", \"prepend\": \"\xe2\x96\x81\"}, ");
    put(out, "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\xe2\x96\x81\"}]},\n");
    /* gemma4 keeps line ends apart from the rest */
    put(out, raw ? "  \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"[^\\\\n]+|[\\\\n]+\"}, \"behavior\": \"Isolated\", "
                   "\"invert\": false},\n"
                 : "  \"pre_tokenizer\": null,\n");
    put_post_processor(out, s);
    put(out, "  \"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": \"\xe2\x96\x81\"}, "
             "\"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}");
    if (prefix) put(out, ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}");
    put(out, "]},\n");
    put_model_head(out, unknown_text(s, &s->arena), true, true, false);
    put_vocab(out, s);
    return raw ? put_merges(out, s, err) : put_scored_merges(out, s, err);
}

static kq_status write_tokenizer_json(source *s, const char *path, kq_error *err) {
    kq_text out = {.allocator = s->allocator};
    put(&out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n");
    put_added(&out, s);
    kq_status status = s->t->kind == KQ_TEXT_BPE && !(s->t->flags & KQ_PRE_RAW) ? put_bytes(&out, s, err) : put_pieces(&out, s, err);
    put(&out, "  }\n}\n");
    if (!status) status = kq_text_write(&out, path, err);
    kq_free(s->allocator, out.data);
    return status;
}

/* ---- the other files ---------------------------------------------------------------------------------------------------- */

/* Owns `value`. False when memory fails (jansson's sets take NULL for that). */
static bool set(json_t *object, const char *key, json_t *value) { return json_object_set_new(object, key, value) == 0; }
static json_t *text_value(kq_string s) { return json_stringn(s.data, s.size); }

/* Templates of several names, or one whose line ends a file would not keep, stand in the configuration; one alone has its own file. */
static bool add_templates(json_t *config, const source *s, kq_string *file) {
    static const char prefix[] = "tokenizer.chat_template";
    json_t *list = json_array();
    kq_string plain = {0};
    bool fine = list != NULL;
    for (size_t i = 0; fine && i < kq_gguf_n_values(s->g); i++) {
        const kq_gguf_value *value = kq_gguf_value_at(s->g, i);
        const char *name = value->key.data + sizeof prefix - 1;
        kq_string text;
        if (strncmp(value->key.data, prefix, sizeof prefix - 1) != 0 || !kq_gguf_scalar_string(value, &text)) continue;
        if (!*name) plain = text;
        if (*name == '.' && name[1]) {
            fine = json_array_append_new(list, json_pack("{s:s, s:o}", "name", name + 1, "template", text_value(text))) == 0;
        }
    }
    if (json_array_size(list) && plain.data) {
        fine = fine && json_array_insert_new(list, 0, json_pack("{s:s, s:o}", "name", "default", "template", text_value(plain))) == 0;
    }
    if (json_array_size(list)) {
        fine = fine && set(config, "chat_template", json_incref(list));
    } else if (plain.data && plain.size && memchr(plain.data, '\r', plain.size)) {
        fine = fine && set(config, "chat_template", text_value(plain));
    } else {
        *file = plain;
    }
    json_decref(list);
    return fine;
}

static bool add_flags(json_t *config, const source *s) {
    const kq_gguf_value *prefix = kq_gguf_find(s->g, "tokenizer.ggml.add_space_prefix");
    int64_t length = 0;
    for (size_t i = 0; i < kq_gguf_n_values(s->g); i++) { /* <architecture>.context_length */
        const kq_gguf_value *value = kq_gguf_value_at(s->g, i);
        const char *dot = strchr(value->key.data, '.');
        if (dot && strcmp(dot, ".context_length") == 0) (void)kq_gguf_element_i64(value, 0, &length);
    }
    return set(config, "tokenizer_class", json_string("PreTrainedTokenizerFast")) &&
           set(config, "clean_up_tokenization_spaces", json_boolean(s->t->clean_spaces)) &&
           set(config, "add_bos_token", json_boolean(kq_tokenizer_adds_bos(s->t))) &&
           set(config, "add_eos_token", json_boolean(kq_tokenizer_adds_eos(s->t))) &&
           (!prefix || set(config, "add_prefix_space", json_boolean(s->t->add_space_prefix))) &&
           (length <= 0 || set(config, "model_max_length", json_integer(length)));
}

/* Tokens that the pieces of tokenizer.model do not say the type of: user-defined ones. */
static bool add_decoder(json_t *config, const source *s) {
    json_t *decoder = json_object();
    bool fine = decoder != NULL;
    for (size_t id = 0; fine && s->t->kind == KQ_TEXT_SPM && id < s->n; id++) {
        char key[24];
        if (s->type[id] != KQ_TYPE_USER) continue;
        snprintf(key, sizeof key, "%zu", id);
        fine = set(decoder, key, json_pack("{s:o, s:b, s:b, s:b, s:b, s:b}", "content", text_value(s->text[id]), "lstrip", 0, "normalized", 0,
                                           "rstrip", 0, "single_word", 0, "special", 0));
    }
    if (fine && json_object_size(decoder)) fine = set(config, "added_tokens_decoder", json_incref(decoder));
    json_decref(decoder);
    return fine;
}

static bool add_roles(json_t *config, const source *s) {
    static const char *const names[][2] = {{"bos", "bos_token"},       {"eos", "eos_token"},   {"unknown", "unk_token"}, {"seperator", "sep_token"},
                                           {"padding", "pad_token"},   {"mask", "mask_token"}, {"eot", "eot_token"},     {"eom", "eom_token"}};
    for (size_t i = 0; i < KQ_COUNT(names); i++) {
        kq_string text = role(s, names[i][0]);
        if (text.data && !set(config, names[i][1], text_value(text))) return false;
    }
    return true;
}

static kq_status write_config(const source *s, const char *path, const char *template_path, kq_error *err) {
    json_t *config = json_object();
    kq_string template = {0};
    kq_text out = {.allocator = s->allocator}, file = {.allocator = s->allocator};
    bool fine = config && add_flags(config, s) && add_roles(config, s) && add_decoder(config, s) && add_templates(config, s, &template);
    kq_status status = fine ? KQ_OK : kq_fail(err, KQ_E_UNSUPPORTED, "tokenizer_config.json cannot be made: memory, or a template that is no UTF-8");
    if (!status) {
        kq_text_value(&out, config);
        put(&out, "\n");
        status = kq_text_write(&out, path, err);
    }
    if (!status && template.size) {
        kq_text_add(&file, template.data, template.size);
        status = kq_text_write(&file, template_path, err);
    }
    kq_free(s->allocator, out.data);
    kq_free(s->allocator, file.data);
    json_decref(config);
    return status;
}

static const char *path_of(source *s, const char *name) {
    size_t size = strlen(s->folder) + strlen(name) + 2;
    char *path = kq_arena_alloc(&s->arena, size, 1);
    if (path) snprintf(path, size, "%s/%s", s->folder, name);
    return path;
}

/* tokenizer.model: pieces by id, with their scores; fillers too, since ids are places. */
static kq_status write_sentencepiece(source *s, const char *path, kq_error *err) {
    kq_tokens v;
    kq_tokens_init(&v, s->allocator);
    kq_status status = kq_tokens_resize(&v, s->n, err);
    for (size_t id = 0; !status && id < s->n; id++) {
        double score = 0;
        (void)kq_gguf_element_f64(s->scores, id, &score);
        v.text[id] = s->text[id];
        v.type[id] = s->type[id];
        v.score[id] = (float)score;
    }
    if (!status) status = kq_sentencepiece_write(&v, s->t, path, err);
    kq_tokens_free(&v);
    return status;
}

static kq_status write_all(source *s, kq_error *err) {
    const char *names[] = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "tokenizer.model"}, *paths[4];
    for (size_t i = 0; i < KQ_COUNT(names); i++) {
        paths[i] = path_of(s, names[i]);
        if (!paths[i]) return kq_fail_memory(err, strlen(s->folder), "a path");
    }
    KQ_TRY(read_source(s, err));
    KQ_TRY(write_tokenizer_json(s, paths[0], err));
    KQ_TRY(write_config(s, paths[1], paths[2], err));
    return s->t->kind == KQ_TEXT_SPM ? write_sentencepiece(s, paths[3], err) : KQ_OK;
}

kq_status kq_vocabulary_write(const kq_gguf *g, const char *folder, const kq_allocator *a, kq_error *err) {
    kq_allocator allocator = kq_allocator_of(a);
    kq_tokenizer_options o = KQ_OPTIONS_INIT(kq_tokenizer_options);
    o.allocator = a;
    kq_tokenizer *t = NULL;
    if (!kq_gguf_find(g, "tokenizer.ggml.model")) return KQ_OK;
    KQ_TRY(kq_tokenizer_open(&t, g, &o, err));
    source s = {.g = g, .t = t, .allocator = &allocator, .folder = folder};
    kq_arena_init(&s.arena, &allocator);
    kq_status status = KQ_OK;
    if (t->flags & KQ_PRE_RAW && strcmp(kq_tokenizer_model(t), "gemma4") != 0) {
        status = kq_fail(err, KQ_E_UNSUPPORTED, "tokenizer.ggml.pre '%s': its texts have no form in tokenizer.json", kq_tokenizer_pre(t));
    } else if (t->kind == KQ_TEXT_BPE || t->kind == KQ_TEXT_SPM) {
        status = write_all(&s, err);
    }
    kq_free(&allocator, s.text);
    kq_free(&allocator, s.type);
    kq_arena_free(&s.arena);
    kq_tokenizer_close(t);
    return status;
}
