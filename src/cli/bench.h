/* SPDX-License-Identifier: MIT */
/* What the parts of the command bench share: its options, the lines of its result, clocks and roofs, and peers. */
#ifndef KQ_CLI_BENCH_H
#define KQ_CLI_BENCH_H

#include "cli/cli.h"

enum { BENCH_MAX_RUNS = 99, BENCH_LIST = 16 };
typedef enum bench_format { BENCH_TABLE, BENCH_MD, BENCH_CSV, BENCH_JSON } bench_format;

typedef struct bench_list {
    int64_t items[BENCH_LIST];
    size_t n;
} bench_list;

typedef struct bench_values {
    cli_values common;
    bool matmul, gather, embed, dequantize, encode, json, exact;
    const char *codec, *peer, *model, *shape;
    const char *threads_text, *m_text, *prompt_text, *generate_text;
    int64_t rows, cols, experts, used, repetitions, megabytes;
    int place, format;
    /* from the texts (cmd_bench.c) */
    bench_list threads, m, prompt, generate;
    bool chosen[KQ_CODEC_LIMIT]; /* codecs */
} bench_values;

/* ---- lines of the result (bench_report.c) --------------------------------------------------------------------------------- */

typedef struct bench_line {
    const char *test;      /* "matmul"; "pp", "tg": with m its name is pp512 */
    const char *codec;     /* or "" */
    uint64_t m, n, k;      /* 0: has none */
    uint64_t experts, used;
    int64_t threads;
    const char *place;     /* "memory", "cache", or "" */
    const char *unit;      /* of speed, roof and peer: "GB/s" */
    const char *roof_name; /* what bounds it: "read"; "" : no roof */
    double seconds;        /* of a call */
    double speed, roof, peer; /* peer 0: none */
    const char *note;      /* "same bytes", or "" */
} bench_line;

typedef struct bench_report {
    bench_line *lines;
    size_t n, capacity;
} bench_report;

void bench_add(bench_report *r, const bench_line *line);
/* The result, in the format that was asked for. */
void bench_print(const bench_report *r, const bench_values *v);
void bench_report_free(bench_report *r);

/* ---- clocks and roofs (bench_roof.c) --------------------------------------------------------------------------------------- */

/* On one thread the time that this thread ran, so that what the system gives to others in between does not count; else of the wall. */
double bench_now(int64_t threads);
double bench_median(double *values, size_t n); /* sorts them */
/* Work a second, by the best way there is; `bytes` at `memory` for read and store. 0: the machine has no such unit. */
double bench_roof(kq_roof roof, kq_pool *pool, void *memory, size_t bytes, uint64_t rounds);
/* Which unit multiplies so many rows of activations (on average) by a matrix of a codec that decodes. */
kq_roof bench_unit(const kq_device *device, uint32_t codec, double rows);
const char *bench_roof_name(kq_roof roof);
/* Memory at a multiple of 4096, or the end of the program. free() ends it. */
void *bench_memory(size_t bytes);
/* n floats, nearly Gaussian, of this deviation; the same for a seed. */
void bench_floats(float *x, size_t n, float deviation, uint32_t seed);
/* Encodes `rows` rows of Gaussian weights: at most 16 different ones, over and over. An exit code. */
int bench_weights(const kq_codec_info *codec, size_t rows, size_t cols, uint8_t *out, kq_pool *pool);

/* ---- peers (bench_peer.c, bench_llama.c) ------------------------------------------------------------------------------------ */

/* Another engine, given by path: a library of ggml for the operations (libggml-cpu.so; for encoders libggml-base.so will do), libllama.so
 * or a program llama-bench for models. Only functions of their public headers are called. */
typedef struct bench_peer bench_peer;
bench_peer *bench_peer_open(const char *path); /* NULL after an error message */
void bench_peer_close(bench_peer *p);
bool bench_peer_encodes(const bench_peer *p, const kq_codec_info *codec);
bool bench_peer_encode(const bench_peer *p, uint32_t codec, const float *x, void *out, int64_t rows, int64_t cols, const float *importances, size_t bytes);

/* A list of products (or look-ups) that ggml runs one after another. NULL: the peer cannot. */
typedef struct bench_graph bench_graph;
bool bench_peer_computes(const bench_peer *p, const kq_codec_info *codec);
bench_graph *bench_graph_open(const bench_peer *p, size_t n_nodes);
void bench_graph_close(bench_graph *g);
/* y [m, n] = x [m, k] w [n, k]^T */
bool bench_graph_matmul(bench_graph *g, uint32_t codec, const void *w, size_t n, size_t k, const float *x, size_t m, float *y);
/* y [m, used, n]: row t of x times the experts ids[t][used] */
bool bench_graph_gather(bench_graph *g, uint32_t codec, const void *w, size_t experts, size_t n, size_t k, const float *x, size_t m,
                        const int32_t *ids, size_t used, float *y);
bool bench_graph_embed(bench_graph *g, uint32_t codec, const void *w, size_t n, size_t k, const int32_t *ids, size_t m, float *y);
bool bench_graph_run(bench_graph *g, int64_t threads);

bool bench_peer_runs_models(const bench_peer *p);
bool bench_peer_runs_program(const bench_peer *p);
typedef struct bench_llama bench_llama;
/* tokens: what it evaluates, lent until close. NULL after an error message. */
bench_llama *bench_llama_open(const bench_peer *p, const char *model, uint32_t n_ctx, int32_t *tokens);
void bench_llama_close(bench_llama *l);
/* Tokens a second of a prompt of n tokens, or of n tokens one by one. Negative after an error message. */
double bench_llama_speed(bench_llama *l, bool prompt, int64_t n, int64_t threads);

/* ---- parts: each adds lines, and returns an exit code ------------------------------------------------------------------------ */

int bench_encode(const bench_values *v, const bench_peer *p, bench_report *r);
/* Refuses shapes that codecs which were named cannot have, and says why; of all codecs these are left out. Before anything is measured. */
bool bench_ops_check(const bench_values *v, char *text, size_t size);
int bench_ops(const bench_values *v, const bench_peer *p, bench_report *r);
/* A temporary model is removed (bench_shape_remove), as soon as nobody needs its name. */
int bench_model(const bench_values *v, const bench_peer *p, char *path, bool temporary, bench_report *r);
/* Makes a model of a known shape with random weights (codec: all of them; NULL: llama.cpp's Q4_K_M), in a file. */
int bench_shape_make(const char *shape, const kq_codec_info *codec, char *path, size_t path_size);
void bench_shape_remove(char *path);

#endif
