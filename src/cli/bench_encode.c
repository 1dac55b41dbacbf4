/* SPDX-License-Identifier: MIT */
/* kquant bench --encode: encoders, without importances and with them, beside those of a libggml-base.so, whose bytes are compared. */
#include "cli/bench.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 64, COLS = 4096, WEIGHTS = ROWS * COLS }; /* 1 MiB of floats: what is timed is the encoder, not the memory */

typedef struct trial {
    const kq_codec_info *info;
    bool with; /* importances */
    const float *x, *importances;
    uint8_t *ours, *theirs;
    size_t bytes;
    kq_pool *pool;
    const bench_peer *peer; /* NULL: none that knows the codec */
    kq_error error;
} trial;

static bool encode(trial *t, bool by_peer) {
    const float *importances = t->with ? t->importances : NULL;
    if (by_peer) return bench_peer_encode(t->peer, t->info->codec, t->x, t->theirs, ROWS, COLS, importances, t->bytes);
    kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
    o.importances = importances;
    o.importance_floats = t->with ? COLS : 0;
    o.pool = t->pool;
    return !kq_quantize(t->info->codec, t->x, WEIGHTS, ROWS, COLS, t->ours, t->bytes, &o, &t->error);
}

/* Millions of weights a second, over at least 10 ms. Negative: it failed. */
static double speed(trial *t, bool by_peer) {
    int64_t threads = by_peer ? 1 : kq_pool_threads(t->pool), runs = 0;
    double start = bench_now(threads), seconds;
    do {
        if (!encode(t, by_peer)) return -1;
        runs++;
        seconds = bench_now(threads) - start;
    } while (seconds < 0.01);
    return (double)runs * WEIGHTS / seconds * 1e-6;
}

/* Ours and the peer's in turn, so that what else the machine does meets both. */
static int measure(trial *t, const bench_values *v, bench_report *r) {
    double ours[BENCH_MAX_RUNS], theirs[BENCH_MAX_RUNS];
    size_t n = (size_t)v->repetitions;
    for (size_t i = 0; i < n; i++) {
        if (cli_stopped()) return cli_stopped_code();
        ours[i] = speed(t, false);
        if (ours[i] < 0) return cli_fail_kq(NULL, &t->error);
        theirs[i] = t->peer ? speed(t, true) : 0;
        if (theirs[i] < 0) return cli_fail(CLI_FAILED, "the peer fails at %s", t->info->name);
    }
    bench_line line = {.test = t->with ? "encode-im" : "encode", .codec = t->info->name, .n = ROWS, .k = COLS, .threads = kq_pool_threads(t->pool),
                       .place = "cache", .unit = "Mw/s", .roof_name = "", .note = ""};
    line.speed = bench_median(ours, n);
    line.seconds = WEIGHTS / line.speed * 1e-6;
    line.peer = bench_median(theirs, n);
    if (t->peer) line.note = memcmp(t->ours, t->theirs, t->bytes) ? "other bytes" : "same bytes";
    bench_add(r, &line);
    return CLI_FINE;
}

static int with_threads(const bench_values *v, const bench_peer *p, trial *t, bench_report *r) {
    int code = CLI_FINE;
    for (uint32_t c = 0; c < KQ_CODEC_LIMIT && code == CLI_FINE; c++) {
        t->info = kq_codec_describe(c);
        if (!v->chosen[c] || t->info->block_weights == 1) continue; /* floats are neither searched nor rounded to blocks */
        t->bytes = (size_t)WEIGHTS / t->info->block_weights * t->info->block_bytes;
        t->peer = p && bench_peer_encodes(p, t->info) ? p : NULL;
        for (int with = t->info->needs_importances; with < 2 && code == CLI_FINE; with++) {
            t->with = with;
            cli_bar(t->info->name, (double)c / KQ_CODEC_LIMIT);
            code = measure(t, v, r);
        }
    }
    return code;
}

int bench_encode(const bench_values *v, const bench_peer *p, bench_report *r) {
    float *x = bench_memory(WEIGHTS * sizeof *x), *importances = bench_memory(COLS * sizeof *importances);
    trial t = {.x = x, .importances = importances, .ours = bench_memory(WEIGHTS * sizeof(float)), .theirs = bench_memory(WEIGHTS * sizeof(float))};
    int code = CLI_FINE;
    bench_floats(x, WEIGHTS, 0.02f, 1);
    bench_floats(importances, COLS, 1, 2);
    for (size_t i = 0; i < COLS; i++) importances[i] *= importances[i];
    for (size_t i = 0; i < v->threads.n && code == CLI_FINE; i++) {
        kq_error e;
        if (kq_pool_open(&t.pool, (int)v->threads.items[i], NULL, &e)) code = cli_fail_kq(NULL, &e);
        else code = with_threads(v, p, &t, r);
        kq_pool_close(t.pool);
    }
    free(x);
    free(importances);
    free(t.ours);
    free(t.theirs);
    return code;
}
