/* SPDX-License-Identifier: MIT */
/* Perplexity and divergence: against the formulas in long double, over odd sizes, threads, refusals; chunks against whole sequences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "meter.h"
#include "engine/engine.h"
#include "make_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <kquant/kquant.h>

/* ---- rows of any numbers ------------------------------------------------------------------------------------------- */

static uint64_t random_state;
static double uniform(void) { /* [0, 1) */
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 11) * 0x1p-53;
}

typedef struct rows {
    size_t n, n_vocab;
    float *q, *r;
    int32_t *next;
} rows;

/* Logits r, and q beside them, nearer for smaller `noise`. */
static rows make_rows(size_t n, size_t n_vocab, double noise) {
    rows x = {n, n_vocab, calloc(n * n_vocab, sizeof(float)), calloc(n * n_vocab, sizeof(float)), calloc(n, sizeof(int32_t))};
    assert_true(x.q && x.r && x.next);
    for (size_t i = 0; i < n; i++) {
        double offset = 200 * uniform() - 100; /* which softmax does not see */
        for (size_t k = 0; k < n_vocab; k++) {
            double v = 12 * uniform() * uniform() * uniform();
            x.r[i * n_vocab + k] = (float)v;
            x.q[i * n_vocab + k] = (float)(v + offset + noise * (1 + 9 * uniform() * uniform()) * (uniform() - 0.5));
        }
        x.next[i] = (int32_t)(uniform() * (double)n_vocab);
    }
    return x;
}

static void free_rows(rows *x) {
    free(x->q);
    free(x->r);
    free(x->next);
}

static long double log_sum(const float *x, size_t n) {
    long double most = -INFINITY, sum = 0;
    for (size_t k = 0; k < n; k++) most = fmaxl(most, (long double)x[k]);
    for (size_t k = 0; k < n; k++) sum += expl((long double)x[k] - most);
    return most + logl(sum);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct wanted {
    long double nll, reference_nll, ratio_error, nll_error, kld, kld_error, delta, square;
    size_t same;
    double *klds; /* [n], ascending */
} wanted;

static long double error_of(const long double *x, size_t n, long double *mean) {
    long double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    *mean = sum / (long double)n;
    for (size_t i = 0; i < n; i++) squares += (x[i] - *mean) * (x[i] - *mean);
    return sqrtl(squares / (long double)n / (long double)(n - 1));
}

static wanted by_formula(const rows *x) {
    wanted w = {.klds = calloc(x->n, sizeof(double))};
    long double *nll = calloc(x->n, 16), *gap = calloc(x->n, 16), *kld = calloc(x->n, 16), mean;
    assert_true(w.klds && nll && gap && kld);
    for (size_t i = 0; i < x->n; i++) {
        const float *q = x->q + i * x->n_vocab, *r = x->r + i * x->n_vocab;
        long double lq = log_sum(q, x->n_vocab), lr = log_sum(r, x->n_vocab);
        size_t top = 0, reference_top = 0;
        for (size_t k = 0; k < x->n_vocab; k++) {
            long double pr = (long double)r[k] - lr, pq = (long double)q[k] - lq;
            kld[i] += expl(pr) * (pr - pq);
            if (q[k] > q[top]) top = k;
            if (r[k] > r[reference_top]) reference_top = k;
        }
        nll[i] = lq - (long double)q[x->next[i]];
        long double reference = lr - (long double)r[x->next[i]], delta = expl(-nll[i]) - expl(-reference);
        gap[i] = nll[i] - reference;
        w.reference_nll += reference / (long double)x->n;
        w.delta += delta / (long double)x->n;
        w.square += delta * delta / (long double)x->n;
        w.same += top == reference_top;
        w.klds[i] = (double)kld[i];
    }
    w.nll_error = error_of(nll, x->n, &w.nll);
    w.ratio_error = error_of(gap, x->n, &mean);
    w.kld_error = error_of(kld, x->n, &w.kld);
    qsort(w.klds, x->n, sizeof(double), ascending);
    free(nll);
    free(gap);
    free(kld);
    return w;
}

static kq_perplexity *open_figures(size_t n_vocab, bool reference, kq_pool *pool) {
    kq_perplexity *p;
    kq_error err = {0};
    kq_perplexity_options o = KQ_OPTIONS_INIT(kq_perplexity_options);
    o.n_vocab = (uint32_t)n_vocab;
    o.reference = reference;
    o.pool = pool;
    if (kq_perplexity_open(&p, &o, &err)) fail_msg("%s", err.text);
    return p;
}

#define NEAR(a, b, error)                                                                                      \
    do {                                                                                                       \
        double a_ = (a), b_ = (double)(b), e_ = (error);                                                       \
        if (!(fabs(a_ - b_) <= e_)) fail_msg("line %d: %s is %.17g, not %.17g +- %g", __LINE__, #a, a_, b_, e_); \
    } while (0)

static void as_the_formulas(void **state) {
    (void)state;
    static const size_t vocabularies[] = {2, 7, 8, 9, 32, 1000};
    for (size_t v = 0; v < 6; v++) {
        for (int k = 0; k < 3; k++) {
            double noise = k == 0 ? 0.01 : k == 1 ? 0.3 : 4;
            rows x = make_rows(131, vocabularies[v], noise);
            wanted w = by_formula(&x);
            kq_perplexity *p = open_figures(x.n_vocab, true, NULL);
            for (size_t at = 0, m; at < x.n; at += m) { /* in uneven pieces */
                m = KQ_MIN(x.n - at, at % 80 + 1);
                assert_int_equal(kq_perplexity_add(p, x.q + at * x.n_vocab, x.r + at * x.n_vocab, x.next + at, m, NULL), KQ_OK);
            }
            kq_perplexity_figures f;
            assert_int_equal(kq_perplexity_result(p, &f, NULL), KQ_OK);
            assert_int_equal(f.n_tokens, x.n);
            double nll_error = 1e-12, kld_error = 1e-12; /* logits are up to 120, so 100 units in the last place of what is summed */
            NEAR(log(f.perplexity.value), w.nll, nll_error);
            NEAR(log(f.reference_perplexity.value), w.reference_nll, nll_error);
            NEAR(f.perplexity.error / f.perplexity.value, w.nll_error, 1e-11);
            NEAR(f.ln_ratio.value, w.nll - w.reference_nll, 2 * nll_error);
            NEAR(f.ln_ratio.error, w.ratio_error, 1e-11);
            NEAR(f.kld_mean.value, w.kld, kld_error);
            NEAR(f.kld_mean.error, w.kld_error, kld_error);
            NEAR(f.kld_max.value, w.klds[x.n - 1], kld_error);
            assert_true(isnan(f.kld_max.error));
            NEAR(f.kld_median.value, w.klds[65], kld_error + 0x1p-11 * w.klds[65]); /* of 131 */
            NEAR(f.kld_p99.value, w.klds[129], kld_error + 0x1p-11 * w.klds[129]);
            assert_true(f.kld_median.error >= 0 && f.kld_p99.error >= 0);
            NEAR(f.same_top.value * 131, w.same, 1e-9);
            NEAR(f.delta_p_mean.value, w.delta, 1e-11);
            NEAR(f.delta_p_rms.value, sqrtl(w.square), 1e-11);
            kq_perplexity_close(p);
            free(w.klds);
            free_rows(&x);
        }
    }
}

/* The error of a quantile covers what another sample of the same distribution gives, about as often as a standard error does. */
static void quantiles_have_errors(void **state) {
    (void)state;
    enum { SAMPLES = 40 };
    double medians[SAMPLES], mean = 0, error = 0;
    for (int i = 0; i < SAMPLES; i++) {
        rows x = make_rows(400, 16, 0.5);
        kq_perplexity *p = open_figures(16, true, NULL);
        kq_perplexity_figures f;
        assert_int_equal(kq_perplexity_add(p, x.q, x.r, x.next, x.n, NULL), KQ_OK);
        assert_int_equal(kq_perplexity_result(p, &f, NULL), KQ_OK);
        medians[i] = f.kld_median.value;
        mean += medians[i] / SAMPLES;
        error += f.kld_median.error / SAMPLES;
        kq_perplexity_close(p);
        free_rows(&x);
    }
    double squares = 0;
    for (int i = 0; i < SAMPLES; i++) squares += (medians[i] - mean) * (medians[i] - mean);
    double deviation = sqrt(squares / (SAMPLES - 1)); /* itself within 11 % (one sigma) */
    assert_true(deviation > 0.5 * error && deviation < 2 * error);
}

static void equal_models(void **state) {
    (void)state;
    rows x = make_rows(70, 301, 1);
    kq_perplexity *p = open_figures(301, true, NULL);
    kq_perplexity_figures f;
    assert_int_equal(kq_perplexity_add(p, x.r, x.r, x.next, x.n, NULL), KQ_OK);
    assert_int_equal(kq_perplexity_result(p, &f, NULL), KQ_OK);
    assert_true(f.perplexity.value == f.reference_perplexity.value && f.ln_ratio.value == 0 && f.kld_mean.value == 0 && f.kld_mean.error == 0);
    assert_true(f.kld_median.value == 0 && f.kld_p99.value == 0 && f.kld_max.value == 0 && f.same_top.value == 1 && f.delta_p_rms.value == 0);
    kq_perplexity_close(p);
    free_rows(&x);
}

static void no_reference(void **state) {
    (void)state;
    kq_perplexity *p = open_figures(4, false, NULL);
    const float logits[4] = {0, 0, 0, 0};
    const int32_t next = 3;
    kq_perplexity_figures f;
    assert_int_equal(kq_perplexity_result(p, &f, NULL), KQ_E_ARGUMENT);
    assert_int_equal(kq_perplexity_add(p, logits, NULL, &next, 1, NULL), KQ_OK);
    assert_int_equal(kq_perplexity_result(p, &f, NULL), KQ_OK);
    NEAR(f.perplexity.value, 4, 1e-11);
    assert_true(isnan(f.perplexity.error) && isnan(f.kld_mean.value) && isnan(f.reference_perplexity.value) && isnan(f.same_top.value));
    kq_perplexity_close(p);
}

static void threads_change_nothing(void **state) {
    (void)state;
    rows x = make_rows(200, 333, 0.2);
    kq_perplexity_figures f[2];
    kq_pool *pool;
    assert_int_equal(kq_pool_open(&pool, 3, NULL, NULL), KQ_OK);
    for (int i = 0; i < 2; i++) {
        kq_perplexity *p = open_figures(333, true, i ? pool : NULL);
        for (size_t at = 0; at < x.n; at += i ? 100 : 1) {
            assert_int_equal(kq_perplexity_add(p, x.q + at * 333, x.r + at * 333, x.next + at, i ? 100 : 1, NULL), KQ_OK);
        }
        memset(&f[i], 0, sizeof f[i]);
        assert_int_equal(kq_perplexity_result(p, &f[i], NULL), KQ_OK);
        kq_perplexity_close(p);
    }
    f[0].kld_max.error = f[1].kld_max.error = 0; /* NaN has many bits */
    assert_memory_equal(&f[0], &f[1], sizeof f[0]);
    kq_pool_close(pool);
    free_rows(&x);
}

static void refused(void **state) {
    (void)state;
    kq_error err;
    kq_perplexity *p = NULL;
    kq_perplexity_options o = KQ_OPTIONS_INIT(kq_perplexity_options);
    assert_int_equal(kq_perplexity_open(NULL, &o, &err), KQ_E_ARGUMENT);
    assert_int_equal(kq_perplexity_open(&p, &o, &err), KQ_E_ARGUMENT); /* no vocabulary */
    assert_null(p);
    assert_int_equal(kq_perplexity_open(&p, NULL, &err), KQ_E_ARGUMENT);
    kq_perplexity_close(NULL);
    p = open_figures(3, true, NULL);
    float logits[6] = {1, 2, 3, 4, 5, 6};
    const int32_t next[2] = {0, 2}, wrong[2] = {0, 3}, negative[2] = {-1, 0};
    kq_perplexity_figures f;
    assert_int_equal(kq_perplexity_add(p, logits, NULL, next, 2, &err), KQ_E_ARGUMENT);
    assert_int_equal(kq_perplexity_add(p, NULL, logits, next, 2, &err), KQ_E_ARGUMENT);
    assert_int_equal(kq_perplexity_add(p, logits, logits, NULL, 2, &err), KQ_E_ARGUMENT);
    assert_int_equal(kq_perplexity_add(p, logits, logits, wrong, 2, &err), KQ_E_ARGUMENT);
    assert_string_equal(err.text, "token 1 is 3, not in 0 to 2");
    assert_int_equal(kq_perplexity_add(p, logits, logits, negative, 2, &err), KQ_E_ARGUMENT);
    const float bad[] = {(float)NAN, (float)INFINITY, -(float)INFINITY};
    for (int i = 0; i < 3; i++) {
        float spoilt[6] = {1, 2, 3, 4, bad[i], 6};
        assert_int_equal(kq_perplexity_add(p, spoilt, logits, next, 2, &err), KQ_E_MODEL);
        assert_string_equal(err.text, "the logits after token 1 are not finite");
        assert_int_equal(kq_perplexity_add(p, logits, spoilt, next, 2, &err), KQ_E_MODEL);
    }
    assert_int_equal(kq_perplexity_result(p, &f, &err), KQ_E_ARGUMENT); /* nothing of these was added */
    assert_int_equal(kq_perplexity_add(p, NULL, NULL, NULL, 0, &err), KQ_OK);
    kq_perplexity_close(p);
    p = open_figures(3, false, NULL);
    assert_int_equal(kq_perplexity_add(p, logits, logits, next, 2, &err), KQ_E_ARGUMENT);
    kq_perplexity_close(p);
}

/* ---- chunks of a model ---------------------------------------------------------------------------------------------- */

enum { N = 24, VOCAB = 128 };

static kq_model *open_model(const bytes *file) {
    kq_gguf *g;
    kq_model *m = NULL;
    kq_error err = {0};
    kq_model_options o = KQ_OPTIONS_INIT(kq_model_options);
    o.no_tokenizer = true;
    if (kq_gguf_open_memory(&g, file->data, file->size, "test", NULL, &err) || kq_model_open_file(&m, g, &o, &err)) fail_msg("%s", err.text);
    return m;
}

static kq_session *open_session(const kq_model *m, uint32_t n_ctx, uint32_t n_batch) {
    kq_session *s;
    kq_session_options o = KQ_OPTIONS_INIT(kq_session_options);
    o.n_ctx = n_ctx;
    o.n_batch = n_batch;
    o.mode = KQ_EXACT;
    o.state_type = KQ_STATE_F32;
    assert_int_equal(kq_session_open(&s, m, &o, NULL), KQ_OK);
    return s;
}

static kq_perplexity_figures figures_of(kq_perplexity *p) {
    kq_perplexity_figures f;
    assert_int_equal(kq_perplexity_result(p, &f, NULL), KQ_OK);
    kq_perplexity_close(p);
    return f;
}

static void chunks_are_second_halves(void **state) {
    (void)state;
    spec *sp = spec_open("qwen3-dense");
    bytes file = spec_file(sp, NULL);
    spec_close(sp);
    kq_model *m = open_model(&file);
    int32_t tokens[N], given[N];
    for (int i = 0; i < N; i++) tokens[i] = given[i] = (i * 7919 + 13) % VOCAB;
    for (size_t n = 4; n <= N; n += n == 4 ? 1 : 19) { /* 4, 5, 24 */
        for (int bos = -1; bos <= 5; bos += 6) {
            float logits[N][VOCAB];
            memcpy(given, tokens, sizeof given);
            if (bos >= 0) given[0] = bos;
            kq_session *s = open_session(m, N, 0);
            assert_int_equal(kq_session_append(s, given, n, logits[0], n, NULL), KQ_OK);
            size_t half = n / 2;
            kq_perplexity *p = open_figures(VOCAB, false, NULL);
            assert_int_equal(kq_perplexity_add(p, logits[half], NULL, tokens + half + 1, n - 1 - half, NULL), KQ_OK);
            kq_perplexity_figures all = figures_of(p);
            kq_session *piecewise = open_session(m, N, 5);
            p = open_figures(VOCAB, true, NULL);
            assert_int_equal(kq_perplexity_chunk(p, s, piecewise, tokens, n, bos, NULL), KQ_OK); /* the session is not at its start */
            kq_perplexity_figures chunk = figures_of(p);
            assert_int_equal(chunk.n_tokens, n - 1 - half);
            assert_true(chunk.perplexity.value == all.perplexity.value && chunk.reference_perplexity.value == all.perplexity.value);
            assert_true(chunk.kld_max.value == 0);
            kq_session_close(s);
            kq_session_close(piecewise);
        }
    }
    kq_error err;
    kq_session *s = open_session(m, 8, 0);
    kq_perplexity *p = open_figures(VOCAB, false, NULL), *other = open_figures(VOCAB + 1, false, NULL);
    assert_int_equal(kq_perplexity_chunk(p, s, NULL, tokens, 3, KQ_NO_TOKEN, &err), KQ_E_ARGUMENT);
    assert_int_equal(kq_perplexity_chunk(p, s, NULL, tokens, 9, KQ_NO_TOKEN, &err), KQ_E_CONTEXT);
    assert_int_equal(kq_perplexity_chunk(p, s, s, tokens, 8, KQ_NO_TOKEN, &err), KQ_E_ARGUMENT);
    assert_int_equal(kq_perplexity_chunk(p, s, NULL, tokens, 8, VOCAB, &err), KQ_E_ARGUMENT);
    assert_int_equal(kq_perplexity_chunk(other, s, NULL, tokens, 8, KQ_NO_TOKEN, &err), KQ_E_ARGUMENT);
    assert_string_equal(err.text, "a session's vocabulary has 128 tokens, not 129");
    kq_perplexity_close(p);
    kq_perplexity_close(other);
    kq_session_close(s);
    kq_model_close(m);
    bytes_free(&file);
}

/* ---- memory ----------------------------------------------------------------------------------------------------------- */

static void allocations_fail(void **state) {
    (void)state;
    for (size_t n = 0; n < 3; n++) {
        meter m = meter_of(n);
        kq_allocator a = meter_allocator(&m);
        kq_perplexity_options o = KQ_OPTIONS_INIT(kq_perplexity_options);
        kq_perplexity *p;
        o.allocator = &a;
        o.n_vocab = 10;
        o.reference = true;
        assert_int_equal(kq_perplexity_open(&p, &o, NULL), n < 2 ? KQ_E_MEMORY : KQ_OK);
        assert_int_equal(p != NULL, n == 2);
        kq_perplexity_close(p);
        assert_int_equal(m.live, 0);
    }
}

int main(void) {
    random_state = 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_formulas), cmocka_unit_test(quantiles_have_errors), cmocka_unit_test(equal_models), cmocka_unit_test(no_reference),
        cmocka_unit_test(threads_change_nothing), cmocka_unit_test(refused), cmocka_unit_test(chunks_are_second_halves),
        cmocka_unit_test(allocations_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
