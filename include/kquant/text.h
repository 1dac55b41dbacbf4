/* SPDX-License-Identifier: MIT */
/* Tokenizers: text to ids and back, exactly as the model's own (docs: research of every rule is in docs/tokenizers.md).
 * A tokenizer is immutable: threads share it freely, each with its own kq_detokenizer. */
#ifndef KQUANT_TEXT_H
#define KQUANT_TEXT_H

#include <kquant/core.h>
#include <kquant/file.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kq_tokenizer kq_tokenizer;

enum { KQ_NO_TOKEN = -1 };

typedef struct kq_tokenizer_options {
    size_t struct_size;
    const kq_allocator *allocator;
} kq_tokenizer_options;

/* Reads the vocabulary from GGUF metadata; g may be closed afterwards. Models `llama` (SentencePiece BPE), `gpt2` (byte-level
 * BPE) and `gemma4` (BPE over raw UTF-8) run; an unknown model or pre-tokenizer is KQ_E_UNSUPPORTED, never a guess.
 * KQ_E_MODEL: keys missing, of the wrong kind, or arrays that disagree. KQ_E_MEMORY. */
KQ_API KQ_MUST_CHECK kq_status kq_tokenizer_open(kq_tokenizer **out, const kq_gguf *g, const kq_tokenizer_options *options, kq_error *err);
KQ_API void kq_tokenizer_close(kq_tokenizer *t);

KQ_API size_t kq_tokenizer_size(const kq_tokenizer *t);    /* number of ids */
KQ_API const char *kq_tokenizer_model(const kq_tokenizer *t); /* tokenizer.ggml.model */
KQ_API const char *kq_tokenizer_pre(const kq_tokenizer *t);   /* tokenizer.ggml.pre, or "" */
/* Ids with a role; KQ_NO_TOKEN when the vocabulary has none. */
KQ_API int32_t kq_tokenizer_bos(const kq_tokenizer *t);
KQ_API int32_t kq_tokenizer_eos(const kq_tokenizer *t);
KQ_API bool kq_tokenizer_adds_bos(const kq_tokenizer *t); /* the model expects BOS in front of a prompt */
KQ_API bool kq_tokenizer_adds_eos(const kq_tokenizer *t);
/* The id ends generation (eos, end of turn, ...). False for ids out of range. */
KQ_API bool kq_tokenizer_is_end(const kq_tokenizer *t, int32_t id);
/* The id of a token by its exact text, or KQ_NO_TOKEN. */
KQ_API int32_t kq_tokenizer_find(const kq_tokenizer *t, const char *text, size_t size);

enum {
    KQ_ENCODE_SPECIAL = 1,     /* special tokens written in the text become their ids */
    KQ_ENCODE_ADD_SPECIAL = 2, /* add BOS / EOS where the model's metadata says so */
};
/* Text (any bytes, bad UTF-8 included) to ids. Writes at most `capacity` ids and sets *count to the full number, so a call with
 * ids = NULL and capacity = 0 measures. When *count > capacity the result is KQ_OK and nothing beyond capacity is written.
 * At most 2^30 bytes of text. Time is O(n log n) in the text. KQ_E_ARGUMENT, KQ_E_MEMORY. */
KQ_API KQ_MUST_CHECK kq_status kq_tokenizer_encode(const kq_tokenizer *t, const char *text, size_t size, uint32_t flags, int32_t *ids,
                                                   size_t capacity, size_t *count, kq_error *err);

/* The bytes of one id; *size is set to the full length, at most `capacity` bytes are written. `special`: show control tokens
 * too (they are empty otherwise). KQ_E_ARGUMENT: id out of range. */
KQ_API KQ_MUST_CHECK kq_status kq_tokenizer_piece(const kq_tokenizer *t, int32_t id, bool special, char *bytes, size_t capacity,
                                                  size_t *size, kq_error *err);

/* Incremental detokenisation: holds back the bytes of an unfinished UTF-8 character, so what comes out is always whole
 * characters; bytes that can never be part of one come out as U+FFFD. Plain data, no allocation. */
typedef struct kq_detokenizer {
    const kq_tokenizer *tokenizer;
    bool special;     /* show control tokens */
    bool drop_space;  /* the next piece loses one leading space (SentencePiece, at the start of a text) */
    uint8_t n_held;
    uint8_t held[4];
} kq_detokenizer;
/* at_start: the ids begin a text (a SentencePiece model's leading space is dropped); false to continue a prompt. */
KQ_API void kq_detokenizer_init(kq_detokenizer *d, const kq_tokenizer *t, bool special, bool at_start);
/* Feeds one id. Writes whole characters; *size <= capacity. KQ_E_ARGUMENT: id out of range, or capacity less than
 * kq_detokenizer_capacity (nothing is consumed then). */
KQ_API KQ_MUST_CHECK kq_status kq_detokenizer_feed(kq_detokenizer *d, int32_t id, char *bytes, size_t capacity, size_t *size, kq_error *err);
/* What is held back at the end (an unfinished character becomes U+FFFD). capacity >= 12. */
KQ_API KQ_MUST_CHECK kq_status kq_detokenizer_finish(kq_detokenizer *d, char *bytes, size_t capacity, size_t *size, kq_error *err);
/* A capacity that is enough for any id of this vocabulary. */
KQ_API size_t kq_detokenizer_capacity(const kq_tokenizer *t);

/* Whole sequence to text, with the model's own space rules and clean-up. As kq_tokenizer_encode for capacity and *size. */
KQ_API KQ_MUST_CHECK kq_status kq_tokenizer_decode(const kq_tokenizer *t, const int32_t *ids, size_t count, bool special, char *text,
                                                   size_t capacity, size_t *size, kq_error *err);

#ifdef __cplusplus
}
#endif
#endif
