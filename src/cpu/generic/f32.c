/* SPDX-License-Identifier: MIT */
/* The definition in plain C of the exact product, of the fast mode's activations and of streamed stores (kernels.h): what the variants must equal
 * bit for bit. */
#include "cpu/kernels.h"

void kq_exact_f32_generic(const float *const w[KQ_EXACT_ROWS], const float *const *x, size_t m, size_t n,
                          float (*lanes)[KQ_EXACT_ROWS][KQ_EXACT_LANES]) {
    for (size_t j = 0; j < m; j++) {
        for (size_t i = 0; i < KQ_EXACT_ROWS; i++) {
            const float *a = w[i], *b = x[j];
            float sum[KQ_EXACT_LANES];
            memcpy(sum, lanes[j][i], sizeof sum);
            size_t k = 0;
            for (; k + KQ_EXACT_LANES <= n; k += KQ_EXACT_LANES)
                for (size_t l = 0; l < KQ_EXACT_LANES; l++) sum[l] += a[k + l] * b[k + l];
            for (size_t l = 0; k + l < n; l++) sum[l] += a[k + l] * b[k + l];
            memcpy(lanes[j][i], sum, sizeof sum);
        }
    }
}

/* One group: n <= 32 floats are there, the rest counts as zeros. */
static void quantize_group(const float *x, size_t n, int8_t *q, float *scale, float *sum, float *sum16) {
    uint32_t most = 0; /* magnitudes compare as integers, and NaN above all */
    for (size_t i = 0; i < n; i++) most = KQ_MAX(most, kq_f32_to_bits(x[i]) & 0x7fffffffu);
    memset(q, 0, KQ_ACT_GROUP);
    *scale = *sum = sum16[0] = sum16[1] = most < 0x7f800000u ? 0.0f : kq_bits_to_f32(0x7fc00000u);
    if (most < 0x03800000u /* 2^-120 */ || most >= 0x7f800000u) return;
    float largest = kq_bits_to_f32(most), inverse = 127.0f / largest;
    int32_t total[2] = {0, 0};
    for (size_t i = 0; i < n; i++) {
        float shifted = x[i] * inverse + 0x1.8p23f; /* the low bits of the sum hold the nearest integer, ties to even */
        int32_t v = (int32_t)(kq_f32_to_bits(shifted) - 0x4b400000u);
        q[i] = (int8_t)v;
        total[i / 16] += v;
    }
    *scale = largest / 127.0f;
    sum16[0] = *scale * (float)total[0];
    sum16[1] = *scale * (float)total[1];
    *sum = *scale * (float)(total[0] + total[1]);
}

void kq_act8_f32_generic(const float *x, size_t n, kq_act8 *out) {
    for (size_t at = 0; at < n; at += KQ_ACT_WEIGHTS, out++) {
        for (size_t g = 0; g < KQ_ACT_WEIGHTS / KQ_ACT_GROUP; g++) {
            size_t from = at + g * KQ_ACT_GROUP, left = from < n ? n - from : 0;
            quantize_group(left ? x + from : x, KQ_MIN(left, KQ_ACT_GROUP), out->q + g * KQ_ACT_GROUP, &out->scale[g], &out->sum[g],
                           &out->sum16[2 * g]);
        }
    }
}

void kq_weave_f32_generic(const kq_act8 *x, size_t n, size_t m, uint8_t *out) {
    for (size_t i = 0; i < n; i += 2, out += m * KQ_WOVEN) {
        if (i + 1 == n) memset(out, 0, KQ_WOVEN);
        for (size_t lane = 0; lane < KQ_MIN(n - i, 2) * 8; lane++) {
            const kq_act8 *a = x + i + lane / 8;
            size_t g = lane % 8 / 4 + 2 * (lane % 4);
            uint8_t *at = out + 4 * lane;
            for (size_t s = 0; s < 8; s++) memcpy(at + 64 * s, a->q + 32 * g + 4 * s, 4);
            memcpy(at + 64 * 8, &a->scale[g], 4);
            memcpy(at + 64 * 9, &a->sum[g], 4);
            memcpy(at + 64 * 10, &a->sum16[2 * g], 4);
            memcpy(at + 64 * 11, &a->sum16[2 * g + 1], 4);
        }
    }
}

void kq_stream_f32_generic(kq_decode_fn *decode, const void *src, size_t n_blocks, size_t block_bytes, size_t block_weights, float *dst,
                           bool end) {
    (void)block_bytes, (void)block_weights, (void)end;
    decode(src, n_blocks, dst);
}
