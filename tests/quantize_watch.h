/* SPDX-License-Identifier: MIT */
/* For tests of kq_quantize_model: counts its reports, checks each, and stops it after some. Include it behind cmocka.h. */
#ifndef KQ_TESTS_QUANTIZE_WATCH_H
#define KQ_TESTS_QUANTIZE_WATCH_H

#include "quant/quant.h"

typedef struct watch {
    int reports, kept;
    int stop_after;    /* progress says no once so many tensors were reported */
    double most_error; /* 0: a fifth, for q2_k's of a Gaussian is a sixth */
    bool in_order;     /* as a GGUF has them: of a single run each report's index is its number */
} watch;

static inline bool watch_progress(void *ctx, const kq_quant_choice *at, uint64_t done, uint64_t total) {
    const watch *w = ctx;
    assert_non_null(at);
    assert_true(done <= total);
    return w->reports < w->stop_after;
}

static inline void watch_report(void *ctx, const kq_quantize_report *r) {
    watch *w = ctx;
    if (w->in_order) assert_int_equal(r->index, w->reports);
    assert_true(r->choice->copied ? r->error == 0 : r->error > 0 && r->error < (w->most_error > 0 ? w->most_error : 0.2));
    w->reports++;
    w->kept += r->kept;
}

static inline void watch_with(kq_quantize_model_options *o, watch *w) {
    o->progress = watch_progress;
    o->report = watch_report;
    o->ctx = w;
}

#endif
