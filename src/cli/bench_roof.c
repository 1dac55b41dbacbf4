/* SPDX-License-Identifier: MIT */
/* Clocks, roofs and data for kquant bench. */
#include "cli/bench.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

double bench_now(int64_t threads) {
    if (threads != 1) return cli_seconds();
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

double bench_median(double *values, size_t n) {
    qsort(values, n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

double bench_roof(kq_roof roof, kq_pool *pool, void *memory, size_t bytes, uint64_t rounds) {
    kq_roof_options o = KQ_OPTIONS_INIT(kq_roof_options);
    o.pool = pool;
    o.memory = memory;
    o.bytes = bytes;
    o.rounds = rounds;
    double best = 0;
    uint64_t work = 1;
    for (uint32_t way = 0; work; way++) {
        double start = bench_now(kq_pool_threads(pool));
        if (kq_roof_pass(roof, way, &o, &work, NULL)) return 0;
        double seconds = bench_now(kq_pool_threads(pool)) - start;
        if (work && seconds > 0) best = CLI_MAX(best, (double)work / seconds);
    }
    return best;
}

const char *bench_roof_name(kq_roof roof) {
    static const char *const names[] = {"read", "store", "f32", "bf16", "int8"};
    return names[roof];
}

kq_roof bench_unit(const kq_device *device, uint32_t codec, double rows) {
    kq_product p;
    kq_error e;
    if (kq_matmul_describe(device, codec, (uint64_t)CLI_MAX(rows + 0.5, 1), &p, &e)) exit(cli_fail_kq(NULL, &e));
    return p.type == KQ_I8 ? KQ_ROOF_INT8 : p.type == KQ_BF16 ? KQ_ROOF_BF16 : KQ_ROOF_F32;
}

void *bench_memory(size_t bytes) {
    void *p = NULL;
    if (posix_memalign(&p, 4096, CLI_MAX(bytes, (size_t)4096))) exit(cli_fail(CLI_FAILED, "no memory for %zu MiB", bytes >> 20));
    return p;
}

void bench_floats(float *x, size_t n, float deviation, uint32_t seed) {
    uint32_t s = seed * 2654435761u + 1;
    for (size_t i = 0; i < n; i++) {
        float sum = -2;
        for (int k = 0; k < 4; k++) sum += (float)((s = s * 1664525 + 1013904223) >> 8) * 0x1p-24f;
        x[i] = sum * deviation * 1.7320508f; /* four uniform numbers of variance 1/12 */
    }
}

int bench_weights(const kq_codec_info *codec, size_t rows, size_t cols, uint8_t *out, kq_pool *pool) {
    size_t made = CLI_MIN(rows, (size_t)16), bytes = made * (cols / codec->block_weights) * codec->block_bytes;
    size_t all = rows * (cols / codec->block_weights) * codec->block_bytes;
    float *x = bench_memory(made * cols * sizeof *x), *importances = bench_memory(cols * sizeof *importances);
    bench_floats(x, made * cols, 0.02f, 1);
    for (size_t i = 0; i < cols; i++) importances[i] = 1;
    kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
    kq_error e;
    o.pool = pool;
    o.importances = codec->needs_importances ? importances : NULL;
    o.importance_floats = codec->needs_importances ? cols : 0;
    kq_status status = kq_quantize(codec->codec, x, made * cols, made, cols, out, bytes, &o, &e);
    for (size_t have = bytes; have < all && !status; have += CLI_MIN(have, all - have)) memcpy(out + have, out, CLI_MIN(have, all - have));
    free(x);
    free(importances);
    return status ? cli_fail_kq(NULL, &e) : CLI_FINE;
}
