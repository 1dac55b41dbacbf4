/* SPDX-License-Identifier: MIT */
/* What a model is worth, measured: perplexity and divergence from another model, the importances of its weights' columns, and whether
 * a file is intact. And what a machine is worth: the roofs of its kernels. */
#ifndef KQUANT_MEASURE_H
#define KQUANT_MEASURE_H

#include <kquant/core.h>
#include <kquant/file.h>
#include <kquant/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- perplexity and divergence --------------------------------------------------------------------------------------- */

/* Fed with logits and the tokens that really came next, from any engine. Of a second, reference model the logits of the same tokens
 * are given together with the first's, so nothing is ever stored: memory does not grow with the text. One thread at a time. */
typedef struct kq_perplexity kq_perplexity;

typedef struct kq_perplexity_options {
    size_t struct_size;
    const kq_allocator *allocator;
    kq_pool *pool;     /* lent until kq_perplexity_close; NULL = the calling thread. The figures do not depend on it */
    uint32_t n_vocab;  /* floats in a row of logits */
    bool reference;    /* every kq_perplexity_add gives the reference's logits too */
} kq_perplexity_options;

/* A figure and its standard error, as far as tokens are independent of each other; NaN where there is none. */
typedef struct kq_estimate {
    double value, error;
} kq_estimate;

/* nll is -ln p(the token that came), p = softmax(logits); the divergence of a token is sum over the vocabulary of
 * p_reference ln(p_reference / p), in nats. */
typedef struct kq_perplexity_figures {
    uint64_t n_tokens;
    kq_estimate perplexity;           /* exp(mean of nll) */
    /* With a reference; else NaN. */
    kq_estimate reference_perplexity;
    kq_estimate ln_ratio;             /* ln(perplexity / reference_perplexity): the mean of the differences of nll, and their error */
    kq_estimate kld_mean;
    /* Order statistics, from a histogram over the upper bits of binary32: 1024 bins to a power of two, so within 0.05 %. The error is half of
     * what lies between the ranks one standard deviation (of the binomial distribution) off. */
    kq_estimate kld_median, kld_p99;
    kq_estimate kld_max;              /* exact; the largest seen has no error */
    kq_estimate same_top;             /* share of tokens whose likeliest successor (the first of equals) is the reference's too */
    kq_estimate delta_p_mean;         /* of p(the token that came) - the reference's */
    kq_estimate delta_p_rms;
} kq_perplexity_figures;

/* KQ_E_ARGUMENT, KQ_E_MEMORY. Takes 2 MiB with a reference. */
KQ_API KQ_MUST_CHECK kq_status kq_perplexity_open(kq_perplexity **out, const kq_perplexity_options *options, kq_error *err);
KQ_API void kq_perplexity_close(kq_perplexity *p);
/* n rows of logits [n][n_vocab] and the n tokens that came after them; `reference` [n][n_vocab] exactly when there is one.
 * KQ_E_ARGUMENT: a token that is none; nothing was added. KQ_E_MODEL: a logit that is not finite; rows before it may have been added. */
KQ_API KQ_MUST_CHECK kq_status kq_perplexity_add(kq_perplexity *p, const float *logits, const float *reference, const int32_t *next,
                                                 size_t n, kq_error *err);
/* Evaluates n tokens from the start of a session (and of the reference's, or NULL) and adds those of the second half, as llama.cpp's
 * perplexity does: the tokens behind place n / 2, each from all before it in the chunk. `bos`, unless it is KQ_NO_TOKEN, stands in for the
 * first token. It takes the logits in pieces of at most 64 MiB, of memory that the first call takes.
 * What kq_session_append and kq_perplexity_add return; KQ_E_ARGUMENT too when n < 4 or a session's vocabulary is not n_vocab. */
KQ_API KQ_MUST_CHECK kq_status kq_perplexity_chunk(kq_perplexity *p, kq_session *s, kq_session *reference, const int32_t *tokens, size_t n,
                                                   int32_t bos, kq_error *err);
/* The figures so far. KQ_E_ARGUMENT: no token was added. */
KQ_API KQ_MUST_CHECK kq_status kq_perplexity_result(const kq_perplexity *p, kq_perplexity_figures *out, kq_error *err);

/* ---- calibration ------------------------------------------------------------------------------------------------------ */

/* Collects importances: for each column of a weight the sum of the squares that met it, and how many were summed; each expert by itself.
 * Open it, open a session with observe = kq_calibration_observe and observe_ctx = the calibration, evaluate a text, and ask for the
 * matrix. Weights of layers ("blk.") are collected, router gates among them; output.weight on demand, as in llama.cpp; embeddings never,
 * tied ones neither. Sums are kept in double: 8 bytes a column, for each expert. One thread at a time. */
typedef struct kq_calibration kq_calibration;

typedef struct kq_calibration_options {
    size_t struct_size;
    const kq_allocator *allocator;
    bool output; /* output.weight too */
} kq_calibration_options;

/* One weight that is collected. */
typedef struct kq_calibration_entry { /* borrowed */
    const char *name;
    uint64_t columns, groups; /* groups: experts, or 1 */
    const uint64_t *counts;   /* [groups] rows of activations that were summed */
    uint64_t not_finite;      /* rows that were left out, because they hold NaN or infinity */
} kq_calibration_entry;

/* Takes all the memory that it will need. The model must outlive it. KQ_E_MEMORY, KQ_E_LIMIT. */
KQ_API KQ_MUST_CHECK kq_status kq_calibration_open(kq_calibration **out, const kq_model *m, const kq_calibration_options *options, kq_error *err);
KQ_API void kq_calibration_close(kq_calibration *c);
/* To be a session's observe; ctx is the calibration. Weights that it does not collect are passed over. */
KQ_API void kq_calibration_observe(void *ctx, const kq_observation *o);
KQ_API size_t kq_calibration_n_entries(const kq_calibration *c);
KQ_API bool kq_calibration_entry_at(const kq_calibration *c, size_t i, kq_calibration_entry *out); /* in the model's order; false beyond the end */
/* Adds what a matrix of the same model holds, which was collected before: to continue, or to merge.
 * KQ_E_MODEL: it holds a tensor that is not collected here, another shape, or sums that are not finite or negative; KQ_E_UNSUPPORTED: the
 * old form, which does not count by expert. Nothing is added then. */
KQ_API KQ_MUST_CHECK kq_status kq_calibration_merge(kq_calibration *c, const kq_imatrix *im, kq_error *err);
/* Adds what was collected to a matrix; weights that were never met are left out, as llama.cpp leaves them out. */
KQ_API KQ_MUST_CHECK kq_status kq_calibration_result(const kq_calibration *c, kq_imatrix *im, kq_error *err);

/* ---- verification ------------------------------------------------------------------------------------------------------- */

/* Reads every byte of every tensor: hashes it, and looks for blocks whose scales are NaN or infinite, or that decode to something not
 * finite (of f32, f16, bf16 and f64 a block is one number). The structure was checked when the file opened. */
typedef struct kq_verification kq_verification;

typedef struct kq_verify_options {
    size_t struct_size;
    const kq_allocator *allocator;
    kq_pool *pool; /* NULL: the calling thread */
    /* Called with 0 <= done <= 1, on the calling thread; return false to stop (KQ_E_CANCELLED). */
    bool (*progress)(void *ctx, double done);
    void *progress_ctx;
} kq_verify_options;

typedef struct kq_tensor_check {
    const kq_gguf_tensor *tensor;
    char sha256[65];     /* of its bytes, in hexadecimal */
    uint64_t bad_blocks; /* blocks that are not finite */
    uint64_t row, block; /* of the first of them; the block is counted within its row */
} kq_tensor_check;

/* The file must outlive the result, which is immutable. KQ_E_MEMORY, KQ_E_CANCELLED, and what kq_gguf_tensor_read returns. */
KQ_API KQ_MUST_CHECK kq_status kq_verify_open(kq_verification **out, const kq_gguf *g, const kq_verify_options *options, kq_error *err);
KQ_API void kq_verify_close(kq_verification *v);
KQ_API size_t kq_verify_n_tensors(const kq_verification *v);
KQ_API const kq_tensor_check *kq_verify_tensor_at(const kq_verification *v, size_t i); /* in the file's order; NULL beyond the end */

/* Manifests are text: a line "SHA256  metadata" over all keys and values but split.*, and a line "SHA256  CODEC  DIMS  NAME" a tensor (dims as
 * 256x8192, columns first; NAME, any bytes but a line break, goes to the end of the line). Empty lines and lines that begin with # mean nothing; a
 * manifest without the metadata line compares tensors alone. */
KQ_API KQ_MUST_CHECK kq_status kq_manifest_write(const kq_verification *v, const char *path, kq_error *err);

typedef enum kq_difference { KQ_DIFFERS_BYTES, KQ_DIFFERS_SHAPE, KQ_DIFFERS_MISSING, KQ_DIFFERS_EXTRA, KQ_DIFFERS_METADATA } kq_difference;
/* Calls `report` for each difference: other bytes, another codec or shape, a tensor that the model lacks, one that the manifest lacks, other
 * metadata. Success means that the two were compared. KQ_E_IO; KQ_E_FORMAT: no manifest, the offset is the line's; KQ_E_MEMORY. */
KQ_API KQ_MUST_CHECK kq_status kq_manifest_compare(const kq_verification *v, const char *path,
                                                   void (*report)(void *ctx, kq_difference what, kq_string name), void *ctx, kq_error *err);

/* ---- roofs ------------------------------------------------------------------------------------------------------------- */

/* What bounds a kernel: how fast this machine reads or stores memory, and how many operations its units do, when it does nothing else.
 * A speed means something beside the roof of the same moment. */
typedef enum kq_roof {
    KQ_ROOF_READ,  /* work is bytes */
    KQ_ROOF_STORE,
    KQ_ROOF_F32,   /* work is operations, a multiplication and an addition being two: of floats, fused where the machine can */
    KQ_ROOF_BF16,  /* of bf16 with sums in f32 */
    KQ_ROOF_INT8   /* of int8 with sums in int32 */
} kq_roof;

typedef struct kq_roof_options {
    size_t struct_size;
    kq_pool *pool;     /* each of its threads does its share; NULL: the calling thread */
    uint32_t cpu_mask; /* features that may be used; 0 = all of this machine's, KQ_CPU_NONE = none */
    uint64_t rounds;   /* how many times the work is done; 0: once. Units need some microseconds to wake: 2048 rounds of operations are fair */
    void *memory;      /* of read and store (which overwrites it), at a multiple of 64: each thread has a part of its own */
    size_t bytes;
} kq_roof_options;

/* Does such work, and says in *work how much it was: the clock is the caller's. There are several ways (distances of prefetching; stores
 * that pass the caches), numbered from 0, and the best of them is the roof. *work is 0 when this machine has no such way.
 * KQ_E_ARGUMENT: no such roof, or memory that is missing, not aligned, or too short. */
KQ_API KQ_MUST_CHECK kq_status kq_roof_pass(kq_roof roof, uint32_t way, const kq_roof_options *options, uint64_t *work, kq_error *err);

#ifdef __cplusplus
}
#endif
#endif
