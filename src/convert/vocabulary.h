/* SPDX-License-Identifier: MIT */
/* A vocabulary between the two worlds: what tokenizer.json, tokenizer.model and their companions say, by id, on its way to tokenizer.ggml.*.
 * Which rule is llama.cpp's and which is ours is said where it stands; docs/conversion.md has all of them. */
#ifndef KQ_CONVERT_VOCABULARY_H
#define KQ_CONVERT_VOCABULARY_H

#include "convert/convert.h"
#include "text/text.h"

#include <errno.h>
#include <unistd.h>

enum {
    KQ_TOKENIZER_MAX_BYTES = 100000000,   /* of tokenizer.json and of tokenizer.model: the largest in use has 34 million */
    KQ_TOKENIZER_MAX_DEPTH = 24,
    KQ_TOKENIZER_MAX_VALUES = 1 << 22,    /* of JSON: the largest in use has 1.8 million */
    KQ_TOKENIZER_MAX_HOLES = 1 << 20,     /* ids without a token */
    KQ_TEMPLATE_MAX_BYTES = 1 << 24
};

enum { /* GGUF's token types */
    KQ_TYPE_NORMAL = 1, KQ_TYPE_UNKNOWN = 2, KQ_TYPE_CONTROL = 3, KQ_TYPE_USER = 4, KQ_TYPE_UNUSED = 5, KQ_TYPE_BYTE = 6
};

/* Tokens by id. */
typedef struct kq_tokens {
    kq_allocator allocator;
    kq_arena arena;      /* texts that nobody else has */
    size_t n, capacity;
    kq_string *text;     /* data NULL: no token has this id (yet) */
    int32_t *type;
    float *score;
} kq_tokens;
void kq_tokens_init(kq_tokens *v, const kq_allocator *a);
void kq_tokens_free(kq_tokens *v);
/* Makes room for n ids; those that are new have no text. KQ_E_LIMIT, KQ_E_MEMORY. */
kq_status kq_tokens_resize(kq_tokens *v, uint64_t n, kq_error *err);
/* Gives every id without a text the name [PAD<id>], type unused, and this score. KQ_E_LIMIT: too many of them. */
kq_status kq_tokens_fill(kq_tokens *v, float score, kq_error *err);
/* The text with every U+2581 replaced by a space; borrowed when there is none. data NULL: memory failed. */
kq_string kq_tokens_spaced(kq_tokens *v, kq_string text);
/* What llama.cpp's converter takes for a control token, whatever the files say. */
bool kq_token_looks_special(kq_string text);

static inline bool kq_hf_exists(const char *path) { return access(path, F_OK) == 0 || errno != ENOENT; }
static inline kq_string kq_json_text(const json_t *s) { return (kq_string){json_string_value(s), json_string_length(s)}; }
static inline bool kq_string_is(kq_string s, const char *text) { return s.size == strlen(text) && memcmp(s.data, text, s.size) == 0; }

/* ---- tokenizer_json.c ------------------------------------------------------------------------------------------------- */

/* tokenizer.json, its parts found and their kinds checked; all borrowed from `root`. NULL where the file has null or nothing. */
typedef struct kq_tokenizer_json {
    const char *path;
    json_t *root;
    const json_t *vocab;          /* {text: id} */
    const json_t *merges;         /* ["a b", ...] or [["a", "b"], ...] */
    const json_t *added;          /* added_tokens */
    const json_t *normalizer, *pre_tokenizer, *post_processor, *decoder;
    bool byte_fallback, ignore_merges;
} kq_tokenizer_json;
/* root stays NULL when there is no such file. KQ_E_UNSUPPORTED: a model that is no plain BPE. */
kq_status kq_tokenizer_json_open(kq_tokenizer_json *j, kq_hf_config *c, kq_error *err);
void kq_tokenizer_json_close(kq_tokenizer_json *j);
/* One of added_tokens, or of tokenizer_config.json's added_tokens_decoder. */
typedef struct kq_added_token {
    uint64_t id;
    kq_string text;
    bool special, normalized;
} kq_added_token;
kq_status kq_added_token_read(kq_added_token *t, const json_t *entry, const char *path, kq_error *err);
/* An entry of added_tokens_decoder: its id is the key. */
kq_status kq_added_token_decoder(kq_added_token *t, const char *id, const json_t *entry, const char *path, kq_error *err);
/* Texts of vocab and of added tokens by id, the latter's types; byte-level and raw texts alike. */
kq_status kq_tokenizer_json_tokens(const kq_tokenizer_json *j, const kq_hf_config *c, kq_tokens *v, kq_error *err);
/* Adds tokenizer.ggml.merges. */
kq_status kq_tokenizer_json_merges(const kq_tokenizer_json *j, kq_metadata *out, kq_error *err);
/* Calls `each` with every step of a pre-tokenizer, normalizer or decoder: {"type": "Sequence"} unfolded. False: no list of objects with types. */
bool kq_json_steps(const json_t *steps, bool (*each)(void *ctx, const char *type, const json_t *step), void *ctx);

/* ---- sentencepiece.c -------------------------------------------------------------------------------------------------- */

/* Reads tokenizer.model; *found is false when there is no such file. Texts lie in v's arena. */
kq_status kq_sentencepiece_read(kq_tokens *v, kq_hf_config *c, bool *found, kq_error *err);
kq_status kq_sentencepiece_parse(kq_tokens *v, const void *data, uint64_t size, const char *path, kq_error *err);
/* Pieces, the ids of roles and the rule for the space in front. Texts are any bytes. */
kq_status kq_sentencepiece_write(const kq_tokens *v, const kq_tokenizer *t, const char *path, kq_error *err);

/* ---- special_vocab.c -------------------------------------------------------------------------------------------------- */

/* Adds ids of roles, add_*_token and templates. j: NULL or without root when there is no tokenizer.json. */
kq_status kq_special_vocab_read(kq_metadata *out, kq_hf_config *c, const kq_tokenizer_json *j, size_t n_tokens, kq_error *err);
/* chat_template.c: the templates alone. */
kq_status kq_chat_template_read(kq_metadata *out, kq_hf_config *c, kq_error *err);

/* ---- pre_tokenizer.c -------------------------------------------------------------------------------------------------- */

/* Finds the value of tokenizer.ggml.pre for a byte-level vocabulary, whose other keys are in `m`, and puts it there. */
kq_status kq_pre_tokenizer_find(kq_metadata *m, const kq_tokenizer_json *j, const kq_hf_config *c, kq_error *err);
/* The patterns that tokenizer.json has for a row, KQ_CHAIN_STAGES places. Stages that begin with @ cannot be written. */
const char *const *kq_pre_stages(const kq_pretokenizer *row);
enum { KQ_PRE_PATTERN_BYTES = 4096 };
/* A pattern as tokenizer.json writes it. False: too long. */
bool kq_pre_canonical(const char *pattern, char out[KQ_PRE_PATTERN_BYTES]);

#endif
