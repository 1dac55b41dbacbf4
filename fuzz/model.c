/* SPDX-License-Identifier: MIT */
/* A file as a model: what opens gets a session and evaluates three tokens in two batches. Then the same with an allocation that fails,
 * which one depends on the size of the input. The corpus began as the models of tests/golden/models with widths divided by 32. */
#include "meter.h"

#include "engine/engine.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N = 3, MOST_BYTES = 1 << 22, MOST_VOCABULARY = 1 << 16 };

static void must(bool truth) {
    if (!truth) abort();
}

static void evaluate(const kq_model *m, const kq_allocator *a) {
    kq_session_options o = KQ_OPTIONS_INIT(kq_session_options);
    o.allocator = a;
    o.n_ctx = N;
    o.n_batch = 2;
    o.mode = KQ_EXACT;
    kq_session *s;
    size_t v = (size_t)kq_model_describe(m).n_vocab;
    if (v > MOST_VOCABULARY || kq_session_open(&s, m, &o, NULL)) return;
    float *logits = malloc(2 * v * sizeof *logits);
    must(logits != NULL);
    const int32_t last = (int32_t)v - 1, tokens[N] = {0, last, last / 2};
    must(kq_session_append(s, tokens, N, logits, 2, NULL) == KQ_OK);
    free(logits);
    kq_session_close(s);
}

static void open_model(const uint8_t *data, size_t size, size_t allocations) {
    meter c = meter_of(allocations);
    c.most = MOST_BYTES;
    const kq_allocator a = meter_allocator(&c);
    kq_gguf_options go = KQ_OPTIONS_INIT(kq_gguf_options);
    kq_model_options o = KQ_OPTIONS_INIT(kq_model_options);
    kq_gguf *g;
    kq_model *m;
    kq_error err = {0};
    go.allocator = o.allocator = &a;
    o.no_tokenizer = true;
    if (kq_gguf_open_memory(&g, data, size, "input", &go, &err)) {
        must(c.live == 0);
        return;
    }
    kq_status status = kq_model_open_file(&m, g, &o, &err);
    if (!status) {
        evaluate(m, &a);
        kq_model_close(m);
    } else {
        must(m == NULL && err.status == status && err.text[0]);
    }
    must(c.live == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    open_model(data, size, SIZE_MAX);
    open_model(data, size, size % 31);
    return 0;
}
