/* SPDX-License-Identifier: MIT */
/* engine: the sampler, against definitions that sort and use long double. Every seed is fixed, so nothing here can flake; the
 * distribution tests then say that these seeds give what chance gives. */
#include "meter.h"

#include "base/base.h"

#include <kquant/model.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define ALL_ALIKE 3e38f /* a temperature at which every candidate that is left is drawn as often */

/* ---- help ------------------------------------------------------------------------------------------------------------- */

static uint64_t seed = 7;

static uint64_t next(void) { /* xorshift64*: not the sampler's generator */
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 0x2545f4914f6cdd1du;
}
static size_t below(size_t n) { return (size_t)(next() >> 11) % n; }
static float uniform(void) { return (float)((double)(next() >> 40) * 0x1p-23 - 1.0); }

static kq_sampler *sampler(size_t n_vocab, const kq_sampler_options *o) {
    kq_sampler *s;
    kq_error e;
    if (kq_sampler_open(&s, n_vocab, o, &e)) fail_msg("%s", e.text);
    return s;
}

static int32_t draw(kq_sampler *s, const float *logits) {
    int32_t token;
    kq_error e;
    if (kq_sampler_draw(s, logits, &token, &e)) fail_msg("%s", e.text);
    return token;
}

/* ---- the definition, by sorting ----------------------------------------------------------------------------------------- */

typedef struct candidate {
    float logit;
    int32_t id;
    long double p;
} candidate;

static int descending(const void *x, const void *y) {
    const candidate *a = x, *b = y;
    if (a->logit != b->logit) return a->logit > b->logit ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static void softmax(candidate *c, size_t n, long double temperature) {
    long double sum = 0;
    for (size_t i = 0; i < n; i++) sum += c[i].p = expl(((long double)c[i].logit - (long double)c[0].logit) / temperature);
    for (size_t i = 0; i < n; i++) c[i].p /= sum;
}

/* What is left of the candidates, most probable first, with its probabilities. Sets *close when the last step of a filter hangs on
 * less than rounding, so that another order of sums may decide otherwise. */
static size_t filtered(const float *logits, size_t n_vocab, const kq_sampler_options *o, candidate *c, bool *close) {
    size_t n = 0;
    for (size_t i = 0; i < n_vocab; i++) {
        if (logits[i] > -INFINITY) c[n++] = (candidate){logits[i], (int32_t)i, 0};
    }
    qsort(c, n, sizeof *c, descending);
    *close = false;
    if (o->top_k && o->top_k < n) n = o->top_k;
    if (o->top_p > 0 && o->top_p < 1) {
        softmax(c, n, 1);
        long double sum = 0;
        size_t kept = 0;
        while (kept < n) {
            sum += c[kept++].p;
            if (fabsl(sum - (long double)o->top_p) < 1e-12L) *close = true;
            if (sum >= (long double)o->top_p) break;
        }
        n = kept;
    }
    if (o->min_p > 0) {
        size_t kept = 0;
        while (kept < n && expl((long double)c[kept].logit - (long double)c[0].logit) >= (long double)o->min_p * (1 - 1e-13L)) {
            if (expl((long double)c[kept].logit - (long double)c[0].logit) < (long double)o->min_p * (1 + 1e-13L) && o->min_p < 1) *close = true;
            kept++;
        }
        n = kept;
    }
    softmax(c, n, (long double)o->temperature);
    return n;
}

/* ---- distribution --------------------------------------------------------------------------------------------------------- */

/* The value that chi-square with k degrees of freedom exceeds once in a million (Wilson and Hilferty's approximation). */
static double chi_square_limit(double k) {
    double z = 4.753, v = 1 - 2 / (9 * k) + z * sqrt(2 / (9 * k));
    return k * v * v * v;
}

/* Draws many tokens and compares their counts with the exact probabilities, in cells that expect at least 10. */
static void check_distribution(const float *logits, size_t n_vocab, const kq_sampler_options *o, size_t n_draws) {
    candidate *c = malloc(n_vocab * sizeof *c);
    size_t *counts = calloc(n_vocab, sizeof *counts);
    bool close;
    size_t n = filtered(logits, n_vocab, o, c, &close);
    kq_sampler *s = sampler(n_vocab, o);
    for (size_t i = 0; i < n_draws; i++) counts[draw(s, logits)]++;
    kq_sampler_close(s);
    double chi = 0, cells = 0, expected = 0, found = 0;
    size_t seen = 0;
    for (size_t i = 0; i < n; i++) {
        expected += (double)(c[i].p * n_draws);
        found += (double)counts[c[i].id];
        seen += counts[c[i].id];
        if (expected < 10) continue;
        chi += (found - expected) * (found - expected) / expected;
        cells++;
        expected = found = 0;
    }
    assert_int_equal(seen, n_draws); /* nothing outside what the filters left */
    assert_true(n == 1 || cells >= 2);
    if (cells > 1 && chi > chi_square_limit(cells - 1)) fail_msg("chi-square %.1f over %.0f cells", chi, cells);
    free(c);
    free(counts);
}

static void draws_follow_the_probabilities(void **state) {
    (void)state;
    float logits[60];
    for (size_t i = 0; i < KQ_COUNT(logits); i++) logits[i] = 3 * uniform();
    kq_sampler_options o = KQ_OPTIONS_INIT(kq_sampler_options);
    for (uint64_t k = 0; k < 4; k++) {
        static const float temperatures[] = {1, 0.4f, 0.05f, 3};
        o.temperature = temperatures[k];
        o.seed = k;
        o.top_k = 0;
        o.top_p = o.min_p = 0;
        check_distribution(logits, KQ_COUNT(logits), &o, 20000);
        o.top_k = 11;
        check_distribution(logits, KQ_COUNT(logits), &o, 15000);
        o.top_p = 0.7f;
        check_distribution(logits, KQ_COUNT(logits), &o, 15000);
        o.top_k = 0;
        check_distribution(logits, KQ_COUNT(logits), &o, 15000);
        o.min_p = 0.1f;
        check_distribution(logits, KQ_COUNT(logits), &o, 15000);
        o.top_p = 0;
        check_distribution(logits, KQ_COUNT(logits), &o, 15000);
    }
    float one = 3;
    check_distribution(&one, 1, &o, 10);
}

static void large_vocabulary(void **state) {
    (void)state;
    enum { N = 150000 };
    float *logits = malloc(N * sizeof *logits);
    for (size_t i = 0; i < N; i++) logits[i] = (float)i < 300 ? 6 + 3 * uniform() : 4 * uniform();
    kq_sampler_options o = KQ_OPTIONS_INIT(kq_sampler_options);
    o.temperature = 1;
    check_distribution(logits, N, &o, 100);
    o.temperature = 0.7f;
    check_distribution(logits, N, &o, 100);
    o.top_p = 0.9f;
    check_distribution(logits, N, &o, 100);
    o.top_k = 60000;
    check_distribution(logits, N, &o, 100);
    free(logits);
}

/* ---- filters ---------------------------------------------------------------------------------------------------------------- */

static void filters_keep_what_sorting_keeps(void **state) {
    (void)state;
    enum { MOST = 48 };
    float logits[MOST];
    candidate c[MOST];
    int compared = 0;
    for (int round = 0; round < 600; round++) {
        size_t n_vocab = 1 + below(MOST);
        int kind = (int)below(4);
        for (size_t i = 0; i < n_vocab; i++) {
            logits[i] = kind == 0 ? 8 * uniform() : kind == 1 ? (float)below(4) - 1 : kind == 2 ? 1e30f * uniform() : 1e-40f * uniform();
            if (below(12) == 0) logits[i] = below(2) ? -INFINITY : NAN;
            if (kind == 1 && below(6) == 0) logits[i] = below(2) ? 0.0f : -0.0f;
        }
        logits[below(n_vocab)] = 0.5f;
        kq_sampler_options o = KQ_OPTIONS_INIT(kq_sampler_options);
        o.temperature = ALL_ALIKE;
        o.seed = (uint64_t)round;
        if (below(2)) o.top_k = (uint32_t)(1 + below(n_vocab + 3));
        if (below(2)) o.top_p = fabsf(uniform());
        if (below(2)) o.min_p = below(8) ? fabsf(uniform()) : 1;
        bool close, wanted[MOST] = {false}, seen[MOST] = {false};
        size_t n = filtered(logits, n_vocab, &o, c, &close);
        if (close) continue;
        compared++;
        for (size_t i = 0; i < n; i++) wanted[c[i].id] = true;
        kq_sampler *s = sampler(n_vocab, &o);
        for (size_t i = 0; i < 20 * n + 20; i++) seen[draw(s, logits)] = true; /* all alike: each is missed with e^-20 */
        kq_sampler_close(s);
        for (size_t i = 0; i < n_vocab; i++) {
            if (seen[i] != wanted[i]) fail_msg("round %d: candidate %zu (%g) is %s", round, i, (double)logits[i], seen[i] ? "kept" : "lost");
        }
    }
    assert_true(compared > 450);
}

/* Which ids ever come, as bits. */
static uint32_t support(const float *logits, size_t n, kq_sampler_options o) {
    uint32_t seen = 0;
    o.temperature = ALL_ALIKE;
    kq_sampler *s = sampler(n, &o);
    for (int i = 0; i < 1000; i++) seen |= 1u << draw(s, logits);
    kq_sampler_close(s);
    return seen;
}

static void ties_go_by_id(void **state) {
    (void)state;
    const float flat[8] = {2, 2, 2, 2, 2, 2, 2, 2}, zeros[4] = {-0.0f, 0.0f, -0.0f, -1};
    kq_sampler_options o = KQ_OPTIONS_INIT(kq_sampler_options);
    o.top_k = 3;
    assert_int_equal(support(flat, 8, o), 0x07);
    o.top_k = 0;
    o.top_p = 0.5f;
    assert_int_equal(support(flat, 8, o), 0x0f);
    o.top_p = nextafterf(0.5f, 1);
    assert_int_equal(support(flat, 8, o), 0x1f);
    o.top_p = 1e-45f;
    assert_int_equal(support(flat, 8, o), 0x01);
    o.top_p = nextafterf(1, 0);
    assert_int_equal(support(flat, 8, o), 0xff);
    o.top_p = 0;
    o.min_p = 1;
    assert_int_equal(support(flat, 8, o), 0xff);
    o.min_p = 0;
    o.top_k = 2;
    assert_int_equal(support(zeros, 4, o), 0x03);
    o.top_k = 4;
    assert_int_equal(support(zeros, 4, o), 0x0f);
}

static void infinities_and_nan(void **state) {
    (void)state;
    kq_sampler_options o = KQ_OPTIONS_INIT(kq_sampler_options);
    const float some[6] = {NAN, 1, INFINITY, -INFINITY, INFINITY, 3e38f}, none[3] = {NAN, -INFINITY, NAN};
    assert_int_equal(support(some, 6, o), 0x14);
    o.top_k = 1;
    assert_int_equal(support(some, 6, o), 0x04);
    o.top_k = 3; /* the third has probability 0 */
    assert_int_equal(support(some, 6, o), 0x14);
    o.top_k = 0;
    o.top_p = 0.9f;
    assert_int_equal(support(some, 6, o), 0x14);
    o.min_p = 0.5f;
    assert_int_equal(support(some, 6, o), 0x14);
    kq_sampler *s = sampler(6, NULL); /* greedy: the first largest */
    assert_int_equal(draw(s, some), 2);
    kq_sampler_close(s);
    for (int greedy = 0; greedy < 2; greedy++) {
        o.temperature = greedy ? 0 : 1;
        s = sampler(3, &o);
        int32_t token = 9;
        kq_error e;
        assert_int_equal(kq_sampler_draw(s, none, &token, &e), KQ_E_ARGUMENT);
        assert_string_equal(e.text, "all 3 logits are NaN or -infinity");
        assert_int_equal(token, 0);
        assert_int_equal(kq_sampler_draw(s, NULL, &token, &e), KQ_E_ARGUMENT);
        assert_int_equal(kq_sampler_draw(s, none, NULL, &e), KQ_E_ARGUMENT);
        assert_int_equal(kq_sampler_draw(NULL, none, &token, &e), KQ_E_ARGUMENT);
        kq_sampler_close(s);
    }
    const float far[3] = {-3e38f, 3e38f, 0}; /* differences beyond float */
    o = (kq_sampler_options)KQ_OPTIONS_INIT(kq_sampler_options);
    o.temperature = 1e-45f;
    s = sampler(3, &o);
    assert_int_equal(draw(s, far), 1);
    kq_sampler_close(s);
}

/* ---- penalties -------------------------------------------------------------------------------------------------------------- */

static void penalties_follow_their_formulas(void **state) {
    (void)state;
    enum { N = 12, LENGTH = 40 };
    int changed = 0;
    for (int round = 0; round < 2000; round++) {
        kq_sampler_options o = KQ_OPTIONS_INIT(kq_sampler_options); /* greedy, so the largest penalised logit shows itself */
        if (below(2)) o.repeat_penalty = 1 + uniform() / 2;
        if (below(2)) o.presence_penalty = uniform();
        if (below(2)) o.frequency_penalty = uniform() / 4;
        o.repeat_last_n = (uint32_t)below(2) ? (uint32_t)(1 + below(LENGTH)) : 0;
        kq_sampler *s = sampler(N, &o);
        int32_t history[2 * LENGTH];
        size_t length = 0;
        kq_sampler_accept(s, -1); /* no tokens: nothing happens */
        kq_sampler_accept(s, N);
        for (size_t i = below(LENGTH); i > 0; i--) kq_sampler_accept(s, history[length++] = (int32_t)below(N));
        for (int step = 0; step < 10; step++) {
            float logits[N], best = -INFINITY;
            int32_t wanted = -1, plain = 0;
            size_t window = KQ_MIN(length, o.repeat_last_n ? o.repeat_last_n : 64);
            for (int32_t t = 0; t < N; t++) {
                logits[t] = 2 * uniform();
                if (logits[t] > logits[plain]) plain = t;
                float l = logits[t], count = 0;
                for (size_t i = length - window; i < length; i++) count += history[i] == t;
                if (count > 0) {
                    float repeat = o.repeat_penalty == 0 ? 1 : o.repeat_penalty;
                    l = l > 0 ? l / repeat : l * repeat;
                    l -= count * o.frequency_penalty + o.presence_penalty;
                }
                if (l > best) {
                    best = l;
                    wanted = t;
                }
            }
            assert_int_equal(draw(s, logits), wanted);
            changed += wanted != plain;
            history[length++] = wanted;
        }
        kq_sampler_close(s);
    }
    assert_true(changed > 1000);
}

/* ---- the same again ----------------------------------------------------------------------------------------------------------- */

static void a_seed_gives_one_sequence(void **state) {
    (void)state;
    /* What seed 42 chooses, on every machine; a second implementation, in Python, gave the same. */
    static const int32_t wanted[16] = {75, 16, 31, 35, 5, 87, 24, 78, 37, 62, 21, 54, 54, 54, 65, 21};
    float logits[100];
    for (int i = 0; i < 100; i++) logits[i] = (float)((i * 37 + 11) % 101) / 25.0f;
    kq_sampler_options o = KQ_OPTIONS_INIT(kq_sampler_options);
    o.seed = 42;
    o.temperature = 0.8f;
    o.top_p = 0.95f;
    o.repeat_penalty = 1.1f;
    kq_sampler *s = sampler(100, &o);
    for (int again = 0; again < 2; again++) {
        for (int i = 0; i < 16; i++) assert_int_equal(draw(s, logits), wanted[i]);
        kq_sampler_reset(s);
    }
    kq_sampler_close(s);
    o.seed = 43;
    s = sampler(100, &o);
    int same = 0;
    for (int i = 0; i < 16; i++) same += draw(s, logits) == wanted[i];
    assert_true(same < 8);
    kq_sampler_close(s);
}

/* ---- refusals ------------------------------------------------------------------------------------------------------------------- */

static void bad_options_are_refused(void **state) {
    (void)state;
    const size_t fields[] = {offsetof(kq_sampler_options, temperature),      offsetof(kq_sampler_options, top_p),
                             offsetof(kq_sampler_options, min_p),            offsetof(kq_sampler_options, repeat_penalty),
                             offsetof(kq_sampler_options, presence_penalty), offsetof(kq_sampler_options, frequency_penalty)};
    const float bad[] = {NAN, INFINITY, -INFINITY, -0.5f, 1.5f};
    for (size_t f = 0; f < KQ_COUNT(fields); f++) {
        for (size_t b = 0; b < KQ_COUNT(bad); b++) {
            kq_sampler_options o = KQ_OPTIONS_INIT(kq_sampler_options);
            memcpy((char *)&o + fields[f], &bad[b], sizeof(float));
            bool allowed = (b == 3 && f >= 4) || (b == 4 && f != 1 && f != 2);
            kq_sampler *s;
            kq_error e;
            assert_int_equal(kq_sampler_open(&s, 10, &o, &e), allowed ? KQ_OK : KQ_E_ARGUMENT);
            assert_true(allowed == (s != NULL));
            kq_sampler_close(s);
        }
    }
    kq_sampler_options o = KQ_OPTIONS_INIT(kq_sampler_options);
    kq_sampler *s;
    kq_error e;
    o.top_p = 1.5f;
    assert_int_equal(kq_sampler_open(&s, 10, &o, &e), KQ_E_ARGUMENT);
    assert_string_equal(e.text, "top_p is 1.5, must be from 0 to 1");
    o.top_p = 0;
    o.repeat_last_n = (1 << 20) + 1;
    assert_int_equal(kq_sampler_open(&s, 10, &o, NULL), KQ_E_ARGUMENT);
    assert_int_equal(kq_sampler_open(&s, 0, NULL, NULL), KQ_E_ARGUMENT);
    assert_int_equal(kq_sampler_open(&s, SIZE_MAX, NULL, NULL), KQ_E_ARGUMENT);
    assert_int_equal(kq_sampler_open(NULL, 10, NULL, NULL), KQ_E_ARGUMENT);
}

static void allocations_may_fail_and_draws_make_none(void **state) {
    (void)state;
    float logits[20];
    for (int i = 0; i < 20; i++) logits[i] = uniform();
    for (size_t fail_at = 1;; fail_at++) {
        meter c = {.fail_at = fail_at};
        kq_allocator a = meter_allocator(&c);
        kq_sampler_options o = KQ_OPTIONS_INIT(kq_sampler_options);
        o.allocator = &a;
        o.temperature = 1;
        o.top_k = 5;
        o.top_p = 0.9f;
        o.min_p = 0.1f;
        o.repeat_penalty = 1.2f;
        kq_sampler *s;
        kq_status status = kq_sampler_open(&s, 20, &o, NULL);
        if (status == KQ_OK) {
            assert_int_equal(fail_at, 8);
            size_t before = c.calls;
            for (int i = 0; i < 100; i++) draw(s, logits);
            assert_int_equal(c.calls, before);
            kq_sampler_close(s);
            assert_int_equal(c.live, 0);
            break;
        }
        assert_int_equal(status, KQ_E_MEMORY);
        assert_null(s);
        assert_int_equal(c.live, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_the_probabilities),
        cmocka_unit_test(large_vocabulary),
        cmocka_unit_test(filters_keep_what_sorting_keeps),
        cmocka_unit_test(ties_go_by_id),
        cmocka_unit_test(infinities_and_nan),
        cmocka_unit_test(penalties_follow_their_formulas),
        cmocka_unit_test(a_seed_gives_one_sequence),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(allocations_may_fail_and_draws_make_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
