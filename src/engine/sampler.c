/* SPDX-License-Identifier: MIT */
/* The sampler: penalties, top-k, top-p, min-p, temperature, draw. include/kquant/model.h defines each.
 *
 * Nothing is sorted. Both top-k and top-p keep a first part of the candidates in descending order, up to where their weights reach
 * a target: k when each weighs 1, p of the total when each weighs e^(logit - largest). keep_first finds the logit where that
 * happens digit by digit, in histograms of the logits' bits, so its time is linear for any logits; equal logits count in the order of
 * ids. Candidates stay in the order of ids throughout, and all sums are in double in that order.
 *
 * Random numbers are SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014). */
#include "base/numeric.h"

#include <kquant/model.h>

#include <float.h>

enum {
    DIGITS = 1 << 11, /* the most values of a digit */
    DEFAULT_LAST_N = 64,
    MOST_LAST_N = 1 << 20
};

struct kq_sampler {
    kq_allocator allocator;
    kq_sampler_options o; /* off is 0 for top_p, 1 for repeat_penalty */
    size_t n_vocab;
    uint64_t random;
    /* Penalties only, else NULL: the last tokens in a ring, and how often each token is in it. */
    int32_t *ring;
    uint32_t *count;
    size_t ring_at, ring_used;
    float *penalised; /* [n_vocab] */
    /* Candidates; NULL when greedy. */
    size_t n;
    uint32_t *id;
    float *logit;
    double *weight;
    double bins[DIGITS];
};

/* ---- open, close ----------------------------------------------------------------------------------------------------- */

static kq_status check(const kq_sampler_options *o, size_t n_vocab, kq_error *err) {
    const struct {
        const char *name;
        float value, low, high;
    } fields[] = {
        {"temperature", o->temperature, 0, FLT_MAX},
        {"top_p", o->top_p, 0, 1},
        {"min_p", o->min_p, 0, 1},
        {"repeat_penalty", o->repeat_penalty, 0, FLT_MAX},
        {"presence_penalty", o->presence_penalty, -FLT_MAX, FLT_MAX},
        {"frequency_penalty", o->frequency_penalty, -FLT_MAX, FLT_MAX},
    };
    for (size_t i = 0; i < KQ_COUNT(fields); i++) {
        float v = fields[i].value;
        if (v >= fields[i].low && v <= fields[i].high) continue; /* false for NaN */
        return kq_fail(err, KQ_E_ARGUMENT, "%s is %g, must be from %g to %g", fields[i].name, (double)v, (double)fields[i].low,
                       (double)fields[i].high);
    }
    if (o->repeat_last_n > MOST_LAST_N) {
        return kq_fail(err, KQ_E_ARGUMENT, "repeat_last_n is %u, the limit is %d", o->repeat_last_n, MOST_LAST_N);
    }
    if (n_vocab == 0 || n_vocab > INT32_MAX) return kq_fail(err, KQ_E_ARGUMENT, "n_vocab is %zu, must be 1 to %d", n_vocab, INT32_MAX);
    return KQ_OK;
}

kq_status kq_sampler_open(kq_sampler **out, size_t n_vocab, const kq_sampler_options *options, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "kq_sampler_open: out is NULL");
    *out = NULL;
    kq_sampler_options o;
    kq_options_read(&o, sizeof o, options);
    KQ_TRY(check(&o, n_vocab, err));
    if (o.top_p >= 1.0f) o.top_p = 0;
    if (o.repeat_penalty == 0) o.repeat_penalty = 1;
    if (o.repeat_last_n == 0) o.repeat_last_n = DEFAULT_LAST_N;
    kq_allocator a = kq_allocator_of(o.allocator);
    kq_sampler *s = kq_alloc(&a, 1, sizeof *s);
    if (!s) return kq_fail_memory(err, sizeof *s, "a sampler");
    s->allocator = a;
    s->o = o;
    s->n_vocab = n_vocab;
    bool penalties = o.repeat_penalty != 1 || o.presence_penalty != 0 || o.frequency_penalty != 0, greedy = o.temperature == 0;
    if (penalties) {
        s->ring = kq_alloc_raw(&a, o.repeat_last_n, sizeof *s->ring);
        s->count = kq_alloc(&a, n_vocab, sizeof *s->count);
        s->penalised = kq_alloc_raw(&a, n_vocab, sizeof *s->penalised);
    }
    if (!greedy) {
        s->id = kq_alloc_raw(&a, n_vocab, sizeof *s->id);
        s->logit = kq_alloc_raw(&a, n_vocab, sizeof *s->logit);
        s->weight = kq_alloc_raw(&a, n_vocab, sizeof *s->weight);
    }
    if ((penalties && (!s->ring || !s->count || !s->penalised)) || (!greedy && (!s->id || !s->logit || !s->weight))) {
        kq_sampler_close(s);
        return kq_fail_memory(err, 24 * (uint64_t)n_vocab, "a sampler");
    }
    s->random = o.seed;
    *out = s;
    return KQ_OK;
}

void kq_sampler_close(kq_sampler *s) {
    if (!s) return;
    kq_allocator a = s->allocator;
    kq_free(&a, s->ring);
    kq_free(&a, s->count);
    kq_free(&a, s->penalised);
    kq_free(&a, s->id);
    kq_free(&a, s->logit);
    kq_free(&a, s->weight);
    kq_free(&a, s);
}

void kq_sampler_reset(kq_sampler *s) {
    s->random = s->o.seed;
    s->ring_at = s->ring_used = 0;
    if (s->count) memset(s->count, 0, s->n_vocab * sizeof *s->count);
}

/* ---- penalties ------------------------------------------------------------------------------------------------------- */

void kq_sampler_accept(kq_sampler *s, int32_t token) {
    if (!s->ring || token < 0 || (size_t)token >= s->n_vocab) return;
    if (s->ring_used == s->o.repeat_last_n) {
        s->count[s->ring[s->ring_at]]--;
    } else {
        s->ring_used++;
    }
    s->ring[s->ring_at] = token;
    s->count[token]++;
    assert(s->o.repeat_last_n > 0); /* there would be no ring */
    s->ring_at = (s->ring_at + 1) % s->o.repeat_last_n;
}

/* The logits after the penalties: a copy with the tokens of the ring changed, each from its own logit, however often it is there. */
static const float *penalise(kq_sampler *s, const float *logits) {
    if (!s->ring) return logits;
    memcpy(s->penalised, logits, s->n_vocab * sizeof *logits);
    for (size_t i = 0; i < s->ring_used; i++) {
        int32_t token = s->ring[i];
        float l = logits[token];
        l = l > 0 ? l / s->o.repeat_penalty : l * s->o.repeat_penalty;
        s->penalised[token] = l - ((float)s->count[token] * s->o.frequency_penalty + s->o.presence_penalty);
    }
    return s->penalised;
}

/* ---- filters --------------------------------------------------------------------------------------------------------- */

/* Larger floats have larger keys; both zeros have the same. No NaN comes here. */
static uint32_t key_of(float logit) {
    uint32_t bits = kq_f32_to_bits(logit + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* logit - largest; equal infinities are as equal as other numbers. */
static double below(float logit, float largest) { return logit == largest ? 0.0 : (double)logit - (double)largest; }

/* Adds up in bins the weights of candidates whose key is `prefix` above the digit at `shift`, by that digit, and goes down from the
 * largest digit until *done + the bin reaches the target. Returns the digit, and leaves in *done what lies above it. Where rounding
 * keeps the sum under the target, that is the smallest digit there is. */
static uint32_t find_digit(kq_sampler *s, const double *weight, uint32_t prefix, int shift, int bits, double target, double *done) {
    const uint32_t n_digits = 1u << bits;
    memset(s->bins, 0, n_digits * sizeof *s->bins);
    for (size_t i = 0; i < s->n; i++) {
        uint32_t key = key_of(s->logit[i]);
        if ((uint64_t)key >> (shift + bits) == prefix) s->bins[key >> shift & (n_digits - 1)] += weight ? weight[i] : 1.0;
    }
    uint32_t lowest = 0;
    double above = *done;
    for (uint32_t digit = n_digits; digit-- > 0;) {
        if (s->bins[digit] == 0) continue;
        lowest = digit;
        *done = above;
        above += s->bins[digit];
        if (above >= target) break;
    }
    return lowest;
}

/* Keeps the candidates whose key, without its last `shift` bits, is at least `least`; of those that equal it, only as many in the
 * order of ids as it takes from *done to the target, when `ties`. */
static void keep_from(kq_sampler *s, double *weight, uint32_t least, int shift, bool ties, double target, double done) {
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++) {
        uint32_t key = key_of(s->logit[i]) >> shift;
        if (key < least || (ties && key == least && done >= target)) continue;
        if (key == least && ties) done += weight ? weight[i] : 1.0;
        s->id[kept] = s->id[i];
        s->logit[kept] = s->logit[i];
        if (weight) weight[kept] = weight[i];
        kept++;
    }
    s->n = kept;
}

/* Keeps the first candidates, in descending order, up to and including the one with which their weights reach the target. NULL:
 * each weighs 1. At least one stays. Digits of 11, 11 and 10 bits; the first already leaves few candidates to the other two. */
static void keep_first(kq_sampler *s, double *weight, double target) {
    double done = 0;
    uint32_t threshold = find_digit(s, weight, 0, 21, 11, target, &done);
    keep_from(s, weight, threshold, 21, false, target, done);
    threshold = threshold << 11 | find_digit(s, weight, threshold, 10, 11, target, &done);
    threshold = threshold << 10 | find_digit(s, weight, threshold, 0, 10, target, &done);
    keep_from(s, weight, threshold, 0, true, target, done);
}

static void keep_probable(kq_sampler *s, float largest, float min_p) {
    double least = kq_log((double)min_p);
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (below(s->logit[i], largest) < least) continue;
        s->id[kept] = s->id[i];
        s->logit[kept++] = s->logit[i];
    }
    s->n = kept;
}

/* Weights e^((logit - largest) / temperature); returns their sum, at least 1. */
static double weigh(kq_sampler *s, float largest, double temperature) {
    double sum = 0;
    for (size_t i = 0; i < s->n; i++) sum += s->weight[i] = kq_exp(below(s->logit[i], largest) / temperature);
    return sum;
}

/* ---- draw ------------------------------------------------------------------------------------------------------------ */

/* 53 random bits as a number in [0, 1). */
static double draw_uniform(kq_sampler *s) {
    uint64_t z = s->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static int32_t draw_weighted(kq_sampler *s, double total) {
    double target = draw_uniform(s) * total, sum = 0;
    size_t chosen = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->weight[i] == 0) continue;
        chosen = i;
        sum += s->weight[i];
        if (sum > target) break;
    }
    return (int32_t)s->id[chosen];
}

/* The first largest; NaN counts as -infinity. False when there is nothing else. The largest is found first, in lanes that become
 * vectors, then its place. */
static bool find_largest(const float *logits, size_t n, size_t *at) {
    enum { LANES = 16 };
    float lane[LANES], largest = -INFINITY;
    for (size_t l = 0; l < LANES; l++) lane[l] = -INFINITY;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t l = 0; l < LANES; l++) lane[l] = logits[i + l] > lane[l] ? logits[i + l] : lane[l];
    }
    for (; i < n; i++) largest = logits[i] > largest ? logits[i] : largest;
    for (size_t l = 0; l < LANES; l++) largest = lane[l] > largest ? lane[l] : largest;
    for (i = 0; i < n && largest > -INFINITY; i++) {
        if (logits[i] != largest) continue;
        *at = i;
        return true;
    }
    return false;
}

kq_status kq_sampler_draw(kq_sampler *s, const float *logits, int32_t *token, kq_error *err) {
    if (!token) return kq_fail(err, KQ_E_ARGUMENT, "kq_sampler_draw: token is NULL");
    *token = 0;
    if (!s || !logits) return kq_fail(err, KQ_E_ARGUMENT, "kq_sampler_draw: %s is NULL", s ? "logits" : "the sampler");
    logits = penalise(s, logits);
    size_t first;
    if (!find_largest(logits, s->n_vocab, &first)) {
        return kq_fail(err, KQ_E_ARGUMENT, "all %zu logits are NaN or -infinity", s->n_vocab);
    }
    *token = (int32_t)first;
    if (s->o.temperature > 0) {
        float largest = logits[first];
        s->n = 0;
        for (size_t i = 0; i < s->n_vocab; i++) { /* writes every one, keeps those that may be drawn */
            s->id[s->n] = (uint32_t)i;
            s->logit[s->n] = logits[i];
            s->n += logits[i] > -INFINITY;
        }
        if (s->o.top_k > 0 && s->o.top_k < s->n) keep_first(s, NULL, s->o.top_k);
        if (s->o.top_p > 0) keep_first(s, s->weight, weigh(s, largest, 1.0) * (double)s->o.top_p);
        if (s->o.min_p > 0) keep_probable(s, largest, s->o.min_p);
        *token = draw_weighted(s, weigh(s, largest, (double)s->o.temperature));
    }
    kq_sampler_accept(s, *token);
    return KQ_OK;
}
