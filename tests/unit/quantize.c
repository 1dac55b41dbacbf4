/* SPDX-License-Identifier: MIT */
/* codec: every encoder against the reference encodings, byte for byte; importances by group; hostile data; refusals. */
#include "codec/blocks.h"
#include "codec/codec.h"
#include "codec/lattice.h"
#include "codec/search.h"
#include "golden.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- help --------------------------------------------------------------------------------------------------------- */

static uint32_t cpu_mask; /* of the encoders that are tested */

/* Encodes into a fresh buffer that ends with the last block; free() it. */
static uint8_t *encode(uint32_t codec, const float *x, uint64_t rows, uint64_t cols, kq_quantize_options *options, size_t *size) {
    uint64_t row_bytes;
    kq_error e = {0};
    if (kq_row_bytes(codec, cols, &row_bytes, &e)) fail_msg("%s", e.text);
    *size = (size_t)(rows * row_bytes);
    uint8_t *bytes = malloc(*size);
    memset(bytes, 0xa5, *size);
    options->cpu_mask = cpu_mask;
    if (kq_quantize(codec, x, (size_t)(rows * cols), rows, cols, bytes, *size, options, &e)) {
        fail_msg("%s: %s", kq_codec_describe(codec)->name, e.text);
    }
    return bytes;
}

static void same_bytes(const char *what, const uint8_t *got, const uint8_t *want, size_t size, size_t block) {
    for (size_t i = 0; i < size; i++) {
        if (got[i] != want[i]) fail_msg("%s: block %zu, byte %zu is %02x, not %02x", what, i / block, i % block, got[i], want[i]);
    }
}

static bool is_float(uint32_t codec) { return codec == KQ_F32 || codec == KQ_F16 || codec == KQ_BF16; }

/* ---- goldens ------------------------------------------------------------------------------------------------------ */

static void encodes_every_golden(void **state) {
    (void)state;
    enum { ROWS = 16, COLS = 768 };
    size_t size;
    float *x = (float *)(void *)golden_read(&size, "codecs/x.f32");
    assert_int_equal(size, ROWS * COLS * sizeof(float));
    float *importances = (float *)(void *)golden_read(&size, "codecs/importance.f32");
    assert_int_equal(size, COLS * sizeof(float));
    kq_pool *pool;
    assert_int_equal(kq_pool_open(&pool, 3, NULL, NULL), KQ_OK);
    size_t n = 0;
    for (uint32_t c = 0; c < KQ_CODEC_LIMIT; c++) {
        const kq_codec_info *info = kq_codec_describe(c);
        if (!info || !info->decodes || is_float(c)) continue;
        char name[32];
        snprintf(name, sizeof name, "%s", info->name);
        if (name[strlen(name) - 1] == 'k') name[strlen(name) - 1] = 'K';
        for (int with = info->needs_importances; with < 2; with++) {
            for (int threads = 0; threads < 2; threads++) {
                kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
                o.importances = with ? importances : NULL;
                o.importance_floats = with ? COLS : 0;
                o.pool = threads ? pool : NULL;
                size_t want_size;
                uint8_t *want = golden_read(&want_size, "codecs/%s%s.bytes", name, with ? ".importance" : "");
                uint8_t *got = encode(c, x, ROWS, COLS, &o, &size);
                assert_int_equal(size, want_size);
                same_bytes(name, got, want, size, info->block_bytes);
                free(got);
                free(want);
            }
            n++;
        }
    }
    assert_int_equal(n, 47);
    kq_pool_close(pool);
    free(x);
    free(importances);
}

/* Data that anyone can make again, and the FNV-1a of what the reference encoders make of them: 8 rows of 1024. A is like
 * weights, B is ties everywhere, C has dead groups and falls off by 2^-26. W are importances. */
enum { MADE_ROWS = 8, MADE_COLS = 1024 };

static uint32_t draw(uint32_t *state) { return (*state = *state * 1664525 + 1013904223) >> 8; }

static void make_a(float *x) {
    uint32_t s = 1;
    for (size_t i = 0; i < MADE_ROWS * MADE_COLS; i++) {
        int32_t sum = -(1 << 25);
        for (int k = 0; k < 4; k++) sum += (int32_t)draw(&s);
        x[i] = (float)sum * 0x1p-30f;
    }
}

static void make_b(float *x) {
    uint32_t s = 2;
    for (size_t i = 0; i < MADE_ROWS * MADE_COLS; i++) x[i] = (float)((int)(draw(&s) >> 20) - 8) * 0.25f;
}

static void make_c(float *x) {
    uint32_t s = 4;
    for (size_t i = 0; i < MADE_ROWS * MADE_COLS; i++) {
        int g = (int)(i / 16 % 13), u = (int)draw(&s) - (1 << 23);
        x[i] = g == 5 ? 0 : ldexpf((float)u, -28 - 2 * g);
    }
}

static void make_w(float *w) {
    uint32_t s = 3;
    for (size_t i = 0; i < MADE_COLS; i++) w[i] = (float)(draw(&s) + 1) * 0x1p-24f;
}

static void encodes_made_data(void **state) {
    (void)state;
    static const struct {
        kq_codec codec;
        uint64_t hash[5]; /* A, A with W, B, B with W, C */
    } rows[] = {
#define ROW(codec, a, aw, b, bw, c) {codec, {UINT64_C(0x##a), UINT64_C(0x##aw), UINT64_C(0x##b), UINT64_C(0x##bw), UINT64_C(0x##c)}}
        ROW(KQ_Q4_0, d81ab439b75a0d04, da5c77abdda03330, 9455d1dae52d5d8b, cf88270788521597, 5bf02d5f8b0e05ba),
        ROW(KQ_Q4_1, a16fe95d99a1a174, a450f18f7bcb112d, f2b99103462c65f1, 13f321768e13f3c1, 045bec4722f027f9),
        ROW(KQ_Q5_0, bbeef7e012b1e8a2, 0f00309ebd760b9c, 6559b75fe575dbbc, 3cbb8a47b760e9f8, d4e66e1b200b0b90),
        ROW(KQ_Q5_1, b169d2185b5223a6, 47dbb7dc5856acfe, 309d0cb799b828d0, 1fa0b4605d7397c1, fb5539f4e0c9ae26),
        ROW(KQ_Q8_0, f76ab97413db1356, f76ab97413db1356, 8cd41fcecfed0185, 8cd41fcecfed0185, 6fb4f0a2de045eb5),
        ROW(KQ_Q2_K, 1488b62b08d349db, 522d7b535852b755, b59085c449840d39, 608183ccb555e976, de952c3afe01c91b),
        ROW(KQ_Q3_K, 1743e23ae7a6bdaf, 38d20ce2fc2394b4, 6f989af2c687447d, e564f53f96107b23, f7cf6a2db90b3232),
        ROW(KQ_Q4_K, 71aaff179cfc4133, 3e238d5e49efa752, 9181a799e3d192bd, f0f7496b06653820, d6e522072cd07d19),
        ROW(KQ_Q5_K, f429a7d12538605f, d84c0f03bdbbe0c3, 2651601124f8cad0, ea3d4b0863acd433, 504c75cb2f1490fe),
        ROW(KQ_Q6_K, b316a2128abc46a6, 643d1f8681d27792, b93d7591c78d8c3d, 3bc823910f457b09, 2ac9804f199226ac),
        ROW(KQ_TQ1_0, b7a0cb9a93f224ab, b7a0cb9a93f224ab, d15f2e0f0ab88205, d15f2e0f0ab88205, 69af0c33fca00c35),
        ROW(KQ_TQ2_0, d4591da68073ccd1, d4591da68073ccd1, 47de311d6d430a3e, 47de311d6d430a3e, 9b91265e2fd7853b),
        ROW(KQ_MXFP4, 6d6ad5b01b50e37c, 6d6ad5b01b50e37c, c903499b61895264, c903499b61895264, c90a92fc0c7e9359),
        ROW(KQ_NVFP4, 5600dc3ed9b0bd2f, 5600dc3ed9b0bd2f, cf89c4bbe04f2839, cf89c4bbe04f2839, 320425d792821b5d),
        ROW(KQ_Q1_0, 9a35e87eb7b4d19c, 9a35e87eb7b4d19c, b89ea282d33b5789, b89ea282d33b5789, d0bdb67647b613e4),
        ROW(KQ_Q2_0, d012804c2ee5dcd8, d012804c2ee5dcd8, accecc9a23f7817a, accecc9a23f7817a, 3599f22ea809e24a),
#undef ROW
    };
    float *x = malloc(MADE_ROWS * MADE_COLS * sizeof *x), w[MADE_COLS];
    make_w(w);
    void (*const make[3])(float *) = {make_a, make_b, make_c};
    for (size_t i = 0; i < KQ_COUNT(rows); i++) {
        for (int set = 0; set < 5; set++) {
            make[set / 2](x);
            kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
            o.importances = set % 2 ? w : NULL;
            o.importance_floats = set % 2 ? MADE_COLS : 0;
            size_t size;
            uint8_t *bytes = encode(rows[i].codec, x, MADE_ROWS, MADE_COLS, &o, &size);
            uint64_t h = golden_hash(bytes, size);
            if (h != rows[i].hash[set]) {
                fail_msg("%s, set %d: %016llx, the reference has %016llx", kq_codec_describe(rows[i].codec)->name, set,
                         (unsigned long long)h, (unsigned long long)rows[i].hash[set]);
            }
            free(bytes);
        }
    }
    free(x);
}

/* Rows of zeros: some formats have a way of their own to say them. */
static void encodes_zeros(void **state) {
    (void)state;
    float x[256] = {0}, ones[256];
    for (int i = 0; i < 256; i++) ones[i] = 1;
    for (uint32_t c = 0; c < KQ_CODEC_LIMIT; c++) {
        const kq_codec_info *info = kq_codec_describe(c);
        if (!info || !info->decodes) continue;
        for (int with = info->needs_importances; with < 2; with++) {
            kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
            o.importances = with ? ones : NULL;
            o.importance_floats = with ? info->block_weights : 0;
            size_t size;
            uint8_t *got = encode(c, x, 1, info->block_weights, &o, &size), want[256] = {0};
            memset(want, 0, sizeof want);
            switch (c) {
            case KQ_Q4_0:
                if (with) break;
                want[1] = 0x80;
                memset(want + 2, 0x88, 16);
                break;
            case KQ_Q5_0:
                if (with) break;
                want[1] = 0x80;
                memset(want + 2, 0xff, 4);
                break;
            case KQ_Q1_0: memset(want + 2, 0xff, 16); break;
            case KQ_Q2_0: memset(want + 2, 0x55, 16); break;
            case KQ_TQ1_0:
                memset(want, 0x80, 48);
                memset(want + 48, 0x7f, 4);
                break;
            case KQ_TQ2_0: memset(want, 0x55, 64); break;
            case KQ_IQ4_NL: memset(want + 2, 0x88, 16); break;
            case KQ_IQ4_XS:
                want[1] = 0x80;
                memset(want + 2, 0xaa, 2);
                memset(want + 8, 0x88, 128);
                break;
            default: break;
            }
            same_bytes(info->name, got, want, size, info->block_bytes);
            float back[256];
            assert_int_equal(kq_dequantize(c, got, size, info->block_weights, back, 256, NULL), KQ_OK);
            for (uint32_t i = 0; i < info->block_weights; i++) assert_true(back[i] == 0);
            free(got);
        }
    }
}

/* Rows that searches stumble over, of 1024, by integers and powers of two alone so that they are the same everywhere. */
enum { HOSTILE_ROWS = 14, HOSTILE_WEIGHTS = 5 };

static void make_hostile(float *x) {
    uint32_t s = 5;
    for (int row = 0; row < HOSTILE_ROWS; row++) {
        for (int i = 0; i < MADE_COLS; i++, x++) {
            int u = (int)draw(&s) - (1 << 23), v = (int)draw(&s);
            float g = ldexpf((float)u, -23);
            switch (row) {
            case 0: *x = v % 3 ? g : v % 2 ? -0.0f : 0; break;
            case 1: *x = ldexpf(g, -30); break;
            case 2: *x = ldexpf(g, i / 256 % 2 ? -48 : -52); break; /* about 1e-15, where groups count as zero */
            case 3: *x = ldexpf(g, -130); break;                    /* subnormal */
            case 4: *x = ldexpf(g, 20); break;
            case 5: *x = ldexpf(g, v % 40 - 20); break;
            case 6: *x = i / 32 % 3 == 1 ? 0 : g; break; /* groups of zeros: iq3_s slips */
            case 7: *x = v % 20 ? -fabsf(g) : 0.1f; break;
            case 8: *x = v % 50 ? g : 100 * g; break;
            case 9: *x = i % 256 == v % 7 * 33 ? g : 0; break;
            case 10: *x = (float)(u >> 21); break;
            case 11: *x = ldexpf(g, 30); break; /* scales beyond binary16 */
            case 12: *x = ldexpf(g, 12 - i / 16 * 11 % 24); break;
            default: *x = u < 0 ? -0.5f : 0.5f; break;
            }
        }
    }
}

static void make_hostile_weights(int kind, float *w) {
    uint32_t s = 6;
    for (int i = 0; i < MADE_COLS; i++) {
        uint32_t u = draw(&s), v = draw(&s);
        float g = (float)(u + 1) * 0x1p-24f;
        w[i] = kind == 1 ? (v % 2 ? g : 0) : kind == 2 ? ldexpf(g, (int)(v % 66) - 33) : kind == 3 ? (i / 32 % 2 ? 0 : g) : v % 2 ? 1 : 0x1p-40f;
    }
}

/* hostile.txt: codec, kind of importances (0 none), FNV-1a of the blocks of all rows, each as ggml's reference encoder gives it. */
static void encodes_hostile_rows(void **state) {
    (void)state;
    FILE *list = golden_open("codecs/hostile.txt");
    float *x = malloc(HOSTILE_ROWS * MADE_COLS * sizeof *x), w[MADE_COLS];
    make_hostile(x);
    char name[32];
    int kind, n = 0;
    unsigned long long hash;
    while (fscanf(list, "%31s %d %llx", name, &kind, &hash) == 3) {
        make_hostile_weights(kind, w);
        kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
        o.importances = kind ? w : NULL;
        o.importance_floats = kind ? MADE_COLS : 0;
        size_t size;
        uint8_t *bytes = encode(kq_codec_find(name)->codec, x, HOSTILE_ROWS, MADE_COLS, &o, &size);
        uint64_t h = golden_hash(bytes, size);
        if (h != hash) fail_msg("%s, importances %d: %016llx, the reference has %016llx", name, kind, (unsigned long long)h, hash);
        free(bytes);
        n++;
    }
    assert_int_equal(n, 25 * HOSTILE_WEIGHTS - 3);
    free(x);
    fclose(list);
}

/* One block of 256 in which a rule decides that hardly ever does; the seeds were found by breaking the rule and looking for a block
 * that changed. Kind 0 differs between groups of 16 by up to 2^28, kind 1 has importances over 2^60, kind 2 is ties of q8_0. */
static void make_rare(int kind, uint32_t s, float *x, float *w) {
    float group = 1;
    for (int i = 0; i < 256; i++) {
        uint32_t u = draw(&s), v = draw(&s), t = draw(&s);
        float g = (float)((int)v - (1 << 23)) * 0x1p-23f;
        if (i % 16 == 0) group = ldexpf(1, (int)(u >> 4) % 28 - 14);
        x[i] = kind == 0 ? g * group : kind == 1 ? g * g * g + (i % 5 ? 0 : 2 * g) : i % 32 ? (float)((int)(u % 255) - 127) * 0.5f : 127;
        w[i] = ldexpf((float)(t + 1) * 0x1p-24f, (int)((u >> 4) % 60) - 30);
    }
}

static void encodes_rare_blocks(void **state) {
    (void)state;
    static const struct { kq_codec codec; int kind; uint32_t seed; bool weighted; uint64_t hash; } rows[] = {
        {KQ_Q3_K, 0, 1085, false, UINT64_C(0x23b1246080625852)},  /* d is 1 / (-32 / x), not x / -32 */
        {KQ_Q3_K, 0, 24389, false, UINT64_C(0x20e92a0bd2f4a8fb)}, /* the same */
        {KQ_Q3_K, 0, 1844, false, UINT64_C(0xb672bff36fa088a0)},  /* at most 5 sweeps refine signed codes */
        {KQ_Q3_K, 0, 9015, false, UINT64_C(0x7dff2cfd17b1506f)},  /* the same */
        {KQ_Q2_K, 1, 3669, true, UINT64_C(0x1be7f2de1361745f)},   /* at most 5 sweeps refine the scales of scales */
        {KQ_Q2_K, 1, 4196, true, UINT64_C(0x697a031edb412b98)},   /* the same */
        {KQ_Q8_0, 2, 1, false, UINT64_C(0x8062c4cb064f450e)},     /* halves are rounded away from zero */
    };
    for (size_t i = 0; i < KQ_COUNT(rows); i++) {
        float x[256], w[256];
        make_rare(rows[i].kind, rows[i].seed, x, w);
        kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
        o.importances = rows[i].weighted ? w : NULL;
        o.importance_floats = rows[i].weighted ? 256 : 0;
        size_t size;
        uint8_t *bytes = encode(rows[i].codec, x, 1, 256, &o, &size);
        uint64_t h = golden_hash(bytes, size);
        if (h != rows[i].hash) {
            fail_msg("%s, seed %u: %016llx, the reference has %016llx", kq_codec_describe(rows[i].codec)->name, rows[i].seed,
                     (unsigned long long)h, (unsigned long long)rows[i].hash);
        }
        free(bytes);
    }
}

/* A negative value among those that should not be: its code is kept modulo 256, for the packing to cut. */
static void negative_codes_wrap(void **state) {
    (void)state;
    const float x[8] = {10, -0.5f, 9, 0.25f, 3, 1, 7, 5}, w[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    uint8_t codes[8];
    float scale = kq_search_positive(8, 63, x, w, codes);
    assert_true(scale > 0.15f && scale < 0.17f);
    assert_int_equal(codes[0], 63);
    assert_int_equal(codes[1], 256 - 3);
}

/* ---- importances, threads, places --------------------------------------------------------------------------------- */

/* Three experts of five rows, each with importances of its own, on one to four threads: the bytes of three separate calls. Rows
 * are longer than a tile for one codec, shorter for the others, and dst is at every alignment. */
static void experts_have_their_own_importances(void **state) {
    (void)state;
    enum { EXPERTS = 3, EACH = 5, COLS = 512 };
    static float x[EXPERTS * EACH * COLS], w[EXPERTS * COLS];
    uint32_t s = 7;
    for (size_t i = 0; i < KQ_COUNT(x); i++) x[i] = (float)((int)draw(&s) - (1 << 23)) * 0x1p-28f;
    for (size_t i = 0; i < KQ_COUNT(w); i++) w[i] = (float)draw(&s) * 0x1p-20f;
    kq_pool *pools[4] = {NULL};
    for (int t = 1; t < 4; t++) assert_int_equal(kq_pool_open(&pools[t], t + 1, NULL, NULL), KQ_OK);
    for (uint32_t c = 0; c < KQ_CODEC_LIMIT; c++) {
        const kq_codec_info *info = kq_codec_describe(c);
        if (!info || !info->decodes) continue;
        kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
        uint8_t *want = NULL;
        size_t size, total = 0;
        for (size_t e = 0; e < EXPERTS; e++) {
            o.importances = w + e * COLS;
            o.importance_floats = COLS;
            uint8_t *part = encode(c, x + e * EACH * COLS, EACH, COLS, &o, &size);
            want = realloc(want, total + size);
            memcpy(want + total, part, size);
            total += size;
            free(part);
        }
        o.importances = w;
        o.importance_floats = EXPERTS * COLS;
        o.group_rows = EACH;
        o.cpu_mask = cpu_mask;
        for (size_t t = 0; t < 4; t++) {
            o.pool = pools[t];
            uint8_t *got = malloc(total + 2 * 8);
            memset(got, 0xa5, total + 16);
            kq_error e = {0};
            size_t shift = 1 + 2 * t;
            assert_int_equal(kq_quantize(c, x, KQ_COUNT(x), EXPERTS * EACH, COLS, got + shift, total, &o, &e), KQ_OK);
            same_bytes(info->name, got + shift, want, total, info->block_bytes);
            for (size_t i = 0; i < shift; i++) assert_int_equal(got[i], 0xa5);
            for (size_t i = shift + total; i < total + 16; i++) assert_int_equal(got[i], 0xa5);
            free(got);
        }
        free(want);
    }
    for (int t = 1; t < 4; t++) kq_pool_close(pools[t]);
}

static void floats_are_rounded(void **state) {
    (void)state;
    const float x[] = {1, 65520, -1e-8f, 1.00048828125f, INFINITY, NAN, 0x1p-25f, -0.0f};
    static const uint16_t f16[] = {0x3c00, 0x7c00, 0x8000, 0x3c00, 0x7c00, 0x7e00, 0, 0x8000};
    static const uint16_t bf16[] = {0x3f80, 0x4780, 0xb22c, 0x3f80, 0x7f80, 0x7fc0, 0x3300, 0x8000};
    uint16_t out[8];
    float same[8];
    assert_int_equal(kq_quantize(KQ_F16, x, 8, 1, 8, out, 16, NULL, NULL), KQ_OK);
    assert_memory_equal(out, f16, 16);
    assert_int_equal(kq_quantize(KQ_BF16, x, 8, 1, 8, out, 16, NULL, NULL), KQ_OK);
    assert_memory_equal(out, bf16, 16);
    assert_int_equal(kq_quantize(KQ_F32, x, 8, 8, 1, same, 32, NULL, NULL), KQ_OK);
    assert_memory_equal(same, x, 32);
}

/* ---- pieces ------------------------------------------------------------------------------------------------------- */

static void roundings_wrap_as_they_should(void **state) {
    (void)state;
    static const struct { float f; int nearest, truncated, away; } cases[] = {
        {0.5f, 0, 0, 1}, {1.5f, 2, 1, 2}, {-0.5f, 0, 0, -1}, {-1.5f, -2, -1, -2}, {2.49f, 2, 2, 2}, {-2.51f, -3, -2, -3},
        {0.49999997f, 0, 0, 0}, {4194303, 4194303, 4194303, 4194303}, {INFINITY, -4194304, INT32_MIN, INT32_MIN},
        {-INFINITY, -4194304, INT32_MIN, INT32_MIN}, {NAN, 0, INT32_MIN, INT32_MIN}, {0x1p31f, -4145152, INT32_MIN, INT32_MIN},
        {-0x1p31f, 4096000, INT32_MIN, INT32_MIN}, {0x1.fffffep30f, -4145152, 2147483520, 2147483520}, {8388609, -2097152, 8388609, 8388609},
    };
    for (size_t i = 0; i < KQ_COUNT(cases); i++) {
        assert_int_equal(kq_nearest(cases[i].f), cases[i].nearest);
        assert_int_equal(kq_truncate(cases[i].f), cases[i].truncated);
        assert_int_equal(kq_round_away(cases[i].f), cases[i].away);
    }
}

/* Every key of every grid: a point has its own index; any other key has a list of all points at its smallest distances, nearest
 * first, by rising index among equals. */
static void lattices_list_what_is_near(void **state) {
    (void)state;
    for (int id = 0; id < KQ_LATTICES; id++) {
        const kq_lattice *l = kq_lattice_get((kq_lattice_id)id);
        uint32_t used = 0;
        int keys = 1;
        for (int e = 0; e < l->cell; e++) keys *= l->base;
        for (int n = 0; n < keys; n++) {
            uint8_t codes[8];
            for (int e = 0, rest = n; e < l->cell; e++, rest /= l->base) codes[e] = (uint8_t)(rest % l->base);
            unsigned key = kq_lattice_key(l, codes);
            int distance[2048], n_within[256] = {0};
            for (int i = 0; i < l->points; i++) {
                distance[i] = 0;
                for (int e = 0; e < l->cell; e++) {
                    int d = kq_lattice_code(l, l->grid[i], e) - codes[e];
                    distance[i] += d * d;
                }
                n_within[distance[i]]++;
            }
            if (n_within[0]) {
                assert_int_equal(n_within[0], 1);
                assert_true(l->find[key] >= 0);
                assert_int_equal(distance[l->find[key]], 0);
                continue;
            }
            assert_true(l->find[key] < 0);
            int want = 0;
            for (int d = 0, shells = 0; shells < l->shells; d++) {
                shells += n_within[d] > 0;
                want += n_within[d];
            }
            const uint16_t *list = l->near + (-1 - l->find[key]);
            assert_int_equal(list[0], want);
            for (int i = 1, before = -1; i <= want; i++) {
                int here = l->find[list[i]];
                assert_true(here >= 0);
                assert_true(before < 0 || distance[before] < distance[here] || (distance[before] == distance[here] && before < here));
                before = here;
            }
            used += (uint32_t)want + 1;
        }
        assert_int_equal(used, l->near_size);
    }
}

/* The exponent of mxfp4 comes from a logarithm in binary32, which rounds up to a whole number just below a power of two. */
static void mxfp4_takes_the_rounded_logarithm(void **state) {
    (void)state;
    for (int exponent = -120; exponent < 128; exponent++) {
        for (uint32_t below = 0; below < 64; below++) { /* floats below 2^exponent, nearest first; below = 0 is the power itself */
            float x[32] = {0};
            if (exponent == 128 && !below) continue;
            x[3] = kq_bits_to_f32(kq_f32_to_bits(ldexpf(1, exponent)) - below);
            kq_block_mxfp4 b;
            assert_true(kq_encode_mxfp4(x, 32, NULL, &b));
            int floor_log = (int)floorf((float)log2((double)x[3]));
            assert_int_equal(b.e, (floor_log - 2 + 127) & 255);
        }
    }
}

/* ---- refusals ----------------------------------------------------------------------------------------------------- */

static void quantize_checks_its_arguments(void **state) {
    (void)state;
    static float x[4 * 256], w[2 * 256];
    static uint8_t dst[4 * 1024];
    for (size_t i = 0; i < KQ_COUNT(w); i++) w[i] = 1;
    const size_t n = KQ_COUNT(x), d = sizeof dst;
    static const struct {
        uint32_t codec;
        size_t src_floats, dst_bytes;
        uint64_t rows, cols, group_rows;
        size_t importance_floats; /* 0: none are given */
        const char *text;         /* NULL: fine */
    } cases[] = {
        {KQ_Q4_K, 1024, 4096, 4, 256, 0, 0, NULL},
        {KQ_Q4_K, 1024, 4 * 144, 4, 256, 2, 512, NULL},
        {KQ_Q4_K, 0, 0, 0, 256, 0, 0, NULL},
        {KQ_F32, 0, 0, 4, 0, 0, 0, NULL},
        {9, 1024, 4096, 4, 256, 0, 0, "codec 9 is unknown"},
        {UINT32_MAX, 1024, 4096, 4, 256, 0, 0, "codec 4294967295 is unknown"},
        {KQ_I16, 1024, 4096, 4, 256, 0, 0, "i16 is plain data, it has no encoding"},
        {KQ_Q4_K, 1024, 4096, 4, 255, 0, 0, "a row of 255 weights is no whole number of q4_k's blocks of 256"},
        {KQ_Q4_K, 1023, 4096, 4, 256, 0, 0, "src has 1023 floats, fewer than 4 rows of 256"},
        {KQ_Q4_K, 1024, 4 * 144 - 1, 4, 256, 0, 0, "dst has 575 bytes, fewer than 4 rows of 144 in q4_k"},
        {KQ_Q4_K, 1024, 4096, UINT64_C(1) << 56, 256, 0, 0, "src has 1024 floats, fewer than 72057594037927936 rows of 256"},
        {KQ_Q4_K, SIZE_MAX, 4096, UINT64_C(1) << 55, 256, 0, 0, "dst has 4096 bytes, fewer than 36028797018963968 rows of 144 in q4_k"},
        {KQ_IQ2_XXS, 1024, 4096, 4, 256, 0, 0, "iq2_xxs cannot be encoded without importances"},
        {KQ_IQ2_XS, 1024, 4096, 4, 256, 0, 0, "iq2_xs cannot be encoded without importances"},
        {KQ_IQ1_S, 1024, 4096, 4, 256, 0, 0, "iq1_s cannot be encoded without importances"},
        {KQ_IQ1_M, 1024, 4096, 4, 256, 0, 0, NULL},
        {KQ_Q4_K, 1024, 4096, 4, 256, 3, 512, "4 rows are no whole number of groups of 3"},
        {KQ_Q4_K, 1024, 4096, 4, 256, 0, 512, "there are 512 importances, 1 groups of 256 columns need fewer"},
        {KQ_Q4_K, 1024, 4096, 4, 256, 1, 512, "there are 512 importances, 4 groups of 256 columns need more"},
        {KQ_Q4_K, 1024, 4096, 4, 256, 8, 256, "4 rows are no whole number of groups of 8"},
    };
    for (size_t i = 0; i < KQ_COUNT(cases); i++) {
        kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
        o.importances = cases[i].importance_floats ? w : NULL;
        o.importance_floats = cases[i].importance_floats;
        o.group_rows = cases[i].group_rows;
        kq_error e = {0};
        kq_status status = kq_quantize(cases[i].codec, x, cases[i].src_floats, cases[i].rows, cases[i].cols, dst, cases[i].dst_bytes, &o, &e);
        assert_string_equal(e.text, cases[i].text ? cases[i].text : "");
        assert_int_equal(status, cases[i].text ? KQ_E_ARGUMENT : KQ_OK);
    }
    kq_error e = {0};
    assert_int_equal(kq_quantize(KQ_Q4_K, NULL, n, 4, 256, dst, d, NULL, &e), KQ_E_ARGUMENT);
    assert_string_equal(e.text, "src is NULL");
    assert_int_equal(kq_quantize(KQ_Q4_K, x, n, 4, 256, NULL, d, NULL, &e), KQ_E_ARGUMENT);
    assert_string_equal(e.text, "dst is NULL");
    static const struct { float value; const char *text; } bad[] = {
        {NAN, "importance of group 1, column 44 is nan"},
        {INFINITY, "importance of group 1, column 44 is inf"},
        {-0.5f, "importance of group 1, column 44 is -0.5"},
    };
    for (size_t i = 0; i < KQ_COUNT(bad); i++) {
        kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
        o.importances = w;
        o.importance_floats = 512;
        o.group_rows = 2;
        w[300] = bad[i].value;
        assert_int_equal(kq_quantize(KQ_Q4_K, x, n, 4, 256, dst, d, &o, &e), KQ_E_ARGUMENT);
        assert_string_equal(e.text, bad[i].text);
    }
}

/* The first bad row is named, whoever comes upon which first. */
static void bad_rows_are_named(void **state) {
    (void)state;
    enum { ROWS = 4000, COLS = 256 };
    float *x = malloc(ROWS * COLS * sizeof *x), w[COLS];
    size_t bytes = (size_t)ROWS * COLS * 4;
    uint8_t *dst = malloc(bytes);
    for (size_t i = 0; i < COLS; i++) w[i] = 1;
    kq_pool *pool;
    assert_int_equal(kq_pool_open(&pool, 4, NULL, NULL), KQ_OK);
    kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
    o.importances = w;
    o.importance_floats = COLS;
    o.pool = pool;
    o.cpu_mask = cpu_mask;
    for (uint32_t c = 0; c < KQ_CODEC_LIMIT; c++) {
        const kq_codec_info *info = kq_codec_describe(c);
        if (!info || !info->decodes) continue;
        for (size_t i = 0; i < ROWS * COLS; i++) x[i] = 0;
        for (size_t row = 1234; row < ROWS; row += 7) x[row * COLS + 17] = row % 2 ? NAN : -INFINITY;
        kq_error e = {0};
        kq_status status = kq_quantize(c, x, ROWS * COLS, ROWS, COLS, dst, bytes, &o, &e);
        assert_int_equal(status, is_float(c) ? KQ_OK : KQ_E_ARGUMENT);
        assert_string_equal(e.text, is_float(c) ? "" : "row 1234, column 17 is infinite");
        x[1233 * COLS + 255] = NAN;
        status = kq_quantize(c, x, ROWS * COLS, ROWS, COLS, dst, bytes, &o, &e);
        assert_string_equal(e.text, is_float(c) ? "" : "row 1233, column 255 is NaN");
    }
    static const uint32_t fragile[] = {KQ_IQ2_XS, KQ_IQ2_S, KQ_IQ3_XXS, KQ_IQ3_S};
    for (size_t k = 0; k < KQ_COUNT(fragile); k++) { /* sums of squares overflow: an error, where the reference aborts */
        uint32_t s = 8;
        for (size_t i = 0; i < ROWS * COLS; i++) x[i] = 0;
        for (size_t i = 0; i < COLS; i++) x[77 * COLS + i] = ldexpf((float)((int)draw(&s) - (1 << 23)), 100);
        kq_error e = {0};
        char text[160];
        snprintf(text, sizeof text, "row 77 has weights too large for the search of %s", kq_codec_describe(fragile[k])->name);
        kq_status status = kq_quantize(fragile[k], x, ROWS * COLS, ROWS, COLS, dst, bytes, &o, &e);
        assert_string_equal(e.text, text);
        assert_int_equal(status, KQ_E_ARGUMENT);
    }
    kq_pool_close(pool);
    free(x);
    free(dst);
}

int main(void) {
    const struct CMUnitTest bytes[] = {
        cmocka_unit_test(encodes_every_golden),
        cmocka_unit_test(encodes_made_data),
        cmocka_unit_test(encodes_zeros),
        cmocka_unit_test(encodes_hostile_rows),
        cmocka_unit_test(encodes_rare_blocks),
        cmocka_unit_test(experts_have_their_own_importances),
        cmocka_unit_test(bad_rows_are_named),
    };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(negative_codes_wrap),
        cmocka_unit_test(floats_are_rounded),
        cmocka_unit_test(roundings_wrap_as_they_should),
        cmocka_unit_test(lattices_list_what_is_near),
        cmocka_unit_test(mxfp4_takes_the_rounded_logarithm),
        cmocka_unit_test(quantize_checks_its_arguments),
    };
    static const struct { const char *name; uint32_t mask; } tiers[] = {
        {"quantize, baseline", KQ_CPU_NONE}, {"quantize, avx2", KQ_CPU_AVX2}, {"quantize, all", 0},
    };
    int failed = cmocka_run_group_tests_name("quantize", others, NULL, NULL);
    for (size_t i = 0; i < KQ_COUNT(tiers); i++) {
        cpu_mask = tiers[i].mask;
        if (cpu_mask == KQ_CPU_AVX2 && !(kq_cpu_features() & KQ_CPU_AVX2)) continue;
        failed += cmocka_run_group_tests_name(tiers[i].name, bytes, NULL, NULL);
    }
    return failed;
}
