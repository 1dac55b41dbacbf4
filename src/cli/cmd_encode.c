/* SPDX-License-Identifier: MIT */
/* kquant encode: an array of floats into a codec's blocks. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

typedef struct values {
    cli_values common;
    const char *codec, *importance, *output;
    int64_t cols, threads;
} values;

static const cli_option options[] = {
    {.names = "--codec", CLI_IS_TEXT(codec, "NAME"), .help = "q4_k, iq4_xs, mxfp4, f16, ..."},
    {.names = "--cols", CLI_IS_WHOLE(cols, "N", 1, 1 << 24), .help = "weights in a row; a multiple of the codec's block"},
    {.names = "--importance", CLI_IS_FILE(importance), .help = "N float32: how much an error in each column matters"},
    {.names = "-o --output", CLI_IS_FILE(output), .help = "where to write; - is standard output"},
    {.names = "-t --threads", CLI_IS_WHOLE(threads, "N", 0, 512), .fallback = "0", .help = CLI_HELP_THREADS},
};

typedef struct encoder {
    uint32_t codec;
    size_t cols, row_bytes;
    kq_quantize_options options;
} encoder;

static kq_status encode_rows(void *ctx, const void *in, size_t rows, void *out, kq_error *err) {
    const encoder *e = ctx;
    return kq_quantize(e->codec, in, rows * e->cols, rows, e->cols, out, rows * e->row_bytes, &e->options, err);
}

static int read_importances(const values *v, char **data, size_t *size) {
    *data = NULL;
    *size = 0;
    if (!v->importance) return CLI_FINE;
    if (!cli_read_file(v->importance, data, size)) return CLI_FAILED;
    if (*size == (size_t)v->cols * sizeof(float)) return CLI_FINE;
    return cli_fail(CLI_BAD_FILE, "%s: %zu bytes are not %lld float32, one a column", v->importance, *size, (long long)v->cols);
}

static int encode(const values *v, const kq_codec_info *codec, size_t row_bytes, const char *importances, size_t size) {
    encoder e = {codec->codec, (size_t)v->cols, row_bytes, KQ_OPTIONS_INIT(kq_quantize_options)};
    kq_error error;
    kq_pool *pool;
    if (kq_pool_open(&pool, (int)v->threads, NULL, &error)) return cli_fail_kq(NULL, &error);
    e.options.importances = (const float *)(const void *)importances; /* malloc aligned it */
    e.options.importance_floats = size / sizeof(float);
    e.options.pool = pool;
    cli_rows rows = {"encode", e.cols * sizeof(float), row_bytes, encode_rows, &e};
    int code = cli_rows_convert(&rows, v->common.args[0], v->output);
    kq_pool_close(pool);
    return code;
}

static int run(const void *given) {
    const values *v = given;
    const kq_codec_info *codec;
    size_t row_bytes, size;
    char *importances;
    int code = cli_rows_codec(&cli_encode_rows, v->codec, v->cols, &codec, &row_bytes);
    if (!code) code = cli_rows_paths(&cli_encode_rows, &v->common, v->output);
    if (code) return code;
    if (codec->needs_importances && !v->importance) return cli_fail_usage(&cli_encode_rows, "%s needs --importance", codec->name);
    code = read_importances(v, &importances, &size);
    if (!code) code = encode(v, codec, row_bytes, importances, size);
    free(importances);
    return code;
}

const cli_command cli_encode_rows = {
    .name = "encode",
    .usage = "--codec NAME --cols N [--importance FILE] IN -o OUT",
    .summary = "Encode an array of floats into blocks",
    .description = "Reads little-endian float32, row after row, and writes the rows as blocks of a codec, with the bytes of ggml's reference "
                   "encoders, so that any other encoder can be held against them. IN may be -, standard input. "
                   "OUT appears only when it is complete; standard output gets rows as they are "
                   "made, so where it fails (exit 3: the input ends within a row, or holds what is no number) the rows before are there.",
    .examples = "kquant encode --codec q4_k --cols 768 x.f32 -o x.q4_k",
    .options = options,
    .n_options = CLI_COUNT(options),
    .values_size = sizeof(values),
    .max_args = 1,
    .needs_arguments = true,
    .run = run,
};
