/* SPDX-License-Identifier: MIT */
/* The table of codecs, made from codecs.def, and what can be said of a codec without touching data. */
#include "codec/codec.h"

#define KQ_CODEC(id, LABEL, type, weights, bytes) \
    _Static_assert(KQ_##LABEL == (type) && (type) < KQ_CODEC_LIMIT, "codecs.def: the type of " #id " differs from kq_codec");
#define KQ_PLAIN KQ_CODEC
#include "codec/codecs.def"

#define NEEDS_IMPORTANCES(codec) ((codec) == KQ_IQ2_XXS || (codec) == KQ_IQ2_XS || (codec) == KQ_IQ1_S)

/* Indexed by type number; a row of zeros is no codec. */
static const kq_codec_info infos[KQ_CODEC_LIMIT] = {
#define KQ_CODEC(id, LABEL, type, weights, bytes) [type] = {KQ_##LABEL, #id, #LABEL, weights, bytes, true, NEEDS_IMPORTANCES(type)},
#define KQ_PLAIN(id, LABEL, type, weights, bytes) [type] = {KQ_##LABEL, #id, #LABEL, weights, bytes, false, false},
#include "codec/codecs.def"
};

static kq_decode_fn *const decoders[KQ_CODEC_LIMIT] = {
#define KQ_CODEC(id, LABEL, type, weights, bytes) [type] = kq_decode_##id,
#include "codec/codecs.def"
};

static kq_encode_fn *const encoders[KQ_CODEC_LIMIT] = {
#define KQ_CODEC(id, LABEL, type, weights, bytes) [type] = kq_encode_##id,
#include "codec/codecs.def"
};

const kq_codec_info *kq_codec_describe(uint32_t codec) {
    return codec < KQ_CODEC_LIMIT && infos[codec].name ? &infos[codec] : NULL;
}

/* ASCII only: a host's locale must not decide whether "Q4_K" is q4_k. */
static bool same_name(const char *given, const char *name) {
    for (;; given++, name++) {
        char c = *given >= 'A' && *given <= 'Z' ? (char)(*given + ('a' - 'A')) : *given;
        if (c != *name) return false;
        if (!c) return true;
    }
}

const kq_codec_info *kq_codec_find(const char *name) {
    for (size_t i = 0; name && i < KQ_CODEC_LIMIT; i++) {
        if (infos[i].name && same_name(name, infos[i].name)) return &infos[i];
    }
    return NULL;
}

kq_decode_fn *kq_codec_decoder(uint32_t codec) { return codec < KQ_CODEC_LIMIT ? decoders[codec] : NULL; }

kq_encode_fn *kq_codec_encoder(uint32_t codec) { return codec < KQ_CODEC_LIMIT ? encoders[codec] : NULL; }

kq_status kq_row_bytes(uint32_t codec, uint64_t weights, uint64_t *bytes, kq_error *err) {
    if (!bytes) return kq_fail(err, KQ_E_ARGUMENT, "bytes is NULL");
    *bytes = 0;
    const kq_codec_info *info = kq_codec_describe(codec);
    if (!info) return kq_fail(err, KQ_E_ARGUMENT, "codec %u is unknown", codec);
    if (weights % info->block_weights) {
        return kq_fail(err, KQ_E_ARGUMENT, "a row of %llu weights is no whole number of %s's blocks of %u", (unsigned long long)weights,
                       info->name, info->block_weights);
    }
    uint64_t n;
    if (!kq_mul(weights / info->block_weights, info->block_bytes, &n) || n > INT64_MAX) {
        return kq_fail(err, KQ_E_ARGUMENT, "a row of %llu weights in %s has more than 2^63 bytes", (unsigned long long)weights, info->name);
    }
    *bytes = n;
    return KQ_OK;
}
