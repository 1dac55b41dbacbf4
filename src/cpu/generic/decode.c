/* SPDX-License-Identifier: MIT */
/* The generic decode kernel of every codec: its reference decoder. */
#include "cpu/kernels.h"

#define KQ_CODEC(id, LABEL, type, weights, bytes) \
    void kq_decode_##id##_generic(const void *src, size_t n_blocks, float *dst) { kq_decode_##id(src, n_blocks, dst); }
#include "codec/codecs.def"
