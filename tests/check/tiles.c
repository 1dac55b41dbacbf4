/* SPDX-License-Identifier: MIT */
/* The checks of the tile kernels: strips, panels, and their products in double with a bound from the data; and their bench, in shares of
 * what the machine's multipliers do when they do nothing else. */
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

enum { BUFFER = 4 << 20 };

static buffer panels, strips, outputs;
static float *floats; /* plain memory */

static void open_buffers(void) {
    if (floats) return;
    buffer_open(&panels, BUFFER);
    buffer_open(&strips, BUFFER);
    buffer_open(&outputs, BUFFER);
    floats = malloc(BUFFER);
    if (!floats) exit(1);
}

static void finish(void) {
    if (!buffer_whole(&panels) || !buffer_whole(&strips)) case_failed("wrote round an input");
    if (!buffer_whole(&outputs)) case_failed("wrote outside the result");
    n_cases++;
}

static bool same(float a, float b) { return kq_f32_to_bits(a) == kq_f32_to_bits(b) || (a != a && b != b); }

/* ---- elements of panels and strips --------------------------------------------------------------------------------------- */

static size_t padded(size_t n) { return (n + KQ_TILE_STEP - 1) / KQ_TILE_STEP * KQ_TILE_STEP; }
static size_t unit(const kq_kernel *k) { return k->codec == KQ_BF16 ? 2 : 4; }

/* What a float is in a panel: itself, or the nearest bf16, and a zero below the least normal number. */
static float to_bf16(float v) { return fabsf(v) < 0x1p-126f ? copysignf(0, v) : kq_bf16_to_f32(kq_f32_to_bf16(v)); }
static float rounded(const kq_kernel *k, float v) { return k->codec == KQ_F32 ? v : to_bf16(v); }

static float element(const kq_kernel *k, const uint8_t *at, size_t i) {
    return k->codec == KQ_F32 ? kq_load_f32(at + 4 * i) : kq_bf16_to_f32(kq_load_u16(at + 2 * i));
}

/* Where lane j of a strip has its weight i. */
static size_t strip_index(const kq_kernel *k, size_t i, size_t j) {
    return k->codec == KQ_F32 ? i * KQ_LANES + j : i / 2 * 2 * KQ_LANES + 2 * j + i % 2;
}

/* ---- pack and narrow ------------------------------------------------------------------------------------------------------ */

static void pack_case(const kq_kernel *k, size_t m, size_t n, floats_kind kind, place where) {
    case_name("%s: %zu rows of %zu, %s, at %s", k->name, m, n, floats_names[kind], place_names[where]);
    size_t gap = random_below(2) ? 0 : random_below(9), end = padded(n);
    float *x = buffer_place(&panels, ((m - 1) * (n + gap) + n) * sizeof(float), where, sizeof(float));
    buffer_place(&strips, 0, AT_START, 1);
    uint8_t *out = buffer_place(&outputs, end * KQ_LANES * unit(k), where, unit(k));
    make_floats(kind, x, (m - 1) * (n + gap) + n);
    buffer_protect(&panels);
    const float *rows[KQ_LANES];
    for (size_t j = 0; j < m; j++) rows[j] = x + j * (n + gap);
    ((kq_pack_fn *)k->fn)(rows, m, n, out);
    for (size_t i = 0; i < end; i++) {
        for (size_t j = 0; j < KQ_LANES; j++) {
            float want = j < m && i < n ? rounded(k, rows[j][i]) : 0, got = element(k, out, strip_index(k, i, j));
            if (same(got, want)) continue;
            case_failed("weight %zu of lane %zu is %a, must be %a", i, j, (double)got, (double)want);
            i = end;
            break;
        }
    }
    finish();
}

static void narrow_case(const kq_kernel *k, size_t n, floats_kind kind, place where) {
    case_name("%s: %zu weights, %s, at %s", k->name, n, floats_names[kind], place_names[where]);
    float *w = buffer_place(&panels, n * sizeof(float), where, sizeof(float));
    buffer_place(&strips, 0, AT_START, 1);
    uint8_t *out = buffer_place(&outputs, padded(n) * unit(k), where, unit(k));
    make_floats(kind, w, n);
    buffer_protect(&panels);
    ((kq_narrow_fn *)k->fn)(w, n, out);
    for (size_t i = 0; i < padded(n); i++) {
        float want = i < n ? rounded(k, w[i]) : 0, got = element(k, out, i);
        if (same(got, want)) continue;
        case_failed("weight %zu is %a, must be %a", i, (double)got, (double)want);
        break;
    }
    finish();
}

/* The decoded weights, rounded: each row of a panel is what decode gives, to bf16. */
static void panel_case(const kq_kernel *k, size_t n_rows, size_t n_blocks, size_t gap, weights_kind kind, place where) {
    case_name("%s: %zu rows of %zu blocks, %s, at %s", k->name, n_rows, n_blocks, weights_names[kind], place_names[where]);
    const kq_codec_info *c = kq_codec_describe(k->codec);
    size_t row_bytes = n_blocks * c->block_bytes + gap, n = n_blocks * c->block_weights, pitch = 2 * n + 64 * gap;
    uint8_t *w = buffer_place(&panels, n_rows * row_bytes - gap, where, 1);
    buffer_place(&strips, 0, AT_START, 1);
    uint8_t *out = buffer_place(&outputs, n_rows * pitch - 64 * gap, where, 64);
    for (size_t r = 0; r < n_rows; r++) make_weights(c, kind, w + r * row_bytes, n_blocks);
    buffer_protect(&panels);
    ((kq_panel_fn *)k->fn)(w, row_bytes, n_rows, n_blocks, out, pitch);
    for (size_t r = 0; r < n_rows; r++) {
        kq_codec_decoder(k->codec)(w + r * row_bytes, n_blocks, floats);
        for (size_t i = 0; i < n; i++) {
            float want = to_bf16(floats[i]), got = kq_bf16_to_f32(kq_load_u16(out + r * pitch + 2 * i));
            if (same(got, want)) continue;
            case_failed("weight %zu of row %zu is %a, must be %a", i, r, (double)got, (double)want);
            r = n_rows - 1;
            break;
        }
    }
    finish();
}

static void check_panel(const kq_kernel *k) {
    static const size_t blocks[] = {1, 2, 3, 7, 8, 9, 16};
    for (size_t i = 0; i < KQ_COUNT(blocks); i++)
        for (int kind = 0; kind < N_WEIGHTS; kind++)
            for (int where = 0; where < N_PLACES; where++) panel_case(k, 1 + random_below(13), blocks[i], random_below(3), (weights_kind)kind, (place)where);
}

/* ---- tile ------------------------------------------------------------------------------------------------------------------ */

typedef struct tile_size {
    size_t n_rows, n_strips, n, gap; /* gap: bytes between rows, between strips, and floats between sums */
} tile_size;

static void put(const kq_kernel *k, uint8_t *at, size_t i, float v) {
    uint16_t half = kq_f32_to_bf16(v);
    if (k->codec == KQ_F32) memcpy(at + 4 * i, &v, 4);
    else memcpy(at + 2 * i, &half, 2);
}

static void tile_case(const kq_kernel *k, tile_size s, floats_kind kind, bool add, place where) {
    case_name("%s: %zu rows, %zu strips, %zu weights, gap %zu, %s, %s, at %s", k->name, s.n_rows, s.n_strips, s.n, s.gap, floats_names[kind],
              add ? "added" : "anew", place_names[where]);
    size_t rows = (s.n_rows + KQ_TILE_ROWS - 1) / KQ_TILE_ROWS * KQ_TILE_ROWS, w_pitch = s.n * unit(k) + s.gap;
    size_t x_pitch = s.n * KQ_LANES * unit(k) + s.gap, sums_pitch = rows * KQ_LANES + s.gap;
    uint8_t *w = buffer_place(&panels, rows * w_pitch - s.gap, where, unit(k));
    uint8_t *x = buffer_place(&strips, s.n_strips * x_pitch - s.gap, where, unit(k));
    float *sums = buffer_place(&outputs, (s.n_strips * sums_pitch - s.gap) * sizeof(float), where, sizeof(float));
    for (size_t r = 0; r < rows; r++) {
        make_floats(kind, floats, s.n);
        for (size_t i = 0; i < s.n; i++) put(k, w + r * w_pitch, i, floats[i]);
    }
    for (size_t at = 0; at < s.n_strips * KQ_LANES; at++) {
        make_floats(kind, floats, s.n);
        for (size_t i = 0; i < s.n; i++) put(k, x + at / KQ_LANES * x_pitch, strip_index(k, i, at % KQ_LANES), floats[i]);
    }
    make_floats(add ? kind : FLOATS_SPECIAL, sums, s.n_strips * sums_pitch - s.gap);
    memcpy(floats, sums, (s.n_strips * sums_pitch - s.gap) * sizeof(float));
    buffer_protect(&panels);
    buffer_protect(&strips);
    ((kq_tile_fn *)k->fn)(w, w_pitch, s.n_rows, x, x_pitch, s.n_strips, s.n, sums, sums_pitch, add);
    for (size_t strip = 0; strip < s.n_strips; strip++) {
        for (size_t r = 0; r < s.n_rows; r++) {
            for (size_t j = 0; j < KQ_LANES; j++) {
                size_t at = strip * sums_pitch + r * KQ_LANES + j;
                double sum = add ? (double)floats[at] : 0, all = fabs(sum);
                for (size_t i = 0; i < s.n; i++) {
                    double product = (double)element(k, w + r * w_pitch, i) * (double)element(k, x + strip * x_pitch, strip_index(k, i, j));
                    sum += product;
                    all += fabs(product);
                }
                /* A term passes through at most n + 1 additions, each off by 2^-24 of its sum, or n / 2 + 1 where ARM rounds bf16 to odd, which
                 * is off by 2^-23: n + 2 either way, and one more for what errors of errors give. bf16 flushes products and sums that underflow. */
                double bound = 0x1p-24 * (double)(s.n + 3) * all + (double)(2 * s.n + 1) * 0x1p-126, error = fabs((double)sums[at] - sum);
                if (all > 3e38) continue; /* may overflow on the way */
                if (!(error <= bound)) case_failed("row %zu, lane %zu of strip %zu: %.9g, must be %.9g +- %.3g", r, j, strip, (double)sums[at], sum, bound);
                case_error(error / bound);
            }
        }
    }
    finish();
}

/* Infinities and NaN arrive where they belong and nowhere else. */
static void tile_special(const kq_kernel *k) {
    enum { N = 64, ROWS = KQ_TILE_ROWS };
    case_name("%s: an infinity and a NaN", k->name);
    uint8_t *w = buffer_place(&panels, (size_t)ROWS * N * unit(k), AT_END, unit(k)), *x = buffer_place(&strips, (size_t)N * KQ_LANES * unit(k), AT_END, unit(k));
    float *sums = buffer_place(&outputs, (size_t)ROWS * KQ_LANES * sizeof(float), AT_END, sizeof(float));
    for (size_t i = 0; i < (size_t)ROWS * N; i++) put(k, w, i, 1);
    for (size_t i = 0; i < (size_t)N * KQ_LANES; i++) put(k, x, i, 1);
    for (size_t i = 0; i < (size_t)ROWS * KQ_LANES; i++) sums[i] = NAN;
    put(k, x, strip_index(k, 5, 3), INFINITY);
    put(k, x, strip_index(k, 33, 7), NAN);
    put(k, w, 2 * N + 9, -INFINITY);
    ((kq_tile_fn *)k->fn)(w, N * unit(k), ROWS, x, 0, 1, N, sums, 0, false);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t j = 0; j < KQ_LANES; j++) {
            float got = sums[r * KQ_LANES + j], want = j == 7 || (j == 3 && r == 2) ? NAN : j == 3 ? INFINITY : r == 2 ? -INFINITY : N;
            if (!same(got, want)) case_failed("row %zu, lane %zu is %a, must be %a", r, j, (double)got, (double)want);
        }
    }
    finish();
}

static void check_tile(const kq_kernel *k) {
    static const tile_size sizes[] = {{1, 1, 32, 0}, {96, 4, 512, 64}, {48, 3, 64, 0}, {13, 2, 96, 4}, {17, 5, 512, 8}, {33, 1, 160, 0}, {60, 2, 32, 12}, {7, 1, 2048, 0},
                                      {384, 3, 256, 64}};
    for (size_t i = 0; i < KQ_COUNT(sizes); i++)
        for (int kind = 0; kind < FLOATS_SPECIAL; kind++) tile_case(k, sizes[i], (floats_kind)kind, (kind + (int)i) % 2, (place)random_below(N_PLACES));
    tile_special(k);
}

/* ---- unpack ---------------------------------------------------------------------------------------------------------------- */

static void unpack_case(const kq_kernel *k, size_t n_rows, size_t m, bool bias, place where) {
    case_name("%s: %zu rows, m %zu%s, at %s", k->name, n_rows, m, bias ? " with bias" : "", place_names[where]);
    size_t gap = random_below(5);
    float *sums = buffer_place(&panels, n_rows * KQ_LANES * sizeof(float), where, sizeof(float));
    float *b = buffer_place(&strips, bias ? n_rows * sizeof(float) : 0, where, sizeof(float));
    float *out = buffer_place(&outputs, ((m - 1) * (n_rows + gap) + n_rows) * sizeof(float), where, sizeof(float)), *y[KQ_LANES];
    make_floats(FLOATS_SPECIAL, sums, n_rows * KQ_LANES);
    if (bias) make_floats(FLOATS_SPECIAL, b, n_rows);
    make_floats(FLOATS_GAUSSIAN, out, (m - 1) * (n_rows + gap) + n_rows);
    memcpy(floats, out, ((m - 1) * (n_rows + gap) + n_rows) * sizeof(float));
    buffer_protect(&panels);
    buffer_protect(&strips);
    for (size_t j = 0; j < m; j++) y[j] = out + j * (n_rows + gap);
    ((kq_unpack_fn *)k->fn)(sums, n_rows, m, bias ? b : NULL, y);
    for (size_t j = 0; j < m; j++)
        for (size_t r = 0; r < n_rows; r++) floats[j * (n_rows + gap) + r] = bias ? sums[r * KQ_LANES + j] + b[r] : sums[r * KQ_LANES + j];
    for (size_t i = 0; i < (m - 1) * (n_rows + gap) + n_rows; i++) {
        if (same(out[i], floats[i])) continue;
        case_failed("float %zu is %a, must be %a", i, (double)out[i], (double)floats[i]);
        break;
    }
    finish();
}

void check_tiles(const kq_kernel *k) {
    static const size_t sizes[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 64, 96, 172, 512};
    open_buffers();
    for (size_t i = 0; i < KQ_COUNT(sizes) && k->op != KQ_KERNEL_tile && k->op != KQ_KERNEL_panel; i++) {
        for (int where = 0; where < N_PLACES; where++) {
            for (int kind = 0; kind < N_FLOATS && k->op == KQ_KERNEL_narrow; kind++) narrow_case(k, sizes[i], (floats_kind)kind, (place)where);
            for (size_t m = 1; m <= KQ_LANES && k->op == KQ_KERNEL_pack; m += m < 8 ? 1 : 4)
                for (int kind = 0; kind < N_FLOATS; kind += 5) pack_case(k, m, sizes[i], (floats_kind)kind, (place)where);
            for (size_t m = 1; m <= KQ_LANES && k->op == KQ_KERNEL_unpack; m += m < 10 ? 1 : 3) {
                unpack_case(k, sizes[i], m, false, (place)where);
                unpack_case(k, sizes[i], m, true, (place)where);
            }
        }
    }
    if (k->op == KQ_KERNEL_tile) check_tile(k);
    if (k->op == KQ_KERNEL_panel) check_panel(k);
}

/* ---- bench ----------------------------------------------------------------------------------------------------------------- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void bench_tile(const kq_kernel *k) {
    enum { ROWS = 4 * KQ_TILE_ROWS, N = 256, RUNS = 31 }; /* a panel of src/cpu/tiles.c */
    open_buffers();
    size_t w_pitch = N * unit(k) + 64, x_pitch = N * KQ_LANES * unit(k);
    for (size_t n_strips = 2; n_strips <= 32; n_strips *= 4) {
        double rate[RUNS], roofs[RUNS];
        uint8_t *w = buffer_place(&panels, ROWS * w_pitch, ODD, 64), *x = buffer_place(&strips, n_strips * x_pitch, ODD, 64);
        float *sums = buffer_place(&outputs, n_strips * ROWS * KQ_LANES * sizeof(float), ODD, 64);
        memset(w, 0, ROWS * w_pitch);
        memset(x, 0, n_strips * x_pitch);
        memset(sums, 0, n_strips * ROWS * KQ_LANES * sizeof(float));
        for (int run = 0; run < RUNS; run++) {
            roofs[run] = roof(k->codec == KQ_BF16 ? KQ_ROOF_BF16 : KQ_ROOF_F32, k->needs | (k->needs - 1), NULL, 0); /* and the tiers below */
            double start = now();
            size_t repeats = 32 / n_strips;
            for (size_t i = 0; i < repeats; i++) ((kq_tile_fn *)k->fn)(w, w_pitch, ROWS, x, x_pitch, n_strips, N, sums, ROWS * KQ_LANES, true);
            rate[run] = 2.0 * ROWS * N * (double)(n_strips * KQ_LANES * repeats) / (now() - start) * 1e-9;
        }
        double got = median(rate, RUNS), best = median(roofs, RUNS);
        printf("%-32s %3zu %12.1f GFLOP/s %6.0f %% of %.1f\n", k->name, n_strips * KQ_LANES, got, 100 * got / best, best);
    }
}
