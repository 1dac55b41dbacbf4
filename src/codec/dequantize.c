/* SPDX-License-Identifier: MIT */
/* The public decoding of blocks: checks, then the codec's decoder. */
#include "codec/codec.h"

kq_status kq_dequantize(uint32_t codec, const void *src, size_t src_bytes, uint64_t weights, float *dst, size_t dst_floats,
                        kq_error *err) {
    uint64_t need;
    KQ_TRY(kq_row_bytes(codec, weights, &need, err));
    const kq_codec_info *info = kq_codec_describe(codec);
    kq_decode_fn *decode = kq_codec_decoder(codec);
    if (!decode) return kq_fail(err, KQ_E_ARGUMENT, "%s is plain data, it has no decoding", info->name);
    if (!src || !dst) return kq_fail(err, KQ_E_ARGUMENT, "%s is NULL", src ? "dst" : "src");
    if (src_bytes < need) {
        return kq_fail(err, KQ_E_ARGUMENT, "src has %zu bytes, %llu weights in %s need %llu", src_bytes, (unsigned long long)weights,
                       info->name, (unsigned long long)need);
    }
    if (dst_floats < weights) {
        return kq_fail(err, KQ_E_ARGUMENT, "dst has room for %zu floats, %llu are asked for", dst_floats, (unsigned long long)weights);
    }
    decode(src, (size_t)(weights / info->block_weights), dst);
    return KQ_OK;
}
