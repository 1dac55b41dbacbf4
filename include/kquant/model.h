/* SPDX-License-Identifier: MIT */
/* Models, sessions, sampling: a GGUF file speaks.
 *
 * A model is an open file with its program; it is immutable and shared by any number of sessions and threads. A session is one
 * sequence of tokens with its state (KV cache); it belongs to one thread at a time. */
#ifndef KQUANT_MODEL_H
#define KQUANT_MODEL_H

#include <kquant/core.h>
#include <kquant/file.h>
#include <kquant/text.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- model -------------------------------------------------------------------------------------------------------- */

typedef struct kq_model kq_model;

typedef struct kq_model_options {
    size_t struct_size;
    const kq_allocator *allocator;
    /* Called while loading with 0 <= done <= 1, on the calling thread; return false to stop (KQ_E_CANCELLED). */
    bool (*progress)(void *ctx, double done);
    void *progress_ctx;
    bool no_tokenizer; /* do not read the vocabulary: kq_model_tokenizer is NULL, and a vocabulary this version cannot read is no error */
} kq_model_options;

typedef struct kq_model_info {
    const char *architecture; /* "qwen3"; lives as long as the model */
    const char *name;         /* general.name, or "" */
    uint64_t n_vocab, n_layer, n_embd, n_ctx_train, n_params, weight_bytes;
    uint64_t state_bytes_per_token; /* of the KV cache in f16 */
} kq_model_info;

/* `path` is whatever kq_source_open (convert.h) takes: a GGUF, or a folder. Tensors of a folder that must be made are made in memory.
 * KQ_E_IO, KQ_E_FORMAT, KQ_E_LIMIT, KQ_E_MODEL, KQ_E_UNSUPPORTED, KQ_E_PROGRAM, KQ_E_MEMORY, KQ_E_CANCELLED. options may be NULL. */
KQ_API KQ_MUST_CHECK kq_status kq_model_open(kq_model **out, const char *path, const kq_model_options *options, kq_error *err);
KQ_API void kq_model_close(kq_model *m); /* after its sessions */
KQ_API kq_model_info kq_model_describe(const kq_model *m);
KQ_API const kq_tokenizer *kq_model_tokenizer(const kq_model *m); /* NULL without one */
KQ_API const kq_gguf *kq_model_file(const kq_model *m);

/* ---- session ------------------------------------------------------------------------------------------------------ */

typedef struct kq_session kq_session;

typedef enum kq_state_type { KQ_STATE_F16 = 0, KQ_STATE_F32 = 1 } kq_state_type;

/* A product with weights that is about to run: what goes into it. Borrowed, until the callback returns. */
typedef struct kq_observation {
    const char *weight;     /* the tensor's name; of tied output it is the embedding's */
    const float *x;         /* [n_tokens][n_x][n_cols], dense */
    size_t n_tokens, n_cols;
    size_t n_x;             /* rows of x that a token has: 1, or n_used where each of its experts has its own */
    size_t n_experts;       /* 0: a plain product, and n_used is 0 */
    size_t n_used;          /* experts of a token */
    const int32_t *experts; /* [n_tokens][n_used], each in [0, n_experts); NULL for a plain product */
} kq_observation;

typedef struct kq_session_options {
    size_t struct_size;
    const kq_allocator *allocator;
    kq_pool *pool;            /* lent until kq_session_close; NULL = the calling thread */
    uint32_t n_ctx;           /* most tokens in the sequence; 0 = the model's own, at most 4096 */
    uint32_t n_batch;         /* most tokens evaluated together; 0 = 512 */
    kq_state_type state_type; /* of the KV cache */
    kq_mode mode;
    uint32_t cpu_mask;        /* features that kernels may use; 0 = all of this machine's, KQ_CPU_NONE = none */
    /* Called on the thread that evaluates, before each product with weights (embeddings are looked up, not multiplied), in the order of
     * the program, once a batch. NULL costs nothing. It must not use the session. */
    void (*observe)(void *ctx, const kq_observation *o);
    void *observe_ctx;
} kq_session_options;

/* Takes all the memory that the session will ever need. KQ_E_ARGUMENT, KQ_E_MEMORY. */
KQ_API KQ_MUST_CHECK kq_status kq_session_open(kq_session **out, const kq_model *m, const kq_session_options *options, kq_error *err);
KQ_API void kq_session_close(kq_session *s);
/* Bytes that kq_session_open takes: the KV cache and everything else. */
KQ_API KQ_MUST_CHECK kq_status kq_session_bytes(const kq_model *m, const kq_session_options *options, uint64_t *state, uint64_t *scratch,
                                                kq_error *err);

KQ_API const kq_model *kq_session_model(const kq_session *s);
KQ_API size_t kq_session_length(const kq_session *s);       /* tokens in the sequence */
KQ_API size_t kq_session_capacity(const kq_session *s);     /* n_ctx */
KQ_API const int32_t *kq_session_tokens(const kq_session *s); /* kq_session_length of them */

/* Appends n tokens (in batches of at most n_batch, so any n does). The logits of the last n_logits of them (0 to n) are written to
 * `logits`, [n_logits][n_vocab], row by row. On failure the session is as it was before the call.
 * KQ_E_ARGUMENT: a token that is no id, n_logits > n. KQ_E_CONTEXT: more than kq_session_capacity; nothing is evaluated. */
KQ_API KQ_MUST_CHECK kq_status kq_session_append(kq_session *s, const int32_t *tokens, size_t n, float *logits, size_t n_logits, kq_error *err);
/* Keeps the first `length` tokens and forgets the rest. KQ_E_ARGUMENT: length > kq_session_length. */
KQ_API KQ_MUST_CHECK kq_status kq_session_rewind(kq_session *s, size_t length, kq_error *err);
/* Makes the sequence a prefix of `tokens`: rewinds to the longest common prefix (at most n - 1, so that the last token is still to be
 * evaluated and gives logits), and returns how many tokens are kept. Append tokens + kept next. 0 for NULL. */
KQ_API size_t kq_session_reuse(kq_session *s, const int32_t *tokens, size_t n);

/* ---- sampler ------------------------------------------------------------------------------------------------------ */

typedef struct kq_sampler kq_sampler;

/* Choosing a token. The steps and their order are llama.cpp's; a zeroed field is off, not a default.
 *   penalties    a token that is c > 0 times among the last repeat_last_n accepted: its logit l becomes l / repeat_penalty when l > 0, else
 *                l * repeat_penalty; then l - c * frequency_penalty - presence_penalty
 *   top_k        the k largest logits stay
 *   top_p        of these, the fewest of the largest whose probabilities (softmax over these, at temperature 1) reach top_p
 *   min_p        of these, those at least min_p times as probable as the most probable
 *   temperature  softmax(logits / temperature) over what is left, and one draw from it
 * Of equal logits the lower id comes first. A NaN counts as -infinity, which is never chosen. */
typedef struct kq_sampler_options {
    size_t struct_size;
    const kq_allocator *allocator;
    uint64_t seed;
    float temperature;       /* 0 = greedy: the first largest logit after the penalties */
    uint32_t top_k;          /* 0 = off */
    float top_p;             /* 0 or 1 = off */
    float min_p;             /* 0 = off */
    float repeat_penalty;    /* 0 or 1 = off */
    float presence_penalty, frequency_penalty;
    uint32_t repeat_last_n;  /* how many tokens back the three penalties look; 0 = 64, at most 2^20 */
} kq_sampler_options;

/* n_vocab: the length of every logits vector. KQ_E_ARGUMENT: a value that is NaN, negative where that means nothing, or out of range. */
KQ_API KQ_MUST_CHECK kq_status kq_sampler_open(kq_sampler **out, size_t n_vocab, const kq_sampler_options *options, kq_error *err);
KQ_API void kq_sampler_close(kq_sampler *s);
/* Tells the sampler of a token in the sequence (the prompt's too), for the penalties. */
KQ_API void kq_sampler_accept(kq_sampler *s, int32_t token);
/* Forgets the tokens and starts the seed again. */
KQ_API void kq_sampler_reset(kq_sampler *s);
/* Chooses a token and accepts it, without allocating. `logits` is read only. The same seed, tokens and logits give the same token on
 * every machine. KQ_E_ARGUMENT: every logit is NaN or -infinity. */
KQ_API KQ_MUST_CHECK kq_status kq_sampler_draw(kq_sampler *s, const float *logits, int32_t *token, kq_error *err);

/* ---- what runs here ----------------------------------------------------------------------------------------------- */

/* One line per (operation, codec) that a session with this feature mask (0 = all of this machine's, KQ_CPU_NONE = none) would use. Calls `row` for each. */
typedef struct kq_kernel_row {
    const char *op;      /* "decode", "exact", "rows1", ...: src/cpu/kernels.h */
    const char *codec;   /* "q4_k", or "" */
    const char *variant; /* "avx512icl", "generic" */
} kq_kernel_row;
KQ_API void kq_kernels_list(uint32_t cpu_mask, void (*row)(void *ctx, const kq_kernel_row *row), void *ctx);

#ifdef __cplusplus
}
#endif
#endif
