/* SPDX-License-Identifier: MIT */
/* The streaming encoder of one tensor. */
#ifndef KQ_QUANT_ENCODE_H
#define KQ_QUANT_ENCODE_H

#include "quant/quant.h"

typedef struct kq_encode_job {
    kq_allocator allocator;
    kq_pool *pool;
    const kq_gguf *source;
    const kq_quant_choice *choice;
    const float *importances; /* [dims[2]][dims[0]]; NULL: none */
    bool measure;             /* the error too */
    kq_status (*put)(void *sink, const void *data, size_t size, kq_error *err); /* on any thread, one call at a time */
    void *sink;
    bool (*progress)(void *ctx, uint64_t weights); /* of the tensor are done; false stops. NULL: nobody asks */
    void *progress_ctx;
} kq_encode_job;

/* *error: squared error over squared weights, importances counted; negative when it was not measured, 0 for copied tensors.
 * KQ_E_FORMAT: weights that are not finite, or too large for the codec. KQ_E_CANCELLED, KQ_E_MEMORY, and what put and the source return. */
kq_status kq_encode_tensor(const kq_encode_job *j, double *error, kq_error *err);

#endif
