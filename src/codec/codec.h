/* SPDX-License-Identifier: MIT */
/* codec owns: the table of codecs, the block layouts (blocks.h), and the reference decoder and encoder of each: plain C, bit-exact,
 * the definition that every kernel is checked against.
 * It may include: base. */
#ifndef KQ_CODEC_H
#define KQ_CODEC_H

#include "base/base.h"

#include <kquant/codec.h>

/* Decodes n_blocks blocks at src (any alignment) into n_blocks * block_weights floats. */
typedef void kq_decode_fn(const void *src, size_t n_blocks, float *dst);

/* The reference decoder of a codec; NULL for plain data and for numbers that are no codec. */
kq_decode_fn *kq_codec_decoder(uint32_t codec);

/* Encodes a row of n_weights floats (whole blocks, all finite) to dst (any alignment). importances: n_weights of them, or NULL.
 * False, with dst undefined, where the format's search breaks down (a scale that is NaN): only data near the ends of float's
 * range do that. */
typedef bool kq_encode_fn(const float *src, size_t n_weights, const float *importances, void *dst);

/* The reference encoder of a codec; NULL as above. */
kq_encode_fn *kq_codec_encoder(uint32_t codec);

#define KQ_CODEC(id, LABEL, type, weights, bytes) \
    kq_decode_fn kq_decode_##id;                  \
    kq_encode_fn kq_encode_##id;
#include "codec/codecs.def"

/* ---- fast encoders (encoders.def, lanes/) ------------------------------------------------------------------------------- */

/* Encodes rows of cols floats (all finite) that share a vector of importances, cols of them or NULL: the bytes of the reference.
 * False, with dst undefined, where the reference fails for one of the rows. */
typedef bool kq_encode_rows_fn(const float *src, size_t rows, size_t cols, const float *importances, void *dst);

typedef struct kq_encoder {
    uint32_t codec;
    const char *variant;
    uint32_t needs;
    kq_encode_rows_fn *encode;
} kq_encoder;
extern const kq_encoder kq_encoders[];
extern const size_t kq_n_encoders;
/* The best for a set of features; NULL: the codec has its reference only. */
const kq_encoder *kq_encoder_select(uint32_t codec, uint32_t features);

#define KQ_ENCODER(codec, variant, needs) kq_encode_rows_fn kq_encode_##codec##_##variant;
#include "codec/encoders.def"

#endif
