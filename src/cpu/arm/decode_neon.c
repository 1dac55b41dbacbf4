/* SPDX-License-Identifier: MIT */
/* decode on NEON: blocks taken apart into signed bytes as for the products (unpack.h), then turned into floats. A weight is scale * q (+ offset), each rounded,
 * which is what the reference decoders compute: where unpack.h folds a power of two into a scale, it is exact both ways. */
#include "cpu/arm/unpack.h"

static inline __attribute__((always_inline)) void put_16(const int8_t *q, float scale, float offset, bool offsets, float *out) {
    int8x16_t bytes = vld1q_s8(q);
    int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);
    int32x4_t v[4] = {vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)};
    for (size_t i = 0; i < 4; i++) {
        float32x4_t product = vmulq_n_f32(vcvtq_f32_s32(v[i]), scale);
        vst1q_f32(out + 4 * i, offsets ? vaddq_f32(product, vdupq_n_f32(offset)) : product);
    }
}

#define ROWS(id)                                                                                                      \
    void kq_decode_##id##_neon(const void *src, size_t n_blocks, float *dst) {                                        \
        enum { RUN = KQ_ACT_WEIGHTS / kq_holds_##id, WIDTH = group_of_##id, GROUPS = kq_holds_##id / WIDTH };         \
        const kq_block_##id *b = src;                                                                                 \
        for (size_t i = 0; i < n_blocks; i += RUN) {                                                                  \
            unpacked u;                                                                                               \
            size_t n = KQ_MIN(n_blocks - i, (size_t)RUN);                                                             \
            unpack_##id(b + i, n, &u);                                                                                \
            for (size_t g = 0; g < n * GROUPS; g++, dst += WIDTH)                                                     \
                for (size_t k = 0; k < WIDTH; k += 16)                                                                \
                    put_16(u.q + WIDTH * g + k, u.scale[g], u.offset[g], (int)kind_of_##id == (int)OFFSETS, dst + k); \
        }                                                                                                             \
    }
#include "cpu/arm/codecs.def"
