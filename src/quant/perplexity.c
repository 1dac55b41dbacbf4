/* SPDX-License-Identifier: MIT */
/* Perplexity, and divergence from a reference model, in one pass and in memory that does not grow.
 *
 * A row of logits (and the reference's beside it) becomes a handful of numbers, rows in parallel; these are added up in the order of
 * rows. Moments are kept as mean and sum of squared deviations (Welford 1962), quantiles in a histogram over the upper bits of binary32.
 * A row is read twice: for its maximum, then for e^(x - maximum), in lanes of a fixed number, so no figure depends on threads or CPU.
 * With S = sum e^(r_i - most) and D = sum e^(r_i - most) (r_i - q_i) over the reference's row r,
 *     KLD = D / S - ln sum e^r_i + ln sum e^q_i
 * whose terms may be large against it: all is in double, so that a divergence of 1e-9 still has digits. (With e^x in binary32, which is
 * twice as fast, the two logarithms alone were off by 1e-7.) It is exactly 0 for equal rows.
 * Source of what is counted: llama.cpp's perplexity tool (the second half of each chunk; BOS in place of the first token). */
#include "base/numeric.h"

#include <kquant/measure.h>

#include <float.h>

enum {
    LANES = 8,
    ROWS = 64,              /* rows that are turned to numbers before these are added up */
    HEAD = 512,             /* tokens that are appended together while no logits are wanted */
    BIN_SHIFT = 13,         /* binary32 has 23 bits of mantissa: 10 of them stay */
    BINS = 0x80000000u >> BIN_SHIFT,
    LOGITS_BYTES = 64 << 20 /* of one model, in kq_perplexity_chunk */
};

typedef struct moments {
    double mean, m2; /* m2: sum of squared deviations from the mean */
} moments;

/* What becomes of one row. */
typedef struct row {
    double nll, reference_nll, kld;
    bool finite, same_top;
} row;

struct kq_perplexity {
    kq_allocator allocator;
    kq_pool *pool;
    size_t n_vocab;
    bool has_reference;
    uint64_t n;
    moments nll, reference_nll, ln_ratio, kld, delta_p, delta_p2;
    double kld_max;
    uint64_t n_same_top;
    uint64_t *bins;           /* [BINS], with a reference */
    float *logits, *reference; /* [logit_rows][n_vocab], for kq_perplexity_chunk */
    size_t logit_rows;
    row rows[ROWS];
    /* What row_task works on. */
    const float *at, *reference_at;
    const int32_t *next;
};

/* ---- open, close --------------------------------------------------------------------------------------------------- */

kq_status kq_perplexity_open(kq_perplexity **out, const kq_perplexity_options *options, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "kq_perplexity_open: out is NULL");
    *out = NULL;
    kq_perplexity_options o;
    kq_options_read(&o, sizeof o, options);
    if (o.n_vocab < 1 || o.n_vocab > INT32_MAX) return kq_fail(err, KQ_E_ARGUMENT, "n_vocab is %u, must be 1 to %d", o.n_vocab, INT32_MAX);
    kq_allocator a = kq_allocator_of(o.allocator);
    kq_perplexity *p = kq_alloc(&a, 1, sizeof *p);
    if (!p) return kq_fail_memory(err, sizeof *p, "perplexity");
    p->allocator = a;
    p->pool = o.pool;
    p->n_vocab = o.n_vocab;
    p->has_reference = o.reference;
    if (o.reference && !(p->bins = kq_alloc(&a, BINS, sizeof *p->bins))) {
        kq_perplexity_close(p);
        return kq_fail_memory(err, BINS * sizeof *p->bins, "perplexity");
    }
    *out = p;
    return KQ_OK;
}

void kq_perplexity_close(kq_perplexity *p) {
    if (!p) return;
    kq_allocator a = p->allocator;
    kq_free(&a, p->bins);
    kq_free(&a, p->logits);
    kq_free(&a, p->reference);
    kq_free(&a, p);
}

/* ---- a row --------------------------------------------------------------------------------------------------------- */

/* The place of the first largest of x[0, n); false when one is not finite. */
static bool find_top(const float *x, size_t n, size_t *top) {
    bool finite = true;
    size_t best = 0;
    for (size_t i = 0; i < n; i++) {
        finite = finite && __builtin_fabsf(x[i]) <= FLT_MAX; /* false for NaN */
        if (x[i] > x[best]) best = i;
    }
    *top = best;
    return finite;
}

static double sum_lanes(const double *lane) { return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7])); }

/* sum e^(x_i - most) */
static double sum_exp(const float *x, size_t n, double most) {
    double lane[LANES] = {0};
    for (size_t i = 0; i < n; i++) lane[i % LANES] += kq_exp((double)x[i] - most);
    return sum_lanes(lane);
}

/* The same of r, and sum e^(r_i - most) (r_i - q_i) */
static double sum_exp_and_gap(const float *r, const float *q, size_t n, double most, double *gap) {
    double lane[LANES] = {0}, gaps[LANES] = {0};
    for (size_t i = 0; i < n; i++) {
        double e = kq_exp((double)r[i] - most);
        lane[i % LANES] += e;
        gaps[i % LANES] += e * ((double)r[i] - (double)q[i]);
    }
    *gap = sum_lanes(gaps);
    return sum_lanes(lane);
}

static void row_task(void *ctx, size_t i, size_t worker) {
    kq_perplexity *p = ctx;
    (void)worker;
    row *out = &p->rows[i];
    const float *q = p->at + i * p->n_vocab, *r = p->reference_at ? p->reference_at + i * p->n_vocab : NULL;
    size_t top, reference_top = 0;
    out->finite = find_top(q, p->n_vocab, &top) && (!r || find_top(r, p->n_vocab, &reference_top));
    if (!out->finite) return;
    double log_q = (double)q[top] + kq_log(sum_exp(q, p->n_vocab, (double)q[top])); /* the sum is at least 1 */
    out->nll = log_q - (double)q[p->next[i]];
    if (!r) return;
    double gap, sum = sum_exp_and_gap(r, q, p->n_vocab, (double)r[reference_top], &gap);
    double log_r = (double)r[reference_top] + kq_log(sum);
    out->reference_nll = log_r - (double)r[p->next[i]];
    out->kld = gap / sum - (log_r - log_q);
    out->same_top = top == reference_top;
}

/* ---- adding up ----------------------------------------------------------------------------------------------------- */

static void moments_add(moments *m, double n, double x) { /* x is the n-th */
    double d = x - m->mean;
    m->mean += d / n;
    m->m2 += d * (x - m->mean);
}

static void row_add(kq_perplexity *p, const row *r) {
    double n = (double)++p->n;
    moments_add(&p->nll, n, r->nll);
    if (!p->has_reference) return;
    moments_add(&p->reference_nll, n, r->reference_nll);
    moments_add(&p->ln_ratio, n, r->nll - r->reference_nll);
    moments_add(&p->kld, n, r->kld);
    double delta = kq_exp(-r->nll) - kq_exp(-r->reference_nll);
    moments_add(&p->delta_p, n, delta);
    moments_add(&p->delta_p2, n, delta * delta);
    p->n_same_top += r->same_top;
    float kld = r->kld > 0 ? (float)r->kld : 0; /* rounding may leave less than 0 */
    p->kld_max = KQ_MAX(p->kld_max, r->kld);
    p->bins[kq_f32_to_bits(kld) >> BIN_SHIFT]++;
}

kq_status kq_perplexity_add(kq_perplexity *p, const float *logits, const float *reference, const int32_t *next, size_t n, kq_error *err) {
    if (!p || (n && (!logits || !next))) return kq_fail(err, KQ_E_ARGUMENT, "kq_perplexity_add: an argument is NULL");
    if (n && p->has_reference != (reference != NULL)) {
        return kq_fail(err, KQ_E_ARGUMENT, "kq_perplexity_add: logits of a reference are %s",
                       p->has_reference ? "missing" : "given, but there is none");
    }
    for (size_t i = 0; i < n; i++) {
        if (next[i] < 0 || (size_t)next[i] >= p->n_vocab) {
            return kq_fail(err, KQ_E_ARGUMENT, "token %zu is %d, not in 0 to %zu", i, next[i], p->n_vocab - 1);
        }
    }
    for (size_t done = 0; done < n;) {
        size_t m = KQ_MIN(n - done, ROWS);
        p->at = logits + done * p->n_vocab;
        p->reference_at = reference ? reference + done * p->n_vocab : NULL;
        p->next = next + done;
        kq_pool_run(p->pool, m, row_task, p);
        for (size_t i = 0; i < m; i++) {
            if (!p->rows[i].finite) return kq_fail(err, KQ_E_MODEL, "the logits after token %zu are not finite", done + i);
        }
        for (size_t i = 0; i < m; i++) row_add(p, &p->rows[i]);
        done += m;
    }
    return KQ_OK;
}

/* ---- chunks -------------------------------------------------------------------------------------------------------- */

static kq_status check_session(const kq_perplexity *p, const kq_session *s, size_t n, kq_error *err) {
    uint64_t n_vocab = kq_model_describe(kq_session_model(s)).n_vocab;
    if (n_vocab != p->n_vocab) {
        return kq_fail(err, KQ_E_ARGUMENT, "a session's vocabulary has %llu tokens, not %zu", (unsigned long long)n_vocab, p->n_vocab);
    }
    size_t capacity = kq_session_capacity(s);
    return n <= capacity ? KQ_OK : kq_fail(err, KQ_E_CONTEXT, "a chunk of %zu tokens needs more than the %zu of its session", n, capacity);
}

static kq_status take_logits(kq_perplexity *p, kq_error *err) {
    size_t row_bytes = p->n_vocab * sizeof(float), rows = KQ_MAX(KQ_MIN(LOGITS_BYTES / row_bytes, HEAD), 1);
    if (!p->logits) p->logits = kq_alloc_raw(&p->allocator, rows, row_bytes);
    if (p->has_reference && !p->reference) p->reference = kq_alloc_raw(&p->allocator, rows, row_bytes);
    if (!p->logits || (p->has_reference && !p->reference)) return kq_fail_memory(err, rows * row_bytes, "logits");
    p->logit_rows = rows;
    return KQ_OK;
}

/* Tokens [first, first + n) of the chunk for one session; their logits too, when wanted. */
static kq_status append(kq_session *s, const int32_t *tokens, size_t first, size_t n, int32_t bos, float *logits, kq_error *err) {
    int32_t copy[HEAD];
    assert(n <= HEAD);
    memcpy(copy, tokens + first, n * sizeof *copy);
    if (first == 0 && bos != KQ_NO_TOKEN) copy[0] = bos;
    return kq_session_append(s, copy, n, logits, logits ? n : 0, err);
}

kq_status kq_perplexity_chunk(kq_perplexity *p, kq_session *s, kq_session *reference, const int32_t *tokens, size_t n, int32_t bos,
                              kq_error *err) {
    if (!p || !s || !tokens) return kq_fail(err, KQ_E_ARGUMENT, "kq_perplexity_chunk: an argument is NULL");
    if (p->has_reference != (reference != NULL)) {
        return kq_fail(err, KQ_E_ARGUMENT, "kq_perplexity_chunk: a reference is given without the option, or missing with it");
    }
    if (n < 4) return kq_fail(err, KQ_E_ARGUMENT, "a chunk of %zu tokens is too short", n);
    kq_session *sessions[2] = {s, reference};
    for (int i = 0; i < 2 && sessions[i]; i++) {
        KQ_TRY(check_session(p, sessions[i], n, err));
        KQ_TRY(kq_session_rewind(sessions[i], 0, err));
    }
    KQ_TRY(take_logits(p, err));
    float *logits[2] = {p->logits, p->reference};
    size_t half = n / 2, end = n - 1; /* the last token has no successor here */
    for (size_t at = 0, m; at < end; at += m) {
        bool counts = at >= half;
        m = KQ_MIN((counts ? end : half) - at, counts ? p->logit_rows : (size_t)HEAD);
        for (int i = 0; i < 2 && sessions[i]; i++) KQ_TRY(append(sessions[i], tokens, at, m, bos, counts ? logits[i] : NULL, err));
        if (counts) KQ_TRY(kq_perplexity_add(p, p->logits, p->reference, tokens + at + 1, m, err));
    }
    return KQ_OK;
}

/* ---- figures ------------------------------------------------------------------------------------------------------- */

static kq_estimate mean_of(const moments *m, uint64_t n) {
    return (kq_estimate){m->mean, n > 1 ? sqrt(m->m2 / (double)n / (double)(n - 1)) : (double)NAN};
}

/* exp of a mean; the error is carried through the derivative. */
static kq_estimate exp_of(const moments *m, uint64_t n) {
    kq_estimate e = mean_of(m, n);
    double value = kq_exp(e.value);
    return (kq_estimate){value, value * e.error};
}

/* The middle of the bin that holds the rank-th smallest divergence (0 is the first). */
static double divergence_at(const kq_perplexity *p, uint64_t rank) {
    uint64_t below = 0;
    uint32_t bin = 0;
    while (bin < BINS - 1 && below + p->bins[bin] <= rank) below += p->bins[bin++];
    if (bin == 0) return 0; /* below 2^-136 */
    return ((double)kq_bits_to_f32(bin << BIN_SHIFT) + (double)kq_bits_to_f32((bin + 1) << BIN_SHIFT)) / 2;
}

static kq_estimate quantile(const kq_perplexity *p, double q) {
    double n = (double)p->n, middle = q * n, off = sqrt(n * q * (1 - q));
    uint64_t last = p->n - 1;
    uint64_t rank = (uint64_t)KQ_MAX(ceil(middle) - 1, 0.0); /* the smallest value that at least q of all do not exceed */
    uint64_t low = (uint64_t)KQ_MAX(floor(middle - off) - 1, 0.0), high = (uint64_t)KQ_MAX(ceil(middle + off) - 1, 0.0);
    double error = p->n > 1 ? (divergence_at(p, KQ_MIN(high, last)) - divergence_at(p, low)) / 2 : (double)NAN;
    return (kq_estimate){KQ_MIN(divergence_at(p, KQ_MIN(rank, last)), p->kld_max), error};
}

kq_status kq_perplexity_result(const kq_perplexity *p, kq_perplexity_figures *out, kq_error *err) {
    if (!p || !out) return kq_fail(err, KQ_E_ARGUMENT, "kq_perplexity_result: an argument is NULL");
    const kq_estimate none = {(double)NAN, (double)NAN};
    *out = (kq_perplexity_figures){p->n, none, none, none, none, none, none, none, none, none, none};
    if (!p->n) return kq_fail(err, KQ_E_ARGUMENT, "no tokens were added");
    out->perplexity = exp_of(&p->nll, p->n);
    if (!p->has_reference) return KQ_OK;
    out->reference_perplexity = exp_of(&p->reference_nll, p->n);
    out->ln_ratio = mean_of(&p->ln_ratio, p->n);
    out->kld_mean = mean_of(&p->kld, p->n);
    out->kld_median = quantile(p, 0.5);
    out->kld_p99 = quantile(p, 0.99);
    out->kld_max.value = p->kld_max;
    double share = (double)p->n_same_top / (double)p->n;
    out->same_top = (kq_estimate){share, p->n > 1 ? sqrt(share * (1 - share) / (double)(p->n - 1)) : (double)NAN};
    out->delta_p_mean = mean_of(&p->delta_p, p->n);
    kq_estimate square = mean_of(&p->delta_p2, p->n);
    double rms = sqrt(square.value);
    out->delta_p_rms = (kq_estimate){rms, rms > 0 ? square.error / (2 * rms) : square.error};
    return KQ_OK;
}
