/* SPDX-License-Identifier: MIT */
/* The choice of encoders: every use of encoders.def. */
#include "codec/codec.h"

enum {
#define KQ_CODEC(id, LABEL, type, weights, bytes) codec_##id = (type),
#include "codec/codecs.def"
};

const kq_encoder kq_encoders[] = {
#define KQ_ENCODER(codec, variant, needs) {codec_##codec, #variant, (needs), kq_encode_##codec##_##variant},
#include "codec/encoders.def"
};
const size_t kq_n_encoders = KQ_COUNT(kq_encoders);

const kq_encoder *kq_encoder_select(uint32_t codec, uint32_t features) {
    for (size_t i = kq_n_encoders; i-- > 0;) {
        const kq_encoder *e = &kq_encoders[i];
        if (e->codec == codec && (features & e->needs) == e->needs) return e;
    }
    return NULL;
}
