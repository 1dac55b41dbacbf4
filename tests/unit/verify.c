/* SPDX-License-Identifier: MIT */
/* Verification: a NaN or an infinity in any scale of any codec is found where it is, and nothing else is. */
#include "codec/blocks.h"
#include "codec/codec.h"
#include "gguf_build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <kquant/kquant.h>

enum { ROWS = 5, BLOCKS = 19, N = ROWS * BLOCKS }; /* more than one piece of decoding for the wide codecs, an odd end for all */

/* Every scale of every codec: where it is in a block, and how it is written. */
typedef enum scale_kind { F16, F32, BF16, E8M0, UE4M3, IQ1_M } scale_kind;
static const struct scale {
    uint32_t codec;
    size_t at;
    scale_kind kind;
} scales[] = {
#define D(ID, id) {KQ_##ID, offsetof(kq_block_##id, d), F16}
#define DM(ID, id, m) D(ID, id), {KQ_##ID, offsetof(kq_block_##id, m), F16}
    {KQ_F32, 0, F32}, {KQ_F16, 0, F16}, {KQ_BF16, 0, BF16},
    D(Q4_0, q4_0), DM(Q4_1, q4_1, m), D(Q5_0, q5_0), DM(Q5_1, q5_1, m), D(Q8_0, q8_0),
    DM(Q2_K, q2_k, dmin), D(Q3_K, q3_k), DM(Q4_K, q4_k, dmin), DM(Q5_K, q5_k, dmin), D(Q6_K, q6_k),
    D(IQ2_XXS, iq2_xxs), D(IQ2_XS, iq2_xs), D(IQ2_S, iq2_s), D(IQ3_XXS, iq3_xxs), D(IQ3_S, iq3_s), D(IQ1_S, iq1_s),
    {KQ_IQ1_M, offsetof(kq_block_iq1_m, scales), IQ1_M},
    D(IQ4_NL, iq4_nl), D(IQ4_XS, iq4_xs), D(TQ1_0, tq1_0), D(TQ2_0, tq2_0), D(Q1_0, q1_0), D(Q2_0, q2_0),
    {KQ_MXFP4, offsetof(kq_block_mxfp4, e), E8M0},
    {KQ_NVFP4, offsetof(kq_block_nvfp4, scales), UE4M3}, {KQ_NVFP4, offsetof(kq_block_nvfp4, scales) + 1, UE4M3},
    {KQ_NVFP4, offsetof(kq_block_nvfp4, scales) + 2, UE4M3}, {KQ_NVFP4, offsetof(kq_block_nvfp4, scales) + 3, UE4M3},
#undef DM
#undef D
};

/* Value i of those that are no number in this kind of scale; false when there is none. */
static bool put_bad(scale_kind kind, int i, uint8_t *at) {
    static const uint16_t f16[] = {0x7c00, 0xfc00, 0x7e00, 0xfe00, 0x7c01, 0xffff}, bf16[] = {0x7f80, 0xff80, 0x7fc0, 0xffff, 0x7f81};
    static const uint32_t f32[] = {0x7f800000, 0xff800000, 0x7fc00000, 0xffffffff, 0x7f800001};
    static const uint8_t e8m0[] = {255}, ue4m3[] = {127, 255};
    if (kind == F16 && i < (int)KQ_COUNT(f16)) return memcpy(at, &f16[i], 2), true;
    if (kind == BF16 && i < (int)KQ_COUNT(bf16)) return memcpy(at, &bf16[i], 2), true;
    if (kind == F32 && i < (int)KQ_COUNT(f32)) return memcpy(at, &f32[i], 4), true;
    if (kind == E8M0 && i < (int)KQ_COUNT(e8m0)) return *at = e8m0[i], true;
    if (kind == UE4M3 && i < (int)KQ_COUNT(ue4m3)) return *at = ue4m3[i], true;
    if (kind != IQ1_M || i >= (int)KQ_COUNT(f16)) return false;
    for (int k = 0; k < 4; k++) at[2 * k + 1] = (uint8_t)((at[2 * k + 1] & 15) | (f16[i] >> 4 * k & 15) << 4); /* the top four bits of each word */
    return true;
}

static uint32_t state;
static uint32_t draw(void) { return (state = state * 1664525 + 1013904223) >> 8; }

/* Blocks that decode to numbers: zeros, or any bytes, drawn again until they do. */
static void fill(const kq_codec_info *c, uint8_t *data, bool zeros) {
    for (size_t b = 0; b < N; b++, data += c->block_bytes) {
        bool good = false;
        while (!good) {
            float x[256];
            for (size_t i = 0; i < c->block_bytes; i++) data[i] = zeros ? 0 : (uint8_t)draw();
            kq_codec_decoder(c->codec)(data, 1, x);
            good = !(c->codec == KQ_MXFP4 && data[0] == 255);
            for (size_t i = 0; c->codec == KQ_NVFP4 && i < 4; i++) good = good && (data[offsetof(kq_block_nvfp4, scales) + i] & 127) != 127;
            for (size_t i = 0; i < c->block_weights; i++) good = good && x[i] - x[i] == 0;
        }
    }
}

/* Three tensors, the one in the middle with `data`; its check comes back. */
static kq_tensor_check verify(const kq_codec_info *c, const uint8_t *data) {
    gguf g;
    kq_gguf *file;
    kq_verification *v;
    kq_error e = {0};
    uint64_t dims[2] = {BLOCKS * c->block_weights, ROWS}, one[1] = {256};
    size_t size = (size_t)N * c->block_bytes;
    gguf_begin(&g, 3);
    gguf_tensor(&g, "before", 1, one, 24, 256); /* int8: nothing in it is a scale */
    size_t at = (g.data.size + 31) / 32 * 32;
    gguf_tensor(&g, "middle", 2, dims, c->codec, size);
    memcpy(g.data.data + at, data, size);
    gguf_tensor(&g, "behind", 1, one, 24, 256);
    gguf_finish(&g);
    if (kq_gguf_open_memory(&file, g.out.data, g.out.size, "test", NULL, &e)) fail_msg("%s", e.text);
    if (kq_verify_open(&v, file, NULL, &e)) fail_msg("%s", e.text);
    assert_int_equal(kq_verify_n_tensors(v), 3);
    assert_int_equal(kq_verify_tensor_at(v, 0)->bad_blocks, 0);
    assert_int_equal(kq_verify_tensor_at(v, 2)->bad_blocks, 0);
    kq_tensor_check check = *kq_verify_tensor_at(v, 1);
    kq_verify_close(v);
    kq_gguf_close(file);
    gguf_free(&g);
    return check;
}

static void every_scale_of_every_codec(void **unused) {
    (void)unused;
    for (size_t s = 0; s < KQ_COUNT(scales); s++) {
        const kq_codec_info *c = kq_codec_describe(scales[s].codec);
        uint8_t *data = malloc((size_t)N * c->block_bytes), block[1024], word[8];
        for (int zeros = 0; zeros < 2; zeros++) {
            state = (uint32_t)s;
            fill(c, data, zeros);
            kq_tensor_check clean = verify(c, data);
            if (clean.bad_blocks) fail_msg("%s: row %llu, block %llu of good ones", c->name, (unsigned long long)clean.row, (unsigned long long)clean.block);
            for (int i = 0; put_bad(scales[s].kind, i, word); i++) {
                size_t at = draw() % N, second = at + draw() % (N - at);
                memcpy(block, data + at * c->block_bytes, c->block_bytes);
                put_bad(scales[s].kind, i, data + at * c->block_bytes + scales[s].at);
                kq_tensor_check one = verify(c, data);
                if (one.bad_blocks != 1 || one.row != at / BLOCKS || one.block != at % BLOCKS) {
                    fail_msg("%s, byte %zu, value %d, zeros %d: %llu blocks, row %llu, block %llu, and not row %zu, block %zu", c->name, scales[s].at, i,
                             zeros, (unsigned long long)one.bad_blocks, (unsigned long long)one.row, (unsigned long long)one.block, at / BLOCKS, at % BLOCKS);
                }
                uint8_t *other = malloc((size_t)N * c->block_bytes);
                memcpy(other, data, (size_t)N * c->block_bytes);
                put_bad(scales[s].kind, i, other + second * c->block_bytes + scales[s].at);
                kq_tensor_check two = verify(c, other);
                assert_int_equal(two.bad_blocks, 1 + (second != at));
                assert_int_equal(two.row * BLOCKS + two.block, at);
                free(other);
                memcpy(data + at * c->block_bytes, block, c->block_bytes);
            }
        }
        free(data);
    }
}

/* A codec that is new must say where its scales are. */
static void no_codec_is_left_out(void **unused) {
    (void)unused;
    for (uint32_t codec = 0; codec < KQ_CODEC_LIMIT; codec++) {
        const kq_codec_info *c = kq_codec_describe(codec);
        bool found = false;
        for (size_t s = 0; s < KQ_COUNT(scales); s++) found = found || scales[s].codec == codec;
        if (c && c->decodes && !found) fail_msg("%s has no row in scales[]", c->name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scale_of_every_codec),
        cmocka_unit_test(no_codec_is_left_out),
    };
    return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
