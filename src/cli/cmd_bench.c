/* SPDX-License-Identifier: MIT */
/* kquant bench: how fast this machine does what kquant does. One part a flag; so far the encoders. */
#include "cli/cli.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct values {
    cli_values common;
    bool encode, json;
    const char *codec, *peer;
    int64_t threads, repetitions;
} values;

static const cli_option options[] = {
    {.names = "--encode", CLI_IS_FLAG(encode), .help = "time the encoders"},
    {.names = "--codec", CLI_IS_TEXT(codec, "LIST"), .help = "only these codecs: names with commas between them"},
    {.names = "-t --threads", CLI_IS_WHOLE(threads, "N", 0, 512), .fallback = "1", .help = CLI_HELP_THREADS},
    {.names = "-r --repetitions", CLI_IS_WHOLE(repetitions, "N", 1, 99), .fallback = "5", .help = "the median of so many runs counts"},
    {.names = "--peer", CLI_IS_FILE(peer), .help = "a libggml-base.so, whose encoders take turns with ours (on one thread)"},
    {.names = "--json", CLI_IS_FLAG(json), .help = "print JSON"},
};

/* ---- llama.cpp -------------------------------------------------------------------------------------------------------------- */

/* llama.cpp de3ff81, one core of Zen 5, research figures: millions of weights a second, without importances and with. Where one figure
 * was taken it stands for both; 0: none was. */
#define PEER_SOURCE "llama.cpp de3ff81, one core of Zen 5, research figure"
static const struct { kq_codec codec; double speed[2]; } known[] = {
    {KQ_Q4_0, {835, 44}}, {KQ_Q5_0, {498, 45}}, {KQ_Q4_1, {1250, 12}}, {KQ_Q5_1, {679, 12}}, {KQ_Q8_0, {382, 382}}, {KQ_MXFP4, {258, 258}},
    {KQ_Q2_K, {22.6, 9.9}}, {KQ_Q3_K, {96, 32}}, {KQ_Q4_K, {20.7, 12.0}}, {KQ_Q5_K, {24.5, 11.7}}, {KQ_Q6_K, {40.5, 39.9}},
    {KQ_IQ4_NL, {5.9, 5.9}}, {KQ_IQ4_XS, {5.6, 5.6}}, {KQ_IQ1_S, {0, 8.5}}, {KQ_IQ1_M, {9.5, 9.5}}, {KQ_IQ2_XXS, {0, 3.9}},
    {KQ_IQ2_XS, {0, 2.1}}, {KQ_IQ2_S, {6.1, 6.1}}, {KQ_IQ3_XXS, {2.8, 2.8}}, {KQ_IQ3_S, {4.1, 4.1}},
};

static double known_speed(kq_codec codec, bool with) {
    for (size_t i = 0; i < CLI_COUNT(known); i++) {
        if (known[i].codec == codec) return known[i].speed[with];
    }
    return 0;
}

/* What a library of ggml offers, as its public header declares it. */
typedef struct peer {
    void *library;
    size_t (*quantize)(int type, const float *src, void *dst, int64_t start, int64_t rows, int64_t cols, const float *importances);
    const char *(*type_name)(int type);
} peer;

static bool peer_open(peer *p, const char *path) {
    *p = (peer){0};
    if (!path) return true;
    p->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!p->library) return cli_fail(CLI_FAILED, "%s", dlerror()) == CLI_FINE;
    void *quantize = dlsym(p->library, "ggml_quantize_chunk"), *type_name = dlsym(p->library, "ggml_type_name");
    if (!quantize || !type_name) return cli_fail(CLI_FAILED, "%s has no ggml_quantize_chunk and ggml_type_name", path) == CLI_FINE;
    memcpy(&p->quantize, &quantize, sizeof quantize); /* ISO C has no cast from an object's address to a function's */
    memcpy(&p->type_name, &type_name, sizeof type_name);
    return true;
}

static bool peer_knows(const peer *p, const kq_codec_info *info) {
    const char *name = p->quantize ? p->type_name((int)info->codec) : NULL;
    return name && !strcasecmp(name, info->name);
}

/* ---- timing ------------------------------------------------------------------------------------------------------------------- */

enum { ROWS = 64, COLS = 4096, WEIGHTS = ROWS * COLS }; /* 1 MiB of floats: what is timed is the encoder, not the memory */

typedef struct trial {
    const kq_codec_info *info;
    bool with;                /* importances */
    const float *x, *importances;
    uint8_t *ours, *theirs;
    size_t bytes;
    kq_pool *pool;
    const peer *peer;         /* NULL: none that knows the codec */
    kq_error error;
} trial;

static bool encode(trial *t, bool by_peer) {
    if (by_peer) return t->peer->quantize((int)t->info->codec, t->x, t->theirs, 0, ROWS, COLS, t->with ? t->importances : NULL) == t->bytes;
    kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
    o.importances = t->with ? t->importances : NULL;
    o.importance_floats = t->with ? COLS : 0;
    o.pool = t->pool;
    return !kq_quantize(t->info->codec, t->x, WEIGHTS, ROWS, COLS, t->ours, t->bytes, &o, &t->error);
}

/* Millions of weights a second, over at least 10 ms. Negative: it failed. */
static double speed(trial *t, bool by_peer) {
    double start = cli_seconds(), seconds;
    int64_t runs = 0;
    do {
        if (!encode(t, by_peer)) return -1;
        runs++;
        seconds = cli_seconds() - start;
    } while (seconds < 0.01);
    return (double)runs * WEIGHTS / seconds * 1e-6;
}

static int by_value(const void *a, const void *b) {
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

typedef struct result {
    const kq_codec_info *info;
    bool with, same; /* same: the peer's bytes are ours */
    double ours, peer; /* medians; 0: no peer */
} result;

/* Ours and the peer's in turn, so that what else the machine does meets both. False: failed, and said so. */
static bool measure(trial *t, int64_t repetitions, result *r) {
    double ours[99], theirs[99];
    *r = (result){.info = t->info, .with = t->with};
    for (int64_t i = 0; i < repetitions; i++) {
        ours[i] = speed(t, false);
        if (ours[i] < 0) return cli_fail_kq(NULL, &t->error) == CLI_FINE;
        theirs[i] = t->peer ? speed(t, true) : 0;
        if (theirs[i] < 0) return cli_fail(CLI_FAILED, "the peer fails at %s", t->info->name) == CLI_FINE;
    }
    qsort(ours, (size_t)repetitions, sizeof *ours, by_value);
    qsort(theirs, (size_t)repetitions, sizeof *theirs, by_value);
    r->ours = ours[repetitions / 2];
    r->peer = theirs[repetitions / 2];
    r->same = t->peer && !memcmp(t->ours, t->theirs, t->bytes);
    return true;
}

/* Weights as models have them, nearly Gaussian, and importances. */
static void make_data(float *x, float *importances) {
    uint32_t s = 1;
    for (size_t i = 0; i < WEIGHTS; i++) {
        float sum = -2;
        for (int k = 0; k < 4; k++) sum += (float)((s = s * 1664525 + 1013904223) >> 8) * 0x1p-24f;
        x[i] = sum * 0.05f;
    }
    for (size_t i = 0; i < COLS; i++) importances[i] = (float)(((s = s * 1664525 + 1013904223) >> 8) + 1) * 0x1p-24f;
}

/* ---- results ------------------------------------------------------------------------------------------------------------------ */

static void print_json(const values *v, const result *r, size_t n) {
    cli_json j = {.out = stdout};
    cli_json_object(&j, NULL);
    cli_json_i64(&j, "threads", v->threads);
    cli_json_i64(&j, "repetitions", v->repetitions);
    cli_json_string(&j, "known", PEER_SOURCE);
    if (v->peer) cli_json_string(&j, "peer", v->peer);
    cli_json_array(&j, "encode");
    for (size_t i = 0; i < n; i++) {
        double reference = known_speed(r[i].info->codec, r[i].with);
        cli_json_object(&j, NULL);
        cli_json_string(&j, "codec", r[i].info->name);
        cli_json_bool(&j, "importances", r[i].with);
        cli_json_f64(&j, "mega_weights_per_second", r[i].ours);
        if (reference > 0) cli_json_f64(&j, "known", reference);
        if (r[i].peer > 0) {
            cli_json_f64(&j, "peer", r[i].peer);
            cli_json_f64(&j, "peer_ratio", r[i].ours / r[i].peer);
            cli_json_bool(&j, "peer_same_bytes", r[i].same);
        }
        cli_json_end(&j, '}');
    }
    cli_json_end(&j, ']');
    cli_json_end(&j, '}');
}

static void print_text(const values *v, const result *r, size_t n) {
    static const cli_column columns[] = {
        {.title = "codec"}, {.title = "importances"}, {.title = "kquant", .right = true}, {.title = "known", .right = true},
        {.title = "ratio", .right = true}, {.title = "peer", .right = true}, {.title = "ratio", .right = true}, {.title = "bytes"},
    };
    cli_table t = {.columns = columns, .n_columns = v->peer ? CLI_COUNT(columns) : 5};
    for (size_t i = 0; i < n; i++) {
        double reference = known_speed(r[i].info->codec, r[i].with);
        cli_number ours = cli_rate(r[i].ours), known_text = cli_rate(reference), known_ratio = cli_rate(reference > 0 ? r[i].ours / reference : 0);
        cli_number theirs = cli_rate(r[i].peer), ratio = cli_rate(r[i].peer > 0 ? r[i].ours / r[i].peer : 0);
        bool met = r[i].peer > 0;
        const char *cells[] = {r[i].info->name, r[i].with ? "with" : "without", ours.text, reference > 0 ? known_text.text : "-",
                               reference > 0 ? known_ratio.text : "-", met ? theirs.text : "-", met ? ratio.text : "-",
                               !met ? "-" : r[i].same ? "same" : "differ"};
        cli_table_row(&t, cells);
    }
    cli_table_print(&t, stdout, cli_columns(stdout));
    cli_table_free(&t);
    printf("\nMillions of weights a second, medians of %d, from cache.\nknown: %s.\n", (int)v->repetitions, PEER_SOURCE);
}

/* ---- the command --------------------------------------------------------------------------------------------------------------- */

/* Marks the codecs of a list; NULL: all that are searched or rounded, which plain floats are not. */
static bool choose(const char *list, bool chosen[KQ_CODEC_LIMIT]) {
    for (uint32_t c = 0; c < KQ_CODEC_LIMIT && !list; c++) {
        const kq_codec_info *info = kq_codec_describe(c);
        chosen[c] = info && info->decodes && info->block_weights > 1;
    }
    while (list && *list) {
        size_t n = strcspn(list, ",");
        char name[32] = "";
        if (n < sizeof name) memcpy(name, list, n);
        const kq_codec_info *info = kq_codec_find(name);
        if (!info || !info->decodes) {
            char *shown = cli_show(list, n, 40, true);
            cli_fail(CLI_USAGE, "--codec: '%s' is no codec", shown);
            free(shown);
            return false;
        }
        chosen[info->codec] = true;
        list += n + (list[n] == ',');
    }
    return true;
}

static int bench_encode(const values *v, const peer *p, kq_pool *pool) {
    bool chosen[KQ_CODEC_LIMIT] = {false};
    if (!choose(v->codec, chosen)) return CLI_USAGE;
    trial t = {.pool = pool};
    float *x = cli_alloc(WEIGHTS, sizeof *x), *importances = cli_alloc(COLS, sizeof *importances);
    result *results = cli_alloc((size_t)2 * KQ_CODEC_LIMIT, sizeof *results);
    size_t n = 0;
    int code = CLI_FINE;
    make_data(x, importances);
    t.x = x;
    t.importances = importances;
    t.ours = cli_alloc(WEIGHTS, sizeof(float));
    t.theirs = cli_alloc(WEIGHTS, sizeof(float));
    for (uint32_t c = 0; c < KQ_CODEC_LIMIT && code == CLI_FINE; c++) {
        t.info = kq_codec_describe(c);
        if (!chosen[c]) continue;
        t.bytes = (size_t)WEIGHTS / t.info->block_weights * t.info->block_bytes;
        t.peer = peer_knows(p, t.info) ? p : NULL;
        for (int with = t.info->needs_importances; with < 2 && code == CLI_FINE; with++) {
            t.with = with;
            cli_bar(t.info->name, (double)c / KQ_CODEC_LIMIT);
            if (!measure(&t, v->repetitions, &results[n++])) code = CLI_FAILED;
        }
    }
    cli_bar_clear();
    if (code == CLI_FINE && v->json) print_json(v, results, n);
    if (code == CLI_FINE && !v->json) print_text(v, results, n);
    free(x);
    free(importances);
    free(results);
    free(t.ours);
    free(t.theirs);
    return code;
}

static int run(const void *given) {
    const values *v = given;
    peer p;
    kq_pool *pool;
    kq_error e;
    if (!v->encode) return cli_fail_usage(&cli_bench, "say what to time: --encode");
    if (!peer_open(&p, v->peer)) return CLI_FAILED;
    if (kq_pool_open(&pool, (int)v->threads, NULL, &e)) return cli_fail_kq(NULL, &e);
    int code = bench_encode(v, &p, pool);
    kq_pool_close(pool);
    if (p.library) dlclose(p.library);
    return code;
}

const cli_command cli_bench = {
    .name = "bench",
    .usage = "--encode [options]",
    .summary = "Measure the speed of what kquant does",
    .description =
        "Times the encoders, without importances and with: millions of weights a second, beside what llama.cpp reached on a machine that is "
        "not this one. A library of ggml given with --peer is timed on this machine, in turn with ours, and its bytes are compared.",
    .examples = "kquant bench --encode\nkquant bench --encode --codec q4_k,q6_k --peer /usr/lib/libggml-base.so",
    .options = options,
    .n_options = CLI_COUNT(options),
    .values_size = sizeof(values),
    .needs_arguments = true,
    .run = run,
};
