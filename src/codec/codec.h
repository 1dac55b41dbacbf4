/* SPDX-License-Identifier: MIT */
/* codec owns: the table of codecs, the block layouts (blocks.h), and the reference decoder of each: plain C, bit-exact, the
 * definition that every kernel is checked against.
 * It may include: base. */
#ifndef KQ_CODEC_H
#define KQ_CODEC_H

#include "base/base.h"

#include <kquant/codec.h>

/* Decodes n_blocks blocks at src (any alignment) into n_blocks * block_weights floats. */
typedef void kq_decode_fn(const void *src, size_t n_blocks, float *dst);

/* The reference decoder of a codec; NULL for plain data and for numbers that are no codec. */
kq_decode_fn *kq_codec_decoder(uint32_t codec);

#define KQ_CODEC(id, LABEL, type, weights, bytes) kq_decode_fn kq_decode_##id;
#include "codec/codecs.def"

#endif
