/* SPDX-License-Identifier: MIT */
/* Encoders on rows of any floats, with any importances: every variant gives what the reference gives, bytes or a failure; what is
 * finite and small decodes to finite numbers, whatever its importances.
 *
 * An input: a byte that chooses the codec (of those that encode, in order of their types; 255 before a multiple of 1024 bytes: all), a byte
 * whose lowest bit is set where the first row of floats that follows is of importances, then rows of one block. */
#include "codec/codec.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool truth) {
    if (!truth) abort();
}

static bool is_finite(float x) { return x - x == 0; }

static void encode(const kq_codec_info *info, const float *x, size_t rows, const float *importances) {
    static const uint32_t masks[] = {KQ_CPU_NONE, KQ_CPU_AVX2, KQ_CPU_AVX2 | KQ_CPU_AVX512, KQ_CPU_ALL};
    size_t cols = info->block_weights, floats = rows * cols, bytes = rows * info->block_bytes;
    bool fine = true, sane = true, small = true;
    for (size_t i = 0; i < floats; i++) {
        fine = fine && is_finite(x[i]);
        small = small && x[i] >= -1 && x[i] <= 1;
    }
    for (size_t i = 0; importances && i < cols; i++) sane = sane && is_finite(importances[i]) && importances[i] >= 0;
    bool takes = (importances || !info->needs_importances) && sane && fine;
    uint8_t *want = malloc(bytes), *got = malloc(bytes);
    float *decoded = malloc(floats * sizeof(float));
    must(want && got && decoded);
    bool encodes = takes;
    for (size_t r = 0; r < rows && encodes; r++) {
        encodes = kq_codec_encoder(info->codec)(x + r * cols, cols, importances, want + r * info->block_bytes);
    }
    for (size_t m = 0; m < KQ_COUNT(masks); m++) {
        kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
        kq_error e = {0};
        o.importances = importances;
        o.importance_floats = importances ? cols : 0;
        o.cpu_mask = masks[m];
        kq_status status = kq_quantize(info->codec, x, floats, rows, cols, got, bytes, &o, &e);
        must(status == (encodes ? KQ_OK : KQ_E_ARGUMENT) && (encodes || e.text[0]));
        must(!encodes || memcmp(got, want, bytes) == 0);
    }
    if (encodes) {
        kq_codec_decoder(info->codec)(got, rows, decoded);
        for (size_t i = 0; i < floats && small; i++) must(is_finite(decoded[i]));
    }
    free(decoded);
    free(got);
    free(want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    unsigned choice = data[0], n = 0, at = 0;
    bool with = data[1] & 1, all = choice == 255 && (size - 2) % 1024 == 0;
    data += 2;
    size -= 2;
    for (uint32_t codec = 0; codec < KQ_CODEC_LIMIT; codec++) {
        const kq_codec_info *info = kq_codec_describe(codec);
        n += info && info->decodes && info->block_weights > 1;
    }
    for (uint32_t codec = 0; codec < KQ_CODEC_LIMIT; codec++) {
        const kq_codec_info *info = kq_codec_describe(codec);
        if (!info || !info->decodes || info->block_weights == 1) continue;
        bool chosen = all || at == choice % n;
        at++;
        size_t row = info->block_weights * sizeof(float), rows = size / row;
        if (!chosen || rows <= (size_t)with) continue;
        float *x = malloc(rows * row); /* aligned, which data is not */
        must(x != NULL);
        memcpy(x, data, rows * row);
        encode(info, with ? x + (rows - 1) * info->block_weights : x, 1, NULL);
        if (with) encode(info, x + info->block_weights, rows - 1, x);
        else encode(info, x, rows, NULL);
        free(x);
    }
    return 0;
}
