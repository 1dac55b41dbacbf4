/* SPDX-License-Identifier: MIT */
/* Timing of kernels: weights that stay in the L2 cache, and weights that come from memory, beside what this machine reads when it
 * does nothing else. Medians of several runs; the roof is measured again before every run, because neighbours come and go, and over
 * as many bytes, because a part of them could stay in a cache. */
#include "check.h"

#include <stdlib.h>
#include <time.h>

enum { COLS = 4096, RUNS = 11, CACHED = 512 << 10 };

static uint8_t *memory;
static size_t memory_bytes;
static uint32_t allowed; /* features */
static kq_act8 *acts;
static uint8_t *woven;
static float *floats, *results;

/* Time of this thread: what the scheduler gives to others in between does not count. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *values, size_t n) {
    qsort(values, n, sizeof *values, by_value);
    return values[n / 2];
}

double roof(kq_roof kind, uint32_t features, void *p, size_t n) {
    kq_roof_options o = KQ_OPTIONS_INIT(kq_roof_options);
    o.cpu_mask = features ? features : KQ_CPU_NONE; /* 0 would be all */
    o.memory = p;
    o.bytes = n;
    o.rounds = p ? 1 : 2048;
    double best = 0;
    uint64_t work = 1;
    for (uint32_t way = 0; work; way++) {
        double start = now();
        if (kq_roof_pass(kind, way, &o, &work, NULL)) return 0;
        if (work) best = KQ_MAX(best, (double)work / (now() - start) * 1e-9);
    }
    return best;
}

void bench_start(size_t megabytes, uint32_t features) {
    allowed = features;
    memory_bytes = KQ_MAX(megabytes, 4) << 20;
    memory = aligned_alloc(4096, memory_bytes);
    woven = aligned_alloc(64, KQ_BATCH * kq_woven_bytes(kq_act8_blocks(COLS)));
    acts = aligned_alloc(64, KQ_BATCH * kq_act8_blocks(COLS) * sizeof *acts);
    floats = aligned_alloc(64, KQ_BATCH * COLS * sizeof *floats);
    results = aligned_alloc(64, memory_bytes);
    if (!memory || !woven || !acts || !floats || !results) {
        fprintf(stderr, "check: no memory for %zu MB\n", megabytes);
        exit(1);
    }
    random_start(1, "bench");
    make_floats(FLOATS_GAUSSIAN, floats, KQ_BATCH * COLS);
    for (size_t j = 0; j < KQ_BATCH; j++) kq_act8_f32_generic(floats + j * COLS, COLS, acts + j * kq_act8_blocks(COLS));
    memset(memory, 1, memory_bytes);
    printf("%zu MB from memory, %d KB in cache, rows of %d weights, one thread, medians of %d\n", memory_bytes >> 20, CACHED >> 10, COLS, RUNS);
    printf("%-32s %2s %12s %10s %12s %10s %8s\n", "kernel", "m", "cache GB/s", "ns/weight", "memory GB/s", "ns/weight", "of roof");
}

/* One pass of a kernel over `rows` rows of `row_bytes` at p. */
static void pass(const kq_kernel *k, const kq_codec_info *c, const uint8_t *p, size_t row_bytes, size_t rows, size_t m) {
    const kq_act8 *x[KQ_BATCH];
    const float *xf[KQ_BATCH];
    float *y[KQ_BATCH];
    for (size_t j = 0; j < m; j++) {
        x[j] = acts + j * kq_act8_blocks(COLS);
        xf[j] = floats + j * COLS;
        y[j] = results + j * rows;
    }
    size_t n_blocks = COLS / c->block_weights;
    switch (k->op) {
    case KQ_KERNEL_decode:
        for (size_t r = 0; r < rows; r++) ((kq_decode_fn *)k->fn)(p + r * row_bytes, n_blocks, results);
        break;
    case KQ_KERNEL_exact:
        for (size_t r = 0; r + KQ_EXACT_ROWS <= rows; r += KQ_EXACT_ROWS) {
            const float *w[KQ_EXACT_ROWS];
            for (size_t i = 0; i < KQ_EXACT_ROWS; i++) w[i] = (const float *)(const void *)(p + (r + i) * row_bytes);
            ((kq_exact_fn *)k->fn)(w, xf, m, COLS, (float(*)[KQ_EXACT_ROWS][KQ_EXACT_LANES])results);
        }
        break;
    case KQ_KERNEL_panel: /* as tiles take them: 384 rows, 256 weights of each */
        for (size_t r = 0; r < rows; r += 384) {
            for (size_t at = 0, n = COLS / 256; at < n; at++)
                ((kq_panel_fn *)k->fn)(p + r * row_bytes + at * row_bytes / n, row_bytes, KQ_MIN(rows - r, 384), n_blocks / n, results, 512 + 64);
        }
        break;
    case KQ_KERNEL_act8:
        for (size_t r = 0; r < rows; r++) ((kq_act8_fn *)k->fn)((const float *)(const void *)(p + r * row_bytes), COLS, (kq_act8 *)(void *)results);
        break;
    case KQ_KERNEL_rows1: ((kq_rows1_fn *)k->fn)(p, row_bytes, rows, n_blocks, x[0], y[0]); break;
    case KQ_KERNEL_rowsm: ((kq_rowsm_fn *)k->fn)(p, row_bytes, rows, n_blocks, x, y, m); break;
    case KQ_KERNEL_batch: ((kq_batch_fn *)k->fn)(p, row_bytes, rows, n_blocks, woven, y, m); break;
    case KQ_KERNEL_rowsf: ((kq_rowsf_fn *)k->fn)(p, row_bytes, rows, COLS, xf, y, m); break;
    case KQ_KERNEL_score: /* cache rows of 128, in chunks of 256 positions as attention has them */
    case KQ_KERNEL_blend:
        for (size_t head = 128 * c->block_bytes, at = 0; at + 256 * head <= rows * row_bytes; at += 256 * head) {
            if (k->op == KQ_KERNEL_score) ((kq_score_fn *)k->fn)(xf, m, p + at, head, 256, 128, 0.1f, results, 256);
            else ((kq_blend_fn *)k->fn)(floats, COLS, m, p + at, head, 256, 128, results, 128);
        }
        break;
    case KQ_KERNEL_soften:
        for (size_t r = 0; r < rows; r++) ((kq_soften_fn *)k->fn)((float *)(void *)(memory + r * row_bytes), COLS, results, results + 1);
        break;
    case KQ_KERNEL_silu: /* and gelu has the same type */
    case KQ_KERNEL_gelu:
        for (size_t r = 0; r < rows; r++) ((kq_silu_fn *)k->fn)((const float *)(const void *)(p + r * row_bytes), floats, COLS, results);
        break;
    case KQ_KERNEL_stream: ((kq_stream_fn *)k->fn)(kq_codec_decoder(KQ_F32), p, rows * COLS, 4, 1, results, true); break;
    case KQ_KERNEL_weave:
    case KQ_KERNEL_pack:
    case KQ_KERNEL_narrow:
    case KQ_KERNEL_unpack:
    case KQ_KERNEL_tile:
    case KQ_N_KERNEL_OPS: break;
    }
}

static void fill(const kq_codec_info *c, size_t bytes) {
    size_t unit = c->block_bytes * (COLS / c->block_weights) * 16, have = KQ_MIN(unit, bytes); /* sixteen rows, over and over */
    if (c->codec == KQ_F32) {
        make_floats(FLOATS_GAUSSIAN, (float *)(void *)memory, have / sizeof(float));
    } else {
        make_weights(c, WEIGHTS_EVEN, memory, have / c->block_bytes);
    }
    for (; have < bytes; have *= 2) memcpy(memory + have, memory, KQ_MIN(have, bytes - have));
}

/* The first m activation rows, as batch takes them. */
static void weave(size_t m) {
    size_t n = kq_act8_blocks(COLS);
    for (size_t j = 0; j < m; j++) kq_weave_f32_generic(acts + j * n, n, m, woven + j * KQ_WOVEN);
}

static void bench_m(const kq_kernel *k, const kq_codec_info *c, size_t m) {
    size_t row_bytes = COLS / c->block_weights * c->block_bytes, cached_rows = CACHED / row_bytes / 4 * 4, rows = memory_bytes / row_bytes / 4 * 4;
    weave(m);
    double cached[RUNS], far[RUNS], roofs[RUNS];
    size_t repeats = KQ_MAX((size_t)16 << 20, m) / (cached_rows * row_bytes);
    for (int run = -1; run < RUNS; run++) { /* the first is to warm up */
        double start = now();
        for (size_t i = 0; i < repeats; i++) pass(k, c, memory, row_bytes, cached_rows, m);
        if (run >= 0) cached[run] = (now() - start) / (double)repeats;
    }
    for (int run = 0; run < RUNS; run++) {
        roofs[run] = roof(KQ_ROOF_READ, allowed, memory, memory_bytes);
        double start = now();
        pass(k, c, memory, row_bytes, rows, m);
        far[run] = now() - start;
    }
    double near_bytes = (double)(cached_rows * row_bytes), far_bytes = (double)(rows * row_bytes), per_row = (double)(COLS * m);
    double t = median(cached, RUNS), u = median(far, RUNS), best = median(roofs, RUNS);
    printf("%-32s %2zu %12.1f %10.4f %12.1f %10.4f %6.0f %% of %.1f\n", k->name, m, near_bytes / t * 1e-9, t * 1e9 / ((double)cached_rows * per_row),
           far_bytes / u * 1e-9, u * 1e9 / ((double)rows * per_row), 100 * far_bytes / u * 1e-9 / best, best);
}

void bench_kernel(const kq_kernel *k) {
    const kq_codec_info *c = kq_codec_describe(k->codec);
    case_name("%s: bench", k->name);
    if (k->op == KQ_KERNEL_tile) bench_tile(k);
    if (k->op == KQ_KERNEL_weave || k->op == KQ_KERNEL_pack || k->op == KQ_KERNEL_narrow || k->op == KQ_KERNEL_unpack || k->op == KQ_KERNEL_tile) return;
    fill(c, memory_bytes);
    if (k->op == KQ_KERNEL_rowsm || k->op == KQ_KERNEL_rowsf || k->op == KQ_KERNEL_exact || k->op == KQ_KERNEL_score || k->op == KQ_KERNEL_blend) {
        for (size_t m = k->op == KQ_KERNEL_rowsm ? 2 : 1; m <= KQ_ROWSM; m *= 2) bench_m(k, c, m);
    } else if (k->op == KQ_KERNEL_batch) {
        for (size_t m = 2; m <= KQ_BATCH / 2; m *= 2) bench_m(k, c, m);
    } else {
        bench_m(k, c, 1);
    }
}
