/* SPDX-License-Identifier: MIT */
/* codec: every decoder against the reference decodings, bit for bit; sizes, names and refusals; the codebooks. */
#include "codec/blocks.h"
#include "codec/codebooks.h"
#include "codec/codec.h"
#include "golden.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- goldens ------------------------------------------------------------------------------------------------------ */

enum { GOLDEN_WEIGHTS = 16 * 768 };

/* Compares a decoding with the whole file from the shared data, so that a difference has a place. */
static void compare_with_shared(const char *stem, const float *got) {
    size_t size;
    uint8_t *want = golden_read_shared(&size, "golden/codecs/%s.f32", stem);
    if (!want) return;
    assert_int_equal(size, GOLDEN_WEIGHTS * sizeof(float));
    for (size_t i = 0; i < GOLDEN_WEIGHTS; i++) {
        uint32_t w = kq_load_u32(want + 4 * i), g = kq_f32_to_bits(got[i]);
        if (w != g) fail_msg("%s: weight %zu is %08x (%.9g), the reference has %08x", stem, i, g, (double)got[i], w);
    }
    free(want);
}

static void decodes_every_golden(void **state) {
    (void)state;
    FILE *list = golden_open("codecs/decodings.txt");
    char stem[64];
    unsigned long long hash;
    size_t n = 0, seen[KQ_CODEC_LIMIT] = {0};
    while (fscanf(list, "%63s %llx", stem, &hash) == 2) {
        char name[64];
        memcpy(name, stem, sizeof name);
        name[strcspn(name, ".")] = 0;
        const kq_codec_info *info = kq_codec_find(name);
        assert_non_null(info);
        size_t size;
        uint8_t *bytes = golden_read(&size, "codecs/%s.bytes", stem);
        float *got = malloc(GOLDEN_WEIGHTS * sizeof *got);
        kq_error e = {0};
        if (kq_dequantize(info->codec, bytes, size, GOLDEN_WEIGHTS, got, GOLDEN_WEIGHTS, &e)) fail_msg("%s: %s", stem, e.text);
        compare_with_shared(stem, got);
        uint64_t h = golden_hash(got, GOLDEN_WEIGHTS * sizeof *got);
        if (h != hash) fail_msg("%s: the decoding hashes to %016llx, the reference to %016llx", stem, (unsigned long long)h, hash);
        free(got);
        free(bytes);
        seen[info->codec]++;
        n++;
    }
    fclose(list);
    for (uint32_t c = 0; c < KQ_CODEC_LIMIT; c++) { /* encoded plainly, with importances, random; three cannot do the first */
        bool plain_data = !kq_codec_decoder(c), is_float = c == KQ_F32 || c == KQ_F16 || c == KQ_BF16;
        bool needs_importances = c == KQ_IQ2_XXS || c == KQ_IQ2_XS || c == KQ_IQ1_S;
        assert_int_equal(seen[c], plain_data || is_float ? 0 : needs_importances ? 2 : 3);
    }
    assert_int_equal(n, 72);
}

/* One block at a time, from every misalignment, in a buffer that ends with the block (the sanitizer sees a byte too many read):
 * the same bits, and nothing written beside them. */
static void decodes_blocks_anywhere(void **state) {
    (void)state;
    uint32_t random = 1;
    for (uint32_t c = 0; c < KQ_CODEC_LIMIT; c++) {
        kq_decode_fn *decode = kq_codec_decoder(c);
        if (!decode) continue;
        const kq_codec_info *info = kq_codec_describe(c);
        enum { N = 5 };
        size_t bytes = info->block_bytes, weights = info->block_weights;
        uint8_t *blocks = malloc(N * bytes);
        for (size_t i = 0; i < N * bytes; i++) blocks[i] = (uint8_t)((random = random * 1664525 + 1013904223) >> 24);
        float *all = malloc(N * weights * sizeof *all), *one = malloc((weights + 2) * sizeof *one);
        decode(blocks, N, all);
        for (size_t i = 0; i < N; i++) {
            for (size_t shift = 0; shift < 8; shift++) {
                uint8_t *moved = malloc(shift + bytes);
                memcpy(moved + shift, blocks + i * bytes, bytes);
                one[0] = one[weights + 1] = 12345;
                kq_error e = {0};
                assert_int_equal(kq_dequantize(c, moved + shift, bytes, weights, one + 1, weights, &e), KQ_OK);
                for (size_t k = 0; k < weights; k++) { /* a NaN is a NaN: its sign and payload may be another kernel's */
                    float got = one[1 + k], want = all[i * weights + k];
                    assert_true(memcmp(&got, &want, sizeof got) == 0 || (got != got && want != want));
                }
                assert_true(one[0] == 12345 && one[weights + 1] == 12345);
                free(moved);
            }
        }
        free(blocks);
        free(all);
        free(one);
    }
}

/* A scale that is NaN makes every weight of the block NaN, whatever the codes; it is never taken for a number. */
static void nan_scales_stay_nan(void **state) {
    (void)state;
    static const struct { kq_codec codec; size_t at; } scales[] = {
#define AT(id, LABEL, field) {KQ_##LABEL, offsetof(kq_block_##id, field)}
        AT(f16, F16, bits), AT(bf16, BF16, bits), AT(q4_0, Q4_0, d), AT(q4_1, Q4_1, d), AT(q4_1, Q4_1, m), AT(q5_0, Q5_0, d), AT(q5_1, Q5_1, d),
        AT(q5_1, Q5_1, m), AT(q8_0, Q8_0, d), AT(q2_k, Q2_K, d), AT(q2_k, Q2_K, dmin), AT(q3_k, Q3_K, d), AT(q4_k, Q4_K, d),
        AT(q4_k, Q4_K, dmin), AT(q5_k, Q5_K, d), AT(q5_k, Q5_K, dmin), AT(q6_k, Q6_K, d), AT(iq2_xxs, IQ2_XXS, d),
        AT(iq2_xs, IQ2_XS, d), AT(iq2_s, IQ2_S, d), AT(iq3_xxs, IQ3_XXS, d), AT(iq3_s, IQ3_S, d), AT(iq1_s, IQ1_S, d),
        AT(iq4_nl, IQ4_NL, d), AT(iq4_xs, IQ4_XS, d), AT(tq1_0, TQ1_0, d), AT(tq2_0, TQ2_0, d), AT(q1_0, Q1_0, d), AT(q2_0, Q2_0, d),
#undef AT
    };
    static const uint16_t nans[] = {0x7e00, 0x7c01, 0xfe00, 0xfc01, 0x7fff, 0xffff};
    uint32_t random = 2;
    for (size_t i = 0; i < KQ_COUNT(scales); i++) {
        for (size_t k = 0; k < KQ_COUNT(nans); k++) {
            const kq_codec_info *info = kq_codec_describe(scales[i].codec);
            uint8_t block[256];
            float out[256];
            for (size_t j = 0; j < sizeof block; j++) block[j] = (uint8_t)((random = random * 1664525 + 1013904223) >> 24);
            uint16_t nan = scales[i].codec == KQ_BF16 ? (uint16_t)(nans[k] | 0x7fc0) : nans[k];
            memcpy(block + scales[i].at, &nan, 2);
            kq_codec_decoder(scales[i].codec)(block, 1, out);
            for (size_t j = 0; j < info->block_weights; j++) {
                uint32_t bits = kq_f32_to_bits(out[j]);
                if ((bits & 0x7fffffff) <= 0x7f800000) fail_msg("%s: d = %04x, weight %zu is %08x", info->name, nan, j, bits);
            }
        }
    }
}

/* ---- the small pieces, each against its definition, over all values ------------------------------------------------------ */

static void floats_are_exact(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        uint16_t bits = (uint16_t)h;
        float f, b;
        kq_decode_f16(&bits, 1, &f);
        kq_decode_bf16(&bits, 1, &b);
        assert_int_equal(kq_f32_to_bits(b), h << 16);
        int exponent = (int)(h >> 10 & 31), mantissa = (int)(h & 1023);
        if (exponent == 31) {
            assert_int_equal(kq_f32_to_bits(f), (h & 0x8000) << 16 | 0x7f800000 | (uint32_t)mantissa << 13 | (mantissa ? 0x400000u : 0));
        } else {
            double value = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
            assert_true((double)f == (h & 0x8000 ? -value : value) && !signbit(f) == !(h & 0x8000));
        }
    }
    uint32_t signalling = 0x7f800001, out;
    kq_decode_f32(&signalling, 1, (float *)&out);
    assert_int_equal(out, signalling);
}

static void small_scales_are_exact(void **state) {
    (void)state;
    for (int u = 0; u < 256; u++) {
        assert_true((double)kq_e8m0_half((uint8_t)u) == ldexp(1, u - 128));
        int exponent = u >> 3 & 15, mantissa = u & 7;
        double value = u == 0x7f ? 0 : exponent ? ldexp(8 + mantissa, exponent - 10) : ldexp(mantissa, -9);
        assert_true((double)kq_ue4m3_half((uint8_t)u) == value / 2);
    }
}

/* tq1_0: all 243 numbers of five trits, packed as blocks.h says. */
static void trits_come_apart(void **state) {
    (void)state;
    for (int v = 0; v < 243; v++) {
        kq_block_tq1_0 b;
        memset(&b, (256 * v + 242) / 243, sizeof b);
        b.d = 0x3c00;
        float out[256];
        kq_decode_tq1_0(&b, 1, out);
        static const int power[5] = {81, 27, 9, 3, 1};
        for (int i = 0; i < 256; i++) {
            int n = i < 160 ? i / 32 : i < 240 ? (i - 160) / 16 : (i - 240) / 4;
            assert_true(out[i] == (float)(v / power[n] % 3 - 1));
        }
    }
}

static void packed_scales_come_apart(void **state) {
    (void)state;
    uint32_t random = 3;
    for (int round = 0; round < 1000; round++) {
        int s[16], m[8];
        for (int j = 0; j < 16; j++) s[j] = (int)((random = random * 1664525 + 1013904223) >> 26);
        for (int j = 0; j < 8; j++) m[j] = (int)((random = random * 1664525 + 1013904223) >> 26);
        uint8_t k4[12] = {0}, k3[12] = {0};
        for (int j = 0; j < 8; j++) {
            if (j < 4) {
                k4[j] |= (uint8_t)s[j];
                k4[j + 4] |= (uint8_t)m[j];
            } else {
                k4[j + 4] = (uint8_t)((s[j] & 15) | (m[j] & 15) << 4);
                k4[j - 4] |= (uint8_t)(s[j] >> 4 << 6);
                k4[j] |= (uint8_t)(m[j] >> 4 << 6);
            }
        }
        for (int j = 0; j < 16; j++) {
            k3[j % 8] |= (uint8_t)((s[j] & 15) << 4 * (j / 8));
            k3[8 + j % 4] |= (uint8_t)(s[j] >> 4 << 2 * (j / 4));
        }
        for (int j = 0; j < 8; j++) {
            int scale, min;
            kq_k4_scale(k4, j, &scale, &min);
            assert_int_equal(scale, s[j]);
            assert_int_equal(min, m[j]);
        }
        for (int j = 0; j < 16; j++) assert_int_equal(kq_k3_scale(k3, j), s[j] - 32);
    }
}

/* ---- codebooks ---------------------------------------------------------------------------------------------------- */

static void check_grid(const char *file, const uint16_t *grid, int n, int weights, int bits, const int *levels) {
    FILE *f = golden_open("codebooks/%s.txt", file);
    for (int i = 0; i < n; i++) {
        for (int e = 0; e < weights; e++) {
            int value;
            assert_int_equal(fscanf(f, "%d", &value), 1);
            int code = grid[i] >> bits * e & ((1 << bits) - 1);
            if (levels[code] != value) fail_msg("%s: point %d, weight %d is %d, the format has %d", file, i, e, levels[code], value);
        }
    }
    int more;
    assert_int_equal(fscanf(f, "%d", &more), EOF);
    fclose(f);
}

/* Cells as bytes, which are a * level + b. */
static void check_cells(const void *cells, int n, int weights, const uint16_t *grid, int bits, const int *levels, int a, int b) {
    const uint8_t *byte = cells;
    for (int i = 0; i < n; i++)
        for (int e = 0; e < weights; e++) assert_int_equal(*byte++, a * levels[grid[i] >> bits * e & ((1 << bits) - 1)] + b);
}

static void codebooks_are_the_formats(void **state) {
    (void)state;
    int iq2[4], xxs[8], s[8];
    for (int i = 0; i < 4; i++) iq2[i] = kq_levels_iq2[i];
    for (int i = 0; i < 8; i++) xxs[i] = kq_levels_iq3_xxs[i];
    for (int i = 0; i < 8; i++) s[i] = kq_levels_iq3_s[i];
    check_grid("iq2_xxs", kq_grid_iq2_xxs, 256, 8, 2, iq2);
    check_grid("iq2_xs", kq_grid_iq2_xs, 512, 8, 2, iq2);
    check_grid("iq2_s", kq_grid_iq2_s, 1024, 8, 2, iq2);
    check_grid("iq3_xxs", kq_grid_iq3_xxs, 256, 4, 3, xxs);
    check_grid("iq3_s", kq_grid_iq3_s, 512, 4, 3, s);
    check_grid("iq1_s", kq_grid_iq1, 2048, 8, 2, (const int[]){-1, 0, 1, 99});
    check_cells(kq_cells_iq2_xxs, 256, 8, kq_grid_iq2_xxs, 2, iq2, 1, 0);
    check_cells(kq_cells_iq2_xs, 512, 8, kq_grid_iq2_xs, 2, iq2, 1, 0);
    check_cells(kq_cells_iq2_s, 1024, 8, kq_grid_iq2_s, 2, iq2, 1, 0);
    check_cells(kq_cells_iq3_xxs, 256, 4, kq_grid_iq3_xxs, 3, xxs, 1, 0);
    check_cells(kq_cells_iq3_s, 512, 4, kq_grid_iq3_s, 3, s, 1, 0);
    check_cells(kq_cells_iq1, 2048, 8, kq_grid_iq1, 2, (const int[]){-1, 0, 1, 99}, 8, 16);
    static const uint16_t index[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    int iq4[16], e2m1[16];
    for (int i = 0; i < 16; i++) iq4[i] = kq_levels_iq4[i];
    for (int i = 0; i < 16; i++) e2m1[i] = kq_levels_e2m1[i];
    check_grid("iq4", index, 16, 1, 4, iq4);
    check_grid("e2m1_doubled", index, 16, 1, 4, e2m1);
    uint16_t seven[128];
    int signs[128];
    for (unsigned c = 0; c < 128; c++) {
        seven[c] = (uint16_t)c;
        signs[c] = (int)kq_signs_by_parity(c);
    }
    check_grid("signs", seven, 128, 1, 7, signs);
}

/* ---- names, sizes, refusals --------------------------------------------------------------------------------------- */

static void codecs_have_names(void **state) {
    (void)state;
    size_t n = 0;
    for (uint32_t c = 0; c < KQ_CODEC_LIMIT; c++) {
        const kq_codec_info *info = kq_codec_describe(c);
        if (!info) {
            assert_null(kq_codec_decoder(c));
            continue;
        }
        n++;
        assert_int_equal(info->codec, c);
        assert_ptr_equal(kq_codec_find(info->name), info);
        assert_ptr_equal(kq_codec_find(info->label), info);
        assert_int_equal(info->decodes, kq_codec_decoder(c) != NULL);
        assert_int_equal(info->decodes, !(c >= KQ_I8 && c <= KQ_F64));
    }
    assert_int_equal(n, 33);
    assert_int_equal(kq_codec_find("iQ2_xXs")->codec, KQ_IQ2_XXS);
    static const char *const none[] = {"", "q4", "q4_k ", " q4_k", "q4_k_m", "q4-k", "q8_1", "q8_k", "iq4_nl_4_4"};
    for (size_t i = 0; i < KQ_COUNT(none); i++) assert_null(kq_codec_find(none[i]));
    assert_null(kq_codec_find(NULL));
}

/* Numbers that GGUF gave up (q4_2, q4_3, the repacked q4_0 and iq4_nl), that it keeps for activations (q8_1, q8_k), and that it
 * never had. */
static void removed_and_unknown_types_are_refused(void **state) {
    (void)state;
    static const uint32_t none[] = {4, 5, 9, 15, 31, 32, 33, 36, 37, 38, 43, 44, 255, 256, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < KQ_COUNT(none); i++) {
        char text[64];
        snprintf(text, sizeof text, "codec %u is unknown", none[i]);
        assert_null(kq_codec_describe(none[i]));
        assert_null(kq_codec_decoder(none[i]));
        kq_error e = {0};
        uint64_t bytes = 7;
        assert_int_equal(kq_row_bytes(none[i], 256, &bytes, &e), KQ_E_ARGUMENT);
        assert_true(bytes == 0);
        assert_string_equal(e.text, text);
        float out;
        memset(&e, 0, sizeof e);
        assert_int_equal(kq_dequantize(none[i], "", 1, 0, &out, 1, &e), KQ_E_ARGUMENT);
        assert_string_equal(e.text, text);
    }
}

static void rows_are_whole_blocks(void **state) {
    (void)state;
    for (uint32_t c = 0; c < KQ_CODEC_LIMIT; c++) {
        const kq_codec_info *info = kq_codec_describe(c);
        if (!info) continue;
        uint64_t bytes;
        for (uint64_t w = 0; w <= 512; w++) {
            kq_error e = {0};
            kq_status status = kq_row_bytes(c, w, &bytes, &e);
            if (w % info->block_weights) {
                char text[160];
                snprintf(text, sizeof text, "a row of %d weights is no whole number of %s's blocks of %u", (int)w, info->name,
                         info->block_weights);
                assert_int_equal(status, KQ_E_ARGUMENT);
                assert_string_equal(e.text, text);
            } else {
                assert_int_equal(status, KQ_OK);
                assert_true(bytes == w / info->block_weights * info->block_bytes);
            }
        }
        /* The most blocks that stay below 2^63 bytes, and one more. */
        uint64_t most = INT64_MAX / info->block_bytes, weights;
        if (!kq_mul(most + 1, info->block_weights, &weights)) continue; /* its row cannot be said in 64 bits */
        assert_int_equal(kq_row_bytes(c, most * info->block_weights, &bytes, NULL), KQ_OK);
        assert_true(bytes == most * info->block_bytes);
        assert_int_equal(kq_row_bytes(c, weights, &bytes, NULL), KQ_E_ARGUMENT);
    }
    uint64_t bytes;
    kq_error e = {0};
    assert_int_equal(kq_row_bytes(KQ_F32, UINT64_MAX, &bytes, &e), KQ_E_ARGUMENT);
    assert_string_equal(e.text, "a row of 18446744073709551615 weights in f32 has more than 2^63 bytes");
    assert_int_equal(kq_row_bytes(KQ_F64, UINT64_C(1) << 61, &bytes, &e), KQ_E_ARGUMENT); /* 2^64 bytes: the product wraps to 0 */
    assert_int_equal(kq_row_bytes(KQ_F32, 1, NULL, &e), KQ_E_ARGUMENT);
    assert_string_equal(e.text, "bytes is NULL");
}

static void dequantize_checks_its_arguments(void **state) {
    (void)state;
    uint8_t src[288] = {0};
    float dst[512] = {0};
    static const struct {
        uint32_t codec;
        size_t src_bytes;
        uint64_t weights;
        size_t dst_floats;
        const char *text; /* NULL: fine */
    } cases[] = {
        {KQ_Q4_K, 288, 512, 512, NULL},
        {KQ_Q4_K, 0, 0, 0, NULL},
        {KQ_Q4_K, 287, 512, 512, "src has 287 bytes, 512 weights in q4_k need 288"},
        {KQ_Q4_K, 288, 512, 511, "dst has room for 511 floats, 512 are asked for"},
        {KQ_Q4_K, 288, 500, 512, "a row of 500 weights is no whole number of q4_k's blocks of 256"},
        {KQ_I32, 288, 4, 512, "i32 is plain data, it has no decoding"},
        {KQ_F64, 288, 4, 512, "f64 is plain data, it has no decoding"},
        {KQ_Q4_K, SIZE_MAX, UINT64_MAX - 255, 512, "a row of 18446744073709551360 weights in q4_k has more than 2^63 bytes"},
        {KQ_Q4_K, SIZE_MAX, UINT64_C(1) << 62, 512, "dst has room for 512 floats, 4611686018427387904 are asked for"},
    };
    for (size_t i = 0; i < KQ_COUNT(cases); i++) {
        kq_error e = {0};
        kq_status status = kq_dequantize(cases[i].codec, src, cases[i].src_bytes, cases[i].weights, dst, cases[i].dst_floats, &e);
        assert_int_equal(status, cases[i].text ? KQ_E_ARGUMENT : KQ_OK);
        assert_string_equal(e.text, cases[i].text ? cases[i].text : "");
    }
    kq_error e = {0};
    assert_int_equal(kq_dequantize(KQ_Q4_K, NULL, 288, 256, dst, 512, &e), KQ_E_ARGUMENT);
    assert_string_equal(e.text, "src is NULL");
    assert_int_equal(kq_dequantize(KQ_Q4_K, src, 288, 256, NULL, 512, &e), KQ_E_ARGUMENT);
    assert_string_equal(e.text, "dst is NULL");
    assert_int_equal(kq_dequantize(KQ_Q4_K, NULL, 288, 256, dst, 512, NULL), KQ_E_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_every_golden),
        cmocka_unit_test(decodes_blocks_anywhere),
        cmocka_unit_test(nan_scales_stay_nan),
        cmocka_unit_test(floats_are_exact),
        cmocka_unit_test(small_scales_are_exact),
        cmocka_unit_test(trits_come_apart),
        cmocka_unit_test(packed_scales_come_apart),
        cmocka_unit_test(codebooks_are_the_formats),
        cmocka_unit_test(codecs_have_names),
        cmocka_unit_test(removed_and_unknown_types_are_refused),
        cmocka_unit_test(rows_are_whole_blocks),
        cmocka_unit_test(dequantize_checks_its_arguments),
    };
    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
