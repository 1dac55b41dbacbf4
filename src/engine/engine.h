/* SPDX-License-Identifier: MIT */
/* engine owns: models (open, share), sessions (state, evaluation), the sampler.
 * It may include: base codec cpu file text program arch. */
#ifndef KQ_ENGINE_H
#define KQ_ENGINE_H

#include "base/base.h"
#include "program/program.h"

#include <kquant/model.h>

struct kq_model {
    kq_allocator allocator;
    kq_gguf *file;
    kq_tokenizer *tokenizer;  /* NULL without one */
    kq_program program;       /* verified */
    kq_model_info info;
    uint32_t tokens, positions, rows, logits; /* slots of the program */
};

/* Makes a model of an open file, which becomes its own, also after a failure. */
KQ_MUST_CHECK kq_status kq_model_open_file(kq_model **out, kq_gguf *file, const kq_model_options *options, kq_error *err);

#endif
