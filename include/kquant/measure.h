/* SPDX-License-Identifier: MIT */
/* What a model is worth, measured: perplexity and divergence from another model, the importances of its weights' columns, and whether
 * a file is intact. */
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

#ifdef __cplusplus
}
#endif
#endif
